/* SPDX-License-Identifier: MIT */
/* doctor.c - suture doctor: what this machine allows, what it lacks, and what is done instead. */
#include "cli/cli.h"
#include "cli/environment.h"

static const char *const words[] = { "ok", "limited", "missing" };

static void add_line(struct sut_table *t, const struct sut_env_check *c, const struct sut_env_finding *f)
{
	static const char *const colors[] = { "green", "yellow", "red" };
	_cleanup_free_ char *found = *f->found ? sut_text(": %s", f->found) : sut_text("%s", "");
	_cleanup_free_ char *text =
		sut_text("%s%s%s%s", c->meaning, found,
			 f->result == SUT_ENV_OK ? "" : "; without: ", f->result == SUT_ENV_OK ? "" : c->otherwise);
	_cleanup_free_ char *safe = sut_safe(text);
	const char *cells[] = { c->name, words[f->result], safe };

	sut_table_line(t, 0, cells);
	sut_table_color(t, 1, colors[f->result == SUT_ENV_MISSING && !c->required ? SUT_ENV_LIMITED : f->result]);
}

static void add_json(json_t *array, const struct sut_env_check *c, const struct sut_env_finding *f)
{
	json_t *o = sut_json_object();

	sut_json_set(o, "name", json_string(c->name));
	sut_json_set(o, "result", json_string(words[f->result]));
	sut_json_set(o, "required", json_boolean(c->required));
	sut_json_set(o, "found", *f->found ? sut_json_text(f->found) : json_null());
	sut_json_set(o, "meaning", json_string(c->meaning));
	sut_json_set(o, "otherwise", json_string(c->otherwise));
	sut_json_add(array, o);
}

static int verdict(struct sut_cli *cli, const char *lacks, bool permission)
{
	int err;

	if (!lacks)
		return 0;
	err = sut_fail(cli->ctx, permission ? SUTURE_EACCESS : SUTURE_EFAILED,
		       "no process can be patched here: %s is missing", lacks);
	if (permission)
		err = sut_hint(cli->ctx, "run as root, or with CAP_SYS_PTRACE; in a container, outside of it");
	return sut_cli_fail(cli, err, "", cli->doc);
}

static int run_doctor(struct sut_cli *cli)
{
	static const struct sut_column cols[] = {
		{ .name = "CHECK" },
		{ .name = "RESULT" },
		{ .name = "MEANING", .words = true },
	};
	struct sut_table *t = sut_table_create(cli, cols, SUT_ARRAY_SIZE(cols), 0);
	json_t *array = cli->doc ? sut_json_array(cli->doc, "checks") : NULL;
	const char *lacks = NULL;
	bool permission = false;

	for (const struct sut_env_check *c = sut_env_checks; c->name; c++) {
		struct sut_env_finding f = { 0 };

		c->look(cli->ctx, &f);
		add_line(t, c, &f);
		if (array)
			add_json(array, c, &f);
		if (c->required && f.result == SUT_ENV_MISSING && !lacks) {
			lacks = c->name;
			permission = f.permission;
		}
	}
	sut_output_settle(cli);
	sut_table_print(t, !cli->doc && !cli->args.quiet);
	return verdict(cli, lacks, permission);
}

const struct sut_command sut_cmd_doctor = {
	.name = "doctor",
	.operands = "",
	.summary = "show what this machine allows and what it lacks",
	.run = run_doctor,
};
