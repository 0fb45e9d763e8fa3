/* SPDX-License-Identifier: MIT */
/*
 * out.c - writes a patch file (suture/sutfile.h) through libelf.
 *
 * Sections and symbols come from emit.c. Here symbols get their order (locals first), relocations their
 * tables (late ones a table of their own for each target), and the file its digest, over all the rest,
 * last. The file appears under its name only when it is whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <sys/stat.h>
#include <time.h>

#include "diff/diff.h"

int sut_out_init(struct sut_out *o, struct sut_diff *d)
{
	static const struct sut_out_sec sec;
	static const struct sut_out_sym sym = { .name = "" };

	*o = (struct sut_out){ .d = d };
	if (sut_vec_push(&o->sec, sec) || sut_vec_push(&o->sym, sym) || sut_buf_add(&o->strtab, "", 1))
		return sut_nomem(d->ctx);
	return 0;
}

void sut_out_deinit(struct sut_out *o)
{
	for (size_t i = 0; i < o->sec.n; i++) {
		sut_buf_free(&o->sec.v[i].bytes);
		sut_vec_free(&o->sec.v[i].rela);
	}
	sut_vec_free(&o->sec);
	sut_vec_free(&o->sym);
	sut_vec_free(&o->func);
	sut_buf_free(&o->strtab);
	sut_buf_free(&o->objects);
	sut_buf_free(&o->ranges);
}

int sut_out_string(struct sut_out *o, const char *s, uint32_t *ret)
{
	size_t at = o->strtab.len;

	if (!*s) {
		*ret = 0;
		return 0;
	}
	if (sut_buf_add(&o->strtab, s, strlen(s) + 1))
		return sut_nomem(o->d->ctx);
	*ret = (uint32_t)at;
	return 0;
}

/* The file being written: what libelf keeps pointers to must live until the end. */
struct writer {
	struct sut_out *o;
	const char *path;
	Elf *elf;
	struct sut_buf shstr, str;
	SUT_VEC(struct sut_buf) kept;
	uint32_t symtab; /* section index */
	uint32_t *index; /* of each of our sections */
	bool failed;
};

static int broken(struct writer *w, const char *what)
{
	return sut_fail(w->o->d->ctx, SUTURE_EFAILED, "cannot write %s: %s: %s", w->path, what, elf_errmsg(-1));
}

/* A section with @bytes (kept by the writer). Index in *ret. */
static int add_section(struct writer *w, const GElf_Shdr *proto, const char *name, struct sut_buf *bytes, Elf_Type type,
		       uint32_t *ret)
{
	Elf_Scn *scn = elf_newscn(w->elf);
	Elf_Data *data = scn ? elf_newdata(scn) : NULL;
	GElf_Shdr sh;

	if (!data || !gelf_getshdr(scn, &sh))
		return broken(w, name);
	data->d_buf = bytes ? bytes->p : NULL;
	data->d_size = bytes ? bytes->len : proto->sh_size;
	data->d_type = type;
	data->d_align = proto->sh_addralign ? proto->sh_addralign : 1;
	data->d_version = EV_CURRENT;
	sh.sh_name = (GElf_Word)w->shstr.len;
	sh.sh_type = proto->sh_type;
	sh.sh_flags = proto->sh_flags;
	sh.sh_link = proto->sh_link;
	sh.sh_info = proto->sh_info;
	sh.sh_entsize = proto->sh_entsize;
	sh.sh_addralign = data->d_align;
	if (!gelf_update_shdr(scn, &sh))
		return broken(w, name);
	if (sut_buf_add(&w->shstr, name, strlen(name) + 1))
		return sut_nomem(w->o->d->ctx);
	*ret = (uint32_t)elf_ndxscn(scn);
	return 0;
}

static int keep(struct writer *w, struct sut_buf b)
{
	if (!sut_vec_push(&w->kept, b))
		return 0;
	sut_buf_free(&b);
	return sut_nomem(w->o->d->ctx);
}

static int add_contents(struct writer *w)
{
	for (size_t i = 1; i < w->o->sec.n; i++) {
		struct sut_out_sec *s = &w->o->sec.v[i];
		GElf_Shdr sh = { .sh_type = s->type,
				 .sh_flags = s->flags,
				 .sh_addralign = s->align,
				 .sh_entsize = s->entsize,
				 .sh_size = s->size };
		int err = add_section(w, &sh, s->name, s->type == SHT_NOBITS ? NULL : &s->bytes, ELF_T_BYTE,
				      &w->index[i]);

		if (err)
			return err;
	}
	return 0;
}

/* Locals first; within both, the order of making. */
static void order_symbols(struct sut_out *o, uint32_t *ret_first_global)
{
	uint32_t n = 1;

	for (size_t i = 1; i < o->sym.n; i++)
		if (o->sym.v[i].bind == STB_LOCAL)
			o->sym.v[i].final = n++;
	*ret_first_global = n;
	for (size_t i = 1; i < o->sym.n; i++)
		if (o->sym.v[i].bind != STB_LOCAL)
			o->sym.v[i].final = n++;
}

static int add_symbols(struct writer *w)
{
	struct sut_out *o = w->o;
	struct sut_buf tab = { 0 };
	GElf_Shdr sh = { .sh_type = SHT_SYMTAB, .sh_addralign = 8, .sh_entsize = sizeof(Elf64_Sym) };
	uint32_t first_global, strtab;
	Elf64_Sym *es;
	int err;

	order_symbols(o, &first_global);
	es = calloc(o->sym.n, sizeof(*es));
	if (!es || sut_buf_add(&w->str, "", 1)) {
		free(es);
		return sut_nomem(o->d->ctx);
	}
	for (size_t i = 1; i < o->sym.n; i++) {
		const struct sut_out_sym *s = &o->sym.v[i];
		Elf64_Sym *e = &es[s->final];

		e->st_name = *s->name ? (Elf64_Word)w->str.len : 0;
		if (*s->name && sut_buf_add(&w->str, s->name, strlen(s->name) + 1)) {
			free(es);
			return sut_nomem(o->d->ctx);
		}
		e->st_value = s->value;
		e->st_size = s->size;
		e->st_info = ELF64_ST_INFO(s->bind, s->type);
		e->st_shndx = (Elf64_Half)(s->shndx == SHN_UNDEF || s->shndx >= SHN_LORESERVE ? s->shndx
											      : w->index[s->shndx]);
	}
	err = sut_buf_add(&tab, es, o->sym.n * sizeof(*es));
	free(es);
	if (err)
		return sut_nomem(o->d->ctx);
	err = keep(w, tab);
	sh.sh_info = first_global;
	if (!err)
		err = add_section(w, &sh, ".symtab", &w->kept.v[w->kept.n - 1], ELF_T_SYM, &w->symtab);
	if (!err) {
		GElf_Shdr str = { .sh_type = SHT_STRTAB, .sh_addralign = 1 };

		err = add_section(w, &str, ".strtab", &w->str, ELF_T_BYTE, &strtab);
	}
	if (!err) {
		Elf_Scn *scn = elf_getscn(w->elf, w->symtab);
		GElf_Shdr s;

		if (!scn || !gelf_getshdr(scn, &s))
			return broken(w, ".symtab");
		s.sh_link = strtab;
		if (!gelf_update_shdr(scn, &s))
			return broken(w, ".symtab");
	}
	return err;
}

/* One table of relocations: those of section @i against late symbols of @t, or (NULL) the ordinary ones. */
static int add_relocs(struct writer *w, size_t i, const struct sut_target *t)
{
	const struct sut_out_sec *s = &w->o->sec.v[i];
	GElf_Shdr sh = { .sh_type = SHT_RELA,
			 .sh_flags = SHF_INFO_LINK,
			 .sh_addralign = 8,
			 .sh_entsize = sizeof(Elf64_Rela),
			 .sh_link = w->symtab,
			 .sh_info = w->index[i] };
	struct sut_buf tab = { 0 };
	uint32_t index;
	char *name;
	int err;

	for (size_t k = 0; k < s->rela.n; k++) {
		const struct sut_out_rela *r = &s->rela.v[k];
		Elf64_Rela er;

		if (r->late != t)
			continue;
		er.r_offset = r->off;
		er.r_info = ELF64_R_INFO((Elf64_Xword)w->o->sym.v[r->sym].final, r->type);
		er.r_addend = r->addend;
		if (sut_buf_add(&tab, &er, sizeof(er))) {
			sut_buf_free(&tab);
			return sut_nomem(w->o->d->ctx);
		}
	}
	if (!tab.len)
		return 0;
	err = keep(w, tab);
	if (err)
		return err;
	name = t ? sut_pool_printf(&w->o->d->pool, "%s%u.%s", SUTURE_RELA_PREFIX, t->index, s->name)
		 : sut_pool_printf(&w->o->d->pool, ".rela%s", s->name);
	if (!name)
		return sut_nomem(w->o->d->ctx);
	return add_section(w, &sh, name, &w->kept.v[w->kept.n - 1], ELF_T_RELA, &index);
}

static int add_all_relocs(struct writer *w)
{
	int err = 0;

	for (size_t i = 1; !err && i < w->o->sec.n; i++) {
		err = add_relocs(w, i, NULL);
		for (size_t t = 0; !err && t < w->o->d->target.n; t++)
			err = add_relocs(w, i, &w->o->d->target.v[t]);
	}
	return err;
}

static int add_info(struct writer *w, const char *name)
{
	const char *epoch = getenv("SOURCE_DATE_EPOCH");
	const struct sut_diff *d = w->o->d;
	GElf_Shdr sh = { .sh_type = SHT_PROGBITS, .sh_addralign = 1 };
	struct sut_buf b = { 0 };
	char line[256];
	uint32_t index;
	int err = 0;

	for (int i = 0; !err && i < 5; i++) {
		int n = 0;

		switch (i) {
		case 0:
			n = snprintf(line, sizeof(line), "name=%s", name);
			break;
		case 1:
			n = snprintf(line, sizeof(line), "version=1");
			break;
		case 2:
			n = snprintf(line, sizeof(line), "format=%s", SUTURE_FORMAT);
			break;
		case 3:
			n = snprintf(line, sizeof(line), "tool=suture %s",
				     d->opts->tool_version ? d->opts->tool_version : "");
			break;
		case 4:
			n = snprintf(line, sizeof(line), "created=%lld",
				     epoch ? strtoll(epoch, NULL, 10) : (long long)time(NULL));
			break;
		}
		if (n >= (int)sizeof(line))
			n = sizeof(line) - 1;
		err = sut_buf_add(&b, line, (size_t)n + 1);
	}
	if (err) {
		sut_buf_free(&b);
		return sut_nomem(d->ctx);
	}
	err = keep(w, b);
	return err ? err : add_section(w, &sh, SUTURE_SEC_INFO, &w->kept.v[w->kept.n - 1], ELF_T_BYTE, &index);
}

static int add_tables(struct writer *w, const char *name)
{
	static uint8_t zeros[SUT_DIGEST_SIZE];
	struct sut_buf digest = { .p = zeros, .len = sizeof(zeros) }, funcs = { 0 };
	GElf_Shdr sh = { .sh_type = SHT_PROGBITS, .sh_addralign = 1 }, sh8 = sh;
	uint32_t index;
	int err = add_info(w, name);

	sh8.sh_addralign = 8;
	for (size_t i = 0; !err && i < w->o->func.n; i++) {
		struct suture_file_func f = w->o->func.v[i];

		f.new_symbol = w->o->sym.v[f.new_symbol].final;
		if (sut_buf_add(&funcs, &f, sizeof(f))) {
			sut_buf_free(&funcs);
			return sut_nomem(w->o->d->ctx);
		}
	}
	if (!err)
		err = keep(w, funcs);
	if (!err)
		err = add_section(w, &sh8, SUTURE_SEC_FUNCS, &w->kept.v[w->kept.n - 1], ELF_T_BYTE, &index);
	if (!err)
		err = add_section(w, &sh, SUTURE_SEC_STRTAB, &w->o->strtab, ELF_T_BYTE, &index);
	if (!err)
		err = add_section(w, &sh8, SUTURE_SEC_OBJECTS, &w->o->objects, ELF_T_BYTE, &index);
	if (!err && w->o->ranges.len)
		err = add_section(w, &sh8, SUTURE_SEC_RANGES, &w->o->ranges, ELF_T_BYTE, &index);
	if (!err) /* libelf copies it out in elf_update(), before this returns to the caller */
		err = add_section(w, &sh, SUTURE_SEC_DIGEST, &digest, ELF_T_BYTE, &index);
	return err;
}

static int build(struct writer *w, const char *name)
{
	GElf_Shdr sh = { .sh_type = SHT_STRTAB, .sh_addralign = 1 };
	GElf_Ehdr eh;
	uint32_t shstr;
	int err;

	if (!gelf_newehdr(w->elf, ELFCLASS64) || !gelf_getehdr(w->elf, &eh))
		return broken(w, "header");
	eh.e_ident[EI_DATA] = ELFDATA2LSB;
	eh.e_type = ET_REL;
	eh.e_machine = w->o->d->arch->e_machine;
	eh.e_version = EV_CURRENT;
	if (!gelf_update_ehdr(w->elf, &eh))
		return broken(w, "header");
	if (sut_buf_add(&w->shstr, "", 1))
		return sut_nomem(w->o->d->ctx);
	err = add_contents(w);
	if (!err)
		err = add_symbols(w);
	if (!err)
		err = add_all_relocs(w);
	if (!err)
		err = add_tables(w, name);
	if (!err)
		err = add_section(w, &sh, ".shstrtab", &w->shstr, ELF_T_BYTE, &shstr);
	if (err)
		return err;
	/* The names' section has grown by its own name after its data were set. */
	Elf_Data *data = elf_getdata(elf_getscn(w->elf, shstr), NULL);

	if (!data || !gelf_getehdr(w->elf, &eh))
		return broken(w, ".shstrtab");
	data->d_buf = w->shstr.p;
	data->d_size = w->shstr.len;
	eh.e_shstrndx = (GElf_Half)shstr;
	if (!gelf_update_ehdr(w->elf, &eh) || elf_update(w->elf, ELF_C_WRITE) < 0)
		return broken(w, "update");
	return 0;
}

/* The digest of the file as it stands, written into its place. */
static int write_digest(struct writer *w, int fd)
{
	struct suture_ctx *ctx = w->o->d->ctx;
	uint8_t digest[SUT_DIGEST_SIZE];
	const struct sut_section *s;
	struct sut_elf *e;
	int err = sut_elf_open(ctx, w->path, &e);

	if (err)
		return err;
	s = sut_elf_section(e, SUTURE_SEC_DIGEST);
	if (s && s->size == SUT_DIGEST_SIZE)
		sut_digest(e->image, e->image_size, digest);
	if (!s || s->size != SUT_DIGEST_SIZE || pwrite(fd, digest, sizeof(digest), (off_t)s->offset) != sizeof(digest))
		err = sut_fail(ctx, errno ? errno : SUTURE_EBUG, "cannot write the digest of %s: %s", w->path,
			       strerror(errno));
	sut_elf_close(e);
	return err;
}

int sut_out_write(struct sut_out *o, const char *path, const char *name)
{
	struct suture_ctx *ctx = o->d->ctx;
	char *tmp = sut_pool_printf(&o->d->pool, "%s.%d.tmp", path, (int)getpid());
	struct writer w = { .o = o, .path = tmp };
	_cleanup_close_ int fd = -1;
	int err;

	w.index = sut_pool_alloc(&o->d->pool, o->sec.n * sizeof(*w.index));
	if (!tmp || !w.index ||
	    sut_vec_reserve_((void **)&w.kept.v, &w.kept.cap, o->sec.n * (o->d->target.n + 2) + 16, sizeof(*w.kept.v)))
		return sut_nomem(ctx);
	elf_version(EV_CURRENT);
	fd = open(tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0) {
		err = sut_fail(ctx, errno, "cannot create %s: %s", tmp, strerror(errno));
		goto out;
	}
	w.elf = elf_begin(fd, ELF_C_WRITE, NULL);
	err = w.elf ? build(&w, name) : broken(&w, "begin");
	if (w.elf)
		elf_end(w.elf);
	if (!err)
		err = write_digest(&w, fd);
	if (!err && fsync(fd))
		err = sut_fail(ctx, errno, "cannot write %s: %s", tmp, strerror(errno));
	if (!err && rename(tmp, path))
		err = sut_fail(ctx, errno, "cannot rename %s to %s: %s", tmp, path, strerror(errno));
	if (err)
		(void)unlink(tmp);
out:
	for (size_t i = 0; i < w.kept.n; i++)
		sut_buf_free(&w.kept.v[i]);
	sut_vec_free(&w.kept);
	sut_buf_free(&w.shstr);
	sut_buf_free(&w.str);
	return err;
}
