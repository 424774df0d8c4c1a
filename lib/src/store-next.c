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

int rwp_store_drop_below(struct rwp_store *store, uint64_t space, uint64_t end,
			 struct rwp_error *err)
{
	struct rwp_store_key key = { .space = space };
	uint64_t len;

	for (; !rwpi_store_next(store, space, key.offset, end, &key.offset,
				&len);
	     key.offset += 1U << PAGE_MIN_SHIFT) {
		int ret = rwp_store_drop(store, key, err);

		if (ret && ret != -ENOENT)
			return ret;
	}
	return 0;
}
