/* SPDX-License-Identifier: MIT */
/*
 * branch.c - jumps, no-ops and the two stubs.
 *
 * Encoders are pure: (pc, targets) -> bytes or -ERANGE, in which case what is in the output
 * buffer does not matter. Every stub keeps every register, also those that the ABI calls
 * clobbered (callers may rely on them, see README.md), and leaves the stack pointer alone, so that
 * the call frame information of a function's first instruction holds all through it.
 */
#include <errno.h>
#include <string.h>

#include "arch/x86_64/x86_64.h"

int sut_x86_put_rel32(uint64_t next, uint64_t target, uint8_t *out)
{
	int64_t rel = (int64_t)(target - next);
	int32_t rel32 = (int32_t)rel;

	if (rel32 != rel)
		return -ERANGE;
	memcpy(out, &rel32, sizeof(rel32));
	return 0;
}

int sut_x86_jump_encode(uint64_t pc, uint64_t target, uint8_t *out)
{
	out[0] = 0xe9; /* jmp rel32 */
	return sut_x86_put_rel32(pc + SUT_X86_JUMP_SIZE, target, out + 1);
}

bool sut_x86_jump_decode(const uint8_t *code, uint64_t pc, uint64_t *ret_target)
{
	int32_t rel;

	if (code[0] != 0xe9)
		return false;
	memcpy(&rel, code + 1, sizeof(rel));
	*ret_target = pc + SUT_X86_JUMP_SIZE + (uint64_t)(int64_t)rel;
	return true;
}

void sut_x86_nop_fill(uint8_t *out, size_t len)
{
	static const uint8_t nops[9][9] = {
		{ 0x90 }, /* nop */
		{ 0x66, 0x90 }, /* xchg %ax,%ax */
		{ 0x0f, 0x1f, 0x00 }, /* nopl (%rax) */
		{ 0x0f, 0x1f, 0x40, 0x00 }, /* nopl 0x0(%rax) */
		{ 0x0f, 0x1f, 0x44, 0x00, 0x00 }, /* nopl 0x0(%rax,%rax,1) */
		{ 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00 }, /* nopw 0x0(%rax,%rax,1) */
		{ 0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00 }, /* nopl 0x0(%rax), 32-bit displacement */
		{ 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00 }, /* nopl 0x0(%rax,%rax,1) */
		{ 0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00 }, /* nopw 0x0(%rax,%rax,1) */
	};

	while (len) {
		size_t n = len < sizeof(nops) / sizeof(nops[0]) ? len : sizeof(nops) / sizeof(nops[0]);

		memcpy(out, nops[n - 1], n);
		out += n;
		len -= n;
	}
}

int sut_x86_plt_stub(uint64_t pc, uint64_t slot, uint8_t *out)
{
	static const uint8_t code[10] = {
		0xf3, 0x0f, 0x1e, 0xfa, /* endbr64: the stub's address may be taken */
		0xff, 0x25, 0,    0,    0, 0, /* jmp *slot(%rip) */
	};

	memcpy(out, code, sizeof(code));
	sut_x86_nop_fill(out + sizeof(code), SUT_X86_PLT_STUB_SIZE - sizeof(code));
	return sut_x86_put_rel32(pc + sizeof(code), slot, out + 6);
}

/* The end of both forms, @at bytes into the stub: jne new_func; jmp orig_entry. */
static int switch_tail(uint64_t pc, size_t at, uint64_t new_func, uint64_t orig_entry, uint8_t *out)
{
	out[at] = 0x0f; /* jne rel32 */
	out[at + 1] = 0x85;
	if (sut_x86_put_rel32(pc + at + 6, new_func, out + at + 2))
		return -ERANGE;
	return sut_x86_jump_encode(pc + at + 6, orig_entry, out + at + 6);
}

/*
 * Where the side byte is too far for a displacement (a library's stub, a registry near the executable), it is
 * read by its absolute address, which only rax can do. rax is kept in the red zone: at a function's
 * first instruction the 128 bytes below the stack pointer are the function's own, unused
 * as yet, and signal handlers stay clear of them.
 */
static int switch_stub_far(uint64_t pc, uint64_t side, uint64_t new_func, uint64_t orig_entry, uint8_t *out)
{
	static const uint8_t code[21] = {
		0x48, 0x89, 0x44, 0x24, 0xf8, /* mov %rax,-0x8(%rsp) */
		0xa0, 0,    0,    0,    0,    0, 0, 0, 0, /* movabs side,%al */
		0x84, 0xc0, /* test %al,%al */
		0x48, 0x8b, 0x44, 0x24, 0xf8, /* mov -0x8(%rsp),%rax */
	};

	memcpy(out, code, sizeof(code));
	memcpy(out + 6, &side, sizeof(side));
	return switch_tail(pc, sizeof(code), new_func, orig_entry, out);
}

int sut_x86_switch_stub(uint64_t pc, uint64_t side, uint64_t new_func, uint64_t orig_entry, uint8_t *out)
{
	size_t end = 7 + 6 + 5;

	out[0] = 0x80; /* cmpb $0x0,side(%rip) */
	out[1] = 0x3d;
	out[6] = 0x00;
	if (sut_x86_put_rel32(pc + 7, side, out + 2))
		return switch_stub_far(pc, side, new_func, orig_entry, out);
	memset(out + end, 0xcc, SUT_X86_SWITCH_STUB_SIZE - end); /* int3: never reached */
	return switch_tail(pc, 7, new_func, orig_entry, out);
}
