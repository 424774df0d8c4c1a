// SPDX-License-Identifier: GPL-2.0
/* The tracker against a kernel of our own, where every moment can be chosen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake-kernel.h"

#define PAGE 4096ULL

static void map(unsigned int index, uint64_t start, uint64_t pages)
{
	fake[index].start = start;
	fake[index].pages = pages;
	fake[index].can_register = true;
	fake[index].registered = false;
	for (uint64_t i = 0; i < pages; i++)
		fake[index].page[i] = (struct fake_page){ .there = true };
}

static struct rwp_tracker *start(struct rwp *rwp)
{
	struct rwp_tracker *tracker;

	assert_int_equal(rwp_tracker_new(rwp, NULL, &tracker, NULL), 0);
	assert_int_equal(rwp_tracker_refresh(tracker, NULL), 0);
	return tracker;
}

static void update(struct rwp_tracker *tracker)
{
	assert_int_equal(rwp_tracker_refresh(tracker, NULL), 0);
	assert_int_equal(rwp_tracker_update(tracker, NULL), 0);
}

static uint8_t age(struct rwp_tracker *tracker, unsigned int index,
		   uint64_t page)
{
	const struct rwp_tracked *tracked = rwp_tracker_get(tracker, index);

	assert_non_null(tracked);
	assert_true(page < tracked->pages);
	return tracked->age[page];
}

/* A page that is never touched grows older up to the limit, and stays there. */
static void saturation(void **state)
{
	struct rwp *rwp = fake_open();
	struct rwp_tracker *tracker;

	(void)state;
	map(0, 0x10000, 2);
	tracker = start(rwp);
	for (int i = 1; i < 300; i++) {
		fake_touch(0, 1);
		update(tracker);
		assert_int_equal(age(tracker, 0, 0),
				 i < RWP_AGE_MAX ? i : RWP_AGE_MAX);
		assert_int_equal(age(tracker, 0, 1), 0);
	}
	rwp_tracker_free(tracker);
	assert_false(fake[0].page[0].armed);
	assert_false(fake[0].registered);
}

static uint64_t next_touch;

static void touch_next(void)
{
	fake_touch(0, next_touch++ % 64);
}

/* An access between the scan and the arming is seen by the next window. */
static void access_in_the_gap(void **state)
{
	struct rwp *rwp = fake_open();
	struct rwp_tracker *tracker;

	(void)state;
	map(0, 0x10000, 64);
	tracker = start(rwp);
	fake_after_scan = touch_next;
	next_touch = 0;
	update(tracker);
	for (unsigned int i = 0; i < 64; i++) {
		update(tracker);
		assert_int_equal(rwp_tracker_get(tracker, 0)->accessed, 1);
		assert_int_equal(age(tracker, 0, i), 0);
	}
	rwp_tracker_free(tracker);
}

/* Every other page touched: more runs than one scan holds, each armed. */
static void many_runs(void **state)
{
	struct rwp *rwp = fake_open();
	struct rwp_tracker *tracker;

	(void)state;
	map(0, 0x10000, FAKE_PAGES);
	tracker = start(rwp);
	for (unsigned int i = 0; i < FAKE_PAGES; i += 2)
		fake_touch(0, i);
	fake_armings = 0;
	update(tracker);
	assert_int_equal(fake_armings, FAKE_PAGES / 2);
	assert_int_equal(rwp_tracker_get(tracker, 0)->accessed, FAKE_PAGES / 2);
	for (unsigned int i = 0; i < FAKE_PAGES; i++) {
		assert_int_equal(age(tracker, 0, i), i & 1);
		assert_true(fake[0].page[i].armed);
	}
	/* In one piece they are armed by one call. */
	for (unsigned int i = 0; i < FAKE_PAGES; i++)
		fake_touch(0, i);
	fake_armings = 0;
	update(tracker);
	assert_int_equal(fake_armings, 1);
	rwp_tracker_free(tracker);
}

/* A mapping split in two, grown and shrunk keeps the ages of its pages. */
static void changing_mappings(void **state)
{
	struct rwp *rwp = fake_open();
	struct rwp_tracker *tracker;

	(void)state;
	map(0, 0x100000, 64);
	tracker = start(rwp);
	for (unsigned int i = 0; i < 64; i++)
		if (i < 32)
			fake_touch(0, i);
	update(tracker);
	update(tracker);
	/* Cut in the middle: 0 to 31 and 32 to 63. */
	fake[1] = fake[0];
	fake[1].start += 32 * PAGE;
	fake[0].pages = fake[1].pages = 32;
	memmove(fake[1].page, fake[1].page + 32, 32 * sizeof(fake[1].page[0]));
	update(tracker);
	assert_int_equal(age(tracker, 0, 0), 2);
	assert_int_equal(age(tracker, 1, 0), 3);
	assert_int_equal(age(tracker, 1, 31), 3);
	assert_null(rwp_tracker_get(tracker, 2));
	/* The first goes, the second loses its first half. */
	memmove(fake[1].page, fake[1].page + 16, 16 * sizeof(fake[1].page[0]));
	fake[1].start += 16 * PAGE;
	fake[1].pages = 16;
	fake[0].pages = 0;
	update(tracker);
	assert_int_equal(age(tracker, 0, 15), 4);
	assert_int_equal(rwp_tracker_get(tracker, 0)->pages, 16);
	/* And it grows: what is new has been touched. */
	fake[1].pages = 20;
	for (unsigned int i = 16; i < 20; i++)
		fake_touch(1, i);
	update(tracker);
	assert_int_equal(age(tracker, 0, 15), 5);
	assert_int_equal(age(tracker, 0, 16), 0);
	rwp_tracker_free(tracker);
}

/* Another mapping in the place of the old one does not look cold. */
static void replaced_mapping(void **state)
{
	struct rwp *rwp = fake_open();
	struct rwp_tracker *tracker;

	(void)state;
	map(0, 0x10000, 8);
	tracker = start(rwp);
	update(tracker);
	update(tracker);
	assert_int_equal(age(tracker, 0, 3), 2);
	map(0, 0x10000, 8);
	update(tracker);
	assert_int_equal(age(tracker, 0, 3), 0);
	rwp_tracker_free(tracker);
}

/* Pages that are dropped have no age; those that come back begin anew. */
static void dropped_pages(void **state)
{
	struct rwp *rwp = fake_open();
	struct rwp_tracker *tracker;

	(void)state;
	map(0, 0x10000, 8);
	tracker = start(rwp);
	update(tracker);
	fake[0].page[2].there = fake[0].page[7].there = false;
	update(tracker);
	assert_int_equal(age(tracker, 0, 2), RWP_AGE_NONE);
	assert_int_equal(age(tracker, 0, 7), RWP_AGE_NONE);
	assert_int_equal(rwp_tracker_get(tracker, 0)->populated, 6);
	fake_touch(0, 2);
	update(tracker);
	assert_int_equal(age(tracker, 0, 2), 0);
	rwp_tracker_free(tracker);
}

/* What cannot be registered is left out and counted. */
static void refused_mapping(void **state)
{
	struct rwp *rwp = fake_open();
	struct rwp_tracker_stats stats;
	struct rwp_tracker *tracker;

	(void)state;
	map(0, 0x10000, 8);
	map(1, 0x20000, 8);
	fake[0].can_register = false;
	tracker = start(rwp);
	rwp_tracker_stats(tracker, &stats);
	assert_int_equal(stats.mappings, 1);
	assert_int_equal(stats.refused, 1);
	assert_int_equal(stats.added, 1);
	rwp_tracker_free(tracker);
}

/* A mapping that goes between the refresh and the update is no error. */
static void unmapped_in_between(void **state)
{
	struct rwp *rwp = fake_open();
	struct rwp_tracker *tracker;

	(void)state;
	map(0, 0x10000, 8);
	map(1, 0x20000, 8);
	tracker = start(rwp);
	fake_touch(0, 0);
	fake[0].registered = false;
	fake[1].pages = 0;
	assert_int_equal(rwp_tracker_update(tracker, NULL), 0);
	assert_int_equal(age(tracker, 1, 0), RWP_AGE_NONE);
	rwp_tracker_free(tracker);
}

/* A process that is gone is an error, and no obstacle to the end. */
static void process_gone(void **state)
{
	struct rwp *rwp = fake_open();
	struct rwp_tracker *tracker;
	struct rwp_error error;

	(void)state;
	map(0, 0x10000, 8);
	tracker = start(rwp);
	fake_gone = true;
	assert_int_equal(rwp_tracker_refresh(tracker, &error), -ESRCH);
	assert_non_null(strstr(error.text, "process 42"));
	rwp_tracker_free(tracker);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(saturation),
		cmocka_unit_test(access_in_the_gap),
		cmocka_unit_test(many_runs),
		cmocka_unit_test(changing_mappings),
		cmocka_unit_test(replaced_mapping),
		cmocka_unit_test(dropped_pages),
		cmocka_unit_test(refused_mapping),
		cmocka_unit_test(unmapped_in_between),
		cmocka_unit_test(process_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
