// SPDX-License-Identifier: LGPL-2.1-or-later
/* Walking over the pages a store holds. */
#include "store-index.h"
#include "evict.h"

/* The first head in a chunk from @key on. What is damaged counts as one. */
static int next_in_chunk(struct rwp_store *store, struct rwp_store_key key,
			 uint64_t end, uint64_t *offset, uint64_t *len)
{
	struct store_record record[RUN_MAX];

	while (key.offset < end) {
		uint64_t page = key.offset >> PAGE_MIN_SHIFT;
		uint64_t left = CHUNK_RECORDS - (page & (CHUNK_RECORDS - 1));
		unsigned int count = left < RUN_MAX ? left : RUN_MAX;
		int ret = rwpi_index_read_run(store, key, record, count);

		if (ret)
			return ret;
		for (unsigned int i = 0; i < count && key.offset < end;
		     i++, key.offset += 1U << PAGE_MIN_SHIFT) {
			ret = rwpi_record_check(store, key, &record[i]);
			if (ret == -ENOENT ||
			    (!ret && !rwpi_record_is_head(key, &record[i])))
				continue;
			*offset = key.offset;
			*len = ret ? 0 : 1ULL << record[i].shift;
			return 0;
		}
	}
	return -ENOENT;
}

int rwpi_store_next(struct rwp_store *store, uint64_t space, uint64_t from,
		    uint64_t end, uint64_t *offset, uint64_t *len)
{
	while (from < end) {
		uint64_t next = (from | ((1ULL << CHUNK_SHIFT) - 1)) + 1;
		struct rwp_store_key key = { space, from };
		int ret = next_in_chunk(store, key, next < end ? next : end,
					offset, len);

		if (ret != -ENOENT)
			return ret;
		from = next;
	}
	return -ENOENT;
}

void rwpi_store_drop_run(struct rwp_store *store, struct rwp_store_key key,
			 uint64_t len, unsigned int count)
{
	struct store_record none[RUN_MAX] = { 0 };
	unsigned int step = len >> PAGE_MIN_SHIFT, some;

	for (; count; count -= some, key.offset += some * len) {
		uint64_t end = (key.offset | ((1ULL << CHUNK_SHIFT) - 1)) + 1;
		int ret = -EINVAL;

		some = count < RUN_MAX ? count : RUN_MAX;
		if (some > (end - key.offset) / len)
			some = (end - key.offset) / len;
		/* Those in pieces have more than one record. */
		if (len <= PIECE_MAX && some > 1) {
			pthread_mutex_lock(&store->index_lock);
			ret = rwpi_index_write(store, key, step, none, some);
			pthread_mutex_unlock(&store->index_lock);
		}
		if (!some)
			some = 1;
		for (unsigned int i = 0; ret && i < some; i++)
			rwp_store_drop(
				store,
				(struct rwp_store_key){ key.space,
							key.offset + i * len },
				NULL);
	}
}

int rwp_store_drop_below(struct rwp_store *store, uint64_t space, uint64_t end,
			 struct rwp_error *err)
{
	struct rwp_store_key key = { .space = space };
	uint64_t len;

	for (;
	     !rwpi_store_next(store, space, key.offset, end, &key.offset, &len);
	     key.offset += 1U << PAGE_MIN_SHIFT) {
		int ret = rwp_store_drop(store, key, err);

		if (ret && ret != -ENOENT)
			return ret;
	}
	return 0;
}
