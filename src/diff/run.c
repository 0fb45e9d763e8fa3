/* SPDX-License-Identifier: MIT */
/*
 * run.c - runs compilers, several at once, and says what they said.
 *
 * Each job is a process of its own with its output in a file; jobs are waited for by pidfd,
 * one by one, so that children which the program around us has are left alone.
 * Compilers get the caller's environment, but plain messages (LC_ALL=C) and, where none is set, one
 * SOURCE_DATE_EPOCH for all: __DATE__ must not differ between two compilations that are compared.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "diff/diff.h"

#define MAX_JOBS 64u

extern char **environ;

/* The environment of a job; pool memory. */
static char **job_env(struct sut_diff *d, const char *dir)
{
	size_t n = 0, k = 0;
	char **v;

	while (environ[n])
		n++;
	v = sut_pool_alloc(&d->pool, (n + 4) * sizeof(*v));
	if (!v)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], "PWD=", 4) && strncmp(environ[i], "LC_ALL=", 7) &&
		    strncmp(environ[i], "LANGUAGE=", 9))
			v[k++] = environ[i];
	v[k++] = sut_pool_printf(&d->pool, "PWD=%s", dir);
	v[k++] = sut_pool_printf(&d->pool, "LC_ALL=C");
	if (!getenv("SOURCE_DATE_EPOCH"))
		v[k++] = sut_pool_printf(&d->pool, "SOURCE_DATE_EPOCH=0");
	for (size_t i = 0; i < k; i++)
		if (!v[i])
			return NULL;
	return v;
}

/* In the child: only calls that are safe after fork. */
static void __attribute__((noreturn)) child(const struct sut_job *j, char **env, int log, int null)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		_exit(126);
	if (chdir(j->dir)) {
		dprintf(2, "cannot enter %s: %s\n", j->dir, strerror(errno));
		_exit(126);
	}
	execvpe(j->argv[0], j->argv, env);
	dprintf(2, "cannot run %s: %s\n", j->argv[0], strerror(errno));
	_exit(127);
}

static int start(struct sut_diff *d, const struct sut_job *j, pid_t *ret_pid, int *ret_fd)
{
	_cleanup_close_ int log = open(j->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	_cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	char **env = job_env(d, j->dir);
	pid_t pid;
	int fd;

	if (!env)
		return sut_nomem(d->ctx);
	if (log < 0 || null < 0)
		return sut_fail(d->ctx, errno, "cannot open %s: %s", j->log, strerror(errno));
	pid = fork();
	if (pid < 0)
		return sut_fail(d->ctx, errno, "cannot start %s: %s", j->argv[0], strerror(errno));
	if (!pid)
		child(j, env, log, null);
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0) {
		int err = errno;

		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return sut_fail(d->ctx, err, "pidfd_open: %s", strerror(err));
	}
	*ret_pid = pid;
	*ret_fd = fd;
	return 0;
}

struct running {
	pid_t pid;
	size_t job;
};

static void reap(struct sut_job *job, struct running *r, struct pollfd *fd, size_t i, size_t *n)
{
	int status = -1;

	while (waitpid(r[i].pid, &status, 0) < 0 && errno == EINTR)
		;
	job[r[i].job].status = status;
	close(fd[i].fd);
	--*n;
	r[i] = r[*n];
	fd[i] = fd[*n];
}

int sut_run(struct sut_diff *d, const char *what, struct sut_job *job, size_t n)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t max = d->opts->jobs ? d->opts->jobs : cpus > 0 ? (size_t)cpus : 1;
	struct running r[MAX_JOBS];
	struct pollfd fd[MAX_JOBS];
	size_t started = 0, running = 0;
	uint64_t t0 = sut_now_ns();
	int err = 0;

	if (max > MAX_JOBS)
		max = MAX_JOBS;
	while (running || (!err && started < n)) {
		while (!err && started < n && running < max) {
			fd[running] = (struct pollfd){ .events = POLLIN };
			r[running].job = started;
			err = start(d, &job[started], &r[running].pid, &fd[running].fd);
			if (!err) {
				running++;
				started++;
			}
		}
		sut_progress(d->ctx, what, (unsigned)(started - running), (unsigned)n);
		if (running && poll(fd, running, -1) < 0)
			continue;
		for (size_t i = running; i-- > 0;)
			if (fd[i].revents)
				reap(job, r, fd, i, &running);
	}
	sut_progress(d->ctx, what, (unsigned)n, (unsigned)n);
	d->report->compile_ns += sut_now_ns() - t0;
	return err;
}

/* The lines of a log that speak of errors, else its first ones. */
static char *first_errors(struct sut_diff *d, const char *log)
{
	_cleanup_fclose_ FILE *f = fopen(log, "re");
	char *out = sut_pool_printf(&d->pool, "%s", ""), line[512];
	char *any = sut_pool_printf(&d->pool, "%s", "");
	int found = 0, seen = 0;

	while (f && out && any && found < 3 && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\r\n")] = '\0';
		if (strstr(line, "error") || strstr(line, "cannot ")) {
			out = sut_pool_printf(&d->pool, "%s%s%s", out, found ? "; " : "", line);
			found++;
		} else if (seen < 2 && line[0]) {
			any = sut_pool_printf(&d->pool, "%s%s%s", any, seen ? "; " : "", line);
			seen++;
		}
	}
	return found ? out : any;
}

int sut_run_fail(struct sut_diff *d, const struct sut_job *job)
{
	char *said = first_errors(d, job->log);

	if (job->status == -1 || !WIFEXITED(job->status))
		return sut_fail(d->ctx, SUTURE_ECOMPILE, "%s: %s was killed by signal %d", job->what, job->argv[0],
				job->status == -1 ? 0 : WTERMSIG(job->status));
	return sut_fail(d->ctx, SUTURE_ECOMPILE, "%s: %s failed (exit status %d): %s", job->what, job->argv[0],
			WEXITSTATUS(job->status), said ? said : "");
}
