/* SPDX-License-Identifier: MIT */
/*
 * dispatch.c - the list of commands, and one invocation from argv to exit status.
 *
 * Every path ends in sut_output_finish(), which notices a standard output that could not
 * be written. Calls the commands through their table; knows none of them by name but for help.
 */
#include "cli/cli.h"

const struct sut_command *const sut_commands[] = {
	&sut_cmd_build,      &sut_cmd_diff,    &sut_cmd_inspect, &sut_cmd_check,
	&sut_cmd_apply,      &sut_cmd_revert,  &sut_cmd_list,    &sut_cmd_status,
	&sut_cmd_tree,       &sut_cmd_recover, &sut_cmd_symbols, &sut_cmd_doctor,
	&sut_cmd_completion, &sut_cmd_help,    &sut_cmd_version, NULL,
};

const struct sut_command *sut_command_find(const char *name)
{
	for (size_t i = 0; sut_commands[i]; i++) {
		const struct sut_command *c = sut_commands[i];

		if (!strcmp(name, c->name) || (c->alias && !strcmp(name, c->alias)))
			return c;
	}
	return NULL;
}

/* How many single-letter edits lie between two words; words are short. */
static size_t distance(const char *a, const char *b)
{
	size_t row[32], n = strlen(b);

	if (n >= SUT_ARRAY_SIZE(row))
		return SIZE_MAX;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);

			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = row[j];
			row[j] = best;
		}
	}
	return row[n];
}

static int unknown_command(const char *word)
{
	const struct sut_command *near = NULL;
	size_t best = 3; /* further apart is no typing mistake */
	char *safe = sut_safe(word);

	for (size_t i = 0; sut_commands[i]; i++) {
		size_t d = distance(word, sut_commands[i]->name);

		if (d < best) {
			best = d;
			near = sut_commands[i];
		}
	}
	if (near)
		fprintf(stderr, "suture: there is no command '%s'; did you mean '%s'? (see suture --help)\n", safe,
			near->name);
	else
		fprintf(stderr, "suture: there is no command '%s' (see suture --help)\n", safe);
	free(safe);
	return 2;
}

/* Whether the failure to read the options shall be told as a document too. */
static bool wants_json(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
		if (!strcmp(argv[i], "--json"))
			return true;
	return false;
}

static int make_context(struct sut_cli *cli)
{
	struct suture_ctx_opts opts = {
		.sz = sizeof(opts),
		.log = sut_output_log,
		.progress = sut_output_progress,
		.arg = cli,
	};

	return suture_ctx_create(&opts, &cli->ctx);
}

static void start_document(struct sut_cli *cli)
{
	char schema[64];

	snprintf(schema, sizeof(schema), "suture.%s/1", cli->cmd->name);
	cli->doc = sut_json_object();
	sut_json_set(cli->doc, "schema", json_string(schema));
	/* The members that are known last stand first. */
	sut_json_set(cli->doc, "ok", json_false());
	sut_json_set(cli->doc, "status", json_integer(0));
}

static int run_command(const struct sut_command *cmd, int argc, char **argv)
{
	struct sut_cli cli = { .cmd = cmd };
	int err, status;

	if (make_context(&cli))
		sut_oom();
	err = sut_args_parse(&cli, argc, argv);
	if (!cmd->plain && err != 1 && (err ? wants_json(argc, argv) : cli.args.json))
		start_document(&cli);
	if (err < 0)
		status = sut_cli_fail(&cli, err, "", cli.doc);
	else
		status = err ? 0 : cmd->run(&cli);
	status = sut_output_finish(&cli, status);
	suture_ctx_destroy(cli.ctx);
	sut_args_free(&cli.args);
	sut_interrupts_release();
	return status;
}

int sut_main(int argc, char **argv)
{
	const struct sut_command *cmd;
	const char *word = argc > 1 ? argv[1] : NULL;

	if (!word) {
		sut_help_all(stderr);
		return 2;
	}
	if (!strcmp(word, "-h") || !strcmp(word, "--help"))
		cmd = &sut_cmd_help;
	else if (!strcmp(word, "-V") || !strcmp(word, "--version"))
		cmd = &sut_cmd_version;
	else if (word[0] == '-') {
		char *safe = sut_safe(word);

		fprintf(stderr, "suture: %s stands where a command should be (see suture --help)\n", safe);
		free(safe);
		return 2;
	} else
		cmd = sut_command_find(word);
	if (!cmd)
		return unknown_command(word);
	return run_command(cmd, argc - 1, argv + 1);
}
