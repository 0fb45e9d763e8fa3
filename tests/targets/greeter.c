/* SPDX-License-Identifier: MIT */
/*
 * greeter - a server that keeps libgreet in a process: four threads greet all the time and check every greeting, the
 * main thread answers "greet NAME", "part NAME", "count", "wrong" and "quit" on stdin. greeter.diff changes part().
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "libgreet.h"

static volatile unsigned long wrong, calls;

static void *run(void *arg)
{
	char text[64];

	for (;;) {
		int n = greet("world", text, sizeof(text));

		if (n != (int)strlen(text) ||
		    (strcmp(text, "hello world") != 0 && strcmp(text, "Greetings, World!") != 0))
			__sync_fetch_and_add(&wrong, 1);
		__sync_fetch_and_add(&calls, 1);
		usleep(50);
	}
	return NULL;
}

__attribute__((noinline)) static void part(const char *name, char *text, size_t size)
{
	snprintf(text, size, "so long %s", name);
}

int main(void)
{
	char line[128], text[128];

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 0; i < 4; i++) {
		pthread_t t;

		if (pthread_create(&t, NULL, run, NULL) != 0)
			return 1;
	}
	printf("ready %d\n", (int)getpid());
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (strncmp(line, "greet ", 6) == 0) {
			greet(line + 6, text, sizeof(text));
			printf("%s\n", text);
		} else if (strncmp(line, "part ", 5) == 0) {
			part(line + 5, text, sizeof(text));
			printf("%s\n", text);
		} else if (strcmp(line, "count") == 0) {
			printf("%s\n", greet_count() > 0 ? "counted" : "none");
		} else if (strcmp(line, "wrong") == 0) {
			printf("wrong %lu calls %s\n", wrong, calls ? "some" : "none");
		} else {
			break;
		}
	}
	return wrong != 0;
}
