/* SPDX-License-Identifier: MIT */
/*
 * interrupt.c - ^C and its like while processes are changed.
 *
 * The library keeps these signals back while it works on a process, looks for them between its attempts, and takes
 * back what it began. If they came through as soon as it returns, nobody would read how it ended. So they are kept
 * back until the outcome has been told, and end the tool then. Between two processes they end the work.
 */
#include <signal.h>

#include "cli/cli.h"

static const int ending[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
static bool held;
static sigset_t before;

void sut_interrupts_hold(void)
{
	sigset_t set;

	if (held)
		return;
	sigemptyset(&set);
	for (size_t i = 0; i < SUT_ARRAY_SIZE(ending); i++)
		sigaddset(&set, ending[i]);
	held = !sigprocmask(SIG_BLOCK, &set, &before);
}

bool sut_interrupts_pending(void)
{
	sigset_t set;
	bool any = false;

	if (!held || sigpending(&set))
		return false;
	for (size_t i = 0; i < SUT_ARRAY_SIZE(ending); i++)
		any |= sigismember(&set, ending[i]) == 1;
	return any;
}

void sut_interrupts_release(void)
{
	if (held)
		sigprocmask(SIG_SETMASK, &before, NULL);
	held = false;
}
