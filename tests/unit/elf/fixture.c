/* SPDX-License-Identifier: MIT */
/* fixture.c - the temporary directory, the tools and the context behind fixture.h. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "fixture.h"

struct suture_ctx *ctx;
char fx_log[4096];
static char dir[] = "/tmp/suture-elf-XXXXXX";

static void keep_log(void *arg, enum suture_log_level level, const char *line)
{
	size_t len = strlen(fx_log);

	snprintf(fx_log + len, sizeof(fx_log) - len, "%s\n", line);
}

bool fx_have(const char *tool)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "command -v %s >/dev/null 2>&1", tool);
	return system(cmd) == 0;
}

void fx_start(void)
{
	static const char *const tools[] = { "cc", "objcopy", "strip", "ld" };
	const struct suture_ctx_opts opts = { .sz = sizeof(opts), .log = keep_log };

	for (size_t i = 0; i < SUT_ARRAY_SIZE(tools); i++) {
		if (fx_have(tools[i]))
			continue;
		fprintf(stderr, "skipped: there is no %s to make the test's files with\n", tools[i]);
		exit(77);
	}
	if (suture_ctx_create(&opts, &ctx) || !mkdtemp(dir)) {
		perror("setting up");
		exit(99);
	}
}

int fx_end(int failed)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	if (system(cmd))
		fprintf(stderr, "%s was not removed\n", dir);
	suture_ctx_destroy(ctx);
	return failed ? 1 : 0;
}

const char *fx_path(const char *name)
{
	static char buf[8][512];
	static unsigned turn;
	char *b = buf[turn++ % 8];

	snprintf(b, sizeof(buf[0]), "%s/%s", dir, name);
	return b;
}

const char *fx_write(const char *name, const void *p, size_t len)
{
	const char *path = fx_path(name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(p, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
	return path;
}

const char *fx_text(const char *name, const char *text)
{
	return fx_write(name, text, strlen(text));
}

void fx_run(const char *fmt, ...)
{
	char cmd[2048];
	int len = snprintf(cmd, sizeof(cmd), "cd %s && ", dir);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd + len, sizeof(cmd) - (size_t)len, fmt, ap);
	va_end(ap);
	if (system(cmd))
		fail_msg("this failed: %s", cmd);
}

uint8_t *fx_read(const char *path, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *p;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	p = malloc((size_t)st.st_size);
	assert_non_null(p);
	assert_int_equal(read(fd, p, (size_t)st.st_size), st.st_size);
	close(fd);
	*ret_len = (size_t)st.st_size;
	return p;
}

struct sut_elf *fx_open(const char *name)
{
	struct sut_elf *e = NULL;

	if (sut_elf_open(ctx, name[0] == '/' ? name : fx_path(name), &e))
		fail_msg("%s: %s", name, fx_error());
	return e;
}

const char *fx_error(void)
{
	return suture_ctx_error(ctx)->message;
}
