/* SPDX-License-Identifier: MIT */
/*
 * tls.c - turns a general-dynamic, local-dynamic or descriptor TLS sequence into local exec.
 *
 * The psABI prescribes the byte sequences exactly, so that a linker may do this; each is one row of
 * the table: what must stand there (with the operands left open), what is written
 * instead, and where the offset from the thread pointer goes. Every byte is verified before one
 * is written. An instruction sequence that is not in the table is -EOPNOTSUPP.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "arch/x86_64/x86_64.h"

#define SEQUENCE_MAX 24
#define ANY          -1 /* an operand: filled by the relocation */
#define REG_ADD      -2 /* modrm of `add %reg,%rax` */
#define REX_ADD      -3 /* its prefix: 48 or 4c */

#define ANY4 ANY, ANY, ANY, ANY
#define ANY8 ANY4, ANY4
/* mov %fs:0x0,%rax */
#define MOV_FS_RAX 0x64, 0x48, 0x8b, 0x04, 0x25, 0x00, 0x00, 0x00, 0x00
/* lea tpoff(%rax),%rax */
#define LEA_TPOFF_RAX 0x48, 0x8d, 0x80, 0x00, 0x00, 0x00, 0x00
/* movabs $__tls_get_addr@PLTOFF,%rax; add %rbx,%rax (or %r15); call *%rax */
#define LARGE_CALL 0x48, 0xb8, ANY8, REX_ADD, 0x01, REG_ADD, 0xff, 0xd0

struct sequence {
	enum sut_reloc_kind kind;
	uint8_t before; /* bytes from its start to the relocated field */
	uint8_t len;
	uint8_t tpoff_at; /* where the offset is written, 0: nowhere */
	uint8_t skip; /* the next relocation is the call's */
	int16_t from[SEQUENCE_MAX];
	uint8_t to[SEQUENCE_MAX];
};

/* clang-format off */
static const struct sequence sequences[] = {
	/* data16 lea x@tlsgd(%rip),%rdi; data16 data16 rex.W call __tls_get_addr@PLT */
	{ SUT_RELOC_TLS_GD, 4, 16, 12, 1,
	  { 0x66, 0x48, 0x8d, 0x3d, ANY4, 0x66, 0x66, 0x48, 0xe8, ANY4 },
	  { MOV_FS_RAX, LEA_TPOFF_RAX } },
	/* the same with data16 rex.W call *__tls_get_addr@GOTPCREL(%rip): -fno-plt */
	{ SUT_RELOC_TLS_GD, 4, 16, 12, 1,
	  { 0x66, 0x48, 0x8d, 0x3d, ANY4, 0x66, 0x48, 0xff, 0x15, ANY4 },
	  { MOV_FS_RAX, LEA_TPOFF_RAX } },
	/* lea x@tlsgd(%rip),%rdi and a far call: -mcmodel=large */
	{ SUT_RELOC_TLS_GD, 3, 22, 12, 1,
	  { 0x48, 0x8d, 0x3d, ANY4, LARGE_CALL },
	  { MOV_FS_RAX, LEA_TPOFF_RAX, 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00 } },
	/* lea x@tlsld(%rip),%rdi; call __tls_get_addr@PLT */
	{ SUT_RELOC_TLS_LD, 3, 12, 0, 1,
	  { 0x48, 0x8d, 0x3d, ANY4, 0xe8, ANY4 },
	  { 0x66, 0x66, 0x66, MOV_FS_RAX } },
	/* lea x@tlsld(%rip),%rdi; call *__tls_get_addr@GOTPCREL(%rip) */
	{ SUT_RELOC_TLS_LD, 3, 13, 0, 1,
	  { 0x48, 0x8d, 0x3d, ANY4, 0xff, 0x15, ANY4 },
	  { 0x66, 0x66, 0x66, 0x66, MOV_FS_RAX } },
	/* lea x@tlsld(%rip),%rdi and a far call; becomes a no-op of 13 bytes and the load */
	{ SUT_RELOC_TLS_LD, 3, 22, 0, 1,
	  { 0x48, 0x8d, 0x3d, ANY4, LARGE_CALL },
	  { 0x66, 0x66, 0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00, MOV_FS_RAX } },
	/* call *x@tlscall(%rax); becomes xchg %ax,%ax */
	{ SUT_RELOC_TLS_DESC_CALL, 0, 2, 0, 0, { 0xff, 0x10 }, { 0x66, 0x90 } },
};
/* clang-format on */

static bool byte_fits(uint8_t byte, int16_t want)
{
	if (want == REX_ADD)
		return byte == 0x48 || byte == 0x4c;
	if (want == REG_ADD)
		return (byte & 0xc7) == 0xc0;
	return want == ANY || byte == want;
}

static bool sequence_fits(const struct sequence *s, const uint8_t *code, size_t len, size_t off)
{
	if (off < s->before || off > len || len - (off - s->before) < s->len)
		return false;
	for (unsigned i = 0; i < s->len; i++) {
		if (!byte_fits(code[off - s->before + i], s->from[i]))
			return false;
	}
	return true;
}

static int put_tpoff(uint8_t *out, int64_t tpoff)
{
	int32_t v = (int32_t)tpoff;

	if (v != tpoff)
		return -ERANGE;
	memcpy(out, &v, sizeof(v));
	return 0;
}

/* lea x@tlsdesc(%rip),%reg becomes mov $tpoff,%reg; both compilers use %rax, the psABI allows any. */
static int relax_desc(uint8_t *code, size_t len, size_t off, int64_t tpoff)
{
	uint8_t out[7] = { 0x48, 0xc7, 0xc0 }; /* mov $imm32,%rax */
	uint8_t rex, modrm;

	if (off < 3 || off > len || len - off < 4)
		return -EOPNOTSUPP;
	rex = code[off - 3];
	modrm = code[off - 1];
	if ((rex & 0xfb) != 0x48 || code[off - 2] != 0x8d || (modrm & 0xc7) != 0x05)
		return -EOPNOTSUPP;
	out[0] |= (rex >> 2) & 1; /* REX.R of lea's destination is REX.B of mov's */
	out[2] |= (modrm >> 3) & 7;
	if (put_tpoff(out + 3, tpoff))
		return -ERANGE;
	memcpy(code + off - 3, out, sizeof(out));
	return 0;
}

int sut_x86_tls_relax(const struct sut_reloc_howto *howto, uint8_t *code, size_t len, size_t off, int64_t tpoff,
		      unsigned *ret_skip)
{
	if (howto->kind == SUT_RELOC_TLS_DESC) {
		int err = relax_desc(code, len, off, tpoff);

		if (!err)
			*ret_skip = 0;
		return err;
	}
	for (size_t i = 0; i < sizeof(sequences) / sizeof(sequences[0]); i++) {
		const struct sequence *s = &sequences[i];
		uint8_t out[SEQUENCE_MAX];

		if (s->kind != howto->kind || !sequence_fits(s, code, len, off))
			continue;
		memcpy(out, s->to, s->len);
		if (s->tpoff_at && put_tpoff(out + s->tpoff_at, tpoff))
			return -ERANGE;
		memcpy(code + off - s->before, out, s->len);
		*ret_skip = s->skip;
		return 0;
	}
	return -EOPNOTSUPP;
}
