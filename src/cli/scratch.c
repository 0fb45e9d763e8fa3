/* SPDX-License-Identifier: MIT */
/*
 * scratch.c - one directory for everything temporary of a build, which goes however the build ends.
 *
 * The builder and the compilers put their files below TMPDIR. It is set to a directory of ours; when a
 * signal ends us (^C in the middle of a long compilation), the handler removes it and lets the signal have its way. Between
 * begin and end only; no process is ever held here.
 */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "cli/buildreport.h"

static char scratch[4096];
static const int ending[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

/* Async-signal-safe. */
static void remove_scratch(void)
{
	pid_t pid = fork();

	if (!pid) {
		execl("/bin/rm", "rm", "-rf", "--", scratch, (char *)NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static void on_signal(int sig)
{
	remove_scratch();
	/* The default again (SA_RESETHAND): it ends us when this handler returns. */
	raise(sig);
}

void sut_scratch_begin(void)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND }, old;
	const char *tmp = getenv("TMPDIR");

	if (scratch[0])
		return;
	if (snprintf(scratch, sizeof(scratch), "%s/suture-build.XXXXXX", tmp && *tmp == '/' ? tmp : "/tmp") >=
		    (int)sizeof(scratch) ||
	    !mkdtemp(scratch)) {
		/* The builder will say what is wrong with that place. */
		scratch[0] = '\0';
		return;
	}
	setenv("TMPDIR", scratch, 1);
	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < SUT_ARRAY_SIZE(ending); i++)
		if (!sigaction(ending[i], NULL, &old) && old.sa_handler == SIG_DFL)
			sigaction(ending[i], &sa, NULL);
}

void sut_scratch_end(void)
{
	struct sigaction old;

	if (!scratch[0])
		return;
	for (size_t i = 0; i < SUT_ARRAY_SIZE(ending); i++)
		if (!sigaction(ending[i], NULL, &old) && old.sa_handler == on_signal)
			signal(ending[i], SIG_DFL);
	/* The builder has removed what it made; a compiler that was killed may have left something. */
	if (rmdir(scratch))
		remove_scratch();
	scratch[0] = '\0';
}
