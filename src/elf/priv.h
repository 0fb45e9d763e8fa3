/* SPDX-License-Identifier: MIT */
/*
 * priv.h - what the files of this room share and nobody else sees.
 *
 * struct sut_dyn holds the tables that PT_DYNAMIC names, each as a pointer into the image with
 * the number of bytes that are really there. All reads of them go through those bounds.
 */
#ifndef SUT_ELF_PRIV_H
#define SUT_ELF_PRIV_H

#include "elf/elf.h"

#define SUT_FILE_MAX    ((uint64_t)4 << 30) /* larger files are refused */
#define SUT_HEAP_MAX    ((uint64_t)256 << 20) /* larger ones are mapped instead of read */
#define SUT_LEASE_MIN   ((uint64_t)64 << 10) /* smaller ones are read faster than mapped */
#define SUT_NAME_MAX    ((size_t)64 << 10) /* longer strings are taken for damage: else a few bytes cost hours */
#define SUT_LOAD_MAX    1024 /* PT_LOAD headers */
#define SUT_VERSION_MAX 0x7fff /* highest index of a symbol version, and the most entries that are read */

/** A piece of the image. */
struct sut_bytes {
	const uint8_t *p; /* NULL: not there */
	size_t len;
};

struct sut_version {
	const char *name; /* NULL: no such version */
	bool needed; /* of another file (.gnu.version_r), not defined here */
};

struct sut_dyn {
	struct sut_bytes sym; /* whole symbols only */
	uint32_t nsym; /* as many as the hash tables or .dynsym's header say */
	struct sut_bytes str;
	struct sut_bytes versym;
	SUT_VEC(struct sut_version) version; /* by index */
	struct sut_bytes gnu_hash, hash;
	struct sut_bytes rela, jmprel, relr;
};

struct sut_elf_priv {
	struct sut_dyn dyn;
	void *dwarf; /* of dwarf.c */
	void (*dwarf_free)(void *dwarf);
};

static inline struct sut_dyn *sut_elf_dyn(const struct sut_elf *e)
{
	return &((struct sut_elf_priv *)e->priv)->dyn;
}

static inline uint16_t sut_le16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/** The string at @off of a string table, or NULL when it does not end inside it, or is absurdly long. */
const char *sut_str_at(struct sut_bytes tab, uint64_t off);
/** Bytes from @vaddr to the end of the file part of its segment; .p NULL: none. */
struct sut_bytes sut_elf_avail(const struct sut_elf *e, uint64_t vaddr);
/** Records "NAME is damaged: ..." and returns -SUTURE_EREFUSED. */
int sut_elf_damaged(const struct sut_elf *e, const char *fmt, ...) sut_printf(2, 3);
/** Whether the raw tables can be read with this host's byte order: ELF64, little-endian. */
static inline bool sut_elf_is_native(const struct sut_elf *e)
{
	return e->is64 && e->little;
}

/** dynamic.c: reads PT_DYNAMIC (its bytes) into the private tables. */
int sut_dyn_parse(struct sut_elf *e, struct sut_bytes dynamic) __must_check;
void sut_dyn_free(struct sut_elf *e);

#endif
