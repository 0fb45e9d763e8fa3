/* SPDX-License-Identifier: MIT */
/*
 * agent.c - the tool's side of the agent: whether a process wants it, and which modules it knows.
 *
 * The table in the target is untrusted: its magic and place were checked when the registry was read, and
 * a slot is only ever given or cleared by this file. Order of the writes: see agent/table.h.
 */
#include <errno.h>

#include "agent/table.h"
#include "module/agent.h"
#include "module/priv.h"

/** Imports that say that a file throws, or lets exceptions through. */
static bool uses_exceptions(struct suture_process *p, struct sut_object *o)
{
	struct sut_elf *e;
	static const char *const harmless[] = { "__cxa_finalize", "__cxa_atexit", "__cxa_thread_atexit_impl" };
	struct sut_dynsym ds;

	if (o->is_vdso || sut_object_elf(p, o, &e))
		return true; /* what can not be read is not proved to be harmless */
	for (size_t i = 1; i < sut_elf_dynsym_count(e); i++) {
		bool named;

		if (!sut_elf_dynsym_get(e, i, &ds))
			continue;
		named = !strncmp(ds.name, "__cxa_", 6) || !strncmp(ds.name, "_Unwind_", 8) ||
			!strcmp(ds.name, "__gxx_personality_v0");
		for (size_t k = 0; k < SUT_ARRAY_SIZE(harmless); k++)
			named &= strcmp(ds.name, harmless[k]) != 0;
		if (named)
			return true;
	}
	return false;
}

bool sut_agent_wanted(const struct sut_module *m)
{
	if (m->priv->personality)
		return true;
	if (m->p->obj.n && uses_exceptions(m->p, &m->p->obj.v[0]))
		return true;
	for (size_t i = 0; i < m->area.n; i++)
		if (uses_exceptions(m->p, m->area.v[i].object))
			return true;
	return false;
}

/** Address of a function of @o by its dynamic symbols, else by its symbol table; 0: none. */
static uint64_t function_of(struct suture_process *p, struct sut_object *o, const char *name)
{
	const struct sut_symbol *s;
	struct sut_dynsym ds;
	struct sut_symtab *tab;
	struct sut_elf *e;

	if (sut_object_elf(p, o, &e))
		return 0;
	if (sut_elf_dynsym(e, name, NULL, &ds) && ds.type == STT_FUNC)
		return o->bias + ds.value;
	if (sut_object_symtab(p, o, &tab))
		return 0;
	s = sut_symtab_nth(tab, name, 1);
	return s && s->type == STT_FUNC ? o->bias + s->value : 0;
}

int sut_agent_needed(struct suture_process *p, struct sut_object **ret_object, uint64_t *ret_addr)
{
	struct sut_object *raises = NULL;
	struct sut_dynsym ds;
	struct sut_elf *e;
	uint64_t addr;

	/* The first that raises decides; one that only stands in front of it (a sanitizer) finds no FDEs itself. */
	for (size_t i = 0; i < p->obj.n; i++) {
		struct sut_object *o = &p->obj.v[i];

		if (o->is_vdso || sut_object_elf(p, o, &e) || !sut_elf_dynsym(e, "_Unwind_RaiseException", NULL, &ds))
			continue;
		raises = o;
		/* LLVM's unwinder has a function _Unwind_Find_FDE too, which its own unwinding ignores. */
		if (sut_elf_dynsym(e, "__unw_step", NULL, &ds))
			break;
		addr = function_of(p, o, "_Unwind_Find_FDE");
		if (addr) {
			*ret_object = o;
			*ret_addr = addr;
			return 0;
		}
	}
	/* Linked into the executable, and not exported. */
	if (!raises && p->obj.n && function_of(p, &p->obj.v[0], "__unw_step"))
		raises = &p->obj.v[0];
	if (raises) {
		sut_fail(p->ctx, SUTURE_EREFUSED,
			 "%s[%d] throws through the unwinder of %s, which suture can not tell of new functions",
			 p->comm, (int)p->pid, raises->path);
		return sut_hint(p->ctx, "an exception that passes a patched function would end the process");
	}
	addr = p->obj.n ? function_of(p, &p->obj.v[0], "_Unwind_Find_FDE") : 0;
	*ret_object = addr ? &p->obj.v[0] : NULL;
	*ret_addr = addr;
	return 0;
}

int sut_agent_open(struct suture_ctx *ctx, struct sut_elf **ret)
{
	const void *image;
	size_t len;
	void *copy;

	sut_agent_image(&image, &len);
	copy = malloc(len);
	if (!copy)
		return sut_nomem(ctx);
	return sut_elf_open_memory(ctx, memcpy(copy, image, len), len, "agent", ret);
}

uint64_t sut_agent_table_addr(const struct sut_module *agent)
{
	return sut_module_symbol(agent, sut_module_find(agent, SUT_AGENT_TABLE_SYMBOL));
}

uint64_t sut_agent_find_addr(const struct sut_module *agent)
{
	return sut_module_symbol(agent, sut_module_find(agent, SUT_AGENT_FIND_SYMBOL));
}

int sut_agent_set_original(struct sut_module *agent, uint64_t original)
{
	uint64_t table = sut_agent_table_addr(agent);

	for (size_t i = 0; table && i < agent->area.n; i++) {
		struct sut_mod_area *a = &agent->area.v[i];

		if (table < a->base || !sut_fits(table - a->base, sizeof(struct sut_agent_table), a->size))
			continue;
		sut_put_le64(a->image.p + (table - a->base) + offsetof(struct sut_agent_table, original), original);
		return 0;
	}
	return sut_fail(agent->priv->ctx, SUTURE_EBUG, "%s: not an agent", agent->name);
}

static int read_table(struct sut_registry *r, struct sut_agent_table *t)
{
	int err = sut_mem_read(&r->p->mem, r->h.agent_table, t, sizeof(*t));

	if (err)
		return err;
	if (t->magic != SUT_AGENT_MAGIC || t->n_slots > SUT_AGENT_SLOTS)
		return sut_fail(r->p->ctx, SUTURE_EREFUSED, "%s[%d]: the agent's table at 0x%llx is damaged",
				r->p->comm, (int)r->p->pid, (unsigned long long)r->h.agent_table);
	return 0;
}

static int write_field(struct sut_registry *r, size_t off, const void *v, size_t len)
{
	return sut_mem_write(&r->p->mem, r->h.agent_table + off, v, len);
}

static int publish_area(struct sut_registry *r, struct sut_agent_table *t, const struct sut_mod_area *a)
{
	struct sut_agent_slot s = { a->base + a->ro_size, a->base + a->ro_size + a->rx_size, a->eh_frame_hdr };
	size_t at = offsetof(struct sut_agent_table, slot), i = 0;
	int err;

	while (i < SUT_AGENT_SLOTS && t->slot[i].end && t->slot[i].start != s.start)
		i++;
	if (i == SUT_AGENT_SLOTS)
		return sut_fail(r->p->ctx, SUTURE_EFAILED, "%s[%d]: the agent knows %d pieces of code, no more fit",
				r->p->comm, (int)r->p->pid, SUT_AGENT_SLOTS);
	at += i * sizeof(s);
	err = write_field(r, at + offsetof(struct sut_agent_slot, start), &s.start, sizeof(s.start));
	if (!err)
		err = write_field(r, at + offsetof(struct sut_agent_slot, hdr), &s.hdr, sizeof(s.hdr));
	if (!err)
		err = write_field(r, at + offsetof(struct sut_agent_slot, end), &s.end, sizeof(s.end));
	if (!err && t->n_slots <= i) {
		t->n_slots = (uint32_t)i + 1;
		err = write_field(r, offsetof(struct sut_agent_table, n_slots), &t->n_slots, sizeof(t->n_slots));
	}
	if (!err)
		t->slot[i] = s;
	return err;
}

int sut_agent_publish(struct sut_registry *r, const struct sut_module *m)
{
	struct sut_agent_table *t;
	int err;

	if (!r->h.agent_table)
		return 0;
	t = malloc(sizeof(*t));
	if (!t)
		return sut_nomem(r->p->ctx);
	err = read_table(r, t);
	for (size_t i = 0; !err && i < m->area.n; i++)
		if (m->area.v[i].eh_frame_hdr)
			err = publish_area(r, t, &m->area.v[i]);
	free(t);
	return err;
}

int sut_agent_unpublish(struct sut_registry *r, const struct sut_record *rec)
{
	static const uint64_t zero;
	struct sut_agent_table *t;
	int err;

	if (!r->h.agent_table)
		return 0;
	t = malloc(sizeof(*t));
	if (!t)
		return sut_nomem(r->p->ctx);
	err = read_table(r, t);
	for (size_t i = 0; !err && i < t->n_slots; i++)
		for (size_t k = 0; !err && k < rec->n_areas && k < SUT_RECORD_AREAS; k++)
			if (t->slot[i].end && t->slot[i].start == rec->area[k].base + rec->area[k].ro_size)
				err = write_field(r,
						  offsetof(struct sut_agent_table, slot) + i * sizeof(t->slot[0]) +
							  offsetof(struct sut_agent_slot, end),
						  &zero, sizeof(zero));
	free(t);
	return err;
}
