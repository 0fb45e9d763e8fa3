/* SPDX-License-Identifier: MIT */
/*
 * sutfile.h - the patch file: an ET_REL object for the target's machine with the sections below.
 *
 *	.suture.info       NUL-ended "key=value" strings: name, version, format, tool, created
 *	.suture.strtab     the strings that the tables name by offset; byte 0 is NUL
 *	.suture.objects    struct suture_file_object[]
 *	.suture.funcs      struct suture_file_func[]
 *	.suture.ranges     struct suture_file_range[]: fragments of old functions
 *	.suture.rela.<object>.<section>   late relocations of <section> against symbols named
 *	                   .suture.sym.<object>.<name>,<sympos> with st_shndx SUTURE_SHN_LIVEPATCH;
 *	                   <object> is the index in .suture.objects. st_value is the link-time
 *	                   address of the symbol in that object (TLS: offset in its block) and
 *	                   st_size its size, so that a stripped target needs no symbol table; it is
 *	                   believed because the object's identity is checked. st_value 0: look it up by name and
 *	                   sympos (TLS, where 0 is an offset as any other: only if st_size is 0 too)
 *	.suture.digest     32 bytes: BLAKE2b-256 of the file with these bytes as zeros
 *
 * Undefined symbols (SHN_UNDEF) are looked up as the dynamic linker would: the executable first,
 * then its libraries in load order; "name@VERSION" asks for that version.
 * Which memory a section goes to is not written down: sections tied by pc-relative
 * relocations stay together, near the object whose functions or late relocations they hold.
 * All numbers are little-endian. format=1.
 */
#ifndef SUTURE_SUTFILE_H
#define SUTURE_SUTFILE_H

#include <stdint.h>

#define SUTURE_SHN_LIVEPATCH 0xff20
#define SUTURE_FORMAT        "1"
#define SUTURE_SEC_INFO      ".suture.info"
#define SUTURE_SEC_STRTAB    ".suture.strtab"
#define SUTURE_SEC_OBJECTS   ".suture.objects"
#define SUTURE_SEC_FUNCS     ".suture.funcs"
#define SUTURE_SEC_RANGES    ".suture.ranges"
#define SUTURE_SEC_DIGEST    ".suture.digest"
#define SUTURE_RELA_PREFIX   ".suture.rela."
#define SUTURE_SYM_PREFIX    ".suture.sym."
#define SUTURE_NAME_MAX      63 /* a patch's name, without NUL: [A-Za-z0-9._+-] */

struct suture_file_object {
	uint32_t name; /* strtab offset: soname or file name; "" is the executable */
	uint32_t build_id_len; /* 0: none, the content digest decides */
	uint8_t build_id[64];
	uint8_t content[32]; /* BLAKE2b-256 of the executable segments' file bytes */
};

struct suture_file_func {
	uint32_t object; /* index in .suture.objects */
	uint32_t old_name; /* strtab offset */
	uint32_t old_sympos;
	uint32_t new_symbol; /* index in .symtab: the new function, defined in this file */
	uint64_t old_addr; /* link-time address of the old function */
	uint64_t old_size;
	uint8_t old_digest[32]; /* of its file bytes, bytes with dynamic relocations as zeros */
	uint32_t first_range, n_ranges; /* its fragments in .suture.ranges */
	uint32_t flags;
	uint32_t reserved;
};
/* The function runs only at start: applied, but said. */
#define SUTURE_FUNC_START_ONLY 1u

struct suture_file_range {
	uint64_t addr; /* link-time, in the func's object */
	uint64_t size;
};

#endif
