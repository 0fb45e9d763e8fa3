/* SPDX-License-Identifier: MIT */
/*
 * sigframe.c - how a borrowed thread finds back by itself: heal code and signal frame.
 *
 * While the tool makes a thread run system calls, the thread stands on the heal code with its
 * stack pointer in a frame that holds all it was. If the tool dies, the thread falls through to
 * rt_sigreturn, and the kernel puts every register, the vector registers and the signal mask back.
 *
 * The frame is the kernel's struct rt_sigframe:
 *
 *	0     pretcode (not read by sigreturn, which takes the frame from sp - 8)
 *	8     ucontext: flags, link, stack, 256 bytes of sigcontext, signal mask
 *	312   siginfo (not read)
 *	448   extended state, 64-byte aligned, FP_XSTATE_MAGIC2 behind it
 *
 * Three things are not as in a frame that the kernel writes. The restart of an interrupted system call
 * is encoded (pc on the instruction, number in rax), because sigreturn switches the kernel's own
 * restart off. uc_stack holds a mode that does not exist, so that the kernel
 * leaves the thread's alternate stack as it is: from outside it can not be read. And of the
 * extended state no more is claimed than the kernel takes for a thread without AMX permission.
 *
 * A thread with a shadow stack (CET) can not be healed so: sigreturn wants a token on it.
 */
#include <errno.h>
#include <string.h>

#include "arch/x86_64/x86_64.h"

const uint8_t sut_x86_heal_code[11] = {
	0x0f, 0x05, /* syscall: what the tool asks for */
	0xb8, 0x0f, 0x00, 0x00, 0x00, /* mov $15,%eax: rt_sigreturn */
	0x0f, 0x05, /* syscall: does not come back */
	0x0f, 0x0b, /* ud2 */
};

#define FRAME_UC          8
#define FRAME_FPU         448
#define UC_FLAGS          0
#define UC_STACK_FLAGS    24
#define UC_MCONTEXT       40
#define UC_SIGMASK        296
#define MC_FPSTATE        184
#define FP_XSTATE         0x1 /* uc_flags: the extended state is there */
#define SIGCONTEXT_SS     0x2 /* ss is valid in the sigcontext ... */
#define STRICT_RESTORE_SS 0x4 /* ... and is put back as it is */
#define STACK_MODE_NONE   0x4 /* neither 0, SS_ONSTACK nor SS_DISABLE */

#define FX_SIZE           512
#define FX_SW_RESERVED    464 /* NT_X86_XSTATE: here the mask of all features; in a frame: what follows */
#define XSTATE_BV         512 /* features that are not in their initial state */
#define XSTATE_MIN        (FX_SIZE + 64)
#define FP_XSTATE_MAGIC1  0x46505853u
#define FP_XSTATE_MAGIC2  0x46505845u
#define XFEATURE_TILEDATA (1ull << 18)
#define TILEDATA_SIZE     8192

static void put(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, sizeof(v));
}

/*
 * What of the NT_X86_XSTATE bytes goes into the frame. The kernel's register set always has room for AMX tile data, which is
 * last; a frame larger than the thread's own state would be taken for a legacy one, and ymm and zmm lost.
 */
static size_t xstate_size(const uint8_t *fpu, size_t fpu_size, uint64_t *features)
{
	uint64_t used;

	memcpy(features, fpu + FX_SW_RESERVED, sizeof(*features));
	memcpy(&used, fpu + XSTATE_BV, sizeof(used));
	if (!(*features & XFEATURE_TILEDATA) || (used & XFEATURE_TILEDATA) || fpu_size < XSTATE_MIN + TILEDATA_SIZE)
		return fpu_size;
	*features &= ~XFEATURE_TILEDATA;
	return fpu_size - TILEDATA_SIZE;
}

/* Writes the state and its marks at @out; returns bytes used. */
static size_t put_fpu(const uint8_t *fpu, size_t fpu_size, uint8_t *out)
{
	uint64_t features;
	uint32_t sw[4];
	size_t n;

	if (fpu_size == FX_SIZE) { /* no XSAVE: no marks */
		memcpy(out, fpu, FX_SIZE);
		memset(out + FX_SW_RESERVED, 0, FX_SIZE - FX_SW_RESERVED);
		return FX_SIZE;
	}
	n = xstate_size(fpu, fpu_size, &features);
	memcpy(out, fpu, n);
	memset(out + FX_SW_RESERVED, 0, FX_SIZE - FX_SW_RESERVED);
	sw[0] = FP_XSTATE_MAGIC1;
	sw[1] = (uint32_t)n + 4; /* extended_size: with the second mark */
	memcpy(sw + 2, &features, sizeof(features));
	memcpy(out + FX_SW_RESERVED, sw, sizeof(sw));
	sw[0] = (uint32_t)n; /* xstate_size */
	memcpy(out + FX_SW_RESERVED + 16, sw, 4);
	sw[0] = FP_XSTATE_MAGIC2;
	memcpy(out + n, sw, 4);
	return n + 4;
}

/* The registers to go on with: with the restart of an interrupted call done by hand. */
static void put_regs(const struct sut_regs *r, uint8_t *mc)
{
	static const uint8_t order[17] = {
		SUT_X86_R8,  SUT_X86_R9,  SUT_X86_R10, SUT_X86_R11, SUT_X86_R12, SUT_X86_R13,
		SUT_X86_R14, SUT_X86_R15, SUT_X86_RDI, SUT_X86_RSI, SUT_X86_RBP, SUT_X86_RBX,
		SUT_X86_RDX, SUT_X86_RAX, SUT_X86_RCX, SUT_X86_RSP, SUT_X86_RIP,
	};
	int64_t rax = (int64_t)sut_x86_reg(r, SUT_X86_RAX);
	uint16_t segments[4] = { (uint16_t)sut_x86_reg(r, SUT_X86_CS), (uint16_t)sut_x86_reg(r, SUT_X86_GS),
				 (uint16_t)sut_x86_reg(r, SUT_X86_FS), (uint16_t)sut_x86_reg(r, SUT_X86_SS) };

	for (unsigned i = 0; i < sizeof(order); i++)
		put(mc + 8 * i, sut_x86_reg(r, order[i]));
	put(mc + 8 * 17, sut_x86_reg(r, SUT_X86_EFLAGS));
	memcpy(mc + 8 * 18, segments, sizeof(segments));
	if ((int64_t)sut_x86_reg(r, SUT_X86_ORIG_RAX) < 0)
		return;
	if (rax == SUT_X86_ERESTARTSYS || rax == SUT_X86_ERESTARTNOINTR || rax == SUT_X86_ERESTARTNOHAND ||
	    rax == SUT_X86_ERESTART_RESTARTBLOCK) {
		put(mc + 8 * 13, sut_x86_reg(r, SUT_X86_ORIG_RAX));
		put(mc + 8 * 16, sut_x86_reg(r, SUT_X86_RIP) - 2); /* back on the instruction */
	}
}

int sut_x86_sigframe(const struct sut_regs *regs, const void *fpu, size_t fpu_size, uint64_t sigmask, uint64_t addr,
		     uint8_t *out, size_t cap, size_t *ret_len, uint64_t *ret_sp)
{
	uint8_t *uc = out + FRAME_UC;
	bool legacy = fpu_size == FX_SIZE;
	struct sut_regs r = *regs;

	if ((addr & 63) || (!legacy && fpu_size < XSTATE_MIN) || fpu_size > 1u << 20)
		return -EINVAL;
	if (cap < FRAME_FPU + fpu_size + 4)
		return -ENOSPC;
	sut_x86_regs_mask_eintr(&r);
	memset(out, 0, FRAME_FPU);
	put(uc + UC_FLAGS, SIGCONTEXT_SS | STRICT_RESTORE_SS | (legacy ? 0 : FP_XSTATE));
	uc[UC_STACK_FLAGS] = STACK_MODE_NONE;
	put_regs(&r, uc + UC_MCONTEXT);
	put(uc + UC_MCONTEXT + MC_FPSTATE, addr + FRAME_FPU);
	put(uc + UC_SIGMASK, sigmask);
	*ret_len = FRAME_FPU + put_fpu(fpu, fpu_size, out + FRAME_FPU);
	*ret_sp = addr + FRAME_UC;
	return 0;
}

/*
 * Two words of each frame that hardly anything else holds: the segment selectors, which are those that the thread
 * has now, and the mark of the extended state (which processors without XSAVE do not have).
 */
bool sut_x86_has_sigframe(const struct sut_regs *regs, const uint8_t *stack, size_t len)
{
	uint64_t cs = sut_x86_reg(regs, SUT_X86_CS) & 0xffff, ss = sut_x86_reg(regs, SUT_X86_SS) & 0xffff;

	for (size_t off = 0; off + 8 <= len; off += 8) {
		uint64_t v;

		memcpy(&v, stack + off, sizeof(v));
		if ((uint32_t)v == FP_XSTATE_MAGIC1 || ((v & 0xffff) == cs && v >> 48 == ss))
			return true;
	}
	return false;
}
