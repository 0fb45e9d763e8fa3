/* SPDX-License-Identifier: MIT */
/*
 * test_file.c - patch files, whole, damaged and hostile.
 *
 * A good file opens. A file with any byte changed is refused by its digest. A file that was changed and given the
 * right digest again, as an attacker would, is refused or accepted, but never read out of bounds: run under ASan.
 */
#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lib/mksut.h"
#include "patch/internal.h"

static const char *victim, *libvictim, *fix_exe, *fix_both;
static uint8_t *good;
static size_t good_len;
static struct suture_ctx *ctx;

static int setup(void **state)
{
	const struct mksut m = {
		.name = "fix-both",
		.object_file = fix_both,
		.targets = (const char *const[]){ victim, libvictim },
		.sonames = (const char *const[]){ "", "libvictim.so" },
		.n_targets = 2,
		.funcs = (const struct mksut_func[]){ { "work", "work", 0 },
						      { "inner", "inner", 0 },
						      { "lib_version", "lib_version", 1 } },
		.n_funcs = 3,
	};

	return suture_ctx_create(NULL, &ctx) || mksut_make(&m, &good, &good_len);
}

static int teardown(void **state)
{
	free(good);
	suture_ctx_destroy(ctx);
	return 0;
}

static uint8_t *copy(size_t len)
{
	uint8_t *p = malloc(len ? len : 1);

	assert_non_null(p);
	memcpy(p, good, len < good_len ? len : good_len);
	return p;
}

/* Parses a heap image of exactly @len bytes. */
static int parse(uint8_t *image, size_t len)
{
	struct suture_patch *patch = NULL;
	int err = sut_patch_parse(ctx, image, len, "test.sut", &patch);

	if (err) {
		assert_null(patch);
		assert_true(suture_ctx_error(ctx)->message[0]);
	} else {
		suture_patch_close(patch);
	}
	return err;
}

static Elf64_Shdr *section(uint8_t *image, const char *name)
{
	Elf64_Ehdr *eh = (void *)image;
	Elf64_Shdr *sh = (void *)(image + eh->e_shoff);

	for (unsigned i = 1; i < eh->e_shnum; i++)
		if (!strcmp((char *)image + sh[eh->e_shstrndx].sh_offset + sh[i].sh_name, name))
			return &sh[i];
	fail_msg("no section %s", name);
	return NULL;
}

static void test_good(void **state)
{
	struct suture_patch *p = NULL;

	assert_int_equal(sut_patch_parse(ctx, copy(good_len), good_len, "test.sut", &p), 0);
	assert_string_equal(suture_patch_name(p), "fix-both");
	assert_int_equal(p->object.n, 2);
	assert_string_equal(p->object.v[0].name, "");
	assert_string_equal(p->object.v[1].name, "libvictim.so");
	assert_int_equal(p->object.v[0].build_id_len, 20);
	assert_int_equal(p->func.n, 3);
	assert_string_equal(p->func.v[0].old_name, "work");
	assert_string_equal(p->func.v[2].new_name, "lib_version");
	assert_int_equal(p->func.v[2].object, 1);
	assert_true(p->func.v[0].new_size > 0);
	assert_int_equal(p->section_object[p->func.v[0].new_section], 0);
	assert_int_equal(p->section_object[p->func.v[2].new_section], 1);
	assert_false(p->landing_pads);
	suture_patch_close(p);
}

static void test_open_by_path(void **state)
{
	char path[] = "/tmp/suture-test-XXXXXX", missing[] = "/tmp/suture-test-none/x.sut";
	struct suture_patch *p = NULL;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, good, good_len), (ssize_t)good_len);
	close(fd);
	assert_int_equal(suture_patch_open(ctx, path, NULL, &p), 0);
	suture_patch_close(p);
	unlink(path);
	assert_int_equal(suture_patch_open(ctx, missing, NULL, &p), -SUTURE_ENOTFOUND);
	assert_int_equal(suture_patch_open(ctx, "/dev/null", NULL, &p), -SUTURE_EREFUSED);
	assert_int_equal(suture_patch_open(ctx, "/tmp", NULL, &p), -SUTURE_EREFUSED);
	assert_int_equal(suture_patch_open(ctx, "/proc/self/exe", NULL, &p), -SUTURE_EREFUSED);
}

static void test_every_byte_counts(void **state)
{
	/* Every byte of the small file in turn, one bit of it. */
	for (size_t i = 0; i < good_len; i++) {
		uint8_t *image = copy(good_len);

		image[i] ^= (uint8_t)(1u << i % 8);
		assert_int_equal(parse(image, good_len), -SUTURE_EREFUSED);
	}
}

static void test_truncated(void **state)
{
	uint8_t *image;

	for (size_t len = 0; len < good_len; len++)
		assert_int_equal(parse(copy(len), len), -SUTURE_EREFUSED);
	/* longer than it should be */
	image = copy(good_len + 64);
	memset(image + good_len, 0, 64);
	assert_int_equal(parse(image, good_len + 64), -SUTURE_EREFUSED);
}

/* Changes the image through @image, fixes the digest, and wants a refusal that names the reason. */
#define refused(change, reason)                                                                         \
	do {                                                                                            \
		uint8_t *image = copy(good_len);                                                        \
		change;                                                                                 \
		assert_int_equal(mksut_fix_digest(image, good_len), 0);                                 \
		assert_int_equal(parse(image, good_len), -SUTURE_EREFUSED);                             \
		if (!strstr(suture_ctx_error(ctx)->message, reason))                                    \
			fail_msg("\"%s\" does not say \"%s\"", suture_ctx_error(ctx)->message, reason); \
	} while (0)

#define func_table   ((struct suture_file_func *)(image + section(image, SUTURE_SEC_FUNCS)->sh_offset))
#define object_table ((struct suture_file_object *)(image + section(image, SUTURE_SEC_OBJECTS)->sh_offset))

static void test_hostile_headers(void **state)
{
	refused(((Elf64_Ehdr *)image)->e_type = ET_EXEC, "relocatable");
	refused(((Elf64_Ehdr *)image)->e_machine = EM_S390, "machine");
	refused(section(image, SUTURE_SEC_FUNCS)->sh_size -= 1, "impossible size");
	refused(section(image, SUTURE_SEC_FUNCS)->sh_size = 0, "impossible size");
	refused(section(image, SUTURE_SEC_OBJECTS)->sh_size += 1, "impossible size");
	refused(section(image, SUTURE_SEC_FUNCS)->sh_size = 1u << 30, "");
	refused(section(image, SUTURE_SEC_FUNCS)->sh_offset = ~0ull - 8, "");
	refused(section(image, SUTURE_SEC_FUNCS)->sh_type = SHT_NOBITS, "");
	refused(section(image, SUTURE_SEC_STRTAB)->sh_size -= 1, "NUL");
	refused(section(image, SUTURE_SEC_INFO)->sh_size -= 1, "NUL");
	refused(section(image, ".symtab")->sh_type = SHT_PROGBITS, "symbol table");
	refused(section(image, ".symtab")->sh_link = 0xfffff, "");
	refused(section(image, ".text")->sh_name = section(image, SUTURE_SEC_FUNCS)->sh_name, "two sections");
}

static void test_hostile_info(void **state)
{
	uint64_t at = section(good, SUTURE_SEC_INFO)->sh_offset;

	refused(memcpy(image + at, "name=../../x", 12), "name");
	refused(memcpy(image + at, "name=fix/bo", 11), "name");
	refused(memcpy(image + at, "nome=fix-bo", 11), "name");
	refused(memcpy(image + at, "name=-x\0", 8), "name");
	refused(memcpy(strstr((char *)image + at + 14, "version") + 10, "format=9", 8), "format 9");
}

static void test_hostile_tables(void **state)
{
	refused(object_table[0].name = 0x7fffffff, "name");
	refused(object_table[1].build_id_len = 65, "build-id");
	refused(object_table[1].build_id_len = ~0u, "build-id");
	refused(object_table[1].name = object_table[0].name, "twice");
	refused(func_table[0].object = 2, "object");
	refused(func_table[0].object = ~0u, "object");
	refused(func_table[1].old_name = 0x7fffffff, "name");
	refused(func_table[1].old_name = 0, "name");
	refused(func_table[1].old_addr = ~0ull - 2, "impossible");
	refused(func_table[1].old_size = ~0ull, "impossible");
	refused(func_table[1].old_size = 0, "impossible");
	refused(func_table[1].old_addr = func_table[0].old_addr + 1, "overlap");
	refused(func_table[1].old_addr = func_table[0].old_addr, "overlap");
	refused(func_table[1].new_symbol = 0, "no symbol");
	refused(func_table[1].new_symbol = ~0u, "no symbol");
	refused(func_table[1].new_symbol = func_table[0].new_symbol, "same replacement");
	refused(func_table[1].first_range = 1, "ranges");
	refused(func_table[1].n_ranges = ~0u, "ranges");
	refused(func_table[1].flags = 0x80, "flags");
}

static void test_hostile_symbols(void **state)
{
	refused(
		{
			Elf64_Sym *sym = (void *)(image + section(image, ".symtab")->sh_offset);

			sym[func_table[0].new_symbol].st_shndx = SHN_UNDEF;
		},
		"not a function");
	refused(
		{
			Elf64_Sym *sym = (void *)(image + section(image, ".symtab")->sh_offset);

			sym[func_table[0].new_symbol].st_shndx = 0xfe00;
		},
		"not a function");
	refused(
		{
			Elf64_Sym *sym = (void *)(image + section(image, ".symtab")->sh_offset);

			sym[func_table[0].new_symbol].st_size = 1u << 20;
		},
		"section of code");
	refused(
		{
			Elf64_Sym *sym = (void *)(image + section(image, ".symtab")->sh_offset);

			sym[func_table[0].new_symbol].st_value = ~0ull;
		},
		"section of code");
	refused(
		{
			Elf64_Sym *sym = (void *)(image + section(image, ".symtab")->sh_offset);

			sym[func_table[0].new_symbol].st_name = ~0u;
		},
		"");
}

static uint64_t seed = 88172645463325252ull;

static uint64_t next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* An attacker's file: anything changed, the digest right. Only memory safety is asked of these. */
static void test_mutations(void **state)
{
	static const uint64_t nasty[] = { 0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0xffffffff, ~0ull, ~0ull - 7 };
	unsigned opened = 0;

	for (unsigned n = 0; n < 20000; n++) {
		uint8_t *image = copy(good_len);
		unsigned changes = 1 + next() % 4;

		while (changes--) {
			size_t at = next() % good_len;
			uint64_t v = next() % 2 ? nasty[next() % SUT_ARRAY_SIZE(nasty)] : next();
			size_t len = (size_t[]){ 1, 2, 4, 8 }[next() % 4];

			memcpy(image + at, &v, len < good_len - at ? len : good_len - at);
		}
		if (mksut_fix_digest(image, good_len)) {
			free(image);
			continue;
		}
		opened += !parse(image, good_len);
	}
	/* Most changes hit code and names, so many must open: else this test would prove nothing. */
	assert_true(opened > 1000);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_open_by_path),
		cmocka_unit_test(test_every_byte_counts),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_hostile_headers),
		cmocka_unit_test(test_hostile_info),
		cmocka_unit_test(test_hostile_tables),
		cmocka_unit_test(test_hostile_symbols),
		cmocka_unit_test(test_mutations),
	};

	if (argc != 5) {
		fprintf(stderr, "usage: %s VICTIM LIBVICTIM FIX_EXE.o FIX_BOTH.o\n", argv[0]);
		return 99;
	}
	victim = argv[1];
	libvictim = argv[2];
	fix_exe = argv[3];
	fix_both = argv[4];
	return cmocka_run_group_tests(tests, setup, teardown);
}
