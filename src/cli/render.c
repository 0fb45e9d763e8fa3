/* SPDX-License-Identifier: MIT */
/*
 * render.c - tables, and values as people and as machines read them.
 *
 * Invariants: whatever comes from a target (names, paths) goes to a terminal only with its
 * control characters made visible, and into JSON only as valid UTF-8. A table is never
 * cut when it goes to a pipe or a file. Prints to stdout; looks at no process.
 */
#include <libsmartcols/libsmartcols.h>
#include <sys/ioctl.h>
#include <time.h>
#include <wchar.h>

#include "cli/cli.h"

/*
 * The last column may hold sentences. It is kept back until the table is printed; on a terminal that is too narrow
 * it is broken between words, and where not even that leaves room it goes below its line.
 */
struct sut_table {
	struct libscols_table *tb;
	struct libscols_line *last;
	const struct sut_column *cols;
	size_t n_cols, n_lines;
	unsigned indent;
	size_t terminal; /* columns, 0: no limit */
	bool colors;
	SUT_VEC(char *) words; /* of the last column, when that may be broken */
	SUT_VEC(struct libscols_line *) line;
};

#define SEPARATOR(t) ((t)->indent ? "  " : " ")
#define WORDS_MIN    16 /* narrower, and sentences go below their line */

/* 0: no limit. */
static size_t terminal_width(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize w;

	if (!isatty(1))
		return 0;
	if (!ioctl(1, TIOCGWINSZ, &w) && w.ws_col)
		return w.ws_col;
	return columns && atoi(columns) > 0 ? (size_t)atoi(columns) : 80;
}

static bool has_words(const struct sut_table *t)
{
	return t->cols[t->n_cols - 1].words;
}

struct sut_table *sut_table_create(struct sut_cli *cli, const struct sut_column *cols, size_t n, unsigned indent)
{
	struct sut_table *t = calloc(1, sizeof(*t));

	if (!t || !(t->tb = scols_new_table()))
		sut_oom();
	t->cols = cols;
	t->n_cols = n;
	t->indent = indent;
	t->terminal = terminal_width();
	t->colors = sut_output_colors(&cli->args, stdout);
	scols_table_enable_colors(t->tb, t->colors);
	/* Cells come through sut_safe() already. */
	scols_table_enable_noencoding(t->tb, 1);
	scols_table_set_column_separator(t->tb, SEPARATOR(t));
	scols_table_set_termforce(t->tb, SCOLS_TERMFORCE_NEVER);
	for (size_t i = 0; i < n; i++) {
		int flags = (cols[i].right ? SCOLS_FL_RIGHT : 0) | (cols[i].tree ? SCOLS_FL_TREE : 0);

		if (!scols_table_new_column(t->tb, cols[i].name, 0, flags))
			sut_oom();
		if (!*cols[i].name)
			scols_table_enable_noheadings(t->tb, 1);
	}
	return t;
}

size_t sut_table_line(struct sut_table *t, size_t parent, const char *const *cells)
{
	struct libscols_line *above = parent ? t->line.v[parent - 1] : NULL;
	struct libscols_line *line = scols_table_new_line(t->tb, above);
	size_t n = t->n_cols - has_words(t);

	if (!line || sut_vec_push(&t->line, line))
		sut_oom();
	for (size_t i = 0; i < n; i++)
		if (scols_line_set_data(line, i, cells[i] ? cells[i] : "-"))
			sut_oom();
	if (has_words(t) && sut_vec_push(&t->words, sut_text("%s", cells[n])))
		sut_oom();
	t->last = line;
	return ++t->n_lines;
}

void sut_table_color(struct sut_table *t, size_t column, const char *color)
{
	struct libscols_cell *cell = t->last ? scols_line_get_cell(t->last, column) : NULL;

	if (cell && t->colors)
		scols_cell_set_color(cell, color);
}

/* Columns that a text takes on a terminal. */
static size_t text_width(const char *s)
{
	mbstate_t state = { 0 };
	size_t width = 0;

	while (*s) {
		wchar_t w;
		size_t n = mbrtowc(&w, s, strlen(s), &state);

		if (n == (size_t)-1 || n == (size_t)-2)
			return width + strlen(s);
		width += (size_t)(wcwidth(w) > 0 ? wcwidth(w) : 0);
		s += n;
	}
	return width;
}

/* Breaks a text between words, so that no line is longer than @width, and each new one begins with @indent spaces. */
static char *break_words(const char *text, size_t width, size_t indent)
{
	_cleanup_free_ char *copy = sut_text("%s", text);
	char *out = sut_text("%s", ""), *more, *save = NULL;
	size_t at = 0;

	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		size_t n = text_width(word);

		if (!*out)
			more = sut_text("%s", word);
		else if (at + 1 + n <= width)
			more = sut_text("%s %s", out, word);
		else
			more = sut_text("%s\n%*s%s", out, (int)indent, "", word);
		at = !*out || more[strlen(out)] == '\n' ? n : at + 1 + n;
		free(out);
		out = more;
	}
	return out;
}

/* What the columns before the last take, and the longest text of the last. */
static void measure(const struct sut_table *t, size_t *ret_rest, size_t *ret_words)
{
	*ret_rest = t->indent;
	*ret_words = strlen(t->cols[t->n_cols - 1].name);
	for (size_t c = 0; c + 1 < t->n_cols; c++) {
		size_t width = strlen(t->cols[c].name);

		for (size_t i = 0; i < t->n_lines; i++) {
			struct libscols_cell *cell = scols_line_get_cell(t->line.v[i], c);
			size_t n = text_width(scols_cell_get_data(cell) ? scols_cell_get_data(cell) : "");

			width = n > width ? n : width;
		}
		*ret_rest += width + strlen(SEPARATOR(t));
	}
	for (size_t i = 0; i < t->words.n; i++)
		if (text_width(t->words.v[i]) > *ret_words)
			*ret_words = text_width(t->words.v[i]);
}

/* Gives the last column its texts, broken if need be; false: they go below. */
static bool place_words(struct sut_table *t)
{
	struct libscols_column *last = scols_table_get_column(t->tb, t->n_cols - 1);
	size_t rest, words;

	measure(t, &rest, &words);
	if (t->terminal && rest + words > t->terminal) {
		if (t->terminal < rest + WORDS_MIN) {
			scols_column_set_flags(last, SCOLS_FL_HIDDEN);
			return false;
		}
		words = t->terminal - rest;
		scols_column_set_flags(last, SCOLS_FL_WRAP);
		scols_column_set_wrapfunc(last, scols_wrapnl_chunksize, scols_wrapnl_nextchunk, NULL);
		scols_column_set_safechars(last, "\n");
	}
	for (size_t i = 0; i < t->n_lines; i++) {
		_cleanup_free_ char *text = break_words(t->words.v[i], words, 0);

		if (scols_line_set_data(t->line.v[i], t->n_cols - 1, text))
			sut_oom();
	}
	return true;
}

static void print_below(const struct sut_table *t, const char *text)
{
	size_t indent = t->indent + 4, width = t->terminal > indent + WORDS_MIN ? t->terminal - indent : WORDS_MIN;
	_cleanup_free_ char *broken = break_words(text, width, indent);

	if (*broken)
		printf("%*s%s\n", (int)indent, "", broken);
}

void sut_table_print(struct sut_table *t, bool show)
{
	bool below = show && has_words(t) && !place_words(t);
	size_t n = 0;
	char *text = NULL;

	if (show && t->n_lines && scols_print_table_to_string(t->tb, &text))
		sut_oom();
	for (char *line = text, *next; line && *line; line = next) {
		size_t len = strcspn(line, "\n");

		next = line + len + (line[len] == '\n');
		while (len && line[len - 1] == ' ')
			len--;
		printf("%*s%.*s\n", len ? (int)t->indent : 0, "", (int)len, line);
		if (below && n++)
			print_below(t, t->words.v[n - 2]);
	}
	free(text);
	for (size_t i = 0; i < t->words.n; i++)
		free(t->words.v[i]);
	sut_vec_free(&t->words);
	sut_vec_free(&t->line);
	scols_unref_table(t->tb);
	free(t);
}

char *sut_text(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		sut_oom();
	va_end(ap);
	return s;
}

char *sut_safe(const char *s)
{
	char *safe = malloc(4 * strlen(s) + 1), *p = safe;
	mbstate_t state = { 0 };

	if (!safe)
		sut_oom();
	while (*s) {
		wchar_t w;
		size_t n = mbrtowc(&w, s, strlen(s), &state);

		if (n == (size_t)-1 || n == (size_t)-2 || wcwidth(w) < 0) {
			/* Not printable, or no character of this locale: shown byte by byte. */
			memset(&state, 0, sizeof(state));
			p += sprintf(p, "\\x%02x", (unsigned char)*s++);
			continue;
		}
		memcpy(p, s, n);
		p += n;
		s += n;
	}
	*p = '\0';
	return safe;
}

char *sut_text_time(uint64_t ns)
{
	double us = (double)ns / 1e3;

	if (us < 999.5)
		return sut_text("%.0f us", us);
	if (us < 99950)
		return sut_text("%.1f ms", us / 1e3);
	if (us < 999500)
		return sut_text("%.0f ms", us / 1e3);
	return sut_text("%.1f s", us / 1e6);
}

char *sut_text_build_id(const char *hex)
{
	size_t n = strlen(hex);

	if (!n)
		return sut_text("none");
	return n <= 12 ? sut_text("%s", hex) : sut_text("%.4s..%s", hex, hex + n - 2);
}

char *sut_text_sizes(uint64_t old_size, uint64_t new_size)
{
	return sut_text("%llu->%llu", (unsigned long long)old_size, (unsigned long long)new_size);
}

char *sut_text_since(uint64_t seconds)
{
	time_t then = (time_t)seconds, now = time(NULL);
	struct tm a, b;
	char buf[32];

	if (!seconds || !localtime_r(&then, &a) || !localtime_r(&now, &b))
		return sut_text("-");
	strftime(buf, sizeof(buf), a.tm_year == b.tm_year && a.tm_yday == b.tm_yday ? "%H:%M:%S" : "%Y-%m-%d %H:%M",
		 &a);
	return sut_text("%s", buf);
}

char *sut_text_date(uint64_t seconds)
{
	time_t then = (time_t)seconds;
	struct tm tm;
	char buf[32];

	if (!localtime_r(&then, &tm) || !strftime(buf, sizeof(buf), "%Y-%m-%d %H:%M:%S", &tm))
		return sut_text("%llu", (unsigned long long)seconds);
	return sut_text("%s", buf);
}

char *sut_text_bytes(uint64_t n)
{
	static const char *const units[] = { "KiB", "MiB", "GiB" };
	double v = (double)n / 1024;
	size_t i = 0;

	if (n < 1024)
		return sut_text("%u B", (unsigned)n);
	for (; v >= 1024 && i + 1 < SUT_ARRAY_SIZE(units); i++)
		v /= 1024;
	return sut_text("%.1f %s", v, units[i]);
}

char *sut_text_count(uint64_t n, const char *noun)
{
	size_t len = strlen(noun);
	const char *plural = len > 2 && !strcmp(noun + len - 2, "ch") ? "es" : "s";

	return sut_text("%llu %s%s", (unsigned long long)n, noun, n == 1 ? "" : plural);
}

const char *sut_paint(struct sut_cli *cli, FILE *f, const char *color)
{
	static const struct {
		const char *name, *code;
	} codes[] = {
		{ "red", "\033[31m" }, { "green", "\033[32m" }, { "yellow", "\033[33m" },
		{ "bold", "\033[1m" }, { "", "\033[0m" },
	};

	for (size_t i = 0; sut_output_colors(&cli->args, f) && i < SUT_ARRAY_SIZE(codes); i++)
		if (!strcmp(codes[i].name, color))
			return codes[i].code;
	return "";
}

json_t *sut_json_text(const char *s)
{
	struct sut_buf b = { 0 };
	json_t *v;

	if (!s)
		return json_null();
	v = json_string(s);
	if (v)
		return v;
	/* Not UTF-8: the bytes that are not ASCII are written as \xNN. */
	for (; *s; s++) {
		char esc[5] = "";
		bool ascii = (unsigned char)*s < 0x80;

		if (!ascii)
			snprintf(esc, sizeof(esc), "\\x%02x", (unsigned char)*s);
		if (sut_buf_add(&b, ascii ? s : esc, ascii ? 1 : 4))
			sut_oom();
	}
	v = json_stringn((char *)b.p, b.len);
	sut_buf_free(&b);
	return v;
}

json_t *sut_json_hex(uint64_t v)
{
	return json_sprintf("0x%llx", (unsigned long long)v);
}

json_t *sut_json_time(uint64_t seconds)
{
	time_t then = (time_t)seconds;
	struct tm tm;
	char buf[32];

	if (!gmtime_r(&then, &tm) || !strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%SZ", &tm))
		return json_null();
	return json_string(buf);
}

json_t *sut_json_object(void)
{
	json_t *o = json_object();

	if (!o)
		sut_oom();
	return o;
}

void sut_json_set(json_t *obj, const char *key, json_t *value)
{
	if (!value || json_object_set_new(obj, key, value))
		sut_oom();
}

void sut_json_add(json_t *array, json_t *value)
{
	if (!value || json_array_append_new(array, value))
		sut_oom();
}

json_t *sut_json_array(json_t *obj, const char *key)
{
	json_t *a = json_array();

	sut_json_set(obj, key, a);
	return a;
}
