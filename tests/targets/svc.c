/* SPDX-License-Identifier: MIT */
/*
 * svc - a server that answers lines on stdin; svc.diff is the fix that is patched in.
 *
 *	ask N      answer: "old 3N+1" before the fix, "new 3N+100" after
 *	child      fork; the child serves from now on, the parent waits; answer "child PID"
 *	pid        answer: "pid PID"
 *
 * What makes life hard for a patcher is switched on by flags, before "ready" is printed:
 *
 *	-b  all signals blocked      -i  SIGTRAP ignored          -m  PR_SET_MDWE
 *	-e  seccomp: EPERM for new mappings                       -k  seccomp: kills for all but read and write
 *	-z  the leader ends, a thread serves                      -T  SIGPROF a thousand times a second
 *	-f  a thread forks all the time                           -c  a thread creates threads all the time
 *	-n N  N more threads that call the function and check it  -r DIR  chroot
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* musl's own compiler wrapper does not see the kernel's headers. */
#if __has_include(<linux/filter.h>)
#include <linux/filter.h>
#include <linux/seccomp.h>
#define HAVE_FILTER 1
#endif

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif

static volatile sig_atomic_t ticks;
static volatile unsigned long wrong;
int limit = 1000000; /* lives in .data: not static, so that it is no constant */

int answer(int n, char *text, size_t size);

/* Kept apart from answer() so that a caller and a callee exist in the binary. */
__attribute__((noinline)) static int clamp(int n)
{
	if (n > limit || n < -limit)
		return limit;
	return n;
}

__attribute__((noinline)) int answer(int n, char *text, size_t size)
{
	int v = clamp(n) * 3 + 1;

	snprintf(text, size, "old %d", v);
	return v;
}

static void on_prof(int sig)
{
	ticks++;
}

/* Answers must be of one side, whole. */
static void probe(int n)
{
	char text[64], old[64], new[64];
	int v = answer(n, text, sizeof(text));

	snprintf(old, sizeof(old), "old %d", n * 3 + 1);
	snprintf(new, sizeof(new), "new %d", n * 3 + 100);
	if (!(v == n * 3 + 1 && strcmp(text, old) == 0) && !(v == n * 3 + 100 && strcmp(text, new) == 0))
		__sync_fetch_and_add(&wrong, 1);
}

static void *worker(void *arg)
{
	for (int n = 0;; n = (n + 1) % 1000) {
		probe(n);
		usleep(200);
	}
	return NULL;
}

static void *forker(void *arg)
{
	for (;;) {
		pid_t pid = fork();

		if (pid == 0) {
			probe(7);
			_exit(wrong != 0);
		}
		int status = 0;
		if (pid > 0 && (waitpid(pid, &status, 0) != pid || status != 0))
			__sync_fetch_and_add(&wrong, 1);
	}
	return NULL;
}

static void *one(void *arg)
{
	probe(11);
	return NULL;
}

static void *creator(void *arg)
{
	for (;;) {
		pthread_t t[4];
		int n = 0;

		while (n < 4 && pthread_create(&t[n], NULL, one, NULL) == 0)
			n++;
		while (n-- > 0)
			pthread_join(t[n], NULL);
	}
	return NULL;
}

/* EPERM for the listed calls, or death for all others. */
static void filter(const int *nr, unsigned n, int kills)
{
#ifdef HAVE_FILTER
	unsigned hit = kills ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | EPERM;
	unsigned miss = kills ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ALLOW;
	struct sock_filter f[40];
	unsigned k = 0;

	f[k++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < n; i++) {
		f[k++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr[i], 0, 1);
		f[k++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, hit);
	}
	f[k++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, miss);
	struct sock_fprog prog = { .len = k, .filter = f };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) != 0) {
		perror("seccomp");
		exit(77);
	}
#else
	exit(77);
#endif
}

static void serve(void)
{
	char line[256], text[64];

	printf("ready %d\n", (int)getpid());
	while (fgets(line, sizeof(line), stdin)) {
		if (strncmp(line, "ask ", 4) == 0) {
			answer(atoi(line + 4), text, sizeof(text));
			printf("%s\n", text);
		} else if (strncmp(line, "child", 5) == 0) {
			pid_t pid = fork();

			if (pid > 0) {
				waitpid(pid, NULL, 0);
				exit(0);
			}
			printf("child %d\n", (int)getpid());
		} else if (strncmp(line, "pid", 3) == 0) {
			printf("pid %d\n", (int)getpid());
		} else if (strncmp(line, "wrong", 5) == 0) {
			printf("wrong %lu ticks %d\n", wrong, (int)ticks);
		} else if (strncmp(line, "quit", 4) == 0) {
			break;
		} else {
			printf("what?\n");
		}
	}
	printf("bye wrong %lu\n", wrong);
	exit(wrong != 0);
}

static void *serving(void *arg)
{
	/* Not before the leader is a zombie. */
	char path[64], state = 'R';

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)getpid());
	while (state != 'Z') {
		FILE *f = fopen(path, "r");

		if (!f || fscanf(f, "%*d %*s %c", &state) != 1)
			state = 'R';
		if (f)
			fclose(f);
	}
	serve();
	return NULL;
}

static void start(void *(*fn)(void *))
{
	pthread_t t;

	if (pthread_create(&t, NULL, fn, NULL) != 0) {
		perror("pthread_create");
		exit(1);
	}
}

static void profile(void)
{
	struct itimerval it = { { 0, 1000 }, { 0, 1000 } };
	struct sigaction sa = { .sa_handler = on_prof, .sa_flags = SA_RESTART };

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
}

static void block_all(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
}

int main(int argc, char **argv)
{
	static const int mapping[] = { SYS_mmap, SYS_mremap, SYS_munmap, SYS_mprotect, SYS_openat, SYS_madvise };
	static const int allowed[] = { SYS_read,         SYS_write,           SYS_exit_group, SYS_newfstatat,
				       SYS_rt_sigreturn, SYS_restart_syscall, SYS_getpid };
	int c, zombie = 0, kill_others = 0, error_maps = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((c = getopt(argc, argv, "bimekzTfcn:r:")) != -1) {
		if (c == 'b')
			block_all();
		else if (c == 'i')
			signal(SIGTRAP, SIG_IGN);
		else if (c == 'm' && prctl(PR_SET_MDWE, 1, 0, 0, 0) != 0)
			return 77;
		else if (c == 'e')
			error_maps = 1;
		else if (c == 'k')
			kill_others = 1;
		else if (c == 'z')
			zombie = 1;
		else if (c == 'T')
			profile();
		else if (c == 'f')
			start(forker);
		else if (c == 'c')
			start(creator);
		else if (c == 'r' && (chroot(optarg) != 0 || chdir("/") != 0))
			return 77;
		for (int i = 0; c == 'n' && i < atoi(optarg); i++)
			start(worker);
		if (c == '?')
			return 2;
	}
	if (error_maps || kill_others)
		printf("filtered\n"); /* the buffer exists before mmap is forbidden */
	if (error_maps)
		filter(mapping, sizeof(mapping) / sizeof(mapping[0]), 0);
	if (kill_others)
		filter(allowed, sizeof(allowed) / sizeof(allowed[0]), 1);
	if (zombie) {
		start(serving);
		pthread_exit(NULL);
	}
	serve();
}
