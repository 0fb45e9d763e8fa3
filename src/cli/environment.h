/* SPDX-License-Identifier: MIT */
/* environment.h - what suture needs of a machine, tried for real. Used by doctor. */
#ifndef SUT_ENVIRONMENT_H
#define SUT_ENVIRONMENT_H

#include <stdbool.h>

#include <suture/error.h>

enum sut_env_result { SUT_ENV_OK, SUT_ENV_LIMITED, SUT_ENV_MISSING };

/** What one check found. */
struct sut_env_finding {
	enum sut_env_result result;
	bool permission; /* what lacks is a permission */
	char found[96]; /* "6.18.44", "0 (anyone's own)" */
};

struct sut_env_check {
	const char *name;
	bool required; /* without it nothing can be patched */
	const char *meaning; /* what it is for */
	const char *otherwise; /* what happens without it */
	void (*look)(struct suture_ctx *ctx, struct sut_env_finding *ret);
};

/** All checks, ended by one without a name. */
extern const struct sut_env_check sut_env_checks[];

#endif
