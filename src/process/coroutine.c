/* SPDX-License-Identifier: MIT */
/*
 * coroutine.c - does a process hold code that switches stacks?
 *
 * Told by the names of functions: what an object imports, and what its symbol table names. Every C library defines
 * swapcontext(), so for those names only an import counts, or a definition inside of the program. A stripped file
 * with switching code of its own, under hidden names, is not seen; its threads are, while they stand on such a stack.
 * Only reads files.
 */
#include "process/internal.h"

/* Of <ucontext.h>: counted where they are imported, or part of the program. */
static const char *const ucontext[] = { "swapcontext", "makecontext", "setcontext" };

/* Counted wherever they are named: Boost.Context (and PHP, whose fibers are made of it), libucontext, QEMU, Ruby, and
 * libraries of coroutines. */
static const char *const switches[] = {
	"jump_fcontext",
	"ontop_fcontext",
	"make_fcontext",
	"bthread_jump_fcontext",
	"tb_context_jump",
	"libucontext_swapcontext",
	"libucontext_makecontext",
	"qemu_coroutine_new",
	"qemu_coroutine_switch",
	"coroutine_trampoline",
	"coroutine_transfer",
	"coro_transfer",
	"co_switch",
	"coctx_swap",
	"acosw",
	"mco_resume",
	"_mco_switch",
	"pth_spawn",
	"pth_mctx_set",
};

/*
 * libcrypto has makecontext() for jobs that an engine suspends by ASYNC_pause_job(). It is in most servers, engines
 * that do so are in hardly any: it counts only where somebody else imports that function.
 */
#define CRYPTO_LIBRARY "libcrypto.so"
#define CRYPTO_PAUSE   "ASYNC_pause_job"

static bool is_one_of(const char *const *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i], name))
			return true;
	return false;
}

/* What the symbols of one object say. */
struct names {
	const char *switcher; /* the first that counts */
	bool pauses; /* imports CRYPTO_PAUSE */
};

static void look_at(struct names *n, const char *name, bool imported, bool is_main)
{
	size_t len = strcspn(name, "@"); /* a version, in a symbol table */
	char plain[32];

	if (len >= sizeof(plain))
		return;
	memcpy(plain, name, len);
	plain[len] = '\0';
	n->pauses |= imported && !strcmp(plain, CRYPTO_PAUSE);
	if (n->switcher)
		return;
	if (is_one_of(switches, SUT_ARRAY_SIZE(switches), plain) ||
	    ((imported || is_main) && is_one_of(ucontext, SUT_ARRAY_SIZE(ucontext), plain)))
		n->switcher = name;
}

/* The file's own symbol tables, also the one of a debug file that has been opened. */
static void look_at_tables(struct names *n, const struct sut_elf *e, bool is_main)
{
	for (size_t i = 1; i < e->sec.n; i++) {
		const struct sut_section *s = &e->sec.v[i], *str;

		if (s->type != SHT_SYMTAB || !s->data || s->link >= e->sec.n || !e->is64)
			continue;
		str = &e->sec.v[s->link];
		if (!str->data || !str->size || str->data[str->size - 1])
			continue;
		for (size_t k = 0; k < s->size / sizeof(Elf64_Sym); k++) {
			Elf64_Sym es;

			memcpy(&es, s->data + k * sizeof(es), sizeof(es));
			if (es.st_name && es.st_name < str->size && ELF64_ST_TYPE(es.st_info) != STT_FILE)
				look_at(n, (const char *)str->data + es.st_name, es.st_shndx == SHN_UNDEF, is_main);
		}
	}
}

static void look_at_object(struct suture_process *p, struct sut_object *o, struct names *n)
{
	struct sut_elf *e;

	if (o->is_vdso)
		return;
	/* In doubt: what can not be looked at may switch. */
	if (sut_object_elf(p, o, &e)) {
		n->switcher = "a file that can not be read";
		return;
	}
	for (size_t i = 1; i < sut_elf_dynsym_count(e); i++) {
		struct sut_dynsym sym;

		if (sut_elf_dynsym_get(e, i, &sym))
			look_at(n, sym.name, sym.shndx == SHN_UNDEF, o->is_main);
	}
	look_at_tables(n, e, o->is_main);
	if (o->symtab && o->symtab->debug)
		look_at_tables(n, o->symtab->debug, o->is_main);
}

void sut_coroutines_find(struct suture_process *p)
{
	const struct sut_object *in = NULL, *crypto = NULL;
	const char *name = NULL, *crypto_name = NULL;
	struct sut_priv *pr = p->priv;
	bool pauses = false;

	if (pr->switchers_searched)
		return;
	for (size_t i = 0; i < p->obj.n && !in; i++) {
		struct sut_object *o = &p->obj.v[i];
		struct names n = { 0 };

		look_at_object(p, o, &n);
		if (!strncmp(o->name, CRYPTO_LIBRARY, sizeof(CRYPTO_LIBRARY) - 1)) {
			crypto = o;
			crypto_name = n.switcher;
			continue;
		}
		pauses |= n.pauses;
		if (n.switcher) {
			in = o;
			name = n.switcher;
		}
	}
	if (!in && pauses && crypto_name) {
		in = crypto;
		name = crypto_name;
	}
	pr->switches_stacks = in != NULL;
	pr->switchers_searched = true;
	if (in)
		sut_debug(p->ctx, "process %d switches stacks (%s in %s): all its memory will be looked through",
			  p->pid, name, in->path);
}
