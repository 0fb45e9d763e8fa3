/* SPDX-License-Identifier: MIT */
/*
 * test_hostile.c - mutated object files: a plan or a refusal, never a crash (run it under ASan).
 *
 * Bytes of headers, symbols, relocations and unwind data are changed; a plan that is made is never loaded.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "late.h"
#include "self.h"
#include "lib/needs.h"

int host_counter, host_hidden, host_cleaned;
__thread int host_tls;
int *lib_tls_address(void);
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
int host_throw(int x);
int host_throw(int x)
{
	return x;
}

static struct suture_process *p;
static uint64_t seed = 88172645463325252ull;

static unsigned next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 11);
}

/* Interesting places: the section headers, and inside sections that the loader reads closely. */
static size_t pick(const uint8_t *image, size_t len)
{
	const Elf64_Ehdr *eh = (const void *)image;
	const Elf64_Shdr *sh = (const void *)(image + eh->e_shoff);

	for (int tries = 0; tries < 64; tries++) {
		const Elf64_Shdr *s = &sh[next_random() % eh->e_shnum];
		unsigned what = next_random() % 8;

		if (what == 0)
			return eh->e_shoff + next_random() % (eh->e_shnum * sizeof(*sh));
		if (s->sh_type == SHT_NOBITS || !s->sh_size)
			continue;
		if (s->sh_type == SHT_RELA || s->sh_type == SHT_SYMTAB || (s->sh_flags & SHF_ALLOC && what < 3) ||
		    what == 7)
			return s->sh_offset + next_random() % s->sh_size;
	}
	return next_random() % len;
}

static uint8_t value(uint8_t was)
{
	static const uint8_t edges[] = { 0, 1, 2, 4, 8, 0x7f, 0x80, 0xfe, 0xff };

	switch (next_random() % 3) {
	case 0:
		return edges[next_random() % sizeof(edges)];
	case 1:
		return (uint8_t)(was ^ 1u << next_random() % 8);
	}
	return (uint8_t)next_random();
}

static void mutate(const char *path, unsigned rounds)
{
	unsigned plans = 0, refusals = 0;
	size_t len;
	uint8_t *good = late_image(path, &len);

	for (unsigned i = 0; i < rounds; i++) {
		uint8_t *image = malloc(len);
		size_t size = next_random() % 32 ? len : next_random() % len;
		struct sut_module *m;
		struct sut_elf *e;

		memcpy(image, good, len);
		for (unsigned n = 1 + next_random() % 3; n; n--) {
			size_t at = pick(good, len);

			image[at] = value(image[at]);
		}
		if (sut_elf_open_memory(p->ctx, image, size, "mutant", &e)) {
			refusals++;
			continue;
		}
		if (sut_module_plan(p, e, "mutant", self_env(p), &m)) {
			refusals++;
			assert_true(suture_ctx_error(p->ctx)->code != 0);
		} else {
			struct sut_extra_cfi x[SUT_RECORD_AREAS];
			size_t n;

			plans++;
			if (!sut_module_extra_cfi(m, x, SUT_RECORD_AREAS, &n))
				sut_extra_cfi_free(x, n);
			sut_module_free(m);
		}
		sut_elf_close(e);
	}
	free(good);
	if (plans < rounds / 50 || refusals < rounds / 50)
		fail_msg("%s: %u plans, %u refusals: the mutations miss", path, plans, refusals);
}

static void test_mutants(void **state)
{
	mutate(*state, getenv("SUTURE_MUTANTS") ? (unsigned)atoi(getenv("SUTURE_MUTANTS")) : 1500);
}

static int setup(void **state)
{
	p = self_open();
	host_hidden = *lib_tls_address() + (stdout != NULL);
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
	for (int i = 1; i < argc && n < 32; i++)
		tests[n++] = (struct CMUnitTest){ argv[i], test_mutants, NULL, NULL, argv[i] };
	return _cmocka_run_group_tests("hostile", tests, n, setup, teardown);
}
