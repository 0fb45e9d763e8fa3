/* SPDX-License-Identifier: MIT */
/*
 * cfi.c - rows of unwinding rules out of libdw's frames.
 *
 * libdw tells a rule as a small location expression; here it becomes one of seven plain kinds
 * (convert_register). Invariant: a row is handed out only when every tracked register was
 * understood; anything odd makes the pc uncovered, which the unwinder takes for "not reliable".
 * .debug_frame is given to libdw in a little ELF file of its own, so that a debug file of
 * a gigabyte is not unpacked for it.
 */
#include <dwarf.h>
#include <errno.h>

#include "elf/cfi.h"
#include "elf/cficheck.h"

#define ROWS_MAX        ((size_t)1 << 18) /* cached; more distinct pcs than that are not looked up */
#define DEBUG_FRAME_MAX ((uint64_t)1 << 30) /* unpacked size */
#define READ_ROWS       48 /* that sut_cfi_read() takes in at once */

/* One place where CFI was found. */
struct source {
	Dwarf_CFI *cfi;
	bool is_eh; /* cfi is of dwarf_getcfi_elf */
	Dwarf *dw; /* .debug_frame */
	Elf *elf; /* the little file ... */
	uint8_t *image; /* ... and its bytes */
	uint64_t undefined; /* registers that some entry declares undefined (cficheck.c) */
};

struct cached {
	uint64_t pc;
	struct sut_cfi_row *row; /* NULL: not covered */
	bool used;
};

/* What sut_cfi_read() has seen. */
struct known {
	uint64_t start, end;
	const struct sut_cfi_row *row; /* NULL: not covered */
};

struct sut_cfi {
	struct sut_elf *e;
	unsigned n_regs; /* of a row */
	SUT_VEC(struct source) src;
	struct cached *slot;
	size_t n_slots, n_used; /* n_slots: a power of two */
	SUT_VEC(struct known) known; /* by rising address, without overlaps */
};

/* ---- opening ---- */

static void close_source(struct source *s)
{
	if (s->is_eh && s->cfi)
		dwarf_cfi_end(s->cfi);
	if (s->dw)
		dwarf_end(s->dw);
	if (s->elf)
		elf_end(s->elf);
	free(s->image);
}

static const GElf_Phdr *eh_frame_phdr(struct sut_elf *e, GElf_Phdr *ph)
{
	size_t n = 0;

	if (elf_getphdrnum(e->elf, &n))
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (gelf_getphdr(e->elf, (int)i, ph) && ph->p_type == PT_GNU_EH_FRAME)
			return ph;
	return NULL;
}

/* Follows .eh_frame_hdr to .eh_frame, of which only the start is known. */
static struct sut_bytes by_eh_frame_hdr(struct sut_elf *e)
{
	struct sut_bytes none = { 0 };
	uint64_t ptr, off;
	const uint8_t *h;
	GElf_Phdr ph;

	if (!eh_frame_phdr(e, &ph) || !sut_fits(ph.p_offset, ph.p_filesz, e->image_size) || ph.p_filesz < 12)
		return none;
	h = e->image + ph.p_offset;
	if (h[0] != 1)
		return none;
	switch (h[1]) {
	case DW_EH_PE_pcrel | DW_EH_PE_sdata4:
		ptr = ph.p_vaddr + 4 + (uint64_t)(int64_t)(int32_t)sut_le32(h + 4);
		break;
	case DW_EH_PE_pcrel | DW_EH_PE_sdata8:
		ptr = ph.p_vaddr + 4 + sut_le64(h + 4);
		break;
	case DW_EH_PE_absptr:
		ptr = sut_le64(h + 4);
		break;
	default:
		return none;
	}
	off = ptr - ph.p_vaddr + ph.p_offset;
	if (off >= e->image_size)
		return none;
	return (struct sut_bytes){ e->image + off, e->image_size - off };
}

static int open_eh_frame(struct sut_elf *e, struct source *ret)
{
	const struct sut_section *sec = sut_elf_section(e, ".eh_frame");
	struct source s = { .is_eh = true };
	struct sut_bytes b;
	int err;

	/* The same choice as libdw makes. */
	b = sec ? (struct sut_bytes){ sec->data, sec->size } : by_eh_frame_hdr(e);
	if (!b.p || !b.len)
		return sut_fail(e->ctx, SUTURE_ENOTFOUND, "%s has no call frame information", e->name);
	err = sut_cfi_check(e, b, true, !sec, &s.undefined);
	if (err)
		return err;
	s.cfi = dwarf_getcfi_elf(e->elf);
	if (!s.cfi)
		return sut_elf_damaged(e, "call frame information: %s", dwarf_errmsg(-1));
	*ret = s;
	return 0;
}

/* Builds an ELF file that holds nothing but a section .debug_frame. */
static int make_little_file(struct sut_elf *e, const struct sut_section *sec, struct sut_buf *out)
{
	static const char names[] = "\0.debug_frame\0.shstrtab";
	Elf64_Ehdr eh = { .e_type = ET_DYN,
			  .e_machine = e->machine,
			  .e_version = EV_CURRENT,
			  .e_ehsize = sizeof(eh),
			  .e_shentsize = sizeof(Elf64_Shdr),
			  .e_shnum = 3,
			  .e_shstrndx = 2 };
	Elf64_Shdr sh[3] = { 0 };

	memcpy(eh.e_ident, e->image, EI_NIDENT);
	sh[1] = (Elf64_Shdr){ .sh_name = 1,
			      .sh_type = SHT_PROGBITS,
			      .sh_flags = sec->flags & SHF_COMPRESSED,
			      .sh_offset = sizeof(eh) + sizeof(sh),
			      .sh_size = sec->size,
			      .sh_addralign = 8 };
	sh[2] = (Elf64_Shdr){ .sh_name = 14,
			      .sh_type = SHT_STRTAB,
			      .sh_offset = sh[1].sh_offset + sec->size,
			      .sh_size = sizeof(names),
			      .sh_addralign = 1 };
	eh.e_shoff = sizeof(eh);
	if (sut_buf_add(out, &eh, sizeof(eh)) || sut_buf_add(out, sh, sizeof(sh)) ||
	    sut_buf_add(out, sec->data, sec->size) || sut_buf_add(out, names, sizeof(names))) {
		sut_buf_free(out);
		return sut_nomem(e->ctx);
	}
	return 0;
}

static bool is_too_large(const struct sut_section *sec)
{
	Elf64_Chdr ch;

	if (!(sec->flags & SHF_COMPRESSED))
		return sec->size > DEBUG_FRAME_MAX;
	if (sec->size < sizeof(ch))
		return true;
	memcpy(&ch, sec->data, sizeof(ch));
	return ch.ch_size > DEBUG_FRAME_MAX;
}

static int open_debug_frame(struct sut_elf *e, struct source *ret)
{
	const struct sut_section *sec = sut_elf_section(e, ".debug_frame");
	struct source s = { 0 };
	struct sut_buf file = { 0 };
	Elf_Data *data;
	int err;

	if (!sec || !sec->data || !sec->size || !sut_elf_is_native(e) || e->type == ET_REL)
		return sut_fail(e->ctx, SUTURE_ENOTFOUND, "%s has no .debug_frame", e->name);
	if (is_too_large(sec))
		return sut_fail(e->ctx, SUTURE_EREFUSED, "%s: .debug_frame is too large", e->name);
	err = make_little_file(e, sec, &file);
	if (err)
		return err;
	s.image = file.p;
	s.elf = elf_memory((char *)file.p, file.len);
	s.dw = s.elf ? dwarf_begin_elf(s.elf, DWARF_C_READ, NULL) : NULL;
	data = s.dw ? elf_getdata(elf_getscn(s.elf, 1), NULL) : NULL;
	if (!data || !data->d_buf)
		err = sut_elf_damaged(e, ".debug_frame: %s", dwarf_errmsg(-1));
	else
		err = sut_cfi_check(e, (struct sut_bytes){ data->d_buf, data->d_size }, false, false, &s.undefined);
	if (!err) {
		s.cfi = dwarf_getcfi(s.dw);
		if (!s.cfi)
			err = sut_elf_damaged(e, ".debug_frame: %s", dwarf_errmsg(-1));
	}
	if (err) {
		close_source(&s);
		return err;
	}
	*ret = s;
	return 0;
}

static int add_source(struct sut_cfi *c, struct source *s)
{
	if (!sut_vec_push(&c->src, *s))
		return 0;
	close_source(s);
	return sut_nomem(c->e->ctx);
}

int sut_cfi_add_debug(struct sut_cfi *c, struct sut_elf *debug)
{
	struct source s;
	int err = open_debug_frame(debug, &s);

	return err ? err : add_source(c, &s);
}

int sut_cfi_open(struct sut_elf *e, struct sut_cfi **ret)
{
	struct source s;
	struct sut_cfi *c;
	int err;

	if (!sut_elf_is_native(e) || e->type == ET_REL || !e->arch || e->arch->n_dwarf_regs > SUT_CFI_REGS)
		return sut_fail(e->ctx, SUTURE_ENOTFOUND, "%s is no program or library of a machine that is supported",
				e->name);
	c = calloc(1, sizeof(*c));
	if (!c)
		return sut_nomem(e->ctx);
	c->e = e;
	c->n_regs = e->arch->n_dwarf_regs;
	c->n_slots = 256;
	c->slot = calloc(c->n_slots, sizeof(*c->slot));
	err = c->slot ? open_eh_frame(e, &s) : sut_nomem(e->ctx);
	if (!err)
		err = add_source(c, &s);
	if (!err || err == -SUTURE_ENOTFOUND) {
		int debug_err = sut_cfi_add_debug(c, e);

		/* Beside .eh_frame it only fills gaps; alone it is all there is. */
		if (err)
			err = debug_err;
	}
	if (err) {
		sut_cfi_close(c);
		return err;
	}
	*ret = c;
	return 0;
}

void sut_cfi_close(struct sut_cfi *c)
{
	if (!c)
		return;
	for (size_t i = 0; c->slot && i < c->n_slots; i++)
		free(c->slot[i].row);
	free(c->slot);
	for (size_t i = 0; i < c->src.n; i++)
		close_source(&c->src.v[i]);
	sut_vec_free(&c->src);
	sut_vec_free(&c->known);
	free(c);
}

/* ---- frames into rows ---- */

/* libdw wrote a simple rule into our three operations: [cfa], [cfa, +off], each perhaps as a value, or [regx n]. */
static bool convert_simple(const Dwarf_Op *ops, size_t n, unsigned n_regs, enum sut_cfi_rule *rule, int64_t *off)
{
	bool value = n > 1 && ops[n - 1].atom == DW_OP_stack_value;
	size_t body = value ? n - 1 : n;

	*off = 0;
	if (n == 1 && ops[0].atom == DW_OP_regx) {
		*rule = SUT_CFI_REGISTER;
		*off = (int64_t)ops[0].number;
		return ops[0].number < n_regs;
	}
	if (ops[0].atom != DW_OP_call_frame_cfa || body > 2)
		return false;
	if (body == 2) {
		if (ops[1].atom != DW_OP_plus_uconst)
			return false;
		*off = (int64_t)ops[1].number;
	}
	*rule = value ? SUT_CFI_VAL_OFFSET : SUT_CFI_OFFSET;
	return true;
}

static bool convert_register(Dwarf_Frame *f, unsigned n, struct sut_cfi_row *row)
{
	Dwarf_Op mem[3], *ops = NULL;
	size_t nops = 0;

	if (dwarf_frame_register(f, (int)n, mem, &ops, &nops))
		return false;
	if (!nops) {
		row->reg[n].rule = ops ? SUT_CFI_UNDEFINED : SUT_CFI_SAME;
		return true;
	}
	if (ops == mem)
		return convert_simple(ops, nops, row->n_regs, &row->reg[n].rule, &row->reg[n].off);
	row->reg[n].rule = SUT_CFI_EXPR;
	if (ops[nops - 1].atom == DW_OP_stack_value) {
		row->reg[n].rule = SUT_CFI_VAL_EXPR;
		nops--;
	}
	row->reg[n].ops = ops;
	row->reg[n].nops = nops;
	return nops && nops <= SUT_CFI_OPS;
}

static bool convert_cfa(Dwarf_Frame *f, struct sut_cfi_row *row)
{
	Dwarf_Op *ops = NULL;
	size_t nops = 0;

	if (dwarf_frame_cfa(f, &ops, &nops) || !nops || nops > SUT_CFI_OPS)
		return false;
	if (nops == 1 && ops[0].atom == DW_OP_bregx) {
		row->cfa_kind = SUT_CFA_REG;
		row->cfa_reg = (unsigned)ops[0].number;
		row->cfa_off = (int64_t)ops[0].number2;
		return ops[0].number < row->n_regs;
	}
	row->cfa_kind = SUT_CFA_EXPR;
	row->cfa_ops = ops;
	row->cfa_nops = nops;
	return true;
}

/*
 * What libdw assumes for registers that CFI does not mention comes from its table of the ABI, and that one
 * (0.188) has rax for rbx. An undefined rbx was not mentioned, unless the file says so somewhere; and that a
 * caller's rax is the same is never believed.
 */
static void correct_defaults(const struct sut_elf *e, uint64_t undefined, struct sut_cfi_row *row)
{
	if (e->machine != EM_X86_64)
		return;
	if (row->reg[0].rule == SUT_CFI_SAME)
		row->reg[0].rule = SUT_CFI_UNDEFINED;
	if (row->reg[3].rule == SUT_CFI_UNDEFINED && !(undefined & 1u << 3))
		row->reg[3].rule = SUT_CFI_SAME;
}

static bool convert(const struct sut_elf *e, const struct source *s, Dwarf_Frame *f, uint64_t pc,
		    struct sut_cfi_row *row)
{
	Dwarf_Addr start = 0, end = 0;
	int ra = dwarf_frame_info(f, &start, &end, &row->signal_frame);

	if (ra < 0 || (unsigned)ra >= row->n_regs || !sut_in(start, end, pc) || !convert_cfa(f, row))
		return false;
	for (unsigned n = 0; n < row->n_regs; n++)
		if (!convert_register(f, n, row))
			return false;
	row->start = start;
	row->end = end;
	row->ra_reg = (unsigned)ra;
	correct_defaults(e, s->undefined, row);
	/* An omission is no statement, and a signal frame is never the outermost. */
	row->ra_undefined = row->reg[ra].rule == SUT_CFI_UNDEFINED &&
			    (s->undefined & sut_cfi_register_bit((uint64_t)ra, (uint64_t)ra)) && !row->signal_frame;
	return true;
}

/* ---- the cache ---- */

static size_t slot_of(const struct cached *slot, size_t n, uint64_t pc)
{
	size_t i = (size_t)((pc * 0x9e3779b97f4a7c15u) >> 20) & (n - 1);

	while (slot[i].used && slot[i].pc != pc)
		i = (i + 1) & (n - 1);
	return i;
}

static bool grow(struct sut_cfi *c)
{
	size_t n = c->n_slots * 2;
	struct cached *slot;

	if (c->n_used >= ROWS_MAX)
		return false;
	if (c->n_used * 2 < c->n_slots)
		return true;
	slot = calloc(n, sizeof(*slot));
	if (!slot)
		return false;
	for (size_t i = 0; i < c->n_slots; i++)
		if (c->slot[i].used)
			slot[slot_of(slot, n, c->slot[i].pc)] = c->slot[i];
	free(c->slot);
	c->slot = slot;
	c->n_slots = n;
	return true;
}

static struct sut_cfi_row *make_row(struct sut_cfi *c, uint64_t pc)
{
	for (size_t i = 0; i < c->src.n; i++) {
		struct sut_cfi_row *row;
		Dwarf_Frame *f = NULL;
		bool ok;

		if (dwarf_cfi_addrframe(c->src.v[i].cfi, pc, &f))
			continue;
		row = calloc(1, sizeof(*row) + c->n_regs * sizeof(row->reg[0]));
		if (row)
			row->n_regs = c->n_regs;
		ok = row && convert(c->e, &c->src.v[i], f, pc, row);
		free(f);
		if (ok)
			return row;
		free(row);
		return NULL; /* covered, but not understood: no other source is asked */
	}
	return NULL;
}

bool sut_cfi_row(struct sut_cfi *c, uint64_t pc, const struct sut_cfi_row **ret)
{
	size_t i = slot_of(c->slot, c->n_slots, pc);

	if (!c->slot[i].used) {
		if (!grow(c))
			return false;
		i = slot_of(c->slot, c->n_slots, pc);
		c->slot[i] = (struct cached){ pc, make_row(c, pc), true };
		c->n_used++;
	}
	if (!c->slot[i].row)
		return false;
	*ret = c->slot[i].row;
	return true;
}

/* ---- what can be asked for without allocating ---- */

/* The first known range that ends behind @pc. */
static size_t known_at(const struct sut_cfi *c, uint64_t pc)
{
	size_t lo = 0, hi = c->known.n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (c->known.v[mid].end <= pc)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

enum sut_cfi_known sut_cfi_row_known(const struct sut_cfi *c, uint64_t pc, const struct sut_cfi_row **ret)
{
	size_t i = known_at(c, pc);

	if (i == c->known.n || c->known.v[i].start > pc)
		return SUT_CFI_NOT_READ;
	*ret = c->known.v[i].row;
	return *ret ? SUT_CFI_KNOWN : SUT_CFI_KNOWN_NONE;
}

/* @k holds @pc, which was not known; what of it is known already stays as it is. */
static int know(struct sut_cfi *c, uint64_t pc, struct known k)
{
	size_t i = known_at(c, pc);

	if (i && k.start < c->known.v[i - 1].end)
		k.start = c->known.v[i - 1].end;
	if (i < c->known.n && k.end > c->known.v[i].start)
		k.end = c->known.v[i].start;
	if (sut_vec_push(&c->known, k))
		return -ENOMEM;
	memmove(c->known.v + i + 1, c->known.v + i, (c->known.n - 1 - i) * sizeof(k));
	c->known.v[i] = k;
	return 0;
}

int sut_cfi_read(struct sut_cfi *c, uint64_t pc)
{
	const struct sut_cfi_row *row = NULL;

	for (unsigned n = 0; n < READ_ROWS; n++) {
		struct known k = { pc, pc + 1, NULL };

		if (sut_cfi_row_known(c, pc, &row) != SUT_CFI_NOT_READ)
			return 0;
		if (sut_cfi_row(c, pc, &row))
			k = (struct known){ row->start, row->end, row };
		else if (n)
			return 0; /* behind the last function: nobody stands there */
		if (know(c, pc, k))
			return -ENOMEM;
		pc = k.end;
	}
	return 0;
}
