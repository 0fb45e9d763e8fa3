/* SPDX-License-Identifier: MIT */
/*
 * regs.c - the general registers as the kernel's NT_PRSTATUS has them.
 *
 * Pure reads and writes of one buffer; what registers mean to the kernel around a system
 * call is in syscall.c.
 */
#include <string.h>

#include "arch/x86_64/x86_64.h"

uint64_t sut_x86_reg(const struct sut_regs *r, unsigned n)
{
	uint64_t v;

	memcpy(&v, r->raw + 8 * n, sizeof(v));
	return v;
}

void sut_x86_set_reg(struct sut_regs *r, unsigned n, uint64_t v)
{
	memcpy(r->raw + 8 * n, &v, sizeof(v));
}

uint64_t sut_x86_regs_pc(const struct sut_regs *r)
{
	return sut_x86_reg(r, SUT_X86_RIP);
}

uint64_t sut_x86_regs_sp(const struct sut_regs *r)
{
	return sut_x86_reg(r, SUT_X86_RSP);
}

uint64_t sut_x86_regs_tp(const struct sut_regs *r)
{
	return sut_x86_reg(r, SUT_X86_FS_BASE);
}

void sut_x86_regs_set_pc(struct sut_regs *r, uint64_t pc)
{
	sut_x86_set_reg(r, SUT_X86_RIP, pc);
}

bool sut_x86_regs_dwarf(const struct sut_regs *r, unsigned n, uint64_t *ret)
{
	static const uint8_t map[SUT_X86_N_DWARF_REGS] = {
		SUT_X86_RAX, SUT_X86_RDX, SUT_X86_RCX, SUT_X86_RBX, SUT_X86_RSI, SUT_X86_RDI,
		SUT_X86_RBP, SUT_X86_RSP, SUT_X86_R8,  SUT_X86_R9,  SUT_X86_R10, SUT_X86_R11,
		SUT_X86_R12, SUT_X86_R13, SUT_X86_R14, SUT_X86_R15, SUT_X86_RIP,
	};

	if (n >= SUT_X86_N_DWARF_REGS)
		return false;
	*ret = sut_x86_reg(r, map[n]);
	return true;
}

bool sut_x86_regs_in_syscall(const struct sut_regs *r, long *ret_nr, int64_t *ret_result)
{
	int64_t nr = (int64_t)sut_x86_reg(r, SUT_X86_ORIG_RAX);

	if (nr < 0)
		return false;
	*ret_nr = (long)nr;
	*ret_result = (int64_t)sut_x86_reg(r, SUT_X86_RAX);
	return true;
}

/*
 * struct ucontext: flags, link and stack take 40 bytes; then the registers of struct sigcontext, 8 bytes each, in this
 * order, and a word that holds cs, gs, fs and ss.
 */
void sut_x86_regs_from_ucontext(const void *ucontext, uint64_t tp, struct sut_regs *ret)
{
	static const uint8_t order[] = {
		SUT_X86_R8,  SUT_X86_R9,  SUT_X86_R10, SUT_X86_R11, SUT_X86_R12, SUT_X86_R13,
		SUT_X86_R14, SUT_X86_R15, SUT_X86_RDI, SUT_X86_RSI, SUT_X86_RBP, SUT_X86_RBX,
		SUT_X86_RDX, SUT_X86_RAX, SUT_X86_RCX, SUT_X86_RSP, SUT_X86_RIP, SUT_X86_EFLAGS,
	};
	const uint8_t *at = (const uint8_t *)ucontext + 40;
	uint16_t seg[4];
	uint64_t v;

	memset(ret, 0, sizeof(*ret));
	ret->size = SUT_X86_REGS_SIZE;
	for (unsigned i = 0; i < sizeof(order); i++, at += 8) {
		memcpy(&v, at, sizeof(v));
		sut_x86_set_reg(ret, order[i], v);
	}
	memcpy(seg, at, sizeof(seg));
	sut_x86_set_reg(ret, SUT_X86_CS, seg[0]);
	sut_x86_set_reg(ret, SUT_X86_SS, seg[3]);
	sut_x86_set_reg(ret, SUT_X86_FS_BASE, tp);
	sut_x86_set_reg(ret, SUT_X86_ORIG_RAX, ~0ull);
}
