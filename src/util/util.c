/* SPDX-License-Identifier: MIT */
/* util.c - vectors, buffers and the few system helpers behind util.h. Calls libc only. */
#include <errno.h>
#include <time.h>

#include "util/util.h"

int sut_vec_reserve_(void **v, size_t *cap, size_t need, size_t elem)
{
	size_t n = *cap ? *cap : 8;
	void *p;

	if (need <= *cap)
		return 0;
	while (n < need)
		n *= 2;
	if (n > SIZE_MAX / elem)
		return -ENOMEM;
	p = realloc(*v, n * elem);
	if (!p)
		return -ENOMEM;
	*v = p;
	*cap = n;
	return 0;
}

int sut_buf_add(struct sut_buf *b, const void *p, size_t len)
{
	if (!len)
		return 0;
	if (len > SIZE_MAX - b->len || sut_vec_reserve_((void **)&b->p, &b->cap, b->len + len, 1))
		return -ENOMEM;
	if (p)
		memcpy(b->p + b->len, p, len);
	else
		memset(b->p + b->len, 0, len);
	b->len += len;
	return 0;
}

int sut_buf_align(struct sut_buf *b, size_t align)
{
	return sut_buf_add(b, NULL, SUT_ALIGN_UP(b->len, align) - b->len);
}

void sut_buf_free(struct sut_buf *b)
{
	free(b->p);
	memset(b, 0, sizeof(*b));
}

char *sut_hex(const uint8_t *p, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++)
		sprintf(out + 2 * i, "%02x", p[i]);
	out[2 * n] = '\0';
	return out;
}

uint64_t sut_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int sut_read_fd(int fd, size_t max, char **ret, size_t *ret_len)
{
	struct sut_buf b = { 0 };

	for (;;) {
		uint8_t chunk[16384];
		ssize_t n = read(fd, chunk, sizeof(chunk));
		int err = 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			err = -errno;
		else if (n > 0 && b.len + (size_t)n > max)
			err = -EFBIG;
		else
			err = sut_buf_add(&b, n ? chunk : (const void *)"", n ? (size_t)n : 1);
		if (err) {
			sut_buf_free(&b);
			return err;
		}
		if (!n)
			break;
	}
	*ret = (char *)b.p;
	if (ret_len)
		*ret_len = b.len - 1;
	return 0;
}
