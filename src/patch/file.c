/* SPDX-License-Identifier: MIT */
/*
 * file.c - reads a patch file (suture/sutfile.h) into struct suture_patch.
 *
 * The file is hostile until proved otherwise: it is read whole into memory of ours (so that it can not change
 * meanwhile), the digest over all of it comes first, then every count, offset, index and name is
 * checked before it is used. Invariant of the result: whatever plan.c takes from it lies inside the image.
 * Must not look at any process.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "patch/internal.h"

#define PATCH_FILE_MAX (256u << 20)
#define OBJECTS_MAX    SUT_RECORD_AREAS
#define FUNCS_MAX      16384

/* Where the reading stands. */
struct reader {
	struct suture_ctx *ctx;
	struct suture_patch *patch;
	const char *path;
	const char *strtab;
	size_t strtab_size;
	const struct sut_section *symtab;
	const char *symstr;
	size_t symstr_size;
};

static int damaged(const struct reader *r, const char *fmt, ...) sut_printf(2, 3);
static int damaged(const struct reader *r, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)sut_fail(r->ctx, SUTURE_EREFUSED, "%s: damaged patch file: %s", r->path, text);
	return sut_hint(r->ctx, "build it again, or copy it again; suture inspect %s shows what is in it", r->path);
}

/* The one section of a name: two would let two readers see two different patches. */
static int find_section(const struct reader *r, const char *name, bool must, const struct sut_section **ret)
{
	const struct sut_elf *e = r->patch->elf;
	const struct sut_section *found = NULL;

	for (size_t i = 1; i < e->sec.n; i++) {
		if (!e->sec.v[i].name || strcmp(e->sec.v[i].name, name))
			continue;
		if (found)
			return damaged(r, "two sections are called %s", name);
		found = &e->sec.v[i];
	}
	if (!found && must)
		return damaged(r, "it has no section %s", name);
	if (found && found->size && !found->data)
		return damaged(r, "section %s holds no bytes", name);
	*ret = found;
	return 0;
}

static int check_digest(const struct reader *r)
{
	struct sut_elf *e = r->patch->elf;
	uint8_t digest[SUT_DIGEST_SIZE];
	const struct sut_section *s;
	uint8_t *copy;
	int err;

	err = find_section(r, SUTURE_SEC_DIGEST, false, &s);
	if (err)
		return err;
	if (!s) {
		(void)sut_fail(r->ctx, SUTURE_EREFUSED, "%s: not a patch file: it has no section %s", r->path,
			       SUTURE_SEC_DIGEST);
		return sut_hint(r->ctx, "patch files are made by: suture build");
	}
	if (s->size != SUT_DIGEST_SIZE || !sut_fits(s->offset, SUT_DIGEST_SIZE, e->image_size))
		return damaged(r, "section %s is not %d bytes long", SUTURE_SEC_DIGEST, SUT_DIGEST_SIZE);
	copy = malloc(e->image_size);
	if (!copy)
		return sut_nomem(r->ctx);
	memcpy(copy, e->image, e->image_size);
	memset(copy + s->offset, 0, SUT_DIGEST_SIZE);
	sut_digest(copy, e->image_size, digest);
	free(copy);
	if (memcmp(digest, e->image + s->offset, SUT_DIGEST_SIZE))
		return damaged(r, "its digest does not match its bytes");
	memcpy(r->patch->digest, digest, SUT_DIGEST_SIZE);
	return 0;
}

static bool good_name(const char *name)
{
	size_t len = strlen(name);

	return len && len <= SUTURE_NAME_MAX && name[0] != '-' && name[0] != '.' &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-") == len;
}

static int read_info(const struct reader *r)
{
	const char *name = NULL, *format = NULL;
	const struct sut_section *s;
	const char *p, *end;
	int err = find_section(r, SUTURE_SEC_INFO, true, &s);

	if (err)
		return err;
	if (!s->size || s->data[s->size - 1])
		return damaged(r, "%s does not end in a NUL", SUTURE_SEC_INFO);
	end = (const char *)s->data + s->size;
	for (p = (const char *)s->data; p < end; p += strlen(p) + 1) {
		if (!strncmp(p, "name=", 5))
			name = p + 5;
		else if (!strncmp(p, "format=", 7))
			format = p + 7;
	}
	if (!format || strcmp(format, SUTURE_FORMAT)) {
		(void)sut_fail(r->ctx, SUTURE_EREFUSED, "%s: patch format %.32s, but this tool reads format %s",
			       r->path, format ? format : "(none)", SUTURE_FORMAT);
		return sut_hint(r->ctx, "build the patch with the suture that applies it");
	}
	if (!name || !good_name(name))
		return damaged(
			r, "the patch's name is missing, longer than %d characters or has others than A-Za-z0-9._+-",
			SUTURE_NAME_MAX);
	memcpy(r->patch->name, name, strlen(name) + 1);
	return 0;
}

static int read_strtab(struct reader *r)
{
	const struct sut_section *s;
	int err = find_section(r, SUTURE_SEC_STRTAB, true, &s);

	if (err)
		return err;
	if (!s->size || s->data[0] || s->data[s->size - 1])
		return damaged(r, "%s does not begin and end with a NUL", SUTURE_SEC_STRTAB);
	r->strtab = (const char *)s->data;
	r->strtab_size = s->size;
	return 0;
}

/* The symbol table of the object file, of which there must be one. */
static int find_symtab(struct reader *r)
{
	const struct sut_elf *e = r->patch->elf;
	const struct sut_section *str;

	for (size_t i = 1; i < e->sec.n; i++) {
		if (e->sec.v[i].type != SHT_SYMTAB)
			continue;
		if (r->symtab)
			return damaged(r, "it has two symbol tables");
		r->symtab = &e->sec.v[i];
	}
	if (!r->symtab || !r->symtab->data || r->symtab->entsize != sizeof(Elf64_Sym) || r->symtab->link >= e->sec.n)
		return damaged(r, "it has no usable symbol table");
	str = &e->sec.v[r->symtab->link];
	if (!str->data || !str->size || str->data[str->size - 1])
		return damaged(r, "the symbol table's names do not end in a NUL");
	r->symstr = (const char *)str->data;
	r->symstr_size = str->size;
	return 0;
}

static int read_objects(const struct reader *r)
{
	const struct sut_section *s;
	int err = find_section(r, SUTURE_SEC_OBJECTS, true, &s);

	if (err)
		return err;
	if (!s->size || s->size % sizeof(struct suture_file_object))
		return damaged(r, "%s has an impossible size", SUTURE_SEC_OBJECTS);
	if (s->size / sizeof(struct suture_file_object) > OBJECTS_MAX)
		return damaged(r, "it is for more than %d objects", OBJECTS_MAX);
	for (size_t off = 0; off < s->size; off += sizeof(struct suture_file_object)) {
		struct sut_patch_object o = { 0 };
		struct suture_file_object f;

		memcpy(&f, s->data + off, sizeof(f));
		if (f.name >= r->strtab_size || f.build_id_len > sizeof(f.build_id))
			return damaged(r, "object %zu has an impossible name or build-id", off / sizeof(f));
		o.name = r->strtab + f.name;
		o.build_id_len = f.build_id_len;
		memcpy(o.build_id, f.build_id, f.build_id_len);
		memcpy(o.content, f.content, sizeof(o.content));
		for (size_t i = 0; i < r->patch->object.n; i++)
			if (!strcmp(r->patch->object.v[i].name, o.name))
				return damaged(r, "object \"%.100s\" is listed twice", o.name);
		if (sut_vec_push(&r->patch->object, o))
			return sut_nomem(r->ctx);
	}
	return 0;
}

static int read_ranges(const struct reader *r)
{
	const struct sut_section *s;
	int err = find_section(r, SUTURE_SEC_RANGES, false, &s);

	if (err || !s)
		return err;
	if (s->size % sizeof(struct suture_file_range))
		return damaged(r, "%s has an impossible size", SUTURE_SEC_RANGES);
	for (size_t off = 0; off < s->size; off += sizeof(struct suture_file_range)) {
		struct suture_file_range f;

		memcpy(&f, s->data + off, sizeof(f));
		if (!f.size || f.addr + f.size < f.addr)
			return damaged(r, "range %zu is impossible", off / sizeof(f));
		if (sut_vec_push(&r->patch->range, f))
			return sut_nomem(r->ctx);
	}
	return 0;
}

/* The new function: a function symbol, defined, whole inside of an executable section. */
static int read_new_symbol(const struct reader *r, size_t index, struct sut_patch_func *f)
{
	const struct sut_elf *e = r->patch->elf;
	const struct sut_section *sec;
	Elf64_Sym sym;

	if (!f->new_symbol || f->new_symbol >= r->symtab->size / sizeof(sym))
		return damaged(r, "function %zu has no symbol %u", index, f->new_symbol);
	memcpy(&sym, r->symtab->data + (size_t)f->new_symbol * sizeof(sym), sizeof(sym));
	if (sym.st_name >= r->symstr_size)
		return damaged(r, "symbol %u has no name", f->new_symbol);
	f->new_name = r->symstr + sym.st_name;
	if (sym.st_shndx == SHN_UNDEF || sym.st_shndx >= e->sec.n || ELF64_ST_TYPE(sym.st_info) != STT_FUNC)
		return damaged(r, "%.100s is not a function of this file", f->new_name);
	sec = &e->sec.v[sym.st_shndx];
	if (sec->type != SHT_PROGBITS || !(sec->flags & SHF_ALLOC) || !(sec->flags & SHF_EXECINSTR) || !sec->data ||
	    !sym.st_size || !sut_fits(sym.st_value, sym.st_size, sec->size))
		return damaged(r, "%.100s is not inside of a section of code", f->new_name);
	f->new_section = sym.st_shndx;
	f->new_size = sym.st_size;
	return 0;
}

static int check_func(const struct reader *r, size_t index, const struct sut_patch_func *f)
{
	const struct suture_patch *p = r->patch;

	if (f->object >= p->object.n || !f->old_name[0])
		return damaged(r, "function %zu has no object or no name", index);
	if (!f->old_addr || !f->old_size || f->old_addr + f->old_size < f->old_addr)
		return damaged(r, "%.100s has an impossible address or size", f->old_name);
	if (!sut_fits(f->first_range, f->n_ranges, p->range.n))
		return damaged(r, "the ranges of %.100s are not in the file", f->old_name);
	if (f->flags & ~SUTURE_FUNC_START_ONLY)
		return damaged(r, "%.100s has unknown flags %#x", f->old_name, f->flags);
	for (size_t i = 0; i < p->func.n; i++) {
		const struct sut_patch_func *o = &p->func.v[i];

		if (o->object == f->object && f->old_addr < o->old_addr + o->old_size &&
		    o->old_addr < f->old_addr + f->old_size)
			return damaged(r, "%.100s and %.100s overlap", f->old_name, o->old_name);
		if (o->new_symbol == f->new_symbol)
			return damaged(r, "%.100s and %.100s have the same replacement", f->old_name, o->old_name);
	}
	return 0;
}

static int read_funcs(const struct reader *r)
{
	const struct sut_section *s;
	int err = find_section(r, SUTURE_SEC_FUNCS, true, &s);

	if (err)
		return err;
	if (!s->size || s->size % sizeof(struct suture_file_func))
		return damaged(r, "%s has an impossible size", SUTURE_SEC_FUNCS);
	if (s->size / sizeof(struct suture_file_func) > FUNCS_MAX)
		return damaged(r, "it replaces more than %d functions", FUNCS_MAX);
	for (size_t off = 0; off < s->size; off += sizeof(struct suture_file_func)) {
		size_t index = off / sizeof(struct suture_file_func);
		struct suture_file_func w;
		struct sut_patch_func f = { 0 };

		memcpy(&w, s->data + off, sizeof(w));
		if (w.old_name >= r->strtab_size)
			return damaged(r, "function %zu has no name", index);
		f.object = w.object;
		f.old_name = r->strtab + w.old_name;
		f.old_sympos = w.old_sympos;
		f.old_addr = w.old_addr;
		f.old_size = w.old_size;
		memcpy(f.old_digest, w.old_digest, sizeof(f.old_digest));
		f.new_symbol = w.new_symbol;
		f.first_range = w.first_range;
		f.n_ranges = w.n_ranges;
		f.flags = w.flags;
		err = check_func(r, index, &f);
		if (!err)
			err = read_new_symbol(r, index, &f);
		if (err)
			return err;
		if (sut_vec_push(&r->patch->func, f))
			return sut_nomem(r->ctx);
	}
	return 0;
}

/* Which object a section belongs to: that of the functions in it, else that of its late relocations. */
static int assign_sections(const struct reader *r)
{
	struct suture_patch *p = r->patch;
	const struct sut_elf *e = p->elf;
	size_t prefix = strlen(SUTURE_RELA_PREFIX);

	p->section_object = malloc(e->sec.n * sizeof(*p->section_object));
	if (!p->section_object)
		return sut_nomem(r->ctx);
	memset(p->section_object, 0xff, e->sec.n * sizeof(*p->section_object));
	for (size_t i = 1; i < e->sec.n; i++) {
		const struct sut_section *s = &e->sec.v[i];
		unsigned long object;
		char *end;

		if (!s->name)
			return damaged(r, "section %zu has no name", i);
		if (!strncmp(s->name, ".gcc_except_table", 17) && s->size)
			p->landing_pads = true;
		if (strncmp(s->name, SUTURE_RELA_PREFIX, prefix))
			continue;
		errno = 0;
		object = strtoul(s->name + prefix, &end, 10);
		if (errno || end == s->name + prefix || *end != '.' || object >= p->object.n)
			return damaged(r, "section %.100s names no object", s->name);
		if (s->type != SHT_RELA || !s->info || s->info >= e->sec.n)
			return damaged(r, "section %.100s relocates nothing", s->name);
		p->section_object[s->info] = (uint32_t)object;
	}
	for (size_t i = 0; i < p->func.n; i++)
		p->section_object[p->func.v[i].new_section] = p->func.v[i].object;
	return 0;
}

static int read_all(struct reader *r)
{
	const struct sut_elf *e = r->patch->elf;
	int err = check_digest(r);

	if (err)
		return err;
	if (e->type != ET_REL || !e->is64 || !e->little)
		return damaged(r, "it is not a relocatable 64-bit little-endian ELF file");
	if (!e->arch)
		return sut_fail(r->ctx, SUTURE_EREFUSED, "%s: a patch for ELF machine %u, which suture does not know",
				r->path, e->machine);
	err = read_info(r);
	if (!err)
		err = read_strtab(r);
	if (!err)
		err = find_symtab(r);
	if (!err)
		err = read_objects(r);
	if (!err)
		err = read_ranges(r);
	if (!err)
		err = read_funcs(r);
	return err ? err : assign_sections(r);
}

int sut_patch_parse(struct suture_ctx *ctx, void *image, size_t size, const char *path, struct suture_patch **ret)
{
	struct suture_patch *p = calloc(1, sizeof(*p));
	struct reader r = { .ctx = ctx, .patch = p, .path = path };
	int err;

	if (!p) {
		free(image);
		return sut_nomem(ctx);
	}
	p->ctx = ctx;
	err = sut_elf_open_memory(ctx, image, size, path, &p->elf);
	if (!err)
		err = read_all(&r);
	if (err) {
		suture_patch_close(p);
		return err;
	}
	*ret = p;
	return 0;
}

int suture_patch_open(struct suture_ctx *ctx, const char *path, const struct suture_open_opts *opts,
		      struct suture_patch **ret)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	char *image;
	size_t size;
	int err;

	if (fd < 0 || fstat(fd, &st))
		return sut_fail(ctx, errno == ENOENT ? SUTURE_ENOTFOUND : errno, "cannot open %s: %s", path,
				strerror(errno));
	if (!S_ISREG(st.st_mode))
		return sut_fail(ctx, SUTURE_EREFUSED, "%s is not a regular file", path);
	err = sut_read_fd(fd, PATCH_FILE_MAX, &image, &size);
	if (err == -EFBIG)
		return sut_fail(ctx, SUTURE_EREFUSED, "%s is larger than %u MiB: not a patch file", path,
				PATCH_FILE_MAX >> 20);
	if (err)
		return sut_fail(ctx, -err, "cannot read %s: %s", path, strerror(-err));
	return sut_patch_parse(ctx, image, size, path, ret);
}

void suture_patch_close(struct suture_patch *patch)
{
	if (!patch)
		return;
	sut_vec_free(&patch->object);
	sut_vec_free(&patch->func);
	sut_vec_free(&patch->range);
	free(patch->section_object);
	sut_elf_close(patch->elf);
	free(patch);
}

const char *suture_patch_name(const struct suture_patch *patch)
{
	return patch->name;
}
