/* SPDX-License-Identifier: MIT */
/*
 * mirror.c - a second view of the source tree, in which files can be changed.
 *
 * A mirror is a scratch directory that is laid out as the file system is: below it the tree's directories
 * are real and its files are links to the true ones, so absolute paths need only a prefix and
 * relative ones, "../deps/x.h" out of a build directory too, lead where they always led. Files that the
 * difference touches are real, patched copies. The tree itself is only read.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "diff/diff.h"

#define MIRROR_MAX_FILES  400000u
#define MIRROR_MAX_BESIDE 4096u
#define SOURCE_MAX        (64u << 20)

struct mirror {
	struct sut_diff *d;
	const char *root; /* of the mirror */
	unsigned files;
};

static int cannot(struct mirror *m, const char *what, const char *path)
{
	return sut_fail(m->d->ctx, errno, "cannot %s %s: %s", what, path, strerror(errno));
}

static int make_dir(struct mirror *m, const char *path)
{
	struct stat st;

	if (!mkdir(path, 0700) || (errno == EEXIST && !lstat(path, &st) && S_ISDIR(st.st_mode)))
		return 0;
	return cannot(m, "make the directory", path);
}

static int make_link(struct mirror *m, const char *to, const char *at)
{
	if (!symlink(to, at) || errno == EEXIST)
		return 0;
	return cannot(m, "make the link", at);
}

/* A link of the tree: a relative one is kept as it is, an absolute one into the tree leads into the mirror. */
static int copy_link(struct mirror *m, const char *from, const char *to)
{
	char target[PATH_MAX];
	ssize_t n = readlink(from, target, sizeof(target) - 1);
	const char *below, *moved = target;

	if (n < 0)
		return 0;
	target[n] = '\0';
	below = target[0] == '/' ? sut_path_below(m->d->srcdir, target) : NULL;
	if (below) {
		moved = sut_pool_printf(&m->d->pool, "%s%s/%s", m->root, m->d->db.root, below);
		if (!moved)
			return sut_nomem(m->d->ctx);
	}
	return make_link(m, moved, to);
}

static int mirror_dir(struct mirror *m, const char *from, const char *to);

static int mirror_entry(struct mirror *m, const char *from, const char *to)
{
	struct stat st;

	if (lstat(from, &st))
		return 0;
	if (++m->files > MIRROR_MAX_FILES) {
		(void)sut_fail(m->d->ctx, SUTURE_EREFUSED, "%s: more than %u files to mirror", m->d->srcdir,
			       MIRROR_MAX_FILES);
		return sut_hint(m->d->ctx, "name the source tree itself with -s, not a directory above it");
	}
	if (S_ISDIR(st.st_mode))
		return mirror_dir(m, from, to);
	if (S_ISLNK(st.st_mode))
		return copy_link(m, from, to);
	return S_ISREG(st.st_mode) ? make_link(m, from, to) : 0;
}

static bool skipped(const struct mirror *m, const char *name, const char *path)
{
	if (!strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, ".git") || !strcmp(name, ".hg"))
		return true;
	return !strcmp(path, m->d->scratch) || !strcmp(path, m->root) || !strcmp(path, m->d->db.root);
}

static int mirror_dir(struct mirror *m, const char *from, const char *to)
{
	struct dirent *e;
	int err = make_dir(m, to);
	DIR *dir;

	if (err)
		return err;
	dir = opendir(from);
	if (!dir)
		return errno == EACCES || errno == ENOENT ? 0 : cannot(m, "read the directory", from);
	while (!err && (e = readdir(dir))) {
		char *f = sut_pool_printf(&m->d->pool, "%s/%s", from, e->d_name);
		char *t = sut_pool_printf(&m->d->pool, "%s/%s", to, e->d_name);

		if (!f || !t)
			err = sut_nomem(m->d->ctx);
		else if (!skipped(m, e->d_name, f))
			err = mirror_entry(m, f, t);
	}
	closedir(dir);
	return err;
}

/* Whether @path is, or lies above, a directory that is mirrored itself. */
static bool on_the_way(const struct mirror *m, const char *path)
{
	if (sut_path_below(path, m->d->db.root))
		return true;
	for (size_t i = 0; i < m->d->db.outer.n; i++)
		if (sut_path_below(path, m->d->db.outer.v[i]))
			return true;
	return false;
}

/* Links to what stands beside the way, for relative paths that climb out of the tree. */
static int link_beside(struct mirror *m, const char *real, const char *to)
{
	DIR *dir = opendir(real);
	struct dirent *e;
	unsigned n = 0;
	int err = 0;

	if (!dir)
		return 0;
	while (!err && (e = readdir(dir)) && n++ < MIRROR_MAX_BESIDE) {
		char *f = sut_pool_printf(&m->d->pool, "%s/%s", strcmp(real, "/") ? real : "", e->d_name);
		char *t = sut_pool_printf(&m->d->pool, "%s/%s", to, e->d_name);

		if (!f || !t)
			err = sut_nomem(m->d->ctx);
		else if (!skipped(m, e->d_name, f) && !on_the_way(m, f))
			err = make_link(m, f, t);
	}
	closedir(dir);
	return err;
}

/* The directories from the mirror's root down to @path, all real. */
static int make_way(struct mirror *m, const char *path)
{
	int err = link_beside(m, "/", m->root);

	for (const char *p = strchr(path + 1, '/'); !err && p; p = strchr(p + 1, '/')) {
		char *real = sut_pool_strndup(&m->d->pool, path, (size_t)(p - path));
		char *to = real ? sut_pool_printf(&m->d->pool, "%s%s", m->root, real) : NULL;

		if (!to)
			return sut_nomem(m->d->ctx);
		err = make_dir(m, to);
		if (!err)
			err = link_beside(m, real, to);
	}
	return err;
}

/* ---- patched files ---- */

static int read_source(struct mirror *m, const char *path, char **ret, size_t *ret_len)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	int err = fd < 0 ? -errno : sut_read_fd(fd, SOURCE_MAX, ret, ret_len);

	if (err)
		return sut_fail(m->d->ctx, -err, "cannot read %s: %s", path, strerror(-err));
	if (sut_vec_push(&m->d->pool.block, (void *)*ret)) {
		free(*ret);
		return sut_nomem(m->d->ctx);
	}
	return 0;
}

static int write_file(struct mirror *m, const char *path, const struct sut_buf *b)
{
	_cleanup_close_ int fd = -1;
	size_t done = 0;

	(void)unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return cannot(m, "create", path);
	while (done < b->len) {
		ssize_t n = write(fd, b->p + done, b->len - done);

		if (n < 0 && errno != EINTR)
			return cannot(m, "write", path);
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* All hunks of all differences for the file of index @i, applied in their order. */
static int patch_file(struct mirror *m, size_t i, bool number)
{
	struct sut_diff *d = m->d;
	const char *rel = d->file.v[i].rel, *new_rel = rel;
	const char *from = sut_pool_printf(&d->pool, "%s/%s", d->srcdir, rel);
	struct sut_text t = { 0 };
	struct sut_buf b = { 0 };
	bool gone = false;
	char *text, *at;
	size_t len;
	int err = 0;

	if (!from)
		return sut_nomem(d->ctx);
	if (!d->file.v[i].is_new) {
		err = read_source(m, from, &text, &len);
		if (!err)
			err = sut_text_split(d->ctx, text, len, &t);
	}
	for (size_t k = i; !err && k < d->file.n; k++) {
		const struct sut_diff_file *f = &d->file.v[k];

		if (!f->rel || strcmp(f->rel, rel))
			continue;
		err = sut_text_apply(d->ctx, &t, f);
		gone = f->is_deleted;
		if (f->new_rel)
			new_rel = f->new_rel;
	}
	if (!err)
		err = sut_text_write(d->ctx, &t, number, &b);
	at = sut_pool_printf(&d->pool, "%s%s/%s", m->root, d->db.root, new_rel);
	if (!err && !at)
		err = sut_nomem(d->ctx);
	for (char *p = at; !err && p && (p = strchr(p + 1, '/')) != NULL;) {
		*p = '\0'; /* a new file may need new directories */
		if (access(at, F_OK))
			err = make_dir(m, at);
		*p = '/';
	}
	if (!err && gone)
		(void)unlink(at);
	else if (!err)
		err = write_file(m, at, &b);
	sut_vec_free(&t.line);
	sut_buf_free(&b);
	return err;
}

static int patch_files(struct mirror *m, bool number)
{
	for (size_t i = 0; i < m->d->file.n; i++) {
		const struct sut_diff_file *f = &m->d->file.v[i];
		bool before = false;
		int err;

		if (!f->rel || f->binary || (!f->relevant && !f->is_new))
			continue;
		for (size_t k = 0; k < i; k++)
			before = before || (m->d->file.v[k].rel && !strcmp(m->d->file.v[k].rel, f->rel));
		if (before)
			continue;
		err = patch_file(m, i, number);
		if (err)
			return err;
	}
	return 0;
}

int sut_mirror_make(struct sut_diff *d, const char *name, bool patched, bool number, const char **ret)
{
	struct mirror m = { .d = d };
	char *to;
	int err;

	m.root = sut_pool_printf(&d->pool, "%s/%s", d->scratch, name);
	to = m.root ? sut_pool_printf(&d->pool, "%s%s", m.root, d->db.root) : NULL;
	if (!to)
		return sut_nomem(d->ctx);
	err = make_dir(&m, m.root);
	if (!err)
		err = make_way(&m, d->db.root);
	if (!err)
		err = mirror_dir(&m, d->srcdir, to);
	for (size_t i = 0; !err && i < d->db.outer.n; i++) {
		to = sut_pool_printf(&d->pool, "%s%s", m.root, d->db.outer.v[i]);
		if (!to)
			return sut_nomem(d->ctx);
		err = make_way(&m, d->db.outer.v[i]);
		if (!err)
			err = mirror_dir(&m, d->db.outer.v[i], to);
	}
	if (!err && patched)
		err = patch_files(&m, number);
	if (!err)
		*ret = m.root;
	return err;
}
