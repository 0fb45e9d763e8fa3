/* SPDX-License-Identifier: MIT */
/* status.c - suture status: the patches of a process and the bytes at their sites. */
#include "cli/cli.h"

static void show_functions(struct sut_cli *cli, const struct suture_status_patch *p)
{
	static const struct sut_column cols[] = {
		{ .name = "function" }, { .name = "size" }, { .name = "site" }, { .name = "new" }, { .name = "object" },
	};
	struct sut_table *t = sut_table_create(cli, cols, SUT_ARRAY_SIZE(cols), 4);

	for (size_t i = 0; i < p->n_funcs; i++) {
		const struct suture_status_func *f = &p->funcs[i];
		char hex[2 * sizeof(f->site_bytes) + 1];
		size_t n = f->site_len <= sizeof(f->site_bytes) ? f->site_len : sizeof(f->site_bytes);
		bool foreign = !strcmp(f->site, "foreign");
		_cleanup_free_ char *object = sut_safe(f->object), *name = sut_text_func(f->old_name, f->old_sympos);
		_cleanup_free_ char *size = sut_text_sizes(f->old_size, f->new_size);
		_cleanup_free_ char *site =
			foreign ? sut_text("foreign %s", sut_hex(f->site_bytes, n, hex)) : sut_text("%s", f->site);
		_cleanup_free_ char *new = sut_text("0x%llx", (unsigned long long)f->new_addr);
		const char *cells[] = { name, size, site, new, object };

		sut_table_line(t, 0, cells);
		if (foreign)
			sut_table_color(t, 2, "red");
	}
	sut_table_print(t, true);
}

static void show_patch(struct sut_cli *cli, const struct suture_status_patch *p)
{
	_cleanup_free_ char *name = sut_safe(p->name), *transition = sut_text_transition(p);
	_cleanup_free_ char *since = sut_text_since(p->since), *memory = sut_text_bytes(p->mem_total);
	const char *color = p->state == SUTURE_STATE_ENABLED ? "green" : "yellow";

	printf("  %s: %s%s%s", name, sut_paint(cli, stdout, color), sut_state_word(p->state),
	       sut_paint(cli, stdout, ""));
	if (*transition != '-')
		printf(", %s", transition);
	if (p->state == SUTURE_STATE_PARKED)
		printf(" (reverted; its memory stays, because the program may hold pointers to it)");
	else
		printf(", stack order %u", p->order);
	printf(", since %s, %s at 0x%llx\n", since, memory, (unsigned long long)p->mem_start);
	if (p->n_funcs && p->state != SUTURE_STATE_PARKED)
		show_functions(cli, p);
}

static int status_one(struct sut_cli *cli, struct suture_process *p, const char *who, json_t *obj, void *arg)
{
	struct suture_status *s;
	int err = suture_process_status(p, &s);

	if (err)
		return sut_cli_fail(cli, err, sut_who(cli, who), obj);
	sut_output_settle(cli);
	if (obj) {
		json_t *patches = sut_json_array(obj, "patches");

		for (size_t i = 0; i < s->n_patches; i++)
			sut_status_json(patches, &s->patches[i]);
	} else if (!cli->args.quiet) {
		_cleanup_free_ char *count = sut_text_count(s->n_patches, "patch");

		printf("%s: %s\n", who, s->n_patches ? count : "no patches");
		for (size_t i = 0; i < s->n_patches; i++)
			show_patch(cli, &s->patches[i]);
	}
	suture_status_free(s);
	return 0;
}

static int run_status(struct sut_cli *cli)
{
	static const struct sut_selection sel = { .patched = true, .none = "no running process is patched" };

	return sut_each_process(cli, &sel, status_one, NULL);
}

static const struct sut_option options[] = {
	SUT_OPTIONS_PROCESSES("every patched process"),
	{ 0 },
};

const struct sut_command sut_cmd_status = {
	.name = "status",
	.operands = "",
	.summary = "show the patches of a process and the state of each function",
	.options = options,
	.complete = SUT_COMPLETE_NONE,
	.run = run_status,
};
