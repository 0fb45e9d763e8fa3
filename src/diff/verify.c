/* SPDX-License-Identifier: MIT */
/*
 * verify.c - proves that an object is what the target was linked from.
 *
 * A linker lays a section down in one piece. So it is enough to find, for each section of the
 * object, the one address at which the target holds it; then every symbol of the section has its
 * address, static locals and homonyms too. Where a section lies is told by its symbols' names,
 * and where it has none by the code that refers to it. It is proved by its bytes: all that
 * no relocation covers must be equal, and every relocated field must lead to what its
 * symbol means: the address, the stub or slot through which the dynamic linker gives that symbol, the
 * same string. Relaxed instructions are read back by the architecture (sut_arch.linked_field).
 *
 * The result is a verdict for each atom. It is not yet a refusal: only what a patch takes or
 * relies on must be verified (include.c).
 */
#include <errno.h>
#include <stdarg.h>

#include "diff/diff.h"

#define MAX_CANDIDATES 8

struct candidate {
	uint64_t base;
	unsigned votes;
};

struct candidates {
	struct candidate c[MAX_CANDIDATES];
	size_t n;
};

struct verifier {
	struct sut_unit *u;
	struct sut_ofile *v;
	const struct sut_target *t;
	struct candidates *found; /* by section: where references say it lies */
	bool strict; /* a reference into a section that is not placed is a mismatch */
	const char *why;
};

static void vote(struct candidates *c, uint64_t base)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->c[i].base == base) {
			c->c[i].votes++;
			return;
		}
	if (c->n < MAX_CANDIDATES)
		c->c[c->n++] = (struct candidate){ base, 1 };
}

static bool no(struct verifier *f, const char *fmt, ...) sut_printf(2, 3);
static bool no(struct verifier *f, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	f->why = sut_pool_strndup(f->v->pool, text, strlen(text));
	return false;
}

bool sut_atom_address(const struct sut_atom *v, uint64_t *ret)
{
	if (!v->sec) {
		if (!v->target)
			return false;
		*ret = v->target->value;
		return true;
	}
	if (!sut_atom_sec(v)->placed)
		return false;
	*ret = sut_atom_sec(v)->base + v->start;
	return true;
}

/* ---- what a name means in the target ---- */

static void bind(struct sut_osym *s, int kind, uint64_t addr)
{
	if (s->bound == SUT_BOUND_UNKNOWN || kind == SUT_BOUND_ADDR) {
		s->bound = kind;
		s->bound_addr = addr;
	}
}

/* A slot of the dynamic linker's: by name, or (without one) by the address or offset that it will hold. */
static bool slot_means(struct verifier *f, const struct sut_slot *slot, struct sut_osym *s, bool known, uint64_t value)
{
	if (slot->symbol) {
		if (strcmp(slot->symbol, s->name))
			return false;
		bind(s, SUT_BOUND_DYNAMIC, 0);
		return true;
	}
	if (known)
		return (uint64_t)slot->addend == value;
	if (!sut_target_symbol_at(f->t, s->name, (uint64_t)slot->addend, s->type == STT_TLS))
		return false;
	bind(s, SUT_BOUND_ADDR, (uint64_t)slot->addend);
	return true;
}

/* Address (TLS: offset) of a symbol that v defines in a placed section. */
static bool defined_at(const struct verifier *f, const struct sut_osym *s, uint64_t *ret)
{
	if (!s->shndx || s->shndx >= f->v->sec.n || !f->v->sec.v[s->shndx].placed)
		return false;
	*ret = f->v->sec.v[s->shndx].base + s->value;
	return true;
}

static bool in_section(const struct verifier *f, const struct sut_osym *s)
{
	return s->shndx && s->shndx < f->v->sec.n;
}

/* A direct reference: @addr must be the symbol, or the stub that leads to it. */
static bool check_direct(struct verifier *f, struct sut_osym *s, uint64_t addr)
{
	const struct sut_slot *slot;
	struct sut_dynsym dyn;
	uint64_t want = 0;
	bool known = defined_at(f, s, &want);

	if (known && addr == want) {
		bind(s, SUT_BOUND_ADDR, addr);
		return true;
	}
	if (!known && sut_target_symbol_at(f->t, s->name, addr, false)) {
		bind(s, SUT_BOUND_ADDR, addr);
		return true;
	}
	slot = sut_target_stub(f->t, addr);
	if (slot && slot_means(f, slot, s, known, want)) {
		if (!slot->symbol)
			bind(s, SUT_BOUND_ADDR, addr); /* an IFUNC: the stub can be called, the resolver not */
		return true;
	}
	if (!known && sut_elf_dynsym(f->t->elf, s->name, NULL, &dyn) && dyn.shndx && dyn.value == addr) {
		bind(s, SUT_BOUND_ADDR, addr);
		return true;
	}
	if (!known && s->bind == STB_WEAK && !addr) {
		bind(s, SUT_BOUND_NULL, 0);
		return true;
	}
	if (known)
		return no(f, "refers to %s at %#llx, but it is at %#llx", s->name, (unsigned long long)addr,
			  (unsigned long long)want);
	return no(f, "leads to %#llx, which is not %s", (unsigned long long)addr, s->name);
}

/* Through a GOT slot at @got. */
static bool check_got(struct verifier *f, struct sut_osym *s, uint64_t got)
{
	const struct sut_slot *slot = sut_target_slot(f->t, got);
	const uint8_t *p;
	uint64_t want = 0;
	bool known = defined_at(f, s, &want);

	if (!known && in_section(f, s)) {
		if (slot && !slot->symbol)
			vote(&f->found[s->shndx], (uint64_t)slot->addend - s->value);
		if (!f->strict)
			return true;
	}
	if (slot)
		return slot_means(f, slot, s, known, want) || no(f, "its slot for %s holds something else", s->name);
	p = sut_elf_bytes(f->t->elf, got, 8);
	if (!p)
		return no(f, "%#llx, where the slot of %s should be, is no data", (unsigned long long)got, s->name);
	return check_direct(f, s, sut_le64(p));
}

/* ---- thread-local symbols ---- */

/* Whether @off is the offset of the symbol in the target's TLS block. */
static bool tls_is(struct verifier *f, struct sut_osym *s, uint64_t off)
{
	uint64_t want;

	if (defined_at(f, s, &want))
		return off == want;
	if (in_section(f, s) && !f->strict) {
		vote(&f->found[s->shndx], off - s->value);
		return true;
	}
	if (!sut_target_symbol_at(f->t, s->name, off, true))
		return false;
	bind(s, SUT_BOUND_ADDR, off);
	return true;
}

static bool tls_slot(struct verifier *f, struct sut_osym *s, uint64_t addr, bool tpoff)
{
	const struct sut_slot *slot = sut_target_slot(f->t, addr);
	const uint8_t *p;

	if (slot && slot->symbol) {
		bind(s, SUT_BOUND_DYNAMIC, 0);
		return !strcmp(slot->symbol, s->name);
	}
	if (slot)
		return tls_is(f, s, (uint64_t)slot->addend);
	p = sut_elf_bytes(f->t->elf, addr, 8);
	if (!p)
		return false;
	return tls_is(f, s, sut_le64(p) - (tpoff ? (uint64_t)sut_target_tpoff(f->t, 0) : 0));
}

static bool check_tls(struct verifier *f, struct sut_osym *s, const struct sut_reloc_howto *howto,
		      const struct sut_linked *l)
{
	uint64_t base = (uint64_t)sut_target_tpoff(f->t, 0);
	const struct sut_slot *slot;
	bool ok = true;

	switch (l->kind) {
	case SUT_RELOC_TLS_LE:
		ok = howto->kind == SUT_RELOC_TLS_LD || tls_is(f, s, l->value - base);
		break;
	case SUT_RELOC_TLS_IE:
		ok = tls_slot(f, s, l->value, true);
		break;
	case SUT_RELOC_TLS_GD:
		slot = sut_target_slot(f->t, l->value);
		ok = slot && slot->symbol ? !strcmp(slot->symbol, s->name) : tls_slot(f, s, l->value + 8, false);
		break;
	case SUT_RELOC_TLS_DESC:
		slot = sut_target_slot(f->t, l->value);
		ok = slot && (slot->symbol ? !strcmp(slot->symbol, s->name) : tls_is(f, s, (uint64_t)slot->addend));
		break;
	case SUT_RELOC_TLS_DTPOFF:
		ok = tls_is(f, s, l->value) || tls_is(f, s, l->value - base);
		break;
	default:
		break;
	}
	return ok || no(f, "its access to the thread-local %s leads elsewhere", s->name);
}

/* ---- one reference ---- */

/* A string or constant: known by what it holds. */
static bool check_content(struct verifier *f, const struct sut_ref *r, uint64_t addr)
{
	const struct sut_atom *a = r->atom;
	const uint8_t *want = sut_atom_bytes(a), *have;
	int64_t delta = r->delta;
	uint64_t at = addr + (uint64_t)(r->addend + (r->howto->pcrel ? r->tail : 0)) - (uint64_t)delta;

	have = sut_elf_bytes(f->t->elf, at, a->size);
	if (have && !memcmp(have, want, a->size))
		return true;
	if (delta > 0 && (uint64_t)delta < a->size) {
		have = sut_elf_bytes(f->t->elf, at + (uint64_t)delta, a->size - (uint64_t)delta);
		if (have && !memcmp(have, want + delta, a->size - (uint64_t)delta))
			return true;
	}
	return no(f,
		  a->kind == SUT_ATOM_STRING ? "refers to another string than \"%.60s\""
					     : "refers to another constant%.0s",
		  a->kind == SUT_ATOM_STRING ? (const char *)want : "");
}

static bool check_ref(struct verifier *f, const struct sut_ref *r, const struct sut_linked *l)
{
	struct sut_osym *s = &f->v->sym.v[r->sym];
	enum sut_class class = in_section(f, s) ? f->v->sec.v[s->shndx].class : SUT_CLASS_SKIP;

	switch (l->kind) {
	case SUT_RELOC_NONE:
	case SUT_RELOC_SIZE:
		return true;
	case SUT_RELOC_ABS:
	case SUT_RELOC_PCREL:
	case SUT_RELOC_PLT:
		if (s->shndx == SHN_ABS)
			return true;
		if (class == SUT_CLASS_STRINGS || class == SUT_CLASS_CONSTS)
			return !r->atom || check_content(f, r, l->value);
		if (in_section(f, s) && !f->v->sec.v[s->shndx].placed) {
			vote(&f->found[s->shndx], l->value - s->value);
			return !f->strict || no(f, "refers to section %s, which was not found in the target",
						f->v->sec.v[s->shndx].s->name);
		}
		return check_direct(f, s, l->value);
	case SUT_RELOC_GOT:
	case SUT_RELOC_GOT_LOAD:
		return check_got(f, s, l->value);
	case SUT_RELOC_TLS_LE:
	case SUT_RELOC_TLS_IE:
	case SUT_RELOC_TLS_GD:
	case SUT_RELOC_TLS_LD:
	case SUT_RELOC_TLS_DESC:
	case SUT_RELOC_TLS_DTPOFF:
		return check_tls(f, s, r->howto, l);
	default:
		return no(f, "relocation %s is not understood", r->howto->name);
	}
}

/* A word of data that the dynamic linker fills in. */
static bool check_data_slot(struct verifier *f, const struct sut_ref *r, const struct sut_slot *slot)
{
	struct sut_osym *s = &f->v->sym.v[r->sym];
	struct sut_linked l = { .kind = SUT_RELOC_ABS };

	if (slot->symbol) {
		bind(s, SUT_BOUND_DYNAMIC, 0);
		return !strcmp(slot->symbol, s->name) || no(f, "holds %s instead of %s", slot->symbol, s->name);
	}
	l.value = (uint64_t)slot->addend - (uint64_t)r->addend;
	return check_ref(f, r, &l);
}

/* ---- one atom ---- */

static bool equal_part(struct verifier *f, const uint8_t *a, const uint8_t *b, size_t from, size_t to)
{
	for (; from < to; from++)
		if (a[from] != b[from])
			return no(f, "differs at +%#zx", from);
	return true;
}

/* Whether the target holds the atom at @addr. */
static bool check_atom(struct verifier *f, const struct sut_atom *a, uint64_t addr)
{
	const uint8_t *obj = sut_atom_bytes(a), *bin = sut_elf_bytes(f->t->elf, addr, a->size);
	const struct sut_ref *r = sut_atom_refs(a);
	size_t pos = 0;

	if (!obj)
		return true;
	if (!bin)
		return no(f, "no bytes at %#llx", (unsigned long long)addr);
	for (size_t i = 0; i < a->n_refs; i++) {
		size_t off = r[i].off - a->start;
		const struct sut_slot *slot = sut_target_slot(f->t, addr + off);
		struct sut_linked l;

		if (r[i].synthetic)
			continue;
		if (slot && sut_atom_class(a) != SUT_CLASS_TEXT) {
			if (!equal_part(f, obj, bin, pos, off) || !check_data_slot(f, &r[i], slot))
				return false;
			pos = off + r[i].howto->size;
			continue;
		}
		if (f->v->elf->arch->linked_field(r[i].howto, obj, bin, a->size, off, r[i].addend, addr, &l))
			return no(f, "differs at +%#zx (%s of %s)", off, r[i].howto->name, sut_ref_name(f->v, &r[i]));
		if (l.start < pos)
			l.start = pos;
		if (!equal_part(f, obj, bin, pos, l.start))
			return false;
		if (!check_ref(f, &r[i], &l)) {
			const char *why = f->why;

			return no(f, "+%#zx: %s", off, why);
		}
		pos = l.end;
		i += l.skip;
	}
	return equal_part(f, obj, bin, pos, a->size);
}

/* ---- where sections lie ---- */

/* One symbol of v against the target's symbols of its name (@sized: those of its size). */
static void vote_by_name(struct verifier *f, struct candidates *c, const struct sut_osym *s, bool sized)
{
	size_t n = sut_symtab_count(f->t->syms, s->name);

	for (uint32_t pos = 1; pos <= n; pos++) {
		const struct sut_symbol *t = sut_symtab_nth(f->t->syms, s->name, pos);

		if (!t || !t->shndx || (t->type == STT_TLS) != (s->type == STT_TLS))
			continue;
		if (sized && t->size && s->size && t->size != s->size)
			continue;
		if (s->bind == STB_LOCAL &&
		    (t->bind != STB_LOCAL || !t->file || !f->v->source || strcmp(t->file, f->v->source)))
			continue;
		vote(c, t->value - s->value);
	}
}

static size_t count_verified(struct verifier *f, const struct sut_osec *sec, uint64_t base)
{
	size_t n = 0;

	for (size_t i = 0; i < sec->atom.n; i++) {
		const struct sut_atom *a = sec->atom.v[i];

		n += a->kind != SUT_ATOM_ANON && check_atom(f, a, base + a->start);
	}
	return n;
}

/* Chooses among candidates: the one at which most is verified, then the one most named. */
static void place(struct verifier *f, uint32_t sec, const struct candidates *c)
{
	struct sut_osec *s = &f->v->sec.v[sec];
	size_t best = 0, best_n = 0;
	bool tie = false;

	if (!c->n)
		return;
	for (size_t i = 0; c->n > 1 && i < c->n; i++) {
		size_t n;

		s->placed = true; /* for references inside of the section */
		s->base = c->c[i].base;
		n = s->class == SUT_CLASS_TLS ? 0 : count_verified(f, s, s->base);
		s->placed = false;
		if (n > best_n || (n == best_n && c->c[i].votes > c->c[best].votes)) {
			best = i;
			best_n = n;
			tie = false;
		} else if (i && n == best_n && c->c[i].votes == c->c[best].votes) {
			tie = true;
		}
	}
	s->twice = tie; /* two equal copies: which one is ours is not known */
	if (tie)
		return;
	s->placed = true;
	s->base = c->c[best].base;
}

static bool placeable(const struct sut_osec *s)
{
	switch (s->class) {
	case SUT_CLASS_TEXT:
	case SUT_CLASS_RODATA:
	case SUT_CLASS_RELRO:
	case SUT_CLASS_DATA:
	case SUT_CLASS_BSS:
	case SUT_CLASS_TLS:
		return true;
	default:
		return false;
	}
}

static void place_by_names(struct verifier *f)
{
	for (uint32_t i = 1; i < f->v->sec.n; i++) {
		struct candidates c = { 0 };
		struct sut_osec *s = &f->v->sec.v[i];

		if (!placeable(s))
			continue;
		/* A function of another size is no match, but it is where the mismatch is shown. */
		for (int sized = 1; sized >= 0 && !c.n; sized--)
			for (size_t k = 0; k < s->atom.n; k++)
				for (size_t a = 0; a < s->atom.v[k]->alias.n; a++)
					vote_by_name(f, &c, &f->v->sym.v[s->atom.v[k]->alias.v[a]], sized);
		place(f, i, &c);
	}
}

/* Sections that no symbol places are placed by the references from verified code. True: some were. */
static bool place_by_refs(struct verifier *f)
{
	bool any = false;

	memset(f->found, 0, f->v->sec.n * sizeof(*f->found));
	for (size_t i = 0; i < f->v->atom.n; i++) {
		const struct sut_atom *a = f->v->atom.v[i];
		uint64_t addr;

		if (a->sec && placeable(sut_atom_sec(a)) && sut_atom_class(a) != SUT_CLASS_TLS &&
		    sut_atom_address(a, &addr))
			(void)check_atom(f, a, addr);
	}
	for (uint32_t i = 1; i < f->v->sec.n; i++) {
		struct sut_osec *s = &f->v->sec.v[i];

		if (s->placed || !placeable(s))
			continue;
		place(f, i, &f->found[i]);
		any = any || s->placed;
	}
	return any;
}

/* ---- the whole unit ---- */

static void judge_common(struct verifier *f, struct sut_atom *a)
{
	for (uint32_t pos = 1; pos <= sut_symtab_count(f->t->syms, a->name); pos++) {
		const struct sut_symbol *s = sut_symtab_nth(f->t->syms, a->name, pos);

		if (s && s->shndx && s->bind != STB_LOCAL && s->type == STT_OBJECT)
			a->target = s;
	}
	a->verdict = a->target ? SUT_VERIFIED : SUT_ABSENT;
}

static void judge(struct verifier *f, struct sut_atom *a)
{
	uint64_t addr;

	if (!a->sec) {
		judge_common(f, a);
		return;
	}
	if (!placeable(sut_atom_sec(a)) || !sut_atom_address(a, &addr)) {
		a->verdict = sut_atom_sec(a)->twice ? SUT_MISMATCH : SUT_ABSENT;
		a->why = "it is there twice, and which one belongs to this unit is not known";
		return;
	}
	for (size_t i = 0; !a->target && i < a->alias.n; i++)
		a->target = sut_target_symbol_at(f->t, f->v->sym.v[a->alias.v[i]].name, addr,
						 sut_atom_class(a) == SUT_CLASS_TLS);
	if (sut_atom_class(a) == SUT_CLASS_TLS || check_atom(f, a, addr)) {
		a->verdict = SUT_VERIFIED;
	} else {
		a->verdict = SUT_MISMATCH;
		a->why = f->why;
		sut_debug(f->u->d->ctx, "%s: %s at %#llx in %s: %s", f->v->name,
			  *a->name ? a->name : sut_atom_sec(a)->s->name, (unsigned long long)addr, f->t->shown, a->why);
	}
}

static void count(struct verifier *f)
{
	struct sut_unit *u = f->u;

	for (size_t i = 0; i < f->v->atom.n; i++) {
		const struct sut_atom *a = f->v->atom.v[i];

		if (!sut_atom_is_func(a) && a->sym && sut_atom_bytes(a) && a->verdict == SUT_VERIFIED)
			u->n_data_verified++;
		if (!sut_atom_is_func(a) || !a->sym)
			continue;
		u->n_funcs++;
		u->n_verified += a->verdict == SUT_VERIFIED;
		u->n_mismatched += a->verdict == SUT_MISMATCH;
		if (sut_atom_sym(a)->bind != STB_LOCAL && strcmp(a->name, "main")) {
			u->n_globals++;
			u->n_globals_present += sut_symtab_count(f->t->syms, a->name) > 0;
		}
	}
	u->file_known = sut_target_has_file(f->t, f->v->source);
}

int sut_verify(struct sut_unit *u)
{
	struct verifier f = { .u = u, .v = u->v, .t = u->target };

	if (u->v->elf->machine != u->target->elf->machine)
		return sut_refuse(u->d->ctx, "the database must be that of the build of the target",
				  "%s is compiled for another machine than %s", u->v->name, u->target->shown);
	if (!u->v->elf->arch->linked_field)
		return sut_refuse(u->d->ctx, "suture knows x86-64", "patches for %s can not be built yet",
				  u->v->elf->arch->name);
	f.found = sut_pool_alloc(&u->d->pool, u->v->sec.n * sizeof(*f.found));
	if (!f.found)
		return sut_nomem(u->d->ctx);
	place_by_names(&f);
	for (int i = 0; i < 8 && place_by_refs(&f); i++)
		;
	f.strict = true;
	for (size_t i = 0; i < u->v->atom.n; i++)
		judge(&f, u->v->atom.v[i]);
	count(&f);
	return 0;
}
