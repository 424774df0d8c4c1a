// SPDX-License-Identifier: GPL-2.0
/*
 * Idle page tracking: a bit for each frame of the machine's memory, to be set,
 * and found cleared when the page was used.
 */
#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"

#define PFN_MASK ((1ULL << 55) - 1)
#define MAX_PFN (16UL << 18)	/* 16 GiB */

static uint64_t bitmap[MAX_PFN / 64];
static size_t low, high;	/* the words in use are [low, high) */
static uint64_t *entries;	/* of pagemap, one a page */
static int bitmap_fd;

bool idle_setup(struct area *area)
{
	bitmap_fd = open("/sys/kernel/mm/page_idle/bitmap", O_RDWR | O_CLOEXEC);
	entries = malloc(area->size / PAGE * sizeof(*entries));
	return bitmap_fd >= 0 && entries;
}

/* A page can be moved at any time, so this is done for each interval. */
static void find_frames(struct area *area)
{
	size_t len = area->size / PAGE * sizeof(*entries);
	off_t at = (uintptr_t)area->mem / PAGE * sizeof(*entries);

	for (size_t done = 0; done < len;) {
		ssize_t got = pread(area->pagemap, (char *)entries + done,
				    len - done, at + done);

		if (got <= 0)
			err(1, "pagemap");
		done += got;
	}
}

static uint64_t frame_of(struct area *area, size_t unit)
{
	uint64_t pfn = entries[unit * (area->unit / PAGE)] & PFN_MASK;

	if (!pfn || pfn >= MAX_PFN)
		errx(1, "frame %#lx", (unsigned long)pfn);
	return pfn;
}

/* Each run of words that have bits of ours, as one read or write. */
static void each_run(ssize_t (*call)(int, uint64_t *, size_t, off_t))
{
	for (size_t word = low; word < high;) {
		size_t end = word;
		size_t len;

		while (end < high && bitmap[end])
			end++;
		len = (end - word) * sizeof(*bitmap);
		if (len && call(bitmap_fd, bitmap + word, len,
				word * sizeof(*bitmap)) != (ssize_t)len)
			err(1, "page_idle");
		word = end + 1;
	}
}

static ssize_t write_run(int fd, uint64_t *from, size_t len, off_t at)
{
	return pwrite(fd, from, len, at);
}

static ssize_t read_run(int fd, uint64_t *to, size_t len, off_t at)
{
	return pread(fd, to, len, at);
}

void idle_mark(struct area *area)
{
	find_frames(area);
	while (low < high)
		bitmap[--high] = 0;
	low = ARRAY_SIZE(bitmap);
	high = 0;
	for (size_t unit = 0; unit < area->units; unit++) {
		uint64_t pfn = frame_of(area, unit);
		size_t word = pfn / 64;

		bitmap[word] |= 1ULL << (pfn % 64);
		if (word < low)
			low = word;
		if (word >= high)
			high = word + 1;
	}
	each_run(write_run);
}

/* Afterwards idle_is_hot() knows. A word that reads as 0 ends no run. */
void idle_read(struct area *area)
{
	(void)area;
	each_run(read_run);
}

bool idle_is_hot(struct area *area, size_t unit)
{
	uint64_t pfn = frame_of(area, unit);

	return !(bitmap[pfn / 64] & 1ULL << (pfn % 64));
}
