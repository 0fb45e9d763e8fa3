/* SPDX-License-Identifier: MIT */
/*
 * insn.c - one instruction: what kind it is, how long, and what it says about its own address.
 *
 * Words are four bytes, and eight where the first is a prefix (primary opcode 1, ISA 3.1). Only
 * what says something about control flow or its own address is told apart; all other words are
 * SUT_INSN_OTHER, also those that no processor knows (there are new ones with every edition). -EILSEQ is
 * kept for what can not be stepped over: cut off, at an address that is no multiple of 4, or a
 * prefixed instruction across a 64-byte boundary, which no processor runs.
 *
 * Invariant: an instruction whose meaning depends on its address has pcrel set. No field is plain.
 */
#include <elf.h>
#include <errno.h>

#include "arch/ppc64le/ppc64le.h"

#define OP_TDI  2
#define OP_TWI  3
#define OP_BC   16
#define OP_SC   17
#define OP_B    18
#define OP_XL   19
#define OP_ORI  24
#define OP_XORI 26
#define OP_X    31

#define XO_BCLR     16 /* of OP_XL */
#define XO_RFID     18
#define XO_RFSCV    82
#define XO_RFEBB    146
#define XO_HRFID    274
#define XO_BCCTR    528
#define XO_BCTAR    560
#define XO5_ADDPCIS 2 /* DX form: five bits */
#define XO_TW       4 /* of OP_X */
#define XO_TD       68
#define XO_OR       444

#define TO_ALWAYS 31

uint32_t sut_ppc_word(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

void sut_ppc_put_word(uint8_t *p, uint32_t w)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(w >> (8 * i));
}

int64_t sut_ppc_sext(uint64_t v, unsigned bits)
{
	return (int64_t)(v << (64 - bits)) >> (64 - bits);
}

bool sut_ppc_bo_always(uint32_t bo)
{
	return (bo & 0x14) == 0x14; /* 1z1zz: neither the condition nor CTR is looked at */
}

/* b, bl, ba, bla. */
static void decode_b(uint32_t w, uint64_t pc, struct sut_insn *in)
{
	in->kind = w & SUT_PPC_LK ? SUT_INSN_CALL : SUT_INSN_JUMP;
	in->ends = !(w & SUT_PPC_LK);
	in->pcrel = !(w & SUT_PPC_AA);
	in->target = (uint64_t)sut_ppc_sext(w & 0x03fffffc, 26) + (in->pcrel ? pc : 0);
	if (in->pcrel)
		in->pcrel_reloc = R_PPC64_REL24;
}

/* bc and its kin. With the link bit it is a call, also when conditional: control may come back. */
static void decode_bc(uint32_t w, uint64_t pc, struct sut_insn *in)
{
	bool always = sut_ppc_bo_always(SUT_PPC_RT(w));

	if (w & SUT_PPC_LK)
		in->kind = SUT_INSN_CALL;
	else
		in->kind = always ? SUT_INSN_JUMP : SUT_INSN_BRANCH;
	in->ends = in->kind == SUT_INSN_JUMP;
	in->pcrel = !(w & SUT_PPC_AA);
	in->target = (uint64_t)sut_ppc_sext(w & 0xfffc, 16) + (in->pcrel ? pc : 0);
	if (in->pcrel)
		in->pcrel_reloc = R_PPC64_REL14;
}

/* Opcode 19: branches to registers, addpcis, returns from interrupts. */
static void decode_xl(uint32_t w, uint64_t pc, struct sut_insn *in)
{
	bool always = sut_ppc_bo_always(SUT_PPC_RT(w)), link = w & SUT_PPC_LK;

	if ((w >> 1 & 31) == XO5_ADDPCIS) {
		/* d0 || d1 || d2: bits 6..15, 16..20, 0 */
		uint64_t d = (w & 0xffc0) | (w >> 16 & 31) << 1 | (w & 1);

		in->pcrel = true;
		in->pcrel_reloc = R_PPC64_REL16DX_HA;
		in->target = pc + 4 + ((uint64_t)sut_ppc_sext(d, 16) << 16);
		return;
	}
	switch (SUT_PPC_XO10(w)) {
	case XO_BCLR:
		in->kind = link ? SUT_INSN_INDIRECT : SUT_INSN_RETURN;
		in->ends = always && !link;
		break;
	case XO_BCCTR:
	case XO_BCTAR:
		in->kind = SUT_INSN_INDIRECT;
		in->ends = always && !link;
		break;
	case XO_RFEBB:
	case XO_RFID:
	case XO_RFSCV:
	case XO_HRFID:
		in->kind = SUT_INSN_RETURN;
		in->ends = true;
		break;
	default:
		break;
	}
}

static void decode_x(uint32_t w, struct sut_insn *in)
{
	unsigned xo = SUT_PPC_XO10(w);

	if ((xo == XO_TW || xo == XO_TD) && !(w & 1)) {
		in->kind = SUT_INSN_TRAP;
		in->ends = SUT_PPC_RT(w) == TO_ALWAYS;
	} else if (xo == XO_OR && !(w & 1) && SUT_PPC_RT(w) == SUT_PPC_RA(w) && SUT_PPC_RT(w) == SUT_PPC_RB(w)) {
		in->kind = SUT_INSN_NOP; /* or rX,rX,rX: also sets the thread's priority */
	}
}

static void decode_word(uint32_t w, uint64_t pc, struct sut_insn *in)
{
	switch (SUT_PPC_OP(w)) {
	case 0:
		if (!w || (w & 0x7ff) == 0x200) { /* an illegal instruction for ever; attn */
			in->kind = SUT_INSN_TRAP;
			in->ends = !w;
		}
		break;
	case OP_TDI:
	case OP_TWI:
		in->kind = SUT_INSN_TRAP;
		in->ends = SUT_PPC_RT(w) == TO_ALWAYS;
		break;
	case OP_BC:
		decode_bc(w, pc, in);
		break;
	case OP_SC:
		if ((w & 3) == 2 || (w & 3) == 1) /* sc, scv */
			in->kind = SUT_INSN_SYSCALL;
		break;
	case OP_B:
		decode_b(w, pc, in);
		break;
	case OP_XL:
		decode_xl(w, pc, in);
		break;
	case OP_ORI:
	case OP_XORI:
		if (SUT_PPC_RT(w) == SUT_PPC_RA(w) && !(w & 0xffff))
			in->kind = SUT_INSN_NOP;
		break;
	case OP_X:
		decode_x(w, in);
		break;
	default:
		break;
	}
}

/* A prefix and its suffix. Types 0 (8LS) and 2 (MLS) have an R bit: their 34-bit displacement counts from the prefix. */
static void decode_prefixed(uint32_t prefix, uint32_t suffix, uint64_t pc, struct sut_insn *in)
{
	unsigned type = prefix >> 24 & 3;
	uint64_t d = (uint64_t)(prefix & 0x3ffff) << 16 | (suffix & 0xffff);

	in->len = 8;
	if ((prefix & 0xfff00000) == 0x07000000) { /* pnop */
		in->kind = SUT_INSN_NOP;
		return;
	}
	if ((type != 0 && type != 2) || !(prefix & SUT_PPC_PREFIX_R))
		return;
	in->pcrel = true;
	in->pcrel_reloc = R_PPC64_PCREL34;
	in->target = pc + (uint64_t)sut_ppc_sext(d, 34);
}

int sut_ppc_insn_decode(const uint8_t *code, size_t len, uint64_t pc, struct sut_insn *ret)
{
	struct sut_insn in = { .kind = SUT_INSN_OTHER, .len = 4 };
	uint32_t w;

	if (len < 4 || (pc & 3))
		return -EILSEQ;
	w = sut_ppc_word(code);
	if (SUT_PPC_OP(w) == 1) {
		if (len < 8 || (pc & 63) == 60)
			return -EILSEQ;
		decode_prefixed(w, sut_ppc_word(code + 4), pc, &in);
	} else {
		decode_word(w, pc, &in);
	}
	*ret = in;
	return 0;
}

/* -- entries ---------------------------------------------------------------------------------- */

/*
 * The global entry's two instructions, which derive the TOC pointer from r12, the function's own address:
 *	addis r2,r12,.TOC.-f@ha		lis r2,.TOC.@ha (linked at a fixed address)
 *	addi r2,r2,.TOC.-f@l		addi r2,r2,.TOC.@l
 * or, in the large model, from a word before the function: ld r2,x(r12); add r2,r2,r12.
 */
static bool toc_setup(const uint8_t *code, size_t len)
{
	uint32_t a, b;

	if (len < 8)
		return false;
	a = sut_ppc_word(code);
	b = sut_ppc_word(code + 4);
	if ((a & 0xffff0000) == 0x3c4c0000 || (a & 0xffff0000) == 0x3c400000) /* addis r2,r12,x; lis r2,x */
		return (b & 0xffff0000) == 0x38420000; /* addi r2,r2,x */
	return (a & 0xffff0003) == 0xe84c0000 && b == 0x7c426214; /* ld r2,x(r12); add r2,r2,r12 */
}

size_t sut_ppc_entry_skip(const uint8_t *code, size_t len)
{
	return toc_setup(code, len) ? 8 : 0;
}

int sut_ppc_local_entry(uint8_t st_other, size_t *ret)
{
	unsigned local = SUT_PPC_LOCAL(st_other);

	if (local == 7)
		return -EILSEQ;
	*ret = local < 2 ? 0 : (size_t)1 << local; /* 2: 4 bytes, 3: 8, ... 6: 64 */
	return 0;
}

/*
 * Global callers fall through into the local entry, so a site there is passed by all. If the symbol claims one
 * entry only (or there is no symbol) but the code derives a TOC pointer, all callers pass what follows that.
 */
int sut_ppc_entry_offset(uint8_t st_other, const uint8_t *code, size_t len, size_t *ret)
{
	size_t local = 0;
	int err = sut_ppc_local_entry(st_other, &local);

	if (err)
		return err;
	if (!local)
		local = sut_ppc_entry_skip(code, len);
	if (local && len < local)
		return -EILSEQ;
	*ret = local;
	return 0;
}

static size_t count_nops(const uint8_t *code, size_t len)
{
	size_t n = 0;

	while (len - n >= 4 && sut_ppc_word(code + n) == SUT_PPC_NOP)
		n += 4;
	return n;
}

/*
 * Three kinds. -pg -mprofile-kernel: mflr r0; bl _mcount at the local entry (a no-op in place of the bl when
 * it is off). -fpatchable-function-entry where there is one entry only: no-ops there. The same with two entries: gcc
 * puts the no-ops at the global entry, before the TOC pointer is derived, and local calls skip them.
 */
void sut_ppc_entry_pad(uint8_t st_other, const uint8_t *code, size_t len, struct sut_pad *ret)
{
	size_t local = 0, nops = count_nops(code, len);
	uint32_t w;

	*ret = (struct sut_pad){ .kind = SUT_PAD_NONE };
	if (nops && (SUT_PPC_LOCAL(st_other) >= 2 || toc_setup(code + nops, len - nops))) {
		*ret = (struct sut_pad){ SUT_PAD_SKIPPED, 0, (uint32_t)nops, 0 };
		return;
	}
	if (sut_ppc_entry_offset(st_other, code, len, &local) || local > len)
		return;
	if (len - local >= 8 && sut_ppc_word(code + local) == SUT_PPC_MFLR_0) {
		w = sut_ppc_word(code + local + 4);
		if ((w & 0xfc000003) == SUT_PPC_BL || w == SUT_PPC_NOP)
			*ret = (struct sut_pad){ SUT_PAD_MCOUNT, (uint32_t)local, 8, (uint32_t)local + 4 };
		return;
	}
	nops = count_nops(code + local, len - local);
	if (nops)
		*ret = (struct sut_pad){ SUT_PAD_NOPS, (uint32_t)local, (uint32_t)nops, (uint32_t)local };
}
