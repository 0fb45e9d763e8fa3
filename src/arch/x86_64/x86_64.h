/* SPDX-License-Identifier: MIT */
/*
 * x86_64.h - what the files of this architecture share; the table in x86_64.c lists it all.
 *
 * Contracts are those of the members of struct sut_arch (arch/arch.h) with the same names.
 */
#ifndef SUT_ARCH_X86_64_H
#define SUT_ARCH_X86_64_H

#include "arch/arch.h"

/* branch.c */
#define SUT_X86_JUMP_SIZE        5 /* jmp rel32 */
#define SUT_X86_PLT_STUB_SIZE    16
#define SUT_X86_SWITCH_STUB_SIZE 32
/*
 * jmp rel32 counts from its end and reaches 2^31 down, 2^31-1 up. Less than this apart, any
 * instruction of up to 15 bytes with a displacement anywhere in it reaches too.
 */
#define SUT_X86_JUMP_REACH 0x7fffffc0ull

int sut_x86_jump_encode(uint64_t pc, uint64_t target, uint8_t *out);
bool sut_x86_jump_decode(const uint8_t *code, uint64_t pc, uint64_t *ret_target);
void sut_x86_nop_fill(uint8_t *out, size_t len);
int sut_x86_plt_stub(uint64_t pc, uint64_t slot, uint8_t *out);
int sut_x86_switch_stub(uint64_t pc, uint64_t side, uint64_t new_func, uint64_t orig_entry, uint8_t *out);
/** Writes the displacement from @next (the address after the instruction) to @target. 0 or -ERANGE. */
int sut_x86_put_rel32(uint64_t next, uint64_t target, uint8_t *out);

/* insn.c */
int sut_x86_insn_decode(const uint8_t *code, size_t len, uint64_t pc, struct sut_insn *ret);
size_t sut_x86_entry_skip(const uint8_t *code, size_t len);

/* relocate.c */
int sut_x86_relocate_entry(const uint8_t *code, size_t len, size_t min, uint64_t from, uint64_t to, uint8_t *out,
			   size_t cap, size_t *ret_len, size_t *ret_moved);

/* reloc.c */
const struct sut_reloc_howto *sut_x86_reloc_howto(uint32_t type);
int sut_x86_relocate_field(const struct sut_reloc_howto *howto, const struct sut_reloc_values *v, uint8_t *place);

/* tls.c */
int sut_x86_tls_relax(const struct sut_reloc_howto *howto, uint8_t *code, size_t len, size_t off, int64_t tpoff,
		      unsigned *ret_skip);

/* regs.c: the layout of NT_PRSTATUS, 8 bytes each */
enum {
	SUT_X86_R15,
	SUT_X86_R14,
	SUT_X86_R13,
	SUT_X86_R12,
	SUT_X86_RBP,
	SUT_X86_RBX,
	SUT_X86_R11,
	SUT_X86_R10,
	SUT_X86_R9,
	SUT_X86_R8,
	SUT_X86_RAX,
	SUT_X86_RCX,
	SUT_X86_RDX,
	SUT_X86_RSI,
	SUT_X86_RDI,
	SUT_X86_ORIG_RAX,
	SUT_X86_RIP,
	SUT_X86_CS,
	SUT_X86_EFLAGS,
	SUT_X86_RSP,
	SUT_X86_SS,
	SUT_X86_FS_BASE,
	SUT_X86_GS_BASE,
	SUT_X86_DS,
	SUT_X86_ES,
	SUT_X86_FS,
	SUT_X86_GS,
	SUT_X86_N_REGS
};
#define SUT_X86_REGS_SIZE    (8 * SUT_X86_N_REGS)
#define SUT_X86_N_DWARF_REGS 17 /* rax .. r15, return address */
uint64_t sut_x86_reg(const struct sut_regs *r, unsigned n);
void sut_x86_set_reg(struct sut_regs *r, unsigned n, uint64_t v);
uint64_t sut_x86_regs_pc(const struct sut_regs *r);
uint64_t sut_x86_regs_sp(const struct sut_regs *r);
uint64_t sut_x86_regs_tp(const struct sut_regs *r);
void sut_x86_regs_set_pc(struct sut_regs *r, uint64_t pc);
void sut_x86_regs_from_ucontext(const void *ucontext, uint64_t tp, struct sut_regs *ret);
bool sut_x86_regs_dwarf(const struct sut_regs *r, unsigned n, uint64_t *ret);
bool sut_x86_regs_in_syscall(const struct sut_regs *r, long *ret_nr, int64_t *ret_result);

/* syscall.c */
/* What the kernel leaves in rax while it has not decided yet whether to restart a call. */
#define SUT_X86_EINTR                 (-4)
#define SUT_X86_ERESTARTSYS           (-512)
#define SUT_X86_ERESTARTNOINTR        (-513)
#define SUT_X86_ERESTARTNOHAND        (-514)
#define SUT_X86_ERESTART_RESTARTBLOCK (-516)
extern const uint16_t sut_x86_sysno[SUT_SYS_N];
bool sut_x86_is_syscall_insn(const uint8_t *code, size_t len, size_t *ret_len);
void sut_x86_regs_set_syscall(struct sut_regs *r, uint64_t insn, unsigned nr, const uint64_t args[6]);
int64_t sut_x86_regs_syscall_result(const struct sut_regs *r);
bool sut_x86_regs_mask_eintr(struct sut_regs *r);
bool sut_x86_regs_restart_block(const struct sut_regs *r);

/* borrow.c */
#define SUT_X86_N_SYSCALL_GADGETS   2
#define SUT_X86_N_SIGRETURN_GADGETS 2
extern const struct sut_gadget sut_x86_syscall_gadgets[SUT_X86_N_SYSCALL_GADGETS];
extern const struct sut_gadget sut_x86_sigreturn_gadgets[SUT_X86_N_SIGRETURN_GADGETS];
bool sut_x86_regs_native(const struct sut_regs *r);
void sut_x86_regs_set_sp(struct sut_regs *r, uint64_t sp);

/* sigframe.c */
bool sut_x86_has_sigframe(const struct sut_regs *regs, const uint8_t *stack, size_t len);
extern const uint8_t sut_x86_heal_code[11];
#define SUT_X86_HEAL_SYSCALL_OFF 0
int sut_x86_sigframe(const struct sut_regs *regs, const void *fpu, size_t fpu_size, uint64_t sigmask, uint64_t addr,
		     uint8_t *out, size_t cap, size_t *ret_len, uint64_t *ret_sp);

#endif
