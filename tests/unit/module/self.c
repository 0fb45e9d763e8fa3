/* SPDX-License-Identifier: MIT */
/* self.c - see self.h. */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "self.h"

static int self_read(struct sut_mem *mem, uint64_t addr, void *buf, size_t len)
{
	struct suture_process *p = (void *)((char *)mem - offsetof(struct suture_process, mem));

	if (pread(p->mem_fd, buf, len, (off_t)addr) == (ssize_t)len)
		return 0;
	return sut_fail(mem->ctx, SUTURE_EFAILED, "reading 0x%llx", (unsigned long long)addr);
}

static int self_write(struct sut_mem *mem, uint64_t addr, const void *buf, size_t len)
{
	struct suture_process *p = (void *)((char *)mem - offsetof(struct suture_process, mem));

	if (pwrite(p->mem_fd, buf, len, (off_t)addr) == (ssize_t)len)
		return 0;
	return sut_fail(mem->ctx, SUTURE_EFAILED, "writing 0x%llx", (unsigned long long)addr);
}

static int self_syscall(struct sut_mem *mem, enum sut_sys sys, const uint64_t a[6], int64_t *ret)
{
	long got = syscall(mem->arch->sysno[sys], a[0], a[1], a[2], a[3], a[4], a[5]);

	*ret = got == -1 ? -errno : got;
	return 0;
}

static int self_maps(struct sut_mem *mem, struct sut_maps *ret)
{
	_cleanup_close_ int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	char *text;
	size_t len;

	if (fd < 0 || sut_read_fd(fd, 16 << 20, &text, &len))
		return sut_fail(mem->ctx, SUTURE_EFAILED, "maps");
	return sut_maps_parse(mem->ctx, text, ret);
}

static const struct sut_mem_ops self_ops = {
	.read = self_read,
	.write = self_write,
	.syscall = self_syscall,
	.maps = self_maps,
};

static int add_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct suture_process *p = arg;
	struct sut_object o = { .bias = info->dlpi_addr, .start = UINT64_MAX, .load_order = p->obj.n };
	const char *path = *info->dlpi_name ? info->dlpi_name : "/proc/self/exe";
	struct stat st;

	for (int i = 0; i < info->dlpi_phnum; i++) {
		uint64_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr, end;

		end = SUT_ALIGN_UP(start + info->dlpi_phdr[i].p_memsz, p->mem.page_size);
		start = SUT_ALIGN_DOWN(start, p->mem.page_size);
		if (info->dlpi_phdr[i].p_type != PT_LOAD)
			continue;
		o.start = start < o.start ? start : o.start;
		o.end = end > o.end ? end : o.end;
	}
	o.path = realpath(path, NULL);
	o.is_main = !p->obj.n;
	o.is_vdso = !o.path;
	if (o.is_vdso)
		o.path = strdup("[vdso]");
	o.name = strrchr(o.path, '/') ? strrchr(o.path, '/') + 1 : o.path;
	if (!o.is_vdso && (stat(o.path, &st) || sut_elf_open(p->ctx, o.path, &o.elf)))
		abort();
	if (o.elf && o.elf->soname)
		o.name = o.elf->soname;
	return sut_vec_push(&p->obj, o);
}

static void log_line(void *arg, enum suture_log_level level, const char *line)
{
	if (getenv("SUTURE_TEST_LOG"))
		fprintf(stderr, "# %s\n", line);
}

struct suture_process *self_open(void)
{
	struct suture_process *p = calloc(1, sizeof(*p));
	struct suture_ctx_opts opts = { .sz = sizeof(opts), .log = log_line };

	if (!p || suture_ctx_create(&opts, &p->ctx))
		abort();
	p->mem = (struct sut_mem){ &self_ops, sut_arch_host(), p->ctx, (size_t)sysconf(_SC_PAGESIZE) };
	p->pid = p->live_tid = getpid();
	p->pidfd = -1;
	p->mem_fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	if (p->mem_fd < 0 || p->mem.ops->maps(&p->mem, &p->maps))
		abort();
	dl_iterate_phdr(add_object, p);
	return p;
}

void self_close(struct suture_process *p)
{
	for (size_t i = 0; i < p->obj.n; i++) {
		sut_symtab_free(p->obj.v[i].symtab);
		sut_elf_close(p->obj.v[i].elf);
		free(p->obj.v[i].path);
	}
	sut_vec_free(&p->obj);
	sut_maps_free(&p->maps);
	close(p->mem_fd);
	suture_ctx_destroy(p->ctx);
	free(p);
}

struct sut_elf *self_elf(struct suture_process *p, const char *path)
{
	struct sut_elf *e;

	if (sut_elf_open(p->ctx, path, &e)) {
		fprintf(stderr, "%s: %s\n", path, self_message(p));
		abort();
	}
	return e;
}

const struct sut_mod_env *self_env(struct suture_process *p)
{
	static struct sut_object *main_object;
	static struct sut_mod_env env = { .object = &main_object, .n_objects = 1 };

	main_object = &p->obj.v[0];
	return &env;
}

const char *self_message(struct suture_process *p)
{
	return suture_ctx_error(p->ctx)->message;
}
