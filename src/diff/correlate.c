/* SPDX-License-Identifier: MIT */
/*
 * correlate.c - which atom of one object is which of the other.
 *
 * Names decide, where they mean something. They do not for static locals and compiler-made clones, which
 * carry a running number: "count.3", "parse.constprop.1", "_ZZ1fiE1n_0", and clang's second "f.count.1", whose
 * first has none. Static locals are matched by the
 * function in which they are declared, or (without debug data) by the functions that use them; never by the number.
 * A writable static local that could be either the same or another variable is marked ambiguous: to take it for
 * new would lose its state, to take it for the old one would mix two meanings.
 * Strings, constants and anonymous data have no twins: they are compared by content.
 * A clone that is matched wrongly does no harm: all its callers lie in the unit, and they then differ as well.
 */
#include <ctype.h>
#include <errno.h>

#include "diff/diff.h"

/* A C++ variable inside of a function, or the guard of one. */
static bool mangled_local(const char *name)
{
	return !strncmp(name, "_ZZ", 3) || !strncmp(name, "_ZGVZ", 5);
}

/* The second of a name in a C++ function ends in "_0", the twelfth in "__10_". */
static size_t mangled_stem_len(const char *name)
{
	size_t n = strlen(name), k = n, bars;

	k -= k && name[k - 1] == '_';
	bars = n - k + 1;
	n = k;
	while (k && isdigit((unsigned char)name[k - 1]))
		k--;
	if (k == n || k < bars || name[k - 1] != '_' || (bars == 2 && name[k - 2] != '_'))
		return strlen(name);
	return k - bars;
}

/* Length of a name without its running numbers: "x.12" -> 1, "foo.constprop.0" -> 13 ("foo.constprop"). */
static size_t stem_len(const char *name)
{
	size_t n = strlen(name);

	if (mangled_local(name))
		return mangled_stem_len(name);
	for (;;) {
		size_t k = n;

		while (k && isdigit((unsigned char)name[k - 1]))
			k--;
		if (k == n || k < 2 || name[k - 1] != '.')
			return n;
		n = k - 1;
	}
}

static bool numbered(const struct sut_atom *a)
{
	return stem_len(a->name) != strlen(a->name);
}

/* A variable of a function: of several of one name, which is which is told by numbers. */
static bool static_local(const struct sut_atom *a)
{
	if (sut_atom_is_func(a))
		return false;
	return numbered(a) || a->scope || mangled_local(a->name) || (strchr(a->name, '.') && sut_atom_is_writable(a));
}

static bool same_stem(const struct sut_atom *a, const struct sut_atom *b)
{
	size_t n = stem_len(a->name);

	return n == stem_len(b->name) && !memcmp(a->name, b->name, n);
}

/* Whether both could be the same thing at all. */
static bool same_kind(const struct sut_atom *a, const struct sut_atom *b)
{
	return sut_atom_is_func(a) == sut_atom_is_func(b) &&
	       (sut_atom_class(a) == SUT_CLASS_TLS) == (sut_atom_class(b) == SUT_CLASS_TLS);
}

/* How many variables there are of this name, numbers aside. */
static size_t namesakes(const struct sut_ofile *f, const struct sut_atom *x)
{
	size_t n = 0;

	for (size_t i = 0; i < f->by_name.n; i++)
		n += !sut_atom_is_func(f->by_name.v[i]) && same_stem(x, f->by_name.v[i]);
	return n;
}

static void pair(struct sut_atom *a, struct sut_atom *b)
{
	a->twin = b;
	b->twin = a;
}

static void by_exact_name(struct sut_ofile *a, struct sut_ofile *b)
{
	for (size_t i = 0; i < a->by_name.n; i++) {
		struct sut_atom *x = a->by_name.v[i], *y;

		if (x->twin || (numbered(x) && !sut_atom_is_func(x) && !mangled_local(x->name)) ||
		    sut_ofile_find(a, x->name) != x)
			continue;
		/* With one more or one less, the name may have passed to another variable. */
		if (static_local(x) && namesakes(a, x) != namesakes(b, x))
			continue;
		y = sut_ofile_find(b, x->name);
		if (!y || !same_kind(x, y))
			continue;
		x->twin = y; /* several of a may have become one of b: equal functions share their code */
		if (!y->twin)
			y->twin = x;
	}
}

/* All atoms of @f with x's stem that have no twin yet. */
static size_t candidates(const struct sut_ofile *f, const struct sut_atom *x, struct sut_atom **ret, size_t cap)
{
	size_t n = 0;

	for (size_t i = 0; i < f->by_name.n; i++) {
		struct sut_atom *y = f->by_name.v[i];

		if (!y->twin && same_kind(x, y) && (numbered(y) || static_local(y)) && same_stem(x, y) && n < cap)
			ret[n++] = y;
	}
	return n;
}

#define MAX_HOMONYMS 64

/* The only clone of its kind on both sides is the same clone, whatever its number. */
static void clones(struct sut_ofile *a, struct sut_ofile *b)
{
	struct sut_atom *x[MAX_HOMONYMS], *y[MAX_HOMONYMS];

	for (size_t i = 0; i < a->by_name.n; i++) {
		struct sut_atom *s = a->by_name.v[i];

		if (s->twin || !sut_atom_is_func(s) || !numbered(s))
			continue;
		if (candidates(a, s, x, MAX_HOMONYMS) == 1 && candidates(b, s, y, MAX_HOMONYMS) == 1)
			pair(s, y[0]);
	}
}

/* Whether the function names are the same but for what the compiler added. */
static bool same_function(const char *a, const char *b)
{
	size_t n = sut_symbol_base_len(a);

	return n == sut_symbol_base_len(b) && !memcmp(a, b, n);
}

static bool refers(const struct sut_atom *func, const struct sut_atom *data)
{
	const struct sut_ref *r = sut_atom_refs(func);

	for (size_t i = 0; i < func->n_refs; i++)
		if (r[i].atom == data)
			return true;
	return false;
}

/* Whether some function uses both. */
static bool common_user(const struct sut_atom *a, const struct sut_atom *b)
{
	for (size_t i = 0; i < a->file->by_name.n; i++) {
		const struct sut_atom *f = a->file->by_name.v[i];

		if (!sut_atom_is_func(f) || !refers(f, a))
			continue;
		for (size_t k = 0; k < b->file->by_name.n; k++) {
			const struct sut_atom *g = b->file->by_name.v[k];

			if (sut_atom_is_func(g) && same_function(f->name, g->name) && refers(g, b))
				return true;
		}
	}
	return false;
}

/* How many variables of this name the same function declares. */
static size_t count_scope(const struct sut_ofile *f, const char *scope)
{
	size_t n = strcspn(scope, "#"), count = 0;

	for (size_t i = 0; i < f->by_name.n; i++) {
		const char *s = f->by_name.v[i]->scope;

		count += s && !strncmp(s, scope, n + 1);
	}
	return count;
}

static void by_scope(struct sut_ofile *a, struct sut_ofile *b)
{
	struct sut_atom *y[MAX_HOMONYMS];

	for (size_t i = 0; i < a->by_name.n; i++) {
		struct sut_atom *x = a->by_name.v[i];
		size_t n;

		if (x->twin || !static_local(x) || !x->scope)
			continue;
		n = candidates(b, x, y, MAX_HOMONYMS);
		for (size_t k = 0; k < n; k++) {
			if (!y[k]->scope || strcmp(x->scope, y[k]->scope))
				continue;
			/* One of several of that name in one function came or went: which, is a guess. */
			if (count_scope(a, x->scope) != count_scope(b, x->scope))
				y[k]->ambiguous = true;
			else
				pair(x, y[k]);
		}
	}
}

static void by_users(struct sut_ofile *a, struct sut_ofile *b)
{
	struct sut_atom *x[MAX_HOMONYMS], *y[MAX_HOMONYMS];

	for (size_t i = 0; i < a->by_name.n; i++) {
		struct sut_atom *s = a->by_name.v[i], *only = NULL;
		size_t nx, ny, fits = 0;

		if (s->twin || !static_local(s))
			continue;
		nx = candidates(a, s, x, MAX_HOMONYMS);
		ny = candidates(b, s, y, MAX_HOMONYMS);
		for (size_t k = 0; k < ny; k++) {
			if ((s->scope && y[k]->scope) || s->size != y[k]->size || !common_user(s, y[k]))
				continue;
			only = y[k];
			fits++;
		}
		for (size_t k = 0; fits == 1 && k < nx; k++) /* nor may it fit another one of ours */
			if (x[k] != s && x[k]->size == only->size && common_user(x[k], only))
				fits++;
		if (fits == 1)
			pair(s, only);
	}
}

/*
 * clang shrinks and splits static variables, and says so in the name: "flag.b", "state.1". One that is whole on
 * one side only is the same variable in another shape.
 */
static bool reshaped(const struct sut_ofile *a, const struct sut_atom *y)
{
	size_t n = strlen(y->name);

	for (size_t i = 0; i < a->by_name.n; i++) {
		const struct sut_atom *x = a->by_name.v[i];
		size_t k = strlen(x->name);

		if (x->twin || sut_atom_is_func(x) || !sut_atom_is_writable(x))
			continue;
		if ((k > n && x->name[n] == '.' && !memcmp(x->name, y->name, n)) ||
		    (n > k && y->name[k] == '.' && !memcmp(x->name, y->name, k)))
			return true;
	}
	return false;
}

/* Whether debug data say that both are variables of one name in one function. */
static bool same_scope(const char *a, const char *b)
{
	return !strncmp(a, b, strcspn(a, "#") + 1);
}

/* What is left, and has a namesake left on the other side that debug data do not tell apart. */
static void find_ambiguous(struct sut_ofile *a, struct sut_ofile *b)
{
	struct sut_atom *x[MAX_HOMONYMS];

	for (size_t i = 0; i < b->by_name.n; i++) {
		struct sut_atom *y = b->by_name.v[i];

		if (y->twin)
			continue;
		if (sut_atom_is_func(y)) {
			y->folded = numbered(y) ? NULL : sut_ofile_find(a, y->name);
			continue;
		}
		y->ambiguous = y->ambiguous || (!a->gcc && reshaped(a, y));
		if (!numbered(y))
			y->ambiguous = y->ambiguous || sut_ofile_find(a, y->name) != NULL;
		if (!static_local(y))
			continue;
		for (size_t n = candidates(a, y, x, MAX_HOMONYMS); n; n--)
			if (!x[n - 1]->scope || !y->scope || same_scope(x[n - 1]->scope, y->scope))
				y->ambiguous = true;
	}
}

int sut_correlate(struct sut_diff *d, struct sut_ofile *a, struct sut_ofile *b)
{
	by_exact_name(a, b);
	clones(a, b);
	by_scope(a, b);
	by_users(a, b);
	find_ambiguous(a, b);
	for (size_t i = 0; i < a->atom.n; i++) {
		struct sut_atom *x = a->atom.v[i];

		if (x->parent && x->twin && x->parent->twin != x->twin->parent)
			sut_debug(d->ctx, "%s: %s belongs to another function in %s", a->name, x->name, b->name);
	}
	return 0;
}

/* Same source, same compiler: names are equal, numbers too; where not, the atom stays without. */
int sut_correlate_verified(struct sut_diff *d, struct sut_ofile *o, struct sut_ofile *v)
{
	(void)d;
	for (size_t i = 0; i < o->by_name.n; i++) {
		struct sut_atom *a = o->by_name.v[i], *b;

		if (o == v) {
			a->v = a;
			continue;
		}
		b = sut_ofile_find(v, a->name);
		if (b && same_kind(a, b) && sut_ofile_find(o, a->name) == a)
			a->v = b;
	}
	return 0;
}
