/* SPDX-License-Identifier: MIT */
/* dlonly.c - loaded by dlopen: its thread-local block has no constant offset (it does not fit into the spare room). */
__thread char dl_big[65536];
__thread int dl_tls = 500;

int *dl_tls_address(void);
int *dl_tls_address(void)
{
	return &dl_tls;
}

int dl_only(void);
int dl_only(void)
{
	return 4711;
}

/* Not exported; reached by late symbols. */
static __attribute__((used)) int dl_hidden = 31;
static __attribute__((used)) __thread int dl_hidden_tls = 7;
static __attribute__((used)) __thread int dl_hidden_tls2 = 9;

int *dl_hidden_address(int which);
int *dl_hidden_address(int which)
{
	return which == 0 ? &dl_hidden : which == 1 ? &dl_hidden_tls : &dl_hidden_tls2;
}
