/* SPDX-License-Identifier: GPL-2.0 */
/* What was measured, as a table. */
#ifndef RWP_DEMO_REPORT_H
#define RWP_DEMO_REPORT_H

#include <stdint.h>

struct window_result {
	uint32_t truth; /* pages touched by the vCPUs */
	uint32_t found; /* pages the scan reports */
	uint32_t missed; /* touched, not reported */
	uint32_t wrong; /* reported, not touched */
	uint64_t window_ns;
	uint64_t arm_ns;
	uint64_t sync_ns;
	uint64_t scan_ns;
	uint64_t async_ns;
	uint64_t release_ns; /* from the switch to the last vCPU released */
};

/* The two ways to another mode, medians of several rounds. */
struct switch_costs {
	uint64_t sync_ns;
	uint64_t async_ns;
	uint64_t unregister_ns;
	uint64_t register_ns;
	uint64_t arm_ns;
	uint32_t hot_afterwards; /* pages that read as accessed afterwards */
};

void report_windows(const struct window_result *result, unsigned int windows);
void report_costs(const struct switch_costs *costs, uint32_t pages);

#endif
