/* SPDX-License-Identifier: GPL-2.0 */
/* The parts of rwp report. */
#ifndef RWP_REPORT_H
#define RWP_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "heat.h"
#include "recording.h"

/*
 * When each page was last touched: fed with one window after the other. Returns
 * false when memory is short.
 */
struct ages;

struct ages *ages_new(void);
bool ages_add(struct ages *ages, const struct recorded_window *window);
void ages_free(struct ages *ages);

/*
 * The pages that were there in the last window and had not been touched for at
 * least @from and less than @to nanoseconds at its end.
 */
uint64_t ages_count(const struct ages *ages, uint64_t from, uint64_t to);

/*
 * Time by address. First every window is shown to grid_extend(), which finds out
 * which addresses ever had memory; then, after grid_begin(), again to grid_add().
 */
struct grid;

struct grid_cell {
	uint64_t hot, there; /* pages, summed over the windows */
};

struct grid *grid_new(void);
bool grid_extend(struct grid *grid, const struct recorded_window *window);
bool grid_begin(struct grid *grid, unsigned int rows, unsigned int columns,
		uint64_t windows);
void grid_add(struct grid *grid, const struct recorded_window *window);
void grid_free(struct grid *grid);

unsigned int grid_rows(const struct grid *grid);
unsigned int grid_columns(const struct grid *grid);
enum heat grid_heat(const struct grid *grid, unsigned int row,
		    unsigned int column);
/* The first page of a row, as an address. */
uint64_t grid_address(const struct grid *grid, unsigned int row,
		      uint64_t page_size);

void grid_print(const struct grid *grid, const struct heat_style *style,
		uint64_t page_size, double seconds);
int grid_write_svg(const struct grid *grid, const char *path,
		   const struct recording_header *header, double seconds);

#endif
