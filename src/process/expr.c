/* SPDX-License-Identifier: MIT */
/*
 * expr.c - DWARF expressions, as far as call frame information uses them.
 *
 * Registers and memory come through callbacks, which may say "unknown". Everything not understood, not
 * known, or out of bounds makes the whole value unknown; branches are not followed (no compiler or
 * library writes them into .eh_frame). Pure but for the callbacks.
 */
#include <dwarf.h>

#include "process/internal.h"

#define STACK_MAX 32

struct stack {
	uint64_t v[STACK_MAX];
	size_t n;
};

static bool push(struct stack *s, uint64_t v)
{
	if (s->n == STACK_MAX)
		return false;
	s->v[s->n++] = v;
	return true;
}

static bool binary(struct stack *s, unsigned op)
{
	uint64_t a, b, r;

	if (s->n < 2)
		return false;
	b = s->v[--s->n];
	a = s->v[--s->n];
	switch (op) {
	case DW_OP_and:
		r = a & b;
		break;
	case DW_OP_or:
		r = a | b;
		break;
	case DW_OP_xor:
		r = a ^ b;
		break;
	case DW_OP_plus:
		r = a + b;
		break;
	case DW_OP_minus:
		r = a - b;
		break;
	case DW_OP_mul:
		r = a * b;
		break;
	case DW_OP_shl:
		r = b < 64 ? a << b : 0;
		break;
	case DW_OP_shr:
		r = b < 64 ? a >> b : 0;
		break;
	case DW_OP_shra:
		r = (uint64_t)((int64_t)a >> (b < 64 ? b : 63));
		break;
	case DW_OP_eq:
		r = a == b;
		break;
	case DW_OP_ne:
		r = a != b;
		break;
	case DW_OP_ge:
		r = (int64_t)a >= (int64_t)b;
		break;
	case DW_OP_gt:
		r = (int64_t)a > (int64_t)b;
		break;
	case DW_OP_le:
		r = (int64_t)a <= (int64_t)b;
		break;
	case DW_OP_lt:
		r = (int64_t)a < (int64_t)b;
		break;
	default:
		return false;
	}
	return push(s, r);
}

static bool unary(struct stack *s, const Dwarf_Op *op, const struct sut_expr_ops *env)
{
	uint64_t *top;

	if (!s->n)
		return false;
	top = &s->v[s->n - 1];
	switch (op->atom) {
	case DW_OP_deref:
		return env->mem(env->arg, *top, 8, top);
	case DW_OP_deref_size:
		return (op->number == 1 || op->number == 2 || op->number == 4 || op->number == 8) &&
		       env->mem(env->arg, *top, (unsigned)op->number, top);
	case DW_OP_plus_uconst:
		*top += op->number;
		return true;
	case DW_OP_neg:
		*top = -*top;
		return true;
	case DW_OP_not:
		*top = ~*top;
		return true;
	case DW_OP_abs:
		*top = (int64_t)*top < 0 ? -*top : *top;
		return true;
	}
	return false;
}

static bool shuffle(struct stack *s, const Dwarf_Op *op)
{
	uint64_t v;

	switch (op->atom) {
	case DW_OP_dup:
		return s->n && push(s, s->v[s->n - 1]);
	case DW_OP_over:
		return s->n > 1 && push(s, s->v[s->n - 2]);
	case DW_OP_pick:
		return op->number < s->n && push(s, s->v[s->n - 1 - op->number]);
	case DW_OP_drop:
		return s->n && s->n--;
	case DW_OP_swap:
		if (s->n < 2)
			return false;
		v = s->v[s->n - 1];
		s->v[s->n - 1] = s->v[s->n - 2];
		s->v[s->n - 2] = v;
		return true;
	}
	return false;
}

static bool step(struct stack *s, const Dwarf_Op *op, const struct sut_expr_ops *env, const uint64_t *cfa)
{
	uint64_t v;

	if (op->atom >= DW_OP_lit0 && op->atom <= DW_OP_lit31)
		return push(s, op->atom - DW_OP_lit0);
	if (op->atom >= DW_OP_breg0 && op->atom <= DW_OP_breg31)
		return env->reg(env->arg, op->atom - DW_OP_breg0, &v) && push(s, v + op->number);
	switch (op->atom) {
	case DW_OP_bregx:
		return op->number < SUT_CFI_REGS && env->reg(env->arg, (unsigned)op->number, &v) &&
		       push(s, v + op->number2);
	case DW_OP_const1u:
	case DW_OP_const2u:
	case DW_OP_const4u:
	case DW_OP_const8u:
	case DW_OP_constu:
	case DW_OP_const1s:
	case DW_OP_const2s:
	case DW_OP_const4s:
	case DW_OP_const8s:
	case DW_OP_consts:
		return push(s, op->number); /* signs are extended already */
	case DW_OP_call_frame_cfa:
		return cfa && push(s, *cfa);
	case DW_OP_nop:
		return true;
	case DW_OP_dup:
	case DW_OP_over:
	case DW_OP_pick:
	case DW_OP_drop:
	case DW_OP_swap:
		return shuffle(s, op);
	case DW_OP_deref:
	case DW_OP_deref_size:
	case DW_OP_plus_uconst:
	case DW_OP_neg:
	case DW_OP_not:
	case DW_OP_abs:
		return unary(s, op, env);
	}
	return binary(s, op->atom);
}

bool sut_expr_eval(const Dwarf_Op *ops, size_t n, const struct sut_expr_ops *env, const uint64_t *cfa, uint64_t *ret)
{
	struct stack s = { .n = 0 };

	for (size_t i = 0; i < n; i++)
		if (!step(&s, &ops[i], env, cfa))
			return false;
	if (!s.n)
		return false;
	*ret = s.v[s.n - 1];
	return true;
}
