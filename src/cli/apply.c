/* SPDX-License-Identifier: MIT */
/* apply.c - suture apply: puts a patch into running processes, each with all its threads or not at all. */
#include "cli/cli.h"

static void show(struct sut_cli *cli, const struct suture_report *r, const char *who)
{
	if (!cli->args.dry_run) {
		sut_report_done(cli, r, sut_who(cli, who), "patched");
		return;
	}
	sut_output_settle(cli);
	if (cli->args.quiet)
		return;
	printf("%s: would go into %s; nothing was changed\n", r->patch, who);
	sut_report_functions(cli, r);
}

static int apply_one(struct sut_cli *cli, struct suture_process *p, const char *who, json_t *obj, void *arg)
{
	struct sut_patch_arg *a = arg;
	struct suture_report *r;
	struct suture_enable_opts opts = sut_enable_opts(cli, &r);
	int err = suture_patch_enable(p, a->patch, &opts);

	if (err)
		return sut_cli_fail(cli, err, sut_who(cli, who), obj);
	if (obj)
		sut_report_json(obj, r);
	else
		show(cli, r, who);
	suture_report_free(r);
	return 0;
}

static int run_apply(struct sut_cli *cli)
{
	if (cli->doc)
		sut_json_set(cli->doc, "dry_run", json_boolean(cli->args.dry_run));
	return sut_with_patch(cli, apply_one);
}

static const struct sut_option options[] = {
	SUT_OPTIONS_PROCESSES("every process that maps the patch's objects"),
	SUT_OPTION_TIMEOUT,
	SUT_OPTION_DRY_RUN("check and plan, but change nothing"),
	{ 0 },
};

const struct sut_command sut_cmd_apply = {
	.name = "apply",
	.alias = "load",
	.operands = "F.sut",
	.summary = "put a patch into running processes",
	.options = options,
	.min_operands = 1,
	.max_operands = 1,
	.complete = SUT_COMPLETE_FILE,
	.changes = true,
	.run = run_apply,
};
