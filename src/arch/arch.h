/* SPDX-License-Identifier: MIT */
/*
 * arch.h - what one processor architecture must provide: one const table.
 *
 * To add an architecture: src/arch/<name>/ with the same file names as x86_64/
 * (insn branch relocate reloc regs syscall .c, README.md on the ABI), a table
 * sut_arch_<name>, and a line in sut_arch_find().
 *
 * Arch code is bytes in, bytes out: no libc beyond memcpy-like builtins, no
 * allocation, no system call, no #ifdef of the host; every architecture is
 * compiled on every host. Functions return 0 or a plain negative errno
 * (-ERANGE: does not reach; -EILSEQ: not decodable; -EOPNOTSUPP: known but can
 * not be done safely); the callers add the text.
 */
#ifndef SUT_ARCH_H
#define SUT_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sut_insn_kind {
	SUT_INSN_OTHER,
	SUT_INSN_NOP, /* any no-op, multi-byte ones and landing pads (endbr64) too */
	SUT_INSN_JUMP, /* direct, unconditional */
	SUT_INSN_BRANCH, /* direct, conditional (jrcxz and loop as well) */
	SUT_INSN_CALL, /* direct */
	SUT_INSN_INDIRECT, /* jump or call through register or memory */
	SUT_INSN_RETURN,
	SUT_INSN_TRAP, /* int3, ud2, hlt and their like */
	SUT_INSN_SYSCALL,
};

/** One decoded instruction. */
struct sut_insn {
	enum sut_insn_kind kind;
	uint8_t len;
	bool pcrel; /* its meaning depends on its address */
	bool landing_pad; /* endbr64, bti: must stay the first instruction */
	bool ends; /* control never goes on to the next instruction (jump, return, ud2) */
	uint8_t pcrel_off; /* where the pc-relative field lies in the bytes ... */
	uint8_t pcrel_size; /* ... and its size; 0: none, or not a plain field */
	uint32_t pcrel_reloc; /* not plain: the relocation type that has this field, at the instruction; 0: none */
	uint64_t target; /* absolute address a pc-relative field names */
};

/** A thread's registers as PTRACE_GETREGSET(NT_PRSTATUS) gives them. */
#define SUT_REGS_MAX 544
struct sut_regs {
	size_t size;
	_Alignas(8) uint8_t raw[SUT_REGS_MAX]; /* @size bytes; at regs_size what sut_arch.more_regsets lists */
};

/** A register set that is read along with the general registers, because they do not tell all. */
struct sut_regset {
	int type; /* for PTRACE_GETREGSET */
	uint16_t at, size; /* where in sut_regs.raw; all zeros where the kernel does not know it */
};

/** A system call as /proc/PID/task/TID/syscall showed it before the thread was stopped. */
struct sut_syscall_seen {
	int64_t nr; /* < 0: in none */
	uint64_t args[6], sp, pc;
};

/** System calls suture may ask of a target; sut_arch.sysno maps them to numbers. */
enum sut_sys {
	SUT_SYS_MMAP,
	SUT_SYS_MUNMAP,
	SUT_SYS_MREMAP,
	SUT_SYS_MPROTECT,
	SUT_SYS_MADVISE,
	SUT_SYS_MLOCK2,
	SUT_SYS_OPENAT,
	SUT_SYS_CLOSE,
	SUT_SYS_MEMFD_CREATE,
	SUT_SYS_FTRUNCATE,
	SUT_SYS_MEMBARRIER,
	SUT_SYS_GETPID,
	SUT_SYS_RT_SIGRETURN,
	SUT_SYS_N
};

/** What a relocation asks for, independent of its number. */
enum sut_reloc_kind {
	SUT_RELOC_NONE,
	SUT_RELOC_ABS, /* S + A */
	SUT_RELOC_PCREL, /* S + A - P */
	SUT_RELOC_PLT, /* L + A - P: a call; a stub may stand in */
	SUT_RELOC_GOT, /* GOT slot of S: G + A - P */
	SUT_RELOC_GOT_LOAD, /* as GOT, from an instruction that may be relaxed (GOTPCRELX) */
	SUT_RELOC_GOT_OFF, /* G + A: offset in the GOT */
	SUT_RELOC_GOT_BASE, /* GOT + A - P */
	SUT_RELOC_GOT_REL, /* S + A - GOT */
	SUT_RELOC_SIZE, /* Z + A */
	SUT_RELOC_TLS_LE, /* offset from the thread pointer: TPOFF */
	SUT_RELOC_TLS_IE, /* GOT slot with that offset: GOTTPOFF */
	SUT_RELOC_TLS_GD, /* general dynamic: a two-word GOT slot and a call of __tls_get_addr */
	SUT_RELOC_TLS_LD, /* local dynamic, likewise */
	SUT_RELOC_TLS_DTPOFF, /* offset within the module's block */
	SUT_RELOC_TLS_DESC, /* TLS descriptor: GOT pair */
	SUT_RELOC_TLS_DESC_CALL,
	SUT_RELOC_GOT_ADDR, /* GOT + A: the base itself (ppc64le: .TOC.) */
	SUT_RELOC_TLS_GD_CALL, /* marks the call of __tls_get_addr that ends a general dynamic sequence ... */
	SUT_RELOC_TLS_LD_CALL, /* ... or a local dynamic one; the call's own relocation is the next */
	SUT_RELOC_TOC_ENTRY, /* of a linked place only: GOT_REL of the symbol that the TOC word S held the address of */
};

struct sut_reloc_howto {
	uint32_t type;
	const char *name; /* "R_X86_64_PC32" */
	enum sut_reloc_kind kind;
	uint8_t size; /* bytes written; 0: none */
	bool is_signed; /* the value must fit as signed (else as unsigned) */
	bool pcrel;
	uint8_t tls_calls; /* GD, LD: how many relocations after this one its sequence takes up; 0: one, the call */
	/* Fields inside of instructions: which bits of the little-endian word of @size bytes are written, and what
	 * the compiler leaves in them. 0: all of them, zeros. */
	uint64_t mask, idle;
};

/** What sut_arch.relocate_field() needs to know. Values are final addresses in the target. */
struct sut_reloc_values {
	uint64_t P; /* place */
	uint64_t S; /* symbol (or PLT stub, GOT slot, TLS offset: what the kind names) */
	int64_t A; /* addend */
	uint64_t GOT; /* base of the module's GOT, where the kind wants it; ppc64le: the TOC pointer, .TOC. */
	/* ppc64le, calls only. */
	uint8_t other; /* st_other of the symbol that S is the address of: calls go to its local entry; 0 for a stub */
	bool restore_toc; /* S is a stub that saves the TOC pointer (SUT_CALL_STUB): the word after is its restore */
};

/** A second word that a relocation writes (sut_arch.relocate_extra). */
struct sut_reloc_extra {
	uint8_t off, size; /* bytes from the place */
	uint64_t idle, set; /* before and after */
};

/** How a call gets to its target (sut_arch.call_way). */
enum sut_call_way {
	SUT_CALL_DIRECT, /* a branch; where it does not reach, a veneer */
	SUT_CALL_NEAR, /* a branch that must reach: a veneer would destroy what is passed in its registers */
	SUT_CALL_STUB, /* through plt_stub; the caller puts its TOC pointer back after it (restore_toc) */
	SUT_CALL_STUB_NOTOC, /* through plt_stub_notoc; the caller has no TOC pointer to lose */
};

/** A place that the compiler left at a function's entry for tracers (sut_arch.entry_pad). */
enum sut_pad_kind {
	SUT_PAD_NONE,
	SUT_PAD_NOPS, /* no-ops that every call passes */
	SUT_PAD_SKIPPED, /* no-ops that some calls do not pass: recognised, never used */
	SUT_PAD_MCOUNT, /* return address saved, then a call of the profiler (or a no-op in its place) */
};
struct sut_pad {
	enum sut_pad_kind kind;
	uint32_t off, len; /* bytes, from the function's symbol */
	uint32_t swing; /* the one instruction that alternates between no-op and branch, from the symbol */
};

/** Bytes to look for in a target's own code, before code of ours is there. */
struct sut_gadget {
	const uint8_t *code;
	uint8_t len;
	uint8_t syscall_off; /* where the system call instruction lies in it */
};

/** What a linker made of one relocated place (sut_arch.linked_field). */
struct sut_linked {
	/* What the linked bytes say: a relaxed GOT load is PCREL or ABS, a relaxed TLS access TLS_LE. */
	enum sut_reloc_kind kind;
	/* S, the symbol's address; GOT kinds and IE, GD, LD, DESC: the slot's; LE: the offset from the thread
	 * pointer; DTPOFF: the field as it stands. */
	uint64_t value;
	size_t start, end; /* bytes, as offsets in the code, that belong to it; all others must be equal */
	unsigned skip; /* further relocations of the object that the sequence has swallowed */
	/* 0: value is told in full. Else the place tells only some bits of value + addend, namely @value under this
	 * mask (one half of an address that takes two instructions): the addend is *not* subtracted. */
	uint64_t mask;
	/* With a mask: the place says that ((value + addend + round) & mask) is @value; @round is what the place
	 * counts from, negative, and the adjustment for a signed low part. (Here the mask is over that sum.) */
	uint64_t round;
	/* The value, or the sum under the mask, counts from sut_reloc_values.GOT (ppc64le: the TOC pointer). */
	bool from_got;
};

/** What stands between a call and its function in a linked file (sut_arch.stub_decode). */
struct sut_stub {
	bool slot; /* @target is the GOT slot that is jumped through; else the address jumped to */
	bool from_got; /* @target counts from the TOC pointer */
	bool saves_toc; /* ppc64le: the TOC pointer is stored at 24(r1) first */
	uint64_t target;
	size_t size; /* of the stub */
};

struct sut_arch {
	const char *name; /* "x86_64" */
	uint16_t e_machine;
	uint32_t e_flags; /* of files for it (ppc64le: 2, ELFv2) ... */
	bool (*e_flags_fit)(uint32_t e_flags); /* ... and whether a file's are of the ABI of this table; NULL: any */
	size_t insn_align; /* every instruction's address is a multiple of it */
	size_t jump_size; /* bytes of the jump at a site */
	uint64_t jump_reach; /* a jump reaches targets less than this away, either side */

	/* insn.c */
	/** Decodes the instruction at @pc. 0, -EILSEQ (bad or cut off). */
	int (*insn_decode)(const uint8_t *code, size_t len, uint64_t pc, struct sut_insn *ret);
	/** Bytes of a landing pad at a function's entry that must stay in place (0 if none). */
	size_t (*entry_skip)(const uint8_t *code, size_t len);
	/**
	 * The bytes from a function's symbol to the entry that every call passes, where a site is put: what st_other
	 * (0 where there is no symbol) and the code say. NULL: entry_skip. 0, -EILSEQ (a reserved st_other, or cut off).
	 */
	int (*entry_offset)(uint8_t st_other, const uint8_t *code, size_t len, size_t *ret);
	/** The pad at the entry of the function at @code, @pc; SUT_PAD_NONE if there is none. NULL: none known. */
	void (*entry_pad)(uint8_t st_other, const uint8_t *code, size_t len, struct sut_pad *ret);

	/**
	 * Where a jump behind what entry_skip() left in place may enter the new function: @ret_off bytes from its start.
	 * NULL: 0 always. 0, -EILSEQ (cut off), -EOPNOTSUPP (what stays in place has changed a register, arm64: paciasp has
	 * signed the return address, and the new function does not expect it: an adapter stands between).
	 */
	int (*entry_join)(const uint8_t *old_code, size_t old_len, const uint8_t *new_code, size_t new_len,
			  size_t *ret_off);
	size_t entry_adapter_size;
	/** The adapter at @pc: undoes what the old function's landing pad did, and jumps. 0, -ERANGE, -EOPNOTSUPP (none needed). */
	int (*entry_adapter)(const uint8_t *old_code, size_t old_len, uint64_t pc, uint64_t new_func, uint8_t *out);

	/* branch.c */
	/** Writes a jump of jump_size bytes from @pc to @target. 0 or -ERANGE. */
	int (*jump_encode)(uint64_t pc, uint64_t target, uint8_t *out);
	/** Whether the bytes at @pc are such a jump, and where it leads. */
	bool (*jump_decode)(const uint8_t *code, uint64_t pc, uint64_t *ret_target);
	/** Fills @len bytes with no-ops. */
	void (*nop_fill)(uint8_t *out, size_t len);

	/* relocate.c */
	/**
	 * Moves the whole instructions that cover at least @min bytes at @from to @to, keeping
	 * their meaning, and appends a jump back to the first instruction not moved.
	 * @ret_len: bytes written to @out; @ret_moved: bytes of the original covered.
	 * 0, -ERANGE, -EILSEQ, -EOPNOTSUPP (an instruction that can not be moved), -ENOSPC.
	 */
	int (*relocate_entry)(const uint8_t *code, size_t len, size_t min, uint64_t from, uint64_t to, uint8_t *out,
			      size_t cap, size_t *ret_len, size_t *ret_moved);

	/* reloc.c */
	/** The howto of a relocation type, or NULL: unknown types are errors. */
	const struct sut_reloc_howto *(*reloc_howto)(uint32_t type);
	/**
	 * The one place where relocation fields are computed: writes the field of @howto for @v
	 * into @place (@howto->size bytes, of which only those of @howto->mask change).
	 * 0, -ERANGE (overflow), -EINVAL (not aligned as the instruction wants), -EOPNOTSUPP.
	 */
	int (*relocate_field)(const struct sut_reloc_howto *howto, const struct sut_reloc_values *v, uint8_t *place);
	/**
	 * The howto for the very instruction at @place (@avail bytes), where the field's bits depend on it (ppc64le: DS and
	 * DQ forms); what it looks at no relocation changes. NULL: @howto.
	 */
	const struct sut_reloc_howto *(*reloc_howto_at)(const struct sut_reloc_howto *howto, const uint8_t *place,
							size_t avail);
	/**
	 * Whether a second word goes with the field for @v: @ret says where, what stands there before and what after.
	 * Both are verified before either is written, and clear undoes both. NULL: never.
	 */
	bool (*relocate_extra)(const struct sut_reloc_howto *howto, const struct sut_reloc_values *v,
			       struct sut_reloc_extra *ret);
	/**
	 * Which way the call at @place (@avail bytes, not yet relocated) takes to a function with @other in its st_other.
	 * @same_toc: caller and function share a TOC pointer. @symbol: the function's name, or NULL.
	 * 0, -EILSEQ (not a call), -EOPNOTSUPP (the caller's TOC pointer would be lost: @ret_why says why).
	 * NULL: SUT_CALL_DIRECT always, and plt_stub where that does not reach.
	 */
	int (*call_way)(const struct sut_reloc_howto *howto, const uint8_t *place, size_t avail, uint8_t other,
			bool same_toc, const char *symbol, enum sut_call_way *ret, const char **ret_why);
	/**
	 * Rewrites a general/local-dynamic or descriptor TLS sequence, whose first relocation is at
	 * @code + @off, to the local-exec form with thread-pointer offset @tpoff (existing variables
	 * of the executable and of libraries loaded at start have a constant one).
	 * @ret_skip: 1 when the next relocation (the call of __tls_get_addr) belongs to the sequence.
	 */
	int (*tls_relax)(const struct sut_reloc_howto *howto, uint8_t *code, size_t len, size_t off, int64_t tpoff,
			 unsigned *ret_skip);
	/**
	 * The same for TLS_GD_CALL and TLS_LD_CALL, where the relocation behind the mark (@next, at the same place) says
	 * what kind of call stands there. NULL: there are no such kinds.
	 */
	int (*tls_relax_call)(const struct sut_reloc_howto *howto, const struct sut_reloc_howto *next, uint8_t *code,
			      size_t len, size_t off, int64_t tpoff, unsigned *ret_skip);
	/**
	 * linked.c: reads back what a linker wrote for the relocation of @howto and @addend at @off, relaxed forms
	 * included. @obj: the code before, @bin: the same @len bytes in the linked file, at @pc.
	 * 0, -EILSEQ (not what any linker makes of it), -EOPNOTSUPP (a kind that is not read back).
	 */
	int (*linked_field)(const struct sut_reloc_howto *howto, const uint8_t *obj, const uint8_t *bin, size_t len,
			    size_t off, int64_t addend, uint64_t pc, struct sut_linked *ret);
	/** linked.c: whether a linker's stub (PLT entry, veneer) starts at @pc, and where it leads. NULL: insn_decode tells. */
	bool (*stub_decode)(const uint8_t *code, size_t len, uint64_t pc, struct sut_stub *ret);
	/** linked.c: whether two direct jumps or branches are the same but for their length and target. */
	bool (*same_branch)(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len);
	size_t plt_stub_size;
	/** An indirect jump at @pc through the GOT slot at @slot; keeps every register but those that the ABI
	 * leaves to a linker's own veneers (arm64: x16, x17). */
	int (*plt_stub)(uint64_t pc, uint64_t slot, uint8_t *out);
	/** The same (and as long) for callers that have no TOC pointer, or none to keep. NULL: plt_stub. */
	int (*plt_stub_notoc)(uint64_t pc, uint64_t slot, uint8_t *out);
	/** A jump at @pc to anywhere; keeps what switch_stub keeps. NULL: jumps reach everything that is near. */
	size_t veneer_size;
	int (*veneer)(uint64_t pc, uint64_t target, uint8_t *out);
	size_t switch_stub_size;
	/**
	 * The switch stub at @pc: goes to @new_func when the byte at @side is not 0, else to
	 * @orig_entry. Keeps every register but those that the ABI leaves to veneers, and the flags.
	 */
	int (*switch_stub)(uint64_t pc, uint64_t side, uint64_t new_func, uint64_t orig_entry, uint8_t *out);
	/* Relocation types that the loader itself makes, and what the builder writes. */
	uint32_t reloc_abs64, reloc_pc32;
	/* Dynamic relocation types whose filled places tell what the target's dynamic linker decided. */
	uint32_t dyn_glob_dat, dyn_jump_slot, dyn_irelative, dyn_tpoff, dyn_dtpmod;
	/* The offset of .TOC. in a GOT (sut_reloc_values.GOT is that much above its start). */
	int64_t got_bias;
	/* Offsets in a thread-local block (DTPOFF, the second word of a GD slot) count from that far above its start. */
	int64_t dtp_bias;
	/** Call frame instructions that hold at a function's first instruction, with data alignment -8 (for stubs). */
	const uint8_t *entry_cfi;
	size_t entry_cfi_size;
	/* Thread-local storage: whether blocks lie above the thread pointer (else below), how far from it the first begins,
	 * and what the addend of a TLS field is short of (x86-64: 4, it counts from its end). */
	bool tls_above;
	int64_t tls_first;
	int64_t tls_addend_bias;

	/* regs.c */
	size_t regs_size;
	uint64_t (*regs_pc)(const struct sut_regs *);
	uint64_t (*regs_sp)(const struct sut_regs *);
	void (*regs_set_pc)(struct sut_regs *, uint64_t);
	/** The thread pointer (x86-64: fs base). */
	uint64_t (*regs_tp)(const struct sut_regs *);
	unsigned n_dwarf_regs; /* DWARF numbers 0..n-1 that the unwinder tracks */
	unsigned dwarf_sp, dwarf_ra;
	unsigned
		dwarf_pc; /* the number under which regs_dwarf has the pc (dwarf_ra where that is no register of its own) */
	/** What is read along with NT_PRSTATUS. */
	const struct sut_regset *more_regsets;
	size_t n_more_regsets;
	/** A code address as it stands in a register or on the stack, without what authenticates it. NULL: it is itself. */
	uint64_t (*strip_code)(const struct sut_regs *, uint64_t);
	/**
	 * The registers of a thread that was interrupted by a signal, from its handler's third argument (the kernel's
	 * struct ucontext) and the thread pointer, which is not in there everywhere. No system call is told of: it is
	 * over, or is made again from its instruction.
	 */
	void (*regs_from_ucontext)(const void *ucontext, uint64_t tp, struct sut_regs *ret);
	/* Bytes from the stack pointer to the ucontext where a handler returns to, if the call frame information there
	 * does not tell all registers (arm64: not the pc); 0: it does. */
	size_t sigframe_ucontext;
	/** Value of DWARF register @n; false: not among the general registers. */
	bool (*regs_dwarf)(const struct sut_regs *, unsigned n, uint64_t *ret);
	/** Whether the stop was inside a system call: its number and, not restarted yet, its result. */
	bool (*regs_in_syscall)(const struct sut_regs *, long *ret_nr, int64_t *ret_result);
	/** The stack bytes below sp that belong to the thread (128). */
	size_t red_zone;

	/* syscall.c */
	const uint16_t *sysno; /* [SUT_SYS_N] */
	/** Whether the bytes are the system call instruction; its length in @ret_len. */
	bool (*is_syscall_insn)(const uint8_t *code, size_t len, size_t *ret_len);
	/** Sets registers up for a system call at the instruction at @insn. Nothing is restarted. */
	void (*regs_set_syscall)(struct sut_regs *, uint64_t insn, unsigned nr, const uint64_t args[6]);
	int64_t (*regs_syscall_result)(const struct sut_regs *);
	/**
	 * If the kernel was about to hand EINTR to a call that it does not restart by itself, because
	 * of our stop (facts: epoll_wait, semop, sigtimedwait, recv with a timeout ...), make it
	 * restart that call. True when changed.
	 */
	bool (*regs_mask_eintr)(struct sut_regs *);
	/** The same where registers do not tell: from what was seen before the stop. NULL: regs_mask_eintr() serves. */
	bool (*regs_mask_eintr_seen)(struct sut_regs *, const struct sut_syscall_seen *);
	/**
	 * When the thread's registers are put back after its pc was elsewhere (which drops the kernel's own
	 * restart): makes a call with a restart block go on in time. True when changed. NULL: nothing to do.
	 */
	bool (*regs_resume_seen)(struct sut_regs *, const struct sut_syscall_seen *);
	/** Whether a system call stopped here is kept by a restart block (nanosleep, poll, timed futex). */
	bool (*regs_restart_block)(const struct sut_regs *);
	/** Code of ours: one system call, then rt_sigreturn. Position independent. */
	const uint8_t *heal_code;
	size_t heal_code_size;
	size_t heal_syscall_off; /* offset of the system call instruction in it */
	/**
	 * Builds at @out (@cap bytes, to be placed at @addr, 64-byte aligned) the signal frame that
	 * brings a thread back to @regs, the restart of an interrupted system call encoded in it
	 * (pc back on the instruction, original number and arguments).
	 * @fpu: the NT_X86_XSTATE (or like) bytes. @sigmask: the thread's blocked signals.
	 * @ret_sp: the stack pointer to run the heal code with. 0, -ENOSPC, -EINVAL (@addr or @fpu_size).
	 *
	 * While a thread runs the heal code all its signals must be blocked (the frame puts @sigmask back): a
	 * handler would be run on ret_sp, over whatever lies below the frame.
	 */
	int (*sigframe)(const struct sut_regs *regs, const void *fpu, size_t fpu_size, uint64_t sigmask, uint64_t addr,
			uint8_t *out, size_t cap, size_t *ret_len, uint64_t *ret_sp);
	/**
	 * Whether a signal frame as the kernel writes it may lie in these bytes of a stack (8-byte aligned), or part
	 * of one: by what stands in every frame, whatever its restorer. @regs: the thread's. NULL: not told.
	 */
	bool (*has_sigframe)(const struct sut_regs *regs, const uint8_t *stack, size_t len);
	/** The register set number of the FPU state for PTRACE_GETREGSET. */
	int fpu_regset;
	/** Where one is not enough: the sets that @fpu of sigframe() consists of (at: where in those bytes). */
	const struct sut_regset *fpu_sets;
	size_t n_fpu_sets;
	/* A larger one that sigframe() takes as well, to be tried first (arm64: SVE); 0: none. A system call may
	 * destroy what it has beyond fpu_regset, so it is written back when a thread is given back. */
	int fpu_regset_wide;

	/* borrow.c: a thread is borrowed before code of ours is in the target */
	/** Whether the thread runs this architecture's code (x86-64: not 32-bit code of a 64-bit process). */
	bool (*regs_native)(const struct sut_regs *);
	/** Sets the stack pointer alone (to run the heal code on sigframe's ret_sp). */
	void (*regs_set_sp)(struct sut_regs *, uint64_t);
	/** Sets where a function returns to, if that is a register; NULL: it is the word at sp. */
	void (*regs_set_return)(struct sut_regs *, uint64_t);
	/** A system call and then a return (through the word at sp, or to what regs_set_return() has set). */
	const struct sut_gadget *syscall_gadgets;
	size_t n_syscall_gadgets;
	/** rt_sigreturn of the frame that sut_arch.sigframe() made, entered with its ret_sp. */
	const struct sut_gadget *sigreturn_gadgets;
	size_t n_sigreturn_gadgets;
};

extern const struct sut_arch sut_arch_x86_64;
extern const struct sut_arch sut_arch_ppc64le;
extern const struct sut_arch sut_arch_aarch64;

/* Fields of relocations (arch.c); @place has howto->size bytes. */
/** Whether the field is as the compiler left it. */
bool sut_reloc_field_idle(const struct sut_reloc_howto *howto, const uint8_t *place);
/** Makes it so. */
void sut_reloc_field_clear(const struct sut_reloc_howto *howto, uint8_t *place);
/** Whether two places are equal in the bits of the field; in all others. */
bool sut_reloc_field_equal(const struct sut_reloc_howto *howto, const uint8_t *a, const uint8_t *b);
bool sut_reloc_rest_equal(const struct sut_reloc_howto *howto, const uint8_t *a, const uint8_t *b);

/** The table for an ELF machine number, or NULL. */
const struct sut_arch *sut_arch_find(uint16_t e_machine);
/** The architecture that this program was compiled for. */
const struct sut_arch *sut_arch_host(void);
/** The calling thread's thread pointer, as regs_from_ucontext() wants it. */
uint64_t sut_arch_host_tp(void);

#endif
