/* SPDX-License-Identifier: MIT */
int x;
static __attribute__((constructor)) void start(void)
{
	x = 1;
}
int f(void);
int f(void)
{
	return x;
}
