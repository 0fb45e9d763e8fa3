/* SPDX-License-Identifier: MIT */
/*
 * relocate.c - moves a function's first instructions to another place.
 *
 * An instruction is moved if it then does exactly what it did. Words that do not look at the pc are copied. What names an
 * address gets it in another way:
 *
 *	adr, adrp		adr, adrp (and add), or the address as a constant, into the same register
 *	ldr xN,literal		the literal's page into xN, ldr xN from there (the register is written anyway)
 *	ldr vN, prfm literal	the same through x16, which is free at a function's entry
 *	b			b
 *	b.cond, cbz, tbz	the same where it reaches, else inverted over a b
 *	bl, blr			x30 is set to where the call would have returned to, then b or br
 *
 * So a moved call leaves no return address in moved code. Refused: what branches into the moved words or reads them, traps, calls
 * with authentication, words that take their own address into account. What is behind an unconditional end of
 * control flow must be padding. Branches from the rest of the function into the moved words can not be
 * seen here; the caller looks for them.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "arch/aarch64/aarch64.h"

struct mover {
	uint64_t from, to;
	size_t moved; /* bytes of the original to be moved */
	uint8_t *out;
	size_t cap, len;
};

/* How many words cover @min bytes; all must be decodable. */
static int extent(const uint8_t *code, size_t len, size_t min, uint64_t from, size_t *ret)
{
	bool ended = false;
	size_t at;

	for (at = 0; at < min; at += 4) {
		struct sut_insn insn;
		int err = sut_a64_insn_decode(code + at, len > at ? len - at : 0, from + at, &insn);

		if (err)
			return err;
		if (ended && insn.kind != SUT_INSN_NOP && insn.kind != SUT_INSN_TRAP)
			return -EOPNOTSUPP;
		if (!ended && insn.kind == SUT_INSN_TRAP)
			return -EOPNOTSUPP;
		ended |= insn.ends;
	}
	*ret = at;
	return 0;
}

static bool inside(const struct mover *m, uint64_t addr)
{
	return addr >= m->from && addr < m->from + m->moved;
}

static uint64_t here(const struct mover *m)
{
	return m->to + m->len;
}

static int emit(struct mover *m, uint32_t word)
{
	if (m->cap - m->len < 4)
		return -ENOSPC;
	sut_a64_put(m->out + m->len, word);
	m->len += 4;
	return 0;
}

static int emit_branch(struct mover *m, uint32_t word, unsigned bits, unsigned shift, uint64_t target)
{
	uint8_t code[4];
	int err = sut_a64_put_branch(word, bits, shift, here(m), target, code);

	return err ? err : emit(m, sut_a64_get(code));
}

static int emit_jump(struct mover *m, uint64_t target)
{
	return emit_branch(m, 0x14000000, 26, 0, target); /* b target */
}

static int emit_address(struct mover *m, uint64_t value, unsigned reg)
{
	uint8_t code[16];
	unsigned n = sut_a64_put_address(here(m), value, reg, code);
	int err = 0;

	for (unsigned i = 0; i < n && !err; i++)
		err = emit(m, sut_a64_get(code + 4 * i));
	return err;
}

/* b.cond, bc.cond, cbz, cbnz, tbz, tbnz: @bits of distance at bit 5. */
static int move_conditional(struct mover *m, uint32_t w, const struct sut_insn *insn)
{
	bool tests_bit = insn->pcrel_reloc == R_AARCH64_TSTBR14, by_flags = (w & 0xff000000) == 0x54000000;
	unsigned bits = tests_bit ? 14 : 19;
	uint32_t opcode = w & ~(((1u << bits) - 1) << 5);
	int err;

	if (by_flags && (w & 14) == 14) /* b.al, b.nv: always */
		return emit_jump(m, insn->target);
	err = emit_branch(m, opcode, bits, 5, insn->target);
	if (err != -ERANGE)
		return err;
	opcode ^= by_flags ? 1u : 1u << 24; /* the opposite condition, over the jump: . + 8 */
	err = emit(m, opcode | 2u << 5);
	return err ? err : emit_jump(m, insn->target);
}

/* The literal at insn->target, through the register itself or x16. */
static int move_literal(struct mover *m, uint32_t w, size_t at, const struct sut_insn *insn)
{
	/* ldr wN, xN; ldrsw; prfm; ldr sN, dN, qN with an unsigned offset, and the size that scales it. */
	static const uint32_t general[4] = { 0xb9400000, 0xf9400000, 0xb9800000, 0xf9800000 };
	static const uint32_t vector[4] = { 0xbd400000, 0xfd400000, 0x3dc00000 };
	static const uint8_t general_size[4] = { 4, 8, 4, 8 }, vector_size[4] = { 4, 8, 16, 16 };
	unsigned opc = w >> 30, reg = w & 31, base = reg;
	bool is_vector = w >> 26 & 1;
	uint32_t load = is_vector ? vector[opc] : general[opc];
	uint32_t size = is_vector ? vector_size[opc] : general_size[opc], lo = (uint32_t)(insn->target & 0xfff);
	uint8_t page[4];
	int err;

	if (insn->target < m->from + m->moved && insn->target + size > m->from)
		return -EOPNOTSUPP;
	if (is_vector || opc == 3 || reg == 31) {
		if (at) /* an earlier moved word may have put something into it */
			return -EOPNOTSUPP;
		base = SUT_A64_X16;
	}
	if (lo % size == 0 && !sut_a64_put_adrp(here(m), insn->target, base, page)) {
		err = emit(m, sut_a64_get(page)); /* adrp xB,page */
		return err ? err : emit(m, load | lo / size << 10 | base << 5 | reg); /* ldr xN,[xB,#lo] */
	}
	err = emit_address(m, insn->target, base);
	return err ? err : emit(m, load | base << 5 | reg); /* ldr xN,[xB] */
}

/* A call sets x30 and branches; @branch is what does the latter when it is a register's. */
static int move_call(struct mover *m, size_t at, const struct sut_insn *insn, uint32_t branch)
{
	int err;

	if (at + 4 != m->moved) /* it would return into the site */
		return -EOPNOTSUPP;
	if (insn->pcrel && insn->target != m->from && inside(m, insn->target))
		return -EOPNOTSUPP;
	err = emit_address(m, m->from + m->moved, SUT_A64_X30);
	if (err)
		return err;
	return branch ? emit(m, branch) : emit_jump(m, insn->target);
}

static int move_pcrel(struct mover *m, uint32_t w, size_t at, const struct sut_insn *insn)
{
	/* The function's own address may be taken or called (it is an entry still); all else inside is a word that is gone. */
	if (insn->kind == SUT_INSN_CALL)
		return move_call(m, at, insn, 0);
	if (insn->pcrel_reloc == R_AARCH64_ADR_PREL_PG_HI21)
		return emit_address(m, insn->target, w & 31);
	if (insn->pcrel_reloc == R_AARCH64_ADR_PREL_LO21)
		return insn->target != m->from && inside(m, insn->target) ? -EOPNOTSUPP
									  : emit_address(m, insn->target, w & 31);
	if (!insn->pcrel_reloc || inside(m, insn->target))
		return -EOPNOTSUPP;
	if (insn->kind == SUT_INSN_JUMP)
		return emit_jump(m, insn->target);
	if (insn->kind == SUT_INSN_BRANCH)
		return move_conditional(m, w, insn);
	return move_literal(m, w, at, insn);
}

static int move_one(struct mover *m, uint32_t w, size_t at)
{
	struct sut_insn insn;
	uint8_t code[4];
	int err;

	sut_a64_put(code, w);
	err = sut_a64_insn_decode(code, 4, m->from + at, &insn);
	if (err)
		return err;
	if (insn.pcrel)
		return move_pcrel(m, w, at, &insn);
	if (insn.kind != SUT_INSN_INDIRECT || insn.ends)
		return emit(m, w);
	if ((w & 0xfffffc1f) != 0xd63f0000 || (w >> 5 & 31) == SUT_A64_X30) /* blraa and its like; blr x30 */
		return -EOPNOTSUPP;
	return move_call(m, at, &insn, 0xd61f0000 | (w & 0x3e0)); /* br xN */
}

int sut_a64_relocate_entry(const uint8_t *code, size_t len, size_t min, uint64_t from, uint64_t to, uint8_t *out,
			   size_t cap, size_t *ret_len, size_t *ret_moved)
{
	struct mover m = { .from = from, .to = to, .out = out, .cap = cap };
	int err = (from | to) & 3 ? -EILSEQ : extent(code, len, min, from, &m.moved);

	for (size_t at = 0; !err && at < m.moved; at += 4)
		err = move_one(&m, sut_a64_get(code + at), at);
	if (!err)
		err = emit_jump(&m, from + m.moved);
	if (err)
		return err;
	*ret_len = m.len;
	*ret_moved = m.moved;
	return 0;
}
