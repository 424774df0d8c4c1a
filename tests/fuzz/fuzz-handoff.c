// SPDX-License-Identifier: GPL-2.0
/*
 * libFuzzer: whatever a peer may send, the parser returns, and what it takes is
 * of whole pages that do not overlap.
 */
#include <errno.h>
#include <rwp.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct rwp_handoff_region *region, int count)
{
	for (int i = 0; i < count; i++) {
		uint64_t mask = region[i].page_size - 1;
		uint64_t end = region[i].start + region[i].size;

		if (!region[i].size || end < region[i].start ||
		    region[i].page_size & mask ||
		    (region[i].start | region[i].size | region[i].offset) &
			    mask)
			abort();
		for (int j = 0; j < i; j++)
			if (region[j].start < end &&
			    region[i].start < region[j].start + region[j].size)
				abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rwp_handoff_region *region = NULL;
	struct rwp_error error = { 0 };
	int ret = rwp_handoff_parse((const char *)data, size, &region, &error);

	if (ret > 0)
		check(region, ret);
	else if (!ret || ret != error.code || !error.text[0] || region)
		abort();
	free(region);
	return 0;
}
