/* SPDX-License-Identifier: MIT */
/*
 * insn.c - one instruction: what kind it is, and what it says about its own address.
 *
 * Every instruction is one aligned little-endian word, so no table of all of them is needed: what depends on the pc or
 * changes it stands in few encoding groups. In the group "branches, exceptions, system" everything that is not known
 * here is -EILSEQ, because later processors put more branches there; outside of it an unknown word is OTHER.
 * Invariant: a word whose meaning depends on its address has pcrel set; pcrel_reloc names its field, or is 0 and
 * nobody can move it.
 */
#include <elf.h>
#include <errno.h>

#include "arch/aarch64/aarch64.h"

/* The offset of a field of words: @bits bits at @shift, sign-extended, in bytes. */
static uint64_t offset(uint32_t word, unsigned bits, unsigned shift)
{
	uint32_t top = word << (32 - bits - shift);

	return (uint64_t)((int64_t)(int32_t)top >> (32 - bits)) << 2;
}

uint64_t sut_a64_adr_target(uint32_t word, uint64_t pc)
{
	uint64_t imm = (offset(word, 19, 5)) | ((word >> 29) & 3);

	if (word >> 31) /* adrp */
		return (pc & ~0xfffull) + (imm << 12);
	return pc + imm;
}

static int found(struct sut_insn *ret, enum sut_insn_kind kind, bool ends)
{
	ret->kind = kind;
	ret->ends = ends;
	return 0;
}

static int found_pcrel(struct sut_insn *ret, enum sut_insn_kind kind, uint32_t reloc, uint64_t target)
{
	ret->pcrel = true;
	ret->pcrel_reloc = reloc;
	ret->target = target;
	return found(ret, kind, kind == SUT_INSN_JUMP);
}

/* 1101 011x: br, blr, ret, eret and what authenticates its target. */
static int branch_register(uint32_t w, struct sut_insn *ret)
{
	uint32_t form = w & 0xfffffc1f; /* with any register, but for the modifier's */

	if (form == 0xd61f0000 || form == 0xd61f081f || form == 0xd61f0c1f) /* br, braaz, brabz */
		return found(ret, SUT_INSN_INDIRECT, true);
	if (form == 0xd63f0000 || form == 0xd63f081f || form == 0xd63f0c1f) /* blr, blraaz, blrabz */
		return found(ret, SUT_INSN_INDIRECT, false);
	if (form == 0xd65f0000 || w == 0xd65f0bff || w == 0xd65f0fff) /* ret, retaa, retab */
		return found(ret, SUT_INSN_RETURN, true);
	if ((w & 0xfffff800) == 0xd71f0800) /* braa, brab */
		return found(ret, SUT_INSN_INDIRECT, true);
	if ((w & 0xfffff800) == 0xd73f0800) /* blraa, blrab */
		return found(ret, SUT_INSN_INDIRECT, false);
	if (w == 0xd69f03e0 || w == 0xd69f0bff || w == 0xd69f0fff || w == 0xd6bf03e0) /* eret, eretaa, eretab, drps */
		return found(ret, SUT_INSN_TRAP, true);
	return -EILSEQ;
}

/* 1101 0100: svc, hvc, smc, brk, hlt, tcancel, dcps. */
static int exception(uint32_t w, struct sut_insn *ret)
{
	switch (w & 0xffe0001f) {
	case 0xd4000001: /* svc */
		return found(ret, SUT_INSN_SYSCALL, false);
	case 0xd4000002: /* hvc: not in user mode, like the rest */
	case 0xd4000003: /* smc */
	case 0xd4200000: /* brk */
	case 0xd4400000: /* hlt */
	case 0xd4a00001: /* dcps1 .. 3 */
	case 0xd4a00002:
	case 0xd4a00003:
		return found(ret, SUT_INSN_TRAP, false);
	case 0xd4600000: /* tcancel: goes on at tstart when in a transaction */
		return found(ret, SUT_INSN_OTHER, false);
	default:
		return -EILSEQ;
	}
}

/* 1101 0101 00: hints, barriers, system registers and instructions. */
static int system_insn(uint32_t w, struct sut_insn *ret)
{
	if ((w & 0xfffff01f) != 0xd503201f)
		return found(ret, SUT_INSN_OTHER, false);
	switch (w) {
	case SUT_A64_PACIASP:
	case SUT_A64_PACIBSP:
		ret->landing_pad = true;
		return found(ret, SUT_INSN_OTHER, false);
	case SUT_A64_BTI_C:
	case 0xd503249f: /* bti j */
	case 0xd50324df: /* bti jc */
		ret->landing_pad = true;
		return found(ret, SUT_INSN_NOP, false);
	case SUT_A64_NOP:
	case 0xd503241f: /* bti: no target of anything */
		return found(ret, SUT_INSN_NOP, false);
	default:
		return found(ret, SUT_INSN_OTHER, false);
	}
}

static int branch_group(uint32_t w, uint64_t pc, struct sut_insn *ret)
{
	if ((w & 0xfc000000) == 0x14000000) /* b */
		return found_pcrel(ret, SUT_INSN_JUMP, R_AARCH64_JUMP26, pc + offset(w, 26, 0));
	if ((w & 0xfc000000) == 0x94000000) /* bl */
		return found_pcrel(ret, SUT_INSN_CALL, R_AARCH64_CALL26, pc + offset(w, 26, 0));
	if ((w & 0xff000000) == 0x54000000) /* b.cond, bc.cond */
		return found_pcrel(ret, SUT_INSN_BRANCH, R_AARCH64_CONDBR19, pc + offset(w, 19, 5));
	if ((w & 0x7e000000) == 0x34000000) /* cbz, cbnz */
		return found_pcrel(ret, SUT_INSN_BRANCH, R_AARCH64_CONDBR19, pc + offset(w, 19, 5));
	if ((w & 0x7e000000) == 0x36000000) /* tbz, tbnz */
		return found_pcrel(ret, SUT_INSN_BRANCH, R_AARCH64_TSTBR14, pc + offset(w, 14, 5));
	if ((w & 0xff000000) == 0xd4000000)
		return exception(w, ret);
	if ((w & 0xff800000) == 0xd5000000) /* 1101 0101 0 */
		return system_insn(w, ret);
	if ((w & 0xfe000000) == 0xd6000000)
		return branch_register(w, ret);
	return -EILSEQ;
}

/* Return address authentication that takes the pc into account (FEAT_PAuth_LR): it can not be moved. */
static bool signs_with_pc(uint32_t w)
{
	return (w & 0xffc0001f) == 0xf380001f || /* autiasppc, autibsppc */
	       w == 0xdac183fe || w == 0xdac187fe || /* pacnbiasppc, pacnbibsppc */
	       w == 0xdac1a3fe || w == 0xdac1a7fe; /* paciasppc, pacibsppc */
}

static int decode(uint32_t w, uint64_t pc, struct sut_insn *ret)
{
	switch (w >> 25 & 15) {
	case 0: /* reserved, but for udf and (bit 31) matrices */
		if (!(w >> 16))
			return found(ret, SUT_INSN_TRAP, true);
		return w >> 31 ? found(ret, SUT_INSN_OTHER, false) : -EILSEQ;
	case 1:
	case 3:
		return -EILSEQ;
	case 10:
	case 11:
		return branch_group(w, pc, ret);
	default:
		break;
	}
	if ((w & 0x9f000000) == 0x10000000) /* adr */
		return found_pcrel(ret, SUT_INSN_OTHER, R_AARCH64_ADR_PREL_LO21, sut_a64_adr_target(w, pc));
	if ((w & 0x9f000000) == 0x90000000) /* adrp */
		return found_pcrel(ret, SUT_INSN_OTHER, R_AARCH64_ADR_PREL_PG_HI21, sut_a64_adr_target(w, pc));
	if ((w & 0x3b000000) == 0x18000000) { /* ldr, ldrsw, prfm with a literal */
		if ((w & 0xc4000000) == 0xc4000000)
			return -EILSEQ;
		return found_pcrel(ret, SUT_INSN_OTHER, R_AARCH64_LD_PREL_LO19, pc + offset(w, 19, 5));
	}
	ret->pcrel = signs_with_pc(w);
	return found(ret, SUT_INSN_OTHER, false);
}

int sut_a64_insn_decode(const uint8_t *code, size_t len, uint64_t pc, struct sut_insn *ret)
{
	struct sut_insn insn = { .len = 4 };
	int err;

	if (len < 4)
		return -EILSEQ;
	err = decode(sut_a64_get(code), pc, &insn);
	if (!err)
		*ret = insn;
	return err;
}

static bool signs(uint32_t w)
{
	return w == SUT_A64_PACIASP || w == SUT_A64_PACIBSP;
}

size_t sut_a64_entry_skip(const uint8_t *code, size_t len)
{
	struct sut_insn insn;

	return !sut_a64_insn_decode(code, len, 0, &insn) && insn.landing_pad ? 4 : 0;
}

/*
 * A function that begins with paciasp has signed its return address by the time the site is reached. A new version that
 * begins with the same instruction goes on behind it; any other needs an adapter that takes the signature off.
 */
int sut_a64_entry_join(const uint8_t *old_code, size_t old_len, const uint8_t *new_code, size_t new_len,
		       size_t *ret_off)
{
	uint32_t old, new;

	if (old_len < 4 || new_len < 4)
		return -EILSEQ;
	old = sut_a64_get(old_code);
	new = sut_a64_get(new_code);
	if (signs(old) && old != new)
		return -EOPNOTSUPP;
	*ret_off = signs(old) ? 4 : 0;
	return 0;
}

/*
 * -fpatchable-function-entry=N: N no-ops at the entry, behind bti. Tracers make `mov x9,x30` of the first and let the second
 * swing between nop and bl; with one of them it is that one.
 */
void sut_a64_entry_pad(uint8_t st_other, const uint8_t *code, size_t len, struct sut_pad *ret)
{
	size_t start = len >= 4 && sut_a64_get(code) != SUT_A64_NOP ? sut_a64_entry_skip(code, len) : 0, at = start;
	bool saved;

	*ret = (struct sut_pad){ .kind = SUT_PAD_NONE };
	if (len >= 4 && signs(sut_a64_get(code)))
		return; /* pads stand before what signs */
	saved = at + 8 <= len && sut_a64_get(code + at) == 0xaa1e03e9; /* mov x9,x30 */
	if (saved && (sut_a64_get(code + at + 4) & 0xfc000000) != 0x94000000 && /* bl */
	    sut_a64_get(code + at + 4) != SUT_A64_NOP)
		return;
	at += saved ? 8 : 0;
	while (!saved && at + 4 <= len && sut_a64_get(code + at) == SUT_A64_NOP)
		at += 4;
	if (at == start)
		return;
	*ret = (struct sut_pad){ .kind = SUT_PAD_NOPS, .off = (uint32_t)start, .len = (uint32_t)(at - start) };
	ret->swing = (uint32_t)start + (ret->len >= 8 ? 4 : 0);
}
