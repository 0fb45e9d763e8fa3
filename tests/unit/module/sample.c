/* SPDX-License-Identifier: MIT */
/*
 * sample.c - what a patch's new functions are made of, compiled in several ways and loaded by the tests.
 * late_* symbols are turned into late symbols of the executable by the test.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern int host_counter;
extern int host_add(int a, int b);
extern int weak_nothing(void) __attribute__((weak));
extern __thread int host_tls;
extern __thread int lib_tls;
extern int late_host_hidden;
extern int late_host_hidden_add(int a, int b);

static int module_static = 41;
static int module_bss[1000];
static const char *const names[] = { "zero", "one", "two", "three" };
static int (*const operations[])(int, int) = { host_add, host_add };

const char *mod_string(void)
{
	return "hello from the module";
}

const char *mod_name(unsigned i)
{
	return i < 4 ? names[i] : "many";
}

int mod_static(void)
{
	return ++module_static;
}

int mod_bss(int i)
{
	return module_bss[i]++;
}

int mod_calls(int a, int b)
{
	return host_add(a, b) + operations[1](a, b);
}

int mod_counter(void)
{
	return ++host_counter;
}

/* An IFUNC of libc. */
size_t mod_strlen(const char *s)
{
	return strlen(s) + strlen(s + 1);
}

/* Its address. */
void *mod_strlen_address(void)
{
	return (void *)strlen;
}

/* A function that the test program does not import. */
char *mod_l64a(long x)
{
	return l64a(x);
}

int mod_print(char *out, size_t n, int x)
{
	return snprintf(out, n, "%d:%p", x, (void *)stdout);
}

int mod_weak(void)
{
	return weak_nothing ? weak_nothing() : -7;
}

int mod_switch(int x)
{
	switch (x) {
	case 0:
		return host_add(x, 3);
	case 1:
		return 17;
	case 2:
		return module_static;
	case 3:
		return host_counter;
	case 4:
		return -5;
	case 5:
		return 99;
	}
	return 1000;
}

int mod_tls(void)
{
	return ++host_tls;
}

int mod_lib_tls(void)
{
	return ++lib_tls;
}

int mod_late(int a)
{
	late_host_hidden++;
	return late_host_hidden_add(a, late_host_hidden);
}

int mod_callback(int (*fn)(int), int x)
{
	char room[64];

	snprintf(room, sizeof(room), "%d", x);
	return fn(x) + room[0] - '0';
}
