/* SPDX-License-Identifier: MIT */
/*
 * registry.c - the registry in the target: found, checked, made, written, taken away.
 *
 * Layout of the mapping: header, records, pristine records, then (64-byte aligned) the room for one signal
 * frame. Everything read is untrusted: numbers are compared with what this version writes, and addresses
 * with the target's mappings; a registry that does not hold together is refused whole, because then nobody
 * knows what the process runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "agent/table.h"
#include "module/registry.h"

#define MFD_CLOEXEC_FLAG     1u
#define MFD_NOEXEC_SEAL_FLAG 8u /* 6.3; some systems demand it */
#define MAP_LINE             "/memfd:" SUT_REGISTRY_NAME " (deleted)"
#define HEAL_FRAME_SIZE      32768u /* the frame with the largest vector state takes 12 KiB */
#define MAGIC_PREFIX         7u /* without the version */
#define BORROW_MS            2000
#define AREA_MAX             (256ull << 20)

/** The mapping, as this version lays it out. */
struct layout {
	struct sut_registry_header h;
	uint8_t room[512 - sizeof(struct sut_registry_header)];
	struct sut_record rec[SUT_REGISTRY_RECORDS];
	struct sut_pristine_record pristine[SUT_REGISTRY_PRISTINES];
};

_Static_assert(sizeof(struct sut_record) == 512, "records must not straddle pages");
_Static_assert(offsetof(struct layout, rec) == 512, "records must not straddle pages");

static uint64_t frame_off(void)
{
	return SUT_ALIGN_UP(sizeof(struct layout), 64);
}

static uint64_t total_size(const struct suture_process *p)
{
	return SUT_ALIGN_UP(frame_off() + HEAL_FRAME_SIZE, p->mem.page_size);
}

static uint64_t record_addr(const struct sut_registry *r, const struct sut_record *rec)
{
	return r->addr + offsetof(struct layout, rec) + (uint64_t)(rec - r->rec) * sizeof(*rec);
}

/* ---- reading ---- */

static int damaged(struct sut_registry *r, const char *what)
{
	sut_fail(r->p->ctx, SUTURE_EREFUSED, "%s[%d]: its registry at 0x%llx is damaged: %s", r->p->comm,
		 (int)r->p->pid, (unsigned long long)r->addr, what);
	return sut_hint(r->p->ctx, "nothing can be changed in this process any more; it goes on running as it is");
}

static bool page_aligned(const struct sut_registry *r, uint64_t x)
{
	return x % r->p->mem.page_size == 0;
}

static bool mapped_with(const struct sut_maps *maps, uint64_t addr, uint64_t len, unsigned prot)
{
	uint64_t end = addr + len;

	if (end < addr)
		return false;
	while (addr < end) {
		const struct sut_map *m = sut_maps_at(maps, addr);

		if (!m || m->prot != prot || m->shared)
			return false;
		addr = m->end;
	}
	return true;
}

static bool valid_name(const char *s)
{
	size_t n = strnlen(s, sizeof(((struct sut_record *)0)->name));

	if (!n || n == sizeof(((struct sut_record *)0)->name))
		return false;
	return strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-") == n;
}

static const char *check_record(const struct sut_registry *r, const struct sut_record *rec)
{
	bool table_ok = !rec->table && !rec->table_size;

	if (rec->kind > SUT_RECORD_AGENT)
		return "a record of an unknown kind";
	if (rec->side > 1 || rec->n_areas > SUT_RECORD_AREAS)
		return "a record's numbers";
	if (!valid_name(rec->name))
		return "a record's name";
	for (size_t i = 0; i < rec->n_areas; i++) {
		const struct sut_record_area *a = &rec->area[i];
		uint64_t rw;

		if (!page_aligned(r, a->base) || !page_aligned(r, a->ro_size) || !page_aligned(r, a->rx_size) ||
		    !page_aligned(r, a->rw_size) || a->ro_size > AREA_MAX || a->rx_size > AREA_MAX ||
		    a->rw_size > AREA_MAX || !a->base || a->base > (1ull << 56))
			return "a record's area";
		rw = a->base + a->ro_size + a->rx_size;
		if (rec->table >= rw && sut_fits(rec->table - rw, rec->table_size, a->rw_size))
			table_ok = true;
	}
	return table_ok ? NULL : "a record's table lies outside of its areas";
}

static const char *check_header(const struct sut_registry *r, const struct sut_maps *maps)
{
	const struct sut_registry_header *h = &r->h;
	const struct sut_arch *arch = r->p->mem.arch;
	_cleanup_free_ uint8_t *code = malloc(arch->heal_code_size + 1);
	const struct sut_map *m;

	if (h->size != total_size(r->p) || h->n_records != SUT_REGISTRY_RECORDS ||
	    h->n_pristines != SUT_REGISTRY_PRISTINES)
		return "its sizes";
	if (h->heal_frame != r->addr + frame_off() || h->heal_frame_size != HEAL_FRAME_SIZE)
		return "the room for a signal frame";
	m = sut_maps_at(maps, h->heal_code);
	if (!page_aligned(r, h->heal_code) || h->heal_code_size != r->p->mem.page_size || !m || m->inode ||
	    !mapped_with(maps, h->heal_code, h->heal_code_size, SUT_PROT_R | SUT_PROT_X))
		return "the place of its code";
	if (!code || sut_mem_read(&r->p->mem, h->heal_code, code, arch->heal_code_size) ||
	    memcmp(code, arch->heal_code, arch->heal_code_size))
		return "its code";
	return NULL;
}

/** An agent whose table is not there any more (a tool died while it took it out) is none. */
static void check_agent(struct sut_registry *r, const struct sut_maps *maps)
{
	if (!r->h.agent_table ||
	    (r->h.agent_table % 8 == 0 &&
	     mapped_with(maps, r->h.agent_table, sizeof(struct sut_agent_table), SUT_PROT_R | SUT_PROT_W)))
		return;
	sut_debug(r->p->ctx, "%s[%d]: there is no agent's table at 0x%llx", r->p->comm, (int)r->p->pid,
		  (unsigned long long)r->h.agent_table);
	r->h.agent_table = 0;
}

/** A pristine record whose copy does not show the same file bytes any more (a library was unloaded) is dropped. */
static void check_pristine(struct sut_registry *r, const struct sut_maps *maps, struct sut_pristine_record *pr)
{
	const struct sut_map *t = sut_maps_at(maps, pr->text), *c = sut_maps_at(maps, pr->copy);

	if (!pr->len)
		return;
	if (page_aligned(r, pr->text) && page_aligned(r, pr->len) && page_aligned(r, pr->copy) && t && c &&
	    mapped_with(maps, pr->text, pr->len, t->prot) && mapped_with(maps, pr->copy, pr->len, c->prot) &&
	    t->inode && t->inode == c->inode && t->dev_major == c->dev_major && t->dev_minor == c->dev_minor &&
	    t->offset + (pr->text - t->start) == c->offset + (pr->copy - c->start) && t->prot == c->prot)
		return;
	sut_debug(r->p->ctx, "%s[%d]: the pristine copy at 0x%llx is stale", r->p->comm, (int)r->p->pid,
		  (unsigned long long)pr->copy);
	memset(pr, 0, sizeof(*pr));
}

static int check(struct sut_registry *r, const struct sut_maps *maps)
{
	const char *what = check_header(r, maps);

	for (size_t i = 0; !what && i < SUT_REGISTRY_RECORDS; i++)
		if (r->rec[i].kind != SUT_RECORD_FREE)
			what = check_record(r, &r->rec[i]);
	if (what)
		return damaged(r, what);
	check_agent(r, maps);
	for (size_t i = 0; i < SUT_REGISTRY_PRISTINES; i++)
		check_pristine(r, maps, &r->pristine[i]);
	return 0;
}

static int load(struct sut_registry *r, const struct sut_map *m)
{
	struct layout *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return sut_nomem(r->p->ctx);
	err = sut_mem_read(&r->p->mem, m->start, l, sizeof(*l));
	if (!err) {
		r->h = l->h;
		memcpy(r->rec, l->rec, sizeof(r->rec));
		memcpy(r->pristine, l->pristine, sizeof(r->pristine));
	}
	free(l);
	return err;
}

/** Looks at one mapping of our file's name. Other programs may have memory files called so: they are left alone. */
static int look_at(struct sut_registry *r, const struct sut_map *m)
{
	bool shaped = m->prot == (SUT_PROT_R | SUT_PROT_W) && !m->offset && m->end - m->start == total_size(r->p);
	char magic[sizeof(r->h.magic)];

	if (m->shared || sut_mem_read(&r->p->mem, m->start, magic, sizeof(magic)))
		return 0;
	if (shaped && !memcmp(magic, (const char[sizeof(magic)]){ 0 }, sizeof(magic))) {
		/* A tool died while it made this one; nothing refers to it. */
		r->stale = m->start;
		r->stale_size = m->end - m->start;
		return 0;
	}
	if (memcmp(magic, SUT_REGISTRY_MAGIC, MAGIC_PREFIX))
		return 0;
	r->addr = m->start;
	if (memcmp(magic, SUT_REGISTRY_MAGIC, sizeof(magic)))
		return damaged(r, "made by another version of suture");
	return shaped ? load(r, m) : damaged(r, "mapped in a strange way");
}

int sut_registry_read(struct suture_process *p, struct sut_registry **ret)
{
	struct sut_registry *r = calloc(1, sizeof(*r));
	struct sut_maps maps = { 0 };
	int err;

	if (!r)
		return sut_nomem(p->ctx);
	r->p = p;
	err = p->mem.ops->maps(&p->mem, &maps);
	for (size_t i = 0; !err && !r->addr && i < maps.m.n; i++)
		if (!strcmp(maps.m.v[i].name, MAP_LINE))
			err = look_at(r, &maps.m.v[i]);
	if (!err && r->addr)
		err = check(r, &maps);
	sut_maps_free(&maps);
	if (err) {
		sut_registry_free(r);
		return err;
	}
	if (r->addr)
		sut_process_set_heal(p, r->h.heal_code, r->h.heal_frame, r->h.heal_frame_size);
	*ret = r;
	return 0;
}

void sut_registry_free(struct sut_registry *r)
{
	free(r);
}

/* ---- making and taking away ---- */

/*
 * The soft limit on the size of files, from /proc: prlimit(2) wants CAP_SYS_RESOURCE for another user's process, which
 * root in a container has seldom. UINT64_MAX: none.
 */
static int file_limit(pid_t pid, uint64_t *ret)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = NULL;
	const char *line;
	char path[32], word[24];
	int err;

	snprintf(path, sizeof(path), "/proc/%d/limits", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = sut_read_fd(fd, 65536, &text, NULL);
	if (err)
		return err;
	line = strstr(text, "Max file size");
	if (!line || sscanf(line, "Max file size %23s", word) != 1)
		return -EPROTO;
	*ret = strcmp(word, "unlimited") ? strtoull(word, NULL, 10) : UINT64_MAX;
	return 0;
}

/** ftruncate of a memory file raises SIGXFSZ, which kills, where RLIMIT_FSIZE is lower. */
static int check_file_limit(struct sut_registry *r, uint64_t size)
{
	uint64_t limit = 0;
	int err = file_limit(r->p->pid, &limit);

	if (err == -ENOENT || err == -ESRCH)
		return sut_fail(r->p->ctx, SUTURE_EGONE, "process %d has ended", (int)r->p->pid);
	if (err)
		return sut_fail(r->p->ctx, SUTURE_EACCESS, "%s[%d]: /proc/%d/limits can not be read: %s", r->p->comm,
				(int)r->p->pid, (int)r->p->pid, strerror(-err));
	if (limit >= size)
		return 0;
	sut_fail(r->p->ctx, SUTURE_EREFUSED, "%s[%d]: RLIMIT_FSIZE (%llu bytes) leaves no room for the registry",
		 r->p->comm, (int)r->p->pid, (unsigned long long)limit);
	return sut_hint(r->p->ctx, "raise it with prlimit --pid %d --fsize=%llu", (int)r->p->pid,
			(unsigned long long)size);
}

static int call(struct sut_registry *r, const char *what, uint64_t *ret, enum sut_sys sys, uint64_t a, uint64_t b,
		uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	return sut_mem_call(&r->p->mem, what, ret, sys, (const uint64_t[6]){ a, b, c, d, e, f });
}

/** The page of our code, with the memory file's name behind the code. */
static int map_code(struct sut_registry *r, uint64_t *ret, uint64_t *ret_name)
{
	const struct sut_arch *arch = r->p->mem.arch;
	size_t page = r->p->mem.page_size, name = SUT_ALIGN_UP(arch->heal_code_size, 16);
	uint64_t addr;
	int err;

	if (name + sizeof(SUT_REGISTRY_NAME) > page)
		return sut_fail(r->p->ctx, SUTURE_EBUG, "the heal code is larger than a page");
	err = call(r, "mapping a page for the registry's code", &addr, SUT_SYS_MMAP, 0, page, PROT_READ | PROT_EXEC,
		   MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0);
	if (err)
		return err;
	err = sut_mem_write(&r->p->mem, addr, arch->heal_code, arch->heal_code_size);
	if (!err)
		err = sut_mem_write(&r->p->mem, addr + name, SUT_REGISTRY_NAME, sizeof(SUT_REGISTRY_NAME));
	if (err) {
		int64_t unused;

		(void)!sut_mem_syscall(&r->p->mem, &unused, SUT_SYS_MUNMAP, addr, page);
		return err;
	}
	*ret = addr;
	*ret_name = addr + name;
	return 0;
}

static int open_memfd(struct sut_registry *r, uint64_t name, uint64_t *ret)
{
	int64_t fd;
	int err = sut_mem_syscall(&r->p->mem, &fd, SUT_SYS_MEMFD_CREATE, name, MFD_CLOEXEC_FLAG | MFD_NOEXEC_SEAL_FLAG);

	if (err)
		return err;
	if (fd != -EINVAL) {
		if (fd >= 0) {
			*ret = (uint64_t)fd;
			return 0;
		}
		return sut_fail(r->p->ctx, SUTURE_EFAILED, "%s[%d]: making a memory file for the registry: %s",
				r->p->comm, (int)r->p->pid, strerror((int)-fd));
	}
	return call(r, "making a memory file for the registry", ret, SUT_SYS_MEMFD_CREATE, name, MFD_CLOEXEC_FLAG, 0, 0,
		    0, 0);
}

static int map_memfd(struct sut_registry *r, uint64_t name, uint64_t size, uint64_t *ret)
{
	uint64_t fd, addr = 0, unused;
	int64_t closed;
	int err = open_memfd(r, name, &fd);

	if (err)
		return err;
	err = call(r, "sizing the registry", &unused, SUT_SYS_FTRUNCATE, fd, size, 0, 0, 0, 0);
	if (!err)
		err = call(r, "mapping the registry", &addr, SUT_SYS_MMAP, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE,
			   fd, 0);
	if (sut_mem_syscall(&r->p->mem, &closed, SUT_SYS_CLOSE, fd) && !err)
		err = -SUTURE_EFAILED;
	if (!err)
		*ret = addr;
	return err;
}

int sut_registry_create(struct sut_registry *r)
{
	uint64_t size = total_size(r->p), code = 0, name = 0, addr;
	int64_t unused;
	int err;

	if (r->addr)
		return 0;
	err = check_file_limit(r, size);
	if (!err && r->stale) {
		err = call(r, "unmapping a stale registry", &addr, SUT_SYS_MUNMAP, r->stale, r->stale_size, 0, 0, 0, 0);
		r->stale = 0;
	}
	if (!err)
		err = map_code(r, &code, &name);
	if (err)
		return err;
	err = map_memfd(r, name, size, &addr);
	if (err) {
		(void)!sut_mem_syscall(&r->p->mem, &unused, SUT_SYS_MUNMAP, code, r->p->mem.page_size);
		return err;
	}
	memset(r->rec, 0, sizeof(r->rec));
	memset(r->pristine, 0, sizeof(r->pristine));
	r->h = (struct sut_registry_header){ .magic = SUT_REGISTRY_MAGIC,
					     .size = (uint32_t)size,
					     .n_records = SUT_REGISTRY_RECORDS,
					     .n_pristines = SUT_REGISTRY_PRISTINES,
					     .next_order = 1,
					     .heal_code = code,
					     .heal_code_size = r->p->mem.page_size,
					     .heal_frame = addr + frame_off(),
					     .heal_frame_size = HEAL_FRAME_SIZE };
	/* The magic last: without it the mapping is one that a dead tool began. */
	r->addr = addr;
	err = sut_mem_write(&r->p->mem, addr + sizeof(r->h.magic), (uint8_t *)&r->h + sizeof(r->h.magic),
			    sizeof(r->h) - sizeof(r->h.magic));
	if (!err)
		err = sut_mem_write(&r->p->mem, addr, r->h.magic, sizeof(r->h.magic));
	if (err) {
		r->addr = 0;
		(void)!sut_mem_syscall(&r->p->mem, &unused, SUT_SYS_MUNMAP, addr, size);
		(void)!sut_mem_syscall(&r->p->mem, &unused, SUT_SYS_MUNMAP, code, r->p->mem.page_size);
		return err;
	}
	sut_process_set_heal(r->p, r->h.heal_code, r->h.heal_frame, r->h.heal_frame_size);
	return 0;
}

int sut_registry_destroy(struct sut_registry *r)
{
	uint64_t unused;
	int err;

	if (!r->addr)
		return 0;
	for (size_t i = 0; i < SUT_REGISTRY_RECORDS; i++)
		if (r->rec[i].kind != SUT_RECORD_FREE)
			return sut_fail(r->p->ctx, SUTURE_EBUG, "%s[%d]: its registry still lists %s", r->p->comm,
					(int)r->p->pid, r->rec[i].name);
	for (size_t i = 0; i < SUT_REGISTRY_PRISTINES; i++)
		if (r->pristine[i].len)
			return sut_fail(r->p->ctx, SUTURE_EBUG, "%s[%d]: its registry still lists a copy of text",
					r->p->comm, (int)r->p->pid);
	sut_process_set_heal(r->p, 0, 0, 0);
	(void)sut_process_release(r->p);
	err = sut_process_borrow(r->p, BORROW_MS);
	if (!err && !sut_process_heal_free(r->p, r->h.heal_frame, r->h.heal_frame_size)) {
		sut_process_set_heal(r->p, r->h.heal_code, r->h.heal_frame, r->h.heal_frame_size);
		return 0;
	}
	if (!err)
		err = call(r, "unmapping the registry", &unused, SUT_SYS_MUNMAP, r->addr, total_size(r->p), 0, 0, 0, 0);
	if (err) {
		sut_process_set_heal(r->p, r->h.heal_code, r->h.heal_frame, r->h.heal_frame_size);
		return err;
	}
	r->addr = 0;
	return call(r, "unmapping the registry's code", &unused, SUT_SYS_MUNMAP, r->h.heal_code, r->h.heal_code_size, 0,
		    0, 0, 0);
}

/* ---- records ---- */

int sut_registry_write_header(struct sut_registry *r)
{
	return sut_mem_write(&r->p->mem, r->addr + sizeof(r->h.magic), (uint8_t *)&r->h + sizeof(r->h.magic),
			     sizeof(r->h) - sizeof(r->h.magic));
}

struct sut_record *sut_registry_find(struct sut_registry *r, const char *name)
{
	for (size_t i = 0; i < SUT_REGISTRY_RECORDS; i++)
		if (r->rec[i].kind != SUT_RECORD_FREE && !strcmp(r->rec[i].name, name))
			return &r->rec[i];
	return NULL;
}

struct sut_record *sut_registry_slot(struct sut_registry *r)
{
	for (size_t i = 0; i < SUT_REGISTRY_RECORDS; i++)
		if (r->rec[i].kind == SUT_RECORD_FREE)
			return &r->rec[i];
	return NULL;
}

int sut_registry_write(struct sut_registry *r, const struct sut_record *rec)
{
	uint64_t addr = record_addr(r, rec);
	int err = sut_mem_write(&r->p->mem, addr + 1, (const uint8_t *)rec + 1, sizeof(*rec) - 1);

	return err ? err : sut_mem_write(&r->p->mem, addr, &rec->kind, 1);
}

int sut_registry_set_state(struct sut_registry *r, struct sut_record *rec, uint8_t state)
{
	int err = sut_mem_write(&r->p->mem, record_addr(r, rec) + offsetof(struct sut_record, state), &state, 1);

	if (!err)
		rec->state = state;
	return err;
}

uint64_t sut_registry_side_addr(const struct sut_registry *r, const struct sut_record *rec)
{
	return record_addr(r, rec) + offsetof(struct sut_record, side);
}

int sut_registry_set_side(struct sut_registry *r, struct sut_record *rec, uint8_t side)
{
	int err = sut_mem_write(&r->p->mem, sut_registry_side_addr(r, rec), &side, 1);

	if (!err)
		rec->side = side;
	return err;
}

int sut_registry_remove(struct sut_registry *r, struct sut_record *rec)
{
	static const struct sut_record none;
	uint64_t addr = record_addr(r, rec);
	int err = sut_mem_write(&r->p->mem, addr, &none.kind, 1);

	if (!err)
		err = sut_mem_write(&r->p->mem, addr, &none, sizeof(none));
	if (!err)
		*rec = none;
	return err;
}

int sut_registry_write_pristine(struct sut_registry *r, size_t i)
{
	if (i >= SUT_REGISTRY_PRISTINES)
		return sut_fail(r->p->ctx, SUTURE_EBUG, "pristine record %zu", i);
	return sut_mem_write(&r->p->mem, r->addr + offsetof(struct layout, pristine) + i * sizeof(r->pristine[0]),
			     &r->pristine[i], sizeof(r->pristine[i]));
}

bool sut_record_tool_alive(const struct sut_record *rec)
{
	_cleanup_fclose_ FILE *f = NULL;
	unsigned long long start = 0;
	char path[64], text[1024], state = 0, *p;
	size_t n;

	if (!rec->tool_pid || rec->tool_pid > INT32_MAX || (pid_t)rec->tool_pid == getpid())
		return false;
	snprintf(path, sizeof(path), "/proc/%u/stat", rec->tool_pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = 0;
	/* The name may hold anything; the fields begin after its last parenthesis, with the state. */
	p = strrchr(text, ')');
	if (!p || sscanf(p + 1, " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
			 &state, &start) != 2)
		return false;
	return start == rec->tool_start && state != 'Z' && state != 'X';
}
