/* SPDX-License-Identifier: MIT */
/* test_values.c - the small things that the command line prints: times, sizes, names, and the worst status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <locale.h>
#include <time.h>

#include "cli/cli.h"

static void expect(char *got, const char *want)
{
	assert_string_equal(got, want);
	free(got);
}

static void test_times(void **state)
{
	expect(sut_text_time(0), "0 us");
	expect(sut_text_time(48000), "48 us");
	expect(sut_text_time(999400), "999 us");
	expect(sut_text_time(999600), "1.0 ms");
	expect(sut_text_time(2300000), "2.3 ms");
	expect(sut_text_time(99940000), "99.9 ms");
	expect(sut_text_time(99960000), "100 ms");
	expect(sut_text_time(999400000), "999 ms");
	expect(sut_text_time(14200000000), "14.2 s");
}

static void test_words(void **state)
{
	expect(sut_text_build_id(""), "none");
	expect(sut_text_build_id("3f9c55aa00112233a1"), "3f9c..a1");
	expect(sut_text_build_id("3f9c"), "3f9c");
	expect(sut_text_sizes(412, 431), "412->431");
	expect(sut_text_bytes(1023), "1023 B");
	expect(sut_text_bytes(12288), "12.0 KiB");
	expect(sut_text_bytes(5u << 20), "5.0 MiB");
	expect(sut_text_count(1, "function"), "1 function");
	expect(sut_text_count(0, "function"), "0 functions");
	expect(sut_text_count(2, "patch"), "2 patches");
	expect(sut_text_func("f", 0), "f");
	expect(sut_text_func("f", 2), "f,2");
}

static void test_since(void **state)
{
	char today[16];
	time_t now = time(NULL);
	struct tm tm;

	localtime_r(&now, &tm);
	strftime(today, sizeof(today), "%H:%M:%S", &tm);
	expect(sut_text_since((uint64_t)now), today);
	expect(sut_text_since(0), "-");
	setenv("TZ", "UTC", 1);
	tzset();
	expect(sut_text_since(1700000000), "2023-11-14 22:13");
}

static void test_safe(void **state)
{
	expect(sut_safe("plain"), "plain");
	expect(sut_safe("a\033[2Jb\n\t\177"), "a\\x1b[2Jb\\x0a\\x09\\x7f");
	expect(sut_safe("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f");
	expect(sut_safe("\xc3"), "\\xc3");
	expect(sut_safe("\xff x"), "\\xff x");
	/* The eight-bit control characters, as UTF-8, and a character that turns the line around. */
	expect(sut_safe("\xc2\x9b"
			"31m"),
	       "\\xc2\\x9b31m");
}

static void test_json(void **state)
{
	json_t *v = sut_json_text("a\xff");

	assert_string_equal(json_string_value(v), "a\\xff");
	json_decref(v);
	assert_true(json_is_null(sut_json_text(NULL)));
	v = sut_json_hex(0x7f0012345678);
	assert_string_equal(json_string_value(v), "0x7f0012345678");
	json_decref(v);
	v = sut_json_time(1700000000);
	assert_string_equal(json_string_value(v), "2023-11-14T22:13:20Z");
	json_decref(v);
}

static void test_worst(void **state)
{
	static const int order[] = { 8, 70, 5, 1, 2, 4, 6, 7, 3, 0 };

	for (size_t i = 0; i < SUT_ARRAY_SIZE(order); i++)
		for (size_t j = 0; j < SUT_ARRAY_SIZE(order); j++)
			assert_int_equal(sut_worse_status(order[i], order[j]), order[i < j ? i : j]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_times), cmocka_unit_test(test_words), cmocka_unit_test(test_since),
		cmocka_unit_test(test_safe),  cmocka_unit_test(test_json),  cmocka_unit_test(test_worst),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
