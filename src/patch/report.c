/* SPDX-License-Identifier: MIT */
/*
 * report.c - what a call found or did, as a public report, and the strings that live with it.
 *
 * Every string of a report belongs to it (struct sut_texts in priv), so that a report outlives patch and
 * process. Only allocates (sut_report_busy() not even that); must not touch the target.
 */
#include <stdarg.h>

#include "patch/internal.h"

const char *sut_texts_add(struct sut_texts *s, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		return NULL;
	if (sut_vec_push(&s->s, text)) {
		free(text);
		return NULL;
	}
	return text;
}

void sut_texts_free(struct sut_texts *s)
{
	for (size_t i = 0; i < s->s.n; i++)
		free(s->s.v[i]);
	sut_vec_free(&s->s);
}

void suture_report_free(struct suture_report *r)
{
	if (!r)
		return;
	if (r->priv)
		sut_texts_free(r->priv);
	free(r->priv);
	free(r->patch);
	free(r->build_id);
	free(r->text_why);
	free(r->funcs);
	free(r);
}

static struct suture_report *report_alloc(const char *name, size_t n_funcs)
{
	struct suture_report *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->priv = calloc(1, sizeof(struct sut_texts));
	r->patch = strdup(name);
	r->funcs = calloc(n_funcs + 1, sizeof(*r->funcs));
	r->n_funcs = n_funcs;
	r->text_method = "swap";
	if (!r->priv || !r->patch || !r->funcs) {
		suture_report_free(r);
		return NULL;
	}
	return r;
}

static char *build_id_text(const struct sut_object *o)
{
	char hex[2 * SUT_BUILD_ID_MAX + 1] = "";

	if (o && o->elf && o->elf->build_id_len <= SUT_BUILD_ID_MAX)
		sut_hex(o->elf->build_id, o->elf->build_id_len, hex);
	return strdup(hex);
}

int sut_report_make(const struct sut_plan *plan, struct suture_report **ret)
{
	struct suture_report *r = report_alloc(plan->patch->name, plan->n_funcs);

	if (!r)
		return sut_nomem(plan->p->ctx);
	r->build_id = build_id_text(plan->object[0]);
	r->arch = sut_process_mem(plan->p)->arch->name;
	for (size_t i = 0; i < plan->n_funcs; i++) {
		const struct sut_plan_func *pf = &plan->func[i];
		struct suture_report_func *f = &r->funcs[i];

		f->object = sut_texts_add(r->priv, "%s", pf->object->path);
		f->old_name = sut_texts_add(r->priv, "%s", pf->f->old_name);
		f->old_sympos = pf->f->old_sympos;
		f->old_size = pf->f->old_size;
		f->new_size = pf->f->new_size;
		f->old_addr = pf->addr;
		f->new_addr = pf->new_addr;
		f->site = "jump";
		if (!f->object || !f->old_name) {
			suture_report_free(r);
			return sut_nomem(plan->p->ctx);
		}
	}
	*ret = r;
	return 0;
}

int sut_report_make_sites(struct suture_process *p, const char *name, const struct sut_sites *sites,
			  struct suture_report **ret)
{
	struct suture_report *r = report_alloc(name, sites->v.n);

	if (!r)
		return sut_nomem(p->ctx);
	r->build_id = build_id_text(sites->v.n ? sut_process_object_at(p, sites->v.v[0].e.addr) : NULL);
	r->arch = sut_process_mem(p)->arch->name;
	for (size_t i = 0; i < sites->v.n; i++) {
		const struct sut_site *s = &sites->v.v[i];
		struct suture_report_func *f = &r->funcs[i];

		f->object = sut_texts_add(r->priv, "%s", s->object);
		f->old_name = sut_texts_add(r->priv, "%s", s->old_name);
		f->old_sympos = s->e.old_sympos;
		f->old_size = s->e.old_size;
		f->new_size = s->e.new_size;
		f->old_addr = s->e.old_addr;
		f->new_addr = s->e.new_func;
		f->site = "jump";
		if (!f->object || !f->old_name) {
			suture_report_free(r);
			return sut_nomem(p->ctx);
		}
	}
	*ret = r;
	return 0;
}

void sut_report_busy(struct suture_report *r, const struct sut_busy *busy)
{
	struct suture_report_func *f;

	if (busy->func >= r->n_funcs)
		return;
	f = &r->funcs[busy->func];
	if (!f->busy++) {
		f->busy_tid = busy->tid;
		f->busy_in = busy->range;
	}
}

void sut_report_keep(struct suture_report *r)
{
	for (size_t i = 0; i < r->n_funcs; i++)
		if (r->funcs[i].busy_in)
			r->funcs[i].busy_in = sut_texts_add(r->priv, "%s", r->funcs[i].busy_in);
}
