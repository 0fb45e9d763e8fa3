/* SPDX-License-Identifier: MIT */
/* mem.c - the checked form of a system call in a target. Holds no state. */
#include <errno.h>

#include "text/mem.h"

int sut_mem_call(struct sut_mem *mem, const char *what, uint64_t *ret, enum sut_sys sys, const uint64_t args[6])
{
	int64_t result = 0;
	int err = mem->ops->syscall(mem, sys, args, &result);

	if (err)
		return err;
	/* The kernel's errors are the last page of values; everything else is a result. */
	if (result < 0 && result >= -4095 && mem->frozen)
		return sut_fail(mem->ctx, SUTURE_EFAILED, "%s in this process failed: error %d", what, (int)-result);
	if (result < 0 && result >= -4095)
		return sut_fail(mem->ctx, SUTURE_EFAILED, "%s in the target failed: %s", what, strerror((int)-result));
	*ret = (uint64_t)result;
	return 0;
}
