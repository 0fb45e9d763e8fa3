/* SPDX-License-Identifier: MIT */
/*
 * Description: ppc64le encoders at their exact limits, as objdump reads them; fields that do not fit or are not
 * aligned; which way a call goes, and why some are refused; registers, system calls and their restart; every byte of
 * the healing frame that the kernel reads.
 */
#include <stdarg.h>
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "arch/ppc64le/ppc64le.h"
#include "util/util.h"

#define OBJDUMP "powerpc64le-linux-gnu-objdump"
#define PC      0x10000000ull

static const struct sut_arch *const arch = &sut_arch_ppc64le;

/* -- encoders ---------------------------------------------------------------------------------- */

static void test_jump_limits(void **state)
{
	static const struct {
		int64_t rel;
		int err;
	} cases[] = {
		{ 0, 0 },
		{ 4, 0 },
		{ -4, 0 },
		{ 0x1fffffc, 0 },
		{ -0x2000000, 0 },
		{ 0x2000000, -ERANGE },
		{ -0x2000004, -ERANGE },
		{ 2, -ERANGE },
		{ 1, -ERANGE },
		{ 0x7fffffff, -ERANGE },
		{ INT64_MIN, -ERANGE },
		{ 0x100000000, -ERANGE },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		uint8_t code[4];
		uint64_t to;

		assert_int_equal(arch->jump_encode(PC, PC + (uint64_t)cases[i].rel, code), cases[i].err);
		if (cases[i].err)
			continue;
		assert_true(arch->jump_decode(code, PC, &to));
		assert_int_equal(to, PC + (uint64_t)cases[i].rel);
	}
	/* Whatever is less than jump_reach away is reached, from every word of it. */
	assert_true(arch->jump_reach < 0x2000000);
	/* bl, ba and bc are not jumps of ours. */
	for (uint32_t w = 1; w < 4; w++) {
		uint8_t code[4];
		uint64_t to;

		sut_ppc_put_word(code, SUT_PPC_B | w);
		assert_false(arch->jump_decode(code, PC, &to));
	}
}

static void test_bc_limits(void **state)
{
	uint8_t code[4];

	assert_int_equal(sut_ppc_bc_encode(0x41820000, PC, PC + 0x7ffc, code), 0);
	assert_int_equal(sut_ppc_word(code), 0x41827ffc);
	assert_int_equal(sut_ppc_bc_encode(0x41820000, PC, PC - 0x8000, code), 0);
	assert_int_equal(sut_ppc_word(code), 0x41828000);
	assert_int_equal(sut_ppc_bc_encode(0x41820000, PC, PC + 0x8000, code), -ERANGE);
	assert_int_equal(sut_ppc_bc_encode(0x41820000, PC, PC - 0x8004, code), -ERANGE);
	assert_int_equal(sut_ppc_bc_encode(0x41820000, PC, PC + 2, code), -ERANGE);
}

/* Stubs as objdump reads them: the words say what their comments say. */
static void test_stubs_read(void **state)
{
	static const char *const want[] = {
		"std     r2,24(r1)",
		"lis     r12,4660",
		"ori     r12,r12,22136",
		"sldi    r12,r12,32",
		"oris    r12,r12,39613",
		"ld      r12,-8464(r12)",
		"mtctr   r12",
		"bctr",
		/* veneer */
		"lis     r12,4660",
		"ori     r12,r12,22136",
		"sldi    r12,r12,32",
		"oris    r12,r12,39612",
		"ori     r12,r12,57072",
		"mtctr   r12",
		"bctr",
		"trap",
		/* switch stub */
		"lis     r12,0",
		"ori     r12,r12,0",
		"sldi    r12,r12,32",
		"oris    r12,r12,8192",
		"lbz     r12,5(r12)",
		"addi    r12,r12,1",
		"mtctr   r12",
		"bdz     0x10000064",
		"b       0x10000100",
		"b       0x10000200",
	};
	char path[] = "/tmp/suture-ppc64-XXXXXX", cmd[256], line[256];
	uint8_t code[32 + 32 + SUT_PPC_SWITCH_STUB_SIZE];
	int fd = mkstemp(path);
	size_t n = 0;
	FILE *p;

	if (system("command -v " OBJDUMP " >/dev/null"))
		skip();
	assert_int_equal(arch->plt_stub(PC, 0x123456789abcdef0, code), 0);
	assert_int_equal(arch->veneer(PC + 32, 0x123456789abcdef0, code + 32), 0);
	assert_int_equal(arch->switch_stub(PC + 64, 0x20000005, PC + 0x100, PC + 0x200, code + 64), 0);
	assert_int_equal(write(fd, code, sizeof(code)), sizeof(code));
	close(fd);
	snprintf(cmd, sizeof(cmd),
		 OBJDUMP " -b binary -m powerpc:common64 -EL -Mpower9 -D --no-show-raw-insn --adjust-vma=0x%llx %s", PC,
		 path);
	p = popen(cmd, "r");
	assert_non_null(p);
	while (n < SUT_ARRAY_SIZE(want) && fgets(line, sizeof(line), p)) {
		unsigned long at;
		int used = 0;

		if (sscanf(line, " %lx:%n", &at, &used) != 1 || !used)
			continue;
		line[strcspn(line, "\n")] = '\0';
		assert_string_equal(line + used + strspn(line + used, " \t"), want[n]);
		n++;
	}
	pclose(p);
	unlink(path);
	assert_int_equal(n, SUT_ARRAY_SIZE(want));
	assert_int_equal(arch->veneer(PC, 2, code), -ERANGE);
	assert_int_equal(arch->switch_stub(PC, PC, 2, 4, code), -ERANGE);
}

static void test_not_moved(void **state)
{
	static const struct {
		const char *text;
		uint32_t w[3];
		size_t min;
		int err;
	} cases[] = {
		{ "b .", { 0x48000000 }, 4, -EOPNOTSUPP },
		{ "bne . (a loop over the entry)", { 0x40820000 }, 4, -EOPNOTSUPP },
		{ "blrl", { 0x4e800021 }, 4, -EOPNOTSUPP },
		{ "a branch into the second word", { 0x48000004, 0x60000000 }, 8, -EOPNOTSUPP },
		{ "bl as the second", { 0x7c0802a6, 0x48000101 }, 8, -EOPNOTSUPP },
		{ "bctrl as the second", { 0x7c0802a6, 0x4e800421 }, 8, -EOPNOTSUPP },
		{ "code behind blr", { 0x4e800020, 0x38630001 }, 8, -EOPNOTSUPP },
		{ "padding behind blr", { 0x4e800020, 0x60000000 }, 8, 0 },
		{ "two words", { 0x7c0802a6, 0xf8010010 }, 8, 0 },
		{ "b, out of reach from there", { 0x4bfe0000 }, 4, -ERANGE },
		{ "a prefix cut off", { 0x06100000 }, 4, -EILSEQ },
		{ "a call of itself", { 0x48000001 }, 4, 0 },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		uint8_t code[12], out[64];
		size_t len, moved;
		int err;

		for (unsigned k = 0; k < 3; k++)
			sut_ppc_put_word(code + 4 * k, cases[i].w[k]);
		err = arch->relocate_entry(code, cases[i].err == -EILSEQ ? 4 : 12, cases[i].min, PC, PC + 0x1ffff00,
					   out, sizeof(out), &len, &moved);
		if (err != cases[i].err)
			fail_msg("%s: %d", cases[i].text, err);
		/* Too little room is seen before it is overrun. */
		for (size_t cap = 0; !err && cap < len; cap += 4) {
			uint8_t *tight = malloc(cap + 1);

			assert_int_equal(arch->relocate_entry(code, 12, cases[i].min, PC, PC + 0x1ffff00, tight, cap,
							      &(size_t){ 0 }, &(size_t){ 0 }),
					 -ENOSPC);
			free(tight);
		}
	}
}

/* -- fields ------------------------------------------------------------------------------------ */

static int field(uint32_t type, uint32_t w, uint64_t S, uint64_t P, uint64_t GOT, uint8_t *place)
{
	const struct sut_reloc_howto *h = arch->reloc_howto(type);
	struct sut_reloc_values v = { .S = S, .P = P, .GOT = GOT };

	assert_non_null(h);
	memset(place, 0, 8);
	sut_ppc_put_word(place, w);
	return arch->relocate_field(arch->reloc_howto_at(h, place, 8), &v, place);
}

static void test_limits(void **state)
{
	const uint64_t P = 0x200000000;
	static const struct {
		uint32_t type, w;
		int64_t value; /* S - P, S - GOT or S, as the type has it */
		int err;
	} cases[] = {
		{ R_PPC64_REL24, 0x48000001, 0x1fffffc, 0 },
		{ R_PPC64_REL24, 0x48000001, -0x2000000, 0 },
		{ R_PPC64_REL24, 0x48000001, 0x2000000, -ERANGE },
		{ R_PPC64_REL24, 0x48000001, -0x2000004, -ERANGE },
		{ R_PPC64_REL24, 0x48000001, 2, -EINVAL },
		{ R_PPC64_REL14, 0x40820000, 0x7ffc, 0 },
		{ R_PPC64_REL14, 0x40820000, -0x8000, 0 },
		{ R_PPC64_REL14, 0x40820000, 0x8000, -ERANGE },
		{ R_PPC64_REL14, 0x40820000, -0x8004, -ERANGE },
		{ R_PPC64_TOC16_HA, 0x3c620000, 0x7fff7fff, 0 },
		{ R_PPC64_TOC16_HA, 0x3c620000, 0x7fff8000, -ERANGE },
		{ R_PPC64_TOC16_HA, 0x3c620000, -0x80008000ll, 0 },
		{ R_PPC64_TOC16_HA, 0x3c620000, -0x80008001ll, -ERANGE },
		{ R_PPC64_TOC16_HI, 0x3c620000, 0x7fffffff, 0 },
		{ R_PPC64_TOC16_HI, 0x3c620000, 0x80000000ll, -ERANGE },
		{ R_PPC64_TOC16_LO, 0x38630000, INT64_MAX, 0 },
		{ R_PPC64_TOC16, 0x38620000, 0x7fff, 0 },
		{ R_PPC64_TOC16, 0x38620000, -0x8000, 0 },
		{ R_PPC64_TOC16, 0x38620000, 0x8000, -ERANGE },
		{ R_PPC64_TOC16_DS, 0xe8620000, 0x7ffc, 0 },
		{ R_PPC64_TOC16_DS, 0xe8620000, 0x7ffe, -EINVAL },
		{ R_PPC64_TOC16_DS, 0xe8620000, 0x8000, -ERANGE },
		{ R_PPC64_TOC16_LO_DS, 0xe8630000, 0x10001, -EINVAL },
		{ R_PPC64_TOC16_LO_DS, 0xf4630001, 0x18, -EINVAL }, /* lxv wants 16 */
		{ R_PPC64_TOC16_LO_DS, 0xf4630001, 0x20, 0 },
		{ R_PPC64_TOC16_LO_DS, 0xf463000d, 0x20, 0 }, /* stxv with the sixth register bit */
		{ R_PPC64_TOC16_LO_DS, 0xe0630000, 0x18, -EINVAL }, /* lq wants 16 */
		{ R_PPC64_REL32, 0, 0x7fffffff, 0 },
		{ R_PPC64_REL32, 0, -0x80000000ll, 0 },
		{ R_PPC64_REL32, 0, 0x80000000ll, -ERANGE },
		{ R_PPC64_ADDR32, 0, 0xffffffffll, 0 },
		{ R_PPC64_ADDR32, 0, -0x80000000ll, 0 },
		{ R_PPC64_ADDR32, 0, 0x100000000ll, -ERANGE },
		{ R_PPC64_ADDR32, 0, -0x80000001ll, -ERANGE },
		{ R_PPC64_ADDR16, 0, 0xffff, 0 },
		{ R_PPC64_ADDR16, 0, 0x10000, -ERANGE },
		{ R_PPC64_PCREL34, 0x06100000, (1ll << 33) - 1, 0 },
		{ R_PPC64_PCREL34, 0x06100000, -(1ll << 33), 0 },
		{ R_PPC64_PCREL34, 0x06100000, 1ll << 33, -ERANGE },
		{ R_PPC64_PCREL34, 0x06100000, -(1ll << 33) - 1, -ERANGE },
		{ R_PPC64_REL16DX_HA, 0x4c600004, 0x7fff7fff, 0 },
		{ R_PPC64_REL16DX_HA, 0x4c600004, 0x7fff8000, -ERANGE },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		const struct sut_reloc_howto *h = arch->reloc_howto(cases[i].type);
		uint64_t from = h->pcrel ? P : h->kind == SUT_RELOC_GOT_REL ? P + 0x8000 : 0;
		uint8_t place[8], before[8] = { 0 };
		int err = field(cases[i].type, cases[i].w, from + (uint64_t)cases[i].value, P, P + 0x8000, place);

		if (err != cases[i].err)
			fail_msg("%s of %ld: %d", h->name, cases[i].value, err);
		sut_ppc_put_word(before, cases[i].w);
		if (err)
			assert_memory_equal(place, before, 8); /* nothing is written */
		else if (h->mask)
			assert_true(sut_reloc_rest_equal(arch->reloc_howto_at(h, before, 8), place, before));
	}
	assert_null(arch->reloc_howto(R_PPC64_COPY));
	assert_null(arch->reloc_howto(R_PPC64_RELATIVE));
	assert_null(arch->reloc_howto(R_PPC64_DTPMOD64));
	assert_null(arch->reloc_howto(0xffffffff));
}

static void test_call_ways(void **state)
{
	static const struct {
		const char *text;
		uint32_t type, w[2];
		size_t avail;
		unsigned local;
		bool same_toc;
		const char *symbol;
		int err;
		enum sut_call_way way;
	} cases[] = {
		{ "bl f; nop, same TOC",
		  R_PPC64_REL24,
		  { 0x48000001, 0x60000000 },
		  8,
		  3,
		  true,
		  "f",
		  0,
		  SUT_CALL_DIRECT },
		{ "bl f, same TOC", R_PPC64_REL24, { 0x48000001, 0x38630001 }, 8, 3, true, "f", 0, SUT_CALL_DIRECT },
		{ "b f, same TOC", R_PPC64_REL24, { 0x48000000, 0 }, 4, 3, true, "f", 0, SUT_CALL_DIRECT },
		{ "bl f; nop, other TOC",
		  R_PPC64_REL24,
		  { 0x48000001, 0x60000000 },
		  8,
		  3,
		  false,
		  "f",
		  0,
		  SUT_CALL_STUB },
		{ "bl f, other TOC", R_PPC64_REL24, { 0x48000001, 0x38630001 }, 8, 3, false, "f", -EOPNOTSUPP, 0 },
		{ "bl f at the end, other TOC",
		  R_PPC64_REL24,
		  { 0x48000001, 0x60000000 },
		  4,
		  3,
		  false,
		  "f",
		  -EOPNOTSUPP,
		  0 },
		{ "bl f; ld r2, other TOC",
		  R_PPC64_REL24,
		  { 0x48000001, 0xe8410018 },
		  8,
		  3,
		  false,
		  "f",
		  -EOPNOTSUPP,
		  0 },
		{ "a sibling call, other TOC",
		  R_PPC64_REL24,
		  { 0x48000000, 0x60000000 },
		  8,
		  3,
		  false,
		  "f",
		  -EOPNOTSUPP,
		  0 },
		{ "a profiling call",
		  R_PPC64_REL24,
		  { 0x48000001, 0xf8010010 },
		  8,
		  0,
		  false,
		  "_mcount",
		  0,
		  SUT_CALL_DIRECT },
		{ "a save routine",
		  R_PPC64_REL24,
		  { 0x48000001, 0xf821ffc1 },
		  8,
		  0,
		  false,
		  "_savegpr0_25",
		  0,
		  SUT_CALL_NEAR },
		{ "a callee that loses r2",
		  R_PPC64_REL24,
		  { 0x48000001, 0x60000000 },
		  8,
		  1,
		  true,
		  "f",
		  0,
		  SUT_CALL_STUB },
		{ "the same without room", R_PPC64_REL24, { 0x48000001, 0x38630001 }, 8, 1, true, "f", -EOPNOTSUPP, 0 },
		{ "no TOC to no TOC", R_PPC64_REL24_NOTOC, { 0x48000001, 0 }, 4, 1, true, "f", 0, SUT_CALL_DIRECT },
		{ "no TOC to TOC", R_PPC64_REL24_NOTOC, { 0x48000001, 0 }, 4, 3, true, "f", 0, SUT_CALL_STUB_NOTOC },
		{ "no TOC to elsewhere",
		  R_PPC64_REL24_NOTOC,
		  { 0x48000000, 0 },
		  4,
		  0,
		  false,
		  "f",
		  0,
		  SUT_CALL_STUB_NOTOC },
		{ "a conditional branch", R_PPC64_REL14, { 0x41820000, 0 }, 4, 0, true, "f", 0, SUT_CALL_DIRECT },
		{ "not a branch", R_PPC64_REL24, { 0x60000000, 0x60000000 }, 8, 0, true, "f", -EILSEQ, 0 },
		{ "an absolute branch", R_PPC64_REL24, { 0x48000003, 0x60000000 }, 8, 0, true, "f", -EILSEQ, 0 },
		{ "cut off", R_PPC64_REL24, { 0x48000001, 0 }, 3, 0, true, "f", -EILSEQ, 0 },
		{ "a reserved st_other", R_PPC64_REL24, { 0x48000001, 0x60000000 }, 8, 7, true, "f", -EOPNOTSUPP, 0 },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		enum sut_call_way way = SUT_CALL_DIRECT;
		const char *why = NULL;
		uint8_t code[8];
		int err;

		sut_ppc_put_word(code, cases[i].w[0]);
		sut_ppc_put_word(code + 4, cases[i].w[1]);
		err = arch->call_way(arch->reloc_howto(cases[i].type), code, cases[i].avail,
				     (uint8_t)(cases[i].local << 5), cases[i].same_toc, cases[i].symbol, &way, &why);
		if (err != cases[i].err || (!err && way != cases[i].way) || (err == -EOPNOTSUPP && !why))
			fail_msg("%s: %d, way %d, %s", cases[i].text, err, way, why ? why : "no reason");
	}
}

/* A direct call goes to the local entry; one without a TOC pointer may not; a stub's second word is told of. */
static void test_local_entries(void **state)
{
	const struct sut_reloc_howto *h = arch->reloc_howto(R_PPC64_REL24);
	struct sut_reloc_values v = { .P = PC, .S = PC + 0x100, .other = 3 << 5 };
	struct sut_reloc_extra extra;
	uint8_t code[4];

	sut_ppc_put_word(code, SUT_PPC_BL);
	assert_int_equal(arch->relocate_field(h, &v, code), 0);
	assert_int_equal(sut_ppc_word(code), 0x48000109);
	assert_false(arch->relocate_extra(h, &v, &extra));
	v.other = 7 << 5;
	assert_int_equal(arch->relocate_field(h, &v, code), -EOPNOTSUPP);
	v.other = 3 << 5;
	assert_int_equal(arch->relocate_field(arch->reloc_howto(R_PPC64_REL24_NOTOC), &v, code), -EOPNOTSUPP);
	v.other = 0;
	v.restore_toc = true;
	assert_true(arch->relocate_extra(h, &v, &extra));
	assert_int_equal(extra.off, 4);
	assert_int_equal(extra.idle, 0x60000000); /* nop */
	assert_int_equal(extra.set, 0xe8410018); /* ld r2,24(r1) */
	assert_false(arch->relocate_extra(arch->reloc_howto(R_PPC64_REL24_NOTOC), &v, &extra));
}

/* -- registers and system calls ---------------------------------------------------------------- */

static struct sut_regs stopped(uint64_t trap, uint64_t nr, uint64_t r3, bool so)
{
	struct sut_regs r = { .size = SUT_PPC_REGS_SIZE };

	for (unsigned i = 0; i < SUT_PPC_N_REGS; i++)
		sut_ppc_set_reg(&r, i, 0x1000 + i);
	sut_ppc_set_reg(&r, SUT_PPC_R0, nr);
	sut_ppc_set_reg(&r, SUT_PPC_R3, r3);
	sut_ppc_set_reg(&r, SUT_PPC_ORIG_R3, 33);
	sut_ppc_set_reg(&r, SUT_PPC_TRAPNO, trap);
	sut_ppc_set_reg(&r, SUT_PPC_CCR, so ? 0x10000000 : 0);
	sut_ppc_set_reg(&r, SUT_PPC_MSR, 0x8000000000000001);
	return r;
}

static void test_registers(void **state)
{
	struct sut_regs r = stopped(0x900, 0, 0, false);
	uint64_t v;

	assert_int_equal(arch->regs_pc(&r), 0x1020);
	assert_int_equal(arch->regs_sp(&r), 0x1001);
	assert_int_equal(arch->regs_tp(&r), 0x100d);
	for (unsigned n = 0; n < 100; n++) {
		bool known = arch->regs_dwarf(&r, n, &v);

		assert_int_equal(known, n < 32 || (n >= 64 && n < 68));
		if (n < 32 && n != 0 && n != 3)
			assert_int_equal(v, 0x1000 + n);
	}
	assert_true(arch->regs_dwarf(&r, arch->dwarf_ra, &v));
	assert_int_equal(v, 0x1000 + 36); /* link */
	assert_true(arch->regs_dwarf(&r, arch->dwarf_pc, &v));
	assert_int_equal(v, 0x1000 + 32);
	arch->regs_set_return(&r, 0x55550000);
	assert_int_equal(sut_ppc_reg(&r, 36), 0x55550000);
	assert_true(arch->regs_native(&r));
	sut_ppc_set_reg(&r, SUT_PPC_MSR, 1); /* 32-bit */
	assert_false(arch->regs_native(&r));
	sut_ppc_set_reg(&r, SUT_PPC_MSR, 0x8000000000000000); /* big-endian */
	assert_false(arch->regs_native(&r));
}

static void test_results(void **state)
{
	static const struct {
		uint64_t trap, r3;
		bool so, in;
		int64_t result;
	} cases[] = {
		{ 0xc00, 512, true, true, -512 },
		{ 0xc00, 512, false, true, 512 },
		{ 0x3000, (uint64_t)-514, false, true, -514 },
		{ 0x3000, 5, true, true, 5 },
		{ 0xc01, 512, true, false, 0 },
		{ 0x900, 512, true, false, 0 },
		{ 0, 512, true, false, 0 },
		{ 0x3001, (uint64_t)-4, false, false, 0 },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		struct sut_regs r = stopped(cases[i].trap, 238, cases[i].r3, cases[i].so);
		int64_t result = 0;
		long nr = 0;

		assert_int_equal(arch->regs_in_syscall(&r, &nr, &result), cases[i].in);
		if (cases[i].in) {
			assert_int_equal(nr, 238);
			assert_int_equal(result, cases[i].result);
		}
	}
}

static void test_eintr(void **state)
{
	static const struct {
		uint64_t trap, nr, r3;
		bool so;
		uint64_t after; /* r3; 0: not changed */
	} cases[] = {
		{ 0xc00, 238, 4, true, 514 }, /* epoll_wait by sc */
		{ 0x3000, 238, (uint64_t)-4, false, (uint64_t)-514 }, /* by scv */
		{ 0xc00, 238, 4, false, 0 }, /* 4 events */
		{ 0x3000, 238, 4, false, 0 },
		{ 0xc00, 162, 4, true, 0 }, /* nanosleep: the program's own EINTR */
		{ 0xc00, 238, 512, true, 0 }, /* restarted anyway */
		{ 0x900, 238, 4, true, 0 }, /* not in a call */
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		struct sut_regs r = stopped(cases[i].trap, cases[i].nr, cases[i].r3, cases[i].so);

		assert_int_equal(arch->regs_mask_eintr(&r), cases[i].after != 0);
		assert_int_equal(sut_ppc_reg(&r, 3), cases[i].after ? cases[i].after : cases[i].r3);
	}
	/* The calls that many calls hide behind: by their first argument. */
	for (unsigned op = 0; op < 32; op++) {
		struct sut_regs ipc = stopped(0xc00, 117, 4, true), sock = stopped(0xc00, 102, 4, true);

		sut_ppc_set_reg(&ipc, SUT_PPC_ORIG_R3, op | 0x10000);
		sut_ppc_set_reg(&sock, SUT_PPC_ORIG_R3, op);
		assert_int_equal(arch->regs_mask_eintr(&ipc), op == 1 || op == 4);
		assert_int_equal(arch->regs_mask_eintr(&sock),
				 op == 3 || op == 5 || (op >= 9 && op <= 12) || (op >= 16 && op <= 20));
	}
}

static void test_restart_block(void **state)
{
	struct sut_regs sc = stopped(0xc00, 162, 516, true), scv = stopped(0x3000, 162, (uint64_t)-516, false),
			no = stopped(0xc00, 162, 514, true);

	assert_true(arch->regs_restart_block(&sc));
	assert_true(arch->regs_restart_block(&scv));
	assert_false(arch->regs_restart_block(&no));
}

static void test_set_syscall(void **state)
{
	static const uint64_t args[6] = { 1, 2, 3, 4, 5, 6 };
	static const uint8_t sc[] = { 0x02, 0x00, 0x00, 0x44 }, scv[] = { 0x01, 0x00, 0x00, 0x44 };
	struct sut_regs r = stopped(0xc00, 238, 514, true);
	int64_t result;
	size_t len;
	long nr;

	arch->regs_set_syscall(&r, 0x7000, 90, args);
	assert_int_equal(arch->regs_pc(&r), 0x7000);
	assert_int_equal(sut_ppc_reg(&r, 0), 90);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(sut_ppc_reg(&r, 3 + i), i + 1);
	assert_false(arch->regs_in_syscall(&r, &nr, &result)); /* the kernel restarts nothing */
	assert_true(arch->is_syscall_insn(sc, 4, &len) && len == 4);
	assert_false(arch->is_syscall_insn(sc, 3, &len));
	assert_false(arch->is_syscall_insn(scv, 4, &len));
	assert_true(arch->is_syscall_insn(arch->heal_code + arch->heal_syscall_off, 4, &len));
}

/* -- the healing frame ------------------------------------------------------------------------- */

/* Offsets are those of the kernel's struct ucontext (asm/ucontext.h, asm/sigcontext.h). */
static void test_frame(void **state)
{
	uint8_t fpu[1064], *frame = malloc(1696);
	struct sut_regs r = stopped(0xc00, 4, 512, true);
	uint64_t sp;
	size_t len;

	for (size_t i = 0; i < sizeof(fpu); i++)
		fpu[i] = (uint8_t)(i * 7);
	assert_int_equal(arch->sigframe(&r, fpu, sizeof(fpu), 0x1234, 0x10000040, frame, 1696, &len, &sp), 0);
	assert_int_equal(len, 1696);
	assert_int_equal(sp, 0x10000040);
	assert_int_equal(sut_le64(frame), 0);
	assert_int_equal(sut_le32(frame + 24), 4); /* ss_flags: no mode that there is */
	assert_int_equal(sut_le64(frame + 40), 0x1234); /* uc_sigmask */
	assert_int_equal(sut_le64(frame + 232 + 8 * 1), 0x1001); /* gp_regs */
	assert_int_equal(sut_le64(frame + 232 + 8 * 0), 4); /* the number again */
	assert_int_equal(sut_le64(frame + 232 + 8 * 3), 33); /* the argument again */
	assert_int_equal(sut_le64(frame + 232 + 8 * 32), 0x1020 - 4); /* on the instruction again */
	assert_int_equal(sut_le64(frame + 232 + 8 * 33), 0x8000000002800001); /* with MSR_VEC and MSR_VSX */
	assert_memory_equal(frame + 616, fpu, 264);
	assert_int_equal(sut_le64(frame + 880), 0x10000040 + 896); /* v_regs */
	assert_int_equal((0x10000040 + 896) % 16, 0);
	assert_memory_equal(frame + 896, fpu + 264, 544 + 256);

	/* A thread that was running goes on where it was. */
	r = stopped(0x900, 4, 512, true);
	assert_int_equal(arch->sigframe(&r, fpu, sizeof(fpu), 0, 0x10000040, frame, 1696, &len, &sp), 0);
	assert_int_equal(sut_le64(frame + 232 + 8 * 32), 0x1020);
	assert_int_equal(sut_le64(frame + 232 + 8 * 3), 512);
	/* EINTR that is the tool's doing is a restart as well. */
	r = stopped(0x3000, 238, (uint64_t)-4, false);
	assert_int_equal(arch->sigframe(&r, fpu, sizeof(fpu), 0, 0x10000040, frame, 1696, &len, &sp), 0);
	assert_int_equal(sut_le64(frame + 232 + 8 * 32), 0x1020 - 4);
	assert_int_equal(sut_le64(frame + 232 + 8 * 3), 33);

	assert_int_equal(arch->sigframe(&r, fpu, sizeof(fpu), 0, 0x10000040, frame, 1695, &len, &sp), -ENOSPC);
	assert_int_equal(arch->sigframe(&r, fpu, sizeof(fpu), 0, 0x10000048, frame, 1696, &len, &sp), -EINVAL);
	assert_int_equal(arch->sigframe(&r, fpu, 264, 0, 0x10000040, frame, 1696, &len, &sp), -EINVAL);
	sut_ppc_set_reg(&r, SUT_PPC_MSR, 0x8000000400000001); /* in a transaction */
	assert_int_equal(arch->sigframe(&r, fpu, sizeof(fpu), 0, 0x10000040, frame, 1696, &len, &sp), -EINVAL);
	free(frame);
}

static void test_abi(void **state)
{
	assert_ptr_equal(sut_arch_find(EM_PPC64), arch);
	assert_true(arch->e_flags_fit(arch->e_flags));
	assert_true(arch->e_flags_fit(0));
	assert_false(arch->e_flags_fit(1)); /* ELFv1 */
	assert_false(arch->e_flags_fit(3));
}

static void test_fpu_sets(void **state)
{
	size_t at = 0;

	for (size_t i = 0; i < arch->n_fpu_sets; i++) {
		assert_int_equal(arch->fpu_sets[i].at, at);
		at += arch->fpu_sets[i].size;
	}
	assert_int_equal(at, 1064);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_jump_limits),   cmocka_unit_test(test_bc_limits),
		cmocka_unit_test(test_stubs_read),    cmocka_unit_test(test_not_moved),
		cmocka_unit_test(test_limits),        cmocka_unit_test(test_call_ways),
		cmocka_unit_test(test_local_entries), cmocka_unit_test(test_registers),
		cmocka_unit_test(test_results),       cmocka_unit_test(test_eintr),
		cmocka_unit_test(test_restart_block), cmocka_unit_test(test_set_syscall),
		cmocka_unit_test(test_frame),         cmocka_unit_test(test_fpu_sets),
		cmocka_unit_test(test_abi),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
