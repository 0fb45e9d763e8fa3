/* SPDX-License-Identifier: MIT */
/*
 * parse.c - the ET_REL image of a module into tables of ours.
 *
 * Every index and offset of the file is compared with its bound here, and a relocation type is looked up
 * here, so that the rest of the loader can rely on them. Refusals name the section or symbol.
 * Reads no target.
 */
#include "module/priv.h"
#include <suture/sutfile.h>

#ifndef SHF_COMPRESSED
#define SHF_COMPRESSED (1 << 11)
#endif
#define SHT_X86_64_UNWIND_TYPE 0x70000001u /* .eh_frame as some assemblers type it */

static int refuse(struct sut_module *m, const char *what, const char *where)
{
	return sut_fail(m->priv->ctx, SUTURE_EREFUSED, "%s: damaged: %s (%s)", m->elf->name, what, where);
}

const char *sut_mod_secname(const struct sut_module *m, uint32_t sec)
{
	return sec < m->priv->sec.n ? m->priv->sec.v[sec].name : "?";
}

const char *sut_mod_symname(const struct sut_module *m, uint32_t sym)
{
	const struct mod_sym *s;

	if (sym >= m->priv->sym.n)
		return "?";
	s = &m->priv->sym.v[sym];
	if (s->plain)
		return s->plain;
	if (!*s->name && s->kind == MOD_SYM_DEFINED)
		return sut_mod_secname(m, s->sec);
	return s->name;
}

static bool starts(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

/* Constructors would have to run at some moment that nobody can choose well; they are refused. */
static bool is_constructor(const struct sut_section *s)
{
	return s->type == SHT_INIT_ARRAY || s->type == SHT_FINI_ARRAY || s->type == SHT_PREINIT_ARRAY ||
	       !strcmp(s->name, ".init") || !strcmp(s->name, ".fini") || starts(s->name, ".ctors") ||
	       starts(s->name, ".dtors") || starts(s->name, ".init_array") || starts(s->name, ".fini_array");
}

static int check_loaded(struct sut_module *m, const struct sut_section *s, uint64_t *total)
{
	struct suture_ctx *ctx = m->priv->ctx;
	size_t page = m->p->mem.page_size;

	if (is_constructor(s)) {
		sut_fail(ctx, SUTURE_EREFUSED, "%s: section %s holds constructors or destructors", m->elf->name,
			 s->name);
		return sut_hint(ctx, "the program has started long ago: initialise statically or on first use");
	}
	if (s->flags & SHF_TLS) {
		sut_fail(ctx, SUTURE_EREFUSED, "%s: section %s holds new thread-local variables", m->elf->name,
			 s->name);
		return sut_hint(ctx, "threads that run have no room for them; existing ones can be used");
	}
	if ((s->flags & SHF_WRITE) && (s->flags & SHF_EXECINSTR))
		return sut_fail(ctx, SUTURE_EREFUSED, "%s: section %s is writable and executable", m->elf->name,
				s->name);
	if (s->flags & SHF_COMPRESSED)
		return refuse(m, "a compressed section is to be loaded", s->name);
	if (s->align & (s->align - 1))
		return refuse(m, "an alignment that is no power of two", s->name);
	if (s->align > page)
		return sut_fail(ctx, SUTURE_EREFUSED, "%s: section %s wants an alignment of %llu bytes, a page has %zu",
				m->elf->name, s->name, (unsigned long long)s->align, page);
	if (s->type == SHT_NOBITS && (s->flags & SHF_EXECINSTR))
		return refuse(m, "code without bytes", s->name);
	if (s->type != SHT_NOBITS && s->size && !s->data)
		return refuse(m, "a section without bytes", s->name);
	if (s->size > MOD_MAX_BYTES || (*total += s->size) > MOD_MAX_BYTES)
		return sut_fail(ctx, SUTURE_EREFUSED, "%s: more than %llu MiB to load (section %s)", m->elf->name,
				MOD_MAX_BYTES >> 20, s->name);
	return 0;
}

static enum mod_part part_of(const struct sut_section *s)
{
	if (!(s->flags & SHF_ALLOC) || starts(s->name, ".suture."))
		return MOD_SKIP;
	switch (s->type) {
	case SHT_NULL:
	case SHT_NOTE: /* properties of the object file, of no use in a process */
	case SHT_GROUP:
	case SHT_RELA:
	case SHT_SYMTAB:
	case SHT_STRTAB:
		return MOD_SKIP;
	}
	if (!strcmp(s->name, ".eh_frame"))
		return MOD_EH;
	if (s->flags & SHF_EXECINSTR)
		return MOD_RX;
	/* Relocated here, never written by the program: no reason to leave it writable. */
	if (!(s->flags & SHF_WRITE) || (starts(s->name, ".data.rel.ro") && s->type == SHT_PROGBITS))
		return MOD_RO;
	return MOD_RW;
}

static int parse_sections(struct sut_module *m, uint64_t *total)
{
	struct sut_mod_priv *pr = m->priv;

	if (m->elf->sec.n > MOD_MAX_SECTIONS)
		return sut_fail(pr->ctx, SUTURE_EREFUSED, "%s: %zu sections, at most %u are taken", m->elf->name,
				m->elf->sec.n, MOD_MAX_SECTIONS);
	for (size_t i = 0; i < m->elf->sec.n; i++) {
		const struct sut_section *s = &m->elf->sec.v[i];
		struct mod_sec ms = {
			.name = s->name ? s->name : "",
			.part = i ? part_of(s) : MOD_SKIP,
			.size = s->size,
			.align = s->align ? s->align : 1,
			.src = s->type == SHT_NOBITS ? NULL : s->data,
			.parent = (uint32_t)i,
			.wants = SIZE_MAX,
			.likes = SIZE_MAX,
			.area = MOD_NONE,
		};
		int err;

		if (ms.part != MOD_SKIP && (err = check_loaded(m, s, total)))
			return err;
		if (ms.part == MOD_EH && s->type != SHT_PROGBITS && s->type != SHT_X86_64_UNWIND_TYPE)
			return refuse(m, "an .eh_frame of a strange type", s->name);
		if (sut_vec_push(&pr->sec, ms))
			return sut_nomem(pr->ctx);
	}
	return 0;
}

/** Takes ".suture.sym.<object>.<name>,<sympos>" apart. */
static int parse_late_name(struct sut_module *m, struct mod_sym *s)
{
	const char *p = s->name, *comma;
	char *end;
	unsigned long object, pos;

	if (!starts(p, SUTURE_SYM_PREFIX))
		return refuse(m, "a late symbol without the prefix " SUTURE_SYM_PREFIX, s->name);
	p += strlen(SUTURE_SYM_PREFIX);
	if (*p < '0' || *p > '9')
		return refuse(m, "a late symbol without an object index", s->name);
	object = strtoul(p, &end, 10);
	comma = strrchr(p, ',');
	if (*end != '.' || !comma || comma < end + 2 || comma[1] < '0' || comma[1] > '9')
		return refuse(m, "a late symbol's name is not OBJECT.NAME,SYMPOS", s->name);
	if (object >= m->priv->env->n_objects)
		return refuse(m, "a late symbol's object index is out of range", s->name);
	p = end + 1;
	pos = strtoul(comma + 1, &end, 10);
	if (*end || pos > UINT32_MAX)
		return refuse(m, "a late symbol's position is no number", s->name);
	s->object = object;
	s->sympos = (uint32_t)pos;
	s->plain = strndup(p, (size_t)(comma - p));
	return s->plain ? 0 : sut_nomem(m->priv->ctx);
}

/** "name@VERSION" or "name@@VERSION" of an undefined symbol. */
static int parse_undef_name(struct sut_module *m, struct mod_sym *s)
{
	char *at;

	if (!*s->name)
		return refuse(m, "an undefined symbol without a name", "symbol table");
	s->plain = strdup(s->name);
	if (!s->plain)
		return sut_nomem(m->priv->ctx);
	at = strchr(s->plain, '@');
	if (at && at != s->plain) {
		*at++ = 0;
		if (*at == '@')
			at++;
		s->version = *at ? at : NULL;
	}
	return 0;
}

/** A common symbol gets zeroed memory of its own: a section after the file's. */
static int add_common(struct sut_module *m, struct mod_sym *s, uint64_t *total)
{
	struct mod_sec ms = {
		.name = s->name,
		.part = MOD_RW,
		.size = s->size,
		.align = s->value ? s->value : 1, /* a common symbol's value is its alignment */
		.parent = (uint32_t)m->priv->sec.n,
		.wants = SIZE_MAX,
		.likes = SIZE_MAX,
		.area = MOD_NONE,
	};

	if ((ms.align & (ms.align - 1)) || ms.align > m->p->mem.page_size)
		return refuse(m, "a common symbol's alignment", s->name);
	if (s->size > MOD_MAX_BYTES || (*total += s->size) > MOD_MAX_BYTES)
		return refuse(m, "a common symbol's size", s->name);
	s->kind = MOD_SYM_DEFINED;
	s->sec = ms.parent;
	s->value = 0;
	return sut_vec_push(&m->priv->sec, ms) ? sut_nomem(m->priv->ctx) : 0;
}

static int parse_symbol(struct sut_module *m, const Elf64_Sym *es, const char *strtab, uint64_t strsize, size_t i,
			uint64_t *total)
{
	struct mod_sym s = {
		.type = ELF64_ST_TYPE(es->st_info),
		.bind = ELF64_ST_BIND(es->st_info),
		.value = es->st_value,
		.size = es->st_size,
		.dwref = MOD_NONE,
		.first_slot = MOD_NONE,
		.first_stub = MOD_NONE,
	};
	int err = 0;

	if (es->st_name >= strsize)
		return refuse(m, "a symbol's name lies outside of the string table", "symbol table");
	s.name = strtab + es->st_name;
	if (i == 0) {
		s.kind = MOD_SYM_NULL;
	} else if (es->st_shndx == SHN_UNDEF) {
		s.kind = strcmp(s.name, "_GLOBAL_OFFSET_TABLE_") ? MOD_SYM_UNDEF : MOD_SYM_GOT;
		if (s.kind == MOD_SYM_UNDEF)
			err = parse_undef_name(m, &s);
	} else if (es->st_shndx == SUTURE_SHN_LIVEPATCH) {
		s.kind = MOD_SYM_LATE;
		err = parse_late_name(m, &s);
	} else if (es->st_shndx == SHN_ABS) {
		s.kind = MOD_SYM_ABS;
	} else if (es->st_shndx == SHN_COMMON) {
		err = add_common(m, &s, total);
	} else if (es->st_shndx >= m->elf->sec.n) {
		err = refuse(m, "a symbol's section does not exist", s.name);
	} else {
		const struct mod_sec *sec = &m->priv->sec.v[es->st_shndx];

		s.sec = es->st_shndx;
		s.kind = sec->part == MOD_SKIP || sec->part == MOD_EH ? MOD_SYM_ELSEWHERE : MOD_SYM_DEFINED;
		if (s.kind == MOD_SYM_DEFINED && !sut_fits(s.value, s.size, sec->size))
			err = refuse(m, "a symbol reaches over the end of its section", s.name);
		else if (s.kind == MOD_SYM_DEFINED && s.type == STT_GNU_IFUNC)
			err = sut_fail(m->priv->ctx, SUTURE_EREFUSED,
				       "%s: %s is a new indirect function (IFUNC), which is not supported",
				       m->elf->name, s.name);
	}
	if (!err && sut_vec_push(&m->priv->sym, s))
		err = sut_nomem(m->priv->ctx);
	if (err)
		free(s.plain);
	return err;
}

static int parse_symbols(struct sut_module *m, uint64_t *total, uint32_t *ret_symtab)
{
	const struct sut_section *symtab = NULL, *strtab;
	size_t n;

	for (size_t i = 1; i < m->elf->sec.n; i++) {
		if (m->elf->sec.v[i].type == SHT_SYMTAB_SHNDX)
			return refuse(m, "extended section indexes", m->elf->sec.v[i].name);
		if (m->elf->sec.v[i].type != SHT_SYMTAB)
			continue;
		if (symtab)
			return refuse(m, "two symbol tables", m->elf->sec.v[i].name);
		symtab = &m->elf->sec.v[i];
	}
	if (!symtab || !symtab->data)
		return refuse(m, "no symbol table", "sections");
	if (symtab->link >= m->elf->sec.n)
		return refuse(m, "the symbol table's string table does not exist", symtab->name);
	strtab = &m->elf->sec.v[symtab->link];
	if (strtab->type != SHT_STRTAB || !strtab->data || !strtab->size || strtab->data[strtab->size - 1])
		return refuse(m, "the symbol table's string table is not one", symtab->name);
	n = symtab->size / sizeof(Elf64_Sym);
	if (symtab->size % sizeof(Elf64_Sym) || n > MOD_MAX_SYMBOLS)
		return refuse(m, "the symbol table's size", symtab->name);
	for (size_t i = 0; i < n; i++) {
		Elf64_Sym es;
		int err;

		memcpy(&es, symtab->data + i * sizeof(es), sizeof(es));
		err = parse_symbol(m, &es, (const char *)strtab->data, strtab->size, i, total);
		if (err)
			return err;
	}
	*ret_symtab = symtab->index;
	return 0;
}

static int add_reloc(struct sut_module *m, struct mod_sec *to, const Elf64_Rela *er)
{
	struct sut_mod_priv *pr = m->priv;
	struct mod_reloc r = { .offset = er->r_offset, .addend = er->r_addend, .sym = ELF64_R_SYM(er->r_info) };
	uint32_t type = ELF64_R_TYPE(er->r_info);

	r.howto = pr->arch->reloc_howto(type);
	if (!r.howto)
		return sut_fail(pr->ctx, SUTURE_EREFUSED, "%s: unknown relocation type %u at %s+0x%llx", m->elf->name,
				type, to->name, (unsigned long long)r.offset);
	if (r.howto->kind == SUT_RELOC_NONE)
		return 0;
	if (r.sym >= pr->sym.n)
		return refuse(m, "a relocation's symbol does not exist", to->name);
	if (!to->src || !sut_fits(r.offset, r.howto->size, to->size))
		return refuse(m, "a relocation lies outside of its section", to->name);
	if (++pr->n_relocs > MOD_MAX_RELOCS)
		return refuse(m, "too many relocations", to->name);
	if (pr->sym.v[r.sym].kind == MOD_SYM_ELSEWHERE)
		return sut_fail(pr->ctx, SUTURE_EREFUSED,
				"%s: %s+0x%llx refers to %s, which lies in a section that is not loaded (%s)",
				m->elf->name, to->name, (unsigned long long)r.offset, sut_mod_symname(m, r.sym),
				sut_mod_secname(m, pr->sym.v[r.sym].sec));
	return sut_vec_push(&to->rel, r) ? sut_nomem(pr->ctx) : 0;
}

/** The section that a table of relocations is for: sh_info, else (late tables) the one of its name. */
static int rela_target(struct sut_module *m, const struct sut_section *s, uint32_t *ret)
{
	const char *name = s->name + strlen(SUTURE_RELA_PREFIX);
	char *end;
	unsigned long object;

	*ret = MOD_NONE;
	if (!starts(s->name, SUTURE_RELA_PREFIX)) {
		if (s->info >= m->elf->sec.n)
			return refuse(m, "relocations for a section that does not exist", s->name);
		*ret = s->info;
		return 0;
	}
	object = *name >= '0' && *name <= '9' ? strtoul(name, &end, 10) : SIZE_MAX;
	if (object == SIZE_MAX || *end != '.')
		return refuse(m, "late relocations without an object index in their name", s->name);
	if (object >= m->priv->env->n_objects)
		return refuse(m, "late relocations of an object that does not exist", s->name);
	name = end + 1;
	if (s->info) {
		if (s->info >= m->elf->sec.n || strcmp(m->elf->sec.v[s->info].name, name))
			return refuse(m, "late relocations for a section of another name", s->name);
		*ret = s->info;
		return 0;
	}
	for (uint32_t i = 1; i < m->elf->sec.n; i++)
		if (!strcmp(m->elf->sec.v[i].name, name)) {
			if (*ret != MOD_NONE)
				return refuse(m, "late relocations for one of several sections", s->name);
			*ret = i;
		}
	return *ret == MOD_NONE ? refuse(m, "late relocations for a section that does not exist", s->name) : 0;
}

static int reloc_cmp(const void *a, const void *b)
{
	const struct mod_reloc *x = a, *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	/* A descriptor's call has no field; any order is one, as long as it is the same each time. */
	if (x->howto->size != y->howto->size)
		return x->howto->size < y->howto->size ? -1 : 1;
	return x->sym < y->sym ? -1 : x->sym > y->sym;
}

static int sort_relocs(struct sut_module *m, struct mod_sec *s)
{
	if (s->rel.n)
		qsort(s->rel.v, s->rel.n, sizeof(s->rel.v[0]), reloc_cmp);
	for (size_t i = 1; i < s->rel.n; i++)
		if (s->rel.v[i].offset - s->rel.v[i - 1].offset < s->rel.v[i - 1].howto->size)
			return refuse(m, "two relocations of one place", s->name);
	return 0;
}

static int parse_relocs(struct sut_module *m, uint32_t symtab)
{
	for (size_t i = 1; i < m->elf->sec.n; i++) {
		const struct sut_section *s = &m->elf->sec.v[i];
		uint32_t target;
		int err;

		if (s->type == SHT_REL && s->info < m->priv->sec.n && m->priv->sec.v[s->info].part != MOD_SKIP)
			return refuse(m, "relocations without addends (REL)", s->name);
		if (s->type != SHT_RELA)
			continue;
		err = rela_target(m, s, &target);
		if (err)
			return err;
		if (m->priv->sec.v[target].part == MOD_SKIP)
			continue;
		if (s->link != symtab || s->size % sizeof(Elf64_Rela) || (s->size && !s->data))
			return refuse(m, "a table of relocations", s->name);
		for (size_t k = 0; k < s->size / sizeof(Elf64_Rela); k++) {
			Elf64_Rela er;

			memcpy(&er, s->data + k * sizeof(er), sizeof(er));
			err = add_reloc(m, &m->priv->sec.v[target], &er);
			if (err)
				return err;
		}
	}
	for (size_t i = 1; i < m->priv->sec.n; i++) {
		int err = sort_relocs(m, &m->priv->sec.v[i]);

		if (err)
			return err;
	}
	return 0;
}

size_t sut_mod_relocs_in(const struct mod_sec *s, uint64_t off, uint64_t len, size_t *ret_n)
{
	size_t lo = 0, hi = s->rel.n, first;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (s->rel.v[mid].offset < off)
			lo = mid + 1;
		else
			hi = mid;
	}
	first = lo;
	while (lo < s->rel.n && s->rel.v[lo].offset - off < len)
		lo++;
	*ret_n = lo - first;
	return first;
}

/**
 * C++ personalities and type descriptors are reached through words named DW.ref.X. A reference to such a word
 * becomes one to a GOT slot of ours that holds the address of X: each area has its own.
 */
static void find_dwrefs(struct sut_module *m)
{
	for (size_t i = 1; i < m->priv->sym.n; i++) {
		struct mod_sym *s = &m->priv->sym.v[i];
		const struct mod_sec *sec;
		size_t n, k;

		if (s->kind != MOD_SYM_DEFINED || !starts(s->name, "DW.ref."))
			continue;
		sec = &m->priv->sec.v[s->sec];
		k = sut_mod_relocs_in(sec, s->value, 8, &n);
		if (n == 1 && sec->rel.v[k].offset == s->value && sec->rel.v[k].addend == 0 &&
		    sec->rel.v[k].howto->kind == SUT_RELOC_ABS && sec->rel.v[k].howto->size == 8)
			s->dwref = sec->rel.v[k].sym;
	}
}

int sut_mod_parse(struct sut_module *m)
{
	const struct sut_elf *e = m->elf;
	uint64_t total = 0;
	uint32_t symtab = 0;
	int err;

	if (e->type != ET_REL)
		return sut_fail(m->priv->ctx, SUTURE_EREFUSED, "%s: not a relocatable object (e_type %u)", e->name,
				e->type);
	if (!e->is64 || !e->little || e->machine != m->priv->arch->e_machine)
		return sut_fail(m->priv->ctx, SUTURE_EREFUSED, "%s: made for another machine (e_machine %u) than %s",
				e->name, e->machine, m->priv->arch->name);
	err = parse_sections(m, &total);
	if (!err)
		err = parse_symbols(m, &total, &symtab);
	if (!err)
		err = parse_relocs(m, symtab);
	if (!err)
		find_dwrefs(m);
	return err;
}
