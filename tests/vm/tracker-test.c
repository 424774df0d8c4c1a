// SPDX-License-Identifier: GPL-2.0
/* The tracker against the truth, from outside of the process that is tracked. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "target.h"
#include "test.h"

#define PAGE 4096UL
#define PAGES 1024

/* What the target is told to do, and what it has done. */
enum order {
	NOTHING,
	TOUCH,
	TOUCH_ONCE_EACH,
	MAP,
	UNMAP,
	REPLACE,
	GROW,
	EXEC,
	LEAVE
};

static volatile struct shared {
	enum order order;
	uint64_t start; /* of the memory it touches */
	size_t pages;
	int flags; /* it was mapped with */
	uint8_t touch[PAGES]; /* which pages, for TOUCH */
	unsigned int windows; /* that have ended, for TOUCH_ONCE_EACH */
	uint64_t extra; /* a mapping made later */
} * shared;

void test_setup(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	shared->pages = PAGES;
	shared->flags = MAP_PRIVATE;
}

static uint64_t map_at(uint64_t start, size_t pages, int flags)
{
	char *mem = mmap((void *)start, pages * PAGE, PROT_READ | PROT_WRITE,
			 flags | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		_exit(3);
	madvise(mem, pages * PAGE, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < pages; i++)
		mem[i * PAGE] = 1;
	return (uint64_t)mem;
}

static void touch(uint64_t page)
{
	*(volatile char *)(shared->start + page * PAGE) += 1;
}

static void touch_once_each(void)
{
	for (size_t i = 0; i < shared->pages; i++) {
		/* In an order that leaves runs of every length behind. */
		touch(i * 37 % shared->pages);
		/* However slow the tracker is, it has eight windows for them. */
		while (shared->windows * shared->pages < i * 8)
			sched_yield();
		for (volatile int n = 0; n < 20000; n++)
			;
	}
}

static void obey(enum order order)
{
	switch (order) {
	case TOUCH:
		for (size_t i = 0; i < shared->pages; i++)
			if (shared->touch[i])
				touch(i);
		break;
	case TOUCH_ONCE_EACH:
		touch_once_each();
		break;
	case MAP:
		shared->extra = map_at(0, 32, MAP_PRIVATE);
		break;
	case UNMAP:
		munmap((void *)shared->extra, 32 * PAGE);
		break;
	case REPLACE:
		munmap((void *)shared->extra, 32 * PAGE);
		map_at(shared->extra, 32, MAP_PRIVATE | MAP_FIXED);
		break;
	case GROW:
		shared->extra = (uint64_t)mremap((void *)shared->extra,
						 32 * PAGE, 64 * PAGE,
						 MREMAP_MAYMOVE);
		break;
	case EXEC:
		close(STDOUT_FILENO);
		execl("/proc/self/exe", "asleep", "never-a-case", NULL);
		_exit(4);
	default:
		break;
	}
}

/* Polls its orders in memory that is not tracked for what it touches. */
static int puppet(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	shared->start = map_at(0, shared->pages, shared->flags);
	target_ready();
	for (;;) {
		/* Once: it may change between two looks. */
		enum order order = shared->order;

		if (order == LEAVE)
			return 0;
		if (order == NOTHING)
			continue;
		obey(order);
		shared->order = NOTHING;
	}
}

static void command(enum order order)
{
	shared->order = order;
	while (shared->order != NOTHING)
		;
}

struct tracking {
	pid_t pid;
	struct rwp *rwp;
	struct rwp_tracker *tracker;
};

static struct tracking track(const struct rwp_filter *filter)
{
	struct tracking t = { .pid = target_start(puppet) };

	OK(rwp_attach(t.pid, 0, &t.rwp, error));
	OK(rwp_tracker_new(t.rwp, filter, &t.tracker, error));
	OK(rwp_tracker_refresh(t.tracker, error));
	return t;
}

static void finish(struct tracking *t)
{
	rwp_tracker_free(t->tracker);
	rwp_close(t->rwp);
	shared->order = LEAVE;
	target_join(t->pid);
}

static const struct rwp_tracked *tracked_at(struct tracking *t, uint64_t addr)
{
	const struct rwp_tracked *tracked;

	for (unsigned int i = 0; (tracked = rwp_tracker_get(t->tracker, i));
	     i++)
		if (addr - tracked->mapping.range.start <
		    tracked->mapping.range.len)
			return tracked;
	return NULL;
}

static uint8_t age_at(struct tracking *t, uint64_t addr)
{
	const struct rwp_tracked *tracked = tracked_at(t, addr);

	CHECK(tracked);
	return tracked->age[(addr - tracked->mapping.range.start) / PAGE];
}

static void update(struct tracking *t)
{
	OK(rwp_tracker_refresh(t->tracker, error));
	OK(rwp_tracker_update(t->tracker, error));
}

/* Windows with random pages: every age of every page is the true one. */
static void exact_ages(int flags, size_t granule)
{
	uint8_t truth[PAGES];
	struct tracking t;
	unsigned int seed = 1;

	shared->flags = flags;
	t = track(NULL);
	/* Nothing was touched before the first window. */
	memset(truth, 0, sizeof(truth));
	for (int window = 0; window < 8; window++) {
		for (size_t i = 0; i < PAGES; i++)
			shared->touch[i] = rand_r(&seed) % 8 < window;
		command(TOUCH);
		update(&t);
		for (size_t i = 0; i < PAGES; i += granule) {
			bool hot = false;

			for (size_t j = 0; j < granule; j++)
				hot |= shared->touch[i + j];
			for (size_t j = 0; j < granule; j++)
				truth[i + j] = hot ? 0 : truth[i + j] + 1;
		}
		for (size_t i = 0; i < PAGES; i++)
			if (age_at(&t, shared->start + i * PAGE) != truth[i])
				FAIL("window %d, page %zu: age %d, not %d",
				     window, i,
				     age_at(&t, shared->start + i * PAGE),
				     truth[i]);
	}
	finish(&t);
}

/* Private memory. */
TEST(ages_anonymous)
{
	exact_ages(MAP_PRIVATE, 1);
}

/* Shared memory. */
TEST(ages_shared)
{
	exact_ages(MAP_SHARED, 1);
}

/* Huge pages have one age for all of their parts. */
TEST(ages_hugetlb)
{
	exact_ages(MAP_PRIVATE | MAP_HUGETLB, 512);
}

/*
 * Every page is touched once, at any moment of any window, while the windows
 * follow one another without a pause: each touch is seen once, none is lost.
 */
TEST(nothing_between_windows)
{
	static unsigned int seen[PAGES];
	unsigned int windows = 0, once = 0;
	struct tracking t;

	t = track(NULL);
	shared->windows = 0;
	shared->order = TOUCH_ONCE_EACH;
	for (bool last = false; !last; windows++) {
		last = shared->order == NOTHING;
		update(&t);
		for (int i = 0; i < PAGES; i++)
			seen[i] += !age_at(&t, shared->start + i * PAGE);
		shared->windows = windows + 1;
	}
	for (int i = 0; i < PAGES; i++) {
		if (seen[i] > 1)
			FAIL("page %d was seen %u times", i, seen[i]);
		once += seen[i];
	}
	CHECK_EQ(once, PAGES);
	finish(&t);
}

/* Mappings that come, go, are replaced and grow are followed. */
TEST(mappings_change)
{
	struct tracking t = track(NULL);
	struct rwp_tracker_stats stats;

	update(&t);
	command(MAP);
	update(&t);
	rwp_tracker_stats(t.tracker, &stats);
	CHECK_EQ(age_at(&t, shared->extra), 0);
	update(&t);
	CHECK_EQ(age_at(&t, shared->extra), 1);
	update(&t);
	CHECK_EQ(age_at(&t, shared->extra), 2);
	/* New memory at the old address is new. */
	command(REPLACE);
	update(&t);
	CHECK_EQ(age_at(&t, shared->extra), 0);
	update(&t);
	CHECK_EQ(age_at(&t, shared->extra), 1);
	command(GROW);
	update(&t);
	CHECK_EQ(age_at(&t, shared->extra + 40 * PAGE), RWP_AGE_NONE);
	command(UNMAP);
	update(&t);
	CHECK(!tracked_at(&t, shared->extra) ||
	      age_at(&t, shared->extra) == RWP_AGE_NONE);
	/* All the while the rest has grown older. */
	CHECK(age_at(&t, shared->start) >= 7);
	finish(&t);
}

/* Filters by size and by kind. */
TEST(filters)
{
	struct rwp_filter filter = {
		.min_size = PAGES * PAGE,
		.kinds = 1 << RWP_KIND_SHMEM,
	};
	struct tracking t;

	shared->flags = MAP_SHARED;
	t = track(&filter);
	CHECK(tracked_at(&t, shared->start));
	for (unsigned int i = 0; rwp_tracker_get(t.tracker, i); i++) {
		const struct rwp_tracked *tracked =
			rwp_tracker_get(t.tracker, i);

		CHECK_EQ(tracked->mapping.kind, RWP_KIND_SHMEM);
		CHECK(tracked->mapping.range.len >= PAGES * PAGE);
	}
	finish(&t);
}

/* The histogram and the sums agree with the ages, the window with the clock. */
TEST(statistics)
{
	struct rwp_tracker_stats stats;
	struct tracking t = track(NULL);
	uint64_t count[256], pages = 0;

	update(&t);
	memset((void *)shared->touch, 1, 100);
	nap_ms(200);
	command(TOUCH);
	update(&t);
	rwp_tracker_stats(t.tracker, &stats);
	rwp_tracker_histogram(t.tracker, count);
	for (int i = 0; i < 256; i++)
		pages += count[i];
	CHECK_EQ(pages, stats.pages);
	CHECK_EQ(count[0], stats.accessed);
	CHECK_EQ(pages - count[RWP_AGE_NONE], stats.populated);
	CHECK(stats.accessed >= 100 && stats.accessed < 300);
	CHECK(stats.populated > PAGES);
	CHECK(stats.window_ns >= 200000000);
	CHECK(stats.update_ns < stats.window_ns);
	/* A byte a page and little more. */
	CHECK(stats.memory < stats.pages * 2 + 65536);
	finish(&t);
}

/* A target that ends, or executes another program, is told as gone. */
TEST(target_ends)
{
	struct tracking t = track(NULL);

	CHECK(!kill(t.pid, SIGKILL));
	CHECK_EQ(waitpid(t.pid, NULL, 0), t.pid);
	CHECK_EQ(rwp_tracker_refresh(t.tracker, NULL), -ESRCH);
	CHECK_EQ(rwp_tracker_update(t.tracker, NULL), -ESRCH);
	rwp_tracker_free(t.tracker);
	rwp_close(t.rwp);
}

TEST(target_executes)
{
	struct tracking t = track(NULL);
	struct rwp_error error = { 0 };

	shared->order = EXEC;
	CHECK_EQ(waitpid(t.pid, NULL, 0), t.pid);
	CHECK_EQ(rwp_tracker_refresh(t.tracker, &error), -ESRCH);
	CHECK(strstr(error.text, "ended"));
	rwp_tracker_free(t.tracker);
	rwp_close(t.rwp);
}

static int mentions_rwp(pid_t pid)
{
	char path[64], line[512];
	FILE *file;
	int found = 0;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	file = fopen(path, "re");
	CHECK(file);
	while (fgets(line, sizeof(line), file))
		found += !strncmp(line, "VmFlags:", 8) && strstr(line, " ur");
	fclose(file);
	return found;
}

static int armed_pages(pid_t pid)
{
	static uint64_t entry[PAGES];
	char path[64];
	int fd, count = 0;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY);
	CHECK_EQ(pread(fd, entry, sizeof(entry), shared->start / PAGE * 8),
		 sizeof(entry));
	close(fd);
	for (int i = 0; i < PAGES; i++)
		count += entry[i] >> 57 & 1;
	return count;
}

/* A tracker that is killed leaves nothing armed and nothing registered. */
TEST(tracker_killed)
{
	pid_t pid = target_start(puppet), child = fork();

	if (!child) {
		struct tracking t = { .pid = pid };

		OK(rwp_attach(pid, 0, &t.rwp, error));
		OK(rwp_tracker_new(t.rwp, NULL, &t.tracker, error));
		for (;;)
			update(&t);
	}
	while (armed_pages(pid) < PAGES / 2)
		nap_ms(1);
	CHECK(mentions_rwp(pid));
	CHECK(!kill(child, SIGKILL));
	CHECK_EQ(waitpid(child, NULL, 0), child);
	CHECK_EQ(armed_pages(pid), 0);
	CHECK_EQ(mentions_rwp(pid), 0);
	shared->order = LEAVE;
	target_join(pid);
}

/* So does one that is freed. */
TEST(tracker_freed)
{
	struct tracking t = track(NULL);

	update(&t);
	CHECK_EQ(armed_pages(t.pid), PAGES);
	rwp_tracker_free(t.tracker);
	CHECK_EQ(armed_pages(t.pid), 0);
	CHECK_EQ(mentions_rwp(t.pid), 0);
	rwp_close(t.rwp);
	shared->order = LEAVE;
	target_join(t.pid);
}

/* One's own memory, registered by the caller, and not followed. */
TEST(added_by_hand)
{
	struct rwp_tracker *tracker;
	struct rwp_range range;
	struct rwp *rwp;

	range = (struct rwp_range){ map_at(0, 16, MAP_PRIVATE), 16 * PAGE };
	OK(rwp_open(0, &rwp, error));
	OK(rwp_tracker_new(rwp, NULL, &tracker, error));
	CHECK_EQ(rwp_tracker_add(tracker, range, NULL), -ENOENT);
	OK(rwp_register(rwp, range, 0, error));
	OK(rwp_tracker_add(tracker, range, error));
	CHECK_EQ(rwp_tracker_add(tracker, range, NULL), -EEXIST);
	*(volatile char *)(range.start + 5 * PAGE) += 1;
	OK(rwp_tracker_update(tracker, error));
	CHECK_EQ(rwp_tracker_get(tracker, 0)->accessed, 1);
	CHECK_EQ(rwp_tracker_get(tracker, 0)->age[5], 0);
	CHECK_EQ(rwp_tracker_get(tracker, 0)->age[6], 1);
	CHECK(!rwp_tracker_get(tracker, 1));
	rwp_tracker_free(tracker);
	OK(rwp_arm(rwp, range, error));
	rwp_close(rwp);
}
