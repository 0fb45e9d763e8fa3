/* SPDX-License-Identifier: MIT */
/*
 * Hunks applied to texts, and the line directives that keep the numbers of unchanged lines. The oracle is the
 * preprocessor's: each unchanged line that says "@N" must come out with __LINE__ equal to N.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "diff/diff.h"

static struct suture_ctx *ctx;

static int setup(void **state)
{
	return suture_ctx_create(NULL, &ctx);
}

static int teardown(void **state)
{
	suture_ctx_destroy(ctx);
	return 0;
}

/* A text with its lines put in by hand: "+..." added, "-..." removed, " ..." kept. */
static void make(const char *edit, struct sut_text *t)
{
	unsigned orig = 0;

	for (const char *p = edit; *p;) {
		size_t n = strcspn(p, "\n") + 1;
		struct sut_text_line l = { p + 1, n - 1, 0 };

		if (*p != '+')
			l.orig = ++orig;
		if (*p != '-')
			assert_int_equal(sut_vec_push(&t->line, l), 0);
		p += n;
	}
}

static char *written(const char *edit, bool number)
{
	struct sut_text t = { 0 };
	struct sut_buf b = { 0 };

	make(edit, &t);
	assert_int_equal(sut_text_write(ctx, &t, number, &b), 0);
	assert_int_equal(sut_buf_add(&b, "", 1), 0);
	sut_vec_free(&t.line);
	return (char *)b.p;
}

static void writes(const char *edit, const char *want)
{
	char *have = written(edit, true);

	assert_string_equal(have, want);
	free(have);
}

static void no_change(void **state)
{
	writes(" a\n b\n c\n", "a\nb\nc\n");
}

static void added_and_removed(void **state)
{
	writes(" a\n+x\n+y\n b\n", "a\nx\ny\n#line 2\nb\n");
	writes(" a\n-x\n b\n", "a\n#line 3\nb\n");
	/* as many lines as before: nothing to set right */
	writes(" a\n-x\n+y\n b\n", "a\ny\nb\n");
}

static void not_in_a_comment(void **state)
{
	writes(" a\n+x\n /* one\n two */\n b\n", "a\nx\n#line 2\n/* one\ntwo */\nb\n");
	writes(" /* one\n+x\n two */\n b\n", "/* one\nx\ntwo */\n#line 3\nb\n");
	writes(" a // no ( comment /*\n+x\n b\n", "a // no ( comment /*\nx\n#line 2\nb\n");
}

static void not_among_arguments(void **state)
{
	writes(" f(a,\n+x,\n b);\n c\n", "f(a,\nx,\nb);\n#line 3\nc\n");
	writes(" f(\")\",\n+x,\n ')');\n c\n", "f(\")\",\nx,\n')');\n#line 3\nc\n");
	/* braces and brackets do no harm */
	writes(" int a[] = {\n+1,\n 2,\n };\n", "int a[] = {\n1,\n#line 2\n2,\n};\n");
}

static void not_in_a_continued_line(void **state)
{
	writes(" #define X 1 \\\n+ + 2 \\\n + 3\n b\n", "#define X 1 \\\n + 2 \\\n+ 3\n#line 3\nb\n");
	/* a directive's parentheses are its own */
	writes(" #define OPEN (\n+x\n b\n", "#define OPEN (\nx\n#line 2\nb\n");
}

/* In a group that is skipped the directive is, too; after the group it must stand again. */
static void conditional_groups(void **state)
{
	writes(" #if A\n+x\n b\n #else\n c\n #endif\n d\n",
	       "#if A\nx\n#line 2\nb\n#else\n#line 4\nc\n#endif\n#line 6\nd\n");
	/* branches that open the same parenthesis */
	writes(" #if A\n if (x &&\n #else\n if (\n #endif\n+n &&\n y)\n z;\n",
	       "#if A\nif (x &&\n#else\nif (\n#endif\nn &&\ny)\n#line 7\nz;\n");
}

static void the_compiler_agrees(void **state)
{
	static const char edit[] = " int l1 = __LINE__;\n"
				   "+int n1;\n+int n2;\n"
				   " int l2 = __LINE__;\n"
				   " #if 0\n"
				   "-int gone;\n-int gone2;\n"
				   "+int skipped;\n"
				   " int l6 = 6 * (\n"
				   " 1);\n"
				   " #else\n"
				   " int l9 = __LINE__; /* a\n"
				   "+ comment\n"
				   " that ends */ int l10 = __LINE__;\n"
				   " int l11 = __LINE__;\n"
				   " #endif\n"
				   " #define M(a, b) int l13 = (__LINE__) * 0 + 13 + (a) * 0 + (b) * 0\n"
				   " M(1,\n"
				   "+\n"
				   " 2);\n"
				   " int l16 = __LINE__;\n";
	char dir[] = "/tmp/sut-text-XXXXXX", cmd[256], *text = written(edit, true);
	FILE *out;

	assert_non_null(mkdtemp(dir));
	snprintf(cmd, sizeof(cmd), "%s/a.c", dir);
	out = fopen(cmd, "w");
	assert_non_null(out);
	fprintf(out, "%s\n_Static_assert(__LINE__ == 18, \"end\");\n", text);
	fclose(out);
	free(text);
	snprintf(cmd, sizeof(cmd),
		 "cd %s && gcc -E -P a.c | tr -d '\\n' | grep -o 'int l[0-9]* = [^;]*' | sed 's/int l//' > o; cat o; "
		 "grep -q '^2 = 2$' o && grep -q '^11 = 11$' o && grep -q '^16 = 16$' o && gcc -fsyntax-only a.c; "
		 "s=$?; rm -rf %s; exit $s",
		 dir, dir);
	assert_int_equal(system(cmd), 0);
}

static void applies_at_an_offset(void **state)
{
	static const struct sut_hunk_line lines[] = { { ' ', "b\n", 2 }, { '-', "c\n", 2 }, { '+', "C\n", 2 } };
	struct sut_diff_file f = { .diff = "x.diff", .rel = "x" };
	struct sut_hunk h = { 2, 2, 2, 2, 0, 3 };
	struct sut_text t = { 0 };
	struct sut_buf b = { 0 };

	for (size_t i = 0; i < 3; i++)
		assert_int_equal(sut_vec_push(&f.line, lines[i]), 0);
	assert_int_equal(sut_vec_push(&f.hunk, h), 0);
	assert_int_equal(sut_text_split(ctx, "new\nnew\na\nb\nc\nd", 14, &t), 0);
	assert_int_equal(sut_text_apply(ctx, &t, &f), 0);
	assert_int_equal(sut_text_write(ctx, &t, false, &b), 0);
	assert_int_equal(b.len, 14);
	assert_memory_equal(b.p, "new\nnew\na\nb\nC\nd", 14);
	/* Once more: now it is applied already, and said to be. */
	assert_int_equal(sut_text_apply(ctx, &t, &f), -SUTURE_EREFUSED);
	assert_non_null(strstr(suture_ctx_error(ctx)->message, "applied already"));
	sut_buf_free(&b);
	sut_vec_free(&t.line);
	sut_vec_free(&f.line);
	sut_vec_free(&f.hunk);
}

static void clean_paths(void **state)
{
	struct sut_pool pool = { 0 };

	assert_string_equal(sut_path_clean(&pool, "/a/b", "c.c"), "/a/b/c.c");
	assert_string_equal(sut_path_clean(&pool, "/a/b", "../c.c"), "/a/c.c");
	assert_string_equal(sut_path_clean(&pool, "/a/b", "./x/.././c.c"), "/a/b/c.c");
	assert_string_equal(sut_path_clean(&pool, "/a", "/x//y/"), "/x/y");
	assert_string_equal(sut_path_clean(&pool, "/a", "../../.."), "/");
	assert_string_equal(sut_path_below("/a/b", "/a/b/c"), "c");
	assert_string_equal(sut_path_below("/a/b", "/a/b"), "");
	assert_null(sut_path_below("/a/b", "/a/bc"));
	assert_string_equal(sut_path_below("/", "/a"), "a");
	sut_pool_free(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_change),
		cmocka_unit_test(added_and_removed),
		cmocka_unit_test(not_in_a_comment),
		cmocka_unit_test(not_among_arguments),
		cmocka_unit_test(not_in_a_continued_line),
		cmocka_unit_test(conditional_groups),
		cmocka_unit_test(the_compiler_agrees),
		cmocka_unit_test(applies_at_an_offset),
		cmocka_unit_test(clean_paths),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
