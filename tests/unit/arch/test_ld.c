/* SPDX-License-Identifier: MIT */
/*
 * Description: relocation fields and relaxed TLS sequences are, byte for byte, what GNU ld writes for
 * the same object at the same addresses.
 *
 * Each case compiles one unit, links it with another into an executable without GOTPCRELX relaxation, and
 * then relocates its sections once more, by the architecture's functions, with the addresses that
 * the linker chose. All relocated sections must come out equal to the linked file. GOT
 * slots are the linker's too: read from the linked field, they must hold the symbol's value.
 */
#include <stdarg.h>
#include <fcntl.h>
#include <gelf.h>
#include <limits.h>
#include <setjmp.h>
#include <stdio.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "arch/arch.h"
#include "ld.h"
#include "util/util.h"

static const struct sut_arch *const arch = &sut_arch_x86_64;

/* What the units need from outside. */
static const char other_c[] = "int ext_func(int x) { return x + 1; }\n"
			      "int ext_func2(int x) { return x + 2; }\n"
			      "int ext_data = 11, ext_array[16];\n"
			      "char ext_big[100000];\n"
			      "__thread int pad_tls[9] = { 1 }, ext_tls = 12, ext_tls2;\n"
			      "void *__tls_get_addr(void *p) { return p; }\n";

static const char unit_c[] =
	"extern int ext_func(int), ext_func2(int);\n"
	"extern int ext_data, ext_array[16];\n"
	"extern char ext_big[];\n"
	"extern __thread int ext_tls, ext_tls2;\n"
	"__thread int own_tls = 3;\n"
	"static __thread int local_tls = 4, local_tls2;\n"
	"static int local_data = 5, local_bss[64];\n"
	"const char *names[] = { \"one\", \"two\", 0 };\n"
	"extern int weak_func(int) __attribute__((weak));\n"
	"int (*table[])(int) = { ext_func, ext_func2, 0 };\n"
	"static int __attribute__((noinline)) helper(int x)\n"
	"{ local_data += x; return local_bss[x & 63] + ext_array[x & 15]; }\n"
	"int f_calls(int x) { return ext_func(x) + ext_func2(x + 1) + helper(x); }\n"
	"int f_tail(int x) { return ext_func(x); }\n"
	"int f_data(int x) { ext_data += x; ext_array[3] = x; return ext_data + local_data + ext_big[x]; }\n"
	"int *f_addr(void) { return &ext_data; }\n"
	"int *f_addr2(void) { return &ext_array[5]; }\n"
	"void *f_ptr(void) { return (void *)ext_func; }\n"
	"void *f_ptr2(void) { return (void *)helper; }\n"
	"int f_weak(int x) { return weak_func ? weak_func(x) : 0; }\n"
	"int f_test(void) { return ext_data != 0; }\n"
	"int f_tls(int x) { ext_tls += x; return ext_tls2 + own_tls; }\n"
	"int f_tls_local(int x) { local_tls += x; local_tls2 ^= local_tls; return local_tls2; }\n"
	"int *f_tls_addr(void) { return &ext_tls; }\n"
	"int *f_tls_addr_local(void) { return &local_tls; }\n"
	"int f_switch(int x, int y)\n"
	"{ switch (x) { case 0: return ext_func(y); case 1: return y * 3; case 2: return ext_func2(y) + 7;\n"
	"case 3: return local_data; case 4: return ext_data - y; case 5: return helper(y);\n"
	"case 6: return y ^ 0x55; default: return -1; } }\n"
	"const char *f_string(int x) { return x ? names[x] : \"a string\"; }\n";

/* What compilers emit seldom or only on request, and every width. */
static const char unit_s[] = "	.text\n"
			     "	.globl f_asm\n"
			     "f_asm:\n"
			     "	.reloc ., R_X86_64_NONE, ext_data\n"
			     "	nop\n"
			     "1:	.long ext_data@GOT\n"
			     "	.quad ext_data@GOT\n"
			     "	.quad ext_func@GOTPLT\n"
			     "	.quad ext_func@PLTOFF\n"
			     "	.quad ext_data@GOTOFF\n"
			     "	.quad ext_data@GOTPCREL\n"
			     "	.long ext_data@GOTPCREL\n"
			     "	.long _GLOBAL_OFFSET_TABLE_ - .\n"
			     "	.quad _GLOBAL_OFFSET_TABLE_ - .\n"
			     "	.long ext_big@SIZE\n"
			     "	.quad ext_big@SIZE\n"
			     "	.long ext_big@SIZE + 4\n"
			     "	.quad ext_func - .\n"
			     "	.long ext_func - . + 100\n"
			     "	.long ext_func@PLT\n"
			     "	.quad ext_tls@TPOFF\n"
			     "	.long ext_tls@DTPOFF + 4\n"
			     "	.long ext_data\n"
			     "	jmp near_by\n"
			     "	.reloc ., R_X86_64_PC8, near_by\n"
			     "	.byte 0\n"
			     "	.reloc ., R_X86_64_PC16, near_by\n"
			     "	.word 0\n"
			     "	.byte small\n"
			     "	.byte negative\n"
			     "	.word medium\n"
			     "	.quad small + 7\n"
			     "	.byte 0\n"
			     "	.globl near_by\n"
			     "	.weak near_by\n"
			     "near_by: ret\n"
			     "	.data\n"
			     "	.globl d_asm\n"
			     "d_asm:	.quad ext_func + 1, near_by\n"
			     "	.section .note.GNU-stack,\"\",@progbits\n";
static const char other_s[] = "	.globl small, negative, medium\n"
			      "	small = 200\n"
			      "	negative = -100\n"
			      "	medium = 40000\n"
			      "	.section .note.GNU-stack,\"\",@progbits\n";

static unsigned seen[64]; /* how often a type was compared */

/* Relocates one place of @bytes at @addr. Returns how many of the relocations that follow it has used up. */
static unsigned relocate_one(struct link *l, uint8_t *bytes, size_t size, uint64_t addr, const GElf_Rela *r)
{
	const struct sut_reloc_howto *howto = arch->reloc_howto((uint32_t)GELF_R_TYPE(r->r_info));
	struct sut_reloc_values v = { .P = addr + r->r_offset, .A = r->r_addend, .GOT = l->got };
	const uint8_t *linked = linked_at(&l->exe, addr, size);
	uint64_t sym_size;
	unsigned skip = 0;
	bool is_tls;
	int64_t tpoff;

	assert_non_null(howto);
	assert_int_equal(howto->type, GELF_R_TYPE(r->r_info));
	seen[howto->type]++;
	v.S = symbol_value(l, (unsigned)GELF_R_SYM(r->r_info), &sym_size, &is_tls);
	tpoff = (int64_t)(v.S - l->tls_size);
	switch (howto->kind) {
	case SUT_RELOC_SIZE:
		v.S = sym_size;
		break;
	case SUT_RELOC_GOT:
	case SUT_RELOC_GOT_LOAD:
	case SUT_RELOC_GOT_OFF: {
		/* Of a weak symbol that nothing defines the linker loads 0 directly, whatever it is told. */
		if (!v.S && howto->kind != SUT_RELOC_GOT_OFF &&
		    memcmp(linked + r->r_offset - 3, bytes + r->r_offset - 3, 3)) {
			memcpy(bytes + r->r_offset - 3, linked + r->r_offset - 3, 7);
			return 0;
		}
		uint64_t field = howto->size == 8 ? sut_le64(linked + r->r_offset)
						  : (uint64_t)(int64_t)(int32_t)sut_le32(linked + r->r_offset);
		uint64_t slot = field - (uint64_t)v.A + (howto->kind == SUT_RELOC_GOT_OFF ? v.GOT : v.P);
		const uint8_t *held = linked_at(&l->exe, slot, 8);

		assert_non_null(held);
		assert_int_equal(sut_le64(held), v.S);
		v.S = slot;
		break;
	}
	case SUT_RELOC_TLS_LE:
	case SUT_RELOC_TLS_DTPOFF: /* the sequence before was relaxed, so the module's base is the thread pointer */
		v.S = (uint64_t)tpoff;
		break;
	case SUT_RELOC_TLS_IE: /* the linker makes local exec of it; we fill slots: compared in test_initial_exec() */
		memcpy(bytes + r->r_offset - 3, linked + r->r_offset - 3, 7);
		return 0;
	case SUT_RELOC_TLS_GD:
	case SUT_RELOC_TLS_LD:
	case SUT_RELOC_TLS_DESC:
	case SUT_RELOC_TLS_DESC_CALL:
		assert_int_equal(arch->tls_relax(howto, bytes, size, r->r_offset, tpoff, &skip), 0);
		return skip;
	default:
		break;
	}
	assert_int_equal(arch->relocate_field(howto, &v, bytes + r->r_offset), 0);
	return 0;
}

static void compare_section(struct link *l, Elf_Scn *rela, const char *what)
{
	GElf_Shdr rsh, sh;
	uint8_t *bytes;
	uint64_t addr;
	size_t shstr;
	const uint8_t *linked;

	gelf_getshdr(rela, &rsh);
	Elf_Scn *target = elf_getscn(l->obj.elf, rsh.sh_info);

	gelf_getshdr(target, &sh);
	if (!(sh.sh_flags & SHF_ALLOC))
		return;
	elf_getshdrstrndx(l->obj.elf, &shstr);
	addr = section_addr(l, (unsigned)rsh.sh_info);
	linked = linked_at(&l->exe, addr, sh.sh_size);
	assert_non_null(linked);
	bytes = malloc(sh.sh_size);
	assert_non_null(bytes);
	memcpy(bytes, elf_getdata(target, NULL)->d_buf, sh.sh_size);
	for (size_t i = 0; i < rsh.sh_size / rsh.sh_entsize; i++) {
		GElf_Rela r;

		gelf_getrela(elf_getdata(rela, NULL), (int)i, &r);
		i += relocate_one(l, bytes, sh.sh_size, addr, &r);
	}
	for (size_t i = 0; i < sh.sh_size; i++) {
		if (bytes[i] != linked[i])
			fail_msg("%s: %s+0x%zx: 0x%02x, ld wrote 0x%02x", what,
				 elf_strptr(l->obj.elf, shstr, sh.sh_name), i, bytes[i], linked[i]);
	}
	free(bytes);
}

static void compare(const char *what)
{
	struct link l = { 0 };

	link_open(&l, "unit.o", "exe", "map");
	l.module_base = l.tls_size; /* of an executable: where offsets from the thread pointer begin */
	for (Elf_Scn *s = NULL; (s = elf_nextscn(l.obj.elf, s));) {
		GElf_Shdr sh;

		gelf_getshdr(s, &sh);
		if (sh.sh_type == SHT_RELA)
			compare_section(&l, s, what);
	}
	link_close(&l);
}

#define COMMON "-fno-asynchronous-unwind-tables -fno-merge-constants -fno-merge-all-constants -fcommon -w"

static void one_case(const char *compiler, const char *flags, bool must_compile)
{
	char what[256];

	snprintf(what, sizeof(what), "%s %s", compiler, flags);
	if (run("cd %s && rm -f unit.o exe && %s %s " COMMON " -c unit.c -o unit.o 2>/dev/null", dir, compiler,
		flags)) {
		if (must_compile)
			fail_msg("%s does not compile", what);
		return;
	}
	/* Text low, for fields of 32 bits; large-model sections are fine anywhere. */
	if (run("cd %s && ld -static --no-relax -z noexecstack -e 0 --defsym=_start=0 -Map=map -o exe $PWD/unit.o "
		"other.o 2>log",
		dir))
		fail_msg("%s does not link", what);
	compare(what);
}

static const char *const flags[] = {
	"-O0 -fno-pic -no-pie",
	"-O1 -fno-pic",
	"-O2 -fno-pic",
	"-O3 -fno-pic",
	"-Os -fno-pic",
	"-O2 -fpie",
	"-O0 -fpic",
	"-O1 -fpic",
	"-O2 -fpic",
	"-O3 -fPIC",
	"-O2 -fPIC -fno-plt",
	"-O0 -fPIC -fno-plt",
	"-O2 -fpic -ffunction-sections -fdata-sections",
	"-O2 -fno-pic -mcmodel=medium",
	"-O2 -fPIC -mcmodel=medium",
	"-O2 -fPIC -mcmodel=medium -mlarge-data-threshold=8",
	"-O2 -fno-pic -mcmodel=large",
	"-O2 -fPIC -mcmodel=large",
	"-O0 -fPIC -mcmodel=large",
	"-O2 -fPIC -mtls-dialect=gnu2",
	"-O0 -fPIC -mtls-dialect=gnu2",
	"-O2 -fPIC -ftls-model=initial-exec",
	"-O2 -fPIC -ftls-model=local-exec",
	"-O2 -fPIC -Wa,-mrelax-relocations=no",
};

static void compiled(const char *compiler)
{
	if (run("command -v %s >/dev/null", compiler)) {
		print_message("no %s here\n", compiler);
		skip();
	}
	for (size_t i = 0; i < SUT_ARRAY_SIZE(flags); i++)
		one_case(compiler, flags[i], !strcmp(compiler, "gcc"));
}

static void test_gcc(void **state)
{
	compiled("gcc");
}

static void test_clang(void **state)
{
	compiled("clang");
}

static void test_assembler(void **state)
{
	put_file("unit_asm.s", unit_s);
	put_file("other_asm.s", other_s);
	assert_int_equal(
		run("cd %s && as unit_asm.s -o unit.o && as other_asm.s -o other_asm.o && "
		    "ld -static --no-relax -z noexecstack -e 0 -Map=map -o exe $PWD/unit.o other.o other_asm.o",
		    dir),
		0);
	compare("assembler");
}

/* The linker takes 64-bit offsets in the module's block only where they stay what they are: in a library. */
static void test_dtpoff64(void **state)
{
	const struct sut_reloc_howto *howto = arch->reloc_howto(R_X86_64_DTPOFF64);
	struct sut_reloc_values v = { .A = 4 };
	struct file so;
	uint8_t field[8];
	GElf_Sym place, tls;

	put_file("dtp.s",
		 "	.section .tdata,\"awT\",@progbits\n	.quad 0, 0, 0\n	.globl t\n	.hidden t\n"
		 "	.type t, @object\nt:	.quad 0\n	.data\n	.globl place\nplace:	.quad t@DTPOFF + 4\n"
		 "	.section .note.GNU-stack,\"\",@progbits\n");
	assert_int_equal(run("cd %s && as dtp.s -o dtp.o && ld -shared -o dtp.so dtp.o", dir), 0);
	file_open(&so, "dtp.so");
	assert_true(global_by_name(&so, "place", &place));
	for (size_t i = 0; i < so.n_sym; i++) {
		gelf_getsym(so.sym, (int)i, &tls);
		if (!strcmp(elf_strptr(so.elf, so.strndx, tls.st_name), "t"))
			break;
	}
	assert_int_equal(GELF_ST_TYPE(tls.st_info), STT_TLS);
	v.S = tls.st_value;
	assert_int_equal(arch->relocate_field(howto, &v, field), 0);
	assert_memory_equal(field, linked_at(&so, place.st_value, 8), 8);
	seen[R_X86_64_DTPOFF64]++;
	file_close(&so);
}

/* All types that the two compilers emit, and all others that the table knows, were met above. */
static void test_all_types_were_compared(void **state)
{
	for (uint32_t i = 0; i < SUT_ARRAY_SIZE(seen); i++) {
		const struct sut_reloc_howto *h = arch->reloc_howto(i);

		if (h && !seen[i])
			fail_msg("%s was never compared", h->name);
	}
}

/* Initial exec in a shared library keeps its slot: the field against what ld wrote, the slot against its TPOFF64. */
static void test_initial_exec(void **state)
{
	struct file obj, exe;
	unsigned compared = 0;
	GElf_Sym f;

	assert_int_equal(run("cd %s && echo 'extern __thread int e; int f_ie(void) { return e; }' > ie.c && "
			     "gcc -O2 -fPIC -ftls-model=initial-exec -c ie.c -o ie.o && ld -shared -o ie.so ie.o",
			     dir),
			 0);
	file_open(&obj, "ie.o");
	file_open(&exe, "ie.so");
	assert_true(global_by_name(&exe, "f_ie", &f));
	for (Elf_Scn *s = NULL; (s = elf_nextscn(obj.elf, s));) {
		GElf_Shdr sh, tsh;
		GElf_Rela r, dyn;
		uint8_t field[4];

		gelf_getshdr(s, &sh);
		gelf_getshdr(elf_getscn(obj.elf, sh.sh_info), &tsh);
		if (sh.sh_type != SHT_RELA || !(tsh.sh_flags & SHF_EXECINSTR))
			continue;
		gelf_getrela(elf_getdata(s, NULL), 0, &r);
		assert_int_equal(GELF_R_TYPE(r.r_info), R_X86_64_GOTTPOFF);
		for (Elf_Scn *d = NULL; (d = elf_nextscn(exe.elf, d));) {
			gelf_getshdr(d, &sh);
			if (sh.sh_type != SHT_RELA)
				continue;
			gelf_getrela(elf_getdata(d, NULL), 0, &dyn);
			if (GELF_R_TYPE(dyn.r_info) != arch->dyn_tpoff)
				continue;
			struct sut_reloc_values v = { .P = f.st_value + r.r_offset,
						      .S = dyn.r_offset,
						      .A = r.r_addend };

			assert_int_equal(arch->relocate_field(arch->reloc_howto(R_X86_64_GOTTPOFF), &v, field), 0);
			assert_memory_equal(field, linked_at(&exe, v.P, 4), 4);
			compared++;
		}
	}
	assert_int_equal(compared, 1);
	file_close(&obj);
	file_close(&exe);
}

static int setup(void **state)
{
	elf_version(EV_CURRENT);
	if (!dir_make())
		return -1;
	put_file("unit.c", unit_c);
	put_file("other.c", other_c);
	return run("cd %s && gcc -O2 -fno-pic -w -c other.c -o other.o", dir);
}

static int teardown(void **state)
{
	return dir_remove();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gcc),
		cmocka_unit_test(test_clang),
		cmocka_unit_test(test_assembler),
		cmocka_unit_test(test_dtpoff64),
		cmocka_unit_test(test_all_types_were_compared),
		cmocka_unit_test(test_initial_exec),
	};

	if (run("command -v gcc >/dev/null && command -v ld >/dev/null")) {
		puts("skipped: needs gcc and ld");
		return 77;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
