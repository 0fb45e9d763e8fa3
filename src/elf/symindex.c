/* SPDX-License-Identifier: MIT */
/*
 * symindex.c - looking symbols up by name and address; fragments and their parents.
 *
 * One slot of an open hash table per distinct name, with the chain of its symbols in the order of
 * the symbol table: the n-th of a chain has sympos n. The hash is keyed at random, because the
 * names may come from somebody who would like it to be slow. For addresses, the sorted list
 * and, for each place in it, the highest end of all symbols up to there.
 */
#include <sodium.h>

#include "elf/symindex.h"

#define NONE          UINT32_MAX
#define PARENT_BUDGET 200000000ul /* candidates looked at for one file; a sane one needs a few per fragment */
#define DOUBLES_BACK  64 /* symbols of one address among which doubles are looked for */

struct slot {
	uint64_t hash;
	uint32_t first, last, count; /* indices into sym; count 0: free */
};

struct index {
	uint8_t key[crypto_shorthash_KEYBYTES];
	struct slot *slot;
	size_t mask; /* slots - 1 */
	uint32_t *next; /* of the same name, in symbol table order */
	uint32_t *scope;
	uint64_t *max_end; /* highest end among sym[0..i] */
	uint8_t *code; /* stands in an executable segment */
	SUT_VEC(char *) pool;
};

/* ---- names ---- */

static uint64_t hash_name(const struct index *ix, const char *name, size_t len)
{
	uint8_t out[crypto_shorthash_BYTES];

	crypto_shorthash(out, (const uint8_t *)name, len, ix->key);
	return sut_le64(out);
}

/* The slot of a name, or the free one where it would stand. */
static struct slot *find_slot(const struct sut_symtab *t, const struct index *ix, const char *name, size_t len)
{
	uint64_t hash = hash_name(ix, name, len);
	size_t i = (size_t)hash & ix->mask;

	for (;; i = (i + 1) & ix->mask) {
		struct slot *s = &ix->slot[i];
		const char *have;

		if (!s->count)
			return s;
		have = t->sym.v[s->first].name;
		if (s->hash == hash && !strncmp(have, name, len) && !have[len])
			return s;
	}
}

static const struct slot *lookup(const struct sut_symtab *t, const char *name, size_t len)
{
	static const struct slot none;
	const struct index *ix = t->index;

	return ix->slot ? find_slot(t, ix, name, len) : &none;
}

size_t sut_symtab_count(const struct sut_symtab *t, const char *name)
{
	return lookup(t, name, strlen(name))->count;
}

const struct sut_symbol *sut_symtab_nth(const struct sut_symtab *t, const char *name, uint32_t sympos)
{
	const struct slot *s = lookup(t, name, strlen(name));
	const struct index *ix = t->index;
	uint32_t i = s->first;

	if (!sympos || sympos > s->count)
		return NULL;
	while (--sympos)
		i = ix->next[i];
	return &t->sym.v[i];
}

/* "1 at 0x1234 (a.c), 2 at 0x2345 (b.c)" */
static void list_choices(const struct sut_symtab *t, const char *name, char *buf, size_t cap)
{
	size_t n = sut_symtab_count(t, name), len = 0;

	buf[0] = '\0';
	for (uint32_t i = 1; i <= n && i <= 8 && len < cap; i++) {
		const struct sut_symbol *s = sut_symtab_nth(t, name, i);

		len += (size_t)snprintf(buf + len, cap - len, "%s%u at 0x%llx%s%s%s", i > 1 ? ", " : "", i,
					(unsigned long long)s->value, s->file ? " (" : "", s->file ? s->file : "",
					s->file ? ")" : "");
	}
	if (n > 8 && len < cap)
		snprintf(buf + len, cap - len, ", ...");
}

int sut_symtab_find(const struct sut_symtab *t, struct sut_elf *e, const char *name, uint32_t sympos,
		    const struct sut_symbol **ret)
{
	size_t n = sut_symtab_count(t, name);
	char choices[512];

	if (!n) {
		sut_fail(e->ctx, SUTURE_ENOTFOUND, "%s: no symbol %s (%s)", e->name, name,
			 sut_symtab_source_name(t->source));
		if (t->source == SUT_SYMS_DYNAMIC)
			return sut_hint(e->ctx, "it is stripped: name its debug file with --debug");
		return -SUTURE_ENOTFOUND;
	}
	list_choices(t, name, choices, sizeof(choices));
	if (!sympos && n > 1) {
		sut_fail(e->ctx, SUTURE_EREFUSED, "%s: %s is ambiguous, there are %zu: %s", e->name, name, n, choices);
		return sut_hint(e->ctx, "say which one: %s,1 to %s,%zu", name, name, n);
	}
	if (sympos > n)
		return sut_fail(e->ctx, SUTURE_ENOTFOUND, "%s: there is no %s,%u, only: %s", e->name, name, sympos,
				choices);
	*ret = sut_symtab_nth(t, name, sympos ? sympos : 1);
	return 0;
}

/* ---- fragments ---- */

/* Length of @name[0..len) without its last fragment suffix, @len when it has none. */
static size_t strip_suffix(const char *name, size_t len)
{
	static const char *const words[] = { "cold", "part", "isra", "constprop", "lto_priv", "llvm", "localalias" };
	size_t end = len, dot;

	while (end && name[end - 1] >= '0' && name[end - 1] <= '9')
		end--;
	if (end == len || !end || name[end - 1] != '.')
		end = len; /* no number */
	else
		end--;
	for (dot = end; dot > 0 && name[dot - 1] != '.'; dot--)
		;
	if (dot < 2) /* no dot, or nothing before it */
		return len;
	for (size_t i = 0; i < SUT_ARRAY_SIZE(words); i++)
		if (strlen(words[i]) == end - dot && !memcmp(name + dot, words[i], end - dot))
			return dot - 1;
	return len;
}

size_t sut_symbol_base_len(const char *name)
{
	size_t len = strlen(name), shorter;

	while ((shorter = strip_suffix(name, len)) < len)
		len = shorter;
	return len;
}

static unsigned kind_of(const struct sut_symbol *s)
{
	switch (s->type) {
	case STT_FUNC:
	case STT_GNU_IFUNC:
		return 1;
	case STT_OBJECT:
	case STT_COMMON:
		return 2;
	case STT_TLS:
		return 3;
	}
	return 0;
}

/* Whether @c may be what @s is a fragment of, and how sure: 2 same FILE, 1 global, 0 no. */
static unsigned parent_rank(const struct sut_symtab *t, const struct index *ix, uint32_t s, uint32_t c)
{
	unsigned ks = kind_of(&t->sym.v[s]), kc = kind_of(&t->sym.v[c]);

	if (s == c || (ks && kc && ks != kc))
		return 0;
	if (ix->scope[s] && ix->scope[s] == ix->scope[c])
		return 2;
	return ix->scope[c] == 0;
}

static uint32_t distance(uint32_t a, uint32_t b)
{
	return a > b ? a - b : b - a;
}

/* @budget: candidates that may still be looked at; 0 afterwards: it did not suffice. */
static uint32_t find_parent(const struct sut_symtab *t, const struct index *ix, uint32_t s, size_t *budget)
{
	const char *name = t->sym.v[s].name;
	size_t len = strlen(name), shorter;

	while ((shorter = strip_suffix(name, len)) < len) {
		const struct slot *slot = lookup(t, name, len = shorter);
		uint32_t best = NONE;
		unsigned best_rank = 0;

		for (uint32_t n = slot->count, c = slot->first; n && *budget; n--, c = ix->next[c], --*budget) {
			unsigned rank = parent_rank(t, ix, s, c);

			if (rank > best_rank || (rank && rank == best_rank &&
						 distance(t->sym.v[c].order, t->sym.v[s].order) <
							 distance(t->sym.v[best].order, t->sym.v[s].order))) {
				best = c;
				best_rank = rank;
			}
		}
		if (best != NONE)
			return best;
	}
	return NONE;
}

/* ---- addresses ---- */

static uint64_t end_of(const struct sut_symbol *s)
{
	return s->value + s->size;
}

/* Number of symbols (of those with an address) whose value is below @addr, or not above it. */
static size_t bound(const struct sut_symtab *t, uint64_t addr, bool upper)
{
	size_t lo = 0, hi = t->n_addr;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		uint64_t v = t->sym.v[mid].value;

		if (v < addr || (upper && v == addr))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

size_t sut_symtab_all_at(const struct sut_symtab *t, uint64_t addr, size_t *ret_n)
{
	size_t first = bound(t, addr, false);

	*ret_n = bound(t, addr, true) - first;
	return first;
}

/* Which of two symbols names an address better; both cover it. */
static bool is_better(const struct sut_symtab *t, const struct index *ix, size_t a, size_t b)
{
	const struct sut_symbol *x = &t->sym.v[a], *y = &t->sym.v[b];
	const unsigned px[] = { ix->code[a] && x->type != STT_OBJECT, x->size != 0,
				x->bind == STB_GLOBAL ? 2 : x->bind != STB_LOCAL,
				!x->name[sut_symbol_base_len(x->name)], kind_of(x) == 1 };
	const unsigned py[] = { ix->code[b] && y->type != STT_OBJECT, y->size != 0,
				y->bind == STB_GLOBAL ? 2 : y->bind != STB_LOCAL,
				!y->name[sut_symbol_base_len(y->name)], kind_of(y) == 1 };

	for (unsigned i = 0; i < SUT_ARRAY_SIZE(px); i++) {
		if (i == 2 && x->value != y->value) /* the innermost */
			return x->value > y->value;
		if (px[i] != py[i])
			return px[i] > py[i];
	}
	return x->order < y->order;
}

const struct sut_symbol *sut_symtab_at(const struct sut_symtab *t, uint64_t addr)
{
	const struct index *ix = t->index;
	size_t n = bound(t, addr, true), best = NONE;

	for (size_t i = n; i > 0 && ix->max_end[i - 1] > addr; i--)
		if (end_of(&t->sym.v[i - 1]) > addr && (best == NONE || is_better(t, ix, i - 1, best)))
			best = i - 1;
	if (best == NONE && n) { /* labels without a size */
		uint64_t at = t->sym.v[n - 1].value;

		for (size_t i = n; i > 0 && t->sym.v[i - 1].value == at; i--)
			if (!t->sym.v[i - 1].size && ix->code[i - 1] && (best == NONE || is_better(t, ix, i - 1, best)))
				best = i - 1;
	}
	return best == NONE ? NULL : &t->sym.v[best];
}

/* ---- building ---- */

static int by_address(const void *pa, const void *pb)
{
	const struct sut_symbol *a = &((const struct sut_symbol_draft *)pa)->s;
	const struct sut_symbol *b = &((const struct sut_symbol_draft *)pb)->s;
	bool ta = a->type == STT_TLS, tb = b->type == STT_TLS;

	if (ta != tb)
		return ta ? 1 : -1;
	if (a->value != b->value)
		return a->value < b->value ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

static void drop_doubles(sut_draft_vec *d)
{
	size_t out = 0;

	for (size_t i = 0; i < d->n; i++) {
		bool twice = false;

		for (size_t k = out;
		     k > 0 && out - k < DOUBLES_BACK && d->v[k - 1].s.value == d->v[i].s.value && !twice; k--)
			twice = !strcmp(d->v[k - 1].s.name, d->v[i].s.name);
		if (!twice)
			d->v[out++] = d->v[i];
	}
	d->n = out;
}

static int by_order(const void *pa, const void *pb, void *arg)
{
	const struct sut_symtab *t = arg;
	uint32_t a = t->sym.v[*(const uint32_t *)pa].order, b = t->sym.v[*(const uint32_t *)pb].order;

	return a < b ? -1 : a > b;
}

static bool index_alloc(struct index *ix, size_t n)
{
	size_t slots = 16;

	while (slots < n * 2)
		slots *= 2;
	ix->mask = slots - 1;
	ix->slot = calloc(slots, sizeof(*ix->slot));
	ix->next = calloc(n + 1, sizeof(*ix->next));
	ix->scope = calloc(n + 1, sizeof(*ix->scope));
	ix->max_end = calloc(n + 1, sizeof(*ix->max_end));
	ix->code = calloc(n + 1, sizeof(*ix->code));
	return ix->slot && ix->next && ix->scope && ix->max_end && ix->code;
}

/* Enters all names in the order of the symbol table, which gives each symbol its sympos. */
static int index_names(struct suture_ctx *ctx, struct sut_symtab *t, struct index *ix)
{
	_cleanup_free_ uint32_t *order = calloc(t->sym.n + 1, sizeof(*order));

	if (!order)
		return sut_nomem(ctx);
	for (uint32_t i = 0; i < t->sym.n; i++)
		order[i] = i;
	qsort_r(order, t->sym.n, sizeof(*order), by_order, t);
	for (size_t k = 0; k < t->sym.n; k++) {
		uint32_t i = order[k];
		struct slot *s = find_slot(t, ix, t->sym.v[i].name, strlen(t->sym.v[i].name));

		if (s->count) {
			ix->next[s->last] = i;
		} else {
			s->first = i;
			s->hash = hash_name(ix, t->sym.v[i].name, strlen(t->sym.v[i].name));
		}
		s->last = i;
		t->sym.v[i].sympos = ++s->count;
	}
	return 0;
}

static void index_addresses(struct sut_symtab *t, const struct sut_elf *e, struct index *ix)
{
	uint64_t max = 0;

	for (size_t i = 0; i < t->n_addr; i++) {
		const struct sut_symbol *s = &t->sym.v[i];

		max = end_of(s) > max ? end_of(s) : max;
		ix->max_end[i] = max;
		for (size_t k = 0; k < e->load.n && !ix->code[i]; k++)
			ix->code[i] = (e->load.v[k].prot & 4) && s->value >= e->load.v[k].vaddr &&
				      s->value - e->load.v[k].vaddr < e->load.v[k].memsz;
	}
}

int sut_symindex_build(struct suture_ctx *ctx, struct sut_symtab *t, const struct sut_elf *e, sut_draft_vec *drafts,
		       bool doubles)
{
	struct index *ix = t->index;
	size_t budget = PARENT_BUDGET;
	int err;

	if (drafts->n >= NONE)
		return sut_fail(ctx, SUTURE_EREFUSED, "%s has too many symbols", e->name);
	if (drafts->n)
		qsort(drafts->v, drafts->n, sizeof(*drafts->v), by_address);
	if (doubles)
		drop_doubles(drafts);
	if (!index_alloc(ix, drafts->n) ||
	    sut_vec_reserve_((void **)&t->sym.v, &t->sym.cap, drafts->n + 1, sizeof(*t->sym.v)))
		return sut_nomem(ctx);
	for (size_t i = 0; i < drafts->n; i++) {
		t->sym.v[i] = drafts->v[i].s;
		ix->scope[i] = drafts->v[i].scope;
		t->n_addr += drafts->v[i].s.type != STT_TLS;
	}
	t->sym.n = drafts->n;
	err = index_names(ctx, t, ix);
	if (err)
		return err;
	index_addresses(t, e, ix);
	for (uint32_t i = 0; i < t->sym.n; i++) {
		uint32_t parent = find_parent(t, ix, i, &budget);

		if (!budget)
			return sut_fail(ctx, SUTURE_EREFUSED, "%s is damaged: fragments of functions without number",
					e->name);
		t->sym.v[i].parent = parent == NONE ? NULL : &t->sym.v[parent];
	}
	return 0;
}

int sut_symindex_init(struct suture_ctx *ctx, struct sut_symtab *t)
{
	struct index *ix = calloc(1, sizeof(*ix));

	if (!ix)
		return sut_nomem(ctx);
	randombytes_buf(ix->key, sizeof(ix->key));
	t->index = ix;
	return 0;
}

int sut_symindex_own(struct suture_ctx *ctx, struct sut_symtab *t, char *name)
{
	struct index *ix = t->index;

	if (sut_vec_push(&ix->pool, name)) {
		free(name);
		return sut_nomem(ctx);
	}
	return 0;
}

void sut_symindex_free(struct sut_symtab *t)
{
	struct index *ix = t->index;

	if (!ix)
		return;
	for (size_t i = 0; i < ix->pool.n; i++)
		free(ix->pool.v[i]);
	sut_vec_free(&ix->pool);
	free(ix->slot);
	free(ix->next);
	free(ix->scope);
	free(ix->max_end);
	free(ix->code);
	free(ix);
	t->index = NULL;
}
