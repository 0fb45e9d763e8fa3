/* SPDX-License-Identifier: MIT */
/*
 * types.c - layouts and signatures, before and after, as DWARF tells them.
 *
 * Objects of a changed type live in the running process and have the old layout: new code would
 * misread them. So every named structure, union, class and enumeration of the original unit is
 * described in words (members, offsets, types) and compared with the patched unit's of the same name. A
 * difference is a refusal that names the type, but for enumerators that were only added.
 * Types that only one side has, or that are only declared, say nothing. Variables are looked at, too: their types
 * may have no name. Signedness is no matter of layout.
 * Likewise external functions: callers outside of the recompiled units know the old signature.
 */
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <errno.h>
#include <stdarg.h>

#include "diff/diff.h"

#define MAX_DEPTH 12

struct type {
	const char *name; /* "struct foo" */
	const char *sig;
	bool is_enum;
	bool closure; /* what a lambda has captured */
};

struct types {
	struct sut_diff *d;
	SUT_VEC(struct type) t; /* by name, then signature, once */
	SUT_VEC(struct type) f; /* external functions, likewise */
	bool nomem;
};

static bool word(struct sut_buf *b, const char *fmt, ...) sut_printf(2, 3);
static bool word(struct sut_buf *b, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return !sut_buf_add(b, text, strlen(text));
}

/* Through typedefs and qualifiers to the type itself; false: void. */
static bool strip(Dwarf_Die *die, Dwarf_Die *ret)
{
	Dwarf_Attribute attr;

	*ret = *die;
	for (int i = 0; i < 64; i++) {
		switch (dwarf_tag(ret)) {
		case DW_TAG_typedef:
		case DW_TAG_const_type:
		case DW_TAG_volatile_type:
		case DW_TAG_restrict_type:
		case DW_TAG_atomic_type:
			if (!dwarf_formref_die(dwarf_attr_integrate(ret, DW_AT_type, &attr), ret))
				return false;
			continue;
		default:
			return true;
		}
	}
	return false;
}

static bool type_of(Dwarf_Die *die, Dwarf_Die *ret)
{
	Dwarf_Attribute attr;
	Dwarf_Die t;

	return dwarf_attr_integrate(die, DW_AT_type, &attr) && dwarf_formref_die(&attr, &t) && strip(&t, ret);
}

static bool number(Dwarf_Die *die, unsigned name, uint64_t *ret)
{
	Dwarf_Attribute attr;
	Dwarf_Word v;
	Dwarf_Block block;

	if (!dwarf_attr_integrate(die, name, &attr))
		return false;
	if (!dwarf_formudata(&attr, &v)) {
		*ret = v;
		return true;
	}
	/* DW_OP_plus_uconst N, as old compilers place members */
	if (dwarf_formblock(&attr, &block) || !block.length || block.data[0] != DW_OP_plus_uconst)
		return false;
	*ret = 0;
	for (Dwarf_Word i = 1, shift = 0; i < block.length && shift < 63; i++, shift += 7)
		*ret |= (uint64_t)(block.data[i] & 0x7f) << shift;
	return true;
}

static const char *keyword(Dwarf_Die *die)
{
	switch (dwarf_tag(die)) {
	case DW_TAG_structure_type:
		return "struct";
	case DW_TAG_class_type:
		return "class";
	case DW_TAG_union_type:
		return "union";
	case DW_TAG_enumeration_type:
		return "enum";
	default:
		return NULL;
	}
}

static bool describe(struct sut_buf *b, Dwarf_Die *die, unsigned depth, bool pointed);

/* Integers of one size hold the same bits, signed or not. */
static const char *base_name(Dwarf_Die *die, const char *name)
{
	uint64_t encoding;

	if (!number(die, DW_AT_encoding, &encoding))
		return name ? name : "?";
	switch (encoding) {
	case DW_ATE_signed:
	case DW_ATE_unsigned:
	case DW_ATE_signed_char:
	case DW_ATE_unsigned_char:
		return "int";
	default:
		return name ? name : "?";
	}
}

static bool describe_members(struct sut_buf *b, Dwarf_Die *die, unsigned depth)
{
	uint64_t size = 0, at, bits;
	Dwarf_Die m, t;

	(void)number(die, DW_AT_byte_size, &size);
	if (!word(b, "%llu{", (unsigned long long)size))
		return false;
	if (dwarf_child(die, &m))
		return word(b, "}");
	do {
		const char *name = dwarf_diename(&m);

		if (dwarf_tag(&m) == DW_TAG_enumerator) {
			Dwarf_Attribute attr;
			Dwarf_Sword v = 0;

			if (!dwarf_attr(&m, DW_AT_const_value, &attr) || dwarf_formsdata(&attr, &v))
				v = 0;
			if (!word(b, "%s=%lld;", name ? name : "", (long long)v))
				return false;
			continue;
		}
		if (dwarf_tag(&m) != DW_TAG_member && dwarf_tag(&m) != DW_TAG_inheritance)
			continue;
		at = 0;
		(void)number(&m, DW_AT_data_member_location, &at);
		if (!word(b, "%s@%llu", name ? name : "", (unsigned long long)at))
			return false;
		if (number(&m, DW_AT_bit_size, &bits) && !word(b, ":%llu", (unsigned long long)bits))
			return false;
		if ((number(&m, DW_AT_data_bit_offset, &bits) || number(&m, DW_AT_bit_offset, &bits)) &&
		    !word(b, "+%llu", (unsigned long long)bits))
			return false;
		if (!word(b, " ") || (type_of(&m, &t) && !describe(b, &t, depth + 1, false)) || !word(b, ";"))
			return false;
	} while (!dwarf_siblingof(&m, &m));
	return word(b, "}");
}

static bool describe_array(struct sut_buf *b, Dwarf_Die *die, unsigned depth, bool pointed)
{
	Dwarf_Die s, t;
	uint64_t n;

	if (!dwarf_child(die, &s))
		do {
			bool known = number(&s, DW_AT_count, &n);

			if (dwarf_tag(&s) != DW_TAG_subrange_type)
				continue;
			if (!known && number(&s, DW_AT_upper_bound, &n)) {
				n++;
				known = true;
			}
			if (!(known ? word(b, "[%llu]", (unsigned long long)n) : word(b, "[]")))
				return false;
		} while (!dwarf_siblingof(&s, &s));
	return !type_of(die, &t) || describe(b, &t, depth + 1, pointed);
}

static bool describe_func(struct sut_buf *b, Dwarf_Die *die, unsigned depth)
{
	Dwarf_Die p, t;

	if (!(type_of(die, &t) ? describe(b, &t, depth + 1, true) : word(b, "void")) || !word(b, "("))
		return false;
	if (!dwarf_child(die, &p))
		do {
			if (dwarf_tag(&p) == DW_TAG_unspecified_parameters && !word(b, "...,"))
				return false;
			if (dwarf_tag(&p) != DW_TAG_formal_parameter)
				continue;
			if (!(type_of(&p, &t) ? describe(b, &t, depth + 1, true) : word(b, "?")) || !word(b, ","))
				return false;
		} while (!dwarf_siblingof(&p, &p));
	return word(b, ")");
}

/* A type in words. Named aggregates stand by their names, because they are compared by themselves. */
static bool describe(struct sut_buf *b, Dwarf_Die *die, unsigned depth, bool pointed)
{
	const char *name = dwarf_diename(die), *key = keyword(die);
	uint64_t size = 0;
	Dwarf_Die t;

	if (depth > MAX_DEPTH)
		return word(b, "...");
	if (key && name) {
		if (!pointed)
			(void)number(die, DW_AT_byte_size, &size);
		return word(b, "%s %s/%llu", key, name, (unsigned long long)size);
	}
	if (key)
		return word(b, "%s", key) && (pointed || describe_members(b, die, depth));
	switch (dwarf_tag(die)) {
	case DW_TAG_pointer_type:
	case DW_TAG_reference_type:
	case DW_TAG_rvalue_reference_type:
		return word(b, "*") && (type_of(die, &t) ? describe(b, &t, depth + 1, true) : word(b, "void"));
	case DW_TAG_array_type:
		return describe_array(b, die, depth, pointed);
	case DW_TAG_subroutine_type:
		return describe_func(b, die, depth);
	default:
		(void)number(die, DW_AT_byte_size, &size);
		return word(b, "%s/%llu", base_name(die, name), (unsigned long long)size);
	}
}

static void add(struct types *ts, const char *name, const struct sut_buf *b, bool func, bool is_enum)
{
	struct type t = { .name = name, .is_enum = is_enum };

	t.sig = sut_pool_strndup(&ts->d->pool, (const char *)b->p, b->len);
	if (!t.sig || !name || (func ? sut_vec_push(&ts->f, t) : sut_vec_push(&ts->t, t)))
		ts->nomem = true;
}

static bool flag(Dwarf_Die *die, unsigned name)
{
	Dwarf_Attribute attr;
	bool v;

	return dwarf_attr_integrate(die, name, &attr) && !dwarf_formflag(&attr, &v) && v;
}

static void add_aggregate(struct types *ts, Dwarf_Die *die, const char *key, const char *name)
{
	struct sut_buf b = { 0 };

	if (flag(die, DW_AT_declaration))
		return;
	if (!describe_members(&b, die, 0))
		ts->nomem = true;
	else
		add(ts, sut_pool_printf(&ts->d->pool, "%s%s%s", key, *key ? " " : "", name), &b, false,
		    dwarf_tag(die) == DW_TAG_enumeration_type);
	sut_buf_free(&b);
}

/* The type of a lambda: without a name, with a function operator(). */
static bool is_closure(Dwarf_Die *die)
{
	const char *name;
	Dwarf_Die c;

	if (!keyword(die) || dwarf_diename(die) || dwarf_child(die, &c))
		return false;
	do {
		name = dwarf_tag(&c) == DW_TAG_subprogram ? dwarf_diename(&c) : NULL;
		if (name && !strcmp(name, "operator()"))
			return true;
	} while (!dwarf_siblingof(&c, &c));
	return false;
}

/* Lambdas are counted in each function: objects of theirs may live in callbacks. */
static void add_closure(struct types *ts, Dwarf_Die *die, const char *func)
{
	char prefix[256];
	size_t before = ts->t.n;
	unsigned nth = 1;

	snprintf(prefix, sizeof(prefix), "the lambda of %s, number ", func ? func : "the unit");
	for (size_t i = 0; i < ts->t.n; i++)
		nth += ts->t.v[i].closure && !strncmp(ts->t.v[i].name, prefix, strlen(prefix));
	add_aggregate(ts, die, "", sut_pool_printf(&ts->d->pool, "%s%u", prefix, nth));
	if (ts->t.n > before)
		ts->t.v[before].closure = true;
}

static void add_function(struct types *ts, Dwarf_Die *die)
{
	const char *name = dwarf_diename(die);
	struct sut_buf b = { 0 };

	/* An instance of an inlined function lists its parameters as they were laid out; the abstract one as declared. */
	if (!name || !flag(die, DW_AT_external) || flag(die, DW_AT_declaration) ||
	    dwarf_hasattr(die, DW_AT_abstract_origin))
		return;
	if (!describe_func(&b, die, 0))
		ts->nomem = true;
	else
		add(ts, name, &b, true, false);
	sut_buf_free(&b);
}

/* A variable that keeps its value: its type may have no name of its own. @func: where it is declared, or NULL. */
static void add_variable(struct types *ts, Dwarf_Die *die, const char *func)
{
	const char *name = dwarf_diename(die);
	Dwarf_Attribute attr;
	struct sut_buf b = { 0 };
	Dwarf_Block block;
	Dwarf_Die t;

	if (!name || !dwarf_attr_integrate(die, DW_AT_location, &attr) || dwarf_formblock(&attr, &block) ||
	    !block.length || block.data[0] != DW_OP_addr || !type_of(die, &t))
		return;
	if (!describe(&b, &t, 0, false))
		ts->nomem = true;
	else
		add(ts, sut_pool_printf(&ts->d->pool, "the variable %s%s%s", func ? func : "", func ? ":" : "", name),
		    &b, false, false);
	sut_buf_free(&b);
}

static void walk(struct types *ts, Dwarf_Die *die, const char *func, unsigned depth)
{
	Dwarf_Die c, t;

	if (depth > 64 || dwarf_child(die, &c))
		return;
	do {
		const char *name = dwarf_diename(&c), *key = keyword(&c);

		if (key && name)
			add_aggregate(ts, &c, key, name);
		if (is_closure(&c))
			add_closure(ts, &c, func);
		/* typedef struct { ... } name; */
		if (dwarf_tag(&c) == DW_TAG_typedef && name && type_of(&c, &t) && keyword(&t) && !dwarf_diename(&t))
			add_aggregate(ts, &t, "", name);
		if (dwarf_tag(&c) == DW_TAG_subprogram)
			add_function(ts, &c);
		if (dwarf_tag(&c) == DW_TAG_variable)
			add_variable(ts, &c, func);
		if (key || dwarf_tag(&c) == DW_TAG_subprogram || dwarf_tag(&c) == DW_TAG_lexical_block ||
		    dwarf_tag(&c) == DW_TAG_namespace)
			walk(ts, &c, dwarf_tag(&c) == DW_TAG_subprogram ? name : func, depth + 1);
	} while (!ts->nomem && !dwarf_siblingof(&c, &c));
}

static int type_cmp(const void *a, const void *b)
{
	const struct type *x = a, *y = b;
	int c = strcmp(x->name, y->name);

	return c ? c : strcmp(x->sig, y->sig);
}

static int read_types(struct types *ts, const char *path)
{
	struct sut_dwarf w;
	Dwarf_Off off = 0, next;
	size_t header;
	Dwarf_Die cu;

	sut_dwarf_open(path, &w);
	while (!ts->nomem && w.dw && !dwarf_nextcu(w.dw, off, &next, &header, NULL, NULL, NULL)) {
		if (dwarf_offdie(w.dw, off + header, &cu))
			walk(ts, &cu, NULL, 0);
		off = next;
	}
	/* Names from DWARF live as long as the handle does. */
	for (size_t i = 0; !ts->nomem && i < ts->f.n; i++) {
		ts->f.v[i].name = sut_pool_strndup(&ts->d->pool, ts->f.v[i].name, strlen(ts->f.v[i].name));
		ts->nomem = !ts->f.v[i].name;
	}
	sut_dwarf_close(&w);
	if (ts->nomem)
		return sut_nomem(ts->d->ctx);
	if (ts->t.n)
		qsort(ts->t.v, ts->t.n, sizeof(*ts->t.v), type_cmp);
	if (ts->f.n)
		qsort(ts->f.v, ts->f.n, sizeof(*ts->f.v), type_cmp);
	return 0;
}

/* ---- comparing ---- */

/* First type of a name; the others follow. */
static const struct type *find(const struct type *v, size_t n, const char *name)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(v[mid].name, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < n && !strcmp(v[lo].name, name) ? &v[lo] : NULL;
}

/* Whether each "name=value;" of @o stands in @p, and the size is the same. */
static bool only_added(const char *o, const char *p)
{
	size_t n = strcspn(o, "{");

	if (strncmp(o, p, n + 1))
		return false;
	for (o += n + 1; *o && *o != '}'; o += strcspn(o, ";") + 1) {
		size_t len = strcspn(o, ";") + 1;
		bool there = false;

		for (const char *q = strchr(p, '{') + 1; *q && *q != '}' && !there; q += strcspn(q, ";") + 1)
			there = !strncmp(q, o, len);
		if (!there)
			return false;
	}
	return true;
}

/* The first member of a description that the other has not, in words. */
static const char *first_change(struct sut_diff *d, const char *o, const char *p)
{
	unsigned long long so = strtoull(o, NULL, 10), sp = strtoull(p, NULL, 10);
	size_t i = 0, start = 0;

	if (so != sp)
		return sut_pool_printf(&d->pool, "size %llu -> %llu", so, sp);
	for (; o[i] && o[i] == p[i]; i++)
		if (o[i] == ';' || o[i] == '{')
			start = i + 1;
	return sut_pool_printf(&d->pool, "%.*s -> %.*s", (int)strcspn(o + start, ";}"), o + start,
			       (int)strcspn(p + start, ";}"), p + start);
}

static int compare_type(struct sut_unit *u, const struct type *o, const struct types *after)
{
	const struct type *p = find(after->t.v, after->t.n, o->name), *end = after->t.v + after->t.n;
	const struct type *first = p;

	for (; p && p < end && !strcmp(p->name, o->name); p++)
		if (!strcmp(p->sig, o->sig))
			return 0;
	if (o->closure) { /* take.c says whether that matters */
		u->closures_differ = o->name;
		return 0;
	}
	if (!first)
		return 0;
	if (o->is_enum && only_added(o->sig, first->sig))
		return sut_diff_note(u->d, "%s: %s has new values; code that is not rebuilt does not know them",
				     u->name, o->name);
	(void)sut_fail(u->d->ctx, SUTURE_EREFUSED,
		       "%s: the difference changes the layout of %s (%s): what it describes lives "
		       "in the running process",
		       u->name, o->name, first_change(u->d, o->sig, first->sig));
	return sut_hint(u->d->ctx, o->is_enum ? "add new values at the end, and keep the old ones"
					      : "keep the type as it is, and put new members into a shadow variable "
						"attached to the object");
}

static int compare_function(struct sut_unit *u, const struct type *o, const struct types *after)
{
	const struct type *p = find(after->f.v, after->f.n, o->name);
	const struct sut_atom *a;
	struct sut_dynsym dyn;
	const char *where;
	uint64_t addr;

	if (!p || !strcmp(p->sig, o->sig))
		return 0;
	a = sut_ofile_find(u->o, o->name);
	if (!a || !a->v || !sut_atom_address(a->v, &addr))
		return 0;
	if (sut_elf_dynsym(u->target->elf, o->name, NULL, &dyn) && dyn.shndx)
		where = "other objects may call it";
	else if (sut_target_outside_ref(u->d, u->target, NULL, addr, &where))
		where = sut_pool_printf(&u->d->pool, "%s, which is not rebuilt, calls it", where);
	else
		return 0;
	(void)sut_fail(u->d->ctx, SUTURE_EREFUSED, "%s: the difference changes the signature of %s (%s -> %s), and %s",
		       u->name, o->name, o->sig, p->sig, where);
	return sut_hint(u->d->ctx, "keep the function as it is, and give the new one another name");
}

int sut_types_check(struct sut_unit *u, const char *orig, const char *patched)
{
	struct types before = { .d = u->d }, after = { .d = u->d };
	int err = read_types(&before, orig);

	if (!err)
		err = read_types(&after, patched);
	if (!err && !before.t.n && !before.f.n)
		err = sut_diff_note(u->d, "%s has no debug data: changed layouts and signatures would not be seen",
				    u->name);
	for (size_t i = 0; !err && i < before.t.n; i++)
		err = compare_type(u, &before.t.v[i], &after);
	for (size_t i = 0; !err && i < before.f.n; i++)
		err = compare_function(u, &before.f.v[i], &after);
	sut_vec_free(&before.t);
	sut_vec_free(&before.f);
	sut_vec_free(&after.t);
	sut_vec_free(&after.f);
	return err;
}
