/* SPDX-License-Identifier: MIT */
/*
 * place.c - what each area holds, how large it is, and where it will lie.
 *
 * First every relocation is asked what it needs beside its symbol: a GOT slot, a stub. Then the sizes
 * are known, and holes near the objects are chosen from a snapshot of the mappings; nothing is mapped
 * yet. An area lies so that every jump and every pc-relative field between it and its object reaches.
 * Only reads the target.
 */
#include <errno.h>

#include "module/priv.h"
#include "text/near.h"

#define LOW_LIMIT  0x80000000ull /* what a sign-extended 32-bit address can name */
#define STUB_ALIGN 16u

bool sut_mod_is_tls(const struct sut_reloc_howto *h)
{
	return h->kind >= SUT_RELOC_TLS_LE && h->kind <= SUT_RELOC_TLS_DESC_CALL;
}

bool sut_mod_stub_serves(const struct mod_reloc *r)
{
	/* Some machines count a pc-relative field from its end. */
	return r->howto->kind == SUT_RELOC_PLT && (r->addend == 0 || r->addend == -(int64_t)r->howto->size);
}

bool sut_mod_tls_relaxed(const struct mod_reloc *r, const struct sut_tls *tls)
{
	switch (r->howto->kind) {
	case SUT_RELOC_TLS_GD:
	case SUT_RELOC_TLS_LD:
	case SUT_RELOC_TLS_DESC:
	case SUT_RELOC_TLS_DESC_CALL:
		return tls->is_static;
	default:
		return false;
	}
}

const struct mod_slot *sut_mod_slot(const struct sut_module *m, uint32_t sym, uint32_t area, enum mod_slot_kind kind)
{
	uint32_t i = m->priv->sym.v[sym].first_slot;

	for (; i != MOD_NONE; i = m->priv->slot.v[i].next)
		if (m->priv->slot.v[i].area == area && m->priv->slot.v[i].kind == kind)
			return &m->priv->slot.v[i];
	return NULL;
}

const struct mod_stub *sut_mod_stub(const struct sut_module *m, uint32_t sym, uint32_t area)
{
	uint32_t i = m->priv->sym.v[sym].first_stub;

	for (; i != MOD_NONE; i = m->priv->stub.v[i].next)
		if (m->priv->stub.v[i].area == area)
			return &m->priv->stub.v[i];
	return NULL;
}

static int want_slot(struct sut_module *m, uint32_t sym, uint32_t area, enum mod_slot_kind kind)
{
	struct sut_mod_priv *pr = m->priv;
	struct mod_slot slot = { kind, area, sym, pr->sym.v[sym].first_slot, pr->area[area].got_size };
	int err = sut_mod_resolve(m, sym, area);

	if (err || sut_mod_slot(m, sym, area, kind))
		return err;
	if (sut_vec_push(&pr->slot, slot))
		return sut_nomem(pr->ctx);
	pr->sym.v[sym].first_slot = (uint32_t)pr->slot.n - 1;
	pr->area[area].got_size += kind == MOD_SLOT_GD || kind == MOD_SLOT_LD ? 16 : 8;
	return 0;
}

static int want_stub(struct sut_module *m, uint32_t sym, uint32_t area)
{
	struct sut_mod_priv *pr = m->priv;
	struct mod_stub stub = { area, sym, pr->sym.v[sym].first_stub, 0, pr->area[area].plt_size };
	int err = want_slot(m, sym, area, MOD_SLOT_ADDR);

	if (err || sut_mod_stub(m, sym, area))
		return err;
	stub.slot = (uint32_t)(sut_mod_slot(m, sym, area, MOD_SLOT_ADDR) - pr->slot.v);
	if (sut_vec_push(&pr->stub, stub))
		return sut_nomem(pr->ctx);
	pr->sym.v[sym].first_stub = (uint32_t)pr->stub.n - 1;
	pr->area[area].plt_size += SUT_ALIGN_UP(pr->arch->plt_stub_size, STUB_ALIGN);
	return 0;
}

static int want_tls(struct sut_module *m, const struct mod_reloc *r, uint32_t area, struct sut_tls *tls)
{
	struct sut_mod_priv *pr = m->priv;
	int err = sut_mod_resolve(m, r->sym, area);

	if (!err)
		err = sut_mod_sym_tls(m, r->sym, tls);
	if (err)
		return err;
	if (tls->is_static)
		return r->howto->kind == SUT_RELOC_TLS_IE ? want_slot(m, r->sym, area, MOD_SLOT_TPOFF) : 0;
	if (r->howto->kind == SUT_RELOC_TLS_DTPOFF)
		return 0;
	if (tls->modid && r->howto->kind == SUT_RELOC_TLS_GD)
		return want_slot(m, r->sym, area, MOD_SLOT_GD);
	if (tls->modid && r->howto->kind == SUT_RELOC_TLS_LD)
		return want_slot(m, r->sym, area, MOD_SLOT_LD);
	sut_fail(pr->ctx, SUTURE_EREFUSED, "%s: %s uses thread-local %s of %s, %s", m->elf->name, r->howto->name,
		 sut_mod_symname(m, r->sym), tls->object->path,
		 tls->modid ? "which has no constant offset (the library was loaded by dlopen)"
			    : "whose place this process does not tell");
	return sut_hint(pr->ctx, "compile the patch with -fPIC -mtls-dialect=gnu (general dynamic)");
}

/** The call of __tls_get_addr that ends a general or local dynamic sequence. */
static int check_tls_call(struct sut_module *m, const struct mod_sec *s, size_t k)
{
	const struct mod_reloc *r = &s->rel.v[k], *call = k + 1 < s->rel.n ? r + 1 : NULL;

	if (call && call->offset - r->offset <= 24 && m->priv->sym.v[call->sym].kind == MOD_SYM_UNDEF &&
	    !strcmp(m->priv->sym.v[call->sym].plain, "__tls_get_addr"))
		return 0;
	return sut_fail(m->priv->ctx, SUTURE_EREFUSED, "%s: %s+0x%llx: %s without a call of __tls_get_addr after it",
			m->elf->name, s->name, (unsigned long long)r->offset, r->howto->name);
}

/** What one relocation needs. *skip: the next one falls away with it. */
static int allot_one(struct sut_module *m, const struct mod_sec *s, size_t k, uint32_t area, bool *skip)
{
	struct sut_mod_priv *pr = m->priv;
	const struct mod_reloc *r = &s->rel.v[k];
	const struct mod_sym *sym = &pr->sym.v[r->sym];
	struct sut_tls tls;
	int err;

	*skip = false;
	if (sut_mod_is_tls(r->howto)) {
		err = want_tls(m, r, area, &tls);
		*skip = !err && sut_mod_tls_relaxed(r, &tls) &&
			(r->howto->kind == SUT_RELOC_TLS_GD || r->howto->kind == SUT_RELOC_TLS_LD);
		return *skip ? check_tls_call(m, s, k) : err;
	}
	switch (r->howto->kind) {
	case SUT_RELOC_GOT:
	case SUT_RELOC_GOT_LOAD:
	case SUT_RELOC_GOT_OFF:
		return want_slot(m, r->sym, area, MOD_SLOT_ADDR);
	case SUT_RELOC_PLT:
		if ((sym->kind == MOD_SYM_DEFINED && pr->sec.v[sym->sec].area == area) || !sut_mod_stub_serves(r))
			return sut_mod_resolve(m, r->sym, area);
		return want_stub(m, r->sym, area);
	default:
		if (sym->dwref != MOD_NONE && r->howto->kind == SUT_RELOC_PCREL)
			return want_slot(m, sym->dwref, area, MOD_SLOT_ADDR);
		if (sym->kind == MOD_SYM_DEFINED && r->howto->kind == SUT_RELOC_ABS && r->howto->size <= 4 &&
		    !r->howto->mask) /* what stands in an instruction is a part of the address */
			pr->area[pr->sec.v[sym->sec].area].low = true;
		return sut_mod_resolve(m, r->sym, area);
	}
}

static int allot(struct sut_module *m)
{
	struct sut_mod_priv *pr = m->priv;
	bool skip;
	int err;

	for (uint32_t i = 0; i < pr->sec.n; i++) {
		const struct mod_sec *s = &pr->sec.v[i];

		for (size_t k = 0; s->part != MOD_SKIP && s->part != MOD_EH && k < s->rel.n; k += 1 + skip) {
			err = allot_one(m, s, k, s->area, &skip);
			if (err)
				return err;
		}
	}
	for (size_t i = 0; i < pr->eh.n; i++) {
		const struct mod_eh_rec *rec = &pr->eh.v[i];
		const struct mod_sec *s = &pr->sec.v[rec->sec];
		size_t n, k = sut_mod_relocs_in(s, rec->off, rec->len, &n);

		for (uint32_t a = 0; a < m->area.n; a++)
			for (size_t j = 0; rec->dest[a] != UINT64_MAX && j < n; j++) {
				err = allot_one(m, s, k + j, a, &skip);
				if (err)
					return err;
			}
	}
	return 0;
}

/** Gives the sections of one part of an area their offsets; returns the end. */
static uint64_t lay_out(struct sut_mod_priv *pr, uint32_t area, enum mod_part part, uint64_t off)
{
	for (size_t i = 0; i < pr->sec.n; i++) {
		struct mod_sec *s = &pr->sec.v[i];

		if (s->part != part || s->area != area)
			continue;
		s->off = SUT_ALIGN_UP(off, s->align);
		off = s->off + s->size;
	}
	return off;
}

static int lay_out_area(struct sut_module *m, uint32_t i)
{
	struct sut_mod_priv *pr = m->priv;
	struct mod_area *a = &pr->area[i];
	struct sut_mod_area *ma = &m->area.v[i];
	uint64_t page = m->p->mem.page_size, off;
	size_t shstr;
	int err = sut_mod_image_symbols(m, i);

	if (err)
		return err;
	(void)sut_mod_image_shstrtab(&shstr);
	a->data_ro_off = SUT_ALIGN_UP(sut_mod_header_size(), 64);
	off = lay_out(pr, i, MOD_RO, a->data_ro_off);
	a->data_ro_size = off - a->data_ro_off;
	a->eh_off = SUT_ALIGN_UP(off, 8);
	a->hdr_off = SUT_ALIGN_UP(a->eh_off + a->eh_size, 8);
	a->sym_off = SUT_ALIGN_UP(a->hdr_off + a->hdr_size, 8);
	a->str_off = a->sym_off + a->symtab.len;
	a->shstr_off = a->str_off + a->strtab.len;
	a->shdr_off = SUT_ALIGN_UP(a->shstr_off + shstr, 8);
	ma->ro_size = SUT_ALIGN_UP(a->shdr_off + sut_mod_image_shdrs_size(), page);

	a->plt_off = SUT_ALIGN_UP(lay_out(pr, i, MOD_RX, ma->ro_size), STUB_ALIGN);
	a->stubs_off = a->plt_off + a->plt_size;
	a->text_size = a->stubs_off + pr->env->stub_size - ma->ro_size;
	ma->rx_size = SUT_ALIGN_UP(a->text_size, page);

	a->data_off = ma->ro_size + ma->rx_size;
	a->got_off = SUT_ALIGN_UP(lay_out(pr, i, MOD_RW, a->data_off), 16);
	off = a->got_off + a->got_size;
	if (i == 0 && pr->env->table_size) {
		pr->table_off = SUT_ALIGN_UP(off, 16);
		off = pr->table_off + pr->env->table_size;
	}
	ma->rw_size = SUT_ALIGN_UP(off - a->data_off, page);
	ma->size = ma->ro_size + ma->rx_size + ma->rw_size;
	if (ma->size > MOD_MAX_BYTES)
		return sut_fail(pr->ctx, SUTURE_EREFUSED, "%s: needs %llu MiB near %s, at most %llu are taken",
				m->elf->name, (unsigned long long)ma->size >> 20, ma->object->name,
				MOD_MAX_BYTES >> 20);
	return 0;
}

/** Marks [start, end) as taken in a snapshot. */
static int take(struct sut_maps *maps, uint64_t start, uint64_t end)
{
	struct sut_map taken = { .start = start, .end = end, .name = "" };
	size_t i;

	if (sut_vec_push(&maps->m, taken))
		return -ENOMEM;
	for (i = maps->m.n - 1; i && maps->m.v[i - 1].start > start; i--)
		maps->m.v[i] = maps->m.v[i - 1];
	maps->m.v[i] = taken;
	return 0;
}

static int choose(struct sut_module *m, struct sut_maps *maps, uint32_t i)
{
	struct sut_mod_priv *pr = m->priv;
	struct sut_mod_area *ma = &m->area.v[i];
	const struct sut_object *o = ma->object;
	uint64_t reach = pr->arch->jump_reach;
	int err;

	if (pr->area[i].low) {
		if (o->end >= LOW_LIMIT) {
			sut_fail(pr->ctx, SUTURE_EREFUSED,
				 "%s: code for %s uses 32-bit absolute addresses, but that object is mapped at 0x%llx",
				 m->elf->name, o->path, (unsigned long long)o->start);
			return sut_hint(pr->ctx, "compile the patch as the object was (-fPIE or -fPIC)");
		}
		if (reach > LOW_LIMIT - o->start)
			reach = LOW_LIMIT - o->start;
	}
	err = sut_near_find(pr->ctx, maps, o->start, o->end, ma->size, reach, m->p->mem.page_size, &ma->base);
	if (err)
		return err;
	return take(maps, ma->base, ma->base + ma->size) ? sut_nomem(pr->ctx) : 0;
}

/** Whether the parked areas offered are what this plan needs, still are ours, and knew everything where it is now. */
static bool reuse_fits(struct sut_module *m, const struct sut_maps *maps)
{
	const struct sut_mod_env *env = m->priv->env;
	_cleanup_free_ uint8_t *head = malloc(sut_mod_header_size());
	struct mod_header_info info;
	uint32_t bound = sut_mod_bound(m);

	if (!head || env->n_reuse != m->area.n || !env->reuse)
		return false;
	for (size_t i = 0; i < m->area.n; i++) {
		const struct sut_record_area *r = &env->reuse[i];
		const struct sut_mod_area *ma = &m->area.v[i];
		uint64_t rx = r->base + r->ro_size, rw = rx + r->rx_size;

		if (r->ro_size != ma->ro_size || r->rx_size != ma->rx_size || r->rw_size != ma->rw_size ||
		    r->base % m->p->mem.page_size || r->base > UINT64_MAX - ma->size ||
		    !sut_mod_mapped_as(maps, r->base, rx, SUT_PROT_R) ||
		    !sut_mod_mapped_as(maps, rx, rw, SUT_PROT_R | SUT_PROT_X) ||
		    !sut_mod_mapped_as(maps, rw, rw + r->rw_size, SUT_PROT_R | SUT_PROT_W) ||
		    sut_mem_read(&m->p->mem, r->base, head, sut_mod_header_size()) ||
		    !sut_mod_header_fits(head, r, m->priv->arch->e_machine, &info) || info.parts != 3 ||
		    info.bound != bound)
			return false;
	}
	return true;
}

static int choose_all(struct sut_module *m)
{
	struct sut_maps maps = { 0 };
	int err = m->p->mem.ops->maps(&m->p->mem, &maps);

	if (err)
		return err;
	if (m->priv->env->n_reuse && reuse_fits(m, &maps)) {
		for (size_t i = 0; i < m->area.n; i++) {
			m->area.v[i].base = m->priv->env->reuse[i].base;
			m->area.v[i].reused = true;
		}
	} else {
		for (uint32_t i = 0; !err && i < m->area.n; i++)
			err = choose(m, &maps, i);
	}
	sut_maps_free(&maps);
	return err;
}

/** The public view: addresses of sections and symbols, our buffers. */
static int publish(struct sut_module *m)
{
	struct sut_mod_priv *pr = m->priv;

	for (size_t i = 0; i < m->area.n; i++) {
		struct sut_mod_area *ma = &m->area.v[i];

		ma->image.p = calloc(1, ma->size);
		if (!ma->image.p)
			return sut_nomem(pr->ctx);
		ma->image.len = ma->image.cap = ma->size;
		ma->stubs = ma->base + pr->area[i].stubs_off;
		ma->stub_bytes = ma->image.p + pr->area[i].stubs_off;
	}
	if (pr->table_off) {
		m->table = m->area.v[0].base + pr->table_off;
		m->table_bytes = m->area.v[0].image.p + pr->table_off;
	}
	for (size_t i = 0; i < pr->sec.n; i++) {
		const struct mod_sec *s = &pr->sec.v[i];
		struct sut_mod_section ms = { .sec = i < m->elf->sec.n ? &m->elf->sec.v[i] : NULL, .area = s->area };

		if (s->part != MOD_SKIP && s->part != MOD_EH) {
			ms.addr = m->area.v[s->area].base + s->off;
			ms.bytes = m->area.v[s->area].image.p + s->off;
			if (s->src && s->size)
				memcpy(ms.bytes, s->src, s->size);
		}
		if (sut_vec_push(&m->sec, ms))
			return sut_nomem(pr->ctx);
	}
	for (uint32_t i = 0; i < pr->sym.n; i++) {
		const struct mod_sym *s = &pr->sym.v[i];
		struct sut_mod_symbol ms = { s->name, 0, s->size, s->type };

		if (s->kind == MOD_SYM_DEFINED)
			ms.addr = sut_mod_sym_addr(m, i, 0);
		if (sut_vec_push(&m->sym, ms))
			return sut_nomem(pr->ctx);
	}
	return 0;
}

int sut_mod_place(struct sut_module *m)
{
	int err;

	sut_mod_eh_layout(m); /* where each record goes decides what its relocations need */
	err = allot(m);
	if (err)
		return err;
	sut_mod_eh_add_stubs(m);
	for (uint32_t i = 0; i < m->area.n; i++) {
		err = lay_out_area(m, i);
		if (err)
			return err;
	}
	err = choose_all(m);
	return err ? err : publish(m);
}
