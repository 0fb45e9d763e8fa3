/* SPDX-License-Identifier: MIT */
/*
 * "The same content": what may differ (build-id, order of .dynsym, section headers), what may differ a little
 * (bytes of a few functions, which are listed) and what may not (layout, relocations, too much).
 */
#include "fixture.h"

static struct sut_same_report compare(const char *x, const char *y)
{
	struct sut_elf *a = fx_open(x), *b = fx_open(y);
	struct sut_same_report there, back;

	assert_int_equal(sut_elf_same_content(a, b, &there), 0);
	assert_int_equal(sut_elf_same_content(b, a, &back), 0);
	/* Who is compared with whom does not matter. */
	assert_int_equal(there.verdict, back.verdict);
	assert_int_equal(there.differs.n, back.differs.n);
	sut_same_report_free(&back);
	sut_elf_close(a);
	sut_elf_close(b);
	return there;
}

static void is_same(const char *x, const char *y)
{
	struct sut_same_report r = compare(x, y);

	if (r.verdict != SUT_SAME)
		fail_msg("%s and %s: %s", x, y, r.why);
	assert_string_equal(r.why, "");
	assert_int_equal(r.differs.n, 0);
	sut_same_report_free(&r);
}

static void is_different(const char *x, const char *y, const char *why)
{
	struct sut_same_report r = compare(x, y);

	assert_int_equal(r.verdict, SUT_DIFFERENT);
	assert_contains(r.why, why);
	sut_same_report_free(&r);
}

static void test_same(void **state)
{
	struct sut_elf *a = fx_open("base"), *b = fx_open("other-id");

	assert_memory_not_equal(a->build_id, b->build_id, a->build_id_len);
	sut_elf_close(a);
	sut_elf_close(b);
	is_same("base", "base");
	is_same("base", "base.stripped");
	is_same("base.stripped", "other-id");
}

/* Another hash table sorts .dynsym otherwise; the relocations then name other numbers of the same symbols. */
static void test_dynsym_order(void **state)
{
	struct sut_elf *a = fx_open("base.so"), *b = fx_open("sysv.so");
	size_t n = sut_elf_dynsym_count(a), moved = 0;
	struct sut_dynsym x, y;

	assert_int_equal(n, sut_elf_dynsym_count(b));
	for (size_t i = 1; i < n; i++)
		if (sut_elf_dynsym_get(a, i, &x) && sut_elf_dynsym_get(b, i, &y))
			moved += strcmp(x.name, y.name) != 0;
	assert_int_not_equal(moved, 0);
	sut_elf_close(a);
	sut_elf_close(b);
	is_same("base.so", "sysv.so");
}

static void test_no_section_headers(void **state)
{
	size_t len;
	uint8_t *p = fx_read(fx_path("base.stripped"), &len);
	Elf64_Ehdr eh;

	memcpy(&eh, p, sizeof(eh));
	len = eh.e_shoff;
	eh.e_shoff = 0;
	eh.e_shnum = eh.e_shstrndx = 0;
	memcpy(p, &eh, sizeof(eh));
	fx_write("base.bare", p, len);
	free(p);
	is_same("base.bare", "other-id");
	is_different("base.bare", "other-code", "");
	is_different("base.bare", "base.bare", "neither file has section headers");
}

static void test_nobits(void **state)
{
	is_different("base.stripped", "base.debug", "holds no bytes (NOBITS)");
}

static void test_layout(void **state)
{
	is_different("base", "other-code", " bytes in one and ");
	is_different("base", "other-bss", "section .bss has");
	is_different("base", "base.so", "");
	is_different("base", "object.o", "different types");
}

/* Equal code and data, another import: the address of getgid is not that of getuid. */
static void test_relocation_symbol(void **state)
{
	is_different("base", "other-import", "the relocation at 0x");
}

static void test_one_function(void **state)
{
	struct sut_same_report r = compare("base", "other-constant");
	struct sut_elf *e = fx_open("base");
	const struct sut_section *text = sut_elf_section(e, ".text");

	if (r.verdict != SUT_SAME_BUT_FUNCS)
		fail_msg("verdict %d: %s", r.verdict, r.why);
	assert_contains(r.why, ".text differs at 0x");
	assert_int_equal(r.differs.n, 1);
	assert_true(r.differs.v[0].end - r.differs.v[0].start <= 4);
	assert_true(sut_in(text->addr, text->addr + text->size, r.differs.v[0].start));
	sut_same_report_free(&r);
	sut_elf_close(e);
}

/* Half of the code is other code, by chance of the same size: that is no version number. */
static void test_too_much(void **state)
{
	size_t len;
	uint8_t *p = fx_read(fx_path("base"), &len);
	struct sut_elf *e = fx_open("base");
	const struct sut_section *text = sut_elf_section(e, ".text");

	memset(p + text->offset + text->size / 4, 0xcc, text->size / 2);
	fx_write("scratched", p, len);
	free(p);
	sut_elf_close(e);
	is_different("base", "scratched", ".text differs at 0x");
}

/* A section table that does not mention some code does not hide it. */
static void test_hidden_code(void **state)
{
	size_t len;
	uint8_t *p = fx_read(fx_path("gap"), &len);
	struct sut_elf *e = fx_open("gap");
	const struct sut_section *text = sut_elf_section(e, ".text");
	struct sut_same_report r;
	uint64_t end = text->addr + text->size;

	/* Code between the end of .text and that of its segment. */
	assert_int_equal(p[text->offset + text->size + 4], 0x90);
	p[text->offset + text->size + 4] = 0xc3;
	fx_write("gap.changed", p, len);
	free(p);
	r = compare("gap", "gap.changed");
	assert_int_not_equal(r.verdict, SUT_SAME);
	assert_int_equal(r.differs.n, 1);
	assert_int_equal(r.differs.v[0].start, end + 4);
	sut_same_report_free(&r);
	sut_elf_close(e);
}

/* Two sections of code, of which the second loses its header's mark of being loaded. */
static void make_gap(void)
{
	size_t len;
	uint8_t *p;
	struct sut_elf *e;
	Elf64_Shdr sh;
	Elf64_Ehdr eh;

	fx_text("gap.s", ".globl _start\n.text\n_start: ret\n.section .more, \"ax\"\n.rept 4096\nnop\n.endr\n");
	fx_run("cc -c gap.s && ld -shared -o gap gap.o");
	e = fx_open("gap");
	p = fx_read(fx_path("gap"), &len);
	memcpy(&eh, p, sizeof(eh));
	for (size_t i = 1; i < e->sec.n; i++) {
		uint8_t *at = p + eh.e_shoff + i * sizeof(sh);

		if (strcmp(e->sec.v[i].name, ".more"))
			continue;
		memcpy(&sh, at, sizeof(sh));
		sh.sh_flags = 0;
		memcpy(at, &sh, sizeof(sh));
	}
	sut_elf_close(e);
	fx_write("gap", p, len);
	free(p);
}

static int setup(void **state)
{
	static const char code[] = "#include <stdio.h>\n#include <unistd.h>\n"
				   "#ifndef N\n#define N 17\n#endif\n#ifndef ID\n#define ID getuid\n#endif\n"
				   "#ifndef B\n#define B 10\n#endif\n"
				   "int bss[B];\nconst char text[] = \"constant\";\n"
				   "__attribute__((noinline)) int version(void) { return N; }\n"
				   "__attribute__((noinline)) int id(void) { return (int)ID(); }\n"
				   "void *table[] = { version, id, bss };\n"
#define F(n) "__attribute__((noinline)) int f" #n "(int x) { return printf(\"%d\", x * " #n "); }\n"
		F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) "#ifdef MORE\nint more(int x) { for (int i = 0; i < x; i++) "
							"puts(text); return x; }\n#endif\n"
							"int main(void) { return version() + id() + bss[1]; }\n";

	fx_text("base.c", code);
	fx_run("cc -O2 -g -fPIE -pie -Wl,--build-id=sha1 -o base base.c && strip -o base.stripped base && "
	       "objcopy --only-keep-debug base base.debug");
	fx_run("cc -O2 -g -fPIE -pie -Wl,--build-id=0x0102030405060708091011121314151617181920 -o other-id base.c");
	fx_run("cc -O2 -fPIE -pie -Wl,--build-id=sha1 -DMORE -o other-code base.c");
	fx_run("cc -O2 -fPIE -pie -Wl,--build-id=sha1 -DB=1000 -o other-bss base.c");
	fx_run("cc -O2 -fPIE -pie -Wl,--build-id=sha1 -DID=getgid -o other-import base.c");
	fx_run("cc -O2 -fPIE -pie -Wl,--build-id=sha1 -DN=18 -o other-constant base.c");
	fx_run("cc -O2 -fPIC -shared -Wl,--hash-style=gnu -o base.so base.c && "
	       "cc -O2 -fPIC -shared -Wl,--hash-style=sysv -o sysv.so base.c && cc -c -O2 -o object.o base.c");
	make_gap();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_dynsym_order),
		cmocka_unit_test(test_no_section_headers),
		cmocka_unit_test(test_nobits),
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_relocation_symbol),
		cmocka_unit_test(test_one_function),
		cmocka_unit_test(test_too_much),
		cmocka_unit_test(test_hidden_code),
	};

	fx_start();
	return fx_end(cmocka_run_group_tests(tests, setup, NULL));
}
