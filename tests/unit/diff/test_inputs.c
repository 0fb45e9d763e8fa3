/* SPDX-License-Identifier: MIT */
/*
 * Untidy input: differences of all dialects, databases of all kinds, trees that have moved.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <suture/sutfile.h>

#include "fixture.h"

#define NOINLINE "__attribute__((noinline)) "

static const char program[] =
	"#include <stdio.h>\nint level = 3;\n" NOINLINE
	"long parse(long x)\n{\n	level++;\n	return x + level;\n}\n" NOINLINE
	"long other(long x)\n{\n	printf(\"%s:%d\\n\", __FILE__, __LINE__);\n	return x * 7;\n}\n"
	"int main(void) { return (int)parse(1) + (int)other(2); }\n";

static void plain(struct fx *f)
{
	fx_init(f);
	fx_source(f, "src/a.c", "", program);
	fx_link(f);
}

/* Paths with two directories too many, as diff of two unpacked trees writes them; hunks for files not compiled. */
static void strip_level(void **state)
{
	struct fx f;

	plain(&f);
	fx_write(&f, "tests/run.tcl", "one\n");
	fx_run(&f, "mkdir -p old/pkg new2/pkg; cp -a tree/src tree/tests old/pkg; cp -a tree/src tree/tests new2/pkg; "
		   "sed -i 's/x + level/x - level/' new2/pkg/src/a.c; echo two >> new2/pkg/tests/run.tcl; "
		   "diff -ru old/pkg new2/pkg > fix.diff; test $? = 1");
	fx_build(&f);
	fx_functions(&f, "parse");
	assert_true(fx_noted(&f, "tests/run.tcl is not compiled"));
	fx_deinit(&f);
}

static void paths_match_nothing(void **state)
{
	struct fx f;

	plain(&f);
	fx_replace(&f, "src/a.c", "x + level", "x - level");
	fx_run(&f, "sed -i 's|src/a.c|lib/other.c|' fix.diff");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "no file of ");
	fx_deinit(&f);
}

/* Nothing that is compiled is touched: that is not "nothing to patch". */
static void only_documentation(void **state)
{
	struct fx f;

	plain(&f);
	fx_write(&f, "README", "one\n");
	fx_replace(&f, "README", "one", "two");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "no compiled file");
	assert_true(fx_noted(&f, "README is not compiled"));
	fx_deinit(&f);
}

static void does_not_fit(void **state)
{
	struct fx f;

	plain(&f);
	fx_replace(&f, "src/a.c", "x + level", "x - level");
	fx_run(&f, "sed -i 's/level++/level--/' fix.diff");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "hunk 1 of src/a.c");
	fx_deinit(&f);
}

static void applied_already(void **state)
{
	struct fx f;

	plain(&f);
	fx_replace(&f, "src/a.c", "x + level", "x - level");
	fx_run(&f, "sed -i 's/x + level/x - level/' tree/src/a.c");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "applied already");
	fx_deinit(&f);
}

static void damaged_difference(void **state)
{
	struct fx f;

	plain(&f);
	fx_replace(&f, "src/a.c", "x + level", "x - level");
	fx_run(&f, "head -n 6 fix.diff > cut; mv cut fix.diff");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "ends inside of a hunk");
	fx_run(&f, "echo hello > fix.diff");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "holds no difference");
	fx_run(&f, "printf -- '--- a/../../etc/passwd\\n+++ b/../../etc/passwd\\n@@ -1 +1 @@\\n-a\\n+b\\n' > fix.diff");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "leads out of the tree");
	fx_deinit(&f);
}

/* A source with CRLF, a difference without; and a last line without newline. */
static void line_ends(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(&f, "src/a.c", "", program);
	fx_run(&f, "sed -i 's/$/\\r/' tree/src/a.c; printf '/* end */' >> tree/src/a.c");
	fx_link(&f);
	fx_run(&f, "sed 's/x + level/x - level/' tree/src/a.c > new; "
		   "diff -u --label a/src/a.c --label b/src/a.c tree/src/a.c new | tr -d '\\r' > fix.diff; grep -q "
		   "level fix.diff");
	fx_build(&f);
	fx_functions(&f, "parse");
	fx_run(&f, "rm fix.diff; sed 's|/\\* end \\*/|int extra;|; s/x + level/x * level/' tree/src/a.c > new; "
		   "diff -u --label a/src/a.c --label b/src/a.c tree/src/a.c new > fix.diff; grep -q 'No newline' "
		   "fix.diff");
	fx_build(&f);
	fx_functions(&f, "parse");
	fx_deinit(&f);
}

/* git: quoted names, new header, mode lines. */
static void git_dialect(void **state)
{
	struct fx f;

	plain(&f);
	fx_run(&f, "cp -a tree g; cd g; rm -f compile_commands.json src/*.o; git init -q . 2>/dev/null; git add -A; "
		   "git -c user.name=t -c user.email=t commit -qm1; mkdir inc; echo '#define STEP 4' > inc/step.h; "
		   "sed -i 's/x + level/x + level * STEP/; 1i #include \"../inc/step.h\"' src/a.c; "
		   "git mv src/a.c src/a.c 2>/dev/null; git add -A; git diff --cached > ../fix.diff; cd ..; rm -rf g; "
		   "grep -q 'new file mode' fix.diff");
	fx_build(&f);
	fx_functions(&f, "parse");
	fx_deinit(&f);
}

static void renamed_source(void **state)
{
	struct fx f;

	plain(&f);
	fx_run(&f,
	       "printf 'diff --git a/src/a.c b/src/b.c\\nsimilarity index 100%%%%\\nrename from src/a.c\\nrename to "
	       "src/b.c\\n' > fix.diff");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "renames it");
	fx_deinit(&f);
}

static void two_differences(void **state)
{
	char a[128], b[128], bin[128], tree[128], out[128];
	const char *diffs[] = { a, b, NULL }, *targets[] = { bin, NULL };
	struct sut_build_opts o = { .target = targets, .diff = diffs, .srcdir = tree, .output = out, .name = "fix-1" };
	struct fx f;

	plain(&f);
	fx_run(&f, "sed 's/x + level/x - level/' tree/src/a.c > n1; sed 's/x - level/x - level * 2/; s/level++/level "
		   "+= 2/' n1 > n2; "
		   "diff -u --label a/src/a.c --label b/src/a.c tree/src/a.c n1 > 1.diff; "
		   "diff -u --label a/src/a.c --label b/src/a.c n1 n2 > 2.diff; true");
	snprintf(a, sizeof(a), "%s/1.diff", f.dir);
	snprintf(b, sizeof(b), "%s/2.diff", f.dir);
	snprintf(bin, sizeof(bin), "%s/bin", f.dir);
	snprintf(tree, sizeof(tree), "%s/tree", f.dir);
	snprintf(out, sizeof(out), "%s/out.sut", f.dir);
	f.err = -sut_build(f.ctx, &o, &f.report);
	fx_functions(&f, "parse");
	fx_run(&f, "strings -a out.sut | grep -qx name=fix-1");
	fx_deinit(&f);
}

/* The tree was somewhere else when the commands were recorded, and that place is gone. */
static void moved_tree(void **state)
{
	struct fx f;
	char moved[128], db[160];

	plain(&f);
	fx_replace(&f, "src/a.c", "x + level", "x - level");
	fx_run(&f, "mv tree moved; mkdir tree");
	snprintf(moved, sizeof(moved), "%s/moved", f.dir);
	snprintf(db, sizeof(db), "%s/moved/compile_commands.json", f.dir);
	f.srcdir = moved;
	f.db = db;
	fx_build(&f);
	fx_functions(&f, "parse"); /* __FILE__ in other() must not have changed */
	assert_true(fx_noted(&f, "the commands were recorded in"));
	fx_deinit(&f);
}

/* CMake's way: a build directory beside the tree, absolute paths; __FILE__ is absolute then. */
static void build_directory(void **state)
{
	struct fx f;
	char db[128];

	plain(&f);
	fx_write(&f, "include/step.h", "static inline long step(long x) { return x + 4; }\n");
	fx_source(&f, "src/b.c", "", "int b;\n");
	fx_run(&f,
	       "mkdir build; sed -i 's/x + level/step(x) + level/; 1i #include <step.h>' tree/src/a.c; cd build; "
	       "%s %s -g -I%s/tree/include -c -o a.o %s/tree/src/a.c && %s -o ../bin a.o; "
	       "printf '[{\"directory\":\"%s/build\",\"command\":\"%s %s -g -I%s/tree/include -MMD -MF a.d -c -o a.o "
	       "%s/tree/src/a.c\",\"file\":\"../tree/src/a.c\"}]' > cc.json",
	       f.cc, f.opt, f.dir, f.dir, f.cc, f.dir, f.cc, f.opt, f.dir, f.dir);
	snprintf(db, sizeof(db), "%s/build/cc.json", f.dir);
	f.db = db;
	fx_replace(&f, "include/step.h", "x + 4", "x - 44");
	fx_build(&f);
	if (strcmp(f.opt, "-O0"))
		fx_functions(&f, "parse");
	else
		fx_functions(&f, "step");
	fx_run(&f, "test ! -e build/a.d");
	fx_deinit(&f);
}

/* A path into the tree that is not written as the tree's: the patched copy would not be read. */
static void hidden_path(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_write(&f, "include/step.h", "static inline long step(long x) { return x + 4; }\n");
	fx_source(&f, "src/a.c", "-I../link",
		  "#include <step.h>\n" NOINLINE
		  "long parse(long x) { return step(x); }\nint main(void) { return (int)parse(1); }\n");
	fx_run(&f, "ln -s tree/include link");
	fx_link(&f);
	fx_replace(&f, "include/step.h", "x + 4", "x - 44");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "includes include/step.h by the path");
	fx_deinit(&f);
}

/* One file, three commands: the one whose object is in the target is found. */
static void several_commands(void **state)
{
	struct fx f;

	plain(&f);
	fx_run(&f,
	       "cd tree && python3 -c \"import json; d=json.load(open('compile_commands.json')); e=d[0]; "
	       "x=dict(e,command=e['command'].replace(' -g ',' -g -fPIC -DA=1 -fno-inline -fstack-protector-all ')); "
	       "json.dump([x,e,dict(e)],open('compile_commands.json','w'))\"");
	fx_replace(&f, "src/a.c", "x + level", "x - level");
	fx_build(&f);
	fx_functions(&f, "parse");
	fx_deinit(&f);
}

static void siblings(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(
		&f, "a.c", "",
		"#ifndef NAME\n#define NAME first\n#endif\n#define CAT(a, b) a##b\n#define X(a, b) CAT(a, b)\n" NOINLINE
		"long X(parse_, NAME)(long x) { return x * 3 + 1; }\n");
	fx_source(&f, "m.c", "",
		  "long parse_first(long), parse_second(long);\nint main(void) { return (int)(parse_first(1) + "
		  "parse_second(2)); }\n");
	fx_run(&f, "cd tree && %s %s -g -DNAME=second -c -o second.o a.c", f.cc, f.opt);
	f.ldflags = "second.o";
	fx_link(&f);
	fx_run(&f, "cd tree && python3 -c \"import json; d=json.load(open('compile_commands.json')); "
		   "d.append(dict(d[0],command=d[0]['command'].replace(' -g ',' -g -DNAME=second ')));"
		   "json.dump(d,open('compile_commands.json','w'))\"");
	fx_replace(&f, "a.c", "x * 3 + 1", "x * 4 + 1");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "is compiled twice, differently");
	fx_deinit(&f);
}

static void unit_of_another_program(void **state)
{
	struct fx f;

	plain(&f);
	fx_write(&f, "src/tool.c", "int main(int n, char **v) { return n * 3 + v[0][0]; }\n");
	fx_run(&f, "cd tree && python3 -c \"import json; d=json.load(open('compile_commands.json')); e=d[0]; "
		   "d.append({'directory':e['directory'],'file':'src/"
		   "tool.c','command':e['command'].replace('a.c','tool.c')});"
		   "json.dump(d,open('compile_commands.json','w'))\"");
	fx_replace(&f, "src/a.c", "x + level", "x - level");
	fx_replace(&f, "src/tool.c", "n * 3", "n * 4");
	fx_build(&f);
	fx_functions(&f, "parse");
	assert_true(fx_noted(&f, "src/tool.c is in none of the targets"));
	fx_deinit(&f);
}

static void bad_databases(void **state)
{
	struct fx f;
	char db[128];

	plain(&f);
	fx_replace(&f, "src/a.c", "x + level", "x - level");
	snprintf(db, sizeof(db), "%s/db.json", f.dir);
	f.db = db;
	fx_build(&f);
	fx_failed(&f, SUTURE_ENOTFOUND, "cannot read");
	fx_run(&f, "echo '{]' > db.json");
	fx_build(&f);
	assert_int_equal(f.err, SUTURE_EREFUSED);
	fx_run(&f, "echo '{}' > db.json");
	fx_build(&f);
	assert_int_equal(f.err, SUTURE_EREFUSED);
	fx_run(&f, "echo '[{\"directory\":\"/x\"}]' > db.json");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "entry 0");
	fx_run(&f, "echo '[{\"directory\":\"/nowhere\",\"file\":\"q.c\",\"command\":\"cc -c q.c\"}]' > db.json");
	fx_build(&f);
	fx_failed(&f, SUTURE_EREFUSED, "names no file of the source tree");
	fx_deinit(&f);
}

/* Quotes and backslashes of a recorded command; a string in -D that names the tree must not be changed. */
static void quoting(void **state)
{
	struct fx f;

	fx_init(&f);
	fx_source(&f, "a.c", "",
		  "#include <stdio.h>\n" NOINLINE "long parse(long x) { return x + sizeof(GREETING); }\n" NOINLINE
		  "long other(long x) { puts(DATA); puts(GREETING); return x; }\nint main(void) { return (int)parse(1) "
		  "+ (int)other(2); }\n");
	fx_run(&f,
	       "cd tree && %s %s -g -DGREETING='\"a b\"' -DDATA='\"%s/tree/data\"' -c -o a.o a.c && %s -o ../bin a.o "
	       "&& "
	       "cat > compile_commands.json <<'EOF'\n"
	       "[{\"directory\":\"%s/tree\",\"file\":\"a.c\",\"command\":\"%s %s -g '-DGREETING=\\\"a b\\\"' "
	       "-DDATA=\\\\\\\"%s/tree/data\\\\\\\" -c -o a.o a.c\"}]\nEOF",
	       f.cc, f.opt, f.dir, f.cc, f.dir, f.cc, f.opt, f.dir);
	fx_replace(&f, "a.c", "x + sizeof", "x - sizeof");
	fx_build(&f);
	fx_functions(&f, "parse");
	fx_deinit(&f);
}

/* Two objects, no compiling. */
static void objects(void **state)
{
	char a[128], b[128], bin[128], out[128];
	const char *targets[] = { bin, NULL };
	struct sut_build_opts o = { .target = targets, .output = out };
	struct fx f;

	fx_init(&f);
	f.cflags = "-ffunction-sections -fdata-sections";
	fx_source(&f, "src/a.c", "", program);
	fx_link(&f);
	fx_run(&f,
	       "cp tree/src/a.c.o a.o; sed 's/x + level/x - level/' tree/src/a.c > new.c; "
	       "%s %s -g -ffunction-sections -fdata-sections -DX -c -o b.o new.c; "
	       "sed -i 's|__FILE__, __LINE__|\"f\", 1|' new.c",
	       f.cc, f.opt);
	snprintf(a, sizeof(a), "%s/a.o", f.dir);
	snprintf(b, sizeof(b), "%s/b.o", f.dir);
	snprintf(bin, sizeof(bin), "%s/bin", f.dir);
	snprintf(out, sizeof(out), "%s/out.sut", f.dir);
	f.err = -sut_build_objects(f.ctx, a, b, &o, &f.report);
	/* Here __FILE__ has really changed, and nobody neutralises it. */
	fx_functions(&f, "parse other");
	free(fx_readelf(&f));
	sut_build_report_free(&f.report);
	f.err = -sut_build_objects(f.ctx, a, a, &o, &f.report);
	fx_failed(&f, SUTURE_ENOTHING, "nothing to patch");
	sut_build_report_free(&f.report);
	f.err = -sut_build_objects(f.ctx, bin, b, &o, &f.report);
	fx_failed(&f, SUTURE_EREFUSED, "not a relocatable object");
	fx_deinit(&f);
}

static void bad_name(void **state)
{
	struct fx f;
	char bin[128], diff[128], tree[128];
	const char *targets[] = { bin, NULL }, *diffs[] = { diff, NULL };
	struct sut_build_opts o = { .target = targets, .diff = diffs, .srcdir = tree, .output = "x", .name = "a/b" };

	plain(&f);
	snprintf(bin, sizeof(bin), "%s/bin", f.dir);
	snprintf(diff, sizeof(diff), "%s/fix.diff", f.dir);
	snprintf(tree, sizeof(tree), "%s/tree", f.dir);
	f.err = -sut_build(f.ctx, &o, &f.report);
	fx_failed(&f, SUTURE_EUSAGE, "a patch's name");
	fx_deinit(&f);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strip_level),
		cmocka_unit_test(paths_match_nothing),
		cmocka_unit_test(only_documentation),
		cmocka_unit_test(does_not_fit),
		cmocka_unit_test(applied_already),
		cmocka_unit_test(damaged_difference),
		cmocka_unit_test(line_ends),
		cmocka_unit_test(git_dialect),
		cmocka_unit_test(renamed_source),
		cmocka_unit_test(two_differences),
		cmocka_unit_test(moved_tree),
		cmocka_unit_test(build_directory),
		cmocka_unit_test(hidden_path),
		cmocka_unit_test(several_commands),
		cmocka_unit_test(siblings),
		cmocka_unit_test(unit_of_another_program),
		cmocka_unit_test(bad_databases),
		cmocka_unit_test(quoting),
		cmocka_unit_test(objects),
		cmocka_unit_test(bad_name),
	};

	fx_args(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
