/* SPDX-License-Identifier: MIT */
/*
 * remote.c - borrowing a thread, and system calls in the target.
 *
 * The thread is stopped by PTRACE_INTERRUPT. Its registers R are kept, and encoded as a signal frame F in
 * the target's memory (heal.c says where), together with its signal mask. A system call is then
 *
 *	registers := { pc: a system call instruction, sp: F, number, arguments }
 *	PTRACE_SYSCALL to the entry stop, PTRACE_SYSCALL to the exit stop, read the result
 *
 * and what follows that instruction is a return through F. So at any moment the tool may be killed: the
 * kernel lets the thread go, it finishes the call, returns through F, and does what it did
 * before, an interrupted system call of its own restarted. No trap and no text write is involved.
 *
 * Order matters at both ends, because a handler that runs on F's memory would write over whatever lies
 * below it: all signals are blocked right after the registers are ours, and F brings the mask back.
 *
 *	begin  write F, set registers, block signals    end  own mask, own registers, restore F's bytes
 *
 * (A tool that is killed between the two steps, together with a signal in the same microsecond, is
 * the one case left; the frame is placed with room below where there is any.) The end is exact: R as the
 * stop showed it, so that the kernel itself restarts what it interrupted, its time-outs intact.
 *
 * A thread inside a restartable sequence is first taken to its abort handler, as the kernel would
 * have done: it can not see that the thread was away.
 */
#include <elf.h>
#include <errno.h>
#include <sys/uio.h>
#include <time.h>

#include "process/internal.h"

#define CALL_TIMEOUT_NS 10000000000u /* a call that takes longer has left its thread for good */
#define LOST_NS         5000000 /* a stop that takes longer may never come */
#define SPIN_NS         30000 /* a stop comes that soon where another processor is free; sleeping doubles the time */
#define WINDOW_NS       20000000u /* how long one thread is waited for before another is tried */
#define CANDIDATES      16 /* threads looked at before a less suited one is taken */

/* linux/ptrace.h, newer than some headers. */
#define GET_RSEQ_CONFIGURATION 0x420f
#define GET_SYSCALL_DISPATCH   0x4211
struct rseq_configuration {
	uint64_t rseq_abi_pointer;
	uint32_t rseq_abi_size, signature, flags, pad;
};
struct syscall_dispatch {
	uint64_t mode, selector, offset, len;
};

/* -- the frame -------------------------------------------------------------------------------- */

/* linux/rseq.h: the part of a thread's area that is used, and a critical section. */
static void abort_rseq(struct suture_process *p, struct sut_thread *t)
{
	const struct sut_arch *a = p->mem.arch;
	struct rseq_configuration conf = { 0 };
	struct {
		uint32_t version, flags;
		uint64_t start_ip, post_commit_offset, abort_ip;
	} cs;
	uint64_t cs_addr;

	if (ptrace((enum __ptrace_request)GET_RSEQ_CONFIGURATION, t->tid, sizeof(conf), &conf) != sizeof(conf) ||
	    !conf.rseq_abi_pointer)
		return;
	if (sut_process_read_some(p, conf.rseq_abi_pointer + 8, &cs_addr, 8) != 8 || !cs_addr)
		return;
	if (sut_process_read_some(p, cs_addr, &cs, sizeof(cs)) != sizeof(cs))
		return;
	if (a->regs_pc(&t->regs) - cs.start_ip < cs.post_commit_offset)
		a->regs_set_pc(&t->regs, cs.abort_ip);
}

static int read_fpu(struct suture_process *p, struct sut_thread *t, size_t *ret)
{
	struct sut_priv *pr = p->priv;
	struct iovec v = { pr->fpu, SUT_FPU_MAX };

	if (ptrace(PTRACE_GETREGSET, t->tid, p->mem.arch->fpu_regset, &v))
		return errno == ESRCH ? sut_fail_gone(p)
				      : sut_fail(p->ctx, SUTURE_EFAILED, "vector registers of thread %d of %s[%d]: %s",
						 t->tid, p->comm, p->pid, strerror(errno));
	if (v.iov_len == SUT_FPU_MAX)
		return sut_fail(p->ctx, SUTURE_EREFUSED, "vector registers of thread %d of %s[%d]: more than %d bytes",
				t->tid, p->comm, p->pid, SUT_FPU_MAX);
	*ret = v.iov_len;
	return 0;
}

/* Builds the frame in pr->frame for the address @at; where it goes from there in @insn and @sp. */
static int build_frame(struct suture_process *p, struct sut_thread *t, size_t fpu_size, uint64_t at, bool own,
		       size_t *ret_len, uint64_t *ret_insn, uint64_t *ret_sp)
{
	struct sut_priv *pr = p->priv;
	const struct sut_arch *a = p->mem.arch;
	struct sut_heal_header h = { SUT_HEAL_MAGIC, (uint64_t)t->tid };
	uint64_t sp = 0;
	size_t len = 0;
	int err;

	memset(pr->frame, 0, SUT_HEAL_HEADER);
	memcpy(pr->frame, &h, sizeof(h));
	err = a->sigframe(&t->regs, pr->fpu, fpu_size, pr->borrow.sigmask, at + SUT_HEAL_HEADER,
			  pr->frame + SUT_HEAL_HEADER, SUT_FRAME_MAX - SUT_HEAL_HEADER, &len, &sp);
	if (err)
		return sut_fail(p->ctx, SUTURE_EREFUSED,
				"thread %d of %s[%d]: its registers do not fit a signal frame (%s)", t->tid, p->comm,
				p->pid, strerror(-err));
	len += SUT_HEAL_HEADER;
	if (own) {
		*ret_insn = p->heal_code + a->heal_syscall_off;
	} else {
		*ret_insn = pr->syscall_gadget;
		sp -= 8; /* the gadget returns through the word at sp */
		if (sp < at + sizeof(h) || sp + 8 > at + len)
			return sut_fail(p->ctx, SUTURE_EBUG, "the frame's stack pointer lies outside of it");
		sut_put_le64(pr->frame + (sp - at), pr->sigreturn_gadget);
	}
	*ret_len = len;
	*ret_sp = sp;
	return 0;
}

/* Finds a place for the frame, and what stands there now. Writes nothing to the target. */
static int plan_frame(struct suture_process *p, struct sut_thread *t)
{
	struct sut_priv *pr = p->priv;
	struct sut_borrow *b = &pr->borrow;
	uint64_t insn = 0, sp = 0, at = 0;
	size_t fpu_size = 0, len = 0, size = 0;
	uint8_t *saved = NULL;
	bool own = false;
	int err = read_fpu(p, t, &fpu_size);

	/* Once for the size, at an address that is as good as any. */
	if (!err)
		err = build_frame(p, t, fpu_size, 0x10000, false, &len, &insn, &sp);
	if (!err)
		err = sut_heal_place(p, t, len, &at, &size, &own);
	if (!err && !own)
		err = sut_heal_gadgets(p);
	if (err)
		return err;
	/* As high as it goes: room below for a handler's frame, if one should be pushed there. */
	at += SUT_ALIGN_DOWN(size - len, 64);
	err = build_frame(p, t, fpu_size, at, own, &len, &insn, &sp);
	if (err)
		return err;
	if (!own) {
		saved = malloc(len);
		if (!saved)
			return sut_nomem(p->ctx);
		err = sut_mem_read(&p->mem, at, saved, len);
		if (err) {
			free(saved);
			return err;
		}
	}
	b->saved = saved;
	b->fpu_size = fpu_size;
	b->frame = at;
	b->frame_size = len;
	b->own = own;
	b->insn = insn;
	b->sp = sp;
	b->written = false;
	return 0;
}

static int write_frame(struct suture_process *p, struct sut_thread *t)
{
	struct sut_priv *pr = p->priv;
	struct sut_borrow *b = &pr->borrow;
	size_t len;
	int err;

	/* Only here: a thread that is given back unused keeps its pc, and the kernel does this. */
	if (!b->injected)
		abort_rseq(p, t);
	err = build_frame(p, t, b->fpu_size, b->frame, b->own, &len, &b->insn, &b->sp);
	if (!err)
		err = sut_mem_write(&p->mem, b->frame, pr->frame, len);
	if (!err)
		b->written = true;
	return err;
}

/* -- one call --------------------------------------------------------------------------------- */

static int block_signals(struct suture_process *p, struct sut_thread *t)
{
	uint64_t all = ~0ull;

	if (ptrace(PTRACE_SETSIGMASK, t->tid, sizeof(all), &all))
		return -errno;
	sut_priv(p)->borrow.mask_changed = true;
	return 0;
}

/* Whether the thread stands at the wanted one of the two stops of a system call (kernels before 5.3: believed). */
static bool at_stop(const struct sut_thread *t, unsigned op)
{
	struct __ptrace_syscall_info info = { 0 };

	return ptrace(PTRACE_GET_SYSCALL_INFO, t->tid, sizeof(info), &info) <= 0 || info.op == op;
}

/* Continues to the next system call stop of kind @op. */
static int run_to_stop(struct suture_process *p, struct sut_thread *t, unsigned op, uint64_t deadline)
{
	struct sut_priv *pr = p->priv;
	uint64_t begin = sut_now_ns();
	int sig = 0;

	t->stopped = false;
	if (ptrace(PTRACE_SYSCALL, t->tid, 0, 0) && errno == ESRCH)
		goto gone;
	for (;;) {
		struct sut_event ev;

		sut_event_poll(p, t->tid, &ev);
		sig = 0;
		switch (ev.kind) {
		case SUT_EVENT_NONE:
			if (sut_now_ns() > deadline)
				return sut_fail(p->ctx, SUTURE_ETIMEOUT,
						"a system call in thread %d of %s[%d] does not come back", t->tid,
						p->comm, p->pid);
			if (sut_now_ns() - begin > LOST_NS && sut_thread_lost(p, t->tid))
				goto gone;
			if (sut_now_ns() - begin > SPIN_NS)
				sut_event_wait(1000000);
			continue;
		case SUT_EVENT_SYSCALL:
			if (!at_stop(t, op))
				break;
			t->stopped = true;
			return 0;
		case SUT_EVENT_GONE:
			goto gone;
		case SUT_EVENT_EXEC:
			pr->gone_how = "replaced its program (exec)";
			t->stopped = true;
			goto gone;
		case SUT_EVENT_SIGNAL:
			/* All are blocked but SIGKILL and SIGSTOP: a group stop begins, which does not
			 * keep a traced thread from going on. */
			sig = ev.sig;
			break;
		case SUT_EVENT_STOP:
		case SUT_EVENT_CHILD:
		case SUT_EVENT_OTHER:
			break;
		}
		if (ptrace(PTRACE_SYSCALL, t->tid, 0, sig) && errno == ESRCH)
			goto gone;
	}
gone:
	/* Killed where it stood, perhaps: then its end is still to be collected, or its process never ends. */
	t->dead = !t->stopped;
	if (t->dead)
		sut_thread_make_late(p, t);
	pr->borrow.injected = false;
	return sut_fail_gone(p);
}

static int call_once(struct suture_process *p, struct sut_thread *t, unsigned nr, const uint64_t args[6], int64_t *ret)
{
	struct sut_priv *pr = p->priv;
	struct sut_borrow *b = &pr->borrow;
	const struct sut_arch *a = p->mem.arch;
	uint64_t deadline = sut_now_ns() + CALL_TIMEOUT_NS;
	struct sut_regs r = t->regs, out = { 0 };
	struct iovec v = { out.raw, sizeof(out.raw) };
	int err;

	a->regs_set_syscall(&r, b->insn, nr, args);
	a->regs_set_sp(&r, b->sp);
	err = sut_thread_write_regs(t, &r);
	if (!err) {
		b->injected = true;
		err = b->mask_changed ? 0 : block_signals(p, t);
	}
	if (err == -ESRCH)
		return sut_fail_gone(p);
	if (err)
		return sut_fail(p->ctx, SUTURE_EFAILED, "thread %d of %s[%d] can not be made to call: %s", t->tid,
				p->comm, p->pid, strerror(-err));
	err = run_to_stop(p, t, PTRACE_SYSCALL_INFO_ENTRY, deadline);
	if (!err)
		err = run_to_stop(p, t, PTRACE_SYSCALL_INFO_EXIT, deadline);
	if (err)
		return err;
	if (ptrace(PTRACE_GETREGSET, t->tid, NT_PRSTATUS, &v))
		return sut_fail_gone(p);
	out.size = v.iov_len;
	if (a->regs_sp(&out) != b->sp)
		return sut_fail(p->ctx, SUTURE_EBUG, "thread %d of %s[%d] came back from a system call elsewhere",
				t->tid, p->comm, p->pid);
	*ret = a->regs_syscall_result(&out);
	return 0;
}

/* What a filter sees as the instruction pointer: behind the instruction. */
static uint64_t filter_ip(struct suture_process *p)
{
	const struct sut_arch *a = p->mem.arch;
	const struct sut_gadget *g = a->syscall_gadgets;
	size_t len = 0;

	(void)!a->is_syscall_insn(g->code + g->syscall_off, g->len - g->syscall_off, &len);
	return sut_priv(p)->borrow.insn + len;
}

static int check_seccomp(struct suture_process *p, unsigned nr, const uint64_t args[6])
{
	struct sut_priv *pr = p->priv;
	struct sut_thread *t = p->borrowed;
	enum sut_seccomp_verdict v = sut_seccomp_eval(p, nr, filter_ip(p), args);

	if (v == SUT_SECCOMP_ALLOW || (v == SUT_SECCOMP_ERRNO && pr->borrow.suspended))
		return 0;
	if (v == SUT_SECCOMP_FATAL) {
		sut_fail(p->ctx, SUTURE_EACCESS,
			 "a seccomp filter of thread %d of %s[%d] would kill or trap system call %u", t->tid, p->comm,
			 p->pid, nr);
		return sut_hint(p->ctx, "such a process can not be patched while it runs; nothing was tried");
	}
	if (!ptrace(PTRACE_SETOPTIONS, t->tid, 0,
		    PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
			    PTRACE_O_TRACEEXEC | PTRACE_O_SUSPEND_SECCOMP)) {
		pr->borrow.suspended = true;
		p->suspend_seccomp = true;
		return 0;
	}
	sut_fail(p->ctx, SUTURE_EACCESS, "a seccomp filter of thread %d of %s[%d] forbids system call %u", t->tid,
		 p->comm, p->pid, nr);
	return sut_hint(p->ctx, "with CAP_SYS_ADMIN the filter could be suspended for it (%s)", strerror(errno));
}

/* In a common stop nobody may have been borrowed yet: takes the best of the stopped. */
static struct sut_thread *choose_stopped(struct suture_process *p)
{
	const struct sut_arch *a = p->mem.arch;
	struct sut_thread *best = NULL;
	unsigned bad = 0, worse;

	for (size_t i = 0; i < p->thread.n; i++) {
		struct sut_thread *t = &p->thread.v[i];

		/* In a signal stop the signal would have to go first. */
		if (!t->stopped || t->dead || t->let_go || !t->regs_valid || t->stop_signal ||
		    !a->regs_native(&t->regs))
			continue;
		worse = a->regs_restart_block(&t->regs);
		if (best && worse >= bad)
			continue;
		if (sut_heal_pending(p, t))
			worse = 2; /* it stands on the frame of a killed tool */
		if (!worse)
			return t;
		if (!best || worse < bad) {
			best = t;
			bad = worse;
		}
	}
	return best;
}

bool sut_remote_can_call(struct suture_process *p)
{
	return choose_stopped(p);
}

static int ensure_borrowed(struct suture_process *p)
{
	if (sut_priv(p)->gone)
		return sut_fail_gone(p);
	if (!p->borrowed)
		p->borrowed = choose_stopped(p);
	if (p->borrowed)
		return sut_remote_prepare(p);
	if (p->thread.n)
		return sut_fail(p->ctx, SUTURE_EREFUSED,
				"no thread of %s[%d] is stopped where it can make a system call", p->comm, p->pid);
	return sut_fail(p->ctx, SUTURE_EBUG, "no thread of %s[%d] is held", p->comm, p->pid);
}

/* The frame is written, and moves to memory of ours as soon as there is some. @old: what to clean up afterwards. */
static int ensure_frame(struct suture_process *p, struct sut_borrow *old)
{
	struct sut_borrow *b = &sut_priv(p)->borrow;
	int err = 0;

	if (!b->own && p->heal_code && b->tried_heal != p->heal_code) {
		b->tried_heal = p->heal_code;
		*old = *b;
		err = plan_frame(p, p->borrowed);
		if (err) { /* the old one is as good as before */
			memset(old, 0, sizeof(*old));
			return err;
		}
	}
	return b->written ? 0 : write_frame(p, p->borrowed);
}

int sut_remote_syscall(struct suture_process *p, enum sut_sys sys, const uint64_t args[6], int64_t *ret)
{
	unsigned nr = p->mem.arch->sysno[sys];
	struct sut_borrow old = { 0 };
	int64_t result = 0;
	int err = ensure_borrowed(p);

	if (!err)
		err = ensure_frame(p, &old);
	if (!err)
		err = check_seccomp(p, nr, args);
	/* A call broken off by a stop of the whole process is made again. */
	for (unsigned i = 0; !err && i < 16; i++) {
		err = call_once(p, p->borrowed, nr, args, &result);
		if (result > -512 || result < -516)
			break;
	}
	/* Until the registers named the new frame the old one had to stay. */
	if (!err && old.written)
		err = sut_mem_write(&p->mem, old.frame, old.saved, old.frame_size);
	free(old.saved);
	if (err)
		return err;
	*ret = result;
	return 0;
}

/* -- borrowing -------------------------------------------------------------------------------- */

/* System calls that any use begins or ends with; the others are judged when they are made. */
static int preflight_seccomp(struct suture_process *p)
{
	static const uint64_t map[6] = { 0, 4096, 5, 0x22, ~0ull, 0 }, unmap[6] = { 0x10000, 4096 }, none[6] = { 0 };
	const uint16_t *nr = p->mem.arch->sysno;
	struct sut_thread *t = p->borrowed;
	int err;

	if (!sut_priv(p)->borrow.n_filters)
		return 0;
	if (sut_seccomp_eval(p, nr[SUT_SYS_RT_SIGRETURN], filter_ip(p), none) != SUT_SECCOMP_ALLOW) {
		sut_fail(p->ctx, SUTURE_EACCESS, "a seccomp filter of thread %d of %s[%d] forbids rt_sigreturn", t->tid,
			 p->comm, p->pid);
		return sut_hint(p->ctx, "a thread that can not return from a signal can not be borrowed safely");
	}
	err = check_seccomp(p, nr[SUT_SYS_MMAP], map);
	return err ? err : check_seccomp(p, nr[SUT_SYS_MUNMAP], unmap);
}

int sut_remote_prepare(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;
	struct sut_thread *t = p->borrowed;
	struct syscall_dispatch sud = { 0 };
	char features[128];
	int err;

	if (pr->borrow.ready)
		return 0;
	if (!sut_procfs_status(p->pid, t->tid, "x86_Thread_features", features, sizeof(features)) &&
	    strstr(features, "shstk"))
		return sut_fail(p->ctx, SUTURE_EREFUSED,
				"thread %d of %s[%d] has a shadow stack: its registers can not be lent out safely",
				t->tid, p->comm, p->pid);
	if (ptrace((enum __ptrace_request)GET_SYSCALL_DISPATCH, t->tid, sizeof(sud), &sud) == 0 && sud.mode)
		return sut_fail(p->ctx, SUTURE_EREFUSED,
				"thread %d of %s[%d] has its system calls dispatched to itself", t->tid, p->comm,
				p->pid);
	if (ptrace(PTRACE_GETSIGMASK, t->tid, sizeof(pr->borrow.sigmask), &pr->borrow.sigmask))
		return errno == ESRCH ? sut_fail_gone(p)
				      : sut_fail(p->ctx, SUTURE_EFAILED, "signal mask of thread %d of %s[%d]: %s",
						 t->tid, p->comm, p->pid, strerror(errno));
	err = sut_seccomp_read(p, t->tid);
	if (!err)
		err = plan_frame(p, t);
	if (!err)
		err = preflight_seccomp(p);
	if (!err)
		pr->borrow.ready = true;
	return err;
}

void sut_remote_restore(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;
	struct sut_borrow *b = &pr->borrow;
	struct sut_thread *t = p->borrowed;
	bool intact = true;

	/* Not stopped (a call that does not come back): the frame must stay, the thread heals itself. */
	if (t && b->injected && !t->stopped)
		intact = false;
	if (t && t->stopped && b->injected && !pr->gone) {
		if (b->mask_changed)
			(void)!ptrace(PTRACE_SETSIGMASK, t->tid, sizeof(b->sigmask), &b->sigmask);
		intact = !sut_thread_write_regs(t, &t->regs);
	}
	if (t && b->written && intact && !pr->gone) {
		if (b->saved)
			(void)!sut_mem_write(&p->mem, b->frame, b->saved, b->frame_size);
		else
			(void)!sut_mem_write(&p->mem, b->frame, (const uint8_t[16]){ 0 }, 16);
	}
	free(b->saved);
	sut_seccomp_free(p);
	memset(b, 0, sizeof(*b));
	p->borrowed = NULL;
}

void sut_process_set_heal(struct suture_process *p, uint64_t code, uint64_t frame, size_t frame_size)
{
	p->heal_code = code;
	p->heal_frame = frame;
	p->heal_frame_size = frame_size;
}

/*
 * How much is asked of a thread that is to be borrowed. Its work stands still meanwhile, so a sleeping helper thread is
 * better than the leader, which in most servers answers the clients.
 */
enum choice {
	IDLE, /* sleeps, is not the leader, and what it waits for loses nothing */
	HARMLESS, /* what it waits for loses nothing */
	HOME, /* does not stand on the frame of a tool that was killed */
	ANY,
};

/*
 * Holds @tid, which is waited for for @window ns: as hold_one(). In short pieces, because a thread that was given up
 * may stop meanwhile, and must not wait for us. Each thread gets one piece at least, however late it is: it may be us
 * who got no processor.
 */
static int hold_patiently(struct suture_process *p, pid_t tid, uint64_t window)
{
	uint64_t end = sut_now_ns() + window;

	for (;;) {
		int err = sut_thread_hold_one(p, tid, sut_now_ns() + WINDOW_NS);

		if (err != -SUTURE_ETIMEOUT || sut_now_ns() >= end)
			return err;
		sut_threads_let_go(p, NULL);
		sut_process_pump(p);
	}
}

/*
 * Holds @tid and judges it. 0: take it; 1: a better one may be found; else an error. One that waits uninterruptibly
 * may never stop: it must not keep us from the others.
 */
static int try_borrow(struct suture_process *p, pid_t tid, uint64_t window, enum choice choice)
{
	bool choosy = choice < HOME;
	const struct sut_arch *a = p->mem.arch;
	struct sut_stat st = { 0 };
	struct sut_thread *t;
	int err;

	if (sut_procfs_stat(p->pid, tid, &st))
		return 1; /* ended */
	if ((choosy && (st.state == 'D' || st.state == 'Z')) || sut_procfs_is_worker(p->pid, tid, &st))
		return 1;
	if (choice == IDLE && (tid == p->pid || st.state != 'S'))
		return 1;
	err = hold_patiently(p, tid, st.state == 'D' || st.state == 'Z' ? 0 : window);
	if (err == -ESRCH || err == -SUTURE_ETIMEOUT)
		return 1;
	if (err)
		return err;
	t = &p->thread.v[0];
	if (!t->regs_valid || !a->regs_native(&t->regs) || (choosy && a->regs_restart_block(&t->regs)))
		return 1;
	/* A tool was killed just now: the thread is on its way back, unless the whole process is stopped. */
	if ((choice < ANY || !t->group_stopped) && sut_heal_pending(p, t))
		return 1;
	p->borrowed = t;
	return 0;
}

/*
 * A tool that was killed may have left a thread on its way into the system call that it was to make, and from there
 * home. Nothing is done before that call is over: it may map or unmap what a recovery has just looked at.
 * A thread that a SIGSTOP holds has made it.
 */
static int wait_home(struct suture_process *p, uint64_t deadline)
{
	uint64_t frame = 0, end = 0;
	pid_t tid = 0;

	while (sut_heal_left(p, &frame, &end, &tid)) {
		_cleanup_free_ uint8_t *zeros = NULL;
		bool home = false, stopped = false;
		int err = sut_thread_hold_one(p, tid, sut_now_ns() + WINDOW_NS);

		if (!err) {
			struct sut_thread *t = &p->thread.v[0];

			home = t->regs_valid && !sut_heal_pending(p, t);
			stopped = t->group_stopped;
		}
		sut_threads_let_go(p, NULL);
		if (err && err != -ESRCH && err != -SUTURE_ETIMEOUT)
			return err;
		if (stopped && !home)
			return 0;
		if (home) {
			zeros = calloc(1, end - frame);
			return zeros ? sut_mem_write(&p->mem, frame, zeros, end - frame) : sut_nomem(p->ctx);
		}
		if (sut_now_ns() >= deadline)
			return sut_fail(p->ctx, SUTURE_EBUSY,
					"thread %d of %s[%d] does not come back from what a killed tool made it do",
					tid, p->comm, p->pid);
		sut_process_sleep(p, 1);
	}
	return 0;
}

/*
 * Asks the threads in turn until one is held: 0, or a recorded failure. On a machine with much to do a thread may wait
 * long for a processor, and so for its stop: each round waits twice as long for each.
 */
static int borrow_one(struct suture_process *p, uint64_t deadline, unsigned timeout_ms)
{
	struct sut_priv *pr = p->priv;
	uint64_t window = 0;

	for (enum choice choice = IDLE;; choice = choice < ANY ? choice + 1 : ANY) {
		if (sut_procfs_tids(p) || !sut_process_alive(p))
			return sut_fail_gone(p);
		for (size_t i = 0; i < pr->tids.n; i++) {
			uint64_t now = sut_now_ns(), left = deadline > now ? deadline - now : 0;
			int err;

			if (i >= CANDIDATES && (choice < HOME || !left))
				break;
			err = try_borrow(p, pr->tids.v[i], window < left ? window : left, choice);
			if (err != 1)
				return err;
			sut_threads_let_go(p, NULL);
		}
		if (choice < ANY)
			continue;
		if (sut_now_ns() >= deadline)
			return sut_fail(p->ctx, SUTURE_ETIMEOUT, "no thread of %s[%d] could be stopped in %u ms",
					p->comm, p->pid, timeout_ms);
		sut_process_sleep(p, 1);
		window = window ? 2 * window : 2 * WINDOW_NS;
	}
}

int sut_remote_borrow(struct suture_process *p, unsigned timeout_ms)
{
	unsigned ms = timeout_ms > p->patience_ms ? timeout_ms : p->patience_ms;
	uint64_t deadline = sut_now_ns() + (uint64_t)ms * 1000000u;
	int err;

	if (p->borrowed)
		return 0;
	sut_process_pump(p);
	if (sut_priv(p)->gone || !sut_process_alive(p))
		return sut_fail_gone(p);
	sut_hold_begin(p);
	err = wait_home(p, deadline);
	if (!err)
		err = borrow_one(p, deadline, ms);
	if (!err && !sut_process_same_program(p))
		err = sut_fail_gone(p);
	if (!err)
		err = sut_remote_prepare(p);
	if (err)
		sut_process_release(p);
	return err;
}
