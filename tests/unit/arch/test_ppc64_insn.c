/* SPDX-License-Identifier: MIT */
/*
 * Description: ppc64le instructions are decoded to kind, length and target; over generated words and the text
 * of real libraries, kinds, lengths and targets are those that objdump prints. Entries and the pads that
 * compilers leave at them are recognised.
 *
 * $SUT_ARCH_WORDS: how many generated words, and how many of each library (300000). $SUT_ARCH_LIBS: further libraries.
 */
#include <stdarg.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <limits.h>
#include <setjmp.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "arch/arch.h"
#include "util/util.h"

#define OBJDUMP "powerpc64le-linux-gnu-objdump"
#define PC      0x10000000ull

static const struct sut_arch *const arch = &sut_arch_ppc64le;

static void put_words(uint8_t *out, const uint32_t *w, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sut_put_le32(out + 4 * i, w[i]);
}

static void test_kinds(void **state)
{
	static const struct {
		const char *text;
		uint32_t w[2];
		uint8_t len;
		enum sut_insn_kind kind;
		bool ends, pcrel;
		int64_t target; /* - PC where pcrel */
	} cases[] = {
		{ "nop", { 0x60000000 }, 4, SUT_INSN_NOP, false, false, 0 },
		{ "xnop", { 0x68000000 }, 4, SUT_INSN_NOP, false, false, 0 },
		{ "ori r2,r2,0", { 0x60420000 }, 4, SUT_INSN_NOP, false, false, 0 },
		{ "ori r2,r2,1", { 0x60420001 }, 4, SUT_INSN_OTHER, false, false, 0 },
		{ "ori r2,r3,0", { 0x60620000 }, 4, SUT_INSN_OTHER, false, false, 0 },
		{ "mr r1,r1 (priority)", { 0x7c210b78 }, 4, SUT_INSN_NOP, false, false, 0 },
		{ "mr r1,r2", { 0x7c411378 }, 4, SUT_INSN_OTHER, false, false, 0 },
		{ "mr. r1,r1", { 0x7c210b79 }, 4, SUT_INSN_OTHER, false, false, 0 },
		{ "pnop", { 0x07000000, 0 }, 8, SUT_INSN_NOP, false, false, 0 },
		{ "b .+4", { 0x48000004 }, 4, SUT_INSN_JUMP, true, true, 4 },
		{ "b .+32M-4", { 0x49fffffc }, 4, SUT_INSN_JUMP, true, true, 0x1fffffc },
		{ "b .-32M", { 0x4a000000 }, 4, SUT_INSN_JUMP, true, true, -0x2000000 },
		{ "ba 0x1000", { 0x48001002 }, 4, SUT_INSN_JUMP, true, false, 0x1000 },
		{ "bl .-4", { 0x4bfffffd }, 4, SUT_INSN_CALL, false, true, -4 },
		{ "bla 0x1000", { 0x48001003 }, 4, SUT_INSN_CALL, false, false, 0x1000 },
		{ "bne .+16", { 0x40820010 }, 4, SUT_INSN_BRANCH, false, true, 16 },
		{ "beq- .-32K", { 0x41828000 }, 4, SUT_INSN_BRANCH, false, true, -0x8000 },
		{ "bdnz .+32K-4", { 0x42007ffc }, 4, SUT_INSN_BRANCH, false, true, 0x7ffc },
		{ "bc 20,0,.+8", { 0x42800008 }, 4, SUT_INSN_JUMP, true, true, 8 },
		{ "bcl 20,31,.+4", { 0x429f0005 }, 4, SUT_INSN_CALL, false, true, 4 },
		{ "bnel .+16", { 0x40820011 }, 4, SUT_INSN_CALL, false, true, 16 },
		{ "bnea 16", { 0x40820012 }, 4, SUT_INSN_BRANCH, false, false, 16 },
		{ "blr", { 0x4e800020 }, 4, SUT_INSN_RETURN, true, false, 0 },
		{ "beqlr", { 0x4d820020 }, 4, SUT_INSN_RETURN, false, false, 0 },
		{ "blrl", { 0x4e800021 }, 4, SUT_INSN_INDIRECT, false, false, 0 },
		{ "bctr", { 0x4e800420 }, 4, SUT_INSN_INDIRECT, true, false, 0 },
		{ "bctrl", { 0x4e800421 }, 4, SUT_INSN_INDIRECT, false, false, 0 },
		{ "bnectr", { 0x4c820420 }, 4, SUT_INSN_INDIRECT, false, false, 0 },
		{ "bctar", { 0x4e800460 }, 4, SUT_INSN_INDIRECT, true, false, 0 },
		{ "sc", { 0x44000002 }, 4, SUT_INSN_SYSCALL, false, false, 0 },
		{ "scv 0", { 0x44000001 }, 4, SUT_INSN_SYSCALL, false, false, 0 },
		{ "trap", { 0x7fe00008 }, 4, SUT_INSN_TRAP, true, false, 0 },
		{ "tdne r12,r2", { 0x7f0c1088 }, 4, SUT_INSN_TRAP, false, false, 0 },
		{ "twui r0,0", { 0x0fe00000 }, 4, SUT_INSN_TRAP, true, false, 0 },
		{ "all zeros", { 0 }, 4, SUT_INSN_TRAP, true, false, 0 },
		{ "addpcis r3,4", { 0x4c620004 }, 4, SUT_INSN_OTHER, false, true, 0x40004 },
		{ "addpcis r3,-32768", { 0x4c608004 }, 4, SUT_INSN_OTHER, false, true, 4 - 0x80000000ll },
		{ "paddi r3,0,16,1", { 0x06100000, 0x38600010 }, 8, SUT_INSN_OTHER, false, true, 16 },
		{ "paddi r3,r4,16", { 0x06000000, 0x38640010 }, 8, SUT_INSN_OTHER, false, false, 0 },
		{ "pld r3,-8(0),1", { 0x0413ffff, 0xe460fff8 }, 8, SUT_INSN_OTHER, false, true, -8 },
		{ "plwz r3,-8G(0),1", { 0x06120000, 0x80600000 }, 8, SUT_INSN_OTHER, false, true, -(1ll << 33) },
		{ "xxspltiw vs0,0x100001", { 0x05000010, 0x80060001 }, 8, SUT_INSN_OTHER, false, false, 0 },
		{ "mflr r0", { 0x7c0802a6 }, 4, SUT_INSN_OTHER, false, false, 0 },
		{ "isync", { 0x4c00012c }, 4, SUT_INSN_OTHER, false, false, 0 },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		uint64_t target = (uint64_t)cases[i].target + (cases[i].pcrel ? PC : 0);
		struct sut_insn insn;
		uint8_t code[8];

		put_words(code, cases[i].w, 2);
		if (arch->insn_decode(code, sizeof(code), PC, &insn) || insn.len != cases[i].len ||
		    insn.kind != cases[i].kind || insn.ends != cases[i].ends || insn.pcrel != cases[i].pcrel ||
		    insn.target != target || insn.pcrel_size || !insn.pcrel_reloc != !insn.pcrel)
			fail_msg("%s: kind %d, %u bytes, target 0x%lx", cases[i].text, insn.kind, insn.len,
				 insn.target);
		for (uint8_t len = 0; len < cases[i].len; len++)
			assert_int_equal(arch->insn_decode(code, len, PC, &insn), -EILSEQ);
		assert_int_equal(arch->insn_decode(code, sizeof(code), PC + 2, &insn), -EILSEQ);
		/* A prefix at the end of 64 bytes: no processor runs it. */
		assert_int_equal(arch->insn_decode(code, sizeof(code), PC + 60, &insn),
				 cases[i].len == 8 ? -EILSEQ : 0);
	}
}

static void test_entry(void **state)
{
	static const uint32_t toc[] = { 0x3c4c0002, 0x38427f00, 0x7c0802a6 }; /* addis r2,r12; addi r2,r2; mflr r0 */
	static const uint32_t abs[] = { 0x3c401002, 0x38427f00, 0x7c0802a6 }; /* lis r2; addi r2,r2 */
	static const uint32_t large[] = { 0xe84cfff8, 0x7c426214, 0x7c0802a6 }; /* ld r2,-8(r12); add r2,r2,r12 */
	static const uint32_t half[] = { 0x3c4c0002, 0x60000000, 0x7c0802a6 };
	static const uint32_t none[] = { 0x7c0802a6, 0x3c4c0002, 0x38427f00 };
	static const size_t offset[8] = { 0, 0, 4, 8, 16, 32, 64 };
	uint8_t code[80] = { 0 };
	size_t off;

	put_words(code, toc, 3);
	assert_int_equal(arch->entry_skip(code, 12), 8);
	assert_int_equal(arch->entry_skip(code, 7), 0);
	/* One entry says the symbol, but all callers pass the derivation. */
	assert_int_equal(arch->entry_offset(0, code, 12, &off), 0);
	assert_int_equal(off, 8);
	put_words(code, abs, 3);
	assert_int_equal(arch->entry_skip(code, 12), 8);
	put_words(code, large, 3);
	assert_int_equal(arch->entry_skip(code, 12), 8);
	put_words(code, half, 3);
	assert_int_equal(arch->entry_skip(code, 12), 0);
	put_words(code, none, 3);
	assert_int_equal(arch->entry_skip(code, 12), 0);
	for (unsigned local = 0; local < 7; local++) {
		assert_int_equal(arch->entry_offset((uint8_t)(local << 5 | 3), code, 80, &off), 0);
		assert_int_equal(off, offset[local]);
	}
	assert_int_equal(arch->entry_offset(7 << 5, code, 80, &off), -EILSEQ);
	assert_int_equal(arch->entry_offset(6 << 5, code, 63, &off), -EILSEQ);
}

static void test_pads(void **state)
{
	static const struct {
		const char *text;
		uint8_t other;
		uint32_t w[6];
		struct sut_pad pad;
	} cases[] = {
		{ "nothing", 3 << 5, { 0x3c4c0002, 0x38427f00, 0x7c0802a6, 0xf8010010 }, { SUT_PAD_NONE, 0, 0, 0 } },
		{ "-mprofile-kernel",
		  3 << 5,
		  { 0x3c4c0002, 0x38427f00, 0x7c0802a6, 0x48000101 },
		  { SUT_PAD_MCOUNT, 8, 8, 12 } },
		{ "the same, off",
		  3 << 5,
		  { 0x3c4c0002, 0x38427f00, 0x7c0802a6, 0x60000000 },
		  { SUT_PAD_MCOUNT, 8, 8, 12 } },
		{ "the same, one entry", 1 << 5, { 0x7c0802a6, 0x48000101 }, { SUT_PAD_MCOUNT, 0, 8, 4 } },
		{ "not a call", 1 << 5, { 0x7c0802a6, 0x48000100 }, { SUT_PAD_NONE, 0, 0, 0 } },
		{ "no-ops, one entry",
		  0,
		  { 0x60000000, 0x60000000, 0x38630001, 0x4e800020 },
		  { SUT_PAD_NOPS, 0, 8, 0 } },
		{ "gcc's, skipped by local calls",
		  4 << 5,
		  { 0x60000000, 0x60000000, 0x3c4c0002, 0x38427ef8 },
		  { SUT_PAD_SKIPPED, 0, 8, 0 } },
		{ "the same, of a stripped file",
		  0,
		  { 0x60000000, 0x60000000, 0x3c4c0002, 0x38427ef8 },
		  { SUT_PAD_SKIPPED, 0, 8, 0 } },
		{ "no-ops at the local entry",
		  3 << 5,
		  { 0x3c4c0002, 0x38427f00, 0x60000000, 0x38630001 },
		  { SUT_PAD_NOPS, 8, 4, 8 } },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		struct sut_pad pad;
		uint8_t code[24];

		put_words(code, cases[i].w, 6);
		arch->entry_pad(cases[i].other, code, sizeof(code), &pad);
		if (memcmp(&pad, &cases[i].pad, sizeof(pad)))
			fail_msg("%s: kind %d at %u, %u bytes, swings at %u", cases[i].text, pad.kind, pad.off, pad.len,
				 pad.swing);
		for (size_t len = 0; len < sizeof(code); len++) { /* cut off anywhere: within the bytes */
			uint8_t *tight = memcpy(malloc(len + 1), code, len);

			arch->entry_pad(cases[i].other, tight, len, &pad);
			free(tight);
		}
	}
}

/* -- against objdump --------------------------------------------------------------------------- */

/* What a raw mnemonic of control flow means. */
static enum sut_insn_kind kind_of(const char *m, const char *ops)
{
	static const struct {
		const char *names;
		enum sut_insn_kind kind;
	} map[] = {
		{ " b ba ", SUT_INSN_JUMP },
		{ " bl bla bcl bcla ", SUT_INSN_CALL },
		{ " bc bca ", SUT_INSN_BRANCH },
		{ " bclr rfid hrfid rfebb rfscv ", SUT_INSN_RETURN },
		{ " bclrl bcctr bcctrl bctar bctarl ", SUT_INSN_INDIRECT },
		{ " tw twi td tdi attn ", SUT_INSN_TRAP },
		{ " sc scv ", SUT_INSN_SYSCALL },
		{ " pnop ", SUT_INSN_NOP },
	};
	char want[40], a[8], b[8], c[8];
	unsigned bo;

	snprintf(want, sizeof(want), " %s ", m);
	if (want[strlen(want) - 2] == '+' || want[strlen(want) - 2] == '-')
		memcpy(want + strlen(want) - 2, " ", 2);
	if (!strncmp(want, " bc ", 4) || !strncmp(want, " bca ", 5))
		if (sscanf(ops, "%u,", &bo) == 1 && (bo & 0x14) == 0x14)
			return SUT_INSN_JUMP;
	for (size_t i = 0; i < SUT_ARRAY_SIZE(map); i++)
		if (strstr(map[i].names, want))
			return map[i].kind;
	if ((!strcmp(m, "ori") || !strcmp(m, "xori")) && sscanf(ops, "%7[^,],%7[^,],%7s", a, b, c) == 3 &&
	    !strcmp(a, b) && !strcmp(c, "0"))
		return SUT_INSN_NOP;
	if (!strcmp(m, "or") && sscanf(ops, "%7[^,],%7[^,],%7s", a, b, c) == 3 && !strcmp(a, b) && !strcmp(b, c))
		return SUT_INSN_NOP;
	return SUT_INSN_OTHER;
}

/* The address that objdump prints for it: the operand of a direct branch, addpcis' value, or a prefixed one's comment. */
static bool target_of(const char *m, const char *ops, uint64_t pc, uint64_t *ret)
{
	const char *hash = strstr(ops, "# "), *last = strrchr(ops, ',');
	char want[40];

	if (!strcmp(m, "addpcis")) {
		*ret = pc + 4 + ((uint64_t)strtoll(last + 1, NULL, 10) << 16);
		return true;
	}
	if (m[0] == 'p' && hash) {
		*ret = strtoull(hash + 2, NULL, 16);
		return true;
	}
	snprintf(want, sizeof(want), " %.*s ", (int)strcspn(m, "+-"), m);
	if (!strstr(" b ba bl bla bc bca bcl bcla ", want))
		return false;
	*ret = strtoull(last ? last + 1 : ops, NULL, 16);
	return true;
}

static unsigned compared[SUT_INSN_SYSCALL + 1], n_pcrel, n_prefixed, n_unknown;

static void compare_line(const uint8_t *code, size_t left, uint64_t pc, size_t len, char *text)
{
	char *m = text + strspn(text, " \t"), *ops = m + strcspn(m, " \t\n");
	struct sut_insn insn;
	uint64_t target;
	int err = arch->insn_decode(code, left, pc, &insn);

	if (*ops)
		*ops++ = '\0';
	ops += strspn(ops, " \t");
	if (m[0] == '.') { /* .long: not known to objdump, so nothing to compare with */
		n_unknown++;
		return;
	}
	if (len == 8 && (pc & 63) == 60) {
		assert_int_equal(err, -EILSEQ);
		return;
	}
	if (err || insn.len != len || insn.kind != kind_of(m, ops))
		fail_msg("%lx: %s %s: %d, %u bytes (objdump: %zu), kind %d", pc, m, ops, err, insn.len, len, insn.kind);
	compared[insn.kind]++;
	n_prefixed += len == 8;
	if (!target_of(m, ops, pc, &target)) {
		if (insn.pcrel)
			fail_msg("%lx: %s %s: depends on its address?", pc, m, ops);
		return;
	}
	if (insn.pcrel ? insn.target != target : (uint32_t)insn.target != (uint32_t)target)
		fail_msg("%lx: %s %s: target 0x%lx", pc, m, ops, insn.target);
	n_pcrel += insn.pcrel;
}

/* Decodes as objdump goes. @cmd prints a disassembly with raw mnemonics. */
static unsigned long compare_all(const char *cmd, const uint8_t *bytes, uint64_t addr, size_t size, unsigned long max)
{
	char line[512], held[512] = "";
	uint64_t held_at = 0;
	unsigned long n = 0;
	FILE *p = popen(cmd, "r");

	assert_non_null(p);
	while (n < max && fgets(line, sizeof(line), p)) {
		unsigned long at;
		int used = 0;

		/* The second word of a prefixed instruction has a line of its own, without text. */
		if (sscanf(line, " %lx:\t%*2x %*2x %*2x %*2x %n", &at, &used) != 1 || !used || !line[used] ||
		    line[used] == '\n')
			continue;
		if (held_at && held_at >= addr && held_at < addr + size) {
			compare_line(bytes + (held_at - addr), size - (held_at - addr), held_at, at - held_at, held);
			n++;
		}
		held_at = at;
		snprintf(held, sizeof(held), "%s", line + used);
	}
	pclose(p);
	return n;
}

static uint32_t seed = 12345;
static uint32_t rnd(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8 | (seed * 2654435761u & 0xff000000);
}

/* Words of the forms that matter, with random fields; every fourth is random altogether. */
static uint32_t some_word(void)
{
	static const struct {
		uint32_t fixed, random;
	} forms[] = {
		{ 0x48000000, 0x03ffffff }, /* b */
		{ 0x40000000, 0x03ffffff }, /* bc */
		{ 0x4c000020, 0x03ff1801 }, /* bclr */
		{ 0x4c000420, 0x03ff1801 }, /* bcctr */
		{ 0x4c000460, 0x03ff1801 }, /* bctar */
		{ 0x4c000004, 0x03ffffc1 }, /* addpcis */
		{ 0x4c000000, 0x03ffffff }, /* opcode 19 */
		{ 0x7c000008, 0x03fff800 }, /* tw */
		{ 0x7c000088, 0x03fff800 }, /* td */
		{ 0x08000000, 0x07ffffff }, /* tdi, twi */
		{ 0x44000001, 0x00000fe2 }, /* sc, scv */
		{ 0x60000000, 0x0bff0001 }, /* ori, xori */
		{ 0x7c000378, 0x03fff801 }, /* or */
		{ 0x7c000000, 0x03ffffff }, /* opcode 31 */
		{ 0x60000000, 0 }, /* nop */
	};
	uint32_t r = rnd();

	if (!(r & 3))
		return rnd();
	r = (r >> 2) % SUT_ARRAY_SIZE(forms);
	if (forms[r].fixed == 0x7c000378 && (rnd() & 1)) { /* or rX,rX,rX */
		uint32_t x = rnd() & 31;

		return 0x7c000378 | x << 21 | x << 16 | x << 11;
	}
	return forms[r].fixed | (rnd() & forms[r].random);
}

static const uint32_t suffixes[] = { 0x38000000, 0x80000000, 0x88000000, 0xa0000000, 0xa8000000, 0xc0000000, 0xc8000000,
				     0x90000000, 0x98000000, 0xb0000000, 0xd0000000, 0xd8000000, 0xe4000000, 0xf4000000,
				     0xa4000000, 0xc8000000, 0xd8000000, 0xe0000000, 0xf0000000 };

static size_t some_insn(uint32_t *out)
{
	uint32_t r = rnd();

	if (r & 7) {
		out[0] = some_word();
		return 1;
	}
	/* A prefix of type 8LS or MLS, pc-relative (then without a base) or not; pnop now and then. */
	if (!(r & 0xf0)) {
		out[0] = 0x07000000;
		out[1] = 0;
		return 2;
	}
	out[0] = 0x04000000 | (r & 0x100 ? 0x02000000 : 0) | (r & 0x200 ? 0x00100000 : 0) | (rnd() & 0x3ffff);
	out[1] = suffixes[rnd() % SUT_ARRAY_SIZE(suffixes)] | (rnd() & (r & 0x200 ? 0x03e0ffff : 0x03ffffff));
	return 2;
}

static unsigned long n_words(void)
{
	const char *s = getenv("SUT_ARCH_WORDS");

	return s ? strtoul(s, NULL, 0) : 300000;
}

static void test_generated(void **state)
{
	char path[] = "/tmp/suture-ppc64-XXXXXX", cmd[256];
	size_t n = n_words(), at = 0;
	uint8_t *bytes = malloc(4 * n);
	int fd = mkstemp(path);
	unsigned long lines;

	assert_non_null(bytes);
	assert_true(fd >= 0);
	while (at + 2 <= n) {
		uint32_t w[2];
		size_t k = some_insn(w);

		put_words(bytes + 4 * at, w, k);
		at += k;
	}
	assert_int_equal(write(fd, bytes, 4 * at), 4 * at);
	close(fd);
	snprintf(cmd, sizeof(cmd),
		 OBJDUMP " -b binary -m powerpc:common64 -EL -Mpower10,raw -zD --adjust-vma=0x%llx %s", PC, path);
	lines = compare_all(cmd, bytes, PC, 4 * at, ULONG_MAX);
	unlink(path);
	free(bytes);
	assert_true(lines > n / 2);
	for (unsigned k = 0; k <= SUT_INSN_SYSCALL; k++)
		assert_true(compared[k] > n / 1000);
	assert_true(n_pcrel > n / 100 && n_prefixed > n / 100);
	print_message("%lu generated instructions, %u of them pc-relative, %u prefixed; %u words unknown to objdump\n",
		      lines, n_pcrel, n_prefixed, n_unknown);
}

static unsigned long compare_library(const char *path)
{
	int fd = open(path, O_RDONLY);
	unsigned long n = 0;
	char cmd[512];
	size_t shstr;
	Elf *elf;

	if (fd < 0)
		return 0;
	elf = elf_begin(fd, ELF_C_READ, NULL);
	elf_getshdrstrndx(elf, &shstr);
	snprintf(cmd, sizeof(cmd), OBJDUMP " -Mpower10,raw -zd -j .text %s", path);
	for (Elf_Scn *s = NULL; (s = elf_nextscn(elf, s));) {
		GElf_Shdr sh;

		gelf_getshdr(s, &sh);
		if (!strcmp(elf_strptr(elf, shstr, sh.sh_name), ".text"))
			n = compare_all(cmd, elf_getdata(s, NULL)->d_buf, sh.sh_addr, sh.sh_size, n_words());
	}
	elf_end(elf);
	close(fd);
	print_message("%lu instructions of %s\n", n, path);
	return n;
}

static void test_libraries(void **state)
{
	const char *more = getenv("SUT_ARCH_LIBS");
	char *list = more ? strdup(more) : NULL;
	unsigned long n;

	elf_version(EV_CURRENT);
	n = compare_library("/usr/powerpc64le-linux-gnu/lib/libc.so.6");
	for (char *save = NULL, *p = list ? strtok_r(list, " ", &save) : NULL; p; p = strtok_r(NULL, " ", &save)) {
		unsigned long here = compare_library(p);

		assert_true(here > 0);
		n += here;
	}
	free(list);
	if (!n) {
		print_message("no ppc64le libraries here\n");
		skip();
	}
	assert_true(n > 100000 || n >= n_words());
}

static void test_any_bytes(void **state)
{
	for (unsigned n = 0; n < 200000; n++) {
		size_t len = n % 12;
		uint8_t *tight = malloc(len + 1);
		struct sut_insn insn;

		for (size_t i = 0; i < len; i++)
			tight[i] = (uint8_t)rnd();
		if (!arch->insn_decode(tight, len, PC + 4 * (n % 16), &insn))
			assert_true(insn.len > 0 && insn.len <= len);
		(void)arch->entry_skip(tight, len);
		free(tight);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),     cmocka_unit_test(test_entry),     cmocka_unit_test(test_pads),
		cmocka_unit_test(test_any_bytes), cmocka_unit_test(test_generated), cmocka_unit_test(test_libraries),
	};

	if (system("command -v " OBJDUMP " >/dev/null")) {
		puts("skipped: needs binutils-powerpc64le-linux-gnu");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
