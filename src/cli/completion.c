/* SPDX-License-Identifier: MIT */
/*
 * completion.c - suture completion bash|zsh|fish: scripts made from the option tables, so that they
 * can not lag behind. Prints only text of ours; nothing in it comes from the machine.
 */
#include "cli/cli.h"

/* How the scripts ask for the names of patches: a name is what stands before "order" in the document of list. */
#define LIST_PATCHES                                                                                                 \
	"suture list --json 2>/dev/null | tr '{' '\\n' | sed -n 's/^\"name\":\"\\([^\"]*\\)\",\"order\".*/\\1/p' | " \
	"sort -u"

static bool repeatable(const struct sut_option *o)
{
	return o->kind == SUT_OPT_LIST || o->kind == SUT_OPT_PID || o->kind == SUT_OPT_COUNT;
}

static void print_commands(const char *separator)
{
	for (size_t i = 0; sut_commands[i]; i++) {
		printf("%s%s", i ? separator : "", sut_commands[i]->name);
		if (sut_commands[i]->alias)
			printf("%s%s", separator, sut_commands[i]->alias);
	}
}

/* "build", "apply|load" */
static void print_names(const struct sut_command *c, const char *separator)
{
	printf("%s%s%s", c->name, c->alias ? separator : "", c->alias ? c->alias : "");
}

/* --- bash --------------------------------------------------------------------------------- */

static const char *bash_action(enum sut_complete c)
{
	switch (c) {
	case SUT_COMPLETE_FILE:
		return "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")";
	case SUT_COMPLETE_DIR:
		return "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")";
	case SUT_COMPLETE_PID:
		return "_suture_words \"$(ps -eo pid=)\"";
	case SUT_COMPLETE_COMM:
		return "_suture_words \"$(ps -eo comm= | sort -u)\"";
	case SUT_COMPLETE_COLOR:
		return "_suture_words \"auto always never\"";
	case SUT_COMPLETE_PATCH:
		return "_suture_words \"$(" LIST_PATCHES ")\"";
	case SUT_COMPLETE_COMMAND:
		return "_suture_words \"$commands\"";
	case SUT_COMPLETE_SHELL:
		return "_suture_words \"bash zsh fish\"";
	case SUT_COMPLETE_NONE:
		break;
	}
	return ":";
}

static void bash_command(const struct sut_command *c)
{
	const struct sut_option *o;

	printf("\t");
	print_names(c, "|");
	printf(")\n\t\tcase $prev in\n");
	for (size_t i = 0; (o = sut_command_option(c, i)); i++) {
		if (!o->arg)
			continue;
		printf("\t\t");
		if (o->letter)
			printf("-%c|", o->letter);
		printf("--%s) %s; return ;;\n", o->name, bash_action(o->complete));
	}
	printf("\t\tesac\n\t\tif [[ $cur == -* ]]; then\n\t\t\t_suture_words \"");
	for (size_t i = 0; (o = sut_command_option(c, i)); i++) {
		printf("%s", i ? " " : "");
		if (o->letter)
			printf("-%c ", o->letter);
		printf("--%s", o->name);
	}
	printf("\"\n\t\telse\n\t\t\t%s\n\t\tfi ;;\n", bash_action(c->complete));
}

static void print_bash(void)
{
	printf("# bash completion of suture %s, made by 'suture completion bash'\n", SUTURE_VERSION);
	printf("_suture_words()\n{\n\tmapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$cur\")\n}\n\n");
	printf("_suture()\n{\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} commands=\"");
	print_commands(" ");
	printf("\"\n\n\tCOMPREPLY=()\n\tif ((COMP_CWORD == 1)); then\n"
	       "\t\t_suture_words \"$commands --help --version\"\n\t\treturn\n\tfi\n"
	       "\tcase ${COMP_WORDS[1]} in\n");
	for (size_t i = 0; sut_commands[i]; i++)
		bash_command(sut_commands[i]);
	printf("\tesac\n}\ncomplete -F _suture suture\n");
}

/* --- zsh ---------------------------------------------------------------------------------- */

static const char *zsh_action(enum sut_complete c)
{
	switch (c) {
	case SUT_COMPLETE_FILE:
		return "_files";
	case SUT_COMPLETE_DIR:
		return "_files -/";
	case SUT_COMPLETE_PID:
		return "_pids";
	case SUT_COMPLETE_COMM:
		return "_suture_comms";
	case SUT_COMPLETE_COLOR:
		return "(auto always never)";
	case SUT_COMPLETE_PATCH:
		return "_suture_patches";
	case SUT_COMPLETE_COMMAND:
		return "_suture_commands";
	case SUT_COMPLETE_SHELL:
		return "(bash zsh fish)";
	case SUT_COMPLETE_NONE:
		break;
	}
	return " ";
}

/* Text within single quotes, with the characters that _arguments takes for its own escaped. */
static void zsh_text(const char *s)
{
	for (; *s; s++) {
		if (*s == '\'')
			printf("'\\''");
		else if (strchr("[]:\\", *s))
			printf("\\%c", *s);
		else
			putchar(*s);
	}
}

static void zsh_option(const struct sut_option *o)
{
	bool both = o->letter != 0;

	printf(" \\\n\t\t\t");
	if (repeatable(o))
		printf("'*'");
	else if (both)
		printf("'(-%c --%s)'", o->letter, o->name);
	if (both)
		printf("{-%c,--%s}'[", o->letter, o->name);
	else
		printf("'--%s[", o->name);
	zsh_text(o->help);
	putchar(']');
	if (o->arg) {
		putchar(':');
		zsh_text(o->arg);
		printf(":%s", zsh_action(o->complete));
	}
	putchar('\'');
}

static void zsh_command(const struct sut_command *c)
{
	const struct sut_option *o;

	printf("\t");
	print_names(c, "|");
	printf(")\n\t\t_arguments -s");
	for (size_t i = 0; (o = sut_command_option(c, i)); i++)
		zsh_option(o);
	for (unsigned i = 0; i < c->max_operands; i++)
		printf(" \\\n\t\t\t'%u:%s:%s'", i + 1, i < c->min_operands ? "operand" : "operand (may be left out)",
		       zsh_action(c->complete));
	printf(" ;;\n");
}

static void print_zsh(void)
{
	printf("#compdef suture\n# zsh completion of suture %s, made by 'suture completion zsh'\n", SUTURE_VERSION);
	printf("_suture_comms() { compadd -- ${(fu)\"$(ps -eo comm=)\"} }\n");
	printf("_suture_patches() { compadd -- ${(f)\"$(%s)\"} }\n", LIST_PATCHES);
	printf("_suture_commands() {\n\tlocal -a commands=(");
	for (size_t i = 0; sut_commands[i]; i++) {
		printf("\n\t\t'%s:", sut_commands[i]->name);
		zsh_text(sut_commands[i]->summary);
		putchar('\'');
	}
	printf("\n\t)\n\t_describe command commands\n}\n\n");
	printf("_suture() {\n\tif ((CURRENT == 2)); then\n\t\t_suture_commands\n\t\treturn\n\tfi\n"
	       "\tlocal command=$words[2]\n\tshift words\n\t((CURRENT--))\n\tcase $command in\n");
	for (size_t i = 0; sut_commands[i]; i++)
		zsh_command(sut_commands[i]);
	printf("\tesac\n}\n\nif [[ $funcstack[1] == _suture ]]; then\n\t_suture \"$@\"\nelse\n\tcompdef _suture "
	       "suture\nfi\n");
}

/* --- fish --------------------------------------------------------------------------------- */

static const char *fish_action(enum sut_complete c)
{
	switch (c) {
	case SUT_COMPLETE_FILE:
		return "-F";
	case SUT_COMPLETE_DIR:
		return "-a '(__fish_complete_directories)'";
	case SUT_COMPLETE_PID:
		return "-a '(__fish_complete_pids)'";
	case SUT_COMPLETE_COMM:
		return "-a '(ps -eo comm= | sort -u)'";
	case SUT_COMPLETE_COLOR:
		return "-a 'auto always never'";
	case SUT_COMPLETE_PATCH:
		return "-a '(__suture_patches)'";
	case SUT_COMPLETE_COMMAND:
		return "-a '(__suture_commands)'";
	case SUT_COMPLETE_SHELL:
		return "-a 'bash zsh fish'";
	case SUT_COMPLETE_NONE:
		break;
	}
	return "";
}

/* Text within single quotes. */
static void fish_text(const char *s)
{
	for (; *s; s++)
		printf(*s == '\'' || *s == '\\' ? "\\%c" : "%c", *s);
}

static void fish_command(const struct sut_command *c)
{
	const struct sut_option *o;

	for (size_t i = 0; (o = sut_command_option(c, i)); i++) {
		printf("complete -c suture -n '__fish_seen_subcommand_from ");
		print_names(c, " ");
		printf("'");
		if (o->letter)
			printf(" -s %c", o->letter);
		printf(" -l %s", o->name);
		if (o->arg)
			printf(" %s %s", o->complete == SUT_COMPLETE_FILE ? "-r" : "-x", fish_action(o->complete));
		printf(" -d '");
		fish_text(o->help);
		printf("'\n");
	}
	if (c->complete != SUT_COMPLETE_NONE) {
		printf("complete -c suture -n '__fish_seen_subcommand_from ");
		print_names(c, " ");
		printf("' %s\n", fish_action(c->complete));
	}
}

static void print_fish(void)
{
	printf("# fish completion of suture %s, made by 'suture completion fish'\n", SUTURE_VERSION);
	printf("function __suture_patches\n\t%s\nend\n", LIST_PATCHES);
	printf("function __suture_commands\n\tstring split ' ' '");
	print_commands(" ");
	printf("'\nend\ncomplete -c suture -f\n");
	for (size_t i = 0; sut_commands[i]; i++) {
		printf("complete -c suture -n __fish_use_subcommand -a %s -d '", sut_commands[i]->name);
		fish_text(sut_commands[i]->summary);
		printf("'\n");
	}
	for (size_t i = 0; sut_commands[i]; i++)
		fish_command(sut_commands[i]);
}

static int run_completion(struct sut_cli *cli)
{
	static const struct {
		const char *shell;
		void (*print)(void);
	} shells[] = { { "bash", print_bash }, { "zsh", print_zsh }, { "fish", print_fish } };
	const char *shell = cli->args.operand.v[0];

	for (size_t i = 0; i < SUT_ARRAY_SIZE(shells); i++)
		if (!strcmp(shell, shells[i].shell)) {
			shells[i].print();
			return 0;
		}
	return sut_cli_fail(cli, sut_fail(cli->ctx, SUTURE_EUSAGE, "completion: '%s' is not bash, zsh or fish", shell),
			    "", NULL);
}

const struct sut_command sut_cmd_completion = {
	.name = "completion",
	.operands = "SHELL",
	.summary = "print the completion script for bash, zsh or fish",
	.plain = true,
	.min_operands = 1,
	.max_operands = 1,
	.complete = SUT_COMPLETE_SHELL,
	.run = run_completion,
};
