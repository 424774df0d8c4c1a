// SPDX-License-Identifier: GPL-2.0
/*
 * The init of the machine: run the topics named, print a JSON line for each
 * row, switch the machine off.
 *
 *   rwp-bench TOPIC... [only=ROW]
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "truth.h"

static void set(const char *name, const char *value)
{
	int fd = open(name, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		err(1, "%s", name);
	close(fd);
}

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
	set("/proc/sys/vm/max_map_count", "200000");
	/* What the kernel puts off at boot must not fall into a reading. */
	nanosleep(&settle, NULL);
}

/* The one row to measure, NULL for all */
static const char *only;

static void run(const struct rows *rows, enum kind kind, size_t size,
		unsigned int readings)
{
	for (size_t i = 0; i < rows->nr; i++) {
		if (!only || !strcmp(only, rows->rows[i].name))
			measure(rows->rows + i, kind, size, readings);
	}
}

static void core(void)
{
	run(&track_rows, ANON, 8 * MIB, 9);
	run(&mode_rows, ANON, 8 * MIB, 9);
}

static void price(void)
{
	for (enum kind kind = 0; kind < KINDS; kind++) {
		size_t size = kind == ANON || kind == SHMEM ? 8 * MIB : 256 * MIB;

		run(&price_rows, kind, size, 9);
		run(&armed_rows, kind, size, 9);
	}
}

static void peers(void)
{
	for (enum kind kind = 0; kind < KINDS; kind++)
		run(&peer_rows, kind, kind == ANON || kind == SHMEM ? 8 * MIB :
				256 * MIB, 9);
}

static const struct {
	const char *name;
	void (*run)(void);
} topics[] = {
	{ "core", core },
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
