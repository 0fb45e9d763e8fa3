/* SPDX-License-Identifier: MIT */
/*
 * relocate.c - the one relocation walker: a field is written, or verified and taken back.
 *
 * Invariants: where apply writes the field was idle before (objects with explicit addends, RELA, keep
 * nothing in the place: zeros, or in an instruction what its howto says), and clear finds exactly what
 * apply wrote, or changes nothing. Bits of the place that are not the field's are never touched.
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
		if (!sut_reloc_field_idle(h, s->bytes))
			return sut_fail(ctx, SUTURE_EREFUSED,
					"%s at 0x%llx against %s: the place holds something already", h->name,
					(unsigned long long)s->place, symbol);
		memcpy(s->bytes, field, h->size);
		return 0;
	}
	if (!sut_reloc_field_equal(h, s->bytes, field))
		return sut_fail(ctx, SUTURE_EREFUSED,
				"%s at 0x%llx against %s: the place does not hold what was written there", h->name,
				(unsigned long long)s->place, symbol);
	sut_reloc_field_clear(h, s->bytes);
	return 0;
}
