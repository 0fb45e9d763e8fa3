/* SPDX-License-Identifier: MIT */
/*
 * Description: instructions are decoded to kind, length and pc-relative field; over a whole C library,
 * lengths and targets are those that objdump prints.
 */
#include <stdarg.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

#include "arch/arch.h"
#include "util/util.h"

static const struct sut_arch *const arch = &sut_arch_x86_64;

#define PC 0x10000000ull

static void test_kinds(void **state)
{
	static const struct {
		const char *text;
		uint8_t code[15];
		uint8_t len;
		enum sut_insn_kind kind;
		bool ends;
		uint8_t off, size; /* of the pc-relative field */
		int64_t target; /* - PC */
	} cases[] = {
		{ "endbr64", { 0xf3, 0x0f, 0x1e, 0xfa }, 4, SUT_INSN_NOP, false, 0, 0, 0 },
		{ "nop", { 0x90 }, 1, SUT_INSN_NOP, false, 0, 0, 0 },
		{ "xchg %ax,%ax", { 0x66, 0x90 }, 2, SUT_INSN_NOP, false, 0, 0, 0 },
		{ "nopw", { 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00 }, 6, SUT_INSN_NOP, false, 0, 0, 0 },
		{ "jmp rel8", { 0xeb, 0x10 }, 2, SUT_INSN_JUMP, true, 1, 1, 0x12 },
		{ "jmp rel32", { 0xe9, 0xfb, 0xff, 0xff, 0xff }, 5, SUT_INSN_JUMP, true, 1, 4, 0 },
		{ "jne rel8", { 0x75, 0x80 }, 2, SUT_INSN_BRANCH, false, 1, 1, -0x7e },
		{ "jg rel32", { 0x0f, 0x8f, 0, 1, 0, 0 }, 6, SUT_INSN_BRANCH, false, 2, 4, 0x106 },
		{ "jrcxz", { 0xe3, 0x02 }, 2, SUT_INSN_BRANCH, false, 1, 1, 4 },
		{ "loop", { 0xe2, 0xfe }, 2, SUT_INSN_BRANCH, false, 1, 1, 0 },
		{ "call", { 0xe8, 0, 0, 0, 0x80 }, 5, SUT_INSN_CALL, false, 1, 4, 5 - (1ll << 31) },
		{ "data16 data16 rex.W call",
		  { 0x66, 0x66, 0x48, 0xe8, 0, 0, 0, 0 },
		  8,
		  SUT_INSN_CALL,
		  false,
		  4,
		  4,
		  8 },
		{ "call *%rax", { 0xff, 0xd0 }, 2, SUT_INSN_INDIRECT, false, 0, 0, 0 },
		{ "call *x(%rip)", { 0xff, 0x15, 4, 0, 0, 0 }, 6, SUT_INSN_INDIRECT, false, 2, 4, 10 },
		{ "jmp *%r11", { 0x41, 0xff, 0xe3 }, 3, SUT_INSN_INDIRECT, true, 0, 0, 0 },
		{ "jmp *x(%rip)", { 0xff, 0x25, 4, 0, 0, 0 }, 6, SUT_INSN_INDIRECT, true, 2, 4, 10 },
		{ "ret", { 0xc3 }, 1, SUT_INSN_RETURN, true, 0, 0, 0 },
		{ "ret $8", { 0xc2, 8, 0 }, 3, SUT_INSN_RETURN, true, 0, 0, 0 },
		{ "int3", { 0xcc }, 1, SUT_INSN_TRAP, false, 0, 0, 0 },
		{ "ud2", { 0x0f, 0x0b }, 2, SUT_INSN_TRAP, true, 0, 0, 0 },
		{ "hlt", { 0xf4 }, 1, SUT_INSN_TRAP, false, 0, 0, 0 },
		{ "syscall", { 0x0f, 0x05 }, 2, SUT_INSN_SYSCALL, false, 0, 0, 0 },
		{ "int $0x80", { 0xcd, 0x80 }, 2, SUT_INSN_SYSCALL, false, 0, 0, 0 },
		{ "int $3", { 0xcd, 0x03 }, 2, SUT_INSN_TRAP, false, 0, 0, 0 },
		{ "push %rbp", { 0x55 }, 1, SUT_INSN_OTHER, false, 0, 0, 0 },
		{ "mov x(%rip),%rax", { 0x48, 0x8b, 0x05, 0x10, 0, 0, 0 }, 7, SUT_INSN_OTHER, false, 3, 4, 0x17 },
		{ "cmpb $1,x(%rip)", { 0x80, 0x3d, 0x10, 0, 0, 0, 1 }, 7, SUT_INSN_OTHER, false, 2, 4, 0x17 },
		{ "movl $1,x(%rip)", { 0xc7, 0x05, 0x10, 0, 0, 0, 1, 0, 0, 0 }, 10, SUT_INSN_OTHER, false, 2, 4, 0x1a },
		{ "vmovaps x(%rip),%ymm0",
		  { 0xc5, 0xfc, 0x28, 0x05, 0, 1, 0, 0 },
		  8,
		  SUT_INSN_OTHER,
		  false,
		  4,
		  4,
		  0x108 },
		{ "mov x,%eax (absolute)", { 0x8b, 0x04, 0x25, 0, 1, 0, 0 }, 7, SUT_INSN_OTHER, false, 0, 0, 0 },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		struct sut_insn insn;

		if (arch->insn_decode(cases[i].code, sizeof(cases[i].code), PC, &insn) || insn.len != cases[i].len ||
		    insn.kind != cases[i].kind || insn.ends != cases[i].ends || insn.pcrel != (cases[i].size != 0) ||
		    insn.pcrel_off != cases[i].off || insn.pcrel_size != cases[i].size ||
		    (insn.pcrel && insn.target != PC + (uint64_t)cases[i].target))
			fail_msg("%s: kind %d, %u bytes, field %u+%u, target 0x%lx", cases[i].text, insn.kind, insn.len,
				 insn.pcrel_off, insn.pcrel_size, insn.target);
		for (uint8_t len = 0; len < cases[i].len; len++) /* cut off at any byte */
			assert_int_equal(arch->insn_decode(cases[i].code, len, PC, &insn), -EILSEQ);
	}
}

/* Known to depend on their address, but in no way that a plain field tells. */
static void test_not_a_plain_field(void **state)
{
	static const uint8_t cases[][10] = {
		{ 0x67, 0x8b, 0x05, 0, 0, 0, 0 }, /* mov x(%eip),%eax */
		{ 0x66, 0xe9, 0, 0, 0, 0 }, /* jmpw: 2 or 4 bytes, as the processor's maker likes */
		{ 0x66, 0xe8, 0, 0, 0, 0 }, /* callw */
		{ 0x66, 0xeb, 0 }, /* jmpw rel8 */
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		struct sut_insn insn;

		assert_int_equal(arch->insn_decode(cases[i], sizeof(cases[i]), PC, &insn), 0);
		assert_true(insn.pcrel);
		assert_int_equal(insn.pcrel_size, 0);
	}
}

static void test_bad_bytes(void **state)
{
	static const uint8_t cases[][16] = {
		{ 0x06 }, /* push %es: not in 64-bit mode */
		{ 0x0f, 0xff }, /* ud0 without operands, cut off below */
		{ 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90 },
		{ 0xf0, 0x90 }, /* lock nop */
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		struct sut_insn insn;

		assert_int_equal(arch->insn_decode(cases[i], i == 1 ? 2 : sizeof(cases[i]), PC, &insn), -EILSEQ);
	}
}

/* Whatever bytes: an answer, within the buffer. */
static void test_any_bytes(void **state)
{
	uint32_t seed = 1;

	for (unsigned n = 0; n < 200000; n++) {
		uint8_t code[15];
		struct sut_insn insn;
		size_t len = n % 16;
		uint8_t *tight = malloc(len + 1);

		for (size_t i = 0; i < sizeof(code); i++) {
			seed = seed * 1664525 + 1013904223;
			code[i] = (uint8_t)(seed >> 24);
		}
		memcpy(tight, code, len);
		if (!arch->insn_decode(tight, len, PC, &insn)) {
			assert_true(insn.len > 0 && insn.len <= len);
			assert_true(insn.pcrel_off + insn.pcrel_size <= insn.len);
		}
		free(tight);
	}
}

static void test_entry_skip(void **state)
{
	static const uint8_t endbr64[] = { 0xf3, 0x0f, 0x1e, 0xfa, 0x55 }, endbr32[] = { 0xf3, 0x0f, 0x1e, 0xfb };

	assert_int_equal(arch->entry_skip(endbr64, 5), 4);
	assert_int_equal(arch->entry_skip(endbr64, 4), 4);
	assert_int_equal(arch->entry_skip(endbr64, 3), 0);
	assert_int_equal(arch->entry_skip(endbr64 + 4, 1), 0);
	assert_int_equal(arch->entry_skip(endbr32, 4), 0);
}

struct text {
	const uint8_t *bytes;
	uint64_t addr, size;
};

static bool find_text(Elf *elf, struct text *ret)
{
	size_t shstr;

	elf_getshdrstrndx(elf, &shstr);
	for (Elf_Scn *s = NULL; (s = elf_nextscn(elf, s));) {
		GElf_Shdr sh;

		gelf_getshdr(s, &sh);
		if (strcmp(elf_strptr(elf, shstr, sh.sh_name), ".text"))
			continue;
		*ret = (struct text){ elf_getdata(s, NULL)->d_buf, sh.sh_addr, sh.sh_size };
		return true;
	}
	return false;
}

/* One line of objdump against our decoder. @next: where objdump has the next instruction. */
static void compare_line(const struct text *t, uint64_t addr, uint64_t next, const char *line)
{
	struct sut_insn insn;
	char mnemonic[32];
	unsigned long target;
	const char *p;

	if (t->bytes[addr - t->addr] == 0x9b) /* fwait: objdump joins it with the next */
		return;
	if (arch->insn_decode(t->bytes + (addr - t->addr), t->size - (addr - t->addr), addr, &insn) ||
	    insn.len != next - addr)
		fail_msg("%lx: %u bytes, objdump has %lu: %s", addr, insn.len, next - addr, line);
	p = strstr(line, "# ");
	if (p && strstr(line, "(%rip)") && sscanf(p, "# %lx", &target) == 1) {
		assert_true(insn.pcrel);
		assert_int_equal(insn.target, target);
	}
	if (sscanf(line, "%31s %lx", mnemonic, &target) == 2 && (mnemonic[0] == 'j' || !strcmp(mnemonic, "call")) &&
	    !strchr(line, '*')) {
		assert_true(insn.kind == SUT_INSN_JUMP || insn.kind == SUT_INSN_BRANCH || insn.kind == SUT_INSN_CALL);
		assert_int_equal(insn.target, target);
	}
}

static void test_against_objdump(void **state)
{
	static const char *const libs[] = { "/lib/x86_64-linux-gnu/libz.so.1", "/lib/x86_64-linux-gnu/libm.so.6" };
	unsigned compared = 0;

	elf_version(EV_CURRENT);
	for (size_t i = 0; i < SUT_ARRAY_SIZE(libs); i++) {
		char cmd[256], line[512], last[512] = "";
		int fd = open(libs[i], O_RDONLY);
		uint64_t last_addr = 0;
		struct text t = { 0 };
		Elf *elf;
		FILE *p;

		if (fd < 0)
			continue;
		elf = elf_begin(fd, ELF_C_READ, NULL);
		assert_true(find_text(elf, &t));
		snprintf(cmd, sizeof(cmd), "objdump -d --no-show-raw-insn -j .text %s 2>/dev/null", libs[i]);
		p = popen(cmd, "r");
		assert_non_null(p);
		while (fgets(line, sizeof(line), p)) {
			unsigned long addr;
			int n = 0;

			if (sscanf(line, " %lx:%n", &addr, &n) != 1 || !n || line[n] != '\t')
				continue;
			if (last_addr) {
				compare_line(&t, last_addr, addr, last);
				compared++;
			}
			last_addr = addr;
			snprintf(last, sizeof(last), "%s", line + n + 1);
		}
		pclose(p);
		elf_end(elf);
		close(fd);
	}
	if (!compared) {
		print_message("neither objdump nor libraries here\n");
		skip();
	}
	assert_true(compared > 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),      cmocka_unit_test(test_not_a_plain_field),
		cmocka_unit_test(test_bad_bytes),  cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_entry_skip), cmocka_unit_test(test_against_objdump),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
