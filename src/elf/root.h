/* SPDX-License-Identifier: MIT */
/*
 * root.h - opening files that somebody else controls.
 *
 * A path below a target's root is resolved inside that root: neither "..", nor an absolute
 * link, nor a magic link of procfs leads out of it. What is opened is a regular file, looked at
 * before it is opened for reading, so that no device and no FIFO is ever touched.
 */
#ifndef SUT_ROOT_H
#define SUT_ROOT_H

#include "util/fail.h"

/** Opens @path, which the user named, for reading. A descriptor, or -errno (-EINVAL: not a regular file). */
int sut_open_regular(const char *path) __must_check;
/**
 * Opens @path inside the directory @root ("" or "/": ours) for reading, as a process with that
 * root would see it. A descriptor, or -errno (-EINVAL: not a regular file, -ELOOP: a magic link on the way).
 */
int sut_open_in_root(const char *root, const char *path) __must_check;
/** The same by the way for kernels without openat2; for tests. */
int sut_open_in_root_walk(const char *root, const char *path) __must_check;

#endif
