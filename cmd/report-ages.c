// SPDX-License-Identifier: GPL-2.0
#include <stdlib.h>
#include <string.h>

#include "report.h"

/* The pages of one mapping: when each was last touched, or that it is absent. */
struct area {
	uint64_t first, pages;
	uint64_t *touched;
};

#define ABSENT UINT64_MAX

struct ages {
	struct area *area;
	size_t areas;
	uint64_t end; /* of the last window */
};

struct ages *ages_new(void)
{
	return calloc(1, sizeof(struct ages));
}

static void free_areas(struct area *area, size_t areas)
{
	for (size_t i = 0; i < areas; i++)
		free(area[i].touched);
	free(area);
}

void ages_free(struct ages *ages)
{
	if (!ages)
		return;
	free_areas(ages->area, ages->areas);
	free(ages);
}

static void set_run(struct area *area, uint64_t at,
		    const struct recorded_run *run, uint64_t now)
{
	for (uint64_t i = at; i < at + run->pages; i++) {
		if (run->state == PAGE_TOUCHED)
			area->touched[i] = now;
		else if (run->state == PAGE_ABSENT)
			area->touched[i] = ABSENT;
		else if (area->touched[i] == ABSENT)
			/* There without a touch: since before the recording. */
			area->touched[i] = 0;
	}
}

/* What was known of the pages of @to, wherever the mappings began and ended. */
static void inherit(const struct ages *ages, struct area *to, size_t *from)
{
	uint64_t end = to->first + to->pages;

	while (*from < ages->areas &&
	       ages->area[*from].first + ages->area[*from].pages <= to->first)
		++*from;
	for (size_t i = *from; i < ages->areas && ages->area[i].first < end;
	     i++) {
		const struct area *area = &ages->area[i];
		uint64_t first = area->first > to->first ? area->first :
							   to->first;
		uint64_t after = area->first + area->pages;

		if (after > end)
			after = end;
		memcpy(to->touched + (first - to->first),
		       area->touched + (first - area->first),
		       (after - first) * sizeof(*to->touched));
	}
}

static bool add_area(const struct ages *ages, struct area *area, size_t *from,
		     const struct recorded_mapping *mapping, uint64_t now)
{
	uint64_t at = 0;

	area->first = mapping->first;
	area->pages = mapping->pages;
	area->touched = malloc(mapping->pages * sizeof(*area->touched));
	if (!area->touched)
		return false;
	memset(area->touched, 0xff, mapping->pages * sizeof(*area->touched));
	inherit(ages, area, from);
	for (size_t i = 0; i < mapping->runs; i++) {
		set_run(area, at, &mapping->run[i], now);
		at += mapping->run[i].pages;
	}
	return true;
}

bool ages_add(struct ages *ages, const struct recorded_window *window)
{
	struct area *area = calloc(window->mappings + 1, sizeof(*area));
	size_t areas = 0, from = 0;

	if (!area)
		return false;
	for (; areas < window->mappings; areas++) {
		if (add_area(ages, &area[areas], &from, &window->mapping[areas],
			     window->end))
			continue;
		free_areas(area, areas);
		return false;
	}
	free_areas(ages->area, ages->areas);
	ages->area = area;
	ages->areas = areas;
	ages->end = window->end;
	return true;
}

uint64_t ages_count(const struct ages *ages, uint64_t from, uint64_t to)
{
	uint64_t count = 0;

	for (size_t i = 0; i < ages->areas; i++) {
		const struct area *area = &ages->area[i];

		for (uint64_t page = 0; page < area->pages; page++) {
			uint64_t age = ages->end - area->touched[page];

			count += area->touched[page] != ABSENT && age >= from &&
				 age < to;
		}
	}
	return count;
}
