/* SPDX-License-Identifier: MIT */
/*
 * text.c - applies hunks to a text, and keeps the numbers of its lines.
 *
 * Each line knows which line of the original it is. So, however many differences were applied, the
 * places are known at which the compiler's count is no longer the original's, and a
 * #line directive there sets it right: __LINE__ in unchanged code stays what it was, and
 * functions with an assert in them do not look changed.
 *
 * A directive may not stand inside of a comment, a macro's arguments (any parentheses), a continued
 * line. A small lexer tells; where it is wrong, the compiler complains, and the builder
 * tries again without directives. In a group that the preprocessor skips a directive is
 * skipped, too: so it is repeated after each #else, #elif and #endif until all groups are closed.
 */
#include <errno.h>

#include "diff/diff.h"

int sut_text_split(struct suture_ctx *ctx, const char *p, size_t len, struct sut_text *ret)
{
	const char *end = p + len;

	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		struct sut_text_line l = { p, nl ? (size_t)(nl - p) + 1 : (size_t)(end - p), 0 };

		l.orig = (unsigned)ret->line.n + 1;
		if (sut_vec_push(&ret->line, l)) {
			sut_vec_free(&ret->line);
			return sut_nomem(ctx);
		}
		p += l.len;
	}
	return 0;
}

/* Length without newline and CR. */
static size_t bare(const char *p, size_t len)
{
	if (len && p[len - 1] == '\n')
		len--;
	if (len && p[len - 1] == '\r')
		len--;
	return len;
}

static bool same_line(const struct sut_text_line *a, const struct sut_hunk_line *b)
{
	size_t n = bare(a->p, a->len);

	return n == bare(b->text, b->len) && !memcmp(a->p, b->text, n);
}

/* Whether the hunk's lines of side @skip's opposite stand at line @at. */
static bool fits(const struct sut_text *t, const struct sut_diff_file *f, const struct sut_hunk *h, size_t at,
		 char skip)
{
	for (size_t i = 0; i < h->n_lines; i++) {
		const struct sut_hunk_line *l = &f->line.v[h->first_line + i];

		if (l->op == skip)
			continue;
		if (at >= t->line.n || !same_line(&t->line.v[at++], l))
			return false;
	}
	return true;
}

/* The place nearest to @want, not before @min, where the hunk fits. */
static bool find_place(const struct sut_text *t, const struct sut_diff_file *f, const struct sut_hunk *h, size_t want,
		       size_t min, char skip, size_t *ret)
{
	for (size_t away = 0; away <= t->line.n + want; away++) {
		if (want + away <= t->line.n && want + away >= min && fits(t, f, h, want + away, skip)) {
			*ret = want + away;
			return true;
		}
		if (away && away <= want && want - away >= min && want - away <= t->line.n &&
		    fits(t, f, h, want - away, skip)) {
			*ret = want - away;
			return true;
		}
	}
	return false;
}

static int no_place(struct suture_ctx *ctx, const struct sut_text *t, const struct sut_diff_file *f, size_t i)
{
	const struct sut_hunk *h = &f->hunk.v[i];
	bool applied;
	size_t at;

	applied = find_place(t, f, h, h->new_start ? h->new_start - 1 : 0, 0, '-', &at);
	(void)sut_fail(ctx, SUTURE_EREFUSED, "%s: hunk %zu of %s (line %u) does not fit the source tree%s", f->diff,
		       i + 1, f->rel, h->old_start, applied ? ": it is applied already" : "");
	return sut_hint(ctx, "%s",
			applied ? "-s must name the source of the running program, without the fix"
				: "-s must name exactly the source that the target was built from");
}

static int replace(struct suture_ctx *ctx, struct sut_text *t, const struct sut_diff_file *f, const struct sut_hunk *h,
		   size_t at, size_t *ret_end)
{
	struct sut_text out = { 0 };
	size_t i, pos = at;

	if (sut_vec_reserve_((void **)&out.line.v, &out.line.cap, t->line.n + h->n_lines, sizeof(*out.line.v)))
		return sut_nomem(ctx);
	for (i = 0; i < at; i++)
		out.line.v[out.line.n++] = t->line.v[i];
	for (i = 0; i < h->n_lines; i++) {
		const struct sut_hunk_line *l = &f->line.v[h->first_line + i];

		if (l->op == '+')
			out.line.v[out.line.n++] = (struct sut_text_line){ l->text, l->len, 0 };
		else if (l->op == ' ')
			out.line.v[out.line.n++] = t->line.v[pos++];
		else
			pos++;
	}
	*ret_end = out.line.n;
	while (pos < t->line.n)
		out.line.v[out.line.n++] = t->line.v[pos++];
	sut_vec_free(&t->line);
	*t = out;
	return 0;
}

int sut_text_apply(struct suture_ctx *ctx, struct sut_text *t, const struct sut_diff_file *f)
{
	int64_t shift = 0; /* how far this file's hunks lie from where they say */
	size_t min = 0;

	for (size_t i = 0; i < f->hunk.n; i++) {
		const struct sut_hunk *h = &f->hunk.v[i];
		int64_t want = (int64_t)h->new_start - (h->new_len ? 1 : 0) + shift;
		size_t at;
		int err;

		if (want < 0)
			want = 0;
		if (!find_place(t, f, h, (size_t)want, min, '+', &at))
			return no_place(ctx, t, f, i);
		shift += (int64_t)at - want;
		err = replace(ctx, t, f, h, at, &min);
		if (err)
			return err;
	}
	return 0;
}

/* ---- writing ---- */

#define COND_MAX 64

/* What the preprocessor has seen so far. */
struct lexer {
	bool comment; /* inside a block comment */
	bool continued; /* the line before ended in a backslash */
	bool directive; /* ... and was a directive */
	int paren;
	int saved[COND_MAX]; /* paren at each #if, for its other branches */
	unsigned depth; /* of conditional groups */
	bool conditional; /* the line just read was #else, #elif or #endif */
};

static void read_conditional(struct lexer *x, const char *p, const char *end)
{
	size_t n = 0;

	for (p++; p < end && (*p == ' ' || *p == '\t'); p++)
		;
	while (p + n < end && p[n] >= 'a' && p[n] <= 'z')
		n++;
	if (n >= 2 && !memcmp(p, "if", 2)) { /* if, ifdef, ifndef */
		if (x->depth < COND_MAX)
			x->saved[x->depth] = x->paren;
		x->depth++;
	} else if (n >= 4 && !memcmp(p, "el", 2)) { /* else, elif, elifdef, elifndef */
		if (x->depth && x->depth <= COND_MAX)
			x->paren = x->saved[x->depth - 1];
		x->conditional = true;
	} else if (n == 5 && !memcmp(p, "endif", 5)) {
		if (x->depth)
			x->depth--;
		x->conditional = true;
	}
}

static const char *skip_literal(const char *p, const char *end)
{
	char quote = *p++;

	while (p < end && *p != quote && *p != '\n')
		p += *p == '\\' && p + 1 < end ? 2 : 1;
	return p < end ? p + 1 : end;
}

static void read_line(struct lexer *x, const char *p, size_t len)
{
	const char *end = p + bare(p, len), *s = p;

	x->conditional = false;
	if (!x->comment && !x->continued) {
		while (s < end && (*s == ' ' || *s == '\t'))
			s++;
		x->directive = s < end && *s == '#';
		if (x->directive)
			read_conditional(x, s, end);
		if (p < end && *p == '}') /* the end of a function: whatever was counted wrong is over */
			x->paren = 0;
	}
	for (s = p; s < end;) {
		if (x->comment) {
			if (s + 1 < end && s[0] == '*' && s[1] == '/') {
				x->comment = false;
				s++;
			}
			s++;
		} else if (s + 1 < end && s[0] == '/' && s[1] == '*') {
			x->comment = true;
			s += 2;
		} else if (s + 1 < end && s[0] == '/' && s[1] == '/') {
			break;
		} else if (*s == '"' || (*s == '\'' && !(s > p && s[-1] >= '0' && s[-1] <= '9'))) {
			s = skip_literal(s, end);
		} else {
			if (!x->directive)
				x->paren += *s == '(' ? 1 : *s == ')' ? -1 : 0;
			s++;
		}
	}
	if (x->paren < 0)
		x->paren = 0;
	x->continued = end > p && end[-1] == '\\';
}

static bool crlf(const struct sut_text *t)
{
	for (size_t i = 0; i < t->line.n; i++)
		if (t->line.v[i].orig)
			return t->line.v[i].len >= 2 && t->line.v[i].p[t->line.v[i].len - 2] == '\r';
	return false;
}

/* A line, with the line end of the file it comes into. */
static int add_line(struct sut_buf *b, const struct sut_text_line *l, bool cr)
{
	size_t n = bare(l->p, l->len);
	bool nl = l->len && l->p[l->len - 1] == '\n';

	if (l->orig)
		return sut_buf_add(b, l->p, l->len);
	if (sut_buf_add(b, l->p, n))
		return -ENOMEM;
	return nl ? sut_buf_add(b, cr ? "\r\n" : "\n", cr ? 2 : 1) : 0;
}

int sut_text_write(struct suture_ctx *ctx, const struct sut_text *t, bool number, struct sut_buf *ret)
{
	struct lexer x = { 0 };
	unsigned next = 1; /* what the compiler takes the next line's number for */
	bool doubt = false, force = false, cr = crlf(t);

	for (size_t i = 0; i < t->line.n; i++) {
		const struct sut_text_line *l = &t->line.v[i];

		if (number && l->orig && (l->orig != next || force) && !x.comment && !x.continued && !x.paren) {
			char directive[32];
			int n = snprintf(directive, sizeof(directive), "#line %u\n", l->orig);

			if (sut_buf_add(ret, directive, (size_t)n))
				return sut_nomem(ctx);
			next = l->orig;
			doubt = x.depth > 0;
			force = false;
		}
		if (add_line(ret, l, cr))
			return sut_nomem(ctx);
		read_line(&x, l->p, l->len);
		if (x.conditional && doubt)
			force = true;
		next++;
	}
	return 0;
}
