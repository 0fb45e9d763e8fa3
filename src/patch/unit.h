/* SPDX-License-Identifier: MIT */
/*
 * unit.h - one module and its sites on their way in or out of a process: a patch, or the agent.
 *
 * Enabling, disabling and recovery are orders of the same few steps; each step here leaves the registry and the
 * text in a state of the table in transition.h, so that a tool may die between (and in) any two.
 */
#ifndef SUT_UNIT_H
#define SUT_UNIT_H

#include "patch/internal.h"

struct sut_unit {
	struct suture_process *p;
	struct sut_registry *reg; /* borrowed */
	struct sut_record *rec; /* in reg; NULL: none yet */
	struct sut_module *m; /* owned; only while enabling */
	struct sut_sites sites;
	bool force_write;
	bool recorded, loaded; /* what undoing has to take back */
	bool was_parked; /* lies in the memory of a parked record */
	bool stubs; /* the commit is the side byte, sites go through switch stubs */
	struct sut_poke_batch *batch; /* prepared for the stop, NULL: none */
};

void sut_unit_init(struct sut_unit *u, struct suture_process *p, struct sut_registry *reg, struct sut_record *rec,
		   bool force_write);
/** Frees our side; what is in the target stays. */
void sut_unit_free(struct sut_unit *u);

/** Bytes for one function's original entry and switch stub in the stubs' room. */
size_t sut_unit_stub_room(const struct sut_arch *arch);

/**
 * Puts a planned module into the target: a record in state LOADING first, then the stubs, the table, the
 * memory. @parked: the record of the parked module it lies in, or NULL. Needs a held thread.
 * On failure sut_unit_undo() takes back what was done. -EEXIST as sut_module_load().
 */
int sut_unit_load(struct sut_unit *u, const char *name, uint8_t kind, const uint8_t digest[SUT_DIGEST_SIZE],
		  struct sut_record *parked) __must_check;
/** Whether the planned module lies wholly in the memory that it was offered for reuse. */
bool sut_unit_reuses(const struct sut_unit *u);
/** Drops the pristine copies of text in which no site is left; @all: also writes the free records again, whatever stands
 *  there. No batch may be prepared meanwhile. Needs a held thread. */
int sut_pristines_tidy(struct sut_registry *reg, bool all, bool *ret_changed) __must_check;
/** Undoes sut_unit_load(): unmapped, or parked again. Needs a held thread. */
int sut_unit_undo(struct sut_unit *u) __must_check;

/**
 * Prepares the change of all sites to @to (DIRECT or ORIGINAL) for the stop. Where that takes more than one instant,
 * u->stubs is set: enabling, the batch then arms the sites with switch stubs; disabling, there is no batch, and
 * sut_unit_move() must have taken the sites to SWITCH before the stop. Needs a held thread.
 */
int sut_unit_prepare(struct sut_unit *u, enum sut_site_now to) __must_check;
/** Drops what was prepared and not committed. Needs a held thread. */
int sut_unit_drop(struct sut_unit *u) __must_check;
/** Whether the record still is in the process; -SUTURE_EGONE after an exec. */
int sut_unit_check_there(struct sut_unit *u) __must_check;
/** In the stop: the swap, or the one store that is the commit; then the state byte. */
int sut_unit_commit(struct sut_unit *u, bool enable) __must_check;

/**
 * Takes all sites to @to, those that are there already excepted. Nothing is held before and after. What is a jump of ours
 * is one instruction, in which no thread can stand: a swap of pages needs no stop then. A plain
 * write, and a jump over original bytes, has its own common stop.
 */
int sut_unit_move(struct sut_unit *u, enum sut_site_now to) __must_check;

/** Puts one record in order as a recovery does, by its state and what stands at its sites. Nothing is held before and
 *  after. The record may be free afterwards. */
int sut_recover_record(struct suture_process *p, struct sut_registry *reg, struct sut_record *rec,
		       const struct suture_enable_opts *opts) __must_check;
/** The executable memory of a unit, all of it: each new function by its name, and what lies between. */
int sut_unit_ranges(const struct sut_unit *u, struct sut_ranges *ret) __must_check;
/** Writes the record with @state; @ours: as held by this tool. */
int sut_unit_write_state(struct sut_unit *u, uint8_t state, bool ours) __must_check;

#endif
