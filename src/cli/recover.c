/* SPDX-License-Identifier: MIT */
/* recover.c - suture recover: finishes or takes back what a killed tool left in a process. */
#include "cli/cli.h"

static void show(struct sut_cli *cli, const struct suture_recovery *r, const char *who)
{
	_cleanup_free_ char *last = sut_safe(r->last);

	sut_output_settle(cli);
	if (r->finished + r->undone == 1)
		printf("%s: %s was %s\n", who, last, r->finished ? "brought to its end" : "taken back");
	else
		printf("%s: %u brought to their end, %u taken back, the last of them %s\n", who, r->finished, r->undone,
		       last);
}

static int recover_one(struct sut_cli *cli, struct suture_process *p, const char *who, json_t *obj, void *arg)
{
	struct suture_enable_opts opts = sut_enable_opts(cli, NULL);
	struct suture_recovery r = { 0 };
	int err = suture_process_recover(p, &opts, &r);

	if (err)
		return sut_cli_fail(cli, err, sut_who(cli, who), obj);
	if (obj) {
		sut_json_set(obj, "finished", json_integer(r.finished));
		sut_json_set(obj, "undone", json_integer(r.undone));
		sut_json_set(obj, "last", sut_json_text(r.last));
	} else if (!cli->args.quiet)
		show(cli, &r, who);
	return 0;
}

static int run_recover(struct sut_cli *cli)
{
	static const struct sut_selection sel = { .patched = true, .none = "no running process is patched" };

	return sut_each_process(cli, &sel, recover_one, NULL);
}

static const struct sut_option options[] = {
	SUT_OPTIONS_PROCESSES("every patched process"),
	SUT_OPTION_TIMEOUT,
	{ 0 },
};

const struct sut_command sut_cmd_recover = {
	.name = "recover",
	.operands = "",
	.summary = "finish or take back what a killed suture left",
	.options = options,
	.complete = SUT_COMPLETE_NONE,
	.changes = true,
	.run = run_recover,
};
