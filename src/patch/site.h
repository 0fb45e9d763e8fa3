/* SPDX-License-Identifier: MIT */
/*
 * site.h - the site table: what a patch did to which bytes, kept in the module's rw- memory.
 *
 * It is written with the module, before any site changes, and never changes afterwards: state and side
 * are in the registry, and what a site holds now is read from the text itself. So a
 * tool that finds a patch of another tool, dead or long gone, can tell every case from these
 * three. To the reader it is untrusted: sizes, offsets, names and addresses are checked.
 *
 * The journal is the exception: it lists the shadows of text (text/poke.h) that a tool has made and not
 * moved yet, or (text 0) the address space where it is making them, so that a recovery can unmap them; an
 * entry of length 0 ends it. A room is listed only while all of it is ours: before a part of it is unmapped the
 * entry goes, because a recovery could not tell what the target maps there afterwards from what was reserved.
 *
 * In the target: struct sut_site_table, then n_sites struct sut_site_entry, then the journal, then strings.
 * Little-endian.
 */
#ifndef SUT_SITE_H
#define SUT_SITE_H

#include "module/registry.h"
#include "process/process.h"
#include "text/poke.h"

#define SUT_SITE_MAGIC     "SUTUREs1"
#define SUT_SITE_MAX       16 /* bytes of a site, at most */
#define SUT_SITE_TABLE_MAX (64u << 20)

struct sut_site_table {
	char magic[8];
	uint32_t size; /* of all of it */
	uint32_t n_sites;
	uint32_t strings; /* offset of the strings; byte 0 of them is NUL */
	uint32_t strings_size;
	uint32_t journal; /* offset of n_sites + 1 struct sut_pristine */
	uint32_t reserved;
};

struct sut_site_entry {
	uint64_t addr; /* the site */
	uint64_t old_addr, old_size; /* the old function */
	uint64_t new_func, new_size;
	uint64_t orig_entry, orig_size; /* its moved first instructions, in the stubs' room; 0: none */
	uint64_t stub, stub_size; /* the switch stub; 0: none */
	uint32_t object, old_name; /* strings */
	uint32_t old_sympos;
	uint8_t len, pad[3];
	uint8_t old[SUT_SITE_MAX]; /* original bytes */
	uint8_t direct[SUT_SITE_MAX]; /* jump to new_func */
	uint8_t through[SUT_SITE_MAX]; /* jump to the switch stub */
};

/** One site, read back; names belong to the table. */
struct sut_site {
	struct sut_site_entry e;
	const char *object, *old_name;
};
struct sut_sites {
	SUT_VEC(struct sut_site) v;
	char *raw;
};

/** What stands at a site. GONE: the object is not mapped there any more, nothing is to be changed or restored. */
enum sut_site_now { SUT_SITE_ORIGINAL, SUT_SITE_DIRECT, SUT_SITE_SWITCH, SUT_SITE_FOREIGN, SUT_SITE_GONE };
/** "original", "jump", "switch", "foreign", "gone". */
const char *sut_site_now_name(enum sut_site_now now);

/** Bytes that a table of @n sites with @strings bytes of strings (without the leading NUL) takes. */
size_t sut_sites_size(size_t n, size_t strings);
/** Writes a table of the sites in @s (names from object, old_name) to @out; @size as computed above. */
int sut_sites_encode(struct suture_ctx *ctx, const struct sut_sites *s, uint8_t *out, size_t size) __must_check;
/** Reads and checks an encoded table. Rejects whatever does not fit @rec's areas. */
int sut_sites_decode(struct suture_ctx *ctx, const struct sut_arch *arch, const struct sut_record *rec, char *raw,
		     size_t size, struct sut_sites *ret) __must_check;
/** Reads the table of a record from the target. -SUTURE_EREFUSED when it is damaged. */
int sut_sites_read(struct suture_process *p, const struct sut_record *rec, struct sut_sites *ret) __must_check;
void sut_sites_free(struct sut_sites *s);

/** Reads the bytes at a site (into @bytes, may be NULL) and says what they are. */
int sut_site_look(struct suture_process *p, const struct sut_site *s, uint8_t bytes[SUT_SITE_MAX],
		  enum sut_site_now *ret) __must_check;

/** Writes what @batch has prepared and not moved into the journal of @rec; NULL: nothing. */
int sut_journal_write(struct suture_process *p, const struct sut_record *rec, const struct sut_sites *s,
		      const struct sut_poke_batch *batch) __must_check;
/** Notes the room in which shadows are about to be made. */
int sut_journal_write_room(struct suture_process *p, const struct sut_record *rec, const struct sut_sites *s,
			   uint64_t addr, uint64_t len) __must_check;
/** Unmaps the shadows that the journal of @rec lists, as far as they are what it says. Needs a held thread.
 *  *ret_n: how many. */
int sut_journal_tidy(struct suture_process *p, const struct sut_registry *reg, const struct sut_record *rec,
		     const struct sut_sites *s, unsigned *ret_n) __must_check;

/** How many sites are what. */
struct sut_site_count {
	size_t n[SUT_SITE_GONE + 1];
	const struct sut_site *foreign; /* one of those, or NULL */
};
int sut_sites_count(struct suture_process *p, const struct sut_sites *s, struct sut_site_count *ret) __must_check;

#endif
