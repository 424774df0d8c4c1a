// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The chunks of the index: which are there is kept in memory, 36 bytes for each
 * 2 MiB of pages that are held. That is why records have no place in memory.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "store-index.h"

static uint32_t bucket_of(const struct store_chunks *chunks, uint64_t space,
			  uint64_t base)
{
	uint64_t key[2] = { space, base };

	return XXH3_64bits(key, sizeof(key)) & (chunks->buckets - 1);
}

int64_t rwpi_chunk_find(struct rwp_store *store, struct rwp_store_key key)
{
	const struct store_chunks *chunks = &store->chunks;
	uint64_t base = key.offset >> CHUNK_SHIFT;
	uint32_t bucket;

	if (!chunks->buckets)
		return -ENOENT;
	bucket = bucket_of(chunks, key.space, base);
	for (; chunks->hash[bucket];
	     bucket = (bucket + 1) & (chunks->buckets - 1)) {
		uint32_t number = chunks->hash[bucket] - 1;
		const struct store_chunk *chunk = &chunks->chunk[number];

		if (chunk->space == key.space && chunk->base == base)
			return number;
	}
	return -ENOENT;
}

static void hash_in(struct store_chunks *chunks, uint32_t number)
{
	const struct store_chunk *chunk = &chunks->chunk[number];
	uint32_t bucket = bucket_of(chunks, chunk->space, chunk->base);

	while (chunks->hash[bucket])
		bucket = (bucket + 1) & (chunks->buckets - 1);
	chunks->hash[bucket] = number + 1;
}

/* Room for the chunks of one more group, and a table half empty. */
static int make_room(struct store_chunks *chunks)
{
	uint32_t room = chunks->count + CHUNKS;
	uint32_t buckets = chunks->buckets ? chunks->buckets : 256;
	void *chunk, *spare, *hash;

	if (room <= chunks->room)
		return 0;
	while (buckets < room * 2)
		buckets *= 2;
	chunk = realloc(chunks->chunk, room * sizeof(*chunks->chunk));
	if (chunk)
		chunks->chunk = chunk;
	spare = realloc(chunks->spare, room * sizeof(*chunks->spare));
	if (spare)
		chunks->spare = spare;
	hash = calloc(buckets, sizeof(*chunks->hash));
	if (!chunk || !spare || !hash) {
		free(hash);
		return -ENOMEM;
	}
	free(chunks->hash);
	chunks->hash = hash;
	chunks->buckets = buckets;
	chunks->room = room;
	memset(chunks->chunk + chunks->count, 0,
	       (room - chunks->count) * sizeof(*chunks->chunk));
	for (uint32_t i = 0; i < chunks->count; i++)
		if (chunks->chunk[i].used)
			hash_in(chunks, i);
	return 0;
}

static uint64_t chunk_sum(const struct rwp_store *store, uint32_t number,
			  const struct store_chunk *chunk)
{
	uint64_t what[5] = { chunk->space, chunk->base, chunk->used, store->id,
			     number };

	return XXH3_64bits(what, sizeof(what));
}

int rwpi_chunk_check(const struct rwp_store *store, uint32_t number,
		     const struct store_chunk *chunk)
{
	return chunk->used == 1 &&
			       chunk->check == chunk_sum(store, number, chunk) ?
		       0 :
		       -EBADMSG;
}

static int write_entry(struct rwp_store *store, uint32_t number,
		       const struct store_chunk *chunk)
{
	return rwpi_write_all(store->index, chunk, sizeof(*chunk),
			      rwpi_directory_at(number / CHUNKS) +
				      number % CHUNKS * sizeof(*chunk));
}

/* The file first, the header that counts the groups after it. */
static int add_group(struct rwp_store *store)
{
	int ret;

	pthread_mutex_lock(&store->map_lock);
	ret = make_room(&store->chunks);
	pthread_mutex_unlock(&store->map_lock);
	if (ret)
		return ret;
	if (ftruncate(store->index, rwpi_directory_at(store->groups + 1)))
		return errno == EFBIG ? -ENOSPC : -errno;
	store->groups++;
	ret = rwpi_store_write_header(store, true, 1);
	if (ret) {
		store->groups--;
		return ret;
	}
	pthread_mutex_lock(&store->map_lock);
	for (uint32_t i = CHUNKS; i--;)
		store->chunks.spare[store->chunks.spares++] =
			store->chunks.count + i;
	store->chunks.count += CHUNKS;
	pthread_mutex_unlock(&store->map_lock);
	return 0;
}

int64_t rwpi_chunk_add(struct rwp_store *store, struct rwp_store_key key)
{
	struct store_chunks *chunks = &store->chunks;
	struct store_chunk chunk = {
		.space = key.space,
		.base = key.offset >> CHUNK_SHIFT,
		.used = 1,
	};
	uint32_t number;
	int ret = 0;

	/* Only who has index_lock changes @spares: it may be read so. */
	if (!chunks->spares)
		ret = add_group(store);
	if (ret)
		return ret;
	number = chunks->spare[chunks->spares - 1];
	chunk.check = chunk_sum(store, number, &chunk);
	ret = write_entry(store, number, &chunk);
	if (ret)
		return ret;
	pthread_mutex_lock(&store->map_lock);
	chunks->spares--;
	chunks->chunk[number] = chunk;
	hash_in(chunks, number);
	pthread_mutex_unlock(&store->map_lock);
	return number;
}

int rwpi_chunk_load(struct rwp_store *store, uint32_t number,
		    const struct store_chunk *chunk)
{
	struct rwp_store_key key = { chunk->space, chunk->base << CHUNK_SHIFT };
	int ret = make_room(&store->chunks);

	if (ret)
		return ret;
	if (rwpi_chunk_find(store, key) >= 0)
		return -EBADMSG;
	store->chunks.chunk[number] = *chunk;
	hash_in(&store->chunks, number);
	return 0;
}

int rwpi_chunk_spare(struct rwp_store *store, uint32_t number)
{
	struct store_chunk zero = { 0 };
	int ret = make_room(&store->chunks);

	if (!ret && !(store->flags & RWP_STORE_READ_ONLY))
		ret = write_entry(store, number, &zero);
	if (!ret)
		store->chunks.spare[store->chunks.spares++] = number;
	return ret;
}
