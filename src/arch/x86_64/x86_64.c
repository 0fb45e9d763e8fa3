/* SPDX-License-Identifier: MIT */
/*
 * x86_64.c - the table of this architecture. Constants only.
 *
 * README.md in this folder says which facts of the ABI the entries rely on.
 */
#include <elf.h>

#include "arch/x86_64/linked.h"
#include "arch/x86_64/x86_64.h"

/*
 * At a function's first instruction the return address is on top of the stack; what stubs
 * of ours do keeps it so. Factors are of data alignment -8.
 */
static const uint8_t entry_cfi[] = {
	0x0c,      7, 8, /* DW_CFA_def_cfa: r7 (rsp) + 8 */
	0x80 | 16, 1, /* DW_CFA_offset: r16 (return address) at cfa - 8 */
};

const struct sut_arch sut_arch_x86_64 = {
	.name = "x86_64",
	.e_machine = EM_X86_64,
	.insn_align = 1,
	.jump_size = SUT_X86_JUMP_SIZE,
	.jump_reach = SUT_X86_JUMP_REACH,

	.insn_decode = sut_x86_insn_decode,
	.entry_skip = sut_x86_entry_skip,

	.jump_encode = sut_x86_jump_encode,
	.jump_decode = sut_x86_jump_decode,
	.nop_fill = sut_x86_nop_fill,

	.relocate_entry = sut_x86_relocate_entry,

	.reloc_howto = sut_x86_reloc_howto,
	.relocate_field = sut_x86_relocate_field,
	.tls_relax = sut_x86_tls_relax,
	.linked_field = sut_x86_64_linked_field,
	.same_branch = sut_x86_64_same_branch,
	.plt_stub_size = SUT_X86_PLT_STUB_SIZE,
	.plt_stub = sut_x86_plt_stub,
	.switch_stub_size = SUT_X86_SWITCH_STUB_SIZE,
	.switch_stub = sut_x86_switch_stub,
	.reloc_abs64 = R_X86_64_64,
	.reloc_pc32 = R_X86_64_PC32,
	.dyn_glob_dat = R_X86_64_GLOB_DAT,
	.dyn_jump_slot = R_X86_64_JUMP_SLOT,
	.dyn_irelative = R_X86_64_IRELATIVE,
	.dyn_tpoff = R_X86_64_TPOFF64,
	.dyn_dtpmod = R_X86_64_DTPMOD64,
	.entry_cfi = entry_cfi,
	.entry_cfi_size = sizeof(entry_cfi),
	.tls_addend_bias = 4,

	.regs_size = SUT_X86_REGS_SIZE,
	.regs_pc = sut_x86_regs_pc,
	.regs_sp = sut_x86_regs_sp,
	.regs_set_pc = sut_x86_regs_set_pc,
	.regs_tp = sut_x86_regs_tp,
	.n_dwarf_regs = SUT_X86_N_DWARF_REGS,
	.dwarf_sp = 7,
	.dwarf_ra = 16,
	.dwarf_pc = 16,
	.regs_from_ucontext = sut_x86_regs_from_ucontext,
	.regs_dwarf = sut_x86_regs_dwarf,
	.regs_in_syscall = sut_x86_regs_in_syscall,
	.red_zone = 128,

	.sysno = sut_x86_sysno,
	.is_syscall_insn = sut_x86_is_syscall_insn,
	.regs_set_syscall = sut_x86_regs_set_syscall,
	.regs_syscall_result = sut_x86_regs_syscall_result,
	.regs_mask_eintr = sut_x86_regs_mask_eintr,
	.regs_restart_block = sut_x86_regs_restart_block,
	.heal_code = sut_x86_heal_code,
	.heal_code_size = sizeof(sut_x86_heal_code),
	.heal_syscall_off = SUT_X86_HEAL_SYSCALL_OFF,
	.sigframe = sut_x86_sigframe,
	.has_sigframe = sut_x86_has_sigframe,
	.fpu_regset = NT_X86_XSTATE,

	.regs_native = sut_x86_regs_native,
	.regs_set_sp = sut_x86_regs_set_sp,
	.syscall_gadgets = sut_x86_syscall_gadgets,
	.n_syscall_gadgets = SUT_X86_N_SYSCALL_GADGETS,
	.sigreturn_gadgets = sut_x86_sigreturn_gadgets,
	.n_sigreturn_gadgets = SUT_X86_N_SIGRETURN_GADGETS,
};
