/* SPDX-License-Identifier: MIT */
/*
 * table.h - the memory that the agent (in a target) and the tool (from outside) share.
 *
 * Freestanding: fixed-width types only. The tool writes through /proc/PID/mem, the agent only
 * reads. A slot counts while `end` is not 0. The tool writes `start` and `hdr` first and
 * `end` last; to take a slot out it writes `end` = 0 and nothing else. A reader that meets a
 * slot in the middle of a change sees, at worst, a range and a table that do not belong
 * together: the search in the table then finds no FDE that covers the pc, which is the right answer,
 * because no thread is in code that is not published yet or not any more.
 */
#ifndef SUT_AGENT_TABLE_H
#define SUT_AGENT_TABLE_H

#include <stddef.h>
#include <stdint.h>

#define SUT_AGENT_MAGIC        0x5355545552454131ull /* "SUTUREA1", read as a number */
#define SUT_AGENT_SLOTS        256
#define SUT_AGENT_TABLE_SYMBOL "sut_agent_table"
#define SUT_AGENT_FIND_SYMBOL  "sut_agent_find_fde"

/** The code of one area and its sorted .eh_frame_hdr; addresses in the target. */
struct sut_agent_slot {
	uint64_t start;
	uint64_t end; /* 0: free */
	uint64_t hdr;
};

struct sut_agent_table {
	uint64_t magic;
	/* The original entry of _Unwind_Find_FDE: its displaced instructions and a jump into the rest. */
	uint64_t original;
	uint32_t n_slots;
	uint32_t reserved;
	struct sut_agent_slot slot[SUT_AGENT_SLOTS];
};

/** The agent's ET_REL, embedded in the tool; static memory. */
void sut_agent_image(const void **ret, size_t *ret_len);

#endif
