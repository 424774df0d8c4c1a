// SPDX-License-Identifier: GPL-2.0
/*
 * What else there is to find out which memory is used: soft-dirty, mprotect()
 * with SIGSEGV, page_idle, and the accessed bits that clear_refs and smaps show.
 */
#include <err.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

void clear_soft_dirty(struct area *area)
{
	(void)area;
	write_file("/proc/self/clear_refs", "4");
}

void clear_accessed(struct area *area)
{
	(void)area;
	write_file("/proc/self/clear_refs", "1");
}

static void scan_soft_dirty(struct area *area)
{
	scan(area, PAGE_IS_SOFT_DIRTY, 0);
}

size_t referenced_kb(void)
{
	const char *text = read_file("/proc/self/smaps_rollup");
	const char *referenced = strstr(text, "\nReferenced:");

	return referenced ? strtoul(referenced + 12, NULL, 10) : 0;
}

static void read_smaps_rollup(struct area *area)
{
	area->nr_found = referenced_kb();
}

/* What is accessed sets the bit only if the TLB does not know the page. */
static void flush_and_populate(struct area *area)
{
	flush_tlb();
	populate(area);
}

static void expect_referenced(struct area *area)
{
	if (area->nr_found < area->size / 1024)
		errx(1, "smaps_rollup says %zu kB referenced", area->nr_found);
}

/* A page that faults becomes accessible: one VMA is split, or two are moved. */
static struct area *trap_area;
bool *segv_touched;

static void on_segv(int signal, siginfo_t *info, void *context)
{
	size_t unit = ((char *)info->si_addr - trap_area->mem) / trap_area->unit;

	(void)signal;
	(void)context;
	if (unit >= trap_area->units ||
	    mprotect(trap_area->mem + unit * trap_area->unit, trap_area->unit,
		     PROT_READ | PROT_WRITE))
		_exit(1);
	segv_touched[unit] = true;
}

bool setup_segv(struct area *area)
{
	struct sigaction action = {
		.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO,
	};

	trap_area = area;
	segv_touched = calloc(area->units, sizeof(*segv_touched));
	populate(area);
	return sigaction(SIGSEGV, &action, NULL) == 0;
}

void protect_all(struct area *area)
{
	if (mprotect(area->mem, area->size, PROT_NONE))
		err(1, "mprotect");
}

static void unprotect_all(struct area *area)
{
	if (mprotect(area->mem, area->size, PROT_READ | PROT_WRITE))
		err(1, "mprotect");
}

static void read_all(struct area *area)
{
	touch_read(area, area->step);
}

static void write_all(struct area *area)
{
	touch_write(area, area->step);
}

static bool setup_populated(struct area *area)
{
	populate(area);
	return true;
}

static void mark_idle_and_read(struct area *area)
{
	idle_mark(area);
	touch_read(area, area->step);
}

static bool setup_idle(struct area *area)
{
	populate(area);
	return idle_setup(area);
}

/* Pages of hugetlbfs are neither soft-dirty nor, for smaps, referenced. */
static const struct row table[] = {
	{ "soft-dirty: clear_refs 4", setup_populated, populate,
	  clear_soft_dirty, .not_hugetlb = true },
	{ "soft-dirty: fault", setup_populated, clear_soft_dirty, write_all,
	  .not_hugetlb = true },
	{ "soft-dirty: scan, all dirty", setup_populated, populate,
	  scan_soft_dirty, .not_hugetlb = true },
	{ "clear_refs 1", setup_populated, populate, clear_accessed },
	{ "smaps_rollup", setup_populated, flush_and_populate, read_smaps_rollup,
	  expect_referenced, .not_hugetlb = true },
	{ "SIGSEGV: mprotect", setup_segv, unprotect_all, protect_all },
	{ "SIGSEGV: fault", setup_segv, protect_all, read_all },
	{ "page_idle: find and mark", setup_idle, populate, idle_mark },
	{ "page_idle: read, all hot", setup_idle, mark_idle_and_read,
	  idle_read },
};

const struct rows peer_rows = { table, ARRAY_SIZE(table) };
