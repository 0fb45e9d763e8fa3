/* SPDX-License-Identifier: MIT */
/*
 * cfi.h - call frame information, read through libdw, handed out as plain rules.
 *
 * libdw finds the FDE and interprets its instructions (dwarf_cfi_addrframe); the rules are
 * evaluated by the unwinder in src/process, because a guess (libdwfl's frame pointer
 * fall-back) is not a proof. Rows are cached by address. CFI is untrusted: what libdw is
 * given has been looked through before (cficheck.c), and a row that is not wholly understood is no row.
 */
#ifndef SUT_CFI_H
#define SUT_CFI_H

#include <elfutils/libdw.h>

#include "elf/elf.h"

#define SUT_CFI_REGS 68 /* DWARF registers tracked at most: sut_arch.n_dwarf_regs (x86-64 17, arm64 33, ppc64le 68) */
#define SUT_CFI_OPS  256 /* longest expression handed out, in operations */

enum sut_cfi_rule {
	SUT_CFI_SAME,
	SUT_CFI_UNDEFINED,
	SUT_CFI_OFFSET, /* saved at CFA + off */
	SUT_CFI_VAL_OFFSET, /* is CFA + off */
	SUT_CFI_REGISTER, /* is in register off */
	SUT_CFI_EXPR, /* saved at the address the expression gives */
	SUT_CFI_VAL_EXPR, /* is the value of the expression */
};

/**
 * The rules in force at one pc. Expressions of registers (EXPR, VAL_EXPR) begin with DW_OP_call_frame_cfa,
 * which stands for the CFA that DWARF puts on the stack first, so the evaluator starts with an empty stack;
 * none ends with DW_OP_stack_value. The result is the value on top.
 */
struct sut_cfi_row {
	uint64_t start, end; /* link-time range the row holds for */
	bool signal_frame;
	bool ra_undefined; /* the outermost frame: the rule of the return address is UNDEFINED, and said so */
	unsigned ra_reg;
	enum { SUT_CFA_REG, SUT_CFA_EXPR } cfa_kind;
	unsigned cfa_reg;
	int64_t cfa_off;
	const Dwarf_Op *cfa_ops;
	size_t cfa_nops;
	unsigned n_regs;
	struct {
		enum sut_cfi_rule rule;
		int64_t off;
		const Dwarf_Op *ops;
		size_t nops;
	} reg[]; /* n_regs of them */
};

struct sut_cfi;
/**
 * Opens the CFI of a file, which must outlive it: .eh_frame (found by its section, or by PT_GNU_EH_FRAME where there
 * are no section headers), else .debug_frame. -SUTURE_ENOTFOUND: it has none; -SUTURE_EREFUSED: damaged.
 */
int sut_cfi_open(struct sut_elf *e, struct sut_cfi **ret) __must_check;
/** Adds the .debug_frame of a debug file that belongs to the same object (and outlives @c); consulted
 *  for what the rest does not cover. -SUTURE_ENOTFOUND, -SUTURE_EREFUSED as above; @c stays as it was. */
int sut_cfi_add_debug(struct sut_cfi *c, struct sut_elf *debug) __must_check;
void sut_cfi_close(struct sut_cfi *c);
/** The row for a link-time @pc. False: no CFI covers it, or it can not be understood. The row lives as long as @c. */
bool sut_cfi_row(struct sut_cfi *c, uint64_t pc, const struct sut_cfi_row **ret);

/* For a process that proves its own threads while they stand still, and must not allocate meanwhile (process/self.h). */
enum sut_cfi_known {
	SUT_CFI_KNOWN, /* *ret is the row */
	SUT_CFI_KNOWN_NONE, /* no CFI covers the pc */
	SUT_CFI_NOT_READ, /* sut_cfi_read() has not been there */
};
/** What was read of the row for @pc. Allocates nothing, takes no lock. */
enum sut_cfi_known sut_cfi_row_known(const struct sut_cfi *c, uint64_t pc, const struct sut_cfi_row **ret);
/** Reads the row for @pc and those that follow it, a function or a few. 0 or -ENOMEM. */
int sut_cfi_read(struct sut_cfi *c, uint64_t pc) __must_check;

#endif
