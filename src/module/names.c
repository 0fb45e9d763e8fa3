/* SPDX-License-Identifier: MIT */
/*
 * names.c - the names of new functions in /tmp/perf-PID.map, where perf looks for them.
 *
 * The file lies in the target's own mount namespace and belongs to whoever could write there, so it is never
 * trusted: it is opened under the target's root without following any link, must be a regular file with one
 * name that belongs to root or to the target's user, and is taken back line by line. A file that somebody
 * else (a JIT compiler) also writes is never shortened: our lines in it turn into blanks. Whatever
 * fails is a debug line, nothing more: no patch depends on it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "module/priv.h"

#define MAP_MAX      (16u << 20) /* a longer file is left alone */
#define FUSE_MAGIC   0x65735546
#define NFS_MAGIC    0x6969
#define NAME_MAX_LEN 200

/** The innermost process id and the effective user of the target. */
static bool identity(struct suture_process *p, pid_t *ret_pid, uid_t *ret_uid)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], line[512];
	bool got_pid = false, got_uid = false;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", (int)p->pid, (int)p->live_tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		unsigned uid;
		char *last;

		if (sscanf(line, "Uid: %*u %u", &uid) == 1) {
			*ret_uid = uid;
			got_uid = true;
		}
		/* A thread's own number at "NSpid"; its process's at "NStgid". */
		last = strncmp(line, "NStgid:", 7) ? NULL : strrchr(line, '\t');
		if (last) {
			*ret_pid = (pid_t)strtol(last + 1, NULL, 10);
			got_pid = *ret_pid > 0;
		}
	}
	return got_pid && got_uid;
}

static int open_at(int root, const char *path, uint64_t flags, mode_t mode)
{
	struct open_how how = { .flags = flags | O_CLOEXEC | O_NOFOLLOW,
				.mode = flags & O_CREAT ? mode : 0,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };

	return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

/** Opens a file below @dir for reading and writing, after a look at it: no device or FIFO is ever opened. */
static int open_checked(int dir, const char *name, uid_t uid)
{
	_cleanup_close_ int look = open_at(dir, name, O_PATH, 0);
	char path[64];
	struct stat st;

	if (look < 0)
		return -1;
	if (fstat(look, &st) || !S_ISREG(st.st_mode) || st.st_nlink != 1 || (st.st_uid && st.st_uid != uid) ||
	    st.st_size > MAP_MAX) {
		errno = EPERM;
		return -1;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", look);
	return open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

/** Opens the map file; -1: not there, or not to be touched. */
static int open_map(struct suture_process *p, bool create, int *ret_dir, char name[64])
{
	_cleanup_close_ int root = -1;
	char path[64];
	struct statfs fs;
	uid_t uid = 0;
	pid_t pid = 0;
	int dir, fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/root", (int)p->pid, (int)p->live_tid);
	root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || !identity(p, &pid, &uid))
		return -1;
	dir = open_at(root, "tmp", O_PATH | O_DIRECTORY, 0);
	if (dir < 0)
		return -1;
	snprintf(name, 64, "perf-%d.map", (int)pid);
	/* A file system that another process serves could keep us waiting. */
	if (fstatfs(dir, &fs) || fs.f_type == FUSE_MAGIC || fs.f_type == NFS_MAGIC) {
		close(dir);
		return -1;
	}
	fd = open_checked(dir, name, uid);
	if (fd < 0 && errno == ENOENT && create)
		fd = open_at(dir, name, O_RDWR | O_CREAT | O_EXCL, 0644);
	if (fd < 0 || !ret_dir) {
		close(dir);
		return fd;
	}
	*ret_dir = dir;
	return fd;
}

static int add_line(struct sut_buf *b, const struct sut_module *m, const char *name, uint64_t addr, uint64_t size)
{
	char line[NAME_MAX_LEN + 160];
	int n = snprintf(line, sizeof(line), "%llx %llx %.*s [%s]\n", (unsigned long long)addr,
			 (unsigned long long)size, NAME_MAX_LEN, name, m->name);

	/* A name is one line, whatever the symbol table says. */
	for (int i = 0; i < n - 1; i++)
		if ((unsigned char)line[i] < ' ')
			line[i] = '?';
	return sut_buf_add(b, line, (size_t)n);
}

void sut_names_add(const struct sut_module *m)
{
	struct sut_buf text = { 0 };
	char name[64];
	int fd = open_map(m->p, true, NULL, name);

	for (size_t i = 1; fd >= 0 && i < m->sym.n; i++) {
		const struct sut_mod_symbol *s = &m->sym.v[i];

		if (s->type == STT_FUNC && s->addr && s->size && *s->name &&
		    add_line(&text, m, s->name, s->addr, s->size))
			break;
	}
	if (fd < 0 || !text.len)
		sut_debug(m->priv->ctx, "%s[%d]: no names for perf written", m->p->comm, (int)m->p->pid);
	else if (lseek(fd, 0, SEEK_END) < 0 || fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK) ||
		 write(fd, text.p, text.len) != (ssize_t)text.len)
		sut_debug(m->priv->ctx, "%s[%d]: %s: %s", m->p->comm, (int)m->p->pid, name, strerror(errno));
	sut_buf_free(&text);
	if (fd >= 0)
		close(fd);
}

/** Whether a line of the map is one of a record's. */
static bool is_ours(const char *line, const char *end, const struct sut_record *rec)
{
	char tail[80];
	uint64_t addr;
	char *after;
	int n = snprintf(tail, sizeof(tail), " [%.63s]", rec->name);

	addr = strtoull(line, &after, 16);
	if (after == line || after >= end || *after != ' ' || end - line < n || memcmp(end - n, tail, (size_t)n))
		return false;
	for (size_t i = 0; i < rec->n_areas && i < SUT_RECORD_AREAS; i++) {
		const struct sut_record_area *a = &rec->area[i];

		if (sut_in(a->base, a->base + a->ro_size + a->rx_size, addr))
			return true;
	}
	return false;
}

void sut_names_remove(struct suture_process *p, const struct sut_record *rec)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int dir = -1;
	bool others = false, ours = false;
	size_t len;
	char name[64];
	int fd = open_map(p, false, &dir, name);

	if (fd < 0 || sut_read_fd(fd, MAP_MAX, &text, &len)) {
		if (fd >= 0)
			close(fd);
		return;
	}
	for (char *line = text, *end; line < text + len; line = end + 1) {
		end = memchr(line, '\n', (size_t)(text + len - line));
		if (!end)
			end = text + len;
		if (is_ours(line, end, rec)) {
			/* In place and of the same length: a writer that appends loses nothing. */
			memset(line, ' ', (size_t)(end - line));
			if (pwrite(fd, line, (size_t)(end - line), line - text) != end - line)
				sut_debug(p->ctx, "%s[%d]: %s: %s", p->comm, (int)p->pid, name, strerror(errno));
			ours = true;
		} else {
			others |= strspn(line, " ") < (size_t)(end - line);
		}
	}
	if (ours && !others && unlinkat(dir, name, 0))
		sut_debug(p->ctx, "%s[%d]: %s: %s", p->comm, (int)p->pid, name, strerror(errno));
	close(fd);
}
