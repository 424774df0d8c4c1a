// SPDX-License-Identifier: GPL-2.0
/*
 * DAMON by its sysfs files, as its own tool does: one context, this process, and
 * a scheme that does nothing but say in which regions it saw accesses.
 */
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "truth.h"

#define KDAMOND "/sys/kernel/mm/damon/admin/kdamonds/0/"
#define CONTEXT KDAMOND "contexts/0/"
#define SCHEME CONTEXT "schemes/0/"

static void set(const char *name, const char *format, ...)
{
	char value[64];
	va_list list;
	int len, fd;

	va_start(list, format);
	len = vsnprintf(value, sizeof(value), format, list);
	va_end(list);
	fd = open(name, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, len) != len)
		err(1, "%s = %s", name, value);
	close(fd);
}

static unsigned long get(const char *folder, const char *region,
			 const char *name)
{
	char path[256], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/%s/%s", folder, region, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		err(1, "%s", path);
	close(fd);
	return strtoul(text, NULL, 10);
}

bool damon_start(struct area *area)
{
	if (access("/sys/kernel/mm/damon/admin", F_OK))
		return false;
	set("/sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds", "1");
	set(KDAMOND "contexts/nr_contexts", "1");
	set(CONTEXT "operations", "fvaddr");
	set(CONTEXT "targets/nr_targets", "1");
	set(CONTEXT "targets/0/pid_target", "%d", getpid());
	set(CONTEXT "targets/0/regions/nr_regions", "1");
	set(CONTEXT "targets/0/regions/0/start", "%lu", (uintptr_t)area->mem);
	set(CONTEXT "targets/0/regions/0/end", "%lu",
	    (uintptr_t)area->mem + area->size);
	/* Twenty samples in an interval, and the default number of regions. */
	set(CONTEXT "monitoring_attrs/intervals/sample_us", "1000");
	set(CONTEXT "monitoring_attrs/intervals/aggr_us", "20000");
	set(CONTEXT "monitoring_attrs/intervals/update_us", "1000000");
	set(CONTEXT "schemes/nr_schemes", "1");
	set(SCHEME "action", "stat");
	set(SCHEME "access_pattern/sz/max", "%lu", ~0UL);
	set(SCHEME "access_pattern/nr_accesses/min", "1");
	set(SCHEME "access_pattern/nr_accesses/max", "%u", ~0U);
	set(SCHEME "access_pattern/age/max", "%u", ~0U);
	set(KDAMOND "state", "on");
	return true;
}

void damon_stop(struct area *area, bool *hot)
{
	static const char folder[] = SCHEME "tried_regions";
	struct dirent *entry;
	DIR *dir;

	set(KDAMOND "state", "update_schemes_tried_regions");
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
