/* SPDX-License-Identifier: MIT */
/*
 * Description: a thread that was borrowed finds back by itself: all its registers, flags, vector registers and
 * signal mask are restored by the kernel from the frame, an interrupted system call goes on, the alternate
 * signal stack stays. Calls that leak EINTR to a stop do not when it is masked.
 *
 * A child is stopped by ptrace, put on the heal code with other registers, and let go. For the
 * restarts the one who stops it is a third process that dies in the middle, as a tool that is killed.
 */
#include <stdarg.h>
#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

#include <cmocka.h>

#include "arch/arch.h"
#include "util/util.h"

#ifndef PTRACE_GETSIGMASK
#define PTRACE_GETSIGMASK 0x420a
#define PTRACE_SETSIGMASK 0x420b
#endif

static const struct sut_arch *const arch = &sut_arch_x86_64;

#define FRAME_ROOM 65536
#define SPIN_OFF   64
static uint8_t *frame; /* FRAME_ROOM bytes, inherited by the children at the same address */
static uint8_t *code; /* heal code, and a loop at SPIN_OFF */

static const uint64_t all_signals = ~0ull;

static void wait_stop(pid_t pid)
{
	int st;

	assert_int_equal(waitpid(pid, &st, __WALL), pid);
	assert_true(WIFSTOPPED(st));
}

static void get_regs(pid_t pid, struct sut_regs *r)
{
	struct iovec io = { r->raw, sizeof(r->raw) };

	assert_int_equal(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &io), 0);
	r->size = io.iov_len;
}

static void set_regs(pid_t pid, struct sut_regs *r)
{
	struct iovec io = { r->raw, r->size };

	assert_int_equal(ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &io), 0);
}

static size_t get_fpu(pid_t pid, uint8_t *buf, size_t cap)
{
	struct iovec io = { buf, cap };

	assert_int_equal(ptrace(PTRACE_GETREGSET, pid, arch->fpu_regset, &io), 0);
	return io.iov_len;
}

static void set_fpu(pid_t pid, uint8_t *buf, size_t len)
{
	struct iovec io = { buf, len };

	assert_int_equal(ptrace(PTRACE_SETREGSET, pid, arch->fpu_regset, &io), 0);
}

static void write_mem(pid_t pid, void *at, const void *from, size_t len)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, from, len, (off_t)(uintptr_t)at), len);
	close(fd);
}

/* Puts a stopped thread on the heal code, about to make one harmless call, with nothing left of its state. */
static void put_on_heal_code(pid_t pid, const struct sut_regs *regs)
{
	static uint8_t fpu[FRAME_ROOM], out[FRAME_ROOM];
	size_t fpu_len = get_fpu(pid, fpu, sizeof(fpu)), len;
	const uint64_t args[6] = { 0 };
	struct sut_regs r = *regs;
	uint64_t mask, sp;

	assert_int_equal(ptrace(PTRACE_GETSIGMASK, pid, 8, &mask), 0);
	assert_int_equal(
		arch->sigframe(regs, fpu, fpu_len, mask, (uint64_t)(uintptr_t)frame, out, sizeof(out), &len, &sp), 0);
	write_mem(pid, frame, out, len);
	for (size_t i = 0; i < 15; i++) /* all general registers */
		memset(r.raw + 8 * i, 0x5a, 8);
	arch->regs_set_syscall(&r, (uint64_t)(uintptr_t)code + arch->heal_syscall_off, arch->sysno[SUT_SYS_GETPID],
			       args);
	arch->regs_set_sp(&r, sp);
	memset(fpu + 32, 0, 384); /* x87 and xmm registers */
	memset(fpu + 512, 0, fpu_len - 512); /* all others are in their initial state */
	set_fpu(pid, fpu, fpu_len);
	set_regs(pid, &r);
	assert_int_equal(ptrace(PTRACE_SETSIGMASK, pid, 8, &all_signals), 0);
}

/* Fills every vector register that the processor has with something that is in no initial state. */
static void fill_fpu(uint8_t *fpu, size_t len)
{
	uint64_t features, used = 3;
	unsigned a, b, c, d;

	memcpy(&features, fpu + 464, 8);
	for (size_t i = 0; i < 8; i++) /* x87 registers, 10 bytes each */
		memset(fpu + 32 + 16 * i, 0x11 + (int)i, 10);
	fpu[4] = 0xff; /* all x87 registers in use */
	for (size_t i = 160; i < 416; i++)
		fpu[i] = (uint8_t)(i * 7 + 1);
	for (unsigned i = 2; i < 10; i++) {
		if (!(features >> i & 1) || i == 3 || i == 4 || i == 8)
			continue;
		__cpuid_count(0xd, i, a, b, c, d);
		if (b + a > len)
			continue;
		for (unsigned k = 0; i != 9 && k < a; k++)
			fpu[b + k] = (uint8_t)(k * 5 + i);
		if (i == 9) /* protection keys: forbid writes through key 5, which nothing has */
			memset(fpu + b, 0, a), fpu[b + 1] = 0x08;
		used |= 1ull << i;
	}
	memcpy(fpu + 512, &used, 8);
}

/* Lets a thread run until it is stopped in the loop. */
static void run_to_loop(pid_t pid, struct sut_regs *r)
{
	for (;;) {
		assert_int_equal(ptrace(PTRACE_CONT, pid, 0, 0), 0);
		usleep(2000);
		assert_int_equal(ptrace(PTRACE_INTERRUPT, pid, 0, 0), 0);
		wait_stop(pid);
		get_regs(pid, r);
		if (arch->regs_pc(r) == (uint64_t)(uintptr_t)code + SPIN_OFF)
			return;
	}
}

static void test_everything_is_restored(void **state)
{
	static uint8_t fpu[FRAME_ROOM], before_fpu[FRAME_ROOM], after_fpu[FRAME_ROOM];
	const uint64_t mask = (1ull << (SIGUSR1 - 1)) | (1ull << (SIGRTMIN + 3 - 1));
	struct sut_regs before, after;
	size_t fpu_len;
	uint64_t got;
	pid_t pid = fork();

	if (!pid) {
		for (;;)
			pause();
	}
	assert_int_equal(ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_EXITKILL), 0);
	assert_int_equal(ptrace(PTRACE_INTERRUPT, pid, 0, 0), 0);
	wait_stop(pid);
	get_regs(pid, &before);
	for (unsigned i = 0; i < 15; i++) {
		uint64_t v = 0x0123456789abcdefull * (i + 3);

		memcpy(before.raw + 8 * i, &v, 8);
	}
	memset(before.raw + 8 * 15, 0xff, 8); /* orig_rax: in no system call */
	got = 0xcd7; /* carry, parity, adjust, zero, sign, direction, overflow */
	memcpy(before.raw + 8 * 18, &got, 8);
	arch->regs_set_pc(&before, (uint64_t)(uintptr_t)code + SPIN_OFF);
	arch->regs_set_sp(&before, 0x7fff00000123ull); /* not a stack at all */
	set_regs(pid, &before);
	fpu_len = get_fpu(pid, fpu, sizeof(fpu));
	fill_fpu(fpu, fpu_len);
	set_fpu(pid, fpu, fpu_len);
	assert_int_equal(ptrace(PTRACE_SETSIGMASK, pid, 8, &mask), 0);
	run_to_loop(pid, &before);
	assert_int_equal(get_fpu(pid, before_fpu, sizeof(before_fpu)), fpu_len);
	assert_memory_equal(before_fpu + 160, fpu + 160, 256); /* the test's own premise: it is there */
	assert_memory_equal(before_fpu + 576, fpu + 576, fpu_len - 576);

	put_on_heal_code(pid, &before);
	run_to_loop(pid, &after);
	assert_int_equal(get_fpu(pid, after_fpu, sizeof(after_fpu)), fpu_len);
	for (unsigned i = 0; i < arch->regs_size / 8; i++) {
		if (memcmp(before.raw + 8 * i, after.raw + 8 * i, 8))
			fail_msg("register %u: 0x%lx became 0x%lx", i, sut_le64(before.raw + 8 * i),
				 sut_le64(after.raw + 8 * i));
	}
	assert_memory_equal(before_fpu, after_fpu, fpu_len);
	assert_int_equal(ptrace(PTRACE_GETSIGMASK, pid, 8, &got), 0);
	assert_int_equal(got, mask);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* ---- interrupted system calls --------------------------------------------------------------- */

static int pair[2], efd, epfd, listener, sem_id;
static struct sockaddr_un addr = { .sun_family = AF_UNIX };
static uint32_t futex_word;

/* How long a call waits that ends by itself; doubled where a slow machine stops it too late. */
static struct timespec soon = { 0, 100000000 };
static const struct timespec late = { 3600, 0 };

static int do_read(void)
{
	char c;

	return read(pair[0], &c, 1) == 1;
}
static int do_readv(void)
{
	char c;
	struct iovec v = { &c, 1 };

	return readv(pair[0], &v, 1) == 1;
}
static int do_recv(void)
{
	char c;

	return recv(pair[0], &c, 1, 0) == 1;
}
static int do_recvmsg(void)
{
	char c;
	struct iovec v = { &c, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	return recvmsg(pair[0], &m, 0) == 1;
}
static int do_recvmmsg(void)
{
	char c;
	struct iovec v = { &c, 1 };
	struct mmsghdr m = { .msg_hdr = { .msg_iov = &v, .msg_iovlen = 1 } };

	return recvmmsg(pair[0], &m, 1, 0, NULL) == 1;
}
static int do_write(void)
{
	return write(pair[0], "x", 1) == 1;
}
static int do_writev(void)
{
	struct iovec v = { (void *)"x", 1 };

	return writev(pair[0], &v, 1) == 1;
}
static int do_send(void)
{
	return send(pair[0], "x", 1, 0) == 1;
}
static int do_sendmsg(void)
{
	struct iovec v = { (void *)"x", 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	return sendmsg(pair[0], &m, 0) == 1;
}
static int do_accept(void)
{
	return accept(listener, NULL, NULL) >= 0;
}
static int do_accept4(void)
{
	return accept4(listener, NULL, NULL, SOCK_CLOEXEC) >= 0;
}
static int do_epoll_wait(void)
{
	struct epoll_event e;

	return epoll_wait(epfd, &e, 1, -1) == 1;
}
static int do_epoll_wait_timed(void)
{
	struct epoll_event e;

	return epoll_wait(epfd, &e, 1, 3600000) == 1;
}
static int do_epoll_pwait(void)
{
	struct epoll_event e;
	sigset_t set;

	sigemptyset(&set);
	return epoll_pwait(epfd, &e, 1, -1, &set) == 1;
}
static int do_epoll_pwait2(void)
{
	struct epoll_event e;

	return syscall(441, epfd, &e, 1, &late, NULL, 8) == 1 || errno == ENOSYS;
}
static int do_semop(void)
{
	struct sembuf op = { 0, -1, 0 };

	return !semop(sem_id, &op, 1);
}
static int do_semtimedop(void)
{
	struct sembuf op = { 0, -1, 0 };

	return !semtimedop(sem_id, &op, 1, &late);
}
static int do_sigtimedwait(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return sigtimedwait(&set, NULL, &late) == SIGUSR2;
}
static int do_io_getevents(void)
{
	aio_context_t ctx = 0;
	struct io_event e;

	if (syscall(SYS_io_setup, 1, &ctx))
		return errno == ENOSYS;
	return syscall(SYS_io_getevents, ctx, 1, 1, &e, &soon) == 0;
}
static int do_io_pgetevents(void)
{
	aio_context_t ctx = 0;
	struct io_event e;

	if (syscall(SYS_io_setup, 1, &ctx))
		return errno == ENOSYS;
	return syscall(333, ctx, 1, 1, &e, &soon, NULL) == 0;
}
static int do_poll(void)
{
	struct pollfd p = { efd, POLLIN, 0 };

	return poll(&p, 1, 3600000) == 1;
}
static int do_nanosleep(void)
{
	return !nanosleep(&soon, NULL);
}
static int do_clock_nanosleep(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += soon.tv_sec + 1;
	return !clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}
static int do_futex_timed(void)
{
	return syscall(SYS_futex, &futex_word, FUTEX_WAIT, 0, &soon, NULL, 0) == -1 && errno == ETIMEDOUT;
}
static int do_wait(void)
{
	pid_t pid = fork();
	int st;

	if (!pid) {
		nanosleep(&soon, NULL);
		_exit(7);
	}
	return waitpid(pid, &st, 0) == pid && WEXITSTATUS(st) == 7;
}

/* What ends the wait, from outside. */
static void put_byte(pid_t pid)
{
	assert_int_equal(write(pair[1], "x", 1), 1);
}
static void take_all(pid_t pid)
{
	char buf[4096];

	while (recv(pair[1], buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}
static void dial(pid_t pid)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
}
static void raise_event(pid_t pid)
{
	eventfd_write(efd, 1);
}
static void raise_sem(pid_t pid)
{
	struct sembuf op = { 0, 1, 0 };

	assert_int_equal(semop(sem_id, &op, 1), 0);
}
static void send_signal(pid_t pid)
{
	kill(pid, SIGUSR2);
}
static void nothing(pid_t pid)
{
}

static const struct blocking {
	const char *name;
	int (*call)(void); /* true: it did what it does undisturbed */
	void (*end)(pid_t);
	bool fill; /* the socket is full */
	bool leaks; /* a stop makes it answer EINTR */
} blockings[] = {
	{ "read", do_read, put_byte, false, true },
	{ "readv", do_readv, put_byte, false, true },
	{ "recvfrom", do_recv, put_byte, false, true },
	{ "recvmsg", do_recvmsg, put_byte, false, true },
	{ "recvmmsg", do_recvmmsg, put_byte, false, true },
	{ "write", do_write, take_all, true, true },
	{ "writev", do_writev, take_all, true, true },
	{ "sendto", do_send, take_all, true, true },
	{ "sendmsg", do_sendmsg, take_all, true, true },
	{ "accept", do_accept, dial, false, true },
	{ "accept4", do_accept4, dial, false, true },
	{ "epoll_wait", do_epoll_wait, raise_event, false, true },
	{ "epoll_wait, timed", do_epoll_wait_timed, raise_event, false, true },
	{ "epoll_pwait", do_epoll_pwait, raise_event, false, true },
	{ "epoll_pwait2", do_epoll_pwait2, raise_event, false, true },
	{ "semop", do_semop, raise_sem, false, true },
	{ "semtimedop", do_semtimedop, raise_sem, false, true },
	{ "rt_sigtimedwait", do_sigtimedwait, send_signal, false, true },
	{ "io_getevents", do_io_getevents, nothing, false, true },
	{ "io_pgetevents", do_io_pgetevents, nothing, false, false },
	{ "poll", do_poll, raise_event, false, false },
	{ "nanosleep", do_nanosleep, nothing, false, false },
	{ "clock_nanosleep, absolute", do_clock_nanosleep, nothing, false, false },
	{ "futex, timed", do_futex_timed, nothing, false, false },
	{ "wait4", do_wait, nothing, false, false },
};

/* The child: readies itself, blocks in the call, and answers for what it saw. */
static void child(const struct blocking *b)
{
	static uint8_t alt_stack[65536];
	stack_t alt = { .ss_sp = alt_stack, .ss_size = sizeof(alt_stack) }, alt_after;
	sigset_t set, set_after;
	int ok;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGWINCH);
	if (sigprocmask(SIG_SETMASK, &set, NULL) || sigaltstack(&alt, NULL))
		_exit(10);
	ok = b->call();
	if (!ok)
		_exit(20 + (errno == EINTR));
	if (sigprocmask(SIG_SETMASK, NULL, &set_after) || memcmp(&set, &set_after, 8))
		_exit(12);
	if (sigaltstack(NULL, &alt_after) || alt_after.ss_sp != alt.ss_sp || alt_after.ss_size != alt.ss_size ||
	    alt_after.ss_flags)
		_exit(13);
	_exit(0);
}

/* Until it sleeps for a while, or has ended. */
static void wait_until_blocked(pid_t pid)
{
	char path[64], line[256];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	for (unsigned seen = 0; seen < 3;) {
		FILE *f = fopen(path, "r");

		assert_non_null(f);
		assert_non_null(fgets(line, sizeof(line), f));
		fclose(f);
		seen = strstr(line, ") S ") || strstr(line, ") Z ") ? seen + 1 : 0;
		usleep(3000);
	}
}

#define TOO_LATE 50 /* the call was over already */

/* What a tool does that only stops a thread, and lets it go with all registers, or that dies while it borrows it. */
static void tool(pid_t pid, const struct blocking *b, bool dies)
{
	struct sut_regs r;
	int64_t result;
	long nr;

	if (ptrace(PTRACE_SEIZE, pid, 0, 0) || ptrace(PTRACE_INTERRUPT, pid, 0, 0))
		_exit(TOO_LATE);
	wait_stop(pid);
	get_regs(pid, &r);
	if (!arch->regs_in_syscall(&r, &nr, &result) || result >= 0 || result == -ETIMEDOUT)
		_exit(TOO_LATE);
	if (dies) {
		put_on_heal_code(pid, &r);
		_exit(0);
	}
	if (b->leaks != arch->regs_mask_eintr(&r) || (b->leaks && arch->regs_mask_eintr(&r)))
		_exit(3);
	set_regs(pid, &r);
	_exit(ptrace(PTRACE_DETACH, pid, 0, 0) ? 4 : 0);
}

static void make_objects(const struct blocking *b)
{
	struct timeval hour = { 3600, 0 };
	struct epoll_event e = { .events = EPOLLIN };

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &hour, sizeof(hour));
	setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &hour, sizeof(hour));
	while (b->fill && send(pair[0], "y", 1, MSG_DONTWAIT) == 1)
		;
	efd = eventfd(0, 0);
	epfd = epoll_create1(0);
	assert_int_equal(epoll_ctl(epfd, EPOLL_CTL_ADD, efd, &e), 0);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &hour, sizeof(hour));
	snprintf(addr.sun_path + 1, sizeof(addr.sun_path) - 1, "suture-test-%d", getpid());
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(listener, 1), 0);
	sem_id = semget(IPC_PRIVATE, 1, 0600);
	assert_true(sem_id >= 0);
}

static void drop_objects(void)
{
	semctl(sem_id, 0, IPC_RMID);
	close(pair[0]);
	close(pair[1]);
	close(efd);
	close(epfd);
	close(listener);
}

/* False: the call was over before it was stopped. */
static bool one_try(const struct blocking *b, bool dies)
{
	int tool_st, st;
	pid_t pid, third;

	make_objects(b);
	pid = fork();
	if (!pid)
		child(b);
	wait_until_blocked(pid);
	third = fork();
	if (!third)
		tool(pid, b, dies);
	assert_int_equal(waitpid(third, &tool_st, 0), third);
	if (tool_st)
		kill(pid, SIGKILL);
	else
		wait_until_blocked(pid);
	b->end(pid);
	assert_int_equal(waitpid(pid, &st, 0), pid);
	drop_objects();
	if (WIFEXITED(tool_st) && WEXITSTATUS(tool_st) == TOO_LATE)
		return false;
	if (tool_st)
		fail_msg("%s: the stop went wrong: 0x%x", b->name, tool_st);
	if (!WIFEXITED(st))
		fail_msg("%s: killed by signal %d", b->name, WTERMSIG(st));
	if (WEXITSTATUS(st))
		fail_msg("%s: %s", b->name,
			 WEXITSTATUS(st) == 21   ? "EINTR was seen"
			 : WEXITSTATUS(st) == 12 ? "the signal mask is another"
			 : WEXITSTATUS(st) == 13 ? "the alternate stack is another"
						 : "another result than undisturbed");
	return true;
}

static void one_blocking(const struct blocking *b, bool dies)
{
	soon = (struct timespec){ 0, 100000000 };
	while (!one_try(b, dies)) {
		soon.tv_sec = soon.tv_sec ? soon.tv_sec * 2 : 1;
		if (soon.tv_sec > 60)
			fail_msg("%s: over before it can be stopped", b->name);
	}
}

static void test_eintr_is_masked(void **state)
{
	for (size_t i = 0; i < SUT_ARRAY_SIZE(blockings); i++)
		one_blocking(&blockings[i], false);
}

static void test_calls_survive_a_dead_tool(void **state)
{
	for (size_t i = 0; i < SUT_ARRAY_SIZE(blockings); i++)
		one_blocking(&blockings[i], true);
}

static void test_bad_arguments(void **state)
{
	static uint8_t out[FRAME_ROOM], fpu[4096];
	struct sut_regs r = { .size = arch->regs_size };
	size_t len = 1;
	uint64_t sp = 2;

	assert_int_equal(arch->sigframe(&r, fpu, 832, 0, 0x1001, out, sizeof(out), &len, &sp), -EINVAL);
	assert_int_equal(arch->sigframe(&r, fpu, 100, 0, 0x1000, out, sizeof(out), &len, &sp), -EINVAL);
	assert_int_equal(arch->sigframe(&r, fpu, 832, 0, 0x1000, out, 448 + 832 + 3, &len, &sp), -ENOSPC);
	assert_int_equal(len, 1);
	assert_int_equal(sp, 2);
	assert_int_equal(arch->sigframe(&r, fpu, 832, 0, 0x1000, out, 448 + 832 + 4, &len, &sp), 0);
	assert_int_equal(len, 448 + 832 + 4);
	assert_int_equal(sp, 0x1008);
}

/* A register set with room for AMX tile data that the thread does not use: no more is claimed than it can have. */
static void test_no_tile_data(void **state)
{
	static uint8_t out[FRAME_ROOM], fpu[11008];
	struct sut_regs r = { .size = arch->regs_size };
	uint64_t features = 0x602e7, used = 0x7, got;
	size_t len;
	uint64_t sp;

	memcpy(fpu + 464, &features, 8);
	memcpy(fpu + 512, &used, 8);
	assert_int_equal(arch->sigframe(&r, fpu, sizeof(fpu), 0, 0x1000, out, sizeof(out), &len, &sp), 0);
	assert_int_equal(len, 448 + 2816 + 4);
	assert_int_equal(sut_le32(out + 448 + 464 + 16), 2816);
	memcpy(&got, out + 448 + 464 + 8, 8);
	assert_int_equal(got, features & ~(1ull << 18));
	used |= 1ull << 18;
	memcpy(fpu + 512, &used, 8);
	assert_int_equal(arch->sigframe(&r, fpu, sizeof(fpu), 0, 0x1000, out, sizeof(out), &len, &sp), 0);
	assert_int_equal(len, 448 + 11008 + 4);
}

static int setup(void **state)
{
	uint8_t text[4096] = { 0 };
	int fd = open("/proc/self/mem", O_RDWR);

	frame = mmap(NULL, FRAME_ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	code = mmap(NULL, sizeof(text), PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(text, arch->heal_code, arch->heal_code_size);
	text[SPIN_OFF] = 0xeb; /* jmp . */
	text[SPIN_OFF + 1] = 0xfe;
	if (fd < 0 || pwrite(fd, text, sizeof(text), (off_t)(uintptr_t)code) != sizeof(text))
		return -1;
	return close(fd);
}

static uint8_t kernels_frame[1024]; /* from the return address on */
static uint64_t kernels_fpu, kernels_segments;

static void on_usr1(int sig, siginfo_t *si, void *arg)
{
	ucontext_t *uc = arg;

	memcpy(kernels_frame, (uint8_t *)uc - 8, sizeof(kernels_frame));
	kernels_segments = (uint64_t)uc->uc_mcontext.gregs[REG_CSGSFS];
	kernels_fpu = (uint64_t)((uint8_t *)uc->uc_mcontext.fpregs - ((uint8_t *)uc - 8));
}

static bool has_sigframe(const uint8_t *stack, size_t len)
{
	struct sut_regs r = { .size = arch->regs_size };
	uint64_t cs = kernels_segments & 0xffff, ss = kernels_segments >> 48;

	memcpy(r.raw + 8 * 17, &cs, 8);
	memcpy(r.raw + 8 * 20, &ss, 8);
	return arch->has_sigframe(&r, stack, len);
}

/* The kernel's own frame is known by either of two words, and without them it is not. */
static void test_a_frame_is_known(void **state)
{
	struct sigaction sa = { .sa_sigaction = on_usr1, .sa_flags = SA_SIGINFO };
	static uint8_t none[1024];
	uint32_t mark = 0;
	unsigned a, b, c, d;

	sigaction(SIGUSR1, &sa, NULL);
	raise(SIGUSR1);
	assert_true(kernels_fpu < sizeof(kernels_frame) - 512 && !(kernels_fpu & 7));
	assert_false(has_sigframe(none, sizeof(none)));
	assert_true(has_sigframe(kernels_frame, sizeof(kernels_frame)));
	__cpuid(1, a, b, c, d);
	if (c & bit_OSXSAVE)
		memcpy(&mark, kernels_frame + kernels_fpu + 464, 4);
	assert_int_equal(!!(c & bit_OSXSAVE), mark == 0x46505853);
	/* without the segments, which stand behind 18 registers */
	memset(kernels_frame + 8 + 40 + 18 * 8, 0, 8);
	assert_int_equal(has_sigframe(kernels_frame, sizeof(kernels_frame)), !!mark);
	/* without the mark as well */
	memset(kernels_frame + kernels_fpu + 464, 0, 8);
	assert_false(has_sigframe(kernels_frame, sizeof(kernels_frame)));
	/* the segments alone */
	memcpy(kernels_frame + 8 + 40 + 18 * 8, &kernels_segments, 8);
	assert_true(has_sigframe(kernels_frame, sizeof(kernels_frame)));
	assert_true(has_sigframe(kernels_frame + 8 + 40 + 18 * 8, 8));
	assert_false(has_sigframe(kernels_frame + 8 + 40 + 18 * 8, 7));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_frame_is_known), cmocka_unit_test(test_everything_is_restored),
		cmocka_unit_test(test_eintr_is_masked),  cmocka_unit_test(test_calls_survive_a_dead_tool),
		cmocka_unit_test(test_bad_arguments),    cmocka_unit_test(test_no_tile_data),
	};
	pid_t pid;

	if (sut_arch_host() != arch) {
		puts("skipped: needs an x86-64 host");
		return 77;
	}
	pid = fork();
	if (!pid)
		for (;;)
			pause();
	if (ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_EXITKILL)) {
		kill(pid, SIGKILL);
		puts("skipped: ptrace is not allowed here");
		return 77;
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, __WALL);
	return cmocka_run_group_tests(tests, setup, NULL);
}
