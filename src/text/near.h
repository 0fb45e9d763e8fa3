/* SPDX-License-Identifier: MIT */
/*
 * near.h - memory within branch reach of a text mapping.
 *
 * Rules (measured, docs/design.md): prefer the gap below the text; never the gap before a heap nor the
 * TiB that follows one (brk grows there) nor the 128 MiB below a stack; keep a guard page on
 * both sides; nothing below mmap_min_addr.
 */
#ifndef SUT_NEAR_H
#define SUT_NEAR_H

#include "text/mem.h"

/**
 * Finds a hole of @size bytes such that every byte of it and every byte of [lo, hi) are less
 * than @reach apart. Only the snapshot is read; the caller maps with MAP_FIXED_NOREPLACE and
 * asks again with a fresh snapshot on EEXIST. 0 or -SUTURE_EREFUSED (with text).
 */
int sut_near_find(struct suture_ctx *ctx, const struct sut_maps *maps, uint64_t lo, uint64_t hi, size_t size,
		  uint64_t reach, size_t page_size, uint64_t *ret) __must_check;
/** Finds such a hole and maps anonymous memory there in the target. @prot as for mmap. */
int sut_near_map(struct sut_mem *mem, uint64_t lo, uint64_t hi, size_t size, uint64_t reach, int prot,
		 uint64_t *ret) __must_check;

#endif
