/* SPDX-License-Identifier: MIT */
/*
 * dwarf.c - opens debug information: linked files, relocatable objects, supplements of dwz.
 *
 * libdw would look for supplementary files by itself, by unchecked names; it never gets to, because
 * a file that wants one is given the one that debug.c has verified, or is refused. libdwfl is
 * used for one thing: to relocate the debug sections of an object in a copy.
 */
#include <elfutils/libdwfl.h>

#include "elf/debug.h"
#include "elf/dwarf.h"
#include "elf/priv.h"

struct dwarf {
	Dwarf *dw; /* owned, unless dwfl is set */
	Dwfl *dwfl; /* relocatable objects */
	char *copy; /* of the image, for dwfl to relocate */
	struct sut_elf *alt; /* supplement, with its own handle */
	struct sut_elf *separate; /* where the information was found, when not in the file itself */
};

/* Closes what was opened for the file's own information. */
static void dwarf_reset(struct dwarf *d)
{
	if (d->dwfl)
		dwfl_end(d->dwfl);
	else if (d->dw)
		dwarf_end(d->dw);
	free(d->copy);
	sut_elf_close(d->alt);
	d->dw = NULL;
	d->dwfl = NULL;
	d->copy = NULL;
	d->alt = NULL;
}

static void dwarf_free(void *p)
{
	struct dwarf *d = p;

	if (!d)
		return;
	dwarf_reset(d);
	sut_elf_close(d->separate);
	free(d);
}

/* The one struct dwarf of a file, made on demand. */
static struct dwarf *dwarf_of(struct sut_elf *e)
{
	struct sut_elf_priv *priv = e->priv;

	if (!priv->dwarf) {
		priv->dwarf = calloc(1, sizeof(struct dwarf));
		priv->dwarf_free = dwarf_free;
	}
	return priv->dwarf;
}

bool sut_elf_has_dwarf(const struct sut_elf *e)
{
	const struct sut_section *s = sut_elf_section(e, ".debug_info");

	if (!s)
		s = sut_elf_section(e, ".zdebug_info");
	return s && s->data && s->size;
}

/* libdwfl shall not look for anything beside the file it was given. */
static int find_nothing(Dwfl_Module *mod, void **userdata, const char *name, Dwarf_Addr base, const char *file,
			const char *link, GElf_Word crc, char **ret)
{
	return -1;
}

static int open_object(struct sut_elf *e, struct dwarf *d)
{
	static const Dwfl_Callbacks callbacks = { .find_debuginfo = find_nothing,
						  .section_address = dwfl_offline_section_address };
	Dwarf_Addr bias;
	Dwfl_Module *mod;

	d->copy = malloc(e->image_size);
	if (!d->copy)
		return sut_nomem(e->ctx);
	memcpy(d->copy, e->image, e->image_size);
	d->dwfl = dwfl_begin(&callbacks);
	if (!d->dwfl)
		return sut_nomem(e->ctx);
	dwfl_report_begin(d->dwfl);
	mod = dwfl_report_offline_memory(d->dwfl, "object", e->name, d->copy, e->image_size);
	dwfl_report_end(d->dwfl, NULL, NULL);
	d->dw = mod ? dwfl_module_getdwarf(mod, &bias) : NULL;
	if (!d->dw)
		return sut_elf_damaged(e, "debug information: %s", dwfl_errmsg(-1));
	return 0;
}

static int open_linked(struct sut_elf *e, const char *root, struct dwarf *d)
{
	bool wants_alt = sut_elf_section(e, ".gnu_debugaltlink");
	int err;

	if (wants_alt) {
		Dwarf *alt;

		err = sut_debug_supplement(e, root, &d->alt);
		if (err)
			return err;
		if (sut_elf_section(d->alt, ".gnu_debugaltlink"))
			return sut_elf_damaged(d->alt, "a supplementary debug file that has one itself");
		err = sut_elf_dwarf(d->alt, root, &alt);
		if (err)
			return err;
		d->dw = dwarf_begin_elf(e->elf, DWARF_C_READ, NULL);
		if (d->dw)
			dwarf_setalt(d->dw, alt);
	} else {
		d->dw = dwarf_begin_elf(e->elf, DWARF_C_READ, NULL);
	}
	return d->dw ? 0 : sut_elf_damaged(e, "debug information: %s", dwarf_errmsg(-1));
}

int sut_elf_dwarf(struct sut_elf *e, const char *root, Dwarf **ret)
{
	struct dwarf *d = dwarf_of(e);
	int err = 0;

	if (!d)
		return sut_nomem(e->ctx);
	if (!sut_elf_has_dwarf(e))
		return sut_fail(e->ctx, SUTURE_ENOTFOUND, "%s has no debug information", e->name);
	if (!d->dw) {
		err = sut_elf_section(e, ".rela.debug_info") ? open_object(e, d) : open_linked(e, root, d);
		if (err) {
			dwarf_reset(d);
			return err;
		}
	}
	*ret = d->dw;
	return 0;
}

int sut_dwarf_find(struct sut_elf *e, struct sut_elf *debug, const char *root, Dwarf **ret)
{
	struct dwarf *d = dwarf_of(e);
	struct sut_debug_file found = { 0 };

	if (!d)
		return sut_nomem(e->ctx);
	if (sut_elf_has_dwarf(e))
		return sut_elf_dwarf(e, root, ret);
	if (debug && sut_elf_has_dwarf(debug))
		return sut_elf_dwarf(debug, root, ret);
	if (!d->separate) {
		if (!sut_debug_search(e, root, ".debug_info", &found))
			return sut_fail(e->ctx, SUTURE_ENOTFOUND,
					"%s has no debug information, and no debug file has any for it", e->name);
		d->separate = found.elf;
		found.elf = NULL;
		sut_debug_free(&found);
	}
	return sut_elf_dwarf(d->separate, root, ret);
}
