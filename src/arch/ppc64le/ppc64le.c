/* SPDX-License-Identifier: MIT */
/*
 * ppc64le.c - the table of this architecture. Constants only.
 *
 * README.md in this folder says which facts of the ABI the entries rely on.
 */
#include <elf.h>

#include "arch/ppc64le/ppc64le.h"

const struct sut_arch sut_arch_ppc64le = {
	.name = "ppc64le",
	.e_machine = EM_PPC64,
	.insn_align = 4,
	.jump_size = SUT_PPC_JUMP_SIZE,
	.jump_reach = SUT_PPC_JUMP_REACH,

	.insn_decode = sut_ppc_insn_decode,
	.entry_skip = sut_ppc_entry_skip,
	.entry_offset = sut_ppc_entry_offset,
	.entry_pad = sut_ppc_entry_pad,

	.jump_encode = sut_ppc_jump_encode,
	.jump_decode = sut_ppc_jump_decode,
	.nop_fill = sut_ppc_nop_fill,

	.relocate_entry = sut_ppc_relocate_entry,

	.plt_stub_size = SUT_PPC_PLT_STUB_SIZE,
	.plt_stub = sut_ppc_plt_stub,
	.plt_stub_notoc = sut_ppc_plt_stub_notoc,
	.veneer_size = SUT_PPC_VENEER_SIZE,
	.veneer = sut_ppc_veneer,
	.switch_stub_size = SUT_PPC_SWITCH_STUB_SIZE,
	.switch_stub = sut_ppc_switch_stub,
};
