/* SPDX-License-Identifier: MIT */
/*
 * Damaged files: thousands of mutants of real ones, made with a fixed seed, are opened and walked through by
 * every function of the room. Nothing may crash; refusing is right, and so is an answer.
 * SUTURE_FUZZ_ROUNDS and SUTURE_FUZZ_SEED change how many and which.
 */
#include "elf/cfi.h"
#include "elf/dwarf.h"
#include "elf/symtab.h"
#include "fixture.h"

static uint64_t seed = 20240607;

static uint64_t rnd(uint64_t below)
{
	/* xorshift64 */
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return below ? seed % below : 0;
}

struct sample {
	const char *name;
	uint8_t *p;
	size_t len;
	SUT_VEC(struct sut_range) hot; /* parts of the file that are parsed: headers, tables */
};

static int count_rels(void *arg, const struct sut_dynrel *r)
{
	*(size_t *)arg += strlen(r->symbol ? r->symbol : "") + (r->version ? strlen(r->version) : 0);
	return 0;
}

static void walk_symbols(struct sut_elf *e)
{
	struct sut_symtab *t = NULL;
	const struct sut_symbol *s;
	size_t n;

	if (sut_symtab_load(ctx, e, "/nonexistent", NULL, &t))
		return;
	for (size_t i = 0; i < t->sym.n; i += 1 + t->sym.n / 50) {
		assert_int_not_equal(sut_symtab_count(t, t->sym.v[i].name), 0);
		assert_ptr_equal(sut_symtab_nth(t, t->sym.v[i].name, t->sym.v[i].sympos), &t->sym.v[i]);
		(void)!sut_symtab_find(t, e, t->sym.v[i].name, 0, &s);
		s = sut_symtab_at(t, t->sym.v[i].value);
		sut_symtab_all_at(t, t->sym.v[i].value, &n);
		for (s = t->sym.v[i].parent; s; s = s->parent)
			assert_true(sut_symbol_base_len(s->name) <= strlen(s->name));
	}
	sut_symtab_free(t);
}

static void walk_cfi(struct sut_elf *e)
{
	const struct sut_cfi_row *row;
	struct sut_cfi *c = NULL;

	if (sut_cfi_open(e, &c))
		return;
	for (size_t i = 0; i < e->load.n; i++)
		for (unsigned k = 0; k < 50; k++)
			if (sut_cfi_row(c, e->load.v[i].vaddr + rnd(e->load.v[i].memsz), &row))
				assert_true(row->ra_reg < SUT_CFI_REGS && row->start < row->end);
	sut_cfi_row(c, e->entry, &row);
	sut_cfi_close(c);
}

static void walk_headers(struct sut_elf *e)
{
	uint8_t digest[SUT_DIGEST_SIZE];
	struct sut_dynsym s;
	size_t sum = 0;

	for (size_t i = 0; i < e->sec.n; i++) {
		sum += strlen(e->sec.v[i].name);
		if (e->sec.v[i].data && e->sec.v[i].size)
			sum += e->sec.v[i].data[0] + e->sec.v[i].data[e->sec.v[i].size - 1];
	}
	for (size_t i = 0; i < e->load.n; i++) {
		const uint8_t *p = sut_elf_bytes(e, e->load.v[i].vaddr, e->load.v[i].filesz);

		if (p && e->load.v[i].filesz)
			sum += p[0] + p[e->load.v[i].filesz - 1];
	}
	sum += e->soname ? strlen(e->soname) : 0;
	sum += e->interp ? strlen(e->interp) : 0;
	(void)!sut_elf_content_digest(e, digest);
	(void)!sut_elf_dynrels(e, count_rels, &sum);
	for (size_t i = 0; i < sut_elf_dynsym_count(e); i++) {
		if (!sut_elf_dynsym_get(e, i, &s))
			continue;
		sum += strlen(s.name);
		if (i % 7 == 0) {
			struct sut_dynsym found;

			sut_elf_dynsym(e, s.name, s.version, &found);
			sut_elf_dynsym(e, s.name, NULL, &found);
			sut_elf_import_version(e, s.name);
		}
	}
	sut_elf_dynsym(e, "no_such_symbol", NULL, &s);
	assert_int_not_equal(sum, SIZE_MAX);
}

/* The original is opened for each comparison, because it may be the mutant that changes it. */
static void walk_same(struct sut_elf *e, const struct sample *s)
{
	struct sut_same_report r;
	struct sut_elf *o = NULL;
	uint8_t *copy = malloc(s->len);

	assert_non_null(copy);
	memcpy(copy, s->p, s->len);
	assert_int_equal(sut_elf_open_memory(ctx, copy, s->len, s->name, &o), 0);
	if (!sut_elf_same_content(e, o, &r)) {
		assert_true(r.verdict == SUT_SAME || r.why[0]);
		sut_same_report_free(&r);
	}
	if (!sut_elf_same_content(o, e, &r))
		sut_same_report_free(&r);
	sut_elf_close(o);
}

/* Returns whether it could be opened. */
static bool walk(uint8_t *p, size_t len, const struct sample *s, bool as_file)
{
	struct sut_elf *e = NULL;
	int err;

	if (as_file) {
		err = sut_elf_open(ctx, fx_write("mutant", p, len), &e);
		free(p);
	} else {
		err = sut_elf_open_memory(ctx, p, len, "mutant", &e);
	}
	if (err) {
		assert_null(e);
		assert_true(err == -SUTURE_EREFUSED);
		assert_true(strlen(fx_error()) > 0);
		return false;
	}
	walk_headers(e);
	walk_symbols(e);
	walk_cfi(e);
	walk_same(e, s);
	sut_elf_close(e);
	return true;
}

static void mutate(uint8_t *p, size_t len, const struct sample *s)
{
	static const uint64_t odd[] = { 0,
					1,
					0x7f,
					0xff,
					0xffff,
					0x7fffffff,
					0xffffffff,
					0x80000000,
					UINT64_MAX,
					INT64_MAX,
					(uint64_t)1 << 63,
					0x1000 };

	for (uint64_t n = 1 + rnd(8); n; n--) {
		struct sut_range r = { 0, len };
		uint64_t at, v = odd[rnd(SUT_ARRAY_SIZE(odd))];
		size_t width = (size_t)1 << rnd(4);

		if (rnd(8))
			r = s->hot.v[rnd(s->hot.n)];
		at = r.start + rnd(r.end - r.start);
		if (at >= len) /* cut off */
			continue;
		switch (rnd(4)) {
		case 0:
			p[at] ^= (uint8_t)(1u << rnd(8));
			continue;
		case 1:
			p[at] = (uint8_t)rnd(256);
			continue;
		case 2: /* a little more or less than it was */
			at &= ~(width - 1);
			if (!sut_fits(at, width, len))
				continue;
			v = 0;
			memcpy(&v, p + at, width);
			v += rnd(33) - 16;
			break;
		default:
			at &= ~(width - 1);
			if (!sut_fits(at, width, len))
				continue;
		}
		memcpy(p + at, &v, width);
	}
}

static void add_hot(struct sample *s, uint64_t start, uint64_t len)
{
	if (len && sut_fits(start, len, s->len))
		assert_int_equal(sut_vec_push(&s->hot, ((struct sut_range){ start, start + len })), 0);
}

static struct sample load_sample(const char *name)
{
	static const char *const tables[] = { ".dynamic",
					      ".dynsym",
					      ".dynstr",
					      ".gnu.hash",
					      ".hash",
					      ".gnu.version",
					      ".gnu.version_r",
					      ".gnu.version_d",
					      ".rela.dyn",
					      ".rela.plt",
					      ".relr.dyn",
					      ".eh_frame",
					      ".eh_frame_hdr",
					      ".symtab",
					      ".strtab",
					      ".shstrtab",
					      ".note.gnu.build-id",
					      ".debug_frame",
					      ".gnu_debugdata" };
	struct sample s = { .name = name };
	struct sut_elf *e = fx_open(name);
	Elf64_Ehdr eh;

	s.p = fx_read(name[0] == '/' ? name : fx_path(name), &s.len);
	memcpy(&eh, s.p, sizeof(eh));
	add_hot(&s, 0, sizeof(eh));
	add_hot(&s, eh.e_phoff, (uint64_t)eh.e_phnum * sizeof(Elf64_Phdr));
	add_hot(&s, eh.e_shoff, (uint64_t)eh.e_shnum * sizeof(Elf64_Shdr));
	for (size_t i = 0; i < SUT_ARRAY_SIZE(tables); i++) {
		const struct sut_section *sec = sut_elf_section(e, tables[i]);

		if (sec && sec->data)
			add_hot(&s, sec->offset, sec->size);
	}
	sut_elf_close(e);
	return s;
}

static void fuzz(const char *name)
{
	const char *rounds = getenv("SUTURE_FUZZ_ROUNDS"), *from = getenv("SUTURE_FUZZ_SEED");
	unsigned n = rounds ? (unsigned)atoi(rounds) : 1000, opened = 0;
	struct sample s = load_sample(name);

	if (from)
		seed = strtoull(from, NULL, 0);
	for (unsigned i = 0; i < n; i++) {
		size_t len = rnd(6) ? s.len : 1 + (size_t)rnd(s.len);
		uint8_t *p = malloc(len);

		assert_non_null(p);
		memcpy(p, s.p, len);
		if (rnd(10)) /* else only cut */
			mutate(p, len, &s);
		opened += walk(p, len, &s, rnd(8) == 0);
	}
	free(s.p);
	sut_vec_free(&s.hot);
	print_message("%s: %u of %u mutants were opened\n", name, opened, n);
	/* The mutants must be neither all broken nor all the same. */
	assert_in_range(opened, n / 20, n - n / 20);
}

static void test_program(void **state)
{
	fuzz("pie");
}

static void test_object(void **state)
{
	fuzz("object.o");
}

static void test_library(void **state)
{
	fuzz("lib.so");
}

static void test_static(void **state)
{
	fuzz("static");
}

static void test_real(void **state)
{
	fuzz("/bin/true");
}

static int setup(void **state)
{
	fx_text("pie.c", "#include <stdio.h>\n#include <unistd.h>\nstatic _Thread_local int t = 1;\nstatic int f(int "
			 "x) { return x + t; }\n"
			 "int (*table[])(int) = { f, f, f, f };\nint main(int c, char **v) { puts(v[0]); return "
			 "table[c & 3](c) + (int)getuid(); }\n");
	fx_text("lib.c", "#include <stdio.h>\n__asm__(\".symver old1, f@V1\\n.symver old2, f@@V2\");\nint old1(void) { "
			 "return 1; }\n"
			 "int old2(void) { puts(\"\"); return 2; }\nint *p[3] = { 0, (int *)&p[0], (int *)&p[1] };\n"
			 "int plain(void) { return *p[1]; }\n");
	fx_text("lib.map", "V1 { global: plain; f; };\nV2 { global: f; } V1;\n");
	fx_text("static.s",
		".globl _start\n.text\nimpl: ret\nres: lea impl(%rip), %rax\nret\n.type f, @gnu_indirect_function\n"
		".set f, res\n_start: .cfi_startproc\n.cfi_undefined rip\ncall f\nhlt\n.cfi_endproc\n");
	fx_run("cc -O1 -g -fPIE -pie -Wl,--build-id -o pie pie.c && cc -O1 -fPIC -c -o object.o pie.c && cc -c "
	       "static.s");
	fx_run("cc -O1 -fPIC -shared -Wl,--hash-style=both -Wl,--version-script=lib.map -Wl,-soname,lib.so.1 -o lib.so "
	       "lib.c && "
	       "strip lib.so && ld -static --eh-frame-hdr -o static static.o");
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_program), cmocka_unit_test(test_object), cmocka_unit_test(test_library),
		cmocka_unit_test(test_static),  cmocka_unit_test(test_real),
	};

	fx_start();
	return fx_end(cmocka_run_group_tests(tests, setup, NULL));
}
