/* SPDX-License-Identifier: MIT */
/*
 * error.h - contexts, errors and messages of libsuture.
 *
 * Every call returns 0 or a negative code: -errno where the kernel said no and
 * nothing more is known, else one of enum suture_code, negated. The text of the
 * last failure stays in the context until the next call on that context fails.
 * The library never prints and never exits; log lines go to the callback.
 *
 * A context belongs to one thread at a time. Nothing here is async-signal-safe.
 */
#ifndef SUTURE_ERROR_H
#define SUTURE_ERROR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Why a call failed. Returned negated; suture_exit_status() maps it to the exit codes of suture(1). */
enum suture_code {
	SUTURE_EFAILED = 4001, /**< failed; the target is untouched or rolled back */
	SUTURE_EBUSY, /**< another transition is in hand, or the patch's name is taken */
	SUTURE_ETIMEOUT, /**< some thread never left an old function; rolled back */
	SUTURE_EGONE, /**< the process ended meanwhile */
	SUTURE_ECOMPILE, /**< a compiler or patch(1) said no */
	SUTURE_EUSAGE, /**< the caller's arguments make no sense */
	SUTURE_ENOTHING, /**< nothing to do */
	SUTURE_EREFUSED, /**< the patch or file does not fit, or is damaged, or is not safe */
	SUTURE_EINCOMPLETE, /**< the transition did not finish; each thread is on one side */
	SUTURE_EACCESS, /**< no permission: ptrace scope, capability, seccomp, a debugger */
	SUTURE_ENOTFOUND, /**< no such process, patch or symbol */
	SUTURE_EDAMAGED, /**< a rollback failed: the target may be damaged */
	SUTURE_EBUG, /**< an invariant of suture itself does not hold */
};

enum suture_log_level { SUTURE_LOG_DEBUG, SUTURE_LOG_INFO, SUTURE_LOG_WARN };

/** The last failure of a context. Strings live until the next failure or suture_ctx_destroy(). */
struct suture_error {
	int code; /**< enum suture_code or an errno, positive; 0: none yet */
	const char *message; /**< what, where and why, one line, no newline */
	const char *hint; /**< what to do about it, or NULL */
	uint64_t address; /**< the address it is about, or 0 */
};

struct suture_ctx;

/** Options of suture_ctx_create(); set sz to sizeof, zero the rest. */
struct suture_ctx_opts {
	size_t sz;
	/** Called for each log line, on the calling thread; NULL: lines are dropped. */
	void (*log)(void *arg, enum suture_log_level level, const char *line);
	/** Called when long work moves on (done of total, total 0: unknown), never while a process is held; NULL: not called. */
	void (*progress)(void *arg, const char *what, unsigned done, unsigned total);
	void *arg; /**< handed to both callbacks; the caller's */
};

/** Makes a context. @opts may be NULL. Returns 0 or -ENOMEM; *ret is the caller's to destroy. */
int suture_ctx_create(const struct suture_ctx_opts *opts, struct suture_ctx **ret) __attribute__((warn_unused_result));
/** Frees a context and its messages; NULL is fine. */
void suture_ctx_destroy(struct suture_ctx *ctx);
/** The last failure; never NULL, the context's own. */
const struct suture_error *suture_ctx_error(const struct suture_ctx *ctx);
/** The exit status of suture(1) for a returned code (0 or negative). */
int suture_exit_status(int err);
/** The machine-readable name of a returned code, as in --json ("refused", "busy", ...); static. */
const char *suture_code_name(int err);

#ifdef __cplusplus
}
#endif
#endif
