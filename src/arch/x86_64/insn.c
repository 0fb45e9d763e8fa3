/* SPDX-License-Identifier: MIT */
/*
 * insn.c - one instruction: what kind it is, how long, and what it says about its own address.
 *
 * The only file that sees the decoder library (Zydis: caller's storage, no allocation).
 * Invariant: an instruction whose meaning depends on its address has pcrel set; if the dependence is
 * anything but one plain little-endian field, pcrel_size stays 0 and nobody can move it.
 */
#include <errno.h>

#include <Zydis/Zydis.h>

#include "arch/x86_64/x86_64.h"

static enum sut_insn_kind kind_of(const ZydisDecodedInstruction *z)
{
	switch (z->mnemonic) {
	case ZYDIS_MNEMONIC_ENDBR32:
	case ZYDIS_MNEMONIC_ENDBR64:
		return SUT_INSN_NOP;
	case ZYDIS_MNEMONIC_INT:
		return z->raw.imm[0].value.u == 0x80 ? SUT_INSN_SYSCALL : SUT_INSN_TRAP;
	case ZYDIS_MNEMONIC_INT1:
	case ZYDIS_MNEMONIC_INT3:
	case ZYDIS_MNEMONIC_UD0:
	case ZYDIS_MNEMONIC_UD1:
	case ZYDIS_MNEMONIC_UD2:
	case ZYDIS_MNEMONIC_HLT:
		return SUT_INSN_TRAP;
	case ZYDIS_MNEMONIC_SYSCALL:
	case ZYDIS_MNEMONIC_SYSENTER:
		return SUT_INSN_SYSCALL;
	default:
		break;
	}
	switch (z->meta.category) {
	case ZYDIS_CATEGORY_NOP:
	case ZYDIS_CATEGORY_WIDENOP:
		return SUT_INSN_NOP;
	case ZYDIS_CATEGORY_CALL:
		return z->raw.imm[0].is_relative ? SUT_INSN_CALL : SUT_INSN_INDIRECT;
	case ZYDIS_CATEGORY_UNCOND_BR:
		return z->raw.imm[0].is_relative ? SUT_INSN_JUMP : SUT_INSN_INDIRECT;
	case ZYDIS_CATEGORY_COND_BR:
		return SUT_INSN_BRANCH;
	case ZYDIS_CATEGORY_RET:
	case ZYDIS_CATEGORY_SYSRET:
		return SUT_INSN_RETURN;
	default:
		return SUT_INSN_OTHER;
	}
}

static bool ends(const ZydisDecodedInstruction *z, enum sut_insn_kind kind)
{
	return kind == SUT_INSN_JUMP || kind == SUT_INSN_RETURN || z->meta.category == ZYDIS_CATEGORY_UNCOND_BR ||
	       z->mnemonic == ZYDIS_MNEMONIC_UD0 || z->mnemonic == ZYDIS_MNEMONIC_UD1 ||
	       z->mnemonic == ZYDIS_MNEMONIC_UD2;
}

/* Whether the bytes hold an operand-size prefix that REX.W does not overrule. Processors differ in what it does
 * to a relative branch (16-bit displacement, or nothing). */
static bool short_operand(const ZydisDecodedInstruction *z)
{
	for (unsigned i = 0; i < z->raw.prefix_count; i++) {
		if (z->raw.prefixes[i].value == 0x66)
			return !z->raw.rex.W;
	}
	return false;
}

static void note_pcrel(const ZydisDecodedInstruction *z, uint64_t pc, struct sut_insn *insn)
{
	uint64_t next = pc + z->length;

	for (unsigned i = 0; i < 2; i++) {
		if (!z->raw.imm[i].is_relative)
			continue;
		insn->pcrel = true;
		if (short_operand(z))
			return;
		insn->pcrel_off = z->raw.imm[i].offset;
		insn->pcrel_size = z->raw.imm[i].size / 8;
		insn->target = next + (uint64_t)z->raw.imm[i].value.s;
		return;
	}
	/* mod 0, rm 5: displacement from the next instruction. */
	if (!(z->attributes & ZYDIS_ATTRIB_HAS_MODRM) || z->raw.modrm.mod != 0 || z->raw.modrm.rm != 5)
		return;
	insn->pcrel = true;
	if (z->address_width != 64)
		return; /* %eip-relative: wraps at 4 GiB */
	insn->pcrel_off = z->raw.disp.offset;
	insn->pcrel_size = z->raw.disp.size / 8;
	insn->target = next + (uint64_t)z->raw.disp.value;
}

int sut_x86_insn_decode(const uint8_t *code, size_t len, uint64_t pc, struct sut_insn *ret)
{
	ZydisDecodedInstruction z;
	ZydisDecoder decoder;

	if (!ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) ||
	    !ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, code, len, &z)))
		return -EILSEQ;
	*ret = (struct sut_insn){
		.kind = kind_of(&z),
		.len = z.length,
		.landing_pad = z.mnemonic == ZYDIS_MNEMONIC_ENDBR64,
	};
	ret->ends = ends(&z, ret->kind);
	note_pcrel(&z, pc, ret);
	return 0;
}

size_t sut_x86_entry_skip(const uint8_t *code, size_t len)
{
	static const uint8_t endbr64[4] = { 0xf3, 0x0f, 0x1e, 0xfa };

	for (size_t i = 0; i < sizeof(endbr64); i++) {
		if (i >= len || code[i] != endbr64[i])
			return 0;
	}
	return sizeof(endbr64);
}
