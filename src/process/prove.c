/* SPDX-License-Identifier: MIT */
/*
 * prove.c - is a stopped thread outside of these ranges of code?
 *
 * First the scan: no word of the registers and of the used stack points into a range. It is cheap, and a
 * proof where the thread stands on its own stack (unwind.h) and outside of a signal handler: a handler may
 * run on a stack of its own that lies above the interrupted frames. The restorer's address on the stack
 * tells a handler, and where the architecture knows the frame, what else stands in it. Where a word was found, or the scan proves nothing, the unwinder decides.
 *
 * A pc counts in [start, end), a word or return address in (start, end]: a call that never returns
 * leaves end behind; a mere function pointer is start.
 */
#include "process/internal.h"

#define SAMPLE   8 /* threads looked at beforehand */
#define SCAN_MAX (64u << 20) /* stacks larger than that are left to the unwinder */

void sut_query_init(struct sut_query *q, const struct sut_code_range *ranges, size_t n)
{
	*q = (struct sut_query){ .ranges = ranges, .n = n, .lo = UINT64_MAX };
	for (size_t i = 0; i < n; i++) {
		q->lo = ranges[i].start < q->lo ? ranges[i].start : q->lo;
		q->hi = ranges[i].end > q->hi ? ranges[i].end : q->hi;
	}
}

const struct sut_code_range *sut_query_hit(const struct sut_query *q, uint64_t v, bool exact)
{
	size_t lo = 0, hi = q->n;
	uint64_t key = exact ? v : v - 1;

	if (key < q->lo || key >= q->hi)
		return NULL;
	/* The last range that begins at or before the key; earlier ones may reach over it if ranges overlap. */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (q->ranges[mid].start <= key)
			lo = mid + 1;
		else
			hi = mid;
	}
	while (lo--)
		if (key < q->ranges[lo].end)
			return &q->ranges[lo];
	return NULL;
}

/* What the scan found. */
enum scan_result { SCAN_CLEAR, SCAN_WORD, SCAN_NO_PROOF };

static bool is_restorer(const struct sut_priv *pr, uint64_t v)
{
	for (size_t i = 0; i < pr->restorer.n; i++)
		if (pr->restorer.v[i] == v)
			return true;
	return false;
}

/* A word as a code address, without what may authenticate it. */
static uint64_t as_code(const struct sut_arch *a, const struct sut_thread *t, uint64_t v)
{
	return a->strip_code ? a->strip_code(&t->regs, v) : v;
}

static enum scan_result scan_regs(struct suture_process *p, struct sut_thread *t, const struct sut_query *q,
				  struct sut_proof_result *ret)
{
	const struct sut_arch *a = p->mem.arch;

	for (unsigned n = 0; n < a->n_dwarf_regs; n++) {
		uint64_t v;

		if (n == a->dwarf_pc || !a->regs_dwarf(&t->regs, n, &v))
			continue;
		v = as_code(a, t, v);
		ret->range = sut_query_hit(q, v, false);
		ret->address = v;
		if (ret->range)
			return SCAN_WORD;
	}
	return SCAN_CLEAR;
}

/* Scans the window. */
static enum scan_result scan_window(struct suture_process *p, const struct sut_thread *t, const struct sut_query *q,
				    struct sut_proof_result *ret)
{
	const struct sut_arch *a = p->mem.arch;
	struct sut_priv *pr = p->priv;

	if (a->has_sigframe && a->has_sigframe(&t->regs, pr->stack, pr->stack_len))
		return SCAN_NO_PROOF;
	for (size_t off = 0; off + 8 <= pr->stack_len; off += 8) {
		uint64_t v = as_code(a, t, sut_le64(pr->stack + off));

		if (v - 1 - q->lo < q->hi - q->lo) {
			ret->range = sut_query_hit(q, v, false);
			ret->address = v;
			if (ret->range)
				return SCAN_WORD;
		}
		if (is_restorer(pr, v))
			return SCAN_NO_PROOF;
	}
	return SCAN_CLEAR;
}

/*
 * The lowest byte of the used stack. Frames in use return to what stands at the stack pointer or above it; below, in
 * the red zone, a leaf function keeps what it likes, were it a return address that it popped. One that waits in a
 * system call does so in registers (vfork): what stands below is what earlier calls left, and would be met for ever
 * where the C library has no call frame information to fall back on (musl).
 */
static uint64_t stack_low(const struct sut_arch *a, const struct sut_thread *t)
{
	uint64_t sp = a->regs_sp(&t->regs);
	int64_t result;
	long nr;

	return SUT_ALIGN_DOWN(a->regs_in_syscall(&t->regs, &nr, &result) ? sp : sp - a->red_zone, 8);
}

static enum scan_result scan(struct suture_process *p, struct sut_thread *t, const struct sut_query *q,
			     struct sut_proof_result *ret)
{
	struct sut_priv *pr = p->priv;
	uint64_t sp = p->mem.arch->regs_sp(&t->regs), top = sut_stack_top(p, t), at = stack_low(p->mem.arch, t);
	enum scan_result r;

	pr->stack_len = 0;
	if (!pr->restorers_searched || !pr->restorer.n || !top || sp >= top || top - at > SCAN_MAX)
		return SCAN_NO_PROOF;
	r = scan_regs(p, t, q, ret);
	while (r == SCAN_CLEAR && at < top) {
		size_t len = top - at < SUT_STACK_WIN ? top - at : SUT_STACK_WIN;

		sut_stack_load(p, at, len);
		if (pr->stack_len < len)
			return SCAN_NO_PROOF; /* a hole: another stack */
		r = scan_window(p, t, q, ret);
		at += len;
	}
	return r;
}

/* Whether the stack pointer is on the stack that the thread was given: nothing is missing up to its top. */
static bool on_own_stack(struct suture_process *p, const struct sut_thread *t)
{
	uint64_t at = p->mem.arch->regs_sp(&t->regs), top = sut_stack_top(p, t);

	if (at >= top)
		return false;
	while (at < top && top - at <= SCAN_MAX) {
		size_t len = top - at < SUT_STACK_WIN ? top - at : SUT_STACK_WIN;

		sut_stack_load(p, at, len);
		if (sut_priv(p)->stack_len < len)
			return false;
		at += len;
	}
	return true;
}

/* Frames of a reliable unwind: the first that is inside, or NULL. */
static const struct sut_code_range *find_inside(const struct sut_query *q, const struct sut_frame *f, size_t n,
						uint64_t *address)
{
	for (size_t i = 0; i < n; i++) {
		const struct sut_code_range *r = sut_query_hit(q, f[i].pc, f[i].exact);

		if (r) {
			*address = f[i].pc;
			return r;
		}
	}
	return NULL;
}

/* The unwinder's answer, where the scan has none (or, deep, needs the frames): *ret as the scan left it. */
static void prove_frames(struct suture_process *p, struct sut_thread *t, const struct sut_query *q,
			 const struct sut_extra_cfi *extra, size_t n_extra, struct sut_proof_result *ret)
{
	struct sut_priv *pr = p->priv;
	const struct sut_code_range *inside;
	uint64_t address = 0;
	bool reliable = false;

	ret->frames = (unsigned)sut_unwind(p, t, extra, n_extra, pr->frames, SUT_PROVE_FRAMES, &reliable, &ret->why);
	inside = find_inside(q, pr->frames, ret->frames, &address);
	if (inside) {
		ret->proof = SUT_PROOF_INSIDE;
		ret->range = inside;
		ret->address = address;
		return;
	}
	if (!reliable || ret->frames == SUT_PROVE_FRAMES) {
		ret->proof = SUT_PROOF_UNRELIABLE;
		ret->why = reliable ? "too many frames" : ret->why;
		return;
	}
	*ret = (struct sut_proof_result){ .proof = SUT_PROOF_CLEAR_UNWIND, .frames = ret->frames };
	if (sut_deep_on(p))
		sut_deep_own_stack(p, t, pr->frames, ret->frames, ret);
}

/* The deep proof of one thread. One whose frames are not known is clear if its registers are, and all memory. */
static void prove_deep(struct suture_process *p, struct sut_thread *t, const struct sut_query *q,
		       const struct sut_extra_cfi *extra, size_t n_extra, struct sut_proof_result *ret)
{
	*ret = (struct sut_proof_result){ 0 };
	sut_priv(p)->stack_len = 0; /* what it held may have changed */
	prove_frames(p, t, q, extra, n_extra, ret);
	if (ret->proof == SUT_PROOF_UNRELIABLE && scan_regs(p, t, q, ret) == SCAN_CLEAR)
		*ret = (struct sut_proof_result){ .proof = SUT_PROOF_CLEAR_MEMORY, .frames = ret->frames };
}

int sut_prove_thread(struct suture_process *p, struct sut_thread *t, const struct sut_code_range *ranges, size_t n,
		     const struct sut_extra_cfi *extra, size_t n_extra, struct sut_proof_result *ret)
{
	struct sut_proof_result r = { 0 };
	enum scan_result scanned;
	struct sut_query q;

	if (!t->stopped)
		return sut_fail(p->ctx, SUTURE_EBUG, "thread %d of %s[%d] is not stopped", t->tid, p->comm, p->pid);
	if (!n) {
		*ret = (struct sut_proof_result){ .proof = SUT_PROOF_CLEAR_SCAN };
		return 0;
	}
	if (!t->regs_valid) {
		*ret = (struct sut_proof_result){ .proof = SUT_PROOF_UNRELIABLE, .why = "32-bit code" };
		return 0;
	}
	sut_query_init(&q, ranges, n);
	r.address = p->mem.arch->regs_pc(&t->regs);
	r.range = sut_query_hit(&q, r.address, true);
	if (r.range) {
		r.proof = SUT_PROOF_INSIDE;
		r.frames = 1;
		*ret = r;
		return 0;
	}
	if (sut_deep_on(p)) {
		prove_deep(p, t, &q, extra, n_extra, ret);
		return 0;
	}
	scanned = scan(p, t, &q, &r);
	if (scanned == SCAN_CLEAR) {
		*ret = (struct sut_proof_result){ .proof = SUT_PROOF_CLEAR_SCAN };
		return 0;
	}
	prove_frames(p, t, &q, extra, n_extra, &r);
	r.elsewhere = r.proof == SUT_PROOF_UNRELIABLE && scanned == SCAN_NO_PROOF && !on_own_stack(p, t);
	*ret = r;
	return 0;
}

/* Opens the call frame information of what the words of a sleeping thread's stack point into. */
static void sample_thread(struct suture_process *p, pid_t tid)
{
	_cleanup_free_ char *text = NULL;
	struct sut_priv *pr = p->priv;
	char *s;

	if (sut_procfs_read(p->pid, tid, "syscall", 4096, &text, NULL))
		return;
	s = strrchr(text, ' ');
	if (!s)
		return;
	*s = '\0';
	s = strrchr(text, ' ');
	if (!s)
		return;
	sut_stack_load(p, SUT_ALIGN_DOWN(strtoull(s + 1, NULL, 16), 8), 8192);
	for (size_t off = 0; off + 8 <= pr->stack_len; off += 8) {
		struct sut_object *o = sut_process_object_at(p, sut_le64(pr->stack + off));

		if (o && !o->cfi)
			(void)sut_object_cfi(p, o);
	}
}

int sut_prove_prepare(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;
	int err = sut_heal_restorers(p);

	if (err)
		return err;
	sut_coroutines_find(p);
	pr->n_outermost = 0;
	/* A file that can not be opened makes threads in it unreliable, and says so then. The program and
	 * the C library are on every stack; of the others those that a few threads stand in: reading the information of
	 * all takes longer than all the rest, and what is missing is opened when it is met. */
	for (size_t i = 0; i < p->obj.n; i++)
		if (p->obj.v[i].is_main || p->obj.v[i].is_vdso || !strncmp(p->obj.v[i].name, "libc.", 5))
			(void)sut_object_cfi(p, &p->obj.v[i]);
	if (!sut_procfs_tids(p))
		for (size_t i = 0; i < pr->tids.n && i < SAMPLE; i++)
			sample_thread(p, pr->tids.v[i]);
	return pr->ops->rehearse ? pr->ops->rehearse(p) : 0;
}
