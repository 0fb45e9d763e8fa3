/* SPDX-License-Identifier: MIT */
/*
 * test_throw.c - exceptions through patched functions: the agent comes with the first patch and goes with the last,
 * in a dynamic and in a static program, while threads throw all the time.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/mksut.h"
#include "live.h"
#include "patch/internal.h"

static const char *program[2], *fix_throw;
static const char *const no_words[] = { NULL };

static struct suture_patch *throw_patch(const char *target)
{
	return live_open(&(struct mksut){
		.name = "fix-throw",
		.object_file = fix_throw,
		.targets = (const char *const[]){ target },
		.sonames = (const char *const[]){ "" },
		.n_targets = 1,
		.funcs = (const struct mksut_func[]){ { "risky", "risky", 0 }, { "passes", "passes", 0 } },
		.n_funcs = 2,
	});
}

static void in_and_out(const char *target, unsigned cycles)
{
	struct suture_patch *patch = throw_patch(target);
	uint8_t before[32], after[32];
	char *second = NULL, *last;
	size_t private;
	struct victim v;

	assert_true(patch->landing_pads);
	victim_exec(&v, target, "4", no_words);
	victim_sees(&v, false);
	victim_text(v.pid, before, &private);
	assert_int_equal(private, 0);
	assert_int_equal(victim_duplicates(v.pid), 0);
	for (unsigned i = 1; i <= cycles; i++) {
		live_want(live_enable(v.pid, patch, NULL, NULL), 0, "enable");
		victim_sees(&v, true);
		live_want(live_disable(v.pid, "fix-throw", NULL), 0, "disable");
		victim_sees(&v, false);
		victim_text(v.pid, after, &private);
		assert_memory_equal(before, after, sizeof(before));
		assert_int_equal(private, 0);
		assert_int_equal(victim_duplicates(v.pid), 0);
		if (i == 2)
			second = victim_maps(v.pid);
	}
	last = victim_maps(v.pid);
	assert_string_equal(last, second);
	free(last);
	free(second);
	victim_end(&v);
	suture_patch_close(patch);
}

static void test_dynamic(void **state)
{
	in_and_out(program[0], 50);
}

static void test_static(void **state)
{
	in_and_out(program[1], 50);
}

static void killed(const char *target, unsigned times)
{
	struct suture_patch *patch = throw_patch(target);
	struct suture_recovery r;
	uint8_t before[32], after[32];
	unsigned left = 0;
	size_t private;
	struct victim v;

	victim_exec(&v, target, "3", no_words);
	victim_text(v.pid, before, &private);
	for (unsigned i = 0; i < times; i++) {
		enum suture_patch_state st;
		const char *sites;
		pid_t tool = fork();
		int err, status;

		if (!tool) {
			for (;;) {
				live_want(live_enable(v.pid, patch, NULL, NULL), 0, "the tool's enable");
				live_want(live_disable(v.pid, "fix-throw", NULL), 0, "the tool's disable");
			}
		}
		usleep((useconds_t)(i * 977 % 20000));
		kill(tool, SIGKILL);
		waitpid(tool, &status, 0);
		assert_true(WIFSIGNALED(status));
		err = live_recover(v.pid, &r);
		if (err != -SUTURE_ENOTHING)
			live_want(err, 0, "recover");
		left += !err;
		if (live_state(v.pid, "fix-throw", &st, &sites) && st == SUTURE_STATE_ENABLED)
			live_want(live_disable(v.pid, "fix-throw", NULL), 0, "disable");
		victim_text(v.pid, after, &private);
		assert_memory_equal(before, after, sizeof(before));
		assert_int_equal(private, 0);
		assert_int_equal(victim_duplicates(v.pid), 0);
	}
	assert_true(left > times / 20);
	victim_sees(&v, false);
	live_want(live_enable(v.pid, patch, NULL, NULL), 0, "and it still works");
	victim_sees(&v, true);
	victim_end(&v);
	suture_patch_close(patch);
}

static void test_killed_dynamic(void **state)
{
	killed(program[0], 60);
}

static void test_killed_static(void **state)
{
	killed(program[1], 40);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dynamic),
		cmocka_unit_test(test_static),
		cmocka_unit_test(test_killed_dynamic),
		cmocka_unit_test(test_killed_static),
	};

	if (argc != 4) {
		fprintf(stderr, "usage: %s THROWER THROWER-STATIC FIX_THROW.o\n", argv[0]);
		return 99;
	}
	program[0] = argv[1];
	program[1] = argv[2];
	fix_throw = argv[3];
	live_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
