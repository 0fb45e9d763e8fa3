/* SPDX-License-Identifier: MIT */
/*
 * aarch64.c - the table of this architecture. Constants only.
 *
 * README.md in this folder says which facts of the ABI the entries rely on.
 */
#include <elf.h>

#include "arch/aarch64/aarch64.h"

/*
 * At a function's first instruction the return address is in x30 and the stack is the caller's; what stubs of ours do
 * keeps it so.
 */
static const uint8_t entry_cfi[] = {
	0x0c, 31, 0, /* DW_CFA_def_cfa: r31 (sp) + 0 */
};

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

	.reloc_howto = sut_a64_reloc_howto,
	.relocate_field = sut_a64_relocate_field,
	.tls_relax = sut_a64_tls_relax,
	.linked_field = sut_a64_linked_field,
	.stub_decode = sut_a64_stub_decode,
	.same_branch = sut_a64_same_branch,
	.veneer_size = SUT_A64_VENEER_SIZE,
	.veneer = sut_a64_veneer,
	.plt_stub_size = SUT_A64_PLT_STUB_SIZE,
	.plt_stub = sut_a64_plt_stub,
	.switch_stub_size = SUT_A64_SWITCH_STUB_SIZE,
	.switch_stub = sut_a64_switch_stub,
	.reloc_abs64 = R_AARCH64_ABS64,
	.reloc_pc32 = R_AARCH64_PREL32,
	.dyn_glob_dat = R_AARCH64_GLOB_DAT,
	.dyn_jump_slot = R_AARCH64_JUMP_SLOT,
	.dyn_irelative = R_AARCH64_IRELATIVE,
	.dyn_tpoff = R_AARCH64_TLS_TPREL,
	.dyn_dtpmod = R_AARCH64_TLS_DTPMOD,
	.entry_cfi = entry_cfi,
	.entry_cfi_size = sizeof(entry_cfi),
	.tls_above = true,
	.tls_first = 16, /* the thread control block */

	.regs_size = SUT_A64_REGS_SIZE,
	.regs_pc = sut_a64_regs_pc,
	.regs_sp = sut_a64_regs_sp,
	.regs_set_pc = sut_a64_regs_set_pc,
	.regs_tp = sut_a64_regs_tp,
	.n_dwarf_regs = SUT_A64_N_DWARF_REGS,
	.dwarf_sp = 31,
	.dwarf_ra = 30,
	.dwarf_pc = SUT_A64_DWARF_PC,
	.more_regsets = sut_a64_more_regsets,
	.n_more_regsets = SUT_A64_N_MORE_REGSETS,
	.strip_code = sut_a64_strip_code,
	.regs_from_ucontext = sut_a64_regs_from_ucontext,
	.sigframe_ucontext = 128, /* behind siginfo */
	.regs_dwarf = sut_a64_regs_dwarf,
	.regs_in_syscall = sut_a64_regs_in_syscall,
	.red_zone = 0,

	.sysno = sut_a64_sysno,
	.is_syscall_insn = sut_a64_is_syscall_insn,
	.regs_set_syscall = sut_a64_regs_set_syscall,
	.regs_syscall_result = sut_a64_regs_syscall_result,
	.regs_mask_eintr = sut_a64_regs_mask_eintr,
	.regs_mask_eintr_seen = sut_a64_regs_mask_eintr_seen,
	.regs_resume_seen = sut_a64_regs_resume_seen,
	.regs_restart_block = sut_a64_regs_restart_block,
	.heal_code = sut_a64_heal_code,
	.heal_code_size = sizeof(sut_a64_heal_code),
	.heal_syscall_off = SUT_A64_HEAL_SYSCALL_OFF,
	.sigframe = sut_a64_sigframe,
	.fpu_regset = NT_PRFPREG,
	.fpu_regset_wide = NT_ARM_SVE,

	.regs_native = sut_a64_regs_native,
	.regs_set_sp = sut_a64_regs_set_sp,
	.regs_set_return = sut_a64_regs_set_return,
	.syscall_gadgets = sut_a64_syscall_gadgets,
	.n_syscall_gadgets = SUT_A64_N_SYSCALL_GADGETS,
	.sigreturn_gadgets = sut_a64_sigreturn_gadgets,
	.n_sigreturn_gadgets = SUT_A64_N_SIGRETURN_GADGETS,
};
