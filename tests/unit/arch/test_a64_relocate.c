/* SPDX-License-Identifier: MIT */
/*
 * Description: moved arm64 instructions name the same addresses in another way; what can not be moved is refused; over the
 * functions of a C library nearly all entries can be.
 *
 * That moved functions give the results of the originals is shown by running them, in a64_run.c.
 */
#include <stdarg.h>
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

#include "a64.h"

#define FROM 0x400000ull
#define TO   0x4400000ull /* 64 MiB up */

static void test_moves(void **state)
{
	static const struct {
		const char *text;
		uint32_t from;
		uint64_t to_add; /* to TO */
		unsigned n;
		uint32_t to[7]; /* without the jump back */
	} cases[] = {
		{ "stp x29,x30,[sp,#-16]!", 0xa9bf7bfd, 0, 1, { 0xa9bf7bfd } },
		{ "paciasp", 0xd503233f, 0, 1, { 0xd503233f } },
		{ "svc #0", 0xd4000001, 0, 1, { 0xd4000001 } },
		{ "adr x3,. + 5: adrp x3,0x400000; add x3,x3,#5", 0x30000023, 0, 2, { 0x90fe0003, 0x91001463 } },
		{ "adr x3,the function: adrp", 0x10000003, 0, 1, { 0x90fe0003 } },
		{ "adr x3 near: adr", 0x30000023, -(64ull << 20) + 64, 1, { 0x30fffe23 } },
		{ "adrp x0,. + 0x10000: adrp", 0x90000080, 0, 1, { 0x90fe0080 } },
		{ "ldr w1,. + 8: adrp x1,0x400000; ldr w1,[x1,#8]", 0x18000041, 0, 2, { 0x90fe0001, 0xb9400821 } },
		{ "ldr x1,. + 8", 0x58000041, 0, 2, { 0x90fe0001, 0xf9400421 } },
		{ "ldr x1,. + 12: adrp x1; add x1,x1,#12; ldr x1,[x1]",
		  0x58000061,
		  0,
		  3,
		  { 0x90fe0001, 0x91003021, 0xf9400021 } },
		{ "ldrsw x1,. + 8", 0x98000041, 0, 2, { 0x90fe0001, 0xb9800821 } },
		{ "ldr xzr,. + 8: through x16", 0x5800005f, 0, 2, { 0x90fe0010, 0xf940061f } },
		{ "prfm pldl1keep,. + 8: through x16", 0xd8000040, 0, 2, { 0x90fe0010, 0xf9800600 } },
		{ "ldr s1,. + 8: through x16", 0x1c000041, 0, 2, { 0x90fe0010, 0xbd400a01 } },
		{ "ldr d1,. + 8", 0x5c000041, 0, 2, { 0x90fe0010, 0xfd400601 } },
		{ "ldr q1,. + 16", 0x9c000081, 0, 2, { 0x90fe0010, 0x3dc00601 } },
		{ "ldr q1,. + 8: adrp x16; add x16,x16,#8; ldr q1,[x16]",
		  0x9c000041,
		  0,
		  3,
		  { 0x90fe0010, 0x91002210, 0x3dc00201 } },
		{ "b . + 0x100", 0x14000040, 0, 1, { 0x17000040 } },
		{ "b.ne . + 0x100: b.eq . + 8; b", 0x54000801, 0, 2, { 0x54000040, 0x1700003f } },
		{ "b.ne near", 0x54000801, -(64ull << 20) + 0x1000, 1, { 0x54ff8801 } },
		{ "b.al . + 0x100: b", 0x5400080e, 0, 1, { 0x17000040 } },
		{ "bc.lt . + 0x100: bc.ge . + 8; b", 0x5400081b, 0, 2, { 0x5400005a, 0x1700003f } },
		{ "cbz x5,. + 0x100: cbnz x5,. + 8; b", 0xb4000805, 0, 2, { 0xb5000045, 0x1700003f } },
		{ "cbnz w5,. + 0x100", 0x35000805, 0, 2, { 0x34000045, 0x1700003f } },
		{ "cbnz w5 near", 0x35000805, -(64ull << 20) + 0x1000, 1, { 0x35ff8805 } },
		{ "tbz x5,#33,. + 0x100: tbnz x5,#33,. + 8; b", 0xb6080805, 0, 2, { 0xb7080045, 0x1700003f } },
		{ "tbnz w5,#1,. + 0x100", 0x37080805, 0, 2, { 0x36080045, 0x1700003f } },
		{ "bl . + 0x100: adrp x30,0x400000; add x30,x30,#4; b",
		  0x94000040,
		  0,
		  3,
		  { 0x90fe001e, 0x910013de, 0x1700003e } },
		{ "bl the function", 0x94000000, 0, 3, { 0x90fe001e, 0x910013de, 0x16fffffe } },
		{ "bl . + 4", 0x94000001, 0, 3, { 0x90fe001e, 0x910013de, 0x16ffffff } },
		{ "blr x5: adrp x30; add x30,x30,#4; br x5", 0xd63f00a0, 0, 3, { 0x90fe001e, 0x910013de, 0xd61f00a0 } },
		{ "br x5", 0xd61f00a0, 0, 1, { 0xd61f00a0 } },
		{ "ret", 0xd65f03c0, 0, 1, { 0xd65f03c0 } },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		uint64_t to = TO + cases[i].to_add, back;
		size_t len = 0, moved = 0, words = 4 * cases[i].n;
		uint8_t code[4], want[32], out[64];
		int err;

		put_word(code, cases[i].from);
		for (unsigned k = 0; k < cases[i].n; k++)
			put_word(want + 4 * k, cases[i].to[k]);
		err = arch->relocate_entry(code, 4, 4, FROM, to, out, sizeof(out), &len, &moved);
		if (err || moved != 4 || len != words + 4 || memcmp(out, want, words)) {
			char hex[129];

			fail_msg("%s: %d, moved %zu, %zu bytes: %s", cases[i].text, err, moved, len,
				 sut_hex(out, len, hex));
		}
		assert_true(arch->jump_decode(out + words, to + words, &back));
		assert_int_equal(back, FROM + 4);
		for (size_t cap = 0; cap < len; cap++) {
			size_t none = 77;

			assert_int_equal(arch->relocate_entry(code, 4, 4, FROM, to, out, cap, &none, &none), -ENOSPC);
			assert_int_equal(none, 77);
		}
	}
}

static void test_refusals(void **state)
{
	static const struct {
		const char *text;
		uint32_t code[2];
		size_t min;
		int err;
	} cases[] = {
		{ "b to itself", { 0x14000000 }, 4, -EOPNOTSUPP },
		{ "b.ne to itself", { 0x54000001 }, 4, -EOPNOTSUPP },
		{ "b.ne to the start", { 0xd503201f, 0x54ffffe1 }, 8, -EOPNOTSUPP },
		{ "cbz into the moved words", { 0xb4000020, 0xd503201f }, 8, -EOPNOTSUPP },
		{ "bl into the moved words", { 0xd503201f, 0x94000000 }, 8, -EOPNOTSUPP },
		{ "bl that returns into the moved words", { 0x94000040, 0xd503201f }, 8, -EOPNOTSUPP },
		{ "adr of an inner word", { 0x10000020, 0xd503201f }, 8, -EOPNOTSUPP },
		{ "ldr of itself", { 0x58000000 }, 4, -EOPNOTSUPP },
		{ "ldr q that begins before and ends in the site", { 0x9cffffc0 }, 4, -EOPNOTSUPP },
		{ "ldr q through x16 after another word", { 0xd503201f, 0x9c000100 }, 8, -EOPNOTSUPP },
		{ "blraaz x1", { 0xd63f083f }, 4, -EOPNOTSUPP },
		{ "blr x30", { 0xd63f03c0 }, 4, -EOPNOTSUPP },
		{ "brk", { 0xd4200000 }, 4, -EOPNOTSUPP },
		{ "udf", { 0x00000000 }, 4, -EOPNOTSUPP },
		{ "autiasppc", { 0xf380001f }, 4, -EOPNOTSUPP },
		{ "paciasppc", { 0xdac1a3fe }, 4, -EOPNOTSUPP },
		{ "code behind a return", { 0xd65f03c0, 0xa9bf7bfd }, 8, -EOPNOTSUPP },
		{ "not known", { 0x5500001f }, 4, -EILSEQ },
	};
	uint8_t code[8], out[64];
	size_t len = 77, moved = 77;

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		int err;

		put_word(code, cases[i].code[0]);
		put_word(code + 4, cases[i].code[1]);
		err = arch->relocate_entry(code, 8, cases[i].min, FROM, TO, out, sizeof(out), &len, &moved);
		if (err != cases[i].err || len != 77 || moved != 77)
			fail_msg("%s: %d instead of %d", cases[i].text, err, cases[i].err);
	}
	put_word(code, 0xd503201f);
	put_word(code + 4, 0xd503201f);
	for (size_t cut = 0; cut < 8; cut++) {
		assert_int_equal(arch->relocate_entry(code, cut, 8, FROM, TO, out, sizeof(out), &len, &moved), -EILSEQ);
		assert_int_equal(arch->relocate_entry(code, 8, 8, FROM + cut, TO, out, sizeof(out), &len, &moved),
				 cut & 3 ? -EILSEQ : 0);
	}
}

static void test_out_of_reach(void **state)
{
	uint8_t code[4], out[64];
	size_t len, moved;

	put_word(code, 0xa9bf7bfd); /* nothing counts from its address but the jump back */
	assert_int_equal(arch->relocate_entry(code, 4, 4, FROM, FROM + (1 << 27), out, 64, &len, &moved), 0);
	assert_int_equal(arch->relocate_entry(code, 4, 4, FROM, FROM + (1 << 27) + 4, out, 64, &len, &moved), -ERANGE);
	put_word(code, 0x15ffffff); /* b as far up as it goes, and back down again */
	assert_int_equal(arch->relocate_entry(code, 4, 4, FROM, FROM - 4, out, 64, &len, &moved), -ERANGE);
	assert_int_equal(arch->relocate_entry(code, 4, 4, FROM, FROM + 4, out, 64, &len, &moved), 0);
	put_word(code, 0x90000080); /* adrp: beyond 4 GiB a constant, but then the jump back does not reach */
	assert_int_equal(arch->relocate_entry(code, 4, 4, FROM, FROM + (1ull << 33), out, 64, &len, &moved), -ERANGE);
}

/* Walks all functions of a library. */
static void test_library(void **state)
{
	static const char path[] = "/usr/aarch64-linux-gnu/lib/libc.so.6";
	unsigned n_moved = 0, n_refused = 0;
	struct text t;

	if (!text_open(&t, path)) {
		print_message("no arm64 C library here (libc6-arm64-cross)\n");
		skip();
	}
	for (Elf_Scn *s = NULL; (s = elf_nextscn(t.elf, s));) {
		GElf_Shdr sh;

		gelf_getshdr(s, &sh);
		for (size_t i = 0; sh.sh_type == SHT_DYNSYM && i < sh.sh_size / sh.sh_entsize; i++) {
			struct sut_insn a, b;
			uint64_t from, to, back;
			size_t len, moved;
			uint8_t out[64];
			GElf_Sym sym;

			gelf_getsym(elf_getdata(s, NULL), (int)i, &sym);
			if (GELF_ST_TYPE(sym.st_info) != STT_FUNC || sym.st_value < t.addr ||
			    sym.st_value - t.addr + 4 > t.size)
				continue;
			from = sym.st_value;
			to = from + (100 << 20);
			if (arch->relocate_entry(t.bytes + (from - t.addr), 4, 4, from, to, out, sizeof(out), &len,
						 &moved)) {
				n_refused++;
				continue;
			}
			n_moved++;
			assert_int_equal(arch->insn_decode(t.bytes + (from - t.addr), 4, from, &a), 0);
			assert_true(arch->jump_decode(out + len - 4, to + len - 4, &back));
			assert_int_equal(back, from + 4);
			if (!a.pcrel) {
				assert_int_equal(len, 8);
				assert_memory_equal(out, t.bytes + (from - t.addr), 4);
			} else if (a.kind == SUT_INSN_JUMP || a.kind == SUT_INSN_BRANCH) {
				assert_int_equal(arch->insn_decode(out + len - 8, 4, to + len - 8, &b), 0);
				assert_int_equal(a.target, b.target);
			}
		}
	}
	text_close(&t);
	print_message("%u entries moved, %u refused\n", n_moved, n_refused);
	assert_true(n_moved > 1000);
	assert_true(n_refused * 50 < n_moved);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_moves),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_out_of_reach),
		cmocka_unit_test(test_library),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
