/* SPDX-License-Identifier: MIT */
/*
 * inspect.c - suture inspect: what a patch file holds. The file is checked as apply would check it
 * (suture_patch_open), then its tables are shown. No process is looked at.
 */
#include "cli/cli.h"
#include "elf/elf.h"

struct symbols {
	SUT_VEC(GElf_Sym) sym;
	SUT_VEC(const char *) name;
};

static void symbols_free(struct symbols *s)
{
	sut_vec_free(&s->sym);
	sut_vec_free(&s->name);
}

/* The symbol table, by index. A damaged one has been refused before. */
static void read_symbols(const struct sut_elf *e, struct symbols *ret)
{
	const struct sut_section *tab = sut_elf_section(e, ".symtab");
	const struct sut_section *str = tab && tab->link < e->sec.n ? &e->sec.v[tab->link] : NULL;

	for (uint64_t off = 0; str && str->data && tab->data && sut_fits(off, sizeof(Elf64_Sym), tab->size);
	     off += sizeof(Elf64_Sym)) {
		Elf64_Sym sym;
		const char *name = "";

		memcpy(&sym, tab->data + off, sizeof(sym));
		if (sym.st_name < str->size && memchr(str->data + sym.st_name, 0, str->size - sym.st_name))
			name = (const char *)str->data + sym.st_name;
		if (sut_vec_push(&ret->sym, sym) || sut_vec_push(&ret->name, name))
			sut_oom();
	}
}

static uint64_t new_size(const struct symbols *s, const struct suture_file_func *f)
{
	return f->new_symbol < s->sym.n ? s->sym.v[f->new_symbol].st_size : 0;
}

static const char *object_name(const struct sut_patchfile *f, uint32_t i)
{
	const char *name = i < f->n_objects ? sut_patchfile_string(f, f->object[i].name) : "?";

	return *name ? name : "(executable)";
}

/* One symbol that apply looks up in the process: a late one of an object, or an undefined one. */
struct lookup {
	const char *object; /* NULL: as the dynamic linker would */
	char *name;
	uint32_t sympos;
};

/* ".suture.sym.<object>.<name>,<sympos>" */
static bool parse_late(const struct sut_patchfile *f, const char *name, struct lookup *ret)
{
	char *end, *comma;
	unsigned long object;

	if (strncmp(name, SUTURE_SYM_PREFIX, strlen(SUTURE_SYM_PREFIX)))
		return false;
	object = strtoul(name + strlen(SUTURE_SYM_PREFIX), &end, 10);
	if (*end != '.')
		return false;
	ret->object = object_name(f, object < UINT32_MAX ? (uint32_t)object : UINT32_MAX);
	ret->name = sut_text("%s", end + 1);
	comma = strrchr(ret->name, ',');
	ret->sympos = comma ? (uint32_t)strtoul(comma + 1, NULL, 10) : 0;
	if (comma)
		*comma = '\0';
	return true;
}

static bool lookup_of(const struct sut_patchfile *f, const struct symbols *s, size_t i, struct lookup *ret)
{
	const GElf_Sym *sym = &s->sym.v[i];

	*ret = (struct lookup){ 0 };
	if (sym->st_shndx == SUTURE_SHN_LIVEPATCH)
		return parse_late(f, s->name.v[i], ret);
	if (!i || sym->st_shndx != SHN_UNDEF || !*s->name.v[i])
		return false;
	ret->name = sut_text("%s", s->name.v[i]);
	return true;
}

/* The value of a key for people: seconds since the epoch become a date. */
static char *info_text(const struct sut_patchfile *f, const char *key)
{
	const char *value = sut_patchfile_info(f, key);
	char *end;
	unsigned long long n = value && *value ? strtoull(value, &end, 10) : 0;

	if (!strcmp(key, "created") && n && !*end)
		return sut_text_date(n);
	return sut_safe(value ? value : "");
}

static json_t *info_json(const struct sut_patchfile *f, const char *key)
{
	const char *value = sut_patchfile_info(f, key);
	char *end;
	unsigned long long n = value && *value ? strtoull(value, &end, 10) : 0;

	return !strcmp(key, "created") && n && !*end ? sut_json_time(n) : sut_json_text(value);
}

static void digest_text(const struct sut_elf *e, char *ret)
{
	const struct sut_section *d = sut_elf_section(e, SUTURE_SEC_DIGEST);

	*ret = '\0';
	if (d && d->data && d->size == SUT_DIGEST_SIZE)
		sut_hex(d->data, d->size, ret);
}

static void show_objects(struct sut_cli *cli, const struct sut_patchfile *f)
{
	static const struct sut_column cols[] = { { .name = "object" }, { .name = "build-id" } };
	struct sut_table *t = sut_table_create(cli, cols, SUT_ARRAY_SIZE(cols), 2);

	for (size_t i = 0; i < f->n_objects; i++) {
		const struct suture_file_object *o = &f->object[i];
		size_t n = o->build_id_len <= sizeof(o->build_id) ? o->build_id_len : 0;
		char hex[2 * sizeof(o->build_id) + 1], content[2 * sizeof(o->content) + 1];
		_cleanup_free_ char *name = sut_safe(object_name(f, (uint32_t)i));
		_cleanup_free_ char *id =
			n ? sut_text("%s", sut_hex(o->build_id, n, hex))
			  : sut_text("none; content %s", sut_hex(o->content, sizeof(o->content), content));
		const char *cells[] = { name, id };

		sut_table_line(t, 0, cells);
	}
	sut_table_print(t, true);
}

static void show_funcs(struct sut_cli *cli, const struct sut_patchfile *f, const struct symbols *s)
{
	static const struct sut_column cols[] = {
		{ .name = "object" },
		{ .name = "function" },
		{ .name = "size" },
		{ .name = "address", .right = true },
		{ .name = "notes", .words = true },
	};
	struct sut_table *t = sut_table_create(cli, cols, SUT_ARRAY_SIZE(cols), 2);

	for (size_t i = 0; i < f->n_funcs; i++) {
		const struct suture_file_func *x = &f->func[i];
		_cleanup_free_ char *object = sut_safe(object_name(f, x->object));
		_cleanup_free_ char *name = sut_text_func(sut_patchfile_string(f, x->old_name), x->old_sympos);
		_cleanup_free_ char *size = sut_text_sizes(x->old_size, new_size(s, x));
		_cleanup_free_ char *addr = sut_text("0x%llx", (unsigned long long)x->old_addr);
		_cleanup_free_ char *parts =
			x->n_ranges ? sut_text_count(x->n_ranges, "more part") : sut_text("%s", "");
		_cleanup_free_ char *notes = sut_text("%s%s%s", parts, x->n_ranges && x->flags ? ", " : "",
						      x->flags & SUTURE_FUNC_START_ONLY ? "runs only at start" : "");
		const char *cells[] = { object, name, size, addr, notes };

		sut_table_line(t, 0, cells);
	}
	sut_table_print(t, true);
}

/* How many symbols are looked up; which ones, only a curious reader wants to know. */
static void show_lookup_count(const struct sut_patchfile *f, const struct symbols *s)
{
	size_t late = 0, undefined = 0;

	for (size_t i = 0; i < s->sym.n; i++) {
		struct lookup l;

		if (!lookup_of(f, s, i, &l))
			continue;
		late += l.object != NULL;
		undefined += !l.object;
		free(l.name);
	}
	printf("  %zu symbols are looked up in these objects, %zu in any library (-v names them)\n", late, undefined);
}

static void show_lookups(struct sut_cli *cli, const struct sut_patchfile *f, const struct symbols *s)
{
	static const struct sut_column cols[] = { { .name = "looked up in" }, { .name = "symbol" } };
	struct sut_table *t = sut_table_create(cli, cols, SUT_ARRAY_SIZE(cols), 2);

	for (size_t i = 0; i < s->sym.n; i++) {
		struct lookup l;

		if (!lookup_of(f, s, i, &l))
			continue;
		_cleanup_free_ char *object = sut_safe(l.object ? l.object : "(any library)");
		_cleanup_free_ char *name = sut_text_func(l.name, l.sympos);
		const char *cells[] = { object, name };

		sut_table_line(t, 0, cells);
		free(l.name);
	}
	sut_table_print(t, true);
}

static void show(struct sut_cli *cli, const char *name, const struct sut_patchfile *f, const struct symbols *s)
{
	static const char *const keys[] = { "version", "format", "tool", "created" };
	char digest[2 * SUT_DIGEST_SIZE + 1];
	_cleanup_free_ char *funcs = sut_text_count(f->n_funcs, "function");
	_cleanup_free_ char *objects = sut_text_count(f->n_objects, "object");
	_cleanup_free_ char *size = sut_text_bytes(f->elf->image_size);

	printf("%s%s%s: %s in %s, %s, %s\n", sut_paint(cli, stdout, "bold"), name, sut_paint(cli, stdout, ""), funcs,
	       objects, f->elf->arch ? f->elf->arch->name : "unknown machine", size);
	for (size_t i = 0; i < SUT_ARRAY_SIZE(keys); i++) {
		_cleanup_free_ char *value = info_text(f, keys[i]);

		if (*value)
			printf("  %-8s  %s\n", keys[i], value);
	}
	digest_text(f->elf, digest);
	printf("  %-8s  %s\n\n", "digest", digest);
	show_objects(cli, f);
	putchar('\n');
	show_funcs(cli, f, s);
	putchar('\n');
	if (cli->args.verbose)
		show_lookups(cli, f, s);
	else
		show_lookup_count(f, s);
}

static json_t *object_json(const struct sut_patchfile *f, size_t i)
{
	const struct suture_file_object *x = &f->object[i];
	size_t n = x->build_id_len <= sizeof(x->build_id) ? x->build_id_len : 0;
	char hex[2 * sizeof(x->build_id) + 1];
	json_t *o = sut_json_object();

	sut_json_set(o, "name", sut_json_text(sut_patchfile_string(f, x->name)));
	sut_json_set(o, "build_id", n ? json_string(sut_hex(x->build_id, n, hex)) : json_null());
	sut_json_set(o, "content", json_string(sut_hex(x->content, sizeof(x->content), hex)));
	return o;
}

static json_t *func_json(const struct sut_patchfile *f, const struct symbols *s, const struct suture_file_func *x)
{
	json_t *o = sut_json_object(), *ranges;

	sut_json_set(o, "object", json_integer(x->object));
	sut_json_set(o, "name", sut_json_text(sut_patchfile_string(f, x->old_name)));
	sut_json_set(o, "sympos", json_integer(x->old_sympos));
	sut_json_set(o, "old_address", sut_json_hex(x->old_addr));
	sut_json_set(o, "old_size", json_integer((json_int_t)x->old_size));
	sut_json_set(o, "new_name", sut_json_text(x->new_symbol < s->name.n ? s->name.v[x->new_symbol] : NULL));
	sut_json_set(o, "new_size", json_integer((json_int_t)new_size(s, x)));
	sut_json_set(o, "start_only", json_boolean(x->flags & SUTURE_FUNC_START_ONLY));
	ranges = sut_json_array(o, "ranges");
	for (size_t i = 0; i < x->n_ranges && sut_fits(x->first_range, x->n_ranges, f->n_ranges); i++) {
		json_t *r = sut_json_object();

		sut_json_set(r, "address", sut_json_hex(f->range[x->first_range + i].addr));
		sut_json_set(r, "size", json_integer((json_int_t)f->range[x->first_range + i].size));
		sut_json_add(ranges, r);
	}
	return o;
}

static void add_json(struct sut_cli *cli, const char *name, const struct sut_patchfile *f, const struct symbols *s)
{
	static const char *const keys[] = { "version", "format", "tool", "created" };
	char digest[2 * SUT_DIGEST_SIZE + 1];
	json_t *array;

	sut_json_set(cli->doc, "name", sut_json_text(name));
	for (size_t i = 0; i < SUT_ARRAY_SIZE(keys); i++)
		sut_json_set(cli->doc, keys[i], info_json(f, keys[i]));
	sut_json_set(cli->doc, "arch", sut_json_text(f->elf->arch ? f->elf->arch->name : NULL));
	sut_json_set(cli->doc, "size", json_integer((json_int_t)f->elf->image_size));
	digest_text(f->elf, digest);
	sut_json_set(cli->doc, "digest", json_string(digest));
	array = sut_json_array(cli->doc, "objects");
	for (size_t i = 0; i < f->n_objects; i++)
		sut_json_add(array, object_json(f, i));
	array = sut_json_array(cli->doc, "functions");
	for (size_t i = 0; i < f->n_funcs; i++)
		sut_json_add(array, func_json(f, s, &f->func[i]));
	array = sut_json_array(cli->doc, "lookups");
	for (size_t i = 0; i < s->sym.n; i++) {
		struct lookup l;
		json_t *o;

		if (!lookup_of(f, s, i, &l))
			continue;
		o = sut_json_object();
		sut_json_set(o, "object", sut_json_text(l.object));
		sut_json_set(o, "name", sut_json_text(l.name));
		sut_json_set(o, "sympos", json_integer(l.sympos));
		sut_json_add(array, o);
		free(l.name);
	}
}

static int run_inspect(struct sut_cli *cli)
{
	const char *path = cli->args.operand.v[0];
	struct suture_patch *patch = NULL;
	struct sut_patchfile f = { 0 };
	struct symbols s = { 0 };
	int err = suture_patch_open(cli->ctx, path, NULL, &patch);

	if (!err)
		err = sut_patchfile_open(cli->ctx, path, &f);
	if (!err) {
		read_symbols(f.elf, &s);
		sut_output_settle(cli);
		if (cli->doc)
			add_json(cli, suture_patch_name(patch), &f, &s);
		else if (!cli->args.quiet)
			show(cli, suture_patch_name(patch), &f, &s);
	}
	symbols_free(&s);
	sut_patchfile_close(&f);
	suture_patch_close(patch);
	return err ? sut_cli_fail(cli, err, "", cli->doc) : 0;
}

const struct sut_command sut_cmd_inspect = {
	.name = "inspect",
	.operands = "F.sut",
	.summary = "show what a patch file holds",
	.min_operands = 1,
	.max_operands = 1,
	.complete = SUT_COMPLETE_FILE,
	.run = run_inspect,
};
