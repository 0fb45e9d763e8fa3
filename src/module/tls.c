/* SPDX-License-Identifier: MIT */
/*
 * tls.c - where an object's thread-local block lies.
 *
 * The executable's block ends at the thread pointer (variant II), by the linker's own formula. For a library
 * the dynamic linker's records are read: glibc tells where its link map keeps offset and number of the block
 * (the descriptors made for thread debuggers), and any libc leaves filled slots (TPOFF64, DTPMOD64) in
 * the library's own GOT. Only reads the target.
 */
#include <errno.h>

#include "module/resolve.h"

#define LINK_MAPS_MAX 4096u

static int main_block(struct sut_resolver *r, const struct sut_object *o, struct sut_tls *ret)
{
	uint64_t align = o->elf->tls_align ? o->elf->tls_align : 1;

	if ((align & (align - 1)) || o->elf->tls_memsz > INT64_MAX - align || (o->elf->tls_vaddr & (align - 1)))
		return sut_fail(r->p->ctx, SUTURE_EREFUSED, "%s: a thread-local block of a strange alignment", o->path);
	ret->is_static = true;
	ret->offset = -(int64_t)SUT_ALIGN_UP(o->elf->tls_memsz, align);
	ret->modid = 1;
	return 0;
}

static bool read_word(struct sut_resolver *r, uint64_t addr, uint64_t *ret)
{
	return !sut_mem_read(&r->p->mem, addr, ret, sizeof(*ret));
}

/** Address of _r_debug.r_map, by DT_DEBUG of the executable. */
static bool first_link_map(struct sut_resolver *r, uint64_t *ret)
{
	uint64_t vaddr, size, debug = 0;

	if (!r->p->obj.n || !sut_resolver_elf(r, &r->p->obj.v[0]) ||
	    !sut_object_dynamic(&r->p->obj.v[0], &vaddr, &size))
		return false;
	for (uint64_t off = 0; off + 16 <= size && off < 65536; off += 16) {
		uint64_t tag;

		if (!read_word(r, r->p->obj.v[0].bias + vaddr + off, &tag) || tag == DT_NULL)
			break;
		if (tag == DT_DEBUG && !read_word(r, r->p->obj.v[0].bias + vaddr + off + 8, &debug))
			return false;
	}
	return debug && read_word(r, debug + 8, ret);
}

/** The link map of @o: { l_addr, l_name, l_ld, l_next, l_prev } for every libc. */
static bool link_map_of(struct sut_resolver *r, const struct sut_object *o, uint64_t *ret)
{
	uint64_t map, vaddr, size;

	if (!sut_object_dynamic(o, &vaddr, &size) || !first_link_map(r, &map))
		return false;
	for (unsigned i = 0; map && i < LINK_MAPS_MAX; i++) {
		uint64_t l[4];

		if (sut_mem_read(&r->p->mem, map, l, sizeof(l)))
			return false;
		if (l[2] == o->bias + vaddr) {
			*ret = map;
			return true;
		}
		map = l[3];
	}
	return false;
}

/** Where a field of glibc's link map lies: { bits, count, offset } exported for thread debuggers. */
static bool descriptor(struct sut_resolver *r, const char *name, uint32_t *ret)
{
	for (size_t i = 0; i < r->p->obj.n; i++) {
		struct sut_object *o = &r->p->obj.v[i];
		struct sut_dynsym ds;
		const uint8_t *d;

		if ((strncmp(o->name, "libc.", 5) && strncmp(o->name, "libc-", 5) &&
		     strncmp(o->name, "libpthread", 10)) ||
		    !sut_resolver_elf(r, o) || !sut_elf_dynsym(o->elf, name, "GLIBC_PRIVATE", &ds))
			continue;
		d = sut_elf_bytes(o->elf, ds.value, 12);
		if (!d || sut_le32(d) != 64 || sut_le32(d + 4) != 1 || sut_le32(d + 8) > 65536)
			return false;
		*ret = sut_le32(d + 8);
		return true;
	}
	return false;
}

static bool from_link_map(struct sut_resolver *r, const struct sut_object *o, struct sut_tls *ret)
{
	uint32_t off_at, id_at;
	uint64_t map, off, id;

	if (!descriptor(r, "_thread_db_link_map_l_tls_offset", &off_at) ||
	    !descriptor(r, "_thread_db_link_map_l_tls_modid", &id_at) || !link_map_of(r, o, &map) ||
	    !read_word(r, map + off_at, &off) || !read_word(r, map + id_at, &id) || !id || id > 65536)
		return false;
	ret->modid = id;
	/* 0: not decided, -1: never static. Else the distance of the block below the thread pointer. */
	if (off && off != UINT64_MAX && off < INT64_MAX && off >= o->elf->tls_memsz) {
		ret->is_static = true;
		ret->offset = -(int64_t)off;
	}
	return true;
}

/** Filled slots of the object for its own variables. */
static bool from_slots(struct sut_resolver *r, struct sut_object *o, struct sut_tls *ret)
{
	const struct sut_arch *arch = r->p->mem.arch;
	const struct sut_filled_index *index;
	bool any = false;

	if (sut_resolver_filled(r, o, &index))
		return false;
	for (size_t i = 0; i < index->e.n; i++) {
		const struct sut_filled *f = &index->e.v[i];
		struct sut_dynsym ds = { 0 };
		uint64_t v;

		if (f->type != arch->dyn_tpoff && f->type != arch->dyn_dtpmod)
			continue;
		/* A variable of a name may have been found elsewhere: only what is surely the object's own counts. */
		if (f->symbol && (!sut_elf_dynsym(o->elf, f->symbol, f->version, &ds) || ds.type != STT_TLS ||
				  ds.visibility == STV_DEFAULT))
			continue;
		if (!read_word(r, f->addr, &v))
			continue;
		if (f->type == arch->dyn_dtpmod && v && v <= 65536) {
			ret->modid = v;
			any = true;
		}
		if (f->type == arch->dyn_tpoff && (int64_t)v < 0) {
			int64_t off = (int64_t)(v - ds.value - (uint64_t)f->addend);

			if (off >= 0 || (uint64_t)-off < o->elf->tls_memsz)
				continue;
			ret->is_static = true;
			ret->offset = off;
			any = true;
		}
	}
	return any;
}

int sut_resolver_tls(struct sut_resolver *r, struct sut_object *o, struct sut_tls *ret)
{
	struct sut_tls tls = { .object = o };
	int err = 0;

	for (size_t i = 0; i < r->tls.n; i++)
		if (r->tls.v[i].object == o) {
			*ret = r->tls.v[i];
			return 0;
		}
	if (!sut_resolver_elf(r, o) || !o->elf->tls_memsz)
		return sut_fail(r->p->ctx, SUTURE_EREFUSED, "%s has no thread-local variables", o->path);
	if (o->is_main)
		err = main_block(r, o, &tls);
	else if (!from_link_map(r, o, &tls))
		(void)from_slots(r, o, &tls);
	if (!err && sut_vec_push(&r->tls, tls))
		err = sut_nomem(r->p->ctx);
	if (!err)
		*ret = tls;
	return err;
}
