/* SPDX-License-Identifier: MIT */
/*
 * fixture.c - see fixture.h.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include <suture/sutfile.h>

#include "fixture.h"

const char *fx_cc = "gcc", *fx_opt = "-O2";

void fx_args(int argc, char **argv)
{
	char cmd[128];

	if (argc > 1)
		fx_cc = argv[1];
	if (argc > 2)
		fx_opt = argv[2];
	snprintf(cmd, sizeof(cmd), "command -v %s >/dev/null 2>&1", fx_cc);
	if (system(cmd)) {
		printf("skipped: no %s here\n", fx_cc);
		exit(77);
	}
}

void fx_init(struct fx *f)
{
	memset(f, 0, sizeof(*f));
	f->cc = fx_cc;
	f->opt = fx_opt;
	f->cflags = f->ldflags = "";
	strcpy(f->dir, "/tmp/sut-dtest.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(suture_ctx_create(NULL, &f->ctx), 0);
	fx_run(f, "mkdir tree");
}

void fx_deinit(struct fx *f)
{
	sut_build_report_free(&f->report);
	suture_ctx_destroy(f->ctx);
	fx_run(f, "rm -rf %s", f->dir);
	for (size_t i = 0; i < f->n_files; i++) {
		free(f->file[i].path);
		free(f->file[i].flags);
	}
}

void fx_run(struct fx *f, const char *fmt, ...)
{
	char *cmd, *full;
	va_list ap;
	int status;

	va_start(ap, fmt);
	assert_true(vasprintf(&cmd, fmt, ap) >= 0);
	va_end(ap);
	assert_true(asprintf(&full, "cd %s && { %s\n}", f->dir, cmd) >= 0);
	status = system(full);
	if (status)
		fail_msg("failed (%d): %s", status, cmd);
	free(full);
	free(cmd);
}

static void put(const char *path, const char *text)
{
	FILE *out = fopen(path, "w");

	if (!out)
		fail_msg("%s: %s", path, strerror(errno));
	fputs(text, out);
	assert_int_equal(fclose(out), 0);
}

static char *in_tree(struct fx *f, const char *path)
{
	char *p;

	assert_true(asprintf(&p, "%s/tree/%s", f->dir, path) >= 0);
	return p;
}

void fx_write(struct fx *f, const char *path, const char *text)
{
	char *p = in_tree(f, path);

	fx_run(f, "mkdir -p \"$(dirname tree/%s)\"", path);
	put(p, text);
	free(p);
}

void fx_source(struct fx *f, const char *path, const char *flags, const char *text)
{
	fx_write(f, path, text);
	assert_true(f->n_files < FX_FILES);
	f->file[f->n_files].path = strdup(path);
	f->file[f->n_files].flags = strdup(flags);
	f->file[f->n_files++].compiled = true;
}

void fx_link(struct fx *f)
{
	char *p = in_tree(f, "compile_commands.json");
	FILE *db = fopen(p, "w");

	assert_non_null(db);
	free(p);
	fputs("[", db);
	fx_run(f, "rm -f list");
	for (size_t i = 0; i < f->n_files; i++) {
		char cmd[1024];

		snprintf(cmd, sizeof(cmd), "%s %s -g %s %s -c -o %s.o %s", f->cc, f->opt, f->cflags, f->file[i].flags,
			 f->file[i].path, f->file[i].path);
		fx_run(f, "cd tree && %s && printf '%s.o ' >> ../list", cmd, f->file[i].path);
		fprintf(db, "%s{\"directory\":\"%s/tree\",\"file\":\"%s\",\"command\":\"%s\"}\n", i ? "," : "", f->dir,
			f->file[i].path, cmd);
	}
	fputs("]\n", db);
	assert_int_equal(fclose(db), 0);
	fx_run(f, "cd tree && %s %s -o ../bin $(cat ../list)", f->cc, f->ldflags);
}

void fx_change(struct fx *f, const char *path, const char *text)
{
	char *p;

	assert_true(asprintf(&p, "%s/new", f->dir) >= 0);
	put(p, text ? text : "");
	free(p);
	fx_run(f,
	       "if [ -e tree/%s ]; then old=tree/%s; label=a/%s; else old=/dev/null; label=/dev/null; fi; "
	       "diff -u --label $label --label %s $old new >> fix.diff; [ $? -le 1 ]",
	       path, path, path, text ? path : "/dev/null");
	if (text)
		fx_run(f, "sed -i 's|^+++ %s$|+++ b/%s|' fix.diff", path, path);
}

void fx_replace(struct fx *f, const char *path, const char *old, const char *new)
{
	char *p = in_tree(f, path), *text, *at, *out;
	FILE *in = fopen(p, "r");
	size_t len;

	assert_non_null(in);
	assert_int_equal(sut_read_fd(fileno(in), 1 << 20, &text, &len), 0);
	fclose(in);
	at = strstr(text, old);
	if (!at || strstr(at + 1, old))
		fail_msg("\"%s\" does not stand in %s once", old, path);
	assert_true(asprintf(&out, "%.*s%s%s", (int)(at - text), text, new, at + strlen(old)) >= 0);
	fx_change(f, path, out);
	free(out);
	free(text);
	free(p);
}

/* "refers to .data instead of .data" explains nothing. */
static void check_words(const struct sut_build_item *item)
{
	const char *to = strstr(item->text, "refers to "), * or = to ? strstr(to, " instead of ") : NULL;
	size_t len = or ? (size_t)(or -to) - 10 : 0;

	if (or &&!strncmp(to + 10, or +12, len) && (! or [12 + len] || or [12 + len] == ';'))
		fail_msg("%s: %s", item->name, item->text);
}

int fx_build(struct fx *f)
{
	char target[128], diff[128], srcdir[128], out[128], keep[128];
	const char *targets[] = { f->target ? f->target : target, NULL }, *diffs[] = { diff, NULL };
	struct sut_build_opts o = { .target = targets,
				    .diff = diffs,
				    .srcdir = f->srcdir ? f->srcdir : srcdir,
				    .compile_commands = f->db,
				    .output = out,
				    .keep = keep,
				    .tool_version = "test",
				    .dry_run = f->dry_run };

	snprintf(target, sizeof(target), "%s/bin", f->dir);
	snprintf(diff, sizeof(diff), "%s/fix.diff", f->dir);
	snprintf(srcdir, sizeof(srcdir), "%s/tree", f->dir);
	snprintf(out, sizeof(out), "%s/out.sut", f->dir);
	snprintf(keep, sizeof(keep), "%s/objects", f->dir);
	sut_build_report_free(&f->report);
	fx_run(f, "rm -f out.sut; find tree -type f -exec md5sum {} + | sort > before");
	f->err = -sut_build(f->ctx, &o, &f->report);
	fx_run(f, "find tree -type f -exec md5sum {} + | sort | cmp - before");
	if (f->err || f->dry_run)
		fx_run(f, "test ! -e out.sut");
	for (size_t i = 0; i < f->report.item.n; i++)
		check_words(&f->report.item.v[i]);
	return f->err;
}

const struct sut_build_item *fx_item(struct fx *f, const char *name)
{
	for (size_t i = 0; i < f->report.item.n; i++)
		if (!strcmp(f->report.item.v[i].name, name))
			return &f->report.item.v[i];
	return NULL;
}

static bool listed(const char *names, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = names; (p = strstr(p, name)); p++)
		if ((p == names || p[-1] == ' ') && (!p[n] || p[n] == ' '))
			return true;
	return false;
}

void fx_functions(struct fx *f, const char *names)
{
	size_t want = 0, have = 0;

	if (f->err) {
		const struct suture_error *e = suture_ctx_error(f->ctx);

		fail_msg("the build failed (%d): %s (%s)", f->err, e->message, e->hint ? e->hint : "");
	}
	for (const char *p = names; *p; p += strcspn(p, " "), p += strspn(p, " "))
		want++;
	for (size_t i = 0; i < f->report.item.n; i++) {
		const struct sut_build_item *x = &f->report.item.v[i];

		if (!x->is_func || (x->reason != SUT_WHY_CHANGED && x->reason != SUT_WHY_DATA))
			continue;
		if (!listed(names, x->name))
			fail_msg("%s is replaced, too (%s); wanted: %s", x->name, x->text, names);
		have++;
	}
	if (want != have)
		fail_msg("%zu functions are replaced; wanted: %s", have, names);
}

bool fx_noted(struct fx *f, const char *text)
{
	for (size_t i = 0; i < f->report.note.n; i++)
		if (strstr(f->report.note.v[i], text))
			return true;
	return false;
}

void fx_failed(struct fx *f, int code, const char *text)
{
	const struct suture_error *e = suture_ctx_error(f->ctx);

	if (f->err != code)
		fail_msg("error %d instead of %d: %s", f->err, code, f->err ? e->message : "");
	if (!strstr(e->message, text))
		fail_msg("\"%s\" does not say \"%s\"", e->message, text);
	if (code == SUTURE_EREFUSED && !e->hint)
		fail_msg("\"%s\" does not say what to do", e->message);
}

char *fx_readelf(struct fx *f)
{
	char path[128], *text;
	size_t len;
	FILE *in;

	fx_run(f, "readelf -aW out.sut > re 2> re.err; objdump -dr out.sut > od 2> od.err; cat re.err od.err >&2; "
		  "test ! -s re.err && test ! -s od.err");
	snprintf(path, sizeof(path), "%s/re", f->dir);
	in = fopen(path, "r");
	assert_non_null(in);
	assert_int_equal(sut_read_fd(fileno(in), 64 << 20, &text, &len), 0);
	fclose(in);
	return text;
}

void fx_file_func(struct fx *f, const char *name, struct suture_file_func *ret)
{
	const struct sut_section *funcs, *strtab;
	struct sut_elf *e;
	char path[128];
	bool found = false;

	snprintf(path, sizeof(path), "%s/out.sut", f->dir);
	assert_int_equal(sut_elf_open(f->ctx, path, &e), 0);
	funcs = sut_elf_section(e, SUTURE_SEC_FUNCS);
	strtab = sut_elf_section(e, SUTURE_SEC_STRTAB);
	assert_non_null(funcs);
	assert_non_null(strtab);
	for (size_t off = 0; off < funcs->size && !found; off += sizeof(*ret)) {
		memcpy(ret, funcs->data + off, sizeof(*ret));
		found = !strcmp((const char *)strtab->data + ret->old_name, name);
	}
	sut_elf_close(e);
	if (!found)
		fail_msg("the patch replaces no %s", name);
}
