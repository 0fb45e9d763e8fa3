/* SPDX-License-Identifier: MIT */
/*
 * cficheck.h - looks call frame information through before libdw gets it.
 */
#ifndef SUT_CFICHECK_H
#define SUT_CFICHECK_H

#include "elf/priv.h"

/**
 * Checks all of a .eh_frame (@eh) or .debug_frame section: entries stay inside it, instructions are known and
 * complete, register numbers, nesting and sizes are sane, and every CIE says where the return address is
 * (so that an undefined one was meant). @open_ended: the section's size is not known; it ends at a
 * zero terminator or with the image. @ret_undefined: a bit for each register below 64 that some entry
 * declares undefined in so many words. 0 or -SUTURE_EREFUSED.
 */
int sut_cfi_check(const struct sut_elf *e, struct sut_bytes section, bool eh, bool open_ended,
		  uint64_t *ret_undefined) __must_check;

#endif
