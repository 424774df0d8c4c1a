/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What an operation costs, in instructions.
 *
 * The program is the init of a machine with one processor whose clock counts
 * instructions. A row is one operation on one area of memory; it is brought
 * into the same state before each reading.
 */
#ifndef RWP_BENCH_H
#define RWP_BENCH_H

#include <linux/fs.h>
#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIB (1UL << 20)
#define PAGE 4096UL
#define HUGE (2 * MIB)

enum kind { ANON, SHMEM, THP, HUGETLB, KINDS };

/* Memory that is measured: it starts at a huge page and has no neighbours. */
struct area {
	enum kind kind;
	char *mem;
	size_t size;
	size_t unit;	/* what one entry of the page tables maps */
	size_t units;
	int memfd;	/* what SHMEM and HUGETLB map, otherwise -1 */
	int uffd;	/* -1 where the row does not use one */
	uint64_t mode;	/* in which it is registered there */
	int pagemap;
	struct page_region *found;	/* room for one region a unit */
	size_t nr_found;
	size_t step;	/* of the row; 1 unless it is slow */
	long arg;	/* of the row */
	void *data;	/* the row's own */
};

struct row {
	const char *name;
	/* Once: a context, a registration. False: this kernel cannot do it. */
	bool (*setup)(struct area *area);
	/* Before each reading, not measured */
	void (*before)(struct area *area);
	void (*run)(struct area *area);
	/* After each reading, not measured; must leave nothing behind */
	void (*after)(struct area *area);
	long arg;
	/* How many operations a run has; 0: one for each unit of the area */
	unsigned int operations;
	/* Of a large area, one area->step-th is measured */
	bool slow;
	/* hugetlbfs does not have it */
	bool not_hugetlb;
	/* It splits huge pages; left out for 2 GiB of them, made anew each time */
	bool splits;
};

struct rows {
	const struct row *rows;
	size_t nr;
	/* The setup depends on the row's arg: each has an area of its own */
	bool apart;
};

/* How much of what kind, and how often: the minimum is the figure. */
struct size {
	size_t size;
	unsigned int readings;
	/* Whether a first reading is taken that does not count */
	bool warm_up;
};

/* measure.c */
void measure(const struct rows *rows, enum kind kind, const struct size *size);
/* The one row to measure, NULL for all */
extern const char *only;
extern bool with_sibling, with_locks;

/* locks.c: the longest time that the mmap lock was held for each purpose */
struct held {
	uint64_t read, write;
};

void locks_start(void);
void locks_stop(struct held *held);

/* file.c; what is read is good until the next call */
void write_file(const char *name, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
const char *read_file(const char *name);

/* area.c */
extern const char *const kind_names[KINDS];
void area_map(struct area *area, enum kind kind, size_t size);
void populate(struct area *area);
void flush_tlb(void);
/* The first area->step-th of it: new memory, without page tables */
void map_again(struct area *area);
/* What was split is huge again, and populated; memory of small pages stays. */
void renew_huge(struct area *area);
void touch_read(struct area *area, size_t step);
void touch_write(struct area *area, size_t step);

/* uffd.c; those that return bool say false where the kernel lacks it */
int uffd_open(uint64_t features);
bool uffd_register(int uffd, const void *mem, size_t size, uint64_t mode);
void uffd_unregister(int uffd, const void *mem, size_t size);
void uffd_rwp(int uffd, const void *mem, size_t size, bool arm);
void uffd_wp(int uffd, const void *mem, size_t size, bool protect);
void uffd_set_mode(int uffd, bool async);
/* Regions where the category holds, with PM_SCAN_* flags, into area->found */
void scan(struct area *area, uint64_t category, uint64_t flags);

/* track.c: arm, resolve, fault, scan, by RWP and by WP */
extern const struct rows track_rows;
/* Registered in an async context, and populated */
bool setup_rwp(struct area *area);
bool setup_wp(struct area *area);
/* mode.c: UFFDIO_SET_MODE, and what it stands in for */
extern const struct rows mode_rows;
/* price.c: what everyone does, and the same on armed memory */
extern const struct rows price_rows, armed_rows;

/* peers.c: the other ways to find memory that is used */
extern const struct rows peer_rows;
void clear_soft_dirty(struct area *area);
void clear_accessed(struct area *area);
/* The sum over all mappings */
size_t referenced_kb(void);
bool setup_segv(struct area *area);
void protect_all(struct area *area);
/* Which units the handler of SIGSEGV has made accessible */
extern bool *segv_touched;

/* idle.c: one of them, idle page tracking */
bool idle_setup(struct area *area);
void idle_mark(struct area *area);
void idle_read(struct area *area);
bool idle_is_hot(struct area *area, size_t unit);

#endif
