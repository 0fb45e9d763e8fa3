/* SPDX-License-Identifier: MIT */
/*
 * test_live.c - patches into a real process and out again: threads that call the functions all the time check
 * every result, and what is seen from outside (bytes, maps, status) must agree.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/mksut.h"
#include "live.h"
#include "patch/internal.h"

static const struct suture_enable_opts short_time = { .sz = sizeof(short_time), .timeout_ms = 300 };

static void want_state(pid_t pid, const char *name, enum suture_patch_state want, const char *want_sites)
{
	enum suture_patch_state state;
	const char *sites;

	assert_true(live_state(pid, name, &state, &sites));
	assert_string_equal(suture_patch_state_name(state), suture_patch_state_name(want));
	assert_string_equal(sites, want_sites);
}

static void test_in_and_out(void **state)
{
	struct suture_patch *patch = live_patch_exe();
	uint8_t before[32], after[32];
	struct suture_report *r = NULL;
	enum suture_patch_state st;
	size_t private_before, private_after;
	const char *sites;
	struct victim v;

	victim_start(&v, "4", NULL);
	victim_sees(&v, false);
	victim_text(v.pid, before, &private_before);
	assert_false(live_state(v.pid, "fix-exe", &st, &sites));

	live_want(live_enable(v.pid, patch, NULL, &r), 0, "enable");
	assert_int_equal(r->n_funcs, 2);
	assert_string_equal(r->text_method, "swap");
	assert_int_equal(r->threads, 5);
	assert_true(r->funcs[0].new_addr);
	suture_report_free(r);
	victim_sees(&v, true);
	want_state(v.pid, "fix-exe", SUTURE_STATE_ENABLED, "jump");
	live_want(live_enable(v.pid, patch, NULL, NULL), -SUTURE_ENOTHING, "enable again");

	live_want(live_disable(v.pid, "fix-exe", NULL), 0, "disable");
	victim_sees(&v, false);
	want_state(v.pid, "fix-exe", SUTURE_STATE_PARKED, "original");
	victim_text(v.pid, after, &private_after);
	assert_memory_equal(before, after, sizeof(before));
	assert_int_equal(private_after, private_before);
	assert_int_equal(victim_duplicates(v.pid), 0);
	live_want(live_disable(v.pid, "fix-exe", NULL), -SUTURE_ENOTFOUND, "disable again");
	live_want(live_disable(v.pid, "nonesuch", NULL), -SUTURE_ENOTFOUND, "disable another");
	victim_end(&v);
	suture_patch_close(patch);
}

static void cycles(struct suture_patch *patch, unsigned n, const struct suture_enable_opts *o)
{
	char *second = NULL;
	struct victim v;

	victim_start(&v, "4", NULL);
	for (unsigned i = 1; i <= n; i++) {
		live_want(live_enable(v.pid, patch, o, NULL), 0, "enable");
		victim_sees(&v, true);
		live_want(live_disable(v.pid, suture_patch_name(patch), o), 0, "disable");
		victim_sees(&v, false);
		if (i == 2)
			second = victim_maps(v.pid);
	}
	if (second) {
		char *last = victim_maps(v.pid);

		assert_string_equal(last, second);
		free(last);
	}
	free(second);
	victim_end(&v);
}

static void test_200_cycles(void **state)
{
	struct suture_patch *patch = live_patch_exe();

	cycles(patch, 200, NULL);
	suture_patch_close(patch);
}

static void test_two_objects(void **state)
{
	struct suture_patch *patch = live_patch_both();

	cycles(patch, 20, NULL);
	suture_patch_close(patch);
}

static void test_plain_write(void **state)
{
	const struct suture_enable_opts write_opts = { .sz = sizeof(write_opts), .force_write = true };
	struct suture_patch *exe = live_patch_exe(), *both = live_patch_both();
	struct suture_report *r = NULL;
	struct victim v;

	cycles(exe, 10, &write_opts);
	cycles(both, 10, &write_opts);
	victim_start(&v, "1", NULL);
	live_want(live_enable(v.pid, exe, &write_opts, &r), 0, "enable");
	assert_string_equal(r->text_method, "write");
	assert_non_null(r->text_why);
	suture_report_free(r);
	victim_end(&v);
	suture_patch_close(exe);
	suture_patch_close(both);
}

static void test_busy(void **state)
{
	struct suture_patch *patch = live_patch_slow(), *exe = live_patch_exe();
	enum suture_patch_state st;
	const char *sites;
	char *before, *after;
	struct victim v;

	victim_start(&v, "3", "slow", NULL);
	v.shared->hold = 1;
	while (__atomic_load_n(&v.shared->inside, __ATOMIC_SEQ_CST) < 3)
		usleep(1000);
	before = victim_maps(v.pid);
	live_want(live_enable(v.pid, patch, &short_time, NULL), -SUTURE_ETIMEOUT, "enable while all are inside");
	assert_non_null(strstr(suture_ctx_error(live_ctx)->message, "slow_work"));
	after = victim_maps(v.pid);
	assert_string_equal(after, before);
	assert_false(live_state(v.pid, "fix-slow", &st, &sites));
	free(before);
	free(after);

	v.shared->hold = 0;
	live_want(live_enable(v.pid, patch, NULL, NULL), 0, "enable");
	v.shared->hold = 1;
	while (__atomic_load_n(&v.shared->inside, __ATOMIC_SEQ_CST) < 3)
		usleep(1000);
	live_want(live_disable(v.pid, "fix-slow", &short_time), -SUTURE_ETIMEOUT, "disable while all are inside");
	assert_non_null(strstr(suture_ctx_error(live_ctx)->message, "slow_work (patched)"));
	want_state(v.pid, "fix-slow", SUTURE_STATE_ENABLED, "jump");
	/* another function of the same process is not concerned */
	live_want(live_enable(v.pid, exe, NULL, NULL), 0, "enable another");
	live_want(live_disable(v.pid, "fix-exe", NULL), 0, "disable another");
	v.shared->hold = 0;
	live_want(live_disable(v.pid, "fix-slow", NULL), 0, "disable");
	victim_end(&v);
	suture_patch_close(patch);
	suture_patch_close(exe);
}

/* --- text that somebody else writes to ------------------------------------------------------ */

static uint64_t symbol(pid_t pid, const char *name)
{
	const struct sut_symbol *sym = NULL;
	struct suture_process *p = NULL;
	struct sut_symtab *tab;
	uint64_t addr;

	live_want(suture_process_attach(live_ctx, pid, NULL, &p), 0, "attach");
	live_want(sut_object_symtab(p, &p->obj.v[0], &tab), 0, "symbols");
	live_want(sut_symtab_find(tab, p->obj.v[0].elf, name, 0, &sym), 0, name);
	addr = sym->value + p->obj.v[0].bias;
	suture_process_detach(p);
	return addr;
}

/* A byte of the victim's memory, text included; @new >= 0: written. */
static int byte_at(pid_t pid, uint64_t addr, int new)
{
	char path[64];
	uint8_t byte = (uint8_t) new;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	if (new >= 0)
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)addr), 1);
	assert_int_equal(pread(fd, &byte, 1, (off_t)addr), 1);
	close(fd);
	return byte;
}

/* A tool that waits for threads that are inside, until the state is @want; then @byte is written, and they leave. */
static void change_while_it_waits(struct victim *v, struct suture_patch *patch, bool enable, uint64_t at, int byte)
{
	enum suture_patch_state st = SUTURE_STATE_PARKED,
				want = enable ? SUTURE_STATE_ENABLING : SUTURE_STATE_DISABLING;
	const char *sites;
	int status;
	pid_t tool;

	v->shared->hold = 1;
	while (__atomic_load_n(&v->shared->inside, __ATOMIC_SEQ_CST) < 2)
		usleep(1000);
	tool = fork();
	if (!tool)
		_exit(enable ? live_enable(v->pid, patch, NULL, NULL) != 0
			     : live_disable(v->pid, suture_patch_name(patch), NULL) != 0);
	while (!live_state(v->pid, suture_patch_name(patch), &st, &sites) || st != want)
		usleep(1000);
	byte_at(v->pid, at, byte);
	v->shared->hold = 0;
	assert_int_equal(waitpid(tool, &status, 0), tool);
	assert_int_equal(status, 0);
	assert_int_equal(byte_at(v->pid, at, -1), byte);
}

/* Between the making of the new text and the swap: what was written then is in the new text. */
static void test_text_changed_meanwhile(void **state)
{
	struct suture_patch *patch = live_patch_slow();
	struct victim v;

	/* The page becomes private meanwhile, or was before. */
	for (unsigned before = 0; before < 2; before++) {
		uint64_t at, page;
		int was;

		victim_start(&v, "2", "slow", NULL);
		at = symbol(v.pid, "main"); /* nobody enters it any more */
		page = (uint64_t)sysconf(_SC_PAGESIZE);
		assert_int_equal(at / page, symbol(v.pid, "slow_work") / page);
		was = byte_at(v.pid, at, -1);
		if (before)
			byte_at(v.pid, at, 0x11);
		change_while_it_waits(&v, patch, true, at, 0x22);
		want_state(v.pid, "fix-slow", SUTURE_STATE_ENABLED, "jump");
		change_while_it_waits(&v, patch, false, at, 0x33);
		want_state(v.pid, "fix-slow", SUTURE_STATE_PARKED, "original");
		change_while_it_waits(&v, patch, true, at, was);
		live_want(live_disable(v.pid, "fix-slow", NULL), 0, "disable");
		assert_int_equal(byte_at(v.pid, at, -1), was);
		victim_end(&v);
	}
	suture_patch_close(patch);
}

static void test_two_patches(void **state)
{
	struct suture_patch *exe = live_patch_exe(), *slow = live_patch_slow(), *both = live_patch_both();
	uint8_t before[32], after[32];
	size_t private;
	struct victim v;

	victim_start(&v, "2", NULL);
	victim_text(v.pid, before, &private);
	live_want(live_enable(v.pid, exe, NULL, NULL), 0, "first");
	live_want(live_enable(v.pid, slow, NULL, NULL), 0, "second");
	live_want(live_enable(v.pid, both, NULL, NULL), -SUTURE_EREFUSED, "the same function again");
	assert_non_null(strstr(suture_ctx_error(live_ctx)->message, "patched already, by fix-exe"));
	live_want(live_disable(v.pid, "fix-exe", NULL), 0, "the first one first");
	victim_sees(&v, false);
	want_state(v.pid, "fix-slow", SUTURE_STATE_ENABLED, "jump");
	live_want(live_enable(v.pid, both, NULL, NULL), 0, "now it may");
	victim_sees(&v, true);
	live_want(live_disable(v.pid, "fix-slow", NULL), 0, "out");
	live_want(live_disable(v.pid, "fix-both", NULL), 0, "out");
	victim_text(v.pid, after, &private);
	assert_memory_equal(before, after, sizeof(before));
	assert_int_equal(private, 0);
	assert_int_equal(victim_duplicates(v.pid), 0);
	victim_end(&v);
	suture_patch_close(exe);
	suture_patch_close(slow);
	suture_patch_close(both);
}

static void test_stopped_target(void **state)
{
	struct suture_patch *patch = live_patch_exe();
	int status;
	struct victim v;

	victim_start(&v, "2", NULL);
	kill(v.pid, SIGSTOP);
	assert_int_equal(waitpid(v.pid, &status, WUNTRACED), v.pid);
	assert_true(WIFSTOPPED(status));
	live_want(live_enable(v.pid, patch, NULL, NULL), 0, "enable while stopped");
	{
		unsigned long seen = v.shared->new_calls;

		usleep(20000);
		assert_int_equal(v.shared->new_calls, seen);
	}
	live_want(live_disable(v.pid, "fix-exe", NULL), 0, "disable while stopped");
	live_want(live_enable(v.pid, patch, NULL, NULL), 0, "enable while stopped");
	kill(v.pid, SIGCONT);
	victim_sees(&v, true);
	victim_end(&v);
	suture_patch_close(patch);
}

static void test_restless_targets(void **state)
{
	static const char *const mode[] = { "fork", "threads", "vfork", "block" };
	struct suture_patch *exe = live_patch_exe(), *both = live_patch_both();

	for (size_t i = 0; i < SUT_ARRAY_SIZE(mode); i++) {
		struct victim v;

		victim_start(&v, "3", mode[i], NULL);
		for (int n = 0; n < 15; n++) {
			struct suture_patch *patch = n % 2 ? both : exe;

			live_want(live_enable(v.pid, patch, NULL, NULL), 0, mode[i]);
			victim_sees(&v, true);
			live_want(live_disable(v.pid, suture_patch_name(patch), NULL), 0, mode[i]);
			victim_sees(&v, false);
		}
		victim_end(&v);
	}
	suture_patch_close(exe);
	suture_patch_close(both);
}

/* Writes one byte over a function of the victim, as a debugger would. */
static uint8_t swap_byte(pid_t pid, const char *function, uint8_t byte)
{
	struct suture_process *p = NULL;
	const struct sut_symbol *sym;
	struct sut_symtab *t;
	uint8_t old;

	live_want(suture_process_attach(live_ctx, pid, NULL, &p), 0, "attach");
	live_want(sut_process_refresh(p), 0, "refresh");
	live_want(sut_object_symtab(p, &p->obj.v[0], &t), 0, "symbols");
	sym = sut_symtab_nth(t, function, 1);
	assert_non_null(sym);
	assert_int_equal(sut_mem_read(sut_process_mem(p), sym->value + p->obj.v[0].bias, &old, 1), 0);
	assert_int_equal(sut_mem_write(sut_process_mem(p), sym->value + p->obj.v[0].bias, &byte, 1), 0);
	suture_process_detach(p);
	return old;
}

static void test_foreign_bytes(void **state)
{
	struct suture_patch *slow = live_patch_slow();
	struct suture_report *r = NULL;
	struct suture_process *p = NULL;
	char *before, *after;
	struct victim v;
	uint8_t old;

	victim_start(&v, "1", NULL); /* nobody calls slow_work() here */
	before = victim_maps(v.pid);
	old = swap_byte(v.pid, "slow_work", 0xcc);
	live_want(live_enable(v.pid, slow, NULL, NULL), -SUTURE_EREFUSED, "a breakpoint");
	assert_non_null(strstr(suture_ctx_error(live_ctx)->message, "breakpoint or uprobe"));
	after = victim_maps(v.pid);
	assert_string_equal(after, before);
	swap_byte(v.pid, "slow_work", old);
	live_want(suture_process_attach(live_ctx, v.pid, NULL, &p), 0, "attach");
	live_want(suture_patch_check(p, slow, &r), 0, "check");
	suture_report_free(r);
	suture_process_detach(p);
	live_want(live_enable(v.pid, slow, NULL, NULL), 0, "enable");
	old = swap_byte(v.pid, "slow_work", 0xcc);
	want_state(v.pid, "fix-slow", SUTURE_STATE_ENABLED, "foreign");
	live_want(live_disable(v.pid, "fix-slow", NULL), -SUTURE_EREFUSED, "a breakpoint on the site");
	swap_byte(v.pid, "slow_work", old);
	live_want(live_disable(v.pid, "fix-slow", NULL), 0, "disable");
	free(before);
	free(after);
	victim_end(&v);
	suture_patch_close(slow);
}

static void test_check_changes_nothing(void **state)
{
	struct suture_patch *patch = live_patch_slow();
	struct suture_process *p = NULL;
	struct suture_report *r = NULL;
	char *before, *after;
	struct victim v;

	victim_start(&v, "2", "slow", NULL);
	v.shared->hold = 1;
	while (__atomic_load_n(&v.shared->inside, __ATOMIC_SEQ_CST) < 2)
		usleep(1000);
	before = victim_maps(v.pid);
	live_want(suture_process_attach(live_ctx, v.pid, NULL, &p), 0, "attach");
	live_want(suture_patch_check(p, patch, &r), 0, "check");
	suture_process_detach(p);
	assert_int_equal(r->n_funcs, 1);
	assert_int_equal(r->funcs[0].busy, 2);
	assert_string_equal(r->funcs[0].busy_in, "slow_work");
	assert_int_equal(r->threads, 3);
	suture_report_free(r);
	after = victim_maps(v.pid);
	assert_string_equal(after, before);
	free(before);
	free(after);
	victim_end(&v);
	suture_patch_close(patch);
}

static void test_exit_in_the_middle(void **state)
{
	struct suture_patch *patch = live_patch_exe();

	for (int i = 0; i < 20; i++) {
		struct victim v;
		int err = 0;
		pid_t killer;

		victim_start(&v, "3", "threads", NULL);
		killer = fork();
		if (!killer) {
			usleep((useconds_t)(i * 1500));
			kill(v.pid, SIGKILL);
			_exit(0);
		}
		while (!err) {
			err = live_enable(v.pid, patch, NULL, NULL);
			if (!err)
				err = live_disable(v.pid, "fix-exe", NULL);
		}
		if (err != -SUTURE_EGONE && err != -SUTURE_ENOTFOUND)
			live_want(err, -SUTURE_EGONE, "a process that ends");
		waitpid(killer, NULL, 0);
		waitpid(v.pid, NULL, 0);
		unlink(v.path);
	}
	suture_patch_close(patch);
}

static struct suture_patch *library_patch(void)
{
	return live_open(&(struct mksut){
		.name = "fix-lib",
		.object_file = live_fix_lib,
		.targets = (const char *const[]){ live_lib },
		.sonames = (const char *const[]){ "libvictim.so" },
		.n_targets = 1,
		.funcs = (const struct mksut_func[]){ { "lib_version", "lib_version", 0 } },
		.n_funcs = 1,
	});
}

static void load(struct victim *v, bool loaded)
{
	v->shared->hold = !loaded;
	while (__atomic_load_n(&v->shared->inside, __ATOMIC_SEQ_CST) != !loaded)
		usleep(500);
}

/* A patched library is unloaded, and loaded again: with its old code. */
static void test_library_goes_and_comes(void **state)
{
	struct suture_patch *patch = library_patch();
	struct suture_recovery r;
	char lib[4096];
	struct victim v;

	assert_non_null(realpath(live_lib, lib));
	victim_exec(&v, live_loader, "0", (const char *const[]){ lib, NULL });
	victim_sees(&v, false);
	for (int i = 0; i < 5; i++) {
		live_want(live_enable(v.pid, patch, NULL, NULL), 0, "enable");
		victim_sees(&v, true);
		load(&v, false);
		want_state(v.pid, "fix-lib", SUTURE_STATE_ENABLED, "gone");
		live_want(live_enable(v.pid, patch, NULL, NULL), -SUTURE_EREFUSED, "enable what is gone");
		live_want(live_recover(v.pid, &r), -SUTURE_ENOTHING, "recover");
		if (i % 2) { /* taken out while it is away, or when it is back */
			live_want(live_disable(v.pid, "fix-lib", NULL), 0, "disable what is gone");
			load(&v, true);
		} else {
			load(&v, true);
			victim_sees(&v, false);
			live_want(live_enable(v.pid, patch, NULL, NULL), -SUTURE_EREFUSED, "enable what came back");
			live_want(live_disable(v.pid, "fix-lib", NULL), 0, "disable what came back");
		}
		victim_sees(&v, false);
	}
	victim_end(&v);
	suture_patch_close(patch);
}

/* A process that starts itself anew all the time: what was begun in one life must not go on in the next. */
static void test_exec_in_the_middle(void **state)
{
	struct suture_patch *exe = live_patch_exe(), *both = live_patch_both();
	unsigned gone = 0, in = 0;
	struct suture_recovery r;
	struct victim v;

	victim_start(&v, "2", "exec", NULL);
	for (int i = 0; i < 150; i++) {
		struct suture_patch *patch = i % 2 ? both : exe;
		int err = live_enable(v.pid, patch, NULL, NULL);

		gone += err == -SUTURE_EGONE;
		in += !err;
		/* gone; or the old life was still patched; never damaged, never anything else */
		if (err != -SUTURE_EGONE && err != -SUTURE_ENOTHING && err != -SUTURE_EREFUSED)
			live_want(err, 0, "enable");
		if (!err)
			err = live_disable(v.pid, suture_patch_name(patch), NULL);
		if (err != -SUTURE_EGONE && err != -SUTURE_ENOTHING && err != -SUTURE_ENOTFOUND &&
		    err != -SUTURE_EREFUSED)
			live_want(err, 0, "disable");
		err = live_recover(v.pid, &r);
		if (err != -SUTURE_EGONE)
			live_want(err, -SUTURE_ENOTHING, "recover");
		victim_healthy(&v);
	}
	print_message("%u went in, %u met an exec\n", in, gone);
	assert_true(in > 0);
	victim_sees(&v, false);
	victim_end(&v);
	suture_patch_close(exe);
	suture_patch_close(both);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_and_out),
		cmocka_unit_test(test_200_cycles),
		cmocka_unit_test(test_two_objects),
		cmocka_unit_test(test_plain_write),
		cmocka_unit_test(test_busy),
		cmocka_unit_test(test_text_changed_meanwhile),
		cmocka_unit_test(test_two_patches),
		cmocka_unit_test(test_stopped_target),
		cmocka_unit_test(test_restless_targets),
		cmocka_unit_test(test_foreign_bytes),
		cmocka_unit_test(test_check_changes_nothing),
		cmocka_unit_test(test_exit_in_the_middle),
		cmocka_unit_test(test_exec_in_the_middle),
		cmocka_unit_test(test_library_goes_and_comes),
	};

	live_args(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
