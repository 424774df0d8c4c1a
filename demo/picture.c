// SPDX-License-Identifier: GPL-2.0
#include "picture.h"

#include <string.h>

#define COLUMNS 32
#define ROWS (PICTURE_CELLS / COLUMNS)
#define MARGIN "        "

struct frame {
	const char *corner[4]; /* of the upper and of the lower edge */
	const char *edge, *side;
};

static const struct frame lines = { { "┌", "┐", "└", "┘" }, "─", "│" };
static const struct frame ascii = { { "+", "+", "+", "+" }, "-", "|" };

static void print_edge(const struct frame *frame, const char *const *corner,
		       const char *title)
{
	printf("%s%s%s", corner[0], frame->edge, title);
	for (size_t i = strlen(title) + 1; i < COLUMNS; i++)
		fputs(frame->edge, stdout);
	fputs(corner[1], stdout);
}

static void print_edges(const struct frame *frame, const char *const *corner,
			const char *left, const char *right)
{
	fputs(MARGIN, stdout);
	print_edge(frame, corner, left);
	fputs("  ", stdout);
	print_edge(frame, corner, right);
	putchar('\n');
}

static void print_row(const struct heat_style *style, const struct frame *frame,
		      const struct picture *picture, uint32_t row,
		      uint32_t cell_pages)
{
	uint32_t page = row * COLUMNS * cell_pages;
	uint8_t cell[COLUMNS];

	for (uint32_t i = 0; i < COLUMNS; i++) {
		uint64_t there = 0, marked = 0;

		for (uint32_t end = page + cell_pages; page < end; page++) {
			bool is = !picture->there || picture->there[page];

			there += is;
			marked += is && picture->marked[page];
		}
		cell[i] = heat_of(marked, there);
	}
	fputs(frame->side, stdout);
	heat_print(stdout, style, cell, COLUMNS);
	fputs(frame->side, stdout);
}

void picture_print(const struct heat_style *style, const struct picture *left,
		   const struct picture *right, uint32_t pages)
{
	const struct frame *frame = style->ascii ? &ascii : &lines;
	uint32_t cell_pages = pages / PICTURE_CELLS;
	uint32_t row_kib = cell_pages * COLUMNS * 4;
	char at[16];

	putchar('\n');
	print_edges(frame, frame->corner, left->title, right->title);
	for (uint32_t row = 0; row < ROWS; row++) {
		printf("%7s ", format_size(at, (uint64_t)row * row_kib << 10));
		print_row(style, frame, left, row, cell_pages);
		fputs("  ", stdout);
		print_row(style, frame, right, row, cell_pages);
		putchar('\n');
	}
	print_edges(frame, frame->corner + 2, "", "");
}
