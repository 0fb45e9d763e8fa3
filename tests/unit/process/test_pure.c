/* SPDX-License-Identifier: MIT */
/* The parts that need no process: filter programs, DWARF expressions, lines of maps. */
#include <dwarf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include "lib.h"

static uint32_t run(const struct sock_filter *f, unsigned n, const struct seccomp_data *d)
{
	return sut_bpf_run(f, n, d, sizeof(*d));
}

static void filters_are_run(void **state)
{
	struct seccomp_data d = { .nr = 9, .arch = 0xc000003e, .args = { 0, 4096, 5 } };
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xc000003e, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 8, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 4, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 13),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	assert_int_equal(run(f, 9, &d), SECCOMP_RET_ERRNO | 13);
	d.args[2] = 3;
	assert_int_equal(run(f, 9, &d), SECCOMP_RET_ALLOW);
	d.nr = 3;
	assert_int_equal(run(f, 9, &d), SECCOMP_RET_ALLOW);
	d.arch = 1;
	assert_int_equal(run(f, 9, &d), SECCOMP_RET_KILL_PROCESS);
	/* Falling off the end, a jump out of it, an unknown instruction, a load out of the data. */
	assert_int_equal(run(f, 2, &d), SECCOMP_RET_KILL_PROCESS);
	f[1] = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, 0xffffffff);
	assert_int_equal(run(f, 9, &d), SECCOMP_RET_KILL_PROCESS);
	f[1] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0);
	assert_int_equal(run(f, 9, &d), SECCOMP_RET_KILL_PROCESS);
	f[1] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, sizeof(d));
	assert_int_equal(run(f, 9, &d), SECCOMP_RET_KILL_PROCESS);
}

static void filter_arithmetic(void **state)
{
	struct seccomp_data d = { .nr = 100 };
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0), /* 64 */
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0), /* 128 */
		BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 3), /* 42 */
		BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 2), /* 168 */
		BPF_STMT(BPF_ST, 3),
		BPF_STMT(BPF_LDX | BPF_W | BPF_MEM, 3),
		BPF_STMT(BPF_ALU | BPF_XOR | BPF_K, 0xff), /* 87 */
		BPF_STMT(BPF_ALU | BPF_MUL | BPF_X, 0),
		BPF_STMT(BPF_ALU | BPF_NEG, 0),
		BPF_STMT(BPF_RET | BPF_A, 0),
	};

	assert_int_equal(run(f, 11, &d), (uint32_t) - (87 * 168));
	f[3].k = 0;
	assert_int_equal(run(f, 11, &d), SECCOMP_RET_KILL_PROCESS);
}

static bool reg7(void *arg, unsigned n, uint64_t *ret)
{
	*ret = 0x1000;
	return n == 7;
}

static bool memory(void *arg, uint64_t addr, unsigned size, uint64_t *ret)
{
	*ret = addr + size;
	return addr >= 0x1000;
}

static const struct sut_expr_ops env = { reg7, memory, NULL };

static void expressions_are_evaluated(void **state)
{
	/* As a linker writes it for PLT entries: cfa = rsp + 8 + ((rip & 15) >= 11) << 3, with rsp for rip. */
	const Dwarf_Op plt[] = {
		{ .atom = DW_OP_breg7, .number = 8 },
		{ .atom = DW_OP_breg7, .number = 13 },
		{ .atom = DW_OP_lit15 },
		{ .atom = DW_OP_and },
		{ .atom = DW_OP_lit11 },
		{ .atom = DW_OP_ge },
		{ .atom = DW_OP_lit3 },
		{ .atom = DW_OP_shl },
		{ .atom = DW_OP_plus },
	};
	const Dwarf_Op deref[] = {
		{ .atom = DW_OP_call_frame_cfa },
		{ .atom = DW_OP_plus_uconst, .number = 16 },
		{ .atom = DW_OP_deref },
	};
	const Dwarf_Op unknown[] = { { .atom = DW_OP_breg6, .number = 0 } };
	const Dwarf_Op branch[] = { { .atom = DW_OP_lit1 }, { .atom = DW_OP_bra, .number = 0 } };
	const Dwarf_Op underflow[] = { { .atom = DW_OP_plus } };
	const Dwarf_Op unary[] = { { .atom = DW_OP_deref } };
	Dwarf_Op many[40];
	uint64_t cfa = 0x2000, v = 0;

	assert_true(sut_expr_eval(plt, SUT_ARRAY_SIZE(plt), &env, NULL, &v));
	assert_int_equal(v, 0x1000 + 8 + 8);
	assert_true(sut_expr_eval(deref, 3, &env, &cfa, &v));
	assert_int_equal(v, 0x2000 + 16 + 8);
	v = 77;
	assert_false(sut_expr_eval(deref, 3, &env, NULL, &v));
	assert_false(sut_expr_eval(unknown, 1, &env, &cfa, &v));
	assert_false(sut_expr_eval(branch, 2, &env, &cfa, &v));
	assert_false(sut_expr_eval(underflow, 1, &env, &cfa, &v));
	assert_false(sut_expr_eval(unary, 1, &env, &cfa, &v));
	assert_false(sut_expr_eval(NULL, 0, &env, &cfa, &v));
	for (size_t i = 0; i < SUT_ARRAY_SIZE(many); i++)
		many[i] = (Dwarf_Op){ .atom = DW_OP_lit1 };
	assert_false(sut_expr_eval(many, SUT_ARRAY_SIZE(many), &env, &cfa, &v));
	assert_int_equal(v, 77);
}

static void lines_of_maps(void **state)
{
	static const char text[] = "55d0-55f0 r--p 00000000 08:1f 123                  /bin/with - strange\\012 name\n"
				   "7fffa000-7fffb000 r-xp 00000000 00:00 0                  [vdso]\n"
				   "7fffc000-7fffd";
	const char *at = text, *end = text + sizeof(text) - 1;
	struct sut_maps_line l;

	assert_true(sut_maps_line_next(&at, end, &l));
	assert_int_equal(l.start, 0x55d0);
	assert_int_equal(l.end, 0x55f0);
	assert_int_equal(l.dev_major, 8);
	assert_int_equal(l.dev_minor, 0x1f);
	assert_int_equal(l.inode, 123);
	assert_false(l.exec);
	assert_true(sut_maps_line_next(&at, end, &l));
	assert_int_equal(l.start, 0x7fffa000);
	assert_true(l.exec);
	assert_int_equal(l.inode, 0);
	assert_false(sut_maps_line_next(&at, end, &l));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(filters_are_run),
		cmocka_unit_test(filter_arithmetic),
		cmocka_unit_test(expressions_are_evaluated),
		cmocka_unit_test(lines_of_maps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
