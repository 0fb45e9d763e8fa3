/* SPDX-License-Identifier: MIT */
/*
 * patch.h - live patches: open a .sut, ask whether it fits, enable, disable, look, recover.
 * All of it is what suture(1) does; the commands' man pages describe the behaviour.
 */
#ifndef SUTURE_PATCH_H
#define SUTURE_PATCH_H

#include <stdbool.h>
#include <stdint.h>

#include <suture/process.h>

#ifdef __cplusplus
extern "C" {
#endif

struct suture_patch;

/** Options of suture_patch_open(); set sz, zero the rest. There are none yet. */
struct suture_open_opts {
	size_t sz;
};

/**
 * Reads and checks a patch file: digest first, then every table. @opts may be NULL. -SUTURE_ENOTFOUND (no such file),
 * -SUTURE_EREFUSED (damaged, or no patch file). *ret is the caller's to close.
 */
int suture_patch_open(struct suture_ctx *ctx, const char *path, const struct suture_open_opts *opts,
		      struct suture_patch **ret) __attribute__((warn_unused_result));
void suture_patch_close(struct suture_patch *patch);
const char *suture_patch_name(const struct suture_patch *patch);

/** One function of a report. Strings belong to the report. */
struct suture_report_func {
	const char *object; /**< path of the object as mapped */
	const char *old_name;
	uint32_t old_sympos;
	uint64_t old_size, new_size; /**< bytes */
	uint64_t old_addr, new_addr; /**< in the process; new_addr 0 before it is loaded */
	const char *site; /**< "jump" */
	unsigned busy; /**< threads found inside (check: as of that moment); a suspended coroutine counts as one */
	pid_t busy_tid; /**< one of them, 0: none, but a coroutine may be */
	const char *busy_in; /**< where exactly (function or fragment), or NULL */
};

/** What happened, or would. */
struct suture_report {
	char *patch;
	char *build_id; /**< hex of the first object's, "" when it has none */
	const char *arch;
	struct suture_report_func *funcs;
	size_t n_funcs;
	unsigned threads; /**< threads of the process that were proved */
	unsigned attempts; /**< common stops made */
	uint64_t total_ns; /**< whole call */
	uint64_t pause_ns; /**< longest pause of any thread */
	const char *text_method; /**< "swap" or "write" */
	char *text_why; /**< why "write", or NULL */
	void *priv;
};
void suture_report_free(struct suture_report *r);

/** Preflight: everything that enabling would check, nothing changed. 0: it fits (busy threads are only reported). */
int suture_patch_check(struct suture_process *p, const struct suture_patch *patch, struct suture_report **ret)
	__attribute__((warn_unused_result));

/** Options of enable and disable; set sz, zero the rest. */
struct suture_enable_opts {
	size_t sz;
	unsigned timeout_ms; /**< until the proof of all threads; 0: 15000 */
	bool force_write; /**< change text by a plain write in the common stop, never by a page swap */
	bool dry_run; /**< plan only */
	/** Where the report of a success is put, the caller's to free; untouched on failure. NULL: nobody wants one. */
	struct suture_report **report;
};

/**
 * Loads the patch and moves every thread over. On failure nothing has changed.
 * -SUTURE_ENOTHING (already applied), -SUTURE_EBUSY, -SUTURE_ETIMEOUT (the text names thread and function),
 * -SUTURE_EREFUSED, -SUTURE_EACCESS, -SUTURE_EGONE, -SUTURE_EDAMAGED. @opts may be NULL.
 */
int suture_patch_enable(struct suture_process *p, struct suture_patch *patch, const struct suture_enable_opts *opts)
	__attribute__((warn_unused_result));
/** Takes a patch out again; -SUTURE_ENOTFOUND when the process has none of that name. */
int suture_patch_disable(struct suture_process *p, const char *name, const struct suture_enable_opts *opts)
	__attribute__((warn_unused_result));

/** What a process holds. */
enum suture_patch_state {
	SUTURE_STATE_LOADING, /**< a tool is loading it, or died doing so */
	SUTURE_STATE_ENABLING,
	SUTURE_STATE_ENABLED,
	SUTURE_STATE_DISABLING,
	SUTURE_STATE_PARKED, /**< reverted; its memory stays, because pointers to it may live */
};
struct suture_status_func {
	const char *object, *old_name;
	uint32_t old_sympos; /**< 0: the only one of its name */
	uint64_t old_addr, new_addr, old_size, new_size;
	/** "jump", "switch", "original", "foreign" (other bytes than ours), "gone" (its object is not mapped any more),
	 *  "none" (parked, and another's bytes). */
	const char *site;
	uint8_t site_bytes[16];
	unsigned site_len;
};
struct suture_status_patch {
	const char *name;
	enum suture_patch_state state;
	unsigned order; /**< stack order, 1.. in the order of enabling */
	uint64_t since; /**< seconds since the epoch */
	pid_t tool; /**< the tool that holds the transition, 0: none alive */
	uint64_t mem_start, mem_size; /**< first area */
	uint64_t mem_total;
	struct suture_status_func *funcs;
	size_t n_funcs;
};
struct suture_status {
	struct suture_status_patch *patches;
	size_t n_patches;
	void *priv;
};
/** Reads the registry in the target; stops nobody. A process without one has no patches. */
int suture_process_status(struct suture_process *p, struct suture_status **ret) __attribute__((warn_unused_result));
void suture_status_free(struct suture_status *s);
const char *suture_patch_state_name(enum suture_patch_state s);

/** What recovery did. */
struct suture_recovery {
	unsigned finished, undone; /**< patches brought forward, taken back */
	char last[64]; /**< name of the last of them */
};
/** Finishes or undoes what a killed tool left. -SUTURE_ENOTHING when there is nothing. */
int suture_process_recover(struct suture_process *p, const struct suture_enable_opts *opts, struct suture_recovery *ret)
	__attribute__((warn_unused_result));

#ifdef __cplusplus
}
#endif
#endif
