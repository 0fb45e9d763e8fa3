/* SPDX-License-Identifier: MIT */
/*
 * Description: relocation fields overflow exactly where they must; types that no compiler emits are unknown; a TLS
 * sequence that differs in any byte from what the psABI prescribes is left alone.
 *
 * That values and rewritten sequences are right is shown by test_ld.c.
 */
#include <stdarg.h>
#include <elf.h>
#include <errno.h>
#include <setjmp.h>
#include <stddef.h>

#include <cmocka.h>

#include "arch/arch.h"
#include "util/util.h"

static const struct sut_arch *const arch = &sut_arch_x86_64;

/* With P = GOT = 0 and A = 0 the value is S, whatever the kind. */
static int field(uint32_t type, uint64_t s, uint8_t out[8])
{
	struct sut_reloc_values v = { .S = s };

	memset(out, 0x42, 8);
	return arch->relocate_field(arch->reloc_howto(type), &v, out);
}

static void test_overflow(void **state)
{
	static const struct {
		uint32_t type;
		int64_t min;
		uint64_t max; /* as unsigned where min is 0 */
	} cases[] = {
		{ R_X86_64_32, 0, 0xffffffff },
		{ R_X86_64_32S, INT32_MIN, INT32_MAX },
		{ R_X86_64_16, INT16_MIN, UINT16_MAX },
		{ R_X86_64_8, INT8_MIN, UINT8_MAX },
		{ R_X86_64_PC8, INT8_MIN, INT8_MAX },
		{ R_X86_64_PC16, INT16_MIN, INT16_MAX },
		{ R_X86_64_PC32, INT32_MIN, INT32_MAX },
		{ R_X86_64_PLT32, INT32_MIN, INT32_MAX },
		{ R_X86_64_GOTPCREL, INT32_MIN, INT32_MAX },
		{ R_X86_64_REX_GOTPCRELX, INT32_MIN, INT32_MAX },
		{ R_X86_64_GOT32, INT32_MIN, INT32_MAX },
		{ R_X86_64_SIZE32, 0, UINT32_MAX },
		{ R_X86_64_TPOFF32, INT32_MIN, INT32_MAX },
		{ R_X86_64_GOTTPOFF, INT32_MIN, INT32_MAX },
		{ R_X86_64_DTPOFF32, INT32_MIN, INT32_MAX },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		const struct sut_reloc_howto *h = arch->reloc_howto(cases[i].type);
		uint64_t min = (uint64_t)cases[i].min;
		uint8_t out[8];

		if (field(cases[i].type, cases[i].max, out) || memcmp(out, &cases[i].max, h->size) ||
		    out[h->size] != 0x42 || field(cases[i].type, min, out) || memcmp(out, &min, h->size) ||
		    out[h->size] != 0x42)
			fail_msg("%s: an extreme is refused or written wrong", h->name);
		if (field(cases[i].type, cases[i].max + 1, out) != -ERANGE || out[0] != 0x42 ||
		    field(cases[i].type, min - 1, out) != -ERANGE || out[0] != 0x42 ||
		    field(cases[i].type, 1ull << 63, out) != -ERANGE)
			fail_msg("%s: an overflow is not seen", h->name);
	}
}

static void test_64_bits_take_all(void **state)
{
	static const uint32_t types[] = { R_X86_64_64,       R_X86_64_PC64,     R_X86_64_GOTOFF64,  R_X86_64_GOT64,
					  R_X86_64_GOTPC64,  R_X86_64_PLTOFF64, R_X86_64_SIZE64,    R_X86_64_TPOFF64,
					  R_X86_64_DTPOFF64, R_X86_64_GOTPLT64, R_X86_64_GOTPCREL64 };

	for (size_t i = 0; i < SUT_ARRAY_SIZE(types); i++) {
		struct sut_reloc_values v = { .S = 0x123456789abcdef0ull, .GOT = 0x123456789abcdef0ull };
		const struct sut_reloc_howto *h = arch->reloc_howto(types[i]);
		uint8_t out[8];

		if (h->kind == SUT_RELOC_GOT_REL || h->kind == SUT_RELOC_GOT_OFF)
			v.GOT = 0;
		assert_int_equal(h->size, 8);
		assert_int_equal(arch->relocate_field(h, &v, out), 0);
		assert_true(sut_le64(out) == 0x123456789abcdef0ull);
	}
}

static void test_nothing_to_write(void **state)
{
	uint8_t out[8];

	assert_int_equal(field(R_X86_64_NONE, ~0ull, out), 0);
	assert_int_equal(out[0], 0x42);
	assert_int_equal(field(R_X86_64_TLSDESC_CALL, ~0ull, out), 0);
	assert_int_equal(out[0], 0x42);
}

static void test_unknown_types(void **state)
{
	static const uint32_t types[] = { R_X86_64_COPY,
					  R_X86_64_GLOB_DAT,
					  R_X86_64_JUMP_SLOT,
					  R_X86_64_RELATIVE,
					  R_X86_64_DTPMOD64,
					  R_X86_64_TLSDESC,
					  R_X86_64_IRELATIVE,
					  R_X86_64_RELATIVE64,
					  R_X86_64_NUM,
					  250,
					  251,
					  0x7fffffff,
					  0xffffffff };

	for (size_t i = 0; i < SUT_ARRAY_SIZE(types); i++)
		assert_null(arch->reloc_howto(types[i]));
	for (uint32_t t = 0; t < 64; t++) {
		const struct sut_reloc_howto *h = arch->reloc_howto(t);

		if (h) {
			assert_int_equal(h->type, t);
			assert_true(strncmp(h->name, "R_X86_64_", 9) == 0);
		}
	}
}

/* ---- TLS sequences ------------------------------------------------------------------------------ */

static const struct {
	const char *text;
	uint32_t type;
	uint8_t off; /* of the relocated field */
	uint8_t code[24], len;
	uint8_t open[3][2]; /* ranges of bytes that may be anything: from, count */
	uint8_t loose[2]; /* bytes that may differ in part */
	uint8_t out[24];
} sequences[] = {
	{ "general dynamic",
	  R_X86_64_TLSGD,
	  4,
	  { 0x66, 0x48, 0x8d, 0x3d, 1, 2, 3, 4, 0x66, 0x66, 0x48, 0xe8, 5, 6, 7, 8 },
	  16,
	  { { 4, 4 }, { 12, 4 } },
	  { 0 },
	  { 0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, 0x48, 0x8d, 0x80, 0xc0, 0xff, 0xff, 0xff } },
	{ "general dynamic, no PLT",
	  R_X86_64_TLSGD,
	  4,
	  { 0x66, 0x48, 0x8d, 0x3d, 1, 2, 3, 4, 0x66, 0x48, 0xff, 0x15, 5, 6, 7, 8 },
	  16,
	  { { 4, 4 }, { 12, 4 } },
	  { 0 },
	  { 0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, 0x48, 0x8d, 0x80, 0xc0, 0xff, 0xff, 0xff } },
	{ "general dynamic, large",
	  R_X86_64_TLSGD,
	  3,
	  { 0x48, 0x8d, 0x3d, 1, 2, 3, 4, 0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 0x48, 0x01, 0xd8, 0xff, 0xd0 },
	  22,
	  { { 3, 4 }, { 9, 8 } },
	  { 17, 19 },
	  { 0x64, 0x48, 0x8b, 0x04, 0x25, 0,    0,    0,    0,    0x48, 0x8d,
	    0x80, 0xc0, 0xff, 0xff, 0xff, 0x66, 0x0f, 0x1f, 0x44, 0,    0 } },
	{ "local dynamic",
	  R_X86_64_TLSLD,
	  3,
	  { 0x48, 0x8d, 0x3d, 1, 2, 3, 4, 0xe8, 5, 6, 7, 8 },
	  12,
	  { { 3, 4 }, { 8, 4 } },
	  { 0 },
	  { 0x66, 0x66, 0x66, 0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0 } },
	{ "local dynamic, no PLT",
	  R_X86_64_TLSLD,
	  3,
	  { 0x48, 0x8d, 0x3d, 1, 2, 3, 4, 0xff, 0x15, 5, 6, 7, 8 },
	  13,
	  { { 3, 4 }, { 9, 4 } },
	  { 0 },
	  { 0x66, 0x66, 0x66, 0x66, 0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0 } },
	{ "descriptor, %r9",
	  R_X86_64_GOTPC32_TLSDESC,
	  3,
	  { 0x4c, 0x8d, 0x0d, 1, 2, 3, 4 },
	  7,
	  { { 3, 4 } },
	  { 0, 2 },
	  { 0x49, 0xc7, 0xc1, 0xc0, 0xff, 0xff, 0xff } },
	{ "descriptor call", R_X86_64_TLSDESC_CALL, 0, { 0xff, 0x10 }, 2, { { 0 } }, { 0 }, { 0x66, 0x90 } },
};

static bool is_open(size_t i, unsigned at)
{
	for (unsigned k = 0; k < 3; k++) {
		if (at >= sequences[i].open[k][0] && at < sequences[i].open[k][0] + sequences[i].open[k][1])
			return true;
	}
	return sequences[i].loose[1] && (at == sequences[i].loose[0] || at == sequences[i].loose[1]);
}

static void test_tls(void **state)
{
	for (size_t i = 0; i < SUT_ARRAY_SIZE(sequences); i++) {
		const struct sut_reloc_howto *h = arch->reloc_howto(sequences[i].type);
		bool calls = h->kind == SUT_RELOC_TLS_GD || h->kind == SUT_RELOC_TLS_LD;
		uint8_t code[40];
		unsigned skip = 77;

		memset(code, 0x42, sizeof(code));
		memcpy(code + 8, sequences[i].code, sequences[i].len);
		if (arch->tls_relax(h, code, sizeof(code), 8u + sequences[i].off, -64, &skip) ||
		    memcmp(code + 8, sequences[i].out, sequences[i].len) || code[7] != 0x42 ||
		    code[8 + sequences[i].len] != 0x42 || skip != calls)
			fail_msg("%s: not relaxed as it should", sequences[i].text);
	}
}

static void test_tls_out_of_range(void **state)
{
	for (size_t i = 0; i < SUT_ARRAY_SIZE(sequences); i++) {
		const struct sut_reloc_howto *h = arch->reloc_howto(sequences[i].type);
		bool has_offset = h->kind == SUT_RELOC_TLS_GD || h->kind == SUT_RELOC_TLS_DESC;
		uint8_t code[24];
		unsigned skip;

		memcpy(code, sequences[i].code, sizeof(code));
		assert_int_equal(arch->tls_relax(h, code, sequences[i].len, sequences[i].off, -(1ll << 31) - 1, &skip),
				 has_offset ? -ERANGE : 0);
		if (has_offset)
			assert_memory_equal(code, sequences[i].code, sizeof(code));
	}
}

static void test_tls_other_bytes(void **state)
{
	for (size_t i = 0; i < SUT_ARRAY_SIZE(sequences); i++) {
		const struct sut_reloc_howto *h = arch->reloc_howto(sequences[i].type);

		for (unsigned at = 0; at < sequences[i].len; at++) {
			uint8_t code[24], was[24];
			unsigned skip = 77;

			if (is_open(i, at))
				continue;
			memcpy(code, sequences[i].code, sizeof(code));
			code[at] ^= 0x20;
			memcpy(was, code, sizeof(was));
			if (arch->tls_relax(h, code, sequences[i].len, sequences[i].off, -64, &skip) != -EOPNOTSUPP ||
			    memcmp(code, was, sizeof(was)) || skip != 77)
				fail_msg("%s: byte %u may be anything", sequences[i].text, at);
		}
		for (unsigned len = 0; len < sequences[i].len; len++) { /* cut off by the section's end */
			uint8_t *code = malloc(len + 1);
			unsigned skip;

			memcpy(code, sequences[i].code, len);
			assert_int_equal(arch->tls_relax(h, code, len, sequences[i].off, -64, &skip), -EOPNOTSUPP);
			free(code);
		}
		for (unsigned off = 0; off < sequences[i].off; off++) { /* begins before the section */
			uint8_t code[24];
			unsigned skip;

			memcpy(code, sequences[i].code + sequences[i].off - off, sizeof(code) - sequences[i].off);
			assert_int_equal(arch->tls_relax(h, code, sizeof(code), off, -64, &skip), -EOPNOTSUPP);
		}
	}
}

/* Relocations that are not of these kinds are not relaxed. */
static void test_tls_other_kinds(void **state)
{
	uint8_t code[16] = { 0x48, 0x8b, 0x05 };
	unsigned skip;

	assert_int_equal(arch->tls_relax(arch->reloc_howto(R_X86_64_GOTTPOFF), code, 16, 3, -8, &skip), -EOPNOTSUPP);
	assert_int_equal(arch->tls_relax(arch->reloc_howto(R_X86_64_PC32), code, 16, 3, -8, &skip), -EOPNOTSUPP);
	assert_int_equal(arch->tls_relax(arch->reloc_howto(R_X86_64_TLSGD), code, 16, ~0ull, -8, &skip), -EOPNOTSUPP);
}

static void test_registers(void **state)
{
	struct sut_regs r = { .size = arch->regs_size };
	const uint64_t args[6] = { 1, 2, 3, 4, 5, 6 };
	/* DWARF number -> place in NT_PRSTATUS (psABI figure 3.36 against struct user_regs_struct). */
	static const uint8_t place[17] = { 10, 12, 11, 5, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0, 16 };
	int64_t result;
	uint64_t v;
	long nr;

	assert_int_equal(arch->regs_size, 27 * 8);
	for (uint64_t i = 0; i < 27; i++) {
		uint64_t x = 0x1000 + i;

		memcpy(r.raw + 8 * i, &x, 8);
	}
	for (unsigned n = 0; n < 17; n++) {
		assert_true(arch->regs_dwarf(&r, n, &v));
		assert_int_equal(v, 0x1000 + place[n]);
	}
	assert_false(arch->regs_dwarf(&r, 17, &v));
	assert_int_equal(arch->n_dwarf_regs, 17);
	assert_int_equal(arch->regs_pc(&r), 0x1010);
	assert_int_equal(arch->regs_sp(&r), 0x1013);
	assert_int_equal(arch->regs_tp(&r), 0x1015);
	assert_true(arch->regs_in_syscall(&r, &nr, &result));
	assert_int_equal(nr, 0x100f);
	assert_int_equal(result, 0x100a);
	arch->regs_set_syscall(&r, 0x77, 9, args);
	assert_false(arch->regs_in_syscall(&r, &nr, &result));
	assert_int_equal(arch->regs_pc(&r), 0x77);
	assert_int_equal(arch->regs_syscall_result(&r), 9);
	assert_int_equal(sut_le64(r.raw + 8 * 14), 1); /* rdi rsi rdx r10 r8 r9 */
	assert_int_equal(sut_le64(r.raw + 8 * 13), 2);
	assert_int_equal(sut_le64(r.raw + 8 * 12), 3);
	assert_int_equal(sut_le64(r.raw + 8 * 7), 4);
	assert_int_equal(sut_le64(r.raw + 8 * 9), 5);
	assert_int_equal(sut_le64(r.raw + 8 * 8), 6);
	arch->regs_set_sp(&r, 0x88);
	assert_int_equal(arch->regs_sp(&r), 0x88);
}

/* Only the calls that leak it, and only EINTR. */
static void test_mask_only_leaks(void **state)
{
	static const struct {
		int64_t nr, rax;
		bool masked, restart_block;
	} cases[] = {
		{ 232, -4, true, false },    { 232, -512, false, false }, { 232, 1, false, false },
		{ 42, -4, true, false },     { -1, -4, false, false },    { 3, -4, false, false },
		{ 35, -516, false, true },   { -1, -516, false, false },  { 7, -516, false, true },
		{ 202, -512, false, false }, { 16, -4, false, false },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		struct sut_regs r = { .size = arch->regs_size };

		memcpy(r.raw + 8 * 15, &cases[i].nr, 8);
		memcpy(r.raw + 8 * 10, &cases[i].rax, 8);
		assert_int_equal(arch->regs_restart_block(&r), cases[i].restart_block);
		assert_int_equal(arch->regs_mask_eintr(&r), cases[i].masked);
		assert_int_equal((int64_t)sut_le64(r.raw + 8 * 10), cases[i].masked ? -514 : cases[i].rax);
	}
}

static void test_tables(void **state)
{
	size_t len;

	assert_ptr_equal(sut_arch_find(EM_X86_64), arch);
	assert_null(sut_arch_find(EM_386));
	assert_true(arch->is_syscall_insn(arch->heal_code + arch->heal_syscall_off, 2, &len));
	assert_int_equal(len, 2);
	assert_false(arch->is_syscall_insn((const uint8_t *)"\x0f\x34", 2, &len));
	assert_false(arch->is_syscall_insn((const uint8_t *)"\x0f", 1, &len));
	for (size_t i = 0; i < SUT_SYS_N; i++)
		assert_int_not_equal(arch->sysno[i], 0);
	for (size_t i = 0; i < arch->n_syscall_gadgets; i++) {
		const struct sut_gadget *g = &arch->syscall_gadgets[i];

		assert_true(arch->is_syscall_insn(g->code + g->syscall_off, g->len - g->syscall_off, &len));
		assert_int_equal(g->code[g->len - 1], 0xc3);
	}
	for (size_t i = 0; i < arch->n_sigreturn_gadgets; i++) {
		const struct sut_gadget *g = &arch->sigreturn_gadgets[i];

		assert_true(arch->is_syscall_insn(g->code + g->syscall_off, g->len - g->syscall_off, &len));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_64_bits_take_all),
		cmocka_unit_test(test_nothing_to_write),
		cmocka_unit_test(test_unknown_types),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_tls_out_of_range),
		cmocka_unit_test(test_tls_other_bytes),
		cmocka_unit_test(test_tls_other_kinds),
		cmocka_unit_test(test_registers),
		cmocka_unit_test(test_mask_only_leaks),
		cmocka_unit_test(test_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
