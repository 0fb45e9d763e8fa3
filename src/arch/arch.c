/* SPDX-License-Identifier: MIT */
/*
 * arch.c - which architectures there are.
 *
 * The only place that asks what the host is: everything else gets its table by the ELF
 * machine number of the target.
 */
#include <elf.h>

#include "arch/arch.h"

static const struct sut_arch *const archs[] = { &sut_arch_x86_64 };

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
