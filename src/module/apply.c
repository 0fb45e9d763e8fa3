/* SPDX-License-Identifier: MIT */
/*
 * apply.c - what each relocation of a module means, and the walk over a section.
 *
 * Works on our buffers only. A walk that fails is taken back by the same walk with apply off, so that
 * a section's bytes are those of the file or fully relocated, nothing between. Sequences that get at
 * thread-local variables by a call are rewritten (sut_arch.tls_relax) where the variable has a constant
 * offset; such a rewrite is taken back by the file's bytes, after a check that it was there.
 */
#include <errno.h>

#include "module/priv.h"

/* A rewritten sequence lies within these bytes around its first relocation. */
#define SEQ_BEFORE 32u
#define SEQ_AFTER  64u

/** The value of a relocation of thread-local data, but for those that rewrite their sequence. */
static int tls_value(struct sut_module *m, uint32_t area, const struct mod_reloc *r, bool code, uint64_t *ret)
{
	const struct mod_sym *s = &m->priv->sym.v[r->sym];
	const struct sut_mod_area *ma = &m->area.v[area];
	enum mod_slot_kind kind = MOD_SLOT_TPOFF;
	const struct mod_slot *slot;
	struct sut_tls tls;
	int err = sut_mod_sym_tls(m, r->sym, &tls);

	if (err)
		return err;
	switch (r->howto->kind) {
	case SUT_RELOC_TLS_LE:
		*ret = (uint64_t)tls.offset + s->addr;
		return 0;
	case SUT_RELOC_TLS_DTPOFF:
		/* In code it continues a local dynamic sequence, whose base then is the thread pointer. */
		*ret = code && tls.is_static ? (uint64_t)tls.offset + s->addr : s->addr;
		return 0;
	case SUT_RELOC_TLS_GD:
		kind = MOD_SLOT_GD;
		break;
	case SUT_RELOC_TLS_LD:
		kind = MOD_SLOT_LD;
		break;
	default:
		break;
	}
	slot = sut_mod_slot(m, r->sym, area, kind);
	if (!slot || sut_mod_tls_relaxed(r, &tls))
		return sut_fail(m->priv->ctx, SUTURE_EREFUSED, "%s: %s against %s outside of code", m->elf->name,
				r->howto->name, sut_mod_symname(m, r->sym));
	*ret = ma->base + m->priv->area[area].got_off + slot->off;
	return 0;
}

/** The symbol's own address, or what stands in for it. */
static int plain_value(struct sut_module *m, uint32_t area, const struct mod_reloc *r, struct sut_reloc_values *v)
{
	const struct mod_sym *s = &m->priv->sym.v[r->sym];
	const struct mod_area *a = &m->priv->area[area];
	uint64_t base = m->area.v[area].base;
	const struct mod_slot *slot = NULL;
	const struct mod_stub *stub;
	uint8_t field[16] = { 0 };

	if (s->type == STT_TLS && s->kind != MOD_SYM_DEFINED)
		return sut_fail(m->priv->ctx, SUTURE_EREFUSED, "%s: %s refers to thread-local %s as to plain data",
				m->elf->name, r->howto->name, sut_mod_symname(m, r->sym));
	switch (r->howto->kind) {
	case SUT_RELOC_GOT:
	case SUT_RELOC_GOT_LOAD:
	case SUT_RELOC_GOT_OFF:
		slot = sut_mod_slot(m, r->sym, area, MOD_SLOT_ADDR);
		break;
	case SUT_RELOC_PCREL:
		if (s->dwref != MOD_NONE)
			slot = sut_mod_slot(m, s->dwref, area, MOD_SLOT_ADDR);
		break;
	default:
		break;
	}
	v->S = slot ? base + a->got_off + slot->off : sut_mod_sym_addr(m, r->sym, area);
	if (r->howto->kind == SUT_RELOC_SIZE)
		v->S = s->size;
	if (sut_mod_stub_serves(r) && m->priv->arch->relocate_field(r->howto, v, field) == -ERANGE) {
		stub = sut_mod_stub(m, r->sym, area);
		if (stub)
			v->S = base + a->plt_off + stub->off;
	}
	return 0;
}

int sut_mod_relocate(struct sut_module *m, uint32_t area, const struct mod_reloc *r, uint64_t place, uint8_t *bytes,
		     size_t avail, bool apply)
{
	struct sut_mod_priv *pr = m->priv;
	struct sut_reloc_site site = {
		.type = r->howto->type,
		.place = place,
		.bytes = bytes,
		.avail = avail,
		.v = { .P = place, .A = r->addend, .GOT = m->area.v[area].base + pr->area[area].got_off },
	};
	bool code = place - m->area.v[area].base - m->area.v[area].ro_size < m->area.v[area].rx_size;
	int err;

	if (sut_mod_is_tls(r->howto))
		err = tls_value(m, area, r, code, &site.v.S);
	else
		err = plain_value(m, area, r, &site.v);
	return err ? err : sut_relocate_one(pr->ctx, pr->arch, &site, sut_mod_symname(m, r->sym), apply);
}

/** Rewrites the sequence of relocation @k (or takes that back). *skip: the next relocation went with it. */
static int relax(struct sut_module *m, const struct mod_sec *s, size_t k, const struct sut_tls *tls, uint8_t *bytes,
		 bool apply, bool *skip)
{
	struct sut_mod_priv *pr = m->priv;
	const struct mod_reloc *r = &s->rel.v[k];
	uint64_t lo = r->offset > SEQ_BEFORE ? r->offset - SEQ_BEFORE : 0;
	uint64_t hi = s->size - r->offset > SEQ_AFTER ? r->offset + SEQ_AFTER : s->size;
	bool call = r->howto->kind == SUT_RELOC_TLS_GD || r->howto->kind == SUT_RELOC_TLS_LD;
	uint8_t seq[SEQ_BEFORE + SEQ_AFTER];
	uint64_t tpoff = (uint64_t)tls->offset + pr->sym.v[r->sym].addr;
	unsigned n_skip = 0;
	size_t a = 0, n = hi - lo;

	/* The base of a local dynamic sequence becomes the thread pointer itself; SUT_RELOC_TLS_DTPOFF adds the rest. */
	if (pr->sym.v[r->sym].plain && !strcmp(pr->sym.v[r->sym].plain, "_TLS_MODULE_BASE_"))
		tpoff = 0;
	/* The addend of a pc-relative field ends at the next instruction: it says -4 where the variable itself
	 * is meant, and anything beyond that is an offset in the variable. */
	tpoff += r->howto->kind == SUT_RELOC_TLS_DESC_CALL ? 0 : (uint64_t)r->addend + 4;
	memcpy(seq, s->src + lo, n);
	if (s->part != MOD_RX || pr->arch->tls_relax(r->howto, seq, n, r->offset - lo, (int64_t)tpoff, &n_skip) ||
	    n_skip != (unsigned)call)
		return sut_fail(pr->ctx, SUTURE_EREFUSED, "%s: %s+0x%llx: %s in a sequence that is not understood",
				m->elf->name, s->name, (unsigned long long)r->offset, r->howto->name);
	*skip = call;
	/* Only what the rewriting changed: neighbours may be relocated, or not yet. */
	while (a < n && seq[a] == s->src[lo + a])
		a++;
	while (n > a && seq[n - 1] == s->src[lo + n - 1])
		n--;
	if (memcmp(bytes + lo + a, apply ? s->src + lo + a : seq + a, n - a))
		return sut_fail(pr->ctx, SUTURE_EREFUSED, "%s: %s+0x%llx: %s: not the bytes expected there",
				m->elf->name, s->name, (unsigned long long)r->offset, r->howto->name);
	memcpy(bytes + lo + a, apply ? seq + a : s->src + lo + a, n - a);
	return 0;
}

static int relocate_at(struct sut_module *m, uint32_t sec, size_t k, bool apply, bool *skip)
{
	const struct mod_sec *s = &m->priv->sec.v[sec];
	const struct mod_reloc *r = &s->rel.v[k];
	uint8_t *bytes = m->sec.v[sec].bytes;
	struct sut_tls tls;

	*skip = false;
	if (r->howto->kind == SUT_RELOC_TLS_GD || r->howto->kind == SUT_RELOC_TLS_LD ||
	    r->howto->kind == SUT_RELOC_TLS_DESC || r->howto->kind == SUT_RELOC_TLS_DESC_CALL) {
		int err = sut_mod_sym_tls(m, r->sym, &tls);

		if (err)
			return err;
		if (sut_mod_tls_relaxed(r, &tls))
			return relax(m, s, k, &tls, bytes, apply, skip);
	}
	return sut_mod_relocate(m, s->area, r, m->sec.v[sec].addr + r->offset, bytes + r->offset, s->size - r->offset,
				apply);
}

int sut_mod_relocate_section(struct sut_module *m, uint32_t sec, bool apply)
{
	const struct mod_sec *s = &m->priv->sec.v[sec];
	size_t k, done;
	bool skip;
	int err = 0;

	for (k = 0; k < s->rel.n; k += 1 + skip) {
		err = relocate_at(m, sec, k, apply, &skip);
		if (err)
			break;
	}
	if (!err || !apply)
		return err;
	for (done = k, k = 0; k < done; k += 1 + skip)
		if (relocate_at(m, sec, k, false, &skip))
			return sut_fail(m->priv->ctx, SUTURE_EBUG, "%s: %s: a partial relocation could not be undone",
					m->elf->name, s->name);
	return err;
}

static int fill_slot(struct sut_module *m, const struct mod_slot *slot)
{
	const struct mod_sym *s = &m->priv->sym.v[slot->sym];
	uint8_t *at = m->area.v[slot->area].image.p + m->priv->area[slot->area].got_off + slot->off;
	struct sut_tls tls;
	int err;

	if (slot->kind == MOD_SLOT_ADDR) {
		if (s->type == STT_TLS && s->kind != MOD_SYM_DEFINED)
			return sut_fail(m->priv->ctx, SUTURE_EREFUSED,
					"%s: thread-local %s is referred to as plain data", m->elf->name,
					sut_mod_symname(m, slot->sym));
		sut_put_le64(at, sut_mod_sym_addr(m, slot->sym, slot->area));
		return 0;
	}
	err = sut_mod_sym_tls(m, slot->sym, &tls);
	if (err)
		return err;
	if (slot->kind == MOD_SLOT_TPOFF) {
		sut_put_le64(at, (uint64_t)tls.offset + s->addr);
		return 0;
	}
	sut_put_le64(at, tls.modid);
	sut_put_le64(at + 8, slot->kind == MOD_SLOT_GD ? s->addr : 0);
	return 0;
}

int sut_mod_fill_got(struct sut_module *m)
{
	struct sut_mod_priv *pr = m->priv;

	for (size_t i = 0; i < pr->slot.n; i++) {
		int err = fill_slot(m, &pr->slot.v[i]);

		if (err)
			return err;
	}
	for (size_t i = 0; i < pr->stub.n; i++) {
		const struct mod_stub *stub = &pr->stub.v[i];
		const struct mod_area *a = &pr->area[stub->area];
		struct sut_mod_area *ma = &m->area.v[stub->area];
		uint64_t at = a->plt_off + stub->off;

		if (pr->arch->plt_stub(ma->base + at, ma->base + a->got_off + pr->slot.v[stub->slot].off,
				       ma->image.p + at))
			return sut_fail(pr->ctx, SUTURE_EBUG, "%s: a stub for %s does not reach its slot", m->elf->name,
					sut_mod_symname(m, stub->sym));
	}
	return 0;
}
