/* SPDX-License-Identifier: MIT */
/*
 * syscall.c - system calls: numbers, how to make one, and how an interrupted one goes on.
 *
 * A thread that a stop took out of a system call has orig_rax >= 0 (the call's number) and
 * its unfinished result in rax. The kernel looks at both when the thread goes on at the same
 * place: -ERESTARTSYS, -ERESTARTNOINTR and -ERESTARTNOHAND (if no handler runs) put the pc back on the
 * instruction, -ERESTART_RESTARTBLOCK goes on with the time that is left. Some calls have
 * already turned the interruption into -EINTR; those would show it to the program.
 */
#include "arch/x86_64/x86_64.h"

const uint16_t sut_x86_sysno[SUT_SYS_N] = {
	[SUT_SYS_MMAP] = 9,           [SUT_SYS_MUNMAP] = 11,    [SUT_SYS_MREMAP] = 25,      [SUT_SYS_MPROTECT] = 10,
	[SUT_SYS_MADVISE] = 28,       [SUT_SYS_MLOCK2] = 325,   [SUT_SYS_OPENAT] = 257,     [SUT_SYS_CLOSE] = 3,
	[SUT_SYS_MEMFD_CREATE] = 319, [SUT_SYS_FTRUNCATE] = 77, [SUT_SYS_MEMBARRIER] = 324, [SUT_SYS_GETPID] = 39,
	[SUT_SYS_RT_SIGRETURN] = 15,
};

bool sut_x86_is_syscall_insn(const uint8_t *code, size_t len, size_t *ret_len)
{
	if (len < 2 || code[0] != 0x0f || code[1] != 0x05) /* syscall */
		return false;
	*ret_len = 2;
	return true;
}

void sut_x86_regs_set_syscall(struct sut_regs *r, uint64_t insn, unsigned nr, const uint64_t args[6])
{
	static const uint8_t arg_reg[6] = {
		SUT_X86_RDI, SUT_X86_RSI, SUT_X86_RDX, SUT_X86_R10, SUT_X86_R8, SUT_X86_R9
	};

	sut_x86_set_reg(r, SUT_X86_RIP, insn);
	sut_x86_set_reg(r, SUT_X86_RAX, nr);
	sut_x86_set_reg(r, SUT_X86_ORIG_RAX, (uint64_t)-1); /* nothing to restart */
	for (unsigned i = 0; i < 6; i++)
		sut_x86_set_reg(r, arg_reg[i], args[i]);
}

int64_t sut_x86_regs_syscall_result(const struct sut_regs *r)
{
	return (int64_t)sut_x86_reg(r, SUT_X86_RAX);
}

/*
 * The calls that answer a stop with -EINTR and can be made again. Those that read or write do so on
 * sockets with a timeout; what was moved already would be their result instead. So does connect, and a second one waits
 * for the connection that the first has begun (only if that never comes, the error is EALREADY instead of
 * EINPROGRESS). select and its kin do where what is left of their time can not be written (it is constant).
 */
static bool says_eintr(int64_t nr)
{
	static const uint16_t calls[] = {
		0, /* read */
		1, /* write */
		19, /* readv */
		20, /* writev */
		23, /* select */
		40, /* sendfile */
		42, /* connect */
		43, /* accept */
		44, /* sendto */
		45, /* recvfrom */
		46, /* sendmsg */
		47, /* recvmsg */
		65, /* semop */
		128, /* rt_sigtimedwait */
		208, /* io_getevents */
		220, /* semtimedop */
		232, /* epoll_wait */
		270, /* pselect6 */
		271, /* ppoll */
		275, /* splice */
		281, /* epoll_pwait */
		285, /* fallocate (older kernels, on tmpfs) */
		288, /* accept4 */
		299, /* recvmmsg */
		307, /* sendmmsg */
		327, /* preadv2 */
		328, /* pwritev2 */
		426, /* io_uring_enter */
		441, /* epoll_pwait2 */
	};

	for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (calls[i] == nr)
			return true;
	}
	return false;
}

bool sut_x86_regs_mask_eintr(struct sut_regs *r)
{
	if ((int64_t)sut_x86_reg(r, SUT_X86_RAX) != SUT_X86_EINTR ||
	    !says_eintr((int64_t)sut_x86_reg(r, SUT_X86_ORIG_RAX)))
		return false;
	/* If a handler is to run, the kernel makes EINTR of it again: what the program would have seen. */
	sut_x86_set_reg(r, SUT_X86_RAX, (uint64_t)(int64_t)SUT_X86_ERESTARTNOHAND);
	return true;
}

bool sut_x86_regs_restart_block(const struct sut_regs *r)
{
	return (int64_t)sut_x86_reg(r, SUT_X86_ORIG_RAX) >= 0 &&
	       (int64_t)sut_x86_reg(r, SUT_X86_RAX) == SUT_X86_ERESTART_RESTARTBLOCK;
}
