/* SPDX-License-Identifier: MIT */
/*
 * Description: text changes by page swap under threads that run it, comes back byte for byte and page for page, and
 * is never left half changed, whatever fails on the way.
 *
 * The target is the test itself: a file with one small function at the start of each page (and one across
 * two pages), mapped as text is.
 */
#include <stdarg.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "testmem.h"
#include "text/poke.h"

#define PAGES        24
#define PRISTINE_CAP 8
#define ACROSS       (5 * page - 3) /* a function that starts in page 4 and ends in page 5 */
#define VALUE(i)     (0x1000u + (unsigned)(i))
#define NEW          0x2000u /* added to a value */

static struct test_mem t;
static size_t page;

/** One text file, mapped. */
struct text {
	char name[64];
	uint8_t *file; /* what the file holds */
	uint8_t *at;
};

/* mov $value,%eax; ret */
static void function(uint8_t *out, unsigned value)
{
	out[0] = 0xb8;
	memcpy(out + 1, &value, 4);
	out[5] = 0xc3;
}

static void text_open(struct text *x, const char *name, int prot, int flags)
{
	int fd;

	snprintf(x->name, sizeof(x->name), "/tmp/suture-%s-XXXXXX", name);
	fd = mkstemp(x->name);
	assert_true(fd >= 0);
	x->file = malloc(PAGES * page);
	memset(x->file, 0xcc, PAGES * page);
	for (unsigned i = 0; i < PAGES; i++)
		function(x->file + i * page, VALUE(i));
	function(x->file + ACROSS, VALUE(100));
	/* The next function begins where that one ends. */
	function(x->file + 5 * page + 16, VALUE(5));
	assert_int_equal(write(fd, x->file, PAGES * page), PAGES * page);
	x->at = mmap(NULL, PAGES * page, prot, flags, fd, 0);
	close(fd);
	if (x->at == MAP_FAILED) {
		unlink(x->name);
		fail_msg("no memory can be mapped executable from /tmp: %s", strerror(errno));
	}
}

static void text_close(struct text *x)
{
	munmap(x->at, PAGES * page);
	unlink(x->name);
	free(x->file);
}

static size_t entry(unsigned i)
{
	return i == 100 ? ACROSS : i == 5 ? 5 * page + 16 : i * page;
}

static unsigned call(const struct text *x, unsigned i)
{
	return ((unsigned (*)(void))(uintptr_t)(x->at + entry(i)))();
}

/* Takes function @i from one value to the other. */
static struct sut_poke poke(const struct text *x, unsigned i, bool revert)
{
	struct sut_poke p = { .addr = (uint64_t)(uintptr_t)x->at + entry(i), .len = 5 };
	uint8_t code[6];

	function(code, VALUE(i));
	memcpy(revert ? p.new : p.old, code, 5);
	function(code, VALUE(i) + NEW);
	memcpy(revert ? p.old : p.new, code, 5);
	return p;
}

/* A caller's registry. */
static struct sut_pristine kept[PRISTINE_CAP];
static size_t n_kept;

static struct sut_poke_batch *batch(const struct text *x, const unsigned *which, size_t n, bool revert)
{
	struct sut_poke_batch *b;

	assert_int_equal(sut_poke_create(&t.mem, &b), 0);
	for (size_t i = 0; i < n; i++) {
		struct sut_poke p = poke(x, which[i], revert);

		assert_int_equal(sut_poke_add(b, &p), 0);
	}
	for (size_t i = 0; i < n_kept; i++)
		assert_int_equal(sut_poke_use_pristine(b, &kept[i]), 0);
	return b;
}

/* Notes the batch's duplicates, and drops those that nobody needs any more. */
static void note(struct sut_poke_batch *b)
{
	size_t n = 0;

	n_kept = sut_poke_pristines(b, kept, PRISTINE_CAP);
	assert_true(n_kept <= PRISTINE_CAP);
	for (size_t i = 0; i < n_kept; i++) {
		bool dropped = false;

		assert_int_equal(sut_poke_tidy(&t.mem, &kept[i], &dropped), 0);
		if (!dropped)
			kept[n++] = kept[i];
	}
	n_kept = n;
}

static void change(const struct text *x, const unsigned *which, size_t n, bool revert)
{
	struct sut_poke_batch *b = batch(x, which, n, revert);

	if (sut_poke_prepare(b, false))
		fail_msg("prepare: %s", test_mem_message(&t));
	if (sut_poke_method(b) != SUT_POKE_SWAP)
		fail_msg("not swapped: %s", sut_poke_why(b));
	for (size_t i = 0; i < n; i++) /* nothing has changed yet */
		assert_int_equal(call(x, which[i]), VALUE(which[i]) + (revert ? NEW : 0));
	if (sut_poke_commit(b))
		fail_msg("commit: %s", test_mem_message(&t));
	note(b);
	sut_poke_destroy(b);
}

static size_t private_pages(const struct text *x)
{
	bool is[PAGES];
	size_t n = 0;

	assert_int_equal(t.mem.ops->private_pages(&t.mem, (uint64_t)(uintptr_t)x->at,
						  (uint64_t)(uintptr_t)x->at + PAGES * page, is),
			 0);
	for (size_t i = 0; i < PAGES; i++)
		n += is[i];
	return n;
}

/* The mapping is what it was: name, offset, protection, one line. */
static void assert_as_mapped(const struct text *x)
{
	const struct sut_map *m;
	struct sut_maps maps;

	assert_memory_equal(x->at, x->file, PAGES * page);
	assert_int_equal(private_pages(x), 0);
	assert_int_equal(t.mem.ops->maps(&t.mem, &maps), 0);
	m = sut_maps_at(&maps, (uint64_t)(uintptr_t)x->at);
	assert_non_null(m);
	assert_int_equal(m->prot, SUT_PROT_R | SUT_PROT_X);
	assert_true(m->start == (uint64_t)(uintptr_t)x->at && m->offset == 0);
	for (uint64_t at = m->start; at < (uint64_t)(uintptr_t)x->at + PAGES * page; at = m->end) {
		m = sut_maps_at(&maps, at);
		assert_non_null(m);
		assert_non_null(strstr(m->name, x->name));
		assert_true(m->offset == m->start - (uint64_t)(uintptr_t)x->at);
		assert_int_equal(m->prot, SUT_PROT_R | SUT_PROT_X);
	}
	sut_maps_free(&maps);
}

static int setup(void **state)
{
	struct text *x = calloc(1, sizeof(*x));

	n_kept = 0;
	if (!x || test_mem_self(&t))
		return -1;
	page = t.mem.page_size;
	text_open(x, "text", PROT_READ | PROT_EXEC, MAP_PRIVATE);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	text_close(*state);
	free(*state);
	test_mem_close(&t);
	return 0;
}

static const unsigned one[] = { 7 }, several[] = { 3, 12, 100, 20, 5 };

static void test_one_site(void **state)
{
	struct text *x = *state;
	size_t before = test_mem_count_maps(&t, x->name);

	change(x, one, 1, false);
	assert_int_equal(call(x, 7), VALUE(7) + NEW);
	assert_int_equal(call(x, 6), VALUE(6));
	assert_int_equal(call(x, 8), VALUE(8));
	assert_int_equal(private_pages(x), 1);
	assert_int_equal(n_kept, 1);
	change(x, one, 1, true);
	assert_int_equal(call(x, 7), VALUE(7));
	assert_int_equal(n_kept, 0);
	assert_as_mapped(x);
	assert_true(test_mem_count_maps(&t, x->name) <= before + 2); /* a split is not undone by every kernel */
}

static void test_several_sites(void **state)
{
	struct text *x = *state;

	change(x, several, SUT_ARRAY_SIZE(several), false);
	for (size_t i = 0; i < SUT_ARRAY_SIZE(several); i++)
		assert_int_equal(call(x, several[i]), VALUE(several[i]) + NEW);
	assert_int_equal(private_pages(x), 5); /* 3, 4 and 5 (the one across), 12, 20 */
	assert_int_equal(call(x, 10), VALUE(10));
	change(x, several, SUT_ARRAY_SIZE(several), true);
	assert_as_mapped(x);
}

/* A second batch over the first, taken out in another order; pages that no batch needs go back at once. */
static void test_batches_overlap(void **state)
{
	static const unsigned a[] = { 3, 12 }, c[] = { 2, 8, 20 };
	struct text *x = *state;

	change(x, a, 2, false);
	change(x, c, 3, false);
	assert_int_equal(call(x, 3), VALUE(3) + NEW);
	assert_int_equal(call(x, 20), VALUE(20) + NEW);
	assert_int_equal(private_pages(x), 5);
	change(x, a, 2, true);
	assert_int_equal(call(x, 3), VALUE(3));
	assert_int_equal(call(x, 8), VALUE(8) + NEW);
	assert_int_equal(private_pages(x), 3);
	change(x, c, 3, true);
	assert_int_equal(n_kept, 0);
	assert_as_mapped(x);
}

static void test_cycles_do_not_grow(void **state)
{
	struct text *x = *state;
	size_t applied = 0, reverted = 0;

	for (unsigned i = 0; i < 200; i++) {
		change(x, several, SUT_ARRAY_SIZE(several), false);
		if (i == 1)
			applied = test_mem_count_maps(&t, x->name);
		if (i > 1)
			assert_int_equal(test_mem_count_maps(&t, x->name), applied);
		change(x, several, SUT_ARRAY_SIZE(several), true);
		if (i == 1)
			reverted = test_mem_count_maps(&t, x->name);
		if (i > 1)
			assert_int_equal(test_mem_count_maps(&t, x->name), reverted);
	}
	assert_as_mapped(x);
}

/* ---- threads that run the text while it changes -------------------------------------------------------- */

struct runner {
	const struct text *x;
	atomic_bool stop;
	atomic_ulong calls, wrong, seen[2];
};

static void *runner_main(void *arg)
{
	struct runner *r = arg;

	while (!r->stop) {
		for (unsigned i = 0; i < 3; i++) {
			static const unsigned which[] = { 7, 100, 9 };
			unsigned got = call(r->x, which[i]) - VALUE(which[i]);

			r->calls++;
			if (which[i] == 9 ? got != 0 : got != 0 && got != NEW)
				r->wrong++;
			r->seen[got == NEW]++;
		}
	}
	return NULL;
}

static void test_under_threads(void **state)
{
	static const unsigned which[] = { 7, 100 };
	struct runner r = { .x = *state };
	pthread_t thread[3];

	for (size_t i = 0; i < SUT_ARRAY_SIZE(thread); i++)
		assert_int_equal(pthread_create(&thread[i], NULL, runner_main, &r), 0);
	/* At least 2000, an even number, and until the threads have seen much of both. */
	for (unsigned i = 0; i < 2000 || i % 2 || r.seen[0] < 1000 || r.seen[1] < 1000; i++) {
		change(*state, which, 2, i % 2);
		/* The thread that swapped sees the new text at once. */
		assert_int_equal(call(*state, 7), VALUE(7) + (i % 2 ? 0 : NEW));
	}
	r.stop = true;
	for (size_t i = 0; i < SUT_ARRAY_SIZE(thread); i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(r.wrong, 0);
	print_message("%lu calls meanwhile\n", r.calls);
	assert_as_mapped(*state);
}

/* ---- what was there before ---------------------------------------------------------------------------- */

/* Private pages of others are carried over and stay, and their bytes too. */
static void test_private_pages_are_carried_over(void **state)
{
	struct text *x = *state;
	uint64_t at = (uint64_t)(uintptr_t)x->at + entry(10) + 1;
	const uint8_t other = 0x99;

	assert_int_equal(t.mem.ops->write(&t.mem, at, &other, 1), 0);
	assert_int_equal(call(x, 10), (VALUE(10) & ~0xffu) | 0x99);
	change(x, several, SUT_ARRAY_SIZE(several), false);
	assert_int_equal(call(x, 12), VALUE(12) + NEW);
	assert_int_equal(call(x, 10), (VALUE(10) & ~0xffu) | 0x99);
	change(x, several, SUT_ARRAY_SIZE(several), true);
	assert_int_equal(call(x, 10), (VALUE(10) & ~0xffu) | 0x99);
	assert_int_equal(private_pages(x), 1);
	x->file[entry(10) + 1] = 0x99;
	assert_memory_equal(x->at, x->file, PAGES * page);
}

static size_t locked_kb(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[128];
	size_t kb = 0;

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "VmLck: %zu", &kb);
	fclose(f);
	return kb;
}

static void test_locked_text_stays_locked(void **state)
{
	struct text *x = *state;
	char flags[256];

	if (syscall(SYS_mlock, x->at, PAGES * page)) { /* sanitizers make mlock() do nothing */
		print_message("mlock: %s\n", strerror(errno));
		skip();
	}
	for (unsigned i = 0; i < 2; i++) {
		change(x, several, SUT_ARRAY_SIZE(several), i);
		for (unsigned k = 0; k < PAGES; k++) {
			assert_int_equal(t.mem.ops->vm_flags(&t.mem, (uint64_t)(uintptr_t)x->at + k * page, flags,
							     sizeof(flags)),
					 0);
			assert_non_null(strstr(flags, "lo"));
		}
		assert_true(locked_kb() >= PAGES * page / 1024);
	}
	syscall(SYS_munlock, x->at, PAGES * page);
	assert_as_mapped(x);
}

static void test_file_deleted(void **state)
{
	struct text *x = *state;

	unlink(x->name);
	t.no_file = true;
	change(x, several, SUT_ARRAY_SIZE(several), false);
	assert_int_equal(call(x, 12), VALUE(12) + NEW);
	change(x, several, SUT_ARRAY_SIZE(several), true);
	assert_memory_equal(x->at, x->file, PAGES * page);
	assert_int_equal(private_pages(x), 0);
}

static bool no_dontunmap(struct test_mem *m, enum sut_sys sys, const uint64_t a[6], int64_t *ret)
{
	if (sys != SUT_SYS_MREMAP || !(a[3] & 4))
		return false;
	*ret = -EINVAL;
	return true;
}

/* Kernels before 5.13: the file is mapped again, each time. */
static void test_old_kernel(void **state)
{
	struct text *x = *state;

	t.hook = no_dontunmap;
	change(x, several, SUT_ARRAY_SIZE(several), false);
	assert_int_equal(call(x, 100), VALUE(100) + NEW);
	change(x, several, SUT_ARRAY_SIZE(several), true);
	assert_as_mapped(x);
}

/* No way to a second copy: the plain write, said so, and it works. */
static void test_write_instead(void **state)
{
	struct text *x = *state;
	size_t maps = test_mem_count_maps(&t, NULL);

	t.hook = no_dontunmap;
	t.no_file = true;
	for (unsigned revert = 0; revert < 2; revert++) {
		struct sut_poke_batch *b = batch(x, several, SUT_ARRAY_SIZE(several), revert);

		assert_int_equal(sut_poke_prepare(b, false), 0);
		assert_int_equal(sut_poke_method(b), SUT_POKE_WRITE);
		assert_non_null(sut_poke_why(b));
		assert_int_equal(call(x, 12), VALUE(12) + (revert ? NEW : 0));
		assert_int_equal(sut_poke_commit(b), 0);
		assert_int_equal(call(x, 12), VALUE(12) + (revert ? 0 : NEW));
		assert_int_equal(call(x, 100), VALUE(100) + (revert ? 0 : NEW));
		sut_poke_destroy(b);
	}
	assert_memory_equal(x->at, x->file, PAGES * page);
	assert_int_equal(test_mem_count_maps(&t, NULL), maps);
}

static void test_write_when_asked(void **state)
{
	struct text *x = *state;
	struct sut_poke_batch *b = batch(x, one, 1, false);

	assert_int_equal(sut_poke_prepare(b, true), 0);
	assert_int_equal(sut_poke_method(b), SUT_POKE_WRITE);
	assert_int_equal(t.calls[SUT_SYS_MREMAP] + t.calls[SUT_SYS_MMAP], 0);
	assert_int_equal(sut_poke_commit(b), 0);
	assert_int_equal(call(x, 7), VALUE(7) + NEW);
	sut_poke_destroy(b);
}

static void assert_all(const struct text *x, unsigned added)
{
	for (size_t i = 0; i < SUT_ARRAY_SIZE(several); i++)
		assert_int_equal(call(x, several[i]), VALUE(several[i]) + added);
}

/* Duplicates lie where the caller has reserved room for them, and nothing of it is left in the end. */
static void test_room(void **state)
{
	struct sut_pristine made[PRISTINE_CAP];
	struct text *x = *state;
	uint64_t room = 0, want, addr = 0, left = 0;

	for (unsigned revert = 0; revert < 2; revert++) {
		struct sut_poke_batch *b = batch(x, several, SUT_ARRAY_SIZE(several), revert);
		struct sut_maps maps;

		assert_int_equal(sut_poke_room(b, &room), 0);
		want = 18 * page + (revert ? 0 : PAGES * page); /* pages 3 to 20; a pristine the first time */
		assert_int_equal(room, want);
		room += 3 * page; /* more than it needs */
		addr = (uint64_t)(uintptr_t)mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		sut_poke_use_room(b, addr, room, NULL, NULL);
		assert_int_equal(sut_poke_prepare(b, false), 0);
		assert_int_equal(sut_poke_shadows(b, made, PRISTINE_CAP), 1);
		assert_true(made[0].copy >= addr && made[0].copy + made[0].len <= addr + room);
		if (!revert) {
			assert_int_equal(sut_poke_pristines(b, made, PRISTINE_CAP), 1);
			assert_true(made[0].copy >= addr && made[0].copy + made[0].len <= addr + room);
		}
		assert_int_equal(t.mem.ops->maps(&t.mem, &maps), 0);
		assert_null(sut_maps_at(&maps, addr + room - 3 * page));
		sut_maps_free(&maps);
		assert_int_equal(sut_poke_commit(b), 0);
		assert_all(x, revert ? 0 : NEW);
		note(b);
		sut_poke_destroy(b);
		assert_int_equal(t.mem.ops->maps(&t.mem, &maps), 0);
		for (uint64_t at = addr; at < addr + room; at += page)
			left += sut_maps_at(&maps, at) != NULL;
		sut_maps_free(&maps);
		assert_int_equal(left, revert ? 0 : PAGES); /* the pristine, while it is needed */
		left = 0;
	}
	assert_as_mapped(x);
}

/* Too little room: the kernel chooses the rest. */
static void test_too_little_room(void **state)
{
	struct text *x = *state;
	struct sut_poke_batch *b = batch(x, several, SUT_ARRAY_SIZE(several), false);
	uint64_t addr = (uint64_t)(uintptr_t)mmap(NULL, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sut_maps maps;

	sut_poke_use_room(b, addr, page, NULL, NULL);
	assert_int_equal(sut_poke_prepare(b, false), 0);
	assert_int_equal(sut_poke_method(b), SUT_POKE_SWAP);
	assert_int_equal(t.mem.ops->maps(&t.mem, &maps), 0);
	assert_null(sut_maps_at(&maps, addr));
	sut_maps_free(&maps);
	assert_int_equal(sut_poke_commit(b), 0);
	assert_all(x, NEW);
	note(b);
	sut_poke_destroy(b);
	change(x, several, SUT_ARRAY_SIZE(several), true);
	assert_as_mapped(x);
}

/* ---- several mappings ------------------------------------------------------------------------------------ */

static struct sut_poke_batch *batch_of_two(const struct text *x, const struct text *y, bool revert)
{
	struct sut_poke_batch *b = batch(x, several, SUT_ARRAY_SIZE(several), revert);

	for (size_t i = 0; i < SUT_ARRAY_SIZE(several); i++) {
		struct sut_poke p = poke(y, several[i], revert);

		assert_int_equal(sut_poke_add(b, &p), 0);
	}
	return b;
}

static void test_two_mappings(void **state)
{
	struct text *x = *state, y;

	text_open(&y, "other", PROT_READ | PROT_EXEC, MAP_PRIVATE);
	for (unsigned revert = 0; revert < 2; revert++) {
		struct sut_poke_batch *b = batch_of_two(x, &y, revert);

		assert_int_equal(sut_poke_prepare(b, false), 0);
		assert_int_equal(sut_poke_n_mappings(b), 2);
		assert_int_equal(sut_poke_method(b), SUT_POKE_SWAP);
		assert_int_equal(sut_poke_commit(b), 0);
		assert_all(x, revert ? 0 : NEW);
		assert_all(&y, revert ? 0 : NEW);
		note(b);
		assert_int_equal(n_kept, revert ? 0 : 2);
		sut_poke_destroy(b);
	}
	assert_as_mapped(x);
	assert_as_mapped(&y);
	text_close(&y);
}

static bool second_move_fails(struct test_mem *m, enum sut_sys sys, const uint64_t a[6], int64_t *ret)
{
	const struct text *y = m->arg;

	if (sys != SUT_SYS_MREMAP || (a[3] & 6) != 2 || a[4] < (uint64_t)(uintptr_t)y->at ||
	    a[4] >= (uint64_t)(uintptr_t)y->at + PAGES * page)
		return false;
	*ret = -EPERM;
	return true;
}

/* The one that moved is moved back. */
static void test_second_mapping_fails(void **state)
{
	struct text *x = *state, y;
	struct sut_poke_batch *b;

	text_open(&y, "other", PROT_READ | PROT_EXEC, MAP_PRIVATE);
	for (unsigned i = 0; i < 2; i++) { /* whichever of the two comes second */
		struct text *fails = i ? x : &y;

		b = batch_of_two(x, &y, false);
		assert_int_equal(sut_poke_prepare(b, false), 0);
		t.hook = second_move_fails;
		t.arg = fails;
		assert_int_equal(sut_poke_commit(b), -SUTURE_EFAILED);
		t.hook = NULL;
		assert_all(x, 0);
		assert_all(&y, 0);
		assert_memory_equal(x->at, x->file, PAGES * page);
		assert_memory_equal(y.at, y.file, PAGES * page);
		assert_int_equal(sut_poke_drop(b), 0);
		sut_poke_destroy(b);
		assert_as_mapped(x);
		assert_as_mapped(&y);
	}
	text_close(&y);
}

/* Kernels up to 6.16 take the old text away first and may then find no memory: the hole is filled at once. */
static bool leaves_a_hole(struct test_mem *m, enum sut_sys sys, const uint64_t a[6], int64_t *ret)
{
	unsigned *left = m->arg;

	if (sys != SUT_SYS_MREMAP || (a[3] & 6) != 2 || !*left)
		return false;
	--*left;
	assert_int_equal(munmap((void *)(uintptr_t)a[4], a[2]), 0);
	*ret = -ENOMEM;
	return true;
}

static void test_hole_is_filled(void **state)
{
	struct text *x = *state;
	unsigned left = 5;

	t.hook = leaves_a_hole;
	t.arg = &left;
	change(x, several, SUT_ARRAY_SIZE(several), false);
	assert_int_equal(left, 0);
	assert_all(x, NEW);
	change(x, several, SUT_ARRAY_SIZE(several), true);
	assert_as_mapped(x);
}

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

/* At the limit on mappings a swap could fail half-way: written instead. */
static void test_no_room_for_mappings(void **state)
{
	const size_t want = 70000;
	struct text *x = *state;
	struct sut_poke_batch *b;

#ifdef SANITIZED
	print_message("the sanitizer itself needs mappings\n");
	skip();
#endif
	uint8_t *hole = mmap(NULL, want * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t n = 0;

	assert_true(hole != MAP_FAILED);
	while (n < want && !mprotect(hole + n * page, page, PROT_READ))
		n += 2;
	if (n >= want) {
		munmap(hole, want * page);
		print_message("no limit on mappings here\n");
		skip();
	}
	for (size_t i = 1; i <= 5; i++) /* a little room, for the test's own malloc() */
		mprotect(hole + (n - 2 * i) * page, page, PROT_NONE);
	b = batch(x, one, 1, false);
	int err = sut_poke_prepare(b, false);
	enum sut_poke_method method = sut_poke_method(b);

	if (!err)
		err = sut_poke_commit(b);
	munmap(hole, want * page); /* first: without room nothing else works here */
	if (err)
		fail_msg("%s", test_mem_message(&t));
	assert_int_equal(method, SUT_POKE_WRITE);
	assert_non_null(strstr(sut_poke_why(b), "mappings"));
	assert_int_equal(call(x, 7), VALUE(7) + NEW);
	sut_poke_destroy(b);
}

/* ---- refusals ---------------------------------------------------------------------------------------------- */

static void assert_refused(struct sut_poke_batch *b, int code, const char *says)
{
	assert_int_equal(sut_poke_prepare(b, false), -code);
	if (!strstr(test_mem_message(&t), says))
		fail_msg("'%s' does not say '%s'", test_mem_message(&t), says);
	sut_poke_destroy(b);
}

static void test_foreign_bytes(void **state)
{
	static const struct {
		size_t off;
		uint8_t bytes[5], len;
		const char *says;
	} cases[] = {
		{ 0, { 0xcc }, 1, "breakpoint" },       { 3, { 0xcc }, 1, "breakpoint" },
		{ 0, { 0xe9, 1, 2, 3, 4 }, 5, "jump" }, { 0, { 0xe8, 1, 2, 3, 4 }, 5, "call" },
		{ 1, { 0x77 }, 1, "instead of" },
	};
	struct text *x = *state;

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		struct sut_poke_batch *b = batch(x, one, 1, false);
		uint64_t at = (uint64_t)(uintptr_t)x->at + entry(7);

		assert_int_equal(t.mem.ops->write(&t.mem, at + cases[i].off, cases[i].bytes, cases[i].len), 0);
		assert_refused(b, SUTURE_EREFUSED, cases[i].says);
		assert_non_null(suture_ctx_error(t.mem.ctx)->hint);
		assert_int_equal(t.mem.ops->write(&t.mem, at, x->file + entry(7), 5), 0);
	}
	assert_int_equal(t.calls[SUT_SYS_MREMAP] + t.calls[SUT_SYS_MMAP], 0);
}

/* Somebody writes between prepare and commit: not swapped over at a site, taken over beside it. */
static void test_changed_meanwhile(void **state)
{
	static const unsigned two[] = { 7, 9 };
	struct text *x = *state;
	uint64_t site = (uint64_t)(uintptr_t)x->at + entry(7), beside = (uint64_t)(uintptr_t)x->at + entry(8) + 1;
	const uint8_t int3 = 0xcc;

	for (unsigned i = 0; i < 2; i++) {
		struct sut_poke_batch *b = batch(x, two, 2, false);

		assert_int_equal(sut_poke_prepare(b, false), 0);
		assert_int_equal(t.mem.ops->write(&t.mem, i ? beside : site, &int3, 1), 0);
		assert_int_equal(sut_poke_commit(b) < 0, !i);
		assert_int_equal(*(uint8_t *)(uintptr_t)(i ? beside : site), 0xcc);
		assert_int_equal(call(x, 9), VALUE(9) + (i ? NEW : 0));
		assert_int_equal(sut_poke_drop(b), 0);
		sut_poke_destroy(b);
		assert_int_equal(t.mem.ops->write(&t.mem, site, x->file + entry(7), 1), 0);
	}
}

static void test_not_text(void **state)
{
	struct sut_poke_batch *b;
	struct sut_poke p = { .addr = (uint64_t)(uintptr_t)&n_kept, .len = 4 };

	assert_int_equal(sut_poke_create(&t.mem, &b), 0);
	memcpy(p.old, &n_kept, 4);
	assert_int_equal(sut_poke_add(b, &p), 0);
	assert_refused(b, SUTURE_EREFUSED, "executable");
	assert_int_equal(sut_poke_create(&t.mem, &b), 0);
	p.addr = 0x10000;
	assert_int_equal(sut_poke_add(b, &p), 0);
	assert_refused(b, SUTURE_EGONE, "mapped");
}

static void test_shared_text(void **state)
{
	struct text y;

	text_open(&y, "shared", PROT_READ | PROT_EXEC, MAP_SHARED);
	assert_refused(batch(&y, one, 1, false), SUTURE_EREFUSED, "shared");
	text_close(&y);
}

/* Pages that threads may write to are not exchanged under them. */
/* Text whose pages can not be swapped is written to, and @why is told. */
static void written_instead(const struct text *y, const char *why)
{
	struct sut_poke_batch *b = batch(y, one, 1, false);

	assert_int_equal(sut_poke_prepare(b, false), 0);
	assert_int_equal(sut_poke_method(b), SUT_POKE_WRITE);
	assert_non_null(strstr(sut_poke_why(b), why));
	assert_int_equal(sut_poke_commit(b), 0);
	assert_int_equal(call(y, 7), VALUE(7) + NEW);
	sut_poke_destroy(b);
}

static void test_writable_text(void **state)
{
	struct text y;

	text_open(&y, "writable", PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE);
	written_instead(&y, "writable");
	text_close(&y);
}

/* A sealed mapping can be neither duplicated nor replaced; bytes may still be written from outside. */
static void test_sealed_text(void **state)
{
	struct text y;

	text_open(&y, "sealed", PROT_READ | PROT_EXEC, MAP_PRIVATE);
	if (syscall(462 /* mseal */, y.at, PAGES * page, 0)) {
		printf("skipped: mseal: %s\n", strerror(errno));
		text_close(&y);
		skip();
	}
	written_instead(&y, "sealed");
	unlink(y.name); /* what is sealed stays mapped */
	free(y.file);
}

static void test_anonymous_text(void **state)
{
	struct text *x = *state, y;

	text_open(&y, "anonymous", PROT_READ | PROT_EXEC, MAP_PRIVATE);
	assert_ptr_equal(
		mmap(y.at, PAGES * page, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), y.at);
	assert_int_equal(t.mem.ops->write(&t.mem, (uint64_t)(uintptr_t)y.at, x->file, PAGES * page), 0);
	written_instead(&y, "not a file's");
	text_close(&y);
}

static void test_bad_pokes(void **state)
{
	struct text *x = *state;
	struct sut_poke_batch *b = batch(x, one, 1, false);
	struct sut_poke p = poke(x, 7, false);

	p.addr += 4;
	assert_int_equal(sut_poke_add(b, &p), -SUTURE_EREFUSED); /* overlaps by a byte */
	p.addr -= 8;
	assert_int_equal(sut_poke_add(b, &p), -SUTURE_EREFUSED);
	p.len = 0;
	assert_true(sut_poke_add(b, &p) < 0);
	p.len = SUT_POKE_MAX + 1;
	assert_true(sut_poke_add(b, &p) < 0);
	p.len = 5;
	p.addr = UINT64_MAX - 2;
	assert_true(sut_poke_add(b, &p) < 0);
	assert_int_equal(sut_poke_prepare(b, false), 0);
	assert_int_equal(sut_poke_drop(b), 0);
	sut_poke_destroy(b);
	sut_poke_destroy(NULL);
	assert_as_mapped(x);
}

/* A site at the mapping's last bytes, half outside. */
static void test_over_the_end(void **state)
{
	struct text *x = *state;
	struct sut_poke_batch *b;
	struct sut_poke p = { .addr = (uint64_t)(uintptr_t)x->at + PAGES * page - 3, .len = 5 };

	assert_int_equal(sut_poke_create(&t.mem, &b), 0);
	memset(p.old, 0xcc, 5);
	assert_int_equal(sut_poke_add(b, &p), 0);
	assert_int_equal(sut_poke_prepare(b, false), -SUTURE_EREFUSED);
	sut_poke_destroy(b);
}

/* What the registry says is not believed: a record of something else is not duplicated, nor unmapped. */
static void test_hostile_pristine(void **state)
{
	struct text *x = *state, y;
	uint64_t at = (uint64_t)(uintptr_t)x->at;

	text_open(&y, "other", PROT_READ | PROT_EXEC, MAP_PRIVATE);
	const struct sut_pristine hostile[] = {
		{ at, PAGES * page, (uint64_t)(uintptr_t)y.at }, /* another file */
		{ at, PAGES * page, at }, /* the text itself */
		{ at, PAGES * page, (uint64_t)(uintptr_t)&n_kept & ~(page - 1) }, /* data */
		{ at, PAGES * page, 0x10000 }, /* nothing */
		{ at, UINT64_MAX, (uint64_t)(uintptr_t)y.at },
		{ at, 0, 0 },
		{ at + 1, page, (uint64_t)(uintptr_t)y.at },
		{ UINT64_MAX - page, page, UINT64_MAX - page },
		{ at, ~(page - 1), at },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(hostile); i++) {
		bool dropped = false;

		n_kept = 1;
		kept[0] = hostile[i];
		change(x, several, SUT_ARRAY_SIZE(several), false);
		assert_all(x, NEW);
		change(x, several, SUT_ARRAY_SIZE(several), true);
		assert_as_mapped(x);
		assert_int_equal(sut_poke_tidy(&t.mem, &hostile[i], &dropped), 0);
		assert_true(dropped);
		assert_as_mapped(x);
		assert_as_mapped(&y);
	}
	text_close(&y);
}

/* ---- faults ------------------------------------------------------------------------------------------------ */

/*
 * Every operation fails once, and every one from some point on: until the commit is done the text is the
 * old one, afterwards the new one, never a mix; and if the drop could work, nothing is left behind.
 */
static void one_fault(struct text *x, bool revert, size_t fail_at, size_t fail_for, bool *ret_reached)
{
	struct sut_poke_batch *b = batch(x, several, SUT_ARRAY_SIZE(several), revert);
	size_t maps = test_mem_count_maps(&t, x->name);
	int err;

	t.n_ops = 0;
	t.fail_at = fail_at;
	t.fail_for = fail_for;
	err = sut_poke_prepare(b, false);
	if (!err)
		err = sut_poke_commit(b);
	*ret_reached = t.n_ops >= fail_at;
	t.fail_at = 0;
	if (err == -SUTURE_EDAMAGED &&
	    fail_for) { /* nothing works any more: at least it is no mix, and can be undone */
		assert_all(x, call(x, several[0]) - VALUE(several[0]));
		sut_poke_destroy(b);
		if (call(x, several[0]) != VALUE(several[0]))
			change(x, several, SUT_ARRAY_SIZE(several), true);
		return;
	}
	if (err == -SUTURE_EDAMAGED)
		fail_msg("operation %zu: damaged: %s", fail_at, test_mem_message(&t));
	assert_all(x, !err == revert ? 0 : NEW);
	if (err) {
		assert_int_equal(sut_poke_drop(b), 0);
		assert_int_equal(test_mem_count_maps(&t, x->name), maps);
	} else {
		note(b);
	}
	sut_poke_destroy(b);
	if (!err)
		change(x, several, SUT_ARRAY_SIZE(several), !revert);
}

static void test_faults(void **state)
{
	struct text *x = *state;

	for (unsigned revert = 0; revert < 2; revert++) {
		if (revert)
			change(x, several, SUT_ARRAY_SIZE(several), false);
		for (size_t at = 1, reached = 1; reached; at++) {
			bool was_reached;

			one_fault(x, revert, at, 0, &was_reached);
			reached = was_reached;
			assert_true(at < 1000);
		}
	}
	change(x, several, SUT_ARRAY_SIZE(several), true);
	assert_as_mapped(x);
}

static void test_faults_that_stay(void **state)
{
	struct text *x = *state;

	for (size_t at = 1, reached = 1; reached; at++) {
		bool was_reached;

		one_fault(x, false, at, 10000, &was_reached);
		reached = was_reached;
	}
	assert_as_mapped(x);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_one_site),
		T(test_several_sites),
		T(test_batches_overlap),
		T(test_cycles_do_not_grow),
		T(test_under_threads),
		T(test_private_pages_are_carried_over),
		T(test_locked_text_stays_locked),
		T(test_file_deleted),
		T(test_old_kernel),
		T(test_write_instead),
		T(test_write_when_asked),
		T(test_room),
		T(test_too_little_room),
		T(test_two_mappings),
		T(test_second_mapping_fails),
		T(test_hole_is_filled),
		T(test_no_room_for_mappings),
		T(test_foreign_bytes),
		T(test_changed_meanwhile),
		T(test_not_text),
		T(test_shared_text),
		T(test_writable_text),
		T(test_sealed_text),
		T(test_anonymous_text),
		T(test_bad_pokes),
		T(test_over_the_end),
		T(test_hostile_pristine),
		T(test_faults),
		T(test_faults_that_stay),
	};

	if (sut_arch_host() != &sut_arch_x86_64) {
		puts("skipped: the functions that are changed are x86-64 code");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
