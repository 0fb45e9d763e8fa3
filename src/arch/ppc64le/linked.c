/* SPDX-License-Identifier: MIT */
/*
 * linked.c - what a linker made of a relocated ppc64le instruction, and of stubs between functions.
 *
 * The builder proves that an object file is what a binary was linked from. For that it must read relocated
 * fields back. Most places tell 16 bits of an address; sut_linked.mask and round say which. Where the
 * linker knows better it rewrites instructions, each by itself:
 *
 *	addis rX,r2,v@toc@ha		nop, where that is 0; the other part then has r2 as its base
 *	ld rX,.LC@toc@l(rY)		addi rX,rY,v@toc@l: v is what the TOC word .LC holds
 *	addis r2,r12; addi r2,r2	lis r2; addi r2,r2, of a program linked at a low address
 *	pld rX,v@got@pcrel		pla rX,v@pcrel
 *	  and lwz rY,0(rX) behind it	plwz rY,v@pcrel and nop
 *	bl f; nop			bl stub; ld r2,24(r1)
 *	TLS				as in tls.c; initial exec: ld to addis from r13 (or nop), add to addi
 *	addis, ld, mtctr, bctrl, ld r2	nop, nop, nop, bl f, nop (-fno-plt)
 *
 * Bytes in, numbers out; nothing here writes.
 */
#include <elf.h>
#include <errno.h>

#include "arch/ppc64le/ppc64le.h"

#define NO_FIELD(w) ((w)&0xffff0000) /* a D form without its displacement */
#define NO_BASE(w)  ((w)&0xffe00000) /* and without its base */
#define OP_ADDI     14
#define OP_ADDIS    15
#define OP_LD       58
#define BCTRL       0x4e800421u

/** One place in hand: the words on both sides. */
struct place {
	const struct sut_reloc_howto *howto;
	const uint8_t *obj, *bin;
	size_t len, off;
	int64_t addend;
	uint64_t pc; /* of bin[0] */
	uint32_t o, b; /* the words at the place */
};

static uint32_t bin_word(const struct place *p, size_t at)
{
	return at <= p->len && p->len - at >= 4 ? sut_ppc_word(p->bin + at) : 0;
}

static uint32_t obj_word(const struct place *p, size_t at)
{
	return at <= p->len && p->len - at >= 4 ? sut_ppc_word(p->obj + at) : 0;
}

static int found(struct sut_linked *ret, enum sut_reloc_kind kind, uint64_t value, size_t start, size_t end)
{
	*ret = (struct sut_linked){ .kind = kind, .value = value, .start = start, .end = end };
	return 0;
}

/** Nothing is left of it but a no-op. */
static int gone(const struct place *p, struct sut_linked *ret)
{
	return found(ret, SUT_RELOC_NONE, 0, p->off, p->off + 4);
}

/** The field as it stands, counted from where its kind counts. @kind: what the linked bytes say. */
static int field(const struct place *p, const struct sut_reloc_howto *howto, enum sut_reloc_kind kind, bool pcrel,
		 size_t size, struct sut_linked *ret)
{
	struct sut_ppc_part f = sut_ppc_part(howto, p->bin + p->off);
	uint64_t from = pcrel ? p->pc + p->off : 0;
	bool from_got =
		!pcrel && (kind == SUT_RELOC_GOT_REL || kind == SUT_RELOC_GOT_OFF || kind == SUT_RELOC_TOC_ENTRY ||
			   kind == SUT_RELOC_TLS_IE || kind == SUT_RELOC_TLS_GD || kind == SUT_RELOC_TLS_LD);

	if (f.mask)
		(void)found(ret, kind, f.value, p->off, p->off + size);
	else
		(void)found(ret, kind, f.value + from - (uint64_t)p->addend, p->off, p->off + size);
	ret->mask = f.mask;
	ret->round = f.mask ? f.round - from : 0;
	ret->from_got = from_got;
	return 0;
}

/** A no-op in place of the high part: it is 0. */
static int high_is_zero(const struct place *p, enum sut_reloc_kind kind, struct sut_linked *ret)
{
	static const uint8_t zeros[8];
	struct place z = *p;

	z.bin = zeros;
	z.off = 0;
	(void)field(&z, p->howto, kind, false, 4, ret);
	ret->start = p->off;
	ret->end = p->off + 4;
	return 0;
}

static int call(const struct place *p, struct sut_linked *ret)
{
	uint32_t mask = (uint32_t)p->howto->mask;

	if ((p->o ^ p->b) & ~mask)
		return -EILSEQ;
	(void)field(p, p->howto, SUT_RELOC_PLT, true, 4, ret);
	if (p->howto->type == R_PPC64_REL24 && obj_word(p, p->off + 4) == SUT_PPC_NOP &&
	    bin_word(p, p->off + 4) == SUT_PPC_LD_TOC)
		ret->end += 4;
	return 0;
}

/** From the TOC pointer: the symbol (TOC16) or its slot (GOT16, PLT16). */
static int toc(const struct place *p, struct sut_linked *ret)
{
	uint32_t type = p->howto->type;
	bool plt = type == R_PPC64_PLT16_HA || type == R_PPC64_PLT16_LO_DS;

	if (p->howto->mask || SUT_PPC_OP(p->o) == OP_LD) { /* DS forms */
		if (SUT_PPC_OP(p->o) == OP_LD && SUT_PPC_OP(p->b) == OP_ADDI && SUT_PPC_RT(p->o) == SUT_PPC_RT(p->b) &&
		    (SUT_PPC_RA(p->o) == SUT_PPC_RA(p->b) || SUT_PPC_RA(p->b) == 2)) {
			/* addi has all 16 bits: the entry is gone */
			uint32_t low = type == R_PPC64_TOC16_DS ? R_PPC64_TOC16 : R_PPC64_TOC16_LO;

			return field(p, sut_ppc_reloc_howto(low), SUT_RELOC_TOC_ENTRY, false, 4, ret);
		}
		if (((p->o ^ p->b) & 3))
			return -EILSEQ;
	}
	if (NO_FIELD(p->o) == NO_FIELD(p->b))
		return field(p, p->howto, p->howto->kind, false, 4, ret);
	if (p->b == SUT_PPC_NOP && plt)
		return gone(p, ret);
	if (p->b == SUT_PPC_NOP && SUT_PPC_OP(p->o) == OP_ADDIS)
		return high_is_zero(p, p->howto->kind, ret);
	if (NO_BASE(p->o) == NO_BASE(p->b) && SUT_PPC_RA(p->b) == 2)
		return field(p, p->howto, p->howto->kind, false, 4, ret);
	return -EILSEQ;
}

/** The two words at a global entry, made absolute: lis r2; addi r2,r2. */
static int entry(const struct place *p, struct sut_linked *ret)
{
	bool high = p->howto->type == R_PPC64_REL16_HA && NO_FIELD(p->o) == 0x3c4c0000; /* addis r2,r12,0 */
	uint32_t before = p->off >= 4 ? bin_word(p, p->off - 4) : 0;
	bool low = p->howto->type == R_PPC64_REL16_LO && NO_FIELD(p->o) == 0x38420000 &&
		   p->off >= 4 && /* addi r2,r2,0 */
		   NO_FIELD(obj_word(p, p->off - 4)) == 0x3c4c0000 && NO_FIELD(before) == 0x3c400000; /* lis r2 */

	if ((high && NO_FIELD(p->b) == 0x3c400000) || (low && p->o >> 16 == p->b >> 16)) {
		struct place abs = *p;

		abs.addend = 0; /* it says how far the place is from the function's start */
		(void)field(&abs, p->howto, SUT_RELOC_ABS, false, 4, ret);
		/* value + addend is what the other form has: take the addend out again. */
		ret->round -= (uint64_t)p->addend;
		return 0;
	}
	if (NO_FIELD(p->o) != NO_FIELD(p->b))
		return -EILSEQ;
	return field(p, p->howto, SUT_RELOC_PCREL, true, 4, ret);
}

/** The prefixed form of a D-form load or store @w, as a suffix; 0: none. *ret_8ls: whether its prefix is of type 0. */
static uint32_t prefixed_form(uint32_t w, bool *ret_8ls)
{
	uint32_t op = SUT_PPC_OP(w);

	*ret_8ls = true;
	switch (op) {
	case 14: /* addi */
	case 32: /* lwz */
	case 34: /* lbz */
	case 36: /* stw */
	case 38: /* stb */
	case 40: /* lhz */
	case 42: /* lha */
	case 44: /* sth */
	case 48: /* lfs */
	case 50: /* lfd */
	case 52: /* stfs */
	case 54: /* stfd */
		*ret_8ls = false;
		return op;
	case 58: /* ld, lwa */
		return (w & 3) == 0 ? 57 : (w & 3) == 2 ? 41 : 0;
	case 62: /* std, stq */
		return (w & 3) == 0 ? 61 : (w & 3) == 2 ? 60 : 0;
	case 57: /* lxsd, lxssp */
		return (w & 3) == 2 ? 42 : (w & 3) == 3 ? 43 : 0;
	case 61: /* lxv, stxv (the sixth register bit is in the opcode), stxsd, stxssp */
		if ((w & 7) == 1)
			return 50 | (w >> 3 & 1);
		if ((w & 7) == 5)
			return 54 | (w >> 3 & 1);
		return (w & 3) == 2 ? 46 : (w & 3) == 3 ? 47 : 0;
	default:
		return 0;
	}
}

/** The displacement of a D, DS or DQ form. */
static int64_t displacement(uint32_t w)
{
	uint32_t op = SUT_PPC_OP(w), low = op == 56 || (op == 61 && (w & 3) == 1) ? 15 : op >= 57 ? 3 : 0;

	return sut_ppc_sext(w & 0xffff & ~low, 16);
}

/** pld rX,v@got@pcrel became the access itself: plwz rY,v@pcrel, and a no-op where lwz rY,d(rX) stood. */
static int fused(const struct place *p, struct sut_linked *ret)
{
	uint32_t prefix = p->b, suffix = bin_word(p, p->off + 4);

	for (size_t at = p->off + 8; at + 4 <= p->len && at < p->off + 8 + 4096; at += 4) {
		uint32_t w = obj_word(p, at);
		bool ls;

		if (bin_word(p, at) != SUT_PPC_NOP || w == SUT_PPC_NOP ||
		    SUT_PPC_RA(w) != SUT_PPC_RT(obj_word(p, p->off + 4)) ||
		    prefixed_form(w, &ls) != SUT_PPC_OP(suffix) || SUT_PPC_RT(w) != SUT_PPC_RT(suffix) ||
		    (prefix & 0xfffc0000) != (ls ? 0x04100000u : 0x06100000u) || SUT_PPC_RA(suffix))
			continue;
		(void)field(p, p->howto, SUT_RELOC_PCREL, true, 8, ret);
		ret->value -= (uint64_t)displacement(w);
		return 0;
	}
	return -EILSEQ;
}

/** 34 bits in two words. */
static int prefixed(const struct place *p, struct sut_linked *ret)
{
	uint32_t o2 = obj_word(p, p->off + 4), b2 = bin_word(p, p->off + 4);
	bool same2 = NO_FIELD(o2) == NO_FIELD(b2);

	if (p->len - p->off < 8)
		return -EILSEQ;
	if (((p->o ^ p->b) & 0xfffc0000) == 0 && same2)
		return field(p, p->howto, p->howto->kind, p->howto->pcrel, 8, ret);
	if (p->howto->kind == SUT_RELOC_GOT_LOAD) {
		/* pld: 8LS, suffix opcode 57; pla: MLS, 14 */
		if ((p->b & 0xfffc0000) == 0x06100000 && SUT_PPC_OP(o2) == 57 && SUT_PPC_OP(b2) == OP_ADDI &&
		    SUT_PPC_RT(o2) == SUT_PPC_RT(b2) && !SUT_PPC_RA(b2))
			return field(p, p->howto, SUT_RELOC_PCREL, true, 8, ret);
		return fused(p, ret);
	}
	/* pla r3,x@got@tlsgd@pcrel or pld rX,x@got@tprel@pcrel: paddi rX,r13,x@tprel */
	if (sut_ppc_is_tls(p->howto->kind) && (p->b & 0xfffc0000) == 0x06000000 && SUT_PPC_OP(b2) == OP_ADDI &&
	    SUT_PPC_RT(o2) == SUT_PPC_RT(b2) && SUT_PPC_RA(b2) == 13)
		return field(p, p->howto, SUT_RELOC_TLS_LE, false, 8, ret);
	/* pla r3,x@got@tlsgd@pcrel: pld r3,x@got@tprel@pcrel */
	if (p->howto->kind == SUT_RELOC_TLS_GD && (p->b & 0xfffc0000) == 0x04100000 && SUT_PPC_OP(b2) == 57 &&
	    SUT_PPC_RT(b2) == 3)
		return field(p, p->howto, SUT_RELOC_TLS_IE, true, 8, ret);
	/* pld r12,f@plt@pcrel of a call that became direct: pnop */
	if (p->howto->kind == SUT_RELOC_GOT && p->b == SUT_PPC_PNOP && !b2)
		return found(ret, SUT_RELOC_NONE, 0, p->off, p->off + 8);
	return -EILSEQ;
}

/** Offsets from the thread pointer or in the block, in 16 bits: as they stand, or without a high part. */
static int tls_offset(const struct place *p, struct sut_linked *ret)
{
	if (NO_FIELD(p->o) == NO_FIELD(p->b) && (!p->howto->mask || !((p->o ^ p->b) & 3)))
		return field(p, p->howto, p->howto->kind, false, 4, ret);
	if (p->b == SUT_PPC_NOP && SUT_PPC_OP(p->o) == OP_ADDIS)
		return high_is_zero(p, p->howto->kind, ret);
	if (p->howto->kind == SUT_RELOC_TLS_LE && NO_BASE(p->o) == NO_BASE(p->b) && SUT_PPC_RA(p->b) == 13)
		return field(p, p->howto, SUT_RELOC_TLS_LE, false, 4, ret);
	return -EILSEQ;
}

/** addis, addi and ld that get at a GOT slot of a thread-local variable. */
static int tls_slot(const struct place *p, struct sut_linked *ret)
{
	const struct sut_reloc_howto *tprel_ha = sut_ppc_reloc_howto(R_PPC64_TPREL16_HA);

	if (NO_FIELD(p->o) == NO_FIELD(p->b) && (!p->howto->mask || !((p->o ^ p->b) & 3)))
		return field(p, p->howto, p->howto->kind, false, 4, ret);
	if (p->b == SUT_PPC_NOP) /* the variable's offset comes from elsewhere, or the slot's high part is 0 */
		return gone(p, ret);
	/* addi r3,rX or ld rX,slot(rY): addis rX,r13,x@tprel@ha */
	if (SUT_PPC_OP(p->b) == OP_ADDIS && SUT_PPC_RA(p->b) == 13 && SUT_PPC_RT(p->b) == SUT_PPC_RT(p->o))
		return field(p, tprel_ha, SUT_RELOC_TLS_LE, false, 4, ret);
	/* addi r3,rX: ld r3,slot(rX) of initial exec */
	if (p->howto->kind == SUT_RELOC_TLS_GD && SUT_PPC_OP(p->b) == OP_LD && SUT_PPC_RT(p->b) == 3)
		return field(p, sut_ppc_reloc_howto(R_PPC64_GOT_TPREL16_LO_DS), SUT_RELOC_TLS_IE, false, 4, ret);
	/* Low parts whose base is the TOC pointer itself. */
	if (NO_BASE(p->o) == NO_BASE(p->b) && SUT_PPC_RA(p->b) == 2)
		return field(p, p->howto, p->howto->kind, false, 4, ret);
	return -EILSEQ;
}

/** The mark on `add rX,rX,r13` of initial exec: kept, or the low part added. Its place may be one byte in (pc-relative code). */
static int tls_add(const struct place *p, struct sut_linked *ret)
{
	struct place at = *p;

	at.off &= ~3ull;
	at.o = obj_word(p, at.off);
	at.b = bin_word(p, at.off);
	if (at.o == at.b || at.b == SUT_PPC_NOP)
		return found(ret, SUT_RELOC_NONE, 0, at.off, at.off + 4);
	/* After paddi nothing is left to add: lwzx became lwz with a displacement of 0. */
	if (at.off != p->off && SUT_PPC_OP(at.o) == 31 && SUT_PPC_RT(at.o) == SUT_PPC_RT(at.b) && !(at.b & 0xfffc))
		return found(ret, SUT_RELOC_NONE, 0, at.off, at.off + 4);
	if (SUT_PPC_OP(at.o) == 31 && SUT_PPC_RT(at.o) == SUT_PPC_RT(at.b) && SUT_PPC_OP(at.b) != 31)
		return field(&at, sut_ppc_reloc_howto(R_PPC64_TPREL16_LO), SUT_RELOC_TLS_LE, false, 4, ret);
	return -EILSEQ;
}

/** A mark on a call of __tls_get_addr, or on a part of one: kept, gone, or the low part added. */
static int tls_call(const struct place *p, struct sut_linked *ret)
{
	bool restored = bin_word(p, p->off + 4) == SUT_PPC_NOP && obj_word(p, p->off + 4) == SUT_PPC_LD_TOC;

	if (SUT_PPC_OP(p->b) == SUT_PPC_OP(p->o) && p->b != SUT_PPC_PNOP)
		return found(ret, SUT_RELOC_NONE, 0, p->off, p->off); /* the next relocation tells */
	if (p->b == SUT_PPC_NOP || p->b == SUT_PPC_PNOP || p->b == 0x7c636a14) /* add r3,r3,r13: initial exec */
		(void)found(ret, SUT_RELOC_NONE, 0, p->off, p->off + 4);
	else if (NO_FIELD(p->b) == 0x38630000 || NO_FIELD(p->b) == 0x386d0000) /* addi r3,r3,x; addi r3,r13,x */
		(void)field(p, sut_ppc_reloc_howto(R_PPC64_TPREL16_LO), SUT_RELOC_TLS_LE, false, 4, ret);
	else
		return -EILSEQ;
	ret->end += SUT_PPC_OP(p->o) == 1 || restored ? 4 : 0; /* pld; bctrl and ld r2,24(r1) */
	ret->skip = 1;
	return 0;
}

/** bctrl of an inline PLT call: kept, or a direct call. */
static int plt_call(const struct place *p, struct sut_linked *ret)
{
	const struct sut_reloc_howto *rel24 = sut_ppc_reloc_howto(R_PPC64_REL24);

	if (p->o == p->b)
		return found(ret, SUT_RELOC_NONE, 0, p->off, p->off + 4);
	if (p->o != BCTRL || (p->b & 0xfc000003) != SUT_PPC_BL)
		return -EILSEQ;
	(void)field(p, rel24, SUT_RELOC_PLT, true, 4, ret);
	if (obj_word(p, p->off + 4) == SUT_PPC_LD_TOC && bin_word(p, p->off + 4) == SUT_PPC_NOP)
		ret->end += 4;
	return 0;
}

/**
 * The large model's global entry: ld r2,-8(r12); add r2,r2,r12, with .TOC. counted from the function in the word before it.
 * Where 32 bits reach: addis r2,r12; addi r2,r2 (or lis r2).
 */
static int far_entry(const struct place *p, struct sut_linked *ret)
{
	uint32_t b2 = bin_word(p, p->off + 4);
	uint64_t toc = (uint64_t)((sut_ppc_sext(p->b & 0xffff, 16) << 16) + sut_ppc_sext(b2 & 0xffff, 16));

	if (p->b == p->o && b2 == obj_word(p, p->off + 4))
		return found(ret, SUT_RELOC_NONE, 0, p->off, p->off);
	if (NO_FIELD(b2) != 0x38420000) /* addi r2,r2,x */
		return -EILSEQ;
	if (NO_FIELD(p->b) == 0x3c4c0000) /* addis r2,r12,x */
		toc += p->pc + p->off;
	else if (NO_FIELD(p->b) != 0x3c400000) /* lis r2,x */
		return -EILSEQ;
	return found(ret, SUT_RELOC_GOT_ADDR, toc, p->off, p->off + 8);
}

static int mark(const struct place *p, struct sut_linked *ret)
{
	size_t second = p->off + (size_t)p->addend;

	switch (p->howto->type) {
	case R_PPC64_ENTRY:
		return far_entry(p, ret);
	case R_PPC64_TLS:
		return tls_add(p, ret);
	case R_PPC64_PLTCALL:
	case R_PPC64_PLTCALL_NOTOC:
		return plt_call(p, ret);
	case R_PPC64_PLTSEQ: /* mtctr r12; std r2,24(r1) */
	case R_PPC64_PLTSEQ_NOTOC:
		return p->b == p->o || p->b == SUT_PPC_NOP ? gone(p, ret) : -EILSEQ;
	case R_PPC64_PCREL_OPT: /* the access that a GOT load was joined with: fused() */
		if (bin_word(p, second) == SUT_PPC_NOP && obj_word(p, second))
			return found(ret, SUT_RELOC_NONE, 0, second, second + 4);
		return found(ret, SUT_RELOC_NONE, 0, p->off, p->off);
	default:
		return found(ret, SUT_RELOC_NONE, 0, p->off, p->off);
	}
}

int sut_ppc_linked_field(const struct sut_reloc_howto *howto, const uint8_t *obj, const uint8_t *bin, size_t len,
			 size_t off, int64_t addend, uint64_t pc, struct sut_linked *ret)
{
	struct place p = { .obj = obj, .bin = bin, .len = len, .off = off, .addend = addend, .pc = pc };

	if (off > len || howto->size > len - off)
		return -EILSEQ;
	p.howto = sut_ppc_reloc_howto_at(howto, obj + off, len - off);
	p.o = obj_word(&p, off);
	p.b = bin_word(&p, off);
	if (howto->kind == SUT_RELOC_TLS_GD_CALL || howto->kind == SUT_RELOC_TLS_LD_CALL)
		return tls_call(&p, ret);
	if (!howto->size)
		return mark(&p, ret);
	if (howto->size == 8 && howto->mask)
		return prefixed(&p, ret);
	if (howto->kind == SUT_RELOC_PLT)
		return call(&p, ret);
	if (howto->size != 2)
		return (p.o ^ p.b) & ~(uint32_t)howto->mask && howto->mask
			       ? -EILSEQ
			       : field(&p, howto, howto->kind, howto->pcrel, howto->size, ret);
	if (howto->kind == SUT_RELOC_ABS) /* data, or a half of an instruction: all else is compared by the caller */
		return (p.o ^ p.b) & 0xffff & (howto->mask ? ~(uint32_t)p.howto->mask : 0)
			       ? -EILSEQ
			       : field(&p, p.howto, howto->kind, false, 2, ret);
	if (len - off < 4)
		return -EILSEQ;
	switch (howto->kind) {
	case SUT_RELOC_GOT_REL:
	case SUT_RELOC_GOT_OFF:
		return toc(&p, ret);
	case SUT_RELOC_PCREL:
		return entry(&p, ret);
	case SUT_RELOC_TLS_LE:
	case SUT_RELOC_TLS_DTPOFF:
		return tls_offset(&p, ret);
	case SUT_RELOC_TLS_GD:
	case SUT_RELOC_TLS_LD:
	case SUT_RELOC_TLS_IE:
		return tls_slot(&p, ret);
	default:
		return -EOPNOTSUPP;
	}
}

/*
 * Stubs between functions, as GNU ld and lld write them:
 *	[std r2,24(r1)] addis r12,r2,s@toc@ha; ld r12,s@toc@l(r12); mtctr r12; bctr	a PLT slot
 *	[std r2,24(r1)] ld r12,s@toc(r2); mtctr r12; bctr				the same, near the TOC pointer
 *	[std r2,24(r1)] pld r12,s@pcrel; mtctr r12; bctr				ISA 3.1
 *	std r2,24(r1); b f								callee without a TOC pointer
 *	pla r12,f@pcrel; mtctr r12; bctr (or b f)
 */
bool sut_ppc_stub_decode(const uint8_t *code, size_t len, uint64_t pc, struct sut_stub *ret)
{
	struct sut_stub s = { .slot = true };
	uint32_t w[6] = { 0 };
	unsigned n = 0;
	int64_t d;

	for (size_t i = 0; i < 6 && 4 * i + 4 <= len; i++)
		w[i] = sut_ppc_word(code + 4 * i);
	if (w[0] == SUT_PPC_STD_TOC) {
		s.saves_toc = true;
		n = 1;
	}
	if (s.saves_toc && sut_ppc_jump_decode(code + 4, pc + 4, &s.target) && len >= 8) { /* b f */
		s.slot = false;
		s.size = 8;
		*ret = s;
		return true;
	}
	if (NO_FIELD(w[n]) == 0x3d820000 && (w[n + 1] & 0xffff0003) == 0xe98c0000) { /* addis r12,r2; ld r12,(r12) */
		d = (sut_ppc_sext(w[n] & 0xffff, 16) << 16) + sut_ppc_sext(w[n + 1] & 0xfffc, 16);
		s.target = (uint64_t)d;
		s.from_got = true;
		n += 2;
	} else if ((w[n] & 0xffff0003) == 0xe9820000) { /* ld r12,(r2) */
		s.target = (uint64_t)sut_ppc_sext(w[n] & 0xfffc, 16);
		s.from_got = true;
		n++;
	} else if ((w[n] & 0xfffc0000) == 0x04100000 && NO_FIELD(w[n + 1]) == 0xe5800000) { /* pld r12,s@pcrel */
		d = sut_ppc_sext((uint64_t)(w[n] & 0x3ffff) << 16 | (w[n + 1] & 0xffff), 34);
		s.target = pc + 4 * n + (uint64_t)d;
		n += 2;
	} else if ((w[n] & 0xfffc0000) == 0x06100000 && NO_FIELD(w[n + 1]) == 0x39800000) { /* pla r12,f@pcrel */
		d = sut_ppc_sext((uint64_t)(w[n] & 0x3ffff) << 16 | (w[n + 1] & 0xffff), 34);
		s.target = pc + 4 * n + (uint64_t)d;
		s.slot = false;
		n += 2;
	} else {
		return false;
	}
	if (w[n] == SUT_PPC_MTCTR_12 && w[n + 1] == SUT_PPC_BCTR)
		n += 2;
	else if (!s.slot && (w[n] & 0xfc000003) == SUT_PPC_B)
		n++;
	else
		return false;
	s.size = 4 * n;
	if (s.size > len)
		return false;
	*ret = s;
	return true;
}

bool sut_ppc_same_branch(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	uint32_t x, y;

	if (a_len != 4 || b_len != 4)
		return false;
	x = sut_ppc_word(a);
	y = sut_ppc_word(b);
	if (SUT_PPC_OP(x) == 18)
		return ((x ^ y) & 0xfc000003) == 0;
	return SUT_PPC_OP(x) == 16 && ((x ^ y) & 0xffff0003) == 0;
}
