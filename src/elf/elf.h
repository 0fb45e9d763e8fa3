/* SPDX-License-Identifier: MIT */
/*
 * elf.h - one ELF file: headers, identity, dynamic symbols and relocations.
 *
 * Everything read here is untrusted: it may come from a container's root or from a
 * target's memory. Files are regular, opened without blocking, at most 4 GiB; every
 * offset is checked before use; a damaged file is a refusal with a reason, never a crash.
 * Works over libelf; nothing of it is visible above this room except struct Elf.
 */
#ifndef SUT_ELF_H
#define SUT_ELF_H

#include <gelf.h>
#include <libelf.h>

#include "arch/arch.h"
#include "util/fail.h"
#include "util/util.h"

#define SUT_BUILD_ID_MAX 64
#define SUT_DIGEST_SIZE  32 /* BLAKE2b-256 */

struct sut_segment {
	uint64_t vaddr, memsz, offset, filesz;
	unsigned prot; /* 1 read, 2 write, 4 execute */
	uint64_t align;
};

struct sut_section {
	const char *name;
	uint32_t index, type, link, info;
	uint64_t flags, addr, offset, size, entsize, align;
	const uint8_t *data; /* NULL for SHT_NOBITS; lives as long as the file */
};

struct sut_elf {
	struct suture_ctx *ctx;
	char *name; /* for messages */
	int fd; /* -1 for memory */
	Elf *elf;
	const uint8_t *image; /* the raw bytes of the file */
	size_t image_size;
	bool mapped; /* image is an mmap of fd (else heap) */

	const struct sut_arch *arch; /* NULL: a machine suture does not know */
	uint16_t machine, type; /* e_machine, e_type */
	bool is64, little;
	bool only_debug; /* made by objcopy --only-keep-debug: its code sections are NOBITS */
	uint64_t entry;
	SUT_VEC(struct sut_segment) load; /* PT_LOAD */
	SUT_VEC(struct sut_section) sec; /* index 0 is the null section */
	uint8_t build_id[SUT_BUILD_ID_MAX];
	size_t build_id_len; /* 0: none */
	const char *soname; /* NULL: none */
	const char *interp; /* NULL: static */
	bool has_dynamic, is_pie, bind_now;
	uint64_t tls_vaddr, tls_memsz, tls_filesz, tls_align; /* PT_TLS; memsz 0: none */
	uint64_t relro_start, relro_end;
	void *priv; /* dynamic tables and DWARF handles (priv.h) */
};

/**
 * Opens a file by descriptor (taken over, closed on failure too). @name is for messages, and, when it is an
 * absolute path outside /proc, tells where .gnu_debuglink looks. The content is mapped where a read lease (fcntl(2)) keeps
 * everybody from changing the file as long as it is open, else read into memory, so that nobody can truncate it under
 * us (files of more than 256 MiB are mapped in any case). -SUTURE_EREFUSED: not a regular
 * file, not ELF, truncated or damaged; the text says what.
 */
int sut_elf_open_fd(struct suture_ctx *ctx, int fd, const char *name, struct sut_elf **ret) __must_check;
/** Opens a file that the user named; always read, without a lease. */
int sut_elf_open(struct suture_ctx *ctx, const char *path, struct sut_elf **ret) __must_check;
/**
 * Opens an image in memory (a heap buffer, taken over, freed on failure too): an ELF file, or what a process
 * has mapped of one. Section headers and dynamic tables that lie outside of the image are then taken as
 * absent, and segments are cut at its end.
 */
int sut_elf_open_memory(struct suture_ctx *ctx, void *image, size_t size, const char *name,
			struct sut_elf **ret) __must_check;
void sut_elf_close(struct sut_elf *e);

/** The first section of a name, or NULL. */
const struct sut_section *sut_elf_section(const struct sut_elf *e, const char *name);
/** File bytes at a link-time address (from PT_LOAD), or NULL when [vaddr, vaddr+len) is not all in one segment's file part. */
const uint8_t *sut_elf_bytes(const struct sut_elf *e, uint64_t vaddr, size_t len);
/** Digest over the loadable executable segments: the identity of a file that has no build-id.
 *  -SUTURE_EREFUSED: there are none. */
int sut_elf_content_digest(const struct sut_elf *e, uint8_t ret[SUT_DIGEST_SIZE]) __must_check;
/** BLAKE2b-256 of some bytes. */
void sut_digest(const void *p, size_t len, uint8_t ret[SUT_DIGEST_SIZE]);

/** One dynamic relocation (.rela.dyn, .rela.plt; also where section headers are gone: by DT_*). RELR is expanded. */
struct sut_dynrel {
	uint64_t offset; /* link-time address of the place */
	uint32_t type;
	int64_t addend;
	const char *symbol; /* NULL: none */
	const char *version; /* NULL: none */
	uint32_t symndx;
	bool plt; /* from DT_JMPREL */
	uint64_t sym_value; /* of the symbol, 0: undefined or none */
};
typedef int (*sut_dynrel_fn)(void *arg, const struct sut_dynrel *rel);
/**
 * Calls @fn for each; stops at its first non-zero result and returns it. -SUTURE_EREFUSED: damaged, or tables
 * of a kind suture does not read (REL, Android's packed ones). Static files without PT_DYNAMIC: the
 * allocated relocation sections. Names live as long as the file.
 */
int sut_elf_dynrels(const struct sut_elf *e, sut_dynrel_fn fn, void *arg) __must_check;

/** A dynamic symbol (.dynsym, found by DT_SYMTAB when section headers are gone). */
struct sut_dynsym {
	const char *name;
	const char *version; /* "GLIBC_2.14", or NULL */
	bool version_hidden; /* name@V rather than name@@V */
	uint64_t value, size;
	uint8_t type, bind, visibility; /* STT_, STB_, STV_ */
	uint16_t shndx;
};
/** How many dynamic symbols there are, undefined ones and index 0 included. */
size_t sut_elf_dynsym_count(const struct sut_elf *e);
/** The dynamic symbol @i, defined (shndx not SHN_UNDEF) or not. False: there is none, or it is damaged. */
bool sut_elf_dynsym_get(const struct sut_elf *e, size_t i, struct sut_dynsym *ret);
/**
 * Finds a *defined* dynamic symbol, by the file's own hash table, with the rules of the dynamic linker.
 * @version NULL: the default one. A symbol without a version serves every version. False: none.
 */
bool sut_elf_dynsym(const struct sut_elf *e, const char *name, const char *version, struct sut_dynsym *ret);
/** The version under which this file imports @name (COPY-relocated data too), or NULL (not imported, or unversioned). */
const char *sut_elf_import_version(const struct sut_elf *e, const char *name);

/**
 * The same content: every allocated section of code and initialised data byte-identical at the same address,
 * and the dynamic relocations equal as a set of (place, type, symbol and version, addend), both files holding
 * the bytes. The order of .dynsym, and what follows from it in .dynstr, the hash tables and the order of
 * relocations, may differ; notes (the build-id is one) and .gnu_debuglink are not looked at.
 */
enum sut_same {
	SUT_SAME, /* fits */
	SUT_SAME_BUT_FUNCS, /* same layout and relocations, less than an eighth of the bytes differ: they are listed */
	SUT_DIFFERENT,
};
struct sut_same_report {
	enum sut_same verdict;
	char why[256]; /* first difference, in words; "" when there is none */
	SUT_VEC(struct sut_range) differs; /* link-time ranges of bytes that differ, by rising address */
};
/** Compares two files. An error only where one can not be read; a difference is a verdict. *ret is the
 *  caller's to sut_same_report_free(). */
int sut_elf_same_content(struct sut_elf *a, struct sut_elf *b, struct sut_same_report *ret) __must_check;
void sut_same_report_free(struct sut_same_report *r);

#endif
