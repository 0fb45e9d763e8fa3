/* SPDX-License-Identifier: MIT */
/* ld.c - see ld.h. */
#include <stdarg.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdio.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "ld.h"
#include "util/util.h"

char dir[] = "/tmp/suture-ld-XXXXXX";

bool dir_make(void)
{
	return mkdtemp(dir);
}

int dir_remove(void)
{
	return run("rm -rf %s", dir);
}

int run(const char *fmt, ...)
{
	char cmd[2048];
	va_list ap;
	int st;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	st = system(cmd);
	return WIFEXITED(st) ? WEXITSTATUS(st) : -1;
}

void put_file(const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

void file_open(struct file *f, const char *name)
{
	char path[PATH_MAX];

	memset(f, 0, sizeof(*f));
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f->fd = open(path, O_RDONLY);
	assert_true(f->fd >= 0);
	f->elf = elf_begin(f->fd, ELF_C_READ, NULL);
	assert_non_null(f->elf);
	for (Elf_Scn *s = NULL; (s = elf_nextscn(f->elf, s));) {
		GElf_Shdr sh;

		gelf_getshdr(s, &sh);
		if (sh.sh_type != SHT_SYMTAB)
			continue;
		f->sym = elf_getdata(s, NULL);
		f->n_sym = sh.sh_size / sh.sh_entsize;
		f->strndx = sh.sh_link;
	}
	assert_non_null(f->sym);
}

void file_close(struct file *f)
{
	elf_end(f->elf);
	close(f->fd);
}

bool global_by_name(struct file *f, const char *name, GElf_Sym *ret)
{
	for (size_t i = 0; i < f->n_sym; i++) {
		gelf_getsym(f->sym, (int)i, ret);
		if (GELF_ST_BIND(ret->st_info) != STB_LOCAL &&
		    !strcmp(elf_strptr(f->elf, f->strndx, ret->st_name), name))
			return true;
	}
	return false;
}

/* Where the linker put an input section of the unit: read from the map file. 0: nowhere. */
static uint64_t placed(const char *map, const char *section)
{
	char want[80];
	const char *p = map;

	snprintf(want, sizeof(want), "\n %s", section);
	while ((p = strstr(p, want))) {
		unsigned long addr, size;
		char file[PATH_MAX];

		p += strlen(want);
		if (*p != ' ' && *p != '\n')
			continue;
		if (sscanf(p, " 0x%lx 0x%lx %s", &addr, &size, file) == 3 && strstr(file, "/unit.o"))
			return addr;
	}
	return 0;
}

/* The bytes of the linked file at an address. */
const uint8_t *linked_at(struct file *f, uint64_t addr, size_t len)
{
	for (Elf_Scn *s = NULL; (s = elf_nextscn(f->elf, s));) {
		GElf_Shdr sh;

		gelf_getshdr(s, &sh);
		if ((sh.sh_flags & SHF_ALLOC) && sh.sh_type != SHT_NOBITS && !(sh.sh_flags & SHF_TLS) &&
		    addr >= sh.sh_addr && addr + len <= sh.sh_addr + sh.sh_size)
			return (const uint8_t *)elf_getdata(s, NULL)->d_buf + (addr - sh.sh_addr);
	}
	return NULL;
}

void link_open(struct link *l, const char *obj, const char *exe, const char *map)
{
	char path[PATH_MAX];
	GElf_Phdr ph;
	GElf_Sym got;
	size_t len;
	int fd;

	memset(l, 0, sizeof(*l));
	file_open(&l->obj, obj);
	file_open(&l->exe, exe);
	snprintf(path, sizeof(path), "%s/%s", dir, map);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(sut_read_fd(fd, 1 << 24, &l->map, &len), 0);
	close(fd);
	for (size_t i = 0; gelf_getphdr(l->exe.elf, (int)i, &ph); i++) {
		if (ph.p_type != PT_TLS)
			continue;
		l->tls_size = SUT_ALIGN_UP(ph.p_memsz, ph.p_align);
		l->tls_align = ph.p_align;
	}
	for (size_t i = 0; i < l->exe.n_sym; i++) {
		gelf_getsym(l->exe.sym, (int)i, &got);
		if (!strcmp(elf_strptr(l->exe.elf, l->exe.strndx, got.st_name), "_GLOBAL_OFFSET_TABLE_"))
			l->got = got.st_value;
	}
}

void link_close(struct link *l)
{
	free(l->map);
	file_close(&l->obj);
	file_close(&l->exe);
}

uint64_t section_addr(struct link *l, unsigned shndx)
{
	Elf_Scn *s = elf_getscn(l->obj.elf, shndx);
	size_t shstr;
	GElf_Shdr sh;

	elf_getshdrstrndx(l->obj.elf, &shstr);
	gelf_getshdr(s, &sh);
	return placed(l->map, elf_strptr(l->obj.elf, shstr, sh.sh_name));
}

/* The final value of a symbol of the unit; for TLS the offset in the segment. */
uint64_t symbol_value(struct link *l, unsigned n, uint64_t *size, bool *is_tls)
{
	const char *name;
	GElf_Sym s, out;

	gelf_getsym(l->obj.sym, (int)n, &s);
	name = elf_strptr(l->obj.elf, l->obj.strndx, s.st_name);
	*is_tls = GELF_ST_TYPE(s.st_info) == STT_TLS;
	*size = s.st_size;
	if (!strcmp(name, "_GLOBAL_OFFSET_TABLE_"))
		return l->got;
	if (!strcmp(name, "_TLS_MODULE_BASE_")) {
		*is_tls = true;
		return l->module_base;
	}
	if (s.st_shndx != SHN_UNDEF && s.st_shndx < SHN_LORESERVE && GELF_ST_BIND(s.st_info) == STB_LOCAL) {
		uint64_t at = section_addr(l, s.st_shndx) + s.st_value;
		GElf_Shdr sh;

		gelf_getshdr(elf_getscn(l->obj.elf, s.st_shndx), &sh);
		if (!(sh.sh_flags & SHF_TLS))
			return at;
		*is_tls = true;
		for (size_t i = 0;; i++) {
			GElf_Phdr ph;

			assert_non_null(gelf_getphdr(l->exe.elf, (int)i, &ph));
			if (ph.p_type == PT_TLS)
				return at - ph.p_vaddr;
		}
	}
	if (!global_by_name(&l->exe, name, &out))
		return 0; /* weak and undefined */
	*is_tls = GELF_ST_TYPE(out.st_info) == STT_TLS;
	*size = out.st_size;
	return out.st_value;
}
