/* SPDX-License-Identifier: MIT */
/* conflict.c - a string that functions of two objects share can not lie near both. */
const char *main_string(void)
{
	return "one string for two";
}

const char *lib_string(void)
{
	return "one string for two";
}
