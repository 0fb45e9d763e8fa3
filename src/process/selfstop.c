/* SPDX-License-Identifier: MIT */
/*
 * selfstop.c - stops the other threads of this process by a signal, and lets them go (self.h).
 *
 * One stop at a time in a process, whatever handles there are. What the handler touches is static and
 * outlives every handle: a signal may come late, to a thread that blocked it or was not run. Counting says when no more
 * can come; only then the signal is given back. Its handler finds its thread's slot by number; a thread
 * without a slot, or one that finds the gate open, goes on at once.
 *
 * From the first signal to the opening of the gate nothing here allocates, logs or takes a lock: /proc/self/task is read
 * by getdents64 into a buffer, files below it likewise.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>

#include "process/self.h"

#define HOLD_FIRST_NS 20000000u /* how long the first attempt may hold anyone; twice that the next time */
#define HOLD_STUCK_NS 10000000u /* and one that is made although a thread looks as if it could not be stopped */
#define STUCK_TRIES   8 /* one in so many */
#define LATE_NS       2000000u /* given to signals that are still on their way when all is over */

struct slot {
	pid_t tid;
	uint32_t answered;
	struct sut_regs regs;
};

/* What the handler sees. */
static struct {
	struct suture_process *owner; /* who stops, NULL: nobody */
	struct suture_process *handle; /* who has the signal, NULL: nobody */
	pid_t pid; /* a child made by fork has a copy of all this, and is not stopped */
	pid_t caller;
	int sig;
	struct sigaction old;
	uint32_t gate; /* odd: closed. A futex */
	uint32_t answers; /* of this stop. A futex */
	uint32_t sent, came; /* signals, of all stops */
	uint32_t inside; /* handlers that may touch the slots */
	struct slot *slot;
	uint32_t n, cap;
} all;

static long futex(uint32_t *at, int op, uint32_t value, const struct timespec *t)
{
	return syscall(SYS_futex, at, op | FUTEX_PRIVATE_FLAG, value, t, NULL, 0);
}

static uint32_t load(const uint32_t *at)
{
	return __atomic_load_n(at, __ATOMIC_SEQ_CST);
}

static void add(uint32_t *at, uint32_t n)
{
	__atomic_add_fetch(at, n, __ATOMIC_SEQ_CST);
}

/* -- the handler ------------------------------------------------------------------------------ */

static struct slot *find(pid_t tid)
{
	uint32_t n = load(&all.n);

	for (uint32_t i = 0; i < n; i++)
		if (all.slot[i].tid == tid)
			return &all.slot[i];
	return NULL;
}

/* The frames between the caller's stop and its return are written over by what it does next. */
static void keep_stack(struct suture_process *p, const struct sut_regs *regs)
{
	struct sut_self *self = sut_priv(p)->self;
	const struct sut_arch *a = p->mem.arch;

	self->snapshot_addr = a->regs_sp(regs) - a->red_zone;
	self->snapshot_len = sut_self_read_some(p, self->snapshot_addr, self->snapshot, SUT_SELF_SNAPSHOT);
}

static void answer(uint32_t gate, const void *ucontext)
{
	pid_t tid = gettid();
	struct slot *s = find(tid);

	if (!s || load(&s->answered))
		return;
	sut_arch_host()->regs_from_ucontext(ucontext, sut_arch_host_tp(), &s->regs);
	if (tid == all.caller)
		keep_stack(all.owner, &s->regs);
	__atomic_store_n(&s->answered, 1, __ATOMIC_SEQ_CST);
	add(&all.answers, 1);
	if (tid == all.caller)
		return;
	futex(&all.answers, FUTEX_WAKE, 1, NULL);
	while (load(&all.gate) == gate)
		futex(&all.gate, FUTEX_WAIT, gate, NULL);
}

static void on_signal(int sig, siginfo_t *si, void *ucontext)
{
	int saved = errno;
	uint32_t gate;

	/* Somebody else's signal of that number is no news of ours. */
	if (si->si_code != SI_TKILL || si->si_pid != all.pid || getpid() != all.pid)
		return;
	add(&all.inside, 1);
	add(&all.came, 1);
	gate = load(&all.gate);
	if (gate & 1)
		answer(gate, ucontext);
	add(&all.inside, -1u);
	errno = saved;
}

/* -- the signal ------------------------------------------------------------------------------- */

static bool is_ours(const struct sigaction *sa)
{
	return (sa->sa_flags & SA_SIGINFO) && sa->sa_sigaction == on_signal;
}

static bool late(void)
{
	return load(&all.sent) != load(&all.came);
}

/* Waits for handlers to leave, and for signals to come, as long as that is a matter of a moment. */
static void settle(uint64_t ns)
{
	uint64_t end = sut_now_ns() + ns;

	while ((load(&all.inside) || late()) && sut_now_ns() < end)
		sched_yield();
}

static void signal_to(pid_t tid, int *err)
{
	add(&all.sent, 1);
	*err = syscall(SYS_tgkill, all.pid, tid, all.sig) ? errno : 0;
	if (*err)
		add(&all.sent, -1u);
}

/* Whether the signal comes: some emulators know the number and deliver nothing. The caller's own thread. */
static bool works(void)
{
	sigset_t set, old;
	int err;

	sigemptyset(&set);
	sigaddset(&set, all.sig);
	pthread_sigmask(SIG_UNBLOCK, &set, &old);
	signal_to(gettid(), &err);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return !err && !late();
}

/* Takes the highest real-time signal that the program leaves alone. */
static int signal_take(struct suture_process *p)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK };
	struct sigaction now;

	all.handle = p;
	if (all.sig && !sigaction(all.sig, NULL, &now) && is_ours(&now))
		return 0;
	sigfillset(&sa.sa_mask);
	for (all.sig = SIGRTMAX; all.sig >= SIGRTMIN; all.sig--) {
		all.sent = all.came = 0;
		if (sigaction(all.sig, NULL, &all.old) || (all.old.sa_flags & SA_SIGINFO) ||
		    all.old.sa_handler != SIG_DFL || sigaction(all.sig, &sa, NULL))
			continue;
		if (works())
			return 0;
		sigaction(all.sig, &all.old, NULL);
	}
	all.sig = 0;
	sut_fail(p->ctx, SUTURE_EREFUSED, "no real-time signal is free to stop the threads of this process with");
	return sut_hint(p->ctx, "the program handles or ignores all of them");
}

/* @for_good: even when one is pending somewhere; ignoring a signal throws away what is pending of it. */
static void signal_give(bool for_good)
{
	struct sigaction now, ignore = { .sa_handler = SIG_IGN };

	if (!all.sig)
		return;
	settle(LATE_NS);
	if ((late() || load(&all.inside)) && !for_good)
		return;
	if (!sigaction(all.sig, NULL, &now) && is_ours(&now)) {
		if (late())
			sigaction(all.sig, &ignore, NULL);
		sigaction(all.sig, &all.old, NULL);
	}
	all.sig = 0;
	all.handle = NULL;
}

/* -- looking at threads, allocating nothing ---------------------------------------------------- */

/* Bytes, or -errno. */
static ssize_t read_task(const struct sut_self *self, pid_t tid, const char *name, char *buf, size_t cap)
{
	char path[40];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%d/%s", tid, name);
	fd = openat(self->task_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, cap - 1);
	if (n < 0)
		n = -errno;
	close(fd);
	buf[n > 0 ? n : 0] = '\0';
	return n;
}

/* R S D T t Z; X: gone; ?: it can not be told. */
static char state_of(const struct sut_self *self, pid_t tid)
{
	char buf[512], *s;
	ssize_t n = read_task(self, tid, "stat", buf, sizeof(buf));

	if (n <= 0)
		return n == -ENOENT || n == -ESRCH ? 'X' : '?';
	s = strrchr(buf, ')');
	return s && s[1] == ' ' ? s[2] : '?';
}

static bool is_dead(const struct sut_self *self, pid_t tid)
{
	char c = state_of(self, tid);

	return c == 'X' || c == 'Z';
}

static uint64_t bit(int sig)
{
	return 1ull << (sig - 1);
}

/* An emulator's numbers are other ones, but whoever blocks one of these blocks all. */
static uint64_t our_bit(const struct sut_self *self)
{
	return bit(self->emulated ? SIGRTMAX : all.sig);
}

/* The signals that a thread blocks. */
static uint64_t blocked_by(const struct sut_self *self, pid_t tid)
{
	char buf[4096], *s;

	s = read_task(self, tid, "status", buf, sizeof(buf)) > 0 ? strstr(buf, "\nSigBlk:") : NULL;
	return s ? strtoull(s + 8, NULL, 16) : 0;
}

/* Calls @fn for each thread that is listed, until that says false. True: all were seen. */
static bool each_task(const struct sut_self *self, bool (*fn)(void *arg, pid_t tid), void *arg)
{
	_Alignas(8) char buf[4096];
	struct {
		uint64_t ino, off;
		uint16_t len;
		uint8_t type;
		char name[];
	} * e;

	if (lseek(self->task_fd, 0, SEEK_SET) < 0)
		return false;
	for (;;) {
		long n = syscall(SYS_getdents64, self->task_fd, buf, sizeof(buf));

		if (n <= 0)
			return n == 0;
		for (long at = 0; at < n; at += e->len) {
			e = (void *)(buf + at);
			if (e->name[0] >= '1' && e->name[0] <= '9' && !fn(arg, (pid_t)strtol(e->name, NULL, 10)))
				return false;
		}
	}
}

/* -- before anyone is stopped ------------------------------------------------------------------ */

struct stuck {
	pid_t tid;
	char state;
	bool blocks;
};

/* An emulator's helper threads keep just the signals of faults unblocked; no thread of the program looks so: the
 * emulator passes the program's own masks on whole. */
static bool is_emulators(const struct sut_self *self, uint64_t blocked)
{
	uint64_t faults = bit(SIGILL) | bit(SIGFPE) | bit(SIGSEGV), rest = bit(SIGINT) | bit(SIGTERM) | bit(SIGUSR1);

	return self->emulated && !(blocked & faults) && (blocked & rest) == rest && blocked >> 63;
}

struct look {
	struct suture_process *p;
	struct stuck *why;
	uint32_t n;
	bool stuck;
	int err;
};

static bool look_at(void *arg, pid_t tid)
{
	struct look *l = arg;
	struct sut_self *self = sut_priv(l->p)->self;
	uint64_t blocked;
	struct sut_stat st;
	char state;

	l->n++;
	if (tid == gettid())
		return true;
	blocked = blocked_by(self, tid);
	state = state_of(self, tid);
	if ((!sut_procfs_stat(l->p->pid, tid, &st) && sut_procfs_is_worker(l->p->pid, tid, &st)) || state == 'Z' ||
	    is_emulators(self, blocked)) {
		l->err = sut_vec_push(&self->excluded, tid);
		return !l->err;
	}
	if (l->stuck || state == 'X' || (state != 'D' && !(blocked & our_bit(self))))
		return true;
	*l->why = (struct stuck){ tid, state, blocked & our_bit(self) };
	l->stuck = true;
	return true;
}

/* Makes room for all threads and some more, and looks for those that could not be stopped: -SUTURE_ETIMEOUT. */
static int look_before(struct suture_process *p, struct stuck *why)
{
	struct look l = { .p = p, .why = why };
	struct sut_self *self = sut_priv(p)->self;

	self->excluded.n = 0;
	if (!each_task(self, look_at, &l) && !l.err)
		return sut_fail(p->ctx, SUTURE_EFAILED, "/proc/self/task can not be read");
	if (!l.err && all.cap < 2 * l.n + 64) {
		uint32_t cap = 4 * l.n + 64;
		struct slot *slot = calloc(cap, sizeof(*slot));

		if (!slot)
			return sut_nomem(p->ctx);
		all.n = 0;
		free(all.slot);
		all.slot = slot;
		all.cap = cap;
	}
	if (!l.err)
		l.err = sut_vec_reserve_((void **)&p->thread.v, &p->thread.cap, all.cap, sizeof(*p->thread.v));
	if (l.err)
		return sut_nomem(p->ctx);
	return l.stuck ? -SUTURE_ETIMEOUT : 0;
}

/* -- the stop ---------------------------------------------------------------------------------- */

struct asking {
	const struct sut_self *self;
	uint64_t deadline;
	unsigned asked; /* by this listing */
	int err; /* -E2BIG: no room; -SUTURE_ETIMEOUT */
};

static bool is_excluded(const struct sut_self *self, pid_t tid)
{
	for (size_t i = 0; i < self->excluded.n; i++)
		if (self->excluded.v[i] == tid)
			return true;
	return false;
}

/* Asks one thread to stop, if it was not asked yet. */
static bool ask(void *arg, pid_t tid)
{
	struct asking *a = arg;
	int err;

	if (find(tid) || is_excluded(a->self, tid))
		return true;
	if (all.n == all.cap) {
		a->err = -E2BIG;
		return false;
	}
	all.slot[all.n].tid = tid;
	all.slot[all.n].answered = 0;
	add(&all.n, 1);
	do {
		signal_to(tid, &err);
	} while (err == EAGAIN && sut_now_ns() < a->deadline);
	if (err == EAGAIN)
		a->err = -SUTURE_ETIMEOUT;
	else if (err)
		all.slot[all.n - 1].tid = 0; /* it is no more */
	else
		a->asked++;
	return !a->err;
}

static int wait_answers(struct suture_process *p, uint64_t deadline, struct stuck *why)
{
	struct sut_self *self = sut_priv(p)->self;
	uint64_t look = sut_now_ns() + 1000000;

	for (uint32_t i = 0; i < all.n;) {
		const struct timespec ms = { 0, 500000 };
		uint32_t answers = load(&all.answers);
		uint64_t now;

		if (!all.slot[i].tid || load(&all.slot[i].answered)) {
			i++;
			continue;
		}
		futex(&all.answers, FUTEX_WAIT, answers, &ms);
		now = sut_now_ns();
		if (load(&all.slot[i].answered) || now < look)
			continue;
		look = now + 1000000;
		if (is_dead(self, all.slot[i].tid)) {
			add(&all.sent, -1u); /* it took the signal with it */
			all.slot[i].tid = 0;
		} else if (now >= deadline) {
			why->tid = all.slot[i].tid;
			why->state = state_of(self, why->tid);
			why->blocks = blocked_by(self, why->tid) & our_bit(self);
			return -SUTURE_ETIMEOUT;
		}
	}
	return 0;
}

static void close_gate(struct suture_process *p)
{
	struct sut_self *self = sut_priv(p)->self;
	sigset_t set;
	int err;

	self->since = sut_now_ns();
	all.answers = 0;
	all.caller = gettid();
	all.n = 0;
	all.slot[0].tid = all.caller;
	all.slot[0].answered = 0;
	add(&all.n, 1);
	add(&all.gate, 1);
	/* The program's own handlers must not run here either: one could want a lock that a stopped thread has. */
	sigfillset(&set);
	sigdelset(&set, all.sig);
	pthread_sigmask(SIG_SETMASK, &set, &self->mask);
	signal_to(all.caller, &err);
	sigaddset(&set, all.sig);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
}

static void open_gate(struct suture_process *p)
{
	struct sut_self *self = sut_priv(p)->self;

	p->mem.frozen = false;
	self->snapshot_len = 0;
	add(&all.gate, 1);
	futex(&all.gate, FUTEX_WAKE, INT32_MAX, NULL);
	pthread_sigmask(SIG_SETMASK, &self->mask, NULL);
}

/* All are stopped: the list of threads, as the proofs want it. Its room was made before. */
static void list_threads(struct suture_process *p)
{
	p->thread.n = 0;
	for (uint32_t i = 0; i < all.n; i++) {
		struct sut_thread *t = &p->thread.v[p->thread.n];

		if (!all.slot[i].tid)
			continue;
		*t = (struct sut_thread){ .tid = all.slot[i].tid,
					  .stopped = true,
					  .is_main = all.slot[i].tid == p->pid,
					  .regs_valid = true,
					  .regs = all.slot[i].regs,
					  .stopped_at = sut_priv(p)->self->since };
		p->thread.n++;
	}
}

/* One attempt. On failure the gate is open again; -SUTURE_ETIMEOUT and -E2BIG record nothing. */
static int attempt(struct suture_process *p, uint64_t deadline, struct stuck *why)
{
	struct asking a = { .self = sut_priv(p)->self, .deadline = deadline };
	int err = 0;

	close_gate(p);
	p->mem.frozen = true;
	if (!load(&all.slot[0].answered))
		err = -SUTURE_EBUG;
	do {
		a.asked = 0;
		if (!err && !each_task(a.self, ask, &a))
			err = a.err ? a.err : -SUTURE_EFAILED;
		if (!err)
			err = wait_answers(p, deadline, why);
	} while (!err && a.asked);
	if (!err) {
		list_threads(p);
		return 0;
	}
	open_gate(p);
	settle(LATE_NS);
	if (err == -SUTURE_EBUG || err == -SUTURE_EFAILED)
		return sut_fail(p->ctx, -err, "the threads of this process can not be %s",
				err == -SUTURE_EBUG ? "signalled" : "listed");
	return err;
}

static int stop_retry(struct suture_process *p, uint64_t deadline, struct stuck *why)
{
	uint64_t hold = HOLD_FIRST_NS;

	for (unsigned tries = 0;; tries++) {
		uint64_t until;
		int err;

		/* A handler may still be reading its slot. */
		settle(LATE_NS);
		err = load(&all.inside) ? -SUTURE_ETIMEOUT : look_before(p, why);
		/* It may make threads, or read a disk, all the time: blocked or asleep whenever it is looked at. */
		if (!err || (err == -SUTURE_ETIMEOUT && tries % STUCK_TRIES == STUCK_TRIES - 1 && !load(&all.inside))) {
			until = sut_now_ns() + (err ? HOLD_STUCK_NS : hold);
			hold *= err ? 1 : 2;
			err = attempt(p, until < deadline ? until : deadline, why);
		}
		if (err != -SUTURE_ETIMEOUT && err != -E2BIG)
			return err;
		if (sut_now_ns() >= deadline)
			return -SUTURE_ETIMEOUT;
		usleep(tries < 10 ? 1000 : 5000);
	}
}

static int fail_stuck(struct suture_process *p, const struct stuck *why, unsigned timeout_ms)
{
	if (!why->tid)
		return sut_fail(p->ctx, SUTURE_ETIMEOUT, "the threads of this process could not be stopped in %u ms",
				timeout_ms);
	sut_fail(p->ctx, SUTURE_ETIMEOUT, "thread %d of this process could not be stopped in %u ms (state %c%s)",
		 why->tid, timeout_ms, why->state,
		 why->blocks         ? ": it blocks all real-time signals"
		 : why->state == 'D' ? ": uninterruptible, as while it waits for a vfork child"
				     : "");
	if (!why->blocks)
		return -SUTURE_ETIMEOUT;
	return sut_hint(p->ctx, "leave signal %d unblocked in that thread, or patch the process from outside", all.sig);
}

int sut_self_stop(struct suture_process *p, unsigned timeout_ms)
{
	uint64_t deadline = sut_now_ns() + (uint64_t)timeout_ms * 1000000u;
	struct suture_process *nobody = NULL;
	struct stuck why = { 0 };
	pid_t sharer;
	int err;

	if (p->mem.frozen)
		return sut_fail(p->ctx, SUTURE_EBUG, "this process is stopped already");
	sharer = sut_process_sharer(p);
	if (sharer) {
		sut_fail(p->ctx, SUTURE_EREFUSED,
			 "process %d runs on the memory of this one without being one of its threads", sharer);
		return sut_hint(p->ctx, "wait until it has ended");
	}
	if (!__atomic_compare_exchange_n(&all.owner, &nobody, p, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return sut_fail(p->ctx, SUTURE_ETIMEOUT, "another thread has stopped this process");
	if (all.pid != p->pid) { /* the first time, or the first in a child made by fork */
		all.pid = p->pid;
		all.sig = 0;
		all.inside = all.sent = all.came = 0;
		all.gate &= ~1u;
	}
	err = signal_take(p);
	if (!err)
		err = stop_retry(p, deadline, &why);
	if (!err) {
		sut_objects_verify(p);
		return 0;
	}
	signal_give(false);
	__atomic_store_n(&all.owner, NULL, __ATOMIC_SEQ_CST);
	return err == -SUTURE_ETIMEOUT ? fail_stuck(p, &why, timeout_ms) : err;
}

uint64_t sut_self_go_on(struct suture_process *p)
{
	uint64_t ns;

	if (!p->mem.frozen)
		return 0;
	ns = sut_now_ns() - sut_priv(p)->self->since;
	open_gate(p);
	p->thread.n = 0;
	signal_give(false);
	__atomic_store_n(&all.owner, NULL, __ATOMIC_SEQ_CST);
	return ns;
}

void sut_self_end(struct suture_process *p)
{
	struct suture_process *nobody = NULL;

	if (getpid() != p->pid || all.pid != p->pid ||
	    !__atomic_compare_exchange_n(&all.owner, &nobody, p, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return;
	if (all.handle == p)
		signal_give(true);
	if (!load(&all.inside)) {
		all.n = 0;
		free(all.slot);
		all.slot = NULL;
		all.cap = 0;
	}
	__atomic_store_n(&all.owner, NULL, __ATOMIC_SEQ_CST);
}
