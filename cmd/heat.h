/* SPDX-License-Identifier: GPL-2.0 */
/* Shades and colours that show how much of something is hot. */
#ifndef RWP_HEAT_H
#define RWP_HEAT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/*
 * A cell is shaded by its share of hot pages. A single one is enough to leave
 * the level COLD: small hot areas must not vanish in large cold ones.
 */
enum heat { HEAT_NONE, HEAT_COLD, HEAT_SOME, HEAT_MANY, HEAT_MOST, HEAT_FULL };
enum { HEATS = HEAT_FULL + 1 };

struct heat_style {
	bool color;
	bool ascii;
};

/* @hot of @there pages. */
enum heat heat_of(uint64_t hot, uint64_t there);

/* Print @count cells, with one escape sequence for a run of equal ones. */
void heat_print(FILE *out, const struct heat_style *style, const uint8_t *cell,
		unsigned int count);

/* One line that explains the shades. */
void heat_print_legend(FILE *out, const struct heat_style *style);

/* "#rrggbb", for SVG. */
const char *heat_html_color(enum heat heat);

/* Whether standard output shows colours, and characters beyond ASCII. */
struct heat_style heat_guess_style(void);

/* "4.0K", "12.5M": four digits at most. @text has room for 16 characters. */
const char *format_size(char *text, uint64_t bytes);

#endif
