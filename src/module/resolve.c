/* SPDX-License-Identifier: MIT */
/*
 * resolve.c - global names to addresses, as the target's own dynamic linker sees them.
 *
 * What it already decided is taken over: a filled GOT slot of the object that wants the symbol is the answer
 * (interposition, plug-in scopes, COPY relocations and versions included), if the slot really names a
 * definition. Otherwise the search it would make: the executable, then the libraries in load order.
 * A library that was loaded by dlopen is only asked where it is alone in defining the name. An
 * IFUNC is never run: its choice is read from a slot of some object, or taken from our own process when
 * that runs the same libc.
 */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>

#include "module/module.h"
#include "module/resolve.h"

void sut_resolver_init(struct sut_resolver *r, struct suture_process *p)
{
	memset(r, 0, sizeof(*r));
	r->p = p;
}

void sut_resolver_deinit(struct sut_resolver *r)
{
	for (size_t i = 0; i < r->filled.n; i++)
		sut_vec_free(&r->filled.v[i].e);
	sut_vec_free(&r->filled);
	sut_vec_free(&r->tls);
	sut_vec_free(&r->order);
}

struct sut_elf *sut_resolver_elf(struct sut_resolver *r, struct sut_object *o)
{
	struct sut_elf *e;

	if (o->is_vdso)
		return NULL;
	if (!o->elf && sut_object_elf(r->p, o, &e)) {
		sut_debug(r->p->ctx, "%s: %s", o->path, suture_ctx_error(r->p->ctx)->message);
		return NULL;
	}
	return o->elf;
}

bool sut_object_dynamic(const struct sut_object *o, uint64_t *ret_vaddr, uint64_t *ret_size)
{
	size_t n;

	if (!o->elf || !o->elf->elf || elf_getphdrnum(o->elf->elf, &n))
		return false;
	for (size_t i = 0; i < n && i < 4096; i++) {
		GElf_Phdr ph;

		if (gelf_getphdr(o->elf->elf, (int)i, &ph) && ph.p_type == PT_DYNAMIC) {
			*ret_vaddr = ph.p_vaddr;
			*ret_size = ph.p_memsz;
			return true;
		}
	}
	return false;
}

/* ---- the places that the dynamic linker filled ---- */

struct fill_arg {
	struct sut_resolver *r;
	struct sut_filled_index *index;
};

static int add_filled(void *arg, const struct sut_dynrel *rel)
{
	struct fill_arg *a = arg;
	const struct sut_arch *arch = a->r->p->mem.arch;
	struct sut_filled f = { rel->symbol, rel->version, a->index->object->bias + rel->offset, rel->type,
				rel->addend };

	if (!rel->symbol && rel->type != arch->dyn_irelative && rel->type != arch->dyn_tpoff &&
	    rel->type != arch->dyn_dtpmod)
		return 0;
	return sut_vec_push(&a->index->e, f);
}

static int filled_cmp(const void *a, const void *b)
{
	const struct sut_filled *x = a, *y = b;
	int c = strcmp(x->symbol ? x->symbol : "", y->symbol ? y->symbol : "");

	return c ? c : x->addr < y->addr ? -1 : x->addr > y->addr;
}

int sut_resolver_filled(struct sut_resolver *r, struct sut_object *o, const struct sut_filled_index **ret)
{
	struct sut_filled_index *index = NULL, empty = { .object = o };
	int err;

	for (size_t i = 0; i < r->filled.n; i++)
		if (r->filled.v[i].object == o) {
			*ret = &r->filled.v[i];
			return 0;
		}
	if (sut_vec_push(&r->filled, empty))
		return sut_nomem(r->p->ctx);
	index = &r->filled.v[r->filled.n - 1];
	if (sut_resolver_elf(r, o)) {
		struct fill_arg arg = { r, index };

		err = sut_elf_dynrels(o->elf, add_filled, &arg);
		if (err == -ENOMEM)
			return sut_nomem(r->p->ctx);
		if (err) {
			/* An object whose relocations can not be read just tells nothing. */
			sut_debug(r->p->ctx, "%s: dynamic relocations: %s", o->path,
				  suture_ctx_error(r->p->ctx)->message);
			index->e.n = 0;
		}
	}
	if (index->e.n)
		qsort(index->e.v, index->e.n, sizeof(index->e.v[0]), filled_cmp);
	*ret = index;
	return 0;
}

/** The first place against @symbol, or the end. */
static size_t first_filled(const struct sut_filled_index *index, const char *symbol)
{
	size_t lo = 0, hi = index->e.n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(index->e.v[mid].symbol ? index->e.v[mid].symbol : "", symbol) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool is_symbol_slot(const struct sut_arch *arch, const struct sut_filled *f)
{
	return (f->type == arch->dyn_glob_dat || f->type == arch->dyn_jump_slot || f->type == arch->reloc_abs64) &&
	       f->addend == 0;
}

static bool same_version(const char *a, const char *b)
{
	return !a || !b || !strcmp(a, b);
}

/* ---- definitions ---- */

/** Whether @o defines @name so that another object can bind to it. */
static bool defines(struct sut_resolver *r, struct sut_object *o, const char *name, const char *version,
		    struct sut_dynsym *ret)
{
	const struct sut_symbol *s;
	struct sut_dynsym ds;
	struct sut_symtab *tab;

	if (!sut_resolver_elf(r, o))
		return false;
	if (sut_elf_dynsym(o->elf, name, version, &ds)) {
		*ret = ds;
		return ds.visibility != STV_HIDDEN && ds.visibility != STV_INTERNAL;
	}
	/* A static executable (PIE or not) exports nothing: its symbol table is all there is. */
	if (!o->is_main || o->elf->interp || sut_object_symtab(r->p, o, &tab))
		return false;
	for (uint32_t pos = 1; (s = sut_symtab_nth(tab, name, pos)) && s->bind == STB_LOCAL; pos++)
		;
	/* The linker makes the hidden names of a static libc local; one that there is once is not in doubt. */
	if (!s && sut_symtab_count(tab, name) == 1)
		s = sut_symtab_nth(tab, name, 1);
	if (!s || s->uncertain)
		return false;
	*ret = (struct sut_dynsym){
		.name = s->name, .value = s->value, .size = s->size, .type = s->type, .bind = s->bind, .shndx = s->shndx
	};
	return true;
}

/** What an answer must be: inside of its object. */
static int check_answer(struct sut_resolver *r, struct sut_object *o, const char *name, const struct sut_dynsym *ds,
			uint64_t *ret)
{
	uint64_t addr = o->bias + ds->value;

	if (ds->type == STT_TLS) {
		if (!sut_fits(ds->value, ds->size, o->elf->tls_memsz))
			return sut_fail(r->p->ctx, SUTURE_EREFUSED,
					"%s: thread-local %s lies outside of the object's block", o->path, name);
		*ret = ds->value;
		return 0;
	}
	if (ds->shndx == SHN_ABS) {
		*ret = ds->value; /* absolute symbols are not moved by the bias */
		return 0;
	}
	if (addr < o->start || !sut_fits(addr - o->start, ds->size, o->end - o->start))
		return sut_fail(r->p->ctx, SUTURE_EREFUSED, "%s: symbol %s lies outside of the object", o->path, name);
	if (ds->type == STT_GNU_IFUNC)
		return sut_resolver_ifunc(r, o, addr, name, ds->version, ret);
	*ret = addr;
	return 0;
}

/** The answer that @o's own filled slot gives; false: none that names a definition. */
static bool from_own_slot(struct sut_resolver *r, struct sut_object *o, const char *name, const char *version,
			  uint64_t *ret, struct sut_object **ret_object, struct sut_dynsym *ret_sym)
{
	const struct sut_filled_index *index;

	if (sut_resolver_filled(r, o, &index))
		return false;
	for (size_t i = first_filled(index, name); i < index->e.n; i++) {
		const struct sut_filled *f = &index->e.v[i];
		struct sut_object *def;
		struct sut_dynsym ds;
		uint64_t v;

		if (!f->symbol || strcmp(f->symbol, name))
			break;
		if (!is_symbol_slot(r->p->mem.arch, f) || !same_version(f->version, version) ||
		    sut_mem_read(&r->p->mem, f->addr, &v, sizeof(v)))
			continue;
		def = sut_process_object_at(r->p, v);
		/* A lazy slot leads into the object's own PLT, a hook to anything: neither is a definition. */
		if (!def || !defines(r, def, name, version, &ds) || ds.type == STT_TLS)
			continue;
		if (ds.type == STT_GNU_IFUNC ? v == def->bias + ds.value : v != def->bias + ds.value)
			continue;
		*ret = v;
		*ret_object = def;
		*ret_sym = ds;
		return true;
	}
	return false;
}

/* ---- the search ---- */

static int by_load_order(const void *a, const void *b)
{
	const struct sut_object *x = *(struct sut_object *const *)a, *y = *(struct sut_object *const *)b;

	if (x->is_main != y->is_main)
		return x->is_main ? -1 : 1;
	return x->load_order < y->load_order ? -1 : x->load_order > y->load_order;
}

/** Calls @fn with the name of each library that @o needs, until it says true. */
static bool each_needed(struct sut_resolver *r, struct sut_object *o, bool (*fn)(void *arg, const char *name),
			void *arg)
{
	struct sut_elf *e = sut_resolver_elf(r, o);
	uint64_t vaddr, size, strtab = 0, strsz = 0;
	const uint8_t *dyn, *str;

	if (!e || !sut_object_dynamic(o, &vaddr, &size) || !(dyn = sut_elf_bytes(e, vaddr, size)))
		return false;
	for (size_t off = 0; off + 16 <= size && sut_le64(dyn + off) != DT_NULL; off += 16) {
		if (sut_le64(dyn + off) == DT_STRTAB)
			strtab = sut_le64(dyn + off + 8);
		if (sut_le64(dyn + off) == DT_STRSZ)
			strsz = sut_le64(dyn + off + 8);
	}
	str = strtab ? sut_elf_bytes(e, strtab, strsz) : NULL;
	for (size_t off = 0; str && off + 16 <= size && sut_le64(dyn + off) != DT_NULL; off += 16) {
		uint64_t name = sut_le64(dyn + off + 8);

		if (sut_le64(dyn + off) == DT_NEEDED && name < strsz && memchr(str + name, 0, strsz - name) &&
		    fn(arg, (const char *)str + name))
			return true;
	}
	return false;
}

static bool is_called(struct sut_resolver *r, struct sut_object *o, const char *name)
{
	if (!strcmp(o->name, name) || !strcmp(o->path, name))
		return true;
	/* The file may have another name than the library; that is known once it is open. */
	return sut_resolver_elf(r, o) && o->elf->soname && !strcmp(o->elf->soname, name);
}

struct closure {
	struct sut_resolver *r;
	bool *seen; /* by place in the order */
	unsigned depth;
};

/** Marks a library, and what it needs. */
static bool mark(void *arg, const char *name)
{
	struct closure *c = arg;

	for (size_t i = 0; i < c->r->order.n; i++) {
		if (!is_called(c->r, c->r->order.v[i], name))
			continue;
		if (!c->seen[i] && c->depth < 64) {
			c->seen[i] = true;
			c->depth++;
			(void)each_needed(c->r, c->r->order.v[i], mark, c);
			c->depth--;
		}
		break;
	}
	return false;
}

static int make_order(struct sut_resolver *r)
{
	if (r->order.n)
		return 0;
	for (size_t i = 0; i < r->p->obj.n; i++)
		if (!r->p->obj.v[i].is_vdso && sut_vec_push(&r->order, &r->p->obj.v[i]))
			return sut_nomem(r->p->ctx);
	if (r->order.n)
		qsort(r->order.v, r->order.n, sizeof(r->order.v[0]), by_load_order);
	return 0;
}

struct wanted_name {
	struct sut_resolver *r;
	struct sut_object *o;
};

static bool same_library(void *arg, const char *name)
{
	struct wanted_name *w = arg;

	return is_called(w->r, w->o, name);
}

/**
 * Whether the object at place @i of the order is in everybody's scope: the executable, what it needs, and,
 * preloaded, all that stands before that. The rest came by dlopen.
 */
static int is_global(struct sut_resolver *r, size_t i, bool *ret)
{
	struct wanted_name w = { r, r->order.v[i] };
	struct closure c = { .r = r };

	*ret = true;
	if (i < r->n_global || !i || each_needed(r, r->order.v[0], same_library, &w))
		return 0;
	c.seen = calloc(r->order.n, sizeof(*c.seen));
	if (!c.seen)
		return sut_nomem(r->p->ctx);
	(void)each_needed(r, r->order.v[0], mark, &c);
	for (size_t k = 0; k < r->order.n; k++)
		if (c.seen[k])
			r->n_global = k + 1;
	free(c.seen);
	*ret = i < r->n_global;
	return 0;
}

/** Among the libraries from place @first on, which came by dlopen: that of @wanted_by's own scope, or the only one. */
static int search_local(struct sut_resolver *r, struct sut_object *wanted_by, size_t first, const char *name,
			const char *version, struct sut_object **ret_object, struct sut_dynsym *ret_sym)
{
	_cleanup_free_ bool *seen = calloc(r->order.n, sizeof(*seen));
	struct closure c = { .r = r, .seen = seen };
	struct sut_object *found = NULL, *second = NULL;

	if (!seen)
		return sut_nomem(r->p->ctx);
	if (wanted_by)
		(void)each_needed(r, wanted_by, mark, &c);
	for (size_t i = first; i < r->order.n; i++) {
		struct sut_object *o = r->order.v[i];
		struct sut_dynsym ds;

		if (!defines(r, o, name, version, &ds))
			continue;
		if (o == wanted_by || seen[i]) {
			*ret_object = o;
			*ret_sym = ds;
			return 0;
		}
		if (!found)
			*ret_sym = ds;
		second = found ? o : NULL;
		found = found ? found : o;
		if (second && !wanted_by)
			break;
	}
	if (second)
		return sut_fail(r->p->ctx, SUTURE_EREFUSED, "%s[%d]: both %s and %s, loaded by dlopen, define %s",
				r->p->comm, (int)r->p->pid, found->path, second->path, name);
	*ret_object = found;
	return 0;
}

static int search(struct sut_resolver *r, struct sut_object *wanted_by, const char *name, const char *version,
		  struct sut_object **ret_object, struct sut_dynsym *ret_sym)
{
	bool global;
	int err;

	for (size_t i = 0; i < r->order.n; i++) {
		struct sut_object *o = r->order.v[i];

		/* A library that can not be read might be the one. */
		if (!sut_resolver_elf(r, o))
			return sut_object_elf(r->p, o, &(struct sut_elf *){ NULL });
		if (!defines(r, o, name, version, ret_sym))
			continue;
		err = is_global(r, i, &global);
		if (err)
			return err;
		if (!global)
			return search_local(r, wanted_by, i, name, version, ret_object, ret_sym);
		*ret_object = o;
		return 0;
	}
	return sut_fail(r->p->ctx, SUTURE_ENOTFOUND, "%s[%d]: no loaded object defines %s%s%s", r->p->comm,
			(int)r->p->pid, name, version ? "@" : "", version ? version : "");
}

int sut_resolver_global(struct sut_resolver *r, struct sut_object *wanted_by, const char *name, const char *version,
			uint64_t *ret, struct sut_object **ret_object, struct sut_dynsym *ret_sym)
{
	struct sut_object *o = NULL;
	struct sut_dynsym ds;
	uint64_t addr;
	int err = make_order(r);

	if (err)
		return err;
	if (wanted_by && !sut_resolver_elf(r, wanted_by))
		wanted_by = NULL;
	if (!version && wanted_by)
		version = sut_elf_import_version(wanted_by->elf, name);
	if (!wanted_by || !from_own_slot(r, wanted_by, name, version, &addr, &o, &ds)) {
		err = search(r, wanted_by, name, version, &o, &ds);
		if (!err)
			err = check_answer(r, o, name, &ds, &addr);
		if (err)
			return err;
	}
	*ret = addr;
	if (ret_object)
		*ret_object = o;
	if (ret_sym)
		*ret_sym = ds;
	return 0;
}

int sut_resolve_global(struct suture_process *p, struct sut_object *wanted_by, const char *name, uint64_t *ret,
		       struct sut_object **ret_object, struct sut_dynsym *ret_sym)
{
	_cleanup_free_ char *plain = strdup(name);
	const char *version = NULL;
	struct sut_resolver r;
	char *at;
	int err;

	if (!plain)
		return sut_nomem(p->ctx);
	at = strchr(plain, '@');
	if (at) {
		*at++ = 0;
		version = *at == '@' ? at + 1 : at;
	}
	sut_resolver_init(&r, p);
	err = sut_resolver_global(&r, wanted_by, plain, version, ret, ret_object, ret_sym);
	sut_resolver_deinit(&r);
	return err;
}

uint64_t sut_resolver_canonical(struct sut_resolver *r, const char *name)
{
	struct sut_object *o;
	struct sut_dynsym ds;

	if (make_order(r) || !r->order.n || !r->order.v[0]->is_main)
		return 0;
	o = r->order.v[0];
	if (!sut_resolver_elf(r, o))
		return 0;
	for (size_t i = 1; i < sut_elf_dynsym_count(o->elf); i++)
		if (sut_elf_dynsym_get(o->elf, i, &ds) && ds.shndx == SHN_UNDEF && ds.value && ds.type == STT_FUNC &&
		    !strcmp(ds.name, name))
			return sut_in(o->start, o->end, o->bias + ds.value) ? o->bias + ds.value : 0;
	return 0;
}

/* ---- indirect functions ---- */

/** Whether @v is code of @o other than the resolver itself. */
static bool is_implementation(const struct sut_object *o, uint64_t v, uint64_t resolver)
{
	uint64_t link = v - o->bias;

	if (v == resolver || !sut_in(o->start, o->end, v))
		return false;
	for (size_t i = 0; i < o->elf->load.n; i++) {
		const struct sut_segment *s = &o->elf->load.v[i];

		if ((s->prot & 4) && link >= s->vaddr && link - s->vaddr < s->memsz)
			return true;
	}
	return false;
}

static bool ifunc_slot(struct sut_resolver *r, struct sut_object *in, struct sut_object *o, uint64_t resolver,
		       const char *name, const char *version, uint64_t *ret)
{
	const struct sut_arch *arch = r->p->mem.arch;
	const struct sut_filled_index *index;

	if (sut_resolver_filled(r, in, &index))
		return false;
	for (size_t i = 0; i < index->e.n; i++) {
		const struct sut_filled *f = &index->e.v[i];
		uint64_t v;

		if (f->symbol) {
			if (!name || strcmp(f->symbol, name) || !is_symbol_slot(arch, f) ||
			    !same_version(f->version, version))
				continue;
		} else if (in != o || f->type != arch->dyn_irelative || o->bias + (uint64_t)f->addend != resolver) {
			continue;
		}
		if (!sut_mem_read(&r->p->mem, f->addr, &v, sizeof(v)) && is_implementation(o, v, resolver)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

struct own_arg {
	const struct sut_elf *elf;
	uint64_t base;
	void *handle; /* NULL: not found */
};

/** Looks whether a library of our own process has the build-id. */
static int own_library(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct own_arg *a = arg;

	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		const uint8_t *p = (const uint8_t *)(info->dlpi_addr + ph->p_vaddr), *end = p + ph->p_memsz;

		while (ph->p_type == PT_NOTE && (size_t)(end - p) >= sizeof(ElfW(Nhdr))) {
			const ElfW(Nhdr) *n = (const void *)p;
			const uint8_t *name = p + sizeof(*n), *desc = name + SUT_ALIGN_UP((size_t)n->n_namesz, 4);

			if (n->n_type == NT_GNU_BUILD_ID && n->n_namesz == 4 && !memcmp(name, "GNU", 4) &&
			    n->n_descsz == a->elf->build_id_len && !memcmp(desc, a->elf->build_id, n->n_descsz)) {
				a->base = info->dlpi_addr;
				a->handle = dlopen(info->dlpi_name, RTLD_LAZY | RTLD_NOLOAD);
				return 1;
			}
			p = desc + SUT_ALIGN_UP((size_t)n->n_descsz, 4);
			if (p > end)
				break;
		}
	}
	return 0;
}

/** The same library in our own process, on the same processor, chose this. */
static bool own_choice(struct sut_object *o, uint64_t resolver, const char *name, const char *version, uint64_t *ret)
{
	struct own_arg arg = { .elf = o->elf };
	uint64_t v;

	if (!name || !o->elf->build_id_len || o->elf->arch != sut_arch_host())
		return false;
	dl_iterate_phdr(own_library, &arg);
	if (!arg.handle)
		return false;
	v = (uint64_t)(uintptr_t)(version ? dlvsym(arg.handle, name, version) : dlsym(arg.handle, name));
	dlclose(arg.handle);
	if (!v || !is_implementation(o, v - arg.base + o->bias, resolver))
		return false;
	*ret = v - arg.base + o->bias;
	return true;
}

int sut_resolver_ifunc(struct sut_resolver *r, struct sut_object *o, uint64_t resolver, const char *name,
		       const char *version, uint64_t *ret)
{
	int err = make_order(r);

	if (err)
		return err;
	if (ifunc_slot(r, o, o, resolver, name, version, ret))
		return 0;
	for (size_t i = 0; i < r->order.n; i++)
		if (r->order.v[i] != o && ifunc_slot(r, r->order.v[i], o, resolver, name, version, ret))
			return 0;
	if (own_choice(o, resolver, name, version, ret))
		return 0;
	sut_fail(r->p->ctx, SUTURE_EREFUSED,
		 "%s[%d]: %s of %s is an indirect function (IFUNC), and no object of the process has used it yet",
		 r->p->comm, (int)r->p->pid, name ? name : "a function", o->path);
	return sut_hint(r->p->ctx, "its resolver can not be run from outside; use a function that is not indirect");
}
