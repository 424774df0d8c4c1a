/* SPDX-License-Identifier: GPL-2.0 */
/* Guest memory as two maps side by side: what was found, and the truth. */
#ifndef RWP_DEMO_PICTURE_H
#define RWP_DEMO_PICTURE_H

#include <stdbool.h>
#include <stdint.h>

struct picture_style {
	bool color;
	bool ascii;
};

/* One byte a page in each map, 1 where the page is hot. */
void picture_print(const struct picture_style *style, const uint8_t *found,
		   const uint8_t *truth, uint32_t pages, uint32_t page_size);

#endif
