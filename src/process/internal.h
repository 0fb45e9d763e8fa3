/* SPDX-License-Identifier: MIT */
/*
 * internal.h - what the files of the process room share, and nobody else sees.
 *
 *	procfs.c   reading /proc/PID files
 *	process.c  attach, identity, permission
 *	objects.c  mappings to objects, their files, their order
 *	memory.c   the operations of struct sut_mem
 *	event.c    waiting, the tool's own signals, what a stop means
 *	seize.c    seizing one thread
 *	threads.c  stop, release
 *	heal.c     where the frame that heals a borrowed thread can lie
 *	remote.c   borrowing, system calls
 *	seccomp.c  what a thread's filters would say
 *	self.c selfstop.c   this very process, its threads stopped by signal: see self.h
 *	unwind.c expr.c prove.c deep.c   see unwind.h
 *	coroutine.c  whether there is code that switches stacks
 */
#ifndef SUT_PROCESS_INTERNAL_H
#define SUT_PROCESS_INTERNAL_H

#include <signal.h>
#include <sys/ptrace.h>
#include <time.h>

#include "process/process.h"
#include "process/unwind.h"

/* The fields of /proc/PID/stat that are used. */
struct sut_stat {
	char state; /* R S D T t Z X */
	pid_t ppid;
	unsigned flags;
	uint64_t start_time;
	uint64_t start_stack; /* address of argc at the start of the program, 0: hidden from us */
	uint64_t start_brk; /* 0: hidden from us */
};

/* A seccomp filter program, as PTRACE_SECCOMP_GET_FILTER gives it. */
struct sut_filter {
	void *insns; /* struct sock_filter[] */
	unsigned n;
};

/* A thread whose registers are lent out. */
struct sut_borrow {
	bool ready; /* filters are read, a place for the frame is known */
	bool injected; /* the thread's registers are ours */
	bool suspended; /* PTRACE_O_SUSPEND_SECCOMP is set */
	bool mask_changed; /* all signals are blocked by us */
	uint64_t sigmask; /* the thread's own */
	bool written; /* the frame is in the target's memory */
	uint64_t frame, frame_size; /* the memory it takes: header, then the signal frame */
	size_t fpu_size;
	uint64_t tried_heal; /* heal code that was given while the frame lay elsewhere: tried once */
	bool own; /* it is heal memory of ours, else its bytes were saved */
	uint8_t *saved; /* frame_size bytes, to be written back */
	uint64_t insn; /* the system call instruction to use */
	uint64_t sp; /* and the stack pointer to go with it */
	unsigned n_filters;
	struct sut_filter filter[64];
};

/* How a process is held: by ptrace (threads.c, remote.c), or this very process by signals (self.h). */
struct sut_process_ops {
	int (*borrow)(struct suture_process *p, unsigned timeout_ms);
	int (*stop)(struct suture_process *p, unsigned timeout_ms);
	uint64_t (*release)(struct suture_process *p);
	/** Whether the memory still is that of the program that was attached to. */
	bool (*same_program)(struct suture_process *p);
	size_t (*read_some)(struct suture_process *p, uint64_t addr, void *buf, size_t len);
	/** Before a transition: makes ready whatever the proofs will need. NULL: nothing. 0 or a recorded failure. */
	int (*rehearse)(struct suture_process *p);
	void (*close)(struct suture_process *p); /* NULL: nothing */
};
extern const struct sut_process_ops sut_ptrace_ops;

struct sut_self;
struct sut_priv {
	const struct sut_process_ops *ops;
	struct sut_self *self; /* self.h; NULL: another process */
	uint64_t start_stack, start_brk;
	bool is_child; /* of ours: its parent waits for its end, not us */
	bool gone; /* ended, or became another program */
	const char *gone_how;
	SUT_VEC(struct sut_thread) late; /* seized, asked to stop, did not: let go as soon as they do */
	SUT_VEC(pid_t) tids; /* scratch of the listing */
	bool stopping; /* a common stop is being made: new threads are taken in */
	bool deaths; /* a thread ended while it was seized */
	pid_t sharer; /* a process made meanwhile that shares the memory, 0: none */
	bool holding; /* signals blocked, scheduling raised */
	bool sched_raised;
	int sched_policy, sched_priority;
	struct sut_borrow borrow;
	uint8_t *fpu; /* SUT_FPU_MAX bytes */
	uint8_t *frame; /* SUT_FRAME_MAX bytes: the frame being built */
	uint64_t syscall_gadget, sigreturn_gadget; /* in the target's own code, 0: not found */
	bool gadgets_searched;
	SUT_VEC(uint64_t) restorer; /* every rt_sigreturn in the text of files: marks a signal frame */
	bool restorers_searched;
	bool switches_stacks, switchers_searched; /* coroutine.c */
	struct sut_deep *deep; /* deep.c; NULL: the deep proof is off */
	int maps_fd; /* /proc/PID/maps, for single questions */
	char *maps_buf; /* room to read maps again in a common stop */
	size_t maps_cap;
	uint8_t *stack; /* the unwinder's window on a stack */
	uint64_t stack_addr;
	size_t stack_len;
	struct sut_frame *frames; /* SUT_PROVE_FRAMES of them */
	struct { /* return addresses known to lead straight to the end of a program (TRAP) or thread (SYSCALL) */
		uint64_t pc;
		enum sut_insn_kind kind;
	} outermost[8];
	unsigned n_outermost;
	char root[64];
};

#define SUT_FPU_MAX      (16 * 1024)
#define SUT_FRAME_MAX    (20 * 1024)
#define SUT_STACK_WIN    (256 * 1024)
#define SUT_PROVE_FRAMES 10000
#define SUT_MAPS_MAX     (64u << 20)

static inline struct sut_priv *sut_priv(struct suture_process *p)
{
	return p->priv;
}

/* process.c */
/** A handle with nothing opened yet; NULL: no memory. To be freed by suture_process_detach(). */
struct suture_process *sut_process_alloc(struct suture_ctx *ctx, pid_t pid, const struct sut_process_ops *ops,
					 const struct sut_mem_ops *mem_ops);
/** Its executable is for this tool's machine. Recorded failures. */
int sut_process_check_machine(struct suture_process *p) __must_check;
/** Chooses a thread whose files in /proc work: a leader that has ended has none. */
void sut_process_find_live(struct suture_process *p);
/** Whether the process still runs in the memory that it had when it was attached to (no exec since). */
bool sut_process_same_program(struct suture_process *p);

/* procfs.c. @tid 0: the files of the process itself. All return 0 or -errno and record nothing. */
int sut_procfs_read(pid_t pid, pid_t tid, const char *name, size_t max, char **ret, size_t *ret_len) __must_check;
int sut_procfs_stat(pid_t pid, pid_t tid, struct sut_stat *ret) __must_check;
/** Whether a thread of the target is the kernel's own (io_uring, vhost): it never runs the program's code, and to
 *  interrupt it would break off the request that it works on. @st: its stat. */
bool sut_procfs_is_worker(pid_t pid, pid_t tid, const struct sut_stat *st);
/** The value of a "Name:\tvalue" line of status, without the newline. */
int sut_procfs_status(pid_t pid, pid_t tid, const char *name, char *ret, size_t cap) __must_check;
/** A number of status, @dflt when there is no such line. */
long sut_procfs_status_num(pid_t pid, pid_t tid, const char *name, long dflt);
void sut_procfs_comm(pid_t pid, char ret[16]);
/** All threads, by the order of /proc/PID/task. */
int sut_procfs_tids(struct suture_process *p) __must_check;
/** Reads as much of a file as fits, without allocating. Returns bytes. */
size_t sut_procfs_fill(pid_t pid, const char *name, char *buf, size_t cap);
/** What one line of maps says, as far as a common stop needs it. */
struct sut_maps_line {
	uint64_t start, end, inode;
	unsigned dev_major, dev_minor;
	bool write, exec, shared;
	const char *name; /* not ended */
	size_t name_len;
};
/** The next line of [*at, end); false at the end. */
bool sut_maps_line_next(const char **at, const char *end, struct sut_maps_line *ret);

/* objects.c */
void sut_objects_free(struct suture_process *p);
/** Marks objects over whose text another file was mapped since the last refresh. Allocates nothing. */
void sut_objects_verify(struct suture_process *p);

/* memory.c */
extern const struct sut_mem_ops sut_process_mem_ops;
/** What of it needs nobody held: also for this very process. */
int sut_memory_maps(struct sut_mem *mem, struct sut_maps *ret) __must_check;
int sut_memory_private_pages(struct sut_mem *mem, uint64_t start, uint64_t end, bool *ret) __must_check;
int sut_memory_any_locked(struct sut_mem *mem, bool *ret) __must_check;
int sut_memory_vm_flags(struct sut_mem *mem, uint64_t addr, char *ret, size_t cap) __must_check;
size_t sut_memory_read_some(struct suture_process *p, uint64_t addr, void *buf, size_t len);
/** Reads as much as there is of [addr, addr+len), up to the first unreadable page. */
size_t sut_process_read_some(struct suture_process *p, uint64_t addr, void *buf, size_t len);

/* event.c */
enum sut_event_kind {
	SUT_EVENT_NONE, /* nothing yet */
	SUT_EVENT_STOP, /* stopped by our interrupt, or a group stop */
	SUT_EVENT_SIGNAL, /* about to deliver a signal */
	SUT_EVENT_SYSCALL, /* entering or leaving a system call */
	SUT_EVENT_CHILD, /* made a thread or a process; it is traced by us already */
	SUT_EVENT_EXEC,
	SUT_EVENT_OTHER, /* stopped; to be continued */
	SUT_EVENT_GONE, /* the thread is no more */
};
struct sut_event {
	enum sut_event_kind kind;
	int sig; /* SIGNAL: which; STOP: the group stop's, 0: our interrupt */
	pid_t child; /* CHILD */
	bool vfork; /* CHILD: its parent waits for it */
};
/** The next event of a traced thread, without waiting. */
void sut_event_poll(struct suture_process *p, pid_t tid, struct sut_event *ret);
/** Waits until some child has news, or @ns have passed; may return early. */
void sut_event_wait(uint64_t ns);
/** Begins and ends holding: own signals blocked, scheduling class raised where permitted. */
void sut_hold_begin(struct suture_process *p);
void sut_hold_end(struct suture_process *p);

/* seize.c */
/** Keeps an exec and sut_thread_seize() from waiting for each other. */
struct sut_seize_guard {
	bool on;
	timer_t timer;
	sigset_t old;
};
/** To be held over all calls of sut_thread_seize(); @more: how many there may be. Ended by sut_seize_guard_end(). */
int sut_seize_guard(struct suture_process *p, size_t more, struct sut_seize_guard *ret) __must_check;
void sut_seize_guard_end(struct sut_seize_guard *g);
/** Seizes a thread: 0, -ESRCH (it is gone), or a recorded failure. */
int sut_thread_seize(struct suture_process *p, pid_t tid) __must_check;

/* threads.c */
/** -SUTURE_EGONE, with how it went. */
int sut_fail_gone(struct suture_process *p);
/** Seizes and interrupts @tid and waits until it is stopped by that and by nothing else; it becomes an entry of the
 *  (empty) list. 0, -ESRCH, -SUTURE_ETIMEOUT (nothing recorded for these two), or a recorded failure. */
int sut_thread_hold_one(struct suture_process *p, pid_t tid, uint64_t deadline) __must_check;
int sut_threads_stop(struct suture_process *p, unsigned timeout_ms) __must_check;
uint64_t sut_threads_release(struct suture_process *p);
/** Puts it on the list of those that are let go, or whose end is collected, as soon as there is news of them. */
void sut_thread_make_late(struct suture_process *p, const struct sut_thread *t);
/** Whether a thread that was seized is not ours any more. */
bool sut_thread_lost(struct suture_process *p, pid_t tid);
/** Whether another process runs on the target's memory: its pid, or 0. */
pid_t sut_process_sharer(struct suture_process *p);
/** Reads registers and makes a call restart that would leak EINTR. 0 or -errno. */
int sut_thread_read_regs(struct suture_process *p, struct sut_thread *t) __must_check;
int sut_thread_write_regs(struct sut_thread *t, const struct sut_regs *regs) __must_check;
/** Detaches every entry; those that can not be yet go to the late list. Returns the longest hold in ns. */
uint64_t sut_threads_let_go(struct suture_process *p, const struct sut_thread *keep);

/* heal.c */
/** Finds memory for a frame of @need bytes for thread @t. Recorded -SUTURE_EREFUSED when there is none. */
int sut_heal_place(struct suture_process *p, struct sut_thread *t, size_t need, uint64_t *ret, size_t *ret_size,
		   bool *ret_own) __must_check;
/** Whether a stopped thread has not yet come back from what a killed tool made it do. */
bool sut_heal_pending(struct suture_process *p, const struct sut_thread *t);
/** The frame of a dead tool, if there is one whose thread may not be back from it: [*ret, *ret_end) and the thread. */
bool sut_heal_left(struct suture_process *p, uint64_t *ret, uint64_t *ret_end, pid_t *ret_tid);
/** Finds the gadgets that stand in for heal code of ours. Recorded -SUTURE_EREFUSED when there are none. */
int sut_heal_gadgets(struct suture_process *p) __must_check;
/** Finds every restorer of signal frames in the text of all files; none where not all can be found. */
int sut_heal_restorers(struct suture_process *p) __must_check;
/* What stands before a frame, so that a later tool can tell a frame that is in use from one left by a dead tool. */
struct sut_heal_header {
	char magic[8];
	uint64_t tid;
};
#define SUT_HEAL_MAGIC  "SUTUREf1"
#define SUT_HEAL_HEADER 64

/* remote.c */
int sut_remote_borrow(struct suture_process *p, unsigned timeout_ms) __must_check;
int sut_remote_syscall(struct suture_process *p, enum sut_sys sys, const uint64_t args[6], int64_t *ret) __must_check;
/** Readies the borrowed thread: filters, place. Recorded failures. */
int sut_remote_prepare(struct suture_process *p) __must_check;
/** Whether some stopped thread can be made to make system calls as it stands. */
bool sut_remote_can_call(struct suture_process *p);
/** Gives the borrowed thread its own registers and mask back; it stays stopped. */
void sut_remote_restore(struct suture_process *p);

/* seccomp.c */
enum sut_seccomp_verdict { SUT_SECCOMP_ALLOW, SUT_SECCOMP_ERRNO, SUT_SECCOMP_FATAL };
/** Reads the filters of a stopped thread into p's borrow. Recorded -SUTURE_EACCESS. */
int sut_seccomp_read(struct suture_process *p, pid_t tid) __must_check;
void sut_seccomp_free(struct suture_process *p);
enum sut_seccomp_verdict sut_seccomp_eval(struct suture_process *p, unsigned nr, uint64_t ip, const uint64_t args[6]);
/** The interpreter alone, for tests: the filter's return value; KILL for anything not understood. */
uint32_t sut_bpf_run(const void *insns, unsigned n, const void *data, size_t size);

/* expr.c */
struct sut_expr_ops {
	bool (*reg)(void *arg, unsigned n, uint64_t *ret);
	bool (*mem)(void *arg, uint64_t addr, unsigned size, uint64_t *ret);
	void *arg;
};
/** Evaluates a DWARF expression of call frame information. @cfa: the CFA, NULL while it is being computed. */
bool sut_expr_eval(const Dwarf_Op *ops, size_t n, const struct sut_expr_ops *env, const uint64_t *cfa, uint64_t *ret);

/* prove.c */
struct sut_query {
	const struct sut_code_range *ranges; /* sorted */
	size_t n;
	uint64_t lo, hi; /* of all ranges: one comparison for most words */
};
void sut_query_init(struct sut_query *q, const struct sut_code_range *ranges, size_t n);
/** The range that holds a pc (@exact) or a return address. */
const struct sut_code_range *sut_query_hit(const struct sut_query *q, uint64_t v, bool exact);

/* coroutine.c */
/** Looks for code that switches stacks; once for each list of objects. */
void sut_coroutines_find(struct suture_process *p);

/* deep.c */
bool sut_deep_on(const struct suture_process *p);
/** For tests: as on a kernel that has no PAGEMAP_SCAN. */
void sut_deep_no_scan(struct suture_process *p);
/** A thread whose frames were walked reliably and are clear: looks into those that are large enough for a stack
 *  inside (*ret is set to INSIDE then), and leaves its stack out when the memory is read. */
void sut_deep_own_stack(struct suture_process *p, const struct sut_thread *t, const struct sut_frame *f, size_t n,
			struct sut_proof_result *ret);

/* unwind.c */
/** Loads the window on a stack: [addr, addr+len), as much as there is and fits. */
void sut_stack_load(struct suture_process *p, uint64_t addr, size_t len);
/** The highest address that a thread's own stack can reach: the start of the program's, or the thread pointer. */
uint64_t sut_stack_top(struct suture_process *p, const struct sut_thread *t);

#endif
