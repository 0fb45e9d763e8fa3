/* SPDX-License-Identifier: MIT */
/*
 * target - the process that bench/run lets others work on.
 *
 *	target THREADS
 *
 * THREADS - 1 threads sleep in short naps with a few frames on their stacks; one spins on the clock and keeps the
 * largest gap between two readings: what nobody stops is a few microseconds, a stop of the process is its length.
 * Lines on stdin:
 *
 *	reset   forget the largest gap            gap    print it, in nanoseconds
 *	which   print the body in force           cost   print ns per call of work() and of its twin
 *
 * target.diff changes work() by one constant; twin() is the same body and never changes.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile uint64_t largest;
static volatile int quiet; /* the spinner rests while calls are timed */
static volatile long sink;

long work(long x);
long twin(long x);

__attribute__((noipa, aligned(64))) long work(long x)
{
	return (x ^ (x >> 3)) + 1;
}

__attribute__((noipa, aligned(64))) long twin(long x)
{
	return (x ^ (x >> 3)) + 1;
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void *spin(void *arg)
{
	uint64_t last = now();

	for (;;) {
		uint64_t t = now();

		if (t - last > largest)
			largest = t - last;
		last = t;
		while (quiet) {
			usleep(1000);
			last = now();
		}
	}
	return NULL;
}

__attribute__((noinline)) static int nap(int depth)
{
	volatile char room[64];

	room[0] = (char)depth;
	if (depth > 0)
		return nap(depth - 1) + room[0];
	usleep(20000 + work(7) % 1000);
	return 1;
}

static void *sleeper(void *arg)
{
	for (;;)
		nap(10);
	return NULL;
}

static double per_call(long (*f)(long))
{
	enum { CALLS = 2000000 };
	uint64_t start = now();
	long x = 1;

	for (int i = 0; i < CALLS; i++)
		x = f(x);
	sink = x;
	return (double)(now() - start) / CALLS;
}

/* The two take turns, so that a change of the clock rate meets both; the best of each counts. */
static void cost(void)
{
	double best_work = 1e9, best_twin = 1e9;

	quiet = 1;
	usleep(5000);
	for (int i = 0; i < 25; i++) {
		double w = per_call(work), t = per_call(twin);

		best_work = w < best_work ? w : best_work;
		best_twin = t < best_twin ? t : best_twin;
	}
	quiet = 0;
	printf("%.4f %.4f\n", best_work, best_twin);
}

int main(int argc, char **argv)
{
	int threads = argc > 1 ? atoi(argv[1]) : 1;
	pthread_attr_t attr;
	pthread_t t;
	char line[64];

	setvbuf(stdout, NULL, _IOLBF, 0);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	for (int i = 1; i < threads; i++)
		if (pthread_create(&t, &attr, sleeper, NULL) != 0)
			return 1;
	if (pthread_create(&t, &attr, spin, NULL) != 0)
		return 1;
	printf("ready %d\n", (int)getpid());
	while (fgets(line, sizeof(line), stdin)) {
		if (strncmp(line, "reset", 5) == 0) {
			largest = 0;
			puts("ok");
		} else if (strncmp(line, "gap", 3) == 0) {
			printf("%llu\n", (unsigned long long)largest);
		} else if (strncmp(line, "which", 5) == 0) {
			puts(work(8) == 10 ? "old" : "new");
		} else if (strncmp(line, "cost", 4) == 0) {
			cost();
		}
	}
	return 0;
}
