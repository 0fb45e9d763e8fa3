/* SPDX-License-Identifier: MIT */
/*
 * event.c - what a traced thread has to say, and the tool's own signals meanwhile.
 *
 * Only threads of ours are waited for, by their exact number, so that other children of the
 * calling program are left alone. While anything is held SIGCHLD is blocked and is what wakes us; a
 * SIGCHLD that was about somebody else's child is raised again at the end. Where the program ignores
 * SIGCHLD nothing wakes us but the clock: waits are short.
 *
 * A seized thread's stops, by wait status:
 *
 *	status >> 16        signal           meaning
 *	PTRACE_EVENT_STOP   SIGTRAP          our interrupt, or the first stop of a new thread
 *	PTRACE_EVENT_STOP   SIGSTOP, ...     a group stop
 *	PTRACE_EVENT_CLONE  SIGTRAP          made a thread or process (also FORK, VFORK)
 *	PTRACE_EVENT_EXEC   SIGTRAP          became another program
 *	0                   SIGTRAP | 0x80   enters or leaves a system call
 *	0                   other            is about to get that signal
 *
 * Prints nothing, allocates nothing.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>

#include "process/internal.h"

/* Per thread, as the signal mask is. */
static _Thread_local struct {
	unsigned depth;
	sigset_t old;
	bool sigpipe_was_pending;
	int cancel; /* whether the thread could be cancelled */
	bool child_taken; /* a SIGCHLD was taken: perhaps about a child of somebody else's */
} own_signals;

void sut_tool_signals_block(void)
{
	static const int block[] = { SIGTSTP, SIGTTOU, SIGTTIN, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGCHLD };
	sigset_t set, pending;

	if (own_signals.depth++)
		return;
	sigemptyset(&set);
	for (size_t i = 0; i < SUT_ARRAY_SIZE(block); i++)
		sigaddset(&set, block[i]);
	sigpending(&pending);
	own_signals.sigpipe_was_pending = sigismember(&pending, SIGPIPE);
	own_signals.child_taken = false;
	pthread_sigmask(SIG_BLOCK, &set, &own_signals.old);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &own_signals.cancel);
}

void sut_tool_signals_unblock(void)
{
	static const struct timespec now = { 0, 0 };
	siginfo_t si = { 0 };
	sigset_t pipe;

	if (!own_signals.depth || --own_signals.depth)
		return;
	/* A write to a closed pipe said EPIPE already; the signal would be late. */
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	if (!own_signals.sigpipe_was_pending)
		while (sigtimedwait(&pipe, NULL, &now) == SIGPIPE)
			;
	if (own_signals.child_taken && !waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) && si.si_pid)
		raise(SIGCHLD);
	pthread_sigmask(SIG_SETMASK, &own_signals.old, NULL);
	pthread_setcancelstate(own_signals.cancel, NULL);
}

void sut_hold_begin(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;
	struct sched_param old, fifo = { .sched_priority = 1 };

	if (pr->holding)
		return;
	pr->holding = true;
	sut_tool_signals_block();
	pr->sched_raised = false;
	pr->sched_policy = sched_getscheduler(0);
	if (pr->sched_policy < 0 || sched_getparam(0, &old))
		return;
	pr->sched_priority = old.sched_priority;
	if ((pr->sched_policy & ~SCHED_RESET_ON_FORK) == SCHED_OTHER)
		pr->sched_raised = !sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &fifo);
}

void sut_hold_end(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;
	struct sched_param old = { .sched_priority = pr->sched_priority };

	if (!pr->holding)
		return;
	pr->holding = false;
	/* Clearing RESET_ON_FORK wants a capability that raising the class did not: keep it then. */
	if (pr->sched_raised && sched_setscheduler(0, pr->sched_policy, &old))
		(void)!sched_setscheduler(0, pr->sched_policy | SCHED_RESET_ON_FORK, &old);
	pr->sched_raised = false;
	sut_tool_signals_unblock();
}

/* The raw wait: 1 an event, 0 none, -1 gone. */
static int wait_tid(struct suture_process *p, pid_t tid, int *status)
{
	pid_t r;

	/* The end of a process that is our own child is for whoever started it to collect. */
	if (tid == p->pid && sut_priv(p)->is_child) {
		siginfo_t si = { 0 };

		if (waitid(P_PID, (id_t)tid, &si, WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL))
			return -1;
		if (!si.si_pid)
			return 0;
		if (si.si_code == CLD_EXITED || si.si_code == CLD_KILLED || si.si_code == CLD_DUMPED)
			return -1;
	}
	do {
		r = waitpid(tid, status, WNOHANG | __WALL);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -1;
	return r == tid;
}

void sut_event_poll(struct suture_process *p, pid_t tid, struct sut_event *ret)
{
	unsigned long msg = 0;
	int status = 0, r = wait_tid(p, tid, &status), sig;

	*ret = (struct sut_event){ .kind = SUT_EVENT_NONE };
	if (!r)
		return;
	if (r < 0 || !WIFSTOPPED(status)) {
		ret->kind = SUT_EVENT_GONE;
		return;
	}
	sig = WSTOPSIG(status);
	switch ((unsigned)status >> 16) {
	case PTRACE_EVENT_STOP:
		ret->kind = SUT_EVENT_STOP;
		ret->sig = sig == SIGTRAP ? 0 : sig;
		break;
	case PTRACE_EVENT_CLONE:
	case PTRACE_EVENT_FORK:
	case PTRACE_EVENT_VFORK:
		ret->kind = SUT_EVENT_OTHER;
		if (ptrace(PTRACE_GETEVENTMSG, tid, 0, &msg))
			break;
		ret->kind = SUT_EVENT_CHILD;
		ret->child = (pid_t)msg;
		ret->vfork = (unsigned)status >> 16 == PTRACE_EVENT_VFORK;
		break;
	case PTRACE_EVENT_EXEC:
		ret->kind = SUT_EVENT_EXEC;
		break;
	case 0:
		ret->kind = sig == (SIGTRAP | 0x80) ? SUT_EVENT_SYSCALL : SUT_EVENT_SIGNAL;
		ret->sig = sig;
		break;
	default:
		ret->kind = SUT_EVENT_OTHER;
	}
}

void sut_event_wait(uint64_t ns)
{
	struct timespec t;
	sigset_t chld;

	if (ns > 1000000)
		ns = 1000000;
	t = (struct timespec){ .tv_nsec = (long)ns };
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	if (!own_signals.depth) {
		nanosleep(&t, NULL);
		return;
	}
	if (sigtimedwait(&chld, NULL, &t) == SIGCHLD)
		own_signals.child_taken = true;
}
