/* SPDX-License-Identifier: MIT */
/*
 * unit.c - the steps that take one module and its sites into a process and out again.
 *
 * Invariants: the record is in the registry before the module's memory exists, and goes after it; the site
 * table is in the target before any site changes; sites change only through text/poke. Policy
 * (which step when) is in enable.c, disable.c and recover.c. Must not stop threads but through target.c.
 */
#include <errno.h>
#include <sys/mman.h>
#include <time.h>

#include "module/agent.h"
#include "patch/unit.h"

#define ORIG_ENTRY_ROOM 112 /* 5 to 19 bytes moved, each instruction grown, and a jump back */
#define MOVE_TIMEOUT_MS 5000

/* Set in sut_record.reserved: the module lies in memory that was parked; undoing parks it again. */
#define RECORD_WAS_PARKED 1u

void sut_unit_init(struct sut_unit *u, struct suture_process *p, struct sut_registry *reg, struct sut_record *rec,
		   bool force_write)
{
	memset(u, 0, sizeof(*u));
	u->p = p;
	u->reg = reg;
	u->rec = rec;
	u->force_write = force_write;
	u->was_parked = rec && (rec->reserved & RECORD_WAS_PARKED);
}

void sut_unit_free(struct sut_unit *u)
{
	sut_poke_destroy(u->batch);
	sut_module_free(u->m);
	sut_sites_free(&u->sites);
	memset(u, 0, sizeof(*u));
}

/* --- the record -------------------------------------------------------------------------------- */

int sut_unit_write_state(struct sut_unit *u, uint8_t state, bool ours)
{
	u->rec->tool_pid = ours ? (uint32_t)getpid() : 0;
	u->rec->tool_start = ours ? sut_self_start_time() : 0;
	u->rec->state = state;
	return sut_registry_write(u->reg, u->rec);
}

static size_t table_size(const struct sut_sites *s)
{
	size_t strings = 0;

	for (size_t i = 0; i < s->v.n; i++)
		strings += strlen(s->v.v[i].object) + strlen(s->v.v[i].old_name) + 2;
	return sut_sites_size(s->v.n, strings);
}

static int make_record(struct sut_unit *u, const char *name, uint8_t kind, const uint8_t digest[SUT_DIGEST_SIZE],
		       struct sut_record *parked)
{
	struct sut_record *rec = parked ? parked : sut_registry_slot(u->reg);
	uint32_t order = u->reg->h.next_order;
	int err;

	if (!rec) {
		(void)sut_fail(u->p->ctx, SUTURE_EREFUSED, "process %d holds %d modules already, no more fit",
			       u->p->pid, SUT_REGISTRY_RECORDS);
		return sut_hint(u->p->ctx, "reverted patches stay in memory until the process ends; restart it");
	}
	u->rec = rec;
	u->was_parked = parked != NULL;
	memset(rec, 0, sizeof(*rec));
	rec->kind = kind;
	rec->order = order;
	rec->since = (uint64_t)time(NULL);
	rec->reserved = parked ? RECORD_WAS_PARKED : 0;
	snprintf(rec->name, sizeof(rec->name), "%s", name);
	memcpy(rec->digest, digest, sizeof(rec->digest));
	err = sut_module_to_record(u->m, rec);
	if (err)
		return err;
	rec->table_size = table_size(&u->sites);
	u->reg->h.next_order = order + 1;
	err = sut_registry_write_header(u->reg);
	if (err)
		return err;
	u->recorded = true;
	return sut_unit_write_state(u, SUT_STATE_LOADING, true);
}

/* --- stubs --------------------------------------------------------------------------------------- */

size_t sut_unit_stub_room(const struct sut_arch *arch)
{
	return ORIG_ENTRY_ROOM + SUT_ALIGN_UP(arch->switch_stub_size, 16);
}

/* Our buffer behind a stub's address. */
static uint8_t *stub_bytes(const struct sut_module *m, uint64_t addr)
{
	for (size_t i = 0; i < m->area.n; i++) {
		const struct sut_mod_area *a = &m->area.v[i];

		if (a->stub_bytes && addr >= a->stubs && addr < a->base + a->ro_size + a->rx_size)
			return a->stub_bytes + (addr - a->stubs);
	}
	return NULL;
}

/*
 * Writes the original entry and the switch stub of a site into the module's image. A function whose first
 * instructions can not be moved gets none; that matters only if the commit needs them.
 */
static int make_stub(struct sut_unit *u, struct sut_site_entry *e)
{
	const struct sut_arch *arch = sut_process_mem(u->p)->arch;
	uint64_t left = e->old_addr + e->old_size - e->addr;
	uint64_t room = e->orig_entry, stub = e->orig_entry + ORIG_ENTRY_ROOM;
	uint8_t code[64], *out = stub_bytes(u->m, room);
	size_t len = left < sizeof(code) ? left : sizeof(code);
	size_t moved;
	int err;

	e->orig_entry = e->orig_size = e->stub = e->stub_size = 0;
	if (!room || !out)
		return 0;
	err = sut_mem_read(sut_process_mem(u->p), e->addr, code, len);
	if (err)
		return err;
	arch->nop_fill(out, sut_unit_stub_room(arch));
	if (arch->relocate_entry(code, len, e->len, e->addr, room, out, ORIG_ENTRY_ROOM, &moved, &left) ||
	    arch->switch_stub(stub, sut_registry_side_addr(u->reg, u->rec), e->new_func, room, out + ORIG_ENTRY_ROOM) ||
	    arch->jump_encode(e->addr, stub, e->through))
		return 0;
	e->orig_entry = room;
	e->orig_size = moved;
	e->stub = stub;
	e->stub_size = arch->switch_stub_size;
	return 0;
}

int sut_unit_load(struct sut_unit *u, const char *name, uint8_t kind, const uint8_t digest[SUT_DIGEST_SIZE],
		  struct sut_record *parked)
{
	int err = make_record(u, name, kind, digest, parked);

	for (size_t i = 0; i < u->sites.v.n && !err; i++)
		err = make_stub(u, &u->sites.v.v[i].e);
	if (!err && kind == SUT_RECORD_AGENT) {
		if (!u->sites.v.v[0].e.orig_entry)
			return sut_fail(u->p->ctx, SUTURE_EREFUSED,
					"the first instructions of %s in process %d can not be moved",
					u->sites.v.v[0].old_name, u->p->pid);
		err = sut_agent_set_original(u->m, u->sites.v.v[0].e.orig_entry);
	}
	if (!err)
		err = sut_sites_encode(u->p->ctx, &u->sites, u->m->table_bytes, u->rec->table_size);
	if (!err)
		err = sut_module_load(u->m);
	if (err)
		return err;
	u->loaded = true;
	return 0;
}

bool sut_unit_reuses(const struct sut_unit *u)
{
	for (size_t i = 0; i < u->m->area.n; i++)
		if (!u->m->area.v[i].reused)
			return false;
	return u->m->area.n > 0;
}

int sut_unit_undo(struct sut_unit *u)
{
	int err = 0;

	if (!u->recorded)
		return 0;
	if (u->was_parked)
		return sut_unit_write_state(u, SUT_STATE_PARKED, false);
	if (u->loaded)
		err = sut_module_unload(u->m);
	if (!err)
		err = sut_registry_remove(u->reg, u->rec);
	if (!err)
		u->recorded = u->loaded = false;
	return err;
}

/* --- sites --------------------------------------------------------------------------------------- */

static const uint8_t *bytes_for(const struct sut_site_entry *e, enum sut_site_now now)
{
	switch (now) {
	case SUT_SITE_ORIGINAL:
		return e->old;
	case SUT_SITE_DIRECT:
		return e->direct;
	case SUT_SITE_SWITCH:
		return e->stub ? e->through : NULL;
	default:
		return NULL;
	}
}

static int foreign_site(const struct sut_unit *u, const struct sut_site *s)
{
	(void)sut_fail(u->p->ctx, SUTURE_EREFUSED, "%.64s: foreign bytes at the site of %s in %s, process %d",
		       u->rec->name, s->old_name, s->object, u->p->pid);
	(void)sut_hint(u->p->ctx,
		       "a breakpoint, uprobe or another tool has changed them: take that away first; "
		       "suture status -p %d shows the bytes",
		       u->p->pid);
	return sut_fail_address(u->p->ctx, s->e.addr);
}

static int no_stub(const struct sut_unit *u, const struct sut_site *s)
{
	(void)sut_fail(
		u->p->ctx, SUTURE_EREFUSED,
		"%.64s: the patch changes several text mappings, and the first instructions of %s in %s can not be "
		"moved: it can not take effect in all of them at once",
		u->rec->name, s->old_name, s->object);
	return sut_hint(u->p->ctx, "make a patch for each object by itself, if they do not depend on each other");
}

/* Notes the pristine copies that a batch works with in the registry. */
static int sync_pristines(struct sut_registry *reg, const struct sut_poke_batch *batch)
{
	struct sut_pristine list[SUT_REGISTRY_PRISTINES];
	size_t n = sut_poke_pristines(batch, list, SUT_ARRAY_SIZE(list));

	if (n > SUT_ARRAY_SIZE(list))
		return sut_fail(reg->p->ctx, SUTURE_EREFUSED, "the patch touches %zu text mappings, %zu are possible",
				n, SUT_ARRAY_SIZE(list));
	for (size_t i = 0; i < n; i++) {
		size_t slot = SIZE_MAX;
		int err;

		for (size_t k = 0; k < SUT_REGISTRY_PRISTINES; k++) {
			if (reg->pristine[k].len && reg->pristine[k].copy == list[i].copy) {
				slot = k;
				break;
			}
			if (!reg->pristine[k].len && slot == SIZE_MAX)
				slot = k;
		}
		if (slot == SIZE_MAX)
			return sut_fail(reg->p->ctx, SUTURE_EREFUSED, "process %d has too many patched text mappings",
					reg->p->pid);
		reg->pristine[slot] = (struct sut_pristine_record){ list[i].text, list[i].len, list[i].copy };
		err = sut_registry_write_pristine(reg, slot);
		if (err)
			return err;
	}
	return 0;
}

int sut_pristines_tidy(struct sut_registry *reg, bool all, bool *ret_changed)
{
	for (size_t i = 0; i < SUT_REGISTRY_PRISTINES; i++) {
		struct sut_pristine p = { reg->pristine[i].text, reg->pristine[i].len, reg->pristine[i].copy };
		bool dropped = false;
		int err;

		if (!p.len && !all)
			continue;
		if (!p.len) { /* maybe a stale one in the target, that was dropped when the registry was read */
			err = sut_registry_write_pristine(reg, i);
			if (err)
				return err;
			continue;
		}
		err = sut_poke_tidy(sut_process_mem(reg->p), &p, &dropped);
		sut_debug(reg->p->ctx, "process %d: copy of text 0x%llx at 0x%llx: %s", reg->p->pid,
			  (unsigned long long)p.text, (unsigned long long)p.copy, dropped ? "gone" : "stays");
		if (!err && dropped) {
			memset(&reg->pristine[i], 0, sizeof(reg->pristine[i]));
			err = sut_registry_write_pristine(reg, i);
			*ret_changed = true;
		}
		if (err)
			return err;
	}
	return 0;
}

/*
 * A batch that takes every site to @to. @ret_n: sites that change (no batch when none); @ret_over_original: some jump
 * goes over original bytes.
 */
static int make_batch(struct sut_unit *u, enum sut_site_now to, struct sut_poke_batch **ret, size_t *ret_n,
		      bool *ret_over_original)
{
	struct sut_poke_batch *b;
	bool over_original = false;
	size_t n = 0;
	int err = sut_poke_create(sut_process_mem(u->p), &b);

	if (err)
		return err;
	for (size_t i = 0; i < u->sites.v.n && !err; i++) {
		const struct sut_site *s = &u->sites.v.v[i];
		const uint8_t *new = bytes_for(&s->e, to);
		struct sut_poke poke = { .addr = s->e.addr, .len = s->e.len };
		enum sut_site_now now;

		err = sut_site_look(u->p, s, poke.old, &now);
		if (!err && now == SUT_SITE_FOREIGN)
			err = foreign_site(u, s);
		if (!err && now == SUT_SITE_GONE)
			continue;
		if (!err && now != to && !new)
			err = no_stub(u, s);
		if (err || now == to)
			continue;
		memcpy(poke.new, new, s->e.len);
		err = sut_poke_add(b, &poke);
		over_original |= now == SUT_SITE_ORIGINAL;
		n++;
	}
	for (size_t i = 0; i < SUT_REGISTRY_PRISTINES && !err && u->reg->addr; i++) {
		const struct sut_pristine_record *r = &u->reg->pristine[i];
		struct sut_pristine pristine = { .text = r->text, .len = r->len, .copy = r->copy };

		if (r->len)
			err = sut_poke_use_pristine(b, &pristine);
	}
	if (err || !n) {
		sut_poke_destroy(b);
		b = NULL;
	}
	*ret = b;
	*ret_n = n;
	*ret_over_original = over_original;
	return err;
}

/* A torn write is a crash: where pages can not be swapped, a site must lie in one page. */
static int check_writable(struct sut_unit *u, const struct sut_poke_batch *b)
{
	uint64_t page = sut_process_mem(u->p)->page_size;

	for (size_t i = 0; i < u->sites.v.n && sut_poke_method(b) == SUT_POKE_WRITE; i++) {
		const struct sut_site *s = &u->sites.v.v[i];

		if (s->e.addr / page != (s->e.addr + s->e.len - 1) / page)
			return sut_fail(
				u->p->ctx, SUTURE_EREFUSED,
				"the site of %s in %s reaches over the end of a page, and pages can not be swapped: %s",
				s->old_name, s->object, sut_poke_why(b));
	}
	return 0;
}

/* The room is about to have holes, and the target may map memory of its own there: from now on the journal lists the
 * shadows by themselves. */
static int leaving_room(void *arg, const struct sut_poke_batch *b)
{
	struct sut_unit *u = arg;

	return sut_journal_write(u->p, u->rec, &u->sites, b);
}

/* Reserves the address space that the batch's duplicates take, and notes it: a tool that dies while they are made leaves
 * nothing that can not be found. A target that has none to spare goes without. */
static int reserve_room(struct sut_unit *u, struct sut_poke_batch *b)
{
	const uint64_t anonymous = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	uint64_t len = 0;
	int64_t addr = 0;
	int err = u->force_write ? 0 : sut_poke_room(b, &len);

	if (err || !len)
		return err;
	err = sut_mem_syscall(sut_process_mem(u->p), &addr, SUT_SYS_MMAP, 0, len, PROT_NONE, anonymous, (uint64_t)-1);
	if (err || (addr < 0 && addr >= -4095))
		return err;
	sut_poke_use_room(b, (uint64_t)addr, len, leaving_room, u);
	return sut_journal_write_room(u->p, u->rec, &u->sites, (uint64_t)addr, len);
}

/* Makes and prepares a batch; what it made in the target is in the registry and the journal afterwards. On failure too
 * *ret is the caller's to drop. */
static int prepare_batch(struct sut_unit *u, enum sut_site_now to, struct sut_poke_batch **ret, size_t *ret_n,
			 bool *ret_over_original)
{
	struct sut_poke_batch *b = NULL;
	int err = make_batch(u, to, &b, ret_n, ret_over_original);

	*ret = b;
	if (err || !b)
		return err;
	err = reserve_room(u, b);
	if (!err)
		err = sut_poke_prepare(b, u->force_write);
	if (!err)
		err = sync_pristines(u->reg, b);
	if (!err)
		err = sut_journal_write(u->p, u->rec, &u->sites, b);
	return err ? err : check_writable(u, b);
}

/* Twice, because what is not dropped stays in the target. */
static int drop_batch(struct sut_unit *u, struct sut_poke_batch **batch)
{
	int err = 0;

	if (!*batch)
		return 0;
	for (unsigned i = 0; i < 2; i++) {
		err = sut_poke_drop(*batch);
		if (!err)
			err = sut_journal_write(u->p, u->rec, &u->sites, NULL);
		if (err)
			continue;
		sut_poke_destroy(*batch);
		*batch = NULL;
		break;
	}
	return err;
}

int sut_unit_drop(struct sut_unit *u)
{
	return drop_batch(u, &u->batch);
}

int sut_unit_prepare(struct sut_unit *u, enum sut_site_now to)
{
	bool over_original;
	size_t n;
	int err = prepare_batch(u, to, &u->batch, &n, &over_original);

	if (err || !u->batch)
		return err;
	if (sut_poke_method(u->batch) == SUT_POKE_SWAP ? sut_poke_n_mappings(u->batch) <= 1 : n <= 1)
		return 0;
	err = sut_unit_drop(u);
	if (err)
		return err;
	u->stubs = true;
	if (to == SUT_SITE_ORIGINAL)
		return 0;
	return prepare_batch(u, SUT_SITE_SWITCH, &u->batch, &n, &over_original);
}

/* An exec in between leaves the same pid, maybe even the same code, and none of our memory. */
int sut_unit_check_there(struct sut_unit *u)
{
	uint64_t addr = sut_registry_side_addr(u->reg, u->rec) - offsetof(struct sut_record, side);
	struct sut_record now;
	int err = sut_mem_read(sut_process_mem(u->p), addr, &now, sizeof(now));

	if (err)
		return err;
	if (now.kind == u->rec->kind && !memcmp(now.digest, u->rec->digest, sizeof(now.digest)) &&
	    !memcmp(now.name, u->rec->name, sizeof(now.name)))
		return 0;
	return sut_fail(u->p->ctx, SUTURE_EGONE, "process %d has started another program meanwhile", u->p->pid);
}

int sut_unit_commit(struct sut_unit *u, bool enable)
{
	int err = sut_unit_check_there(u);

	if (!err && u->batch)
		err = sut_poke_commit(u->batch);
	if (err)
		return err;
	err = sut_registry_set_side(u->reg, u->rec, enable);
	if (u->stubs)
		return err; /* that was the commit */
	/* The swap was the commit. What is not written here is written afterwards, or by a recovery. */
	if (!err)
		(void)!sut_registry_set_state(u->reg, u->rec, enable ? SUT_STATE_ENABLED : SUT_STATE_PARKED);
	return 0;
}

static int commit_batch(void *arg)
{
	return sut_poke_commit(arg);
}

static int move_in_stop(struct sut_unit *u, struct sut_poke_batch *b, bool over_original)
{
	struct sut_target t = { .p = u->p, .reg = u->reg, .commit = commit_batch, .arg = b };
	struct sut_transition_result result;
	struct sut_ranges ranges = { 0 };
	struct sut_code code = { 0 };
	int err = sut_code_load(u->p, u->reg, &code);

	for (size_t i = 0; over_original && i < u->sites.v.n && !err; i++) {
		const struct sut_site *s = &u->sites.v.v[i];

		err = sut_ranges_add(u->p->ctx, &ranges, s->e.addr, s->e.len, s->old_name, (unsigned)i);
	}
	t.code = &code;
	sut_ranges_sort(&ranges);
	if (!err)
		err = sut_target_transition(&t, ranges.r.v, ranges.r.n, MOVE_TIMEOUT_MS, &result);
	sut_ranges_free(&ranges);
	sut_code_free(&code);
	return err;
}

int sut_unit_move(struct sut_unit *u, enum sut_site_now to)
{
	struct sut_poke_batch *b = NULL;
	bool over_original;
	size_t n;
	int err, undo;

	err = sut_target_borrow(u->p);
	if (err)
		return err;
	err = prepare_batch(u, to, &b, &n, &over_original);
	if (err || !b) {
		if (drop_batch(u, &b))
			err = -SUTURE_EDAMAGED;
		sut_process_release(u->p);
		sut_poke_destroy(b);
		return err;
	}
	if (sut_poke_method(b) == SUT_POKE_SWAP && !over_original) {
		err = sut_poke_commit(b);
	} else {
		sut_process_release(u->p);
		err = move_in_stop(u, b, over_original);
		undo = sut_target_borrow(u->p);
		if (!err)
			err = undo;
	}
	if (err && drop_batch(u, &b))
		err = -SUTURE_EDAMAGED;
	else if (!err)
		err = sut_journal_write(u->p, u->rec, &u->sites, NULL);
	sut_process_release(u->p);
	sut_poke_destroy(b);
	return err;
}

/* --- code that threads may be in ------------------------------------------------------------------ */

static int by_addr(const void *a, const void *b)
{
	const struct sut_site *x = *(const struct sut_site *const *)a, *y = *(const struct sut_site *const *)b;

	return x->e.new_func < y->e.new_func ? -1 : x->e.new_func > y->e.new_func;
}

/* One area: its new functions in order, the gaps between them under the module's name. */
static int area_ranges(const struct sut_unit *u, uint64_t start, uint64_t end, const struct sut_site **sorted,
		       struct sut_ranges *ret)
{
	const char *rest = sut_texts_add(&ret->names, "code of patch %.64s", u->rec->name);
	uint64_t at = start;
	int err = 0;

	for (size_t i = 0; i < u->sites.v.n && !err; i++) {
		const struct sut_site *s = sorted[i];

		if (s->e.new_func < at || s->e.new_func >= end)
			continue;
		if (s->e.new_func > at)
			err = sut_ranges_add(u->p->ctx, ret, at, s->e.new_func - at, rest, UINT32_MAX);
		if (!err)
			err = sut_ranges_add(u->p->ctx, ret, s->e.new_func, s->e.new_size,
					     sut_texts_add(&ret->names, "%s (patched)", s->old_name),
					     (unsigned)(s - u->sites.v.v));
		at = s->e.new_func + s->e.new_size;
	}
	if (!err && at < end)
		err = sut_ranges_add(u->p->ctx, ret, at, end - at, rest, UINT32_MAX);
	return err;
}

int sut_unit_ranges(const struct sut_unit *u, struct sut_ranges *ret)
{
	const struct sut_site **sorted = calloc(u->sites.v.n + 1, sizeof(*sorted));
	int err = sorted ? 0 : sut_nomem(u->p->ctx);

	for (size_t i = 0; sorted && i < u->sites.v.n; i++)
		sorted[i] = &u->sites.v.v[i];
	if (sorted)
		qsort(sorted, u->sites.v.n, sizeof(*sorted), by_addr);
	for (unsigned i = 0; i < u->rec->n_areas && i < SUT_RECORD_AREAS && !err; i++) {
		const struct sut_record_area *a = &u->rec->area[i];

		err = area_ranges(u, a->base + a->ro_size, a->base + a->ro_size + a->rx_size, sorted, ret);
	}
	free(sorted);
	if (!err)
		sut_ranges_sort(ret);
	return err;
}
