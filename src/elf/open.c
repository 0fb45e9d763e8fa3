/* SPDX-License-Identifier: MIT */
/*
 * open.c - one ELF file: read, checked, and its headers turned into plain structs.
 *
 * Header and section tables are read through libelf; every offset they contain is checked
 * against the size of the image before it becomes a pointer, because libelf does not promise
 * that. After sut_elf_open*() has succeeded, sections and segments point inside the image.
 * Calls no process and keeps no state outside of struct sut_elf.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "elf/priv.h"
#include "elf/root.h"

int sut_elf_damaged(const struct sut_elf *e, const char *fmt, ...)
{
	char what[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return sut_fail(e->ctx, SUTURE_EREFUSED, "%s is damaged: %s", e->name, what);
}

const char *sut_str_at(struct sut_bytes tab, uint64_t off)
{
	size_t left;

	if (!tab.p || off >= tab.len)
		return NULL;
	left = tab.len - off;
	if (!memchr(tab.p + off, '\0', left < SUT_NAME_MAX ? left : SUT_NAME_MAX))
		return NULL;
	return (const char *)tab.p + off;
}

static bool is_memory(const struct sut_elf *e)
{
	return e->fd < 0;
}

/* ---- identity and segments ---- */

static int read_header(struct sut_elf *e, GElf_Ehdr *ret)
{
	if (e->image_size < EI_NIDENT || memcmp(e->image, ELFMAG, SELFMAG))
		return sut_fail(e->ctx, SUTURE_EREFUSED, "%s is not an ELF file", e->name);
	if (e->image[EI_VERSION] != EV_CURRENT)
		return sut_elf_damaged(e, "ELF version %u", e->image[EI_VERSION]);
	e->is64 = e->image[EI_CLASS] == ELFCLASS64;
	e->little = e->image[EI_DATA] == ELFDATA2LSB;
	if (!e->is64 && e->image[EI_CLASS] != ELFCLASS32)
		return sut_elf_damaged(e, "class %u", e->image[EI_CLASS]);
	if (!e->little && e->image[EI_DATA] != ELFDATA2MSB)
		return sut_elf_damaged(e, "byte order %u", e->image[EI_DATA]);
	if (elf_version(EV_CURRENT) == EV_NONE)
		return sut_fail(e->ctx, SUTURE_EBUG, "libelf is too old");
	e->elf = elf_memory((char *)e->image, e->image_size);
	if (!e->elf || elf_kind(e->elf) != ELF_K_ELF || !gelf_getehdr(e->elf, ret))
		return sut_elf_damaged(e, "%s", elf_errmsg(-1));
	e->machine = ret->e_machine;
	e->type = ret->e_type;
	e->entry = ret->e_entry;
	e->arch = e->is64 && e->little ? sut_arch_find(e->machine) : NULL;
	if (e->arch && e->arch->e_flags_fit && !e->arch->e_flags_fit(ret->e_flags))
		return sut_fail(e->ctx, SUTURE_EREFUSED, "%s is for another ABI of %s (e_flags 0x%x)", e->name,
				e->arch->name, ret->e_flags);
	if (e->type != ET_REL && e->type != ET_EXEC && e->type != ET_DYN)
		return sut_fail(e->ctx, SUTURE_EREFUSED,
				"%s is an ELF file of type %u: neither program, library nor object", e->name, e->type);
	return 0;
}

static int add_load(struct sut_elf *e, const GElf_Phdr *ph)
{
	struct sut_segment s = { .vaddr = ph->p_vaddr,
				 .memsz = ph->p_memsz,
				 .offset = ph->p_offset,
				 .filesz = ph->p_filesz,
				 .prot = (ph->p_flags & PF_R ? 1u : 0) | (ph->p_flags & PF_W ? 2u : 0) |
					 (ph->p_flags & PF_X ? 4u : 0),
				 .align = ph->p_align };

	if (e->load.n >= SUT_LOAD_MAX)
		return sut_elf_damaged(e, "more than %u PT_LOAD headers", SUT_LOAD_MAX);
	if (s.memsz < s.filesz || s.vaddr + s.memsz < s.vaddr || (s.align & (s.align - 1)))
		return sut_elf_damaged(e, "PT_LOAD at 0x%llx has impossible sizes", (unsigned long long)s.vaddr);
	if (e->only_debug) {
		s.filesz = 0; /* whatever the header says, the bytes were left out */
	} else if (!sut_fits(s.offset, s.filesz, e->image_size)) {
		if (!is_memory(e))
			return sut_elf_damaged(e, "it is truncated: the segment at 0x%llx ends at byte %llu of %zu",
					       (unsigned long long)s.vaddr, (unsigned long long)(s.offset + s.filesz),
					       e->image_size);
		s.filesz = s.offset < e->image_size ? e->image_size - s.offset : 0;
	}
	return sut_vec_push(&e->load, s) ? sut_nomem(e->ctx) : 0;
}

static void read_tls_and_relro(struct sut_elf *e, const GElf_Phdr *ph)
{
	if (ph->p_type == PT_TLS && ph->p_filesz <= ph->p_memsz) {
		e->tls_vaddr = ph->p_vaddr;
		e->tls_memsz = ph->p_memsz;
		e->tls_filesz = ph->p_filesz;
		e->tls_align = ph->p_align;
	} else if (ph->p_type == PT_GNU_RELRO && ph->p_vaddr + ph->p_memsz >= ph->p_vaddr) {
		e->relro_start = ph->p_vaddr;
		e->relro_end = ph->p_vaddr + ph->p_memsz;
	}
}

/* The file bytes that a program header names; .p NULL: not there. */
static struct sut_bytes phdr_bytes(const struct sut_elf *e, const GElf_Phdr *ph)
{
	struct sut_bytes b = { 0 };

	if (!e->only_debug && sut_fits(ph->p_offset, ph->p_filesz, e->image_size)) {
		b.p = e->image + ph->p_offset;
		b.len = ph->p_filesz;
	}
	return b;
}

static void read_notes(struct sut_elf *e, struct sut_bytes n, uint64_t align);

/* Reads all program headers but for PT_DYNAMIC, which is handed back. */
static int read_segments(struct sut_elf *e, struct sut_bytes *ret_dynamic)
{
	GElf_Phdr ph;
	size_t n = 0;
	int err;

	if (elf_getphdrnum(e->elf, &n))
		return sut_elf_damaged(e, "program headers: %s", elf_errmsg(-1));
	for (size_t i = 0; i < n; i++) {
		if (!gelf_getphdr(e->elf, (int)i, &ph))
			return sut_elf_damaged(e, "program header %zu: %s", i, elf_errmsg(-1));
		if (ph.p_type == PT_LOAD) {
			err = add_load(e, &ph);
			if (err)
				return err;
		} else if (ph.p_type == PT_INTERP) {
			e->interp = sut_str_at(phdr_bytes(e, &ph), 0);
			if (!e->interp && !e->only_debug && !is_memory(e))
				return sut_elf_damaged(e, "PT_INTERP holds no string");
		} else if (ph.p_type == PT_DYNAMIC) {
			*ret_dynamic = phdr_bytes(e, &ph);
			e->has_dynamic = ret_dynamic->p && ret_dynamic->len;
			if (!ret_dynamic->p && !e->only_debug && !is_memory(e))
				return sut_elf_damaged(e, "PT_DYNAMIC lies outside of the file");
		} else if (ph.p_type == PT_NOTE && !e->build_id_len) {
			read_notes(e, phdr_bytes(e, &ph), ph.p_align);
		} else {
			read_tls_and_relro(e, &ph);
		}
	}
	return 0;
}

/* ---- sections ---- */

static uint32_t get32(const struct sut_elf *e, const uint8_t *p)
{
	uint32_t v = sut_le32(p);

	return e->little == (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) ? v : __builtin_bswap32(v);
}

/* Looks for the build-id among notes. */
static void read_notes(struct sut_elf *e, struct sut_bytes n, uint64_t align)
{
	size_t off = 0, a = align == 8 ? 8 : 4;

	while (n.p && sut_fits(off, 12, n.len)) {
		uint64_t namesz = get32(e, n.p + off), descsz = get32(e, n.p + off + 4);
		uint32_t type = get32(e, n.p + off + 8);
		uint64_t desc = SUT_ALIGN_UP(off + 12 + namesz, a);

		if (!sut_fits(desc, descsz, n.len))
			return;
		if (type == NT_GNU_BUILD_ID && namesz == 4 && !memcmp(n.p + off + 12, "GNU", 4) && descsz > 0 &&
		    descsz <= SUT_BUILD_ID_MAX) {
			memcpy(e->build_id, n.p + desc, descsz);
			e->build_id_len = descsz;
			return;
		}
		off = SUT_ALIGN_UP(desc + descsz, a);
	}
}

static int add_section(struct sut_elf *e, Elf_Scn *scn, struct sut_section *ret)
{
	GElf_Shdr sh;

	if (!gelf_getshdr(scn, &sh))
		return sut_elf_damaged(e, "section header %zu: %s", elf_ndxscn(scn), elf_errmsg(-1));
	*ret = (struct sut_section){ .name = "",
				     .index = (uint32_t)elf_ndxscn(scn),
				     .type = sh.sh_type,
				     .link = sh.sh_link,
				     .info = sh.sh_info,
				     .flags = sh.sh_flags,
				     .addr = sh.sh_addr,
				     .offset = sh.sh_offset,
				     .size = sh.sh_size,
				     .entsize = sh.sh_entsize,
				     .align = sh.sh_addralign };
	if (sh.sh_type == SHT_NOBITS || sh.sh_type == SHT_NULL)
		return 0;
	if (!sh.sh_size)
		ret->data = (const uint8_t *)"";
	else if (sut_fits(sh.sh_offset, sh.sh_size, e->image_size))
		ret->data = e->image + sh.sh_offset;
	else
		return sut_elf_damaged(e, "it is truncated: section %u ends at byte %llu of %zu", ret->index,
				       (unsigned long long)(sh.sh_offset + sh.sh_size), e->image_size);
	return 0;
}

static int name_sections(struct sut_elf *e, size_t shstrndx)
{
	uint32_t name_off;
	struct sut_bytes str;
	GElf_Shdr sh;

	if (!shstrndx)
		return 0;
	if (shstrndx >= e->sec.n || e->sec.v[shstrndx].type != SHT_STRTAB)
		return sut_elf_damaged(e, "section %zu, said to hold the section names, does not", shstrndx);
	str = (struct sut_bytes){ e->sec.v[shstrndx].data, e->sec.v[shstrndx].size };
	for (size_t i = 1; i < e->sec.n; i++) {
		if (!gelf_getshdr(elf_getscn(e->elf, i), &sh))
			return sut_elf_damaged(e, "section header %zu: %s", i, elf_errmsg(-1));
		name_off = sh.sh_name;
		e->sec.v[i].name = sut_str_at(str, name_off);
		if (!e->sec.v[i].name)
			return sut_elf_damaged(e, "section %zu has no name", i);
	}
	return 0;
}

static int read_sections(struct sut_elf *e, const GElf_Ehdr *eh)
{
	struct sut_section s = { .name = "" };
	size_t n = 0, shstrndx = 0;
	size_t entsize = e->is64 ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
	int err;

	if (!eh->e_shoff)
		return 0;
	if (eh->e_shentsize != entsize || elf_getshdrnum(e->elf, &n) || n > UINT32_MAX ||
	    !sut_fits(eh->e_shoff, n * entsize, e->image_size))
		return sut_elf_damaged(e, "section headers: %s", elf_errmsg(-1));
	if (!n) /* libelf says so when they do not fit */
		return sut_elf_damaged(e, "it is truncated: the section headers at byte %llu do not fit into %zu",
				       (unsigned long long)eh->e_shoff, e->image_size);
	if (elf_getshdrstrndx(e->elf, &shstrndx))
		return sut_elf_damaged(e, "section names: %s", elf_errmsg(-1));
	for (size_t i = 0; i < n; i++) {
		Elf_Scn *scn = elf_getscn(e->elf, i);

		err = scn ? add_section(e, scn, &s) : sut_elf_damaged(e, "section %zu: %s", i, elf_errmsg(-1));
		if (err)
			return err;
		if (sut_vec_push(&e->sec, s))
			return sut_nomem(e->ctx);
	}
	return name_sections(e, shstrndx);
}

/* Takes a reference to section headers that lie outside of a piece of memory out of our copy of the header. */
static void drop_absent_sections(struct sut_elf *e)
{
	Elf64_Ehdr eh;

	if (e->image_size < sizeof(eh) || e->image[EI_CLASS] != ELFCLASS64 || e->image[EI_DATA] != ELFDATA2LSB)
		return;
	memcpy(&eh, e->image, sizeof(eh));
	if (eh.e_shoff && eh.e_shoff < e->image_size &&
	    sut_fits(eh.e_shoff, (uint64_t)eh.e_shnum * sizeof(Elf64_Shdr), e->image_size))
		return;
	eh.e_shoff = 0;
	eh.e_shnum = eh.e_shstrndx = 0;
	memcpy((uint8_t *)(uintptr_t)e->image, &eh, sizeof(eh));
}

/* ---- putting it together ---- */

static void find_only_debug(struct sut_elf *e)
{
	for (size_t i = 0; i < e->sec.n; i++) {
		const struct sut_section *s = &e->sec.v[i];

		if (s->type == SHT_NOBITS && (s->flags & SHF_ALLOC) && (s->flags & SHF_EXECINSTR) && s->size)
			e->only_debug = true;
	}
}

static void find_build_id(struct sut_elf *e)
{
	for (size_t i = 0; i < e->sec.n && !e->build_id_len; i++) {
		const struct sut_section *s = &e->sec.v[i];

		if (s->type == SHT_NOTE && s->data)
			read_notes(e, (struct sut_bytes){ s->data, s->size }, s->align);
	}
}

/* Everything is parsed once, here, so that later reads can not fail. */
static int parse(struct sut_elf *e)
{
	struct sut_bytes dynamic = { 0 };
	GElf_Ehdr eh;
	int err;

	if (is_memory(e))
		drop_absent_sections(e);
	err = read_header(e, &eh);
	if (!err)
		err = read_sections(e, &eh);
	if (err)
		return err;
	find_only_debug(e);
	err = read_segments(e, &dynamic);
	if (err)
		return err;
	find_build_id(e);
	if (e->has_dynamic && sut_elf_is_native(e)) {
		err = sut_dyn_parse(e, dynamic);
		if (err && is_memory(e)) {
			sut_dyn_free(e);
			e->has_dynamic = false;
			err = 0;
		}
	}
	return err;
}

static struct sut_elf *elf_new(struct suture_ctx *ctx, const char *name)
{
	struct sut_elf *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->ctx = ctx;
	e->fd = -1;
	e->name = strdup(name);
	e->priv = calloc(1, sizeof(struct sut_elf_priv));
	if (!e->name || !e->priv) {
		sut_elf_close(e);
		return NULL;
	}
	return e;
}

static int read_image(struct sut_elf *e)
{
	uint8_t *image = malloc(e->image_size);
	size_t done = 0;

	if (!image)
		return sut_nomem(e->ctx);
	e->image = image;
	while (done < e->image_size) {
		ssize_t n = pread(e->fd, image + done, e->image_size - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return sut_fail(e->ctx, errno, "cannot read %s: %s", e->name, strerror(errno));
		if (!n)
			return sut_fail(e->ctx, SUTURE_EREFUSED, "%s was truncated while it was read", e->name);
		done += (size_t)n;
	}
	return 0;
}

static int map_image(struct sut_elf *e)
{
	/* Writable, because libelf may write to headers (only our private pages see it). */
	void *p = mmap(NULL, e->image_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, e->fd, 0);

	if (p == MAP_FAILED)
		return sut_fail(e->ctx, errno, "cannot map %s: %s", e->name, strerror(errno));
	e->image = p;
	e->mapped = true;
	return 0;
}

/* Whether pages of the file come from a file system whose server is the kernel, or that we run from ourselves. */
static bool is_local(int fd, const struct stat *st)
{
	static const uint32_t local[] = {
		0xef53, /* ext4 */
		0x58465342, /* xfs */
		0x9123683e, /* btrfs */
		0xf2f52010, /* f2fs */
		0x2fc12fc1, /* zfs */
		0x01021994, /* tmpfs */
	};
	struct statfs fs;
	struct stat root;

	if (fstatfs(fd, &fs))
		return false;
	for (size_t i = 0; i < SUT_ARRAY_SIZE(local); i++)
		if ((uint32_t)fs.f_type == local[i])
			return true;
	return !stat("/", &root) && root.st_dev == st->st_dev;
}

/*
 * Takes a read lease: while we hold it, nobody can open the file for writing or truncate it (they wait for us,
 * at most /proc/sys/fs/lease-break-time), so it can be mapped without fear of SIGBUS. It goes with the
 * descriptor. The signal that tells of somebody waiting is one that does nothing, and then none.
 */
static bool take_lease(int fd)
{
	if (fcntl(fd, F_SETSIG, SIGURG) || fcntl(fd, F_SETLEASE, F_RDLCK))
		return false;
	return !fcntl(fd, F_SETOWN, 0);
}

static int load_file(struct sut_elf *e, bool lease)
{
	struct stat st;

	if (fstat(e->fd, &st))
		return sut_fail(e->ctx, errno, "cannot stat %s: %s", e->name, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return sut_fail(e->ctx, SUTURE_EREFUSED, "%s is not a regular file", e->name);
	if (st.st_size < EI_NIDENT)
		return sut_fail(e->ctx, SUTURE_EREFUSED, "%s is not an ELF file: %lld bytes", e->name,
				(long long)st.st_size);
	if ((uint64_t)st.st_size > SUT_FILE_MAX)
		return sut_fail(e->ctx, SUTURE_EREFUSED, "%s is too large: %lld bytes, more than 4 GiB", e->name,
				(long long)st.st_size);
	e->image_size = (size_t)st.st_size;
	if (lease && e->image_size >= SUT_LEASE_MIN && is_local(e->fd, &st) && take_lease(e->fd)) {
		/* It may have changed until now, but not any more. */
		if (fstat(e->fd, &st) || (uint64_t)st.st_size != e->image_size)
			return sut_fail(e->ctx, SUTURE_EREFUSED, "%s changed while it was opened", e->name);
		return map_image(e);
	}
	return e->image_size <= SUT_HEAP_MAX ? read_image(e) : map_image(e);
}

static int finish(struct sut_elf *e, int err, struct sut_elf **ret)
{
	if (!err)
		err = parse(e);
	if (err) {
		sut_elf_close(e);
		return err;
	}
	*ret = e;
	return 0;
}

static int open_fd(struct suture_ctx *ctx, int fd, const char *name, bool lease, struct sut_elf **ret)
{
	struct sut_elf *e = elf_new(ctx, name);

	if (!e) {
		close(fd);
		return sut_nomem(ctx);
	}
	e->fd = fd;
	return finish(e, load_file(e, lease), ret);
}

int sut_elf_open_fd(struct suture_ctx *ctx, int fd, const char *name, struct sut_elf **ret)
{
	return open_fd(ctx, fd, name, true, ret);
}

int sut_elf_open(struct suture_ctx *ctx, const char *path, struct sut_elf **ret)
{
	int fd = sut_open_regular(path);

	if (fd == -EINVAL || fd == -EISDIR)
		return sut_fail(ctx, SUTURE_EREFUSED, "%s is not a regular file", path);
	if (fd < 0)
		return sut_fail(ctx, -fd, "cannot open %s: %s", path, strerror(-fd));
	/* No lease: a compiler may want to write to a file of the user's meanwhile. */
	return open_fd(ctx, fd, path, false, ret);
}

int sut_elf_open_memory(struct suture_ctx *ctx, void *image, size_t size, const char *name, struct sut_elf **ret)
{
	struct sut_elf *e = elf_new(ctx, name);

	if (!e) {
		free(image);
		return sut_nomem(ctx);
	}
	e->image = image;
	e->image_size = size;
	return finish(e, 0, ret);
}

void sut_elf_close(struct sut_elf *e)
{
	struct sut_elf_priv *priv;

	if (!e)
		return;
	priv = e->priv;
	if (priv && priv->dwarf_free)
		priv->dwarf_free(priv->dwarf);
	if (priv)
		sut_dyn_free(e);
	if (e->elf)
		elf_end(e->elf);
	if (e->mapped)
		munmap((void *)(uintptr_t)e->image, e->image_size);
	else
		free((void *)(uintptr_t)e->image);
	if (e->fd >= 0)
		close(e->fd);
	sut_vec_free(&e->load);
	sut_vec_free(&e->sec);
	free(priv);
	free(e->name);
	free(e);
}

/* ---- looking things up ---- */

const struct sut_section *sut_elf_section(const struct sut_elf *e, const char *name)
{
	for (size_t i = 1; i < e->sec.n; i++)
		if (!strcmp(e->sec.v[i].name, name))
			return &e->sec.v[i];
	return NULL;
}

struct sut_bytes sut_elf_avail(const struct sut_elf *e, uint64_t vaddr)
{
	for (size_t i = 0; i < e->load.n; i++) {
		const struct sut_segment *s = &e->load.v[i];

		if (vaddr >= s->vaddr && vaddr - s->vaddr < s->filesz)
			return (struct sut_bytes){ e->image + s->offset + (vaddr - s->vaddr),
						   s->filesz - (vaddr - s->vaddr) };
	}
	return (struct sut_bytes){ 0 };
}

const uint8_t *sut_elf_bytes(const struct sut_elf *e, uint64_t vaddr, size_t len)
{
	struct sut_bytes b = sut_elf_avail(e, vaddr);

	return b.p && len <= b.len ? b.p : NULL;
}
