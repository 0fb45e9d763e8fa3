/* SPDX-License-Identifier: MIT */
/*
 * unwind.h - where a stopped thread can return to: two proofs, each sound by itself.
 *
 * The unwind answers "reliable" only when every frame was found by call frame information and
 * the chain ended at a known outermost frame: its return address is undefined, what follows it is the
 * end of the program or thread (_start, the clone entry; not a coroutine's), and it lies at the base of
 * the thread's own stack. The scan reads every word of the thread's registers and used stack; it is a proof only
 * for a thread that stands on its own stack, and not inside a signal handler.
 *
 * A thread's own stack, for both: every byte from the stack pointer up to the place where the program's
 * arguments begin (the first thread) or to the thread pointer (all others: C libraries keep the
 * thread's block above its stack) can be read, without a hole. Whatever calls wait to be returned to lie
 * in between, unless a thread has switched to a stack that it keeps inside its own: that, and suspended
 * coroutines, are found by neither proof.
 *
 * Where a process holds code that switches stacks, or a thread does not stand on its own one, the deep proof is needed:
 * sut_deep_begin() before the stop; in the stop sut_prove_thread() for each thread, then sut_deep_memory(), which reads
 * all writable memory. Only all of that together says that nobody is inside.
 */
#ifndef SUT_UNWIND_H
#define SUT_UNWIND_H

#include "process/process.h"

/** Code that a thread must be outside of: a pc counts in [start, end), a return address in (start, end]. */
struct sut_code_range {
	uint64_t start, end;
	const char *name; /* for messages */
	unsigned func; /* caller's index */
};

/** Call frame information for code of ours (modules): runtime addresses. */
struct sut_extra_cfi {
	uint64_t start, end; /* code */
	struct sut_elf *elf; /* in-memory image whose link-time addresses are runtime addresses */
	struct sut_cfi *cfi;
};

enum sut_proof {
	SUT_PROOF_CLEAR_SCAN, /* no word points into the ranges */
	SUT_PROOF_CLEAR_UNWIND, /* reliable unwind, none of the frames is inside */
	SUT_PROOF_CLEAR_MEMORY, /* (deep) no register points into the ranges; clear if all memory is */
	SUT_PROOF_INSIDE, /* a frame, the pc or (unproved otherwise) a word is inside: *ret_range says which */
	SUT_PROOF_UNRELIABLE, /* a word points inside and the unwind is not reliable */
};

struct sut_proof_result {
	enum sut_proof proof;
	const struct sut_code_range *range; /* INSIDE, UNRELIABLE */
	uint64_t address; /* the pc, return address or word */
	uint64_t where; /* the address of that word, 0: not in memory, or on the thread's stack */
	bool elsewhere; /* UNRELIABLE: the thread is not on its own stack; the deep proof may do */
	const char *why; /* UNRELIABLE: static text of the unwinder */
	unsigned frames;
};

/** Proves one stopped thread against @n ranges (sorted by start). Scan first, then unwind. 0 or an error. */
int sut_prove_thread(struct suture_process *p, struct sut_thread *t, const struct sut_code_range *ranges, size_t n,
		     const struct sut_extra_cfi *extra, size_t n_extra, struct sut_proof_result *ret) __must_check;
/** Memory that holds addresses of code and no stacks: ours. */
struct sut_span {
	uint64_t start, end;
};
/** Whether the process holds code that switches stacks (as of sut_prove_prepare()). */
bool sut_deep_needed(struct suture_process *p);
/**
 * Turns sut_prove_thread() to the deep proof, against these ranges, until sut_deep_end(). Everything is copied. Stops
 * nobody: reads all memory once, to see how long it takes. -SUTURE_EREFUSED: too long.
 */
int sut_deep_begin(struct suture_process *p, const struct sut_code_range *ranges, size_t n, const struct sut_span *ours,
		   size_t n_ours) __must_check;
void sut_deep_end(struct suture_process *p);
/** In a stop, before its first sut_prove_thread(). */
void sut_deep_forget_threads(struct suture_process *p);
/** In a stop, after every thread was proved clear: CLEAR_MEMORY, or INSIDE with the word (where, address, range). */
int sut_deep_memory(struct suture_process *p, struct sut_proof_result *ret) __must_check;
/** Without a stop: whether the word that was found last is still there, so that another stop would be for nothing.
 *  Now and then the answer is no all the same: the memory may have become a stack of a thread. */
bool sut_deep_still_there(struct suture_process *p, struct sut_proof_result *ret);
/** Loads what the unwinder will need (CFI of all objects) before threads are stopped. */
int sut_prove_prepare(struct suture_process *p) __must_check;

/** One frame of a walk; for tests and messages. */
struct sut_frame {
	uint64_t pc, cfa;
	bool signal_frame; /* the trampoline that a signal handler returns to */
	bool exact; /* pc is where the thread stands (or stood when a signal came), not a return address */
};
/** Walks a stopped thread. Returns the number of frames (at most @cap); *reliable says whether the end is proved. */
size_t sut_unwind(struct suture_process *p, struct sut_thread *t, const struct sut_extra_cfi *extra, size_t n_extra,
		  struct sut_frame *frames, size_t cap, bool *reliable, const char **why);

#endif
