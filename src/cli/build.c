/* SPDX-License-Identifier: MIT */
/*
 * build.c - suture build: a source difference to a patch file. The work is src/diff's; the report of
 * what changed, and why, is shown here and by diff.c alike.
 */
#include "cli/cli.h"
#include "cli/buildreport.h"

static int run_build(struct sut_cli *cli)
{
	const struct sut_args *a = &cli->args;
	struct sut_build_report report = { 0 };
	struct sut_build_opts opts = sut_build_options(cli);
	int err = sut_build_check_args(cli);

	if (!err && !a->source)
		err = sut_fail(cli->ctx, SUTURE_EUSAGE, "build: -s SRCDIR is missing");
	if (!err && !a->diff.n)
		err = sut_fail(cli->ctx, SUTURE_EUSAGE, "build: -d FIX.diff is missing");
	if (!err)
		err = sut_build_check_output(cli);
	if (err)
		return sut_cli_fail(cli, err, "", cli->doc);
	sut_scratch_begin();
	err = sut_build(cli->ctx, &opts, &report);
	sut_scratch_end();
	err = sut_build_show(cli, &report, err);
	sut_build_report_free(&report);
	return err;
}

static const struct sut_option options[] = {
	{ 't', "target", "TARGET", "the binary to patch, as it runs; can be given several times", SUT_OPT_LIST,
	  SUT_ARG(target), SUT_COMPLETE_FILE },
	{ 's', "source", "SRCDIR", "the source tree that the target was built from; never written to", SUT_OPT_TEXT,
	  SUT_ARG(source), SUT_COMPLETE_DIR },
	{ 'd', "diff", "FIX.diff", "unified diff to build in; can be given several times", SUT_OPT_LIST, SUT_ARG(diff),
	  SUT_COMPLETE_FILE },
	{ 'c', "compile-commands", "FILE", "how each file was compiled (default SRCDIR/compile_commands.json)",
	  SUT_OPT_TEXT, SUT_ARG(commands), SUT_COMPLETE_FILE },
	SUT_OPTION_DEBUG("debug file of a stripped target; can be given several times"),
	{ 0, "name", "NAME", "name of the patch (default: the output's name without .sut)", SUT_OPT_TEXT, SUT_ARG(name),
	  SUT_COMPLETE_NONE },
	{ 'o', "output", "F.sut", "the patch file to write", SUT_OPT_TEXT, SUT_ARG(output), SUT_COMPLETE_FILE },
	{ 0, "explain", NULL, "tell what changed, what it pulled in, and why", SUT_OPT_FLAG, SUT_ARG(explain),
	  SUT_COMPLETE_NONE },
	{ 0, "keep", "DIR", "keep the compiled objects in DIR", SUT_OPT_TEXT, SUT_ARG(keep), SUT_COMPLETE_DIR },
	{ 'j', "jobs", "N", "so many compilers at once (default: one per processor)", SUT_OPT_NUMBER, SUT_ARG(jobs),
	  SUT_COMPLETE_NONE },
	SUT_OPTION_DRY_RUN("do everything but write the patch file"),
	{ 0 },
};

const struct sut_command sut_cmd_build = {
	.name = "build",
	.operands = "",
	.summary = "build a patch from a source difference",
	.options = options,
	.changes = true,
	.run = run_build,
};
