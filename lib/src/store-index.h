/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the store's index share. */
#ifndef RWP_STORE_INDEX_H
#define RWP_STORE_INDEX_H

#include "store.h"

/* Records that are read or written at once. */
#define RUN_MAX 128

static inline uint64_t rwpi_directory_at(uint32_t group)
{
	return STORE_HEADER + (uint64_t)group * GROUP_BYTES;
}

/* Where the record of @key is, in chunk @number. */
static inline uint64_t rwpi_record_at(uint32_t number, struct rwp_store_key key)
{
	uint64_t page = key.offset >> PAGE_MIN_SHIFT & (CHUNK_RECORDS - 1);

	return rwpi_directory_at(number / CHUNKS) + 4096 +
	       number % CHUNKS * CHUNK_BYTES +
	       page * sizeof(struct store_record);
}

/* The record of a page, as against one of its further pieces. */
static inline bool rwpi_record_is_head(struct rwp_store_key key,
				       const struct store_record *record)
{
	return !(key.offset & ((1ULL << record->shift) - 1));
}

bool rwpi_record_empty(const struct store_record *record);
void rwpi_record_seal(const struct rwp_store *store, struct rwp_store_key key,
		      struct store_record *record);
/* Count a record in or out; with map_lock held. */
void rwpi_account(struct rwp_store *store, struct rwp_store_key key,
		  const struct store_record *record, int sign);

/* store-chunk.c: the number of the chunk for @key, or -ENOENT; map_lock held. */
int64_t rwpi_chunk_find(struct rwp_store *store, struct rwp_store_key key);
/* Make one; index_lock held. */
int64_t rwpi_chunk_add(struct rwp_store *store, struct rwp_store_key key);
/* Take in an entry of the directory that was read from the file. */
int rwpi_chunk_load(struct rwp_store *store, uint32_t number,
		    const struct store_chunk *chunk);
/* Give back the place of a chunk without records. */
int rwpi_chunk_spare(struct rwp_store *store, uint32_t number);
int rwpi_chunk_check(const struct rwp_store *store, uint32_t number,
		     const struct store_chunk *chunk);

#endif
