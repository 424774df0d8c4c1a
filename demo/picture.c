// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <string.h>

#include "picture.h"

/* Two maps and their frames fit into 80 columns. */
#define COLUMNS 32
#define ROWS 16
#define CELLS (COLUMNS * ROWS)
#define MARGIN "        "

/*
 * A cell is shaded by its share of hot pages. A single hot page is enough to
 * leave the lowest level: small hot spots must not vanish.
 */
enum level { COLD, SOME, MANY, MOST, FULL, BAD, LEVELS };

struct glyphs {
	const char *cell[LEVELS];
	const char *left_corner, *right_corner; /* of the upper edge */
	const char *left_foot, *right_foot;
	const char *edge, *side;
};

static const struct glyphs block_glyphs = {
	.cell = { "·", "░", "▒", "▓", "█", "!" },
	.left_corner = "┌",
	.right_corner = "┐",
	.left_foot = "└",
	.right_foot = "┘",
	.edge = "─",
	.side = "│",
};

static const struct glyphs ascii_glyphs = {
	.cell = { ".", ":", "+", "x", "#", "!" },
	.left_corner = "+",
	.right_corner = "+",
	.left_foot = "+",
	.right_foot = "+",
	.edge = "-",
	.side = "|",
};

/* From cold to hot, readable on dark and light ground. */
static const char *const colors[LEVELS] = {
	"\033[38;5;244m", "\033[38;5;39m",  "\033[38;5;178m",
	"\033[38;5;208m", "\033[38;5;196m", "\033[1;37;41m",
};

#define COLOR_OFF "\033[0m"

static const char *const legend[LEVELS] = {
	[COLD] = "no hot page",	 [SOME] = "below 1/4",
	[MANY] = "below 1/2",	 [MOST] = "below 3/4",
	[FULL] = "3/4 and more", [BAD] = "differs from the truth",
};

struct map {
	const struct picture_style *style;
	const struct glyphs *glyphs;
	uint32_t pages_per_cell;
	enum level cell[CELLS];
	uint32_t bad_cells;
};

static enum level level_of(uint32_t hot, uint32_t pages)
{
	if (!hot)
		return COLD;
	if (hot * 4 < pages)
		return SOME;
	if (hot * 4 < pages * 2)
		return MANY;
	if (hot * 4 < pages * 3)
		return MOST;
	return FULL;
}

/* Where a map to compare with is given, a cell that differs from it is BAD. */
static void fill(struct map *map, const uint8_t *hot, const uint8_t *compare)
{
	for (uint32_t cell = 0; cell < CELLS; cell++) {
		uint32_t first = cell * map->pages_per_cell;
		uint32_t count = 0;

		for (uint32_t i = 0; i < map->pages_per_cell; i++)
			count += hot[first + i];
		map->cell[cell] = level_of(count, map->pages_per_cell);
		if (!compare ||
		    !memcmp(hot + first, compare + first, map->pages_per_cell))
			continue;
		map->cell[cell] = BAD;
		map->bad_cells++;
	}
}

static void print_cell(const struct map *map, enum level level)
{
	if (map->style->color)
		printf("%s%s" COLOR_OFF, colors[level],
		       map->glyphs->cell[level]);
	else
		printf("%s", map->glyphs->cell[level]);
}

/* One escape sequence for a run of equal cells: the console may be slow. */
static void print_row(const struct map *map, uint32_t row)
{
	const enum level *cell = &map->cell[row * COLUMNS];

	printf("%s", map->glyphs->side);
	for (uint32_t i = 0; i < COLUMNS; i++) {
		if (map->style->color && (!i || cell[i] != cell[i - 1]))
			printf("%s", colors[cell[i]]);
		printf("%s", map->glyphs->cell[cell[i]]);
	}
	printf("%s%s", map->style->color ? COLOR_OFF : "", map->glyphs->side);
}

static void print_edge(const char *left, const char *title,
		       const struct glyphs *glyphs, const char *right)
{
	int written = printf("%s%s%s", left, glyphs->edge, title) -
		      (int)(strlen(left) + strlen(glyphs->edge));

	for (int i = written + 1; i < COLUMNS; i++)
		printf("%s", glyphs->edge);
	printf("%s", right);
}

static void print_legend(const struct map *map, uint32_t page_size)
{
	printf(MARGIN);
	for (enum level level = COLD; level < BAD; level++) {
		print_cell(map, level);
		printf(" %s%s", legend[level], level < FULL ? "  " : "\n");
	}
	if (map->bad_cells) {
		printf(MARGIN);
		print_cell(map, BAD);
		printf(" %s\n", legend[BAD]);
	}
	printf(MARGIN "share of hot pages in a cell of %u pages (%u KiB)\n",
	       map->pages_per_cell, map->pages_per_cell * (page_size / 1024));
}

void picture_print(const struct picture_style *style, const uint8_t *found,
		   const uint8_t *truth, uint32_t pages, uint32_t page_size)
{
	const struct glyphs *glyphs = style->ascii ? &ascii_glyphs :
						     &block_glyphs;
	struct map left = {
		.style = style,
		.glyphs = glyphs,
		.pages_per_cell = pages / CELLS,
	};
	struct map right = left;
	uint32_t row_mib = pages / ROWS / (1024 * 1024 / page_size);

	fill(&left, found, truth);
	fill(&right, truth, NULL);

	printf("\n" MARGIN);
	print_edge(glyphs->left_corner, " found by the manager ", glyphs,
		   glyphs->right_corner);
	printf("  ");
	print_edge(glyphs->left_corner, " touched by the vCPUs ", glyphs,
		   glyphs->right_corner);
	putchar('\n');
	for (uint32_t row = 0; row < ROWS; row++) {
		printf("%4u MiB", row * row_mib);
		print_row(&left, row);
		printf("  ");
		print_row(&right, row);
		putchar('\n');
	}
	printf(MARGIN);
	print_edge(glyphs->left_foot, "", glyphs, glyphs->right_foot);
	printf("  ");
	print_edge(glyphs->left_foot, "", glyphs, glyphs->right_foot);
	putchar('\n');
	print_legend(&left, page_size);
	putchar('\n');
}
