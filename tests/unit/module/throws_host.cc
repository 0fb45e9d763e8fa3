/* SPDX-License-Identifier: MIT */
/* throws_host.cc - the C++ side of test_agent. */
extern "C" {
int host_cleaned;
int host_throw(int x);
int host_catch(int (*fn)(int), int x);
int host_catch_pass(int (*fn)(int (*)(int), int), int x);
}

int host_throw(int x)
{
	if (x)
		throw x;
	return 0;
}

/* What was caught, or -1. */
int host_catch(int (*fn)(int), int x)
{
	try {
		fn(x);
	} catch (int v) {
		return v;
	}
	return -1;
}

int host_catch_pass(int (*fn)(int (*)(int), int), int x)
{
	try {
		fn(host_throw, x);
	} catch (int v) {
		return v;
	}
	return -1;
}

/* What the new functions refer to, the program refers to as well, as in life: so it holds copies of library data. */
#define mod_catch      old_catch
#define mod_throw      old_throw
#define mod_pass       old_pass
#define mod_catch_host old_catch_host
#define guard          old_guard
#include "throws.cc"
