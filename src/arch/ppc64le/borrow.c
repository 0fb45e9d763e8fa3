/* SPDX-License-Identifier: MIT */
/*
 * borrow.c - borrowing a thread before code of ours is in the target.
 *
 * The heal code (sigframe.c) is then made of two pieces found in the target's own text: a system call
 * followed by a return through LR, which is set to an rt_sigreturn. The kernel's own page of code (the vDSO) always has
 * one, for signal handlers to return to; it is entered behind the instruction that pops the handler's frame,
 * so that r1 is what sigframe() says.
 */
#include "arch/ppc64le/ppc64le.h"

#define MSR_SF 0x8000000000000000ull /* 64-bit mode */
#define MSR_LE 1ull

static const uint8_t sc_blr[] = {
	0x02, 0x00, 0x00, 0x44, /* sc */
	0x20, 0x00, 0x80, 0x4e, /* blr */
};
/* musl */
static const uint8_t sc_neg[] = {
	0x02, 0x00, 0x00, 0x44, /* sc */
	0x20, 0x00, 0xe3, 0x4c, /* bnslr+ */
	0xd0, 0x00, 0x63, 0x7c, /* neg r3,r3 */
	0x20, 0x00, 0x80, 0x4e, /* blr */
};
/* glibc: what follows an error stores errno. It would be run only if the tool died while a call fails. */
static const uint8_t sc_bnslr[] = {
	0x02, 0x00, 0x00, 0x44, /* sc */
	0x20, 0x00, 0xe3, 0x4c, /* bnslr+ */
};
static const uint8_t sigreturn[] = {
	0xac, 0x00, 0x00, 0x38, /* li r0,172 */
	0x02, 0x00, 0x00, 0x44, /* sc */
};

const struct sut_gadget sut_ppc_syscall_gadgets[SUT_PPC_N_SYSCALL_GADGETS] = {
	{ sc_blr, sizeof(sc_blr), 0 },
	{ sc_neg, sizeof(sc_neg), 0 },
	{ sc_bnslr, sizeof(sc_bnslr), 0 },
};
const struct sut_gadget sut_ppc_sigreturn_gadgets[SUT_PPC_N_SIGRETURN_GADGETS] = {
	{ sigreturn, sizeof(sigreturn), 4 },
};

bool sut_ppc_regs_native(const struct sut_regs *r)
{
	return (sut_ppc_reg(r, SUT_PPC_MSR) & (MSR_SF | MSR_LE)) == (MSR_SF | MSR_LE);
}

void sut_ppc_regs_set_sp(struct sut_regs *r, uint64_t sp)
{
	sut_ppc_set_reg(r, SUT_PPC_R1, sp);
}

void sut_ppc_regs_set_return(struct sut_regs *r, uint64_t addr)
{
	sut_ppc_set_reg(r, SUT_PPC_LR, addr);
}
