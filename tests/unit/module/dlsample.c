/* SPDX-License-Identifier: MIT */
/* dlsample.c - uses the thread-local variable of a library that came by dlopen. */
extern __thread int dl_tls;
extern int dl_only(void);

int mod_dl_tls(void);
int mod_dl_tls(void)
{
	return ++dl_tls;
}

int mod_dl_call(void);
int mod_dl_call(void)
{
	return dl_only();
}
