/* SPDX-License-Identifier: MIT */
/*
 * A thread that is about to get a signal just when it is stopped gets it once, with what came with it, whatever
 * becomes of the stop. The target counts the signals and reads their numbers.
 */
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "lib.h"
#include "lib/needs.h"

static void await_state(pid_t pid, pid_t tid, char state)
{
	struct sut_stat st = { 0 };

	for (unsigned i = 0; i < 20000; i++) {
		assert_int_equal(sut_procfs_stat(pid, tid, &st), 0);
		if (st.state == state)
			return;
		usleep(500);
	}
	fail_msg("thread %d is in state %c, not %c", tid, st.state, state);
}

static void send(pid_t pid, pid_t tid, int value)
{
	siginfo_t si = { .si_code = SI_QUEUE };

	si.si_pid = getpid();
	si.si_value.sival_int = value;
	assert_int_equal(syscall(SYS_rt_tgsigqueueinfo, pid, tid, SIGRTMIN + 2, &si), 0);
}

/* The thread is seized and stops because of the signal that is sent to it now. */
static void stop_at_signal(struct suture_process *p, pid_t tid, int value)
{
	sut_hold_begin(p);
	assert_int_equal(sut_thread_seize(p, tid), 0);
	send(p->pid, tid, value);
	await_state(p->pid, tid, 't');
}

static void call(struct suture_process *p)
{
	int64_t r = 0;

	check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_GETPID));
	assert_int_equal(r, p->pid);
}

static void in_a_common_stop(struct suture_process *p, pid_t tid, int value)
{
	stop_at_signal(p, tid, value);
	check(p, sut_process_stop(p, 10000));
	call(p);
	sut_process_release(p);
}

static void in_a_borrow(struct suture_process *p, pid_t tid, int value)
{
	int err;

	stop_at_signal(p, tid, value);
	err = sut_thread_hold_one(p, tid, sut_now_ns() + 10000000000u);
	assert_int_equal(err, 0);
	p->borrowed = &p->thread.v[0];
	call(p);
	sut_process_release(p);
}

/* One that was given up, and stops afterwards. */
static void when_it_is_late(struct suture_process *p, pid_t tid, int value)
{
	struct sut_thread late = { .tid = tid, .seized = true };

	stop_at_signal(p, tid, value);
	assert_int_equal(sut_vec_push(&sut_priv(p)->late, late), 0);
	sut_process_release(p);
	assert_int_equal(sut_priv(p)->late.n, 0);
}

/* It comes when the thread stands still already. */
static void while_it_stands_still(struct suture_process *p, pid_t tid, int value)
{
	check(p, sut_process_stop(p, 10000));
	send(p->pid, tid, value);
	call(p);
	sut_process_release(p);
}

static void while_it_is_borrowed(struct suture_process *p, pid_t tid, int value)
{
	sut_hold_begin(p);
	assert_int_equal(sut_thread_hold_one(p, tid, sut_now_ns() + 10000000000u), 0);
	p->borrowed = &p->thread.v[0];
	call(p);
	send(p->pid, tid, value);
	call(p);
	sut_process_release(p);
}

/* The tool is killed with the thread in its hands. */
static void killed_in_a_borrow(struct suture_process *p, pid_t tid, int value)
{
	pid_t tool = fork();
	int status;

	if (!tool) {
		struct suture_process *own = attach(p->pid);

		stop_at_signal(own, tid, value);
		if (sut_thread_hold_one(own, tid, sut_now_ns() + 10000000000u))
			_exit(1);
		own->borrowed = &own->thread.v[0];
		call(own);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(tool, &status, 0), tool);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void each_thread(void (*one)(struct suture_process *p, pid_t tid, int value))
{
	struct suture_process *p;
	struct target t;
	pid_t tid[3];

	target_start(&t, "count", "30");
	p = attach(t.pid);
	assert_int_equal(sut_procfs_tids(p), 0);
	assert_int_equal(sut_priv(p)->tids.n, 3);
	memcpy(tid, sut_priv(p)->tids.v, sizeof(tid));
	for (int i = 0; i < 10; i++)
		for (size_t k = 0; k < 3; k++)
			one(p, tid[k], i);
	suture_process_detach(p);
	target_stop_clean(&t);
	assert_int_equal(t.done, 30);
}

#define TEST(what)                              \
	static void signal_##what(void **state) \
	{                                       \
		each_thread(what);              \
	}

TEST(in_a_common_stop)
TEST(in_a_borrow)
TEST(when_it_is_late)
TEST(while_it_stands_still)
TEST(while_it_is_borrowed)
TEST(killed_in_a_borrow)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signal_in_a_common_stop),     cmocka_unit_test(signal_in_a_borrow),
		cmocka_unit_test(signal_when_it_is_late),      cmocka_unit_test(signal_while_it_stands_still),
		cmocka_unit_test(signal_while_it_is_borrowed), cmocka_unit_test(signal_killed_in_a_borrow),
	};

	need_host();
	need_trace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
