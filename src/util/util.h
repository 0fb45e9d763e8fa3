/* SPDX-License-Identifier: MIT */
/*
 * util.h - the small things every room uses: growable vectors, byte buffers,
 * little-endian access to unaligned bytes, overflow-safe ranges, scope guards.
 *
 * Nothing here prints, logs or knows a policy. Vectors are plain structs; the
 * element type is in the struct, so the compiler checks it.
 */
#ifndef SUT_UTIL_H
#define SUT_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUT_ARRAY_SIZE(a)    (sizeof(a) / sizeof((a)[0]))
#define SUT_ALIGN_UP(x, a)   (((x) + (a)-1) & ~((__typeof__(x))(a)-1))
#define SUT_ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a)-1))

/** A vector of T: `SUT_VEC(int) v = { 0 };` ... free(v.v). */
#define SUT_VEC(T)          \
	struct {            \
		T *v;       \
		size_t n;   \
		size_t cap; \
	}
/** Makes room for @need elements of @elem bytes. Returns 0 or -ENOMEM. */
int sut_vec_reserve_(void **v, size_t *cap, size_t need, size_t elem);
/** Appends @item; evaluates to 0 or -ENOMEM. */
#define sut_vec_push(vec, item)                                                             \
	(sut_vec_reserve_((void **)&(vec)->v, &(vec)->cap, (vec)->n + 1, sizeof(*(vec)->v)) \
		 ? -12 /* -ENOMEM */                                                        \
		 : ((vec)->v[(vec)->n++] = (item), 0))
#define sut_vec_free(vec)                  \
	do {                               \
		free((vec)->v);            \
		(vec)->v = NULL;           \
		(vec)->n = (vec)->cap = 0; \
	} while (0)

/** A growable string of bytes. */
struct sut_buf {
	uint8_t *p;
	size_t len;
	size_t cap;
};
int sut_buf_add(struct sut_buf *b, const void *p, size_t len);
/** Zero-pads to a multiple of @align (a power of two). */
int sut_buf_align(struct sut_buf *b, size_t align);
void sut_buf_free(struct sut_buf *b);

static inline uint32_t sut_le32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}
static inline uint64_t sut_le64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}
static inline void sut_put_le32(void *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
}
static inline void sut_put_le64(void *p, uint64_t v)
{
	memcpy(p, &v, sizeof(v));
}

/** Half-open: [start, end). */
struct sut_range {
	uint64_t start;
	uint64_t end;
};
static inline bool sut_in(uint64_t start, uint64_t end, uint64_t x)
{
	return x >= start && x < end;
}
/** Whether [off, off+len) lies inside [0, size), whatever the numbers are. */
static inline bool sut_fits(uint64_t off, uint64_t len, uint64_t size)
{
	return off <= size && len <= size - off;
}

/** Formats @n bytes as lower-case hex into @out (2n+1 bytes); returns @out. */
char *sut_hex(const uint8_t *p, size_t n, char *out);
/** Monotonic time in nanoseconds. */
uint64_t sut_now_ns(void);
/** Reads a whole file descriptor (at most @max bytes) into a NUL-ended heap buffer. 0 or -errno (-EFBIG). */
int sut_read_fd(int fd, size_t max, char **ret, size_t *ret_len);

static inline void sut_cleanup_free(void *p)
{
	free(*(void **)p);
}
static inline void sut_cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
static inline void sut_cleanup_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}
#define _cleanup_free_   __attribute__((cleanup(sut_cleanup_free)))
#define _cleanup_close_  __attribute__((cleanup(sut_cleanup_close)))
#define _cleanup_fclose_ __attribute__((cleanup(sut_cleanup_fclose)))

#endif
