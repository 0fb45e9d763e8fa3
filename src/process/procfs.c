/* SPDX-License-Identifier: MIT */
/*
 * procfs.c - reading the files of /proc/PID.
 *
 * Everything in them that the target chooses (its name) is data, never a format. Files of one
 * thread are read through /proc/PID/task/TID, those of the process through /proc/PID. Records no
 * failures: the callers know what a missing file means.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/utsname.h>

#include "process/internal.h"

int sut_procfs_read(pid_t pid, pid_t tid, const char *name, size_t max, char **ret, size_t *ret_len)
{
	_cleanup_close_ int fd = -1;
	char path[96];

	if (tid)
		snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, tid, name);
	else
		snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	return sut_read_fd(fd, max, ret, ret_len);
}

/* The n-th (3..) field of a stat line, counted from the state that follows the name's last bracket. */
static uint64_t stat_field(const char *state, unsigned n)
{
	const char *s = state;

	for (unsigned i = 3; s && i < n; i++) {
		s = strchr(s, ' ');
		if (s)
			s++;
	}
	return s ? strtoull(s, NULL, 10) : 0;
}

int sut_procfs_stat(pid_t pid, pid_t tid, struct sut_stat *ret)
{
	_cleanup_free_ char *text = NULL;
	const char *s;
	int err = sut_procfs_read(pid, tid, "stat", 4096, &text, NULL);

	if (err)
		return err;
	s = strrchr(text, ')');
	if (!s || s[1] != ' ' || !s[2])
		return -EINVAL;
	s += 2;
	ret->state = *s;
	ret->ppid = (pid_t)stat_field(s, 4);
	ret->flags = (unsigned)stat_field(s, 9);
	ret->start_time = stat_field(s, 22);
	ret->start_stack = stat_field(s, 28);
	ret->start_brk = stat_field(s, 47);
	return 0;
}

/* linux/sched.h. The bits meant other things in earlier kernels, which had no such threads. */
#define PF_IO_WORKER   0x10 /* 5.12 */
#define PF_USER_WORKER 0x4000 /* 6.4 */

static unsigned worker_flags(void)
{
	unsigned major = 0, minor = 0;
	struct utsname u;

	if (uname(&u) || sscanf(u.release, "%u.%u", &major, &minor) != 2)
		return 0;
	return (major > 5 || (major == 5 && minor >= 12) ? PF_IO_WORKER : 0) |
	       (major > 6 || (major == 6 && minor >= 4) ? PF_USER_WORKER : 0);
}

bool sut_procfs_is_worker(pid_t pid, pid_t tid, const struct sut_stat *st)
{
	static const char nowhere[] = " 0x0 0x0";
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (!(st->flags & (PF_IO_WORKER | PF_USER_WORKER)) || !(st->flags & worker_flags()))
		return false;
	/* Where it sleeps, the kernel also shows that it has no place in the program: stack pointer and pc are 0. */
	if (sut_procfs_read(pid, tid, "syscall", 4096, &text, NULL) || !strncmp(text, "running", 7))
		return true;
	len = strcspn(text, "\n");
	return len >= sizeof(nowhere) - 1 && !memcmp(text + len - (sizeof(nowhere) - 1), nowhere, sizeof(nowhere) - 1);
}

int sut_procfs_status(pid_t pid, pid_t tid, const char *name, char *ret, size_t cap)
{
	_cleanup_free_ char *text = NULL;
	size_t len = strlen(name);
	int err = sut_procfs_read(pid, tid, "status", 65536, &text, NULL);

	if (err)
		return err;
	/* The first line is "Name:"; a newline in a name is shown escaped, so every line is the kernel's. */
	for (char *line = text; line; line = strchr(line, '\n')) {
		char *end;

		line += *line == '\n';
		if (strncmp(line, name, len) || line[len] != ':')
			continue;
		line += len + 1;
		line += strspn(line, " \t");
		end = strchrnul(line, '\n');
		snprintf(ret, cap, "%.*s", (int)(end - line), line);
		return 0;
	}
	return -ENOENT;
}

long sut_procfs_status_num(pid_t pid, pid_t tid, const char *name, long dflt)
{
	char buf[64];

	return sut_procfs_status(pid, tid, name, buf, sizeof(buf)) ? dflt : strtol(buf, NULL, 10);
}

void sut_procfs_comm(pid_t pid, char ret[16])
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;

	snprintf(ret, 16, "?");
	if (sut_procfs_read(pid, 0, "comm", 64, &text, &len))
		return;
	while (len && text[len - 1] == '\n')
		text[--len] = '\0';
	snprintf(ret, 16, "%.15s", text);
}

int sut_procfs_tids(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;
	struct dirent *e;
	char path[64];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", p->pid);
	pr->tids.n = 0;
	d = opendir(path);
	if (!d)
		return -errno;
	while ((e = readdir(d))) {
		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		if (sut_vec_push(&pr->tids, (pid_t)atoi(e->d_name))) {
			closedir(d);
			return -ENOMEM;
		}
	}
	closedir(d);
	return pr->tids.n ? 0 : -ESRCH;
}

size_t sut_procfs_fill(pid_t pid, const char *name, char *buf, size_t cap)
{
	size_t len = 0;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && len < cap) {
		ssize_t n = read(fd, buf + len, cap - len);

		if (n <= 0)
			break;
		len += (size_t)n;
	}
	if (fd >= 0)
		close(fd);
	return len;
}

static uint64_t number(const char **s, const char *end, unsigned base)
{
	uint64_t v = 0;

	for (; *s < end; ++*s) {
		char c = **s;
		unsigned d = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
			     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
						    : 16;

		if (d >= base)
			break;
		v = v * base + d;
	}
	/* Over the separator. */
	if (*s < end && **s != '\n')
		++*s;
	return v;
}

/* start-end perms offset major:minor inode name */
bool sut_maps_line_next(const char **at, const char *end, struct sut_maps_line *ret)
{
	const char *s = *at;

	if (s >= end)
		return false;
	ret->start = number(&s, end, 16);
	ret->end = number(&s, end, 16);
	if (end - s < 5)
		return false;
	ret->write = s[1] == 'w';
	ret->exec = s[2] == 'x';
	ret->shared = s[3] == 's';
	s += 5;
	number(&s, end, 16);
	ret->dev_major = (unsigned)number(&s, end, 16);
	ret->dev_minor = (unsigned)number(&s, end, 16);
	ret->inode = number(&s, end, 10);
	while (s < end && *s == ' ')
		s++;
	ret->name = s;
	while (s < end && *s != '\n')
		s++;
	ret->name_len = (size_t)(s - ret->name);
	*at = s + (s < end);
	return true;
}
