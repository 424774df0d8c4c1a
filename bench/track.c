// SPDX-License-Identifier: GPL-2.0
/*
 * Arm, resolve, fault and scan, and the same by write protection: what tracks
 * the accesses to a range.
 */
#include <err.h>
#include <pthread.h>
#include <unistd.h>

#include "bench.h"

#define RWP UFFD_FEATURE_RWP
#define RWP_ASYNC (UFFD_FEATURE_RWP | UFFD_FEATURE_RWP_ASYNC)
#define WP (UFFD_FEATURE_PAGEFAULT_FLAG_WP | \
	    UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_WP_UNPOPULATED)
#define WP_ASYNC (WP | UFFD_FEATURE_WP_ASYNC)

static bool setup(struct area *area, uint64_t features, uint64_t mode)
{
	area->uffd = uffd_open(features);
	area->mode = mode;
	if (area->uffd < 0 ||
	    !uffd_register(area->uffd, area->mem, area->size, mode))
		return false;
	populate(area);
	return true;
}

bool setup_rwp(struct area *area)
{
	return setup(area, RWP_ASYNC, UFFDIO_REGISTER_MODE_RWP);
}

bool setup_wp(struct area *area)
{
	return setup(area, WP_ASYNC, UFFDIO_REGISTER_MODE_WP);
}

static void arm(struct area *area)
{
	uffd_rwp(area->uffd, area->mem, area->size, true);
}

static void resolve(struct area *area)
{
	uffd_rwp(area->uffd, area->mem, area->size, false);
}

static void protect(struct area *area)
{
	uffd_wp(area->uffd, area->mem, area->size, true);
}

static void unprotect(struct area *area)
{
	uffd_wp(area->uffd, area->mem, area->size, false);
}

static void read_all(struct area *area)
{
	touch_read(area, area->step);
}

static void write_all(struct area *area)
{
	touch_write(area, area->step);
}

/* Arm, then make one unit in area->arg hot; 0: none. */
static void arm_and_read(struct area *area)
{
	arm(area);
	if (area->arg)
		touch_read(area, area->arg);
}

/* A write to a protected huge page splits it. */
static void renew_and_protect(struct area *area)
{
	renew_huge(area);
	protect(area);
}

static void protect_and_write(struct area *area)
{
	renew_and_protect(area);
	if (area->arg)
		touch_write(area, area->arg);
}

static void expect(struct area *area, size_t unit)
{
	size_t hot = area->arg ? (area->units + area->arg - 1) / area->arg : 0;
	size_t found = 0;

	for (size_t i = 0; i < area->nr_found; i++)
		found += (area->found[i].end - area->found[i].start) / unit;
	if (found != hot)
		errx(1, "the scan found %zu of %zu hot pages", found, hot);
}

static void expect_found(struct area *area)
{
	expect(area, area->unit);
}

static void expect_written(struct area *area)
{
	expect(area, area->kind == THP ? PAGE : area->unit);
}

static void scan_accessed(struct area *area)
{
	scan(area, PAGE_IS_ACCESSED, 0);
}

static void scan_written(struct area *area)
{
	scan(area, PAGE_IS_WRITTEN, 0);
}

/* What a manager does at the end of an interval. */
static void scan_and_arm(struct area *area)
{
	scan(area, PAGE_IS_ACCESSED, 0);
	for (size_t i = 0; i < area->nr_found; i++)
		uffd_rwp(area->uffd, (void *)area->found[i].start,
			 area->found[i].end - area->found[i].start, true);
}

static void scan_and_arm_all(struct area *area)
{
	scan(area, PAGE_IS_ACCESSED, 0);
	arm(area);
}

static void scan_and_protect(struct area *area)
{
	scan(area, PAGE_IS_WRITTEN, PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC);
}

/*
 * Sync faults are resolved by a thread that reads the messages one by one. It
 * ends with the process.
 */
static void *handler(void *arg)
{
	struct area *area = arg;
	bool rwp = area->data;
	struct uffd_msg msg;

	for (;;) {
		void *page;

		if (read(area->uffd, &msg, sizeof(msg)) != sizeof(msg))
			err(1, "read from the userfaultfd");
		page = (void *)((uintptr_t)msg.arg.pagefault.address &
				~(area->unit - 1));
		if (rwp)
			uffd_rwp(area->uffd, page, area->unit, false);
		else
			uffd_wp(area->uffd, page, area->unit, false);
	}
	return NULL;
}

static bool start_handler(struct area *area, void *rwp)
{
	pthread_t thread;

	area->data = rwp;
	if (pthread_create(&thread, NULL, handler, area))
		errx(1, "no thread");
	return true;
}

static bool setup_rwp_sync(struct area *area)
{
	return setup(area, RWP, UFFDIO_REGISTER_MODE_RWP) &&
	       start_handler(area, area);
}

static bool setup_wp_sync(struct area *area)
{
	return setup(area, WP, UFFDIO_REGISTER_MODE_WP) &&
	       start_handler(area, NULL);
}

static const struct row table[] = {
	{ "arm", setup_rwp, resolve, arm },
	{ "arm what is armed", setup_rwp, arm, arm },
	{ "resolve", setup_rwp, arm, resolve },
	{ "async fault, read", setup_rwp, arm, read_all },
	{ "async fault, write", setup_rwp, arm, write_all },
	{ "scan, none hot", setup_rwp, arm_and_read, scan_accessed,
	  expect_found, 0 },
	{ "scan, 1% hot", setup_rwp, arm_and_read, scan_accessed,
	  expect_found, 100 },
	{ "scan, every second", setup_rwp, arm_and_read, scan_accessed,
	  expect_found, 2 },
	{ "scan, all hot", setup_rwp, arm_and_read, scan_accessed,
	  expect_found, 1 },
	{ "scan and arm, 1% hot", setup_rwp, arm_and_read, scan_and_arm,
	  expect_found, 100 },
	{ "scan and arm all, 1% hot", setup_rwp, arm_and_read,
	  scan_and_arm_all, expect_found, 100 },
	{ "scan and arm all, all hot", setup_rwp, arm_and_read,
	  scan_and_arm_all, expect_found, 1 },
	{ "sync fault, read", setup_rwp_sync, arm, read_all, .slow = true },
	{ "sync fault, write", setup_rwp_sync, arm, write_all, .slow = true },

	{ "WP protect", setup_wp, unprotect, protect },
	{ "WP protect what is protected", setup_wp, protect, protect },
	{ "WP unprotect", setup_wp, protect, unprotect },
	{ "WP async fault", setup_wp, renew_and_protect, write_all,
	  .splits = true },
	{ "WP scan, none written", setup_wp, protect_and_write, scan_written,
	  expect_written, 0, .splits = true },
	{ "WP scan, 1% written", setup_wp, protect_and_write, scan_written,
	  expect_written, 100, .splits = true },
	{ "WP scan, every second", setup_wp, protect_and_write, scan_written,
	  expect_written, 2, .splits = true },
	{ "WP scan, all written", setup_wp, protect_and_write, scan_written,
	  expect_written, 1, .splits = true },
	{ "WP scan and protect, 1% written", setup_wp, protect_and_write,
	  scan_and_protect, expect_written, 100, .splits = true },
	{ "WP scan and protect, every second", setup_wp, protect_and_write,
	  scan_and_protect, expect_written, 2, .splits = true },
	{ "WP sync fault", setup_wp_sync, protect, write_all, .slow = true },
};

const struct rows track_rows = { table, ARRAY_SIZE(table) };
