/* SPDX-License-Identifier: MIT */
/*
 * ld.h - what tests share that compare relocated bytes with what a linker wrote: files in a folder of their own, an object
 * beside the file it was linked into, and where the linker put what.
 */
#ifndef SUT_TEST_LD_H
#define SUT_TEST_LD_H

#include <gelf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The folder of this test, made by dir_make(). */
extern char dir[];
bool dir_make(void);
int dir_remove(void);

/** Runs a shell command; its exit status. */
int run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/** Writes a file into the folder. */
void put_file(const char *name, const char *text);

struct file {
	int fd;
	Elf *elf;
	Elf_Data *sym;
	size_t n_sym, strndx;
};

void file_open(struct file *f, const char *name);
void file_close(struct file *f);
bool global_by_name(struct file *f, const char *name, GElf_Sym *ret);
/** The bytes of the linked file at an address; NULL: none. */
const uint8_t *linked_at(struct file *f, uint64_t addr, size_t len);

struct link {
	struct file obj, exe;
	char *map;
	uint64_t got; /* _GLOBAL_OFFSET_TABLE_ */
	uint64_t tls_size, tls_align; /* of the TLS segment, the size rounded up */
	uint64_t module_base; /* what _TLS_MODULE_BASE_ is taken for, as an offset in the segment */
};

/** Opens unit.o's link; the map file is GNU ld's. */
void link_open(struct link *l, const char *obj, const char *exe, const char *map);
void link_close(struct link *l);
/** Where the linker put an input section of the unit; 0: nowhere. */
uint64_t section_addr(struct link *l, unsigned shndx);
/** The final value of symbol @n of the unit (0: weak and undefined); for TLS the offset in the segment. */
uint64_t symbol_value(struct link *l, unsigned n, uint64_t *size, bool *is_tls);

#endif
