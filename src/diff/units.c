/* SPDX-License-Identifier: MIT */
/*
 * units.c - compiles the units that a difference reaches, and finds out which of the objects the targets hold.
 *
 * Databases list files more than once (static and shared, library and program): each command is
 * compiled, and the object that the target's bytes agree with decides.
 * Units that are reached through a header are mostly not affected by it: where the patched source, compiled as
 * recorded, is still exactly what the target holds, one compilation says so, and the unit is done.
 */
#include <errno.h>
#include <sys/wait.h>

#include "diff/diff.h"

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
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
	const char *dir = d->objects;
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

static int open_object(struct sut_diff *d, struct sut_command *c, char which, struct sut_ofile **ret)
{
	const char *path = object_path(d, c, which);
	const char *name = sut_pool_printf(&d->pool, "%s (%s)", c->rel ? c->rel : c->file,
					   which == 'p' || which == 'q' ? "patched" : "original");
	int err;

	if (!path || !name)
		return sut_nomem(d->ctx);
	err = which == 'p' || which == 'q' ? sut_reach_check(d, c, sut_pool_printf(&d->pool, "%s.d", path)) : 0;
	if (!err)
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

/* Configured out: there is nothing of it in any target, and nothing can differ. */
static bool is_empty(const struct sut_ofile *f)
{
	for (size_t i = 0; i < f->atom.n; i++)
		if (f->atom.v[i]->sym)
			return false;
	return true;
}

static bool in_target(const struct sut_unit *u)
{
	if (is_empty(u->v))
		return true;
	if (!u->n_funcs) /* data only */
		return u->n_data_verified > 0;
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

/* ---- units that only include what changes ---- */

/* Whether the target holds all of the object, code and data, just so. */
static bool wholly_in_target(const struct sut_unit *u)
{
	if (is_empty(u->v))
		return true;
	if (!u->n_funcs || u->n_verified != u->n_funcs)
		return false;
	for (size_t i = 0; i < u->v->atom.n; i++) {
		const struct sut_atom *a = u->v->atom.v[i];
		enum sut_class class = sut_atom_class(a);

		if (class == SUT_CLASS_STRINGS || class == SUT_CLASS_CONSTS || class == SUT_CLASS_EH ||
		    class == SUT_CLASS_EXCEPT || !a->size || (sut_atom_is_func(a) && !a->sym))
			continue; /* seen through what refers to them */
		if (a->kind == SUT_ATOM_ANON && class == SUT_CLASS_TEXT)
			continue; /* padding */
		if (class == SUT_CLASS_INIT || a->verdict != SUT_VERIFIED)
			return false;
		if (a->target && a->target->size && a->target->size != a->size)
			return false;
	}
	return true;
}

/* One object of the patched source against all targets. */
static int check_unaffected(struct sut_diff *d, struct sut_command *c)
{
	unsigned funcs = 0;
	bool some = false;

	for (size_t t = 0; t < d->target.n; t++) {
		struct sut_unit u = { .d = d, .cmd = c, .target = &d->target.v[t], .name = c->rel ? c->rel : c->file };
		bool whole, present;
		int err = open_object(d, c, 'q', &u.v);

		if (!err)
			err = sut_verify(&u);
		if (err)
			return err;
		whole = wholly_in_target(&u);
		present = in_target(&u);
		for (size_t i = 1; whole && i < u.v->sec.n; i++) {
			const struct sut_osec *sec = &u.v->sec.v[i];
			struct sut_placed p = { u.target, sec->base, sec->base + (sec->placed ? sec->s->size : 0) };

			if (sec->placed && sec->class != SUT_CLASS_TLS && sut_vec_push(&d->unaffected, p))
				return sut_nomem(d->ctx);
		}
		funcs += whole ? (unsigned)u.n_verified : 0;
		some = some || whole;
		d->ofile.n--; /* the last one opened */
		sut_ofile_close(u.v);
		if (present && !whole)
			return 0;
	}
	if (!some)
		return 0;
	c->reached = false;
	c->unaffected = true;
	d->report->units++;
	d->report->funcs_verified += funcs;
	d->report->funcs_compared += funcs;
	return 0;
}

/* Units that are reached through other files: where the patched source still gives the target's code, no more is asked. */
static int drop_unaffected(struct sut_diff *d)
{
	struct sut_job *job = sut_pool_alloc(&d->pool, d->db.cmd.n * sizeof(*job));
	size_t *index = sut_pool_alloc(&d->pool, d->db.cmd.n * sizeof(*index)), n = 0;
	int err = 0;

	if (!job || !index)
		return sut_nomem(d->ctx);
	for (size_t i = 0; !err && i < d->db.cmd.n; i++) {
		if (!d->db.cmd.v[i].reached || !d->db.cmd.v[i].via || sut_command_refusal(&d->db.cmd.v[i]))
			continue;
		if (!d->mirror_p)
			err = sut_mirror_make(d, "p", true, true, &d->mirror_p);
		index[n] = i;
		if (!err)
			err = make_job(d, &d->db.cmd.v[i], 'q', &job[n++]);
	}
	if (!err && n)
		err = sut_run(d, "compiling what includes the change", job, n);
	for (size_t i = 0; !err && i < n; i++)
		if (!job[i].status) /* what does not compile is compiled again, and then reported */
			err = check_unaffected(d, &d->db.cmd.v[index[i]]);
	return err;
}

int sut_units_compile_original(struct sut_diff *d)
{
	struct sut_job *job = sut_pool_alloc(&d->pool, d->db.cmd.n * sizeof(*job));
	size_t *index = sut_pool_alloc(&d->pool, d->db.cmd.n * sizeof(*index)), n = 0;
	bool *failed = sut_pool_alloc(&d->pool, d->db.cmd.n);
	int err = 0;

	if (!job || !index || !failed)
		return sut_nomem(d->ctx);
	err = drop_unaffected(d);
	if (!err && d->db.moved && !d->mirror_o)
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
	if (d->unit.n || d->report->units)
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

	if (err || !d->unit.n)
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
	if (!err && !d->mirror_p)
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
