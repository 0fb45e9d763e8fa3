/* SPDX-License-Identifier: MIT */
/*
 * relocate.c - the one relocation walker: a field is written, or verified and taken back.
 *
 * Invariants: where apply writes there stood what the file has there (objects with explicit addends, RELA, keep
 * nothing in the field: zeros, or in an instruction what its howto says; but ppc64le's assembler leaves the addend
 * in prefixed ones), and clear finds exactly what apply wrote, or changes nothing. Bits of the place that are not the
 * field's are never touched. Where a second word goes with the field, as the restore of ppc64le's TOC pointer
 * goes with a call, both are verified before either is written, and both are taken back.
 * The field itself is computed in one place, sut_arch.relocate_field().
 */
#include <errno.h>

#include "module/module.h"

#define FIELD_MAX 16

static int compute(struct suture_ctx *ctx, const struct sut_arch *arch, const struct sut_reloc_howto *h,
		   const struct sut_reloc_site *s, const char *symbol, uint8_t *field)
{
	int err;

	memset(field, 0, FIELD_MAX);
	memcpy(field, s->bytes, h->size);
	sut_reloc_field_clear(h, field);
	err = arch->relocate_field(h, &s->v, field);
	if (err == -ERANGE) {
		sut_fail(ctx, SUTURE_EREFUSED, "%s at 0x%llx against %s (0x%llx%+lld) does not fit into %u bytes",
			 h->name, (unsigned long long)s->place, symbol, (unsigned long long)s->v.S, (long long)s->v.A,
			 h->size);
		sut_hint(ctx, "the symbol is out of reach; compiled with -fPIC, the reference goes through a GOT");
		return sut_fail_address(ctx, s->place);
	}
	if (err == -EINVAL)
		return sut_fail(ctx, SUTURE_EREFUSED,
				"%s at 0x%llx against %s (0x%llx%+lld): not a multiple that the "
				"instruction can name",
				h->name, (unsigned long long)s->place, symbol, (unsigned long long)s->v.S,
				(long long)s->v.A);
	if (err)
		return sut_fail(ctx, SUTURE_EREFUSED, "%s at 0x%llx against %s is not supported here", h->name,
				(unsigned long long)s->place, symbol);
	return 0;
}

/* The second word, and what stands there: 0 where it should be @want. */
static int check_extra(struct suture_ctx *ctx, const struct sut_reloc_howto *h, const struct sut_reloc_site *s,
		       const struct sut_reloc_extra *e, const char *symbol, bool apply)
{
	uint64_t want = apply ? e->idle : e->set, have = 0;

	if ((size_t)e->off + e->size > s->avail)
		return sut_fail(ctx, SUTURE_EREFUSED,
				"%s at 0x%llx against %s: the word that goes with it is beyond the end of its section",
				h->name, (unsigned long long)s->place, symbol);
	for (unsigned i = 0; i < e->size; i++)
		have |= (uint64_t)s->bytes[e->off + i] << (8 * i);
	if (have != want)
		return sut_fail(ctx, SUTURE_EREFUSED,
				"%s at 0x%llx against %s: behind it 0x%llx stands where 0x%llx was expected", h->name,
				(unsigned long long)s->place, symbol, (unsigned long long)have,
				(unsigned long long)want);
	return 0;
}

static void write_extra(const struct sut_reloc_site *s, const struct sut_reloc_extra *e, bool apply)
{
	for (unsigned i = 0; i < e->size; i++)
		s->bytes[e->off + i] = (uint8_t)((apply ? e->set : e->idle) >> (8 * i));
}

/* Whether the field still is what the object file has. */
static bool untouched(const struct sut_reloc_howto *h, const struct sut_reloc_site *s)
{
	return s->src ? sut_reloc_field_equal(h, s->bytes, s->src) : sut_reloc_field_idle(h, s->bytes);
}

static void take_back(const struct sut_reloc_howto *h, const struct sut_reloc_site *s)
{
	if (s->src)
		memcpy(s->bytes, s->src, h->size);
	else
		sut_reloc_field_clear(h, s->bytes);
}

int sut_relocate_one(struct suture_ctx *ctx, const struct sut_arch *arch, const struct sut_reloc_site *s,
		     const char *symbol, bool apply)
{
	const struct sut_reloc_howto *h = arch->reloc_howto(s->type);
	struct sut_reloc_extra extra = { 0 };
	uint8_t field[FIELD_MAX];
	int err;

	if (!h || h->size > FIELD_MAX)
		return sut_fail(ctx, SUTURE_EREFUSED, "unknown relocation type %u at 0x%llx against %s", s->type,
				(unsigned long long)s->place, symbol);
	if (h->kind == SUT_RELOC_NONE || !h->size)
		return 0;
	if (h->size > s->avail)
		return sut_fail(ctx, SUTURE_EREFUSED, "%s at 0x%llx against %s reaches over the end of its section",
				h->name, (unsigned long long)s->place, symbol);
	if (arch->reloc_howto_at)
		h = arch->reloc_howto_at(h, s->bytes, s->avail);
	err = compute(ctx, arch, h, s, symbol, field);
	if (!err && arch->relocate_extra && arch->relocate_extra(h, &s->v, &extra))
		err = check_extra(ctx, h, s, &extra, symbol, apply);
	if (err)
		return err;
	if (apply ? !untouched(h, s) : !sut_reloc_field_equal(h, s->bytes, field))
		return sut_fail(ctx, SUTURE_EREFUSED, "%s at 0x%llx against %s: the place %s", h->name,
				(unsigned long long)s->place, symbol,
				apply ? "holds something already" : "does not hold what was written there");
	if (apply)
		memcpy(s->bytes, field, h->size);
	else
		take_back(h, s);
	write_extra(s, &extra, apply);
	return 0;
}
