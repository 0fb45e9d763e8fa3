/* SPDX-License-Identifier: MIT */
/*
 * internal.h - what the files of the patch room share.
 *
 * The way of a patch: file.c reads a .sut into struct suture_patch (nothing of a process in it);
 * plan.c fits it to one process (struct sut_plan: only reads); enable.c carries the plan out;
 * site.c keeps, in the target, what later tools need to know about it. target.c is the only
 * file that stops threads, and does so only through the process room.
 */
#ifndef SUT_PATCH_INTERNAL_H
#define SUT_PATCH_INTERNAL_H

#include <suture/patch.h>
#include <suture/sutfile.h>

#include "module/module.h"
#include "module/registry.h"
#include "patch/site.h"
#include "patch/transition.h"
#include "process/process.h"
#include "text/poke.h"

/* --- file.c: the patch as the file has it ------------------------------------------------ */

struct sut_patch_object {
	const char *name; /* "" is the executable */
	uint8_t build_id[SUT_BUILD_ID_MAX];
	size_t build_id_len; /* 0: the content digest decides */
	uint8_t content[SUT_DIGEST_SIZE];
};

struct sut_patch_func {
	uint32_t object;
	const char *old_name;
	uint32_t old_sympos;
	uint64_t old_addr, old_size; /* link-time */
	uint8_t old_digest[SUT_DIGEST_SIZE];
	uint32_t new_symbol, new_section;
	const char *new_name;
	uint64_t new_size;
	uint32_t first_range, n_ranges;
	uint32_t flags;
};

struct suture_patch {
	struct suture_ctx *ctx;
	struct sut_elf *elf; /* owned; all strings below point into it */
	char name[SUTURE_NAME_MAX + 1];
	uint8_t digest[SUT_DIGEST_SIZE];
	SUT_VEC(struct sut_patch_object) object;
	SUT_VEC(struct sut_patch_func) func;
	SUT_VEC(struct suture_file_range) range;
	uint32_t *section_object; /* by section index: the object it belongs to, or UINT32_MAX */
	bool landing_pads; /* holds C++ landing pads (.gcc_except_table) */
};

/** Parses an image in memory (a heap buffer, taken over, freed on failure too). For suture_patch_open() and tests. */
int sut_patch_parse(struct suture_ctx *ctx, void *image, size_t size, const char *path,
		    struct suture_patch **ret) __must_check;

/* --- strings that live as long as their owner --------------------------------------------- */

struct sut_texts {
	SUT_VEC(char *) s;
};
/** A formatted string that lives until sut_texts_free(); NULL: no memory. */
const char *sut_texts_add(struct sut_texts *s, const char *fmt, ...) sut_printf(2, 3);
void sut_texts_free(struct sut_texts *s);

/** Code that threads must be outside of, sorted by start, and its names. */
struct sut_ranges {
	SUT_VEC(struct sut_code_range) r;
	struct sut_texts names;
};
/** Adds [start, start+size); @name is borrowed, NULL counts as no memory. */
int sut_ranges_add(struct suture_ctx *ctx, struct sut_ranges *r, uint64_t start, uint64_t size, const char *name,
		   unsigned func) __must_check;
void sut_ranges_sort(struct sut_ranges *r);
void sut_ranges_free(struct sut_ranges *r);

/* --- plan.c: the patch, fitted to a process ----------------------------------------------- */

struct sut_plan_func {
	const struct sut_patch_func *f;
	struct sut_object *object;
	uint64_t addr; /* the old function in the process */
	uint64_t site; /* where the jump goes: behind a landing pad */
	uint8_t old[SUT_SITE_MAX]; /* bytes there now */
	uint64_t new_addr; /* set once the module is planned */
	bool movable; /* its first instructions can be moved: it can have an original entry */
};

struct sut_plan {
	struct suture_process *p;
	const struct suture_patch *patch;
	struct sut_registry *reg; /* borrowed */
	struct sut_object **object; /* by index of the patch's objects */
	struct sut_plan_func *func; /* as patch->func */
	size_t n_funcs;
	size_t n_mappings; /* text mappings that sites lie in */
	struct sut_sites *others; /* by registry record: the sites of enabled patches */
	struct sut_ranges old; /* the old functions and their fragments */
};

/** Fits @patch to @p and verifies every old function in file and memory; stops nobody, changes nothing. */
int sut_plan_make(struct suture_process *p, const struct suture_patch *patch, struct sut_registry *reg,
		  struct sut_plan *ret) __must_check;
void sut_plan_free(struct sut_plan *plan);
/** Whether the first instructions at @site can be moved elsewhere: none that can not, no branch between them.
 *  @code: the function's bytes. */
bool sut_site_movable(const struct sut_arch *arch, const uint8_t *code, uint64_t size, uint64_t addr, uint64_t site,
		      size_t *ret_moved);
/** The digest that a .sut holds of an old function: its file bytes, those with dynamic relocations as zeros. */
int sut_func_digest(const struct sut_elf *e, uint64_t addr, uint64_t size, uint8_t ret[SUT_DIGEST_SIZE]) __must_check;

/* --- target.c: threads and code of a process ---------------------------------------------- */

/** Code of ours in a process that frames may stand in, with its unwind data. */
struct sut_code {
	SUT_VEC(struct sut_extra_cfi) cfi;
};
/** Reads the unwind data of all modules that the registry lists. A module whose data can not be read is left out (threads
 *  inside it are then "not provable", which is safe). */
int sut_code_load(struct suture_process *p, const struct sut_registry *reg, struct sut_code *ret) __must_check;
/** Adds the unwind data of one record. */
int sut_code_add(struct suture_process *p, const struct sut_record *rec, struct sut_code *code) __must_check;
void sut_code_free(struct sut_code *c);

/** A process as the transition's machine sees it. Zero it, fill the first part. */
struct sut_target {
	struct suture_process *p;
	const struct sut_code *code;
	const struct sut_registry *reg; /* what in the memory is ours; may be NULL */
	bool count_all; /* look at every thread even after one was found inside */
	/** Called for each thread that is inside, with the range's func; may be NULL. */
	void (*on_busy)(void *arg, const struct sut_busy *busy);
	int (*commit)(void *arg); /* NULL: nothing */
	void *arg; /* of both */
	/* results */
	unsigned threads; /* proved in the last stop */
	/* private */
	unsigned stop_ms;
	char why[160];
	unsigned elsewhere; /* stops in which a thread was not on its own stack */
	bool deep, too_deep; /* the deep proof is on, or takes too long */
};
extern const struct sut_threads_ops sut_target_ops;

/** What a failed call shall return: -SUTURE_EGONE when the process has ended meanwhile, whatever failed because of it. */
int sut_target_outcome(struct suture_process *p, int err);
/** Start time of this process as in /proc (field 22), 0: unknown. */
uint64_t sut_self_start_time(void);
/** Whether somebody wants this tool to end (its signals are blocked while it works on a target). */
bool sut_tool_signals_pending(void);
/** The failure recorded last, kept while it is undone, and told again afterwards. */
struct sut_error_kept {
	int code;
	char message[1024], hint[512];
	uint64_t address;
};
void sut_error_keep(struct suture_ctx *ctx, struct sut_error_kept *ret);
void sut_error_restore(struct suture_ctx *ctx, const struct sut_error_kept *kept);
/** The undoing failed as well: -SUTURE_EDAMAGED with both texts. @state: in what state the process is. */
int sut_error_not_undone(struct suture_process *p, const struct sut_error_kept *kept, const char *state);
/** One tool at a time: taken until sut_target_unlock() or the tool's death. -SUTURE_EBUSY. From then on a thread may be
 *  waited for as long as @opts allow (NULL: the default time-out). */
int sut_target_lock(struct suture_process *p, const struct suture_enable_opts *opts) __must_check;
void sut_target_unlock(struct suture_process *p);
/** Borrows a thread, trying again for a while. */
int sut_target_borrow(struct suture_process *p) __must_check;
/** Runs the machine (sut_transition_run()) on a process, with the deep proof (process/unwind.h) where that is needed. */
int sut_target_run(struct sut_target *t, const struct sut_code_range *ranges, size_t n, unsigned timeout_ms,
		   struct sut_transition_result *ret) __must_check;
/** The same, and turns a timeout into its text. */
int sut_target_transition(struct sut_target *t, const struct sut_code_range *ranges, size_t n, unsigned timeout_ms,
			  struct sut_transition_result *ret) __must_check;
/** -SUTURE_EBUSY when a record tells of a transition in hand, or of one that a dead tool left. */
int sut_target_check_idle(struct suture_process *p, const struct sut_registry *reg) __must_check;
unsigned sut_opts_timeout(const struct suture_enable_opts *opts);
bool sut_opts_force_write(const struct suture_enable_opts *opts);
bool sut_opts_dry_run(const struct suture_enable_opts *opts);

/* --- report.c ------------------------------------------------------------------------------ */

/** A report of a planned patch. */
int sut_report_make(const struct sut_plan *plan, struct suture_report **ret) __must_check;
/** A report of a patch that is in the process already. */
int sut_report_make_sites(struct suture_process *p, const char *name, const struct sut_sites *sites,
			  struct suture_report **ret) __must_check;
/** Notes a thread that is inside. Called while threads stand still: names are borrowed until sut_report_keep(). */
void sut_report_busy(struct suture_report *r, const struct sut_busy *busy);
/** Makes borrowed names the report's own. */
void sut_report_keep(struct suture_report *r);

#endif
