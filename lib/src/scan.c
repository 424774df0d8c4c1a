// SPDX-License-Identifier: LGPL-2.1-or-later
/* Which pages were accessed, from PAGEMAP_SCAN. */
#include "internal.h"

/* On the stack: 12 KiB. A larger one saves no time that could be measured. */
#define REGIONS 512

static const struct {
	unsigned int state;
	uint64_t category;
} states[] = {
	{ RWP_PAGE_ACCESSED, PAGE_IS_ACCESSED },
	{ RWP_PAGE_PRESENT, PAGE_IS_PRESENT },
	{ RWP_PAGE_SWAPPED, PAGE_IS_SWAPPED },
	{ RWP_PAGE_HUGE, PAGE_IS_HUGE },
	{ RWP_PAGE_FILE, PAGE_IS_FILE },
};

static uint64_t to_categories(unsigned int state)
{
	uint64_t categories = 0;

	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (state & states[i].state)
			categories |= states[i].category;
	return categories;
}

static unsigned int to_state(uint64_t categories)
{
	unsigned int state = 0;

	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (categories & states[i].category)
			state |= states[i].state;
	return state;
}

static int pass_on(const struct page_region *region, int count, rwp_run_fn *fn,
		   void *arg)
{
	int ret = 0;

	for (int i = 0; i < count && !ret; i++) {
		struct rwp_run run = {
			.range.start = region[i].start,
			.range.len = region[i].end - region[i].start,
			.state = to_state(region[i].categories),
		};

		ret = fn(&run, arg);
	}
	return ret;
}

int rwp_scan(struct rwp *rwp, struct rwp_range range, unsigned int any,
	     rwp_run_fn *fn, void *arg, struct rwp_error *err)
{
	struct page_region region[REGIONS];
	struct pm_scan_arg scan = {
		.size = sizeof(scan),
		.start = range.start,
		.end = range.start + range.len,
		.vec = (uintptr_t)region,
		.vec_len = REGIONS,
		.category_anyof_mask = to_categories(any),
		.return_mask = to_categories(~0U),
	};
	int ret = rwpi_check_range(range, err);

	/* To the kernel it would mean all, holes included. */
	if (!any)
		return rwpi_error(err, -EINVAL, "a scan for no kind of page");
	/* The scan stops where the array is full; go on from there. */
	for (; !ret && scan.start < scan.end; scan.start = scan.walk_end) {
		int got = ioctl(rwp->pagemap, PAGEMAP_SCAN, &scan);

		if (got < 0 && errno == EINTR) {
			/* A fatal signal only: there is no more to be done. */
			return rwpi_fail(err, -EINTR, "scan of process %d",
					 (int)rwp->pid);
		}
		if (got < 0)
			return rwpi_fail(
				err, -errno,
				"cannot scan %#llx-%#llx of process %d",
				(unsigned long long)scan.start,
				(unsigned long long)scan.end, (int)rwp->pid);
		ret = pass_on(region, got, fn, arg);
	}
	return ret;
}
