// SPDX-License-Identifier: GPL-2.0
/*
 * How fast memory of a memfd is evicted and brought back, against a bare loop on
 * another file of the same size. Write-protection stands in for RWP (see
 * ../unit/wp-kernel.c), so that it can be measured on a machine that is not
 * emulated.
 *
 * The evictor takes the kernel's time for each page, the loop hardly any: where
 * others want the processors too only the former has to share. So turns count in
 * which they were left alone, if there are enough of these.
 *
 * "the kernel alone" is what no evictor can do without, on a single thread and
 * without a disk: the pages are read from the memfd and punched out of it. A disk
 * that writes as fast as that leaves nothing for evicting.
 *
 * evict-bench [DIRECTORY [LEAST]]
 * Exit code 1: a share is below LEAST percent, where pages are of 64 KiB or more,
 * and stays there when it is measured again.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bare.h"

#define TRIES 3
/* So many turns may be noisy: others have more of a processor than this. */
#define TURNS_MAX (3 * TURNS)
#define QUIET 0.2

static char path[2][256], index_path[300];

struct setup {
	struct rwp *rwp;
	struct rwp_store *store;
	struct rwp_evictor *evictor;
	struct rwp_range range;
	char *memory;
	int fd;
};

static void begin(struct setup *setup, size_t size)
{
	struct rwp_memory memory = { .page_size = size > 4096 ? size : 0 };

	setup->fd = memfd_create("bench", MFD_CLOEXEC);
	if (setup->fd < 0 || ftruncate(setup->fd, PART))
		die("memfd");
	setup->memory = mmap(NULL, PART + (2 << 20), PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	setup->memory += -(size_t)setup->memory % (2 << 20);
	setup->memory = mmap(setup->memory, PART, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_FIXED, setup->fd, 0);
	fill_random(setup->memory, PART);
	setup->range = (struct rwp_range){ (size_t)setup->memory, PART };
	memory.range = setup->range;
	memory.fd = setup->fd;
	OK(rwp_open(RWP_OPEN_EVICT, &setup->rwp, &error));
	OK(rwp_store_open(path[0], NULL, &setup->store, &error));
	OK(rwp_evictor_new(setup->rwp, setup->store, NULL, &setup->evictor,
			   &error));
	OK(rwp_evictor_add(setup->evictor, &memory, &error));
}

static void end(struct setup *setup)
{
	OK(rwp_unregister(setup->rwp, setup->range, &error));
	rwp_evictor_free(setup->evictor);
	rwp_close(setup->rwp);
	rwp_store_close(setup->store);
	munmap(setup->memory, PART);
	close(setup->fd);
	unlink(index_path);
	unlink(path[0]);
}

static double evict(struct setup *setup)
{
	double start;
	int64_t got;

	OK(rwp_arm(setup->rwp, setup->range, &error));
	start = now();
	OK(got = rwp_evict(setup->evictor, &setup->range, 1, &error));
	if (!got)
		die("nothing was evicted");
	return now() - start;
}

static double restore(struct setup *setup)
{
	double start = now();

	OK(rwp_evictor_restore(setup->evictor, NULL, NULL, &error));
	return now() - start;
}

static double kernel_alone(size_t size)
{
	int fd = memfd_create("alone", MFD_CLOEXEC);
	char *buffer = aligned_alloc(4096, size), *memory;
	double start, took;

	if (!buffer || fd < 0 || ftruncate(fd, PART))
		die("memfd");
	memory = mmap(NULL, PART, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		die("mmap");
	memset(memory, 1, PART);
	memset(buffer, 1, size);
	start = now();
	for (size_t at = 0; at < PART; at += size)
		if (pread(fd, buffer, size, at) != (ssize_t)size ||
		    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      at, size))
			die("reading and punching");
	took = now() - start;
	munmap(memory, PART);
	free(buffer);
	close(fd);
	return took;
}

static double seconds(struct timeval time)
{
	return time.tv_sec + time.tv_usec / 1e6;
}

/* Seconds of all processors that went to others so far. */
static double taken_by_others(void)
{
	double user, nice, system, idle, wait, irq, softirq, steal;
	FILE *file = fopen("/proc/stat", "re");
	struct rusage own;

	if (!file ||
	    fscanf(file, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", &user, &nice,
		   &system, &idle, &wait, &irq, &softirq, &steal) != 8)
		die("/proc/stat");
	fclose(file);
	getrusage(RUSAGE_SELF, &own);
	return (user + nice + system + irq + softirq + steal) /
		       sysconf(_SC_CLK_TCK) -
	       seconds(own.ru_utime) - seconds(own.ru_stime);
}

/* Whether the machine was ours in a turn that has begun @since. */
static bool was_quiet(double since, double others)
{
	return taken_by_others() - others < QUIET * (now() - since);
}

/* Below @least percent; returns how many of the two shares are. */
static int measure(size_t size, double least)
{
	struct shares out, in, alone;
	struct setup setup;
	struct bare bare;
	unsigned int count = PART / size;
	unsigned int *order = calloc(count, sizeof(*order));
	int noisy = -1, low = 0;

	for (unsigned int i = 0; i < count; i++)
		order[i] = i;
	begin(&setup, size);
	bare_open(&bare, path[1], size);
	/* Both files get their blocks. */
	for (int i = 0; i < 2; i++) {
		evict(&setup);
		restore(&setup);
		bare_run(&bare, true, order, count);
	}
	for (int turn = 0, tries = 0; turn < TURNS; tries++) {
		double since = now(), others = taken_by_others();

		out.other[turn] = evict(&setup);
		out.bare[turn] = bare_run(&bare, true, order, count);
		in.bare[turn] = bare_run(&bare, false, order, count);
		in.other[turn] = restore(&setup);
		alone.other[turn] = kernel_alone(size);
		alone.bare[turn] = out.bare[turn];
		if (was_quiet(since, others))
			turn++;
		else if (tries >= TURNS_MAX)
			noisy = turn++;
	}
	end(&setup);
	bare_close(&bare);
	unlink(path[1]);
	free(order);
	low += shares_report(&out, "evict", size) < least;
	low += shares_report(&in, "bring back", size) < least;
	shares_report(&alone, "the kernel alone", size);
	if (noisy >= 0)
		printf("           the machine was hardly ever quiet meanwhile\n");
	return low;
}

int main(int argc, char **argv)
{
	double least = argc > 2 ? atof(argv[2]) : 0;
	int slow = 0;

	for (int i = 0; i < 2; i++)
		snprintf(path[i], sizeof(path[i]), "%s/evict-bench.%d.%d",
			 argc > 1 ? argv[1] : ".", (int)getpid(), i);
	snprintf(index_path, sizeof(index_path), "%s.index", path[0]);
	measure(4 << 10, 0);
	for (size_t size = 64 << 10; size <= 2 << 20; size <<= 5) {
		int low, tries = 0;

		do {
			low = measure(size, least);
		} while (low && ++tries < TRIES);
		slow += low;
	}
	return slow != 0;
}
