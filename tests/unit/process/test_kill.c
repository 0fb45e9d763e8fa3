/* SPDX-License-Identifier: MIT */
/*
 * The tool is killed at a random moment, again and again, while it makes system calls in a target or has all
 * of it stopped. The target checks itself all the while; each time every thread of it must run on, untraced.
 * SUTURE_KILL_ROUNDS: how often (default 60).
 */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "lib.h"
#include "lib/needs.h"

/* The tool: never comes back. */
static void work(pid_t pid, bool heal)
{
	struct suture_process *p = NULL;
	struct suture_ctx *c;

	if (suture_ctx_create(NULL, &c) || suture_process_attach(c, pid, NULL, &p)) {
		fprintf(stderr, "attach: %s\n", suture_ctx_error(c)->message);
		_exit(1);
	}
	for (unsigned round = 0;; round++) {
		int err = round % 4 == 3 ? sut_process_stop(p, 1000) : sut_process_borrow(p, 1000);
		int64_t r = 0, code = 0, frame = 0;

		for (unsigned i = 0; !err && i < 20; i++) {
			err = sut_mem_syscall(&p->mem, &r, SUT_SYS_GETPID);
			if (!err && r != pid)
				_exit(2);
			if (err || !heal || i != 2 || code)
				continue;
			err = sut_mem_syscall(&p->mem, &code, SUT_SYS_MMAP, 0, 4096, PROT_READ | PROT_EXEC,
					      MAP_PRIVATE | MAP_ANONYMOUS, ~0ull, 0);
			if (!err)
				err = sut_mem_syscall(&p->mem, &frame, SUT_SYS_MMAP, 0, 16384, PROT_READ | PROT_WRITE,
						      MAP_PRIVATE | MAP_ANONYMOUS, ~0ull, 0);
			if (!err)
				err = sut_mem_write(&p->mem, (uint64_t)code, p->mem.arch->heal_code,
						    p->mem.arch->heal_code_size);
			if (!err)
				sut_process_set_heal(p, (uint64_t)code, (uint64_t)frame, 16384);
		}
		if (err) {
			fprintf(stderr, "%s\n", suture_ctx_error(c)->message);
			_exit(3);
		}
		sut_process_release(p);
		if (code) {
			/* Memory of ours goes only when no thread stands on it. */
			sut_process_set_heal(p, 0, 0, 0);
			if (sut_process_borrow(p, 1000) ||
			    sut_mem_syscall(&p->mem, &r, SUT_SYS_MUNMAP, (uint64_t)frame, 16384) ||
			    sut_mem_syscall(&p->mem, &r, SUT_SYS_MUNMAP, (uint64_t)code, 4096))
				_exit(4);
			sut_process_release(p);
		}
		sut_process_sleep(p, 1);
	}
}

static bool all_untraced(pid_t pid)
{
	struct suture_process fake = { .pid = pid };
	struct sut_priv pr = { 0 };
	bool ok = true;

	fake.priv = &pr;
	assert_int_equal(sut_procfs_tids(&fake), 0);
	for (size_t i = 0; i < pr.tids.n; i++) {
		struct sut_stat st;

		ok &= sut_procfs_status_num(pid, pr.tids.v[i], "TracerPid", 0) == 0;
		ok &= sut_procfs_stat(pid, pr.tids.v[i], &st) || (st.state != 't' && st.state != 'T');
	}
	sut_vec_free(&pr.tids);
	return ok;
}

static void kill_rounds(struct target *t, unsigned rounds, bool heal, unsigned seed)
{
	for (unsigned i = 0; i < rounds; i++) {
		pid_t tool = fork();
		int status;

		if (!tool)
			work(t->pid, heal);
		/* Some while it attaches, most while it works. */
		usleep((useconds_t)(rand_r(&seed) % (i % 8 ? 20000 : 3000)));
		kill(tool, SIGKILL);
		assert_int_equal(waitpid(tool, &status, 0), tool);
		if (WIFEXITED(status))
			fail_msg("the tool ended with %d", WEXITSTATUS(status));
		for (unsigned k = 0; !all_untraced(t->pid) && k < 1000; k++)
			usleep(1000);
		assert_true(all_untraced(t->pid));
		assert_int_equal(waitpid(t->pid, &status, WNOHANG), 0);
	}
}

static unsigned rounds(void)
{
	const char *s = getenv("SUTURE_KILL_ROUNDS");

	return s ? (unsigned)atoi(s) : 60;
}

static void run(const char *program, bool heal, const char *const *modes)
{
	struct target t;

	target_start_program(&t, program, modes);
	kill_rounds(&t, rounds(), heal, (unsigned)getpid());
	target_stop(&t);
	/* A tool that dies right after a stop may leave an EINTR; nothing else. */
	assert_int_equal(t.errors, 0);
	if (t.eintr)
		print_message("%d calls came back with EINTR in %u rounds\n", t.eintr, rounds());
}

static void all_calls_go_on(void **state)
{
	run(getenv("TARGET"), false, (const char *const[]){ "calls", NULL });
}

static void with_heal_memory(void **state)
{
	run(getenv("TARGET"), true, (const char *const[]){ "calls", NULL });
}

static void computation_goes_on(void **state)
{
	run(getenv("TARGET"), false, (const char *const[]){ "timer", NULL });
}

static void signals_are_not_lost(void **state)
{
	run(getenv("TARGET"), false, (const char *const[]){ "queue", NULL });
}

static void threads_and_children(void **state)
{
	run(getenv("TARGET"), false, (const char *const[]){ "churn", "2", "fork", "1", NULL });
}

static void static_and_musl(void **state)
{
	static const char *const kinds[] = { "TARGET_STATIC", "TARGET_MUSL" };

	for (size_t i = 0; i < SUT_ARRAY_SIZE(kinds); i++)
		if (getenv(kinds[i]) && *getenv(kinds[i]))
			run(getenv(kinds[i]), false, (const char *const[]){ "calls", NULL });
}

/* Killed while the target is stopped by SIGSTOP: its thread stands on our frame until it may go on. */
static void while_the_target_is_stopped(void **state)
{
	struct target t;

	target_start(&t, "calls");
	for (unsigned i = 0; i < 10; i++) {
		struct suture_process *p;
		pid_t tool;
		int64_t r;
		int status;

		kill(t.pid, SIGSTOP);
		tool = fork();
		if (!tool)
			work(t.pid, false);
		usleep(10000);
		kill(tool, SIGKILL);
		assert_int_equal(waitpid(tool, &status, 0), tool);
		assert_true(WIFSIGNALED(status));
		/* Another tool comes before it went on. */
		p = attach(t.pid);
		check(p, sut_process_borrow(p, 2000));
		check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_GETPID));
		assert_int_equal(r, t.pid);
		sut_process_release(p);
		suture_process_detach(p);
		kill(t.pid, SIGCONT);
		usleep(2000);
	}
	target_stop(&t);
	assert_int_equal(t.errors, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_calls_go_on),
		cmocka_unit_test(with_heal_memory),
		cmocka_unit_test(computation_goes_on),
		cmocka_unit_test(signals_are_not_lost),
		cmocka_unit_test(threads_and_children),
		cmocka_unit_test(static_and_musl),
		cmocka_unit_test(while_the_target_is_stopped),
	};

	need_host();
	need_trace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
