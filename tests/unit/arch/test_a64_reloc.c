/* SPDX-License-Identifier: MIT */
/*
 * Description: arm64 relocation fields overflow exactly where they must, refuse what is not aligned, and leave all other bits
 * alone; unknown types are unknown; a TLS sequence that differs in any bit is left alone; registers, system calls
 * and the healing frame are laid out as the kernel has them.
 *
 * That values and rewritten sequences are right is shown by test_a64_ld.c, the frame by running it (a64_run.c).
 */
#include <stdarg.h>
#include <errno.h>
#include <setjmp.h>
#include <stddef.h>

#include <cmocka.h>

#include "a64.h"

#define PLACE 0x7f0000400000ull /* a page's start */

/* Writes the field for @s (and an addend) into a word of @idle bits; the rest must stay. */
static int field(uint32_t type, uint64_t s, int64_t a, uint32_t *ret)
{
	const struct sut_reloc_howto *h = arch->reloc_howto(type);
	struct sut_reloc_values v = { .P = PLACE, .S = s, .A = a, .GOT = PLACE + 0x10010 };
	uint8_t out[8], was[8];
	int err;

	memset(out, 0x42, 8);
	put_word(out, ~(uint32_t)h->mask & 0xa5a5a5a5);
	memcpy(was, out, 8);
	err = arch->relocate_field(h, &v, out);
	if (err)
		assert_memory_equal(out, was, 8);
	else if (h->size == 4 && h->mask && !h->is_signed)
		assert_true(sut_reloc_rest_equal(h, out, was));
	assert_memory_equal(out + 4, was + 4, h->size == 8 ? 0 : 4);
	*ret = (uint32_t)sut_le32(out);
	return err;
}

static void test_overflow(void **state)
{
	static const struct {
		uint32_t type;
		int64_t min, max; /* of S (of S - PLACE where pc-relative) */
		unsigned step;
		int beyond;
	} cases[] = {
		{ R_AARCH64_ABS32, INT32_MIN, UINT32_MAX, 1, -ERANGE },
		{ R_AARCH64_ABS16, INT16_MIN, UINT16_MAX, 1, -ERANGE },
		{ R_AARCH64_PREL32, INT32_MIN, INT32_MAX, 1, -ERANGE },
		{ R_AARCH64_PREL16, INT16_MIN, INT16_MAX, 1, -ERANGE },
		{ R_AARCH64_MOVW_UABS_G0, 0, 0xffff, 1, -ERANGE },
		{ R_AARCH64_MOVW_UABS_G1, 0, 0xffffffff, 1, -ERANGE },
		{ R_AARCH64_MOVW_UABS_G2, 0, 0xffffffffffff, 1, -ERANGE },
		{ R_AARCH64_MOVW_SABS_G0, -0x10000, 0xffff, 1, -ERANGE },
		{ R_AARCH64_MOVW_SABS_G1, -0x100000000, 0xffffffff, 1, -ERANGE },
		{ R_AARCH64_MOVW_SABS_G2, -0x1000000000000, 0xffffffffffff, 1, -ERANGE },
		{ R_AARCH64_MOVW_PREL_G0, -0x10000, 0xffff, 1, -ERANGE },
		{ R_AARCH64_MOVW_PREL_G1, -0x100000000, 0xffffffff, 1, -ERANGE },
		{ R_AARCH64_LD_PREL_LO19, -(1 << 20), (1 << 20) - 4, 4, -ERANGE },
		{ R_AARCH64_GOT_LD_PREL19, -(1 << 20), (1 << 20) - 4, 4, -ERANGE },
		{ R_AARCH64_TLSIE_LD_GOTTPREL_PREL19, -(1 << 20), (1 << 20) - 4, 4, -ERANGE },
		{ R_AARCH64_ADR_PREL_LO21, -(1 << 20), (1 << 20) - 1, 1, -ERANGE },
		{ R_AARCH64_ADR_PREL_PG_HI21, -(1ll << 32), (1ll << 32) - 1, 1, -ERANGE },
		{ R_AARCH64_ADR_GOT_PAGE, -(1ll << 32), (1ll << 32) - 1, 1, -ERANGE },
		{ R_AARCH64_TSTBR14, -(1 << 15), (1 << 15) - 4, 4, -ERANGE },
		{ R_AARCH64_CONDBR19, -(1 << 20), (1 << 20) - 4, 4, -ERANGE },
		{ R_AARCH64_JUMP26, -(1 << 27), (1 << 27) - 4, 4, -ERANGE },
		{ R_AARCH64_CALL26, -(1 << 27), (1 << 27) - 4, 4, -ERANGE },
		{ R_AARCH64_TLSLE_ADD_TPREL_HI12, 0, 0xffffff, 1, -ERANGE },
		{ R_AARCH64_TLSLE_ADD_TPREL_LO12, 0, 0xfff, 1, -ERANGE },
		{ R_AARCH64_TLSLE_LDST8_TPREL_LO12, 0, 0xfff, 1, -ERANGE },
		{ R_AARCH64_TLSLE_LDST64_TPREL_LO12, 0, 0xff8, 8, -ERANGE },
		{ R_AARCH64_TLSLE_MOVW_TPREL_G1, -0x100000000, 0xffffffff, 1, -ERANGE },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		const struct sut_reloc_howto *h = arch->reloc_howto(cases[i].type);
		uint64_t base = h->pcrel ? PLACE : 0;
		uint32_t word;

		if (field(cases[i].type, base + (uint64_t)cases[i].min, 0, &word) ||
		    field(cases[i].type, base + (uint64_t)cases[i].max, 0, &word))
			fail_msg("%s: an extreme is refused", h->name);
		if (field(cases[i].type, base + (uint64_t)cases[i].min - cases[i].step, 0, &word) != cases[i].beyond ||
		    field(cases[i].type, base + (uint64_t)cases[i].max + cases[i].step, 0, &word) != cases[i].beyond ||
		    field(cases[i].type, base + (1ull << 63), 0, &word) != cases[i].beyond)
			fail_msg("%s: an overflow is not seen", h->name);
	}
}

/* What the instruction counts in units of must be a multiple of them. */
static void test_alignment(void **state)
{
	static const struct {
		uint32_t type;
		unsigned unit;
	} cases[] = {
		{ R_AARCH64_LD_PREL_LO19, 4 },
		{ R_AARCH64_TSTBR14, 4 },
		{ R_AARCH64_CONDBR19, 4 },
		{ R_AARCH64_JUMP26, 4 },
		{ R_AARCH64_CALL26, 4 },
		{ R_AARCH64_LDST16_ABS_LO12_NC, 2 },
		{ R_AARCH64_LDST32_ABS_LO12_NC, 4 },
		{ R_AARCH64_LDST64_ABS_LO12_NC, 8 },
		{ R_AARCH64_LDST128_ABS_LO12_NC, 16 },
		{ R_AARCH64_LD64_GOT_LO12_NC, 8 },
		{ R_AARCH64_TLSLE_LDST16_TPREL_LO12_NC, 2 },
		{ R_AARCH64_TLSLE_LDST32_TPREL_LO12_NC, 4 },
		{ R_AARCH64_TLSLE_LDST64_TPREL_LO12_NC, 8 },
		{ R_AARCH64_TLSDESC_LD64_LO12, 8 },
		{ R_AARCH64_ADD_ABS_LO12_NC, 1 },
		{ R_AARCH64_LDST8_ABS_LO12_NC, 1 },
		{ R_AARCH64_ADR_PREL_LO21, 1 },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++)
		for (unsigned off = 0; off < 16; off++) {
			uint32_t word;
			int err = field(cases[i].type, PLACE + 0x100 + off, 0, &word);

			if (err != (off % cases[i].unit ? -EINVAL : 0))
				fail_msg("%s: +%u is %d", arch->reloc_howto(cases[i].type)->name, off, err);
		}
}

static void test_got_page(void **state)
{
	uint32_t word;

	/* Counted from the page that the GOT's base is in, to its last slot that 15 bits reach. */
	assert_int_equal(field(R_AARCH64_LD64_GOTPAGE_LO15, PLACE + 0x10000, 0, &word), 0);
	assert_int_equal(field(R_AARCH64_LD64_GOTPAGE_LO15, PLACE + 0x17ff8, 0, &word), 0);
	assert_int_equal(word >> 10 & 0xfff, 0xfff);
	assert_int_equal(field(R_AARCH64_LD64_GOTPAGE_LO15, PLACE + 0x18000, 0, &word), -ERANGE);
	assert_int_equal(field(R_AARCH64_LD64_GOTPAGE_LO15, PLACE + 0xfff8, 0, &word), -ERANGE);
	assert_int_equal(field(R_AARCH64_LD64_GOTPAGE_LO15, PLACE + 0x10004, 0, &word), -EINVAL);
	/* An addend belongs to the slot's content. */
	assert_int_equal(field(R_AARCH64_ADR_GOT_PAGE, PLACE, 8, &word), -EOPNOTSUPP);
	assert_int_equal(field(R_AARCH64_LD64_GOTPAGE_LO15, PLACE + 0x10000, 8, &word), -EOPNOTSUPP);
	assert_int_equal(field(R_AARCH64_TLSIE_LD64_GOTTPREL_LO12_NC, PLACE, 8, &word), -EOPNOTSUPP);
	assert_int_equal(field(R_AARCH64_TLSDESC_ADR_PAGE21, PLACE, 8, &word), -EOPNOTSUPP);
	assert_int_equal(field(R_AARCH64_TLSGD_ADR_PAGE21, PLACE, 8, &word), -EOPNOTSUPP);
}

/* What clang leaves for a signed piece is movn, what gcc leaves movz: both become what the sign wants. */
static void test_movz_movn(void **state)
{
	static const uint32_t words[] = { 0xd2800003, 0x92800003 }; /* movz x3,#0; movn x3,#0 */
	const struct sut_reloc_howto *h = arch->reloc_howto(R_AARCH64_MOVW_SABS_G0);

	for (unsigned i = 0; i < 2; i++) {
		struct sut_reloc_values v = { .S = 0x1234 };
		uint8_t out[4];

		put_word(out, words[i]);
		assert_true(sut_reloc_field_idle(h, out));
		assert_int_equal(arch->relocate_field(h, &v, out), 0);
		assert_int_equal(sut_le32(out), 0xd2824683); /* movz x3,#0x1234 */
		assert_false(sut_reloc_field_idle(h, out));
		v.S = ~0x1234ull;
		assert_int_equal(arch->relocate_field(h, &v, out), 0);
		assert_int_equal(sut_le32(out), 0x92824683); /* movn x3,#0x1234 */
	}
}

static void test_unknown_types(void **state)
{
	static const uint32_t types[] = { R_AARCH64_COPY,
					  R_AARCH64_GLOB_DAT,
					  R_AARCH64_JUMP_SLOT,
					  R_AARCH64_RELATIVE,
					  R_AARCH64_TLS_DTPMOD,
					  R_AARCH64_TLSDESC,
					  R_AARCH64_IRELATIVE,
					  R_AARCH64_TLSDESC_OFF_G1,
					  R_AARCH64_P32_ABS32,
					  255,
					  256,
					  281,
					  0x7fffffff,
					  0xffffffff };

	for (size_t i = 0; i < SUT_ARRAY_SIZE(types); i++)
		assert_null(arch->reloc_howto(types[i]));
	for (uint32_t t = 0; t < 1100; t++) {
		const struct sut_reloc_howto *h = arch->reloc_howto(t);

		if (!h)
			continue;
		assert_int_equal(h->type, t);
		assert_true(strncmp(h->name, "R_AARCH64_", 10) == 0);
		assert_true(!h->mask || h->size == 4);
	}
	assert_ptr_equal(sut_arch_find(EM_AARCH64), arch);
}

/* ---- TLS sequences ------------------------------------------------------------------------------ */

static const struct {
	const char *text;
	uint32_t type;
	unsigned n;
	uint32_t code[4], open; /* bits of the first word that may be anything */
	uint32_t out[4]; /* for the offset 0x12345678 */
} sequences[] = {
	{ "descriptor: adrp", R_AARCH64_TLSDESC_ADR_PAGE21, 1, { 0x90000000 }, 0, { 0xd2a24680 } },
	{ "descriptor: ldr", R_AARCH64_TLSDESC_LD64_LO12, 1, { 0xf9400001 }, 31, { 0xf28acf00 } },
	{ "descriptor: add", R_AARCH64_TLSDESC_ADD_LO12, 1, { 0x91000000 }, 0, { 0xd503201f } },
	{ "descriptor: blr", R_AARCH64_TLSDESC_CALL, 1, { 0xd63f0020 }, 31 << 5, { 0xd503201f } },
	{ "general dynamic",
	  R_AARCH64_TLSGD_ADR_PAGE21,
	  4,
	  { 0x90000000, 0x91000000, 0x94000000, 0xd503201f },
	  0,
	  { 0xd2a24680, 0xf28acf00, 0xd53bd041, 0x8b000020 } },
};

static void test_tls(void **state)
{
	for (size_t i = 0; i < SUT_ARRAY_SIZE(sequences); i++) {
		const struct sut_reloc_howto *h = arch->reloc_howto(sequences[i].type);
		size_t len = 4 * sequences[i].n;
		uint8_t code[24], want[24], was[24];
		unsigned skip = 77;

		memset(code, 0x42, sizeof(code));
		for (unsigned k = 0; k < sequences[i].n; k++)
			put_word(code + 4 + 4 * k, sequences[i].code[k]);
		memcpy(was, code, sizeof(code));
		memcpy(want, code, sizeof(code));
		for (unsigned k = 0; k < sequences[i].n; k++)
			put_word(want + 4 + 4 * k, sequences[i].out[k]);
		/* Out of range, cut off, beyond the end: nothing changes. */
		assert_int_equal(arch->tls_relax(h, code, 24, 4, 1ll << 32, &skip), -ERANGE);
		assert_int_equal(arch->tls_relax(h, code, 24, 4, -1, &skip), -ERANGE);
		for (size_t cut = 0; cut < len; cut++)
			assert_int_equal(arch->tls_relax(h, code, 4 + cut, 4, 16, &skip), -EOPNOTSUPP);
		assert_int_equal(arch->tls_relax(h, code, 24, ~0ull, 16, &skip), -EOPNOTSUPP);
		assert_memory_equal(code, was, sizeof(code));
		assert_int_equal(skip, 77);
		for (size_t bit = 0; bit < 8 * len; bit++) { /* another bit than the ABI wants */
			if (bit < 32 && sequences[i].open >> bit & 1)
				continue;
			code[4 + bit / 8] ^= (uint8_t)(1 << bit % 8);
			if (arch->tls_relax(h, code, 24, 4, 16, &skip) != -EOPNOTSUPP)
				fail_msg("%s: bit %zu may be anything", sequences[i].text, bit);
			code[4 + bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		if (arch->tls_relax(h, code, 24, 4, 0x12345678, &skip) || memcmp(code, want, sizeof(code)) ||
		    skip != (sequences[i].n == 4 ? 2u : 0u) || skip != h->tls_calls)
			fail_msg("%s: not relaxed as it should", sequences[i].text);
	}
}

static void test_tls_other_kinds(void **state)
{
	static const uint32_t types[] = { R_AARCH64_TLSIE_ADR_GOTTPREL_PAGE21, R_AARCH64_TLSGD_ADD_LO12_NC,
					  R_AARCH64_ADR_PREL_PG_HI21, R_AARCH64_CALL26 };
	uint8_t code[16];
	unsigned skip;

	put_word(code, 0x90000000);
	for (size_t i = 0; i < SUT_ARRAY_SIZE(types); i++)
		assert_int_equal(arch->tls_relax(arch->reloc_howto(types[i]), code, 16, 0, 16, &skip), -EOPNOTSUPP);
}

/* ---- registers and system calls ------------------------------------------------------------------ */

static struct sut_regs numbered(void)
{
	struct sut_regs r = { .size = arch->regs_size };

	for (uint64_t i = 0; i < 37; i++) {
		uint64_t x = 0x1000 + i;

		memcpy(r.raw + 8 * i, &x, 8);
	}
	return r;
}

static uint64_t reg(const struct sut_regs *r, unsigned n)
{
	return sut_le64(r->raw + 8 * n);
}

static void set_reg(struct sut_regs *r, unsigned n, uint64_t v)
{
	memcpy(r->raw + 8 * n, &v, 8);
}

static void test_registers(void **state)
{
	struct sut_regs r = numbered();
	const uint64_t args[6] = { 1, 2, 3, 4, 5, 6 };
	uint64_t v;

	assert_int_equal(arch->regs_size, 272); /* struct user_pt_regs */
	for (unsigned n = 0; n < 32; n++) {
		assert_true(arch->regs_dwarf(&r, n, &v));
		assert_int_equal(v, 0x1000 + n);
	}
	assert_true(arch->regs_dwarf(&r, arch->dwarf_pc, &v));
	assert_int_equal(v, 0x1020);
	assert_false(arch->regs_dwarf(&r, arch->n_dwarf_regs, &v));
	assert_int_equal(arch->regs_sp(&r), 0x101f);
	assert_int_equal(arch->regs_pc(&r), 0x1020);
	/* Behind the 34 words: the thread pointer, and the masks of authentication codes. */
	assert_int_equal(arch->n_more_regsets, 2);
	assert_int_equal(arch->more_regsets[0].type, 0x401);
	assert_int_equal(arch->more_regsets[0].at, 272);
	assert_int_equal(arch->more_regsets[1].type, 0x406);
	assert_int_equal(arch->more_regsets[1].at + arch->more_regsets[1].size, 296);
	assert_int_equal(arch->regs_tp(&r), 0x1022);
	set_reg(&r, 36, 0x007f000000000000);
	assert_true(arch->strip_code(&r, 0x002a0000aaaa1234ull) == 0xaaaa1234ull);
	assert_true(arch->strip_code(&r, 0xff80000000001234ull) == 0xff80000000001234ull); /* the kernel's half */
	set_reg(&r, 33, 0x60000c00); /* flags, and an indirect branch just taken */
	arch->regs_set_syscall(&r, 0x77, 9, args);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(reg(&r, i), args[i]);
	assert_int_equal(reg(&r, 6), 0x1006);
	assert_int_equal(reg(&r, 7), 0x1007); /* must be the thread's own */
	assert_int_equal(reg(&r, 8), 9);
	assert_int_equal(arch->regs_pc(&r), 0x77);
	assert_int_equal(reg(&r, 33), 0x60000000); /* no landing pad is wanted at the new place */
	assert_int_equal(arch->regs_syscall_result(&r), 1);
	arch->regs_set_sp(&r, 0x88);
	assert_int_equal(arch->regs_sp(&r), 0x88);
	arch->regs_set_return(&r, 0x99);
	assert_int_equal(reg(&r, 30), 0x99);
	assert_true(arch->regs_native(&r));
	set_reg(&r, 33, 0x10);
	assert_false(arch->regs_native(&r));
}

/* An epoll_pwait that a stop has interrupted, as it was seen before and as it stands then. */
static void test_mask_eintr(void **state)
{
	const struct sut_syscall_seen seen = { .nr = 22, .args = { 5, 2, 3, 4, 6, 7 }, .sp = 0x5000, .pc = 0x4004 };
	struct sut_regs is = { .size = arch->regs_size }, r;
	struct sut_syscall_seen other = seen;

	for (unsigned i = 1; i < 6; i++)
		set_reg(&is, i, seen.args[i]);
	set_reg(&is, 0, (uint64_t)-4);
	set_reg(&is, 8, 22);
	set_reg(&is, 31, seen.sp);
	set_reg(&is, 32, seen.pc);
	r = is;
	assert_false(arch->regs_mask_eintr(&r));
	assert_true(arch->regs_mask_eintr_seen(&r, &seen));
	assert_int_equal(reg(&r, 0), 5);
	assert_int_equal(reg(&r, 8), 22);
	assert_int_equal(arch->regs_pc(&r), 0x4000);
	assert_false(arch->regs_mask_eintr_seen(&r, &seen)); /* once */
	for (unsigned i = 0; i < 33; i++) { /* nothing may be other than it was */
		if (i == 6 || i == 7 || (i > 8 && i < 31))
			continue;
		r = is;
		set_reg(&r, i, reg(&r, i) ^ 8);
		assert_false(arch->regs_mask_eintr_seen(&r, &seen));
	}
	r = is;
	other.nr = 203; /* connect */
	set_reg(&r, 8, 203);
	assert_false(arch->regs_mask_eintr_seen(&r, &other));
	other.nr = -1;
	assert_false(arch->regs_mask_eintr_seen(&r, &other));
}

/* A sleep that goes on in time, although its thread was elsewhere meanwhile. */
static void test_resume(void **state)
{
	static const struct {
		int64_t nr;
		uint64_t a1, a3;
		bool resumes;
	} cases[] = {
		{ 101, 0, 0, true }, /* nanosleep */
		{ 115, 0, 0, true }, /* clock_nanosleep */
		{ 115, 1, 0, false }, /* until a given time */
		{ 98, 0, 0x1000, true }, /* futex: wait, with a time */
		{ 98, 128, 0x1000, true }, /* private */
		{ 98, 128, 0, false }, /* for ever */
		{ 98, 137, 0x1000, false }, /* until a given time */
		{ 22, 0, 0x1000, false }, /* epoll_pwait */
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		struct sut_syscall_seen seen = { .nr = cases[i].nr, .args = { 9, cases[i].a1, 2, cases[i].a3 } };
		struct sut_regs r = { .size = arch->regs_size };

		seen.sp = 0x5000;
		seen.pc = 0x4004;
		for (unsigned k = 0; k < 6; k++)
			set_reg(&r, k, seen.args[k]);
		set_reg(&r, 8, (uint64_t)seen.nr);
		set_reg(&r, 31, seen.sp);
		set_reg(&r, 32, 0x4000); /* the kernel has put it back */
		assert_int_equal(arch->regs_restart_block(&r), cases[i].resumes);
		assert_int_equal(arch->regs_resume_seen(&r, &seen), cases[i].resumes);
		assert_int_equal(reg(&r, 8), cases[i].resumes ? 128 : (uint64_t)seen.nr);
		set_reg(&r, 8, (uint64_t)seen.nr);
		set_reg(&r, 32, 0x4004);
		assert_false(arch->regs_resume_seen(&r, &seen));
	}
}

static void test_frame(void **state)
{
	static uint8_t out[32768], fpu[16384];
	struct sut_regs r = numbered();
	size_t len = 77;
	uint64_t sp = 77;

	assert_int_equal(arch->sigframe(&r, fpu, 528, 0, 0x1008, out, sizeof(out), &len, &sp), -EINVAL);
	assert_int_equal(arch->sigframe(&r, fpu, 12, 0, 0x1000, out, sizeof(out), &len, &sp), -EINVAL);
	assert_int_equal(arch->sigframe(&r, fpu, 543, 0, 0x1000, out, sizeof(out), &len, &sp), -EINVAL);
	assert_int_equal(arch->sigframe(&r, fpu, 528, 0, 0x1000, out, 592 + 528 + 15, &len, &sp), -ENOSPC);
	assert_int_equal(len, 77);
	assert_int_equal(sp, 77);
	assert_int_equal(arch->sigframe(&r, fpu, 528, 0x1234, 0x1000, out, 592 + 528 + 16, &len, &sp), 0);
	assert_int_equal(len, 592 + 528 + 16);
	assert_int_equal(sp, 0x1000);
	assert_int_equal(sut_le64(out + 128 + 40), 0x1234); /* the mask */
	for (unsigned i = 0; i < 34; i++)
		assert_int_equal(sut_le64(out + 304 + 8 + 8 * i), 0x1000 + i);
	assert_int_equal(sut_le32(out + 592), 0x46508001);
	assert_int_equal(sut_le32(out + 592 + 4), 528);
	assert_int_equal(sut_le64(out + 592 + 528), 0);
	/* SVE's register set without live registers is the small one behind a header. */
	assert_int_equal(arch->sigframe(&r, fpu, 544, 0, 0x1000, out, sizeof(out), &len, &sp), 0);
	assert_int_equal(len, 592 + 528 + 16);
	/* With them: 32 z, 16 p and ffr; beyond 4096 bytes behind an extra record. */
	for (unsigned vl = 16; vl <= 256; vl *= 2) {
		size_t regs = 32 * (size_t)vl + 17 * (size_t)vl / 8, sve = (16 + regs + 15) & ~15ull;
		bool extra = 528 + sve + 16 > 4096;

		fpu[8] = (uint8_t)vl;
		fpu[9] = (uint8_t)(vl >> 8);
		fpu[12] = 1;
		assert_int_equal(arch->sigframe(&r, fpu, sve + 7, 0, 0x1000, out, sizeof(out), &len, &sp), -EINVAL);
		assert_int_equal(arch->sigframe(&r, fpu, sve + 16, 0, 0x1000, out, sizeof(out), &len, &sp), 0);
		assert_int_equal(len, 592 + 528 + sve + 16 + (extra ? 48 : 0));
		assert_int_equal(extra, vl >= 128);
		assert_int_equal(sut_le32(out + 592 + 528), extra ? 0x45585401 : 0x53564501);
		if (extra) {
			assert_int_equal(sut_le64(out + 592 + 528 + 8), 0x1000 + 592 + 528 + 48);
			assert_int_equal(sut_le32(out + 592 + 528 + 16), sve + 16);
		}
	}
	fpu[8] = 17; /* no vector length */
	assert_int_equal(arch->sigframe(&r, fpu, sizeof(fpu), 0, 0x1000, out, sizeof(out), &len, &sp), -EINVAL);
}

static void test_tables(void **state)
{
	size_t len;

	assert_true(arch->is_syscall_insn(arch->heal_code + arch->heal_syscall_off, 4, &len));
	assert_int_equal(len, 4);
	assert_false(arch->is_syscall_insn(arch->heal_code, 3, &len));
	for (size_t i = 0; i < SUT_SYS_N; i++)
		assert_int_not_equal(arch->sysno[i], 0);
	for (size_t i = 0; i < arch->n_syscall_gadgets; i++) {
		const struct sut_gadget *g = &arch->syscall_gadgets[i];

		assert_true(arch->is_syscall_insn(g->code + g->syscall_off, g->len - g->syscall_off, &len));
		assert_int_equal(sut_le32(g->code + g->len - 4), 0xd65f03c0); /* ret */
	}
	for (size_t i = 0; i < arch->n_sigreturn_gadgets; i++) {
		const struct sut_gadget *g = &arch->sigreturn_gadgets[i];

		assert_true(arch->is_syscall_insn(g->code + g->syscall_off, g->len - g->syscall_off, &len));
		assert_int_equal(sut_le32(g->code), 0xd2800008 | 139 << 5); /* mov x8,#139 */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_overflow),  cmocka_unit_test(test_alignment),
		cmocka_unit_test(test_got_page),  cmocka_unit_test(test_movz_movn),
		cmocka_unit_test(test_tls),       cmocka_unit_test(test_tls_other_kinds),
		cmocka_unit_test(test_registers), cmocka_unit_test(test_mask_eintr),
		cmocka_unit_test(test_resume),    cmocka_unit_test(test_frame),
		cmocka_unit_test(test_tables),    cmocka_unit_test(test_unknown_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
