// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Bringing all pages back. A group of them is read while the one before is filled
 * in; that happens a few at a time: faults go first here too.
 */
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "evict.h"

#define TRIES 10000

/* So much is read ahead, twice. A unit that is larger is read when its turn comes. */
#define AHEAD_BYTES (4ULL << 20)
/* On a ring of its own: no fault waits for what is read ahead. */
#define AHEAD_DEPTH 32

/* Units of a memory that are read together, without the gate. */
struct group {
	struct rwp_evictor *evictor;
	const struct evict_memory *memory;
	struct store_ring *ring;
	struct rwp_store_page *page; /* with room for @max */
	unsigned int count, max;
	char *data;
	/* Of the evictor, as they were before. */
	uint64_t dropped, replaced;
};

struct restore {
	struct rwp_evictor *evictor;
	int (*progress)(uint64_t done, uint64_t left, void *arg);
	void *arg;
	uint64_t done, left; /* bytes */
	struct store_ring ring;
	struct group group[2];
};

/* ---- Reading ----------------------------------------------------------- */

/* The next units of a memory that the store has, from *@offset on. */
static void next_group(struct group *group, uint64_t *offset)
{
	const struct evict_memory *memory = group->memory;
	uint64_t end = memory->offset + memory->range.len, len;

	for (group->count = 0; group->count < group->max; group->count++) {
		if (rwpi_store_next(group->evictor->store, memory->space,
				    *offset, end, offset, &len))
			break;
		group->page[group->count] = (struct rwp_store_page){
			.key = { memory->space, *offset },
			.data = group->data + group->count * memory->unit,
			.len = memory->unit,
		};
		*offset += memory->unit;
	}
}

static void fetch_group(void *arg)
{
	struct group *group = arg;
	struct rwp_evictor *evictor = group->evictor;

	if (!group->count)
		return;
	if (group->memory->unit > AHEAD_BYTES) {
		group->page[0].result = -EAGAIN;
		return;
	}
	rwpi_gate_enter(evictor, false);
	group->dropped = evictor->dropped;
	group->replaced = evictor->replaced;
	rwpi_gate_leave(evictor);
	rwpi_store_fetch_by(evictor->store, group->ring, group->page,
			    group->count, NULL);
}

static void begin_fetch(struct group *group, uint64_t *offset)
{
	struct rwp_evictor *evictor = group->evictor;

	next_group(group, offset);
	if (!evictor->workers ||
	    !rwpi_worker_take(evictor->worker, fetch_group, group))
		fetch_group(group);
}

static void end_fetch(const struct group *group)
{
	if (group->evictor->workers)
		rwpi_worker_wait(group->evictor->worker);
}

/* ---- Filling in -------------------------------------------------------- */

/* Each is back, or was dropped meanwhile, or its place is gone. */
static int bring_back(struct rwp_evictor *evictor, uint64_t *address,
		      unsigned int count, struct rwp_error *err)
{
	int result[RESTORE_AT_ONCE];

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

static uint64_t address_of(const struct group *group, unsigned int n)
{
	return group->page[n].key.offset - group->memory->offset +
	       group->memory->range.start;
}

/*
 * Whether what was read is still right: it was nobody else's to bring back
 * meanwhile, and its owner has not dropped it. With the gate held.
 */
static bool is_right(const struct group *group, unsigned int n)
{
	const struct rwp_evictor *evictor = group->evictor;
	const struct rwp_store_page *page = &group->page[n];

	return !page->result && evictor->replaced == group->replaced &&
	       (evictor->dropped == group->dropped ||
		!rwp_store_has(evictor->store, page->key));
}

/* How many units from @n on are right and lie behind each other. */
static unsigned int right_run(const struct group *group, unsigned int n,
			      unsigned int end)
{
	unsigned int first = n;

	while (n < end && is_right(group, n) &&
	       address_of(group, n) - address_of(group, first) ==
		       (n - first) * group->memory->unit)
		n++;
	return n - first;
}

/* Fill in a run of units; returns how many are there, and not in the store. */
static unsigned int fill_units(const struct group *group, unsigned int n,
			       unsigned int count)
{
	uint64_t unit = group->memory->unit, done;

	rwpi_fill_run(group->evictor, address_of(group, n), group->page[n].data,
		      count * unit, &done);
	if (done / unit)
		rwpi_store_drop_run(group->evictor->store, group->page[n].key,
				    unit, done / unit);
	return done / unit;
}

/* What cannot be filled in as it was read is fetched once more. */
static int fill_some(const struct group *group, unsigned int n,
		     unsigned int end, struct rwp_error *err)
{
	uint64_t address[RESTORE_AT_ONCE];
	unsigned int others = 0, done;
	int ret;

	rwpi_gate_enter(group->evictor, false);
	for (; n < end; n += done) {
		unsigned int count = right_run(group, n, end);

		done = count ? fill_units(group, n, count) : 0;
		if (done < count || !count)
			address[others++] = address_of(group, n + done++);
	}
	ret = bring_back(group->evictor, address, others, err);
	rwpi_gate_leave(group->evictor);
	return ret;
}

static int report(struct restore *restore, uint64_t bytes,
		  struct rwp_error *err)
{
	restore->done += bytes;
	restore->left -= bytes > restore->left ? restore->left : bytes;
	if (restore->progress &&
	    restore->progress(restore->done, restore->left, restore->arg))
		return rwpi_error(err, -ECANCELED,
				  "bringing back process %d was stopped",
				  (int)restore->evictor->rwp->pid);
	return 0;
}

static int fill_group(struct restore *restore, const struct group *group,
		      struct rwp_error *err)
{
	uint64_t unit = group->memory->unit;
	unsigned int step = restore->evictor->page_bytes / unit, n, end;
	int ret = 0;

	if (step > RESTORE_AT_ONCE)
		step = RESTORE_AT_ONCE;
	for (n = 0; n < group->count && !ret; n = end) {
		end = group->count - n > step ? n + step : group->count;
		ret = fill_some(group, n, end, err);
		if (!ret)
			ret = report(restore, (end - n) * unit, err);
	}
	return ret;
}

/* ---- As a whole -------------------------------------------------------- */

static int restore_memory(struct restore *restore,
			  const struct evict_memory *memory,
			  struct rwp_error *err)
{
	struct rwp_evictor *evictor = restore->evictor;
	uint64_t offset = memory->offset;
	struct group *now = &restore->group[0], *next = &restore->group[1];
	int ret = rwpi_need_buffer(&evictor->buffer, &evictor->buffer_bytes,
				   2 * AHEAD_BYTES, err);

	if (ret)
		return ret;
	rwpi_turn_large(evictor, restore->left);
	for (int i = 0; i < 2; i++) {
		struct group *group = &restore->group[i];

		group->memory = memory;
		group->data = evictor->buffer + i * AHEAD_BYTES;
		group->max = memory->unit > AHEAD_BYTES ?
				     1 :
				     AHEAD_BYTES / memory->unit;
	}
	begin_fetch(now, &offset);
	end_fetch(now);
	while (now->count && !ret) {
		struct group *done = now;

		begin_fetch(next, &offset);
		ret = fill_group(restore, now, err);
		end_fetch(next);
		now = next;
		next = done;
	}
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

static int set_up(struct restore *restore, struct rwp_error *err)
{
	struct rwp_evictor *evictor = restore->evictor;
	unsigned int max = AHEAD_BYTES / rwpi_page_size();

	pthread_mutex_init(&restore->ring.lock, NULL);
	for (int i = 0; i < 2; i++) {
		struct group *group = &restore->group[i];

		group->evictor = evictor;
		group->ring = &restore->ring;
		group->page = calloc(max, sizeof(*group->page));
		if (!group->page)
			return rwpi_fail(err, -ENOMEM, "bringing back");
	}
	return rwpi_ring_init(&restore->ring, AHEAD_DEPTH, evictor->store->data,
			      err);
}

static void clean_up(struct restore *restore)
{
	rwpi_ring_exit(&restore->ring);
	pthread_mutex_destroy(&restore->ring.lock);
	for (int i = 0; i < 2; i++)
		free(restore->group[i].page);
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
	int ret;

	pthread_mutex_lock(&evictor->turn);
	restore.left = stored_bytes(evictor);
	ret = set_up(&restore, err);
	for (unsigned int i = 0; i < evictor->memories && !ret; i++)
		ret = restore_memory(&restore, &evictor->memory[i], err);
	rwpi_turn_over(evictor);
	clean_up(&restore);
	pthread_mutex_unlock(&evictor->turn);
	return ret;
}
