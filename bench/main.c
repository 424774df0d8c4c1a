// SPDX-License-Identifier: GPL-2.0
/*
 * The init of the machine: run the topics named, print a JSON line for each
 * row, switch the machine off.
 *
 *   rwp-bench TOPIC... [only=ROW] [sibling] [locks]
 *
 * With "sibling", on two processors, a second thread of the process that is
 * measured runs on the other one. Instructions mean nothing then, shootdowns do.
 * With "locks", how long the mmap lock is held is printed, too.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "truth.h"

static void mount_at(const char *type, const char *where)
{
	mkdir(where, 0755);
	if (mount(type, where, type, 0, NULL))
		err(1, "mount %s", where);
}

static void become_init(void)
{
	struct timespec settle = { .tv_sec = 5 };

	mount_at("proc", "/proc");
	mount_at("sysfs", "/sys");
	mount_at("tmpfs", "/tmp");
	mount_at("tracefs", "/sys/kernel/tracing");
	write_file("/proc/sys/vm/max_map_count", "200000");
	/* What the kernel puts off at boot must not fall into a reading. */
	nanosleep(&settle, NULL);
}

/* The one row to measure, NULL for all */
static const char *only;

static void run(const struct rows *rows, enum kind kind, size_t size,
		unsigned int readings)
{
	for (size_t i = 0; i < rows->nr; i++) {
		const struct row *row = rows->rows + i;

		if (only && strcmp(only, row->name))
			continue;
		/* Nobody would learn more from hours of it. */
		if (row->slow && size > 256 * MIB)
			continue;
		measure(row, kind, size, readings);
	}
}

static void core(void)
{
	run(&track_rows, ANON, 8 * MIB, 9);
	run(&mode_rows, ANON, 8 * MIB, 9);
}

static void kinds(void)
{
	static const struct {
		size_t size;
		unsigned int readings;
	} sizes[] = { { 16 * MIB, 9 }, { 256 * MIB, 5 }, { 2048 * MIB, 2 } };

	for (enum kind kind = 0; kind < KINDS; kind++) {
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
			run(&track_rows, kind, sizes[i].size,
			    sizes[i].readings);
	}
}

/* Of huge pages more memory is taken, for there are fewer of them. */
static void run_kinds(const struct rows *rows)
{
	for (enum kind kind = 0; kind < KINDS; kind++) {
		bool huge = kind == THP || kind == HUGETLB;

		run(rows, kind, huge ? 256 * MIB : 8 * MIB, 9);
	}
}

static void price(void)
{
	run_kinds(&price_rows);
	run_kinds(&armed_rows);
}

static void peers(void)
{
	run_kinds(&peer_rows);
}

static const struct {
	const char *name;
	void (*run)(void);
} topics[] = {
	{ "core", core },
	{ "kinds", kinds },
	{ "price", price },
	{ "peers", peers },
	{ "truth", truth },
};

int main(int argc, char **argv)
{
	bool init = getpid() == 1;

	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	if (init)
		become_init();
	for (int arg = 1; arg < argc; arg++) {
		if (!strncmp(argv[arg], "only=", 5))
			only = argv[arg] + 5;
		with_sibling |= !strcmp(argv[arg], "sibling");
		with_locks |= !strcmp(argv[arg], "locks");
	}
	for (size_t i = 0; i < ARRAY_SIZE(topics); i++) {
		for (int arg = 1; arg < argc; arg++) {
			if (!strcmp(argv[arg], topics[i].name))
				topics[i].run();
		}
	}
	printf("{\"end\": true}\n");
	fflush(stdout);
	if (init)
		reboot(RB_POWER_OFF);
	return 0;
}
