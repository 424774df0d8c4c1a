// SPDX-License-Identifier: GPL-2.0
/*
 * How fast memory of a memfd is evicted and brought back, against a bare loop on
 * another file of the same size. Write-protection stands in for RWP (see
 * ../unit/wp-kernel.c), so that it can be measured on a machine that is not
 * emulated.
 *
 * evict-bench [DIRECTORY]
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bare.h"

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

static void measure(size_t size)
{
	struct shares out, in;
	struct setup setup;
	struct bare bare;
	unsigned int count = PART / size;
	unsigned int *order = calloc(count, sizeof(*order));

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
	for (int i = 0; i < TURNS; i++) {
		out.other[i] = evict(&setup);
		out.bare[i] = bare_run(&bare, true, order, count);
		in.bare[i] = bare_run(&bare, false, order, count);
		in.other[i] = restore(&setup);
	}
	end(&setup);
	bare_close(&bare);
	unlink(path[1]);
	free(order);
	shares_report(&out, "evict", size);
	shares_report(&in, "bring back", size);
}

int main(int argc, char **argv)
{
	for (int i = 0; i < 2; i++)
		snprintf(path[i], sizeof(path[i]), "%s/evict-bench.%d.%d",
			 argc > 1 ? argv[1] : ".", (int)getpid(), i);
	snprintf(index_path, sizeof(index_path), "%s.index", path[0]);
	measure(4 << 10);
	measure(64 << 10);
	measure(2 << 20);
	return 0;
}
