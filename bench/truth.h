/* SPDX-License-Identifier: GPL-2.0 */
/* What each method finds of what was really used. */
#ifndef RWP_BENCH_TRUTH_H
#define RWP_BENCH_TRUTH_H

#include <sys/types.h>

#include "bench.h"

/* The accesses of one interval, over and over: page * 2 + (1 if it writes) */
#define ACCESSES 16384UL

struct workload {
	const char *name;
	void (*make)(uint32_t *accesses, size_t pages, unsigned int interval);
};

/* workload.c */
extern const struct workload workloads[];
extern const size_t nr_workloads;

/* damon.c; false where the kernel has no DAMON */
bool damon_start(struct area *area);
void damon_stop(struct area *area, bool *hot);
/* The processor time that its thread took */
uint64_t damon_time(void);

/* truth.c */
uint64_t cpu_time(pid_t pid);
/* Print one line for each method and workload. */
void truth(void);

#endif
