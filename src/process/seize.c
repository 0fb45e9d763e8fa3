/* SPDX-License-Identifier: MIT */
/*
 * seize.c - PTRACE_SEIZE of one thread, and the way out of the deadlock with exec.
 *
 * A thread that calls exec holds the process's cred_guard_mutex and waits for all other threads to be gone. One of
 * them that is traced is gone only when its tracer has collected it; and the tracer, asked to seize one more thread,
 * sleeps on that mutex: neither moves on, for ever (the kernel's known deadlock of ptrace and exec). The sleep ends at
 * a signal, and goes on after it. So while threads of ours may wait to be collected a timer sends the calling thread
 * a signal every few milliseconds, whose handler collects those that have ended; the exec then succeeds, and the
 * seizing with it.
 *
 * The signal is the highest real-time signal that the program leaves at its default action, for the time of one
 * listing's seizing; it is sent to the calling thread alone. The handler calls waitid() and nothing else, and changes
 * only flags of a list that its own thread is not changing: that one is inside ptrace().
 */
#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

#include "process/internal.h"

#define SEIZE_OPTIONS \
	(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC)
#define COLLECT_EVERY_NS 5000000

/* The signal in use, by how many threads of this program. */
static struct {
	pthread_mutex_t lock;
	unsigned users;
	int sig;
	struct sigaction old;
} shared = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* The process whose thread is being seized just now, by the thread that the signal goes to. */
static _Thread_local struct suture_process *volatile seizing;

/* The kernel shows the stops of a traced thread too, whatever is asked for: those are left where they are. */
static bool ended(pid_t tid)
{
	siginfo_t si = { 0 };

	return !waitid(P_PID, (id_t)tid, &si, WEXITED | WNOHANG | WNOWAIT | __WALL) && si.si_pid == tid &&
	       (si.si_code == CLD_EXITED || si.si_code == CLD_KILLED || si.si_code == CLD_DUMPED);
}

static bool collected(const struct suture_process *p, const struct sut_thread *t)
{
	siginfo_t si = { 0 };

	/* The leader is not waited for: the exec takes its place. */
	return t->seized && !t->dead && t->tid != p->pid && ended(t->tid) &&
	       !waitid(P_PID, (id_t)t->tid, &si, WEXITED | WNOHANG | __WALL) && si.si_pid == t->tid;
}

/* Runs inside ptrace(PTRACE_SEIZE), which is restarted after it. */
static void on_tick(int sig)
{
	struct suture_process *p = seizing;
	int saved = errno;

	if (p) {
		struct sut_priv *pr = p->priv;

		for (size_t i = 0; i < p->thread.n; i++)
			if (collected(p, &p->thread.v[i]))
				p->thread.v[i].dead = pr->deaths = true;
		for (size_t i = 0; i < pr->late.n; i++)
			if (collected(p, &pr->late.v[i]))
				pr->late.v[i].dead = pr->deaths = true;
	}
	errno = saved;
}

/* Takes the signal into use. 0 or -errno. */
static int signal_take(void)
{
	struct sigaction sa = { .sa_handler = on_tick, .sa_flags = SA_RESTART };
	int err = 0;

	pthread_mutex_lock(&shared.lock);
	for (int sig = SIGRTMAX; !shared.users && !shared.sig && sig >= SIGRTMIN; sig--)
		if (!sigaction(sig, NULL, &shared.old) && !(shared.old.sa_flags & SA_SIGINFO) &&
		    shared.old.sa_handler == SIG_DFL)
			shared.sig = sig;
	if (!shared.sig)
		err = -EBUSY;
	else if (!shared.users && sigaction(shared.sig, &sa, &shared.old)) {
		err = -errno;
		shared.sig = 0;
	}
	if (!err)
		shared.users++;
	pthread_mutex_unlock(&shared.lock);
	return err;
}

static void signal_give(void)
{
	pthread_mutex_lock(&shared.lock);
	if (!--shared.users) {
		sigaction(shared.sig, &shared.old, NULL);
		shared.sig = 0;
	}
	pthread_mutex_unlock(&shared.lock);
}

static int guard_begin(struct sut_seize_guard *g)
{
	static const struct itimerspec every = { { 0, COLLECT_EVERY_NS }, { 0, COLLECT_EVERY_NS } };
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID };
	sigset_t set;
	int err = signal_take();

	if (err)
		return err;
	ev.sigev_signo = shared.sig;
	ev._sigev_un._tid = gettid();
	sigemptyset(&set);
	sigaddset(&set, shared.sig);
	if (timer_create(CLOCK_MONOTONIC, &ev, &g->timer)) {
		err = -errno;
		signal_give();
		return err;
	}
	pthread_sigmask(SIG_UNBLOCK, &set, &g->old);
	(void)timer_settime(g->timer, 0, &every, NULL);
	g->on = true;
	return 0;
}

int sut_seize_guard(struct suture_process *p, size_t more, struct sut_seize_guard *ret)
{
	int err;

	ret->on = false;
	if (p->thread.n + sut_priv(p)->late.n + more < 2)
		return 0;
	err = guard_begin(ret);
	if (!err)
		return 0;
	return sut_fail(p->ctx, SUTURE_EFAILED, "no timer and signal to seize the threads of %s[%d] with: %s", p->comm,
			p->pid, strerror(-err));
}

void sut_seize_guard_end(struct sut_seize_guard *g)
{
	if (!g->on)
		return;
	/* A tick that came before is taken on the way out of this call: the signal is the thread's, and not blocked. */
	timer_delete(g->timer);
	pthread_sigmask(SIG_SETMASK, &g->old, NULL);
	signal_give();
	g->on = false;
}

static long seize(struct suture_process *p, pid_t tid)
{
	long r;

	seizing = p;
	r = ptrace(PTRACE_SEIZE, tid, 0, SEIZE_OPTIONS);
	seizing = NULL;
	return r;
}

/* 0, -ESRCH (gone or going), 1 (traced by @tracer), or another -errno. */
static int seize_once(struct suture_process *p, pid_t tid, long *tracer)
{
	struct sut_stat st;
	int err;

	if (!seize(p, tid))
		return 0;
	err = errno;
	if (err == ESRCH || sut_procfs_stat(p->pid, tid, &st) || st.state == 'Z' || st.state == 'X')
		return -ESRCH;
	*tracer = sut_procfs_status_num(p->pid, tid, "TracerPid", 0);
	if (*tracer == gettid())
		return 0; /* born of a seized thread, and not told of yet */
	return *tracer ? 1 : -err;
}

int sut_thread_seize(struct suture_process *p, pid_t tid)
{
	long tracer = 0;
	char comm[16];
	int err = seize_once(p, tid, &tracer);

	/* Perhaps it was ending, and is another by now. */
	for (unsigned i = 0; i < 3 && err && err != -ESRCH; i++) {
		usleep(1000);
		err = seize_once(p, tid, &tracer);
	}
	if (!err || err == -ESRCH)
		return err;
	if (err == 1) {
		sut_procfs_comm((pid_t)tracer, comm);
		sut_fail(p->ctx, SUTURE_EACCESS, "thread %d of %s[%d] is traced by %s[%ld]", tid, p->comm, p->pid, comm,
			 tracer);
		return sut_hint(p->ctx, "end the debugger, or detach it from the process");
	}
	sut_fail(p->ctx, SUTURE_EACCESS, "thread %d of %s[%d] can not be traced: %s", tid, p->comm, p->pid,
		 strerror(-err));
	return sut_hint(p->ctx, "run as root, or with CAP_SYS_PTRACE in the process's user namespace");
}
