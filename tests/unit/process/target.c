/* SPDX-License-Identifier: MIT */
/*
 * target.c - a program to be stopped, borrowed and looked at; it checks itself all the while.
 *
 * `target MODE...` starts what the modes name, says "ready" and facts about itself, and goes on until a line comes
 * on its standard input. Then it says "errors N eintr M done K" and exits with 0 if nothing was wrong.
 * M counts calls that came back with EINTR: none may, unless a tool was killed in between.
 */
#include <linux/io_uring.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static atomic_int quit, errors, eintr, done;
static int quit_event, sem_id = -1, pipe_fd[2];

#define N_KINDS 12
static atomic_int completed[N_KINDS];

static void wrong(const char *what, long got, int err)
{
	if (got < 0 && err == EINTR) {
		atomic_fetch_add(&eintr, 1);
		return;
	}
	atomic_fetch_add(&errors, 1);
	fprintf(stderr, "target: %s: %ld (%s)\n", what, got, strerror(err));
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* -- blocking calls, each with the one result that it may have --------------------------------- */

static void *in_epoll(void *arg)
{
	struct epoll_event ev = { .events = EPOLLIN }, got;
	int fd = epoll_create1(0), r;

	epoll_ctl(fd, EPOLL_CTL_ADD, quit_event, &ev);
	while (!quit) {
		r = epoll_wait(fd, &got, 1, arg ? 20 : -1);
		if (r < 0 || (r == 0 && !arg))
			wrong("epoll_wait", r, errno);
		completed[0]++;
	}
	close(fd);
	return NULL;
}

static void *in_semop(void *arg)
{
	struct sembuf b = { 0, -1, 0 };
	struct timespec t = { 0, 20000000 };

	while (!quit) {
		int r = arg ? semtimedop(sem_id, &b, 1, &t) : semop(sem_id, &b, 1);

		if (!quit && (arg ? (r != -1 || errno != EAGAIN) : r != 0))
			wrong(arg ? "semtimedop" : "semop", r, errno);
		completed[1]++;
	}
	return NULL;
}

static void *in_sigtimedwait(void *arg)
{
	struct timespec t = { 0, 20000000 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMAX);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	while (!quit) {
		int r = sigtimedwait(&set, NULL, &t);

		if (r != -1 || errno != EAGAIN)
			wrong("sigtimedwait", r, errno);
		completed[2]++;
	}
	return NULL;
}

/* Longer than the pause between two stops: never done if each stop began it anew. */
static void *in_nanosleep(void *arg)
{
	struct timespec t = { 0, 400000000 };

	while (!quit) {
		double start = now();
		int r = nanosleep(&t, NULL);

		if (r || now() - start < 0.4)
			wrong("nanosleep", r, r ? errno : 0);
		completed[3]++;
	}
	return NULL;
}

static void *in_poll(void *arg)
{
	while (!quit) {
		double start = now();
		int r = poll(NULL, 0, 300);

		if (r || now() - start < 0.299)
			wrong("poll", r, r ? errno : 0);
		completed[4]++;
	}
	return NULL;
}

static void *in_futex(void *arg)
{
	struct timespec t = { 0, 300000000 };
	static int word;

	while (!quit) {
		double start = now();
		long r = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0);

		if (r != -1 || errno != ETIMEDOUT || now() - start < 0.299)
			wrong("futex", r, errno);
		completed[5]++;
	}
	return NULL;
}

static void *in_recv(void *arg)
{
	struct timeval tv = { 0, 20000 };
	int s[2];
	char c;

	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	while (!quit) {
		ssize_t r = recv(s[0], &c, 1, 0);

		if (r != -1 || errno != EAGAIN)
			wrong("recv", r, errno);
		completed[6]++;
	}
	close(s[0]);
	close(s[1]);
	return NULL;
}

static void *in_read(void *arg)
{
	char c;

	while (!quit) {
		ssize_t r = read(pipe_fd[0], &c, 1);

		if (r != 1)
			wrong("read", r, errno);
		completed[7]++;
	}
	return NULL;
}

/* The first result is right: it was made before anybody was let near. */
static void judge(unsigned long v, double sum)
{
	static _Thread_local unsigned long right;
	static _Thread_local double right_sum;

	if (!right) {
		right = v;
		right_sum = sum;
	}
	if (right != v || right_sum != sum)
		wrong("computation", 1, 0);
}

/* Registers, vector registers and memory in use all the time. */
static void *in_computation(void *arg)
{
	while (!quit) {
		double x[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, sum = 0;
		unsigned long a = 1, b = 2, c = 3, d = 4, e = 5, f = 6;

		for (unsigned i = 0; i < 100000; i++) {
			a = a * 6364136223846793005ul + b;
			b ^= a >> 7;
			c += b * 3;
			d = (d << 5 | d >> 59) ^ c;
			e -= d;
			f += e & 0xff;
			for (unsigned k = 0; k < 8; k++)
				x[k] = x[k] * 1.0000001 + 0.5;
		}
		for (unsigned k = 0; k < 8; k++)
			sum += x[k];
		judge(a ^ b ^ c ^ d ^ e ^ f, sum);
		completed[8]++;
	}
	return NULL;
}

static void start_calls(void)
{
	static void *(*const fn[])(void *) = { in_epoll, in_semop, in_sigtimedwait, in_nanosleep,  in_poll,
					       in_futex, in_recv,  in_read,         in_computation };
	pthread_t t;

	sem_id = semget(IPC_PRIVATE, 1, 0600);
	if (pipe(pipe_fd))
		exit(99);
	for (size_t i = 0; i < sizeof(fn) / sizeof(fn[0]); i++)
		pthread_create(&t, NULL, fn[i], NULL);
	pthread_create(&t, NULL, in_epoll, (void *)1);
	pthread_create(&t, NULL, in_semop, (void *)1);
}

/* -- other ways of life ------------------------------------------------------------------------ */

static void *short_life(void *arg)
{
	return (void *)((long)arg * 3);
}

static void *in_churn(void *arg)
{
	sigset_t all, old;

	sigfillset(&all);
	for (long i = 0; !quit; i++) {
		pthread_t t;
		void *r = NULL;

		if (i & 1)
			pthread_sigmask(SIG_BLOCK, &all, &old);
		if (pthread_create(&t, NULL, short_life, (void *)i) || pthread_join(t, &r) || r != (void *)(i * 3))
			wrong("thread", (long)r, 0);
		if (i & 1)
			pthread_sigmask(SIG_SETMASK, &old, NULL);
		done++;
	}
	return NULL;
}

static void *in_fork(void *arg)
{
	for (int i = 0; !quit; i++) {
		pid_t pid = i & 1 ? fork() : vfork();
		int status;

		if (!pid)
			_exit(7);
		if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 7)
			wrong("fork", pid, errno);
		done++;
	}
	return NULL;
}

static void *until_quit(void *arg);

/* A child that goes on on the stack of the thread that made it: it says who it is, and lives until it is killed. */
static void *in_forked(void *arg)
{
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			usleep(1000);
	}
	printf("child %d\n", pid);
	until_quit(NULL);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return NULL;
}

/* Processes that run on this memory, which no thread list shows. They touch nothing that is their parent's alone. */
static int sharer_for_ever(void *arg)
{
	syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	for (;;)
		syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
}

static int sharer_for_a_while(void *arg)
{
	const struct timespec t = { 0, 500000 };

	syscall(SYS_nanosleep, &t, NULL);
	syscall(SYS_exit, 7);
	return 0;
}

static void *in_share(void *often)
{
	char *stack = malloc(65536);

	do {
		pid_t pid =
			clone(often ? sharer_for_a_while : sharer_for_ever, stack + 65536, CLONE_VM | SIGCHLD, NULL);
		int status;

		if (pid < 0 || waitpid(pid, &status, 0) != pid || (often && status != 7 << 8))
			wrong("sharer", pid, errno);
		done++;
		usleep(often ? 2000 : 0);
	} while (often && !quit);
	return NULL;
}

/* A read of an empty pipe that a kernel's worker thread waits in. */
static void begin_uring(void)
{
	struct io_uring_params par = { 0 };
	int fd = (int)syscall(SYS_io_uring_setup, 8, &par), fds[2];
	struct io_uring_sqe *sqe;
	static char buf[8];
	char *sq;

	if (fd < 0)
		return; /* the test sees no worker */
	sq = mmap(NULL, par.sq_off.array + par.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		  IORING_OFF_SQ_RING);
	sqe = mmap(NULL, par.sq_entries * sizeof(*sqe), PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
	if (sq == MAP_FAILED || sqe == MAP_FAILED || pipe(fds))
		exit(96);
	*sqe = (struct io_uring_sqe){
		.opcode = IORING_OP_READ, .flags = IOSQE_ASYNC, .fd = fds[0], .len = 1, .addr = (uintptr_t)buf
	};
	*(unsigned *)(void *)(sq + par.sq_off.array) = 0;
	__atomic_add_fetch((unsigned *)(void *)(sq + par.sq_off.tail), 1, __ATOMIC_SEQ_CST);
	if (syscall(SYS_io_uring_enter, fd, 1, 0, 0, NULL, 0) != 1)
		exit(97);
	usleep(20000);
}

static atomic_int alarms;
static void on_alarm(int sig, siginfo_t *si, void *uc)
{
	if (si->si_code != SI_KERNEL && si->si_code != SI_TIMER)
		wrong("siginfo", si->si_code, 0);
	alarms++;
}

/* A thread that waits for its vfork child, which lives until somebody kills it. */
static void *in_vfork(void *arg)
{
	pid_t pid = vfork();

	if (!pid)
		for (;;)
			pause();
	waitpid(pid, NULL, 0);
	return NULL;
}

static void on_usr1(int sig)
{
	execl("/proc/self/exe", "target", "sleep", "0", NULL);
	_exit(98);
}

/* A profiling timer: every call may then see EINTR by right, so only computation runs beside it. */
static void start_timer(void)
{
	struct sigaction sa = { .sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO | SA_RESTART };
	struct itimerval it = { { 0, 1000 }, { 0, 1000 } };
	pthread_t t;

	sigaction(SIGPROF, &sa, NULL);
	setitimer(ITIMER_PROF, &it, NULL);
	pthread_create(&t, NULL, in_computation, NULL);
	pthread_create(&t, NULL, in_computation, NULL);
}

/* Queued signals with a value, one after the other: none may be lost, doubled or changed. */
static atomic_int queued;
static void on_queued(int sig, siginfo_t *si, void *uc)
{
	if (si->si_code != SI_QUEUE || si->si_value.sival_int != queued)
		wrong("queued signal", si->si_value.sival_int, 0);
	queued++;
}

static void *in_queue(void *arg)
{
	for (int i = 0; !quit; i++) {
		union sigval v = { .sival_int = i };

		if (sigqueue(getpid(), SIGRTMIN + 1, v))
			wrong("sigqueue", i, errno);
		while (queued <= i && !quit)
			usleep(50);
		done++;
	}
	return NULL;
}

/* The same, of signals that somebody else sends: the first of each thread has the value 0, and so on. */
static void on_counted(int sig, siginfo_t *si, void *uc)
{
	static _Thread_local int mine;

	if (si->si_code != SI_QUEUE || si->si_value.sival_int != mine++)
		wrong("signal", si->si_value.sival_int, 0);
	done++;
}

static int expected; /* that many are waited for in the end */

static void start_counting(void)
{
	struct sigaction sa = { .sa_sigaction = on_counted, .sa_flags = SA_SIGINFO | SA_RESTART };
	pthread_t t;

	sigaction(SIGRTMIN + 2, &sa, NULL);
	pthread_create(&t, NULL, in_computation, NULL);
	pthread_create(&t, NULL, in_computation, NULL);
}

static void start_queue(void)
{
	struct sigaction sa = { .sa_sigaction = on_queued, .sa_flags = SA_SIGINFO | SA_RESTART };
	pthread_t t;

	sigaction(SIGRTMIN + 1, &sa, NULL);
	pthread_create(&t, NULL, in_queue, NULL);
}

static void *in_clock(void *arg)
{
	struct timespec t;

	while (!quit)
		clock_gettime(CLOCK_MONOTONIC, &t);
	return NULL;
}

static int altstack_pipe[2];
__attribute__((noinline)) static void waits_in_handler(void)
{
	char c;

	if (read(altstack_pipe[0], &c, 1) != 1)
		wrong("read in the handler", 0, errno);
	__asm__ volatile("");
}

static void on_usr2(int sig)
{
	waits_in_handler();
	__asm__ volatile("");
}

__attribute__((noinline)) void interrupted_function(void);
void interrupted_function(void)
{
	raise(SIGUSR2);
	__asm__ volatile("");
}

static void *in_handler(void *arg)
{
	stack_t ss = { .ss_sp = malloc(65536), .ss_size = 65536 };
	struct sigaction sa = { .sa_handler = on_usr2, .sa_flags = SA_ONSTACK };

	if (arg)
		sigaltstack(&ss, NULL);
	sigaction(SIGUSR2, &sa, NULL);
	interrupted_function();
	__asm__ volatile("");
	return NULL;
}

#ifdef __x86_64__
/* mov $15,%eax; syscall: an rt_sigreturn that is in no file, as that of a just-in-time compiler may be. */
static void *strange_restorer(void)
{
	static const unsigned char code[] = { 0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05 };
	void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memcpy(at, code, sizeof(code));
	if (mprotect(at, 4096, PROT_READ | PROT_EXEC))
		exit(99);
	return at;
}

/* The handler's stack lies in the first function's frame: above all that it interrupts. */
static void *in_strange_handler(void *arg)
{
	char stack[65536];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct {
		void (*handler)(int);
		unsigned long flags;
		void *restorer;
		unsigned long mask;
	} sa = { on_usr2, SA_ONSTACK | 0x04000000 /* SA_RESTORER */, strange_restorer(), 0 };

	sigaltstack(&ss, NULL);
	if (syscall(SYS_rt_sigaction, SIGUSR2, &sa, NULL, 8))
		exit(99);
	interrupted_function();
	__asm__ volatile("" : : "r"(stack) : "memory");
	return NULL;
}
#endif

static atomic_int asleep;
static void *in_sleep(void *arg)
{
	struct epoll_event ev = { .events = EPOLLIN }, got;
	int fd = epoll_create1(0);

	epoll_ctl(fd, EPOLL_CTL_ADD, quit_event, &ev);
	asleep++;
	if (epoll_wait(fd, &got, 1, -1) != 1)
		wrong("epoll_wait", -1, errno);
	return NULL;
}

#ifdef __GLIBC__
/* A coroutine on the heap, called from a function that then waits for it. */
static ucontext_t scheduler, coroutine;

static void in_coroutine(void)
{
	in_sleep(NULL);
	swapcontext(&coroutine, &scheduler);
}

static void *in_scheduler(void *arg)
{
	getcontext(&coroutine);
	coroutine.uc_stack.ss_sp = malloc(65536);
	coroutine.uc_stack.ss_size = 65536;
	coroutine.uc_link = &scheduler;
	makecontext(&coroutine, in_coroutine, 0);
	swapcontext(&scheduler, &coroutine);
	return NULL;
}

#endif

#if defined(__x86_64__) && defined(__GLIBC__)
/* A restartable sequence that is never left but by its abort handler, or at the end. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned __rseq_size __attribute__((weak));
static int aborts;

static void *in_rseq(void *arg)
{
	char *area = (char *)__builtin_thread_pointer() + __rseq_offset;

	__asm__ volatile(".pushsection .data.rseq_cs, \"aw\"\n"
			 ".balign 32\n"
			 "1: .long 0, 0\n"
			 ".quad 2f, 3f - 2f, 4f\n"
			 ".popsection\n"
			 "5: lea 1b(%%rip), %%rax\n"
			 "mov %%rax, 8(%0)\n"
			 "2: pause\n"
			 "cmpl $0, %1\n"
			 "je 2b\n"
			 "3: jmp 6f\n"
			 ".byte 0x0f, 0xb9, 0x3d\n"
			 ".long 0x53053053\n"
			 "4: incl %2\n"
			 "jmp 5b\n"
			 "6:\n"
			 :
			 : "r"(area), "m"(quit), "m"(aborts)
			 : "rax", "memory", "cc");
	return NULL;
}
#endif

static void filter(const char *what)
{
	unsigned action = strcmp(what, "kill") ? SECCOMP_RET_ERRNO | EPERM : SECCOMP_RET_KILL_PROCESS;
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(f) / sizeof(f[0]), f };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (!strcmp(what, "strict"))
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	else if (!strcmp(what, "allow")) {
		f[4].k = SECCOMP_RET_ALLOW;
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
	} else
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

/* Waits for the end, and says how it went. */
static void *until_quit(void *arg)
{
	struct sembuf b = { 0, 1, 0 };
	uint64_t one = 1;
	char c;
	ssize_t r;

	printf("ready\n");
	fflush(stdout);
	do {
		r = read(0, &c, 1);
		if (r < 0)
			wrong("read of the end", r, errno);
	} while (r < 0);
	quit = 1;
	if (write(quit_event, &one, 8) != 8)
		wrong("eventfd", -1, errno);
	if (sem_id >= 0) {
		semop(sem_id, &b, 1);
		usleep(1000);
	}
	if (pipe_fd[1] && write(pipe_fd[1], "x", 1) != 1)
		wrong("write", -1, errno);
	if (altstack_pipe[1] && write(altstack_pipe[1], "xx", 2) != 2)
		wrong("write", -1, errno);
	for (int i = 0; i < 20000 && done < expected; i++)
		usleep(1000);
	usleep(20000);
	if (sem_id >= 0)
		semctl(sem_id, 0, IPC_RMID);
	printf("errors %d eintr %d done %d nanosleep %d poll %d futex %d computation %d alarms %d\n", errors, eintr,
	       done, completed[3], completed[4], completed[5], completed[8], alarms);
	fflush(stdout);
	_exit(errors || eintr ? 1 : 0);
}

static int mode(const char *m, const char *arg)
{
	pthread_t t;

	if (!strcmp(m, "calls")) {
		start_calls();
	} else if (!strcmp(m, "churn") || !strcmp(m, "fork") || !strcmp(m, "clock") || !strcmp(m, "sleep")) {
		void *(*fn)(void *) = *m == 's' ? in_sleep : *m == 'f' ? in_fork : m[1] == 'h' ? in_churn : in_clock;

		for (int i = atoi(arg); i > 0; i--)
			pthread_create(&t, NULL, fn, NULL);
		while (fn == in_sleep && asleep < atoi(arg))
			usleep(1000);
		usleep(5000);
		return 1;
	} else if (!strcmp(m, "coroutine")) {
#ifdef __GLIBC__
		pthread_create(&t, NULL, in_scheduler, NULL);
		usleep(20000);
#endif
	} else if (!strcmp(m, "rseq")) {
#if defined(__x86_64__) && defined(__GLIBC__)
		if (&__rseq_size && __rseq_size) {
			pthread_create(&t, NULL, in_rseq, NULL);
			usleep(20000);
		}
#endif
	} else if (!strcmp(m, "vfork")) {
		pthread_create(&t, NULL, in_vfork, NULL);
		usleep(20000);
	} else if (!strcmp(m, "exec")) {
		signal(SIGUSR1, on_usr1);
	} else if (!strcmp(m, "timer")) {
		start_timer();
	} else if (!strcmp(m, "count")) {
		expected = atoi(arg);
		start_counting();
		return 1;
	} else if (!strcmp(m, "queue")) {
		start_queue();
	} else if (!strcmp(m, "handler")) {
		if (pipe(altstack_pipe))
			exit(99);
		pthread_create(&t, NULL, in_handler, NULL);
		usleep(20000);
		pthread_create(&t, NULL, in_handler, (void *)1);
		usleep(20000);
	} else if (!strcmp(m, "restorer")) {
#ifdef __x86_64__
		if (pipe(altstack_pipe))
			exit(99);
		pthread_create(&t, NULL, in_strange_handler, NULL);
		usleep(20000);
#endif
	} else if (!strcmp(m, "block")) {
		sigset_t set;

		sigfillset(&set);
		pthread_sigmask(SIG_BLOCK, &set, NULL);
		signal(SIGTRAP, SIG_IGN);
	} else if (!strcmp(m, "filter")) {
		filter(arg);
		return 1;
	} else if (!strcmp(m, "mdwe")) {
		prctl(65, 1, 0, 0, 0); /* PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN */
	} else if (!strcmp(m, "forked")) {
		pthread_create(&t, NULL, in_forked, NULL);
	} else if (!strcmp(m, "share") || !strcmp(m, "sharing")) {
		pthread_create(&t, NULL, in_share, m[5] ? (void *)1 : NULL);
		usleep(20000);
	} else if (!strcmp(m, "uring")) {
		begin_uring();
	} else if (!strcmp(m, "zombie")) {
		pthread_create(&t, NULL, until_quit, NULL);
		pthread_exit(NULL);
	}
	return 0;
}

int main(int argc, char **argv)
{
	extern char __ehdr_start[];

	quit_event = eventfd(0, 0);
	printf("ehdr %p main %p\n", (void *)__ehdr_start, (void *)(size_t)main);
	fflush(stdout);
	for (int i = 1; i < argc; i++)
		i += mode(argv[i], i + 1 < argc ? argv[i + 1] : "0");
	until_quit(NULL);
}
