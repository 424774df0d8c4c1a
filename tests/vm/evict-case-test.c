// SPDX-License-Identifier: GPL-2.0
/* The evictor, one situation after the other. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "evict-memory.h"
#include "target.h"
#include "test.h"

#define LEN (4UL << 20)

static const enum kind kinds[] = { SHARED, ANON, ANON_THP, HUGETLB,
				   SHARED_THP };
#define KINDS (arms_shared_huge ? 5U : 4U)

static uint64_t held(struct manager *manager)
{
	struct rwp_evict_stats evictor;
	struct rwp_store_stats stats;

	/* Who waited is woken before the copy is dropped: this comes after. */
	rwp_evictor_stats(manager->evictor, &evictor);
	rwp_store_stats(manager->store, &stats);
	return stats.bytes;
}

static size_t evict_all(struct manager *manager, struct area *area)
{
	int64_t units = arm_and_evict(manager, area);

	CHECK_EQ(units * area->unit, area->len);
	CHECK_EQ(held(manager), area->len);
	return units;
}

/* Memory that is evicted is not in memory; touched or restored it comes back. */
TEST(out_and_back)
{
	for (unsigned int i = 0; i < KINDS; i++) {
		struct manager manager;
		struct area area;

		area_make(&area, kinds[i], LEN);
		manager_start(&manager, &area, NULL, 0);
		evict_all(&manager, &area);
		CHECK_EQ(area_resident(&area), 0);
		/* By touching all of it. */
		CHECK_EQ(area_check(&area), 0);
		CHECK_EQ(held(&manager), 0);
		CHECK(area_resident(&area) >= LEN);
		/* In one go. */
		evict_all(&manager, &area);
		OK(rwp_evictor_restore(manager.evictor, NULL, NULL, error));
		CHECK_EQ(held(&manager), 0);
		CHECK(area_resident(&area) >= LEN);
		manager_stop(&manager, &area);
	}
}

/* What was touched after it was armed stays. */
TEST(touched_stays)
{
	struct rwp_range range;
	struct manager manager;
	struct area area;

	area_make(&area, SHARED, LEN);
	manager_start(&manager, &area, NULL, 0);
	range = (struct rwp_range){ (uintptr_t)area.base, LEN };
	OK(rwp_arm(manager.rwp, range, error));
	for (size_t page = 0; page < LEN / PAGE; page += 4)
		area_access(&area, page, true);
	CHECK_EQ(rwp_evict(manager.evictor, &range, 1, NULL),
		 LEN / PAGE / 4 * 3);
	CHECK_EQ(area_resident(&area), LEN / 4);
	manager_stop(&manager, &area);
}

/* A huge page of which one small page was touched stays as a whole. */
TEST(huge_whole_or_not)
{
	struct rwp_range range;
	struct manager manager;
	struct area area;

	area_make(&area, arms_shared_huge ? SHARED_THP : HUGETLB, 4 * HUGE);
	manager_start(&manager, &area, NULL, 0);
	range = (struct rwp_range){ (uintptr_t)area.base, area.len };
	OK(rwp_arm(manager.rwp, range, error));
	area_access(&area, HUGE / PAGE + 17, true);
	CHECK_EQ(rwp_evict(manager.evictor, &range, 1, NULL), 3);
	CHECK_EQ(area_resident(&area), HUGE);
	manager_stop(&manager, &area);
}

/* A store without room ends the eviction, and nothing else. */
TEST(full_store)
{
	for (unsigned int i = 0; i < KINDS; i++) {
		struct rwp_range range;
		struct rwp_error error = { 0 };
		struct manager manager;
		struct area area;

		area_make(&area, kinds[i], 4 * LEN);
		manager_start(&manager, &area, NULL, 3 * LEN / 2);
		range = (struct rwp_range){ (uintptr_t)area.base, area.len };
		OK(rwp_arm(manager.rwp, range, error));
		CHECK_EQ(rwp_evict(manager.evictor, &range, 1, &error),
			 -ENOSPC);
		CHECK_EQ(error.code, -ENOSPC);
		CHECK(held(&manager) >= LEN);
		CHECK(held(&manager) <= 3 * LEN / 2);
		/* Asynchronous again, and served. */
		CHECK(rwp_features(manager.rwp) & 1 << 18);
		CHECK_EQ(area_check(&area), 0);
		manager_stop(&manager, &area);
	}
}

/* A dry run counts and moves nothing. */
TEST(dry_run)
{
	struct rwp_evictor_options options = { .dry_run = true };
	struct rwp_evict_stats stats;
	struct manager manager;
	struct area area;

	area_make(&area, SHARED, LEN);
	manager_start(&manager, &area, &options, 0);
	CHECK_EQ(arm_and_evict(&manager, &area), 0);
	rwp_evictor_stats(manager.evictor, &stats);
	CHECK_EQ(stats.asked, LEN / PAGE);
	CHECK_EQ(area_resident(&area), LEN);
	manager_stop(&manager, &area);
}

/* No faster than the limit says. */
TEST(bandwidth)
{
	struct rwp_evictor_options options = { .bytes_per_second = LEN,
					       .batch = 64 };
	struct manager manager;
	struct timespec before, after;
	struct area area;
	double took;

	area_make(&area, SHARED, LEN);
	manager_start(&manager, &area, &options, 0);
	clock_gettime(CLOCK_MONOTONIC, &before);
	evict_all(&manager, &area);
	clock_gettime(CLOCK_MONOTONIC, &after);
	took = after.tv_sec - before.tv_sec +
	       (after.tv_nsec - before.tv_nsec) / 1e9;
	CHECK(took > 0.9);
	manager_stop(&manager, &area);
}

/*
 * madvise() on evicted anonymous memory: what is dropped reads as zeros, also a
 * part of a huge page, and the rest is what it was.
 */
TEST(dropped_by_its_owner)
{
	for (unsigned int huge = 0; huge < 2; huge++) {
		struct manager manager;
		struct area area;
		size_t from = HUGE / 2 / PAGE, to = from + 16;

		area_make(&area, huge ? ANON_THP : ANON, LEN);
		manager_start(&manager, &area, NULL, 0);
		evict_all(&manager, &area);
		CHECK(!madvise(area.base + from * PAGE, 16 * PAGE,
			       MADV_DONTNEED));
		for (size_t page = 0; page < LEN / PAGE; page++) {
			if (page < from || page >= to) {
				CHECK(area_page_right(&area, page));
				continue;
			}
			for (size_t i = 0; i < PAGE; i++)
				CHECK_EQ(area.base[page * PAGE + i], 0);
			area_access(&area, page, true);
		}
		atomic_store(&area.wrong, 0);
		manager_stop(&manager, &area);
	}
}

/* Of shared memory MADV_DONTNEED drops the mapping, not the content. */
TEST(unmapped_by_its_owner)
{
	struct manager manager;
	struct area area;

	area_make(&area, SHARED, LEN);
	manager_start(&manager, &area, NULL, 0);
	evict_all(&manager, &area);
	CHECK(!madvise(area.base, LEN / 2, MADV_DONTNEED));
	CHECK_EQ(area_check(&area), 0);
	/* Present, but not mapped: minor faults. */
	CHECK(!madvise(area.base, LEN / 2, MADV_DONTNEED));
	CHECK_EQ(area_check(&area), 0);
	manager_stop(&manager, &area);
}

/* System calls find what was evicted. */
TEST(access_by_the_kernel)
{
	for (unsigned int i = 0; i < KINDS; i++) {
		struct manager manager;
		struct area area;
		int pipes[2];

		area_make(&area, kinds[i], LEN);
		manager_start(&manager, &area, NULL, 0);
		CHECK(!pipe(pipes));
		evict_all(&manager, &area);
		for (size_t page = 0; page < LEN / PAGE; page += 8) {
			static char data[PAGE];

			CHECK_EQ(write(pipes[1], area.base + page * PAGE, PAGE),
				 PAGE);
			CHECK_EQ(read(pipes[0], data, PAGE), PAGE);
			CHECK(!memcmp(data, area.base + page * PAGE, PAGE));
			CHECK(area_page_right(&area, page));
		}
		manager_stop(&manager, &area);
	}
}

static sigjmp_buf back;

static void on_bus_error(int signal)
{
	siglongjmp(back, signal);
}

/* A page whose copy is damaged: SIGBUS, not zeros and not a hang. */
TEST(damaged_copy)
{
	struct manager manager;
	struct area area;
	volatile unsigned int bus_errors = 0;
	char data[4096];
	int fd;

	area_make(&area, SHARED, LEN);
	manager_start(&manager, &area, NULL, 0);
	evict_all(&manager, &area);
	fd = open(manager.path, O_RDWR);
	memset(data, 0x55, sizeof(data));
	CHECK_EQ(pwrite(fd, data, sizeof(data), 40960), sizeof(data));
	close(fd);
	signal(SIGBUS, on_bus_error);
	for (volatile size_t page = 0; page < LEN / PAGE; page++) {
		if (sigsetjmp(back, 1)) {
			bus_errors++;
			continue;
		}
		CHECK(area_page_right(&area, page));
	}
	CHECK(bus_errors > 0);
	CHECK(bus_errors < 32);
	CHECK_EQ(held(&manager), bus_errors * PAGE);
}

/* Memory that cannot be had is refused with a word about it. */
TEST(wrong_memory)
{
	struct manager manager;
	struct rwp_memory memory;
	struct rwp_error error;
	struct area area, other;

	area_make(&area, SHARED, LEN);
	area_make(&other, ANON, LEN);
	manager_start(&manager, &area, NULL, 0);
	memory = area_memory(&area);
	CHECK_EQ(rwp_evictor_add(manager.evictor, &memory, &error), -EEXIST);
	memory = area_memory(&other);
	memory.fd = area.fd;
	CHECK_EQ(rwp_evictor_add(manager.evictor, &memory, &error), -EINVAL);
	memory.fd = -1;
	memory.page_size = 12345;
	CHECK_EQ(rwp_evictor_add(manager.evictor, &memory, &error), -EINVAL);
	memory.page_size = 1 << 16;
	memory.range.start += PAGE;
	memory.range.len -= PAGE;
	CHECK_EQ(rwp_evictor_add(manager.evictor, &memory, &error), -EINVAL);
	memory = area_memory(&other);
	CHECK(!munmap(other.base + LEN / 2, PAGE));
	CHECK_EQ(rwp_evictor_add(manager.evictor, &memory, &error), -ENOENT);
	manager_stop(&manager, &area);
}

static int stop_soon(uint64_t done, uint64_t left, void *arg)
{
	unsigned int *calls = arg;

	CHECK_EQ(done + left, LEN);
	return ++*calls == 3;
}

/* Bringing back reports how far it is, and can be stopped. */
TEST(restore_progress)
{
	struct manager manager;
	struct area area;
	unsigned int calls = 0;

	area_make(&area, SHARED, LEN);
	manager_start(&manager, &area, NULL, 0);
	evict_all(&manager, &area);
	CHECK_EQ(rwp_evictor_restore(manager.evictor, stop_soon, &calls, NULL),
		 -ECANCELED);
	CHECK_EQ(calls, 3);
	CHECK(held(&manager) > LEN / 2);
	manager_stop(&manager, &area);
}

/* Much at once: it is read, written and punched by several threads. */
#define MANY (24UL << 20)
/* Read ahead while the callback below is called for the last time before it. */
#define AHEAD (4UL << 20)

struct meddler {
	struct area *area;
	size_t at;
	bool done;
};

/* Drop what was brought back by a fault, or a part of what is still away. */
static int meddle(uint64_t done, uint64_t left, void *arg)
{
	struct meddler *meddler = arg;
	struct area *area = meddler->area;
	size_t page = meddler->at / PAGE;

	(void)left;
	if (done < AHEAD / 2 || meddler->done)
		return 0;
	meddler->done = true;
	if (area->unit == PAGE)
		area_access(area, page, true);
	CHECK(!madvise(area->base + meddler->at, PAGE,
		       area->fd < 0 ? MADV_DONTNEED : MADV_REMOVE));
	return 0;
}

/* What was read ahead and is out of date by its turn is not filled in. */
TEST(dropped_while_brought_back)
{
	static const enum kind some[] = { SHARED, ANON, ANON_THP };

	for (unsigned int i = 0; i < 3; i++) {
		struct manager manager;
		struct area area;
		struct meddler meddler = { &area, AHEAD + AHEAD / 2, false };
		static char zeros[PAGE];

		area_make(&area, some[i], MANY);
		manager_start(&manager, &area, NULL, 0);
		evict_all(&manager, &area);
		OK(rwp_evictor_restore(manager.evictor, meddle, &meddler,
				       error));
		CHECK(meddler.done);
		CHECK_EQ(held(&manager), 0);
		CHECK(!memcmp(area.base + meddler.at, zeros, PAGE));
		/* As if it had been so all the time. */
		area_access(&area, meddler.at / PAGE, true);
		CHECK_EQ(atomic_load(&area.wrong), 1);
		manager_stop(&manager, &area);
	}
}

/* Faults and bringing back at the same time lose nothing. */
TEST(in_use_while_brought_back)
{
	static const enum kind some[] = { SHARED, ANON_THP };

	for (unsigned int i = 0; i < 2; i++) {
		struct manager manager;
		struct writers writers;
		struct area area;

		area_make(&area, some[i], MANY);
		manager_start(&manager, &area, NULL, 0);
		for (unsigned int round = 0; round < 2; round++) {
			evict_all(&manager, &area);
			writers_start(&writers, &area);
			OK(rwp_evictor_restore(manager.evictor, NULL, NULL,
					       error));
			CHECK_EQ(held(&manager), 0);
			writers_stop(&writers);
			CHECK_EQ(atomic_load(&area.wrong), 0);
			CHECK_EQ(area_check(&area), 0);
		}
		manager_stop(&manager, &area);
	}
}

/* What cannot be read is not held, and stays. */
TEST(unreadable_stays)
{
	struct rwp_evict_stats stats;
	struct manager manager;
	struct rwp_range all;
	struct area area;
	int own, empty = memfd_create("empty", 0);

	area_make(&area, SHARED, MANY);
	manager_start(&manager, &area, NULL, 0);
	all = (struct rwp_range){ (uintptr_t)area.base, MANY };
	OK(rwp_arm(manager.rwp, all, error));
	own = dup(area.fd);
	CHECK(own >= 0 && empty >= 0);
	CHECK_EQ(dup2(empty, area.fd), area.fd);
	CHECK_EQ(rwp_evict(manager.evictor, &all, 1, NULL), -ENODATA);
	CHECK_EQ(dup2(own, area.fd), area.fd);
	rwp_evictor_stats(manager.evictor, &stats);
	CHECK_EQ(stats.evicted, 0);
	CHECK(stats.failed);
	CHECK_EQ(held(&manager), 0);
	manager_stop(&manager, &area);
	close(own);
	close(empty);
}

/* Shared and anonymous memory in turns. */
TEST(both_kinds)
{
	struct manager manager;
	struct rwp_evict_stats stats;
	struct area shared, anon;
	struct rwp_memory memory;

	area_make(&shared, SHARED, LEN);
	area_make(&anon, ANON, LEN);
	manager_start(&manager, &shared, NULL, 0);
	memory = area_memory(&anon);
	memory.space++;
	OK(rwp_evictor_add(manager.evictor, &memory, error));
	for (unsigned int round = 0; round < 2; round++) {
		CHECK_EQ(arm_and_evict(&manager, &shared), LEN / PAGE);
		CHECK_EQ(arm_and_evict(&manager, &anon), LEN / PAGE);
		OK(rwp_evictor_restore(manager.evictor, NULL, NULL, error));
	}
	rwp_evictor_stats(manager.evictor, &stats);
	CHECK_EQ(stats.failed, 0);
	manager_stop(&manager, &shared);
	CHECK_EQ(area_check(&anon), 0);
}

/* Of the process itself, other than the memory that is shared with its file. */
static size_t own_memory(void)
{
	FILE *file = fopen("/proc/self/smaps_rollup", "re");
	unsigned long kib = 0;
	char line[128];

	CHECK(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "Anonymous: %lu", &kib) == 1)
			break;
	fclose(file);
	CHECK(kib);
	return kib << 10;
}

/* Evicting much keeps no more memory than the requests of the store take. */
TEST(memory_of_its_own)
{
	size_t before, after;
	struct manager manager;
	struct area area;

	area_make(&area, SHARED, 64 << 20);
	manager_start(&manager, &area, NULL, 0);
	before = own_memory();
	evict_all(&manager, &area);
	after = own_memory();
	printf("# %zu KiB before, %zu KiB after 64 MiB were evicted\n",
	       before >> 10, after >> 10);
	CHECK(after < before + (3 << 20));
	OK(rwp_evictor_restore(manager.evictor, NULL, NULL, error));
	after = own_memory();
	printf("# %zu KiB after they were brought back\n", after >> 10);
	CHECK(after < before + (5 << 20));
	manager_stop(&manager, &area);
}
