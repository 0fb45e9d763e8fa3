/* SPDX-License-Identifier: MIT */
/*
 * dynrel.c - the dynamic relocations of a file, one by one.
 *
 * From DT_RELA, DT_JMPREL and DT_RELR (expanded to plain relative relocations); a static program has
 * no PT_DYNAMIC, and its IRELATIVE relocations stand in allocated sections. Bounds were
 * checked when the tables were read (dynamic.c).
 */
#include "elf/priv.h"

#define RELA_SIZE sizeof(Elf64_Rela)

struct walk {
	const struct sut_elf *e;
	sut_dynrel_fn fn;
	void *arg;
};

/* The type of "base + addend" of a machine; 0: not known. */
static uint32_t relative_type(uint16_t machine)
{
	switch (machine) {
	case EM_X86_64:
		return R_X86_64_RELATIVE;
	case EM_AARCH64:
		return R_AARCH64_RELATIVE;
	case EM_PPC64:
		return R_PPC64_RELATIVE;
	}
	return 0;
}

static int walk_rela(const struct walk *w, struct sut_bytes t, bool plt)
{
	for (size_t off = 0; off + RELA_SIZE <= t.len; off += RELA_SIZE) {
		struct sut_dynrel rel = { .plt = plt };
		struct sut_dynsym s;
		Elf64_Rela r;
		int stop;

		memcpy(&r, t.p + off, RELA_SIZE);
		rel.offset = r.r_offset;
		rel.type = (uint32_t)ELF64_R_TYPE(r.r_info);
		rel.addend = r.r_addend;
		rel.symndx = (uint32_t)ELF64_R_SYM(r.r_info);
		if (rel.symndx) {
			if (!sut_elf_dynsym_get(w->e, rel.symndx, &s))
				return sut_elf_damaged(w->e,
						       "the relocation at 0x%llx names symbol %u, which is not there",
						       (unsigned long long)rel.offset, rel.symndx);
			rel.symbol = s.name;
			rel.version = s.version;
			rel.sym_value = s.shndx == SHN_UNDEF ? 0 : s.value;
		}
		stop = w->fn(w->arg, &rel);
		if (stop)
			return stop;
	}
	return 0;
}

static int relr_place(const struct walk *w, uint64_t place)
{
	struct sut_dynrel rel = { .offset = place, .type = relative_type(w->e->machine) };
	const uint8_t *word = sut_elf_bytes(w->e, place, 8);

	if (!word)
		return sut_elf_damaged(w->e, "DT_RELR names 0x%llx, outside of the file", (unsigned long long)place);
	rel.addend = (int64_t)sut_le64(word);
	return w->fn(w->arg, &rel);
}

/* An even word is a place; an odd one has a bit for each of the 63 words after the last place. */
static int walk_relr(const struct walk *w, struct sut_bytes t)
{
	uint64_t next = 0;
	int stop = 0;

	if (t.len && !relative_type(w->e->machine))
		return sut_fail(w->e->ctx, SUTURE_EREFUSED, "%s has DT_RELR, and suture does not know machine %u",
				w->e->name, w->e->machine);
	for (size_t off = 0; off + 8 <= t.len && !stop; off += 8) {
		uint64_t word = sut_le64(t.p + off);

		if (!(word & 1)) {
			stop = relr_place(w, word);
			next = word + 8;
			continue;
		}
		for (unsigned bit = 1; bit < 64 && !stop; bit++)
			if (word >> bit & 1)
				stop = relr_place(w, next + (uint64_t)(bit - 1) * 8);
		next += 63 * 8;
	}
	return stop;
}

static int walk_static(const struct walk *w)
{
	int stop = 0;

	for (size_t i = 0; i < w->e->sec.n && !stop; i++) {
		const struct sut_section *s = &w->e->sec.v[i];

		if (s->type == SHT_RELA && (s->flags & SHF_ALLOC) && s->data)
			stop = walk_rela(w, (struct sut_bytes){ s->data, s->size }, !strncmp(s->name, ".rela.plt", 9));
	}
	return stop;
}

int sut_elf_dynrels(const struct sut_elf *e, sut_dynrel_fn fn, void *arg)
{
	const struct walk w = { e, fn, arg };
	const struct sut_dyn *d = sut_elf_dyn(e);
	int stop;

	if (!sut_elf_is_native(e))
		return sut_fail(e->ctx, SUTURE_EREFUSED, "%s is not a 64-bit little-endian file", e->name);
	if (e->type == ET_REL)
		return 0;
	if (!e->has_dynamic)
		return walk_static(&w);
	stop = walk_rela(&w, d->rela, false);
	if (!stop)
		stop = walk_rela(&w, d->jmprel, true);
	if (!stop)
		stop = walk_relr(&w, d->relr);
	return stop;
}
