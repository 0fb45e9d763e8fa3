/* SPDX-License-Identifier: MIT */
/*
 * select.c - which processes are meant by -p, -n and --all, and one call for each.
 *
 * A process named by its id must be there; one found by a glob or by --all may be gone by the
 * time we come to it, which is no failure. Kernel threads and the tool itself never match.
 * Reads /proc; the rest is the process room's.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>

#include "cli/cli.h"
#include "module/registry.h"

#define PF_KTHREAD 0x00200000ul

/* All process ids, rising as /proc lists them. */
static int list_pids(struct sut_cli *cli, struct sut_pids *ret)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	int err = 0;

	if (!d)
		return sut_fail(cli->ctx, errno, "/proc: %s", strerror(errno));
	while (!err && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]))
			err = sut_vec_push(ret, (pid_t)atoi(e->d_name)) ? sut_nomem(cli->ctx) : 0;
	closedir(d);
	return err;
}

static int read_proc(pid_t pid, const char *file, char *buf, size_t cap)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, cap - 1);
	if (n < 0)
		n = -errno;
	close(fd);
	if (n < 0)
		return (int)n;
	buf[n] = '\0';
	return 0;
}

static bool is_kernel_thread(pid_t pid)
{
	unsigned long flags;
	char buf[512], *p;

	if (read_proc(pid, "stat", buf, sizeof(buf)) || !(p = strrchr(buf, ')')))
		return false;
	return sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %lu", &flags) == 1 && (flags & PF_KTHREAD);
}

/* Whether one maps file shows a registry: 1, 0, or -errno. */
static int maps_show_registry(const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_free_ char *line = NULL;
	static const char name[] = " /memfd:" SUT_REGISTRY_NAME " (deleted)\n";
	size_t cap = 0;
	bool any = false;
	ssize_t n;

	if (!f)
		return -errno;
	while ((n = getline(&line, &cap, f)) > 0) {
		any = true;
		if ((size_t)n > sizeof(name) && !strcmp(line + n - (sizeof(name) - 1), name))
			return 1;
	}
	return any ? 0 : -ENODATA;
}

/* The same for a process; a leader that has ended has empty maps, its live threads have them. */
static int shows_registry(pid_t pid)
{
	char path[64];
	struct dirent *e;
	DIR *d;
	int found;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	found = maps_show_registry(path);
	if (found != -ENODATA)
		return found;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	if (!(d = opendir(path)))
		return -errno;
	while (found == -ENODATA && (e = readdir(d))) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%d/maps", pid, atoi(e->d_name));
		found = maps_show_registry(path);
	}
	closedir(d);
	return found;
}

static int patched_pids(struct sut_cli *cli, struct sut_pids *ret, struct sut_pids *ret_unreadable)
{
	struct sut_pids all = { 0 };
	int err = list_pids(cli, &all);

	for (size_t i = 0; !err && i < all.n; i++) {
		int found = shows_registry(all.v[i]);

		if (found == -EACCES || found == -EPERM)
			err = sut_vec_push(ret_unreadable, all.v[i]) ? sut_nomem(cli->ctx) : 0;
		else if (found > 0)
			err = sut_vec_push(ret, all.v[i]) ? sut_nomem(cli->ctx) : 0;
	}
	sut_vec_free(&all);
	return err;
}

/* One process that was chosen, and how. */
struct chosen {
	pid_t pid;
	bool named; /* by its id: it must be there */
	bool matched; /* by --all: the command's match has to say yes */
};
struct choice {
	SUT_VEC(struct chosen) v;
	struct sut_pids unreadable;
};

static int choose(struct sut_cli *cli, struct choice *c, struct chosen one)
{
	for (size_t i = 0; i < c->v.n; i++)
		if (c->v.v[i].pid == one.pid) {
			c->v.v[i].named |= one.named;
			c->v.v[i].matched &= one.matched;
			return 0;
		}
	return sut_vec_push(&c->v, one) ? sut_nomem(cli->ctx) : 0;
}

static bool comm_matches(const struct sut_cli *cli, pid_t pid)
{
	char comm[64];

	if (read_proc(pid, "comm", comm, sizeof(comm)))
		return false;
	comm[strcspn(comm, "\n")] = '\0';
	for (size_t i = 0; i < cli->args.comm.n; i++)
		if (!fnmatch(cli->args.comm.v[i], comm, 0))
			return true;
	return false;
}

static int choose_by_name(struct sut_cli *cli, struct choice *c)
{
	struct sut_pids all = { 0 };
	int err = list_pids(cli, &all);

	for (size_t i = 0; !err && i < all.n; i++)
		if (all.v[i] != getpid() && comm_matches(cli, all.v[i]) && !is_kernel_thread(all.v[i]))
			err = choose(cli, c, (struct chosen){ .pid = all.v[i] });
	sut_vec_free(&all);
	return err;
}

static int choose_all(struct sut_cli *cli, bool patched_only, struct choice *c)
{
	struct sut_pids pids = { 0 };
	int err = patched_only ? patched_pids(cli, &pids, &c->unreadable) : list_pids(cli, &pids);

	for (size_t i = 0; !err && i < pids.n; i++)
		if (pids.v[i] != getpid() && !is_kernel_thread(pids.v[i]))
			err = choose(cli, c, (struct chosen){ .pid = pids.v[i], .matched = true });
	sut_vec_free(&pids);
	return err;
}

static int choose_processes(struct sut_cli *cli, bool patched_only, struct choice *c)
{
	int err = 0;

	for (size_t i = 0; !err && i < cli->args.pid.n; i++)
		err = choose(cli, c, (struct chosen){ .pid = cli->args.pid.v[i], .named = true });
	if (!err && cli->args.comm.n) {
		err = choose_by_name(cli, c);
		if (!err && !c->v.n)
			err = sut_fail(cli->ctx, SUTURE_ENOTFOUND, "no process has a command name like '%s'",
				       cli->args.comm.v[0]);
	}
	return !err && cli->args.all ? choose_all(cli, patched_only, c) : err;
}

bool sut_many_processes(const struct sut_cli *cli)
{
	return cli->args.all || cli->args.comm.n || cli->args.pid.n > 1;
}

const char *sut_who(const struct sut_cli *cli, const char *who)
{
	return sut_many_processes(cli) ? who : "";
}

static char *who_is(struct suture_process *p)
{
	char *comm = sut_safe(suture_process_comm(p));
	char *who = sut_text("%s[%d]", comm, suture_process_pid(p));

	free(comm);
	return who;
}

static json_t *process_json(struct sut_cli *cli, const struct chosen *c, struct suture_process *p)
{
	json_t *obj;

	if (!cli->doc)
		return NULL;
	obj = sut_json_object();
	sut_json_set(obj, "pid", json_integer(c->pid));
	sut_json_set(obj, "command", p ? sut_json_text(suture_process_comm(p)) : json_null());
	sut_json_set(obj, "ok", json_false());
	sut_json_set(obj, "status", json_integer(0));
	return obj;
}

/* Keeps the object in the document; its error becomes the document's while it is the worst. */
static void keep_json(struct sut_cli *cli, json_t *obj, int status, int worst_before)
{
	json_t *error = json_object_get(obj, "error");

	sut_json_set(obj, "ok", json_boolean(status == 0));
	sut_json_set(obj, "status", json_integer(status));
	if (error && sut_worse_status(status, worst_before) != worst_before)
		sut_json_set(cli->doc, "error", json_incref(error));
	sut_json_add(json_object_get(cli->doc, "processes"), obj);
}

struct each {
	const struct sut_selection *sel;
	sut_process_fn fn;
	void *arg;
	unsigned done;
	int worst;
};

/* A process that was not named may be gone, or not be meant. @err is what attaching said. */
static bool skip_process(struct sut_cli *cli, struct choice *choice, const struct chosen *c, const struct each *each,
			 struct suture_process *p, int err)
{
	int status = suture_exit_status(err);

	if (c->named)
		return false;
	if (err == -SUTURE_EGONE || status == 7)
		return true;
	if (!c->matched)
		return false;
	if (status == 6 && sut_vec_push(&choice->unreadable, c->pid))
		sut_oom();
	return err || (each->sel->match && !each->sel->match(cli, p, each->arg));
}

static void do_process(struct sut_cli *cli, struct choice *choice, const struct chosen *c, struct each *each)
{
	struct suture_attach_opts opts = { .sz = sizeof(opts), .debug = cli->args.debug.v };
	struct suture_process *p = NULL;
	int err = suture_process_attach(cli->ctx, c->pid, &opts, &p), status;

	if (!skip_process(cli, choice, c, each, p, err)) {
		json_t *obj = process_json(cli, c, p);
		char *who = err ? NULL : who_is(p);

		each->done++;
		status = err ? sut_cli_fail(cli, err, "", obj) : each->fn(cli, p, who, obj, each->arg);
		if (obj)
			keep_json(cli, obj, status, each->worst);
		each->worst = sut_worse_status(status, each->worst);
		free(who);
	}
	suture_process_detach(p);
}

/* All of them, one after the other; -SUTURE_EFAILED when somebody wants the tool to end before. */
static int do_processes(struct sut_cli *cli, struct choice *choice, struct each *each)
{
	if (cli->cmd->changes)
		sut_interrupts_hold();
	for (size_t i = 0; i < choice->v.n; i++) {
		if (sut_interrupts_pending())
			return sut_fail(cli->ctx, SUTURE_EFAILED, "interrupted before process %d, %zu of %zu",
					choice->v.v[i].pid, i + 1, choice->v.n);
		do_process(cli, choice, &choice->v.v[i], each);
	}
	return 0;
}

/* "2 processes could not be looked at (no permission): 1 17" */
static void tell_unreadable(struct sut_cli *cli, const struct choice *choice)
{
	size_t n = choice->unreadable.n;
	char pids[8 * 12] = "";

	for (size_t i = 0, len = 0; i < n && n <= 8; i++)
		len += (size_t)snprintf(pids + len, sizeof(pids) - len, " %d", choice->unreadable.v[i]);
	if (n)
		sut_note(cli, "%zu process%s could not be looked at (no permission)%s%s", n, n == 1 ? "" : "es",
			 *pids ? ":" : "", pids);
}

int sut_each_process(struct sut_cli *cli, const struct sut_selection *sel, sut_process_fn fn, void *arg)
{
	struct each each = { .sel = sel, .fn = fn, .arg = arg };
	struct choice choice = { 0 };
	int err = choose_processes(cli, sel->patched, &choice);

	if (!err && cli->doc)
		sut_json_array(cli->doc, "processes");
	if (!err)
		err = do_processes(cli, &choice, &each);
	if (cli->doc)
		sut_json_set(cli->doc, "unreadable", json_integer((json_int_t)choice.unreadable.n));
	else
		tell_unreadable(cli, &choice);
	if (!err && !each.done && sel->none_is_fine && !cli->doc)
		sut_note(cli, "%s", sel->none);
	else if (!err && !each.done && !sel->none_is_fine)
		err = sut_fail(cli->ctx, SUTURE_ENOTHING, "%s", sel->none);
	sut_vec_free(&choice.v);
	sut_vec_free(&choice.unreadable);
	return err ? sut_worse_status(sut_cli_fail(cli, err, "", cli->doc), each.worst) : each.worst;
}
