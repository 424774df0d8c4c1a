// SPDX-License-Identifier: LGPL-2.1-or-later
/* The records of the index: reading and changing them. store-load.c opens it. */
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "store-index.h"

static uint64_t record_check(const struct rwp_store *store,
			     struct rwp_store_key key,
			     const struct store_record *record)
{
	struct {
		struct store_record record;
		struct rwp_store_key key;
		uint64_t id;
	} what = { .record = *record, .key = key, .id = store->id };

	what.record.check = 0;
	return XXH3_64bits(&what, sizeof(what));
}

bool rwpi_record_empty(const struct store_record *record)
{
	static const struct store_record zero;

	return !memcmp(record, &zero, sizeof(zero));
}

int rwpi_record_check(const struct rwp_store *store, struct rwp_store_key key,
		      const struct store_record *record)
{
	if (rwpi_record_empty(record))
		return -ENOENT;
	if (record->check != record_check(store, key, record))
		return -EBADMSG;
	return 0;
}

void rwpi_record_seal(const struct rwp_store *store, struct rwp_store_key key,
		      struct store_record *record)
{
	if (record->kind != KIND_NONE)
		record->check = record_check(store, key, record);
}

int rwpi_index_read_run(struct rwp_store *store, struct rwp_store_key key,
			struct store_record *record, unsigned int count)
{
	int64_t number;

	pthread_mutex_lock(&store->map_lock);
	number = rwpi_chunk_find(store, key);
	pthread_mutex_unlock(&store->map_lock);
	if (number < 0)
		return -ENOENT;
	return rwpi_read_all(store->index, record, count * sizeof(*record),
			     rwpi_record_at(number, key));
}

int rwpi_index_read(struct rwp_store *store, struct rwp_store_key key,
		    struct store_record *record)
{
	int ret = rwpi_index_read_run(store, key, record, 1);

	return ret ? ret : rwpi_record_check(store, key, record);
}

void rwpi_account(struct rwp_store *store, struct rwp_store_key key,
		  const struct store_record *record, int sign)
{
	struct rwp_store_stats *stats = &store->stats;

	if (rwpi_record_is_head(key, record)) {
		stats->pages += sign;
		stats->bytes += (1LL << record->shift) * sign;
	}
	if (record->kind == KIND_SAME)
		stats->same += sign;
	else if (record->kind == KIND_LZ4)
		stats->compressed += sign;
	else if (record->kind == KIND_PLAIN)
		stats->plain += sign;
}

/* A page would lie over a part of a larger one. */
static bool overlaps(struct rwp_store_key key, const struct store_record *old,
		     const struct store_record *new)
{
	return new->kind != KIND_NONE && !rwpi_record_is_head(key, old) &&
	       old->shift != new->shift;
}

/*
 * The units of what was there may be given to others only now that no record on
 * file points to them. What cannot be read is left alone: its units are free
 * again when the store is opened the next time.
 */
static int replaced(struct rwp_store *store, struct rwp_store_key key,
		    const struct store_record *old,
		    const struct store_record *new)
{
	bool known = !rwpi_record_check(store, key, old);

	pthread_mutex_lock(&store->map_lock);
	if (known) {
		rwpi_account(store, key, old, -1);
		rwpi_space_put(store, old->position,
			       rwpi_record_units(store, old));
	}
	if (new->kind != KIND_NONE)
		rwpi_account(store, key, new, 1);
	pthread_mutex_unlock(&store->map_lock);
	if (known && rwpi_record_is_head(key, old) &&
	    old->shift > PIECE_SHIFT && old->shift != new->shift)
		return rwpi_index_tails(store, key, old->shift, NULL);
	return 0;
}

/* Pieces are so many records apart. */
#define STRIDE (1U << (PIECE_SHIFT - PAGE_MIN_SHIFT))
#define TAILS (CHUNK_RECORDS / STRIDE)

/*
 * The tails in one chunk: read with one request, changed, and written back. What
 * lies between them stays as it is. @tail is what is to be there, or NULL.
 */
static int write_tails(struct rwp_store *store, int64_t number,
		       struct rwp_store_key key, struct store_record *tail,
		       unsigned int count)
{
	struct store_record all[CHUNK_RECORDS], old[TAILS], new[TAILS];
	struct rwp_store_key each = key;
	unsigned int span = (count - 1) * STRIDE + 1;
	uint64_t at = rwpi_record_at(number, key);
	int ret = rwpi_read_all(store->index, all, span * sizeof(*all), at);

	for (unsigned int i = 0; i < count && !ret; i++) {
		each.offset = key.offset + ((uint64_t)i << PIECE_SHIFT);
		old[i] = all[i * STRIDE];
		new[i] = (struct store_record){ 0 };
		if (tail)
			new[i] = tail[i];
		rwpi_record_seal(store, each, &new[i]);
		if (!rwpi_record_check(store, each, &old[i]) &&
		    overlaps(each, &old[i], &new[i]))
			ret = -EEXIST;
		all[i * STRIDE] = new[i];
	}
	if (!ret)
		ret = rwpi_write_all(store->index, all, span * sizeof(*all),
				     at);
	/* They are the index's now. */
	for (unsigned int i = 0; i < count && tail && !ret; i++)
		tail[i].kind = KIND_NONE;
	for (unsigned int i = 0; i < count && !ret; i++) {
		each.offset = key.offset + ((uint64_t)i << PIECE_SHIFT);
		ret = replaced(store, each, &old[i], &new[i]);
	}
	return ret;
}

int rwpi_index_tails(struct rwp_store *store, struct rwp_store_key key,
		     unsigned int shift, struct store_record *tail)
{
	uint64_t end = key.offset + (1ULL << shift), next;
	int ret = 0;

	for (key.offset += PIECE_MAX; key.offset < end; key.offset = next) {
		uint64_t chunk_end =
			(key.offset | ((1ULL << CHUNK_SHIFT) - 1)) + 1;
		unsigned int count;
		int64_t number;
		int one = 0;

		next = chunk_end < end ? chunk_end : end;
		count = (next - key.offset) >> PIECE_SHIFT;
		pthread_mutex_lock(&store->map_lock);
		number = rwpi_chunk_find(store, key);
		pthread_mutex_unlock(&store->map_lock);
		if (number < 0 && tail)
			number = rwpi_chunk_add(store, key);
		if (number >= 0)
			one = write_tails(store, number, key, tail, count);
		else if (tail)
			one = number;
		if (tail)
			tail += count;
		ret = ret ? ret : one;
		if (ret && tail)
			return ret;
	}
	return ret;
}

static int write_run(struct rwp_store *store, int64_t number,
		     struct rwp_store_key key, struct store_record *record,
		     unsigned int count)
{
	struct store_record old[RUN_MAX];
	uint64_t at = rwpi_record_at(number, key);
	struct rwp_store_key each = key;
	int ret = rwpi_read_all(store->index, old, count * sizeof(*old), at);

	for (unsigned int i = 0; i < count && !ret; i++) {
		each.offset = key.offset + ((uint64_t)i << PAGE_MIN_SHIFT);
		rwpi_record_seal(store, each, &record[i]);
		if (!rwpi_record_check(store, each, &old[i]) &&
		    overlaps(each, &old[i], &record[i]))
			ret = -EEXIST;
	}
	if (!ret)
		ret = rwpi_write_all(store->index, record,
				     count * sizeof(*record), at);
	for (unsigned int i = 0; i < count && !ret; i++) {
		each.offset = key.offset + ((uint64_t)i << PAGE_MIN_SHIFT);
		ret = replaced(store, each, &old[i], &record[i]);
	}
	return ret;
}

int rwpi_index_write(struct rwp_store *store, struct rwp_store_key key,
		     struct store_record *record, unsigned int count)
{
	int64_t number;

	pthread_mutex_lock(&store->map_lock);
	number = rwpi_chunk_find(store, key);
	pthread_mutex_unlock(&store->map_lock);
	if (number < 0 && record[0].kind == KIND_NONE)
		return 0;
	if (number < 0)
		number = rwpi_chunk_add(store, key);
	if (number < 0)
		return number;
	return write_run(store, number, key, record, count);
}

int rwpi_index_drop(struct rwp_store *store, struct rwp_store_key key,
		    unsigned int shift)
{
	struct store_record zero = { 0 };
	int ret = rwpi_index_write(store, key, &zero, 1);

	if (!ret && shift > PIECE_SHIFT)
		ret = rwpi_index_tails(store, key, shift, NULL);
	return ret;
}
