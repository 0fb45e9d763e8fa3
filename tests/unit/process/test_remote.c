/* SPDX-License-Identifier: MIT */
/* System calls in a borrowed thread, memory, and filters that forbid them. */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "lib.h"
#include "lib/needs.h"

#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static uint64_t remote_mmap(struct suture_process *p, uint64_t size, int prot)
{
	int64_t r = 0;

	check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_MMAP, 0, size, (uint64_t)prot, ANON, ~0ull, 0));
	assert_true(r > 0);
	return (uint64_t)r;
}

static void remote_munmap(struct suture_process *p, uint64_t addr, uint64_t size)
{
	int64_t r = -1;

	check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_MUNMAP, addr, size));
	assert_int_equal(r, 0);
}

static size_t count_maps(struct suture_process *p)
{
	struct sut_maps maps = { 0 };
	size_t n;

	check(p, p->mem.ops->maps(&p->mem, &maps));
	n = maps.m.n;
	sut_maps_free(&maps);
	return n;
}

static void memory_comes_and_goes(void **state)
{
	uint8_t bytes[5000], back[5000];
	struct suture_process *p;
	struct target t;
	uint64_t rx, rw;
	size_t n;

	target_start(&t, "calls");
	p = attach(t.pid);
	n = count_maps(p);
	check(p, sut_process_borrow(p, 1000));
	rx = remote_mmap(p, 8192, PROT_READ | PROT_EXEC);
	rw = remote_mmap(p, 8192, PROT_READ | PROT_WRITE);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7);
	check(p, sut_mem_write(&p->mem, rx + 3, bytes, sizeof(bytes)));
	check(p, sut_mem_read(&p->mem, rx + 3, back, sizeof(back)));
	assert_memory_equal(bytes, back, sizeof(bytes));
	check(p, sut_mem_write(&p->mem, rw + 100, bytes, sizeof(bytes)));
	check(p, sut_mem_read(&p->mem, rw + 100, back, sizeof(back)));
	assert_memory_equal(bytes, back, sizeof(bytes));
	assert_int_equal(sut_mem_read(&p->mem, 16, back, 8), -SUTURE_EFAILED);
	assert_int_equal(sut_mem_write(&p->mem, 16, back, 8), -SUTURE_EFAILED);
	assert_int_equal(suture_ctx_error(p->ctx)->address, 16);
	remote_munmap(p, rx, 8192);
	remote_munmap(p, rw, 8192);
	sut_process_release(p);
	assert_int_equal(count_maps(p), n);
	suture_process_detach(p);
	target_stop_clean(&t);
}

/* As proc_mem.force_override=never: the way through a stopped thread. */
static void writes_without_proc_mem(void **state)
{
	uint8_t bytes[61], back[61];
	struct suture_process *p;
	struct target t;
	uint64_t rx;
	int fd;

	target_start(&t, "sleep", "1");
	p = attach(t.pid);
	check(p, sut_process_borrow(p, 1000));
	rx = remote_mmap(p, 4096, PROT_READ | PROT_EXEC);
	fd = p->mem_fd;
	p->mem_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	memset(bytes, 0x5a, sizeof(bytes));
	check(p, sut_mem_write(&p->mem, rx + 5, bytes, sizeof(bytes)));
	check(p, sut_mem_read(&p->mem, rx + 5, back, sizeof(back)));
	assert_memory_equal(bytes, back, sizeof(bytes));
	check(p, sut_mem_read(&p->mem, rx + 66, back, 8));
	assert_int_equal(sut_le64(back), 0);
	close(p->mem_fd);
	p->mem_fd = fd;
	remote_munmap(p, rx, 4096);
	sut_process_release(p);
	suture_process_detach(p);
	target_stop_clean(&t);
}

/* The same with no thread stopped: no other way. Refused, with a word on why, and nothing is written. */
static void no_way_to_write(void **state)
{
	struct suture_process *p;
	uint8_t before[8], now[8];
	struct target t;
	char path[64];
	int fd;

	target_start(&t, "calls");
	p = attach(t.pid);
	check(p, sut_mem_read(&p->mem, t.main, before, sizeof(before)));
	fd = p->mem_fd;
	snprintf(path, sizeof(path), "/proc/%d/mem", t.pid);
	p->mem_fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(sut_mem_write(&p->mem, t.main, "\xcc\xcc", 2), -SUTURE_EFAILED);
	close(p->mem_fd);
	p->mem_fd = fd;
	assert_non_null(strstr(suture_ctx_error(p->ctx)->message, "can not be written"));
	assert_non_null(strstr(suture_ctx_error(p->ctx)->hint, "proc_mem.force_override"));
	check(p, sut_mem_read(&p->mem, t.main, now, sizeof(now)));
	assert_memory_equal(before, now, sizeof(now));
	suture_process_detach(p);
	target_stop_clean(&t);
}

static const struct sut_map *text_map(struct suture_process *p, uint64_t at)
{
	const struct sut_map *m = sut_maps_at(&p->maps, at);

	assert_non_null(m);
	assert_true(m->prot & SUT_PROT_X);
	return m;
}

static void the_mapped_file_can_be_opened(void **state)
{
	const struct sut_map *m, *libc = NULL;
	struct suture_process *p;
	struct target t;
	char path[96];
	struct stat st;
	int fd = -1;
	int64_t r;

	target_start(&t, "calls");
	p = attach(t.pid);
	m = text_map(p, t.main);
	check(p, sut_process_borrow(p, 1000));
	check(p, p->mem.ops->open_mapped(&p->mem, m, &fd));
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", t.pid, fd);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_ino, m->inode);
	check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_CLOSE, (uint64_t)fd));
	assert_int_equal(r, 0);
	for (size_t i = 0; i < p->maps.m.n && !libc; i++)
		if (strstr(p->maps.m.v[i].name, "/libc.so"))
			libc = &p->maps.m.v[i];
	assert_non_null(libc);
	check(p, p->mem.ops->open_mapped(&p->mem, libc, &fd));
	check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_CLOSE, (uint64_t)fd));
	/* Nothing is left open. */
	assert_int_not_equal(stat(path, &st), 0);
	sut_process_release(p);
	suture_process_detach(p);
	target_stop_clean(&t);
}

static void another_file_is_not_taken_for_it(void **state)
{
	struct suture_process *p;
	struct target t;
	struct stat st;
	char path[64], cmd[512];
	int fd = -1;

	snprintf(path, sizeof(path), "/tmp/suture-lib-%d", getpid());
	snprintf(cmd, sizeof(cmd), "cp '%s' %s", getenv("TARGET"), path);
	assert_int_equal(system(cmd), 0);
	target_start_program(&t, path, (const char *const[]){ "sleep", "1", NULL });
	p = attach(t.pid);
	unlink(path);
	assert_int_equal(system(cmd), 0);
	check(p, sut_process_borrow(p, 1000));
	/* The program itself is found through its own /proc/self/exe. */
	check(p, p->mem.ops->open_mapped(&p->mem, text_map(p, t.main), &fd));
	snprintf(cmd, sizeof(cmd), "/proc/%d/fd/%d", t.pid, fd);
	assert_int_equal(stat(cmd, &st), 0);
	assert_int_equal(st.st_ino, text_map(p, t.main)->inode);
	/* Any other file only by its name. */
	p->obj.v[0].inode = 0;
	assert_int_equal(p->mem.ops->open_mapped(&p->mem, text_map(p, t.main), &fd), -SUTURE_EREFUSED);
	sut_process_release(p);
	suture_process_detach(p);
	target_stop_clean(&t);
	unlink(path);
}

static void private_pages_and_flags_are_seen(void **state)
{
	struct suture_process *p;
	const struct sut_map *m;
	struct target t;
	uint64_t page, n;
	bool is_private[256] = { 0 };
	char flags[256];
	uint8_t byte;

	target_start(&t, "sleep", "1");
	p = attach(t.pid);
	page = p->mem.page_size;
	m = text_map(p, t.main);
	n = (m->end - m->start) / page;
	assert_true(n <= SUT_ARRAY_SIZE(is_private));
	check(p, p->mem.ops->private_pages(&p->mem, m->start, m->end, is_private));
	for (uint64_t i = 0; i < n; i++)
		assert_false(is_private[i]);
	check(p, p->mem.ops->vm_flags(&p->mem, m->start, flags, sizeof(flags)));
	assert_non_null(strstr(flags, "rd"));
	assert_non_null(strstr(flags, "ex"));
	/* A write makes its page private, and only that. */
	check(p, sut_mem_read(&p->mem, t.main, &byte, 1));
	check(p, sut_mem_write(&p->mem, t.main, &byte, 1));
	check(p, p->mem.ops->private_pages(&p->mem, m->start, m->end, is_private));
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(is_private[i], i == (t.main - m->start) / page);
	suture_process_detach(p);
	target_stop_clean(&t);
}

/* The frame moves to memory of ours while the thread is borrowed, and the bytes it lay on come back. */
static void the_frame_moves_to_memory_of_ours(void **state)
{
	struct suture_process *p;
	struct sut_borrow *b;
	uint64_t code, frame, place, size;
	uint8_t before[SUT_FRAME_MAX], after[SUT_FRAME_MAX];
	struct target t;
	int64_t r;

	target_start(&t, "calls");
	p = attach(t.pid);
	b = &sut_priv(p)->borrow;
	check(p, sut_process_borrow(p, 1000));
	assert_false(b->own);
	assert_false(b->written); /* nothing is written before the first call */
	place = b->frame;
	size = b->frame_size;
	check(p, sut_mem_read(&p->mem, place, before, size));
	code = remote_mmap(p, 4096, PROT_READ | PROT_EXEC);
	frame = remote_mmap(p, 16384, PROT_READ | PROT_WRITE);
	check(p, sut_mem_read(&p->mem, place, after, size));
	assert_memory_equal(after, SUT_HEAL_MAGIC, 8);
	check(p, sut_mem_write(&p->mem, code, p->mem.arch->heal_code, p->mem.arch->heal_code_size));
	sut_process_set_heal(p, code, frame, 16384);
	check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_GETPID));
	assert_int_equal(r, t.pid);
	assert_true(b->own && b->frame >= frame && b->frame < frame + 16384);
	check(p, sut_mem_read(&p->mem, place, after, size));
	assert_memory_equal(before, after, size);
	sut_process_release(p);
	/* And from then on it is used at once. */
	check(p, sut_process_borrow(p, 1000));
	assert_true(b->own);
	check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_GETPID));
	assert_int_equal(r, t.pid);
	/* A frame that names a thread which stands on it is left alone. */
	sut_process_release(p);
	check(p, sut_process_borrow(p, 1000));
	check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_GETPID));
	check(p, sut_mem_read(&p->mem, b->frame, after, 16));
	assert_memory_equal(after, SUT_HEAL_MAGIC, 8);
	sut_process_set_heal(p, 0, 0, 0);
	sut_process_release(p);
	check(p, sut_process_borrow(p, 1000));
	remote_munmap(p, frame, 16384);
	remote_munmap(p, code, 4096);
	sut_process_release(p);
	suture_process_detach(p);
	target_stop_clean(&t);
}

static void bytes_lent_come_back(void **state)
{
	struct suture_process *p;
	uint8_t before[SUT_FRAME_MAX], after[SUT_FRAME_MAX];
	struct sut_borrow *b;
	uint64_t place, size;
	struct target t;
	int64_t r;

	target_start(&t, "calls");
	p = attach(t.pid);
	b = &sut_priv(p)->borrow;
	check(p, sut_process_borrow(p, 1000));
	place = b->frame;
	size = b->frame_size;
	check(p, sut_mem_read(&p->mem, place, before, size));
	check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_GETPID));
	sut_process_release(p);
	if (place < sut_priv(p)->start_stack - (8 << 20) || place > sut_priv(p)->start_stack) {
		check(p, sut_mem_read(&p->mem, place, after, size));
		assert_memory_equal(before, after, size);
	}
	suture_process_detach(p);
	target_stop_clean(&t);
}

static int try_map(struct target *t, int prot, int64_t *result)
{
	struct suture_process *p = attach(t->pid);
	int err = sut_process_borrow(p, 1000);

	if (!err)
		err = sut_mem_syscall(&p->mem, result, SUT_SYS_MMAP, 0, 4096, (uint64_t)prot, ANON, ~0ull, 0);
	sut_process_release(p);
	suture_process_detach(p);
	return err;
}

static void filters_are_read_before_anything_is_injected(void **state)
{
	static const struct {
		const char *filter;
		int exec_err;
	} cases[] = {
		{ "allow", 0 },
		{ "errno", 0 }, /* suspended */
		{ "kill", -SUTURE_EACCESS },
		{ "strict", -SUTURE_EACCESS },
	};

	if (geteuid())
		skip();
	for (size_t i = 0; i < SUT_ARRAY_SIZE(cases); i++) {
		struct target t;
		int64_t r = -1;

		target_start(&t, "filter", cases[i].filter);
		assert_int_equal(try_map(&t, PROT_READ | PROT_EXEC, &r), cases[i].exec_err);
		if (!cases[i].exec_err)
			assert_true(r > 0);
		else
			assert_non_null(suture_ctx_error(ctx())->hint);
		/* It is alive, and was never told of a call of ours. A strict one can not even end properly. */
		if (!strcmp(cases[i].filter, "strict"))
			target_kill(&t);
		else
			target_stop_clean(&t);
	}
}

static void refuses_filters_that_can_not_be_read(void **state)
{
	struct target t;
	pid_t child;
	int status;

	if (geteuid())
		skip();
	target_start(&t, "filter", "allow");
	child = fork();
	if (!child) {
		/* With a filter of our own the kernel does not show us theirs. */
		static const struct {
			uint16_t code;
			uint8_t jt, jf;
			uint32_t k;
		} allow = { 6, 0, 0, 0x7fff0000 };
		const struct {
			uint16_t len;
			const void *filter;
		} prog = { 1, &allow };
		int64_t r;

		if (syscall(157 /* prctl */, 38, 1, 0, 0, 0) || syscall(157, 22, 2, &prog))
			_exit(99);
		_exit(try_map(&t, PROT_READ, &r) == -SUTURE_EACCESS ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	target_stop_clean(&t);
}

static void memory_deny_write_execute(void **state)
{
	struct target t;
	int64_t r = -1;

	target_start(&t, "mdwe");
	assert_int_equal(try_map(&t, PROT_READ | PROT_EXEC, &r), 0);
	assert_true(r > 0);
	target_stop_clean(&t);
}

static void other_c_libraries(void **state)
{
	static const char *const kinds[] = { "TARGET_NOPIE", "TARGET_STATIC", "TARGET_STATIC_PIE", "TARGET_MUSL" };

	for (size_t i = 0; i < SUT_ARRAY_SIZE(kinds); i++) {
		const char *program = getenv(kinds[i]);
		struct target t;
		int64_t r = -1;

		if (!program || !*program) {
			print_message("no %s here\n", kinds[i]);
			continue;
		}
		target_start_program(&t, program, (const char *const[]){ "calls", NULL });
		for (unsigned k = 0; k < 20; k++) {
			assert_int_equal(try_map(&t, PROT_READ, &r), 0);
			assert_true(r > 0);
		}
		target_stop_clean(&t);
	}
}

/* A thread that was away inside a restartable sequence must not go on in it. */
static void restartable_sequences_are_aborted(void **state)
{
	struct suture_process *p;
	struct target t;
	unsigned inside = 0;

	target_start(&t, "rseq");
	p = attach(t.pid);
	assert_int_equal(sut_procfs_tids(p), 0);
	if (sut_priv(p)->tids.n < 2) {
		print_message("this C library registers no restartable sequences\n");
		suture_process_detach(p);
		target_stop_clean(&t);
		skip();
	}
	for (unsigned i = 0; i < 50; i++) {
		const struct sut_arch *a = p->mem.arch;
		uint64_t pc;
		int64_t r;

		sut_hold_begin(p);
		check(p, sut_thread_hold_one(p, sut_priv(p)->tids.v[1], sut_now_ns() + 1000000000));
		p->borrowed = &p->thread.v[0];
		pc = a->regs_pc(&p->borrowed->regs);
		check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_GETPID));
		assert_int_equal(r, t.pid);
		/* From inside it goes to the abort handler: behind the jump that ends the sequence, and the signature. */
		if (a->regs_pc(&p->borrowed->regs) != pc) {
			uint32_t signature = 0;

			check(p, sut_mem_read(&p->mem, a->regs_pc(&p->borrowed->regs) - 4, &signature, 4));
			assert_int_equal(signature, 0x53053053);
			inside++;
		}
		sut_process_release(p);
	}
	assert_true(inside > 0);
	suture_process_detach(p);
	target_stop_clean(&t);
}

/* A system call fails in the target: its error is the result, not ours. */
static void errors_of_the_kernel_are_results(void **state)
{
	struct suture_process *p;
	struct target t;
	int64_t r = 0;

	target_start(&t, "sleep", "1");
	p = attach(t.pid);
	check(p, sut_process_borrow(p, 1000));
	check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_CLOSE, 9999));
	assert_int_equal(r, -EBADF);
	check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_MMAP, 1, 0));
	assert_true(r < 0 && r > -4096);
	sut_process_release(p);
	/* Nobody is held: our own mistake. */
	assert_int_equal(sut_mem_syscall(&p->mem, &r, SUT_SYS_GETPID), -SUTURE_EBUG);
	suture_process_detach(p);
	target_stop_clean(&t);
}

static void the_target_dies_meanwhile(void **state)
{
	for (unsigned i = 0; i < 20; i++) {
		struct suture_process *p;
		struct target t;
		int64_t r;
		int err;

		target_start(&t, "sleep", "3");
		p = attach(t.pid);
		err = i & 1 ? sut_process_borrow(p, 1000) : sut_process_stop(p, 1000);
		check(p, err);
		check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_GETPID));
		kill(t.pid, SIGKILL);
		for (unsigned k = 0; !err && k < 100; k++)
			err = sut_mem_syscall(&p->mem, &r, SUT_SYS_GETPID);
		assert_int_equal(err, -SUTURE_EGONE);
		sut_process_release(p);
		suture_process_detach(p);
		target_kill(&t);
	}
}

static void pin(pid_t tid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	assert_int_equal(sched_setaffinity(tid, sizeof(set), &set), 0);
}

/* Computes with real-time priority on one processor: others get some fiftieth of it, once a second. */
static pid_t start_hog(int cpu)
{
	const struct sched_param fifo = { .sched_priority = 1 };
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin(0, cpu);
	if (sched_setscheduler(0, SCHED_FIFO, &fifo))
		_exit(1);
	for (;;)
		__asm__ volatile("");
}

static bool real_time_is_throttled(void)
{
	FILE *f = fopen("/proc/sys/kernel/sched_rt_runtime_us", "r");
	long us = -1;

	if (f && fscanf(f, "%ld", &us) != 1)
		us = -1;
	if (f)
		fclose(f);
	return us >= 0;
}

/* A thread that gets no processor does not stop; it is waited for as long as the process's patience lasts. */
static void threads_without_a_processor(void **state)
{
	cpu_set_t mine, all;
	int cpu[2], n = 0;
	struct suture_process *p;
	struct target t;
	pid_t hog;

	sched_getaffinity(0, sizeof(all), &all);
	for (int i = 0; i < CPU_SETSIZE && n < 2; i++)
		if (CPU_ISSET(i, &all))
			cpu[n++] = i;
	if (geteuid() || n < 2 || !real_time_is_throttled()) {
		print_message("wants root, two processors, and a limit on real-time work\n");
		skip();
	}
	target_start(&t, "sleep", "2");
	p = attach(t.pid);
	assert_int_equal(sut_procfs_tids(p), 0);
	for (size_t i = 0; i < sut_priv(p)->tids.n; i++)
		pin(sut_priv(p)->tids.v[i], cpu[1]);
	CPU_ZERO(&mine);
	CPU_SET(cpu[0], &mine);
	sched_setaffinity(0, sizeof(mine), &mine);
	hog = start_hog(cpu[1]);
	usleep(20000);
	p->patience_ms = 60000;
	for (unsigned i = 0; i < 4; i++) {
		int64_t r;

		check(p, sut_process_borrow(p, 1));
		check(p, sut_mem_syscall(&p->mem, &r, SUT_SYS_GETPID));
		assert_int_equal(r, t.pid);
		sut_process_release(p);
	}
	kill(hog, SIGKILL);
	waitpid(hog, NULL, 0);
	sched_setaffinity(0, sizeof(all), &all);
	suture_process_detach(p);
	target_stop_clean(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_comes_and_goes),
		cmocka_unit_test(writes_without_proc_mem),
		cmocka_unit_test(no_way_to_write),
		cmocka_unit_test(the_mapped_file_can_be_opened),
		cmocka_unit_test(another_file_is_not_taken_for_it),
		cmocka_unit_test(private_pages_and_flags_are_seen),
		cmocka_unit_test(the_frame_moves_to_memory_of_ours),
		cmocka_unit_test(bytes_lent_come_back),
		cmocka_unit_test(filters_are_read_before_anything_is_injected),
		cmocka_unit_test(refuses_filters_that_can_not_be_read),
		cmocka_unit_test(memory_deny_write_execute),
		cmocka_unit_test(other_c_libraries),
		cmocka_unit_test(restartable_sequences_are_aborted),
		cmocka_unit_test(errors_of_the_kernel_are_results),
		cmocka_unit_test(the_target_dies_meanwhile),
		cmocka_unit_test(threads_without_a_processor),
	};

	need_host();
	need_trace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
