/* SPDX-License-Identifier: MIT */
/* list.c - suture list: patched processes, all of the machine or some, and their patches. */
#include "cli/cli.h"

static void add_lines(struct sut_table *t, struct suture_process *p, const struct suture_status *s)
{
	for (size_t i = 0; i < s->n_patches; i++) {
		const struct suture_status_patch *x = &s->patches[i];
		_cleanup_free_ char *pid = sut_text("%d", suture_process_pid(p));
		_cleanup_free_ char *comm = sut_safe(suture_process_comm(p)), *name = sut_safe(x->name);
		_cleanup_free_ char *order = x->order ? sut_text("%u", x->order) : sut_text("-");
		_cleanup_free_ char *transition = sut_text_transition(x);
		_cleanup_free_ char *funcs = sut_text("%zu", x->n_funcs), *since = sut_text_since(x->since);
		const char *cells[] = { pid, comm, name, order, sut_state_word(x->state), transition, funcs, since };

		if (x->state == SUTURE_STATE_PARKED)
			continue;
		sut_table_line(t, 0, cells);
		sut_table_color(t, 4, x->state == SUTURE_STATE_ENABLED ? "green" : "yellow");
	}
}

static void add_json(json_t *obj, const struct suture_status *s)
{
	json_t *patches = sut_json_array(obj, "patches");

	for (size_t i = 0; i < s->n_patches; i++)
		if (s->patches[i].state != SUTURE_STATE_PARKED)
			sut_status_json(patches, &s->patches[i]);
}

/* Every process has its line, also one of which nobody can say any more what it runs. */
static void add_damaged(struct sut_table *t, struct suture_process *p)
{
	_cleanup_free_ char *pid = sut_text("%d", suture_process_pid(p)), *comm = sut_safe(suture_process_comm(p));
	const char *cells[] = { pid, comm, "-", "-", "damaged", "-", "-", "-" };

	sut_table_line(t, 0, cells);
	sut_table_color(t, 4, "red");
}

static int list_one(struct sut_cli *cli, struct suture_process *p, const char *who, json_t *obj, void *arg)
{
	struct suture_status *s;
	int err = suture_process_status(p, &s);

	if (err == -SUTURE_EREFUSED && !obj)
		add_damaged(arg, p);
	if (err)
		return sut_cli_fail(cli, err, sut_who(cli, who), obj);
	if (obj)
		add_json(obj, s);
	else
		add_lines(arg, p, s);
	suture_status_free(s);
	return 0;
}

/* Whether any patch is in force, or on its way in or out: one that was reverted does not make a process patched. */
static bool is_patched(struct sut_cli *cli, struct suture_process *p, void *arg)
{
	struct suture_status *s;
	bool found = false;

	/* Why its registry can not be read is told by list_one(). */
	if (suture_process_status(p, &s))
		return true;
	for (size_t i = 0; i < s->n_patches; i++)
		found |= s->patches[i].state != SUTURE_STATE_PARKED;
	suture_status_free(s);
	return found;
}

static int run_list(struct sut_cli *cli)
{
	static const struct sut_column cols[] = {
		{ .name = "PID", .right = true },   { .name = "COMMAND" }, { .name = "PATCH" },
		{ .name = "ORDER", .right = true }, { .name = "STATE" },   { .name = "TRANSITION" },
		{ .name = "FUNCS", .right = true }, { .name = "SINCE" },
	};
	static const struct sut_selection sel = {
		.patched = true,
		.match = is_patched,
		.none = "no process is patched",
		.none_is_fine = true,
	};
	struct sut_table *t = sut_table_create(cli, cols, SUT_ARRAY_SIZE(cols), 0);
	int status = sut_each_process(cli, &sel, list_one, t);

	sut_output_settle(cli);
	sut_table_print(t, !cli->args.quiet && !cli->doc);
	return status;
}

static const struct sut_option options[] = {
	SUT_OPTIONS_PROCESSES("every patched process, as when none is named"),
	{ 0 },
};

const struct sut_command sut_cmd_list = {
	.name = "list",
	.operands = "",
	.summary = "show all patched processes and their patches",
	.options = options,
	.all_by_default = true,
	.run = run_list,
};
