/* SPDX-License-Identifier: MIT */
/*
 * aarch64.h - what the files of this architecture share; the table in aarch64.c lists it all.
 *
 * Contracts are those of the members of struct sut_arch (arch/arch.h) with the same names.
 */
#ifndef SUT_ARCH_AARCH64_H
#define SUT_ARCH_AARCH64_H

#include "arch/arch.h"

/* Whole instructions that more than one file writes or looks for. */
#define SUT_A64_NOP     0xd503201fu /* nop */
#define SUT_A64_BTI_C   0xd503245fu /* bti c */
#define SUT_A64_PACIASP 0xd503233fu /* paciasp */
#define SUT_A64_PACIBSP 0xd503237fu /* pacibsp */
#define SUT_A64_AUTIASP 0xd50323bfu /* autiasp */
#define SUT_A64_AUTIBSP 0xd50323ffu /* autibsp */
#define SUT_A64_SVC     0xd4000001u /* svc #0 */
#define SUT_A64_RET     0xd65f03c0u /* ret */

#define SUT_A64_X16 16u /* x16 and x17: what a veneer may change */
#define SUT_A64_X17 17u

/* words.c */
uint32_t sut_a64_get(const uint8_t *p);
void sut_a64_put(uint8_t *p, uint32_t word);
/** Words that put the page of @target into @reg: 1 (adrp), or -ERANGE. */
int sut_a64_put_adrp(uint64_t pc, uint64_t target, unsigned reg, uint8_t *out);
/** Words that put @value into @reg with no regard to where they stand: always 4 (movz, movk, movk, movk). */
void sut_a64_put_constant(uint64_t value, unsigned reg, uint8_t *out);
/**
 * Puts @value into @reg in the shortest way: adr, adrp and add, or a constant. Returns the number of words. A buffer of four
 * words suffices.
 */
unsigned sut_a64_put_address(uint64_t pc, uint64_t value, unsigned reg, uint8_t *out);

/* branch.c */
#define SUT_A64_JUMP_SIZE        4 /* b */
#define SUT_A64_VENEER_SIZE      20
#define SUT_A64_PLT_STUB_SIZE    16
#define SUT_A64_SWITCH_STUB_SIZE 32
#define SUT_A64_ADAPTER_SIZE     8
/* b reaches 2^27 down and 2^27 - 4 up. A cache line less, whichever word of either side is meant. */
#define SUT_A64_JUMP_REACH 0x7ffffc0ull

int sut_a64_jump_encode(uint64_t pc, uint64_t target, uint8_t *out);
bool sut_a64_jump_decode(const uint8_t *code, uint64_t pc, uint64_t *ret_target);
void sut_a64_nop_fill(uint8_t *out, size_t len);
int sut_a64_veneer(uint64_t pc, uint64_t target, uint8_t *out);
int sut_a64_plt_stub(uint64_t pc, uint64_t slot, uint8_t *out);
int sut_a64_switch_stub(uint64_t pc, uint64_t side, uint64_t new_func, uint64_t orig_entry, uint8_t *out);
int sut_a64_entry_adapter(const uint8_t *old_code, size_t len, uint64_t pc, uint64_t new_func, uint8_t *out);
/** Writes @bits bits of the word distance to @target at bit @shift of @word (which has zeros there). 0 or -ERANGE. */
int sut_a64_put_branch(uint32_t word, unsigned bits, unsigned shift, uint64_t pc, uint64_t target, uint8_t *out);

/* insn.c */
int sut_a64_insn_decode(const uint8_t *code, size_t len, uint64_t pc, struct sut_insn *ret);
size_t sut_a64_entry_skip(const uint8_t *code, size_t len);
void sut_a64_entry_pad(uint8_t st_other, const uint8_t *code, size_t len, struct sut_pad *ret);
int sut_a64_entry_join(const uint8_t *old_code, size_t old_len, const uint8_t *new_code, size_t new_len,
		       size_t *ret_off);
/** The distance that adr or adrp (@pages) names, from the word and the address it stands at. */
uint64_t sut_a64_adr_target(uint32_t word, uint64_t pc);

/* relocate.c */
int sut_a64_relocate_entry(const uint8_t *code, size_t len, size_t min, uint64_t from, uint64_t to, uint8_t *out,
			   size_t cap, size_t *ret_len, size_t *ret_moved);

/* reloc.c */
const struct sut_reloc_howto *sut_a64_reloc_howto(uint32_t type);
int sut_a64_relocate_field(const struct sut_reloc_howto *howto, const struct sut_reloc_values *v, uint8_t *place);

/**
 * Reads a field back: S + A, of which the place tells the bits of @ret_mask (~0: all, a page, the low bits of it ...).
 * GOT_OFF: the offset from the page of the GOT. 0, -EOPNOTSUPP.
 */
int sut_a64_read_field(const struct sut_reloc_howto *howto, const uint8_t *place, uint64_t P, uint64_t *ret_mask,
		       uint64_t *ret);
/** Whether two places are equal but for what relocate_field() writes. */
bool sut_a64_same_but_field(const struct sut_reloc_howto *howto, const uint8_t *a, const uint8_t *b);

/* tls.c */
int sut_a64_tls_relax(const struct sut_reloc_howto *howto, uint8_t *code, size_t len, size_t off, int64_t tpoff,
		      unsigned *ret_skip);

/* linked.c */
int sut_a64_linked_field(const struct sut_reloc_howto *howto, const uint8_t *obj, const uint8_t *bin, size_t len,
			 size_t off, int64_t addend, uint64_t pc, struct sut_linked *ret);
bool sut_a64_stub_decode(const uint8_t *code, size_t len, uint64_t pc, struct sut_stub *ret);
bool sut_a64_same_branch(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len);

/* regs.c: the layout of NT_PRSTATUS, 8 bytes each, and what is read along */
enum {
	SUT_A64_X0,
	SUT_A64_X7 = 7,
	SUT_A64_X8 = 8,
	SUT_A64_X30 = 30,
	SUT_A64_SP,
	SUT_A64_PC,
	SUT_A64_PSTATE,
	SUT_A64_N_REGS,
	SUT_A64_TPIDR = SUT_A64_N_REGS, /* NT_ARM_TLS */
	SUT_A64_PAC_DATA, /* NT_ARM_PAC_MASK */
	SUT_A64_PAC_CODE,
	SUT_A64_N_MORE
};
/* Of the general registers in the kernel's struct ucontext, with a word before them. */
#define SUT_A64_UC_MCONTEXT    176
#define SUT_A64_REGS_SIZE      (8 * SUT_A64_N_REGS)
#define SUT_A64_N_DWARF_REGS   33 /* x0 .. x30, sp, pc */
#define SUT_A64_DWARF_PC       32
#define SUT_A64_N_MORE_REGSETS 2
extern const struct sut_regset sut_a64_more_regsets[SUT_A64_N_MORE_REGSETS];
uint64_t sut_a64_reg(const struct sut_regs *r, unsigned n);
void sut_a64_set_reg(struct sut_regs *r, unsigned n, uint64_t v);
uint64_t sut_a64_regs_pc(const struct sut_regs *r);
uint64_t sut_a64_regs_sp(const struct sut_regs *r);
uint64_t sut_a64_regs_tp(const struct sut_regs *r);
void sut_a64_regs_set_pc(struct sut_regs *r, uint64_t pc);
uint64_t sut_a64_strip_code(const struct sut_regs *r, uint64_t v);
bool sut_a64_regs_dwarf(const struct sut_regs *r, unsigned n, uint64_t *ret);
void sut_a64_regs_from_ucontext(const void *ucontext, uint64_t tp, struct sut_regs *ret);
bool sut_a64_regs_in_syscall(const struct sut_regs *r, long *ret_nr, int64_t *ret_result);

/* syscall.c */
#define SUT_A64_EINTR (-4)
extern const uint16_t sut_a64_sysno[SUT_SYS_N];
bool sut_a64_is_syscall_insn(const uint8_t *code, size_t len, size_t *ret_len);
void sut_a64_regs_set_syscall(struct sut_regs *r, uint64_t insn, unsigned nr, const uint64_t args[6]);
int64_t sut_a64_regs_syscall_result(const struct sut_regs *r);
bool sut_a64_regs_mask_eintr(struct sut_regs *r);
bool sut_a64_regs_mask_eintr_seen(struct sut_regs *r, const struct sut_syscall_seen *seen);
bool sut_a64_regs_resume_seen(struct sut_regs *r, const struct sut_syscall_seen *seen);
bool sut_a64_regs_restart_block(const struct sut_regs *r);

/* borrow.c */
#define SUT_A64_N_SYSCALL_GADGETS   1
#define SUT_A64_N_SIGRETURN_GADGETS 1
extern const struct sut_gadget sut_a64_syscall_gadgets[SUT_A64_N_SYSCALL_GADGETS];
extern const struct sut_gadget sut_a64_sigreturn_gadgets[SUT_A64_N_SIGRETURN_GADGETS];
bool sut_a64_regs_native(const struct sut_regs *r);
void sut_a64_regs_set_sp(struct sut_regs *r, uint64_t sp);
void sut_a64_regs_set_return(struct sut_regs *r, uint64_t pc);

/* sigframe.c */
#define SUT_A64_HEAL_CODE_SIZE   16
#define SUT_A64_HEAL_SYSCALL_OFF 0
extern const uint8_t sut_a64_heal_code[SUT_A64_HEAL_CODE_SIZE];
int sut_a64_sigframe(const struct sut_regs *regs, const void *fpu, size_t fpu_size, uint64_t sigmask, uint64_t addr,
		     uint8_t *out, size_t cap, size_t *ret_len, uint64_t *ret_sp);

#endif
