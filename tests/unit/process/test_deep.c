/* SPDX-License-Identifier: MIT */
/*
 * The deep proof: which words of a process's memory count, and which do not. The process is a child that sleeps; words are
 * written into its memory from outside.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "lib.h"
#include "lib/needs.h"

#define SIZE (1 << 20)

/* Code that is not there, and another one in each test: the child's memory holds such an address by our hand alone. */
#define LEN 0x40ull
static uint64_t code_at = 0x123456789000ull;

/* Made before the fork, so at the same addresses in the child. */
static uint8_t *private, *shared, *readonly, *untouched;
static uint8_t data[4096];
static const size_t where = SIZE / 2 + 24;

struct deep {
	pid_t pid;
	struct suture_process *p;
	struct sut_code_range range;
};

static uint8_t *map(int prot, int flags)
{
	uint8_t *m = mmap(NULL, SIZE, prot, flags | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(m, MAP_FAILED);
	return m;
}

static int setup(void **state)
{
	struct deep *d = calloc(1, sizeof(*d));

	private = map(PROT_READ | PROT_WRITE, MAP_PRIVATE);
	shared = map(PROT_READ | PROT_WRITE, MAP_SHARED);
	readonly = map(PROT_READ | PROT_WRITE, MAP_PRIVATE);
	untouched = map(PROT_READ | PROT_WRITE, MAP_PRIVATE);
	memset(private, 1, SIZE);
	memset(shared, 1, SIZE);
	memset(readonly, 1, SIZE);
	mprotect(readonly, SIZE, PROT_READ);
	d->pid = fork();
	assert_true(d->pid >= 0);
	if (!d->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	d->p = attach(d->pid);
	code_at += 1 << 20;
	d->range = (struct sut_code_range){ code_at, code_at + LEN, "code", 7 };
	check(d->p, sut_process_refresh(d->p));
	check(d->p, sut_prove_prepare(d->p));
	*state = d;
	return 0;
}

static int teardown(void **state)
{
	struct deep *d = *state;

	sut_deep_end(d->p);
	suture_process_detach(d->p);
	kill(d->pid, SIGKILL);
	waitpid(d->pid, NULL, 0);
	munmap(private, SIZE);
	munmap(shared, SIZE);
	munmap(readonly, SIZE);
	munmap(untouched, SIZE);
	free(d);
	return 0;
}

static void put(struct deep *d, const void *at, uint64_t v)
{
	check(d->p, sut_mem_write(sut_process_mem(d->p), (uintptr_t)at, &v, 8));
}

/* One stop with the whole proof. */
static struct sut_proof_result look(struct deep *d)
{
	struct sut_proof_result r = { 0 };

	check(d->p, sut_process_stop(d->p, 10000));
	sut_deep_forget_threads(d->p);
	for (size_t i = 0; i < d->p->thread.n; i++) {
		check(d->p, sut_prove_thread(d->p, &d->p->thread.v[i], &d->range, 1, NULL, 0, &r));
		if (r.proof != SUT_PROOF_CLEAR_UNWIND && r.proof != SUT_PROOF_CLEAR_MEMORY)
			fail_msg("proof %d, 0x%llx at 0x%llx, %s", r.proof, (unsigned long long)r.address,
				 (unsigned long long)r.where, r.why ? r.why : "");
	}
	check(d->p, sut_deep_memory(d->p, &r));
	sut_process_release(d->p);
	return r;
}

static void begin(struct deep *d, const struct sut_span *ours, size_t n)
{
	check(d->p, sut_deep_begin(d->p, &d->range, 1, ours, n));
}

static void is_clear(struct deep *d)
{
	struct sut_proof_result r = look(d);

	if (r.proof != SUT_PROOF_CLEAR_MEMORY)
		fail_msg("0x%llx counts at 0x%llx", (unsigned long long)r.address, (unsigned long long)r.where);
}

static void is_found(struct deep *d, const void *at, uint64_t v)
{
	struct sut_proof_result r = look(d);

	assert_int_equal(r.proof, SUT_PROOF_INSIDE);
	assert_int_equal(r.where, (uintptr_t)at);
	assert_int_equal(r.address, v);
	assert_ptr_not_equal(r.range, NULL);
	assert_int_equal(r.range->func, 7);
}

static void found_at(struct deep *d, uint8_t *at)
{
	is_clear(d);
	put(d, at, code_at + 5);
	is_found(d, at, code_at + 5);
	put(d, at, 0);
	is_clear(d);
}

static void all_sorts_of_memory(void **state)
{
	struct deep *d = *state;

	begin(d, NULL, 0);
	found_at(d, private + where);
	found_at(d, private);
	found_at(d, private + SIZE - 8);
	found_at(d, shared + where);
	found_at(d, untouched + where);
	found_at(d, data + 8);
}

/* A kernel without PAGEMAP_SCAN. */
static void by_entries(void **state)
{
	struct deep *d = *state;

	begin(d, NULL, 0);
	sut_deep_no_scan(d->p);
	found_at(d, private + where);
	found_at(d, private);
	found_at(d, private + SIZE - 8);
	found_at(d, shared + where);
	found_at(d, untouched + where);
}

static void no_stack_is_read_only(void **state)
{
	struct deep *d = *state;

	put(d, readonly + where, code_at + 5);
	begin(d, NULL, 0);
	is_clear(d);
}

/* (start, end]: what cannot be decoded may end in a call. */
static void bounds(void **state)
{
	struct deep *d = *state;

	begin(d, NULL, 0);
	put(d, private + where, code_at);
	is_clear(d);
	put(d, private + where, code_at + 1);
	is_found(d, private + where, code_at + 1);
	put(d, private + where, code_at + LEN);
	is_found(d, private + where, code_at + LEN);
	put(d, private + where, code_at + LEN + 1);
	is_clear(d);
	put(d, private + where + 4, code_at + 5); /* not where a call puts it */
	is_clear(d);
}

/* Code that ends otherwise: its end is the next function's start. */
static void end_of_code(void **state)
{
	static const uint8_t returns[] = { 0x90, 0x90, 0xc3 }, calls[] = { 0xe8, 0, 0, 0, 0 };
	struct deep *d = *state;
	const void *code = private + 4096;

	d->range = (struct sut_code_range){ (uintptr_t)code, (uintptr_t)code + sizeof(returns), "code", 7 };
	check(d->p, sut_mem_write(sut_process_mem(d->p), (uintptr_t)code, returns, sizeof(returns)));
	begin(d, NULL, 0);
	put(d, private + where, d->range.end);
	is_clear(d);
	put(d, private + where, d->range.end - 1);
	is_found(d, private + where, d->range.end - 1);
	d->range.end = d->range.start + sizeof(calls);
	check(d->p, sut_mem_write(sut_process_mem(d->p), (uintptr_t)code, calls, sizeof(calls)));
	begin(d, NULL, 0);
	put(d, private + where, d->range.end);
	is_found(d, private + where, d->range.end);
}

static void ours_is_left_out(void **state)
{
	struct deep *d = *state;
	const struct sut_span ours[] = {
		{ (uintptr_t) private + where, (uintptr_t) private + where + 21 },
		{ (uintptr_t)shared + where - 3, (uintptr_t)shared + where + 8 },
	};

	put(d, private + where, code_at + 5);
	put(d, private + where + 8, code_at + 5);
	put(d, shared + where, code_at + 5);
	begin(d, ours, 2);
	is_clear(d);
	put(d, private + where + 24, code_at + 9);
	is_found(d, private + where + 24, code_at + 9);
	put(d, private + where + 24, 0);
	put(d, private + where - 8, code_at + 9);
	is_found(d, private + where - 8, code_at + 9);
}

/* While the word stands there nobody needs to be stopped; but not for ever. */
static void seen_without_a_stop(void **state)
{
	struct deep *d = *state;
	struct sut_proof_result r = { 0 };
	unsigned n = 0;

	begin(d, NULL, 0);
	assert_false(sut_deep_still_there(d->p, &r));
	is_clear(d);
	assert_false(sut_deep_still_there(d->p, &r));
	put(d, shared + where, code_at + 5);
	is_found(d, shared + where, code_at + 5);
	while (n < 1000 && sut_deep_still_there(d->p, &r))
		n++;
	assert_in_range(n, 1, 100);
	assert_int_equal(r.where, (uintptr_t)shared + where);
	is_found(d, shared + where, code_at + 5);
	assert_true(sut_deep_still_there(d->p, &r));
	put(d, shared + where, code_at);
	assert_false(sut_deep_still_there(d->p, &r));
	is_clear(d);
}

/* What the process never used stays unused. */
static void nothing_is_touched(void **state)
{
	struct deep *d = *state;
	bool used[SIZE / 4096];

	begin(d, NULL, 0);
	is_clear(d);
	check(d->p, sut_process_mem(d->p)->ops->private_pages(sut_process_mem(d->p), (uintptr_t)untouched,
							      (uintptr_t)untouched + SIZE, used));
	for (size_t i = 0; i < SIZE / 4096; i++)
		assert_false(used[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_sorts_of_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(by_entries, setup, teardown),
		cmocka_unit_test_setup_teardown(no_stack_is_read_only, setup, teardown),
		cmocka_unit_test_setup_teardown(bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(end_of_code, setup, teardown),
		cmocka_unit_test_setup_teardown(ours_is_left_out, setup, teardown),
		cmocka_unit_test_setup_teardown(seen_without_a_stop, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_touched, setup, teardown),
	};

	need_host();
	need_trace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
