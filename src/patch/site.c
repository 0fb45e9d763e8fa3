/* SPDX-License-Identifier: MIT */
/*
 * site.c - writes and reads the site table (site.h), and looks at the bytes of sites.
 *
 * Only reads the target. Invariant: a struct sut_sites that was read is consistent: each length is the
 * architecture's jump, each jump in it leads where the entry says, each new function and stub lies in the
 * executable part of one of the record's areas, each name is NUL-ended.
 */
#include <errno.h>

#include "patch/site.h"

const char *sut_site_now_name(enum sut_site_now now)
{
	static const char *const names[] = { "original", "jump", "switch", "foreign", "gone" };

	return names[now];
}

static size_t journal_at(size_t n)
{
	return sizeof(struct sut_site_table) + n * sizeof(struct sut_site_entry);
}

static size_t journal_size(size_t n)
{
	return (n + 1) * sizeof(struct sut_pristine);
}

size_t sut_sites_size(size_t n, size_t strings)
{
	return journal_at(n) + journal_size(n) + 1 + strings;
}

void sut_sites_free(struct sut_sites *s)
{
	sut_vec_free(&s->v);
	free(s->raw);
	s->raw = NULL;
}

/* Appends a name to the strings at @out; returns its offset, 0 for an empty one or no room. */
static uint32_t put_string(uint8_t *out, size_t room, size_t *used, const char *name)
{
	size_t len = strlen(name) + 1, at = *used;

	if (len == 1 || !sut_fits(at, len, room))
		return 0;
	memcpy(out + at, name, len);
	*used += len;
	return (uint32_t)at;
}

int sut_sites_encode(struct suture_ctx *ctx, const struct sut_sites *s, uint8_t *out, size_t size)
{
	size_t strings = journal_at(s->v.n) + journal_size(s->v.n);
	struct sut_site_table t = { .magic = SUT_SITE_MAGIC };
	size_t used = 1;

	if (size <= strings || size > SUT_SITE_TABLE_MAX)
		return sut_fail(ctx, SUTURE_EBUG, "site table of %zu sites does not fit %zu bytes", s->v.n, size);
	memset(out, 0, size);
	for (size_t i = 0; i < s->v.n; i++) {
		struct sut_site_entry e = s->v.v[i].e;

		e.object = put_string(out + strings, size - strings, &used, s->v.v[i].object);
		e.old_name = put_string(out + strings, size - strings, &used, s->v.v[i].old_name);
		memcpy(out + sizeof(t) + i * sizeof(e), &e, sizeof(e));
	}
	t.size = (uint32_t)size;
	t.n_sites = (uint32_t)s->v.n;
	t.journal = (uint32_t)journal_at(s->v.n);
	t.strings = (uint32_t)strings;
	t.strings_size = (uint32_t)(size - strings);
	memcpy(out, &t, sizeof(t));
	return 0;
}

static int damaged(struct suture_ctx *ctx, const struct sut_record *rec, const char *what)
{
	(void)sut_fail(ctx, SUTURE_EREFUSED, "the site table of patch %.64s in the process is damaged: %s", rec->name,
		       what);
	return sut_hint(ctx, "the process, or something in it, has overwritten it; restart the process");
}

/* Whether [addr, addr+size) lies in the executable part of one area. */
static bool in_code(const struct sut_record *rec, uint64_t addr, uint64_t size)
{
	for (unsigned i = 0; i < rec->n_areas && i < SUT_RECORD_AREAS; i++) {
		uint64_t start = rec->area[i].base + rec->area[i].ro_size;

		if (addr >= start && sut_fits(addr - start, size, rec->area[i].rx_size))
			return true;
	}
	return false;
}

/* Whether @code is the jump from @pc to @target. */
static bool leads_to(const struct sut_arch *arch, const uint8_t *code, uint64_t pc, uint64_t target)
{
	uint64_t to;

	return arch->jump_decode(code, pc, &to) && to == target;
}

static const char *check_entry(const struct sut_arch *arch, const struct sut_record *rec,
			       const struct sut_site_entry *e, const struct sut_site_table *t)
{
	if (e->len != arch->jump_size || e->len > SUT_SITE_MAX)
		return "a site is not as long as a jump";
	if (e->old_addr + e->old_size < e->old_addr || e->addr < e->old_addr ||
	    !sut_fits(e->addr - e->old_addr, e->len, e->old_size))
		return "a site lies outside of its function";
	if (!e->new_size || !in_code(rec, e->new_func, e->new_size))
		return "a new function lies outside of the module";
	if (!leads_to(arch, e->direct, e->addr, e->new_func))
		return "a jump does not lead to its new function";
	if (!e->stub != !e->orig_entry)
		return "a switch stub without an original entry";
	if (e->stub && (!in_code(rec, e->stub, e->stub_size) || !in_code(rec, e->orig_entry, e->orig_size)))
		return "a stub lies outside of the module";
	if (e->stub && !leads_to(arch, e->through, e->addr, e->stub))
		return "a jump does not lead to its switch stub";
	if (e->object >= t->strings_size || e->old_name >= t->strings_size)
		return "a name lies outside of the strings";
	return NULL;
}

int sut_sites_decode(struct suture_ctx *ctx, const struct sut_arch *arch, const struct sut_record *rec, char *raw,
		     size_t size, struct sut_sites *ret)
{
	struct sut_sites s = { .raw = raw };
	struct sut_site_table t;
	const char *bad = NULL;

	if (size < sizeof(t))
		return damaged(ctx, rec, "too short");
	memcpy(&t, raw, sizeof(t));
	if (memcmp(t.magic, SUT_SITE_MAGIC, sizeof(t.magic)) || t.size > size)
		return damaged(ctx, rec, "no table is there");
	if (!t.n_sites || t.n_sites > (t.size - sizeof(t)) / sizeof(struct sut_site_entry) ||
	    t.journal != journal_at(t.n_sites) || t.strings < t.journal + journal_size(t.n_sites) || !t.strings_size ||
	    !sut_fits(t.strings, t.strings_size, t.size))
		return damaged(ctx, rec, "its sizes do not agree");
	raw[t.strings + t.strings_size - 1] = '\0';
	for (size_t i = 0; i < t.n_sites && !bad; i++) {
		struct sut_site site = { 0 };

		memcpy(&site.e, raw + sizeof(t) + i * sizeof(site.e), sizeof(site.e));
		bad = check_entry(arch, rec, &site.e, &t);
		if (bad)
			break;
		site.object = raw + t.strings + site.e.object;
		site.old_name = raw + t.strings + site.e.old_name;
		if (sut_vec_push(&s.v, site)) {
			sut_vec_free(&s.v);
			return sut_nomem(ctx);
		}
	}
	if (bad) {
		sut_vec_free(&s.v);
		return damaged(ctx, rec, bad);
	}
	*ret = s;
	return 0;
}

int sut_sites_read(struct suture_process *p, const struct sut_record *rec, struct sut_sites *ret)
{
	bool inside = false;
	char *raw;
	int err;

	for (unsigned i = 0; i < rec->n_areas && i < SUT_RECORD_AREAS; i++) {
		uint64_t rw = rec->area[i].base + rec->area[i].ro_size + rec->area[i].rx_size;

		if (rec->table >= rw && sut_fits(rec->table - rw, rec->table_size, rec->area[i].rw_size))
			inside = true;
	}
	if (!inside || rec->table_size > SUT_SITE_TABLE_MAX || !rec->table_size)
		return damaged(p->ctx, rec, "it lies outside of the module");
	raw = malloc(rec->table_size);
	if (!raw)
		return sut_nomem(p->ctx);
	err = sut_mem_read(sut_process_mem(p), rec->table, raw, rec->table_size);
	if (!err)
		err = sut_sites_decode(p->ctx, sut_process_mem(p)->arch, rec, raw, rec->table_size, ret);
	if (err)
		free(raw);
	return err;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Whether the object of a site is still mapped there: a library may have been unloaded since. (Its path depends on who
 * looks; its name does not, but for " (deleted)".) */
static int still_mapped(struct suture_process *p, const struct sut_site *s, bool *ret)
{
	const char *name = base_name(s->object);
	const struct sut_map *m;
	struct sut_maps maps;
	int err = sut_process_mem(p)->ops->maps(sut_process_mem(p), &maps);

	if (err)
		return err;
	m = sut_maps_at(&maps, s->e.addr);
	*ret = m && (m->prot & SUT_PROT_X) && !strncmp(base_name(m->name), name, strlen(name));
	sut_maps_free(&maps);
	return 0;
}

int sut_site_look(struct suture_process *p, const struct sut_site *s, uint8_t bytes[SUT_SITE_MAX],
		  enum sut_site_now *ret)
{
	uint8_t now[SUT_SITE_MAX] = { 0 };
	int err = sut_mem_read(sut_process_mem(p), s->e.addr, now, s->e.len), unread;
	bool mapped = true;

	if (bytes)
		memcpy(bytes, now, sizeof(now));
	if (!err && !memcmp(now, s->e.direct, s->e.len)) {
		*ret = SUT_SITE_DIRECT;
	} else if (!err && s->e.stub && !memcmp(now, s->e.through, s->e.len)) {
		*ret = SUT_SITE_SWITCH;
	} else if (!err && !memcmp(now, s->e.old, s->e.len)) {
		*ret = SUT_SITE_ORIGINAL;
	} else {
		unread = err;
		err = still_mapped(p, s, &mapped);
		if (!err && mapped && unread)
			return unread;
		*ret = mapped ? SUT_SITE_FOREIGN : SUT_SITE_GONE;
	}
	return err;
}

int sut_sites_count(struct suture_process *p, const struct sut_sites *s, struct sut_site_count *ret)
{
	struct sut_site_count c = { 0 };

	for (size_t i = 0; i < s->v.n; i++) {
		enum sut_site_now now;
		int err = sut_site_look(p, &s->v.v[i], NULL, &now);

		if (err)
			return err;
		c.n[now]++;
		if (now == SUT_SITE_FOREIGN)
			c.foreign = &s->v.v[i];
	}
	*ret = c;
	return 0;
}

/* --- the journal ---------------------------------------------------------------------------------- */

int sut_journal_write(struct suture_process *p, const struct sut_record *rec, const struct sut_sites *s,
		      const struct sut_poke_batch *batch)
{
	_cleanup_free_ struct sut_pristine *entry = calloc(s->v.n + 1, sizeof(*entry));
	size_t n = 0;

	if (!entry)
		return sut_nomem(p->ctx);
	if (batch)
		n = sut_poke_shadows(batch, entry, s->v.n);
	if (n > s->v.n)
		return sut_fail(p->ctx, SUTURE_EBUG, "%zu shadows for %zu sites", n, s->v.n);
	return sut_mem_write(sut_process_mem(p), rec->table + journal_at(s->v.n), entry, (n + 1) * sizeof(*entry));
}

int sut_journal_write_room(struct suture_process *p, const struct sut_record *rec, const struct sut_sites *s,
			   uint64_t addr, uint64_t len)
{
	const struct sut_pristine entry[2] = { { .len = len, .copy = addr } };

	return sut_mem_write(sut_process_mem(p), rec->table + journal_at(s->v.n), entry, sizeof(entry));
}

static bool is_pristine(const struct sut_registry *reg, uint64_t start, uint64_t len)
{
	for (size_t i = 0; i < SUT_REGISTRY_PRISTINES; i++)
		if (reg->pristine[i].len && start < reg->pristine[i].copy + reg->pristine[i].len &&
		    reg->pristine[i].copy < start + len)
			return true;
	return false;
}

/* Whether @e names a second mapping of the text at e->text, and not one that somebody needs. */
static bool is_shadow(struct suture_process *p, const struct sut_registry *reg, const struct sut_maps *maps,
		      const struct sut_pristine *e)
{
	const struct sut_map *text = sut_maps_at(maps, e->text), *copy = sut_maps_at(maps, e->copy);
	uint64_t page = sut_process_mem(p)->page_size;

	if (!text || !copy || e->text % page || e->copy % page || e->len % page ||
	    e->text - text->start > UINT64_MAX - text->offset ||
	    !sut_fits(e->copy - copy->start, e->len, copy->end - copy->start))
		return false;
	if (!text->inode || text->inode != copy->inode || text->dev_major != copy->dev_major ||
	    text->dev_minor != copy->dev_minor || text->prot != copy->prot || copy->shared ||
	    text->offset + (e->text - text->start) != copy->offset + (e->copy - copy->start))
		return false;
	if (e->copy == e->text || sut_process_object_at(p, e->copy))
		return false;
	return !is_pristine(reg, e->copy, e->len);
}

/* Whether a mapping in the room of a dead tool is what it reserved there, or a duplicate of some object's text. */
static bool is_in_room(struct suture_process *p, const struct sut_registry *reg, const struct sut_map *m,
		       const struct sut_pristine *e)
{
	if (m->start < e->copy || m->end - e->copy > e->len || m->end <= e->copy || m->shared ||
	    is_pristine(reg, m->start, m->end - m->start) || sut_process_object_at(p, m->start))
		return false;
	if (!m->inode)
		return !m->prot && !m->name[0];
	for (size_t i = 0; i < p->obj.n && m->prot == (SUT_PROT_R | SUT_PROT_X); i++)
		if (p->obj.v[i].inode == m->inode && p->obj.v[i].dev_major == m->dev_major &&
		    p->obj.v[i].dev_minor == m->dev_minor)
			return true;
	return false;
}

static int unmap(struct suture_process *p, uint64_t start, uint64_t len)
{
	const uint64_t args[6] = { start, len };
	uint64_t unused;

	return sut_mem_call(sut_process_mem(p), "unmapping unused text", &unused, SUT_SYS_MUNMAP, args);
}

static int tidy_entry(struct suture_process *p, const struct sut_registry *reg, const struct sut_pristine *e,
		      unsigned *ret_n)
{
	struct sut_maps maps;
	int err = sut_process_mem(p)->ops->maps(sut_process_mem(p), &maps);

	if (err)
		return err;
	for (size_t i = 0; !e->text && i < maps.m.n && !err; i++) {
		const struct sut_map *m = &maps.m.v[i];

		if (!is_in_room(p, reg, m, e))
			continue;
		err = unmap(p, m->start, m->end - m->start);
		++*ret_n;
	}
	if (e->text && is_shadow(p, reg, &maps, e)) {
		err = unmap(p, e->copy, e->len);
		++*ret_n;
	}
	sut_maps_free(&maps);
	return err;
}

int sut_journal_tidy(struct suture_process *p, const struct sut_registry *reg, const struct sut_record *rec,
		     const struct sut_sites *s, unsigned *ret_n)
{
	_cleanup_free_ struct sut_pristine *entry = calloc(s->v.n + 1, sizeof(*entry));
	int err;

	*ret_n = 0;
	if (!entry)
		return sut_nomem(p->ctx);
	err = sut_mem_read(sut_process_mem(p), rec->table + journal_at(s->v.n), entry, journal_size(s->v.n));
	for (size_t i = 0; i < s->v.n && !err && entry[i].len; i++)
		err = tidy_entry(p, reg, &entry[i], ret_n);
	return err ? err : sut_journal_write(p, rec, s, NULL);
}
