/* SPDX-License-Identifier: MIT */
/*
 * ppc64le.c - the table of this architecture. Constants only.
 *
 * README.md in this folder says which facts of the ABI the entries rely on.
 */
#include <elf.h>

#include "arch/ppc64le/ppc64le.h"

/* At a function's first instruction the frame is the caller's and the return address is in LR: no rule means "same". */
static const uint8_t entry_cfi[] = {
	0x0c, 1, 0, /* DW_CFA_def_cfa: r1 + 0 */
};

/* The ABI: 2; 0 where nothing depends on it; 1 is ELFv1, with function descriptors. */
static bool e_flags_fit(uint32_t e_flags)
{
	return e_flags == 2 || e_flags == 0;
}

const struct sut_arch sut_arch_ppc64le = {
	.name = "ppc64le",
	.e_machine = EM_PPC64,
	.e_flags = 2,
	.e_flags_fit = e_flags_fit,
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

	.reloc_howto = sut_ppc_reloc_howto,
	.reloc_howto_at = sut_ppc_reloc_howto_at,
	.relocate_field = sut_ppc_relocate_field,
	.relocate_extra = sut_ppc_relocate_extra,
	.call_way = sut_ppc_call_way,
	.tls_relax = sut_ppc_tls_relax,
	.tls_relax_call = sut_ppc_tls_relax_call,
	.linked_field = sut_ppc_linked_field,
	.stub_decode = sut_ppc_stub_decode,
	.same_branch = sut_ppc_same_branch,
	.plt_stub_size = SUT_PPC_PLT_STUB_SIZE,
	.plt_stub = sut_ppc_plt_stub,
	.plt_stub_notoc = sut_ppc_plt_stub_notoc,
	.veneer_size = SUT_PPC_VENEER_SIZE,
	.veneer = sut_ppc_veneer,
	.switch_stub_size = SUT_PPC_SWITCH_STUB_SIZE,
	.switch_stub = sut_ppc_switch_stub,
	.reloc_abs64 = R_PPC64_ADDR64,
	.reloc_pc32 = R_PPC64_REL32,
	.dyn_glob_dat = R_PPC64_GLOB_DAT,
	.dyn_jump_slot = R_PPC64_JMP_SLOT,
	.dyn_irelative = R_PPC64_IRELATIVE,
	.dyn_tpoff = R_PPC64_TPREL64,
	.dyn_dtpmod = R_PPC64_DTPMOD64,
	.got_bias = 0x8000,
	.dtp_bias = 0x8000,
	.entry_cfi = entry_cfi,
	.entry_cfi_size = sizeof(entry_cfi),
	.tls_above = true,
	.tls_first = -0x7000,

	.regs_size = SUT_PPC_REGS_SIZE,
	.regs_pc = sut_ppc_regs_pc,
	.regs_sp = sut_ppc_regs_sp,
	.regs_set_pc = sut_ppc_regs_set_pc,
	.regs_tp = sut_ppc_regs_tp,
	.n_dwarf_regs = SUT_PPC_N_DWARF_REGS,
	.dwarf_sp = SUT_PPC_R1,
	.dwarf_ra = SUT_PPC_DWARF_LR,
	.dwarf_pc = SUT_PPC_DWARF_PC,
	.regs_from_ucontext = sut_ppc_regs_from_ucontext,
	.regs_dwarf = sut_ppc_regs_dwarf,
	.regs_in_syscall = sut_ppc_regs_in_syscall,
	.red_zone = 288,

	.sysno = sut_ppc_sysno,
	.is_syscall_insn = sut_ppc_is_syscall_insn,
	.regs_set_syscall = sut_ppc_regs_set_syscall,
	.regs_syscall_result = sut_ppc_regs_syscall_result,
	.regs_mask_eintr = sut_ppc_regs_mask_eintr,
	.regs_restart_block = sut_ppc_regs_restart_block,
	.heal_code = sut_ppc_heal_code,
	.heal_code_size = sizeof(sut_ppc_heal_code),
	.heal_syscall_off = 0,
	.sigframe = sut_ppc_sigframe,
	.fpu_sets = sut_ppc_fpu_sets,
	.n_fpu_sets = SUT_PPC_N_FPU_SETS,

	.regs_native = sut_ppc_regs_native,
	.regs_set_sp = sut_ppc_regs_set_sp,
	.regs_set_return = sut_ppc_regs_set_return,
	.syscall_gadgets = sut_ppc_syscall_gadgets,
	.n_syscall_gadgets = SUT_PPC_N_SYSCALL_GADGETS,
	.sigreturn_gadgets = sut_ppc_sigreturn_gadgets,
	.n_sigreturn_gadgets = SUT_PPC_N_SIGRETURN_GADGETS,
};
