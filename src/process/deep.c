/* SPDX-License-Identifier: MIT */
/*
 * deep.c - the deep proof: no word of a process's writable memory leads back into these ranges of code.
 *
 * What a suspended coroutine will return to stands on its stack, and that may be any memory: heap, data, a mapping of
 * its own, the frame of another function. So all of it is read, in one stop: pages that are there (pagemap), by
 * large reads. Left out are the stacks that threads are proved to stand on (their frames are known; below their
 * stack pointers is nothing), but for frames so large that a stack may lie inside, and what the caller says is ours.
 *
 * A word counts in (start, end] of a range, as in prove.c; but end only where the code can end in a call: it
 * mostly is the start of the next function, and pointers to functions stand everywhere. A saved pc in the midst
 * of a function (a signal handler that switched stacks) counts likewise.
 *
 * The words of memory that nobody will use again (freed stacks, old values) count too: no proof then, at worst
 * no patch. Before the first stop all memory is read once while the target runs: what would take too long is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <time.h>

#include "process/internal.h"

#define READ_MAX_NS 1000000000ull /* how long all of the memory may take to read */
#define CODE_MAX    (1u << 20) /* larger functions are not decoded */
#define NESTED_MIN  2048 /* MINSIGSTKSZ: no smaller stack can be used */
#define BLOCK_BYTES 4096 /* of a thread's block (struct pthread), in which its stack's bounds are looked for */
#define PAGES       512 /* entries of pagemap read at once, or regions */
#define SPARE       256 /* threads that may be born before the stop */
#define ASK_AGAIN   16 /* attempts without a stop while the word that was found last is still there */

#define PM_PRESENT (1ull << 63)
#define PM_SWAPPED (1ull << 62)
#define PM_FILE    (1ull << 61)

/* A stack on which a thread is proved to stand. */
struct own_stack {
	uint64_t low, sp, top; /* low 0: the beginning of the mapping (the program's first stack) */
};

struct sut_deep {
	struct sut_code_range *range; /* copies, sorted */
	bool *ends_in_call; /* by range */
	struct sut_query query;
	struct sut_span *ours; /* sorted */
	size_t n_ours;
	struct own_stack *own; /* no more than there is room for: in a stop nothing is allocated */
	size_t n_own, cap_own;
	int pagemap;
	bool by_scan; /* the kernel has PAGEMAP_SCAN */
	uint64_t deadline; /* of the read in hand */
	bool dry; /* only to see how long it takes */
	struct sut_proof_result found; /* the last word found */
	unsigned asked;
};

/* -- what counts ------------------------------------------------------------------------------ */

/* Whether the last instruction of a function may be a call. */
static bool may_end_in_call(struct suture_process *p, const struct sut_code_range *r)
{
	const struct sut_arch *a = p->mem.arch;
	uint64_t size = r->end - r->start, off = 0;
	_cleanup_free_ uint8_t *code = size <= CODE_MAX ? malloc(size) : NULL;
	struct sut_insn in = { 0 };

	if (!code || sut_process_read_some(p, r->start, code, size) != size)
		return true;
	while (off < size) {
		if (a->insn_decode(code + off, size - off, r->start + off, &in) || !in.len)
			return true;
		off += in.len;
	}
	return off != size || in.kind == SUT_INSN_CALL || in.kind == SUT_INSN_INDIRECT;
}

/* The range that @v leads back into. */
static const struct sut_code_range *leads_into(const struct sut_deep *d, uint64_t v)
{
	const struct sut_code_range *r = sut_query_hit(&d->query, v, false);

	return r && v == r->end && !d->ends_in_call[r - d->range] ? NULL : r;
}

/* The first word of @buf (@len bytes at @addr) that counts. */
static bool find_word(struct suture_process *p, struct sut_deep *d, uint64_t addr, const uint8_t *buf, size_t len)
{
	const struct sut_arch *a = p->mem.arch;
	const struct sut_regs *regs = a->strip_code && p->thread.n ? &p->thread.v[0].regs : NULL;
	const uint64_t lo = d->query.lo, span = d->query.hi - d->query.lo;

	for (size_t off = 0; off + 8 <= len; off += 8) {
		uint64_t v = sut_le64(buf + off);

		if (regs)
			v = a->strip_code(regs, v); /* what may authenticate it is alike for all threads */
		if (v - 1 - lo >= span || d->dry)
			continue;
		d->found.range = leads_into(d, v);
		if (!d->found.range)
			continue;
		d->found.address = v;
		d->found.where = addr + off;
		d->found.proof = SUT_PROOF_INSIDE;
		return true;
	}
	return false;
}

/* -- threads ---------------------------------------------------------------------------------- */

/* The lowest address of a thread's stack, as the C library's block of it tells: two words (base, size) of a piece of
 * memory that holds both the stack pointer and the block, or ends at it. 0: not told. */
static uint64_t stack_base(struct suture_process *p, uint64_t sp, uint64_t top)
{
	uint64_t block[BLOCK_BYTES / 8];
	size_t n = sut_process_read_some(p, top, block, sizeof(block)) / 8;

	for (size_t i = 0; i + 1 < n; i++) {
		uint64_t base = block[i], size = block[i + 1];

		if (base % 8 == 0 && base <= sp && size <= (1ull << 40) && base + size >= top &&
		    base + size <= top + (1u << 20))
			return base;
	}
	return 0;
}

/* Whether a stack may lie inside of a frame of this thread, with a word in it that counts. */
static bool nested_word(struct suture_process *p, struct sut_deep *d, uint64_t sp, const struct sut_frame *f, size_t n)
{
	struct sut_priv *pr = p->priv;

	for (size_t i = 0; i < n; i++) {
		uint64_t from = sp;

		sp = f[i].cfa;
		if (f[i].signal_frame || f[i].cfa <= from || f[i].cfa - from < NESTED_MIN)
			continue;
		for (uint64_t at = SUT_ALIGN_UP(from, 8); at < f[i].cfa; at += SUT_STACK_WIN) {
			sut_stack_load(p, at, f[i].cfa - at);
			if (find_word(p, d, at, pr->stack, pr->stack_len))
				return true;
		}
	}
	return false;
}

void sut_deep_no_scan(struct suture_process *p)
{
	sut_priv(p)->deep->by_scan = false;
}

bool sut_deep_on(const struct suture_process *p)
{
	const struct sut_priv *pr = p->priv;

	return pr->deep != NULL;
}

/* Whether a signal's handler runs on another stack than the code that it interrupted. */
static bool on_signal_stack(uint64_t sp, const struct sut_frame *f, size_t n)
{
	bool signal = false;

	for (size_t i = 0; i < n; i++) {
		if (f[i].cfa < sp)
			return true;
		signal |= f[i].signal_frame;
		sp = f[i].cfa;
	}
	return signal;
}

void sut_deep_own_stack(struct suture_process *p, const struct sut_thread *t, const struct sut_frame *f, size_t n,
			struct sut_proof_result *ret)
{
	struct sut_deep *d = sut_priv(p)->deep;
	struct own_stack own = { .sp = p->mem.arch->regs_sp(&t->regs), .top = SUT_ALIGN_DOWN(sut_stack_top(p, t), 8) };

	if (nested_word(p, d, own.sp, f, n)) {
		*ret = d->found;
		return;
	}
	if (own.sp >= own.top || on_signal_stack(own.sp, f, n))
		return; /* read as memory */
	if (!t->is_main) {
		own.low = stack_base(p, own.sp, own.top);
		if (!own.low)
			own.low = SUT_ALIGN_DOWN(own.sp - p->mem.arch->red_zone, 8);
	}
	if (d->n_own < d->cap_own)
		d->own[d->n_own++] = own;
}

/* -- memory ----------------------------------------------------------------------------------- */

/* While the target runs, our own time: a machine under load does not make the memory larger. */
static uint64_t clock_ns(const struct sut_deep *d)
{
	struct timespec ts;

	if (!d->dry || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts))
		return sut_now_ns();
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int too_long(struct suture_process *p)
{
	(void)sut_fail(
		p->ctx, SUTURE_EREFUSED,
		"%s[%d] switches stacks by itself (coroutines), and its memory is too large to be looked through "
		"in one stop: suspended coroutines could be inside of any function",
		p->comm, p->pid);
	return sut_hint(p->ctx, "this process needs a restart with the fixed program");
}

/* Reads [start, end), whose pages are there, and looks at each word. */
static int read_run(struct suture_process *p, struct sut_deep *d, uint64_t start, uint64_t end)
{
	struct sut_priv *pr = p->priv;
	uint64_t page = p->mem.page_size;

	while (start < end) {
		uint64_t len = end - start < SUT_STACK_WIN ? end - start : SUT_STACK_WIN;
		size_t got;

		sut_stack_load(p, start, len);
		got = pr->stack_len;
		if (find_word(p, d, start, pr->stack, got))
			return 0;
		/* A page that can not be read is nobody's stack (a guard, broken memory). */
		start += got < len ? SUT_ALIGN_DOWN(got, page) + page : len;
		if (clock_ns(d) > d->deadline)
			return too_long(p);
	}
	return 0;
}

/* linux/fs.h of 6.7: asks for the pages that are there, instead of an entry for each that could be. */
struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
struct scan_region {
	uint64_t start, end, categories;
};
#define PAGEMAP_SCAN _IOWR('f', 16, struct scan_arg)
#define SCAN_FILE    4ull
#define SCAN_PRESENT 8ull
#define SCAN_SWAPPED 16ull
#define SCAN_ZERO    32ull /* the page of zeros */

/* False: this kernel can not, or not here. */
static bool read_by_scan(struct suture_process *p, struct sut_deep *d, const struct sut_maps_line *m, uint64_t start,
			 uint64_t end, int *ret)
{
	struct scan_region region[PAGES];
	struct scan_arg arg = { .size = sizeof(arg), .vec = (uintptr_t)region, .vec_len = PAGES };

	arg.category_inverted = arg.category_mask = SCAN_ZERO | (m->shared ? 0 : SCAN_FILE);
	arg.category_anyof_mask = arg.return_mask = SCAN_PRESENT | SCAN_SWAPPED;
	arg.end = SUT_ALIGN_UP(end, p->mem.page_size);
	arg.walk_end = SUT_ALIGN_DOWN(start, p->mem.page_size);
	*ret = 0;
	while (arg.walk_end < arg.end && !*ret && !d->found.range) {
		int n;

		arg.start = arg.walk_end;
		n = ioctl(d->pagemap, PAGEMAP_SCAN, &arg);
		if (n < 0 || arg.walk_end <= arg.start)
			return false;
		for (int i = 0; i < n && !*ret && !d->found.range; i++)
			*ret = read_run(p, d, region[i].start > start ? region[i].start : start,
					region[i].end < end ? region[i].end : end);
	}
	return true;
}

/* The same by an entry for each page. */
static int read_by_entries(struct suture_process *p, struct sut_deep *d, const struct sut_maps_line *m, uint64_t start,
			   uint64_t end)
{
	uint64_t page = p->mem.page_size, at = SUT_ALIGN_DOWN(start, page), run = 0, entry[PAGES];
	int err = 0;

	while (at < end && !err && !d->found.range) {
		uint64_t want = (end - at + page - 1) / page;
		ssize_t got = pread(d->pagemap, entry, (want < PAGES ? want : PAGES) * 8, (off_t)(at / page * 8));

		if (got < 8)
			return sut_fail(p->ctx, SUTURE_EFAILED, "/proc/%d/pagemap can not be read at 0x%llx", p->pid,
					(unsigned long long)at);
		if (clock_ns(d) > d->deadline)
			return too_long(p);
		for (size_t i = 0; i < (size_t)got / 8 && !err && !d->found.range; i++, at += page) {
			bool there = (entry[i] & (PM_PRESENT | PM_SWAPPED)) && (m->shared || !(entry[i] & PM_FILE));

			if (there && !run)
				run = at > start ? at : start;
			if (!there && run) {
				err = read_run(p, d, run, at);
				run = 0;
			}
		}
	}
	if (!err && !d->found.range && run)
		err = read_run(p, d, run, end);
	return err;
}

/*
 * Reads the pages of [start, end) that are there. A page of a private mapping that is still the file's holds what the
 * file does, no stack.
 */
static int read_pages(struct suture_process *p, struct sut_deep *d, const struct sut_maps_line *m, uint64_t start,
		      uint64_t end)
{
	int err;

	if (d->by_scan) {
		d->by_scan = read_by_scan(p, d, m, start, end, &err);
		if (d->by_scan)
			return err;
	}
	return read_by_entries(p, d, m, start, end);
}

static bool is_named(const struct sut_maps_line *m, const char *prefix)
{
	return m->name_len >= strlen(prefix) && !strncmp(m->name, prefix, strlen(prefix));
}

/* The first part of [at, end) that is left out; false: none. */
static bool next_left_out(const struct sut_deep *d, const struct sut_maps_line *m, uint64_t at, struct sut_span *ret)
{
	struct sut_span next = { .start = m->end };

	for (size_t i = 0; i < d->n_ours; i++)
		if (d->ours[i].end > at && d->ours[i].start < next.start)
			next = d->ours[i];
	for (size_t i = 0; i < d->n_own; i++) {
		const struct own_stack *o = &d->own[i];
		struct sut_span s = { .start = o->low, .end = o->top };

		/* Between the stack pointer and the top there is no hole. */
		if (!sut_in(m->start, m->end, o->sp) || o->top > m->end)
			continue;
		/* Of the program's first stack all below the stack pointer is free, down to the mapping's end. */
		if (!s.start)
			s.start = is_named(m, "[stack]") ? m->start : o->sp;
		if (s.end > at && s.start < next.start)
			next = s;
	}
	*ret = next;
	return next.start < m->end;
}

static int read_mapping(struct suture_process *p, struct sut_deep *d, const struct sut_maps_line *m)
{
	struct sut_span out;
	uint64_t at = m->start;
	int err = 0;

	while (at < m->end && !err && !d->found.range && next_left_out(d, m, at, &out)) {
		if (out.start > at)
			err = read_pages(p, d, m, at, out.start);
		at = out.end;
	}
	if (at < m->end && !err && !d->found.range)
		err = read_pages(p, d, m, at, m->end);
	return err;
}

/* Shared memory that can hold a stack: without a file that others know. Never devices. */
static bool is_shared_memory(const struct sut_maps_line *m)
{
	static const char *const names[] = { "/dev/zero", "/memfd:", "/SYSV", "/dev/shm/" };

	for (size_t i = 0; i < SUT_ARRAY_SIZE(names); i++)
		if (is_named(m, names[i]))
			return true;
	return false;
}

static int read_all(struct suture_process *p, struct sut_deep *d)
{
	struct sut_priv *pr = p->priv;
	size_t len = sut_procfs_fill(p->live_tid, "maps", pr->maps_buf, pr->maps_cap);
	const char *s = pr->maps_buf;
	struct sut_maps_line m;
	int err = 0;

	d->found = (struct sut_proof_result){ .proof = SUT_PROOF_CLEAR_MEMORY };
	d->deadline = clock_ns(d) + (d->dry ? 1 : 4) * READ_MAX_NS;
	if (!len || len == pr->maps_cap)
		return sut_fail(p->ctx, SUTURE_EFAILED, "the mappings of %s[%d] can not be read", p->comm, p->pid);
	while (!err && !d->found.range && sut_maps_line_next(&s, pr->maps_buf + len, &m))
		if (m.write && (!m.shared || is_shared_memory(&m)))
			err = read_mapping(p, d, &m);
	return err;
}

int sut_deep_memory(struct suture_process *p, struct sut_proof_result *ret)
{
	struct sut_deep *d = sut_priv(p)->deep;
	int err = read_all(p, d);

	if (err)
		return err;
	d->asked = 0;
	*ret = d->found;
	return 0;
}

bool sut_deep_still_there(struct suture_process *p, struct sut_proof_result *ret)
{
	struct sut_deep *d = sut_priv(p)->deep;
	uint64_t v;

	if (!d->found.where || ++d->asked % ASK_AGAIN == 0)
		return false;
	if (sut_process_read_some(p, d->found.where, &v, 8) != 8 || v != d->found.address)
		return false;
	*ret = d->found;
	return true;
}

/* -- on and off ------------------------------------------------------------------------------- */

void sut_deep_end(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;
	struct sut_deep *d = pr->deep;

	pr->deep = NULL;
	if (!d)
		return;
	free(d->range);
	free(d->ends_in_call);
	free(d->ours);
	free(d->own);
	if (d->pagemap >= 0)
		close(d->pagemap);
	free(d);
}

void sut_deep_forget_threads(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;

	if (pr->deep)
		pr->deep->n_own = 0;
}

static int deep_alloc(struct suture_process *p, const struct sut_code_range *ranges, size_t n,
		      const struct sut_span *ours, size_t n_ours)
{
	struct sut_deep *d = calloc(1, sizeof(*d));
	struct sut_priv *pr = p->priv;

	if (!d)
		return sut_nomem(p->ctx);
	pr->deep = d;
	d->pagemap = -1;
	d->by_scan = true;
	d->range = calloc(n, sizeof(*d->range));
	d->ends_in_call = calloc(n, sizeof(*d->ends_in_call));
	d->ours = calloc(n_ours + 1, sizeof(*d->ours));
	d->cap_own = 2 * (sut_procfs_tids(p) ? 0 : pr->tids.n) + SPARE;
	d->own = calloc(d->cap_own, sizeof(*d->own));
	if (!d->range || !d->ends_in_call || !d->ours || !d->own)
		return sut_nomem(p->ctx);
	memcpy(d->range, ranges, n * sizeof(*ranges));
	for (size_t i = 0; i < n_ours; i++)
		d->ours[i] = (struct sut_span){ SUT_ALIGN_UP(ours[i].start, 8), SUT_ALIGN_DOWN(ours[i].end, 8) };
	d->n_ours = n_ours;
	sut_query_init(&d->query, d->range, n);
	for (size_t i = 0; i < n; i++)
		d->ends_in_call[i] = may_end_in_call(p, &d->range[i]);
	return 0;
}

int sut_deep_begin(struct suture_process *p, const struct sut_code_range *ranges, size_t n, const struct sut_span *ours,
		   size_t n_ours)
{
	struct sut_deep *d;
	char path[64];
	int err;

	sut_deep_end(p);
	err = deep_alloc(p, ranges, n, ours, n_ours);
	if (!err) {
		d = sut_priv(p)->deep;
		snprintf(path, sizeof(path), "/proc/%d/pagemap", p->live_tid);
		d->pagemap = open(path, O_RDONLY | O_CLOEXEC);
		if (d->pagemap < 0)
			err = sut_fail(p->ctx, SUTURE_EACCESS, "%s: %s", path, strerror(errno));
	}
	if (!err) {
		d->dry = true;
		err = read_all(p, d);
		d->dry = false;
	}
	if (err)
		sut_deep_end(p);
	return err;
}

bool sut_deep_needed(struct suture_process *p)
{
	return sut_priv(p)->switches_stacks;
}
