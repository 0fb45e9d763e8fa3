/* SPDX-License-Identifier: MIT */
/*
 * fake.c - the rooms below the command line, played: every call that a command makes of them is
 * wrapped (ld --wrap) and answers by the process id or the file name it is asked about. So every
 * result and every failure can be seen on the command line without a target.
 *
 *	process 4711   nginx: one thread is busy; holds fix-1 (enabled) and fix-0 (parked)
 *	process 4712   a name and paths that a terminal must not see as they are
 *	process 4713   holds fix-1 with a foreign site, and fix-2, left half way by a dead tool
 *	process 4714   nothing to recover, no patches; text was written, not swapped
 *	process 4715   somebody presses ^C while a patch is applied to it
 *	process N+1000 where N is an enum suture_code: attaching works, everything else fails with it
 *	process 9999   attaching fails (no such process)
 *	any other      attaching works as for 4711; with FAKE_REVERTED set it holds fix-0 alone
 *
 *	file *damaged* is refused; build into *nothing* has nothing to patch, into *refused* is refused,
 *	into *leftover* leaves a file in TMPDIR, into *killed* ends by SIGTERM then
 */
#include <errno.h>
#include <signal.h>

#include "diff/build.h"
#include "process/process.h"
#include <suture/suture.h>

int __wrap_suture_patch_open(struct suture_ctx *ctx, const char *path, const struct suture_open_opts *opts,
			     struct suture_patch **ret);
void __wrap_suture_patch_close(struct suture_patch *patch);
const char *__wrap_suture_patch_name(const struct suture_patch *patch);
int __wrap_suture_process_attach(struct suture_ctx *ctx, pid_t pid, const struct suture_attach_opts *opts,
				 struct suture_process **ret);
void __wrap_suture_process_detach(struct suture_process *p);
pid_t __wrap_suture_process_pid(const struct suture_process *p);
int __wrap_sut_process_borrow(struct suture_process *p, unsigned timeout_ms);
uint64_t __wrap_sut_process_release(struct suture_process *p);
const char *__wrap_suture_process_comm(const struct suture_process *p);
int __wrap_suture_patch_check(struct suture_process *p, const struct suture_patch *patch, struct suture_report **ret);
int __wrap_suture_patch_enable(struct suture_process *p, struct suture_patch *patch,
			       const struct suture_enable_opts *opts);
int __wrap_suture_patch_disable(struct suture_process *p, const char *name, const struct suture_enable_opts *opts);
void __wrap_suture_report_free(struct suture_report *r);
int __wrap_suture_process_status(struct suture_process *p, struct suture_status **ret);
void __wrap_suture_status_free(struct suture_status *s);
int __wrap_suture_process_recover(struct suture_process *p, const struct suture_enable_opts *opts,
				  struct suture_recovery *ret);
int __wrap_sut_build(struct suture_ctx *ctx, const struct sut_build_opts *opts, struct sut_build_report *ret);
int __wrap_sut_build_objects(struct suture_ctx *ctx, const char *orig, const char *patched,
			     const struct sut_build_opts *opts, struct sut_build_report *ret);

struct suture_patch {
	struct suture_ctx *ctx;
};

int __wrap_suture_patch_open(struct suture_ctx *ctx, const char *path, const struct suture_open_opts *opts,
			     struct suture_patch **ret)
{
	if (strstr(path, "damaged")) {
		(void)sut_fail(ctx, SUTURE_EREFUSED, "%s: the digest does not match: the file is damaged", path);
		return sut_hint(ctx, "build it again, or copy it again");
	}
	*ret = calloc(1, sizeof(**ret));
	(*ret)->ctx = ctx;
	return 0;
}

void __wrap_suture_patch_close(struct suture_patch *patch)
{
	free(patch);
}

const char *__wrap_suture_patch_name(const struct suture_patch *patch)
{
	return "fix-1";
}

int __wrap_suture_process_attach(struct suture_ctx *ctx, pid_t pid, const struct suture_attach_opts *opts,
				 struct suture_process **ret)
{
	struct suture_process *p;

	if (pid == 9999)
		return sut_fail(ctx, SUTURE_ENOTFOUND, "there is no process 9999");
	p = calloc(1, sizeof(*p));
	p->ctx = ctx;
	p->pid = pid;
	strcpy(p->comm, pid == 4712 ? "e\033[31mvil\xff" : "nginx");
	sut_debug(ctx, "attached to process %d", pid);
	*ret = p;
	return 0;
}

void __wrap_suture_process_detach(struct suture_process *p)
{
	free(p);
}

pid_t __wrap_suture_process_pid(const struct suture_process *p)
{
	return p->pid;
}

const char *__wrap_suture_process_comm(const struct suture_process *p)
{
	return p->comm;
}

/* doctor seizes a child of its own. */
int __wrap_sut_process_borrow(struct suture_process *p, unsigned timeout_ms)
{
	return 0;
}

uint64_t __wrap_sut_process_release(struct suture_process *p)
{
	return 0;
}

static int play_failure(struct suture_process *p)
{
	int code = p->pid - 1000;

	if (code < SUTURE_EFAILED || code > SUTURE_EBUG)
		return 0;
	(void)sut_fail(p->ctx, code, "process %d plays failure %d", p->pid, code);
	(void)sut_fail_address(p->ctx, 0x7f0012345678);
	return sut_hint(p->ctx, "do not ask it");
}

static int make_report(struct suture_process *p, struct suture_report **ret)
{
	struct suture_report *r;
	int err = play_failure(p);

	if (err)
		return err;
	r = calloc(1, sizeof(*r));
	r->patch = strdup("fix-1");
	r->build_id = strdup(p->pid == 4714 ? "" : "3f9c55aa0011223344556677889900aabbccdda1");
	r->arch = "x86_64";
	r->n_funcs = 2;
	r->funcs = calloc(2, sizeof(*r->funcs));
	r->funcs[0] =
		(struct suture_report_func){ .object = p->pid == 4712 ? "/tmp/\033]0;x\007/nginx" : "/usr/sbin/nginx",
					     .old_name = "ngx_http_parse_uri",
					     .old_sympos = 1,
					     .old_size = 412,
					     .new_size = 431,
					     .old_addr = 0x555555554000,
					     .site = "jump" };
	r->funcs[1] = r->funcs[0];
	r->funcs[1].old_name = "ngx_log_error";
	r->funcs[1].old_sympos = 0;
	r->funcs[1].busy = 1;
	r->funcs[1].busy_tid = 4713;
	r->funcs[1].busy_in = "ngx_log_error.cold";
	r->threads = 4;
	r->attempts = 1;
	r->total_ns = 2300000;
	r->pause_ns = 48000;
	r->text_method = p->pid == 4714 ? "write" : "swap";
	r->text_why = p->pid == 4714 ? strdup("the text is on huge pages") : NULL;
	*ret = r;
	return 0;
}

int __wrap_suture_patch_check(struct suture_process *p, const struct suture_patch *patch, struct suture_report **ret)
{
	return make_report(p, ret);
}

int __wrap_suture_patch_enable(struct suture_process *p, struct suture_patch *patch,
			       const struct suture_enable_opts *opts)
{
	sigset_t held, before;

	/* As the process room does while it holds a target; what is logged then must come later. */
	sigemptyset(&held);
	sigaddset(&held, SIGTTOU);
	sigprocmask(SIG_BLOCK, &held, &before);
	sut_info(p->ctx, "timeout %u ms, dry run %d", opts->timeout_ms, opts->dry_run);
	if (p->pid == 4713)
		sut_progress(p->ctx, "process 4713: thread 4714 is inside f", 0, 0);
	if (p->pid == 4713)
		for (int i = 0; i < 1000; i++)
			sut_debug(p->ctx, "line %d of many that come while the target is held", i);
	sigprocmask(SIG_SETMASK, &before, NULL);
	sut_debug(p->ctx, "let go");
	if (p->pid == 4715) {
		raise(SIGINT);
		return sut_fail(p->ctx, SUTURE_EFAILED, "interrupted while waiting for the threads of process 4715");
	}
	return make_report(p, opts->report);
}

int __wrap_suture_patch_disable(struct suture_process *p, const char *name, const struct suture_enable_opts *opts)
{
	if (strcmp(name, "fix-1"))
		return sut_fail(p->ctx, SUTURE_ENOTFOUND, "process %d holds no patch %s", p->pid, name);
	return make_report(p, opts->report);
}

void __wrap_suture_report_free(struct suture_report *r)
{
	free(r->patch);
	free(r->build_id);
	free(r->text_why);
	free(r->funcs);
	free(r);
}

static void fill_patch(struct suture_status_patch *x, const char *name, enum suture_patch_state state, unsigned order,
		       const char *site)
{
	x->name = name;
	x->state = state;
	x->order = order;
	x->since = 1700000000;
	x->mem_start = 0x7f0000000000;
	x->mem_size = x->mem_total = 12288;
	x->n_funcs = 2;
	x->funcs = calloc(2, sizeof(*x->funcs));
	x->funcs[0] = (struct suture_status_func){ .object = "/usr/sbin/nginx",
						   .old_name = "ngx_http_parse_uri",
						   .old_sympos = 2,
						   .old_addr = 0x555555554000,
						   .new_addr = 0x555555454000,
						   .old_size = 412,
						   .new_size = 431,
						   .site = "jump",
						   .site_bytes = { 0xe9, 1, 2, 3, 4 },
						   .site_len = 5 };
	x->funcs[1] = x->funcs[0];
	x->funcs[1].object = "/lib/libz.so.1";
	x->funcs[1].old_name = "inflate";
	x->funcs[1].old_sympos = 0;
	x->funcs[1].site = site;
	x->funcs[1].site_bytes[0] = *site == 'f' ? 0xcc : 0xe9;
}

int __wrap_suture_process_status(struct suture_process *p, struct suture_status **ret)
{
	struct suture_status *s;
	int err = play_failure(p);

	if (err)
		return err;
	s = calloc(1, sizeof(*s));
	s->n_patches = p->pid == 4714 ? 0 : 2;
	s->patches = calloc(2, sizeof(*s->patches));
	if (getenv("FAKE_REVERTED"))
		s->n_patches = 1;
	if (p->pid == 4713) {
		fill_patch(&s->patches[0], "fix-1", SUTURE_STATE_ENABLED, 1, "foreign");
		fill_patch(&s->patches[1], "fix-2", SUTURE_STATE_ENABLING, 2, "original");
	} else if (s->n_patches) {
		fill_patch(&s->patches[0], "fix-0", SUTURE_STATE_PARKED, 1, "original");
		fill_patch(&s->patches[1], "fix-1", SUTURE_STATE_ENABLED, 2, "jump");
	}
	*ret = s;
	return 0;
}

void __wrap_suture_status_free(struct suture_status *s)
{
	for (size_t i = 0; i < s->n_patches; i++)
		free(s->patches[i].funcs);
	free(s->patches);
	free(s);
}

int __wrap_suture_process_recover(struct suture_process *p, const struct suture_enable_opts *opts,
				  struct suture_recovery *ret)
{
	int err = play_failure(p);

	if (err)
		return err;
	if (p->pid == 4714)
		return sut_fail(p->ctx, SUTURE_ENOTHING, "process %d has nothing to recover", p->pid);
	ret->finished = p->pid == 4713 ? 2 : 1;
	ret->undone = p->pid == 4713 ? 1 : 0;
	strcpy(ret->last, "fix-1");
	return 0;
}

static int play_build(struct suture_ctx *ctx, const struct sut_build_opts *opts, struct sut_build_report *ret)
{
	struct sut_build_item item = { .object = strdup("/usr/sbin/nginx"),
				       .unit = strdup("src/http/ngx_http_parse.c"),
				       .name = strdup("ngx_http_parse_uri"),
				       .reason = SUT_WHY_CHANGED,
				       .text = strdup(
					       "differs first at +0x2c; proved equal to the binary but for the diff"),
				       .old_size = 412,
				       .new_size = 431,
				       .is_func = true };
	const char *out = opts->output ? opts->output : "";

	if (strstr(out, "killed") || strstr(out, "leftover")) {
		char name[4096];

		/* As a compiler would. */
		snprintf(name, sizeof(name), "%s/cc1.s", getenv("TMPDIR"));
		fclose(fopen(name, "w"));
		if (strstr(out, "killed"))
			raise(SIGTERM);
	}
	sut_progress(ctx, "compiling", 1, 3);
	ret->units = 3;
	ret->units_changed = 1;
	ret->funcs_compared = 628;
	ret->funcs_verified = 628;
	ret->total_ns = 14200000000;
	if (sut_vec_push(&ret->note, strdup("tests/unit/type.tcl is not compiled: ignored")))
		return -ENOMEM;
	if (strstr(out, "nothing")) {
		free(item.object);
		free(item.unit);
		free(item.name);
		free(item.text);
		return sut_fail(ctx, SUTURE_ENOTHING,
				"nothing to patch: 3 units were compiled and compared, none differs");
	}
	if (sut_vec_push(&ret->item, item))
		return -ENOMEM;
	if (strstr(out, "refused")) {
		(void)sut_fail(ctx, SUTURE_EREFUSED, "ngx_cycle: the initial value of an existing variable changes");
		return sut_hint(ctx, "set it in a function of the patch instead");
	}
	return 0;
}

int __wrap_sut_build(struct suture_ctx *ctx, const struct sut_build_opts *opts, struct sut_build_report *ret)
{
	return play_build(ctx, opts, ret);
}

int __wrap_sut_build_objects(struct suture_ctx *ctx, const char *orig, const char *patched,
			     const struct sut_build_opts *opts, struct sut_build_report *ret)
{
	return play_build(ctx, opts, ret);
}

void __wrap_sut_build_report_free(struct sut_build_report *r);
void __wrap_sut_build_report_free(struct sut_build_report *r)
{
	for (size_t i = 0; i < r->item.n; i++) {
		free(r->item.v[i].object);
		free(r->item.v[i].unit);
		free(r->item.v[i].name);
		free(r->item.v[i].text);
	}
	for (size_t i = 0; i < r->note.n; i++)
		free(r->note.v[i]);
	sut_vec_free(&r->item);
	sut_vec_free(&r->note);
}
