/* SPDX-License-Identifier: MIT */
/*
 * Description: ppc64le relocation fields, the restore of the TOC pointer and relaxed TLS sequences are, byte for
 * byte, what GNU ld writes for the same object at the same addresses; taking them back gives the object's
 * bytes again; and what ld wrote, rewritten instructions included, is read back to the same values.
 *
 * Each case compiles one unit, links it with another and relocates its sections once more, by the architecture's functions,
 * with the addresses that the linker chose. GOT slots and stubs are the linker's: a slot must hold what its
 * kind says, a stub must lead to the function (test_ppc64_exec runs stubs of ours). The last test prints how often each type
 * was compared; one that never was is a failure.
 */
#include <stdarg.h>
#include <fcntl.h>
#include <gelf.h>
#include <limits.h>
#include <setjmp.h>
#include <stdio.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "arch/ppc64le/ppc64le.h"
#include "util/util.h"

#define CROSS "powerpc64le-linux-gnu-"

static const struct sut_arch *const arch = &sut_arch_ppc64le;
static char dir[] = "/tmp/suture-ppc64-ld-XXXXXX";

/* What the units need from outside. The thread-local block is large, so that high parts are not 0. */
static const char other_c[] =
	"int ext_func(int x) { return x + 1; }\n"
	"int ext_func2(int x) { return x + 2; }\n"
	"int ext_data = 11, ext_array[16];\n"
	"long ext_long = 3; char ext_big[100000]; double ext_double = 1.5;\n"
	"__thread int pad_tls[40000] = { 1 }, ext_tls = 12, ext_tls2; __thread long ext_tls_long = 4;\n"
	"#ifdef TLS_GET_ADDR\n"
	"void *__tls_get_addr(void *p) { return p; }\n"
	"#endif\n";

static const char unit_c[] =
	"extern int ext_func(int), ext_func2(int);\n"
	"extern int ext_data, ext_array[16]; extern long ext_long; extern double ext_double;\n"
	"extern char ext_big[];\n"
	"extern __thread int ext_tls, ext_tls2; extern __thread long ext_tls_long;\n"
	"__thread int own_tls = 3;\n"
	"static __thread int local_tls = 4, local_tls2;\n"
	"static int local_data = 5, local_bss[64]; static long local_long = 7;\n"
	"static struct { int x; long y __attribute__((packed, aligned(4))); } odd = { 1, 2 };\n"
	"const char *names[] = { \"one\", \"two\", 0 };\n"
	"extern int weak_func(int) __attribute__((weak));\n"
	"int (*table[])(int) = { ext_func, ext_func2, 0 };\n"
	"static int __attribute__((noinline)) helper(int x)\n"
	"{ local_data += x; local_long ^= x; odd.y += x; return local_bss[x & 63] + ext_array[x & 15] + (int)odd.y; }\n"
	"static int __attribute__((noinline)) leaf(int x) { __asm__(\"\"); return x * 7; }\n"
	"int f_calls(int x) { return ext_func(x) + ext_func2(x + 1) + helper(x) + leaf(x); }\n"
	"int f_tail(int x) { return ext_func(x); }\n"
	"int f_tail2(int x) { return helper(x); }\n"
	"int f_data(int x) { ext_data += x; ext_array[3] = x; ext_long += x; return ext_data + local_data + "
	"ext_big[x]; }\n"
	"double f_double(double d) { return d * ext_double + 3.25; }\n"
	"int *f_addr(void) { return &ext_data; }\n"
	"int *f_addr2(void) { return &ext_array[5]; }\n"
	"void *f_ptr(void) { return (void *)ext_func; }\n"
	"void *f_ptr2(void) { return (void *)helper; }\n"
	"int f_weak(int x) { return weak_func ? 1 : 0; }\n"
	"int f_test(void) { return ext_data != 0; }\n"
	"int f_tls(int x) { ext_tls += x; ext_tls_long -= x; return ext_tls2 + own_tls; }\n"
	"int f_tls_local(int x) { local_tls += x; local_tls2 ^= local_tls; return local_tls2; }\n"
	"int *f_tls_addr(void) { return &ext_tls; }\n"
	"int *f_tls_addr_local(void) { return &local_tls; }\n"
	"void f_copy(int *p) { for (int i = 0; i < 16; i++) ext_array[i] = p[i]; }\n"
	"void f_fill(void) { for (int i = 0; i < 64; i++) local_bss[i] = i * 3; }\n"
	"int f_switch(int x, int y)\n"
	"{ switch (x) { case 0: return ext_func(y); case 1: return y * 3; case 2: return ext_func2(y) + 7;\n"
	"case 3: return local_data; case 4: return ext_data - y; case 5: return helper(y);\n"
	"case 6: return y ^ 0x55; case 7: return y / 3; case 8: return y % 11; default: return -1; } }\n"
	"const char *f_string(int x) { return x ? names[x] : \"a string\"; }\n";

/* What compilers emit seldom or only on request. */
static const char unit_s[] =
	"	.abiversion 2\n"
	"	.machine power10\n"
	"	.text\n"
	"	.globl f_asm\n"
	"	.type f_asm,@function\n"
	"f_asm:	.localentry f_asm,1\n"
	"	.reloc ., R_PPC64_NONE, ext_data\n"
	"	lis 3,ext_data@highest\n	ori 3,3,ext_data@higher\n	oris 3,3,ext_data@high\n"
	"	ori 3,3,ext_data@l\n"
	"	lis 4,ext_data@highesta\n	addi 4,4,ext_data@highera\n	addis 4,4,ext_data@higha\n"
	"	lwz 4,ext_data@l(4)\n	ld 4,ext_data@l(4)\n	lxv 40,ext_array@l(4)\n	stxv 40,ext_array@l(4)\n"
	"	lis 5,small@h\n	addis 5,5,small@ha\n	li 6,small\n	ld 6,small(0)\n	lq 6,small16(0)\n"
	"	addis 5,2,ext_data@toc@h\n	li 5,small@l\n"
	"	addis 5,5,ext_data-.@ha\n	addi 5,5,ext_data-.@l\n	lis 5,ext_data-.@h\n"
	"	.reloc ., R_PPC64_REL16, near_by\n	li 5,0\n"
	"	.reloc ., R_PPC64_REL16_HIGH, ext_data\n	lis 5,0\n"
	"	.reloc ., R_PPC64_REL16_HIGHA, ext_data\n	lis 5,0\n"
	"	.reloc ., R_PPC64_REL16_HIGHER, ext_data\n	lis 5,0\n"
	"	.reloc ., R_PPC64_REL16_HIGHERA, ext_data\n	lis 5,0\n"
	"	.reloc ., R_PPC64_REL16_HIGHEST, ext_data\n	lis 5,0\n"
	"	.reloc ., R_PPC64_REL16_HIGHESTA, ext_data\n	lis 5,0\n"
	"	addpcis 7,ext_data-.-4@ha\n"
	"	addpcis 7,near_by-.-4@ha\n"
	"	ba small\n	bca 12,2,small\n"
	"	bc 12,2,near_by\n	bcl 12,2,near_by\n	bne 0,near_by\n"
	"	paddi 3,0,small\n"
	"	.reloc ., R_PPC64_D34_LO, ext_data\n	paddi 3,3,0\n"
	"	.reloc ., R_PPC64_D34_HI30, ext_data\n	paddi 3,0,0\n"
	"	.reloc ., R_PPC64_D34_HA30, ext_data\n	paddi 3,0,0\n"
	"	lis 3,own_tls2@tprel@highest\n	ori 3,3,own_tls2@tprel@higher\n	oris 3,3,own_tls2@tprel@high\n"
	"	lis 3,own_tls2@tprel@highesta\n	ori 3,3,own_tls2@tprel@highera\n	oris 3,3,own_tls2@tprel@higha\n"
	"	addis 3,3,own_tls2@tprel@h\n	li 4,early_tls@tprel\n	ld 4,early_tls@tprel(13)\n"
	"	lis 3,own_tls2@dtprel@highest\n	ori 3,3,own_tls2@dtprel@higher\n	oris 3,3,own_tls2@dtprel@high\n"
	"	lis 3,own_tls2@dtprel@highesta\n	ori 3,3,own_tls2@dtprel@highera\n	oris "
	"3,3,own_tls2@dtprel@higha\n"
	"	addis 3,3,own_tls2@dtprel@h\n	addis 3,3,own_tls2@dtprel@ha\n	addi 3,3,own_tls2@dtprel@l\n"
	"	ld 3,own_tls2@dtprel@l(3)\n	li 4,early_tls@dtprel\n	ld 4,early_tls@dtprel(3)\n"
	"	.reloc ., R_PPC64_TOCSAVE, ext_data\n	nop\n"
	"	addi 5,2,in_toc@toc\n	ld 5,in_toc@toc(2)\n"
	"	addi 5,2,ext_data@got\n	ld 5,ext_data@got(2)\n	addis 5,2,ext_data@got@h\n"
	"	addis 5,2,ext_data@got@ha\n	ld 5,ext_data@got@l(5)\n	addi 5,5,ext_data@got@l\n"
	"	addis 5,2,ext_func@plt@h\n	addi 5,5,ext_func@plt@l\n"
	"	pld 12,ext_func@plt@pcrel\n"
	"	.reloc ., R_PPC64_PLTSEQ_NOTOC, ext_func\n	mtctr 12\n"
	"	addi 3,2,own_tls2@got@tlsgd\n	addis 3,2,own_tls2@got@tlsgd@h\n"
	"	addi 3,2,own_tls2@got@tlsld\n	addis 3,2,own_tls2@got@tlsld@h\n"
	"	ld 3,own_tls2@got@tprel(2)\n	addis 3,2,own_tls2@got@tprel@h\n"
	"	lis 3,own_tls2@tprel@ha\n	ld 3,own_tls2@tprel@l(3)\n"
	"	b near_by\n"
	"	.globl near_by\n	.type near_by,@function\n"
	"near_by: blr\n"
	"	.data\n	.balign 8\n"
	"	.globl d_asm\n"
	"d_asm:	.quad ext_func + 1, near_by, .TOC., .TOC.@tocbase\n"
	"	.quad own_tls2@tprel, own_tls2@dtprel\n"
	"	.reloc ., R_PPC64_ADDR64_LOCAL, ext_func\n	.quad 0\n"
	"	.quad near_by - .\n	.long near_by - .\n"
	"	.long small\n	.short small\n"
	"	.reloc ., R_PPC64_UADDR64, ext_data\n	.quad 0\n"
	"	.reloc ., R_PPC64_UADDR32, small\n	.long 0\n"
	"	.reloc ., R_PPC64_UADDR16, small\n	.short 0\n"
	"	.section .tdata,\"awT\",@progbits\n	.balign 8\n"
	"	.globl own_tls2\nown_tls2: .quad 5\n"
	"	.section .toc,\"aw\",@progbits\n	.balign 8\nin_toc: .quad ext_data\n"
	"	.section .note.GNU-stack,\"\",@progbits\n";
static const char other_s[] = "	.globl small, small16\n"
			      "	small = 0x5678\n"
			      "	small16 = 0x5670\n"
			      "	.section .tdata,\"awT\",@progbits\n	.balign 8\n"
			      "	.globl early_tls\nearly_tls: .quad 6\n"
			      "	.section .note.GNU-stack,\"\",@progbits\n";

static int run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int run(const char *fmt, ...)
{
	char cmd[4096];
	va_list ap;
	int st;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	st = system(cmd);
	return WIFEXITED(st) ? WEXITSTATUS(st) : -1;
}

static void put_file(const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* -- files ------------------------------------------------------------------------------------- */

struct file {
	int fd;
	Elf *elf;
	Elf_Data *sym;
	size_t n_sym, strndx;
};

static void file_open(struct file *f, const char *name)
{
	char path[PATH_MAX];

	memset(f, 0, sizeof(*f));
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f->fd = open(path, O_RDONLY);
	assert_true(f->fd >= 0);
	f->elf = elf_begin(f->fd, ELF_C_READ, NULL);
	assert_non_null(f->elf);
	for (Elf_Scn *s = NULL; (s = elf_nextscn(f->elf, s));) {
		GElf_Shdr sh;

		gelf_getshdr(s, &sh);
		if (sh.sh_type != SHT_SYMTAB)
			continue;
		f->sym = elf_getdata(s, NULL);
		f->n_sym = sh.sh_size / sh.sh_entsize;
		f->strndx = sh.sh_link;
	}
	assert_non_null(f->sym);
}

static void file_close(struct file *f)
{
	elf_end(f->elf);
	close(f->fd);
}

static const char *section_name(struct file *f, GElf_Shdr *sh)
{
	size_t shstr;

	elf_getshdrstrndx(f->elf, &shstr);
	return elf_strptr(f->elf, shstr, sh->sh_name);
}

static bool by_name(struct file *f, const char *name, bool global, GElf_Sym *ret)
{
	for (size_t i = 0; i < f->n_sym; i++) {
		gelf_getsym(f->sym, (int)i, ret);
		if ((!global || GELF_ST_BIND(ret->st_info) != STB_LOCAL) &&
		    !strcmp(elf_strptr(f->elf, f->strndx, ret->st_name), name))
			return true;
	}
	return false;
}

/* Where the linker put an input section of the unit: read from the map file. 0: nowhere. */
static uint64_t placed(const char *map, const char *section)
{
	char want[80];
	const char *p = map;

	snprintf(want, sizeof(want), "\n %s", section);
	while ((p = strstr(p, want))) {
		unsigned long addr, size;
		char file[PATH_MAX];

		p += strlen(want);
		if (*p != ' ' && *p != '\n')
			continue;
		if (sscanf(p, " 0x%lx 0x%lx %s", &addr, &size, file) == 3 && strstr(file, "/unit.o"))
			return addr;
	}
	return 0;
}

/* The bytes of the linked file at an address. */
static const uint8_t *linked_at(struct file *f, uint64_t addr, size_t len)
{
	for (Elf_Scn *s = NULL; (s = elf_nextscn(f->elf, s));) {
		GElf_Shdr sh;

		gelf_getshdr(s, &sh);
		if ((sh.sh_flags & SHF_ALLOC) && sh.sh_type != SHT_NOBITS && !(sh.sh_flags & SHF_TLS) &&
		    addr >= sh.sh_addr && addr + len <= sh.sh_addr + sh.sh_size)
			return (const uint8_t *)elf_getdata(s, NULL)->d_buf + (addr - sh.sh_addr);
	}
	return NULL;
}

struct link {
	struct file obj, exe;
	const char *what;
	char *map;
	uint64_t toc;
	uint64_t tls_start; /* start of the thread-local segment */
	bool tls_opt; /* the linker was allowed to rewrite thread-local sequences ... */
	bool relaxed; /* ... and everything else: only linked_field() is compared */
};

static uint64_t section_addr(struct link *l, unsigned shndx)
{
	GElf_Shdr sh;

	gelf_getshdr(elf_getscn(l->obj.elf, shndx), &sh);
	return placed(l->map, section_name(&l->obj, &sh));
}

struct symbol {
	const char *name;
	uint64_t value; /* TLS: offset in the block */
	uint8_t other;
	bool is_tls, here; /* in the linked file */
};

static void symbol_of(struct link *l, unsigned n, struct symbol *ret)
{
	GElf_Sym s, out;

	memset(ret, 0, sizeof(*ret));
	gelf_getsym(l->obj.sym, (int)n, &s);
	ret->name = elf_strptr(l->obj.elf, l->obj.strndx, s.st_name);
	ret->is_tls = GELF_ST_TYPE(s.st_info) == STT_TLS;
	ret->other = s.st_other;
	if (!strcmp(ret->name, ".TOC.")) {
		ret->value = l->toc;
		ret->here = true;
		return;
	}
	if (s.st_shndx != SHN_UNDEF && s.st_shndx < SHN_LORESERVE && GELF_ST_BIND(s.st_info) == STB_LOCAL) {
		GElf_Shdr sh;

		gelf_getshdr(elf_getscn(l->obj.elf, s.st_shndx), &sh);
		ret->value = section_addr(l, s.st_shndx) + s.st_value;
		ret->here = true;
		ret->is_tls = sh.sh_flags & SHF_TLS;
	} else if (by_name(&l->exe, ret->name, ret->name[0] != '_', &out) && out.st_shndx != SHN_UNDEF) {
		ret->value = out.st_value + (GELF_ST_TYPE(out.st_info) == STT_TLS ? l->tls_start : 0);
		ret->here = true;
		ret->other = out.st_other;
		ret->is_tls = GELF_ST_TYPE(out.st_info) == STT_TLS;
	}
	if (ret->is_tls && ret->here)
		ret->value -= l->tls_start;
}

/* -- one place --------------------------------------------------------------------------------- */

static unsigned seen[256], read_back[256]; /* how often a type was compared */

/* Whether a GOT slot holds what it is for; slots that a dynamic linker fills are known by their relocation. */
static bool slot_holds(struct link *l, uint64_t slot, const struct sut_reloc_howto *h, const struct symbol *s,
		       int64_t a)
{
	const uint8_t *p = linked_at(&l->exe, slot, h->kind == SUT_RELOC_TLS_GD ? 16 : 8);

	for (Elf_Scn *scn = NULL; (scn = elf_nextscn(l->exe.elf, scn));) {
		GElf_Shdr sh, symsh;

		gelf_getshdr(scn, &sh);
		if (sh.sh_type != SHT_RELA || !(sh.sh_flags & SHF_ALLOC) || !sh.sh_link)
			continue;
		gelf_getshdr(elf_getscn(l->exe.elf, sh.sh_link), &symsh);
		for (size_t i = 0; i < sh.sh_size / sh.sh_entsize; i++) {
			GElf_Rela r;
			GElf_Sym sym;

			gelf_getrela(elf_getdata(scn, NULL), (int)i, &r);
			gelf_getsym(elf_getdata(elf_getscn(l->exe.elf, sh.sh_link), NULL), (int)GELF_R_SYM(r.r_info),
				    &sym);
			if (r.r_offset != slot)
				continue;
			if (GELF_R_SYM(r.r_info))
				return !strcmp(elf_strptr(l->exe.elf, symsh.sh_link, sym.st_name), s->name);
			/* of this file: RELATIVE; DTPMOD64 and TPREL64 without a symbol */
			return sut_ppc_is_tls(h->kind) || (uint64_t)r.r_addend == s->value + (uint64_t)a;
		}
	}
	if (!p)
		return false;
	switch (h->kind) {
	case SUT_RELOC_TLS_IE:
		return sut_le64(p) == s->value + (uint64_t)a - 0x7000;
	case SUT_RELOC_TLS_GD:
		return sut_le64(p) == 1 && sut_le64(p + 8) == s->value + (uint64_t)a - 0x8000;
	case SUT_RELOC_TLS_LD:
		return sut_le64(p) == 1;
	default:
		return sut_le64(p) == s->value + (uint64_t)a;
	}
}

/* Finds the slot with which the field comes out as the linker wrote it. */
static bool find_slot(struct link *l, const struct sut_reloc_howto *h, struct sut_reloc_values *v,
		      const struct symbol *s, uint8_t *bytes, const uint8_t *linked)
{
	struct sut_reloc_values slot = *v;

	slot.A = 0;
	for (Elf_Scn *scn = NULL; (scn = elf_nextscn(l->exe.elf, scn));) {
		GElf_Shdr sh;

		gelf_getshdr(scn, &sh);
		if (strcmp(section_name(&l->exe, &sh), ".got") && strcmp(section_name(&l->exe, &sh), ".plt") &&
		    strcmp(section_name(&l->exe, &sh), ".branch_lt"))
			continue;
		for (uint64_t at = sh.sh_addr; at < sh.sh_addr + sh.sh_size; at += 8) {
			uint8_t tried[8];

			memcpy(tried, bytes, h->size);
			slot.S = at;
			if (!slot_holds(l, at, h, s, v->A) || arch->relocate_field(h, &slot, tried) ||
			    memcmp(tried, linked, h->size))
				continue;
			*v = slot;
			return true;
		}
	}
	return false;
}

static bool is_slot(const struct sut_reloc_howto *h)
{
	return h->kind == SUT_RELOC_GOT || h->kind == SUT_RELOC_GOT_LOAD || h->kind == SUT_RELOC_GOT_OFF ||
	       sut_ppc_is_tls(h->kind);
}

/* The way of a call, and whether the linker went the same one. */
static void call_values(struct link *l, const struct sut_reloc_howto *h, const struct symbol *s, const uint8_t *bytes,
			const uint8_t *linked, size_t avail, struct sut_reloc_values *v)
{
	enum sut_call_way way;
	struct sut_stub stub;
	const char *why = NULL;
	const uint8_t *code;
	uint64_t target =
		v->P + (uint64_t)sut_ppc_sext(sut_ppc_word(linked) & h->mask, h->type == R_PPC64_REL14 ? 16 : 26);

	if (arch->call_way(h, bytes, avail, s->other, s->here, s->name, &way, &why))
		fail_msg("%s: %s to %s: %s", l->what, h->name, s->name, why ? why : "not a call");
	if (way == SUT_CALL_DIRECT || way == SUT_CALL_NEAR) {
		v->other = s->other;
		return;
	}
	/* Where the linker goes must be a stub; of a linked function the stub's target is known. */
	code = linked_at(&l->exe, target, 24);
	if (!code || !arch->stub_decode(code, 24, target, &stub))
		fail_msg("%s: %s to %s: 0x%lx is not a stub", l->what, h->name, s->name, target);
	if (!stub.slot)
		assert_int_equal(stub.target, s->value);
	else
		assert_true(slot_holds(l, stub.target + (stub.from_got ? l->toc : 0), arch->reloc_howto(R_PPC64_GOT16),
				       s, 0));
	assert_int_equal(stub.saves_toc, way == SUT_CALL_STUB);
	v->S = target;
	v->A = 0;
	v->restore_toc = way == SUT_CALL_STUB;
}

static bool holds_addend(const struct sut_reloc_howto *h, int64_t addend, const uint8_t *place)
{
	const struct sut_reloc_howto *d34 = arch->reloc_howto(R_PPC64_D34);
	struct sut_reloc_values v = { .A = addend };
	uint8_t bytes[8];

	if (h->size != 8 || h->mask != d34->mask)
		return false;
	memcpy(bytes, place, 8);
	return !arch->relocate_field(d34, &v, bytes) && !memcmp(bytes, place, 8);
}

/* Relocates one place of @bytes at @addr. Returns how many of the relocations that follow it has used up. */
static unsigned relocate_one(struct link *l, uint8_t *bytes, size_t size, uint64_t addr, const GElf_Rela *r,
			     const GElf_Rela *next)
{
	const struct sut_reloc_howto *h = arch->reloc_howto((uint32_t)GELF_R_TYPE(r->r_info)), *hn;
	struct sut_reloc_values v = { .P = addr + r->r_offset, .A = r->r_addend, .GOT = l->toc };
	const uint8_t *linked = linked_at(&l->exe, addr, size) + r->r_offset;
	uint8_t *place = bytes + r->r_offset, before[12];
	struct sut_reloc_extra extra;
	struct symbol s;
	int64_t tpoff;
	unsigned skip = 0;
	int err;

	if (!h)
		fail_msg("%s: unknown type %lu", l->what, GELF_R_TYPE(r->r_info));
	assert_int_equal(h->type, GELF_R_TYPE(r->r_info));
	h = arch->reloc_howto_at(h, place, size - r->r_offset);
	seen[h->type]++;
	symbol_of(l, (unsigned)GELF_R_SYM(r->r_info), &s);
	v.S = s.value;
	tpoff = (int64_t)(s.value + (uint64_t)r->r_addend) - 0x7000;
	switch (h->kind) {
	case SUT_RELOC_NONE:
		/* ld takes a shorter way to the TOC pointer if it can, whatever it is told: we leave the entry alone. */
		if (h->type == R_PPC64_ENTRY)
			memcpy(place, linked, 8);
		if (h->type == R_PPC64_TLS && l->tls_opt) /* ends initial exec; its place may be one byte in */
			memcpy(bytes + (r->r_offset & ~3ul), linked - (r->r_offset & 3), 4);
		return 0;
	case SUT_RELOC_PLT:
		call_values(l, h, &s, place, linked, size - r->r_offset, &v);
		break;
	case SUT_RELOC_TLS_LE:
		v.S -= 0x7000;
		break;
	case SUT_RELOC_TLS_DTPOFF:
		v.S -= 0x8000;
		break;
	case SUT_RELOC_TLS_LD_CALL:
	case SUT_RELOC_TLS_GD_CALL:
		hn = arch->reloc_howto((uint32_t)GELF_R_TYPE(next->r_info));
		/* Kept, as in a library: nothing to do; else rewritten. */
		if (l->tls_opt && !arch->tls_relax_call(h, hn, bytes, size, r->r_offset,
							h->kind == SUT_RELOC_TLS_LD_CALL ? 0x1000 : tpoff, &skip))
			seen[hn->type]++;
		return skip;
	case SUT_RELOC_TLS_GD:
	case SUT_RELOC_TLS_LD:
		if (l->tls_opt) {
			assert_int_equal(arch->tls_relax(h, bytes, size, r->r_offset,
							 h->kind == SUT_RELOC_TLS_LD ? 0x1000 : tpoff, &skip),
					 0);
			return skip;
		}
		break;
	case SUT_RELOC_TLS_IE: /* ld makes local exec of it; we fill slots */
		if (!l->tls_opt)
			break;
		memcpy(place, linked, h->size == 8 ? 8 : 4);
		return 0;
	default:
		if (h->type == R_PPC64_ADDR64_LOCAL)
			v.other = s.other;
		break;
	}
	if (is_slot(h) && !find_slot(l, h, &v, &s, place, linked))
		fail_msg("%s: %s at +0x%lx: no GOT slot for %s gives 0x%08x", l->what, h->name, r->r_offset, s.name,
			 sut_ppc_word(linked));
	memcpy(before, place, h->size);
	/* gas leaves the addend in prefixed instructions, and zeros everywhere else. */
	if (!sut_reloc_field_idle(h, place) && !holds_addend(h, r->r_addend, place))
		fail_msg("%s: %s at +0x%lx against %s: 0x%08x is not idle", l->what, h->name, r->r_offset, s.name,
			 sut_ppc_word(place));
	err = arch->relocate_field(h, &v, place);
	if (err)
		fail_msg("%s: %s at +0x%lx against %s: %d", l->what, h->name, r->r_offset, s.name, err);
	assert_true(sut_reloc_rest_equal(h, place, before));
	if (arch->relocate_extra(h, &v, &extra)) {
		assert_true(extra.off + extra.size <= size - r->r_offset);
		assert_int_equal(sut_le32(place + extra.off), extra.idle);
		sut_put_le32(place + extra.off, (uint32_t)extra.set);
	}
	return 0;
}

static bool in_toc(struct link *l, unsigned n)
{
	GElf_Shdr sh;
	GElf_Sym s;

	gelf_getsym(l->obj.sym, (int)n, &s);
	if (s.st_shndx == SHN_UNDEF || s.st_shndx >= SHN_LORESERVE)
		return false;
	gelf_getshdr(elf_getscn(l->obj.elf, s.st_shndx), &sh);
	return !strcmp(section_name(&l->obj, &sh), ".toc");
}

/* What the unit's TOC word at @off holds, by its relocation: the linker may have dropped the word. */
static uint64_t toc_word(struct link *l, uint64_t off)
{
	for (Elf_Scn *scn = NULL; (scn = elf_nextscn(l->obj.elf, scn));) {
		GElf_Shdr sh;

		gelf_getshdr(scn, &sh);
		if (strcmp(section_name(&l->obj, &sh), ".rela.toc"))
			continue;
		for (size_t i = 0; i < sh.sh_size / sh.sh_entsize; i++) {
			struct symbol s;
			GElf_Rela r;

			gelf_getrela(elf_getdata(scn, NULL), (int)i, &r);
			symbol_of(l, (unsigned)GELF_R_SYM(r.r_info), &s);
			if (r.r_offset == off)
				return s.value + (uint64_t)r.r_addend;
		}
	}
	return 0;
}

/* What linked_field() must say of a place. Returns how many of the relocations that follow it has told of, too. */
static unsigned check_linked(struct link *l, const uint8_t *obj, size_t size, uint64_t addr, const GElf_Rela *r,
			     unsigned char *covered)
{
	const struct sut_reloc_howto *h = arch->reloc_howto((uint32_t)GELF_R_TYPE(r->r_info));
	const uint8_t *bin = linked_at(&l->exe, addr, size);
	struct sut_linked k;
	struct symbol s;
	uint64_t want, base;
	int err = arch->linked_field(h, obj, bin, size, r->r_offset, r->r_addend, addr, &k);

	if (err)
		fail_msg("%s: %s at +0x%lx: linked_field: %d (0x%08x is 0x%08x)", l->what, h->name, r->r_offset, err,
			 sut_ppc_word(obj + (r->r_offset & ~3ul)), sut_ppc_word(bin + (r->r_offset & ~3ul)));
	assert_true(k.start <= k.end && k.end <= size);
	memset(covered + k.start, 1, k.end - k.start);
	read_back[h->type]++;
	symbol_of(l, (unsigned)GELF_R_SYM(r->r_info), &s);
	want = s.value;
	base = k.from_got ? l->toc : 0;
	switch (k.kind) {
	case SUT_RELOC_NONE:
		return k.skip;
	case SUT_RELOC_PLT: /* the local entry, or a stub */
		if (s.here && k.value == want)
			return k.skip;
		if (s.here) {
			size_t local;

			assert_int_equal(sut_ppc_local_entry(s.other, &local), 0);
			if (k.value == want + local)
				return k.skip;
		}
		assert_non_null(linked_at(&l->exe, k.value, 8));
		return k.skip;
	case SUT_RELOC_TLS_LE:
		want = h->kind == SUT_RELOC_TLS_LD || h->kind == SUT_RELOC_TLS_LD_CALL ? 0x1000 - (uint64_t)r->r_addend
										       : want - 0x7000;
		break;
	case SUT_RELOC_TLS_DTPOFF:
		want -= 0x8000;
		break;
	case SUT_RELOC_TOC_ENTRY: /* the addend is that of the entry in its section */
		want = toc_word(l, (uint64_t)r->r_addend) - (uint64_t)r->r_addend;
		break;
	case SUT_RELOC_GOT:
	case SUT_RELOC_GOT_LOAD:
	case SUT_RELOC_GOT_OFF:
	case SUT_RELOC_TLS_IE:
	case SUT_RELOC_TLS_GD:
	case SUT_RELOC_TLS_LD:
		if (!k.mask && !slot_holds(l, k.value + base + (uint64_t)r->r_addend, h, &s, r->r_addend))
			fail_msg("%s: %s at +0x%lx against %s: 0x%lx is not its slot", l->what, h->name, r->r_offset,
				 s.name, k.value + base + (uint64_t)r->r_addend);
		return k.skip;
	case SUT_RELOC_GOT_ADDR:
		assert_int_equal(k.value, l->toc);
		return k.skip;
	default:
		if (h->type == R_PPC64_ADDR64_LOCAL)
			return k.skip;
		break;
	}
	want -= base;
	/* TOC words that are left have moved. */
	if (in_toc(l, (unsigned)GELF_R_SYM(r->r_info)) && k.kind == SUT_RELOC_GOT_REL && l->relaxed)
		return k.skip;
	/* The high half of a TOC load that was made direct may be the variable's: it can not be told from the half alone. */
	if (h->type == R_PPC64_TOC16_HA && l->relaxed && ((want + (uint64_t)r->r_addend + k.round) & k.mask) != k.value)
		return k.skip;
	if (k.mask ? ((want + (uint64_t)r->r_addend + k.round) & k.mask) != k.value : want != k.value && h->size == 8)
		fail_msg("%s: %s at +0x%lx against %s: linked_field says 0x%lx of 0x%lx, should be 0x%lx", l->what,
			 h->name, r->r_offset, s.name, k.value, k.mask, want);
	return k.skip;
}

static void compare_section(struct link *l, Elf_Scn *rela)
{
	GElf_Shdr rsh, sh;
	uint8_t *bytes, *covered;
	const uint8_t *obj, *linked;
	uint64_t addr;

	gelf_getshdr(rela, &rsh);
	Elf_Scn *target = elf_getscn(l->obj.elf, rsh.sh_info);

	gelf_getshdr(target, &sh);
	if (!(sh.sh_flags & SHF_ALLOC) || !strncmp(section_name(&l->obj, &sh), ".eh_frame", 9))
		return;
	addr = section_addr(l, (unsigned)rsh.sh_info);
	linked = linked_at(&l->exe, addr, sh.sh_size);
	/* The linker drops TOC words that nothing loads any more, and the rest moves. */
	if (l->relaxed && !strcmp(section_name(&l->obj, &sh), ".toc"))
		return;
	assert_non_null(linked);
	obj = elf_getdata(target, NULL)->d_buf;
	bytes = memcpy(malloc(sh.sh_size), obj, sh.sh_size);
	covered = calloc(1, sh.sh_size);
	for (size_t i = 0; i < rsh.sh_size / rsh.sh_entsize; i++) {
		GElf_Rela r;

		gelf_getrela(elf_getdata(rela, NULL), (int)i, &r);
		i += check_linked(l, obj, sh.sh_size, addr, &r, covered);
	}
	for (size_t i = 0; !l->relaxed && i < rsh.sh_size / rsh.sh_entsize; i++) {
		GElf_Rela r, next = { 0 };

		gelf_getrela(elf_getdata(rela, NULL), (int)i, &r);
		gelf_getrela(elf_getdata(rela, NULL), (int)i + 1, &next);
		i += relocate_one(l, bytes, sh.sh_size, addr, &r, &next);
	}
	for (size_t i = 0; i < sh.sh_size; i++) {
		if (obj[i] != linked[i] && !covered[i])
			fail_msg("%s: %s+0x%zx: no linked_field covers what ld changed", l->what,
				 section_name(&l->obj, &sh), i);
		if (bytes[i] != linked[i] && !l->relaxed)
			fail_msg("%s: %s+0x%zx: 0x%08x, ld wrote 0x%08x", l->what, section_name(&l->obj, &sh), i & ~3ul,
				 sut_ppc_word(bytes + (i & ~3ul)), sut_ppc_word(linked + (i & ~3ul)));
	}
	free(bytes);
	free(covered);
}

static void compare(const char *what, bool tls, bool relaxed)
{
	struct link l = { .what = what, .tls_opt = tls, .relaxed = relaxed };
	char path[PATH_MAX];
	GElf_Phdr ph;
	GElf_Sym toc;
	size_t len;
	int fd;

	file_open(&l.obj, "unit.o");
	file_open(&l.exe, "exe");
	snprintf(path, sizeof(path), "%s/map", dir);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(sut_read_fd(fd, 1 << 24, &l.map, &len), 0);
	close(fd);
	for (size_t i = 0; gelf_getphdr(l.exe.elf, (int)i, &ph); i++)
		if (ph.p_type == PT_TLS)
			l.tls_start = ph.p_vaddr;
	if (by_name(&l.exe, ".TOC.", false, &toc))
		l.toc = toc.st_value;
	else
		for (Elf_Scn *s = NULL; (s = elf_nextscn(l.exe.elf, s));) {
			GElf_Shdr sh;

			gelf_getshdr(s, &sh);
			if (!strcmp(section_name(&l.exe, &sh), ".got"))
				l.toc = sh.sh_addr + 0x8000;
		}
	assert_true(l.toc != 0);
	for (Elf_Scn *s = NULL; (s = elf_nextscn(l.obj.elf, s));) {
		GElf_Shdr sh;

		gelf_getshdr(s, &sh);
		if (sh.sh_type == SHT_RELA)
			compare_section(&l, s);
	}
	free(l.map);
	file_close(&l.obj);
	file_close(&l.exe);
}

/* -- cases ------------------------------------------------------------------------------------- */

#define COMMON   "-fno-asynchronous-unwind-tables -fno-merge-constants -w"
#define LD       CROSS "ld -z noexecstack -e 0 --defsym=_start=0 -Map=map -o exe "
#define NO_OTHER "--no-toc-optimize --no-inline-optimize --no-pcrel-optimize "
/* Without any rewriting, at an address that no 32 bits hold. */
#define LD_PLAIN LD NO_OTHER "--no-tls-optimize -Ttext-segment=0x300000000 $PWD/unit.o "

struct shape {
	const char *name, *link;
	bool tls, relaxed;
};

static const struct shape shapes[] = {
	/* One TOC, calls are direct. */
	{ "static", LD_PLAIN "other.o tga.o mcount.o", false, false },
	/* All that is outside is in a library: two-word calls and PLT slots. */
	{ "dynamic", LD_PLAIN "other.so tga.so mcount.o", false, false },
	/* Thread-local sequences rewritten; the large block first, so that high parts are not 0. */
	{ "TLS", LD NO_OTHER "-Ttext-segment=0x300000000 other.o $PWD/unit.o tga.o mcount.o", true, false },
	/* All that ld does by itself: only read back. */
	{ "as usual", LD "$PWD/unit.o other.o tga.o mcount.o", true, true },
	{ "library", LD "-shared $PWD/unit.o other.so mcount.o", true, true },
};

static void one_case(const char *compiler, const char *flags, bool must_compile)
{
	if (run("cd %s && rm -f unit.o && %s %s " COMMON " -c unit.c -o unit.o 2>log", dir, compiler, flags)) {
		if (must_compile)
			fail_msg("%s %s does not compile", compiler, flags);
		return;
	}
	for (size_t i = 0; i < SUT_ARRAY_SIZE(shapes); i++) {
		char what[256];

		snprintf(what, sizeof(what), "%s %s, %s", compiler, flags, shapes[i].name);
		/* A program can not refer to a library's thread-local variables by local exec. */
		if (strstr(flags, "local-exec") && strstr(shapes[i].link, ".so"))
			continue;
		if (!strstr(flags, "-fPIC") && strstr(shapes[i].link, "-shared"))
			continue;
		if (run("cd %s && rm -f exe && %s 2>log", dir, shapes[i].link))
			fail_msg("%s does not link", what);
		compare(what, shapes[i].tls, shapes[i].relaxed);
	}
}

static const char *const gcc_flags[] = {
	"-O0",
	"-O1",
	"-O2",
	"-O3",
	"-Os",
	"-O0 -fPIC",
	"-O2 -fPIC",
	"-O3 -fPIC",
	"-O2 -fpie",
	"-O2 -fPIC -fno-plt",
	"-O2 -fno-pic -mlongcall",
	"-O2 -fno-pic -mcmodel=small",
	"-O2 -fPIC -mcmodel=small",
	"-O0 -fPIC -mcmodel=small",
	"-O2 -fno-pic -mcmodel=large",
	"-O2 -fPIC -mcmodel=large",
	"-O2 -fPIC -ffunction-sections -fdata-sections",
	"-O2 -fPIC -ftls-model=initial-exec",
	"-O2 -ftls-model=local-exec",
	"-O2 -fPIC -mcmodel=small -ftls-model=initial-exec",
	"-O3 -mcpu=power9",
	"-O3 -fPIC -mcpu=power9",
	"-O0 -mcpu=power10",
	"-O2 -mcpu=power10",
	"-O3 -mcpu=power10",
	"-O0 -fPIC -mcpu=power10",
	"-O2 -fPIC -mcpu=power10",
	"-O3 -fPIC -mcpu=power10",
	"-O2 -fPIC -mcpu=power10 -fno-plt",
	"-O2 -fPIC -mcpu=power10 -mno-pcrel",
	"-O2 -fPIC -mcpu=power10 -ftls-model=initial-exec",
	"-O2 -mcpu=power10 -ftls-model=local-exec",
	"-O2 -fPIC -pg -mprofile-kernel",
};

static const char *const clang_flags[] = {
	"-O0",
	"-O1",
	"-O2",
	"-O3",
	"-Os",
	"-O0 -fPIC",
	"-O2 -fPIC",
	"-O3 -fPIC",
	"-O2 -fPIC -fno-plt",
	"-O2 -mcmodel=small",
	"-O2 -fPIC -mcmodel=small",
	"-O2 -mcmodel=large",
	"-O2 -fPIC -mcmodel=large",
	"-O2 -fPIC -ftls-model=initial-exec",
	"-O2 -ftls-model=local-exec",
	"-O3 -mcpu=power9 -fPIC",
	"-O0 -mcpu=power10",
	"-O2 -mcpu=power10",
	"-O3 -fPIC -mcpu=power10",
	"-O2 -fPIC -mcpu=power10 -ftls-model=initial-exec",
};

static void test_gcc(void **state)
{
	for (size_t i = 0; i < SUT_ARRAY_SIZE(gcc_flags); i++)
		one_case(CROSS "gcc", gcc_flags[i], true);
}

static void test_clang(void **state)
{
	if (run("command -v clang >/dev/null")) {
		print_message("no clang here\n");
		skip();
	}
	for (size_t i = 0; i < SUT_ARRAY_SIZE(clang_flags); i++)
		one_case("clang --target=powerpc64le-linux-gnu", clang_flags[i], false);
}

static void test_assembler(void **state)
{
	if (run("cd %s && printf %%s '%s' > unit.s && printf %%s '%s' > others.s && " CROSS
		"as -mpower10 unit.s -o unit.o && " CROSS "as others.s -o others.o",
		dir, unit_s, other_s))
		fail_msg("does not assemble");
	if (run("cd %s && " LD_PLAIN " others.o other.o 2>log", dir))
		fail_msg("does not link");
	compare("assembler", false, false);
}

/* Types in the order of the table, each with how often it was compared. */
static void test_all_types_were_compared(void **state)
{
	unsigned never = 0;

	print_message("%-28s %8s %10s\n", "type", "written", "read back");
	for (uint32_t t = 0; t < 256; t++) {
		const struct sut_reloc_howto *h = arch->reloc_howto(t);

		if (!h)
			continue;
		print_message("%-28s %8u %10u%s\n", h->name, seen[t], read_back[t], seen[t] ? "" : "  NEVER");
		never += !seen[t];
	}
	assert_int_equal(never, 0);
}

static int setup(void **state)
{
	elf_version(EV_CURRENT);
	if (!mkdtemp(dir))
		return -1;
	put_file("unit.c", unit_c);
	put_file("other.c", other_c);
	put_file("unit.s", unit_s);
	put_file("others.s", other_s);
	put_file("tga.c", "void *__tls_get_addr(void *p) { return p; }\n");
	put_file("mcount.c", "__attribute__((visibility(\"hidden\"))) void _mcount(void) {}\n");
	return run("cd %s && " CROSS "gcc -O2 -w -fno-toplevel-reorder -c other.c -o other.o && " CROSS
		   "gcc -O2 -w -c tga.c -o tga.o && " CROSS "gcc -O2 -w -fPIC -c mcount.c -o mcount.o && " CROSS
		   "gcc -O2 -w -fPIC -shared -nostdlib other.c -o other.so && " CROSS
		   "gcc -O2 -w -fPIC -shared -nostdlib tga.c -o tga.so",
		   dir);
}

static int teardown(void **state)
{
	return getenv("KEEP") ? 0 : run("rm -rf %s", dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gcc),
		cmocka_unit_test(test_clang),
		cmocka_unit_test(test_assembler),
		cmocka_unit_test(test_all_types_were_compared),
	};

	if (run("command -v " CROSS "gcc >/dev/null && command -v " CROSS "ld >/dev/null")) {
		puts("skipped: needs gcc-powerpc64le-linux-gnu");
		return 77;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
