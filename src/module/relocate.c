/* SPDX-License-Identifier: MIT */
/*
 * relocate.c - the one relocation walker: a field is written, or verified and taken back.
 *
 * Invariants: what apply writes stood there as zeros before (objects with explicit addends, RELA,
 * keep nothing in the place), and clear finds exactly what apply wrote, or changes nothing.
 * The field itself is computed in one place, sut_arch.relocate_field().
 */
#include <errno.h>

#include "module/module.h"

#define FIELD_MAX 16

static bool all_zero(const uint8_t *p, size_t n)
{
	while (n)
		if (p[--n])
			return false;
	return true;
}

static int compute(struct suture_ctx *ctx, const struct sut_arch *arch, const struct sut_reloc_howto *h,
		   const struct sut_reloc_site *s, const char *symbol, uint8_t *field)
{
	int err;

	memset(field, 0, FIELD_MAX);
	err = arch->relocate_field(h, &s->v, field);
	if (err == -ERANGE) {
		sut_fail(ctx, SUTURE_EREFUSED, "%s at 0x%llx against %s (0x%llx%+lld) does not fit into %u bytes",
			 h->name, (unsigned long long)s->place, symbol, (unsigned long long)s->v.S, (long long)s->v.A,
			 h->size);
		sut_hint(ctx, "the symbol is out of reach; compiled with -fPIC, the reference goes through a GOT");
		return sut_fail_address(ctx, s->place);
	}
	if (err)
		return sut_fail(ctx, SUTURE_EREFUSED, "%s at 0x%llx against %s is not supported here", h->name,
				(unsigned long long)s->place, symbol);
	return 0;
}

int sut_relocate_one(struct suture_ctx *ctx, const struct sut_arch *arch, const struct sut_reloc_site *s,
		     const char *symbol, bool apply)
{
	const struct sut_reloc_howto *h = arch->reloc_howto(s->type);
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
	err = compute(ctx, arch, h, s, symbol, field);
	if (err)
		return err;
	if (apply) {
		if (!all_zero(s->bytes, h->size))
			return sut_fail(ctx, SUTURE_EREFUSED,
					"%s at 0x%llx against %s: the place holds something already", h->name,
					(unsigned long long)s->place, symbol);
		memcpy(s->bytes, field, h->size);
		return 0;
	}
	if (memcmp(s->bytes, field, h->size))
		return sut_fail(ctx, SUTURE_EREFUSED,
				"%s at 0x%llx against %s: the place does not hold what was written there", h->name,
				(unsigned long long)s->place, symbol);
	memset(s->bytes, 0, h->size);
	return 0;
}
