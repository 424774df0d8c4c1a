/* SPDX-License-Identifier: GPL-2.0 */
/* Memory of each kind, threads that write to it, and who evicts it. */
#ifndef RWP_TEST_EVICT_MEMORY_H
#define RWP_TEST_EVICT_MEMORY_H

#include <pthread.h>
#include <rwp.h>
#include <stdatomic.h>
#include <stdbool.h>

#define PAGE 4096UL
#define HUGE (2UL << 20)

enum kind { SHARED, SHARED_THP, ANON, ANON_THP, HUGETLB };

struct area {
	enum kind kind;
	char *base;
	size_t len, unit;
	int fd; /* -1: anonymous */
	/* What each page has to contain; changed by its writer only. */
	unsigned int *version;
	atomic_bool stop;
	atomic_uint wrong; /* pages that were not as they had to be */
	atomic_ulong accesses;
	atomic_uint turn_ms; /* how long a quarter is in use; 0: 100 */
};

/*
 * What stands in for a kernel with RWP in the unit tests cannot do all of it; with
 * a kernel that has it this is true.
 */
extern const bool arms_shared_huge;

/* Memory of @len bytes, all of it written to. */
void area_make(struct area *area, enum kind kind, size_t len);
/* One access of whoever owns @page: look at it, and mostly write. */
void area_access(struct area *area, size_t page, bool write);
bool area_page_right(const struct area *area, size_t page);
/* Look at all of it; the number of pages that are wrong. */
unsigned int area_check(const struct area *area);
/* Bytes of it that are in memory. */
size_t area_resident(const struct area *area);

/* Two threads that access it all the time, each its own pages. */
struct writers {
	struct area *area;
	pthread_t thread[2];
};

void writers_start(struct writers *writers, struct area *area);
void writers_stop(struct writers *writers);

/* A store, an evictor and a thread that serves, for one area. */
struct manager {
	struct rwp *rwp;
	struct rwp_store *store;
	struct rwp_evictor *evictor;
	struct rwp_server *server;
	char path[64];
};

struct rwp_memory area_memory(const struct area *area);
void manager_start(struct manager *manager, struct area *area,
		   const struct rwp_evictor_options *options,
		   uint64_t store_bytes);
/* Bring back all, and check that nothing was lost. */
void manager_stop(struct manager *manager, struct area *area);

/* Arm all and evict what is not touched meanwhile. Pages, or an error. */
int64_t arm_and_evict(struct manager *manager, struct area *area);

void remove_store(const char *path);

#endif
