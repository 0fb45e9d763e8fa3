/* SPDX-License-Identifier: MIT */
/* Walks and proofs of stopped threads. */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "lib.h"
#include "lib/needs.h"

#define FRAMES 64

static const char *object_name(struct suture_process *p, uint64_t pc)
{
	struct sut_object *o = sut_process_object_at(p, pc);

	return o ? o->name : "";
}

/* The symbol's runtime range in the program. */
static struct sut_code_range symbol(struct suture_process *p, const char *name)
{
	const struct sut_symbol *s = NULL;
	struct sut_symtab *tab;

	check(p, sut_object_symtab(p, &p->obj.v[0], &tab));
	check(p, sut_symtab_find(tab, p->obj.v[0].elf, name, 0, &s));
	return (struct sut_code_range){ s->value + p->obj.v[0].bias, s->value + s->size + p->obj.v[0].bias, name, 0 };
}

static void print_walk(struct suture_process *p, struct sut_thread *t)
{
	struct sut_frame f[FRAMES];
	const char *why = NULL;
	bool reliable;
	size_t n = sut_unwind(p, t, NULL, 0, f, FRAMES, &reliable, &why);

	print_message("thread %d: %zu frames, %s\n", t->tid, n, reliable ? "reliable" : why);
	for (size_t i = 0; i < n; i++)
		print_message("  %llx %s\n", (unsigned long long)f[i].pc, object_name(p, f[i].pc));
}

static void expect_all_reliable(struct suture_process *p)
{
	for (size_t i = 0; i < p->thread.n; i++) {
		struct sut_frame f[FRAMES];
		const char *why = NULL;
		bool reliable;
		size_t n = sut_unwind(p, &p->thread.v[i], NULL, 0, f, FRAMES, &reliable, &why);

		if (!reliable) {
			print_walk(p, &p->thread.v[i]);
			fail_msg("thread %d: %s", p->thread.v[i].tid, why);
		}
		assert_true(n > 1 && n < FRAMES);
		assert_true(f[0].exact);
		assert_null(why);
		for (size_t k = 1; k < n; k++)
			assert_true(f[k].cfa > f[k - 1].cfa || f[k].signal_frame || f[k - 1].signal_frame);
	}
}

static void sleeping_threads(void **state)
{
	static const char *const kinds[] = { "TARGET", "TARGET_NOPIE", "TARGET_STATIC", "TARGET_STATIC_PIE" };

	for (size_t i = 0; i < SUT_ARRAY_SIZE(kinds); i++) {
		const char *program = getenv(kinds[i]);
		struct suture_process *p;
		struct target t;

		if (!program || !*program)
			continue;
		target_start_program(&t, program, (const char *const[]){ "sleep", "4", NULL });
		p = attach(t.pid);
		check(p, sut_prove_prepare(p));
		check(p, sut_process_stop(p, 1000));
		assert_int_equal(p->thread.n, 5);
		expect_all_reliable(p);
		sut_process_release(p);
		suture_process_detach(p);
		target_stop_clean(&t);
	}
}

/* Hand-written code without CFI: an honest no. */
static void musl_is_unreliable(void **state)
{
	const char *program = getenv("TARGET_MUSL");
	struct suture_process *p;
	struct target t;

	if (!program || !*program)
		skip();
	target_start_program(&t, program, (const char *const[]){ "sleep", "4", NULL });
	p = attach(t.pid);
	check(p, sut_prove_prepare(p));
	check(p, sut_process_stop(p, 1000));
	for (size_t i = 0; i < p->thread.n; i++) {
		const char *why = NULL;
		bool reliable = true;

		sut_unwind(p, &p->thread.v[i], NULL, 0, NULL, 0, &reliable, &why);
		assert_false(reliable);
		assert_non_null(why);
	}
	sut_process_release(p);
	suture_process_detach(p);
	target_stop_clean(&t);
}

static void real_redis(void **state)
{
	static const char redis[] = "/usr/bin/redis-server";
	char path[64];
	pid_t pid;
	int status;

	if (access(redis, X_OK)) {
		print_message("no redis-server here\n");
		skip();
	}
	snprintf(path, sizeof(path), "/tmp/suture-redis-%d", getpid());
	pid = fork();
	if (!pid) {
		if (!freopen("/dev/null", "w", stdout))
			_exit(126);
		execl(redis, redis, "--port", "0", "--unixsocket", path, "--save", "", NULL);
		_exit(127);
	}
	for (unsigned i = 0; access(path, F_OK) && i < 5000; i++)
		usleep(1000);
	usleep(100000);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	for (unsigned i = 0; i < 20; i++) {
		struct suture_process *p = attach(pid);

		check(p, sut_prove_prepare(p));
		check(p, sut_process_stop(p, 1000));
		assert_true(p->thread.n >= 4);
		expect_all_reliable(p);
		sut_process_release(p);
		suture_process_detach(p);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	unlink(path);
}

/* What one proof says of each thread against one function: how many of each. */
static void prove_all(struct suture_process *p, const struct sut_code_range *r, size_t n, unsigned count[4])
{
	memset(count, 0, 4 * sizeof(*count));
	for (size_t i = 0; i < p->thread.n; i++) {
		struct sut_proof_result res = { 0 };

		check(p, sut_prove_thread(p, &p->thread.v[i], r, n, NULL, 0, &res));
		count[res.proof]++;
		assert_int_equal(!!res.range,
				 res.proof == SUT_PROOF_INSIDE || (res.range && res.proof != SUT_PROOF_CLEAR_SCAN));
	}
}

/* Through a handler on the same stack and on another: the interrupted function is found. */
static void through_signal_handlers(void **state)
{
	struct suture_process *p;
	struct sut_code_range r[2];
	unsigned count[4];
	struct target t;

	target_start(&t, "handler");
	p = attach(t.pid);
	r[0] = symbol(p, "interrupted_function");
	r[1] = symbol(p, "in_churn");
	check(p, sut_prove_prepare(p));
	check(p, sut_process_stop(p, 1000));
	assert_int_equal(p->thread.n, 3);
	expect_all_reliable(p);
	for (size_t i = 0; i < p->thread.n; i++) {
		struct sut_frame f[FRAMES];
		bool reliable, found = false, through = false;
		size_t n = sut_unwind(p, &p->thread.v[i], NULL, 0, f, FRAMES, &reliable, NULL);

		for (size_t k = 0; k < n; k++) {
			through |= f[k].signal_frame;
			found |= f[k].pc > r[0].start && f[k].pc <= r[0].end;
		}
		assert_int_equal(found, !p->thread.v[i].is_main);
		assert_int_equal(through, !p->thread.v[i].is_main);
	}
	prove_all(p, &r[0], 1, count);
	assert_int_equal(count[SUT_PROOF_INSIDE], 2);
	assert_int_equal(count[SUT_PROOF_CLEAR_SCAN] + count[SUT_PROOF_CLEAR_UNWIND], 1);
	/* A function that nobody is in; in a handler only the unwind can say so. */
	prove_all(p, &r[1], 1, count);
	assert_int_equal(count[SUT_PROOF_CLEAR_UNWIND], 2);
	assert_int_equal(count[SUT_PROOF_CLEAR_SCAN], 1);
	sut_process_release(p);
	suture_process_detach(p);
	target_stop_clean(&t);
}

/*
 * A restorer that is in no file: what the handler interrupted lies below it, out of the scan's sight, and the unwind
 * does not come through. Neither may say "clear".
 */
static void through_a_restorer_of_the_programs_own(void **state)
{
	struct suture_process *p;
	struct target t;
	unsigned seen = 0;

	target_start(&t, "restorer");
	p = attach(t.pid);
	check(p, sut_prove_prepare(p));
	check(p, sut_process_stop(p, 1000));
	for (size_t i = 0; i < p->thread.n; i++) {
		struct sut_code_range r = symbol(p, "interrupted_function");
		struct sut_proof_result res;

		if (p->thread.v[i].is_main)
			continue;
		check(p, sut_prove_thread(p, &p->thread.v[i], &r, 1, NULL, 0, &res));
		assert_true(res.proof == SUT_PROOF_UNRELIABLE || res.proof == SUT_PROOF_INSIDE);
		seen++;
	}
	if (p->mem.arch == &sut_arch_x86_64)
		assert_int_equal(seen, 1);
	sut_process_release(p);
	suture_process_detach(p);
	target_stop_clean(&t);
}

static void in_the_vdso(void **state)
{
	struct suture_process *p;
	struct target t;
	unsigned in_vdso = 0, reliable_in_vdso = 0;

	target_start(&t, "clock", "2");
	p = attach(t.pid);
	check(p, sut_prove_prepare(p));
	for (unsigned i = 0; i < 300; i++) {
		check(p, sut_process_stop(p, 1000));
		for (size_t k = 0; k < p->thread.n; k++) {
			struct sut_thread *th = &p->thread.v[k];
			struct sut_object *o = sut_process_object_at(p, p->mem.arch->regs_pc(&th->regs));
			bool reliable;

			sut_unwind(p, th, NULL, 0, NULL, 0, &reliable, NULL);
			in_vdso += o && o->is_vdso;
			reliable_in_vdso += o && o->is_vdso && reliable;
		}
		sut_process_release(p);
	}
	assert_true(in_vdso > 0);
	assert_int_equal(reliable_in_vdso, in_vdso);
	suture_process_detach(p);
	target_stop_clean(&t);
}

/* Where the proofs see a thread: inside by its pc, inside by a frame, and clear. */
static void inside_and_outside(void **state)
{
	struct suture_process *p;
	struct sut_code_range sleeper, other, both[2];
	unsigned count[4];
	struct target t;

	target_start(&t, "sleep", "6");
	p = attach(t.pid);
	sleeper = symbol(p, "in_sleep");
	other = symbol(p, "in_churn");
	check(p, sut_prove_prepare(p));
	check(p, sut_process_stop(p, 1000));
	prove_all(p, &sleeper, 1, count);
	assert_int_equal(count[SUT_PROOF_INSIDE], 6);
	prove_all(p, &other, 1, count);
	assert_int_equal(count[SUT_PROOF_CLEAR_SCAN] + count[SUT_PROOF_CLEAR_UNWIND], 7);
	both[0] = sleeper.start < other.start ? sleeper : other;
	both[1] = sleeper.start < other.start ? other : sleeper;
	prove_all(p, both, 2, count);
	assert_int_equal(count[SUT_PROOF_INSIDE], 6);
	prove_all(p, NULL, 0, count);
	assert_int_equal(count[SUT_PROOF_CLEAR_SCAN], 7);
	/* By its very pc; and a range that ends there does not hold it. */
	for (size_t i = 0; i < p->thread.n; i++) {
		uint64_t pc = p->mem.arch->regs_pc(&p->thread.v[i].regs);
		struct sut_code_range at = { pc, pc + 1, "pc", 0 }, before = { pc - 2, pc, "before", 0 };
		struct sut_proof_result res;

		check(p, sut_prove_thread(p, &p->thread.v[i], &at, 1, NULL, 0, &res));
		assert_int_equal(res.proof, SUT_PROOF_INSIDE);
		assert_int_equal(res.address, pc);
		check(p, sut_prove_thread(p, &p->thread.v[i], &before, 1, NULL, 0, &res));
		assert_int_not_equal(res.proof, SUT_PROOF_INSIDE);
	}
	sut_process_release(p);
	suture_process_detach(p);
	target_stop_clean(&t);
}

/* A stale word on the stack: the scan finds it, the unwind clears the thread. */
static void stale_words_are_cleared_by_the_unwind(void **state)
{
	struct suture_process *p;
	struct sut_code_range r;
	unsigned unwound = 0;
	struct target t;

	target_start(&t, "sleep", "3");
	p = attach(t.pid);
	r = symbol(p, "in_churn");
	check(p, sut_prove_prepare(p));
	check(p, sut_process_stop(p, 1000));
	for (size_t i = 0; i < p->thread.n; i++) {
		uint64_t sp = p->mem.arch->regs_sp(&p->thread.v[i].regs), at = sp, word = r.start + 1, old;
		struct sut_proof_result res;

		/* In the red zone, of which a thread that sleeps in a call uses nothing, it is not even looked at. */
		check(p, sut_mem_read(&p->mem, sp - 16, &old, 8));
		check(p, sut_mem_write(&p->mem, sp - 16, &word, 8));
		check(p, sut_prove_thread(p, &p->thread.v[i], &r, 1, NULL, 0, &res));
		assert_int_equal(res.proof, SUT_PROOF_CLEAR_SCAN);
		check(p, sut_mem_write(&p->mem, sp - 16, &old, 8));
		/* In the first word above that holds nothing. */
		do
			check(p, sut_mem_read(&p->mem, at += 8, &old, 8));
		while (old);
		check(p, sut_mem_write(&p->mem, at, &word, 8));
		check(p, sut_prove_thread(p, &p->thread.v[i], &r, 1, NULL, 0, &res));
		assert_int_equal(res.proof, SUT_PROOF_CLEAR_UNWIND);
		/* The end counts too, the start does not. */
		word = r.end;
		check(p, sut_mem_write(&p->mem, at, &word, 8));
		check(p, sut_prove_thread(p, &p->thread.v[i], &r, 1, NULL, 0, &res));
		assert_int_equal(res.proof, SUT_PROOF_CLEAR_UNWIND);
		word = r.start;
		check(p, sut_mem_write(&p->mem, at, &word, 8));
		check(p, sut_prove_thread(p, &p->thread.v[i], &r, 1, NULL, 0, &res));
		assert_int_equal(res.proof, SUT_PROOF_CLEAR_SCAN);
		check(p, sut_mem_write(&p->mem, at, &old, 8));
		unwound++;
	}
	assert_int_equal(unwound, 4);
	sut_process_release(p);
	suture_process_detach(p);
	target_stop_clean(&t);
}

/* A coroutine inside: neither proof may say "clear" of a thread on a stack that is not its own. */
static void another_stack_is_not_believed(void **state)
{
	struct suture_process *p;
	struct sut_code_range r;
	struct target t;
	unsigned seen = 0;

	target_start(&t, "coroutine");
	p = attach(t.pid);
	r = symbol(p, "in_churn");
	check(p, sut_prove_prepare(p));
	check(p, sut_process_stop(p, 1000));
	for (size_t i = 0; i < p->thread.n; i++) {
		struct sut_proof_result res;
		bool reliable = true;

		if (p->thread.v[i].is_main)
			continue;
		sut_unwind(p, &p->thread.v[i], NULL, 0, NULL, 0, &reliable, NULL);
		assert_false(reliable);
		check(p, sut_prove_thread(p, &p->thread.v[i], &r, 1, NULL, 0, &res));
		assert_int_equal(res.proof, SUT_PROOF_UNRELIABLE);
		assert_non_null(res.why);
		seen++;
	}
	assert_int_equal(seen, 1);
	sut_process_release(p);
	suture_process_detach(p);
	target_stop_clean(&t);
}

/* An object whose file is another than at the last refresh is not believed, whichever way the kernel is asked. */
static void text_that_changed_is_not_believed(void **state)
{
	struct suture_process *p;
	struct target t;

	target_start(&t, "sleep", "2");
	p = attach(t.pid);
	check(p, sut_prove_prepare(p));
	for (unsigned i = 0; i < 4; i++) {
		bool reliable = true, change = i & 1;
		const char *why = NULL;
		int fd = sut_priv(p)->maps_fd;

		if (i >= 2)
			sut_priv(p)->maps_fd = -1;
		p->obj.v[0].inode += change;
		check(p, sut_process_stop(p, 1000));
		if (!change)
			expect_all_reliable(p);
		for (size_t k = 0; k < p->thread.n && change; k++) {
			sut_unwind(p, &p->thread.v[k], NULL, 0, NULL, 0, &reliable, &why);
			assert_false(reliable);
			assert_non_null(strstr(why, "mapped meanwhile"));
		}
		sut_process_release(p);
		p->obj.v[0].inode -= change;
		sut_priv(p)->maps_fd = fd;
	}
	suture_process_detach(p);
	target_stop_clean(&t);
}

static void many_threads(void **state)
{
	uint64_t start, best = UINT64_MAX, hold = UINT64_MAX;
	struct suture_process *p;
	struct sut_code_range r;
	unsigned count[4];
	struct target t;

	target_start(&t, "sleep", "256");
	p = attach(t.pid);
	r = symbol(p, "in_sleep");
	check(p, sut_prove_prepare(p));
	for (unsigned i = 0; i < 10; i++) {
		uint64_t took;

		check(p, sut_process_stop(p, 10000));
		start = sut_now_ns();
		prove_all(p, &r, 1, count);
		took = sut_now_ns() - start;
		best = took < best ? took : best;
		assert_int_equal(count[SUT_PROOF_INSIDE], 256);
		took = sut_process_release(p);
		hold = took < hold ? took : hold;
	}
	print_message("257 threads: scan and unwind %llu us, longest hold with the stop %llu us at best\n",
		      (unsigned long long)best / 1000, (unsigned long long)hold / 1000);
	suture_process_detach(p);
	target_stop_clean(&t);
}

/* The only thread of a child that was forked by a thread: its stack is that thread's, its end that of a thread. */
static void a_child_forked_by_a_thread(void **state)
{
	struct sut_code_range asleep, elsewhere;
	struct suture_process *p;
	unsigned count[4];
	int64_t r;
	pid_t child = 0;
	struct target t;

	target_start(&t, "forked");
	p = attach(t.pid);
	for (unsigned i = 0; i < 5000 && !child; i++) {
		usleep(1000);
		child = child_of(p);
	}
	suture_process_detach(p);
	assert_true(child > 0);
	usleep(20000);
	p = attach(child);
	asleep = symbol(p, "in_forked");
	elsewhere = symbol(p, "in_churn");
	check(p, sut_prove_prepare(p));
	for (unsigned i = 0; i < 20; i++) {
		check(p, sut_process_stop(p, 10000));
		assert_int_equal(p->thread.n, 1);
		assert_true(p->thread.v[0].is_main);
		expect_all_reliable(p);
		prove_all(p, &asleep, 1, count);
		assert_int_equal(count[SUT_PROOF_INSIDE], 1);
		prove_all(p, &elsewhere, 1, count);
		assert_int_equal(count[SUT_PROOF_CLEAR_SCAN] + count[SUT_PROOF_CLEAR_UNWIND], 1);
		sut_process_release(p);
		check(p, sut_process_borrow(p, 10000));
		check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_GETPID));
		assert_int_equal(r, child);
		sut_process_release(p);
		sut_process_sleep(p, 1);
	}
	suture_process_detach(p);
	target_kill(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sleeping_threads),
		cmocka_unit_test(musl_is_unreliable),
		cmocka_unit_test(real_redis),
		cmocka_unit_test(through_signal_handlers),
		cmocka_unit_test(through_a_restorer_of_the_programs_own),
		cmocka_unit_test(in_the_vdso),
		cmocka_unit_test(inside_and_outside),
		cmocka_unit_test(stale_words_are_cleared_by_the_unwind),
		cmocka_unit_test(another_stack_is_not_believed),
		cmocka_unit_test(text_that_changed_is_not_believed),
		cmocka_unit_test(a_child_forked_by_a_thread),
		cmocka_unit_test(many_threads),
	};

	need_host();
	need_trace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
