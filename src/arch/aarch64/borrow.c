/* SPDX-License-Identifier: MIT */
/*
 * borrow.c - borrowing a thread before code of ours is in the target.
 *
 * The heal code (sigframe.c) is then made of two pieces found in the target's own text: a system call followed by a return, to
 * where x30 says, and an rt_sigreturn as the vDSO and C libraries have it for signal handlers to return to. No landing
 * pad is in the way: the first is entered by setting the pc, the second by a return.
 */
#include "arch/aarch64/aarch64.h"

#define PSTATE_MODE32 0x10u

static const uint8_t svc_ret[] = {
	0x01, 0x00, 0x00, 0xd4, /* svc #0 */
	0xc0, 0x03, 0x5f, 0xd6, /* ret */
};
static const uint8_t sigreturn[] = {
	0x68, 0x11, 0x80, 0xd2, /* mov x8,#139 */
	0x01, 0x00, 0x00, 0xd4, /* svc #0 */
};

const struct sut_gadget sut_a64_syscall_gadgets[SUT_A64_N_SYSCALL_GADGETS] = {
	{ svc_ret, sizeof(svc_ret), 0 },
};
const struct sut_gadget sut_a64_sigreturn_gadgets[SUT_A64_N_SIGRETURN_GADGETS] = {
	{ sigreturn, sizeof(sigreturn), 4 },
};

bool sut_a64_regs_native(const struct sut_regs *r)
{
	return r->size >= SUT_A64_REGS_SIZE && !(sut_a64_reg(r, SUT_A64_PSTATE) & PSTATE_MODE32);
}

void sut_a64_regs_set_sp(struct sut_regs *r, uint64_t sp)
{
	sut_a64_set_reg(r, SUT_A64_SP, sp);
}

void sut_a64_regs_set_return(struct sut_regs *r, uint64_t pc)
{
	sut_a64_set_reg(r, SUT_A64_X30, pc);
}
