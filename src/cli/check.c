/* SPDX-License-Identifier: MIT */
/* check.c - suture check: does a patch fit a process, function by function? Changes nothing. */
#include "cli/cli.h"

static void show(struct sut_cli *cli, const struct suture_report *r, const char *who)
{
	_cleanup_free_ char *id = sut_text_build_id(r->build_id ? r->build_id : "");

	sut_output_settle(cli);
	printf("%s: %sfits%s %s  build-id %s  %s\n", r->patch, sut_paint(cli, stdout, "green"),
	       sut_paint(cli, stdout, ""), who, id, r->arch);
	sut_report_functions(cli, r);
}

static int check_one(struct sut_cli *cli, struct suture_process *p, const char *who, json_t *obj, void *arg)
{
	struct sut_patch_arg *a = arg;
	struct suture_report *r;
	int err = suture_patch_check(p, a->patch, &r);

	if (err)
		return sut_cli_fail(cli, err, sut_who(cli, who), obj);
	if (obj)
		sut_report_json(obj, r);
	else if (!cli->args.quiet)
		show(cli, r, who);
	suture_report_free(r);
	return 0;
}

static int run_check(struct sut_cli *cli)
{
	return sut_with_patch(cli, check_one);
}

static const struct sut_option options[] = {
	SUT_OPTIONS_PROCESSES("every process that maps the patch's objects"),
	{ 0 },
};

const struct sut_command sut_cmd_check = {
	.name = "check",
	.operands = "F.sut",
	.summary = "see whether a patch fits running processes; changes nothing",
	.options = options,
	.min_operands = 1,
	.max_operands = 1,
	.complete = SUT_COMPLETE_FILE,
	.run = run_check,
};
