/* SPDX-License-Identifier: MIT */
/* test_objects.c - a module for several objects: each part near its own, and one answer for what can not be so. */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "late.h"
#include "module/priv.h"
#include "self.h"
#include "lib/needs.h"

int host_hidden = 5;
int *lib_hidden_address(int which);
int host_add(int a, int b);
int host_add(int a, int b)
{
	return a + b;
}

static struct suture_process *p;
static struct sut_elf *elf;
static struct sut_object *objects[2];

/* As the patch room says it: the functions' sections, by the object that they replace something in. */
static size_t section_object(void *arg, uint32_t section)
{
	const char *name = elf->sec.v[section].name;

	return !strncmp(name, ".text.main_", 11) ? 0 : !strncmp(name, ".text.lib_", 10) ? 1 : SIZE_MAX;
}

static struct sut_mod_env env = { .object = objects, .n_objects = 2, .section_object = section_object };

static struct sut_object *object_of(struct suture_process *of, const void *addr)
{
	for (size_t i = 0; i < of->obj.n; i++)
		if (sut_in(of->obj.v[i].start, of->obj.v[i].end, (uintptr_t)addr))
			return &of->obj.v[i];
	return NULL;
}

#define FN(m, name) ((int (*)(int))(uintptr_t)sut_module_symbol(m, sut_module_find(m, name)))

static const struct sut_mod_area *area_at(const struct sut_module *m, uint64_t addr)
{
	for (size_t i = 0; i < m->area.n; i++)
		if (sut_in(m->area.v[i].base, m->area.v[i].base + m->area.v[i].size, addr))
			return &m->area.v[i];
	return NULL;
}

static uint64_t distance(const struct sut_mod_area *a)
{
	uint64_t lo = a->base < a->object->start ? a->base : a->object->start;
	uint64_t hi = a->base + a->size > a->object->end ? a->base + a->size : a->object->end;

	return hi - lo;
}

static void check_two(const char *file, struct suture_process *of, int *(*address)(int))
{
	struct sut_extra_cfi x[SUT_RECORD_AREAS];
	struct sut_module *m = NULL;
	int tls1, tls2;
	size_t n;

	objects[0] = &of->obj.v[0];
	objects[1] = object_of(of, address(0));
	elf = late_elf(of, file);
	if (sut_module_plan(of, elf, "two", &env, &m) || sut_module_load(m))
		fail_msg("%s", self_message(of));
	assert_int_equal(m->area.n, 2);
	for (size_t i = 0; i < 2; i++)
		assert_true(distance(&m->area.v[i]) < 1ull << 31);
	assert_ptr_equal(area_at(m, (uintptr_t)FN(m, "main_fn"))->object, objects[0]);
	assert_ptr_equal(area_at(m, (uintptr_t)FN(m, "lib_helped"))->object, objects[1]);
	for (uint32_t i = 1; i < m->sym.n; i++)
		if (!strcmp(m->sym.v[i].name, "helper"))
			assert_ptr_equal(area_at(m, m->sym.v[i].addr)->object, objects[1]);
	*address(0) = 31;
	assert_int_equal(FN(m, "main_fn")(10), 15);
	assert_int_equal(FN(m, "lib_fn")(10), 41);
	assert_int_equal(FN(m, "main_calls_lib")(10), 82);
	assert_int_equal(FN(m, "lib_calls_main")(10), 45 + 11);
	assert_int_equal(FN(m, "lib_helped")(4), 9 + 31);
	tls1 = *address(1);
	tls2 = *address(2);
	assert_int_equal(FN(m, "lib_tls_sum")(0), (tls1 + 1) * 100 + tls2 + 1);
	assert_int_equal(*address(1), tls1 + 1);
	assert_int_equal(*address(2), tls2 + 1);
	/* Each area tells of its own functions, and of its stubs. */
	if (sut_module_extra_cfi(m, x, SUT_RECORD_AREAS, &n))
		fail_msg("%s", self_message(of));
	assert_int_equal(n, 2);
	for (size_t i = 0; i < 2; i++) {
		const char *names[2][2] = { { "main_fn", "main_calls_lib" }, { "lib_fn", "lib_tls_sum" } };
		uint64_t stubs = m->area.v[i].base + m->priv->area[i].plt_off;
		const struct sut_cfi_row *row;
		bool lib = m->area.v[i].object == objects[1];

		for (int k = 0; k < 2; k++) {
			assert_true(sut_cfi_row(x[i].cfi, (uintptr_t)FN(m, names[lib][k]), &row));
			assert_int_equal(row->cfa_off, 8);
			assert_false(sut_cfi_row(x[i].cfi, (uintptr_t)FN(m, names[!lib][k]), &row));
		}
		assert_true(m->priv->area[i].plt_size > 0);
		assert_true(sut_cfi_row(x[i].cfi, stubs, &row));
		assert_int_equal(row->cfa_off, 8);
		assert_int_equal(row->end - row->start, m->priv->area[i].plt_size);
	}
	sut_extra_cfi_free(x, n);
	assert_int_equal(sut_module_unload(m), 0);
	sut_module_free(m);
	sut_elf_close(elf);
}

static void test_two_objects(void **state)
{
	check_two(SAMPLE_DIR "/two.o", p, lib_hidden_address);
}

/* The same for a library without a constant place for its thread-locals. */
static void test_dlopened(void **state)
{
	void *lib = dlopen(SAMPLE_DIR "/libdlonly.so", RTLD_NOW | RTLD_LOCAL);
	struct suture_process *with;

	assert_non_null(lib);
	with = self_open();
	check_two(SAMPLE_DIR "/two_dl.o", with, (int *(*)(int))(uintptr_t)dlsym(lib, "dl_hidden_address"));
	self_close(with);
	dlclose(lib);
}

static void test_conflict(void **state)
{
	struct sut_module *m;

	objects[0] = &p->obj.v[0];
	objects[1] = object_of(p, lib_hidden_address(0));
	elf = self_elf(p, SAMPLE_DIR "/conflict.o");
	assert_int_equal(sut_module_plan(p, elf, "conflict", &env, &m), -SUTURE_EREFUSED);
	assert_non_null(strstr(self_message(p), "must lie near two objects"));
	sut_elf_close(elf);
}

/* Both indexes mean one object: one area. */
static void test_same_object_twice(void **state)
{
	struct sut_module *m;

	objects[0] = objects[1] = &p->obj.v[0];
	elf = self_elf(p, SAMPLE_DIR "/conflict.o");
	if (sut_module_plan(p, elf, "same", &env, &m))
		fail_msg("%s", self_message(p));
	assert_int_equal(m->area.n, 1);
	sut_module_free(m);
	sut_elf_close(elf);
}

static void test_not_loaded(void **state)
{
	struct sut_module *m;

	objects[0] = &p->obj.v[0];
	objects[1] = NULL;
	elf = self_elf(p, SAMPLE_DIR "/conflict.o");
	assert_int_equal(sut_module_plan(p, elf, "absent", &env, &m), -SUTURE_EREFUSED);
	assert_non_null(strstr(self_message(p), "not loaded"));
	sut_elf_close(elf);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_objects), cmocka_unit_test(test_dlopened),
		cmocka_unit_test(test_conflict),    cmocka_unit_test(test_same_object_twice),
		cmocka_unit_test(test_not_loaded),
	};

	need_host();
	return cmocka_run_group_tests(tests, setup, teardown);
}
