/* SPDX-License-Identifier: MIT */
/*
 * Description: jumps reach exactly as far as they say; no-ops are no-ops; stubs go where they should and
 * change nothing but the flags (all registers compared before and after, by running them).
 */
#include <stdarg.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "arch/arch.h"
#include "util/util.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

static const struct sut_arch *const arch = &sut_arch_x86_64;

static void test_jump(void **state)
{
	const uint64_t pc = 0x7f0012345678ull, top = pc + 5 + 0x7fffffff, bottom = pc + 5 - 0x80000000ull;
	uint8_t code[5];
	uint64_t to;

	assert_int_equal(arch->jump_size, sizeof(code));
	assert_int_equal(arch->jump_encode(pc, top, code), 0);
	assert_memory_equal(code, "\xe9\xff\xff\xff\x7f", 5);
	assert_true(arch->jump_decode(code, pc, &to));
	assert_true(to == top);
	assert_int_equal(arch->jump_encode(pc, bottom, code), 0);
	assert_memory_equal(code, "\xe9\x00\x00\x00\x80", 5);
	assert_true(arch->jump_decode(code, pc, &to));
	assert_true(to == bottom);
	assert_int_equal(arch->jump_encode(pc, top + 1, code), -ERANGE);
	assert_int_equal(arch->jump_encode(pc, bottom - 1, code), -ERANGE);
	assert_int_equal(arch->jump_encode(pc, 0, code), -ERANGE);
	code[0] = 0xe8;
	assert_false(arch->jump_decode(code, pc, &to));
}

/* Two places less than jump_reach apart reach each other, whatever jump in whatever direction. */
static void test_reach(void **state)
{
	const uint64_t pc = 0x555500000000ull;
	uint8_t code[5];

	assert_int_equal(arch->jump_encode(pc, pc + arch->jump_reach - 1, code), 0);
	assert_int_equal(arch->jump_encode(pc, pc - arch->jump_reach + 1, code), 0);
}

static void test_nops(void **state)
{
	for (size_t len = 0; len < 40; len++) {
		uint8_t code[41];

		code[len] = 0x42;
		arch->nop_fill(code, len);
		assert_int_equal(code[len], 0x42);
		for (size_t at = 0; at < len;) {
			struct sut_insn insn;

			assert_int_equal(arch->insn_decode(code + at, len - at, 0, &insn), 0);
			assert_int_equal(insn.kind, SUT_INSN_NOP);
			at += insn.len;
		}
	}
}

/* ---- stubs, run by a traced child ------------------------------------------------------------ */

#define PAGE      4096
#define STUB      0 /* offsets in the code page */
#define NEW_FUNC  1024
#define ORIG      2048
#define STACK_TOP 2048 /* in the data page */
#define SLOT      3072
#define SIDE_NEAR 3080

static uint8_t *code, *data, *far; /* a page each; far: out of reach of code */
static pid_t pid;

static void write_code(size_t off, const uint8_t *from, size_t len)
{
	int fd = open("/proc/self/mem", O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, from, len, (off_t)(uintptr_t)(code + off)), len);
	close(fd);
}

static int setup(void **state)
{
	static const uint8_t spin[] = { 0xeb, 0xfe }; /* jmp . */
	uint64_t at = 0x200000000000ull;

	code = mmap((void *)at, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	data = mmap((void *)(at + (1 << 20)), PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	far = mmap((void *)(at + (1ull << 40)), PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (code == MAP_FAILED || data == MAP_FAILED || far == MAP_FAILED)
		return -1;
	write_code(NEW_FUNC, spin, sizeof(spin));
	write_code(ORIG, spin, sizeof(spin));
	return 0;
}

/* Runs the stub with all registers known, in a child; returns where it led. */
static uint64_t run_stub(void)
{
	struct sut_regs before = { 0 }, after = { 0 };
	struct iovec io = { before.raw, sizeof(before.raw) };
	uint8_t stack[PAGE], seen[PAGE];
	char path[64];
	uint64_t pc;
	int st, fd;

	pid = fork();
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		for (;;)
			pause();
	}
	assert_int_equal(waitpid(pid, &st, 0), pid);
	assert_int_equal(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &io), 0);
	for (unsigned i = 0; i < 15; i++) {
		uint64_t v = 0xfedcba9876543211ull * (i + 1);

		memcpy(before.raw + 8 * i, &v, 8);
	}
	memset(before.raw + 8 * 15, 0xff, 8); /* orig_rax */
	arch->regs_set_pc(&before, (uint64_t)(uintptr_t)code + STUB);
	arch->regs_set_sp(&before, (uint64_t)(uintptr_t)data + STACK_TOP);
	assert_int_equal(ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &io), 0);
	memcpy(stack, data, PAGE);
	do {
		assert_int_equal(ptrace(PTRACE_CONT, pid, 0, 0), 0);
		usleep(2000);
		kill(pid, SIGSTOP);
		assert_int_equal(waitpid(pid, &st, 0), pid);
		assert_true(WIFSTOPPED(st));
		if (WSTOPSIG(st) != SIGSTOP)
			fail_msg("the stub ended in signal %d", WSTOPSIG(st));
		io = (struct iovec){ after.raw, sizeof(after.raw) };
		assert_int_equal(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &io), 0);
		pc = arch->regs_pc(&after);
	} while (pc - (uint64_t)(uintptr_t)code < NEW_FUNC);
	for (unsigned i = 0; i < arch->regs_size / 8; i++) {
		if (i != 16 && i != 18 && memcmp(before.raw + 8 * i, after.raw + 8 * i, 8)) /* not pc, flags */
			fail_msg("register %u changed", i);
	}
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY);
	assert_int_equal(pread(fd, seen, PAGE, (off_t)(uintptr_t)data), PAGE);
	close(fd);
	assert_memory_equal(stack + STACK_TOP, seen + STACK_TOP, PAGE - STACK_TOP); /* at and above sp */
	assert_memory_equal(stack, seen, STACK_TOP - arch->red_zone);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return pc - (uint64_t)(uintptr_t)code;
}

static void switch_stub(uint8_t *side)
{
	uint8_t out[64];

	memset(out, 0x42, sizeof(out));
	assert_int_equal(arch->switch_stub((uint64_t)(uintptr_t)code, (uint64_t)(uintptr_t)side,
					   (uint64_t)(uintptr_t)code + NEW_FUNC, (uint64_t)(uintptr_t)code + ORIG, out),
			 0);
	assert_int_equal(out[arch->switch_stub_size], 0x42);
	write_code(STUB, out, arch->switch_stub_size);
	memset(data, 0x77, PAGE);
	*side = 0;
	assert_int_equal(run_stub(), ORIG);
	*side = 1;
	assert_int_equal(run_stub(), NEW_FUNC);
	*side = 0x80;
	assert_int_equal(run_stub(), NEW_FUNC);
}

static void test_switch_stub_near(void **state)
{
	switch_stub(data + SIDE_NEAR);
}

static void test_switch_stub_far(void **state)
{
	switch_stub(far + 17);
}

static void test_switch_stub_out_of_reach(void **state)
{
	uint8_t out[64];
	uint64_t pc = (uint64_t)(uintptr_t)code, side = (uint64_t)(uintptr_t)far;

	assert_int_equal(arch->switch_stub(pc, pc, side, pc, out), -ERANGE);
	assert_int_equal(arch->switch_stub(pc, pc, pc, side, out), -ERANGE);
	assert_int_equal(arch->switch_stub(pc, side, side, pc, out), -ERANGE);
}

static void test_plt_stub(void **state)
{
	uint8_t out[64];
	uint64_t target = (uint64_t)(uintptr_t)code + NEW_FUNC, pc = (uint64_t)(uintptr_t)code;

	memset(out, 0x42, sizeof(out));
	assert_int_equal(arch->plt_stub(pc, (uint64_t)(uintptr_t)data + SLOT, out), 0);
	assert_int_equal(out[arch->plt_stub_size], 0x42);
	write_code(STUB, out, arch->plt_stub_size);
	memcpy(data + SLOT, &target, 8);
	assert_int_equal(run_stub(), NEW_FUNC);
	assert_int_equal(arch->plt_stub(pc, (uint64_t)(uintptr_t)far, out), -ERANGE);
}

static void test_stubs_elsewhere(void **state)
{
	print_message("x86-64 stubs can not be run here\n");
	skip();
}

int main(void)
{
	const struct CMUnitTest everywhere[] = {
		cmocka_unit_test(test_jump),
		cmocka_unit_test(test_reach),
		cmocka_unit_test(test_nops),
	};
	const struct CMUnitTest host[] = {
		cmocka_unit_test(test_switch_stub_near),
		cmocka_unit_test(test_switch_stub_far),
		cmocka_unit_test(test_switch_stub_out_of_reach),
		cmocka_unit_test(test_plt_stub),
	};
	const struct CMUnitTest elsewhere[] = { cmocka_unit_test(test_stubs_elsewhere) };
	int err = cmocka_run_group_tests(everywhere, NULL, NULL);

	if (sut_arch_host() != arch)
		return cmocka_run_group_tests(elsewhere, NULL, NULL) || err;
	return cmocka_run_group_tests(host, setup, NULL) || err;
}
