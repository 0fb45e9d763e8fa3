/* SPDX-License-Identifier: MIT */
/*
 * branch.c - branches, no-ops, stubs and veneers.
 *
 * Encoders are pure: (pc, targets) -> words or -ERANGE, in which case what is in the output
 * buffer does not matter. A stub at an entry may change r12 and CTR, which linkage itself uses, and
 * nothing else: not r2 (the caller's TOC pointer), not LR, no condition field (gcc's -fipa-ra keeps values
 * in cr0 over a call), not r11 either (the static chain of a nested function). No stub moves the stack
 * pointer, so the call frame information of a function's first instruction holds all through it.
 */
#include <errno.h>

#include "arch/ppc64le/ppc64le.h"

static bool fits(int64_t v, unsigned bits)
{
	return sut_ppc_sext((uint64_t)v, bits) == v;
}

int sut_ppc_jump_encode(uint64_t pc, uint64_t target, uint8_t *out)
{
	int64_t rel = (int64_t)(target - pc);

	if (!fits(rel, 26) || (rel & 3))
		return -ERANGE;
	sut_ppc_put_word(out, SUT_PPC_B | ((uint32_t)rel & 0x03fffffc)); /* b target */
	return 0;
}

bool sut_ppc_jump_decode(const uint8_t *code, uint64_t pc, uint64_t *ret_target)
{
	uint32_t w = sut_ppc_word(code);

	if ((w & 0xfc000003) != SUT_PPC_B)
		return false;
	*ret_target = pc + (uint64_t)sut_ppc_sext(w & 0x03fffffc, 26);
	return true;
}

int sut_ppc_bc_encode(uint32_t w, uint64_t pc, uint64_t target, uint8_t *out)
{
	int64_t rel = (int64_t)(target - pc);

	if (!fits(rel, 16) || (rel & 3))
		return -ERANGE;
	sut_ppc_put_word(out, (w & 0xffff0001) | ((uint32_t)rel & 0xfffc));
	return 0;
}

/* Whole words; what is left over at the end becomes zeros. */
void sut_ppc_nop_fill(uint8_t *out, size_t len)
{
	size_t at = 0;

	for (; len - at >= 4; at += 4)
		sut_ppc_put_word(out + at, SUT_PPC_NOP); /* nop */
	for (; at < len; at++)
		out[at] = 0;
}

/* The upper 48 bits of @v, four words; the lowest 16 are zeros. */
static void load_high(unsigned r, uint64_t v, uint8_t *out)
{
	sut_ppc_put_word(out, 0x3c000000 | r << 21 | (uint32_t)(v >> 48)); /* lis r,v@highest */
	sut_ppc_put_word(out + 4, 0x60000000 | r << 21 | r << 16 | (uint32_t)(v >> 32 & 0xffff)); /* ori r,r,v@higher */
	sut_ppc_put_word(out + 8, 0x780007c6 | r << 21 | r << 16); /* sldi r,r,32 */
	sut_ppc_put_word(out + 12, 0x64000000 | r << 21 | r << 16 | (uint32_t)(v >> 16 & 0xffff)); /* oris r,r,v@h */
}

void sut_ppc_load_imm(unsigned r, uint64_t v, uint8_t *out)
{
	load_high(r, v, out);
	sut_ppc_put_word(out + 16, 0x60000000 | r << 21 | r << 16 | (uint32_t)(v & 0xffff)); /* ori r,r,v@l */
}

/* The upper part of @addr in r12, so that a signed displacement gets at the rest: the displacement. */
static uint32_t base_of(uint64_t addr, uint8_t *out)
{
	load_high(12, addr - (uint64_t)sut_ppc_sext(addr & 0xffff, 16), out);
	return (uint32_t)(addr & 0xffff);
}

/*
 * Seven words: r12 from the slot, as a function's global entry wants it, and there. The slot's address is
 * put together in r12 alone, because r2 is not known to be anybody's TOC pointer.
 */
static int through_slot(uint64_t slot, uint8_t *out)
{
	if (slot & 3)
		return -ERANGE;
	sut_ppc_put_word(out + 16, 0xe98c0000 | base_of(slot, out)); /* ld r12,slot@l(r12) */
	sut_ppc_put_word(out + 20, SUT_PPC_MTCTR_12); /* mtctr r12 */
	sut_ppc_put_word(out + 24, SUT_PPC_BCTR); /* bctr */
	return 0;
}

int sut_ppc_plt_stub(uint64_t pc, uint64_t slot, uint8_t *out)
{
	sut_ppc_put_word(out, SUT_PPC_STD_TOC); /* std r2,24(r1): the caller's restore reads it */
	return through_slot(slot, out + 4);
}

/*
 * Nothing is stored: a caller without a TOC pointer may have no frame, and 24(r1) then is the word in which
 * its own caller keeps one.
 */
int sut_ppc_plt_stub_notoc(uint64_t pc, uint64_t slot, uint8_t *out)
{
	sut_ppc_put_word(out + 28, SUT_PPC_TRAP); /* trap: never reached */
	return through_slot(slot, out);
}

/* r12 is the target, which is right for a global entry and of no meaning to a local one. */
static size_t far_jump(uint64_t target, uint8_t *out)
{
	sut_ppc_load_imm(12, target, out);
	sut_ppc_put_word(out + 20, SUT_PPC_MTCTR_12); /* mtctr r12 */
	sut_ppc_put_word(out + 24, SUT_PPC_BCTR); /* bctr */
	return 28;
}

int sut_ppc_veneer(uint64_t pc, uint64_t target, uint8_t *out)
{
	if (target & 3)
		return -ERANGE;
	sut_ppc_put_word(out + far_jump(target, out), SUT_PPC_TRAP); /* trap: never reached */
	return 0;
}

/* One branch where it reaches, else a far jump. Bytes written. */
static size_t jump_anywhere(uint64_t pc, uint64_t target, uint8_t *out)
{
	return sut_ppc_jump_encode(pc, target, out) ? far_jump(target, out) : 4;
}

/*
 * The choice is made by CTR and not by a condition field, which has to stay: with side + 1 in it, bdz
 * (decrement, branch if zero) is taken exactly if side is 0. The byte goes through r12: addi can not read r0.
 */
int sut_ppc_switch_stub(uint64_t pc, uint64_t side, uint64_t new_func, uint64_t orig_entry, uint8_t *out)
{
	size_t at = 16, bdz;
	uint32_t low = base_of(side, out);

	if ((new_func | orig_entry) & 3)
		return -ERANGE;
	sut_ppc_put_word(out + at, 0x898c0000 | low); /* lbz r12,side@l(r12) */
	sut_ppc_put_word(out + at + 4, 0x398c0001); /* addi r12,r12,1 */
	sut_ppc_put_word(out + at + 8, SUT_PPC_MTCTR_12); /* mtctr r12 */
	bdz = at + 12;
	at += 16;
	at += jump_anywhere(pc + at, new_func, out + at);
	sut_ppc_put_word(out + bdz, 0x42400000 | (uint32_t)(at - bdz)); /* bdz orig */
	at += jump_anywhere(pc + at, orig_entry, out + at);
	for (; at < SUT_PPC_SWITCH_STUB_SIZE; at += 4)
		sut_ppc_put_word(out + at, SUT_PPC_TRAP); /* trap: never reached */
	return 0;
}
