/* SPDX-License-Identifier: MIT */
/*
 * process.h - other processes. See suture(1) for what may refuse a process and why.
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
/** Lets every thread go and frees the handle; NULL is fine. */
void suture_process_detach(struct suture_process *p);
pid_t suture_process_pid(const struct suture_process *p);
/** The command name (comm), the process's own. */
const char *suture_process_comm(const struct suture_process *p);

#ifdef __cplusplus
}
#endif
#endif
