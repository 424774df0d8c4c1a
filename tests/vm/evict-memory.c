// SPDX-License-Identifier: GPL-2.0
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "evict-memory.h"
#include "test.h"

#define WORDS (PAGE / sizeof(uint64_t))

__attribute__((weak)) const bool arms_shared_huge = true;

/* Every word differs from page to page and from version to version. */
static uint64_t word(size_t page, unsigned int version, size_t n)
{
	uint64_t value;

	/* Some pages are of one byte, some can be compressed. */
	if (version % 8 == 7)
		return 0x0101010101010101ULL * (version / 8 % 256);
	if (version % 8 == 6)
		n /= 64;
	value = (page << 40 | (uint64_t)version << 10 | n) *
		0x9e3779b97f4a7c15ULL;
	value = (value ^ value >> 29) * 0xbf58476d1ce4e5b9ULL;
	return value ^ value >> 32;
}

static void write_page(char *data, size_t page, unsigned int version)
{
	volatile uint64_t *at = (uint64_t *)data;

	for (size_t i = 0; i < WORDS; i++)
		at[i] = word(page, version, i);
}

static bool page_has(const char *data, size_t page, unsigned int version)
{
	const volatile uint64_t *at = (const uint64_t *)data;

	for (size_t i = 0; i < WORDS; i++)
		if (at[i] != word(page, version, i))
			return false;
	return true;
}

static char *map_aligned(size_t len, int fd)
{
	char *base = mmap(NULL, len + HUGE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(base != MAP_FAILED);
	base = (char *)(((uintptr_t)base + HUGE - 1) & ~(HUGE - 1));
	base = mmap(base, len, PROT_READ | PROT_WRITE,
		    MAP_FIXED |
			    (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED),
		    fd, 0);
	CHECK(base != MAP_FAILED);
	return base;
}

static void allow_shmem_thp(void)
{
	FILE *file =
		fopen("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "w");

	CHECK(file);
	CHECK(fputs("advise", file) >= 0);
	CHECK(!fclose(file));
}

void area_make(struct area *area, enum kind kind, size_t len)
{
	bool anon = kind == ANON || kind == ANON_THP;
	bool huge = kind == SHARED_THP || kind == ANON_THP;

	memset(area, 0, sizeof(*area));
	area->kind = kind;
	area->len = len;
	area->unit = kind == SHARED || kind == ANON ? PAGE : HUGE;
	area->fd = -1;
	if (kind == SHARED_THP)
		allow_shmem_thp();
	if (!anon) {
		area->fd = memfd_create("evict",
					kind == HUGETLB ? MFD_HUGETLB : 0);
		CHECK(area->fd >= 0);
		CHECK(!ftruncate(area->fd, len));
	}
	area->base = map_aligned(len, area->fd);
	if (kind != HUGETLB)
		CHECK(!madvise(area->base, len,
			       huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE));
	area->version = calloc(len / PAGE, sizeof(*area->version));
	CHECK(area->version);
	for (size_t page = 0; page < len / PAGE; page++)
		write_page(area->base + page * PAGE, page, 0);
}

bool area_page_right(const struct area *area, size_t page)
{
	return page_has(area->base + page * PAGE, page, area->version[page]);
}

void area_access(struct area *area, size_t page, bool write)
{
	if (!area_page_right(area, page))
		atomic_fetch_add(&area->wrong, 1);
	if (write) {
		area->version[page]++;
		write_page(area->base + page * PAGE, page, area->version[page]);
	}
	atomic_fetch_add(&area->accesses, 1);
}

unsigned int area_check(const struct area *area)
{
	unsigned int wrong = 0;

	for (size_t page = 0; page < area->len / PAGE; page++)
		wrong += !area_page_right(area, page);
	return wrong;
}

size_t area_resident(const struct area *area)
{
	unsigned char *in = malloc(area->len / PAGE);
	size_t pages = 0;
	struct stat st;

	if (area->fd >= 0) {
		CHECK(!fstat(area->fd, &st));
		free(in);
		return st.st_blocks * 512UL;
	}
	CHECK(!mincore(area->base, area->len, in));
	for (size_t page = 0; page < area->len / PAGE; page++)
		pages += in[page] & 1;
	free(in);
	return pages * PAGE;
}

struct writer {
	struct area *area;
	unsigned int number;
};

/* A quarter of the area is in use, and after some time another one. */
static size_t some_page(const struct area *area, uint64_t random)
{
	size_t pages = area->len / PAGE, quarter;
	unsigned int turn = atomic_load(&area->turn_ms);
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	quarter = (ts.tv_sec * 1000UL + ts.tv_nsec / 1000000) /
		  (turn ? turn : 100) % 4;
	return quarter * (pages / 4) + random % (pages / 4);
}

static void *write_all_the_time(void *arg)
{
	struct writer writer = *(struct writer *)arg;
	uint64_t random = writer.number + 1;

	free(arg);
	while (!atomic_load(&writer.area->stop)) {
		random = random * 6364136223846793005ULL +
			 1442695040888963407ULL;
		/* Each has every second page. */
		area_access(writer.area,
			    (some_page(writer.area, random >> 33) & ~1UL) |
				    writer.number,
			    random >> 20 & 3);
	}
	return NULL;
}

void writers_start(struct writers *writers, struct area *area)
{
	writers->area = area;
	for (unsigned int i = 0; i < 2; i++) {
		struct writer *writer = malloc(sizeof(*writer));

		*writer = (struct writer){ area, i };
		CHECK(!pthread_create(&writers->thread[i], NULL,
				      write_all_the_time, writer));
	}
}

void writers_stop(struct writers *writers)
{
	atomic_store(&writers->area->stop, true);
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(writers->thread[i], NULL);
	atomic_store(&writers->area->stop, false);
}

struct rwp_memory area_memory(const struct area *area)
{
	return (struct rwp_memory){
		.range = { (uintptr_t)area->base, area->len },
		.page_size = area->unit,
		.fd = area->fd,
		.space = 7,
	};
}

void manager_start(struct manager *manager, struct area *area,
		   const struct rwp_evictor_options *options,
		   uint64_t store_bytes)
{
	struct rwp_store_options store = { .max_bytes = store_bytes,
					   .depth = 16 };
	struct rwp_memory memory = area_memory(area);

	snprintf(manager->path, sizeof(manager->path), "/tmp/evict.%d",
		 (int)getpid());
	OK(rwp_open(RWP_OPEN_EVICT | RWP_OPEN_EVENTS, &manager->rwp, error));
	OK(rwp_store_open(manager->path, &store, &manager->store, error));
	OK(rwp_evictor_new(manager->rwp, manager->store, options,
			   &manager->evictor, error));
	OK(rwp_server_new(&manager->server, error));
	OK(rwp_server_add(manager->server, manager->evictor, NULL, NULL,
			  error));
	OK(rwp_evictor_add(manager->evictor, &memory, error));
}

void remove_store(const char *path)
{
	char index[80];

	snprintf(index, sizeof(index), "%s.index", path);
	unlink(path);
	unlink(index);
}

void manager_stop(struct manager *manager, struct area *area)
{
	struct rwp_store_stats stats;

	OK(rwp_evictor_restore(manager->evictor, NULL, NULL, error));
	rwp_store_stats(manager->store, &stats);
	CHECK_EQ(stats.pages, 0);
	OK(rwp_server_remove(manager->server, manager->evictor, error));
	rwp_server_free(manager->server);
	rwp_evictor_free(manager->evictor);
	rwp_close(manager->rwp);
	rwp_store_close(manager->store);
	remove_store(manager->path);
	CHECK_EQ(area_check(area), 0);
}

int64_t arm_and_evict(struct manager *manager, struct area *area)
{
	struct rwp_range range = { (uintptr_t)area->base, area->len };
	struct rwp_error error;

	OK(rwp_arm(manager->rwp, range, error));
	return rwp_evict(manager->evictor, &range, 1, &error);
}
