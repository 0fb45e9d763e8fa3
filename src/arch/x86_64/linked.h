/* SPDX-License-Identifier: MIT */
/* linked.h - see sut_arch.linked_field in arch/arch.h. */
#ifndef SUT_X86_64_LINKED_H
#define SUT_X86_64_LINKED_H

#include "arch/arch.h"

int sut_x86_64_linked_field(const struct sut_reloc_howto *howto, const uint8_t *obj, const uint8_t *bin, size_t len,
			    size_t off, int64_t addend, uint64_t pc, struct sut_linked *ret);
bool sut_x86_64_same_branch(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len);

#endif
