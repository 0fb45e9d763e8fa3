/* SPDX-License-Identifier: MIT */
/* live.h - a victim process for tests that patch a real one: started, watched, ended. */
#ifndef TEST_LIVE_H
#define TEST_LIVE_H

#include <stdbool.h>
#include <sys/types.h>

#include <suture/suture.h>

#include "fixture/victim.h"

struct victim {
	pid_t pid;
	struct victim_shared *shared;
	char path[64]; /* of the shared file */
};

/** Where the build put the victim and the objects; set by live_args(). */
extern const char *live_victim, *live_lib, *live_fix_exe, *live_fix_both, *live_fix_slow, *live_loader, *live_fix_lib;
extern struct suture_ctx *live_ctx;

/** Makes live_ctx; exits 77 where processes can not be traced. */
void live_init(void);
/** Reads the program's arguments and calls live_init(); exits 99 for wrong arguments. */
void live_args(int argc, char **argv);
/** Starts this program as a victim: threads, then words, NULL-ended. */
void victim_exec(struct victim *v, const char *program, const char *threads, const char *const *words);
/** Starts a victim: threads, then words as victim.c wants them, NULL-ended. */
void victim_start(struct victim *v, const char *threads, ...);
void victim_end(struct victim *v);
/** Waits until old (or new) results are seen afresh; fails after 20 s. */
void victim_sees(struct victim *v, bool new_code);
/** Fails when a result was ever mixed or wrong. */
void victim_healthy(struct victim *v);
/** /proc/PID/maps as a string, the heap's and stacks' lines left out. Heap. */
char *victim_maps(pid_t pid);
/** Whether anything of ours is mapped in it. */
bool victim_has_registry(pid_t pid);
/** Digest of the executable bytes of the files that the victim has loaded, and how many of their pages are private. */
void victim_text(pid_t pid, uint8_t digest[32], size_t *private_pages);
/** How many duplicates of text there are: executable mappings of a file that do not belong to a loaded one. */
unsigned victim_duplicates(pid_t pid);

/** Makes the patches and opens them. */
struct mksut;
struct suture_patch *live_open(const struct mksut *m);
struct suture_patch *live_patch_exe(void);
struct suture_patch *live_patch_both(void);
struct suture_patch *live_patch_slow(void);

/** One enable or disable in a fresh attachment; the code it returned. */
int live_enable(pid_t pid, struct suture_patch *p, const struct suture_enable_opts *o, struct suture_report **r);
int live_disable(pid_t pid, const char *name, const struct suture_enable_opts *o);
int live_recover(pid_t pid, struct suture_recovery *ret);
/** The state of a patch in the process and what its sites hold ("jump", mixed: "?"); false: no such patch. */
bool live_state(pid_t pid, const char *name, enum suture_patch_state *state, const char **sites);
/** Fails with the context's last error unless @err is @want. */
void live_want(int err, int want, const char *what);

#endif
