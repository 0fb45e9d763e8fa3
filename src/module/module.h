/* SPDX-License-Identifier: MIT */
/*
 * module.h - the one loader: relocatable objects into a process, and out again.
 *
 * Everything that enters a process is a module: a patch, the agent. Steps, each undone by
 * sut_module_unload() on failure:
 *
 *	parse     the ET_REL image: sections, symbols, relocations, all bounds checked
 *	place     sections into areas (one per object), code near its object
 *	resolve   undefined and late symbols to addresses in the target
 *	relocate  in buffers of ours, by the one walker (relocate.c, apply and clear)
 *	map       areas in the target: r-- (ELF image, read-only data, CFI), r-x, rw-
 *	write     bytes into the areas; never writable and executable at once
 *	record    in the registry
 *
 * An area is a small ELF image as the vDSO is one (header, symbols, .eh_frame_hdr), so that gdb
 * (add-symbol-file-from-memory) and the unwinder read it from the target.
 */
#ifndef SUT_MODULE_H
#define SUT_MODULE_H

#include "module/registry.h"
#include "process/process.h"
#include "process/unwind.h"

struct sut_mod_section {
	const struct sut_section *sec; /* NULL: memory of a common symbol, which comes after the file's sections */
	uint32_t area;
	uint64_t addr; /* final, in the target */
	uint8_t *bytes; /* our buffer; NULL: not allocated */
};

struct sut_mod_area {
	struct sut_object *object; /* whose neighbourhood */
	uint64_t base, size; /* in the target */
	uint64_t ro_size, rx_size, rw_size; /* in this order, page aligned */
	struct sut_buf image; /* all bytes as they shall be */
	uint64_t stubs; /* address of the room for the caller's stubs (in the r-x part) ... */
	uint8_t *stub_bytes; /* ... and the same in the image, to be filled between plan and load */
	uint64_t eh_frame_hdr; /* address of the sorted table of FDEs, 0: no unwind data */
	bool reused; /* lies in memory of a parked module (sut_mod_env.reuse): never unmapped by unload */
	unsigned parts; /* how many of the three parts are mapped, in their order */
};

/** A symbol of the module with its final address. */
struct sut_mod_symbol {
	const char *name;
	uint64_t addr, size;
	uint8_t type;
};

struct sut_module {
	struct suture_process *p;
	struct sut_elf *elf; /* the ET_REL, borrowed */
	char name[64];
	SUT_VEC(struct sut_mod_section) sec; /* by section index */
	SUT_VEC(struct sut_mod_area) area;
	SUT_VEC(struct sut_mod_symbol) sym; /* by symbol index */
	bool pins; /* (informational) holds data that the target may keep pointers to */
	bool mapped;
	uint64_t table; /* address of the caller's table in the target (in a rw area), 0: none */
	uint8_t *table_bytes; /* the same in the image, to be filled between plan and load */
	struct sut_mod_priv *priv; /* the loader's own (module/priv.h) */
};

/** Which object a late symbol's index means: filled by the patch room. */
struct sut_mod_env {
	struct sut_object **object; /* by index of .suture.objects */
	size_t n_objects;
	/** Assigns a section to an object index; SIZE_MAX: no opinion. */
	size_t (*section_object)(void *arg, uint32_t section);
	void *arg;
	size_t table_size; /* bytes to reserve for the caller's table in the first area's rw part */
	size_t stub_size; /* bytes to reserve for the caller's stubs in every area's r-x part */
	/**
	 * Areas that exist already in the target (a parked module of the same digest), in the order of the
	 * record: used again instead of mapping new ones, if all of them still have the sizes and protections
	 * that this plan needs; else new memory is planned (see sut_mod_area.reused).
	 */
	const struct sut_record_area *reuse;
	size_t n_reuse;
};

/** Parses, places, resolves and relocates; only reads the target. Needs no held thread. */
int sut_module_plan(struct suture_process *p, struct sut_elf *elf, const char *name, const struct sut_mod_env *env,
		    struct sut_module **ret) __must_check;
/**
 * Maps and writes a planned module, and reads it back. Needs a held thread. Rolled back on failure.
 * -EEXIST: the target mapped something at a planned address meanwhile (the registry, if it was made after the plan,
 * may be it); free the module and plan again.
 */
int sut_module_load(struct sut_module *m) __must_check;
/** Unmaps a module that no thread can be in (memory that was reused stays mapped). Needs a held thread. */
int sut_module_unload(struct sut_module *m) __must_check;
/** Frees our side only; a loaded module stays in the target. NULL is fine. */
void sut_module_free(struct sut_module *m);
/** Address of a defined symbol of the module by index in its symbol table; 0: undefined. */
uint64_t sut_module_symbol(const struct sut_module *m, uint32_t index);
/** Index of a defined global symbol of the module by name; 0: none. */
uint32_t sut_module_find(const struct sut_module *m, const char *name);
/** Fills the areas and the caller's table of a registry record from a planned module; no other field. */
int sut_module_to_record(const struct sut_module *m, struct sut_record *rec) __must_check;
/**
 * What the unwinder needs to walk through a module's code: one entry for each area that has unwind data.
 * @cap: SUT_RECORD_AREAS suffices. The entries are the caller's, see sut_extra_cfi_free().
 */
int sut_module_extra_cfi(struct sut_module *m, struct sut_extra_cfi *ret, size_t cap, size_t *ret_n) __must_check;
/** The same for a module that another invocation loaded: its areas are read from the target. */
int sut_record_extra_cfi(struct suture_process *p, const struct sut_record *rec, struct sut_extra_cfi *ret, size_t cap,
			 size_t *ret_n) __must_check;
void sut_extra_cfi_free(struct sut_extra_cfi *x, size_t n);
/**
 * Unmaps the areas of a record that no thread can be in: those of its parts that are mapped as ours are
 * (anonymous, right protection, our header in front). Anything else at these addresses is left alone,
 * so this is right at every step of a load that was cut off. Needs a held thread.
 */
int sut_record_unload(struct suture_process *p, const struct sut_record *rec) __must_check;

/* names.c: /tmp/perf-PID.map of the target, so that perf names the new functions. Failure is a debug line. */
void sut_names_add(const struct sut_module *m);
/** Takes out the lines that lie in the record's areas. */
void sut_names_remove(struct suture_process *p, const struct sut_record *rec);

/**
 * Resolves a name as the dynamic linker of the target would (executable first, then libraries in order).
 * @wanted_by: the object whose import decides the version, may be NULL. IFUNC symbols give the
 * implementation that the target already uses. For STT_TLS *ret is the offset in the object's block.
 * -SUTURE_ENOTFOUND (no loaded object defines it), -SUTURE_EREFUSED with the reason.
 * @ret_object and @ret_sym may be NULL.
 */
int sut_resolve_global(struct suture_process *p, struct sut_object *wanted_by, const char *name, uint64_t *ret,
		       struct sut_object **ret_object, struct sut_dynsym *ret_sym) __must_check;

/* relocate.c: the one relocation walker */
struct sut_reloc_site {
	uint32_t type;
	uint64_t place; /* address in the target */
	uint8_t *bytes; /* where its bytes are in our buffer */
	size_t avail; /* bytes from there to the section's end */
	const uint8_t *src; /* the same bytes in the object file; NULL: the field is idle there */
	struct sut_reloc_values v;
};
/** Writes (@apply) or verifies and takes back (!@apply) one relocation, with the second word that may go with it. Unknown
 *  types and overflow are errors; applying to a place that is not as in the file is an error, and so is clearing
 *  one that does not hold the value. */
int sut_relocate_one(struct suture_ctx *ctx, const struct sut_arch *arch, const struct sut_reloc_site *s,
		     const char *symbol, bool apply) __must_check;

#endif
