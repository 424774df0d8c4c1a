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

/* Choose up to @max units of the window, or only count them. */
static int choose(struct rwp_evictor *evictor, unsigned int max,
		  bool count_only, struct rwp_error *err)
{
	struct evict_batch *batch = &evictor->batch;
	struct rwp_range window = { batch->start, batch->len };
	struct chooser chooser = {
		.batch = batch,
		.max = max,
		.count_only = count_only,
	};
	int ret;

	batch->count = 0;
	ret = rwp_scan(evictor->rwp, window,
		       RWP_PAGE_PRESENT | RWP_PAGE_SWAPPED, choose_run,
		       &chooser, err);
	if (ret < 0)
		return ret;
	choose_covered(&chooser, chooser.cold_from, chooser.cold_to);
	return 0;
}

/* Room for the flags of the window and the numbers of a batch. */
static int batch_room(struct rwp_evictor *evictor,
		      const struct evict_memory *memory, struct rwp_error *err)
{
	struct evict_batch *batch = &evictor->batch;
	uint64_t bytes = evictor->options.batch * rwpi_page_size();
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
	return rwpi_need_buffer(&evictor->buffer, &evictor->buffer_bytes,
				max * memory->unit, err);
}

struct rwp_range rwpi_batch_run(const struct evict_batch *batch,
				unsigned int first, unsigned int *count,
				bool clean)
{
	unsigned int end = first;

	while (end < batch->count &&
	       batch->unit[end] == batch->unit[first] + (end - first) &&
	       (!clean || batch->flags[batch->unit[end]] == UNIT_CHOSEN))
		end++;
	*count = end - first;
	return (struct rwp_range){
		.start = rwpi_batch_address(batch, first),
		.len = (end - first) * batch->memory->unit,
	};
}

int rwpi_batch_save(struct rwp_evictor *evictor, unsigned int first,
		    unsigned int count, char *data, struct rwp_error *err)
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
	ret = rwp_store_save(evictor->store, page, count, err);
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
	batch->claimed = false;
}

/* ---- Windows ----------------------------------------------------------- */

/*
 * Is there anything to be had? Without disturbing anybody. 1 means yes; a dry run
 * counts all there is, and goes no further.
 */
static int look_first(struct rwp_evictor *evictor, struct rwp_error *err)
{
	struct evict_batch *batch = &evictor->batch;
	bool dry_run = evictor->options.dry_run;
	int ret = choose(evictor, dry_run ? UINT_MAX : 1, true, err);

	if (ret || !batch->count)
		return ret;
	if (!dry_run)
		return 1;
	evictor->stats.asked += batch->count;
	return 0;
}

/* Sync first; what is still armed after that is ours. */
static int begin(struct rwp_evictor *evictor, struct rwp_error *err)
{
	struct evict_batch *batch = &evictor->batch;
	int ret = rwpi_evict_sync(evictor, err);

	if (ret)
		return ret;
	memset((void *)batch->flags, 0, batch->len / batch->memory->unit);
	ret = choose(evictor, batch->max, false, err);
	if (!ret && batch->count) {
		evictor->stats.asked += batch->count;
		return 0;
	}
	batch->memory = NULL;
	rwpi_evict_async(evictor, NULL);
	return ret ? ret : -ENOENT;
}

/* Evict the first units of a window. @next is where the next one begins. */
static int64_t window(struct rwp_evictor *evictor, struct evict_memory *memory,
		      uint64_t start, uint64_t end, uint64_t *next,
		      struct rwp_error *err)
{
	struct evict_batch *batch = &evictor->batch;
	uint64_t len = batch->room * memory->unit;
	int ret;

	batch->start = start;
	batch->len = end - start < len ? end - start : len;
	*next = start + batch->len;

	rwpi_gate_enter(evictor, false);
	batch->memory = memory;
	ret = look_first(evictor, err);
	if (ret > 0)
		ret = begin(evictor, err);
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

/* The part of @range that lies in @memory, in whole units. */
static bool clip(const struct evict_memory *memory, struct rwp_range range,
		 uint64_t *start, uint64_t *end)
{
	uint64_t to = range.start + range.len;
	uint64_t memory_end = memory->range.start + memory->range.len;

	*start = range.start > memory->range.start ? range.start :
						     memory->range.start;
	*end = to < memory_end ? to : memory_end;
	if (*start >= *end)
		return false;
	*start = (*start + memory->unit - 1) & ~(memory->unit - 1);
	*end &= ~(memory->unit - 1);
	return *start < *end;
}

static int64_t evict_range(struct rwp_evictor *evictor, struct rwp_range range,
			   struct rwp_error *err)
{
	uint64_t since = rwpi_now(), bytes = 0, start, end;
	int64_t evicted = 0;

	for (unsigned int i = 0; i < evictor->memories; i++) {
		struct evict_memory *memory = &evictor->memory[i];
		int64_t got;

		if (!clip(memory, range, &start, &end))
			continue;
		got = batch_room(evictor, memory, err);
		while (got >= 0 && start < end) {
			got = window(evictor, memory, start, end, &start, err);
			if (got < 0)
				break;
			evicted += got;
			bytes += got * memory->unit;
			pace(evictor, since, bytes);
		}
		if (got < 0)
			return got;
	}
	return evicted;
}

int64_t rwp_evict(struct rwp_evictor *evictor, const struct rwp_range *range,
		  unsigned int count, struct rwp_error *err)
{
	int64_t evicted = 0;

	pthread_mutex_lock(&evictor->turn);
	for (unsigned int i = 0; i < count; i++) {
		int64_t got = rwpi_check_range(range[i], err);

		if (!got)
			got = evict_range(evictor, range[i], err);
		if (got < 0) {
			evictor->stats.last_error = got;
			evicted = got;
			break;
		}
		evicted += got;
	}
	pthread_mutex_unlock(&evictor->turn);
	return evicted;
}
