/* SPDX-License-Identifier: MIT */
/*
 * borrow.c - borrowing a thread before code of ours is in the target.
 *
 * The heal code (sigframe.c) is then made of two pieces found in the target's own text: a system call
 * followed by a return, whose word on the stack, the frame's pretcode, names an rt_sigreturn as C
 * libraries have it for signal handlers to return to.
 */
#include "arch/x86_64/x86_64.h"

#define USER_CS     0x33 /* 64-bit code; 32-bit code of the same process has 0x23 */
#define USER_CS_XEN 0xe033 /* the same under a paravirtualised Xen */

static const uint8_t syscall_ret[] = {
	0x0f, 0x05, /* syscall */
	0xc3, /* ret */
};
static const uint8_t syscall_rep_ret[] = {
	0x0f, 0x05, /* syscall */
	0xf3, 0xc3, /* repz ret */
};
static const uint8_t sigreturn_rax[] = {
	0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, /* mov $15,%rax */
	0x0f, 0x05, /* syscall */
};
static const uint8_t sigreturn_eax[] = {
	0xb8, 0x0f, 0x00, 0x00, 0x00, /* mov $15,%eax */
	0x0f, 0x05, /* syscall */
};

const struct sut_gadget sut_x86_syscall_gadgets[SUT_X86_N_SYSCALL_GADGETS] = {
	{ syscall_ret, sizeof(syscall_ret), 0 },
	{ syscall_rep_ret, sizeof(syscall_rep_ret), 0 },
};
const struct sut_gadget sut_x86_sigreturn_gadgets[SUT_X86_N_SIGRETURN_GADGETS] = {
	{ sigreturn_rax, sizeof(sigreturn_rax), 7 },
	{ sigreturn_eax, sizeof(sigreturn_eax), 5 },
};

bool sut_x86_regs_native(const struct sut_regs *r)
{
	uint64_t cs = sut_x86_reg(r, SUT_X86_CS) & 0xffff;

	return cs == USER_CS || cs == USER_CS_XEN;
}

void sut_x86_regs_set_sp(struct sut_regs *r, uint64_t sp)
{
	sut_x86_set_reg(r, SUT_X86_RSP, sp);
}
