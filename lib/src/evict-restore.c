// SPDX-License-Identifier: LGPL-2.1-or-later
/* Bringing all pages back, a few at a time: faults go first here too. */
#include <sched.h>

#include "evict.h"

#define TRIES 10000

struct restore {
	struct rwp_evictor *evictor;
	int (*progress)(uint64_t done, uint64_t left, void *arg);
	void *arg;
	uint64_t done, left; /* bytes */
};

/* The next units of a memory that the store has, from *@offset on. */
static unsigned int next_units(struct rwp_evictor *evictor,
			       const struct evict_memory *memory,
			       uint64_t *offset, uint64_t *address)
{
	uint64_t end = memory->offset + memory->range.len, len;
	unsigned int count = 0;

	while (count < PAGES_AT_ONCE &&
	       (count + 1) * memory->unit <= evictor->page_bytes &&
	       !rwpi_store_next(evictor->store, memory->space, *offset, end,
				offset, &len)) {
		address[count++] =
			*offset - memory->offset + memory->range.start;
		*offset += memory->unit;
	}
	return count;
}

/* Each is back, or was dropped meanwhile, or its place is gone. */
static int bring_back(struct rwp_evictor *evictor, uint64_t *address,
		      unsigned int count, struct rwp_error *err)
{
	int result[PAGES_AT_ONCE];

	for (unsigned int tries = 0; count; tries++) {
		unsigned int again = 0;

		rwpi_bring(evictor, address, result, count);
		for (unsigned int i = 0; i < count; i++) {
			if (result[i] == -EAGAIN || result[i] == -ENOMEM)
				address[again++] = address[i];
			else if (result[i] && result[i] != -ENOENT)
				return rwpi_fail(
					err, result[i],
					"page %#llx of process %d does not come back",
					(unsigned long long)address[i],
					(int)evictor->rwp->pid);
		}
		if (again && tries == TRIES)
			return rwpi_error(
				err, -EAGAIN,
				"page %#llx of process %d does not come back: its layout keeps changing",
				(unsigned long long)address[0],
				(int)evictor->rwp->pid);
		count = again;
		if (count) {
			rwpi_serve(evictor, PENDING_MAX, NULL);
			sched_yield();
		}
	}
	return 0;
}

static int restore_memory(struct restore *restore,
			  const struct evict_memory *memory,
			  struct rwp_error *err)
{
	struct rwp_evictor *evictor = restore->evictor;
	uint64_t address[PAGES_AT_ONCE], offset = memory->offset;
	unsigned int count;
	int ret = 0;

	do {
		rwpi_gate_enter(evictor, false);
		count = next_units(evictor, memory, &offset, address);
		if (count)
			ret = bring_back(evictor, address, count, err);
		rwpi_gate_leave(evictor);
		restore->done += count * memory->unit;
		restore->left -= count * memory->unit > restore->left ?
					 restore->left :
					 count * memory->unit;
		if (!ret && restore->progress &&
		    restore->progress(restore->done, restore->left,
				      restore->arg))
			ret = rwpi_error(err, -ECANCELED,
					 "bringing back process %d was stopped",
					 (int)evictor->rwp->pid);
	} while (count && !ret);
	return ret;
}

static uint64_t stored_bytes(struct rwp_evictor *evictor)
{
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < evictor->memories; i++) {
		const struct evict_memory *memory = &evictor->memory[i];
		uint64_t offset = memory->offset, len;
		uint64_t end = offset + memory->range.len;

		while (!rwpi_store_next(evictor->store, memory->space, offset,
					end, &offset, &len)) {
			bytes += memory->unit;
			offset += memory->unit;
		}
	}
	return bytes;
}

int rwp_evictor_restore(struct rwp_evictor *evictor,
			int (*progress)(uint64_t done, uint64_t left,
					void *arg),
			void *arg, struct rwp_error *err)
{
	struct restore restore = {
		.evictor = evictor,
		.progress = progress,
		.arg = arg,
	};
	int ret = 0;

	pthread_mutex_lock(&evictor->turn);
	restore.left = stored_bytes(evictor);
	for (unsigned int i = 0; i < evictor->memories && !ret; i++)
		ret = restore_memory(&restore, &evictor->memory[i], err);
	pthread_mutex_unlock(&evictor->turn);
	return ret;
}
