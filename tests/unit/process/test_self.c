/* SPDX-License-Identifier: MIT */
/*
 * test_self.c - this very process as a target: its memory, its threads stopped by a signal and walked.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "process/internal.h"

#define NOINLINE __attribute__((noinline))
#define STOPS    300

static struct suture_ctx *ctx;
static struct suture_process *self;
static int over;

static void want(int err, int wanted, const char *what)
{
	if (err != wanted)
		fail_msg("%s: %d (%s), want %d: %s", what, err, suture_code_name(err), wanted,
			 err ? suture_ctx_error(ctx)->message : "it succeeded");
}

static int set_up(void **state)
{
	over = 0;
	return suture_process_self(ctx, &self);
}

static int tear_down(void **state)
{
	suture_process_detach(self);
	return 0;
}

static bool is_over(void)
{
	return __atomic_load_n(&over, __ATOMIC_SEQ_CST);
}

/* -- memory ----------------------------------------------------------------------------------- */

static void test_memory(void **state)
{
	struct sut_mem *mem = sut_process_mem(self);
	size_t page = mem->page_size;
	volatile uint64_t here = 5;
	uint8_t buf[64], *two;
	uint64_t there = 0;
	int64_t ret = 0;

	want(sut_mem_read(mem, (uintptr_t)&here, &there, sizeof(there)), 0, "read");
	assert_int_equal(there, 5);
	there = 6;
	want(sut_mem_write(mem, (uintptr_t)&here, &there, sizeof(there)), 0, "write");
	assert_int_equal(here, 6);
	/* What is not there is an answer, not a fault. */
	two = mmap(NULL, 2 * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(two, MAP_FAILED);
	assert_int_equal(munmap(two + page, page), 0);
	assert_int_equal(sut_process_read_some(self, (uintptr_t)two + page - 16, buf, sizeof(buf)), 16);
	want(sut_mem_read(mem, (uintptr_t)two + page - 16, buf, sizeof(buf)), -SUTURE_EFAILED, "read over the end");
	want(sut_mem_write(mem, (uintptr_t)two + page, buf, 1), -SUTURE_EFAILED, "write behind the end");
	/* Read-only memory is written without becoming writable. */
	want(sut_mem_write(mem, (uintptr_t)two, "text", 4), 0, "write to read-only memory");
	assert_memory_equal(two, "text", 4);
	want(sut_process_refresh(self), 0, "refresh");
	assert_int_equal(sut_maps_at(&self->maps, (uintptr_t)two)->prot, SUT_PROT_R);
	munmap(two, page);
	want(sut_mem_syscall(mem, &ret, SUT_SYS_GETPID), 0, "getpid");
	assert_int_equal(ret, getpid());
	want(sut_mem_syscall(mem, &ret, SUT_SYS_CLOSE, 1000000), 0, "close");
	assert_int_equal(ret, -EBADF);
}

/* -- threads in all kinds of places ------------------------------------------------------------ */

/* A place that a thread says it stands in, a few calls deep. */
static pid_t spinner, sleeper, handled;
static int in_place[3], pipe_fd[2], got_eintr;
static volatile unsigned long spins;

NOINLINE static void spin(void)
{
	__atomic_store_n(&in_place[0], 1, __ATOMIC_SEQ_CST);
	while (!is_over())
		spins = spins + 1;
}

static void *spins_around(void *arg)
{
	spinner = gettid();
	spin();
	return arg;
}

NOINLINE static ssize_t sleep_in_read(void)
{
	char c;
	ssize_t n;

	__atomic_store_n(&in_place[1], 1, __ATOMIC_SEQ_CST);
	n = read(pipe_fd[0], &c, 1);
	if (n < 0)
		got_eintr = errno;
	return n;
}

static void *sleeps(void *arg)
{
	sleeper = gettid();
	return sleep_in_read() == 1 ? arg : NULL;
}

static void on_usr1(int sig)
{
	__atomic_store_n(&in_place[2], 1, __ATOMIC_SEQ_CST);
	while (!is_over())
		spins = spins + 1;
}

static void *handles(void *arg)
{
	handled = gettid();
	raise(SIGUSR1);
	return arg;
}

static void wait_for(const int *flag)
{
	while (!__atomic_load_n(flag, __ATOMIC_SEQ_CST))
		usleep(1000);
}

static struct sut_thread *thread_of(pid_t tid)
{
	for (size_t i = 0; i < self->thread.n; i++)
		if (self->thread.v[i].tid == tid)
			return &self->thread.v[i];
	return NULL;
}

/* Nothing may be asserted while the others stand still: printing takes locks. */
struct seen {
	size_t threads;
	struct {
		bool found, reliable, inside;
		const char *why;
	} t[4];
	unsigned long spins, spins_later;
};

static void look(struct seen *s, unsigned i, pid_t tid, uint64_t fn)
{
	static struct sut_frame frames[256];
	struct sut_thread *t = thread_of(tid);
	size_t n;

	s->t[i].found = t;
	if (!t)
		return;
	n = sut_unwind(self, t, NULL, 0, frames, SUT_ARRAY_SIZE(frames), &s->t[i].reliable, &s->t[i].why);
	for (size_t k = 0; k < n; k++)
		s->t[i].inside |= frames[k].pc - fn < 512;
}

NOINLINE static void stop_and_look(struct seen *s)
{
	memset(s, 0, sizeof(*s));
	want(sut_process_stop(self, 5000), 0, "stop");
	s->threads = self->thread.n;
	s->spins = spins;
	look(s, 0, spinner, (uintptr_t)spin);
	look(s, 1, sleeper, (uintptr_t)sleep_in_read);
	look(s, 2, handled, (uintptr_t)on_usr1);
	look(s, 3, gettid(), (uintptr_t)stop_and_look);
	s->spins_later = spins;
	sut_process_release(self);
}

/* Every thread is walked to its end, from where it was interrupted; what was missed is read, so the second look is enough
 * but for a thread that moves on. */
static void test_walk(void **state)
{
	pthread_t t[3];
	struct seen s;

	assert_int_equal(pipe(pipe_fd), 0);
	signal(SIGUSR1, on_usr1);
	pthread_create(&t[0], NULL, spins_around, NULL);
	pthread_create(&t[1], NULL, sleeps, NULL);
	for (int i = 0; i < 2; i++)
		wait_for(&in_place[i]);
	want(sut_prove_prepare(self), 0, "prepare");
	for (int i = 0; i < 10; i++) {
		stop_and_look(&s);
		if (s.t[0].reliable && s.t[1].reliable && s.t[3].reliable)
			break;
	}
	assert_int_equal(s.threads, 3);
	assert_int_equal(s.spins, s.spins_later);
	for (unsigned i = 0; i < 4; i++) {
		if (i == 2)
			continue;
		assert_true(s.t[i].found);
		if (!s.t[i].reliable)
			fail_msg("thread %u is not walked to its end: %s", i, s.t[i].why);
		assert_true(s.t[i].inside);
	}
	/* A handler of the program's own: found in it at least; what it interrupted where that can be told. */
	pthread_create(&t[2], NULL, handles, NULL);
	wait_for(&in_place[2]);
	for (int i = 0; i < 10; i++)
		stop_and_look(&s);
	assert_int_equal(s.threads, 4);
	assert_true(s.t[2].found && s.t[2].inside);
	/* The one that slept in read() never heard of it. */
	__atomic_store_n(&over, 1, __ATOMIC_SEQ_CST);
	assert_int_equal(write(pipe_fd[1], "x", 1), 1);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(got_eintr, 0);
	signal(SIGUSR1, SIG_DFL);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}

/* -- many stops -------------------------------------------------------------------------------- */

static void *allocates(void *arg)
{
	while (!is_over()) {
		void *p[8];

		for (size_t i = 0; i < SUT_ARRAY_SIZE(p); i++)
			p[i] = malloc(64 << i);
		for (size_t i = 0; i < SUT_ARRAY_SIZE(p); i++)
			free(p[i]);
	}
	return arg;
}

static void *nothing(void *arg)
{
	return arg;
}

static void *makes_threads(void *arg)
{
	pthread_t t;

	while (!is_over())
		if (!pthread_create(&t, NULL, nothing, NULL))
			pthread_join(t, NULL);
	return arg;
}

static void test_many_stops(void **state)
{
	uint64_t until = sut_now_ns() + 30000000000u;
	pthread_t t[4];
	unsigned stops = 0;

	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, allocates, NULL);
	pthread_create(&t[3], NULL, makes_threads, NULL);
	for (int i = 0; i < STOPS && sut_now_ns() < until; i++) {
		bool all;

		want(sut_process_stop(self, 10000), 0, "stop");
		all = self->thread.n >= 5 && thread_of(gettid());
		for (size_t k = 0; k < self->thread.n; k++)
			all &= self->thread.v[k].stopped && self->thread.v[k].regs_valid;
		sut_process_release(self);
		assert_true(all);
		stops++;
	}
	__atomic_store_n(&over, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_true(stops > 10);
}

/* The signal is lent: before and after it does what the program wants, and a late one harms nobody. */
static void test_signal_given_back(void **state)
{
	struct sigaction before[65], now;
	sigset_t mask, after;

	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++)
		sigaction(sig, NULL, &before[sig]);
	want(sut_process_stop(self, 5000), 0, "stop");
	sut_process_release(self);
	for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++) {
		sigaction(sig, NULL, &now);
		assert_ptr_equal(now.sa_handler, before[sig].sa_handler);
	}
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	assert_memory_equal(&mask, &after, sizeof(uint64_t));
}

static void test_no_signal_free(void **state)
{
	struct sigaction before[65], ignore = { .sa_handler = SIG_IGN };

	for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++)
		sigaction(sig, &ignore, &before[sig]);
	want(sut_process_stop(self, 1000), -SUTURE_EREFUSED, "stop without a signal");
	for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++)
		sigaction(sig, &before[sig], NULL);
	want(sut_process_stop(self, 5000), 0, "stop");
	sut_process_release(self);
}

static int blocked, unblock;

static void *blocks(void *arg)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	__atomic_store_n(&blocked, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&unblock, __ATOMIC_SEQ_CST))
		usleep(1000);
	pthread_sigmask(SIG_UNBLOCK, &all, NULL);
	while (!is_over())
		usleep(1000);
	return arg;
}

/* What was sent to a thread that blocks it comes when the stop is over and done with, and even when the handle is. */
static void test_late_signal(void **state)
{
	pthread_t t;

	pthread_create(&t, NULL, blocks, NULL);
	wait_for(&blocked);
	want(sut_process_stop(self, 200), -SUTURE_ETIMEOUT, "stop of one that blocks signals");
	suture_process_detach(self);
	__atomic_store_n(&unblock, 1, __ATOMIC_SEQ_CST);
	usleep(20000);
	want(suture_process_self(ctx, &self), 0, "self");
	want(sut_process_stop(self, 5000), 0, "stop");
	sut_process_release(self);
	__atomic_store_n(&over, 1, __ATOMIC_SEQ_CST);
	pthread_join(t, NULL);
}

/* A child has the handle's memory, not its process. */
static void test_fork(void **state)
{
	int status = -1;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		struct suture_process *mine = NULL;
		int ok = sut_process_stop(self, 100) == -SUTURE_EUSAGE && !suture_process_self(ctx, &mine) &&
			 !sut_process_stop(mine, 5000);

		sut_process_release(mine);
		suture_process_detach(mine);
		suture_process_detach(self);
		_exit(!ok);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	want(sut_process_stop(self, 5000), 0, "stop");
	sut_process_release(self);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_memory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_walk, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many_stops, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_signal_given_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_signal_free, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_late_signal, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_fork, set_up, tear_down),
	};

	if (suture_ctx_create(NULL, &ctx))
		return 99;
	if (getenv("SUTURE_TEST"))
		cmocka_set_test_filter(getenv("SUTURE_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
