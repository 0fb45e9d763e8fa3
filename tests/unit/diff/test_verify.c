/* SPDX-License-Identifier: MIT */
/*
 * What linkers make of an object is understood: for each way of compiling and linking, every function of a
 * program that refers to all kinds of things is verified, and a change of one builds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fixture.h"

#define NOINLINE "__attribute__((noinline)) "

static const char main_c[] =
	"#include <errno.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n"
	"extern long shared_counter;\nextern __thread long shared_tls;\nextern long elsewhere(long);\n"
	"extern void not_there(void) __attribute__((weak));\n"
	"__attribute__((visibility(\"hidden\"))) extern long hidden_counter;\n"
	"static __thread long own_tls = 3;\nstatic __thread char own_tbss[10];\n"
	"static long local_counter = 5;\nlong global_counter = 6;\nstatic char zeroed[100];\n"
	"static const char *const words[] = { \"alpha\", \"beta\", \"gamma\" };\nconst char *message = \"delta\";\n"
	"static long first(long), second(long);\nlong (*const table[])(long) = { first, second, elsewhere };\n" NOINLINE
	"static long first(long x) { return x + local_counter++; }\n" NOINLINE
	"static long second(long x) { return x - global_counter--; }\n" NOINLINE
	"long data(long x)\n{\n	zeroed[x] = (char)x;\n	return local_counter + global_counter + shared_counter + "
	"hidden_counter + "
	"zeroed[x + 1];\n}\n" NOINLINE
	"long got(long x)\n{\n	if (shared_counter > x)\n		shared_counter += x;\n	shared_counter &= x;\n"
	"	return x + (shared_counter == global_counter);\n}\n" NOINLINE
	"long threads(long x)\n{\n	own_tbss[x] = 1;\n	own_tls += shared_tls;\n	return own_tls + errno "
	"+ own_tbss[x + 1];\n}\n" NOINLINE "long calls(long x)\n{\n	long y = elsewhere(x) + first(x);\n	"
	"puts(words[x % 3]);\n	printf(\"%s %ld\\n\", message, y);\n"
	"	if (not_there)\n		not_there();\n	return y + table[x % 3](x) + labs(x);\n}\n" NOINLINE
	"long tail(long x) { return elsewhere(x + 1); }\n" NOINLINE
	"long pointers(long x)\n{\n	void *volatile p[] = { (void *)puts, (void *)elsewhere, (void *)first, stdout, "
	"&shared_counter, "
	"environ, (void *)tail };\n	return p[x % 7] != 0;\n}\n" NOINLINE
	"double floats(double d) { return d * 3.25 + 1e10 - (float)d * 0.125f; }\n" NOINLINE
	"long jumps(long x)\n{\n	switch (x) {\n	case 0: return first(7);\n	case 1: return "
	"second(3);\n	case 2: return puts(\"two\");\n"
	"	case 3: return tail(9);\n	case 4: return data(2);\n	case 5: return got(x + 8);\n	case "
	"6: return 77;\n	}\n	return -x;\n}\n"
	"int main(void)\n{\n	return (int)(data(1) + got(2) + threads(3) + calls(4) + tail(5) + pointers(6) + "
	"floats(7) + jumps(8));\n}\n";

static const char other_c[] =
	"long shared_counter = 1;\n__attribute__((visibility(\"hidden\"))) long hidden_counter = 2;\n"
	"__thread long shared_tls = 4;\n" NOINLINE
	"long elsewhere(long x) { return x * shared_counter + shared_tls + hidden_counter; }\n";

static bool works(const char *cmd)
{
	return !system(cmd);
}

/* One way; ways that this machine has no tools for are left out, and said. */
static void way(const char *cflags, const char *ldflags)
{
	char probe[512];
	struct fx f;

	snprintf(probe, sizeof(probe),
		 "cd /tmp && echo 'int main(void){return 0;}' > sut-probe-$$.c && %s %s %s -o sut-probe-$$ "
		 "sut-probe-$$.c >/dev/null 2>&1; s=$?; rm -f sut-probe-$$*; exit $s",
		 fx_cc, cflags, ldflags);
	if (!works(probe)) {
		print_message("left out: %s does not know %s %s\n", fx_cc, cflags, ldflags);
		return;
	}
	print_message("%s %s %s %s\n", fx_cc, fx_opt, cflags, ldflags);
	fx_init(&f);
	f.cflags = cflags;
	f.ldflags = ldflags;
	fx_source(&f, "main.c", "-D_GNU_SOURCE", main_c);
	fx_source(&f, "other.c", "", other_c);
	fx_link(&f);
	fx_replace(&f, "main.c", "return x + (shared_counter == global_counter);",
		   "printf(\"%ld %s\\n\", own_tls++, words[1]);\n	return x + (shared_counter == global_counter) "
		   "+ elsewhere(x);");
	fx_build(&f);
	fx_functions(&f, "got");
	/* first second data got threads calls tail pointers floats jumps main */
	/* In a static-pie GNU ld makes a stub of calls() for the weak symbol that jumps through no slot at all. */
	assert_int_equal(f.report.funcs_verified, strstr(ldflags, "static-pie") ? 10 : 11);
	free(fx_readelf(&f));
	fx_deinit(&f);
}

static void programs(void **state)
{
	way("-fPIE", "-pie");
	way("-fno-pie", "-no-pie");
	way("-fno-pie", "-static -no-pie");
	way("-fPIE", "-static-pie");
	way("-fPIC", "-pie");
	way("-fPIC", "-no-pie");
	way("-fPIC -fno-plt", "-pie");
	way("-fPIC -fno-plt", "-no-pie");
	way("-fPIE -ffunction-sections -fdata-sections", "-pie -Wl,--gc-sections");
	way("-fcf-protection=full", "-pie -Wl,-z,now");
	way("-fcf-protection=full", "-pie -Wl,-z,ibtplt");
	way("-fcommon -fno-pie", "-no-pie");
}

static void libraries(void **state)
{
	way("-fPIC", "-shared");
	way("-fPIC", "-shared -Wl,-Bsymbolic");
	way("-fPIC -fvisibility=hidden", "-shared");
	way("-fPIC -fno-plt", "-shared");
	way("-fPIC -fno-semantic-interposition", "-shared");
	way("-fPIC -ftls-model=initial-exec", "-shared");
	way("-fPIC -ftls-model=local-dynamic", "-shared");
}

static void thread_local_models(void **state)
{
	way("-fPIC -ftls-model=global-dynamic", "-pie");
	way("-fPIC -ftls-model=local-dynamic", "-pie");
	way("-fPIC -ftls-model=initial-exec", "-pie");
	way("-fPIC -mtls-dialect=gnu2", "-pie");
	way("-fPIC -mtls-dialect=gnu2", "-shared");
	way("-fPIC -fno-plt -ftls-model=global-dynamic", "-pie");
	way("-fPIC -fno-plt -ftls-model=local-dynamic", "-no-pie");
}

static void other_linkers(void **state)
{
	way("-fPIE", "-pie -fuse-ld=gold");
	way("-fPIC", "-pie -fuse-ld=gold");
	way("-fPIC", "-shared -fuse-ld=gold");
	way("-fPIE", "-pie -fuse-ld=lld");
	way("-fPIC", "-pie -fuse-ld=lld");
	way("-fPIC", "-shared -fuse-ld=lld");
	way("-fPIC", "-pie -Wl,-z,pack-relative-relocs -fuse-ld=bfd");
	way("-fPIE", "-pie -Wl,-O2 -Wl,--sort-common -Wl,-z,relro,-z,now");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(programs),
		cmocka_unit_test(libraries),
		cmocka_unit_test(thread_local_models),
		cmocka_unit_test(other_linkers),
	};

	fx_args(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
