/* SPDX-License-Identifier: MIT */
/* diff.c - suture diff: two compiled objects to a patch file, no compiling. */
#include "cli/cli.h"
#include "cli/buildreport.h"

static int run_diff(struct sut_cli *cli)
{
	const struct sut_args *a = &cli->args;
	struct sut_build_report report = { 0 };
	struct sut_build_opts opts = sut_build_options(cli);
	int err = sut_build_check_args(cli);

	if (!err)
		err = sut_build_check_output(cli);
	if (err)
		return sut_cli_fail(cli, err, "", cli->doc);
	sut_scratch_begin();
	err = sut_build_objects(cli->ctx, a->operand.v[0], a->operand.v[1], &opts, &report);
	sut_scratch_end();
	err = sut_build_show(cli, &report, err);
	sut_build_report_free(&report);
	return err;
}

static const struct sut_option options[] = {
	{ 't', "target", "TARGET", "the binary to patch, as it runs", SUT_OPT_LIST, SUT_ARG(target),
	  SUT_COMPLETE_FILE },
	SUT_OPTION_DEBUG("debug file of a stripped target; can be given several times"),
	{ 0, "name", "NAME", "name of the patch (default: the output's name without .sut)", SUT_OPT_TEXT, SUT_ARG(name),
	  SUT_COMPLETE_NONE },
	{ 'o', "output", "F.sut", "the patch file to write", SUT_OPT_TEXT, SUT_ARG(output), SUT_COMPLETE_FILE },
	{ 0, "explain", NULL, "tell what changed, what it pulled in, and why", SUT_OPT_FLAG, SUT_ARG(explain),
	  SUT_COMPLETE_NONE },
	SUT_OPTION_DRY_RUN("do everything but write the patch file"),
	{ 0 },
};

const struct sut_command sut_cmd_diff = {
	.name = "diff",
	.operands = "ORIG.o PATCHED.o",
	.summary = "build a patch from two compiled objects",
	.options = options,
	.min_operands = 2,
	.max_operands = 2,
	.complete = SUT_COMPLETE_FILE,
	.changes = true,
	.run = run_diff,
};
