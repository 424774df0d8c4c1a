// SPDX-License-Identifier: GPL-2.0
/*
 * What everyone does with memory, whether or not anybody tracks it; and the same
 * on armed memory.
 */
#include <err.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

/* Present and plain, or armed where the area has a context. */
static void prepare(struct area *area)
{
	populate(area);
	if (area->uffd >= 0)
		uffd_rwp(area->uffd, area->mem, area->size, true);
}

/* What a slow row works on */
static size_t part(struct area *area)
{
	return area->size / area->step;
}

static void empty(struct area *area)
{
	if (madvise(area->mem, part(area), MADV_DONTNEED))
		err(1, "MADV_DONTNEED");
}

/* A file keeps its pages: the faults that follow only map them. */
static bool setup_populated(struct area *area)
{
	populate(area);
	return true;
}

static bool anonymous_only(struct area *area)
{
	return area->memfd < 0 && setup_populated(area);
}

static void read_all(struct area *area)
{
	touch_read(area, area->step);
}

static void write_all(struct area *area)
{
	touch_write(area, area->step);
}

static pid_t fork_paused(void)
{
	pid_t child = fork();

	if (child < 0)
		err(1, "fork");
	if (!child) {
		for (;;)
			pause();
	}
	return child;
}

static void do_fork(struct area *area)
{
	area->data = (void *)(long)fork_paused();
}

static void end_child(struct area *area)
{
	pid_t child = (long)area->data;

	if (kill(child, SIGKILL) || waitpid(child, NULL, 0) != child)
		err(1, "end of a child");
}

/*
 * A private mapping of a file that has all of its pages mapped for reading. The
 * pool of huge pages has none left for the copies.
 */
static bool setup_private(struct area *area)
{
	if (area->kind != SHMEM)
		return false;
	populate(area);
	if (mmap(area->mem, area->size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_FIXED, area->memfd, 0) != area->mem)
		err(1, "private mapping");
	return true;
}

static void empty_and_read(struct area *area)
{
	empty(area);
	touch_read(area, area->step);
}

static void mprotect_and_back(struct area *area)
{
	if (mprotect(area->mem, area->size, PROT_READ) ||
	    mprotect(area->mem, area->size, PROT_READ | PROT_WRITE))
		err(1, "mprotect");
}

static void mprotect_none_and_back(struct area *area)
{
	if (mprotect(area->mem, area->size, PROT_NONE) ||
	    mprotect(area->mem, area->size, PROT_READ | PROT_WRITE))
		err(1, "mprotect");
}

static void map_and_prepare(struct area *area)
{
	map_again(area);
	prepare(area);
}

static void prepare_huge(struct area *area)
{
	renew_huge(area);
	prepare(area);
}

static void prepare_and_fork(struct area *area)
{
	prepare_huge(area);
	do_fork(area);
}

static void unmap(struct area *area)
{
	if (munmap(area->mem, part(area)))
		err(1, "munmap");
}

static void map_unmap(struct area *area)
{
	unmap(area);
	map_again(area);
}

static void page_out(struct area *area)
{
	if (madvise(area->mem, part(area), MADV_PAGEOUT))
		err(1, "MADV_PAGEOUT");
}

static void expect_out(struct area *area)
{
	static unsigned char in[2048 * MIB / PAGE];

	if (mincore(area->mem, part(area), in))
		err(1, "mincore");
	if (memchr(in, 1, part(area) / PAGE))
		errx(1, "not everything was swapped out");
}

static void prepare_and_page_out(struct area *area)
{
	prepare_huge(area);
	page_out(area);
	expect_out(area);
}

static void swap_in(struct area *area)
{
	for (size_t i = 0; i < part(area); i += PAGE)
		(void)*(volatile char *)(area->mem + i);
}

static void scan_present(struct area *area)
{
	scan(area, PAGE_IS_PRESENT, 0);
}

static void read_pagemap(struct area *area)
{
	static uint64_t entry[4096];
	size_t first = (uintptr_t)area->mem / PAGE, nr = area->size / PAGE;

	for (size_t i = 0; i < nr; i += ARRAY_SIZE(entry)) {
		size_t len = nr - i < ARRAY_SIZE(entry) ? nr - i :
							  ARRAY_SIZE(entry);

		len *= sizeof(*entry);
		if (pread(area->pagemap, entry, len,
			  (first + i) * sizeof(*entry)) != (ssize_t)len)
			err(1, "pagemap");
	}
}

static const struct row table[] = {
	{ "fault on nothing, write", NULL, empty, write_all },
	{ "fault on nothing, read", NULL, empty, read_all },
	{ "fault on a file, private", setup_private, empty, read_all },
	{ "fault that copies, file", setup_private, empty_and_read, write_all },
	{ "fault that copies, after fork", anonymous_only, prepare_and_fork,
	  write_all, end_child },
	{ "fork", setup_populated, prepare, do_fork, end_child },
	{ "mprotect, read and back", setup_populated, prepare,
	  mprotect_and_back },
	{ "mprotect, none and back", setup_populated, prepare,
	  mprotect_none_and_back },
	{ "scan, present", setup_populated, prepare, scan_present },
	{ "read pagemap", setup_populated, prepare, read_pagemap },
	{ "mmap and munmap, empty", NULL, empty, map_unmap, .operations = 1 },
	{ "munmap", NULL, map_and_prepare, unmap, .slow = true },
	{ "swap-out", setup_populated, prepare_huge, page_out, expect_out,
	  .slow = true, .not_hugetlb = true },
	{ "swap-in", setup_populated, prepare_and_page_out, swap_in,
	  .slow = true, .not_hugetlb = true },
};

static const struct row armed_table[] = {
	{ "armed: fork", setup_rwp, prepare, do_fork, end_child },
	{ "armed: mprotect, read and back", setup_rwp, prepare,
	  mprotect_and_back },
	{ "armed: mprotect, none and back", setup_rwp, prepare,
	  mprotect_none_and_back },
	{ "armed: scan, present", setup_rwp, prepare, scan_present },
	{ "armed: read pagemap", setup_rwp, prepare, read_pagemap },
	{ "armed: swap-out", setup_rwp, prepare_huge, page_out, expect_out,
	  .slow = true, .not_hugetlb = true },
	{ "armed: swap-in", setup_rwp, prepare_and_page_out, swap_in,
	  .slow = true, .not_hugetlb = true },
	/* The last one: it leaves no memory behind. */
	{ "armed: munmap", setup_rwp, map_and_prepare, unmap, .slow = true },
};

const struct rows price_rows = { table, ARRAY_SIZE(table) };
const struct rows armed_rows = { armed_table, ARRAY_SIZE(armed_table) };
