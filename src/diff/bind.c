/* SPDX-License-Identifier: MIT */
/*
 * bind.c - where a reference of new code leads.
 *
 * Functions and data that the target has stay the target's: a *late* symbol with the address that was
 * proved (verify.c). What the target lacks comes along in the patch. What other objects provide is left to be
 * looked up by name when the patch is loaded, as the dynamic linker would; so are those of a library's own symbols that
 * the library itself reaches through its slots, because another object may stand in for them.
 * An address taken of an old function is the old function's, so that pointers compare as before; its
 * entry leads to the new one. Direct calls between replaced functions need not take that way.
 */
#include <errno.h>

#include "diff/diff.h"

static int late_symbol(struct sut_unit *u, const struct sut_target *t, const struct sut_symbol *s, const char *name,
		       uint64_t addr, struct sut_bind *ret)
{
	(void)u;
	*ret = (struct sut_bind){ .kind = SUT_BIND_LATE, .target = t, .name = name, .addr = addr, .bind = STB_GLOBAL };
	if (!s)
		return 0;
	ret->name = s->name;
	ret->sympos = sut_symtab_count(t->syms, s->name) > 1 ? s->sympos : 0;
	ret->size = s->size;
	ret->type = s->type;
	return 0;
}

static uint8_t type_of(const struct sut_atom *a)
{
	if (sut_atom_class(a) == SUT_CLASS_TLS)
		return STT_TLS;
	return sut_atom_is_func(a) ? STT_FUNC : STT_OBJECT;
}

/* An atom of v, at its proved address. */
static int late_atom(struct sut_unit *u, const struct sut_atom *v, uint64_t addr, struct sut_bind *ret)
{
	const struct sut_osym *s = sut_atom_sym(v);

	(void)late_symbol(u, u->target, v->target, v->name, addr, ret);
	ret->size = v->size;
	if (!ret->type || ret->type == STT_NOTYPE)
		ret->type = type_of(v);
	/* An IFUNC is reached through its stub; the symbol is the resolver's. */
	if (s->bound == SUT_BOUND_ADDR && s->bound_addr != addr && sut_atom_is_func(v)) {
		ret->addr = s->bound_addr;
		ret->type = STT_FUNC;
	}
	return 0;
}

static int global(struct sut_unit *u, const char *name, const char *version, uint8_t type, uint8_t bind,
		  struct sut_bind *ret)
{
	*ret = (struct sut_bind){ .kind = SUT_BIND_GLOBAL, .name = name, .type = type, .bind = bind };
	if (version)
		ret->name = sut_pool_printf(&u->d->pool, "%s@%s", name, version);
	return ret->name ? 0 : sut_nomem(u->d->ctx);
}

/* A library's own symbol that another object may stand in for: as a name. */
static int interposable(struct sut_unit *u, const struct sut_osym *s, struct sut_bind *ret)
{
	struct sut_dynsym dyn;
	const char *version = NULL;

	if (sut_elf_dynsym(u->target->elf, s->name, NULL, &dyn))
		version = dyn.version;
	return global(u, s->name, version, s->type, s->bind, ret);
}

static struct sut_osym *symbol_in(const struct sut_ofile *f, const char *name)
{
	for (size_t i = 1; i < f->sym.n; i++)
		if (f->sym.v[i].bind != STB_LOCAL && !strcmp(f->sym.v[i].name, name))
			return &f->sym.v[i];
	return NULL;
}

/* Whether the library reaches this symbol of its own through a slot with the symbol's name. */
static bool is_interposable(struct sut_unit *u, const struct sut_osym *s)
{
	const struct sut_osym *v;

	if (!u->target->library || s->bind == STB_LOCAL || s->visibility != STV_DEFAULT)
		return false;
	v = symbol_in(u->v, s->name);
	if (v && v->bound == SUT_BOUND_DYNAMIC)
		return true;
	if (v && v->bound == SUT_BOUND_ADDR)
		return false;
	return sut_target_interposable(u->target, s->name);
}

struct sut_atom *sut_ref_atom(const struct sut_atom *from, const struct sut_ref *r)
{
	const struct sut_ofile *f = from->file;
	const struct sut_osym *s = &f->sym.v[r->sym];
	struct sut_atom *only = NULL;

	if (!r->table || !s->shndx || s->shndx >= f->sec.n || f->sec.v[s->shndx].class != SUT_CLASS_TEXT)
		return r->atom;
	for (size_t i = 0; i < f->sec.v[s->shndx].atom.n; i++) {
		struct sut_atom *a = f->sec.v[s->shndx].atom.v[i];

		if (!sut_atom_is_func(a))
			continue;
		if (only) /* several functions: the table's user is meant, when it has one */
			return from->owner && from->owner->sec == s->shndx ? from->owner : NULL;
		only = a;
	}
	return only ? only : r->atom;
}

/* ---- undefined names ---- */

/* A global that some unit's patched object defines. */
static struct sut_atom *defined_by_units(struct sut_diff *d, const struct sut_target *t, const char *name,
					 struct sut_unit **ret)
{
	for (size_t i = 0; i < d->unit.n; i++) {
		struct sut_unit *u = d->unit.v[i];
		struct sut_osym *s;

		if (t && u->target != t)
			continue;
		s = symbol_in(u->p, name);
		if (s && s->atom) {
			*ret = u;
			return s->atom;
		}
	}
	return NULL;
}

/* A global symbol of the target, or one that was global until the link (hidden). */
static const struct sut_symbol *defined_by_target(const struct sut_target *t, const char *name)
{
	const struct sut_symbol *hidden = NULL;
	size_t n = sut_symtab_count(t->syms, name), found = 0;

	for (uint32_t pos = 1; pos <= n; pos++) {
		const struct sut_symbol *s = sut_symtab_nth(t->syms, name, pos);

		if (!s || !s->shndx)
			continue;
		if (s->bind != STB_LOCAL)
			return s;
		if (!s->file || !s->file[0] || s->visibility == STV_HIDDEN || s->visibility == STV_INTERNAL) {
			hidden = s;
			found++;
		}
	}
	return found == 1 ? hidden : NULL;
}

static int bind_atom(struct sut_unit *u, const struct sut_atom *from, struct sut_atom *a, const struct sut_osym *s,
		     bool branch, bool inner, struct sut_bind *ret);

static int not_found(struct sut_unit *u, const struct sut_atom *from, const char *name, const char *why)
{
	(void)sut_fail(u->d->ctx, SUTURE_EREFUSED, "%s: the new %s refers to %s, %s", u->name, from->name, name, why);
	return sut_hint(u->d->ctx, "the difference may need a source file that the database does not compile");
}

static int bind_name(struct sut_unit *u, const struct sut_atom *from, const struct sut_ref *r, struct sut_bind *ret)
{
	const struct sut_osym *s = &u->p->sym.v[r->sym], *v = symbol_in(u->v, s->name);
	const struct sut_target *t = u->target;
	const struct sut_symbol *known;
	struct sut_unit *other;
	struct sut_atom *a;
	struct sut_dynsym dyn;
	bool tls = s->type == STT_TLS;

	if (!strcmp(s->name, "_TLS_MODULE_BASE_")) { /* the start of the target's thread-local data; linkers make it */
		(void)late_symbol(u, t, NULL, s->name, 0, ret);
		ret->type = STT_TLS;
		return 0;
	}
	if (v && v->bound == SUT_BOUND_ADDR) {
		known = sut_target_symbol_at(t, s->name, v->bound_addr, tls);
		a = known && r->branch ? defined_by_units(u->d, t, s->name, &other) : NULL;
		if (a)
			return bind_atom(other, from, a, s, true, false, ret);
		(void)late_symbol(u, t, known, s->name, v->bound_addr, ret);
		if (!known)
			ret->type = tls ? STT_TLS : r->branch ? STT_FUNC : s->type;
		return 0;
	}
	if (v && v->bound == SUT_BOUND_DYNAMIC) {
		if (sut_elf_dynsym(t->elf, s->name, NULL, &dyn) && dyn.shndx)
			return interposable(u, s, ret);
		return global(u, s->name, sut_elf_import_version(t->elf, s->name), s->type, s->bind, ret);
	}
	a = defined_by_units(u->d, t, s->name, &other);
	if (a && !is_interposable(u, s))
		return bind_atom(other, from, a, s, r->branch, false, ret);
	known = defined_by_target(t, s->name);
	if (known && is_interposable(u, s))
		return interposable(u, s, ret);
	if (known)
		return late_symbol(u, t, known, s->name, known->value, ret);
	if (sut_elf_dynsym(t->elf, s->name, NULL, &dyn) && dyn.shndx) { /* a copied variable */
		(void)late_symbol(u, t, NULL, s->name, dyn.value, ret);
		ret->size = dyn.size;
		ret->type = dyn.type;
		return 0;
	}
	a = defined_by_units(u->d, NULL, s->name, &other);
	if (a)
		return bind_atom(other, from, a, s, false, false, ret);
	if (!t->elf->has_dynamic && s->bind != STB_WEAK && s->name[0] != '_')
		return not_found(u, from, s->name, "which a statically linked program can not get from elsewhere");
	if (u->d->new_sources && !sut_elf_import_version(t->elf, s->name))
		return not_found(u, from, s->name, "which nothing that is compiled or linked defines");
	return global(u, s->name, sut_elf_import_version(t->elf, s->name), s->type, s->bind, ret);
}

/* ---- defined atoms ---- */

/* What compilers call the pieces of a C++ unit's initialisation. */
static bool is_initialiser(const struct sut_atom *f)
{
	static const char *const names[] = { "_GLOBAL__", "_Z41__static_initialization_and_destruction",
					     "__cxx_global_var_init", "__cxx_global_array_dtor" };

	for (size_t i = 0; i < SUT_ARRAY_SIZE(names); i++)
		if (!strncmp(f->name, names[i], strlen(names[i])))
			return true;
	return false;
}

static bool code_uses(const struct sut_atom *f, const struct sut_atom *a)
{
	const struct sut_ref *r = sut_atom_refs(f);

	for (size_t i = 0; i < f->n_refs; i++)
		if (r[i].atom == a)
			return true;
	return false;
}

/* Whether a constructor of the unit, in C++ the one that initialises its objects, touches a variable. */
static bool set_up_at_start(const struct sut_atom *a)
{
	const struct sut_ofile *f = a->file;

	for (size_t i = 0; i < f->by_name.n; i++)
		if (sut_atom_is_func(f->by_name.v[i]) && is_initialiser(f->by_name.v[i]) &&
		    code_uses(f->by_name.v[i], a))
			return true;
	for (size_t i = 1; i < f->sec.n; i++)
		for (size_t k = 0; f->sec.v[i].class == SUT_CLASS_INIT && k < f->sec.v[i].ref.n; k++) {
			const struct sut_atom *start = f->sec.v[i].ref.v[k].atom;

			if (start && sut_atom_is_func(start) && code_uses(start, a))
				return true;
		}
	return false;
}

static int bind_new(struct sut_unit *u, const struct sut_atom *from, struct sut_atom *a, struct sut_bind *ret)
{
	const struct sut_symbol *there;

	if (sut_atom_class(a) == SUT_CLASS_TLS) {
		(void)sut_fail(u->d->ctx, SUTURE_EREFUSED, "%s: the new %s uses the new thread-local variable %s",
			       u->name, from->name, a->name);
		return sut_hint(u->d->ctx,
				"running threads have no room for it; keep it in a shadow variable or a table of "
				"threads");
	}
	if (a->ambiguous && sut_atom_is_writable(a)) {
		(void)sut_fail(u->d->ctx, SUTURE_EREFUSED,
			       "%s: it is not clear whether the static variable %s, which the new "
			       "%s uses, is one that the process has already",
			       u->name, a->name, from->name);
		return sut_hint(u->d->ctx, "give the new variable a name of its own");
	}
	if (sut_atom_is_writable(a) && set_up_at_start(a)) {
		(void)sut_fail(
			u->d->ctx, SUTURE_EREFUSED,
			"%s: the new variable %s, which the new %s uses, is set up by code that runs only when a "
			"process starts",
			u->name, a->name, from->name);
		return sut_hint(u->d->ctx, "make it a static variable of the function that uses it, which is set up at "
					   "the first use, or initialise it with a constant");
	}
	there = a->sym && sut_atom_is_global(a) && strncmp(a->name, "DW.ref.", 7)
			? defined_by_target(u->target, a->name)
			: NULL;
	if (there && !a->twin && sut_atom_sym(a)->bind != STB_WEAK) {
		(void)sut_fail(u->d->ctx, SUTURE_EREFUSED, "%s: the difference moves %s here from another unit",
			       u->name, a->name);
		return sut_hint(u->d->ctx, "leave it where it was");
	}
	*ret = (struct sut_bind){ .kind = SUT_BIND_ATOM, .atom = a };
	return 0;
}

static int bind_data(struct sut_unit *u, const struct sut_atom *from, struct sut_atom *a, struct sut_bind *ret)
{
	const struct sut_atom *o = a->twin;
	uint64_t addr;

	if (!strncmp(a->name, "DW.ref.", 7) || !o || !o->v)
		return bind_new(u, from, a, ret);
	if (!sut_atom_address(o->v, &addr)) {
		if (!sut_atom_is_writable(a))
			return bind_new(u, from, a, ret);
		(void)sut_fail(u->d->ctx, SUTURE_EREFUSED, "%s: where %s keeps the variable %s is not known", u->name,
			       u->target->shown, a->name);
		return sut_hint(u->d->ctx, "its symbol is missing; name a debug file that has it with --debug");
	}
	/* Constants that differ, or that are not sure to be the same, come along. */
	if (!sut_atom_is_writable(a) && (o->differs || o->v->verdict != SUT_VERIFIED))
		return bind_new(u, from, a, ret);
	return late_atom(u, o->v, addr, ret);
}

/* Whether @from is a part of function @a: its cold part, its table. */
static bool part_of(const struct sut_atom *from, const struct sut_atom *a)
{
	if (from->owner)
		from = from->owner;
	return from == a || from->parent == a || (a->parent && (a->parent == from || a->parent == from->parent));
}

static int bind_func(struct sut_unit *u, const struct sut_atom *from, struct sut_atom *a, bool branch, bool inner,
		     struct sut_bind *ret)
{
	const struct sut_atom *o = a->twin;
	uint64_t addr;

	/* A fragment is nothing by itself, and a place inside of a function is one of this copy. */
	if (a->parent || inner || (part_of(from, a) && (branch || !sut_atom_is_func(from)))) {
		*ret = (struct sut_bind){ .kind = SUT_BIND_ATOM, .atom = a };
		return 0;
	}
	if (!o || !o->v || o->v->verdict == SUT_ABSENT || !sut_atom_address(o->v, &addr))
		return bind_new(u, from, a, ret);
	if (branch && a->taken) {
		*ret = (struct sut_bind){ .kind = SUT_BIND_ATOM, .atom = a };
		return 0;
	}
	return late_atom(u, o->v, addr, ret);
}

static int bind_atom(struct sut_unit *u, const struct sut_atom *from, struct sut_atom *a, const struct sut_osym *s,
		     bool branch, bool inner, struct sut_bind *ret)
{
	switch (a->kind) {
	case SUT_ATOM_STRING:
	case SUT_ATOM_CONST:
	case SUT_ATOM_ANON:
		/* What exception tables refer to are pointers to types, which clang keeps in .data; nothing writes there. */
		if (sut_atom_is_writable(a) && !a->file->gcc && sut_atom_class(from) != SUT_CLASS_EXCEPT) {
			(void)sut_fail(u->d->ctx, SUTURE_EREFUSED,
				       "%s: the new %s uses a writable object without a name, of which "
				       "the process has one",
				       u->name, from->name);
			return sut_hint(u->d->ctx, "give the object (a compound literal?) a name");
		}
		*ret = (struct sut_bind){ .kind = SUT_BIND_ATOM, .atom = a };
		return 0;
	default:
		break;
	}
	if (s && s->type != STT_SECTION && a->twin && is_interposable(u, s))
		return interposable(u, s, ret);
	if (sut_atom_is_func(a))
		return bind_func(u, from, a, branch, inner, ret);
	return bind_data(u, from, a, ret);
}

int sut_bind_ref(struct sut_unit *u, const struct sut_atom *from, const struct sut_ref *r, struct sut_bind *ret)
{
	const struct sut_osym *s = r->synthetic ? NULL : &u->p->sym.v[r->sym];
	struct sut_atom *a = sut_ref_atom(from, r);

	if (s && (s->shndx == SHN_ABS || (!s->shndx && !r->atom)))
		return s->shndx == SHN_ABS ? global(u, s->name, NULL, s->type, s->bind, ret)
					   : bind_name(u, from, r, ret);
	if (!a)
		return sut_refuse(u->d->ctx, "compile the unit without section attributes on its functions",
				  "%s: a table of the new %s refers to one of several functions of a "
				  "section; which, is not known",
				  u->name, from->name);
	return bind_atom(u, from, a, s, r->branch, sut_atom_is_func(a) && (r->table || r->delta), ret);
}
