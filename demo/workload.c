// SPDX-License-Identifier: GPL-2.0
/*
 * Four shapes of a hot set, one for each vCPU, in a quarter of memory each.
 * With every window the shapes move on to the next quarter.
 */
#include "util.h"
#include "workload.h"

struct area {
	uint32_t first;
	uint32_t pages;
	uint64_t *random;
};

static void add(struct walk *walk, const struct area *area, uint32_t offset)
{
	struct access *access = &walk->access[walk->count++];

	access->page = area->first + offset;
	access->write = random_below(area->random, 3) == 0;
}

/* Contiguous blocks: code, a ring buffer, a page cache in use. */
static void add_blocks(struct walk *walk, const struct area *area)
{
	uint32_t length = area->pages / 12;

	for (int block = 0; block < 3; block++) {
		uint32_t at = random_below(area->random, area->pages - length);

		for (uint32_t i = 0; i < length; i++)
			add(walk, area, at + i);
	}
}

/*
 * A Zipf-like sprinkle: the page of rank r is touched with a frequency of
 * about 1/r. Each octave of ranks gets as many touches as the next, so the
 * first pages are hit many times and of the last ones only a few at all.
 */
static void add_sprinkle(struct walk *walk, const struct area *area)
{
	unsigned int octaves = 31 - __builtin_clz(area->pages);

	for (uint32_t i = 0; i < area->pages / 2; i++) {
		uint32_t rank = 1U << random_below(area->random, octaves);

		add(walk, area, rank + random_below(area->random, rank) - 1);
	}
}

/* A few hot pages in a large cold area: what sampling would miss. */
static void add_spots(struct walk *walk, const struct area *area)
{
	for (int spot = 0; spot < 12; spot++) {
		uint32_t length = 1 + random_below(area->random, 3);
		uint32_t at = random_below(area->random, area->pages - length);

		for (uint32_t i = 0; i < length; i++)
			add(walk, area, at + i);
	}
}

/* Every second page, then every fourth, then every eighth: a table scan. */
static void add_strides(struct walk *walk, const struct area *area)
{
	uint32_t run = area->pages / 8;
	uint32_t at = random_below(area->random, area->pages - 5 * run);

	for (uint32_t stride = 2; stride <= 8; stride *= 2) {
		for (uint32_t i = 0; i < run; i += stride)
			add(walk, area, at + i);
		at += 2 * run;
	}
}

/* Hot pages are not touched in the order of their addresses. */
static void shuffle(struct walk *walk, uint64_t *random)
{
	for (size_t i = walk->count - 1; i > 0; i--) {
		size_t j = random_below(random, i + 1);
		struct access access = walk->access[i];

		walk->access[i] = walk->access[j];
		walk->access[j] = access;
	}
}

void walk_build(struct walk *walk, unsigned int vcpu, unsigned int window,
		uint32_t pages, uint64_t seed)
{
	static void (*const shapes[])(struct walk *, const struct area *) = {
		add_blocks,
		add_sprinkle,
		add_spots,
		add_strides,
	};
	uint64_t random = seed + ((uint64_t)window << 32) + vcpu;
	struct area area = {
		.first = (vcpu + window - 1) % 4 * (pages / 4),
		.pages = pages / 4,
		.random = &random,
	};

	/* No shape is longer than the area. */
	if (!walk->access)
		walk->access = new_array(area.pages, sizeof(*walk->access));
	walk->count = 0;
	shapes[vcpu % 4](walk, &area);
	shuffle(walk, &random);
}
