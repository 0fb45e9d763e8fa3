/* SPDX-License-Identifier: MIT */
/*
 * group.c - which sections stay together, and near which object.
 *
 * Sections that refer to each other by pc-relative fields without a stand-in (a call can go through
 * a stub, a GOT load through a slot of ours) are joined into groups. A group lies near the object that it
 * replaces functions of, or that it reaches into by late pc-relative relocations; if that
 * says two objects, the patch is refused. A group without an opinion goes where it is
 * used from, else to object 0. One area for each object that got a group.
 */
#include "module/priv.h"

#include <suture/sutfile.h>

static uint32_t find(struct sut_mod_priv *pr, uint32_t i)
{
	while (pr->sec.v[i].parent != i) {
		pr->sec.v[i].parent = pr->sec.v[pr->sec.v[i].parent].parent;
		i = pr->sec.v[i].parent;
	}
	return i;
}

static void join(struct sut_mod_priv *pr, uint32_t a, uint32_t b)
{
	a = find(pr, a);
	b = find(pr, b);
	/* The lower index stays the root: it names the group in messages. */
	if (a < b)
		pr->sec.v[b].parent = a;
	else
		pr->sec.v[a].parent = b;
}

static bool loaded(const struct mod_sec *s)
{
	return s->part == MOD_RO || s->part == MOD_RX || s->part == MOD_RW;
}

/** Two indexes of one object of the target are one. */
static size_t canonical_object(const struct sut_mod_env *env, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (env->object[k] == env->object[i])
			return k;
	return i;
}

/** Whether a field of this kind must reach its symbol directly (one of 64 bits reaches everything). */
static bool must_reach(const struct mod_reloc *r)
{
	const struct sut_reloc_howto *h = r->howto;

	/* A jump into the middle of another section (of a function's cold part) goes through no stub. */
	if (h->kind == SUT_RELOC_PLT)
		return !sut_mod_stub_serves(r);
	return (h->kind == SUT_RELOC_PCREL || h->kind == SUT_RELOC_GOT_REL) && h->size < 8;
}

static const char *object_name(const struct sut_mod_env *env, size_t i)
{
	return env->object[i] ? env->object[i]->name : "?";
}

static int set_wants(struct sut_module *m, uint32_t sec, size_t object)
{
	struct sut_mod_priv *pr = m->priv;
	uint32_t root = find(pr, sec);
	struct mod_sec *g = &pr->sec.v[root];

	object = canonical_object(pr->env, object);
	if (!pr->env->object[object])
		return sut_fail(pr->ctx, SUTURE_EREFUSED, "%s: section %s belongs to object %zu, which is not loaded",
				m->elf->name, sut_mod_secname(m, sec), object);
	if (g->wants != SIZE_MAX && g->wants != object) {
		sut_fail(
			pr->ctx, SUTURE_EREFUSED,
			"%s: sections %s and %s refer to each other directly, but must lie near two objects, %s and %s",
			m->elf->name, sut_mod_secname(m, root), sut_mod_secname(m, sec), object_name(pr->env, g->wants),
			object_name(pr->env, object));
		return sut_hint(pr->ctx,
				"what two objects share (a string, a helper function) must be in each of them");
	}
	g->wants = object;
	return 0;
}

/** Groups from relocations, unwind data included: an exception table lies with its function. */
static void join_all(struct sut_module *m)
{
	struct sut_mod_priv *pr = m->priv;

	for (uint32_t i = 0; i < pr->sec.n; i++) {
		const struct mod_sec *s = &pr->sec.v[i];

		for (size_t k = 0; loaded(s) && k < s->rel.n; k++) {
			const struct mod_sym *sym = &pr->sym.v[s->rel.v[k].sym];

			if (must_reach(&s->rel.v[k]) && sym->kind == MOD_SYM_DEFINED && sym->dwref == MOD_NONE)
				join(pr, i, sym->sec);
		}
	}
	for (size_t i = 0; i < pr->eh.n; i++) {
		const struct mod_eh_rec *rec = &pr->eh.v[i];

		for (int pass = 0; !rec->is_cie && pass < 2; pass++) { /* the FDE, then its CIE */
			const struct mod_eh_rec *part = pass ? &pr->eh.v[rec->cie] : rec;
			const struct mod_sec *s = &pr->sec.v[part->sec];
			size_t n, k = sut_mod_relocs_in(s, part->off, part->len, &n);

			for (; n; n--, k++) {
				const struct mod_sym *sym = &pr->sym.v[s->rel.v[k].sym];

				if (must_reach(&s->rel.v[k]) && sym->kind == MOD_SYM_DEFINED && sym->dwref == MOD_NONE)
					join(pr, rec->text, sym->sec);
			}
		}
	}
}

static int gather_opinions(struct sut_module *m)
{
	struct sut_mod_priv *pr = m->priv;

	for (uint32_t i = 0; i < pr->sec.n; i++) {
		const struct mod_sec *s = &pr->sec.v[i];
		size_t object = SIZE_MAX;
		int err;

		if (!loaded(s))
			continue;
		if (pr->env->section_object && i < m->elf->sec.n)
			object = pr->env->section_object(pr->env->arg, i);
		if (object != SIZE_MAX && object >= pr->env->n_objects)
			return sut_fail(pr->ctx, SUTURE_EBUG, "%s: section %s given to object %zu of %zu", m->elf->name,
					s->name, object, pr->env->n_objects);
		err = object == SIZE_MAX ? 0 : set_wants(m, i, object);
		for (size_t k = 0; !err && k < s->rel.n; k++) {
			const struct mod_sym *sym = &pr->sym.v[s->rel.v[k].sym];
			struct mod_sec *root = &pr->sec.v[find(pr, i)];

			if (sym->kind != MOD_SYM_LATE)
				continue;
			if (must_reach(&s->rel.v[k]))
				err = set_wants(m, i, sym->object);
			else if (root->likes == SIZE_MAX)
				root->likes = canonical_object(pr->env, sym->object);
		}
		if (err)
			return err;
	}
	return 0;
}

/** A group without a word of its own goes to the object that it is used from. */
static void spread(struct sut_mod_priv *pr)
{
	bool changed = true;

	/* Chains of helpers longer than this end at object 0, which is right too, only farther. */
	for (int pass = 0; changed && pass < 16; pass++) {
		changed = false;
		for (uint32_t i = 0; i < pr->sec.n; i++) {
			const struct mod_sec *s = &pr->sec.v[i];
			size_t from = loaded(s) ? pr->sec.v[find(pr, i)].wants : SIZE_MAX;

			for (size_t k = 0; from != SIZE_MAX && k < s->rel.n; k++) {
				const struct mod_sym *sym = &pr->sym.v[s->rel.v[k].sym];
				struct mod_sec *to;

				if (sym->kind != MOD_SYM_DEFINED)
					continue;
				to = &pr->sec.v[find(pr, sym->sec)];
				if (to->wants != SIZE_MAX || to->likes != SIZE_MAX)
					continue;
				to->wants = from;
				changed = true;
			}
		}
	}
}

static int area_of(struct sut_module *m, size_t object, uint32_t *ret)
{
	struct sut_mod_priv *pr = m->priv;
	struct sut_mod_area a = { .object = pr->env->object[object] };

	for (uint32_t i = 0; i < m->area.n; i++)
		if (pr->area[i].object == object) {
			*ret = i;
			return 0;
		}
	if (!a.object)
		return sut_fail(pr->ctx, SUTURE_EREFUSED, "%s: object %zu of the patch is not loaded", m->elf->name,
				object);
	if (m->area.n == SUT_RECORD_AREAS)
		return sut_fail(pr->ctx, SUTURE_EREFUSED, "%s: covers more than %d objects", m->elf->name,
				SUT_RECORD_AREAS);
	pr->area[m->area.n].object = object;
	*ret = (uint32_t)m->area.n;
	return sut_vec_push(&m->area, a) ? sut_nomem(pr->ctx) : 0;
}

int sut_mod_group(struct sut_module *m)
{
	struct sut_mod_priv *pr = m->priv;
	bool code = false;
	int err;

	if (!pr->env->n_objects)
		return sut_fail(pr->ctx, SUTURE_EREFUSED, "%s: names no object", m->elf->name);
	join_all(m);
	err = gather_opinions(m);
	if (err)
		return err;
	spread(pr);
	for (uint32_t i = 0; i < pr->sec.n; i++) {
		struct mod_sec *s = &pr->sec.v[i], *g = &pr->sec.v[find(pr, i)];
		size_t object = g->wants != SIZE_MAX ? g->wants : g->likes != SIZE_MAX ? g->likes : 0;

		if (!loaded(s))
			continue;
		err = area_of(m, object, &s->area);
		if (err)
			return err;
		code |= s->part == MOD_RX;
		m->pins |= s->part != MOD_RX && s->size;
	}
	if (!code)
		return sut_fail(pr->ctx, SUTURE_EREFUSED, "%s: holds no code", m->elf->name);
	return 0;
}
