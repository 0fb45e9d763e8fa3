/* SPDX-License-Identifier: MIT */
/*
 * process.h - other processes, and one's own. See suture(1) for what may refuse a process and why.
 * Not thread-safe per context; nothing here is async-signal-safe. While a call below runs,
 * the calling thread is the tracer of the target; no other thread may wait for children.
 */
#ifndef SUTURE_PROCESS_H
#define SUTURE_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include <suture/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct suture_process;

/** Options of suture_process_attach(); set sz, zero the rest. */
struct suture_attach_opts {
	size_t sz;
	const char *const *debug; /**< NULL-ended list of debug files offered for the objects; borrowed */
};

/**
 * Opens a process: reads who and what it is, stops nobody.
 * -SUTURE_ENOTFOUND (no such process), -SUTURE_EACCESS (not ours, traced, a filter that kills),
 * -SUTURE_EREFUSED (32-bit, another machine, a kernel thread). *ret is the caller's to detach.
 */
int suture_process_attach(struct suture_ctx *ctx, pid_t pid, const struct suture_attach_opts *opts,
			  struct suture_process **ret) __attribute__((warn_unused_result));
/**
 * Opens the calling program's own process, for patches in itself: everything that takes a struct suture_process works on
 * it. Nothing is traced. Where another process's threads would be stopped, this one's get a signal: the highest
 * real-time signal that the program leaves at its default action, caught for that time only. The calling thread is
 * proved like the others, so it must not be inside of a function that a patch replaces.
 *
 * Safe with any number of threads, created and ended meanwhile; those that make system calls go on in them, but for the
 * calls that the kernel never restarts (signal(7)), which return EINTR. A thread that keeps all signals blocked, or
 * waits for a vfork child, can not be stopped: -SUTURE_ETIMEOUT, and nothing has changed.
 * While threads are stopped (a fraction of a millisecond, in each attempt of a transition) no callback is called.
 * The handle belongs to one thread at a time, and one transition at a time is made in a process: -SUTURE_EBUSY.
 * Cancellation of the calling thread waits. Not async-signal-safe. A child made by fork stays patched; the handle
 * is not its own (-SUTURE_EUSAGE), it opens one. Not to be called from a vfork child.
 *
 * -SUTURE_EREFUSED (this machine is not supported), -SUTURE_EFAILED (no /proc). *ret is the caller's to detach.
 */
int suture_process_self(struct suture_ctx *ctx, struct suture_process **ret) __attribute__((warn_unused_result));
/** Lets every thread go and frees the handle; NULL is fine. */
void suture_process_detach(struct suture_process *p);
pid_t suture_process_pid(const struct suture_process *p);
/** The command name (comm), the process's own. */
const char *suture_process_comm(const struct suture_process *p);

#ifdef __cplusplus
}
#endif
#endif
