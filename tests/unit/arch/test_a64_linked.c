/* SPDX-License-Identifier: MIT */
/*
 * Description: what GNU ld, gold and lld make of relocated arm64 instructions is read back to the symbols' values: as they
 * stand, relaxed, and through PLT entries and veneers; other bytes are refused.
 *
 * Each case links one unit into an executable or a library. Every relocation of its text is read back by
 * the architecture's functions: the value, or the part of it that the place tells, must be the symbol's, and all bytes
 * that belong to no relocation must be the object's. The last case prints which rewritten forms were met.
 */
#include <stdarg.h>
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

#include "a64.h"
#include "a64_units.h"
#include "ld.h"

struct linked_file {
	struct file obj, bin;
	uint64_t got; /* _GLOBAL_OFFSET_TABLE_ */
	uint64_t tls_align;
	const char *what;
};

/* Where section @shndx of the unit lies: by a symbol of it that both files have. */
static bool section_base(struct linked_file *l, unsigned shndx, uint64_t *ret)
{
	for (size_t i = 0; i < l->obj.n_sym; i++) {
		const char *name;
		GElf_Sym a, b;

		gelf_getsym(l->obj.sym, (int)i, &a);
		name = elf_strptr(l->obj.elf, l->obj.strndx, a.st_name);
		if (a.st_shndx != shndx || GELF_ST_TYPE(a.st_info) == STT_SECTION || !*name || *name == '$' ||
		    *name == '.')
			continue;
		for (size_t k = 0; k < l->bin.n_sym; k++) {
			gelf_getsym(l->bin.sym, (int)k, &b);
			if (b.st_shndx && GELF_ST_TYPE(a.st_info) == GELF_ST_TYPE(b.st_info) &&
			    !strcmp(elf_strptr(l->bin.elf, l->bin.strndx, b.st_name), name)) {
				*ret = b.st_value - a.st_value;
				return true;
			}
		}
	}
	return false;
}

/* The value of symbol @n, in a TLS segment the offset; false: not known here (a nameless constant). */
static bool value_of(struct linked_file *l, unsigned n, uint64_t *ret, const char **ret_name)
{
	GElf_Sym s, out;

	gelf_getsym(l->obj.sym, (int)n, &s);
	*ret_name = elf_strptr(l->obj.elf, l->obj.strndx, s.st_name);
	if (!strcmp(*ret_name, "_GLOBAL_OFFSET_TABLE_")) {
		*ret = l->got;
		return l->got;
	}
	if (!strcmp(*ret_name, "_TLS_MODULE_BASE_")) {
		*ret = 0;
		return true;
	}
	if (s.st_shndx != SHN_UNDEF && s.st_shndx < SHN_LORESERVE && GELF_ST_BIND(s.st_info) == STB_LOCAL) {
		if (!section_base(l, s.st_shndx, ret))
			return false;
		*ret += s.st_value;
		return true;
	}
	*ret = global_by_name(&l->bin, *ret_name, &out) && out.st_shndx ? out.st_value : 0;
	return true;
}

/* A dynamic relocation at @slot: its type and symbol (NULL: none) and addend. */
static bool dynamic_at(struct linked_file *l, uint64_t slot, uint32_t *type, const char **name, uint64_t *addend)
{
	for (Elf_Scn *s = NULL; (s = elf_nextscn(l->bin.elf, s));) {
		GElf_Shdr sh, dyn;

		gelf_getshdr(s, &sh);
		for (size_t i = 0; sh.sh_type == SHT_RELA && i < sh.sh_size / sh.sh_entsize; i++) {
			Elf_Scn *symtab = elf_getscn(l->bin.elf, sh.sh_link);
			GElf_Rela r;
			GElf_Sym sym;

			gelf_getrela(elf_getdata(s, NULL), (int)i, &r);
			if (r.r_offset != slot)
				continue;
			*type = (uint32_t)GELF_R_TYPE(r.r_info);
			*addend = (uint64_t)r.r_addend;
			*name = NULL;
			if (GELF_R_SYM(r.r_info)) {
				gelf_getshdr(symtab, &dyn);
				gelf_getsym(elf_getdata(symtab, NULL), (int)GELF_R_SYM(r.r_info), &sym);
				if (GELF_ST_TYPE(sym.st_info) != STT_SECTION) /* gold's way to say none */
					*name = elf_strptr(l->bin.elf, dyn.sh_link, sym.st_name);
			}
			return true;
		}
	}
	return false;
}

/* Whether the slot holds @want for the kind: by the dynamic linker's instructions, or by its bytes. */
static bool slot_holds(struct linked_file *l, uint64_t slot, enum sut_reloc_kind kind, uint64_t want, const char *name)
{
	const uint8_t *held;
	const char *sym;
	uint64_t addend;
	uint32_t type;

	if (dynamic_at(l, slot, &type, &sym, &addend)) {
		if (kind == SUT_RELOC_TLS_IE && type != R_AARCH64_TLS_TPREL)
			return false;
		if (kind == SUT_RELOC_TLS_DESC && type != R_AARCH64_TLSDESC)
			return false;
		if (kind == SUT_RELOC_TLS_GD && type != R_AARCH64_TLS_DTPMOD)
			return false;
		if (sym)
			return !strcmp(sym, name);
		if (kind != SUT_RELOC_TLS_GD)
			return addend == want;
		slot += 8;
		if (dynamic_at(l, slot, &type, &sym, &addend)) /* gold asks for the offset too, GNU ld fills it in */
			return addend == want;
	}
	held = linked_at(&l->bin, slot, 8);
	return held && sut_le64(held) == (kind == SUT_RELOC_TLS_IE ? want + SUT_ALIGN_UP(16, l->tls_align) : want);
}

/* Some slot that fits the part that is told. */
static bool some_slot(struct linked_file *l, const struct sut_linked *got, uint64_t want, const char *name)
{
	for (Elf_Scn *s = NULL; (s = elf_nextscn(l->bin.elf, s));) {
		GElf_Shdr sh;

		gelf_getshdr(s, &sh);
		if (!(sh.sh_flags & SHF_ALLOC) || !(sh.sh_flags & SHF_WRITE))
			continue;
		for (uint64_t at = SUT_ALIGN_UP(sh.sh_addr, 8); at + 8 <= sh.sh_addr + sh.sh_size; at += 8) {
			uint64_t v = got->kind == SUT_RELOC_GOT_OFF ? at - (l->got & ~0xfffull) : at;

			if ((got->mask ? (v & got->mask) : v) == got->value &&
			    slot_holds(l, at, got->kind == SUT_RELOC_GOT_OFF ? SUT_RELOC_GOT : got->kind, want, name))
				return true;
		}
	}
	return false;
}

static unsigned stubs_met, forms[8];
enum { ADR_FOR_ADRP, GOT_DIRECT, IE_TO_LE, DESC_TO_LE, DESC_TO_IE, GD_TO_LE, GD_TO_IE, NO_CALL };
static const char *const form_name[8] = { "adr for adrp and add",    "address for a GOT load",
					  "initial to local exec",   "descriptor to local",
					  "descriptor to initial",   "general dynamic to local",
					  "general dyn. to initial", "no-op for a call" };

static void count_form(const struct sut_reloc_howto *h, const struct sut_linked *got, const uint8_t *bin)
{
	uint32_t w = (uint32_t)sut_le32(bin);

	if (h->type == R_AARCH64_ADD_ABS_LO12_NC && got->kind == SUT_RELOC_PCREL)
		forms[ADR_FOR_ADRP]++;
	if (h->kind == SUT_RELOC_GOT && (got->kind == SUT_RELOC_ABS || got->kind == SUT_RELOC_PCREL))
		forms[GOT_DIRECT]++;
	if (h->kind == SUT_RELOC_TLS_IE && got->kind == SUT_RELOC_TLS_LE)
		forms[IE_TO_LE]++;
	if (h->kind == SUT_RELOC_TLS_DESC && got->kind == SUT_RELOC_TLS_LE)
		forms[DESC_TO_LE]++;
	if (h->kind == SUT_RELOC_TLS_DESC && got->kind == SUT_RELOC_TLS_IE)
		forms[DESC_TO_IE]++;
	if (h->kind == SUT_RELOC_TLS_GD && got->kind == SUT_RELOC_TLS_LE)
		forms[GD_TO_LE]++;
	if (h->kind == SUT_RELOC_TLS_GD && got->kind == SUT_RELOC_TLS_IE)
		forms[GD_TO_IE]++;
	if (h->kind == SUT_RELOC_PLT && w == 0xd503201f)
		forms[NO_CALL]++;
}

/* Where a branch goes in the end: through stubs to a function or a slot's symbol. */
static bool branch_leads(struct linked_file *l, uint64_t to, uint64_t want, const char *name)
{
	const char *sym;
	uint64_t addend;
	uint32_t type;

	for (unsigned i = 0; i < 3 && to != want; i++) {
		struct sut_stub stub;
		const uint8_t *code = NULL;
		size_t n;

		for (n = 32; n && !code; n -= 4)
			code = linked_at(&l->bin, to, n);
		if (!code || !arch->stub_decode(code, n + 4, to, &stub))
			return false;
		stubs_met++;
		if (stub.slot)
			return dynamic_at(l, stub.target, &type, &sym, &addend) && sym && !strcmp(sym, name);
		to = stub.target;
	}
	return to == want;
}

static void check_value(struct linked_file *l, const struct sut_reloc_howto *h, const struct sut_linked *got,
			const GElf_Rela *r, uint64_t pc)
{
	const char *name;
	uint64_t want, sum;
	bool ok = true;

	if (got->kind == SUT_RELOC_NONE || !value_of(l, (unsigned)GELF_R_SYM(r->r_info), &want, &name))
		return;
	sum = want + (uint64_t)r->r_addend;
	switch (got->kind) {
	case SUT_RELOC_TLS_LE:
		sum += SUT_ALIGN_UP(16, l->tls_align);
		want += SUT_ALIGN_UP(16, l->tls_align);
		ok = got->mask ? (sum & got->mask) == got->value : want == got->value;
		break;
	case SUT_RELOC_PLT:
		/* A call of nothing goes on to the next instruction (lld), or is a no-op. */
		ok = branch_leads(l, got->value, want, name) || (!want && got->value == pc + r->r_offset + 4);
		break;
	case SUT_RELOC_GOT:
	case SUT_RELOC_GOT_OFF:
	case SUT_RELOC_TLS_IE:
	case SUT_RELOC_TLS_GD:
	case SUT_RELOC_TLS_DESC:
		ok = some_slot(l, got, sum, name);
		break;
	default:
		ok = got->mask ? (sum & got->mask) == got->value : want == got->value;
		break;
	}
	if (!ok)
		fail_msg("%s: %s+0x%lx: %s of %s+%ld: kind %d, 0x%lx under 0x%lx, wanted 0x%lx", l->what, "text",
			 r->r_offset, h->name, name, r->r_addend, got->kind, got->value, got->mask, want);
}

/* Whether all of one section is read back. */
static void check_section(struct linked_file *l, Elf_Scn *rela, unsigned *n_read)
{
	GElf_Shdr rsh, sh;
	const uint8_t *obj, *bin;
	uint64_t base;
	size_t pos = 0;

	gelf_getshdr(rela, &rsh);
	Elf_Scn *target = elf_getscn(l->obj.elf, rsh.sh_info);

	gelf_getshdr(target, &sh);
	if (!(sh.sh_flags & SHF_EXECINSTR) || !section_base(l, rsh.sh_info, &base))
		return;
	obj = elf_getdata(target, NULL)->d_buf;
	bin = linked_at(&l->bin, base, sh.sh_size);
	assert_non_null(bin);
	for (size_t i = 0; i < rsh.sh_size / rsh.sh_entsize; i++) {
		const struct sut_reloc_howto *h;
		struct sut_linked got;
		GElf_Rela r;
		int err;

		gelf_getrela(elf_getdata(rela, NULL), (int)i, &r);
		h = arch->reloc_howto((uint32_t)GELF_R_TYPE(r.r_info));
		assert_non_null(h);
		err = arch->linked_field(h, obj, bin, sh.sh_size, r.r_offset, r.r_addend, base, &got);
		if (err)
			fail_msg("%s: 0x%lx: %s: %d: 0x%08x became 0x%08x", l->what, r.r_offset, h->name, err,
				 (unsigned)sut_le32(obj + r.r_offset), (unsigned)sut_le32(bin + r.r_offset));
		check_value(l, h, &got, &r, base);
		count_form(h, &got, bin + r.r_offset);
		if (got.start > pos && memcmp(obj + pos, bin + pos, got.start - pos))
			fail_msg("%s: bytes before 0x%zx are other ones", l->what, got.start);
		pos = got.end > pos ? got.end : pos;
		i += got.skip;
		++*n_read;
	}
	assert_memory_equal(obj + pos, bin + pos, sh.sh_size - pos);
}

static unsigned check(const char *what, const char *obj, const char *bin)
{
	struct linked_file l = { .what = what, .tls_align = 1 };
	unsigned n_read = 0;
	GElf_Phdr ph;
	GElf_Sym sym;

	file_open(&l.obj, obj);
	file_open(&l.bin, bin);
	for (size_t i = 0; gelf_getphdr(l.bin.elf, (int)i, &ph); i++)
		if (ph.p_type == PT_TLS)
			l.tls_align = ph.p_align;
	for (size_t i = 0; i < l.bin.n_sym; i++) {
		gelf_getsym(l.bin.sym, (int)i, &sym);
		if (!strcmp(elf_strptr(l.bin.elf, l.bin.strndx, sym.st_name), "_GLOBAL_OFFSET_TABLE_"))
			l.got = sym.st_value;
	}
	for (Elf_Scn *s = NULL; (s = elf_nextscn(l.obj.elf, s));) {
		GElf_Shdr sh;

		gelf_getshdr(s, &sh);
		if (sh.sh_type == SHT_RELA)
			check_section(&l, s, &n_read);
	}
	file_close(&l.obj);
	file_close(&l.bin);
	return n_read;
}

/* The units that could be compiled: compiler and options, as one number. */
static unsigned units[SUT_ARRAY_SIZE(compilers) * SUT_ARRAY_SIZE(flags)], n_units;

static void compile_units(void)
{
	for (unsigned u = 0; u < SUT_ARRAY_SIZE(units); u++)
		if (strstr(flags[u % SUT_ARRAY_SIZE(flags)], "-O2") && /* other levels have no other relocations */
		    !run("cd %s && %s %s " COMMON " -c unit.c -o unit%u.o 2>/dev/null", dir,
			 compilers[u / SUT_ARRAY_SIZE(flags)], flags[u % SUT_ARRAY_SIZE(flags)], u))
			units[n_units++] = u;
}

static void with_linker(const char *ld)
{
	/* How to link, and whether only position-independent code can be. A library has all from elsewhere. */
	static const struct {
		const char *options, *others;
		bool pic;
	} modes[] = {
		{ "-static", "other.o", false },
		{ "-pie --no-dynamic-linker", "other_pic.o", true },
		{ "-pie", "libother.so", true },
		{ "-shared", "other_pic.o", true },
	};
	unsigned n = 0;

	if (run("command -v %s >/dev/null", ld)) {
		print_message("no %s here\n", ld);
		skip();
	}
	assert_int_equal(run("cd %s && %s -shared -z noexecstack -o libother.so other_pic.o 2>log", dir, ld), 0);
	for (size_t u = 0; u < n_units; u++)
		for (size_t m = 0; m < SUT_ARRAY_SIZE(modes); m++) {
			const char *options = flags[units[u] % SUT_ARRAY_SIZE(flags)];
			char what[256], obj[32];

			if (modes[m].pic && !strstr(options, "-fPIC") && !strstr(options, "-fpi"))
				continue;
			snprintf(obj, sizeof(obj), "unit%u.o", units[u]);
			if (run("cd %s && rm -f bin && %s %s -z noexecstack -e 0 --defsym=_start=0 -o bin %s %s 2>log",
				dir, ld, modes[m].options, obj, modes[m].others))
				continue; /* local exec in a library, the tiny model far away */
			snprintf(what, sizeof(what), "%s %s: %s %s", compilers[units[u] / SUT_ARRAY_SIZE(flags)],
				 options, ld, modes[m].options);
			assert_true(check(what, obj, "bin") > 20);
			n++;
		}
	print_message("%u files of %s\n", n, ld);
	assert_true(n > 25);
}

static void test_gnu_ld(void **state)
{
	with_linker("aarch64-linux-gnu-ld.bfd");
}

static void test_gold(void **state)
{
	with_linker("aarch64-linux-gnu-ld.gold");
}

static void test_lld(void **state)
{
	with_linker("ld.lld");
}

/* ---- forms by hand ------------------------------------------------------------------------------ */

static int read_back(uint32_t type, const uint32_t *obj, const uint32_t *bin, unsigned n, unsigned at,
		     struct sut_linked *ret)
{
	uint8_t o[32], b[32];

	for (unsigned i = 0; i < n; i++) {
		put_word(o + 4 * i, obj[i]);
		put_word(b + 4 * i, bin[i]);
	}
	return arch->linked_field(arch->reloc_howto(type), o, b, 4 * n, 4 * at, 0, 0x400000, ret);
}

/* What a newer lld does, and GNU ld against erratum 843419. */
static void test_other_forms(void **state)
{
	static const uint32_t got[] = { 0x90000003, 0xf9400063 }; /* adrp x3; ldr x3,[x3] */
	static const uint32_t address[] = { 0x90000003, 0x91000063 }; /* adrp x3; add x3,x3,#0 */
	static const uint32_t adr[] = { 0xd503201f, 0x10000083 }; /* nop; adr x3,. + 16 */
	static const uint32_t pages[] = { 0xb0000003, 0x91048c63 }; /* adrp x3,1 page up; add x3,x3,#0x123 */
	static const uint32_t erratum[] = { 0x10007003, 0x91048c63 }; /* adr x3,0x400e00: not a page */
	static const uint32_t erratum_page[] = { 0x10008003, 0x91048c63 }; /* adr x3,0x401000 */
	static const uint32_t lone[] = { 0xb0000003, 0x10000083 }; /* adrp x3; adr x3: of what? */
	static const uint32_t wrong[] = { 0xb0000004, 0x91048c64 }; /* another register */
	struct sut_linked l;

	assert_int_equal(read_back(R_AARCH64_ADR_GOT_PAGE, got, adr, 2, 0, &l), 0);
	assert_int_equal(l.kind, SUT_RELOC_NONE);
	assert_int_equal(read_back(R_AARCH64_LD64_GOT_LO12_NC, got, adr, 2, 1, &l), 0);
	assert_true(l.kind == SUT_RELOC_PCREL && !l.mask && l.value == 0x400014);
	assert_int_equal(read_back(R_AARCH64_ADR_GOT_PAGE, got, pages, 2, 0, &l), 0);
	assert_true(l.kind == SUT_RELOC_PCREL && l.mask == ~0xfffull && l.value == 0x401000);
	assert_int_equal(read_back(R_AARCH64_LD64_GOT_LO12_NC, got, pages, 2, 1, &l), 0);
	assert_true(l.kind == SUT_RELOC_ABS && l.mask == 0xfff && l.value == 0x123);
	assert_int_equal(read_back(R_AARCH64_ADR_PREL_PG_HI21, address, adr, 2, 0, &l), 0);
	assert_int_equal(l.kind, SUT_RELOC_NONE);
	assert_int_equal(read_back(R_AARCH64_ADD_ABS_LO12_NC, address, adr, 2, 1, &l), 0);
	assert_true(l.kind == SUT_RELOC_PCREL && !l.mask && l.value == 0x400014);
	assert_int_equal(read_back(R_AARCH64_ADR_PREL_PG_HI21, address, erratum_page, 2, 0, &l), 0);
	assert_true(l.kind == SUT_RELOC_PCREL && l.mask == ~0xfffull && l.value == 0x401000);
	assert_int_equal(read_back(R_AARCH64_ADR_PREL_PG_HI21, address, erratum, 2, 0, &l), -EILSEQ);
	assert_int_equal(read_back(R_AARCH64_ADR_PREL_PG_HI21, address, wrong, 2, 0, &l), -EILSEQ);
	assert_int_equal(read_back(R_AARCH64_ADD_ABS_LO12_NC, address, wrong, 2, 1, &l), -EILSEQ);
	assert_int_equal(read_back(R_AARCH64_ADD_ABS_LO12_NC, address, lone, 2, 1, &l), -EILSEQ);
	assert_int_equal(read_back(R_AARCH64_LD64_GOT_LO12_NC, got, lone, 2, 1, &l), -EILSEQ);
	assert_int_equal(read_back(R_AARCH64_ADR_GOT_PAGE, got, wrong, 2, 0, &l), -EILSEQ);
	assert_int_equal(read_back(R_AARCH64_LD64_GOT_LO12_NC, got, wrong, 2, 1, &l), -EILSEQ);
}

/* Any bit outside of the field, of any type: not what a linker makes of it. */
static void test_other_bits(void **state)
{
	for (uint32_t type = 257; type < 560; type++) {
		const struct sut_reloc_howto *h = arch->reloc_howto(type);
		struct sut_linked l;
		uint32_t word = 0x8b0100a3; /* add x3,x5,x1: relaxed by nobody */

		if (!h || !h->mask || h->kind == SUT_RELOC_TLS_DESC)
			continue;
		word &= ~(uint32_t)h->mask;
		for (unsigned bit = 0; bit < 32; bit++) {
			uint32_t bin = word ^ 1u << bit;
			int want = h->mask >> bit & 1 ? 0 : -EILSEQ;

			if (h->is_signed &&
			    h->mask == 0x1fffe0) /* movz or movn, and a distance in pieces: not read back */
				continue;
			if (h->mask == 0x1fffe0 && h->pcrel)
				continue;
			if (read_back(type, &word, &bin, 1, 0, &l) != want)
				fail_msg("%s: bit %u", h->name, bit);
		}
	}
}

static void test_stubs(void **state)
{
	static const struct {
		const char *text;
		uint32_t code[8];
		unsigned n;
		bool is, slot;
		uint64_t target, size;
	} cases[] = {
		{ "PLT entry", { 0xb0000010, 0xf9401211, 0x91008210, 0xd61f0220 }, 4, true, true, 0x401020, 16 },
		{ "with bti",
		  { 0xd503245f, 0xb0000010, 0xf9401211, 0x91008210, 0xd61f0220 },
		  5,
		  true,
		  true,
		  0x401020,
		  20 },
		{ "with authentication",
		  { 0xb0000010, 0xf9401211, 0x91008210, 0xd503219f, 0xd61f0220 },
		  5,
		  true,
		  true,
		  0x401020,
		  20 },
		{ "halves differ", { 0xb0000010, 0xf9401211, 0x91009210, 0xd61f0220 }, 4, false, false, 0, 0 },
		{ "veneer", { 0xb0000010, 0x91008210, 0xd61f0200 }, 3, true, false, 0x401020, 12 },
		{ "bti; b", { 0xd503245f, 0x14000010 }, 2, true, false, 0x400044, 8 },
		{ "absolute", { 0x58000050, 0xd61f0200, 0x12345678, 0xffff }, 4, true, false, 0xffff12345678, 16 },
		{ "relative",
		  { 0x58000090, 0x10000011, 0x8b110210, 0xd61f0200, 0xfff, 1 },
		  6,
		  true,
		  false,
		  0x100401003,
		  24 },
		{ "code", { 0xa9bf7bfd, 0x910003fd }, 2, false, false, 0, 0 },
		{ "b", { 0x14000010 }, 1, false, false, 0, 0 },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		struct sut_stub stub = { 0 };
		uint8_t code[32];

		for (unsigned k = 0; k < cases[i].n; k++)
			put_word(code + 4 * k, cases[i].code[k]);
		for (unsigned len = 0; len < 4 * cases[i].n; len++)
			assert_false(arch->stub_decode(code, len, 0x400000, &stub));
		if (arch->stub_decode(code, 4 * cases[i].n, 0x400000, &stub) != cases[i].is ||
		    stub.slot != cases[i].slot || stub.target != cases[i].target || stub.size != cases[i].size)
			fail_msg("%s: 0x%lx, %zu bytes", cases[i].text, stub.target, stub.size);
	}
}

static void test_same_branch(void **state)
{
	static const struct {
		uint32_t a, b;
		bool same;
	} cases[] = {
		{ 0x14000001, 0x17ffffff, true }, /* b, b */
		{ 0x94000001, 0x94000002, false }, /* bl: no jump */
		{ 0x54000021, 0x54ffffe1, true }, /* b.ne, b.ne */
		{ 0x54000021, 0x54000020, false }, /* b.ne, b.eq */
		{ 0xb4000025, 0xb4000045, true }, /* cbz x5 */
		{ 0xb4000025, 0x34000025, false }, /* cbz x5, cbz w5 */
		{ 0x36080025, 0x36080045, true }, /* tbz w5,#1 */
		{ 0x36080025, 0x36100025, false }, /* tbz w5,#1, #2 */
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		uint8_t a[4], b[4];

		put_word(a, cases[i].a);
		put_word(b, cases[i].b);
		assert_int_equal(arch->same_branch(a, 4, b, 4), cases[i].same);
	}
}

static void test_all_forms_were_met(void **state)
{
	unsigned missing = 0;

	for (unsigned i = 0; i < 8; i++) {
		print_message("%-26s %6u\n", form_name[i], forms[i]);
		missing += !forms[i] && i != GOT_DIRECT; /* that is newer linkers': test_other_forms() */
	}
	print_message("%-26s %6u\n", "PLT entries and veneers", stubs_met);
	assert_true(stubs_met > 50);
	if (missing)
		fail_msg("%u forms were not met", missing);
}

static int setup(void **state)
{
	elf_version(EV_CURRENT);
	if (!dir_make())
		return -1;
	put_file("unit.c", unit_c);
	put_file("other.c", other_c);
	compile_units();
	return run("cd %s && %s -O2 -fno-pic -DTLS_GET_ADDR -w -c other.c -o other.o && "
		   "%s -O2 -fPIC -w -c other.c -DTLS_GET_ADDR -o other_pic.o",
		   dir, compilers[0], compilers[0]);
}

static int teardown(void **state)
{
	return dir_remove();
}

int main(void)
{
	const struct CMUnitTest by_hand[] = {
		cmocka_unit_test(test_other_forms),
		cmocka_unit_test(test_other_bits),
		cmocka_unit_test(test_stubs),
		cmocka_unit_test(test_same_branch),
	};
	const struct CMUnitTest linked[] = {
		cmocka_unit_test(test_gnu_ld),
		cmocka_unit_test(test_gold),
		cmocka_unit_test(test_lld),
		cmocka_unit_test(test_all_forms_were_met),
	};
	int err = cmocka_run_group_tests(by_hand, NULL, NULL);

	if (!have_tool("gcc") || !have_tool("ld")) {
		puts("skipped: needs aarch64-linux-gnu-gcc and -ld (gcc-aarch64-linux-gnu)");
		return err ? err : 77;
	}
	return cmocka_run_group_tests(linked, setup, teardown) || err;
}
