/* SPDX-License-Identifier: MIT */
/*
 * test_agent.c - exceptions go through loaded code once the agent knows it, and not before.
 *
 * The agent is installed in this very process as its header says, with a plain write for the site.
 */
#include <execinfo.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "agent/table.h"
#include "module/agent.h"
#include "self.h"
#include "lib/needs.h"

extern int host_cleaned;
int host_throw(int x);
int host_catch(int (*fn)(int), int x);
int host_catch_pass(int (*fn)(int (*)(int), int), int x);

static struct suture_process *p;
static struct sut_module *agent, *m;
static struct sut_elf *agent_elf, *elf;
static struct sut_registry registry;

typedef int (*fn_int)(int);
#define FN(type, name) ((type)(uintptr_t)sut_module_symbol(m, sut_module_find(m, name)))

/* How a child ends that lets an exception through @name. */
static int child_status(const char *name)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		fclose(stderr);
		_exit(host_catch(FN(fn_int, name), 7) == 7 ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	return status;
}

static const char *object;

static void load_sample(void)
{
	elf = self_elf(p, object);
	if (sut_module_plan(p, elf, "throws", self_env(p), &m) || sut_module_load(m))
		fail_msg("%s", self_message(p));
}

static void test_without_agent(void **state)
{
	int status;

	load_sample();
	assert_true(sut_agent_wanted(m));
	status = child_status("mod_throw");
	/* std::terminate: nobody knows the frame. */
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void test_install(void **state)
{
	const struct sut_arch *arch = p->mem.arch;
	uint8_t entry[64], jump[SUT_REGS_MAX];
	struct sut_mod_env env = { .n_objects = 1, .stub_size = 128 };
	struct sut_object *unwinder = NULL;
	uint64_t addr, site;
	size_t len, moved;
	Elf64_Sym es;

	if (sut_agent_needed(p, &unwinder, &addr))
		fail_msg("%s", self_message(p));
	assert_non_null(unwinder);
	assert_non_null(strstr(unwinder->path, "libgcc_s"));
	assert_int_equal(sut_agent_open(p->ctx, &agent_elf), 0);
	/* Freestanding: it asks for nothing. */
	for (size_t i = 0; i < agent_elf->sec.n; i++)
		for (size_t k = 1; agent_elf->sec.v[i].type == SHT_SYMTAB && k < agent_elf->sec.v[i].size / sizeof(es);
		     k++) {
			memcpy(&es, agent_elf->sec.v[i].data + k * sizeof(es), sizeof(es));
			assert_int_not_equal(es.st_shndx, SHN_UNDEF);
		}
	env.object = &unwinder;
	if (sut_module_plan(p, agent_elf, SUT_AGENT_NAME, &env, &agent))
		fail_msg("%s", self_message(p));
	assert_int_equal(sut_mem_read(&p->mem, addr, entry, sizeof(entry)), 0);
	site = addr + arch->entry_skip(entry, sizeof(entry));
	assert_int_equal(arch->relocate_entry(entry + (site - addr), sizeof(entry) - (site - addr), arch->jump_size,
					      site, agent->area.v[0].stubs, agent->area.v[0].stub_bytes, 128, &len,
					      &moved),
			 0);
	assert_int_equal(sut_agent_set_original(agent, agent->area.v[0].stubs), 0);
	if (sut_module_load(agent))
		fail_msg("%s", self_message(p));
	registry.p = p;
	registry.h.agent_table = sut_agent_table_addr(agent);
	assert_int_equal(((struct sut_agent_table *)(uintptr_t)registry.h.agent_table)->magic, SUT_AGENT_MAGIC);
	assert_int_equal(arch->jump_encode(site, sut_agent_find_addr(agent), jump), 0);
	assert_int_equal(sut_mem_write(&p->mem, site, jump, arch->jump_size), 0);
	/* The host's own exceptions go through the original. */
	assert_int_equal(host_catch(host_throw, 5), 5);
	/* The module is not published yet. */
	assert_true(WIFSIGNALED(child_status("mod_throw")));
}

static void test_published(void **state)
{
	if (sut_agent_publish(&registry, m))
		fail_msg("%s", self_message(p));
	host_cleaned = 0;
	assert_int_equal(host_catch(FN(fn_int, "mod_throw"), 9), 9);
	assert_int_equal(host_cleaned, 1);
	assert_int_equal(FN(fn_int, "mod_catch")(12), 7);
	assert_int_equal(FN(fn_int, "mod_catch_host")(21), 42);
	assert_int_equal(host_catch_pass(FN(int (*)(int (*)(int), int), "mod_pass"), 33), 33);
	assert_int_equal(host_cleaned, 2);
	assert_int_equal(host_catch(host_throw, 5), 5);
	assert_int_equal(child_status("mod_throw"), 0);
	/* Publishing twice takes no second slot. */
	assert_int_equal(sut_agent_publish(&registry, m), 0);
	assert_int_equal(((struct sut_agent_table *)(uintptr_t)registry.h.agent_table)->n_slots, 1);
}

static void *outermost;
static int count_frames(int x)
{
	void *at[64];
	int frames = backtrace(at, 64);

	outermost = frames ? at[frames - 1] : NULL;
	for (int i = 0; i < frames; i++)
		if ((uintptr_t)at[i] >= m->area.v[0].base && (uintptr_t)at[i] < m->area.v[0].base + m->area.v[0].size)
			return x;
	return -100;
}

/* A backtrace passes the loaded frame and goes on to the outermost. */
static void test_backtrace(void **state)
{
	void *direct;

	count_frames(0);
	direct = outermost;
	outermost = NULL;
	assert_int_equal(FN(int (*)(int (*)(int), int), "mod_pass")(count_frames, 4), 5);
	assert_non_null(direct);
	assert_ptr_equal(outermost, direct);
}

static void test_unpublished(void **state)
{
	struct sut_record rec = { 0 };

	assert_int_equal(sut_module_to_record(m, &rec), 0);
	if (sut_agent_unpublish(&registry, &rec))
		fail_msg("%s", self_message(p));
	assert_true(WIFSIGNALED(child_status("mod_throw")));
	assert_int_equal(host_catch(host_throw, 5), 5);
	assert_int_equal(sut_agent_publish(&registry, m), 0);
	assert_int_equal(host_catch(FN(fn_int, "mod_throw"), 9), 9);
	assert_int_equal(sut_agent_unpublish(&registry, &rec), 0);
}

/* A table that somebody damaged is not written to. */
static void test_damaged_table(void **state)
{
	struct sut_agent_table *t = (void *)(uintptr_t)registry.h.agent_table;
	uint32_t n = t->n_slots;

	t->n_slots = 100000;
	assert_int_equal(sut_agent_publish(&registry, m), -SUTURE_EREFUSED);
	t->n_slots = n;
	t->magic++;
	assert_int_equal(sut_agent_publish(&registry, m), -SUTURE_EREFUSED);
	t->magic--;
}

static int setup(void **state)
{
	p = self_open();
	return 0;
}

static int teardown(void **state)
{
	/* The agent's site stays: this process ends anyway. */
	sut_module_free(m);
	sut_module_free(agent);
	sut_elf_close(elf);
	sut_elf_close(agent_elf);
	self_close(p);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_agent), cmocka_unit_test(test_install),
		cmocka_unit_test(test_published),     cmocka_unit_test(test_backtrace),
		cmocka_unit_test(test_unpublished),   cmocka_unit_test(test_damaged_table),
	};

	need_host();
	if (argc != 2)
		return 2;
	object = argv[1];
	return cmocka_run_group_tests(tests, setup, teardown);
}
