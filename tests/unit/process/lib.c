/* SPDX-License-Identifier: MIT */
/* lib.c - see lib.h. */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "lib.h"

/* Reads one line of the target; a target that says nothing for a minute has hung. */
static void read_line(struct target *t, char *buf, size_t cap)
{
	size_t n = 0;

	alarm(60);
	while (n + 1 < cap) {
		ssize_t r = read(t->out, buf + n, 1);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0 || buf[n] == '\n')
			break;
		n++;
	}
	alarm(0);
	buf[n] = '\0';
}

void target_start_program(struct target *t, const char *program, const char *const *args)
{
	const char *argv[12] = { program };
	int in[2], out[2];
	char line[256];

	memset(t, 0, sizeof(*t));
	assert_non_null(program);
	for (size_t i = 0; args[i] && i < 10; i++)
		argv[i + 1] = args[i];
	assert_int_equal(pipe2(in, 0) | pipe2(out, 0), 0);
	t->pid = fork();
	assert_true(t->pid >= 0);
	if (!t->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(in[0], 0);
		dup2(out[1], 1);
		for (int fd = 3; fd < 64; fd++)
			close(fd);
		execv(program, (char *const *)argv);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	t->in = in[1];
	t->out = out[0];
	do {
		unsigned long ehdr, start;

		read_line(t, line, sizeof(line));
		if (sscanf(line, "ehdr %lx main %lx", &ehdr, &start) == 2) {
			t->ehdr = ehdr;
			t->main = start;
		}
	} while (*line && strcmp(line, "ready"));
	assert_string_equal(line, "ready");
}

static int collect(struct target *t)
{
	int status = 0;

	alarm(60);
	while (waitpid(t->pid, &status, 0) < 0 && errno == EINTR)
		;
	alarm(0);
	close(t->in);
	close(t->out);
	t->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int target_stop(struct target *t)
{
	char line[256];

	assert_int_equal(write(t->in, "q", 1), 1);
	do { /* it may have become another program and introduced itself again */
		read_line(t, line, sizeof(line));
	} while (*line && strncmp(line, "errors", 6));
	if (sscanf(line, "errors %d eintr %d done %d nanosleep %d poll %d futex %d computation %d alarms %d",
		   &t->errors, &t->eintr, &t->done, &t->nanosleep, &t->poll, &t->futex, &t->computation,
		   &t->alarms) != 8)
		t->errors = -1;
	return collect(t);
}

void target_stop_clean(struct target *t)
{
	int status = target_stop(t);

	assert_int_equal(t->errors, 0);
	assert_int_equal(t->eintr, 0);
	assert_int_equal(status, 0);
}

void target_kill(struct target *t)
{
	kill(t->pid, SIGKILL);
	collect(t);
}

struct suture_ctx *ctx(void)
{
	static struct suture_ctx *c;

	if (!c)
		assert_int_equal(suture_ctx_create(NULL, &c), 0);
	return c;
}

struct suture_process *attach(pid_t pid)
{
	struct suture_process *p = NULL;

	if (suture_process_attach(ctx(), pid, NULL, &p))
		fail_msg("attach: %s", suture_ctx_error(ctx())->message);
	return p;
}

void check(struct suture_process *p, int err)
{
	if (err)
		fail_msg("%d: %s", err, suture_ctx_error(p->ctx)->message);
}

pid_t child_of(struct suture_process *p)
{
	struct sut_priv *pr = p->priv;
	pid_t child = 0;

	assert_int_equal(sut_procfs_tids(p), 0);
	for (size_t i = 0; i < pr->tids.n && child <= 0; i++) {
		_cleanup_free_ char *text = NULL;

		if (!sut_procfs_read(p->pid, pr->tids.v[i], "children", 4096, &text, NULL))
			child = atoi(text);
	}
	return child;
}

const char *thread_states(pid_t pid)
{
	static char states[32];
	struct suture_process fake = { .pid = pid };
	struct sut_priv pr = { 0 };
	size_t n = 0;

	fake.priv = &pr;
	assert_int_equal(sut_procfs_tids(&fake), 0);
	for (size_t i = 0; i < pr.tids.n; i++) {
		struct sut_stat st;

		if (!sut_procfs_stat(pid, pr.tids.v[i], &st) && !memchr(states, st.state, n) && n + 1 < sizeof(states))
			states[n++] = st.state;
	}
	states[n] = '\0';
	sut_vec_free(&pr.tids);
	return states;
}
