/* SPDX-License-Identifier: MIT */
/*
 * digest.c - BLAKE2b-256, and the identity of a file that carries no build-id.
 *
 * Calls libsodium and nothing else.
 */
#include <sodium.h>

#include "elf/priv.h"

_Static_assert(SUT_DIGEST_SIZE == crypto_generichash_BYTES, "BLAKE2b-256");

void sut_digest(const void *p, size_t len, uint8_t ret[SUT_DIGEST_SIZE])
{
	if (sodium_init() < 0) {
		/* No source of random numbers, which a hash does not need: only its fastest form is lost. */
	}
	crypto_generichash(ret, SUT_DIGEST_SIZE, p, len, NULL, 0);
}

static void add_number(crypto_generichash_state *st, uint64_t n)
{
	uint8_t b[8];

	for (unsigned i = 0; i < 8; i++)
		b[i] = (uint8_t)(n >> 8 * i);
	crypto_generichash_update(st, b, sizeof(b));
}

int sut_elf_content_digest(const struct sut_elf *e, uint8_t ret[SUT_DIGEST_SIZE])
{
	crypto_generichash_state st;
	size_t n = 0;

	for (size_t i = 0; i < e->load.n; i++)
		n += (e->load.v[i].prot & 4) && e->load.v[i].filesz;
	if (!n)
		return sut_fail(e->ctx, SUTURE_EREFUSED, "%s holds no executable code: nothing to identify it by",
				e->name);
	if (sodium_init() < 0) {
		/* As above. */
	}
	crypto_generichash_init(&st, NULL, 0, SUT_DIGEST_SIZE);
	add_number(&st, e->machine);
	add_number(&st, n);
	for (size_t i = 0; i < e->load.n; i++) {
		const struct sut_segment *s = &e->load.v[i];

		if (!(s->prot & 4) || !s->filesz)
			continue;
		add_number(&st, s->vaddr);
		add_number(&st, s->filesz);
		crypto_generichash_update(&st, e->image + s->offset, s->filesz);
	}
	crypto_generichash_final(&st, ret, SUT_DIGEST_SIZE);
	return 0;
}
