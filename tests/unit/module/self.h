/* SPDX-License-Identifier: MIT */
/*
 * self.h - the test's own process as a target: the loader runs on it without ptrace.
 *
 * Memory is written through /proc/self/mem, system calls are made directly. What is loaded can be called.
 */
#ifndef TEST_SELF_H
#define TEST_SELF_H

#include "module/module.h"

/** A process handle for ourselves; objects are those that dl_iterate_phdr tells. */
struct suture_process *self_open(void);
void self_close(struct suture_process *p);
/** Opens an object file of the build directory. */
struct sut_elf *self_elf(struct suture_process *p, const char *path);
/** The only object, main, owns everything; @ret is static. */
const struct sut_mod_env *self_env(struct suture_process *p);
/** Text of the last failure. */
const char *self_message(struct suture_process *p);

#endif
