/* SPDX-License-Identifier: MIT */
/*
 * busy - threads that call one function all the time and check every result.
 *
 *	busy THREADS
 *
 * Each turn: a call of mix(), whose result must be that of the old or of the new body, whole; then hash() work
 * outside that takes some three hundred times as long, so that a quarter of a thread is inside on average. After `new`
 * was announced on stdin ("expect new") a result of the old body is wrong too, and the other way round. Lines on
 * stdin are answered on stdout: "expect old|new|any", "count" (calls old new wrong), "quit".
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { ANY, OLD, NEW };

struct counts {
	unsigned long old, new, wrong, sink;
} __attribute__((aligned(64)));

static volatile int expect = ANY;
static volatile int stop;
static struct counts *counts;

unsigned long mix(unsigned long x);

__attribute__((noinline, noclone)) static unsigned long hash(unsigned long x, int rounds)
{
	for (int i = 0; i < rounds; i++) {
		x ^= x >> 29;
		x *= 0xbf58476d1ce4e5b9UL;
		x ^= x >> 32;
	}
	return x;
}

__attribute__((noinline)) unsigned long mix(unsigned long x)
{
	unsigned long y = hash(x, 4);

	return (y << 1) | 0;
}

static void *run(void *arg)
{
	struct counts *c = arg;

	for (unsigned long x = (unsigned long)(c - counts) * 1000003; !stop; x++) {
		int before = expect;
		unsigned long got = mix(x);
		int after = expect;
		unsigned long old = hash(x, 4) << 1, new = old | 1;

		if (got == old)
			c->old++;
		else if (got == new)
			c->new ++;
		if ((got != old && got != new) ||
		    (before == after && ((before == OLD && got != old) || (before == NEW && got != new))))
			c->wrong++;
		c->sink += hash(x, 1500);
	}
	return NULL;
}

static void report(int threads)
{
	struct counts sum = { 0 };

	for (int i = 0; i < threads; i++) {
		sum.old += counts[i].old;
		sum.new += counts[i].new;
		sum.wrong += counts[i].wrong;
	}
	printf("calls old %lu new %lu wrong %lu\n", sum.old, sum.new, sum.wrong);
}

int main(int argc, char **argv)
{
	int threads = argc > 1 ? atoi(argv[1]) : 1;
	pthread_t *t = calloc(threads, sizeof(*t));
	char line[64];

	counts = aligned_alloc(64, threads * sizeof(*counts));
	if (!t || !counts)
		return 1;
	memset(counts, 0, threads * sizeof(*counts));
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 0; i < threads; i++)
		if (pthread_create(&t[i], NULL, run, &counts[i]) != 0)
			return 1;
	setpriority(PRIO_PROCESS, 0, -10); /* this thread answers at once; without the right to it, later */
	printf("ready %d\n", (int)getpid());
	while (fgets(line, sizeof(line), stdin) && strncmp(line, "quit", 4) != 0) {
		if (strncmp(line, "expect ", 7) == 0) {
			expect = strncmp(line + 7, "old", 3) == 0 ? OLD : strncmp(line + 7, "new", 3) == 0 ? NEW : ANY;
			printf("expecting\n");
		} else {
			report(threads);
		}
	}
	stop = 1;
	for (int i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	report(threads);
	return 0;
}
