/* SPDX-License-Identifier: MIT */
/*
 * tree.c - suture tree: the patches of a process as the kernel shows its own below
 * /sys/kernel/livepatch: PATCH/{enabled,transition,stack_order} and PATCH/OBJECT/{patched,FUNC,SYMPOS}.
 */
#include "cli/cli.h"

static size_t line(struct sut_table *t, size_t parent, const char *name, const char *value)
{
	_cleanup_free_ char *safe = sut_safe(name);
	const char *cells[] = { safe, value };

	return sut_table_line(t, parent, cells);
}

/* Whether an earlier function of the patch is in the same object. */
static bool seen_before(const struct suture_status_patch *p, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (!strcmp(p->funcs[j].object, p->funcs[i].object))
			return true;
	return false;
}

/* Whether all functions of the object are redirected. */
static bool object_patched(const struct suture_status_patch *p, const char *object)
{
	for (size_t i = 0; i < p->n_funcs; i++)
		if (!strcmp(p->funcs[i].object, object) && strcmp(p->funcs[i].site, "jump") &&
		    strcmp(p->funcs[i].site, "switch"))
			return false;
	return true;
}

/* What the kernel would show: [0] enabled, [1] transition. */
static void kernel_view(enum suture_patch_state s, const char *ret[2])
{
	ret[0] = s == SUTURE_STATE_ENABLING || s == SUTURE_STATE_ENABLED ? "1" : "0";
	ret[1] = s == SUTURE_STATE_ENABLING || s == SUTURE_STATE_DISABLING ? "1" : "0";
}

/* "FUNC,SYMPOS"; a function that is the only one of its name has 1, as in the kernel. */
static char *kernel_name(const struct suture_status_func *f)
{
	return sut_text("%s,%u", f->old_name, f->old_sympos ? f->old_sympos : 1);
}

static void add_patch(struct sut_table *t, size_t root, const struct suture_status_patch *p)
{
	_cleanup_free_ char *order = sut_text("%u", p->order);
	size_t top = line(t, root, p->name, ""), object;
	const char *view[2];

	kernel_view(p->state, view);
	line(t, top, "enabled", view[0]);
	line(t, top, "transition", view[1]);
	line(t, top, "stack_order", order);
	for (size_t i = 0; i < p->n_funcs; i++) {
		if (seen_before(p, i))
			continue;
		object = line(t, top, p->funcs[i].object, "");
		line(t, object, "patched", object_patched(p, p->funcs[i].object) ? "1" : "0");
		for (size_t j = i; j < p->n_funcs; j++) {
			_cleanup_free_ char *func = NULL;

			if (strcmp(p->funcs[j].object, p->funcs[i].object))
				continue;
			func = kernel_name(&p->funcs[j]);
			line(t, object, func, "");
		}
	}
}

static void add_json(json_t *array, const struct suture_status_patch *p)
{
	json_t *o = sut_json_object(), *objects;
	const char *view[2];

	kernel_view(p->state, view);
	sut_json_set(o, "name", sut_json_text(p->name));
	sut_json_set(o, "enabled", json_integer(*view[0] - '0'));
	sut_json_set(o, "transition", json_integer(*view[1] - '0'));
	sut_json_set(o, "stack_order", json_integer(p->order));
	objects = sut_json_array(o, "objects");
	for (size_t i = 0; i < p->n_funcs; i++) {
		json_t *x, *funcs;

		if (seen_before(p, i))
			continue;
		x = sut_json_object();
		sut_json_set(x, "name", sut_json_text(p->funcs[i].object));
		sut_json_set(x, "patched", json_integer(object_patched(p, p->funcs[i].object)));
		funcs = sut_json_array(x, "functions");
		for (size_t j = i; j < p->n_funcs; j++) {
			_cleanup_free_ char *func = kernel_name(&p->funcs[j]);

			if (!strcmp(p->funcs[j].object, p->funcs[i].object))
				sut_json_add(funcs, sut_json_text(func));
		}
		sut_json_add(objects, x);
	}
	sut_json_add(array, o);
}

static int tree_one(struct sut_cli *cli, struct suture_process *p, const char *who, json_t *obj, void *arg)
{
	static const struct sut_column cols[] = { { .name = "", .tree = true }, { .name = "" } };
	json_t *patches = obj ? sut_json_array(obj, "patches") : NULL;
	struct sut_table *t;
	struct suture_status *s;
	size_t root;
	int err = suture_process_status(p, &s);

	if (err)
		return sut_cli_fail(cli, err, sut_who(cli, who), obj);
	t = sut_table_create(cli, cols, SUT_ARRAY_SIZE(cols), 0);
	root = line(t, 0, who, "");
	for (size_t i = 0; i < s->n_patches; i++) {
		/* The kernel shows no patch that has been taken out. */
		if (s->patches[i].state == SUTURE_STATE_PARKED)
			continue;
		if (patches)
			add_json(patches, &s->patches[i]);
		else
			add_patch(t, root, &s->patches[i]);
	}
	sut_output_settle(cli);
	sut_table_print(t, !obj && !cli->args.quiet);
	suture_status_free(s);
	return 0;
}

static int run_tree(struct sut_cli *cli)
{
	static const struct sut_selection sel = { .patched = true, .none = "no running process is patched" };

	return sut_each_process(cli, &sel, tree_one, NULL);
}

static const struct sut_option options[] = {
	SUT_OPTIONS_PROCESSES("every patched process"),
	{ 0 },
};

const struct sut_command sut_cmd_tree = {
	.name = "tree",
	.operands = "",
	.summary = "show the patches of a process as the kernel shows its own in sysfs",
	.options = options,
	.complete = SUT_COMPLETE_NONE,
	.run = run_tree,
};
