/* SPDX-License-Identifier: MIT */
/*
 * report.c - what check, apply, revert, list and status tell about a process: one place for
 * their words and for their JSON, so that two commands never describe the same thing differently.
 */
#include "cli/cli.h"

char *sut_text_func(const char *name, uint32_t sympos)
{
	char *safe = sut_safe(name), *s = sympos ? sut_text("%s,%u", safe, sympos) : sut_text("%s", safe);

	free(safe);
	return s;
}

/* What every function of a patch has, wherever it is told. */
static json_t *func_object(const char *object, const char *name, uint32_t sympos, uint64_t old_size, uint64_t new_size,
			   uint64_t old_addr, uint64_t new_addr, const char *site)
{
	json_t *o = sut_json_object();

	sut_json_set(o, "object", sut_json_text(object));
	sut_json_set(o, "name", sut_json_text(name));
	sut_json_set(o, "sympos", json_integer(sympos));
	sut_json_set(o, "old_size", json_integer((json_int_t)old_size));
	sut_json_set(o, "new_size", json_integer((json_int_t)new_size));
	sut_json_set(o, "old_address", sut_json_hex(old_addr));
	sut_json_set(o, "new_address", new_addr ? sut_json_hex(new_addr) : json_null());
	sut_json_set(o, "site", sut_json_text(site));
	return o;
}

static json_t *func_json(const struct suture_report_func *f)
{
	json_t *o = func_object(f->object, f->old_name, f->old_sympos, f->old_size, f->new_size, f->old_addr,
				f->new_addr, f->site);

	sut_json_set(o, "busy", json_integer(f->busy));
	sut_json_set(o, "busy_tid", f->busy_tid ? json_integer(f->busy_tid) : json_null());
	sut_json_set(o, "busy_in", f->busy ? sut_json_text(f->busy_in) : json_null());
	return o;
}

void sut_report_json(json_t *obj, const struct suture_report *r)
{
	json_t *funcs;

	sut_json_set(obj, "patch", sut_json_text(r->patch));
	sut_json_set(obj, "build_id", r->build_id && *r->build_id ? sut_json_text(r->build_id) : json_null());
	sut_json_set(obj, "arch", sut_json_text(r->arch));
	sut_json_set(obj, "threads", json_integer(r->threads));
	sut_json_set(obj, "attempts", json_integer(r->attempts));
	sut_json_set(obj, "total_ns", json_integer((json_int_t)r->total_ns));
	sut_json_set(obj, "pause_ns", json_integer((json_int_t)r->pause_ns));
	sut_json_set(obj, "text_method", sut_json_text(r->text_method));
	sut_json_set(obj, "text_why", sut_json_text(r->text_why));
	funcs = sut_json_array(obj, "functions");
	for (size_t i = 0; i < r->n_funcs; i++)
		sut_json_add(funcs, func_json(&r->funcs[i]));
}

/* "clear", "1 busy (tid 4713)", "2 busy (tid 4713 in f.cold)", "1 busy (a coroutine)" */
static char *busy_text(const struct suture_report_func *f)
{
	char *in, *s;

	if (!f->busy)
		return sut_text("clear");
	if (!f->busy_tid)
		return sut_text("%u busy (a coroutine)", f->busy);
	if (!f->busy_in || !strcmp(f->busy_in, f->old_name))
		return sut_text("%u busy (tid %d)", f->busy, f->busy_tid);
	in = sut_safe(f->busy_in);
	s = sut_text("%u busy (tid %d in %s)", f->busy, f->busy_tid, in);
	free(in);
	return s;
}

void sut_report_functions(struct sut_cli *cli, const struct suture_report *r)
{
	static const struct sut_column cols[] = {
		{ .name = "object" },
		{ .name = "function" },
		{ .name = "size" },
		{ .name = "site" },
		{ .name = "threads", .words = true },
	};
	struct sut_table *t = sut_table_create(cli, cols, SUT_ARRAY_SIZE(cols), 2);

	for (size_t i = 0; i < r->n_funcs; i++) {
		const struct suture_report_func *f = &r->funcs[i];
		_cleanup_free_ char *object = sut_safe(f->object ? f->object : "");
		_cleanup_free_ char *name = sut_text_func(f->old_name, f->old_sympos);
		_cleanup_free_ char *size = sut_text_sizes(f->old_size, f->new_size);
		_cleanup_free_ char *busy = busy_text(f);
		const char *cells[] = { object, name, size, f->site, busy };

		sut_table_line(t, 0, cells);
	}
	sut_table_print(t, true);
}

void sut_report_done(struct sut_cli *cli, const struct suture_report *r, const char *who, const char *verb)
{
	_cleanup_free_ char *funcs = sut_text_count(r->n_funcs, "function");
	_cleanup_free_ char *threads = sut_text_count(r->threads, "thread");
	_cleanup_free_ char *total = sut_text_time(r->total_ns), *pause = sut_text_time(r->pause_ns);

	sut_output_settle(cli);
	if (!cli->args.quiet)
		printf("%s: %s%s%s, %s %s in %s, longest pause of a thread %s\n", r->patch, who, *who ? ": " : "",
		       funcs, threads, verb, total, pause);
	if (r->text_why)
		sut_note(cli, "%s%stext was changed by a plain write instead of a page swap: %s", who, *who ? ": " : "",
			 r->text_why);
}

struct suture_enable_opts sut_enable_opts(const struct sut_cli *cli, struct suture_report **report)
{
	struct suture_enable_opts opts = {
		.sz = sizeof(opts),
		.timeout_ms = cli->args.timeout_ms,
		.dry_run = cli->args.dry_run,
		.report = report,
	};

	/* To the library 0 is its default; to a person "--timeout 0" is one try. */
	if (cli->args.timeout_given && !opts.timeout_ms)
		opts.timeout_ms = 1;
	return opts;
}

const char *sut_state_word(enum suture_patch_state s)
{
	switch (s) {
	case SUTURE_STATE_ENABLING:
		return "enabled";
	case SUTURE_STATE_DISABLING:
		return "disabled";
	case SUTURE_STATE_LOADING:
	case SUTURE_STATE_ENABLED:
	case SUTURE_STATE_PARKED:
		break;
	}
	return suture_patch_state_name(s);
}

static const char *direction(const struct suture_status_patch *p)
{
	switch (p->state) {
	case SUTURE_STATE_LOADING:
	case SUTURE_STATE_ENABLING:
		return "patching";
	case SUTURE_STATE_DISABLING:
		return "unpatching";
	case SUTURE_STATE_ENABLED:
	case SUTURE_STATE_PARKED:
		break;
	}
	return NULL;
}

char *sut_text_transition(const struct suture_status_patch *p)
{
	const char *way = direction(p);

	return way ? sut_text("%s%s", way, p->tool ? "" : " (interrupted)") : sut_text("-");
}

static json_t *status_func_json(const struct suture_status_func *f)
{
	char hex[2 * sizeof(f->site_bytes) + 1];
	size_t n = f->site_len <= sizeof(f->site_bytes) ? f->site_len : sizeof(f->site_bytes);
	json_t *o = func_object(f->object, f->old_name, f->old_sympos, f->old_size, f->new_size, f->old_addr,
				f->new_addr, f->site);

	sut_json_set(o, "site_bytes", json_string(sut_hex(f->site_bytes, n, hex)));
	return o;
}

void sut_status_json(json_t *array, const struct suture_status_patch *p)
{
	const char *way = direction(p);
	json_t *o = sut_json_object(), *funcs;

	sut_json_set(o, "name", sut_json_text(p->name));
	sut_json_set(o, "order", json_integer(p->order));
	sut_json_set(o, "state", json_string(suture_patch_state_name(p->state)));
	sut_json_set(o, "transition", sut_json_text(way));
	sut_json_set(o, "interrupted", json_boolean(way && !p->tool));
	sut_json_set(o, "tool", p->tool ? json_integer(p->tool) : json_null());
	sut_json_set(o, "since", sut_json_time(p->since));
	sut_json_set(o, "memory_start", sut_json_hex(p->mem_start));
	sut_json_set(o, "memory_bytes", json_integer((json_int_t)p->mem_total));
	funcs = sut_json_array(o, "functions");
	for (size_t i = 0; i < p->n_funcs; i++)
		sut_json_add(funcs, status_func_json(&p->funcs[i]));
	sut_json_add(array, o);
}
