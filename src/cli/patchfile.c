/* SPDX-License-Identifier: MIT */
/*
 * patchfile.c - the tables of a patch file, read only to be shown or compared.
 *
 * suture_patch_open() has checked the file before; it is read again here, so every offset
 * and size is checked once more. Changes nothing.
 */
#include "cli/cli.h"
#include "elf/elf.h"
#include "process/process.h"

/* A section as an array of @elem bytes each; a missing one is empty. */
static int table(struct suture_ctx *ctx, const struct sut_elf *e, const char *name, size_t elem, const void **ret,
		 size_t *ret_n)
{
	const struct sut_section *s = sut_elf_section(e, name);

	if (s && (!s->data || s->size % elem || (uintptr_t)s->data % 8))
		return sut_fail(ctx, SUTURE_EREFUSED, "%s: section %s is damaged", e->name, name);
	*ret = s ? s->data : NULL;
	*ret_n = s ? s->size / elem : 0;
	return 0;
}

int sut_patchfile_open(struct suture_ctx *ctx, const char *path, struct sut_patchfile *ret)
{
	struct sut_patchfile f = { 0 };
	const void *p = NULL;
	int err = sut_elf_open(ctx, path, &f.elf);

	if (err)
		return err;
	err = table(ctx, f.elf, SUTURE_SEC_STRTAB, 1, &p, &f.strtab_size);
	f.strtab = p;
	if (!err)
		err = table(ctx, f.elf, SUTURE_SEC_OBJECTS, sizeof(*f.object), &p, &f.n_objects);
	f.object = p;
	if (!err)
		err = table(ctx, f.elf, SUTURE_SEC_FUNCS, sizeof(*f.func), &p, &f.n_funcs);
	f.func = p;
	if (!err)
		err = table(ctx, f.elf, SUTURE_SEC_RANGES, sizeof(*f.range), &p, &f.n_ranges);
	f.range = p;
	if (err) {
		sut_elf_close(f.elf);
		return err;
	}
	*ret = f;
	return 0;
}

void sut_patchfile_close(struct sut_patchfile *f)
{
	if (f->elf)
		sut_elf_close(f->elf);
	memset(f, 0, sizeof(*f));
}

const char *sut_patchfile_string(const struct sut_patchfile *f, uint32_t offset)
{
	if (offset >= f->strtab_size || !memchr(f->strtab + offset, 0, f->strtab_size - offset))
		return "";
	return f->strtab + offset;
}

const char *sut_patchfile_info(const struct sut_patchfile *f, const char *key)
{
	const struct sut_section *s = sut_elf_section(f->elf, SUTURE_SEC_INFO);
	const char *p = s ? (const char *)s->data : NULL, *end = p ? p + s->size : NULL;
	size_t len = strlen(key);

	while (p && p < end && memchr(p, 0, (size_t)(end - p))) {
		if (!strncmp(p, key, len) && p[len] == '=')
			return p + len + 1;
		p += strlen(p) + 1;
	}
	return NULL;
}

/* Whether an object of the process is the very file that the patch was built for. */
static bool object_is(struct suture_process *p, struct sut_object *o, const struct suture_file_object *want)
{
	uint8_t content[SUT_DIGEST_SIZE];
	struct sut_elf *e;

	if (o->is_vdso || sut_object_elf(p, o, &e))
		return false;
	if (want->build_id_len)
		return want->build_id_len <= sizeof(want->build_id) && e->build_id_len == want->build_id_len &&
		       !memcmp(e->build_id, want->build_id, want->build_id_len);
	return !sut_elf_content_digest(e, content) && !memcmp(content, want->content, sizeof(content));
}

/* A cheap look first: opening the files of every process of a machine takes long. */
static bool name_is(const struct sut_object *o, const char *name)
{
	const char *slash = strrchr(o->path, '/');

	if (!*name)
		return o->is_main;
	return !strcmp(o->name, name) || !strcmp(slash ? slash + 1 : o->path, name);
}

/* Whether the process maps all objects of the patch. */
static bool maps_objects(struct sut_cli *cli, struct suture_process *p, void *arg)
{
	const struct sut_patchfile *f = &((struct sut_patch_arg *)arg)->tables;

	if (!p->obj.n && sut_process_refresh(p))
		return false;
	for (size_t i = 0; i < f->n_objects; i++) {
		bool found = false;

		for (size_t j = 0; !found && j < p->obj.n; j++)
			found = name_is(&p->obj.v[j], sut_patchfile_string(f, f->object[i].name)) &&
				object_is(p, &p->obj.v[j], &f->object[i]);
		if (!found)
			return false;
	}
	return f->n_objects > 0;
}

int sut_with_patch(struct sut_cli *cli, sut_process_fn fn)
{
	static const struct sut_selection sel = {
		.match = maps_objects,
		.none = "no running process maps the objects that the patch is for",
	};
	const char *path = cli->args.operand.v[0];
	struct sut_patch_arg arg = { 0 };
	int err = suture_patch_open(cli->ctx, path, NULL, &arg.patch), status;

	if (!err && cli->args.all)
		err = sut_patchfile_open(cli->ctx, path, &arg.tables);
	if (!err && cli->doc)
		sut_json_set(cli->doc, "patch", sut_json_text(suture_patch_name(arg.patch)));
	status = err ? sut_cli_fail(cli, err, "", cli->doc) : sut_each_process(cli, &sel, fn, &arg);
	sut_patchfile_close(&arg.tables);
	suture_patch_close(arg.patch);
	return status;
}
