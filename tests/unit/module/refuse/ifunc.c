/* SPDX-License-Identifier: MIT */
static int one(void)
{
	return 1;
}
static void *pick(void)
{
	return (void *)one;
}
int f(void) __attribute__((ifunc("pick")));
