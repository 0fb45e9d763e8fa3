/* SPDX-License-Identifier: MIT */
/*
 * objects.c - from mappings to ELF objects.
 *
 * An object is a run of mappings of one file that begins with an ELF header at offset 0, lies where
 * its program headers say, and has executable text there. A file mapped only to be read is none, nor is
 * a duplicate of a part of some text (text/poke.h keeps such). Headers, dynamic section and link map are
 * read from the target's memory: they are its word, so every number is bounded. Files are opened
 * only on demand, and only the very file that is mapped: one that replaced it on disk is refused.
 */
#include <time.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "elf/root.h"
#include "process/internal.h"

#define MAX_PHDRS   128
#define MAX_DYNAMIC 1024
#define MAX_LINKS   4096
#define MAX_EXTENT  (1ull << 40)
#define MAX_SONAME  256

/* What the headers in memory say. */
struct layout {
	uint64_t bias, start, end, data_end, dynamic;
	uint64_t text_lo, text_hi; /* runtime, of the executable segments */
	bool has_interp;
};

/* -- reading headers -------------------------------------------------------------------------- */

static bool read_layout(struct suture_process *p, const struct sut_map *m, struct layout *ret)
{
	uint64_t page = p->mem.page_size, lo = UINT64_MAX, hi = 0;
	struct layout l = { .text_lo = UINT64_MAX };
	Elf64_Phdr ph[MAX_PHDRS];
	Elf64_Ehdr eh;

	if (sut_process_read_some(p, m->start, &eh, sizeof(eh)) != sizeof(eh) || memcmp(eh.e_ident, ELFMAG, SELFMAG) ||
	    eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_machine != p->mem.arch->e_machine ||
	    (eh.e_type != ET_EXEC && eh.e_type != ET_DYN) || eh.e_phentsize != sizeof(ph[0]) || !eh.e_phnum ||
	    eh.e_phnum > MAX_PHDRS || eh.e_phoff > MAX_EXTENT)
		return false;
	if (sut_process_read_some(p, m->start + eh.e_phoff, ph, eh.e_phnum * sizeof(ph[0])) !=
	    eh.e_phnum * sizeof(ph[0]))
		return false;
	for (unsigned i = 0; i < eh.e_phnum; i++) {
		uint64_t end = ph[i].p_vaddr + ph[i].p_memsz;

		if (ph[i].p_type != PT_LOAD)
			continue;
		if (end < ph[i].p_vaddr)
			return false;
		if (lo == UINT64_MAX)
			lo = SUT_ALIGN_DOWN(ph[i].p_vaddr, page) - SUT_ALIGN_DOWN(ph[i].p_offset, page);
		if (end > hi)
			hi = end;
	}
	if (lo >= hi || hi - lo > MAX_EXTENT)
		return false;
	l.bias = m->start - lo;
	l.start = m->start;
	l.end = SUT_ALIGN_UP(hi, page) + l.bias;
	for (unsigned i = 0; i < eh.e_phnum; i++) {
		uint64_t at = ph[i].p_vaddr + l.bias, end = at + ph[i].p_memsz;

		if (ph[i].p_type == PT_DYNAMIC)
			l.dynamic = at;
		else if (ph[i].p_type == PT_INTERP)
			l.has_interp = true;
		else if (ph[i].p_type == PT_LOAD && (ph[i].p_flags & PF_W))
			l.data_end = end > l.data_end ? end : l.data_end;
		else if (ph[i].p_type == PT_LOAD && (ph[i].p_flags & PF_X)) {
			l.text_lo = at < l.text_lo ? at : l.text_lo;
			l.text_hi = end > l.text_hi ? end : l.text_hi;
		}
	}
	if ((eh.e_type == ET_EXEC && l.bias) || l.end <= l.start || l.text_lo >= l.text_hi)
		return false;
	*ret = l;
	return true;
}

/* Whether some of the object's text is mapped, executable, from the same file. */
static bool has_text(const struct sut_maps *maps, const struct sut_map *first, const struct layout *l)
{
	for (const struct sut_map *m = first; m < maps->m.v + maps->m.n && m->start < l->end; m++)
		if ((m->prot & SUT_PROT_X) && m->inode == first->inode && m->dev_major == first->dev_major &&
		    m->dev_minor == first->dev_minor && m->start < l->text_hi && m->end > l->text_lo)
			return true;
	return false;
}

/* Runs over the dynamic section in memory. @fn returns false to stop. */
static void each_dynamic(struct suture_process *p, uint64_t addr, bool (*fn)(void *arg, const Elf64_Dyn *d), void *arg)
{
	Elf64_Dyn d[32];

	for (unsigned done = 0; addr && done < MAX_DYNAMIC;) {
		size_t n = sut_process_read_some(p, addr + done * sizeof(d[0]), d, sizeof(d)) / sizeof(d[0]);

		for (size_t i = 0; i < n; i++)
			if (d[i].d_tag == DT_NULL || !fn(arg, &d[i]))
				return;
		if (n < SUT_ARRAY_SIZE(d))
			return;
		done += (unsigned)n;
	}
}

struct dyn_wanted {
	uint64_t strtab, soname, debug;
	bool has_soname;
};

static bool pick_dynamic(void *arg, const Elf64_Dyn *d)
{
	struct dyn_wanted *w = arg;

	if (d->d_tag == DT_STRTAB)
		w->strtab = d->d_un.d_ptr;
	if (d->d_tag == DT_DEBUG)
		w->debug = d->d_un.d_ptr;
	if (d->d_tag == DT_SONAME) {
		w->soname = d->d_un.d_val;
		w->has_soname = true;
	}
	return true;
}

/* The soname, or "". Some dynamic linkers relocate DT_STRTAB in place, some do not. */
static void read_soname(struct suture_process *p, const struct layout *l, char ret[MAX_SONAME])
{
	struct dyn_wanted w = { 0 };
	size_t n;

	ret[0] = '\0';
	each_dynamic(p, l->dynamic, pick_dynamic, &w);
	if (!w.has_soname || w.soname > MAX_EXTENT)
		return;
	if (!sut_in(l->start, l->end, w.strtab))
		w.strtab += l->bias;
	if (!sut_in(l->start, l->end, w.strtab + w.soname))
		return;
	n = sut_process_read_some(p, w.strtab + w.soname, ret, MAX_SONAME);
	if (!memchr(ret, '\0', n))
		ret[0] = '\0';
}

/* -- the list --------------------------------------------------------------------------------- */

static void object_free(struct sut_object *o)
{
	sut_symtab_free(o->symtab);
	sut_cfi_close(o->cfi);
	sut_elf_close(o->elf);
	free(o->path);
}

void sut_objects_free(struct suture_process *p)
{
	for (size_t i = 0; i < p->obj.n; i++)
		object_free(&p->obj.v[i]);
	sut_vec_free(&p->obj);
}

/* Path and name share one allocation. */
static int set_names(struct suture_process *p, struct sut_object *o, const char *mapped, const char *soname)
{
	static const char deleted[] = " (deleted)";
	size_t len = strlen(mapped), tail = sizeof(deleted) - 1;
	const char *slash;

	if (len > tail && !strcmp(mapped + len - tail, deleted)) {
		len -= tail;
		o->deleted = true;
	}
	o->path = malloc(len + 1 + strlen(soname) + 1);
	if (!o->path)
		return sut_nomem(p->ctx);
	memcpy(o->path, mapped, len);
	o->path[len] = '\0';
	slash = strrchr(o->path, '/');
	o->name = slash && slash[1] ? slash + 1 : o->path;
	if (*soname)
		o->name = strcpy(o->path + len + 1, soname);
	return 0;
}

static int add_object(struct suture_process *p, const struct sut_map *m, const struct layout *l)
{
	struct sut_object o = { .bias = l->bias,
				.start = l->start,
				.end = l->end,
				.data_end = l->data_end,
				.dynamic = l->dynamic,
				.has_interp = l->has_interp,
				.dev_major = m->dev_major,
				.dev_minor = m->dev_minor,
				.inode = m->inode,
				.is_vdso = !strcmp(m->name, "[vdso]") };
	char soname[MAX_SONAME];
	int err;

	read_soname(p, l, soname);
	err = set_names(p, &o, m->name, soname);
	if (err)
		return err;
	if (sut_vec_push(&p->obj, o)) {
		free(o.path);
		return sut_nomem(p->ctx);
	}
	return 0;
}

static int find_objects(struct suture_process *p)
{
	uint64_t end = 0;

	for (size_t i = 0; i < p->maps.m.n; i++) {
		const struct sut_map *m = &p->maps.m.v[i];
		bool vdso = !strcmp(m->name, "[vdso]");
		struct layout l;
		int err;

		if (m->start < end || !(m->prot & SUT_PROT_R) || (!vdso && (!m->inode || m->offset || m->shared)))
			continue;
		if (!read_layout(p, m, &l) || (!vdso && !has_text(&p->maps, m, &l)))
			continue;
		err = add_object(p, m, &l);
		if (err)
			return err;
		end = l.end;
	}
	return 0;
}

/* -- which one is the program, and the order of the others ------------------------------------ */

static uint64_t read_auxv(struct suture_process *p, uint64_t type)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (sut_procfs_read(p->live_tid, 0, "auxv", 65536, &text, &len))
		return 0;
	for (size_t i = 0; i + 16 <= len; i += 16)
		if (sut_le64(text + i) == type)
			return sut_le64(text + i + 8);
	return 0;
}

/* The link map's head, from the program's DT_DEBUG, or from the dynamic linker's own symbol where
 * that one was run as a program. 0: none yet, or a static program. */
static uint64_t find_r_debug(struct suture_process *p, struct sut_object *o)
{
	struct dyn_wanted w = { 0 };
	struct sut_dynsym sym;
	struct sut_elf *elf;
	uint64_t addr = 0;

	each_dynamic(p, o->dynamic, pick_dynamic, &w);
	if (w.debug || o->has_interp || sut_object_elf(p, o, &elf))
		return w.debug;
	if (sut_elf_dynsym(elf, "_r_debug", NULL, &sym))
		return sym.value + o->bias;
	/* musl: a pointer to it */
	if (sut_elf_dynsym(elf, "_dl_debug_addr", NULL, &sym) &&
	    sut_process_read_some(p, sym.value + o->bias, &addr, 8) == 8)
		return addr;
	return 0;
}

/* struct link_map: l_addr, l_name, l_ld, l_next, l_prev */
static void order_by_link_map(struct suture_process *p, uint64_t r_debug, bool set_main)
{
	uint64_t r[2], at, link[5];

	if (!r_debug || sut_process_read_some(p, r_debug, r, sizeof(r)) != sizeof(r))
		return;
	at = r[1];
	for (unsigned n = 0; at && n < MAX_LINKS; n++, at = link[3]) {
		struct sut_object *o;

		if (sut_process_read_some(p, at, link, sizeof(link)) != sizeof(link))
			return;
		o = sut_process_object_at(p, link[2]);
		if (!o)
			continue;
		if (n == 0 && set_main && !o->is_vdso) {
			for (size_t i = 0; i < p->obj.n; i++)
				p->obj.v[i].is_main = &p->obj.v[i] == o;
		}
		if (n && o->load_order >= MAX_LINKS)
			o->load_order = n;
	}
}

static int by_load_order(const void *a, const void *b)
{
	const struct sut_object *x = a, *y = b;

	return x->load_order < y->load_order ? -1 : x->load_order > y->load_order;
}

/* The object that holds the program headers that the kernel told the program of. */
static struct sut_object *find_main(struct suture_process *p)
{
	struct sut_object *o = sut_process_object_at(p, read_auxv(p, AT_PHDR));

	if (!o)
		o = sut_process_object_at(p, read_auxv(p, AT_ENTRY));
	return o;
}

static bool named_like_interp(const struct sut_object *o)
{
	return !strncmp(o->name, "ld-", 3) || !strncmp(o->name, "ld.so", 5) || !strncmp(o->name, "ld64", 4) ||
	       strstr(o->path, "/ld-musl") || !strncmp(o->name, "libc.musl", 9);
}

static int order_objects(struct suture_process *p)
{
	struct sut_object *first = find_main(p);
	bool run_by_interp;

	if (!first)
		return sut_fail(p->ctx, SUTURE_EREFUSED, "%s[%d]: its executable is not mapped as an ELF file", p->comm,
				p->pid);
	for (size_t i = 0; i < p->obj.n; i++)
		p->obj.v[i].load_order = MAX_LINKS + i;
	first->is_main = true;
	/* "ld.so PROGRAM": the kernel knows only ld.so. */
	run_by_interp = !first->has_interp && named_like_interp(first);
	if (first->dynamic)
		order_by_link_map(p, find_r_debug(p, first), run_by_interp);
	for (size_t i = 0; i < p->obj.n; i++)
		if (p->obj.v[i].is_main)
			p->obj.v[i].load_order = 0;
	qsort(p->obj.v, p->obj.n, sizeof(p->obj.v[0]), by_load_order);
	return 0;
}

/* What was opened for an object that is still there is kept. */
static void keep_opened(struct sut_object *now, struct sut_object *old, size_t n_old)
{
	for (size_t i = 0; i < n_old; i++) {
		struct sut_object *o = &old[i];

		if (o->start != now->start || o->end != now->end || o->inode != now->inode || o->bias != now->bias ||
		    o->dev_major != now->dev_major || o->dev_minor != now->dev_minor || strcmp(o->path, now->path))
			continue;
		if (now->elf) { /* opened while the list was made */
			sut_elf_close(now->elf);
			now->elf = NULL;
		}
		now->elf = o->elf;
		now->symtab = o->symtab;
		now->cfi = o->cfi;
		now->cfi_failed = o->cfi_failed;
		o->elf = NULL;
		o->symtab = NULL;
		o->cfi = NULL;
		return;
	}
}

static bool same_list(struct suture_process *p, const struct sut_object *old, size_t n)
{
	if (p->obj.n != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (p->obj.v[i].start != old[i].start || p->obj.v[i].inode != old[i].inode)
			return false;
	return true;
}

/* Room to read the mappings again without allocating. Too little only makes the unwinder doubt. */
static void reserve_maps_buf(struct sut_priv *pr, size_t n)
{
	size_t want = n * 192 + 65536;
	char *buf = want > pr->maps_cap ? realloc(pr->maps_buf, want) : NULL;

	if (!buf)
		return;
	pr->maps_buf = buf;
	pr->maps_cap = want;
}

#define EXEC_TRIES 50 /* times a millisecond */

static int refresh(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;
	struct suture_process saved = *p;
	int err;

	sut_process_find_live(p);
	memset(&p->maps, 0, sizeof(p->maps));
	memset(&p->obj, 0, sizeof(p->obj));
	err = p->mem.ops->maps(&p->mem, &p->maps);
	if (!err)
		err = find_objects(p);
	if (!err)
		err = order_objects(p);
	if (!err && !sut_process_same_program(p))
		err = sut_fail_gone(p);
	if (err) { /* as before */
		sut_objects_free(p);
		sut_maps_free(&p->maps);
		p->obj.v = saved.obj.v;
		p->obj.n = saved.obj.n;
		p->obj.cap = saved.obj.cap;
		p->maps = saved.maps;
		return err;
	}
	for (size_t i = 0; i < p->obj.n; i++)
		keep_opened(&p->obj.v[i], saved.obj.v, saved.obj.n);
	reserve_maps_buf(pr, p->maps.m.n);
	if (!same_list(p, saved.obj.v, saved.obj.n))
		pr->gadgets_searched = pr->restorers_searched = pr->switchers_searched = false;
	for (size_t i = 0; i < saved.obj.n; i++)
		object_free(&saved.obj.v[i]);
	free(saved.obj.v);
	sut_maps_free(&saved.maps);
	return 0;
}

int sut_process_refresh(struct suture_process *p)
{
	struct timespec ms = { 0, 1000000 };
	int err = 0;

	/* In the middle of an exec nothing is mapped, or not all yet: that passes. */
	for (unsigned i = 0; i < EXEC_TRIES; i++) {
		if (sut_priv(p)->gone)
			return sut_fail_gone(p);
		err = refresh(p);
		if (err != -SUTURE_EREFUSED)
			break;
		nanosleep(&ms, NULL);
	}
	return err;
}

struct sut_object *sut_process_object_at(struct suture_process *p, uint64_t addr)
{
	for (size_t i = 0; i < p->obj.n; i++)
		if (sut_in(p->obj.v[i].start, p->obj.v[i].end, addr))
			return &p->obj.v[i];
	return NULL;
}

/* linux/fs.h of 6.11: one mapping asked for by address, instead of the text of all. */
struct procmap_query {
	uint64_t size, query_flags, query_addr;
	uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
	uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
	uint64_t vma_name_addr, build_id_addr;
};
#define PROCMAP_QUERY    _IOWR('f', 17, struct procmap_query)
#define QUERY_EXECUTABLE 0x04
#define QUERY_FIRST_AT   0x10 /* the one that covers the address, else the next */

static void compare(struct sut_object *o, uint64_t inode, unsigned dev_major, unsigned dev_minor)
{
	if (!o->seen)
		o->stale = false;
	o->seen = true;
	if (!o->is_vdso && (inode != o->inode || dev_major != o->dev_major || dev_minor != o->dev_minor))
		o->stale = true;
}

/* False: this kernel can not. */
static bool verify_by_query(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;

	for (size_t i = 0; i < p->obj.n; i++) {
		struct sut_object *o = &p->obj.v[i];

		for (uint64_t at = o->start; at < o->end;) {
			struct procmap_query q = { .size = sizeof(q),
						   .query_flags = QUERY_EXECUTABLE | QUERY_FIRST_AT,
						   .query_addr = at };

			if (ioctl(pr->maps_fd, PROCMAP_QUERY, &q)) {
				if (errno != ENOENT)
					return false;
				break;
			}
			if (q.vma_start >= o->end || q.vma_end <= at)
				break;
			compare(o, q.inode, q.dev_major, q.dev_minor);
			at = q.vma_end;
		}
	}
	return true;
}

void sut_objects_verify(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;
	struct sut_maps_line l;
	const char *s = pr->maps_buf;
	size_t len;

	for (size_t i = 0; i < p->obj.n; i++) {
		p->obj.v[i].seen = false;
		p->obj.v[i].stale = true;
	}
	if (pr->maps_fd >= 0 && verify_by_query(p))
		return;
	/* More mappings than there is room for: whatever was not seen is not believed. */
	len = sut_procfs_fill(p->live_tid, "maps", pr->maps_buf, pr->maps_cap);
	while (sut_maps_line_next(&s, pr->maps_buf + len, &l)) {
		struct sut_object *o = l.exec ? sut_process_object_at(p, l.start) : NULL;

		if (o)
			compare(o, l.inode, l.dev_major, l.dev_minor);
	}
	for (size_t i = 0; i < p->obj.n && len == pr->maps_cap; i++)
		p->obj.v[i].stale = true;
}

/* -- files ------------------------------------------------------------------------------------ */

/* Whether an opened file is the mapped one: by device and inode; where the file system shows another
 * device in maps, by inode and by the bytes of its first page (which hold the build-id). */
static bool is_mapped_file(struct suture_process *p, int fd, const struct sut_object *o)
{
	uint8_t file[4096], mapped[4096];
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_ino != o->inode)
		return false;
	if (major(st.st_dev) == o->dev_major && minor(st.st_dev) == o->dev_minor)
		return true;
	n = pread(fd, file, sizeof(file), 0);
	return n > 64 && sut_process_read_some(p, o->start, mapped, (size_t)n) == (size_t)n &&
	       !memcmp(file, mapped, (size_t)n);
}

static int open_quiet(const char *path)
{
	return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

/* map_files and /proc/PID/exe lead to the mapped file itself, whatever its name leads to now. */
static int open_magic(struct suture_process *p, const struct sut_object *o)
{
	struct stat st;
	char path[96];
	int fd;

	for (size_t i = 0; i < p->maps.m.n; i++) {
		const struct sut_map *m = &p->maps.m.v[i];

		if (m->inode != o->inode || m->dev_major != o->dev_major || m->dev_minor != o->dev_minor ||
		    !sut_in(o->start, o->end, m->start))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", p->live_tid, (unsigned long long)m->start,
			 (unsigned long long)m->end);
		fd = open_quiet(path);
		if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode))
			return fd;
		if (fd >= 0)
			close(fd);
	}
	snprintf(path, sizeof(path), "/proc/%d/exe", p->live_tid);
	fd = open_quiet(path);
	if (fd >= 0 && is_mapped_file(p, fd, o))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Opens the very file that is mapped as @o: a descriptor, or a recorded failure. */
static int object_open(struct suture_process *p, const struct sut_object *o)
{
	const char *path = o->path;
	char root[64], link[PATH_MAX];
	ssize_t n;
	int fd = open_magic(p, o);

	if (fd >= 0)
		return fd;
	/* The name is as we see it; our root may lie above the target's. */
	n = readlink(sut_process_root(p, root), link, sizeof(link) - 1);
	if (n > 1) {
		link[n] = '\0';
		if (!strncmp(path, link, (size_t)n) && path[n] == '/')
			path += n;
	}
	fd = sut_open_in_root(root, path);
	if (fd >= 0 && is_mapped_file(p, fd, o))
		return fd;
	if (fd >= 0)
		close(fd);
	sut_fail(p->ctx, SUTURE_EREFUSED, "%s, mapped by %s[%d], can not be opened: %s", path, p->comm, p->pid,
		 fd >= 0 ? "another file stands at that path now" : strerror(-fd));
	return sut_hint(p->ctx,
			"a file that is no longer at its path is reached through /proc/%d/map_files, which takes "
			"CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE",
			p->pid);
}

/* The vDSO has no file: its pages are one. */
static int open_vdso(struct suture_process *p, struct sut_object *o, struct sut_elf **ret)
{
	const struct sut_map *m = sut_maps_at(&p->maps, o->start);
	size_t size = m ? m->end - m->start : 0;
	void *image = malloc(size + 1);
	int err;

	if (!image)
		return sut_nomem(p->ctx);
	err = sut_mem_read(&p->mem, o->start, image, size);
	if (err) {
		free(image);
		return err;
	}
	return sut_elf_open_memory(p->ctx, image, size, "[vdso]", ret);
}

int sut_object_elf(struct suture_process *p, struct sut_object *o, struct sut_elf **ret)
{
	int err;

	if (!o->elf && o->is_vdso) {
		err = open_vdso(p, o, &o->elf);
		if (err)
			return err;
	} else if (!o->elf) {
		int fd = object_open(p, o);

		if (fd < 0)
			return fd;
		err = sut_elf_open_fd(p->ctx, fd, o->path, &o->elf);
		if (err)
			return err;
	}
	*ret = o->elf;
	return 0;
}

struct sut_cfi *sut_object_cfi(struct suture_process *p, struct sut_object *o)
{
	struct sut_elf *elf;

	if (!o->cfi && !o->cfi_failed)
		o->cfi_failed = sut_object_elf(p, o, &elf) || sut_cfi_open(elf, &o->cfi);
	return o->cfi;
}

int sut_object_symtab(struct suture_process *p, struct sut_object *o, struct sut_symtab **ret)
{
	struct sut_symtab *offered = NULL;
	struct sut_elf *elf;
	char root[64];
	int err = 0;

	if (o->symtab) {
		*ret = o->symtab;
		return 0;
	}
	err = sut_object_elf(p, o, &elf);
	if (!err)
		err = sut_symtab_load(p->ctx, elf, sut_process_root(p, root), NULL, &o->symtab);
	if (err)
		return err;
	/* Stripped: the files that the user offered. The one that fits is taken; for the program one must fit. */
	if (o->symtab->source == SUT_SYMS_DYNAMIC || o->symtab->source == SUT_SYMS_MINI)
		for (size_t i = 0; !offered && p->debug && p->debug[i]; i++)
			err = sut_symtab_load(p->ctx, elf, root, p->debug[i], &offered);
	if (offered) {
		sut_symtab_free(o->symtab);
		o->symtab = offered;
	} else if (err && (o->is_main || err != -SUTURE_EREFUSED)) {
		sut_symtab_free(o->symtab);
		o->symtab = NULL;
		return err;
	}
	*ret = o->symtab;
	return 0;
}
