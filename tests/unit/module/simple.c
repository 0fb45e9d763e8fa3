/* SPDX-License-Identifier: MIT */
/* simple.c - one function that touches what every target has: code, data, strings, thread-locals, libc. */
#include <stdio.h>
#include <string.h>

extern int host_counter;
extern __thread int host_tls;
extern int late_host_hidden;
int host_add(int a, int b);
int late_host_hidden_add(int a, int b);

static const char *const words[] = { "zero", "one", "two", "three" };
static int calls;
int mod_common;

const char *mod_string(int i)
{
	return words[i & 3];
}

int mod_switch(int x)
{
	switch (x) {
	case 0:
		return host_counter;
	case 1:
		return 17;
	case 2:
		return calls;
	case 3:
		return -3;
	case 4:
		return 4;
	}
	return mod_common;
}

/* 15 if all is well: fn(7) + 7. */
int mod_callback(int (*fn)(int), int x)
{
	char text[64];
	int before = host_tls++, good = 1;

	snprintf(text, sizeof(text), "%s-%d", mod_string(2), x);
	good &= !strcmp(text, "two-7") && strlen(text) == 5;
	good &= host_tls == before + 1;
	good &= host_add(x, 1) == 8;
	good &= late_host_hidden_add(1, late_host_hidden) == 1005;
	good &= mod_switch(1) == 17 && mod_switch(2) == calls;
	calls++;
	return good ? fn(x) + x : -1;
}
