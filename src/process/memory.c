/* SPDX-License-Identifier: MIT */
/*
 * memory.c - a process as struct sut_mem.
 *
 * Reads go through process_vm_readv, or /proc/PID/mem. Writes go through /proc/PID/mem, which writes
 * read-only pages too (they become private) and lets the kernel synchronise the instruction cache;
 * where that is switched off (proc_mem.force_override), through PTRACE_POKEDATA of a stopped thread.
 * Never process_vm_writev: it does neither. The descriptor of mem stays with the
 * address space it was opened on: after an exec it reads and writes nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#include "process/internal.h"

static struct suture_process *proc(struct sut_mem *mem)
{
	return (struct suture_process *)((char *)mem - offsetof(struct suture_process, mem));
}

static bool is_gone(struct suture_process *p)
{
	return !sut_process_alive(p) || !sut_process_same_program(p);
}

/* A file of /proc that can not be read: of a process that is no more, or for another reason. */
static int fail_file(struct suture_process *p, const char *path, int err)
{
	if (is_gone(p))
		return sut_fail_gone(p);
	return sut_fail(p->ctx, err == EACCES || err == EPERM ? SUTURE_EACCESS : SUTURE_EFAILED, "%s: %s", path,
			!err            ? "too short"
			: p->mem.frozen ? "error"
					: strerror(err));
}

/* -- reading ---------------------------------------------------------------------------------- */

size_t sut_memory_read_some(struct suture_process *p, uint64_t addr, void *buf, size_t len)
{
	struct iovec l = { buf, len }, r = { (void *)(uintptr_t)addr, len };
	size_t page = p->mem.page_size, done = 0;
	ssize_t n = process_vm_readv(p->live_tid, &l, 1, &r, 1, 0);

	if (n == (ssize_t)len)
		return len;
	if (n > 0)
		done = (size_t)n;
	/* Whether that was all, mem knows, page by page. */
	while (done < len) {
		size_t part = page - ((addr + done) & (page - 1));

		if (part > len - done)
			part = len - done;
		n = pread(p->mem_fd, (char *)buf + done, part, (off_t)(addr + done));
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return done;
}

static int mem_read(struct sut_mem *mem, uint64_t addr, void *buf, size_t len)
{
	struct suture_process *p = proc(mem);

	if (!len || sut_process_read_some(p, addr, buf, len) == len)
		return 0;
	if (is_gone(p))
		return sut_fail_gone(p);
	sut_fail(p->ctx, SUTURE_EFAILED, "%zu bytes at %#llx of %s[%d] can not be read", len, (unsigned long long)addr,
		 p->comm, p->pid);
	return sut_fail_address(p->ctx, addr);
}

size_t sut_process_read_some(struct suture_process *p, uint64_t addr, void *buf, size_t len)
{
	return sut_priv(p)->ops->read_some(p, addr, buf, len);
}

/* -- writing ---------------------------------------------------------------------------------- */

static pid_t stopped_thread(struct suture_process *p)
{
	if (p->borrowed && p->borrowed->stopped)
		return p->borrowed->tid;
	for (size_t i = 0; i < p->thread.n; i++)
		if (p->thread.v[i].stopped && !p->thread.v[i].dead && !p->thread.v[i].let_go)
			return p->thread.v[i].tid;
	return 0;
}

static int poke_bytes(pid_t tid, uint64_t addr, const uint8_t *buf, size_t len)
{
	while (len) {
		uint64_t word_addr = SUT_ALIGN_DOWN(addr, sizeof(long));
		size_t off = addr - word_addr, n = sizeof(long) - off;
		long word = 0;

		if (n > len)
			n = len;
		if (n < sizeof(long)) {
			errno = 0;
			word = ptrace(PTRACE_PEEKDATA, tid, word_addr, 0);
			if (errno)
				return -errno;
		}
		memcpy((char *)&word + off, buf, n);
		if (ptrace(PTRACE_POKEDATA, tid, word_addr, word))
			return -errno;
		addr += n;
		buf += n;
		len -= n;
	}
	return 0;
}

static int mem_write(struct sut_mem *mem, uint64_t addr, const void *buf, size_t len)
{
	struct suture_process *p = proc(mem);
	size_t done = 0;
	int err = 0;
	pid_t tid;

	while (done < len) {
		ssize_t n = pwrite(p->mem_fd, (const char *)buf + done, len - done, (off_t)(addr + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (!n) /* its memory is no more */
			return sut_process_same_program(p)
				       ? sut_fail(p->ctx, SUTURE_EFAILED, "/proc/%d/mem takes nothing", p->pid)
				       : sut_fail_gone(p);
		if (n < 0) {
			err = -errno;
			break;
		}
		done += (size_t)n;
	}
	if (done == len)
		return 0;
	tid = stopped_thread(p);
	if (tid)
		err = poke_bytes(tid, addr + done, (const uint8_t *)buf + done, len - done);
	if (!err)
		return 0;
	if (is_gone(p))
		return sut_fail_gone(p);
	sut_fail(p->ctx, SUTURE_EFAILED, "%zu bytes at %#llx of %s[%d] can not be written: %s", len,
		 (unsigned long long)addr, p->comm, p->pid, strerror(-err));
	if (!tid)
		sut_hint(p->ctx, "proc_mem.force_override may be restricted on this kernel's command line");
	return sut_fail_address(p->ctx, addr);
}

/* -- mappings --------------------------------------------------------------------------------- */

int sut_memory_maps(struct sut_mem *mem, struct sut_maps *ret)
{
	struct suture_process *p = proc(mem);
	char *text;
	size_t len;
	int err = sut_procfs_read(p->live_tid, 0, "maps", SUT_MAPS_MAX, &text, &len);

	if (err == -ENOENT || err == -ESRCH || (!err && !len)) {
		if (!err)
			free(text);
		return sut_fail_gone(p);
	}
	if (err == -ENOMEM)
		return sut_nomem(p->ctx);
	if (err)
		return sut_fail(p->ctx, err == -EACCES || err == -EPERM ? SUTURE_EACCESS : SUTURE_EFAILED,
				"mappings of %s[%d]: %s", p->comm, p->pid, strerror(-err));
	err = sut_maps_parse(p->ctx, text, ret);
	if (err)
		free(text);
	return err;
}

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)
#define PAGEMAP_FILE    (1ull << 61)

int sut_memory_private_pages(struct sut_mem *mem, uint64_t start, uint64_t end, bool *ret)
{
	struct suture_process *p = proc(mem);
	_cleanup_close_ int fd = -1;
	uint64_t page = mem->page_size, n = (end - start) / page;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", p->live_tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail_file(p, path, errno);
	for (uint64_t done = 0; done < n;) {
		uint64_t entry[512], want = n - done < 512 ? n - done : 512;
		ssize_t got = pread(fd, entry, want * 8, (off_t)((start / page + done) * 8));

		if (got < 8)
			return fail_file(p, path, got < 0 ? errno : 0);
		for (uint64_t i = 0; i < (uint64_t)got / 8; i++)
			ret[done + i] = (entry[i] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)) && !(entry[i] & PAGEMAP_FILE);
		done += (uint64_t)got / 8;
	}
	return 0;
}

int sut_memory_any_locked(struct sut_mem *mem, bool *ret)
{
	struct suture_process *p = proc(mem);

	/* In kB; what can not be read is taken for locked. */
	*ret = sut_procfs_status_num(p->pid, p->live_tid, "VmLck", 1) != 0;
	return 0;
}

int sut_memory_vm_flags(struct sut_mem *mem, uint64_t addr, char *ret, size_t cap)
{
	struct suture_process *p = proc(mem);
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *line = NULL;
	bool inside = false;
	size_t size = 0;
	ssize_t len;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/smaps", p->live_tid);
	f = fopen(path, "re");
	if (!f)
		return fail_file(p, path, errno);
	while ((len = getline(&line, &size, f)) > 0) {
		char *end;
		uint64_t start = strtoull(line, &end, 16);

		/* Only the first line of a mapping begins with a number; the others have a name and a colon. */
		if (*end == '-' && end != line) {
			inside = sut_in(start, strtoull(end + 1, NULL, 16), addr);
			continue;
		}
		if (!inside || strncmp(line, "VmFlags:", 8))
			continue;
		while (len && (line[len - 1] == '\n' || line[len - 1] == ' '))
			line[--len] = '\0';
		snprintf(ret, cap, "%s", line + 8 + strspn(line + 8, " "));
		return 0;
	}
	if (is_gone(p))
		return sut_fail_gone(p);
	sut_fail(p->ctx, SUTURE_EFAILED, "%s tells no flags of the mapping at %#llx", path, (unsigned long long)addr);
	return sut_fail_address(p->ctx, addr);
}

/* -- system calls ----------------------------------------------------------------------------- */

static int mem_syscall(struct sut_mem *mem, enum sut_sys sys, const uint64_t args[6], int64_t *ret)
{
	return sut_remote_syscall(proc(mem), sys, args, ret);
}

/* The path of a mapping as the target's own root shows it: ours may lie above. */
static const char *inside_root(struct suture_process *p, const char *name, char *buf, size_t cap)
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/root", p->live_tid);
	n = readlink(link, buf, cap - 1);
	if (n <= 1)
		return name;
	buf[n] = '\0';
	return !strncmp(name, buf, (size_t)n) && name[n] == '/' ? name + n : name;
}

/* Opens @path in the target: its descriptor, or a negative errno of the target in @ret. */
static int remote_open(struct sut_mem *mem, const char *path, int64_t *ret)
{
	uint64_t len = strlen(path) + 1, page = mem->page_size;
	uint64_t args[6] = { 0, SUT_ALIGN_UP(len, page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, ~0ull };
	uint64_t open_args[6] = { (uint64_t)AT_FDCWD, 0, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK };
	int64_t scratch, ignored;
	int err, err2;

	err = mem->ops->syscall(mem, SUT_SYS_MMAP, args, &scratch);
	if (err)
		return err;
	if (scratch < 0 && scratch > -4096) {
		*ret = scratch;
		return 0;
	}
	open_args[1] = (uint64_t)scratch;
	err = sut_mem_write(mem, (uint64_t)scratch, path, len);
	if (!err)
		err = mem->ops->syscall(mem, SUT_SYS_OPENAT, open_args, ret);
	args[0] = (uint64_t)scratch;
	err2 = mem->ops->syscall(mem, SUT_SYS_MUNMAP, args, &ignored);
	return err ? err : err2;
}

/* Whether descriptor @fd of the borrowed thread is the very file of a mapping. */
static bool same_file(struct suture_process *p, int64_t fd, const struct sut_map *map)
{
	struct stat theirs, mapped;
	char path[96];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/fd/%lld", p->pid, p->borrowed->tid, (long long)fd);
	if (stat(path, &theirs))
		return false;
	/* Both seen by stat: file systems exist that show another device in maps. */
	snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", p->live_tid, (unsigned long long)map->start,
		 (unsigned long long)map->end);
	if (!stat(path, &mapped))
		return theirs.st_dev == mapped.st_dev && theirs.st_ino == mapped.st_ino;
	return theirs.st_ino == map->inode && major(theirs.st_dev) == map->dev_major &&
	       minor(theirs.st_dev) == map->dev_minor;
}

static int mem_open_mapped(struct sut_mem *mem, const struct sut_map *map, int *ret)
{
	struct suture_process *p = proc(mem);
	char name[PATH_MAX], root[PATH_MAX];
	const char *path[3];
	static const char deleted[] = " (deleted)";
	size_t len = strlen(map->name);
	int64_t last = -ENOENT;

	if (len >= sizeof(name) || map->name[0] != '/')
		return sut_fail(p->ctx, SUTURE_EREFUSED, "the mapping at %#llx of %s[%d] has no file to open",
				(unsigned long long)map->start, p->comm, p->pid);
	memcpy(name, map->name, len + 1);
	if (len > sizeof(deleted) && !strcmp(name + len - (sizeof(deleted) - 1), deleted))
		name[len - (sizeof(deleted) - 1)] = '\0';
	path[0] = "/proc/self/exe";
	path[1] = inside_root(p, name, root, sizeof(root));
	path[2] = name;
	for (size_t i = 0; i < SUT_ARRAY_SIZE(path); i++) {
		struct sut_object *o = p->obj.n ? &p->obj.v[0] : NULL;
		int64_t fd = 0, ignored;
		int err;

		if (i == 0 && (!o || o->inode != map->inode))
			continue;
		if (i == 2 && path[1] == name)
			continue;
		err = remote_open(mem, path[i], &fd);
		if (err)
			return err;
		if (fd >= 0 && same_file(p, fd, map)) {
			*ret = (int)fd;
			return 0;
		}
		if (fd < 0) {
			last = fd;
			continue;
		}
		last = -ESTALE;
		err = mem->ops->syscall(mem, SUT_SYS_CLOSE, (const uint64_t[6]){ (uint64_t)fd }, &ignored);
		if (err)
			return err;
	}
	return sut_fail(p->ctx, SUTURE_EREFUSED, "%s, mapped at %#llx, can not be opened from inside %s[%d]: %s", name,
			(unsigned long long)map->start, p->comm, p->pid,
			last == -ESTALE ? "the path leads to another file now" : strerror((int)-last));
}

const struct sut_mem_ops sut_process_mem_ops = {
	.read = mem_read,
	.write = mem_write,
	.syscall = mem_syscall,
	.maps = sut_memory_maps,
	.private_pages = sut_memory_private_pages,
	.any_locked = sut_memory_any_locked,
	.vm_flags = sut_memory_vm_flags,
	.open_mapped = mem_open_mapped,
};
