/* SPDX-License-Identifier: MIT */
/*
 * eh.c - takes .eh_frame apart into its records: which function each describes, and which exception table
 * goes with it. New code without unwind data would end every stack trace, and the proof that
 * no thread is inside of it.
 */
#include <errno.h>

#include "diff/diff.h"

static int damaged(struct sut_ofile *f)
{
	return sut_refuse(f->ctx, "compile it again", "%s: damaged unwind data (.eh_frame)", f->name);
}

static const struct sut_ref *ref_at(const struct sut_osec *s, uint64_t from, uint64_t to)
{
	for (size_t i = 0; i < s->ref.n; i++)
		if (s->ref.v[i].off >= from && s->ref.v[i].off < to)
			return &s->ref.v[i];
	return NULL;
}

static int parse_section(struct sut_ofile *f, uint32_t sec, struct sut_eh *ret)
{
	const struct sut_osec *s = &f->sec.v[sec];
	uint64_t off = 0;

	while (off + 8 <= s->s->size) {
		uint32_t len = sut_le32(s->s->data + off);
		struct sut_eh_record r = { .sec = sec, .off = off, .len = (uint64_t)len + 4 };

		if (!len) /* a terminator */
			break;
		if (len == UINT32_MAX || len < 8 || !sut_fits(off, r.len, s->s->size))
			return damaged(f);
		r.cie = !sut_le32(s->s->data + off + 4);
		if (sut_vec_push(&ret->rec, r))
			return sut_nomem(f->ctx);
		off += r.len;
	}
	return 0;
}

static struct sut_eh_record *cie_at(struct sut_eh *eh, uint32_t sec, uint64_t off)
{
	for (size_t i = 0; i < eh->rec.n; i++)
		if (eh->rec.v[i].cie && eh->rec.v[i].sec == sec && eh->rec.v[i].off == off)
			return &eh->rec.v[i];
	return NULL;
}

int sut_eh_parse(struct sut_diff *d, struct sut_ofile *f, struct sut_eh *ret)
{
	(void)d;
	for (uint32_t i = 1; i < f->sec.n; i++) {
		int err = f->sec.v[i].class == SUT_CLASS_EH && f->sec.v[i].s->size ? parse_section(f, i, ret) : 0;

		if (err)
			return err;
	}
	for (size_t i = 0; i < ret->rec.n; i++) {
		struct sut_eh_record *r = &ret->rec.v[i];
		const struct sut_osec *s = &f->sec.v[r->sec];
		const struct sut_ref *pc;
		uint32_t back;

		if (r->cie)
			continue;
		back = sut_le32(s->s->data + r->off + 4);
		if (back > r->off + 4)
			return damaged(f);
		r->its_cie = cie_at(ret, r->sec, r->off + 4 - back);
		if (!r->its_cie)
			return damaged(f);
		/* The first field is the function's address; a further relocation is the exception table's. */
		pc = ref_at(s, r->off + 8, r->off + 9);
		if (!pc || !pc->atom)
			continue;
		r->func = sut_atom_is_func(pc->atom) ? pc->atom : NULL;
		r->lsda = ref_at(s, r->off + 12, r->off + r->len);
	}
	return 0;
}

const struct sut_ref *sut_eh_personality(const struct sut_ofile *f, const struct sut_eh_record *cie)
{
	return ref_at(&f->sec.v[cie->sec], cie->off, cie->off + cie->len);
}
