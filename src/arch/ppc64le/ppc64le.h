/* SPDX-License-Identifier: MIT */
/*
 * ppc64le.h - what the files of this architecture share; the table in ppc64le.c lists it all.
 *
 * Contracts are those of the members of struct sut_arch (arch/arch.h) with the same names. Bits are
 * counted from the least significant one (the Power ISA counts from the other end).
 */
#ifndef SUT_ARCH_PPC64LE_H
#define SUT_ARCH_PPC64LE_H

#include <elf.h>

#include "arch/arch.h"

/* insn.c: fields of an instruction word */
#define SUT_PPC_OP(w)    ((w) >> 26) /* primary opcode */
#define SUT_PPC_RT(w)    ((w) >> 21 & 31) /* target or source register; BO of a branch */
#define SUT_PPC_RA(w)    ((w) >> 16 & 31)
#define SUT_PPC_RB(w)    ((w) >> 11 & 31)
#define SUT_PPC_XO10(w)  ((w) >> 1 & 0x3ff) /* extended opcode of X and XL forms */
#define SUT_PPC_LK       1u /* link bit of branches */
#define SUT_PPC_AA       2u /* absolute address bit of branches */
#define SUT_PPC_PREFIX_R (1u << 20) /* of a prefix word: pc-relative */

#define SUT_PPC_NOP      0x60000000u /* nop (ori r0,r0,0) */
#define SUT_PPC_PNOP     0x07000000u /* pnop: prefix; the suffix is 0 */
#define SUT_PPC_B        0x48000000u /* b . */
#define SUT_PPC_BL       0x48000001u /* bl . */
#define SUT_PPC_LD_TOC   0xe8410018u /* ld r2,24(r1) */
#define SUT_PPC_STD_TOC  0xf8410018u /* std r2,24(r1) */
#define SUT_PPC_TRAP     0x7fe00008u /* trap */
#define SUT_PPC_MTCTR_0  0x7c0903a6u /* mtctr r0 */
#define SUT_PPC_MTCTR_12 0x7d8903a6u /* mtctr r12 */
#define SUT_PPC_MTLR_0   0x7c0803a6u /* mtlr r0 */
#define SUT_PPC_MFLR_0   0x7c0802a6u /* mflr r0 */
#define SUT_PPC_BCTR     0x4e800420u /* bctr */

/** The instruction word at @p. */
uint32_t sut_ppc_word(const uint8_t *p);
void sut_ppc_put_word(uint8_t *p, uint32_t w);
/** The low @bits of @v as a signed number. */
int64_t sut_ppc_sext(uint64_t v, unsigned bits);
/** Whether a BO field means "always". */
bool sut_ppc_bo_always(uint32_t bo);
int sut_ppc_insn_decode(const uint8_t *code, size_t len, uint64_t pc, struct sut_insn *ret);
size_t sut_ppc_entry_skip(const uint8_t *code, size_t len);
int sut_ppc_entry_offset(uint8_t st_other, const uint8_t *code, size_t len, size_t *ret);
void sut_ppc_entry_pad(uint8_t st_other, const uint8_t *code, size_t len, struct sut_pad *ret);
/** st_other's local entry: bytes from the symbol; 0 where there is one entry only. -EILSEQ for the reserved value. */
int sut_ppc_local_entry(uint8_t st_other, size_t *ret);
/** st_other's three bits: 0 (r2 is kept), 1 (r2 may be lost), 2..6 (needs r2), 7 (reserved). */
#define SUT_PPC_LOCAL(other) ((other) >> 5 & 7)

/* branch.c */
#define SUT_PPC_JUMP_SIZE 4 /* b */
/*
 * b reaches 32 MiB down and 32 MiB less a word up. Less than this apart, each instruction of a page-sized
 * neighbourhood reaches too.
 */
#define SUT_PPC_JUMP_REACH       0x1ffff00ull
#define SUT_PPC_PLT_STUB_SIZE    32
#define SUT_PPC_VENEER_SIZE      32
#define SUT_PPC_SWITCH_STUB_SIZE 96
int sut_ppc_jump_encode(uint64_t pc, uint64_t target, uint8_t *out);
bool sut_ppc_jump_decode(const uint8_t *code, uint64_t pc, uint64_t *ret_target);
void sut_ppc_nop_fill(uint8_t *out, size_t len);
int sut_ppc_plt_stub(uint64_t pc, uint64_t slot, uint8_t *out);
int sut_ppc_plt_stub_notoc(uint64_t pc, uint64_t slot, uint8_t *out);
int sut_ppc_veneer(uint64_t pc, uint64_t target, uint8_t *out);
int sut_ppc_switch_stub(uint64_t pc, uint64_t side, uint64_t new_func, uint64_t orig_entry, uint8_t *out);
/** bc from @pc to @target with the BO, BI and LK of @w. 0 or -ERANGE. */
int sut_ppc_bc_encode(uint32_t w, uint64_t pc, uint64_t target, uint8_t *out);
/** Writes the five instructions that load @v into register @r. */
void sut_ppc_load_imm(unsigned r, uint64_t v, uint8_t *out);
#define SUT_PPC_LOAD_IMM_SIZE 20

/* relocate.c */
int sut_ppc_relocate_entry(const uint8_t *code, size_t len, size_t min, uint64_t from, uint64_t to, uint8_t *out,
			   size_t cap, size_t *ret_len, size_t *ret_moved);

/* reloc.c: types that C libraries' elf.h do not know yet */
#ifndef R_PPC64_PCREL34
#define R_PPC64_REL24_NOTOC        116
#define R_PPC64_ADDR64_LOCAL       117
#define R_PPC64_ENTRY              118
#define R_PPC64_PLTSEQ             119
#define R_PPC64_PLTCALL            120
#define R_PPC64_PLTSEQ_NOTOC       121
#define R_PPC64_PLTCALL_NOTOC      122
#define R_PPC64_PCREL_OPT          123
#define R_PPC64_D34                128
#define R_PPC64_D34_LO             129
#define R_PPC64_D34_HI30           130
#define R_PPC64_D34_HA30           131
#define R_PPC64_PCREL34            132
#define R_PPC64_GOT_PCREL34        133
#define R_PPC64_PLT_PCREL34        134
#define R_PPC64_PLT_PCREL34_NOTOC  135
#define R_PPC64_TPREL34            146
#define R_PPC64_DTPREL34           147
#define R_PPC64_GOT_TLSGD_PCREL34  148
#define R_PPC64_GOT_TLSLD_PCREL34  149
#define R_PPC64_GOT_TPREL_PCREL34  150
#define R_PPC64_GOT_DTPREL_PCREL34 151
#define R_PPC64_REL16_HIGH         240
#define R_PPC64_REL16_HIGHA        241
#define R_PPC64_REL16_HIGHER       242
#define R_PPC64_REL16_HIGHERA      243
#define R_PPC64_REL16_HIGHEST      244
#define R_PPC64_REL16_HIGHESTA     245
#define R_PPC64_REL16DX_HA         246
#endif
const struct sut_reloc_howto *sut_ppc_reloc_howto(uint32_t type);
const struct sut_reloc_howto *sut_ppc_reloc_howto_at(const struct sut_reloc_howto *howto, const uint8_t *place,
						     size_t avail);
int sut_ppc_relocate_field(const struct sut_reloc_howto *howto, const struct sut_reloc_values *v, uint8_t *place);
/** What a field says of the value that it is a part of: ((value + round) & mask) == .value; mask 0: .value is it all. */
struct sut_ppc_part {
	uint64_t value, mask, round;
};
struct sut_ppc_part sut_ppc_part(const struct sut_reloc_howto *howto, const uint8_t *place);
/** Whether a kind is a GOT slot of a thread-local variable. */
bool sut_ppc_is_tls(enum sut_reloc_kind kind);
bool sut_ppc_relocate_extra(const struct sut_reloc_howto *howto, const struct sut_reloc_values *v,
			    struct sut_reloc_extra *ret);
int sut_ppc_call_way(const struct sut_reloc_howto *howto, const uint8_t *place, size_t avail, uint8_t other,
		     bool same_toc, const char *symbol, enum sut_call_way *ret, const char **ret_why);

/* tls.c */
int sut_ppc_tls_relax(const struct sut_reloc_howto *howto, uint8_t *code, size_t len, size_t off, int64_t tpoff,
		      unsigned *ret_skip);

int sut_ppc_tls_relax_call(const struct sut_reloc_howto *howto, const struct sut_reloc_howto *next, uint8_t *code,
			   size_t len, size_t off, int64_t tpoff, unsigned *ret_skip);

/* linked.c */
int sut_ppc_linked_field(const struct sut_reloc_howto *howto, const uint8_t *obj, const uint8_t *bin, size_t len,
			 size_t off, int64_t addend, uint64_t pc, struct sut_linked *ret);
bool sut_ppc_stub_decode(const uint8_t *code, size_t len, uint64_t pc, struct sut_stub *ret);
bool sut_ppc_same_branch(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len);

/* regs.c: the layout of NT_PRSTATUS (struct pt_regs), 8 bytes each */
enum {
	SUT_PPC_R0, /* r0 .. r31 are 0 .. 31 */
	SUT_PPC_R1,
	SUT_PPC_R3 = 3,
	SUT_PPC_R12 = 12,
	SUT_PPC_R13,
	SUT_PPC_NIP = 32,
	SUT_PPC_MSR,
	SUT_PPC_ORIG_R3,
	SUT_PPC_CTR,
	SUT_PPC_LR,
	SUT_PPC_XER,
	SUT_PPC_CCR,
	SUT_PPC_SOFTE,
	SUT_PPC_TRAPNO,
	SUT_PPC_DAR,
	SUT_PPC_DSISR,
	SUT_PPC_RESULT,
	SUT_PPC_N_REGS = 48 /* the rest is unused */
};
#define SUT_PPC_REGS_SIZE    (8 * SUT_PPC_N_REGS)
#define SUT_PPC_UC_GREGS     232 /* where they stand in struct ucontext */
#define SUT_PPC_DWARF_CR     64
#define SUT_PPC_DWARF_LR     65
#define SUT_PPC_DWARF_CTR    66
#define SUT_PPC_DWARF_PC     67 /* nobody's number: ours for the pc */
#define SUT_PPC_N_DWARF_REGS 68
uint64_t sut_ppc_reg(const struct sut_regs *r, unsigned n);
void sut_ppc_set_reg(struct sut_regs *r, unsigned n, uint64_t v);
uint64_t sut_ppc_regs_pc(const struct sut_regs *r);
uint64_t sut_ppc_regs_sp(const struct sut_regs *r);
uint64_t sut_ppc_regs_tp(const struct sut_regs *r);
void sut_ppc_regs_set_pc(struct sut_regs *r, uint64_t pc);
void sut_ppc_regs_from_ucontext(const void *ucontext, uint64_t tp, struct sut_regs *ret);
bool sut_ppc_regs_dwarf(const struct sut_regs *r, unsigned n, uint64_t *ret);

/* syscall.c */
/* What the kernel leaves as a result while it has not decided yet whether to restart a call. */
#define SUT_PPC_EINTR                 (-4)
#define SUT_PPC_ERESTARTSYS           (-512)
#define SUT_PPC_ERESTARTNOINTR        (-513)
#define SUT_PPC_ERESTARTNOHAND        (-514)
#define SUT_PPC_ERESTART_RESTARTBLOCK (-516)
extern const uint16_t sut_ppc_sysno[SUT_SYS_N];
bool sut_ppc_regs_in_syscall(const struct sut_regs *r, long *ret_nr, int64_t *ret_result);
bool sut_ppc_is_syscall_insn(const uint8_t *code, size_t len, size_t *ret_len);
void sut_ppc_regs_set_syscall(struct sut_regs *r, uint64_t insn, unsigned nr, const uint64_t args[6]);
int64_t sut_ppc_regs_syscall_result(const struct sut_regs *r);
bool sut_ppc_regs_mask_eintr(struct sut_regs *r);
bool sut_ppc_regs_restart_block(const struct sut_regs *r);

/* borrow.c */
#define SUT_PPC_N_SYSCALL_GADGETS   3
#define SUT_PPC_N_SIGRETURN_GADGETS 1
extern const struct sut_gadget sut_ppc_syscall_gadgets[SUT_PPC_N_SYSCALL_GADGETS];
extern const struct sut_gadget sut_ppc_sigreturn_gadgets[SUT_PPC_N_SIGRETURN_GADGETS];
bool sut_ppc_regs_native(const struct sut_regs *r);
void sut_ppc_regs_set_sp(struct sut_regs *r, uint64_t sp);
void sut_ppc_regs_set_return(struct sut_regs *r, uint64_t addr);

/* sigframe.c */
#define SUT_PPC_N_FPU_SETS 3
extern const uint8_t sut_ppc_heal_code[16];
extern const struct sut_regset sut_ppc_fpu_sets[SUT_PPC_N_FPU_SETS];
int sut_ppc_sigframe(const struct sut_regs *regs, const void *fpu, size_t fpu_size, uint64_t sigmask, uint64_t addr,
		     uint8_t *out, size_t cap, size_t *ret_len, uint64_t *ret_sp);

#endif
