/* SPDX-License-Identifier: MIT */
/*
 * ehframe.c - the unwind data of a module: .eh_frame taken apart, dealt out to the areas, and indexed.
 *
 * Each FDE goes to the area of its function, with a copy of its CIE for each area, and every area gets
 * a table of its FDEs sorted by address (.eh_frame_hdr). PLT stubs of ours get an FDE too: they touch no
 * stack, so one rule holds for all of their bytes, and a thread stopped in one can be unwound.
 *
 * What a record refers to (personality, exception table) is relocated by the same walker as code.
 */
#include "module/priv.h"

#define DW_EH_PE_PCREL_SDATA4   0x1b
#define DW_EH_PE_UDATA4         0x03
#define DW_EH_PE_DATAREL_SDATA4 0x3b
#define HDR_SIZE                12u /* of .eh_frame_hdr, before its table of 8-byte entries */

static int refuse(struct sut_module *m, const char *what, uint32_t sec, uint64_t off)
{
	return sut_fail(m->priv->ctx, SUTURE_EREFUSED, "%s: damaged unwind data: %s at %s+0x%llx", m->elf->name, what,
			sut_mod_secname(m, sec), (unsigned long long)off);
}

/** A cursor over a record. */
struct cursor {
	const uint8_t *p, *end;
};

static bool skip_leb(struct cursor *c)
{
	while (c->p < c->end)
		if (!(*c->p++ & 0x80))
			return true;
	return false;
}

/** Bytes of a pointer of this encoding; 0: one that is not taken. */
static unsigned encoded_size(uint8_t enc)
{
	switch (enc & 0x0f) {
	case 0x00: /* absptr */
	case 0x04: /* udata8 */
	case 0x0c: /* sdata8 */
		return 8;
	case 0x03: /* udata4 */
	case 0x0b: /* sdata4 */
		return 4;
	}
	return 0;
}

/** Finds how a CIE's FDEs encode their addresses. @c stands behind the CIE's id. */
static bool parse_cie(struct cursor c, uint8_t *ret_pc_size, bool *personality)
{
	const char *aug;
	uint8_t version, enc = 0;

	if (c.end - c.p < 2)
		return false;
	version = *c.p++;
	aug = (const char *)c.p;
	while (c.p < c.end && *c.p)
		c.p++;
	if (c.p++ == c.end || (version != 1 && version != 3))
		return false;
	if (!skip_leb(&c) || !skip_leb(&c)) /* code and data alignment */
		return false;
	if (version == 1 ? c.p++ >= c.end : !skip_leb(&c)) /* return address register */
		return false;
	if (*aug && (*aug++ != 'z' || !skip_leb(&c)))
		return false;
	for (; *aug; aug++) {
		uint8_t e = 0;

		if (strchr("PLR", *aug)) {
			if (c.p >= c.end)
				return false;
			e = *c.p++;
		}
		if (*aug == 'R') {
			enc = e;
		} else if (*aug == 'P') {
			if (!encoded_size(e) || (size_t)(c.end - c.p) < encoded_size(e))
				return false;
			c.p += encoded_size(e);
			*personality = true;
		} else if (!strchr("LSB", *aug)) {
			return false;
		}
	}
	*ret_pc_size = (uint8_t)encoded_size(enc);
	return *ret_pc_size != 0;
}

/** The record of this section that starts at @off, among those from @first on; MOD_NONE: none. */
static uint32_t record_at(const struct sut_mod_priv *pr, size_t first, uint64_t off)
{
	size_t lo = first, hi = pr->eh.n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (pr->eh.v[mid].off < off)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < pr->eh.n && pr->eh.v[lo].off == off ? (uint32_t)lo : MOD_NONE;
}

/** Reads an FDE. *keep false: it belongs to no code of the module. */
static int parse_fde(struct sut_module *m, struct mod_eh_rec *rec, uint32_t id, size_t first, bool *keep)
{
	struct sut_mod_priv *pr = m->priv;
	const struct mod_sec *s = &pr->sec.v[rec->sec];
	const struct mod_sec *text;
	const struct mod_reloc *r;
	const struct mod_sym *sym;
	size_t n, k;
	uint8_t size;

	*keep = false;
	if (id > rec->off + 4)
		return refuse(m, "an FDE without a CIE", rec->sec, rec->off);
	rec->cie = record_at(pr, first, rec->off + 4 - id);
	if (rec->cie == MOD_NONE || !pr->eh.v[rec->cie].is_cie)
		return refuse(m, "an FDE without a CIE", rec->sec, rec->off);
	size = pr->eh.v[rec->cie].pc_size;
	if (rec->len < 8u + 2u * size)
		return refuse(m, "an FDE that is too short", rec->sec, rec->off);
	k = sut_mod_relocs_in(s, rec->off + 8, 2u * size, &n);
	if (!n)
		return 0;
	r = &s->rel.v[k];
	sym = &pr->sym.v[r->sym];
	if (n != 1 || r->offset != rec->off + 8 || r->howto->size != size ||
	    (r->howto->kind != SUT_RELOC_PCREL && r->howto->kind != SUT_RELOC_ABS) || sym->kind != MOD_SYM_DEFINED)
		return refuse(m, "an FDE whose function is not given by one relocation", rec->sec, rec->off);
	rec->text = sym->sec;
	text = &pr->sec.v[sym->sec];
	rec->text_off = sym->value + (uint64_t)r->addend;
	rec->range = size == 4 ? sut_le32(s->src + rec->off + 12) : sut_le64(s->src + rec->off + 16);
	if (text->part != MOD_RX || !sut_fits(rec->text_off, rec->range, text->size))
		return refuse(m, "an FDE that reaches outside of its function's section", rec->sec, rec->off);
	*keep = rec->range != 0;
	return 0;
}

static int parse_section(struct sut_module *m, uint32_t sec)
{
	struct sut_mod_priv *pr = m->priv;
	const struct mod_sec *s = &pr->sec.v[sec];
	size_t first = pr->eh.n;

	for (uint64_t off = 0; s->size - off >= 4;) {
		struct mod_eh_rec rec = { .sec = sec, .off = off, .text = MOD_NONE };
		uint32_t len = sut_le32(s->src + off), id;
		bool keep = true;
		int err = 0;

		if (len == 0) /* the terminator */
			break;
		if (len < 8 || len > s->size - off - 4 || len % 4)
			return refuse(m, "a record's length", sec, off);
		rec.len = len + 4;
		memset(rec.dest, 0xff, sizeof(rec.dest));
		id = sut_le32(s->src + off + 4);
		rec.is_cie = id == 0;
		if (!rec.is_cie)
			err = parse_fde(m, &rec, id, first, &keep);
		else if (!parse_cie((struct cursor){ s->src + off + 8, s->src + off + rec.len }, &rec.pc_size,
				    &pr->personality))
			err = refuse(m, "a CIE that is not understood", sec, off);
		if (!err && keep && sut_vec_push(&pr->eh, rec))
			err = sut_nomem(pr->ctx);
		if (err)
			return err;
		off += rec.len;
	}
	return 0;
}

int sut_mod_eh_parse(struct sut_module *m)
{
	for (uint32_t i = 0; i < m->priv->sec.n; i++) {
		int err = m->priv->sec.v[i].part == MOD_EH ? parse_section(m, i) : 0;

		if (err)
			return err;
	}
	return 0;
}

/** Bytes of the CIE for stubs, 0: this architecture tells none. */
static size_t stub_cie_size(const struct sut_arch *arch)
{
	return arch->entry_cfi_size ? SUT_ALIGN_UP(17 + arch->entry_cfi_size, 8) : 0;
}
#define STUB_FDE_SIZE 24u

void sut_mod_eh_layout(struct sut_module *m)
{
	struct sut_mod_priv *pr = m->priv;

	for (size_t i = 0; i < pr->eh.n; i++) {
		struct mod_eh_rec *rec = &pr->eh.v[i], *cie;
		struct mod_area *a;
		uint32_t area;

		if (rec->is_cie)
			continue;
		area = pr->sec.v[rec->text].area;
		a = &pr->area[area];
		cie = &pr->eh.v[rec->cie];
		if (cie->dest[area] == UINT64_MAX) {
			cie->dest[area] = a->eh_size;
			a->eh_size += cie->len;
		}
		rec->dest[area] = a->eh_size;
		a->eh_size += rec->len;
		a->n_fde++;
	}
}

void sut_mod_eh_add_stubs(struct sut_module *m)
{
	for (size_t i = 0; i < m->area.n; i++) {
		struct mod_area *a = &m->priv->area[i];

		if (!a->n_fde)
			continue;
		if (a->plt_size && stub_cie_size(m->priv->arch)) {
			a->eh_size += stub_cie_size(m->priv->arch) + STUB_FDE_SIZE;
			a->n_fde++;
		}
		a->eh_size += 4; /* the terminator */
		a->hdr_size = HDR_SIZE + 8 * a->n_fde;
	}
}

static int write_record(struct sut_module *m, uint32_t area, const struct mod_eh_rec *rec, uint64_t cie_dest)
{
	struct sut_mod_priv *pr = m->priv;
	const struct mod_sec *s = &pr->sec.v[rec->sec];
	struct sut_mod_area *ma = &m->area.v[area];
	uint64_t at = pr->area[area].eh_off + rec->dest[area];
	uint8_t *out = ma->image.p + at;
	size_t n, k;

	memcpy(out, s->src + rec->off, rec->len);
	k = sut_mod_relocs_in(s, rec->off, rec->len, &n);
	for (size_t i = 0; i < n; i++) {
		const struct mod_reloc *r = &s->rel.v[k + i];
		uint64_t in = r->offset - rec->off;
		int err;

		if (in < 8 || r->howto->size > rec->len - in)
			return refuse(m, "a relocation of a record's head or end", rec->sec, r->offset);
		err = sut_mod_relocate(m, area, r, ma->base + at + in, out + in, rec->len - in, true);
		if (err)
			return err;
	}
	if (!rec->is_cie)
		sut_put_le32(out + 4, (uint32_t)(rec->dest[area] + 4 - cie_dest));
	return 0;
}

/** One rule for all stubs: as at the first instruction of a function. */
static uint64_t write_stub_fde(struct sut_module *m, uint32_t area, uint64_t at)
{
	const struct sut_arch *arch = m->priv->arch;
	const struct mod_area *a = &m->priv->area[area];
	struct sut_mod_area *ma = &m->area.v[area];
	size_t cie_size = stub_cie_size(arch);
	uint8_t *cie = ma->image.p + at, *fde = cie + cie_size;
	static const uint8_t head[] = { 1, 'z', 'R', 0, 1, 0x78 /* -8 */ };

	sut_put_le32(cie, (uint32_t)cie_size - 4);
	memcpy(cie + 8, head, sizeof(head));
	cie[14] = (uint8_t)arch->dwarf_ra;
	cie[15] = 1; /* bytes of augmentation */
	cie[16] = DW_EH_PE_PCREL_SDATA4;
	memcpy(cie + 17, arch->entry_cfi, arch->entry_cfi_size); /* the rest is zero: DW_CFA_nop */
	sut_put_le32(fde, STUB_FDE_SIZE - 4);
	sut_put_le32(fde + 4, (uint32_t)cie_size + 4);
	sut_put_le32(fde + 8, (uint32_t)(a->plt_off - (at + cie_size + 8)));
	sut_put_le32(fde + 12, (uint32_t)a->plt_size);
	return at + cie_size;
}

struct entry {
	uint64_t start, fde;
};

static int entry_cmp(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static void write_hdr(struct sut_module *m, uint32_t area, struct entry *e, size_t n)
{
	const struct mod_area *a = &m->priv->area[area];
	struct sut_mod_area *ma = &m->area.v[area];
	uint8_t *hdr = ma->image.p + a->hdr_off;

	qsort(e, n, sizeof(*e), entry_cmp);
	hdr[0] = 1;
	hdr[1] = DW_EH_PE_PCREL_SDATA4;
	hdr[2] = DW_EH_PE_UDATA4;
	hdr[3] = DW_EH_PE_DATAREL_SDATA4;
	sut_put_le32(hdr + 4, (uint32_t)(a->eh_off - (a->hdr_off + 4)));
	sut_put_le32(hdr + 8, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		sut_put_le32(hdr + HDR_SIZE + 8 * i, (uint32_t)(e[i].start - a->hdr_off));
		sut_put_le32(hdr + HDR_SIZE + 8 * i + 4, (uint32_t)(e[i].fde - a->hdr_off));
	}
	ma->eh_frame_hdr = ma->base + a->hdr_off;
}

static int write_area(struct sut_module *m, uint32_t area)
{
	struct sut_mod_priv *pr = m->priv;
	const struct mod_area *a = &pr->area[area];
	_cleanup_free_ struct entry *e = calloc(a->n_fde, sizeof(*e));
	size_t n = 0;

	if (!e)
		return sut_nomem(pr->ctx);
	for (size_t i = 0; i < pr->eh.n; i++) {
		const struct mod_eh_rec *rec = &pr->eh.v[i];
		int err;

		if (rec->dest[area] == UINT64_MAX)
			continue;
		err = write_record(m, area, rec, rec->is_cie ? 0 : pr->eh.v[rec->cie].dest[area]);
		if (err)
			return err;
		if (!rec->is_cie)
			e[n++] =
				(struct entry){ pr->sec.v[rec->text].off + rec->text_off, a->eh_off + rec->dest[area] };
	}
	if (n < a->n_fde) {
		size_t size = stub_cie_size(pr->arch) + STUB_FDE_SIZE;

		e[n].start = a->plt_off;
		e[n++].fde = write_stub_fde(m, area, a->eh_off + a->eh_size - 4 - size);
	}
	write_hdr(m, area, e, n);
	return 0;
}

int sut_mod_eh_write(struct sut_module *m)
{
	for (uint32_t i = 0; i < m->area.n; i++) {
		int err = m->priv->area[i].hdr_size ? write_area(m, i) : 0;

		if (err)
			return err;
	}
	return 0;
}
