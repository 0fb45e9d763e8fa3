/* SPDX-License-Identifier: MIT */
/*
 * blocker.c - one thread in each system call that can be made to wait: none may come back before it is told to.
 *
 * `blocker` starts a thread for each line of the table below, named after it, says "ready" when all of them wait, and
 * goes on until a line comes on its standard input. Then each thread gets a SIGUSR1, whose handler ends the call with
 * EINTR: the only result that is right, unless the table says otherwise. `blocker NAME` is only that one. At the end it
 * says "errors N eintr M ...", as target.c does: M counts calls that came back with EINTR, N those that came back
 * with anything else, before the end.
 *
 * The calls are those of signal(7), and some more that answer EINTR. _S: on a socket with a time-out; _fixed: the time-out
 * lies where the kernel can not write what is left of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LONG_S 5000 /* time-outs that are never over */
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#ifndef IORING_ENTER_EXT_ARG
#define IORING_ENTER_EXT_ARG 8u
#endif

static atomic_int quit;
static pid_t main_tid;
static char dir[64];
static char big[1 << 16];

/* In memory that the kernel can not write what is left of the time to. */
static const struct timespec fixed_time = { LONG_S, 0 };
static const struct timeval fixed_tv = { LONG_S, 0 };

/* What is needed is there, or the call can not be tested here. */
static int want(int fd)
{
	if (fd < 0)
		pthread_exit(strerror(errno));
	return fd;
}

/* -- what is waited for ------------------------------------------------------------------------------- */

static int empty_pipe(void)
{
	int fd[2];

	want(pipe(fd));
	return fd[0];
}

static int full_pipe(void)
{
	int fd[2];

	want(pipe(fd));
	fcntl(fd[1], F_SETFL, O_NONBLOCK);
	while (write(fd[1], big, 4096) > 0)
		;
	while (write(fd[1], big, 1) > 0)
		;
	fcntl(fd[1], F_SETFL, 0);
	return fd[1];
}

static int pipe_with_data(void)
{
	int fd[2];

	want(pipe(fd));
	want((int)write(fd[1], big, 100));
	return fd[0];
}

static void patience(int fd)
{
	struct timeval tv = { LONG_S, 0 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

static int empty_sock(bool timed)
{
	int s[2];

	want(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	if (timed)
		patience(s[0]);
	return s[0];
}

static int full_sock(bool timed)
{
	int s = empty_sock(timed);

	while (send(s, big, 4096, MSG_DONTWAIT) > 0)
		;
	while (send(s, big, 1, MSG_DONTWAIT) > 0)
		;
	return s;
}

static int listening(struct sockaddr_un *at)
{
	static atomic_int n;
	int s = want(socket(AF_UNIX, SOCK_STREAM, 0));

	*at = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(at->sun_path, sizeof(at->sun_path), "%s/sock%d", dir, n++);
	want(bind(s, (struct sockaddr *)at, sizeof(*at)));
	want(listen(s, 0));
	return s;
}

static int accepting(bool timed)
{
	struct sockaddr_un at;
	int s = listening(&at);

	if (timed)
		patience(s);
	return s;
}

static int small_file(void)
{
	int fd = want(memfd_create("file", 0));

	want((int)write(fd, big, sizeof(big)));
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static int named(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return want(open(path, O_RDWR | O_CREAT, 0600));
}

static pid_t sleeping_child(void)
{
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return pid;
}

static struct iovec one_byte(void)
{
	static _Thread_local char c;

	return (struct iovec){ &c, 1 };
}

/* -- the calls ---------------------------------------------------------------------------------------- */

#define CALL(name, ...)                                               \
	static long name(void)                                        \
	{                                                             \
		char c[16] = { 0 };                                   \
		struct iovec v = one_byte();                          \
		struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 }; \
		struct mmsghdr mm = { .msg_hdr = m };                 \
		(void)c, (void)mm;                                    \
		__VA_ARGS__                                           \
	}

CALL(read_pipe, return read(empty_pipe(), c, 1);)
CALL(readv_pipe, return readv(empty_pipe(), &v, 1);)
CALL(write_pipe, return write(full_pipe(), c, 1);)
CALL(writev_pipe, return writev(full_pipe(), &v, 1);)
CALL(recvfrom_plain, return recv(empty_sock(false), c, 1, 0);)
CALL(recvmsg_plain, return recvmsg(empty_sock(false), &m, 0);)
CALL(sendto_plain, return send(full_sock(false), c, 1, 0);)
CALL(accept_plain, return accept(accepting(false), NULL, NULL);)
CALL(read_S, return read(empty_sock(true), c, 1);)
CALL(readv_S, return readv(empty_sock(true), &v, 1);)
CALL(preadv2_S, return preadv2(empty_sock(true), &v, 1, -1, 0);)
CALL(recvfrom_S, return recv(empty_sock(true), c, 1, 0);)
CALL(recvmsg_S, return recvmsg(empty_sock(true), &m, 0);)
CALL(recvmmsg_S, return recvmmsg(empty_sock(true), &mm, 1, 0, NULL);)
CALL(accept_S, return accept(accepting(true), NULL, NULL);)
CALL(accept4_S, return accept4(accepting(true), NULL, NULL, SOCK_CLOEXEC);)
CALL(write_S, return write(full_sock(true), c, 1);)
CALL(writev_S, return writev(full_sock(true), &v, 1);)
CALL(pwritev2_S, return pwritev2(full_sock(true), &v, 1, -1, 0);)
CALL(sendto_S, return send(full_sock(true), c, 1, 0);)
CALL(sendmsg_S, return sendmsg(full_sock(true), &m, 0);)
CALL(sendmmsg_S, return sendmmsg(full_sock(true), &mm, 1, 0);)
CALL(sendfile_S, return syscall(SYS_sendfile, full_sock(true), small_file(), NULL, 10);)
CALL(sendfile_pipe, return syscall(SYS_sendfile, full_pipe(), small_file(), NULL, 10);)
CALL(splice_S_in, return splice(empty_sock(true), NULL, full_pipe(), NULL, 10, 0);)
CALL(splice_S_out, return splice(pipe_with_data(), NULL, full_sock(true), NULL, 10, 0);)
CALL(splice_pipe, return splice(empty_pipe(), NULL, full_pipe(), NULL, 10, 0);)
CALL(tee_pipe, return tee(empty_pipe(), full_pipe(), 10, 0);)
CALL(vmsplice_pipe, return vmsplice(full_pipe(), &v, 1, 0);)

static long connect_unix(bool timed)
{
	struct sockaddr_un at;
	int s = 0;

	listening(&at);
	/* One more than the backlog. */
	for (int i = 0; i < 8; i++) {
		s = want(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
		if (connect(s, (struct sockaddr *)&at, sizeof(at)))
			break;
	}
	fcntl(s, F_SETFL, 0);
	if (timed)
		patience(s);
	return connect(s, (struct sockaddr *)&at, sizeof(at));
}

/* The kernel drops what would open a connection when the backlog is full: as if nobody was there. */
static long connect_tcp(bool timed)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int s = want(socket(AF_INET, SOCK_STREAM, 0));

	want(bind(s, (struct sockaddr *)&at, sizeof(at)));
	want(listen(s, 0));
	want(getsockname(s, (struct sockaddr *)&at, &len));
	for (int i = 0; i < 4; i++)
		connect(want(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)), (struct sockaddr *)&at, sizeof(at));
	usleep(10000);
	s = want(socket(AF_INET, SOCK_STREAM, 0));
	if (timed)
		patience(s);
	return connect(s, (struct sockaddr *)&at, sizeof(at));
}

CALL(connect_plain, return connect_unix(false);)
CALL(connect_S, return connect_unix(true);)
CALL(connect_tcp_plain, return connect_tcp(false);)
CALL(connect_tcp_S, return connect_tcp(true);)

static long pty(void)
{
	int m = want(posix_openpt(O_RDWR | O_NOCTTY)), s;
	char name[64];

	grantpt(m);
	unlockpt(m);
	want(ptsname_r(m, name, sizeof(name)));
	s = want(open(name, O_RDWR | O_NOCTTY));
	return read(s, name, 1);
}

CALL(read_pty, return pty();)

static long open_fifo(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/fifo", dir);
	want(mkfifo(path, 0600));
	return open(path, O_RDONLY);
}

CALL(wait4_child, return waitpid(sleeping_child(), NULL, 0);)
CALL(waitid_child, {
	siginfo_t si;

	return waitid(P_PID, (id_t)sleeping_child(), &si, WEXITED);
})

static long lock_file(const char *name, int cmd)
{
	struct flock l = { .l_type = F_WRLCK };
	int mine = named(name), other = named(name);

	if (!cmd) {
		want(flock(other, LOCK_EX));
		return flock(mine, LOCK_EX);
	}
	want(fcntl(other, F_OFD_SETLK, &l));
	return fcntl(mine, cmd, &l);
}

CALL(flock_, return lock_file("flock", 0);)
CALL(fcntl_ofd_setlkw, return lock_file("ofd", F_OFD_SETLKW);)
CALL(fcntl_setlkw, return lock_file("posix", F_SETLKW);)

static mqd_t queue(bool full)
{
	static atomic_int n;
	struct mq_attr attr = { .mq_maxmsg = 1, .mq_msgsize = 8 };
	char name[64];
	mqd_t q;

	snprintf(name, sizeof(name), "/suture-test-%d-%d", getpid(), n++);
	q = mq_open(name, O_RDWR | O_CREAT, 0600, &attr);
	mq_unlink(name);
	want((int)q);
	if (full)
		want(mq_send(q, "x", 1, 0));
	return q;
}

static struct timespec in_the_future(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	t.tv_sec += LONG_S;
	return t;
}

CALL(mq_receive_, return mq_receive(queue(false), c, 16, NULL);)
CALL(mq_timedreceive_, {
	struct timespec t = in_the_future(CLOCK_REALTIME);

	return mq_timedreceive(queue(false), c, 16, NULL, &t);
})
CALL(mq_send_, return mq_send(queue(true), c, 1, 0);)
CALL(mq_timedsend_, {
	struct timespec t = in_the_future(CLOCK_REALTIME);

	return mq_timedsend(queue(true), c, 1, 0, &t);
})

static long futex(int op, const struct timespec *t)
{
	static _Thread_local int word;

	return syscall(SYS_futex, &word, op, 0, t, NULL, FUTEX_BITSET_MATCH_ANY);
}

CALL(futex_wait, return futex(FUTEX_WAIT_PRIVATE, NULL);)
CALL(futex_wait_timed, return futex(FUTEX_WAIT_PRIVATE, &fixed_time);)
CALL(futex_bitset, {
	struct timespec t = in_the_future(CLOCK_MONOTONIC);

	return futex(FUTEX_WAIT_BITSET_PRIVATE, &t);
})
CALL(futex_waitv_, {
	static _Thread_local unsigned word;
	struct {
		uint64_t val, uaddr;
		uint32_t flags, reserved;
	} w = { 0, (uintptr_t)&word, 2, 0 };

	return syscall(SYS_futex_waitv, &w, 1, 0, NULL, 0);
})

/* Held by the main thread; a handler does not end this call. */
static unsigned pi_word;
CALL(futex_lock_pi, return syscall(SYS_futex, &pi_word, FUTEX_LOCK_PI, 0, NULL, NULL, 0);)

static void unlock_pi(void)
{
	syscall(SYS_futex, &pi_word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
}

CALL(read_eventfd, return read(want(eventfd(0, 0)), c, 8);)
CALL(read_timerfd, {
	struct itimerspec it = { .it_value = { LONG_S, 0 } };
	int fd = want(timerfd_create(CLOCK_MONOTONIC, 0));

	timerfd_settime(fd, 0, &it, NULL);
	return read(fd, c, 8);
})
CALL(read_signalfd, {
	struct signalfd_siginfo si;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMAX - 1);
	return read(want(signalfd(-1, &set, 0)), &si, sizeof(si));
})
CALL(read_inotify, {
	int fd = want(inotify_init1(0));

	want(inotify_add_watch(fd, dir, IN_ATTRIB));
	return read(fd, big, sizeof(big));
})

static sigset_t usr1(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	return set;
}

CALL(pause_, return pause();)
CALL(sigsuspend_, {
	sigset_t set = usr1(), none;

	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigemptyset(&none);
	return sigsuspend(&none);
})
CALL(sigwaitinfo_, {
	sigset_t set = usr1();

	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return sigwaitinfo(&set, NULL);
})
CALL(sigtimedwait_, {
	sigset_t set = usr1();

	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return sigtimedwait(&set, NULL, &fixed_time);
})

static int epoll(void)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int fd = want(epoll_create1(0));

	want(epoll_ctl(fd, EPOLL_CTL_ADD, empty_pipe(), &ev));
	return fd;
}

CALL(epoll_wait_, {
	struct epoll_event ev;

	return epoll_wait(epoll(), &ev, 1, -1);
})
CALL(epoll_wait_timed, {
	struct epoll_event ev;

	return epoll_wait(epoll(), &ev, 1, LONG_S * 1000);
})
CALL(epoll_pwait_, {
	struct epoll_event ev;
	sigset_t set = usr1(), none;

	sigemptyset(&none);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return epoll_pwait(epoll(), &ev, 1, -1, &none);
})
CALL(epoll_pwait2_, {
	struct epoll_event ev;

	return syscall(SYS_epoll_pwait2, epoll(), &ev, 1, &fixed_time, NULL, 8);
})
CALL(poll_, {
	struct pollfd f = { .fd = empty_pipe(), .events = POLLIN };

	return poll(&f, 1, -1);
})
CALL(poll_timed, {
	struct pollfd f = { .fd = empty_pipe(), .events = POLLIN };

	return poll(&f, 1, LONG_S * 1000);
})
CALL(ppoll_, {
	struct pollfd f = { .fd = empty_pipe(), .events = POLLIN };
	struct timespec t = fixed_time;
	sigset_t set = usr1(), none;

	sigemptyset(&none);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return ppoll(&f, 1, &t, &none);
})
CALL(ppoll_fixed, {
	struct pollfd f = { .fd = empty_pipe(), .events = POLLIN };

	return syscall(SYS_ppoll, &f, 1, &fixed_time, NULL, 8);
})
CALL(select_, {
	fd_set set;
	int fd = empty_pipe();
	struct timeval t = fixed_tv;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	return select(fd + 1, &set, NULL, NULL, &t);
})
#ifdef SYS_select
CALL(select_fixed, return syscall(SYS_select, 0, NULL, NULL, NULL, &fixed_tv);)
#endif
CALL(pselect6_, {
	struct timespec t = fixed_time;

	return pselect(0, NULL, NULL, NULL, &t, NULL);
})
CALL(pselect6_fixed, return syscall(SYS_pselect6, 0, NULL, NULL, NULL, &fixed_time, NULL);)

static struct {
	long type;
	char text[64];
} message = { 1, "" };
static int ipc[4] = { -1, -1, -1, -1 }; /* two message queues, two semaphore sets */

CALL(msgrcv_, {
	ipc[0] = want(msgget(IPC_PRIVATE, 0600));
	return msgrcv(ipc[0], big, 64, 0, 0);
})
CALL(msgsnd_, {
	ipc[1] = want(msgget(IPC_PRIVATE, 0600));
	while (!msgsnd(ipc[1], &message, sizeof(message.text), IPC_NOWAIT))
		;
	return msgsnd(ipc[1], &message, sizeof(message.text), 0);
})
CALL(semop_, {
	struct sembuf b = { 0, -1, 0 };

	ipc[2] = want(semget(IPC_PRIVATE, 1, 0600));
#ifdef SYS_semop /* the C library may make semtimedop of it */
	return syscall(SYS_semop, ipc[2], &b, 1);
#else
	return semop(ipc[2], &b, 1);
#endif
})
CALL(semtimedop_, {
	struct sembuf b = { 0, -1, 0 };

	ipc[3] = want(semget(IPC_PRIVATE, 1, 0600));
	return semtimedop(ipc[3], &b, 1, &fixed_time);
})
CALL(nanosleep_, return nanosleep(&fixed_time, NULL);)
CALL(clock_nanosleep_abs, {
	struct timespec t = in_the_future(CLOCK_MONOTONIC);

	return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
})
CALL(clock_nanosleep_rel, { return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &fixed_time, NULL); })

static aio_context_t aio(void)
{
	aio_context_t a = 0;

	want((int)syscall(SYS_io_setup, 4, &a));
	return a;
}

CALL(io_getevents_, {
	struct io_event ev;

	return syscall(SYS_io_getevents, aio(), 1, 1, &ev, NULL);
})
CALL(io_getevents_timed, {
	struct io_event ev;

	return syscall(SYS_io_getevents, aio(), 1, 1, &ev, &fixed_time);
})
CALL(io_pgetevents_, {
	struct io_event ev;

	return syscall(SYS_io_pgetevents, aio(), 1, 1, &ev, NULL, NULL);
})

static int uring(void)
{
	struct io_uring_params par = { 0 };

	return want((int)syscall(SYS_io_uring_setup, 4, &par));
}

CALL(io_uring_enter_, return syscall(SYS_io_uring_enter, uring(), 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);)
CALL(io_uring_enter_timed, {
	struct {
		uint64_t sigmask;
		uint32_t sigmask_sz, pad;
		uint64_t ts;
	} arg = { 0, 0, 0, (uintptr_t)&fixed_time };

	return syscall(SYS_io_uring_enter, uring(), 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg,
		       sizeof(arg));
})

/* No wait, but long work, which older kernels break off. */
static long fallocate_(void)
{
	int fd = want(memfd_create("fallocate", 0)), r;

	for (;;) {
		r = fallocate(fd, 0, 0, 16 << 20);
		if (quit) {
			errno = EINTR;
			return -1;
		}
		if (r)
			return r;
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 16 << 20);
		usleep(1000);
	}
}

/* -- the table ---------------------------------------------------------------------------------------- */

static struct call {
	const char *name;
	long (*fn)(void);
	void (*wake)(void); /* instead of a signal */
	long result; /* in the end; 0: the error EINTR; -2: 0 */
	bool runs; /* does not sleep */
	pthread_t thread;
	atomic_int tid, ended;
} calls[] = {
#define C(fn)           \
	{               \
#fn, fn \
	}
	C(read_pipe),
	C(readv_pipe),
	C(write_pipe),
	C(writev_pipe),
	C(recvfrom_plain),
	C(recvmsg_plain),
	C(sendto_plain),
	C(accept_plain),
	C(read_S),
	C(readv_S),
	C(preadv2_S),
	C(recvfrom_S),
	C(recvmsg_S),
	C(recvmmsg_S),
	C(accept_S),
	C(accept4_S),
	C(write_S),
	C(writev_S),
	C(pwritev2_S),
	C(sendto_S),
	C(sendmsg_S),
	C(sendmmsg_S),
	C(sendfile_S),
	C(sendfile_pipe),
	C(splice_S_in),
	C(splice_S_out),
	C(splice_pipe),
	C(tee_pipe),
	C(vmsplice_pipe),
	C(connect_plain),
	C(connect_S),
	C(connect_tcp_plain),
	C(connect_tcp_S),
	C(read_pty),
	C(open_fifo),
	C(wait4_child),
	C(waitid_child),
	C(flock_),
	C(fcntl_ofd_setlkw),
	C(fcntl_setlkw),
	C(mq_receive_),
	C(mq_timedreceive_),
	C(mq_send_),
	C(mq_timedsend_),
	C(futex_wait),
	C(futex_wait_timed),
	C(futex_bitset),
	C(futex_waitv_),
	{ "futex_lock_pi", futex_lock_pi, unlock_pi, -2 },
	C(read_eventfd),
	C(read_timerfd),
	C(read_signalfd),
	C(read_inotify),
	C(pause_),
	C(sigsuspend_),
	{ "sigwaitinfo_", sigwaitinfo_, NULL, SIGUSR1 },
	{ "sigtimedwait_", sigtimedwait_, NULL, SIGUSR1 },
	C(epoll_wait_),
	C(epoll_wait_timed),
	C(epoll_pwait_),
	C(epoll_pwait2_),
	C(poll_),
	C(poll_timed),
	C(ppoll_),
	C(ppoll_fixed),
	C(select_),
#ifdef SYS_select
	C(select_fixed),
#endif
	C(pselect6_),
	C(pselect6_fixed),
	C(msgrcv_),
	C(msgsnd_),
	C(semop_),
	C(semtimedop_),
	C(nanosleep_),
	C(clock_nanosleep_abs),
	C(clock_nanosleep_rel),
	C(io_getevents_),
	C(io_getevents_timed),
	C(io_pgetevents_),
	C(io_uring_enter_),
	C(io_uring_enter_timed),
	{ "fallocate_", fallocate_, NULL, 0, true },
#undef C
};
#define N_CALLS (sizeof(calls) / sizeof(calls[0]))

static atomic_int errors, eintr;

static void *run(void *arg)
{
	struct call *c = arg;
	bool early;
	long r;

	prctl(PR_SET_NAME, c->name);
	c->tid = gettid();
	r = c->fn();
	early = !quit;
	if (!early && (c->result ? r == (c->result == -2 ? 0 : c->result) : r == -1 && errno == EINTR)) {
		c->ended = 1;
		return NULL;
	}
	if (r == -1 && errno == EINTR)
		eintr++;
	else
		errors++;
	fprintf(stderr, "blocker: %s came back %s: %ld (%s)\n", c->name, early ? "by itself" : "wrong in the end", r,
		r < 0 ? strerror(errno) : "no error");
	c->ended = 1;
	return NULL;
}

static char state_of(int tid)
{
	char path[64], state = '?';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	f = fopen(path, "r");
	if (!f)
		return 'X';
	if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = '?';
	fclose(f);
	return state;
}

/* Until it waits; what can not be had here is gone by then. */
static void start(struct call *c)
{
	pthread_create(&c->thread, NULL, run, c);
	while (!c->tid)
		usleep(100);
	for (int quiet = 0; quiet < (c->runs ? 1 : 3);) {
		char s = state_of(c->tid);
		void *why;

		usleep(1000);
		if (s == 'X' && !pthread_tryjoin_np(c->thread, &why)) {
			printf("no %s here: %s\n", c->name, why ? (char *)why : "it does not wait");
			c->ended = 1;
			return;
		}
		quiet = s == 'S' || c->runs ? quiet + 1 : 0;
	}
}

static void finish(struct call *c)
{
	for (int i = 0; i < 10000 && !c->ended; i++) {
		if (c->wake)
			c->wake();
		else
			tgkill(getpid(), c->tid, SIGUSR1);
		usleep(1000);
	}
	if (c->ended)
		return;
	fprintf(stderr, "blocker: %s does not come back in the end\n", c->name);
	errors++;
}

static void on_usr1(int sig)
{
}

static void clean_up(void)
{
	char cmd[sizeof(dir) + 16];

	for (int i = 0; i < 4; i++)
		if (ipc[i] >= 0)
			i < 2 ? msgctl(ipc[i], IPC_RMID, NULL) : semctl(ipc[i], 0, IPC_RMID);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	if (system(cmd))
		errors++;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_usr1 };
	char c;

	main_tid = gettid();
	pi_word = (unsigned)main_tid;
	strcpy(dir, "/tmp/suture-blocker-XXXXXX");
	if (!mkdtemp(dir))
		return 99;
	sigaction(SIGUSR1, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < N_CALLS; i++)
		if (argc < 2 || !strcmp(argv[1], calls[i].name))
			start(&calls[i]);
		else
			calls[i].ended = 1;
	printf("ready\n");
	fflush(stdout);
	while (read(0, &c, 1) < 0)
		errors++;
	quit = 1;
	for (size_t i = 0; i < N_CALLS; i++)
		finish(&calls[i]);
	clean_up();
	printf("errors %d eintr %d done 0 nanosleep 0 poll 0 futex 0 computation 0 alarms 0\n", errors, eintr);
	fflush(stdout);
	_exit(errors || eintr ? 1 : 0);
}
