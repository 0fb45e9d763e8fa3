/* SPDX-License-Identifier: MIT */
/* Common stops and borrows of all sorts of processes: they are complete, and nobody notices. */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "lib.h"
#include "lib/needs.h"

/* A stop, and proof that it holds every thread: listed and stopped. */
static void stop_all(struct suture_process *p)
{
	check(p, sut_process_stop(p, 10000));
	assert_string_equal(thread_states(p->pid), "t");
	assert_int_equal(sut_procfs_tids(p), 0);
	for (size_t i = 0; i < sut_priv(p)->tids.n; i++) {
		bool found = false;

		for (size_t k = 0; k < p->thread.n; k++)
			found |= p->thread.v[k].tid == sut_priv(p)->tids.v[i] && p->thread.v[k].regs_valid;
		assert_true(found);
	}
}

static void borrow_and_call(struct suture_process *p)
{
	int64_t r = 0;

	check(p, sut_process_borrow(p, 10000));
	check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_GETPID));
	assert_int_equal(r, p->pid);
	sut_process_release(p);
}

static void cycles(struct suture_process *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		stop_all(p);
		sut_process_release(p);
		sut_process_sleep(p, 1);
		borrow_and_call(p);
		sut_process_sleep(p, 1);
	}
	assert_null(strchr(thread_states(p->pid), 't'));
}

/* 200 stops and borrows; the sleeps that are longer than the pauses between must end all the same. */
static void no_call_is_broken_off(void **state)
{
	struct suture_process *p;
	struct target t;

	target_start(&t, "calls");
	p = attach(t.pid);
	cycles(p, 200);
	suture_process_detach(p);
	target_stop_clean(&t);
	assert_true(t.nanosleep > 0);
	assert_true(t.poll > 0);
	assert_true(t.futex > 0);
	assert_true(t.computation > 0);
}

static void threads_that_come_and_go(void **state)
{
	struct suture_process *p;
	struct target t;

	target_start(&t, "churn", "4");
	p = attach(t.pid);
	cycles(p, 100);
	suture_process_detach(p);
	target_stop_clean(&t);
	assert_true(t.done > 100);
}

static void children_are_let_go(void **state)
{
	struct suture_process *p;
	struct target t;

	target_start(&t, "fork", "3");
	p = attach(t.pid);
	cycles(p, 100);
	assert_int_equal(sut_priv(p)->late.n, 0);
	suture_process_detach(p);
	target_stop_clean(&t);
	assert_true(t.done > 10);
}

/* io_uring's worker threads are the kernel's: they are neither stopped nor borrowed, and their request goes on. */
static void workers_of_the_kernel_are_left_alone(void **state)
{
	struct suture_process *p;
	struct target t;
	pid_t worker = 0;

	target_start(&t, "uring");
	p = attach(t.pid);
	for (unsigned k = 0; k < 100 && !worker; k++) {
		assert_int_equal(sut_procfs_tids(p), 0);
		for (size_t i = 0; i < sut_priv(p)->tids.n; i++) {
			char name[32];

			check(p, sut_procfs_status(t.pid, sut_priv(p)->tids.v[i], "Name", name, sizeof(name)));
			if (!strncmp(name, "iou-", 4))
				worker = sut_priv(p)->tids.v[i];
		}
		usleep(10000);
	}
	if (!worker) {
		suture_process_detach(p);
		target_stop_clean(&t);
		print_message("no io_uring worker threads here\n");
		skip();
	}
	for (unsigned i = 0; i < 20; i++) {
		check(p, sut_process_stop(p, 10000));
		assert_int_equal(p->thread.n, 1);
		assert_int_equal(p->thread.v[0].tid, t.pid);
		assert_int_equal(sut_procfs_status_num(t.pid, worker, "TracerPid", -1), 0);
		sut_process_release(p);
		borrow_and_call(p);
	}
	suture_process_detach(p);
	target_stop_clean(&t);
}

static void signals_arrive_as_they_were_sent(void **state)
{
	struct suture_process *p;
	struct target t;

	target_start(&t, "queue", "timer");
	p = attach(t.pid);
	cycles(p, 200);
	suture_process_detach(p);
	/* A signal that comes while the end is waited for is no fault of ours. */
	target_stop(&t);
	assert_int_equal(t.errors, 0);
	assert_true(t.alarms > 0);
	assert_true(t.done > 10);
}

static void a_stopped_process_stays_stopped(void **state)
{
	struct suture_process *p;
	struct target t;
	int64_t r;

	target_start(&t, "calls", "sleep", "2");
	p = attach(t.pid);
	kill(t.pid, SIGSTOP);
	while (strcmp(thread_states(t.pid), "T"))
		usleep(1000);
	for (unsigned i = 0; i < 20; i++) {
		stop_all(p);
		check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_GETPID));
		assert_int_equal(r, t.pid);
		sut_process_release(p);
		borrow_and_call(p);
		/* The kernel puts them back into the group stop on their own time. */
		for (unsigned k = 0; strcmp(thread_states(t.pid), "T") && k < 5000; k++)
			usleep(1000);
		assert_string_equal(thread_states(t.pid), "T");
	}
	suture_process_detach(p);
	kill(t.pid, SIGCONT);
	/* epoll_wait & co answer a SIGCONT with EINTR by themselves. */
	target_stop(&t);
	assert_int_equal(t.errors, 0);
}

/* A SIGSTOP and a SIGCONT that come while a thread makes calls for us. */
static void a_stop_signal_meanwhile(void **state)
{
	struct suture_process *p;
	struct target t;
	int64_t r;

	target_start(&t, "sleep", "2");
	p = attach(t.pid);
	for (unsigned i = 0; i < 20; i++) {
		check(p, sut_process_borrow(p, 1000));
		check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_GETPID));
		kill(t.pid, SIGSTOP);
		for (unsigned k = 0; k < 20; k++) {
			check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_GETPID));
			assert_int_equal(r, t.pid);
		}
		sut_process_release(p);
		for (unsigned k = 0; strcmp(thread_states(t.pid), "T") && k < 5000; k++)
			usleep(1000);
		assert_string_equal(thread_states(t.pid), "T");
		kill(t.pid, SIGCONT);
	}
	suture_process_detach(p);
	target_stop(&t);
	assert_int_equal(t.errors, 0);
}

static void status_lines(pid_t pid, char ret[256])
{
	static const char *const names[] = { "SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd" };
	char value[64];

	*ret = '\0';
	for (size_t i = 0; i < SUT_ARRAY_SIZE(names); i++) {
		assert_int_equal(sut_procfs_status(pid, 0, names[i], value, sizeof(value)), 0);
		strcat(ret, value);
		strcat(ret, " ");
	}
}

static void signal_state_is_left_alone(void **state)
{
	char before[256], after[256];
	struct suture_process *p;
	struct target t;

	target_start(&t, "sleep", "2", "block");
	status_lines(t.pid, before);
	assert_non_null(strstr(before, "fffffff"));
	p = attach(t.pid);
	cycles(p, 10);
	suture_process_detach(p);
	status_lines(t.pid, after);
	assert_string_equal(before, after);
	target_stop_clean(&t);
}

static void a_leader_that_has_ended(void **state)
{
	struct suture_process *p;
	struct target t;

	target_start(&t, "sleep", "3", "zombie");
	while (!strchr(thread_states(t.pid), 'Z'))
		usleep(1000);
	p = attach(t.pid);
	assert_int_not_equal(p->live_tid, p->pid);
	assert_int_equal(p->obj.v[0].start, t.ehdr);
	for (unsigned i = 0; i < 10; i++) {
		check(p, sut_process_stop(p, 1000));
		assert_int_equal(p->thread.n, 4);
		sut_process_release(p);
		borrow_and_call(p);
	}
	suture_process_detach(p);
	target_stop_clean(&t);
}

/* A vfork parent cannot be stopped: the stop gives up, and nobody stays behind. */
static void who_can_not_be_stopped(void **state)
{
	struct suture_process *p;
	struct target t;
	char line[64];
	pid_t child;

	target_start(&t, "sleep", "3", "vfork");
	assert_int_equal(sut_procfs_status(t.pid, 0, "State", line, sizeof(line)), 0);
	while (!strchr(thread_states(t.pid), 'D'))
		usleep(1000);
	p = attach(t.pid);
	assert_int_equal(sut_process_stop(p, 200), -SUTURE_ETIMEOUT);
	assert_null(strchr(thread_states(t.pid), 't'));
	/* The rest can be borrowed from meanwhile. */
	borrow_and_call(p);
	/* Its child ends: then it can be stopped. */
	child = child_of(p);
	assert_true(child > 0);
	kill(child, SIGKILL);
	stop_all(p);
	sut_process_release(p);
	suture_process_detach(p);
	target_stop(&t);
	assert_int_equal(t.errors, 0);
}

/* An exec in the middle: said, and the new program runs on. */
static void an_exec_meanwhile(void **state)
{
	struct suture_process *p;
	struct target t;
	int err = 0;

	target_start(&t, "sleep", "3", "exec");
	p = attach(t.pid);
	check(p, sut_process_stop(p, 1000));
	sut_process_release(p);
	kill(t.pid, SIGUSR1); /* execs itself with "sleep 0" */
	for (unsigned i = 0; i < 2000 && !err; i++) {
		int64_t r;

		err = sut_process_borrow(p, 5000);
		if (!err)
			err = sut_mem_syscall(&p->mem, &r, SUT_SYS_GETPID);
		sut_process_release(p);
	}
	if (err != -SUTURE_EGONE)
		fail_msg("%d: %s", err, suture_ctx_error(ctx())->message);
	assert_non_null(strstr(suture_ctx_error(ctx())->message, "exec"));
	assert_int_equal(sut_process_refresh(p), -SUTURE_EGONE);
	suture_process_detach(p);
	target_stop(&t);
	assert_int_equal(t.errors, 0);
}

/*
 * An exec waits for a thread that we hold, and we would wait for the exec: seizing sleeps on a lock that the exec has.
 * Without the timer of seize.c this never ends.
 */
static void an_exec_and_a_thread_of_ours(void **state)
{
	struct suture_process *p;
	struct target t;

	target_start(&t, "sleep", "3", "exec");
	p = attach(t.pid);
	check(p, sut_process_borrow(p, 1000));
	assert_int_not_equal(p->borrowed->tid, t.pid);
	kill(t.pid, SIGUSR1);
	while (!strchr(thread_states(t.pid), 'Z')) /* killed by the exec, and ours to collect */
		usleep(1000);
	assert_int_equal(sut_process_stop(p, 5000), -SUTURE_EGONE);
	sut_process_release(p);
	suture_process_detach(p);
	target_stop(&t);
	assert_int_equal(t.errors, 0);
}

static void our_own_signals_wait(void **state)
{
	struct suture_process *p;
	struct target t;
	sigset_t before, during, after;

	sigprocmask(SIG_SETMASK, NULL, &before);
	target_start(&t, "sleep", "1");
	p = attach(t.pid);
	check(p, sut_process_borrow(p, 1000));
	sigprocmask(SIG_SETMASK, NULL, &during);
	assert_true(sigismember(&during, SIGTSTP) && sigismember(&during, SIGINT) && sigismember(&during, SIGPIPE));
	sut_tool_signals_block();
	raise(SIGPIPE);
	sut_tool_signals_unblock();
	sut_process_release(p); /* the SIGPIPE is gone with it, or we with the SIGPIPE */
	sigprocmask(SIG_SETMASK, NULL, &after);
	for (int sig = 1; sig < NSIG; sig++)
		assert_int_equal(sigismember(&before, sig), sigismember(&after, sig));
	suture_process_detach(p);
	target_stop_clean(&t);
}

/* A child of the caller's that ends meanwhile is the caller's to collect. */
static void other_children_are_left_alone(void **state)
{
	struct suture_process *p;
	struct target t;
	pid_t other;
	int status;

	target_start(&t, "sleep", "4");
	p = attach(t.pid);
	other = fork();
	if (!other)
		_exit(5);
	cycles(p, 20);
	assert_int_equal(waitpid(other, &status, 0), other);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 5);
	suture_process_detach(p);
	target_stop_clean(&t);
}

static void many_threads(void **state)
{
	struct suture_process *p;
	struct target t;
	uint64_t start, stop = UINT64_MAX, hold = UINT64_MAX;

	target_start(&t, "sleep", "256");
	p = attach(t.pid);
	for (unsigned i = 0; i < 10; i++) {
		uint64_t took;

		start = sut_now_ns();
		check(p, sut_process_stop(p, 10000));
		assert_int_equal(p->thread.n, 257);
		took = sut_now_ns() - start;
		stop = took < stop ? took : stop;
		took = sut_process_release(p);
		hold = took < hold ? took : hold;
	}
	print_message("257 threads: stop %llu us, longest hold %llu us at best\n", (unsigned long long)stop / 1000,
		      (unsigned long long)hold / 1000);
	suture_process_detach(p);
	target_stop_clean(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_call_is_broken_off),
		cmocka_unit_test(threads_that_come_and_go),
		cmocka_unit_test(children_are_let_go),
		cmocka_unit_test(workers_of_the_kernel_are_left_alone),
		cmocka_unit_test(signals_arrive_as_they_were_sent),
		cmocka_unit_test(a_stopped_process_stays_stopped),
		cmocka_unit_test(a_stop_signal_meanwhile),
		cmocka_unit_test(signal_state_is_left_alone),
		cmocka_unit_test(a_leader_that_has_ended),
		cmocka_unit_test(who_can_not_be_stopped),
		cmocka_unit_test(an_exec_meanwhile),
		cmocka_unit_test(an_exec_and_a_thread_of_ours),
		cmocka_unit_test(our_own_signals_wait),
		cmocka_unit_test(other_children_are_left_alone),
		cmocka_unit_test(many_threads),
	};

	need_host();
	need_trace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
