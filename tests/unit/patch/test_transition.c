/* SPDX-License-Identifier: MIT */
/*
 * test_transition.c - the pure machine of a transition, driven with fake threads and a fake clock.
 *
 * The fake process holds a registry record and the bytes of its sites as the state table of transition.h has them;
 * every stop, proof, commit and release is written down, and what the table says must hold at each.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "patch/transition.h"

struct fake {
	/* script */
	unsigned busy_for; /* attempts that find a busy thread */
	int stop_error; /* returned by stop_clear at attempt error_at */
	unsigned error_at;
	int commit_error;
	uint64_t stop_ns; /* how long a stop takes */
	/* clock */
	uint64_t now;
	/* what happened */
	unsigned stops, commits, releases, sleeps;
	unsigned slept[4096];
	bool held;
	size_t n_ranges;
};

static int fake_stop_clear(void *arg, const struct sut_code_range *ranges, size_t n, struct sut_busy *busy,
			   unsigned *n_busy)
{
	struct fake *f = arg;

	assert_false(f->held);
	f->held = true;
	f->stops++;
	f->n_ranges = n;
	f->now += f->stop_ns;
	if (f->stop_error && f->stops == f->error_at)
		return f->stop_error;
	if (f->stops <= f->busy_for) {
		busy->tid = 100 + (pid_t)f->stops;
		busy->range = ranges[0].name;
		busy->func = ranges[0].func;
		*n_busy = 2;
		return -SUTURE_EBUSY;
	}
	return 0;
}

static uint64_t fake_release(void *arg)
{
	struct fake *f = arg;

	assert_true(f->held);
	f->held = false;
	f->releases++;
	/* The second stop is the longest. */
	return f->stops == 2 ? 9000 : 1000;
}

static void fake_sleep(void *arg, unsigned ms, const struct sut_busy *busy)
{
	struct fake *f = arg;

	assert_false(f->held);
	assert_true(busy->tid || busy->why);
	assert_true(ms > 0);
	if (f->sleeps < SUT_ARRAY_SIZE(f->slept))
		f->slept[f->sleeps] = ms;
	f->sleeps++;
	f->now += (uint64_t)ms * 1000000;
}

static uint64_t fake_now(void *arg)
{
	return ((struct fake *)arg)->now;
}

static int fake_commit(void *arg)
{
	struct fake *f = arg;

	assert_true(f->held);
	f->commits++;
	return f->commit_error;
}

static const struct sut_threads_ops fake_ops = {
	.stop_clear = fake_stop_clear,
	.release = fake_release,
	.sleep = fake_sleep,
	.now_ns = fake_now,
	.commit = fake_commit,
};

static const struct sut_code_range ranges[] = { { 0x1000, 0x1100, "f", 3 }, { 0x2000, 0x2010, "f.cold", 3 } };

static int run(struct fake *f, unsigned timeout_ms, struct sut_transition_result *r)
{
	return sut_transition_run(&fake_ops, f, ranges, 2, timeout_ms, r);
}

static void test_clear_at_once(void **state)
{
	struct fake f = { .now = 5 };
	struct sut_transition_result r;

	assert_int_equal(run(&f, 100, &r), 0);
	assert_int_equal(f.stops, 1);
	assert_int_equal(f.commits, 1);
	assert_int_equal(f.releases, 1);
	assert_int_equal(f.sleeps, 0);
	assert_int_equal(f.n_ranges, 2);
	assert_int_equal(r.attempts, 1);
	assert_int_equal(r.pause_ns, 1000);
	assert_int_equal(r.n_busy, 0);
}

static void test_busy_then_clear(void **state)
{
	struct fake f = { .busy_for = 8 };
	static const unsigned want[] = { 1, 2, 5, 10, 20, 50, 50, 50 };
	struct sut_transition_result r;

	assert_int_equal(run(&f, 10000, &r), 0);
	assert_int_equal(f.stops, 9);
	assert_int_equal(f.releases, 9);
	assert_int_equal(f.commits, 1);
	assert_int_equal(f.sleeps, 8);
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(f.slept[i], want[i]);
	/* the longest pause of all attempts, not of the last */
	assert_int_equal(r.pause_ns, 9000);
	assert_int_equal(r.attempts, 9);
}

static void test_timeout_names_the_thread(void **state)
{
	struct fake f = { .busy_for = UINT32_MAX };
	struct sut_transition_result r;

	assert_int_equal(run(&f, 100, &r), -SUTURE_ETIMEOUT);
	assert_int_equal(f.commits, 0);
	assert_int_equal(f.stops, f.releases);
	assert_false(f.held);
	assert_int_equal(r.busy.tid, 100 + (pid_t)f.stops);
	assert_string_equal(r.busy.range, "f");
	assert_int_equal(r.busy.func, 3);
	assert_int_equal(r.n_busy, 2);
	/* 1+2+5+10+20+50 = 88, and the last sleep is cut so that an attempt is made at the deadline */
	assert_int_equal(f.sleeps, 7);
	assert_int_equal(f.slept[6], 12);
	assert_int_equal(f.now, 100 * 1000000ull);
}

static void test_timeout_zero_still_tries(void **state)
{
	struct fake clear = { 0 }, busy = { .busy_for = 1 };
	struct sut_transition_result r;

	assert_int_equal(run(&clear, 0, &r), 0);
	assert_int_equal(run(&busy, 0, &r), -SUTURE_ETIMEOUT);
	assert_int_equal(busy.stops, 1);
	assert_int_equal(busy.releases, 1);
}

static void test_slow_stops_end_in_time(void **state)
{
	struct fake f = { .busy_for = UINT32_MAX, .stop_ns = 400 * 1000000ull };
	struct sut_transition_result r;

	assert_int_equal(run(&f, 1000, &r), -SUTURE_ETIMEOUT);
	assert_int_equal(f.stops, 3);
}

static void test_error_of_the_stop(void **state)
{
	struct fake f = { .busy_for = 2, .stop_error = -SUTURE_EGONE, .error_at = 3 };
	struct sut_transition_result r;

	assert_int_equal(run(&f, 1000, &r), -SUTURE_EGONE);
	assert_int_equal(f.stops, 3);
	assert_int_equal(f.releases, 3);
	assert_int_equal(f.commits, 0);
}

static void test_error_of_the_commit(void **state)
{
	static const int errors[] = { -SUTURE_EREFUSED, -SUTURE_EDAMAGED, -SUTURE_EBUSY, -SUTURE_ETIMEOUT, -5 };

	for (size_t i = 0; i < SUT_ARRAY_SIZE(errors); i++) {
		struct fake f = { .commit_error = errors[i] };
		struct sut_transition_result r;

		/* a commit that failed is never tried again, whatever it failed with */
		assert_int_equal(run(&f, 1000, &r), errors[i]);
		assert_int_equal(f.commits, 1);
		assert_int_equal(f.stops, 1);
		assert_int_equal(f.releases, 1);
		assert_int_equal(f.sleeps, 0);
	}
}

/* Every row of the table in transition.h, and the mixtures that a cut-off step can leave. */
static void test_recovery_table(void **state)
{
	static const struct {
		enum sut_state state;
		uint8_t side;
		size_t original, direct, through, foreign;
		enum sut_recovery_step want;
	} row[] = {
		{ SUT_STATE_FREE, 0, 3, 0, 0, 0, SUT_RECOVER_NOTHING },
		{ SUT_STATE_LOADING, 0, 0, 0, 0, 0, SUT_RECOVER_UNLOAD },
		{ SUT_STATE_ENABLING, 0, 3, 0, 0, 0, SUT_RECOVER_UNDO_ENABLE },
		{ SUT_STATE_ENABLING, 0, 2, 0, 1, 0, SUT_RECOVER_UNDO_ENABLE },
		{ SUT_STATE_ENABLING, 0, 0, 0, 3, 0, SUT_RECOVER_UNDO_ENABLE },
		{ SUT_STATE_ENABLING, 0, 0, 3, 0, 0, SUT_RECOVER_FINISH_ENABLE },
		{ SUT_STATE_ENABLING, 1, 0, 3, 0, 0, SUT_RECOVER_FINISH_ENABLE },
		{ SUT_STATE_ENABLING, 1, 0, 0, 3, 0, SUT_RECOVER_FINISH_ENABLE },
		{ SUT_STATE_ENABLING, 1, 0, 1, 2, 0, SUT_RECOVER_FINISH_ENABLE },
		{ SUT_STATE_ENABLED, 1, 0, 3, 0, 0, SUT_RECOVER_NOTHING },
		{ SUT_STATE_ENABLED, 1, 0, 2, 1, 0, SUT_RECOVER_FINISH_ENABLE },
		{ SUT_STATE_DISABLING, 1, 0, 3, 0, 0, SUT_RECOVER_UNDO_DISABLE },
		{ SUT_STATE_DISABLING, 1, 0, 1, 2, 0, SUT_RECOVER_UNDO_DISABLE },
		{ SUT_STATE_DISABLING, 1, 0, 0, 3, 0, SUT_RECOVER_UNDO_DISABLE },
		{ SUT_STATE_DISABLING, 1, 3, 0, 0, 0, SUT_RECOVER_FINISH_DISABLE },
		{ SUT_STATE_DISABLING, 0, 3, 0, 0, 0, SUT_RECOVER_FINISH_DISABLE },
		{ SUT_STATE_DISABLING, 0, 0, 0, 3, 0, SUT_RECOVER_FINISH_DISABLE },
		{ SUT_STATE_DISABLING, 0, 2, 0, 1, 0, SUT_RECOVER_FINISH_DISABLE },
		{ SUT_STATE_PARKED, 0, 3, 0, 0, 0, SUT_RECOVER_NOTHING },
		/* a breakpoint at a site: hands off; where nothing is unfinished it is none of ours */
		{ SUT_STATE_ENABLING, 0, 2, 0, 0, 1, SUT_RECOVER_FOREIGN },
		{ SUT_STATE_ENABLED, 1, 0, 2, 0, 1, SUT_RECOVER_NOTHING },
		{ SUT_STATE_ENABLED, 1, 0, 1, 1, 1, SUT_RECOVER_NOTHING },
		{ SUT_STATE_DISABLING, 0, 0, 0, 2, 1, SUT_RECOVER_FOREIGN },
		{ SUT_STATE_PARKED, 0, 2, 0, 0, 1, SUT_RECOVER_NOTHING },
		/* a state that no tool writes */
		{ 77, 1, 0, 3, 0, 0, SUT_RECOVER_NOTHING },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(row); i++) {
		struct sut_transition_sites s = { row[i].original, row[i].direct, row[i].through, row[i].foreign };

		if (sut_transition_recover(row[i].state, row[i].side, &s) != row[i].want)
			fail_msg("row %zu: %d, want %d", i, sut_transition_recover(row[i].state, row[i].side, &s),
				 row[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clear_at_once),
		cmocka_unit_test(test_busy_then_clear),
		cmocka_unit_test(test_timeout_names_the_thread),
		cmocka_unit_test(test_timeout_zero_still_tries),
		cmocka_unit_test(test_slow_stops_end_in_time),
		cmocka_unit_test(test_error_of_the_stop),
		cmocka_unit_test(test_error_of_the_commit),
		cmocka_unit_test(test_recovery_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
