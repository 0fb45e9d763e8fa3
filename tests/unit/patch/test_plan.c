/* SPDX-License-Identifier: MIT */
/*
 * test_plan.c - does a patch fit a process? Patches that were built for something else, each in one point, against a
 * real victim: refused with the reason, and the process untouched.
 */
#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/mksut.h"
#include "live.h"
#include "patch/internal.h"

static struct victim v;
static uint8_t *good;
static size_t good_len;

static int setup(void **state)
{
	const struct mksut m = {
		.name = "fix-both",
		.object_file = live_fix_both,
		.targets = (const char *const[]){ live_victim, live_lib },
		.sonames = (const char *const[]){ "", "libvictim.so" },
		.n_targets = 2,
		.funcs = (const struct mksut_func[]){ { "work", "work", 0 },
						      { "inner", "inner", 0 },
						      { "lib_version", "lib_version", 1 } },
		.n_funcs = 3,
	};

	if (mksut_make(&m, &good, &good_len))
		return -1;
	victim_start(&v, "1", NULL);
	return 0;
}

static int teardown(void **state)
{
	victim_end(&v);
	free(good);
	return 0;
}

static void *table(uint8_t *image, const char *name)
{
	Elf64_Ehdr *eh = (void *)image;
	Elf64_Shdr *sh = (void *)(image + eh->e_shoff);

	for (unsigned i = 1; i < eh->e_shnum; i++)
		if (!strcmp((char *)image + sh[eh->e_shstrndx].sh_offset + sh[i].sh_name, name))
			return image + sh[i].sh_offset;
	fail_msg("no section %s", name);
	return NULL;
}

#define FUNCS   ((struct suture_file_func *)table(image, SUTURE_SEC_FUNCS))
#define OBJECTS ((struct suture_file_object *)table(image, SUTURE_SEC_OBJECTS))
#define STRINGS ((char *)table(image, SUTURE_SEC_STRTAB))

/* Checks an image (taken over) against the victim. */
static int check(uint8_t *image, struct suture_report **r)
{
	struct suture_patch *patch = NULL;
	struct suture_process *p = NULL;
	int err;

	assert_int_equal(mksut_fix_digest(image, good_len), 0);
	live_want(sut_patch_parse(live_ctx, image, good_len, "test.sut", &patch), 0, "open");
	live_want(suture_process_attach(live_ctx, v.pid, NULL, &p), 0, "attach");
	err = suture_patch_check(p, patch, r);
	suture_process_detach(p);
	suture_patch_close(patch);
	return err;
}

#define copied()                           \
	uint8_t *image = malloc(good_len); \
                                           \
	assert_non_null(image);            \
	memcpy(image, good, good_len)

#define refused(change, reason)                                                                              \
	do {                                                                                                 \
		struct suture_report *r_ = NULL;                                                             \
		char *before_ = victim_maps(v.pid), *after_;                                                 \
		copied();                                                                                    \
		change;                                                                                      \
		live_want(check(image, &r_), -SUTURE_EREFUSED, reason);                                      \
		assert_null(r_);                                                                             \
		if (!strstr(suture_ctx_error(live_ctx)->message, reason))                                    \
			fail_msg("\"%s\" does not say \"%s\"", suture_ctx_error(live_ctx)->message, reason); \
		after_ = victim_maps(v.pid);                                                                 \
		assert_string_equal(after_, before_);                                                        \
		free(before_);                                                                               \
		free(after_);                                                                                \
	} while (0)

static void test_fits(void **state)
{
	struct suture_report *r = NULL;

	copied();
	live_want(check(image, &r), 0, "check");
	assert_int_equal(r->n_funcs, 3);
	assert_string_equal(r->patch, "fix-both");
	assert_string_equal(r->arch, "x86_64");
	assert_int_equal(strlen(r->build_id), 40);
	assert_string_equal(r->funcs[2].old_name, "lib_version");
	assert_non_null(strstr(r->funcs[2].object, "libvictim.so"));
	assert_true(r->funcs[0].old_addr && r->funcs[0].old_size && r->funcs[0].new_size);
	suture_report_free(r);
}

static void test_other_machine(void **state)
{
	refused(((Elf64_Ehdr *)image)->e_machine = EM_AARCH64, "a patch for aarch64, but process");
}

static void test_identity(void **state)
{
	refused(OBJECTS[0].build_id[3] ^= 1, "build-id mismatch");
	assert_non_null(suture_ctx_error(live_ctx)->hint);
	refused(OBJECTS[1].build_id[0] ^= 1, "build-id mismatch in");
	refused(OBJECTS[0].build_id_len = 19, "build-id mismatch");
	refused(memcpy(STRINGS + OBJECTS[1].name, "libnosuch.so", 13), "has no object libnosuch.so loaded");
	refused((OBJECTS[1].build_id_len = 0, OBJECTS[1].content[0] ^= 1), "not the code that the patch was built for");
	{
		struct suture_report *r = NULL;

		copied();
		OBJECTS[0].build_id_len = OBJECTS[1].build_id_len = 0;
		live_want(check(image, &r), 0, "by content");
		suture_report_free(r);
	}
}

static void test_functions(void **state)
{
	uint8_t four[SUT_DIGEST_SIZE];

	refused(FUNCS[1].old_digest[31] ^= 1, "its code is not the code");
	assert_non_null(strstr(suture_ctx_error(live_ctx)->message, "inner"));
	refused(FUNCS[1].old_size += 1, "its code is not the code");
	refused(FUNCS[1].old_addr += 0x40000000, "outside of the object");
	refused(FUNCS[2].old_addr = 0x10, "");
	{
		const struct suture_file_func *f = (void *)((uint8_t *)table(good, SUTURE_SEC_FUNCS));
		struct sut_elf *e = NULL;

		live_want(sut_elf_open(live_ctx, live_victim, &e), 0, "open the victim");
		live_want(sut_func_digest(e, f[1].old_addr, 4, four), 0, "digest");
		sut_elf_close(e);
	}
	refused((FUNCS[1].old_size = 4, memcpy(FUNCS[1].old_digest, four, sizeof(four))), "too short for a jump");
}

/* A dry run says what would be, and leaves nothing. */
static void test_dry_run(void **state)
{
	const struct suture_enable_opts dry = { .sz = sizeof(dry), .dry_run = true };
	struct suture_patch *patch = live_patch_both();
	char *before = victim_maps(v.pid), *after;
	struct suture_report *r = NULL;
	enum suture_patch_state st;
	const char *sites;

	live_want(live_enable(v.pid, patch, &dry, &r), 0, "dry run");
	assert_int_equal(r->n_funcs, 3);
	suture_report_free(r);
	after = victim_maps(v.pid);
	assert_string_equal(after, before);
	assert_false(live_state(v.pid, "fix-both", &st, &sites));
	free(before);
	free(after);
	suture_patch_close(patch);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fits),      cmocka_unit_test(test_other_machine), cmocka_unit_test(test_identity),
		cmocka_unit_test(test_functions), cmocka_unit_test(test_dry_run),
	};

	live_args(argc, argv);
	return cmocka_run_group_tests(tests, setup, teardown);
}
