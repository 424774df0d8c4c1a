// SPDX-License-Identifier: GPL-2.0
/* Evicting what the rule says. */
#include "serve-evict.h"

#include <unistd.h>

#include "serve-machine.h"

/* So that a request to stop is soon heard. */
#define RANGES 512
#define PAGES_AT_ONCE 16384

/* Pages that are to go, as runs, until there are enough for one call. */
struct chosen {
	struct rwp_range range[RANGES];
	unsigned int count;
	uint64_t pages;
};

static bool wanted(struct evict_rule *rule, uint8_t age)
{
	if (age == RWP_AGE_NONE)
		return false;
	if (age >= rule->older)
		return true;
	if (age != rule->some_of || !rule->some)
		return false;
	rule->some--;
	return true;
}

static void add_page(struct chosen *chosen, uint64_t start, uint64_t size)
{
	struct rwp_range *last = &chosen->range[chosen->count - 1];

	chosen->pages++;
	if (chosen->count && last->start + last->len == start) {
		last->len += size;
		return;
	}
	chosen->range[chosen->count++] = (struct rwp_range){ start, size };
}

static int64_t evict_chosen(struct machine *machine, struct chosen *chosen,
			    struct rwp_error *err)
{
	int64_t got = 0;

	if (chosen->count)
		got = rwp_evict(machine->evictor, chosen->range, chosen->count,
				err);
	chosen->count = 0;
	chosen->pages = 0;
	return got;
}

static int64_t evict_mapping(struct machine *machine,
			     const struct rwp_tracked *tracked,
			     struct evict_rule *rule, struct rwp_error *err)
{
	uint64_t size = sysconf(_SC_PAGESIZE);
	uint64_t base = tracked->mapping.range.start;
	struct chosen chosen = { .count = 0 };
	int64_t evicted = 0, got;

	for (uint64_t page = 0; page < tracked->pages; page++) {
		if (wanted(rule, tracked->age[page]))
			add_page(&chosen, base + page * size, size);
		if (chosen.count < RANGES && chosen.pages < PAGES_AT_ONCE)
			continue;
		got = evict_chosen(machine, &chosen, err);
		if (got < 0)
			return got;
		evicted += got;
		if (atomic_load(&machine->stop) || atomic_load(&machine->gone))
			return evicted;
	}
	got = evict_chosen(machine, &chosen, err);
	return got < 0 ? got : evicted + got;
}

static uint64_t target_pages(const struct serve_options *options,
			     const struct rwp_tracker_stats *stats)
{
	if (options->target_percent)
		return stats->pages * options->target_percent / 100;
	return options->target / sysconf(_SC_PAGESIZE);
}

int64_t evict_cold(struct machine *machine, struct rwp_error *err)
{
	const struct serve_options *options = machine->worker->options;
	uint64_t windows = (options->age + options->interval - 1) /
			   options->interval;
	const struct rwp_tracked *tracked;
	struct rwp_tracker_stats stats;
	struct evict_rule rule;
	uint64_t count[256];
	int64_t evicted = 0;

	rwp_tracker_stats(machine->tracker, &stats);
	rwp_tracker_histogram(machine->tracker, count);
	rule = evict_rule(count, windows, target_pages(options, &stats));
	for (unsigned int i = 0;
	     (tracked = rwp_tracker_get(machine->tracker, i)); i++) {
		int64_t got = evict_mapping(machine, tracked, &rule, err);

		if (got < 0)
			return got;
		evicted += got;
	}
	return evicted;
}
