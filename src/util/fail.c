/* SPDX-License-Identifier: MIT */
/*
 * fail.c - contexts, the last error, log and progress callbacks.
 *
 * Invariant: err.message is never NULL. Messages are kept in fixed buffers, so that
 * reporting a failure can not fail. Calls nothing but libc string functions.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/fail.h"

struct suture_ctx {
	struct suture_ctx_opts opts;
	struct suture_error err;
	char message[1024];
	char hint[512];
};

int suture_ctx_create(const struct suture_ctx_opts *opts, struct suture_ctx **ret)
{
	struct suture_ctx *ctx = calloc(1, sizeof(*ctx));

	if (!ctx)
		return -ENOMEM;
	if (opts)
		memcpy(&ctx->opts, opts, opts->sz < sizeof(ctx->opts) ? opts->sz : sizeof(ctx->opts));
	ctx->err.message = ctx->message;
	*ret = ctx;
	return 0;
}

void suture_ctx_destroy(struct suture_ctx *ctx)
{
	free(ctx);
}

const struct suture_error *suture_ctx_error(const struct suture_ctx *ctx)
{
	return &ctx->err;
}

int sut_fail(struct suture_ctx *ctx, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(ctx->message, sizeof(ctx->message), fmt, ap);
	va_end(ap);
	ctx->err.code = code;
	ctx->err.hint = NULL;
	ctx->err.address = 0;
	return -code;
}

int sut_hint(struct suture_ctx *ctx, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(ctx->hint, sizeof(ctx->hint), fmt, ap);
	va_end(ap);
	ctx->err.hint = ctx->hint;
	return -ctx->err.code;
}

int sut_fail_address(struct suture_ctx *ctx, uint64_t address)
{
	ctx->err.address = address;
	return -ctx->err.code;
}

int sut_nomem(struct suture_ctx *ctx)
{
	return sut_fail(ctx, ENOMEM, "out of memory");
}

void sut_log(struct suture_ctx *ctx, enum suture_log_level level, const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	if (!ctx->opts.log)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	ctx->opts.log(ctx->opts.arg, level, line);
}

void sut_progress(struct suture_ctx *ctx, const char *what, unsigned done, unsigned total)
{
	if (ctx->opts.progress)
		ctx->opts.progress(ctx->opts.arg, what, done, total);
}

/* One row per code: its name in --json and its exit status (docs: suture(1), EXIT STATUS). */
static const struct {
	int code;
	int status;
	const char *name;
} codes[] = {
	{ SUTURE_EFAILED, 1, "failed" },
	{ SUTURE_EBUSY, 1, "busy" },
	{ SUTURE_ETIMEOUT, 1, "timeout" },
	{ SUTURE_EGONE, 1, "gone" },
	{ SUTURE_ECOMPILE, 1, "compile" },
	{ SUTURE_EUSAGE, 2, "usage" },
	{ SUTURE_ENOTHING, 3, "nothing" },
	{ SUTURE_EREFUSED, 4, "refused" },
	{ SUTURE_EINCOMPLETE, 5, "incomplete" },
	{ SUTURE_EACCESS, 6, "access" },
	{ SUTURE_ENOTFOUND, 7, "not-found" },
	{ SUTURE_EDAMAGED, 8, "damaged" },
	{ SUTURE_EBUG, 70, "bug" },
	{ EACCES, 6, "access" },
	{ EPERM, 6, "access" },
	{ ESRCH, 7, "not-found" },
};

int suture_exit_status(int err)
{
	if (!err)
		return 0;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].code == -err)
			return codes[i].status;
	return 1;
}

const char *suture_code_name(int err)
{
	if (!err)
		return "ok";
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].code == -err)
			return codes[i].name;
	return "failed";
}
