/* SPDX-License-Identifier: MIT */
/*
 * test_self.c - patches in one's own process: this one. Its other threads run what is patched, hold locks that the
 * transition must not want (malloc, stdio, the dynamic linker's), sleep, are born and die meanwhile.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture/selfvictim.h"
#include "lib/mksut.h"
#include "patch/internal.h"

#define WORKERS 4
#define CYCLES  200
#define ENOUGH  12 /* where an emulator takes longer than MINUTE for them */
#define MINUTE  60000000000ull

static const char *lib_path, *fix_path;
static struct suture_ctx *ctx;
static const struct suture_enable_opts short_time = { .sz = sizeof(short_time), .timeout_ms = 2000 };

/* -- threads ---------------------------------------------------------------------------------- */

static int stop;
static unsigned long seen_old, seen_new, seen_wrong;

static void look(int r)
{
	__atomic_add_fetch(r == SELF_OLD ? &seen_old : r == SELF_NEW ? &seen_new : &seen_wrong, 1, __ATOMIC_RELAXED);
}

static bool over(void)
{
	return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

static void *calls(void *arg)
{
	for (int i = 0; !over(); i++) {
		look(self_work(i));
		if (i % 256 == 0)
			usleep(100);
	}
	return arg;
}

static void *throws(void *arg)
{
	for (int i = 0; !over(); i++) {
		if (self_try(i))
			__atomic_add_fetch(&seen_wrong, 1, __ATOMIC_RELAXED);
		usleep(500);
	}
	return arg;
}

static void *slow_calls(void *arg)
{
	while (!over()) {
		(void)self_slow(1);
		usleep(1000);
	}
	return arg;
}

/* Most of the time with a lock of the C library in its hands. */
static void *locks(void *arg)
{
	FILE *f = fopen("/dev/null", "w");

	while (!over()) {
		void *p[16];

		for (size_t i = 0; i < SUT_ARRAY_SIZE(p); i++)
			p[i] = malloc(100 + 5000 * i);
		for (size_t i = 0; i < SUT_ARRAY_SIZE(p); i++)
			free(p[i]);
		fprintf(f, "%p %s\n", p[0], "text");
		if (dlsym(RTLD_DEFAULT, "no_such_symbol_anywhere"))
			abort();
	}
	fclose(f);
	return arg;
}

static void *one_call(void *arg)
{
	look(self_work(1));
	return arg;
}

static void *makes_threads(void *arg)
{
	pthread_t t;

	while (!over())
		if (!pthread_create(&t, NULL, one_call, NULL))
			pthread_join(t, NULL);
	return arg;
}

struct crowd {
	pthread_t t[16];
	unsigned n;
};

static void start(struct crowd *c, void *(*fn)(void *), unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(pthread_create(&c->t[c->n++], NULL, fn, NULL), 0);
}

static void end(struct crowd *c)
{
	__atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < c->n; i++)
		pthread_join(c->t[i], NULL);
	stop = 0;
	assert_int_equal(seen_wrong, 0);
}

/* Waits until others have seen fresh results of one kind. */
static void sees(unsigned long *counter)
{
	unsigned long before = __atomic_load_n(counter, __ATOMIC_SEQ_CST);

	for (int i = 0; i < 20000; i++) {
		if (__atomic_load_n(counter, __ATOMIC_SEQ_CST) > before + 10)
			return;
		usleep(1000);
	}
	fail_msg("no %s results are seen", counter == &seen_new ? "new" : "old");
}

/* -- patches ---------------------------------------------------------------------------------- */

static void want(int err, int wanted, const char *what)
{
	if (err != wanted)
		fail_msg("%s: %d (%s), want %d: %s", what, err, suture_code_name(err), wanted,
			 err ? suture_ctx_error(ctx)->message : "it succeeded");
}

/* The last failure's text holds @part. */
static void said(const char *part)
{
	if (!strstr(suture_ctx_error(ctx)->message, part))
		fail_msg("\"%s\" does not say \"%s\"", suture_ctx_error(ctx)->message, part);
}

static struct suture_patch *open_patch(const char *name, const struct mksut_func *funcs, size_t n)
{
	const struct mksut m = {
		.name = name,
		.object_file = fix_path,
		.targets = &lib_path,
		.sonames = (const char *const[]){ "libselfvictim.so" },
		.n_targets = 1,
		.funcs = funcs,
		.n_funcs = n,
	};
	struct suture_patch *p = NULL;
	uint8_t *image;
	size_t len;

	assert_int_equal(mksut_make(&m, &image, &len), 0);
	want(sut_patch_parse(ctx, image, len, name, &p), 0, "open");
	return p;
}

static struct suture_patch *work_patch(void)
{
	static const struct mksut_func f[] = { { "self_work", "self_work", 0 }, { "self_inner", "self_inner", 0 } };

	return open_patch("fix-work", f, SUT_ARRAY_SIZE(f));
}

static struct suture_patch *one_patch(const char *name, const char *func)
{
	const struct mksut_func f[] = { { func, func, 0 } };

	return open_patch(name, f, 1);
}

static struct suture_process *self(void)
{
	struct suture_process *p = NULL;

	want(suture_process_self(ctx, &p), 0, "self");
	return p;
}

static int enable(struct suture_patch *patch, const struct suture_enable_opts *o, struct suture_report **r)
{
	struct suture_enable_opts opts = o ? *o : (struct suture_enable_opts){ .sz = sizeof(opts) };
	struct suture_process *p = self();
	int err;

	opts.report = r;
	err = suture_patch_enable(p, patch, &opts);

	suture_process_detach(p);
	return err;
}

static int disable(const char *name, const struct suture_enable_opts *o)
{
	struct suture_process *p = self();
	int err = suture_patch_disable(p, name, o);

	suture_process_detach(p);
	return err;
}

static bool has_state(struct suture_process *p, const char *name, enum suture_patch_state state)
{
	struct suture_status *s = NULL;
	bool found = false;

	want(suture_process_status(p, &s), 0, "status");
	for (size_t i = 0; i < s->n_patches; i++)
		found |= !strcmp(s->patches[i].name, name) && s->patches[i].state == state;
	suture_status_free(s);
	return found;
}

/* /proc/self/maps but for what the heap and threads' stacks do to it: the lines that have a name. */
static char *named_maps(void)
{
	char line[512], *text = NULL;
	size_t len = 0;
	FILE *in = fopen("/proc/self/maps", "re"), *out = open_memstream(&text, &len);

	while (fgets(line, sizeof(line), in))
		if (strchr(line, '/'))
			fputs(line, out);
	fclose(in);
	fclose(out);
	return text;
}

/* -- tests ------------------------------------------------------------------------------------ */

static void test_in_and_out(void **state)
{
	struct suture_patch *patch = work_patch();
	struct suture_process *p = self();
	struct suture_report *r = NULL;
	struct crowd c = { 0 };

	start(&c, calls, WORKERS);
	sees(&seen_old);
	assert_int_equal(self_work(1), SELF_OLD);
	want(suture_patch_check(p, patch, &r), 0, "check");
	assert_int_equal(r->threads, WORKERS + 1);
	suture_report_free(r);
	assert_int_equal(self_work(1), SELF_OLD);

	want(suture_patch_enable(p, patch,
				 &(struct suture_enable_opts){ .sz = sizeof(struct suture_enable_opts), .report = &r }),
	     0, "enable");
	assert_string_equal(r->text_method, "swap");
	assert_int_equal(r->threads, WORKERS + 1);
	suture_report_free(r);
	assert_int_equal(self_work(1), SELF_NEW);
	sees(&seen_new);
	assert_true(has_state(p, "fix-work", SUTURE_STATE_ENABLED));
	want(suture_patch_enable(p, patch, NULL), -SUTURE_ENOTHING, "enable again");

	want(suture_patch_disable(p, "fix-work", NULL), 0, "disable");
	assert_int_equal(self_work(1), SELF_OLD);
	sees(&seen_old);
	assert_true(has_state(p, "fix-work", SUTURE_STATE_PARKED));
	end(&c);
	suture_process_detach(p);
	suture_patch_close(patch);
}

/* Threads that hold locks, throw, are born and die: whatever the transition wanted of the C library in the stop, it
 * would wait for ever. */
static void test_cycles(void **state)
{
	struct suture_patch *patch = work_patch(), *risky = one_patch("fix-risky", "self_risky");
	uint64_t until = sut_now_ns() + MINUTE;
	char *second = NULL, *last;
	struct crowd c = { 0 };

	start(&c, calls, WORKERS);
	start(&c, locks, 2);
	start(&c, throws, 1);
	start(&c, makes_threads, 1);
	for (int i = 1; i <= CYCLES && (i <= ENOUGH || sut_now_ns() < until); i++) {
		want(enable(patch, NULL, NULL), 0, "enable");
		assert_int_equal(self_work(i), SELF_NEW);
		if (i % 4 == 0)
			want(enable(risky, NULL, NULL), 0, "enable another");
		want(disable("fix-work", NULL), 0, "disable");
		assert_int_equal(self_work(i), SELF_OLD);
		if (i % 4 == 0)
			want(disable("fix-risky", NULL), 0, "disable another");
		if (i == 8)
			second = named_maps();
	}
	last = named_maps();
	assert_string_equal(last, second);
	free(last);
	free(second);
	end(&c);
	assert_true(self_cleanups > 0);
	suture_patch_close(patch);
	suture_patch_close(risky);
}

static void test_throw(void **state)
{
	static const struct mksut_func f[] = { { "self_risky", "self_risky", 0 }, { "self_passes", "self_passes", 0 } };
	struct suture_patch *patch = open_patch("fix-throw", f, SUT_ARRAY_SIZE(f));
	struct crowd c = { 0 };
	int before;

	start(&c, throws, 2);
	assert_int_equal(self_try(2), 0);
	want(enable(patch, NULL, NULL), 0, "enable");
	before = __atomic_load_n(&self_cleanups, __ATOMIC_RELAXED);
	for (int i = 0; i < 100; i++)
		assert_int_equal(self_try(i), 0);
	assert_true(__atomic_load_n(&self_cleanups, __ATOMIC_RELAXED) >= before + 100);
	want(disable("fix-throw", NULL), 0, "disable");
	end(&c);
	before = self_cleanups;
	assert_int_equal(self_try(3), 0);
	assert_int_equal(self_cleanups, before);
	suture_patch_close(patch);
}

static void test_busy(void **state)
{
	struct suture_patch *patch = one_patch("fix-slow", "self_slow");
	struct crowd c = { 0 };

	self_hold = 1;
	start(&c, slow_calls, 2);
	while (__atomic_load_n(&self_inside, __ATOMIC_SEQ_CST) < 2)
		usleep(1000);
	want(enable(patch, &short_time, NULL), -SUTURE_ETIMEOUT, "enable while all are inside");
	said("self_slow");
	__atomic_store_n(&self_hold, 0, __ATOMIC_SEQ_CST);
	want(enable(patch, NULL, NULL), 0, "enable");
	assert_int_equal(self_slow(1), 3);
	__atomic_store_n(&self_hold, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&self_inside, __ATOMIC_SEQ_CST) < 2)
		usleep(1000);
	want(disable("fix-slow", &short_time), -SUTURE_ETIMEOUT, "disable while all are inside");
	said("self_slow (patched)");
	__atomic_store_n(&self_hold, 0, __ATOMIC_SEQ_CST);
	want(disable("fix-slow", NULL), 0, "disable");
	assert_int_equal(self_slow(1), 2);
	end(&c);
	suture_patch_close(patch);
}

static int enable_from_inside(void *patch)
{
	return enable(patch, &short_time, NULL);
}

/* The calling thread is one of those that must be outside. */
static void test_caller_inside(void **state)
{
	struct suture_patch *patch = one_patch("fix-call", "self_call");
	char tid[32];

	assert_int_equal(self_call(enable_from_inside, patch), -SUTURE_ETIMEOUT);
	snprintf(tid, sizeof(tid), "thread %d ", gettid());
	said(tid);
	said("was inside self_call");
	want(enable(patch, NULL, NULL), 0, "enable");
	assert_int_equal(self_call(enable_from_inside, patch), -SUTURE_ENOTHING + 1000);
	want(disable("fix-call", NULL), 0, "disable");
	suture_patch_close(patch);
}

static int blocks_now, unblock;

static void *blocks_signals(void *arg)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	__atomic_store_n(&blocks_now, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&unblock, __ATOMIC_SEQ_CST))
		usleep(1000);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	while (!over())
		usleep(1000);
	return arg;
}

static void test_blocked_signals(void **state)
{
	struct suture_patch *patch = work_patch();
	struct crowd c = { 0 };

	start(&c, blocks_signals, 1);
	while (!__atomic_load_n(&blocks_now, __ATOMIC_SEQ_CST))
		usleep(1000);
	want(enable(patch, &short_time, NULL), -SUTURE_ETIMEOUT, "enable while one blocks all signals");
	said("blocks all real-time signals");
	assert_int_equal(self_work(1), SELF_OLD);
	__atomic_store_n(&unblock, 1, __ATOMIC_SEQ_CST);
	want(enable(patch, NULL, NULL), 0, "enable");
	want(disable("fix-work", NULL), 0, "disable");
	end(&c);
	suture_patch_close(patch);
}

static int in_child(struct suture_process *parents, struct suture_patch *patch)
{
	struct suture_process *mine = NULL;

	if (self_work(1) != SELF_NEW)
		return 1;
	if (suture_patch_disable(parents, "fix-work", NULL) != -SUTURE_EUSAGE)
		return 2;
	if (suture_process_self(ctx, &mine) || suture_patch_disable(mine, "fix-work", NULL))
		return 3;
	if (self_work(1) != SELF_OLD)
		return 4;
	if (suture_patch_enable(mine, patch, NULL) || self_work(1) != SELF_NEW)
		return 5;
	suture_process_detach(mine);
	return 0;
}

static void test_fork(void **state)
{
	struct suture_patch *patch = work_patch();
	struct suture_process *p = self();
	struct crowd c = { 0 };
	int status = -1;
	pid_t pid;

	start(&c, calls, 1);
	want(suture_patch_enable(p, patch, NULL), 0, "enable");
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		_exit(in_child(p, patch));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(self_work(1), SELF_NEW);
	assert_true(has_state(p, "fix-work", SUTURE_STATE_ENABLED));
	want(suture_patch_disable(p, "fix-work", NULL), 0, "disable");
	end(&c);
	suture_process_detach(p);
	suture_patch_close(patch);
}

/* What a tool sees that has only /proc to look at. */
static void test_seen_from_outside(void **state)
{
	struct suture_patch *patch = work_patch();
	int status = -1, go[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(go), 0);
	want(enable(patch, NULL, NULL), 0, "enable");
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		struct suture_process *parent = NULL;
		int err;

		if (read(go[0], &c, 1) != 1)
			_exit(1);
		err = suture_process_attach(ctx, getppid(), NULL, &parent);
		if (err == -SUTURE_EACCESS || err == -SUTURE_EREFUSED)
			_exit(77);
		_exit(err || !has_state(parent, "fix-work", SUTURE_STATE_ENABLED));
	}
	prctl(PR_SET_PTRACER, pid);
	assert_int_equal(write(go[1], "", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	want(disable("fix-work", NULL), 0, "disable");
	close(go[0]);
	close(go[1]);
	suture_patch_close(patch);
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

static void log_line(void *arg, enum suture_log_level level, const char *line)
{
	if (level == SUTURE_LOG_WARN || getenv("SUTURE_TEST_VERBOSE"))
		fprintf(stderr, "log: %s\n", line);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_and_out),    cmocka_unit_test(test_cycles),
		cmocka_unit_test(test_throw),         cmocka_unit_test(test_busy),
		cmocka_unit_test(test_caller_inside), cmocka_unit_test(test_blocked_signals),
		cmocka_unit_test(test_fork),          cmocka_unit_test(test_seen_from_outside),
	};
	const struct suture_ctx_opts opts = { .sz = sizeof(opts), .log = log_line };

	if (argc != 3 || suture_ctx_create(&opts, &ctx)) {
		fprintf(stderr, "usage: %s LIBSELFVICTIM.so FIX_SELF.o\n", argv[0]);
		return 99;
	}
	lib_path = argv[1];
	fix_path = argv[2];
	if (getenv("SUTURE_TEST"))
		cmocka_set_test_filter(getenv("SUTURE_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
