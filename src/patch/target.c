/* SPDX-License-Identifier: MIT */
/*
 * target.c - a process as the transition's machine sees it: its threads behind struct sut_threads_ops.
 *
 * The only file of this room that stops anybody, and it does so only through the process room. What runs
 * while all threads stand still is here and in enable.c's and disable.c's commit: stop, prove, swap,
 * one-byte stores; whatever can be read, allocated or computed before is done before.
 */
#include <errno.h>
#include <signal.h>
#include <sys/file.h>

#include "patch/internal.h"

#define DEFAULT_TIMEOUT_MS 15000
#define BORROW_TIMEOUT_MS  3000
/* How long a common stop may take before it counts as an attempt that failed. (The process room lets the others go
 * on meanwhile, when one thread can not be stopped: it waits for a vfork child, or for a processor.) */
#define TELL_FROM_MS 50 /* the pause after some 90 ms */
#define STOP_MIN_MS  200
#define STOP_MAX_MS  4000

unsigned sut_opts_timeout(const struct suture_enable_opts *opts)
{
	if (!opts || opts->sz < offsetof(struct suture_enable_opts, timeout_ms) + sizeof(opts->timeout_ms))
		return DEFAULT_TIMEOUT_MS;
	return opts->timeout_ms ? opts->timeout_ms : DEFAULT_TIMEOUT_MS;
}

bool sut_opts_force_write(const struct suture_enable_opts *opts)
{
	return opts && opts->sz > offsetof(struct suture_enable_opts, force_write) && opts->force_write;
}

bool sut_opts_dry_run(const struct suture_enable_opts *opts)
{
	return opts && opts->sz > offsetof(struct suture_enable_opts, dry_run) && opts->dry_run;
}

/* --- ourselves ------------------------------------------------------------------------------- */

uint64_t sut_self_start_time(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/stat", "re");
	unsigned long long start = 0;
	char line[1024], *p;

	if (!f || !fgets(line, sizeof(line), f))
		return 0;
	p = strrchr(line, ')'); /* the name may hold anything */
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	return p && sscanf(p, " %llu", &start) == 1 ? start : 0;
}

bool sut_tool_signals_pending(void)
{
	sigset_t set;

	return !sigpending(&set) && (sigismember(&set, SIGINT) || sigismember(&set, SIGTERM) ||
				     sigismember(&set, SIGHUP) || sigismember(&set, SIGQUIT));
}

/* A process that is being killed loses its memory and threads some time before it is seen as ended. */
#define ENDING_MS 20

int sut_target_outcome(struct suture_process *p, int err)
{
	if (!err || err == -SUTURE_EGONE || err == -SUTURE_ENOTHING || err == -SUTURE_ENOTFOUND)
		return err;
	for (unsigned i = 0; i < ENDING_MS && sut_process_alive(p); i++)
		sut_process_sleep(p, 1);
	if (sut_process_alive(p))
		return err;
	return sut_fail(p->ctx, SUTURE_EGONE, "%s[%d] ended meanwhile", p->comm, p->pid);
}

void sut_error_keep(struct suture_ctx *ctx, struct sut_error_kept *ret)
{
	const struct suture_error *e = suture_ctx_error(ctx);

	memset(ret, 0, sizeof(*ret));
	ret->code = e->code;
	ret->address = e->address;
	snprintf(ret->message, sizeof(ret->message), "%s", e->message);
	if (e->hint)
		snprintf(ret->hint, sizeof(ret->hint), "%s", e->hint);
}

void sut_error_restore(struct suture_ctx *ctx, const struct sut_error_kept *kept)
{
	(void)sut_fail(ctx, kept->code, "%s", kept->message);
	if (kept->hint[0])
		(void)sut_hint(ctx, "%s", kept->hint);
	(void)sut_fail_address(ctx, kept->address);
}

int sut_error_not_undone(struct suture_process *p, const struct sut_error_kept *kept, const char *state)
{
	struct sut_error_kept second;

	sut_error_keep(p->ctx, &second);
	(void)sut_fail(p->ctx, SUTURE_EDAMAGED, "%.450s; and what was begun could not be taken back: %.450s",
		       kept->message, second.message);
	return sut_hint(p->ctx, "%s in process %d; try: suture recover -p %d", state, p->pid, p->pid);
}

/* --- one tool at a time ---------------------------------------------------------------------- */

/*
 * The lock is on the inode behind /proc/PID/mem: whoever may open that may trace the process anyway, each
 * process has its own (a forked child too), and it goes with the tool.
 */
int sut_target_lock(struct suture_process *p, const struct suture_enable_opts *opts)
{
	p->patience_ms = sut_opts_timeout(opts);
	if (!flock(p->mem_fd, LOCK_EX | LOCK_NB))
		return 0;
	if (errno != EWOULDBLOCK)
		return 0; /* a kernel that can not lock there: the registry's records still tell of each other */
	(void)sut_fail(p->ctx, SUTURE_EBUSY, "another suture is at work on process %d", p->pid);
	return sut_hint(p->ctx, "try again when it has finished");
}

void sut_target_unlock(struct suture_process *p)
{
	(void)flock(p->mem_fd, LOCK_UN);
}

static int check_record(struct suture_process *p, const struct sut_record *rec)
{
	const char *doing = NULL;

	if (rec->kind == SUT_RECORD_FREE)
		return 0;
	if (rec->state == SUT_STATE_LOADING)
		doing = "load";
	else if (rec->state == SUT_STATE_ENABLING)
		doing = "enable";
	else if (rec->state == SUT_STATE_DISABLING)
		doing = "disable";
	if (!doing)
		return 0;
	if (sut_record_tool_alive(rec)) {
		(void)sut_fail(p->ctx, SUTURE_EBUSY, "suture with pid %u is about to %s %.64s in process %d",
			       rec->tool_pid, doing, rec->name, p->pid);
		return sut_hint(p->ctx, "wait until it has finished");
	}
	(void)sut_fail(p->ctx, SUTURE_EBUSY, "a suture that died (pid %u) was about to %s %.64s in process %d",
		       rec->tool_pid, doing, rec->name, p->pid);
	return sut_hint(p->ctx, "finish or undo what it left: suture recover -p %d", p->pid);
}

int sut_target_check_idle(struct suture_process *p, const struct sut_registry *reg)
{
	for (size_t i = 0; reg->addr && i < SUT_REGISTRY_RECORDS; i++) {
		int err = check_record(p, &reg->rec[i]);

		if (err)
			return err;
	}
	return 0;
}

int sut_target_borrow(struct suture_process *p)
{
	uint64_t deadline = sut_now_ns() + BORROW_TIMEOUT_MS * 1000000ull;

	for (;;) {
		int err = sut_process_borrow(p, BORROW_TIMEOUT_MS);

		/* A thread on its way home from a tool that died: a matter of microseconds. */
		if (err != -SUTURE_EBUSY || sut_now_ns() >= deadline)
			return err;
		sut_process_sleep(p, 1);
	}
}

/* --- code of ours ---------------------------------------------------------------------------- */

int sut_code_add(struct suture_process *p, const struct sut_record *rec, struct sut_code *code)
{
	struct sut_extra_cfi x[SUT_RECORD_AREAS];
	size_t n = 0;
	int err = sut_record_extra_cfi(p, rec, x, SUT_ARRAY_SIZE(x), &n);

	if (err) {
		sut_debug(p->ctx, "no unwind data of %.64s: %s", rec->name, suture_ctx_error(p->ctx)->message);
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		if (sut_vec_push(&code->cfi, x[i])) {
			sut_extra_cfi_free(x + i, n - i);
			return sut_nomem(p->ctx);
		}
	}
	return 0;
}

int sut_code_load(struct suture_process *p, const struct sut_registry *reg, struct sut_code *ret)
{
	for (size_t i = 0; reg->addr && i < SUT_REGISTRY_RECORDS; i++) {
		const struct sut_record *rec = &reg->rec[i];
		int err;

		/* Nobody is in code that was never entered. Parked code can be, through a pointer that the program kept. */
		if (rec->kind == SUT_RECORD_FREE || rec->state == SUT_STATE_LOADING)
			continue;
		err = sut_code_add(p, rec, ret);
		if (err)
			return err;
	}
	return 0;
}

void sut_code_free(struct sut_code *c)
{
	sut_extra_cfi_free(c->cfi.v, c->cfi.n);
	sut_vec_free(&c->cfi);
}

/* --- ranges ---------------------------------------------------------------------------------- */

int sut_ranges_add(struct suture_ctx *ctx, struct sut_ranges *r, uint64_t start, uint64_t size, const char *name,
		   unsigned func)
{
	struct sut_code_range range = { .start = start, .end = start + size, .name = name, .func = func };

	if (!name || sut_vec_push(&r->r, range))
		return sut_nomem(ctx);
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct sut_code_range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

void sut_ranges_sort(struct sut_ranges *r)
{
	if (r->r.n)
		qsort(r->r.v, r->r.n, sizeof(r->r.v[0]), by_start);
}

void sut_ranges_free(struct sut_ranges *r)
{
	sut_vec_free(&r->r);
	sut_texts_free(&r->names);
}

/* --- the machine's view ---------------------------------------------------------------------- */

static void tell_busy(struct sut_target *t, struct sut_busy *busy, unsigned *n_busy, const struct sut_busy *now)
{
	if (!*n_busy)
		*busy = *now;
	++*n_busy;
	if (t->on_busy)
		t->on_busy(t->arg, now);
}

/* A stop that could not be had (in time, or while a vfork child runs on the same memory) counts as a busy thread:
 * another attempt may do. */
static int not_stopped(struct sut_target *t, struct sut_busy *busy, unsigned *n_busy)
{
	if (t->stop_ms < STOP_MAX_MS)
		t->stop_ms *= 2;
	snprintf(t->why, sizeof(t->why), "%.150s", suture_ctx_error(t->p->ctx)->message);
	busy->why = t->why;
	*n_busy = 1;
	return -SUTURE_EBUSY;
}

static struct sut_busy busy_of(const struct sut_proof_result *proof, pid_t tid)
{
	struct sut_busy b = { .tid = tid, .where = proof->where };

	if (b.where) {
		b.word = proof->address;
		b.tid = 0;
	}
	if (proof->range) {
		b.range = proof->range->name;
		b.func = proof->range->func;
	}
	if (proof->proof == SUT_PROOF_UNRELIABLE)
		b.why = proof->why ? proof->why : "its stack can not be read with certainty";
	return b;
}

static bool is_clear(const struct sut_proof_result *proof)
{
	return proof->proof == SUT_PROOF_CLEAR_SCAN || proof->proof == SUT_PROOF_CLEAR_UNWIND ||
	       proof->proof == SUT_PROOF_CLEAR_MEMORY;
}

static int prove_threads(struct sut_target *t, const struct sut_code_range *ranges, size_t n, struct sut_busy *busy,
			 unsigned *n_busy)
{
	bool elsewhere = false;

	t->threads = 0;
	sut_deep_forget_threads(t->p);
	for (size_t i = 0; i < t->p->thread.n; i++) {
		struct sut_thread *thread = &t->p->thread.v[i];
		struct sut_proof_result proof;
		struct sut_busy now;
		int err;

		if (thread->dead)
			continue;
		t->threads++;
		err = sut_prove_thread(t->p, thread, ranges, n, t->code ? t->code->cfi.v : NULL,
				       t->code ? t->code->cfi.n : 0, &proof);
		if (err)
			return err;
		if (is_clear(&proof))
			continue;
		elsewhere |= proof.elsewhere;
		now = busy_of(&proof, thread->tid);
		tell_busy(t, busy, n_busy, &now);
		if (!t->count_all)
			break;
	}
	t->elsewhere += elsewhere;
	return 0;
}

static int prove_memory(struct sut_target *t, struct sut_busy *busy, unsigned *n_busy)
{
	struct sut_proof_result proof;
	struct sut_busy now;
	int err = sut_deep_memory(t->p, &proof);

	if (err || is_clear(&proof))
		return err;
	now = busy_of(&proof, 0);
	tell_busy(t, busy, n_busy, &now);
	return 0;
}

/* The memory of modules in which addresses of code stand, and no stacks. */
static size_t find_ours(const struct sut_target *t, struct sut_span *ret)
{
	const struct sut_registry *reg = t->reg;
	size_t n = 0;

	if (reg && reg->addr)
		ret[n++] = (struct sut_span){ reg->addr, reg->addr + reg->h.size };
	for (size_t i = 0; reg && reg->addr && i < SUT_REGISTRY_RECORDS; i++) {
		const struct sut_record *rec = &reg->rec[i];
		uint64_t rw = rec->area[0].base + rec->area[0].ro_size + rec->area[0].rx_size;

		if (rec->kind == SUT_RECORD_PATCH)
			ret[n++] = (struct sut_span){ rec->table, rec->table + rec->table_size };
		else if (rec->kind == SUT_RECORD_AGENT)
			ret[n++] = (struct sut_span){ rw, rw + rec->area[0].rw_size };
	}
	return n;
}

static int begin_deep(struct sut_target *t, const struct sut_code_range *ranges, size_t n)
{
	struct sut_span ours[SUT_REGISTRY_RECORDS + 1];
	int err = sut_deep_begin(t->p, ranges, n, ours, find_ours(t, ours));

	t->deep = !err;
	return err;
}

#define ELSEWHERE_MAX 3 /* most threads are soon back on their own stacks */

/* Without a stop: whether there is any sense in one. */
static int before_stop(struct sut_target *t, const struct sut_code_range *ranges, size_t n, struct sut_busy *busy,
		       unsigned *n_busy)
{
	struct sut_proof_result proof;

	if (sut_tool_signals_pending())
		return sut_fail(t->p->ctx, SUTURE_EFAILED, "interrupted while waiting for the threads of process %d",
				t->p->pid);
	if (t->elsewhere >= ELSEWHERE_MAX && !t->deep && !t->too_deep)
		t->too_deep = begin_deep(t, ranges, n) != 0;
	if (!t->deep || !sut_deep_still_there(t->p, &proof))
		return 0;
	*busy = busy_of(&proof, 0);
	*n_busy = 1;
	return -SUTURE_EBUSY;
}

static int target_stop_clear(void *arg, const struct sut_code_range *ranges, size_t n, struct sut_busy *busy,
			     unsigned *n_busy)
{
	struct sut_target *t = arg;
	int err = before_stop(t, ranges, n, busy, n_busy);

	if (err)
		return err;
	if (!t->stop_ms)
		t->stop_ms = STOP_MIN_MS;
	err = sut_process_stop(t->p, t->stop_ms);
	if (err == -SUTURE_ETIMEOUT || err == -SUTURE_EREFUSED)
		return not_stopped(t, busy, n_busy);
	if (err)
		return err;
	err = prove_threads(t, ranges, n, busy, n_busy);
	if (!err && t->deep && !*n_busy)
		err = prove_memory(t, busy, n_busy);
	if (err)
		return err;
	return *n_busy ? -SUTURE_EBUSY : 0;
}

static uint64_t target_release(void *arg)
{
	struct sut_target *t = arg;

	return sut_process_release(t->p);
}

/* What somebody who looks on wants to know when it takes longer than a moment. */
static void tell_waiting(struct sut_target *t, const struct sut_busy *busy)
{
	const char *range = busy->range ? busy->range : "the code";
	char what[256];

	if (busy->where)
		snprintf(what, sizeof(what), "process %d: a suspended coroutine may be inside %s", t->p->pid, range);
	else if (!busy->tid)
		snprintf(what, sizeof(what), "process %d: %s", t->p->pid, busy->why);
	else
		snprintf(what, sizeof(what), "process %d: thread %d %s %s", t->p->pid, busy->tid,
			 busy->why ? "may be inside" : "is inside", range);
	sut_progress(t->p->ctx, what, 0, 0);
}

/* Sleeps @ms, or a little less each time in another measure, so as not to keep step with the target. */
static void target_sleep(void *arg, unsigned ms, const struct sut_busy *busy)
{
	struct sut_target *t = arg;

	if (ms >= TELL_FROM_MS)
		tell_waiting(t, busy);
	if (ms >= 4)
		ms -= (unsigned)(sut_now_ns() / 1000 % (ms / 4));
	sut_process_sleep(t->p, ms);
}

static uint64_t target_now(void *arg)
{
	return sut_now_ns();
}

static int target_commit(void *arg)
{
	struct sut_target *t = arg;

	return t->commit ? t->commit(t->arg) : 0;
}

const struct sut_threads_ops sut_target_ops = {
	.stop_clear = target_stop_clear,
	.release = target_release,
	.sleep = target_sleep,
	.now_ns = target_now,
	.commit = target_commit,
};

int sut_target_run(struct sut_target *t, const struct sut_code_range *ranges, size_t n, unsigned timeout_ms,
		   struct sut_transition_result *ret)
{
	int err = 0;

	memset(ret, 0, sizeof(*ret));
	if (n && sut_deep_needed(t->p))
		err = begin_deep(t, ranges, n);
	if (!err)
		err = sut_transition_run(&sut_target_ops, t, ranges, n, timeout_ms, ret);
	sut_deep_end(t->p);
	t->deep = false;
	return err;
}

/* Who was the last in the way. */
static void record_busy(const struct sut_target *t, const struct sut_transition_result *r, unsigned timeout_ms)
{
	const unsigned s = timeout_ms / 1000, tenths = timeout_ms % 1000 / 100;
	const struct sut_busy *b = &r->busy;
	const char *range = b->range ? b->range : "the code";
	struct suture_ctx *ctx = t->p->ctx;

	if (b->where)
		(void)sut_fail(ctx, SUTURE_ETIMEOUT,
			       "a suspended coroutine of process %d may be inside %s: for %u.%u s its memory at 0x%llx "
			       "led back to 0x%llx in it",
			       t->p->pid, range, s, tenths, (unsigned long long)b->where, (unsigned long long)b->word);
	else if (!b->tid)
		(void)sut_fail(ctx, SUTURE_ETIMEOUT, "process %d could not be stopped as a whole within %u.%u s: %s",
			       t->p->pid, s, tenths, b->why);
	else if (b->why)
		(void)sut_fail(ctx, SUTURE_ETIMEOUT,
			       "thread %d of process %d could not be proved to be outside of %s within %u.%u s: %s",
			       b->tid, t->p->pid, range, s, tenths, b->why);
	else
		(void)sut_fail(ctx, SUTURE_ETIMEOUT, "thread %d of process %d was inside %s for %u.%u s (%u attempts)",
			       b->tid, t->p->pid, range, s, tenths, r->attempts);
}

int sut_target_transition(struct sut_target *t, const struct sut_code_range *ranges, size_t n, unsigned timeout_ms,
			  struct sut_transition_result *ret)
{
	int err = sut_target_run(t, ranges, n, timeout_ms, ret);

	if (err == -SUTURE_EFAILED && sut_tool_signals_pending())
		return sut_hint(t->p->ctx, "nothing was changed");
	if (err != -SUTURE_ETIMEOUT)
		return err;
	record_busy(t, ret, timeout_ms);
	return sut_hint(t->p->ctx,
			"nothing was changed; try again with a longer --timeout, or when the process is less busy (a "
			"function that is never left, such as a main loop, can not be changed)");
}
