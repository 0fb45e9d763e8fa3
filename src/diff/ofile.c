/* SPDX-License-Identifier: MIT */
/*
 * ofile.c - takes an object file apart into atoms and references.
 *
 * Atoms: every function and variable, every string and constant of a mergeable section, and
 * the rest of a section as anonymous atoms. References: every relocation, and every displacement that
 * leaves its function without a relocation, because the assembler knew the distance (calls inside one .text);
 * after that, objects with and without -ffunction-sections look alike.
 * Objects come from a compiler run by us or from the user's hands: all numbers are checked.
 * Knows nothing of targets or of other objects.
 */
#include <errno.h>

#include "diff/diff.h"

#ifndef STT_GNU_IFUNC
#define STT_GNU_IFUNC 10
#endif

static int damaged(struct sut_ofile *f, const char *what)
{
	return sut_refuse(f->ctx, "compile it again", "%s: damaged object file: %s", f->name, what);
}

enum sut_class sut_atom_class(const struct sut_atom *a)
{
	return a->sec ? sut_atom_sec(a)->class : SUT_CLASS_BSS;
}

bool sut_atom_is_writable(const struct sut_atom *a)
{
	enum sut_class c = sut_atom_class(a);

	return c == SUT_CLASS_DATA || c == SUT_CLASS_BSS || c == SUT_CLASS_TLS;
}

bool sut_atom_is_global(const struct sut_atom *a)
{
	for (size_t i = 0; i < a->alias.n; i++)
		if (a->file->sym.v[a->alias.v[i]].bind != STB_LOCAL)
			return true;
	return false;
}

/* The contents of a string or constant in words; NULL: no memory. */
static const char *quoted(const struct sut_ofile *f, const struct sut_atom *a)
{
	const uint8_t *p = sut_atom_bytes(a);
	char text[100], *out = text;

	if (a->kind == SUT_ATOM_STRING && sut_atom_sec(a)->s->entsize == 1) {
		for (uint64_t i = 0; i + 1 < a->size && i < 40; i++)
			*out++ = p[i] < ' ' || p[i] == '"' || p[i] > '~' ? '?' : (char)p[i];
		*out = '\0';
		return sut_pool_printf(f->pool, "\"%s\"%s", text, a->size > 41 ? "..." : "");
	}
	return sut_pool_printf(f->pool, "the constant %s%s", sut_hex(p, a->size < 16 ? a->size : 16, text),
			       a->size > 16 ? "..." : "");
}

const char *sut_ref_name(const struct sut_ofile *f, const struct sut_ref *r)
{
	const char *name;

	if (!r->atom)
		return f->sym.v[r->sym].name;
	name = r->atom->name;
	if (r->atom->kind == SUT_ATOM_STRING || r->atom->kind == SUT_ATOM_CONST) {
		name = quoted(f, r->atom);
		return name ? name : "?";
	}
	if (!*name && r->atom->sec)
		name = sut_atom_sec(r->atom)->s->name;
	if (!r->delta)
		return name;
	name = sut_pool_printf(f->pool, "%s%s%#llx", name, r->delta < 0 ? "-" : "+",
			       (unsigned long long)(r->delta < 0 ? -r->delta : r->delta));
	return name ? name : "?";
}

static bool c_identifier(const char *s)
{
	if (!*s || (*s >= '0' && *s <= '9'))
		return false;
	return s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] == 0;
}

static bool prefixed(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return !strncmp(s, prefix, n) && (!s[n] || s[n] == '.');
}

static enum sut_class classify(const struct sut_section *s, bool has_relocs)
{
	if (!(s->flags & SHF_ALLOC) || s->type == SHT_NOTE)
		return SUT_CLASS_SKIP;
	if (!strcmp(s->name, "__patchable_function_entries") || !strcmp(s->name, "__mcount_loc") ||
	    prefixed(s->name, ".note"))
		return SUT_CLASS_SKIP;
	if (!strcmp(s->name, ".eh_frame"))
		return SUT_CLASS_EH;
	if (prefixed(s->name, ".gcc_except_table"))
		return SUT_CLASS_EXCEPT;
	if (s->type == SHT_INIT_ARRAY || s->type == SHT_FINI_ARRAY || s->type == SHT_PREINIT_ARRAY ||
	    prefixed(s->name, ".ctors") || prefixed(s->name, ".dtors") || prefixed(s->name, ".init_array") ||
	    prefixed(s->name, ".fini_array") || prefixed(s->name, ".preinit_array"))
		return SUT_CLASS_INIT;
	if (s->flags & SHF_TLS)
		return SUT_CLASS_TLS;
	if (s->flags & SHF_EXECINSTR)
		return SUT_CLASS_TEXT;
	if ((s->flags & SHF_MERGE) && s->entsize && !has_relocs && s->data && !(s->flags & SHF_WRITE))
		return s->flags & SHF_STRINGS ? SUT_CLASS_STRINGS : SUT_CLASS_CONSTS;
	if (s->type == SHT_NOBITS)
		return SUT_CLASS_BSS;
	if (!(s->flags & SHF_WRITE))
		return SUT_CLASS_RODATA;
	return prefixed(s->name, ".data.rel.ro") ? SUT_CLASS_RELRO : SUT_CLASS_DATA;
}

static int read_sections(struct sut_ofile *f)
{
	const struct sut_elf *e = f->elf;
	uint8_t *has_relocs;

	if (sut_vec_reserve_((void **)&f->sec.v, &f->sec.cap, e->sec.n ? e->sec.n : 1, sizeof(*f->sec.v)))
		return sut_nomem(f->ctx);
	has_relocs = sut_pool_alloc(f->pool, e->sec.n);
	if (!has_relocs)
		return sut_nomem(f->ctx);
	for (size_t i = 1; i < e->sec.n; i++)
		if (e->sec.v[i].type == SHT_RELA && e->sec.v[i].info < e->sec.n && e->sec.v[i].size)
			has_relocs[e->sec.v[i].info] = 1;
	memset(f->sec.v, 0, (e->sec.n ? e->sec.n : 1) * sizeof(*f->sec.v));
	f->sec.n = e->sec.n;
	for (size_t i = 1; i < e->sec.n; i++) {
		const struct sut_section *s = &e->sec.v[i];

		f->sec.v[i].s = s;
		f->sec.v[i].class = classify(s, has_relocs[i]);
		f->sec.v[i].custom = f->sec.v[i].class != SUT_CLASS_SKIP && c_identifier(s->name);
		if (!strncmp(s->name, ".gnu.lto_", 9) || !strcmp(s->name, ".llvm.lto"))
			f->lto = true;
		if (!strcmp(s->name, ".comment") && s->data)
			f->gcc = memmem(s->data, s->size, "GCC:", 4) && !memmem(s->data, s->size, "clang", 5);
		if (f->sec.v[i].class != SUT_CLASS_SKIP && s->type != SHT_NOBITS && s->size && !s->data)
			return damaged(f, "a section without bytes");
		if (s->align & (s->align - 1) || s->align > 1u << 24)
			return damaged(f, "a section's alignment");
	}
	return 0;
}

/* ---- symbols ---- */

static const struct sut_section *section_of_type(const struct sut_elf *e, uint32_t type, uint32_t link)
{
	for (size_t i = 1; i < e->sec.n; i++)
		if (e->sec.v[i].type == type && (type != SHT_SYMTAB_SHNDX || e->sec.v[i].link == link))
			return &e->sec.v[i];
	return NULL;
}

static int read_symbol(struct sut_ofile *f, const Elf64_Sym *es, const struct sut_section *str, uint32_t xindex)
{
	struct sut_osym s = { .value = es->st_value,
			      .size = es->st_size,
			      .type = ELF64_ST_TYPE(es->st_info),
			      .bind = ELF64_ST_BIND(es->st_info),
			      .visibility = ELF64_ST_VISIBILITY(es->st_other) };

	if (es->st_name >= str->size)
		return damaged(f, "a symbol's name");
	s.name = (const char *)str->data + es->st_name;
	s.shndx = es->st_shndx == SHN_XINDEX ? xindex : es->st_shndx;
	if (es->st_shndx == SHN_XINDEX || s.shndx < SHN_LORESERVE) {
		if (s.shndx >= f->sec.n)
			return damaged(f, "a symbol's section");
		if (s.shndx && s.value > f->elf->sec.v[s.shndx].size)
			return damaged(f, "a symbol outside of its section");
	}
	if (s.type == STT_FILE && !f->source)
		f->source = s.name;
	if (s.shndx == SHN_COMMON && s.size && !strcmp(s.name, "__gnu_lto_slim"))
		f->lto = true;
	return sut_vec_push(&f->sym, s) ? sut_nomem(f->ctx) : 0;
}

static int read_symbols(struct sut_ofile *f)
{
	const struct sut_elf *e = f->elf;
	const struct sut_section *tab = section_of_type(e, SHT_SYMTAB, 0), *str, *xtab;

	if (!tab || !tab->data || tab->link >= e->sec.n)
		return damaged(f, "it has no symbol table");
	str = &e->sec.v[tab->link];
	xtab = section_of_type(e, SHT_SYMTAB_SHNDX, tab->index);
	if (!str->data || !str->size || str->data[str->size - 1])
		return damaged(f, "the symbols' names");
	for (size_t i = 0; i < tab->size / sizeof(Elf64_Sym); i++) {
		Elf64_Sym es;
		uint32_t x = 0;
		int err;

		memcpy(&es, tab->data + i * sizeof(es), sizeof(es));
		if (es.st_shndx == SHN_XINDEX && xtab && xtab->data && sut_fits(i * 4, 4, xtab->size))
			x = sut_le32(xtab->data + i * 4);
		err = read_symbol(f, &es, str, x);
		if (err)
			return err;
	}
	return f->sym.n ? 0 : damaged(f, "an empty symbol table");
}

/* ---- atoms ---- */

static struct sut_atom *new_atom(struct sut_ofile *f, uint32_t sec, uint64_t start, uint64_t size,
				 enum sut_atom_kind kind)
{
	struct sut_atom *a = sut_pool_alloc(f->pool, sizeof(*a));

	if (!a)
		return NULL;
	a->file = f;
	a->sec = sec;
	a->start = start;
	a->size = size;
	a->kind = kind;
	a->name = "";
	if (sut_vec_push(&f->atom, a) || (sec && sut_vec_push(&f->sec.v[sec].atom, a)))
		return NULL;
	return a;
}

/* Strings one by one; constants by their size. */
static int merge_atoms(struct sut_ofile *f, uint32_t sec)
{
	const struct sut_section *s = f->sec.v[sec].s;
	bool strings = f->sec.v[sec].class == SUT_CLASS_STRINGS;
	uint64_t off = 0, n;

	for (; off < s->size; off += n) {
		n = s->entsize;
		while (strings && off + n <= s->size) {
			bool nul = true;

			for (uint64_t k = 0; k < s->entsize; k++)
				nul = nul && !s->data[off + n - s->entsize + k];
			if (nul)
				break;
			n += s->entsize;
		}
		if (n > s->size - off)
			n = s->size - off;
		if (!new_atom(f, sec, off, n, strings ? SUT_ATOM_STRING : SUT_ATOM_CONST))
			return sut_nomem(f->ctx);
	}
	return 0;
}

/* Labels of the compiler (".L...") and of the assembler name nothing that lives. */
static bool names_atom(const struct sut_osym *s, enum sut_class class)
{
	if (!s->name[0] || !strncmp(s->name, ".L", 2))
		return false;
	switch (s->type) {
	case STT_FUNC:
	case STT_GNU_IFUNC:
	case STT_OBJECT:
	case STT_TLS:
		return true;
	case STT_NOTYPE:
		return s->bind != STB_LOCAL || class != SUT_CLASS_TEXT;
	default:
		return false;
	}
}

/* Which of two symbols of one place names it: functions first, then globals, then the plainer name. */
static int symbol_rank(const struct sut_osym *s)
{
	int rank = 0;

	if (s->type == STT_NOTYPE)
		rank += 8;
	if (sut_symbol_base_len(s->name) != strlen(s->name))
		rank += 4;
	if (s->bind == STB_LOCAL)
		rank += 2;
	if (s->bind == STB_WEAK)
		rank += 1;
	return rank;
}

struct symref {
	const struct sut_osym *s;
	uint32_t index;
};

static int symref_cmp(const void *a, const void *b)
{
	const struct symref *x = a, *y = b;
	int rx, ry;

	if (x->s->value != y->s->value)
		return x->s->value < y->s->value ? -1 : 1;
	rx = symbol_rank(x->s);
	ry = symbol_rank(y->s);
	if (rx != ry)
		return rx - ry;
	return x->index < y->index ? -1 : 1;
}

/* One group of symbols of one value becomes one atom; symbols inside of it later are labels. */
static struct sut_atom *symbol_atom(struct sut_ofile *f, uint32_t sec, const struct symref *v, size_t n,
				    size_t *ret_used)
{
	const struct sut_section *s = f->sec.v[sec].s;
	uint64_t size = 0, start = v[0].s->value;
	struct sut_atom *a;
	bool func = false;
	size_t i;

	for (i = 0; i < n && v[i].s->value == start; i++) {
		if (v[i].s->size > size)
			size = v[i].s->size;
		func = func || v[i].s->type == STT_FUNC || v[i].s->type == STT_GNU_IFUNC;
	}
	*ret_used = i;
	a = new_atom(f, sec, start, size, func ? SUT_ATOM_FUNC : SUT_ATOM_DATA);
	if (!a)
		return NULL;
	if (!size) {
		a->no_size = true;
		a->size = (i < n ? v[i].s->value : s->size) - start;
		if (f->sec.v[sec].class == SUT_CLASS_TEXT)
			a->kind = SUT_ATOM_FUNC;
	}
	if (a->size > s->size - start)
		a->size = s->size - start;
	a->sym = v[0].index;
	a->name = v[0].s->name;
	for (i = 0; i < *ret_used; i++) {
		if (sut_vec_push(&a->alias, v[i].index))
			return NULL;
		f->sym.v[v[i].index].atom = a;
	}
	return a;
}

static int section_atoms(struct sut_ofile *f, uint32_t sec, struct symref *v, size_t n)
{
	uint64_t size = f->sec.v[sec].s->size, end = 0;
	struct sut_atom *a = NULL;
	size_t used;

	for (size_t i = 0; i < n; i += used) {
		uint64_t start = v[i].s->value;

		if (a && start < a->start + a->size) { /* a label inside of the one before */
			f->sym.v[v[i].index].atom = a;
			used = 1;
			continue;
		}
		if (start > end && !new_atom(f, sec, end, start - end, SUT_ATOM_ANON))
			return sut_nomem(f->ctx);
		a = symbol_atom(f, sec, v + i, n - i, &used);
		if (!a)
			return sut_nomem(f->ctx);
		end = a->start + a->size;
	}
	if ((end < size || !n) && !new_atom(f, sec, end, size - end, SUT_ATOM_ANON))
		return sut_nomem(f->ctx);
	return 0;
}

static int common_atoms(struct sut_ofile *f)
{
	for (uint32_t i = 1; i < f->sym.n; i++) {
		struct sut_osym *s = &f->sym.v[i];

		if (s->shndx != SHN_COMMON)
			continue;
		s->atom = new_atom(f, 0, 0, s->size, SUT_ATOM_DATA);
		if (!s->atom || sut_vec_push(&s->atom->alias, i))
			return sut_nomem(f->ctx);
		s->atom->sym = i;
		s->atom->name = s->name;
	}
	return 0;
}

static int make_atoms(struct sut_ofile *f)
{
	SUT_VEC(struct symref) v = { 0 };
	size_t *first = sut_pool_alloc(f->pool, (f->sec.n + 2) * sizeof(*first));
	int err = 0;

	if (!first || sut_vec_reserve_((void **)&v.v, &v.cap, f->sym.n, sizeof(*v.v)))
		return sut_nomem(f->ctx);
	/* Symbols sorted into their sections. */
	for (size_t i = 1; i < f->sym.n; i++)
		if (f->sym.v[i].shndx && f->sym.v[i].shndx < f->sec.n)
			first[f->sym.v[i].shndx + 1]++;
	for (size_t i = 1; i <= f->sec.n; i++)
		first[i] += first[i - 1];
	size_t *at = sut_pool_alloc(f->pool, (f->sec.n + 1) * sizeof(*at));
	if (!at) {
		sut_vec_free(&v);
		return sut_nomem(f->ctx);
	}
	for (uint32_t i = 1; i < f->sym.n; i++) {
		const struct sut_osym *s = &f->sym.v[i];

		if (s->shndx && s->shndx < f->sec.n && names_atom(s, f->sec.v[s->shndx].class)) {
			v.v[first[s->shndx] + at[s->shndx]] = (struct symref){ s, i };
			at[s->shndx]++;
		}
	}
	for (uint32_t i = 1; !err && i < f->sec.n; i++) {
		enum sut_class class = f->sec.v[i].class;

		if (class == SUT_CLASS_SKIP)
			continue;
		if (class == SUT_CLASS_STRINGS || class == SUT_CLASS_CONSTS) {
			err = merge_atoms(f, i);
			continue;
		}
		if (at[i])
			qsort(v.v + first[i], at[i], sizeof(*v.v), symref_cmp);
		err = section_atoms(f, i, v.v + first[i], at[i]);
	}
	sut_vec_free(&v);
	return err ? err : common_atoms(f);
}

struct sut_atom *sut_ofile_atom_at(const struct sut_ofile *f, uint32_t sec, int64_t off)
{
	const struct sut_osec *s = &f->sec.v[sec];
	size_t lo = 0, hi = s->atom.n;

	if (!hi)
		return NULL;
	if (off <= 0)
		return s->atom.v[0];
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (s->atom.v[mid]->start <= (uint64_t)off)
			lo = mid;
		else
			hi = mid;
	}
	return s->atom.v[lo];
}

static int by_name_cmp(const void *a, const void *b)
{
	return strcmp((*(struct sut_atom *const *)a)->name, (*(struct sut_atom *const *)b)->name);
}

static int name_atoms(struct sut_ofile *f)
{
	for (size_t i = 0; i < f->atom.n; i++)
		if (f->atom.v[i]->name[0] && sut_vec_push(&f->by_name, f->atom.v[i]))
			return sut_nomem(f->ctx);
	if (f->by_name.n)
		qsort(f->by_name.v, f->by_name.n, sizeof(*f->by_name.v), by_name_cmp);
	return 0;
}

struct sut_atom *sut_ofile_find(const struct sut_ofile *f, const char *name)
{
	size_t lo = 0, hi = f->by_name.n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = strcmp(f->by_name.v[mid]->name, name);

		if (!c) {
			bool twice = (mid > 0 && !strcmp(f->by_name.v[mid - 1]->name, name)) ||
				     (mid + 1 < f->by_name.n && !strcmp(f->by_name.v[mid + 1]->name, name));

			return twice ? NULL : f->by_name.v[mid];
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	/* An alias: rare, so by looking at all. */
	for (size_t i = 0; i < f->by_name.n; i++) {
		struct sut_atom *a = f->by_name.v[i];

		for (size_t k = 0; a->alias.n > 1 && k < a->alias.n; k++)
			if (!strcmp(f->sym.v[a->alias.v[k]].name, name))
				return a;
	}
	return NULL;
}

/* f.cold belongs to f; with several f the nearest text decides nothing, so none is chosen. */
static void find_parents(struct sut_ofile *f)
{
	for (size_t i = 0; i < f->by_name.n; i++) {
		struct sut_atom *a = f->by_name.v[i], *parent;
		const char *dot = strstr(a->name, ".cold");
		char *base;

		if (!sut_atom_is_func(a) || !dot || (dot[5] && dot[5] != '.'))
			continue;
		base = sut_pool_strndup(f->pool, a->name, (size_t)(dot - a->name));
		parent = base ? sut_ofile_find(f, base) : NULL;
		if (parent && parent != a && sut_atom_is_func(parent)) {
			a->parent = parent;
			a->next_cold = parent->cold;
			parent->cold = a;
		}
	}
}

/* ---- references ---- */

static int ref_cmp(const void *a, const void *b)
{
	const struct sut_ref *x = a, *y = b;

	if (x->off != y->off)
		return x->off < y->off ? -1 : 1;
	return x->howto->size < y->howto->size ? -1 : x->howto->size > y->howto->size;
}

static int read_relocs(struct sut_ofile *f, const struct sut_section *rela)
{
	struct sut_osec *sec;

	if (rela->info >= f->sec.n || rela->size % sizeof(Elf64_Rela) || (rela->size && !rela->data))
		return damaged(f, "a table of relocations");
	sec = &f->sec.v[rela->info];
	if (!sec->s || sec->class == SUT_CLASS_SKIP)
		return 0;
	for (size_t k = 0; k < rela->size / sizeof(Elf64_Rela); k++) {
		struct sut_ref r = { 0 };
		Elf64_Rela er;

		memcpy(&er, rela->data + k * sizeof(er), sizeof(er));
		r.off = er.r_offset;
		r.addend = er.r_addend;
		r.sym = (uint32_t)ELF64_R_SYM(er.r_info);
		r.howto = f->elf->arch->reloc_howto((uint32_t)ELF64_R_TYPE(er.r_info));
		if (!r.howto)
			return sut_refuse(f->ctx, "the code model or option that needs it is not supported",
					  "%s: section %s uses relocation type %u, which suture does not know", f->name,
					  sec->s->name, (unsigned)ELF64_R_TYPE(er.r_info));
		if (r.howto->kind == SUT_RELOC_NONE)
			continue;
		if (r.sym >= f->sym.n || !sec->s->data || !sut_fits(r.off, r.howto->size, sec->s->size))
			return damaged(f, "a relocation outside of its section");
		if (sut_vec_push(&sec->ref, r))
			return sut_nomem(f->ctx);
	}
	return 0;
}

/* The first ref at or after @off. */
static size_t first_ref(const struct sut_osec *sec, size_t n, uint64_t off)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (sec->ref.v[mid].off < off)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* A pc-relative displacement without relocation that leaves the function. */
static int add_synthetic(struct sut_ofile *f, struct sut_atom *a, const struct sut_insn *in, uint64_t pc)
{
	struct sut_osec *sec = sut_atom_sec(a);
	struct sut_ref r = { .off = pc + in->pcrel_off, .synthetic = true };

	if (in->target >= a->start && in->target < a->start + a->size)
		return 0;
	if (in->pcrel_size != 4) {
		a->short_exit = true;
		if (!in->pcrel_size)
			return 0;
	}
	r.howto = f->elf->arch->reloc_howto(f->elf->arch->reloc_pc32);
	r.tail = (uint8_t)(in->len - in->pcrel_off);
	r.branch = in->kind == SUT_INSN_CALL || in->kind == SUT_INSN_JUMP || in->kind == SUT_INSN_BRANCH;
	r.addend = (int64_t)in->target - r.tail;
	r.atom = sut_ofile_atom_at(f, a->sec, (int64_t)in->target);
	r.delta = r.atom ? (int64_t)(in->target - r.atom->start) : 0;
	return sut_vec_push(&sec->ref, r) ? sut_nomem(f->ctx) : 0;
}

/* Walks a function's instructions: which field belongs to which, and what the assembler resolved. */
static int decode_func(struct sut_ofile *f, struct sut_atom *a, size_t n)
{
	struct sut_osec *sec = sut_atom_sec(a); /* its first @n refs are relocations, sorted; synthetic ones follow */
	const uint8_t *code = sec->s->data;
	uint64_t end = a->start + a->size, pc = a->start;
	size_t r = first_ref(sec, n, pc);

	while (pc < end) {
		struct sut_insn in;
		bool relocated = false;
		int err;

		if (f->elf->arch->insn_decode(code + pc, end - pc, pc, &in) || !in.len) {
			a->undecodable = true;
			return 0;
		}
		for (; r < n && sec->ref.v[r].off < pc + in.len; r++) {
			struct sut_ref *ref = &sec->ref.v[r];

			ref->tail = (uint8_t)(pc + in.len - ref->off);
			if (in.pcrel && ref->off == pc + in.pcrel_off) {
				relocated = true;
				ref->branch = in.kind == SUT_INSN_CALL || in.kind == SUT_INSN_JUMP ||
					      in.kind == SUT_INSN_BRANCH;
			}
		}
		if (in.pcrel && !relocated) {
			err = add_synthetic(f, a, &in, pc);
			if (err)
				return err;
		}
		pc += in.len;
	}
	return 0;
}

/* What a relocation refers to: a symbol's atom, or whatever stands at section + offset. */
static void resolve_ref(struct sut_ofile *f, uint32_t sec, struct sut_ref *r)
{
	const struct sut_osym *s = &f->sym.v[r->sym];
	int64_t off;

	if (r->synthetic)
		return;
	r->delta = r->addend + (r->howto->pcrel ? r->tail : 0);
	r->table = r->howto->pcrel && f->sec.v[sec].class != SUT_CLASS_TEXT;
	if (s->shndx == SHN_COMMON) {
		r->atom = s->atom;
		return;
	}
	if (!s->shndx || s->shndx >= f->sec.n)
		return;
	off = s->type == STT_SECTION ? (int64_t)s->value + r->delta : (int64_t)s->value;
	r->atom = s->atom ? s->atom : sut_ofile_atom_at(f, s->shndx, off);
	if (r->atom)
		r->delta += (int64_t)s->value - (int64_t)r->atom->start;
}

static void give_refs(struct sut_osec *sec)
{
	for (size_t i = 0; i < sec->atom.n; i++) {
		struct sut_atom *a = sec->atom.v[i];

		a->first_ref = first_ref(sec, sec->ref.n, a->start);
		a->n_refs = first_ref(sec, sec->ref.n, a->start + a->size) - a->first_ref;
	}
}

/* Anonymous data that one function alone refers to is that function's: its switch tables. */
static void find_owners(struct sut_ofile *f)
{
	for (size_t i = 0; i < f->atom.n; i++) {
		struct sut_atom *a = f->atom.v[i];
		struct sut_ref *r = sut_atom_refs(a);

		if (!sut_atom_is_func(a))
			continue;
		for (size_t k = 0; k < a->n_refs; k++) {
			struct sut_atom *t = r[k].atom;

			if (!t || t->kind != SUT_ATOM_ANON || sut_atom_class(t) == SUT_CLASS_TEXT)
				continue;
			t->shared = t->shared || (t->owner && t->owner != a);
			t->owner = t->shared ? NULL : a;
		}
	}
}

static int make_refs(struct sut_ofile *f)
{
	int err = 0;

	for (size_t i = 1; !err && i < f->elf->sec.n; i++) {
		if (f->elf->sec.v[i].type == SHT_REL && f->elf->sec.v[i].info < f->sec.n &&
		    f->sec.v[f->elf->sec.v[i].info].class != SUT_CLASS_SKIP)
			return damaged(f, "relocations without addends");
		if (f->elf->sec.v[i].type == SHT_RELA)
			err = read_relocs(f, &f->elf->sec.v[i]);
	}
	for (uint32_t i = 1; !err && i < f->sec.n; i++) {
		struct sut_osec *sec = &f->sec.v[i];

		if (sec->ref.n)
			qsort(sec->ref.v, sec->ref.n, sizeof(*sec->ref.v), ref_cmp);
		for (size_t k = 0, n = sec->ref.n; !err && sec->class == SUT_CLASS_TEXT && k < sec->atom.n; k++)
			if (sut_atom_is_func(sec->atom.v[k]) && sec->s->data)
				err = decode_func(f, sec->atom.v[k], n);
		if (sec->ref.n)
			qsort(sec->ref.v, sec->ref.n, sizeof(*sec->ref.v), ref_cmp);
		for (size_t k = 0; k < sec->ref.n; k++)
			resolve_ref(f, i, &sec->ref.v[k]);
		give_refs(sec);
	}
	return err;
}

static int not_an_object(struct sut_ofile *f)
{
	(void)sut_fail(f->ctx, SUTURE_EREFUSED, "%s: not a relocatable object file", f->name);
	return sut_hint(f->ctx, "objects are what cc -c writes");
}

int sut_ofile_open(struct suture_ctx *ctx, struct sut_pool *pool, const char *path, const char *name,
		   struct sut_ofile **ret)
{
	struct sut_ofile *f = sut_pool_alloc(pool, sizeof(*f));
	int err;

	if (!f)
		return sut_nomem(ctx);
	f->ctx = ctx;
	f->pool = pool;
	f->name = name;
	err = sut_elf_open(ctx, path, &f->elf);
	if (err)
		return err;
	if (f->elf->type != ET_REL)
		err = not_an_object(f);
	else if (!f->elf->arch || !f->elf->is64 || !f->elf->little)
		err = sut_refuse(ctx, "suture knows x86-64",
				 "%s: an object for a machine suture does not know (ELF machine %u)", name,
				 f->elf->machine);
	if (!err)
		err = read_sections(f);
	if (!err)
		err = read_symbols(f);
	if (!err)
		err = make_atoms(f);
	if (!err)
		err = name_atoms(f);
	if (!err) {
		find_parents(f);
		err = make_refs(f);
	}
	if (err) {
		sut_ofile_close(f);
		return err;
	}
	find_owners(f);
	*ret = f;
	return 0;
}

void sut_ofile_close(struct sut_ofile *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->sec.n; i++) {
		sut_vec_free(&f->sec.v[i].ref);
		sut_vec_free(&f->sec.v[i].atom);
	}
	for (size_t i = 0; i < f->atom.n; i++)
		sut_vec_free(&f->atom.v[i]->alias);
	sut_vec_free(&f->sec);
	sut_vec_free(&f->sym);
	sut_vec_free(&f->atom);
	sut_vec_free(&f->by_name);
	sut_elf_close(f->elf);
	f->elf = NULL;
}
