/* SPDX-License-Identifier: MIT */
/* throws.cc - new functions that throw, catch, clean up, and let exceptions through. */
#include <cstring>
#include <stdexcept>
#include <string>

extern "C" {
extern int host_cleaned;
int host_throw(int x);
}

struct guard {
	~guard()
	{
		host_cleaned++;
	}
};

/* Thrown and caught here. */
extern "C" int mod_catch(int x)
{
	try {
		if (x)
			throw std::runtime_error(std::string("boom ") + std::to_string(x));
	} catch (const std::exception &e) {
		return (int)strlen(e.what());
	}
	return 0;
}

/* Thrown here, caught by the caller. */
extern "C" int mod_throw(int x)
{
	guard g;

	if (x)
		throw x;
	return 0;
}

/* Passes through, with a clean-up on the way. */
extern "C" int mod_pass(int (*fn)(int), int x)
{
	guard g;

	return fn(x) + 1;
}

/* Thrown in the host, caught here by its type. */
extern "C" int mod_catch_host(int x)
{
	try {
		return host_throw(x);
	} catch (int v) {
		return v * 2;
	}
}
