// SPDX-License-Identifier: LGPL-2.1-or-later
/* Ages of pages; tracker-set.c follows the mappings. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "tracker.h"

int rwp_tracker_new(struct rwp *rwp, const struct rwp_filter *filter,
		    struct rwp_tracker **out, struct rwp_error *err)
{
	struct rwp_tracker *tracker = calloc(1, sizeof(*tracker));

	if (!tracker)
		return rwpi_fail(err, -ENOMEM, "a tracker for process %d",
				 (int)rwp->pid);
	tracker->rwp = rwp;
	if (filter)
		tracker->filter = *filter;
	*out = tracker;
	return 0;
}

void rwp_tracker_free(struct rwp_tracker *tracker)
{
	if (!tracker)
		return;
	for (size_t i = 0; i < tracker->set.count; i++) {
		struct rwpi_entry *entry = &tracker->set.entry[i];

		/* What has gone meanwhile needs no unregistering. */
		if (!entry->callers)
			rwp_unregister(tracker->rwp,
				       entry->tracked.mapping.range, NULL);
		free(entry->age);
	}
	free(tracker->set.entry);
	free(tracker);
}

/* The update of one mapping, as the scan passes by. */
struct pass {
	struct rwp_tracker *tracker;
	struct rwpi_entry *entry;
	uint64_t next; /* the first page not passed yet */
	struct rwp_range pending; /* accessed, to be armed */
	struct rwp_error *err;
};

/*
 * Only what was seen accessed is armed. All else is armed still, or it has been
 * accessed since the scan looked, and then the next one sees it: nothing falls
 * between two windows.
 */
static int arm_pending(struct pass *pass)
{
	struct rwp_range range = pass->pending;
	int ret;

	if (!range.len)
		return 0;
	pass->pending.len = 0;
	ret = rwp_arm(pass->tracker->rwp, range, pass->err);
	/* The process has changed the mapping: for the next refresh to find. */
	return ret == -ENOENT || ret == -EINVAL ? 0 : ret;
}

static int arm_later(struct pass *pass, struct rwp_range range)
{
	int ret = 0;

	if (pass->pending.len &&
	    pass->pending.start + pass->pending.len == range.start) {
		pass->pending.len += range.len;
		return 0;
	}
	ret = arm_pending(pass);
	pass->pending = range;
	return ret;
}

/* One that was not there before has not been accessed since it was armed. */
static void grow_older(uint8_t *age, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++) {
		if (age[i] == RWP_AGE_NONE)
			age[i] = 1;
		else
			age[i] += age[i] < RWP_AGE_MAX;
	}
}

static int pass_run(const struct rwp_run *run, void *arg)
{
	struct pass *pass = arg;
	struct rwp_tracked *tracked = &pass->entry->tracked;
	uint64_t size = rwpi_page_size();
	uint64_t first =
		(run->range.start - tracked->mapping.range.start) / size;
	uint64_t pages = run->range.len / size;
	uint8_t *age = pass->entry->age;

	memset(age + pass->next, RWP_AGE_NONE, first - pass->next);
	pass->next = first + pages;
	tracked->populated += pages;
	if (!(run->state & RWP_PAGE_ACCESSED)) {
		grow_older(age + first, pages);
		return 0;
	}
	memset(age + first, 0, pages);
	tracked->accessed += pages;
	return arm_later(pass, run->range);
}

static int update_entry(struct rwp_tracker *tracker, struct rwpi_entry *entry,
			struct rwp_error *err)
{
	struct pass pass = { .tracker = tracker, .entry = entry, .err = err };
	struct rwp_tracked *tracked = &entry->tracked;
	int ret;

	tracked->populated = 0;
	tracked->accessed = 0;
	ret = rwp_scan(tracker->rwp, tracked->mapping.range,
		       RWP_PAGE_ACCESSED | RWP_PAGE_PRESENT | RWP_PAGE_SWAPPED,
		       pass_run, &pass, err);
	if (!ret)
		ret = arm_pending(&pass);
	if (ret)
		return ret;
	memset(entry->age + pass.next, RWP_AGE_NONE,
	       tracked->pages - pass.next);
	tracked->windows++;
	return 0;
}

/* A process that is gone has no pages either: it would look empty. */
static int check_alive(const struct rwp *rwp, struct rwp_error *err)
{
	struct pollfd pfd = { .fd = rwp->pidfd, .events = POLLIN };

	if (rwp->pidfd >= 0 && poll(&pfd, 1, 0) > 0)
		return rwpi_error(err, -ESRCH, "process %d has ended",
				  (int)rwp->pid);
	return 0;
}

static void sum_up(struct rwp_tracker *tracker)
{
	struct rwp_tracker_stats *stats = &tracker->stats;

	stats->pages = 0;
	stats->populated = 0;
	stats->accessed = 0;
	stats->mappings = tracker->set.count;
	for (size_t i = 0; i < tracker->set.count; i++) {
		const struct rwp_tracked *tracked =
			&tracker->set.entry[i].tracked;

		stats->pages += tracked->pages;
		stats->populated += tracked->populated;
		stats->accessed += tracked->accessed;
	}
	stats->memory = stats->pages +
			tracker->set.count * sizeof(tracker->set.entry[0]);
}

int rwp_tracker_update(struct rwp_tracker *tracker, struct rwp_error *err)
{
	uint64_t start = rwpi_now();
	int ret = 0;

	for (size_t i = 0; !ret && i < tracker->set.count; i++)
		ret = update_entry(tracker, &tracker->set.entry[i], err);
	if (!ret)
		ret = check_alive(tracker->rwp, err);
	if (ret)
		return ret;
	tracker->stats.window_ns = start - tracker->window_start;
	tracker->window_start = start;
	tracker->stats.update_ns = rwpi_now() - start;
	sum_up(tracker);
	return 0;
}

const struct rwp_tracked *rwp_tracker_get(struct rwp_tracker *tracker,
					  unsigned int index)
{
	return index < tracker->set.count ? &tracker->set.entry[index].tracked :
					    NULL;
}

void rwp_tracker_histogram(const struct rwp_tracker *tracker, uint64_t *count)
{
	memset(count, 0, 256 * sizeof(*count));
	for (size_t i = 0; i < tracker->set.count; i++) {
		const struct rwpi_entry *entry = &tracker->set.entry[i];

		for (uint64_t page = 0; page < entry->tracked.pages; page++)
			count[entry->age[page]]++;
	}
}

void rwp_tracker_stats(const struct rwp_tracker *tracker,
		       struct rwp_tracker_stats *stats)
{
	*stats = tracker->stats;
}
