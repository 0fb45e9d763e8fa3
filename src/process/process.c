/* SPDX-License-Identifier: MIT */
/*
 * process.c - opening a process: who it is, whether we may, whether we can.
 *
 * Attaching traces nobody. A process is identified by its number and start time, held by a pidfd; what was
 * opened of it (memory, pidfd) stays with it even if the number is used again. Refusals say what to do.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <elf.h>

#include "process/internal.h"

#define PF_KTHREAD 0x00200000u

/* -- identity --------------------------------------------------------------------------------- */

void sut_process_find_live(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;
	struct sut_stat st;

	if (p->live_tid && !sut_procfs_stat(p->pid, p->live_tid, &st) && st.state != 'Z' && st.state != 'X')
		return;
	p->live_tid = p->pid;
	if (sut_procfs_tids(p))
		return;
	for (size_t i = 0; i < pr->tids.n; i++)
		if (!sut_procfs_stat(p->pid, pr->tids.v[i], &st) && st.state != 'Z' && st.state != 'X') {
			p->live_tid = pr->tids.v[i];
			return;
		}
}

bool sut_process_alive(struct suture_process *p)
{
	struct pollfd pfd = { .fd = p->pidfd, .events = POLLIN };
	struct sut_stat st;

	if (sut_priv(p)->gone)
		return false;
	if (sut_priv(p)->self)
		return true;
	if (p->pidfd >= 0)
		return poll(&pfd, 1, 0) == 0;
	return !sut_procfs_stat(p->pid, 0, &st) && st.start_time == p->start_time && st.state != 'X';
}

static bool same_program(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;
	uint8_t byte;

	/* The descriptor of mem stays with the old memory, which is no more after an exec. */
	if (!p->obj.n || pread(p->mem_fd, &byte, 1, (off_t)p->obj.v[0].start) == 1)
		return true;
	if (sut_process_alive(p))
		pr->gone_how = "replaced its program (exec)";
	pr->gone = true;
	return false;
}

bool sut_process_same_program(struct suture_process *p)
{
	return sut_priv(p)->ops->same_program(p);
}

const char *sut_process_root(struct suture_process *p, char buf[64])
{
	snprintf(buf, 64, "/proc/%d/root", p->live_tid);
	return buf;
}

pid_t suture_process_pid(const struct suture_process *p)
{
	return p->pid;
}

const char *suture_process_comm(const struct suture_process *p)
{
	return p->comm;
}

/* -- what it is ------------------------------------------------------------------------------- */

static int check_who(struct suture_process *p)
{
	struct suture_ctx *ctx = p->ctx;
	struct sut_priv *pr = p->priv;
	struct sut_stat st;
	long tgid, tracer;
	char comm[16];
	int err;

	if (p->pid <= 0)
		return sut_fail(ctx, SUTURE_EUSAGE, "%d is no process number", p->pid);
	if (p->pid == getpid()) {
		sut_fail(ctx, SUTURE_EREFUSED, "process %d is this program itself", p->pid);
		return sut_hint(ctx, "the library works on its own process through suture_process_self()");
	}
	err = sut_procfs_stat(p->pid, 0, &st);
	if (err)
		return sut_fail(ctx, SUTURE_ENOTFOUND, "no process %d%s%s", p->pid, err == -ENOENT ? "" : ": ",
				err == -ENOENT ? "" : strerror(-err));
	sut_procfs_comm(p->pid, p->comm);
	tgid = sut_procfs_status_num(p->pid, 0, "Tgid", p->pid);
	if (tgid != p->pid) {
		sut_fail(ctx, SUTURE_ENOTFOUND, "%d is a thread of process %ld", p->pid, tgid);
		return sut_hint(ctx, "name the process: %ld", tgid);
	}
	if (st.flags & PF_KTHREAD)
		return sut_fail(ctx, SUTURE_EREFUSED, "%s[%d] is a thread of the kernel", p->comm, p->pid);
	p->start_time = st.start_time;
	pr->start_stack = st.start_stack;
	pr->start_brk = st.start_brk;
	pr->is_child = st.ppid == getpid();
	sut_process_find_live(p);
	if (sut_procfs_stat(p->pid, p->live_tid, &st) || st.state == 'Z' || st.state == 'X')
		return sut_fail(ctx, SUTURE_ENOTFOUND, "%s[%d] has ended (a zombie)", p->comm, p->pid);
	tracer = sut_procfs_status_num(p->pid, p->live_tid, "TracerPid", 0);
	if (tracer) {
		sut_procfs_comm((pid_t)tracer, comm);
		sut_fail(ctx, SUTURE_EACCESS, "%s[%d] is traced by %s[%ld]", p->comm, p->pid, comm, tracer);
		return sut_hint(ctx, "end the debugger, or detach it from the process");
	}
	return 0;
}

/* Why the kernel does not let us: as far as it can be told from outside. */
static int fail_access(struct suture_process *p, int err)
{
	_cleanup_free_ char *scope = NULL;
	long uid = sut_procfs_status_num(p->pid, 0, "Uid", -1);
	int fd = open("/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (sut_read_fd(fd, 64, &scope, NULL))
			scope = NULL;
		close(fd);
	}
	sut_fail(p->ctx, SUTURE_EACCESS, "%s[%d] may not be traced by us: %s", p->comm, p->pid, strerror(err));
	if (scope && scope[0] == '3')
		return sut_hint(p->ctx, "kernel.yama.ptrace_scope is 3: nobody may trace until the next boot");
	if (geteuid() == 0)
		return sut_hint(p->ctx, "CAP_SYS_PTRACE is missing in the user namespace of the process (a container "
					"without it, or a security module)");
	if (uid != (long)geteuid())
		return sut_hint(p->ctx, "it belongs to user %ld: run as root", uid);
	if (scope && scope[0] != '0')
		return sut_hint(p->ctx, "kernel.yama.ptrace_scope is %c: run as root, or set it to 0", scope[0]);
	return sut_hint(p->ctx, "it is not dumpable, or has more privileges than we: run as root");
}

static int open_files(struct suture_process *p)
{
	char path[64];

#ifdef SYS_pidfd_open
	p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
#endif
	if (p->pidfd < 0 && errno == ESRCH)
		return sut_fail(p->ctx, SUTURE_ENOTFOUND, "no process %d", p->pid);
	snprintf(path, sizeof(path), "/proc/%d/mem", p->live_tid);
	p->mem_fd = open(path, O_RDWR | O_CLOEXEC);
	if (p->mem_fd >= 0) {
		snprintf(path, sizeof(path), "/proc/%d/maps", p->live_tid);
		sut_priv(p)->maps_fd = open(path, O_RDONLY | O_CLOEXEC);
		return 0;
	}
	if (errno == EACCES || errno == EPERM)
		return fail_access(p, errno);
	if (errno == ENOENT || errno == ESRCH)
		return sut_fail(p->ctx, SUTURE_ENOTFOUND, "%s[%d] has ended", p->comm, p->pid);
	return sut_fail(p->ctx, SUTURE_EFAILED, "%s: %s", path, strerror(errno));
}

int sut_process_check_machine(struct suture_process *p)
{
	_cleanup_close_ int fd = -1;
	Elf64_Ehdr eh;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/exe", p->live_tid);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && (errno == ENOENT || errno == ESRCH))
		return sut_fail(p->ctx, SUTURE_ENOTFOUND, "%s[%d] has ended", p->comm, p->pid);
	if (fd < 0)
		return sut_fail(p->ctx, errno == EACCES ? SUTURE_EACCESS : SUTURE_EFAILED, "%s: %s", path,
				strerror(errno));
	if (pread(fd, &eh, sizeof(eh), 0) != sizeof(eh) || memcmp(eh.e_ident, ELFMAG, SELFMAG))
		return sut_fail(p->ctx, SUTURE_EREFUSED, "the executable of %s[%d] is no ELF file", p->comm, p->pid);
	if (eh.e_ident[EI_CLASS] != ELFCLASS64)
		return sut_fail(p->ctx, SUTURE_EREFUSED, "%s[%d] is a 32-bit program", p->comm, p->pid);
	if (eh.e_ident[EI_DATA] != ELFDATA2LSB || eh.e_machine != p->mem.arch->e_machine)
		return sut_fail(p->ctx, SUTURE_EREFUSED, "%s[%d] is for machine %u, this tool for %u (%s)", p->comm,
				p->pid, eh.e_machine, p->mem.arch->e_machine, p->mem.arch->name);
	return 0;
}

/* -- holding it ------------------------------------------------------------------------------- */

const struct sut_process_ops sut_ptrace_ops = {
	.borrow = sut_remote_borrow,
	.stop = sut_threads_stop,
	.release = sut_threads_release,
	.same_program = same_program,
	.read_some = sut_memory_read_some,
};

int sut_process_borrow(struct suture_process *p, unsigned timeout_ms)
{
	return sut_priv(p)->ops->borrow(p, timeout_ms);
}

int sut_process_stop(struct suture_process *p, unsigned timeout_ms)
{
	return sut_priv(p)->ops->stop(p, timeout_ms);
}

uint64_t sut_process_release(struct suture_process *p)
{
	return sut_priv(p)->ops->release(p);
}

/* -- attach, detach --------------------------------------------------------------------------- */

static int copy_debug(struct suture_process *p, const char *const *debug)
{
	size_t n = 0;

	while (debug && debug[n])
		n++;
	p->debug = calloc(n + 1, sizeof(*p->debug));
	if (!p->debug)
		return sut_nomem(p->ctx);
	for (size_t i = 0; i < n; i++) {
		p->debug[i] = strdup(debug[i]);
		if (!p->debug[i])
			return sut_nomem(p->ctx);
	}
	return 0;
}

struct suture_process *sut_process_alloc(struct suture_ctx *ctx, pid_t pid, const struct sut_process_ops *ops,
					 const struct sut_mem_ops *mem_ops)
{
	struct suture_process *p = calloc(1, sizeof(*p));
	struct sut_priv *pr = calloc(1, sizeof(*pr));

	if (!p || !pr) {
		free(p);
		free(pr);
		return NULL;
	}
	p->ctx = ctx;
	p->pid = pid;
	p->pidfd = p->mem_fd = -1;
	p->priv = pr;
	pr->ops = ops;
	p->mem.ops = mem_ops;
	p->mem.arch = sut_arch_host();
	p->mem.ctx = ctx;
	p->mem.page_size = (size_t)sysconf(_SC_PAGESIZE);
	pr->fpu = calloc(1, SUT_FPU_MAX);
	pr->frame = calloc(1, SUT_FRAME_MAX);
	pr->stack = malloc(SUT_STACK_WIN);
	pr->frames = calloc(SUT_PROVE_FRAMES, sizeof(*pr->frames));
	pr->maps_fd = -1;
	pr->maps_cap = 1 << 18;
	pr->maps_buf = malloc(pr->maps_cap);
	if (!pr->fpu || !pr->frame || !pr->stack || !pr->frames || !pr->maps_buf) {
		suture_process_detach(p);
		return NULL;
	}
	return p;
}

int suture_process_attach(struct suture_ctx *ctx, pid_t pid, const struct suture_attach_opts *opts,
			  struct suture_process **ret)
{
	struct suture_process *p = sut_process_alloc(ctx, pid, &sut_ptrace_ops, &sut_process_mem_ops);
	struct sut_stat st;
	int err;

	if (!p)
		return sut_nomem(ctx);
	err = check_who(p);
	if (!err)
		err = open_files(p);
	if (!err)
		err = sut_process_check_machine(p);
	/* The number may have gone to another process while its files were opened. */
	if (!err && (sut_procfs_stat(pid, 0, &st) || st.start_time != p->start_time))
		err = sut_fail(ctx, SUTURE_ENOTFOUND, "process %d ended meanwhile", pid);
	if (!err)
		err = copy_debug(p, opts ? opts->debug : NULL);
	if (!err)
		err = sut_process_refresh(p);
	if (err) {
		struct pollfd pfd = { .fd = p->pidfd, .events = POLLIN };

		/* A process that is being killed loses its memory some time before it is seen as ended. */
		if (err != -SUTURE_ENOTFOUND && p->pidfd >= 0 && poll(&pfd, 1, 20) > 0)
			err = sut_fail(ctx, SUTURE_EGONE, "%s[%d] ended meanwhile", p->comm, pid);
		suture_process_detach(p);
		return err;
	}
	*ret = p;
	return 0;
}

void suture_process_detach(struct suture_process *p)
{
	struct sut_priv *pr;

	if (!p)
		return;
	pr = p->priv;
	sut_process_release(p);
	/* A thread that could not be stopped is still ours; it is let go as soon as it can be, or when we end. */
	for (unsigned i = 0; pr->late.n && i < 100; i++)
		sut_process_sleep(p, 2);
	if (pr->ops->close)
		pr->ops->close(p);
	sut_deep_end(p);
	sut_objects_free(p);
	sut_maps_free(&p->maps);
	for (size_t i = 0; p->debug && p->debug[i]; i++)
		free(p->debug[i]);
	free(p->debug);
	sut_vec_free(&p->thread);
	sut_vec_free(&pr->late);
	sut_vec_free(&pr->tids);
	sut_vec_free(&pr->restorer);
	free(pr->fpu);
	free(pr->frame);
	free(pr->stack);
	free(pr->frames);
	free(pr->maps_buf);
	if (p->pidfd >= 0)
		close(p->pidfd);
	if (p->mem_fd >= 0)
		close(p->mem_fd);
	if (pr->maps_fd >= 0)
		close(pr->maps_fd);
	free(pr);
	free(p);
}
