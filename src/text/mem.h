/* SPDX-License-Identifier: MIT */
/*
 * mem.h - one address space, seen through one set of operations.
 *
 * Everything that reads or changes a target's memory does it through struct sut_mem:
 * a remote process or one's own (src/process), an image in a buffer (tests).
 * text/ reaches threads and system calls only through these operations.
 */
#ifndef SUT_MEM_H
#define SUT_MEM_H

#include <sys/types.h>

#include "arch/arch.h"
#include "util/fail.h"
#include "util/util.h"

#define SUT_PROT_R 1u
#define SUT_PROT_W 2u
#define SUT_PROT_X 4u

/** One line of /proc/PID/maps. */
struct sut_map {
	uint64_t start, end;
	uint64_t offset;
	uint64_t inode;
	unsigned dev_major, dev_minor;
	unsigned prot; /* SUT_PROT_* */
	bool shared;
	const char *name; /* "" when none; belongs to the snapshot */
};

/** A snapshot of all mappings, by rising address. */
struct sut_maps {
	SUT_VEC(struct sut_map) m;
	char *text; /* what the names point into */
};
void sut_maps_free(struct sut_maps *maps);
/** The mapping that holds @addr, or NULL. */
const struct sut_map *sut_maps_at(const struct sut_maps *maps, uint64_t addr);
/** Parses the text of a maps file (kept by the snapshot on success; a heap string). */
int sut_maps_parse(struct suture_ctx *ctx, char *text, struct sut_maps *ret) __must_check;

struct sut_mem;
struct sut_mem_ops {
	/** Reads exactly @len bytes, or fails with nothing promised about @buf. */
	int (*read)(struct sut_mem *mem, uint64_t addr, void *buf, size_t len);
	/** Writes exactly @len bytes whatever the protection (private mappings only). Not atomic. */
	int (*write)(struct sut_mem *mem, uint64_t addr, const void *buf, size_t len);
	/** Lets a thread of the target that is held for it make one system call. @ret gets the kernel's
	 *  raw result (-errno as the kernel returns it). Non-zero only when the call could not be made. */
	int (*syscall)(struct sut_mem *mem, enum sut_sys sys, const uint64_t args[6], int64_t *ret);
	/** A fresh snapshot of the mappings. */
	int (*maps)(struct sut_mem *mem, struct sut_maps *ret);
	/** Whether each page of [start, end) is private (differs from its file); one bool per page. */
	int (*private_pages)(struct sut_mem *mem, uint64_t start, uint64_t end, bool *ret);
	/** Whether anything of the address space is locked in memory (mlock, mlockall). Cheap, unlike: */
	int (*any_locked)(struct sut_mem *mem, bool *ret);
	/** The VmFlags letters (smaps) of the mapping that holds @addr, space separated, into @ret. The
	 *  kernel walks all pages below @addr for it: some 25 ms for each GiB that the target uses. */
	int (*vm_flags)(struct sut_mem *mem, uint64_t addr, char *ret, size_t cap);
	/** Opens, in the target, the file that is mapped at @map; a descriptor of the target in @ret. */
	int (*open_mapped)(struct sut_mem *mem, const struct sut_map *map, int *ret);
};

struct sut_mem {
	const struct sut_mem_ops *ops;
	const struct sut_arch *arch;
	struct suture_ctx *ctx;
	size_t page_size;
	/* Every other thread of *this* process stands still, perhaps with a lock in its hands: until that is over nothing
	 * may be allocated, logged or translated, nor any other lock be taken. Never set for another process. */
	bool frozen;
};

static inline int sut_mem_read(struct sut_mem *m, uint64_t a, void *b, size_t n)
{
	return m->ops->read(m, a, b, n);
}
static inline int sut_mem_write(struct sut_mem *m, uint64_t a, const void *b, size_t n)
{
	return m->ops->write(m, a, b, n);
}
/** One system call in the target: sut_mem_syscall(mem, &ret, SUT_SYS_CLOSE, fd). Missing arguments are 0. */
#define sut_mem_syscall(mem, ret, sys, ...) \
	((mem)->ops->syscall((mem), (sys), (const uint64_t[6]){ __VA_ARGS__ }, (ret)))
/** The same, and a negative result of the kernel becomes a recorded failure that names @what. */
int sut_mem_call(struct sut_mem *mem, const char *what, uint64_t *ret, enum sut_sys sys,
		 const uint64_t args[6]) __must_check;

#endif
