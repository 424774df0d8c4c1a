// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Fetching pages. Pieces that are neighbours in the file are read with one
 * request, and each is decoded and verified when its buffer is there.
 */
#include <string.h>
#include <xxhash.h>

#include "store-index.h"

#define PACK_MAX 64
/* Attempts at a page that somebody else saves or drops at the same time. */
#define TRIES 8

struct read_piece {
	unsigned int page; /* in the caller's array */
	unsigned int from; /* in the buffer */
	uint32_t offset, len; /* in the page */
	struct store_record record;
};

struct read_pack {
	uint64_t first, units; /* in the file */
	unsigned int pieces;
	struct read_piece piece[PACK_MAX];
};

/* Records that were read ahead, of pages that are neighbours in the array. */
struct record_cache {
	unsigned int first, count; /* in the caller's array */
	int ret;
	struct store_record record[RUN_MAX];
};

struct fetching {
	struct rwp_store *store;
	struct rwp_store_page *page;
	unsigned int count;
	struct read_pack *pack; /* for each buffer of the ring */
	unsigned int *idle;
	unsigned int idles;
	int broken;
	struct record_cache cache;
};

static void fail_page(struct fetching *fetching, unsigned int page, int error)
{
	if (!fetching->page[page].result)
		fetching->page[page].result = error;
}

static void decode_all(struct fetching *fetching, unsigned int n, int error)
{
	struct read_pack *pack = &fetching->pack[n];
	char *buffer = rwpi_ring_buffer(&fetching->store->fetch, n);

	for (unsigned int i = 0; i < pack->pieces; i++) {
		struct read_piece *piece = &pack->piece[i];
		char *data = (char *)fetching->page[piece->page].data +
			     piece->offset;
		int ret = error;

		if (!ret)
			ret = rwpi_decode(&piece->record, buffer + piece->from,
					  data, piece->len);
		if (ret)
			fail_page(fetching, piece->page, ret);
	}
	pack->pieces = 0;
	pack->units = 0;
	fetching->idle[fetching->idles++] = n;
}

static void complete_one(struct fetching *fetching)
{
	unsigned int n;
	int error, ret = rwpi_ring_wait(&fetching->store->fetch, &n, &error);

	if (ret) {
		fetching->broken = ret;
		return;
	}
	/* The file ends before the piece does. */
	if (error == -ENODATA)
		error = -EBADMSG;
	decode_all(fetching, n, error);
}

static void send_off(struct fetching *fetching)
{
	struct rwp_store *store = fetching->store;
	unsigned int n = fetching->idle[fetching->idles - 1];
	struct read_pack *pack = &fetching->pack[n];

	if (!pack->pieces)
		return;
	fetching->idles--;
	fetching->broken = rwpi_ring_queue(&store->fetch, false, n,
					   rwpi_ring_buffer(&store->fetch, n),
					   pack->units * store->unit,
					   pack->first * store->unit);
	while (!fetching->idles && !fetching->broken)
		complete_one(fetching);
}

static void add_piece(struct fetching *fetching, unsigned int page,
		      uint32_t offset, uint32_t len,
		      const struct store_record *record)
{
	struct rwp_store *store = fetching->store;
	uint64_t units = rwpi_record_units(store, record);
	struct read_pack *pack;

	if (!units) {
		int ret = rwpi_decode(
			record, NULL,
			(char *)fetching->page[page].data + offset, len);

		if (ret)
			fail_page(fetching, page, ret);
		return;
	}
	pack = &fetching->pack[fetching->idle[fetching->idles - 1]];
	if (pack->pieces && (pack->pieces == PACK_MAX ||
			     record->position != pack->first + pack->units ||
			     (pack->units + units) * store->unit > PIECE_MAX)) {
		send_off(fetching);
		if (fetching->broken)
			return;
		pack = &fetching->pack[fetching->idle[fetching->idles - 1]];
	}
	if (!pack->pieces)
		pack->first = record->position;
	pack->piece[pack->pieces++] = (struct read_piece){
		.page = page,
		.from = pack->units * store->unit,
		.offset = offset,
		.len = len,
		.record = *record,
	};
	pack->units += units;
}

/* Pages from @n on whose records lie side by side. */
static unsigned int run_length(const struct fetching *fetching, unsigned int n)
{
	const struct rwp_store_page *page = fetching->page;
	unsigned int end = n + 1;

	while (end < fetching->count && end - n < RUN_MAX &&
	       page[end].key.space == page[n].key.space &&
	       page[end].key.offset ==
		       page[end - 1].key.offset + (1U << PAGE_MIN_SHIFT) &&
	       page[end].key.offset & ((1ULL << CHUNK_SHIFT) - 1))
		end++;
	return end - n;
}

static int get_head(struct fetching *fetching, unsigned int n,
		    struct store_record *record)
{
	struct record_cache *cache = &fetching->cache;
	struct rwp_store_key key = fetching->page[n].key;
	int ret;

	if (n < cache->first || n >= cache->first + cache->count) {
		cache->first = n;
		cache->count = run_length(fetching, n);
		cache->ret = rwpi_index_read_run(fetching->store, key,
						 cache->record, cache->count);
	}
	if (cache->ret)
		return cache->ret;
	*record = cache->record[n - cache->first];
	ret = rwpi_record_check(fetching->store, key, record);
	if (!ret && (!rwpi_record_is_head(key, record) ||
		     1U << record->shift != fetching->page[n].len))
		ret = -ENOENT;
	return ret;
}

static void add_page(struct fetching *fetching, unsigned int n)
{
	struct rwp_store_page *page = &fetching->page[n];
	struct rwp_store_key key = page->key;
	struct store_record head, record;

	page->result = get_head(fetching, n, &head);
	if (page->result)
		return;
	add_piece(fetching, n, 0, rwpi_piece_bytes(head.shift), &head);
	for (uint32_t offset = PIECE_MAX;
	     offset < page->len && !page->result && !fetching->broken;
	     offset += PIECE_MAX) {
		int ret;

		key.offset = page->key.offset + offset;
		ret = rwpi_index_read(fetching->store, key, &record);
		if (ret || record.shift != head.shift)
			fail_page(fetching, n, -EBADMSG);
		else
			add_piece(fetching, n, offset, PIECE_MAX, &record);
	}
}

static void fetch_all(struct fetching *fetching, struct rwp_store_page *page,
		      unsigned int count)
{
	struct store_ring *ring = &fetching->store->fetch;

	fetching->page = page;
	fetching->count = count;
	fetching->cache.count = 0;
	fetching->idles = ring->depth;
	for (unsigned int i = 0; i < count && !fetching->broken; i++)
		add_page(fetching, i);
	if (!fetching->broken)
		send_off(fetching);
	while (ring->inflight && !fetching->broken)
		complete_one(fetching);
	for (unsigned int i = 0; i < count && fetching->broken; i++)
		fail_page(fetching, i, fetching->broken);
}

/* A number that is another one when any record of the page is. */
static uint64_t digest(struct rwp_store *store,
		       const struct rwp_store_page *page)
{
	struct rwp_store_key key = page->key;
	uint64_t sum = 0;

	for (; key.offset < page->key.offset + page->len;
	     key.offset += PIECE_MAX) {
		struct store_record record;

		if (rwpi_index_read_run(store, key, &record, 1))
			memset(&record, 0, sizeof(record));
		sum = XXH3_64bits_withSeed(&record, sizeof(record), sum);
	}
	return sum;
}

/*
 * The records are read without a lock, so as not to wait for an eviction. Where
 * another thread saves or drops the very page its units may be written anew
 * under our hands: the checksum shows it. It is real damage only if the records
 * were the same all the time.
 */
static void try_again(struct fetching *fetching, struct rwp_store_page *page)
{
	struct rwp_store *store = fetching->store;

	for (int tries = 0; tries < TRIES && page->result == -EBADMSG;
	     tries++) {
		uint64_t before = digest(store, page);

		fetch_all(fetching, page, 1);
		if (page->result == -EBADMSG && digest(store, page) == before)
			break;
	}
}

static int report(struct rwp_store *store, struct rwp_store_page *page,
		  unsigned int count, struct rwp_error *err)
{
	const struct rwp_store_page *bad = NULL;
	unsigned int fetched = 0, damaged = 0;

	for (unsigned int i = 0; i < count; i++) {
		fetched += !page[i].result;
		damaged += page[i].result == -EBADMSG;
		if (page[i].result && !bad)
			bad = &page[i];
	}
	pthread_mutex_lock(&store->map_lock);
	store->stats.fetched += fetched;
	store->stats.bad_checksums += damaged;
	pthread_mutex_unlock(&store->map_lock);
	if (!bad)
		return 0;
	return rwpi_error(err, bad->result, "%s: page %#llx of space %llu %s",
			  store->path, (unsigned long long)bad->key.offset,
			  (unsigned long long)bad->key.space,
			  bad->result == -ENOENT  ? "is not held" :
			  bad->result == -EBADMSG ? "is damaged" :
						    "cannot be read");
}

int rwp_store_fetch(struct rwp_store *store, struct rwp_store_page *page,
		    unsigned int count, struct rwp_error *err)
{
	struct fetching fetching = { .store = store };
	int ret;

	pthread_mutex_lock(&store->fetch.lock);
	ret = rwpi_ring_begin(&store->fetch, sizeof(*fetching.pack));
	fetching.pack = store->fetch.pack;
	fetching.idle = store->fetch.idle;
	if (ret) {
		rwpi_fail(err, ret, "%s: fetching %u pages", store->path,
			  count);
	} else {
		fetch_all(&fetching, page, count);
		for (unsigned int i = 0; i < count && !fetching.broken; i++)
			if (page[i].result == -EBADMSG)
				try_again(&fetching, &page[i]);
		store->fetch.dead = fetching.broken;
		ret = report(store, page, count, err);
	}
	pthread_mutex_unlock(&store->fetch.lock);
	return ret;
}
