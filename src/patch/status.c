/* SPDX-License-Identifier: MIT */
/*
 * status.c - what a process holds: the registry, the site tables and the bytes at the sites.
 *
 * Only reads, stops nobody. A record that is being changed meanwhile shows as it was at that moment; a record
 * whose site table can not be read (a tool died before it was written) is listed without functions.
 */
#include "patch/internal.h"

const char *suture_patch_state_name(enum suture_patch_state s)
{
	static const char *const names[] = {
		[SUTURE_STATE_LOADING] = "loading", [SUTURE_STATE_ENABLING] = "enabling",
		[SUTURE_STATE_ENABLED] = "enabled", [SUTURE_STATE_DISABLING] = "disabling",
		[SUTURE_STATE_PARKED] = "parked",
	};

	return (unsigned)s < SUT_ARRAY_SIZE(names) ? names[s] : "unknown";
}

void suture_status_free(struct suture_status *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_patches; i++)
		free(s->patches[i].funcs);
	if (s->priv)
		sut_texts_free(s->priv);
	free(s->priv);
	free(s->patches);
	free(s);
}

static int status_funcs(struct suture_process *p, const struct sut_sites *sites, struct sut_texts *texts,
			struct suture_status_patch *sp)
{
	sp->funcs = calloc(sites->v.n + 1, sizeof(*sp->funcs));
	if (!sp->funcs)
		return sut_nomem(p->ctx);
	for (size_t i = 0; i < sites->v.n; i++) {
		const struct sut_site *s = &sites->v.v[i];
		struct suture_status_func *f = &sp->funcs[sp->n_funcs];
		enum sut_site_now now;
		int err = sut_site_look(p, s, f->site_bytes, &now);

		if (err)
			return err;
		f->object = sut_texts_add(texts, "%s", s->object);
		f->old_name = sut_texts_add(texts, "%s", s->old_name);
		if (!f->object || !f->old_name)
			return sut_nomem(p->ctx);
		f->old_sympos = s->e.old_sympos;
		f->old_addr = s->e.old_addr;
		f->old_size = s->e.old_size;
		f->new_addr = s->e.new_func;
		f->new_size = s->e.new_size;
		/* A parked patch has no claim on its sites; another one may have them. */
		f->site =
			sp->state == SUTURE_STATE_PARKED && now != SUT_SITE_ORIGINAL ? "none" : sut_site_now_name(now);
		f->site_len = s->e.len;
		sp->n_funcs++;
	}
	return 0;
}

static bool public_state(uint8_t state, enum suture_patch_state *ret)
{
	switch (state) {
	case SUT_STATE_LOADING:
		*ret = SUTURE_STATE_LOADING;
		return true;
	case SUT_STATE_ENABLING:
		*ret = SUTURE_STATE_ENABLING;
		return true;
	case SUT_STATE_ENABLED:
		*ret = SUTURE_STATE_ENABLED;
		return true;
	case SUT_STATE_DISABLING:
		*ret = SUTURE_STATE_DISABLING;
		return true;
	case SUT_STATE_PARKED:
		*ret = SUTURE_STATE_PARKED;
		return true;
	}
	return false;
}

static int status_patch(struct suture_process *p, const struct sut_record *rec, struct sut_texts *texts,
			struct suture_status_patch *sp)
{
	struct sut_sites sites = { 0 };
	int err = 0;

	sp->name = sut_texts_add(texts, "%.64s", rec->name);
	if (!sp->name)
		return sut_nomem(p->ctx);
	sp->order = rec->order;
	sp->since = rec->since;
	sp->tool = sut_record_tool_alive(rec) ? (pid_t)rec->tool_pid : 0;
	for (unsigned i = 0; i < rec->n_areas && i < SUT_RECORD_AREAS; i++) {
		uint64_t size = rec->area[i].ro_size + rec->area[i].rx_size + rec->area[i].rw_size;

		if (!i) {
			sp->mem_start = rec->area[i].base;
			sp->mem_size = size;
		}
		sp->mem_total += size;
	}
	if (rec->state == SUT_STATE_LOADING || sut_sites_read(p, rec, &sites))
		return 0;
	err = status_funcs(p, &sites, texts, sp);
	sut_sites_free(&sites);
	return err;
}

static int by_order(const void *a, const void *b)
{
	const struct suture_status_patch *x = a, *y = b;

	return x->order < y->order ? -1 : x->order > y->order;
}

static int status_all(struct suture_process *p, const struct sut_registry *reg, struct suture_status *s)
{
	for (size_t i = 0; reg->addr && i < SUT_REGISTRY_RECORDS; i++) {
		const struct sut_record *rec = &reg->rec[i];
		struct suture_status_patch *sp = &s->patches[s->n_patches];
		int err;

		if (rec->kind != SUT_RECORD_PATCH || !public_state(rec->state, &sp->state))
			continue;
		s->n_patches++;
		err = status_patch(p, rec, s->priv, sp);
		if (err)
			return err;
	}
	qsort(s->patches, s->n_patches, sizeof(s->patches[0]), by_order);
	return 0;
}

int suture_process_status(struct suture_process *p, struct suture_status **ret)
{
	struct suture_status *s = calloc(1, sizeof(*s));
	struct sut_registry *reg = NULL;
	int err;

	if (!s)
		return sut_nomem(p->ctx);
	s->patches = calloc(SUT_REGISTRY_RECORDS, sizeof(*s->patches));
	s->priv = calloc(1, sizeof(struct sut_texts));
	err = s->patches && s->priv ? 0 : sut_nomem(p->ctx);
	if (!err)
		err = sut_registry_read(p, &reg);
	if (!err)
		err = status_all(p, reg, s);
	sut_registry_free(reg);
	if (err) {
		suture_status_free(s);
		return err;
	}
	*ret = s;
	return 0;
}
