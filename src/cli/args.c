/* SPDX-License-Identifier: MIT */
/*
 * args.c - from option tables to values and to help.
 *
 * The tables drive getopt_long(3); nothing about an option is written down anywhere else.
 * Values are checked here as far as they can be without looking at the machine (numbers,
 * words); a wrong one is a usage error: one line, exit status 2. Prints help and nothing else.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>

#include "cli/cli.h"

const struct sut_option sut_common_options[] = {
	{ 0, "json", NULL, "print the result as one JSON document", SUT_OPT_FLAG, SUT_ARG(json), SUT_COMPLETE_NONE },
	{ 'q', "quiet", NULL, "print nothing but errors; the exit status tells", SUT_OPT_FLAG, SUT_ARG(quiet),
	  SUT_COMPLETE_NONE },
	{ 'v', "verbose", NULL, "tell on standard error what is done; twice: in detail", SUT_OPT_COUNT,
	  SUT_ARG(verbose), SUT_COMPLETE_NONE },
	{ 0, "color", "WHEN", "auto, always or never", SUT_OPT_COLOR, SUT_ARG(color), SUT_COMPLETE_COLOR },
	{ 'h', "help", NULL, "print this help", SUT_OPT_HELP, 0, SUT_COMPLETE_NONE },
	{ 'V', "version", NULL, "print the version", SUT_OPT_VERSION, 0, SUT_COMPLETE_NONE },
	{ 0, NULL, NULL, NULL, 0, 0, 0 },
};

const struct sut_option sut_plain_options[] = {
	{ 'h', "help", NULL, "print this help", SUT_OPT_HELP, 0, SUT_COMPLETE_NONE },
	{ 0, NULL, NULL, NULL, 0, 0, 0 },
};

const struct sut_option *sut_command_option(const struct sut_command *cmd, size_t n)
{
	const struct sut_option *o = cmd->options;

	for (; o && o->name; o++)
		if (!n--)
			return o;
	for (o = cmd->plain ? sut_plain_options : sut_common_options; o->name; o++)
		if (!n--)
			return o;
	return NULL;
}

#define SUT_OPTIONS_MAX 32
/* getopt's codes for options: their place in the table, above any letter. */
#define SUT_CODE_BASE 1000

struct getopt_tables {
	struct option longs[SUT_OPTIONS_MAX + 1];
	char shorts[2 * SUT_OPTIONS_MAX + 2];
};

static void make_tables(const struct sut_command *cmd, struct getopt_tables *t)
{
	const struct sut_option *o;
	char *s = t->shorts;

	*s++ = ':';
	for (size_t i = 0; (o = sut_command_option(cmd, i)) && i < SUT_OPTIONS_MAX; i++) {
		t->longs[i].name = o->name;
		t->longs[i].has_arg = o->arg ? required_argument : no_argument;
		t->longs[i].val = SUT_CODE_BASE + (int)i;
		if (!o->letter)
			continue;
		*s++ = o->letter;
		if (o->arg)
			*s++ = ':';
	}
}

static const struct sut_option *option_of_code(const struct sut_command *cmd, int code)
{
	const struct sut_option *o;

	if (!code)
		return NULL;
	if (code >= SUT_CODE_BASE)
		return sut_command_option(cmd, (size_t)(code - SUT_CODE_BASE));
	for (size_t i = 0; (o = sut_command_option(cmd, i)); i++)
		if (o->letter == code)
			return o;
	return NULL;
}

/* A decimal number without sign, blanks or overflow. */
static bool parse_number(const char *s, unsigned long max, unsigned long *ret)
{
	unsigned long v = 0;

	if (!*s)
		return false;
	for (; *s; s++) {
		if (!isdigit((unsigned char)*s))
			return false;
		v = v * 10 + (unsigned long)(*s - '0');
		if (v > max)
			return false;
	}
	*ret = v;
	return true;
}

/* "15", "0.5": seconds to milliseconds, at most a day. */
static bool parse_seconds(const char *s, unsigned *ret_ms)
{
	const char *dot = strchr(s, '.');
	char whole[16], frac[4] = "000";
	unsigned long sec, ms = 0;
	size_t n = dot ? (size_t)(dot - s) : strlen(s);

	if (!n || n >= sizeof(whole))
		return false;
	memcpy(whole, s, n);
	whole[n] = '\0';
	if (dot) {
		size_t digits = strlen(dot + 1);

		if (!digits || digits > 3)
			return false;
		memcpy(frac, dot + 1, digits);
		if (!parse_number(frac, 999, &ms))
			return false;
	}
	if (!parse_number(whole, 86400, &sec))
		return false;
	*ret_ms = (unsigned)(sec * 1000 + ms);
	return true;
}

static int bad_value(struct sut_cli *cli, const struct sut_option *o, const char *value, const char *want)
{
	return sut_fail(cli->ctx, SUTURE_EUSAGE, "%s: --%s: '%s' is not %s", cli->cmd->name, o->name, value, want);
}

static int set_color(struct sut_cli *cli, const struct sut_option *o, const char *value)
{
	static const char *const words[] = { "auto", "always", "never" };

	for (size_t i = 0; i < SUT_ARRAY_SIZE(words); i++)
		if (!strcmp(value, words[i])) {
			cli->args.color = (enum sut_color)i;
			return 0;
		}
	return bad_value(cli, o, value, "auto, always or never");
}

static int set_value(struct sut_cli *cli, const struct sut_option *o, const char *value)
{
	char *field = (char *)&cli->args + o->offset;
	unsigned long n;

	switch (o->kind) {
	case SUT_OPT_FLAG:
		*(bool *)field = true;
		return 0;
	case SUT_OPT_COUNT:
		(*(unsigned *)field)++;
		return 0;
	case SUT_OPT_TEXT:
		if (!*value)
			return bad_value(cli, o, value, "a name");
		*(const char **)field = value;
		return 0;
	case SUT_OPT_LIST:
		if (!*value)
			return bad_value(cli, o, value, "a name");
		return sut_vec_push((struct sut_strings *)field, value) ? sut_nomem(cli->ctx) : 0;
	case SUT_OPT_NUMBER:
		if (!parse_number(value, 65536, &n) || !n)
			return bad_value(cli, o, value, "a number from 1 to 65536");
		*(unsigned *)field = (unsigned)n;
		return 0;
	case SUT_OPT_SECONDS:
		if (!parse_seconds(value, (unsigned *)field))
			return bad_value(cli, o, value, "a time in seconds (such as 15 or 0.5)");
		cli->args.timeout_given = true;
		return 0;
	case SUT_OPT_PID:
		if (!parse_number(value, 4194304, &n) || !n)
			return bad_value(cli, o, value, "a process id (names are for -n)");
		return sut_vec_push((struct sut_pids *)field, (pid_t)n) ? sut_nomem(cli->ctx) : 0;
	case SUT_OPT_COLOR:
		return set_color(cli, o, value);
	case SUT_OPT_HELP:
	case SUT_OPT_VERSION:
		break;
	}
	return sut_fail(cli->ctx, SUTURE_EBUG, "option --%s has no kind", o->name);
}

/* A command that works on processes wants to be told on which. */
static int check_processes(struct sut_cli *cli)
{
	struct sut_args *a = &cli->args;
	const struct sut_option *o;

	if (a->pid.n || a->comm.n || a->all)
		return 0;
	a->all = cli->cmd->all_by_default;
	for (size_t i = 0; (o = sut_command_option(cli->cmd, i)); i++)
		if (o->kind == SUT_OPT_PID && !a->all)
			return sut_fail(cli->ctx, SUTURE_EUSAGE, "%s: which process? -p PID, -n GLOB or --all",
					cli->cmd->name);
	return 0;
}

static int check_operands(struct sut_cli *cli)
{
	const struct sut_command *cmd = cli->cmd;
	size_t n = cli->args.operand.n;

	if (n < cmd->min_operands)
		return sut_fail(cli->ctx, SUTURE_EUSAGE, "%s: %s is missing", cmd->name,
				n && strchr(cmd->operands, ' ') ? strchr(cmd->operands, ' ') + 1 : cmd->operands);
	if (n > cmd->max_operands)
		return sut_fail(cli->ctx, SUTURE_EUSAGE, "%s: '%s' is one argument too many", cmd->name,
				cli->args.operand.v[cmd->max_operands]);
	return 0;
}

static int wrong_option(struct sut_cli *cli, int c, char **argv)
{
	const struct sut_option *o = option_of_code(cli->cmd, optopt);
	const char *word = argv[optind - 1];

	if (c == ':')
		return sut_fail(cli->ctx, SUTURE_EUSAGE, "%s: option %s wants a value (%s)", cli->cmd->name, word,
				o ? o->arg : "?");
	if (o && !o->arg)
		return sut_fail(cli->ctx, SUTURE_EUSAGE, "%s: option --%s takes no value", cli->cmd->name, o->name);
	if (optopt && optopt < SUT_CODE_BASE)
		return sut_fail(cli->ctx, SUTURE_EUSAGE, "%s: unknown option -%c", cli->cmd->name, optopt);
	return sut_fail(cli->ctx, SUTURE_EUSAGE, "%s: unknown option %s", cli->cmd->name, word);
}

int sut_args_parse(struct sut_cli *cli, int argc, char **argv)
{
	struct getopt_tables tables = { 0 };
	int c, err = 0;

	make_tables(cli->cmd, &tables);
	opterr = 0;
	optind = 0; /* a fresh start, also for the tests that parse more than once */
	while (!err && (c = getopt_long(argc, argv, tables.shorts, tables.longs, NULL)) != -1) {
		const struct sut_option *o = c == '?' || c == ':' ? NULL : option_of_code(cli->cmd, c);

		if (!o)
			return wrong_option(cli, c, argv);
		if (o->kind == SUT_OPT_HELP) {
			sut_help_command(cli->cmd);
			return 1;
		}
		if (o->kind == SUT_OPT_VERSION) {
			printf("suture %s\n", SUTURE_VERSION);
			return 1;
		}
		err = set_value(cli, o, optarg);
	}
	for (; !err && optind < argc; optind++)
		err = !*argv[optind] ? sut_fail(cli->ctx, SUTURE_EUSAGE, "%s: an argument is empty", cli->cmd->name)
		      : sut_vec_push(&cli->args.operand, argv[optind]) ? sut_nomem(cli->ctx)
								       : 0;
	/* The rooms want lists that end in NULL. */
	struct sut_strings *const lists[] = { &cli->args.target, &cli->args.debug, &cli->args.diff };
	for (size_t i = 0; !err && i < SUT_ARRAY_SIZE(lists); i++) {
		err = sut_vec_push(lists[i], NULL) ? sut_nomem(cli->ctx) : 0;
		lists[i]->n -= !err;
	}
	if (!err)
		err = check_operands(cli);
	return err ? err : check_processes(cli);
}

void sut_args_free(struct sut_args *args)
{
	sut_vec_free(&args->pid);
	sut_vec_free(&args->comm);
	sut_vec_free(&args->target);
	sut_vec_free(&args->debug);
	sut_vec_free(&args->diff);
	sut_vec_free(&args->operand);
}

/* "  -p, --pid PID", and its length */
static int option_text(const struct sut_option *o, char *buf, size_t cap)
{
	char letter[5] = "    ";

	if (o->letter)
		snprintf(letter, sizeof(letter), "-%c, ", o->letter);
	return snprintf(buf, cap, "  %s--%s%s%s", letter, o->name, o->arg ? " " : "", o->arg ? o->arg : "");
}

void sut_help_command(const struct sut_command *cmd)
{
	const struct sut_option *o;
	char text[64];
	int width = 0, n;

	for (size_t i = 0; (o = sut_command_option(cmd, i)); i++)
		if ((n = option_text(o, text, sizeof(text))) > width)
			width = n;
	printf("Usage: suture %s%s%s%s\n", cmd->name, cmd->plain ? "" : " [OPTION]...", *cmd->operands ? " " : "",
	       cmd->operands);
	printf("%c%s.\n", toupper((unsigned char)cmd->summary[0]), cmd->summary + 1);
	if (cmd->alias)
		printf("'suture %s' is the same.\n", cmd->alias);
	printf("\nOptions:\n");
	for (size_t i = 0; (o = sut_command_option(cmd, i)); i++) {
		option_text(o, text, sizeof(text));
		printf("%-*s  %s\n", width, text, o->help);
	}
	printf("\nMore: man suture-%s\n", cmd->name);
}

void sut_help_all(FILE *out)
{
	fprintf(out, "Usage: suture COMMAND [OPTION]...\n"
		     "Mend programs while they run: build a live patch, put it into a process, take it out again.\n"
		     "\nCommands:\n");
	for (size_t i = 0; sut_commands[i]; i++)
		fprintf(out, "  %-11s %s\n", sut_commands[i]->name, sut_commands[i]->summary);
	fprintf(out, "\n'suture COMMAND --help' tells a command's options, 'man suture' the whole.\n");
}
