/* SPDX-License-Identifier: MIT */
/*
 * take.c - which functions a patch replaces, and whether it may.
 *
 * Taken are the functions of the target whose code differs, or that read constants which differ.
 * And their neighbours, callers and callees in the unit: compilers use what they know of one for
 * the other (which registers it leaves alone, what it returns). A neighbour that is not
 * taken must be proved to be in the target as it was compiled beside the new code; one whose code section options
 * change is taken, too, so that the two agree.
 *
 * What is refused: code that is not the target's, functions too short for a jump, functions that
 * share their code with others, IFUNC resolvers and single variants.
 */
#include <errno.h>

#include "diff/diff.h"

#ifndef STT_GNU_IFUNC
#define STT_GNU_IFUNC 10
#endif

int sut_diff_item(struct sut_unit *u, const struct sut_atom *a, enum sut_include_reason why, uint64_t old_size,
		  uint64_t new_size, const char *text)
{
	struct sut_build_item item = {
		.reason = why, .old_size = old_size, .new_size = new_size, .is_func = sut_atom_is_func(a)
	};

	item.object = strdup(u->target->shown);
	item.unit = strdup(u->name);
	item.name = strdup(a->name);
	item.text = strdup(text ? text : "");
	if (!item.object || !item.unit || !item.name || !item.text || sut_vec_push(&u->d->report->item, item)) {
		free(item.object);
		free(item.unit);
		free(item.name);
		free(item.text);
		return sut_nomem(u->d->ctx);
	}
	return 0;
}

static bool is_resolver(const struct sut_atom *a)
{
	for (size_t i = 0; i < a->alias.n; i++)
		if (a->file->sym.v[a->alias.v[i]].type == STT_GNU_IFUNC)
			return true;
	return false;
}

static bool addressed(const struct sut_atom *o, uint64_t *ret)
{
	return o->v && o->v->verdict != SUT_ABSENT && sut_atom_address(o->v, ret);
}

static int refuse_mismatch(struct sut_unit *u, const struct sut_atom *o, const char *role)
{
	(void)sut_fail(u->d->ctx, SUTURE_EREFUSED, "%s: %s%s in %s is not what this source compiles to: %s", u->name,
		       o->name, role, u->target->shown, o->v->why ? o->v->why : "its bytes differ");
	return sut_hint(u->d->ctx,
			"use the compiler, the options and exactly the source that the target was built with");
}

/* ---- may it be replaced? ---- */

static int check_length(struct sut_unit *u, const struct sut_atom *o, uint64_t addr)
{
	const struct sut_arch *arch = u->o->elf->arch;
	const uint8_t *code = sut_elf_bytes(u->target->elf, addr, o->v->size);
	size_t skip = code ? arch->entry_skip(code, o->v->size) : 0;

	if (o->no_size || o->v->no_size)
		return sut_refuse(u->d->ctx, "its symbol needs a size: assembler code with .size, or C",
				  "%s: the symbol of %s has no size, so its end is not known", u->name, o->name);
	if (o->v->size >= skip + arch->jump_size)
		return 0;
	(void)sut_fail(u->d->ctx, SUTURE_EREFUSED, "%s: %s is %llu bytes long, too short for the jump that replaces it",
		       u->name, o->name, (unsigned long long)o->v->size);
	return sut_hint(u->d->ctx, "change its callers instead");
}

/* Whether the unit says that symbol @name stands in the same atom as @o. */
static bool own_name(const struct sut_atom *o, const char *name)
{
	for (size_t i = 0; i < o->v->alias.n; i++)
		if (!strcmp(o->v->file->sym.v[o->v->alias.v[i]].name, name))
			return true;
	return false;
}

/* Equal functions may share one address: then replacing one replaces all. */
static int check_folded(struct sut_unit *u, const struct sut_atom *o, uint64_t addr)
{
	size_t n, first = sut_symtab_all_at(u->target->syms, addr, &n);
	const char *other = NULL;

	for (size_t i = first; i < first + n; i++) {
		const struct sut_symbol *s = &u->target->syms->sym.v[i];
		char plain[512];

		if (s->type != STT_FUNC || !s->shndx)
			continue;
		snprintf(plain, sizeof(plain), "%.*s", (int)strcspn(s->name, "@"), s->name);
		if (!own_name(o, s->name) && !own_name(o, plain))
			other = s->name;
	}
	/* Names that shared the code and after the difference do not: both must have become the same. */
	for (size_t i = 0; !other && i < u->p->atom.n; i++) {
		const struct sut_atom *p = u->p->atom.v[i];

		if (p->folded == o && !(o->twin && sut_atoms_equal(u->d, o, p, SUT_PEER_TWIN, NULL) && !o->differs))
			other = p->name;
	}
	if (!other)
		return 0;
	(void)sut_fail(u->d->ctx, SUTURE_EREFUSED,
		       "%s: %s and %s share one piece of code in %s; replacing one would "
		       "replace the other",
		       u->name, o->name, other, u->target->shown);
	return sut_hint(u->d->ctx,
			"the compiler or linker folded them because they were equal; change the callers instead");
}

/* Functions that are chosen between at start change together or not at all. */
static int check_variants(struct sut_unit *u, const struct sut_atom *o)
{
	for (size_t i = 0; i < u->o->atom.n; i++) {
		const struct sut_atom *resolver = u->o->atom.v[i];
		const struct sut_ref *r = sut_atom_refs(resolver);
		bool mine = false;

		if (!sut_atom_is_func(resolver) || (!is_resolver(resolver) && !strstr(resolver->name, ".resolver")))
			continue;
		for (size_t k = 0; k < resolver->n_refs; k++)
			mine = mine || r[k].atom == o;
		for (size_t k = 0; mine && k < resolver->n_refs; k++) {
			const struct sut_atom *other = r[k].atom;

			if (!other || other == o || !sut_atom_is_func(other) || r[k].branch || other->taken)
				continue;
			(void)sut_fail(u->d->ctx, SUTURE_EREFUSED,
				       "%s: %s is one variant of %s, and its other variant %s does not change", u->name,
				       o->name, resolver->name, other->name);
			return sut_hint(u->d->ctx,
					"which variant a process uses was decided when it started; change all of "
					"them");
		}
	}
	return 0;
}

static int check_taken(struct sut_unit *u, struct sut_atom *o)
{
	uint64_t addr = 0;
	int err;

	if (!addressed(o, &addr))
		return 0;
	if (o->v->verdict == SUT_MISMATCH)
		return refuse_mismatch(u, o, "");
	for (const struct sut_atom *c = o->v->cold; c; c = c->next_cold)
		if (c->verdict == SUT_MISMATCH)
			return refuse_mismatch(u, o, "'s cold part");
	if (is_resolver(o)) {
		(void)sut_fail(u->d->ctx, SUTURE_EREFUSED,
			       "%s: %s chooses an implementation when a process starts (IFUNC); "
			       "it is not called again",
			       u->name, o->name);
		return sut_hint(u->d->ctx, "change the implementations, not the choice");
	}
	err = check_length(u, o, addr);
	if (!err)
		err = check_folded(u, o, addr);
	return err ? err : check_variants(u, o);
}

/* ---- what is taken ---- */

static bool start_only(const struct sut_atom *o)
{
	const char *sec = o->sec ? sut_atom_sec(o)->s->name : "";

	if (!strncmp(sec, ".text.startup", 13) || !strcmp(o->name, "main"))
		return true;
	for (size_t i = 1; i < o->file->sec.n; i++) { /* a constructor */
		const struct sut_osec *s = &o->file->sec.v[i];

		for (size_t k = 0; s->class == SUT_CLASS_INIT && k < s->ref.n; k++)
			if (s->ref.v[k].atom == o)
				return true;
	}
	return false;
}

static void take(struct sut_atom *o, const char *difference)
{
	o->taken = o->twin->taken = true;
	o->start_only = start_only(o);
	if (!o->differs && !o->data_differs)
		o->difference = difference;
}

/* A function of the original that the difference removed. */
static int note_vanished(struct sut_unit *u, const struct sut_atom *o)
{
	uint64_t addr;

	if (o->parent || !addressed(o, &addr))
		return 0;
	if (!sut_atom_is_global(o))
		return 0;
	return sut_diff_note(u->d, "%s: %s is gone in the patched source; whoever still calls it gets the old code",
			     u->name, o->name);
}

/*
 * A function that differs and of which the target has no code: dropped by the linker, if all else of the
 * unit is as compiled. If not, it was perhaps inlined there, and "nothing to patch" would be wrong.
 */
static int note_absent(struct sut_unit *u, const struct sut_atom *o)
{
	for (size_t i = 0; u->n_mismatched && i < u->o->atom.n; i++) {
		const struct sut_atom *a = u->o->atom.v[i];

		if (sut_atom_is_func(a) && a->v && a->v->verdict == SUT_MISMATCH)
			return refuse_mismatch(u, a,
					       sut_pool_printf(&u->d->pool, " (beside %s, which changes)", o->name));
	}
	return sut_diff_note(u->d, "%s: %s differs, but %s has no code of it", u->name, o->name, u->target->shown);
}

static int take_changed(struct sut_unit *u)
{
	for (size_t i = 0; i < u->o->atom.n; i++) {
		struct sut_atom *o = u->o->atom.v[i];
		uint64_t addr;
		int err = 0;

		if (!sut_atom_is_func(o) || !o->sym || o->parent)
			continue;
		if (!o->twin) {
			err = note_vanished(u, o);
		} else if (o->differs || o->data_differs) {
			if (!o->differs && !strcmp(o->name, "main"))
				err = sut_diff_note(u->d, "%s: main is left as it is, though it %s", u->name,
						    o->difference);
			else if (addressed(o, &addr))
				take(o, NULL);
			else if (o->v && o->v->verdict == SUT_MISMATCH)
				err = refuse_mismatch(u, o, "");
			else
				err = note_absent(u, o);
		}
		if (err)
			return err;
	}
	return 0;
}

static bool refers_to(const struct sut_atom *a, const struct sut_atom *t)
{
	const struct sut_ref *r = sut_atom_refs(a);

	for (size_t i = 0; i < a->n_refs; i++)
		if (r[i].atom == t || (r[i].atom && r[i].atom->parent == t))
			return true;
	for (const struct sut_atom *c = a->cold; c; c = c->next_cold)
		if (refers_to(c, t))
			return true;
	return false;
}

/* A function beside a taken one: what was compiled beside the new code must be what the target has. */
static int check_neighbour(struct sut_unit *u, const struct sut_atom *taken, struct sut_atom *o, bool *again)
{
	uint64_t addr;

	if (o->taken || o->parent || !o->twin || !addressed(o, &addr))
		return 0;
	if (o->v->verdict == SUT_MISMATCH)
		return refuse_mismatch(u, o, sut_pool_printf(&u->d->pool, ", which %s relies on,", taken->name));
	if (o->proved)
		return 0;
	take(o, sut_pool_printf(&u->d->pool, "taken along with %s: %s", taken->name, o->how));
	*again = true;
	return 0;
}

static int take_neighbours(struct sut_unit *u)
{
	bool again = true;

	while (again) {
		again = false;
		for (size_t i = 0; i < u->o->atom.n; i++) {
			struct sut_atom *t = u->o->atom.v[i];

			if (!sut_atom_is_func(t) || !t->taken)
				continue;
			for (size_t k = 0; k < u->o->atom.n; k++) {
				struct sut_atom *o = u->o->atom.v[k];
				int err;

				if (!sut_atom_is_func(o) || o == t || !o->twin || o->taken)
					continue;
				if (!refers_to(o, t) && !refers_to(t, o) && !refers_to(t->twin, o->twin))
					continue;
				err = check_neighbour(u, t, o, &again);
				if (err)
					return err;
			}
		}
	}
	return 0;
}

/* Data that hold places inside of a replaced function ("static void *labels[]") belong to that function's copy. */
static int check_labels(struct sut_unit *u)
{
	for (size_t i = 0; i < u->o->atom.n; i++) {
		struct sut_atom *a = u->o->atom.v[i];
		const struct sut_ref *r = sut_atom_refs(a);

		for (size_t k = 0; !sut_atom_is_func(a) && a->sym && k < a->n_refs; k++) {
			const struct sut_atom *f = r[k].atom;
			uint64_t addr;

			if (!f || !sut_atom_is_func(f) || r[k].table || !(f->parent ? f->parent : f)->taken ||
			    (!r[k].delta && !f->parent))
				continue;
			a->differs = true;
			if (!sut_atom_is_writable(a) || !addressed(a, &addr) || !a->twin)
				continue;
			(void)sut_fail(u->d->ctx, SUTURE_EREFUSED,
				       "%s: the variable %s holds places inside of the old code of "
				       "%s",
				       u->name, a->name, f->name);
			return sut_hint(u->d->ctx,
					"a table of labels must be constant to be replaced along with its function");
		}
	}
	return 0;
}

/* Where in a mangled name the number of its (first) lambda stands; *ret_rest is what follows it. NULL: has none. */
static const char *lambda_number(const char *name, const char **ret_rest)
{
	const char *p = strstr(name, "Ul"), *clang = strstr(name, "$_");

	if (clang) {
		*ret_rest = clang + 2 + strspn(clang + 2, "0123456789");
		return clang + 2;
	}
	while (p && (p = strchr(p, 'E'))) {
		p++;
		*ret_rest = p + strspn(p, "0123456789");
		if (**ret_rest == '_')
			return p;
	}
	return NULL;
}

/* How many functions have to do with lambdas that only their number tells from this one's. */
static size_t count_lambdas(const struct sut_ofile *f, const char *name)
{
	const char *rest, *other_rest, *number = lambda_number(name, &rest);
	size_t n = 0, len = (size_t)(number - name);

	for (size_t i = 0; i < f->by_name.n; i++) {
		const char *other = f->by_name.v[i]->name, *at;

		if (!sut_atom_is_func(f->by_name.v[i]) || strncmp(other, name, len))
			continue;
		at = lambda_number(other, &other_rest);
		n += at && (size_t)(at - other) == len && !strcmp(rest, other_rest);
	}
	return n;
}

/*
 * Whether a function of a lambda can be called from any live object: its address stands in data or code, or that of
 * another function of a lambda, which calls it.
 */
static bool escapes(const struct sut_atom *func, unsigned depth)
{
	const struct sut_ofile *f = func->file;
	const char *rest;

	for (size_t i = 1; i < f->sec.n; i++) {
		const struct sut_osec *s = &f->sec.v[i];

		if (s->class == SUT_CLASS_SKIP || s->class == SUT_CLASS_EH || s->class == SUT_CLASS_EXCEPT)
			continue;
		for (size_t k = 0; k < s->ref.n; k++)
			if (s->ref.v[k].atom == func && !s->ref.v[k].branch)
				return true;
	}
	for (size_t i = 0; i < f->by_name.n; i++) {
		const struct sut_atom *caller = f->by_name.v[i];

		if (caller != func && sut_atom_is_func(caller) && lambda_number(caller->name, &rest) &&
		    refers_to(caller, func) && (depth >= 8 || escapes(caller, depth + 1)))
			return true;
	}
	return false;
}

/*
 * Objects made of lambdas live in callbacks, and call through addresses that they keep. The function at such an
 * address must remain that of the same lambda, and find what it has captured where it was.
 */
static int check_lambda(struct sut_unit *u, const struct sut_atom *o)
{
	const char *rest;

	if (!lambda_number(o->name, &rest) || !escapes(o, 0))
		return 0;
	if (count_lambdas(u->o, o->name) != count_lambdas(u->p, o->name)) {
		(void)sut_fail(u->d->ctx, SUTURE_EREFUSED,
			       "%s: the difference adds or removes lambdas, and callbacks that live may be of %s, "
			       "which then is that of another one",
			       u->name, o->name);
		return sut_hint(u->d->ctx, "make the new one a named function, or a lambda in a function of its own");
	}
	if (!u->closures_differ)
		return 0;
	(void)sut_fail(
		u->d->ctx, SUTURE_EREFUSED,
		"%s: the difference changes what %s captures, and callbacks that live (%s) hold the old captures",
		u->name, u->closures_differ, o->name);
	return sut_hint(u->d->ctx, "keep the captures as they are, in their order");
}

static int report_taken(struct sut_unit *u, struct sut_atom *o)
{
	const char *text = o->difference ? o->difference : "";
	struct sut_atom *p = o->twin;
	enum sut_include_reason why = o->data_differs && !o->differs ? SUT_WHY_DATA : SUT_WHY_CHANGED;

	text = sut_pool_printf(&u->d->pool, "%s; verified in %s: %s%s", text, u->target->shown, o->how ? o->how : "",
			       o->start_only ? "; it runs only at start: without effect on a process that runs" : "");
	if (!text)
		return sut_nomem(u->d->ctx);
	if (o->start_only) {
		int err = sut_diff_note(
			u->d, "%s: %s runs only at start; replacing it has no effect on a process that runs%s", u->name,
			o->name,
			strcmp(o->name, "main") ? ""
						: ", and as long as it has not returned the patch "
						  "can not be applied");

		if (err)
			return err;
	}
	return sut_diff_item(u, o, why, o->v->size, p->size, text);
}

static int take_unit(struct sut_unit *u, size_t *ret_taken)
{
	size_t n = 0;
	int err = take_changed(u);

	if (!err)
		err = take_neighbours(u);
	if (!err)
		err = check_labels(u);
	for (size_t i = 0; !err && i < u->o->atom.n; i++) {
		struct sut_atom *o = u->o->atom.v[i];

		if (!o->taken)
			continue;
		n++;
		err = check_taken(u, o);
		if (!err)
			err = check_lambda(u, o);
		if (!err)
			err = report_taken(u, o);
	}
	u->d->report->units_changed += n > 0;
	*ret_taken += n;
	return err;
}

int sut_take(struct sut_diff *d)
{
	size_t taken = 0;
	int err = 0;

	for (size_t i = 0; !err && i < d->unit.n; i++)
		err = take_unit(d->unit.v[i], &taken);
	if (!err && !taken) {
		(void)sut_fail(d->ctx, SUTURE_ENOTHING,
			       "nothing to patch: %u unit%s compiled before and after, and no function of %s differs",
			       d->report->units, d->report->units == 1 ? " was" : "s were", d->target.v[0].shown);
		err = sut_hint(d->ctx, "the change may be configured out, or without effect on this machine");
	}
	return err;
}
