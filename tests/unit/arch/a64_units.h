/* SPDX-License-Identifier: MIT */
/* a64_units.h - the sources that arm64's linker tests compile: a unit with references of all kinds, and what it needs. */
#ifndef SUT_TEST_A64_UNITS_H
#define SUT_TEST_A64_UNITS_H

/* The thread-local block is large, so that high parts of offsets are not 0. */
static const char other_c[] =
	"int ext_func(int x) { return x + 1; }\n"
	"int ext_func2(int x) { return x + 2; }\n"
	"int ext_data = 11, ext_array[16];\n"
	"char ext_char = 1; short ext_short = 2; long ext_long = 3; double ext_double = 4; long double ext_quad = 5;\n"
	"char ext_big[100000];\n"
	"__thread int pad_tls[40000] = { 1 }, ext_tls = 12, ext_tls2;\n"
	"__thread char ext_tls_char; __thread short ext_tls_short; __thread long ext_tls_long = 4;\n"
	"#ifdef TLS_GET_ADDR\n"
	"void *__tls_get_addr(void *p) { return p; }\n"
	"#endif\n";

static const char unit_c[] =
	"extern int ext_func(int), ext_func2(int);\n"
	"extern int ext_data, ext_array[16];\n"
	"extern char ext_char; extern short ext_short; extern long ext_long; extern double ext_double;\n"
	"extern long double ext_quad;\n"
	"extern char ext_big[];\n"
	"extern __thread int ext_tls, ext_tls2;\n"
	"extern __thread char ext_tls_char; extern __thread short ext_tls_short; extern __thread long ext_tls_long;\n"
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
	"long f_sizes(void) { return ext_char + ext_short + ext_long; }\n"
	"void f_store(int x) { ext_char = x; ext_short = x; ext_long = x; ext_double = x; }\n"
	"double f_double(double d) { return d * ext_double + 3.14159265358979; }\n"
	"long double f_quad(void) { return ext_quad; }\n"
	"int *f_addr(void) { return &ext_data; }\n"
	"int *f_addr2(void) { return &ext_array[5]; }\n"
	"void *f_ptr(void) { return (void *)ext_func; }\n"
	"void *f_ptr2(void) { return (void *)helper; }\n"
	"int f_weak(int x) { return weak_func ? weak_func(x) : 0; }\n"
	"int f_test(void) { return ext_data != 0; }\n"
	"int f_tls(int x) { ext_tls += x; return ext_tls2 + own_tls; }\n"
	"long f_tls_sizes(void) { return ext_tls_char + ext_tls_short + ext_tls_long; }\n"
	"int f_tls_local(int x) { local_tls += x; local_tls2 ^= local_tls; return local_tls2; }\n"
	"int *f_tls_addr(void) { return &ext_tls; }\n"
	"int *f_tls_addr_local(void) { return &local_tls; }\n"
	"int f_switch(int x, int y)\n"
	"{ switch (x) { case 0: return ext_func(y); case 1: return y * 3; case 2: return ext_func2(y) + 7;\n"
	"case 3: return local_data; case 4: return ext_data - y; case 5: return helper(y);\n"
	"case 6: return y ^ 0x55; default: return -1; } }\n"
	"const char *f_string(int x) { return x ? names[x] : \"a string\"; }\n";

#define COMMON "-fno-asynchronous-unwind-tables -fno-merge-constants -fno-merge-all-constants -fno-stack-protector -w"

static const char *const compilers[] = { "aarch64-linux-gnu-gcc", "clang --target=aarch64-linux-gnu" };

/* Options, each with each compiler that knows them. */
static const char *const flags[] = {
	"-O0 -fno-pic",
	"-O1 -fno-pic",
	"-O2 -fno-pic",
	"-O3 -fno-pic",
	"-Os -fno-pic",
	"-O2 -fpie",
	"-O0 -fpic",
	"-O1 -fpic",
	"-O2 -fpic",
	"-O3 -fPIC",
	"-O0 -fPIC",
	"-O2 -fPIC -fno-plt",
	"-O2 -fpic -ffunction-sections -fdata-sections",
	"-O2 -fno-pic -mcmodel=tiny",
	"-O2 -fPIC -mcmodel=tiny",
	"-O0 -fno-pic -mcmodel=large",
	"-O2 -fno-pic -mcmodel=large",
	"-O2 -fPIC -mtls-dialect=trad",
	"-O0 -fPIC -mtls-dialect=trad",
	"-O2 -fPIC -ftls-model=local-dynamic",
	"-O2 -fPIC -mllvm -aarch64-elf-ldtls-generation=1",
	"-O2 -fPIC -ftls-model=initial-exec",
	"-O2 -fPIC -ftls-model=initial-exec -mcmodel=tiny",
	"-O2 -fno-pic -ftls-model=local-exec",
	"-O2 -fno-pic -ftls-model=local-exec -mtls-size=32",
	"-O2 -fno-pic -ftls-model=local-exec -mtls-size=48",
	"-O2 -fPIC -mbranch-protection=standard",
	"-O2 -fno-pic -mno-outline-atomics -mstrict-align",
};

/* What compilers emit seldom or not at all, and every width. */
static const char unit_s[] = "	.text\n"
			     "	.globl f_asm\n"
			     "f_asm:\n"
			     "	.reloc ., R_AARCH64_NONE, ext_data\n"
			     "	nop\n"
			     "	movz x0,#:abs_g0:small\n"
			     "	movk x0,#:abs_g0_nc:ext_data\n"
			     "	movz x0,#:abs_g1:ext_data\n"
			     "	movk x0,#:abs_g1_nc:ext_data\n"
			     "	movz x0,#:abs_g2:high\n"
			     "	movk x0,#:abs_g2_nc:huge\n"
			     "	movz x0,#:abs_g3:huge\n"
			     "	movz x0,#:abs_g0_s:small\n"
			     "	movz x1,#:abs_g0_s:negative\n"
			     "	movz x1,#:abs_g1_s:negative\n"
			     "	movz x1,#:abs_g1_s:ext_data\n"
			     "	movz x1,#:abs_g2_s:high\n"
			     "	movz x1,#:abs_g2_s:negative\n"
			     "	movz x0,#:prel_g0:near_by\n"
			     "	movz x0,#:prel_g0:f_asm\n"
			     "	movk x0,#:prel_g0_nc:ext_data\n"
			     "	movz x0,#:prel_g1:f_asm\n"
			     "	movz x0,#:prel_g1:ext_data\n"
			     "	movk x0,#:prel_g1_nc:ext_data\n"
			     "	movz x0,#:prel_g2:f_asm\n"
			     "	movk x0,#:prel_g2_nc:ext_data\n"
			     "	movz x0,#:prel_g3:near_by\n"
			     "	ldr x7,near_by\n"
			     "	ldrsw x7,near_by\n"
			     "	ldr q7,near_by\n"
			     "	prfm pldl1keep,near_by\n"
			     "	adr x7,near_by\n"
			     "	adr x7,near_by + 3\n"
			     "	adrp x7,ext_data\n"
			     "	adrp x7,ext_data + 4096\n"
			     "	adrp x7,:pg_hi21_nc:ext_data\n"
			     "	add x7,x7,:lo12:ext_data\n"
			     "	ldrb w7,[x7,:lo12:odd]\n"
			     "	ldrh w7,[x7,:lo12:aligned + 2]\n"
			     "	ldr w7,[x7,:lo12:aligned + 4]\n"
			     "	ldr x7,[x7,:lo12:aligned + 8]\n"
			     "	ldr q7,[x7,:lo12:aligned + 16]\n"
			     "	tbz x7,#33,near_by\n"
			     "	tbnz w7,#3,f_asm\n"
			     "	b.eq near_by\n"
			     "	cbz x7,f_asm\n"
			     "	b near_by\n"
			     "	bl f_asm\n"
			     "	ldr x7,:got:ext_data\n"
			     "	adrp x7,:got:ext_data\n"
			     "	ldr x7,[x7,:got_lo12:ext_data]\n"
			     "	adrp x7,_GLOBAL_OFFSET_TABLE_\n"
			     "	ldr x7,[x7,:gotpage_lo15:ext_data]\n"
			     "	add x7,x7,:dtprel_hi12:ext_tls,lsl #12\n"
			     "	add x7,x7,:dtprel_lo12:first_tls\n"
			     "	add x7,x7,:dtprel_lo12_nc:ext_tls + 4\n"
			     "	movz x7,#:tprel_g2:ext_tls\n"
			     "	movz x7,#:tprel_g1:ext_tls\n"
			     "	movk x7,#:tprel_g1_nc:ext_tls\n"
			     "	movz x7,#:tprel_g0:first_tls\n"
			     "	movk x7,#:tprel_g0_nc:ext_tls\n"
			     "	add x7,x7,:tprel_hi12:ext_tls,lsl #12\n"
			     "	add x7,x7,:tprel_lo12:first_tls\n"
			     "	add x7,x7,:tprel_lo12_nc:ext_tls\n"
			     "	ldrb w7,[x7,:tprel_lo12:first_tls + 1]\n"
			     "	ldrb w7,[x7,:tprel_lo12_nc:ext_tls]\n"
			     "	ldrh w7,[x7,:tprel_lo12:first_tls]\n"
			     "	ldrh w7,[x7,:tprel_lo12_nc:ext_tls]\n"
			     "	ldr w7,[x7,:tprel_lo12:first_tls]\n"
			     "	ldr w7,[x7,:tprel_lo12_nc:ext_tls]\n"
			     "	ldr x7,[x7,:tprel_lo12:first_tls]\n"
			     "	ldr x7,[x7,:tprel_lo12_nc:ext_tls_long]\n"
			     "	.globl near_by\n"
			     "near_by: ret\n"
			     "	.data\n"
			     "	.globl d_asm\n"
			     "d_asm:	.xword ext_func + 1, near_by, ext_func - .\n"
			     "	.word small, ext_data, ext_func - . + 100\n"
			     "	.hword small, medium\n"
			     "	.reloc ., R_AARCH64_PREL16, d_asm + 5\n"
			     "	.hword 0\n"
			     "	.section .tdata,\"awT\",@progbits\n"
			     "	.globl first_tls\n"
			     "	.type first_tls,@object\n"
			     "	.balign 8\n"
			     "first_tls: .xword 7\n"
			     "	.section .note.GNU-stack,\"\",@progbits\n";
static const char other_s[] = "	.globl small, negative, high, huge, medium, odd, aligned\n"
			      "	small = 200\n"
			      "	negative = -100\n"
			      "	medium = 40000\n"
			      "	high = 0x123456789abc\n"
			      "	huge = 0xfedcba9876543210\n"
			      "	.bss\n"
			      "	.balign 16\n"
			      "	.skip 16\n"
			      "aligned: .skip 33\n"
			      "odd:	.skip 1\n"
			      "	.section .note.GNU-stack,\"\",@progbits\n";

#endif
