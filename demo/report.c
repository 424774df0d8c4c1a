// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>

#include "report.h"

static unsigned int us(uint64_t ns)
{
	return (ns + 500) / 1000;
}

void report_windows(const struct window_result *result, unsigned int windows)
{
	printf("\n");
	printf("                  pages                  cost in microseconds         length\n");
	printf("window    hot  found missed wrong     arm to sync   scan to async released\n");
	for (unsigned int i = 0; i < windows; i++) {
		const struct window_result *r = &result[i];

		printf("%6u %6u %6u %6u %5u  %6u %7u %6u %8u %8u %4u ms\n",
		       i + 1, r->truth, r->found, r->missed, r->wrong,
		       us(r->arm_ns), us(r->sync_ns), us(r->scan_ns),
		       us(r->async_ns), us(r->release_ns),
		       us(r->window_ns) / 1000);
	}
	printf("hot: pages the vCPUs touched; missed: hot, not found; wrong: found, not hot;\n"
	       "released: from the switch until the last blocked vCPU ran again\n\n");
}

void report_costs(const struct switch_costs *costs, uint32_t pages)
{
	printf("To another mode and ready again, while the vCPUs run:\n");
	printf("  UFFDIO_SET_MODE               to sync %u us, to async %u us\n",
	       us(costs->sync_ns), us(costs->async_ns));
	printf("  unregister, register and arm  %u + %u + %u us, and it forgets what\n"
	       "                                is hot: all %u of %u pages count as accessed\n",
	       us(costs->unregister_ns), us(costs->register_ns),
	       us(costs->arm_ns), costs->hot_afterwards, pages);
	printf("\n");
}
