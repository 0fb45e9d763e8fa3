/* SPDX-License-Identifier: MIT */
/*
 * Description: near memory is found where it reaches and is in nobody's way: below the text first, not where a
 * heap or a stack will grow, a guard page on both sides; mapping tries again when the target was quicker.
 */
#include <stdarg.h>
#include <errno.h>
#include <stddef.h>
#include <setjmp.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "testmem.h"
#include "text/near.h"

#define PAGE  4096ull
#define MB    (1ull << 20)
#define GB    (1ull << 30)
#define REACH 0x7fffffc0ull

/* A PIE with heap, a library, a stack: addresses as the kernel gives them. */
#define PIE                                                              \
	"555555554000-555555556000 r--p 00000000 fd:01 7   /usr/bin/p\n" \
	"555555556000-555555658000 r-xp 00002000 fd:01 7   /usr/bin/p\n" \
	"555555658000-555555660000 rw-p 00104000 fd:01 7   /usr/bin/p\n" \
	"555555660000-555555670000 rw-p 00000000 00:00 0 \n"
#define HEAP "555555700000-555555800000 rw-p 00000000 00:00 0   [heap]\n"
#define LIB                                                                  \
	"7ffff7c00000-7ffff7c28000 r--p 00000000 fd:01 8   /lib/libc.so.6\n" \
	"7ffff7c28000-7ffff7dbd000 r-xp 00028000 fd:01 8   /lib/libc.so.6\n" \
	"7ffff7dbd000-7ffff7e1b000 rw-p 001bd000 fd:01 8   /lib/libc.so.6\n"
#define STACK                                                         \
	"7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0   [stack]\n" \
	"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0   [vsyscall]\n"
#define PIE_LO 0x555555556000ull
#define PIE_HI 0x555555658000ull
#define LIB_LO 0x7ffff7c28000ull
#define LIB_HI 0x7ffff7dbd000ull

/* Parses, asks, and checks what must hold of every answer. */
static int find(const char *text, uint64_t lo, uint64_t hi, size_t size, uint64_t reach, size_t page, uint64_t *ret)
{
	struct sut_maps maps;
	struct test_mem t;
	int err;

	test_mem_image(&t, 0, NULL, 0, text);
	assert_int_equal(t.mem.ops->maps(&t.mem, &maps), 0);
	err = sut_near_find(t.mem.ctx, &maps, lo, hi, size, reach, page, ret);
	if (err) {
		assert_int_equal(err, -SUTURE_EREFUSED);
		assert_non_null(strstr(test_mem_message(&t), "text"));
		assert_non_null(suture_ctx_error(t.mem.ctx)->hint);
	} else {
		uint64_t end = *ret + size;

		assert_int_equal(*ret % page, 0);
		assert_true(*ret >= 0x10000);
		/* Every byte of one reaches every byte of the other. */
		assert_true(hi - 1 - *ret < reach || hi - 1 < *ret);
		assert_true(end - 1 - lo < reach || end - 1 < lo);
		for (size_t i = 0; i < maps.m.n; i++) /* free, with a page on both sides */
			assert_true(maps.m.v[i].end + page <= *ret || maps.m.v[i].start >= end + page);
	}
	sut_maps_free(&maps);
	test_mem_close(&t);
	return err;
}

static void test_below_first(void **state)
{
	uint64_t at;

	assert_int_equal(find(PIE HEAP LIB STACK, PIE_LO, PIE_HI, 3 * PAGE, REACH, PAGE, &at), 0);
	assert_true(at == 0x555555554000 - PAGE - 3 * PAGE);
	assert_int_equal(find(PIE HEAP LIB STACK, LIB_LO, LIB_HI, 5000, REACH, PAGE, &at), 0);
	assert_true(at == 0x7ffff7c00000 - PAGE - 2 * PAGE);
}

static void test_page_size(void **state)
{
	uint64_t at;

	assert_int_equal(find(PIE HEAP LIB STACK, LIB_LO, LIB_HI, 5000, REACH, 65536, &at), 0);
	assert_true(at == 0x7ffff7c00000 - 2 * 65536);
}

/* Nothing below: the gap above the library, not the one before the stack's growth. */
static void test_above(void **state)
{
	uint64_t at;

	assert_int_equal(find("10000-7ffff7c00000 rw-p 0 0:0 0\n" LIB STACK, LIB_LO, LIB_HI, PAGE, REACH, PAGE, &at),
			 0);
	assert_true(at == 0x7ffff7e1b000 + PAGE);
}

static void test_not_in_the_heaps_way(void **state)
{
	static const char *const texts[] = {
		/* between bss and heap, and after the heap */
		"10000-555555554000 rw-p 0 0:0 0\n" PIE HEAP LIB STACK,
		/* no heap yet: it begins behind the bss */
		"10000-555555554000 rw-p 0 0:0 0\n" PIE LIB STACK,
	};
	uint64_t at;

	for (size_t i = 0; i < SUT_ARRAY_SIZE(texts); i++)
		assert_int_equal(find(texts[i], PIE_LO, PIE_HI, PAGE, REACH, PAGE, &at), -SUTURE_EREFUSED);
}

static void test_not_in_the_stacks_way(void **state)
{
	/* A library 64 MiB below the stack, everything below it taken. */
	const char *text = "10000-7ffff0000000 rw-p 0 0:0 0\n7ffff0000000-7ffff0100000 r-xp 0 fd:01 8 /lib/x.so\n"
			   "7ffff4100000-7ffff4200000 rw-p 0 0:0 0 [stack]\n";
	uint64_t at;

	assert_int_equal(find(text, 0x7ffff0000000, 0x7ffff0100000, PAGE, 1 * GB, PAGE, &at), 0);
	assert_true(at >= 0x7ffff4200000 + PAGE); /* above it there is room */
	assert_int_equal(find(text, 0x7ffff0000000, 0x7ffff0100000, PAGE, 32 * MB, PAGE, &at), -SUTURE_EREFUSED);
}

/* Holes of exactly the size, without room for the guard pages, are passed over. */
static void test_guard_pages(void **state)
{
	const char *tight = "10000-5fc000 rw-p 0 0:0 0\n5ff000-600000 rw-p 0 0:0 0\n"
			    "600000-700000 r-xp 0 fd:01 8 /bin/x\n700000-7fffffff0000 rw-p 0 0:0 0\n";
	uint64_t at;

	assert_int_equal(find(tight, 0x600000, 0x700000, PAGE, REACH, PAGE, &at), 0); /* 3 pages: 1 and two guards */
	assert_true(at == 0x5fd000);
	assert_int_equal(find(tight, 0x600000, 0x700000, PAGE + 1, REACH, PAGE, &at), -SUTURE_EREFUSED);
}

static void test_reach(void **state)
{
	/* The only hole: [0x10000, 0x100000000 - 16 MiB). Text at 4 GiB, 1 MiB long. */
	const char *text = "ff000000-100000000 rw-p 0 0:0 0\n100000000-100100000 r-xp 0 fd:01 8 /bin/x\n"
			   "100100000-7fffffff0000 rw-p 0 0:0 0\n";
	const uint64_t lo = 0x100000000, hi = 0x100100000, best = 0xff000000 - 2 * PAGE;
	uint64_t at;

	assert_int_equal(find(text, lo, hi, PAGE, hi - best, PAGE, &at), -SUTURE_EREFUSED);
	assert_int_equal(find(text, lo, hi, PAGE, hi - best + 1, PAGE, &at), 0);
	assert_true(at == best);
	/* A small reach still finds the place in the middle of a large gap next to the text. */
	assert_int_equal(find(PIE HEAP LIB STACK, LIB_LO, LIB_HI, PAGE, 4 * MB, PAGE, &at), 0);
	assert_true(at < LIB_LO && LIB_LO - at < MB);
}

/* Non-PIE at 4 MiB: the hole below it, not below the kernel's smallest address. */
static void test_low(void **state)
{
	const char *text = "400000-500000 r-xp 0 fd:01 8 /bin/x\n500000-7fffffff0000 rw-p 0 0:0 0\n";
	uint64_t at;

	assert_int_equal(find(text, 0x400000, 0x500000, PAGE, REACH, PAGE, &at), 0);
	assert_true(at == 0x400000 - 2 * PAGE);
	assert_int_equal(find(text, 0x400000, 0x500000, 0x400000 - 0x10000 - 2 * PAGE, REACH, PAGE, &at), 0);
	assert_true(at == 0x10000 + PAGE);
	assert_int_equal(find(text, 0x400000, 0x500000, 0x400000 - 0x10000 - PAGE, REACH, PAGE, &at), -SUTURE_EREFUSED);
}

static void test_senseless(void **state)
{
	struct sut_maps maps = { 0 };
	struct test_mem t;
	uint64_t at = 77;

	test_mem_image(&t, 0, NULL, 0, "");
	assert_int_equal(sut_near_find(t.mem.ctx, &maps, 0x1000, 0x2000, 0, REACH, PAGE, &at), -SUTURE_EBUG);
	assert_int_equal(sut_near_find(t.mem.ctx, &maps, 0x2000, 0x1000, PAGE, REACH, PAGE, &at), -SUTURE_EBUG);
	assert_int_equal(sut_near_find(t.mem.ctx, &maps, 0x1000, 0x2000, SIZE_MAX, REACH, PAGE, &at), -SUTURE_EBUG);
	assert_int_equal(sut_near_find(t.mem.ctx, &maps, 0x1000, 0x2000, 1ull << 62, REACH, PAGE, &at),
			 -SUTURE_EREFUSED);
	assert_true(at == 77);
	test_mem_close(&t);
}

/* ---- mapping --------------------------------------------------------------------------------------- */

struct racer {
	unsigned lost; /* how often the target is quicker */
	uint64_t asked[32];
	unsigned n;
	int64_t error;
};

static bool answer(struct test_mem *t, enum sut_sys sys, const uint64_t a[6], int64_t *ret)
{
	struct racer *r = t->arg;

	assert_int_equal(sys, SUT_SYS_MMAP);
	assert_int_equal(a[1] % PAGE, 0);
	assert_int_equal(a[2], PROT_READ | PROT_EXEC);
	assert_int_equal(a[3], MAP_PRIVATE | MAP_ANONYMOUS | 0x100000 /* MAP_FIXED_NOREPLACE */);
	r->asked[r->n++ % 32] = a[0];
	*ret = r->error ? r->error : r->n <= r->lost ? -EEXIST : (int64_t)a[0];
	/* What the target has mapped meanwhile is in the next snapshot. */
	t->maps_text = "555555553000-555555554000 rw-p 0 0:0 0\n" PIE HEAP LIB STACK;
	return true;
}

static int map(struct racer *r, uint64_t *ret, char message[256])
{
	struct test_mem t;
	int err;

	test_mem_image(&t, 0, NULL, 0, PIE HEAP LIB STACK);
	t.hook = answer;
	t.arg = r;
	err = sut_near_map(&t.mem, PIE_LO, PIE_HI, PAGE, REACH, PROT_READ | PROT_EXEC, ret);
	snprintf(message, 256, "%s", test_mem_message(&t));
	test_mem_close(&t);
	return err;
}

static void test_map(void **state)
{
	struct racer r = { 0 };
	char message[256];
	uint64_t at;

	assert_int_equal(map(&r, &at, message), 0);
	assert_int_equal(r.n, 1);
	assert_true(at == r.asked[0] && at == 0x555555552000);
}

static void test_map_lost_race(void **state)
{
	struct racer r = { .lost = 1 };
	char message[256];
	uint64_t at;

	assert_int_equal(map(&r, &at, message), 0);
	assert_int_equal(r.n, 2);
	assert_true(r.asked[0] == 0x555555552000);
	assert_true(at == r.asked[1] && at == 0x555555551000); /* by the fresh snapshot */
}

static void test_map_gives_up(void **state)
{
	struct racer endless = { .lost = 1000 }, no_memory = { .error = -ENOMEM };
	char message[256];
	uint64_t at = 77;

	assert_int_equal(map(&endless, &at, message), -SUTURE_EFAILED);
	assert_true(endless.n > 1 && endless.n < 32);
	assert_int_equal(map(&no_memory, &at, message), -SUTURE_EFAILED);
	assert_int_equal(no_memory.n, 1);
	assert_non_null(strstr(message, "Cannot allocate memory"));
	assert_true(at == 77);
}

static void test_map_for_real(void **state)
{
	uint64_t text = (uint64_t)(uintptr_t)test_map_for_real, at;
	struct test_mem t;

	if (test_mem_self(&t))
		skip();
	assert_int_equal(sut_near_map(&t.mem, text, text + 100, 10000, REACH, PROT_READ | PROT_WRITE, &at), 0);
	memset((void *)(uintptr_t)at, 0x42, 10000);
	assert_true((at < text ? text + 100 - at : at + 10000 - text) < REACH);
	munmap((void *)(uintptr_t)at, 3 * PAGE);
	test_mem_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_below_first),
		cmocka_unit_test(test_page_size),
		cmocka_unit_test(test_above),
		cmocka_unit_test(test_not_in_the_heaps_way),
		cmocka_unit_test(test_not_in_the_stacks_way),
		cmocka_unit_test(test_guard_pages),
		cmocka_unit_test(test_reach),
		cmocka_unit_test(test_low),
		cmocka_unit_test(test_senseless),
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_map_lost_race),
		cmocka_unit_test(test_map_gives_up),
		cmocka_unit_test(test_map_for_real),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
