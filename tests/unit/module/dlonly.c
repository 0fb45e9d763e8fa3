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
