// SPDX-License-Identifier: LGPL-2.1-or-later
/* Which units of the data file are taken, and how the file grows. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <unistd.h>

#include "store.h"

#define GROW_MIN (1ULL << 20)
#define GROW_MAX (64ULL << 20)
/* Look again for a run once that many units were freed. */
#define FREED_ENOUGH 1024

static bool taken(const struct store_space *space, uint64_t unit)
{
	return space->map[unit / 64] >> unit % 64 & 1;
}

/* Set or clear the bits of a run. */
static void mark(struct store_space *space, uint64_t first, uint64_t units,
		 bool set)
{
	while (units) {
		unsigned int bit = first % 64;
		unsigned int count = 64 - bit < units ? 64 - bit : units;
		uint64_t mask = (count == 64 ? ~0ULL : (1ULL << count) - 1)
				<< bit;

		if (set)
			space->map[first / 64] |= mask;
		else
			space->map[first / 64] &= ~mask;
		first += count;
		units -= count;
	}
}

/* The first of @units free neighbours in [from, to), or -1. */
static int64_t find_run(const struct store_space *space, uint64_t from,
			uint64_t to, uint64_t units)
{
	uint64_t run = 0;

	for (uint64_t unit = from; unit < to; unit++) {
		if (unit % 64 == 0 && to - unit >= 64 &&
		    space->map[unit / 64] == ~0ULL) {
			run = 0;
			unit += 63;
			continue;
		}
		run = taken(space, unit) ? 0 : run + 1;
		if (run == units)
			return unit + 1 - units;
	}
	return -1;
}

/*
 * Next fit: what is saved together lies together and is read with one request.
 * The search is given up for good where it would be in vain again and again.
 */
int64_t rwpi_space_get(struct rwp_store *store, uint64_t units)
{
	struct store_space *space = &store->space;
	int64_t first;

	if (units > space->units - space->used)
		return -ENOSPC;
	if (units >= space->failed && space->freed < FREED_ENOUGH &&
	    space->units < space->max)
		return -ENOSPC;
	first = find_run(space, space->next, space->units, units);
	if (first < 0)
		first = find_run(space, 0, space->units, units);
	if (first < 0) {
		space->failed = units;
		space->freed = 0;
		return -ENOSPC;
	}
	mark(space, first, units, true);
	space->used += units;
	space->next = first + units;
	return first;
}

void rwpi_space_put(struct rwp_store *store, uint64_t first, uint64_t units)
{
	mark(&store->space, first, units, false);
	store->space.used -= units;
	store->space.freed += units;
}

bool rwpi_space_claim(struct rwp_store *store, uint64_t first, uint64_t units)
{
	struct store_space *space = &store->space;

	if (first >= space->units || units > space->units - first)
		return false;
	for (uint64_t unit = first; unit < first + units; unit++)
		if (taken(space, unit))
			return false;
	mark(space, first, units, true);
	space->used += units;
	return true;
}

static int resize(struct rwp_store *store, uint64_t units)
{
	struct store_space *space = &store->space;
	size_t old = (space->units + 63) / 64, new = (units + 63) / 64;
	uint64_t *map = realloc(space->map, new * sizeof(*map));

	if (!map)
		return -ENOMEM;
	memset(map + old, 0, (new - old) * sizeof(*map));
	space->map = map;
	space->units = units;
	space->failed = UINT64_MAX;
	return 0;
}

int rwpi_space_init(struct rwp_store *store, uint64_t max_bytes)
{
	struct store_space *space = &store->space;
	uint64_t header = STORE_HEADER / store->unit;
	struct stat st;
	int ret;

	if (fstat(store->data, &st))
		return -errno;
	space->max = max_bytes ? max_bytes / store->unit :
				 INT64_MAX / store->unit;
	space->failed = UINT64_MAX;
	ret = resize(store, st.st_size / store->unit);
	if (ret)
		return ret;
	mark(space, 0, header, true);
	space->used = header;
	space->next = header;
	return 0;
}

/*
 * Room on the disk is asked for ahead: a write that makes a file longer holds
 * up all others. Memory is not: tmpfs would take it at once.
 */
static int extend(struct rwp_store *store, uint64_t from, uint64_t to)
{
	struct statfs fs;

	if (!fstatfs(store->data, &fs) && fs.f_type != TMPFS_MAGIC) {
		if (!fallocate(store->data, 0, from, to - from))
			return 0;
		if (errno != EOPNOTSUPP)
			return -errno;
	}
	return ftruncate(store->data, to) ? -errno : 0;
}

int rwpi_space_grow(struct rwp_store *store, uint64_t units)
{
	struct store_space *space = &store->space;
	uint64_t bytes = space->units * store->unit;
	uint64_t step = bytes / 8;
	int ret = -ENOSPC;

	step = step < GROW_MIN ? GROW_MIN : step > GROW_MAX ? GROW_MAX : step;
	/* Nearly full: less and less, down to what is needed. */
	for (step /= store->unit;; step /= 2) {
		if (step < units)
			step = units;
		if (step <= space->max - space->units)
			ret = extend(store, bytes, bytes + step * store->unit);
		if (!ret || step == units)
			break;
	}
	if (ret)
		return ret == -EFBIG || ret == -EDQUOT ? -ENOSPC : ret;

	pthread_mutex_lock(&store->map_lock);
	ret = resize(store, space->units + step);
	pthread_mutex_unlock(&store->map_lock);
	return ret;
}
