/* SPDX-License-Identifier: MIT */
/*
 * lib.h - starting target.c and asking it how it went.
 */
#ifndef TEST_PROCESS_LIB_H
#define TEST_PROCESS_LIB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "process/internal.h"

struct target {
	pid_t pid;
	int in, out; /* its standard input, output */
	uint64_t ehdr, main; /* addresses it says of itself */
	int errors, eintr, done, nanosleep, poll, futex, computation, alarms; /* what it said at the end */
};

/** Starts a program with up to 8 arguments (NULL-ended) and waits until it is ready. */
void target_start_program(struct target *t, const char *program, const char *const *args);
/** The same, with the target that TARGET names. */
#define target_start(t, ...) target_start_program(t, getenv("TARGET"), (const char *const[]){ __VA_ARGS__, NULL })
/** Tells it to end; asserts that it says so. Returns its exit status, or -signal. */
int target_stop(struct target *t);
/** Ends it, and asserts that nothing went wrong in it. */
void target_stop_clean(struct target *t);
/** Kills it and collects it. */
void target_kill(struct target *t);

/** Attaches, or fails the test with the text. */
struct suture_process *attach(pid_t pid);
/** Fails the test with the context's text unless @err is 0. */
void check(struct suture_process *p, int err);
/** The context that attach() uses. */
struct suture_ctx *ctx(void);
/** The first child that any thread of the process has, 0: none. */
pid_t child_of(struct suture_process *p);
/** The letters of the states of all threads, each once. */
const char *thread_states(pid_t pid);

#endif
