/* SPDX-License-Identifier: MIT */
/*
 * registry.h - the list of modules and sites kept inside the target.
 *
 * A private mapping of a memory file named "suture" (so /proc/PID/maps shows
 * "/memfd:suture (deleted)"), inherited by fork as the memory it describes is. Beside it an
 * r-x page with the heal code. The tool keeps nothing: any later invocation reads this. To
 * the tool it is untrusted: every number is checked against the mappings before use.
 *
 * A record's `state` is one byte and decides; the table of states stands in patch/transition.h.
 */
#ifndef SUT_REGISTRY_H
#define SUT_REGISTRY_H

#include "process/process.h"

#define SUT_REGISTRY_MAGIC     "SUTUREr1"
#define SUT_REGISTRY_NAME      "suture"
#define SUT_REGISTRY_RECORDS   128
#define SUT_REGISTRY_PRISTINES 64
#define SUT_RECORD_AREAS       8

enum sut_record_kind { SUT_RECORD_FREE = 0, SUT_RECORD_PATCH = 1, SUT_RECORD_AGENT = 2 };

struct sut_record_area {
	uint64_t base, ro_size, rx_size, rw_size;
};

/** One module, as it lies in the target. 512 bytes, so that none lies in two pages: a write of one is not cut. */
struct sut_record {
	uint8_t kind; /* written last when a record is made, first when it goes */
	uint8_t state; /* enum sut_state of the patch room */
	uint8_t side; /* the byte that switch stubs read: 0 old, 1 new */
	uint8_t n_areas;
	uint32_t order; /* stack order */
	char name[64];
	uint8_t digest[32]; /* of the .sut */
	uint64_t since; /* seconds since the epoch */
	uint32_t tool_pid, reserved; /* who holds the transition (as the tool's namespace sees it) ... */
	uint64_t tool_start; /* ... and its start time; 0: nobody */
	uint64_t table, table_size; /* the patch room's site table */
	struct sut_record_area area[SUT_RECORD_AREAS];
	uint8_t room[112]; /* zero */
};

struct sut_registry_header {
	char magic[8];
	uint32_t size; /* of the whole mapping */
	uint32_t n_records, n_pristines;
	uint32_t next_order;
	uint64_t heal_code; /* r-x page of ours */
	uint64_t heal_code_size; /* bytes of that mapping */
	uint64_t heal_frame, heal_frame_size; /* room for one signal frame, in this mapping */
	uint64_t agent_table; /* address of the agent's table of unwind data, 0: no agent */
};

/** A pristine duplicate of a text mapping that sites lie in (text/poke.h), len 0: free. */
struct sut_pristine_record {
	uint64_t text, len, copy;
};

/** Our copy of a target's registry. */
struct sut_registry {
	struct suture_process *p;
	uint64_t addr; /* 0: the target has none */
	uint64_t stale, stale_size; /* one that a dead tool began and never finished; 0: none */
	struct sut_registry_header h;
	struct sut_record rec[SUT_REGISTRY_RECORDS];
	struct sut_pristine_record pristine[SUT_REGISTRY_PRISTINES];
};

/** Reads the registry; addr 0 when there is none. -SUTURE_EREFUSED when it is damaged. Stops nobody. */
int sut_registry_read(struct suture_process *p, struct sut_registry **ret) __must_check;
void sut_registry_free(struct sut_registry *r);
/** Makes one if there is none (and the heal code, told to the process room). Needs a held thread. */
int sut_registry_create(struct sut_registry *r) __must_check;
/**
 * Unmaps an empty registry. Whatever is held is let go, and one thread is borrowed afresh: the frame of the
 * one that was held may lie in the memory that goes, and with the tool dead it would have nowhere to return to. While a
 * thread of a killed tool stands on a frame in it (a SIGSTOPped target), it stays, empty.
 */
int sut_registry_destroy(struct sut_registry *r) __must_check;
/** Writes the header (after a change of next_order or agent_table) to the target. */
int sut_registry_write_header(struct sut_registry *r) __must_check;
/** The record of a name, or NULL. */
struct sut_record *sut_registry_find(struct sut_registry *r, const char *name);
/** A free record, or NULL when full. */
struct sut_record *sut_registry_slot(struct sut_registry *r);
/** Writes one record to the target (all of it but `kind`, then `kind`). */
int sut_registry_write(struct sut_registry *r, const struct sut_record *rec) __must_check;
/** Writes only the state byte (or the side byte): one byte is written whole. */
int sut_registry_set_state(struct sut_registry *r, struct sut_record *rec, uint8_t state) __must_check;
int sut_registry_set_side(struct sut_registry *r, struct sut_record *rec, uint8_t side) __must_check;
/** Frees a record: `kind` first. */
int sut_registry_remove(struct sut_registry *r, struct sut_record *rec) __must_check;
/** Address in the target of a record's side byte. */
uint64_t sut_registry_side_addr(const struct sut_registry *r, const struct sut_record *rec);
int sut_registry_write_pristine(struct sut_registry *r, size_t i) __must_check;
/** Whether the tool that a record names is alive (and is not us). */
bool sut_record_tool_alive(const struct sut_record *rec);

#endif
