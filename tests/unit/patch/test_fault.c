/* SPDX-License-Identifier: MIT */
/*
 * test_fault.c - every access to the target fails in turn: each read, write and system call that enabling, disabling and
 * recovery make. Whatever fails, the threads see old or new code and never a mixture, the text is whole, and the
 * process is as before, or a recovery makes it so.
 */
#include <errno.h>
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

#include "live.h"
#include "patch/internal.h"

/* The operations of the process room, with one call that fails. */
static const struct sut_mem_ops *real;
static unsigned calls, fail_at; /* 0: never */
static bool fail_on; /* every call after that one as well */
static unsigned changes, die_after; /* this process ends after so many writes and system calls, 0: never */
static bool no_duplicates; /* the kernel duplicates nothing, and no file can be opened: text is written plainly */

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

static int done(int err)
{
	if (++changes == die_after)
		raise(SIGKILL);
	return err;
}

static int f_write(struct sut_mem *mem, uint64_t addr, const void *buf, size_t len)
{
	int err;

	return fails(mem, &err) ? err : done(real->write(mem, addr, buf, len));
}

static int f_syscall(struct sut_mem *mem, enum sut_sys sys, const uint64_t args[6], int64_t *ret)
{
	int err;

	if (no_duplicates && sys == SUT_SYS_MREMAP) {
		*ret = -EINVAL;
		return done(0);
	}
	if (!fails(mem, &err))
		return done(real->syscall(mem, sys, args, ret));
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

	if (no_duplicates)
		return sut_fail(mem->ctx, SUTURE_EFAILED, "no file can be opened");
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
	calls = changes = 0;
	fail_at = at;
	fail_on = on;
	if (enable)
		err = suture_patch_enable(p, patch, o);
	else
		err = suture_patch_disable(p, suture_patch_name(patch), o);
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

/* Whether the journal of the record in hand lists a room; *ret_holes: its pages that are not mapped. */
static bool noted_room(pid_t pid, unsigned *ret_holes)
{
	struct suture_process *p = NULL;
	struct sut_registry *reg = NULL;
	struct sut_pristine room = { 0 };
	bool noted = false;

	live_want(suture_process_attach(live_ctx, pid, NULL, &p), 0, "attach");
	live_want(sut_registry_read(p, &reg), 0, "registry");
	for (size_t i = 0; reg->addr && i < SUT_REGISTRY_RECORDS; i++) {
		const struct sut_record *rec = &reg->rec[i];
		struct sut_sites sites = { 0 };

		if (rec->kind != SUT_RECORD_PATCH || sut_sites_read(p, rec, &sites))
			continue;
		live_want(sut_mem_read(sut_process_mem(p),
				       rec->table + sizeof(struct sut_site_table) +
					       sites.v.n * sizeof(struct sut_site_entry),
				       &room, sizeof(room)),
			  0, "journal");
		sut_sites_free(&sites);
		if (room.text || !room.len)
			continue;
		noted = true;
		for (uint64_t at = room.copy; at < room.copy + room.len; at += sut_process_mem(p)->page_size)
			*ret_holes += !sut_maps_at(&p->maps, at);
	}
	sut_registry_free(reg);
	suture_process_detach(p);
	return noted;
}

/* A recovery unmaps what lies in a room that a dead tool has noted. So at no moment may that be anything but the tool's
 * own: a hole in it would be filled by the next mmap() of the target. */
static void die_at_each(struct suture_patch *patch)
{
	unsigned noted = 0, at = 0, holes = 0;
	struct suture_recovery r;
	struct victim v;
	int status = 0;

	victim_start(&v, "1", NULL);
	for (at = 1; at == 1 || WIFSIGNALED(status); at++) {
		pid_t tool = fork();

		assert_true(tool >= 0);
		if (!tool) {
			die_after = at;
			_exit(faulty_call(&v, patch, NULL, 0, false, true) ? 1 : 0);
		}
		assert_int_equal(waitpid(tool, &status, 0), tool);
		noted += noted_room(v.pid, &holes);
		if (holes)
			fail_msg("a tool that dies after %u changes leaves %u pages of its room to others", at, holes);
		if (live_recover(v.pid, &r) == 0 && r.finished)
			live_want(live_disable(v.pid, suture_patch_name(patch), NULL), 0, "disable");
	}
	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
	print_message("%u changes, the room was noted at %u of them\n", at - 1, noted);
	assert_true(noted > 2);
	live_want(live_disable(v.pid, suture_patch_name(patch), NULL), 0, "disable in the end");
	victim_end(&v);
}

static void test_room_is_whole(void **state)
{
	struct suture_patch *patch = live_patch_exe();

	die_at_each(patch);
	no_duplicates = true;
	die_at_each(patch);
	no_duplicates = false;
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
		cmocka_unit_test(test_room_is_whole),
	};

	live_args(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
