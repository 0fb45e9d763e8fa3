/* SPDX-License-Identifier: MIT */
/* Processes that run on the target's memory without being its threads: no common stop is one while they live. */
#include <errno.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <sys/syscall.h>

#include "lib.h"
#include "lib/needs.h"

static bool shares(pid_t a, pid_t b)
{
	return syscall(SYS_kcmp, a, b, KCMP_VM, 0, 0) == 0;
}

static void is_refused_and_named(void **state)
{
	struct suture_process *p;
	struct target t;
	char says[64];
	pid_t child;

	target_start(&t, "sleep", "2", "share");
	p = attach(t.pid);
	child = child_of(p);
	assert_true(child > 0);
	assert_true(shares(t.pid, child));
	snprintf(says, sizeof(says), "process %d ", child);
	for (unsigned i = 0; i < 3; i++) {
		int64_t r;

		assert_int_equal(sut_process_stop(p, 1000), -SUTURE_EREFUSED);
		assert_non_null(strstr(suture_ctx_error(ctx())->message, says));
		assert_non_null(suture_ctx_error(ctx())->hint);
		assert_null(strchr(thread_states(t.pid), 't'));
		/* One thread can work for us all the same. */
		check(p, sut_process_borrow(p, 10000));
		check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_GETPID));
		sut_process_release(p);
	}
	kill(child, SIGKILL);
	while (child_of(p))
		usleep(1000);
	check(p, sut_process_stop(p, 10000));
	sut_process_release(p);
	suture_process_detach(p);
	target_stop_clean(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_refused_and_named),
	};

	need_host();
	need_trace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
