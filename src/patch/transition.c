/* SPDX-License-Identifier: MIT */
/*
 * transition.c - the pure machine of a transition: stop, prove, commit, release, again.
 *
 * Knows no process: everything it does goes through struct sut_threads_ops, and a test drives it with
 * fake threads and a fake clock. Invariant: whatever happened, every stop is followed by one
 * release before this returns or sleeps. Must not call ptrace, allocate or print.
 */
#include "patch/transition.h"

/* Pauses between attempts: short at first, because most functions are left within microseconds;
 * never more than 50 ms, so that a busy function still gets hundreds of attempts. */
static const unsigned backoff_ms[] = { 1, 2, 5, 10, 20, 50 };

static unsigned next_pause(unsigned attempt, uint64_t now, uint64_t deadline)
{
	unsigned last = SUT_ARRAY_SIZE(backoff_ms) - 1;
	unsigned ms = backoff_ms[attempt < last ? attempt : last];
	uint64_t left = (deadline - now + 999999) / 1000000;

	return left < ms ? (unsigned)left : ms;
}

int sut_transition_run(const struct sut_threads_ops *ops, void *arg, const struct sut_code_range *ranges, size_t n,
		       unsigned timeout_ms, struct sut_transition_result *ret)
{
	uint64_t deadline = ops->now_ns(arg) + (uint64_t)timeout_ms * 1000000;

	memset(ret, 0, sizeof(*ret));
	for (;;) {
		struct sut_busy busy = { 0 };
		unsigned n_busy = 0;
		uint64_t held, now;
		bool clear;
		int err;

		err = ops->stop_clear(arg, ranges, n, &busy, &n_busy);
		clear = !err;
		if (clear)
			err = ops->commit(arg);
		held = ops->release(arg);
		ret->attempts++;
		if (held > ret->pause_ns)
			ret->pause_ns = held;
		if (clear || err != -SUTURE_EBUSY)
			return err;
		ret->busy = busy;
		ret->n_busy = n_busy;
		now = ops->now_ns(arg);
		if (now >= deadline)
			return -SUTURE_ETIMEOUT;
		ops->sleep(arg, next_pause(ret->attempts - 1, now, deadline), &ret->busy);
	}
}

enum sut_recovery_step sut_transition_recover(enum sut_state state, uint8_t side,
					      const struct sut_transition_sites *sites)
{
	bool all_direct = !sites->original && !sites->through;
	bool all_original = !sites->direct && !sites->through;

	if (state == SUT_STATE_LOADING)
		return SUT_RECOVER_UNLOAD;
	if (state == SUT_STATE_ENABLED) /* stubs that lead to the new functions: right, but one jump too many */
		return sites->through && !sites->foreign ? SUT_RECOVER_FINISH_ENABLE : SUT_RECOVER_NOTHING;
	if (state != SUT_STATE_ENABLING && state != SUT_STATE_DISABLING)
		return SUT_RECOVER_NOTHING;
	if (sites->foreign)
		return SUT_RECOVER_FOREIGN;
	if (state == SUT_STATE_ENABLING)
		return side || all_direct ? SUT_RECOVER_FINISH_ENABLE : SUT_RECOVER_UNDO_ENABLE;
	return !side || all_original ? SUT_RECOVER_FINISH_DISABLE : SUT_RECOVER_UNDO_DISABLE;
}
