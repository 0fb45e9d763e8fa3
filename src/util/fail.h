/* SPDX-License-Identifier: MIT */
/*
 * fail.h - how the library reports: one last error per context, log lines to a callback.
 *
 * sut_fail() is used as `return sut_fail(ctx, SUTURE_EREFUSED, "...")`: it records the
 * text and returns the negated code. A function that passes a failure on does not call
 * it again, so the text of the deepest failure, which knows the path, is what is shown.
 */
#ifndef SUT_FAIL_H
#define SUT_FAIL_H

#include <suture/error.h>

#define __must_check     __attribute__((warn_unused_result))
#define sut_printf(f, a) __attribute__((format(printf, f, a)))

/** Records a failure in @ctx (hint and address cleared) and returns -@code (@code: positive errno or suture_code). */
int sut_fail(struct suture_ctx *ctx, int code, const char *fmt, ...) sut_printf(3, 4);
/** Adds a hint to the failure just recorded. Returns -code of it, so that it can end a return statement. */
int sut_hint(struct suture_ctx *ctx, const char *fmt, ...) sut_printf(2, 3);
/** Sets the address of the failure just recorded. Returns -code of it. */
int sut_fail_address(struct suture_ctx *ctx, uint64_t address);
/** The error of allocation; returns -ENOMEM. */
int sut_nomem(struct suture_ctx *ctx);

void sut_log(struct suture_ctx *ctx, enum suture_log_level level, const char *fmt, ...) sut_printf(3, 4);
#define sut_debug(ctx, ...) sut_log(ctx, SUTURE_LOG_DEBUG, __VA_ARGS__)
#define sut_info(ctx, ...)  sut_log(ctx, SUTURE_LOG_INFO, __VA_ARGS__)
#define sut_warn(ctx, ...)  sut_log(ctx, SUTURE_LOG_WARN, __VA_ARGS__)
void sut_progress(struct suture_ctx *ctx, const char *what, unsigned done, unsigned total);

#endif
