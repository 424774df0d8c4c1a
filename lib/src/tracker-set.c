// SPDX-License-Identifier: LGPL-2.1-or-later
/* Which mappings a tracker follows. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "tracker.h"

/*
 * A mapping that is larger is address space set aside, not memory: the shadow
 * of a sanitizer for one. Its ages alone would take hundreds of megabytes.
 */
#define MAX_SIZE (1ULL << 40)

static uint64_t end_of(const struct rwp_range *range)
{
	return range->start + range->len;
}

static int make_room(struct rwpi_set *set)
{
	size_t room = set->room ? 2 * set->room : 64;
	struct rwpi_entry *entry;

	if (set->count < set->room)
		return 0;
	entry = realloc(set->entry, room * sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	set->entry = entry;
	set->room = room;
	return 0;
}

/* Append an entry whose pages have no age yet. */
static struct rwpi_entry *append(struct rwpi_set *set,
				 const struct rwp_mapping *mapping)
{
	uint64_t pages = mapping->range.len / rwpi_page_size();
	struct rwpi_entry *entry;
	uint8_t *age;

	if (make_room(set))
		return NULL;
	age = malloc(pages);
	if (!age)
		return NULL;
	memset(age, RWP_AGE_NONE, pages);
	entry = &set->entry[set->count++];
	*entry = (struct rwpi_entry){
		.tracked = { .mapping = *mapping, .age = age, .pages = pages },
		.age = age,
	};
	return entry;
}

static void free_set(struct rwpi_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		free(set->entry[i].age);
	free(set->entry);
}

/* One refresh: the old set is read in step with the mappings. */
struct refresh {
	struct rwp_tracker *tracker;
	struct rwpi_set set; /* the new one */
	size_t old; /* the first entry of the old set that may matter still */
	unsigned int added, refused, kept;
	struct rwp_error *err;
};

static bool is_wanted(const struct rwp_filter *filter,
		      const struct rwp_mapping *mapping)
{
	enum rwp_kind kind = mapping->kind;

	if (mapping->range.len < filter->min_size ||
	    (filter->max_size && mapping->range.len > filter->max_size))
		return false;
	/* Some tmpfs is not known as such before it is registered. */
	if (kind == RWP_KIND_FILE)
		kind = RWP_KIND_SHMEM;
	return !filter->kinds || filter->kinds & 1U << kind;
}

/* Those that cannot be registered whatever happens need not be tried. */
static bool is_memory(const struct rwp_mapping *mapping)
{
	return mapping->kind != RWP_KIND_SPECIAL &&
	       mapping->range.len <= MAX_SIZE &&
	       (mapping->readable || mapping->writable || mapping->executable);
}

/* The ages of those pages of @from that are in @to as well. */
static void copy_ages(struct rwpi_entry *to, const struct rwpi_entry *from)
{
	const struct rwp_range *a = &to->tracked.mapping.range;
	const struct rwp_range *b = &from->tracked.mapping.range;
	uint64_t start = a->start > b->start ? a->start : b->start;
	uint64_t end = end_of(a) < end_of(b) ? end_of(a) : end_of(b);
	uint64_t size = rwpi_page_size();

	memcpy(to->age + (start - a->start) / size,
	       from->age + (start - b->start) / size, (end - start) / size);
	if (to->tracked.windows < from->tracked.windows)
		to->tracked.windows = from->tracked.windows;
}

static bool overlap(const struct rwp_range *a, const struct rwp_range *b)
{
	return a->start < end_of(b) && b->start < end_of(a);
}

/* Take over what is known of the pages. Returns whether anything was. */
static bool inherit(struct refresh *refresh, struct rwpi_entry *entry)
{
	const struct rwpi_set *old = &refresh->tracker->set;
	const struct rwp_range *range = &entry->tracked.mapping.range;
	bool found = false;

	while (refresh->old < old->count &&
	       end_of(&old->entry[refresh->old].tracked.mapping.range) <=
		       range->start)
		refresh->old++;
	for (size_t i = refresh->old; i < old->count; i++) {
		const struct rwpi_entry *from = &old->entry[i];

		if (!overlap(range, &from->tracked.mapping.range))
			break;
		copy_ages(entry, from);
		found = true;
	}
	return found;
}

/*
 * Mappings are registered again each time, which costs next to nothing where
 * nothing has changed: one that was replaced by another at the same address
 * cannot be told otherwise, and its pages would look cold for ever.
 */
static int follow(const struct rwp_mapping *mapping, void *arg)
{
	struct refresh *refresh = arg;
	struct rwp_tracker *tracker = refresh->tracker;
	struct rwpi_entry *entry;
	int ret;

	if (!is_memory(mapping) || !is_wanted(&tracker->filter, mapping))
		return 0;
	ret = rwp_register(tracker->rwp, mapping->range, 0, refresh->err);
	/*
	 * What has just appeared was touched in this window, and its pages
	 * count as accessed as they are. At the beginning nothing is known.
	 */
	if (!ret && !tracker->window_start)
		ret = rwp_arm(tracker->rwp, mapping->range, refresh->err);
	if (ret == -ESRCH || ret == -EAGAIN || ret == -EINTR)
		return ret;
	if (ret) {
		refresh->refused += mapping->kind != RWP_KIND_FILE;
		return 0;
	}
	entry = append(&refresh->set, mapping);
	if (!entry)
		return rwpi_fail(refresh->err, -ENOMEM,
				 "the ages of %#llx-%#llx of process %d",
				 (unsigned long long)mapping->range.start,
				 (unsigned long long)end_of(&mapping->range),
				 (int)tracker->rwp->pid);
	if (mapping->kind == RWP_KIND_FILE)
		entry->tracked.mapping.kind = RWP_KIND_SHMEM;
	if (inherit(refresh, entry))
		refresh->kept++;
	else
		refresh->added++;
	return 0;
}

int rwp_tracker_refresh(struct rwp_tracker *tracker, struct rwp_error *err)
{
	struct refresh refresh = { .tracker = tracker, .err = err };
	int ret;

	ret = rwpi_walk_mappings(tracker->rwp->maps, tracker->rwp->pid, follow,
				 &refresh, err);
	if (ret) {
		free_set(&refresh.set);
		return ret;
	}
	tracker->stats.added = refresh.added;
	tracker->stats.removed = tracker->set.count > refresh.kept ?
					 tracker->set.count - refresh.kept :
					 0;
	tracker->stats.refused = refresh.refused;
	free_set(&tracker->set);
	tracker->set = refresh.set;
	tracker->stats.mappings = refresh.set.count;
	if (!tracker->window_start)
		tracker->window_start = rwpi_now();
	return 0;
}

static int find_mapping(const struct rwp_mapping *mapping, void *arg)
{
	struct rwp_mapping *wanted = arg;
	struct rwp_range range = wanted->range;

	if (!overlap(&mapping->range, &range))
		return 0;
	*wanted = *mapping;
	wanted->range = range;
	return 1;
}

/* Keep the entries in order; the one to move stands at the end. */
static void move_into_place(struct rwpi_set *set)
{
	struct rwpi_entry last = set->entry[set->count - 1];
	size_t at = set->count - 1;

	while (at && set->entry[at - 1].tracked.mapping.range.start >
			     last.tracked.mapping.range.start) {
		set->entry[at] = set->entry[at - 1];
		at--;
	}
	set->entry[at] = last;
}

int rwp_tracker_add(struct rwp_tracker *tracker, struct rwp_range range,
		    struct rwp_error *err)
{
	struct rwp_mapping mapping = { .range = range };
	struct rwpi_entry *entry;
	int ret = rwpi_check_range(range, err);

	if (ret)
		return ret;
	for (size_t i = 0; i < tracker->set.count; i++)
		if (overlap(&range,
			    &tracker->set.entry[i].tracked.mapping.range))
			return rwpi_error(
				err, -EEXIST,
				"a part of %#llx-%#llx is tracked already",
				(unsigned long long)range.start,
				(unsigned long long)end_of(&range));
	ret = rwpi_walk_mappings(tracker->rwp->maps, tracker->rwp->pid,
				 find_mapping, &mapping, err);
	if (ret >= 0)
		ret = rwp_arm(tracker->rwp, range, err);
	if (ret < 0)
		return ret;
	entry = append(&tracker->set, &mapping);
	if (!entry)
		return rwpi_fail(err, -ENOMEM, "the ages of %llu bytes",
				 (unsigned long long)range.len);
	entry->callers = true;
	move_into_place(&tracker->set);
	if (!tracker->window_start)
		tracker->window_start = rwpi_now();
	return 0;
}
