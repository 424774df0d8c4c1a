/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A kernel with one process that has a few mappings: what the tracker asks it
 * by ioctl() is answered from here.
 */
#ifndef RWP_FAKE_KERNEL_H
#define RWP_FAKE_KERNEL_H

#include "internal.h"

#define FAKE_MAPPINGS 4
#define FAKE_PAGES 2048

struct fake_page {
	bool there, armed;
};

struct fake_mapping {
	uint64_t start, pages; /* pages 0: there is none */
	bool can_register; /* or EINVAL */
	bool registered;
	struct fake_page page[FAKE_PAGES];
};

extern struct fake_mapping fake[FAKE_MAPPINGS]; /* by rising address */

/* The process has ended. */
extern bool fake_gone;

/* Called between a scan and what follows it: an access at the worst moment. */
extern void (*fake_after_scan)(void);

/* How many calls armed something. */
extern unsigned int fake_armings;

/* A handle of that process. */
struct rwp *fake_open(void);

/* What an access does. */
void fake_touch(unsigned int mapping, uint64_t page);

#endif
