/* SPDX-License-Identifier: MIT */
/*
 * cficheck.h - looks call frame information through before libdw gets it.
 */
#ifndef SUT_CFICHECK_H
#define SUT_CFICHECK_H

#include "elf/priv.h"

/** A bit for each register below 63, one for a return address column above (ppc64le: 65), none for others. */
static inline uint64_t sut_cfi_register_bit(uint64_t reg, uint64_t ra)
{
	return reg < 63 ? (uint64_t)1 << reg : reg == ra ? (uint64_t)1 << 63 : 0;
}

/**
 * Checks all of a .eh_frame (@eh) or .debug_frame section: entries stay inside it, instructions are known and
 * complete, register numbers, nesting and sizes are sane, and every CIE says where the return address is
 * (so that an undefined one was meant). @open_ended: the section's size is not known; it ends at a
 * zero terminator or with the image. @ret_undefined: sut_cfi_register_bit() of each register that some entry
 * declares undefined in so many words. 0 or -SUTURE_EREFUSED.
 */
int sut_cfi_check(const struct sut_elf *e, struct sut_bytes section, bool eh, bool open_ended,
		  uint64_t *ret_undefined) __must_check;

#endif
