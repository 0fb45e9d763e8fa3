/* SPDX-License-Identifier: MIT */
/*
 * Description: arm64 relocation fields and relaxed TLS sequences are, byte for byte, what GNU ld writes for the same object at
 * the same addresses; taken back, the object's bytes are there again.
 *
 * Each case compiles one unit, links it with another into an executable, and then relocates its sections once more, by
 * the architecture's functions, with the addresses that the linker chose. All relocated sections must come out
 * equal to the linked file. GOT slots are the linker's too: the slot must hold the symbol's value. Where the
 * linker makes local exec of initial exec we fill slots: those are compared in a shared library, which
 * keeps them, as descriptors and general dynamic slots. The last case prints how often each type was
 * compared; one that never was is a failure.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

#include "a64.h"
#include "a64_units.h"
#include "ld.h"

static unsigned seen[1024]; /* how often a type was compared */

/* The slot of .got that holds @value; 0: none. */
static uint64_t got_slot(struct link *l, uint64_t value)
{
	size_t shstr;

	elf_getshdrstrndx(l->exe.elf, &shstr);
	for (Elf_Scn *s = NULL; (s = elf_nextscn(l->exe.elf, s));) {
		const uint8_t *bytes;
		GElf_Shdr sh;

		gelf_getshdr(s, &sh);
		if (strcmp(elf_strptr(l->exe.elf, shstr, sh.sh_name), ".got"))
			continue;
		bytes = elf_getdata(s, NULL)->d_buf;
		for (size_t at = 0; at + 8 <= sh.sh_size; at += 8)
			if (sut_le64(bytes + at) == value)
				return sh.sh_addr + at;
	}
	return 0;
}

/* A variable's offset from the thread pointer: two words of control block, then the segment. */
static uint64_t tpoff(struct link *l, uint64_t in_segment)
{
	return SUT_ALIGN_UP(16, l->tls_align ? l->tls_align : 1) + in_segment;
}

/* One place of a section's @bytes at @addr, of which the linker made @linked. */
struct spot {
	struct link *l;
	uint8_t *bytes;
	const uint8_t *linked;
	bool *left; /* places where the linker does something that we do not */
	size_t size;
	uint64_t addr;
};

static void leave_to_linker(const struct spot *p, const GElf_Rela *r)
{
	memcpy(p->bytes + r->r_offset, p->linked + r->r_offset, 4);
	p->left[r->r_offset] = true;
}

/* Relocates one place. Returns how many of the relocations that follow it has used up. */
static unsigned relocate_one(const struct spot *p, const GElf_Rela *r)
{
	const struct sut_reloc_howto *howto = arch->reloc_howto((uint32_t)GELF_R_TYPE(r->r_info));
	struct sut_reloc_values v = { .P = p->addr + r->r_offset, .A = r->r_addend, .GOT = p->l->got };
	uint8_t *place = p->bytes + r->r_offset;
	uint64_t sym_size;
	unsigned skip = 0;
	bool is_tls;

	if (!howto)
		fail_msg("type %lu is unknown", GELF_R_TYPE(r->r_info));
	v.S = symbol_value(p->l, (unsigned)GELF_R_SYM(r->r_info), &sym_size, &is_tls);
	switch (howto->kind) {
	case SUT_RELOC_GOT:
	case SUT_RELOC_GOT_OFF:
		if (!v.S) { /* weak, and nothing defines it: any slot of zeros */
			leave_to_linker(p, r);
			return 0;
		}
		v.S = got_slot(p->l, v.S);
		assert_true(v.S);
		break;
	case SUT_RELOC_PLT:
		if (!v.S) { /* a call of nothing: a no-op */
			leave_to_linker(p, r);
			return 0;
		}
		break;
	case SUT_RELOC_TLS_LE:
		v.S = tpoff(p->l, v.S);
		break;
	case SUT_RELOC_TLS_IE:
		leave_to_linker(p, r);
		return 0;
	case SUT_RELOC_TLS_GD:
	case SUT_RELOC_TLS_DESC:
	case SUT_RELOC_TLS_DESC_CALL:
		seen[howto->type]++;
		assert_int_equal(arch->tls_relax(howto, p->bytes, p->size, r->r_offset,
						 (int64_t)tpoff(p->l, v.S) + r->r_addend, &skip),
				 0);
		if (skip)
			seen[R_AARCH64_TLSGD_ADD_LO12_NC]++;
		return skip;
	default:
		break;
	}
	seen[howto->type]++;
	assert_true(sut_reloc_field_idle(howto, place));
	if (arch->relocate_field(howto, &v, place))
		fail_msg("%s of 0x%lx%+ld at 0x%lx", howto->name, v.S, v.A, v.P);
	return 0;
}

static bool is_relaxed(enum sut_reloc_kind kind)
{
	return kind == SUT_RELOC_TLS_IE || kind == SUT_RELOC_TLS_GD || kind == SUT_RELOC_TLS_DESC ||
	       kind == SUT_RELOC_TLS_DESC_CALL;
}

/* Every field cleared, the object's bytes must be back. */
static void compare_cleared(const struct spot *p, Elf_Scn *rela, size_t n, const uint8_t *object, const char *what)
{
	for (size_t i = 0; i < n; i++) {
		const struct sut_reloc_howto *h;
		GElf_Rela r;

		gelf_getrela(elf_getdata(rela, NULL), (int)i, &r);
		h = arch->reloc_howto((uint32_t)GELF_R_TYPE(r.r_info));
		if (is_relaxed(h->kind) || p->left[r.r_offset]) {
			i += h->tls_calls;
			continue;
		}
		sut_reloc_field_clear(h, p->bytes + r.r_offset);
		if (h->is_signed && h->mask == 0x1fffe0) /* movz or movn: not told by what is cleared */
			p->bytes[r.r_offset + 3] ^= (p->bytes[r.r_offset + 3] ^ object[r.r_offset + 3]) & 0x40;
		if (memcmp(p->bytes + r.r_offset, object + r.r_offset, h->size))
			fail_msg("%s: %s+0x%lx is not as it was", what, h->name, r.r_offset);
	}
}

static void compare_section(struct link *l, Elf_Scn *rela, const char *what)
{
	struct spot p = { .l = l };
	GElf_Shdr rsh, sh;
	const uint8_t *object;
	size_t shstr, n;

	gelf_getshdr(rela, &rsh);
	Elf_Scn *target = elf_getscn(l->obj.elf, rsh.sh_info);

	gelf_getshdr(target, &sh);
	if (!(sh.sh_flags & SHF_ALLOC))
		return;
	elf_getshdrstrndx(l->obj.elf, &shstr);
	p.addr = section_addr(l, (unsigned)rsh.sh_info);
	p.size = sh.sh_size;
	p.linked = linked_at(&l->exe, p.addr, sh.sh_size);
	assert_non_null(p.linked);
	object = elf_getdata(target, NULL)->d_buf;
	p.bytes = malloc(sh.sh_size);
	p.left = calloc(sh.sh_size, sizeof(bool));
	assert_true(p.bytes && p.left);
	memcpy(p.bytes, object, sh.sh_size);
	n = rsh.sh_size / rsh.sh_entsize;
	for (size_t i = 0; i < n; i++) {
		GElf_Rela r;

		gelf_getrela(elf_getdata(rela, NULL), (int)i, &r);
		i += relocate_one(&p, &r);
	}
	for (size_t i = 0; i < sh.sh_size; i++) {
		if (p.bytes[i] != p.linked[i])
			fail_msg("%s: %s+0x%zx: 0x%08x, ld wrote 0x%08x", what,
				 elf_strptr(l->obj.elf, shstr, sh.sh_name), i & ~3ul,
				 (unsigned)sut_le32(p.bytes + (i & ~3ul)), (unsigned)sut_le32(p.linked + (i & ~3ul)));
	}
	compare_cleared(&p, rela, n, object, what);
	free(p.bytes);
	free(p.left);
}

static void compare(const char *what)
{
	struct link l;

	link_open(&l, "unit.o", "exe", "map");
	for (Elf_Scn *s = NULL; (s = elf_nextscn(l.obj.elf, s));) {
		GElf_Shdr sh;

		gelf_getshdr(s, &sh);
		if (sh.sh_type == SHT_RELA)
			compare_section(&l, s, what);
	}
	link_close(&l);
}

static void compiled(const char *compiler, bool must_compile)
{
	unsigned n = 0;

	if (run("command -v %.*s >/dev/null", (int)strcspn(compiler, " "), compiler)) {
		print_message("no %s here\n", compiler);
		skip();
	}
	for (size_t i = 0; i < SUT_ARRAY_SIZE(flags); i++) {
		char what[256];

		snprintf(what, sizeof(what), "%s %s", compiler, flags[i]);
		if (run("cd %s && rm -f unit.o exe && %s %s " COMMON " -c unit.c -o unit.o 2>/dev/null", dir, compiler,
			flags[i]))
			continue; /* not an option of this compiler */
		if (run("cd %s && %s -static -z noexecstack -e 0 --defsym=_start=0 -Map=map -o exe $PWD/unit.o other.o "
			"2>log",
			dir, tool("ld")))
			fail_msg("%s does not link", what);
		compare(what);
		n++;
	}
	assert_true(n > SUT_ARRAY_SIZE(flags) / 2);
	assert_true(!must_compile || n >= SUT_ARRAY_SIZE(flags) - 1);
}

static void test_gcc(void **state)
{
	compiled(compilers[0], true);
}

static void test_clang(void **state)
{
	compiled(compilers[1], false);
}

static void test_assembler(void **state)
{
	put_file("unit_asm.s", unit_s);
	put_file("other_asm.s", other_s);
	assert_int_equal(run("cd %s && %s unit_asm.s -o unit.o && %s other_asm.s -o other_asm.o && "
			     "%s -static -z noexecstack -e 0 -Map=map -o exe $PWD/unit.o other_asm.o other.o",
			     dir, tool("as"), tool("as"), tool("ld")),
			 0);
	compare("assembler");
}

/* ---- a shared library keeps slots --------------------------------------------------------------- */

/* The slot that the dynamic linker fills for a thread-local symbol: where a dynamic relocation of @type lies. */
static uint64_t dynamic_slot(struct link *l, uint32_t type, const char *name, uint64_t offset)
{
	for (Elf_Scn *s = NULL; (s = elf_nextscn(l->exe.elf, s));) {
		GElf_Shdr sh, str;

		gelf_getshdr(s, &sh);
		if (sh.sh_type != SHT_RELA)
			continue;
		for (size_t i = 0; i < sh.sh_size / sh.sh_entsize; i++) {
			Elf_Scn *symtab = elf_getscn(l->exe.elf, sh.sh_link);
			const uint8_t *second;
			GElf_Sym sym;
			GElf_Rela r;

			gelf_getrela(elf_getdata(s, NULL), (int)i, &r);
			if (GELF_R_TYPE(r.r_info) != type)
				continue;
			if (GELF_R_SYM(r.r_info)) {
				gelf_getshdr(symtab, &str);
				gelf_getsym(elf_getdata(symtab, NULL), (int)GELF_R_SYM(r.r_info), &sym);
				if (!strcmp(elf_strptr(l->exe.elf, str.sh_link, sym.st_name), name))
					return r.r_offset;
				continue;
			}
			second = linked_at(&l->exe, r.r_offset + 8, 8); /* the module's own: offset in the block */
			if (type == R_AARCH64_TLS_DTPMOD ? second && sut_le64(second) == offset
							 : (uint64_t)r.r_addend == offset)
				return r.r_offset;
		}
	}
	return 0;
}

static uint32_t dynamic_type(enum sut_reloc_kind kind)
{
	switch (kind) {
	case SUT_RELOC_TLS_IE:
		return R_AARCH64_TLS_TPREL;
	case SUT_RELOC_TLS_GD:
		return R_AARCH64_TLS_DTPMOD;
	case SUT_RELOC_TLS_DESC:
		return R_AARCH64_TLSDESC;
	case SUT_RELOC_GOT:
		return R_AARCH64_GLOB_DAT;
	default:
		return 0;
	}
}

/* Fields of the unit's text that name slots, of one shared library. Returns how many were compared. */
static unsigned compare_slots(const char *what)
{
	unsigned compared = 0;
	struct link l;

	link_open(&l, "unit.o", "lib.so", "map");
	for (Elf_Scn *s = NULL; (s = elf_nextscn(l.obj.elf, s));) {
		GElf_Shdr sh, tsh;
		uint64_t addr;

		gelf_getshdr(s, &sh);
		gelf_getshdr(elf_getscn(l.obj.elf, sh.sh_info), &tsh);
		if (sh.sh_type != SHT_RELA || !(tsh.sh_flags & SHF_EXECINSTR))
			continue;
		addr = section_addr(&l, sh.sh_info);
		for (size_t i = 0; i < sh.sh_size / sh.sh_entsize; i++) {
			const struct sut_reloc_howto *h;
			struct sut_reloc_values v = { 0 };
			const uint8_t *linked;
			uint64_t size, offset;
			uint8_t word[4];
			const char *name;
			GElf_Sym sym;
			GElf_Rela r;
			bool tls;

			gelf_getrela(elf_getdata(s, NULL), (int)i, &r);
			h = arch->reloc_howto((uint32_t)GELF_R_TYPE(r.r_info));
			assert_non_null(h);
			if (!dynamic_type(h->kind))
				continue;
			offset = symbol_value(&l, (unsigned)GELF_R_SYM(r.r_info), &size, &tls);
			gelf_getsym(l.obj.sym, (int)GELF_R_SYM(r.r_info), &sym);
			name = elf_strptr(l.obj.elf, l.obj.strndx, sym.st_name);
			v.P = addr + r.r_offset;
			v.S = dynamic_slot(&l, dynamic_type(h->kind), name, offset + (uint64_t)r.r_addend);
			if (!v.S)
				fail_msg("%s: no slot of %s", what, name);
			linked = linked_at(&l.exe, v.P, 4);
			memcpy(word,
			       (const uint8_t *)elf_getdata(elf_getscn(l.obj.elf, sh.sh_info), NULL)->d_buf +
				       r.r_offset,
			       4);
			assert_int_equal(arch->relocate_field(h, &v, word), 0);
			if (memcmp(word, linked, 4))
				fail_msg("%s: %s of %s: 0x%08x, ld wrote 0x%08x", what, h->name, name,
					 (unsigned)sut_le32(word), (unsigned)sut_le32(linked));
			seen[h->type]++;
			compared++;
		}
	}
	link_close(&l);
	return compared;
}

static void test_slots(void **state)
{
	static const char *const slots[] = {
		"-O2 -fPIC",
		"-O2 -fPIC -mtls-dialect=trad",
		"-O2 -fPIC -ftls-model=initial-exec",
		"-O2 -fPIC -ftls-model=initial-exec -mcmodel=tiny",
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(slots); i++) {
		if (run("cd %s && %s %s " COMMON " -c unit.c -o unit.o && %s -fPIC -O2 -w -c other.c -o other_pic.o && "
			"%s -shared -z noexecstack -Map=map -o lib.so $PWD/unit.o other_pic.o 2>log",
			dir, compilers[0], slots[i], compilers[0], tool("ld")))
			fail_msg("%s does not link", slots[i]);
		assert_true(compare_slots(slots[i]) > 10);
	}
}

/* All types that the two compilers emit, and all others that the table knows, were met above. */
static void test_all_types_were_compared(void **state)
{
	unsigned missing = 0;

	for (uint32_t i = 0; i < SUT_ARRAY_SIZE(seen); i++) {
		const struct sut_reloc_howto *h = arch->reloc_howto(i);

		if (!h)
			continue;
		print_message("%4u  %-36s %6u\n", i, h->name, seen[i]);
		missing += !seen[i];
	}
	if (missing)
		fail_msg("%u types were never compared", missing);
}

static int setup(void **state)
{
	elf_version(EV_CURRENT);
	if (!dir_make())
		return -1;
	put_file("unit.c", unit_c);
	put_file("other.c", other_c);
	return run("cd %s && %s -O2 -fno-pic -DTLS_GET_ADDR -w -c other.c -o other.o", dir, compilers[0]);
}

static int teardown(void **state)
{
	return dir_remove();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gcc),
		cmocka_unit_test(test_clang),
		cmocka_unit_test(test_assembler),
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_all_types_were_compared),
	};

	if (!have_tool("gcc") || !have_tool("ld")) {
		puts("skipped: needs aarch64-linux-gnu-gcc and -ld (gcc-aarch64-linux-gnu)");
		return 77;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
