/* SPDX-License-Identifier: MIT */
/*
 * poke.c - changes text: shadows of pages are prepared, then moved over the original.
 *
 * Words: a *run* is a text mapping as its file has it, however many lines of /proc/PID/maps it is split
 * into (a swap splits it); a *region* is the part of a run from the first to the last page that holds a site of the
 * batch; its *shadow* is one mapping of the same file part, elsewhere, with the new bytes; the *pristine* is
 * a duplicate of the whole run that is never written to, from which shadows are made.
 *
 * Invariants:
 *  - Text in use is changed by mremap(MREMAP_FIXED) of a whole shadow, or, with SUT_POKE_WRITE, by
 *    /proc/PID/mem while the caller holds every thread outside the bytes; by nothing else.
 *  - A shadow holds, byte for byte, what the region holds at that time, but for the pokes. Pages equal
 *    to the file's are not written, so they stay the page cache's.
 *  - No mapping is writable: new bytes go through the memory file, which may write to r-x.
 *  - The commit allocates nothing: in one's own process the others stand still, perhaps inside malloc.
 *  - What a tool that dies leaves behind is an unused r-x mapping of the target's own file.
 *
 * A shadow is made without a file descriptor, by mremap(MREMAP_DONTUNMAP) of the pristine (5.13 and later): works
 * chrooted and for deleted files. That call moves page tables away from its source, so it is used on
 * the text itself only while none of its pages is private.
 */
#include <errno.h>
#include <stdarg.h>
#include <linux/mman.h>
#include <sys/mman.h>

#include "text/poke.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

#define MAP_RESERVE     16 /* mappings that must stay free below vm.max_map_count */
#define CHUNK           (1u << 20)
#define MOVE_TRIES      50 /* to fill a hole where text was */
#define MOVE_BACK_TRIES 3

struct region {
	struct sut_range run; /* runtime addresses of the whole text mapping */
	struct sut_map map; /* a mapping of the run; name points into the batch's snapshot */
	uint64_t run_offset; /* file offset of run.start */
	uint64_t lo, hi; /* the pages that are swapped */
	size_t first, n; /* its pokes */
	struct sut_pristine pristine; /* len 0: none */
	bool made_pristine; /* by this batch */
	uint64_t shadow; /* 0: none */
	bool *private; /* per page, as of prepare; and as many again for the commit to use */
	bool locked; /* mlock'ed */
	bool alike; /* the shadow is the kernel's own duplicate of the text, or of a pristine that was compared before */
	bool moved;
};

struct sut_poke_batch {
	struct sut_mem *mem;
	struct sut_maps maps;
	SUT_VEC(struct sut_poke) poke; /* sorted by prepare */
	SUT_VEC(struct region) region;
	SUT_VEC(struct sut_pristine) given;
	uint64_t room, room_end; /* reserved by the caller and not used yet */
	int (*leaving)(void *arg,
		       const struct sut_poke_batch *b); /* to be told before a part of it goes, NULL: it was */
	void *leaving_arg;
	enum sut_poke_method method;
	bool committed;
	char why[200];
	uint8_t *chunks; /* two of chunk_size() bytes, for the commit too, which may have to do without malloc */
};

int sut_poke_create(struct sut_mem *mem, struct sut_poke_batch **ret)
{
	struct sut_poke_batch *b = calloc(1, sizeof(*b));

	if (!b)
		return sut_nomem(mem->ctx);
	b->mem = mem;
	*ret = b;
	return 0;
}

static void forget_regions(struct sut_poke_batch *b)
{
	for (size_t i = 0; i < b->region.n; i++)
		free(b->region.v[i].private);
	sut_vec_free(&b->region);
	sut_maps_free(&b->maps);
}

void sut_poke_destroy(struct sut_poke_batch *b)
{
	if (!b)
		return;
	forget_regions(b);
	sut_vec_free(&b->poke);
	sut_vec_free(&b->given);
	free(b->chunks);
	free(b);
}

int sut_poke_add(struct sut_poke_batch *b, const struct sut_poke *poke)
{
	struct suture_ctx *ctx = b->mem->ctx;

	if (!poke->len || poke->len > SUT_POKE_MAX || poke->addr + poke->len < poke->addr)
		return sut_fail(ctx, SUTURE_EBUG, "a poke of %zu bytes at 0x%lx", poke->len, poke->addr);
	for (size_t i = 0; i < b->poke.n; i++) {
		const struct sut_poke *o = &b->poke.v[i];

		if (poke->addr < o->addr + o->len && o->addr < poke->addr + poke->len)
			return sut_fail(ctx, SUTURE_EREFUSED, "two changes of text overlap at 0x%lx", poke->addr);
	}
	return sut_vec_push(&b->poke, *poke) ? sut_nomem(ctx) : 0;
}

int sut_poke_use_pristine(struct sut_poke_batch *b, const struct sut_pristine *p)
{
	return sut_vec_push(&b->given, *p) ? sut_nomem(b->mem->ctx) : 0;
}

size_t sut_poke_n_mappings(const struct sut_poke_batch *b)
{
	return b->region.n;
}

enum sut_poke_method sut_poke_method(const struct sut_poke_batch *b)
{
	return b->method;
}

const char *sut_poke_why(const struct sut_poke_batch *b)
{
	return b->method == SUT_POKE_WRITE ? b->why : NULL;
}

size_t sut_poke_pristines(const struct sut_poke_batch *b, struct sut_pristine *ret, size_t cap)
{
	size_t n = 0;

	for (size_t i = 0; i < b->region.n; i++) {
		if (!b->region.v[i].pristine.len)
			continue;
		if (n < cap)
			ret[n] = b->region.v[i].pristine;
		n++;
	}
	return n;
}

size_t sut_poke_shadows(const struct sut_poke_batch *b, struct sut_pristine *ret, size_t cap)
{
	size_t n = 0;

	for (size_t i = 0; i < b->region.n; i++) {
		const struct region *r = &b->region.v[i];

		if (!r->shadow)
			continue;
		if (n < cap)
			ret[n] = (struct sut_pristine){ r->lo, r->hi - r->lo, r->shadow };
		n++;
	}
	return n;
}

/* --- what is there --------------------------------------------------------------------------- */

/* Explains bytes that are not the expected ones. */
static int foreign_bytes(struct sut_poke_batch *b, const struct sut_poke *p, const uint8_t *found)
{
	char want[2 * SUT_POKE_MAX + 1], got[2 * SUT_POKE_MAX + 1];
	struct suture_ctx *ctx = b->mem->ctx;
	struct sut_insn insn;
	size_t i = 0;

	while (i < p->len && found[i] == p->old[i])
		i++;
	if (!b->mem->arch->insn_decode(found + i, p->len - i, p->addr + i, &insn) && insn.kind == SUT_INSN_TRAP) {
		(void)sut_fail(ctx, SUTURE_EREFUSED, "a breakpoint or uprobe stands at 0x%lx, where text is to change",
			       p->addr + i);
		(void)sut_hint(ctx, "remove it (gdb: delete; perf probe --del; bpftrace: stop it) and try again");
		return sut_fail_address(ctx, p->addr + i);
	}
	if (!b->mem->arch->insn_decode(found, p->len, p->addr, &insn) && i < insn.len &&
	    (insn.kind == SUT_INSN_JUMP || insn.kind == SUT_INSN_CALL))
		(void)sut_fail(ctx, SUTURE_EREFUSED, "a foreign %s to 0x%lx stands at 0x%lx, where text is to change",
			       insn.kind == SUT_INSN_JUMP ? "jump" : "call", insn.target, p->addr);
	else
		(void)sut_fail(ctx, SUTURE_EREFUSED, "the text at 0x%lx is not what it should be: %s instead of %s",
			       p->addr, sut_hex(found, p->len, got), sut_hex(p->old, p->len, want));
	(void)sut_hint(ctx, "another tool (a tracer, an optimised uprobe, a hook) may have changed it");
	return sut_fail_address(ctx, p->addr);
}

static int verify_old(struct sut_poke_batch *b)
{
	for (size_t i = 0; i < b->poke.n; i++) {
		const struct sut_poke *p = &b->poke.v[i];
		uint8_t now[SUT_POKE_MAX];
		int err = sut_mem_read(b->mem, p->addr, now, p->len);

		if (err)
			return err;
		if (memcmp(now, p->old, p->len))
			return foreign_bytes(b, p, now);
	}
	return 0;
}

static bool same_file(const struct sut_map *a, const struct sut_map *b)
{
	return a->inode == b->inode && a->dev_major == b->dev_major && a->dev_minor == b->dev_minor &&
	       a->prot == b->prot && a->shared == b->shared;
}

/* Whether @next goes on where @m ends, in memory and in the file. */
static bool continues(const struct sut_map *m, const struct sut_map *next)
{
	return m->end == next->start && same_file(m, next) &&
	       (!m->inode || m->offset + (m->end - m->start) == next->offset);
}

static int find_run(struct sut_poke_batch *b, uint64_t addr, struct region *r)
{
	const struct sut_map *m = sut_maps_at(&b->maps, addr), *first = b->maps.m.v, *last = first + b->maps.m.n - 1;
	const struct sut_map *from = m, *to = m;

	if (!m)
		return sut_fail(b->mem->ctx, SUTURE_EGONE, "nothing is mapped at 0x%lx, where text is to change", addr);
	if (!(m->prot & SUT_PROT_X))
		return sut_fail(b->mem->ctx, SUTURE_EREFUSED, "0x%lx is not executable memory", addr);
	if (m->shared) {
		(void)sut_fail(b->mem->ctx, SUTURE_EREFUSED, "the text at 0x%lx is a shared mapping of %s", addr,
			       m->name);
		return sut_hint(b->mem->ctx, "a change would reach other processes and the file: not done");
	}
	while (from > first && continues(from - 1, from))
		from--;
	while (to < last && continues(to, to + 1))
		to++;
	r->run = (struct sut_range){ from->start, to->end };
	r->run_offset = from->offset;
	r->map = *m;
	return 0;
}

static int by_addr(const void *a, const void *b)
{
	const struct sut_poke *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

/* Sorts the pokes into regions. */
static int find_regions(struct sut_poke_batch *b)
{
	uint64_t page = b->mem->page_size;
	int err = b->mem->ops->maps(b->mem, &b->maps);

	if (err)
		return err;
	qsort(b->poke.v, b->poke.n, sizeof(b->poke.v[0]), by_addr);
	for (size_t i = 0; i < b->poke.n; i++) {
		const struct sut_poke *p = &b->poke.v[i];
		struct region *r = b->region.n ? &b->region.v[b->region.n - 1] : NULL, new = { 0 };

		if (!r || p->addr >= r->run.end) {
			err = find_run(b, p->addr, &new);
			if (!err && sut_vec_push(&b->region, new))
				err = sut_nomem(b->mem->ctx);
			if (err)
				return err;
			r = &b->region.v[b->region.n - 1];
			r->first = i;
			r->lo = SUT_ALIGN_DOWN(p->addr, page);
		}
		if (p->addr + p->len > r->run.end)
			return sut_fail(b->mem->ctx, SUTURE_EREFUSED, "the site at 0x%lx reaches over the end of %s",
					p->addr, r->map.name);
		r->hi = SUT_ALIGN_UP(p->addr + p->len, page);
		r->n++;
	}
	return 0;
}

/* Records why pages can not be swapped; the whole batch is then written in a common stop. */
static void no_swap(struct sut_poke_batch *b, const char *fmt, ...) sut_printf(2, 3);
static void no_swap(struct sut_poke_batch *b, const char *fmt, ...)
{
	va_list ap;

	if (b->method == SUT_POKE_WRITE)
		return;
	b->method = SUT_POKE_WRITE;
	va_start(ap, fmt);
	vsnprintf(b->why, sizeof(b->why), fmt, ap);
	va_end(ap);
}

/* --- pristine duplicates --------------------------------------------------------------------- */

/* Whether [addr, addr+len) is part of one private r-x mapping of the run's file at that offset. */
static bool maps_part(const struct sut_maps *maps, const struct region *r, uint64_t addr, uint64_t len, uint64_t offset)
{
	const struct sut_map *m = sut_maps_at(maps, addr);

	return m && same_file(m, &r->map) && sut_fits(addr - m->start, len, m->end - m->start) &&
	       m->offset + (addr - m->start) == offset;
}

static bool any_private(const bool *private, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (private[i])
			return true;
	return false;
}

/* An address in the caller's room for @len bytes, 0: none; the kernel then chooses. */
static uint64_t take_room(struct sut_poke_batch *b, uint64_t len)
{
	uint64_t at = b->room;

	if (!at || len > b->room_end - at)
		return 0;
	b->room += len;
	return at;
}

/* The caller's room is not whole any more from here on. */
static int tell_leaving(struct sut_poke_batch *b)
{
	int err = b->leaving ? b->leaving(b->leaving_arg, b) : 0;

	if (!err)
		b->leaving = NULL;
	return err;
}

/* 1: the kernel does not know MREMAP_DONTUNMAP here; else an error, or 0 with the address. */
static int duplicate(struct sut_poke_batch *b, uint64_t addr, uint64_t len, uint64_t *ret)
{
	uint64_t at = take_room(b, len), flags = MREMAP_MAYMOVE | MREMAP_DONTUNMAP | (at ? MREMAP_FIXED : 0);
	int64_t got = 0;
	int err = sut_mem_syscall(b->mem, &got, SUT_SYS_MREMAP, addr, len, len, flags, at);

	if (err)
		return err;
	if (got < 0 && got >= -4095) { /* the place in the room may be a hole by now: not used again */
		err = at ? tell_leaving(b) : 0;
		return err ? err : 1;
	}
	*ret = (uint64_t)got;
	return 0;
}

static int unmap(struct sut_poke_batch *b, uint64_t addr, uint64_t len)
{
	uint64_t got;
	int err = tell_leaving(b);

	return err ? err : sut_mem_call(b->mem, "munmap", &got, SUT_SYS_MUNMAP, (const uint64_t[6]){ addr, len });
}

/* Maps the file of the run again, by a descriptor that the target opens. 1: it can not. */
static int map_again(struct sut_poke_batch *b, const struct region *r, uint64_t offset, uint64_t len, uint64_t *ret)
{
	int64_t got = 0, closed = 0;
	uint64_t at;
	int fd = -1;
	int err = b->mem->ops->open_mapped(b->mem, &r->map, &fd);

	if (err)
		return 1;
	at = take_room(b, len);
	err = sut_mem_syscall(b->mem, &got, SUT_SYS_MMAP, at, len, PROT_READ | PROT_EXEC,
			      MAP_PRIVATE | (at ? MAP_FIXED : 0), (uint64_t)fd, offset);
	if (!err)
		err = sut_mem_syscall(b->mem, &closed, SUT_SYS_CLOSE, (uint64_t)fd);
	if (err)
		return err;
	if (got < 0 && got >= -4095)
		return 1;
	*ret = (uint64_t)got;
	return 0;
}

/* Whether the caller knows a good pristine of the region. */
static bool use_given(struct sut_poke_batch *b, struct region *r)
{
	for (size_t i = 0; i < b->given.n; i++) {
		const struct sut_pristine *p = &b->given.v[i];

		if (p->len && p->text <= r->lo && sut_fits(r->lo - p->text, r->hi - r->lo, p->len) &&
		    p->text >= r->run.start &&
		    maps_part(&b->maps, r, p->copy, p->len, r->run_offset + (p->text - r->run.start))) {
			r->pristine = *p;
			return true;
		}
	}
	return false;
}

/*
 * Gives the region its pristine: the one that the caller knows, else a new duplicate of the run. A kernel without
 * MREMAP_DONTUNMAP gets none: shadows are then mapped from the file each time.
 */
static int find_pristine(struct sut_poke_batch *b, struct region *r)
{
	uint64_t len = r->run.end - r->run.start, copy = 0;
	size_t pages = len / b->mem->page_size;
	bool *private;
	int err;

	if (use_given(b, r)) {
		r->alike = true;
		return 0;
	}
	private = calloc(pages, sizeof(*private));
	if (!private)
		return sut_nomem(b->mem->ctx);
	err = b->mem->ops->private_pages(b->mem, r->run.start, r->run.end, private);
	/* MREMAP_DONTUNMAP takes private pages, and the lock of locked ones, away from its source. */
	if (!err && (r->locked || any_private(private, pages))) {
		err = map_again(b, r, r->run_offset, len, &copy);
	} else if (!err) {
		err = duplicate(b, r->run.start, len, &copy);
		r->alike = !err;
	}
	free(private);
	if (err)
		return err < 0 ? err : 0;
	r->pristine = (struct sut_pristine){ r->run.start, len, copy };
	r->made_pristine = true;
	return 0;
}

/* --- shadows --------------------------------------------------------------------------------- */

static int make_shadow(struct sut_poke_batch *b, struct region *r)
{
	uint64_t offset = r->run_offset + (r->lo - r->run.start), len = r->hi - r->lo;
	struct sut_maps maps;
	int64_t ignored = 0;
	bool whole = true;
	int err = 1;

	if (r->pristine.len)
		err = duplicate(b, r->pristine.copy + (r->lo - r->pristine.text), len, &r->shadow);
	if (err == 1) {
		r->alike = false;
		err = map_again(b, r, offset, len, &r->shadow);
	}
	if (err == 1) {
		no_swap(b, "the pages of %s can not be mapped a second time (file gone, kernel before 5.13?)",
			r->map.name);
		return 0;
	}
	/* When a frozen process takes a change back: it is made as the first one was, which was looked at. */
	if (!err && !b->mem->frozen) {
		err = b->mem->ops->maps(b->mem, &maps);
		if (!err) {
			whole = maps_part(&maps, r, r->shadow, len, offset);
			sut_maps_free(&maps);
		}
	}
	if (err)
		return err;
	if (!whole)
		return sut_fail(b->mem->ctx, SUTURE_EFAILED, "the shadow of %s at 0x%lx is not one mapping of it",
				r->map.name, r->shadow);
	/* Without its pages in place the text would fault once more after the swap: no harm, only time. */
	return sut_mem_syscall(b->mem, &ignored, SUT_SYS_MADVISE, r->shadow, len, MADV_POPULATE_READ);
}

/* The bytes of @p that lie in the page at @page, put over @bytes (that page's). */
static void put_poke(const struct sut_poke *p, const uint8_t *src, uint64_t page, uint64_t page_size, uint8_t *bytes)
{
	for (size_t i = 0; i < p->len; i++)
		if (p->addr + i >= page && p->addr + i - page < page_size)
			bytes[p->addr + i - page] = src[i];
}

/* Brings one page of the shadow to the text's present bytes with the pokes in it (or, @back, taken out of it). */
static int fill_page(struct sut_poke_batch *b, struct region *r, uint64_t page, uint8_t *want, const uint8_t *have,
		     bool back)
{
	uint64_t size = b->mem->page_size;
	uint8_t check[64];
	size_t from = 0, to = size;
	int err;

	for (size_t i = r->first; i < r->first + r->n; i++)
		put_poke(&b->poke.v[i], back ? b->poke.v[i].old : b->poke.v[i].new, page, size, want);
	while (from < to && want[from] == have[from])
		from++;
	while (to > from && want[to - 1] == have[to - 1])
		to--;
	if (from == to)
		return 0;
	err = sut_mem_write(b->mem, r->shadow + (page - r->lo) + from, want + from, to - from);
	for (size_t at = from; at < to && !err; at += sizeof(check)) {
		size_t n = to - at < sizeof(check) ? to - at : sizeof(check);

		err = sut_mem_read(b->mem, r->shadow + (page - r->lo) + at, check, n);
		if (!err && memcmp(check, want + at, n))
			err = sut_fail(b->mem->ctx, SUTURE_EFAILED, "bytes written for %s at 0x%lx do not stay",
				       r->map.name, page + at);
	}
	return err;
}

static size_t chunk_size(const struct sut_poke_batch *b)
{
	return CHUNK > b->mem->page_size ? CHUNK : b->mem->page_size;
}

static int fill_shadow(struct sut_poke_batch *b, struct region *r, bool back)
{
	uint64_t size = b->mem->page_size;
	size_t chunk = chunk_size(b);
	uint8_t *want = b->chunks, *have = want + chunk;
	int err = 0;

	for (uint64_t at = r->lo; at < r->hi && !err; at += chunk) {
		size_t n = r->hi - at < chunk ? r->hi - at : chunk;

		err = sut_mem_read(b->mem, at, want, n);
		if (!err)
			err = sut_mem_read(b->mem, r->shadow + (at - r->lo), have, n);
		for (size_t off = 0; off < n && !err; off += size)
			err = fill_page(b, r, at + off, want + off, have + off, back);
	}
	return err;
}

/* --- flags of the mapping -------------------------------------------------------------------- */

static bool has_flag(const char *flags, const char *flag)
{
	for (const char *p = flags; (p = strstr(p, flag)); p += 2)
		if ((p == flags || p[-1] == ' ') && (p[2] == ' ' || !p[2]))
			return true;
	return false;
}

/* Two-letter flags (proc(5), VmFlags) that a swap can not bring over, with what to say of them. */
static const struct {
	char flag[3];
	const char *name;
} unswappable[] = {
	{ "sl", "sealed" },
	{ "ht", "of huge pages" },
	{ "io", "memory of a device" },
	{ "pf", "memory of a device" },
};

/* mlock'ed text keeps its lock; what else differs forbids the swap. */
static int match_flags(struct sut_poke_batch *b, struct region *r)
{
	static const char must_agree[][3] = { "rd", "wr", "ex", "sh", "mr", "mw", "me", "dc", "dd", "ss", "uw", "um" };
	char text[256], shadow[256];
	int64_t got = 0;
	int err = b->mem->ops->vm_flags(b->mem, r->lo, text, sizeof(text));

	for (size_t i = 0; i < SUT_ARRAY_SIZE(unswappable) && !err; i++)
		if (has_flag(text, unswappable[i].flag))
			no_swap(b, "the text of %s is %s", r->map.name, unswappable[i].name);
	r->locked = !err && has_flag(text, "lo");
	if (err || b->method == SUT_POKE_WRITE || !r->shadow)
		return err;
	if (r->locked) {
		err = sut_mem_syscall(b->mem, &got, SUT_SYS_MLOCK2, r->shadow, r->hi - r->lo, 0);
		if (!err && got)
			no_swap(b, "the locked text of %s can not be locked a second time (RLIMIT_MEMLOCK)",
				r->map.name);
	}
	if (!err)
		err = b->mem->ops->vm_flags(b->mem, r->shadow, shadow, sizeof(shadow));
	for (size_t i = 0; i < SUT_ARRAY_SIZE(must_agree) && !err; i++)
		if (has_flag(text, must_agree[i]) != has_flag(shadow, must_agree[i]))
			no_swap(b, "a duplicate of the text of %s lacks its flag %s", r->map.name, must_agree[i]);
	return err;
}

/* --- prepare, commit, drop --------------------------------------------------------------------- */

static unsigned long max_map_count(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
	unsigned long n = 65530;

	if (f && fscanf(f, "%lu", &n) != 1)
		n = 65530;
	return n;
}

static int prepare_region(struct sut_poke_batch *b, struct region *r)
{
	size_t pages = (r->hi - r->lo) / b->mem->page_size;
	bool locked = false;
	int err;

	if (!r->map.inode) {
		no_swap(b, "the text at 0x%lx is not a file's", r->lo);
		return 0;
	}
	if (r->map.prot & SUT_PROT_W) { /* what threads store between prepare and commit would be lost */
		no_swap(b, "the text of %s is writable", r->map.name);
		return 0;
	}
	err = b->mem->ops->any_locked(b->mem, &locked);
	if (!err && locked)
		err = match_flags(b, r);
	if (err || b->method == SUT_POKE_WRITE)
		return err;
	r->private = calloc(2 * pages, sizeof(*r->private));
	if (!b->chunks)
		b->chunks = malloc(2 * chunk_size(b));
	if (!r->private || !b->chunks)
		return sut_nomem(b->mem->ctx);
	err = find_pristine(b, r);
	if (!err)
		err = make_shadow(b, r);
	/* A sealed text, for one, can not be duplicated by the kernel, and ends up here. */
	if (!err && (locked || !r->alike))
		err = match_flags(b, r);
	if (!err && b->method == SUT_POKE_SWAP)
		err = fill_shadow(b, r, false);
	if (!err)
		err = b->mem->ops->private_pages(b->mem, r->lo, r->hi, r->private);
	return err;
}

/* Takes shadows away, and with @pristines what prepare has made of them; in a batch that was committed, a
 * region that moved has no shadow any more. */
static int drop_shadows(struct sut_poke_batch *b, bool pristines)
{
	int err = 0;

	for (size_t i = 0; i < b->region.n; i++) {
		struct region *r = &b->region.v[i];
		int one = 0;

		if (r->shadow && !r->moved)
			one = unmap(b, r->shadow, r->hi - r->lo);
		if (!one && pristines && r->made_pristine) {
			one = unmap(b, r->pristine.copy, r->pristine.len);
			if (!one) {
				r->made_pristine = false;
				r->pristine.len = 0;
			}
		}
		if (!one && !r->moved)
			r->shadow = 0;
		err = err ? err : one;
	}
	return err;
}

int sut_poke_room(struct sut_poke_batch *b, uint64_t *ret)
{
	uint64_t room = 0;
	int err = find_regions(b);

	for (size_t i = 0; i < b->region.n && !err; i++) {
		struct region *r = &b->region.v[i];

		if (r->map.inode)
			room += r->hi - r->lo + (use_given(b, r) ? 0 : r->run.end - r->run.start);
	}
	forget_regions(b);
	if (!err)
		*ret = room;
	return err;
}

void sut_poke_use_room(struct sut_poke_batch *b, uint64_t addr, uint64_t len,
		       int (*leaving)(void *arg, const struct sut_poke_batch *b), void *arg)
{
	b->room = addr;
	b->room_end = addr + len;
	b->leaving = leaving;
	b->leaving_arg = arg;
}

/* What is left of the caller's room goes. */
static int leave_room(struct sut_poke_batch *b)
{
	int err = b->room < b->room_end ? unmap(b, b->room, b->room_end - b->room) : 0;

	if (!err)
		b->room = b->room_end = 0;
	return err;
}

int sut_poke_prepare(struct sut_poke_batch *b, bool force_write)
{
	int err = find_regions(b), undo;

	if (!err)
		err = verify_old(b);
	if (!err && force_write)
		no_swap(b, "asked for");
	else if (!err && b->maps.m.n + MAP_RESERVE + 4 * b->region.n > max_map_count())
		no_swap(b, "the process has %zu mappings, and no more are allowed", b->maps.m.n);
	for (size_t i = 0; i < b->region.n && !err && b->method == SUT_POKE_SWAP; i++)
		err = prepare_region(b, &b->region.v[i]);
	undo = leave_room(b);
	if (!err)
		err = undo;
	if (err || b->method == SUT_POKE_WRITE) {
		undo = drop_shadows(b, true);
		return err ? err : undo;
	}
	return 0;
}

int sut_poke_drop(struct sut_poke_batch *b)
{
	int err = leave_room(b), undo = b->committed ? 0 : drop_shadows(b, true);

	return err ? err : undo;
}

/* Whether the text is not there any more. */
static bool is_hole(struct sut_poke_batch *b, const struct region *r)
{
	uint8_t byte;

	return sut_mem_read(b->mem, r->lo, &byte, 1) || sut_mem_read(b->mem, r->hi - 1, &byte, 1);
}

/* The shadow goes over the text: the one instant at which all of the region changes. */
static int move(struct sut_poke_batch *b, struct region *r)
{
	uint64_t len = r->hi - r->lo, got = 0;
	const uint64_t args[6] = { r->shadow, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, r->lo };
	int err = sut_mem_call(b->mem, "moving the new text into place (mremap)", &got, SUT_SYS_MREMAP, args);

	/* Kernels up to 6.16 unmap the destination before they check the rest: after a failure (no memory for a page
	 * table) the text may be a hole, which the same call, made again, fills. */
	for (unsigned i = 0; err && i < MOVE_TRIES && is_hole(b, r); i++)
		err = sut_mem_call(b->mem, "moving the new text into place (mremap)", &got, SUT_SYS_MREMAP, args);
	if (err)
		return err;
	if (got != r->lo)
		return sut_fail(b->mem->ctx, SUTURE_EDAMAGED, "the text of %s went to 0x%lx instead of 0x%lx",
				r->map.name, got, r->lo);
	r->moved = true;
	r->shadow = 0;
	return 0;
}

static int refill_page(struct sut_poke_batch *b, struct region *r, uint64_t page)
{
	size_t size = b->mem->page_size;
	uint8_t *both = b->chunks;
	int err = sut_mem_read(b->mem, page, both, size);

	if (!err)
		err = sut_mem_read(b->mem, r->shadow + (page - r->lo), both + size, size);
	if (!err)
		err = fill_page(b, r, page, both, both + size, false);
	return err;
}

/*
 * Somebody else may have written to the text since the shadow was made (a program that patches itself, between two
 * attempts of the common stop): takes over what stands now in pages that are private, or were.
 */
static int take_over(struct sut_poke_batch *b, struct region *r)
{
	size_t pages = (r->hi - r->lo) / b->mem->page_size;
	bool *now = r->private + pages;
	int err = b->mem->ops->private_pages(b->mem, r->lo, r->hi, now);

	for (size_t i = 0; i < pages && !err; i++)
		if (now[i] || r->private[i])
			err = refill_page(b, r, r->lo + i * b->mem->page_size);
	return err;
}

static int check_new(struct sut_poke_batch *b, size_t first, size_t n)
{
	for (size_t i = first; i < first + n; i++) {
		const struct sut_poke *p = &b->poke.v[i];
		uint8_t now[SUT_POKE_MAX];
		int err = sut_mem_read(b->mem, p->addr, now, p->len);

		if (!err && memcmp(now, p->new, p->len))
			err = sut_fail(b->mem->ctx, SUTURE_EFAILED, "the new text at 0x%lx is not what was written",
				       p->addr);
		if (err)
			return err;
	}
	return 0;
}

/* The region as it was before: by a second shadow, with the pokes taken out of the present bytes. */
static int move_back_once(struct sut_poke_batch *b, struct region *r)
{
	int err = 0;

	r->moved = false;
	if (!r->shadow)
		err = make_shadow(b, r);
	if (!err && !r->shadow)
		err = -SUTURE_EDAMAGED;
	if (!err)
		err = fill_shadow(b, r, true);
	if (!err)
		err = move(b, r);
	r->moved = false;
	return err;
}

static int move_back(struct sut_poke_batch *b, struct region *r)
{
	int err = -SUTURE_EDAMAGED;

	for (unsigned i = 0; err && i < MOVE_BACK_TRIES; i++)
		err = move_back_once(b, r);
	return err;
}

static int commit_swap(struct sut_poke_batch *b)
{
	size_t done = 0;
	int err = 0;

	for (size_t i = 0; i < b->region.n && !err; i++)
		err = take_over(b, &b->region.v[i]);
	for (size_t i = 0; i < b->region.n && !err; i++) {
		struct region *r = &b->region.v[i];

		err = move(b, r);
		if (r->moved)
			done = i + 1;
		if (!err)
			err = check_new(b, r->first, r->n);
	}
	if (!err)
		return 0;
	while (done--)
		if (move_back(b, &b->region.v[done]))
			return sut_fail(b->mem->ctx, SUTURE_EDAMAGED,
					"a half-made change of the text of %s could not be taken back",
					b->region.v[done].map.name);
	return err;
}

static int commit_write(struct sut_poke_batch *b)
{
	size_t done = 0;
	int err = 0;

	for (; done < b->poke.n && !err; done++) {
		const struct sut_poke *p = &b->poke.v[done];

		err = sut_mem_write(b->mem, p->addr, p->new, p->len);
		if (!err)
			err = check_new(b, done, 1);
	}
	if (!err)
		return 0;
	while (done--) {
		const struct sut_poke *p = &b->poke.v[done];

		if (sut_mem_write(b->mem, p->addr, p->old, p->len))
			return sut_fail(b->mem->ctx, SUTURE_EDAMAGED,
					"a half-made change of the text at 0x%lx could not be taken back", p->addr);
	}
	return err;
}

int sut_poke_commit(struct sut_poke_batch *b)
{
	int err = verify_old(b);

	if (!err)
		err = b->method == SUT_POKE_SWAP ? commit_swap(b) : commit_write(b);
	b->committed = !err;
	return err;
}

int sut_poke_tidy(struct sut_mem *mem, const struct sut_pristine *p, bool *ret_dropped)
{
	size_t pages = p->len / mem->page_size;
	struct sut_maps maps;
	const struct sut_map *text, *copy;
	bool ours, *private;
	uint64_t got;
	int err = mem->ops->maps(mem, &maps);

	if (err)
		return err;
	text = sut_maps_at(&maps, p->text);
	copy = sut_maps_at(&maps, p->copy);
	/* The record lies in the target's memory: believe it only where it names a duplicate of that text. */
	ours = pages && text && copy && text->inode && same_file(text, copy) && p->text != p->copy &&
	       sut_fits(p->copy - copy->start, p->len, copy->end - copy->start) &&
	       copy->offset + (p->copy - copy->start) == text->offset + (p->text - text->start);
	sut_maps_free(&maps);
	if (!ours) {
		*ret_dropped = true;
		return 0;
	}
	private = calloc(pages, sizeof(*private));
	if (!private)
		return sut_nomem(mem->ctx);
	err = mem->ops->private_pages(mem, p->text, p->text + p->len, private);
	*ret_dropped = !err && !any_private(private, pages);
	if (*ret_dropped)
		err = sut_mem_call(mem, "munmap", &got, SUT_SYS_MUNMAP, (const uint64_t[6]){ p->copy, p->len });
	free(private);
	return err;
}
