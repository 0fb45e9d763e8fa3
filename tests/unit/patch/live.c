/* SPDX-License-Identifier: MIT */
/* live.c - starts, watches and ends victims (live.h). */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/mksut.h"
#include "lib/needs.h"
#include "live.h"
#include "patch/internal.h"

const char *live_victim, *live_lib, *live_fix_exe, *live_fix_both, *live_fix_slow, *live_loader, *live_fix_lib;
struct suture_ctx *live_ctx;

static void log_line(void *arg, enum suture_log_level level, const char *line)
{
	if (level == SUTURE_LOG_WARN || getenv("SUTURE_TEST_VERBOSE"))
		fprintf(stderr, "log: %s\n", line);
}

void live_init(void)
{
	const struct suture_ctx_opts opts = { .sz = sizeof(opts), .log = log_line };

	need_host();
	need_trace();
	if (suture_ctx_create(&opts, &live_ctx))
		exit(99);
	if (getenv("SUTURE_TEST"))
		cmocka_set_test_filter(getenv("SUTURE_TEST"));
}

void live_args(int argc, char **argv)
{
	if (argc != 8) {
		fprintf(stderr, "usage: %s VICTIM LIBVICTIM.so FIX_EXE.o FIX_BOTH.o FIX_SLOW.o LOADER FIX_LIB.o\n",
			argv[0]);
		exit(99);
	}
	live_victim = argv[1];
	live_lib = argv[2];
	live_fix_exe = argv[3];
	live_fix_both = argv[4];
	live_fix_slow = argv[5];
	live_loader = argv[6];
	live_fix_lib = argv[7];
	live_init();
}

void victim_exec(struct victim *v, const char *program, const char *threads, const char *const *words)
{
	const char *argv[16] = { program, v->path, threads };
	int fd;

	for (int i = 0; words[i] && i < 12; i++)
		argv[3 + i] = words[i];

	snprintf(v->path, sizeof(v->path), "/tmp/suture-victim-XXXXXX");
	fd = mkstemp(v->path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, sizeof(*v->shared)), 0);
	v->shared = mmap(NULL, sizeof(*v->shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(v->shared, MAP_FAILED);
	close(fd);
	v->pid = fork();
	assert_true(v->pid >= 0);
	if (!v->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execv(program, (char **)argv);
		_exit(127);
	}
	for (int i = 0; i < 20000 && __atomic_load_n(&v->shared->ready, __ATOMIC_SEQ_CST) < atoi(threads); i++)
		usleep(1000);
	assert_int_equal(v->shared->ready, atoi(threads));
}

void victim_start(struct victim *v, const char *threads, ...)
{
	const char *words[13] = { 0 };
	va_list ap;
	int n = 0;

	va_start(ap, threads);
	while (n < 12 && (words[n] = va_arg(ap, const char *)))
		n++;
	va_end(ap);
	victim_exec(v, live_victim, threads, words);
}

void victim_end(struct victim *v)
{
	int status = 0;

	v->shared->hold = 0;
	v->shared->stop = 1;
	kill(v->pid, SIGCONT);
	for (int i = 0; i < 10000 && waitpid(v->pid, &status, WNOHANG) == 0; i++)
		usleep(1000);
	victim_healthy(v);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("the victim did not end well: status %#x", status);
	munmap(v->shared, sizeof(*v->shared));
	unlink(v->path);
}

void victim_sees(struct victim *v, bool new_code)
{
	unsigned long *counter = new_code ? &v->shared->new_calls : &v->shared->old_calls;
	unsigned long before = __atomic_load_n(counter, __ATOMIC_SEQ_CST);

	for (int i = 0; i < 20000; i++) {
		if (__atomic_load_n(counter, __ATOMIC_SEQ_CST) > before + 10)
			return;
		usleep(1000);
	}
	fail_msg("the victim sees no %s results", new_code ? "new" : "old");
}

void victim_healthy(struct victim *v)
{
	assert_int_equal(v->shared->mixed, 0);
	assert_int_equal(v->shared->wrong, 0);
}

char *victim_maps(pid_t pid)
{
	char path[64], line[512], *text = NULL;
	size_t len = 0;
	FILE *in, *out = open_memstream(&text, &len);

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	in = fopen(path, "re");
	assert_non_null(in);
	while (fgets(line, sizeof(line), in))
		if (!strstr(line, "[heap]") && !strstr(line, "[stack]"))
			fputs(line, out);
	fclose(in);
	fclose(out);
	return text;
}

bool victim_has_registry(pid_t pid)
{
	char *maps = victim_maps(pid);
	bool has = strstr(maps, "/memfd:suture");

	free(maps);
	return has;
}

static void add_text(int mem, int pagemap, unsigned long start, unsigned long end, struct sut_buf *all, size_t *private)
{
	for (unsigned long at = start; at < end; at += 4096) {
		uint8_t page[4096];
		uint64_t entry;

		assert_int_equal(pread(mem, page, sizeof(page), (off_t)at), sizeof(page));
		assert_int_equal(pread(pagemap, &entry, 8, (off_t)(at / 4096 * 8)), 8);
		/* present, and not of a file: private */
		*private += entry >> 63 && !(entry >> 61 & 1);
		if (entry >> 63 && !(entry >> 61 & 1) && getenv("SUTURE_TEST_VERBOSE"))
			fprintf(stderr, "private page at %lx in %lx-%lx\n", at, start, end);
		assert_int_equal(sut_buf_add(all, page, sizeof(page)), 0);
	}
}

/* Looks at all executable mappings of files. Those of a loaded one follow its first mapping, or each other. */
static unsigned each_text(pid_t pid, int mem, int pagemap, struct sut_buf *all, size_t *private)
{
	char path[64], line[512], last[256] = "";
	unsigned duplicates = 0;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	in = fopen(path, "re");
	assert_non_null(in);
	while (fgets(line, sizeof(line), in)) {
		unsigned long start, end;
		char prot[8], name[256] = "";

		if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %255s", &start, &end, prot, name) < 3)
			continue;
		if (prot[2] == 'x' && name[0] == '/' && !strcmp(name, last) && all)
			add_text(mem, pagemap, start, end, all, private);
		else if (prot[2] == 'x' && name[0] == '/' && strcmp(name, last))
			duplicates++;
		if (prot[2] != 'x' || !strcmp(name, last))
			snprintf(last, sizeof(last), "%s", name);
	}
	fclose(in);
	return duplicates;
}

void victim_text(pid_t pid, uint8_t digest[32], size_t *private_pages)
{
	struct sut_buf all = { 0 };
	int mem, pagemap;
	char path[64];

	*private_pages = 0;
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(mem >= 0 && pagemap >= 0);
	each_text(pid, mem, pagemap, &all, private_pages);
	assert_true(all.len > 0);
	sut_digest(all.p, all.len, digest);
	sut_buf_free(&all);
	close(mem);
	close(pagemap);
}

unsigned victim_duplicates(pid_t pid)
{
	return each_text(pid, -1, -1, NULL, NULL);
}

struct suture_patch *live_open(const struct mksut *m)
{
	struct suture_patch *p = NULL;
	uint8_t *image;
	size_t len;

	assert_int_equal(mksut_make(m, &image, &len), 0);
	live_want(sut_patch_parse(live_ctx, image, len, m->name, &p), 0, "open");
	return p;
}

struct suture_patch *live_patch_exe(void)
{
	return live_open(&(struct mksut){
		.name = "fix-exe",
		.object_file = live_fix_exe,
		.targets = (const char *const[]){ live_victim },
		.sonames = (const char *const[]){ "" },
		.n_targets = 1,
		.funcs = (const struct mksut_func[]){ { "work", "work", 0 }, { "inner", "inner", 0 } },
		.n_funcs = 2,
	});
}

struct suture_patch *live_patch_both(void)
{
	return live_open(&(struct mksut){
		.name = "fix-both",
		.object_file = live_fix_both,
		.targets = (const char *const[]){ live_victim, live_lib },
		.sonames = (const char *const[]){ "", "libvictim.so" },
		.n_targets = 2,
		.funcs = (const struct mksut_func[]){ { "work", "work", 0 },
						      { "inner", "inner", 0 },
						      { "lib_version", "lib_version", 1 } },
		.n_funcs = 3,
	});
}

struct suture_patch *live_patch_slow(void)
{
	return live_open(&(struct mksut){
		.name = "fix-slow",
		.object_file = live_fix_slow,
		.targets = (const char *const[]){ live_victim },
		.sonames = (const char *const[]){ "" },
		.n_targets = 1,
		.funcs = (const struct mksut_func[]){ { "slow_work", "slow_work", 0 } },
		.n_funcs = 1,
	});
}

/* Another tool may hold the process at this moment, or it is in the middle of an exec; that is not what is tested. */
static int attach(pid_t pid, struct suture_process **ret)
{
	int err = -SUTURE_EACCESS;

	for (int i = 0; i < 5000 && (err == -SUTURE_EACCESS || (err == -SUTURE_EREFUSED && i < 100)); i++) {
		err = suture_process_attach(live_ctx, pid, NULL, ret);
		if (err)
			usleep(1000);
	}
	return err;
}

int live_enable(pid_t pid, struct suture_patch *patch, const struct suture_enable_opts *o, struct suture_report **r)
{
	struct suture_enable_opts opts = o ? *o : (struct suture_enable_opts){ .sz = sizeof(opts) };
	struct suture_process *p = NULL;
	int err = attach(pid, &p);

	opts.report = r;
	if (!err)
		err = suture_patch_enable(p, patch, &opts);
	suture_process_detach(p);
	return err;
}

int live_disable(pid_t pid, const char *name, const struct suture_enable_opts *o)
{
	struct suture_process *p = NULL;
	int err = attach(pid, &p);

	if (!err)
		err = suture_patch_disable(p, name, o);
	suture_process_detach(p);
	return err;
}

int live_recover(pid_t pid, struct suture_recovery *ret)
{
	struct suture_process *p = NULL;
	int err = attach(pid, &p);

	if (!err)
		err = suture_process_recover(p, NULL, ret);
	suture_process_detach(p);
	return err;
}

bool live_state(pid_t pid, const char *name, enum suture_patch_state *state, const char **sites)
{
	static char text[32];
	struct suture_process *p = NULL;
	struct suture_status *s = NULL;
	bool found = false;

	live_want(attach(pid, &p), 0, "attach");
	live_want(suture_process_status(p, &s), 0, "status");
	for (size_t i = 0; i < s->n_patches; i++) {
		const struct suture_status_patch *sp = &s->patches[i];

		/* a patch may be there more than once; the one that is not parked counts */
		if (strcmp(sp->name, name) || (found && sp->state == SUTURE_STATE_PARKED))
			continue;
		found = true;
		*state = sp->state;
		snprintf(text, sizeof(text), "%s", sp->n_funcs ? sp->funcs[0].site : "none");
		for (size_t k = 1; k < sp->n_funcs; k++)
			if (strcmp(text, sp->funcs[k].site))
				strcpy(text, "?");
		*sites = text;
	}
	suture_status_free(s);
	suture_process_detach(p);
	return found;
}

void live_want(int err, int want, const char *what)
{
	if (err != want && getenv("SUTURE_TEST_PAUSE")) {
		fprintf(stderr, "%s: %d %s\n", what, err, suture_ctx_error(live_ctx)->message);
		sleep(1000);
	}
	if (err != want)
		fail_msg("%s: %d (%s), want %d: %s", what, err, suture_code_name(err), want,
			 err ? suture_ctx_error(live_ctx)->message : "it succeeded");
}
