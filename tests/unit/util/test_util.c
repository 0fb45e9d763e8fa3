/* SPDX-License-Identifier: MIT */
/* test_util.c - errors, vectors, buffers and ranges do what the other rooms rely on. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "util/fail.h"
#include "util/util.h"

static void count_line(void *arg, enum suture_log_level level, const char *line)
{
	(void)level;
	if (!strcmp(line, "one 1"))
		++*(int *)arg;
}

static void test_last_error(void **state)
{
	struct suture_ctx *ctx;

	assert_int_equal(suture_ctx_create(NULL, &ctx), 0);
	assert_int_equal(suture_ctx_error(ctx)->code, 0);
	assert_int_equal(sut_fail(ctx, SUTURE_EREFUSED, "no %s", "way"), -SUTURE_EREFUSED);
	assert_int_equal(sut_hint(ctx, "try %d", 2), -SUTURE_EREFUSED);
	assert_int_equal(sut_fail_address(ctx, 0x1000), -SUTURE_EREFUSED);
	assert_string_equal(suture_ctx_error(ctx)->message, "no way");
	assert_string_equal(suture_ctx_error(ctx)->hint, "try 2");
	assert_int_equal(suture_ctx_error(ctx)->address, 0x1000);
	/* A new failure forgets the old one's hint and address. */
	assert_int_equal(sut_nomem(ctx), -ENOMEM);
	assert_null(suture_ctx_error(ctx)->hint);
	assert_int_equal(suture_ctx_error(ctx)->address, 0);
	suture_ctx_destroy(ctx);
}

static void test_long_messages_are_cut(void **state)
{
	struct suture_ctx *ctx;
	char big[5000];

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(suture_ctx_create(NULL, &ctx), 0);
	sut_fail(ctx, EINVAL, "%s", big);
	sut_hint(ctx, "%s", big);
	assert_true(strlen(suture_ctx_error(ctx)->message) < sizeof(big));
	suture_ctx_destroy(ctx);
}

static void test_exit_statuses(void **state)
{
	/* The table of suture(1). */
	static const int want[][2] = {
		{ 0, 0 },
		{ -SUTURE_EFAILED, 1 },
		{ -SUTURE_EBUSY, 1 },
		{ -SUTURE_ETIMEOUT, 1 },
		{ -SUTURE_EGONE, 1 },
		{ -SUTURE_ECOMPILE, 1 },
		{ -SUTURE_EUSAGE, 2 },
		{ -SUTURE_ENOTHING, 3 },
		{ -SUTURE_EREFUSED, 4 },
		{ -SUTURE_EINCOMPLETE, 5 },
		{ -SUTURE_EACCESS, 6 },
		{ -EPERM, 6 },
		{ -SUTURE_ENOTFOUND, 7 },
		{ -ESRCH, 7 },
		{ -SUTURE_EDAMAGED, 8 },
		{ -SUTURE_EBUG, 70 },
		{ -EIO, 1 },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(want); i++)
		assert_int_equal(suture_exit_status(want[i][0]), want[i][1]);
	assert_string_equal(suture_code_name(-SUTURE_EREFUSED), "refused");
	assert_string_equal(suture_code_name(0), "ok");
}

static void test_log(void **state)
{
	int n = 0;
	struct suture_ctx_opts opts = { .sz = sizeof(opts), .log = count_line, .arg = &n };
	struct suture_ctx *ctx;

	assert_int_equal(suture_ctx_create(&opts, &ctx), 0);
	sut_info(ctx, "one %d", 1);
	assert_int_equal(n, 1);
	suture_ctx_destroy(ctx);
}

static void test_vec_and_buf(void **state)
{
	SUT_VEC(uint64_t) v = { 0 };
	struct sut_buf b = { 0 };

	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(sut_vec_push(&v, i * i), 0);
	for (uint64_t i = 0; i < 1000; i++)
		assert_true(v.v[i] == i * i);
	sut_vec_free(&v);
	assert_null(v.v);
	assert_int_equal(sut_buf_add(&b, "abc", 3), 0);
	assert_int_equal(sut_buf_align(&b, 16), 0);
	assert_int_equal(b.len, 16);
	assert_memory_equal(b.p, "abc\0\0", 5);
	sut_buf_free(&b);
}

static void test_ranges(void **state)
{
	char hex[7];

	assert_true(sut_fits(0, 0, 0));
	assert_true(sut_fits(4, 4, 8));
	assert_false(sut_fits(5, 4, 8));
	assert_false(sut_fits(UINT64_MAX, 2, 8));
	assert_false(sut_fits(2, UINT64_MAX, 8));
	assert_true(sut_in(4, 8, 4));
	assert_false(sut_in(4, 8, 8));
	assert_string_equal(sut_hex((const uint8_t *)"\x01\xab\xff", 3, hex), "01abff");
}

static void test_read_fd(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = tmpfile();

	assert_non_null(f);
	for (int i = 0; i < 40000; i++)
		fputc('a' + i % 26, f);
	fflush(f);
	rewind(f);
	assert_int_equal(sut_read_fd(fileno(f), 100, &text, &len), -EFBIG);
	assert_null(text);
	rewind(f);
	assert_int_equal(lseek(fileno(f), 0, SEEK_SET), 0);
	assert_int_equal(sut_read_fd(fileno(f), 1 << 20, &text, &len), 0);
	assert_int_equal(len, 40000);
	assert_int_equal(text[40000], '\0');
	free(text);
	fclose(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_last_error),    cmocka_unit_test(test_long_messages_are_cut),
		cmocka_unit_test(test_exit_statuses), cmocka_unit_test(test_log),
		cmocka_unit_test(test_vec_and_buf),   cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_read_fd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
