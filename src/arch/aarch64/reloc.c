/* SPDX-License-Identifier: MIT */
/*
 * reloc.c - the relocation types of object files, and the one computation of a field.
 *
 * All types that gcc and clang emit for ET_REL at any level, code model and TLS model are here, and the rest of their groups.
 * Types that only a linker makes for a dynamic linker, those of ILP32, and the descriptors of the large
 * model, which no compiler emits, are not: they are unknown, and unknown is an error.
 * Must not decide anything: what S means is said by the kind, and the loader has looked it up.
 *
 * A field is bits of an instruction; howto.mask says which. A form says how a value becomes those bits, and, for what a
 * linker wrote, back. One bit is neither field nor fixed: whether a signed 16-bit piece goes into movz or movn follows from
 * the sign. gcc leaves movz there, clang movn; relocate_field() decides anew each time, and clearing leaves it.
 */
#include <elf.h>
#include <errno.h>

#include "arch/aarch64/aarch64.h"

enum form {
	DATA, /* whole bytes */
	MOVW, /* 16 bits of the value at bit 5 */
	MOVWS, /* the same; a negative value makes movn of movz */
	ADR, /* 21 bits in two pieces */
	ADRP, /* the distance of pages in them */
	LIT19, /* words, at bit 5 */
	BR19, /* the same as a branch */
	BR14, /* words, 14 bits at bit 5 */
	BR26, /* words, 26 bits at bit 0 */
	LO12, /* the low 12 bits at bit 10, scaled */
	HI12, /* the 12 bits above those */
	GOT15, /* the offset of a slot from the GOT's page, scaled */
	MARK, /* nothing is written */
};

#define MASK_MOVW  0x001fffe0u
#define MOVZ       0x40000000u /* movz has it, movn has not */
#define MASK_ADR   0x60ffffe0u
#define MASK_IMM19 0x00ffffe0u
#define MASK_IMM14 0x0007ffe0u
#define MASK_IMM26 0x03ffffffu
#define MASK_IMM12 0x003ffc00u

struct row {
	struct sut_reloc_howto h;
	uint8_t form;
	uint8_t scale; /* MOVW: which 16 bits; LO12: log2 of what the instruction counts in; DATA: nothing */
	bool check; /* overflow is an error (the types with NC in their names: it is not) */
};

#define ROW(t, k, f, bytes, sc, ck, sign, pc, m, idl, calls)                                                 \
	{                                                                                                    \
		{ R_AARCH64_##t, "R_AARCH64_" #t, SUT_RELOC_##k, bytes, sign, pc, calls, m, idl }, f, sc, ck \
	}
#define WORDS(t, k, bytes, sign, pc) ROW(t, k, DATA, bytes, 0, true, sign, pc, 0, 0, 0)
#define MOVZ_(t, k, n, ck, pc)       ROW(t, k, MOVW, 4, n, ck, false, pc, MASK_MOVW, 0, 0)
#define MOVS_(t, k, n, pc)           ROW(t, k, MOVWS, 4, n, true, true, pc, MASK_MOVW, 0, 0)
#define ADR_(t, k, f, ck, calls)     ROW(t, k, f, 4, 0, ck, true, true, MASK_ADR, 0, calls)
#define LIT_(t, k)                   ROW(t, k, LIT19, 4, 0, true, true, true, MASK_IMM19, 0, 0)
#define LO12_(t, k, log2, ck)        ROW(t, k, LO12, 4, log2, ck, false, false, MASK_IMM12, 0, 0)
#define HI12_(t, k)                  ROW(t, k, HI12, 4, 0, true, false, false, MASK_IMM12, 0, 0)
#define BR_(t, k, f, m)              ROW(t, k, f, 4, 0, true, true, true, m, 0, 0)

/* In the order of their numbers. */
static const struct row rows[] = {
	ROW(NONE, NONE, MARK, 0, 0, false, false, false, 0, 0, 0),
	WORDS(ABS64, ABS, 8, false, false),
	WORDS(ABS32, ABS, 4, false, false),
	WORDS(ABS16, ABS, 2, false, false),
	WORDS(PREL64, PCREL, 8, true, true),
	WORDS(PREL32, PCREL, 4, true, true),
	WORDS(PREL16, PCREL, 2, true, true),
	MOVZ_(MOVW_UABS_G0, ABS, 0, true, false),
	MOVZ_(MOVW_UABS_G0_NC, ABS, 0, false, false),
	MOVZ_(MOVW_UABS_G1, ABS, 1, true, false),
	MOVZ_(MOVW_UABS_G1_NC, ABS, 1, false, false),
	MOVZ_(MOVW_UABS_G2, ABS, 2, true, false),
	MOVZ_(MOVW_UABS_G2_NC, ABS, 2, false, false),
	MOVZ_(MOVW_UABS_G3, ABS, 3, true, false),
	MOVS_(MOVW_SABS_G0, ABS, 0, false),
	MOVS_(MOVW_SABS_G1, ABS, 1, false),
	MOVS_(MOVW_SABS_G2, ABS, 2, false),
	LIT_(LD_PREL_LO19, PCREL),
	ADR_(ADR_PREL_LO21, PCREL, ADR, true, 0),
	ADR_(ADR_PREL_PG_HI21, PCREL, ADRP, true, 0),
	ADR_(ADR_PREL_PG_HI21_NC, PCREL, ADRP, false, 0),
	LO12_(ADD_ABS_LO12_NC, ABS, 0, false),
	LO12_(LDST8_ABS_LO12_NC, ABS, 0, false),
	BR_(TSTBR14, PCREL, BR14, MASK_IMM14),
	BR_(CONDBR19, PCREL, BR19, MASK_IMM19),
	BR_(JUMP26, PLT, BR26, MASK_IMM26),
	BR_(CALL26, PLT, BR26, MASK_IMM26),
	LO12_(LDST16_ABS_LO12_NC, ABS, 1, false),
	LO12_(LDST32_ABS_LO12_NC, ABS, 2, false),
	LO12_(LDST64_ABS_LO12_NC, ABS, 3, false),
	MOVS_(MOVW_PREL_G0, PCREL, 0, true),
	MOVZ_(MOVW_PREL_G0_NC, PCREL, 0, false, true),
	MOVS_(MOVW_PREL_G1, PCREL, 1, true),
	MOVZ_(MOVW_PREL_G1_NC, PCREL, 1, false, true),
	MOVS_(MOVW_PREL_G2, PCREL, 2, true),
	MOVZ_(MOVW_PREL_G2_NC, PCREL, 2, false, true),
	MOVZ_(MOVW_PREL_G3, PCREL, 3, true, true),
	LO12_(LDST128_ABS_LO12_NC, ABS, 4, false),
	LIT_(GOT_LD_PREL19, GOT),
	ADR_(ADR_GOT_PAGE, GOT, ADRP, true, 0),
	LO12_(LD64_GOT_LO12_NC, GOT, 3, false),
	ROW(LD64_GOTPAGE_LO15, GOT_OFF, GOT15, 4, 3, true, false, false, MASK_IMM12, 0, 0),
	ADR_(TLSGD_ADR_PAGE21, TLS_GD, ADRP, true, 2),
	LO12_(TLSGD_ADD_LO12_NC, TLS_GD, 0, false),
	HI12_(TLSLD_ADD_DTPREL_HI12, TLS_DTPOFF),
	LO12_(TLSLD_ADD_DTPREL_LO12, TLS_DTPOFF, 0, true),
	LO12_(TLSLD_ADD_DTPREL_LO12_NC, TLS_DTPOFF, 0, false),
	ADR_(TLSIE_ADR_GOTTPREL_PAGE21, TLS_IE, ADRP, true, 0),
	LO12_(TLSIE_LD64_GOTTPREL_LO12_NC, TLS_IE, 3, false),
	LIT_(TLSIE_LD_GOTTPREL_PREL19, TLS_IE),
	MOVS_(TLSLE_MOVW_TPREL_G2, TLS_LE, 2, false),
	MOVS_(TLSLE_MOVW_TPREL_G1, TLS_LE, 1, false),
	MOVZ_(TLSLE_MOVW_TPREL_G1_NC, TLS_LE, 1, false, false),
	MOVS_(TLSLE_MOVW_TPREL_G0, TLS_LE, 0, false),
	MOVZ_(TLSLE_MOVW_TPREL_G0_NC, TLS_LE, 0, false, false),
	HI12_(TLSLE_ADD_TPREL_HI12, TLS_LE),
	LO12_(TLSLE_ADD_TPREL_LO12, TLS_LE, 0, true),
	LO12_(TLSLE_ADD_TPREL_LO12_NC, TLS_LE, 0, false),
	LO12_(TLSLE_LDST8_TPREL_LO12, TLS_LE, 0, true),
	LO12_(TLSLE_LDST8_TPREL_LO12_NC, TLS_LE, 0, false),
	LO12_(TLSLE_LDST16_TPREL_LO12, TLS_LE, 1, true),
	LO12_(TLSLE_LDST16_TPREL_LO12_NC, TLS_LE, 1, false),
	LO12_(TLSLE_LDST32_TPREL_LO12, TLS_LE, 2, true),
	LO12_(TLSLE_LDST32_TPREL_LO12_NC, TLS_LE, 2, false),
	LO12_(TLSLE_LDST64_TPREL_LO12, TLS_LE, 3, true),
	LO12_(TLSLE_LDST64_TPREL_LO12_NC, TLS_LE, 3, false),
	ADR_(TLSDESC_ADR_PAGE21, TLS_DESC, ADRP, true, 0),
	LO12_(TLSDESC_LD64_LO12, TLS_DESC, 3, false),
	LO12_(TLSDESC_ADD_LO12, TLS_DESC, 0, false),
	ROW(TLSDESC_CALL, TLS_DESC_CALL, MARK, 0, 0, false, false, false, 0, 0, 0),
};

static const struct row *find(uint32_t type)
{
	size_t lo = 0, hi = sizeof(rows) / sizeof(rows[0]);

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (rows[mid].h.type == type)
			return &rows[mid];
		if (rows[mid].h.type < type)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

const struct sut_reloc_howto *sut_a64_reloc_howto(uint32_t type)
{
	const struct row *r = find(type);

	return r ? &r->h : NULL;
}

/* Whether @v lies in [-2^below, 2^above). */
static bool in_range(uint64_t v, unsigned below, unsigned above)
{
	int64_t s = (int64_t)v;

	return s >= -(1ll << below) && s < 1ll << above;
}

/* S and A, from the place or from the GOT where the kind and the form say so. */
static int value_of(const struct row *r, const struct sut_reloc_values *v, uint64_t *ret)
{
	uint64_t to = v->S + (uint64_t)v->A;

	switch (r->h.kind) {
	case SUT_RELOC_ABS:
	case SUT_RELOC_PCREL:
	case SUT_RELOC_PLT:
	case SUT_RELOC_TLS_LE:
	case SUT_RELOC_TLS_DTPOFF:
		break;
	case SUT_RELOC_GOT:
	case SUT_RELOC_GOT_OFF:
	case SUT_RELOC_TLS_IE:
	case SUT_RELOC_TLS_GD:
	case SUT_RELOC_TLS_DESC:
		/* The addend is what the slot's content is more by, and no distance from the slot: there must be none. */
		if (v->A)
			return -EOPNOTSUPP;
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (r->h.kind == SUT_RELOC_GOT_OFF)
		*ret = to - (v->GOT & ~0xfffull);
	else if (r->form == ADRP)
		*ret = (to & ~0xfffull) - (v->P & ~0xfffull);
	else
		*ret = r->h.pcrel ? to - v->P : to;
	return 0;
}

static int put_data(const struct row *r, uint64_t v, uint8_t *place)
{
	unsigned bits = 8u * r->h.size;

	/* What is not a distance may be read in both ways. */
	if (bits < 64 && !in_range(v, bits - 1, r->h.is_signed ? bits - 1 : bits))
		return -ERANGE;
	for (unsigned i = 0; i < r->h.size; i++)
		place[i] = (uint8_t)(v >> (8 * i));
	return 0;
}

static int movw_bits(const struct row *r, uint64_t v, uint32_t *ret)
{
	unsigned shift = 16u * r->scale;

	if (r->form == MOVWS) {
		if (!in_range(v, shift + 16, shift + 16))
			return -ERANGE;
		*ret = (int64_t)v < 0 ? 0 : MOVZ;
		if ((int64_t)v < 0)
			v = ~v;
	} else {
		if (r->check && shift < 48 && v >> (shift + 16))
			return -ERANGE;
		*ret = 0;
	}
	*ret |= (uint32_t)(v >> shift & 0xffff) << 5;
	return 0;
}

/* Words of distance in @bits bits at bit @at. */
static int word_bits(uint64_t v, unsigned bits, unsigned at, uint32_t *ret)
{
	if (!in_range(v, bits + 1, bits + 1))
		return -ERANGE;
	if (v & 3)
		return -EINVAL;
	*ret = ((uint32_t)(v >> 2) & ((1u << bits) - 1)) << at;
	return 0;
}

static int imm12_bits(const struct row *r, uint64_t v, uint32_t *ret)
{
	if (r->form == LO12 && r->check && v >> 12)
		return -ERANGE;
	if (r->form == GOT15 && v >> 15)
		return -ERANGE;
	if (r->form == HI12) {
		if (v >> 24)
			return -ERANGE;
		*ret = (uint32_t)(v >> 12) << 10;
		return 0;
	}
	if (v & ((1u << r->scale) - 1))
		return -EINVAL;
	if (r->form == LO12)
		v &= 0xfff;
	*ret = (uint32_t)(v >> r->scale) << 10;
	return 0;
}

static int bits_of(const struct row *r, uint64_t v, uint32_t *ret)
{
	switch ((enum form)r->form) {
	case MOVW:
	case MOVWS:
		return movw_bits(r, v, ret);
	case ADRP:
		if (r->check && !in_range(v, 32, 32))
			return -ERANGE;
		v = (uint64_t)((int64_t)v >> 12);
		break;
	case ADR:
		if (!in_range(v, 20, 20))
			return -ERANGE;
		break;
	case LIT19:
	case BR19:
		return word_bits(v, 19, 5, ret);
	case BR14:
		return word_bits(v, 14, 5, ret);
	case BR26:
		return word_bits(v, 26, 0, ret);
	case LO12:
	case HI12:
	case GOT15:
		return imm12_bits(r, v, ret);
	case DATA:
	case MARK:
		return -EOPNOTSUPP;
	}
	*ret = (uint32_t)(v & 3) << 29 | (uint32_t)(v >> 2 & 0x7ffff) << 5;
	return 0;
}

static uint32_t sign_bit(const struct row *r)
{
	return r->form == MOVWS ? MOVZ : 0;
}

int sut_a64_relocate_field(const struct sut_reloc_howto *howto, const struct sut_reloc_values *v, uint8_t *place)
{
	const struct row *r = find(howto->type);
	uint64_t value;
	uint32_t bits;
	int err;

	if (!r)
		return -EOPNOTSUPP;
	if (r->form == MARK)
		return 0;
	err = value_of(r, v, &value);
	if (err)
		return err;
	if (r->form == DATA)
		return put_data(r, value, place);
	err = bits_of(r, value, &bits);
	if (!err)
		sut_a64_put(place, (sut_a64_get(place) & ~(uint32_t)r->h.mask & ~sign_bit(r)) | bits);
	return err;
}

/* The value under the mask where a word holds a part of it; ~0: all of it. */
static uint64_t read_bits(const struct row *r, uint32_t word, uint64_t P, uint64_t *ret_mask)
{
	uint64_t imm = (word & (uint32_t)r->h.mask) >> (r->form == MOVW || r->form == MOVWS ? 5 : 10);
	unsigned shift = 16u * r->scale;
	struct sut_insn insn;
	uint8_t code[4];

	*ret_mask = ~0ull;
	switch ((enum form)r->form) {
	case MOVW:
	case MOVWS:
		/* Where overflow is an error, all higher bits are as the highest. */
		*ret_mask = r->check ? ~0ull << shift : 0xffffull << shift;
		imm = (imm & 0xffff) << shift;
		return (r->form == MOVWS && !(word & MOVZ) ? ~imm : imm) & *ret_mask;
	case LO12:
		*ret_mask = r->check ? ~0ull : 0xfff;
		return imm << r->scale;
	case HI12:
		*ret_mask = ~0xfffull;
		return imm << 12;
	case GOT15:
		return imm << r->scale;
	case ADRP:
		*ret_mask = ~0xfffull;
		break;
	default:
		break;
	}
	sut_a64_put(code, word);
	return sut_a64_insn_decode(code, 4, P, &insn) ? 0 : insn.target;
}

bool sut_a64_same_but_field(const struct sut_reloc_howto *howto, const uint8_t *a, const uint8_t *b)
{
	const struct row *r = find(howto->type);

	if (!r || r->form == DATA || r->form == MARK)
		return r;
	return !((sut_a64_get(a) ^ sut_a64_get(b)) & ~(uint32_t)r->h.mask & ~sign_bit(r));
}

int sut_a64_read_field(const struct sut_reloc_howto *howto, const uint8_t *place, uint64_t P, uint64_t *ret_mask,
		       uint64_t *ret)
{
	const struct row *r = find(howto->type);
	uint64_t v = 0;

	if (!r || r->form == MARK || (r->h.pcrel && (r->form == MOVW || r->form == MOVWS)))
		return -EOPNOTSUPP;
	if (r->form != DATA) {
		*ret = read_bits(r, sut_a64_get(place), P, ret_mask);
		return 0;
	}
	for (unsigned i = 0; i < howto->size; i++)
		v |= (uint64_t)place[i] << (8 * i);
	if (howto->is_signed && howto->size < 8 && v >> (8 * howto->size - 1))
		v |= ~0ull << (8 * howto->size);
	*ret_mask = ~0ull;
	*ret = howto->pcrel ? v + P : v;
	return 0;
}
