/* SPDX-License-Identifier: MIT */
/*
 * heal.c - where the signal frame of a borrowed thread lies, and what returns through it.
 *
 * While a thread's registers are ours, a frame in the target's memory holds its own, and what the
 * thread runs after each system call is a return through that frame. So the memory must be
 * nobody's. In this order:
 *
 *	heal memory  of ours (sut_process_set_heal), with heal code of ours
 *	tail         what is left of the last data page of the program or of a library, all zeros:
 *	             the linker leaves it, and nobody allocates it. Not the dynamic linker's own (its
 *	             first allocations come from there), not under musl (which gives such tails
 *	             to malloc), not where brk could reach it
 *	stack        below the thread's own stack pointer and red zone, where the kernel itself would put a
 *	             signal frame: only on a stack that is proved to be the thread's own, with 64 KiB to
 *	             spare above a guard
 *
 * With no heal code of ours, the system call instruction and the rt_sigreturn are gadgets in
 * the target's own text. A header before the frame names the thread it is for: a later tool leaves a frame
 * alone while that thread still stands on it (a tool that died while the target was SIGSTOPped).
 */
#include <errno.h>

#include "process/internal.h"

#define STACK_SPARE 65536u
#define RESTORERS   64 /* more of them: no proof by scan */
#define TEXT_MAX    (256u << 20) /* nor where there is more text than that to search for them */

/* -- frames of dead tools --------------------------------------------------------------------- */

/* Whether the thread that a header names still has its stack pointer in the frame. */
static bool in_use(struct suture_process *p, const struct sut_heal_header *h, uint64_t start, uint64_t end)
{
	_cleanup_free_ char *text = NULL;
	char *sp;

	if (memcmp(h->magic, SUT_HEAL_MAGIC, sizeof(h->magic)) || !h->tid || h->tid > INT32_MAX)
		return false;
	/* The borrowed thread may have been stopped on its way home: what it stands on is in the registers we keep. */
	if (p->borrowed && p->borrowed->tid == (pid_t)h->tid)
		return sut_in(start, end, p->mem.arch->regs_sp(&p->borrowed->regs));
	if (sut_procfs_read(p->pid, (pid_t)h->tid, "syscall", 4096, &text, NULL))
		return false; /* that thread is no more */
	if (!strncmp(text, "running", 7))
		return true; /* it may stand anywhere */
	sp = strrchr(text, ' ');
	if (!sp)
		return true;
	*sp = '\0';
	sp = strrchr(text, ' ');
	return !sp || sut_in(start, end, strtoull(sp + 1, NULL, 16));
}

/* The next frame in @bytes, the memory at @start: frames lie as high as they go, so a header is anywhere in there, 64-byte
 * aligned. Its offset, or @len: none. */
static size_t next_frame(const uint8_t *bytes, uint64_t start, size_t from, size_t len, struct sut_heal_header *ret)
{
	for (size_t at = SUT_ALIGN_UP(start + from, 64) - start; at < len && len - at >= sizeof(*ret); at += 64) {
		memcpy(ret, bytes + at, sizeof(*ret));
		if (!memcmp(ret->magic, SUT_HEAL_MAGIC, sizeof(ret->magic)))
			return at;
	}
	return len;
}

/* Whether nobody stands in [start, end). @must_be_zero: memory that is not ours holds zeros, and perhaps the frame of a
 * dead tool. */
static bool free_frame(struct suture_process *p, uint64_t start, uint64_t end, bool must_be_zero)
{
	size_t len = end - start, first = len;
	_cleanup_free_ uint8_t *bytes = malloc(len);
	struct sut_heal_header h;

	if (!bytes || sut_mem_read(&p->mem, start, bytes, len))
		return false;
	for (size_t at = next_frame(bytes, start, 0, len, &h); at < len;
	     at = next_frame(bytes, start, at + 64, len, &h)) {
		if (in_use(p, &h, start, end))
			return false;
		if (at < first)
			first = at;
	}
	for (size_t i = 0; must_be_zero && i < first; i++)
		if (bytes[i])
			return false;
	return true;
}

bool sut_process_heal_free(struct suture_process *p, uint64_t frame, size_t size)
{
	return free_frame(p, frame, frame + size, false);
}

bool sut_heal_pending(struct suture_process *p, const struct sut_thread *t)
{
	uint64_t at = SUT_ALIGN_DOWN(p->mem.arch->regs_sp(&t->regs), 64) - SUT_HEAL_HEADER;
	struct sut_heal_header h;

	return sut_process_read_some(p, at, &h, sizeof(h)) == sizeof(h) &&
	       !memcmp(h.magic, SUT_HEAL_MAGIC, sizeof(h.magic)) && h.tid == (uint64_t)t->tid;
}

/* -- places ----------------------------------------------------------------------------------- */

static bool is_interp(const char *name)
{
	return !strncmp(name, "ld-", 3) || !strncmp(name, "ld.so", 5) || !strncmp(name, "ld64", 4);
}

static bool is_musl(struct suture_process *p)
{
	for (size_t i = 0; i < p->obj.n; i++)
		if (strstr(p->obj.v[i].path, "ld-musl") || strstr(p->obj.v[i].path, "libc.musl"))
			return true;
	return false;
}

/* The tail of an object's data. @now: the mappings as of now. */
static bool tail_of(struct suture_process *p, const struct sut_maps *now, const struct sut_object *o, uint64_t *start,
		    uint64_t *end)
{
	const struct sut_map *m = sut_maps_at(now, o->start);
	uint64_t brk = sut_priv(p)->start_brk;

	if (!o->data_end || o->is_vdso || is_interp(o->name) || !m || m->inode != o->inode)
		return false;
	*start = SUT_ALIGN_UP(o->data_end, 64);
	*end = SUT_ALIGN_UP(o->data_end, p->mem.page_size);
	m = sut_maps_at(now, o->data_end - 1);
	if (!m || m->shared || (m->prot & (SUT_PROT_W | SUT_PROT_X)) != SUT_PROT_W || m->end < *end || *start >= *end)
		return false;
	/* Without the address of the heap's start, only an object below which it can not lie will do. */
	if (o->is_main && (!brk || brk < *end))
		return false;
	return true;
}

static bool find_tail(struct suture_process *p, const struct sut_maps *now, size_t need, uint64_t *ret,
		      size_t *ret_size)
{
	uint64_t best = 0, best_len = 0, start, end;

	if (is_musl(p))
		return false;
	for (size_t i = 0; i < p->obj.n; i++) {
		if (!tail_of(p, now, &p->obj.v[i], &start, &end) || end - start < need || end - start <= best_len)
			continue;
		if (!free_frame(p, start, end, true))
			continue;
		best = start;
		best_len = end - start;
	}
	*ret = best;
	*ret_size = best_len;
	return best_len;
}

/* Room below the stack pointer of a thread that stands on its own big stack: the program's, or one that was made for a
 * thread (that also of a child which a thread has forked, although it is the first of its process). */
static bool find_stack(struct suture_process *p, const struct sut_maps *now, const struct sut_thread *t, size_t need,
		       uint64_t *ret)
{
	const struct sut_arch *a = p->mem.arch;
	uint64_t sp = a->regs_sp(&t->regs), low = sp - a->red_zone - need, tp = a->regs_tp(&t->regs);
	const struct sut_map *m = sut_maps_at(now, sp), *below;

	if (!m || m->shared || (m->prot & (SUT_PROT_R | SUT_PROT_W)) != (SUT_PROT_R | SUT_PROT_W) || low > sp)
		return false;
	if (low < m->start || low - m->start < STACK_SPARE)
		return false;
	if (t->is_main && sut_in(m->start, m->end, sut_priv(p)->start_stack)) {
		if (sp >= sut_priv(p)->start_stack)
			return false;
	} else {
		if (!sut_in(m->start, m->end, tp) || sp >= tp)
			return false;
		below = sut_maps_at(now, m->start - 1);
		if (below && below->prot)
			return false;
	}
	*ret = SUT_ALIGN_DOWN(low, 64);
	return true;
}

/* A frame in [start, end) whose thread may not be back from it; its address and thread. */
static bool frame_in_use(struct suture_process *p, uint64_t start, uint64_t end, uint64_t *ret, pid_t *ret_tid)
{
	size_t len = end - start;
	_cleanup_free_ uint8_t *bytes = malloc(len);
	struct sut_heal_header h;

	if (!bytes || sut_mem_read(&p->mem, start, bytes, len))
		return false;
	for (size_t at = next_frame(bytes, start, 0, len, &h); at < len;
	     at = next_frame(bytes, start, at + 64, len, &h)) {
		if (!in_use(p, &h, start, end))
			continue;
		*ret = start + at;
		*ret_tid = (pid_t)h.tid;
		return true;
	}
	return false;
}

bool sut_heal_left(struct suture_process *p, uint64_t *ret, uint64_t *ret_end, pid_t *ret_tid)
{
	struct sut_maps now = { 0 };
	bool found = false;

	if (p->heal_code && frame_in_use(p, p->heal_frame, p->heal_frame + p->heal_frame_size, ret, ret_tid)) {
		*ret_end = p->heal_frame + p->heal_frame_size;
		return true;
	}
	if (is_musl(p) || p->mem.ops->maps(&p->mem, &now))
		return false;
	for (size_t i = 0; i < p->obj.n && !found; i++) {
		uint64_t start;

		found = tail_of(p, &now, &p->obj.v[i], &start, ret_end) &&
			frame_in_use(p, start, *ret_end, ret, ret_tid);
	}
	sut_maps_free(&now);
	return found;
}

int sut_heal_place(struct suture_process *p, struct sut_thread *t, size_t need, uint64_t *ret, size_t *ret_size,
		   bool *ret_own)
{
	struct sut_maps now = { 0 };
	bool found;
	int err;

	*ret_own = p->heal_code && p->heal_frame_size >= need &&
		   free_frame(p, p->heal_frame, p->heal_frame + p->heal_frame_size, false);
	if (*ret_own) {
		*ret = p->heal_frame;
		*ret_size = p->heal_frame_size;
		return 0;
	}
	err = p->mem.ops->maps(&p->mem, &now);
	if (err)
		return err;
	found = find_tail(p, &now, need, ret, ret_size);
	if (!found && find_stack(p, &now, t, need + 64, ret)) {
		*ret_size = need;
		found = true;
	}
	sut_maps_free(&now);
	if (found)
		return 0;
	if (sut_heal_pending(p, t)) {
		sut_fail(p->ctx, SUTURE_EBUSY, "a thread of %s[%d] still stands on the frame of a tool that was killed",
			 p->comm, p->pid);
		return sut_hint(p->ctx, "let the process run (SIGCONT), then try again");
	}
	return sut_fail(p->ctx, SUTURE_EREFUSED,
			"no place in %s[%d] to keep the registers of a borrowed thread: no data page with %zu unused "
			"bytes at its end, and thread %d does not stand on a large stack of its own",
			p->comm, p->pid, need, t->tid);
}

/* -- gadgets ---------------------------------------------------------------------------------- */

/* The last byte of a gadget (of a system call instruction) is rarer than its first: memmem is five times slower. */
static const uint8_t *find_bytes(const uint8_t *buf, size_t len, const struct sut_gadget *g)
{
	const uint8_t *at = buf + g->len - 1, *end = buf + len;

	while (at < end && (at = memchr(at, g->code[g->len - 1], (size_t)(end - at)))) {
		if (!memcmp(at - (g->len - 1), g->code, g->len))
			return at - (g->len - 1);
		at++;
	}
	return NULL;
}

/* The address of the first of these gadgets, or of the system call instruction in it. */
static uint64_t find_one(const uint8_t *buf, size_t len, uint64_t addr, const struct sut_gadget *g, size_t n,
			 bool at_syscall)
{
	for (size_t i = 0; i < n; i++) {
		const uint8_t *hit = find_bytes(buf, len, &g[i]);

		if (hit)
			return addr + (uint64_t)(hit - buf) + (at_syscall ? g[i].syscall_off : 0);
	}
	return 0;
}

static int find_restorers(struct suture_process *p, const uint8_t *buf, size_t len, uint64_t addr)
{
	struct sut_priv *pr = p->priv;
	const struct sut_arch *a = p->mem.arch;

	for (size_t i = 0; i < a->n_sigreturn_gadgets; i++) {
		const struct sut_gadget *g = &a->sigreturn_gadgets[i];

		for (size_t off = 0; off < len && pr->restorer.n <= RESTORERS;) {
			const uint8_t *hit = find_bytes(buf + off, len - off, g);

			if (!hit)
				break;
			off = (size_t)(hit - buf) + 1;
			if (sut_vec_push(&pr->restorer, addr + off - 1))
				return sut_nomem(p->ctx);
		}
	}
	return 0;
}

static int search_text(struct suture_process *p, const uint8_t *buf, size_t len, uint64_t addr, bool restorers)
{
	struct sut_priv *pr = p->priv;
	const struct sut_arch *a = p->mem.arch;

	if (restorers)
		return find_restorers(p, buf, len, addr);
	if (!pr->syscall_gadget)
		pr->syscall_gadget = find_one(buf, len, addr, a->syscall_gadgets, a->n_syscall_gadgets, true);
	if (!pr->sigreturn_gadget)
		pr->sigreturn_gadget = find_one(buf, len, addr, a->sigreturn_gadgets, a->n_sigreturn_gadgets, false);
	return 0;
}

/* 0: the vDSO and what is named like a C library; 1: the program; 2: all else. */
static unsigned rank(const struct sut_object *o)
{
	if (o->is_main)
		return 1;
	if (o->is_vdso || is_interp(o->name) || !strncmp(o->name, "libc.", 5) || !strncmp(o->name, "libc-", 5) ||
	    !strncmp(o->name, "libpthread", 10))
		return 0;
	return 2;
}

static int search_object(struct suture_process *p, struct sut_object *o, bool restorers)
{
	struct sut_elf *elf;

	if (sut_object_elf(p, o, &elf))
		return 0; /* another object may do */
	for (size_t i = 0; i < elf->load.n; i++) {
		const struct sut_segment *s = &elf->load.v[i];
		const uint8_t *bytes = sut_elf_bytes(elf, s->vaddr, s->filesz);
		int err;

		if (!(s->prot & SUT_PROT_X) || (s->prot & SUT_PROT_W) || !bytes)
			continue;
		err = search_text(p, bytes, s->filesz, s->vaddr + o->bias, restorers);
		if (err)
			return err;
	}
	return 0;
}

/* Searches the text of objects in their files: reading it from the target takes ten times longer. */
static int search(struct suture_process *p, bool restorers, unsigned ranks)
{
	struct sut_priv *pr = p->priv;

	for (unsigned r = 0; r < ranks; r++)
		for (size_t i = 0; i < p->obj.n; i++) {
			int err;

			if (rank(&p->obj.v[i]) != r || (!restorers && pr->syscall_gadget && pr->sigreturn_gadget))
				continue;
			err = search_object(p, &p->obj.v[i], restorers);
			if (err)
				return err;
		}
	return 0;
}

/* A gadget is used only if the target's memory says what the file says. */
static void check_gadget(struct suture_process *p, uint64_t *addr, const struct sut_gadget *g, size_t n,
			 bool at_syscall)
{
	uint8_t buf[32];

	for (size_t i = 0; *addr && i < n; i++) {
		uint64_t start = *addr - (at_syscall ? g[i].syscall_off : 0);

		if (g[i].len <= sizeof(buf) && sut_process_read_some(p, start, buf, g[i].len) == g[i].len &&
		    !memcmp(buf, g[i].code, g[i].len))
			return;
	}
	*addr = 0;
}

/* Whether every object's text can be read from its file, and all of it is not too much. */
static bool searchable(struct suture_process *p)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < p->obj.n; i++) {
		struct sut_elf *elf;

		if (sut_object_elf(p, &p->obj.v[i], &elf))
			return false;
		for (size_t k = 0; k < elf->load.n; k++)
			bytes += elf->load.v[k].prot & SUT_PROT_X ? elf->load.v[k].filesz : 0;
	}
	return bytes <= TEXT_MAX;
}

int sut_heal_restorers(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;
	int err;

	if (pr->restorers_searched)
		return 0;
	pr->restorer.n = 0;
	if (searchable(p)) {
		err = search(p, true, 3);
		if (err)
			return err;
		/* Not all of them are known: then none is, and the scan proves nothing (prove.c). */
		if (pr->restorer.n > RESTORERS)
			pr->restorer.n = 0;
	}
	pr->restorers_searched = true;
	return 0;
}

int sut_heal_gadgets(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;
	int err;

	if (!pr->gadgets_searched) {
		pr->syscall_gadget = pr->sigreturn_gadget = 0;
		err = search(p, false, 3);
		if (err)
			return err;
		check_gadget(p, &pr->syscall_gadget, p->mem.arch->syscall_gadgets, p->mem.arch->n_syscall_gadgets,
			     true);
		check_gadget(p, &pr->sigreturn_gadget, p->mem.arch->sigreturn_gadgets, p->mem.arch->n_sigreturn_gadgets,
			     false);
		pr->gadgets_searched = true;
	}
	if (pr->syscall_gadget && pr->sigreturn_gadget)
		return 0;
	return sut_fail(
		p->ctx, SUTURE_EREFUSED,
		"%s[%d] maps no code that makes a system call and returns%s: a thread could not be borrowed safely",
		p->comm, p->pid, pr->syscall_gadget ? " from a signal" : "");
}
