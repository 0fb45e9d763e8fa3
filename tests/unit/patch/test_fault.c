/* SPDX-License-Identifier: MIT */
/*
 * test_fault.c - every access to the target fails in turn: each read, write and system call that enabling, disabling and
 * recovery make. Whatever fails, the threads see old or new code and never a mixture, the text is whole, and the
 * process is as before, or a recovery makes it so.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "live.h"
#include "patch/internal.h"

/* The operations of the process room, with one call that fails. */
static const struct sut_mem_ops *real;
static unsigned calls, fail_at; /* 0: never */
static bool fail_on; /* every call after that one as well */

static bool fails(struct sut_mem *mem, int *ret)
{
	calls++;
	if (!fail_at || (fail_on ? calls < fail_at : calls != fail_at))
		return false;
	*ret = sut_fail(mem->ctx, SUTURE_EFAILED, "call %u fails for a test", calls);
	return true;
}

static int f_read(struct sut_mem *mem, uint64_t addr, void *buf, size_t len)
{
	int err;

	return fails(mem, &err) ? err : real->read(mem, addr, buf, len);
}

static int f_write(struct sut_mem *mem, uint64_t addr, const void *buf, size_t len)
{
	int err;

	return fails(mem, &err) ? err : real->write(mem, addr, buf, len);
}

static int f_syscall(struct sut_mem *mem, enum sut_sys sys, const uint64_t args[6], int64_t *ret)
{
	int err;

	if (!fails(mem, &err))
		return real->syscall(mem, sys, args, ret);
	/* Every other time the kernel says no, else the call can not be made. */
	if (calls % 2)
		return err;
	*ret = -ENOMEM;
	return 0;
}

static int f_maps(struct sut_mem *mem, struct sut_maps *ret)
{
	int err;

	return fails(mem, &err) ? err : real->maps(mem, ret);
}

static int f_private_pages(struct sut_mem *mem, uint64_t start, uint64_t end, bool *ret)
{
	int err;

	return fails(mem, &err) ? err : real->private_pages(mem, start, end, ret);
}

static int f_vm_flags(struct sut_mem *mem, uint64_t addr, char *ret, size_t cap)
{
	int err;

	return fails(mem, &err) ? err : real->vm_flags(mem, addr, ret, cap);
}

static int f_open_mapped(struct sut_mem *mem, const struct sut_map *map, int *ret)
{
	int err;

	return fails(mem, &err) ? err : real->open_mapped(mem, map, ret);
}

static struct sut_mem_ops faulty;

static const struct sut_mem_ops *make_faulty(const struct sut_mem_ops *ops)
{
	real = ops;
	faulty = *ops;
	faulty.read = f_read;
	faulty.write = f_write;
	faulty.syscall = f_syscall;
	faulty.maps = f_maps;
	faulty.private_pages = f_private_pages;
	faulty.vm_flags = f_vm_flags;
	faulty.open_mapped = f_open_mapped;
	return &faulty;
}

static int faulty_call(struct victim *v, struct suture_patch *patch, const struct suture_enable_opts *o, unsigned at,
		       bool on, bool enable)
{
	struct suture_process *p = NULL;
	int err;

	live_want(suture_process_attach(live_ctx, v->pid, NULL, &p), 0, "attach");
	p->mem.ops = make_faulty(p->mem.ops);
	calls = 0;
	fail_at = at;
	fail_on = on;
	if (enable)
		err = suture_patch_enable(p, patch, o, NULL);
	else
		err = suture_patch_disable(p, suture_patch_name(patch), o, NULL);
	p->mem.ops = real;
	suture_process_detach(p);
	return err;
}

/* After a failure: nothing to recover, or a recovery that works; then what the state is. */
static bool settle(struct victim *v, const char *name, int err, bool on)
{
	enum suture_patch_state st;
	struct suture_recovery r;
	const char *sites;
	int rec = live_recover(v->pid, &r);

	if (rec != -SUTURE_ENOTHING)
		live_want(rec, 0, "recover");
	/* One failure is taken back; only where calls go on failing may something be left, and then it is said. */
	if (!rec && !on && err != -SUTURE_EDAMAGED && err != -SUTURE_EINCOMPLETE && err)
		fail_msg("%d was left behind by call %u: %s", err, fail_at, suture_ctx_error(live_ctx)->message);
	victim_healthy(v);
	if (!live_state(v->pid, name, &st, &sites))
		return false;
	if (st == SUTURE_STATE_ENABLED) {
		assert_string_equal(sites, "jump");
		return true;
	}
	assert_int_equal(st, SUTURE_STATE_PARKED);
	assert_string_equal(sites, "original");
	return false;
}

static void fail_each(struct suture_patch *patch, const struct suture_enable_opts *o, bool enable, bool on)
{
	const char *name = suture_patch_name(patch);
	uint8_t before[32], after[32];
	unsigned failed = 0;
	size_t private;
	struct victim v;

	victim_start(&v, "2", NULL);
	victim_text(v.pid, before, &private);
	for (unsigned at = 1;; at++) {
		bool in;
		int err;

		if (!enable)
			live_want(live_enable(v.pid, patch, o, NULL), 0, "enable");
		err = faulty_call(&v, patch, o, at, on, enable);
		failed += err != 0;
		if (getenv("SUTURE_TEST_VERBOSE"))
			fprintf(stderr, "-- call %u: %d %s\n", at, err, err ? suture_ctx_error(live_ctx)->message : "");
		in = settle(&v, name, err, on);
		if (!err)
			assert_int_equal(in, enable);
		victim_sees(&v, in);
		if (in)
			live_want(live_disable(v.pid, name, o), 0, "disable");
		victim_text(v.pid, after, &private);
		assert_memory_equal(before, after, sizeof(before));
		if (!o) { /* what was written plainly stays private */
			assert_int_equal(private, 0);
			assert_int_equal(victim_duplicates(v.pid), 0);
		}
		if (calls < at)
			break;
	}
	print_message("%u of %u calls made it fail\n", failed, calls);
	assert_true(failed > 20);
	victim_end(&v);
}

static void test_enable(void **state)
{
	struct suture_patch *patch = live_patch_exe();

	fail_each(patch, NULL, true, false);
	suture_patch_close(patch);
}

static void test_enable_for_good(void **state)
{
	struct suture_patch *patch = live_patch_exe();

	fail_each(patch, NULL, true, true);
	suture_patch_close(patch);
}

static void test_enable_two_objects(void **state)
{
	struct suture_patch *patch = live_patch_both();

	fail_each(patch, NULL, true, false);
	suture_patch_close(patch);
}

static void test_disable(void **state)
{
	struct suture_patch *patch = live_patch_exe();

	fail_each(patch, NULL, false, false);
	suture_patch_close(patch);
}

static void test_disable_for_good(void **state)
{
	struct suture_patch *patch = live_patch_exe();

	fail_each(patch, NULL, false, true);
	suture_patch_close(patch);
}

static void test_disable_two_objects(void **state)
{
	struct suture_patch *patch = live_patch_both();

	fail_each(patch, NULL, false, false);
	suture_patch_close(patch);
}

static void test_writing(void **state)
{
	const struct suture_enable_opts o = { .sz = sizeof(o), .force_write = true };
	struct suture_patch *patch = live_patch_both();

	fail_each(patch, &o, true, false);
	fail_each(patch, &o, false, false);
	suture_patch_close(patch);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_enable),
		cmocka_unit_test(test_enable_for_good),
		cmocka_unit_test(test_enable_two_objects),
		cmocka_unit_test(test_disable),
		cmocka_unit_test(test_disable_for_good),
		cmocka_unit_test(test_disable_two_objects),
		cmocka_unit_test(test_writing),
	};

	live_args(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
