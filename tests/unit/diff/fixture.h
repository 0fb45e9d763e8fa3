/* SPDX-License-Identifier: MIT */
/*
 * fixture.h - small programs for the builder's tests: written, compiled, changed and built into patches
 * at test time, in a scratch directory that goes away with the fixture.
 */
#ifndef TEST_DIFF_FIXTURE_H
#define TEST_DIFF_FIXTURE_H

#include "diff/build.h"

#define FX_FILES 16

struct fx {
	char dir[64]; /* scratch: tree/ is the source tree, bin the target */
	const char *cc, *opt;
	struct suture_ctx *ctx;
	struct sut_build_report report;
	struct {
		char *path, *flags;
		bool compiled;
	} file[FX_FILES];
	size_t n_files;
	const char *cflags, *ldflags; /* for all files; may be set before fx_link() */
	const char *srcdir; /* NULL: tree */
	const char *db; /* NULL: the one that fx_link() wrote */
	const char *target; /* NULL: bin */
	bool dry_run;
	int err; /* of the last fx_build() */
};

/** A fixture for the compiler and level of the command line ("gcc -O2"). Exits with 77 when there is no such compiler. */
void fx_init(struct fx *f);
void fx_deinit(struct fx *f);
extern const char *fx_cc, *fx_opt;
void fx_args(int argc, char **argv);

/** Writes a file of the tree. */
void fx_write(struct fx *f, const char *path, const char *text);
/** The same, and lists it among those that are compiled and linked; @flags are its own. */
void fx_source(struct fx *f, const char *path, const char *flags, const char *text);
/** Runs a shell command in the scratch directory; fails the test when it fails. */
void fx_run(struct fx *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** Compiles, links bin, writes tree/compile_commands.json. */
void fx_link(struct fx *f);
/** Adds to fix.diff the difference to the tree's file that makes it @text (NULL: deletes it). */
void fx_change(struct fx *f, const char *path, const char *text);
/** The same by replacing @old (which must stand there once) in the tree's text. */
void fx_replace(struct fx *f, const char *path, const char *old, const char *new);
/** Builds out.sut with fix.diff; the error code (positive) or 0 also in f->err. */
int fx_build(struct fx *f);

/** The functions replaced must be just these (space separated, any order). */
void fx_functions(struct fx *f, const char *names);
const struct sut_build_item *fx_item(struct fx *f, const char *name);
/** Whether some note holds @text. */
bool fx_noted(struct fx *f, const char *text);
/** The last build must have failed with @code and a message that holds @text. */
void fx_failed(struct fx *f, int code, const char *text);
/** readelf and objdump must read out.sut without a word; the output of "readelf -aW" (heap). */
char *fx_readelf(struct fx *f);
/** One function of the patch file, by old name; fails the test when it is not there. */
struct suture_file_func;
void fx_file_func(struct fx *f, const char *name, struct suture_file_func *ret);

#endif
