/* SPDX-License-Identifier: MIT */
/* a64.h - what the tests of arm64 share: the table, words, the cross tools, a library's text. */
#ifndef SUT_TEST_A64_H
#define SUT_TEST_A64_H

#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/arch.h"
#include "util/util.h"

static const struct sut_arch *const arch = &sut_arch_aarch64;

static inline void put_word(uint8_t *p, uint32_t word)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(word >> (8 * i));
}

/** The cross tool of a name: "objdump" is aarch64-linux-gnu-objdump. */
static inline const char *tool(const char *name)
{
	static char full[4][64];
	static unsigned n;
	char *p = full[n++ % 4];

	snprintf(p, sizeof(full[0]), "aarch64-linux-gnu-%s", name);
	return p;
}

static inline bool have_tool(const char *name)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "command -v %s >/dev/null", tool(name));
	return system(cmd) == 0;
}

/** Skips the running case, with the reason, where the tool is not installed. */
#define need_tool(name)                                            \
	do {                                                       \
		if (!have_tool(name)) {                            \
			print_message("no %s here\n", tool(name)); \
			skip();                                    \
		}                                                  \
	} while (0)

struct text {
	int fd;
	Elf *elf;
	const uint8_t *bytes;
	uint64_t addr, size;
};

static inline void text_close(struct text *t)
{
	elf_end(t->elf);
	close(t->fd);
}

static inline bool text_open(struct text *t, const char *path)
{
	size_t shstr;

	elf_version(EV_CURRENT);
	memset(t, 0, sizeof(*t));
	t->fd = open(path, O_RDONLY);
	if (t->fd < 0)
		return false;
	t->elf = elf_begin(t->fd, ELF_C_READ, NULL);
	elf_getshdrstrndx(t->elf, &shstr);
	for (Elf_Scn *s = NULL; (s = elf_nextscn(t->elf, s));) {
		GElf_Shdr sh;

		gelf_getshdr(s, &sh);
		if (strcmp(elf_strptr(t->elf, shstr, sh.sh_name), ".text"))
			continue;
		t->bytes = (const uint8_t *)elf_getdata(s, NULL)->d_buf;
		t->addr = sh.sh_addr;
		t->size = sh.sh_size;
		return true;
	}
	text_close(t);
	return false;
}

#endif
