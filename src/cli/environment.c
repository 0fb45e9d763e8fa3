/* SPDX-License-Identifier: MIT */
/*
 * environment.c - what suture needs of a machine, each thing tried in the tool's own process or in a
 * child of it, because version numbers and configuration files only tell what might be.
 *
 * Changes nothing that outlives the check. Must not touch any process but itself and its own child.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/membarrier.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "cli/environment.h"
#include "process/process.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef CAP_CHECKPOINT_RESTORE
#define CAP_CHECKPOINT_RESTORE 40
#endif

/* The result of a call that is 0 or more when it works. */
static void set_by_call(struct sut_env_finding *f, long result)
{
	f->result = result < 0 ? SUT_ENV_MISSING : SUT_ENV_OK;
	f->permission = result < 0 && (errno == EPERM || errno == EACCES);
	if (result < 0)
		snprintf(f->found, sizeof(f->found), "%s", strerror(errno));
}

/* The first line of a file below /proc or /sys; false: there is none. */
static bool read_line(const char *path, char *buf, size_t cap)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, cap - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return false;
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return true;
}

/* The value behind "Key:" in /proc/self/status. */
static bool status_value(const char *key, char *buf, size_t cap)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/status", "re");
	char line[512];
	size_t n = strlen(key);
	bool found = false;

	while (!found && f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, n) || line[n] != ':')
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(buf, cap, "%s", line + n + 1 + strspn(line + n + 1, " \t"));
		found = true;
	}
	return found;
}

static void look_kernel(struct suture_ctx *ctx, struct sut_env_finding *f)
{
	unsigned major = 0, minor = 0;
	struct utsname u;

	uname(&u);
	snprintf(f->found, sizeof(f->found), "%.90s", u.release);
	if (sscanf(u.release, "%u.%u", &major, &minor) != 2 || major < 5 || (major == 5 && minor < 10))
		f->result = SUT_ENV_MISSING;
}

static void look_machine(struct suture_ctx *ctx, struct sut_env_finding *f)
{
	const struct sut_arch *arch = sut_arch_host();
	struct utsname u;

	uname(&u);
	snprintf(f->found, sizeof(f->found), "%.60s", arch ? arch->name : u.machine);
	f->result = arch ? SUT_ENV_OK : SUT_ENV_MISSING;
}

/* A child that does nothing but wait, and dies with us. */
static pid_t make_child(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

static void look_attach(struct suture_ctx *ctx, struct sut_env_finding *f)
{
	struct suture_process *p = NULL;
	pid_t child = make_child();
	int err;

	if (child < 0) {
		set_by_call(f, -1);
		return;
	}
	err = suture_process_attach(ctx, child, NULL, &p);
	if (!err)
		err = sut_process_borrow(p, 2000);
	if (err) {
		f->result = SUT_ENV_MISSING;
		f->permission = suture_exit_status(err) == 6;
		snprintf(f->found, sizeof(f->found), "%.95s", suture_ctx_error(ctx)->message);
	} else {
		(void)sut_process_release(p);
		snprintf(f->found, sizeof(f->found), "tried on a child of ours");
	}
	suture_process_detach(p);
	kill(child, SIGKILL);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}

static bool have_cap(unsigned cap)
{
	char buf[64];

	return status_value("CapEff", buf, sizeof(buf)) && (strtoull(buf, NULL, 16) >> cap & 1);
}

static void set_by_cap(struct sut_env_finding *f, unsigned cap)
{
	f->result = have_cap(cap) ? SUT_ENV_OK : SUT_ENV_MISSING;
	f->permission = f->result != SUT_ENV_OK;
}

static void look_cap_ptrace(struct suture_ctx *ctx, struct sut_env_finding *f)
{
	set_by_cap(f, CAP_SYS_PTRACE);
}

static void look_cap_admin(struct suture_ctx *ctx, struct sut_env_finding *f)
{
	set_by_cap(f, CAP_SYS_ADMIN);
}

static void look_cap_restore(struct suture_ctx *ctx, struct sut_env_finding *f)
{
	set_by_cap(f, CAP_CHECKPOINT_RESTORE);
	/* The greater one includes it. */
	if (f->result != SUT_ENV_OK && have_cap(CAP_SYS_ADMIN))
		f->result = SUT_ENV_OK;
}

static void look_yama(struct suture_ctx *ctx, struct sut_env_finding *f)
{
	static const char *const words[] = { "no restriction", "own children only", "CAP_SYS_PTRACE only",
					     "nobody, until the next boot" };
	char buf[16];
	int scope;

	if (!read_line("/proc/sys/kernel/yama/ptrace_scope", buf, sizeof(buf))) {
		snprintf(f->found, sizeof(f->found), "this kernel has no Yama");
		return;
	}
	scope = atoi(buf);
	snprintf(f->found, sizeof(f->found), "ptrace_scope %d: %s", scope,
		 scope >= 0 && scope <= 3 ? words[scope] : "unknown to us");
	if (scope >= 3)
		f->result = SUT_ENV_MISSING;
	else if (scope && !have_cap(CAP_SYS_PTRACE))
		f->result = SUT_ENV_LIMITED;
	f->permission = f->result != SUT_ENV_OK;
}

static void look_userns(struct suture_ctx *ctx, struct sut_env_finding *f)
{
	unsigned inside, outside, n;
	char buf[96];

	if (!read_line("/proc/self/uid_map", buf, sizeof(buf)) || sscanf(buf, "%u %u %u", &inside, &outside, &n) != 3)
		return;
	if (!inside && !outside && n == UINT32_MAX) {
		snprintf(f->found, sizeof(f->found), "the first one");
		return;
	}
	snprintf(f->found, sizeof(f->found), "a nested one");
	f->result = SUT_ENV_LIMITED;
	f->permission = true;
}

static void look_seccomp(struct suture_ctx *ctx, struct sut_env_finding *f)
{
	char buf[16];

	if (!status_value("Seccomp", buf, sizeof(buf)) || !strcmp(buf, "0")) {
		snprintf(f->found, sizeof(f->found), "no filter on ourselves");
		return;
	}
	snprintf(f->found, sizeof(f->found), "we run under a filter ourselves");
	f->result = SUT_ENV_LIMITED;
	f->permission = true;
}

/* A private page of our own program, mapped once more: file-backed, readable, executable. */
static void *map_own_text(size_t page)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	void *p;

	if (fd < 0)
		return MAP_FAILED;
	p = mmap(NULL, page, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	close(fd);
	return p;
}

static void look_proc_mem(struct suture_ctx *ctx, struct sut_env_finding *f)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *p = map_own_text(page);
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	char cmdline[4096], *set;
	ssize_t n = p == MAP_FAILED || fd < 0 ? -1 : pwrite(fd, "x", 1, (off_t)(uintptr_t)p);

	set_by_call(f, n == 1 ? 0 : -1);
	if (fd >= 0)
		close(fd);
	if (p != MAP_FAILED)
		munmap(p, page);
	if (f->result == SUT_ENV_OK)
		return;
	/* With "ptrace" a tracer may still write; what matters is seen when it does. */
	f->result = SUT_ENV_LIMITED;
	if (read_line("/proc/cmdline", cmdline, sizeof(cmdline)) && (set = strstr(cmdline, "proc_mem.force_override=")))
		snprintf(f->found, sizeof(f->found), "%.*s", (int)strcspn(set, " "), set);
}

static void look_map_files(struct suture_ctx *ctx, struct sut_env_finding *f)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char path[96];
	void *p = map_own_text(page);
	int fd = -1;

	if (p != MAP_FAILED) {
		snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)p, (unsigned long)p + page);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	set_by_call(f, fd);
	if (fd >= 0)
		close(fd);
	if (p != MAP_FAILED)
		munmap(p, page);
}

static void look_pagemap(struct suture_ctx *ctx, struct sut_env_finding *f)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry, page = (uintptr_t)&entry / (uintptr_t)sysconf(_SC_PAGESIZE);
	long n = fd < 0 ? -1 : pread(fd, &entry, sizeof(entry), (off_t)(page * sizeof(entry)));

	set_by_call(f, n == sizeof(entry) ? 0 : -1);
	if (fd >= 0)
		close(fd);
}

static void look_openat2(struct suture_ctx *ctx, struct sut_env_finding *f)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_DIRECTORY, .resolve = RESOLVE_IN_ROOT };
	long fd = syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how));

	set_by_call(f, fd);
	if (fd >= 0)
		close((int)fd);
}

static void look_pidfd(struct suture_ctx *ctx, struct sut_env_finding *f)
{
	long fd = syscall(SYS_pidfd_open, getpid(), 0);

	set_by_call(f, fd);
	if (fd >= 0)
		close((int)fd);
}

static void look_dontunmap(struct suture_ctx *ctx, struct sut_env_finding *f)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *p = map_own_text(page), *q = MAP_FAILED;

	if (p != MAP_FAILED)
		q = (void *)syscall(SYS_mremap, p, page, page, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	set_by_call(f, q == MAP_FAILED ? -1 : 0);
	if (p != MAP_FAILED)
		munmap(p, page);
	if (q != MAP_FAILED)
		munmap(q, page);
}

/* The page swap itself: a changed copy moved over the page in use. */
static void look_swap(struct suture_ctx *ctx, struct sut_env_finding *f)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *p = map_own_text(page), *q = map_own_text(page), *moved = MAP_FAILED;

	if (p != MAP_FAILED && q != MAP_FAILED)
		moved = mremap(q, page, page, MREMAP_MAYMOVE | MREMAP_FIXED, p);
	set_by_call(f, moved == p && p != MAP_FAILED ? 0 : -1);
	if (p != MAP_FAILED)
		munmap(p, page);
	if (moved == MAP_FAILED && q != MAP_FAILED)
		munmap(q, page);
}

static void look_populate(struct suture_ctx *ctx, struct sut_env_finding *f)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *p = map_own_text(page);

	set_by_call(f, p == MAP_FAILED ? -1 : madvise(p, page, MADV_POPULATE_READ));
	if (p != MAP_FAILED)
		munmap(p, page);
}

static void look_memfd(struct suture_ctx *ctx, struct sut_env_finding *f)
{
	int fd = memfd_create("suture-doctor", MFD_CLOEXEC);

	set_by_call(f, fd);
	if (fd >= 0)
		close(fd);
}

static void look_membarrier(struct suture_ctx *ctx, struct sut_env_finding *f)
{
	long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

	set_by_call(f, commands);
	if (commands >= 0 && !(commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE))
		f->result = SUT_ENV_MISSING;
}

static void look_vm_readv(struct suture_ctx *ctx, struct sut_env_finding *f)
{
	uint64_t a = 1, b = 0;
	struct iovec to = { &b, sizeof(b) }, from = { &a, sizeof(a) };
	ssize_t n = process_vm_readv(getpid(), &to, 1, &from, 1, 0);

	set_by_call(f, n == sizeof(a) && b == a ? 0 : -1);
}

static void look_shadow_stack(struct suture_ctx *ctx, struct sut_env_finding *f)
{
	char buf[64];

	if (!status_value("x86_Thread_features", buf, sizeof(buf)) || !strstr(buf, "shstk")) {
		snprintf(f->found, sizeof(f->found), "not in force here");
		return;
	}
	snprintf(f->found, sizeof(f->found), "in force for this process");
	f->result = SUT_ENV_LIMITED;
}

const struct sut_env_check sut_env_checks[] = {
	{ "kernel", true, "Linux 5.10 or later", "nothing here is tested on an older one", look_kernel },
	{ "machine", true, "an architecture that suture patches", "processes of this machine can not be patched",
	  look_machine },
	{ "attach", true, "seize and stop a process by ptrace", "no process can be patched", look_attach },
	{ "Yama", false, "who may attach to whom", "run as root or with CAP_SYS_PTRACE", look_yama },
	{ "CAP_SYS_PTRACE", false, "processes of other users, and of containers",
	  "only processes of the same user, without privileges", look_cap_ptrace },
	{ "CAP_SYS_ADMIN", false, "suspend a seccomp filter while a thread is borrowed",
	  "a process whose filter forbids the calls is refused", look_cap_admin },
	{ "CAP_CHECKPOINT_RESTORE", false, "read the mapped files of other users' processes",
	  "files are found by path; a replaced or deleted library can not be read", look_cap_restore },
	{ "user namespace", false, "processes outside of it can not be reached",
	  "only processes of this namespace and those below", look_userns },
	{ "seccomp", false, "calls that a filter of ours forbids fail", "see the other lines for what fails",
	  look_seccomp },
	{ "proc_mem", true, "write to code through /proc/PID/mem",
	  "allowed at most while tracing; where not even then, a patch is refused", look_proc_mem },
	{ "map_files", false, "read libraries that were deleted or replaced on disk",
	  "such libraries can not be patched; the executable can", look_map_files },
	{ "pagemap", false, "see which pages of code are private already", "all pages of a site are carried over",
	  look_pagemap },
	{ "openat2", false, "open files of containers without leaving their root",
	  "each step of a path is checked by itself", look_openat2 },
	{ "pidfd_open", false, "hold on to a process while its number may be used again",
	  "number and start time are compared", look_pidfd },
	{ "page swap", false, "change code by moving a prepared page over it",
	  "a plain write while all threads are stopped", look_swap },
	{ "mremap DONTUNMAP", false, "copy a code mapping without a file (5.13)", "the target opens the file once more",
	  look_dontunmap },
	{ "MADV_POPULATE_READ", false, "fill prepared pages beforehand (5.14)", "they are filled by reading them",
	  look_populate },
	{ "memfd_create", true, "the registry in the target is a memory file", "patches could not be found again",
	  look_memfd },
	{ "membarrier", false, "make all processors see new code at once (SYNC_CORE)",
	  "all threads are stopped instead", look_membarrier },
	{ "process_vm_readv", false, "read stacks quickly", "they are read through /proc/PID/mem", look_vm_readv },
	{ "shadow stack", false, "processes with a shadow stack (CET)", "such a process is refused",
	  look_shadow_stack },
	{ 0 },
};
