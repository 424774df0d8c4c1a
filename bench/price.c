// SPDX-License-Identifier: GPL-2.0
/*
 * What everyone does with memory, whether or not anybody tracks it; and the same
 * on armed memory.
 */
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/swap.h>
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

static void empty(struct area *area)
{
	if (madvise(area->mem, area->size, MADV_DONTNEED))
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
	touch_read(area, 1);
}

static void write_all(struct area *area)
{
	touch_write(area, 1);
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

static void prepare_and_fork(struct area *area)
{
	prepare(area);
	do_fork(area);
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
	touch_read(area, 1);
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

static void map_again(struct area *area)
{
	if (mmap(area->mem, area->size, PROT_READ | PROT_WRITE,
		 (area->memfd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED) |
		 MAP_FIXED, area->memfd, 0) != area->mem)
		err(1, "mmap");
	if (area->kind == THP && madvise(area->mem, area->size, MADV_HUGEPAGE))
		err(1, "MADV_HUGEPAGE");
	if (area->uffd >= 0 && !uffd_register(area->uffd, area->mem, area->size,
					      UFFDIO_REGISTER_MODE_RWP))
		err(1, "UFFDIO_REGISTER");
}

static void map_and_prepare(struct area *area)
{
	map_again(area);
	prepare(area);
}

static void unmap(struct area *area)
{
	if (munmap(area->mem, area->size))
		err(1, "munmap");
}

static void map_unmap(struct area *area)
{
	unmap(area);
	map_again(area);
}

static void page_out(struct area *area)
{
	if (madvise(area->mem, area->size, MADV_PAGEOUT))
		err(1, "MADV_PAGEOUT");
}

static void expect_out(struct area *area)
{
	scan(area, PAGE_IS_SWAPPED, 0);
	if (area->nr_found != 1 ||
	    area->found->end - area->found->start != area->size)
		errx(1, "not everything was swapped out");
}

static void prepare_and_page_out(struct area *area)
{
	prepare(area);
	page_out(area);
	expect_out(area);
}

/* Swap on compressed memory: no device whose time would count. */
static bool setup_swap(struct area *area)
{
	static const char size[] = "512M", device[] = "/dev/zram0";
	char header[PAGE] = { };
	struct {
		uint32_t version, last_page, nr_badpages;
	} *info = (void *)(header + 1024);
	int fd;

	if (area->kind != ANON || area->size > 256 * MIB)
		return false;
	fd = open("/sys/block/zram0/disksize", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		err(1, "zram");
	/* The first row that needs it sets it up, the others find it in use. */
	if (write(fd, size, sizeof(size)) == sizeof(size)) {
		close(fd);
		info->version = 1;
		info->last_page = 512 * MIB / PAGE - 1;
		memcpy(header + PAGE - 10, "SWAPSPACE2", 10);
		fd = open(device, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, header, PAGE) != PAGE || fsync(fd) ||
		    swapon(device, 0))
			err(1, "swapon");
	}
	close(fd);
	return true;
}

static bool armed_swap(struct area *area)
{
	return setup_swap(area) && setup_rwp(area);
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
	{ "fault that copies, file", setup_private, empty_and_read, write_all },
	{ "fault that copies, after fork", anonymous_only, prepare_and_fork,
	  write_all, end_child },
	{ "fork", setup_populated, prepare, do_fork, end_child },
	{ "mprotect, read and back", setup_populated, prepare,
	  mprotect_and_back },
	{ "mprotect, none and back", setup_populated, prepare,
	  mprotect_none_and_back },
	{ "mmap and munmap, empty", NULL, empty, map_unmap, .operations = 1 },
	{ "munmap", NULL, map_and_prepare, unmap },
	{ "swap-out", setup_swap, prepare, page_out, expect_out },
	{ "swap-in", setup_swap, prepare_and_page_out, read_all },
	{ "scan, present", setup_populated, prepare, scan_present },
	{ "read pagemap", setup_populated, prepare, read_pagemap },
};

static const struct row armed_table[] = {
	{ "armed: fork", setup_rwp, prepare, do_fork, end_child },
	{ "armed: mprotect, read and back", setup_rwp, prepare,
	  mprotect_and_back },
	{ "armed: mprotect, none and back", setup_rwp, prepare,
	  mprotect_none_and_back },
	{ "armed: munmap", setup_rwp, map_and_prepare, unmap },
	{ "armed: swap-out", armed_swap, prepare, page_out, expect_out },
	{ "armed: swap-in", armed_swap, prepare_and_page_out, read_all },
	{ "armed: scan, present", setup_rwp, prepare, scan_present },
	{ "armed: read pagemap", setup_rwp, prepare, read_pagemap },
};

const struct rows price_rows = { table, ARRAY_SIZE(table) };
const struct rows armed_rows = { armed_table, ARRAY_SIZE(armed_table) };
