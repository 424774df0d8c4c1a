// SPDX-License-Identifier: GPL-2.0
/* Workloads whose hot pages are known. Every second access writes. */
#include "truth.h"

/* Numbers that look random and are the same in every run (splitmix64). */
static uint64_t random_next(void)
{
	static uint64_t state = 1;
	uint64_t z = (state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static uint32_t entry(size_t page)
{
	return page * 2 + random_next() % 2;
}

/* Page number r is accessed in proportion to 1/r, the numbers are scattered. */
static void make_zipf(uint32_t *accesses, size_t pages, unsigned int interval)
{
	static double sum[ACCESSES * 2];

	(void)interval;
	for (size_t i = 0; i < pages; i++)
		sum[i] = (i ? sum[i - 1] : 0) + 1.0 / (i + 1);
	for (size_t i = 0; i < ACCESSES; i++) {
		double at = sum[pages - 1] * (random_next() >> 11) / (1UL << 53);
		size_t low = 0, high = pages - 1;

		while (low < high) {
			size_t middle = (low + high) / 2;

			if (sum[middle] < at)
				low = middle + 1;
			else
				high = middle;
		}
		accesses[i] = entry(low * 2654435761UL % pages);
	}
}

/* A twentieth of the memory, that moves on by a fifth of itself each time. */
static void make_window(uint32_t *accesses, size_t pages, unsigned int interval)
{
	size_t size = pages / 20, start = interval * (size / 5);

	for (size_t i = 0; i < ACCESSES; i++)
		accesses[i] = entry((start + random_next() % size) % pages);
}

/* Sixteen spots of four pages, far from each other. */
static void make_spots(uint32_t *accesses, size_t pages, unsigned int interval)
{
	(void)interval;
	for (size_t i = 0; i < ACCESSES; i++) {
		uint64_t random = random_next();
		size_t spot = random % 16, page = random / 16 % 4;

		accesses[i] = entry(spot * (pages / 16) + spot * 37 + page);
	}
}

const struct workload workloads[] = {
	{ "Zipf", make_zipf },
	{ "moving window", make_window },
	{ "hot spots", make_spots },
};

const size_t nr_workloads = ARRAY_SIZE(workloads);
