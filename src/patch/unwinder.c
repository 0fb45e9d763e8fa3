/* SPDX-License-Identifier: MIT */
/*
 * unwinder.c - the agent in the target's unwinder, as a unit: planned, loaded, taken out.
 *
 * What the agent does and why is told in module/agent.h. Invariant: the registry's agent_table is not 0
 * exactly while the agent's memory is loaded and not parked. Must not know patches.
 */
#include <errno.h>

#include "agent/table.h"
#include "module/agent.h"
#include "patch/unwinder.h"

#define UNWINDER_FUNCTION "_Unwind_Find_FDE"
#define LOAD_ATTEMPTS     3

struct sut_record *sut_unwinder_active(struct sut_registry *reg)
{
	for (size_t i = 0; reg->addr && i < SUT_REGISTRY_RECORDS; i++)
		if (reg->rec[i].kind == SUT_RECORD_AGENT && reg->rec[i].state == SUT_STATE_ENABLED)
			return &reg->rec[i];
	return NULL;
}

bool sut_unwinder_has_users(const struct sut_registry *reg)
{
	for (size_t i = 0; reg->addr && i < SUT_REGISTRY_RECORDS; i++) {
		const struct sut_record *rec = &reg->rec[i];

		if (rec->kind == SUT_RECORD_PATCH && rec->state != SUT_STATE_PARKED)
			return true;
	}
	return false;
}

static struct sut_record *find_parked(struct sut_registry *reg, const uint8_t digest[SUT_DIGEST_SIZE])
{
	for (size_t i = 0; reg->addr && i < SUT_REGISTRY_RECORDS; i++) {
		struct sut_record *rec = &reg->rec[i];

		if (rec->kind == SUT_RECORD_AGENT && rec->state == SUT_STATE_PARKED &&
		    !memcmp(rec->digest, digest, SUT_DIGEST_SIZE))
			return rec;
	}
	return NULL;
}

/* How many bytes the function at @addr has; its symbol says so. */
static int function_size(struct suture_process *p, struct sut_object *o, uint64_t addr, uint64_t *ret)
{
	const struct sut_symbol *sym;
	struct sut_dynsym dyn;
	struct sut_symtab *t;
	struct sut_elf *e;
	int err = sut_object_elf(p, o, &e);

	if (err)
		return err;
	if (sut_elf_dynsym(e, UNWINDER_FUNCTION, NULL, &dyn) && dyn.value + o->bias == addr) {
		*ret = dyn.size;
		return 0;
	}
	err = sut_object_symtab(p, o, &t);
	if (err)
		return err;
	sym = sut_symtab_at(t, addr - o->bias);
	if (!sym || sym->value + o->bias != addr)
		return sut_fail(p->ctx, SUTURE_EREFUSED, "the size of %s in %s is not known", UNWINDER_FUNCTION,
				o->path);
	*ret = sym->size;
	return 0;
}

/* Reads the function and checks that it may get a site; the entry's site part is filled. */
static int plan_site(struct suture_process *p, struct sut_object *o, uint64_t addr, struct sut_site_entry *e)
{
	const struct sut_arch *arch = sut_process_mem(p)->arch;
	_cleanup_free_ uint8_t *code = NULL;
	const uint8_t *file;
	struct sut_elf *elf;
	uint64_t size = 0;
	size_t moved;
	int err = function_size(p, o, addr, &size);

	if (err)
		return err;
	if (size < arch->jump_size || size > (1u << 20))
		return sut_fail(p->ctx, SUTURE_EREFUSED, "%s in %s is too short for a jump", UNWINDER_FUNCTION,
				o->path);
	err = sut_object_elf(p, o, &elf);
	if (err)
		return err;
	code = malloc(size);
	if (!code)
		return sut_nomem(p->ctx);
	err = sut_mem_read(sut_process_mem(p), addr, code, size);
	if (err)
		return err;
	file = sut_elf_bytes(elf, addr - o->bias, size);
	if (!file || memcmp(file, code, size))
		return sut_fail(p->ctx, SUTURE_EREFUSED, "%s in %s is not in memory as it is in the file",
				UNWINDER_FUNCTION, o->path);
	e->old_addr = addr;
	e->old_size = size;
	e->addr = addr + arch->entry_skip(code, size);
	e->len = (uint8_t)arch->jump_size;
	if (e->addr + e->len > addr + size || !sut_site_movable(arch, code, size, addr, e->addr, &moved))
		return sut_fail(p->ctx, SUTURE_EREFUSED, "the first instructions of %s in %s can not be moved",
				UNWINDER_FUNCTION, o->path);
	memcpy(e->old, code + (e->addr - addr), e->len);
	return 0;
}

static int plan_module(struct sut_unit *u, struct sut_object *o, struct sut_elf *elf, struct sut_site *site)
{
	const struct sut_arch *arch = sut_process_mem(u->p)->arch;
	uint8_t digest[SUT_DIGEST_SIZE];
	struct sut_record *parked;
	struct sut_mod_env env = {
		.object = &o,
		.n_objects = 1,
		.table_size = sut_sites_size(1, strlen(o->path) + 1 + sizeof(UNWINDER_FUNCTION)),
		.stub_size = sut_unit_stub_room(arch),
	};
	uint32_t index;
	int err;

	sut_digest(elf->image, elf->image_size, digest);
	parked = find_parked(u->reg, digest);
	if (parked) {
		env.reuse = parked->area;
		env.n_reuse = parked->n_areas;
	}
	sut_module_free(u->m);
	u->m = NULL;
	err = sut_module_plan(u->p, elf, SUT_AGENT_NAME, &env, &u->m);
	if (err)
		return err;
	index = sut_module_find(u->m, SUT_AGENT_FIND_SYMBOL);
	if (!index || !u->m->area.n)
		return sut_fail(u->p->ctx, SUTURE_EBUG, "the agent has no %s", SUT_AGENT_FIND_SYMBOL);
	site->e.new_func = u->m->sym.v[index].addr;
	site->e.new_size = u->m->sym.v[index].size;
	site->e.orig_entry = u->m->area.v[0].stubs;
	site->object = o->path;
	site->old_name = UNWINDER_FUNCTION;
	if (arch->jump_encode(site->e.addr, site->e.new_func, site->e.direct))
		return sut_fail(u->p->ctx, SUTURE_EREFUSED, "the agent could not be placed within reach of %s",
				o->path);
	return 0;
}

/* What one installation or removal needs. */
struct job {
	struct suture_process *p;
	struct sut_registry *reg;
	struct sut_unit u;
	struct sut_elf *elf; /* what the module is made of */
	struct sut_object *object; /* the unwinder's */
	struct sut_code code;
	struct sut_ranges ranges;
	bool enable;
	unsigned timeout_ms;
	uint64_t *pause;
};

static void job_free(struct job *j)
{
	sut_unit_free(&j->u);
	sut_elf_close(j->elf);
	sut_code_free(&j->code);
	sut_ranges_free(&j->ranges);
}

static void released(struct job *j, uint64_t ns)
{
	if (ns > *j->pause)
		*j->pause = ns;
}

/* *ret_needed false: the process has no unwinder, or an agent already. Only reads the target. */
static int plan(struct job *j, bool force_write, bool *ret_needed)
{
	struct sut_site site = { 0 };
	struct sut_object *o = NULL;
	uint64_t addr = 0;
	int err;

	*ret_needed = false;
	if (sut_unwinder_active(j->reg))
		return 0;
	err = sut_agent_needed(j->p, &o, &addr);
	if (err || !o)
		return err;
	j->object = o;
	sut_unit_init(&j->u, j->p, j->reg, NULL, force_write);
	err = plan_site(j->p, o, addr, &site.e);
	if (!err)
		err = sut_agent_open(j->p->ctx, &j->elf);
	if (!err)
		err = plan_module(&j->u, o, j->elf, &site);
	if (!err && sut_vec_push(&j->u.sites.v, site))
		err = sut_nomem(j->p->ctx);
	*ret_needed = !err;
	return err;
}

int sut_unwinder_check(struct suture_process *p, struct sut_registry *reg)
{
	struct job j = { .p = p, .reg = reg };
	bool needed;
	int err = plan(&j, false, &needed);

	job_free(&j);
	return err;
}

static int commit(void *arg)
{
	struct job *j = arg;

	return sut_unit_commit(&j->u, j->enable);
}

static int transition(struct job *j)
{
	struct sut_target t = { .p = j->p, .code = &j->code, .reg = j->reg, .commit = commit, .arg = j };
	struct sut_transition_result result;
	int err = sut_target_transition(&t, j->ranges.r.v, j->ranges.r.n, j->timeout_ms, &result);

	released(j, result.pause_ns);
	return err;
}

/* A thread is borrowed. */
static int load_unit(struct job *j)
{
	uint8_t digest[SUT_DIGEST_SIZE];

	sut_digest(j->elf->image, j->elf->image_size, digest);
	for (unsigned i = 0; i < LOAD_ATTEMPTS; i++) {
		struct sut_site site = j->u.sites.v.v[0];
		int err = sut_unit_load(&j->u, SUT_AGENT_NAME, SUT_RECORD_AGENT, digest,
					sut_unit_reuses(&j->u) ? find_parked(j->reg, digest) : NULL);

		if (err != -EEXIST)
			return err;
		/* The target (or the registry) took the place since the plan was made. */
		err = sut_unit_undo(&j->u);
		if (!err)
			err = plan_module(&j->u, j->object, j->elf, &site);
		if (err)
			return err;
		j->u.sites.v.v[0] = site;
	}
	return sut_fail(j->p->ctx, SUTURE_EFAILED,
			"process %d maps memory faster than a place for the agent can be taken", j->p->pid);
}

/* Loads the planned agent and tells the registry where its table is. A thread is borrowed. */
static int load(struct job *j)
{
	int err = sut_registry_create(j->reg);

	if (!err)
		err = load_unit(j);
	if (err)
		return err;
	j->reg->h.agent_table = sut_agent_table_addr(j->u.m);
	err = sut_registry_write_header(j->reg);
	if (!err)
		err = sut_unit_prepare(&j->u, SUT_SITE_DIRECT);
	return err ? err : sut_unit_write_state(&j->u, SUT_STATE_ENABLING, true);
}

/* Takes back what load() did; a thread is borrowed or nothing is. */
static int unload(struct job *j, int why)
{
	struct sut_error_kept kept;
	bool changed = false;
	int err = 0;

	sut_error_keep(j->p->ctx, &kept);
	if (why != -SUTURE_EGONE && sut_process_alive(j->p)) {
		if (!j->p->borrowed)
			err = sut_target_borrow(j->p);
		if (!err && j->u.recorded)
			err = sut_unit_check_there(&j->u);
		if (!err)
			err = sut_unit_drop(&j->u);
		if (!err && j->u.recorded) {
			j->reg->h.agent_table = 0;
			err = sut_registry_write_header(j->reg);
		}
		if (!err)
			err = sut_unit_undo(&j->u);
		if (!err)
			err = sut_pristines_tidy(j->reg, false, &changed);
		released(j, sut_process_release(j->p));
	}
	if (!err || err == -SUTURE_EGONE || !sut_process_alive(j->p)) {
		sut_error_restore(j->p->ctx, &kept);
		return why;
	}
	return sut_error_not_undone(j->p, &kept, "the old code still runs");
}

static int install(struct job *j)
{
	const struct sut_site *s = &j->u.sites.v.v[0];
	int err = sut_code_load(j->p, j->reg, &j->code);

	if (!err)
		err = sut_ranges_add(j->p->ctx, &j->ranges, s->e.addr, s->e.len, s->old_name, 0);
	if (!err)
		err = sut_prove_prepare(j->p);
	if (!err)
		err = sut_target_borrow(j->p);
	if (err)
		return err;
	err = load(j);
	if (err)
		return unload(j, err);
	released(j, sut_process_release(j->p));
	err = transition(j);
	if (err)
		return unload(j, err);
	err = sut_journal_write(j->p, j->u.rec, &j->u.sites, NULL);
	return err ? err : sut_unit_write_state(&j->u, SUT_STATE_ENABLED, false);
}

int sut_unwinder_install(struct suture_process *p, struct sut_registry *reg, bool force_write, unsigned timeout_ms,
			 uint64_t *ret_pause, bool *ret_installed)
{
	struct job j = { .p = p, .reg = reg, .enable = true, .timeout_ms = timeout_ms, .pause = ret_pause };
	bool needed;
	int err = plan(&j, force_write, &needed);

	*ret_installed = false;
	if (!err && needed) {
		err = install(&j);
		*ret_installed = !err;
	}
	job_free(&j);
	return err;
}

/* --- and out again ---------------------------------------------------------------------------------- */

/* After the stop, a thread borrowed: parked, or enabled again. */
static int settle(struct job *j, int why)
{
	bool changed = false;
	int err;

	if (why) {
		err = sut_unit_drop(&j->u);
		return err ? err : sut_unit_write_state(&j->u, SUT_STATE_ENABLED, false);
	}
	j->reg->h.agent_table = 0;
	err = sut_registry_write_header(j->reg);
	if (!err)
		err = sut_journal_write(j->p, j->u.rec, &j->u.sites, NULL);
	if (!err)
		err = sut_pristines_tidy(j->reg, false, &changed);
	return err ? err : sut_unit_write_state(&j->u, SUT_STATE_PARKED, false);
}

static int take_out(struct job *j)
{
	struct sut_error_kept kept;
	int err = sut_code_load(j->p, j->reg, &j->code), after;

	if (!err)
		err = sut_unit_ranges(&j->u, &j->ranges);
	if (!err)
		err = sut_prove_prepare(j->p);
	if (!err)
		err = sut_target_borrow(j->p);
	if (err)
		return err;
	err = sut_unit_write_state(&j->u, SUT_STATE_DISABLING, true);
	if (!err)
		err = sut_unit_prepare(&j->u, SUT_SITE_ORIGINAL);
	released(j, sut_process_release(j->p));
	if (!err)
		err = transition(j);
	if (err)
		sut_error_keep(j->p->ctx, &kept);
	after = sut_target_borrow(j->p);
	if (!after)
		after = sut_unit_check_there(&j->u);
	if (!after)
		after = settle(j, err);
	released(j, sut_process_release(j->p));
	if (!err)
		return after;
	if (after && after != -SUTURE_EGONE)
		return sut_error_not_undone(j->p, &kept, "the agent is still in use");
	sut_error_restore(j->p->ctx, &kept);
	return err;
}

int sut_unwinder_remove(struct suture_process *p, struct sut_registry *reg, bool force_write, unsigned timeout_ms,
			uint64_t *ret_pause)
{
	struct job j = { .p = p, .reg = reg, .timeout_ms = timeout_ms, .pause = ret_pause };
	struct sut_record *rec = sut_unwinder_active(reg);
	int err;

	if (!rec)
		return 0;
	sut_unit_init(&j.u, p, reg, rec, force_write);
	err = sut_sites_read(p, rec, &j.u.sites);
	if (!err)
		err = take_out(&j);
	job_free(&j);
	return err;
}
