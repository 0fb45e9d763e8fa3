/* SPDX-License-Identifier: MIT */
/*
 * plan.c - fits a patch to one process: which objects, which addresses, may it be done at all.
 *
 * Reads the process (files as mapped, memory, registry) and changes nothing; the result is what enable.c
 * carries out and what check and --dry-run show. A function is accepted only when its bytes are the ones
 * that the patch was built for, in the file *and* in memory: a breakpoint, a uprobe, another tool's
 * jump or another patch is a refusal that names it. Must not stop a thread.
 */
#include <errno.h>
#include <stdarg.h>

#include "patch/internal.h"

/* A place in executable memory that the dynamic linker changes: not part of any digest. */
struct text_rel {
	uint64_t offset;
	unsigned size;
};
struct text_rels {
	const struct sut_elf *e;
	SUT_VEC(struct text_rel) v;
};

static int collect_text_rel(void *arg, const struct sut_dynrel *rel)
{
	const struct sut_reloc_howto *howto;
	struct text_rels *t = arg;

	for (size_t i = 0; i < t->e->load.n; i++) {
		const struct sut_segment *s = &t->e->load.v[i];
		struct text_rel r = { .offset = rel->offset, .size = 8 };

		if (!(s->prot & 4) || rel->offset < s->vaddr || rel->offset - s->vaddr >= s->memsz)
			continue;
		howto = t->e->arch ? t->e->arch->reloc_howto(rel->type) : NULL;
		if (howto && howto->size)
			r.size = howto->size;
		return sut_vec_push(&t->v, r);
	}
	return 0;
}

/* Marks in @mask (size bytes) what the dynamic linker writes within [addr, addr+size). */
static void mask_rels(const struct text_rels *t, uint64_t addr, uint64_t size, uint8_t *mask)
{
	for (size_t i = 0; i < t->v.n; i++)
		for (unsigned b = 0; b < t->v.v[i].size; b++)
			if (t->v.v[i].offset + b - addr < size)
				mask[t->v.v[i].offset + b - addr] = 1;
}

/* The digest of a function, and (may be NULL) its mask. The bytes are known to be in the file. */
static int masked_digest(const struct text_rels *t, const uint8_t *code, uint64_t addr, uint64_t size,
			 uint8_t ret[SUT_DIGEST_SIZE], uint8_t **ret_mask)
{
	uint8_t *mask = calloc(2, size);

	if (!mask)
		return -ENOMEM;
	mask_rels(t, addr, size, mask);
	for (uint64_t i = 0; i < size; i++)
		mask[size + i] = mask[i] ? 0 : code[i];
	sut_digest(mask + size, size, ret);
	if (ret_mask)
		*ret_mask = mask;
	else
		free(mask);
	return 0;
}

int sut_func_digest(const struct sut_elf *e, uint64_t addr, uint64_t size, uint8_t ret[SUT_DIGEST_SIZE])
{
	const uint8_t *code = sut_elf_bytes(e, addr, size);
	struct text_rels t = { .e = e };
	int err;

	if (!code)
		return sut_fail(e->ctx, SUTURE_EREFUSED, "%s holds no bytes for 0x%llx+%llu", e->name,
				(unsigned long long)addr, (unsigned long long)size);
	err = sut_elf_dynrels(e, collect_text_rel, &t);
	if (!err)
		err = masked_digest(&t, code, addr, size, ret, NULL);
	sut_vec_free(&t.v);
	return err == -ENOMEM ? sut_nomem(e->ctx) : err;
}

/* "3f9c..a1" */
static const char *short_id(const uint8_t *id, size_t len, char out[16])
{
	char hex[2 * SUT_BUILD_ID_MAX + 1];

	if (!len)
		return "none";
	sut_hex(id, len, hex);
	if (len <= 4)
		snprintf(out, 16, "%.12s", hex);
	else
		snprintf(out, 16, "%.4s..%.2s", hex, hex + 2 * len - 2);
	return out;
}

static bool name_fits(const struct sut_object *o, const char *name)
{
	const char *slash = strrchr(o->path, '/');

	if (o->is_vdso)
		return false;
	if (!name[0])
		return o->is_main;
	return !strcmp(o->name, name) || !strcmp(slash ? slash + 1 : o->path, name);
}

/* Whether @o is the very file that the patch was built for. */
static int same_identity(struct suture_process *p, struct sut_object *o, const struct sut_patch_object *want, bool *ret)
{
	uint8_t digest[SUT_DIGEST_SIZE];
	struct sut_elf *e;
	int err = sut_object_elf(p, o, &e);

	if (err)
		return err;
	if (want->build_id_len) {
		*ret = e->build_id_len == want->build_id_len &&
		       !memcmp(e->build_id, want->build_id, want->build_id_len);
		return 0;
	}
	err = sut_elf_content_digest(e, digest);
	if (err)
		return err;
	*ret = !memcmp(digest, want->content, sizeof(digest));
	return 0;
}

static int no_object(const struct sut_plan *plan, const struct sut_patch_object *want, const struct sut_object *other)
{
	struct suture_ctx *ctx = plan->p->ctx;
	const char *name = plan->patch->name;
	char a[16], b[16];

	if (!other) {
		(void)sut_fail(ctx, SUTURE_EREFUSED, "%s: process %d has no object %s loaded", name, plan->p->pid,
			       want->name[0] ? want->name : "for the executable");
		return sut_hint(ctx, "see what it has loaded: suture symbols -p %d '*'", plan->p->pid);
	}
	if (want->build_id_len)
		(void)sut_fail(ctx, SUTURE_EREFUSED, "%s: build-id mismatch in %s: patch wants %s, process has %s",
			       name, other->path, short_id(want->build_id, want->build_id_len, a),
			       short_id(other->elf->build_id, other->elf->build_id_len, b));
	else
		(void)sut_fail(ctx, SUTURE_EREFUSED, "%s: the code of %s is not the code that the patch was built for",
			       name, other->path);
	if (other->is_main)
		return sut_hint(ctx, "build against the running binary: suture build -t /proc/%d/exe ...",
				plan->p->pid);
	return sut_hint(ctx, "build against the library that runs: suture build -t /proc/%d/root%s ...", plan->p->pid,
			other->path);
}

static int match_object(struct sut_plan *plan, size_t index)
{
	const struct sut_patch_object *want = &plan->patch->object.v[index];
	struct sut_object *found = NULL, *other = NULL;

	for (size_t i = 0; i < plan->p->obj.n; i++) {
		struct sut_object *o = &plan->p->obj.v[i];
		bool same;
		int err;

		if (!name_fits(o, want->name))
			continue;
		err = same_identity(plan->p, o, want, &same);
		if (err)
			return err;
		if (!same) {
			other = o;
		} else if (found) {
			(void)sut_fail(plan->p->ctx, SUTURE_EREFUSED,
				       "%s: process %d has %s loaded twice, at 0x%llx and 0x%llx", plan->patch->name,
				       plan->p->pid, want->name, (unsigned long long)found->start,
				       (unsigned long long)o->start);
			return sut_hint(plan->p->ctx, "link namespaces (dlmopen) can not be patched");
		} else {
			found = o;
		}
	}
	if (!found)
		return no_object(plan, want, other);
	plan->object[index] = found;
	return 0;
}

static int refuse(const struct sut_plan_func *pf, const struct sut_plan *plan, const char *fmt, ...) sut_printf(3, 4);
static int refuse(const struct sut_plan_func *pf, const struct sut_plan *plan, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)sut_fail(plan->p->ctx, SUTURE_EREFUSED, "%s: %.100s in %.200s: %s", plan->patch->name, pf->f->old_name,
		       pf->object->path, text);
	return sut_fail_address(plan->p->ctx, pf->addr);
}

/* The sites of all enabled patches, read once. */
static int read_others(struct sut_plan *plan)
{
	plan->others = calloc(SUT_REGISTRY_RECORDS, sizeof(*plan->others));
	if (!plan->others)
		return sut_nomem(plan->p->ctx);
	for (size_t i = 0; plan->reg->addr && i < SUT_REGISTRY_RECORDS; i++) {
		const struct sut_record *rec = &plan->reg->rec[i];
		int err;

		if (rec->kind == SUT_RECORD_FREE || rec->state != SUT_STATE_ENABLED)
			continue;
		err = sut_sites_read(plan->p, rec, &plan->others[i]);
		if (err)
			return err;
	}
	return 0;
}

/* Another patch on the same function would be stacking: refused, and named. */
static int check_other_patches(const struct sut_plan *plan, const struct sut_plan_func *pf)
{
	for (size_t i = 0; i < SUT_REGISTRY_RECORDS; i++) {
		const struct sut_sites *sites = &plan->others[i];
		const char *other = plan->reg->rec[i].name;
		int err;

		for (size_t s = 0; s < sites->v.n; s++) {
			if (sites->v.v[s].e.old_addr >= pf->addr + pf->f->old_size ||
			    pf->addr >= sites->v.v[s].e.old_addr + sites->v.v[s].e.old_size)
				continue;
			err = refuse(pf, plan, "it is patched already, by %.63s", other);
			(void)sut_hint(
				plan->p->ctx,
				"take that patch out first (suture revert -p %d %.63s), or build one patch of both",
				plan->p->pid, other);
			return err;
		}
	}
	return 0;
}

/* Memory differs from the file at @off: say what it looks like. */
static int foreign_bytes(const struct sut_plan *plan, const struct sut_plan_func *pf, const uint8_t *mem, uint64_t off)
{
	const struct sut_arch *arch = sut_process_mem(plan->p)->arch;
	uint64_t left = pf->f->old_size - off, to;
	struct sut_insn insn;
	int err;

	if (!arch->insn_decode(mem + off, left, pf->addr + off, &insn) && insn.kind == SUT_INSN_TRAP) {
		err = refuse(pf, plan, "a breakpoint or uprobe stands at +0x%llx", (unsigned long long)off);
		(void)sut_hint(
			plan->p->ctx,
			"remove it first: see gdb, perf probe --list, /sys/kernel/tracing/uprobe_events, bpftrace");
		return err;
	}
	if (left >= arch->jump_size && arch->jump_decode(mem + off, pf->addr + off, &to)) {
		err = refuse(pf, plan, "a jump to 0x%llx that is not ours stands at +0x%llx", (unsigned long long)to,
			     (unsigned long long)off);
		(void)sut_hint(plan->p->ctx, "another tool has patched or hooked this function; take that out first");
		return err;
	}
	err = refuse(pf, plan, "memory differs from the file at +0x%llx", (unsigned long long)off);
	(void)sut_hint(plan->p->ctx, "something has changed the code of the process; suture does not build on that");
	return err;
}

static int check_bytes(const struct sut_plan *plan, struct sut_plan_func *pf, const struct text_rels *rels,
		       uint8_t **ret_mem)
{
	uint64_t size = pf->f->old_size;
	const uint8_t *file = sut_elf_bytes(pf->object->elf, pf->f->old_addr, size);
	_cleanup_free_ uint8_t *mem = NULL;
	_cleanup_free_ uint8_t *mask = NULL;
	uint8_t digest[SUT_DIGEST_SIZE];
	int err;

	if (!file)
		return refuse(pf, plan, "the file holds no code at 0x%llx+%llu", (unsigned long long)pf->f->old_addr,
			      (unsigned long long)size);
	if (masked_digest(rels, file, pf->f->old_addr, size, digest, &mask))
		return sut_nomem(plan->p->ctx);
	if (memcmp(digest, pf->f->old_digest, sizeof(digest))) {
		err = refuse(pf, plan, "its code is not the code that the patch was built for");
		(void)sut_hint(plan->p->ctx, "build the patch against this very file");
		return err;
	}
	mem = malloc(size);
	if (!mem)
		return sut_nomem(plan->p->ctx);
	err = sut_mem_read(sut_process_mem(plan->p), pf->addr, mem, size);
	if (err)
		return err;
	for (uint64_t i = 0; i < size; i++)
		if (mem[i] != file[i] && !mask[i])
			return foreign_bytes(plan, pf, mem, i);
	*ret_mem = mem;
	mem = NULL;
	return 0;
}

/* Whether no branch of the function leads between the first instructions that a jump would replace. */
static bool no_branch_into(const struct sut_arch *arch, const uint8_t *code, uint64_t size, uint64_t addr,
			   uint64_t first, uint64_t end)
{
	for (uint64_t off = 0; off < size;) {
		struct sut_insn in;

		if (arch->insn_decode(code + off, size - off, addr + off, &in))
			return false;
		if ((in.kind == SUT_INSN_JUMP || in.kind == SUT_INSN_BRANCH || in.kind == SUT_INSN_CALL) &&
		    in.target > first && in.target < end)
			return false;
		off += in.len;
	}
	return true;
}

bool sut_site_movable(const struct sut_arch *arch, const uint8_t *code, uint64_t size, uint64_t addr, uint64_t site,
		      size_t *ret_moved)
{
	uint64_t skip = site - addr;
	/* Any place within reach tells whether it can be done; the real one is not known yet. */
	uint64_t trial = site + 0x100000;
	uint8_t out[256];
	size_t len;

	if (arch->relocate_entry(code + skip, size - skip, arch->jump_size, site, trial, out, sizeof(out), &len,
				 ret_moved))
		return false;
	return no_branch_into(arch, code, size, addr, site, site + *ret_moved);
}

static int place_site(struct sut_plan *plan, struct sut_plan_func *pf, const uint8_t *code)
{
	const struct sut_arch *arch = sut_process_mem(plan->p)->arch;
	uint64_t size = pf->f->old_size, skip = arch->entry_skip(code, size);
	const struct sut_map *map;
	size_t moved;

	if (skip + arch->jump_size > size) {
		int err = refuse(pf, plan, "it is too short for a jump: %llu bytes, %llu needed",
				 (unsigned long long)size, (unsigned long long)(skip + arch->jump_size));

		(void)sut_hint(plan->p->ctx, "patch its callers instead");
		return err;
	}
	pf->site = pf->addr + skip;
	memcpy(pf->old, code + skip, arch->jump_size);
	map = sut_maps_at(&plan->p->maps, pf->site);
	if (!map || pf->addr + size > map->end || !(map->prot & SUT_PROT_X))
		return refuse(pf, plan, "it is not in one executable mapping");
	if (map->shared)
		return refuse(pf, plan, "its code is mapped shared: a change would reach other processes");
	pf->movable = sut_site_movable(arch, code, size, pf->addr, pf->site, &moved);
	return 0;
}

static int plan_func(struct sut_plan *plan, size_t index, const struct text_rels *rels)
{
	struct sut_plan_func *pf = &plan->func[index];
	const struct sut_patch_func *f = pf->f;
	_cleanup_free_ uint8_t *code = NULL;
	int err;

	pf->addr = f->old_addr + pf->object->bias;
	if (pf->addr < pf->object->start || pf->addr + f->old_size > pf->object->end ||
	    pf->addr + f->old_size < pf->addr)
		return refuse(pf, plan, "its address 0x%llx is outside of the object", (unsigned long long)f->old_addr);
	err = check_other_patches(plan, pf);
	if (!err)
		err = check_bytes(plan, pf, rels, &code);
	if (!err)
		err = place_site(plan, pf, code);
	if (!err)
		err = sut_ranges_add(plan->p->ctx, &plan->old, pf->addr, f->old_size, f->old_name, (unsigned)index);
	for (uint32_t i = 0; i < f->n_ranges && !err; i++) {
		const struct suture_file_range *r = &plan->patch->range.v[f->first_range + i];
		uint64_t start = r->addr + pf->object->bias;

		if (start < pf->object->start || start + r->size > pf->object->end || start + r->size < start)
			return refuse(pf, plan, "its fragment at 0x%llx is outside of the object",
				      (unsigned long long)r->addr);
		err = sut_ranges_add(plan->p->ctx, &plan->old, start, r->size,
				     sut_texts_add(&plan->old.names, "%s (fragment)", f->old_name), (unsigned)index);
	}
	return err;
}

static int plan_funcs(struct sut_plan *plan)
{
	for (size_t o = 0; o < plan->patch->object.n; o++) {
		struct text_rels rels = { .e = plan->object[o]->elf };
		int err = sut_elf_dynrels(rels.e, collect_text_rel, &rels);

		if (err == -ENOMEM)
			err = sut_nomem(plan->p->ctx);
		for (size_t i = 0; i < plan->n_funcs && !err; i++) {
			if (plan->func[i].f->object != o)
				continue;
			plan->func[i].object = plan->object[o];
			err = plan_func(plan, i, &rels);
		}
		sut_vec_free(&rels.v);
		if (err)
			return err;
	}
	sut_ranges_sort(&plan->old);
	return 0;
}

static void count_mappings(struct sut_plan *plan)
{
	for (size_t i = 0; i < plan->n_funcs; i++) {
		const struct sut_map *map = sut_maps_at(&plan->p->maps, plan->func[i].site);
		bool seen = false;

		for (size_t k = 0; k < i && !seen; k++)
			seen = sut_in(map->start, map->end, plan->func[k].site);
		plan->n_mappings += !seen;
	}
}

static int plan_all(struct sut_plan *plan)
{
	const struct suture_patch *patch = plan->patch;
	const struct sut_arch *arch = sut_process_mem(plan->p)->arch;
	int err;

	if (patch->elf->arch != arch)
		return sut_fail(plan->p->ctx, SUTURE_EREFUSED, "%s: a patch for %s, but process %d is %s", patch->name,
				patch->elf->arch->name, plan->p->pid, arch->name);
	plan->object = calloc(patch->object.n, sizeof(*plan->object));
	plan->func = calloc(patch->func.n, sizeof(*plan->func));
	if (!plan->object || !plan->func)
		return sut_nomem(plan->p->ctx);
	plan->n_funcs = patch->func.n;
	for (size_t i = 0; i < plan->n_funcs; i++)
		plan->func[i].f = &patch->func.v[i];
	for (size_t i = 0; i < patch->object.n; i++) {
		err = match_object(plan, i);
		if (err)
			return err;
	}
	err = read_others(plan);
	if (!err)
		err = plan_funcs(plan);
	if (!err)
		count_mappings(plan);
	return err;
}

int sut_plan_make(struct suture_process *p, const struct suture_patch *patch, struct sut_registry *reg,
		  struct sut_plan *ret)
{
	struct sut_plan plan = { .p = p, .patch = patch, .reg = reg };
	int err = plan_all(&plan);

	if (err) {
		sut_plan_free(&plan);
		return err;
	}
	*ret = plan;
	return 0;
}

void sut_plan_free(struct sut_plan *plan)
{
	for (size_t i = 0; plan->others && i < SUT_REGISTRY_RECORDS; i++)
		sut_sites_free(&plan->others[i]);
	free(plan->others);
	free(plan->object);
	free(plan->func);
	sut_ranges_free(&plan->old);
	memset(plan, 0, sizeof(*plan));
}
