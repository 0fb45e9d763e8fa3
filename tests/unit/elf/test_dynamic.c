/* SPDX-License-Identifier: MIT */
/*
 * Dynamic symbols with their versions by each kind of hash table, imports, and relocations of each
 * kind; the same with the section headers taken away.
 */
#include "elf/priv.h"
#include "fixture.h"

/* Takes the section headers away, as sstrip does. */
static void drop_sections(const char *from, const char *to)
{
	size_t len;
	uint8_t *p = fx_read(fx_path(from), &len);
	Elf64_Ehdr eh;

	memcpy(&eh, p, sizeof(eh));
	len = eh.e_shoff;
	eh.e_shoff = 0;
	eh.e_shnum = eh.e_shstrndx = 0;
	memcpy(p, &eh, sizeof(eh));
	fx_write(to, p, len);
	free(p);
}

static void check_versions(const char *name)
{
	struct sut_elf *e = fx_open(name);
	struct sut_dynsym d, v1, v2;

	assert_true(sut_elf_dynsym(e, "f", NULL, &d));
	assert_true(sut_elf_dynsym(e, "f", "V1", &v1));
	assert_true(sut_elf_dynsym(e, "f", "V2", &v2));
	assert_string_equal(d.version, "V2");
	assert_int_equal(d.value, v2.value);
	assert_int_not_equal(v1.value, v2.value);
	assert_true(v1.version_hidden);
	assert_false(v2.version_hidden);
	assert_int_equal(d.type, STT_FUNC);
	assert_int_equal(d.bind, STB_GLOBAL);
	assert_true(d.size > 0);
	assert_false(sut_elf_dynsym(e, "f", "V3", &d));
	assert_true(sut_elf_dynsym(e, "plain", NULL, &d));
	assert_true(sut_elf_dynsym(e, "plain", "V1", &d));
	assert_false(sut_elf_dynsym(e, "hidden", NULL, &d));
	assert_false(sut_elf_dynsym(e, "", NULL, &d));
	/* Imports are not definitions. */
	assert_false(sut_elf_dynsym(e, "getuid", NULL, &d));
	sut_elf_close(e);
}

static void test_versions(void **state)
{
	static const char *const styles[] = { "gnu", "sysv", "both" };

	for (size_t i = 0; i < SUT_ARRAY_SIZE(styles); i++) {
		fx_run("cc -shared -Wl,--hash-style=%s -Wl,--version-script=v.map -o libv.so v.o", styles[i]);
		check_versions("libv.so");
		drop_sections("libv.so", "libv.bare");
		check_versions("libv.bare");
	}
}

static void test_unversioned(void **state)
{
	struct sut_elf *e = fx_open("libu.so");
	struct sut_dynsym s;

	/* Serves every request, as with the dynamic linker. */
	assert_true(sut_elf_dynsym(e, "plain", NULL, &s));
	assert_null(s.version);
	assert_true(sut_elf_dynsym(e, "plain", "V9", &s));
	assert_true(sut_elf_dynsym(e, "weak", NULL, &s));
	assert_int_equal(s.bind, STB_WEAK);
	sut_elf_close(e);
}

static void test_import_version(void **state)
{
	struct sut_elf *lib = fx_open("libv.so"), *exe = fx_open("copy");

	assert_string_equal(sut_elf_import_version(lib, "getuid"), "GLIBC_2.2.5");
	assert_null(sut_elf_import_version(lib, "plain"));
	assert_null(sut_elf_import_version(lib, "nobody"));
	assert_string_equal(sut_elf_import_version(exe, "environ"), "GLIBC_2.2.5");
	sut_elf_close(lib);
	sut_elf_close(exe);
}

struct seen {
	unsigned relative, symbolic, plt, copy, tls, irelative, other;
	uint64_t place, addend; /* of the last relative one */
	char version[32]; /* of getuid in the PLT */
};

static int look(void *arg, const struct sut_dynrel *r)
{
	struct seen *s = arg;

	switch (r->type) {
	case R_X86_64_RELATIVE:
		s->relative++;
		s->place = r->offset;
		s->addend = (uint64_t)r->addend;
		assert_null(r->symbol);
		break;
	case R_X86_64_64:
	case R_X86_64_GLOB_DAT:
		s->symbolic++;
		assert_non_null(r->symbol);
		break;
	case R_X86_64_JUMP_SLOT:
		s->plt++;
		assert_true(r->plt);
		if (!strcmp(r->symbol, "getuid"))
			snprintf(s->version, sizeof(s->version), "%s", r->version ? r->version : "");
		break;
	case R_X86_64_COPY:
		s->copy++;
		break;
	case R_X86_64_DTPMOD64:
	case R_X86_64_TPOFF64:
		s->tls++;
		break;
	case R_X86_64_IRELATIVE:
		s->irelative++;
		break;
	default:
		s->other++;
	}
	return 0;
}

static struct seen relocations(const char *name)
{
	struct sut_elf *e = fx_open(name);
	struct seen s = { 0 };

	assert_int_equal(sut_elf_dynrels(e, look, &s), 0);
	sut_elf_close(e);
	return s;
}

static void test_relocations(void **state)
{
	struct seen lib = relocations("libr.so"), bare, exe;

	assert_true(lib.plt >= 1);
	assert_string_equal(lib.version, "GLIBC_2.2.5");
	assert_true(lib.tls >= 1);
	assert_true(lib.symbolic >= 1);
	assert_true(lib.relative >= 200); /* the table of addresses */
	drop_sections("libr.so", "libr.bare");
	bare = relocations("libr.bare");
	assert_memory_equal(&lib, &bare, sizeof(lib));
	exe = relocations("copy");
	assert_int_equal(exe.copy, 1);
}

/* DT_RELR says the same as the plain relocations, only shorter. */
static void test_relr(void **state)
{
	struct seen relr, plain;
	struct sut_elf *e;

	if (system("cd /tmp && ld --help | grep -q pack-relative-relocs"))
		skip();
	fx_run("cc -shared -nostdlib -Wl,-z,pack-relative-relocs -o librr.so relr.o");
	fx_run("cc -shared -nostdlib -o librp.so relr.o");
	relr = relocations("librr.so");
	plain = relocations("librp.so");
	e = fx_open("librr.so");
	assert_int_not_equal(sut_elf_dyn(e)->relr.len, 0);
	assert_int_equal(sut_elf_dyn(e)->rela.len, 0);
	assert_int_equal(plain.relative, 131);
	assert_int_equal(relr.relative, 131);
	/* Each place holds its addend. */
	assert_int_equal(sut_le64(sut_elf_bytes(e, relr.place, 8)), relr.addend);
	sut_elf_close(e);
}

static void test_static(void **state)
{
	struct seen s = relocations("ifunc");

	assert_int_equal(s.irelative, 1);
}

static int stop_at_third(void *arg, const struct sut_dynrel *r)
{
	return ++*(int *)arg == 3 ? 42 : 0;
}

static void test_stops(void **state)
{
	struct sut_elf *e = fx_open("libr.so");
	int n = 0;

	assert_int_equal(sut_elf_dynrels(e, stop_at_third, &n), 42);
	assert_int_equal(n, 3);
	sut_elf_close(e);
}

static int setup(void **state)
{
	fx_text("v.c", "#include <unistd.h>\n"
		       "__asm__(\".symver f1, f@V1\\n.symver f2, f@@V2\");\n"
		       "int f1(void) { return 1; }\nint f2(void) { return 2; }\n"
		       "int plain(void) { return (int)getuid(); }\nint hidden(void) { return 4; }\n");
	fx_text("v.map", "V1 { global: plain; f; local: hidden; };\nV2 { global: f; } V1;\n");
	fx_text("u.c", "int plain(void) { return 3; }\n__attribute__((weak)) int weak(void) { return 4; }\n");
	fx_text("copy.c", "extern char **environ;\nint main(void) { return environ[0] != 0; }\n");
	fx_text("r.c", "#include <unistd.h>\nstatic _Thread_local int t;\nint data;\nint *gd(void) { return &data; }\n"
		       "int *gt(void) { return &t; }\nstatic int v[200];\n"
		       "#define A(i) &v[i], &v[i + 1], &v[i + 2], &v[i + 3], &v[i + 4]\n"
		       "#define B(i) A(i), A(i + 5), A(i + 10), A(i + 15), A(i + 20)\n"
		       "int *table[] = { B(0), B(25), B(50), B(75), B(100), B(125), B(150), B(175) };\n"
		       "int u(void) { return (int)getuid() + *table[3]; }\n");
	/* A run of words, a hole, and one far behind: each way in which DT_RELR packs. */
	fx_text("relr.s", ".data\n.balign 8\nx: .rept 130\n.quad x\n.endr\n.zero 4096\n.quad x\n");
	fx_text("ifunc.s", ".globl _start\n.text\nimpl: ret\nres: lea impl(%rip), %rax\nret\n"
			   ".type f, @gnu_indirect_function\n.set f, res\n_start: call f\nhlt\n");
	fx_run("cc -O1 -fPIC -c v.c && cc -O1 -fPIC -c u.c && cc -O1 -fPIC -c r.c && cc -c relr.s && cc -c ifunc.s");
	fx_run("cc -shared -o libu.so u.o && cc -shared -Wl,-z,lazy -o libr.so r.o");
	fx_run("cc -O1 -fno-pie -no-pie -o copy copy.c && ld -static -o ifunc ifunc.o");
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_versions),       cmocka_unit_test(test_unversioned),
		cmocka_unit_test(test_import_version), cmocka_unit_test(test_relocations),
		cmocka_unit_test(test_relr),           cmocka_unit_test(test_static),
		cmocka_unit_test(test_stops),
	};

	fx_start();
	return fx_end(cmocka_run_group_tests(tests, setup, NULL));
}
