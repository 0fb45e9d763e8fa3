/* SPDX-License-Identifier: MIT */
/*
 * linked.c - what a linker made of a relocated x86-64 instruction.
 *
 * The builder proves that an object file is what a binary was linked from. For that it
 * must read relocated fields back. Mostly the linker fills in the field and changes nothing
 * else. Where it knows the symbol to be near or the offset to be fixed it rewrites the
 * instruction (psABI 1.0, B.2 "Optimize GOTPCRELX" and 11.1 of Drepper's TLS paper):
 *
 *	mov  foo@GOTPCREL(%rip),%r	lea foo(%rip),%r  or  mov $foo,%r
 *	call *foo@GOTPCREL(%rip)	addr32 call foo   or  call foo; nop
 *	jmp  *foo@GOTPCREL(%rip)	jmp foo; nop
 *	test %r,foo@GOTPCREL(%rip)	test $foo,%r
 *	op   foo@GOTPCREL(%rip),%r	op $foo,%r
 *	mov/add x@gottpoff(%rip),%r	mov/lea/add with $x@tpoff
 *	general dynamic sequence	mov %fs:0,%rax; lea x@tpoff(%rax),%rax  or  add x@gottpoff(%rip),%rax
 *	local dynamic sequence		mov %fs:0,%rax behind prefixes
 *	descriptor: lea, call *(%rax)	mov $x@tpoff,%rax  or  mov x@gottpoff(%rip),%rax;  xchg %ax,%ax
 *
 * Bytes in, numbers out; nothing here writes.
 */
#include "arch/arch.h"
#include "arch/x86_64/linked.h"

#define EILSEQ     84
#define EOPNOTSUPP 95

static uint64_t field(const uint8_t *p, unsigned size, bool is_signed)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < size; i++)
		v |= (uint64_t)p[i] << (8 * i);
	if (is_signed && size && size < 8 && v >> (8 * size - 1))
		v |= ~0ull << (8 * size);
	return v;
}

static bool same(const uint8_t *p, const uint8_t *q, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != q[i])
			return false;
	return true;
}

/** One place in hand: the bytes on both sides, and where the field lies. */
struct place {
	const uint8_t *obj, *bin;
	size_t len, off;
	int64_t addend;
	uint64_t pc; /* of bin[0] */
};

/** The field taken as it stands: S = field - A, plus P where it counts from the place. */
static uint64_t plain(const struct place *p, unsigned size, bool is_signed, bool pcrel)
{
	uint64_t v = field(p->bin + p->off, size, is_signed) - (uint64_t)p->addend;

	return pcrel ? v + p->pc + p->off : v;
}

static int found(struct sut_linked *ret, enum sut_reloc_kind kind, uint64_t value, size_t start, size_t end)
{
	*ret = (struct sut_linked){ .kind = kind, .value = value, .start = start, .end = end };
	return 0;
}

/** An immediate of 32 bits in place of the displacement. */
static uint64_t imm(const struct place *p)
{
	return field(p->bin + p->off, 4, true);
}

/** call *foo@GOTPCREL(%rip) and jmp *foo@GOTPCREL(%rip): ff 15, ff 25. */
static int got_branch(const struct place *p, struct sut_linked *ret)
{
	const uint8_t *b = p->bin + p->off;
	uint64_t at = p->pc + p->off;

	if (p->obj[p->off - 1] == 0x15) {
		if (b[-2] == 0x67 && b[-1] == 0xe8) /* addr32 call foo */
			return found(ret, SUT_RELOC_PLT, at + 4 + field(b, 4, true), p->off - 2, p->off + 4);
		if (b[-2] == 0xe8 && b[3] == 0x90) /* call foo; nop */
			return found(ret, SUT_RELOC_PLT, at + 3 + field(b - 1, 4, true), p->off - 2, p->off + 4);
	} else if (b[-2] == 0xe9 && b[3] == 0x90) { /* jmp foo; nop */
		return found(ret, SUT_RELOC_PLT, at + 3 + field(b - 1, 4, true), p->off - 2, p->off + 4);
	}
	return -EILSEQ;
}

/** The instruction before the field was changed: the four relaxations of a GOT load. */
static int got_load(const struct place *p, struct sut_linked *ret)
{
	const uint8_t *o = p->obj + p->off, *b = p->bin + p->off;
	unsigned reg = o[-1] >> 3 & 7;
	size_t start = p->off - 2;

	if (p->off < 2 || (o[-1] & 0xc7) != 0x05) /* ModRM of disp32(%rip) */
		return -EILSEQ;
	if (o[-2] == 0xff)
		return got_branch(p, ret);
	if (o[-2] == 0x8b && b[-2] == 0x8d && b[-1] == o[-1]) /* lea foo(%rip),%r */
		return found(ret, SUT_RELOC_PCREL, plain(p, 4, true, true), start, p->off + 4);
	if (b[-1] != (0xc0 | reg) && b[-1] != (0xc0 | reg | (o[-2] & 0x38)))
		return -EILSEQ;
	if (p->off >= 3)
		start--; /* a REX prefix: its R has become B */
	if (o[-2] == 0x8b && b[-2] == 0xc7 && b[-1] == (0xc0 | reg)) /* mov $foo,%r */
		return found(ret, SUT_RELOC_ABS, imm(p), start, p->off + 4);
	if (o[-2] == 0x85 && b[-2] == 0xf7 && b[-1] == (0xc0 | reg)) /* test $foo,%r */
		return found(ret, SUT_RELOC_ABS, imm(p), start, p->off + 4);
	if ((o[-2] & 0xc7) == 0x03 && b[-2] == 0x81) /* add, or, adc, sbb, and, sub, xor, cmp $foo,%r */
		return found(ret, SUT_RELOC_ABS, imm(p), start, p->off + 4);
	return -EILSEQ;
}

/** x@gottpoff(%rip): mov (8b) and add (03), or their relaxed forms. */
static int tls_ie(const struct place *p, struct sut_linked *ret)
{
	const uint8_t *o = p->obj + p->off, *b = p->bin + p->off;
	unsigned reg;

	if (p->off < 3)
		return -EILSEQ;
	if (same(o - 3, b - 3, 3))
		return found(ret, SUT_RELOC_TLS_IE, plain(p, 4, true, true), p->off, p->off + 4);
	reg = o[-1] >> 3 & 7;
	if (o[-2] == 0x8b && b[-2] == 0xc7 && b[-1] == (0xc0 | reg)) /* mov $x@tpoff,%r */
		return found(ret, SUT_RELOC_TLS_LE, imm(p), p->off - 3, p->off + 4);
	if (o[-2] == 0x03 && b[-2] == 0x81 && b[-1] == (0xc0 | reg)) /* add $x@tpoff,%rsp or %r12 */
		return found(ret, SUT_RELOC_TLS_LE, imm(p), p->off - 3, p->off + 4);
	if (o[-2] == 0x03 && b[-2] == 0x8d && b[-1] == (0x80 | reg | reg << 3)) /* lea x@tpoff(%r),%r */
		return found(ret, SUT_RELOC_TLS_LE, imm(p), p->off - 3, p->off + 4);
	return -EILSEQ;
}

/** General dynamic: 16 bytes from 4 before the field. */
static int tls_gd(const struct place *p, struct sut_linked *ret)
{
	static const uint8_t fs0[] = { 0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0 }; /* mov %fs:0,%rax */
	static const uint8_t lea[] = { 0x48, 0x8d, 0x80 }; /* lea imm32(%rax),%rax */
	static const uint8_t add[] = { 0x48, 0x03, 0x05 }; /* add disp32(%rip),%rax */
	size_t start = p->off - 4;
	const uint8_t *b = p->bin + start;
	uint64_t v;

	if (p->off < 4 || p->off + 12 > p->len)
		return -EILSEQ;
	if (same(p->obj + start, b, 4))
		return found(ret, SUT_RELOC_TLS_GD, plain(p, 4, true, true), p->off, p->off + 4);
	if (!same(b, fs0, sizeof(fs0)))
		return -EILSEQ;
	v = field(b + 12, 4, true);
	if (same(b + 9, lea, 3))
		(void)found(ret, SUT_RELOC_TLS_LE, v, start, start + 16);
	else if (same(b + 9, add, 3))
		(void)found(ret, SUT_RELOC_TLS_IE, p->pc + start + 16 + v, start, start + 16);
	else
		return -EILSEQ;
	ret->skip = 1; /* the call of __tls_get_addr */
	return 0;
}

/** Local dynamic: 12 bytes (13 with an indirect call) from 3 before the field. */
static int tls_ld(const struct place *p, struct sut_linked *ret)
{
	static const uint8_t fs0[] = { 0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0 }; /* mov %fs:0,%rax */
	size_t start = p->off - 3, n;
	const uint8_t *b = p->bin + start;

	if (p->off < 3 || p->off + 9 > p->len)
		return -EILSEQ;
	if (same(p->obj + start, b, 3))
		return found(ret, SUT_RELOC_TLS_LD, plain(p, 4, true, true), p->off, p->off + 4);
	for (n = 0; n < 4 && b[n] == 0x66; n++)
		; /* data16 prefixes */
	if (n < 3 || p->off + n + 6 > p->len || !same(b + n, fs0, sizeof(fs0)))
		return -EILSEQ;
	(void)found(ret, SUT_RELOC_TLS_LE, 0, start, start + n + sizeof(fs0));
	ret->skip = 1;
	return 0;
}

/** lea x@tlsdesc(%rip),%rax. */
static int tls_desc(const struct place *p, struct sut_linked *ret)
{
	const uint8_t *o = p->obj + p->off, *b = p->bin + p->off;

	if (p->off < 3)
		return -EILSEQ;
	if (same(o - 3, b - 3, 3))
		return found(ret, SUT_RELOC_TLS_DESC, plain(p, 4, true, true), p->off, p->off + 4);
	if (b[-2] == 0xc7 && (b[-1] & 0xf8) == 0xc0) /* mov $x@tpoff,%rax */
		return found(ret, SUT_RELOC_TLS_LE, imm(p), p->off - 3, p->off + 4);
	if (b[-2] == 0x8b && b[-1] == o[-1]) /* mov x@gottpoff(%rip),%rax */
		return found(ret, SUT_RELOC_TLS_IE, plain(p, 4, true, true), p->off - 3, p->off + 4);
	return -EILSEQ;
}

int sut_x86_64_linked_field(const struct sut_reloc_howto *howto, const uint8_t *obj, const uint8_t *bin, size_t len,
			    size_t off, int64_t addend, uint64_t pc, struct sut_linked *ret)
{
	struct place p = { obj, bin, len, off, addend, pc };
	uint64_t v;

	if (off > len || howto->size > len - off)
		return -EILSEQ;
	switch (howto->kind) {
	case SUT_RELOC_NONE:
		return found(ret, SUT_RELOC_NONE, 0, off, off);
	case SUT_RELOC_ABS:
	case SUT_RELOC_PCREL:
	case SUT_RELOC_PLT:
	case SUT_RELOC_GOT:
	case SUT_RELOC_TLS_LE:
	case SUT_RELOC_TLS_DTPOFF:
		v = plain(&p, howto->size, howto->is_signed, howto->pcrel);
		return found(ret, howto->kind, v, off, off + howto->size);
	case SUT_RELOC_GOT_LOAD:
		if (off >= 2 && same(obj + off - 2, bin + off - 2, 2))
			return found(ret, SUT_RELOC_GOT, plain(&p, 4, true, true), off, off + 4);
		return got_load(&p, ret);
	case SUT_RELOC_TLS_IE:
		return tls_ie(&p, ret);
	case SUT_RELOC_TLS_GD:
		return tls_gd(&p, ret);
	case SUT_RELOC_TLS_LD:
		return tls_ld(&p, ret);
	case SUT_RELOC_TLS_DESC:
		return tls_desc(&p, ret);
	case SUT_RELOC_TLS_DESC_CALL: /* call *(%rax), or xchg %ax,%ax */
		if (off + 2 > len || !(same(obj + off, bin + off, 2) || (bin[off] == 0x66 && bin[off + 1] == 0x90)))
			return -EILSEQ;
		return found(ret, SUT_RELOC_NONE, 0, off, off + 2);
	default:
		return -EOPNOTSUPP;
	}
}

/** Condition of a branch in short (7x) or near (0f 8x) form, 16 for a jump (eb, e9); -1: neither. */
static int condition(const uint8_t *p, size_t len)
{
	if (len == 2 && (p[0] & 0xf0) == 0x70)
		return p[0] & 0x0f;
	if (len == 6 && p[0] == 0x0f && (p[1] & 0xf0) == 0x80)
		return p[1] & 0x0f;
	if ((len == 2 && p[0] == 0xeb) || (len == 5 && p[0] == 0xe9))
		return 16;
	return -1;
}

bool sut_x86_64_same_branch(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	int c = condition(a, a_len);

	return c >= 0 && c == condition(b, b_len);
}
