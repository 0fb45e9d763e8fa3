/* SPDX-License-Identifier: MIT */
/*
 * reach.c - which translation units a difference reaches.
 *
 * Directly, by their own source file, or through a file that they include; the latter is asked of the
 * compiler itself (-M), and only when the text of some source names the file at all.
 * What the difference touches and nothing compiles is noted; that nothing at all is reached is a
 * refusal, because then nothing was compared.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

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

/* "-include config.h", "-DCONFIG=<config.h>", or a file of options, of which only the compiler knows what it holds. */
static bool named_in_command(const struct sut_diff *d, const char *rel)
{
	for (size_t i = 0; i < d->db.cmd.n; i++)
		for (int k = 1; k < d->db.cmd.v[i].argc; k++) {
			const char *a = d->db.cmd.v[i].argv[k], *before = d->db.cmd.v[i].argv[k - 1];
			bool names = !strncmp(a, "-D", 2) || !strncmp(a, "-i", 2) || !strcmp(before, "-D") ||
				     !strcmp(before, "-include") || !strcmp(before, "-imacros");

			if (*a == '@' || (names && strstr(a, base_name(rel))))
				return true;
		}
	return false;
}

/* ---- what the compiler says ---- */

/* One dependency of a command: if it is a file of the difference, the command is reached. */
static int depends_on(struct sut_diff *d, struct sut_command *c, const char *word)
{
	const char *dir = d->db.moved ? sut_pool_printf(&d->pool, "%s%s", d->mirror_o, c->dir) : c->dir;
	char *path = dir ? sut_path_clean(&d->pool, dir, word) : NULL, *real = path ? realpath(path, NULL) : NULL;
	const char *rel = real ? sut_path_below(d->srcdir, real) : NULL;

	if (!path)
		return sut_nomem(d->ctx);
	for (size_t i = 0; rel && i < d->file.n; i++) {
		struct sut_diff_file *f = &d->file.v[i];

		if (!f->rel || strcmp(f->rel, rel))
			continue;
		f->relevant = true;
		if (!c->reached && (!c->rel || strcmp(c->rel, rel)))
			c->via = f->rel;
		c->reached = true;
	}
	free(real);
	return 0;
}

/* A rule as make reads it: "a.o: b.c \ c.h"; blanks in names are escaped. Calls @fn for each prerequisite. */
static int read_deps(struct sut_diff *d, struct sut_command *c, const char *path,
		     int (*fn)(struct sut_diff *, struct sut_command *, const char *))
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
				err = fn(d, c, word);
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
		err = read_deps(d, &d->db.cmd.v[i], sut_pool_printf(&d->pool, "%s/deps%zu", d->scratch, i), depends_on);
	}
	return err;
}

/* One file that a compilation in the mirror has read. */
static int read_in_mirror(struct sut_diff *d, struct sut_command *c, const char *word)
{
	const char *dir = sut_pool_printf(&d->pool, "%s%s", d->mirror_p, c->dir);
	char *path = dir ? sut_path_clean(&d->pool, dir, word) : NULL, *real;
	const char *rel;
	int err = 0;

	if (!path)
		return sut_nomem(d->ctx);
	real = realpath(path, NULL); /* files that are not changed are links into the true tree */
	rel = real ? sut_path_below(d->srcdir, real) : NULL;
	for (size_t i = 0; rel && !err && i < d->file.n; i++)
		if (d->file.v[i].rel && !strcmp(d->file.v[i].rel, rel)) {
			(void)sut_fail(d->ctx, SUTURE_EREFUSED,
				       "%s includes %s by the path %s, which a copy of the tree can "
				       "not stand in for",
				       c->rel ? c->rel : c->file, rel, path);
			err = sut_hint(d->ctx, "record the commands again with plain paths below the source tree");
		}
	free(real);
	return err;
}

int sut_reach_check(struct sut_diff *d, struct sut_command *c, const char *path)
{
	return path ? read_deps(d, c, path, read_in_mirror) : sut_nomem(d->ctx);
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
