/* SPDX-License-Identifier: MIT */
/*
 * No call that a thread waits in comes back because of us: blocker.c has a thread in each, and says which did. Its
 * threads are stopped and let go, made to call for us, and left behind by tools that are killed.
 */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "lib.h"
#include "lib/needs.h"

static void start(struct target *t)
{
	target_start_program(t, getenv("BLOCKER"), (const char *const[]){ getenv("BLOCKED_CALL"), NULL });
}

static void hold(struct suture_process *p, pid_t tid)
{
	int err;

	sut_hold_begin(p);
	err = sut_thread_hold_one(p, tid, sut_now_ns() + 10000000000u);
	if (err)
		fail_msg("thread %d can not be held: %d", tid, err);
	p->borrowed = &p->thread.v[0];
}

static void call(struct suture_process *p)
{
	int64_t r = 0;

	check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_GETPID));
	assert_int_equal(r, p->pid);
}

/* The threads of a process that nobody traces. Freed by the caller. */
static pid_t *threads(struct suture_process *p, size_t *n)
{
	pid_t *ret;

	assert_int_equal(sut_procfs_tids(p), 0);
	*n = sut_priv(p)->tids.n;
	ret = malloc(*n * sizeof(*ret));
	memcpy(ret, sut_priv(p)->tids.v, *n * sizeof(*ret));
	return ret;
}

static void by_common_stops(void **state)
{
	struct suture_process *p;
	struct target t;

	start(&t);
	p = attach(t.pid);
	for (unsigned i = 0; i < 100; i++) {
		check(p, sut_process_stop(p, 10000));
		if (i & 1)
			call(p);
		sut_process_release(p);
		sut_process_sleep(p, 1);
	}
	suture_process_detach(p);
	target_stop_clean(&t);
}

/* Each thread in turn is the one that calls for us, whatever it waits in. */
static void by_borrows(void **state)
{
	struct suture_process *p;
	struct target t;
	pid_t *tid;
	size_t n;

	start(&t);
	p = attach(t.pid);
	tid = threads(p, &n);
	for (unsigned i = 0; i < 3; i++)
		for (size_t k = 0; k < n; k++) {
			hold(p, tid[k]);
			call(p);
			sut_process_release(p);
		}
	free(tid);
	suture_process_detach(p);
	target_stop_clean(&t);
}

/* Runs in a tool of its own, which is killed by its own hand where @work ends. */
static void as_killed(void (*work)(struct suture_process *p, pid_t tid), pid_t pid, pid_t tid)
{
	pid_t tool = fork();
	int status;

	if (!tool) {
		struct suture_process *p = attach(pid);

		work(p, tid);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(tool, &status, 0), tool);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void stop_all(struct suture_process *p, pid_t tid)
{
	check(p, sut_process_stop(p, 10000));
}

static void by_tools_killed_in_a_stop(void **state)
{
	struct target t;

	start(&t);
	for (unsigned i = 0; i < 20; i++)
		as_killed(stop_all, t.pid, 0);
	usleep(10000);
	target_stop_clean(&t);
}

static void hold_and_call(struct suture_process *p, pid_t tid)
{
	hold(p, tid);
	call(p);
}

/* The frame that brings the thread home has the restart of its call in it. */
static void by_tools_killed_in_a_borrow(void **state)
{
	struct suture_process *p;
	struct target t;
	pid_t *tid;
	size_t n;

	start(&t);
	p = attach(t.pid);
	tid = threads(p, &n);
	for (size_t k = 0; k < n; k++) {
		as_killed(hold_and_call, t.pid, tid[k]);
		/* Home before the next one. */
		check(p, sut_process_borrow(p, 10000));
		sut_process_release(p);
	}
	free(tid);
	suture_process_detach(p);
	target_stop_clean(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_common_stops),
		cmocka_unit_test(by_borrows),
		cmocka_unit_test(by_tools_killed_in_a_stop),
		cmocka_unit_test(by_tools_killed_in_a_borrow),
	};

	need_host();
	need_trace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
