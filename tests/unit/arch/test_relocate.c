/* SPDX-License-Identifier: MIT */
/*
 * Description: a function entered through its moved first instructions gives the results of the original;
 * moved instructions name the same addresses; what can not be moved is refused.
 */
#include <stdarg.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <setjmp.h>
#include <stdio.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "arch/arch.h"
#include "util/util.h"

static const struct sut_arch *const arch = &sut_arch_x86_64;

#define FROM 0x400000ull
#define TO   0x10400000ull

static void test_moves(void **state)
{
	static const struct {
		const char *text;
		uint8_t from[24], from_len, to[32], to_len, moved;
	} cases[] = {
		{ "push %rbp; mov %rsp,%rbp; sub $16,%rsp",
		  { 0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10 },
		  8,
		  { 0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10, 0xe9, 0xfb, 0xff, 0xff, 0xef },
		  13,
		  8 },
		{ "mov 0x100(%rip),%eax",
		  { 0x8b, 0x05, 0x00, 0x01, 0x00, 0x00 },
		  6,
		  { 0x8b, 0x05, 0x00, 0x01, 0x00, 0xf0, 0xe9, 0xfb, 0xff, 0xff, 0xef },
		  11,
		  6 },
		{ "cmpl $5,0x100(%rip)",
		  { 0x83, 0x3d, 0x00, 0x01, 0x00, 0x00, 0x05 },
		  7,
		  { 0x83, 0x3d, 0x00, 0x01, 0x00, 0xf0, 0x05, 0xe9, 0xfb, 0xff, 0xff, 0xef },
		  12,
		  7 },
		{ "test %edi,%edi; je +0x10; xor %eax,%eax",
		  { 0x85, 0xff, 0x74, 0x10, 0x31, 0xc0 },
		  6,
		  /* je rel32: 4 bytes longer */
		  { 0x85, 0xff, 0x0f, 0x84, 0x0c, 0x00, 0x00, 0xf0, 0x31, 0xc0, 0xe9, 0xf7, 0xff, 0xff, 0xef },
		  15,
		  6 },
		{ "jne rel32",
		  { 0x0f, 0x85, 0x00, 0x01, 0x00, 0x00 },
		  6,
		  { 0x0f, 0x85, 0x00, 0x01, 0x00, 0xf0, 0xe9, 0xfb, 0xff, 0xff, 0xef },
		  11,
		  6 },
		{ "jmp rel8; padding",
		  { 0xeb, 0x20, 0x66, 0x90, 0x90 },
		  5,
		  { 0xe9, 0x1d, 0x00, 0x00, 0xf0, 0x66, 0x90, 0x90, 0xe9, 0xf8, 0xff, 0xff, 0xef },
		  13,
		  5 },
		{ "call rel32",
		  { 0xe8, 0x00, 0x01, 0x00, 0x00 },
		  5,
		  { 0xe8, 0x00, 0x01, 0x00, 0xf0, 0xe9, 0xfb, 0xff, 0xff, 0xef },
		  10,
		  5 },
		{ "call to the function itself",
		  { 0xe8, 0xfb, 0xff, 0xff, 0xff },
		  5,
		  { 0xe8, 0xfb, 0xff, 0xff, 0xef, 0xe9, 0xfb, 0xff, 0xff, 0xef },
		  10,
		  5 },
		{ "ret; int3 ...",
		  { 0xc3, 0xcc, 0xcc, 0xcc, 0xcc },
		  5,
		  { 0xc3, 0xcc, 0xcc, 0xcc, 0xcc, 0xe9, 0xfb, 0xff, 0xff, 0xef },
		  10,
		  5 },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		uint8_t out[64];
		size_t len = 0, moved = 0;
		int err = arch->relocate_entry(cases[i].from, cases[i].from_len, 5, FROM, TO, out, sizeof(out), &len,
					       &moved);

		if (err || len != cases[i].to_len || moved != cases[i].moved || memcmp(out, cases[i].to, len)) {
			char hex[129];

			fail_msg("%s: %d, moved %zu, %zu bytes: %s", cases[i].text, err, moved, len,
				 sut_hex(out, len, hex));
		}
		for (size_t cap = 0; cap < len; cap++) {
			size_t none = 77;

			assert_int_equal(arch->relocate_entry(cases[i].from, cases[i].from_len, 5, FROM, TO, out, cap,
							      &none, &none),
					 -ENOSPC);
			assert_int_equal(none, 77);
		}
	}
}

static void test_refusals(void **state)
{
	static const struct {
		const char *text;
		uint8_t code[16], len;
		int err;
	} cases[] = {
		{ "jrcxz", { 0xe3, 0x20, 0x90, 0x90, 0x90 }, 5, -EOPNOTSUPP },
		{ "loop", { 0xe2, 0x20, 0x90, 0x90, 0x90 }, 5, -EOPNOTSUPP },
		{ "xbegin", { 0xc7, 0xf8, 0x20, 0, 0, 0 }, 6, -EOPNOTSUPP },
		{ "jmp to itself", { 0xeb, 0xfe, 0x90, 0x90, 0x90 }, 5, -EOPNOTSUPP },
		{ "jmp into the moved bytes", { 0xeb, 0x01, 0x90, 0x90, 0x90 }, 5, -EOPNOTSUPP },
		{ "jne into the moved bytes", { 0x90, 0x75, 0x01, 0x90, 0x90 }, 5, -EOPNOTSUPP },
		{ "jne to the function's start", { 0x90, 0x75, 0xfd, 0x90, 0x90 }, 5, -EOPNOTSUPP },
		{ "call of the next instruction", { 0xe8, 0, 0, 0, 0 }, 5, -EOPNOTSUPP },
		{ "call into the moved bytes", { 0xe8, 0xfd, 0xff, 0xff, 0xff }, 5, -EOPNOTSUPP },
		{ "lea of an inner address", { 0x48, 0x8d, 0x05, 0xfc, 0xff, 0xff, 0xff }, 7, -EOPNOTSUPP },
		{ "code behind a return", { 0xc3, 0x31, 0xc0, 0x90, 0x90 }, 5, -EOPNOTSUPP },
		{ "code behind an indirect jump", { 0xff, 0xe0, 0x31, 0xc0, 0x90 }, 5, -EOPNOTSUPP },
		{ "eip-relative", { 0x67, 0x8b, 0x05, 0, 0, 0, 0 }, 7, -EOPNOTSUPP },
		{ "jmpw", { 0x66, 0xe9, 0, 1, 0, 0 }, 6, -EOPNOTSUPP },
		{ "bad bytes", { 0x06, 0x90, 0x90, 0x90, 0x90 }, 5, -EILSEQ },
		{ "too short", { 0x55, 0xc3 }, 2, -EILSEQ },
		{ "cut off", { 0x90, 0x90, 0x48, 0x8b, 0x05 }, 5, -EILSEQ },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		uint8_t out[64];
		size_t len = 77, moved = 77;
		int err =
			arch->relocate_entry(cases[i].code, cases[i].len, 5, FROM, TO, out, sizeof(out), &len, &moved);

		if (err != cases[i].err || len != 77 || moved != 77)
			fail_msg("%s: %d instead of %d", cases[i].text, err, cases[i].err);
	}
}

static void test_out_of_reach(void **state)
{
	static const uint8_t load[] = { 0x8b, 0x05, 0x00, 0x01, 0x00, 0x00 },
			     plain[] = { 0x90, 0x90, 0x90, 0x90, 0x90 };
	uint8_t out[64];
	size_t len, moved;

	assert_int_equal(arch->relocate_entry(load, 6, 5, FROM, FROM + (1ull << 31) + 4096, out, 64, &len, &moved),
			 -ERANGE);
	/* Nothing in it counts from its address but the jump back. */
	assert_int_equal(arch->relocate_entry(plain, 5, 5, FROM, FROM + (1ull << 31) + 4096, out, 64, &len, &moved),
			 -ERANGE);
}

/* ---- run --------------------------------------------------------------------------------------- */

#ifdef __x86_64__
int sut_test_var = 5;
int sut_test_other(int x);
asm(".text\n"
    "sut_test_other:		lea 100(%rdi),%eax; ret\n"
    ".globl sut_test_load;	sut_test_load:	mov sut_test_var(%rip),%eax; add %edi,%eax; ret\n"
    ".globl sut_test_cmp;	sut_test_cmp:	cmpl $7,sut_test_var(%rip); setg %al; movzbl %al,%eax; add %edi,%eax; "
    "ret\n"
    ".globl sut_test_if;	sut_test_if:	test %edi,%edi; je 1f; lea 5(%rdi),%eax; ret; 1: mov $7,%eax; ret\n"
    ".globl sut_test_far_if;	sut_test_far_if: test %edi,%edi; jg 1f; lea 5(%rdi),%eax; ret; .skip 300; 1: mov "
    "$9,%eax; ret\n"
    ".globl sut_test_jmp;	sut_test_jmp:	jmp sut_test_other; .skip 4\n"
    ".globl sut_test_short;	sut_test_short:	jmp 1f; nop; nop; nop; nop; 1: mov $3,%eax; ret\n"
    ".globl sut_test_call;	sut_test_call:	push %rdi; call sut_test_other; pop %rdi; add %edi,%eax; ret\n"
    ".globl sut_test_tail;	sut_test_tail:	lea 1(%rdi),%edi; jmp *1f(%rip); .data; .balign 8; 1: .quad "
    "sut_test_other; .text\n"
    ".globl sut_test_frame;	sut_test_frame:	endbr64; push %rbp; mov %rsp,%rbp; mov %edi,-4(%rbp); mov "
    "-4(%rbp),%eax; pop %rbp; ret\n"
    ".globl sut_test_end;	sut_test_end:	ret\n");
int sut_test_load(int), sut_test_cmp(int), sut_test_if(int), sut_test_far_if(int), sut_test_jmp(int),
	sut_test_short(int), sut_test_call(int), sut_test_tail(int), sut_test_frame(int), sut_test_end(int);

static void test_run(void **state)
{
	static int (*const funcs[])(int) = {
		sut_test_load,  sut_test_cmp,  sut_test_if,   sut_test_far_if, sut_test_jmp,
		sut_test_short, sut_test_call, sut_test_tail, sut_test_frame,
	};
	uint8_t *near = mmap((void *)(((uintptr_t)sut_test_load & ~0xfffffull) - (64 << 20)), 4096,
			     PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open("/proc/self/mem", O_RDWR);

	assert_true(near != MAP_FAILED && fd >= 0);
	for (size_t i = 0; i < SUT_ARRAY_SIZE(funcs); i++) {
		uint8_t *at = near + 64 * i, out[64];
		uint64_t from = (uint64_t)(uintptr_t)funcs[i], to = (uint64_t)(uintptr_t)at;
		size_t len, moved;

		assert_int_equal(arch->relocate_entry((const uint8_t *)(uintptr_t)funcs[i], 64, 5, from, to, out,
						      sizeof(out), &len, &moved),
				 0);
		assert_int_equal(pwrite(fd, out, len, (off_t)to), len);
		for (int x = -3; x < 20; x++) {
			int want, got;

			sut_test_var = x * 3;
			want = funcs[i](x);
			got = ((int (*)(int))(uintptr_t)at)(x);
			if (want != got)
				fail_msg("function %zu of %d: %d, moved %d", i, x, want, got);
		}
	}
	close(fd);
	munmap(near, 4096);
}
#else
static void test_run(void **state)
{
	print_message("moved x86-64 code can not be run here\n");
	skip();
}
#endif

/* ---- all functions of some libraries: the moved code decodes to the same instructions ------------- */

static void compare_moved(const uint8_t *old, size_t old_len, uint64_t from, const uint8_t *new, size_t new_len,
			  uint64_t to, size_t moved)
{
	size_t o = 0, n = 0;
	struct sut_insn a, b;
	uint64_t back;

	while (o < moved) {
		assert_int_equal(arch->insn_decode(old + o, old_len - o, from + o, &a), 0);
		assert_int_equal(arch->insn_decode(new + n, new_len - n, to + n, &b), 0);
		assert_int_equal(a.kind, b.kind);
		assert_int_equal(a.pcrel, b.pcrel);
		assert_int_equal(a.target, b.target);
		if (!a.pcrel) {
			assert_int_equal(a.len, b.len);
			assert_memory_equal(old + o, new + n, a.len);
		} else if (a.pcrel_size == 4 && a.len == b.len) {
			assert_memory_equal(old + o, new + n, a.pcrel_off);
		}
		o += a.len;
		n += b.len;
	}
	assert_true(arch->jump_decode(new + n, to + n, &back));
	assert_int_equal(back, from + moved);
	assert_int_equal(n + arch->jump_size, new_len);
}

static void one_library(const char *path, unsigned *n_moved, unsigned *n_refused)
{
	int fd = open(path, O_RDONLY);
	Elf *elf = fd < 0 ? NULL : elf_begin(fd, ELF_C_READ, NULL);

	if (!elf)
		return;
	for (Elf_Scn *s = NULL; (s = elf_nextscn(elf, s));) {
		GElf_Shdr sh, tsh;

		gelf_getshdr(s, &sh);
		for (size_t i = 0; sh.sh_type == SHT_DYNSYM && i < sh.sh_size / sh.sh_entsize; i++) {
			const uint8_t *code;
			uint8_t out[128];
			size_t len, moved;
			GElf_Sym sym;

			gelf_getsym(elf_getdata(s, NULL), (int)i, &sym);
			if (GELF_ST_TYPE(sym.st_info) != STT_FUNC || sym.st_size < 5 || !sym.st_shndx)
				continue;
			Elf_Scn *text = elf_getscn(elf, sym.st_shndx);

			gelf_getshdr(text, &tsh);
			code = (const uint8_t *)elf_getdata(text, NULL)->d_buf + (sym.st_value - tsh.sh_addr);
			if (arch->relocate_entry(code, sym.st_size, 5, sym.st_value, sym.st_value + TO, out,
						 sizeof(out), &len, &moved)) {
				++*n_refused;
				continue;
			}
			++*n_moved;
			compare_moved(code, sym.st_size, sym.st_value, out, len, sym.st_value + TO, moved);
		}
	}
	elf_end(elf);
	close(fd);
}

static void test_libraries(void **state)
{
	unsigned moved = 0, refused = 0;

	elf_version(EV_CURRENT);
	one_library("/lib/x86_64-linux-gnu/libc.so.6", &moved, &refused);
	one_library("/lib/x86_64-linux-gnu/libz.so.1", &moved, &refused);
	if (!moved) {
		print_message("no libraries here\n");
		skip();
	}
	print_message("%u entries moved, %u refused\n", moved, refused);
	assert_true(moved > 1000);
	assert_true(refused * 20 < moved);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_moves), cmocka_unit_test(test_refusals),  cmocka_unit_test(test_out_of_reach),
		cmocka_unit_test(test_run),   cmocka_unit_test(test_libraries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
