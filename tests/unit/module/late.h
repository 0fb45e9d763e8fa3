/* SPDX-License-Identifier: MIT */
/*
 * late.h - makes late symbols of an object file: undefined "late_NAME" becomes ".suture.sym.0.NAME,0",
 * "late1_NAME" ".suture.sym.1.NAME,0", and so on.
 * Undefined "abs_HEX" becomes an absolute symbol of that value, which no assembler makes by itself.
 */
#ifndef TEST_LATE_H
#define TEST_LATE_H

#include "self.h"

/** Opens a changed copy of @path; aborts when it can not. */
struct sut_elf *late_elf(struct suture_process *p, const char *path);
/** The changed copy itself: a heap buffer. */
uint8_t *late_image(const char *path, size_t *ret_len);

#endif
