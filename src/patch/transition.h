/* SPDX-License-Identifier: MIT */
/*
 * transition.h - how a process moves between unpatched and patched: states, and the pure machine.
 *
 * The machine sees threads only through struct sut_threads_ops, so that a test can fake them. In
 * this form all threads are switched in one short common stop; the per-thread form keeps the
 * same states and adds sides (patch_state) to the switch stubs' lookup.
 *
 * State of a record (one byte in the registry; what decides for `recover` is in the last column):
 *
 *	state      sites in the text          side  threads run   a dead tool here
 *	FREE       none                       -     old           nothing to do
 *	LOADING    none                       0     old           undo: unmap
 *	ENABLING   original | switch stubs    0     old           undo: restore sites, unmap
 *	ENABLING   direct jump (one mapping)  0     new           finish
 *	ENABLING   switch | direct            1     new           finish: direct jumps
 *	ENABLED    direct jump                1     new           nothing to do
 *	DISABLING  direct | switch stubs      1     new           undo: direct jumps
 *	DISABLING  original (one mapping)     1     old           finish: park
 *	DISABLING  switch | original          0     old           finish: restore sites, park
 *	PARKED     none                       0     old           nothing to do
 *
 * With one text mapping the page swap itself is the commit. With several, sites go through switch
 * stubs: arm all, then one store of `side`, then direct jumps; a site that can not be armed that way
 * (its first instructions can not be moved) refuses a patch over several mappings.
 */
#ifndef SUT_TRANSITION_H
#define SUT_TRANSITION_H

#include "process/unwind.h"

enum sut_state {
	SUT_STATE_FREE = 0,
	SUT_STATE_LOADING,
	SUT_STATE_ENABLING,
	SUT_STATE_ENABLED,
	SUT_STATE_DISABLING,
	SUT_STATE_PARKED,
};

struct sut_busy {
	pid_t tid; /* 0: no thread; a word in memory, or the process could not be stopped */
	uint64_t where, word; /* that word's address, and the address of code that it is; 0: a thread */
	const char *range; /* name of the function or fragment it is in */
	unsigned func;
	const char *why; /* NULL: inside; else why it could not be proved */
};

/** Threads, as the machine sees them. */
struct sut_threads_ops {
	/** Stops all and proves each against the ranges. 0: all clear; -SUTURE_EBUSY: @busy tells one of
	 *  them, @n_busy how many were seen, and another attempt may find all clear; else an error. */
	int (*stop_clear)(void *arg, const struct sut_code_range *ranges, size_t n, struct sut_busy *busy,
			  unsigned *n_busy);
	/** Lets all go; returns the longest time one was held, in ns. Called once after each stop_clear, whatever
	 *  that returned. */
	uint64_t (*release)(void *arg);
	/** Sleeps between two attempts; nothing is held. @busy is what the next one waits for. */
	void (*sleep)(void *arg, unsigned ms, const struct sut_busy *busy);
	uint64_t (*now_ns)(void *arg);
	/** What happens in the stop: the swaps. 0 or an error (everything undone). */
	int (*commit)(void *arg);
};

struct sut_transition_result {
	unsigned attempts;
	uint64_t pause_ns;
	struct sut_busy busy; /* of the last attempt that failed */
	unsigned n_busy;
};

/**
 * Tries until clear or @timeout_ms: stop, prove, commit, release; at least once. 0, -SUTURE_ETIMEOUT, or the
 * ops' error; no text is recorded here. @ret is filled on failure too.
 */
int sut_transition_run(const struct sut_threads_ops *ops, void *arg, const struct sut_code_range *ranges, size_t n,
		       unsigned timeout_ms, struct sut_transition_result *ret) __must_check;

/** What stands at the sites of a record, counted. */
struct sut_transition_sites {
	size_t original, direct, through, foreign;
};
/** What becomes of a record that a dead tool left. */
enum sut_recovery_step {
	SUT_RECOVER_NOTHING,
	SUT_RECOVER_UNLOAD, /* never armed: unmap (or park again) */
	SUT_RECOVER_UNDO_ENABLE, /* sites to original, then unmap or park */
	SUT_RECOVER_FINISH_ENABLE, /* sites to direct jumps, enabled */
	SUT_RECOVER_UNDO_DISABLE, /* the same: sites to direct jumps, enabled */
	SUT_RECOVER_FINISH_DISABLE, /* sites to original, parked */
	SUT_RECOVER_FOREIGN, /* bytes that are not ours: hands off */
};
/** The last column of the table above. In LOADING the sites are not looked at (their table may not be there). */
enum sut_recovery_step sut_transition_recover(enum sut_state state, uint8_t side,
					      const struct sut_transition_sites *sites);

#endif
