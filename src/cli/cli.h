/* SPDX-License-Identifier: MIT */
/*
 * cli.h - the command line: commands, their option tables, and what they share.
 *
 * A command is one file with one struct sut_command: its option table is the only
 * description of its options, and makes the parser, --help, the completion of three
 * shells and the test that compares all of them with the man pages.
 *
 * The commands hold no logic of their own: they ask the rooms below and show the answer.
 * stdout carries the result, stderr everything else. Nothing is printed while a target is
 * held: the library has returned before a result is shown, and log lines that come earlier
 * are kept back (output.c).
 */
#ifndef SUT_CLI_H
#define SUT_CLI_H

#include <jansson.h>
#include <stdarg.h>
#include <stdnoreturn.h>
#include <sys/types.h>

#include <suture/suture.h>
#include <suture/sutfile.h>

#include "util/fail.h"
#include "util/util.h"

/** How an option's value is kept in struct sut_args. */
enum sut_opt_kind {
	SUT_OPT_FLAG, /* bool */
	SUT_OPT_COUNT, /* unsigned, one more each time */
	SUT_OPT_TEXT, /* const char * */
	SUT_OPT_LIST, /* struct sut_strings */
	SUT_OPT_NUMBER, /* unsigned, 1 or more */
	SUT_OPT_SECONDS, /* unsigned, milliseconds; decimals allowed */
	SUT_OPT_PID, /* struct sut_pids */
	SUT_OPT_COLOR, /* enum sut_color */
	SUT_OPT_HELP,
	SUT_OPT_VERSION,
};

/** What a shell offers for an option's value or an operand. */
enum sut_complete {
	SUT_COMPLETE_NONE,
	SUT_COMPLETE_FILE,
	SUT_COMPLETE_DIR,
	SUT_COMPLETE_PID,
	SUT_COMPLETE_COMM, /* names of running commands */
	SUT_COMPLETE_COLOR,
	SUT_COMPLETE_PATCH, /* names of patches in running processes */
	SUT_COMPLETE_COMMAND,
	SUT_COMPLETE_SHELL,
};

struct sut_option {
	char letter; /* 0: none */
	const char *name; /* without the dashes; NULL ends a table */
	const char *arg; /* what the value is called; NULL: takes none */
	const char *help; /* one line, no full stop */
	enum sut_opt_kind kind;
	size_t offset; /* in struct sut_args */
	enum sut_complete complete;
};

enum sut_color { SUT_COLOR_AUTO, SUT_COLOR_ALWAYS, SUT_COLOR_NEVER };

/** NULL-ended once parsed. */
struct sut_strings {
	const char **v;
	size_t n, cap;
};
struct sut_pids {
	pid_t *v;
	size_t n, cap;
};

/** All that any command can be asked for; strings point into argv. */
struct sut_args {
	struct sut_pids pid;
	struct sut_strings comm;
	bool all;
	bool json, quiet;
	unsigned verbose;
	enum sut_color color;
	bool dry_run;
	unsigned timeout_ms;
	bool timeout_given;
	struct sut_strings target, debug, diff;
	const char *source, *commands, *name, *output, *keep;
	unsigned jobs;
	bool explain, threads;
	struct sut_strings operand;
};

struct sut_cli;

struct sut_command {
	const char *name;
	const char *alias; /* NULL: none */
	const char *operands; /* as in the usage line, "" for none */
	const char *summary; /* one line, no full stop */
	const struct sut_option *options; /* its own; the common ones come on top */
	bool all_by_default; /* works on all processes that its --all would mean when none is named */
	bool changes; /* a process, or a file: its result matters more than its report */
	bool plain; /* has only --help: no result that --json could show */
	unsigned min_operands, max_operands;
	enum sut_complete complete; /* of the operands */
	/** Returns the exit status; failures have been shown by sut_cli_fail(). */
	int (*run)(struct sut_cli *cli);
};

/** One invocation. */
struct sut_cli {
	const struct sut_command *cmd;
	struct sut_args args;
	struct suture_ctx *ctx;
	json_t *doc; /* the document of --json; NULL: text */
};

/* dispatch.c: from argv to exit status */
int sut_main(int argc, char **argv);
/* The commands, in the order in which help lists them; NULL-ended */
extern const struct sut_command *const sut_commands[];
const struct sut_command *sut_command_find(const char *name);
extern const struct sut_command sut_cmd_build, sut_cmd_diff, sut_cmd_inspect, sut_cmd_check, sut_cmd_apply,
	sut_cmd_revert, sut_cmd_list, sut_cmd_status, sut_cmd_tree, sut_cmd_recover, sut_cmd_symbols, sut_cmd_doctor,
	sut_cmd_completion, sut_cmd_help, sut_cmd_version;

/* args.c: option tables to values and to help */
extern const struct sut_option sut_common_options[]; /* --json -q -v --color -h -V */
extern const struct sut_option sut_plain_options[]; /* -h */
/** The n-th option of a command, its own first, then the common ones; NULL past the end. */
const struct sut_option *sut_command_option(const struct sut_command *cmd, size_t n);
/** Parses the arguments after the command's name. 0; 1: help or version was printed; -SUTURE_EUSAGE (text in the context). */
int sut_args_parse(struct sut_cli *cli, int argc, char **argv) __must_check;
void sut_args_free(struct sut_args *args);
/** Prints a command's help on stdout. */
void sut_help_command(const struct sut_command *cmd);
/** Prints the help of suture itself. */
void sut_help_all(FILE *out);

#define SUT_ARG(field) offsetof(struct sut_args, field)
/* The processes that a command works on. */
#define SUT_OPTIONS_PID_AND_NAME                                                                                       \
	{ 'p', "pid", "PID", "the process; can be given several times", SUT_OPT_PID, SUT_ARG(pid), SUT_COMPLETE_PID }, \
	{                                                                                                              \
		'n', "name", "GLOB", "every process whose command name matches", SUT_OPT_LIST, SUT_ARG(comm),          \
			SUT_COMPLETE_COMM                                                                              \
	}
#define SUT_OPTIONS_PROCESSES(all_help)                                                 \
	SUT_OPTIONS_PID_AND_NAME,                                                       \
	{                                                                               \
		0, "all", NULL, all_help, SUT_OPT_FLAG, SUT_ARG(all), SUT_COMPLETE_NONE \
	}
#define SUT_OPTION_TIMEOUT                                                                          \
	{                                                                                           \
		0, "timeout", "SEC", "give up after so many seconds (default 15)", SUT_OPT_SECONDS, \
			SUT_ARG(timeout_ms), SUT_COMPLETE_NONE                                      \
	}
#define SUT_OPTION_DRY_RUN(help)                                                            \
	{                                                                                   \
		0, "dry-run", NULL, help, SUT_OPT_FLAG, SUT_ARG(dry_run), SUT_COMPLETE_NONE \
	}
#define SUT_OPTION_DEBUG(help)                                                            \
	{                                                                                 \
		0, "debug", "FILE", help, SUT_OPT_LIST, SUT_ARG(debug), SUT_COMPLETE_FILE \
	}

/* output.c: errors, log lines, progress, the document, and the end of stdout */
/** Makes sure that 0, 1 and 2 are open, and that a closed pipe is an error and not a signal. */
void sut_output_init(void);
/** Whether colours are wanted on @f (stdout or stderr). */
bool sut_output_colors(const struct sut_args *args, FILE *f);
void sut_output_log(void *arg, enum suture_log_level level, const char *line);
void sut_output_progress(void *arg, const char *what, unsigned done, unsigned total);
/** Removes the status line, and shows log lines that were kept back. */
void sut_output_settle(struct sut_cli *cli);
/**
 * Shows the failure @err of the context: on stderr, or in @obj ("error") when a document is made.
 * @who, "" for none, says which process it is about. Returns the exit status.
 */
int sut_cli_fail(struct sut_cli *cli, int err, const char *who, json_t *obj);
/** A line on stderr that is no failure ("note: ..."), unless -q. */
void sut_note(struct sut_cli *cli, const char *fmt, ...) sut_printf(2, 3);
/** Ends the invocation: prints the document, closes stdout. Returns the exit status, @status or worse. */
int sut_output_finish(struct sut_cli *cli, int status);
/** The worse of two exit statuses: 8, 70, 5, 1, 4, 6, 7, 3, 0 in this order (2, were it to come, after 1). */
int sut_worse_status(int a, int b);
noreturn void sut_oom(void);

/* interrupt.c: ^C while processes are changed */
/** Keeps ^C, SIGTERM, SIGHUP and SIGQUIT back. */
void sut_interrupts_hold(void);
/** Whether one has come since. */
bool sut_interrupts_pending(void);
/** Lets them through again: one that has come ends the tool here. */
void sut_interrupts_release(void);

/* render.c: tables, and values as people and machines read them */
struct sut_column {
	const char *name;
	bool right;
	bool tree;
	bool words; /* the last one only: sentences, broken between words on a narrow terminal */
};
struct sut_table;
/** @cols stay the caller's. @indent: spaces before each line. Only a column without words can be coloured. */
struct sut_table *sut_table_create(struct sut_cli *cli, const struct sut_column *cols, size_t n, unsigned indent);
/** Appends a line below @parent (0: top; else what an earlier call returned); cells are copied, NULL: "-". Returns its number. */
size_t sut_table_line(struct sut_table *t, size_t parent, const char *const *cells);
/** Colours a cell of the last line ("green", "red", "yellow", "gray"). */
void sut_table_color(struct sut_table *t, size_t column, const char *color);
/** Prints to stdout, unless it is empty or not to be shown, and frees. */
void sut_table_print(struct sut_table *t, bool show);

/** A heap string; never NULL. */
char *sut_text(const char *fmt, ...) sut_printf(1, 2);
/** A heap copy with everything that a terminal could act on made visible (\x1b): names come from targets. */
char *sut_safe(const char *s);
/** "48 us", "2.3 ms", "15.0 s". */
char *sut_text_time(uint64_t ns);
/** "3f9c..a1", "none" for "". */
char *sut_text_build_id(const char *hex);
/** "412->431". */
char *sut_text_sizes(uint64_t old_size, uint64_t new_size);
/** "12:04:11" today, else "2026-01-31 12:04". */
char *sut_text_since(uint64_t seconds);
/** "2026-01-31 12:04:11". */
char *sut_text_date(uint64_t seconds);
char *sut_text_bytes(uint64_t n);
/** "1 function", "2 functions". */
char *sut_text_count(uint64_t n, const char *noun);
const char *sut_paint(struct sut_cli *cli, FILE *f, const char *color); /* "" when colours are off */

json_t *sut_json_text(const char *s); /* any bytes; NULL: null */
json_t *sut_json_hex(uint64_t v); /* "0x7f..." */
json_t *sut_json_time(uint64_t seconds); /* "2026-01-31T12:04:11Z" */
/** A new object; out of memory ends the program. */
json_t *sut_json_object(void);
/** Sets a member; takes over @value; out of memory ends the program. */
void sut_json_set(json_t *obj, const char *key, json_t *value);
void sut_json_add(json_t *array, json_t *value);
json_t *sut_json_array(json_t *obj, const char *key);

/* select.c: which processes are meant */
/** What --all means for a command. */
struct sut_selection {
	bool patched; /* candidates are the processes that hold a registry, else all */
	/** Whether a candidate is meant; NULL: each is. */
	bool (*match)(struct sut_cli *cli, struct suture_process *p, void *arg);
	const char *none; /* what to say when there is none */
	bool none_is_fine; /* and it is no failure */
};
typedef int (*sut_process_fn)(struct sut_cli *cli, struct suture_process *p, const char *who, json_t *obj, void *arg);
/**
 * Calls @fn for each process that -p, -n and --all name. @fn returns an exit status; @who is "comm[pid]",
 * @obj the process's part of the document (NULL: text). Returns the worst status.
 */
int sut_each_process(struct sut_cli *cli, const struct sut_selection *sel, sut_process_fn fn, void *arg);
/** More than one process may be meant, so that each line must say which it is about. */
bool sut_many_processes(const struct sut_cli *cli);
/** @who where it must be said, else "". */
const char *sut_who(const struct sut_cli *cli, const char *who);

/* patchfile.c: the tables of a patch file, for inspect and for --all */
struct sut_patchfile {
	struct sut_elf *elf;
	const char *strtab;
	size_t strtab_size;
	const struct suture_file_object *object;
	size_t n_objects;
	const struct suture_file_func *func;
	size_t n_funcs;
	const struct suture_file_range *range;
	size_t n_ranges;
};
/** Reads a file that suture_patch_open() has checked; every offset is checked again. */
int sut_patchfile_open(struct suture_ctx *ctx, const char *path, struct sut_patchfile *ret) __must_check;
void sut_patchfile_close(struct sut_patchfile *f);
/** A string of the tables, "" when the offset is wrong. */
const char *sut_patchfile_string(const struct sut_patchfile *f, uint32_t offset);
/** The value of a key of .suture.info, or NULL. */
const char *sut_patchfile_info(const struct sut_patchfile *f, const char *key);
/** What sut_with_patch() hands on as @arg. */
struct sut_patch_arg {
	struct suture_patch *patch;
	struct sut_patchfile tables; /* open with --all only */
};
/** Opens the patch file that is the first operand and calls @fn for each process meant. */
int sut_with_patch(struct sut_cli *cli, sut_process_fn fn);

/* report.c: what check, apply and revert tell */
void sut_report_json(json_t *obj, const struct suture_report *r);
void sut_report_functions(struct sut_cli *cli, const struct suture_report *r);
/** "fix-1: 2 functions, 4 threads patched in 2.3 ms, longest pause of a thread 48 us" */
void sut_report_done(struct sut_cli *cli, const struct suture_report *r, const char *who, const char *verb);
/** The options of enable, disable and recover as the command line gives them; @report is where the report goes, or NULL. */
struct suture_enable_opts sut_enable_opts(const struct sut_cli *cli, struct suture_report **report);
/** "name,2", or the name alone when sympos is 0. A heap string. */
char *sut_text_func(const char *name, uint32_t sympos);
void sut_status_json(json_t *array, const struct suture_status_patch *p);
/** "enabled", "disabled", "loading", "parked": the word of the STATE column. */
const char *sut_state_word(enum suture_patch_state s);
/** "-", "patching", "unpatching", with " (interrupted)" when no tool is at it any more. A heap string. */
char *sut_text_transition(const struct suture_status_patch *p);

#endif
