/* SPDX-License-Identifier: MIT */
/*
 * build.h - from a source difference, or from two objects, to a patch file.
 */
#ifndef SUT_BUILD_H
#define SUT_BUILD_H

#include "elf/symtab.h"
#include "util/fail.h"
#include "util/util.h"

/** What `suture build` was asked for. Paths are borrowed. */
struct sut_build_opts {
	const char *const *target; /* NULL-ended; the binaries to patch */
	const char *const *debug; /* NULL-ended; debug files offered */
	const char *const *diff; /* NULL-ended; unified diffs, applied in this order */
	const char *srcdir;
	const char *compile_commands; /* NULL: srcdir/compile_commands.json */
	const char *name; /* NULL: the output's base name */
	const char *output;
	const char *keep; /* directory that keeps the objects, or NULL */
	const char *tool_version;
	unsigned jobs; /* compilers at once, 0: as many as processors */
	bool dry_run; /* everything but the file */
};

/** Why a function stands in the patch. */
enum sut_include_reason {
	SUT_WHY_CHANGED, /* its code differs, and the diff touches its source lines or not: see text */
	SUT_WHY_NEW, /* not in the original */
	SUT_WHY_NEEDED, /* data or code that an included function needs */
	SUT_WHY_DATA, /* refers to constant data that changed */
};
struct sut_build_item {
	char *object; /* target it belongs to */
	char *unit; /* source file */
	char *name;
	enum sut_include_reason reason;
	char *text; /* in words: first difference, how proved equal, warnings */
	uint64_t old_size, new_size;
	bool is_func;
};

/** What `suture build --explain` tells. */
struct sut_build_report {
	SUT_VEC(struct sut_build_item) item;
	SUT_VEC(char *) note; /* files of the diff that are not compiled, warnings, refused items */
	unsigned units, units_changed, funcs_compared, funcs_verified;
	uint64_t total_ns, compile_ns;
};
void sut_build_report_free(struct sut_build_report *r);

/**
 * Builds a patch. -SUTURE_ENOTHING (units compiled and compared, none differs), -SUTURE_EREFUSED (unsafe,
 * or it does not fit the binary; the text names the function, the reason and what to do), -SUTURE_ECOMPILE.
 * The report is filled as far as it got, on failure too. The source tree is never written to.
 */
int sut_build(struct suture_ctx *ctx, const struct sut_build_opts *opts, struct sut_build_report *ret) __must_check;
/** The same from two objects that were compiled with -ffunction-sections -fdata-sections. @opts->diff is unused. */
int sut_build_objects(struct suture_ctx *ctx, const char *orig, const char *patched, const struct sut_build_opts *opts,
		      struct sut_build_report *ret) __must_check;

#endif
