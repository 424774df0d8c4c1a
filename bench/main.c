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
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <time.h>
#include <unistd.h>

#include "truth.h"

static void mount_at(const char *type, const char *where)
{
	mkdir(where, 0755);
	if (mount(type, where, type, 0, NULL))
		err(1, "mount %s", where);
}

/* Swap on compressed memory: no device whose time would count. */
static void swap_on(void)
{
	static const char device[] = "/dev/zram0";
	char header[PAGE] = { };
	struct {
		uint32_t version, last_page, nr_badpages;
	} *info = (void *)(header + 1024);
	int fd;

	write_file("/sys/block/zram0/disksize", "%lu", 512 * MIB);
	info->version = 1;
	info->last_page = 512 * MIB / PAGE - 1;
	memcpy(header + PAGE - 10, "SWAPSPACE2", 10);
	fd = open(device, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, header, PAGE) != PAGE || fsync(fd) ||
	    swapon(device, 0))
		err(1, "swapon");
	close(fd);
}

static void become_init(void)
{
	struct timespec settle = { .tv_sec = 5 };

	mount_at("proc", "/proc");
	mount_at("sysfs", "/sys");
	mount_at("tmpfs", "/tmp");
	mount_at("devtmpfs", "/dev");
	mount_at("tracefs", "/sys/kernel/tracing");
	write_file("/proc/sys/vm/max_map_count", "200000");
	swap_on();
	/* What the kernel puts off at boot must not fall into a reading. */
	nanosleep(&settle, NULL);
}

static void core(void)
{
	static const struct size size = { 8 * MIB, 9, true };

	measure(&track_rows, ANON, &size);
	measure(&mode_rows, ANON, &size);
}

static void track(size_t size, unsigned int readings, bool warm_up)
{
	const struct size this = { size, readings, warm_up };

	for (enum kind kind = 0; kind < KINDS; kind++) {
		measure(&track_rows, kind, &this);
		measure(&armed_rows, kind, &this);
	}
}

static void small(void)
{
	track(16 * MIB, 5, true);
}

static void medium(void)
{
	track(256 * MIB, 3, false);
}

/* Touching it for the first time takes most of the time. */
static void large(void)
{
	track(2048 * MIB, 2, false);
}

/* Of huge pages more memory is taken, for there are fewer of them. */
static void each_kind(const struct rows *rows)
{
	static const struct size small = { 16 * MIB, 5, true },
				 large = { 256 * MIB, 5, true };

	for (enum kind kind = 0; kind < KINDS; kind++)
		measure(rows, kind,
			kind == THP || kind == HUGETLB ? &large : &small);
}

static void price(void)
{
	each_kind(&price_rows);
}

static void peers(void)
{
	each_kind(&peer_rows);
}

static const struct {
	const char *name;
	void (*run)(void);
} topics[] = {
	{ "core", core },
	{ "small", small },
	{ "medium", medium },
	{ "large", large },
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
