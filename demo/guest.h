/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What runs in the virtual machine: it fills its memory with a pattern, and then
 * goes over those pages again and again that a table says it uses. In each it
 * counts its visits, and looks whether that count and one more word are what
 * they have to be. The count is kept a second time, in memory that is never
 * evicted: so the guest itself notices at once when a page is not as it left it.
 */
#ifndef RWP_DEMO_GUEST_H
#define RWP_DEMO_GUEST_H

#include <stdint.h>

#include "qemu.h"

#define GUEST_PAGE_SIZE 4096U
#define GUEST_LOW (4UL << 20) /* tables; the memory of the guest begins here */

struct guest {
	struct qemu qemu;
	uint32_t pages;
	struct rwp_range range; /* of them, in the process of QEMU */
	char *memory; /* the same, seen from here */
	volatile struct guest_box *box;
	volatile uint8_t *uses; /* which pages; may be changed at any time */
	const uint32_t *visits; /* what is in the first word of each */
};

/* How the guest and the demo talk. */
struct guest_box {
	uint32_t passes; /* over all that it uses */
	uint32_t wrong; /* words that were not what they had to be */
	uint32_t end; /* of its memory; it begins when this is there */
	uint32_t stop, stopped;
	uint32_t filled;
};

/* Returns when the guest has filled @pages pages. */
void guest_start(struct guest *guest, uint32_t pages);

/* Wait until it has gone once over all that it uses, from begin to end. */
void guest_wait_pass(const struct guest *guest);

/* Have it stop; its memory does not change any more. */
void guest_stop(const struct guest *guest);

/* Whether a page is, byte by byte, what it has to be; once it has stopped. */
bool guest_page_right(const struct guest *guest, uint32_t page);

#endif
