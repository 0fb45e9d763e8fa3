/* SPDX-License-Identifier: MIT */
/*
 * target.c - a process to load modules into: static or not, PIE or not, glibc or musl.
 *
 * It calls the addresses that it reads from its standard input, each with a function that says "in" and waits for
 * a byte, and writes what the call returns.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>

int host_counter, host_hidden = 5;
__thread int host_other_tls = 3;
__thread int host_tls = 10;
int *lib_tls_address(void);
int host_add(int a, int b);
int host_add(int a, int b)
{
	return a + b;
}
int host_hidden_add(int a, int b);
int host_hidden_add(int a, int b)
{
	return a * 1000 + b;
}

static int wait_for_byte(int x)
{
	char c;

	if (write(1, "in", 2) != 2 || read(0, &c, 1) != 1)
		_exit(2);
	return x + 1;
}

int main(int argc, char **argv)
{
	uint64_t addr;
	char text[32];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN); /* brings the restorer of signal frames into static programs */
#ifdef WITH_LIB
	host_counter = *lib_tls_address();
#endif
	snprintf(text, sizeof(text), "%d%p", argc, (void *)stdout);
	host_counter += (int)strlen(text) + host_other_tls + host_tls;
	if (write(1, "up", 2) != 2)
		return 1;
	while (read(0, &addr, sizeof(addr)) == sizeof(addr)) {
		int v = ((int (*)(int (*)(int), int))(uintptr_t)addr)(wait_for_byte, 7);

		if (write(1, &v, sizeof(v)) != sizeof(v))
			return 1;
	}
	return 0;
}
