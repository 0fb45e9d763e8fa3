/* SPDX-License-Identifier: MIT */
/*
 * compdb.c - compile_commands.json, and the commands we make of it.
 *
 * The database is the ecosystem's record of how each file was compiled (CMake and Meson write it, bear
 * records it). Its paths are those of the machine and day of the build: where the tree has moved since, the
 * recorded root is found by matching the files' names, and compilations run in a mirror that
 * is laid out as recorded.
 *
 * A command is changed only where it must be: outputs go to our scratch directory, dependency files are not
 * written, paths into the tree become paths into the mirror (but never inside -D: those are contents).
 * Nothing here runs anything.
 */
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <sys/stat.h>

#include "diff/diff.h"

char *sut_path_clean(struct sut_pool *pool, const char *dir, const char *path)
{
	char *p = path[0] == '/' ? sut_pool_printf(pool, "%s", path) : sut_pool_printf(pool, "%s/%s", dir, path);
	char *out, *s;

	if (!p)
		return NULL;
	out = s = p;
	while (*s) {
		size_t n;

		while (*s == '/')
			s++;
		n = strcspn(s, "/");
		if (n == 2 && !memcmp(s, "..", 2)) {
			while (out > p && *--out != '/')
				;
		} else if (n && !(n == 1 && *s == '.')) {
			*out++ = '/';
			memmove(out, s, n);
			out += n;
		}
		s += n;
	}
	if (out == p)
		*out++ = '/';
	*out = '\0';
	return p;
}

const char *sut_path_below(const char *root, const char *path)
{
	size_t n = strlen(root);

	if (n == 1 && root[0] == '/')
		return path[0] == '/' ? path + 1 : NULL;
	if (strncmp(path, root, n) || (path[n] && path[n] != '/'))
		return NULL;
	return path[n] ? path + n + 1 : path + n;
}

/* ---- reading ---- */

static int push_arg(struct sut_diff *d, struct sut_command *c, size_t *cap, char *arg)
{
	size_t need = (size_t)c->argc + 2;

	if (need > *cap) {
		char **v = sut_pool_alloc(&d->pool, (need + 64) * sizeof(*v));

		if (!v)
			return sut_nomem(d->ctx);
		if (c->argc)
			memcpy(v, c->argv, (size_t)c->argc * sizeof(*v));
		c->argv = v;
		*cap = need + 64;
	}
	if (!arg)
		return sut_nomem(d->ctx);
	c->argv[c->argc++] = arg;
	c->argv[c->argc] = NULL;
	return 0;
}

/* Splits as a shell does: blanks, quotes, backslashes; nothing is expanded. */
static int split_command(struct sut_diff *d, struct sut_command *c, const char *s)
{
	char *word = sut_pool_alloc(&d->pool, strlen(s) + 1);
	size_t cap = 0, n = 0;
	bool in = false;
	char quote = 0;
	int err;

	if (!word)
		return sut_nomem(d->ctx);
	for (;; s++) {
		if (!*s || (!quote && strchr(" \t\r\n", *s))) {
			if (in) {
				err = push_arg(d, c, &cap, sut_pool_strndup(&d->pool, word, n));
				if (err)
					return err;
			}
			n = 0;
			in = false;
			if (!*s)
				return 0;
			continue;
		}
		in = true;
		if (quote != '\'' && *s == '\\' && s[1] && (!quote || strchr("\\\"$`\n", s[1])))
			word[n++] = *++s;
		else if (*s == quote)
			quote = 0;
		else if (!quote && (*s == '\'' || *s == '"'))
			quote = *s;
		else
			word[n++] = *s;
	}
}

static int bad_entry(struct sut_diff *d, size_t i, const char *what)
{
	(void)sut_fail(d->ctx, SUTURE_EREFUSED, "%s: entry %zu %s", d->db.path, i, what);
	return sut_hint(d->ctx, "it should be what CMake, Meson or bear write: an array of objects with directory, "
				"file, and command or arguments");
}

static int read_entry(struct sut_diff *d, size_t i, const json_t *e)
{
	const char *dir = json_string_value(json_object_get(e, "directory"));
	const char *file = json_string_value(json_object_get(e, "file"));
	const char *command = json_string_value(json_object_get(e, "command"));
	const json_t *args = json_object_get(e, "arguments");
	struct sut_command c = { 0 };
	size_t cap = 0, k;
	const json_t *arg;
	int err = 0;

	if (!dir || dir[0] != '/' || !file)
		return bad_entry(d, i, "has no absolute directory, or no file");
	c.dir = sut_path_clean(&d->pool, "/", dir);
	c.file = c.dir ? sut_path_clean(&d->pool, c.dir, file) : NULL;
	if (!c.file)
		return sut_nomem(d->ctx);
	if (json_is_array(args)) {
		json_array_foreach(args, k, arg)
		{
			if (!json_is_string(arg))
				return bad_entry(d, i, "has an argument that is no string");
			err = push_arg(d, &c, &cap,
				       sut_pool_strndup(&d->pool, json_string_value(arg), json_string_length(arg)));
			if (err)
				return err;
		}
	} else if (command) {
		err = split_command(d, &c, command);
	}
	if (err)
		return err;
	if (c.argc < 2)
		return bad_entry(d, i, "has no command");
	return sut_vec_push(&d->db.cmd, c) ? sut_nomem(d->ctx) : 0;
}

/* ---- where the tree was ---- */

static bool is_file(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISREG(st.st_mode);
}

/* The part of a recorded path that, taken off, leaves the name of a file of the tree. */
static const char *root_of(struct sut_diff *d, const char *file)
{
	for (const char *p = file; p; p = strchr(p + 1, '/')) {
		const char *full = sut_pool_printf(&d->pool, "%s%s", d->srcdir, p);

		if (full && is_file(full))
			return sut_pool_strndup(&d->pool, file, (size_t)(p - file));
	}
	return NULL;
}

static int find_root(struct sut_diff *d)
{
	char *given = NULL, cwd[PATH_MAX], real[PATH_MAX];
	SUT_VEC(const char *) root = { 0 };
	size_t best = 0, best_n = 0, step;

	if (getcwd(cwd, sizeof(cwd)))
		given = sut_path_clean(&d->pool, cwd, d->opts->srcdir);
	for (size_t i = 0; i < d->db.cmd.n; i++) {
		if (sut_path_below(d->srcdir, d->db.cmd.v[i].file))
			d->db.root = d->srcdir;
		else if (!d->db.root && given && sut_path_below(given, d->db.cmd.v[i].file))
			d->db.root = given;
	}
	if (d->db.root)
		return 0;
	step = d->db.cmd.n / 64 + 1;
	for (size_t i = 0; i < d->db.cmd.n; i += step) {
		const char *r = root_of(d, d->db.cmd.v[i].file);

		if (r && sut_vec_push(&root, r)) {
			sut_vec_free(&root);
			return sut_nomem(d->ctx);
		}
	}
	for (size_t i = 0; i < root.n; i++) {
		size_t n = 0;

		for (size_t k = 0; k < root.n; k++)
			n += !strcmp(root.v[i], root.v[k]);
		if (n > best_n) {
			best = i;
			best_n = n;
		}
	}
	d->db.root = best_n ? root.v[best] : NULL;
	sut_vec_free(&root);
	if (!d->db.root || !d->db.root[0]) {
		(void)sut_fail(d->ctx, SUTURE_EREFUSED, "%s names no file of the source tree %s", d->db.path,
			       d->srcdir);
		return sut_hint(d->ctx, "give the tree with -s, and the database of its build with -c");
	}
	d->db.moved = !realpath(d->db.root, real) || strcmp(real, d->srcdir);
	if (!d->db.moved)
		return 0;
	return sut_diff_note(d, "the commands were recorded in %s; compiled in a copy laid out that way", d->db.root);
}

static int add_outer(struct sut_diff *d, const char *dir)
{
	if (sut_path_below(d->db.root, dir) || !strcmp(dir, "/"))
		return 0;
	for (size_t i = 0; i < d->db.outer.n; i++)
		if (sut_path_below(d->db.outer.v[i], dir))
			return 0;
	return sut_vec_push(&d->db.outer, dir) ? sut_nomem(d->ctx) : 0;
}

int sut_compdb_read(struct sut_diff *d)
{
	const char *given = d->opts->compile_commands;
	json_error_t je;
	json_t *root, *e;
	size_t i;
	int err = 0;

	d->db.path = given ? given : sut_pool_printf(&d->pool, "%s/compile_commands.json", d->srcdir);
	if (!d->db.path)
		return sut_nomem(d->ctx);
	if (access(d->db.path, R_OK)) {
		(void)sut_fail(d->ctx, errno == ENOENT ? SUTURE_ENOTFOUND : errno, "cannot read %s: %s", d->db.path,
			       strerror(errno));
		return sut_hint(d->ctx,
				"record one with the build: bear -- make, cmake -DCMAKE_EXPORT_COMPILE_COMMANDS=ON, "
				"or meson; then name it with -c");
	}
	root = json_load_file(d->db.path, 0, &je);
	if (!root)
		return sut_refuse(d->ctx, "it should be what CMake, Meson or bear write", "%s:%d: not JSON: %s",
				  d->db.path, je.line, je.text);
	if (!json_is_array(root))
		err = sut_refuse(d->ctx, "it should be what CMake, Meson or bear write",
				 "%s: not an array of compile commands", d->db.path);
	json_array_foreach(root, i, e)
	{
		if (err)
			break;
		err = read_entry(d, i, e);
	}
	json_decref(root);
	if (!err && !d->db.cmd.n)
		err = sut_refuse(d->ctx, "it should be what CMake, Meson or bear write", "%s holds no compile command",
				 d->db.path);
	if (!err)
		err = find_root(d);
	for (i = 0; !err && i < d->db.cmd.n; i++) {
		d->db.cmd.v[i].rel = sut_path_below(d->db.root, d->db.cmd.v[i].file);
		err = add_outer(d, d->db.cmd.v[i].dir);
	}
	return err;
}

/* ---- commands of ours ---- */

const char *sut_command_refusal(const struct sut_command *c)
{
	const char *lto = NULL;

	for (int i = 1; i < c->argc; i++) {
		const char *a = c->argv[i];

		if (!strcmp(a, "-flto") || !strncmp(a, "-flto=", 6))
			lto = a;
		else if (!strcmp(a, "-fno-lto"))
			lto = NULL;
		else if (!strncmp(a, "-fprofile-use", 13) || !strncmp(a, "-fauto-profile", 14) ||
			 !strncmp(a, "-fprofile-instr-use", 19) || !strncmp(a, "-fprofile-sample-use", 20) ||
			 !strncmp(a, "-fbranch-probabilities", 22))
			return a;
	}
	return lto;
}

/* Options that name outputs of their own; *ret_skip: the next argument belongs to it. */
static bool drop_option(const char *a, enum sut_compile_kind kind, bool *ret_skip)
{
	static const char *const whole[] = { "-M", "-MM", "-MD", "-MMD", "-MP", "-MG", "-E", "-S", "-c" };

	*ret_skip = false;
	for (size_t i = 0; i < SUT_ARRAY_SIZE(whole); i++)
		if (!strcmp(a, whole[i]))
			return true;
	if (!strcmp(a, "-o") || !strcmp(a, "-MF") || !strcmp(a, "-MT") || !strcmp(a, "-MQ")) {
		*ret_skip = true;
		return true;
	}
	if (!strncmp(a, "-MF", 3) || !strncmp(a, "-MT", 3) || !strncmp(a, "-MQ", 3) || !strncmp(a, "-Wp,-M", 6))
		return true;
	if (!strncmp(a, "-o", 2) && a[2] && strncmp(a, "-object", 7))
		return true;
	if (!strncmp(a, "-save-temps", 11) || !strncmp(a, "--save-temps", 12))
		return true;
	return kind == SUT_COMPILE_SECTIONS && (!strcmp(a, "-gsplit-dwarf") || !strcmp(a, "-fdebug-types-section"));
}

static bool word_char(char c)
{
	return c == '_' || c == '-' || c == '.' || c == '+' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z');
}

/* @arg with every path at or below @root moved into the mirror. */
static char *move_paths(struct sut_diff *d, char *arg, const char *root, const char *mirror)
{
	size_t n = strlen(root);
	char *p = arg;

	while (p && (p = strstr(p, root))) {
		char *out;
		size_t at = (size_t)(p - arg);

		if ((p[n] && p[n] != '/' && word_char(p[n])) || (p > arg && (p[-1] == '/' || p[-1] == '.'))) {
			p++;
			continue;
		}
		out = sut_pool_printf(&d->pool, "%.*s%s%s", (int)at, arg, mirror, p);
		if (!out)
			return NULL;
		arg = out;
		p = arg + at + strlen(mirror) + n;
	}
	return arg;
}

static char *mirrored(struct sut_diff *d, char *arg, const char *mirror)
{
	if (!mirror || !strncmp(arg, "-D", 2))
		return arg;
	arg = move_paths(d, arg, d->db.root, mirror);
	for (size_t i = 0; arg && i < d->db.outer.n; i++)
		arg = move_paths(d, arg, d->db.outer.v[i], mirror);
	return arg;
}

char **sut_command_argv(struct sut_diff *d, const struct sut_command *c, enum sut_compile_kind kind, const char *mirror,
			const char *out)
{
	static const char *const sections[] = { "-ffunction-sections", "-fdata-sections", "-g", "-gdwarf-4" };
	char **v = sut_pool_alloc(&d->pool, ((size_t)c->argc + 20) * sizeof(*v));
	size_t n = 0, first = 1, end;
	bool skip, define = false;

	if (!v)
		return NULL;
	while ((int)first < c->argc && c->argv[first][0] != '-')
		first++; /* the compiler behind ccache, distcc ... */
	for (end = first; (int)end < c->argc && strcmp(c->argv[end], "--"); end++)
		;
	for (size_t i = 0; (int)i < c->argc; i++) {
		if (i == first && mirror)
			v[n++] = sut_pool_printf(&d->pool, "-ffile-prefix-map=%s=", mirror);
		if (i == end)
			break;
		if (i >= first && drop_option(c->argv[i], kind, &skip)) {
			i += skip;
			continue;
		}
		v[n++] = define ? c->argv[i] : mirrored(d, c->argv[i], mirror);
		define = i >= first && !strcmp(c->argv[i], "-D");
	}
	if (mirror && mirror == d->mirror_p) { /* to see that it read the patched files */
		v[n++] = (char *)(uintptr_t) "-MD";
		v[n++] = (char *)(uintptr_t) "-MF";
		v[n++] = sut_pool_printf(&d->pool, "%s.d", out);
	}
	for (size_t i = 0; kind == SUT_COMPILE_SECTIONS && i < SUT_ARRAY_SIZE(sections); i++)
		v[n++] = (char *)(uintptr_t)sections[i];
	/* Without optimisation gcc keeps strings in one heap with all else that is constant. */
	if (kind == SUT_COMPILE_SECTIONS && c->gcc)
		v[n++] = (char *)(uintptr_t) "-fmerge-constants";
	v[n++] = (char *)(uintptr_t)(kind == SUT_COMPILE_DEPS ? "-M" : "-c");
	v[n++] = (char *)(uintptr_t)(kind == SUT_COMPILE_DEPS ? "-MF" : "-o");
	v[n++] = sut_pool_strndup(&d->pool, out, strlen(out));
	for (size_t i = end; (int)i < c->argc; i++)
		v[n++] = mirrored(d, c->argv[i], mirror);
	for (size_t i = 0; i < n; i++)
		if (!v[i])
			return NULL;
	return v;
}
