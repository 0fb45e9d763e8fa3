/* SPDX-License-Identifier: MIT */
/*
 * debug.h - files that hold what was stripped from another: found, and proved to belong to it.
 */
#ifndef SUT_DEBUG_H
#define SUT_DEBUG_H

#include "elf/symtab.h"

/** A debug file and why it is believed. */
struct sut_debug_file {
	struct sut_elf *elf; /* owned */
	char *path; /* as for messages, owned */
	enum sut_symtab_source how; /* SUT_SYMS_DEBUG_ID, _CONTENT, _LINK or _MINI */
	struct sut_same_report report; /* SUT_SYMS_DEBUG_CONTENT: what differs, if anything */
};
void sut_debug_free(struct sut_debug_file *d);

/**
 * Opens the debug file @path, named by the user, for @e. It fits by an equal build-id or by content; else
 * -SUTURE_EREFUSED, and the text says the first difference.
 */
int sut_debug_open(struct sut_elf *e, const char *path, struct sut_debug_file *ret) __must_check;
/**
 * Looks for the debug file of @e below @root, by build-id, then by .gnu_debuglink, that has a section @want
 * (".symtab", ".debug_info"). False: there is none that fits (what was wrong with those found is logged).
 */
bool sut_debug_search(struct sut_elf *e, const char *root, const char *want, struct sut_debug_file *ret);
/** Unpacks .gnu_debugdata. False: there is none, or it is damaged (logged). */
bool sut_debug_mini(struct sut_elf *e, struct sut_debug_file *ret);
/**
 * Opens the supplementary file (dwz) that the debug sections of @e refer to. -SUTURE_ENOTFOUND: @e refers to none;
 * -SUTURE_EREFUSED: it refers to one that is not there below @root, or is another one.
 */
int sut_debug_supplement(struct sut_elf *e, const char *root, struct sut_elf **ret) __must_check;

#endif
