/* SPDX-License-Identifier: MIT */
/*
 * disable.c - the way of a patch out of a process: enable.c mirrored.
 *
 * Threads are proved to be outside of all of the patch's code (new functions, fragments, stubs). The memory
 * stays, parked: the process may keep pointers to strings or functions in it. After the last patch the
 * agent goes too; then all text is the file's again, byte for byte and page for page.
 */
#include <errno.h>

#include "module/agent.h"
#include "patch/unwinder.h"

struct disable {
	struct suture_process *p;
	const char *name;
	const struct suture_enable_opts *opts;
	uint64_t started, pause_ns;
	struct sut_registry *reg;
	struct sut_unit unit;
	struct sut_code code;
	struct sut_ranges ranges;
	struct sut_transition_result result;
	unsigned threads;
	struct suture_report *report;
};

static int find_record(struct disable *d, struct sut_record **ret)
{
	struct sut_record *found = NULL;
	bool parked = false;

	for (size_t i = 0; d->reg->addr && i < SUT_REGISTRY_RECORDS; i++) {
		struct sut_record *rec = &d->reg->rec[i];

		if (rec->kind != SUT_RECORD_PATCH || strncmp(rec->name, d->name, sizeof(rec->name)))
			continue;
		if (rec->state == SUT_STATE_PARKED)
			parked = true;
		else
			found = rec;
	}
	if (!found) {
		if (parked)
			(void)sut_fail(d->p->ctx, SUTURE_ENOTFOUND, "patch %s was taken out of process %d already",
				       d->name, d->p->pid);
		else
			(void)sut_fail(d->p->ctx, SUTURE_ENOTFOUND, "process %d has no patch %s", d->p->pid, d->name);
		return sut_hint(d->p->ctx, "see what it has: suture status -p %d", d->p->pid);
	}
	*ret = found;
	return 0;
}

static int check_sites(struct disable *d)
{
	struct sut_site_count count;
	int err = sut_sites_count(d->p, &d->unit.sites, &count);

	if (err || !count.foreign)
		return err;
	(void)sut_fail(d->p->ctx, SUTURE_EREFUSED, "%s: foreign bytes at the site of %s in %s, process %d", d->name,
		       count.foreign->old_name, count.foreign->object, d->p->pid);
	(void)sut_hint(d->p->ctx,
		       "a breakpoint, uprobe or another tool has changed them: take that away first; "
		       "suture status -p %d shows the bytes",
		       d->p->pid);
	return sut_fail_address(d->p->ctx, count.foreign->e.addr);
}

static int disable_plan(struct disable *d)
{
	struct sut_record *rec = NULL;
	int err = sut_process_refresh(d->p);

	if (!err)
		err = sut_registry_read(d->p, &d->reg);
	if (!err)
		err = sut_target_check_idle(d->p, d->reg);
	if (!err)
		err = find_record(d, &rec);
	if (err)
		return err;
	sut_unit_init(&d->unit, d->p, d->reg, rec, sut_opts_force_write(d->opts));
	err = sut_sites_read(d->p, rec, &d->unit.sites);
	if (!err)
		err = check_sites(d);
	if (err)
		return err;
	err = sut_unit_ranges(&d->unit, &d->ranges);
	return err ? err : sut_report_make_sites(d->p, d->name, &d->unit.sites, &d->report);
}

static void released(struct disable *d)
{
	uint64_t ns = sut_process_release(d->p);

	if (ns > d->pause_ns)
		d->pause_ns = ns;
}

/* With the thread borrowed: shadows, and the states. */
static int prepare(struct disable *d)
{
	int err = sut_unit_write_state(&d->unit, SUT_STATE_DISABLING, true);

	if (!err)
		err = sut_unit_prepare(&d->unit, SUT_SITE_ORIGINAL);
	return err;
}

static int disable_commit(void *arg)
{
	struct disable *d = arg;

	return sut_unit_commit(&d->unit, false);
}

static int transition(struct disable *d)
{
	struct sut_target t = { .p = d->p, .code = &d->code, .reg = d->reg, .commit = disable_commit, .arg = d };
	int err = sut_target_transition(&t, d->ranges.r.v, d->ranges.r.n, sut_opts_timeout(d->opts), &d->result);

	d->threads = t.threads;
	if (d->result.pause_ns > d->pause_ns)
		d->pause_ns = d->result.pause_ns;
	return err;
}

/* The new code still runs and stays; keeps the text of the failure that led here. */
static int rollback(struct disable *d, int why)
{
	struct sut_error_kept kept;
	int err = 0;

	sut_error_keep(d->p->ctx, &kept);
	if (why != -SUTURE_EGONE && sut_process_alive(d->p)) {
		if (!d->p->borrowed)
			err = sut_target_borrow(d->p);
		if (!err)
			err = sut_unit_check_there(&d->unit);
		if (!err)
			err = sut_unit_drop(&d->unit);
		released(d);
		if (!err)
			err = sut_recover_record(d->p, d->reg, d->unit.rec, d->opts);
	}
	if (!err || err == -SUTURE_EGONE || !sut_process_alive(d->p)) {
		sut_error_restore(d->p->ctx, &kept);
		return why;
	}
	return sut_error_not_undone(d->p, &kept, "the new code still runs");
}

/* A thread is borrowed. */
static int tidy(struct disable *d)
{
	bool changed = false;
	int err = sut_agent_unpublish(d->reg, d->unit.rec);

	if (!err)
		err = sut_journal_write(d->p, d->unit.rec, &d->unit.sites, NULL);
	if (!err)
		err = sut_pristines_tidy(d->reg, false, &changed);
	return err ? err : sut_unit_write_state(&d->unit, SUT_STATE_PARKED, false);
}

/* The old code runs: nothing after this is undone, at worst `recover` has something left to do. */
static int finish(struct disable *d)
{
	int err = 0;

	if (d->unit.stubs)
		err = sut_unit_move(&d->unit, SUT_SITE_ORIGINAL);
	if (!err)
		err = sut_target_borrow(d->p);
	if (!err)
		err = tidy(d);
	released(d);
	if (!err)
		return 0;
	if (!sut_process_alive(d->p))
		return sut_fail(d->p->ctx, SUTURE_EGONE, "process %d ended right after %s was taken out", d->p->pid,
				d->name);
	(void)sut_fail(d->p->ctx, SUTURE_EINCOMPLETE,
		       "%s: the old functions run in process %d, but not all is finished", d->name, d->p->pid);
	return sut_hint(d->p->ctx, "suture recover -p %d finishes it", d->p->pid);
}

/* The agent goes with the last patch. If it can not, it stays; it harms nobody. */
static void remove_agent(struct disable *d)
{
	if (sut_unwinder_has_users(d->reg))
		return;
	if (sut_unwinder_remove(d->p, d->reg, sut_opts_force_write(d->opts), sut_opts_timeout(d->opts), &d->pause_ns))
		sut_warn(d->p->ctx, "the agent stays in process %d: %s", d->p->pid,
			 suture_ctx_error(d->p->ctx)->message);
}

static int disable_run(struct disable *d)
{
	int err = disable_plan(d);

	if (err || sut_opts_dry_run(d->opts))
		return err;
	err = sut_code_load(d->p, d->reg, &d->code);
	if (!err)
		err = sut_prove_prepare(d->p);
	if (!err)
		err = sut_target_borrow(d->p);
	if (err)
		return err;
	err = prepare(d);
	if (err)
		return rollback(d, err);
	released(d);
	if (d->unit.stubs) {
		err = sut_unit_move(&d->unit, SUT_SITE_SWITCH);
		if (err)
			return rollback(d, err);
	}
	err = transition(d);
	if (err)
		return rollback(d, err);
	err = finish(d);
	sut_names_remove(d->p, d->unit.rec);
	if (!err)
		remove_agent(d);
	return err;
}

static int fill_report(struct disable *d)
{
	struct suture_report *r = d->report;
	const char *why = d->unit.batch ? sut_poke_why(d->unit.batch) : NULL;

	r->threads = d->threads;
	r->attempts = d->result.attempts;
	r->pause_ns = d->pause_ns;
	r->total_ns = sut_now_ns() - d->started;
	if (d->unit.batch && sut_poke_method(d->unit.batch) == SUT_POKE_WRITE)
		r->text_method = "write";
	if (why && !(r->text_why = strdup(why)))
		return sut_nomem(d->p->ctx);
	return 0;
}

int suture_patch_disable(struct suture_process *p, const char *name, const struct suture_enable_opts *opts)
{
	struct disable d = { .p = p, .name = name, .opts = opts, .started = sut_now_ns() };
	int err = sut_target_lock(p, opts);

	if (err)
		return err;
	sut_tool_signals_block();
	err = disable_run(&d);
	if (!err)
		err = fill_report(&d);
	if (!err && opts && opts->report) {
		*opts->report = d.report;
		d.report = NULL;
	}
	sut_unit_free(&d.unit);
	sut_ranges_free(&d.ranges);
	sut_code_free(&d.code);
	sut_registry_free(d.reg);
	suture_report_free(d.report);
	sut_target_unlock(p);
	sut_tool_signals_unblock();
	return sut_target_outcome(p, err);
}
