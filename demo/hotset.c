// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "hotset.h"
#include "util.h"

#define REGIONS 512

int hotset_open(pid_t pid)
{
	char path[32];
	int pagemap;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		die_errno("%s", path);
	return pagemap;
}

uint32_t hotset_scan(int pagemap, uint64_t start, uint32_t pages,
		     uint32_t page_size, uint8_t *hot)
{
	/* Neighbouring pages of one kind come back as one region. */
	struct page_region region[REGIONS];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = start,
		.end = start + (uint64_t)pages * page_size,
		.vec = (uintptr_t)region,
		.vec_len = REGIONS,
		.category_mask = PAGE_IS_ACCESSED,
		.return_mask = PAGE_IS_ACCESSED,
	};
	uint32_t count = 0;

	memset(hot, 0, pages);
	/* The scan stops where the array is full; go on from there. */
	for (; arg.start < arg.end; arg.start = arg.walk_end) {
		int got = ioctl(pagemap, PAGEMAP_SCAN, &arg);

		if (got < 0)
			die_errno("PAGEMAP_SCAN");
		if (arg.walk_end <= arg.start)
			die("PAGEMAP_SCAN does not advance");
		for (int i = 0; i < got; i++) {
			uint64_t first = (region[i].start - start) / page_size;
			uint64_t after = (region[i].end - start) / page_size;

			memset(hot + first, 1, after - first);
			count += after - first;
		}
	}
	return count;
}
