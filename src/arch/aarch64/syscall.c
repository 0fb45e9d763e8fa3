/* SPDX-License-Identifier: MIT */
/*
 * syscall.c - system calls: numbers, how to make one, and how an interrupted one goes on.
 *
 * `svc #0`, number in x8, arguments in x0 to x5, result in x0. Unlike elsewhere the kernel decides about the restart of an
 * interrupted call *before* it stops for a tracer: of a call that will be restarted, x0 is the first argument again and
 * the pc back on svc, so that the thread looks (and is) like one that is about to make it. Then it forgets
 * the call. So nothing needs to be done to restart a call, and a signal frame of the registers is enough. But
 *
 * - A call that has turned the interruption into -EINTR has lost its first argument. What was seen in
 *   /proc/PID/task/TID/syscall before the stop has it (regs_mask_eintr_seen).
 * - The time that a nanosleep has left is in a restart block, which the kernel consults only if the thread goes on at
 *   the same pc; restart_syscall consults it too (regs_resume_seen).
 *
 * At a stop on the way into or out of a system call the kernel shows the direction in x7, and puts the register's
 * own value back: what is written to x7 there is lost. So x7 is left alone while a thread makes a call for us.
 */
#include "arch/aarch64/aarch64.h"

#define NR_IO_GETEVENTS    4
#define NR_FUTEX           98
#define NR_NANOSLEEP       101
#define NR_CLOCK_NANOSLEEP 115
#define NR_RESTART_SYSCALL 128
#define FUTEX_CMD_MASK     127
#define FUTEX_WAIT         0
#define TIMER_ABSTIME      1

const uint16_t sut_a64_sysno[SUT_SYS_N] = {
	[SUT_SYS_MMAP] = 222,         [SUT_SYS_MUNMAP] = 215,   [SUT_SYS_MREMAP] = 216,     [SUT_SYS_MPROTECT] = 226,
	[SUT_SYS_MADVISE] = 233,      [SUT_SYS_MLOCK2] = 284,   [SUT_SYS_OPENAT] = 56,      [SUT_SYS_CLOSE] = 57,
	[SUT_SYS_MEMFD_CREATE] = 279, [SUT_SYS_FTRUNCATE] = 46, [SUT_SYS_MEMBARRIER] = 283, [SUT_SYS_GETPID] = 172,
	[SUT_SYS_RT_SIGRETURN] = 139,
};

bool sut_a64_is_syscall_insn(const uint8_t *code, size_t len, size_t *ret_len)
{
	if (len < 4 || sut_a64_get(code) != SUT_A64_SVC)
		return false;
	*ret_len = 4;
	return true;
}

void sut_a64_regs_set_syscall(struct sut_regs *r, uint64_t insn, unsigned nr, const uint64_t args[6])
{
	sut_a64_regs_set_pc(r, insn);
	sut_a64_set_reg(r, SUT_A64_X8, nr);
	for (unsigned i = 0; i < 6; i++)
		sut_a64_set_reg(r, SUT_A64_X0 + i, args[i]);
}

int64_t sut_a64_regs_syscall_result(const struct sut_regs *r)
{
	return (int64_t)sut_a64_reg(r, SUT_A64_X0);
}

/*
 * The calls that answer a stop with -EINTR and have done nothing by then. Those that read or write do so on sockets with a
 * timeout; what was moved already would be their result instead. Not connect: it has begun, and a second one answers EALREADY.
 */
static bool says_eintr(int64_t nr)
{
	static const uint16_t calls[] = {
		NR_IO_GETEVENTS,
		22, /* epoll_pwait */
		63, /* read */
		64, /* write */
		65, /* readv */
		66, /* writev */
		71, /* sendfile */
		76, /* splice */
		137, /* rt_sigtimedwait */
		192, /* semtimedop */
		193, /* semop */
		202, /* accept */
		206, /* sendto */
		207, /* recvfrom */
		211, /* sendmsg */
		212, /* recvmsg */
		242, /* accept4 */
		243, /* recvmmsg */
		269, /* sendmmsg */
		292, /* io_pgetevents */
		426, /* io_uring_enter */
		441, /* epoll_pwait2 */
	};

	for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (calls[i] == nr)
			return true;
	return false;
}

/* Whether the thread still stands at what was seen: the same call, stack pointer and arguments, but for the first. */
static bool same_call(const struct sut_regs *r, const struct sut_syscall_seen *seen)
{
	if (seen->nr < 0 || sut_a64_reg(r, SUT_A64_X8) != (uint64_t)seen->nr || sut_a64_regs_sp(r) != seen->sp)
		return false;
	for (unsigned i = 1; i < 6; i++)
		if (sut_a64_reg(r, SUT_A64_X0 + i) != seen->args[i])
			return false;
	return true;
}

bool sut_a64_regs_mask_eintr(struct sut_regs *r)
{
	return false;
}

bool sut_a64_regs_mask_eintr_seen(struct sut_regs *r, const struct sut_syscall_seen *seen)
{
	if ((int64_t)sut_a64_reg(r, SUT_A64_X0) != SUT_A64_EINTR || !says_eintr(seen->nr) || !same_call(r, seen) ||
	    sut_a64_regs_pc(r) != seen->pc)
		return false;
	sut_a64_set_reg(r, SUT_A64_X0, seen->args[0]);
	sut_a64_regs_set_pc(r, seen->pc - 4); /* back on the instruction */
	return true;
}

/* Calls whose remaining time is in a restart block. An absolute time needs none, and would be told EINTR. */
static bool keeps_time(uint64_t nr, const uint64_t args[6])
{
	if (nr == NR_CLOCK_NANOSLEEP)
		return !(args[1] & TIMER_ABSTIME);
	if (nr == NR_FUTEX)
		return (args[1] & FUTEX_CMD_MASK) == FUTEX_WAIT && args[3];
	return nr == NR_NANOSLEEP;
}

bool sut_a64_regs_resume_seen(struct sut_regs *r, const struct sut_syscall_seen *seen)
{
	if (!same_call(r, seen) || !keeps_time((uint64_t)seen->nr, seen->args) ||
	    sut_a64_reg(r, SUT_A64_X0) != seen->args[0] || sut_a64_regs_pc(r) + 4 != seen->pc)
		return false;
	sut_a64_set_reg(r, SUT_A64_X8, NR_RESTART_SYSCALL);
	return true;
}

/* From registers alone: it may be. A thread that is not in the call at all is taken for one now and then. */
bool sut_a64_regs_restart_block(const struct sut_regs *r)
{
	uint64_t args[6];

	for (unsigned i = 0; i < 6; i++)
		args[i] = sut_a64_reg(r, SUT_A64_X0 + i);
	return keeps_time(sut_a64_reg(r, SUT_A64_X8), args);
}
