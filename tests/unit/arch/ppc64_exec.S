/* SPDX-License-Identifier: MIT */
/*
 * ppc64_exec.S - runs code with every register set, and captures every register where it ends.
 *
 * Three areas at fixed addresses, each a struct machine of ppc64_exec.c: what is loaded (IN), what was captured (OUT), what the
 * C code had (SAVED). TAR, which no code under test uses, holds the address to go to, and one register while
 * the others are captured. The capture code is position independent, so that copies of it can be the targets of branches.
 */
#define OUT   0x2000 /* upper halves of the addresses */
#define IN    0x2001
#define SAVED 0x2002
#define TAR   815

#define LR    256
#define CTR   264
#define XER   272
#define CR    280
#define ID    288
#define VS    512 /* vs0 .. vs63, 16 bytes each */

	.abiversion 2
	.machine power9
	.text

.macro gprs op, base, from, to
	.set	n, \from
	.rept	\to - \from + 1
	\op	n, 8 * n(\base)
	.set	n, n + 1
	.endr
.endm
.macro vectors op, base
	.set	n, 0
	.rept	64
	\op	n, VS + 16 * n(\base)
	.set	n, n + 1
	.endr
.endm

/* void run(uint64_t entry) */
	.globl	run
	.type	run, @function
run:	mtspr	TAR, 3
	lis	11, SAVED
	gprs	std, 11, 1, 2
	gprs	std, 11, 13, 31
	mflr	0
	std	0, LR(11)
	mfcr	0
	std	0, CR(11)
	vectors	stxv, 11
	lis	31, IN
	vectors	lxv, 31
	ld	0, LR(31)
	mtlr	0
	ld	0, CTR(31)
	mtctr	0
	ld	0, XER(31)
	mtxer	0
	ld	0, CR(31)
	mtcrf	0xff, 0
	gprs	ld, 31, 0, 31
	.long	0x4e800460 /* bctar */
	.size	run, . - run

	.globl	capture, capture_id, capture_end
capture:
	mtspr	TAR, 31
	lis	31, OUT
	gprs	std, 31, 0, 30
	mfspr	0, TAR
	std	0, 8 * 31(31)
	mflr	0
	std	0, LR(31)
	mfctr	0
	std	0, CTR(31)
	mfxer	0
	std	0, XER(31)
	mfcr	0
	std	0, CR(31)
capture_id:
	li	0, 0 /* which copy this is */
	std	0, ID(31)
	vectors	stxv, 31
	lis	11, SAVED
	vectors	lxv, 11
	ld	0, LR(11)
	mtlr	0
	ld	0, CR(11)
	mtcrf	0xff, 0
	gprs	ld, 11, 13, 31
	gprs	ld, 11, 1, 2
	blr
capture_end:
	.section .note.GNU-stack, "", @progbits
