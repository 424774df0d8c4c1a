// SPDX-License-Identifier: GPL-2.0
/*
 * For each method and workload: how much of what it calls hot was used in the
 * interval (precision), how much of what was used it calls hot (recall), and
 * what that costs: with tracking less without it.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "truth.h"

#define SIZE (64 * MIB)
#define PAGES (SIZE / PAGE)
#define PASSES 150
#define WARM_UP 4	/* in which DAMON finds its regions */
#define INTERVALS 5

struct method {
	const char *name;
	bool (*setup)(struct area *area);
	void (*start)(struct area *area);
	void (*stop)(struct area *area, bool *hot);
	/* The processor time that somebody else spends for it */
	uint64_t (*others)(void);
};

uint64_t cpu_time(pid_t pid)
{
	struct timespec time;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &time))
		errx(1, "no clock of process %d", pid);
	return time.tv_sec * 1000000000UL + time.tv_nsec;
}

static uint64_t spent(const struct method *method)
{
	return cpu_time(0) + (method->others ? method->others() : 0);
}

static void found_is_hot(struct area *area, bool *hot)
{
	for (size_t i = 0; i < area->nr_found; i++) {
		uintptr_t at = area->found[i].start;

		for (; at < area->found[i].end; at += PAGE)
			hot[(at - (uintptr_t)area->mem) / PAGE] = true;
	}
}

static void start_rwp(struct area *area)
{
	uffd_rwp(area->uffd, area->mem, area->size, true);
}

static void stop_rwp(struct area *area, bool *hot)
{
	scan(area, PAGE_IS_ACCESSED, 0);
	found_is_hot(area, hot);
}

static void start_wp(struct area *area)
{
	uffd_wp(area->uffd, area->mem, area->size, true);
}

static void stop_wp(struct area *area, bool *hot)
{
	scan(area, PAGE_IS_WRITTEN, 0);
	found_is_hot(area, hot);
}

static bool setup_plain(struct area *area)
{
	populate(area);
	return true;
}

static void stop_soft_dirty(struct area *area, bool *hot)
{
	scan(area, PAGE_IS_SOFT_DIRTY, 0);
	found_is_hot(area, hot);
}

static void stop_segv(struct area *area, bool *hot)
{
	(void)area;
	memcpy(hot, segv_touched, PAGES * sizeof(*hot));
	memset(segv_touched, 0, PAGES * sizeof(*hot));
}

static bool setup_idle(struct area *area)
{
	populate(area);
	return idle_setup(area);
}

static void stop_idle(struct area *area, bool *hot)
{
	idle_read(area);
	for (size_t i = 0; i < PAGES; i++)
		hot[i] = idle_is_hot(area, i);
}

/* smaps says how much of a mapping was referenced, but not which pages. */
static void stop_smaps(struct area *area, bool *hot)
{
	(void)area;
	if (referenced_kb())
		memset(hot, true, PAGES * sizeof(*hot));
}

static bool setup_damon(struct area *area)
{
	populate(area);
	return damon_start(area);
}

static const struct method methods[] = {
	{ "none", setup_plain },
	{ "RWP async", setup_rwp, start_rwp, stop_rwp },
	{ "WP async", setup_wp, start_wp, stop_wp },
	{ "soft-dirty", setup_plain, clear_soft_dirty, stop_soft_dirty },
	{ "mprotect and SIGSEGV", setup_segv, protect_all, stop_segv },
	{ "page_idle", setup_idle, idle_mark, stop_idle },
	{ "clear_refs and smaps", setup_plain, clear_accessed, stop_smaps },
	{ "DAMON", setup_damon, NULL, damon_stop, damon_time },
};

static void work(char *mem, const uint32_t *accesses)
{
	for (int pass = 0; pass < PASSES; pass++) {
		for (size_t i = 0; i < ACCESSES; i++) {
			volatile char *at = mem + accesses[i] / 2 * PAGE;

			if (accesses[i] % 2)
				*at = 1;
			else
				(void)*at;
		}
		flush_tlb();
	}
}

static void run(const struct method *method, const struct workload *workload)
{
	static uint32_t accesses[ACCESSES];
	static bool used[PAGES], hot[PAGES];
	size_t right = 0, wrong = 0, missed = 0;
	uint64_t insn = 0;
	struct area area;

	area_map(&area, ANON, SIZE);
	if (!method->setup(&area))
		return;
	for (unsigned int interval = 0; interval < WARM_UP + INTERVALS; interval++) {
		uint64_t start;

		workload->make(accesses, PAGES, interval);
		memset(used, 0, sizeof(used));
		memset(hot, 0, sizeof(hot));
		for (size_t i = 0; i < ACCESSES; i++)
			used[accesses[i] / 2] = true;

		start = spent(method);
		if (method->start)
			method->start(&area);
		work(area.mem, accesses);
		if (method->stop)
			method->stop(&area, hot);
		if (interval < WARM_UP)
			continue;
		insn += spent(method) - start;
		for (size_t i = 0; i < PAGES; i++) {
			right += used[i] && hot[i];
			wrong += !used[i] && hot[i];
			missed += used[i] && !hot[i];
		}
	}
	printf("{\"method\": \"%s\", \"workload\": \"%s\", \"pages\": %zu, \"intervals\": %d, ",
	       method->name, workload->name, PAGES, INTERVALS);
	printf("\"right\": %zu, \"wrong\": %zu, \"missed\": %zu, \"insn\": %lu}\n",
	       right, wrong, missed, insn);
}

void truth(void)
{
	for (size_t i = 0; i < nr_workloads * ARRAY_SIZE(methods); i++) {
		pid_t child;

		fflush(NULL);
		child = fork();
		if (child < 0)
			err(1, "fork");
		if (!child) {
			run(methods + i % ARRAY_SIZE(methods),
			    workloads + i / ARRAY_SIZE(methods));
			fflush(NULL);
			_exit(0);
		}
		waitpid(child, NULL, 0);
	}
}
