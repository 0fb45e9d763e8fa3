/* SPDX-License-Identifier: MIT */
/*
 * dwarf.c - debug data of objects, through libdwfl, which applies the relocations between its sections.
 *
 * One use here: a compiler numbers static locals ("count.3"), and the numbers shift when another is
 * added. The debug data say in which function each is declared, whatever was inlined where.
 */
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>

#include "diff/diff.h"

void sut_dwarf_open(const char *path, struct sut_dwarf *ret)
{
	static const Dwfl_Callbacks callbacks = {
		.find_elf = dwfl_build_id_find_elf,
		.find_debuginfo = dwfl_standard_find_debuginfo,
		.section_address = dwfl_offline_section_address,
	};
	Dwfl_Module *mod;
	Dwarf_Addr bias;

	*ret = (struct sut_dwarf){ .dwfl = dwfl_begin(&callbacks) };
	if (!ret->dwfl)
		return;
	mod = dwfl_report_offline(ret->dwfl, path, path, -1);
	dwfl_report_end(ret->dwfl, NULL, NULL);
	if (mod)
		ret->dw = dwfl_module_getdwarf(mod, &bias);
}

void sut_dwarf_close(struct sut_dwarf *w)
{
	if (w->dwfl)
		dwfl_end(w->dwfl);
	w->dwfl = NULL;
	w->dw = NULL;
}

struct info_reloc {
	uint64_t off;
	struct sut_atom *atom;
};

struct scopes {
	struct sut_diff *d;
	struct sut_ofile *f;
	SUT_VEC(struct info_reloc) reloc; /* of .debug_info, by offset */
	SUT_VEC(struct sut_atom *) seen; /* with a scope */
	int err;
};

static int reloc_cmp(const void *a, const void *b)
{
	const struct info_reloc *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

/* The references from .debug_info to data: only those can be variables' addresses. */
static int read_relocs(struct scopes *s)
{
	const struct sut_elf *e = s->f->elf;

	for (size_t i = 1; i < e->sec.n; i++) {
		const struct sut_section *rela = &e->sec.v[i];

		if (rela->type != SHT_RELA || rela->info >= e->sec.n || !rela->data ||
		    strcmp(e->sec.v[rela->info].name, ".debug_info"))
			continue;
		for (size_t k = 0; k < rela->size / sizeof(Elf64_Rela); k++) {
			const struct sut_osym *sym;
			struct info_reloc r;
			Elf64_Rela er;

			memcpy(&er, rela->data + k * sizeof(er), sizeof(er));
			if (ELF64_R_SYM(er.r_info) >= s->f->sym.n)
				continue;
			sym = &s->f->sym.v[ELF64_R_SYM(er.r_info)];
			if (!sym->shndx || sym->shndx >= s->f->sec.n || s->f->sec.v[sym->shndx].class == SUT_CLASS_SKIP)
				continue;
			r.off = er.r_offset;
			r.atom = sym->atom ? sym->atom
					   : sut_ofile_atom_at(s->f, sym->shndx, (int64_t)sym->value + er.r_addend);
			if (r.atom && !sut_atom_is_func(r.atom) && sut_vec_push(&s->reloc, r))
				return sut_nomem(s->f->ctx);
		}
	}
	if (s->reloc.n)
		qsort(s->reloc.v, s->reloc.n, sizeof(*s->reloc.v), reloc_cmp);
	return 0;
}

static struct sut_atom *atom_of(const struct scopes *s, Dwarf_Die *die)
{
	Dwarf_Attribute attr;
	Dwarf_Block block;
	struct info_reloc key = { 0 }, *r;
	const char *base = (const char *)die->addr - dwarf_dieoffset(die);

	if (!dwarf_attr(die, DW_AT_location, &attr) || dwarf_formblock(&attr, &block) || block.length != 9 ||
	    block.data[0] != DW_OP_addr || !s->reloc.n)
		return NULL;
	key.off = (uint64_t)((const char *)block.data + 1 - base);
	r = bsearch(&key, s->reloc.v, s->reloc.n, sizeof(key), reloc_cmp);
	return r ? r->atom : NULL;
}

static void add_variable(struct scopes *s, Dwarf_Die *die, const char *func)
{
	const char *name = dwarf_diename(die);
	struct sut_atom *a = name ? atom_of(s, die) : NULL;
	unsigned nth = 0;
	char *scope;

	if (!a || a->scope)
		return;
	for (size_t i = 0; i < s->seen.n; i++) {
		const char *o = s->seen.v[i]->scope;
		size_t n = strlen(func);

		nth += !strncmp(o, func, n) && o[n] == ':' && !strncmp(o + n + 1, name, strlen(name)) &&
		       o[n + 1 + strlen(name)] == '#';
	}
	scope = sut_pool_printf(&s->d->pool, "%s:%s#%u", func, name, nth);
	a->scope = scope;
	if (!scope || sut_vec_push(&s->seen, a))
		s->err = sut_nomem(s->d->ctx);
}

/* All of @die's children, inside of function @func (NULL: outside of any). */
static void walk(struct scopes *s, Dwarf_Die *die, const char *func, unsigned depth)
{
	Dwarf_Die child;

	if (depth > 64 || dwarf_child(die, &child))
		return;
	do {
		const char *name = func;

		switch (dwarf_tag(&child)) {
		case DW_TAG_variable:
			if (func)
				add_variable(s, &child, func);
			continue;
		case DW_TAG_subprogram:
		case DW_TAG_inlined_subroutine:
			name = dwarf_diename(&child);
			break;
		case DW_TAG_lexical_block:
		case DW_TAG_namespace:
		case DW_TAG_class_type:
		case DW_TAG_structure_type:
			break;
		default:
			continue;
		}
		walk(s, &child, name, depth + 1);
	} while (!s->err && !dwarf_siblingof(&child, &child));
}

int sut_scopes_read(struct sut_diff *d, struct sut_ofile *f, const char *path)
{
	struct scopes s = { .d = d, .f = f };
	struct sut_dwarf w;
	Dwarf_Off off = 0, next;
	size_t header;
	Dwarf_Die cu;

	s.err = read_relocs(&s);
	sut_dwarf_open(path, &w);
	while (!s.err && w.dw && !dwarf_nextcu(w.dw, off, &next, &header, NULL, NULL, NULL)) {
		if (dwarf_offdie(w.dw, off + header, &cu))
			walk(&s, &cu, NULL, 0);
		off = next;
	}
	sut_dwarf_close(&w);
	sut_vec_free(&s.reloc);
	sut_vec_free(&s.seen);
	return s.err;
}
