/* SPDX-License-Identifier: MIT */
/* buildreport.h - what build and diff have in common on the command line. */
#ifndef SUT_BUILDREPORT_H
#define SUT_BUILDREPORT_H

#include "cli/cli.h"
#include "diff/build.h"

/** The options as the builder wants them; everything is borrowed from @cli. */
struct sut_build_opts sut_build_options(const struct sut_cli *cli);
/** What both need: a target, an output, a name that can be one. */
int sut_build_check_args(struct sut_cli *cli) __must_check;
/** Whether the file can be made where it shall be; asked before minutes of compiling. */
int sut_build_check_output(struct sut_cli *cli) __must_check;
/** From begin to end all temporary files lie in one directory, which a signal that ends us removes (scratch.c). */
void sut_scratch_begin(void);
void sut_scratch_end(void);
/** Shows the report and the failure @err, if any. Returns the exit status. */
int sut_build_show(struct sut_cli *cli, const struct sut_build_report *r, int err);

#endif
