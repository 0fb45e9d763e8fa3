/* SPDX-License-Identifier: MIT */
/*
 * diff.c - the patch builder: from a source difference to a patch file, pass by pass.
 *
 * Read sut_build() from top to bottom; each pass has a file of its own. Passes only add to struct
 * sut_diff, and stop at the first thing that can not be proved safe: a refusal that names it.
 * Never touches the source tree, a process, or a target.
 */
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>

#include "diff/diff.h"

/* ---- beginning and end ---- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	(void)remove(path);
	return 0;
}

static void finish(struct sut_diff *d)
{
	for (size_t i = 0; i < d->ofile.n; i++)
		sut_ofile_close(d->ofile.v[i]);
	for (size_t i = 0; i < d->target.n; i++)
		sut_target_close(&d->target.v[i]);
	for (size_t i = 0; i < d->file.n; i++) {
		sut_vec_free(&d->file.v[i].hunk);
		sut_vec_free(&d->file.v[i].line);
	}
	if (d->scratch)
		(void)nftw(d->scratch, remove_entry, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	sut_vec_free(&d->ofile);
	sut_vec_free(&d->target);
	sut_vec_free(&d->file);
	sut_vec_free(&d->unit);
	sut_vec_free(&d->unaffected);
	sut_vec_free(&d->db.cmd);
	sut_vec_free(&d->db.outer);
	sut_pool_free(&d->pool);
}

static int absolute(struct sut_diff *d, const char *path, const char **ret)
{
	char *real = realpath(path, NULL);

	if (!real)
		return sut_fail(d->ctx, errno == ENOENT ? SUTURE_ENOTFOUND : errno, "%s: %s", path, strerror(errno));
	*ret = sut_pool_strndup(&d->pool, real, strlen(real));
	free(real);
	return *ret ? 0 : sut_nomem(d->ctx);
}

static int make_scratch(struct sut_diff *d)
{
	const char *tmp = getenv("TMPDIR");
	char *path = sut_pool_printf(&d->pool, "%s/sut-build.XXXXXX", tmp && *tmp == '/' ? tmp : "/tmp");

	if (!path)
		return sut_nomem(d->ctx);
	if (!mkdtemp(path))
		return sut_fail(d->ctx, errno, "cannot make a scratch directory %s: %s", path, strerror(errno));
	d->scratch = path;
	d->objects = d->scratch;
	if (!d->opts->keep)
		return 0;
	if (mkdir(d->opts->keep, 0777) && errno != EEXIST)
		return sut_fail(d->ctx, errno, "cannot make the directory %s: %s", d->opts->keep, strerror(errno));
	return absolute(d, d->opts->keep, &d->objects); /* compilers run elsewhere */
}

/* The patch's name: as asked, else the output's without directory and ".sut". */
static int patch_name(struct sut_diff *d, const char **ret)
{
	const char *path = d->opts->output ? d->opts->output : "patch", *slash = strrchr(path, '/');
	const char *name = d->opts->name;
	size_t len;

	if (!name) {
		path = slash ? slash + 1 : path;
		len = strlen(path);
		if (len > 4 && !strcmp(path + len - 4, ".sut"))
			len -= 4;
		name = sut_pool_strndup(&d->pool, path, len);
		if (!name)
			return sut_nomem(d->ctx);
	}
	len = strlen(name);
	if (!len || len > SUTURE_NAME_MAX || name[0] == '-' || name[0] == '.' ||
	    name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-")]) {
		(void)sut_fail(d->ctx, SUTURE_EUSAGE, "\"%s\" can not be a patch's name", name);
		return sut_hint(d->ctx,
				"at most %d characters of A-Z a-z 0-9 . _ + -, not beginning with . or -; give one "
				"with --name",
				SUTURE_NAME_MAX);
	}
	*ret = name;
	return 0;
}

/* ---- pass: targets ---- */

static int open_targets(struct sut_diff *d)
{
	const char *const *path = d->opts->target;
	size_t n = 0, n_debug = 0;

	while (path && path[n])
		n++;
	while (d->opts->debug && d->opts->debug[n_debug])
		n_debug++;
	if (!n)
		return sut_fail(d->ctx, SUTURE_EUSAGE, "no target was named");
	for (; *path; path++) {
		struct sut_target t;
		int err = sut_target_open(d->ctx, *path, d->opts->debug, n == 1 && n_debug == 1, &t);

		if (err)
			return err;
		if (sut_vec_push(&d->target, t)) {
			sut_target_close(&t);
			return sut_nomem(d->ctx);
		}
		if (t.elf->arch != d->target.v[0].elf->arch)
			return sut_refuse(d->ctx, "build one patch for each machine",
					  "%s and %s are for different machines", d->target.v[0].path, t.path);
		for (size_t i = 0; i + 1 < d->target.n; i++)
			if (!strcmp(d->target.v[i].name, t.name))
				return sut_refuse(
					d->ctx, "name one of them with -t",
					"%s and %s would be one object of a process (\"%s\"); build a patch for each",
					d->target.v[i].path, t.path, t.name);
	}
	d->arch = d->target.v[0].elf->arch;
	return 0;
}

/* ---- passes over units ---- */

static int correlate_unit(struct sut_unit *u)
{
	struct sut_diff *d = u->d;
	int err = sut_scopes_read(d, u->o, u->o_path);

	if (!err)
		err = sut_scopes_read(d, u->p, u->p_path);
	if (!err)
		err = sut_correlate(d, u->o, u->p);
	return err ? err : sut_correlate_verified(d, u->o, u->v);
}

static int check_unit_types(struct sut_unit *u)
{
	return sut_types_check(u, u->o_path, u->p_path);
}

static int each_unit(struct sut_diff *d, const char *what, int (*pass)(struct sut_unit *))
{
	int err = 0;

	for (size_t i = 0; !err && i < d->unit.n; i++) {
		sut_progress(d->ctx, what, (unsigned)i, (unsigned)d->unit.n);
		err = pass(d->unit.v[i]);
	}
	return err;
}

/* The passes that both ways of building share. */
static int compare_and_emit(struct sut_diff *d, const char *name)
{
	int err;

	d->report->units += (unsigned)d->unit.n;

	/* Which symbol of the original is which of the patched object, and which of the verified one. */
	err = each_unit(d, "correlating", correlate_unit);

	/* Layouts and signatures that the process and other objects know must not change. */
	if (!err)
		err = each_unit(d, "comparing types", check_unit_types);

	/* What differs; changed data that live are refused. */
	if (!err)
		err = each_unit(d, "comparing code", sut_compare);

	/* Prove that what was compared is what was verified; where it is not, compare what was verified. */
	if (!err)
		err = each_unit(d, "proving", sut_prove);

	/* Decide which functions are replaced, and refuse what can not be. From here on the set is fixed. */
	if (!err)
		err = sut_take(d);

	/* Everything that the replacements need and the target has not. No atom is added after this. */
	if (!err)
		err = sut_include(d);

	/* The file. */
	return err ? err : sut_emit(d, name);
}

static int build(struct sut_diff *d)
{
	const char *name = NULL;
	int err;

	/* Check what was asked for, and read the targets with their symbols. */
	err = patch_name(d, &name);
	if (!err)
		err = absolute(d, d->opts->srcdir, &d->srcdir);
	if (!err)
		err = make_scratch(d);
	if (!err)
		err = open_targets(d);

	/* Read how each file was compiled, and what changes. */
	if (!err)
		err = sut_compdb_read(d);
	if (!err)
		err = sut_udiff_read(d);

	/* Which translation units the change reaches, directly or through a file that they include. */
	if (!err)
		err = sut_units_reach(d);

	/* Compile those as recorded, and find their code in the targets: verify. Units that no target holds are left. */
	if (!err)
		err = sut_units_compile_original(d);

	/* Compile before and after, each function in a section of its own. */
	if (!err)
		err = sut_units_compile_pairs(d);

	return err ? err : compare_and_emit(d, name);
}

int sut_build(struct suture_ctx *ctx, const struct sut_build_opts *opts, struct sut_build_report *ret)
{
	struct sut_diff d = { .ctx = ctx, .opts = opts, .report = ret };
	uint64_t t0 = sut_now_ns();
	int err;

	memset(ret, 0, sizeof(*ret));
	if (!opts->srcdir || !opts->diff || !opts->diff[0])
		return sut_fail(ctx, SUTURE_EUSAGE, "a source tree and a difference are needed");
	err = build(&d);
	finish(&d);
	ret->total_ns = sut_now_ns() - t0;
	return err;
}

/* ---- two objects instead of a tree ---- */

static int open_given(struct sut_diff *d, const char *path, const char *which, struct sut_ofile **ret)
{
	const char *base = strrchr(path, '/');
	const char *name = sut_pool_printf(&d->pool, "%s (%s)", base ? base + 1 : path, which);
	int err;

	if (!name)
		return sut_nomem(d->ctx);
	err = sut_ofile_open(d->ctx, &d->pool, path, name, ret);
	if (err)
		return err;
	if (sut_vec_push(&d->ofile, *ret)) {
		sut_ofile_close(*ret);
		return sut_nomem(d->ctx);
	}
	if ((*ret)->lto)
		return sut_refuse(d->ctx, "compile it without -flto",
				  "%s holds no code: it was compiled for link-time optimisation", name);
	return 0;
}

/* Which target holds the original object; the objects are opened anew for each, because they carry its marks. */
static int place_objects(struct sut_diff *d, const char *orig, const char *patched)
{
	for (size_t i = 0; i < d->target.n; i++) {
		struct sut_unit *u = sut_pool_alloc(&d->pool, sizeof(*u));
		int err;

		if (!u)
			return sut_nomem(d->ctx);
		*u = (struct sut_unit){ .d = d, .target = &d->target.v[i], .o_path = orig, .p_path = patched };
		err = open_given(d, orig, "original", &u->o);
		if (!err)
			err = open_given(d, patched, "patched", &u->p);
		if (err)
			return err;
		u->name = u->o->source ? u->o->source : orig;
		u->v = u->o;
		u->o->unit = u->p->unit = u;
		if (u->o->elf->machine != u->p->elf->machine)
			return sut_refuse(d->ctx, "both objects must come from one compiler",
					  "%s and %s are for different machines", orig, patched);
		err = sut_verify(u);
		if (err)
			return err;
		if (!u->n_verified && !u->n_mismatched)
			continue;
		d->report->funcs_verified += (unsigned)u->n_verified;
		if (sut_vec_push(&d->unit, u))
			return sut_nomem(d->ctx);
	}
	if (d->unit.n)
		return 0;
	(void)sut_fail(d->ctx, SUTURE_EREFUSED, "%s: no function of it is in %s", orig, d->target.v[0].shown);
	return sut_hint(d->ctx, "the object must be one that the target was linked from, compiled once more with "
				"-ffunction-sections -fdata-sections");
}

int sut_build_objects(struct suture_ctx *ctx, const char *orig, const char *patched, const struct sut_build_opts *opts,
		      struct sut_build_report *ret)
{
	struct sut_diff d = { .ctx = ctx, .opts = opts, .report = ret };
	uint64_t t0 = sut_now_ns();
	const char *name;
	int err;

	memset(ret, 0, sizeof(*ret));
	err = patch_name(&d, &name);
	if (!err)
		err = open_targets(&d);
	if (!err)
		err = place_objects(&d, orig, patched);
	if (!err)
		err = compare_and_emit(&d, name);
	finish(&d);
	ret->total_ns = sut_now_ns() - t0;
	return err;
}
