// SPDX-License-Identifier: LGPL-2.1-or-later
/* Reading the index that another process has left, however it ended. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store-index.h"

/* What the walks over the index share. */
struct loader {
	struct rwp_store *store;
	struct store_record *record; /* of one chunk */
	bool pieces; /* there are pages of several */
	int ret;
};

static bool writable(const struct rwp_store *store)
{
	return !(store->flags & RWP_STORE_READ_ONLY);
}

/*
 * A record whose data cannot be there any more keeps its page from being taken
 * for one that was never saved. It must not free units that become another's.
 */
static void mark_lost(struct loader *loader, uint32_t number,
		      struct rwp_store_key key, struct store_record *record)
{
	struct rwp_store *store = loader->store;

	record->kind = KIND_LOST;
	record->stored = 0;
	record->position = 0;
	rwpi_record_seal(store, key, record);
	if (writable(store))
		loader->ret = rwpi_write_all(store->index, record,
					     sizeof(*record),
					     rwpi_record_at(number, key));
}

static void load_record(struct loader *loader, uint32_t number,
			struct rwp_store_key key, struct store_record *record)
{
	struct rwp_store *store = loader->store;
	uint64_t units;

	/* A damaged one stays as it is, and makes every fetch fail. */
	if (rwpi_record_check(store, key, record))
		return;
	units = rwpi_record_units(store, record);
	if (units && !rwpi_space_claim(store, record->position, units))
		mark_lost(loader, number, key, record);
	rwpi_account(store, key, record, 1);
	loader->pieces |= record->shift > PIECE_SHIFT;
}

static void load_chunk(struct loader *loader, uint32_t number,
		       const struct store_chunk *chunk)
{
	struct rwp_store *store = loader->store;
	struct rwp_store_key key = { chunk->space, chunk->base << CHUNK_SHIFT };
	bool empty = true;

	loader->ret = rwpi_read_all(store->index, loader->record, CHUNK_BYTES,
				    rwpi_record_at(number, key));
	if (loader->ret)
		return;
	for (unsigned int i = 0; i < CHUNK_RECORDS; i++)
		empty &= rwpi_record_empty(&loader->record[i]);
	if (empty) {
		loader->ret = rwpi_chunk_spare(store, number);
		return;
	}
	loader->ret = rwpi_chunk_load(store, number, chunk);
	for (unsigned int i = 0; i < CHUNK_RECORDS && !loader->ret; i++) {
		load_record(loader, number, key, &loader->record[i]);
		key.offset += 1U << PAGE_MIN_SHIFT;
	}
}

static void load_group(struct loader *loader, uint32_t group)
{
	static const struct store_chunk zero;
	struct store_chunk directory[CHUNKS];
	uint32_t first = group * CHUNKS;

	loader->ret = rwpi_read_all(loader->store->index, directory,
				    sizeof(directory),
				    rwpi_directory_at(group));
	for (unsigned int i = 0; i < CHUNKS && !loader->ret; i++) {
		if (!memcmp(&directory[i], &zero, sizeof(zero)))
			loader->ret =
				rwpi_chunk_spare(loader->store, first + i);
		else
			loader->ret = rwpi_chunk_check(loader->store, first + i,
						       &directory[i]);
		if (!loader->ret && directory[i].used)
			load_chunk(loader, first + i, &directory[i]);
	}
	/* There is room for one group beyond those that are counted. */
	loader->store->chunks.count = first + CHUNKS;
}

/* Pieces whose head never came, or went first: their page is not held. */
static void drop_orphans(struct loader *loader, uint32_t number)
{
	struct rwp_store *store = loader->store;
	const struct store_chunk *chunk = &store->chunks.chunk[number];
	struct rwp_store_key key = { chunk->space, chunk->base << CHUNK_SHIFT };

	loader->ret = rwpi_read_all(store->index, loader->record, CHUNK_BYTES,
				    rwpi_record_at(number, key));
	for (unsigned int i = 0; i < CHUNK_RECORDS && !loader->ret;
	     i++, key.offset += 1U << PAGE_MIN_SHIFT) {
		const struct store_record *record = &loader->record[i];
		struct rwp_store_key head = key;
		struct store_record of_head, zero = { 0 };

		if (rwpi_record_check(store, key, record) ||
		    rwpi_record_is_head(key, record))
			continue;
		head.offset &= ~((1ULL << record->shift) - 1);
		if (rwpi_index_read(store, head, &of_head) == -ENOENT ||
		    of_head.shift != record->shift)
			loader->ret = rwpi_index_write(store, key, &zero, 1);
	}
}

int rwpi_index_load(struct rwp_store *store, struct rwp_error *err)
{
	struct loader loader = { .store = store };

	loader.record = malloc(CHUNK_BYTES);
	if (!loader.record)
		return rwpi_fail(err, -ENOMEM, "%s.index", store->path);
	for (uint32_t i = 0; i < store->groups && !loader.ret; i++)
		load_group(&loader, i);
	if (loader.pieces && writable(store))
		for (uint32_t i = 0; i < store->chunks.count && !loader.ret;
		     i++)
			if (store->chunks.chunk[i].used)
				drop_orphans(&loader, i);
	free(loader.record);
	if (loader.ret == -EBADMSG)
		return rwpi_error(err, -EBADMSG,
				  "%s.index: the directory is damaged",
				  store->path);
	if (loader.ret)
		return rwpi_fail(err, loader.ret, "%s.index", store->path);
	return 0;
}

void rwpi_index_free(struct rwp_store *store)
{
	free(store->chunks.chunk);
	free(store->chunks.hash);
	free(store->chunks.spare);
}
