// SPDX-License-Identifier: GPL-2.0
/* The memory that is measured. */
#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

/* So many that the kernel flushes everything, and not one by one */
#define FLUSH_PAGES 64

const char *const kind_names[KINDS] = {
	[ANON] = "anon-4K", [SHMEM] = "shmem-4K",
	[THP] = "thp-2M", [HUGETLB] = "hugetlb-2M",
};

static int make_memfd(enum kind kind, size_t size)
{
	int fd = memfd_create("bench", kind == HUGETLB ? MFD_HUGETLB : 0);

	if (fd < 0 || ftruncate(fd, size))
		err(1, "memfd of %zu MiB", size / MIB);
	return fd;
}

void area_map(struct area *area, enum kind kind, size_t size)
{
	bool file = kind == SHMEM || kind == HUGETLB;
	bool huge = kind == THP || kind == HUGETLB;
	char *room;

	*area = (struct area){
		.kind = kind, .size = size, .unit = huge ? HUGE : PAGE,
		.step = 1, .memfd = -1, .uffd = -1,
	};
	area->units = size / area->unit;
	/* The others get the memory back that the last one has set aside. */
	write_file("/proc/sys/vm/nr_hugepages", "%zu",
		   kind == HUGETLB ? size / HUGE : 0);
	if (file)
		area->memfd = make_memfd(kind, size);

	room = mmap(NULL, size + 2 * HUGE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		err(1, "mmap");
	room = (char *)(((uintptr_t)room + HUGE) & ~(HUGE - 1));
	area->mem = mmap(room, size, PROT_READ | PROT_WRITE,
			 (file ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS) |
			 MAP_FIXED, area->memfd, 0);
	if (area->mem == MAP_FAILED)
		err(1, "mmap of %zu MiB of %s", size / MIB, kind_names[kind]);
	if (kind == THP && madvise(area->mem, size, MADV_HUGEPAGE))
		err(1, "MADV_HUGEPAGE");

	area->found = calloc(area->units, sizeof(*area->found));
	area->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (!area->found || area->pagemap < 0)
		err(1, "pagemap");
	/* No reading pays for the first touch of what it writes to. */
	for (size_t i = 0; i < area->units; i++)
		area->found[i].start = 1;
}

void populate(struct area *area)
{
	touch_write(area, 1);
}

/*
 * The emulator's TLB keeps every translation, where a processor's is small. What
 * goes by accessed bits would see next to nothing, so the TLB is flushed, as
 * often as a small one would have filled.
 */
void flush_tlb(void)
{
	static char *pages;

	if (!pages)
		pages = mmap(NULL, FLUSH_PAGES * PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (pages == MAP_FAILED ||
	    mprotect(pages, FLUSH_PAGES * PAGE, PROT_READ) ||
	    mprotect(pages, FLUSH_PAGES * PAGE, PROT_READ | PROT_WRITE))
		err(1, "TLB flush");
}

void map_again(struct area *area)
{
	size_t size = area->size / area->step;

	if (mmap(area->mem, size, PROT_READ | PROT_WRITE,
		 (area->memfd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED) |
		 MAP_FIXED, area->memfd, 0) != area->mem)
		err(1, "mmap");
	if (area->kind == THP && madvise(area->mem, size, MADV_HUGEPAGE))
		err(1, "MADV_HUGEPAGE");
	if (area->uffd >= 0 &&
	    !uffd_register(area->uffd, area->mem, size, area->mode))
		err(1, "UFFDIO_REGISTER");
}

/* As long as there is a page table, no huge page takes its place. */
void renew_huge(struct area *area)
{
	if (area->kind != THP)
		return;
	map_again(area);
	populate(area);
}

void touch_read(struct area *area, size_t step)
{
	for (size_t i = 0; i < area->size; i += step * area->unit)
		(void)*(volatile char *)(area->mem + i);
}

void touch_write(struct area *area, size_t step)
{
	for (size_t i = 0; i < area->size; i += step * area->unit)
		*(volatile char *)(area->mem + i) = 1;
}
