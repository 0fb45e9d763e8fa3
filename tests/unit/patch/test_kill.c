/* SPDX-License-Identifier: MIT */
/*
 * test_kill.c - a tool that is killed at any moment: the process goes on, on one consistent side, and a recovery
 * finishes or undoes what was begun. Children forked in the middle are recovered by themselves.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "live.h"
#include "patch/internal.h"

static uint64_t seed;

static uint64_t next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* A tool that applies and reverts for ever, and never ends by itself. */
static pid_t start_tool(pid_t victim, struct suture_patch *const *patches, size_t n, const struct suture_enable_opts *o)
{
	pid_t tool = fork();

	assert_true(tool >= 0);
	if (tool)
		return tool;
	for (size_t i = 0;; i++) {
		const char *name = suture_patch_name(patches[i % n]);
		enum suture_patch_state state;
		const char *sites;
		int err;

		if (live_state(victim, name, &state, &sites) && state == SUTURE_STATE_ENABLED)
			err = live_disable(victim, name, o);
		else
			err = live_enable(victim, patches[i % n], o, NULL);
		if (err && err != -SUTURE_EREFUSED) /* the other patch is in */
			_exit(1);
	}
}

/* Ends the tool after a random time and puts in order what it left; how many patches that were. */
static unsigned kill_and_recover(struct victim *v, pid_t tool, unsigned max_us)
{
	struct suture_recovery r = { 0 };
	int status, err, again;

	usleep((useconds_t)(next() % max_us));
	kill(tool, SIGKILL);
	assert_int_equal(waitpid(tool, &status, 0), tool);
	if (WIFEXITED(status))
		fail_msg("the tool failed by itself");
	err = live_recover(v->pid, &r);
	if (err != -SUTURE_ENOTHING)
		live_want(err, 0, "recover");
	/* Open: on a busy machine a dead tool's thread may make its last call after the first recovery (docs/progress.md). */
	again = live_recover(v->pid, &r);
	if (!again)
		again = live_recover(v->pid, &r);
	live_want(again, -SUTURE_ENOTHING, "recover again");
	victim_healthy(v);
	return err ? 0 : 1;
}

static void take_all_out(pid_t pid)
{
	static const char *const name[] = { "fix-exe", "fix-both", "fix-slow" };
	enum suture_patch_state state;
	const char *sites;

	for (size_t i = 0; i < SUT_ARRAY_SIZE(name); i++) {
		if (!live_state(pid, name[i], &state, &sites) || state == SUTURE_STATE_PARKED)
			continue;
		assert_int_equal(state, SUTURE_STATE_ENABLED);
		assert_string_equal(sites, "jump");
		live_want(live_disable(pid, name[i], NULL), 0, "disable");
	}
}

static void kill_often(struct suture_patch *const *patches, size_t n, const struct suture_enable_opts *o,
		       unsigned times, const char *mode)
{
	uint8_t before[32], after[32];
	size_t private;
	unsigned left = 0;
	struct victim v;

	victim_start(&v, "3", mode, NULL);
	/* With every function of ours called once, the files' pages are in. */
	victim_text(v.pid, before, &private);
	for (unsigned i = 0; i < times; i++)
		left += kill_and_recover(&v, start_tool(v.pid, patches, n, o), 12000);
	take_all_out(v.pid);
	victim_sees(&v, false);
	victim_text(v.pid, after, &private);
	assert_memory_equal(before, after, sizeof(before));
	if (!o) { /* what was written plainly stays private */
		assert_int_equal(private, 0);
		assert_int_equal(victim_duplicates(v.pid), 0);
	}
	print_message("%u of %u kills left something to recover\n", left, times);
	/* Else the kills came too late or too early to mean anything. */
	assert_true(left > times / 20);
	live_want(live_enable(v.pid, patches[0], NULL, NULL), 0, "and it still works");
	victim_sees(&v, true);
	take_all_out(v.pid);
	victim_end(&v);
}

static void test_killed(void **state)
{
	struct suture_patch *patch = live_patch_exe();

	kill_often(&patch, 1, NULL, 100, NULL);
	suture_patch_close(patch);
}

static void test_killed_two_objects(void **state)
{
	struct suture_patch *patch = live_patch_both();

	kill_often(&patch, 1, NULL, 100, NULL);
	suture_patch_close(patch);
}

static void test_killed_two_patches(void **state)
{
	struct suture_patch *patch[2] = { live_patch_exe(), live_patch_slow() };

	kill_often(patch, 2, NULL, 60, "threads");
	suture_patch_close(patch[0]);
	suture_patch_close(patch[1]);
}

static void test_killed_writing(void **state)
{
	const struct suture_enable_opts o = { .sz = sizeof(o), .force_write = true };
	struct suture_patch *patch = live_patch_both();

	kill_often(&patch, 1, &o, 60, NULL);
	suture_patch_close(patch);
}

/* --- killed while the process is stopped by SIGSTOP ------------------------------------------------ */

static const struct sut_mem_ops *real;
static unsigned calls, die_at;

/* Dies when that call has been made: the thread that made it goes home no earlier than a SIGCONT comes. */
static int dying_syscall(struct sut_mem *mem, enum sut_sys sys, const uint64_t args[6], int64_t *ret)
{
	int err = real->syscall(mem, sys, args, ret);

	if (++calls == die_at)
		kill(getpid(), SIGKILL);
	return err;
}

/* Enables (or disables), and dies at system call @at. Whether it did. */
static bool work_and_die(struct victim *v, struct suture_patch *patch, unsigned at, bool enable)
{
	pid_t tool = fork();
	int status;

	if (!tool) {
		struct suture_process *p = NULL;
		struct sut_mem_ops ops;
		int err = suture_process_attach(live_ctx, v->pid, NULL, &p);

		if (err)
			_exit(1);
		real = p->mem.ops;
		ops = *real;
		ops.syscall = dying_syscall;
		p->mem.ops = &ops;
		die_at = at;
		if (enable)
			err = suture_patch_enable(p, patch, NULL);
		else
			err = suture_patch_disable(p, suture_patch_name(patch), NULL);
		p->mem.ops = real;
		suture_process_detach(p);
		_exit(err ? 2 : 0);
	}
	assert_int_equal(waitpid(tool, &status, 0), tool);
	if (WIFEXITED(status) && WEXITSTATUS(status))
		fail_msg("the tool failed by itself before call %u (%d)", at, WEXITSTATUS(status));
	return WIFSIGNALED(status);
}

/* Of the first thread; with it all are. */
static char state_of(pid_t pid)
{
	char path[64], state = '?';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%*d (%*[^)]) %c", &state), 1);
	fclose(f);
	return state;
}

static void die_at_each_call(struct suture_patch *patch, bool enable)
{
	const char *name = suture_patch_name(patch);
	unsigned kept = 0;
	bool died = true;
	struct victim v;

	victim_start(&v, "3", NULL);
	for (unsigned at = 1; died; at++) {
		enum suture_patch_state st = SUTURE_STATE_PARKED;
		struct suture_recovery r;
		const char *sites;
		int err;

		if (!enable)
			live_want(live_enable(v.pid, patch, NULL, NULL), 0, "enable");
		kill(v.pid, SIGSTOP);
		while (state_of(v.pid) != 'T')
			usleep(1000);
		died = work_and_die(&v, patch, at, enable);
		err = live_recover(v.pid, &r);
		if (err != -SUTURE_ENOTHING)
			live_want(err, 0, "recover");
		/* Nothing is left of the patch, but its memory is: somebody still stands there. */
		kept += enable && died && !live_state(v.pid, name, &st, &sites) && victim_has_registry(v.pid);
		kill(v.pid, SIGCONT);
		if (!live_state(v.pid, name, &st, &sites))
			st = SUTURE_STATE_PARKED;
		victim_sees(&v, st == SUTURE_STATE_ENABLED);
		victim_healthy(&v);
		take_all_out(v.pid);
	}
	if (enable)
		assert_true(kept > 0);
	victim_end(&v);
}

static void test_killed_while_stopped(void **state)
{
	struct suture_patch *patch = live_patch_exe();

	die_at_each_call(patch, true);
	die_at_each_call(patch, false);
	suture_patch_close(patch);
}

/* The tool waits for threads that stay inside: killed there, the process must be as before. */
static void test_killed_waiting(void **state)
{
	struct suture_patch *patch = live_patch_slow();
	struct suture_recovery r = { 0 };
	char *before, *after;
	struct victim v;

	victim_start(&v, "2", "slow", NULL);
	v.shared->hold = 1;
	while (__atomic_load_n(&v.shared->inside, __ATOMIC_SEQ_CST) < 2)
		usleep(1000);
	before = victim_maps(v.pid);
	for (int i = 0; i < 5; i++) {
		enum suture_patch_state st = SUTURE_STATE_PARKED;
		pid_t tool = fork();
		const char *sites;

		if (!tool) {
			(void)!live_enable(v.pid, patch, NULL, NULL);
			_exit(0);
		}
		for (int n = 0; n < 5000; n++) {
			if (live_state(v.pid, "fix-slow", &st, &sites) && st == SUTURE_STATE_ENABLING)
				break;
			usleep(1000);
		}
		assert_int_equal(st, SUTURE_STATE_ENABLING);
		live_want(live_recover(v.pid, &r), -SUTURE_EBUSY, "recover while the tool lives");
		live_want(live_enable(v.pid, patch, NULL, NULL), -SUTURE_EBUSY, "enable while the tool lives");
		kill(tool, SIGKILL);
		waitpid(tool, NULL, 0);
		live_want(live_enable(v.pid, patch, NULL, NULL), -SUTURE_EBUSY, "enable before recovery");
		assert_non_null(strstr(suture_ctx_error(live_ctx)->hint, "suture recover"));
		live_want(live_recover(v.pid, &r), 0, "recover");
		assert_int_equal(r.undone, 1);
		assert_int_equal(r.finished, 0);
		assert_string_equal(r.last, "fix-slow");
		after = victim_maps(v.pid);
		assert_string_equal(after, before);
		free(after);
	}
	free(before);
	victim_end(&v);
	suture_patch_close(patch);
}

/* ^C while the tool waits: it takes back what it has begun, and only then ends. */
static void test_interrupted(void **state)
{
	struct suture_patch *patch = live_patch_slow();
	struct suture_recovery r = { 0 };
	enum suture_patch_state st;
	const char *sites;
	char *before, *after;
	struct victim v;

	victim_start(&v, "2", "slow", NULL);
	v.shared->hold = 1;
	while (__atomic_load_n(&v.shared->inside, __ATOMIC_SEQ_CST) < 2)
		usleep(1000);
	before = victim_maps(v.pid);
	for (int i = 0; i < 2; i++) {
		int status, sig = i ? SIGTERM : SIGINT;
		pid_t tool = fork();

		if (!tool) {
			(void)!live_enable(v.pid, patch, NULL, NULL);
			_exit(77); /* the signal comes before */
		}
		for (int n = 0; n < 5000; n++) {
			if (live_state(v.pid, "fix-slow", &st, &sites) && st == SUTURE_STATE_ENABLING)
				break;
			usleep(1000);
		}
		assert_int_equal(st, SUTURE_STATE_ENABLING);
		kill(tool, sig);
		assert_int_equal(waitpid(tool, &status, 0), tool);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == sig);
		assert_false(live_state(v.pid, "fix-slow", &st, &sites));
		after = victim_maps(v.pid);
		assert_string_equal(after, before);
		free(after);
		live_want(live_recover(v.pid, &r), -SUTURE_ENOTHING, "recover");
	}
	free(before);
	victim_end(&v);
	suture_patch_close(patch);
}

/* A child of the victim, forked with whatever was in hand, is put in order by itself. */
static void test_forked_in_the_middle(void **state)
{
	struct suture_patch *patch = live_patch_slow();
	struct suture_recovery r = { 0 };
	enum suture_patch_state st = SUTURE_STATE_PARKED;
	const char *sites;
	struct victim v;
	pid_t tool, child = 0;

	victim_start(&v, "2", "slow", NULL);
	v.shared->hold = 1;
	while (__atomic_load_n(&v.shared->inside, __ATOMIC_SEQ_CST) < 2)
		usleep(1000);
	tool = fork();
	if (!tool)
		_exit(live_enable(v.pid, patch, NULL, NULL) ? 1 : 0);
	while (!live_state(v.pid, "fix-slow", &st, &sites) || st != SUTURE_STATE_ENABLING)
		usleep(1000);
	v.shared->fork_now = 1;
	while (!(child = __atomic_load_n(&v.shared->child, __ATOMIC_SEQ_CST)))
		usleep(1000);
	assert_true(live_state(child, "fix-slow", &st, &sites));
	assert_int_equal(st, SUTURE_STATE_ENABLING);
	live_want(live_recover(child, &r), -SUTURE_EBUSY, "the tool lives");
	v.shared->hold = 0;
	{
		int status;

		waitpid(tool, &status, 0);
		assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
	}
	/* The parent is patched, the child is not and never was. */
	assert_true(live_state(v.pid, "fix-slow", &st, &sites));
	assert_int_equal(st, SUTURE_STATE_ENABLED);
	live_want(live_recover(child, &r), 0, "recover the child");
	assert_int_equal(r.undone, 1);
	assert_false(live_state(child, "fix-slow", &st, &sites));
	live_want(live_enable(child, patch, NULL, NULL), 0, "patch the child");
	live_want(live_disable(v.pid, "fix-slow", NULL), 0, "take it out of the parent");
	assert_true(live_state(child, "fix-slow", &st, &sites));
	assert_int_equal(st, SUTURE_STATE_ENABLED);
	live_want(live_disable(child, "fix-slow", NULL), 0, "and of the child");
	victim_end(&v);
	suture_patch_close(patch);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_killed_two_objects),
		cmocka_unit_test(test_killed_two_patches),
		cmocka_unit_test(test_killed_writing),
		cmocka_unit_test(test_killed_while_stopped),
		cmocka_unit_test(test_killed_waiting),
		cmocka_unit_test(test_interrupted),
		cmocka_unit_test(test_forked_in_the_middle),
	};
	const char *given = getenv("SUTURE_SEED");

	live_args(argc, argv);
	seed = given ? strtoull(given, NULL, 0) : ((uint64_t)time(NULL) << 20 | (uint64_t)getpid());
	printf("seed %llu (SUTURE_SEED repeats it)\n", (unsigned long long)seed);
	seed |= 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
