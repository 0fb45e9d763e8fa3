/* SPDX-License-Identifier: MIT */
/*
 * relocate.c - moves a function's first instructions to another place.
 *
 * A site is one word, so nearly always one instruction is moved. It must then do exactly what it did:
 *
 *	b			b to the same target
 *	bl, bcl, bctrl		LR is set to the *original* next address and the branch does not link: the
 *				callee returns into the old function, and no return address ever points into moved
 *				code. That is right for bcl 20,31,$+4, which only reads the pc, as well
 *	bc			bc; beyond 32 KiB bc over a b
 *	addpcis			its value, loaded
 *	paddi, pld, ... R=1	the displacement anew; a nop before it where it would cross 64 bytes
 *
 * LR is set through r0, which is free where a function begins and only there: mflr r0 may be the first
 * instruction. So linking branches behind the first instruction are refused. So are branches into the moved
 * bytes themselves (these are overwritten by the jump at the site), and blrl, which needs LR twice.
 *
 * What is behind an unconditional end of control flow must be padding: anything else is reached
 * by a branch from elsewhere. Branches from the rest of the function into the moved bytes can not be seen
 * here; the caller looks for them.
 */
#include <errno.h>
#include <string.h>

#include "arch/ppc64le/ppc64le.h"

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
		int err = sut_ppc_insn_decode(code + at, len - at, from + at, &insn);

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

static int emit(struct mover *m, uint32_t w)
{
	if (m->cap - m->len < 4)
		return -ENOSPC;
	sut_ppc_put_word(m->out + m->len, w);
	m->len += 4;
	return 0;
}

static int emit_b(struct mover *m, uint64_t target)
{
	int err;

	if (m->cap - m->len < 4)
		return -ENOSPC;
	err = sut_ppc_jump_encode(m->to + m->len, target, m->out + m->len);
	m->len += err ? 0 : 4;
	return err;
}

static int emit_imm(struct mover *m, unsigned reg, uint64_t v)
{
	if (m->cap - m->len < SUT_PPC_LOAD_IMM_SIZE)
		return -ENOSPC;
	sut_ppc_load_imm(reg, v, m->out + m->len);
	m->len += SUT_PPC_LOAD_IMM_SIZE;
	return 0;
}

/* LR := @v, through r0. */
static int emit_lr(struct mover *m, uint64_t v)
{
	int err = emit_imm(m, 0, v);

	return err ? err : emit(m, SUT_PPC_MTLR_0); /* mtlr r0 */
}

/* b, ba and bc, bca with BO and BI of @w, without link. */
static int emit_plain(struct mover *m, uint32_t w, uint64_t target)
{
	bool cond = SUT_PPC_OP(w) == 16 && !sut_ppc_bo_always(SUT_PPC_RT(w));
	uint64_t next;
	int err;

	if (w & SUT_PPC_AA)
		return emit(m, w & ~SUT_PPC_LK);
	if (!cond)
		return emit_b(m, target);
	if (m->cap - m->len < 12)
		return -ENOSPC;
	if (!sut_ppc_bc_encode(w & ~SUT_PPC_LK, m->to + m->len, target, m->out + m->len)) {
		m->len += 4;
		return 0;
	}
	next = m->to + m->len;
	err = sut_ppc_bc_encode(w & ~SUT_PPC_LK, next, next + 8, m->out + m->len); /* bc .+8 */
	m->len += 4;
	if (!err)
		err = emit_b(m, next + 12); /* b .+8 */
	return err ? err : emit_b(m, target); /* b target */
}

static int move_branch(struct mover *m, size_t at, uint32_t w, const struct sut_insn *insn)
{
	uint64_t next = m->from + at + 4;
	bool idiom;
	int err;

	if (!(w & SUT_PPC_LK))
		return inside(m, insn->target) ? -EOPNOTSUPP : emit_plain(m, w, insn->target);
	/* A call of the function itself enters it anew, through its site. */
	idiom = insn->pcrel && insn->target == next && next == m->from + m->moved &&
		(SUT_PPC_OP(w) == 18 || sut_ppc_bo_always(SUT_PPC_RT(w)));
	if (at || (!idiom && insn->target != m->from && inside(m, insn->target)))
		return -EOPNOTSUPP;
	/* LR is set whether a conditional branch is taken or not. */
	err = emit_lr(m, next);
	if (err || idiom) /* bcl 20,31,$+4: what follows is the jump back */
		return err;
	return emit_plain(m, w, insn->target);
}

/* bctr, bclr, bctar and their conditional and linking forms. */
static int move_register_branch(struct mover *m, size_t at, uint32_t w)
{
	int err;

	if (!(w & SUT_PPC_LK))
		return emit(m, w);
	if (at || (w >> 1 & 0x3ff) == 16) /* bclrl: its target is in LR */
		return -EOPNOTSUPP;
	err = emit_lr(m, m->from + 4);
	return err ? err : emit(m, w & ~SUT_PPC_LK);
}

static int move_prefixed(struct mover *m, const uint8_t *code, const struct sut_insn *insn)
{
	uint32_t prefix = sut_ppc_word(code), suffix = sut_ppc_word(code + 4);
	int err = 0;

	if (((m->to + m->len) & 63) == 60)
		err = emit(m, SUT_PPC_NOP); /* nop */
	if (!err && insn->pcrel) {
		int64_t d = (int64_t)(insn->target - (m->to + m->len));

		/* The function's own address may be taken (it is an entry still), an address inside may not. */
		if (insn->target != m->from && inside(m, insn->target))
			return -EOPNOTSUPP;
		if (sut_ppc_sext((uint64_t)d, 34) != d)
			return -ERANGE;
		prefix = (prefix & ~0x3ffffu) | ((uint32_t)(d >> 16) & 0x3ffff);
		suffix = (suffix & ~0xffffu) | ((uint32_t)d & 0xffff);
	}
	if (!err)
		err = emit(m, prefix);
	return err ? err : emit(m, suffix);
}

static int move_one(struct mover *m, size_t at, const struct sut_insn *insn)
{
	uint32_t w = sut_ppc_word(m->code + at);

	if (insn->len == 8)
		return move_prefixed(m, m->code + at, insn);
	switch (SUT_PPC_OP(w)) {
	case 16: /* bc */
	case 18: /* b */
		return move_branch(m, at, w, insn);
	case 19:
		if (insn->pcrel) /* addpcis */
			return emit_imm(m, SUT_PPC_RT(w), insn->target);
		if (insn->kind == SUT_INSN_INDIRECT)
			return move_register_branch(m, at, w);
		break;
	default:
		break;
	}
	return emit(m, w);
}

int sut_ppc_relocate_entry(const uint8_t *code, size_t len, size_t min, uint64_t from, uint64_t to, uint8_t *out,
			   size_t cap, size_t *ret_len, size_t *ret_moved)
{
	struct mover m = { .code = code, .from = from, .to = to, .out = out, .cap = cap };
	int err = (from | to) & 3 ? -EILSEQ : extent(code, len, min, from, &m.moved);

	for (size_t at = 0; !err && at < m.moved;) {
		struct sut_insn insn;

		err = sut_ppc_insn_decode(code + at, len - at, from + at, &insn);
		if (!err)
			err = move_one(&m, at, &insn);
		at += err ? 0 : insn.len;
	}
	if (!err)
		err = emit_b(&m, from + m.moved); /* b back */
	if (err)
		return err;
	*ret_len = m.len;
	*ret_moved = m.moved;
	return 0;
}
