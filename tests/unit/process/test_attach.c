/* SPDX-License-Identifier: MIT */
/* Who is refused, with which code, and what is seen of those who are not. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib.h"
#include "lib/needs.h"

static int try(pid_t pid)
{
	struct suture_process *p = NULL;
	int err = suture_process_attach(ctx(), pid, NULL, &p);

	if (err)
		assert_null(p);
	suture_process_detach(p);
	return err;
}

static void refuses_itself_kernel_threads_and_nobody(void **state)
{
	assert_int_equal(try(getpid()), -SUTURE_EREFUSED);
	assert_int_equal(try(0), -SUTURE_EUSAGE);
	assert_int_equal(try(-5), -SUTURE_EUSAGE);
	assert_int_equal(try(0x3fffffff), -SUTURE_ENOTFOUND);
	if (!access("/proc/2/stat", F_OK) && sut_procfs_status_num(2, 0, "Kthread", 1) == 1) {
		char comm[16];

		sut_procfs_comm(2, comm);
		if (!strcmp(comm, "kthreadd")) /* not in a pid namespace of our own */
			assert_int_equal(try(2), -SUTURE_EREFUSED);
	}
}

static void refuses_a_zombie(void **state)
{
	pid_t pid = fork();
	siginfo_t si;

	if (!pid)
		_exit(0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT), 0);
	assert_int_equal(try(pid), -SUTURE_ENOTFOUND);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void refuses_a_thread_and_names_its_process(void **state)
{
	struct suture_process *p;
	struct target t;
	char hint[64];

	target_start(&t, "sleep", "1");
	p = attach(t.pid);
	assert_int_equal(sut_procfs_tids(p), 0);
	assert_int_equal(sut_priv(p)->tids.n, 2);
	assert_int_equal(try(sut_priv(p)->tids.v[1]), -SUTURE_ENOTFOUND);
	snprintf(hint, sizeof(hint), "%d", t.pid);
	assert_non_null(strstr(suture_ctx_error(ctx())->hint, hint));
	suture_process_detach(p);
	target_stop_clean(&t);
}

/* Runs @fn in a child. Its exit status: 0 or the positive code that attaching gave, modulo 200. */
static int in_child(int (*fn)(pid_t), pid_t pid)
{
	pid_t child = fork();
	int status;

	if (!child)
		_exit(fn(pid));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int attach_as_nobody(pid_t pid)
{
	if (setgroups(0, NULL) || setgid(65534) || setuid(65534))
		return 199;
	return -try(pid) % 200;
}

static void refuses_what_is_not_ours(void **state)
{
	struct target t;

	if (geteuid())
		skip();
	target_start(&t, "sleep", "0");
	assert_int_equal(in_child(attach_as_nobody, t.pid), SUTURE_EACCESS % 200);
	target_stop_clean(&t);
}

static void refuses_what_is_traced(void **state)
{
	struct suture_process *p;
	struct target t;
	char name[16];

	target_start(&t, "sleep", "1");
	assert_int_equal(ptrace(PTRACE_SEIZE, t.pid, 0, 0), 0);
	assert_int_equal(try(t.pid), -SUTURE_EACCESS);
	sut_procfs_comm(getpid(), name);
	assert_non_null(strstr(suture_ctx_error(ctx())->message, name));
	assert_int_equal(ptrace(PTRACE_INTERRUPT, t.pid, 0, 0), 0);
	assert_int_equal(waitpid(t.pid, NULL, __WALL), t.pid);
	assert_int_equal(ptrace(PTRACE_DETACH, t.pid, 0, 0), 0);
	/* A tracer that comes later is met by the borrow. */
	p = attach(t.pid);
	suture_process_detach(p);
	target_stop_clean(&t);
}

/* A 32-bit program of a few bytes: pause for ever. */
static void refuses_32_bit(void **state)
{
	static const uint8_t code[] = { 0xb8, 29, 0, 0, 0, 0xcd, 0x80, 0xeb, 0xf7 }; /* mov $29,%eax; int $0x80; jmp */
	struct {
		Elf32_Ehdr eh;
		Elf32_Phdr ph;
		uint8_t code[16];
	} f = { 0 };
	char path[] = "/tmp/suture-32-XXXXXX";
	int fd = mkstemp(path);
	siginfo_t si = { 0 };
	pid_t pid;

	memcpy(f.eh.e_ident, ELFMAG, SELFMAG);
	f.eh.e_ident[EI_CLASS] = ELFCLASS32;
	f.eh.e_ident[EI_DATA] = ELFDATA2LSB;
	f.eh.e_ident[EI_VERSION] = EV_CURRENT;
	f.eh.e_type = ET_EXEC;
	f.eh.e_machine = EM_386;
	f.eh.e_version = EV_CURRENT;
	f.eh.e_phoff = sizeof(f.eh);
	f.eh.e_ehsize = sizeof(f.eh);
	f.eh.e_phentsize = sizeof(f.ph);
	f.eh.e_phnum = 1;
	f.ph = (Elf32_Phdr){ PT_LOAD, 0, 0x10000, 0x10000, sizeof(f), sizeof(f), PF_R | PF_X, 0x1000 };
	f.eh.e_entry = 0x10000 + offsetof(__typeof__(f), code);
	memcpy(f.code, code, sizeof(code));
	assert_true(fd >= 0);
	assert_int_equal(write(fd, &f, sizeof(f)), sizeof(f));
	fchmod(fd, 0755);
	close(fd);
	pid = fork();
	if (!pid) {
		execl(path, path, NULL);
		_exit(127);
	}
	usleep(50000);
	assert_int_equal(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOHANG | WNOWAIT), 0);
	unlink(path);
	if (si.si_pid) {
		waitpid(pid, NULL, 0);
		print_message("this kernel runs no 32-bit programs\n");
		skip();
	}
	assert_int_equal(try(pid), -SUTURE_EREFUSED);
	assert_non_null(strstr(suture_ctx_error(ctx())->message, "32-bit"));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void sees_objects(const char *program, bool is_pie, bool is_static)
{
	struct suture_process *p;
	struct sut_object *libc = NULL;
	struct sut_elf *elf;
	struct target t;

	target_start_program(&t, program, (const char *const[]){ "sleep", "1", NULL });
	p = attach(t.pid);
	assert_true(p->obj.n >= (is_static ? 1 : 3));
	assert_true(p->obj.v[0].is_main);
	assert_int_equal(p->obj.v[0].start, t.ehdr);
	assert_int_equal(p->obj.v[0].bias, is_pie ? t.ehdr : 0);
	assert_ptr_equal(sut_process_object_at(p, t.main), &p->obj.v[0]);
	check(p, sut_object_elf(p, &p->obj.v[0], &elf));
	assert_true(sut_elf_bytes(elf, t.main - p->obj.v[0].bias, 1));
	for (size_t i = 1; i < p->obj.n; i++) {
		assert_false(p->obj.v[i].is_main);
		assert_true(p->obj.v[i].load_order > p->obj.v[i - 1].load_order);
		if (!strncmp(p->obj.v[i].name, "libc.", 5) || strstr(p->obj.v[i].name, "musl"))
			libc = &p->obj.v[i];
		check(p, sut_object_elf(p, &p->obj.v[i], &elf));
	}
	assert_int_equal(!libc, is_static);
	/* What has been opened stays through a refresh. */
	elf = p->obj.v[0].elf;
	check(p, sut_process_refresh(p));
	assert_ptr_equal(p->obj.v[0].elf, elf);
	suture_process_detach(p);
	target_stop_clean(&t);
}

static void sees_objects_of_all_kinds(void **state)
{
	static const struct {
		const char *variable;
		bool is_pie, is_static;
	} kinds[] = {
		{ "TARGET", true, false },           { "TARGET_NOPIE", false, false }, { "TARGET_STATIC", false, true },
		{ "TARGET_STATIC_PIE", true, true }, { "TARGET_MUSL", true, false },
	};

	for (size_t i = 0; i < SUT_ARRAY_SIZE(kinds); i++) {
		const char *program = getenv(kinds[i].variable);

		if (program && *program)
			sees_objects(program, kinds[i].is_pie, kinds[i].is_static);
		else
			print_message("no %s here\n", kinds[i].variable);
	}
}

/* ld.so run as a command: the kernel takes it for the program. */
static void sees_the_program_behind_ld_so(void **state)
{
	static const char ld[] = "/lib64/ld-linux-x86-64.so.2";
	struct suture_process *p;
	struct target t;

	if (access(ld, X_OK))
		skip();
	target_start_program(&t, ld, (const char *const[]){ getenv("TARGET"), "sleep", "1", NULL });
	p = attach(t.pid);
	assert_true(p->obj.v[0].is_main);
	assert_int_equal(p->obj.v[0].start, t.ehdr);
	suture_process_detach(p);
	target_stop_clean(&t);
}

static void copy_file(const char *from, const char *to)
{
	char cmd[512];

	snprintf(cmd, sizeof(cmd), "cp '%s' '%s'", from, to);
	assert_int_equal(system(cmd), 0);
}

static void reads_the_mapped_file_whatever_its_name_leads_to(void **state)
{
	struct suture_process *p;
	struct sut_elf *elf;
	struct target t;
	char path[64];

	snprintf(path, sizeof(path), "/tmp/suture-target-%d", getpid());
	copy_file(getenv("TARGET"), path);
	target_start_program(&t, path, (const char *const[]){ "sleep", "1", NULL });
	/* Replaced as a package manager does it. */
	unlink(path);
	copy_file("/bin/true", path);
	p = attach(t.pid);
	assert_true(p->obj.v[0].deleted);
	assert_string_equal(p->obj.v[0].path, path);
	if (sut_object_elf(p, &p->obj.v[0], &elf)) {
		/* Without the right to map_files and exe: refused, never the other file. */
		assert_int_not_equal(geteuid(), 0);
	} else {
		assert_true(sut_elf_bytes(elf, t.main - p->obj.v[0].bias, 1));
		assert_int_equal(elf->image_size > 0, 1);
	}
	suture_process_detach(p);
	target_stop_clean(&t);
	unlink(path);
}

static void notices_the_end(void **state)
{
	struct suture_process *p;
	struct target t;
	int64_t r;

	target_start(&t, "sleep", "2");
	p = attach(t.pid);
	assert_true(sut_process_alive(p));
	target_kill(&t);
	assert_false(sut_process_alive(p));
	assert_int_equal(sut_process_borrow(p, 100), -SUTURE_EGONE);
	assert_int_equal(sut_process_stop(p, 100), -SUTURE_EGONE);
	assert_true(sut_mem_syscall(&p->mem, &r, SUT_SYS_GETPID) < 0);
	assert_true(sut_process_refresh(p) < 0);
	suture_process_detach(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_itself_kernel_threads_and_nobody),
		cmocka_unit_test(refuses_a_zombie),
		cmocka_unit_test(refuses_a_thread_and_names_its_process),
		cmocka_unit_test(refuses_what_is_not_ours),
		cmocka_unit_test(refuses_what_is_traced),
		cmocka_unit_test(refuses_32_bit),
		cmocka_unit_test(sees_objects_of_all_kinds),
		cmocka_unit_test(sees_the_program_behind_ld_so),
		cmocka_unit_test(reads_the_mapped_file_whatever_its_name_leads_to),
		cmocka_unit_test(notices_the_end),
	};

	need_host();
	need_trace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
