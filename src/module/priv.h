/* SPDX-License-Identifier: MIT */
/*
 * priv.h - the loader's own view of a module, shared by its files and nobody else.
 *
 * Order of the work, and which file does it:
 *
 *	parse.c     sections, symbols, relocations: copied out, every number checked
 *	ehframe.c   .eh_frame taken apart into CIEs and FDEs
 *	group.c     sections joined into groups, each group given to an object
 *	symbols.c   addresses of undefined and late symbols, on demand
 *	place.c     GOT slots, stubs, sizes and addresses of every area
 *	load.c      relocation of the buffers (through relocate.c), then the target
 *	image.c     ELF header, symbol table and section headers of each area
 *
 * A .sut is hostile until proved otherwise: an index is compared with its bound where it is
 * read (parse.c), and only there; later files rely on it.
 */
#ifndef SUT_MODULE_PRIV_H
#define SUT_MODULE_PRIV_H

#include "module/module.h"
#include "module/resolve.h"

#define MOD_MAX_SECTIONS 60000u
#define MOD_MAX_SYMBOLS  (1u << 20)
#define MOD_MAX_RELOCS   (1u << 22)
#define MOD_MAX_BYTES    (256ull << 20) /* of all loaded sections, and of one area */
#define MOD_NONE         UINT32_MAX

/** What becomes of a section. */
enum mod_part {
	MOD_SKIP, /* not loaded */
	MOD_RO,
	MOD_RX,
	MOD_RW,
	MOD_EH, /* .eh_frame: dealt out to the areas record by record */
};

struct mod_reloc {
	uint64_t offset; /* in its section */
	int64_t addend;
	uint32_t sym;
	const struct sut_reloc_howto *howto;
};

struct mod_sec {
	const char *name;
	enum mod_part part;
	uint64_t size, align;
	const uint8_t *src; /* NULL: zeros */
	SUT_VEC(struct mod_reloc) rel; /* by rising offset, not overlapping */
	uint32_t parent; /* union-find */
	size_t wants; /* object it must be near; SIZE_MAX: no opinion */
	size_t likes; /* object it would best be with; SIZE_MAX: none */
	uint32_t area;
	uint64_t off; /* in the area */
};

enum mod_sym_kind {
	MOD_SYM_NULL, /* index 0: value 0 */
	MOD_SYM_DEFINED, /* in a loaded section */
	MOD_SYM_ELSEWHERE, /* in a section that is not loaded: an error when used */
	MOD_SYM_ABS,
	MOD_SYM_UNDEF, /* looked up as the dynamic linker would */
	MOD_SYM_LATE, /* in a given object of the target */
	MOD_SYM_GOT, /* _GLOBAL_OFFSET_TABLE_: the GOT of the area that refers to it */
};

struct mod_sym {
	const char *name;
	enum mod_sym_kind kind;
	uint8_t type, bind;
	uint32_t sec; /* DEFINED */
	uint64_t value, size;
	char *plain; /* UNDEF, LATE: the name without decoration; owned */
	const char *version; /* UNDEF: inside plain, or NULL */
	size_t object; /* LATE: index in the environment */
	uint32_t sympos;
	uint32_t dwref; /* a DW.ref.X word: symbol X, used through a GOT slot of ours; else MOD_NONE */

	bool resolved;
	uint32_t for_area; /* UNDEF: in whose place it was looked up */
	struct sut_object *obj; /* where it was found; NULL: nowhere (weak) */
	uint64_t addr; /* in the target; TLS: offset in the block of obj */
	uint32_t first_slot, first_stub; /* chains; MOD_NONE ends */
};

enum mod_slot_kind { MOD_SLOT_ADDR, MOD_SLOT_TPOFF, MOD_SLOT_GD, MOD_SLOT_LD };
struct mod_slot {
	enum mod_slot_kind kind;
	uint32_t area, sym, next;
	uint64_t off; /* in the GOT of the area */
};
struct mod_stub {
	uint32_t area, sym, next, slot;
	uint64_t off; /* among the stubs of the area */
};

/** A CIE or FDE of the module's .eh_frame. */
struct mod_eh_rec {
	uint32_t sec; /* .eh_frame section it lies in */
	uint32_t len; /* with its length word */
	uint64_t off; /* in that section */
	bool is_cie;
	uint32_t cie; /* FDE: index of its CIE among the records */
	uint8_t pc_size; /* CIE: bytes of an encoded pc */
	uint32_t text; /* FDE: section of its function */
	uint64_t text_off, range; /* FDE: where in it, and how many bytes */
	uint64_t dest[SUT_RECORD_AREAS]; /* offset in the area's .eh_frame; UINT64_MAX: not there */
};

/** What place.c decided about one area; offsets count from the area's base. */
struct mod_area {
	size_t object; /* index in the environment */
	bool low; /* must lie below 2 GiB: 32-bit absolute addresses point into it */
	uint64_t eh_off, eh_size, hdr_off, hdr_size, n_fde;
	uint64_t plt_off, plt_size, stubs_off; /* the caller's stubs have no unwind data: they move the stack */
	uint64_t got_off, got_size;
	uint64_t data_ro_off, data_ro_size; /* .rodata as the image's section headers tell it */
	uint64_t text_size, data_off;
	uint64_t sym_off, str_off, shstr_off, shdr_off;
	uint32_t n_sym;
	struct sut_buf symtab, strtab; /* of the image; values filled in by image.c */
};

struct sut_mod_priv {
	const struct sut_arch *arch;
	struct suture_ctx *ctx;
	const struct sut_mod_env *env; /* only during the plan */
	struct sut_resolver resolver;
	SUT_VEC(struct mod_sec) sec; /* the file's sections, then one for each common symbol */
	SUT_VEC(struct mod_sym) sym;
	SUT_VEC(struct mod_slot) slot;
	SUT_VEC(struct mod_stub) stub;
	SUT_VEC(struct mod_eh_rec) eh;
	struct mod_area area[SUT_RECORD_AREAS];
	size_t n_relocs;
	bool personality; /* some function has an exception handler or clean-up */
	uint64_t table_off;
};

/* parse.c */
int sut_mod_parse(struct sut_module *m) __must_check;
/** "FILE: section NAME" for messages. */
const char *sut_mod_secname(const struct sut_module *m, uint32_t sec);
const char *sut_mod_symname(const struct sut_module *m, uint32_t sym);
/** The relocations of a section within [off, off+len): first index, *ret_n of them. */
size_t sut_mod_relocs_in(const struct mod_sec *s, uint64_t off, uint64_t len, size_t *ret_n);

/* ehframe.c */
int sut_mod_eh_parse(struct sut_module *m) __must_check;
/** Deals the records out: their offsets in each area's .eh_frame. */
void sut_mod_eh_layout(struct sut_module *m);
/** Adds room for the stubs' FDE, the terminator and the table, once the number of stubs is known. */
void sut_mod_eh_add_stubs(struct sut_module *m);
/** Writes both into the images, relocated. */
int sut_mod_eh_write(struct sut_module *m) __must_check;

/* group.c */
int sut_mod_group(struct sut_module *m) __must_check;

/* symbols.c */
/** Looks up what a relocation of @area against symbol @sym needs. */
int sut_mod_resolve(struct sut_module *m, uint32_t sym, uint32_t area) __must_check;
/** Final address of a resolved or defined symbol (areas have addresses). */
uint64_t sut_mod_sym_addr(const struct sut_module *m, uint32_t sym, uint32_t area);
/** Where the block of a TLS symbol lies; refusals name the symbol. */
int sut_mod_sym_tls(struct sut_module *m, uint32_t sym, struct sut_tls *ret) __must_check;

/* place.c */
int sut_mod_place(struct sut_module *m) __must_check;
const struct mod_slot *sut_mod_slot(const struct sut_module *m, uint32_t sym, uint32_t area, enum mod_slot_kind kind);
const struct mod_stub *sut_mod_stub(const struct sut_module *m, uint32_t sym, uint32_t area);
/** Whether a stub may stand in for the target of a call: not where an offset is added to it. */
bool sut_mod_stub_serves(const struct mod_reloc *r);
/** Whether a TLS sequence is rewritten to a constant offset; then the relocation after a GD or LD goes with it. */
bool sut_mod_tls_relaxed(const struct mod_reloc *r, const struct sut_tls *tls);
bool sut_mod_is_tls(const struct sut_reloc_howto *h);

/* apply.c */
/** Relocates the bytes of one section (or undoes it); a failure leaves it as it was. */
int sut_mod_relocate_section(struct sut_module *m, uint32_t sec, bool apply) __must_check;
/** One relocation at @place in @area, its bytes at @bytes. */
int sut_mod_relocate(struct sut_module *m, uint32_t area, const struct mod_reloc *r, uint64_t place, uint8_t *bytes,
		     size_t avail, bool apply) __must_check;
/** Fills the GOT slots and PLT stubs of all areas. */
int sut_mod_fill_got(struct sut_module *m) __must_check;

/* image.c */
#define MOD_NOTE_NAME "suture"
#define MOD_NOTE_TYPE 1u
/** Bytes of the ELF header, program headers and note at the start of every area. */
size_t sut_mod_header_size(void);
/** Collects the names for an area's symbol table. */
int sut_mod_image_symbols(struct sut_module *m, uint32_t area) __must_check;
size_t sut_mod_image_shdrs_size(void);
const char *sut_mod_image_shstrtab(size_t *ret_len);
void sut_mod_image_write(struct sut_module *m, uint32_t area);
/**
 * A number for where all that a module refers to lies. A parked module of another number knows a library where it is no
 * more (it was loaded anew), and its variables may hold pointers there.
 */
uint32_t sut_mod_bound(const struct sut_module *m);
/** What memory at an area's base says of it. */
struct mod_header_info {
	unsigned parts; /* mapped by us so far: 1 r--, 2 and r-x, 3 and rw- */
	uint32_t bound;
	bool has_cfi;
};
/** Whether @head (sut_mod_header_size() bytes from the target) is the header of an area of these sizes. */
bool sut_mod_header_fits(const void *head, const struct sut_record_area *a, uint16_t e_machine,
			 struct mod_header_info *ret);
/** Sets the number of mapped parts in a header's bytes, or tells where in the area that number stands. */
void sut_mod_header_set_parts(void *head, uint32_t parts);
size_t sut_mod_header_parts_off(void);

/* load.c */
/** Whether [start, end) is mapped in one piece or several, all anonymous, private and of @prot. */
bool sut_mod_mapped_as(const struct sut_maps *maps, uint64_t start, uint64_t end, unsigned prot);

#endif
