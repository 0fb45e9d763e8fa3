/* SPDX-License-Identifier: MIT */
/*
 * mksut.c - makes patch files for tests (mksut.h).
 *
 * Independent of src/diff on purpose: what the loader and the patch room accept is tested against the format as
 * suture/sutfile.h describes it, not against what the builder happens to write. Uses the ELF
 * room to read, writes the output itself.
 */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <suture/sutfile.h>

#include "elf/elf.h"
#include "lib/mksut.h"
#include "util/util.h"

/* The output: sections with their bytes, symbols, names. */
struct out_section {
	Elf64_Shdr h;
	struct sut_buf data;
	char *name;
};
struct out {
	SUT_VEC(struct out_section) sec;
	struct sut_buf sym, symstr;
};

static int fail(const char *what, const char *detail)
{
	fprintf(stderr, "mksut: %s: %s\n", what, detail);
	return -1;
}

static uint32_t add_string(struct sut_buf *b, const char *s)
{
	uint32_t at;

	if (!b->len && sut_buf_add(b, "", 1))
		abort();
	if (!*s)
		return 0;
	at = (uint32_t)b->len;
	if (sut_buf_add(b, s, strlen(s) + 1))
		abort();
	return at;
}

static struct out_section *add_section(struct out *o, const char *name, uint32_t type, const void *data, size_t len)
{
	struct out_section s = { .h = { .sh_type = type, .sh_addralign = 8 }, .name = strdup(name) };

	if (len && sut_buf_add(&s.data, data, len))
		abort();
	if (sut_vec_push(&o->sec, s))
		abort();
	return &o->sec.v[o->sec.n - 1];
}

/* A symbol of a target's .symtab by name; counts how often the name is there. */
static int find_target_symbol(const struct sut_elf *e, const char *name, Elf64_Sym *ret)
{
	int n = 0;

	for (size_t i = 1; i < e->sec.n; i++) {
		const struct sut_section *s = &e->sec.v[i];

		if (s->type != SHT_SYMTAB || !s->data)
			continue;
		for (size_t k = 0; k < s->size / sizeof(Elf64_Sym); k++) {
			const struct sut_section *str = &e->sec.v[s->link];
			Elf64_Sym sym;

			memcpy(&sym, s->data + k * sizeof(sym), sizeof(sym));
			if (sym.st_shndx == SHN_UNDEF || sym.st_shndx >= SHN_LORESERVE ||
			    strcmp((const char *)str->data + sym.st_name, name))
				continue;
			*ret = sym;
			n++;
		}
	}
	return n;
}

/* Copies the object file: sections 1:1 by index, symbols 1:1 by index; undefined ones of the target become late. */
static int copy_object(const struct mksut *m, const struct sut_elf *obj, struct sut_elf *const *target, struct out *o,
		       uint32_t *ret_symtab, uint32_t **ret_late)
{
	uint32_t symtab = 0, *late = NULL;
	size_t n_sym = 0;

	add_section(o, "", SHT_NULL, NULL, 0)->h.sh_addralign = 0;
	for (size_t i = 1; i < obj->sec.n; i++) {
		const struct sut_section *s = &obj->sec.v[i];
		struct out_section *os = add_section(o, s->name, s->type, s->data, s->data ? s->size : 0);

		os->h.sh_flags = s->flags;
		os->h.sh_size = s->size;
		os->h.sh_link = s->link;
		os->h.sh_info = s->info;
		os->h.sh_entsize = s->entsize;
		os->h.sh_addralign = s->align;
		if (s->type == SHT_SYMTAB)
			symtab = (uint32_t)i;
	}
	if (!symtab)
		return fail(m->object_file, "no symbol table");
	n_sym = obj->sec.v[symtab].size / sizeof(Elf64_Sym);
	late = calloc(n_sym, sizeof(*late));
	for (size_t i = 0; i < n_sym; i++) {
		const struct sut_section *str = &obj->sec.v[obj->sec.v[symtab].link];
		const char *name;
		Elf64_Sym sym;

		memcpy(&sym, obj->sec.v[symtab].data + i * sizeof(sym), sizeof(sym));
		name = (const char *)str->data + sym.st_name;
		for (size_t t = 0; i && sym.st_shndx == SHN_UNDEF && t < m->n_targets; t++) {
			struct sut_dynsym dyn;
			char text[256];
			Elf64_Sym old;

			if (sut_elf_dynsym(target[t], name, NULL, &dyn) ||
			    find_target_symbol(target[t], name, &old) != 1)
				continue;
			snprintf(text, sizeof(text), "%s%zu.%s,0", SUTURE_SYM_PREFIX, t, name);
			sym.st_name = add_string(&o->symstr, text);
			sym.st_shndx = SUTURE_SHN_LIVEPATCH;
			sym.st_value = old.st_value;
			sym.st_size = old.st_size;
			sym.st_info = ELF64_ST_INFO(STB_GLOBAL, ELF64_ST_TYPE(old.st_info));
			late[i] = (uint32_t)t + 1;
			name = NULL;
			break;
		}
		if (name)
			sym.st_name = add_string(&o->symstr, name);
		if (sut_buf_add(&o->sym, &sym, sizeof(sym)))
			abort();
	}
	*ret_symtab = symtab;
	*ret_late = late;
	return 0;
}

/* Moves relocations against late symbols to sections of their own. */
static void split_relocations(struct out *o, size_t n_sections, uint32_t symtab, const uint32_t *late, size_t n_targets)
{
	for (size_t i = 1; i < n_sections; i++) {
		struct sut_buf old = o->sec.v[i].data, keep = { 0 };

		if (o->sec.v[i].h.sh_type != SHT_RELA)
			continue;
		for (size_t t = 0; t < n_targets; t++) {
			struct sut_buf moved = { 0 };
			struct out_section *s;
			char name[300];

			for (size_t at = 0; at < old.len; at += sizeof(Elf64_Rela)) {
				Elf64_Rela r;

				memcpy(&r, old.p + at, sizeof(r));
				if (late[ELF64_R_SYM(r.r_info)] == t + 1 && sut_buf_add(&moved, &r, sizeof(r)))
					abort();
				if (!t && !late[ELF64_R_SYM(r.r_info)] && sut_buf_add(&keep, &r, sizeof(r)))
					abort();
			}
			if (!moved.len)
				continue;
			snprintf(name, sizeof(name), "%s%zu.%s", SUTURE_RELA_PREFIX, t,
				 o->sec.v[o->sec.v[i].h.sh_info].name);
			s = add_section(o, name, SHT_RELA, moved.p, moved.len);
			s->h.sh_link = symtab;
			s->h.sh_info = o->sec.v[i].h.sh_info;
			s->h.sh_entsize = sizeof(Elf64_Rela);
			s->h.sh_size = moved.len;
			sut_buf_free(&moved);
		}
		o->sec.v[i].data = keep;
		o->sec.v[i].h.sh_size = keep.len;
		sut_buf_free(&old);
	}
}

static void code_digest(const struct sut_elf *e, uint64_t addr, uint64_t size, uint8_t ret[SUT_DIGEST_SIZE])
{
	const uint8_t *p = sut_elf_bytes(e, addr, size);

	if (!p)
		abort();
	sut_digest(p, size, ret); /* test targets have no relocations in their text */
}

static int add_tables(const struct mksut *m, struct sut_elf *const *target, struct out *o)
{
	struct sut_buf strtab = { 0 }, objects = { 0 }, funcs = { 0 }, ranges = { 0 }, info = { 0 };
	size_t n_sym = o->sym.len / sizeof(Elf64_Sym);
	char text[128];
	uint32_t n_ranges = 0;

	add_string(&strtab, "");
	for (size_t t = 0; t < m->n_targets; t++) {
		struct suture_file_object f = { .name = add_string(&strtab, m->sonames[t]) };

		if (!m->no_build_id) {
			f.build_id_len = (uint32_t)target[t]->build_id_len;
			memcpy(f.build_id, target[t]->build_id, target[t]->build_id_len);
		}
		if (sut_elf_content_digest(target[t], f.content) || sut_buf_add(&objects, &f, sizeof(f)))
			abort();
	}
	for (size_t i = 0; i < m->n_funcs; i++) {
		struct suture_file_func f = { .object = m->funcs[i].object };
		const struct sut_elf *e = target[f.object];
		char cold[256];
		Elf64_Sym sym;

		if (find_target_symbol(e, m->funcs[i].old, &sym) != 1)
			return fail(m->funcs[i].old, "not exactly once in the target");
		f.old_name = add_string(&strtab, m->funcs[i].old);
		f.old_addr = sym.st_value;
		f.old_size = sym.st_size;
		code_digest(e, f.old_addr, f.old_size, f.old_digest);
		f.first_range = n_ranges;
		snprintf(cold, sizeof(cold), "%s.cold", m->funcs[i].old);
		if (find_target_symbol(e, cold, &sym) == 1) {
			struct suture_file_range r = { sym.st_value, sym.st_size };

			if (sut_buf_add(&ranges, &r, sizeof(r)))
				abort();
			n_ranges++;
		}
		f.n_ranges = n_ranges - f.first_range;
		for (size_t k = 1; k < n_sym; k++) {
			Elf64_Sym s;

			memcpy(&s, o->sym.p + k * sizeof(s), sizeof(s));
			if (s.st_shndx != SHN_UNDEF && ELF64_ST_TYPE(s.st_info) == STT_FUNC &&
			    !strcmp((char *)o->symstr.p + s.st_name, m->funcs[i].new))
				f.new_symbol = (uint32_t)k;
		}
		if (!f.new_symbol)
			return fail(m->funcs[i].new, "not in the object file");
		if (sut_buf_add(&funcs, &f, sizeof(f)))
			abort();
	}
	snprintf(text, sizeof(text), "name=%s%cversion=1%cformat=%s%ctool=mksut%c", m->name, 0, 0, SUTURE_FORMAT, 0, 0);
	if (sut_buf_add(&info, text, strlen(m->name) + 6 + 10 + strlen(SUTURE_FORMAT) + 8 + 11))
		abort();
	add_section(o, SUTURE_SEC_INFO, SHT_PROGBITS, info.p, info.len);
	add_section(o, SUTURE_SEC_STRTAB, SHT_PROGBITS, strtab.p, strtab.len);
	add_section(o, SUTURE_SEC_OBJECTS, SHT_PROGBITS, objects.p, objects.len);
	add_section(o, SUTURE_SEC_FUNCS, SHT_PROGBITS, funcs.p, funcs.len);
	if (ranges.len)
		add_section(o, SUTURE_SEC_RANGES, SHT_PROGBITS, ranges.p, ranges.len);
	add_section(o, SUTURE_SEC_DIGEST, SHT_PROGBITS, (uint8_t[SUT_DIGEST_SIZE]){ 0 }, SUT_DIGEST_SIZE);
	sut_buf_free(&strtab);
	sut_buf_free(&objects);
	sut_buf_free(&funcs);
	sut_buf_free(&ranges);
	sut_buf_free(&info);
	return 0;
}

/* ELF header, section bytes, section headers. */
static void assemble(struct out *o, uint16_t machine, struct sut_buf *ret)
{
	Elf64_Ehdr eh = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_REL,
		.e_machine = machine,
		.e_version = EV_CURRENT,
		.e_ehsize = sizeof(eh),
		.e_shentsize = sizeof(Elf64_Shdr),
	};
	struct sut_buf shstr = { 0 };
	struct out_section *s;

	add_section(o, ".suture_shstrtab", SHT_STRTAB, NULL, 0);
	for (size_t i = 0; i < o->sec.n; i++)
		o->sec.v[i].h.sh_name = add_string(&shstr, o->sec.v[i].name);
	s = &o->sec.v[o->sec.n - 1];
	s->data = shstr;
	if (sut_buf_add(ret, &eh, sizeof(eh)))
		abort();
	for (size_t i = 1; i < o->sec.n; i++) {
		s = &o->sec.v[i];
		if (sut_buf_align(ret, s->h.sh_addralign ? s->h.sh_addralign : 1))
			abort();
		s->h.sh_offset = ret->len;
		if (s->h.sh_type != SHT_NOBITS) {
			s->h.sh_size = s->data.len;
			if (s->data.len && sut_buf_add(ret, s->data.p, s->data.len))
				abort();
		}
	}
	if (sut_buf_align(ret, 8))
		abort();
	eh.e_shoff = ret->len;
	eh.e_shnum = (uint16_t)o->sec.n;
	eh.e_shstrndx = (uint16_t)(o->sec.n - 1);
	memcpy(ret->p, &eh, sizeof(eh));
	for (size_t i = 0; i < o->sec.n; i++)
		if (sut_buf_add(ret, &o->sec.v[i].h, sizeof(o->sec.v[i].h)))
			abort();
}

int mksut_fix_digest(uint8_t *image, size_t len)
{
	const Elf64_Ehdr *eh = (const void *)image;
	const Elf64_Shdr *sh, *str;

	if (len < sizeof(*eh) || !sut_fits(eh->e_shoff, (uint64_t)eh->e_shnum * sizeof(*sh), len) || eh->e_shoff % 8 ||
	    eh->e_shstrndx >= eh->e_shnum)
		return -1;
	sh = (const void *)(image + eh->e_shoff);
	str = &sh[eh->e_shstrndx];
	for (size_t i = 1; i < eh->e_shnum; i++) {
		size_t n = strlen(SUTURE_SEC_DIGEST) + 1;

		if (!sut_fits(str->sh_offset, str->sh_size, len) || !sut_fits(sh[i].sh_name, n, str->sh_size) ||
		    memcmp(image + str->sh_offset + sh[i].sh_name, SUTURE_SEC_DIGEST, n) ||
		    !sut_fits(sh[i].sh_offset, SUT_DIGEST_SIZE, len))
			continue;
		memset(image + sh[i].sh_offset, 0, SUT_DIGEST_SIZE);
		sut_digest(image, len, image + sh[i].sh_offset);
		return 0;
	}
	return -1;
}

static void free_out(struct out *o)
{
	for (size_t i = 0; i < o->sec.n; i++) {
		free(o->sec.v[i].name);
		sut_buf_free(&o->sec.v[i].data);
	}
	sut_vec_free(&o->sec);
	sut_buf_free(&o->sym);
	sut_buf_free(&o->symstr);
}

int mksut_make(const struct mksut *m, uint8_t **ret, size_t *ret_len)
{
	struct sut_elf *obj = NULL, *target[8] = { 0 };
	struct suture_ctx *ctx = NULL;
	struct sut_buf image = { 0 };
	struct out o = { 0 };
	uint32_t symtab, *late = NULL;
	int err;

	if (m->n_targets > SUT_ARRAY_SIZE(target) || suture_ctx_create(NULL, &ctx))
		abort();
	err = sut_elf_open(ctx, m->object_file, &obj);
	for (size_t t = 0; t < m->n_targets && !err; t++)
		err = sut_elf_open(ctx, m->targets[t], &target[t]);
	if (err)
		err = fail("cannot read", suture_ctx_error(ctx)->message);
	if (!err)
		err = copy_object(m, obj, target, &o, &symtab, &late);
	if (!err) {
		split_relocations(&o, obj->sec.n, symtab, late, m->n_targets);
		err = add_tables(m, target, &o);
	}
	if (!err) {
		struct out_section *s = &o.sec.v[symtab];

		sut_buf_free(&s->data);
		sut_buf_free(&o.sec.v[s->h.sh_link].data);
		s->data = o.sym;
		o.sec.v[s->h.sh_link].data = o.symstr;
		memset(&o.sym, 0, sizeof(o.sym));
		memset(&o.symstr, 0, sizeof(o.symstr));
		assemble(&o, obj->machine, &image);
		err = mksut_fix_digest(image.p, image.len);
		*ret = image.p;
		*ret_len = image.len;
	}
	free(late);
	free_out(&o);
	for (size_t t = 0; t < m->n_targets; t++)
		sut_elf_close(target[t]);
	sut_elf_close(obj);
	suture_ctx_destroy(ctx);
	return err;
}

int mksut_write(const struct mksut *m, const char *path)
{
	uint8_t *image;
	size_t len;
	FILE *f;
	int err = mksut_make(m, &image, &len);

	if (err)
		return err;
	f = fopen(path, "we");
	if (!f || fwrite(image, 1, len, f) != len || fclose(f))
		err = fail(path, "cannot write");
	free(image);
	return err;
}
