/* SPDX-License-Identifier: MIT */
/* list.c - suture list: every patched process of the machine and its patches, from their registries. */
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

static void add_json(struct sut_cli *cli, struct suture_process *p, const struct suture_status *s)
{
	json_t *o = NULL, *patches = NULL;

	for (size_t i = 0; i < s->n_patches; i++) {
		if (s->patches[i].state == SUTURE_STATE_PARKED)
			continue;
		if (!o) {
			o = json_object();
			if (!o)
				sut_oom();
			sut_json_set(o, "pid", json_integer(suture_process_pid(p)));
			sut_json_set(o, "command", sut_json_text(suture_process_comm(p)));
			patches = sut_json_array(o, "patches");
		}
		sut_status_json(patches, &s->patches[i]);
	}
	if (o)
		sut_json_add(json_object_get(cli->doc, "processes"), o);
}

/* One process; one that is gone by now, or is not ours, is left out and counted. */
static int list_one(struct sut_cli *cli, struct sut_table *t, pid_t pid, unsigned *unreadable)
{
	struct suture_process *p = NULL;
	struct suture_status *s;
	int err = suture_process_attach(cli->ctx, pid, NULL, &p), status;

	if (!err)
		err = suture_process_status(p, &s);
	status = suture_exit_status(err);
	if (err == -SUTURE_EGONE || status == 7) {
		status = 0;
	} else if (status == 6) {
		++*unreadable;
		status = 0;
	} else if (err) {
		_cleanup_free_ char *who = sut_text("process %d", pid);

		sut_cli_fail(cli, err, who, cli->doc);
	} else {
		if (cli->doc)
			add_json(cli, p, s);
		else
			add_lines(t, p, s);
		suture_status_free(s);
	}
	suture_process_detach(p);
	return status;
}

static int run_list(struct sut_cli *cli)
{
	static const struct sut_column cols[] = {
		{ .name = "PID", .right = true },   { .name = "COMMAND" }, { .name = "PATCH", .squeeze = true },
		{ .name = "ORDER", .right = true }, { .name = "STATE" },   { .name = "TRANSITION" },
		{ .name = "FUNCS", .right = true }, { .name = "SINCE" },
	};
	struct sut_table *t = sut_table_create(cli, cols, SUT_ARRAY_SIZE(cols), 0);
	struct sut_pids pids = { 0 };
	unsigned unreadable = 0;
	int status = 0, err = sut_patched_pids(cli, &pids, &unreadable);

	if (cli->doc)
		sut_json_array(cli->doc, "processes");
	for (size_t i = 0; !err && i < pids.n; i++)
		status = sut_worse_status(list_one(cli, t, pids.v[i], &unreadable), status);
	if (err)
		status = sut_cli_fail(cli, err, "", cli->doc);
	sut_vec_free(&pids);
	if (cli->doc)
		sut_json_set(cli->doc, "unreadable", json_integer(unreadable));
	else if (unreadable)
		sut_note(cli, "%u processes could not be looked at (no permission)", unreadable);
	if (!cli->doc && !sut_table_lines(t) && !status)
		sut_note(cli, "no process is patched");
	sut_output_settle(cli);
	sut_table_print(t, !cli->args.quiet && !cli->doc);
	return status;
}

const struct sut_command sut_cmd_list = {
	.name = "list",
	.operands = "",
	.summary = "show all patched processes and their patches",
	.run = run_list,
};
