// SPDX-License-Identifier: GPL-2.0
/* Ages, the grid of the heat map, shades and sizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "report.h"

#define SECOND 1000000000ULL

/* Pages 100 to 199; the first @hot are touched, all up to @there are there. */
static struct recorded_window *window_of(uint64_t second, uint64_t hot,
					 uint64_t there)
{
	static struct recorded_run run[3];
	static struct recorded_mapping mapping;
	static struct recorded_window window;

	run[0] = (struct recorded_run){ hot, PAGE_TOUCHED };
	run[1] = (struct recorded_run){ there - hot, PAGE_THERE };
	run[2] = (struct recorded_run){ 100 - there, PAGE_ABSENT };
	mapping = (struct recorded_mapping){
		.first = 100, .pages = 100, .run = run, .runs = 3
	};
	window = (struct recorded_window){ .end = second * SECOND,
					   .length = SECOND,
					   .mapping = &mapping,
					   .mappings = 1 };
	return &window;
}

/* The time since the last touch, over windows. */
static void ages_over_time(void **state)
{
	struct ages *ages = ages_new();

	(void)state;
	assert_true(ages_add(ages, window_of(1, 50, 80)));
	assert_true(ages_add(ages, window_of(2, 20, 80)));
	assert_true(ages_add(ages, window_of(6, 10, 90)));
	assert_int_equal(ages_count(ages, 0, SECOND), 10);
	assert_int_equal(ages_count(ages, 4 * SECOND, 5 * SECOND), 10);
	assert_int_equal(ages_count(ages, 5 * SECOND, 6 * SECOND), 30);
	/* Never touched, or not seen before. */
	assert_int_equal(ages_count(ages, 6 * SECOND, UINT64_MAX), 40);
	assert_int_equal(ages_count(ages, 0, UINT64_MAX), 90);
	ages_free(ages);
}

/* A mapping that moves its ends keeps the ages of the pages it keeps. */
static void ages_of_a_changed_mapping(void **state)
{
	struct ages *ages = ages_new();
	struct recorded_window *window;

	(void)state;
	assert_true(ages_add(ages, window_of(1, 100, 100)));
	window = window_of(2, 0, 50);
	window->mapping->first = 150;
	assert_true(ages_add(ages, window));
	/* Pages 150 to 199 were touched at 1 s, 200 to 249 are absent. */
	assert_int_equal(ages_count(ages, SECOND, 2 * SECOND), 50);
	assert_int_equal(ages_count(ages, 0, UINT64_MAX), 50);
	ages_free(ages);
}

/* One hot page of many is seen, and every page is in one cell. */
static void grid_keeps_small_areas(void **state)
{
	struct grid *grid = grid_new();

	(void)state;
	assert_true(grid_extend(grid, window_of(1, 1, 100)));
	assert_true(grid_begin(grid, 10, 64, 2));
	assert_int_equal(grid_rows(grid), 10);
	assert_int_equal(grid_columns(grid), 64);
	grid_add(grid, window_of(1, 1, 100));
	grid_add(grid, window_of(2, 100, 100));
	assert_int_equal(grid_heat(grid, 0, 0), HEAT_SOME);
	for (unsigned int row = 0; row < 10; row++) {
		if (row)
			assert_int_equal(grid_heat(grid, row, 31), HEAT_COLD);
		assert_int_equal(grid_heat(grid, row, 32), HEAT_FULL);
		assert_int_equal(grid_address(grid, row, 4096),
				 (100 + 10 * row) * 4096);
	}
	grid_free(grid);
}

/* More rows than pages, a number of rows that does not divide the pages. */
static void grid_of_odd_sizes(void **state)
{
	(void)state;
	for (uint64_t there = 1; there <= 100; there++)
		for (unsigned int rows = 1; rows < 40; rows++) {
			struct grid *grid = grid_new();

			assert_true(grid_extend(grid, window_of(1, 0, there)));
			assert_true(grid_begin(grid, rows, 3, 7));
			for (int i = 0; i < 7; i++)
				grid_add(grid, window_of(1, there, there));
			for (unsigned int row = 0; row < grid_rows(grid); row++)
				assert_int_equal(grid_heat(grid, row, 2),
						 HEAT_FULL);
			grid_free(grid);
		}
}

/* Nothing to draw is an error, not a division by nought. */
static void grid_of_nothing(void **state)
{
	struct grid *grid = grid_new();

	(void)state;
	assert_true(grid_extend(grid, window_of(1, 0, 0)));
	assert_false(grid_begin(grid, 10, 10, 1));
	grid_free(grid);
}

static void shades(void **state)
{
	(void)state;
	assert_int_equal(heat_of(0, 0), HEAT_NONE);
	assert_int_equal(heat_of(0, 1000000), HEAT_COLD);
	assert_int_equal(heat_of(1, 1000000), HEAT_SOME);
	assert_int_equal(heat_of(250000, 1000000), HEAT_MANY);
	assert_int_equal(heat_of(500000, 1000000), HEAT_MOST);
	assert_int_equal(heat_of(750000, 1000000), HEAT_FULL);
	assert_int_equal(heat_of(1, 1), HEAT_FULL);
}

static void sizes(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{ 0, "0" },
		{ 4096, "4.0K" },
		{ 102400, "100K" },
		{ 1 << 20, "1.0M" },
		{ 1023 << 10, "1.0M" },
		{ 3ULL << 29, "1.5G" },
		{ UINT64_MAX, "16.0E" },
	};
	char text[16];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(format_size(text, cases[i].bytes),
				    cases[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ages_over_time),
		cmocka_unit_test(ages_of_a_changed_mapping),
		cmocka_unit_test(grid_keeps_small_areas),
		cmocka_unit_test(grid_of_odd_sizes),
		cmocka_unit_test(grid_of_nothing),
		cmocka_unit_test(shades),
		cmocka_unit_test(sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
