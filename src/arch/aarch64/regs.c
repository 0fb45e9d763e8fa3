/* SPDX-License-Identifier: MIT */
/*
 * regs.c - the general registers as the kernel's NT_PRSTATUS has them, and what is read along with them.
 *
 * Pure reads and writes of one buffer; what registers mean to the kernel around a system call is in syscall.c. The thread
 * pointer and the mask of pointer authentication are register sets of their own; they lie behind the 34
 * words of the general one and are never written.
 */
#include <elf.h>
#include <string.h>

#include "arch/aarch64/aarch64.h"

#define PSTATE_BTYPE 0xc00u /* set by an indirect branch: the next instruction must be a landing pad */

/* Authentication codes where no kernel tells their place: all that an address of 48 bits leaves, but for bit 55. */
#define PAC_MASK_DEFAULT 0xff7f000000000000ull
#define UPPER_HALF       (1ull << 55) /* the kernel's */

const struct sut_regset sut_a64_more_regsets[SUT_A64_N_MORE_REGSETS] = {
	{ .type = NT_ARM_TLS, .at = 8 * SUT_A64_TPIDR, .size = 8 },
	{ .type = NT_ARM_PAC_MASK, .at = 8 * SUT_A64_PAC_DATA, .size = 16 },
};

uint64_t sut_a64_reg(const struct sut_regs *r, unsigned n)
{
	uint64_t v;

	memcpy(&v, r->raw + 8 * n, sizeof(v));
	return v;
}

void sut_a64_set_reg(struct sut_regs *r, unsigned n, uint64_t v)
{
	memcpy(r->raw + 8 * n, &v, sizeof(v));
}

uint64_t sut_a64_regs_pc(const struct sut_regs *r)
{
	return sut_a64_reg(r, SUT_A64_PC);
}

uint64_t sut_a64_regs_sp(const struct sut_regs *r)
{
	return sut_a64_reg(r, SUT_A64_SP);
}

uint64_t sut_a64_regs_tp(const struct sut_regs *r)
{
	return sut_a64_reg(r, SUT_A64_TPIDR);
}

void sut_a64_regs_set_pc(struct sut_regs *r, uint64_t pc)
{
	sut_a64_set_reg(r, SUT_A64_PC, pc);
	/* Stopped between an indirect branch and its landing pad: the new place need not be one. */
	sut_a64_set_reg(r, SUT_A64_PSTATE, sut_a64_reg(r, SUT_A64_PSTATE) & ~(uint64_t)PSTATE_BTYPE);
}

uint64_t sut_a64_strip_code(const struct sut_regs *r, uint64_t v)
{
	return v & UPPER_HALF ? v : v & ~sut_a64_reg(r, SUT_A64_PAC_CODE);
}

bool sut_a64_regs_dwarf(const struct sut_regs *r, unsigned n, uint64_t *ret)
{
	if (n >= SUT_A64_N_DWARF_REGS)
		return false;
	*ret = sut_a64_reg(r, n == SUT_A64_DWARF_PC ? (unsigned)SUT_A64_PC : n);
	return true;
}

/* Registers do not tell: at a stop the kernel has forgotten the call (syscall.c). */
bool sut_a64_regs_in_syscall(const struct sut_regs *r, long *ret_nr, int64_t *ret_result)
{
	return false;
}

/*
 * struct ucontext: flags, link, stack and the mask with its spare room take 168 bytes, and the context behind them is aligned
 * to 16: a fault address, then x0 to x30, sp, pc and pstate as in NT_PRSTATUS.
 */
void sut_a64_regs_from_ucontext(const void *ucontext, uint64_t tp, struct sut_regs *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->size = SUT_A64_REGS_SIZE;
	memcpy(ret->raw, (const uint8_t *)ucontext + SUT_A64_UC_MCONTEXT + 8, SUT_A64_REGS_SIZE);
	sut_a64_set_reg(ret, SUT_A64_TPIDR, tp);
	sut_a64_set_reg(ret, SUT_A64_PAC_DATA, PAC_MASK_DEFAULT);
	sut_a64_set_reg(ret, SUT_A64_PAC_CODE, PAC_MASK_DEFAULT);
}
