/* SPDX-License-Identifier: MIT */
/*
 * cficheck.c - a sieve for call frame information that may be hostile.
 *
 * libdw takes register numbers up to 2^28 and allocates a rule for each, copies all rules at each
 * DW_CFA_remember_state, and does not limit the length of instructions. So a few
 * bytes can cost gigabytes. Nothing is interpreted here: instructions are only measured and
 * their operands compared with limits that no compiler comes near.
 */
#include <dwarf.h>

#include "elf/cficheck.h"

#define REG_MAX   1024 /* highest register number (vector ones included) plus one */
#define NEST_MAX  64 /* DW_CFA_remember_state within each other */
#define ENTRY_MAX ((size_t)1 << 20) /* bytes of one CIE or FDE */
#define EXPR_MAX  1024 /* bytes of one expression */

/* A cursor that never leaves its bytes; bad: it was asked to. */
struct cursor {
	const uint8_t *p, *end;
	bool bad;
};

static uint64_t get_n(struct cursor *c, unsigned n)
{
	uint64_t v = 0;

	if ((size_t)(c->end - c->p) < n) {
		c->bad = true;
		c->p = c->end;
		return 0;
	}
	memcpy(&v, c->p, n);
	c->p += n;
	return v;
}

static uint64_t get_uleb(struct cursor *c)
{
	uint64_t v = 0;
	unsigned shift = 0;

	while (c->p < c->end) {
		uint8_t b = *c->p++;

		if (shift < 64)
			v |= (uint64_t)(b & 0x7f) << shift;
		shift += 7;
		if (!(b & 0x80))
			return shift > 70 ? UINT64_MAX : v;
	}
	c->bad = true;
	return 0;
}

static void skip(struct cursor *c, uint64_t n)
{
	if (n > (uint64_t)(c->end - c->p)) {
		c->bad = true;
		c->p = c->end;
	} else {
		c->p += n;
	}
}

/* Bytes of a pointer of an encoding; 0: not a plain one. */
static unsigned pointer_size(uint8_t encoding)
{
	switch (encoding & 0x0f) {
	case DW_EH_PE_absptr:
	case DW_EH_PE_udata8:
	case DW_EH_PE_sdata8:
		return 8;
	case DW_EH_PE_udata2:
	case DW_EH_PE_sdata2:
		return 2;
	case DW_EH_PE_udata4:
	case DW_EH_PE_sdata4:
		return 4;
	}
	return 0;
}

static void skip_pointer(struct cursor *c, uint8_t encoding)
{
	if (encoding == DW_EH_PE_omit)
		return;
	if (pointer_size(encoding))
		skip(c, pointer_size(encoding));
	else
		get_uleb(c);
}

/* What a CIE says about its FDEs. */
struct cie {
	size_t offset;
	uint8_t encoding; /* of code addresses */
	unsigned address_size;
	bool augmented, signal_frame;
	uint64_t ra;
	uint64_t undefined; /* see struct state */
};

struct state {
	uint64_t ra;
	bool ra_said; /* some rule for the return address was given */
	unsigned nest;
	uint64_t undefined; /* registers declared undefined: their sut_cfi_register_bit() */
	const char *why; /* NULL: fine so far */
};

static void one_register(struct state *s, uint64_t reg)
{
	if (reg >= REG_MAX)
		s->why = "a register that no machine has";
	s->ra_said |= reg == s->ra;
}

static void one_expression(struct state *s, struct cursor *c)
{
	uint64_t len = get_uleb(c);

	if (!len || len > EXPR_MAX)
		s->why = "an expression that is empty or too long";
	skip(c, len);
}

/* The operands of one extended instruction, @op < 0x40. */
static void one_extended(struct state *s, struct cursor *c, uint8_t op, const struct cie *cie)
{
	uint64_t reg;

	switch (op) {
	case DW_CFA_nop:
	case DW_CFA_GNU_window_save: /* also DW_CFA_AARCH64_negate_ra_state */
		break;
	case DW_CFA_set_loc:
		skip_pointer(c, cie->encoding);
		break;
	case DW_CFA_advance_loc1:
		skip(c, 1);
		break;
	case DW_CFA_advance_loc2:
		skip(c, 2);
		break;
	case DW_CFA_advance_loc4:
		skip(c, 4);
		break;
	case DW_CFA_MIPS_advance_loc8:
		skip(c, 8);
		break;
	case DW_CFA_undefined:
		reg = get_uleb(c);
		one_register(s, reg);
		s->undefined |= sut_cfi_register_bit(reg, s->ra);
		break;
	case DW_CFA_restore_extended:
	case DW_CFA_same_value:
	case DW_CFA_def_cfa_register:
		one_register(s, get_uleb(c));
		break;
	case DW_CFA_offset_extended:
	case DW_CFA_offset_extended_sf:
	case DW_CFA_val_offset:
	case DW_CFA_val_offset_sf:
	case DW_CFA_GNU_negative_offset_extended:
	case DW_CFA_def_cfa:
	case DW_CFA_def_cfa_sf:
		one_register(s, get_uleb(c));
		get_uleb(c); /* a signed one is as long */
		break;
	case DW_CFA_register:
		one_register(s, get_uleb(c));
		one_register(s, get_uleb(c));
		break;
	case DW_CFA_def_cfa_offset:
	case DW_CFA_def_cfa_offset_sf:
	case DW_CFA_GNU_args_size:
		get_uleb(c);
		break;
	case DW_CFA_def_cfa_expression:
		one_expression(s, c);
		break;
	case DW_CFA_expression:
	case DW_CFA_val_expression:
		one_register(s, get_uleb(c));
		one_expression(s, c);
		break;
	case DW_CFA_remember_state:
		if (++s->nest > NEST_MAX)
			s->why = "states remembered too deeply";
		break;
	case DW_CFA_restore_state:
		if (!s->nest--)
			s->why = "a state restored that was not remembered";
		break;
	default:
		s->why = "an unknown instruction";
	}
}

static void check_instructions(struct state *s, struct cursor *c, const struct cie *cie)
{
	while (c->p < c->end && !c->bad && !s->why) {
		uint8_t op = *c->p++;

		switch (op & 0xc0) {
		case DW_CFA_advance_loc:
			break;
		case DW_CFA_offset:
			one_register(s, op & 0x3f);
			get_uleb(c);
			break;
		case DW_CFA_restore:
			one_register(s, op & 0x3f);
			break;
		default:
			one_extended(s, c, op, cie);
		}
	}
	if (c->bad && !s->why)
		s->why = "an instruction that is cut off";
}

/* Reads the augmentation of a CIE: "", "eh", or 'z' and letters. */
static const char *read_augmentation(struct cursor *c, const char *aug, struct cie *cie)
{
	struct cursor data;
	uint64_t len;

	if (!aug[0])
		return NULL;
	if (aug[0] != 'z')
		return "an unknown augmentation";
	cie->augmented = true;
	len = get_uleb(c);
	data = *c;
	skip(c, len);
	if (c->bad)
		return "an augmentation that is cut off";
	data.end = c->p;
	for (const char *a = aug + 1; *a; a++) {
		switch (*a) {
		case 'R':
			cie->encoding = (uint8_t)get_n(&data, 1);
			if ((cie->encoding & 0x70) == DW_EH_PE_aligned)
				return "an aligned pointer";
			break;
		case 'L':
			get_n(&data, 1);
			break;
		case 'P':
			skip_pointer(&data, (uint8_t)get_n(&data, 1));
			break;
		case 'S':
			cie->signal_frame = true;
			break;
		case 'B': /* arm64: return addresses signed with the B key */
		case 'G': /* arm64: memory tagging */
			break;
		default:
			return "an unknown augmentation";
		}
	}
	return data.bad ? "an augmentation that is cut off" : NULL;
}

static const char *check_cie(const struct sut_elf *e, struct cursor c, bool eh, struct cie *ret)
{
	struct cie cie = { .offset = ret->offset, .encoding = DW_EH_PE_absptr, .address_size = 8 };
	struct state s = { 0 };
	uint8_t version = (uint8_t)get_n(&c, 1);
	const char *aug = (const char *)c.p, *why;

	if (c.bad || !memchr(c.p, '\0', (size_t)(c.end - c.p)))
		return "a CIE that is cut off";
	if (version != 1 && version != 3 && (version != 4 || eh))
		return "a CIE of an unknown version";
	c.p += strlen(aug) + 1;
	if (version >= 4) {
		cie.address_size = (unsigned)get_n(&c, 1);
		if (cie.address_size != 8 || get_n(&c, 1))
			return "a CIE for other addresses";
	}
	get_uleb(&c); /* code alignment */
	get_uleb(&c); /* data alignment */
	cie.ra = version == 1 ? get_n(&c, 1) : get_uleb(&c);
	why = read_augmentation(&c, aug, &cie);
	if (why)
		return why;
	s.ra = cie.ra;
	check_instructions(&s, &c, &cie);
	if (!s.why && e->machine == EM_X86_64 && !s.ra_said && !cie.signal_frame)
		s.why = "a CIE that does not say where the return address is";
	cie.undefined = s.undefined;
	*ret = cie;
	return s.why;
}

static const char *check_fde(struct cursor c, const struct cie *cie, uint64_t *undefined)
{
	struct state s = { .ra = cie->ra };

	skip_pointer(&c, cie->encoding);
	skip_pointer(&c, cie->encoding & 0x0f);
	if (cie->augmented)
		skip(&c, get_uleb(&c));
	if (c.bad)
		return "an FDE that is cut off";
	check_instructions(&s, &c, cie);
	*undefined |= s.undefined | cie->undefined;
	return s.why;
}

/* One entry as it stands in the section. */
struct entry {
	size_t offset, next;
	uint64_t id_offset; /* where the CIE pointer stands */
	uint64_t id; /* CIE pointer */
	bool dwarf64;
	struct cursor body;
};

/* 0: no entry here (the end). Negative: it does not fit. */
static int read_entry(struct sut_bytes t, size_t off, bool eh, struct entry *ret)
{
	struct cursor c = { t.p + off, t.p + t.len, false };
	uint64_t len = get_n(&c, 4);
	bool dwarf64 = len == 0xffffffff;

	if (c.bad)
		return -1;
	if (dwarf64)
		len = get_n(&c, 8);
	if (!len)
		return 0;
	if (c.bad || len > (uint64_t)(c.end - c.p) || len > ENTRY_MAX)
		return -1;
	c.end = c.p + len;
	*ret = (struct entry){ .offset = off, .next = (size_t)(c.end - t.p), .dwarf64 = dwarf64 };
	ret->id_offset = (uint64_t)(c.p - t.p);
	ret->id = get_n(&c, dwarf64 && !eh ? 8 : 4);
	ret->body = c;
	return c.bad ? -1 : 1;
}

static bool is_cie(const struct entry *en, bool eh)
{
	return eh ? en->id == 0 : en->id == (en->dwarf64 ? UINT64_MAX : 0xffffffff);
}

/* CIEs read so far, found again by offset; nearly always it is the last one. */
struct cies {
	SUT_VEC(struct cie) v;
};

static const struct cie *find_cie(const struct cies *all, uint64_t offset)
{
	size_t lo = 0, hi = all->v.n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (all->v.v[mid].offset < offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < all->v.n && all->v.v[lo].offset == offset ? &all->v.v[lo] : NULL;
}

/* Reads on to the CIE of an FDE that stands before it. */
static const char *cie_behind(const struct sut_elf *e, struct sut_bytes t, uint64_t offset, bool eh, struct cie *ret)
{
	struct entry en;

	if (offset >= t.len || read_entry(t, offset, eh, &en) != 1 || !is_cie(&en, eh))
		return "an FDE without a CIE";
	ret->offset = offset;
	return check_cie(e, en.body, eh, ret);
}

static const char *check_entry(const struct sut_elf *e, struct sut_bytes t, const struct entry *en, bool eh,
			       struct cies *all, uint64_t *undefined)
{
	struct cie cie = { .offset = en->offset };
	const struct cie *known;
	const char *why;
	uint64_t at;

	if (is_cie(en, eh)) {
		why = check_cie(e, en->body, eh, &cie);
		return !why && sut_vec_push(&all->v, cie) ? "no memory for it" : why;
	}
	at = eh ? en->id_offset - en->id : en->id;
	known = find_cie(all, at);
	if (!known) {
		why = cie_behind(e, t, at, eh, &cie);
		if (why)
			return why;
		known = &cie;
	}
	return check_fde(en->body, known, undefined);
}

int sut_cfi_check(const struct sut_elf *e, struct sut_bytes t, bool eh, bool open_ended, uint64_t *ret_undefined)
{
	struct cies all = { 0 };
	const char *why = NULL;
	struct entry en = { 0 };
	uint64_t undefined = 0;
	size_t off = 0;

	while (off < t.len && !why) {
		int r = read_entry(t, off, eh, &en);

		if (r == 0 && open_ended)
			break;
		if (r == 0) {
			off += 4; /* a terminator between the sections of two files that were linked */
			continue;
		}
		why = r < 0 ? "an entry that does not fit" : check_entry(e, t, &en, eh, &all, &undefined);
		if (!why)
			off = en.next;
	}
	sut_vec_free(&all.v);
	if (!why) {
		*ret_undefined = undefined;
		return 0;
	}
	return sut_elf_damaged(e, "call frame information at byte %zu of %s: %s", off,
			       eh ? ".eh_frame" : ".debug_frame", why);
}
