/* SPDX-License-Identifier: MIT */
/*
 * symindex.h - how symtab.c hands a filled list of symbols over to be sorted and looked up.
 */
#ifndef SUT_SYMINDEX_H
#define SUT_SYMINDEX_H

#include "elf/symtab.h"

/** What is known of a symbol while the table is being filled. */
struct sut_symbol_draft {
	struct sut_symbol s;
	uint32_t scope; /* which FILE symbol it stands under, counted from 1; 0: none */
};
typedef SUT_VEC(struct sut_symbol_draft) sut_draft_vec;

/** Gives @t an empty index; before all others. */
int sut_symindex_init(struct suture_ctx *ctx, struct sut_symtab *t) __must_check;
/**
 * Sorts the drafts into @t->sym, counts sympos, finds parents and builds the index. @drop_doubles: of symbols
 * with equal name and address only the first is kept. @e: the object, whose segments tell code from data.
 */
int sut_symindex_build(struct suture_ctx *ctx, struct sut_symtab *t, const struct sut_elf *e, sut_draft_vec *drafts,
		       bool drop_doubles) __must_check;
void sut_symindex_free(struct sut_symtab *t);
/** Keeps @name (heap) alive as long as the table; freed on failure. */
int sut_symindex_own(struct suture_ctx *ctx, struct sut_symtab *t, char *name) __must_check;

#endif
