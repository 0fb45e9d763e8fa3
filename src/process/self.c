/* SPDX-License-Identifier: MIT */
/*
 * self.c - this very process behind the operations of a process (self.h).
 *
 * System calls are made directly; nobody is borrowed. Memory is read and written through /proc/self/mem, as another
 * process's is: reads never fault, and writes reach pages that are read-only (they become private), so a module's
 * code is filled without ever being writable. Where that file is not what we see, a pipe carries the bytes:
 * the kernel says EFAULT where we would have faulted, and protection is kept.
 *
 * Under an emulator of another machine (qemu-user) three things are not as the kernel has them, and are answered here:
 * MREMAP_DONTUNMAP loses the source, MAP_FIXED_NOREPLACE replaces, and its own threads are in /proc/self/task.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <elf.h>

#include "process/self.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static struct suture_process *proc(struct sut_mem *mem)
{
	return (struct suture_process *)((char *)mem - offsetof(struct suture_process, mem));
}

/* -- memory ----------------------------------------------------------------------------------- */

/* As much of [addr, addr+len) as can be read (or, @to_memory, written) through the pipe. */
static size_t through_pipe(const struct sut_self *self, uint64_t addr, void *buf, size_t len, bool to_memory)
{
	uint8_t drain[512];
	size_t done = 0;

	while (done < len) {
		void *here = (char *)buf + done, *there = (void *)(uintptr_t)(addr + done);
		size_t part = 512 - ((addr + done) & 511);
		ssize_t in, out;

		if (part > len - done)
			part = len - done;
		in = write(self->pipe[1], to_memory ? here : there, part);
		if (in <= 0)
			break;
		out = read(self->pipe[0], to_memory ? there : here, (size_t)in);
		if (out < 0) {
			(void)!read(self->pipe[0], drain, sizeof(drain));
			break;
		}
		done += (size_t)out;
	}
	return done;
}

size_t sut_self_read_some(struct suture_process *p, uint64_t addr, void *buf, size_t len)
{
	const struct sut_self *self = sut_priv(p)->self;

	return self->mem_file ? sut_memory_read_some(p, addr, buf, len) : through_pipe(self, addr, buf, len, false);
}

static int self_read(struct sut_mem *mem, uint64_t addr, void *buf, size_t len)
{
	struct suture_process *p = proc(mem);

	if (!len || sut_self_read_some(p, addr, buf, len) == len)
		return 0;
	sut_fail(p->ctx, SUTURE_EFAILED, "%zu bytes at %#llx of this process can not be read", len,
		 (unsigned long long)addr);
	return sut_fail_address(p->ctx, addr);
}

static int self_write(struct sut_mem *mem, uint64_t addr, const void *buf, size_t len)
{
	struct suture_process *p = proc(mem);
	const struct sut_self *self = sut_priv(p)->self;
	size_t done = 0;

	while (self->mem_file && done < len) {
		ssize_t n = pwrite(p->mem_fd, (const char *)buf + done, len - done, (off_t)(addr + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	done += through_pipe(self, addr + done, (char *)buf + done, len - done, true);
	if (done == len)
		return 0;
	sut_fail(p->ctx, SUTURE_EFAILED, "%zu bytes at %#llx of this process can not be written", len,
		 (unsigned long long)addr);
	sut_hint(p->ctx, "/proc/self/mem does not let read-only memory be written (proc_mem.force_override)");
	return sut_fail_address(p->ctx, addr);
}

/* A child made by fork has the handle too, but its descriptors are its parent's. */
static int check_owner(struct suture_process *p)
{
	if (getpid() == p->pid)
		return 0;
	return sut_fail(p->ctx, SUTURE_EUSAGE, "this handle is process %d's, and was copied by fork: open one's own",
			p->pid);
}

/* What every call begins with. */
static int self_maps(struct sut_mem *mem, struct sut_maps *ret)
{
	int err = check_owner(proc(mem));

	return err ? err : sut_memory_maps(mem, ret);
}

/* -- system calls ----------------------------------------------------------------------------- */

static bool overlaps(struct sut_mem *mem, uint64_t addr, uint64_t len)
{
	struct sut_maps maps;
	bool found = false;

	if (mem->ops->maps(mem, &maps))
		return true;
	for (size_t i = 0; i < maps.m.n && !found; i++)
		found = maps.m.v[i].start < addr + len && addr < maps.m.v[i].end;
	sut_maps_free(&maps);
	return found;
}

/* Whether the emulator would do something else than the kernel; the kernel's answer then. */
static bool differs(struct sut_mem *mem, enum sut_sys sys, const uint64_t args[6], int64_t *ret)
{
	if (!sut_priv(proc(mem))->self->emulated)
		return false;
	if (sys == SUT_SYS_MREMAP && (args[3] & MREMAP_DONTUNMAP)) {
		*ret = -EINVAL; /* as a kernel that does not know it */
		return true;
	}
	if (sys == SUT_SYS_MMAP && (args[3] & MAP_FIXED_NOREPLACE) && overlaps(mem, args[0], args[1])) {
		*ret = -EEXIST;
		return true;
	}
	return false;
}

static int self_syscall(struct sut_mem *mem, enum sut_sys sys, const uint64_t args[6], int64_t *ret)
{
	long r;

	if (differs(mem, sys, args, ret))
		return 0;
	r = syscall(mem->arch->sysno[sys], args[0], args[1], args[2], args[3], args[4], args[5]);
	*ret = r == -1 ? -errno : r;
	return 0;
}

/* Whether descriptor @fd is the file of a mapping: by number, or (file systems exist that show another device in maps)
 * by inode and the bytes of a page. */
static bool is_mapped(struct suture_process *p, int fd, const struct sut_map *map)
{
	uint8_t file[1024], mapped[1024];
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_ino != map->inode)
		return false;
	if (major(st.st_dev) == map->dev_major && minor(st.st_dev) == map->dev_minor)
		return true;
	return pread(fd, file, sizeof(file), (off_t)map->offset) == sizeof(file) &&
	       sut_self_read_some(p, map->start, mapped, sizeof(mapped)) == sizeof(mapped) &&
	       !memcmp(file, mapped, sizeof(file));
}

static int self_open_mapped(struct sut_mem *mem, const struct sut_map *map, int *ret)
{
	struct suture_process *p = proc(mem);
	char file[64];
	const char *path[] = { "/proc/self/exe", file, map->name };

	snprintf(file, sizeof(file), "/proc/self/map_files/%llx-%llx", (unsigned long long)map->start,
		 (unsigned long long)map->end);
	for (size_t i = 0; i < SUT_ARRAY_SIZE(path); i++) {
		int fd = open(path[i], O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

		if (fd >= 0 && is_mapped(p, fd, map)) {
			*ret = fd;
			return 0;
		}
		if (fd >= 0)
			close(fd);
	}
	return sut_fail(p->ctx, SUTURE_EREFUSED, "%s, mapped at %#llx, can not be opened", map->name,
			(unsigned long long)map->start);
}

const struct sut_mem_ops sut_self_mem_ops = {
	.read = self_read,
	.write = self_write,
	.syscall = self_syscall,
	.maps = self_maps,
	.private_pages = sut_memory_private_pages,
	.any_locked = sut_memory_any_locked,
	.vm_flags = sut_memory_vm_flags,
	.open_mapped = self_open_mapped,
};

/* -- opening ---------------------------------------------------------------------------------- */

static int open_self(struct suture_process *p)
{
	struct sut_self *self = sut_priv(p)->self;
	volatile uint64_t here = sut_now_ns() * 0x9e3779b97f4a7c15u;
	uint64_t there = ~here;
	Elf64_Ehdr eh = { 0 };
	char path[64];
	int fd;

	self->task_fd = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (self->task_fd < 0)
		return sut_fail(p->ctx, SUTURE_EFAILED, "/proc/self/task: %s", strerror(errno));
	if (pipe2(self->pipe, O_CLOEXEC | O_NONBLOCK))
		return sut_fail(p->ctx, SUTURE_EFAILED, "a pipe: %s", strerror(errno));
	p->mem_fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	self->mem_file = p->mem_fd >= 0 &&
			 pread(p->mem_fd, &there, sizeof(there), (off_t)(uintptr_t)&here) == sizeof(there) &&
			 there == here;
	sut_priv(p)->maps_fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	/* An emulator answers for /proc/self/exe, not for every other way to it. */
	snprintf(path, sizeof(path), "/proc/self/task/%d/exe", p->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	self->emulated =
		fd >= 0 && pread(fd, &eh, sizeof(eh), 0) == sizeof(eh) && eh.e_machine != p->mem.arch->e_machine;
	if (fd >= 0)
		close(fd);
	return 0;
}

static int who_we_are(struct suture_process *p)
{
	struct sut_stat st;
	int err = sut_procfs_stat(p->pid, 0, &st);

	if (err)
		return sut_fail(p->ctx, SUTURE_EFAILED, "/proc/%d/stat: %s", p->pid, strerror(-err));
	p->start_time = st.start_time;
	sut_priv(p)->start_stack = st.start_stack;
	sut_priv(p)->start_brk = st.start_brk;
	sut_procfs_comm(p->pid, p->comm);
	sut_process_find_live(p);
	return sut_process_check_machine(p);
}

int suture_process_self(struct suture_ctx *ctx, struct suture_process **ret)
{
	struct suture_process *p;
	struct sut_self *self;
	int err;

	if (!sut_arch_host() || !sut_arch_host()->regs_from_ucontext)
		return sut_fail(ctx, SUTURE_EREFUSED, "this machine's threads can not be stopped from inside");
	p = sut_process_alloc(ctx, getpid(), &sut_self_ops, &sut_self_mem_ops);
	if (!p)
		return sut_nomem(ctx);
	self = calloc(1, sizeof(*self));
	sut_priv(p)->self = self;
	if (self) {
		self->pipe[0] = self->pipe[1] = self->task_fd = -1;
		self->snapshot = malloc(SUT_SELF_SNAPSHOT);
	}
	err = self && self->snapshot ? open_self(p) : sut_nomem(ctx);
	if (!err)
		err = who_we_are(p);
	if (!err)
		err = sut_process_refresh(p);
	if (err) {
		suture_process_detach(p);
		return err;
	}
	*ret = p;
	return 0;
}

static void self_close(struct suture_process *p)
{
	struct sut_self *self = sut_priv(p)->self;

	if (!self)
		return;
	if (self->task_fd >= 0)
		sut_self_end(p);
	for (unsigned i = 0; i < 2; i++)
		if (self->pipe[i] >= 0)
			close(self->pipe[i]);
	if (self->task_fd >= 0)
		close(self->task_fd);
	sut_vec_free(&self->excluded);
	free(self->snapshot);
	free(self);
	sut_priv(p)->self = NULL;
}

/* -- holding ---------------------------------------------------------------------------------- */

static int self_borrow(struct suture_process *p, unsigned timeout_ms)
{
	struct sut_self *self = sut_priv(p)->self;
	int err = check_owner(p);

	if (err)
		return err;
	self->caller = (struct sut_thread){ .tid = gettid(), .is_main = gettid() == p->pid };
	p->borrowed = &self->caller;
	return 0;
}

static int self_stop(struct suture_process *p, unsigned timeout_ms)
{
	int err = check_owner(p);

	return err ? err : sut_self_stop(p, timeout_ms);
}

/* What the proofs missed is read now. What can not be read stays missing, and its threads unproved. */
static void read_missed(struct suture_process *p)
{
	struct sut_self *self = sut_priv(p)->self;

	for (unsigned i = 0; i < self->n_missed; i++) {
		struct sut_cfi *cfi = self->missed[i].cfi;
		uint64_t pc = self->missed[i].pc;
		struct sut_object *o = cfi ? NULL : sut_process_object_at(p, pc);

		if (o) {
			cfi = sut_object_cfi(p, o);
			pc -= o->bias;
		}
		if (cfi)
			(void)!sut_cfi_read(cfi, pc);
	}
	self->n_missed = 0;
}

static uint64_t self_release(struct suture_process *p)
{
	uint64_t ns = sut_priv(p)->self && getpid() == p->pid ? sut_self_go_on(p) : 0;

	p->borrowed = NULL;
	if (sut_priv(p)->self)
		read_missed(p);
	return ns;
}

#define REHEARSALS 8

/* Walks all threads a few times, until the proofs would miss nothing any more. */
static int self_rehearse(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;

	for (unsigned i = 0; i < REHEARSALS; i++) {
		bool reliable, missed;
		int err = self_stop(p, 200);

		/* One that can not be stopped now perhaps can be later. */
		if (err)
			return err == -SUTURE_ETIMEOUT || err == -SUTURE_EREFUSED ? 0 : err;
		for (size_t k = 0; k < p->thread.n; k++)
			(void)!sut_unwind(p, &p->thread.v[k], NULL, 0, pr->frames, SUT_PROVE_FRAMES, &reliable, NULL);
		missed = pr->self->n_missed;
		self_release(p);
		if (!missed)
			break;
	}
	return 0;
}

static bool self_same_program(struct suture_process *p)
{
	return true;
}

const struct sut_process_ops sut_self_ops = {
	.borrow = self_borrow,
	.stop = self_stop,
	.release = self_release,
	.same_program = self_same_program,
	.read_some = sut_self_read_some,
	.rehearse = self_rehearse,
	.close = self_close,
};
