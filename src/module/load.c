/* SPDX-License-Identifier: MIT */
/*
 * load.c - plan a module, map it, write it, unmap it: the steps of module.h in their order.
 *
 * Every part is mapped at once with the protection it keeps and written through the target's memory
 * file: nothing is ever writable and executable, and nothing is mapped over something else. What was
 * written is read back. What is unmapped is checked to be ours first, when only a record says so.
 */
#include <errno.h>
#include <sys/mman.h>

#include "module/priv.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

void sut_module_free(struct sut_module *m)
{
	struct sut_mod_priv *pr;

	if (!m)
		return;
	pr = m->priv;
	for (size_t i = 0; i < m->area.n; i++)
		sut_buf_free(&m->area.v[i].image);
	sut_vec_free(&m->area);
	sut_vec_free(&m->sec);
	sut_vec_free(&m->sym);
	if (pr) {
		for (size_t i = 0; i < pr->sec.n; i++)
			sut_vec_free(&pr->sec.v[i].rel);
		for (size_t i = 0; i < pr->sym.n; i++)
			free(pr->sym.v[i].plain);
		for (size_t i = 0; i < SUT_RECORD_AREAS; i++) {
			sut_buf_free(&pr->area[i].symtab);
			sut_buf_free(&pr->area[i].strtab);
		}
		sut_vec_free(&pr->sec);
		sut_vec_free(&pr->sym);
		sut_vec_free(&pr->slot);
		sut_vec_free(&pr->stub);
		sut_vec_free(&pr->eh);
		sut_resolver_deinit(&pr->resolver);
		free(pr);
	}
	free(m);
}

/** All bytes of all areas, in our buffers. */
static int relocate_all(struct sut_module *m)
{
	int err;

	for (uint32_t i = 0; i < m->priv->sec.n; i++) {
		enum mod_part part = m->priv->sec.v[i].part;

		if (part == MOD_SKIP || part == MOD_EH)
			continue;
		err = sut_mod_relocate_section(m, i, true);
		if (err)
			return err;
	}
	err = sut_mod_fill_got(m);
	if (err)
		return err;
	err = sut_mod_eh_write(m);
	for (uint32_t i = 0; !err && i < m->area.n; i++)
		sut_mod_image_write(m, i);
	return err;
}

int sut_module_plan(struct suture_process *p, struct sut_elf *elf, const char *name, const struct sut_mod_env *env,
		    struct sut_module **ret)
{
	struct sut_module *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return sut_nomem(p->ctx);
	m->p = p;
	m->elf = elf;
	snprintf(m->name, sizeof(m->name), "%s", name);
	m->priv = calloc(1, sizeof(*m->priv));
	if (!m->priv) {
		sut_module_free(m);
		return sut_nomem(p->ctx);
	}
	m->priv->arch = p->mem.arch;
	m->priv->ctx = p->ctx;
	m->priv->env = env;
	sut_resolver_init(&m->priv->resolver, p);
	err = sut_mod_parse(m);
	if (!err)
		err = sut_mod_eh_parse(m);
	if (!err)
		err = sut_mod_group(m);
	if (!err)
		err = sut_mod_place(m);
	if (!err)
		err = relocate_all(m);
	m->priv->env = NULL;
	if (err) {
		sut_module_free(m);
		return err;
	}
	*ret = m;
	return 0;
}

/** Maps one part exactly at @addr, or fails with nothing mapped there. */
static int map_part(struct sut_module *m, uint64_t addr, uint64_t size, int prot)
{
	struct sut_mem *mem = &m->p->mem;
	int64_t got, un;
	int err;

	if (!size)
		return 0;
	err = sut_mem_syscall(mem, &got, SUT_SYS_MMAP, addr, size, (uint64_t)prot,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, (uint64_t)-1, 0);
	if (err)
		return err;
	if ((uint64_t)got == addr)
		return 0;
	/* A kernel that does not know the flag takes the address for a hint. */
	if (got >= 0 || got < -4095) {
		err = sut_mem_syscall(mem, &un, SUT_SYS_MUNMAP, (uint64_t)got, size);
		if (err)
			return err;
		got = -EEXIST;
	}
	if (got == -EEXIST)
		return sut_fail(m->priv->ctx, EEXIST, "%s[%d] mapped something else at 0x%llx meanwhile", m->p->comm,
				(int)m->p->pid, (unsigned long long)addr);
	sut_fail(m->priv->ctx, SUTURE_EFAILED, "%s[%d]: mapping %llu bytes at 0x%llx: %s", m->p->comm, (int)m->p->pid,
		 (unsigned long long)size, (unsigned long long)addr, strerror((int)-got));
	if (got == -ENOMEM || got == -EAGAIN)
		return sut_hint(m->priv->ctx, "limits of the process (RLIMIT_AS, RLIMIT_MEMLOCK, number of maps) may "
					      "be too low");
	return -SUTURE_EFAILED;
}

/** Maps the three parts; after each one, the header in the target says how many there are. */
static int map_area(struct sut_module *m, struct sut_mod_area *a)
{
	const struct {
		uint64_t size;
		int prot;
	} part[3] = { { a->ro_size, PROT_READ },
		      { a->rx_size, PROT_READ | PROT_EXEC },
		      { a->rw_size, PROT_READ | PROT_WRITE } };
	_cleanup_free_ uint8_t *head = malloc(sut_mod_header_size());
	uint64_t addr = a->base;

	if (!head)
		return sut_nomem(m->priv->ctx);
	memcpy(head, a->image.p, sut_mod_header_size());
	for (unsigned k = 0; k < 3; k++) {
		int err = map_part(m, addr, part[k].size, part[k].prot);
		size_t at = k ? sut_mod_header_parts_off() : 0;

		if (err)
			return err;
		addr += part[k].size;
		a->parts = k + 1;
		sut_mod_header_set_parts(head, k + 1);
		err = sut_mem_write(&m->p->mem, a->base + at, head + at, k ? 4 : sut_mod_header_size());
		if (err)
			return err;
	}
	return 0;
}

static bool is_zero(const uint8_t *p, size_t n)
{
	return !n || (!*p && !memcmp(p, p + 1, n - 1));
}

/** Whether the target holds the wanted bytes of one page already. */
static bool holds(struct sut_module *m, const struct sut_mod_area *a, uint64_t off, uint8_t *page_buf)
{
	size_t page = m->p->mem.page_size;

	/* New memory is zero. Used memory is only written where it differs: a pointer into it may be alive. */
	if (!a->reused)
		return is_zero(a->image.p + off, page);
	return !sut_mem_read(&m->p->mem, a->base + off, page_buf, page) && !memcmp(a->image.p + off, page_buf, page);
}

/** Writes the pages that do not hold it already, in runs, and reads them back. */
static int write_area(struct sut_module *m, const struct sut_mod_area *a)
{
	size_t page = m->p->mem.page_size;
	_cleanup_free_ uint8_t *back = malloc(a->size);

	if (!back)
		return sut_nomem(m->priv->ctx);
	for (uint64_t off = 0; off < a->size;) {
		uint64_t end = off;
		int err;

		while (end < a->size && !holds(m, a, end, back))
			end += page;
		if (end == off) {
			off += page;
			continue;
		}
		err = sut_mem_write(&m->p->mem, a->base + off, a->image.p + off, end - off);
		if (!err)
			err = sut_mem_read(&m->p->mem, a->base + off, back + off, end - off);
		if (err)
			return err;
		if (memcmp(back + off, a->image.p + off, end - off))
			return sut_fail(m->priv->ctx, SUTURE_EFAILED,
					"%s[%d]: memory at 0x%llx does not hold what was just written", m->p->comm,
					(int)m->p->pid, (unsigned long long)(a->base + off));
		off = end;
	}
	return 0;
}

/*
 * Variables of a module that comes back to where it lay keep their values, as those of a program do: the target may
 * hold pointers to them (a node in a list of its own), which initial values would tear.
 */
static int keep_variables(struct sut_module *m)
{
	int err = 0;

	for (size_t i = 0; i < m->sec.n && !err; i++) {
		const struct sut_mod_section *s = &m->sec.v[i];
		const struct sut_mod_area *a = s->bytes ? &m->area.v[s->area] : NULL;

		if (!a || !a->reused || s->addr < a->base + a->ro_size + a->rx_size)
			continue;
		err = sut_mem_read(&m->p->mem, s->addr, s->bytes, m->priv->sec.v[i].size);
	}
	return err;
}

int sut_module_load(struct sut_module *m)
{
	int err = keep_variables(m);

	for (size_t i = 0; !err && i < m->area.n; i++) {
		struct sut_mod_area *a = &m->area.v[i];

		err = a->reused ? 0 : map_area(m, a);
		if (!err)
			err = write_area(m, a);
	}
	m->mapped = true;
	if (err) {
		/* What failed first is what the caller must hear of; the kernel does not refuse to unmap. */
		struct suture_error was = *suture_ctx_error(m->priv->ctx);
		_cleanup_free_ char *text = strdup(was.message), *hint = was.hint ? strdup(was.hint) : NULL;

		if (sut_module_unload(m))
			return -SUTURE_EDAMAGED;
		sut_fail(m->priv->ctx, was.code, "%s", text ? text : "loading the module failed");
		if (hint)
			sut_hint(m->priv->ctx, "%s", hint);
	}
	return err;
}

static int unmap(struct suture_process *p, uint64_t start, uint64_t size)
{
	return sut_mem_call(&p->mem, "unmapping a module", &(uint64_t){ 0 }, SUT_SYS_MUNMAP,
			    (const uint64_t[6]){ start, size });
}

int sut_module_unload(struct sut_module *m)
{
	for (size_t i = 0; i < m->area.n; i++) {
		struct sut_mod_area *a = &m->area.v[i];
		uint64_t size[3] = { a->ro_size, a->rx_size, a->rw_size };
		uint64_t end = a->base;

		for (unsigned k = 0; k < a->parts; k++)
			end += size[k];
		/* The header goes last: until then the memory is known as ours. */
		for (; a->parts; a->parts--) {
			int err;

			end -= size[a->parts - 1];
			err = size[a->parts - 1] ? unmap(m->p, end, size[a->parts - 1]) : 0;
			if (err)
				return err;
		}
	}
	m->mapped = false;
	return 0;
}

bool sut_mod_mapped_as(const struct sut_maps *maps, uint64_t start, uint64_t end, unsigned prot)
{
	if (start > end)
		return false;
	while (start < end) {
		const struct sut_map *map = sut_maps_at(maps, start);

		if (!map || map->prot != prot || map->shared || map->inode || *map->name)
			return false;
		start = map->end;
	}
	return true;
}

uint64_t sut_module_symbol(const struct sut_module *m, uint32_t index)
{
	return index < m->sym.n ? m->sym.v[index].addr : 0;
}

uint32_t sut_module_find(const struct sut_module *m, const char *name)
{
	for (uint32_t i = 1; i < m->sym.n; i++)
		if (m->sym.v[i].addr && m->priv->sym.v[i].bind != STB_LOCAL && !strcmp(m->sym.v[i].name, name))
			return i;
	return 0;
}
