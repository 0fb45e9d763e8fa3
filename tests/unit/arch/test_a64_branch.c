/* SPDX-License-Identifier: MIT */
/*
 * Description: arm64 jumps reach exactly as far as they say; no-ops are no-ops; stubs and veneers are the words that
 * objdump reads as what they should be.
 *
 * That stubs go where they should and change nothing but x16 is shown by running them, in a64_run.c.
 */
#include <stdarg.h>
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

#include "a64.h"

#define PC 0xffff90000000ull

static void test_jump(void **state)
{
	const uint64_t top = PC + (1 << 27) - 4, bottom = PC - (1 << 27);
	uint8_t code[5] = { [4] = 0x42 };
	uint64_t to;

	assert_int_equal(arch->jump_size, 4);
	assert_int_equal(arch->jump_encode(PC, top, code), 0);
	assert_memory_equal(code, "\xff\xff\xff\x15\x42", 5);
	assert_true(arch->jump_decode(code, PC, &to));
	assert_true(to == top);
	assert_int_equal(arch->jump_encode(PC, bottom, code), 0);
	assert_memory_equal(code, "\x00\x00\x00\x16\x42", 5);
	assert_true(arch->jump_decode(code, PC, &to));
	assert_true(to == bottom);
	assert_int_equal(arch->jump_encode(PC, top + 4, code), -ERANGE);
	assert_int_equal(arch->jump_encode(PC, bottom - 4, code), -ERANGE);
	assert_int_equal(arch->jump_encode(PC, 0, code), -ERANGE);
	for (unsigned odd = 1; odd < 4; odd++)
		assert_int_equal(arch->jump_encode(PC, PC + odd, code), -ERANGE);
	put_word(code, 0x94000000); /* bl */
	assert_false(arch->jump_decode(code, PC, &to));
	put_word(code, 0x54000000); /* b.eq */
	assert_false(arch->jump_decode(code, PC, &to));
}

/* Two places less than jump_reach apart reach each other in whatever direction. */
static void test_reach(void **state)
{
	uint64_t far = (arch->jump_reach - 1) & ~3ull;
	uint8_t code[4];

	assert_int_equal(arch->jump_encode(PC, PC + far, code), 0);
	assert_int_equal(arch->jump_encode(PC, PC - far, code), 0);
}

static void test_nops(void **state)
{
	for (size_t len = 0; len < 40; len += 4) {
		uint8_t code[41];

		code[len] = 0x42;
		arch->nop_fill(code, len);
		assert_int_equal(code[len], 0x42);
		for (size_t at = 0; at < len; at += 4)
			assert_int_equal(sut_le32(code + at), 0xd503201f);
	}
}

/* ---- what objdump reads in the words of a stub --------------------------------------------------- */

static void expect_text(const uint8_t *code, size_t len, uint64_t pc, const char *const *want)
{
	char path[] = "/tmp/suture-a64-XXXXXX", cmd[256], line[256];
	int fd = mkstemp(path);
	FILE *p;

	assert_int_equal(write(fd, code, len), len);
	close(fd);
	snprintf(cmd, sizeof(cmd), "%s -D -z -b binary -m aarch64 --no-show-raw-insn --adjust-vma=0x%lx %s",
		 tool("objdump"), pc, path);
	p = popen(cmd, "r");
	assert_non_null(p);
	for (size_t i = 0; i < len / 4;) {
		unsigned long addr;
		char *text;
		int n = 0;

		if (!fgets(line, sizeof(line), p))
			fail_msg("only %zu words", i);
		if (sscanf(line, " %lx:%n", &addr, &n) != 1 || !n || line[n] != '\t')
			continue;
		text = line + n + 1;
		if (strstr(text, "//")) /* the value in decimal */
			*strstr(text, "//") = 0;
		for (size_t end = strlen(text); end && strchr(" \t\n", text[end - 1]);)
			text[--end] = 0;
		for (char *t = text; *t; t++)
			*t = *t == '\t' ? ' ' : *t;
		assert_int_equal(addr, pc + 4 * i);
		if (strcmp(text, want[i]))
			fail_msg("word %zu: %s instead of %s", i, text, want[i]);
		i++;
	}
	assert_int_equal(pclose(p), 0);
	unlink(path);
}

static void test_switch_stub(void **state)
{
	static const char *const near[] = { "adrp x16, 0xffff92345000",
					    "ldrb w16, [x16, #1656]",
					    "cbz w16, 0xffff90000010",
					    "b 0xffff97fffffc",
					    "b 0xffff8800001c",
					    "udf #0",
					    "udf #0",
					    "udf #0" };
	static const char *const far[] = { "mov x16, #0x678",
					   "movk x16, #0x1234, lsl #16",
					   "movk x16, #0xaaaa, lsl #32",
					   "movk x16, #0x0, lsl #48",
					   "ldrb w16, [x16]",
					   "cbz w16, 0xffff9000001c",
					   "b 0xffff90001000",
					   "b 0xffff90002000" };
	uint8_t out[33] = { [32] = 0x42 };

	need_tool("objdump");
	assert_int_equal(arch->switch_stub_size, 32);
	assert_int_equal(arch->switch_stub(PC, 0xffff92345678, PC + (1 << 27) - 4, PC + 0x1c - (1 << 27), out), 0);
	expect_text(out, 32, PC, near);
	assert_int_equal(arch->switch_stub(PC, 0xaaaa12340678, PC + 0x1000, PC + 0x2000, out), 0);
	expect_text(out, 32, PC, far);
	assert_int_equal(out[32], 0x42);
	/* The jumps stand in words 3 and 4, or 6 and 7. */
	assert_int_equal(arch->switch_stub(PC, PC, PC + 12 + (1 << 27), PC, out), -ERANGE);
	assert_int_equal(arch->switch_stub(PC, PC, PC, PC + 16 + (1 << 27), out), -ERANGE);
	assert_int_equal(arch->switch_stub(PC, 0, PC + 24 + (1 << 27) - 4, PC + 28 + (1 << 27) - 4, out), 0);
	assert_int_equal(arch->switch_stub(PC, 0, PC + 24 + (1 << 27), PC, out), -ERANGE);
	assert_int_equal(arch->switch_stub(PC, 0, PC, PC + 28 + (1 << 27), out), -ERANGE);
}

static void test_plt_stub(void **state)
{
	static const char *const text[] = { "bti c", "adrp x16, 0xffff92345000", "ldr x16, [x16, #1656]", "br x16" };
	uint8_t out[17] = { [16] = 0x42 };

	need_tool("objdump");
	assert_int_equal(arch->plt_stub_size, 16);
	assert_int_equal(arch->plt_stub(PC, 0xffff92345678, out), 0);
	expect_text(out, 16, PC, text);
	assert_int_equal(out[16], 0x42);
	/* Pages count from that of adrp, the second word. */
	assert_int_equal(arch->plt_stub(PC + 0xffc, PC + 0x1000 + 0xfffff000ull, out), 0);
	assert_int_equal(arch->plt_stub(PC + 0xff8, PC + 0x1000 + 0xfffff000ull, out), -ERANGE);
	assert_int_equal(arch->plt_stub(PC, PC - 0x100000000ull, out), 0);
	assert_int_equal(arch->plt_stub(PC, PC - 0x100000008ull, out), -ERANGE);
	assert_int_equal(arch->plt_stub(PC, 0xffff92345674, out), -ERANGE);
}

static void test_veneer(void **state)
{
	static const char *const near[] = { "adr x16, 0xffff90001004", "br x16", "udf #0", "udf #0", "udf #0" };
	static const char *const pages[] = { "adrp x16, 0xffffa2345000", "add x16, x16, #0x678", "br x16", "udf #0",
					     "udf #0" };
	static const char *const page[] = { "adrp x16, 0xffffa2345000", "br x16", "udf #0", "udf #0", "udf #0" };
	static const char *const far[] = { "mov x16, #0x5678", "movk x16, #0x1234, lsl #16",
					   "movk x16, #0xaaaa, lsl #32", "movk x16, #0x0, lsl #48", "br x16" };
	uint8_t out[21] = { [20] = 0x42 };

	need_tool("objdump");
	assert_int_equal(arch->veneer_size, 20);
	assert_int_equal(arch->veneer(PC, PC + 0x1004, out), 0);
	expect_text(out, 20, PC, near);
	assert_int_equal(arch->veneer(PC, 0xffffa2345678, out), 0);
	expect_text(out, 20, PC, pages);
	assert_int_equal(arch->veneer(PC, 0xffffa2345000, out), 0);
	expect_text(out, 20, PC, page);
	assert_int_equal(arch->veneer(PC, 0xaaaa12345678, out), 0);
	expect_text(out, 20, PC, far);
	assert_int_equal(out[20], 0x42);
	assert_int_equal(arch->veneer(PC, PC + 2, out), -ERANGE);
}

/* What stays of an entry that signs is undone, or the new function goes on behind the same instruction. */
static void test_entry_join(void **state)
{
	static const char *const text_a[] = { "autiasp", "b 0xffff90001000" };
	static const char *const text_b[] = { "autibsp", "b 0xffff90001000" };
	uint8_t pacia[4], pacib[4], bti[4], stp[4], out[9] = { [8] = 0x42 };
	size_t off = 77;

	need_tool("objdump");
	put_word(pacia, 0xd503233f);
	put_word(pacib, 0xd503237f);
	put_word(bti, 0xd503245f);
	put_word(stp, 0xa9bf7bfd);
	assert_int_equal(arch->entry_join(pacia, 4, stp, 4, &off), -EOPNOTSUPP);
	assert_int_equal(arch->entry_join(pacia, 4, bti, 4, &off), -EOPNOTSUPP);
	assert_int_equal(arch->entry_join(pacia, 4, pacib, 4, &off), -EOPNOTSUPP);
	assert_int_equal(arch->entry_join(pacia, 3, pacia, 4, &off), -EILSEQ);
	assert_int_equal(arch->entry_join(pacia, 4, pacia, 3, &off), -EILSEQ);
	assert_int_equal(off, 77);
	assert_int_equal(arch->entry_join(pacia, 4, pacia, 4, &off), 0);
	assert_int_equal(off, 4);
	assert_int_equal(arch->entry_join(bti, 4, pacia, 4, &off), 0);
	assert_int_equal(off, 0);
	assert_int_equal(arch->entry_join(stp, 4, stp, 4, &off), 0);
	assert_int_equal(off, 0);
	assert_int_equal(arch->entry_adapter_size, 8);
	assert_int_equal(arch->entry_adapter(pacia, 4, PC, PC + 0x1000, out), 0);
	expect_text(out, 8, PC, text_a);
	assert_int_equal(arch->entry_adapter(pacib, 4, PC, PC + 0x1000, out), 0);
	expect_text(out, 8, PC, text_b);
	assert_int_equal(out[8], 0x42);
	assert_int_equal(arch->entry_adapter(pacib, 4, PC, PC + 4 + (1 << 27), out), -ERANGE);
	assert_int_equal(arch->entry_adapter(bti, 4, PC, PC + 0x1000, out), -EOPNOTSUPP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_jump),        cmocka_unit_test(test_reach),    cmocka_unit_test(test_nops),
		cmocka_unit_test(test_switch_stub), cmocka_unit_test(test_plt_stub), cmocka_unit_test(test_veneer),
		cmocka_unit_test(test_entry_join),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
