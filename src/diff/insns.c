/* SPDX-License-Identifier: MIT */
/*
 * insns.c - whether two functions are the same instructions, encoded differently.
 *
 * An assembler chooses between short and near jumps by distance, and the distance to a neighbour is known
 * only where both lie in one section. So section options make some functions longer by some bytes, and
 * nothing else: then every instruction is equal in turn, no-ops that pad aside, jumps lead to the
 * same instruction, and references mean the same.
 */
#include "diff/diff.h"

/* The next instruction that is not padding; false: the end, or not decodable. */
static bool next_insn(const struct sut_atom *a, uint64_t *pos, struct sut_insn *in)
{
	const uint8_t *code = sut_atom_bytes(a);

	while (*pos < a->size) {
		if (a->file->elf->arch->insn_decode(code + *pos, a->size - *pos, a->start + *pos, in) || !in->len)
			return false;
		if (in->kind != SUT_INSN_NOP || in->landing_pad)
			return true;
		*pos += in->len;
	}
	return false;
}

/* How many instructions stand before offset @off; -1: it is inside of one. */
static long insn_index(const struct sut_atom *a, int64_t off)
{
	struct sut_insn in;
	uint64_t pos = 0;
	long n = 0;

	if (off < 0 || (uint64_t)off > a->size || !sut_atom_bytes(a) || a->undecodable)
		return -1;
	for (; next_insn(a, &pos, &in); n++) {
		if (pos >= (uint64_t)off)
			return n;
		pos += in.len;
		if (pos > (uint64_t)off)
			return -1;
	}
	return n;
}

bool sut_insns_same_place(const struct sut_atom *a, int64_t x, const struct sut_atom *b, int64_t y)
{
	long n = insn_index(a, x);

	return n >= 0 && n == insn_index(b, y);
}

/* The references inside of [pos, pos+len) of an atom; the first in *ret. */
static size_t refs_in(const struct sut_atom *a, size_t *cursor, uint64_t pos, uint64_t len, const struct sut_ref **ret)
{
	const struct sut_ref *r = sut_atom_refs(a);
	size_t n = 0;

	while (*cursor < a->n_refs && r[*cursor].off - a->start < pos)
		++*cursor;
	*ret = r + *cursor;
	while (*cursor + n < a->n_refs && r[*cursor + n].off - a->start < pos + len)
		n++;
	return n;
}

/* Equal bytes but where a reference or a distance stands. */
static bool same_bytes(const uint8_t *a, const uint8_t *b, const struct sut_insn *in, const struct sut_ref *r, size_t n,
		       uint64_t at)
{
	for (size_t i = 0; i < in->len; i++) {
		bool masked = in->pcrel && i >= in->pcrel_off && i < (size_t)in->pcrel_off + in->pcrel_size;

		for (size_t k = 0; k < n; k++)
			masked = masked || (at + i >= r[k].off && at + i < r[k].off + r[k].howto->size);
		if (!masked && a[i] != b[i])
			return false;
	}
	return true;
}

bool sut_insns_equal(struct sut_diff *d, const struct sut_atom *o, const struct sut_atom *v)
{
	const uint8_t *po = sut_atom_bytes(o), *pv = sut_atom_bytes(v);
	const struct sut_arch *arch = o->file->elf->arch;
	uint64_t x = 0, y = 0;
	size_t co = 0, cv = 0;
	struct sut_insn a, b;

	if (!po || !pv || o->undecodable || v->undecodable || !arch->same_branch)
		return false;
	for (;;) {
		const struct sut_ref *ro, *rv;
		bool more = next_insn(o, &x, &a);
		size_t no, nv;

		if (more != next_insn(v, &y, &b))
			return false;
		if (!more)
			return x >= o->size && y >= v->size;
		no = refs_in(o, &co, x, a.len, &ro);
		nv = refs_in(v, &cv, y, b.len, &rv);
		if (a.kind != b.kind || a.pcrel != b.pcrel || no != nv)
			return false;
		if (a.len == b.len ? !same_bytes(po + x, pv + y, &a, ro, no, o->start + x)
				   : !arch->same_branch(po + x, a.len, pv + y, b.len))
			return false;
		for (size_t k = 0; k < no; k++)
			if ((a.len == b.len && ro[k].off - o->start - x != rv[k].off - v->start - y) ||
			    !sut_refs_equal(d, o, &ro[k], v, &rv[k], SUT_PEER_VERIFIED))
				return false;
		/* A distance inside of the function. */
		if (a.pcrel && !no &&
		    !sut_insns_same_place(o, (int64_t)(a.target - o->start), v, (int64_t)(b.target - v->start)))
			return false;
		x += a.len;
		y += b.len;
	}
}
