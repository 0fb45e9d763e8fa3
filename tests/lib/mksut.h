/* SPDX-License-Identifier: MIT */
/*
 * mksut.h - makes patch files for tests, without the builder: an object file and a list of functions in, a .sut out.
 */
#ifndef TEST_MKSUT_H
#define TEST_MKSUT_H

#include <stddef.h>
#include <stdint.h>

/** One function to replace: `old` in the target file, by the function `new` of the object file. */
struct mksut_func {
	const char *old, *new;
	unsigned object; /* index in targets */
};

/** What goes into a patch. */
struct mksut {
	const char *name; /* of the patch */
	const char *object_file; /* the new functions: gcc -c -ffunction-sections -fdata-sections */
	const char *const *targets; /* ELF files whose functions are replaced */
	const char *const *sonames; /* as the patch names them; "" is the executable */
	size_t n_targets;
	const struct mksut_func *funcs;
	size_t n_funcs;
	int no_build_id; /* identify by content digest */
};

/** Makes the file in memory (heap). Undefined symbols that only the target's .symtab defines become late symbols.
 *  0, or -1 after a message on stderr. */
int mksut_make(const struct mksut *m, uint8_t **ret, size_t *ret_len);
/** Writes it to @path. */
int mksut_write(const struct mksut *m, const char *path);
/** Puts the right digest into an image (again, after a change). -1: no digest section found. */
int mksut_fix_digest(uint8_t *image, size_t len);

#endif
