/* SPDX-License-Identifier: MIT */
/*
 * fixture.h - files for the tests of the ELF room, made when the test runs.
 *
 * Everything lives in one temporary directory that is removed at the end. A machine without a compiler or
 * binutils skips (exit status 77), and says so.
 */
#ifndef SUT_TEST_FIXTURE_H
#define SUT_TEST_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "elf/elf.h"

extern struct suture_ctx *ctx;
extern char fx_log[4096]; /* the log lines since fx_log[0] was set to 0 */

/** To be called first in main(): context, directory, tools. */
void fx_start(void);
/** To be called last, with the result of the test group; gives the exit status. */
int fx_end(int failed);

/** "DIR/name"; one of a few static buffers in turn. */
const char *fx_path(const char *name);
/** Writes a file into the directory; gives its path. */
const char *fx_write(const char *name, const void *p, size_t len);
const char *fx_text(const char *name, const char *text);
/** Runs a shell command in the directory; the test fails when it does. */
void fx_run(const char *fmt, ...) sut_printf(1, 2);
/** Whether a command can be found. */
bool fx_have(const char *tool);
/** Reads a file whole, into a heap buffer of exactly its size. */
uint8_t *fx_read(const char *path, size_t *ret_len);

/** Opens a file of the directory; the test fails when that fails. */
struct sut_elf *fx_open(const char *name);
/** The text of the last failure. */
const char *fx_error(void);

#define assert_contains(text, part)                                              \
	do {                                                                     \
		const char *fx_t_ = (text);                                      \
		if (!strstr(fx_t_, part))                                        \
			fail_msg("\"%s\" does not contain \"%s\"", fx_t_, part); \
	} while (0)

#endif
