/* SPDX-License-Identifier: MIT */
/*
 * regs.c - the general registers as the kernel's NT_PRSTATUS has them.
 *
 * Pure reads and writes of one buffer; what registers mean to the kernel around a system
 * call is in syscall.c. The pc has no DWARF number (a function returns to LR, number 65), so it gets one of ours.
 */
#include <string.h>

#include "arch/ppc64le/ppc64le.h"

uint64_t sut_ppc_reg(const struct sut_regs *r, unsigned n)
{
	uint64_t v;

	memcpy(&v, r->raw + 8 * n, sizeof(v));
	return v;
}

void sut_ppc_set_reg(struct sut_regs *r, unsigned n, uint64_t v)
{
	memcpy(r->raw + 8 * n, &v, sizeof(v));
}

uint64_t sut_ppc_regs_pc(const struct sut_regs *r)
{
	return sut_ppc_reg(r, SUT_PPC_NIP);
}

uint64_t sut_ppc_regs_sp(const struct sut_regs *r)
{
	return sut_ppc_reg(r, SUT_PPC_R1);
}

uint64_t sut_ppc_regs_tp(const struct sut_regs *r)
{
	return sut_ppc_reg(r, SUT_PPC_R13);
}

void sut_ppc_regs_set_pc(struct sut_regs *r, uint64_t pc)
{
	sut_ppc_set_reg(r, SUT_PPC_NIP, pc);
}

bool sut_ppc_regs_dwarf(const struct sut_regs *r, unsigned n, uint64_t *ret)
{
	if (n < 32)
		*ret = sut_ppc_reg(r, n);
	else if (n == SUT_PPC_DWARF_CR)
		*ret = sut_ppc_reg(r, SUT_PPC_CCR);
	else if (n == SUT_PPC_DWARF_LR)
		*ret = sut_ppc_reg(r, SUT_PPC_LR);
	else if (n == SUT_PPC_DWARF_CTR)
		*ret = sut_ppc_reg(r, SUT_PPC_CTR);
	else if (n == SUT_PPC_DWARF_PC)
		*ret = sut_ppc_reg(r, SUT_PPC_NIP);
	else
		return false;
	return true;
}

/* struct ucontext: the registers stand in its signal context as ptrace gives them. A handler is in no system call. */
void sut_ppc_regs_from_ucontext(const void *ucontext, uint64_t tp, struct sut_regs *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->size = SUT_PPC_REGS_SIZE;
	memcpy(ret->raw, (const uint8_t *)ucontext + SUT_PPC_UC_GREGS, SUT_PPC_REGS_SIZE);
	sut_ppc_set_reg(ret, SUT_PPC_R13, tp);
	sut_ppc_set_reg(ret, SUT_PPC_TRAPNO, 0);
}
