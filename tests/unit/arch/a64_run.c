/* SPDX-License-Identifier: MIT */
/*
 * a64_run.c - stubs, moved entries and the healing frame of arm64, run by an arm64 processor (or qemu-user).
 *
 * Description: stubs go where they should and change nothing but x16; a function entered through its moved first
 * instruction gives the results of the original, near and far; behind paciasp the adapter leaves a return
 * address that authenticates; guarded pages (BTI) accept all of it; heal code and frame give back every
 * register, vector register, flag and the signal mask.
 *
 * A static program without a test library; prints one line a case, exits 1 at the first that fails.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <ucontext.h>
#include <unistd.h>

#include "arch/arch.h"

#ifndef PROT_BTI
#define PROT_BTI 0x10
#endif
#ifndef HWCAP2_BTI
#define HWCAP2_BTI (1 << 17)
#endif

static const struct sut_arch *const arch = &sut_arch_aarch64;

#define CHECK(cond)                                                      \
	do {                                                             \
		if (!(cond)) {                                           \
			printf("FAILED line %d: %s\n", __LINE__, #cond); \
			exit(1);                                         \
		}                                                        \
	} while (0)

/* All registers, as the two functions below load and store them. */
struct state {
	uint64_t x[31], sp, nzcv, pad;
	uint8_t q[32][16];
};
_Static_assert(offsetof(struct state, q) == 272, "the code below says so");

struct state in, out;
uint64_t out_sp; /* the stack of C code */

/*
 * sut_go(entry): all registers from `in`, then a jump to the entry through x17. What it leads to must end in sut_land_new,
 * sut_land_orig (which store them to `out`, x16 apart), or in sut_land_sp (which stores all of them at sp).
 */
int sut_go(uint64_t entry);
void sut_land_new(void), sut_land_orig(void), sut_land_sp(void);
asm(".macro each_q op base\n"
    "	.irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
    "	\\op q\\n,[\\base,#(272 + 16 * \\n)]\n"
    "	.endr\n"
    ".endm\n"
    ".macro each_x op base\n"
    "	.irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,18,19,20,21,22,23,24,25,26,27,28,29,30\n"
    "	\\op x\\n,[\\base,#(8 * \\n)]\n"
    "	.endr\n"
    ".endm\n"
    ".text\n"
    ".globl sut_go, sut_land_new, sut_land_orig, sut_land_sp\n"
    "sut_go:\n"
    "	stp x29,x30,[sp,#-192]!\n"
    "	stp x19,x20,[sp,#16]\n"
    "	stp x21,x22,[sp,#32]\n"
    "	stp x23,x24,[sp,#48]\n"
    "	stp x25,x26,[sp,#64]\n"
    "	stp x27,x28,[sp,#80]\n"
    "	stp d8,d9,[sp,#96]\n"
    "	stp d10,d11,[sp,#112]\n"
    "	stp d12,d13,[sp,#128]\n"
    "	stp d14,d15,[sp,#144]\n"
    "	adrp x16,out_sp\n"
    "	add x16,x16,:lo12:out_sp\n"
    "	mov x17,sp\n"
    "	str x17,[x16]\n"
    "	mov x17,x0\n"
    "	adrp x16,in\n"
    "	add x16,x16,:lo12:in\n"
    "	ldr x0,[x16,#256]\n"
    "	msr nzcv,x0\n"
    "	each_q ldr x16\n"
    "	each_x ldr x16\n"
    "	br x17\n"
    "land:\n" /* w0: which; all is stored but sp */
    "	adrp x16,out_sp\n"
    "	ldr x16,[x16,:lo12:out_sp]\n"
    "	mov sp,x16\n"
    "	ldp x19,x20,[sp,#16]\n"
    "	ldp x21,x22,[sp,#32]\n"
    "	ldp x23,x24,[sp,#48]\n"
    "	ldp x25,x26,[sp,#64]\n"
    "	ldp x27,x28,[sp,#80]\n"
    "	ldp d8,d9,[sp,#96]\n"
    "	ldp d10,d11,[sp,#112]\n"
    "	ldp d12,d13,[sp,#128]\n"
    "	ldp d14,d15,[sp,#144]\n"
    "	ldp x29,x30,[sp],#192\n"
    "	ret\n"
    ".macro store_out\n"
    "	adrp x16,out\n"
    "	add x16,x16,:lo12:out\n"
    "	each_x str x16\n"
    "	str x17,[x16,#(8 * 17)]\n"
    "	mov x17,sp\n"
    "	str x17,[x16,#248]\n"
    "	mrs x17,nzcv\n"
    "	str x17,[x16,#256]\n"
    "	each_q str x16\n"
    ".endm\n"
    "sut_land_new:\n"
    "	hint #34\n" /* bti c */
    "	store_out\n"
    "	mov w0,#1\n"
    "	b land\n"
    "sut_land_orig:\n"
    "	store_out\n"
    "	mov w0,#2\n"
    "	b land\n"
    "sut_land_sp:\n"
    "	each_x str sp\n"
    "	str x16,[sp,#(8 * 16)]\n"
    "	str x17,[sp,#(8 * 17)]\n"
    "	mrs x17,nzcv\n"
    "	str x17,[sp,#256]\n"
    "	each_q str sp\n"
    "	mov x17,sp\n"
    "	str x17,[sp,#248]\n"
    "	mov w0,#3\n"
    "	b land\n");

static uint64_t addr_of(void (*f)(void))
{
	return (uint64_t)(uintptr_t)f;
}

static void fill_in(void)
{
	for (unsigned i = 0; i < 31; i++)
		in.x[i] = 0x9e3779b97f4a7c15ull * (i + 1);
	for (unsigned i = 0; i < 32; i++)
		for (unsigned k = 0; k < 16; k++)
			in.q[i][k] = (uint8_t)(i * 16 + k * 7 + 1);
}

/* A page for code near the program, or at a distance from it. */
static uint8_t *page_at(uint64_t at, int prot)
{
	uint8_t *p = mmap((void *)(at & ~0xffffull), 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p != (uint8_t *)(at & ~0xffffull)) {
		printf("FAILED: no memory at 0x%lx\n", at);
		exit(1);
	}
	CHECK(!mprotect(p, 65536, PROT_READ | PROT_EXEC | prot));
	return p;
}

static void write_code(uint8_t *to, const uint8_t *from, size_t len, int prot)
{
	uint8_t *page = (uint8_t *)((uintptr_t)to & ~0xffffull);

	CHECK(!mprotect(page, 65536, PROT_READ | PROT_WRITE));
	memcpy(to, from, len);
	CHECK(!mprotect(page, 65536, PROT_READ | PROT_EXEC | prot));
	__builtin___clear_cache((char *)to, (char *)to + len);
}

/* Runs what stands at @code with all registers and each of the flags known; returns where it led. */
static int run_stub(const uint8_t *code, bool may_use_x17)
{
	int where = 0;

	for (uint64_t nzcv = 0; nzcv < 16; nzcv++) {
		int to;

		fill_in();
		in.nzcv = nzcv << 28;
		memset(&out, 0, sizeof(out));
		to = sut_go((uint64_t)(uintptr_t)code);
		CHECK(!where || to == where);
		where = to;
		for (unsigned i = 0; i < 31; i++)
			if (i != 16 && i != 17)
				CHECK(out.x[i] == in.x[i]);
		CHECK(may_use_x17 || out.x[17] == (uint64_t)(uintptr_t)code); /* as sut_go left it */
		CHECK(out.sp == out_sp);
		CHECK(out.nzcv == in.nzcv);
		CHECK(!memcmp(in.q, out.q, sizeof(in.q)));
	}
	return where;
}

static uint8_t sides[2];

static void test_switch_stub(uint8_t *near)
{
	uint8_t *far = mmap((void *)0x7f0000000000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *side[2] = { sides + 1, far + 77 };
	uint8_t code[64];

	CHECK(far != MAP_FAILED && (uint64_t)(uintptr_t)far >> 33);
	for (unsigned i = 0; i < 2; i++) {
		CHECK(!arch->switch_stub((uint64_t)(uintptr_t)near, (uint64_t)(uintptr_t)side[i], addr_of(sut_land_new),
					 addr_of(sut_land_orig), code));
		write_code(near, code, arch->switch_stub_size, 0);
		*side[i] = 0;
		CHECK(run_stub(near, false) == 2);
		*side[i] = 1;
		CHECK(run_stub(near, false) == 1);
		*side[i] = 0x80;
		CHECK(run_stub(near, false) == 1);
	}
	printf("switch stub: near, far\n");
}

static uint64_t slot;

static void test_plt_stub_and_veneer(uint8_t *near, uint8_t *far, int prot)
{
	uint8_t code[64];

	slot = addr_of(sut_land_new);
	CHECK(!arch->plt_stub((uint64_t)(uintptr_t)near, (uint64_t)(uintptr_t)&slot, code));
	write_code(near, code, arch->plt_stub_size, prot);
	CHECK(run_stub(near, false) == 1);
	CHECK(!arch->veneer((uint64_t)(uintptr_t)near, addr_of(sut_land_orig), code));
	write_code(near, code, arch->veneer_size, 0);
	CHECK(run_stub(near, false) == 2);
	CHECK(!arch->veneer((uint64_t)(uintptr_t)far, addr_of(sut_land_orig), code));
	write_code(far, code, arch->veneer_size, 0);
	CHECK(run_stub(far, false) == 2);
	printf("plt stub, veneer: near, far\n");
}

/* ---- moved entries ------------------------------------------------------------------------------ */

int sut_var = 5;
asm(".text\n"
    ".irp "
    "f,adr,adrp,self,ldrw,ldrx,ldrx4,ldrsw,ldrs,ldrd,ldrq,prfm,b,cond,al,cbz,cbnz,tbz,tbnz,bl,blr,bl4,pac,plain,ret\n"
    "	.globl sut_f_\\f\n" /* else ld gives all of them one GOT slot */
    ".endr\n"
    ".globl sut_call\n"
    ".balign 4\n"
    "sut_other: add w0,w0,#100; ret\n"
    "sut_f_adr: adr x1,1f; ldr w1,[x1]; add w0,w0,w1; ret; .balign 4; 1: .word 77\n"
    "sut_f_adrp: adrp x1,sut_var; ldr w1,[x1,:lo12:sut_var]; add w0,w0,w1; ret\n"
    "sut_f_self: adr x1,sut_f_self; ldrb w1,[x1,#3]; add w0,w0,w1; ret\n"
    "sut_f_ldrw: ldr w1,1f; add w0,w0,w1; ret; .balign 4; 1: .word 0x80000001\n"
    "sut_f_ldrx: ldr x1,1f; lsr x1,x1,#33; add w0,w0,w1; ret; .balign 8; 1: .xword 0x123456789a\n"
    "sut_f_ldrx4: ldr x1,1f; lsr x1,x1,#33; add w0,w0,w1; ret; .balign 8; .word 0; 1: .xword 0x123456789a\n"
    ".balign 4\n"
    "sut_f_ldrsw: ldrsw x1,1f; lsr x1,x1,#4; add w0,w0,w1; ret; .balign 4; 1: .word 0x80000001\n"
    "sut_f_ldrs: ldr s1,1f; fmov w1,s1; add w0,w0,w1; ret; .balign 4; 1: .word 0x12345\n"
    "sut_f_ldrd: ldr d1,1f; fmov x1,d1; add w0,w0,w1; ret; .balign 8; .word 1; 1: .xword 0x12345\n"
    ".balign 4\n"
    "sut_f_ldrq: ldr q1,1f; umov x1,v1.d[1]; add w0,w0,w1; ret; .balign 16; 1: .xword 1, 0x4321\n"
    ".balign 4\n"
    "sut_f_prfm: prfm pldl1keep,sut_f_b; add w0,w0,#3; ret\n"
    "sut_f_b: b 1f; brk #1; 1: add w0,w0,#4; ret\n"
    "sut_f_cond: b.lt 1f; add w0,w0,#5; ret; 1: add w0,w0,#6; ret\n"
    "sut_f_al: b.al 1f; brk #1; 1: add w0,w0,#7; ret\n"
    "sut_f_cbz: cbz w0,1f; add w0,w0,#8; ret; 1: add w0,w0,#9; ret\n"
    "sut_f_cbnz: cbnz x0,1f; add w0,w0,#10; ret; 1: add w0,w0,#11; ret\n"
    "sut_f_tbz: tbz w0,#1,1f; add w0,w0,#12; ret; 1: add w0,w0,#13; ret\n"
    "sut_f_tbnz: tbnz w0,#31,1f; add w0,w0,#14; ret; 1: add w0,w0,#15; ret\n"
    /* its caller keeps the return address in x9 */
    "sut_f_bl: bl sut_other; add w0,w0,#16; ret x9\n"
    "sut_f_blr: blr x10; add w0,w0,#17; ret x9\n"
    "sut_f_bl4: bl 1f; 1: sub x30,x30,#4; adr x1,sut_f_bl4; cmp x1,x30; cinc w0,w0,eq; ret x9\n"
    /* paciasp, autiasp */
    "sut_f_pac: hint #25; stp x29,x30,[sp,#-16]!; add w0,w0,#18; ldp x29,x30,[sp],#16; hint #29; ret\n"
    "sut_f_plain: stp x29,x30,[sp,#-16]!; add w0,w0,#19; ldp x29,x30,[sp],#16; ret\n"
    "sut_f_ret: ret\n"
    /* calls x1 with w0, the flags set by comparing it with 0 */
    "sut_call: stp x29,x30,[sp,#-16]!; mov x9,x1; adr x9,1f; adr x10,sut_other; cmp w0,#0; blr x1; 1: "
    "ldp x29,x30,[sp],#16; ret\n");
int sut_call(int x, uint64_t f);
#define F(name) sut_f_##name(void)
void F(adr), F(adrp), F(self), F(ldrw), F(ldrx), F(ldrx4), F(ldrsw), F(ldrs), F(ldrd), F(ldrq), F(prfm), F(b), F(cond),
	F(al), F(cbz), F(cbnz), F(tbz), F(tbnz), F(bl), F(blr), F(bl4), F(pac), F(plain), F(ret);

static void test_moved(uint8_t *at, const char *where)
{
#define E(name)                     \
	{                           \
#name, sut_f_##name \
	}
	static const struct {
		const char *name;
		void (*f)(void);
	} funcs[] = {
		E(adr),  E(adrp), E(self), E(ldrw), E(ldrx), E(ldrx4), E(ldrsw), E(ldrs),
		E(ldrd), E(ldrq), E(prfm), E(b),    E(cond), E(al),    E(cbz),   E(cbnz),
		E(tbz),  E(tbnz), E(bl),   E(blr),  E(bl4),  E(pac),   E(plain), E(ret),
	};
	unsigned n = sizeof(funcs) / sizeof(funcs[0]);

	for (unsigned i = 0; i < n; i++) {
		uint64_t from = addr_of(funcs[i].f), to = (uint64_t)(uintptr_t)at + 64 * i;
		uint8_t code[64];
		size_t len, moved;

		if (arch->relocate_entry((const uint8_t *)from, 64, 4, from, to, code, sizeof(code), &len, &moved)) {
			printf("FAILED: %s can not be moved %s\n", funcs[i].name, where);
			exit(1);
		}
		write_code((uint8_t *)to, code, len, 0);
		for (int x = -5; x < 20; x++) {
			int want = sut_call(x, from), got = sut_call(x, to);

			if (want != got) {
				printf("FAILED: %s of %d: %d, moved %s %d\n", funcs[i].name, x, want, where, got);
				exit(1);
			}
		}
	}
	printf("%u entries moved %s\n", n, where);
}

/* ---- landing pads ------------------------------------------------------------------------------- */

static void put(uint8_t *p, uint32_t word)
{
	memcpy(p, &word, 4);
}

/*
 * An old function that begins with paciasp, patched behind it: to one that begins so too (entered behind it), and through the
 * adapter to one that does not sign, and to one that signs for itself.
 */
static void test_signed_entry(uint8_t *page, int prot)
{
	uint8_t old[12], pad[4], code[64];
	uint64_t at = (uint64_t)(uintptr_t)page;
	size_t off;

	put(pad, 0xd503233f); /* paciasp */
	CHECK(arch->entry_skip((const uint8_t *)addr_of(sut_f_pac), 4) == 4);
	CHECK(!arch->entry_join(pad, 4, (const uint8_t *)addr_of(sut_f_pac), 4, &off) && off == 4);
	CHECK(arch->entry_join(pad, 4, (const uint8_t *)addr_of(sut_f_plain), 4, &off) == -EOPNOTSUPP);

	memcpy(old, pad, 4);
	CHECK(!arch->jump_encode(at + 4, addr_of(sut_f_pac) + 4, old + 4));
	write_code(page, old, 8, prot);
	CHECK(sut_call(1, at) == 19);

	CHECK(!arch->entry_adapter(pad, 4, at + 64, addr_of(sut_f_plain), code));
	write_code(page + 64, code, arch->entry_adapter_size, prot);
	CHECK(!arch->jump_encode(at + 4, at + 64, old + 4));
	write_code(page, old, 8, prot);
	CHECK(sut_call(1, at) == 20);

	CHECK(!arch->entry_adapter(pad, 4, at + 64, addr_of(sut_f_pac), code));
	write_code(page + 64, code, arch->entry_adapter_size, prot);
	CHECK(sut_call(1, at) == 19);
	printf("signed entries%s\n", prot ? ", guarded" : "");
}

/* A guarded function is entered by blr; the site behind its landing pad leads away by b. */
static void test_guarded(uint8_t *page)
{
	uint64_t at = (uint64_t)(uintptr_t)page;
	uint8_t code[12], stub[64];

	put(code, 0xd503245f); /* bti c */
	CHECK(arch->entry_skip(code, 4) == 4);
	CHECK(!arch->jump_encode(at + 4, addr_of(sut_f_plain), code + 4));
	write_code(page, code, 8, PROT_BTI);
	CHECK(sut_call(1, at) == 20);
	/* A veneer, and a PLT stub whose own address was taken, lead to it. */
	CHECK(!arch->veneer(at + 256, at, stub));
	write_code(page + 256, stub, arch->veneer_size, PROT_BTI);
	slot = at;
	CHECK(!arch->plt_stub(at + 320, (uint64_t)(uintptr_t)&slot, stub));
	write_code(page + 320, stub, arch->plt_stub_size, PROT_BTI);
	CHECK(sut_call(1, at + 320) == 20);
	CHECK(!arch->jump_encode(at + 388, at + 256, code + 4));
	put(code, 0xd503245f); /* bti c */
	write_code(page + 384, code, 8, PROT_BTI);
	CHECK(sut_call(1, at + 384) == 20);
	printf("guarded page: site, stub, veneer\n");
}

/* ---- the healing frame -------------------------------------------------------------------------- */

static _Alignas(64) uint8_t frame[32768], saved[1024];
static struct state *const landed = (struct state *)saved;

/* The NT_ARM_SVE bytes of registers whose low parts are in.q; returns their number. */
static size_t sve_regset(uint8_t *buf, unsigned vl)
{
	size_t regs = 32 * (size_t)vl + 17 * (size_t)(vl / 8), status = (16 + regs + 15) & ~15ull;
	uint16_t v = (uint16_t)vl, live = 1;

	memset(buf, 0, status + 16);
	memcpy(buf + 8, &v, 2);
	memcpy(buf + 12, &live, 2);
	for (size_t i = 0; i < regs; i++)
		buf[16 + i] = (uint8_t)(i * 5 + 3);
	for (unsigned i = 0; i < 32; i++)
		memcpy(buf + 16 + i * vl, in.q[i], 16);
	return status + 16;
}

static void heal_from(const uint8_t *fpu, size_t fpu_size, uint8_t *code)
{
	sigset_t mask, was, now;
	stack_t alt = { .ss_sp = malloc(65536), .ss_size = 65536 }, alt_after;
	struct sut_regs regs = { .size = arch->regs_size };
	uint64_t bits = 1ull << (SIGUSR1 - 1) | 1ull << (SIGRTMIN + 3 - 1), sp, v;
	size_t len;

	sigfillset(&mask);
	CHECK(!sigaltstack(&alt, NULL) && !sigprocmask(SIG_SETMASK, &mask, &was));
	memcpy(regs.raw, in.x, sizeof(in.x));
	v = 0x60000000; /* Z, C */
	memcpy(regs.raw + 264, &v, 8);
	arch->regs_set_pc(&regs, addr_of(sut_land_sp));
	arch->regs_set_sp(&regs, (uint64_t)(uintptr_t)saved);
	CHECK(!arch->sigframe(&regs, fpu, fpu_size, bits, (uint64_t)(uintptr_t)frame, frame, sizeof(frame), &len, &sp));
	CHECK(len <= sizeof(frame));
	memset(frame + len, 0xa5, sizeof(frame) - len); /* the kernel needs no more than was written */
	/* A harmless call first, on registers that are all others. */
	memset(&in, 0x5a, sizeof(in));
	in.x[8] = arch->sysno[SUT_SYS_GETPID];
	memset(saved, 0, sizeof(saved));
	write_code(code, arch->heal_code, arch->heal_code_size, 0);
	asm volatile("" ::: "memory");
	extern int sut_go_on(uint64_t entry, uint64_t sp);
	CHECK(sut_go_on((uint64_t)(uintptr_t)code + arch->heal_syscall_off, sp) == 3);
	fill_in();
	for (unsigned i = 0; i < 31; i++)
		if (landed->x[i] != in.x[i]) {
			printf("FAILED: x%u is 0x%lx after the frame\n", i, landed->x[i]);
			exit(1);
		}
	CHECK(landed->sp == (uint64_t)(uintptr_t)saved);
	CHECK(landed->nzcv == 0x60000000);
	CHECK(!memcmp(landed->q, in.q, sizeof(in.q)));
	CHECK(!sigprocmask(SIG_SETMASK, &was, &now));
	CHECK(sigismember(&now, SIGUSR1) && sigismember(&now, SIGRTMIN + 3) && !sigismember(&now, SIGUSR2));
	CHECK(!sigaltstack(NULL, &alt_after));
	CHECK(alt_after.ss_sp == alt.ss_sp && alt_after.ss_size == alt.ss_size && !alt_after.ss_flags);
	alt.ss_flags = SS_DISABLE;
	CHECK(!sigaltstack(&alt, NULL));
	free(alt.ss_sp);
}

/* As sut_go, on another stack pointer; x16 and x17 are lost here, and must come out of the frame. */
asm(".globl sut_go_on\n"
    "sut_go_on:\n"
    "	mov x9,x1\n"
    "	stp x29,x30,[sp,#-192]!\n"
    "	stp x19,x20,[sp,#16]\n"
    "	stp x21,x22,[sp,#32]\n"
    "	stp x23,x24,[sp,#48]\n"
    "	stp x25,x26,[sp,#64]\n"
    "	stp x27,x28,[sp,#80]\n"
    "	stp d8,d9,[sp,#96]\n"
    "	stp d10,d11,[sp,#112]\n"
    "	stp d12,d13,[sp,#128]\n"
    "	stp d14,d15,[sp,#144]\n"
    "	adrp x16,out_sp\n"
    "	add x16,x16,:lo12:out_sp\n"
    "	mov x17,sp\n"
    "	str x17,[x16]\n"
    "	mov sp,x9\n"
    "	mov x17,x0\n"
    "	adrp x16,in\n"
    "	add x16,x16,:lo12:in\n"
    "	each_q ldr x16\n"
    "	each_x ldr x16\n"
    "	br x17\n");

static void test_heal(uint8_t *code)
{
	static uint8_t fpu[16384];
	uint32_t status[2] = { 0, 0 };

	fill_in();
	memcpy(fpu, in.q, sizeof(in.q));
	memcpy(fpu + sizeof(in.q), status, 8);
	heal_from(fpu, 528, code);
	printf("healing frame: 528 bytes of vector registers\n");
	if (!(getauxval(AT_HWCAP) & HWCAP_SVE))
		return;
	for (unsigned vl = 16; vl <= 256; vl *= 2) {
		int got = prctl(PR_SVE_SET_VL, vl);

		if (got < 0 || (got & 0xffff) != (int)vl)
			continue;
		fill_in();
		heal_from(fpu, sve_regset(fpu, vl), code);
		printf("healing frame: scalable vectors of %u bytes\n", vl);
	}
}

/* ---- registers from a signal -------------------------------------------------------------------- */

static struct sut_regs from_signal;

static void on_signal(int sig, siginfo_t *info, void *uc)
{
	arch->regs_from_ucontext(uc, (uint64_t)(uintptr_t)__builtin_thread_pointer(), &from_signal);
	((ucontext_t *)uc)->uc_mcontext.pc += 4;
}

extern const char sut_trap[];
static void test_ucontext(void)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	uint64_t sp, x5;

	CHECK(!sigaction(SIGTRAP, &sa, NULL));
	asm volatile("mov x5,#0x1234; mov %0,sp; .globl sut_trap; sut_trap: brk #1" : "=r"(sp)::"x5");
	CHECK(arch->regs_pc(&from_signal) == (uint64_t)(uintptr_t)sut_trap);
	CHECK(arch->regs_sp(&from_signal) == sp);
	CHECK(arch->regs_tp(&from_signal) == (uint64_t)(uintptr_t)__builtin_thread_pointer());
	CHECK(arch->regs_dwarf(&from_signal, 5, &x5) && x5 == 0x1234);
	CHECK(arch->strip_code(&from_signal, 0x2f000000401234ull) == 0x401234);
	CHECK(arch->regs_native(&from_signal));
	printf("registers of a signal\n");
}

int main(void)
{
	uint64_t text = addr_of(sut_land_new);
	uint8_t *near = page_at(text + (16 << 20), 0), *mid = page_at(text + (120 << 20), 0);
	uint8_t *far = page_at(0x700000000000, 0);

	setvbuf(stdout, NULL, _IOLBF, 0);
	test_switch_stub(near);
	test_plt_stub_and_veneer(near, far, 0);
	test_moved(near, "by 16 MiB");
	test_moved(mid, "by 120 MiB");
	test_signed_entry(near, 0);
	if (getauxval(AT_HWCAP2) & HWCAP2_BTI) {
		uint8_t *guarded = page_at(text + (32 << 20), PROT_BTI);

		test_signed_entry(guarded, PROT_BTI);
		test_guarded(guarded);
		test_plt_stub_and_veneer(guarded, far, PROT_BTI);
	} else {
		printf("no BTI here\n");
	}
	test_heal(near);
	test_ucontext();
	printf("all passed\n");
	return 0;
}
