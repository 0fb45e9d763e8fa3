/* SPDX-License-Identifier: MIT */
/*
 * buildreport.c - what the builder reports, for build and diff. The report is shown as far as it got, also when
 * the builder has refused, because it then says what led there.
 */
#include <errno.h>
#include <sys/stat.h>

#include "cli/buildreport.h"

struct sut_build_opts sut_build_options(const struct sut_cli *cli)
{
	const struct sut_args *a = &cli->args;

	return (struct sut_build_opts){
		.target = a->target.v,
		.debug = a->debug.v,
		.diff = a->diff.v,
		.srcdir = a->source,
		.compile_commands = a->commands,
		.name = a->name,
		.output = a->output,
		.keep = a->keep,
		.tool_version = SUTURE_VERSION,
		.jobs = a->jobs,
		.dry_run = a->dry_run,
	};
}

static bool name_fits(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-";

	return strlen(name) <= SUTURE_NAME_MAX && name[strspn(name, letters)] == '\0';
}

int sut_build_check_args(struct sut_cli *cli)
{
	const struct sut_args *a = &cli->args;

	if (!a->target.n)
		return sut_fail(cli->ctx, SUTURE_EUSAGE, "%s: -t TARGET is missing", cli->cmd->name);
	if (!a->output && !a->dry_run)
		return sut_fail(cli->ctx, SUTURE_EUSAGE, "%s: -o F.sut is missing", cli->cmd->name);
	if (a->name && !name_fits(a->name))
		return sut_fail(cli->ctx, SUTURE_EUSAGE,
				"%s: --name: '%s' is no name for a patch (letters, digits and ._+-, at most %d)",
				cli->cmd->name, a->name, SUTURE_NAME_MAX);
	return 0;
}

int sut_build_check_output(struct sut_cli *cli)
{
	const char *path = cli->args.output, *slash = path ? strrchr(path, '/') : NULL;
	_cleanup_free_ char *dir = slash ? sut_text("%.*s", (int)(slash - path) + 1, path) : sut_text(".");
	struct stat st;

	if (cli->args.dry_run)
		return 0;
	if (!stat(path, &st) && S_ISDIR(st.st_mode))
		return sut_fail(cli->ctx, SUTURE_EFAILED, "cannot write %s: it is a directory", path);
	if (access(dir, W_OK | X_OK))
		return sut_fail(cli->ctx, SUTURE_EFAILED, "cannot write %s: %s: %s", path, dir, strerror(errno));
	return 0;
}

static const char *reason_name(enum sut_include_reason r)
{
	static const char *const names[] = {
		[SUT_WHY_CHANGED] = "changed",
		[SUT_WHY_NEW] = "new",
		[SUT_WHY_NEEDED] = "needed",
		[SUT_WHY_DATA] = "data",
	};

	return (unsigned)r < SUT_ARRAY_SIZE(names) ? names[r] : "?";
}

/* Paths up to the last part say little in a table. */
static const char *base(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash ? slash + 1 : path ? path : "";
}

/* Whether everything is in one object, which then needs no column. */
static bool one_object(const struct sut_build_report *r)
{
	for (size_t i = 1; i < r->item.n; i++)
		if (strcmp(base(r->item.v[i].object), base(r->item.v[0].object)))
			return false;
	return true;
}

static void show_items(struct sut_cli *cli, const struct sut_build_report *r)
{
	static const struct sut_column cols[] = {
		{ .name = "object" }, { .name = "unit" }, { .name = "function or data" },
		{ .name = "why" },    { .name = "size" }, { .name = "in words", .words = true },
	};
	size_t skip = one_object(r);
	struct sut_table *t = sut_table_create(cli, cols + skip, SUT_ARRAY_SIZE(cols) - skip, 2);

	for (size_t i = 0; i < r->item.n; i++) {
		const struct sut_build_item *it = &r->item.v[i];
		_cleanup_free_ char *object = sut_safe(base(it->object)), *unit = sut_safe(it->unit ? it->unit : "");
		_cleanup_free_ char *name = sut_safe(it->name ? it->name : "");
		_cleanup_free_ char *size = it->old_size ? sut_text_sizes(it->old_size, it->new_size)
							 : sut_text("%llu", (unsigned long long)it->new_size);
		_cleanup_free_ char *text = sut_safe(it->text ? it->text : "");
		const char *cells[] = { object, unit, name, reason_name(it->reason), size, text };

		sut_table_line(t, 0, cells + skip);
	}
	sut_table_print(t, true);
	for (size_t i = 0; i < r->note.n; i++) {
		_cleanup_free_ char *note = sut_safe(r->note.v[i]);

		printf("  note: %s\n", note);
	}
}

static void report_json(struct sut_cli *cli, const struct sut_build_report *r, bool written)
{
	json_t *items = sut_json_array(cli->doc, "items"), *notes = sut_json_array(cli->doc, "notes");

	for (size_t i = 0; i < r->item.n; i++) {
		const struct sut_build_item *it = &r->item.v[i];
		json_t *o = sut_json_object();

		sut_json_set(o, "object", sut_json_text(it->object));
		sut_json_set(o, "unit", sut_json_text(it->unit));
		sut_json_set(o, "name", sut_json_text(it->name));
		sut_json_set(o, "kind", json_string(it->is_func ? "function" : "data"));
		sut_json_set(o, "reason", json_string(reason_name(it->reason)));
		sut_json_set(o, "text", sut_json_text(it->text));
		sut_json_set(o, "old_size", json_integer((json_int_t)it->old_size));
		sut_json_set(o, "new_size", json_integer((json_int_t)it->new_size));
		sut_json_add(items, o);
	}
	for (size_t i = 0; i < r->note.n; i++)
		sut_json_add(notes, sut_json_text(r->note.v[i]));
	sut_json_set(cli->doc, "units", json_integer(r->units));
	sut_json_set(cli->doc, "units_changed", json_integer(r->units_changed));
	sut_json_set(cli->doc, "functions_compared", json_integer(r->funcs_compared));
	sut_json_set(cli->doc, "functions_verified", json_integer(r->funcs_verified));
	sut_json_set(cli->doc, "total_ns", json_integer((json_int_t)r->total_ns));
	sut_json_set(cli->doc, "compile_ns", json_integer((json_int_t)r->compile_ns));
	sut_json_set(cli->doc, "output", sut_json_text(written ? cli->args.output : NULL));
}

/* "fix.sut: 3 functions, 1 new, 12.3 KiB; 2 of 5 units changed, 628 functions compared, 14.2 s" */
static void show_summary(struct sut_cli *cli, const struct sut_build_report *r)
{
	size_t replaced = 0, added = 0;
	struct stat st;

	for (size_t i = 0; i < r->item.n; i++) {
		replaced += r->item.v[i].is_func && r->item.v[i].old_size;
		added += r->item.v[i].is_func && !r->item.v[i].old_size;
	}
	_cleanup_free_ char *count = sut_text_count(replaced, "function");
	_cleanup_free_ char *funcs = added ? sut_text("%s, %zu new", count, added) : sut_text("%s", count);
	_cleanup_free_ char *units = sut_text_count(r->units, "unit");
	_cleanup_free_ char *compared = sut_text_count(r->funcs_compared, "function");
	_cleanup_free_ char *total = sut_text_time(r->total_ns);

	if (cli->args.dry_run)
		printf("dry run, nothing written: %s", funcs);
	else if (stat(cli->args.output, &st))
		printf("%s: %s", cli->args.output, funcs);
	else {
		_cleanup_free_ char *size = sut_text_bytes((uint64_t)st.st_size);

		printf("%s: %s, %s", cli->args.output, funcs, size);
	}
	printf("; %u of %s changed, %s compared, %s\n", r->units_changed, units, compared, total);
}

/* What was noticed on the way belongs to a refusal, also where nobody asked for the whole table. */
static void tell_notes(struct sut_cli *cli, const struct sut_build_report *r)
{
	for (size_t i = 0; i < r->note.n; i++)
		sut_note(cli, "%s", r->note.v[i]);
}

int sut_build_show(struct sut_cli *cli, const struct sut_build_report *r, int err)
{
	sut_output_settle(cli);
	if (cli->doc)
		report_json(cli, r, !err && !cli->args.dry_run);
	else if (cli->args.explain && !cli->args.quiet)
		show_items(cli, r);
	else if (err || cli->args.verbose)
		tell_notes(cli, r);
	if (err)
		return sut_cli_fail(cli, err, "", cli->doc);
	if (!cli->doc && !cli->args.quiet)
		show_summary(cli, r);
	return 0;
}
