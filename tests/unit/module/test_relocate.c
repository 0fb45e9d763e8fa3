/* SPDX-License-Identifier: MIT */
/*
 * test_relocate.c - what the loader writes is what GNU ld writes for the same object at the same addresses;
 * what it wrote it takes back; and what it can not write it refuses, with nothing changed.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "late.h"
#include "module/priv.h"
#include "self.h"
#include "lib/needs.h"

int host_counter;
int host_add(int a, int b);
int host_add(int a, int b)
{
	return a + b;
}
int host_hidden_add(int a, int b);
int host_hidden_add(int a, int b)
{
	return a - b;
}
int host_hidden;
__thread int host_tls;
int *lib_tls_address(void);

static struct suture_process *p;

static struct sut_module *plan(struct sut_elf *e)
{
	struct sut_module *m = NULL;

	if (sut_module_plan(p, e, "sample", self_env(p), &m))
		fail_msg("%s: %s", e->name, self_message(p));
	return m;
}

static bool loaded(const struct mod_sec *s)
{
	return s->part != MOD_SKIP && s->part != MOD_EH;
}

/* A linker script that puts everything where the loader put it. */
static void write_script(struct sut_module *m, const char *path)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fprintf(f, "SECTIONS {\n");
	for (int part = MOD_RO; part <= MOD_RW; part++)
		for (size_t i = 0; i < m->elf->sec.n; i++) {
			const struct mod_sec *s = &m->priv->sec.v[i];

			if (s->part == (enum mod_part)part && s->size)
				fprintf(f, "%s 0x%llx : { KEEP(*(%s)) }\n", s->name,
					(unsigned long long)m->sec.v[i].addr, s->name);
		}
	/* GNU ld's base of the GOT is the start of .got.plt. */
	fprintf(f, ".got 0x%llx : { *(.got.plt) *(.got) *(.igot.plt) }\n",
		(unsigned long long)(m->area.v[0].base + m->priv->area[0].got_off));
	fprintf(f, "/DISCARD/ : { *(.eh_frame) *(.comment) *(.note*) *(.iplt) *(.rela*) }\n}\n");
	fprintf(f, "host_counter = %p; host_add = %p; late_host_hidden = %p; late_host_hidden_add = %p;\n",
		(void *)&host_counter, (void *)(uintptr_t)host_add, (void *)&host_hidden,
		(void *)(uintptr_t)host_hidden_add);
	fprintf(f, "abs_12345678 = 0x12345678; abs_44 = 0x44;\n");
	fclose(f);
}

static bool uses_got(const struct mod_reloc *r)
{
	return r->howto->kind == SUT_RELOC_GOT || r->howto->kind == SUT_RELOC_GOT_LOAD ||
	       r->howto->kind == SUT_RELOC_GOT_OFF;
}

static uint64_t field(const struct sut_reloc_howto *h, const uint8_t *at)
{
	if (h->size == 8)
		return sut_le64(at);
	return (uint64_t)(int64_t)(int32_t)sut_le32(at);
}

/* The two GOTs have their own order; what counts is what the slots hold. */
static void check_slot(struct sut_module *m, struct sut_elf *linked, const struct mod_reloc *r, uint64_t place,
		       uint8_t *ours, uint8_t *theirs)
{
	struct sut_mod_area *a = &m->area.v[0];
	uint64_t got = a->base + m->priv->area[0].got_off;
	uint64_t from = r->howto->kind == SUT_RELOC_GOT_OFF ? got : place;
	uint64_t us = field(r->howto, ours) - (uint64_t)r->addend + from;
	uint64_t them = field(r->howto, theirs) - (uint64_t)r->addend + from;
	const uint8_t *slot = sut_elf_bytes(linked, them, 8);

	assert_in_range(us, got, got + m->priv->area[0].got_size - 8);
	assert_non_null(slot);
	assert_int_equal(sut_le64(a->image.p + (us - a->base)), sut_le64(slot));
	memset(ours, 0, r->howto->size);
	memset(theirs, 0, r->howto->size);
}

static void compare(struct sut_module *m, struct sut_elf *linked)
{
	unsigned places = 0;

	for (size_t i = 0; i < m->elf->sec.n; i++) {
		const struct mod_sec *s = &m->priv->sec.v[i];
		uint64_t addr = m->sec.v[i].addr;
		uint8_t *ours, *theirs;
		const uint8_t *bytes;

		if (!loaded(s) || !s->size || !s->src)
			continue;
		bytes = sut_elf_bytes(linked, addr, s->size);
		if (!bytes)
			fail_msg("ld put no %s at 0x%llx", s->name, (unsigned long long)addr);
		ours = malloc(s->size);
		theirs = malloc(s->size);
		memcpy(ours, m->sec.v[i].bytes, s->size);
		memcpy(theirs, bytes, s->size);
		for (size_t k = 0; k < s->rel.n; k++) {
			const struct mod_reloc *r = &s->rel.v[k];

			places++;
			if (uses_got(r))
				check_slot(m, linked, r, addr + r->offset, ours + r->offset, theirs + r->offset);
			else if (memcmp(ours + r->offset, theirs + r->offset, r->howto->size))
				fail_msg("%s+0x%llx: %s: %llx, but ld wrote %llx", s->name,
					 (unsigned long long)r->offset, r->howto->name,
					 (unsigned long long)field(r->howto, ours + r->offset),
					 (unsigned long long)field(r->howto, theirs + r->offset));
		}
		assert_memory_equal(ours, theirs, s->size);
		free(ours);
		free(theirs);
	}
	assert_true(places > 10);
}

static void test_like_ld(void **state)
{
	char script[] = "/tmp/suture-ld-XXXXXX", out[64], *cmd;
	struct sut_elf *e = late_elf(p, *state), *linked;
	struct sut_module *m = plan(e);
	int fd = mkstemp(script);

	assert_true(fd >= 0);
	close(fd);
	write_script(m, script);
	snprintf(out, sizeof(out), "%s.out", script);
	assert_true(
		asprintf(&cmd,
			 "ld -m elf_x86_64 -static --no-relax --no-warn-rwx-segments -z norelro -e 0 -o %s -T %s %s",
			 out, script, (const char *)*state) > 0);
	if (system(cmd))
		fail_msg("%s", cmd);
	linked = self_elf(p, out);
	compare(m, linked);
	sut_elf_close(linked);
	unlink(script);
	unlink(out);
	free(cmd);
	sut_module_free(m);
	sut_elf_close(e);
}

/* Apply, clear, apply: the file's bytes in between, the same bytes at the end. */
static void test_clear(void **state)
{
	struct sut_elf *e = late_elf(p, *state);
	struct sut_module *m = plan(e);

	for (uint32_t i = 0; i < m->priv->sec.n; i++) {
		const struct mod_sec *s = &m->priv->sec.v[i];
		uint8_t *applied;

		if (!loaded(s) || !s->size || !s->src)
			continue;
		applied = malloc(s->size);
		memcpy(applied, m->sec.v[i].bytes, s->size);
		if (sut_mod_relocate_section(m, i, false))
			fail_msg("%s: %s", s->name, self_message(p));
		assert_memory_equal(m->sec.v[i].bytes, s->src, s->size);
		if (sut_mod_relocate_section(m, i, true))
			fail_msg("%s: %s", s->name, self_message(p));
		assert_memory_equal(m->sec.v[i].bytes, applied, s->size);
		free(applied);
	}
	sut_module_free(m);
	sut_elf_close(e);
}

/* The walk fails at every place in turn, and leaves the bytes as they were. */
static void test_rollback(void **state)
{
	struct sut_elf *e = late_elf(p, *state);
	struct sut_module *m = plan(e);

	for (uint32_t i = 0; i < m->priv->sec.n; i++) {
		const struct mod_sec *s = &m->priv->sec.v[i];
		uint8_t *before;

		if (!loaded(s) || !s->size || !s->src || !s->rel.n)
			continue;
		assert_int_equal(sut_mod_relocate_section(m, i, false), 0);
		before = malloc(s->size);
		for (size_t k = 0; k < s->rel.n; k++) {
			uint8_t *at = m->sec.v[i].bytes + s->rel.v[k].offset;

			if (!s->rel.v[k].howto->size || sut_mod_is_tls(s->rel.v[k].howto) ||
			    (k && sut_mod_is_tls(s->rel.v[k - 1].howto)))
				continue;
			*at ^= 0x55;
			memcpy(before, m->sec.v[i].bytes, s->size);
			assert_int_equal(sut_mod_relocate_section(m, i, true), -SUTURE_EREFUSED);
			assert_non_null(strstr(self_message(p), "holds something already"));
			assert_memory_equal(m->sec.v[i].bytes, before, s->size);
			*at ^= 0x55;
		}
		free(before);
	}
	sut_module_free(m);
	sut_elf_close(e);
}

/* ---- one place at a time ---- */

static int one(uint32_t type, uint64_t place, uint64_t s, int64_t a, uint8_t *bytes, bool apply)
{
	struct sut_reloc_site site = { .type = type,
				       .place = place,
				       .bytes = bytes,
				       .avail = 8,
				       .v = { .P = place, .S = s, .A = a, .GOT = place + 0x1000 } };

	return sut_relocate_one(p->ctx, p->mem.arch, &site, "sym", apply);
}

static void test_every_type(void **state)
{
	unsigned types = 0;

	for (uint32_t type = 0; type < 256; type++) {
		const struct sut_reloc_howto *h = p->mem.arch->reloc_howto(type);
		uint8_t bytes[16] = { 0 }, zero[16] = { 0 };

		memset(bytes + 8, 0xee, 8);
		memset(zero + 8, 0xee, 8);
		if (!h) {
			assert_int_equal(one(type, 0x10000, 0x10040, 0, bytes, true), -SUTURE_EREFUSED);
			continue;
		}
		types++;
		assert_int_equal(one(type, 0x10, 0x20, 4, bytes, true), 0);
		assert_int_equal(one(type, 0x10, 0x20, 4, bytes, false), 0);
		assert_memory_equal(bytes, zero, sizeof(bytes));
		if (!h->size)
			continue;
		/* Clearing what is not there changes nothing. */
		bytes[0] = 0x7f;
		bytes[h->size - 1] ^= 0x31;
		memcpy(zero, bytes, sizeof(zero));
		assert_int_equal(one(type, 0x10, 0x20, 4, bytes, false), -SUTURE_EREFUSED);
		assert_memory_equal(bytes, zero, sizeof(bytes));
		/* Nor does a field that does not fit. */
		memset(bytes, 0, 8);
		memcpy(zero, bytes, sizeof(zero));
		if (h->size < 8 && h->kind != SUT_RELOC_GOT_BASE) {
			assert_int_equal(one(type, 0x10, 0x123456789abcull, 0, bytes, true), -SUTURE_EREFUSED);
			assert_memory_equal(bytes, zero, sizeof(bytes));
		}
	}
	assert_true(types > 25);
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
	struct CMUnitTest tests[64] = { cmocka_unit_test(test_every_type) };
	static char names[64][64];
	size_t n = 1;

	need_host();
	/* "ld:FILE": compared with the linker too. */
	for (int i = 1; i < argc && n < 60; i++) {
		bool ld = !strncmp(argv[i], "ld:", 3);
		char *file = argv[i] + (ld ? 3 : 0);
		const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;

		if (ld && !system("command -v ld >/dev/null")) {
			snprintf(names[n], 64, "ld %.50s", base);
			tests[n] = (struct CMUnitTest){ names[n], test_like_ld, NULL, NULL, file };
			n++;
		}
		snprintf(names[n], 64, "clear %.50s", base);
		tests[n] = (struct CMUnitTest){ names[n], test_clear, NULL, NULL, file };
		n++;
		snprintf(names[n], 64, "rollback %.50s", base);
		tests[n] = (struct CMUnitTest){ names[n], test_rollback, NULL, NULL, file };
		n++;
	}
	/* The library is needed, and stdout is copied here, as into any executable that uses it. */
	host_hidden = *lib_tls_address() + (stdout != NULL);
	return _cmocka_run_group_tests("relocate", tests, n, setup, teardown);
}
