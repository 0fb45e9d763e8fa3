/* SPDX-License-Identifier: MIT */
/*
 * emit.c - turns what was included into sections, symbols and tables of a patch file.
 *
 * Every included atom becomes a section of its own, named as the compiler named it, so that nothing of a
 * unit comes along unasked; strings and constants are gathered by the section they came from. A
 * relocation against "section + offset" becomes one against the thing that stands there, with the
 * offset counted from that thing's start. Units are never mixed in one section: each must lie near its own object.
 */
#include <ctype.h>
#include <errno.h>

#include "diff/diff.h"

static int nomem(struct sut_out *o)
{
	return sut_nomem(o->d->ctx);
}

static int new_sec(struct sut_out *o, const char *name, uint32_t type, uint64_t flags, uint64_t align, uint32_t *ret)
{
	struct sut_out_sec s = { .name = name, .type = type, .flags = flags, .align = align ? align : 1 };

	if (!name || sut_vec_push(&o->sec, s))
		return nomem(o);
	*ret = (uint32_t)o->sec.n - 1;
	return 0;
}

static int new_sym(struct sut_out *o, struct sut_out_sym s, uint32_t *ret)
{
	if (!s.name || sut_vec_push(&o->sym, s))
		return nomem(o);
	*ret = (uint32_t)o->sym.n - 1;
	return 0;
}

/* ---- atoms to sections ---- */

/* A name that no other symbol of the file has: else with the unit's in front. */
static const char *unique_name(struct sut_out *o, const struct sut_unit *u, const char *name, bool *ret_clash)
{
	const char *base = strrchr(u->name, '/');

	*ret_clash = false;
	for (size_t i = 1; i < o->sym.n; i++)
		if (!strcmp(o->sym.v[i].name, name)) {
			*ret_clash = true;
			return sut_pool_printf(&o->d->pool, "%s:%s", base ? base + 1 : u->name, name);
		}
	return name;
}

static int atom_symbol(struct sut_out *o, struct sut_atom *a)
{
	const struct sut_osym *s = sut_atom_sym(a);
	struct sut_out_sym sym = { .size = a->size, .bind = s->bind, .shndx = a->out_sec };
	bool clash;

	sym.type = sut_atom_is_func(a) ? STT_FUNC : STT_OBJECT;
	sym.name = unique_name(o, a->file->unit, a->name, &clash);
	if (clash)
		sym.bind = STB_LOCAL;
	return new_sym(o, sym, &a->out_sym);
}

static int section_symbol(struct sut_out *o, uint32_t sec, uint32_t *ret)
{
	struct sut_out_sym sym = { .name = "", .bind = STB_LOCAL, .type = STT_SECTION, .shndx = sec };

	if (!o->sec.v[sec].section_sym) {
		int err = new_sym(o, sym, &o->sec.v[sec].section_sym);

		if (err)
			return err;
	}
	*ret = o->sec.v[sec].section_sym;
	return 0;
}

/* Strings and constants: appended to what their unit's section has given so far. */
static int emit_merged(struct sut_out *o, struct sut_atom *a)
{
	const struct sut_osec *from = sut_atom_sec(a);
	uint32_t sec = 0;
	int err = 0;

	for (uint32_t i = 1; i < o->sec.n && !sec; i++)
		if (o->sec.v[i].unit == a->file->unit && o->sec.v[i].from == a->sec)
			sec = i;
	if (!sec) {
		err = new_sec(o, from->s->name, SHT_PROGBITS, SHF_ALLOC, from->s->align, &sec);
		if (err)
			return err;
		o->sec.v[sec].unit = a->file->unit;
		o->sec.v[sec].from = a->sec;
	}
	if (sut_buf_align(&o->sec.v[sec].bytes, o->sec.v[sec].align))
		return nomem(o);
	a->out_sec = sec;
	a->out_off = o->sec.v[sec].bytes.len;
	if (sut_buf_add(&o->sec.v[sec].bytes, sut_atom_bytes(a), a->size))
		return nomem(o);
	return section_symbol(o, sec, &a->out_sym);
}

/* Alone in its section, but for padding. */
static bool alone(const struct sut_atom *a)
{
	const struct sut_osec *s = sut_atom_sec(a);
	size_t named = 0;

	for (size_t i = 0; i < s->atom.n; i++)
		named += s->atom.v[i]->sym != 0;
	return s->atom.n == 1 || (named == 1 && a->sym && !a->start);
}

static uint64_t alignment(const struct sut_atom *a)
{
	uint64_t align = a->sec ? sut_atom_sec(a)->s->align : sut_atom_sym(a)->value; /* common: st_value */

	while (a->sec && align > 1 && a->start % align)
		align /= 2;
	return align ? align : 1;
}

static int emit_atom(struct sut_out *o, struct sut_atom *a)
{
	const struct sut_section *from = a->sec ? sut_atom_sec(a)->s : NULL;
	const uint8_t *bytes = sut_atom_bytes(a);
	const char *name;
	uint64_t flags = SHF_ALLOC | SHF_WRITE;
	int err;

	if (a->kind == SUT_ATOM_STRING || a->kind == SUT_ATOM_CONST)
		return emit_merged(o, a);
	if (!from)
		name = sut_pool_printf(&o->d->pool, ".bss.%s", a->name);
	else if (alone(a))
		name = from->name;
	else
		name = sut_pool_printf(&o->d->pool, "%s.%s", from->name, *a->name ? a->name : "part");
	if (from)
		flags = from->flags & (SHF_ALLOC | SHF_WRITE | SHF_EXECINSTR | SHF_TLS);
	err = new_sec(o, name, bytes ? SHT_PROGBITS : SHT_NOBITS, flags, alignment(a), &a->out_sec);
	if (err)
		return err;
	if (bytes && sut_buf_add(&o->sec.v[a->out_sec].bytes, bytes, a->size))
		return nomem(o);
	o->sec.v[a->out_sec].size = a->size;
	return a->sym ? atom_symbol(o, a) : section_symbol(o, a->out_sec, &a->out_sym);
}

/* ---- references to relocations ---- */

/* @from: the target in whose place the referring code lies. A name may mean another thing in another library. */
static int outside_symbol(struct sut_out *o, const struct sut_target *from, const struct sut_bind *b, uint32_t *ret)
{
	struct sut_out_sym sym = {
		.name = b->name, .bind = b->bind, .type = b->type, .shndx = SHN_UNDEF, .from = from
	};

	if (b->kind == SUT_BIND_LATE) {
		sym.name = sut_pool_printf(&o->d->pool, "%s%u.%s,%u", SUTURE_SYM_PREFIX, b->target->index, b->name,
					   b->sympos);
		sym.shndx = SUTURE_SHN_LIVEPATCH;
		sym.value = b->addr;
		sym.size = b->size;
		sym.bind = STB_GLOBAL;
		sym.from = NULL;
		if (!sym.name)
			return nomem(o);
	} else if (sym.type == STT_SECTION) {
		sym.type = STT_NOTYPE;
	}
	for (uint32_t i = 1; i < o->sym.n; i++) {
		struct sut_out_sym *s = &o->sym.v[i];

		if (s->shndx == sym.shndx && s->from == sym.from && s->value == sym.value &&
		    !strcmp(s->name, sym.name)) {
			if (sym.bind == STB_GLOBAL) /* one that must not be missing decides */
				s->bind = STB_GLOBAL;
			*ret = i;
			return 0;
		}
	}
	return new_sym(o, sym, ret);
}

/* One relocation at @off of section @sec, for reference @r, of which @b says where it leads. */
static int emit_ref(struct sut_out *o, uint32_t sec, uint64_t off, const struct sut_ofile *f, const struct sut_ref *r,
		    const struct sut_atom *target, const struct sut_bind *b)
{
	struct sut_out_rela rela = { .off = off, .type = r->howto->type, .addend = r->addend };
	struct sut_buf *bytes = &o->sec.v[sec].bytes;
	int err = 0;

	if (target) /* counted from the thing, not from its section */
		rela.addend += (int64_t)(r->synthetic ? 0 : f->sym.v[r->sym].value) - (int64_t)target->start;
	if (b->kind == SUT_BIND_ATOM) {
		if (!b->atom->included || !b->atom->out_sec)
			return sut_fail(o->d->ctx, SUTURE_EBUG, "%s: a reference to %s, which was not included",
					f->name, b->atom->name);
		rela.sym = b->atom->out_sym;
		rela.addend += (int64_t)b->atom->out_off;
	} else {
		err = outside_symbol(o, f->unit->target, b, &rela.sym);
		rela.late = b->kind == SUT_BIND_LATE ? b->target : NULL;
	}
	if (err)
		return err;
	if (off + r->howto->size <= bytes->len)
		memset(bytes->p + off, 0, r->howto->size);
	return sut_vec_push(&o->sec.v[sec].rela, rela) ? nomem(o) : 0;
}

static int emit_refs(struct sut_out *o, struct sut_atom *a)
{
	struct sut_unit *u = a->file->unit;
	const struct sut_ref *r = sut_atom_refs(a);
	int err = 0;

	for (size_t i = 0; !err && i < a->n_refs; i++) {
		struct sut_bind b;

		err = sut_bind_ref(u, a, &r[i], &b);
		if (!err)
			err = emit_ref(o, a->out_sec, a->out_off + (r[i].off - a->start), a->file, &r[i],
				       sut_ref_atom(a, &r[i]), &b);
	}
	return err;
}

/* ---- unwind data ---- */

static int emit_record(struct sut_out *o, struct sut_unit *u, uint32_t sec, struct sut_eh_record *r)
{
	const struct sut_osec *from = &u->p->sec.v[r->sec];
	int err = 0;

	r->out_off = o->sec.v[sec].bytes.len;
	r->used = true;
	if (sut_buf_add(&o->sec.v[sec].bytes, from->s->data + r->off, r->len))
		return nomem(o);
	if (!r->cie)
		sut_put_le32(o->sec.v[sec].bytes.p + r->out_off + 4, (uint32_t)(r->out_off + 4 - r->its_cie->out_off));
	for (size_t i = 0; !err && i < from->ref.n; i++) {
		const struct sut_ref *ref = &from->ref.v[i];
		struct sut_bind b = { .kind = SUT_BIND_ATOM, .atom = ref->atom };

		if (ref->off < r->off || ref->off >= r->off + r->len)
			continue;
		if (r->cie) {
			struct sut_atom none = { .file = u->p, .name = "code" };

			err = sut_bind_ref(u, &none, ref, &b);
		}
		if (!err)
			err = emit_ref(o, sec, r->out_off + (ref->off - r->off), u->p, ref, ref->atom, &b);
	}
	return err;
}

/* All of a target's unwind data in one section: the loader gives each record to its function's area. */
static int emit_unwind(struct sut_out *o, const struct sut_target *t)
{
	uint32_t sec = 0;
	int err = 0;

	for (size_t i = 0; !err && i < o->d->unit.n; i++) {
		struct sut_unit *u = o->d->unit.v[i];
		struct sut_eh eh = { 0 };

		if (u->target != t)
			continue;
		err = sut_eh_parse(o->d, u->p, &eh);
		for (size_t k = 0; !err && k < eh.rec.n; k++) {
			struct sut_eh_record *r = &eh.rec.v[k];

			if (r->cie || !r->func || !r->func->included)
				continue;
			if (!sec)
				err = new_sec(o, ".eh_frame", SHT_PROGBITS, SHF_ALLOC, 8, &sec);
			if (!err && !r->its_cie->used)
				err = emit_record(o, u, sec, r->its_cie);
			if (!err)
				err = emit_record(o, u, sec, r);
		}
		sut_vec_free(&eh.rec);
	}
	return err;
}

/* ---- tables ---- */

static int emit_ranges(struct sut_out *o, const struct sut_atom *v, struct suture_file_func *f)
{
	f->first_range = (uint32_t)(o->ranges.len / sizeof(struct suture_file_range));
	for (const struct sut_atom *c = v->cold; c; c = c->next_cold) {
		struct suture_file_range r = { .size = c->size };

		if (!c->size || !sut_atom_address(c, &r.addr))
			continue;
		if (sut_buf_add(&o->ranges, &r, sizeof(r)))
			return nomem(o);
		f->n_ranges++;
	}
	return 0;
}

/* The symbol of the replacement: a second one where two old functions became one. */
static int new_symbol(struct sut_out *o, struct sut_atom *orig, uint32_t *ret)
{
	struct sut_out_sym sym = o->sym.v[orig->twin->out_sym];
	bool clash;

	*ret = orig->twin->out_sym;
	for (size_t i = 0; i < o->func.n; i++) {
		if (o->func.v[i].new_symbol != *ret)
			continue;
		sym.name = unique_name(o, orig->file->unit, orig->name, &clash);
		sym.bind = STB_LOCAL;
		return new_sym(o, sym, ret);
	}
	return 0;
}

/* Whether two functions, each in a section of its own, are equal; what they refer to may have two copies. */
static bool same_code(const struct sut_out *o, uint32_t a, uint32_t b)
{
	const struct sut_out_sec *x = &o->sec.v[a], *y = &o->sec.v[b];

	if (x->bytes.len != y->bytes.len || x->rela.n != y->rela.n || memcmp(x->bytes.p, y->bytes.p, x->bytes.len))
		return false;
	for (size_t i = 0; i < x->rela.n; i++)
		if (x->rela.v[i].off != y->rela.v[i].off || x->rela.v[i].type != y->rela.v[i].type)
			return false;
	return true;
}

static int emit_func(struct sut_out *o, struct sut_unit *u, struct sut_atom *orig)
{
	struct suture_file_func f = { .object = u->target->index,
				      .flags = orig->start_only ? SUTURE_FUNC_START_ONLY : 0 };
	const struct sut_symbol *s = orig->v->target;
	uint8_t *bytes;
	int err;

	if (!sut_atom_address(orig->v, &f.old_addr))
		return sut_fail(o->d->ctx, SUTURE_EBUG, "%s: %s was taken without an address", u->name, orig->name);
	/* An inline function that several units hold: the linker kept one, and one replacement does. */
	for (size_t i = 0; i < o->func.n; i++) {
		const struct sut_out_sym *other = &o->sym.v[o->func.v[i].new_symbol];

		if (o->func.v[i].object != f.object || o->func.v[i].old_addr != f.old_addr)
			continue;
		if (other->size == orig->twin->size && same_code(o, other->shndx, orig->twin->out_sec))
			return 0;
		(void)sut_fail(o->d->ctx, SUTURE_EREFUSED,
			       "%s: %s is compiled differently in two units, of which %s has only "
			       "one",
			       u->name, orig->name, u->target->shown);
		return sut_hint(o->d->ctx, "the two units must be compiled with the same options");
	}
	f.old_size = orig->v->size;
	f.old_sympos = s && sut_symtab_count(u->target->syms, s->name) > 1 ? s->sympos : 0;
	err = sut_out_string(o, s ? s->name : orig->v->name, &f.old_name);
	if (!err)
		err = new_symbol(o, orig, &f.new_symbol);
	if (!err)
		err = emit_ranges(o, orig->v, &f);
	if (err)
		return err;
	bytes = malloc(f.old_size);
	if (!bytes)
		return nomem(o);
	if (!sut_target_bytes(u->target, f.old_addr, f.old_size, bytes))
		err = sut_refuse(o->d->ctx, "name the file that the process runs with -t",
				 "%s: the bytes of %s are not in the file", u->target->shown, orig->name);
	else
		sut_digest(bytes, f.old_size, f.old_digest);
	free(bytes);
	if (err)
		return err;
	return sut_vec_push(&o->func, f) ? nomem(o) : 0;
}

static int emit_object(struct sut_out *o, const struct sut_target *t)
{
	struct suture_file_object obj = { .build_id_len = (uint32_t)t->elf->build_id_len };
	int err = sut_out_string(o, t->name, &obj.name);

	if (!err)
		err = sut_elf_content_digest(t->elf, obj.content);
	if (err)
		return err;
	memcpy(obj.build_id, t->elf->build_id, t->elf->build_id_len);
	return sut_buf_add(&o->objects, &obj, sizeof(obj)) ? nomem(o) : 0;
}

/* Targets of which something is patched or referred to, in the order given. */
static int number_targets(struct sut_out *o)
{
	uint32_t n = 0;
	int err = 0;

	for (size_t i = 0; i < o->d->unit.n; i++) {
		const struct sut_unit *u = o->d->unit.v[i];

		for (size_t k = 0; k < u->p->atom.n; k++)
			u->target->used = u->target->used || u->p->atom.v[k]->included;
	}
	for (size_t i = 0; !err && i < o->d->target.n; i++) {
		if (!o->d->target.v[i].used)
			continue;
		o->d->target.v[i].index = n++;
		err = emit_object(o, &o->d->target.v[i]);
	}
	return err;
}

static int for_included(struct sut_out *o, int (*fn)(struct sut_out *, struct sut_atom *))
{
	int err = 0;

	for (size_t i = 0; !err && i < o->d->unit.n; i++) {
		const struct sut_ofile *p = o->d->unit.v[i]->p;

		for (size_t k = 0; !err && k < p->atom.n; k++)
			if (p->atom.v[k]->included)
				err = fn(o, p->atom.v[k]);
	}
	return err;
}

int sut_emit(struct sut_diff *d, const char *name)
{
	struct sut_out o;
	int err = sut_out_init(&o, d);

	if (!err)
		err = number_targets(&o);
	if (!err)
		err = for_included(&o, emit_atom);
	if (!err)
		err = for_included(&o, emit_refs);
	for (size_t i = 0; !err && i < d->target.n; i++)
		err = emit_unwind(&o, &d->target.v[i]);
	for (size_t i = 0; !err && i < d->unit.n; i++)
		for (size_t k = 0; !err && k < d->unit.v[i]->o->atom.n; k++)
			if (d->unit.v[i]->o->atom.v[k]->taken)
				err = emit_func(&o, d->unit.v[i], d->unit.v[i]->o->atom.v[k]);
	if (!err && !d->opts->dry_run)
		err = sut_out_write(&o, d->opts->output, name);
	sut_out_deinit(&o);
	return err;
}
