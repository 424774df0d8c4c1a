/* SPDX-License-Identifier: GPL-2.0 */
/* The process that finds the hot pages, and traps accesses to cold ones. */
#ifndef RWP_DEMO_MANAGER_H
#define RWP_DEMO_MANAGER_H

#include <stdint.h>

#include "picture.h"
#include "report.h"
#include "vm.h"

struct manager {
	struct vm vm;
	struct picture_style style;
	unsigned int windows;
	unsigned int window_ms;
	uint64_t random;
	uint8_t *found; /* one byte a page: what the scan says is hot */
	uint8_t *truth; /* and what is */
	struct window_result *result;
};

/* Run every window. Ends the program when anything is not as it should be. */
void manager_run(struct manager *manager);

#endif
