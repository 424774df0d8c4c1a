// SPDX-License-Identifier: GPL-2.0
/* Memory that is written to while it is evicted and fetched: nothing is lost. */
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "evict-memory.h"
#include "target.h"
#include "test.h"

/* It goes on until enough was evicted and fetched. */
#define SECONDS 5
#define SECONDS_MAX 120
#define ENOUGH 21

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/*
 * What to do in a loop. Batches of the usual size are had where all is brought back
 * each time: they are punched in parts, while the rest is written and read.
 */
static bool turn_over(struct manager *manager, struct area *area,
		      unsigned int batch)
{
	return arm_and_evict(manager, area) >= 0 &&
	       (batch ||
		!rwp_evictor_restore(manager->evictor, NULL, NULL, NULL));
}

/* Evict in a loop while two threads write; every page is checked at each access. */
static void evict_and_write(enum kind kind, size_t len, unsigned int batch)
{
	struct rwp_evictor_options options = { .batch = batch };
	struct rwp_evict_stats stats;
	struct manager manager;
	struct writers writers;
	struct area area;
	unsigned int rounds = 0;
	double begin, took;

	area_make(&area, kind, len);
	manager_start(&manager, &area, &options, 0);
	writers_start(&writers, &area);
	begin = now();
	do {
		double since = now();

		CHECK(turn_over(&manager, &area, batch));
		/* What is not in use has to stay so for longer than that. */
		took = now() - since;
		atomic_store(&area.turn_ms, 100 + 2000 * took);
		rwp_evictor_stats(manager.evictor, &stats);
		rounds++;
	} while (now() < begin + SECONDS ||
		 ((stats.evicted < ENOUGH || stats.served_missing < ENOUGH) &&
		  now() < begin + SECONDS_MAX));
	writers_stop(&writers);
	rwp_evictor_stats(manager.evictor, &stats);
	printf("# %u rounds, %lu accesses, units: %llu asked, %llu evicted, %llu touched, %llu failed (%d); faults: %llu missing, %llu minor, %llu armed; sync for %llu us at most\n",
	       rounds, atomic_load(&area.accesses),
	       (unsigned long long)stats.asked,
	       (unsigned long long)stats.evicted,
	       (unsigned long long)stats.touched,
	       (unsigned long long)stats.failed, stats.last_error,
	       (unsigned long long)stats.served_missing,
	       (unsigned long long)stats.served_minor,
	       (unsigned long long)stats.served_rwp,
	       (unsigned long long)stats.sync_max_ns / 1000);
	CHECK_EQ(atomic_load(&area.wrong), 0);
	CHECK_EQ(stats.failed, 0);
	CHECK(stats.evicted >= ENOUGH);
	CHECK(stats.served_missing >= ENOUGH);
	manager_stop(&manager, &area);
}

TEST(shared)
{
	evict_and_write(SHARED, 4 << 20, 128);
}

TEST(shared_many)
{
	evict_and_write(SHARED, 32 << 20, 0);
}

TEST(shared_huge)
{
	evict_and_write(SHARED_THP, 16 << 20, 128);
}

TEST(anon)
{
	evict_and_write(ANON, 4 << 20, 128);
}

TEST(anon_huge)
{
	evict_and_write(ANON_THP, 16 << 20, 128);
}

TEST(hugetlb)
{
	evict_and_write(HUGETLB, 16 << 20, 128);
}

/* Cold pages as the scan passes them, for the evictor that does it wrong. */
struct cold {
	struct rwp_range range[256];
	unsigned int count;
};

static int collect(const struct rwp_run *run, void *arg)
{
	struct cold *cold = arg;

	if (run->state & RWP_PAGE_ACCESSED)
		return 0;
	cold->range[cold->count++] = run->range;
	return cold->count == 256;
}

static void save_range(struct rwp_store *store, const struct area *area,
		       struct rwp_range range)
{
	static char data[PAGE];

	for (uint64_t at = range.start; at < range.start + range.len;
	     at += PAGE) {
		uint64_t offset = at - (uintptr_t)area->base;
		struct rwp_store_page page = {
			.key = { 7, offset },
			.data = data,
			.len = PAGE,
		};

		CHECK_EQ(pread(area->fd, data, PAGE, offset), PAGE);
		OK(rwp_store_save(store, &page, 1, error));
	}
}

/* Scan and save first, switch to sync after that: writes in between are lost. */
static void evict_wrongly(struct manager *manager, struct area *area)
{
	struct rwp_range all = { (uintptr_t)area->base, area->len };
	struct cold cold = { .count = 0 };
	struct rwp_error error;

	OK(rwp_arm(manager->rwp, all, error));
	CHECK(rwp_scan(manager->rwp, all, RWP_PAGE_PRESENT, collect, &cold,
		       &error) >= 0);
	for (unsigned int i = 0; i < cold.count; i++)
		save_range(manager->store, area, cold.range[i]);
	OK(rwp_set_mode(manager->rwp, RWP_SYNC, error));
	for (unsigned int i = 0; i < cold.count; i++)
		CHECK(!fallocate(
			area->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			cold.range[i].start - all.start, cold.range[i].len));
	OK(rwp_set_mode(manager->rwp, RWP_ASYNC, error));
	OK(rwp_wake(manager->rwp, all, error));
}

/* The writers do notice: an evictor in the wrong order loses a write. */
TEST(wrong_order_is_noticed)
{
	struct manager manager;
	struct writers writers;
	struct area area;
	double end;

	area_make(&area, SHARED, 1 << 20);
	manager_start(&manager, &area, NULL, 0);
	writers_start(&writers, &area);
	for (end = now() + 40; now() < end && !atomic_load(&area.wrong);)
		evict_wrongly(&manager, &area);
	CHECK(atomic_load(&area.wrong));
	atomic_store(&area.stop, true);
	/* Nothing is left to be checked. */
}

/* The worker's side of the next case. */
static void work(int fd, uint64_t features, struct area *area, const char *path,
		 unsigned int batch)
{
	struct rwp_memory memory = area_memory(area);
	struct rwp_evictor_options options = { .batch = batch };
	struct manager manager = { 0 };

	OK(rwp_adopt(fd, getppid(), features, 0, &manager.rwp, error));
	OK(rwp_store_open(path, &(struct rwp_store_options){ .depth = 16 },
			  &manager.store, error));
	OK(rwp_evictor_new(manager.rwp, manager.store, &options,
			   &manager.evictor, error));
	OK(rwp_server_new(&manager.server, error));
	OK(rwp_evictor_add(manager.evictor, &memory, error));
	OK(rwp_server_add(manager.server, manager.evictor, NULL, NULL, error));
	for (;;)
		CHECK(turn_over(&manager, area, batch));
}

/* Milliseconds until some of it is in the store only. */
static unsigned int wait_for_eviction(struct area *area)
{
	double begin = now();
	unsigned int ms;

	while (area_resident(area) == area->len && now() < begin + 60)
		nap_ms(5);
	ms = (now() - begin) * 1000;
	atomic_store(&area->turn_ms, 100 + 4 * ms);
	return 100 + ms;
}

/*
 * A worker that evicts the memory of another process is killed at any moment and
 * started again; the descriptor is kept. Faults wait meanwhile.
 */
static void kill_the_worker(enum kind kind, size_t len, unsigned int batch)
{
	char path[] = "/tmp/killed.store";
	struct rwp_store_options options = { .depth = 16 };
	struct rwp_memory memory;
	struct rwp_evictor *evictor;
	struct rwp_server *server;
	struct rwp_store *store;
	struct writers writers;
	struct area area;
	struct rwp *rwp;
	unsigned int kills = 0, evicted = 0, first_ms = 0;
	unsigned long before = 0, moving = 0;
	double begin;

	area_make(&area, kind, len);
	memory = area_memory(&area);
	OK(rwp_open(RWP_OPEN_EVICT | RWP_OPEN_EVENTS, &rwp, error));
	/* As a machine is handed over: registered by who owns it. */
	OK(rwp_register(rwp, memory.range,
			RWP_REGISTER_MISSING | RWP_REGISTER_MINOR, error));
	writers_start(&writers, &area);
	atomic_store(&area.turn_ms, 1000);
	for (begin = now();
	     now() < begin + 15 || (kills < 20 && now() < begin + SECONDS_MAX);
	     kills++) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (!pid)
			work(dup(rwp_fd(rwp)), rwp_features(rwp), &area, path,
			     batch);
		/* The first tells how long it takes, the others get less or more. */
		if (!kills)
			first_ms = wait_for_eviction(&area);
		else
			nap_ms(20 + kills * 37 % 100 * first_ms / 50);
		moving += atomic_load(&area.accesses) != before;
		before = atomic_load(&area.accesses);
		kill(pid, SIGKILL);
		CHECK_EQ(waitpid(pid, NULL, 0), pid);
		evicted += area_resident(&area) < len;
	}
	/* The last one brings all back. */
	OK(rwp_store_open(path, &options, &store, error));
	OK(rwp_evictor_new(rwp, store, NULL, &evictor, error));
	OK(rwp_server_new(&server, error));
	OK(rwp_evictor_add(evictor, &memory, error));
	OK(rwp_server_add(server, evictor, NULL, NULL, error));
	writers_stop(&writers);
	OK(rwp_evictor_restore(evictor, NULL, NULL, error));
	printf("# killed %u times, %u times with pages in the store only, %lu accesses\n",
	       kills, evicted, atomic_load(&area.accesses));
	CHECK_EQ(atomic_load(&area.wrong), 0);
	CHECK_EQ(area_check(&area), 0);
	CHECK(moving > kills / 2);
	CHECK(evicted > kills / 4);
	rwp_server_free(server);
	rwp_evictor_free(evictor);
	rwp_store_close(store);
	remove_store(path);
}

TEST(worker_killed)
{
	kill_the_worker(SHARED, 2 << 20, 64);
}

TEST(worker_killed_many)
{
	kill_the_worker(SHARED, 4 << 20, 0);
}

TEST(worker_killed_hugetlb)
{
	kill_the_worker(HUGETLB, 16 << 20, 64);
}
