/* SPDX-License-Identifier: MIT */
/*
 * cfi.h - call frame information, read through libdw, handed out as plain rules.
 *
 * libdw finds the FDE and interprets its instructions (dwarf_cfi_addrframe); the rules are
 * evaluated by the unwinder in src/process, because a guess (libdwfl's frame pointer
 * fall-back) is not a proof. Rows are cached by address.
 */
#ifndef SUT_CFI_H
#define SUT_CFI_H

#include <elfutils/libdw.h>

#include "elf/elf.h"

#define SUT_CFI_REGS 17 /* DWARF registers tracked: x86-64 0..16 */

enum sut_cfi_rule {
	SUT_CFI_SAME,
	SUT_CFI_UNDEFINED,
	SUT_CFI_OFFSET, /* saved at CFA + off */
	SUT_CFI_VAL_OFFSET, /* is CFA + off */
	SUT_CFI_REGISTER, /* is in register off */
	SUT_CFI_EXPR, /* saved at the address the expression gives */
	SUT_CFI_VAL_EXPR, /* is the value of the expression */
};

/** The rules in force at one pc. */
struct sut_cfi_row {
	uint64_t start, end; /* link-time range the row holds for */
	bool signal_frame;
	bool ra_undefined; /* the outermost frame */
	unsigned ra_reg;
	enum { SUT_CFA_REG, SUT_CFA_EXPR } cfa_kind;
	unsigned cfa_reg;
	int64_t cfa_off;
	const Dwarf_Op *cfa_ops;
	size_t cfa_nops;
	struct {
		enum sut_cfi_rule rule;
		int64_t off;
		const Dwarf_Op *ops;
		size_t nops;
	} reg[SUT_CFI_REGS];
};

struct sut_cfi;
/** CFI of a file: .eh_frame (by .eh_frame_hdr or section) and, when @debug is not NULL, .debug_frame. */
int sut_cfi_open(struct sut_elf *e, struct sut_cfi **ret) __must_check;
void sut_cfi_close(struct sut_cfi *c);
/** The row for a link-time @pc. False: no CFI covers it. The row lives as long as @c. */
bool sut_cfi_row(struct sut_cfi *c, uint64_t pc, const struct sut_cfi_row **ret);

#endif
