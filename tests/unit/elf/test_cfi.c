/* SPDX-License-Identifier: MIT */
/*
 * Unwinding rules: each kind by hand-written directives, the real outermost frames and signal frame of
 * this very process, images in memory, .debug_frame, and what a hostile file may not do.
 */
#include <dwarf.h>
#include <pthread.h>
#include <signal.h>
#include <sys/auxv.h>
#include <link.h>
#include <unwind.h>

#include "elf/cfi.h"
#include "fixture.h"

enum { RBX = 3, RBP = 6, RSP = 7, R12 = 12, R13 = 13, R14 = 14, R15 = 15, RA = 16 };

static struct sut_cfi *open_cfi(struct sut_elf *e)
{
	struct sut_cfi *c = NULL;

	if (sut_cfi_open(e, &c))
		fail_msg("%s: %s", e->name, fx_error());
	return c;
}

static const struct sut_cfi_row *row_at(struct sut_cfi *c, uint64_t pc)
{
	const struct sut_cfi_row *row = NULL, *again = NULL;

	if (!sut_cfi_row(c, pc, &row))
		fail_msg("no row at 0x%llx", (unsigned long long)pc);
	assert_true(sut_in(row->start, row->end, pc));
	assert_true(sut_cfi_row(c, pc, &again));
	assert_ptr_equal(row, again); /* from the cache */
	return row;
}

static uint64_t address(const struct sut_elf *e, const char *name)
{
	struct sut_dynsym s;

	assert_true(sut_elf_dynsym(e, name, NULL, &s));
	return s.value;
}

/* ---- hand-written rules ---- */

static void is_standard_entry(const struct sut_cfi_row *r)
{
	assert_int_equal(r->cfa_kind, SUT_CFA_REG);
	assert_int_equal(r->cfa_reg, RSP);
	assert_int_equal(r->cfa_off, 8);
	assert_int_equal(r->ra_reg, RA);
	assert_int_equal(r->reg[RA].rule, SUT_CFI_OFFSET);
	assert_int_equal(r->reg[RA].off, -8);
	assert_false(r->ra_undefined || r->signal_frame);
	assert_int_equal(r->reg[RBX].rule, SUT_CFI_SAME);
	assert_int_equal(r->reg[RBP].rule, SUT_CFI_SAME);
	assert_int_equal(r->reg[0].rule, SUT_CFI_UNDEFINED); /* rax */
	/* The stack pointer of the caller is the CFA. */
	assert_int_equal(r->reg[RSP].rule, SUT_CFI_VAL_OFFSET);
	assert_int_equal(r->reg[RSP].off, 0);
}

static void check_rules(struct sut_elf *e, uint64_t f)
{
	struct sut_cfi *c = open_cfi(e);
	const struct sut_cfi_row *r = row_at(c, f);

	is_standard_entry(r);
	assert_int_equal(r->start, f);
	assert_int_equal(r->end, f + 1);

	r = row_at(c, f + 1);
	assert_int_equal(r->cfa_off, 16);
	assert_int_equal(r->reg[RBP].rule, SUT_CFI_OFFSET);
	assert_int_equal(r->reg[RBP].off, -16);
	r = row_at(c, f + 2);
	assert_int_equal(r->cfa_reg, RBP);
	assert_int_equal(r->reg[R14].rule, SUT_CFI_UNDEFINED);
	assert_int_equal(r->reg[R12].rule, SUT_CFI_VAL_OFFSET);
	assert_int_equal(r->reg[R12].off, -24);
	assert_int_equal(r->reg[R13].rule, SUT_CFI_REGISTER);
	assert_int_equal(r->reg[R13].off, RBX);
	assert_int_equal(r->reg[RBX].rule, SUT_CFI_SAME);

	r = row_at(c, f + 3);
	assert_int_equal(r->reg[R14].rule, SUT_CFI_EXPR); /* [CFA] [breg7 16] plus */
	assert_int_equal(r->reg[R14].nops, 3);
	assert_int_equal(r->reg[R14].ops[0].atom, DW_OP_call_frame_cfa);
	assert_int_equal(r->reg[R14].ops[1].atom, DW_OP_breg7);
	assert_int_equal(r->reg[R14].ops[1].number, 16);
	assert_int_equal(r->reg[R14].ops[2].atom, DW_OP_plus);
	assert_int_equal(r->reg[R15].rule, SUT_CFI_VAL_EXPR); /* [CFA] [breg6 -8] */
	assert_int_equal(r->reg[R15].nops, 2);
	assert_int_equal(r->reg[R15].ops[1].atom, DW_OP_breg6);
	assert_int_equal((int64_t)r->reg[R15].ops[1].number, -8);
	assert_int_equal(r->cfa_kind, SUT_CFA_EXPR); /* [breg7 8] deref */
	assert_int_equal(r->cfa_nops, 2);
	assert_int_equal(r->cfa_ops[0].atom, DW_OP_breg7);
	assert_int_equal(r->cfa_ops[0].number, 8);
	assert_int_equal(r->cfa_ops[1].atom, DW_OP_deref);

	r = row_at(c, f + 4);
	assert_true(r->ra_undefined);
	assert_int_equal(r->reg[RA].rule, SUT_CFI_UNDEFINED);
	assert_false(sut_cfi_row(c, f + 16, &r)); /* behind it */
	sut_cfi_close(c);
}

static void test_rules(void **state)
{
	struct sut_elf *e = fx_open("rules.so");

	check_rules(e, address(e, "f"));
	sut_elf_close(e);
}

/* Where a file does declare rbx undefined, no frame of it is believed to keep rbx. */
static void test_undefined_rbx(void **state)
{
	struct sut_elf *e;
	struct sut_cfi *c;

	fx_text("rbx.s",
		".globl f\n.type f, @function\nf: .cfi_startproc\nnop\n.cfi_undefined rbx\nret\n.cfi_endproc\n");
	fx_run("cc -c rbx.s && ld -shared -o rbx.so rbx.o");
	e = fx_open("rbx.so");
	c = open_cfi(e);
	assert_int_equal(row_at(c, address(e, "f"))->reg[RBX].rule, SUT_CFI_UNDEFINED);
	assert_int_equal(row_at(c, address(e, "f") + 1)->reg[RBX].rule, SUT_CFI_UNDEFINED);
	sut_cfi_close(c);
	sut_elf_close(e);
}

static void test_debug_frame(void **state)
{
	struct sut_elf *e = fx_open("debugframe.so"), *z = fx_open("debugframe.z"), *s = fx_open("debugframe.stripped");
	uint64_t f = address(e, "f");
	const struct sut_cfi_row *row;
	struct sut_cfi *c = NULL;

	assert_non_null(sut_elf_section(e, ".debug_frame"));
	check_rules(e, f);
	assert_true(sut_elf_section(z, ".debug_frame")->flags & SHF_COMPRESSED);
	check_rules(z, f);
	/* The object itself knows nothing of f, its debug file does. */
	c = open_cfi(s);
	assert_false(sut_cfi_row(c, f, &row));
	assert_int_equal(sut_cfi_add_debug(c, s), -SUTURE_ENOTFOUND);
	sut_cfi_close(c);
	c = open_cfi(s);
	assert_int_equal(sut_cfi_add_debug(c, e), 0);
	is_standard_entry(row_at(c, f));
	sut_cfi_close(c);
	sut_elf_close(e);
	sut_elf_close(z);
	sut_elf_close(s);
}

static void test_none(void **state)
{
	struct sut_elf *e = fx_open("nocfi");
	struct sut_cfi *c = NULL;

	assert_int_equal(sut_cfi_open(e, &c), -SUTURE_ENOTFOUND);
	assert_null(c);
	sut_elf_close(e);
}

/* An image as the loader makes them: no section headers, its addresses those where it stands in the process. */
static void test_absolute_image(void **state)
{
	struct sut_elf *e, *m = NULL;
	uint64_t end = 0, f;
	uint8_t *p;
	size_t len;

	fx_run("ld -shared -z noseparate-code -Ttext-segment=0x7f0012340000 --eh-frame-hdr -o high.so rules.o");
	e = fx_open("high.so");
	f = address(e, "f");
	assert_true(f > 0x7f0012340000);
	for (size_t i = 0; i < e->load.n; i++)
		end = e->load.v[i].offset + e->load.v[i].filesz;
	p = fx_read(fx_path("high.so"), &len);
	assert_int_equal(sut_elf_open_memory(ctx, p, end, "module", &m), 0);
	assert_int_equal(m->sec.n, 0);
	check_rules(m, f);
	sut_elf_close(m);
	sut_elf_close(e);
}

/* ---- this process ---- */

static void test_vdso(void **state)
{
	const uint8_t *at = (const uint8_t *)getauxval(AT_SYSINFO_EHDR);
	struct sut_elf *e = NULL;
	struct sut_cfi *c;
	Elf64_Ehdr eh;
	size_t size;
	void *copy;

	if (!at || sut_arch_host() != &sut_arch_x86_64) {
		print_message("needs an x86-64 vDSO\n");
		skip();
	}
	memcpy(&eh, at, sizeof(eh));
	size = SUT_ALIGN_UP(eh.e_shoff + (size_t)eh.e_shnum * sizeof(Elf64_Shdr), (size_t)sysconf(_SC_PAGESIZE));
	copy = malloc(size);
	assert_non_null(copy);
	memcpy(copy, at, size);
	assert_int_equal(sut_elf_open_memory(ctx, copy, size, "[vdso]", &e), 0);
	c = open_cfi(e);
	is_standard_entry(row_at(c, address(e, "__vdso_clock_gettime")));
	sut_cfi_close(c);
	sut_elf_close(e);
}

struct located {
	uint64_t pc; /* in: runtime; out: link-time */
	const char *path;
};

static int locate(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct located *l = arg;

	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_LOAD && l->pc - info->dlpi_addr - ph->p_vaddr < ph->p_memsz) {
			l->pc -= info->dlpi_addr;
			l->path = info->dlpi_name[0] ? info->dlpi_name : "/proc/self/exe";
			return 1;
		}
	}
	return 0;
}

/* Opens the file that a runtime pc of this process lies in. */
static struct sut_cfi *cfi_of(uint64_t *pc, struct sut_elf **ret_elf)
{
	struct located l = { .pc = *pc };

#ifdef __powerpc64__
	print_message("glibc of ppc64le describes no outermost frame\n");
	skip();
#endif
	if (!sut_arch_host()) {
		print_message("src/arch does not know this processor yet\n");
		skip();
	}
	if (dl_iterate_phdr(locate, &l) != 1) {
		print_message("0x%llx lies in no file (qemu-user has no vDSO)\n", (unsigned long long)*pc);
		skip();
	}
	*ret_elf = fx_open(l.path);
	*pc = l.pc;
	return open_cfi(*ret_elf);
}

static _Unwind_Reason_Code note_ip(struct _Unwind_Context *uc, void *arg)
{
	uint64_t ip = _Unwind_GetIP(uc);

	if (ip)
		*(uint64_t *)arg = ip;
	return _URC_NO_REASON;
}

static void *find_outermost(void *arg)
{
	_Unwind_Backtrace(note_ip, arg);
	return NULL;
}

/* A thread's first frame is in clone3 (or clone), which has nobody to return to. */
static void test_clone(void **state)
{
	const struct sut_cfi_row *r;
	uint64_t pc = 0;
	struct sut_elf *e;
	struct sut_cfi *c;
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, find_outermost, &pc), 0);
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_int_not_equal(pc, 0);
	c = cfi_of(&pc, &e);
	r = row_at(c, pc - 1);
	assert_true(r->ra_undefined);
	assert_false(r->signal_frame);
	sut_cfi_close(c);
	sut_elf_close(e);
}

static void test_start(void **state)
{
	uint64_t pc = (uint64_t)getauxval(AT_ENTRY) + 8;
	struct sut_elf *e;
	struct sut_cfi *c = cfi_of(&pc, &e);

	assert_true(row_at(c, pc)->ra_undefined);
	sut_cfi_close(c);
	sut_elf_close(e);
}

static volatile uint64_t restorer;

__attribute__((noinline)) static void handler(int sig)
{
	restorer = (uint64_t)__builtin_return_address(0);
}

/* The code to which a signal handler returns: a signal frame, with all registers in the saved context. */
static void test_restorer(void **state)
{
	struct sigaction sa = { .sa_handler = handler }, old;
	const struct sut_cfi_row *r;
	uint64_t pc;
	struct sut_elf *e;
	struct sut_cfi *c;

	assert_int_equal(sigaction(SIGUSR1, &sa, &old), 0);
	raise(SIGUSR1);
	sigaction(SIGUSR1, &old, NULL);
	pc = restorer;
	assert_int_not_equal(pc, 0);
	c = cfi_of(&pc, &e);
	r = row_at(c, pc);
	assert_true(r->signal_frame);
	assert_false(r->ra_undefined);
#ifdef __x86_64__
	assert_int_equal(r->cfa_kind, SUT_CFA_EXPR);
	assert_int_equal(r->reg[RA].rule, SUT_CFI_EXPR);
	assert_int_equal(r->reg[RBP].rule, SUT_CFI_EXPR);
	assert_int_equal(r->reg[RSP].rule, SUT_CFI_EXPR);
	assert_true(r->reg[RA].nops >= 2);
	assert_int_equal(r->reg[RA].ops[0].atom, DW_OP_call_frame_cfa);
#endif
	sut_cfi_close(c);
	sut_elf_close(e);
}

/* ---- hostile files ---- */

/* Builds an object whose only FDE holds these instructions, and expects the reason of its refusal. */
static void refuses(const char *instructions, const char *why)
{
	struct sut_cfi *c = NULL;
	struct sut_elf *e;
	char text[2048];

	snprintf(text, sizeof(text),
		 ".globl f\n.type f, @function\nf: .cfi_startproc\nnop\n.cfi_escape %s\nret\n.cfi_endproc\n",
		 instructions);
	fx_text("hostile.s", text);
	fx_run("cc -c hostile.s && ld -shared --eh-frame-hdr -o hostile.so hostile.o");
	e = fx_open("hostile.so");
	if (sut_cfi_open(e, &c) != -SUTURE_EREFUSED)
		fail_msg("%s was not refused", instructions);
	assert_contains(fx_error(), why);
	sut_elf_close(e);
}

static void test_hostile(void **state)
{
	char nest[128 * 6];
	size_t len = 0;

	/* DW_CFA_same_value of register 2^27: gigabytes of rules in a naive reader. */
	refuses("0x08, 0x80, 0x80, 0x80, 0x40", "a register that no machine has");
	refuses("0x07, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01",
		"a register that no machine has");
	refuses("0x0b", "not remembered");
	refuses("0x3f", "an unknown instruction");
	refuses("0x0f, 0x00", "empty or too long");
	refuses("0x0f, 0xff, 0x7f", "an expression that is empty or too long");
	for (size_t i = 0; i < 100; i++)
		len += (size_t)snprintf(nest + len, sizeof(nest) - len, "%s0x0a", i ? ", " : "");
	refuses(nest, "remembered too deeply");
}

/* A CIE that says nothing about the return address would make every frame look like the outermost. */
static void test_silent_cie(void **state)
{
	struct sut_cfi *c = NULL;
	struct sut_elf *e;

	fx_text("silent.s",
		"f: nop\nret\nend:\n.section .eh_frame, \"a\", @progbits\n"
		"cie: .long 16\n.long 0\n.byte 1\n.string \"zR\"\n.byte 1, 0x78, 16, 1, 0x1b\n.byte 0, 0, 0\n"
		".long 16\n.long . - cie\n.long f - .\n.long end - f\n.byte 0, 0, 0, 0\n.long 0\n");
	fx_run("cc -c silent.s && ld -shared -o silent.so silent.o");
	e = fx_open("silent.so");
	assert_int_equal(sut_cfi_open(e, &c), -SUTURE_EREFUSED);
	assert_contains(fx_error(), "does not say where the return address is");
	sut_elf_close(e);
}

static int setup(void **state)
{
	static const char rules[] =
		"%s.globl f\n.type f, @function\nf:\n.cfi_startproc\nnop\n"
		".cfi_def_cfa_offset 16\n.cfi_offset rbp, -16\nnop\n"
		".cfi_def_cfa_register rbp\n.cfi_undefined r14\n.cfi_val_offset r12, -24\n.cfi_register r13, rbx\nnop\n"
		".cfi_escape 0x10, 14, 3, 0x77, 16, 0x22\n.cfi_escape 0x16, 15, 2, 0x76, 0x78\n.cfi_escape 0x0f, 3, "
		"0x77, 8, 0x06\nnop\n"
		".cfi_undefined rip\nret\n.cfi_endproc\n.size f, . - f\n.p2align 6\n"
		".section .note.GNU-stack, \"\", @progbits\n";
	char text[4096];

	snprintf(text, sizeof(text), rules, "");
	fx_text("rules.s", text);
	snprintf(text, sizeof(text), rules,
		 ".cfi_sections .debug_frame\n.rept 300\n.cfi_startproc\nnop\n.cfi_endproc\n.endr\n");
	fx_text("debugframe.s", text);
	fx_text("nocfi.s", ".globl _start\n_start: hlt\n");
	fx_text("other.c", "int other(void) { return 1; }\n");
	fx_run("cc -c rules.s debugframe.s nocfi.s && cc -fPIC -O2 -c other.c");
	fx_run("ld -shared --eh-frame-hdr -o rules.so rules.o && ld -shared -o debugframe.so debugframe.o other.o && "
	       "ld -o nocfi nocfi.o && objcopy --compress-debug-sections=zlib-gabi debugframe.so debugframe.z && "
	       "strip -o debugframe.stripped debugframe.so");
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),          cmocka_unit_test(test_undefined_rbx),
		cmocka_unit_test(test_debug_frame),    cmocka_unit_test(test_none),
		cmocka_unit_test(test_absolute_image), cmocka_unit_test(test_vdso),
		cmocka_unit_test(test_clone),          cmocka_unit_test(test_start),
		cmocka_unit_test(test_restorer),       cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_silent_cie),
	};

	fx_start();
	return fx_end(cmocka_run_group_tests(tests, setup, NULL));
}
