// SPDX-License-Identifier: GPL-2.0
/*
 * DAMON by its sysfs files, as its own tool does: one context, this process, and
 * a scheme that does nothing but say in which regions it saw accesses.
 */
#include <dirent.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "truth.h"

#define KDAMOND "/sys/kernel/mm/damon/admin/kdamonds/0/"
#define CONTEXT KDAMOND "contexts/0/"
#define SCHEME CONTEXT "schemes/0/"

static unsigned long get(const char *folder, const char *region,
			 const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s/%s", folder, region, name);
	return strtoul(read_file(path), NULL, 10);
}

bool damon_start(struct area *area)
{
	if (access("/sys/kernel/mm/damon/admin", F_OK))
		return false;
	write_file("/sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds", "1");
	write_file(KDAMOND "contexts/nr_contexts", "1");
	write_file(CONTEXT "operations", "fvaddr");
	write_file(CONTEXT "targets/nr_targets", "1");
	write_file(CONTEXT "targets/0/pid_target", "%d", getpid());
	write_file(CONTEXT "targets/0/regions/nr_regions", "1");
	write_file(CONTEXT "targets/0/regions/0/start", "%lu", (uintptr_t)area->mem);
	write_file(CONTEXT "targets/0/regions/0/end", "%lu",
	    (uintptr_t)area->mem + area->size);
	/* Twenty samples in an interval, and the default number of regions. */
	write_file(CONTEXT "monitoring_attrs/intervals/sample_us", "1000");
	write_file(CONTEXT "monitoring_attrs/intervals/aggr_us", "20000");
	write_file(CONTEXT "monitoring_attrs/intervals/update_us", "1000000");
	write_file(CONTEXT "schemes/nr_schemes", "1");
	write_file(SCHEME "action", "stat");
	write_file(SCHEME "access_pattern/sz/max", "%lu", ~0UL);
	write_file(SCHEME "access_pattern/nr_accesses/min", "1");
	write_file(SCHEME "access_pattern/nr_accesses/max", "%u", ~0U);
	write_file(SCHEME "access_pattern/age/max", "%u", ~0U);
	write_file(KDAMOND "state", "on");
	return true;
}

uint64_t damon_time(void)
{
	return cpu_time(strtoul(read_file(KDAMOND "pid"), NULL, 10));
}

void damon_stop(struct area *area, bool *hot)
{
	static const char folder[] = SCHEME "tried_regions";
	struct dirent *entry;
	DIR *dir;

	write_file(KDAMOND "state", "update_schemes_tried_regions");
	dir = opendir(folder);
	if (!dir)
		err(1, "%s", folder);
	while ((entry = readdir(dir))) {
		unsigned long start, end;

		if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
			continue;
		start = get(folder, entry->d_name, "start");
		end = get(folder, entry->d_name, "end");
		for (; start < end; start += PAGE)
			hot[(start - (uintptr_t)area->mem) / PAGE] = true;
	}
	closedir(dir);
}
