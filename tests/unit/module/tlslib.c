/* SPDX-License-Identifier: MIT */
/* tlslib.c - a library with a thread-local variable; linked as one library and loaded by dlopen as another. */
__thread int lib_other = 3;
__thread int lib_tls = 100;

int *lib_tls_address(void);
int *lib_tls_address(void)
{
	return &lib_tls;
}
