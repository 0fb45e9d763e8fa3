/* SPDX-License-Identifier: MIT */
__thread int mine = 4;
int f(void);
int f(void)
{
	return mine++;
}
