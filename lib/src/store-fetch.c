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
	/* The caller's memory in place of the buffer, or NULL. */
	char *in_place;
	unsigned int pieces;
	struct read_piece piece[PACK_MAX];
};

/* Records that were read ahead, for pages that lie behind each other. */
struct record_cache {
	struct rwp_store_key key; /* of the first */
	unsigned int count;
	int ret;
	struct store_record record[CHUNK_RECORDS];
};

struct fetching {
	struct rwp_store *store;
	struct store_ring *ring;
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
	char *buffer = pack->in_place;

	if (!buffer)
		buffer = rwpi_ring_buffer(fetching->ring, n);
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
	pack->in_place = NULL;
	fetching->idle[fetching->idles++] = n;
}

static void complete_one(struct fetching *fetching)
{
	unsigned int n;
	int error, ret = rwpi_ring_wait(fetching->ring, &n, &error);

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
	char *data = pack->in_place;

	if (!pack->pieces)
		return;
	if (!data)
		data = rwpi_ring_buffer(fetching->ring, n);
	fetching->idles--;
	fetching->broken = rwpi_ring_queue(fetching->ring, false, n, data,
					   pack->units * store->unit,
					   pack->first * store->unit);
	/* The disk is to be busy while what has come is decoded. */
	if (!fetching->broken && (pack->in_place || fetching->idles % 8 == 0))
		fetching->broken = rwpi_ring_submit(fetching->ring);
	while (!fetching->idles && !fetching->broken)
		complete_one(fetching);
}

/* Whether a piece that lies in the file behind those of a pack goes with them. */
static bool fits(const struct rwp_store *store, const struct read_pack *pack,
		 const struct store_record *record, const char *in_place)
{
	uint64_t bytes = pack->units * store->unit + record->stored;

	if (pack->pieces == PACK_MAX ||
	    record->position != pack->first + pack->units)
		return false;
	if (!in_place)
		return !pack->in_place && bytes <= PIECE_MAX;
	return pack->in_place &&
	       in_place == pack->in_place + pack->units * store->unit &&
	       bytes <= IN_PLACE_MAX;
}

static void add_piece(struct fetching *fetching, unsigned int page,
		      uint32_t offset, uint32_t len,
		      const struct store_record *record)
{
	struct rwp_store *store = fetching->store;
	char *data = (char *)fetching->page[page].data + offset;
	bool stays = record->kind == KIND_PLAIN && record->stored == len &&
		     rwpi_may_stay(data, len);
	uint64_t units = rwpi_record_units(store, record);
	struct read_pack *pack;

	if (!units) {
		int ret = rwpi_decode(record, NULL, data, len);

		if (ret)
			fail_page(fetching, page, ret);
		return;
	}
	pack = &fetching->pack[fetching->idle[fetching->idles - 1]];
	if (pack->pieces && !fits(store, pack, record, stays ? data : NULL)) {
		send_off(fetching);
		if (fetching->broken)
			return;
		pack = &fetching->pack[fetching->idle[fetching->idles - 1]];
	}
	if (!pack->pieces) {
		pack->first = record->position;
		pack->in_place = stays ? data : NULL;
	}
	pack->piece[pack->pieces++] = (struct read_piece){
		.page = page,
		.from = pack->units * store->unit,
		.offset = offset,
		.len = len,
		.record = *record,
	};
	pack->units += units;
}

/* Where the pages end that lie behind each other from page @n on. */
static uint64_t run_end(const struct fetching *fetching, unsigned int n)
{
	const struct rwp_store_page *page = &fetching->page[n];
	uint64_t limit = (page->key.offset | ((1ULL << CHUNK_SHIFT) - 1)) + 1;
	uint64_t end = page->key.offset + page->len;

	while (++n < fetching->count && end < limit &&
	       page[1].key.space == page->key.space &&
	       page[1].key.offset == end) {
		page++;
		end += page->len;
	}
	return end;
}

/* The record of page @n or of one of its pieces, unchecked. */
static int get_record(struct fetching *fetching, unsigned int n,
		      struct rwp_store_key key, struct store_record *record)
{
	struct record_cache *cache = &fetching->cache;
	uint64_t place = (key.offset - cache->key.offset) >> PAGE_MIN_SHIFT;

	if (key.space != cache->key.space || place >= cache->count) {
		uint64_t chunk_end =
			(key.offset | ((1ULL << CHUNK_SHIFT) - 1)) + 1;
		uint64_t end = run_end(fetching, n);

		if (end > chunk_end)
			end = chunk_end;
		place = 0;
		cache->key = key;
		cache->count = end > key.offset ?
				       (end - key.offset) >> PAGE_MIN_SHIFT :
				       0;
		if (!cache->count)
			return -ENOENT;
		cache->ret = rwpi_index_read_run(fetching->store, key,
						 cache->record, cache->count);
	}
	if (cache->ret)
		return cache->ret;
	*record = cache->record[place];
	return rwpi_record_check(fetching->store, key, record);
}

static int get_head(struct fetching *fetching, unsigned int n,
		    struct store_record *record)
{
	struct rwp_store_key key = fetching->page[n].key;
	int ret = get_record(fetching, n, key, record);

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
		ret = get_record(fetching, n, key, &record);
		if (ret || record.shift != head.shift)
			fail_page(fetching, n, -EBADMSG);
		else
			add_piece(fetching, n, offset, PIECE_MAX, &record);
	}
}

static void fetch_all(struct fetching *fetching, struct rwp_store_page *page,
		      unsigned int count)
{
	struct store_ring *ring = fetching->ring;

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

int rwpi_store_fetch_by(struct rwp_store *store, struct store_ring *ring,
			struct rwp_store_page *page, unsigned int count,
			struct rwp_error *err)
{
	struct fetching fetching = { .store = store, .ring = ring };
	int ret;

	pthread_mutex_lock(&ring->lock);
	ret = rwpi_ring_begin(ring, sizeof(*fetching.pack));
	fetching.pack = ring->pack;
	fetching.idle = ring->idle;
	if (ret) {
		for (unsigned int i = 0; i < count; i++)
			page[i].result = ret;
		rwpi_fail(err, ret, "%s: fetching %u pages", store->path,
			  count);
	} else {
		fetch_all(&fetching, page, count);
		for (unsigned int i = 0; i < count && !fetching.broken; i++)
			if (page[i].result == -EBADMSG)
				try_again(&fetching, &page[i]);
		ring->dead = fetching.broken;
		ret = report(store, page, count, err);
	}
	pthread_mutex_unlock(&ring->lock);
	return ret;
}

int rwp_store_fetch(struct rwp_store *store, struct rwp_store_page *page,
		    unsigned int count, struct rwp_error *err)
{
	return rwpi_store_fetch_by(store, &store->fetch, page, count, err);
}
