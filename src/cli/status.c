/* SPDX-License-Identifier: MIT */
/*
 * status.c - suture status: the patches of a process, the bytes at their sites, and which side its threads are on.
 *
 * Nobody is stopped for it. All threads change sides at one instant, so the side of each follows from the state of
 * the patches.
 */
#include <ctype.h>
#include <dirent.h>

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

/* The threads of a process, as /proc lists them. */
static void list_threads(pid_t pid, struct sut_pids *ret)
{
	char path[32];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]) && sut_vec_push(ret, (pid_t)atoi(e->d_name)))
			sut_oom();
	if (d)
		closedir(d);
}

/*
 * As in the kernel's patch_state: 0 unpatched, 1 patched; -1 where there is no patch. A transition that has not come
 * to its instant yet leaves all threads where they were.
 */
static int patch_state(const struct suture_status *s)
{
	int state = -1;

	for (size_t i = 0; i < s->n_patches; i++) {
		switch (s->patches[i].state) {
		case SUTURE_STATE_ENABLED:
		case SUTURE_STATE_DISABLING:
			state = 1;
			break;
		case SUTURE_STATE_LOADING:
		case SUTURE_STATE_ENABLING:
			return 0;
		case SUTURE_STATE_PARKED:
			break;
		}
	}
	return state;
}

static void show_threads(struct sut_cli *cli, const struct sut_pids *tid, int state)
{
	static const struct sut_column cols[] = {
		{ .name = "TID", .right = true },
		{ .name = "PATCH_STATE" },
		{ .name = "BLOCKED BY" },
		{ .name = "WAITING" },
	};
	struct sut_table *t = sut_table_create(cli, cols, SUT_ARRAY_SIZE(cols), 0);

	for (size_t i = 0; i < tid->n; i++) {
		_cleanup_free_ char *number = sut_text("%d", (int)tid->v[i]);
		_cleanup_free_ char *side = state < 0 ? sut_text("-") : sut_text("%d", state);
		const char *cells[] = { number, side, "-", "-" };

		sut_table_line(t, 0, cells);
	}
	sut_table_print(t, true);
}

static void threads_json(json_t *array, const struct sut_pids *tid, int state)
{
	for (size_t i = 0; i < tid->n; i++) {
		json_t *o = sut_json_object();

		sut_json_set(o, "tid", json_integer(tid->v[i]));
		sut_json_set(o, "patch_state", state < 0 ? json_null() : json_integer(state));
		sut_json_set(o, "blocked_by", json_null());
		sut_json_set(o, "waiting_ns", json_null());
		sut_json_add(array, o);
	}
}

static void tell_threads(struct sut_cli *cli, struct suture_process *p, const struct suture_status *s, json_t *obj)
{
	struct sut_pids tid = { 0 };

	list_threads(suture_process_pid(p), &tid);
	if (obj)
		threads_json(sut_json_array(obj, "threads"), &tid, patch_state(s));
	else if (!cli->args.quiet)
		show_threads(cli, &tid, patch_state(s));
	sut_vec_free(&tid);
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
	if (cli->args.threads)
		tell_threads(cli, p, s, obj);
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
	{ 0, "threads", NULL, "show which side each thread is on, too", SUT_OPT_FLAG, SUT_ARG(threads),
	  SUT_COMPLETE_NONE },
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
