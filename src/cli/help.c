/* SPDX-License-Identifier: MIT */
/* help.c - suture help and suture version. */
#include "cli/cli.h"

static int run_help(struct sut_cli *cli)
{
	const struct sut_command *cmd;

	if (!cli->args.operand.n) {
		sut_help_all(stdout);
		return 0;
	}
	cmd = sut_command_find(cli->args.operand.v[0]);
	if (!cmd)
		return sut_cli_fail(
			cli,
			sut_fail(cli->ctx, SUTURE_EUSAGE, "help: there is no command '%s'", cli->args.operand.v[0]), "",
			NULL);
	sut_help_command(cmd);
	return 0;
}

const struct sut_command sut_cmd_help = {
	.name = "help",
	.operands = "[COMMAND]",
	.summary = "show the commands, or the options of one",
	.plain = true,
	.max_operands = 1,
	.complete = SUT_COMPLETE_COMMAND,
	.run = run_help,
};

static int run_version(struct sut_cli *cli)
{
	printf("suture %s\n", SUTURE_VERSION);
	return 0;
}

const struct sut_command sut_cmd_version = {
	.name = "version",
	.operands = "",
	.summary = "show the version",
	.plain = true,
	.run = run_version,
};
