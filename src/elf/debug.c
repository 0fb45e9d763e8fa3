/* SPDX-License-Identifier: MIT */
/*
 * debug.c - separate debug files: by build-id, by .gnu_debuglink, by the user's word, and
 * .gnu_debugdata, which is one inside the file itself; supplementary files of dwz.
 *
 * Nothing is believed because of its name. A file found by build-id or link must carry the same
 * build-id (or, where the object has none, the checksum of the link), and its code sections must
 * lie where the object's do; one named by the user fits by build-id or by content
 * (same.c). Paths are resolved inside the given root.
 */
#include <errno.h>
#include <limits.h>
#include <lzma.h>
#include <zlib.h>

#include "elf/debug.h"
#include "elf/priv.h"
#include "elf/root.h"

#define MINI_MAX      ((size_t)256 << 20) /* .gnu_debugdata unpacks to at most this */
#define MINI_MEMORY   ((uint64_t)256 << 20) /* and takes at most this much memory for it */
#define CODE_SECTIONS 1024 /* a program with more of them is none */
#define DEBUG_DIR     "/usr/lib/debug"

void sut_debug_free(struct sut_debug_file *d)
{
	sut_elf_close(d->elf);
	free(d->path);
	sut_same_report_free(&d->report);
	memset(d, 0, sizeof(*d));
}

static bool same_build_id(const struct sut_elf *a, const struct sut_elf *b)
{
	return a->build_id_len && a->build_id_len == b->build_id_len &&
	       !memcmp(a->build_id, b->build_id, a->build_id_len);
}

static const char *build_id_words(const struct sut_elf *e, char buf[2 * SUT_BUILD_ID_MAX + 1])
{
	return e->build_id_len ? sut_hex(e->build_id, e->build_id_len, buf) : "none";
}

/* Whether the code sections of both lie at the same places (in files that have section headers). */
static bool same_code_layout(const struct sut_elf *e, const struct sut_elf *d)
{
	size_t seen = 0;

	if (e->machine != d->machine || e->is64 != d->is64 || e->little != d->little)
		return false;
	for (size_t i = 1; i < e->sec.n; i++) {
		const struct sut_section *s = &e->sec.v[i], *t;

		if (!(s->flags & SHF_ALLOC) || !(s->flags & SHF_EXECINSTR))
			continue;
		t = ++seen <= CODE_SECTIONS ? sut_elf_section(d, s->name) : NULL;
		if (!t || t->addr != s->addr || t->size != s->size)
			return false;
	}
	return true;
}

/* ---- named by the user ---- */

int sut_debug_open(struct sut_elf *e, const char *path, struct sut_debug_file *ret)
{
	char x[2 * SUT_BUILD_ID_MAX + 1], y[2 * SUT_BUILD_ID_MAX + 1];
	struct sut_debug_file d = { .how = SUT_SYMS_DEBUG_ID };
	int err = sut_elf_open(e->ctx, path, &d.elf);

	if (err)
		return err;
	d.path = strdup(path);
	if (!d.path) {
		err = sut_nomem(e->ctx);
	} else if (same_build_id(e, d.elf)) {
		if (!same_code_layout(e, d.elf)) {
			err = sut_fail(e->ctx, SUTURE_EREFUSED,
				       "%s carries the build-id of %s, but its code sections lie elsewhere", path,
				       e->name);
		}
	} else {
		d.how = SUT_SYMS_DEBUG_CONTENT;
		err = sut_elf_same_content(e, d.elf, &d.report);
		if (!err && d.report.verdict == SUT_DIFFERENT) {
			sut_fail(e->ctx, SUTURE_EREFUSED,
				 "%s does not belong to %s: the build-ids differ (%s and %s), and so do the contents: "
				 "%s",
				 path, e->name, build_id_words(d.elf, y), build_id_words(e, x), d.report.why);
			err = sut_hint(
				e->ctx,
				"use the debug file of exactly this build, or rebuild the same source with the same "
				"compiler and keep symbols and bytes in one file (nostrip)");
		}
	}
	if (err) {
		sut_debug_free(&d);
		return err;
	}
	*ret = d;
	return 0;
}

/* ---- searched for ---- */

/* Whether a file that was found is the debug file of @e; @crc: the checksum of the link, NULL: found by build-id. */
static bool belongs(const struct sut_elf *e, const struct sut_elf *d, const uint32_t *crc, const char *want)
{
	const char *why = NULL;

	if (e->build_id_len || !crc) {
		if (!same_build_id(e, d))
			why = "its build-id is another one";
	} else if ((uint32_t)crc32_z(crc32_z(0, NULL, 0), d->image, d->image_size) != *crc) {
		why = "its checksum is not that of .gnu_debuglink";
	}
	if (!why && !same_code_layout(e, d))
		why = "its code sections lie elsewhere";
	if (!why && !sut_elf_section(d, want))
		why = "it does not have what is looked for";
	if (why)
		sut_debug(e->ctx, "%s: not the debug file of %s: %s", d->name, e->name, why);
	return !why;
}

static bool try_file(struct sut_elf *e, const char *root, const char *path, const uint32_t *crc, const char *want,
		     struct sut_debug_file *ret)
{
	struct sut_debug_file d = { .how = crc && !e->build_id_len ? SUT_SYMS_DEBUG_LINK : SUT_SYMS_DEBUG_ID };
	int fd = sut_open_in_root(root, path);

	if (fd < 0) {
		if (fd != -ENOENT && fd != -ENOTDIR)
			sut_debug(e->ctx, "%s%s: %s", root, path, strerror(-fd));
		return false;
	}
	if (asprintf(&d.path, "%s%s", root, path) < 0) {
		close(fd);
		return false;
	}
	if (sut_elf_open_fd(e->ctx, fd, d.path, &d.elf)) {
		sut_debug(e->ctx, "%s", suture_ctx_error(e->ctx)->message);
		sut_debug_free(&d);
		return false;
	}
	if (!belongs(e, d.elf, crc, want)) {
		sut_debug_free(&d);
		return false;
	}
	*ret = d;
	return true;
}

static bool by_build_id(struct sut_elf *e, const char *root, const char *want, struct sut_debug_file *ret)
{
	char hex[2 * SUT_BUILD_ID_MAX + 1], path[sizeof(hex) + 64];

	if (e->build_id_len < 2)
		return false;
	sut_hex(e->build_id, e->build_id_len, hex);
	snprintf(path, sizeof(path), DEBUG_DIR "/.build-id/%.2s/%s.debug", hex, hex + 2);
	return try_file(e, root, path, NULL, want, ret);
}

/* The directory of @e inside its root, with the slash at its end; false: not known. */
static bool directory_of(const struct sut_elf *e, const char *root, char ret[PATH_MAX])
{
	char real[PATH_MAX];
	const char *path = e->name, *slash;

	if (root[0] && !strncmp(path, root, strlen(root)) && path[strlen(root)] == '/')
		path += strlen(root);
	if (path[0] != '/' || !strncmp(path, "/proc/", 6)) {
		if (root[0] || !realpath(path, real))
			return false;
		path = real;
	}
	slash = strrchr(path, '/');
	if ((size_t)(slash - path) + 2 > PATH_MAX)
		return false;
	memcpy(ret, path, (size_t)(slash - path) + 1);
	ret[slash - path + 1] = '\0';
	return true;
}

static bool by_link(struct sut_elf *e, const char *root, const char *want, struct sut_debug_file *ret)
{
	const struct sut_section *s = sut_elf_section(e, ".gnu_debuglink");
	char dir[PATH_MAX], path[PATH_MAX + 64];
	const char *name;
	uint32_t crc;
	size_t off;

	if (!s || !s->data || !directory_of(e, root, dir))
		return false;
	name = sut_str_at((struct sut_bytes){ s->data, s->size }, 0);
	if (!name || !name[0] || strchr(name, '/'))
		return false;
	off = SUT_ALIGN_UP(strlen(name) + 1, (size_t)4);
	if (!sut_fits(off, 4, s->size))
		return false;
	crc = sut_le32(s->data + off);
	for (unsigned i = 0; i < 3; i++) {
		const char *const prefix[] = { "", "", DEBUG_DIR };
		const char *const sub[] = { "", ".debug/", "" };

		if ((size_t)snprintf(path, sizeof(path), "%s%s%s%s", prefix[i], dir, sub[i], name) < sizeof(path) &&
		    try_file(e, root, path, &crc, want, ret))
			return true;
	}
	return false;
}

bool sut_debug_search(struct sut_elf *e, const char *root, const char *want, struct sut_debug_file *ret)
{
	return by_build_id(e, root, want, ret) || by_link(e, root, want, ret);
}

/* ---- .gnu_debugdata ---- */

static bool unpack(const struct sut_section *s, struct sut_buf *out, const char **ret_why)
{
	lzma_stream st = LZMA_STREAM_INIT;
	uint8_t chunk[65536];
	lzma_ret r = lzma_stream_decoder(&st, MINI_MEMORY, 0);
	bool ok = r == LZMA_OK;

	st.next_in = s->data;
	st.avail_in = s->size;
	while (ok && r != LZMA_STREAM_END) {
		st.next_out = chunk;
		st.avail_out = sizeof(chunk);
		r = lzma_code(&st, LZMA_FINISH);
		ok = (r == LZMA_OK || r == LZMA_STREAM_END) && out->len + sizeof(chunk) - st.avail_out <= MINI_MAX &&
		     !sut_buf_add(out, chunk, sizeof(chunk) - st.avail_out);
	}
	*ret_why = r == LZMA_OK || r == LZMA_STREAM_END ? "it is too large"
		   : r == LZMA_MEMLIMIT_ERROR           ? "it wants too much memory"
							: "it is not valid xz data";
	lzma_end(&st);
	return ok;
}

bool sut_debug_mini(struct sut_elf *e, struct sut_debug_file *ret)
{
	const struct sut_section *s = sut_elf_section(e, ".gnu_debugdata");
	struct sut_debug_file d = { .how = SUT_SYMS_MINI };
	struct sut_buf out = { 0 };
	const char *why;

	if (!s || !s->data)
		return false;
	if (!unpack(s, &out, &why)) {
		sut_debug(e->ctx, "%s: .gnu_debugdata can not be unpacked: %s", e->name, why);
		sut_buf_free(&out);
		return false;
	}
	if (asprintf(&d.path, "%s (.gnu_debugdata)", e->name) < 0) {
		sut_buf_free(&out);
		return false;
	}
	if (sut_elf_open_memory(e->ctx, out.p, out.len, d.path, &d.elf)) {
		sut_debug(e->ctx, "%s", suture_ctx_error(e->ctx)->message);
		sut_debug_free(&d);
		return false;
	}
	if (!same_code_layout(e, d.elf)) {
		sut_debug(e->ctx, "%s: its code sections lie elsewhere", d.path);
		sut_debug_free(&d);
		return false;
	}
	*ret = d;
	return true;
}

/* ---- supplementary files ---- */

struct altlink {
	const char *name;
	const uint8_t *id;
	size_t id_len;
};

static bool is_alt(const struct sut_elf *d, const struct altlink *l)
{
	return d->build_id_len == l->id_len && !memcmp(d->build_id, l->id, l->id_len);
}

static bool try_alt(struct sut_elf *e, const char *root, const char *path, const struct altlink *l,
		    struct sut_elf **ret)
{
	struct sut_elf *d;
	int fd = sut_open_in_root(root, path);

	if (fd < 0)
		return false;
	if (sut_elf_open_fd(e->ctx, fd, path, &d)) {
		sut_debug(e->ctx, "%s", suture_ctx_error(e->ctx)->message);
		return false;
	}
	if (!is_alt(d, l)) {
		sut_debug(e->ctx, "%s: not the supplementary file of %s: its build-id is another one", path, e->name);
		sut_elf_close(d);
		return false;
	}
	*ret = d;
	return true;
}

int sut_debug_supplement(struct sut_elf *e, const char *root, struct sut_elf **ret)
{
	const struct sut_section *s = sut_elf_section(e, ".gnu_debugaltlink");
	char hex[2 * SUT_BUILD_ID_MAX + 1], dir[PATH_MAX] = "", path[2 * PATH_MAX];
	struct altlink l;

	if (!s || !s->data)
		return sut_fail(e->ctx, SUTURE_ENOTFOUND, "%s has no supplementary debug file", e->name);
	l.name = sut_str_at((struct sut_bytes){ s->data, s->size }, 0);
	l.id_len = l.name ? s->size - strlen(l.name) - 1 : 0;
	if (!l.name || l.id_len < 2 || l.id_len > SUT_BUILD_ID_MAX)
		return sut_elf_damaged(e, ".gnu_debugaltlink");
	l.id = s->data + strlen(l.name) + 1;
	sut_hex(l.id, l.id_len, hex);
	snprintf(path, sizeof(path), DEBUG_DIR "/.build-id/%.2s/%s.debug", hex, hex + 2);
	if (try_alt(e, root, path, &l, ret))
		return 0;
	if (l.name[0] == '/' || directory_of(e, root, dir)) {
		if ((size_t)snprintf(path, sizeof(path), "%s%s", dir, l.name) < sizeof(path) &&
		    try_alt(e, root, path, &l, ret))
			return 0;
	}
	sut_fail(e->ctx, SUTURE_EREFUSED, "%s needs the supplementary debug file %s (build-id %s), which is not there",
		 e->name, l.name, hex);
	return sut_hint(e->ctx, "install it (packages name it with the debug symbols), or use debug files that were "
				"not made smaller by dwz");
}
