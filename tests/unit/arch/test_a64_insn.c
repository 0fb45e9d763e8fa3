/* SPDX-License-Identifier: MIT */
/*
 * Description: arm64 instructions are decoded to kind and pc-relative target; over generated words of all encoding groups
 * and over whole libraries they are what objdump prints.
 *
 * SUT_ARCH_WORDS says how many words are generated, SUT_ARCH_LIBS names further libraries (make words).
 */
#include <stdarg.h>
#include <elf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

#include "a64.h"

#define PC 0x10000000ull

static void test_kinds(void **state)
{
	static const struct {
		const char *text;
		uint32_t word;
		enum sut_insn_kind kind;
		bool ends;
		uint32_t reloc;
		int64_t target; /* - PC */
	} cases[] = {
		{ "nop", 0xd503201f, SUT_INSN_NOP, false, 0, 0 },
		{ "bti", 0xd503241f, SUT_INSN_NOP, false, 0, 0 },
		{ "yield", 0xd503203f, SUT_INSN_OTHER, false, 0, 0 },
		{ "b . + 4", 0x14000001, SUT_INSN_JUMP, true, R_AARCH64_JUMP26, 4 },
		{ "b lowest", 0x16000000, SUT_INSN_JUMP, true, R_AARCH64_JUMP26, -(1ll << 27) },
		{ "b highest", 0x15ffffff, SUT_INSN_JUMP, true, R_AARCH64_JUMP26, (1ll << 27) - 4 },
		{ "bl . - 4", 0x97ffffff, SUT_INSN_CALL, false, R_AARCH64_CALL26, -4 },
		{ "b.ne highest", 0x547fffe1, SUT_INSN_BRANCH, false, R_AARCH64_CONDBR19, (1 << 20) - 4 },
		{ "bc.eq lowest", 0x54800010, SUT_INSN_BRANCH, false, R_AARCH64_CONDBR19, -(1 << 20) },
		{ "cbz w3", 0x34000103, SUT_INSN_BRANCH, false, R_AARCH64_CONDBR19, 32 },
		{ "cbnz x30", 0xb5ffffde, SUT_INSN_BRANCH, false, R_AARCH64_CONDBR19, -8 },
		{ "tbz w1,#3", 0x361bffe1, SUT_INSN_BRANCH, false, R_AARCH64_TSTBR14, 32764 },
		{ "tbnz x1,#63", 0xb7fc0001, SUT_INSN_BRANCH, false, R_AARCH64_TSTBR14, -32768 },
		{ "adr x1,. + 5", 0x30000021, SUT_INSN_OTHER, false, R_AARCH64_ADR_PREL_LO21, 5 },
		{ "adr x1,lowest", 0x10800001, SUT_INSN_OTHER, false, R_AARCH64_ADR_PREL_LO21, -(1 << 20) },
		{ "adrp x0,1 page", 0xb0000000, SUT_INSN_OTHER, false, R_AARCH64_ADR_PREL_PG_HI21, 4096 },
		{ "adrp x0,lowest", 0x90800000, SUT_INSN_OTHER, false, R_AARCH64_ADR_PREL_PG_HI21, -(1ll << 32) },
		{ "ldr w0,. + 8", 0x18000040, SUT_INSN_OTHER, false, R_AARCH64_LD_PREL_LO19, 8 },
		{ "ldr x0,. + 8", 0x58000040, SUT_INSN_OTHER, false, R_AARCH64_LD_PREL_LO19, 8 },
		{ "ldrsw x0,. + 8", 0x98000040, SUT_INSN_OTHER, false, R_AARCH64_LD_PREL_LO19, 8 },
		{ "prfm pldl1keep,. + 8", 0xd8000040, SUT_INSN_OTHER, false, R_AARCH64_LD_PREL_LO19, 8 },
		{ "ldr s0,. + 8", 0x1c000040, SUT_INSN_OTHER, false, R_AARCH64_LD_PREL_LO19, 8 },
		{ "ldr d0,. + 8", 0x5c000040, SUT_INSN_OTHER, false, R_AARCH64_LD_PREL_LO19, 8 },
		{ "ldr q0,. - 8", 0x9cffffc0, SUT_INSN_OTHER, false, R_AARCH64_LD_PREL_LO19, -8 },
		{ "ldr x0,[x1]", 0xf9400020, SUT_INSN_OTHER, false, 0, 0 },
		{ "br x16", 0xd61f0200, SUT_INSN_INDIRECT, true, 0, 0 },
		{ "braa x1,x2", 0xd71f0822, SUT_INSN_INDIRECT, true, 0, 0 },
		{ "brabz x1", 0xd61f0c3f, SUT_INSN_INDIRECT, true, 0, 0 },
		{ "blr x1", 0xd63f0020, SUT_INSN_INDIRECT, false, 0, 0 },
		{ "blraaz x1", 0xd63f083f, SUT_INSN_INDIRECT, false, 0, 0 },
		{ "blrab x1,sp", 0xd73f0c3f, SUT_INSN_INDIRECT, false, 0, 0 },
		{ "ret", 0xd65f03c0, SUT_INSN_RETURN, true, 0, 0 },
		{ "ret x1", 0xd65f0020, SUT_INSN_RETURN, true, 0, 0 },
		{ "retaa", 0xd65f0bff, SUT_INSN_RETURN, true, 0, 0 },
		{ "retab", 0xd65f0fff, SUT_INSN_RETURN, true, 0, 0 },
		{ "eret", 0xd69f03e0, SUT_INSN_TRAP, true, 0, 0 },
		{ "svc #0", 0xd4000001, SUT_INSN_SYSCALL, false, 0, 0 },
		{ "svc #0x80", 0xd4001001, SUT_INSN_SYSCALL, false, 0, 0 },
		{ "brk #0x3e8", 0xd4207d00, SUT_INSN_TRAP, false, 0, 0 },
		{ "hlt #1", 0xd4400020, SUT_INSN_TRAP, false, 0, 0 },
		{ "udf #0", 0x00000000, SUT_INSN_TRAP, true, 0, 0 },
		{ "udf #0xffff", 0x0000ffff, SUT_INSN_TRAP, true, 0, 0 },
		{ "stp x29,x30,[sp,#-16]!", 0xa9bf7bfd, SUT_INSN_OTHER, false, 0, 0 },
		{ "mrs x0,tpidr_el0", 0xd53bd040, SUT_INSN_OTHER, false, 0, 0 },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		struct sut_insn insn;
		uint8_t code[4];

		put_word(code, cases[i].word);
		if (arch->insn_decode(code, 4, PC, &insn) || insn.len != 4 || insn.kind != cases[i].kind ||
		    insn.ends != cases[i].ends || insn.pcrel != (cases[i].reloc != 0) || insn.landing_pad ||
		    insn.pcrel_reloc != cases[i].reloc || insn.pcrel_size ||
		    (insn.pcrel && insn.target != PC + (uint64_t)cases[i].target))
			fail_msg("%s: kind %d, type %u, target 0x%lx", cases[i].text, insn.kind, insn.pcrel_reloc,
				 insn.target);
		for (size_t len = 0; len < 4; len++)
			assert_int_equal(arch->insn_decode(code, len, PC, &insn), -EILSEQ);
	}
}

static void test_landing_pads(void **state)
{
	static const struct {
		uint32_t word;
		bool pad;
	} cases[] = {
		{ 0xd503245f, true }, /* bti c */
		{ 0xd503249f, true }, /* bti j */
		{ 0xd50324df, true }, /* bti jc */
		{ 0xd503233f, true }, /* paciasp */
		{ 0xd503237f, true }, /* pacibsp */
		{ 0xd503241f, false }, /* bti */
		{ 0xd503231f, false }, /* paciaz */
		{ 0xd50323bf, false }, /* autiasp */
		{ 0xd503201f, false }, /* nop */
		{ 0xa9bf7bfd, false }, /* stp x29,x30,[sp,#-16]! */
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		struct sut_insn insn;
		uint8_t code[4];

		put_word(code, cases[i].word);
		assert_int_equal(arch->insn_decode(code, 4, PC, &insn), 0);
		assert_int_equal(insn.landing_pad, cases[i].pad);
		assert_int_equal(arch->entry_skip(code, 4), cases[i].pad ? 4 : 0);
		assert_int_equal(arch->entry_skip(code, 3), 0);
	}
}

/* Words that take their own address into account, in no field that could be written anew; and words that nobody knows. */
static void test_not_movable(void **state)
{
	static const uint32_t pcrel[] = { 0xf380001f, 0xf3a0003f, 0xdac1a3fe, 0xdac1a7fe, 0xdac183fe, 0xdac187fe };
	static const uint32_t bad[] = { 0x5500001f, 0x5520003f, /* retaasppc, retabsppc */
					0x74000000, 0xf5000000, /* compare and branch of later processors */
					0xdc000040, /* literal of no size */
					0x00010000, 0x02000000, 0xd61f0001, 0xd65f0bfe, 0xd4000000 };
	struct sut_insn insn;
	uint8_t code[4];

	for (size_t i = 0; i < SUT_ARRAY_SIZE(pcrel); i++) {
		put_word(code, pcrel[i]);
		assert_int_equal(arch->insn_decode(code, 4, PC, &insn), 0);
		assert_true(insn.pcrel);
		assert_int_equal(insn.pcrel_reloc, 0);
	}
	for (size_t i = 0; i < SUT_ARRAY_SIZE(bad); i++) {
		put_word(code, bad[i]);
		if (arch->insn_decode(code, 4, PC, &insn) != -EILSEQ)
			fail_msg("0x%08x is known", bad[i]);
	}
}

static void test_entry_pads(void **state)
{
	static const struct {
		const char *text;
		uint32_t code[6];
		enum sut_pad_kind kind;
		uint32_t off, len, swing;
	} cases[] = {
		{ "stp", { 0xa9bf7bfd, 0xd503201f }, SUT_PAD_NONE, 0, 0, 0 },
		{ "bti c; stp", { 0xd503245f, 0xa9bf7bfd }, SUT_PAD_NONE, 0, 0, 0 },
		{ "paciasp; nop", { 0xd503233f, 0xd503201f, 0xd503201f }, SUT_PAD_NONE, 0, 0, 0 },
		{ "nop; nop", { 0xd503201f, 0xd503201f, 0xa9bf7bfd }, SUT_PAD_NOPS, 0, 8, 4 },
		{ "nop", { 0xd503201f, 0xa9bf7bfd }, SUT_PAD_NOPS, 0, 4, 0 },
		{ "bti c; nop; nop", { 0xd503245f, 0xd503201f, 0xd503201f, 0xd503233f }, SUT_PAD_NOPS, 4, 8, 8 },
		{ "mov x9,x30; nop", { 0xaa1e03e9, 0xd503201f, 0xa9bf7bfd }, SUT_PAD_NOPS, 0, 8, 4 },
		{ "bti c; mov x9,x30; bl", { 0xd503245f, 0xaa1e03e9, 0x94000100 }, SUT_PAD_NOPS, 4, 8, 8 },
		{ "mov x9,x30; stp", { 0xaa1e03e9, 0xa9bf7bfd }, SUT_PAD_NONE, 0, 0, 0 },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		struct sut_pad pad;
		uint8_t code[24];

		for (unsigned k = 0; k < 6; k++)
			put_word(code + 4 * k, cases[i].code[k]);
		arch->entry_pad(0, code, sizeof(code), &pad);
		if (pad.kind != cases[i].kind || pad.off != cases[i].off || pad.len != cases[i].len ||
		    pad.swing != cases[i].swing)
			fail_msg("%s: kind %d at %u, %u bytes, swing %u", cases[i].text, pad.kind, pad.off, pad.len,
				 pad.swing);
		for (size_t len = 0; len < 4; len++) {
			arch->entry_pad(0, code, len, &pad);
			assert_int_equal(pad.kind, SUT_PAD_NONE);
		}
	}
}

/* ---- against objdump ---------------------------------------------------------------------------- */

static bool begins(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

static bool one_of(const char *s, const char *list)
{
	size_t n = strlen(s);

	for (const char *p = list; (p = strstr(p, s)); p += n)
		if ((p == list || p[-1] == ' ') && (p[n] == ' ' || !p[n]))
			return true;
	return false;
}

struct want {
	enum sut_insn_kind kind;
	bool ends, pcrel, undefined;
	uint64_t target;
};

/* What objdump's line says of an instruction. */
static struct want wanted(const char *line)
{
	struct want w = { .kind = SUT_INSN_OTHER };
	char name[32] = "";
	const char *ops = strchr(line, '\t'), *last;
	char *end;

	sscanf(line, "%31s", name);
	w.undefined = !strcmp(name, ".inst");
	if (!strcmp(name, "b"))
		w.kind = SUT_INSN_JUMP;
	else if (!strcmp(name, "bl"))
		w.kind = SUT_INSN_CALL;
	else if (begins(name, "b.") || begins(name, "bc.") || one_of(name, "cbz cbnz tbz tbnz"))
		w.kind = SUT_INSN_BRANCH;
	else if (one_of(name, "br braa brab braaz brabz blr blraa blrab blraaz blrabz"))
		w.kind = SUT_INSN_INDIRECT;
	else if (one_of(name, "ret retaa retab"))
		w.kind = SUT_INSN_RETURN;
	else if (one_of(name, "eret eretaa eretab drps hvc smc brk hlt dcps1 dcps2 dcps3 udf"))
		w.kind = SUT_INSN_TRAP;
	else if (!strcmp(name, "svc"))
		w.kind = SUT_INSN_SYSCALL;
	else if (one_of(name, "nop bti"))
		w.kind = SUT_INSN_NOP;
	w.ends = w.kind == SUT_INSN_JUMP || w.kind == SUT_INSN_RETURN ||
		 one_of(name, "br braa brab braaz brabz eret eretaa eretab drps udf");
	w.pcrel = w.kind == SUT_INSN_JUMP || w.kind == SUT_INSN_CALL || w.kind == SUT_INSN_BRANCH ||
		  (ops && one_of(name, "adr adrp ldr ldrsw prfm") && !strchr(ops, '[')); /* [: another form, or SVE */
	last = ops ? strrchr(ops, ',') : NULL;
	if (w.pcrel) {
		last = last ? last + 1 : ops;
		while (*last == ' ' || *last == '\t')
			last++;
		w.target = strtoull(last, &end, 16);
		if (end == last)
			fail_msg("no target in: %s", line);
	}
	return w;
}

/* Not known to binutils 2.40. */
static bool newer(uint32_t w)
{
	return (w & 0xff000010) == 0x54000010 || (w & 0xffc0001f) == 0xf380001f || (w & 0xfffffbff) == 0xdac183fe ||
	       (w & 0xfffffbff) == 0xdac1a3fe;
}

static void compare_word(uint32_t word, uint64_t pc, const char *line)
{
	struct want w = wanted(line);
	struct sut_insn insn = { 0 };
	uint8_t code[4];
	int err;

	put_word(code, word);
	err = arch->insn_decode(code, 4, pc, &insn);
	if (w.undefined) {
		if (!err && (insn.kind != SUT_INSN_OTHER || insn.pcrel) && !newer(word))
			fail_msg("%lx: %08x is kind %d, objdump: %s", pc, word, insn.kind, line);
		return;
	}
	if (err || insn.kind != w.kind || insn.ends != w.ends || insn.pcrel != w.pcrel ||
	    (w.pcrel && (insn.target != w.target || !insn.pcrel_reloc)))
		fail_msg("%lx: %08x is %d: kind %d, target 0x%lx, objdump: %s", pc, word, err, insn.kind, insn.target,
			 line);
}

/* Reads objdump's output for words at @base; calls back for each. Returns how many. */
static unsigned long compare_all(FILE *p, uint64_t base, const uint8_t *bytes, size_t size)
{
	unsigned long compared = 0;
	char line[512];

	while (fgets(line, sizeof(line), p)) {
		unsigned long addr;
		int n = 0;

		line[strcspn(line, "\n")] = 0;
		if (sscanf(line, " %lx:%n", &addr, &n) != 1 || !n || line[n] != '\t' || addr - base >= size ||
		    (addr & 3))
			continue;
		if (strstr(line, "//")) /* another name of the condition, the value in decimal */
			*strstr(line, "//") = 0;
		if (begins(line + n + 1, ".word")) /* data in code, by its mapping symbols */
			continue;
		compare_word((uint32_t)sut_le32(bytes + (addr - base)), addr, line + n + 1);
		compared++;
	}
	return compared;
}

static uint32_t random_word(void)
{
	static uint64_t seed = 88172645463325252ull;

	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16);
}

/* Mostly words of the groups that matter. */
static uint32_t generated_word(size_t i)
{
	static const uint32_t form[][2] = {
		/* bits that are given, which */
		{ 0x14000000, 0x1c000000 }, { 0x54000000, 0xff000000 }, { 0x34000000, 0x7c000000 },
		{ 0x10000000, 0x1f000000 }, { 0x18000000, 0x3b000000 }, { 0xd61f0000, 0xfe1f0000 },
		{ 0xd61f0000, 0xfe1fe000 }, { 0xd4000000, 0xff1fff00 }, { 0xd503201f, 0xfffff01f },
		{ 0xd5000000, 0xff000000 }, { 0x00000000, 0x1e000000 }, { 0x00000000, 0xffff0000 },
	};
	uint32_t w = random_word();

	if (i % 3 == 0)
		return w;
	i /= 3;
	i %= SUT_ARRAY_SIZE(form);
	return (w & ~form[i][1]) | form[i][0];
}

static void test_generated(void **state)
{
	const char *many = getenv("SUT_ARCH_WORDS");
	size_t n = many ? strtoul(many, NULL, 0) : 100000;
	char path[] = "/tmp/suture-a64-XXXXXX", cmd[256];
	int fd = mkstemp(path);
	uint8_t *bytes = malloc(4 * n);
	FILE *p;

	need_tool("objdump");
	assert_true(fd >= 0 && bytes);
	for (size_t i = 0; i < n; i++)
		put_word(bytes + 4 * i, generated_word(i));
	assert_int_equal(write(fd, bytes, 4 * n), 4 * n);
	close(fd);
	snprintf(cmd, sizeof(cmd), "%s -D -z -b binary -m aarch64 --no-show-raw-insn --adjust-vma=0x%llx %s",
		 tool("objdump"), PC << 8, path);
	p = popen(cmd, "r");
	assert_non_null(p);
	assert_int_equal(compare_all(p, PC << 8, bytes, 4 * n), n);
	assert_int_equal(pclose(p), 0);
	unlink(path);
	free(bytes);
	print_message("%zu generated words\n", n);
}

static void one_library(const char *path, unsigned long *compared)
{
	struct text t;
	char cmd[512];
	FILE *p;

	if (!text_open(&t, path))
		return;
	snprintf(cmd, sizeof(cmd), "%s -d -z --no-show-raw-insn -j .text %s", tool("objdump"), path);
	p = popen(cmd, "r");
	assert_non_null(p);
	*compared += compare_all(p, t.addr, t.bytes, t.size);
	assert_int_equal(pclose(p), 0);
	text_close(&t);
}

static void test_libraries(void **state)
{
	const char *more = getenv("SUT_ARCH_LIBS");
	char *copy = strdup(more ? more : ""), *save, *name;
	unsigned long compared = 0;

	need_tool("objdump");
	if (!*copy) /* from the cross compiler's own C library */
		one_library("/usr/aarch64-linux-gnu/lib/libm.so.6", &compared);
	for (name = strtok_r(copy, " ", &save); name; name = strtok_r(NULL, " ", &save))
		one_library(name, &compared);
	free(copy);
	if (!compared) {
		print_message("no arm64 libraries here (libc6-arm64-cross)\n");
		skip();
	}
	print_message("%lu words of libraries\n", compared);
	assert_true(compared > 50000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),       cmocka_unit_test(test_landing_pads),
		cmocka_unit_test(test_not_movable), cmocka_unit_test(test_entry_pads),
		cmocka_unit_test(test_generated),   cmocka_unit_test(test_libraries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
