/* SPDX-License-Identifier: MIT */
/*
 * syscall.c - system calls: numbers, how to make one, and how an interrupted one goes on.
 *
 * There are two instructions. After sc an error is a positive number in r3 and the summary overflow bit of cr0; after
 * scv 0 (from POWER9 on, which C libraries use where they may) it is a negative one. The trap word of the
 * registers says which brought the thread into the kernel: 0xc00 or 0x3000. The number stays in r0.
 *
 * A thread that a stop took out of a call has that trap word and its unfinished result in r3. The kernel
 * looks at both when the thread goes on: ERESTARTSYS, ERESTARTNOINTR and ERESTARTNOHAND (if no handler runs) put
 * r3 and the pc back, ERESTART_RESTARTBLOCK goes on with the time that is left. Some calls have already turned
 * the interruption into EINTR; those would show it to the program. A trap word of 0 switches all that off.
 */
#include "arch/ppc64le/ppc64le.h"

#define TRAP_SC         0xc00
#define TRAP_SCV        0x3000
#define TRAP_MASK       0xfff0 /* the low bits are the kernel's notes */
#define TRAP_NO_RESTART 1
#define CR0_SO          0x10000000ull

#define NR_SOCKETCALL 102
#define NR_IPC        117

const uint16_t sut_ppc_sysno[SUT_SYS_N] = {
	[SUT_SYS_MMAP] = 90,          [SUT_SYS_MUNMAP] = 91,    [SUT_SYS_MREMAP] = 163,     [SUT_SYS_MPROTECT] = 125,
	[SUT_SYS_MADVISE] = 205,      [SUT_SYS_MLOCK2] = 378,   [SUT_SYS_OPENAT] = 286,     [SUT_SYS_CLOSE] = 6,
	[SUT_SYS_MEMFD_CREATE] = 360, [SUT_SYS_FTRUNCATE] = 93, [SUT_SYS_MEMBARRIER] = 365, [SUT_SYS_GETPID] = 20,
	[SUT_SYS_RT_SIGRETURN] = 172,
};

static uint64_t trap_of(const struct sut_regs *r)
{
	return sut_ppc_reg(r, SUT_PPC_TRAPNO) & TRAP_MASK;
}

int64_t sut_ppc_regs_syscall_result(const struct sut_regs *r)
{
	int64_t v = (int64_t)sut_ppc_reg(r, SUT_PPC_R3);

	return trap_of(r) != TRAP_SCV && (sut_ppc_reg(r, SUT_PPC_CCR) & CR0_SO) ? -v : v;
}

bool sut_ppc_regs_in_syscall(const struct sut_regs *r, long *ret_nr, int64_t *ret_result)
{
	if ((trap_of(r) != TRAP_SC && trap_of(r) != TRAP_SCV) || (sut_ppc_reg(r, SUT_PPC_TRAPNO) & TRAP_NO_RESTART))
		return false;
	*ret_nr = (long)sut_ppc_reg(r, SUT_PPC_R0);
	*ret_result = sut_ppc_regs_syscall_result(r);
	return true;
}

bool sut_ppc_is_syscall_insn(const uint8_t *code, size_t len, size_t *ret_len)
{
	/* Only sc: scv may be switched off for a process, and then kills it. */
	if (len < 4 || sut_ppc_word(code) != 0x44000002) /* sc */
		return false;
	*ret_len = 4;
	return true;
}

void sut_ppc_regs_set_syscall(struct sut_regs *r, uint64_t insn, unsigned nr, const uint64_t args[6])
{
	sut_ppc_set_reg(r, SUT_PPC_NIP, insn);
	sut_ppc_set_reg(r, SUT_PPC_R0, nr);
	sut_ppc_set_reg(r, SUT_PPC_TRAPNO, 0); /* nothing to restart */
	for (unsigned i = 0; i < 6; i++)
		sut_ppc_set_reg(r, SUT_PPC_R3 + i, args[i]);
}

/* The same calls as on other architectures (x86_64/syscall.c says why these), by the numbers of this one. */
static bool says_eintr(const struct sut_regs *r)
{
	static const uint16_t calls[] = {
		3, /* read */
		4, /* write */
		82, /* select */
		142, /* _newselect */
		145, /* readv */
		146, /* writev */
		176, /* rt_sigtimedwait */
		186, /* sendfile */
		229, /* io_getevents */
		238, /* epoll_wait */
		280, /* pselect6 */
		281, /* ppoll */
		283, /* splice */
		303, /* epoll_pwait */
		309, /* fallocate */
		328, /* connect */
		330, /* accept */
		334, /* send */
		335, /* sendto */
		336, /* recv */
		337, /* recvfrom */
		341, /* sendmsg */
		342, /* recvmsg */
		343, /* recvmmsg */
		344, /* accept4 */
		349, /* sendmmsg */
		380, /* preadv2 */
		381, /* pwritev2 */
		388, /* io_pgetevents */
		392, /* semtimedop */
		426, /* io_uring_enter */
		441, /* epoll_pwait2 */
	};
	uint64_t nr = sut_ppc_reg(r, SUT_PPC_R0), op = sut_ppc_reg(r, SUT_PPC_ORIG_R3);

	if (nr == NR_IPC)
		return (op & 0xffff) == 1 || (op & 0xffff) == 4; /* semop, semtimedop */
	if (nr == NR_SOCKETCALL) /* connect, accept, send .. recvfrom, sendmsg .. sendmmsg */
		return op == 3 || op == 5 || (op >= 9 && op <= 12) || (op >= 16 && op <= 20);
	for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (calls[i] == nr)
			return true;
	}
	return false;
}

bool sut_ppc_regs_mask_eintr(struct sut_regs *r)
{
	int64_t result;
	long nr;

	if (!sut_ppc_regs_in_syscall(r, &nr, &result) || result != SUT_PPC_EINTR || !says_eintr(r))
		return false;
	/* If a handler is to run, the kernel makes EINTR of it again: what the program would have seen. */
	result = trap_of(r) == TRAP_SCV ? SUT_PPC_ERESTARTNOHAND : -SUT_PPC_ERESTARTNOHAND;
	sut_ppc_set_reg(r, SUT_PPC_R3, (uint64_t)result);
	return true;
}

bool sut_ppc_regs_restart_block(const struct sut_regs *r)
{
	int64_t result;
	long nr;

	return sut_ppc_regs_in_syscall(r, &nr, &result) && result == SUT_PPC_ERESTART_RESTARTBLOCK;
}
