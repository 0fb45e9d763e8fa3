/* SPDX-License-Identifier: MIT */
/*
 * tls.c - turns a general-dynamic or local-dynamic TLS sequence into local exec.
 *
 * The instructions of a sequence may stand apart, with others between, so each relocation rewrites its own, and
 * all of them together are a sequence again:
 *
 *	addis r9,r2,x@got@tlsgd@ha	nop
 *	addi r3,r9,x@got@tlsgd@l	addis r3,r13,x@tprel@ha		nop, where that is 0
 *	bl __tls_get_addr(x@tlsgd)	addi r3,r3,x@tprel@l		addi r3,r13,x@tprel@l
 *	nop				nop
 *
 *	pla r3,x@got@tlsgd@pcrel	paddi r3,r13,x@tprel
 *	bl __tls_get_addr@notoc(x@tlsgd)	nop
 *
 * With -fno-plt the call is addis, ld, mtctr, bctrl and ld r2,24(r1), each marked; the bctrl takes the part of the
 * bl, and all others become no-ops. Local dynamic is the same with another name; its result is the base that the
 * offset stands for. An instruction that is none of these is -EOPNOTSUPP.
 */
#include <elf.h>
#include <errno.h>

#include "arch/ppc64le/ppc64le.h"

#define ADDIS_R3_R13 0x3c6d0000u /* addis r3,r13,0 */
#define ADDI_R3_R3   0x38630000u /* addi r3,r3,0 */
#define ADDI_R3_R13  0x386d0000u /* addi r3,r13,0 */
#define PADDI        0x06000000u /* paddi r3,r13,0: prefix ... */

#define RT_RA(w) ((w)&0xffff0000u)

static int ha_of(int64_t tpoff, uint32_t *ret)
{
	int64_t ha = (tpoff + 0x8000) >> 16;

	if (sut_ppc_sext((uint64_t)ha, 16) != ha)
		return -ERANGE;
	*ret = (uint32_t)ha & 0xffff;
	return 0;
}

/* addis rX,r2,x@ha or addi r3,rX,x@l (addi r3,r2,x in the small model). */
static int relax_toc(const struct sut_reloc_howto *howto, uint8_t *place, int64_t tpoff)
{
	bool high = howto->type == R_PPC64_GOT_TLSGD16_HA || howto->type == R_PPC64_GOT_TLSLD16_HA;
	uint32_t w = sut_ppc_word(place), ha;

	if (howto->type == R_PPC64_GOT_TLSGD16_HI || howto->type == R_PPC64_GOT_TLSLD16_HI)
		return -EOPNOTSUPP;
	if (high ? SUT_PPC_OP(w) != 15 || SUT_PPC_RA(w) != 2 : SUT_PPC_OP(w) != 14 || SUT_PPC_RT(w) != 3)
		return -EOPNOTSUPP;
	if (ha_of(tpoff, &ha))
		return -ERANGE;
	sut_ppc_put_word(place, high || !ha ? SUT_PPC_NOP : ADDIS_R3_R13 | ha); /* nop; addis r3,r13,x@tprel@ha */
	return 0;
}

/* pla r3,x@got@tlsgd@pcrel. */
static int relax_pcrel(uint8_t *place, int64_t tpoff)
{
	if (sut_ppc_sext((uint64_t)tpoff, 34) != tpoff)
		return -ERANGE;
	if ((sut_ppc_word(place) & 0xfffc0000) != (PADDI | SUT_PPC_PREFIX_R) ||
	    RT_RA(sut_ppc_word(place + 4)) != 0x38600000)
		return -EOPNOTSUPP;
	sut_ppc_put_word(place, PADDI | ((uint32_t)(tpoff >> 16) & 0x3ffff)); /* paddi r3,r13,x@tprel ... */
	sut_ppc_put_word(place + 4, ADDI_R3_R13 | ((uint32_t)tpoff & 0xffff)); /* ... its suffix */
	return 0;
}

int sut_ppc_tls_relax(const struct sut_reloc_howto *howto, uint8_t *code, size_t len, size_t off, int64_t tpoff,
		      unsigned *ret_skip)
{
	int err;

	if ((howto->kind != SUT_RELOC_TLS_GD && howto->kind != SUT_RELOC_TLS_LD) || off > len ||
	    len - off < (howto->size == 8 ? 8u : 4u))
		return -EOPNOTSUPP;
	err = howto->size == 8 ? relax_pcrel(code + off, tpoff) : relax_toc(howto, code + off, tpoff);
	if (!err)
		*ret_skip = 0;
	return err;
}

/* What stands in place of the call: the low part, added to what the instruction before it left in r3. */
static int low_part(int64_t tpoff, uint32_t *ret)
{
	uint32_t ha;

	if (ha_of(tpoff, &ha))
		return -ERANGE;
	*ret = (ha ? ADDI_R3_R3 : ADDI_R3_R13) | ((uint32_t)tpoff & 0xffff);
	return 0;
}

int sut_ppc_tls_relax_call(const struct sut_reloc_howto *howto, const struct sut_reloc_howto *next, uint8_t *code,
			   size_t len, size_t off, int64_t tpoff, unsigned *ret_skip)
{
	uint32_t w, low = SUT_PPC_NOP;

	if ((howto->kind != SUT_RELOC_TLS_GD_CALL && howto->kind != SUT_RELOC_TLS_LD_CALL) || !next || off > len ||
	    len - off < 4)
		return -EOPNOTSUPP;
	w = sut_ppc_word(code + off);
	switch (next->type) {
	case R_PPC64_REL24_NOTOC: /* bl: pla has it all */
	case R_PPC64_REL24: /* bl; nop */
		if ((w & 0xfc000003) != SUT_PPC_BL)
			return -EOPNOTSUPP;
		if (next->type == R_PPC64_REL24 && low_part(tpoff, &low))
			return -ERANGE;
		break;
	case R_PPC64_PLTCALL: /* bctrl; ld r2,24(r1) */
		if (w != 0x4e800421 || len - off < 8 || sut_ppc_word(code + off + 4) != SUT_PPC_LD_TOC)
			return -EOPNOTSUPP;
		if (low_part(tpoff, &low))
			return -ERANGE;
		sut_ppc_put_word(code + off + 4, SUT_PPC_NOP); /* nop */
		break;
	case R_PPC64_PLTCALL_NOTOC: /* bctrl */
		if (w != 0x4e800421)
			return -EOPNOTSUPP;
		break;
	case R_PPC64_PLT_PCREL34: /* pld r12,__tls_get_addr@plt@pcrel */
	case R_PPC64_PLT_PCREL34_NOTOC:
		if (len - off < 8 || SUT_PPC_OP(w) != 1)
			return -EOPNOTSUPP;
		sut_ppc_put_word(code + off + 4, SUT_PPC_NOP); /* nop */
		break;
	case R_PPC64_PLT16_HA: /* addis r12,r2,__tls_get_addr@plt@ha */
	case R_PPC64_PLT16_LO_DS: /* ld r12,__tls_get_addr@plt@l(r12) */
	case R_PPC64_PLTSEQ: /* mtctr r12 */
	case R_PPC64_PLTSEQ_NOTOC:
		break;
	default:
		return -EOPNOTSUPP;
	}
	sut_ppc_put_word(code + off, low); /* nop; addi r3,r3,x@tprel@l; addi r3,r13,x@tprel@l */
	*ret_skip = 1;
	return 0;
}
