/* SPDX-License-Identifier: MIT */
/*
 * find_fde.c - runs inside of targets: finds the unwind data of code that suture put there.
 *
 * Replaces _Unwind_Find_FDE of libgcc. Called for every frame that an exception, a forced unwinding or a
 * backtrace passes, in any thread, also in signal handlers: no lock, no allocation, no call but the one into
 * the original. Freestanding; the object has no undefined symbol and uses only general registers.
 *
 * The tables it reads were written by the loader (src/module/ehframe.c): a version 1 .eh_frame_hdr whose
 * entries are pairs of 32-bit offsets from the header, sorted, and FDEs whose CIE says how
 * addresses are encoded.
 */
#include "agent/table.h"

#define HIDDEN __attribute__((visibility("hidden")))

/** What libgcc wants to know of a hit; its layout is part of libgcc's interface. */
struct eh_bases {
	void *tbase, *dbase, *func;
};

typedef const void *find_fn(void *pc, struct eh_bases *bases);

struct hdr_entry {
	int32_t start, fde; /* from the start of the header */
};

struct hdr {
	uint8_t version, ptr_enc, count_enc, table_enc;
	int32_t eh_frame;
	uint32_t n;
	struct hdr_entry entry[];
};

HIDDEN struct sut_agent_table sut_agent_table = { .magic = SUT_AGENT_MAGIC };

const void *sut_agent_find_fde(void *pc, struct eh_bases *bases);

static const uint8_t *skip_leb(const uint8_t *p)
{
	while (*p++ & 0x80)
		;
	return p;
}

/** Bytes of an encoded address in the FDEs of a CIE. */
static unsigned address_size(const uint8_t *cie)
{
	const uint8_t *aug = cie + 9, *p = aug;
	uint8_t enc = 0;

	if (*aug != 'z')
		return 8;
	while (*p++)
		;
	p = skip_leb(skip_leb(p)); /* code and data alignment */
	p = cie[8] == 1 ? p + 1 : skip_leb(p); /* return address register */
	p = skip_leb(p); /* bytes of augmentation */
	for (aug++; *aug && *aug != 'R'; aug++) {
		if (*aug == 'L')
			p++;
		else if (*aug == 'P')
			p += (*p & 7) == 3 ? 5 : 9; /* one byte of encoding, four or eight of pointer */
	}
	if (*aug == 'R')
		enc = *p;
	return (enc & 7) == 3 ? 4 : 8;
}

/** The number of bytes that an FDE covers. */
static uint64_t fde_range(const uint8_t *fde)
{
	const uint8_t *cie = fde + 4 - *(const uint32_t *)(fde + 4);

	if (address_size(cie) == 4)
		return *(const uint32_t *)(fde + 12);
	return *(const uint64_t *)(fde + 16);
}

static const void *search(const struct hdr *hdr, uintptr_t pc, struct eh_bases *bases)
{
	uint32_t lo = 0, hi = hdr->n;
	uintptr_t start;
	const uint8_t *fde;

	while (lo < hi) { /* the first entry that starts behind pc */
		uint32_t mid = lo + (hi - lo) / 2;

		if ((uintptr_t)hdr + (uintptr_t)(intptr_t)hdr->entry[mid].start <= pc)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo)
		return NULL;
	start = (uintptr_t)hdr + (uintptr_t)(intptr_t)hdr->entry[lo - 1].start;
	fde = (const uint8_t *)hdr + hdr->entry[lo - 1].fde;
	if (pc - start >= fde_range(fde))
		return NULL;
	bases->tbase = NULL;
	bases->dbase = NULL;
	bases->func = (void *)start;
	return fde;
}

/**
 * @pc: an address inside of the function (libgcc has taken 1 from return addresses).
 * Returns the FDE and fills @bases, or NULL.
 */
const void *sut_agent_find_fde(void *pc, struct eh_bases *bases)
{
	struct sut_agent_table *t = &sut_agent_table;
	find_fn *original;
	/* Pairs with sut_agent_publish(): a module is published before any thread can be in it. */
	uint32_t n = __atomic_load_n(&t->n_slots, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < n && i < SUT_AGENT_SLOTS; i++) {
		struct sut_agent_slot *s = &t->slot[i];
		/* Pairs with sut_agent_publish(), which writes end last, and sut_agent_unpublish(), which clears it. */
		uint64_t end = __atomic_load_n(&s->end, __ATOMIC_ACQUIRE);
		const void *fde;

		if ((uintptr_t)pc >= end || (uintptr_t)pc < __atomic_load_n(&s->start, __ATOMIC_RELAXED))
			continue;
		fde = search((const struct hdr *)(uintptr_t)__atomic_load_n(&s->hdr, __ATOMIC_RELAXED), (uintptr_t)pc,
			     bases);
		if (fde)
			return fde;
	}
	/* Written before the site that leads here; never changed afterwards. */
	original = (find_fn *)(uintptr_t)t->original;
	return original ? original(pc, bases) : NULL;
}
