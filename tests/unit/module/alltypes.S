/* SPDX-License-Identifier: MIT */
/* alltypes.S - one place of each relocation type that does not need a thread-local variable. abs_HEX: see late.h. */
	.section .text.a,"ax",@progbits
	.globl	a_start
	.type	a_start, @function
a_start:
	call	host_add@PLT			/* PLT32 */
	call	b_start				/* PLT32, own */
	lea	host_counter(%rip), %rax	/* PC32 */
	lea	host_counter+64(%rip), %rax
	mov	host_counter@GOTPCREL(%rip), %rax /* REX_GOTPCRELX */
	call	*host_add@GOTPCREL(%rip)	/* GOTPCRELX */
	cmpq	$0, host_counter@GOTPCREL(%rip)
	mov	$abs_12345678, %eax		/* 32 */
	movq	$abs_12345678, %rax		/* 32S */
	mov	$abs_44, %al			/* 8 */
	movabs	$host_counter+3, %rax		/* 64 */
	movabs	$_GLOBAL_OFFSET_TABLE_-., %rax	/* GOTPC64 */
	lea	_GLOBAL_OFFSET_TABLE_(%rip), %rax /* GOTPC32 */
	movabs	$host_counter@GOTOFF, %rax	/* GOTOFF64 */
	movabs	$host_add@PLTOFF, %rax		/* PLTOFF64 */
	movabs	$host_counter@GOT, %rax		/* GOT64 */
	.quad	host_counter@GOTPCREL		/* GOTPCREL64 */
	.long	host_counter@GOTPCREL		/* GOTPCREL */
	.long	host_counter@GOT		/* GOT32 */
	jrcxz	b_start				/* PC8 */
	.size	a_start, . - a_start

	.section .text.b,"ax",@progbits
	.globl	b_start
	.type	b_start, @function
b_start:
	.byte	0xc3
	.size	b_start, . - b_start
	.balign	4
	.short	a_start - .			/* PC16 */
	.short	abs_44			/* 16 */
	.byte	abs_44			/* 8 */

	.section .rodata.r,"a",@progbits
	.balign	8
r_start:
	.quad	host_add
	.quad	host_counter + 0x1000
	.quad	r_start
	.quad	b_start - .			/* PC64 */
	.long	b_start - .			/* PC32 */
	.long	d_start@SIZE		/* SIZE32 */
	.quad	d_start@SIZE + 5		/* SIZE64 */
	.long	abs_12345678

	.section .data.d,"aw",@progbits
	.balign	16
	.globl	d_start
d_start:
	.quad	d_start + 8
	.quad	a_start
	.quad	weak_nothing
	.size	d_start, . - d_start
	.section .note.GNU-stack,"",@progbits
	.weak	weak_nothing
