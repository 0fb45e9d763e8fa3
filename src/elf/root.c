/* SPDX-License-Identifier: MIT */
/*
 * root.c - opening untrusted paths, with openat2 and, where the kernel has none, step by step.
 *
 * The walk keeps an O_PATH descriptor for each directory it has entered, so that ".." is a step
 * back in that list and never a question to the file system: renames meanwhile do not
 * let it out. Calls nothing but the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "elf/root.h"
#include "util/util.h"

#define PROC_FS_MAGIC 0x9fa0
#define WALK_DEPTH    64 /* directories deep */
#define WALK_LINKS    40 /* symbolic links followed, as the kernel does */
#define READ_FLAGS    (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

/* Turns an O_PATH descriptor (consumed) into one for reading, if it is a regular file. */
static int reopen_regular(int path_fd)
{
	char link[40];
	struct stat st;
	int fd;

	if (fstat(path_fd, &st)) {
		fd = -errno;
	} else if (!S_ISREG(st.st_mode)) {
		fd = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	} else {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", path_fd);
		fd = open(link, READ_FLAGS);
		if (fd < 0)
			fd = -errno;
	}
	close(path_fd);
	return fd;
}

int sut_open_regular(const char *path)
{
	int fd = open(path, O_PATH | O_CLOEXEC);

	return fd < 0 ? -errno : reopen_regular(fd);
}

static int open_root(const char *root)
{
	int fd = open(*root ? root : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

struct walk {
	int dir[WALK_DEPTH]; /* dir[0] is the root */
	unsigned depth; /* entries in use */
	unsigned links;
	char rest[2 * PATH_MAX]; /* what is still to be walked */
};

static void walk_up(struct walk *w, unsigned to)
{
	while (w->depth > to)
		close(w->dir[--w->depth]);
}

/* Takes the next component off w->rest; false: nothing is left. */
static bool walk_component(struct walk *w, char name[NAME_MAX + 1], bool *ret_long)
{
	size_t skip = strspn(w->rest, "/");
	size_t len = strcspn(w->rest + skip, "/");

	*ret_long = len > NAME_MAX;
	if (!len || *ret_long)
		return false;
	memcpy(name, w->rest + skip, len);
	name[len] = '\0';
	memmove(w->rest, w->rest + skip + len, strlen(w->rest + skip + len) + 1);
	return true;
}

/* Puts the target of the symbolic link @fd in front of w->rest. */
static int walk_link(struct walk *w, int fd)
{
	char target[PATH_MAX], rest[2 * PATH_MAX];
	struct statfs fs;
	ssize_t n;

	if (++w->links > WALK_LINKS)
		return -ELOOP;
	if (!fstatfs(fd, &fs) && fs.f_type == PROC_FS_MAGIC)
		return -ELOOP; /* it may be a magic one; openat2 says the same */
	n = readlinkat(fd, "", target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = '\0';
	if ((size_t)snprintf(rest, sizeof(rest), "%s/%s", target, w->rest) >= sizeof(rest))
		return -ENAMETOOLONG;
	strcpy(w->rest, rest);
	if (target[0] == '/')
		walk_up(w, 1);
	return 0;
}

/* Goes one component further. Positive: the descriptor of what is not a directory and the path's end. */
static int walk_step(struct walk *w, const char *name)
{
	struct stat st;
	int fd, err;

	if (!strcmp(name, "."))
		return 0;
	if (!strcmp(name, "..")) {
		if (w->depth > 1)
			walk_up(w, w->depth - 1);
		return 0;
	}
	fd = openat(w->dir[w->depth - 1], name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st)) {
		err = -errno;
	} else if (S_ISLNK(st.st_mode)) {
		err = walk_link(w, fd);
	} else if (S_ISDIR(st.st_mode)) {
		if (w->depth < WALK_DEPTH) {
			w->dir[w->depth++] = fd;
			return 0;
		}
		err = -ENAMETOOLONG;
	} else if (w->rest[strspn(w->rest, "/")]) {
		err = -ENOTDIR;
	} else {
		return fd;
	}
	close(fd);
	return err;
}

int sut_open_in_root_walk(const char *root, const char *path)
{
	char name[NAME_MAX + 1];
	struct walk w = { 0 };
	bool too_long = false;
	int fd = 0;

	w.dir[0] = open_root(root);
	if (w.dir[0] < 0)
		return w.dir[0];
	w.depth = 1;
	if ((size_t)snprintf(w.rest, sizeof(w.rest), "%s", path) >= PATH_MAX)
		fd = -ENAMETOOLONG;
	while (!fd && walk_component(&w, name, &too_long))
		fd = walk_step(&w, name);
	if (too_long && fd == 0)
		fd = -ENAMETOOLONG;
	walk_up(&w, 0);
	if (!fd)
		return -EISDIR;
	return fd < 0 ? fd : reopen_regular(fd);
}

int sut_open_in_root(const char *root, const char *path)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	int root_fd = open_root(root), fd = -1, err = 0;

	if (root_fd < 0)
		return root_fd;
	/* EAGAIN: something was renamed meanwhile, and the kernel could not be sure. */
	for (unsigned tries = 0; tries < 16; tries++) {
		fd = (int)syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
		err = fd < 0 ? -errno : 0;
		if (err != -EAGAIN)
			break;
	}
	close(root_fd);
	if (err == -ENOSYS || err == -EPERM) /* EPERM: a seccomp filter that does not know the call */
		return sut_open_in_root_walk(root, path);
	return err ? err : reopen_regular(fd);
}
