/* SPDX-License-Identifier: MIT */
/*
 * symbols.c - the module's undefined and late symbols, looked up when a relocation wants them.
 *
 * Undefined symbols go to the resolver (resolve.c), as the dynamic linker would. Late symbols name one
 * object: their link-time address stands in the .sut, or else the object's symbol table is asked
 * by name and position. What is found must lie inside that object. Only reads the target.
 */
#include <errno.h>

#include "module/priv.h"

static int resolve_undef(struct sut_module *m, struct mod_sym *s, uint32_t area)
{
	struct sut_mod_priv *pr = m->priv;
	struct sut_dynsym ds = { 0 };
	int err = sut_resolver_global(&pr->resolver, m->area.v[area].object, s->plain, s->version, &s->addr, &s->obj,
				      &ds);

	if (err == -SUTURE_ENOTFOUND && s->bind == STB_WEAK) {
		s->addr = 0;
		s->obj = NULL;
		return 0;
	}
	if (err == -SUTURE_ENOTFOUND) {
		/* A missing symbol makes the patch unfit; the process itself was found. */
		sut_fail(pr->ctx, SUTURE_EREFUSED, "%s: no object loaded in %s[%d] defines %s", m->elf->name,
			 m->p->comm, (int)m->p->pid, s->name);
		return sut_hint(pr->ctx, "a patch can use what the executable and its loaded libraries define");
	}
	if (err)
		return err;
	s->type = ds.type;
	s->size = ds.size;
	if (ds.type != STT_TLS && !s->obj->is_main) {
		uint64_t canonical = sut_resolver_canonical(&pr->resolver, s->plain);

		if (canonical)
			s->addr = canonical;
	}
	return 0;
}

/** Checks a late symbol against its object and turns it into an address. */
static int set_late(struct sut_module *m, struct mod_sym *s, uint64_t value, uint64_t size, uint8_t type)
{
	struct sut_mod_priv *pr = m->priv;
	struct sut_object *o = s->obj;
	uint64_t addr = o->bias + value;

	s->type = type;
	s->size = size;
	if (type == STT_TLS) {
		if (!sut_fits(value, size, o->elf->tls_memsz))
			return sut_fail(pr->ctx, SUTURE_EREFUSED,
					"%s: thread-local %s lies outside of the thread-local block of %s",
					m->elf->name, s->plain, o->path);
		s->addr = value;
		return 0;
	}
	if (addr < o->start || !sut_fits(addr - o->start, size, o->end - o->start))
		return sut_fail(pr->ctx, SUTURE_EREFUSED, "%s: %s (0x%llx, %llu bytes) lies outside of %s",
				m->elf->name, s->plain, (unsigned long long)value, (unsigned long long)size, o->path);
	if (type == STT_GNU_IFUNC)
		return sut_resolver_ifunc(&pr->resolver, o, addr, s->plain, NULL, &s->addr);
	s->addr = addr;
	return 0;
}

static int resolve_late(struct sut_module *m, struct mod_sym *s)
{
	struct sut_mod_priv *pr = m->priv;
	const struct sut_symbol *sym;
	struct sut_symtab *tab;
	struct sut_elf *elf;
	int err;

	s->obj = pr->env->object[s->object];
	if (!s->obj)
		return sut_fail(pr->ctx, SUTURE_EREFUSED, "%s: %s belongs to object %zu, which is not loaded",
				m->elf->name, s->plain, s->object);
	err = sut_object_elf(m->p, s->obj, &elf);
	if (err)
		return err;
	/* A thread-local's offset may well be 0; then its size says that it is given. */
	if (s->value || (s->type == STT_TLS && s->size))
		return set_late(m, s, s->value, s->size, s->type);
	err = sut_object_symtab(m->p, s->obj, &tab);
	if (err)
		return err;
	err = sut_symtab_find(tab, elf, s->plain, s->sympos, &sym);
	if (err == -SUTURE_ENOTFOUND) {
		sut_fail(pr->ctx, SUTURE_EREFUSED, "%s: %s has no symbol %s (position %u)", m->elf->name, s->obj->path,
			 s->plain, s->sympos);
		return sut_hint(pr->ctx, "symbols come from: %s; offer a debug file with --debug",
				sut_symtab_source_name(tab->source));
	}
	if (err)
		return err;
	if (sym->uncertain)
		return sut_fail(pr->ctx, SUTURE_EREFUSED, "%s: the debug file of %s differs from it in %s",
				m->elf->name, s->obj->path, s->plain);
	return set_late(m, s, sym->value, sym->size, sym->type);
}

/** A symbol that code of two areas uses must mean the same to both of their objects. */
static int resolve_again(struct sut_module *m, const struct mod_sym *s, uint32_t area)
{
	struct mod_sym other = *s;
	int err;

	other.bind = STB_WEAK; /* not to find it is an answer, too */
	err = resolve_undef(m, &other, area);
	if (err || (other.addr == s->addr && other.obj == s->obj && other.type == s->type))
		return err;
	sut_fail(m->priv->ctx, SUTURE_EREFUSED, "%s: %s is one thing in %s and another in %s", m->elf->name, s->name,
		 m->area.v[s->for_area].object->path, m->area.v[area].object->path);
	return sut_hint(m->priv->ctx, "give each object an undefined symbol of its own, or build a patch for each");
}

int sut_mod_resolve(struct sut_module *m, uint32_t sym, uint32_t area)
{
	struct mod_sym *s = &m->priv->sym.v[sym];
	int err = 0;

	if (s->resolved)
		return s->kind == MOD_SYM_UNDEF && s->for_area != area ? resolve_again(m, s, area) : 0;
	s->for_area = area;
	if (s->kind == MOD_SYM_UNDEF)
		err = resolve_undef(m, s, area);
	else if (s->kind == MOD_SYM_LATE)
		err = resolve_late(m, s);
	s->resolved = !err;
	return err;
}

uint64_t sut_mod_sym_addr(const struct sut_module *m, uint32_t sym, uint32_t area)
{
	const struct mod_sym *s = &m->priv->sym.v[sym];

	switch (s->kind) {
	case MOD_SYM_DEFINED:
		return m->area.v[m->priv->sec.v[s->sec].area].base + m->priv->sec.v[s->sec].off + s->value;
	case MOD_SYM_ABS:
		return s->value;
	case MOD_SYM_GOT:
		return m->area.v[area].base + m->priv->area[area].got_off;
	case MOD_SYM_UNDEF:
	case MOD_SYM_LATE:
		return s->addr;
	case MOD_SYM_NULL:
	case MOD_SYM_ELSEWHERE:
		break;
	}
	return 0;
}

int sut_mod_sym_tls(struct sut_module *m, uint32_t sym, struct sut_tls *ret)
{
	struct sut_mod_priv *pr = m->priv;
	const struct mod_sym *s = &pr->sym.v[sym];

	if (!s->obj || s->type != STT_TLS || (s->kind != MOD_SYM_UNDEF && s->kind != MOD_SYM_LATE))
		return sut_fail(pr->ctx, SUTURE_EREFUSED,
				"%s: %s is used as a thread-local variable, but is none of the target's", m->elf->name,
				sut_mod_symname(m, sym));
	return sut_resolver_tls(&pr->resolver, s->obj, ret);
}
