/* SPDX-License-Identifier: MIT */
/* late.c - see late.h. The new names go into a copy of the string table behind the end of the file. */
#include <fcntl.h>

#include <suture/sutfile.h>

#include "late.h"

uint8_t *late_image(const char *path, size_t *ret_len)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf64_Shdr *sh, *symtab = NULL, *strtab;
	struct sut_buf names = { 0 };
	Elf64_Ehdr *eh;
	Elf64_Sym *sym;
	char *image;
	size_t len;

	if (fd < 0 || sut_read_fd(fd, 64 << 20, &image, &len)) {
		perror(path);
		abort();
	}
	eh = (void *)image;
	sh = (void *)(image + eh->e_shoff);
	for (int i = 0; i < eh->e_shnum; i++)
		if (sh[i].sh_type == SHT_SYMTAB)
			symtab = &sh[i];
	strtab = &sh[symtab->sh_link];
	sym = (void *)(image + symtab->sh_offset);
	if (sut_buf_add(&names, image + strtab->sh_offset, strtab->sh_size))
		abort();
	for (size_t i = 1; i < symtab->sh_size / sizeof(*sym); i++) {
		const char *name = image + strtab->sh_offset + sym[i].st_name;
		const char *plain = strchr(name, '_');
		char late[256];

		if (sym[i].st_shndx == SHN_UNDEF && !strncmp(name, "abs_", 4)) {
			sym[i].st_shndx = SHN_ABS;
			sym[i].st_value = strtoull(name + 4, NULL, 16);
		}
		if (sym[i].st_shndx != SHN_UNDEF || strncmp(name, "late", 4) || !plain || plain > name + 5)
			continue;
		snprintf(late, sizeof(late), SUTURE_SYM_PREFIX "%c.%s,0", name[4] == '_' ? '0' : name[4], plain + 1);
		sym[i].st_name = (Elf64_Word)names.len;
		sym[i].st_shndx = SUTURE_SHN_LIVEPATCH;
		if (sut_buf_add(&names, late, strlen(late) + 1))
			abort();
	}
	strtab->sh_offset = len;
	strtab->sh_size = names.len;
	image = realloc(image, len + names.len);
	memcpy(image + len, names.p, names.len);
	*ret_len = len + names.len;
	sut_buf_free(&names);
	return (uint8_t *)image;
}

struct sut_elf *late_elf(struct suture_process *p, const char *path)
{
	struct sut_elf *e;
	size_t len;
	uint8_t *image = late_image(path, &len);

	if (sut_elf_open_memory(p->ctx, image, len, path, &e)) {
		fprintf(stderr, "%s: %s\n", path, self_message(p));
		abort();
	}
	return e;
}
