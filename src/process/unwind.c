/* SPDX-License-Identifier: MIT */
/*
 * unwind.c - walking a stopped thread's frames by call frame information alone.
 *
 * Registers are known or unknown; what a rule needs and nobody knows ends the walk as unreliable, as does
 * everything else that is not as it must be: code without CFI, a CFA that does not rise (but over a
 * signal frame, which may change stacks), a return address outside of the objects, an end that is not
 * the thread's own outermost frame. Nothing is guessed: no frame pointers, no search.
 *
 * A return address is looked up at pc - 1 (a call may be the last instruction of its function); where a
 * thread stands, or stood when a signal came, at pc itself.
 *
 * The stack is read through one window, filled by one system call; allocates nothing but rows of CFI.
 */
#include "process/self.h"

#define MAX_FRAMES  10000
#define MAX_SIGNALS 64
#define MAX_BASE    (1u << 20) /* how far above a thread's first frame its block can lie (static TLS in between) */
#define MAX_ARGS    4096 /* ld.so as a command moves the arguments by so much at most */
#define MAX_ENTRY   64 /* bytes of a program's first instructions, up to the call of what runs it */
#define UCONTEXT    512 /* bytes of one that hold the general registers */
#define MAX_EXIT    8 /* instructions between the first call's return and the end */

struct walk {
	struct suture_process *p;
	struct sut_thread *t;
	const struct sut_extra_cfi *extra;
	size_t n_extra;
	uint64_t pc;
	uint64_t reg[SUT_CFI_REGS];
	bool known[SUT_CFI_REGS];
	bool exact; /* see struct sut_frame */
	uint64_t cfa; /* of the frame looked at */
	unsigned signals;
	bool uncovered; /* the last row asked for: there is none in a file that has others */
	const char *why;
};

/* -- memory ----------------------------------------------------------------------------------- */

/* The part of the window that is the caller's own stack, in one's own process: as it was when it was stopped. */
static void overlay_snapshot(struct sut_priv *pr)
{
	const struct sut_self *s = pr->self;
	uint64_t from = pr->stack_addr > s->snapshot_addr ? pr->stack_addr : s->snapshot_addr;
	uint64_t end = pr->stack_addr + pr->stack_len, s_end = s->snapshot_addr + s->snapshot_len;
	uint64_t to = end < s_end ? end : s_end;

	if (from < to)
		memcpy(pr->stack + (from - pr->stack_addr), s->snapshot + (from - s->snapshot_addr), to - from);
}

void sut_stack_load(struct suture_process *p, uint64_t addr, size_t len)
{
	struct sut_priv *pr = p->priv;

	pr->stack_addr = addr;
	pr->stack_len = sut_process_read_some(p, addr, pr->stack, len < SUT_STACK_WIN ? len : SUT_STACK_WIN);
	if (pr->self)
		overlay_snapshot(pr);
}

uint64_t sut_stack_top(struct suture_process *p, const struct sut_thread *t)
{
	return t->is_main ? sut_priv(p)->start_stack : p->mem.arch->regs_tp(&t->regs);
}

static bool read_mem(void *arg, uint64_t addr, unsigned size, uint64_t *ret)
{
	struct walk *w = arg;
	struct sut_priv *pr = w->p->priv;
	uint64_t v = 0;

	if (addr < pr->stack_addr || !sut_fits(addr - pr->stack_addr, size, pr->stack_len)) {
		sut_stack_load(w->p, addr, 16384);
		if (pr->stack_len < size)
			return false;
	}
	memcpy(&v, pr->stack + (addr - pr->stack_addr), size);
	*ret = v;
	return true;
}

static bool read_reg(void *arg, unsigned n, uint64_t *ret)
{
	struct walk *w = arg;

	if (n >= SUT_CFI_REGS || !w->known[n])
		return false;
	*ret = w->reg[n];
	return true;
}

/* -- one frame -------------------------------------------------------------------------------- */

/* @pc: as the cfi has it; runtime where that is NULL. */
static void miss(struct sut_self *self, struct sut_cfi *cfi, uint64_t pc)
{
	const struct sut_cfi_row *row;

	if (self->n_missed == SUT_SELF_MISSED || (cfi && sut_cfi_row_known(cfi, pc, &row) != SUT_CFI_NOT_READ))
		return;
	self->missed[self->n_missed].cfi = cfi;
	self->missed[self->n_missed++].pc = pc;
}

/* In a frozen process what was not read before can not be read now (self.h). The frames above this one will be
 * missed too: whatever on the stack may be a return address is noted along with it. */
static void note_missed(struct walk *w, struct sut_cfi *cfi, uint64_t pc)
{
	struct sut_priv *pr = w->p->priv;
	uint64_t sp = w->reg[w->p->mem.arch->dwarf_sp];

	w->why = "call frame information that is only now being read";
	miss(pr->self, cfi, pc);
	sut_stack_load(w->p, SUT_ALIGN_UP(sp, 8), 16384);
	for (size_t off = 0; off + 8 <= pr->stack_len; off += 8) {
		uint64_t word = sut_le64(pr->stack + off) - 1;
		struct sut_object *o = sut_process_object_at(w->p, word);

		if (o && !o->cfi_failed)
			miss(pr->self, o->cfi, o->cfi ? word - o->bias : word);
	}
}

/* @none: what to say where there is none. */
static const struct sut_cfi_row *row_at(struct walk *w, struct sut_cfi *cfi, uint64_t pc, const char *none)
{
	const struct sut_cfi_row *row = NULL;
	enum sut_cfi_known known;

	if (!w->p->mem.frozen)
		known = sut_cfi_row(cfi, pc, &row) ? SUT_CFI_KNOWN : SUT_CFI_KNOWN_NONE;
	else
		known = sut_cfi_row_known(cfi, pc, &row);
	if (known == SUT_CFI_KNOWN)
		return row;
	if (known == SUT_CFI_NOT_READ) {
		note_missed(w, cfi, pc);
		return NULL;
	}
	w->uncovered = true;
	w->why = none;
	return NULL;
}

static const struct sut_cfi_row *find_row(struct walk *w, uint64_t pc, struct sut_object **ret_obj)
{
	struct sut_object *o;
	struct sut_cfi *cfi;

	*ret_obj = NULL;
	w->uncovered = false;
	for (size_t i = 0; i < w->n_extra; i++)
		if (sut_in(w->extra[i].start, w->extra[i].end, pc))
			return row_at(w, w->extra[i].cfi, pc, "code of a patch without call frame information");
	o = sut_process_object_at(w->p, pc);
	if (!o) {
		w->why = "code that belongs to no file";
		return NULL;
	}
	*ret_obj = o;
	if (o->stale) {
		w->why = "another file was mapped meanwhile";
		return NULL;
	}
	cfi = w->p->mem.frozen ? o->cfi : sut_object_cfi(w->p, o);
	if (cfi)
		return row_at(w, cfi, pc - o->bias, "code without call frame information");
	if (w->p->mem.frozen && !o->cfi_failed)
		note_missed(w, NULL, pc);
	else
		w->why = "a file without call frame information";
	return NULL;
}

static bool compute_cfa(struct walk *w, const struct sut_cfi_row *row, const struct sut_expr_ops *env)
{
	if (row->cfa_kind == SUT_CFA_EXPR)
		return sut_expr_eval(row->cfa_ops, row->cfa_nops, env, NULL, &w->cfa);
	if (!read_reg(w, row->cfa_reg, &w->cfa))
		return false;
	w->cfa += (uint64_t)row->cfa_off;
	return true;
}

/* The caller's value of one register; false: unknown. */
static bool compute_reg(struct walk *w, const struct sut_cfi_row *row, unsigned n, const struct sut_expr_ops *env,
			uint64_t *ret)
{
	uint64_t addr;

	if (n >= row->n_regs)
		return false;
	switch (row->reg[n].rule) {
	case SUT_CFI_SAME:
		if (n == w->p->mem.arch->dwarf_sp) {
			*ret = w->cfa;
			return true;
		}
		return read_reg(w, n, ret);
	case SUT_CFI_UNDEFINED:
		if (n != w->p->mem.arch->dwarf_sp)
			return false;
		*ret = w->cfa;
		return true;
	case SUT_CFI_OFFSET:
		return read_mem(w, w->cfa + (uint64_t)row->reg[n].off, 8, ret);
	case SUT_CFI_VAL_OFFSET:
		*ret = w->cfa + (uint64_t)row->reg[n].off;
		return true;
	case SUT_CFI_REGISTER:
		return read_reg(w, (unsigned)row->reg[n].off, ret);
	case SUT_CFI_EXPR:
		return sut_expr_eval(row->reg[n].ops, row->reg[n].nops, env, &w->cfa, &addr) &&
		       read_mem(w, addr, 8, ret);
	case SUT_CFI_VAL_EXPR:
		return sut_expr_eval(row->reg[n].ops, row->reg[n].nops, env, &w->cfa, ret);
	}
	return false;
}

/* Whether a frame lies above the last one. One that keeps its return address in a register may take no room: only where
 * the thread stands, because what it called meanwhile would have used that register. */
static bool is_above(const struct walk *w, uint64_t next_sp)
{
	const struct sut_arch *a = w->p->mem.arch;
	uint64_t sp = w->reg[a->dwarf_sp];

	if (!w->known[a->dwarf_sp])
		return false;
	if (w->exact && a->dwarf_pc != a->dwarf_ra)
		return w->cfa >= sp && next_sp >= sp;
	return w->cfa > sp && next_sp > sp;
}

/* Replaces the registers by the caller's. */
static bool step(struct walk *w, const struct sut_cfi_row *row)
{
	const struct sut_arch *a = w->p->mem.arch;
	struct sut_expr_ops env = { read_reg, read_mem, w };
	uint64_t next[SUT_CFI_REGS] = { 0 };
	bool known[SUT_CFI_REGS] = { 0 };

	for (unsigned n = 0; n < SUT_CFI_REGS && n < a->n_dwarf_regs; n++)
		known[n] = compute_reg(w, row, n, &env, &next[n]);
	if (row->ra_reg >= SUT_CFI_REGS || !known[row->ra_reg] || !known[a->dwarf_sp]) {
		w->why = "a return address that needs an unknown register";
		return false;
	}
	if (row->signal_frame) {
		if (++w->signals > MAX_SIGNALS) {
			w->why = "too many signal frames";
			return false;
		}
	} else if (!is_above(w, next[a->dwarf_sp])) {
		w->why = "a frame that does not lie above the last one";
		return false;
	}
	w->pc = next[row->ra_reg];
	if (a->strip_code)
		w->pc = a->strip_code(&w->t->regs, w->pc);
	memcpy(w->reg, next, sizeof(next));
	memcpy(w->known, known, sizeof(known));
	w->exact = row->signal_frame;
	/* A caller's own return address is no longer where its call has put another. */
	if (!w->exact)
		w->known[a->dwarf_ra] = false;
	return true;
}

/* The same where a signal handler returns to, and its call frame information does not tell all. */
static bool step_signal(struct walk *w)
{
	const struct sut_arch *a = w->p->mem.arch;
	struct sut_priv *pr = w->p->priv;
	struct sut_regs regs;

	if (++w->signals > MAX_SIGNALS || !w->known[a->dwarf_sp]) {
		w->why = "too many signal frames";
		return false;
	}
	sut_stack_load(w->p, w->reg[a->dwarf_sp] + a->sigframe_ucontext, UCONTEXT);
	if (pr->stack_len < UCONTEXT) {
		w->why = "a signal frame that can not be read";
		return false;
	}
	a->regs_from_ucontext(pr->stack, a->regs_tp(&w->t->regs), &regs);
	for (unsigned n = 0; n < SUT_CFI_REGS && n < a->n_dwarf_regs; n++)
		w->known[n] = a->regs_dwarf(&regs, n, &w->reg[n]);
	w->pc = a->regs_pc(&regs);
	w->exact = true;
	return true;
}

/* -- the end ---------------------------------------------------------------------------------- */

/* What follows @pc, where it is the end: a few plain instructions, then the exit system call (SUT_INSN_SYSCALL: a
 * thread) or a trap (SUT_INSN_TRAP: a program). A coroutine's first frame goes on to its scheduler: SUT_INSN_OTHER. */
static enum sut_insn_kind leads_to_end(struct walk *w, const struct sut_object *o, uint64_t pc)
{
	const struct sut_arch *a = w->p->mem.arch;
	struct sut_priv *pr = w->p->priv;
	const uint8_t *code;
	size_t off = 0;

	for (unsigned i = 0; i < pr->n_outermost; i++)
		if (pr->outermost[i].pc == pc)
			return pr->outermost[i].kind;
	code = o && o->elf ? sut_elf_bytes(o->elf, pc - o->bias, 64) : NULL;
	for (unsigned i = 0; code && i < MAX_EXIT; i++) {
		struct sut_insn insn;

		if (a->insn_decode(code + off, 64 - off, pc + off, &insn))
			break;
		if (insn.kind == SUT_INSN_TRAP || insn.kind == SUT_INSN_SYSCALL) {
			if (pr->n_outermost < SUT_ARRAY_SIZE(pr->outermost)) {
				pr->outermost[pr->n_outermost].pc = pc;
				pr->outermost[pr->n_outermost++].kind = insn.kind;
			}
			return insn.kind;
		}
		if (insn.kind != SUT_INSN_OTHER && insn.kind != SUT_INSN_NOP)
			break;
		off += insn.len;
	}
	return SUT_INSN_OTHER;
}

/* Whether the outermost frame stands where the thread's own stack begins: @program, that of the program, else a
 * thread's below its block. */
static bool at_own_base(struct walk *w, bool program)
{
	struct sut_priv *pr = w->p->priv;
	uint64_t top = w->p->mem.arch->regs_tp(&w->t->regs), len;

	if (program)
		return pr->start_stack && w->cfa + 256 >= pr->start_stack && w->cfa <= pr->start_stack + MAX_ARGS;
	if (w->cfa > top || top - w->cfa > MAX_BASE)
		return false;
	/* No hole up to the thread's block. */
	for (uint64_t at = w->cfa; at < top; at += len) {
		len = top - at < SUT_STACK_WIN ? top - at : SUT_STACK_WIN;
		if (at >= pr->stack_addr && sut_fits(at - pr->stack_addr, len, pr->stack_len))
			continue;
		sut_stack_load(w->p, at, len);
		if (pr->stack_len < len)
			return false;
	}
	return true;
}

/* Whether @pc is where the call in the program's first instructions returns to. */
static bool in_entry(const struct sut_object *o, uint64_t pc)
{
	return o && o->is_main && o->elf && pc - o->bias - o->elf->entry <= MAX_ENTRY && pc - o->bias > o->elf->entry;
}

static bool is_end(struct walk *w, const struct sut_object *o, uint64_t pc)
{
	struct sut_expr_ops env = { read_reg, read_mem, w };
	const struct sut_cfi_row *row;
	struct sut_object *ignored;
	enum sut_insn_kind end;

	if (w->exact) {
		w->why = "a thread in its first instructions";
		return false;
	}
	row = find_row(w, pc - 1, &ignored);
	if (row ? !compute_cfa(w, row, &env) : !w->uncovered || !w->known[w->p->mem.arch->dwarf_sp]) {
		w->why = "an outermost frame without a place";
		return false;
	}
	if (!row)
		w->cfa = w->reg[w->p->mem.arch->dwarf_sp];
	/* A child that was forked by a thread is the first of its process, and goes on on that thread's stack. */
	end = leads_to_end(w, o, pc);
	if (end == SUT_INSN_OTHER && in_entry(o, pc))
		end = SUT_INSN_TRAP;
	if (end != SUT_INSN_SYSCALL && !(end == SUT_INSN_TRAP && w->t->is_main)) {
		w->why = "an outermost frame that is neither a program's nor a thread's";
		return false;
	}
	if (!at_own_base(w, end == SUT_INSN_TRAP)) {
		w->why = "a stack that is not the thread's own";
		return false;
	}
	return true;
}

/* Whether a frame whose caller can not be told is the outermost one although no call frame information says so (ppc64le:
 * neither that of _start nor that of a thread's first instructions does). */
static bool is_unsaid_end(struct walk *w, const struct sut_object *o, uint64_t pc)
{
	const char *why = w->why;

	if (!o || w->exact || (leads_to_end(w, o, pc) != SUT_INSN_SYSCALL && !in_entry(o, pc)))
		return false;
	if (is_end(w, o, pc))
		return true;
	w->why = why;
	return false;
}

/* -- the walk --------------------------------------------------------------------------------- */

static void init_regs(struct walk *w)
{
	const struct sut_arch *a = w->p->mem.arch;

	for (unsigned n = 0; n < SUT_CFI_REGS && n < a->n_dwarf_regs; n++)
		w->known[n] = a->regs_dwarf(&w->t->regs, n, &w->reg[n]);
	w->pc = a->regs_pc(&w->t->regs);
	w->exact = true;
}

size_t sut_unwind(struct suture_process *p, struct sut_thread *t, const struct sut_extra_cfi *extra, size_t n_extra,
		  struct sut_frame *frames, size_t cap, bool *reliable, const char **why)
{
	const struct sut_arch *a = p->mem.arch;
	struct walk w = { .p = p, .t = t, .extra = extra, .n_extra = n_extra };
	struct sut_expr_ops env = { read_reg, read_mem, &w };
	size_t n = 0;

	*reliable = false;
	if (!t->regs_valid || !a->regs_native(&t->regs)) {
		w.why = "32-bit code";
		goto out;
	}
	init_regs(&w);
	for (unsigned i = 0; i < MAX_FRAMES; i++) {
		uint64_t pc = w.pc;
		const struct sut_cfi_row *row;
		struct sut_object *o;

		if (n < cap)
			frames[n] = (struct sut_frame){ .pc = pc, .exact = w.exact };
		n++;
		row = find_row(&w, w.exact ? pc : pc - 1, &o);
		if (!row) {
			*reliable = w.uncovered && is_unsaid_end(&w, o, pc);
			goto out;
		}
		if (row->ra_undefined) {
			*reliable = is_end(&w, o, pc);
			if (n <= cap)
				frames[n - 1].cfa = w.cfa;
			goto out;
		}
		if (!compute_cfa(&w, row, &env)) {
			w.why = "a frame that needs an unknown register";
			goto out;
		}
		if (n <= cap) {
			frames[n - 1].cfa = w.cfa;
			frames[n - 1].signal_frame = row->signal_frame;
		}
		if (row->signal_frame && a->sigframe_ucontext ? !step_signal(&w) : !step(&w, row)) {
			*reliable = !row->signal_frame && is_unsaid_end(&w, o, pc);
			goto out;
		}
	}
	w.why = "too many frames";
out:
	if (why)
		*why = *reliable ? NULL : w.why;
	return n < cap ? n : cap;
}
