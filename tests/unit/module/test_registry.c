/* SPDX-License-Identifier: MIT */
/*
 * test_registry.c - the registry in this very process: made, found again, inherited; and never believed.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <signal.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "self.h"
#include "lib/needs.h"

static struct suture_process *p;

static struct sut_registry *read_it(void)
{
	struct sut_registry *r = NULL;

	if (sut_registry_read(p, &r))
		fail_msg("%s", self_message(p));
	return r;
}

static void test_none(void **state)
{
	struct sut_registry *r = read_it();

	assert_int_equal(r->addr, 0);
	assert_null(sut_registry_find(r, "x"));
	sut_registry_free(r);
}

/* A limit on file sizes would kill the target with SIGXFSZ: seen before, refused. */
static void test_file_limit(void **state)
{
	struct sut_registry *r = read_it();
	struct rlimit was, low;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	low = was;
	low.rlim_cur = 4096;
	setrlimit(RLIMIT_FSIZE, &low);
	assert_int_equal(sut_registry_create(r), -SUTURE_EREFUSED);
	setrlimit(RLIMIT_FSIZE, &was);
	assert_non_null(strstr(self_message(p), "RLIMIT_FSIZE"));
	assert_int_equal(r->addr, 0);
	sut_registry_free(r);
}

static void test_create(void **state)
{
	struct sut_registry *r = read_it(), *again;
	struct sut_record *rec;
	struct sut_maps maps;
	uint64_t addr;

	if (sut_registry_create(r))
		fail_msg("%s", self_message(p));
	addr = r->addr;
	assert_int_equal(sut_registry_create(r), 0);
	assert_int_equal(r->addr, addr);
	assert_int_equal(p->mem.ops->maps(&p->mem, &maps), 0);
	assert_string_equal(sut_maps_at(&maps, addr)->name, "/memfd:suture (deleted)");
	assert_int_equal(sut_maps_at(&maps, addr)->shared, 0);
	assert_int_equal(sut_maps_at(&maps, r->h.heal_code)->prot, SUT_PROT_R | SUT_PROT_X);
	sut_maps_free(&maps);
	rec = sut_registry_slot(r);
	assert_non_null(rec);
	*rec = (struct sut_record){ .kind = SUT_RECORD_PATCH, .state = 3, .name = "fix-1", .order = 1, .since = 99 };
	assert_int_equal(sut_registry_write(r, rec), 0);
	assert_int_equal(sut_registry_set_state(r, rec, 4), 0);
	assert_int_equal(sut_registry_set_side(r, rec, 1), 0);
	assert_int_equal(*(uint8_t *)(uintptr_t)sut_registry_side_addr(r, rec), 1);
	again = read_it();
	assert_int_equal(again->addr, addr);
	rec = sut_registry_find(again, "fix-1");
	assert_non_null(rec);
	assert_int_equal(rec->state, 4);
	assert_int_equal(rec->side, 1);
	assert_int_equal(rec->since, 99);
	/* It can not go while something is in it. */
	assert_int_equal(sut_registry_destroy(again), -SUTURE_EBUG);
	sut_registry_free(again);
	sut_registry_free(r);
}

/* Memory files of that name that are not ours, and one that a dead tool began. */
static void test_namesakes(void **state)
{
	struct sut_registry *r = read_it();
	size_t size = r->h.size;
	uint64_t was = r->addr;
	char *other[2], *begun;
	int fd;

	/* The real one is out of sight. */
	*(uint8_t *)(uintptr_t)was ^= 0xff;
	sut_registry_free(r);
	fd = memfd_create("suture", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	other[0] = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	fd = memfd_create("suture", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, 4096), 0);
	other[1] = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	close(fd);
	r = read_it();
	assert_int_equal(r->addr, 0);
	assert_int_equal(r->stale, 0);
	sut_registry_free(r);
	fd = memfd_create("suture", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	begun = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	close(fd);
	r = read_it();
	assert_int_equal(r->addr, 0);
	assert_int_equal(r->stale, (uintptr_t)begun);
	if (sut_registry_create(r))
		fail_msg("%s", self_message(p));
	assert_int_not_equal(r->addr, 0);
	assert_true(r->addr == (uintptr_t)begun || msync(begun, size, MS_ASYNC) == -1);
	assert_int_equal(msync(other[0], size, MS_ASYNC), 0);
	/* Of another version: refused, because nobody knows what it says. */
	((char *)(uintptr_t)r->addr)[7]++;
	assert_int_equal(sut_registry_read(p, &(struct sut_registry *){ NULL }), -SUTURE_EREFUSED);
	munmap((void *)(uintptr_t)r->addr, size);
	munmap((void *)(uintptr_t)r->h.heal_code, 4096);
	munmap(other[0], size);
	munmap(other[1], 4096);
	*(uint8_t *)(uintptr_t)was ^= 0xff;
	sut_registry_free(r);
	r = read_it();
	assert_int_equal(r->addr, was);
	sut_registry_free(r);
}

/* A child has it by itself: what is changed there is not changed here. */
static void test_fork(void **state)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct suture_process *child = self_open();
		struct sut_registry *r;

		if (sut_registry_read(child, &r) || !sut_registry_find(r, "fix-1"))
			_exit(1);
		if (sut_registry_remove(r, sut_registry_find(r, "fix-1")) || sut_registry_find(r, "fix-1"))
			_exit(2);
		sut_registry_free(r);
		_exit(sut_registry_read(child, &r) || sut_registry_find(r, "fix-1") ? 3 : 0);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	struct sut_registry *r = read_it();

	assert_non_null(sut_registry_find(r, "fix-1"));
	sut_registry_free(r);
}

/* Half-written records are free ones: kind is written last. */
static void test_kind_decides(void **state)
{
	struct sut_registry *r = read_it(), *again;
	struct sut_record *rec = sut_registry_slot(r);

	strcpy(rec->name, "half");
	rec->state = 1;
	rec->kind = SUT_RECORD_FREE;
	assert_int_equal(sut_registry_write(r, rec), 0);
	again = read_it();
	assert_null(sut_registry_find(again, "half"));
	sut_registry_free(again);
	sut_registry_free(r);
}

static unsigned random_state = 12345;
static unsigned next_random(void)
{
	random_state = random_state * 1103515245u + 12345u;
	return random_state >> 8;
}

/* Whatever stands in it: an answer or a refusal, never a crash, and never a number out of bounds. */
static void test_hostile(void **state)
{
	struct sut_registry *lied;
	struct sut_registry *r = read_it();
	size_t size = 65536;
	uint8_t *mem = (uint8_t *)(uintptr_t)r->addr, *good = malloc(size);
	unsigned refused = 0, taken = 0;

	memcpy(good, mem, size);
	for (int i = 0; i < 3000; i++) {
		struct sut_registry *h;
		unsigned n = 1 + next_random() % 4;

		while (n--) {
			size_t at = next_random() % 4 ? next_random() % 1024 : next_random() % size;

			mem[at] = next_random() % 3 ? (uint8_t)next_random() : 0xff;
		}
		if (sut_registry_read(p, &h)) {
			refused++;
			assert_int_equal(suture_ctx_error(p->ctx)->code, SUTURE_EREFUSED);
		} else {
			taken++;
			for (size_t k = 0; h->addr && k < SUT_REGISTRY_RECORDS; k++)
				if (h->rec[k].kind) {
					assert_in_range(h->rec[k].n_areas, 0, SUT_RECORD_AREAS);
					assert_in_range(strnlen(h->rec[k].name, 64), 1, 63);
				}
			sut_registry_free(h);
		}
		memcpy(mem, good, size);
	}
	assert_true(refused > 100 && taken > 100);
	/* Particular lies. */
	struct sut_registry_header *h = (void *)mem;

	h->heal_code = (uintptr_t)mem;
	assert_int_equal(sut_registry_read(p, &(struct sut_registry *){ NULL }), -SUTURE_EREFUSED);
	memcpy(mem, good, size);
	h->heal_frame += 64;
	assert_int_equal(sut_registry_read(p, &(struct sut_registry *){ NULL }), -SUTURE_EREFUSED);
	memcpy(mem, good, size);
	h->agent_table = 0xffffffffffffff00ull;
	assert_int_equal(sut_registry_read(p, &lied), 0);
	assert_int_equal(lied->h.agent_table, 0);
	sut_registry_free(lied);
	memcpy(mem, good, size);
	free(good);
	sut_registry_free(r);
}

static void test_remove(void **state)
{
	struct sut_registry *r = read_it(), *again;

	assert_int_equal(sut_registry_remove(r, sut_registry_find(r, "fix-1")), 0);
	again = read_it();
	assert_null(sut_registry_find(again, "fix-1"));
	sut_registry_free(again);
	sut_registry_free(r);
}

static void test_tool_alive(void **state)
{
	struct sut_record rec = { 0 };
	unsigned long long start;
	char path[64];
	FILE *f;
	pid_t pid;

	assert_false(sut_record_tool_alive(&rec));
	pid = fork();
	if (!pid) {
		pause();
		_exit(0);
	}
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f,
				"%*d (%*[^)]) %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
				"%*s %*s %llu",
				&start),
			 1);
	fclose(f);
	rec.tool_pid = (uint32_t)pid;
	rec.tool_start = start;
	assert_true(sut_record_tool_alive(&rec));
	rec.tool_start++;
	assert_false(sut_record_tool_alive(&rec));
	rec.tool_start--;
	kill(pid, SIGKILL);
	/* A zombie holds nothing. */
	siginfo_t si;

	waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT);
	assert_false(sut_record_tool_alive(&rec));
	waitpid(pid, NULL, 0);
	assert_false(sut_record_tool_alive(&rec));
}

static int setup(void **state)
{
	signal(SIGXFSZ, SIG_DFL);
	p = self_open();
	return 0;
}

static int teardown(void **state)
{
	self_close(p);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none),       cmocka_unit_test(test_file_limit),
		cmocka_unit_test(test_create),     cmocka_unit_test(test_namesakes),
		cmocka_unit_test(test_fork),       cmocka_unit_test(test_kind_decides),
		cmocka_unit_test(test_hostile),    cmocka_unit_test(test_remove),
		cmocka_unit_test(test_tool_alive),
	};

	need_host();
	return cmocka_run_group_tests(tests, setup, teardown);
}
