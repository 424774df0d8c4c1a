/* SPDX-License-Identifier: GPL-2.0 */
/* Two maps of the guest's memory, side by side, in 80 columns. */
#ifndef RWP_DEMO_PICTURE_H
#define RWP_DEMO_PICTURE_H

#include "heat.h"

/* The number of pages has to be a multiple of it. */
#define PICTURE_CELLS 512

/* A cell shows how many of its pages that are @there are @marked. */
struct picture {
	const char *title;
	const uint8_t *there; /* one for each page; NULL: all are */
	const uint8_t *marked;
};

void picture_print(const struct heat_style *style, const struct picture *left,
		   const struct picture *right, uint32_t pages);

#endif
