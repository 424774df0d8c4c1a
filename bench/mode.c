// SPDX-License-Identifier: GPL-2.0
/*
 * UFFDIO_SET_MODE with many VMAs, and what a manager had to do without it:
 * unregister and register.
 */
#include <err.h>
#include <sys/mman.h>

#include "bench.h"

#define RWP_ASYNC (UFFD_FEATURE_RWP | UFFD_FEATURE_RWP_ASYNC)

/* VMAs of one page each: two that are neighbours differ in their permissions. */
static char *map_vmas(size_t nr)
{
	char *mem = mmap(NULL, nr * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED)
		err(1, "mmap");
	for (size_t i = 1; i < nr; i += 2) {
		if (mprotect(mem + i * PAGE, PAGE, PROT_READ))
			err(1, "mprotect");
	}
	return mem;
}

static bool setup_area(struct area *area)
{
	area->uffd = uffd_open(RWP_ASYNC);
	return area->uffd >= 0 &&
	       uffd_register(area->uffd, area->mem, area->size,
			     UFFDIO_REGISTER_MODE_RWP);
}

/* The context has the area; all other VMAs of the process are not its own. */
static bool setup_foreign(struct area *area)
{
	map_vmas(area->arg);
	return setup_area(area);
}

/* Foreign VMAs between the area and another range of the context. */
static bool setup_between(struct area *area)
{
	char *mem;

	if (!setup_area(area))
		return false;
	mem = map_vmas(area->arg + 2);
	return uffd_register(area->uffd, mem, PAGE, UFFDIO_REGISTER_MODE_RWP);
}

/* All VMAs that matter are the context's. */
static bool setup_own(struct area *area)
{
	area->mem = map_vmas(area->arg);
	area->size = area->arg * PAGE;
	return setup_area(area);
}

static void to_sync_and_back(struct area *area)
{
	uffd_set_mode(area->uffd, false);
	uffd_set_mode(area->uffd, true);
}

static void unregister_register(struct area *area)
{
	uffd_unregister(area->uffd, area->mem, area->size);
	if (!uffd_register(area->uffd, area->mem, area->size,
			   UFFDIO_REGISTER_MODE_RWP))
		errx(1, "UFFDIO_REGISTER");
}

static void populate_and_arm(struct area *area)
{
	populate(area);
	uffd_rwp(area->uffd, area->mem, area->size, true);
}

#define SET_MODE(name, setup, nr) \
	{ name, setup, NULL, to_sync_and_back, .arg = nr, .operations = 2 }
#define REGISTER(name, setup, nr) \
	{ name, setup, NULL, unregister_register, .arg = nr, .operations = 1 }

static const struct row table[] = {
	{ "unregister and register, all armed", setup_area, populate_and_arm,
	  unregister_register, .operations = 1 },
	SET_MODE("SET_MODE", setup_area, 0),
	SET_MODE("SET_MODE, 2 own", setup_own, 2),
	SET_MODE("SET_MODE, 16 own", setup_own, 16),
	SET_MODE("SET_MODE, 64 own", setup_own, 64),
	SET_MODE("SET_MODE, 100 own", setup_own, 100),
	SET_MODE("SET_MODE, 10000 own", setup_own, 10000),
	SET_MODE("SET_MODE, 60000 own", setup_own, 60000),
	REGISTER("unregister and register, 100 own", setup_own, 100),
	REGISTER("unregister and register, 10000 own", setup_own, 10000),
	REGISTER("unregister and register, 60000 own", setup_own, 60000),
	SET_MODE("SET_MODE, 100 foreign", setup_foreign, 100),
	SET_MODE("SET_MODE, 10000 foreign", setup_foreign, 10000),
	SET_MODE("SET_MODE, 40000 foreign", setup_foreign, 40000),
	SET_MODE("SET_MODE, 60000 foreign", setup_foreign, 60000),
	SET_MODE("SET_MODE, 40000 foreign between", setup_between, 40000),
};

const struct rows mode_rows = { table, ARRAY_SIZE(table), .apart = true };
