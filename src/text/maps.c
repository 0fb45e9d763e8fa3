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

/* A number of the kernel's: digits only, no sign, no blanks, no overflow. */
static bool number(const char **p, unsigned base, uint64_t *ret)
{
	const char *from = *p;
	uint64_t v = 0;

	for (;; ++*p) {
		unsigned digit = base;

		if (**p >= '0' && **p <= '9')
			digit = (unsigned)(**p - '0');
		else if (**p >= 'a' && **p <= 'f')
			digit = (unsigned)(**p - 'a') + 10;
		if (digit >= base)
			break;
		if (v > (UINT64_MAX - digit) / base)
			return false;
		v = v * base + digit;
	}
	*ret = v;
	return *p != from;
}

static bool take(const char **p, char c)
{
	if (**p != c)
		return false;
	++*p;
	return true;
}

/* "r-xp" */
static bool permissions(const char **p, struct sut_map *m)
{
	static const char letters[][3] = { "r-", "w-", "x-", "ps" };
	const char *s = *p;

	for (size_t i = 0; i < SUT_ARRAY_SIZE(letters); i++)
		if (!s[i] || !strchr(letters[i], s[i]))
			return false;
	m->prot = (s[0] == 'r' ? SUT_PROT_R : 0) | (s[1] == 'w' ? SUT_PROT_W : 0) | (s[2] == 'x' ? SUT_PROT_X : 0);
	m->shared = s[3] == 's';
	*p += 4;
	return true;
}

/* "55d0-55f0 r-xp 00001000 fd:00 1234    /path": the five fields, then blanks, then the name. */
static bool parse_line(const char *p, struct sut_map *m)
{
	uint64_t major, minor;

	memset(m, 0, sizeof(*m));
	if (!number(&p, 16, &m->start) || !take(&p, '-') || !number(&p, 16, &m->end) || m->start >= m->end ||
	    !take(&p, ' ') || !permissions(&p, m) || !take(&p, ' ') || !number(&p, 16, &m->offset) || !take(&p, ' ') ||
	    !number(&p, 16, &major) || !take(&p, ':') || !number(&p, 16, &minor) || !take(&p, ' ') ||
	    !number(&p, 10, &m->inode) || (*p && *p != ' '))
		return false;
	m->dev_major = (unsigned)major;
	m->dev_minor = (unsigned)minor;
	m->name = p + strspn(p, " ");
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
