/* SPDX-License-Identifier: MIT */
/*
 * dwarf.h - a libdw handle for the debug information of a file.
 *
 * For the builder, which compares the layout of structures; nobody else reads DWARF.
 */
#ifndef SUT_DWARF_H
#define SUT_DWARF_H

#include <elfutils/libdw.h>

#include "elf/elf.h"

/** Whether the file holds debug information itself (a .debug_info with bytes). */
bool sut_elf_has_dwarf(const struct sut_elf *e);
/**
 * The debug information in @e itself, opened once and closed with @e. Relocatable objects are relocated
 * in a copy, so that strings and references are right. A supplementary file of dwz is opened below @root
 * ("" for ours). -SUTURE_ENOTFOUND: there is none; -SUTURE_EREFUSED: damaged, or the supplement is missing.
 */
int sut_elf_dwarf(struct sut_elf *e, const char *root, Dwarf **ret) __must_check;
/**
 * The same for an object whose debug information may be in a separate file: @e itself, then @debug (may be
 * NULL: struct sut_symtab's), then what the build-id or .gnu_debuglink leads to below @root.
 */
int sut_dwarf_find(struct sut_elf *e, struct sut_elf *debug, const char *root, Dwarf **ret) __must_check;

#endif
