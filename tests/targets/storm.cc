/* SPDX-License-Identifier: MIT */
/*
 * storm - threads that create threads, block all signals in turn, and throw C++ exceptions through one function.
 *
 *	storm THREADS
 *
 * pass() is what storm.diff patches: it owns an object with a destructor and calls something that throws every other
 * time, so that an exception goes through its frame. Each call must give the old or the new value, whole, whether
 * returned or thrown, and every object must have been destroyed. Lines on stdin as for busy.c.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { ANY, OLD, NEW };

static volatile int expect = ANY;
static volatile int stop;
static unsigned long n_old, n_new, n_wrong, n_thrown;
static __thread long alive; /* guards of this thread that were made and not destroyed */

struct guard {
	long id;
	explicit guard(long i) : id(i)
	{
		alive++;
	}
	~guard()
	{
		alive--;
	}
};

struct trouble {
	long value;
};

long pass(long x);

__attribute__((noinline)) static long leaf(long x)
{
	if (x & 1)
		throw trouble{ x * 2 };
	return x * 2;
}

__attribute__((noinline)) long pass(long x)
{
	guard g(x);

	try {
		return leaf(x) + 1000;
	} catch (trouble &t) {
		throw trouble{ t.value + 1000 };
	}
}

__attribute__((noinline)) static void spin(long n)
{
	for (volatile long i = 0; i < n; i = i + 1)
		;
}

static void call(long x)
{
	int before = expect;
	bool thrown = false;
	long got;

	try {
		got = pass(x);
	} catch (trouble &t) {
		got = t.value;
		thrown = true;
	}
	int after = expect;
	bool is_old = got == x * 2 + 1000, is_new = got == x * 2 + 2000;
	__sync_fetch_and_add(is_old ? &n_old : is_new ? &n_new : &n_wrong, 1UL);
	__sync_fetch_and_add(&n_thrown, (unsigned long)thrown);
	if (thrown != (x % 2 != 0) || alive != 0 ||
	    (before == after && ((before == OLD && !is_old) || (before == NEW && !is_new))))
		__sync_fetch_and_add(&n_wrong, 1UL);
}

static void *brief(void *arg)
{
	sigset_t all, old;

	call(reinterpret_cast<long>(arg));
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	call(reinterpret_cast<long>(arg) + 1);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return NULL;
}

static void *run(void *arg)
{
	sigset_t all, old;
	long x = reinterpret_cast<long>(arg) * 1000003;

	sigfillset(&all);
	while (!stop) {
		pthread_t t;

		for (int i = 0; i < 8; i++, x++) {
			call(x);
			spin(40000);
		}
		pthread_sigmask(SIG_BLOCK, &all, &old);
		call(x++);
		spin(40000);
		if (pthread_create(&t, NULL, brief, reinterpret_cast<void *>(x)) == 0)
			pthread_join(t, NULL);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	return NULL;
}

static void report()
{
	printf("calls old %lu new %lu wrong %lu thrown %lu\n", n_old, n_new, n_wrong, n_thrown);
}

int main(int argc, char **argv)
{
	int threads = argc > 1 ? atoi(argv[1]) : 1;
	pthread_t *t = static_cast<pthread_t *>(calloc(threads, sizeof(*t)));
	char line[64];

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (long i = 0; i < threads; i++)
		if (pthread_create(&t[i], NULL, run, reinterpret_cast<void *>(i)) != 0)
			return 1;
	setpriority(PRIO_PROCESS, 0, -10); /* this thread answers at once; without the right to it, later */
	printf("ready %d\n", static_cast<int>(getpid()));
	while (fgets(line, sizeof(line), stdin) && strncmp(line, "quit", 4) != 0) {
		if (strncmp(line, "expect ", 7) == 0) {
			expect = strncmp(line + 7, "old", 3) == 0 ? OLD : strncmp(line + 7, "new", 3) == 0 ? NEW : ANY;
			printf("expecting\n");
		} else {
			report();
		}
	}
	stop = 1;
	for (int i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	report();
	return 0;
}
