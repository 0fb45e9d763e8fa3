/* SPDX-License-Identifier: MIT */
/*
 * recover.c - finishes or undoes what a tool left that died.
 *
 * What to do with a record follows from its state byte, its side byte and the bytes at its sites alone
 * (sut_transition_recover()); which tool it was, when it died and why does not matter. Every step may
 * itself be cut off: the next recovery finds a state of the same table.
 */
#include "module/agent.h"
#include "patch/unwinder.h"

#define LEAVE_TIMEOUT_MS 2000

struct recover {
	struct suture_process *p;
	const struct suture_enable_opts *opts;
	struct sut_registry *reg;
	struct suture_recovery done;
	bool tidied; /* something that is no patch was put in order */
};

static bool unfinished(const struct sut_record *rec)
{
	return rec->kind != SUT_RECORD_FREE && (rec->state == SUT_STATE_LOADING || rec->state == SUT_STATE_ENABLING ||
						rec->state == SUT_STATE_DISABLING);
}

static int check_tools(struct recover *r)
{
	for (size_t i = 0; i < SUT_REGISTRY_RECORDS; i++) {
		const struct sut_record *rec = &r->reg->rec[i];

		if (!unfinished(rec) || !sut_record_tool_alive(rec))
			continue;
		(void)sut_fail(r->p->ctx, SUTURE_EBUSY, "suture with pid %u is at work on %.64s in process %d",
			       rec->tool_pid, rec->name, r->p->pid);
		return sut_hint(r->p->ctx, "wait until it has finished");
	}
	return 0;
}

static void tell(struct recover *r, const struct sut_record *rec, bool finished)
{
	sut_info(r->p->ctx, "process %d: %.64s, left while %s: %s", r->p->pid, rec->name,
		 rec->state == SUT_STATE_DISABLING ? "it was taken out" : "it was put in",
		 finished ? "finished" : "undone");
	if (rec->kind != SUT_RECORD_PATCH) {
		r->tidied = true;
		return;
	}
	if (finished)
		r->done.finished++;
	else
		r->done.undone++;
	snprintf(r->done.last, sizeof(r->done.last), "%.63s", rec->name);
}

/* Whether nobody is in the code of a unit any more: else its memory must stay. */
static bool left_by_all(struct recover *r, struct sut_unit *u)
{
	struct sut_target t = { .p = r->p, .reg = r->reg };
	struct sut_transition_result result;
	struct sut_ranges ranges = { 0 };
	struct sut_code code = { 0 };
	int err = sut_unit_ranges(u, &ranges);

	if (!err)
		err = sut_code_load(r->p, r->reg, &code);
	if (!err)
		err = sut_prove_prepare(r->p);
	t.code = &code;
	if (!err)
		err = sut_target_run(&t, ranges.r.v, ranges.r.n, LEAVE_TIMEOUT_MS, &result);
	sut_code_free(&code);
	sut_ranges_free(&ranges);
	return !err;
}

static int forget_agent(struct recover *r, const struct sut_record *rec)
{
	if (rec->kind != SUT_RECORD_AGENT || !r->reg->h.agent_table)
		return 0;
	r->reg->h.agent_table = 0;
	return sut_registry_write_header(r->reg);
}

/* Its sites are original; the memory goes if nobody can be in it and it was not parked before. */
static int take_out(struct recover *r, struct sut_unit *u, bool entered)
{
	bool keep = u->was_parked || (entered && !left_by_all(r, u));
	int err = sut_target_borrow(r->p);

	if (err)
		return err;
	if (u->rec->kind == SUT_RECORD_PATCH)
		err = sut_agent_unpublish(r->reg, u->rec);
	if (!err)
		err = forget_agent(r, u->rec);
	if (!err && keep) {
		u->rec->side = 0;
		err = sut_unit_write_state(u, SUT_STATE_PARKED, false);
	} else if (!err) {
		err = sut_record_unload(r->p, u->rec);
		if (!err)
			err = sut_registry_remove(r->reg, u->rec);
	}
	sut_process_release(r->p);
	return err;
}

static int to_enabled(struct recover *r, struct sut_unit *u)
{
	int err = sut_unit_move(u, SUT_SITE_DIRECT);

	if (!err)
		err = sut_registry_set_side(r->reg, u->rec, 1);
	return err ? err : sut_unit_write_state(u, SUT_STATE_ENABLED, false);
}

static int to_parked(struct recover *r, struct sut_unit *u)
{
	int err = sut_unit_move(u, SUT_SITE_ORIGINAL);

	if (!err)
		err = sut_registry_set_side(r->reg, u->rec, 0);
	if (!err && u->rec->kind == SUT_RECORD_PATCH)
		err = sut_agent_unpublish(r->reg, u->rec);
	if (!err)
		err = forget_agent(r, u->rec);
	return err ? err : sut_unit_write_state(u, SUT_STATE_PARKED, false);
}

static int foreign(struct recover *r, const struct sut_record *rec, const struct sut_site *s)
{
	(void)sut_fail(r->p->ctx, SUTURE_EREFUSED,
		       "%.64s: foreign bytes at the site of %s in %s, process %d: not touched", rec->name, s->old_name,
		       s->object, r->p->pid);
	(void)sut_hint(r->p->ctx,
		       "a breakpoint, uprobe or another tool has changed them: take that away, then recover");
	return sut_fail_address(r->p->ctx, s->e.addr);
}

/* What the dead tool had prepared and not moved. */
static int drop_shadows(struct recover *r, struct sut_unit *u)
{
	unsigned n = 0;
	int err = sut_target_borrow(r->p);

	if (!err)
		err = sut_journal_tidy(r->p, r->reg, u->rec, &u->sites, &n);
	sut_process_release(r->p);
	return err;
}

static int take_step(struct recover *r, struct sut_unit *u, enum sut_recovery_step step, const struct sut_site *bad)
{
	int err = 0;

	switch (step) {
	case SUT_RECOVER_NOTHING:
		break;
	case SUT_RECOVER_UNLOAD:
		err = take_out(r, u, false);
		break;
	case SUT_RECOVER_UNDO_ENABLE:
		err = sut_unit_move(u, SUT_SITE_ORIGINAL);
		if (!err)
			err = take_out(r, u, true);
		break;
	case SUT_RECOVER_FINISH_ENABLE:
	case SUT_RECOVER_UNDO_DISABLE:
		err = to_enabled(r, u);
		break;
	case SUT_RECOVER_FINISH_DISABLE:
		err = to_parked(r, u);
		break;
	case SUT_RECOVER_FOREIGN:
		err = foreign(r, u->rec, bad);
		break;
	}
	return err;
}

static int recover_record(struct recover *r, struct sut_record *rec)
{
	struct sut_record was = *rec;
	struct sut_site_count count = { 0 };
	struct sut_transition_sites now;
	enum sut_recovery_step step;
	struct sut_unit u;
	int err;

	if (rec->state == SUT_STATE_PARKED)
		return 0;
	sut_unit_init(&u, r->p, r->reg, rec, sut_opts_force_write(r->opts));
	err = sut_sites_read(r->p, rec, &u.sites);
	if (err && rec->state == SUT_STATE_LOADING)
		err = 0; /* it had not come so far */
	else if (!err && rec->state != SUT_STATE_LOADING)
		err = sut_sites_count(r->p, &u.sites, &count);
	if (err)
		goto out;
	now = (struct sut_transition_sites){ count.n[SUT_SITE_ORIGINAL], count.n[SUT_SITE_DIRECT],
					     count.n[SUT_SITE_SWITCH], count.n[SUT_SITE_FOREIGN] };
	step = sut_transition_recover(rec->state, rec->side, &now);
	if (step != SUT_RECOVER_NOTHING && u.sites.v.n)
		err = drop_shadows(r, &u);
	if (!err)
		err = take_step(r, &u, step, count.foreign);
	if (!err && step != SUT_RECOVER_NOTHING)
		tell(r, &was, step == SUT_RECOVER_FINISH_ENABLE || step == SUT_RECOVER_FINISH_DISABLE);
out:
	sut_unit_free(&u);
	return err;
}

int sut_recover_record(struct suture_process *p, struct sut_registry *reg, struct sut_record *rec,
		       const struct suture_enable_opts *opts)
{
	struct recover r = { .p = p, .reg = reg, .opts = opts };

	return recover_record(&r, rec);
}

/* Pristine copies that nobody needs. */
static int tidy_text(struct recover *r)
{
	bool changed = false;
	int err = sut_target_borrow(r->p);

	if (err)
		return err;
	err = sut_pristines_tidy(r->reg, true, &changed);
	sut_process_release(r->p);
	if (changed)
		sut_info(r->p->ctx, "process %d: copies of text that nobody needs are gone", r->p->pid);
	r->tidied |= changed;
	return err;
}

static int recover_all(struct recover *r)
{
	bool left = false, any = false;
	uint64_t pause = 0;
	int err = 0;

	/* The agent first: it serves the patches that are finished after it. */
	for (unsigned kind = SUT_RECORD_AGENT; kind >= SUT_RECORD_PATCH && !err; kind--)
		for (size_t i = 0; i < SUT_REGISTRY_RECORDS && !err; i++)
			if (r->reg->rec[i].kind == kind)
				err = recover_record(r, &r->reg->rec[i]);
	if (!err && sut_unwinder_active(r->reg) && !sut_unwinder_has_users(r->reg)) {
		err = sut_unwinder_remove(r->p, r->reg, sut_opts_force_write(r->opts), sut_opts_timeout(r->opts),
					  &pause);
		r->tidied = true;
	}
	if (!err)
		err = tidy_text(r);
	for (size_t i = 0; i < SUT_REGISTRY_RECORDS; i++)
		any |= r->reg->rec[i].kind != SUT_RECORD_FREE;
	if (!err && !any) {
		err = sut_target_borrow(r->p);
		if (!err) {
			err = sut_registry_destroy(r->reg);
			left = !err;
			sut_info(r->p->ctx, "process %d: the empty registry is gone", r->p->pid);
			sut_process_release(r->p);
		}
	}
	r->tidied |= left;
	return err;
}

/* Registries that were begun and never finished: making one takes one away. */
static int drop_stale(struct recover *r)
{
	for (unsigned i = 0; i < 16; i++) {
		int err;

		sut_registry_free(r->reg);
		r->reg = NULL;
		err = sut_registry_read(r->p, &r->reg);
		if (err || r->reg->addr || !r->reg->stale)
			return err;
		err = sut_target_borrow(r->p);
		if (!err)
			err = sut_registry_create(r->reg);
		if (!err)
			err = sut_registry_destroy(r->reg);
		sut_process_release(r->p);
		if (err)
			return err;
		r->tidied = true;
	}
	return 0;
}

static int recover_run(struct recover *r)
{
	int err = sut_process_refresh(r->p);

	if (!err)
		err = sut_registry_read(r->p, &r->reg);
	if (!err && r->reg->addr) {
		err = check_tools(r);
		if (!err)
			err = recover_all(r);
	}
	if (!err)
		err = drop_stale(r);
	if (err || r->done.finished || r->done.undone || r->tidied)
		return err;
	if (r->reg->addr)
		return sut_fail(r->p->ctx, SUTURE_ENOTHING, "nothing was left unfinished in process %d", r->p->pid);
	return sut_fail(r->p->ctx, SUTURE_ENOTHING, "process %d holds nothing of suture's", r->p->pid);
}

int suture_process_recover(struct suture_process *p, const struct suture_enable_opts *opts, struct suture_recovery *ret)
{
	struct recover r = { .p = p, .opts = opts };
	int err = sut_target_lock(p, opts);

	if (err)
		return err;
	sut_tool_signals_block();
	err = recover_run(&r);
	if (!err)
		*ret = r.done;
	sut_registry_free(r.reg);
	sut_target_unlock(p);
	sut_tool_signals_unblock();
	return sut_target_outcome(p, err);
}
