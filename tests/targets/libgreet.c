/* SPDX-License-Identifier: MIT */
/*
 * libgreet - a small shared library; libgreet.diff is the fix that is patched in.
 *
 * The fix changes an exported function, adds a new static function and a new static variable, and calls libc
 * functions that the library did not import before (strncasecmp, toupper).
 */
#include <stdio.h>
#include <string.h>
#include "libgreet.h"

static unsigned long greeted;

__attribute__((noinline)) static const char *title(const char *name)
{
	return strcmp(name, "root") == 0 ? "mighty " : "";
}

int greet(const char *name, char *text, size_t size)
{
	greeted++;
	return snprintf(text, size, "hello %s%s", title(name), name);
}

unsigned long greet_count(void)
{
	return greeted;
}
