/* SPDX-License-Identifier: MIT */
/*
 * record.c - modules that another invocation loaded, known only by their record in the registry.
 *
 * The record and the memory it names are untrusted: sizes are compared with the mappings, and memory is
 * only unmapped when it is mapped as a module's part is and our own header stands in front of it.
 */
#include <errno.h>

#include "module/priv.h"

int sut_module_to_record(const struct sut_module *m, struct sut_record *rec)
{
	if (m->area.n > SUT_RECORD_AREAS)
		return sut_fail(m->priv->ctx, SUTURE_EBUG, "%s: %zu areas", m->name, m->area.n);
	rec->n_areas = (uint8_t)m->area.n;
	memset(rec->area, 0, sizeof(rec->area));
	for (size_t i = 0; i < m->area.n; i++) {
		const struct sut_mod_area *a = &m->area.v[i];

		rec->area[i] = (struct sut_record_area){ a->base, a->ro_size, a->rx_size, a->rw_size };
	}
	rec->table = m->table;
	return 0;
}

/** Opens an image (a heap buffer, taken over) whose area is @base; one entry of @ret, or none. */
static int open_image(struct suture_ctx *ctx, uint8_t *image, uint64_t size, uint64_t start, uint64_t end,
		      struct sut_extra_cfi *ret)
{
	struct sut_extra_cfi x = { .start = start, .end = end };
	int err = sut_elf_open_memory(ctx, image, size, "module in memory", &x.elf);

	if (err)
		return err;
	err = sut_cfi_open(x.elf, &x.cfi);
	if (err) {
		sut_elf_close(x.elf);
		return err;
	}
	*ret = x;
	return 0;
}

int sut_module_extra_cfi(struct sut_module *m, struct sut_extra_cfi *ret, size_t cap, size_t *ret_n)
{
	size_t n = 0;

	for (size_t i = 0; i < m->area.n; i++) {
		const struct sut_mod_area *a = &m->area.v[i];
		uint8_t *copy;
		int err;

		if (!a->eh_frame_hdr)
			continue;
		copy = n < cap ? malloc(a->size) : NULL;
		if (!copy)
			err = n < cap ? sut_nomem(m->priv->ctx)
				      : sut_fail(m->priv->ctx, SUTURE_EBUG, "no room for unwind data");
		else
			err = open_image(m->priv->ctx, memcpy(copy, a->image.p, a->size), a->size, a->base + a->ro_size,
					 a->base + a->ro_size + a->rx_size, &ret[n]);
		if (err) {
			sut_extra_cfi_free(ret, n);
			return err;
		}
		n++;
	}
	*ret_n = n;
	return 0;
}

int sut_record_extra_cfi(struct suture_process *p, const struct sut_record *rec, struct sut_extra_cfi *ret, size_t cap,
			 size_t *ret_n)
{
	size_t n = 0;
	int err = 0;

	for (size_t i = 0; !err && i < rec->n_areas && i < SUT_RECORD_AREAS; i++) {
		const struct sut_record_area *a = &rec->area[i];
		struct mod_header_info info;
		uint8_t *image = NULL;
		uint64_t size;

		if (a->ro_size < sut_mod_header_size() || a->ro_size > MOD_MAX_BYTES || a->rx_size > MOD_MAX_BYTES ||
		    a->rw_size > MOD_MAX_BYTES)
			err = sut_fail(p->ctx, SUTURE_EREFUSED, "%s[%d]: the registry's area at 0x%llx is damaged",
				       p->comm, (int)p->pid, (unsigned long long)a->base);
		size = err ? 0 : a->ro_size + a->rx_size; /* data tells nothing of how to unwind */
		if (!err && n == cap)
			err = sut_fail(p->ctx, SUTURE_EBUG, "no room for unwind data");
		/* Room for the data as well: the program headers name it. */
		if (!err && !(image = calloc(1, size + a->rw_size)))
			err = sut_nomem(p->ctx);
		if (!err)
			err = sut_mem_read(&p->mem, a->base, image, size);
		if (!err && !sut_mod_header_fits(image, a, p->mem.arch->e_machine, &info))
			err = sut_fail(p->ctx, SUTURE_EREFUSED, "%s[%d]: no module of suture at 0x%llx", p->comm,
				       (int)p->pid, (unsigned long long)a->base);
		if (err || !info.has_cfi) {
			free(image);
			continue;
		}
		err = open_image(p->ctx, image, size + a->rw_size, a->base + a->ro_size, a->base + size, &ret[n]);
		n += !err;
	}
	if (err) {
		sut_extra_cfi_free(ret, n);
		return err;
	}
	*ret_n = n;
	return 0;
}

void sut_extra_cfi_free(struct sut_extra_cfi *x, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		sut_cfi_close(x[i].cfi);
		sut_elf_close(x[i].elf);
	}
}

/** Unmaps the parts of one area that are there, last part first, so that the header goes last. */
static int unload_area(struct suture_process *p, const struct sut_maps *maps, const struct sut_record_area *a)
{
	static const unsigned prot[3] = { SUT_PROT_R, SUT_PROT_R | SUT_PROT_X, SUT_PROT_R | SUT_PROT_W };
	_cleanup_free_ uint8_t *head = malloc(sut_mod_header_size());
	uint64_t size[3] = { a->ro_size, a->rx_size, a->rw_size }, end = a->base;
	struct mod_header_info info;

	if (!head)
		return sut_nomem(p->ctx);
	for (int k = 0; k < 3; k++) {
		if (size[k] % p->mem.page_size || size[k] > MOD_MAX_BYTES)
			return sut_fail(p->ctx, SUTURE_EREFUSED, "%s[%d]: the registry's area at 0x%llx is damaged",
					p->comm, (int)p->pid, (unsigned long long)a->base);
		end += size[k];
	}
	if (a->base % p->mem.page_size || end < a->base || size[0] < sut_mod_header_size() ||
	    !sut_mod_mapped_as(maps, a->base, a->base + size[0], prot[0]) ||
	    sut_mem_read(&p->mem, a->base, head, sut_mod_header_size()) ||
	    !sut_mod_header_fits(head, a, p->mem.arch->e_machine, &info)) {
		sut_debug(p->ctx, "%s[%d]: nothing of ours at 0x%llx", p->comm, (int)p->pid,
			  (unsigned long long)a->base);
		return 0;
	}
	for (int k = 2; k >= 0; k--) {
		int err;

		end -= size[k];
		if (!size[k] || (unsigned)k >= info.parts || !sut_mod_mapped_as(maps, end, end + size[k], prot[k]))
			continue;
		err = sut_mem_call(&p->mem, "unmapping a module", &(uint64_t){ 0 }, SUT_SYS_MUNMAP,
				   (const uint64_t[6]){ end, size[k] });
		if (err)
			return err;
	}
	return 0;
}

int sut_record_unload(struct suture_process *p, const struct sut_record *rec)
{
	struct sut_maps maps = { 0 };
	int err = p->mem.ops->maps(&p->mem, &maps);

	if (err)
		return err;
	for (size_t i = 0; !err && i < rec->n_areas && i < SUT_RECORD_AREAS; i++)
		err = unload_area(p, &maps, &rec->area[i]);
	sut_maps_free(&maps);
	return err;
}
