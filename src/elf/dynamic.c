/* SPDX-License-Identifier: MIT */
/*
 * dynamic.c - what the dynamic linker sees of a file: PT_DYNAMIC and the tables it names.
 *
 * Section headers are not asked (a file may have none, and ld.so does not look at them), but for the
 * number of symbols where neither hash table tells it. Addresses in DT_* become pieces
 * of the image (struct sut_bytes) once, in sut_dyn_parse(); everything later stays inside them.
 */
#include "elf/priv.h"

#define SYM_SIZE  sizeof(Elf64_Sym)
#define RELA_SIZE sizeof(Elf64_Rela)

#ifndef DT_RELRSZ
#define DT_RELRSZ  35
#define DT_RELR    36
#define DT_RELRENT 37
#endif
/* Android's compressed relocations; read by nobody else. */
#define DT_ANDROID_REL  0x6000000f
#define DT_ANDROID_RELA 0x60000011

/* The dynamic entries that matter, as they stand in the file. */
struct dyn_values {
	uint64_t symtab, strtab, strsz, syment, hash, gnu_hash, versym;
	uint64_t verdef, verdefnum, verneed, verneednum;
	uint64_t rela, relasz, relaent, rel, jmprel, pltrelsz, pltrel, relr, relrsz, relrent;
	uint64_t android, soname, flags, flags_1;
	bool has_soname, bind_now;
};

static void take_value(struct dyn_values *v, uint64_t tag, uint64_t val)
{
	static const struct {
		uint64_t tag;
		size_t off;
	} at[] = {
#define AT(t, field) { t, offsetof(struct dyn_values, field) }
		AT(DT_SYMTAB, symtab),
		AT(DT_STRTAB, strtab),
		AT(DT_STRSZ, strsz),
		AT(DT_SYMENT, syment),
		AT(DT_HASH, hash),
		AT(DT_GNU_HASH, gnu_hash),
		AT(DT_VERSYM, versym),
		AT(DT_VERDEF, verdef),
		AT(DT_VERDEFNUM, verdefnum),
		AT(DT_VERNEED, verneed),
		AT(DT_VERNEEDNUM, verneednum),
		AT(DT_RELA, rela),
		AT(DT_RELASZ, relasz),
		AT(DT_RELAENT, relaent),
		AT(DT_REL, rel),
		AT(DT_JMPREL, jmprel),
		AT(DT_PLTRELSZ, pltrelsz),
		AT(DT_PLTREL, pltrel),
		AT(DT_RELR, relr),
		AT(DT_RELRSZ, relrsz),
		AT(DT_RELRENT, relrent),
		AT(DT_ANDROID_REL, android),
		AT(DT_ANDROID_RELA, android),
		AT(DT_SONAME, soname),
		AT(DT_FLAGS, flags),
		AT(DT_FLAGS_1, flags_1),
#undef AT
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(at); i++)
		if (at[i].tag == tag)
			memcpy((uint8_t *)v + at[i].off, &val, sizeof(val));
	v->has_soname |= tag == DT_SONAME;
	v->bind_now |= tag == DT_BIND_NOW;
}

/* The @len bytes at an address of DT_*; an absent table is fine, one that is not all there is not. */
static int take_table(const struct sut_elf *e, const char *what, uint64_t addr, uint64_t len, struct sut_bytes *ret)
{
	struct sut_bytes b;

	if (!addr || !len)
		return 0;
	b = sut_elf_avail(e, addr);
	if (!b.p || b.len < len)
		return sut_elf_damaged(e, "%s at 0x%llx (%llu bytes) lies outside of the file", what,
				       (unsigned long long)addr, (unsigned long long)len);
	b.len = len;
	*ret = b;
	return 0;
}

/* ---- hash tables ---- */

/* A .gnu.hash table, checked: every index below stays inside it. */
struct gnu_hash {
	uint32_t nbuckets, symoffset, bloom_size, bloom_shift;
	const uint8_t *bloom, *buckets, *chain;
	size_t nchain;
};

static bool gnu_hash_read(struct sut_bytes t, struct gnu_hash *ret)
{
	uint64_t head;

	if (t.len < 16)
		return false;
	*ret = (struct gnu_hash){ sut_le32(t.p), sut_le32(t.p + 4), sut_le32(t.p + 8), sut_le32(t.p + 12) };
	head = 16 + (uint64_t)ret->bloom_size * 8 + (uint64_t)ret->nbuckets * 4;
	if (!ret->nbuckets || !ret->bloom_size || (ret->bloom_size & (ret->bloom_size - 1)) || head > t.len)
		return false;
	ret->bloom = t.p + 16;
	ret->buckets = ret->bloom + (size_t)ret->bloom_size * 8;
	ret->chain = ret->buckets + (size_t)ret->nbuckets * 4;
	ret->nchain = (t.len - head) / 4;
	return true;
}

/* One more than the highest symbol in the table; false: a chain runs out of the file. */
static bool gnu_hash_count(const struct gnu_hash *h, uint32_t *ret)
{
	uint32_t max = 0;

	for (uint32_t i = 0; i < h->nbuckets; i++) {
		uint32_t b = sut_le32(h->buckets + (size_t)i * 4);

		max = b > max ? b : max;
	}
	if (max < h->symoffset) {
		*ret = h->symoffset;
		return true;
	}
	for (uint64_t i = max - h->symoffset; i < h->nchain; i++) {
		if (sut_le32(h->chain + i * 4) & 1) {
			*ret = (uint32_t)(h->symoffset + i + 1);
			return true;
		}
	}
	return false;
}

static uint32_t gnu_hash_of(const char *name)
{
	uint32_t h = 5381;

	for (const uint8_t *p = (const uint8_t *)name; *p; p++)
		h = h * 33 + *p;
	return h;
}

static uint32_t sysv_hash_of(const char *name)
{
	uint32_t h = 0;

	for (const uint8_t *p = (const uint8_t *)name; *p; p++) {
		h = (h << 4) + *p;
		h ^= (h >> 24) & 0xf0;
		h &= 0x0fffffff;
	}
	return h;
}

/* ---- symbols ---- */

/* The number of dynamic symbols, from the hash tables, else the section header, else the string table behind. */
static int count_symbols(struct sut_elf *e, const struct dyn_values *v, struct sut_dyn *d)
{
	struct sut_bytes all = sut_elf_avail(e, v->symtab);
	uint64_t n = 0;
	struct gnu_hash gh;
	uint32_t ngnu;

	if (!v->symtab)
		return 0;
	if (!all.p || (v->syment && v->syment != SYM_SIZE))
		return sut_elf_damaged(e, "no dynamic symbols at 0x%llx", (unsigned long long)v->symtab);
	if (d->hash.len >= 8)
		n = sut_le32(d->hash.p + 4);
	if (!n && d->gnu_hash.p && gnu_hash_read(d->gnu_hash, &gh)) {
		if (!gnu_hash_count(&gh, &ngnu))
			return sut_elf_damaged(e, "the chains of DT_GNU_HASH do not end");
		n = ngnu;
	}
	for (size_t i = 0; i < e->sec.n; i++)
		if (e->sec.v[i].type == SHT_DYNSYM && e->sec.v[i].addr == v->symtab && e->sec.v[i].size / SYM_SIZE > n)
			n = e->sec.v[i].size / SYM_SIZE; /* imports alone are in no GNU hash table */
	if (!n && v->strtab > v->symtab)
		n = (v->strtab - v->symtab) / SYM_SIZE;
	if (n > all.len / SYM_SIZE)
		return sut_elf_damaged(e, "%llu dynamic symbols do not fit into the file", (unsigned long long)n);
	d->nsym = (uint32_t)n;
	d->sym = (struct sut_bytes){ all.p, n * SYM_SIZE };
	return 0;
}

static int set_version(struct sut_elf *e, uint32_t index, uint32_t name_off, bool needed)
{
	static const struct sut_version none;
	struct sut_dyn *d = sut_elf_dyn(e);
	const char *name = sut_str_at(d->str, name_off);

	index &= SUT_VERSION_MAX;
	if (!name)
		return sut_elf_damaged(e, "version %u has no name", index);
	while (d->version.n <= index)
		if (sut_vec_push(&d->version, none))
			return sut_nomem(e->ctx);
	d->version.v[index] = (struct sut_version){ name, needed };
	return 0;
}

/* .gnu.version_d: what the file defines. The base definition is the file's own name, no version. */
static int read_verdef(struct sut_elf *e, const struct dyn_values *v)
{
	struct sut_bytes t = sut_elf_avail(e, v->verdef);
	uint64_t off = 0;
	int err = 0;

	if (!v->verdef)
		return 0;
	if (v->verdefnum > SUT_VERSION_MAX)
		return sut_elf_damaged(e, "%llu version definitions", (unsigned long long)v->verdefnum);
	for (uint64_t i = 0; i < v->verdefnum && !err; i++) {
		uint32_t aux, next;

		if (!t.p || !sut_fits(off, sizeof(Elf64_Verdef), t.len))
			return sut_elf_damaged(e, "DT_VERDEF runs out of the file");
		aux = sut_le32(t.p + off + 12);
		next = sut_le32(t.p + off + 16);
		if (!(sut_le16(t.p + off + 2) & VER_FLG_BASE)) {
			if (!sut_fits(off + aux, sizeof(Elf64_Verdaux), t.len))
				return sut_elf_damaged(e, "DT_VERDEF runs out of the file");
			err = set_version(e, sut_le16(t.p + off + 4), sut_le32(t.p + off + aux), false);
		}
		if (!next)
			break;
		off += next;
	}
	return err;
}

/* .gnu.version_r: what the file needs of others. */
static int read_verneed(struct sut_elf *e, const struct dyn_values *v)
{
	struct sut_bytes t = sut_elf_avail(e, v->verneed);
	uint64_t off = 0;
	unsigned entries = 0;
	int err = 0;

	if (!v->verneed)
		return 0;
	for (uint64_t i = 0; i < v->verneednum; i++) {
		uint64_t aux;
		uint32_t next;

		if (!t.p || !sut_fits(off, sizeof(Elf64_Verneed), t.len) || i > SUT_VERSION_MAX)
			return sut_elf_damaged(e, "DT_VERNEED runs out of the file");
		aux = off + sut_le32(t.p + off + 8);
		next = sut_le32(t.p + off + 12);
		for (unsigned k = 0, cnt = sut_le16(t.p + off + 2); k < cnt && !err; k++) {
			uint32_t step;

			if (!sut_fits(aux, sizeof(Elf64_Vernaux), t.len) || ++entries > SUT_VERSION_MAX)
				return sut_elf_damaged(e, "DT_VERNEED runs out of the file");
			step = sut_le32(t.p + aux + 12);
			err = set_version(e, sut_le16(t.p + aux + 6), sut_le32(t.p + aux + 8), true);
			if (!step)
				break;
			aux += step;
		}
		if (err || !next)
			break;
		off += next;
	}
	return err;
}

/* ---- parsing ---- */

static int parse_relocations(struct sut_elf *e, const struct dyn_values *v, struct sut_dyn *d)
{
	uint64_t relasz = v->relasz;
	int err;

	if (v->rel || (v->jmprel && v->pltrelsz && v->pltrel != DT_RELA) || v->android)
		return sut_fail(e->ctx, SUTURE_EREFUSED, "%s has relocations of a kind that suture does not read (%s)",
				e->name, v->android ? "Android's packed ones" : "REL");
	if ((v->rela && v->relaent && v->relaent != RELA_SIZE) || (v->relr && v->relrent && v->relrent != 8))
		return sut_elf_damaged(e, "relocations of an unknown size");
	/* Some linkers count the PLT's relocations, which stand last, as part of DT_RELA as well. */
	if (v->jmprel > v->rela && v->jmprel - v->rela < relasz && v->pltrelsz == relasz - (v->jmprel - v->rela))
		relasz = v->jmprel - v->rela;
	err = take_table(e, "DT_RELA", v->rela, relasz, &d->rela);
	if (!err)
		err = take_table(e, "DT_JMPREL", v->jmprel, v->pltrelsz, &d->jmprel);
	if (!err)
		err = take_table(e, "DT_RELR", v->relr, v->relrsz, &d->relr);
	if (!err && (d->rela.len % RELA_SIZE || d->jmprel.len % RELA_SIZE || d->relr.len % 8))
		err = sut_elf_damaged(e, "a cut-off relocation");
	return err;
}

static int parse_symbols(struct sut_elf *e, const struct dyn_values *v, struct sut_dyn *d)
{
	int err = take_table(e, "DT_STRTAB", v->strtab, v->strsz, &d->str);

	if (err)
		return err;
	if (v->hash)
		d->hash = sut_elf_avail(e, v->hash);
	if (v->gnu_hash)
		d->gnu_hash = sut_elf_avail(e, v->gnu_hash);
	if ((v->hash && d->hash.len < 8) || (v->gnu_hash && d->gnu_hash.len < 16))
		return sut_elf_damaged(e, "the hash table of the dynamic symbols lies outside of the file");
	err = count_symbols(e, v, d);
	if (!err)
		err = take_table(e, "DT_VERSYM", v->versym, (uint64_t)d->nsym * 2, &d->versym);
	if (!err)
		err = read_verdef(e, v);
	if (!err)
		err = read_verneed(e, v);
	if (!err && v->has_soname) {
		e->soname = sut_str_at(d->str, v->soname);
		if (!e->soname)
			err = sut_elf_damaged(e, "DT_SONAME is no string");
	}
	return err;
}

int sut_dyn_parse(struct sut_elf *e, struct sut_bytes dynamic)
{
	struct sut_dyn *d = sut_elf_dyn(e);
	struct dyn_values v = { 0 };
	int err;

	for (size_t off = 0; sut_fits(off, sizeof(Elf64_Dyn), dynamic.len); off += sizeof(Elf64_Dyn)) {
		uint64_t tag = sut_le64(dynamic.p + off);

		if (tag == DT_NULL)
			break;
		take_value(&v, tag, sut_le64(dynamic.p + off + 8));
	}
	err = parse_symbols(e, &v, d);
	if (!err)
		err = parse_relocations(e, &v, d);
	if (err)
		return err;
	e->bind_now = v.bind_now || (v.flags & DF_BIND_NOW) || (v.flags_1 & DF_1_NOW);
	e->is_pie = e->type == ET_DYN && ((v.flags_1 & DF_1_PIE) || (e->interp && !e->soname));
	return 0;
}

void sut_dyn_free(struct sut_elf *e)
{
	struct sut_dyn *d = sut_elf_dyn(e);

	sut_vec_free(&d->version);
	memset(d, 0, sizeof(*d));
	e->soname = NULL;
}

/* ---- lookups ---- */

size_t sut_elf_dynsym_count(const struct sut_elf *e)
{
	return sut_elf_dyn(e)->nsym;
}

static struct sut_version version_of(const struct sut_dyn *d, size_t i, bool *ret_hidden)
{
	static const struct sut_version none;
	uint16_t v;

	*ret_hidden = false;
	if (!d->versym.p)
		return none;
	v = sut_le16(d->versym.p + i * 2);
	*ret_hidden = v & 0x8000;
	v &= SUT_VERSION_MAX;
	return v < d->version.n ? d->version.v[v] : none;
}

bool sut_elf_dynsym_get(const struct sut_elf *e, size_t i, struct sut_dynsym *ret)
{
	const struct sut_dyn *d = sut_elf_dyn(e);
	struct sut_dynsym s = { 0 };
	Elf64_Sym sym;

	if (i >= d->nsym)
		return false;
	memcpy(&sym, d->sym.p + i * SYM_SIZE, SYM_SIZE);
	s.name = sut_str_at(d->str, sym.st_name);
	if (!s.name)
		return false;
	s.version = version_of(d, i, &s.version_hidden).name;
	s.value = sym.st_value;
	s.size = sym.st_size;
	s.type = ELF64_ST_TYPE(sym.st_info);
	s.bind = ELF64_ST_BIND(sym.st_info);
	s.visibility = ELF64_ST_VISIBILITY(sym.st_other);
	s.shndx = sym.st_shndx;
	*ret = s;
	return true;
}

/* How well a symbol answers a request: 0 not at all, 1 as a fall-back, 2 exactly. */
static int match(const struct sut_elf *e, size_t i, const char *name, const char *version, struct sut_dynsym *ret)
{
	struct sut_dynsym s;

	if (!sut_elf_dynsym_get(e, i, &s) || strcmp(s.name, name))
		return 0;
	if (s.shndx == SHN_UNDEF || s.bind == STB_LOCAL || s.type == STT_SECTION || s.type == STT_FILE)
		return 0;
	*ret = s;
	if (!version)
		return s.version_hidden ? 0 : 2;
	if (s.version && !strcmp(s.version, version))
		return 2;
	return !s.version && !s.version_hidden;
}

static bool better(const struct sut_elf *e, size_t i, const char *name, const char *version, int *best,
		   struct sut_dynsym *ret)
{
	struct sut_dynsym s;
	int m = match(e, i, name, version, &s);

	if (m > *best) {
		*best = m;
		*ret = s;
	}
	return *best == 2;
}

static void find_by_gnu_hash(const struct sut_elf *e, const struct gnu_hash *h, const char *name, const char *version,
			     int *best, struct sut_dynsym *ret)
{
	uint32_t hash = gnu_hash_of(name);
	uint64_t bloom = sut_le64(h->bloom + (size_t)((hash / 64) & (h->bloom_size - 1)) * 8);
	uint64_t mask = (uint64_t)1 << (hash % 64) | (uint64_t)1 << ((hash >> (h->bloom_shift & 31)) % 64);
	uint32_t i;

	if ((bloom & mask) != mask)
		return;
	i = sut_le32(h->buckets + (size_t)(hash % h->nbuckets) * 4);
	if (i < h->symoffset)
		return;
	for (uint64_t c = i - h->symoffset; c < h->nchain; c++) {
		uint32_t word = sut_le32(h->chain + c * 4);

		if ((word | 1) == (hash | 1) && better(e, h->symoffset + c, name, version, best, ret))
			return;
		if (word & 1)
			return;
	}
}

/* False: the table is damaged; nothing was looked at. */
static bool find_by_sysv_hash(const struct sut_elf *e, const char *name, const char *version, int *best,
			      struct sut_dynsym *ret)
{
	struct sut_bytes t = sut_elf_dyn(e)->hash;
	uint64_t nbuckets = sut_le32(t.p), nchain = sut_le32(t.p + 4);
	uint32_t i;

	if (!nbuckets || 8 + (nbuckets + nchain) * 4 > t.len)
		return false;
	i = sut_le32(t.p + 8 + (sysv_hash_of(name) % nbuckets) * 4);
	for (uint64_t steps = 0; i && i < nchain && steps < nchain; steps++) {
		if (better(e, i, name, version, best, ret))
			break;
		i = sut_le32(t.p + 8 + (nbuckets + i) * 4);
	}
	return true;
}

bool sut_elf_dynsym(const struct sut_elf *e, const char *name, const char *version, struct sut_dynsym *ret)
{
	const struct sut_dyn *d = sut_elf_dyn(e);
	struct gnu_hash h;
	int best = 0;

	if (d->gnu_hash.p && gnu_hash_read(d->gnu_hash, &h)) {
		find_by_gnu_hash(e, &h, name, version, &best, ret);
		return best > 0;
	}
	if (d->hash.p && find_by_sysv_hash(e, name, version, &best, ret))
		return best > 0;
	for (size_t i = 1; i < d->nsym; i++)
		if (better(e, i, name, version, &best, ret))
			break;
	return best > 0;
}

const char *sut_elf_import_version(const struct sut_elf *e, const char *name)
{
	const struct sut_dyn *d = sut_elf_dyn(e);
	struct sut_dynsym s;
	bool hidden;

	for (size_t i = 1; i < d->nsym; i++) {
		/* What a COPY relocation brought in is defined here, with the version of another file. */
		if (sut_le16(d->sym.p + i * SYM_SIZE + offsetof(Elf64_Sym, st_shndx)) != SHN_UNDEF &&
		    !version_of(d, i, &hidden).needed)
			continue;
		if (sut_elf_dynsym_get(e, i, &s) && !strcmp(s.name, name))
			return s.version;
	}
	return NULL;
}
