// SPDX-License-Identifier: GPL-2.0
/*
 * How fast the store saves and fetches, against a bare loop on the same file, with
 * the same sizes and the same number of requests in flight. The pages are random
 * bytes: the store has to write all of them, and to find out that it does.
 *
 * store-bench [DIRECTORY [LEAST]]
 * Exit code 1: a share is below LEAST percent, where pages are of 64 KiB or more,
 * and stays there when it is measured again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bare.h"

#define TRIES 6
#define BATCH (32UL << 20) /* bytes a call of the store has to do */

enum { WRITE, READ, READ_RANDOM, OPERATIONS };

static const char *const names[] = { "save", "fetch", "fetch, random order" };

static char *memory; /* TOTAL bytes */
static unsigned int *order; /* of the pages */

static void set_order(int operation, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		order[i] = i;
	for (unsigned int i = count; operation == READ_RANDOM && i-- > 1;) {
		unsigned int other = random() % (i + 1), swap = order[i];

		order[i] = order[other];
		order[other] = swap;
	}
}

static double store_run(struct rwp_store *store, bool write, size_t size,
			const unsigned int *number, unsigned int count)
{
	unsigned int batch = BATCH / size;
	struct rwp_store_page *page = calloc(batch, sizeof(*page));
	double start = now();

	for (unsigned int i = 0; i < count; i += batch) {
		for (unsigned int j = 0; j < batch; j++) {
			page[j].key.offset = number[i + j] * size;
			page[j].data = memory + number[i + j] * size;
			page[j].len = size;
		}
		if (write)
			OK(rwp_store_save(store, page, batch, &error));
		else
			OK(rwp_store_fetch(store, page, batch, &error));
	}
	free(page);
	return now() - start;
}

/* All of the file was written before, by both: no blocks to be found any more. */
static void prepare(struct rwp_store *store, struct bare *bare, int operation,
		    size_t size)
{
	unsigned int count = TOTAL / size;

	set_order(WRITE, count);
	if (operation == WRITE) {
		store_run(store, true, size, order, count);
		store_run(store, true, size, order, count);
		bare_run(bare, true, order, count);
	}
	/* What the loop has overwritten is what is to be fetched. */
	store_run(store, true, size, order, count);
	set_order(operation, count);
}

static double measure(const char *path, int operation, size_t size)
{
	struct rwp_store_options options = { .depth = DEPTH };
	unsigned int part = PART / size;
	struct rwp_store *store;
	struct shares shares;
	struct bare bare;

	OK(rwp_store_open(path, &options, &store, &error));
	bare_open(&bare, path, size);
	prepare(store, &bare, operation, size);
	for (int i = 0; i < TURNS; i++) {
		const unsigned int *number = order + i * part % (TOTAL / size);
		bool write = operation == WRITE, first = i % 2;

		if (first)
			shares.bare[i] = bare_run(&bare, write, number, part);
		shares.other[i] = store_run(store, write, size, number, part);
		if (!first)
			shares.bare[i] = bare_run(&bare, write, number, part);
	}
	bare_close(&bare);
	rwp_store_close(store);
	return shares_report(&shares, names[operation], size);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = { 4 << 10, 64 << 10, 2 << 20 };
	double least = argc > 2 ? atof(argv[2]) : 0;
	char path[256], index[300];
	int slow = 0;

	snprintf(path, sizeof(path), "%s/store-bench.%d",
		 argc > 1 ? argv[1] : ".", (int)getpid());
	snprintf(index, sizeof(index), "%s.index", path);
	memory = aligned_alloc(2 << 20, TOTAL);
	order = calloc(TOTAL / 4096, sizeof(*order));
	fill_random(memory, TOTAL);
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (int operation = 0; operation < OPERATIONS; operation++) {
			bool counts = sizes[i] >= 64 << 10;
			double share;
			int tries = 0;

			do {
				share = measure(path, operation, sizes[i]);
			} while (counts && share < least && ++tries < TRIES);
			slow += counts && share < least;
		}
		unlink(path);
		unlink(index);
	}
	free(memory);
	free(order);
	return slow != 0;
}
