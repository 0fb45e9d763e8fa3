/* SPDX-License-Identifier: MIT */
/*
 * arch.c - which architectures there are.
 *
 * The only place that asks what the host is: everything else gets its table by the ELF
 * machine number of the target.
 */
#include <elf.h>

#include "arch/arch.h"

static const struct sut_arch *const archs[] = { &sut_arch_x86_64, &sut_arch_aarch64, &sut_arch_ppc64le };

const struct sut_arch *sut_arch_find(uint16_t e_machine)
{
	for (size_t i = 0; i < sizeof(archs) / sizeof(archs[0]); i++) {
		if (archs[i]->e_machine == e_machine)
			return archs[i];
	}
	return NULL;
}

const struct sut_arch *sut_arch_host(void)
{
#if defined(__x86_64__)
	return sut_arch_find(EM_X86_64);
#elif defined(__aarch64__)
	return sut_arch_find(EM_AARCH64);
#elif defined(__powerpc64__)
	return sut_arch_find(EM_PPC64);
#else
	return NULL;
#endif
}

uint64_t sut_arch_host_tp(void)
{
	uint64_t tp = 0;

#if defined(__x86_64__)
	__asm__("mov %%fs:0, %0" : "=r"(tp)); /* the word there is its own address: what TLS sequences rely on */
#elif defined(__aarch64__)
	__asm__("mrs %0, tpidr_el0" : "=r"(tp));
#elif defined(__powerpc64__)
	__asm__("mr %0, 13" : "=r"(tp));
#endif
	return tp;
}

/* Byte @i of the bits that are the field, and of what stands in them before. */
static uint8_t mask_byte(const struct sut_reloc_howto *howto, unsigned i)
{
	return howto->mask ? (uint8_t)(howto->mask >> (8 * i)) : 0xff;
}

static uint8_t idle_byte(const struct sut_reloc_howto *howto, unsigned i)
{
	return howto->mask ? (uint8_t)(howto->idle >> (8 * i)) : 0;
}

bool sut_reloc_field_idle(const struct sut_reloc_howto *howto, const uint8_t *place)
{
	for (unsigned i = 0; i < howto->size; i++)
		if ((place[i] & mask_byte(howto, i)) != idle_byte(howto, i))
			return false;
	return true;
}

void sut_reloc_field_clear(const struct sut_reloc_howto *howto, uint8_t *place)
{
	for (unsigned i = 0; i < howto->size; i++)
		place[i] = (uint8_t)((place[i] & ~mask_byte(howto, i)) | idle_byte(howto, i));
}

bool sut_reloc_field_equal(const struct sut_reloc_howto *howto, const uint8_t *a, const uint8_t *b)
{
	for (unsigned i = 0; i < howto->size; i++)
		if ((a[i] ^ b[i]) & mask_byte(howto, i))
			return false;
	return true;
}

bool sut_reloc_rest_equal(const struct sut_reloc_howto *howto, const uint8_t *a, const uint8_t *b)
{
	for (unsigned i = 0; i < howto->size; i++)
		if ((a[i] ^ b[i]) & ~mask_byte(howto, i))
			return false;
	return true;
}
