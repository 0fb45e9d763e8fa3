/* SPDX-License-Identifier: MIT */
int no_such_function_anywhere(void);
int f(void);
int f(void)
{
	return no_such_function_anywhere();
}
