/* SPDX-License-Identifier: MIT */
/*
 * pool.c - heap blocks that live until the build ends, and notes for the report.
 *
 * A build is short and its objects point at each other in every direction; freeing them one by one
 * would say nothing. Everything that is not a vector or an open file comes from here.
 */
#include <errno.h>
#include <stdarg.h>

#include "diff/diff.h"

void *sut_pool_alloc(struct sut_pool *pool, size_t size)
{
	void *p = calloc(1, size ? size : 1);

	if (p && sut_vec_push(&pool->block, p)) {
		free(p);
		return NULL;
	}
	return p;
}

char *sut_pool_strndup(struct sut_pool *pool, const char *s, size_t n)
{
	char *p = sut_pool_alloc(pool, n + 1);

	return p ? memcpy(p, s, n) : NULL;
}

char *sut_pool_printf(struct sut_pool *pool, const char *fmt, ...)
{
	char *p = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&p, fmt, ap);
	va_end(ap);
	if (n < 0)
		return NULL;
	if (sut_vec_push(&pool->block, (void *)p)) {
		free(p);
		return NULL;
	}
	return p;
}

void sut_pool_free(struct sut_pool *pool)
{
	for (size_t i = 0; i < pool->block.n; i++)
		free(pool->block.v[i]);
	sut_vec_free(&pool->block);
}

int sut_refuse(struct suture_ctx *ctx, const char *hint, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)sut_fail(ctx, SUTURE_EREFUSED, "%s", text);
	return sut_hint(ctx, "%s", hint);
}

int sut_diff_note(struct sut_diff *d, const char *fmt, ...)
{
	char *p = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&p, fmt, ap);
	va_end(ap);
	if (n < 0)
		return sut_nomem(d->ctx);
	for (size_t i = 0; i < d->report->note.n; i++) {
		if (!strcmp(d->report->note.v[i], p)) {
			free(p);
			return 0;
		}
	}
	if (sut_vec_push(&d->report->note, p)) {
		free(p);
		return sut_nomem(d->ctx);
	}
	return 0;
}

void sut_build_report_free(struct sut_build_report *r)
{
	for (size_t i = 0; i < r->item.n; i++) {
		free(r->item.v[i].object);
		free(r->item.v[i].unit);
		free(r->item.v[i].name);
		free(r->item.v[i].text);
	}
	for (size_t i = 0; i < r->note.n; i++)
		free(r->note.v[i]);
	sut_vec_free(&r->item);
	sut_vec_free(&r->note);
}
