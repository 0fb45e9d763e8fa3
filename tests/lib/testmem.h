/* SPDX-License-Identifier: MIT */
/*
 * testmem.h - struct sut_mem for tests: the test's own process, or an image in a buffer.
 *
 * "Self" does everything for real: memory through /proc/self/mem, system calls, maps, pagemap, smaps. An image
 * reads and writes a buffer and shows a maps text that the test made up; its system calls all
 * fail unless the hook answers them. In both, a hook sees every call first and may answer it.
 */
#ifndef TEST_TESTMEM_H
#define TEST_TESTMEM_H

#include "text/mem.h"

struct test_mem {
	struct sut_mem mem;
	int fd; /* self: /proc/self/mem */
	/* image: what stands at base, and the text of maps */
	uint8_t *image;
	uint64_t base;
	size_t size;
	const char *maps_text;
	/* faults and answers, all optional */
	bool (*hook)(struct test_mem *t, enum sut_sys sys, const uint64_t args[6], int64_t *ret); /* true: answered */
	bool no_file; /* open_mapped fails */
	size_t fail_at; /* the n-th operation of any kind fails, counted from 1 (0: none) ... */
	size_t fail_for; /* ... and those after it, this many in all; 0: only that one */
	size_t n_ops; /* operations so far */
	unsigned calls[SUT_SYS_N]; /* system calls that reached the kernel */
	void *arg; /* the test's */
};

/** The test's own process. Returns 0, or -1 where it can not be (no such architecture, no /proc). */
int test_mem_self(struct test_mem *t);
void test_mem_image(struct test_mem *t, uint64_t base, uint8_t *image, size_t size, const char *maps_text);
void test_mem_close(struct test_mem *t);
/** Text of the last failure; never NULL. */
const char *test_mem_message(const struct test_mem *t);
/** How many mappings there are, and how many of them name @file. */
size_t test_mem_count_maps(struct test_mem *t, const char *file);

#endif
