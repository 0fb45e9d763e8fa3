/* SPDX-License-Identifier: MIT */
/*
 * seccomp.c - what the filters of a thread would say to a call that we make in it.
 *
 * The filters are read from the stopped thread (PTRACE_SECCOMP_GET_FILTER: CAP_SYS_ADMIN, and no filter
 * on ourselves) and run here, before anything is injected, with the very numbers and arguments.
 * A filter that would kill, trap, or ask somebody else must never see such a call, not even while
 * it is suspended: if the tool dies the suspension ends with it, and the thread would make the call
 * under the filter. One that only returns an error may be suspended.
 *
 * The interpreter knows what the kernel lets into a seccomp program, and takes everything else as "kill".
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

#include "process/internal.h"

/* -- the interpreter -------------------------------------------------------------------------- */

struct machine {
	uint32_t a, x, mem[BPF_MEMWORDS];
};

static bool alu(struct machine *m, const struct sock_filter *i)
{
	uint32_t v = BPF_SRC(i->code) == BPF_X ? m->x : i->k;

	switch (BPF_OP(i->code)) {
	case BPF_ADD:
		m->a += v;
		return true;
	case BPF_SUB:
		m->a -= v;
		return true;
	case BPF_MUL:
		m->a *= v;
		return true;
	case BPF_DIV:
		if (v)
			m->a /= v;
		return v;
	case BPF_OR:
		m->a |= v;
		return true;
	case BPF_AND:
		m->a &= v;
		return true;
	case BPF_XOR:
		m->a ^= v;
		return true;
	case BPF_LSH:
		m->a = v < 32 ? m->a << v : 0;
		return v < 32;
	case BPF_RSH:
		m->a = v < 32 ? m->a >> v : 0;
		return v < 32;
	case BPF_NEG:
		m->a = -m->a;
		return true;
	}
	return false;
}

static bool jump(const struct machine *m, const struct sock_filter *i, uint32_t *skip)
{
	uint32_t v = BPF_SRC(i->code) == BPF_X ? m->x : i->k;
	bool yes;

	switch (BPF_OP(i->code)) {
	case BPF_JA:
		*skip = i->k;
		return true;
	case BPF_JEQ:
		yes = m->a == v;
		break;
	case BPF_JGT:
		yes = m->a > v;
		break;
	case BPF_JGE:
		yes = m->a >= v;
		break;
	case BPF_JSET:
		yes = m->a & v;
		break;
	default:
		return false;
	}
	*skip = yes ? i->jt : i->jf;
	return true;
}

static bool load(struct machine *m, const struct sock_filter *i, const uint8_t *data, size_t size)
{
	uint32_t *reg = BPF_CLASS(i->code) == BPF_LD ? &m->a : &m->x;

	switch (BPF_MODE(i->code)) {
	case BPF_IMM:
		*reg = i->k;
		return true;
	case BPF_LEN:
		*reg = (uint32_t)size;
		return true;
	case BPF_MEM:
		if (i->k < BPF_MEMWORDS)
			*reg = m->mem[i->k];
		return i->k < BPF_MEMWORDS;
	case BPF_ABS:
		if (BPF_CLASS(i->code) != BPF_LD || BPF_SIZE(i->code) != BPF_W || i->k % 4 || !sut_fits(i->k, 4, size))
			return false;
		m->a = sut_le32(data + i->k);
		return true;
	}
	return false;
}

uint32_t sut_bpf_run(const void *insns, unsigned n, const void *data, size_t size)
{
	const struct sock_filter *prog = insns;
	struct machine m = { 0 };
	uint32_t skip;

	/* Jumps only lead forward, so this ends. */
	for (uint64_t pc = 0; pc < n; pc++) {
		const struct sock_filter *i = &prog[pc];
		bool ok = true;

		switch (BPF_CLASS(i->code)) {
		case BPF_LD:
		case BPF_LDX:
			ok = load(&m, i, data, size);
			break;
		case BPF_ST:
		case BPF_STX:
			ok = i->k < BPF_MEMWORDS;
			if (ok)
				m.mem[i->k] = BPF_CLASS(i->code) == BPF_ST ? m.a : m.x;
			break;
		case BPF_ALU:
			ok = alu(&m, i);
			break;
		case BPF_JMP:
			ok = jump(&m, i, &skip);
			pc += ok ? skip : 0;
			break;
		case BPF_RET:
			return BPF_RVAL(i->code) == BPF_A   ? m.a
			       : BPF_RVAL(i->code) == BPF_K ? i->k
							    : SECCOMP_RET_KILL_PROCESS;
		case BPF_MISC:
			if (BPF_MISCOP(i->code) == BPF_TAX)
				m.x = m.a;
			else if (BPF_MISCOP(i->code) == BPF_TXA)
				m.a = m.x;
			else
				ok = false;
			break;
		}
		if (!ok)
			break;
	}
	return SECCOMP_RET_KILL_PROCESS;
}

/* -- a thread's filters ----------------------------------------------------------------------- */

enum sut_seccomp_verdict sut_seccomp_eval(struct suture_process *p, unsigned nr, uint64_t ip, const uint64_t args[6])
{
	struct sut_borrow *b = &sut_priv(p)->borrow;
	struct seccomp_data d = { .nr = (int)nr,
				  .arch = p->mem.arch->e_machine | __AUDIT_ARCH_64BIT | __AUDIT_ARCH_LE,
				  .instruction_pointer = ip };
	uint32_t worst = SECCOMP_RET_ALLOW;

	memcpy(d.args, args, sizeof(d.args));
	/* The kernel takes the verdict of the lowest action, as a signed number. */
	for (unsigned i = 0; i < b->n_filters; i++) {
		uint32_t v = sut_bpf_run(b->filter[i].insns, b->filter[i].n, &d, sizeof(d));

		if ((int32_t)(v & SECCOMP_RET_ACTION_FULL) < (int32_t)(worst & SECCOMP_RET_ACTION_FULL))
			worst = v;
	}
	switch (worst & SECCOMP_RET_ACTION_FULL) {
	case SECCOMP_RET_ALLOW:
	case SECCOMP_RET_LOG:
		return SUT_SECCOMP_ALLOW;
	case SECCOMP_RET_ERRNO:
		return SUT_SECCOMP_ERRNO;
	}
	return SUT_SECCOMP_FATAL;
}

void sut_seccomp_free(struct suture_process *p)
{
	struct sut_borrow *b = &sut_priv(p)->borrow;

	for (unsigned i = 0; i < b->n_filters; i++)
		free(b->filter[i].insns);
	b->n_filters = 0;
}

/* Reads the filter of an index. 1: there is none. */
static int read_filter(struct suture_process *p, pid_t tid, unsigned index)
{
	struct sut_borrow *b = &sut_priv(p)->borrow;
	long n = ptrace(PTRACE_SECCOMP_GET_FILTER, tid, index, NULL);
	struct sock_filter *insns;

	if (n < 0 && (errno == ENOENT || errno == EINVAL) && index)
		return 1;
	if (n < 0 && errno == ESRCH)
		return sut_fail_gone(p);
	if (n < 0) {
		sut_fail(p->ctx, SUTURE_EACCESS, "the seccomp filters of thread %d of %s[%d] can not be read: %s", tid,
			 p->comm, p->pid, errno == EMEDIUMTYPE ? "not a classic program" : strerror(errno));
		return sut_hint(p->ctx,
				"it takes CAP_SYS_ADMIN and a tool without filters of its own; unread, a filter "
				"might kill the process at the first injected call");
	}
	if (index == SUT_ARRAY_SIZE(b->filter) || n > BPF_MAXINSNS)
		return sut_fail(p->ctx, SUTURE_EACCESS, "thread %d of %s[%d] has more than %zu seccomp filters", tid,
				p->comm, p->pid, SUT_ARRAY_SIZE(b->filter));
	insns = calloc((size_t)n + 1, sizeof(*insns));
	if (!insns)
		return sut_nomem(p->ctx);
	if (ptrace(PTRACE_SECCOMP_GET_FILTER, tid, index, insns) != n) {
		free(insns);
		return sut_fail(p->ctx, SUTURE_EACCESS, "the seccomp filters of thread %d of %s[%d] change", tid,
				p->comm, p->pid);
	}
	b->filter[index] = (struct sut_filter){ insns, (unsigned)n };
	b->n_filters = index + 1;
	return 0;
}

int sut_seccomp_read(struct suture_process *p, pid_t tid)
{
	long mode = sut_procfs_status_num(p->pid, tid, "Seccomp", 0);
	int err = 0;

	sut_seccomp_free(p);
	p->seccomp_filter = mode == SECCOMP_MODE_FILTER;
	if (mode == SECCOMP_MODE_DISABLED)
		return 0;
	if (mode != SECCOMP_MODE_FILTER) {
		sut_fail(p->ctx, SUTURE_EACCESS, "thread %d of %s[%d] is in seccomp's strict mode", tid, p->comm,
			 p->pid);
		return sut_hint(p->ctx, "any system call but read and write would kill it; nothing was tried");
	}
	for (unsigned i = 0; !err; i++)
		err = read_filter(p, tid, i);
	return err < 0 ? err : 0;
}
