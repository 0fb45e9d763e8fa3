/* SPDX-License-Identifier: MIT */
/*
 * Symbols: homonyms and their files, fragments and their parents, aliases, addresses; and where they come
 * from: own table, debug files by build-id, link and content, .gnu_debugdata, dynamic symbols.
 */
#include <lzma.h>

#include "elf/debug.h"
#include "fixture.h"

struct loaded {
	struct sut_elf *e;
	struct sut_symtab *t;
};

static struct loaded load(const char *name, const char *root, const char *debug)
{
	struct loaded l = { .e = fx_open(name) };

	if (sut_symtab_load(ctx, l.e, root, debug, &l.t))
		fail_msg("%s: %s", name, fx_error());
	return l;
}

static void unload(struct loaded *l)
{
	sut_symtab_free(l->t);
	sut_elf_close(l->e);
}

static const struct sut_symbol *find(const struct loaded *l, const char *name)
{
	const struct sut_symbol *s = NULL;

	if (sut_symtab_find(l->t, l->e, name, 0, &s))
		fail_msg("%s: %s", name, fx_error());
	assert_string_equal(s->name, name);
	return s;
}

/* ---- one table ---- */

static void test_homonyms(void **state)
{
	struct loaded l = load("prog", "", NULL);
	const struct sut_symbol *a, *b, *s = NULL;

	assert_int_equal(l.t->source, SUT_SYMS_OWN);
	assert_int_equal(sut_symtab_count(l.t, "helper"), 2);
	a = sut_symtab_nth(l.t, "helper", 1);
	b = sut_symtab_nth(l.t, "helper", 2);
	assert_null(sut_symtab_nth(l.t, "helper", 3));
	assert_null(sut_symtab_nth(l.t, "helper", 0));
	assert_string_equal(a->file, "a.c");
	assert_string_equal(b->file, "b.c");
	assert_true(a->order < b->order);
	assert_int_equal(a->sympos, 1);
	assert_int_equal(b->sympos, 2);
	assert_int_equal(sut_symtab_find(l.t, l.e, "helper", 0, &s), -SUTURE_EREFUSED);
	assert_contains(fx_error(), "ambiguous");
	assert_contains(fx_error(), "(a.c)");
	assert_contains(fx_error(), "(b.c)");
	assert_int_equal(sut_symtab_find(l.t, l.e, "helper", 3, &s), -SUTURE_ENOTFOUND);
	assert_int_equal(sut_symtab_find(l.t, l.e, "helper", 2, &s), 0);
	assert_ptr_equal(s, b);
	assert_int_equal(sut_symtab_find(l.t, l.e, "no_such", 0, &s), -SUTURE_ENOTFOUND);
	assert_contains(fx_error(), "no symbol no_such");
	s = find(&l, "a_entry");
	assert_null(s->file); /* a global */
	assert_int_equal(s->bind, STB_GLOBAL);
	unload(&l);
}

static void test_kinds(void **state)
{
	struct loaded l = load("prog", "", NULL);

	assert_int_equal(find(&l, "a_entry")->type, STT_FUNC);
	assert_int_equal(find(&l, "a_data")->type, STT_OBJECT);
	assert_int_equal(find(&l, "a_data")->size, 40);
	assert_int_equal(find(&l, "a_tls")->type, STT_TLS);
	assert_int_equal(find(&l, "label")->type, STT_NOTYPE);
	assert_int_equal(find(&l, "chosen")->type, STT_GNU_IFUNC);
	assert_int_equal(sut_symtab_count(l.t, "absolute"), 0);
	assert_int_equal(sut_symtab_count(l.t, "a.c"), 0);
	assert_int_equal(sut_symtab_count(l.t, ""), 0);
	assert_int_equal(sut_symtab_count(l.t, "printf"), 0); /* only used here */
	for (size_t i = 1; i < l.t->sym.n; i++)
		if (i < l.t->n_addr)
			assert_true(l.t->sym.v[i - 1].value <= l.t->sym.v[i].value);
		else
			assert_int_equal(l.t->sym.v[i].type, STT_TLS);
	unload(&l);
}

static void test_fragments(void **state)
{
	struct loaded l = load("prog", "", NULL);
	const struct sut_symbol *a = sut_symtab_nth(l.t, "helper", 1), *b = sut_symtab_nth(l.t, "helper", 2);

	/* Each homonym has its own fragment, under its own file. */
	assert_int_equal(sut_symtab_count(l.t, "helper.cold"), 2);
	assert_ptr_equal(sut_symtab_nth(l.t, "helper.cold", 1)->parent, a);
	assert_ptr_equal(sut_symtab_nth(l.t, "helper.cold", 2)->parent, b);
	/* A local fragment of a global function. */
	assert_ptr_equal(find(&l, "a_entry.cold")->parent, find(&l, "a_entry"));
	assert_ptr_equal(find(&l, "a_entry.part.0")->parent, find(&l, "a_entry"));
	/* The nearest parent, not the farthest. */
	assert_ptr_equal(find(&l, "a_entry.constprop.0.cold")->parent, find(&l, "a_entry.constprop.0"));
	assert_ptr_equal(find(&l, "a_entry.constprop.0")->parent, find(&l, "a_entry"));
	/* Its function was inlined away. */
	assert_null(find(&l, "gone.isra.0")->parent);
	/* An object is no part of a function, and "x.y" no fragment. */
	assert_null(find(&l, "b_entry.lto_priv.0")->parent);
	assert_null(find(&l, "a_entry.1234")->parent);
	assert_null(a->parent);
	unload(&l);
}

static void test_base_len(void **state)
{
	static const struct {
		const char *name;
		size_t len;
	} t[] = {
		{ "foo", 3 },
		{ "foo.cold", 3 },
		{ "foo.cold.12", 3 },
		{ "foo.part.0", 3 },
		{ "foo.isra.0", 3 },
		{ "foo.constprop.0.cold", 3 },
		{ "foo.constprop.0.isra.1.part.2", 3 },
		{ "foo.lto_priv.0", 3 },
		{ "foo.llvm.12345678901234567890", 3 },
		{ "foo.localalias", 3 },
		{ "foo.localalias.3", 3 },
		{ "foo.1234", 8 },
		{ "foo.avx2", 8 },
		{ "foo.12.cold", 6 },
		{ "foo.colder", 10 },
		{ ".cold", 5 },
		{ ".part.0", 7 },
		{ "0", 1 },
		{ ".0", 2 },
		{ "", 0 },
		{ "foo.", 4 },
		{ "foo.part.", 9 },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(t); i++)
		if (sut_symbol_base_len(t[i].name) != t[i].len)
			fail_msg("%s: %zu", t[i].name, sut_symbol_base_len(t[i].name));
}

static void test_addresses(void **state)
{
	struct loaded l = load("prog", "", NULL);
	const struct sut_symbol *f = find(&l, "a_entry"), *s;
	size_t n, first = sut_symtab_all_at(l.t, f->value, &n);
	bool alias = false;

	/* Two names of one function; the global one is what it is called. */
	assert_int_equal(n, 2);
	for (size_t i = first; i < first + n; i++) {
		assert_int_equal(l.t->sym.v[i].value, f->value);
		alias |= !strcmp(l.t->sym.v[i].name, "a_alias");
	}
	assert_true(alias);
	s = sut_symtab_at(l.t, f->value);
	assert_string_equal(s->name, "a_entry");
	assert_ptr_equal(sut_symtab_at(l.t, f->value + f->size - 1), s);
	assert_ptr_not_equal(sut_symtab_at(l.t, f->value + f->size), s);
	s = find(&l, "a_data");
	assert_ptr_equal(sut_symtab_at(l.t, s->value + 39), s);
	/* A label without a size reaches to the next symbol. */
	s = find(&l, "label");
	assert_int_equal(s->size, 0);
	assert_ptr_equal(sut_symtab_at(l.t, s->value + 2), s);
	assert_null(sut_symtab_at(l.t, 0));
	assert_null(sut_symtab_at(l.t, UINT64_MAX));
	sut_symtab_all_at(l.t, f->value + 1, &n);
	assert_int_equal(n, 0);
	unload(&l);
}

/* ---- sources ---- */

static void test_by_build_id(void **state)
{
	struct loaded l = load("prog.stripped", fx_path("idroot"), NULL), own = load("prog", "", NULL);

	assert_int_equal(l.t->source, SUT_SYMS_DEBUG_ID);
	assert_contains(l.t->debug_path, "/.build-id/");
	assert_int_equal(l.t->sym.n, own.t->sym.n);
	for (size_t i = 0; i < l.t->sym.n; i++) {
		assert_string_equal(l.t->sym.v[i].name, own.t->sym.v[i].name);
		assert_int_equal(l.t->sym.v[i].value, own.t->sym.v[i].value);
	}
	unload(&own);
	unload(&l);
	/* The same file, named by the user; and beside an own symbol table, which then serves. */
	l = load("prog.stripped", "", fx_path("prog.debug"));
	assert_int_equal(l.t->source, SUT_SYMS_DEBUG_ID);
	unload(&l);
	l = load("prog", "", fx_path("prog.debug"));
	assert_int_equal(l.t->source, SUT_SYMS_OWN);
	assert_non_null(l.t->debug);
	unload(&l);
	/* The file of that name is another program's. */
	fx_run("for f in idroot/usr/lib/debug/.build-id/*/*; do cp other.debug $f; done");
	fx_log[0] = 0;
	l = load("prog.stripped", fx_path("idroot"), NULL);
	assert_int_equal(l.t->source, SUT_SYMS_DYNAMIC);
	assert_contains(fx_log, "its build-id is another one");
	unload(&l);
}

/* Without a build-id, the checksum of the link decides; the link is followed in the root only. */
static void test_by_link(void **state)
{
	struct loaded l;
	struct sut_elf *e = fx_open("noid.stripped");

	assert_int_equal(e->build_id_len, 0);
	sut_elf_close(e);
	fx_run("mkdir -p .debug && mv noid.debug .debug/");
	l = load("noid.stripped", "", NULL);
	assert_int_equal(l.t->source, SUT_SYMS_DEBUG_LINK);
	assert_contains(l.t->debug_path, "/.debug/noid.debug");
	find(&l, "a_entry");
	unload(&l);
	fx_run("printf x >> .debug/noid.debug");
	fx_log[0] = 0;
	l = load("noid.stripped", "", NULL);
	assert_int_equal(l.t->source, SUT_SYMS_DYNAMIC);
	assert_contains(fx_log, "checksum");
	unload(&l);
}

static void test_by_content(void **state)
{
	struct loaded l = load("prog.stripped", "", fx_path("other-id"));

	assert_int_equal(l.t->source, SUT_SYMS_DEBUG_CONTENT);
	assert_int_equal(l.t->n_uncertain, 0);
	find(&l, "a_entry");
	unload(&l);
}

static void test_uncertain(void **state)
{
	struct loaded l;

	fx_log[0] = 0;
	l = load("prog.stripped", "", fx_path("other-constant"));
	assert_int_equal(l.t->source, SUT_SYMS_DEBUG_CONTENT);
	assert_int_equal(l.t->n_uncertain, 1);
	assert_true(find(&l, "version")->uncertain);
	assert_false(find(&l, "a_entry")->uncertain);
	assert_contains(fx_log, "version");
	unload(&l);
}

static void refused(const char *object, const char *debug, const char *why)
{
	struct sut_elf *e = fx_open(object);
	struct sut_symtab *t = NULL;

	assert_int_equal(sut_symtab_load(ctx, e, "", fx_path(debug), &t), -SUTURE_EREFUSED);
	assert_null(t);
	assert_contains(fx_error(), "does not belong to");
	assert_contains(fx_error(), why);
	assert_non_null(suture_ctx_error(ctx)->hint);
	sut_elf_close(e);
}

static void test_refused(void **state)
{
	struct sut_elf *e = fx_open("prog.stripped");
	struct sut_symtab *t = NULL;

	refused("prog.stripped", "other.debug", "holds no bytes");
	refused("prog.stripped", "other", " bytes in one and ");
	/* An object with symbols of its own does not make a wrong file right. */
	refused("prog", "other", " bytes in one and ");
	assert_int_equal(sut_symtab_load(ctx, e, "", fx_path("prog.stripped"), &t), -SUTURE_EREFUSED);
	assert_contains(fx_error(), "has no symbol table");
	assert_true(sut_symtab_load(ctx, e, "", fx_path("missing"), &t) < 0);
	sut_elf_close(e);
}

/* Puts the xz form of @from into section .gnu_debugdata of @into. */
static void add_mini(const char *into, const char *from, size_t extra)
{
	size_t len, out_len = 0;
	uint8_t *p = fx_read(fx_path(from), &len), *out;

	p = realloc(p, len + extra);
	assert_non_null(p);
	memset(p + len, 0, extra);
	out = malloc(lzma_stream_buffer_bound(len + extra));
	assert_int_equal(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, NULL, p, len + extra, out, &out_len,
						 lzma_stream_buffer_bound(len + extra)),
			 LZMA_OK);
	fx_write("mini.xz", out, out_len);
	free(p);
	free(out);
	fx_run("cp lib.stripped %s && objcopy --add-section .gnu_debugdata=mini.xz %s", into, into);
}

static void test_mini(void **state)
{
	struct loaded l;

	add_mini("lib.mini", "lib.functions", 0);
	l = load("lib.mini", "", NULL);
	assert_int_equal(l.t->source, SUT_SYMS_MINI);
	/* A local one from .gnu_debugdata; an exported one, which is in both, once. */
	assert_int_equal(find(&l, "lib_local")->bind, STB_LOCAL);
	assert_int_equal(sut_symtab_count(l.t, "lib_global"), 1);
	assert_int_equal(sut_symtab_count(l.t, "lib_data"), 1); /* dynamic symbols only know it */
	unload(&l);
}

static void test_mini_damaged(void **state)
{
	struct loaded l;

	fx_log[0] = 0;
	fx_text("junk", "\xfd"
			"7zXZ is not followed by this");
	fx_run("cp lib.stripped lib.junk && objcopy --add-section .gnu_debugdata=junk lib.junk");
	l = load("lib.junk", "", NULL);
	assert_int_equal(l.t->source, SUT_SYMS_DYNAMIC);
	assert_contains(fx_log, "can not be unpacked");
	unload(&l);
	/* A few kilobytes that would become 300 MB. */
	fx_log[0] = 0;
	add_mini("lib.bomb", "lib.functions", (size_t)300 << 20);
	l = load("lib.bomb", "", NULL);
	assert_int_equal(l.t->source, SUT_SYMS_DYNAMIC);
	assert_contains(fx_log, "too large");
	unload(&l);
}

static void test_dynamic(void **state)
{
	struct loaded l = load("lib.stripped", "", NULL);
	const struct sut_symbol *s;

	assert_int_equal(l.t->source, SUT_SYMS_DYNAMIC);
	find(&l, "lib_global");
	assert_int_equal(sut_symtab_count(l.t, "lib_old"), 1);
	assert_int_equal(sut_symtab_find(l.t, l.e, "lib_local", 0, &s), -SUTURE_ENOTFOUND);
	assert_contains(suture_ctx_error(ctx)->hint, "--debug");
	unload(&l);
}

/* "f@@V" is f; "f@V" is not. */
static void test_versioned_names(void **state)
{
	struct loaded l = load("lib.so", "", NULL);

	assert_int_equal(l.t->source, SUT_SYMS_OWN);
	find(&l, "lib_old");
	find(&l, "lib_old@V1");
	unload(&l);
}

static int setup(void **state)
{
	static const char fragments[] = ".macro frag name, type\n.section .text.x, \"ax\"\n.type \\name, "
					"\\type\n\\name:\n.rept 16\nnop\n.endr\n"
					".size \\name, 16\n.endm\n.section .note.GNU-stack, \"\", @progbits\n.text\n";
	char a[4096], b[4096];

	snprintf(a, sizeof(a),
		 "%s.file \"a.c\"\nfrag helper, @function\nfrag helper.cold, @function\n.globl a_entry\nfrag a_entry, "
		 "@function\n"
		 ".set a_alias, a_entry\n.type a_alias, @function\n.size a_alias, 16\nfrag a_entry.cold, @function\n"
		 "frag a_entry.part.0, @function\nfrag a_entry.constprop.0, @function\nfrag a_entry.constprop.0.cold, "
		 "@function\n"
		 "frag a_entry.1234, @function\nfrag gone.isra.0, @function\nabsolute = 0x1234\n"
		 "label: nop\nnop\nnop\n.data\n.globl a_data\n.type a_data, @object\na_data: .zero 40\n.size a_data, "
		 "40\n"
		 ".section .tdata, \"awT\"\n.globl a_tls\n.type a_tls, @object\na_tls: .long 1\n.size a_tls, 4\n",
		 fragments);
	snprintf(b, sizeof(b),
		 "%s.file \"b.c\"\nfrag helper, @function\nfrag helper.cold, @function\n.globl b_entry\nfrag b_entry, "
		 "@function\n"
		 ".data\n.type b_entry.lto_priv.0, @object\nb_entry.lto_priv.0: .long 1\n.size b_entry.lto_priv.0, 4\n",
		 fragments);
	fx_text("a.s", a);
	fx_text("b.s", b);
	fx_text("main.c",
		"#include <stdio.h>\n#ifndef N\n#define N 17\n#endif\nvoid a_entry(void); void b_entry(void);\n"
		"__attribute__((noinline)) int version(void) { return N; }\n"
		"static int one(void) { return 1; }\nstatic void *pick(void) { return one; }\n"
		"int chosen(void) __attribute__((ifunc(\"pick\")));\n"
		"#ifdef MORE\nint more(int x) { return x * version(); }\n#endif\n"
		"int main(void) { a_entry(); b_entry(); return printf(\"%d\", version() + chosen()); }\n");
	fx_text("lib.c", "__asm__(\".symver old1, lib_old@V1\\n.symver old2, lib_old@@V2\");\n"
			 "int lib_data = 1;\nint old1(void) { return 1; }\nint old2(void) { return 2; }\n"
			 "__attribute__((noinline)) static int lib_local(int x) { return x * lib_data; }\n"
			 "int lib_global(int x) { return lib_local(x) + 1; }\n");
	fx_text("lib.map", "V1 { global: lib_*; local: *; };\nV2 { global: lib_old; } V1;\n");
	fx_run("cc -O1 -fPIE -c a.s b.s main.c && cc -c -o a.o a.s && cc -c -o b.o b.s");
	fx_run("cc -pie -Wl,--build-id=sha1 -o prog a.o b.o main.o && strip -o prog.stripped prog && "
	       "objcopy --only-keep-debug prog prog.debug");
	fx_run("cc -pie -Wl,--build-id=0x0102030405060708 -o other-id a.o b.o main.o");
	fx_run("cc -O1 -fPIE -DN=18 -c -o main18.o main.c && cc -pie -Wl,--build-id=sha1 -o other-constant a.o b.o "
	       "main18.o");
	fx_run("cc -O1 -fPIE -DMORE -c -o more.o main.c && cc -pie -Wl,--build-id=sha1 -o other a.o b.o more.o && "
	       "objcopy --only-keep-debug other other.debug");
	fx_run("cc -pie -Wl,--build-id=none -o noid a.o b.o main.o && objcopy --only-keep-debug noid noid.debug && "
	       "strip -o noid.stripped noid && objcopy --add-gnu-debuglink=noid.debug noid.stripped");
	fx_run("id=$(readelf -n prog | sed -n 's/.*Build ID: //p') && d=idroot/usr/lib/debug/.build-id/$(echo $id | "
	       "cut -c1-2) && "
	       "mkdir -p $d && cp prog.debug $d/$(echo $id | cut -c3-).debug");
	fx_run("cc -O1 -fPIC -shared -Wl,--version-script=lib.map -o lib.so lib.c && strip -o lib.stripped lib.so && "
	       "objcopy -S --remove-section .comment --keep-symbol=lib_local --keep-symbol=lib_global lib.so "
	       "lib.functions");
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_homonyms),  cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_fragments), cmocka_unit_test(test_base_len),
		cmocka_unit_test(test_addresses), cmocka_unit_test(test_by_build_id),
		cmocka_unit_test(test_by_link),   cmocka_unit_test(test_by_content),
		cmocka_unit_test(test_uncertain), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_mini),      cmocka_unit_test(test_mini_damaged),
		cmocka_unit_test(test_dynamic),   cmocka_unit_test(test_versioned_names),
	};

	fx_start();
	return fx_end(cmocka_run_group_tests(tests, setup, NULL));
}
