/* SPDX-License-Identifier: MIT */
/*
 * self.h - this very process as a target: what self.c and selfstop.c share.
 *
 * Nobody traces a process from inside, so its threads are stopped by a signal: a real-time signal that the program
 * leaves at its default action, caught for the time of a stop. Its handler notes where its thread was
 * interrupted, says so, and waits on a futex until it may go on. The calling thread gets the signal too, to learn its
 * own registers, and goes on at once; a copy of the part of its stack that it is about to write over is kept, so
 * that it can be walked as it was then.
 *
 *	closed    nobody is asked to stop                       anything may be called
 *	stopping  threads are signalled and wait                nothing that allocates or locks
 *	frozen    all of them wait (sut_mem.frozen)             nothing that allocates or locks
 *	closed    the gate is open, they go on; one that got the signal late finds it open and goes on as well
 *
 * A thread may wait with any lock in its hands (malloc's, stdio's, the dynamic linker's). So from the first
 * signal to the opening of the gate everything is system calls and memory that was there before. The proofs
 * want call frame information, and libdw allocates: rows are read beforehand (sut_cfi_read), in the stop they are only
 * looked up, and what was missing is noted, makes the answer "unreliable", and is read after the release. A rehearsal
 * before a transition fills in what the threads of that moment stand in.
 *
 * What is not possible: a thread that blocks all signals for good, or waits for a vfork child, can not be stopped,
 * and the stop is refused after its time. System calls that the kernel never restarts after a handler
 * (signal(7): epoll_wait, nanosleep, poll, sigtimedwait and others) return EINTR.
 */
#ifndef SUT_PROCESS_SELF_H
#define SUT_PROCESS_SELF_H

#include "process/internal.h"

#define SUT_SELF_SNAPSHOT 16384 /* bytes of the caller's stack that are kept */
#define SUT_SELF_MISSED   1024

struct sut_self {
	bool mem_file; /* mem_fd reads and writes the memory that we see (not so in some emulators) */
	bool emulated; /* another machine's emulator runs us (qemu-user): its own threads are listed beside ours */
	int pipe[2]; /* to read and write memory without faulting where mem_fd does not serve */
	int task_fd; /* /proc/self/task */
	struct sut_thread caller; /* what p->borrowed points to */
	sigset_t mask; /* the caller's, while it is stopping others */
	uint64_t since; /* when the first was signalled */
	SUT_VEC(pid_t) excluded; /* threads that are never stopped: the kernel's, the emulator's */
	uint64_t snapshot_addr; /* the caller's stack as it was; snapshot_len 0: none */
	size_t snapshot_len;
	uint8_t *snapshot;
	struct { /* what the proofs wanted and nobody had read */
		struct sut_cfi *cfi; /* NULL: that of the object at pc, not opened yet */
		uint64_t pc; /* as the cfi has it; runtime where cfi is NULL */
	} missed[SUT_SELF_MISSED];
	unsigned n_missed;
};

/* self.c */
extern const struct sut_process_ops sut_self_ops;
extern const struct sut_mem_ops sut_self_mem_ops;
/** Reads as much as there is, never faults. Async-signal-safe. */
size_t sut_self_read_some(struct suture_process *p, uint64_t addr, void *buf, size_t len);

/* selfstop.c */
/** Stops every other thread: afterwards p->thread has all, and the process is frozen. As sut_process_stop(). */
int sut_self_stop(struct suture_process *p, unsigned timeout_ms) __must_check;
/** Lets them go; returns how long they were held, in ns. Safe at any time. */
uint64_t sut_self_go_on(struct suture_process *p);
/** Gives the signal back, whatever may still be pending of it. For the end of the handle. */
void sut_self_end(struct suture_process *p);

#endif
