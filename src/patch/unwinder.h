/* SPDX-License-Identifier: MIT */
/*
 * unwinder.h - when the agent that serves the target's unwinder is needed, and when it can go.
 *
 * The agent is a unit as a patch is: record, memory, one site (on _Unwind_Find_FDE), the same states. It
 * comes before the first patch that exceptions may have to pass through, and goes after the last patch, each in a common
 * stop of its own.
 */
#ifndef SUT_UNWINDER_H
#define SUT_UNWINDER_H

#include "patch/unit.h"

/**
 * Puts the agent into @p if it needs one and has none; *ret_installed says whether. On failure nothing has
 * changed but that an empty registry may have been made. Nothing is held before and after.
 * *ret_pause: the longest time a thread was held, in ns, raised if it was longer here.
 */
int sut_unwinder_install(struct suture_process *p, struct sut_registry *reg, bool force_write, unsigned timeout_ms,
			 uint64_t *ret_pause, bool *ret_installed) __must_check;
/** Whether the agent could be put in: plans it and changes nothing. */
int sut_unwinder_check(struct suture_process *p, struct sut_registry *reg) __must_check;
/** The record of the agent that works in a process, or NULL. */
struct sut_record *sut_unwinder_active(struct sut_registry *reg);
/** Whether any patch is enabled in the process, or about to be or not to be. */
bool sut_unwinder_has_users(const struct sut_registry *reg);
/** Takes the agent out, if there is one. Nothing is held before and after. */
int sut_unwinder_remove(struct suture_process *p, struct sut_registry *reg, bool force_write, unsigned timeout_ms,
			uint64_t *ret_pause) __must_check;

#endif
