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
