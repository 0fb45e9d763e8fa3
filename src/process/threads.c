/* SPDX-License-Identifier: MIT */
/*
 * threads.c - seizing, stopping and letting go.
 *
 * A thread's life here:
 *
 *	unknown -> seized -> stopped -> detached
 *	              |         ^
 *	              +-> late -+      asked to stop, did not in time: it is detached as soon as it stops
 *	              +-> dead         ended; collected
 *
 * Seizing stops nobody, so all threads are seized first, then all are interrupted. Any stop takes a pending
 * interrupt with it, so whoever is continued from another stop is interrupted again before.
 * A thread that is about to get a signal is held there and gets it when it is let go, its siginfo
 * untouched. A seized thread that is not stopped can not be detached: that is what the late list
 * is for, and why sut_process_pump() must be called while it is not empty. The kernel lets go of all
 * of them when the tool ends.
 *
 * A common stop is tried in short holds: a thread that can not be stopped (a vfork parent waits
 * uninterruptibly) must not keep the others waiting. Such threads are looked for before anyone is seized.
 * The kernel's own threads (io_uring workers) are left alone: they never run the program's code.
 *
 * Nothing is printed here, and memory is bounded by the number of threads.
 */
#include <dirent.h>
#include <errno.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include <elf.h>

#include "process/internal.h"

#define HOLD_FIRST_NS 20000000u /* how long the first attempt of a common stop may hold anyone */
#define HOLD_STUCK_NS 5000000u /* and one that is made although a thread seems not to be stoppable */

#define FEW 8 /* threads that are waited for one by one */

struct stuck {
	pid_t tid;
	char state;
};

int sut_fail_gone(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;

	/* An exec ends all threads but one first: seen from a thread it looks like the end. */
	if (!pr->gone_how)
		pr->gone_how = sut_process_alive(p) ? "is ending, or has replaced its program (exec)," : "ended";
	pr->gone = true;
	return sut_fail(p->ctx, SUTURE_EGONE, "%s[%d] %s meanwhile", p->comm, p->pid, pr->gone_how);
}

/* -- registers -------------------------------------------------------------------------------- */

int sut_thread_write_regs(struct sut_thread *t, const struct sut_regs *regs)
{
	struct iovec v = { (void *)regs->raw, regs->size };

	return ptrace(PTRACE_SETREGSET, t->tid, NT_PRSTATUS, &v) ? -errno : 0;
}

int sut_thread_read_regs(struct suture_process *p, struct sut_thread *t)
{
	struct iovec v = { t->regs.raw, sizeof(t->regs.raw) };

	t->regs_valid = false;
	if (ptrace(PTRACE_GETREGSET, t->tid, NT_PRSTATUS, &v))
		return -errno;
	t->regs.size = v.iov_len;
	if (v.iov_len != p->mem.arch->regs_size)
		return -EINVAL; /* it runs 32-bit code just now */
	t->regs_valid = true;
	/* At once, so that the call is restarted even when the tool dies now. */
	if (p->mem.arch->regs_native(&t->regs) && p->mem.arch->regs_mask_eintr(&t->regs))
		return sut_thread_write_regs(t, &t->regs);
	return 0;
}

/* -- the list --------------------------------------------------------------------------------- */

static struct sut_thread *find(struct suture_process *p, pid_t tid, size_t *hint)
{
	/* Listings come in the same order each time. */
	if (*hint < p->thread.n && p->thread.v[*hint].tid == tid)
		return &p->thread.v[(*hint)++];
	for (size_t i = 0; i < p->thread.n; i++)
		if (p->thread.v[i].tid == tid) {
			*hint = i + 1;
			return &p->thread.v[i];
		}
	return NULL;
}

static struct sut_thread *add(struct suture_process *p, pid_t tid)
{
	struct sut_thread t = { .tid = tid, .is_main = tid == p->pid };
	size_t borrowed = p->borrowed ? (size_t)(p->borrowed - p->thread.v) : 0;

	if (sut_vec_push(&p->thread, t))
		return NULL;
	if (p->borrowed)
		p->borrowed = &p->thread.v[borrowed];
	return &p->thread.v[p->thread.n - 1];
}

/* Drops the entries that are not stopped threads of the target. */
static void compact(struct suture_process *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->thread.n; i++) {
		struct sut_thread *t = &p->thread.v[i];

		if (!t->stopped || t->dead || t->let_go) {
			if (p->borrowed == t)
				p->borrowed = NULL;
			continue;
		}
		if (n != i)
			p->thread.v[n] = *t;
		if (p->borrowed == t)
			p->borrowed = &p->thread.v[n];
		n++;
	}
	p->thread.n = n;
}

void sut_thread_make_late(struct suture_process *p, const struct sut_thread *t)
{
	struct sut_priv *pr = p->priv;

	/* Without memory the entry is lost, and the thread is let go when the tool ends. */
	(void)!sut_vec_push(&pr->late, *t);
}

/* -- seizing ---------------------------------------------------------------------------------- */

static bool is_late(struct suture_process *p, pid_t tid)
{
	struct sut_priv *pr = p->priv;

	for (size_t i = 0; i < pr->late.n; i++)
		if (pr->late.v[i].tid == tid) {
			pr->late.v[i] = pr->late.v[--pr->late.n];
			return true;
		}
	return false;
}

/* Seizes every listed thread that is not in the list yet. @sifted: the listing has no threads of the kernel's any more. */
static int seize_listed(struct suture_process *p, bool sifted)
{
	struct sut_priv *pr = p->priv;
	size_t hint = 0;

	for (size_t i = 0; i < pr->tids.n; i++) {
		struct sut_thread *t;
		struct sut_stat st;
		int err = 0;

		if (find(p, pr->tids.v[i], &hint))
			continue;
		if (!sifted && !sut_procfs_stat(p->pid, pr->tids.v[i], &st) &&
		    sut_procfs_is_worker(p->pid, pr->tids.v[i], &st))
			continue;
		if (!is_late(p, pr->tids.v[i]))
			err = sut_thread_seize(p, pr->tids.v[i]);
		if (err && err != -ESRCH)
			return err;
		t = add(p, pr->tids.v[i]);
		if (!t)
			return sut_nomem(p->ctx);
		t->seized = !err;
		t->dead = err;
	}
	return 0;
}

static int seize_new(struct suture_process *p, bool sifted)
{
	struct sut_seize_guard guard;
	int err = sut_seize_guard(p, sut_priv(p)->tids.n, &guard);

	if (err)
		return err;
	err = seize_listed(p, sifted);
	sut_seize_guard_end(&guard);
	return err;
}

/* A child or thread made by a seized thread is seized from birth. */
static int take_child(struct suture_process *p, pid_t child, bool vfork)
{
	struct sut_priv *pr = p->priv;
	struct sut_thread *t;
	char path[64];
	bool is_thread;
	size_t hint = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d", p->pid, child);
	is_thread = !access(path, F_OK);
	/* A vfork child shares it too, but keeps its parent from stopping. */
	if (!is_thread && !vfork && syscall(SYS_kcmp, p->live_tid, child, KCMP_VM, 0, 0) == 0)
		pr->sharer = child;
	t = find(p, child, &hint);
	if (!t)
		t = add(p, child);
	if (!t)
		return -ENOMEM;
	t->seized = true;
	t->dead = false;
	t->let_go = !is_thread || !pr->stopping;
	t->stopped_at = sut_now_ns();
	return 0;
}

static void interrupt(struct sut_thread *t, uint64_t now)
{
	if (!t->stopped_at)
		t->stopped_at = now;
	(void)!ptrace(PTRACE_INTERRUPT, t->tid, 0, 0);
}

/* Goes on from a stop that is not the one asked for. */
static void go_on(struct sut_thread *t, int sig)
{
	(void)!ptrace(PTRACE_INTERRUPT, t->tid, 0, 0);
	(void)!ptrace(PTRACE_CONT, t->tid, 0, sig);
}

/* -- waiting for stops ------------------------------------------------------------------------ */

/* @clean: a signal is delivered first, so that the stop is nothing but ours. */
static int stopping_event(struct suture_process *p, size_t i, const struct sut_event *ev, bool clean)
{
	struct sut_thread *t = &p->thread.v[i];
	struct sut_priv *pr = p->priv;
	int err;

	switch (ev->kind) {
	case SUT_EVENT_NONE:
		return 0;
	case SUT_EVENT_GONE:
		t->dead = true;
		pr->deaths = true;
		return 0;
	case SUT_EVENT_EXEC:
		pr->gone = true;
		pr->gone_how = "replaced its program (exec)";
		t->stopped = true;
		return sut_fail_gone(p);
	case SUT_EVENT_CHILD:
		if (take_child(p, ev->child, ev->vfork))
			return sut_nomem(p->ctx);
		go_on(&p->thread.v[i], 0);
		return 0;
	case SUT_EVENT_OTHER:
	case SUT_EVENT_SYSCALL:
		go_on(t, 0);
		return 0;
	case SUT_EVENT_SIGNAL:
		if (clean && !t->let_go) {
			go_on(t, ev->sig);
			return 0;
		}
		t->stop_signal = ev->sig;
		break;
	case SUT_EVENT_STOP:
		t->group_stopped = ev->sig;
		break;
	}
	t->stopped = true;
	if (t->let_go) {
		if (ptrace(PTRACE_DETACH, t->tid, 0, t->stop_signal))
			sut_thread_make_late(p, t);
		t->dead = true;
		return 0;
	}
	err = sut_thread_read_regs(p, t);
	if (err == -ESRCH) { /* killed meanwhile */
		t->stopped = false;
		t->stop_signal = 0;
		return 0;
	}
	if (err && err != -EINVAL)
		return sut_fail(p->ctx, SUTURE_EFAILED, "registers of thread %d of %s[%d]: %s", t->tid, p->comm, p->pid,
				strerror(-err));
	return 0;
}

static bool settled(const struct sut_thread *t)
{
	return t->dead || t->stopped || !t->seized;
}

/* An exec by another thread takes the leader's number away from us without a word; where the process is our own
 * child as well, there still is somebody of that number to wait for. */
bool sut_thread_lost(struct suture_process *p, pid_t tid)
{
	return sut_procfs_status_num(p->pid, tid, "TracerPid", 0) != gettid();
}

/* A leader that ends while others live says nothing to its tracer. */
static void note_zombie(struct suture_process *p, struct sut_thread *t, struct stuck *why)
{
	struct sut_stat st;

	why->tid = t->tid;
	why->state = '?';
	if (sut_procfs_stat(p->pid, t->tid, &st))
		return;
	why->state = st.state;
	if (sut_thread_lost(p, t->tid)) {
		t->dead = true;
		sut_thread_make_late(p, t); /* should it be ours all the same, it has to be collected */
		return;
	}
	if (st.state != 'Z' && st.state != 'X')
		return;
	t->dead = true;
	sut_thread_make_late(p, t);
}

/* Waits until every entry is settled. The head of the line is looked at each time, all of them each millisecond:
 * so N stops cost some N polls, and nobody who waits for our answer waits for long. */
static int wait_all(struct suture_process *p, uint64_t deadline, bool clean, struct stuck *why)
{
	static const struct timespec nap = { 0, 50000 };
	uint64_t now = sut_now_ns(), full = now + 1000000;
	size_t head = 0;

	while (head < p->thread.n) {
		struct sut_event ev;
		size_t last;
		int err;

		if (settled(&p->thread.v[head])) {
			head++;
			continue;
		}
		now = sut_now_ns();
		last = now >= full ? p->thread.n : head + 1;
		for (size_t i = head; i < last; i++) {
			if (settled(&p->thread.v[i]))
				continue;
			sut_event_poll(p, p->thread.v[i].tid, &ev);
			err = stopping_event(p, i, &ev, clean);
			if (err)
				return err;
		}
		if (sut_priv(p)->sharer)
			return sut_fail(p->ctx, SUTURE_EREFUSED, "process %d runs on the memory of %s[%d]",
					sut_priv(p)->sharer, p->comm, p->pid);
		if (settled(&p->thread.v[head]))
			continue;
		if (now >= full) {
			note_zombie(p, &p->thread.v[head], why);
			full = now + 1000000;
			if (settled(&p->thread.v[head]))
				continue;
		}
		if (now >= deadline) {
			note_zombie(p, &p->thread.v[head], why);
			return -SUTURE_ETIMEOUT;
		}
		/* Many: a nap, in which many stop; woken by each of them we would take turns with each. */
		if (p->thread.n - head > FEW)
			nanosleep(&nap, NULL);
		else
			sut_event_wait(deadline - now);
	}
	return 0;
}

static void interrupt_all(struct suture_process *p)
{
	uint64_t now = sut_now_ns();

	for (size_t i = 0; i < p->thread.n; i++)
		if (!settled(&p->thread.v[i]) && !p->thread.v[i].let_go)
			interrupt(&p->thread.v[i], now);
}

/* -- the common stop -------------------------------------------------------------------------- */

/* Takes the kernel's own threads off the listing: they need no stop. And a thread in an uninterruptible wait can not
 * be stopped; it may be a vfork parent: true. */
static bool sift(struct suture_process *p, struct stuck *why)
{
	struct sut_priv *pr = p->priv;
	bool stuck = false;
	struct sut_stat st;
	size_t n = 0;

	for (size_t i = 0; i < pr->tids.n; i++) {
		pid_t tid = pr->tids.v[i];
		int err = sut_procfs_stat(p->pid, tid, &st);

		if (!err && sut_procfs_is_worker(p->pid, tid, &st))
			continue;
		pr->tids.v[n++] = tid;
		if (err || st.state != 'D' || stuck)
			continue;
		*why = (struct stuck){ tid, 'D' };
		stuck = true;
	}
	pr->tids.n = n;
	return stuck;
}

/* Whether the stop is of no use because the only threads that could make system calls are about to get a signal. */
static bool only_signalled(struct suture_process *p, struct stuck *why)
{
	pid_t tid = 0;

	if (p->borrowed || sut_remote_can_call(p))
		return false;
	for (size_t i = 0; i < p->thread.n && !tid; i++)
		if (p->thread.v[i].stop_signal)
			tid = p->thread.v[i].tid;
	if (tid)
		*why = (struct stuck){ tid, 't' };
	return tid;
}

/* One attempt. -SUTURE_ETIMEOUT: @why says which thread did not stop; nothing recorded. */
static int attempt(struct suture_process *p, uint64_t deadline, struct stuck *why)
{
	bool sifted = true;
	size_t known;
	int err;

	do {
		known = p->thread.n;
		err = seize_new(p, sifted);
		if (err)
			return err;
		if (p->thread.n == known)
			break;
		interrupt_all(p);
		err = wait_all(p, deadline, false, why);
		if (err)
			return err;
		err = sut_procfs_tids(p);
		sifted = false;
		if (err == -ENOMEM)
			return sut_nomem(p->ctx);
	} while (!err);
	compact(p);
	return p->thread.n ? 0 : sut_fail_gone(p);
}

static int stop_retry(struct suture_process *p, uint64_t deadline, struct stuck *why)
{
	uint64_t hold = HOLD_FIRST_NS;

	for (unsigned tries = 0;; tries++) {
		uint64_t now = sut_now_ns(), until;
		bool stuck;
		int err;

		err = sut_procfs_tids(p);
		if (err)
			return err == -ENOMEM ? sut_nomem(p->ctx) : sut_fail_gone(p);
		stuck = sift(p, why);
		if (!stuck || tries >= 20) {
			until = now + (stuck ? HOLD_STUCK_NS : hold);
			err = attempt(p, until < deadline ? until : deadline, why);
			if (!err && only_signalled(p, why))
				err = -SUTURE_ETIMEOUT;
			if (err != -SUTURE_ETIMEOUT)
				return err;
			sut_threads_let_go(p, p->borrowed);
			hold *= 2;
		}
		if (sut_now_ns() >= deadline)
			return -SUTURE_ETIMEOUT;
		sut_process_sleep(p, tries < 10 ? 1 : tries < 50 ? tries : 50);
	}
}

int sut_threads_stop(struct suture_process *p, unsigned timeout_ms)
{
	uint64_t deadline = sut_now_ns() + (uint64_t)timeout_ms * 1000000u;
	struct sut_priv *pr = p->priv;
	struct stuck why = { 0 };
	pid_t sharer;
	int err;

	sut_process_pump(p);
	if (pr->gone || !sut_process_alive(p)) {
		sut_threads_release(p);
		return sut_fail_gone(p);
	}
	sharer = sut_process_sharer(p);
	if (sharer) {
		sut_threads_release(p);
		sut_fail(p->ctx, SUTURE_EREFUSED,
			 "process %d runs on the memory of %s[%d] without being one of its threads", sharer, p->comm,
			 p->pid);
		return sut_hint(p->ctx, "wait until it has ended");
	}
	sut_hold_begin(p);
	pr->stopping = true;
	pr->sharer = 0;
	err = stop_retry(p, deadline, &why);
	pr->stopping = false;
	if (!err && !sut_process_same_program(p))
		err = sut_fail_gone(p);
	if (!err) {
		sut_objects_verify(p);
		return 0;
	}
	sut_threads_release(p);
	if (err == -SUTURE_ETIMEOUT)
		return sut_fail(p->ctx, SUTURE_ETIMEOUT,
				"thread %d of %s[%d] could not be stopped in %u ms (state %c%s)", why.tid, p->comm,
				p->pid, timeout_ms, why.state ? why.state : '?',
				why.state == 'D'   ? ": uninterruptible, as while it waits for a vfork child"
				: why.state == 't' ? ": each time a signal came first"
						   : "");
	return err;
}

int sut_thread_hold_one(struct suture_process *p, pid_t tid, uint64_t deadline)
{
	struct sut_seize_guard guard = { 0 };
	struct stuck why = { 0 };
	struct sut_thread *t;
	int err = 0;
	bool dead;

	if (!is_late(p, tid)) {
		err = sut_seize_guard(p, 1, &guard);
		if (!err)
			err = sut_thread_seize(p, tid);
		sut_seize_guard_end(&guard);
	}
	if (err)
		return err;
	t = add(p, tid);
	if (!t) {
		struct sut_thread lost = { .tid = tid, .seized = true };

		interrupt(&lost, sut_now_ns());
		sut_thread_make_late(p, &lost);
		return sut_nomem(p->ctx);
	}
	t->seized = true;
	interrupt(t, sut_now_ns());
	err = wait_all(p, deadline, true, &why);
	if (err)
		return err;
	dead = p->thread.v[0].dead;
	compact(p);
	return dead ? -ESRCH : 0;
}

/* -- letting go ------------------------------------------------------------------------------- */

uint64_t sut_threads_let_go(struct suture_process *p, const struct sut_thread *keep)
{
	uint64_t longest = 0;
	struct sut_thread kept;

	for (size_t i = 0; i < p->thread.n; i++) {
		struct sut_thread *t = &p->thread.v[i];
		uint64_t now;

		if (t == keep || !t->seized || t->dead)
			continue;
		if (!t->stopped || ptrace(PTRACE_DETACH, t->tid, 0, t->stop_signal)) {
			sut_thread_make_late(p, t); /* still to stop, or dying */
			continue;
		}
		now = sut_now_ns();
		if (t->stopped_at && now - t->stopped_at > longest)
			longest = now - t->stopped_at;
	}
	if (keep) {
		kept = *keep;
		p->thread.v[0] = kept;
		p->thread.n = 1;
		p->borrowed = &p->thread.v[0];
	} else {
		p->thread.n = 0;
		p->borrowed = NULL;
	}
	return longest;
}

static bool is_known(struct suture_process *p, pid_t tid)
{
	struct sut_priv *pr = p->priv;
	size_t hint = 0;

	for (size_t i = 0; i < pr->late.n; i++)
		if (pr->late.v[i].tid == tid)
			return true;
	return find(p, tid, &hint);
}

/* A thread that was killed between making a child and telling us of it left a child that is traced by us, stopped
 * and unknown. Only such are touched: whatever else there is to wait for is somebody else's. */
static void free_strays(struct suture_process *p)
{
	for (unsigned i = 0; i < 64; i++) {
		siginfo_t si = { 0 };
		int status;

		if (waitid(P_ALL, 0, &si, WSTOPPED | WNOHANG | WNOWAIT | __WALL) || !si.si_pid ||
		    si.si_code != CLD_TRAPPED || (si.si_status >> 8) != PTRACE_EVENT_STOP || is_known(p, si.si_pid))
			return;
		if (waitpid(si.si_pid, &status, WNOHANG | __WALL) != si.si_pid || !WIFSTOPPED(status) ||
		    ptrace(PTRACE_DETACH, si.si_pid, 0, 0))
			return;
	}
}

/* A late thread has stopped: whatever it is, it goes on. True when it is done with. */
static bool late_event(struct suture_process *p, struct sut_thread *t, const struct sut_event *ev)
{
	struct sut_priv *pr = p->priv;
	int sig = ev->kind == SUT_EVENT_SIGNAL ? ev->sig : 0;

	if (ev->kind == SUT_EVENT_NONE)
		return false;
	if (ev->kind == SUT_EVENT_GONE)
		return true;
	if (ev->kind == SUT_EVENT_EXEC) {
		pr->gone = true;
		pr->gone_how = "replaced its program (exec)";
	}
	if (ev->kind == SUT_EVENT_CHILD) {
		struct sut_thread child = { .tid = ev->child, .seized = true, .let_go = true };

		sut_thread_make_late(p, &child);
	}
	if (ev->kind == SUT_EVENT_STOP || ev->kind == SUT_EVENT_SIGNAL)
		(void)!sut_thread_read_regs(p, t);
	return !ptrace(PTRACE_DETACH, t->tid, 0, sig);
}

void sut_process_pump(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;

	for (size_t i = 0; i < pr->late.n;) {
		struct sut_thread t = pr->late.v[i];
		struct sut_event ev;

		sut_event_poll(p, t.tid, &ev);
		if (!late_event(p, &t, &ev)) {
			i++;
			continue;
		}
		for (size_t k = 0; k < pr->late.n; k++)
			if (pr->late.v[k].tid == t.tid) {
				pr->late.v[k] = pr->late.v[--pr->late.n];
				break;
			}
	}
}

void sut_process_sleep(struct suture_process *p, unsigned ms)
{
	uint64_t end = sut_now_ns() + (uint64_t)ms * 1000000u;
	struct sut_priv *pr = p->priv;

	for (;;) {
		uint64_t now, left;
		struct timespec t;

		sut_process_pump(p);
		now = sut_now_ns();
		if (now >= end)
			return;
		left = end - now;
		if (pr->late.n && left > 1000000)
			left = 1000000;
		t = (struct timespec){ (time_t)(left / 1000000000u), (long)(left % 1000000000u) };
		nanosleep(&t, NULL);
	}
}

/* Late threads that are on their way are waited for; one in an uninterruptible wait may take for ever. */
static void drain(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;

	sut_process_pump(p);
	for (unsigned i = 0; i < 100 && pr->late.n; i++) {
		bool soon = false;

		for (size_t k = 0; k < pr->late.n; k++) {
			struct sut_stat st;

			soon |= !sut_procfs_stat(pr->late.v[k].tid, 0, &st) && st.state != 'D' && st.state != 'Z';
		}
		if (!soon)
			return;
		sut_process_sleep(p, 1);
	}
}

uint64_t sut_threads_release(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;
	uint64_t longest;

	sut_remote_restore(p);
	longest = sut_threads_let_go(p, NULL);
	sut_hold_end(p);
	drain(p);
	if (pr->deaths)
		free_strays(p);
	pr->deaths = false;
	return longest;
}

/* -- who else runs on this memory ------------------------------------------------------------- */

static bool shares(struct suture_process *p, pid_t pid)
{
	return pid != p->pid && syscall(SYS_kcmp, p->live_tid, pid, KCMP_VM, 0, 0) == 0;
}

/* Without /proc/PID/task/TID/children: every process whose parent is the target. */
static pid_t sharer_by_parent(struct suture_process *p)
{
	struct dirent *e;
	pid_t found = 0;
	DIR *d = opendir("/proc");

	while (d && !found && (e = readdir(d))) {
		pid_t pid = atoi(e->d_name);
		struct sut_stat st;

		if (pid > 0 && !sut_procfs_stat(pid, 0, &st) && st.ppid == p->pid && shares(p, pid))
			found = pid;
	}
	if (d)
		closedir(d);
	return found;
}

/* A vfork child is not meant: its parent waits for it, uninterruptibly, and so can not be stopped while it
 * lives. It may still be on its way there. */
static bool is_sharer(struct suture_process *p, pid_t parent, pid_t child)
{
	for (unsigned i = 0; i < 5; i++) {
		struct sut_stat st;

		if (!shares(p, child) || sut_procfs_stat(p->pid, parent, &st) || st.state == 'D')
			return false;
		sut_process_sleep(p, 1);
	}
	return true;
}

/* Of the children of one thread. */
static pid_t sharing_child(struct suture_process *p, pid_t tid, const char *children)
{
	for (const char *s = children; *s;) {
		char *end;
		pid_t child = (pid_t)strtol(s, &end, 10);

		if (end == s)
			break;
		s = end + strspn(end, " \n");
		if (is_sharer(p, tid, child))
			return child;
	}
	return 0;
}

pid_t sut_process_sharer(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;
	pid_t found;

	if (sut_procfs_tids(p))
		return 0;
	for (size_t i = 0; i < pr->tids.n; i++) {
		_cleanup_free_ char *text = NULL;
		int err = sut_procfs_read(p->pid, pr->tids.v[i], "children", 1 << 20, &text, NULL);

		if (err == -ENOENT && !sut_procfs_read(p->pid, pr->tids.v[i], "comm", 64, &text, NULL))
			return sharer_by_parent(p);
		found = err ? 0 : sharing_child(p, pr->tids.v[i], text);
		if (found)
			return found;
	}
	return 0;
}
