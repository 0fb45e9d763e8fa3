/* SPDX-License-Identifier: MIT */
/*
 * near.c - finds and maps memory within branch reach of a text mapping.
 *
 * Every gap between two mappings is a candidate, less what other users of the address space
 * will need: a heap grows upwards into the gap that follows it, a stack downwards into the one before it.
 * Among the places that reach, the one nearest to the text wins, below it before above it (above a
 * PIE lies its bss and heap). Only the snapshot decides; mapping asks the kernel not to
 * replace anything and starts again with a fresh snapshot when somebody was quicker.
 */
#include <errno.h>
#include <sys/mman.h>

#include "text/near.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#define LOWEST       0x10000ull /* the usual vm.mmap_min_addr */
#define HIGHEST      0x7fffffff0000ull /* end of user addresses with four levels of page tables */
#define STACK_GROWTH (128ull << 20) /* left free below a stack */
#define HEAP_GROWTH  (1ull << 40) /* left free above a heap: libraries lie in the same gap, far up */
#define TRIES        8

struct search {
	uint64_t lo, hi; /* what must be reached */
	uint64_t size, reach, page;
	uint64_t best, best_distance;
	bool found;
};

static bool is_heap(const struct sut_map *m)
{
	return m && !strncmp(m->name, "[heap", 5);
}

static bool is_stack(const struct sut_map *m)
{
	return m && !strncmp(m->name, "[stack", 6);
}

/* An anonymous writable mapping right behind a file's data is its bss: where the heap will begin in a process that has
 * none yet. */
static bool is_bss(const struct sut_map *m, const struct sut_map *before)
{
	return m && before && !m->inode && !m->name[0] && (m->prot & SUT_PROT_W) && before->inode &&
	       before->end == m->start;
}

/* From where on the gap between two neighbours is not the heap's, now or later. */
static uint64_t behind_heap(const struct sut_maps *maps, size_t i, bool has_heap, uint64_t free_from)
{
	const struct sut_map *next = i < maps->m.n ? &maps->m.v[i] : NULL;
	const struct sut_map *prev = i ? &maps->m.v[i - 1] : NULL;

	if (is_heap(next))
		return next->start;
	if (is_heap(prev) || (!has_heap && is_bss(prev, i > 1 ? prev - 1 : NULL)))
		return prev->end < HIGHEST - HEAP_GROWTH ? prev->end + HEAP_GROWTH : HIGHEST;
	return free_from;
}

static void consider(struct search *s, uint64_t addr)
{
	uint64_t end = addr + s->size;
	uint64_t low = addr < s->lo ? addr : s->lo, high = end > s->hi ? end : s->hi;
	uint64_t distance = addr < s->lo ? s->lo - addr : end - s->hi;

	if (high - low >= s->reach || (s->found && distance >= s->best_distance))
		return;
	s->found = true;
	s->best = addr;
	s->best_distance = distance;
}

/* The free addresses [from, to): a guard page stays free on both sides. */
static void consider_gap(struct search *s, uint64_t from, uint64_t to)
{
	from = SUT_ALIGN_UP(from, s->page) + s->page;
	to = SUT_ALIGN_DOWN(to, s->page);
	to = to > s->page ? to - s->page : 0;
	if (from >= to || to - from < s->size)
		return;
	/* Of each gap only its end nearest to the text can be the best place. */
	if (to <= s->lo)
		consider(s, to - s->size);
	else
		consider(s, from);
}

int sut_near_find(struct suture_ctx *ctx, const struct sut_maps *maps, uint64_t lo, uint64_t hi, size_t size,
		  uint64_t reach, size_t page_size, uint64_t *ret)
{
	struct search below = { .lo = lo, .hi = hi, .reach = reach, .page = page_size }, above;
	uint64_t free_from = LOWEST;
	bool has_heap = false;

	for (size_t i = 0; i < maps->m.n; i++)
		has_heap |= is_heap(&maps->m.v[i]);
	below.size = SUT_ALIGN_UP((uint64_t)size, page_size);
	above = below;
	if (!size || hi < lo || below.size < size || hi > HIGHEST)
		return sut_fail(ctx, SUTURE_EBUG, "near memory: %zu bytes near 0x%lx-0x%lx make no sense", size, lo,
				hi);
	for (size_t i = 0; i <= maps->m.n; i++) {
		const struct sut_map *next = i < maps->m.n ? &maps->m.v[i] : NULL;
		uint64_t to = next && next->start < HIGHEST ? next->start : HIGHEST;

		if (is_stack(next))
			to = to > STACK_GROWTH ? to - STACK_GROWTH : 0;
		consider_gap(to <= lo ? &below : &above, behind_heap(maps, i, has_heap, free_from), to);
		if (next && next->end > free_from)
			free_from = next->end;
		if (free_from >= HIGHEST)
			break;
	}
	if (!below.found && !above.found) {
		(void)sut_fail(ctx, SUTURE_EREFUSED, "no %zu free bytes within 0x%lx bytes of the text at 0x%lx-0x%lx",
			       size, reach, lo, hi);
		return sut_hint(ctx,
				"the address space around this object is full; a restart of the program clears it");
	}
	*ret = below.found ? below.best : above.best;
	return 0;
}

int sut_near_map(struct sut_mem *mem, uint64_t lo, uint64_t hi, size_t size, uint64_t reach, int prot, uint64_t *ret)
{
	for (int i = 0; i < TRIES; i++) {
		struct sut_maps maps;
		uint64_t addr = 0;
		int64_t got = 0;
		int err = mem->ops->maps(mem, &maps);

		if (err)
			return err;
		err = sut_near_find(mem->ctx, &maps, lo, hi, size, reach, mem->page_size, &addr);
		sut_maps_free(&maps);
		if (!err)
			err = sut_mem_syscall(mem, &got, SUT_SYS_MMAP, addr, SUT_ALIGN_UP(size, mem->page_size),
					      (uint64_t)prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
					      (uint64_t)-1, 0);
		if (err)
			return err;
		if ((uint64_t)got == addr) {
			*ret = addr;
			return 0;
		}
		if (got != -EEXIST) {
			(void)sut_fail(mem->ctx, SUTURE_EFAILED, "mapping %zu bytes at 0x%lx in the target failed: %s",
				       size, addr, got < 0 && got >= -4095 ? strerror((int)-got) : "it lies elsewhere");
			return sut_hint(mem->ctx,
					"the target may be at its limit of memory (RLIMIT_AS) or of mappings");
		}
	}
	return sut_fail(mem->ctx, SUTURE_EFAILED, "near memory was taken by the target %d times in a row", TRIES);
}
