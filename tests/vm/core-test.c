// SPDX-License-Identifier: GPL-2.0
/* One's own process: open, register, arm, scan, resolve, switch the mode. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test.h"

#define PAGE 4096UL

static struct rwp_range map(size_t pages, int flags)
{
	void *mem = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
			 flags | MAP_ANONYMOUS, -1, 0);

	CHECK(mem != MAP_FAILED);
	CHECK(!madvise(mem, pages * PAGE, MADV_NOHUGEPAGE));
	for (size_t i = 0; i < pages; i++)
		((char *)mem)[i * PAGE] = 1;
	return (struct rwp_range){ (uint64_t)mem, pages * PAGE };
}

static void touch(uint64_t addr)
{
	*(volatile char *)addr += 1;
}

static struct rwp_range page(struct rwp_range range, uint64_t index)
{
	return (struct rwp_range){ range.start + index * PAGE, PAGE };
}

/* What a scan reports, as one letter a page: A(ccessed), c(old), . (nothing). */
struct picture {
	uint64_t start;
	char text[65];
	int calls;
};

static int draw(const struct rwp_run *run, void *arg)
{
	struct picture *picture = arg;
	size_t first = (run->range.start - picture->start) / PAGE;

	picture->calls++;
	memset(picture->text + first,
	       run->state & RWP_PAGE_ACCESSED ? 'A' : 'c',
	       run->range.len / PAGE);
	return 0;
}

static const char *scan(struct rwp *rwp, struct rwp_range range,
			unsigned int any)
{
	static struct picture picture;

	memset(&picture, 0, sizeof(picture));
	picture.start = range.start;
	memset(picture.text, '.', range.len / PAGE);
	OK(rwp_scan(rwp, range, any, draw, &picture, error));
	return picture.text;
}

static const unsigned int populated = RWP_PAGE_PRESENT | RWP_PAGE_SWAPPED;

static void see_touches(int flags)
{
	struct rwp_range range = map(16, flags);
	struct rwp *rwp;

	OK(rwp_open(0, &rwp, error));
	OK(rwp_register(rwp, range, 0, error));
	OK(rwp_arm(rwp, range, error));
	CHECK(!strcmp(scan(rwp, range, populated), "cccccccccccccccc"));
	touch(range.start + 3 * PAGE);
	touch(range.start + 4 * PAGE);
	touch(range.start + 15 * PAGE);
	CHECK(!strcmp(scan(rwp, range, populated), "cccAAccccccccccA"));
	CHECK(!strcmp(scan(rwp, range, RWP_PAGE_ACCESSED), "...AA..........A"));
	OK(rwp_resolve(rwp, page(range, 8), error));
	CHECK(!strcmp(scan(rwp, range, populated), "cccAAcccAccccccA"));
	CHECK(!madvise((void *)range.start, 2 * PAGE,
		       flags & MAP_SHARED ? MADV_REMOVE : MADV_DONTNEED));
	CHECK(!strcmp(scan(rwp, range, populated), "..cAAcccAccccccA"));
	OK(rwp_unregister(rwp, range, error));
	rwp_close(rwp);
}

/* A scan tells accessed, armed and absent pages of private memory apart. */
TEST(scan_anonymous)
{
	see_touches(MAP_PRIVATE);
}

/* And of shared memory. */
TEST(scan_shared)
{
	see_touches(MAP_SHARED);
}

static int stop(const struct rwp_run *run, void *arg)
{
	(void)run;
	return ++*(int *)arg == 2 ? 7 : 0;
}

/* More runs than fit into one call of the kernel's, and a callback that stops. */
TEST(scan_many_runs)
{
	enum { PAGES = 4096 };
	struct rwp_range range = map(PAGES, MAP_PRIVATE);
	struct picture picture = { 0 };
	struct rwp *rwp;
	int calls = 0;

	OK(rwp_open(0, &rwp, error));
	OK(rwp_register(rwp, range, 0, error));
	OK(rwp_arm(rwp, range, error));
	for (int i = 0; i < PAGES; i += 2)
		touch(range.start + i * PAGE);
	for (uint64_t i = 0; i < PAGES; i += 64) {
		struct rwp_range part = { range.start + i * PAGE, 64 * PAGE };

		CHECK(!strncmp(scan(rwp, part, populated), "AcAcAcAc", 8));
	}
	(void)picture;
	CHECK_EQ(rwp_scan(rwp, range, populated, stop, &calls, NULL), 7);
	CHECK_EQ(calls, 2);
	rwp_close(rwp);
}

static int count_pages(const struct rwp_run *run, void *arg)
{
	*(uint64_t *)arg += run->range.len / PAGE;
	return 0;
}

/* Every page is passed on once, when the kernel has to be asked several times. */
TEST(scan_is_complete)
{
	enum { PAGES = 8192 };
	struct rwp_range range = map(PAGES, MAP_PRIVATE);
	uint64_t accessed = 0, all = 0;
	struct rwp *rwp;

	OK(rwp_open(0, &rwp, error));
	OK(rwp_register(rwp, range, 0, error));
	OK(rwp_arm(rwp, range, error));
	for (int i = 1; i < PAGES; i += 2)
		touch(range.start + i * PAGE);
	OK(rwp_scan(rwp, range, RWP_PAGE_ACCESSED, count_pages, &accessed,
		    error));
	OK(rwp_scan(rwp, range, populated, count_pages, &all, error));
	CHECK_EQ(accessed, PAGES / 2);
	CHECK_EQ(all, PAGES);
	rwp_close(rwp);
}

static void *toucher(void *arg)
{
	touch((uint64_t)arg);
	return NULL;
}

static struct rwp_event next_event(struct rwp *rwp)
{
	struct pollfd pfd = { .fd = rwp_fd(rwp), .events = POLLIN };
	struct rwp_event event;
	int got;

	CHECK_EQ(poll(&pfd, 1, 10000), 1);
	got = rwp_read_events(rwp, &event, 1, NULL);
	CHECK_EQ(got, 1);
	return event;
}

/* In sync mode a thread waits for rwp_resolve(), and the message says for what. */
TEST(sync_fault)
{
	struct rwp_range range = map(4, MAP_PRIVATE);
	struct rwp_event event;
	pthread_t thread;
	struct rwp *rwp;

	OK(rwp_open(RWP_OPEN_SYNC, &rwp, error));
	CHECK(!(rwp_features(rwp) >> 18 & 1));
	OK(rwp_register(rwp, range, 0, error));
	OK(rwp_arm(rwp, range, error));
	CHECK_EQ(rwp_read_events(rwp, &event, 1, NULL), 0);
	CHECK(!pthread_create(&thread, NULL, toucher,
			      (void *)(range.start + PAGE)));
	event = next_event(rwp);
	CHECK_EQ(event.kind, RWP_EVENT_RWP);
	CHECK(event.write || !event.write);
	CHECK_EQ(event.range.start & ~(PAGE - 1), range.start + PAGE);
	CHECK(event.tid && event.tid != (uint32_t)getpid());
	OK(rwp_resolve(rwp, page(range, 1), error));
	CHECK(!pthread_join(thread, NULL));
	CHECK(!strcmp(scan(rwp, range, populated), "cAcc"));
	rwp_close(rwp);
}

/* A switch to async releases who waits, and the mode is told by the features. */
TEST(set_mode_releases)
{
	struct rwp_range range = map(4, MAP_PRIVATE);
	pthread_t thread;
	struct rwp *rwp;

	OK(rwp_open(0, &rwp, error));
	CHECK(rwp_features(rwp) >> 18 & 1);
	OK(rwp_register(rwp, range, 0, error));
	OK(rwp_arm(rwp, range, error));
	OK(rwp_set_mode(rwp, RWP_SYNC, error));
	CHECK(!(rwp_features(rwp) >> 18 & 1));
	CHECK(!pthread_create(&thread, NULL, toucher, (void *)range.start));
	next_event(rwp);
	OK(rwp_set_mode(rwp, RWP_ASYNC, error));
	CHECK(!pthread_join(thread, NULL));
	rwp_close(rwp);
}

/* Closing releases who waits. */
TEST(close_releases)
{
	struct rwp_range range = map(4, MAP_PRIVATE);
	pthread_t thread;
	struct rwp *rwp;

	OK(rwp_open(RWP_OPEN_SYNC, &rwp, error));
	OK(rwp_register(rwp, range, 0, error));
	OK(rwp_arm(rwp, range, error));
	CHECK(!pthread_create(&thread, NULL, toucher, (void *)range.start));
	next_event(rwp);
	rwp_close(rwp);
	CHECK(!pthread_join(thread, NULL));
}

/* A missing fault, answered by a copy, by zeros and by a wake. */
TEST(fill)
{
	static char data[PAGE] __attribute__((aligned(PAGE))) = "content";
	struct rwp_range range = map(4, MAP_PRIVATE);
	pthread_t thread;
	struct rwp *rwp;

	CHECK(!madvise((void *)range.start, range.len, MADV_DONTNEED));
	OK(rwp_open(RWP_OPEN_EVICT, &rwp, error));
	OK(rwp_register(rwp, range, RWP_REGISTER_MISSING, error));
	CHECK(!pthread_create(&thread, NULL, toucher, (void *)range.start));
	CHECK_EQ(next_event(rwp).kind, RWP_EVENT_MISSING);
	CHECK_EQ(rwp_copy(rwp, page(range, 0), data, 0, NULL), PAGE);
	CHECK(!pthread_join(thread, NULL));
	CHECK_EQ(*(char *)range.start, 'c' + 1);
	CHECK_EQ(rwp_copy(rwp, page(range, 0), data, 0, NULL), -EEXIST);
	CHECK_EQ(rwp_zero(rwp, page(range, 1), 0, NULL), PAGE);
	CHECK_EQ(*(char *)(range.start + PAGE), 0);
	OK(rwp_wake(rwp, range, error));
	rwp_close(rwp);
}

/* Errors are told with the object's name and nothing is changed. */
TEST(errors)
{
	struct rwp_range range = map(4, MAP_PRIVATE);
	struct rwp_range odd = { range.start + 1, PAGE };
	struct rwp_range empty = { range.start, 0 };
	struct rwp_range wraps = { range.start, -PAGE };
	struct rwp_error error = { 0 };
	struct rwp *rwp, *other;
	int ends[2];

	CHECK(!rwp_open(0, &rwp, NULL));
	CHECK(!rwp_open(0, &other, NULL));
	CHECK_EQ(rwp_arm(rwp, range, &error), -ENOENT);
	CHECK_EQ(error.code, -ENOENT);
	CHECK(strstr(error.text, "cannot arm"));
	CHECK_EQ(rwp_register(rwp, odd, 0, &error), -EINVAL);
	CHECK_EQ(rwp_register(rwp, empty, 0, &error), -EINVAL);
	CHECK_EQ(rwp_register(rwp, wraps, 0, &error), -EINVAL);
	CHECK(!rwp_register(rwp, range, 0, NULL));
	CHECK_EQ(rwp_register(other, range, 0, &error), -EBUSY);
	CHECK_EQ(rwp_arm(other, range, &error), -ENOENT);
	CHECK_EQ(rwp_open(1U << 31, &other, &error), -EINVAL);
	CHECK(!pipe(ends));
	CHECK_EQ(rwp_adopt(ends[0], getpid(), 0, 0, &other, &error), -EINVAL);
	CHECK(strstr(error.text, "no userfaultfd"));
	rwp_close(rwp);
	rwp_close(NULL);
}

/* A descriptor changes hands with rwp_release() and rwp_adopt(). */
TEST(release_and_adopt)
{
	struct rwp_range range = map(4, MAP_PRIVATE);
	uint64_t features;
	struct rwp *rwp;
	int fd;

	OK(rwp_open(0, &rwp, error));
	OK(rwp_register(rwp, range, 0, error));
	features = rwp_features(rwp);
	fd = rwp_release(rwp);
	CHECK(fd >= 0);
	CHECK_EQ(rwp_adopt(fd, getpid(), 1, 0, &rwp, NULL), -EOPNOTSUPP);
	OK(rwp_adopt(fd, getpid(), features, 0, &rwp, error));
	OK(rwp_arm(rwp, range, error));
	touch(range.start);
	CHECK(!strcmp(scan(rwp, range, populated), "Accc"));
	rwp_close(rwp);
}

static int find(const struct rwp_mapping *mapping, void *arg)
{
	struct rwp_mapping *wanted = arg;

	if (mapping->range.start > wanted->range.start ||
	    mapping->range.start + mapping->range.len <= wanted->range.start)
		return 0;
	*wanted = *mapping;
	return 1;
}

static struct rwp_mapping mapping_at(uint64_t addr)
{
	struct rwp_mapping mapping = { .range.start = addr };

	CHECK_EQ(rwp_mappings(getpid(), find, &mapping, NULL), 1);
	return mapping;
}

/* Mappings come with their kind and page size. */
TEST(mappings)
{
	struct rwp_range anon = map(4, MAP_PRIVATE);
	struct rwp_range shared = map(4, MAP_SHARED);
	void *huge = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	struct rwp_mapping mapping = mapping_at(anon.start);

	CHECK(huge != MAP_FAILED);
	CHECK_EQ(mapping.kind, RWP_KIND_ANON);
	CHECK(mapping.readable && mapping.writable && !mapping.executable);
	mapping = mapping_at(shared.start);
	CHECK_EQ(mapping.kind, RWP_KIND_SHMEM);
	CHECK(mapping.shared);
	mapping = mapping_at((uint64_t)huge);
	CHECK_EQ(mapping.kind, RWP_KIND_HUGETLB);
	CHECK_EQ(mapping.page_size, 2 << 20);
	CHECK_EQ(mapping_at((uint64_t)mapping_at).kind, RWP_KIND_FILE);
}

/* The kernel under test has all of it. */
TEST(probe)
{
	struct rwp_probe probe;

	OK(rwp_probe(&probe, error));
	CHECK(probe.rwp && probe.rwp_async && probe.set_mode && probe.scan);
	CHECK(probe.maps_query && probe.pidfd_getfd && probe.syscall);
	CHECK(probe.move && probe.minor_shmem);
	CHECK(probe.range_ioctls >> 9 & 1);
}
