/* SPDX-License-Identifier: MIT */
/*
 * image.c - every area begins with an ELF file of itself, as the vDSO is one.
 *
 * File offset = address - base, link-time addresses = addresses in the target. So gdb reads it from memory
 * (add-symbol-file-from-memory ADDR), the unwinder of the tool opens it as any ELF file, and a later
 * invocation of the tool knows by the note that memory at this address is ours.
 *
 *	ELF header | program headers | note (name of the module) | read-only data |
 *	.eh_frame | .eh_frame_hdr | .symtab | .strtab | .shstrtab | section headers
 */
#include <elf.h>

#include "module/priv.h"

enum { PH_RO, PH_RX, PH_RW, PH_EH, PH_NOTE, N_PHDR };
enum { SH_NULL, SH_NOTE, SH_RODATA, SH_EH, SH_HDR, SH_TEXT, SH_DATA, SH_SYMTAB, SH_STRTAB, SH_SHSTRTAB, N_SHDR };

static const char shstrtab[] = "\0.note.suture\0.rodata\0.eh_frame\0.eh_frame_hdr\0.text\0.data\0"
			       ".symtab\0.strtab\0.shstrtab";

struct note {
	Elf64_Nhdr h;
	char name[8];
	char module[64];
	uint32_t parts; /* how many of the three parts are mapped: a tool may die between them */
	uint32_t bound; /* see sut_mod_bound() */
};

struct head {
	Elf64_Ehdr e;
	Elf64_Phdr p[N_PHDR];
	struct note note;
};

size_t sut_mod_header_size(void)
{
	return sizeof(struct head);
}

size_t sut_mod_image_shdrs_size(void)
{
	return N_SHDR * sizeof(Elf64_Shdr);
}

const char *sut_mod_image_shstrtab(size_t *ret_len)
{
	*ret_len = sizeof(shstrtab);
	return shstrtab;
}

/** Appends a symbol; @off counts from the area's base until sut_mod_image_write(). */
static int add(struct mod_area *a, const char *name, const char *suffix, uint64_t off, uint64_t size, uint8_t type,
	       uint16_t shndx)
{
	Elf64_Sym es = { .st_name = (uint32_t)a->strtab.len,
			 .st_info = ELF64_ST_INFO(STB_GLOBAL, type),
			 .st_shndx = shndx,
			 .st_value = off,
			 .st_size = size };

	a->n_sym++;
	if (sut_buf_add(&a->strtab, name, strnlen(name, 4096)) || sut_buf_add(&a->strtab, suffix, strlen(suffix) + 1) ||
	    sut_buf_add(&a->symtab, &es, sizeof(es)))
		return -1;
	return 0;
}

int sut_mod_image_symbols(struct sut_module *m, uint32_t area)
{
	struct sut_mod_priv *pr = m->priv;
	struct mod_area *a = &pr->area[area];
	Elf64_Sym null = { 0 };

	if (sut_buf_add(&a->strtab, "", 1) || sut_buf_add(&a->symtab, &null, sizeof(null)))
		return sut_nomem(pr->ctx);
	a->n_sym = 1;
	for (size_t i = 1; i < pr->sym.n; i++) {
		const struct mod_sym *s = &pr->sym.v[i];

		if (s->kind != MOD_SYM_DEFINED || !*s->name || pr->sec.v[s->sec].area != area ||
		    (s->type != STT_FUNC && s->type != STT_OBJECT))
			continue;
		if (a->strtab.len > MOD_MAX_BYTES / 4)
			return sut_fail(pr->ctx, SUTURE_EREFUSED, "%s: damaged: endless symbol names", m->elf->name);
		/* The symbol's number stands in for its address, which is not known yet. */
		if (add(a, s->name, "", i, s->size, s->type, SHN_UNDEF))
			return sut_nomem(pr->ctx);
	}
	for (size_t i = 0; i < pr->stub.n; i++)
		if (pr->stub.v[i].area == area && add(a, sut_mod_symname(m, pr->stub.v[i].sym), "@plt",
						      pr->stub.v[i].off, pr->arch->plt_stub_size, STT_FUNC, SH_TEXT))
			return sut_nomem(pr->ctx);
	return 0;
}

static void write_symbols(struct sut_module *m, uint32_t area)
{
	const struct mod_area *a = &m->priv->area[area];
	struct sut_mod_area *ma = &m->area.v[area];

	for (uint32_t i = 1; i < a->n_sym; i++) {
		Elf64_Sym es;

		memcpy(&es, a->symtab.p + i * sizeof(es), sizeof(es));
		if (es.st_shndx == SHN_UNDEF) {
			const struct mod_sym *s = &m->priv->sym.v[es.st_value];
			enum mod_part part = m->priv->sec.v[s->sec].part;

			es.st_shndx = part == MOD_RX ? SH_TEXT : part == MOD_RO ? SH_RODATA : SH_DATA;
			es.st_value = sut_mod_sym_addr(m, (uint32_t)es.st_value, area);
		} else {
			es.st_value += ma->base + a->plt_off;
		}
		memcpy(ma->image.p + a->sym_off + i * sizeof(es), &es, sizeof(es));
	}
	memcpy(ma->image.p + a->str_off, a->strtab.p, a->strtab.len);
	memcpy(ma->image.p + a->shstr_off, shstrtab, sizeof(shstrtab));
}

static Elf64_Phdr phdr(uint32_t type, uint32_t flags, uint64_t base, uint64_t off, uint64_t size, uint64_t align)
{
	return (Elf64_Phdr){ .p_type = size ? type : PT_NULL,
			     .p_flags = flags,
			     .p_offset = off,
			     .p_vaddr = base + off,
			     .p_paddr = base + off,
			     .p_filesz = size,
			     .p_memsz = size,
			     .p_align = align };
}

static uint32_t mix(uint32_t h, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		h = (h ^ (uint8_t)(v >> (8 * i))) * 16777619u;
	return h;
}

uint32_t sut_mod_bound(const struct sut_module *m)
{
	const struct sut_mod_priv *pr = m->priv;
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < m->area.n; i++)
		h = mix(h, m->area.v[i].object->bias);
	for (size_t i = 0; i < pr->sym.n; i++)
		if (pr->sym.v[i].resolved && (pr->sym.v[i].kind == MOD_SYM_UNDEF || pr->sym.v[i].kind == MOD_SYM_LATE))
			h = mix(mix(h, i), pr->sym.v[i].addr);
	return h;
}

static void write_head(struct sut_module *m, uint32_t area)
{
	const struct mod_area *a = &m->priv->area[area];
	struct sut_mod_area *ma = &m->area.v[area];
	size_t page = m->p->mem.page_size;
	struct head h = {
		.e = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		       .e_type = ET_EXEC,
		       .e_machine = m->priv->arch->e_machine,
		       .e_version = EV_CURRENT,
		       .e_phoff = offsetof(struct head, p),
		       .e_shoff = a->shdr_off,
		       .e_ehsize = sizeof(Elf64_Ehdr),
		       .e_phentsize = sizeof(Elf64_Phdr),
		       .e_phnum = N_PHDR,
		       .e_shentsize = sizeof(Elf64_Shdr),
		       .e_shnum = N_SHDR,
		       .e_shstrndx = SH_SHSTRTAB },
		.p = { [PH_RO] = phdr(PT_LOAD, PF_R, ma->base, 0, ma->ro_size, page),
		       [PH_RX] = phdr(PT_LOAD, PF_R | PF_X, ma->base, ma->ro_size, ma->rx_size, page),
		       [PH_RW] = phdr(PT_LOAD, PF_R | PF_W, ma->base, a->data_off, ma->rw_size, page),
		       [PH_EH] = phdr(PT_GNU_EH_FRAME, PF_R, ma->base, a->hdr_off, a->hdr_size, 4),
		       [PH_NOTE] = phdr(PT_NOTE, PF_R, ma->base, offsetof(struct head, note), sizeof(struct note), 4) },
		.note = { .h = { .n_namesz = sizeof(MOD_NOTE_NAME),
				 .n_descsz = sizeof(struct note) - offsetof(struct note, module),
				 .n_type = MOD_NOTE_TYPE },
			  .name = MOD_NOTE_NAME,
			  .parts = 3,
			  .bound = sut_mod_bound(m) },
	};

	memcpy(h.note.module, m->name, sizeof(h.note.module));
	memcpy(ma->image.p, &h, sizeof(h));
}

static void write_shdrs(struct sut_module *m, uint32_t area)
{
	const struct mod_area *a = &m->priv->area[area];
	struct sut_mod_area *ma = &m->area.v[area];
	struct {
		uint32_t type;
		uint64_t flags, off, size, entsize, align;
		uint32_t link, info;
	} s[N_SHDR] = {
		[SH_NOTE] = { SHT_NOTE, SHF_ALLOC, offsetof(struct head, note), sizeof(struct note), 0, 4, 0, 0 },
		[SH_RODATA] = { SHT_PROGBITS, SHF_ALLOC, a->data_ro_off, a->data_ro_size, 0, 64, 0, 0 },
		[SH_EH] = { SHT_PROGBITS, SHF_ALLOC, a->eh_off, a->eh_size, 0, 8, 0, 0 },
		[SH_HDR] = { SHT_PROGBITS, SHF_ALLOC, a->hdr_off, a->hdr_size, 0, 4, 0, 0 },
		[SH_TEXT] = { SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, ma->ro_size, a->text_size, 0, 16, 0, 0 },
		[SH_DATA] = { SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, a->data_off, ma->rw_size, 0, 16, 0, 0 },
		[SH_SYMTAB] = { SHT_SYMTAB, 0, a->sym_off, a->symtab.len, sizeof(Elf64_Sym), 8, SH_STRTAB, 1 },
		[SH_STRTAB] = { SHT_STRTAB, 0, a->str_off, a->strtab.len, 0, 1, 0, 0 },
		[SH_SHSTRTAB] = { SHT_STRTAB, 0, a->shstr_off, sizeof(shstrtab), 0, 1, 0, 0 },
	};
	uint32_t name = 0;

	for (size_t i = 0; i < N_SHDR; i++) {
		Elf64_Shdr h = { .sh_name = name,
				 .sh_type = s[i].type,
				 .sh_flags = s[i].flags,
				 .sh_addr = s[i].flags ? ma->base + s[i].off : 0,
				 .sh_offset = s[i].off,
				 .sh_size = s[i].size,
				 .sh_link = s[i].link,
				 .sh_info = s[i].info,
				 .sh_addralign = s[i].align,
				 .sh_entsize = s[i].entsize };

		memcpy(ma->image.p + a->shdr_off + i * sizeof(h), &h, sizeof(h));
		name += (uint32_t)strlen(shstrtab + name) + 1; /* names stand in the order of the sections */
	}
}

void sut_mod_image_write(struct sut_module *m, uint32_t area)
{
	write_head(m, area);
	write_symbols(m, area);
	write_shdrs(m, area);
}

size_t sut_mod_header_parts_off(void)
{
	return offsetof(struct head, note.parts);
}

void sut_mod_header_set_parts(void *head, uint32_t parts)
{
	sut_put_le32((uint8_t *)head + sut_mod_header_parts_off(), parts);
}

bool sut_mod_header_fits(const void *head, const struct sut_record_area *r, uint16_t e_machine,
			 struct mod_header_info *ret)
{
	struct head h;

	memcpy(&h, head, sizeof(h));
	if (memcmp(h.e.e_ident, ELFMAG, SELFMAG) || h.e.e_machine != e_machine || h.e.e_phnum != N_PHDR ||
	    h.p[PH_RO].p_vaddr != r->base || h.p[PH_RO].p_memsz != r->ro_size || h.p[PH_RX].p_memsz != r->rx_size ||
	    h.p[PH_RW].p_memsz != r->rw_size || h.note.h.n_type != MOD_NOTE_TYPE ||
	    memcmp(h.note.name, MOD_NOTE_NAME, sizeof(MOD_NOTE_NAME)) || h.note.parts < 1 || h.note.parts > 3)
		return false;
	ret->parts = h.note.parts;
	ret->bound = h.note.bound;
	ret->has_cfi = h.p[PH_EH].p_type == PT_GNU_EH_FRAME;
	return true;
}
