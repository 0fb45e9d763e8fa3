/* SPDX-License-Identifier: MIT */
/*
 * same.c - do two files hold the same program? (struct sut_same_report in elf.h)
 *
 * Two builds of one source have equal code and data, but another build-id, and may
 * order .dynsym differently. Compared are, in this order: kind, the layout
 * of allocated sections and of executable segments, the entry, relocations as a set, and then all bytes. All
 * but the last must agree; bytes that differ are listed, and a few are tolerated by
 * the verdict SUT_SAME_BUT_FUNCS (a version number compiled in).
 * A file without section headers is compared by its segments, along the sections of the other.
 */
#include <stdarg.h>

#include "elf/priv.h"

#define MERGE_GAP 16 /* ranges closer than this become one */
#define RANGE_MAX 65536 /* more ranges than this are not "some functions" */

struct same {
	struct suture_ctx *ctx;
	const struct sut_elf *a, *b;
	struct sut_same_report *r;
	uint64_t compared, different; /* bytes */
};

/* Records the first difference. Returns 1: done, they differ. */
static int differ(struct same *s, const char *fmt, ...) sut_printf(2, 3);
static int differ(struct same *s, const char *fmt, ...)
{
	va_list ap;

	if (!s->r->why[0]) {
		va_start(ap, fmt);
		vsnprintf(s->r->why, sizeof(s->r->why), fmt, ap);
		va_end(ap);
	}
	return 1;
}

/* ---- layout ---- */

/* Sections that the dynamic linker reads, and notes: they follow from what is compared otherwise, or from the build-id. */
static bool is_metadata(const struct sut_section *s)
{
	switch (s->type) {
	case SHT_NOTE:
	case SHT_DYNAMIC:
	case SHT_DYNSYM:
	case SHT_STRTAB:
	case SHT_HASH:
	case SHT_GNU_HASH:
	case SHT_GNU_versym:
	case SHT_GNU_verdef:
	case SHT_GNU_verneed:
	case SHT_RELA:
	case SHT_REL:
	case 19: /* SHT_RELR */
		return true;
	}
	return false;
}

static bool is_content(const struct sut_section *s)
{
	return (s->flags & SHF_ALLOC) && s->type != SHT_NULL && s->size && !is_metadata(s);
}

typedef SUT_VEC(const struct sut_section *) section_vec;

static int by_address(const void *pa, const void *pb)
{
	const struct sut_section *a = *(const struct sut_section *const *)pa;
	const struct sut_section *b = *(const struct sut_section *const *)pb;
	bool ta = a->type == SHT_NOBITS && (a->flags & SHF_TLS), tb = b->type == SHT_NOBITS && (b->flags & SHF_TLS);

	/* .tbss takes no room, so something else starts at its address. */
	if (a->addr != b->addr)
		return a->addr < b->addr ? -1 : 1;
	if (ta != tb)
		return ta ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

static int content_sections(const struct sut_elf *e, section_vec *ret)
{
	for (size_t i = 0; i < e->sec.n; i++)
		if (is_content(&e->sec.v[i]) && sut_vec_push(ret, &e->sec.v[i]))
			return sut_nomem(e->ctx);
	if (ret->n)
		qsort(ret->v, ret->n, sizeof(*ret->v), by_address);
	return 0;
}

/* Whether the process sees @size bytes at @addr, from the file or zeros. */
static bool in_segment(const struct sut_elf *e, uint64_t addr, uint64_t size)
{
	for (size_t i = 0; i < e->load.n; i++)
		if (sut_fits(addr - e->load.v[i].vaddr, size, e->load.v[i].memsz))
			return true;
	return false;
}

static int one_section(struct same *s, const struct sut_section *x, const struct sut_section *y)
{
	const uint64_t mask = SHF_WRITE | SHF_ALLOC | SHF_EXECINSTR | SHF_TLS;

	if (strcmp(x->name, y->name))
		return differ(s, "where %s has section %s, %s has %s (0x%llx, 0x%llx)", s->a->name, x->name, s->b->name,
			      y->name, (unsigned long long)x->addr, (unsigned long long)y->addr);
	if ((x->type == SHT_NOBITS) != (y->type == SHT_NOBITS))
		return differ(s, "%s holds no bytes in section %s (NOBITS): such a file fits by its build-id only",
			      x->type == SHT_NOBITS ? s->a->name : s->b->name, x->name);
	if (x->addr != y->addr)
		return differ(s, "section %s is at 0x%llx in one and at 0x%llx in the other", x->name,
			      (unsigned long long)x->addr, (unsigned long long)y->addr);
	if (x->size != y->size)
		return differ(s, "section %s has %llu bytes in one and %llu in the other", x->name,
			      (unsigned long long)x->size, (unsigned long long)y->size);
	if (x->type != y->type || (x->flags & mask) != (y->flags & mask))
		return differ(s, "section %s has another type or other flags", x->name);
	return 0;
}

/* Positive: they differ. Negative: an error. */
static int compare_layout(struct same *s, const section_vec *a, const section_vec *b)
{
	const section_vec *x = s->a->sec.n ? a : b;
	const struct sut_elf *other = s->a->sec.n ? s->b : s->a;
	int err = 0;

	if (s->a->sec.n && s->b->sec.n) {
		for (size_t i = 0; i < a->n && i < b->n && !err; i++)
			err = one_section(s, a->v[i], b->v[i]);
		if (!err && a->n != b->n)
			err = differ(s, "%zu sections of code and data in one, %zu in the other", a->n, b->n);
		return err;
	}
	for (size_t i = 0; i < x->n && !err; i++) {
		const struct sut_section *sec = x->v[i];
		bool tbss = sec->type == SHT_NOBITS && (sec->flags & SHF_TLS);

		if (sec->type == SHT_NOBITS ? !tbss && !in_segment(other, sec->addr, sec->size)
					    : !sut_elf_bytes(other, sec->addr, sec->size))
			err = differ(s, "%s has nothing at the place of section %s (0x%llx)", other->name, sec->name,
				     (unsigned long long)sec->addr);
	}
	return err;
}

static size_t next_exec(const struct sut_elf *e, size_t i)
{
	while (i < e->load.n && !(e->load.v[i].prot & 4))
		i++;
	return i;
}

static int compare_segments(struct same *s)
{
	size_t i = next_exec(s->a, 0), k = next_exec(s->b, 0);

	for (; i < s->a->load.n && k < s->b->load.n; i = next_exec(s->a, i + 1), k = next_exec(s->b, k + 1)) {
		const struct sut_segment *x = &s->a->load.v[i], *y = &s->b->load.v[k];

		if (x->vaddr != y->vaddr || x->filesz != y->filesz || x->memsz != y->memsz)
			return differ(
				s,
				"the code lies at 0x%llx (%llu bytes) in one and at 0x%llx (%llu bytes) in the other",
				(unsigned long long)x->vaddr, (unsigned long long)x->filesz,
				(unsigned long long)y->vaddr, (unsigned long long)y->filesz);
	}
	if (i < s->a->load.n || k < s->b->load.n)
		return differ(s, "one has more executable segments than the other");
	return 0;
}

static int compare_kind(struct same *s)
{
	const struct sut_elf *a = s->a, *b = s->b;

	if (a->machine != b->machine || a->type != b->type || a->is64 != b->is64 || a->little != b->little)
		return differ(s, "the files are for different machines or of different types");
	if (a->only_debug || b->only_debug)
		return differ(s, "%s holds no bytes (NOBITS): such a file fits by its build-id only",
			      a->only_debug ? a->name : b->name);
	if (a->type == ET_REL || !a->load.n || !b->load.n)
		return differ(s, "only programs and libraries can be compared");
	if (!a->sec.n && !b->sec.n)
		return differ(s, "neither file has section headers");
	return 0;
}

static int compare_entry(struct same *s)
{
	const struct sut_elf *a = s->a, *b = s->b;

	if (a->entry != b->entry)
		return differ(s, "the entry point is 0x%llx in one and 0x%llx in the other",
			      (unsigned long long)a->entry, (unsigned long long)b->entry);
	if (a->tls_vaddr != b->tls_vaddr || a->tls_memsz != b->tls_memsz || a->tls_filesz != b->tls_filesz)
		return differ(s, "thread-local data has another place or size");
	return 0;
}

/* ---- relocations ---- */

typedef SUT_VEC(struct sut_dynrel) rel_vec;

static int collect(void *arg, const struct sut_dynrel *rel)
{
	rel_vec *v = arg;

	return sut_vec_push(v, *rel);
}

static int order_strings(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "");
}

static int order_numbers(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

/* By place, then by everything that must be equal. */
static int by_place(const void *pa, const void *pb)
{
	const struct sut_dynrel *a = pa, *b = pb;
	int c = order_numbers(a->offset, b->offset);

	if (!c)
		c = order_numbers(a->type, b->type);
	if (!c)
		c = order_numbers((uint64_t)a->addend, (uint64_t)b->addend);
	if (!c)
		c = order_strings(a->symbol, b->symbol);
	if (!c)
		c = order_strings(a->version, b->version);
	if (!c && a->symndx && a->symbol && !a->symbol[0]) /* a section symbol has nothing but its address */
		c = order_numbers(a->sym_value, b->sym_value);
	return c;
}

static int sorted_relocations(const struct sut_elf *e, rel_vec *ret)
{
	int err = sut_elf_dynrels(e, collect, ret);

	if (err == -12) /* of sut_vec_push */
		return sut_nomem(e->ctx);
	if (!err && ret->n)
		qsort(ret->v, ret->n, sizeof(*ret->v), by_place);
	return err;
}

static const char *rel_words(const struct sut_dynrel *r, char *buf, size_t cap)
{
	snprintf(buf, cap, "type %u %.60s%s%.20s%+lld", r->type, r->symbol ? r->symbol : "", r->version ? "@" : "",
		 r->version ? r->version : "", (long long)r->addend);
	return buf;
}

static int first_relocation(struct same *s, const rel_vec *a, const rel_vec *b)
{
	char x[128], y[128];

	for (size_t i = 0; i < a->n && i < b->n; i++) {
		if (!by_place(&a->v[i], &b->v[i]))
			continue;
		if (a->v[i].offset != b->v[i].offset)
			return differ(s, "a relocation at 0x%llx is in one file only",
				      (unsigned long long)(a->v[i].offset < b->v[i].offset ? a->v[i].offset
											   : b->v[i].offset));
		return differ(s, "the relocation at 0x%llx is %s in one and %s in the other",
			      (unsigned long long)a->v[i].offset, rel_words(&a->v[i], x, sizeof(x)),
			      rel_words(&b->v[i], y, sizeof(y)));
	}
	if (a->n != b->n)
		return differ(s, "%zu relocations in one, %zu in the other", a->n, b->n);
	return 0;
}

static int compare_relocations(struct same *s)
{
	rel_vec a = { 0 }, b = { 0 };
	int err = sorted_relocations(s->a, &a);

	if (!err)
		err = sorted_relocations(s->b, &b);
	if (!err)
		err = first_relocation(s, &a, &b);
	sut_vec_free(&a);
	sut_vec_free(&b);
	return err;
}

/* ---- bytes ---- */

static int add_range(struct same *s, uint64_t start, uint64_t end)
{
	struct sut_range *last = s->r->differs.n ? &s->r->differs.v[s->r->differs.n - 1] : NULL;

	s->different += end - start;
	if (last && start >= last->start && start < last->end + MERGE_GAP) {
		last->end = end > last->end ? end : last->end;
		return 0;
	}
	if (s->r->differs.n >= RANGE_MAX)
		return differ(s, "too many places differ");
	return sut_vec_push(&s->r->differs, ((struct sut_range){ start, end })) ? sut_nomem(s->ctx) : 0;
}

/* Compares [addr, addr+len), which may be anything that is not in both files. */
static int compare_bytes(struct same *s, const char *where, uint64_t addr, uint64_t len)
{
	const uint8_t *a = sut_elf_bytes(s->a, addr, len), *b = sut_elf_bytes(s->b, addr, len);
	int err = 0;

	if (!a || !b)
		return differ(s, "%s at 0x%llx is not in both files", where, (unsigned long long)addr);
	s->compared += len;
	if (!memcmp(a, b, len))
		return 0;
	for (uint64_t i = 0; i < len && !err; i++) {
		uint64_t start = i;

		if (a[i] == b[i])
			continue;
		while (i < len && a[i] != b[i])
			i++;
		if (!s->r->why[0])
			differ(s, "%s differs at 0x%llx (0x%02x in one, 0x%02x in the other)", where,
			       (unsigned long long)(addr + start), a[start], b[start]);
		err = add_range(s, addr + start, addr + i);
	}
	return err;
}

/* The file's own headers, which lie in the first segment, tell offsets that may differ. */
static bool is_file_header(const struct sut_elf *e, uint64_t addr, uint64_t *ret_end)
{
	const struct sut_segment *first = NULL;
	uint64_t end;
	Elf64_Ehdr eh;

	for (size_t i = 0; i < e->load.n && !first; i++)
		if (e->load.v[i].offset == 0 && e->load.v[i].filesz >= sizeof(eh))
			first = &e->load.v[i];
	if (!first)
		return false;
	memcpy(&eh, e->image, sizeof(eh));
	end = sizeof(eh);
	if (eh.e_phoff == end)
		end += (uint64_t)eh.e_phnum * sizeof(Elf64_Phdr);
	*ret_end = first->vaddr + end;
	return addr >= first->vaddr && addr < *ret_end;
}

/* Bytes of the executable segments that belong to no section: a hostile section table can not hide code. */
static int compare_gaps(struct same *s, const struct sut_elf *x)
{
	section_vec all = { 0 };
	int err = 0;

	for (size_t i = 0; i < x->sec.n; i++)
		if ((x->sec.v[i].flags & SHF_ALLOC) && x->sec.v[i].size && x->sec.v[i].type != SHT_NOBITS &&
		    sut_vec_push(&all, &x->sec.v[i])) {
			sut_vec_free(&all);
			return sut_nomem(s->ctx);
		}
	if (all.n)
		qsort(all.v, all.n, sizeof(*all.v), by_address);
	for (size_t i = next_exec(x, 0); i < x->load.n && !err; i = next_exec(x, i + 1)) {
		uint64_t at = x->load.v[i].vaddr, end = at + x->load.v[i].filesz, header_end;

		if (is_file_header(x, at, &header_end))
			at = header_end < end ? header_end : end;
		for (size_t k = 0; k < all.n && !err && at < end; k++) {
			const struct sut_section *sec = all.v[k];

			if (sec->addr >= end)
				break;
			if (sec->addr > at)
				err = compare_bytes(s, "code between sections", at, sec->addr - at);
			if (sec->addr + sec->size > at)
				at = sec->addr + sec->size;
		}
		if (!err && at < end)
			err = compare_bytes(s, "code behind the last section", at, end - at);
	}
	sut_vec_free(&all);
	return err;
}

static int by_start(const void *pa, const void *pb)
{
	const struct sut_range *a = pa, *b = pb;

	return order_numbers(a->start, b->start);
}

/* Positive: too much differs, whatever the rest is. */
static int compare_content(struct same *s, const section_vec *x)
{
	int err = 0;

	for (size_t i = 0; i < x->n && !err; i++)
		if (x->v[i]->type != SHT_NOBITS)
			err = compare_bytes(s, x->v[i]->name, x->v[i]->addr, x->v[i]->size);
	if (!err)
		err = compare_gaps(s, s->b->sec.n ? s->b : s->a);
	if (err)
		return err;
	if (s->r->differs.n)
		qsort(s->r->differs.v, s->r->differs.n, sizeof(*s->r->differs.v), by_start);
	return s->different > s->compared / 8;
}

int sut_elf_same_content(struct sut_elf *a, struct sut_elf *b, struct sut_same_report *ret)
{
	struct sut_same_report r = { .verdict = SUT_DIFFERENT };
	struct same s = { .ctx = a->ctx, .a = a, .b = b, .r = &r };
	section_vec sa = { 0 }, sb = { 0 };
	int err = content_sections(a, &sa);

	if (!err)
		err = content_sections(b, &sb);
	if (!err)
		err = compare_kind(&s);
	if (!err)
		err = compare_layout(&s, &sa, &sb);
	if (!err)
		err = compare_segments(&s);
	if (!err)
		err = compare_entry(&s);
	if (!err)
		err = compare_relocations(&s);
	if (!err)
		err = compare_content(&s, sa.n ? &sa : &sb);
	sut_vec_free(&sa);
	sut_vec_free(&sb);
	if (err < 0) {
		sut_same_report_free(&r);
		return err;
	}
	if (!err)
		r.verdict = r.differs.n ? SUT_SAME_BUT_FUNCS : SUT_SAME;
	*ret = r;
	return 0;
}

void sut_same_report_free(struct sut_same_report *r)
{
	sut_vec_free(&r->differs);
}
