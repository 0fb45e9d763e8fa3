/* SPDX-License-Identifier: MIT */
/*
 * symtab.h - the symbols of one object, whatever file they come from.
 *
 * Sources, in this order: the object's own .symtab; a separate debug file (by build-id
 * path, .gnu_debuglink, or named by the user); .gnu_debugdata; last the dynamic symbols.
 * Words: *sympos* as in kernel livepatch: which of several symbols of one name, counted from
 * 1 in the order of the symbol table; 0 means there must be only one. *Fragments*
 * (.cold .part .isra .constprop .lto_priv .llvm .localalias) belong to a parent.
 *
 * What counts as a symbol here, and so for sympos: defined functions, IFUNCs, objects, common and thread-local
 * symbols, and those without a type that stand in a section (labels of assembler files); not
 * section and file symbols, absolute values, mapping symbols and symbols without a name. A default version
 * ("f@@V1") is taken off the name, another one ("f@V0") stays part of it.
 */
#ifndef SUT_SYMTAB_H
#define SUT_SYMTAB_H

#include "elf/elf.h"

struct sut_symbol {
	const char *name;
	const char *file; /* the FILE symbol it stands under, NULL for globals */
	uint64_t value; /* link-time address (TLS: offset in the block) */
	uint64_t size;
	uint8_t type, bind, visibility;
	uint16_t shndx;
	uint32_t sympos; /* 1.. */
	uint32_t order; /* place in the symbol table */
	/* The nearest symbol it is a fragment of (f.constprop.0.cold -> f.constprop.0 -> f): under the same FILE
	 * symbol, else a global one. NULL: no fragment, or not to be found. */
	const struct sut_symbol *parent;
	bool uncertain; /* from a debug file that fits but for bytes of this function or object */
};

enum sut_symtab_source {
	SUT_SYMS_OWN, /* .symtab of the object itself */
	SUT_SYMS_DEBUG_ID, /* a debug file of the same build-id */
	SUT_SYMS_DEBUG_CONTENT, /* a debug file of the same content */
	SUT_SYMS_MINI, /* .gnu_debugdata */
	SUT_SYMS_DYNAMIC, /* stripped: exported symbols only */
	SUT_SYMS_DEBUG_LINK, /* a debug file by the checksum in .gnu_debuglink; the object has no build-id */
};

struct sut_symtab {
	enum sut_symtab_source source;
	struct sut_elf *debug; /* the debug file that was used or named by the user, owned; NULL: none */
	char *debug_path;
	SUT_VEC(struct sut_symbol) sym; /* by address, then order; thread-local ones, whose value is none, last */
	size_t n_addr; /* how many of them are not thread-local */
	size_t n_uncertain;
	void *index; /* name hash, private */
};

/**
 * Loads the symbols of @e, which must outlive them. @root: directory under which its debug files are
 * looked for ("/proc/7/root", "" for ours), never left by links. @debug: a debug file named by the user, or NULL;
 * one that fits neither by build-id nor by content is refused, with the reason (-SUTURE_EREFUSED). An
 * object with a symbol table of its own keeps it; a debug file named then only is at hand in ->debug.
 * A file without any symbols at all is no failure.
 */
int sut_symtab_load(struct suture_ctx *ctx, struct sut_elf *e, const char *root, const char *debug,
		    struct sut_symtab **ret) __must_check;
void sut_symtab_free(struct sut_symtab *t);
const char *sut_symtab_source_name(enum sut_symtab_source s);

/** The symbol of a name. 0; -SUTURE_ENOTFOUND (no such name or sympos too large); -SUTURE_EREFUSED
 *  (sympos 0 and several: ambiguous). The failure's text names the object and lists the choices. */
int sut_symtab_find(const struct sut_symtab *t, struct sut_elf *e, const char *name, uint32_t sympos,
		    const struct sut_symbol **ret) __must_check;
/** How many symbols have that name. */
size_t sut_symtab_count(const struct sut_symtab *t, const char *name);
/** The symbol of a name and sympos (from 1), or NULL. */
const struct sut_symbol *sut_symtab_nth(const struct sut_symtab *t, const char *name, uint32_t sympos);
/** The function (or, if none, object) that covers @addr; NULL: none. Prefers globals, then names without a
 *  fragment suffix. A label without a size covers what follows up to the next symbol. */
const struct sut_symbol *sut_symtab_at(const struct sut_symtab *t, uint64_t addr);
/** First index of the symbols whose value is exactly @addr; *ret_n of them follow each other. */
size_t sut_symtab_all_at(const struct sut_symtab *t, uint64_t addr, size_t *ret_n);
/** Length of the base name: "foo.constprop.0.cold" -> 3; the whole length when there is no such suffix. */
size_t sut_symbol_base_len(const char *name);

#endif
