/* SPDX-License-Identifier: MIT */
/*
 * Description: the list of mappings is read as the kernel writes it, whatever names a target chose; text
 * that is no such list is refused.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>

#include <cmocka.h>

#include "testmem.h"

static struct suture_ctx *ctx;

static int parse(const char *text, struct sut_maps *ret)
{
	char *copy = strdup(text);
	int err = sut_maps_parse(ctx, copy, ret);

	if (err)
		free(copy);
	return err;
}

static void test_fields(void **state)
{
	struct sut_maps maps;
	const struct sut_map *m;

	assert_int_equal(
		parse("555555554000-555555556000 r--p 00000000 fd:01 1234                       /usr/bin/a b  c\n"
		      "555555556000-555555558000 r-xp 00002000 fd:01 1234                       /usr/bin/a b  c\n"
		      "555555558000-555555559000 rw-s 00000000 00:05 18446744073709551615       /dev/zero (deleted)\n"
		      "7ffff7fc1000-7ffff7fc3000 ---p 00000000 00:00 0 \n"
		      "7ffff7fc3000-7ffff7fc5000 r-xp 00000000 00:00 0                          [vdso]\n"
		      "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n",
		      &maps),
		0);
	assert_int_equal(maps.m.n, 6);
	m = &maps.m.v[1];
	assert_true(m->start == 0x555555556000 && m->end == 0x555555558000 && m->offset == 0x2000);
	assert_true(m->dev_major == 0xfd && m->dev_minor == 1 && m->inode == 1234);
	assert_int_equal(m->prot, SUT_PROT_R | SUT_PROT_X);
	assert_false(m->shared);
	assert_string_equal(m->name, "/usr/bin/a b  c");
	m = &maps.m.v[2];
	assert_true(m->shared);
	assert_true(m->inode == UINT64_MAX);
	assert_int_equal(m->prot, SUT_PROT_R | SUT_PROT_W);
	assert_string_equal(m->name, "/dev/zero (deleted)");
	assert_string_equal(maps.m.v[3].name, "");
	assert_int_equal(maps.m.v[3].prot, 0);
	assert_string_equal(maps.m.v[4].name, "[vdso]");
	assert_true(maps.m.v[5].end == 0xffffffffff601000);
	sut_maps_free(&maps);
}

static void test_names_are_the_targets_choice(void **state)
{
	static const char *const names[] = {
		"/a 555555554000-555555556000 rwxp 00000000 00:00 0 [heap]",
		"/with\\012newline",
		"/%s%n%s",
		"[heap]",
		"/tab\there",
		"//////",
		"/-",
		"/\xff\xfe\x80",
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(names); i++) {
		struct sut_maps maps;
		char text[256];

		snprintf(text, sizeof(text),
			 "1000-2000 r-xp 00000000 00:00 7      %s\n3000-4000 rw-p 00000000 00:00 0\n", names[i]);
		assert_int_equal(parse(text, &maps), 0);
		assert_int_equal(maps.m.n, 2);
		assert_string_equal(maps.m.v[0].name, names[i]);
		assert_true(maps.m.v[1].start == 0x3000);
		sut_maps_free(&maps);
	}
}

static void test_at(void **state)
{
	struct sut_maps maps;

	assert_int_equal(parse("1000-2000 r-xp 0 0:0 0\n2000-3000 r-xp 0 0:0 0\n5000-6000 r-xp 0 0:0 0\n", &maps), 0);
	assert_null(sut_maps_at(&maps, 0));
	assert_null(sut_maps_at(&maps, 0xfff));
	assert_ptr_equal(sut_maps_at(&maps, 0x1000), &maps.m.v[0]);
	assert_ptr_equal(sut_maps_at(&maps, 0x1fff), &maps.m.v[0]);
	assert_ptr_equal(sut_maps_at(&maps, 0x2000), &maps.m.v[1]);
	assert_null(sut_maps_at(&maps, 0x3000));
	assert_null(sut_maps_at(&maps, 0x4fff));
	assert_ptr_equal(sut_maps_at(&maps, 0x5fff), &maps.m.v[2]);
	assert_null(sut_maps_at(&maps, 0x6000));
	assert_null(sut_maps_at(&maps, UINT64_MAX));
	sut_maps_free(&maps);
}

static void test_empty(void **state)
{
	struct sut_maps maps;

	assert_int_equal(parse("", &maps), 0); /* a zombie leader */
	assert_int_equal(maps.m.n, 0);
	assert_null(sut_maps_at(&maps, 0x1000));
	sut_maps_free(&maps);
	sut_maps_free(NULL);
}

static void test_hostile(void **state)
{
	static const char *const texts[] = {
		"\n",
		"x",
		"1000",
		"1000-",
		"1000-2000",
		"1000-2000 r-xp",
		"1000-2000 r-xp 0 0:0",
		"1000-2000 r-x 0 0:0 0\n",
		"1000-2000 r-xpp 0 0:0 0\n",
		"2000-1000 r-xp 0 0:0 0\n",
		"1000-1000 r-xp 0 0:0 0\n",
		"1000-3000 r-xp 0 0:0 0\n2000-4000 r-xp 0 0:0 0\n", /* overlap */
		"5000-6000 r-xp 0 0:0 0\n1000-2000 r-xp 0 0:0 0\n", /* falls */
		"1000-2000 r-xp 0 0:0 0\n\n",
		"1000-2000 r-xp 0 0:0 0\ngarbage\n",
		"-1000-2000 r-xp 0 0:0 0\n",
		"+1000-2000 r-xp 0 0:0 0\n",
		"0x1000-0x2000 r-xp 0 0:0 0\n",
		"1000- 2000 r-xp 0 0:0 0\n",
		" 1000-2000 r-xp 0 0:0 0\n",
		"1000-10000000000002000 r-xp 0 0:0 0\n",
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(texts); i++) {
		struct sut_maps maps = { 0 };

		if (parse(texts[i], &maps) != -SUTURE_EREFUSED)
			fail_msg("read as a list of mappings: '%s'", texts[i]);
		assert_int_equal(maps.m.n, 0);
		assert_non_null(strstr(suture_ctx_error(ctx)->message, "mapping"));
	}
}

static void test_own_process(void **state)
{
	struct test_mem t;
	struct sut_maps maps;
	const struct sut_map *m;
	int local;

	if (test_mem_self(&t))
		skip();
	assert_int_equal(t.mem.ops->maps(&t.mem, &maps), 0);
	m = sut_maps_at(&maps, (uint64_t)(uintptr_t)test_own_process);
	assert_non_null(m);
	assert_true(m->prot & SUT_PROT_X);
	assert_non_null(strstr(m->name, "test_text_maps"));
	m = sut_maps_at(&maps, (uint64_t)(uintptr_t)&local);
	assert_non_null(m);
	assert_true(m->prot & SUT_PROT_W);
	sut_maps_free(&maps);
	test_mem_close(&t);
}

/* The checked form of a system call: a kernel's error becomes a failure that names the call. */
static bool answer(struct test_mem *t, enum sut_sys sys, const uint64_t args[6], int64_t *ret)
{
	*ret = *(int64_t *)t->arg;
	return true;
}

static void test_call(void **state)
{
	const uint64_t args[6] = { 0 };
	uint64_t got = 77;
	struct test_mem t;
	int64_t result = -13;

	test_mem_image(&t, 0, NULL, 0, "");
	t.hook = answer;
	t.arg = &result;
	assert_int_equal(sut_mem_call(&t.mem, "mmap", &got, SUT_SYS_MMAP, args), -SUTURE_EFAILED);
	assert_non_null(strstr(test_mem_message(&t), "mmap"));
	assert_non_null(strstr(test_mem_message(&t), "Permission denied"));
	assert_true(got == 77);
	result = -4096; /* an address, not an error */
	assert_int_equal(sut_mem_call(&t.mem, "mmap", &got, SUT_SYS_MMAP, args), 0);
	assert_true(got == (uint64_t)-4096);
	test_mem_close(&t);
}

static int setup(void **state)
{
	return suture_ctx_create(NULL, &ctx);
}

static int teardown(void **state)
{
	suture_ctx_destroy(ctx);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),  cmocka_unit_test(test_names_are_the_targets_choice),
		cmocka_unit_test(test_at),      cmocka_unit_test(test_empty),
		cmocka_unit_test(test_hostile), cmocka_unit_test(test_own_process),
		cmocka_unit_test(test_call),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
