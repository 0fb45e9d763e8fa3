/* SPDX-License-Identifier: MIT */
/*
 * words.c - reading and writing instruction words, and the few sequences that put an address into a register.
 *
 * Words are little-endian whatever the data is.
 */
#include <errno.h>

#include "arch/aarch64/aarch64.h"

uint32_t sut_a64_get(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

void sut_a64_put(uint8_t *p, uint32_t word)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(word >> (8 * i));
}

static void put_adr(uint32_t opcode, int64_t imm, unsigned reg, uint8_t *out)
{
	uint32_t v = (uint32_t)imm & 0x1fffff;

	sut_a64_put(out, opcode | (v & 3) << 29 | v >> 2 << 5 | reg);
}

int sut_a64_put_adrp(uint64_t pc, uint64_t target, unsigned reg, uint8_t *out)
{
	int64_t pages = (int64_t)((target & ~0xfffull) - (pc & ~0xfffull)) / 4096;

	if (pages < -(1 << 20) || pages >= 1 << 20)
		return -ERANGE;
	put_adr(0x90000000, pages, reg, out); /* adrp xN,page */
	return 0;
}

void sut_a64_put_constant(uint64_t value, unsigned reg, uint8_t *out)
{
	for (unsigned i = 0; i < 4; i++) /* movz xN,#lo; movk xN,#.., lsl #16, #32, #48 */
		sut_a64_put(out + 4 * i, (i ? 0xf2800000 : 0xd2800000) | i << 21 |
						 (uint32_t)(value >> (16 * i) & 0xffff) << 5 | reg);
}

unsigned sut_a64_put_address(uint64_t pc, uint64_t value, unsigned reg, uint8_t *out)
{
	int64_t away = (int64_t)(value - pc);

	if (away >= -(1 << 20) && away < 1 << 20) {
		put_adr(0x10000000, away, reg, out); /* adr xN,value */
		return 1;
	}
	if (sut_a64_put_adrp(pc, value, reg, out)) {
		sut_a64_put_constant(value, reg, out);
		return 4;
	}
	if (!(value & 0xfff))
		return 1;
	sut_a64_put(out + 4, 0x91000000 | (uint32_t)(value & 0xfff) << 10 | reg << 5 | reg); /* add xN,xN,#lo12 */
	return 2;
}
