/* SPDX-License-Identifier: MIT */
/*
 * sigframe.c - how a borrowed thread finds back by itself: heal code and signal frame.
 *
 * While the tool makes a thread run system calls, the thread stands on the heal code with its
 * stack pointer on a frame that holds all it was. If the tool dies, the thread falls through to
 * rt_sigreturn, and the kernel puts every register and the signal mask back.
 *
 * r1 points at the kernel's struct ucontext, and of the frame nothing else is read:
 *
 *	0     flags, link, stack, signal mask
 *	168   signal context: 64 bytes that are not read, 48 words of registers as ptrace gives them
 *	616   33 words of floating point: fpr0 .. fpr31, fpscr
 *	880   address of the vector registers: 32 of them, vscr, vrsave, 16 bytes each, 16-byte aligned ...
 *	896   ... here, and behind them the second halves of vs0 .. vs31
 *
 * The three register sets of the kernel's are these bytes already. Vector state is read back only where the
 * frame's msr says that it is there, so it is always said, with all the state.
 *
 * Two things are not as in a frame that the kernel writes. The restart of an interrupted system call
 * is encoded (pc on the instruction, r3 and r0 as they were), because sigreturn switches the kernel's own
 * restart off. uc_stack holds a mode that does not exist, so that the kernel leaves the thread's
 * alternate stack as it is: from outside it can not be read. A thread in a hardware transaction can not be held.
 */
#include <errno.h>
#include <string.h>

#include "arch/ppc64le/ppc64le.h"

const uint8_t sut_ppc_heal_code[16] = {
	0x02, 0x00, 0x00, 0x44, /* sc: what the tool asks for */
	0xac, 0x00, 0x00, 0x38, /* li r0,172: rt_sigreturn */
	0x02, 0x00, 0x00, 0x44, /* sc: does not come back */
	0x08, 0x00, 0xe0, 0x7f, /* trap */
};

#define NT_FPREG 2 /* 33 words */
#define NT_VMX   0x100 /* 34 quadwords */
#define NT_VSX   0x102 /* 32 words */
#define FPR_SIZE (33 * 8)
#define VMX_SIZE (34 * 16)
#define VSX_SIZE (32 * 8)

const struct sut_regset sut_ppc_fpu_sets[SUT_PPC_N_FPU_SETS] = {
	{ NT_FPREG, 0, FPR_SIZE },
	{ NT_VMX, FPR_SIZE, VMX_SIZE },
	{ NT_VSX, FPR_SIZE + VMX_SIZE, VSX_SIZE },
};

#define FPU_SIZE        (FPR_SIZE + VMX_SIZE + VSX_SIZE)
#define UC_STACK_FLAGS  24
#define UC_SIGMASK      40
#define UC_FPREGS       (SUT_PPC_UC_GREGS + SUT_PPC_REGS_SIZE)
#define UC_V_REGS       (UC_FPREGS + FPR_SIZE)
#define UC_VMX          896
#define UC_VSX          (UC_VMX + VMX_SIZE)
#define FRAME_SIZE      (UC_VSX + VSX_SIZE)
#define STACK_MODE_NONE 0x4 /* neither 0, SS_ONSTACK nor SS_DISABLE */

#define MSR_VEC     0x2000000ull /* vector registers are in the frame */
#define MSR_VSX     0x800000ull /* and the second halves of the others */
#define MSR_TS_MASK 0x600000000ull /* in a transaction */

static void put(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, sizeof(v));
}

/* The registers to go on with: with the restart of an interrupted call done by hand. */
static void restart(struct sut_regs *r)
{
	int64_t result;
	long nr;

	if (!sut_ppc_regs_in_syscall(r, &nr, &result))
		return;
	if (result == SUT_PPC_ERESTARTSYS || result == SUT_PPC_ERESTARTNOINTR || result == SUT_PPC_ERESTARTNOHAND ||
	    result == SUT_PPC_ERESTART_RESTARTBLOCK) {
		sut_ppc_set_reg(r, SUT_PPC_R3, sut_ppc_reg(r, SUT_PPC_ORIG_R3)); /* r0 still is the number */
		sut_ppc_set_reg(r, SUT_PPC_NIP, sut_ppc_reg(r, SUT_PPC_NIP) - 4); /* back on the instruction */
	}
}

int sut_ppc_sigframe(const struct sut_regs *regs, const void *fpu, size_t fpu_size, uint64_t sigmask, uint64_t addr,
		     uint8_t *out, size_t cap, size_t *ret_len, uint64_t *ret_sp)
{
	const uint8_t *state = fpu;
	struct sut_regs r = *regs;
	uint64_t msr = sut_ppc_reg(&r, SUT_PPC_MSR);

	if ((addr & 63) || fpu_size != FPU_SIZE || (msr & MSR_TS_MASK))
		return -EINVAL;
	if (cap < FRAME_SIZE)
		return -ENOSPC;
	sut_ppc_regs_mask_eintr(&r);
	restart(&r);
	sut_ppc_set_reg(&r, SUT_PPC_MSR, msr | MSR_VEC | MSR_VSX);
	memset(out, 0, FRAME_SIZE);
	out[UC_STACK_FLAGS] = STACK_MODE_NONE;
	put(out + UC_SIGMASK, sigmask);
	memcpy(out + SUT_PPC_UC_GREGS, r.raw, SUT_PPC_REGS_SIZE);
	memcpy(out + UC_FPREGS, state, FPR_SIZE);
	put(out + UC_V_REGS, addr + UC_VMX);
	memcpy(out + UC_VMX, state + FPR_SIZE, VMX_SIZE);
	memcpy(out + UC_VSX, state + FPR_SIZE + VMX_SIZE, VSX_SIZE);
	*ret_len = FRAME_SIZE;
	*ret_sp = addr;
	return 0;
}
