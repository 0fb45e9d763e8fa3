/* SPDX-License-Identifier: MIT */
/*
 * output.c - what leaves the tool: errors, notes, log lines, the status line, and the end of stdout.
 *
 * Invariants: nothing is written while a target is held. The library blocks SIGTTOU for as long as it works on
 * one; log lines that come then are kept in a fixed buffer and shown afterwards. Progress comes only when nothing is
 * held, and is dropped where the terminal would not take it at once. A terminal that is stopped (^S) or a full pipe
 * can so only ever delay the tool. A result that could not be written whole is a failure.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "cli/cli.h"

#define KEPT_MAX 32768

static struct {
	bool ttou_blocked_at_start;
	bool status_line; /* one stands on the terminal */
	uint64_t status_at; /* when it was drawn, ns */
	size_t kept_len;
	unsigned kept_lost;
	char kept[KEPT_MAX];
} out;

static bool ttou_blocked(void)
{
	sigset_t set;

	sigemptyset(&set);
	pthread_sigmask(SIG_BLOCK, NULL, &set);
	return sigismember(&set, SIGTTOU) == 1;
}

static bool target_held(void)
{
	return ttou_blocked() && !out.ttou_blocked_at_start;
}

static void nothing(int sig)
{
}

void sut_output_init(void)
{
	/* An empty handler, unlike SIG_IGN, is not inherited by the compilers that build starts. */
	struct sigaction sa = { .sa_handler = nothing, .sa_flags = SA_RESTART };

	sigaction(SIGPIPE, &sa, NULL);
	for (int fd = 0; fd <= 2; fd++) {
		/* A closed one must not become some file of ours; writing to the stand-in for stdout fails. */
		if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
			continue;
		if (open("/dev/null", fd == 2 ? O_WRONLY : O_RDONLY) != fd)
			_exit(1);
	}
	out.ttou_blocked_at_start = ttou_blocked();
}

bool sut_output_colors(const struct sut_args *args, FILE *f)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	if (args->color != SUT_COLOR_AUTO)
		return args->color == SUT_COLOR_ALWAYS;
	if (no && *no)
		return false;
	return isatty(fileno(f)) && term && strcmp(term, "dumb");
}

static void clear_status_line(void)
{
	if (!out.status_line)
		return;
	fputs("\r\033[K", stderr);
	fflush(stderr);
	out.status_line = false;
}

/* Adds a line to what is shown later. */
static void keep_line(const char *level, const char *line)
{
	int room = (int)(KEPT_MAX - out.kept_len);
	int n = snprintf(out.kept + out.kept_len, (size_t)room, "suture: %s%s\n", level, line);

	if (n >= room)
		out.kept_lost++;
	else
		out.kept_len += (size_t)n;
}

static void show_kept(void)
{
	out.kept[out.kept_len] = '\0';
	for (char *line = strtok(out.kept, "\n"); line; line = strtok(NULL, "\n")) {
		char *safe = sut_safe(line);

		fprintf(stderr, "%s\n", safe);
		free(safe);
	}
	out.kept_len = 0;
	if (out.kept_lost) {
		fprintf(stderr, "suture: %u log lines more, made while the target was held, were dropped\n",
			out.kept_lost);
		out.kept_lost = 0;
	}
}

void sut_output_log(void *arg, enum suture_log_level level, const char *line)
{
	const struct sut_cli *cli = arg;
	static const char *const names[] = { "debug: ", "", "warning: " };
	unsigned wanted = level == SUTURE_LOG_WARN   ? !cli->args.quiet
			  : level == SUTURE_LOG_INFO ? cli->args.verbose >= 1
						     : cli->args.verbose >= 2;
	char *safe;

	if (!wanted)
		return;
	if (target_held()) {
		keep_line(names[level], line);
		return;
	}
	clear_status_line();
	show_kept();
	safe = sut_safe(line);
	fprintf(stderr, "suture: %s%s\n", names[level], safe);
	free(safe);
}

/* Whether it takes a few words at once: a terminal that was stopped (^S) must not stop us between two attempts. */
static bool writable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT);
}

static int stderr_width(void)
{
	struct winsize w;

	return ioctl(2, TIOCGWINSZ, &w) || w.ws_col < 20 ? 80 : w.ws_col;
}

void sut_output_progress(void *arg, const char *what, unsigned done, unsigned total)
{
	const struct sut_cli *cli = arg;
	uint64_t now = sut_now_ns();
	char *line, *safe;

	if (cli->args.quiet || !isatty(2) || !writable(2))
		return;
	if (out.status_line && now - out.status_at < 100000000 && (!total || done != total))
		return;
	if (!target_held())
		show_kept();
	safe = sut_safe(what);
	line = total ? sut_text("%s  %u of %u", safe, done, total) : sut_text("%s", safe);
	fprintf(stderr, "\r%.*s\033[K", stderr_width() - 1, line);
	fflush(stderr);
	free(line);
	free(safe);
	out.status_line = true;
	out.status_at = now;
}

void sut_output_settle(struct sut_cli *cli)
{
	clear_status_line();
	show_kept();
}

void sut_note(struct sut_cli *cli, const char *fmt, ...)
{
	char text[1024], *safe;
	va_list ap;

	if (cli->args.quiet)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	sut_output_settle(cli);
	safe = sut_safe(text);
	fprintf(stderr, "note: %s\n", safe);
	free(safe);
}

/* The text of a failure, also of one that nobody described. */
static struct suture_error describe(struct sut_cli *cli, int err, char *buf, size_t cap)
{
	struct suture_error e = *suture_ctx_error(cli->ctx);

	if (e.code == -err && *e.message)
		return e;
	snprintf(buf, cap, "%s",
		 -err < SUTURE_EFAILED ? strerror(-err) : "failed, and no room of the library has said why");
	return (struct suture_error){ .code = -err, .message = buf };
}

static void fail_json(json_t *obj, int err, const struct suture_error *e)
{
	json_t *error = sut_json_object();

	sut_json_set(error, "code", json_string(suture_code_name(err)));
	sut_json_set(error, "message", sut_json_text(e->message));
	sut_json_set(error, "hint", sut_json_text(e->hint));
	sut_json_set(error, "address", e->address ? sut_json_hex(e->address) : json_null());
	sut_json_set(obj, "error", error);
}

int sut_cli_fail(struct sut_cli *cli, int err, const char *who, json_t *obj)
{
	char buf[128], *message, *hint;
	struct suture_error e = describe(cli, err, buf, sizeof(buf));
	const char *red = sut_paint(cli, stderr, "red"), *bold = sut_paint(cli, stderr, "bold");
	const char *end = sut_paint(cli, stderr, "");

	sut_output_settle(cli);
	if (obj) {
		fail_json(obj, err, &e);
		return suture_exit_status(err);
	}
	message = sut_safe(e.message);
	if (!strncmp(message, who, strlen(who))) /* it names the process itself */
		who = "";
	fprintf(stderr, "%ssuture:%s %s%s%s", red, end, who, *who ? ": " : "", message);
	if (err == -SUTURE_EUSAGE)
		fprintf(stderr, " (see suture %s --help)", cli->cmd->name);
	fputc('\n', stderr);
	if (e.hint) {
		hint = sut_safe(e.hint);
		fprintf(stderr, "%shint:%s %s\n", bold, end, hint);
		free(hint);
	}
	free(message);
	return suture_exit_status(err);
}

int sut_worse_status(int a, int b)
{
	static const int order[] = { 8, 70, 5, 1, 2, 4, 6, 7, 3, 0 };

	for (size_t i = 0; i < SUT_ARRAY_SIZE(order); i++)
		if (a == order[i] || b == order[i])
			return order[i];
	return a;
}

/* Writes what is left of stdout; the errno of the first failure, or 0. */
static int close_stdout(void)
{
	bool bad = ferror(stdout);

	errno = 0;
	if (fflush(stdout))
		return errno ? errno : EIO;
	/* A write that the kernel has taken can still fail in close(2): quota, network file systems. */
	if (close(1) && errno != EBADF)
		return errno;
	return bad ? EIO : 0;
}

int sut_output_finish(struct sut_cli *cli, int status)
{
	int err;

	sut_output_settle(cli);
	if (cli->doc) {
		sut_json_set(cli->doc, "ok", json_boolean(status == 0));
		sut_json_set(cli->doc, "status", json_integer(status));
		json_dumpf(cli->doc, stdout, JSON_ENCODE_ANY | (isatty(1) ? JSON_INDENT(2) : JSON_COMPACT));
		putchar('\n');
		json_decref(cli->doc);
		cli->doc = NULL;
	}
	err = close_stdout();
	if (!err)
		return status;
	/* Who reads only the first lines of a list does not want to hear of the rest. */
	if (err == EPIPE && !cli->cmd->changes)
		return sut_worse_status(status, 1);
	fprintf(stderr, "suture: the result could not be written to standard output: %s\n", strerror(err));
	if (!status && cli->cmd->changes)
		fprintf(stderr, "hint: what was asked for has been done; only its report is lost\n");
	return sut_worse_status(status, 1);
}

noreturn void sut_oom(void)
{
	/* Nothing is held here: commands run when the library has returned. */
	fprintf(stderr, "suture: out of memory\n");
	_exit(1);
}
