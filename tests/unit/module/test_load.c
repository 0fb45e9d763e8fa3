/* SPDX-License-Identifier: MIT */
/*
 * test_load.c - objects as compilers make them are loaded into this very process, and their functions called.
 *
 * Each flavour of sample.c (code models, TLS models, PLT or none, gcc and clang) must give the same answers.
 */
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "late.h"
#include "self.h"
#include "lib/needs.h"

/* What sample.c refers to: exported by this program. */
int host_counter;
__thread int host_other_tls = 1;
__thread int host_tls = 10;
extern __thread int lib_tls;
int *lib_tls_address(void);
int host_add(int a, int b);
int host_add(int a, int b)
{
	return a + b;
}

/* Not exported: late symbols. */
static int host_hidden = 5;
static __attribute__((noinline, used)) int host_hidden_add(int a, int b)
{
	return a * 1000 + b;
}

static struct suture_process *p;

#define FN(type, m, name) ((type)(uintptr_t)sut_module_symbol(m, sut_module_find(m, name)))

static struct sut_module *load(struct sut_elf *e)
{
	struct sut_module *m = NULL;

	if (sut_module_plan(p, e, "sample", self_env(p), &m))
		fail_msg("plan: %s", self_message(p));
	if (sut_module_load(m))
		fail_msg("load: %s", self_message(p));
	return m;
}

static void check_answers(struct sut_module *m)
{
	char text[64], want[64];
	int before = host_counter, hidden = host_hidden;

	assert_string_equal(FN(const char *(*)(void), m, "mod_string")(), "hello from the module");
	assert_string_equal(FN(const char *(*)(unsigned), m, "mod_name")(2), "two");
	assert_int_equal(FN(int (*)(void), m, "mod_static")(), 42);
	assert_int_equal(FN(int (*)(void), m, "mod_static")(), 43);
	assert_int_equal(FN(int (*)(int), m, "mod_bss")(999), 0);
	assert_int_equal(FN(int (*)(int), m, "mod_bss")(999), 1);
	assert_int_equal(FN(int (*)(int, int), m, "mod_calls")(3, 4), 14);
	assert_int_equal(FN(int (*)(void), m, "mod_counter")(), before + 1);
	assert_int_equal(host_counter, before + 1);
	assert_int_equal(FN(size_t(*)(const char *), m, "mod_strlen")("four"), 7);
	assert_ptr_equal(FN(void *(*)(void), m, "mod_strlen_address")(), dlsym(RTLD_DEFAULT, "strlen"));
	assert_string_equal(FN(char *(*)(long), m, "mod_l64a")(12345), "t.1");
	snprintf(want, sizeof(want), "12:%p", (void *)stdout);
	FN(int (*)(char *, size_t, int), m, "mod_print")(text, sizeof(text), 12);
	assert_string_equal(text, want);
	assert_int_equal(FN(int (*)(void), m, "mod_weak")(), -7);
	for (int i = 0, w[] = { 3, 17, 43, before + 1, -5, 99, 1000 }; i < 7; i++)
		assert_int_equal(FN(int (*)(int), m, "mod_switch")(i), w[i]);
	host_tls = 10;
	assert_int_equal(FN(int (*)(void), m, "mod_tls")(), 11);
	assert_int_equal(host_tls, 11);
	*lib_tls_address() = 100;
	assert_int_equal(FN(int (*)(void), m, "mod_lib_tls")(), 101);
	assert_int_equal(*lib_tls_address(), 101);
	assert_int_equal(FN(int (*)(int), m, "mod_late")(7), 7000 + hidden + 1);
	assert_int_equal(host_hidden, hidden + 1);
}

static bool mapped(uint64_t addr)
{
	unsigned char vec;

	return !mincore((void *)(uintptr_t)SUT_ALIGN_DOWN(addr, 4096), 1, &vec);
}

static void test_flavour(void **state)
{
	struct sut_elf *e = late_elf(p, *state);
	struct sut_module *m = load(e);
	uint64_t base = m->area.v[0].base, size = m->area.v[0].size;

	assert_int_equal(m->area.n, 1);
	assert_true(mapped(base) && mapped(base + size - 1));
	check_answers(m);
	/* The data sections hold state of their own; a second copy starts afresh. */
	if (sut_module_unload(m))
		fail_msg("unload: %s", self_message(p));
	assert_false(mapped(base) || mapped(base + size - 1));
	sut_module_free(m);
	m = load(e);
	check_answers(m);
	assert_int_equal(sut_module_unload(m), 0);
	sut_module_free(m);
	sut_elf_close(e);
}

/* The parts have the protection they keep, and nothing is writable and executable. */
static void test_protection(void **state)
{
	struct sut_elf *e = late_elf(p, SAMPLE_DIR "/sample_pic.o");
	struct sut_module *m = load(e);
	struct sut_mod_area *a = &m->area.v[0];
	struct sut_maps maps;

	assert_int_equal(p->mem.ops->maps(&p->mem, &maps), 0);
	assert_int_equal(sut_maps_at(&maps, a->base)->prot, SUT_PROT_R);
	assert_int_equal(sut_maps_at(&maps, a->base + a->ro_size)->prot, SUT_PROT_R | SUT_PROT_X);
	assert_int_equal(sut_maps_at(&maps, a->base + a->ro_size + a->rx_size)->prot, SUT_PROT_R | SUT_PROT_W);
	sut_maps_free(&maps);
	assert_int_equal(sut_module_unload(m), 0);
	sut_module_free(m);
	sut_elf_close(e);
}

/* A mapping that appears between plan and load is not touched, and everything is rolled back. */
static void test_taken_meanwhile(void **state)
{
	struct sut_elf *e = late_elf(p, SAMPLE_DIR "/sample_pic.o");

	for (int part = 0; part < 3; part++) {
		struct sut_module *m;
		struct sut_mod_area *a;
		uint64_t off[3], at;
		char *foreign;

		assert_int_equal(sut_module_plan(p, e, "sample", self_env(p), &m), 0);
		a = &m->area.v[0];
		off[0] = 0;
		off[1] = a->ro_size;
		off[2] = a->ro_size + a->rx_size;
		at = a->base + off[part];
		foreign = mmap((void *)(uintptr_t)at, 4096, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		assert_int_equal((uintptr_t)foreign, at);
		*foreign = 77;
		assert_int_equal(sut_module_load(m), -EEXIST);
		assert_int_equal(*foreign, 77);
		munmap(foreign, 4096);
		for (uint64_t o = 0; o < a->size; o += 4096)
			assert_false(mapped(a->base + o));
		sut_module_free(m);
	}
	sut_elf_close(e);
}

/* Memory of a parked module is used again, and its data starts afresh. */
static void test_reuse(void **state)
{
	struct sut_elf *e = late_elf(p, SAMPLE_DIR "/sample_pic.o");
	struct sut_mod_env env = *self_env(p);
	struct sut_module *m = load(e), *again;
	struct sut_record rec = { 0 };
	int was;

	check_answers(m);
	was = FN(int (*)(void), m, "mod_static")();
	assert_int_equal(sut_module_to_record(m, &rec), 0);
	env.reuse = rec.area;
	env.n_reuse = rec.n_areas;
	assert_int_equal(sut_module_plan(p, e, "sample", &env, &again), 0);
	assert_true(again->area.v[0].reused);
	assert_int_equal(again->area.v[0].base, m->area.v[0].base);
	assert_int_equal(sut_module_load(again), 0);
	/* Its variables go on where they were: the target may hold pointers to them. */
	assert_int_equal(FN(int (*)(void), again, "mod_static")(), was + 1);
	assert_string_equal(FN(const char *(*)(unsigned), again, "mod_name")(2), "two");
	/* For the same reason it stays. */
	assert_int_equal(sut_module_unload(again), 0);
	assert_true(mapped(m->area.v[0].base));
	sut_module_free(again);
	/* By its record it goes, whoever loaded it; and a second time nothing happens. */
	assert_int_equal(sut_record_unload(p, &rec), 0);
	assert_false(mapped(m->area.v[0].base));
	assert_int_equal(sut_record_unload(p, &rec), 0);
	sut_module_free(m);
	sut_elf_close(e);
}

/* A record that names memory which is not ours unmaps nothing. */
static void test_record_of_foreign_memory(void **state)
{
	char *foreign = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sut_record rec = { .n_areas = 1 };

	mprotect(foreign, 4096, PROT_READ);
	mprotect(foreign + 4096, 4096, PROT_READ | PROT_EXEC);
	rec.area[0] = (struct sut_record_area){ (uintptr_t)foreign, 4096, 4096, 4096 };
	assert_int_equal(sut_record_unload(p, &rec), 0);
	for (int i = 0; i < 3; i++)
		assert_true(mapped((uintptr_t)foreign + (uint64_t)i * 4096));
	munmap(foreign, 3 * 4096);
}

/* Room for the caller: stubs beside the code, a table beside the data. */
static void test_callers_room(void **state)
{
	struct sut_elf *e = late_elf(p, SAMPLE_DIR "/sample_pic.o");
	struct sut_mod_env env = *self_env(p);
	struct sut_module *m;
	static const uint8_t ret42[] = { 0xb8, 42, 0, 0, 0, 0xc3 }; /* mov $42,%eax; ret */

	env.stub_size = 100;
	env.table_size = 5000;
	assert_int_equal(sut_module_plan(p, e, "sample", &env, &m), 0);
	memcpy(m->area.v[0].stub_bytes, ret42, sizeof(ret42));
	m->table_bytes[4999] = 0x5a;
	assert_int_equal(sut_module_load(m), 0);
	assert_int_equal(((int (*)(void))(uintptr_t)m->area.v[0].stubs)(), 42);
	assert_int_equal(((uint8_t *)(uintptr_t)m->table)[4999], 0x5a);
	check_answers(m);
	assert_int_equal(sut_module_unload(m), 0);
	sut_module_free(m);
	sut_elf_close(e);
}

/* A library that came by dlopen: general dynamic through __tls_get_addr, and its functions. */
static void test_dlopened(void **state)
{
	void *lib = dlopen(SAMPLE_DIR "/libdlonly.so", RTLD_NOW | RTLD_LOCAL);
	struct suture_process *with;
	struct sut_module *m = NULL;
	struct sut_elf *e;
	int *(*address)(void);

	assert_non_null(lib);
	address = (int *(*)(void))(uintptr_t)dlsym(lib, "dl_tls_address");
	*address() = 500;
	with = self_open();
	e = self_elf(with, SAMPLE_DIR "/dlsample_pic.o");
	if (sut_module_plan(with, e, "dl", self_env(with), &m) || sut_module_load(m))
		fail_msg("%s", self_message(with));
	assert_int_equal(FN(int (*)(void), m, "mod_dl_tls")(), 501);
	assert_int_equal(*address(), 501);
	assert_int_equal(FN(int (*)(void), m, "mod_dl_call")(), 4711);
	assert_int_equal(sut_module_unload(m), 0);
	sut_module_free(m);
	sut_elf_close(e);
	/* The initial-exec model wants a constant offset, which there is none. */
	e = self_elf(with, SAMPLE_DIR "/dlsample_ie.o");
	assert_int_equal(sut_module_plan(with, e, "dl", self_env(with), &m), -SUTURE_EREFUSED);
	assert_non_null(strstr(self_message(with), "dl_tls"));
	sut_elf_close(e);
	self_close(with);
	dlclose(lib);
}

/* ---- each call into the target fails in turn ---- */

static struct sut_mem_ops real_ops;
static int calls_left;
static bool killed; /* a dead tool: everything fails from there on */

static bool fails(void)
{
	return calls_left <= 0 ? killed : --calls_left == 0;
}

static int failing_syscall(struct sut_mem *mem, enum sut_sys sys, const uint64_t a[6], int64_t *ret)
{
	if (fails()) {
		if (killed)
			return sut_fail(mem->ctx, SUTURE_EGONE, "played");
		*ret = -ENOMEM;
		return 0;
	}
	return real_ops.syscall(mem, sys, a, ret);
}

static int failing_write(struct sut_mem *mem, uint64_t addr, const void *buf, size_t len)
{
	return fails() ? sut_fail(mem->ctx, SUTURE_EFAILED, "played") : real_ops.write(mem, addr, buf, len);
}

static int failing_read(struct sut_mem *mem, uint64_t addr, void *buf, size_t len)
{
	return fails() ? sut_fail(mem->ctx, SUTURE_EFAILED, "played") : real_ops.read(mem, addr, buf, len);
}

static bool any_mapped(const struct sut_module *m)
{
	for (uint64_t off = 0; off < m->area.v[0].size; off += 4096)
		if (mapped(m->area.v[0].base + off))
			return true;
	return false;
}

static void with_failures(bool dead, void (*check)(struct sut_module *m))
{
	struct sut_elf *e = late_elf(p, SAMPLE_DIR "/sample_pic.o");
	struct sut_mem_ops ops = *p->mem.ops;
	const struct sut_mem_ops *was = p->mem.ops;
	int n, err = -1;

	real_ops = *was;
	ops.syscall = failing_syscall;
	ops.write = failing_write;
	ops.read = failing_read;
	for (n = 1; err; n++) {
		struct sut_module *m;

		assert_int_equal(sut_module_plan(p, e, "sample", self_env(p), &m), 0);
		p->mem.ops = &ops;
		calls_left = n;
		killed = dead;
		err = sut_module_load(m);
		killed = false;
		calls_left = INT32_MAX;
		p->mem.ops = was;
		if (err)
			check(m);
		else
			assert_int_equal(sut_module_unload(m), 0);
		assert_false(any_mapped(m));
		sut_module_free(m);
	}
	assert_true(n > 8); /* three mappings, their marks in the header, the bytes and a look at them */
	sut_elf_close(e);
}

static void check_rolled_back(struct sut_module *m)
{
	assert_non_null(suture_ctx_error(p->ctx)->message);
	assert_false(any_mapped(m));
}

static void test_every_call_fails(void **state)
{
	with_failures(false, check_rolled_back);
}

/* What a dead tool leaves, the next one takes away by the record; memory without our header is not ours. */
static void check_left_behind(struct sut_module *m)
{
	struct sut_record rec = { 0 };
	char *foreign = NULL;
	uint64_t rw = m->area.v[0].base + m->area.v[0].ro_size + m->area.v[0].rx_size;

	assert_int_equal(sut_module_to_record(m, &rec), 0);
	/* The program puts something of its own where the rest would have been. */
	if (!mapped(rw)) {
		foreign = mmap((void *)(uintptr_t)rw, m->area.v[0].rw_size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		assert_int_equal((uintptr_t)foreign, rw);
		*foreign = 66;
	}
	assert_int_equal(sut_record_unload(p, &rec), 0);
	if (foreign) {
		assert_int_equal(*foreign, 66);
		munmap(foreign, m->area.v[0].rw_size);
	}
	/* At most the one mapping remains that was made in the very last call: it holds nothing and is executed by nobody. */
	for (uint64_t off = 0; off < m->area.v[0].size; off += 4096)
		munmap((void *)(uintptr_t)(m->area.v[0].base + off), 4096);
}

static void test_tool_dies(void **state)
{
	with_failures(true, check_left_behind);
}

static void refused(const char *file, const char *word)
{
	char path[256];
	struct sut_module *m;
	struct sut_elf *e;

	snprintf(path, sizeof(path), "%s/%s", SAMPLE_DIR, file);
	e = self_elf(p, path);
	assert_int_equal(sut_module_plan(p, e, "refused", self_env(p), &m), -SUTURE_EREFUSED);
	if (!strstr(self_message(p), word))
		fail_msg("%s: \"%s\" does not say \"%s\"", file, self_message(p), word);
	sut_elf_close(e);
}

static void test_refusals(void **state)
{
	refused("refuse_missing.o", "no_such_function_anywhere");
	refused("refuse_tls.o", "thread-local");
	refused("refuse_ctor.o", "constructors");
	refused("refuse_ifunc.o", "IFUNC");
	refused("refuse_range.o", "does not fit");
	refused("refuse_wx.o", "writable and executable");
}

static int setup(void **state)
{
	p = self_open();
	return 0;
}

static int teardown(void **state)
{
	self_close(p);
	return 0;
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[32];
	size_t n = 0;

	need_host();
	for (int i = 1; i < argc; i++)
		tests[n++] = (struct CMUnitTest){ argv[i], test_flavour, NULL, NULL, argv[i] };
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_protection);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_taken_meanwhile);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_reuse);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_record_of_foreign_memory);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_callers_room);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_dlopened);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_every_call_fails);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_tool_dies);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_refusals);
	host_hidden = host_hidden_add(0, 5);
	return _cmocka_run_group_tests("load", tests, n, setup, teardown);
}
