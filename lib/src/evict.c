// SPDX-License-Identifier: LGPL-2.1-or-later
/* Evicting: choosing what is cold, window by window, and the mode meanwhile. */
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "evict.h"

/* At most this much is looked at while faults have to wait. */
#define WINDOW (64ULL << 20)
/* Calls for less than this would cost more than the scan. */
#define SCAN_MIN (256ULL << 10)

/* ---- The mode ---------------------------------------------------------- */

int rwpi_evict_mode(struct rwp_evictor *evictor, enum rwp_mode mode,
		    struct rwp_error *err)
{
	int ret;

	/* Under an event that was not read yet: read it. */
	while ((ret = rwp_set_mode(evictor->rwp, mode, err)) == -EAGAIN) {
		ret = rwpi_serve(evictor, PENDING_MAX, err);
		if (ret < 0)
			return ret;
		sched_yield();
	}
	return ret;
}

int rwpi_evict_sync(struct rwp_evictor *evictor, struct rwp_error *err)
{
	evictor->sync_since = rwpi_now();
	return rwpi_evict_mode(evictor, RWP_SYNC, err);
}

int rwpi_evict_async(struct rwp_evictor *evictor, struct rwp_error *err)
{
	struct rwp_evict_stats *stats = &evictor->stats;
	int ret = rwpi_evict_mode(evictor, RWP_ASYNC, err);
	uint64_t took = rwpi_now() - evictor->sync_since;

	stats->sync_ns += took;
	if (took > stats->sync_max_ns)
		stats->sync_max_ns = took;
	return ret;
}

/* ---- Choosing ---------------------------------------------------------- */

/* A unit is chosen when cold pages have covered it from its first byte. */
struct chooser {
	struct evict_batch *batch;
	uint64_t cold_from, cold_to; /* what hangs together so far */
	unsigned int max;
	bool count_only;
};

static void choose_covered(struct chooser *chooser, uint64_t from, uint64_t to)
{
	struct evict_batch *batch = chooser->batch;
	uint64_t unit = batch->memory->unit;
	uint64_t first = (from - batch->start + unit - 1) / unit;

	for (; batch->start + (first + 1) * unit <= to; first++) {
		if (batch->count == chooser->max)
			return;
		if (!chooser->count_only) {
			batch->unit[batch->count] = first;
			batch->flags[first] = UNIT_CHOSEN;
		}
		batch->count++;
	}
}

static int choose_run(const struct rwp_run *run, void *arg)
{
	struct chooser *chooser = arg;
	uint64_t end = run->range.start + run->range.len;

	/* Accessed: not armed any more. */
	if (run->state & RWP_PAGE_ACCESSED)
		return 0;
	if (run->range.start == chooser->cold_to) {
		chooser->cold_to = end;
		return 0;
	}
	choose_covered(chooser, chooser->cold_from, chooser->cold_to);
	chooser->cold_from = run->range.start;
	chooser->cold_to = end;
	return chooser->batch->count == chooser->max;
}

/* What is to be evicted of a memory: ranges by rising address. */
struct wanted {
	const struct rwp_range *range;
	unsigned int count;
};

/* The part of @range that lies within @start and @end, in whole units. */
static bool clip(const struct evict_memory *memory, struct rwp_range range,
		 uint64_t *start, uint64_t *end)
{
	uint64_t to = range.start + range.len;

	if (range.start > *start)
		*start = range.start;
	if (to < *end)
		*end = to;
	if (*start >= *end)
		return false;
	*start = (*start + memory->unit - 1) & ~(memory->unit - 1);
	*end &= ~(memory->unit - 1);
	return *start < *end;
}

/* What was scanned has no unit any more that was not chosen. */
static void choose_so_far(struct chooser *chooser)
{
	const struct evict_batch *batch = chooser->batch;
	uint64_t whole = chooser->cold_to - (chooser->cold_to - batch->start) %
						    batch->memory->unit;

	choose_covered(chooser, chooser->cold_from, chooser->cold_to);
	if (whole > chooser->cold_from)
		chooser->cold_from = whole;
}

/*
 * No further than there is need for: a scan takes time for what lies behind that
 * too. But by longer and longer steps where little is cold.
 */
static int choose_range(struct rwp_evictor *evictor, struct chooser *chooser,
			struct rwp_range range, struct rwp_error *err)
{
	uint64_t unit = chooser->batch->memory->unit, step = SCAN_MIN;

	chooser->cold_from = 0;
	chooser->cold_to = 0;
	while (range.len && chooser->batch->count < chooser->max) {
		uint64_t wanted = chooser->max - chooser->batch->count;
		struct rwp_range part = range;
		int ret;

		if (step < wanted * unit)
			step = wanted * unit;
		if (part.len > step)
			part.len = step;
		ret = rwp_scan(evictor->rwp, part,
			       RWP_PAGE_PRESENT | RWP_PAGE_SWAPPED, choose_run,
			       chooser, err);
		if (ret < 0)
			return ret;
		if (chooser->cold_to)
			choose_so_far(chooser);
		range.start += part.len;
		range.len -= part.len;
		step *= 2;
	}
	return 0;
}

/* Choose up to @max units of the window, or only count them. */
static int choose(struct rwp_evictor *evictor, const struct wanted *wanted,
		  unsigned int max, bool count_only, struct rwp_error *err)
{
	struct evict_batch *batch = &evictor->batch;
	struct chooser chooser = {
		.batch = batch,
		.max = max,
		.count_only = count_only,
	};

	batch->count = 0;
	for (unsigned int i = 0; i < wanted->count && batch->count < max; i++) {
		uint64_t start = batch->start, end = start + batch->len;
		int ret;

		if (wanted->range[i].start >= end)
			break;
		if (!clip(batch->memory, wanted->range[i], &start, &end))
			continue;
		ret = choose_range(evictor, &chooser,
				   (struct rwp_range){ start, end - start },
				   err);
		if (ret)
			return ret;
	}
	return 0;
}

/* Room for the flags of the window and the numbers of a batch. */
static int batch_room(struct rwp_evictor *evictor,
		      const struct evict_memory *memory, struct rwp_error *err)
{
	struct evict_batch *batch = &evictor->batch;
	/* Anonymous memory is away from its place all the while. */
	unsigned int pages = memory->fd < 0 ? 512 : 2048;
	uint64_t bytes =
		(evictor->options.batch ? evictor->options.batch : pages) *
		rwpi_page_size();
	uint64_t units =
		(WINDOW > memory->unit ? WINDOW : memory->unit) / memory->unit;
	unsigned int max = bytes > memory->unit ? bytes / memory->unit : 1;
	void *flags, *unit;

	flags = realloc((void *)batch->flags, units);
	if (flags)
		batch->flags = flags;
	unit = realloc(batch->unit, max * sizeof(*batch->unit));
	if (unit)
		batch->unit = unit;
	if (!flags || !unit)
		return rwpi_fail(err, -ENOMEM, "a batch of %u pages", max);
	batch->max = max;
	batch->room = units;
	if (memory->fd >= 0)
		return rwpi_need_buffer(&evictor->buffer,
					&evictor->buffer_bytes,
					max * memory->unit, err);
	return rwpi_need_buffer(&evictor->staging, &evictor->staging_bytes,
				max * memory->unit, err);
}

int rwpi_batch_save(struct rwp_evictor *evictor, unsigned int first,
		    unsigned int count, char *data,
		    const struct rwpi_save_hooks *hooks, struct rwp_error *err)
{
	struct evict_batch *batch = &evictor->batch;
	struct rwp_store_page *page = calloc(count, sizeof(*page));
	int ret;

	if (!page)
		return rwpi_fail(err, -ENOMEM, "a batch of %u pages", count);
	for (unsigned int i = 0; i < count; i++) {
		page[i].key = rwpi_unit_key(
			batch->memory, rwpi_batch_address(batch, first + i));
		page[i].data = data + i * batch->memory->unit;
		page[i].len = batch->memory->unit;
	}
	ret = rwpi_store_save_with(evictor->store, page, count, hooks, err);
	for (unsigned int i = 0; i < count && ret; i++)
		if (page[i].result)
			batch->flags[batch->unit[first + i]] |= UNIT_FAILED;
	free(page);
	return ret;
}

void rwpi_batch_end(struct rwp_evictor *evictor)
{
	struct evict_batch *batch = &evictor->batch;

	for (unsigned int i = 0; i < batch->count; i++) {
		uint8_t flags = batch->flags[batch->unit[i]];
		uint64_t address = rwpi_batch_address(batch, i);

		evictor->stats.touched += !!(flags & UNIT_TOUCHED);
		evictor->stats.failed += !!(flags & UNIT_FAILED);
		if (flags & (UNIT_TOUCHED | UNIT_FAILED))
			rwp_store_drop(evictor->store,
				       rwpi_unit_key(batch->memory, address),
				       NULL);
		else
			evictor->stats.evicted++;
	}
	batch->memory = NULL;
}

/* ---- Windows ----------------------------------------------------------- */

/*
 * Is there anything to be had? Without disturbing anybody. 1 means yes; a dry run
 * counts all there is, and goes no further.
 */
static int look_first(struct rwp_evictor *evictor, const struct wanted *wanted,
		      struct rwp_error *err)
{
	struct evict_batch *batch = &evictor->batch;
	bool dry_run = evictor->options.dry_run;
	int ret = choose(evictor, wanted, dry_run ? UINT_MAX : 1, true, err);

	if (ret || !batch->count)
		return ret;
	if (!dry_run)
		return 1;
	evictor->stats.asked += batch->count;
	return 0;
}

/* Sync first; what is still armed after that is ours. */
static int begin(struct rwp_evictor *evictor, const struct wanted *wanted,
		 struct rwp_error *err)
{
	struct evict_batch *batch = &evictor->batch;
	int ret = rwpi_evict_sync(evictor, err);

	if (ret)
		return ret;
	memset((void *)batch->flags, 0, batch->len / batch->memory->unit);
	ret = choose(evictor, wanted, batch->max, false, err);
	if (!ret && batch->count) {
		evictor->stats.asked += batch->count;
		return 0;
	}
	batch->memory = NULL;
	rwpi_evict_async(evictor, NULL);
	return ret ? ret : -ENOENT;
}

/*
 * Evict the first units of a window that begins at @start. All that is wanted in
 * it takes one switch of the mode. @next is where the next window may begin.
 */
static int64_t window(struct rwp_evictor *evictor, struct evict_memory *memory,
		      const struct wanted *wanted, uint64_t start,
		      uint64_t *next, struct rwp_error *err)
{
	struct evict_batch *batch = &evictor->batch;
	uint64_t left = memory->range.start + memory->range.len - start;
	uint64_t len = batch->room * memory->unit;
	int ret;

	batch->start = start;
	batch->len = left < len ? left : len;
	*next = start + batch->len;

	rwpi_gate_enter(evictor, false);
	batch->memory = memory;
	ret = look_first(evictor, wanted, err);
	if (ret > 0)
		ret = begin(evictor, wanted, err);
	else
		batch->count = 0;
	if (ret || !batch->count) {
		batch->memory = NULL;
		rwpi_gate_leave(evictor);
		return ret == -ENOENT ? 0 : ret;
	}
	if (batch->count == batch->max)
		*next = rwpi_batch_address(batch, batch->count - 1) +
			memory->unit;
	/* Either gives the gate back. */
	return memory->fd < 0 ? rwpi_evict_anon(evictor, err) :
				rwpi_evict_shared(evictor, err);
}

/* Wait until @bytes more are within the limit; never in sync mode. */
static void pace(const struct rwp_evictor *evictor, uint64_t since,
		 uint64_t bytes)
{
	uint64_t limit = evictor->options.bytes_per_second;
	uint64_t due, now = rwpi_now();
	struct timespec pause;

	if (!limit)
		return;
	due = since + (unsigned __int128)bytes * NSEC_PER_SEC / limit;
	if (due <= now)
		return;
	pause.tv_sec = (due - now) / NSEC_PER_SEC;
	pause.tv_nsec = (due - now) % NSEC_PER_SEC;
	nanosleep(&pause, NULL);
}

/* The ranges by rising address that lie in one memory, window by window. */
static int64_t evict_memory(struct rwp_evictor *evictor,
			    struct evict_memory *memory, struct wanted wanted,
			    struct rwp_error *err)
{
	uint64_t since = rwpi_now(), bytes = 0, next = memory->range.start;
	int64_t got = batch_room(evictor, memory, err), evicted = 0;

	while (got >= 0 && wanted.count) {
		uint64_t start = next;
		uint64_t end = memory->range.start + memory->range.len;

		if (!clip(memory, wanted.range[0], &start, &end)) {
			wanted.range++;
			wanted.count--;
			continue;
		}
		got = window(evictor, memory, &wanted, start, &next, err);
		if (got < 0)
			return got;
		evicted += got;
		bytes += got * memory->unit;
		pace(evictor, since, bytes);
	}
	return got < 0 ? got : evicted;
}

static int64_t evict_rising(struct rwp_evictor *evictor, struct wanted wanted,
			    struct rwp_error *err)
{
	int64_t evicted = 0;

	for (unsigned int i = 0; i < evictor->memories; i++) {
		int64_t got =
			evict_memory(evictor, &evictor->memory[i], wanted, err);

		if (got < 0)
			return got;
		evicted += got;
	}
	return evicted;
}

/* How many ranges from the first on rise and do not overlap. */
static int64_t count_rising(struct wanted wanted, struct rwp_error *err)
{
	uint64_t end = 0;

	for (unsigned int i = 0; i < wanted.count; i++) {
		int ret = rwpi_check_range(wanted.range[i], err);

		if (ret)
			return i ? (int64_t)i : ret;
		if (wanted.range[i].start < end)
			return i;
		end = wanted.range[i].start + wanted.range[i].len;
	}
	return wanted.count;
}

int64_t rwp_evict(struct rwp_evictor *evictor, const struct rwp_range *range,
		  unsigned int count, struct rwp_error *err)
{
	struct wanted wanted = { range, count };
	int64_t evicted = 0;

	pthread_mutex_lock(&evictor->turn);
	while (wanted.count) {
		int64_t rising = count_rising(wanted, err), got = rising;

		if (rising >= 0)
			got = evict_rising(
				evictor,
				(struct wanted){ wanted.range, rising }, err);
		if (got < 0) {
			evictor->stats.last_error = got;
			evicted = got;
			break;
		}
		evicted += got;
		wanted.range += rising;
		wanted.count -= rising;
	}
	rwpi_turn_over(evictor);
	pthread_mutex_unlock(&evictor->turn);
	return evicted;
}
