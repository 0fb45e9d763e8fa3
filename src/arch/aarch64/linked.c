/* SPDX-License-Identifier: MIT */
/*
 * linked.c - what a linker made of a relocated arm64 instruction, and the stubs that it puts between.
 *
 * The builder proves that an object file is what a binary was linked from. For that it must read relocated fields
 * back. An address mostly takes two instructions, of which each tells a part (sut_linked.mask). What linkers
 * rewrite beyond the field:
 *
 *	bl foo, b foo				nop, where foo is weak and undefined
 *	adrp xN,foo				adr xN,foo's page (the workaround for erratum 843419)
 *	adrp xN,foo; add xN,xN,:lo12:foo	nop; adr xN,foo
 *	adrp xN,:got:foo; ldr xN,[xN,...]	adrp xN,foo; add xN,xN,:lo12:foo  or  nop; adr xN,foo
 *	adrp xN,:gottprel:x; ldr xN,[xN,...]	movz xN,#g1,lsl #16; movk xN,#g0
 *	descriptor: adrp, ldr, add, blr		movz x0; movk x0; nop; nop  or  adrp x0; ldr x0; nop; nop (initial exec)
 *	general dynamic: adrp, add, bl, nop	movz x0; movk x0 or adrp x0; ldr x0; then mrs x1,tpidr_el0; add x0,x1,x0
 *
 * Bytes in, numbers out; nothing here writes.
 */
#include <elf.h>
#include <errno.h>

#include "arch/aarch64/aarch64.h"

#define MRS_X1_TPIDR 0xd53bd041u /* mrs x1,tpidr_el0 */
#define ADD_X0_X1_X0 0x8b000020u /* add x0,x1,x0 */
#define BR_X16       0xd61f0200u /* br x16 */
#define BR_X17       0xd61f0220u /* br x17 */
#define AUTIA1716    0xd503219fu /* autia1716 */

/** One place in hand: the words on both sides. */
struct place {
	const struct sut_reloc_howto *howto;
	const uint8_t *obj, *bin;
	size_t len, off;
	int64_t addend;
	uint64_t pc; /* of bin[0] */
};

/* The word @n words after the place; 0 (udf) behind the end. */
static uint32_t obj_word(const struct place *p, unsigned n)
{
	return p->off + 4 * n + 4 <= p->len ? sut_a64_get(p->obj + p->off + 4 * n) : 0;
}

static uint32_t bin_word(const struct place *p, unsigned n)
{
	return p->off + 4 * n + 4 <= p->len ? sut_a64_get(p->bin + p->off + 4 * n) : 0;
}

static uint64_t here(const struct place *p)
{
	return p->pc + p->off;
}

static int found(const struct place *p, struct sut_linked *ret, enum sut_reloc_kind kind, uint64_t value, uint64_t mask)
{
	*ret = (struct sut_linked){ .kind = kind, .value = value, .start = p->off, .end = p->off + 4, .mask = mask };
	if (mask == ~0ull) {
		ret->mask = 0;
		ret->value -= (uint64_t)p->addend;
	}
	return 0;
}

static int found_nothing(const struct place *p, struct sut_linked *ret)
{
	*ret = (struct sut_linked){ .kind = SUT_RELOC_NONE, .start = p->off, .end = p->off + 4 };
	return 0;
}

/* The field as it stands, of @kind; all bits around it must be the object's. */
static int plain(const struct place *p, enum sut_reloc_kind kind, struct sut_linked *ret)
{
	uint64_t mask, value;

	if (!sut_a64_same_but_field(p->howto, p->obj + p->off, p->bin + p->off))
		return -EILSEQ;
	if (sut_a64_read_field(p->howto, p->bin + p->off, here(p), &mask, &value))
		return -EOPNOTSUPP;
	(void)found(p, ret, kind, value, mask);
	ret->end = p->off + p->howto->size;
	return 0;
}

static bool is_adr(uint32_t w, unsigned reg)
{
	return (w & 0x9f00001f) == (0x10000000 | reg);
}

static bool is_adrp(uint32_t w, unsigned reg)
{
	return (w & 0x9f00001f) == (0x90000000 | reg);
}

static bool is_add(uint32_t w, unsigned reg) /* add xN,xN,#imm */
{
	return (w & 0xffc003ff) == (0x91000000 | reg << 5 | reg);
}

static bool is_ldr(uint32_t w, unsigned reg, unsigned base) /* ldr xN,[xB,#imm] */
{
	return (w & 0xffc003ff) == (0xf9400000 | base << 5 | reg);
}

static bool is_movz_g1(uint32_t w, unsigned reg)
{
	return (w & 0xffe0001f) == (0xd2a00000 | reg); /* movz xN,#imm,lsl #16 */
}

static bool is_movk_g0(uint32_t w, unsigned reg)
{
	return (w & 0xffe0001f) == (0xf2800000 | reg); /* movk xN,#imm */
}

static uint64_t imm12(uint32_t w)
{
	return w >> 10 & 0xfff;
}

static uint64_t imm16(uint32_t w)
{
	return w >> 5 & 0xffff;
}

/* adrp xN,foo, with an add or a load of the same register behind it, or anything. */
static int address_page(const struct place *p, struct sut_linked *ret)
{
	uint32_t o = obj_word(p, 0), b = bin_word(p, 0);
	unsigned reg = o & 31;

	if (is_adrp(o, reg) && is_adr(b, reg) && !(sut_a64_adr_target(b, here(p)) & 0xfff))
		return found(p, ret, SUT_RELOC_PCREL, sut_a64_adr_target(b, here(p)), ~0xfffull);
	if (is_adrp(o, reg) && b == SUT_A64_NOP && is_add(obj_word(p, 1), reg) && is_adr(bin_word(p, 1), reg))
		return found_nothing(p, ret); /* the next one tells all */
	return plain(p, SUT_RELOC_PCREL, ret);
}

static int address_low(const struct place *p, struct sut_linked *ret)
{
	uint32_t o = obj_word(p, 0), b = bin_word(p, 0);
	unsigned reg = o & 31;

	if (is_add(o, reg) && is_adr(b, reg) && p->off >= 4 && sut_a64_get(p->bin + p->off - 4) == SUT_A64_NOP)
		return found(p, ret, SUT_RELOC_PCREL, sut_a64_adr_target(b, here(p)), ~0ull);
	return plain(p, p->howto->kind, ret);
}

/* adrp xN,:got:foo: what it names now, the word behind it tells. */
static int got_page(const struct place *p, struct sut_linked *ret)
{
	uint32_t o = obj_word(p, 0), next = obj_word(p, 1);
	unsigned reg = o & 31;

	if (is_adrp(o, reg) && is_ldr(next, reg, reg)) {
		if (bin_word(p, 0) == SUT_A64_NOP && is_adr(bin_word(p, 1), reg))
			return found_nothing(p, ret);
		if (is_add(bin_word(p, 1), reg))
			return plain(p, SUT_RELOC_PCREL, ret);
	}
	return plain(p, SUT_RELOC_GOT, ret);
}

static int got_low(const struct place *p, struct sut_linked *ret)
{
	uint32_t o = obj_word(p, 0), b = bin_word(p, 0);
	unsigned reg = o & 31;

	if (is_ldr(o, reg, reg) && is_add(b, reg))
		return found(p, ret, SUT_RELOC_ABS, imm12(b), 0xfff);
	if (is_ldr(o, reg, reg) && is_adr(b, reg) && p->off >= 4 && sut_a64_get(p->bin + p->off - 4) == SUT_A64_NOP)
		return found(p, ret, SUT_RELOC_PCREL, sut_a64_adr_target(b, here(p)), ~0ull);
	return plain(p, SUT_RELOC_GOT, ret);
}

static int tls_ie(const struct place *p, struct sut_linked *ret)
{
	uint32_t o = obj_word(p, 0), b = bin_word(p, 0);
	unsigned reg = o & 31;

	if (p->howto->type == R_AARCH64_TLSIE_ADR_GOTTPREL_PAGE21 && is_movz_g1(b, reg))
		return found(p, ret, SUT_RELOC_TLS_LE, imm16(b) << 16, ~0xffffull);
	if (p->howto->type == R_AARCH64_TLSIE_LD64_GOTTPREL_LO12_NC && is_movk_g0(b, reg))
		return found(p, ret, SUT_RELOC_TLS_LE, imm16(b), 0xffff);
	return plain(p, SUT_RELOC_TLS_IE, ret);
}

static int tls_desc(const struct place *p, struct sut_linked *ret)
{
	uint32_t o = obj_word(p, 0), b = bin_word(p, 0), next = bin_word(p, 1);

	switch (p->howto->type) {
	case R_AARCH64_TLSDESC_ADR_PAGE21:
		if (is_movz_g1(b, 0))
			return found(p, ret, SUT_RELOC_TLS_LE, imm16(b) << 16, ~0xffffull);
		/* The load that follows goes to x0 for initial exec, to another register for a descriptor. */
		return plain(p, is_ldr(next, 0, 0) ? SUT_RELOC_TLS_IE : SUT_RELOC_TLS_DESC, ret);
	case R_AARCH64_TLSDESC_LD64_LO12:
		if (is_movk_g0(b, 0))
			return found(p, ret, SUT_RELOC_TLS_LE, imm16(b), 0xffff);
		if (is_ldr(b, 0, 0) && (o & 31) != 0)
			return found(p, ret, SUT_RELOC_TLS_IE, imm12(b) << 3, 0xfff);
		return plain(p, SUT_RELOC_TLS_DESC, ret);
	default: /* add, blr */
		if (b == SUT_A64_NOP)
			return found_nothing(p, ret);
		if (p->howto->kind == SUT_RELOC_TLS_DESC_CALL)
			return o == b ? found_nothing(p, ret) : -EILSEQ;
		return plain(p, SUT_RELOC_TLS_DESC, ret);
	}
}

/* The whole sequence of four words, from its adrp; or one word of it where nothing was rewritten. */
static int tls_gd(const struct place *p, struct sut_linked *ret)
{
	uint32_t b = bin_word(p, 0), next = bin_word(p, 1);
	int err;

	if (p->howto->type != R_AARCH64_TLSGD_ADR_PAGE21 || bin_word(p, 2) != MRS_X1_TPIDR)
		return plain(p, SUT_RELOC_TLS_GD, ret);
	if (bin_word(p, 3) != ADD_X0_X1_X0)
		return -EILSEQ;
	if (is_movz_g1(b, 0) && is_movk_g0(next, 0))
		err = found(p, ret, SUT_RELOC_TLS_LE, imm16(b) << 16 | imm16(next), ~0ull);
	else if (is_adrp(b, 0) && is_ldr(next, 0, 0))
		err = found(p, ret, SUT_RELOC_TLS_IE, sut_a64_adr_target(b, here(p)) + (imm12(next) << 3), ~0ull);
	else
		return -EILSEQ;
	ret->end = p->off + 16;
	ret->skip = p->howto->tls_calls;
	return err;
}

int sut_a64_linked_field(const struct sut_reloc_howto *howto, const uint8_t *obj, const uint8_t *bin, size_t len,
			 size_t off, int64_t addend, uint64_t pc, struct sut_linked *ret)
{
	struct place p = { howto, obj, bin, len, off, addend, pc };

	if (off > len || howto->size > len - off || (howto->kind == SUT_RELOC_TLS_DESC_CALL && len - off < 4))
		return -EILSEQ;
	switch (howto->kind) {
	case SUT_RELOC_NONE:
		*ret = (struct sut_linked){ .kind = SUT_RELOC_NONE, .start = off, .end = off };
		return 0;
	case SUT_RELOC_ABS:
		return howto->type == R_AARCH64_ADD_ABS_LO12_NC ? address_low(&p, ret) : plain(&p, howto->kind, ret);
	case SUT_RELOC_PCREL:
		return howto->type == R_AARCH64_ADR_PREL_PG_HI21 ? address_page(&p, ret) : plain(&p, howto->kind, ret);
	case SUT_RELOC_PLT:
		if (howto->size == 4 && off + 4 <= len &&
		    bin_word(&p, 0) == SUT_A64_NOP) /* weak, and nothing defines it */
			return found(&p, ret, howto->kind, (uint64_t)addend, ~0ull);
		return plain(&p, howto->kind, ret);
	case SUT_RELOC_GOT_OFF:
	case SUT_RELOC_TLS_LE:
	case SUT_RELOC_TLS_DTPOFF:
		return plain(&p, howto->kind, ret);
	case SUT_RELOC_GOT:
		if (howto->type == R_AARCH64_ADR_GOT_PAGE)
			return got_page(&p, ret);
		return howto->type == R_AARCH64_LD64_GOT_LO12_NC ? got_low(&p, ret) : plain(&p, howto->kind, ret);
	case SUT_RELOC_TLS_IE:
		return tls_ie(&p, ret);
	case SUT_RELOC_TLS_GD:
		return tls_gd(&p, ret);
	case SUT_RELOC_TLS_DESC:
	case SUT_RELOC_TLS_DESC_CALL:
		return tls_desc(&p, ret);
	default:
		return -EOPNOTSUPP;
	}
}

/* ---- stubs ---- */

static uint32_t word_at(const uint8_t *code, size_t len, size_t at)
{
	return at + 4 <= len ? sut_a64_get(code + at) : 0;
}

static bool stub(struct sut_stub *ret, bool slot, uint64_t target, size_t size)
{
	*ret = (struct sut_stub){ .slot = slot, .target = target, .size = size };
	return true;
}

/* ldr x16,literal and what adds the place to it, or not; the literal lies behind. */
static bool literal_stub(const uint8_t *code, size_t len, size_t at, uint64_t pc, struct sut_stub *ret)
{
	uint64_t v = 0;
	bool relative = word_at(code, len, at) == 0x58000090; /* ldr x16,. + 16 */
	size_t from = at + (relative ? 16 : 8);

	if (relative && (word_at(code, len, at + 4) != 0x10000011 || /* adr x17,. */
			 word_at(code, len, at + 8) != 0x8b110210 || /* add x16,x16,x17 */
			 word_at(code, len, at + 12) != BR_X16))
		return false;
	if (!relative && (word_at(code, len, at) != 0x58000050 || word_at(code, len, at + 4) != BR_X16))
		return false; /* ldr x16,. + 8; br x16 */
	if (from + 8 > len)
		return false;
	for (unsigned i = 0; i < 8; i++)
		v |= (uint64_t)code[from + i] << (8 * i);
	return stub(ret, false, relative ? v + pc + at + 4 : v, from + 8);
}

/*
 * PLT entry: [bti c] adrp x16; ldr x17,[x16,#lo]; add x16,x16,#lo; [autia1716] br x17.
 * Veneers: [bti c] b; adrp x16; add x16,x16,#lo; br x16; or with the address as a literal.
 */
bool sut_a64_stub_decode(const uint8_t *code, size_t len, uint64_t pc, struct sut_stub *ret)
{
	size_t at = word_at(code, len, 0) == SUT_A64_BTI_C ? 4 : 0;
	uint32_t w = word_at(code, len, at), next = word_at(code, len, at + 4);
	uint64_t page, target;

	if (at && len >= at + 4 && sut_a64_jump_decode(code + at, pc + at, &target))
		return stub(ret, false, target, at + 4);
	if (!is_adrp(w, SUT_A64_X16))
		return literal_stub(code, len, at, pc, ret);
	page = sut_a64_adr_target(w, pc + at);
	if (is_add(next, SUT_A64_X16) && word_at(code, len, at + 8) == BR_X16)
		return stub(ret, false, page + imm12(next), at + 12);
	if (!is_ldr(next, SUT_A64_X17, SUT_A64_X16) || !is_add(word_at(code, len, at + 8), SUT_A64_X16) ||
	    imm12(word_at(code, len, at + 8)) != imm12(next) << 3)
		return false;
	at += 12;
	at += word_at(code, len, at) == AUTIA1716 ? 4 : 0;
	return word_at(code, len, at) == BR_X17 && stub(ret, true, page + (imm12(next) << 3), at + 4);
}

/* ---- branches ---- */

bool sut_a64_same_branch(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	struct sut_insn x, y;

	if (sut_a64_insn_decode(a, a_len, 0, &x) || sut_a64_insn_decode(b, b_len, 0, &y) || x.kind != y.kind ||
	    (x.kind != SUT_INSN_JUMP && x.kind != SUT_INSN_BRANCH) || x.pcrel_reloc != y.pcrel_reloc)
		return false;
	return sut_a64_same_but_field(sut_a64_reloc_howto(x.pcrel_reloc), a, b);
}
