/* SPDX-License-Identifier: MIT */
/*
 * relocate.c - moves a function's first instructions to another place.
 *
 * An instruction is moved if it then does exactly what it did: a field that counts from the instruction is
 * computed anew, a short branch becomes a long one. What can not keep its meaning is refused: jrcxz and
 * loop (no long form), xbegin, a branch into the moved bytes themselves (these are overwritten by the
 * jump at the site), a call that is there to read its own return address. What is behind an
 * unconditional end of control flow (jump, return, trap) must be padding: anything else is reached by
 * a branch from elsewhere, into bytes that will be overwritten.
 *
 * A call that is moved leaves a return address in the moved code, so that must stay mapped, and
 * is not where call frame information expects it. Branches from the rest of the
 * function into the moved bytes can not be seen here; the caller looks for them.
 */
#include <errno.h>
#include <string.h>

#include "arch/x86_64/x86_64.h"

struct mover {
	const uint8_t *code; /* at from */
	uint64_t from, to;
	size_t moved; /* bytes of the original to be moved */
	uint8_t *out;
	size_t cap, len;
};

/* How many bytes whole instructions take that cover @min, or an error. */
static int extent(const uint8_t *code, size_t len, size_t min, uint64_t from, size_t *ret)
{
	bool ended = false;
	size_t at = 0;

	while (at < min) {
		struct sut_insn insn;
		int err = sut_x86_insn_decode(code + at, len - at, from + at, &insn);

		if (err)
			return err;
		if (ended && insn.kind != SUT_INSN_NOP && insn.kind != SUT_INSN_TRAP)
			return -EOPNOTSUPP;
		ended |= insn.ends;
		at += insn.len;
	}
	*ret = at;
	return 0;
}

static bool inside(const struct mover *m, uint64_t addr)
{
	return addr >= m->from && addr < m->from + m->moved;
}

/* Emits @n bytes of opcode and a 32-bit displacement to @target. */
static int emit_branch(struct mover *m, const uint8_t *opcode, size_t n, uint64_t target)
{
	if (m->cap - m->len < n + 4)
		return -ENOSPC;
	memcpy(m->out + m->len, opcode, n);
	m->len += n + 4;
	return sut_x86_put_rel32(m->to + m->len, target, m->out + m->len - 4);
}

static int move_call(struct mover *m, uint64_t next, const struct sut_insn *insn)
{
	/* A call of the function itself enters it anew, through its site; any other into the moved bytes, or
	 * to the next instruction (to read the pc), can not be kept. */
	if (insn->target == next || (insn->target != m->from && inside(m, insn->target)))
		return -EOPNOTSUPP;
	return emit_branch(m, (const uint8_t[]){ 0xe8 }, 1, insn->target); /* call rel32 */
}

static int move_conditional(struct mover *m, const uint8_t *code, const struct sut_insn *insn)
{
	uint8_t opcode[2] = { 0x0f, 0 }; /* jcc rel32 */

	if (insn->pcrel_size == 1 && (code[insn->pcrel_off - 1] & 0xf0) == 0x70) /* jcc rel8 */
		opcode[1] = code[insn->pcrel_off - 1] + 0x10;
	else if (insn->pcrel_size == 4 && code[insn->pcrel_off - 2] == 0x0f)
		opcode[1] = code[insn->pcrel_off - 1];
	else
		return -EOPNOTSUPP; /* jrcxz, loop, xbegin */
	return emit_branch(m, opcode, sizeof(opcode), insn->target);
}

static int move_one(struct mover *m, size_t at, const struct sut_insn *insn)
{
	const uint8_t *code = m->code + at;

	if (insn->pcrel && !insn->pcrel_size)
		return -EOPNOTSUPP;
	if (insn->kind == SUT_INSN_CALL)
		return move_call(m, m->from + at + insn->len, insn);
	if (insn->kind == SUT_INSN_JUMP || insn->kind == SUT_INSN_BRANCH) {
		if (inside(m, insn->target))
			return -EOPNOTSUPP;
		if (insn->kind == SUT_INSN_BRANCH)
			return move_conditional(m, code, insn);
		return emit_branch(m, (const uint8_t[]){ 0xe9 }, 1, insn->target); /* jmp rel32 */
	}
	if (m->cap - m->len < insn->len)
		return -ENOSPC;
	memcpy(m->out + m->len, code, insn->len);
	m->len += insn->len;
	if (!insn->pcrel)
		return 0;
	/* The function's own address may be taken (it is an entry still), an address inside may not. */
	if (insn->pcrel_size != 4 || (insn->target != m->from && inside(m, insn->target)))
		return -EOPNOTSUPP;
	return sut_x86_put_rel32(m->to + m->len, insn->target, m->out + m->len - insn->len + insn->pcrel_off);
}

int sut_x86_relocate_entry(const uint8_t *code, size_t len, size_t min, uint64_t from, uint64_t to, uint8_t *out,
			   size_t cap, size_t *ret_len, size_t *ret_moved)
{
	struct mover m = { .code = code, .from = from, .to = to, .out = out, .cap = cap };
	int err = extent(code, len, min, from, &m.moved);

	for (size_t at = 0; !err && at < m.moved;) {
		struct sut_insn insn;

		err = sut_x86_insn_decode(code + at, len - at, from + at, &insn);
		if (!err)
			err = move_one(&m, at, &insn);
		at += err ? 0 : insn.len;
	}
	if (!err)
		err = emit_branch(&m, (const uint8_t[]){ 0xe9 }, 1, from + m.moved); /* jmp rel32 */
	if (err)
		return err;
	*ret_len = m.len;
	*ret_moved = m.moved;
	return 0;
}
