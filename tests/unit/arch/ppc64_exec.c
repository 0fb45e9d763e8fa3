/* SPDX-License-Identifier: MIT */
/*
 * Description: what the ppc64le encoders write is run: stubs keep every register but those that they may change, moved
 * entries do exactly what the original did, two-word calls bring the TOC pointer back, and the healing frame
 * brings every register back. A static ppc64le program, run by ppc64_exec.sh under an emulator.
 *
 * Each check loads all registers with random values, runs the code, and compares all registers where it ends. Mutations that
 * were tried and seen: a switch stub that goes through r11, or takes the other branch; a notoc stub that stores r2; a moved
 * bc that keeps its link bit, or sets another LR; an addpcis that is off by a word; a prefixed instruction across 64
 * bytes; a frame whose vector registers lie elsewhere; a restore left a no-op. (The emulator does not look at
 * the frame's msr: test_ppc64_regs does.)
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/ppc64le/ppc64le.h"

struct machine {
	uint64_t gpr[32], lr, ctr, xer, cr, id, pad[27];
	uint64_t vs[64][2];
};

#define OUT   ((struct machine *)0x20000000)
#define IN    ((struct machine *)0x20010000)
#define CODE  0x40000000ull /* 96 MiB to put code */
#define BASE  (CODE + 0x3000000)
#define FAR_A 0x123456789000ull /* beyond any branch; the low half of these is negative in one */
#define FAR_B 0x2345678f8000ull
#define DATA  0x30000000ull

void run(uint64_t entry);
extern const uint8_t capture[], capture_id[], capture_end[];

static const struct sut_arch *const arch = &sut_arch_ppc64le;
static unsigned long n_runs;

static void fail(const char *what, const char *detail, uint64_t a, uint64_t b)
{
	printf("FAILED: %s: %s: 0x%llx, expected 0x%llx\n", what, detail, (unsigned long long)a, (unsigned long long)b);
	exit(1);
}

static uint64_t rnd(void)
{
	static uint64_t x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

/* Code is written while nobody may run it. */
static void put(uint64_t addr, const void *bytes, size_t n)
{
	uint64_t page = addr & ~0xffffull;

	if (mprotect((void *)page, 0x20000, PROT_READ | PROT_WRITE))
		fail("mprotect", strerror(errno), addr, 0);
	memcpy((void *)addr, bytes, n);
	if (mprotect((void *)page, 0x20000, PROT_READ | PROT_EXEC))
		fail("mprotect", strerror(errno), addr, 0);
	__builtin___clear_cache((char *)addr, (char *)addr + n);
}

static void put_word(uint64_t addr, uint32_t w)
{
	put(addr, &w, 4);
}

/* A copy of the capture code that says @id. */
static void put_capture(uint64_t addr, unsigned id)
{
	uint8_t code[2048];
	size_t n = (size_t)(capture_end - capture);

	memcpy(code, capture, n);
	sut_ppc_put_word(code + (capture_id - capture), 0x38000000 | id); /* li r0,id */
	put(addr, code, n);
}

static void randomize(void)
{
	for (unsigned i = 0; i < 32; i++)
		IN->gpr[i] = rnd();
	IN->gpr[1] = DATA + 0x8000;
	IN->lr = rnd() & ~3ull;
	IN->ctr = rnd() & 3 ? rnd() : rnd() & 1;
	IN->xer = rnd() & 0xe000007f;
	IN->cr = rnd() & 0xffffffff;
	for (unsigned i = 0; i < 64; i++)
		IN->vs[i][0] = rnd(), IN->vs[i][1] = rnd();
}

#define MAY_R0  1u
#define MAY_R12 2u
#define MAY_CTR 4u
#define MAY_R4  8u

/* Everything is as it was loaded (or as in @want), but what may be different. */
static void same(const char *what, const struct machine *want, unsigned id, unsigned may)
{
	n_runs++;
	if (OUT->id != id)
		fail(what, "ends elsewhere", OUT->id, id);
	for (unsigned i = 0; i < 32; i++) {
		char name[8];

		snprintf(name, sizeof(name), "r%u", i);
		if ((i == 0 && (may & MAY_R0)) || (i == 12 && (may & MAY_R12)) || (i == 4 && (may & MAY_R4)))
			continue;
		if (OUT->gpr[i] != want->gpr[i])
			fail(what, name, OUT->gpr[i], want->gpr[i]);
	}
	if (OUT->lr != want->lr)
		fail(what, "LR", OUT->lr, want->lr);
	if (OUT->ctr != want->ctr && !(may & MAY_CTR))
		fail(what, "CTR", OUT->ctr, want->ctr);
	if (OUT->xer != want->xer)
		fail(what, "XER", OUT->xer, want->xer);
	if (OUT->cr != want->cr)
		fail(what, "CR", OUT->cr, want->cr);
	for (unsigned i = 0; i < 64; i++)
		if (memcmp(OUT->vs[i], want->vs[i], 16))
			fail(what, "a vector register", i, 0);
}

static void go(uint64_t entry)
{
	randomize();
	memset(OUT, 0, sizeof(*OUT));
	run(entry);
}

/* -- stubs ------------------------------------------------------------------------------------- */

static void test_jumps(void)
{
	static const int64_t dist[] = { 8, 0x1000, 0x1fffffc, -0x2000000, -0x10000 };
	uint8_t code[4];
	uint64_t back;

	for (unsigned i = 0; i < sizeof(dist) / sizeof(dist[0]); i++) {
		put_capture(BASE + (uint64_t)dist[i], 1);
		if (arch->jump_encode(BASE, BASE + (uint64_t)dist[i], code))
			fail("jump", "refused", (uint64_t)dist[i], 0);
		if (!arch->jump_decode(code, BASE, &back) || back != BASE + (uint64_t)dist[i])
			fail("jump", "decoded", back, 0);
		put(BASE, code, 4);
		go(BASE);
		same("jump", IN, 1, 0);
	}
}

static void test_veneer(void)
{
	static const uint64_t targets[] = { FAR_A, FAR_B, BASE + 0x40000 };
	uint8_t code[SUT_PPC_VENEER_SIZE];

	for (unsigned i = 0; i < 3; i++) {
		put_capture(targets[i], 2);
		if (arch->veneer(BASE, targets[i], code))
			fail("veneer", "refused", targets[i], 0);
		put(BASE, code, sizeof(code));
		go(BASE);
		same("veneer", IN, 2, MAY_R12 | MAY_CTR);
		if (OUT->gpr[12] != targets[i])
			fail("veneer", "r12 at a global entry", OUT->gpr[12], targets[i]);
	}
}

static void test_plt(bool notoc)
{
	static const uint64_t slots[] = { DATA + 0x100, DATA + 0x8ff8, DATA + 0x18000, DATA + 0x1fff8 };
	uint8_t code[SUT_PPC_PLT_STUB_SIZE];

	put_capture(FAR_A, 3);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t *saved = (uint64_t *)(DATA + 0x8000 + 24);

		*(uint64_t *)slots[i] = FAR_A;
		if ((notoc ? arch->plt_stub_notoc : arch->plt_stub)(BASE, slots[i], code))
			fail("plt", "refused", slots[i], 0);
		put(BASE, code, sizeof(code));
		*saved = 77;
		go(BASE);
		same(notoc ? "plt_stub_notoc" : "plt_stub", IN, 3, MAY_R12 | MAY_CTR);
		if (OUT->gpr[12] != FAR_A)
			fail("plt", "r12 at a global entry", OUT->gpr[12], FAR_A);
		if (*saved != (notoc ? 77 : IN->gpr[2]))
			fail("plt", "24(r1)", *saved, notoc ? 77 : IN->gpr[2]);
	}
	if (!arch->plt_stub(BASE, DATA + 2, code))
		fail("plt", "took an unaligned slot", DATA + 2, 0);
}

static void test_switch(void)
{
	static const uint64_t news[] = { BASE + 0x40000, FAR_A }, olds[] = { BASE + 0x80000, FAR_B };
	static const uint64_t sides[] = { DATA + 1, DATA + 0x7fff, DATA + 0x9001, DATA + 0x1ffff };
	static const uint8_t values[] = { 0, 1, 2, 0x80, 255 };
	uint8_t code[SUT_PPC_SWITCH_STUB_SIZE];

	for (unsigned i = 0; i < 2 * 2 * 4 * 5; i++) {
		uint64_t new_func = news[i & 1], old = olds[i >> 1 & 1], side = sides[i >> 2 & 3];
		uint8_t value = values[i >> 4];

		put_capture(new_func, 4);
		put_capture(old, 5);
		if (arch->switch_stub(BASE, side, new_func, old, code))
			fail("switch", "refused", side, 0);
		put(BASE, code, sizeof(code));
		*(uint8_t *)side = value;
		go(BASE);
		same("switch_stub", IN, value ? 4 : 5, MAY_R12 | MAY_CTR);
	}
}

/* -- calls ------------------------------------------------------------------------------------- */

/* bl f; nop, relocated, with the stub, to a function that changes r2: the caller gets its own back. */
static void test_call(void)
{
	const struct sut_reloc_howto *h = arch->reloc_howto(R_PPC64_REL24);
	struct sut_reloc_values v = { .P = BASE, .S = BASE + 0x40000, .restore_toc = true };
	uint8_t code[8], stub[SUT_PPC_PLT_STUB_SIZE];
	struct sut_reloc_extra extra;

	*(uint64_t *)(DATA + 0x100) = FAR_A;
	put_word(FAR_A, 0x7d846378); /* mr r4,r12 */
	put_word(FAR_A + 4, 0x38400063); /* li r2,99 */
	put_word(FAR_A + 8, 0x4e800020); /* blr */
	arch->plt_stub(BASE + 0x40000, DATA + 0x100, stub);
	put(BASE + 0x40000, stub, sizeof(stub));
	sut_ppc_put_word(code, SUT_PPC_BL);
	sut_ppc_put_word(code + 4, SUT_PPC_NOP);
	if (arch->relocate_field(h, &v, code) || !arch->relocate_extra(h, &v, &extra))
		fail("call", "refused", 0, 0);
	sut_ppc_put_word(code + extra.off, (uint32_t)extra.set);
	put(BASE, code, sizeof(code));
	put_capture(BASE + 8, 6);
	go(BASE);
	IN->lr = BASE + 4;
	same("call", IN, 6, MAY_R12 | MAY_CTR | MAY_R4);
	if (OUT->gpr[4] != FAR_A)
		fail("call", "r12 at the function", OUT->gpr[4], FAR_A);
}

/* -- moved entries ----------------------------------------------------------------------------- */

#define FROM   BASE
#define TO     (BASE + 0x200000)
#define TARGET (BASE + 0x4000)

/* Runs the words at FROM, then moved to @to, and compares. Behind them is a copy of the capture code, and one at @target. */
static void move(const char *what, const uint32_t *w, size_t n, uint64_t target, uint64_t to, unsigned may)
{
	uint8_t original[8], moved[64];
	struct machine want, in;
	size_t len, covered;
	int err;

	for (size_t i = 0; i < n; i++)
		sut_ppc_put_word(original + 4 * i, w[i]);
	put_capture(target, 7);
	put_capture(FROM + 4 * n, 8);
	put(FROM, original, 4 * n);
	err = arch->relocate_entry(original, 4 * n, 4, FROM, to, moved, sizeof(moved), &len, &covered);
	if (err || covered != 4 * n)
		fail(what, "not moved", (uint64_t)err, covered);
	put(to, moved, len);
	for (unsigned i = 0; i < 8; i++) {
		randomize();
		if (i & 1)
			IN->ctr = i >> 1;
		in = *IN;
		in.gpr[9] = IN->gpr[9] = target; /* for those that go or load through it */
		run(FROM);
		want = *OUT;
		*IN = in;
		run(to);
		same(what, &want, (unsigned)want.id, may);
	}
}

static uint32_t rel(uint32_t w, int64_t d)
{
	return w | ((uint32_t)d & (SUT_PPC_OP(w) == 16 ? 0xfffc : 0x03fffffc));
}

static void test_moved_branches(void)
{
	static const uint8_t bos[] = { 0, 2, 4, 8, 10, 12, 16, 18, 20 };
	const int64_t d = TARGET - FROM;
	uint32_t w;

	w = rel(0x48000000, d); /* b */
	move("b", &w, 1, TARGET, TO, 0);
	w = rel(0x48000001, d); /* bl */
	move("bl", &w, 1, TARGET, TO, MAY_R0);
	w = 0x48000005; /* bl .+4 */
	move("bl .+4", &w, 1, TARGET, TO, MAY_R0);
	w = 0x429f0005; /* bcl 20,31,.+4 */
	move("bcl 20,31,.+4", &w, 1, TARGET, TO, MAY_R0);
	for (unsigned i = 0; i < 9 * 32; i++) {
		uint32_t bo = bos[i >> 5], bi = i & 31;

		w = rel(0x40000000 | bo << 21 | bi << 16, d); /* bc, far and near */
		move("bc", &w, 1, TARGET, TO, 0);
		if (!(i & 7))
			move("bc, near", &w, 1, TARGET, FROM + 0x2000, 0);
		w |= 1; /* bcl */
		move("bcl", &w, 1, TARGET, TO, MAY_R0);
		if (!(i & 7))
			move("bcl, near", &w, 1, TARGET, FROM + 0x2000, MAY_R0);
		if (bo >= 16 && bo < 20)
			w = 0x40000005 | bo << 21 | bi << 16; /* bdnzl .+4 */
		move("bcl .+4", &w, 1, TARGET, TO, MAY_R0);
	}
}

static void test_moved_others(void)
{
	static const uint32_t plain[] = {
		0x7c0802a6, /* mflr r0 */
		0xf821ffe1, /* stdu r1,-32(r1) */
		0x7c691b79, /* mr. r9,r3 */
		0x60000000, /* nop */
		0x2c030000, /* cmpdi r3,0 */
		0x38630001, /* addi r3,r3,1 */
	};
	uint32_t w;

	for (unsigned i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		move("a plain instruction", &plain[i], 1, TARGET, TO, 0);
	for (unsigned i = 0; i < 32; i++) {
		w = 0x4c000004 | (uint32_t)(rnd() & 0x1fffc1) | i << 21; /* addpcis rN */
		if (i != 1)
			move("addpcis", &w, 1, TARGET, TO, 0);
	}
}

/* bctr, bctrl and their conditional forms go where CTR says. */
static void test_moved_ctr(void)
{
	static const uint32_t words[] = { 0x4e800420, 0x4e800421, 0x4d820420,
					  0x4c820421 }; /* bctr, bctrl, beqctr, bnectrl */
	uint8_t moved[64];
	size_t len, covered;

	put_capture(TARGET, 7);
	put_capture(FROM + 4, 8);
	for (unsigned i = 0; i < 16; i++) {
		uint32_t w = words[i & 3];
		struct machine want, in;

		put_word(FROM, w);
		if (arch->relocate_entry((const uint8_t *)FROM, 4, 4, FROM, TO, moved, sizeof(moved), &len, &covered))
			fail("bctr", "not moved", w, 0);
		put(TO, moved, len);
		randomize();
		IN->ctr = TARGET;
		in = *IN;
		run(FROM);
		want = *OUT;
		*IN = in;
		run(TO);
		same("bctr", &want, (unsigned)want.id, w & 1 ? MAY_R0 : 0);
	}
}

/* Prefixed instructions, at addresses where they would cross 64 bytes as well. */
static void test_moved_prefixed(void)
{
	static const uint32_t words[][2] = {
		{ 0x06100001, 0x38602345 }, /* pla r3,0x12345 */
		{ 0x0613fffe, 0x38801234 }, /* pla r4,-0x1edcc */
		{ 0x04100000, 0xe4a00040 }, /* pld r5,64 */
		{ 0x06100000, 0x80c00040 }, /* plwz r6,64 */
		{ 0x06000001, 0x38650001 }, /* paddi r3,r5,65537 */
		{ 0x07000000, 0x00000000 }, /* pnop */
	};

	for (unsigned i = 0; i < 6; i++)
		for (uint64_t to = TO + 48; to <= TO + 72; to += 4)
			move("a prefixed instruction", words[i], 2, TARGET, to, 0);
}

/* -- the healing frame ------------------------------------------------------------------------- */

/* The kernel takes the frame from r1; qemu-user's own rt_sigreturn from so much further up. */
#define EMULATED 144

static void test_heal(void)
{
	static const uint64_t args[6];
	uint8_t fpu[1064], frame[2048];
	struct sut_regs regs = { .size = SUT_PPC_REGS_SIZE };
	struct machine want;
	uint64_t sp, mask = 1ull << (SIGUSR2 - 1);
	sigset_t now, old;
	size_t len;

	sigprocmask(SIG_SETMASK, NULL, &old);
	randomize();
	want = *IN;
	want.gpr[13] = IN->gpr[13];
	for (unsigned i = 0; i < 32; i++) {
		sut_ppc_set_reg(&regs, i, want.gpr[i]);
		/* The upper half of vs0..31 is what floating point has: doubleword 1 of the little-endian store */
		memcpy(fpu + 8 * i, &want.vs[i][1], 8);
		memcpy(fpu + 264 + 16 * i, want.vs[32 + i], 16);
		memcpy(fpu + 264 + 544 + 8 * i, &want.vs[i][0], 8);
	}
	memset(fpu + 256, 0, 8); /* fpscr */
	memset(fpu + 264 + 512, 0, 32); /* vscr, vrsave */
	put_capture(TARGET, 9);
	sut_ppc_set_reg(&regs, SUT_PPC_NIP, TARGET);
	sut_ppc_set_reg(&regs, SUT_PPC_MSR, 0x8000000000000001ull | 1 << 14 | 1 << 13);
	sut_ppc_set_reg(&regs, SUT_PPC_CTR, want.ctr);
	sut_ppc_set_reg(&regs, SUT_PPC_LR, want.lr);
	sut_ppc_set_reg(&regs, SUT_PPC_XER, want.xer);
	sut_ppc_set_reg(&regs, SUT_PPC_CCR, want.cr);
	if (arch->sigframe(&regs, fpu, sizeof(fpu), mask, DATA + 0x10000, frame, sizeof(frame), &len, &sp))
		fail("sigframe", "refused", 0, 0);
	memcpy((void *)(DATA + 0x10000), frame, len);
	put(BASE, arch->heal_code, arch->heal_code_size);
	/* The registers as for a system call in the heal code; all others are somebody's. */
	arch->regs_set_syscall(&regs, BASE, arch->sysno[SUT_SYS_GETPID], args);
	arch->regs_set_sp(&regs, sp - EMULATED);
	randomize();
	for (unsigned i = 0; i < 32; i++)
		IN->gpr[i] = sut_ppc_reg(&regs, i);
	memset(OUT, 0, sizeof(*OUT));
	run(sut_ppc_regs_pc(&regs));
	same("heal", &want, 9, 0);
	sigprocmask(SIG_SETMASK, &old, &now);
	if (!sigismember(&now, SIGUSR2) || sigismember(&now, SIGUSR1))
		fail("heal", "the signal mask", 0, 0);
}

static void map(uint64_t addr, size_t len)
{
	void *p = mmap((void *)addr, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);

	if (p != (void *)addr)
		fail("mmap", strerror(errno), (uint64_t)p, addr);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	map(0x20000000, 0x30000);
	map(DATA, 0x40000);
	map(CODE, 0x6000000);
	map(FAR_A & ~0xffffull, 0x30000);
	map(FAR_B & ~0xffffull, 0x30000);
	test_jumps();
	test_veneer();
	test_plt(false);
	test_plt(true);
	test_switch();
	test_call();
	test_moved_branches();
	test_moved_others();
	test_moved_ctr();
	if (argc > 1 && !strcmp(argv[1], "prefixed"))
		test_moved_prefixed();
	test_heal();
	printf("%lu runs, all registers compared\n", n_runs);
	return 0;
}
