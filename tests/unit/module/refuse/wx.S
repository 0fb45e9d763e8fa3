/* SPDX-License-Identifier: MIT */
	.section .both,"awx",@progbits
	.globl f
f:	ret
	.section .note.GNU-stack,"",@progbits
