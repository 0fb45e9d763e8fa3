/* SPDX-License-Identifier: MIT */
/*
 * Description: ppc64le's two-word calls, applied and cleared. A call to a function with another TOC pointer is a branch and
 * the restore of the caller's; both are verified before either is written, both are taken back, and the same object
 * is relocated again at the same and at other addresses, any number of times. Objects of other ABIs are refused.
 *
 * Mutations that were tried and seen: a clear that leaves the second word (the next apply is refused), one that
 * writes the first before it has looked at the second, an apply that does not look at the second.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "arch/ppc64le/ppc64le.h"
#include "elf/elf.h"
#include "module/module.h"

static const struct sut_arch *const arch = &sut_arch_ppc64le;
static struct suture_ctx *ctx;

/* bl f; nop; and a word of somebody else. */
static const uint32_t words[3] = { SUT_PPC_BL, SUT_PPC_NOP, 0x38630001 };

struct place {
	uint8_t file[12], bytes[12];
	struct sut_reloc_site site;
};

static void put_words(uint8_t *out, const uint32_t *w)
{
	for (unsigned i = 0; i < 3; i++)
		sut_ppc_put_word(out + 4 * i, w[i]);
}

static void place_init(struct place *p, uint32_t type, uint64_t at, uint64_t stub, bool restore)
{
	put_words(p->file, words);
	put_words(p->bytes, words);
	p->site = (struct sut_reloc_site){
		.type = type,
		.place = at,
		.bytes = p->bytes,
		.avail = sizeof(p->bytes),
		.src = p->file,
		.v = { .P = at, .S = stub, .restore_toc = restore },
	};
}

static int relocate(struct place *p, bool apply)
{
	return sut_relocate_one(ctx, arch, &p->site, "f", apply);
}

static void holds(const struct place *p, uint32_t a, uint32_t b)
{
	assert_int_equal(sut_ppc_word(p->bytes), a);
	assert_int_equal(sut_ppc_word(p->bytes + 4), b);
	assert_int_equal(sut_ppc_word(p->bytes + 8), words[2]);
}

static void test_load_unload_load(void **state)
{
	struct place p;

	for (unsigned i = 0; i < 100; i++) {
		uint64_t at = 0x10000000 + 0x1000 * (i / 2); /* each address twice */

		if (i % 2 == 0)
			place_init(&p, R_PPC64_REL24, at, at + 0x100, true);
		assert_int_equal(relocate(&p, true), 0);
		holds(&p, 0x48000101, SUT_PPC_LD_TOC);
		assert_int_equal(relocate(&p, false), 0);
		assert_memory_equal(p.bytes, p.file, sizeof(p.file));
	}
}

/* Twice the same way: refused, and nothing changes. */
static void test_twice(void **state)
{
	struct place p;

	place_init(&p, R_PPC64_REL24, 0x10000000, 0x10000100, true);
	assert_true(relocate(&p, false) < 0);
	assert_memory_equal(p.bytes, p.file, sizeof(p.file));
	assert_int_equal(relocate(&p, true), 0);
	assert_true(relocate(&p, true) < 0);
	holds(&p, 0x48000101, SUT_PPC_LD_TOC);
}

/* Either word is not what is expected: neither is written. */
static void test_verified_first(void **state)
{
	struct place p;

	place_init(&p, R_PPC64_REL24, 0x10000000, 0x10000100, true);
	sut_ppc_put_word(p.bytes + 4, 0x60420000); /* ori r2,r2,0: a no-op, but not the compiler's */
	assert_true(relocate(&p, true) < 0);
	holds(&p, SUT_PPC_BL, 0x60420000);

	place_init(&p, R_PPC64_REL24, 0x10000000, 0x10000100, true);
	assert_int_equal(relocate(&p, true), 0);
	sut_ppc_put_word(p.bytes + 4, SUT_PPC_NOP); /* somebody took the restore away */
	assert_true(relocate(&p, false) < 0);
	holds(&p, 0x48000101, SUT_PPC_NOP);

	place_init(&p, R_PPC64_REL24, 0x10000000, 0x10000100, true);
	assert_int_equal(relocate(&p, true), 0);
	sut_ppc_put_word(p.bytes, 0x48000201); /* or the branch elsewhere */
	assert_true(relocate(&p, false) < 0);
	holds(&p, 0x48000201, SUT_PPC_LD_TOC);

	/* The section ends behind the branch. */
	place_init(&p, R_PPC64_REL24, 0x10000000, 0x10000100, true);
	p.site.avail = 4;
	assert_true(relocate(&p, true) < 0);
	holds(&p, SUT_PPC_BL, SUT_PPC_NOP);

	/* Out of reach. */
	place_init(&p, R_PPC64_REL24, 0x10000000, 0x12000000, true);
	assert_true(relocate(&p, true) < 0);
	holds(&p, SUT_PPC_BL, SUT_PPC_NOP);
}

/* A call that shares the TOC pointer has one word, and the no-op stays one. */
static void test_one_word(void **state)
{
	struct place p;

	place_init(&p, R_PPC64_REL24, 0x10000000, 0x10000100, false);
	p.site.v.other = 3 << 5; /* the local entry is 8 bytes in */
	assert_int_equal(relocate(&p, true), 0);
	holds(&p, 0x48000109, SUT_PPC_NOP);
	assert_int_equal(relocate(&p, false), 0);
	assert_memory_equal(p.bytes, p.file, sizeof(p.file));
}

/* The assembler leaves the addend in prefixed instructions: taken back, it is there again. */
static void test_addend_in_place(void **state)
{
	static const uint32_t pld[3] = { 0x04100000, 0xe5200008, 0x38630001 }; /* pld r9,8 */
	struct place p;

	place_init(&p, R_PPC64_PCREL34, 0x10000000, 0x10012345, false);
	put_words(p.file, pld);
	put_words(p.bytes, pld);
	p.site.v.A = 8;
	assert_int_equal(relocate(&p, true), 0);
	holds(&p, 0x04100001, 0xe520234d);
	assert_int_equal(relocate(&p, false), 0);
	assert_memory_equal(p.bytes, p.file, sizeof(p.file));
	/* Other bits than the file's: refused. */
	sut_ppc_put_word(p.bytes + 4, 0xe5200009);
	assert_true(relocate(&p, true) < 0);
}

/* lxv keeps four bits below its field, ld two. */
static void test_forms(void **state)
{
	static const uint32_t lxv[3] = { 0xf463000d, SUT_PPC_NOP, 0x38630001 }; /* stxv vs35,0(r3) */
	struct place p;

	place_init(&p, R_PPC64_TOC16_LO_DS, 0x10000000, 0x10012340, false);
	put_words(p.file, lxv);
	put_words(p.bytes, lxv);
	p.site.v.GOT = 0x10010000;
	assert_int_equal(relocate(&p, true), 0);
	holds(&p, 0xf463234d, SUT_PPC_NOP);
	assert_int_equal(relocate(&p, false), 0);
	assert_memory_equal(p.bytes, p.file, sizeof(p.file));
	p.site.v.S += 8;
	assert_true(relocate(&p, true) < 0);
	assert_memory_equal(p.bytes, p.file, sizeof(p.file));
}

/* Objects of the older ABI and of the other byte order are told from ours by their headers. */
static void test_other_abis(void **state)
{
	static const struct {
		uint8_t data;
		uint32_t flags;
		bool opened, ours;
	} cases[] = {
		{ ELFDATA2LSB, 2, true, true },
		{ ELFDATA2LSB, 0, true, true },
		{ ELFDATA2LSB, 1, false, false }, /* ELFv1 */
		{ ELFDATA2MSB, 2, true, false }, /* big-endian */
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		bool big = cases[i].data == ELFDATA2MSB;
		Elf64_Ehdr *eh = calloc(1, sizeof(*eh));
		struct sut_elf *e = NULL;

		memcpy(eh->e_ident, ELFMAG, SELFMAG);
		eh->e_ident[EI_CLASS] = ELFCLASS64;
		eh->e_ident[EI_DATA] = cases[i].data;
		eh->e_ident[EI_VERSION] = EV_CURRENT;
		eh->e_type = big ? __builtin_bswap16(ET_REL) : ET_REL;
		eh->e_machine = big ? __builtin_bswap16(EM_PPC64) : EM_PPC64;
		eh->e_version = big ? __builtin_bswap32(EV_CURRENT) : EV_CURRENT;
		eh->e_ehsize = big ? __builtin_bswap16(sizeof(*eh)) : sizeof(*eh);
		eh->e_flags = big ? __builtin_bswap32(cases[i].flags) : cases[i].flags;
		assert_int_equal(!sut_elf_open_memory(ctx, eh, sizeof(*eh), "an object", &e), cases[i].opened);
		if (e)
			assert_ptr_equal(e->arch, cases[i].ours ? arch : NULL);
		else
			assert_non_null(strstr(suture_ctx_error(ctx)->message, "another ABI"));
		sut_elf_close(e);
	}
}

static int setup(void **state)
{
	return suture_ctx_create(NULL, &ctx);
}

static int teardown(void **state)
{
	suture_ctx_destroy(ctx);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_load_unload_load), cmocka_unit_test(test_twice),
		cmocka_unit_test(test_verified_first),   cmocka_unit_test(test_one_word),
		cmocka_unit_test(test_addend_in_place),  cmocka_unit_test(test_forms),
		cmocka_unit_test(test_other_abis),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
