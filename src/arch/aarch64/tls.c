/* SPDX-License-Identifier: MIT */
/*
 * tls.c - turns a general-dynamic or descriptor TLS sequence into local exec.
 *
 * The ABI prescribes the sequences, so that a linker may do this; what is written is what GNU ld writes. A
 * descriptor sequence is four relocated words, each rewritten on its own:
 *
 *	adrp x0,:tlsdesc:v			movz x0,#:tprel_g1:v,lsl #16
 *	ldr  xN,[x0,:tlsdesc_lo12:v]		movk x0,#:tprel_g0_nc:v
 *	add  x0,x0,:tlsdesc_lo12:v		nop
 *	blr  xN					nop
 *
 * The general dynamic one ends in a call with relocations of its own, and is rewritten as a whole:
 *
 *	adrp x0,:tlsgd:v			movz x0,#:tprel_g1:v,lsl #16
 *	add  x0,x0,:tlsgd_lo12:v		movk x0,#:tprel_g0_nc:v
 *	bl   __tls_get_addr			mrs  x1,tpidr_el0
 *	nop					add  x0,x1,x0
 *
 * Every word is verified before one is written. Another sequence is -EOPNOTSUPP.
 */
#include <elf.h>
#include <errno.h>

#include "arch/aarch64/aarch64.h"

static uint32_t movz_g1(int64_t tpoff)
{
	return 0xd2a00000 | (uint32_t)(tpoff >> 16 & 0xffff) << 5; /* movz x0,#g1,lsl #16 */
}

static uint32_t movk_g0(int64_t tpoff)
{
	return 0xf2800000 | (uint32_t)(tpoff & 0xffff) << 5; /* movk x0,#g0 */
}

static int relax_gd(uint8_t *code, size_t room, int64_t tpoff)
{
	static const uint32_t from[4] = {
		0x90000000, /* adrp x0 */
		0x91000000, /* add x0,x0,#0 */
		0x94000000, /* bl */
		SUT_A64_NOP, /* nop */
	};

	if (room < sizeof(from))
		return -EOPNOTSUPP;
	for (unsigned i = 0; i < 4; i++)
		if (sut_a64_get(code + 4 * i) != from[i])
			return -EOPNOTSUPP;
	if (tpoff < 0 || tpoff >> 32)
		return -ERANGE;
	sut_a64_put(code, movz_g1(tpoff));
	sut_a64_put(code + 4, movk_g0(tpoff));
	sut_a64_put(code + 8, 0xd53bd041); /* mrs x1,tpidr_el0 */
	sut_a64_put(code + 12, 0x8b000020); /* add x0,x1,x0 */
	return 0;
}

static int relax_desc(uint32_t type, uint8_t *code, int64_t tpoff)
{
	uint32_t w = sut_a64_get(code), to;
	bool fits;

	switch (type) {
	case R_AARCH64_TLSDESC_ADR_PAGE21:
		fits = w == 0x90000000; /* adrp x0 */
		to = movz_g1(tpoff);
		break;
	case R_AARCH64_TLSDESC_LD64_LO12:
		fits = (w & ~31u) == 0xf9400000; /* ldr xN,[x0] */
		to = movk_g0(tpoff);
		break;
	case R_AARCH64_TLSDESC_ADD_LO12:
		fits = w == 0x91000000; /* add x0,x0,#0 */
		to = SUT_A64_NOP;
		break;
	case R_AARCH64_TLSDESC_CALL:
		fits = (w & 0xfffffc1f) == 0xd63f0000; /* blr xN */
		to = SUT_A64_NOP;
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (!fits)
		return -EOPNOTSUPP;
	if (tpoff < 0 || tpoff >> 32)
		return -ERANGE;
	sut_a64_put(code, to);
	return 0;
}

int sut_a64_tls_relax(const struct sut_reloc_howto *howto, uint8_t *code, size_t len, size_t off, int64_t tpoff,
		      unsigned *ret_skip)
{
	bool gd = howto->type == R_AARCH64_TLSGD_ADR_PAGE21;
	int err;

	if (off > len || len - off < 4)
		return -EOPNOTSUPP;
	err = gd ? relax_gd(code + off, len - off, tpoff) : relax_desc(howto->type, code + off, tpoff);
	if (!err)
		*ret_skip = gd ? howto->tls_calls : 0;
	return err;
}
