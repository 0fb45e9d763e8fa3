/* SPDX-License-Identifier: MIT */
/*
 * What a patch takes: just the functions that differ, and what they need.
 * Run for each compiler and optimisation level.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <suture/sutfile.h>

#include "fixture.h"

#define NOINLINE "__attribute__((noinline)) "
#define MAIN     "int main(void) { return (int)parse(1) + (int)other(2); }\n"

/* Two functions that stay apart at every level, each with an assert-like use of __LINE__. */
static const char two_functions[] = "#include <stdio.h>\n"
				    "#include <stdlib.h>\n"
				    "#define CHECK(x) ((x) ? (void)0 : fail(__FILE__, __LINE__, #x))\n"
				    "static int level = 3;\n"
				    "int hits;\n" NOINLINE "void fail(const char *f, int line, const char *what)\n"
				    "{\n"
				    "	fprintf(stderr, \"%s:%d: %s\\n\", f, line, what);\n"
				    "	abort();\n"
				    "}\n" NOINLINE "long parse(long x)\n"
				    "{\n"
				    "	CHECK(x >= 0);\n"
				    "	hits++;\n"
				    "	return x + level;\n"
				    "}\n" NOINLINE "long other(long x)\n"
				    "{\n"
				    "	CHECK(x >= 1);\n"
				    "	hits += 2;\n"
				    "	level = (int)x;\n"
				    "	return x * 7;\n"
				    "}\n" MAIN;

static void body_only(void **state)
{
	struct suture_file_func func;
	struct fx f;
	char *re;

	fx_init(&f);
	fx_source(&f, "a.c", "", two_functions);
	fx_link(&f);
	fx_replace(&f, "a.c", "	CHECK(x >= 0);\n",
		   "	/* three\n	   lines\n	   more */\n	CHECK(x >= 0);\n	if (x > 1000)\n	"
		   "	return -1;\n");
	fx_build(&f);
	/* The line numbers of other() have moved by five; it must not look changed. */
	fx_functions(&f, "parse");
	assert_int_equal(fx_item(&f, "parse")->reason, SUT_WHY_CHANGED);
	assert_true(fx_item(&f, "parse")->old_size > 0);
	assert_true(fx_item(&f, "parse")->new_size > fx_item(&f, "parse")->old_size);
	assert_int_equal(f.report.units, 1);
	assert_int_equal(f.report.units_changed, 1);
	assert_true(f.report.funcs_verified >= 4);
	fx_file_func(&f, "parse", &func);
	assert_int_equal(func.old_sympos, 0);
	assert_int_equal(func.old_size, fx_item(&f, "parse")->old_size);
	re = fx_readelf(&f);
	/* The target's own data and functions are referred to where they are. */
	assert_non_null(strstr(re, ".suture.sym.0.hits,0"));
	assert_non_null(strstr(re, ".suture.sym.0.level,0"));
	assert_null(strstr(re, ".bss.hits"));
	free(re);
	fx_deinit(&f);
}

static void nothing(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "", two_functions);
	fx_link(&f);
	fx_replace(&f, "a.c", "int hits;\n", "/* counts */\n\nint hits;\n");
	fx_build(&f);
	fx_failed(&f, SUTURE_ENOTHING, "nothing to patch");
	assert_int_equal(f.report.units, 1);
	assert_int_equal(f.report.units_changed, 0);
	fx_deinit(&f);
}

static void new_function_and_data(void **state)
{
	struct fx f;
	char *re;

	fx_init(&f);
	fx_source(&f, "a.c", "", two_functions);
	fx_link(&f);
	fx_replace(&f, "a.c", "long parse(long x)\n{\n	CHECK(x >= 0);\n",
		   "long refuse(long x)\n{\n	static int refused = 4;\n	static long last;\n	"
		   "refused++;\n	last = x;\n"
		   "	printf(\"refused %ld %ld\\n\", x, last + refused);\n	return -1;\n}\n" NOINLINE
		   "long parse(long x)\n{\n	CHECK(x >= 0);\n	if (x > 99)\n		return refuse(x);\n");
	fx_build(&f);
	fx_functions(&f, "parse");
	assert_int_equal(fx_item(&f, "refuse")->reason, SUT_WHY_NEW);
	re = fx_readelf(&f);
	assert_non_null(strstr(re, ".text.refuse"));
	assert_non_null(strstr(re, "refused"));
	assert_non_null(strstr(re, "UND printf"));
	free(re);
	fx_deinit(&f);
}

/* The numbers of static locals shift: each must remain the variable of its own function. */
static void static_locals(void **state)
{
	struct fx f;
	char *re;

	fx_init(&f);
	fx_source(
		&f, "a.c", "",
		NOINLINE
		"long parse(long x) { static long count = 5; return count += x; }\n" NOINLINE
		"long other(long x) { static long count = 6; static long more; return more++ + (count += x); }\n" MAIN);
	fx_link(&f);
	fx_change(&f, "a.c",
		  NOINLINE "long fresh(long x) { static long count = 9; return count -= x; }\n" NOINLINE
			   "long parse(long x) { static long count = 5; return count += x; }\n" NOINLINE
			   "long other(long x) { static long count = 6; static long more; return more++ + (count += x) "
			   "+ fresh(x); }\n" MAIN);
	fx_build(&f);
	fx_functions(&f, "other");
	assert_int_equal(fx_item(&f, "fresh")->reason, SUT_WHY_NEW);
	re = fx_readelf(&f);
	assert_non_null(strstr(re, ".data.")); /* only fresh's count comes along ... */
	assert_null(strstr(re, ".bss."));
	assert_non_null(strstr(re, "more")); /* ... other's two are late symbols */
	free(re);
	fx_deinit(&f);
}

static const char header_before[] = "static inline long limit(long x) { return x > 100 ? 100 : x; }\n";
static const char header_after[] = "static inline long limit(long x) { return x > 50 ? 50 : x; }\n";

static void through_a_header(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_write(&f, "include/limit.h", header_before);
	fx_source(&f, "a.c", "-Iinclude",
		  "#include \"limit.h\"\nlong parse(long x) { return limit(x) + 1; }\nlong other(long);\n" MAIN);
	fx_source(&f, "b.c", "-Iinclude", "#include <limit.h>\nlong other(long x) { return limit(x) * 3; }\n");
	fx_source(&f, "c.c", "-Iinclude", "int unrelated(int x) { return x; }\n");
	fx_link(&f);
	fx_change(&f, "include/limit.h", header_after);
	fx_build(&f);
	/* Inlined or not: what holds the code is replaced, in both units. */
	assert_int_equal(f.report.units, 2);
	if (fx_item(&f, "limit"))
		fx_functions(&f, "limit limit");
	else
		fx_functions(&f, strcmp(fx_opt, "-O0") ? "parse other" : "limit limit");
	free(fx_readelf(&f));
	fx_deinit(&f);
}

/* No line of any source names the header. */
static void through_a_header_of_the_command(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_write(&f, "limit.h", "#define LIMIT 4\n");
	fx_source(&f, "a.c", "-DLIMITS='<limit.h>' -I.",
		  "#include LIMITS\nlong parse(long x) { return x + LIMIT; }\n"
		  "int main(int n, char **v) { return (int)parse(n) + (v == 0); }\n");
	fx_link(&f);
	fx_change(&f, "limit.h", "#define LIMIT 5\n");
	assert_int_equal(fx_build(&f), 0);
	assert_non_null(fx_item(&f, "parse"));
	fx_deinit(&f);
}

static void homonyms(void **state)
{
	struct suture_file_func func;
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "",
		  "static " NOINLINE
		  "long step(long x) { static long n; return n += x; }\nlong parse(long x) { return step(x); }\n"
		  "long other(long);\n" MAIN);
	fx_source(&f, "b.c", "",
		  "static " NOINLINE
		  "long step(long x) { static long n; return n -= x; }\nlong other(long x) { return step(x); }\n");
	fx_link(&f);
	fx_replace(&f, "b.c", "return n -= x;", "return x > 10 ? 0 : (n -= x);");
	fx_build(&f);
	fx_functions(&f, "step");
	fx_file_func(&f, "step", &func);
	assert_int_equal(func.old_sympos, 2);
	free(fx_readelf(&f));
	fx_deinit(&f);
}

static const char switching[] =
	"#include <stdio.h>\n" NOINLINE "long parse(long x)\n{\n"
	"	switch (x) {\n	case 0: return puts(\"zero\");\n	case 1: return puts(\"one\") + 1;\n"
	"	case 2: return puts(\"two\") * 2;\n	case 3: return puts(\"three\") - 3;\n	case 4: return "
	"puts(\"four\") ^ 4;\n"
	"	case 5: return puts(\"five\") | 5;\n	case 6: return puts(\"six\") & 6;\n	}\n	return "
	"x;\n}\n" NOINLINE "long other(long x)\n{\n"
	"	switch (x) {\n	case 0: return puts(\"a\");\n	case 1: return puts(\"b\") + 1;\n"
	"	case 2: return puts(\"c\") * 2;\n	case 3: return puts(\"d\") - 3;\n	case 4: return "
	"puts(\"e\") ^ 4;\n"
	"	case 5: return puts(\"f\") | 5;\n	case 6: return puts(\"g\") & 6;\n	}\n	return "
	"x;\n}\n" MAIN;

static void switch_tables(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "", switching);
	fx_link(&f);
	fx_replace(&f, "a.c", "	case 2: return puts(\"two\") * 2;\n", "	case 2: puts(\"deux\"); return x * 9;\n");
	fx_build(&f);
	fx_functions(&f, "parse");
	free(fx_readelf(&f));
	fx_deinit(&f);
}

static void string_only(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "", switching);
	fx_link(&f);
	fx_replace(&f, "a.c", "\"six\"", "\"SIX\"");
	fx_build(&f);
	fx_functions(&f, "parse");
	fx_deinit(&f);
}

/* Why a function is taken is said in words, also where what differs has no name (the fixture looks at those). */
static void explained(void **state)
{
	static const char *const change[][2] = { { "\"hello\"", "\"good bye\"" }, { "\"four\"", "\"FOUR\"" } };

	for (int i = 0; i < 2; i++) {
		struct fx f;

		fx_init(&f);
		fx_source(&f, "a.c", "",
			  "#include <stdio.h>\n" NOINLINE "long parse(long x)\n"
			  "{\n"
			  "	const char *const words[] = { \"one\", \"two\", \"three\", \"four\", \"five\" };\n"
			  "	return words[x % 5][0];\n"
			  "}\n" NOINLINE "long other(long x) { return puts(\"hello\") + x; }\n" MAIN);
		fx_link(&f);
		fx_replace(&f, "a.c", change[i][0], change[i][1]);
		fx_build(&f);
		fx_functions(&f, i ? "parse" : "other");
		assert_true(i || strstr(fx_item(&f, "other")->text, "refers to \"good bye\" instead of \"hello\""));
		fx_deinit(&f);
	}
}

static void changed_constant_table(void **state)
{
	struct fx f;
	char *re;

	fx_init(&f);
	fx_source(&f, "a.c", "",
		  "static const char *const names[] = { \"one\", \"two\", \"three\" };\n"
		  "static const int weight[64] = { 1, 2, 3, 4 };\n" NOINLINE
		  "long parse(long x) { return names[x % 3][0] + weight[x & 63]; }\n" NOINLINE
		  "long other(long x) { return names[x % 3][1]; }\n" MAIN);
	fx_link(&f);
	fx_replace(&f, "a.c", "{ 1, 2, 3, 4 }", "{ 1, 2, 3, 5 }");
	fx_build(&f);
	fx_functions(&f, "parse");
	assert_int_equal(fx_item(&f, "parse")->reason, SUT_WHY_DATA);
	re = fx_readelf(&f);
	assert_non_null(strstr(re, "weight")); /* the new contents come along ... */
	assert_non_null(strstr(re, ".suture.sym.0.names")); /* ... and what is as it was stays where it is */
	free(re);
	fx_deinit(&f);
}

static void thread_local_data(void **state)
{
	struct fx f;
	char *re;

	fx_init(&f);
	fx_source(&f, "a.c", "",
		  "static __thread long mine = 4;\n__thread long yours;\nextern __thread long theirs;\n" NOINLINE
		  "long parse(long x) { return mine += x + yours + theirs; }\n" NOINLINE
		  "long other(long x) { return yours -= x; }\n" MAIN);
	fx_source(&f, "b.c", "", "__thread long theirs = 9;\n");
	fx_link(&f);
	fx_replace(&f, "a.c", "mine += x + yours + theirs", "mine += x * 2 + yours + theirs * 3");
	fx_build(&f);
	fx_functions(&f, "parse");
	re = fx_readelf(&f);
	assert_non_null(strstr(re, "TLS     GLOBAL DEFAULT OS [0xff20] .suture.sym.0.mine,0"));
	assert_non_null(strstr(re, ".suture.sym.0.yours,0"));
	assert_non_null(strstr(re, ".suture.sym.0.theirs,0"));
	free(re);
	fx_deinit(&f);
}

/* A library reaches its own exported symbols through slots, and so must the patch. */
static void shared_library(void **state)
{
	struct fx f;
	char *re;

	fx_init(&f);
	f.cflags = "-fPIC";
	f.ldflags = "-shared -Wl,-soname,libone.so.1";
	fx_source(&f, "a.c", "",
		  "#include <stdlib.h>\nlong shared_count;\n" NOINLINE
		  "long exported(long x) { shared_count++; return x + 1; }\n" NOINLINE
		  "static long local(long x) { return labs(x) + 2; }\n" NOINLINE
		  "__attribute__((visibility(\"hidden\"))) long hidden(long x) { return x * local(x); }\n"
		  "long parse(long x) { return exported(x) + hidden(x) + local(x + 1); }\n");
	fx_link(&f);
	fx_replace(&f, "a.c", "return exported(x) + hidden(x) + local(x + 1)",
		   "return exported(x + 3) * hidden(x) - local(x + 1) + shared_count");
	fx_build(&f);
	fx_functions(&f, "parse");
	re = fx_readelf(&f);
	assert_non_null(strstr(re, "UND exported"));
	assert_non_null(strstr(re, "UND shared_count"));
	assert_non_null(strstr(re, ".suture.sym.0.hidden,0"));
	assert_non_null(strstr(re, ".suture.sym.0.local"));
	free(re);
	fx_run(&f, "strings -a out.sut | grep -qx libone.so.1");
	fx_deinit(&f);
}

/* Position dependent and static programs: no dynamic section, absolute addresses. */
static void static_program(void **state)
{
	struct fx f;

	fx_init(&f);
	f.cflags = "-fno-pie";
	f.ldflags = "-static -no-pie";
	fx_source(&f, "a.c", "", two_functions);
	fx_link(&f);
	fx_replace(&f, "a.c", "return x + level;", "return x + level * 2;");
	fx_build(&f);
	fx_functions(&f, "parse");
	free(fx_readelf(&f));
	fx_deinit(&f);
}

/* A pointer to a replaced function is the old function's; a call of another replaced one is direct. */
static void addresses_and_calls(void **state)
{
	struct fx f;
	char *re;

	fx_init(&f);
	fx_source(&f, "a.c", "",
		  "long (*hook)(long);\n" NOINLINE "long other(long x) { hook = 0; return x - 1; }\n" NOINLINE
		  "long parse(long x) { hook = other; return other(x) + 5; }\n" MAIN);
	fx_link(&f);
	fx_change(&f, "a.c",
		  "long (*hook)(long);\n" NOINLINE "long other(long x) { hook = 0; return x - 100; }\n" NOINLINE
		  "long parse(long x) { hook = other; return other(x) + 500; }\n" MAIN);
	fx_build(&f);
	fx_functions(&f, "parse other");
	re = fx_readelf(&f);
	assert_non_null(strstr(re, ".suture.sym.0.other,0"));
	free(re);
	fx_deinit(&f);
}

static void label_tables(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "",
		  NOINLINE "long parse(long x)\n{\n	static const void *const go[] = { &&a, &&b, &&c };\n	goto "
			   "*go[x % 3];\n"
			   "a:	return x + 1;\nb:	return x * 77;\nc:	return x - 3;\n}\n" NOINLINE
			   "long other(long x) { return x; }\n" MAIN);
	fx_link(&f);
	/* The labels may well stand where they stood: still the new function needs a table of its own. */
	fx_replace(&f, "a.c", "return x - 3", "return x - 4");
	fx_build(&f);
	fx_functions(&f, "parse");
	fx_run(&f, "readelf -rW out.sut | grep -A6 'go' | grep -v 'suture.sym.0.parse'");
	free(fx_readelf(&f));
	fx_deinit(&f);
}

static void main_runs_once(void **state)
{
	struct suture_file_func func;
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "", two_functions);
	fx_link(&f);
	fx_replace(&f, "a.c", "parse(1)", "parse(11)");
	fx_build(&f);
	fx_functions(&f, "main");
	assert_true(fx_noted(&f, "main runs only at start"));
	fx_file_func(&f, "main", &func);
	assert_int_equal(func.flags, SUTURE_FUNC_START_ONLY);
	fx_deinit(&f);
}

static void dry_run(void **state)
{
	struct fx f;

	fx_init(&f);
	f.dry_run = true;
	fx_source(&f, "a.c", "", two_functions);
	fx_link(&f);
	fx_replace(&f, "a.c", "return x + level;", "return x + level * 2;");
	fx_build(&f);
	fx_functions(&f, "parse");
	fx_deinit(&f);
}

/* A function with a cold part: the old one's is a range of its own, the new one's comes along. */
static void cold_parts(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "",
		  "#include <stdio.h>\n#include <stdlib.h>\n__attribute__((cold,noinline)) void bad(long x) { "
		  "printf(\"%ld\\n\", x); }\n" NOINLINE
		  "long parse(long x)\n{\n	if (x < 0) { bad(x); puts(\"negative\"); return -1; }\n	return x * "
		  "3;\n}\n" NOINLINE "long other(long x) { return x; }\n" MAIN);
	fx_link(&f);
	fx_replace(&f, "a.c", "puts(\"negative\")", "puts(\"below zero\")");
	fx_build(&f);
	fx_functions(&f, "parse");
	fx_run(&f, "if nm bin | grep -q 'parse.cold$'; then readelf -SW out.sut | grep -q suture.ranges; fi");
	free(fx_readelf(&f));
	fx_deinit(&f);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(body_only),
		cmocka_unit_test(nothing),
		cmocka_unit_test(new_function_and_data),
		cmocka_unit_test(static_locals),
		cmocka_unit_test(through_a_header),
		cmocka_unit_test(through_a_header_of_the_command),
		cmocka_unit_test(homonyms),
		cmocka_unit_test(switch_tables),
		cmocka_unit_test(string_only),
		cmocka_unit_test(explained),
		cmocka_unit_test(changed_constant_table),
		cmocka_unit_test(thread_local_data),
		cmocka_unit_test(shared_library),
		cmocka_unit_test(static_program),
		cmocka_unit_test(addresses_and_calls),
		cmocka_unit_test(label_tables),
		cmocka_unit_test(main_runs_once),
		cmocka_unit_test(dry_run),
		cmocka_unit_test(cold_parts),
	};

	fx_args(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
