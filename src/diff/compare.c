/* SPDX-License-Identifier: MIT */
/*
 * compare.c - whether two atoms are the same code or data.
 *
 * All bytes that no reference covers must be equal, and references must mean the same: the twin
 * of the same symbol at the same distance, a string or constant of the same content, an anonymous table of the
 * same content. Numbers that compilers and assemblers give away (".LC7", "x.3", section offsets) never count.
 *
 * Between original and patched object, what differs is what a patch replaces; data that live can
 * not be replaced, and a change of theirs is refused here. Between the object that is
 * compared and the one that was verified, equality is the proof that both are the target's code.
 */
#include <errno.h>
#include <stdarg.h>

#include "diff/diff.h"

#define MAX_DEPTH 6 /* of anonymous data that refer to anonymous data */

struct comparison {
	struct sut_diff *d;
	enum sut_peer peer;
	const char *why;
};

/** A part of a section. */
struct region {
	const struct sut_ofile *f;
	uint32_t sec;
	uint64_t start, size;
};

static bool unequal(struct comparison *c, const char *fmt, ...) sut_printf(2, 3);
static bool unequal(struct comparison *c, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->why = sut_pool_strndup(&c->d->pool, text, strlen(text));
	return false;
}

static struct region region_of(const struct sut_atom *a)
{
	return (struct region){ a->file, a->sec, a->start, a->size };
}

/* The first reference at or after an offset. */
static const struct sut_ref *refs_from(const struct sut_osec *s, uint64_t off)
{
	size_t lo = 0, hi = s->ref.n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (s->ref.v[mid].off < off)
			lo = mid + 1;
		else
			hi = mid;
	}
	return s->ref.v + lo;
}

static bool same_content(const struct sut_atom *a, const struct sut_atom *b)
{
	return a->kind == b->kind && a->size == b->size && !memcmp(sut_atom_bytes(a), sut_atom_bytes(b), a->size);
}

/* Whether the contents of @x stand in anonymous constant data: so they do where constants are not merged. */
static bool content_at(const struct sut_atom *x, int64_t dx, const struct sut_atom *y, int64_t dy)
{
	const struct sut_osec *s = y->sec ? sut_atom_sec(y) : NULL;
	int64_t at = (int64_t)y->start + dy - dx;
	const struct sut_ref *r;

	if (!s || s->class != SUT_CLASS_RODATA || !s->s->data || at < 0 || !sut_fits((uint64_t)at, x->size, s->s->size))
		return false;
	r = refs_from(s, (uint64_t)at);
	if (r < s->ref.v + s->ref.n && r->off < (uint64_t)at + x->size)
		return false;
	return !memcmp(sut_atom_bytes(x), s->s->data + at, x->size);
}

static bool is_constant(const struct sut_atom *a)
{
	enum sut_class class = sut_atom_class(a);

	/* gcc puts nameless initial values with addresses in them into .data; nothing ever writes there. */
	if (class == SUT_CLASS_DATA && a->kind == SUT_ATOM_ANON && a->file->gcc)
		return true;
	return class == SUT_CLASS_RODATA || class == SUT_CLASS_RELRO || class == SUT_CLASS_EXCEPT;
}

static bool regions_equal(struct comparison *c, struct region a, struct region b, unsigned depth);

/* A place in a section on either side. */
static bool places_equal(struct comparison *c, const struct sut_atom *x, int64_t dx, const struct sut_atom *y,
			 int64_t dy, unsigned depth)
{
	const struct sut_atom *peer = c->peer == SUT_PEER_TWIN ? x->twin : x->v;

	if (x->kind == SUT_ATOM_STRING || x->kind == SUT_ATOM_CONST)
		return (same_content(x, y) && dx == dy) || (c->peer == SUT_PEER_VERIFIED && content_at(x, dx, y, dy));
	/* By position: with several things in a section, the end of one is the start of the next. */
	if (peer && peer == y && c->peer == SUT_PEER_VERIFIED && sut_atom_is_func(x) && dx != dy)
		return sut_insns_same_place(x, dx, y, dy);
	if (peer)
		return peer->sec == y->sec &&
		       (!peer->sec ? peer == y && dx == dy : (int64_t)peer->start + dx == (int64_t)y->start + dy);
	if (!is_constant(x) || !is_constant(y) || depth >= MAX_DEPTH)
		return false;
	if (c->peer == SUT_PEER_TWIN && (y->twin || x->size != y->size || dx != dy))
		return false;
	return regions_equal(c, region_of(x),
			     (struct region){ y->file, y->sec, (uint64_t)((int64_t)y->start + dy - dx), x->size },
			     depth + 1);
}

/* Where a reference from a table leads: tables count from their start, wherever the entry stands. */
static bool table_place(const struct region *from, const struct sut_ref *r, const struct sut_atom **ret, int64_t *delta)
{
	const struct sut_osym *s = &from->f->sym.v[r->sym];
	int64_t at = (int64_t)s->value + r->addend - (int64_t)(r->off - from->start);

	if (!s->shndx || s->shndx >= from->f->sec.n)
		return false;
	*ret = sut_ofile_atom_at(from->f, s->shndx, at);
	*delta = *ret ? at - (int64_t)(*ret)->start : 0;
	return *ret != NULL;
}

static bool branch_like(const struct sut_ref *r)
{
	return r->howto->kind == SUT_RELOC_PCREL || r->howto->kind == SUT_RELOC_PLT;
}

static bool refs_equal(struct comparison *c, const struct region *ra, const struct sut_ref *a, const struct region *rb,
		       const struct sut_ref *b, unsigned depth)
{
	const struct sut_atom *x = a->atom, *y = b->atom;
	int64_t dx = a->delta, dy = b->delta;

	if (a->howto != b->howto && !(branch_like(a) && branch_like(b) && a->howto->size == b->howto->size))
		return false;
	if (!x || !y)
		return !x && !y && !strcmp(ra->f->sym.v[a->sym].name, rb->f->sym.v[b->sym].name) &&
		       a->addend == b->addend;
	if (a->table != b->table)
		return false;
	if (a->table && (!table_place(ra, a, &x, &dx) || !table_place(rb, b, &y, &dy)))
		return false;
	return places_equal(c, x, dx, y, dy, depth);
}

static bool bytes_equal(struct comparison *c, const uint8_t *a, const uint8_t *b, uint64_t from, uint64_t to)
{
	for (; from < to; from++)
		if (a[from] != b[from])
			return unequal(c, "first difference at +%#llx", (unsigned long long)from);
	return true;
}

/* Things without a name of their own are called like their section. */
static bool refers_elsewhere(struct comparison *c, uint64_t off, const char *now, const char *before)
{
	if (!strcmp(now, before))
		return unequal(c, "first difference at +%#llx: refers to other contents in %s", (unsigned long long)off,
			       now);
	return unequal(c, "first difference at +%#llx: refers to %s instead of %s", (unsigned long long)off, now,
		       before);
}

static bool regions_equal(struct comparison *c, struct region a, struct region b, unsigned depth)
{
	const struct sut_osec *sa = &a.f->sec.v[a.sec], *sb = &b.f->sec.v[b.sec];
	const struct sut_ref *x = refs_from(sa, a.start), *xend = refs_from(sa, a.start + a.size);
	const struct sut_ref *y = refs_from(sb, b.start), *yend = refs_from(sb, b.start + b.size);
	const uint8_t *pa, *pb;
	uint64_t pos = 0;

	if (a.size != b.size)
		return unequal(c, "size %llu -> %llu", (unsigned long long)a.size, (unsigned long long)b.size);
	if (!sut_fits(a.start, a.size, sa->s->size) || !sut_fits(b.start, b.size, sb->s->size))
		return unequal(c, "lies elsewhere");
	if (!sa->s->data || !sb->s->data)
		return !sa->s->data && !sb->s->data ? true : unequal(c, "has an initial value on one side only");
	pa = sa->s->data + a.start;
	pb = sb->s->data + b.start;
	for (; x < xend && y < yend; x++, y++) {
		uint64_t off = x->off - a.start;

		if (off != y->off - b.start)
			break;
		if (!bytes_equal(c, pa, pb, pos, off))
			return false;
		if (!refs_equal(c, &a, x, &b, y, depth))
			return refers_elsewhere(c, off, sut_ref_name(b.f, y), sut_ref_name(a.f, x));
		pos = off + x->howto->size;
	}
	if (x < xend || y < yend) {
		uint64_t off = x < xend ? x->off - a.start : y->off - b.start;

		if (y < yend && x < xend && y->off - b.start < off)
			off = y->off - b.start;
		if (!bytes_equal(c, pa, pb, pos, off))
			return false;
		return unequal(c, "first difference at +%#llx: a reference on one side only", (unsigned long long)off);
	}
	return bytes_equal(c, pa, pb, pos, a.size);
}

bool sut_atoms_equal(struct sut_diff *d, const struct sut_atom *a, const struct sut_atom *b, enum sut_peer peer,
		     const char **ret_why)
{
	struct comparison c = { .d = d, .peer = peer };
	bool equal;

	if (!a->sec || !b->sec)
		equal = (a->sec == b->sec && a->size == b->size) || unequal(&c, "is common on one side only");
	else
		equal = regions_equal(&c, region_of(a), region_of(b), 0);
	if (!equal && ret_why)
		*ret_why = c.why;
	return equal;
}

bool sut_refs_equal(struct sut_diff *d, const struct sut_atom *a, const struct sut_ref *ra, const struct sut_atom *b,
		    const struct sut_ref *rb, enum sut_peer peer)
{
	struct comparison c = { .d = d, .peer = peer };
	struct region x = region_of(a), y = region_of(b);

	return refs_equal(&c, &x, ra, &y, rb, 0);
}

/* ---- original against patched ---- */

static bool in_target(const struct sut_atom *o)
{
	uint64_t addr;

	return o->v && sut_atom_address(o->v, &addr);
}

static int refuse_data(struct sut_unit *u, const struct sut_atom *o, const char *what, const char *hint)
{
	(void)sut_fail(u->d->ctx, SUTURE_EREFUSED, "%s: %s of the variable %s: it lives in the running process",
		       u->name, what, o->name);
	return sut_hint(u->d->ctx, "%s", hint);
}

/* Writable data stay where they are, as they are. */
static int compare_writable(struct sut_unit *u, struct sut_atom *o)
{
	static const char *const shadow = "keep the variable as it is, and put what is new into a variable of its own "
					  "(or a shadow variable)";
	struct sut_atom *p = o->twin;
	const char *why = "";
	uint64_t align_o, align_p;

	if (!in_target(o)) { /* the target has no such variable: the patch brings its own */
		p->twin = NULL;
		o->twin = NULL;
		return 0;
	}
	if (!sut_atom_is_writable(p))
		return refuse_data(u, o, "the difference makes a constant", shadow);
	if (o->size != p->size)
		return refuse_data(u, o, "the difference changes the size", shadow);
	if (!sut_atoms_equal(u->d, o, p, SUT_PEER_TWIN, &why))
		return refuse_data(
			u, o, "the difference changes the initial value",
			"a new initial value would not reach the running process; set it in code that runs, or "
			"leave it out of the difference");
	align_o = o->sec ? sut_atom_sec(o)->s->align : 1;
	align_p = p->sec ? sut_atom_sec(p)->s->align : 1;
	if (o->sec && p->sec && align_p > align_o)
		return refuse_data(u, o, "the difference changes the alignment", shadow);
	return 0;
}

/* Data first: a variable that the target lacks loses its twin, and functions that use it differ. */
static int compare_atom(struct sut_unit *u, struct sut_atom *o, bool funcs)
{
	if (!o->sym || !o->twin)
		return 0;
	if (sut_atom_is_func(o) != funcs)
		return 0;
	if (funcs) {
		u->d->report->funcs_compared++;
		o->differs = !sut_atoms_equal(u->d, o, o->twin, SUT_PEER_TWIN, &o->difference);
		return 0;
	}
	if (sut_atom_class(o) == SUT_CLASS_INIT)
		return 0;
	if (sut_atom_is_writable(o))
		return compare_writable(u, o);
	if (sut_atom_is_writable(o->twin) && in_target(o))
		return refuse_data(u, o, "the difference makes a variable of the constant that was the value",
				   "give the variable another name");
	o->differs = sut_atom_class(o) != sut_atom_class(o->twin) ||
		     !sut_atoms_equal(u->d, o, o->twin, SUT_PEER_TWIN, &o->difference);
	return 0;
}

/* Other objects, or units that were not compiled, read a global constant where it was. */
static int check_constant(struct sut_unit *u, const struct sut_atom *o)
{
	struct sut_dynsym dyn;
	const char *where;
	uint64_t addr;

	if (!sut_atom_is_global(o) || !o->v || !sut_atom_address(o->v, &addr))
		return 0;
	if (sut_elf_dynsym(u->target->elf, o->name, NULL, &dyn) && dyn.shndx)
		where = "other objects may read it";
	else if (sut_target_outside_ref(u->d, u->target, u, addr, &where))
		where = sut_pool_printf(&u->d->pool, "%s, which is not rebuilt, reads it", where);
	else
		return 0;
	(void)sut_fail(u->d->ctx, SUTURE_EREFUSED, "%s: the difference changes the constant %s, and %s", u->name,
		       o->name, where);
	return sut_hint(u->d->ctx, "add a new constant for the changed functions, and leave the old one");
}

/* A class's table of virtual functions, also while it is constructed, and the table of such tables. */
static bool is_vtable(const struct sut_atom *a)
{
	return !strncmp(a->name, "_ZTV", 4) || !strncmp(a->name, "_ZTC", 4) || !strncmp(a->name, "_ZTT", 4);
}

/* New code would look for functions in one that the tables of objects which live do not hold. */
static int check_vtables(struct sut_unit *u)
{
	const struct sut_atom *o = NULL;

	for (size_t i = 0; i < u->o->atom.n && !o; i++)
		if (u->o->atom.v[i]->differs && is_vtable(u->o->atom.v[i]) && in_target(u->o->atom.v[i]))
			o = u->o->atom.v[i];
	if (!o)
		return 0;
	(void)sut_fail(u->d->ctx, SUTURE_EREFUSED,
		       "%s: the difference changes the table of virtual functions %s (%s): objects that live keep the "
		       "old one",
		       u->name, o->name, o->difference ? o->difference : "its contents differ");
	return sut_hint(u->d->ctx, "leave the virtual functions of the class as they are, and call an ordinary "
				   "function from one of them");
}

/* What refers to a changed constant has changed: constants again, functions, and that ends it. */
static int spread_constants(struct sut_unit *u)
{
	bool again = true;

	while (again) {
		again = false;
		for (size_t i = 0; i < u->o->atom.n; i++) {
			struct sut_atom *a = u->o->atom.v[i];
			const struct sut_ref *r = sut_atom_refs(a);

			for (size_t k = 0; k < a->n_refs; k++) {
				const struct sut_atom *t = r[k].atom;

				if (!t || sut_atom_is_func(t) || !t->differs || t == a)
					continue;
				if (sut_atom_is_func(a)) {
					if (!a->data_differs)
						a->difference =
							a->differs
								? a->difference
								: sut_pool_printf(&u->d->pool,
										  "refers to %s, whose contents differ",
										  t->name);
					a->data_differs = true;
				} else if (sut_atom_is_writable(a) && in_target(a) && a->twin) {
					return refuse_data(
						u, a, "the difference changes what is pointed to by the initial value",
						"assign the new pointer in code that runs");
				} else if (!a->differs && a->sym && !sut_atom_is_writable(a)) {
					a->differs = again = true;
					a->difference = "points to constants that differ";
				}
			}
		}
	}
	for (size_t i = 0; i < u->o->atom.n; i++) {
		const struct sut_atom *a = u->o->atom.v[i];
		int err = 0;

		if (a->differs && !sut_atom_is_func(a))
			err = check_constant(u, a);
		if (err)
			return err;
	}
	return check_vtables(u);
}

/* Sections that are collected at link time (constructors, tables between __start_x and __stop_x). */
static int compare_collected(struct sut_unit *u)
{
	for (uint32_t i = 1; i < u->p->sec.n; i++) {
		const struct sut_osec *p = &u->p->sec.v[i], *o = NULL;
		struct comparison c = { .d = u->d, .peer = SUT_PEER_TWIN };
		uint32_t k;

		if (p->class != SUT_CLASS_INIT && (!p->custom || p->class == SUT_CLASS_TEXT))
			continue;
		for (k = 1; k < u->o->sec.n && !o; k++)
			if (u->o->sec.v[k].class != SUT_CLASS_SKIP && !strcmp(u->o->sec.v[k].s->name, p->s->name))
				o = &u->o->sec.v[k];
		if (o && p->class != SUT_CLASS_INIT && o->s->size == p->s->size)
			continue;
		if (o && p->class == SUT_CLASS_INIT &&
		    regions_equal(&c, (struct region){ u->o, k - 1, 0, o->s->size },
				  (struct region){ u->p, i, 0, p->s->size }, 0))
			continue;
		(void)sut_fail(u->d->ctx, SUTURE_EREFUSED,
			       "%s: the difference changes section %s, which is read once, at "
			       "start",
			       u->name, p->s->name);
		return sut_hint(u->d->ctx,
				p->class == SUT_CLASS_INIT
					? "a constructor of a patch would never run; initialise where it is used"
					: "entries of such a table can not be added to a running process");
	}
	return 0;
}

/* A changed cold part is a change of its function. */
static void gather_fragments(struct sut_unit *u)
{
	for (size_t i = 0; i < u->o->atom.n; i++) {
		struct sut_atom *a = u->o->atom.v[i];

		if (!a->parent)
			continue;
		if (!a->twin && a->parent->twin && !a->parent->differs) {
			a->parent->differs = true;
			a->parent->difference = "its cold part is gone";
		} else if ((a->differs || a->data_differs) && !a->parent->differs) {
			a->parent->differs = a->differs;
			a->parent->data_differs = a->data_differs;
			a->parent->difference = sut_pool_printf(&u->d->pool, "in its cold part: %s", a->difference);
		}
	}
}

int sut_compare(struct sut_unit *u)
{
	int err = 0;

	for (int funcs = 0; funcs < 2; funcs++)
		for (size_t i = 0; !err && i < u->o->atom.n; i++)
			err = compare_atom(u, u->o->atom.v[i], funcs);
	if (!err)
		err = check_vtables(u);
	if (!err)
		err = spread_constants(u);
	if (!err)
		err = compare_collected(u);
	if (!err)
		gather_fragments(u);
	return err;
}

/* ---- compared against verified ---- */

static void prove_atom(struct sut_unit *u, struct sut_atom *o, bool *unproved)
{
	const char *why = "";
	uint64_t addr;

	if (!sut_atom_is_func(o) || !o->v)
		return;
	if (u->o == u->v) {
		o->proved = true;
		o->how = "the object itself was verified";
		return;
	}
	o->proved = sut_atoms_equal(u->d, o, o->v, SUT_PEER_VERIFIED, &why);
	o->how = "code and references equal with and without section options";
	if (!o->proved && sut_insns_equal(u->d, o, o->v)) {
		o->proved = true;
		o->how = "equal instruction by instruction with and without section options, but for the length of "
			 "jumps";
	}
	if (!o->proved)
		o->how = sut_pool_printf(&u->d->pool, "section options change its code (%s)", why);
	*unproved = *unproved || (!o->proved && sut_atom_address(o->v, &addr));
}

int sut_prove(struct sut_unit *u)
{
	bool unproved = false;
	int err;

	for (size_t i = 0; i < u->o->atom.n; i++)
		prove_atom(u, u->o->atom.v[i], &unproved);
	if (!unproved)
		return 0;
	/* Where section options change a function, the recorded options themselves say whether the patch changes it. */
	err = sut_units_compile_fourth(u->d, u);
	if (err)
		return err;
	err = sut_correlate(u->d, u->v, u->vp);
	for (size_t i = 0; !err && i < u->o->atom.n; i++) {
		struct sut_atom *o = u->o->atom.v[i];
		const char *why = "it is gone";

		if (!sut_atom_is_func(o) || !o->v || o->proved || o->differs)
			continue;
		if (o->v->twin && sut_atoms_equal(u->d, o->v, o->v->twin, SUT_PEER_TWIN, &why))
			continue;
		o->differs = true;
		o->difference = sut_pool_printf(&u->d->pool, "without section options: %s", why);
	}
	if (!err)
		gather_fragments(u);
	return err;
}
