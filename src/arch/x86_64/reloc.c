/* SPDX-License-Identifier: MIT */
/*
 * reloc.c - the relocation types of object files, and the one computation of a field.
 *
 * All types that gcc and clang emit for ET_REL at any level, code model and TLS model are
 * here. Types that only a linker makes for a dynamic linker (COPY, GLOB_DAT, JUMP_SLOT, RELATIVE,
 * DTPMOD64, IRELATIVE, TLSDESC) and those of x32 are not: they are unknown, and unknown is an error.
 * Must not decide anything: what S means is said by the kind, and the loader has looked it up.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "arch/x86_64/x86_64.h"

#define HOWTO(t, k, bytes, sign, pc) [R_X86_64_##t] = { R_X86_64_##t, "R_X86_64_" #t, SUT_RELOC_##k, bytes, sign, pc }

/* type, kind, bytes, signed, pc-relative */
static const struct sut_reloc_howto howtos[] = {
	HOWTO(NONE, NONE, 0, false, false),
	HOWTO(64, ABS, 8, false, false),
	HOWTO(32, ABS, 4, false, false),
	HOWTO(32S, ABS, 4, true, false),
	HOWTO(16, ABS, 2, false, false),
	HOWTO(8, ABS, 1, false, false),
	HOWTO(PC8, PCREL, 1, true, true),
	HOWTO(PC16, PCREL, 2, true, true),
	HOWTO(PC32, PCREL, 4, true, true),
	HOWTO(PC64, PCREL, 8, true, true),
	HOWTO(PLT32, PLT, 4, true, true),
	/* L + A - GOT. The 64 bits reach the symbol itself, so no stub has to stand in. */
	HOWTO(PLTOFF64, GOT_REL, 8, true, false),
	HOWTO(GOT32, GOT_OFF, 4, true, false),
	HOWTO(GOT64, GOT_OFF, 8, true, false),
	HOWTO(GOTPLT64, GOT_OFF, 8, true, false),
	HOWTO(GOTPCREL, GOT, 4, true, true),
	HOWTO(GOTPCREL64, GOT, 8, true, true),
	HOWTO(GOTPCRELX, GOT_LOAD, 4, true, true),
	HOWTO(REX_GOTPCRELX, GOT_LOAD, 4, true, true),
	HOWTO(GOTPC32, GOT_BASE, 4, true, true),
	HOWTO(GOTPC64, GOT_BASE, 8, true, true),
	HOWTO(GOTOFF64, GOT_REL, 8, true, false),
	HOWTO(SIZE32, SIZE, 4, false, false),
	HOWTO(SIZE64, SIZE, 8, false, false),
	HOWTO(TPOFF32, TLS_LE, 4, true, false),
	HOWTO(TPOFF64, TLS_LE, 8, true, false),
	HOWTO(GOTTPOFF, TLS_IE, 4, true, true),
	HOWTO(TLSGD, TLS_GD, 4, true, true),
	HOWTO(TLSLD, TLS_LD, 4, true, true),
	HOWTO(DTPOFF32, TLS_DTPOFF, 4, true, false),
	HOWTO(DTPOFF64, TLS_DTPOFF, 8, true, false),
	HOWTO(GOTPC32_TLSDESC, TLS_DESC, 4, true, true),
	HOWTO(TLSDESC_CALL, TLS_DESC_CALL, 0, false, false),
};

const struct sut_reloc_howto *sut_x86_reloc_howto(uint32_t type)
{
	if (type >= sizeof(howtos) / sizeof(howtos[0]) || !howtos[type].name)
		return NULL;
	return &howtos[type];
}

/* Whether @v, a 64-bit result, is kept by the field. Like GNU ld, fields of one and two bytes take both ways to read them. */
static bool fits(const struct sut_reloc_howto *howto, uint64_t v)
{
	unsigned bits = howto->size * 8u;
	int64_t s = (int64_t)v;
	bool as_signed, as_unsigned;

	if (bits >= 64)
		return true;
	as_signed = s >= -(1ll << (bits - 1)) && s < 1ll << (bits - 1);
	as_unsigned = v < 1ull << bits;
	if (bits < 32 && !howto->pcrel)
		return as_signed || as_unsigned;
	return howto->is_signed ? as_signed : as_unsigned;
}

static int value_of(const struct sut_reloc_howto *howto, const struct sut_reloc_values *v, uint64_t *ret)
{
	uint64_t a = (uint64_t)v->A;

	switch (howto->kind) {
	case SUT_RELOC_ABS:
	case SUT_RELOC_SIZE:
	case SUT_RELOC_TLS_LE:
	case SUT_RELOC_TLS_DTPOFF:
		*ret = v->S + a;
		return 0;
	case SUT_RELOC_PCREL:
	case SUT_RELOC_PLT:
	case SUT_RELOC_GOT:
	case SUT_RELOC_GOT_LOAD:
	case SUT_RELOC_TLS_IE:
	case SUT_RELOC_TLS_GD:
	case SUT_RELOC_TLS_LD:
	case SUT_RELOC_TLS_DESC:
		*ret = v->S + a - v->P;
		return 0;
	case SUT_RELOC_GOT_BASE:
		*ret = v->GOT + a - v->P;
		return 0;
	case SUT_RELOC_GOT_OFF:
	case SUT_RELOC_GOT_REL:
		*ret = v->S + a - v->GOT;
		return 0;
	default: /* NONE and TLS_DESC_CALL; the rest is of other architectures */
		break;
	}
	return -EOPNOTSUPP;
}

int sut_x86_relocate_field(const struct sut_reloc_howto *howto, const struct sut_reloc_values *v, uint8_t *place)
{
	uint64_t value;
	int err;

	if (!howto->size)
		return 0;
	err = value_of(howto, v, &value);
	if (err)
		return err;
	if (!fits(howto, value))
		return -ERANGE;
	for (unsigned i = 0; i < howto->size; i++)
		place[i] = (uint8_t)(value >> (8 * i));
	return 0;
}
