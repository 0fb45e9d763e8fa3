/* SPDX-License-Identifier: MIT */
/*
 * symtab.c - reads the symbols of an object from the best source there is.
 *
 * The order of sources is that of symtab.h; symindex.c sorts and indexes what is read
 * here. Symbols that cannot be right (a name outside of the string table, an end before
 * the start) are left out, not believed.
 */
#include "elf/debug.h"
#include "elf/priv.h"
#include "elf/symindex.h"

#define SYM_SIZE sizeof(Elf64_Sym)

const char *sut_symtab_source_name(enum sut_symtab_source s)
{
	switch (s) {
	case SUT_SYMS_OWN:
		return "its own symbol table";
	case SUT_SYMS_DEBUG_ID:
		return "a debug file of the same build-id";
	case SUT_SYMS_DEBUG_CONTENT:
		return "a debug file of the same content";
	case SUT_SYMS_MINI:
		return "its .gnu_debugdata";
	case SUT_SYMS_DYNAMIC:
		return "exported symbols only";
	case SUT_SYMS_DEBUG_LINK:
		return "the debug file that it links to";
	}
	return "?";
}

/* ---- reading ---- */

static bool is_mapping_symbol(const char *name)
{
	return name[0] == '$' && name[1] && (!name[2] || name[2] == '.');
}

/* Whether a raw symbol is one in the sense of symtab.h. */
static bool is_wanted(const struct sut_symbol *s)
{
	if (!s->name || !s->name[0] || s->shndx == SHN_UNDEF || s->shndx == SHN_ABS || s->value + s->size < s->value)
		return false;
	switch (s->type) {
	case STT_FUNC:
	case STT_GNU_IFUNC:
	case STT_OBJECT:
	case STT_COMMON:
	case STT_TLS:
		return true;
	case STT_NOTYPE:
		return !(s->bind == STB_LOCAL && is_mapping_symbol(s->name));
	}
	return false;
}

/* "f@@V1" becomes "f", in memory of the table. */
static int plain_name(struct suture_ctx *ctx, struct sut_symtab *t, const char **name)
{
	const char *at = strstr(*name, "@@");
	char *plain;

	if (!at || at == *name)
		return 0;
	plain = strndup(*name, (size_t)(at - *name));
	if (!plain)
		return sut_nomem(ctx);
	*name = plain;
	return sut_symindex_own(ctx, t, plain);
}

/* Adds the symbols of one SHT_SYMTAB section of @from. */
static int read_section(struct suture_ctx *ctx, struct sut_symtab *t, const struct sut_elf *from,
			const struct sut_section *sec, sut_draft_vec *ret)
{
	struct sut_bytes str = { 0 };
	const char *file = NULL;
	uint32_t scope = 0, files = 0;

	if (sec->link < from->sec.n && from->sec.v[sec->link].type == SHT_STRTAB)
		str = (struct sut_bytes){ from->sec.v[sec->link].data, from->sec.v[sec->link].size };
	for (size_t i = 1; i < sec->size / SYM_SIZE && i < UINT32_MAX; i++) {
		struct sut_symbol_draft d = { .s = { .order = (uint32_t)i } };
		Elf64_Sym raw;

		memcpy(&raw, sec->data + i * SYM_SIZE, SYM_SIZE);
		d.s.name = sut_str_at(str, raw.st_name);
		d.s.value = raw.st_value;
		d.s.size = raw.st_size;
		d.s.type = ELF64_ST_TYPE(raw.st_info);
		d.s.bind = ELF64_ST_BIND(raw.st_info);
		d.s.visibility = ELF64_ST_VISIBILITY(raw.st_other);
		d.s.shndx = raw.st_shndx;
		if (d.s.type == STT_FILE) {
			/* One without a name ends the scope: what follows belongs to no file. */
			file = d.s.name && d.s.name[0] ? d.s.name : NULL;
			scope = file ? ++files : 0;
			continue;
		}
		if (!is_wanted(&d.s))
			continue;
		if (d.s.bind == STB_LOCAL) {
			d.s.file = file;
			d.scope = scope;
		}
		if (plain_name(ctx, t, &d.s.name) || sut_vec_push(ret, d))
			return sut_nomem(ctx);
	}
	return 0;
}

static const struct sut_section *symtab_section(const struct sut_elf *e)
{
	for (size_t i = 1; i < e->sec.n; i++)
		if (e->sec.v[i].type == SHT_SYMTAB && e->sec.v[i].data && sut_elf_is_native(e))
			return &e->sec.v[i];
	return NULL;
}

/* Adds the symbol table of @from, if it holds a function. */
static int read_symtab(struct suture_ctx *ctx, struct sut_symtab *t, const struct sut_elf *from, sut_draft_vec *ret,
		       bool *found)
{
	const struct sut_section *sec = symtab_section(from);
	int err = sec ? read_section(ctx, t, from, sec, ret) : 0;

	*found = false;
	for (size_t i = 0; i < ret->n && !*found; i++)
		*found = ret->v[i].s.type == STT_FUNC || ret->v[i].s.type == STT_GNU_IFUNC ||
			 ret->v[i].s.type == STT_NOTYPE;
	if (!*found)
		ret->n = 0;
	return err;
}

/* Adds the defined dynamic symbols, after all others in order. */
static int read_dynamic(struct suture_ctx *ctx, const struct sut_elf *e, sut_draft_vec *ret)
{
	uint32_t first = 1;

	for (size_t i = 0; i < ret->n; i++)
		first = ret->v[i].s.order >= first ? ret->v[i].s.order + 1 : first;
	for (size_t i = 1; i < sut_elf_dynsym_count(e); i++) {
		struct sut_symbol_draft d = { .s = { .order = first + (uint32_t)i } };
		struct sut_dynsym s;

		if (!sut_elf_dynsym_get(e, i, &s) || (s.version_hidden && s.shndx != SHN_UNDEF))
			continue;
		d.s.name = s.name;
		d.s.value = s.value;
		d.s.size = s.size;
		d.s.type = s.type;
		d.s.bind = s.bind;
		d.s.visibility = s.visibility;
		d.s.shndx = s.shndx;
		if (is_wanted(&d.s) && sut_vec_push(ret, d))
			return sut_nomem(ctx);
	}
	return 0;
}

/* ---- sources ---- */

static void take_debug(struct sut_symtab *t, struct sut_debug_file *d)
{
	t->debug = d->elf;
	t->debug_path = d->path;
	d->elf = NULL;
	d->path = NULL;
}

/* Fills @drafts from the best source; @d is the debug file that the user named, empty if none. */
static int read_best(struct suture_ctx *ctx, struct sut_symtab *t, struct sut_elf *e, const char *root,
		     struct sut_debug_file *d, sut_draft_vec *drafts)
{
	bool found = false;
	int err = read_symtab(ctx, t, e, drafts, &found);

	t->source = SUT_SYMS_OWN;
	if (err)
		return err;
	if (d->elf) {
		if (!found) {
			t->source = d->how;
			err = read_symtab(ctx, t, d->elf, drafts, &found);
		}
		take_debug(t, d);
		if (!err && !found)
			return sut_fail(ctx, SUTURE_EREFUSED, "%s belongs to %s, but has no symbol table",
					t->debug_path, e->name);
		return err;
	}
	if (found)
		return 0;
	if (sut_debug_search(e, root, ".symtab", d)) {
		t->source = d->how;
		err = read_symtab(ctx, t, d->elf, drafts, &found);
		if (err || found) {
			take_debug(t, d);
			return err;
		}
		sut_debug_free(d);
	}
	t->source = SUT_SYMS_DYNAMIC;
	if (sut_debug_mini(e, d)) {
		err = read_symtab(ctx, t, d->elf, drafts, &found);
		if (found)
			t->source = SUT_SYMS_MINI;
		take_debug(t, d);
	}
	return err ? err : read_dynamic(ctx, e, drafts);
}

static bool overlaps(const struct sut_same_report *r, uint64_t start, uint64_t end)
{
	size_t lo = 0, hi = r->differs.n;

	while (lo < hi) { /* the first range that ends behind start */
		size_t mid = lo + (hi - lo) / 2;

		if (r->differs.v[mid].end <= start)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < r->differs.n && r->differs.v[lo].start < end;
}

/* Marks the symbols whose bytes differ between object and debug file, and names them once. */
static void mark_uncertain(struct sut_symtab *t, const struct sut_elf *e, const struct sut_same_report *r)
{
	char names[512] = "";
	size_t len = 0;

	for (size_t i = 0; i < t->n_addr; i++) {
		struct sut_symbol *s = &t->sym.v[i];

		s->uncertain = overlaps(r, s->value, s->value + (s->size ? s->size : 1));
		if (!s->uncertain)
			continue;
		if (t->n_uncertain++ < 8 && len < sizeof(names))
			len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", len ? ", " : "", s->name);
	}
	if (r->differs.n)
		sut_warn(e->ctx, "%s fits %s but for %zu symbols, which it does not serve: %s%s", t->debug_path,
			 e->name, t->n_uncertain, names, t->n_uncertain > 8 ? ", ..." : "");
}

int sut_symtab_load(struct suture_ctx *ctx, struct sut_elf *e, const char *root, const char *debug,
		    struct sut_symtab **ret)
{
	struct sut_symtab *t = calloc(1, sizeof(*t));
	struct sut_debug_file d = { 0 };
	sut_draft_vec drafts = { 0 };
	int err;

	if (!t)
		return sut_nomem(ctx);
	err = sut_symindex_init(ctx, t);
	if (!err && debug)
		err = sut_debug_open(e, debug, &d);
	if (!err)
		err = read_best(ctx, t, e, root, &d, &drafts);
	if (!err)
		err = sut_symindex_build(ctx, t, e, &drafts, t->source == SUT_SYMS_MINI);
	if (!err && t->source == SUT_SYMS_DEBUG_CONTENT)
		mark_uncertain(t, e, &d.report);
	sut_vec_free(&drafts);
	sut_debug_free(&d);
	if (err) {
		sut_symtab_free(t);
		return err;
	}
	*ret = t;
	return 0;
}

void sut_symtab_free(struct sut_symtab *t)
{
	if (!t)
		return;
	sut_symindex_free(t);
	sut_vec_free(&t->sym);
	sut_elf_close(t->debug);
	free(t->debug_path);
	free(t);
}
