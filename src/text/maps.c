/* SPDX-License-Identifier: MIT */
/*
 * maps.c - a snapshot of an address space: the lines of /proc/PID/maps.
 *
 * The text comes from the kernel but names in it are the target's choice: a name may hold
 * spaces, or look like another field. Only the fixed fields before it are parsed; the
 * rest of the line is the name. Mappings are kept in the order given, which must rise.
 */
#include <errno.h>

#include "text/mem.h"

void sut_maps_free(struct sut_maps *maps)
{
	if (!maps)
		return;
	sut_vec_free(&maps->m);
	free(maps->text);
	maps->text = NULL;
}

const struct sut_map *sut_maps_at(const struct sut_maps *maps, uint64_t addr)
{
	size_t lo = 0, hi = maps->m.n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct sut_map *m = &maps->m.v[mid];

		if (addr < m->start)
			hi = mid;
		else if (addr >= m->end)
			lo = mid + 1;
		else
			return m;
	}
	return NULL;
}

/* "55d0-55f0 r-xp 00001000 fd:00 1234    /path": the five fields, then blanks, then the name. */
static bool parse_line(char *line, struct sut_map *m)
{
	char perm[5];
	int name = 0;

	memset(m, 0, sizeof(*m));
	if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu%n", &m->start, &m->end, perm, &m->offset, &m->dev_major,
		   &m->dev_minor, &m->inode, &name) < 7 ||
	    strlen(perm) != 4 || m->start >= m->end)
		return false;
	m->prot = (perm[0] == 'r' ? SUT_PROT_R : 0) | (perm[1] == 'w' ? SUT_PROT_W : 0) |
		  (perm[2] == 'x' ? SUT_PROT_X : 0);
	m->shared = perm[3] == 's';
	while (line[name] == ' ')
		name++;
	m->name = line + name;
	return true;
}

int sut_maps_parse(struct suture_ctx *ctx, char *text, struct sut_maps *ret)
{
	struct sut_maps maps = { 0 };
	uint64_t last = 0;

	for (char *line = text, *next; *line; line = next) {
		struct sut_map m;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		else
			next = line + strlen(line);
		if (!parse_line(line, &m) || m.start < last) {
			int err = sut_fail(ctx, SUTURE_EREFUSED, "the list of mappings can not be read: '%.80s'", line);

			sut_vec_free(&maps.m);
			return err;
		}
		last = m.end;
		if (sut_vec_push(&maps.m, m)) {
			sut_vec_free(&maps.m);
			return sut_nomem(ctx);
		}
	}
	maps.text = text;
	*ret = maps;
	return 0;
}
