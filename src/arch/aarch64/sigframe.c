/* SPDX-License-Identifier: MIT */
/*
 * sigframe.c - how a borrowed thread finds back by itself: heal code and signal frame.
 *
 * While the tool makes a thread run system calls, the thread stands on the heal code with its stack pointer at a frame
 * that holds all it was. If the tool dies, the thread falls through to rt_sigreturn, and the kernel puts every
 * register, the vector registers and the signal mask back.
 *
 * The frame is the kernel's struct rt_sigframe, of which as much is there as the kernel reads:
 *
 *	0	siginfo (not read)
 *	128	ucontext: flags, link, stack, signal mask
 *	304	sigcontext: fault address, x0 to x30, sp, pc, pstate
 *	592	records, each with a magic number and its size, up to one of zeros: the vector registers, and SVE's where
 *		the thread has used them; those that do not fit into 4096 bytes lie behind an "extra" record
 *
 * The restart of an interrupted system call needs nothing: the kernel has put the pc back already (syscall.c). uc_stack holds a mode
 * that does not exist, so that the kernel leaves the thread's alternate stack as it is: from outside it can not be read.
 * A thread in streaming mode (SME), or with a guarded control stack, can not be healed so.
 */
#include <errno.h>
#include <string.h>

#include "arch/aarch64/aarch64.h"

const uint8_t sut_a64_heal_code[SUT_A64_HEAL_CODE_SIZE] = {
	0x01, 0x00, 0x00, 0xd4, /* svc #0: what the tool asks for */
	0x68, 0x11, 0x80, 0xd2, /* mov x8,#139: rt_sigreturn */
	0x01, 0x00, 0x00, 0xd4, /* svc #0: does not come back */
	0x00, 0x00, 0x00, 0x00, /* udf #0 */
};

#define FRAME_UC        128
#define UC_STACK_FLAGS  24
#define UC_SIGMASK      40
#define STACK_MODE_NONE 0x4 /* neither 0, SS_ONSTACK nor SS_DISABLE */
#define FRAME_MC        (FRAME_UC + SUT_A64_UC_MCONTEXT)
#define MC_REGS         8
#define MC_RECORDS      288
#define FRAME_RECORDS   (FRAME_MC + MC_RECORDS)
#define RECORDS_MAX     4096

#define FPSIMD_MAGIC    0x46508001u
#define SVE_MAGIC       0x53564501u
#define EXTRA_MAGIC     0x45585401u
#define FPSIMD_SIZE     528u /* head, fpsr, fpcr, 32 vector registers */
#define EXTRA_SIZE      32u /* head, address, size, spare */
#define TERMINATOR_SIZE 16u
#define SVE_HEAD        16u /* head, vector length, flags, spare */

/* NT_PRFPREG: 32 vector registers, fpsr, fpcr, spare. */
#define FPREG_SIZE 528u
#define FPREG_FPSR 512u

/* NT_ARM_SVE: a header, and then either what NT_PRFPREG has or all of SVE's. */
#define SVE_REGSET_HEAD  16u /* size, max size: 4 bytes each; vector length, its maximum, flags: 2 each */
#define SVE_REGSET_VL    8u
#define SVE_REGSET_FLAGS 12u
#define SVE_REGSET_LIVE  1u
#define VL_MAX           8192u

static void put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
}

static void put64(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, sizeof(v));
}

static uint32_t get16(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static size_t up16(size_t n)
{
	return (n + 15) & ~(size_t)15;
}

/* What is known of the vector registers. */
struct vectors {
	const uint8_t *low; /* 16 bytes of each register ... */
	size_t stride; /* ... so far apart */
	const uint8_t *status; /* fpsr, fpcr */
	const uint8_t *sve; /* z, p and ffr registers; NULL: none that would be more than low */
	uint32_t vl; /* bytes of a z register */
};

/* z0 to z31 of vl bytes, then p0 to p15 and ffr of an eighth of that. */
static size_t sve_regs_size(uint32_t vl)
{
	return 32 * (size_t)vl + 17 * (size_t)(vl / 8);
}

static int vectors_of(const uint8_t *fpu, size_t size, struct vectors *ret)
{
	struct vectors v = { .low = fpu, .stride = 16, .status = fpu + FPREG_FPSR };

	if (size != FPREG_SIZE) {
		if (size < SVE_REGSET_HEAD)
			return -EINVAL;
		v.vl = get16(fpu + SVE_REGSET_VL);
		v.low = fpu + SVE_REGSET_HEAD;
		v.status = v.low + FPREG_FPSR;
		if (!(get16(fpu + SVE_REGSET_FLAGS) & SVE_REGSET_LIVE)) {
			if (size < SVE_REGSET_HEAD + FPREG_SIZE)
				return -EINVAL;
		} else {
			size_t regs = up16(SVE_REGSET_HEAD + sve_regs_size(v.vl)) - SVE_REGSET_HEAD;

			if (!v.vl || v.vl % 16 || v.vl > VL_MAX || size < SVE_REGSET_HEAD + regs + 8)
				return -EINVAL;
			v.sve = v.low;
			v.stride = v.vl;
			v.status = v.low + regs;
		}
	}
	*ret = v;
	return 0;
}

static uint8_t *put_head(uint8_t *p, uint32_t magic, size_t size)
{
	memset(p, 0, size);
	put32(p, magic);
	put32(p + 4, (uint32_t)size);
	return p + size;
}

static uint8_t *put_terminator(uint8_t *p)
{
	memset(p, 0, TERMINATOR_SIZE);
	return p + TERMINATOR_SIZE;
}

static uint8_t *put_fpsimd(uint8_t *p, const struct vectors *v)
{
	uint8_t *end = put_head(p, FPSIMD_MAGIC, FPSIMD_SIZE);

	memcpy(p + 8, v->status, 8); /* fpsr, fpcr */
	for (unsigned i = 0; i < 32; i++)
		memcpy(p + 16 + 16 * (size_t)i, v->low + i * v->stride, 16);
	return end;
}

static uint8_t *put_sve(uint8_t *p, const struct vectors *v)
{
	size_t regs = sve_regs_size(v->vl);
	uint8_t *end = put_head(p, SVE_MAGIC, up16(SVE_HEAD + regs));

	put32(p + 8, v->vl); /* and flags: 0 */
	memcpy(p + SVE_HEAD, v->sve, regs);
	return end;
}

/* Bytes of all records, and whether SVE's must lie behind an extra one. */
static size_t records_size(const struct vectors *v, bool *ret_extra)
{
	size_t sve = v->sve ? up16(SVE_HEAD + sve_regs_size(v->vl)) : 0;

	*ret_extra = FPSIMD_SIZE + sve + TERMINATOR_SIZE > RECORDS_MAX;
	return FPSIMD_SIZE + sve + TERMINATOR_SIZE + (*ret_extra ? EXTRA_SIZE + TERMINATOR_SIZE : 0);
}

/* @addr: where the records will lie. */
static void put_records(uint8_t *p, uint64_t addr, const struct vectors *v, bool extra)
{
	const uint8_t *start = p;

	p = put_fpsimd(p, v);
	if (extra) {
		uint8_t *head = p;

		p = put_terminator(put_head(p, EXTRA_MAGIC, EXTRA_SIZE));
		put64(head + 8, addr + (uint64_t)(p - start));
		put32(head + 16, (uint32_t)(up16(SVE_HEAD + sve_regs_size(v->vl)) + TERMINATOR_SIZE));
	}
	if (v->sve)
		p = put_sve(p, v);
	put_terminator(p);
}

int sut_a64_sigframe(const struct sut_regs *regs, const void *fpu, size_t fpu_size, uint64_t sigmask, uint64_t addr,
		     uint8_t *out, size_t cap, size_t *ret_len, uint64_t *ret_sp)
{
	struct vectors v;
	size_t records;
	bool extra;

	if ((addr & 15) || vectors_of(fpu, fpu_size, &v))
		return -EINVAL;
	records = records_size(&v, &extra);
	if (cap < FRAME_RECORDS + records)
		return -ENOSPC;
	memset(out, 0, FRAME_RECORDS);
	out[FRAME_UC + UC_STACK_FLAGS] = STACK_MODE_NONE;
	put64(out + FRAME_UC + UC_SIGMASK, sigmask);
	memcpy(out + FRAME_MC + MC_REGS, regs->raw,
	       SUT_A64_REGS_SIZE); /* x0 to x30, sp, pc, pstate, as they lie there */
	put_records(out + FRAME_RECORDS, addr + FRAME_RECORDS, &v, extra);
	*ret_len = FRAME_RECORDS + records;
	*ret_sp = addr;
	return 0;
}
