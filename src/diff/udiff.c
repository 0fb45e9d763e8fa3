/* SPDX-License-Identifier: MIT */
/*
 * udiff.c - reads unified differences and finds their files below the source tree.
 *
 * Understood: diff -u in all its dialects, git's extended headers (new, deleted, renamed, binary),
 * CRLF, "\ No newline at end of file". How many leading directories of a path to ignore is
 * not asked for: of all levels the one is taken at which most of a difference's files exist. A path
 * can never lead out of the tree.
 * Only reads; text.c applies.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "diff/diff.h"

#define DIFF_MAX (64u << 20)

struct reader {
	struct sut_diff *d;
	const char *path; /* of the diff */
	const char *p, *end;
	unsigned line;
	size_t first; /* of this diff's files */
	struct sut_diff_file *cur; /* being read, or NULL */
};

static int bad(struct reader *r, const char *what)
{
	(void)sut_fail(r->d->ctx, SUTURE_EREFUSED, "%s:%u: %s", r->path, r->line, what);
	return sut_hint(r->d->ctx, "it should be a unified difference, as diff -u and git diff write it");
}

/* The next line without its newline (and without CR); false at the end. @ret_raw: with them. */
static bool next_line(struct reader *r, const char **ret, size_t *ret_len, size_t *ret_raw)
{
	const char *nl;

	if (r->p >= r->end)
		return false;
	nl = memchr(r->p, '\n', (size_t)(r->end - r->p));
	*ret = r->p;
	*ret_len = nl ? (size_t)(nl - r->p) : (size_t)(r->end - r->p);
	*ret_raw = *ret_len + !!nl;
	r->p += *ret_raw;
	r->line++;
	if (*ret_len && (*ret)[*ret_len - 1] == '\r')
		--*ret_len;
	return true;
}

static bool starts(const char *s, size_t len, const char *prefix)
{
	size_t n = strlen(prefix);

	return len >= n && !memcmp(s, prefix, n);
}

/* A path as diff (up to a tab) or git ("quoted" with backslashes) writes it; NULL for /dev/null. */
static int read_path(struct reader *r, const char *s, size_t len, const char **ret)
{
	char *out = sut_pool_alloc(&r->d->pool, len + 1);
	size_t n = 0;

	if (!out)
		return sut_nomem(r->d->ctx);
	if (len && *s == '"') {
		for (size_t i = 1; i < len && s[i] != '"'; i++) {
			if (s[i] == '\\' && i + 3 < len && s[i + 1] >= '0' && s[i + 1] <= '3') {
				out[n++] = (char)((s[i + 1] - '0') << 6 | (s[i + 2] - '0') << 3 | (s[i + 3] - '0'));
				i += 3;
			} else if (s[i] == '\\' && i + 1 < len) {
				i++;
				out[n++] = s[i] == 't' ? '\t' : s[i] == 'n' ? '\n' : s[i];
			} else {
				out[n++] = s[i];
			}
		}
	} else {
		while (n < len && s[n] != '\t')
			n++;
		memcpy(out, s, n);
		while (n && out[n - 1] == ' ')
			n--;
	}
	out[n] = '\0';
	*ret = strcmp(out, "/dev/null") ? out : NULL;
	return 0;
}

static int new_file(struct reader *r)
{
	struct sut_diff_file f = { .diff = r->path };

	if (sut_vec_push(&r->d->file, f))
		return sut_nomem(r->d->ctx);
	r->cur = &r->d->file.v[r->d->file.n - 1];
	return 0;
}

static bool number(const char **s, const char *end, unsigned *ret)
{
	unsigned v = 0;
	const char *p = *s;

	while (p < end && *p >= '0' && *p <= '9' && v < 100000000)
		v = v * 10 + (unsigned)(*p++ - '0');
	if (p == *s)
		return false;
	*s = p;
	*ret = v;
	return true;
}

static bool range(const char **s, const char *end, char sign, unsigned *ret_start, unsigned *ret_len)
{
	if (*s >= end || *(*s)++ != sign || !number(s, end, ret_start))
		return false;
	*ret_len = 1;
	if (*s < end && **s == ',') {
		++*s;
		return number(s, end, ret_len);
	}
	return true;
}

static int read_hunk(struct reader *r, const char *s, size_t len)
{
	struct sut_hunk h = { .first_line = r->cur->line.n };
	const char *end = s + len, *text;
	unsigned old = 0, new = 0;
	size_t n, raw;

	s += 3;
	if (!range(&s, end, '-', &h.old_start, &h.old_len) || s >= end || *s++ != ' ' ||
	    !range(&s, end, '+', &h.new_start, &h.new_len))
		return bad(r, "a damaged hunk header");
	while (old < h.old_len || new < h.new_len) {
		struct sut_hunk_line l;

		if (!next_line(r, &text, &n, &raw))
			return bad(r, "the difference ends inside of a hunk");
		if (raw && text[0] == '\\') {
			if (r->cur->line.n > h.first_line)
				r->cur->line.v[r->cur->line.n - 1].len -= 1;
			continue;
		}
		/* Mail programs strip the blank of empty context lines. */
		l.op = n ? text[0] : ' ';
		l.text = n ? text + 1 : text;
		l.len = n ? raw - 1 : raw;
		if (!strchr(" +-", l.op))
			return bad(r, "a hunk line that begins with neither blank, + nor -");
		old += l.op != '+';
		new += l.op != '-';
		if (sut_vec_push(&r->cur->line, l))
			return sut_nomem(r->d->ctx);
	}
	if (r->p < r->end && *r->p == '\\') {
		(void)next_line(r, &text, &n, &raw);
		if (r->cur->line.n > h.first_line)
			r->cur->line.v[r->cur->line.n - 1].len -= 1;
	}
	h.n_lines = r->cur->line.n - h.first_line;
	return sut_vec_push(&r->cur->hunk, h) ? sut_nomem(r->d->ctx) : 0;
}

/* git's extended headers */
static int read_git(struct reader *r, const char *s, size_t len)
{
	if (starts(s, len, "new file mode"))
		r->cur->is_new = true;
	else if (starts(s, len, "deleted file mode"))
		r->cur->is_deleted = true;
	else if (starts(s, len, "rename from "))
		return read_path(r, s + 12, len - 12, &r->cur->old_path);
	else if (starts(s, len, "rename to "))
		return read_path(r, s + 10, len - 10, &r->cur->new_path);
	else if (starts(s, len, "copy from ") || starts(s, len, "copy to "))
		return bad(r, "copied files are not understood; make the difference with git diff --no-renames");
	else if (starts(s, len, "GIT binary patch") || starts(s, len, "Binary files "))
		r->cur->binary = true;
	return 0;
}

static int read_one(struct reader *r)
{
	const char *s, *t;
	size_t len, raw, tlen;
	bool git = false;
	int err = 0;

	while (!err && next_line(r, &s, &len, &raw)) {
		if (starts(s, len, "diff --git ")) {
			err = new_file(r);
			git = true;
		} else if (starts(s, len, "--- ") && r->p < r->end && starts(r->p, (size_t)(r->end - r->p), "+++ ")) {
			if (!git)
				err = new_file(r);
			git = false;
			if (!err)
				err = read_path(r, s + 4, len - 4, &r->cur->old_path);
			(void)next_line(r, &t, &tlen, &raw);
			if (!err)
				err = read_path(r, t + 4, tlen - 4, &r->cur->new_path);
			if (!err && !r->cur->old_path)
				r->cur->is_new = true;
			if (!err && !r->cur->new_path)
				r->cur->is_deleted = true;
		} else if (starts(s, len, "@@ -") && r->cur) {
			git = false;
			err = read_hunk(r, s, len);
		} else if (git) {
			err = read_git(r, s, len);
		}
	}
	return err;
}

/* ---- where the files are ---- */

/* @path without its first @k directories; NULL: it has not that many. */
static const char *strip(const char *path, unsigned k)
{
	while (*path == '/')
		path++;
	for (; k; k--) {
		path = strchr(path, '/');
		if (!path)
			return NULL;
		while (*path == '/')
			path++;
	}
	return *path ? path : NULL;
}

static bool climbs(const char *path)
{
	for (const char *p = path; (p = strstr(p, "..")); p += 2)
		if ((p == path || p[-1] == '/') && (!p[2] || p[2] == '/'))
			return true;
	return false;
}

static bool exists(struct sut_diff *d, const char *rel)
{
	const char *full = rel ? sut_pool_printf(&d->pool, "%s/%s", d->srcdir, rel) : NULL;
	struct stat st;

	return full && !stat(full, &st) && S_ISREG(st.st_mode);
}

/* Made by a difference before this one (or before in this one). */
static bool made_before(const struct reader *r, size_t i, const char *rel)
{
	for (size_t k = 0; rel && k < i; k++)
		if (r->d->file.v[k].is_new && r->d->file.v[k].rel && !strcmp(r->d->file.v[k].rel, rel))
			return true;
	return false;
}

static unsigned strip_level(const struct reader *r)
{
	unsigned best = 0;
	size_t best_n = 0;

	for (unsigned k = 0; k < 16; k++) {
		size_t n = 0;

		for (size_t i = r->first; i < r->d->file.n; i++) {
			const struct sut_diff_file *f = &r->d->file.v[i];
			const char *o = f->old_path ? strip(f->old_path, k) : NULL;
			const char *w = f->new_path ? strip(f->new_path, k) : NULL;

			n += exists(r->d, o) || exists(r->d, w) || made_before(r, r->first, w);
		}
		if (n > best_n) {
			best = k;
			best_n = n;
		}
	}
	return best;
}

static int climbing(struct reader *r, const char *path)
{
	(void)sut_fail(r->d->ctx, SUTURE_EREFUSED, "%s: the path %s leads out of the tree", r->path, path);
	return sut_hint(r->d->ctx, "make the difference from inside of the tree");
}

static int locate(struct reader *r)
{
	unsigned k = strip_level(r);

	for (size_t i = r->first; i < r->d->file.n; i++) {
		struct sut_diff_file *f = &r->d->file.v[i];
		const char *o = f->old_path ? strip(f->old_path, k) : NULL;
		const char *w = f->new_path ? strip(f->new_path, k) : NULL;
		const struct sut_hunk *h = f->hunk.n == 1 ? f->hunk.v : NULL;

		if ((o && climbs(o)) || (w && climbs(w)))
			return climbing(r, o ? o : w);
		if (h && !h->old_start && !h->old_len && !exists(r->d, o) && !exists(r->d, w))
			f->is_new = true;
		if (h && !h->new_start && !h->new_len)
			f->is_deleted = true;
		if (f->is_new)
			f->rel = w ? w : o;
		else if (exists(r->d, o) || made_before(r, i, o))
			f->rel = o;
		else if (exists(r->d, w) || made_before(r, i, w))
			f->rel = w;
		if (f->rel && o && w && f->rel == o && strcmp(o, w) && !exists(r->d, w) && !f->hunk.n)
			f->new_rel = w;
	}
	return 0;
}

int sut_udiff_read(struct sut_diff *d)
{
	for (const char *const *p = d->opts->diff; p && *p; p++) {
		struct reader r = { .d = d, .path = *p, .first = d->file.n };
		_cleanup_close_ int fd = open(*p, O_RDONLY | O_CLOEXEC);
		char *text;
		size_t len;
		int err;

		if (fd < 0)
			return sut_fail(d->ctx, errno == ENOENT ? SUTURE_ENOTFOUND : errno, "cannot open %s: %s", *p,
					strerror(errno));
		err = sut_read_fd(fd, DIFF_MAX, &text, &len);
		if (err)
			return sut_fail(d->ctx, -err, "cannot read %s: %s", *p, strerror(-err));
		if (sut_vec_push(&d->pool.block, (void *)text)) {
			free(text);
			return sut_nomem(d->ctx);
		}
		r.p = text;
		r.end = text + len;
		err = read_one(&r);
		if (!err && d->file.n == r.first)
			err = bad(&r, "it holds no difference");
		if (!err)
			err = locate(&r);
		if (err)
			return err;
	}
	return 0;
}
