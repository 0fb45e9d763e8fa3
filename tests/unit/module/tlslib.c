/* SPDX-License-Identifier: MIT */
/* tlslib.c - a library with a thread-local variable; linked as one library and loaded by dlopen as another. */
__thread int lib_other = 3;
__thread int lib_tls = 100;

int *lib_tls_address(void);
int *lib_tls_address(void)
{
	return &lib_tls;
}

/* Not exported; reached by late symbols. */
static __attribute__((used)) int lib_hidden = 31;
static __attribute__((used)) __thread int lib_hidden_tls = 7;
static __attribute__((used)) __thread int lib_hidden_tls2 = 9;

int *lib_hidden_address(int which);
int *lib_hidden_address(int which)
{
	return which == 0 ? &lib_hidden : which == 1 ? &lib_hidden_tls : &lib_hidden_tls2;
}
