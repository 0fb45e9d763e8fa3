/* SPDX-License-Identifier: MIT */
/*
 * diff.h - the builder's own view: what is shared between its files and nobody else.
 *
 * For each translation unit (struct sut_unit) up to four objects exist:
 *
 *	v   the recorded command alone, original source: proved to be in the target
 *	o   the same source, with -ffunction-sections -fdata-sections
 *	p   the patched source, with the same options as o
 *	vp  the patched source, recorded command alone: only where o and v differ in some function
 *
 * o and p are compared, v carries the addresses, p's code goes into the patch file.
 *
 * Words: an *atom* is a range of a section that is one thing: a function, a variable, a
 * string, or all of an anonymous section. A *ref* is one reference from an atom: a relocation, or
 * a displacement that the assembler resolved itself. *Twins* are the same atom in o and p.
 * A section of v is *placed* once the address is proved at which the target holds it.
 */
#ifndef SUT_DIFF_H
#define SUT_DIFF_H

#include <suture/sutfile.h>

#include "diff/build.h"
#include "elf/elf.h"
#include "elf/symtab.h"

/* ---- memory: everything below lives until the build ends ---- */

/** A list of heap blocks that are freed together. */
struct sut_pool {
	SUT_VEC(void *) block;
};
void *sut_pool_alloc(struct sut_pool *pool, size_t size); /* zeroed; NULL: no memory */
char *sut_pool_strndup(struct sut_pool *pool, const char *s, size_t n);
char *sut_pool_printf(struct sut_pool *pool, const char *fmt, ...) sut_printf(2, 3);
void sut_pool_free(struct sut_pool *pool);

/** Records a refusal with what to do about it; returns -SUTURE_EREFUSED. */
int sut_refuse(struct suture_ctx *ctx, const char *hint, const char *fmt, ...) sut_printf(3, 4);

/* ---- objects (ofile.c) ---- */

enum sut_class {
	SUT_CLASS_SKIP, /* debug data, notes, group headers */
	SUT_CLASS_TEXT,
	SUT_CLASS_RODATA,
	SUT_CLASS_RELRO, /* .data.rel.ro: constant once relocated */
	SUT_CLASS_DATA,
	SUT_CLASS_BSS,
	SUT_CLASS_TLS,
	SUT_CLASS_STRINGS, /* SHF_MERGE | SHF_STRINGS: known by content */
	SUT_CLASS_CONSTS, /* SHF_MERGE: likewise */
	SUT_CLASS_EH,
	SUT_CLASS_EXCEPT, /* .gcc_except_table */
	SUT_CLASS_INIT, /* .init_array and its like */
};

struct sut_atom;

struct sut_ref {
	uint64_t off; /* of the field, in its section */
	int64_t addend;
	uint32_t sym; /* index in the object's symbols; synthetic: 0 */
	const struct sut_reloc_howto *howto;
	struct sut_atom *atom; /* what it refers to; NULL: an undefined symbol */
	int64_t delta; /* from the atom's start, as the processor sees it */
	uint8_t tail; /* bytes from the field to the end of its instruction; 0: not in an instruction */
	bool branch; /* a direct call or jump */
	bool synthetic; /* resolved by the assembler: no relocation stands there */
	bool table; /* pc-relative, in data: counts from its own place */
};

struct sut_osym {
	const char *name;
	uint64_t value, size;
	uint8_t type, bind, visibility;
	uint32_t shndx; /* SHN_UNDEF, SHN_ABS, SHN_COMMON or a section */
	struct sut_atom *atom;
	/* Of an undefined symbol of v, learnt from the target (verify.c): */
	enum { SUT_BOUND_UNKNOWN, SUT_BOUND_ADDR, SUT_BOUND_DYNAMIC, SUT_BOUND_NULL } bound;
	uint64_t bound_addr; /* ADDR: link-time address (TLS: offset in the block) */
};

struct sut_osec {
	const struct sut_section *s;
	enum sut_class class;
	bool custom; /* an allocated section of a name of its own ("my_table") */
	bool used_by_size; /* its atoms' order and number matter */
	SUT_VEC(struct sut_ref) ref; /* by rising offset */
	SUT_VEC(struct sut_atom *) atom; /* by rising start */
	/* v: where the target holds it */
	bool placed;
	bool twice; /* in two places, equally */
	uint64_t base; /* TLS: offset in the block */
};

enum sut_atom_kind { SUT_ATOM_FUNC, SUT_ATOM_DATA, SUT_ATOM_STRING, SUT_ATOM_CONST, SUT_ATOM_ANON };

/** Whether the target was seen to hold an atom of v. */
enum sut_verdict { SUT_UNCHECKED, SUT_VERIFIED, SUT_MISMATCH, SUT_ABSENT };

struct sut_atom {
	struct sut_ofile *file;
	uint32_t sec; /* 0: common */
	uint32_t sym; /* index of the symbol that names it; 0: anonymous */
	enum sut_atom_kind kind;
	uint64_t start, size; /* in the section */
	const char *name; /* "" when anonymous */
	SUT_VEC(uint32_t) alias; /* all symbols that stand at its start, the naming one too */
	size_t first_ref, n_refs; /* in the section's refs */
	bool undecodable; /* some of its bytes are no instructions */
	bool no_size; /* a function whose symbol has no size */
	bool short_exit; /* leaves by a jump of one byte of reach: can not be moved */

	struct sut_atom *parent; /* f of f.cold */
	struct sut_atom *cold; /* f.cold of f, first of a chain by next_cold */
	struct sut_atom *next_cold;
	struct sut_atom *twin; /* o <-> p; v <-> vp */
	struct sut_atom *v; /* o: the same atom in v */
	struct sut_atom *owner; /* anonymous data: the one function that uses it ... */
	bool shared; /* ... or several do */
	const char *scope; /* static local: function it is declared in, and which of that name there (DWARF); or NULL */
	struct sut_atom *folded; /* p: a function without twin whose name shares the code of this one in o */
	bool ambiguous; /* p: data that may or may not be the same variable as one of o */

	/* v */
	enum sut_verdict verdict;
	const char *why; /* MISMATCH: in words */
	const struct sut_symbol *target; /* the symbol in the target, or NULL */

	/* o: the decisions */
	bool differs; /* from its twin */
	const char *difference; /* in words */
	bool data_differs; /* a function: refers to constant data that differs */
	bool proved; /* its code is that of v */
	const char *how; /* in words */
	bool taken; /* (o and p) goes into the patch as a replacement */
	bool start_only; /* runs only at start */

	/* p: the emission */
	bool included;
	uint32_t out_sec, out_sym; /* in the patch file */
	uint64_t out_off; /* merge entities: offset in the output section */
};

struct sut_ofile {
	struct suture_ctx *ctx;
	struct sut_pool *pool;
	struct sut_elf *elf;
	const char *name; /* for messages: "rdb.c (original)" */
	const char *source; /* its FILE symbol, or NULL */
	SUT_VEC(struct sut_osec) sec; /* as in the ELF file; element 0 is empty */
	SUT_VEC(struct sut_osym) sym;
	SUT_VEC(struct sut_atom *) atom; /* all of them */
	SUT_VEC(struct sut_atom *) by_name; /* named ones, by name */
	struct sut_unit *unit;
	bool lto;
	bool gcc; /* made by gcc: anonymous data in .data are constants (gcc names all variables) */
};

/** Opens and takes apart an object file. Its memory belongs to @pool but for the ELF file: sut_ofile_close(). */
int sut_ofile_open(struct suture_ctx *ctx, struct sut_pool *pool, const char *path, const char *name,
		   struct sut_ofile **ret) __must_check;
void sut_ofile_close(struct sut_ofile *f);
/** The atom of a name (any of its aliases); NULL: none or several. */
struct sut_atom *sut_ofile_find(const struct sut_ofile *f, const char *name);
/** The atom that holds offset @off of section @sec; offsets outside give the nearest. */
struct sut_atom *sut_ofile_atom_at(const struct sut_ofile *f, uint32_t sec, int64_t off);
static inline struct sut_osec *sut_atom_sec(const struct sut_atom *a)
{
	return &a->file->sec.v[a->sec];
}
/** An atom's bytes, or NULL (bss, common). */
static inline const uint8_t *sut_atom_bytes(const struct sut_atom *a)
{
	const struct sut_section *s = a->sec ? sut_atom_sec(a)->s : NULL;

	return s && s->data ? s->data + a->start : NULL;
}
static inline struct sut_ref *sut_atom_refs(const struct sut_atom *a)
{
	return a->n_refs ? sut_atom_sec(a)->ref.v + a->first_ref : NULL;
}
static inline struct sut_osym *sut_atom_sym(const struct sut_atom *a)
{
	return &a->file->sym.v[a->sym];
}
static inline bool sut_atom_is_func(const struct sut_atom *a)
{
	return a->kind == SUT_ATOM_FUNC;
}
/** The class of the section an atom lies in. */
enum sut_class sut_atom_class(const struct sut_atom *a);
/** Writable data, initialised or not. */
bool sut_atom_is_writable(const struct sut_atom *a);
/** Whether the linker sees the symbol from other objects. */
bool sut_atom_is_global(const struct sut_atom *a);
/** "name+0x12" of a place in a file for messages. */
const char *sut_ref_name(const struct sut_ofile *f, const struct sut_ref *r);

/* ---- targets (target.c) ---- */

struct sut_slot { /* a place that the dynamic linker writes */
	uint64_t addr;
	uint32_t type;
	int64_t addend;
	const char *symbol, *version; /* NULL: none */
};

struct sut_target {
	const char *path;
	const char *name; /* for the patch file: "" is the executable */
	const char *shown; /* for people */
	struct sut_elf *elf;
	struct sut_symtab *syms;
	SUT_VEC(struct sut_slot) slot; /* by address */
	SUT_VEC(const char *) file; /* source files that it was linked from, where its symbols tell */
	bool library;
	uint32_t index; /* in .suture.objects of the patch */
	bool used; /* a function of it is patched */
};
/** @strict: a debug file that does not fit is a refusal; else the next one is tried. */
int sut_target_open(struct suture_ctx *ctx, const char *path, const char *const *debug, bool strict,
		    struct sut_target *ret) __must_check;
void sut_target_close(struct sut_target *t);
/** Whether the target was linked from an object of a source file of that name, as far as is known. */
bool sut_target_has_file(const struct sut_target *t, const char *name);
const struct sut_slot *sut_target_slot(const struct sut_target *t, uint64_t addr);
/** The slot through which the stub at @addr jumps (a PLT entry); NULL: not a stub. */
const struct sut_slot *sut_target_stub(const struct sut_target *t, uint64_t addr);
/** Whether a symbol of that name (a version after '@' aside) stands at @addr; the symbol or NULL. */
const struct sut_symbol *sut_target_symbol_at(const struct sut_target *t, const char *name, uint64_t addr, bool tls);
/** Whether the dynamic linker may bind the library's own references to @name elsewhere. */
bool sut_target_interposable(const struct sut_target *t, const char *name);
/** Offset from the thread pointer of offset @off in the executable's TLS block. */
int64_t sut_target_tpoff(const struct sut_target *t, uint64_t off);
/** Copies file bytes of [addr, addr+len) with bytes under dynamic relocations as zeros. False: not all there. */
bool sut_target_bytes(const struct sut_target *t, uint64_t addr, size_t len, uint8_t *ret);
/** Whether code or data outside of the verified units (@only: outside of that unit) refers to @addr; *ret_where in words. */
struct sut_diff;
struct sut_unit;
bool sut_target_outside_ref(struct sut_diff *d, const struct sut_target *t, const struct sut_unit *only, uint64_t addr,
			    const char **ret_where);

/* ---- the database (compdb.c) ---- */

struct sut_command {
	char **argv; /* NULL-ended */
	int argc;
	const char *dir; /* as recorded, absolute */
	const char *file; /* absolute, lexically clean, as recorded */
	const char *rel; /* below the source tree, or NULL */
	bool reached;
	bool gcc; /* its object was made by gcc */
	bool unaffected; /* the patched source still gives what the target holds */
	const char *via; /* the touched file by which it is reached, when that is another */
};
struct sut_compdb {
	const char *path;
	const char *root; /* where the tree lay when the commands were recorded */
	bool moved; /* the source tree lies elsewhere: everything is compiled in a mirror laid out as recorded */
	SUT_VEC(const char *) outer; /* directories of commands outside of the tree (build directories) */
	SUT_VEC(struct sut_command) cmd;
};
int sut_compdb_read(struct sut_diff *d) __must_check;
/** Removes "." ".." and double slashes from a path, joined to @dir when relative. */
char *sut_path_clean(struct sut_pool *pool, const char *dir, const char *path);
/** The rest of @path below @root ("" for the root itself), or NULL. */
const char *sut_path_below(const char *root, const char *path);

enum sut_compile_kind { SUT_COMPILE_PLAIN, SUT_COMPILE_SECTIONS, SUT_COMPILE_DEPS };
/**
 * The arguments for one compilation of @c. @mirror: root of the mirror tree, or NULL for the real one.
 * @out: the object (or, for DEPS, the dependency file). Pool memory.
 */
char **sut_command_argv(struct sut_diff *d, const struct sut_command *c, enum sut_compile_kind kind, const char *mirror,
			const char *out);
/** Why the recorded options can not be patched (-flto ...), or NULL. */
const char *sut_command_refusal(const struct sut_command *c);

/* ---- the difference (udiff.c, text.c) ---- */

struct sut_hunk_line {
	char op; /* ' ' '-' '+' */
	const char *text; /* with its newline, if it has one */
	size_t len;
};
struct sut_hunk {
	unsigned old_start, old_len, new_start, new_len;
	size_t first_line, n_lines; /* in the diff's lines */
};
struct sut_diff_file {
	const char *diff; /* the diff it stands in */
	const char *old_path, *new_path; /* as written, NULL: /dev/null */
	const char *rel; /* below the source tree, NULL: not there */
	const char *new_rel; /* where it is renamed to, or NULL */
	bool is_new, is_deleted, binary;
	bool relevant; /* some unit reaches it */
	SUT_VEC(struct sut_hunk) hunk;
	SUT_VEC(struct sut_hunk_line) line;
};
/** Reads all diffs and finds each file below the source tree. */
int sut_udiff_read(struct sut_diff *d) __must_check;

/** A text of lines that know which line of the original they are. */
struct sut_text_line {
	const char *p;
	size_t len;
	unsigned orig; /* 1.., 0: added */
};
struct sut_text {
	SUT_VEC(struct sut_text_line) line;
};
int sut_text_split(struct suture_ctx *ctx, const char *p, size_t len, struct sut_text *ret) __must_check;
/** Applies a file's hunks. -SUTURE_EREFUSED with the hunk's number when one does not fit. */
int sut_text_apply(struct suture_ctx *ctx, struct sut_text *t, const struct sut_diff_file *f) __must_check;
/** Writes the text; with @number, #line directives keep the numbers of unchanged lines. */
int sut_text_write(struct suture_ctx *ctx, const struct sut_text *t, bool number, struct sut_buf *ret) __must_check;

/* ---- mirror trees and compilers (mirror.c, run.c) ---- */

/** Makes a mirror at scratch/@name of the whole path layout, holding the source tree (patched or not). */
int sut_mirror_make(struct sut_diff *d, const char *name, bool patched, bool number, const char **ret) __must_check;

struct sut_job {
	char **argv;
	const char *dir;
	const char *log; /* file that takes stdout and stderr */
	const char *what; /* for messages */
	int status; /* as waitpid gives it */
};
/** Runs all jobs, opts->jobs at once. Fails only when one can not be started. */
int sut_run(struct sut_diff *d, const char *what, struct sut_job *job, size_t n) __must_check;
/** Records -SUTURE_ECOMPILE with the first error lines of a failed job. */
int sut_run_fail(struct sut_diff *d, const struct sut_job *job);

/* ---- the passes ---- */

struct sut_unit {
	struct sut_diff *d;
	struct sut_command *cmd; /* NULL: objects were given */
	struct sut_target *target;
	const char *name; /* source file below the tree */
	struct sut_ofile *v, *o, *p, *vp;
	const char *o_path, *p_path; /* the objects' files */
	bool types_checked;
	const char *closures_differ; /* a lambda whose captures lie differently, or NULL */
	/* of v's functions, as verify.c found them: */
	size_t n_funcs, n_verified, n_mismatched;
	size_t n_data_verified; /* named data with contents */
	size_t n_globals, n_globals_present; /* global ones, and those of which the target knows the name */
	bool file_known; /* the target was linked from a source file of this name */
};

/** A part of a target that a unit accounts for. */
struct sut_placed {
	const struct sut_target *target;
	uint64_t start, end;
};

struct sut_diff {
	struct suture_ctx *ctx;
	const struct sut_build_opts *opts;
	struct sut_build_report *report;
	struct sut_pool pool;
	const char *srcdir; /* real path */
	char *scratch;
	const char *objects; /* directory of the objects: scratch, or the one to keep */
	const struct sut_arch *arch;
	SUT_VEC(struct sut_target) target;
	struct sut_compdb db;
	SUT_VEC(struct sut_diff_file) file;
	SUT_VEC(struct sut_unit *) unit;
	SUT_VEC(struct sut_ofile *) ofile; /* all that were opened */
	SUT_VEC(struct sut_placed) unaffected; /* where targets hold units that were found unaffected */
	const char *mirror_o, *mirror_p;
	bool new_sources; /* the difference adds source files that nothing compiles */
};
int sut_diff_note(struct sut_diff *d, const char *fmt, ...) sut_printf(2, 3) __must_check;

/* reach.c */
/** Marks the commands that the difference reaches. */
int sut_units_reach(struct sut_diff *d) __must_check;
/** Refuses when a compilation in the mirror (dependencies in @path) has read a changed file from the true tree. */
int sut_reach_check(struct sut_diff *d, struct sut_command *c, const char *path) __must_check;

/* units.c */
/** Compiles as recorded; makes units of the objects that the targets hold. */
int sut_units_compile_original(struct sut_diff *d) __must_check;
/** Compiles original and patched source of all units with section options. */
int sut_units_compile_pairs(struct sut_diff *d) __must_check;
/** Compiles the patched source of a unit as recorded. */
int sut_units_compile_fourth(struct sut_diff *d, struct sut_unit *u) __must_check;

/* verify.c */
/** Finds where @t holds the sections of u->v, and checks every function and constant. */
int sut_verify(struct sut_unit *u) __must_check;
/** The address in the target of an atom of v; 0: not placed. TLS: *ret gets the offset. */
bool sut_atom_address(const struct sut_atom *v, uint64_t *ret);

/* correlate.c */
/** Sets the twins of two objects made from one source. */
int sut_correlate(struct sut_diff *d, struct sut_ofile *a, struct sut_ofile *b) __must_check;
/** Sets atom->v of every atom of o. */
int sut_correlate_verified(struct sut_diff *d, struct sut_ofile *o, struct sut_ofile *v) __must_check;

/* dwarf.c: the debug data of an object, and in which function a static local is declared */
struct sut_dwarf {
	struct Dwfl *dwfl;
	struct Dwarf *dw; /* NULL: none */
};
void sut_dwarf_open(const char *path, struct sut_dwarf *ret);
void sut_dwarf_close(struct sut_dwarf *w);
/** Sets atom->scope of the static locals. An object without debug data has none. */
int sut_scopes_read(struct sut_diff *d, struct sut_ofile *f, const char *path) __must_check;

/* compare.c */
enum sut_peer { SUT_PEER_TWIN, SUT_PEER_VERIFIED };
/** Whether two atoms are equal. *ret_why (pool memory) says the first difference. */
bool sut_atoms_equal(struct sut_diff *d, const struct sut_atom *a, const struct sut_atom *b, enum sut_peer peer,
		     const char **ret_why);
/** Whether two references, of equal offsets in these atoms or not, mean the same. */
bool sut_refs_equal(struct sut_diff *d, const struct sut_atom *a, const struct sut_ref *ra, const struct sut_atom *b,
		    const struct sut_ref *rb, enum sut_peer peer);
/** Compares o with p: marks what differs, refuses changed data. */
int sut_compare(struct sut_unit *u) __must_check;
/** Proves functions of o equal to those of v. */
int sut_prove(struct sut_unit *u) __must_check;

/* insns.c */
/** Whether two functions are equal instruction by instruction, but for the length of jumps and for padding. */
bool sut_insns_equal(struct sut_diff *d, const struct sut_atom *o, const struct sut_atom *v);
/** Whether offset @x of @a and @y of @b are the same instruction of such functions. */
bool sut_insns_same_place(const struct sut_atom *a, int64_t x, const struct sut_atom *b, int64_t y);

/* types.c */
/** Refuses changed layouts and exported signatures. */
int sut_types_check(struct sut_unit *u, const char *orig, const char *patched) __must_check;

/* take.c */
/** Decides which functions are replaced, in all units, and refuses what can not be. */
int sut_take(struct sut_diff *d) __must_check;

/* include.c */
/** Marks everything that the replacements need. */
int sut_include(struct sut_diff *d) __must_check;
/** A line of the report about one function or variable. */
int sut_diff_item(struct sut_unit *u, const struct sut_atom *a, enum sut_include_reason why, uint64_t old_size,
		  uint64_t new_size, const char *text) __must_check;

/* bind.c */

/** What a reference of an included atom becomes in the patch file. */
enum sut_bind_kind {
	SUT_BIND_ATOM, /* defined in the file */
	SUT_BIND_LATE, /* an address in a target */
	SUT_BIND_GLOBAL, /* looked up by name when loaded */
};
struct sut_bind {
	enum sut_bind_kind kind;
	struct sut_atom *atom; /* ATOM: of p */
	const struct sut_target *target; /* LATE */
	const char *name; /* LATE, GLOBAL (with @VERSION) */
	uint32_t sympos; /* LATE */
	uint64_t addr, size; /* LATE */
	uint8_t type, bind;
};
/** The atom that a ref of an atom of p means: a table's entry belongs to the table's function. */
struct sut_atom *sut_ref_atom(const struct sut_atom *from, const struct sut_ref *r);
/** Decides where a ref of an atom of p leads. Refusals name both. */
int sut_bind_ref(struct sut_unit *u, const struct sut_atom *from, const struct sut_ref *r,
		 struct sut_bind *ret) __must_check;

/* eh.c */
struct sut_eh_record {
	uint32_t sec;
	uint64_t off, len; /* with the length word */
	bool cie;
	struct sut_eh_record *its_cie;
	struct sut_atom *func; /* FDE: of which function */
	const struct sut_ref *lsda; /* FDE: its exception table, or NULL */
	bool used;
	uint64_t out_off;
};
struct sut_eh {
	SUT_VEC(struct sut_eh_record) rec;
};
int sut_eh_parse(struct sut_diff *d, struct sut_ofile *f, struct sut_eh *ret) __must_check;
/** The reference of a CIE to its personality routine, or NULL. */
const struct sut_ref *sut_eh_personality(const struct sut_ofile *f, const struct sut_eh_record *cie);

/* out.c: the patch file in memory, and on disk */
struct sut_out_rela {
	uint64_t off;
	uint32_t type;
	uint32_t sym; /* in sut_out.sym */
	int64_t addend;
	const struct sut_target *late; /* against a late symbol of this target; NULL: an ordinary one */
};
struct sut_out_sec {
	const char *name;
	uint32_t type;
	uint64_t flags, align, entsize;
	struct sut_buf bytes;
	uint64_t size; /* NOBITS */
	SUT_VEC(struct sut_out_rela) rela;
	uint32_t section_sym; /* in sut_out.sym; 0: none yet */
	const struct sut_unit *unit; /* mergeable contents of this unit's ... */
	uint32_t from; /* ... section */
};
struct sut_out_sym {
	const char *name;
	uint64_t value, size;
	uint8_t bind, type;
	uint32_t shndx; /* index in sut_out.sec, or SHN_UNDEF, SUTURE_SHN_LIVEPATCH */
	const struct sut_target *from; /* UNDEF: whose code refers to it; each object has its own search */
	uint32_t final; /* index in the file: locals first */
};
struct sut_out {
	struct sut_diff *d;
	SUT_VEC(struct sut_out_sec) sec; /* element 0 is empty */
	SUT_VEC(struct sut_out_sym) sym; /* element 0 is empty */
	struct sut_buf strtab, objects, ranges;
	SUT_VEC(struct suture_file_func) func; /* new_symbol: index in sym */
};
int sut_out_init(struct sut_out *o, struct sut_diff *d) __must_check;
void sut_out_deinit(struct sut_out *o);
/** Offset of a string in .suture.strtab. */
int sut_out_string(struct sut_out *o, const char *s, uint32_t *ret) __must_check;
/** Writes the file, digest last; nothing is left on failure. */
int sut_out_write(struct sut_out *o, const char *path, const char *name) __must_check;

/* emit.c */
/** Makes the patch file of all that was included. */
int sut_emit(struct sut_diff *d, const char *name) __must_check;

#endif
