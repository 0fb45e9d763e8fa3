/* SPDX-License-Identifier: MIT */
/*
 * test_target.c - a module in another process: loaded while it runs, seen by gdb, unwound, inherited, unloaded.
 *
 * Arguments: the target program (target.c, of some flavour) and the object file to load.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "late.h"
#include "module/module.h"
#include "lib/needs.h"

static const char *program, *object;
static bool no_cfi; /* the program's libc has no unwind data (musl): an honest unwinder does not get through */
static pid_t child;
static int to_child, from_child;
static struct suture_ctx *ctx;
static struct suture_process *p;
static struct sut_elf *elf;
static struct sut_module *m;
static struct sut_registry *registry;
static struct sut_record *rec;
static bool loaded;

static void ok(int err)
{
	if (err)
		fail_msg("%d: %s", err, suture_ctx_error(ctx)->message);
}

static void expect(const char *word)
{
	char buf[3] = { 0 };

	assert_int_equal(read(from_child, buf, 2), 2);
	assert_string_equal(buf, word);
}

static void attach(void)
{
	ok(suture_process_attach(ctx, child, NULL, &p));
}

static int start(void **state)
{
	int in[2], out[2];

	signal(SIGPIPE, SIG_IGN);
	if (suture_ctx_create(NULL, &ctx) || pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		return 1;
	child = fork();
	if (!child) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		execl(program, program, NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	to_child = in[1];
	from_child = out[0];
	expect("up");
	attach();
	return 0;
}

static int end(void **state)
{
	sut_module_free(m);
	sut_registry_free(registry);
	suture_process_detach(p);
	sut_elf_close(elf);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	suture_ctx_destroy(ctx);
	return 0;
}

static void test_load(void **state)
{
	struct sut_object *main_object = &p->obj.v[0];
	struct sut_mod_env env = { .object = &main_object, .n_objects = 1, .table_size = 64, .stub_size = 64 };
	size_t len;
	uint8_t *image = late_image(object, &len);

	ok(sut_elf_open_memory(ctx, image, len, "sample", &elf));
	ok(sut_registry_read(p, &registry));
	assert_int_equal(registry->addr, 0);
	ok(sut_process_borrow(p, 5000));
	ok(sut_registry_create(registry));
	ok(sut_module_plan(p, elf, "sample", &env, &m));
	rec = sut_registry_slot(registry);
	rec->kind = SUT_RECORD_PATCH;
	rec->state = 1;
	strcpy(rec->name, "sample");
	rec->table_size = 64;
	ok(sut_module_to_record(m, rec));
	ok(sut_registry_write(registry, rec));
	ok(sut_module_load(m));
	ok(sut_registry_set_state(registry, rec, 3));
	sut_process_release(p);
	loaded = true;
}

/* Sends it in; returns once it stands in wait_for_byte, called by the module. */
static void enter(void)
{
	assert_true(loaded);
	uint64_t addr = sut_module_symbol(m, sut_module_find(m, "mod_callback"));

	assert_int_equal(write(to_child, &addr, sizeof(addr)), sizeof(addr));
	expect("in");
}

static void leave(void)
{
	int v;

	assert_int_equal(write(to_child, "x", 1), 1);
	assert_int_equal(read(from_child, &v, sizeof(v)), sizeof(v));
	assert_int_equal(v, 7 + 1 + 7);
}

static void test_runs(void **state)
{
	enter();
	leave();
}

static void gdb(const char *commands, char **ret)
{
	size_t len;
	char *cmd;
	FILE *f;

	assert_true(asprintf(&cmd, "timeout 60 gdb -nx -batch -p %d %s 2>&1 </dev/null", (int)child, commands) > 0);
	f = popen(cmd, "r");
	assert_non_null(f);
	ok(sut_read_fd(fileno(f), 1 << 20, ret, &len));
	pclose(f);
	free(cmd);
}

static bool in_order(const char *text, const char *first, const char *second)
{
	const char *at = strstr(text, first);

	return at && strstr(at, second);
}

/* A debugger needs nothing of ours to name the functions and walk through them. */
static void test_gdb(void **state)
{
	char *commands, *text;

	if (system("command -v gdb >/dev/null")) {
		print_message("no gdb: not tried\n");
		skip();
	}
	if (no_cfi) {
		print_message("a libc without unwind data: not tried\n");
		skip();
	}
	enter();
	assert_true(asprintf(&commands,
			     "-ex 'add-symbol-file-from-memory 0x%llx' -ex bt -ex 'info symbol 0x%llx' "
			     "-ex 'x/2i mod_string' -ex 'info address mod_string'",
			     (unsigned long long)m->area.v[0].base,
			     (unsigned long long)sut_module_symbol(m, sut_module_find(m, "mod_switch")) + 1) > 0);
	gdb(commands, &text);
	leave();
	if (!strstr(text, "mod_callback") || !strstr(text, "main (") || !strstr(text, "mod_switch + 1") ||
	    !strstr(text, "<mod_string>"))
		fail_msg("%s", text);
	if (!in_order(text, "wait_for_byte", "mod_callback") || !in_order(text, "mod_callback", "main ("))
		fail_msg("%s", text);
	free(text);
	free(commands);
}

/* Our own unwinder, with what a later invocation of the tool finds. */
static void test_unwind(void **state)
{
	struct sut_extra_cfi x[SUT_RECORD_AREAS];
	struct sut_frame frames[64];
	struct sut_registry *later;
	bool reliable = false, through = false;
	const char *why = "";
	size_t n, n_frames;

	enter();
	suture_process_detach(p);
	attach();
	ok(sut_registry_read(p, &later));
	rec = sut_registry_find(later, "sample");
	assert_non_null(rec);
	ok(sut_record_extra_cfi(p, rec, x, SUT_RECORD_AREAS, &n));
	assert_int_equal(n, 1);
	ok(sut_prove_prepare(p));
	ok(sut_process_stop(p, 5000));
	n_frames = sut_unwind(p, &p->thread.v[0], x, n, frames, 64, &reliable, &why);
	for (size_t i = 0; i < n_frames; i++)
		through |= sut_in(x[0].start, x[0].end, frames[i].pc);
	sut_process_release(p);
	if (no_cfi ? reliable : !reliable || !through)
		fail_msg("%zu frames, %sreliable: %s", n_frames, reliable ? "" : "un", why);
	sut_extra_cfi_free(x, n);
	leave();
	m->p = p;
	sut_registry_free(registry);
	registry = later;
}

static void perf_map(char path[64])
{
	snprintf(path, 64, "/tmp/perf-%d.map", (int)child);
}

static char *slurp(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY);
	char *text = NULL;
	size_t len;

	return fd < 0 || sut_read_fd(fd, 1 << 20, &text, &len) ? NULL : text;
}

static void test_names(void **state)
{
	char path[64], other[80], line[128], *text;
	struct stat st;
	FILE *f;

	assert_true(loaded);
	perf_map(path);
	unlink(path);
	sut_names_add(m);
	text = slurp(path);
	assert_non_null(text);
	snprintf(line, sizeof(line), "%llx ",
		 (unsigned long long)sut_module_symbol(m, sut_module_find(m, "mod_string")));
	assert_non_null(strstr(text, line));
	assert_non_null(strstr(text, " mod_string [sample]\n"));
	free(text);
	sut_names_remove(p, rec);
	assert_int_equal(stat(path, &st), -1);
	/* Lines of others stay, at their place. */
	f = fopen(path, "w");
	fputs("1000 10 jitted\n", f);
	fclose(f);
	sut_names_add(m);
	f = fopen(path, "a");
	fputs("2000 10 jitted2\n", f);
	fclose(f);
	sut_names_remove(p, rec);
	text = slurp(path);
	assert_non_null(text);
	assert_non_null(strstr(text, "1000 10 jitted\n"));
	assert_non_null(strstr(text, "\n2000 10 jitted2\n"));
	assert_null(strstr(text, "mod_string"));
	free(text);
	unlink(path);
	/* A link, a second name and a FIFO are left alone. */
	snprintf(other, sizeof(other), "%s.victim", path);
	f = fopen(other, "w");
	fputs("precious\n", f);
	fclose(f);
	for (int kind = 0; kind < 3; kind++) {
		assert_int_equal(kind == 0   ? symlink(other, path)
				 : kind == 1 ? link(other, path)
					     : mkfifo(path, 0600),
				 0);
		sut_names_add(m);
		sut_names_remove(p, rec);
		text = slurp(other);
		assert_string_equal(text, "precious\n");
		free(text);
		assert_int_equal(unlink(path), 0);
	}
	unlink(other);
}

static bool mapped(uint64_t addr)
{
	struct sut_maps maps;
	bool there;

	ok(p->mem.ops->maps(&p->mem, &maps));
	there = sut_maps_at(&maps, addr) != NULL;
	sut_maps_free(&maps);
	return there;
}

static size_t n_maps(void)
{
	struct sut_maps maps;
	size_t n;

	ok(p->mem.ops->maps(&p->mem, &maps));
	n = maps.m.n;
	sut_maps_free(&maps);
	return n;
}

static void test_unload(void **state)
{
	uint64_t base, size, at, code;
	size_t before;

	assert_true(loaded);
	base = rec->area[0].base;
	size = m->area.v[0].size;
	at = registry->addr;
	code = registry->h.heal_code;
	before = n_maps();

	ok(sut_process_borrow(p, 5000));
	ok(sut_record_unload(p, rec));
	ok(sut_registry_remove(registry, rec));
	ok(sut_registry_destroy(registry));
	sut_process_release(p);
	assert_false(mapped(base) || mapped(base + size - 1) || mapped(at) || mapped(code));
	assert_int_equal(n_maps(), before - 5);
	/* It lives, and answers. */
	assert_int_equal(kill(child, 0), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_load),   cmocka_unit_test(test_runs),  cmocka_unit_test(test_gdb),
		cmocka_unit_test(test_unwind), cmocka_unit_test(test_names), cmocka_unit_test(test_unload),
	};

	need_host();
	need_trace();
	if (argc < 3)
		return 2;
	no_cfi = argc > 3 && !strcmp(argv[3], "nocfi");
	program = argv[1];
	object = argv[2];
	return cmocka_run_group_tests(tests, start, end);
}
