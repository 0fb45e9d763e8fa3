/* SPDX-License-Identifier: MIT */
/*
 * needs.h - what some tests can not do without. Where it is not there, they say so and the program ends with
 * status 77 (skipped). To be called at the start of main().
 */
#ifndef TESTS_NEEDS_H
#define TESTS_NEEDS_H

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/arch.h"

/** ptrace of a child: not under qemu-user, not where a security module forbids it. */
static inline void need_trace(void)
{
	pid_t pid = fork();
	int err;

	if (!pid) {
		pause();
		_exit(0);
	}
	err = ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_EXITKILL) ? errno : 0;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, __WALL);
	if (!err)
		return;
	printf("skipped: %s\n", err == ENOSYS ? "ptrace does not exist under qemu-user"
					      : "this machine does not let a process trace its child");
	exit(77);
}

/** The table of the processor that the test runs on. */
static inline const struct sut_arch *need_host(void)
{
	const struct sut_arch *arch = sut_arch_host();

	if (arch)
		return arch;
	printf("skipped: src/arch does not know this processor yet\n");
	exit(77);
}

#endif
