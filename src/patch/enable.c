/* SPDX-License-Identifier: MIT */
/*
 * enable.c - the way of a patch into a process, and the preflight that goes the same way without changing anything.
 *
 *	plan        objects, functions, bytes, symbols, places: only reads, stops nobody
 *	agent       where exceptions may have to pass through the patch (unwinder.c), in a stop of its own
 *	load        one borrowed thread: registry, record, memory of the patch, shadows of the text
 *	transition  all threads, as short as can be: proof, swaps, one-byte stores
 *	finish      direct jumps where the commit went through stubs; the record says that nobody holds it
 *
 * Whatever fails before the commit is taken back in reverse order, so that the process is as before; a tool
 * that dies leaves what recover.c reads. Each step is a state of the table in transition.h.
 */
#include <errno.h>

#include "module/agent.h"
#include "patch/unwinder.h"

#define LOAD_ATTEMPTS  3
#define CHECK_ATTEMPTS 10 /* to stop a process that gets no processor, or waits for a vfork child */

struct enable {
	struct suture_process *p;
	const struct suture_patch *patch;
	const struct suture_enable_opts *opts;
	uint64_t started, pause_ns;
	struct sut_registry *reg;
	struct sut_plan plan;
	struct sut_code code; /* of modules that are in the process already */
	struct sut_record *parked; /* of the same patch, or NULL */
	struct sut_unit unit;
	bool with_agent; /* exceptions may have to pass through the patch */
	bool made_agent, made_registry;
	struct sut_ranges ranges; /* what threads must be outside of */
	struct sut_transition_result result;
	unsigned threads;
	struct suture_report *report;
};

/* --- plan --------------------------------------------------------------------------------------- */

/*
 * The registry says that the patch is in: 3 only if its jumps are there. A library that was unloaded and loaded again
 * runs its old code, and a script must not take that for done.
 */
static int applied_already(struct enable *e, const struct sut_record *rec)
{
	struct sut_sites sites = { 0 };
	uint8_t bytes[SUT_SITE_MAX];
	size_t missing = 0;
	int err = sut_sites_read(e->p, rec, &sites);

	if (err)
		return err;
	for (size_t i = 0; i < sites.v.n; i++) {
		enum sut_site_now now;

		if (sut_site_look(e->p, &sites.v.v[i], bytes, &now) || now != SUT_SITE_DIRECT)
			missing++;
	}
	err = missing ? sut_fail(e->p->ctx, SUTURE_EREFUSED,
				 "%s was applied to process %d, but %zu of its %zu functions run the old code again",
				 e->patch->name, e->p->pid, missing, sites.v.n)
		      : sut_fail(e->p->ctx, SUTURE_ENOTHING, "%s is applied to process %d already", e->patch->name,
				 e->p->pid);
	sut_sites_free(&sites);
	if (!missing)
		return err;
	return sut_hint(e->p->ctx, "a library was probably loaded anew: suture revert -p %d %s, then apply again",
			e->p->pid, e->patch->name);
}

static int check_name(struct enable *e)
{
	for (size_t i = 0; e->reg->addr && i < SUT_REGISTRY_RECORDS; i++) {
		struct sut_record *rec = &e->reg->rec[i];
		bool same = !memcmp(rec->digest, e->patch->digest, sizeof(rec->digest));

		if (rec->kind != SUT_RECORD_PATCH)
			continue;
		if (rec->state == SUT_STATE_PARKED && same)
			e->parked = rec;
		if (rec->state != SUT_STATE_ENABLED)
			continue;
		if (same)
			return applied_already(e, rec);
		if (strncmp(rec->name, e->patch->name, sizeof(rec->name)))
			continue;
		(void)sut_fail(e->p->ctx, SUTURE_EBUSY, "process %d has another patch of the name %s", e->p->pid,
			       e->patch->name);
		return sut_hint(e->p->ctx, "take it out first: suture revert -p %d %s", e->p->pid, e->patch->name);
	}
	return 0;
}

static size_t section_object(void *arg, uint32_t section)
{
	const struct suture_patch *patch = arg;

	if (section >= patch->elf->sec.n || patch->section_object[section] == UINT32_MAX)
		return SIZE_MAX;
	return patch->section_object[section];
}

/* Where a function's new code and stubs are, and the jump to it. */
static int plan_site(struct enable *e, size_t index, size_t *stubs_used)
{
	const struct sut_arch *arch = sut_process_mem(e->p)->arch;
	struct sut_plan_func *pf = &e->plan.func[index];
	struct sut_site s = { .object = pf->object->path, .old_name = pf->f->old_name };

	pf->new_addr = sut_module_symbol(e->unit.m, pf->f->new_symbol);
	if (!pf->new_addr)
		return sut_fail(e->p->ctx, SUTURE_EBUG, "%s: the loader has no address for %s", e->patch->name,
				pf->f->new_name);
	s.e.addr = pf->site;
	s.e.old_addr = pf->addr;
	s.e.old_size = pf->f->old_size;
	s.e.old_sympos = pf->f->old_sympos;
	s.e.new_func = pf->new_addr;
	s.e.new_size = pf->f->new_size;
	s.e.len = (uint8_t)arch->jump_size;
	memcpy(s.e.old, pf->old, s.e.len);
	if (arch->jump_encode(pf->site, pf->new_addr, s.e.direct))
		return sut_fail(e->p->ctx, SUTURE_EREFUSED,
				"%s: no memory within reach of %s in %s: its replacement at 0x%llx is too far away",
				e->patch->name, pf->f->old_name, pf->object->path, (unsigned long long)pf->new_addr);
	for (size_t i = 0; i < e->unit.m->area.n && pf->movable; i++) {
		const struct sut_mod_area *a = &e->unit.m->area.v[i];

		if (a->object != pf->object || !a->stub_bytes)
			continue;
		s.e.orig_entry = a->stubs + stubs_used[i] * sut_unit_stub_room(arch);
		stubs_used[i]++;
		break;
	}
	return sut_vec_push(&e->unit.sites.v, s) ? sut_nomem(e->p->ctx) : 0;
}

static int plan_module(struct enable *e)
{
	const struct sut_arch *arch = sut_process_mem(e->p)->arch;
	_cleanup_free_ size_t *per_object = calloc(e->patch->object.n + SUT_RECORD_AREAS, sizeof(*per_object));
	size_t strings = 0, most = 0;
	struct sut_mod_env env = {
		.object = e->plan.object,
		.n_objects = e->patch->object.n,
		.section_object = section_object,
		.arg = (void *)e->patch, /* only read */
	};
	int err;

	if (!per_object)
		return sut_nomem(e->p->ctx);
	for (size_t i = 0; i < e->plan.n_funcs; i++) {
		const struct sut_plan_func *pf = &e->plan.func[i];

		strings += strlen(pf->object->path) + strlen(pf->f->old_name) + 2;
		if (++per_object[pf->f->object] > most)
			most = per_object[pf->f->object];
	}
	env.table_size = sut_sites_size(e->plan.n_funcs, strings);
	env.stub_size = most * sut_unit_stub_room(arch);
	if (e->parked) {
		env.reuse = e->parked->area;
		env.n_reuse = e->parked->n_areas;
	}
	sut_unit_free(&e->unit);
	sut_unit_init(&e->unit, e->p, e->reg, NULL, sut_opts_force_write(e->opts));
	err = sut_module_plan(e->p, e->patch->elf, e->patch->name, &env, &e->unit.m);
	if (err)
		return err;
	if (e->unit.m->area.n > SUT_RECORD_AREAS)
		return sut_fail(e->p->ctx, SUTURE_EREFUSED, "%s needs %zu places in memory, %d are possible",
				e->patch->name, e->unit.m->area.n, SUT_RECORD_AREAS);
	memset(per_object, 0, SUT_RECORD_AREAS * sizeof(*per_object));
	for (size_t i = 0; i < e->plan.n_funcs && !err; i++)
		err = plan_site(e, i, per_object);
	return err;
}

/* C++ code that nothing can unwind through ends the process at the first exception. */
static bool may_be_thrown_through(const struct suture_patch *patch)
{
	if (patch->landing_pads)
		return true;
	for (size_t i = 0; i < patch->func.n; i++)
		if (!strncmp(patch->func.v[i].new_name, "_Z", 2))
			return true;
	return false;
}

static int agent_failed(struct enable *e, int err)
{
	if (err == -ENOMEM || err == -SUTURE_EGONE || err == -SUTURE_EBUG)
		return err;
	if (may_be_thrown_through(e->patch)) {
		char why[512];

		snprintf(why, sizeof(why), "%s", suture_ctx_error(e->p->ctx)->message);
		(void)sut_fail(e->p->ctx, SUTURE_EREFUSED,
			       "%s holds C++ code, and exceptions could not pass through it in process %d: %s",
			       e->patch->name, e->p->pid, why);
		return sut_hint(e->p->ctx, "this process needs a restart with the fixed program");
	}
	sut_warn(e->p->ctx, "exceptions and forced unwinding will not pass through the patched functions: %s",
		 suture_ctx_error(e->p->ctx)->message);
	return 0;
}

static int check_agent(struct enable *e)
{
	int err;

	e->with_agent = sut_agent_wanted(e->unit.m) || may_be_thrown_through(e->patch);
	err = e->with_agent ? sut_unwinder_check(e->p, e->reg) : 0;
	if (!err)
		return 0;
	e->with_agent = false;
	return agent_failed(e, err);
}

static int enable_plan(struct enable *e)
{
	int err = sut_process_refresh(e->p);

	if (!err)
		err = sut_registry_read(e->p, &e->reg);
	if (!err)
		err = sut_target_check_idle(e->p, e->reg);
	if (!err)
		err = check_name(e);
	if (!err)
		err = sut_plan_make(e->p, e->patch, e->reg, &e->plan);
	if (!err)
		err = plan_module(e);
	if (!err)
		err = check_agent(e);
	if (!err)
		err = sut_report_make(&e->plan, &e->report);
	return err;
}

/* What the proofs need and does not change meanwhile. */
static int prepare_proofs(struct enable *e)
{
	int err = sut_code_load(e->p, e->reg, &e->code);

	for (size_t i = 0; i < e->plan.old.r.n && !err; i++) {
		const struct sut_code_range *r = &e->plan.old.r.v[i];

		err = sut_ranges_add(e->p->ctx, &e->ranges, r->start, r->end - r->start, r->name, r->func);
	}
	sut_ranges_sort(&e->ranges);
	return err ? err : sut_prove_prepare(e->p);
}

/* --- load --------------------------------------------------------------------------------------- */

static void released(struct enable *e)
{
	uint64_t ns = sut_process_release(e->p);

	if (ns > e->pause_ns)
		e->pause_ns = ns;
}

/* Nothing is held before and after. */
static int install_agent(struct enable *e)
{
	int err;

	if (!e->with_agent)
		return 0;
	err = sut_unwinder_install(e->p, e->reg, sut_opts_force_write(e->opts), sut_opts_timeout(e->opts), &e->pause_ns,
				   &e->made_agent);
	return err && err != -SUTURE_ETIMEOUT && err != -SUTURE_EDAMAGED ? agent_failed(e, err) : err;
}

static int load_patch(struct enable *e)
{
	int err = 0;

	for (unsigned i = 0; i < LOAD_ATTEMPTS; i++) {
		struct sut_record *parked = e->parked && sut_unit_reuses(&e->unit) ? e->parked : NULL;

		err = sut_unit_load(&e->unit, e->patch->name, SUT_RECORD_PATCH, e->patch->digest, parked);
		if (err != -EEXIST)
			return err;
		/* The target mapped something there since the plan was made. */
		err = sut_unit_undo(&e->unit);
		if (!err)
			err = plan_module(e);
		if (err)
			return err;
	}
	return sut_fail(e->p->ctx, SUTURE_EFAILED, "process %d maps memory faster than a place for %s can be taken",
			e->p->pid, e->patch->name);
}

/* With the thread borrowed. What fails here is taken back by rollback(). */
static int load_all(struct enable *e)
{
	int err = sut_registry_create(e->reg);

	if (!err)
		err = load_patch(e);
	if (!err)
		err = sut_agent_publish(e->reg, e->unit.m);
	if (!err)
		err = sut_unit_prepare(&e->unit, SUT_SITE_DIRECT);
	return err ? err : sut_unit_write_state(&e->unit, SUT_STATE_ENABLING, true);
}

/* A registry that was made for nothing goes again. */
static int drop_registry(struct enable *e)
{
	for (size_t i = 0; i < SUT_REGISTRY_RECORDS; i++)
		if (e->reg->rec[i].kind != SUT_RECORD_FREE)
			return 0;
	return e->made_registry ? sut_registry_destroy(e->reg) : 0;
}

/* A thread is borrowed, and nothing of the text has changed. */
static int take_back(struct enable *e)
{
	bool changed = false;
	int err = sut_pristines_tidy(e->reg, false, &changed);

	if (!err && e->unit.recorded)
		err = sut_agent_unpublish(e->reg, e->unit.rec);
	if (!err)
		err = sut_unit_undo(&e->unit);
	return err ? err : drop_registry(e);
}

/* Whether a commit that failed left something at the sites. */
static int sites_touched(struct enable *e, bool *ret)
{
	struct sut_site_count count = { 0 };
	int err = 0;

	if (e->unit.recorded && e->unit.rec->state == SUT_STATE_ENABLING)
		err = sut_sites_count(e->p, &e->unit.sites, &count);
	*ret = count.n[SUT_SITE_DIRECT] || count.n[SUT_SITE_SWITCH];
	return err;
}

/* Nothing is held before and after. */
static int undo_commit(struct enable *e)
{
	bool changed = false;
	int err = sut_recover_record(e->p, e->reg, e->unit.rec, e->opts);

	if (!err)
		err = sut_target_borrow(e->p);
	if (!err)
		err = sut_pristines_tidy(e->reg, false, &changed);
	if (!err)
		err = drop_registry(e);
	released(e);
	return err;
}

static int undo(struct enable *e)
{
	bool touched = false;
	int err = 0;

	if (!e->p->borrowed)
		err = sut_target_borrow(e->p);
	if (!err && e->unit.recorded)
		err = sut_unit_check_there(&e->unit);
	if (!err)
		err = sut_unit_drop(&e->unit);
	if (!err)
		err = sites_touched(e, &touched);
	if (!err && !touched)
		err = take_back(e);
	released(e);
	if (!err && touched)
		err = undo_commit(e);
	if (!err && e->made_agent && !sut_unwinder_has_users(e->reg))
		err = sut_unwinder_remove(e->p, e->reg, false, sut_opts_timeout(e->opts), &e->pause_ns);
	return err;
}

/*
 * Undoes whatever was done, in reverse; a thread is borrowed or nothing is. Keeps the text of the failure that
 * led here. A process that is gone, or runs another program now, needs nothing.
 */
static int rollback(struct enable *e, int why)
{
	struct sut_error_kept kept;
	int err = 0;

	sut_error_keep(e->p->ctx, &kept);
	if (why != -SUTURE_EGONE && sut_process_alive(e->p))
		err = undo(e);
	if (!err || err == -SUTURE_EGONE || !sut_process_alive(e->p)) {
		sut_error_restore(e->p->ctx, &kept);
		return why;
	}
	return sut_error_not_undone(e->p, &kept, "the old code still runs");
}

/* --- transition ----------------------------------------------------------------------------------- */

static int enable_commit(void *arg)
{
	struct enable *e = arg;

	return sut_unit_commit(&e->unit, true);
}

static int transition(struct enable *e)
{
	struct sut_target t = { .p = e->p, .code = &e->code, .reg = e->reg, .commit = enable_commit, .arg = e };
	int err = sut_target_transition(&t, e->ranges.r.v, e->ranges.r.n, sut_opts_timeout(e->opts), &e->result);

	e->threads = t.threads;
	if (e->result.pause_ns > e->pause_ns)
		e->pause_ns = e->result.pause_ns;
	return err;
}

/* The new code runs: nothing after this is undone, at worst `recover` has something left to do. */
static int finish(struct enable *e)
{
	int err = sut_journal_write(e->p, e->unit.rec, &e->unit.sites, NULL);

	if (!err && e->unit.stubs)
		err = sut_unit_move(&e->unit, SUT_SITE_DIRECT);
	if (!err)
		err = sut_unit_write_state(&e->unit, SUT_STATE_ENABLED, false);
	if (!err)
		return 0;
	if (!sut_process_alive(e->p))
		return sut_fail(e->p->ctx, SUTURE_EGONE, "process %d ended right after %s was applied", e->p->pid,
				e->patch->name);
	(void)sut_fail(e->p->ctx, SUTURE_EINCOMPLETE,
		       "%s: the new functions run in process %d, but not all is finished", e->patch->name, e->p->pid);
	return sut_hint(e->p->ctx, "suture recover -p %d finishes it", e->p->pid);
}

static int fill_report(struct enable *e)
{
	struct suture_report *r = e->report;
	const char *why = e->unit.batch ? sut_poke_why(e->unit.batch) : NULL;

	r->threads = e->threads;
	r->attempts = e->result.attempts;
	r->pause_ns = e->pause_ns;
	r->total_ns = sut_now_ns() - e->started;
	if (e->unit.batch && sut_poke_method(e->unit.batch) == SUT_POKE_WRITE)
		r->text_method = "write";
	for (size_t i = 0; i < r->n_funcs; i++)
		r->funcs[i].new_addr = e->plan.func[i].new_addr;
	if (why && !(r->text_why = strdup(why)))
		return sut_nomem(e->p->ctx);
	return 0;
}

static void start_only_notes(const struct enable *e)
{
	for (size_t i = 0; i < e->patch->func.n; i++)
		if (e->patch->func.v[i].flags & SUTURE_FUNC_START_ONLY)
			sut_warn(e->p->ctx, "%s runs only when a process starts: this one will not call it again",
				 e->patch->func.v[i].old_name);
}

static int enable_run(struct enable *e)
{
	int err = enable_plan(e);

	if (err || sut_opts_dry_run(e->opts))
		return err;
	e->made_registry = !e->reg->addr;
	err = install_agent(e);
	if (err)
		return e->reg->addr && e->made_registry ? rollback(e, err) : err;
	err = prepare_proofs(e);
	if (!err)
		err = sut_target_borrow(e->p);
	if (err)
		return e->made_agent ? rollback(e, err) : err;
	err = load_all(e);
	if (err)
		return rollback(e, err);
	released(e);
	err = transition(e);
	if (err)
		return rollback(e, err);
	err = finish(e);
	sut_names_add(e->unit.m);
	start_only_notes(e);
	return err;
}

static void enable_free(struct enable *e)
{
	sut_unit_free(&e->unit);
	sut_ranges_free(&e->ranges);
	sut_code_free(&e->code);
	sut_plan_free(&e->plan);
	sut_registry_free(e->reg);
	suture_report_free(e->report);
}

int suture_patch_enable(struct suture_process *p, struct suture_patch *patch, const struct suture_enable_opts *opts)
{
	struct enable e = { .p = p, .patch = patch, .opts = opts, .started = sut_now_ns() };
	int err = sut_target_lock(p, opts);

	if (err)
		return err;
	sut_tool_signals_block();
	err = enable_run(&e);
	if (!err)
		err = fill_report(&e);
	if (!err && opts && opts->report) {
		*opts->report = e.report;
		e.report = NULL;
	}
	enable_free(&e);
	sut_target_unlock(p);
	sut_tool_signals_unblock();
	return sut_target_outcome(p, err);
}

/* --- preflight ------------------------------------------------------------------------------------ */

static void check_on_busy(void *arg, const struct sut_busy *busy)
{
	struct enable *e = arg;

	if (busy->range && busy->func != UINT32_MAX)
		sut_report_busy(e->report, busy);
}

/* One look at all threads. That some are inside is what the caller wants to know, not a failure. */
static int check_threads(struct enable *e)
{
	struct sut_target t = {
		.p = e->p, .code = &e->code, .reg = e->reg, .count_all = true, .on_busy = check_on_busy, .arg = e
	};
	struct sut_transition_result r;
	bool looked = false;
	int err = 0;

	for (unsigned i = 0; i < CHECK_ATTEMPTS && !looked; i++) {
		err = sut_target_run(&t, e->ranges.r.v, e->ranges.r.n, 0, &r);
		looked = err != -SUTURE_ETIMEOUT || r.busy.tid || r.busy.where;
	}
	sut_report_keep(e->report);
	e->threads = t.threads;
	e->result = r;
	if (r.pause_ns > e->pause_ns)
		e->pause_ns = r.pause_ns;
	if (!looked)
		return sut_fail(e->p->ctx, SUTURE_ETIMEOUT, "process %d could not be stopped as a whole: %s", e->p->pid,
				r.busy.why);
	return err == -SUTURE_ETIMEOUT ? 0 : err;
}

static int check_run(struct enable *e)
{
	int err = enable_plan(e);

	if (!err)
		err = prepare_proofs(e);
	if (!err)
		err = sut_target_borrow(e->p); /* whether a thread could work for us */
	if (err)
		return err;
	released(e);
	err = check_threads(e);
	return err ? err : fill_report(e);
}

int suture_patch_check(struct suture_process *p, const struct suture_patch *patch, struct suture_report **ret)
{
	struct enable e = { .p = p, .patch = patch, .started = sut_now_ns() };
	int err = sut_target_lock(p, NULL);

	if (err)
		return err;
	sut_tool_signals_block();
	err = check_run(&e);
	if (!err) {
		*ret = e.report;
		e.report = NULL;
	}
	enable_free(&e);
	sut_target_unlock(p);
	sut_tool_signals_unblock();
	return sut_target_outcome(p, err);
}
