/* SPDX-License-Identifier: MIT */
/*
 * agent.h - the agent of a target: what makes exceptions and forced unwinding pass through
 * code of ours.
 *
 * The unwinder in a process (libgcc) asks _Unwind_Find_FDE(pc, bases) for the unwind data of every frame. The
 * agent is a module (src/agent) whose function sut_agent_find_fde replaces it: it looks into a table
 * of ours, and else goes on in the original. No library of the target is called to register anything.
 *
 * What the caller (the patch room) does, when sut_agent_wanted() says that exceptions may have to pass through
 * the patch, sut_agent_needed() finds an unwinder and the registry has no agent (r->h.agent_table == 0):
 *
 *	1. sut_agent_open() -> the ET_REL; sut_module_plan() it with env = { one object: the unwinder's,
 *	   stub_size: room for one original entry }.
 *	2. Write the original entry of the function at *ret_addr (arch->relocate_entry over the bytes that the
 *	   site's jump replaces) into area[0].stub_bytes, for address area[0].stubs.
 *	3. sut_agent_set_original(m, area[0].stubs); without it every lookup that the table does not answer
 *	   would find nothing.
 *	4. Record (kind SUT_RECORD_AGENT, name SUT_AGENT_NAME), sut_module_load().
 *	5. r->h.agent_table = sut_agent_table_addr(m); sut_registry_write_header(r).
 *	6. sut_agent_publish() for the module that is about to be enabled: before its first site is live.
 *	7. The site: a jump at *ret_addr (after entry_skip) to sut_agent_find_addr(m), through text/poke as any
 *	   other; the threads must be outside of the bytes it replaces. The site and the patch's own
 *	   sites can be one batch.
 *
 * Taking a patch out: first its sites, then sut_agent_unpublish(). The agent goes when the last patch
 * went: its site back to the original bytes, all threads outside of its code and of the original
 * entry, then parked or unloaded as any module.
 */
#ifndef SUT_MODULE_AGENT_H
#define SUT_MODULE_AGENT_H

#include "module/module.h"

#define SUT_AGENT_NAME "suture-agent"

/**
 * Whether exceptions may have to pass through a planned module: it has handlers or clean-ups itself, or the
 * executable or one of the objects it patches uses a C++ runtime or unwinds. (Plain C code in a C program needs
 * no agent: pthread_cancel and pthread_exit end well at a frame without unwind data.)
 */
bool sut_agent_wanted(const struct sut_module *m);
/**
 * Finds the unwinder of a process: the object that defines _Unwind_Find_FDE for those who throw, and the
 * runtime address of that function. *ret_object NULL: there is none, nothing is thrown here.
 * -SUTURE_EREFUSED: there is an unwinder that the agent can not serve (another implementation than
 * libgcc's); exceptions through patched functions would end the process.
 */
int sut_agent_needed(struct suture_process *p, struct sut_object **ret_object, uint64_t *ret_addr) __must_check;
/** Opens the embedded ET_REL; sut_elf_close() it after sut_module_free(). */
int sut_agent_open(struct suture_ctx *ctx, struct sut_elf **ret) __must_check;
/** Puts the address of the original entry into a planned agent (before sut_module_load()). */
int sut_agent_set_original(struct sut_module *agent, uint64_t original) __must_check;
/** Address in the target of the table, and of the replacement function; 0: not an agent. */
uint64_t sut_agent_table_addr(const struct sut_module *agent);
uint64_t sut_agent_find_addr(const struct sut_module *agent);
/** Makes the unwind data of a loaded module known to the target's agent; nothing to do without one (h.agent_table 0). */
int sut_agent_publish(struct sut_registry *r, const struct sut_module *m) __must_check;
/** Takes the slots of a record's areas back; fine when there are none. */
int sut_agent_unpublish(struct sut_registry *r, const struct sut_record *rec) __must_check;

#endif
