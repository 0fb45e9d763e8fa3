/* SPDX-License-Identifier: MIT */
/*
 * poke.h - the one primitive that changes text.
 *
 * A batch of pokes is prepared while the target runs and committed at one instant for
 * each mapping: for every text mapping touched, a shadow of the pages that hold sites is
 * made elsewhere, gets the new bytes, is checked, and is moved over the original by one
 * mremap. Where that can not be done the commit is a plain write, which is allowed only
 * while every thread is stopped outside the bytes.
 *
 * The states of a batch (struct sut_poke_batch), and what a tool that dies there leaves:
 *
 *	new       pokes listed                     nothing
 *	prepared  shadows exist in the target      unused mappings, listed in the journal
 *	committed shadows moved over the text      all of each mapping's bytes, or none
 *	dropped   shadows unmapped                 nothing
 *
 * "Pristine" pages come back on removal: bytes equal to the file's are never private.
 */
#ifndef SUT_POKE_H
#define SUT_POKE_H

#include "text/mem.h"

#define SUT_POKE_MAX 32

/** One change: @len bytes at @addr are @old and shall be @new. */
struct sut_poke {
	uint64_t addr;
	size_t len;
	uint8_t old[SUT_POKE_MAX];
	uint8_t new[SUT_POKE_MAX];
};

enum sut_poke_method {
	SUT_POKE_SWAP, /* one mremap of prepared pages */
	SUT_POKE_WRITE, /* a plain write in a common stop */
};

struct sut_poke_batch;

/** An empty batch on @mem. Returns 0 or -ENOMEM; *ret is the caller's. */
int sut_poke_create(struct sut_mem *mem, struct sut_poke_batch **ret) __must_check;
/** Frees the batch; shadows that were not committed must have been dropped before. NULL is fine. */
void sut_poke_destroy(struct sut_poke_batch *b);
/** Adds a change. Pokes must not overlap. */
int sut_poke_add(struct sut_poke_batch *b, const struct sut_poke *poke) __must_check;
/** Where the pristine duplicate of a text mapping lies (kept between batches by the caller's registry),
 *  so that a later batch can make shadows without a file descriptor. Call before prepare, per mapping. */
struct sut_pristine {
	uint64_t text, len; /* the part of the text it duplicates */
	uint64_t copy; /* where */
};
int sut_poke_use_pristine(struct sut_poke_batch *b, const struct sut_pristine *p) __must_check;
/**
 * Bytes of address space that prepare will need for duplicates, 0: none (or not known: it will write). A caller that
 * reserves that much (PROT_NONE), notes where, and says so by sut_poke_use_room() can find again whatever a tool leaves that
 * dies during prepare. The batch's pokes and pristines must be complete. Needs no held thread.
 */
int sut_poke_room(struct sut_poke_batch *b, uint64_t *ret) __must_check;
/**
 * Prepare puts its duplicates into [addr, addr+len), as long as they fit, and unmaps what it does not need of it. Before
 * the first piece of it is unmapped (in prepare or drop) @leaving is called: what was noted of the room must be no more,
 * because what the target maps there from then on is its own. While @leaving fails nothing is unmapped.
 */
void sut_poke_use_room(struct sut_poke_batch *b, uint64_t addr, uint64_t len,
		       int (*leaving)(void *arg, const struct sut_poke_batch *b), void *arg);
/**
 * Verifies that memory holds the expected bytes and makes the shadows. Needs a held thread
 * (system calls). Nothing of the text has changed afterwards. @force_write: never swap.
 * -SUTURE_EREFUSED when the bytes are not the expected ones (breakpoint, uprobe: said).
 */
int sut_poke_prepare(struct sut_poke_batch *b, bool force_write) __must_check;
/** How many mappings the batch touches: with one, the commit is one instant for all of it. */
size_t sut_poke_n_mappings(const struct sut_poke_batch *b);
enum sut_poke_method sut_poke_method(const struct sut_poke_batch *b);
/** One line on why the method is SUT_POKE_WRITE, or NULL. */
const char *sut_poke_why(const struct sut_poke_batch *b);
/**
 * The pristine duplicates that exist now in the mappings of the batch: those the caller named and that are good, and
 * those made by prepare. They replace all that the caller named for these mappings.
 */
size_t sut_poke_pristines(const struct sut_poke_batch *b, struct sut_pristine *ret, size_t cap);
/**
 * Unmaps a pristine duplicate whose text has no private page left (nothing of it is changed any more).
 * Needs a held thread. *ret_dropped says whether it is gone (also when it was not there, or not one).
 */
int sut_poke_tidy(struct sut_mem *mem, const struct sut_pristine *p, bool *ret_dropped) __must_check;
/** The shadows that exist now, as { what they are for, length, where }: what a caller notes so that a later tool can
 *  unmap them if this one dies before the commit. Returns how many; at most @cap are filled. */
size_t sut_poke_shadows(const struct sut_poke_batch *b, struct sut_pristine *ret, size_t cap);
/** Commits: threads are stopped outside the bytes by the caller. Verified again before and read back
 *  after. On failure every mapping already moved is moved back (else -SUTURE_EDAMAGED). */
int sut_poke_commit(struct sut_poke_batch *b) __must_check;
/** Unmaps what prepare made in the target, of a batch that was not committed. Needs a held thread. */
int sut_poke_drop(struct sut_poke_batch *b) __must_check;

#endif
