/* SPDX-License-Identifier: MIT */
/*
 * process.h - a target process: who it is, its mappings and objects, its threads.
 *
 * Three degrees of holding a process, each let go of in the reverse order:
 *
 *	open     nothing is traced; /proc is read
 *	borrowed one thread is seized and stopped, and makes system calls for us
 *	stopped  every thread is seized and stopped
 *
 * While anything is held the tool blocks SIGTSTP, SIGTTOU, SIGTTIN, SIGPIPE, SIGINT, SIGTERM, SIGHUP
 * and SIGQUIT for itself, prints nothing, and answers every event from one loop (event.c): signals
 * are forwarded to their thread, children and new threads let go or taken in.
 * A target is handed back with all registers, its pending restarts intact; see remote.c for
 * what happens when the tool dies while a thread is borrowed.
 */
#ifndef SUT_PROCESS_H
#define SUT_PROCESS_H

#include <suture/process.h>

#include "elf/cfi.h"
#include "elf/elf.h"
#include "elf/symtab.h"
#include "text/mem.h"

/** One ELF object mapped in the process (also the vDSO). */
struct sut_object {
	char *path; /* as in maps, without " (deleted)" */
	const char *name; /* soname, else the last part of the path */
	bool is_main, is_vdso, deleted;
	uint64_t bias; /* runtime address = link-time address + bias */
	uint64_t start, end; /* first to last mapping */
	uint64_t data_end; /* runtime end of the last writable segment's memory, 0: none */
	unsigned dev_major, dev_minor;
	uint64_t inode;
	struct sut_elf *elf; /* NULL until sut_object_elf(): the file as mapped (/proc/PID/exe, map_files, or root +
				path with the same inode) */
	struct sut_symtab *symtab; /* loaded on demand by sut_object_symtab() */
	struct sut_cfi *cfi; /* opened on demand */
	bool cfi_failed;
	uint64_t dynamic; /* runtime address of its dynamic section, 0: none */
	bool has_interp; /* asks for a dynamic linker */
	bool seen; /* scratch of sut_process_stop() */
	bool stale; /* another file was mapped over it since the last refresh (seen in a common stop) */
	uint64_t load_order; /* 0: main; libraries by their place in the link map where known, else by address */
};

/** A thread that is, or was, held. After sut_process_stop() every entry of the list is stopped. */
struct sut_thread {
	pid_t tid;
	bool seized, stopped, dead;
	bool let_go; /* not a thread of the target (a forked child): detached at its first stop */
	bool is_main; /* the thread that the process began with */
	bool group_stopped; /* was in a group stop (SIGSTOP) before us */
	int stop_signal; /* signal to deliver on release, 0: none */
	struct sut_regs regs; /* as stopped; restored on release */
	bool regs_valid, regs_changed;
	uint64_t stopped_at; /* sut_now_ns() when the stop was asked for */
};

struct suture_process {
	struct suture_ctx *ctx;
	struct sut_mem mem; /* must be reached through sut_process_mem() */
	pid_t pid; /* in our namespace */
	pid_t live_tid; /* a thread whose /proc files work (zombie leaders have none) */
	int pidfd;
	int mem_fd;
	char comm[16];
	uint64_t start_time; /* field 22 of stat: with pid, identifies the process */
	bool seccomp_filter, suspend_seccomp;
	unsigned patience_ms; /* how long a borrow waits at least, for a thread that gets no processor */
	char **debug; /* files offered by the user, owned */

	SUT_VEC(struct sut_object) obj; /* [0] is main; pointers into it stay valid until sut_process_refresh() */
	struct sut_maps maps; /* as of the last sut_process_refresh() */

	SUT_VEC(struct sut_thread) thread;
	struct sut_thread *borrowed; /* the thread that makes system calls, NULL: none */
	uint64_t heal_code, heal_frame; /* our code and frame memory in the target, 0: none yet */
	size_t heal_frame_size;
	void *priv;
};

static inline struct sut_mem *sut_process_mem(struct suture_process *p)
{
	return &p->mem;
}

/** Reads mappings and objects afresh. */
int sut_process_refresh(struct suture_process *p) __must_check;
/** The object that holds a runtime address, or NULL. */
struct sut_object *sut_process_object_at(struct suture_process *p, uint64_t addr);
/** The ELF file of an object, opened once. -SUTURE_EREFUSED when the mapped file can not be read (replaced on disk). */
int sut_object_elf(struct suture_process *p, struct sut_object *o, struct sut_elf **ret) __must_check;
/** Its call frame information, opened once; NULL when it has none. Runtime pc = link-time pc + bias. */
struct sut_cfi *sut_object_cfi(struct suture_process *p, struct sut_object *o);
/** Symbols of an object, loaded once. */
int sut_object_symtab(struct suture_process *p, struct sut_object *o, struct sut_symtab **ret) __must_check;
/** The directory of the target's root as seen by us: "/proc/PID/root". */
const char *sut_process_root(struct suture_process *p, char buf[64]);
/** Whether pid+start_time still is the process that was opened. */
bool sut_process_alive(struct suture_process *p);

/**
 * Seizes and stops one thread (the best one: running, or in a call without a restart block) within the larger of
 * @timeout_ms and the process's patience, and readies it for system calls through sut_process_mem(). Nothing is written to the target before the first
 * call, so borrow and release is the preflight: -SUTURE_EACCESS (a seccomp filter would kill or trap the calls,
 * or can not be read), -SUTURE_EREFUSED (no place for the frame that heals, shadow stacks),
 * -SUTURE_ETIMEOUT (no thread could be stopped), -SUTURE_EGONE.
 */
int sut_process_borrow(struct suture_process *p, unsigned timeout_ms) __must_check;
/** Tells the process room where our heal code and frame memory lie, once the registry has made them. */
void sut_process_set_heal(struct suture_process *p, uint64_t code, uint64_t frame, size_t frame_size);
/** Whether no thread stands on a frame in that memory: a tool that was killed while the target was SIGSTOPped leaves one
 *  that its thread has still to return through. */
bool sut_process_heal_free(struct suture_process *p, uint64_t frame, size_t size);
/**
 * Seizes and stops every thread, those born meanwhile too, and reads their registers; the first
 * of them (or the one already borrowed) can make system calls. -SUTURE_ETIMEOUT: some thread could not be stopped
 * in time (vfork); everything is let go again. Nothing is written to the target.
 */
int sut_process_stop(struct suture_process *p, unsigned timeout_ms) __must_check;
/** Lets everything go: registers restored, EINTR masked, signals forwarded, detached. Safe at any time.
 *  Returns the longest time a thread was held, in ns. */
uint64_t sut_process_release(struct suture_process *p);
/** Reads pending events without waiting: lets go of threads that stopped too late for the last common stop.
 *  Every call above does it first. */
void sut_process_pump(struct suture_process *p);
/** Sleeps and pumps: the only way to wait while a process is open. */
void sut_process_sleep(struct suture_process *p, unsigned ms);
/** Handles the tool's own signals: blocks what must not stop it while it holds a target, cancellation too. Nested. */
void sut_tool_signals_block(void);
void sut_tool_signals_unblock(void);

#endif
