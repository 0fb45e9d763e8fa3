/* SPDX-License-Identifier: MIT */
/*
 * reloc.c - the relocation types of object files, the one computation of a field, and calls between TOCs.
 *
 * Most fields lie in instructions and are a part of a 64-bit value: its low 16 bits, the next 16, the same
 * adjusted for a signed low part, and so on. The part, the check for overflow and the form of the field
 * stand in the table beside the howto. Two forms depend on the instruction: DS keeps two bits
 * below the field, DQ (lq, lxv, stxv) four.
 *
 * Here are all types that gcc and clang emit for ET_REL at any level, code model, TLS model and processor.
 * Types that only a linker makes (COPY, GLOB_DAT, JMP_SLOT, RELATIVE, DTPMOD64, IRELATIVE), and GOT slots that hold a
 * DTPREL offset (-mtls-size=64), are not: they are unknown, and unknown is an error.
 */
#include <elf.h>
#include <errno.h>

#include "arch/ppc64le/ppc64le.h"

/** Which part of the value goes into the field. */
enum part {
	WHOLE,
	LO, /* the low 16 bits */
	HI, /* 16 .. 31 */
	HA, /* the same, adjusted: plus 1 where the low part, taken as signed, is negative */
	HIGHER, /* 32 .. 47 */
	HIGHERA,
	HIGHEST, /* 48 .. 63 */
	HIGHESTA,
	HI30, /* 34 .. 63 of a prefixed instruction's value */
	HA30,
};

/** What must fit: @part of the value as signed, as either of both, or nothing. */
enum check { ANY, SIGNED, EITHER };

enum form {
	DATA, /* bytes, or the low half of an instruction (D form) */
	DS,
	DQ,
	I24, /* b: 24 bits and two zeros */
	B14, /* bc: 14 bits and two zeros */
	DX, /* addpcis: three pieces */
	P34, /* a prefix and its suffix */
};

struct type {
	struct sut_reloc_howto howto;
	enum part part;
	enum check check;
	enum form form;
};

#define MASK_DS  0xfffcu
#define MASK_DQ  0xfff0u
#define MASK_I24 0x03fffffcu
#define MASK_B14 0xfffcu
#define MASK_DX  0x001fffc1u
#define MASK_P34 0x0000ffff0003ffffull /* the prefix is the low word */

#define TYPE(t, k, bytes, pc, m, p, c, f)             \
	[R_PPC64_##t] = { { .type = R_PPC64_##t,      \
			    .name = "R_PPC64_" #t,    \
			    .kind = SUT_RELOC_##k,    \
			    .size = bytes,            \
			    .is_signed = c == SIGNED, \
			    .pcrel = pc,              \
			    .mask = m },              \
			  p,                          \
			  c,                          \
			  f }
#define MARK(t, k)          TYPE(t, k, 0, false, 0, WHOLE, ANY, DATA)
#define HALF(t, k, p, c)    TYPE(t, k, 2, false, 0, p, c, DATA)
#define HALF_DS(t, k, p, c) TYPE(t, k, 2, false, MASK_DS, p, c, DS)
#define HALF_PC(t, p, c)    TYPE(t, PCREL, 2, true, 0, p, c, DATA)
#define PREFIXED(t, k, pc)  TYPE(t, k, 8, pc, MASK_P34, WHOLE, SIGNED, P34)

static const struct type types[] = {
	MARK(NONE, NONE),
	/* Markers for the linker: of sequences that it may shorten. We leave all as it is. */
	MARK(TLS, NONE),
	MARK(TOCSAVE, NONE),
	MARK(ENTRY, NONE),
	MARK(PLTSEQ, NONE),
	MARK(PLTCALL, NONE),
	MARK(PLTSEQ_NOTOC, NONE),
	MARK(PLTCALL_NOTOC, NONE),
	MARK(PCREL_OPT, NONE),
	MARK(TLSGD, TLS_GD_CALL),
	MARK(TLSLD, TLS_LD_CALL),

	/* Data. */
	TYPE(ADDR64, ABS, 8, false, 0, WHOLE, ANY, DATA),
	TYPE(UADDR64, ABS, 8, false, 0, WHOLE, ANY, DATA),
	TYPE(ADDR64_LOCAL, ABS, 8, false, 0, WHOLE, ANY, DATA),
	TYPE(ADDR32, ABS, 4, false, 0, WHOLE, EITHER, DATA),
	TYPE(UADDR32, ABS, 4, false, 0, WHOLE, EITHER, DATA),
	TYPE(UADDR16, ABS, 2, false, 0, WHOLE, EITHER, DATA),
	TYPE(REL64, PCREL, 8, true, 0, WHOLE, ANY, DATA),
	TYPE(REL32, PCREL, 4, true, 0, WHOLE, SIGNED, DATA),
	TYPE(TOC, GOT_ADDR, 8, false, 0, WHOLE, ANY, DATA),
	TYPE(TPREL64, TLS_LE, 8, false, 0, WHOLE, ANY, DATA),
	TYPE(DTPREL64, TLS_DTPOFF, 8, false, 0, WHOLE, ANY, DATA),

	/* Branches. */
	TYPE(REL24, PLT, 4, true, MASK_I24, WHOLE, SIGNED, I24),
	TYPE(REL24_NOTOC, PLT, 4, true, MASK_I24, WHOLE, SIGNED, I24),
	TYPE(REL14, PLT, 4, true, MASK_B14, WHOLE, SIGNED, B14),
	TYPE(ADDR24, ABS, 4, false, MASK_I24, WHOLE, SIGNED, I24),
	TYPE(ADDR14, ABS, 4, false, MASK_B14, WHOLE, SIGNED, B14),

	/* Absolute addresses in parts. */
	HALF(ADDR16, ABS, WHOLE, EITHER),
	HALF(ADDR16_LO, ABS, LO, ANY),
	HALF(ADDR16_HI, ABS, HI, SIGNED),
	HALF(ADDR16_HA, ABS, HA, SIGNED),
	HALF(ADDR16_HIGH, ABS, HI, ANY),
	HALF(ADDR16_HIGHA, ABS, HA, ANY),
	HALF(ADDR16_HIGHER, ABS, HIGHER, ANY),
	HALF(ADDR16_HIGHERA, ABS, HIGHERA, ANY),
	HALF(ADDR16_HIGHEST, ABS, HIGHEST, ANY),
	HALF(ADDR16_HIGHESTA, ABS, HIGHESTA, ANY),
	HALF_DS(ADDR16_DS, ABS, WHOLE, SIGNED),
	HALF_DS(ADDR16_LO_DS, ABS, LO, ANY),
	PREFIXED(D34, ABS, false),
	TYPE(D34_LO, ABS, 8, false, MASK_P34, WHOLE, ANY, P34),
	TYPE(D34_HI30, ABS, 8, false, MASK_P34, HI30, ANY, P34),
	TYPE(D34_HA30, ABS, 8, false, MASK_P34, HA30, ANY, P34),

	/* From the place. */
	HALF_PC(REL16, WHOLE, SIGNED),
	HALF_PC(REL16_LO, LO, ANY),
	HALF_PC(REL16_HI, HI, SIGNED),
	HALF_PC(REL16_HA, HA, SIGNED),
	HALF_PC(REL16_HIGH, HI, ANY),
	HALF_PC(REL16_HIGHA, HA, ANY),
	HALF_PC(REL16_HIGHER, HIGHER, ANY),
	HALF_PC(REL16_HIGHERA, HIGHERA, ANY),
	HALF_PC(REL16_HIGHEST, HIGHEST, ANY),
	HALF_PC(REL16_HIGHESTA, HIGHESTA, ANY),
	TYPE(REL16DX_HA, PCREL, 4, true, MASK_DX, HA, SIGNED, DX),
	PREFIXED(PCREL34, PCREL, true),
	PREFIXED(GOT_PCREL34, GOT_LOAD, true),
	PREFIXED(PLT_PCREL34, GOT, true),
	PREFIXED(PLT_PCREL34_NOTOC, GOT, true),

	/* From the TOC pointer: the symbol, or its GOT slot. */
	HALF(TOC16, GOT_REL, WHOLE, SIGNED),
	HALF(TOC16_LO, GOT_REL, LO, ANY),
	HALF(TOC16_HI, GOT_REL, HI, SIGNED),
	HALF(TOC16_HA, GOT_REL, HA, SIGNED),
	HALF_DS(TOC16_DS, GOT_REL, WHOLE, SIGNED),
	HALF_DS(TOC16_LO_DS, GOT_REL, LO, ANY),
	HALF(GOT16, GOT_OFF, WHOLE, SIGNED),
	HALF(GOT16_LO, GOT_OFF, LO, ANY),
	HALF(GOT16_HI, GOT_OFF, HI, SIGNED),
	HALF(GOT16_HA, GOT_OFF, HA, SIGNED),
	HALF_DS(GOT16_DS, GOT_OFF, WHOLE, SIGNED),
	HALF_DS(GOT16_LO_DS, GOT_OFF, LO, ANY),
	HALF(PLT16_LO, GOT_OFF, LO, ANY),
	HALF(PLT16_HI, GOT_OFF, HI, SIGNED),
	HALF(PLT16_HA, GOT_OFF, HA, SIGNED),
	HALF_DS(PLT16_LO_DS, GOT_OFF, LO, ANY),

	/* Thread-local: offsets from the thread pointer, offsets in the block, GOT slots. */
	HALF(TPREL16, TLS_LE, WHOLE, SIGNED),
	HALF(TPREL16_LO, TLS_LE, LO, ANY),
	HALF(TPREL16_HI, TLS_LE, HI, SIGNED),
	HALF(TPREL16_HA, TLS_LE, HA, SIGNED),
	HALF(TPREL16_HIGH, TLS_LE, HI, ANY),
	HALF(TPREL16_HIGHA, TLS_LE, HA, ANY),
	HALF(TPREL16_HIGHER, TLS_LE, HIGHER, ANY),
	HALF(TPREL16_HIGHERA, TLS_LE, HIGHERA, ANY),
	HALF(TPREL16_HIGHEST, TLS_LE, HIGHEST, ANY),
	HALF(TPREL16_HIGHESTA, TLS_LE, HIGHESTA, ANY),
	HALF_DS(TPREL16_DS, TLS_LE, WHOLE, SIGNED),
	HALF_DS(TPREL16_LO_DS, TLS_LE, LO, ANY),
	PREFIXED(TPREL34, TLS_LE, false),
	HALF(DTPREL16, TLS_DTPOFF, WHOLE, SIGNED),
	HALF(DTPREL16_LO, TLS_DTPOFF, LO, ANY),
	HALF(DTPREL16_HI, TLS_DTPOFF, HI, SIGNED),
	HALF(DTPREL16_HA, TLS_DTPOFF, HA, SIGNED),
	HALF(DTPREL16_HIGH, TLS_DTPOFF, HI, ANY),
	HALF(DTPREL16_HIGHA, TLS_DTPOFF, HA, ANY),
	HALF(DTPREL16_HIGHER, TLS_DTPOFF, HIGHER, ANY),
	HALF(DTPREL16_HIGHERA, TLS_DTPOFF, HIGHERA, ANY),
	HALF(DTPREL16_HIGHEST, TLS_DTPOFF, HIGHEST, ANY),
	HALF(DTPREL16_HIGHESTA, TLS_DTPOFF, HIGHESTA, ANY),
	HALF_DS(DTPREL16_DS, TLS_DTPOFF, WHOLE, SIGNED),
	HALF_DS(DTPREL16_LO_DS, TLS_DTPOFF, LO, ANY),
	PREFIXED(DTPREL34, TLS_DTPOFF, false),
	HALF(GOT_TLSGD16, TLS_GD, WHOLE, SIGNED),
	HALF(GOT_TLSGD16_LO, TLS_GD, LO, ANY),
	HALF(GOT_TLSGD16_HI, TLS_GD, HI, SIGNED),
	HALF(GOT_TLSGD16_HA, TLS_GD, HA, SIGNED),
	PREFIXED(GOT_TLSGD_PCREL34, TLS_GD, true),
	HALF(GOT_TLSLD16, TLS_LD, WHOLE, SIGNED),
	HALF(GOT_TLSLD16_LO, TLS_LD, LO, ANY),
	HALF(GOT_TLSLD16_HI, TLS_LD, HI, SIGNED),
	HALF(GOT_TLSLD16_HA, TLS_LD, HA, SIGNED),
	PREFIXED(GOT_TLSLD_PCREL34, TLS_LD, true),
	HALF_DS(GOT_TPREL16_DS, TLS_IE, WHOLE, SIGNED),
	HALF_DS(GOT_TPREL16_LO_DS, TLS_IE, LO, ANY),
	HALF(GOT_TPREL16_HI, TLS_IE, HI, SIGNED),
	HALF(GOT_TPREL16_HA, TLS_IE, HA, SIGNED),
	PREFIXED(GOT_TPREL_PCREL34, TLS_IE, true),
};

/* The DS types once more, for lq, lxv and stxv. */
#define HALF_DQ(t, k, p, c) TYPE(t, k, 2, false, MASK_DQ, p, c, DQ)
static const struct type dq_types[] = {
	HALF_DQ(ADDR16_DS, ABS, WHOLE, SIGNED),          HALF_DQ(ADDR16_LO_DS, ABS, LO, ANY),
	HALF_DQ(TOC16_DS, GOT_REL, WHOLE, SIGNED),       HALF_DQ(TOC16_LO_DS, GOT_REL, LO, ANY),
	HALF_DQ(TPREL16_DS, TLS_LE, WHOLE, SIGNED),      HALF_DQ(TPREL16_LO_DS, TLS_LE, LO, ANY),
	HALF_DQ(DTPREL16_DS, TLS_DTPOFF, WHOLE, SIGNED), HALF_DQ(DTPREL16_LO_DS, TLS_DTPOFF, LO, ANY),
};

#define N(a) (sizeof(a) / sizeof((a)[0]))

const struct sut_reloc_howto *sut_ppc_reloc_howto(uint32_t type)
{
	if (type >= N(types) || !types[type].howto.name)
		return NULL;
	return &types[type].howto;
}

static const struct type *type_of(const struct sut_reloc_howto *howto)
{
	return (const struct type *)howto; /* its first member */
}

const struct sut_reloc_howto *sut_ppc_reloc_howto_at(const struct sut_reloc_howto *howto, const uint8_t *place,
						     size_t avail)
{
	uint32_t w;

	if (type_of(howto)->form != DS || avail < 4 || howto->type >= N(dq_types) || !dq_types[howto->type].howto.name)
		return howto;
	w = sut_ppc_word(place);
	/* lq; lxv and stxv, whose low three bits are 001 and 101 */
	if (SUT_PPC_OP(w) == 56 || (SUT_PPC_OP(w) == 61 && (w & 3) == 1))
		return &dq_types[howto->type].howto;
	return howto;
}

/* -- the value --------------------------------------------------------------------------------- */

static int value_of(const struct sut_reloc_howto *howto, const struct sut_reloc_values *v, uint64_t *ret)
{
	uint64_t sum = v->S + (uint64_t)v->A;
	size_t local = 0;

	switch (howto->kind) {
	case SUT_RELOC_PLT:
		/* Callers that share the TOC pointer skip what derives it; without one they never may. */
		if (sut_ppc_local_entry(v->other, &local) || (local && howto->type == R_PPC64_REL24_NOTOC))
			return -EOPNOTSUPP;
		*ret = sum + local - v->P;
		return 0;
	case SUT_RELOC_ABS:
		if (howto->type == R_PPC64_ADDR64_LOCAL && sut_ppc_local_entry(v->other, &local))
			return -EOPNOTSUPP;
		*ret = sum + local;
		return 0;
	case SUT_RELOC_TLS_LE:
	case SUT_RELOC_TLS_DTPOFF:
		*ret = sum;
		return 0;
	case SUT_RELOC_PCREL:
	case SUT_RELOC_GOT:
	case SUT_RELOC_GOT_LOAD:
	case SUT_RELOC_GOT_OFF:
	case SUT_RELOC_GOT_REL:
	case SUT_RELOC_TLS_IE:
	case SUT_RELOC_TLS_GD:
	case SUT_RELOC_TLS_LD:
		*ret = sum - (howto->pcrel ? v->P : v->GOT);
		return 0;
	case SUT_RELOC_GOT_ADDR:
		*ret = v->GOT + (uint64_t)v->A;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

/* @v as the part sees it: what is shifted away is gone, the sign stays. */
static int64_t part_of(enum part part, uint64_t v)
{
	static const uint8_t shift[] = {
		[HI] = 16,      [HA] = 16,       [HIGHER] = 32, [HIGHERA] = 32,
		[HIGHEST] = 48, [HIGHESTA] = 48, [HI30] = 34,   [HA30] = 34,
	};

	if (part == HA || part == HIGHERA || part == HIGHESTA)
		v += 0x8000;
	if (part == HA30)
		v += 1ull << 33;
	return part <= LO ? (int64_t)v : (int64_t)v >> shift[part];
}

/* Bits of the field, with those that the form implies to be zero. */
static unsigned bits_of(const struct type *t)
{
	switch (t->form) {
	case I24:
		return 26;
	case P34:
		return 34;
	case B14:
	case DX:
		return 16;
	default:
		return 8u * t->howto.size;
	}
}

static bool fits(const struct type *t, int64_t v)
{
	unsigned bits = bits_of(t);

	if (t->check == ANY || bits == 64)
		return true;
	return sut_ppc_sext((uint64_t)v, bits) == v || (t->check == EITHER && (uint64_t)v >> bits == 0);
}

/* Where the bits of the value go in the place's little-endian word. */
static uint64_t spread(enum form form, uint64_t v)
{
	switch (form) {
	case DX: /* d0 (10 bits), d1 (5), d2 (1) */
		return (v & 0xffc0) | (v & 0x3e) << 15 | (v & 1);
	case P34:
		return (v >> 16 & 0x3ffff) | (v & 0xffff) << 32;
	default:
		return v;
	}
}

int sut_ppc_relocate_field(const struct sut_reloc_howto *howto, const struct sut_reloc_values *v, uint8_t *place)
{
	static const uint8_t align[] = { [DS] = 3, [DQ] = 15, [I24] = 3, [B14] = 3 };
	const struct type *t = type_of(howto);
	uint64_t mask = howto->mask ? howto->mask : ~0ull, value, word;
	int64_t part;
	int err;

	if (!howto->size)
		return 0;
	err = value_of(howto, v, &value);
	if (err)
		return err;
	part = part_of(t->part, value);
	if (!fits(t, part))
		return -ERANGE;
	if (t->form < N(align) && (value & align[t->form]))
		return -EINVAL;
	word = spread(t->form, (uint64_t)part);
	for (unsigned i = 0; i < howto->size; i++) {
		uint8_t m = (uint8_t)(mask >> (8 * i));

		place[i] = (uint8_t)((place[i] & ~m) | ((word >> (8 * i)) & m));
	}
	return 0;
}

/* The bits of the value, gathered from the place's little-endian word. */
static uint64_t gather(enum form form, uint64_t w)
{
	switch (form) {
	case DX:
		return (w & 0xffc0) | (w >> 15 & 0x3e) | (w & 1);
	case P34:
		return (w & 0x3ffff) << 16 | (w >> 32 & 0xffff);
	default:
		return w;
	}
}

struct sut_ppc_part sut_ppc_part(const struct sut_reloc_howto *howto, const uint8_t *place)
{
	static const uint8_t shift[] = {
		[HI] = 16,      [HA] = 16,       [HIGHER] = 32, [HIGHERA] = 32,
		[HIGHEST] = 48, [HIGHESTA] = 48, [HI30] = 34,   [HA30] = 34,
	};
	const struct type *t = type_of(howto);
	struct sut_ppc_part ret = { 0 };
	unsigned bits = bits_of(t);
	uint64_t w = 0;

	for (unsigned i = 0; i < howto->size; i++)
		w |= (uint64_t)place[i] << (8 * i);
	w = gather(t->form, howto->mask ? w & howto->mask : w);
	if (t->part == WHOLE && t->check == ANY && bits < 64) { /* D34_LO */
		ret.value = w;
		ret.mask = (1ull << bits) - 1;
		return ret;
	}
	if (t->part == WHOLE) {
		ret.value = bits == 64 || t->check == EITHER ? w : (uint64_t)sut_ppc_sext(w, bits);
		return ret;
	}
	ret.value = w << shift[t->part];
	ret.mask = ((1ull << bits) - 1) << shift[t->part];
	if (t->check == SIGNED) { /* it has fitted, so all bits above are known */
		ret.value = (uint64_t)sut_ppc_sext(w, bits) << shift[t->part];
		ret.mask = ~0ull << shift[t->part];
	}
	if (t->part == HA || t->part == HIGHERA || t->part == HIGHESTA)
		ret.round = 0x8000;
	if (t->part == HA30)
		ret.round = 1ull << 33;
	return ret;
}

bool sut_ppc_is_tls(enum sut_reloc_kind kind)
{
	return kind == SUT_RELOC_TLS_IE || kind == SUT_RELOC_TLS_GD || kind == SUT_RELOC_TLS_LD;
}

/* -- calls ------------------------------------------------------------------------------------- */

/*
 * A call to a function with another TOC pointer is two words: the branch goes to a stub that stores r2 at
 * 24(r1), and the no-op behind it, which the compiler put there for that, becomes the load that puts r2 back.
 */
bool sut_ppc_relocate_extra(const struct sut_reloc_howto *howto, const struct sut_reloc_values *v,
			    struct sut_reloc_extra *ret)
{
	if (howto->type != R_PPC64_REL24 || !v->restore_toc)
		return false;
	*ret = (struct sut_reloc_extra){
		.off = 4,
		.size = 4,
		.idle = SUT_PPC_NOP, /* nop */
		.set = SUT_PPC_LD_TOC, /* ld r2,24(r1) */
	};
	return true;
}

/** How far @name agrees with @want; all of it: a prefix or the same. */
static bool begins(const char *name, const char *want)
{
	while (name && *want && *name == *want)
		name++, want++;
	return name && !*want;
}

/* What -Os calls to save and restore registers. The linker puts them into every object; their arguments are in r0, r11 or r12,
 * and they touch no TOC pointer. */
static bool saves_registers(const char *name)
{
	return begins(name, "_savegpr") || begins(name, "_restgpr") || begins(name, "_savefpr") ||
	       begins(name, "_restfpr") || begins(name, "_savevr") || begins(name, "_restvr");
}

/*
 * The caller has a TOC pointer (it was compiled with one), and the function does not keep it. Whether it
 * can be put back is seen at the call:
 *
 *	bl f; nop	The compiler left room: a stub, and the no-op becomes the restore.
 *	b f		A sibling call. It never comes back here, so the next word is unrelated code, and the
 *			caller's caller, whose r2 it is, expects it kept. Nobody would restore it.
 *	bl _mcount	A profiling call stands before the function has a frame, and its no-op is left out: by convention
 *			the profiler keeps r2 (and nearly all else), so nothing has to be restored.
 *	bl f; other	The compiler knew the function and that it shares the TOC pointer.
 */
static int foreign_call(uint32_t w, const uint8_t *place, size_t avail, const char *symbol, enum sut_call_way *ret,
			const char **ret_why)
{
	if (begins(symbol, "_mcount")) {
		*ret = SUT_CALL_DIRECT;
		return 0;
	}
	if (!(w & SUT_PPC_LK)) {
		*ret_why = "a sibling call never comes back, so nothing would put the caller's TOC pointer back";
		return -EOPNOTSUPP;
	}
	if (avail < 8 || sut_ppc_word(place + 4) != SUT_PPC_NOP) {
		*ret_why = "no no-op follows the call, so there is no room to put the caller's TOC pointer back";
		return -EOPNOTSUPP;
	}
	*ret = SUT_CALL_STUB;
	return 0;
}

int sut_ppc_call_way(const struct sut_reloc_howto *howto, const uint8_t *place, size_t avail, uint8_t other,
		     bool same_toc, const char *symbol, enum sut_call_way *ret, const char **ret_why)
{
	unsigned local = SUT_PPC_LOCAL(other);
	uint32_t w;

	if (howto->kind != SUT_RELOC_PLT || avail < 4)
		return -EILSEQ;
	w = sut_ppc_word(place);
	if (SUT_PPC_OP(w) != (howto->type == R_PPC64_REL14 ? 16 : 18) || (w & SUT_PPC_AA))
		return -EILSEQ;
	if (local == 7) {
		*ret_why = "st_other has a reserved value";
		return -EOPNOTSUPP;
	}
	if (howto->type == R_PPC64_REL24_NOTOC) {
		/* r12 must be the address where the function derives its TOC pointer; in another object that is not known. */
		*ret = local < 2 && same_toc ? SUT_CALL_DIRECT : SUT_CALL_STUB_NOTOC;
		return 0;
	}
	if (saves_registers(symbol)) {
		*ret = SUT_CALL_NEAR;
		return 0;
	}
	if (same_toc && local != 1) {
		*ret = SUT_CALL_DIRECT;
		return 0;
	}
	return foreign_call(w, place, avail, symbol, ret, ret_why);
}
