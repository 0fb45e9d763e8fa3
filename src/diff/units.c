/* SPDX-License-Identifier: MIT */
/*
 * units.c - which translation units a difference reaches, and which of them the targets hold.
 *
 * A unit is reached directly, by its own source file, or through a file that it includes; the
 * latter is asked of the compiler itself (-M), and only when the text of some source names the file.
 * Databases list files more than once (static and shared, library and program): each command is
 * compiled, and the object that the target's bytes agree with decides.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "diff/diff.h"

#define TEXT_MAX (8u << 20)

static bool has_ending(const char *path, const char *const *endings, size_t n)
{
	const char *dot = strrchr(path, '.');

	for (size_t i = 0; dot && i < n; i++)
		if (!strcmp(dot, endings[i]))
			return true;
	return false;
}

static bool is_assembler(const char *path)
{
	static const char *const endings[] = { ".S", ".s", ".asm", ".sx" };

	return has_ending(path, endings, SUT_ARRAY_SIZE(endings));
}

static bool is_source(const char *path)
{
	static const char *const endings[] = { ".c", ".cc", ".cpp", ".cxx", ".C", ".c++", ".m" };

	return has_ending(path, endings, SUT_ARRAY_SIZE(endings));
}

static bool may_include(const char *path)
{
	static const char *const endings[] = { ".h",   ".hh",  ".hpp", ".hxx", ".inc", ".inl", ".def", ".tbl",
					       ".ipp", ".tcc", ".x",   ".in",  ".gen", ".y",   ".l" };

	return is_source(path) || has_ending(path, endings, SUT_ARRAY_SIZE(endings));
}

/* ---- who names a file ---- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Whether some line "#include ... name" stands in the text. */
static bool includes(const char *text, size_t len, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = text; (p = memmem(p, len - (size_t)(p - text), name, n)); p++) {
		const char *bol = p;

		if (p > text && !strchr("\"</", p[-1]))
			continue;
		while (bol > text && bol[-1] != '\n')
			bol--;
		while (*bol == ' ' || *bol == '\t')
			bol++;
		if (*bol == '#')
			return true;
	}
	return false;
}

/* Looks through all sources below @dir for an inclusion of a file in question; marks those found. */
static int search_dir(struct sut_diff *d, const char *dir, bool *named)
{
	DIR *dp = opendir(dir);
	struct dirent *e;
	int err = 0;

	if (!dp)
		return 0;
	while (!err && (e = readdir(dp))) {
		char *path = sut_pool_printf(&d->pool, "%s/%s", dir, e->d_name);
		struct stat st;

		if (!path)
			err = sut_nomem(d->ctx);
		else if (e->d_name[0] == '.' || lstat(path, &st))
			continue;
		else if (S_ISDIR(st.st_mode))
			err = search_dir(d, path, named);
		else if (S_ISREG(st.st_mode) && may_include(path)) {
			_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
			char *text;
			size_t len;

			if (fd < 0 || sut_read_fd(fd, TEXT_MAX, &text, &len))
				continue;
			for (size_t i = 0; i < d->file.n; i++)
				if (!named[i] && d->file.v[i].rel)
					named[i] = includes(text, len, base_name(d->file.v[i].rel));
			free(text);
		}
	}
	closedir(dp);
	return err;
}

static bool named_in_command(const struct sut_diff *d, const char *rel)
{
	for (size_t i = 0; i < d->db.cmd.n; i++)
		for (int k = 1; k < d->db.cmd.v[i].argc; k++) {
			const char *a = d->db.cmd.v[i].argv[k];

			if ((!strcmp(a, "-include") || !strcmp(a, "-imacros")) && k + 1 < d->db.cmd.v[i].argc &&
			    !strcmp(base_name(d->db.cmd.v[i].argv[k + 1]), base_name(rel)))
				return true;
		}
	return false;
}

/* ---- what the compiler says ---- */

/* One dependency of a command: if it is a file of the difference, the command is reached. */
static int depends_on(struct sut_diff *d, struct sut_command *c, const char *word)
{
	char *path = sut_path_clean(&d->pool, c->dir, word);
	const char *rel;

	if (!path)
		return sut_nomem(d->ctx);
	if (d->mirror_o && sut_path_below(d->mirror_o, path))
		path += strlen(d->mirror_o);
	rel = sut_path_below(d->db.root, path);
	if (!rel)
		rel = sut_path_below(d->srcdir, path);
	for (size_t i = 0; rel && i < d->file.n; i++) {
		struct sut_diff_file *f = &d->file.v[i];

		if (!f->rel || strcmp(f->rel, rel))
			continue;
		f->relevant = true;
		if (!c->reached && (!c->rel || strcmp(c->rel, rel)))
			c->via = f->rel;
		c->reached = true;
	}
	return 0;
}

/* A rule as make reads it: "a.o: b.c \ c.h"; blanks in names are escaped. */
static int read_deps(struct sut_diff *d, struct sut_command *c, const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text, *p, word[4096];
	size_t len, n = 0;
	int err = fd < 0 ? -errno : sut_read_fd(fd, TEXT_MAX, &text, &len);

	if (err)
		return sut_fail(d->ctx, -err, "cannot read %s: %s", path, strerror(-err));
	for (p = text; !err; p++) {
		if (*p == '\\' && (p[1] == '\n' || p[1] == ' ' || p[1] == '#')) {
			if (*++p != '\n' && n < sizeof(word) - 1)
				word[n++] = *p;
		} else if (*p == '$' && p[1] == '$') {
			continue;
		} else if (*p && !isspace((unsigned char)*p)) {
			if (n < sizeof(word) - 1)
				word[n++] = *p;
		} else {
			word[n] = '\0';
			if (n && word[n - 1] != ':')
				err = depends_on(d, c, word);
			n = 0;
			if (!*p)
				break;
		}
	}
	free(text);
	return err;
}

static int ask_compilers(struct sut_diff *d)
{
	struct sut_job *job = sut_pool_alloc(&d->pool, d->db.cmd.n * sizeof(*job));
	int err = 0;

	if (!job)
		return sut_nomem(d->ctx);
	if (d->db.moved && !d->mirror_o)
		err = sut_mirror_make(d, "o", false, false, &d->mirror_o);
	for (size_t i = 0; !err && i < d->db.cmd.n; i++) {
		const struct sut_command *c = &d->db.cmd.v[i];
		const char *mirror = d->db.moved ? d->mirror_o : NULL;
		char *out = sut_pool_printf(&d->pool, "%s/deps%zu", d->scratch, i);

		if (!out)
			return sut_nomem(d->ctx);
		job[i].argv = sut_command_argv(d, c, SUT_COMPILE_DEPS, mirror, out);
		job[i].dir = mirror ? sut_pool_printf(&d->pool, "%s%s", mirror, c->dir) : c->dir;
		job[i].log = sut_pool_printf(&d->pool, "%s.log", out);
		job[i].what = c->file;
		if (!job[i].argv || !job[i].dir || !job[i].log)
			return sut_nomem(d->ctx);
	}
	if (!err)
		err = sut_run(d, "dependencies", job, d->db.cmd.n);
	for (size_t i = 0; !err && i < d->db.cmd.n; i++) {
		if (job[i].status) {
			(void)sut_run_fail(d, &job[i]);
			return sut_hint(d->ctx, "whether this file includes a changed one is not known; build the tree "
						"once, so that generated files exist");
		}
		err = read_deps(d, &d->db.cmd.v[i], sut_pool_printf(&d->pool, "%s/deps%zu", d->scratch, i));
	}
	return err;
}

/* ---- reach ---- */

static int check_file(struct sut_diff *d, struct sut_diff_file *f, bool compiled)
{
	if (is_assembler(f->rel)) {
		(void)sut_fail(d->ctx, SUTURE_EREFUSED, "%s: assembler code can not be compared function by function",
			       f->rel);
		return sut_hint(d->ctx, "take it out of the difference, if the fix works without it");
	}
	if (compiled && (f->is_deleted || f->new_rel))
		return sut_refuse(d->ctx, "keep the file under its name",
				  "%s is compiled, and the difference %s it; there is no command for what it becomes",
				  f->rel, f->is_deleted ? "deletes" : "renames");
	if (compiled && f->binary)
		return sut_refuse(d->ctx, "only text can be compared", "%s: the difference is binary", f->rel);
	if (f->is_new && is_source(f->rel) && !compiled) {
		d->new_sources = true;
		return sut_diff_note(d, "%s is new and has no compile command: not compiled", f->rel);
	}
	return 0;
}

/* Files that are units themselves; in @named the others, which only inclusion can reach. */
static int reach_directly(struct sut_diff *d, bool *named, size_t *ret_located)
{
	size_t located = 0;

	for (size_t i = 0; i < d->file.n; i++) {
		struct sut_diff_file *f = &d->file.v[i];
		bool compiled = false;
		int err;

		if (!f->rel) {
			err = sut_diff_note(d, "%s is not in the source tree: ignored",
					    f->new_path   ? f->new_path
					    : f->old_path ? f->old_path
							  : "a file");
			if (err)
				return err;
			continue;
		}
		located++;
		for (size_t k = 0; k < d->db.cmd.n; k++) {
			struct sut_command *c = &d->db.cmd.v[k];

			if (c->rel && !strcmp(c->rel, f->rel))
				c->reached = compiled = f->relevant = true;
		}
		err = check_file(d, f, compiled);
		if (err)
			return err;
		named[i] = named_in_command(d, f->rel);
	}
	*ret_located = located;
	return 0;
}

static int note_unreached(struct sut_diff *d)
{
	for (size_t i = 0; i < d->file.n; i++) {
		const struct sut_diff_file *f = &d->file.v[i];
		int err;

		if (!f->rel || f->relevant || f->is_new)
			continue;
		err = sut_diff_note(d, "%s is not compiled: ignored", f->rel);
		if (err)
			return err;
	}
	return 0;
}

int sut_units_reach(struct sut_diff *d)
{
	bool *named = sut_pool_alloc(&d->pool, d->file.n + 1), ask = false;
	size_t located = 0, reached = 0;
	int err;

	if (!named)
		return sut_nomem(d->ctx);
	err = reach_directly(d, named, &located);
	if (!err && !located) {
		(void)sut_fail(d->ctx, SUTURE_EREFUSED, "no file of %s is in the source tree %s", d->file.v[0].diff,
			       d->srcdir);
		return sut_hint(d->ctx, "its first path is %s; give the tree it belongs to with -s",
				d->file.v[0].new_path ? d->file.v[0].new_path : d->file.v[0].old_path);
	}
	if (!err)
		err = search_dir(d, d->srcdir, named);
	for (size_t i = 0; i < d->file.n; i++)
		ask = ask || (named[i] && d->file.v[i].rel && !d->file.v[i].is_new);
	if (!err && ask)
		err = ask_compilers(d);
	if (!err)
		err = note_unreached(d);
	for (size_t i = 0; i < d->db.cmd.n; i++)
		reached += d->db.cmd.v[i].reached;
	if (!err && !reached) {
		(void)sut_fail(d->ctx, SUTURE_EREFUSED, "no compiled file of %s is touched by the difference",
			       d->db.path);
		return sut_hint(d->ctx, "nothing was compared, so nothing is said about the change; see the notes");
	}
	return err;
}

/* ---- compiling ---- */

static const char *mirror_for(const struct sut_diff *d, char which)
{
	switch (which) {
	case 'v':
		return d->db.moved ? d->mirror_o : NULL;
	case 'o':
		return d->mirror_o;
	default:
		return d->mirror_p;
	}
}

/* The file that holds one object of a command: kept by the user's wish, else scratch. */
static const char *object_path(struct sut_diff *d, const struct sut_command *c, char which)
{
	const char *dir = d->opts->keep ? d->opts->keep : d->scratch;
	char *name = sut_pool_printf(&d->pool, "%s", c->rel ? c->rel : base_name(c->file));

	for (char *p = name; p && *p; p++)
		if (*p == '/')
			*p = '_';
	return name ? sut_pool_printf(&d->pool, "%s/%s.%zu.%s.o", dir, name, (size_t)(c - d->db.cmd.v),
				      which == 'v'   ? "v"
				      : which == 'o' ? "orig"
				      : which == 'p' ? "patched"
						     : "vp")
		    : NULL;
}

static int make_job(struct sut_diff *d, const struct sut_command *c, char which, struct sut_job *ret)
{
	const char *mirror = mirror_for(d, which), *out = object_path(d, c, which);
	bool plain = which == 'v' || which == 'q';

	if (!out)
		return sut_nomem(d->ctx);
	ret->argv = sut_command_argv(d, c, plain ? SUT_COMPILE_PLAIN : SUT_COMPILE_SECTIONS, mirror, out);
	ret->dir = mirror ? sut_pool_printf(&d->pool, "%s%s", mirror, c->dir) : c->dir;
	ret->log = sut_pool_printf(&d->pool, "%s/%zu.%c.log", d->scratch, (size_t)(c - d->db.cmd.v), which);
	ret->what = c->rel ? c->rel : c->file;
	return ret->argv && ret->dir && ret->log ? 0 : sut_nomem(d->ctx);
}

static int open_object(struct sut_diff *d, const struct sut_command *c, char which, struct sut_ofile **ret)
{
	const char *path = object_path(d, c, which);
	const char *name = sut_pool_printf(&d->pool, "%s (%s)", c->rel ? c->rel : c->file,
					   which == 'p' || which == 'q' ? "patched" : "original");
	int err;

	if (!path || !name)
		return sut_nomem(d->ctx);
	err = sut_ofile_open(d->ctx, &d->pool, path, name, ret);
	if (err)
		return err;
	if (sut_vec_push(&d->ofile, *ret)) {
		sut_ofile_close(*ret);
		return sut_nomem(d->ctx);
	}
	if ((*ret)->lto) {
		(void)sut_fail(d->ctx, SUTURE_EREFUSED,
			       "%s is compiled for link-time optimisation; the code in the "
			       "target was made by the linker, from all units at once",
			       name);
		return sut_hint(d->ctx, "only targets built without -flto can be patched from their source");
	}
	return 0;
}

static bool same_command(const struct sut_command *a, const struct sut_command *b)
{
	int i = 0, k = 0;

	if (strcmp(a->dir, b->dir) || strcmp(a->file, b->file))
		return false;
	for (;; i++, k++) {
		if (i < a->argc && !strcmp(a->argv[i], "-o"))
			i += 2;
		if (k < b->argc && !strcmp(b->argv[k], "-o"))
			k += 2;
		if (i >= a->argc || k >= b->argc)
			return i >= a->argc && k >= b->argc;
		if (strcmp(a->argv[i], b->argv[k]))
			return false;
	}
}

static int refuse_command(struct sut_diff *d, const struct sut_command *c, const char *option)
{
	(void)sut_fail(d->ctx, SUTURE_EREFUSED, "%s is compiled with %s: its code depends on more than its source",
		       c->rel ? c->rel : c->file, option);
	return sut_hint(d->ctx, "only targets built without link-time and profile-guided optimisation can be patched "
				"from their source");
}

/* ---- which objects a target holds ---- */

static bool in_target(const struct sut_unit *u)
{
	if (u->n_verified && u->n_verified >= u->n_mismatched)
		return true;
	if (u->file_known && u->n_verified + u->n_mismatched)
		return true;
	if (u->target->file.n && u->v->source) /* the target names its files, and this is none of them */
		return false;
	return u->n_globals && u->n_globals_present == u->n_globals;
}

static bool prefers_pic(const struct sut_command *c)
{
	for (int i = 1; i < c->argc; i++)
		if (!strcmp(c->argv[i], "-fPIC") || !strcmp(c->argv[i], "-fpic"))
			return true;
	return false;
}

/* Whether unit @a explains the target better than @b. */
static bool better(const struct sut_unit *a, const struct sut_unit *b)
{
	if (!b)
		return true;
	if (a->n_mismatched != b->n_mismatched)
		return a->n_mismatched < b->n_mismatched;
	if (a->n_verified != b->n_verified)
		return a->n_verified > b->n_verified;
	return a->target->library && prefers_pic(a->cmd) && !prefers_pic(b->cmd);
}

/* Where in the target the first function of a unit lies. */
static uint64_t first_address(const struct sut_unit *u)
{
	uint64_t addr;

	for (size_t i = 0; i < u->v->atom.n; i++)
		if (u->v->atom.v[i]->verdict == SUT_VERIFIED && sut_atom_is_func(u->v->atom.v[i]) &&
		    sut_atom_address(u->v->atom.v[i], &addr))
			return addr;
	return 0;
}

static int sibling(struct sut_diff *d, const struct sut_unit *a, const struct sut_unit *b)
{
	(void)sut_fail(d->ctx, SUTURE_EREFUSED,
		       "%s is compiled twice, differently, and both objects are in %s (at %#llx and %#llx)", a->name,
		       a->target->shown, (unsigned long long)first_address(a), (unsigned long long)first_address(b));
	return sut_hint(d->ctx, "a database with only the command of one of them (-c) says which is meant");
}

/* Of all commands for one file the one whose object the target holds. */
static int choose(struct sut_diff *d, size_t first, struct sut_target *t, const bool *failed)
{
	struct sut_unit *best = NULL;
	const struct sut_command *c0 = &d->db.cmd.v[first];
	int err;

	for (size_t i = first; i < d->db.cmd.n; i++) {
		struct sut_command *c = &d->db.cmd.v[i];
		struct sut_unit *u;
		bool again = false;

		if (!c->reached || failed[i] || strcmp(c->file, c0->file))
			continue;
		for (size_t k = first; k < i; k++)
			again = again || (d->db.cmd.v[k].reached && same_command(&d->db.cmd.v[k], c));
		if (again)
			continue;
		u = sut_pool_alloc(&d->pool, sizeof(*u));
		if (!u)
			return sut_nomem(d->ctx);
		*u = (struct sut_unit){ .d = d, .cmd = c, .target = t, .name = c->rel ? c->rel : c->file };
		err = open_object(d, c, 'v', &u->v);
		if (err)
			return err;
		u->v->unit = u;
		c->gcc = u->v->gcc;
		err = sut_verify(u);
		if (err)
			return err;
		if (!in_target(u))
			continue;
		if (best && !best->n_mismatched && !u->n_mismatched && best->n_verified && u->n_verified &&
		    first_address(best) != first_address(u))
			return sibling(d, best, u);
		if (better(u, best))
			best = u;
	}
	if (!best)
		return 0;
	d->report->funcs_verified += (unsigned)best->n_verified;
	return sut_vec_push(&d->unit, best) ? sut_nomem(d->ctx) : 0;
}

int sut_units_compile_original(struct sut_diff *d)
{
	struct sut_job *job = sut_pool_alloc(&d->pool, d->db.cmd.n * sizeof(*job));
	size_t *index = sut_pool_alloc(&d->pool, d->db.cmd.n * sizeof(*index)), n = 0;
	bool *failed = sut_pool_alloc(&d->pool, d->db.cmd.n);
	int err = 0;

	if (!job || !index || !failed)
		return sut_nomem(d->ctx);
	if (d->db.moved && !d->mirror_o)
		err = sut_mirror_make(d, "o", false, false, &d->mirror_o);
	for (size_t i = 0; !err && i < d->db.cmd.n; i++) {
		const char *option;

		if (!d->db.cmd.v[i].reached)
			continue;
		option = sut_command_refusal(&d->db.cmd.v[i]);
		if (option)
			return refuse_command(d, &d->db.cmd.v[i], option);
		index[n] = i;
		err = make_job(d, &d->db.cmd.v[i], 'v', &job[n++]);
	}
	if (!err)
		err = sut_run(d, "compiling the original", job, n);
	for (size_t i = 0; !err && i < n; i++) {
		failed[index[i]] = job[i].status != 0;
		if (!job[i].status)
			continue;
		(void)sut_run_fail(d, &job[i]);
		return sut_hint(d->ctx,
				"the recorded command fails on the unchanged tree; build it once, so that generated "
				"files exist, and use the compiler that built the target");
	}
	for (size_t t = 0; !err && t < d->target.n; t++)
		for (size_t i = 0; !err && i < n; i++) {
			bool before = false;

			for (size_t k = 0; k < i; k++)
				before = before || !strcmp(d->db.cmd.v[index[k]].file, d->db.cmd.v[index[i]].file);
			if (!before)
				err = choose(d, index[i], &d->target.v[t], failed);
		}
	return err;
}

/* Units that the difference reaches and that are in none of the targets. */
static int note_absent(struct sut_diff *d)
{
	for (size_t i = 0; i < d->db.cmd.n; i++) {
		const struct sut_command *c = &d->db.cmd.v[i];
		bool present = false;
		int err;

		if (!c->reached)
			continue;
		for (size_t k = 0; k < d->unit.n; k++)
			present = present || !strcmp(d->unit.v[k]->cmd->file, c->file);
		err = present ? 0
			      : sut_diff_note(d, "%s is in none of the targets: ignored", c->rel ? c->rel : c->file);
		if (err)
			return err;
	}
	if (d->unit.n)
		return 0;
	(void)sut_fail(d->ctx, SUTURE_EREFUSED, "no unit that the difference reaches is in %s", d->target.v[0].shown);
	return sut_hint(d->ctx,
			"the target, the tree and the database must belong to one build; --explain lists the units");
}

/* The compiler's own list of what the patched object was made of: no changed file may come from the true tree. */
static int compile_both(struct sut_diff *d, struct sut_job *job, size_t n_cmds, struct sut_command **cmd)
{
	bool again = false;
	int err = 0;

	for (size_t i = 0; !err && i < n_cmds; i++) {
		err = make_job(d, cmd[i], 'o', &job[2 * i]);
		if (!err)
			err = make_job(d, cmd[i], 'p', &job[2 * i + 1]);
	}
	if (!err)
		err = sut_run(d, "compiling before and after", job, 2 * n_cmds);
	for (size_t i = 0; !err && i < n_cmds; i++) {
		if (job[2 * i].status)
			return sut_run_fail(d, &job[2 * i]);
		again = again || job[2 * i + 1].status;
	}
	if (err || !again)
		return err;
	/* Perhaps a directive of ours stands where none may. */
	err = sut_mirror_make(d, "q", true, false, &d->mirror_p);
	for (size_t i = 0; !err && i < n_cmds; i++)
		err = make_job(d, cmd[i], 'p', &job[i]);
	if (!err)
		err = sut_run(d, "compiling without line directives", job, n_cmds);
	for (size_t i = 0; !err && i < n_cmds; i++)
		if (job[i].status)
			return sut_run_fail(d, &job[i]);
	return err ? err
		   : sut_diff_note(d,
				   "the patched source does not compile with line numbers kept in step; functions that "
				   "use __LINE__ may look changed");
}

int sut_units_compile_pairs(struct sut_diff *d)
{
	struct sut_command **cmd;
	struct sut_job *job;
	size_t n = 0;
	int err = note_absent(d);

	if (err)
		return err;
	cmd = sut_pool_alloc(&d->pool, d->unit.n * sizeof(*cmd));
	job = sut_pool_alloc(&d->pool, 2 * d->unit.n * sizeof(*job));
	if (!cmd || !job)
		return sut_nomem(d->ctx);
	for (size_t i = 0; i < d->unit.n; i++) {
		size_t k = 0;

		while (k < n && cmd[k] != d->unit.v[i]->cmd)
			k++;
		if (k == n)
			cmd[n++] = d->unit.v[i]->cmd;
	}
	if (!d->mirror_o)
		err = sut_mirror_make(d, "o", false, false, &d->mirror_o);
	if (!err)
		err = sut_mirror_make(d, "p", true, true, &d->mirror_p);
	if (!err)
		err = compile_both(d, job, n, cmd);
	for (size_t i = 0; !err && i < d->unit.n; i++) {
		struct sut_unit *u = d->unit.v[i];

		u->o_path = object_path(d, u->cmd, 'o');
		u->p_path = object_path(d, u->cmd, 'p');
		if (!u->o_path || !u->p_path)
			return sut_nomem(d->ctx);
		err = open_object(d, u->cmd, 'o', &u->o);
		if (!err)
			err = open_object(d, u->cmd, 'p', &u->p);
		if (!err)
			u->o->unit = u->p->unit = u;
	}
	return err;
}

int sut_units_compile_fourth(struct sut_diff *d, struct sut_unit *u)
{
	struct sut_job job = { 0 };
	int err;

	if (u->vp || !u->cmd)
		return 0;
	err = make_job(d, u->cmd, 'q', &job);
	if (!err)
		err = sut_run(d, "compiling the patched source as recorded", &job, 1);
	if (!err && job.status)
		err = sut_run_fail(d, &job);
	if (!err)
		err = open_object(d, u->cmd, 'q', &u->vp);
	if (!err)
		u->vp->unit = u;
	return err;
}
