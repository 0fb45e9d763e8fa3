/* SPDX-License-Identifier: MIT */
/*
 * target.c - a binary that is to be patched, as the builder sees it.
 *
 * Its bytes, its symbols (its own or a debug file's) and the places that the dynamic
 * linker writes. Everything that is asked of it is asked by link-time address.
 * The file may be any file: it is read through the ELF room alone.
 */
#include <errno.h>

#include "diff/diff.h"

#ifndef DF_1_PIE
#define DF_1_PIE 0x08000000
#endif

static int add_slot(void *arg, const struct sut_dynrel *rel)
{
	struct sut_target *t = arg;
	/* gold names the module of a thread-local by a section's symbol, which has no name. */
	const char *symbol = rel->symbol && *rel->symbol ? rel->symbol : NULL;
	struct sut_slot s = { rel->offset, rel->type, rel->addend, symbol, rel->version };

	return sut_vec_push(&t->slot, s) ? -ENOMEM : 0;
}

static int slot_cmp(const void *a, const void *b)
{
	const struct sut_slot *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

/* A static, position dependent program has its IRELATIVE places in a table without dynamic section. */
static int static_slots(struct sut_target *t)
{
	const struct sut_elf *e = t->elf;

	for (size_t i = 1; i < e->sec.n; i++) {
		const struct sut_section *s = &e->sec.v[i];

		if (s->type != SHT_RELA || !(s->flags & SHF_ALLOC) || !s->data)
			continue;
		for (size_t k = 0; k < s->size / sizeof(Elf64_Rela); k++) {
			struct sut_slot slot = { 0 };
			Elf64_Rela er;

			memcpy(&er, s->data + k * sizeof(er), sizeof(er));
			slot.addr = er.r_offset;
			slot.type = (uint32_t)ELF64_R_TYPE(er.r_info);
			slot.addend = er.r_addend;
			if (sut_vec_push(&t->slot, slot))
				return -ENOMEM;
		}
	}
	return 0;
}

/*
 * With one target and one debug file the user meant the pair, and a misfit is a refusal. With more, the
 * first debug file that fits is taken, else what the ELF room finds by itself.
 */
static int load_symbols(struct suture_ctx *ctx, const char *const *debug, bool strict, struct sut_target *t)
{
	for (; debug && *debug; debug++) {
		int err = sut_symtab_load(ctx, t->elf, "", *debug, &t->syms);

		if (err != -SUTURE_EREFUSED || strict)
			return err;
	}
	return sut_symtab_load(ctx, t->elf, "", NULL, &t->syms);
}

static int check_bolt(struct suture_ctx *ctx, const struct sut_target *t)
{
	if (!sut_elf_section(t->elf, ".note.bolt_info") && !sut_elf_section(t->elf, ".bolt.org.text"))
		return 0;
	(void)sut_fail(ctx, SUTURE_EREFUSED,
		       "%s was rearranged by BOLT after linking; its code is not what the compiler wrote", t->path);
	return sut_hint(ctx, "only targets as the linker wrote them can be patched from their source");
}

/* Names of the source files that the target was linked from, as symbol tables of type FILE tell them. */
static int read_files(struct suture_ctx *ctx, const struct sut_elf *e, struct sut_target *t)
{
	for (size_t i = 1; e && i < e->sec.n; i++) {
		const struct sut_section *s = &e->sec.v[i], *str;

		if (s->type != SHT_SYMTAB || !s->data || s->link >= e->sec.n)
			continue;
		str = &e->sec.v[s->link];
		if (!str->data || !str->size || str->data[str->size - 1])
			continue;
		for (size_t k = 0; k < s->size / sizeof(Elf64_Sym); k++) {
			Elf64_Sym es;

			memcpy(&es, s->data + k * sizeof(es), sizeof(es));
			if (ELF64_ST_TYPE(es.st_info) == STT_FILE && es.st_name && es.st_name < str->size &&
			    sut_vec_push(&t->file, (const char *)str->data + es.st_name))
				return sut_nomem(ctx);
		}
	}
	return 0;
}

bool sut_target_has_file(const struct sut_target *t, const char *name)
{
	for (size_t i = 0; name && i < t->file.n; i++)
		if (!strcmp(t->file.v[i], name))
			return true;
	return false;
}

int sut_target_open(struct suture_ctx *ctx, const char *path, const char *const *debug, bool strict,
		    struct sut_target *ret)
{
	struct sut_target t = { .path = path };
	const char *base = strrchr(path, '/');
	int err = sut_elf_open(ctx, path, &t.elf);
	if (err)
		return err;
	t.shown = path;
	if (t.elf->type != ET_EXEC && t.elf->type != ET_DYN)
		err = sut_refuse(ctx, "-t wants the file that the process has mapped",
				 "%s: neither a program nor a shared library", path);
	else if (!t.elf->arch || !t.elf->is64 || !t.elf->little)
		err = sut_refuse(ctx, "suture knows x86-64",
				 "%s: made for a machine suture does not know (ELF machine %u)", path, t.elf->machine);
	else
		err = check_bolt(ctx, &t);
	if (!err) {
		t.library = t.elf->type == ET_DYN && !t.elf->interp && !t.elf->is_pie;
		t.name = !t.library ? "" : t.elf->soname ? t.elf->soname : base ? base + 1 : path;
		err = load_symbols(ctx, debug, strict, &t);
	}
	if (!err && t.syms->source == SUT_SYMS_DYNAMIC) {
		(void)sut_fail(ctx, SUTURE_EREFUSED, "%s is stripped, and no debug file of it was found", path);
		err = sut_hint(ctx, "name one with --debug (the distribution's, or a local build of the same source)");
	}
	if (!err)
		err = read_files(ctx, t.elf, &t);
	if (!err)
		err = read_files(ctx, t.syms->debug, &t);
	if (!err) {
		err = t.elf->has_dynamic ? sut_elf_dynrels(t.elf, add_slot, &t) : static_slots(&t);
		if (err == -ENOMEM)
			err = sut_nomem(ctx);
	}
	if (err) {
		sut_target_close(&t);
		return err;
	}
	if (t.slot.n)
		qsort(t.slot.v, t.slot.n, sizeof(*t.slot.v), slot_cmp);
	*ret = t;
	return 0;
}

void sut_target_close(struct sut_target *t)
{
	sut_vec_free(&t->slot);
	sut_vec_free(&t->file);
	sut_symtab_free(t->syms);
	sut_elf_close(t->elf);
}

static size_t slot_from(const struct sut_target *t, uint64_t addr)
{
	size_t lo = 0, hi = t->slot.n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (t->slot.v[mid].addr < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct sut_slot *sut_target_slot(const struct sut_target *t, uint64_t addr)
{
	size_t i = slot_from(t, addr);

	return i < t->slot.n && t->slot.v[i].addr == addr ? &t->slot.v[i] : NULL;
}

const struct sut_slot *sut_target_stub(const struct sut_target *t, uint64_t addr)
{
	const struct sut_arch *arch = t->elf->arch;

	/* [endbr64] jmp *slot(%rip): nothing but no-ops may stand before the jump. */
	for (int i = 0; i < 3; i++) {
		struct sut_insn in;
		const uint8_t *code = NULL;
		size_t n;

		for (n = 16; n && !code; n--)
			code = sut_elf_bytes(t->elf, addr, n);
		if (!code || arch->insn_decode(code, n + 1, addr, &in))
			return NULL;
		if (in.kind == SUT_INSN_INDIRECT && in.pcrel)
			return sut_target_slot(t, in.target);
		if (in.kind != SUT_INSN_NOP)
			return NULL;
		addr += in.len;
	}
	return NULL;
}

/* "stdout@GLIBC_2.2.5" is a symbol named stdout. */
static bool same_name(const char *sym, const char *name)
{
	size_t n = strlen(name);

	return !strncmp(sym, name, n) && (!sym[n] || sym[n] == '@');
}

const struct sut_symbol *sut_target_symbol_at(const struct sut_target *t, const char *name, uint64_t addr, bool tls)
{
	size_t n, i;

	if (tls) { /* offsets, which lie beside the addresses */
		for (uint32_t pos = 1; pos <= sut_symtab_count(t->syms, name); pos++) {
			const struct sut_symbol *s = sut_symtab_nth(t->syms, name, pos);

			if (s && s->type == STT_TLS && s->shndx && s->value == addr)
				return s;
		}
		return NULL;
	}
	for (i = sut_symtab_all_at(t->syms, addr, &n); n; n--, i++) {
		const struct sut_symbol *s = &t->syms->sym.v[i];

		if (s->type != STT_TLS && s->shndx && same_name(s->name, name))
			return s;
	}
	return NULL;
}

bool sut_target_interposable(const struct sut_target *t, const char *name)
{
	struct sut_dynsym s;

	if (!t->library || !sut_elf_dynsym(t->elf, name, NULL, &s))
		return false;
	return s.visibility == STV_DEFAULT;
}

int64_t sut_target_tpoff(const struct sut_target *t, uint64_t off)
{
	uint64_t align = t->elf->tls_align ? t->elf->tls_align : 1;

	/* The block ends at the thread pointer, its start as aligned as the segment's address is. */
	return (int64_t)(off - (t->elf->tls_memsz + ((-t->elf->tls_vaddr - t->elf->tls_memsz) & (align - 1))));
}

bool sut_target_bytes(const struct sut_target *t, uint64_t addr, size_t len, uint8_t *ret)
{
	const uint8_t *p = sut_elf_bytes(t->elf, addr, len);

	if (!p)
		return false;
	memcpy(ret, p, len);
	for (size_t i = slot_from(t, addr >= 8 ? addr - 8 : 0); i < t->slot.n && t->slot.v[i].addr < addr + len; i++) {
		const struct sut_reloc_howto *h = t->elf->arch->reloc_howto(t->slot.v[i].type);
		size_t size = h && h->size ? h->size : 8;

		for (size_t k = 0; k < size; k++)
			if (sut_in(addr, addr + len, t->slot.v[i].addr + k))
				ret[t->slot.v[i].addr + k - addr] = 0;
	}
	return true;
}

/* Whether a unit's (@only: that unit's) verified object accounts for the code or data at @addr. */
static bool inside_units(struct sut_diff *d, const struct sut_target *t, const struct sut_unit *only, uint64_t addr)
{
	for (size_t i = 0; !only && i < d->unaffected.n; i++)
		if (d->unaffected.v[i].target == t && sut_in(d->unaffected.v[i].start, d->unaffected.v[i].end, addr))
			return true;
	for (size_t i = 0; i < d->unit.n; i++) {
		const struct sut_ofile *v = d->unit.v[i]->v;

		if (d->unit.v[i]->target != t || (only && d->unit.v[i] != only))
			continue;
		for (size_t k = 1; k < v->sec.n; k++)
			if (v->sec.v[k].placed && v->sec.v[k].class != SUT_CLASS_TLS &&
			    sut_in(v->sec.v[k].base, v->sec.v[k].base + v->sec.v[k].s->size, addr))
				return true;
	}
	return false;
}

/* A slot through which the library reaches itself counts as the code that uses it, which is looked at anyway. */
static bool data_refers(struct sut_diff *d, const struct sut_target *t, const struct sut_unit *only, uint64_t addr,
			const char **ret_where)
{
	for (size_t i = 0; i < t->slot.n; i++) {
		const struct sut_slot *s = &t->slot.v[i];

		if (s->symbol || (uint64_t)s->addend != addr || inside_units(d, t, only, s->addr))
			continue;
		*ret_where = sut_pool_printf(&d->pool, "the data at %#llx", (unsigned long long)s->addr);
		return true;
	}
	return false;
}

static bool code_refers(struct sut_diff *d, const struct sut_target *t, const struct sut_symbol *f, uint64_t addr,
			const char **ret_where)
{
	const uint8_t *code = sut_elf_bytes(t->elf, f->value, f->size);

	for (uint64_t pc = f->value; code && pc < f->value + f->size;) {
		struct sut_insn in;

		if (t->elf->arch->insn_decode(code + (pc - f->value), f->value + f->size - pc, pc, &in) || !in.len)
			return false;
		if (in.pcrel && in.target == addr) {
			*ret_where = f->name;
			return true;
		}
		pc += in.len;
	}
	return false;
}

bool sut_target_outside_ref(struct sut_diff *d, const struct sut_target *t, const struct sut_unit *only, uint64_t addr,
			    const char **ret_where)
{
	if (data_refers(d, t, only, addr, ret_where))
		return true;
	for (size_t i = 0; i < t->syms->sym.n; i++) {
		const struct sut_symbol *s = &t->syms->sym.v[i];

		if (s->type == STT_FUNC && s->size && s->shndx && !inside_units(d, t, only, s->value) &&
		    code_refers(d, t, s, addr, ret_where))
			return true;
	}
	return false;
}
