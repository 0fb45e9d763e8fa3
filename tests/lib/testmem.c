/* SPDX-License-Identifier: MIT */
/* testmem.c - see testmem.h. */
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>

#include "testmem.h"

static struct test_mem *of(struct sut_mem *mem)
{
	return (struct test_mem *)((char *)mem - offsetof(struct test_mem, mem));
}

/* Counts the operation; true: this one is to fail. */
static bool fails(struct test_mem *t)
{
	t->n_ops++;
	return t->fail_at && t->n_ops >= t->fail_at && t->n_ops <= t->fail_at + t->fail_for;
}

static int failure(struct test_mem *t, const char *what, uint64_t addr)
{
	return sut_fail(t->mem.ctx, SUTURE_EFAILED, "test: %s 0x%lx", what, addr);
}

static int self_read(struct sut_mem *mem, uint64_t addr, void *buf, size_t len)
{
	struct test_mem *t = of(mem);

	if (fails(t) || pread(t->fd, buf, len, (off_t)addr) != (ssize_t)len)
		return failure(t, "can not read", addr);
	return 0;
}

static int self_write(struct sut_mem *mem, uint64_t addr, const void *buf, size_t len)
{
	struct test_mem *t = of(mem);

	if (fails(t) || pwrite(t->fd, buf, len, (off_t)addr) != (ssize_t)len)
		return failure(t, "can not write", addr);
	return 0;
}

static int self_syscall(struct sut_mem *mem, enum sut_sys sys, const uint64_t a[6], int64_t *ret)
{
	struct test_mem *t = of(mem);
	long got;

	if (fails(t)) {
		*ret = -ENOMEM;
		return 0;
	}
	if (t->hook && t->hook(t, sys, a, ret))
		return 0;
	t->calls[sys]++;
	got = syscall(mem->arch->sysno[sys], a[0], a[1], a[2], a[3], a[4], a[5]);
	*ret = got == -1 ? -errno : got;
	return 0;
}

static int self_maps(struct sut_mem *mem, struct sut_maps *ret)
{
	_cleanup_close_ int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	struct test_mem *t = of(mem);
	char *text;
	size_t len;
	int err;

	if (fails(t) || fd < 0 || sut_read_fd(fd, 16 << 20, &text, &len))
		return failure(t, "no maps", 0);
	err = sut_maps_parse(mem->ctx, text, ret);
	if (err)
		free(text);
	return err;
}

static int self_private_pages(struct sut_mem *mem, uint64_t start, uint64_t end, bool *ret)
{
	_cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct test_mem *t = of(mem);

	if (fails(t) || fd < 0)
		return failure(t, "no pagemap", start);
	for (uint64_t at = start; at < end; at += mem->page_size) {
		uint64_t e;

		if (pread(fd, &e, 8, (off_t)(at / mem->page_size * 8)) != 8)
			return failure(t, "no pagemap", at);
		*ret++ = e >> 62 && !(e >> 61 & 1);
	}
	return 0;
}

static int self_any_locked(struct sut_mem *mem, bool *ret)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/status", "re");
	struct test_mem *t = of(mem);
	unsigned long kb = 0;
	char line[256];

	if (fails(t) || !f)
		return failure(t, "no status", 0);
	while (fgets(line, sizeof(line), f) && sscanf(line, "VmLck: %lu", &kb) != 1)
		;
	*ret = kb;
	return 0;
}

static int self_vm_flags(struct sut_mem *mem, uint64_t addr, char *ret, size_t cap)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/smaps", "re");
	struct test_mem *t = of(mem);
	bool inside = false;
	char line[8192];

	if (fails(t) || !f)
		return failure(t, "no smaps", addr);
	while (fgets(line, sizeof(line), f)) {
		unsigned long start, end;
		char c;

		if (sscanf(line, "%lx-%lx%c", &start, &end, &c) == 3 && c == ' ')
			inside = addr >= start && addr < end;
		else if (inside && !strncmp(line, "VmFlags: ", 9)) {
			line[strcspn(line, "\n")] = '\0';
			snprintf(ret, cap, "%s", line + 9);
			return 0;
		}
	}
	return failure(t, "no flags for", addr);
}

static int self_open_mapped(struct sut_mem *mem, const struct sut_map *map, int *ret)
{
	struct test_mem *t = of(mem);
	char path[64];
	int fd;

	if (fails(t) || t->no_file)
		return failure(t, "no file for", map->start);
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", map->start, map->end);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && map->name[0] == '/')
		fd = open(map->name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return failure(t, "no file for", map->start);
	*ret = fd;
	return 0;
}

static const struct sut_mem_ops self_ops = {
	.read = self_read,
	.write = self_write,
	.syscall = self_syscall,
	.maps = self_maps,
	.private_pages = self_private_pages,
	.any_locked = self_any_locked,
	.vm_flags = self_vm_flags,
	.open_mapped = self_open_mapped,
};

int test_mem_self(struct test_mem *t)
{
	memset(t, 0, sizeof(*t));
	t->fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	t->mem.ops = &self_ops;
	t->mem.arch = sut_arch_host();
	t->mem.page_size = (size_t)sysconf(_SC_PAGESIZE);
	if (t->fd < 0 || !t->mem.arch || suture_ctx_create(NULL, &t->mem.ctx)) {
		test_mem_close(t);
		return -1;
	}
	return 0;
}

static int image_move(struct sut_mem *mem, uint64_t addr, void *buf, size_t len, bool write)
{
	struct test_mem *t = of(mem);

	if (fails(t) || addr < t->base || !sut_fits(addr - t->base, len, t->size))
		return failure(t, "not in the image:", addr);
	if (write)
		memcpy(t->image + (addr - t->base), buf, len);
	else
		memcpy(buf, t->image + (addr - t->base), len);
	return 0;
}

static int image_read(struct sut_mem *mem, uint64_t addr, void *buf, size_t len)
{
	return image_move(mem, addr, buf, len, false);
}

static int image_write(struct sut_mem *mem, uint64_t addr, const void *buf, size_t len)
{
	return image_move(mem, addr, (void *)(uintptr_t)buf, len, true);
}

static int image_syscall(struct sut_mem *mem, enum sut_sys sys, const uint64_t a[6], int64_t *ret)
{
	struct test_mem *t = of(mem);

	if (!fails(t) && t->hook && t->hook(t, sys, a, ret))
		return 0;
	*ret = -ENOSYS;
	return 0;
}

static int image_maps(struct sut_mem *mem, struct sut_maps *ret)
{
	struct test_mem *t = of(mem);
	char *text = strdup(t->maps_text);
	int err;

	if (fails(t) || !text) {
		free(text);
		return failure(t, "no maps", 0);
	}
	err = sut_maps_parse(mem->ctx, text, ret);
	if (err)
		free(text);
	return err;
}

static int image_none_pages(struct sut_mem *mem, uint64_t start, uint64_t end, bool *ret)
{
	memset(ret, 0, (end - start) / mem->page_size * sizeof(*ret));
	return 0;
}

static int image_none_locked(struct sut_mem *mem, bool *ret)
{
	*ret = false;
	return 0;
}

static int image_none_flags(struct sut_mem *mem, uint64_t addr, char *ret, size_t cap)
{
	snprintf(ret, cap, "rd ex mr mw me");
	return 0;
}

static int image_none_file(struct sut_mem *mem, const struct sut_map *map, int *ret)
{
	return failure(of(mem), "no file for", map->start);
}

static const struct sut_mem_ops image_ops = {
	.read = image_read,
	.write = image_write,
	.syscall = image_syscall,
	.maps = image_maps,
	.private_pages = image_none_pages,
	.any_locked = image_none_locked,
	.vm_flags = image_none_flags,
	.open_mapped = image_none_file,
};

void test_mem_image(struct test_mem *t, uint64_t base, uint8_t *image, size_t size, const char *maps_text)
{
	memset(t, 0, sizeof(*t));
	t->fd = -1;
	t->mem.ops = &image_ops;
	t->mem.arch = &sut_arch_x86_64;
	t->mem.page_size = 4096;
	t->base = base;
	t->image = image;
	t->size = size;
	t->maps_text = maps_text;
	if (suture_ctx_create(NULL, &t->mem.ctx))
		abort();
}

void test_mem_close(struct test_mem *t)
{
	if (t->fd >= 0)
		close(t->fd);
	suture_ctx_destroy(t->mem.ctx);
	t->mem.ctx = NULL;
	t->fd = -1;
}

const char *test_mem_message(const struct test_mem *t)
{
	return suture_ctx_error(t->mem.ctx)->message;
}

size_t test_mem_count_maps(struct test_mem *t, const char *file)
{
	struct sut_maps maps;
	size_t n = 0;

	if (t->mem.ops->maps(&t->mem, &maps))
		abort();
	for (size_t i = 0; i < maps.m.n; i++)
		n += !file || strstr(maps.m.v[i].name, file);
	sut_maps_free(&maps);
	return n;
}
