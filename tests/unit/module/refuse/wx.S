/* SPDX-License-Identifier: MIT */
	.section .both,"awx",@progbits
	.globl f
f:	.long	0
	.section .note.GNU-stack,"",@progbits
