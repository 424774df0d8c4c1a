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

/*
 * Where the next call has to begin. walk_end may lie before the end of what was
 * reported, where the kernel has filled its own buffer and ours was not full.
 */
static uint64_t next_start(const struct pm_scan_arg *scan,
			   const struct page_region *region, int count)
{
	uint64_t next = scan->walk_end;

	if (count && region[count - 1].end > next)
		next = region[count - 1].end;
	return next;
}

static int scan_failed(const struct rwp *rwp, const struct pm_scan_arg *scan,
		       int code, struct rwp_error *err)
{
	return rwpi_fail(err, code, "cannot scan %#llx-%#llx of process %d",
			 (unsigned long long)scan->start,
			 (unsigned long long)scan->end, (int)rwp->pid);
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
	while (!ret && scan.start < scan.end) {
		int got = ioctl(rwp->pagemap, PAGEMAP_SCAN, &scan);
		uint64_t next;

		if (got < 0)
			return scan_failed(rwp, &scan, -errno, err);
		next = next_start(&scan, region, got);
		if (next <= scan.start)
			return scan_failed(rwp, &scan, -EIO, err);
		ret = pass_on(region, got, fn, arg);
		scan.start = next;
	}
	return ret;
}
