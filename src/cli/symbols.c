/* SPDX-License-Identifier: MIT */
/*
 * symbols.c - suture symbols: which functions of a process can be patched, and why not the others.
 *
 * Reads files and memory of the process and stops nobody. The reasons are the ones for which the builder
 * or the planner would refuse the function; that they would accept it is not promised.
 */
#include <fnmatch.h>

#include "cli/cli.h"
#include "process/process.h"

/* One line of the answer. */
struct found {
	const struct sut_object *object;
	const struct sut_symbol *sym;
	char *why; /* why it can not be patched, or NULL */
	char *note; /* what is to be known about it, or NULL */
};
struct answer {
	SUT_VEC(struct found) v;
	const struct sut_object *stripped; /* one of which only exported symbols are known */
	size_t looked_at;
};

/* What the memory at an entry says: another tool's jump, a breakpoint, a patch. */
static bool changed_in_memory(struct suture_process *p, const struct sut_object *o, const struct sut_symbol *s,
			      const uint8_t *file, size_t len)
{
	uint8_t now[16];

	return len <= sizeof(now) && !sut_mem_read(sut_process_mem(p), s->value + o->bias, now, len) &&
	       memcmp(now, file, len);
}

/* Whether one of the names at its address is an IFUNC. */
static bool is_resolver(const struct sut_symtab *t, const struct sut_symbol *s)
{
	size_t n, first = sut_symtab_all_at(t, s->value, &n);

	for (size_t i = 0; i < n; i++)
		if (t->sym.v[first + i].type == STT_GNU_IFUNC)
			return true;
	return s->type == STT_GNU_IFUNC;
}

static char *why_not(const struct sut_object *o, const struct sut_symtab *t, const struct sut_symbol *s)
{
	const struct sut_arch *arch = o->elf->arch;
	const uint8_t *code;
	size_t skip;

	if (!arch)
		return sut_text("a machine that suture does not know");
	if (is_resolver(t, s))
		return sut_text("IFUNC resolver: it ran at start; patch the implementation that it chose");
	if (s->parent && strstr(s->name, ".cold"))
		return sut_text("part of %s: goes with it", s->parent->name);
	if (!s->size)
		return sut_text("has no size in the symbol table (assembler code?)");
	code = sut_elf_bytes(o->elf, s->value, s->size);
	if (!code)
		return sut_text("its bytes are not in the file");
	skip = arch->entry_skip(code, s->size);
	if (s->size < skip + arch->jump_size)
		return sut_text("too short: %llu bytes, a jump takes %zu%s", (unsigned long long)s->size,
				skip + arch->jump_size, skip ? " with its landing pad" : "");
	if (s->uncertain)
		return sut_text("the debug file has other bytes here");
	return NULL;
}

static char *what_to_know(struct suture_process *p, const struct sut_object *o, const struct sut_symtab *t,
			  const struct sut_symbol *s)
{
	const struct sut_arch *arch = o->elf->arch;
	const uint8_t *code = arch ? sut_elf_bytes(o->elf, s->value, s->size) : NULL;
	size_t n, first, len = code ? arch->entry_skip(code, s->size) + arch->jump_size : 0;

	if (code && len <= s->size && changed_in_memory(p, o, s, code, len))
		return sut_text("other bytes in memory than in the file: patched, or a breakpoint");
	if (s->parent)
		return sut_text("variant of %s", s->parent->name);
	first = sut_symtab_all_at(t, s->value, &n);
	for (size_t i = 0; i < n; i++)
		if (t->sym.v[first + i].type == s->type && strcmp(t->sym.v[first + i].name, s->name))
			return sut_text("same code as %s", t->sym.v[first + i].name);
	return NULL;
}

static int search_object(struct suture_process *p, struct sut_object *o, const char *glob, struct answer *a)
{
	struct sut_symtab *t;
	struct sut_elf *e;
	int err = sut_object_elf(p, o, &e);

	if (!err)
		err = sut_object_symtab(p, o, &t);
	if (err)
		return err;
	a->looked_at++;
	if (t->source == SUT_SYMS_DYNAMIC && (!a->stripped || o->is_main))
		a->stripped = o;
	for (size_t i = 0; i < t->sym.n; i++) {
		const struct sut_symbol *s = &t->sym.v[i];
		struct found f = { .object = o, .sym = s };

		if ((s->type != STT_FUNC && s->type != STT_GNU_IFUNC) || fnmatch(glob, s->name, 0))
			continue;
		f.why = why_not(o, t, s);
		f.note = f.why ? NULL : what_to_know(p, o, t, s);
		if (sut_vec_push(&a->v, f))
			sut_oom();
	}
	return 0;
}

static void answer_free(struct answer *a)
{
	for (size_t i = 0; i < a->v.n; i++) {
		free(a->v.v[i].why);
		free(a->v.v[i].note);
	}
	sut_vec_free(&a->v);
}

/* Whether another symbol of the object has the same name, so that its number must be said. */
static uint32_t position(const struct found *f)
{
	return sut_symtab_count(f->object->symtab, f->sym->name) > 1 ? f->sym->sympos : 0;
}

static void show(struct sut_cli *cli, const struct answer *a)
{
	static const struct sut_column cols[] = {
		{ .name = "OBJECT" },
		{ .name = "FUNCTION" },
		{ .name = "SIZE", .right = true },
		{ .name = "ADDRESS", .right = true },
		{ .name = "PATCH" },
		{ .name = "NOTE", .words = true },
	};
	struct sut_table *t = sut_table_create(cli, cols, SUT_ARRAY_SIZE(cols), 0);

	for (size_t i = 0; i < a->v.n; i++) {
		const struct found *f = &a->v.v[i];
		_cleanup_free_ char *object = sut_safe(f->object->name);
		_cleanup_free_ char *name = sut_text_func(f->sym->name, position(f));
		_cleanup_free_ char *size = sut_text("%llu", (unsigned long long)f->sym->size);
		_cleanup_free_ char *addr = sut_text("0x%llx", (unsigned long long)f->sym->value + f->object->bias);
		_cleanup_free_ char *text = sut_safe(f->why ? f->why : f->note ? f->note : "");
		const char *cells[] = { object, name, size, addr, f->why ? "no" : "yes", text };

		sut_table_line(t, 0, cells);
		sut_table_color(t, 4, f->why ? "red" : "green");
	}
	sut_table_print(t, true);
}

static void add_json(json_t *obj, const struct answer *a)
{
	json_t *array = sut_json_array(obj, "symbols");

	for (size_t i = 0; i < a->v.n; i++) {
		const struct found *f = &a->v.v[i];
		json_t *o = sut_json_object();

		sut_json_set(o, "object", sut_json_text(f->object->path));
		sut_json_set(o, "name", sut_json_text(f->sym->name));
		sut_json_set(o, "sympos", json_integer(f->sym->sympos));
		sut_json_set(o, "address", sut_json_hex(f->sym->value + f->object->bias));
		sut_json_set(o, "size", json_integer((json_int_t)f->sym->size));
		sut_json_set(o, "source", json_string(sut_symtab_source_name(f->object->symtab->source)));
		sut_json_set(o, "patch", json_boolean(!f->why));
		sut_json_set(o, "why", sut_json_text(f->why));
		sut_json_set(o, "note", sut_json_text(f->note));
		sut_json_add(array, o);
	}
}

static int nothing_found(struct sut_cli *cli, const struct answer *a, const char *who, const char *glob)
{
	int err = sut_fail(cli->ctx, SUTURE_ENOTFOUND, "no function of %s has a name like '%s'", who, glob);

	if (a->stripped)
		err = sut_hint(cli->ctx,
			       "%s is stripped, only its exported names are known: give its debug file with --debug",
			       a->stripped->path);
	return err;
}

static int symbols_one(struct sut_cli *cli, struct suture_process *p, const char *who, json_t *obj, void *arg)
{
	struct answer a = { 0 };
	int err = sut_process_refresh(p), last = 0;

	for (size_t i = 0; !err && i < p->obj.n; i++) {
		struct sut_object *o = &p->obj.v[i];
		int e = o->is_vdso ? 0 : search_object(p, o, arg, &a);

		/* The debug file that was given must fit; a library that can not be read only lacks in the list. */
		if (e && (o->is_main || cli->args.debug.n))
			err = e;
		else if (e)
			sut_note(cli, "%s", suture_ctx_error(cli->ctx)->message);
		last = e ? e : last;
	}
	if (!err && !a.looked_at)
		err = last;
	if (!err && !a.v.n)
		err = nothing_found(cli, &a, who, arg);
	sut_output_settle(cli);
	if (err)
		err = sut_cli_fail(cli, err, "", obj);
	else if (obj)
		add_json(obj, &a);
	else if (!cli->args.quiet) {
		if (sut_many_processes(cli))
			printf("%s:\n", who);
		show(cli, &a);
		if (a.stripped && a.stripped->is_main)
			sut_note(cli,
				 "%s is stripped, only its exported names are known: give its debug file with --debug",
				 a.stripped->path);
	}
	answer_free(&a);
	return err;
}

static int run_symbols(struct sut_cli *cli)
{
	static const struct sut_selection sel = { .patched = true, .none = "no running process is patched" };

	return sut_each_process(cli, &sel, symbols_one, (void *)cli->args.operand.v[0]);
}

static const struct sut_option options[] = {
	SUT_OPTIONS_PROCESSES("every patched process"),
	SUT_OPTION_DEBUG("debug file of a stripped object; can be given several times"),
	{ 0 },
};

const struct sut_command sut_cmd_symbols = {
	.name = "symbols",
	.operands = "GLOB",
	.summary = "show which functions of a process can be patched, and why not the others",
	.options = options,
	.min_operands = 1,
	.max_operands = 1,
	.run = run_symbols,
};
