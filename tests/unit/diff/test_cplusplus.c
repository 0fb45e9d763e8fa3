/* SPDX-License-Identifier: MIT */
/*
 * What C++ adds: tables of virtual functions that live objects point to, objects that are set up at start,
 * variables of functions that only numbers tell apart, lambdas that live in callbacks. The programs need no
 * C++ library.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fixture.h"

#define NOINLINE "__attribute__((noinline)) "

static void program(struct fx *f, const char *text)
{
	fx_init(f);
	f->cflags = "-fno-rtti -fno-exceptions";
	fx_source(f, "a.cc", "", text);
	fx_link(f);
}

/* One change of one file, and what must be said about it. */
static void refused(const char *text, const char *old, const char *new, const char *says)
{
	struct fx f;

	program(&f, text);
	fx_replace(&f, "a.cc", old, new);
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, says);
	fx_deinit(&f);
}

/* ---- virtual functions ---- */

static const char shapes[] = "struct shape {\n"
			     "	virtual int area(int x);\n"
			     "	/* more */\n"
			     "	int side;\n"
			     "};\n"
			     "int shape::area(int x) { return x * side; }\n"
			     "/* bodies */\n"
			     "struct round : shape {\n"
			     "	virtual int turn(int x);\n"
			     "	/* overrides */\n"
			     "};\n"
			     "int round::turn(int x) { return x + side; }\n"
			     "static shape s;\n"
			     "static round r;\n"
			     "shape *volatile some[2] = { &s, &r };\n" NOINLINE "int measure(shape *p, int x)\n"
			     "{\n"
			     "	return p->area(x) + 1;\n"
			     "}\n"
			     "int main(int n, char **) { return measure(some[0], n) + r.turn(n); }\n";

static void body_of_a_virtual_function(void **state)
{
	struct fx f;

	program(&f, shapes);
	fx_replace(&f, "a.cc", "return x * side;", "return x * side + 77;");
	assert_int_equal(fx_build(&f), 0);
	assert_non_null(fx_item(&f, "_ZN5shape4areaEi")); /* and who inlines it */
	fx_deinit(&f);
}

static void new_virtual_function(void **state)
{
	refused(shapes, "	/* more */\n", "	virtual int rim(int x) { return x * 4; }\n",
		"the table of virtual functions _ZTV5");
}

static void new_override(void **state)
{
	refused(shapes, "	/* overrides */\n", "	int area(int x) override { return x * 3; }\n",
		"the table of virtual functions _ZTV5round");
}

/* ---- set up at start ---- */

static const char counters[] = "extern \"C\" int getpid();\n"
			       "struct counter {\n"
			       "	counter(int k) : n(getpid() + k) { self = this; }\n"
			       "	int n;\n"
			       "	counter *self;\n"
			       "};\n"
			       "static counter hits(5);\n"
			       "/* more */\n" NOINLINE "int count(int x)\n"
			       "{\n"
			       "	return hits.self->n += x;\n"
			       "}\n"
			       "int main(int n, char **) { return count(n); }\n";

static void new_object_with_a_constructor(void **state)
{
	struct fx f;

	program(&f, counters);
	fx_run(&f, "sed -e 's|/. more ./|static counter misses(6);|' -e 's|hits.self->n|misses.self->n|' "
		   "tree/a.cc > new; diff -u --label a/a.cc --label b/a.cc tree/a.cc new > fix.diff; [ $? = 1 ]");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "is set up by code that runs only when a process starts");
	fx_deinit(&f);
}

static void new_object_of_a_function(void **state)
{
	struct fx f;

	program(&f, counters);
	fx_replace(&f, "a.cc", "	return hits.self->n += x;\n",
		   "	static int misses;\n	return hits.self->n += x + misses++;\n");
	fx_build(&f);
	fx_functions(&f, "_Z5counti");
	assert_non_null(fx_item(&f, "_ZZ5countiE6misses"));
	fx_deinit(&f);
}

/* ---- variables of functions ---- */

static const char blocks[] = NOINLINE "int step(int x)\n"
				      "{\n"
				      "	/* first */\n"
				      "	if (x > 0) {\n"
				      "		static int n;\n"
				      "		return n += x;\n"
				      "	}\n"
				      "	return 0;\n"
				      "}\n"
				      "int main(int n, char **) { return step(n); }\n";

/* The new variable takes the name, the one that lives gets another number. */
static void another_variable_of_the_name(void **state)
{
	refused(blocks, "	/* first */\n",
		"	if (x > 9) {\n		static int n;\n		n += 3 * x;\n"
		"		asm volatile(\"\" : : \"r\"(n));\n	}\n",
		"it is not clear whether the static variable");
}

static void variable_that_stays(void **state)
{
	struct fx f;

	program(&f, blocks);
	fx_replace(&f, "a.cc", "n += x;", "n += x + 2;");
	fx_build(&f);
	fx_functions(&f, "_Z4stepi");
	assert_null(fx_item(&f, "_ZZ4stepiE1n"));
	fx_deinit(&f);
}

/* ---- lambdas ---- */

static const char callbacks[] =
	"struct callback { int (*call)(void *, int); char room[32]; };\n"
	"template <class F> struct caller {\n"
	"	static int call(void *p, int x) { return (*(F *)p)(x); }\n"
	"};\n"
	"callback live[4];\n"
	"int n_live;\n"
	"template <class F> static void add(F f)\n"
	"{\n"
	"	live[n_live].call = caller<F>::call;\n"
	"	__builtin_memcpy(live[n_live++].room, &f, sizeof(f));\n"
	"}\n" NOINLINE "void setup(int k)\n"
	"{\n"
	"	long z = k * 3;\n"
	"	/* first */\n"
	"	add([k](int x) { return x + k; });\n"
	"	add([z](int x) { return x - (int)z; });\n"
	"	/* last */\n"
	"}\n" NOINLINE "int use(int x) { return live[0].call(live[0].room, x) + live[1].call(live[1].room, x); }\n"
	"int main(int n, char **) { setup(n); return use(n); }\n";

static void body_of_a_lambda(void **state)
{
	struct fx f;

	program(&f, callbacks);
	fx_replace(&f, "a.cc", "return x + k;", "return x * 5 + k;");
	assert_int_equal(fx_build(&f), 0);
	fx_deinit(&f);
}

static void lambda_in_front(void **state)
{
	refused(callbacks, "	/* first */\n", "	add([](int x) { return x * 9; });\n",
		"adds or removes lambdas");
}

/* The numbers of those that live stay. */
static void lambda_behind(void **state)
{
	struct fx f;

	program(&f, callbacks);
	fx_replace(&f, "a.cc", "	/* last */\n", "	add([](int x) { return x * 9; });\n");
	assert_int_equal(fx_build(&f), 0);
	fx_deinit(&f);
}

static void captures(void **state)
{
	refused(callbacks, "add([k](int x) { return x + k; });", "add([z, k](int x) { return x + k + (int)z; });",
		"captures, and callbacks that live");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(body_of_a_virtual_function),
		cmocka_unit_test(new_virtual_function),
		cmocka_unit_test(new_override),
		cmocka_unit_test(new_object_with_a_constructor),
		cmocka_unit_test(new_object_of_a_function),
		cmocka_unit_test(another_variable_of_the_name),
		cmocka_unit_test(variable_that_stays),
		cmocka_unit_test(body_of_a_lambda),
		cmocka_unit_test(lambda_in_front),
		cmocka_unit_test(lambda_behind),
		cmocka_unit_test(captures),
	};

	fx_args(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
