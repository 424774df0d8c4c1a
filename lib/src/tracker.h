/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef RWP_TRACKER_H
#define RWP_TRACKER_H

#include "internal.h"

struct rwpi_entry {
	struct rwp_tracked tracked; /* what the user sees */
	uint8_t *age; /* the same array, for us to change */
	bool callers; /* registered by the caller, and not followed */
};

/* By rising address, without overlap. */
struct rwpi_set {
	struct rwpi_entry *entry;
	size_t count, room;
};

struct rwp_tracker {
	struct rwp *rwp;
	struct rwp_filter filter;
	struct rwpi_set set;
	struct rwp_tracker_stats stats;
	uint64_t window_start; /* 0: no window has begun */
};

#endif
