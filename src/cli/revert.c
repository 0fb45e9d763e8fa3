/* SPDX-License-Identifier: MIT */
/* revert.c - suture revert: takes a patch out of running processes again. */
#include "cli/cli.h"

/* Whether the process holds a patch of that name that is in force. */
static bool has_patch(struct sut_cli *cli, struct suture_process *p, void *arg)
{
	struct suture_status *s;
	bool found = false;

	if (suture_process_status(p, &s))
		return false;
	for (size_t i = 0; i < s->n_patches; i++)
		found |= s->patches[i].state != SUTURE_STATE_PARKED && !strcmp(s->patches[i].name, arg);
	suture_status_free(s);
	return found;
}

static int revert_one(struct sut_cli *cli, struct suture_process *p, const char *who, json_t *obj, void *arg)
{
	struct suture_report *r;
	struct suture_enable_opts opts = sut_enable_opts(cli, &r);
	int err = suture_patch_disable(p, arg, &opts);

	if (err)
		return sut_cli_fail(cli, err, sut_who(cli, who), obj);
	if (obj)
		sut_report_json(obj, r);
	else if (!cli->args.dry_run)
		sut_report_done(cli, r, sut_who(cli, who), "reverted");
	else if (!cli->args.quiet) {
		sut_output_settle(cli);
		printf("%s: would be taken out of %s; nothing was changed\n", r->patch, who);
		sut_report_functions(cli, r);
	}
	suture_report_free(r);
	return 0;
}

static int run_revert(struct sut_cli *cli)
{
	static const struct sut_selection sel = {
		.patched = true,
		.match = has_patch,
		.none = "no running process holds a patch of that name",
	};

	if (cli->doc) {
		sut_json_set(cli->doc, "patch", sut_json_text(cli->args.operand.v[0]));
		sut_json_set(cli->doc, "dry_run", json_boolean(cli->args.dry_run));
	}
	return sut_each_process(cli, &sel, revert_one, (void *)cli->args.operand.v[0]);
}

static const struct sut_option options[] = {
	SUT_OPTIONS_PROCESSES("every process that holds the patch"),
	SUT_OPTION_TIMEOUT,
	SUT_OPTION_DRY_RUN("check and plan, but change nothing"),
	{ 0 },
};

const struct sut_command sut_cmd_revert = {
	.name = "revert",
	.alias = "unload",
	.operands = "NAME",
	.summary = "take a patch out of running processes",
	.options = options,
	.min_operands = 1,
	.max_operands = 1,
	.complete = SUT_COMPLETE_PATCH,
	.changes = true,
	.run = run_revert,
};
