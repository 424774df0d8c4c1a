// SPDX-License-Identifier: GPL-2.0
#include <stdlib.h>
#include <string.h>

#include "report.h"

/* Pages that had memory at some time; @before: those of all lower extents. */
struct extent {
	uint64_t first, after;
	uint64_t before;
};

struct grid {
	struct extent *extent;
	size_t extents, room;
	uint64_t pages; /* of all extents */
	uint64_t windows, next; /* in all, and the one to come */
	unsigned int rows, columns;
	struct grid_cell *cell;
};

struct grid *grid_new(void)
{
	return calloc(1, sizeof(struct grid));
}

void grid_free(struct grid *grid)
{
	if (!grid)
		return;
	free(grid->extent);
	free(grid->cell);
	free(grid);
}

static int by_first(const void *a, const void *b)
{
	const struct extent *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

/* Sort, and join what touches or overlaps. */
static void tidy(struct grid *grid)
{
	size_t kept = 0;

	qsort(grid->extent, grid->extents, sizeof(*grid->extent), by_first);
	for (size_t i = 1; i < grid->extents; i++) {
		struct extent *last = &grid->extent[kept];

		if (grid->extent[i].first > last->after)
			grid->extent[++kept] = grid->extent[i];
		else if (grid->extent[i].after > last->after)
			last->after = grid->extent[i].after;
	}
	if (grid->extents)
		grid->extents = kept + 1;
}

static bool add_extent(struct grid *grid, uint64_t first, uint64_t after)
{
	if (grid->extents == grid->room) {
		size_t room = grid->room ? 2 * grid->room : 256;
		struct extent *extent =
			realloc(grid->extent, room * sizeof(*extent));

		if (!extent)
			return false;
		grid->extent = extent;
		grid->room = room;
	}
	grid->extent[grid->extents++] = (struct extent){ first, after, 0 };
	return true;
}

bool grid_extend(struct grid *grid, const struct recorded_window *window)
{
	for (size_t i = 0; i < window->mappings; i++) {
		const struct recorded_mapping *mapping = &window->mapping[i];
		uint64_t at = mapping->first;

		for (size_t j = 0; j < mapping->runs; j++) {
			const struct recorded_run *run = &mapping->run[j];

			if (run->state != PAGE_ABSENT &&
			    !add_extent(grid, at, at + run->pages))
				return false;
			at += run->pages;
		}
	}
	tidy(grid);
	return true;
}

bool grid_begin(struct grid *grid, unsigned int rows, unsigned int columns,
		uint64_t windows)
{
	for (size_t i = 0; i < grid->extents; i++) {
		grid->extent[i].before = grid->pages;
		grid->pages += grid->extent[i].after - grid->extent[i].first;
	}
	grid->windows = windows;
	grid->rows = grid->pages < rows ? grid->pages : rows;
	grid->columns = columns;
	if (!grid->rows || !windows)
		return false;
	grid->cell =
		calloc((size_t)grid->rows * grid->columns, sizeof(*grid->cell));
	return grid->cell;
}

/* The place of a page among those that ever had memory. */
static uint64_t place_of(const struct grid *grid, uint64_t page)
{
	size_t low = 0, high = grid->extents;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (grid->extent[middle].first <= page)
			low = middle;
		else
			high = middle;
	}
	return grid->extent[low].before + page - grid->extent[low].first;
}

/* Row r holds the places from r * pages / rows on. */
static uint64_t row_start(const struct grid *grid, uint64_t row)
{
	return (row * grid->pages + grid->rows - 1) / grid->rows;
}

static void add_run(struct grid *grid, unsigned int column, uint64_t page,
		    const struct recorded_run *run)
{
	uint64_t place = place_of(grid, page), end = place + run->pages;

	while (place < end) {
		uint64_t row = place * grid->rows / grid->pages;
		uint64_t next = row_start(grid, row + 1);
		uint64_t count = (next < end ? next : end) - place;
		struct grid_cell *cell =
			&grid->cell[row * grid->columns + column];

		cell->there += count;
		if (run->state == PAGE_TOUCHED)
			cell->hot += count;
		place += count;
	}
}

static void add_column(struct grid *grid, unsigned int column,
		       const struct recorded_window *window)
{
	for (size_t i = 0; i < window->mappings; i++) {
		const struct recorded_mapping *mapping = &window->mapping[i];
		uint64_t at = mapping->first;

		for (size_t j = 0; j < mapping->runs; j++) {
			if (mapping->run[j].state != PAGE_ABSENT)
				add_run(grid, column, at, &mapping->run[j]);
			at += mapping->run[j].pages;
		}
	}
}

void grid_add(struct grid *grid, const struct recorded_window *window)
{
	/* Several columns for one window, or one for several windows. */
	unsigned int column = grid->next * grid->columns / grid->windows;
	unsigned int after = ++grid->next * grid->columns / grid->windows;

	do {
		add_column(grid, column, window);
	} while (++column < after);
}

unsigned int grid_rows(const struct grid *grid)
{
	return grid->rows;
}

unsigned int grid_columns(const struct grid *grid)
{
	return grid->columns;
}

enum heat grid_heat(const struct grid *grid, unsigned int row,
		    unsigned int column)
{
	const struct grid_cell *cell =
		&grid->cell[(size_t)row * grid->columns + column];

	return heat_of(cell->hot, cell->there);
}

uint64_t grid_address(const struct grid *grid, unsigned int row,
		      uint64_t page_size)
{
	uint64_t place = row_start(grid, row);

	for (size_t i = grid->extents; i--;)
		if (grid->extent[i].before <= place)
			return (grid->extent[i].first + place -
				grid->extent[i].before) *
			       page_size;
	return 0;
}

void grid_print(const struct grid *grid, const struct heat_style *style,
		uint64_t page_size, double seconds)
{
	uint8_t cell[1024];

	printf("%14s  0 s%*.1f s\n", "ADDRESS", (int)grid->columns - 5,
	       seconds);
	for (unsigned int row = 0; row < grid->rows; row++) {
		for (unsigned int i = 0; i < grid->columns; i++)
			cell[i] = grid_heat(grid, row, i);
		printf("%14llx  ",
		       (unsigned long long)grid_address(grid, row, page_size));
		heat_print(stdout, style, cell, grid->columns);
		putchar('\n');
	}
	heat_print_legend(stdout, style);
}
