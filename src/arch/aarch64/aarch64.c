/* SPDX-License-Identifier: MIT */
/*
 * aarch64.c - the table of this architecture. Constants only.
 *
 * README.md in this folder says which facts of the ABI the entries rely on.
 */
#include <elf.h>

#include "arch/aarch64/aarch64.h"

const struct sut_arch sut_arch_aarch64 = {
	.name = "aarch64",
	.e_machine = EM_AARCH64,
	.insn_align = 4,
	.jump_size = SUT_A64_JUMP_SIZE,
	.jump_reach = SUT_A64_JUMP_REACH,

	.insn_decode = sut_a64_insn_decode,
	.entry_skip = sut_a64_entry_skip,
	.entry_pad = sut_a64_entry_pad,
	.entry_join = sut_a64_entry_join,
	.entry_adapter_size = SUT_A64_ADAPTER_SIZE,
	.entry_adapter = sut_a64_entry_adapter,

	.jump_encode = sut_a64_jump_encode,
	.jump_decode = sut_a64_jump_decode,
	.nop_fill = sut_a64_nop_fill,

	.relocate_entry = sut_a64_relocate_entry,

	.veneer_size = SUT_A64_VENEER_SIZE,
	.veneer = sut_a64_veneer,
	.plt_stub_size = SUT_A64_PLT_STUB_SIZE,
	.plt_stub = sut_a64_plt_stub,
	.switch_stub_size = SUT_A64_SWITCH_STUB_SIZE,
	.switch_stub = sut_a64_switch_stub,
};
