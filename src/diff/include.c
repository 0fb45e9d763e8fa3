/* SPDX-License-Identifier: MIT */
/*
 * include.c - what comes along in the patch: everything that the replacements refer to and the target
 * has not. New functions, new data, strings, tables, exception tables, transitively.
 */
#include <errno.h>

#include "diff/diff.h"

struct list {
	struct sut_diff *d;
	SUT_VEC(struct sut_atom *) todo;
};

static int push(struct list *l, struct sut_atom *a)
{
	if (a->included)
		return 0;
	a->included = true;
	return sut_vec_push(&l->todo, a) ? sut_nomem(l->d->ctx) : 0;
}

/* What came along is told, but for what has no name. */
static int report(struct sut_unit *u, const struct sut_atom *a)
{
	const char *text = "not in the original";

	if (!a->sym || a->taken || a->parent || !strncmp(a->name, "DW.ref.", 7))
		return 0;
	if (sut_atom_is_func(a))
		return sut_diff_item(u, a, a->twin ? SUT_WHY_NEEDED : SUT_WHY_NEW, 0, a->size,
				     a->twin ? "the target has no code of it of its own" : text);
	if (a->twin)
		text = sut_atom_is_writable(a) ? "the target does not have it" : "its contents differ";
	if (sut_atom_is_writable(a)) {
		int err =
			sut_diff_note(u->d,
				      "%s: the new variable %s begins with its initial value, whatever the process has "
				      "done before",
				      u->name, a->name);

		if (err)
			return err;
	}
	return sut_diff_item(u, a, SUT_WHY_NEEDED, a->twin ? a->twin->size : 0, a->size, text);
}

static int include_refs(struct list *l, struct sut_atom *a)
{
	struct sut_unit *u = a->file->unit;
	struct sut_ref *r = sut_atom_refs(a);
	int err = 0;

	if (sut_atom_is_func(a) && a->short_exit)
		return sut_refuse(l->d->ctx, "compile it with -ffunction-sections",
				  "%s: the new %s jumps out of itself by a short jump and can not be "
				  "moved",
				  u->name, a->name);
	for (size_t i = 0; !err && i < a->n_refs; i++) {
		struct sut_bind b;

		err = sut_bind_ref(u, a, &r[i], &b);
		if (!err && b.kind == SUT_BIND_ATOM)
			err = push(l, b.atom);
	}
	for (struct sut_atom *c = a->cold; !err && c; c = c->next_cold)
		err = push(l, c);
	return err;
}

/* Exception tables of the included functions. */
static int include_tables(struct list *l, struct sut_unit *u)
{
	struct sut_eh eh = { 0 };
	int err = sut_eh_parse(l->d, u->p, &eh);

	for (size_t i = 0; !err && i < eh.rec.n; i++) {
		const struct sut_eh_record *r = &eh.rec.v[i];
		const struct sut_ref *per;
		struct sut_bind b;

		if (r->cie || !r->func || !r->func->included)
			continue;
		if (r->lsda && r->lsda->atom)
			err = push(l, r->lsda->atom);
		per = sut_eh_personality(u->p, r->its_cie);
		if (!err && per)
			err = sut_bind_ref(u, r->func, per, &b);
		if (!err && per && b.kind == SUT_BIND_ATOM)
			err = push(l, b.atom);
	}
	sut_vec_free(&eh.rec);
	return err;
}

int sut_include(struct sut_diff *d)
{
	struct list l = { .d = d };
	size_t done = 0;
	int err = 0;

	for (size_t i = 0; !err && i < d->unit.n; i++) {
		struct sut_unit *u = d->unit.v[i];

		for (size_t k = 0; !err && k < u->o->atom.n; k++)
			if (u->o->atom.v[k]->taken)
				err = push(&l, u->o->atom.v[k]->twin);
	}
	while (!err && done < l.todo.n) {
		for (; !err && done < l.todo.n; done++) {
			struct sut_atom *a = l.todo.v[done];

			err = report(a->file->unit, a);
			if (!err)
				err = include_refs(&l, a);
		}
		for (size_t i = 0; !err && i < d->unit.n; i++)
			err = include_tables(&l, d->unit.v[i]);
	}
	sut_vec_free(&l.todo);
	return err;
}
