/* SPDX-License-Identifier: MIT */
/*
 * resolve.h - how the target's dynamic linker answered, or would answer, for a name.
 *
 * A resolver keeps, for one piece of work, what was read of the target: the places that its dynamic
 * linker filled, by name, and where TLS blocks lie. It only reads the target.
 */
#ifndef SUT_RESOLVE_H
#define SUT_RESOLVE_H

#include "process/process.h"

/** A place of an object that its dynamic relocations make hold the address of a symbol. */
struct sut_filled {
	const char *symbol, *version; /* NULL: none (IRELATIVE, local TPOFF) */
	uint64_t addr; /* of the place, in the target */
	uint32_t type;
	int64_t addend;
};

struct sut_filled_index {
	struct sut_object *object;
	SUT_VEC(struct sut_filled) e; /* by symbol, then address */
};

/** Where the TLS block of an object lies. */
struct sut_tls {
	struct sut_object *object;
	bool is_static; /* at a constant offset from the thread pointer in every thread ... */
	int64_t offset; /* ... namely this: block - thread pointer */
	uint64_t modid; /* the object's number for __tls_get_addr, 0: unknown */
};

struct sut_resolver {
	struct suture_process *p;
	SUT_VEC(struct sut_filled_index) filled;
	SUT_VEC(struct sut_tls) tls;
	SUT_VEC(struct sut_object *) order; /* as symbols are searched */
	size_t n_global; /* so many of the first are in the scope of everybody; 0: not asked yet */
};

void sut_resolver_init(struct sut_resolver *r, struct suture_process *p);
void sut_resolver_deinit(struct sut_resolver *r);

/** The ELF file of an object, or NULL: the vDSO, or a file that can not be read (a debug line says why). */
struct sut_elf *sut_resolver_elf(struct sut_resolver *r, struct sut_object *o);
/** sut_resolve_global() with a resolver that is kept between names. */
int sut_resolver_global(struct sut_resolver *r, struct sut_object *wanted_by, const char *name, const char *version,
			uint64_t *ret, struct sut_object **ret_object, struct sut_dynsym *ret_sym) __must_check;
/** The places of @o that its dynamic linker filled. */
int sut_resolver_filled(struct sut_resolver *r, struct sut_object *o, const struct sut_filled_index **ret) __must_check;
/**
 * The implementation that an IFUNC symbol stands for, as the target uses it. @resolver: the address of its
 * resolver in @o; @name and @version may be NULL (a local symbol).
 */
int sut_resolver_ifunc(struct sut_resolver *r, struct sut_object *o, uint64_t resolver, const char *name,
		       const char *version, uint64_t *ret) __must_check;
/** The address that the executable gives a function of a library (an entry of its own PLT), 0: the function's own. */
uint64_t sut_resolver_canonical(struct sut_resolver *r, const char *name);
/** tls.c: where the TLS block of @o lies. Without a static place *ret has is_static false, and a modid if known. */
int sut_resolver_tls(struct sut_resolver *r, struct sut_object *o, struct sut_tls *ret) __must_check;
/** Link-time address and size of PT_DYNAMIC of an object whose file is open; false: none. */
bool sut_object_dynamic(const struct sut_object *o, uint64_t *ret_vaddr, uint64_t *ret_size);

#endif
