/* SPDX-License-Identifier: MIT */
/*
 * branch.c - jumps, no-ops, veneers and stubs.
 *
 * Encoders are pure: (pc, targets) -> words or -ERANGE, in which case what is in the output buffer does not matter. Of
 * registers nothing changes but x16 (x17 is left alone as well), which the procedure call standard gives to veneers at any
 * call; flags and the stack pointer stay, so that the call frame information of a function's first
 * instruction holds all through every stub.
 *
 * A `br` may only lead to a landing pad where the target is guarded (BTI), so it is used towards
 * functions and never back into the middle of one; `br x16` is accepted by all landing pads of functions.
 */
#include <errno.h>

#include "arch/aarch64/aarch64.h"

int sut_a64_put_branch(uint32_t word, unsigned bits, unsigned shift, uint64_t pc, uint64_t target, uint8_t *out)
{
	int64_t away = (int64_t)(target - pc), words = away / 4;

	if ((away & 3) || words < -(1ll << (bits - 1)) || words >= 1ll << (bits - 1))
		return -ERANGE;
	sut_a64_put(out, word | ((uint32_t)words & ((1u << bits) - 1)) << shift);
	return 0;
}

int sut_a64_jump_encode(uint64_t pc, uint64_t target, uint8_t *out)
{
	return sut_a64_put_branch(0x14000000, 26, 0, pc, target, out); /* b target */
}

bool sut_a64_jump_decode(const uint8_t *code, uint64_t pc, uint64_t *ret_target)
{
	struct sut_insn insn;

	if (sut_a64_insn_decode(code, 4, pc, &insn) || insn.kind != SUT_INSN_JUMP)
		return false;
	*ret_target = insn.target;
	return true;
}

void sut_a64_nop_fill(uint8_t *out, size_t len)
{
	for (; len >= 4; len -= 4, out += 4)
		sut_a64_put(out, SUT_A64_NOP);
	for (; len; len--) /* no instruction: nothing of ours is so short */
		*out++ = 0;
}

/* From word @n of a stub on: udf, never reached. */
static void fill_udf(uint8_t *out, size_t size, unsigned n)
{
	for (size_t at = 4 * (size_t)n; at < size; at += 4)
		sut_a64_put(out + at, 0); /* udf #0 */
}

int sut_a64_veneer(uint64_t pc, uint64_t target, uint8_t *out)
{
	unsigned n;

	if (target & 3)
		return -ERANGE;
	n = sut_a64_put_address(pc, target, SUT_A64_X16, out); /* adrp x16,target; add x16,x16,:lo12:target */
	sut_a64_put(out + 4 * n, 0xd61f0200); /* br x16 */
	fill_udf(out, SUT_A64_VENEER_SIZE, n + 1);
	return 0;
}

int sut_a64_plt_stub(uint64_t pc, uint64_t slot, uint8_t *out)
{
	if ((slot & 7) || sut_a64_put_adrp(pc + 4, slot, SUT_A64_X16, out + 4)) /* adrp x16,slot */
		return -ERANGE;
	sut_a64_put(out, SUT_A64_BTI_C); /* the stub's address may be taken */
	sut_a64_put(out + 8, 0xf9400210 | (uint32_t)(slot & 0xfff) / 8 << 10); /* ldr x16,[x16,:lo12:slot] */
	sut_a64_put(out + 12, 0xd61f0200); /* br x16 */
	return 0;
}

int sut_a64_switch_stub(uint64_t pc, uint64_t side, uint64_t new_func, uint64_t orig_entry, uint8_t *out)
{
	uint32_t lo = (uint32_t)(side & 0xfff);
	unsigned n = 1;

	if (sut_a64_put_adrp(pc, side, SUT_A64_X16, out)) { /* adrp x16,side */
		sut_a64_put_constant(side, SUT_A64_X16, out);
		lo = 0;
		n = 4;
	}
	sut_a64_put(out + 4 * n, 0x39400210 | lo << 10); /* ldrb w16,[x16,:lo12:side] */
	sut_a64_put(out + 4 * n + 4, 0x34000050); /* cbz w16,. + 8 */
	if (sut_a64_jump_encode(pc + 4 * n + 8, new_func, out + 4 * n + 8) || /* b new_func */
	    sut_a64_jump_encode(pc + 4 * n + 12, orig_entry, out + 4 * n + 12)) /* b orig_entry */
		return -ERANGE;
	fill_udf(out, SUT_A64_SWITCH_STUB_SIZE, n + 4);
	return 0;
}

int sut_a64_entry_adapter(const uint8_t *old_code, size_t len, uint64_t pc, uint64_t new_func, uint8_t *out)
{
	uint32_t pad = len < 4 ? 0 : sut_a64_get(old_code);

	if (pad != SUT_A64_PACIASP && pad != SUT_A64_PACIBSP)
		return -EOPNOTSUPP;
	sut_a64_put(out, pad == SUT_A64_PACIASP ? SUT_A64_AUTIASP : SUT_A64_AUTIBSP); /* autiasp or autibsp */
	return sut_a64_jump_encode(pc + 4, new_func, out + 4); /* b new_func */
}
