/* SPDX-License-Identifier: MIT */
/*
 * What can not be patched safely is refused, with the name of the thing, the reason and what to do;
 * no file is left, and the source tree is as it was (both checked by the fixture).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fixture.h"

#define NOINLINE "__attribute__((noinline)) "
#define MAIN     "int main(void) { return (int)parse(1) + (int)other(2); }\n"

static const char program[] = "#include <stdlib.h>\n"
			      "struct item { int id; long size; };\n"
			      "enum colour { RED, GREEN, BLUE };\n"
			      "int limit = 30;\n"
			      "static char buffer[40];\n" NOINLINE "long parse(long x)\n"
			      "{\n"
			      "	struct item *i = malloc(sizeof(*i));\n"
			      "	i->size = x + limit;\n"
			      "	i->id = GREEN;\n"
			      "	x = i->size + i->id;\n"
			      "	free(i);\n"
			      "	return x;\n"
			      "}\n" NOINLINE "long other(long x)\n"
			      "{\n"
			      "	buffer[x] = 1;\n"
			      "	return buffer[x + 1] * 7;\n"
			      "}\n" MAIN;

/* One change of one file, and what must be said about it. */
static void refused(const char *text, const char *old, const char *new, const char *says)
{
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "", text);
	fx_link(&f);
	fx_replace(&f, "a.c", old, new);
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, says);
	fx_deinit(&f);
}

static void initial_value(void **state)
{
	refused(program, "int limit = 30;", "int limit = 31;", "initial value of the variable limit");
}

static void initial_value_from_zero(void **state)
{
	refused(program, "static char buffer[40];", "static char buffer[40] = { 0, 5 };",
		"initial value of the variable buffer");
}

static void size_of_data(void **state)
{
	refused(program, "static char buffer[40];", "static char buffer[50];", "the variable buffer");
}

static void layout(void **state)
{
	refused(program, "struct item { int id; long size; };",
		"struct item { int id; int flags; long more; long size; };", "layout of struct item");
}

static void layout_of_a_typedef(void **state)
{
	refused("typedef struct { int a; int b; } pair;\n" NOINLINE "long parse(pair *p) { return p->b; }\n" NOINLINE
		"long other(long x) { return x; }\nint main(int n, char **v) { return (int)parse((pair *)v) + "
		"(int)other(n); }\n",
		"int a; int b;", "int a; int c; int b;", "layout of pair");
}

/* A variable of a type without a name: same size, other members. */
static void layout_without_name(void **state)
{
	refused("static struct { int a; int b; } now = { 1, 2 };\n" NOINLINE
		"long parse(long x) { return now.a += x; }\n" NOINLINE
		"long other(long x) { return now.b -= x; }\n" MAIN,
		"int a; int b;", "int b; int a;", "the variable now");
}

/* A sign is no layout. */
static void signedness(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "", program);
	fx_link(&f);
	fx_replace(&f, "a.c", "struct item { int id; long size; };",
		   "struct item { unsigned int id; unsigned long size; };");
	fx_build(&f);
	if (f.err != SUTURE_ENOTHING)
		fx_functions(&f, "parse");
	fx_deinit(&f);
}

/* clang makes a byte of a variable that is only ever two values; to make it an int again is to lose its state. */
static void reshaped(void **state)
{
	static const char text[] =
		"static int flag;\n" NOINLINE "long parse(long x) { flag = 77; return x + 1; }\n" NOINLINE
		"long other(long x) { return flag + x; }\n" MAIN;
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "", text);
	fx_link(&f);
	fx_replace(&f, "a.c", "flag = 77;", "flag = (int)x;");
	fx_build(&f);
	if (f.err == SUTURE_EREFUSED)
		fx_failed(&f, SUTURE_EREFUSED, "flag");
	else /* the variable has kept its shape */
		fx_run(&f, "nm bin | grep -q ' flag$' && readelf -sW out.sut | grep -q 'suture.sym.0.flag'");
	fx_deinit(&f);
}

static void enumerators(void **state)
{
	refused(program, "{ RED, GREEN, BLUE }", "{ RED, WHITE, GREEN, BLUE }", "layout of enum colour");
}

/* Values that are only added are told, not refused. */
static void more_enumerators(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "", program);
	fx_link(&f);
	fx_change(&f, "a.c", NULL);
	fx_run(&f, "rm fix.diff; sed -e 's/GREEN, BLUE/GREEN, BLUE, PINK/' -e 's/= GREEN/= PINK/' tree/a.c > new; "
		   "diff -u --label a/a.c --label b/a.c tree/a.c new > fix.diff; test $? = 1");
	fx_build(&f);
	fx_functions(&f, "parse");
	assert_true(fx_noted(&f, "enum colour has new values"));
	fx_deinit(&f);
}

static void exported_signature(void **state)
{
	struct fx f;

	fx_init(&f);
	f.cflags = "-fPIC";
	f.ldflags = "-shared";
	fx_source(&f, "a.c", "", "long api(int x) { return x + 1; }\n");
	fx_link(&f);
	fx_replace(&f, "a.c", "long api(int x)", "long api(long *p, int x)");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "signature of api");
	fx_deinit(&f);
}

static void signature_with_callers_elsewhere(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "", "long api(long x) { return x + 1; }\n");
	fx_source(&f, "b.c", "", "long api(long);\nint main(void) { return (int)api(4); }\n");
	fx_link(&f);
	fx_replace(&f, "a.c", "long api(long x) { return x + 1; }", "long api(long x, char *p) { return x + *p; }");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "signature of api");
	assert_non_null(strstr(suture_ctx_error(f.ctx)->message, "main, which is not rebuilt"));
	fx_deinit(&f);
}

/* The same where all callers are rebuilt is no reason to refuse. */
static void local_signature(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "",
		  "static " NOINLINE "long helper(long x) { return x + 1; }\n" NOINLINE
		  "long parse(long x) { return helper(x) * 3; }\n" NOINLINE "long other(long x) { return x; }\n" MAIN);
	fx_link(&f);
	fx_change(&f, "a.c",
		  "static " NOINLINE "long helper(long x, long y) { return x + y * y; }\n" NOINLINE
		  "long parse(long x) { return helper(x, x + 2) * 3; }\n" NOINLINE
		  "long other(long x) { return x; }\n" MAIN);
	fx_build(&f);
	assert_int_equal(f.err, 0);
	assert_non_null(fx_item(&f, "parse"));
	fx_deinit(&f);
}

static void exported_constant(void **state)
{
	struct fx f;

	fx_init(&f);
	f.cflags = "-fPIC";
	f.ldflags = "-shared";
	fx_source(&f, "a.c", "", "const int table[4] = { 1, 2, 3, 4 };\nint api(int x) { return table[x]; }\n");
	fx_link(&f);
	fx_replace(&f, "a.c", "3, 4 }", "3, 5 }");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "constant table");
	fx_deinit(&f);
}

static void constant_read_elsewhere(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "", "const int table[4] = { 1, 2, 3, 4 };\nint api(int x) { return table[x]; }\n");
	fx_source(
		&f, "b.c", "",
		"extern const int table[4];\nint api(int);\nint main(int n, char **v) { return api(n) + table[n]; }\n");
	fx_link(&f);
	fx_replace(&f, "a.c", "3, 4 }", "3, 5 }");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "main, which is not rebuilt");
	fx_deinit(&f);
}

static void new_thread_local(void **state)
{
	refused(program, "	x = i->size + i->id;\n",
		"	static __thread long calls;\n	x = i->size + i->id + calls++;\n", "thread-local variable");
}

static void new_constructor(void **state)
{
	refused(program, "int main",
		"__attribute__((constructor)) static void begin(void) { limit = getenv(\"X\") != 0; }\nint main",
		"which is read once, at start");
}

static void new_table_entry(void **state)
{
	static const char text[] =
		"typedef long (*fn)(long);\nextern fn __start_hooks[], __stop_hooks[];\n" NOINLINE
		"long one(long x) { return x + 1; }\n" NOINLINE "long two(long x) { return x + 2; }\n"
		"static fn h1 __attribute__((used, section(\"hooks\"))) = one;\n"
		"int main(void) { long r = 0; for (fn *h = __start_hooks; h < __stop_hooks; h++) r += (*h)(r); return "
		"(int)r; }\n";

	refused(text, "= one;\n", "= one;\nstatic fn h2 __attribute__((used, section(\"hooks\"))) = two;\n",
		"section hooks");
}

static void too_short(void **state)
{
	struct fx f;

	fx_init(&f);
	f.cflags = "-fcf-protection=none -fomit-frame-pointer -O2";
	fx_source(&f, "a.c", "",
		  NOINLINE
		  "void nothing(void) { }\nint other(int x) { return x; }\nint main(void) { nothing(); return 0; }\n");
	fx_link(&f);
	fx_replace(&f, "a.c", "void nothing(void) { }",
		   "int other(int);\nvoid nothing(void) { other(3); __asm__(\"nop\"); }");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "nothing is 1 bytes long, too short");
	fx_deinit(&f);
}

/* Equal functions at one address: to replace one is to replace the other. */
static void folded(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "",
		  NOINLINE "long parse(long x) { return x * 77 + 5; }\nlong other(long x) "
			   "__attribute__((alias(\"parse\")));\n" MAIN);
	fx_link(&f);
	fx_change(&f, "a.c",
		  NOINLINE "long parse(long x) { return x * 78 + 5; }\n" NOINLINE
			   "long other(long x) { return x * 77 + 5; }\n" MAIN);
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "share one piece of code");
	fx_deinit(&f);
}

static const char ifunc[] = NOINLINE
	"static long plain(long x) { return x * 5 + 1; }\n" NOINLINE
	"static long fast(long x) { return (x << 2) + x + 1; }\n"
	"static long (*choose(void))(long) { return __builtin_cpu_supports(\"avx2\") ? fast : plain; }\n"
	"long parse(long x) __attribute__((ifunc(\"choose\")));\n" NOINLINE "long other(long x) { return x; }\n" MAIN;

static void one_variant(void **state)
{
	refused(ifunc, "return x * 5 + 1;", "return x * 6 + 1;", "one variant of");
}

static void resolver(void **state)
{
	refused(ifunc, "\"avx2\"", "\"sse4.2\"", "IFUNC");
}

static void wrong_options(void **state)
{
	struct fx f;

	fx_init(&f);
	f.cflags = "-O2";
	fx_source(&f, "a.c", "", program);
	fx_link(&f);
	fx_run(&f, "sed -i 's/ -O2 / -O2 -fno-omit-frame-pointer -mno-red-zone -fstack-protector-all /g' "
		   "tree/compile_commands.json");
	fx_replace(&f, "a.c", "x + limit", "x - limit");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "parse in ");
	assert_non_null(strstr(suture_ctx_error(f.ctx)->message, "is not what this source compiles to"));
	fx_deinit(&f);
}

/* A function that the diff does not touch, but the taken one relies on, differs in the target. */
static void wrong_source(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(
		&f, "a.c", "",
		NOINLINE
		"static long helper(long x) { return x * 3; }\nlong parse(long x) { return helper(x) + 1; }\n" NOINLINE
		"long other(long x) { return x; }\n" MAIN);
	fx_link(&f);
	fx_run(&f, "sed -i 's/x \\* 3/x * 5/' tree/a.c");
	fx_replace(&f, "a.c", "helper(x) + 1", "helper(x) + 2");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "helper, which parse relies on,");
	fx_deinit(&f);
}

static void stripped(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "", program);
	fx_link(&f);
	fx_run(&f, "strip bin");
	fx_replace(&f, "a.c", "x + limit", "x - limit");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "is stripped");
	fx_deinit(&f);
}

static void lto(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "", program);
	fx_link(&f);
	fx_run(&f, "sed -i 's/ -g / -g -flto /g' tree/compile_commands.json");
	fx_replace(&f, "a.c", "x + limit", "x - limit");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "-flto");
	fx_deinit(&f);
}

static void profile(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "", program);
	fx_link(&f);
	fx_run(&f, "sed -i 's/ -g / -g -fprofile-use=x.gcda /g' tree/compile_commands.json");
	fx_replace(&f, "a.c", "x + limit", "x - limit");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "-fprofile-use");
	fx_deinit(&f);
}

static void bolted(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "", program);
	fx_link(&f);
	fx_run(&f, "echo x > note; objcopy --add-section .note.bolt_info=note bin");
	fx_replace(&f, "a.c", "x + limit", "x - limit");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "BOLT");
	fx_deinit(&f);
}

static void assembler(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "", program);
	fx_write(&f, "fast.S", "	ret\n");
	fx_link(&f);
	fx_replace(&f, "a.c", "x + limit", "x - limit");
	fx_replace(&f, "fast.S", "ret", "nop\n	ret");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "fast.S: assembler code");
	fx_deinit(&f);
}

static void labels_in_writable_data(void **state)
{
	refused(NOINLINE "long parse(long x)\n{\n	static void *go[] = { &&a, &&b, &&c };\n	if (x == 99) "
			 "go[1] = go[2];\n"
			 "	goto *go[x % 3];\na:	return x + 1;\nb:	return x * 77;\nc:	return x - "
			 "3;\n}\n" NOINLINE "long other(long x) { return x; }\n" MAIN,
		"return x - 3", "return x - 4", "holds places inside of the old code");
}

/* Which of two static locals of one name is which can not be told when one goes and one comes in one function. */
static void doubtful_static(void **state)
{
	refused(NOINLINE "long parse(long x)\n{\n	if (x > 1) { static long n = 1; return n += x; }\n"
			 "	{ static long n = 1; return n -= x; }\n}\n" NOINLINE
			 "long other(long x) { return x; }\n" MAIN,
		"	if (x > 1) {", "	if (x > 9) { static long n = 1; return n ^= x; }\n	if (x > 1) {",
		"it is not clear");
}

static void compiler_error(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "", program);
	fx_link(&f);
	fx_replace(&f, "a.c", "x + limit", "x + undeclared_thing");
	fx_build(&f);
	fx_failed(&f, SUTURE_ECOMPILE, "undeclared_thing");
	fx_deinit(&f);
}

/* New code that refers to a function in a new file, which no command compiles. */
static void new_source_file(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "", program);
	fx_link(&f);
	fx_change(&f, "extra.c", "long extra(long x) { return x + 9; }\n");
	fx_replace(&f, "a.c", "long other(long x)\n{\n", "long extra(long);\nlong other(long x)\n{\n x = extra(x);\n");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "refers to extra");
	assert_true(fx_noted(&f, "extra.c is new and has no compile command"));
	fx_deinit(&f);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(initial_value),
		cmocka_unit_test(initial_value_from_zero),
		cmocka_unit_test(size_of_data),
		cmocka_unit_test(layout),
		cmocka_unit_test(layout_of_a_typedef),
		cmocka_unit_test(layout_without_name),
		cmocka_unit_test(signedness),
		cmocka_unit_test(reshaped),
		cmocka_unit_test(enumerators),
		cmocka_unit_test(more_enumerators),
		cmocka_unit_test(exported_signature),
		cmocka_unit_test(signature_with_callers_elsewhere),
		cmocka_unit_test(local_signature),
		cmocka_unit_test(exported_constant),
		cmocka_unit_test(constant_read_elsewhere),
		cmocka_unit_test(new_thread_local),
		cmocka_unit_test(new_constructor),
		cmocka_unit_test(new_table_entry),
		cmocka_unit_test(too_short),
		cmocka_unit_test(folded),
		cmocka_unit_test(one_variant),
		cmocka_unit_test(resolver),
		cmocka_unit_test(wrong_options),
		cmocka_unit_test(wrong_source),
		cmocka_unit_test(stripped),
		cmocka_unit_test(lto),
		cmocka_unit_test(profile),
		cmocka_unit_test(bolted),
		cmocka_unit_test(assembler),
		cmocka_unit_test(labels_in_writable_data),
		cmocka_unit_test(doubtful_static),
		cmocka_unit_test(compiler_error),
		cmocka_unit_test(new_source_file),
	};

	fx_args(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
