// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Saving pages. They are cut into pieces, the pieces are packed into buffers,
 * and a buffer is one request wherever the file has that many free neighbours.
 * When it is written the records of its pieces go to the index.
 */
#include <stdlib.h>
#include <string.h>

#include "store-index.h"

/* Pieces of a buffer: as many as fit when each takes one unit. */
#define PACK_MAX 64

struct pack_piece {
	unsigned int page; /* in the caller's array */
	unsigned int from, len; /* in the buffer, whole units */
	struct rwp_store_key key;
	struct store_record record;
	bool placed; /* has units in the file, or needs none */
};

struct pack {
	unsigned int used, pieces, requests;
	int error;
	struct pack_piece piece[PACK_MAX];
};

/* How far a page is: it is held when its head is written, after all else. */
struct page_state {
	unsigned int left; /* pieces not yet on file */
	int error;
	struct store_record head;
};

struct saving {
	struct rwp_store *store;
	struct rwp_store_page *page;
	struct page_state *state;
	struct pack *pack; /* for each buffer of the ring */
	unsigned int *idle; /* buffers without work, @idles of them */
	unsigned int idles;
	bool full; /* no room for more */
	int broken; /* the ring has failed */
};

static void fail_page(struct saving *saving, unsigned int page, int error)
{
	if (!saving->state[page].error)
		saving->state[page].error = error;
	saving->full |= error == -ENOSPC;
}

static int64_t get_units(struct rwp_store *store, uint64_t units)
{
	int64_t first;

	pthread_mutex_lock(&store->map_lock);
	first = rwpi_space_get(store, units);
	pthread_mutex_unlock(&store->map_lock);
	return first;
}

static int64_t place(struct rwp_store *store, uint64_t units)
{
	int64_t first = get_units(store, units);
	int ret;

	if (first >= 0)
		return first;
	ret = rwpi_space_grow(store, units);
	/* The disk is full: now every hole in the file counts. */
	if (ret)
		store->space.failed = UINT64_MAX;
	first = get_units(store, units);
	return first < 0 && ret ? ret : first;
}

static void put_units(struct rwp_store *store, const struct pack_piece *piece)
{
	pthread_mutex_lock(&store->map_lock);
	rwpi_space_put(store, piece->record.position, piece->len / store->unit);
	pthread_mutex_unlock(&store->map_lock);
}

static int queue(struct saving *saving, unsigned int n, unsigned int from,
		 unsigned int len, int64_t first)
{
	struct rwp_store *store = saving->store;
	int ret = rwpi_ring_queue(&store->save, true, n, from, len,
				  first * store->unit);

	if (!ret)
		saving->pack[n].requests++;
	return ret;
}

/* All of the buffer with one request. */
static int write_whole(struct saving *saving, unsigned int n)
{
	struct pack *pack = &saving->pack[n];
	uint32_t unit = saving->store->unit;
	int64_t first = place(saving->store, pack->used / unit);

	if (first < 0)
		return first;
	for (unsigned int i = 0; i < pack->pieces; i++) {
		struct pack_piece *piece = &pack->piece[i];

		if (piece->len)
			piece->record.position = first + piece->from / unit;
		piece->placed = true;
	}
	return queue(saving, n, 0, pack->used, first);
}

/* Each piece where there is room for it. */
static void write_pieces(struct saving *saving, unsigned int n)
{
	struct pack *pack = &saving->pack[n];

	for (unsigned int i = 0; i < pack->pieces; i++) {
		struct pack_piece *piece = &pack->piece[i];
		int64_t first;
		int ret;

		if (!piece->len) {
			piece->placed = true;
			continue;
		}
		first = place(saving->store, piece->len / saving->store->unit);
		if (first < 0) {
			fail_page(saving, piece->page, first);
			continue;
		}
		piece->record.position = first;
		piece->placed = true;
		ret = queue(saving, n, piece->from, piece->len, first);
		if (ret)
			fail_page(saving, piece->page, ret);
	}
}

static bool neighbours(const struct pack_piece *a, const struct pack_piece *b)
{
	return b->key.space == a->key.space &&
	       b->key.offset == a->key.offset + (1U << PAGE_MIN_SHIFT) &&
	       b->key.offset & ((1ULL << CHUNK_SHIFT) - 1);
}

/* Write the records of @count pieces that are neighbours in the index. */
static void write_records(struct saving *saving, struct pack_piece *piece,
			  unsigned int count)
{
	struct store_record record[PACK_MAX];
	int ret;

	for (unsigned int i = 0; i < count; i++)
		record[i] = piece[i].record;
	ret = rwpi_index_write(saving->store, piece[0].key, record, count);
	for (unsigned int i = 0; i < count && ret; i++) {
		fail_page(saving, piece[i].page, ret);
		if (piece[i].len)
			put_units(saving->store, &piece[i]);
	}
}

static bool is_large(const struct rwp_store_page *page)
{
	return page->len > PIECE_MAX;
}

/*
 * Whether the record of a piece is to be written now: not where its page has
 * failed, and that of a head waits for the last of the other pieces.
 */
static bool piece_ready(struct saving *saving, const struct pack *pack,
			const struct pack_piece *piece)
{
	struct page_state *state = &saving->state[piece->page];
	const struct rwp_store_page *page = &saving->page[piece->page];

	if (pack->error)
		fail_page(saving, piece->page, pack->error);
	if (!piece->placed || state->error) {
		if (piece->placed && piece->len)
			put_units(saving->store, piece);
		return false;
	}
	if (!is_large(page) || piece->key.offset != page->key.offset)
		return true;
	state->head = piece->record;
	return false;
}

/* All pieces of a large page are on file. */
static void finish_large(struct saving *saving, unsigned int n)
{
	struct page_state *state = &saving->state[n];
	struct pack_piece head = {
		.page = n,
		.key = saving->page[n].key,
		.record = state->head,
	};

	if (state->error)
		return;
	head.len = rwpi_record_units(saving->store, &head.record) *
		   saving->store->unit;
	write_records(saving, &head, 1);
	state->head.kind = KIND_NONE;
}

static void write_runs(struct saving *saving, struct pack_piece *piece,
		       unsigned int count)
{
	for (unsigned int i = 0, end; i < count; i = end) {
		end = i + 1;
		while (end < count && neighbours(&piece[end - 1], &piece[end]))
			end++;
		write_records(saving, &piece[i], end - i);
	}
}

/* The data of a buffer is in the file: bring its records into the index. */
static void commit(struct saving *saving, unsigned int n)
{
	struct pack *pack = &saving->pack[n];
	unsigned int finished[PACK_MAX], large = 0, ready = 0;

	pthread_mutex_lock(&saving->store->index_lock);
	for (unsigned int i = 0; i < pack->pieces; i++) {
		struct pack_piece *piece = &pack->piece[i];
		unsigned int page = piece->page;

		if (!--saving->state[page].left &&
		    is_large(&saving->page[page]))
			finished[large++] = page;
		if (piece_ready(saving, pack, piece))
			pack->piece[ready++] = *piece;
	}
	write_runs(saving, pack->piece, ready);
	for (unsigned int i = 0; i < large; i++)
		finish_large(saving, finished[i]);
	pthread_mutex_unlock(&saving->store->index_lock);
	pack->pieces = 0;
	pack->used = 0;
	pack->error = 0;
	saving->idle[saving->idles++] = n;
}

static void complete_one(struct saving *saving)
{
	unsigned int n;
	int error, ret = rwpi_ring_wait(&saving->store->save, &n, &error);

	if (ret) {
		saving->broken = ret;
		return;
	}
	/* A short write: what is missing found no room. */
	if (error == -ENODATA || error == -EFBIG || error == -EDQUOT)
		error = -ENOSPC;
	if (error && !saving->pack[n].error)
		saving->pack[n].error = error;
	if (!--saving->pack[n].requests)
		commit(saving, n);
}

/* Find room for what is in a buffer, and queue the writing of it. */
static int write_pack(struct saving *saving, unsigned int n)
{
	struct pack *pack = &saving->pack[n];
	int ret = -ENOSPC;

	if (pack->used)
		ret = write_whole(saving, n);
	if (ret == -ENOSPC)
		write_pieces(saving, n);
	else if (ret)
		pack->error = ret;
	return pack->requests ? rwpi_ring_submit(&saving->store->save) : 0;
}

/* Send off a buffer; the last of @idle is the one that is being filled. */
static void send_off(struct saving *saving)
{
	unsigned int n = saving->idle[saving->idles - 1];

	if (!saving->pack[n].pieces)
		return;
	saving->idles--;
	saving->broken = write_pack(saving, n);
	if (!saving->pack[n].requests)
		commit(saving, n);
	while (!saving->idles && !saving->broken)
		complete_one(saving);
}

static void add_piece(struct saving *saving, unsigned int page,
		      unsigned int from, unsigned int len)
{
	struct rwp_store *store = saving->store;
	const struct rwp_store_page *of = &saving->page[page];
	struct pack_piece *piece;
	struct pack *pack;
	unsigned int n = saving->idle[saving->idles - 1];

	if (saving->pack[n].pieces == PACK_MAX ||
	    saving->pack[n].used + len > PIECE_MAX) {
		send_off(saving);
		if (saving->broken)
			return;
		n = saving->idle[saving->idles - 1];
	}
	pack = &saving->pack[n];
	piece = &pack->piece[pack->pieces++];
	*piece = (struct pack_piece){ .page = page, .from = pack->used };
	piece->key.space = of->key.space;
	piece->key.offset = of->key.offset + from;
	rwpi_encode(store, (const char *)of->data + from, len,
		    rwpi_ring_buffer(&store->save, n) + pack->used,
		    &piece->record);
	piece->record.shift = __builtin_ctz(of->len);
	piece->len = rwpi_record_units(store, &piece->record) * store->unit;
	pack->used += piece->len;
}

static int check_page(const struct rwp_store_page *page)
{
	if (page->len < 1U << PAGE_MIN_SHIFT ||
	    page->len > 1U << PAGE_MAX_SHIFT || page->len & (page->len - 1) ||
	    page->key.offset & (page->len - 1))
		return -EINVAL;
	return 0;
}

static void add_page(struct saving *saving, unsigned int n)
{
	const struct rwp_store_page *page = &saving->page[n];
	struct page_state *state = &saving->state[n];
	unsigned int step = page->len < PIECE_MAX ? page->len : PIECE_MAX;

	state->error = check_page(page);
	if (!state->error && saving->full)
		state->error = -ENOSPC;
	if (state->error)
		return;
	/* A large page is not replaced in place: its pieces would be mixed. */
	if (is_large(page))
		rwp_store_drop(saving->store, page->key, NULL);
	state->left = page->len / step;
	for (unsigned int from = 0;
	     from < page->len && !state->error && !saving->broken; from += step)
		add_piece(saving, n, from, step);
}

/* Pieces of a large page that failed halfway are of no use. */
static void clean_up(struct saving *saving, unsigned int n)
{
	const struct rwp_store_page *page = &saving->page[n];
	struct rwp_store *store = saving->store;
	struct page_state *state = &saving->state[n];

	if (!is_large(page) || state->error == -EINVAL ||
	    state->error == -EEXIST)
		return;
	if (rwpi_record_units(store, &state->head)) {
		struct pack_piece head = { .record = state->head };

		head.len = rwpi_record_units(store, &state->head) * store->unit;
		put_units(store, &head);
	}
	pthread_mutex_lock(&store->index_lock);
	rwpi_index_drop(store, page->key, __builtin_ctz(page->len));
	pthread_mutex_unlock(&store->index_lock);
}

static void save_all(struct saving *saving, unsigned int count)
{
	struct store_ring *ring = &saving->store->save;

	saving->idles = ring->depth;
	for (unsigned int i = 0; i < count && !saving->broken; i++)
		add_page(saving, i);
	if (!saving->broken)
		send_off(saving);
	while (ring->inflight && !saving->broken)
		complete_one(saving);
}

static int set_up(struct saving *saving, unsigned int count)
{
	struct store_ring *ring = &saving->store->save;
	int ret = rwpi_ring_begin(ring, sizeof(*saving->pack));

	if (ret)
		return ret;
	saving->pack = ring->pack;
	saving->idle = ring->idle;
	saving->state = calloc(count, sizeof(*saving->state));
	return saving->state ? 0 : -ENOMEM;
}

static int report(struct saving *saving, unsigned int count,
		  struct rwp_error *err)
{
	struct rwp_store *store = saving->store;
	unsigned int bad = 0, saved = 0;
	int ret = 0;

	for (unsigned int i = 0; i < count; i++) {
		struct rwp_store_page *page = &saving->page[i];

		if (saving->broken)
			fail_page(saving, i, saving->broken);
		page->result = saving->state[i].error;
		saved += !page->result;
		if (page->result)
			clean_up(saving, i);
		if (page->result && !ret) {
			ret = page->result;
			bad = i;
		}
	}
	pthread_mutex_lock(&store->map_lock);
	store->stats.saved += saved;
	pthread_mutex_unlock(&store->map_lock);
	if (!ret)
		return 0;
	return rwpi_fail(err, ret, "%s: page %#llx of space %llu not saved",
			 store->path,
			 (unsigned long long)saving->page[bad].key.offset,
			 (unsigned long long)saving->page[bad].key.space);
}

int rwp_store_save(struct rwp_store *store, struct rwp_store_page *page,
		   unsigned int count, struct rwp_error *err)
{
	struct saving saving = { .store = store, .page = page };
	int ret;

	if (store->flags & RWP_STORE_READ_ONLY)
		return rwpi_error(err, -EROFS, "%s: opened for reading only",
				  store->path);
	if (!count)
		return 0;
	pthread_mutex_lock(&store->save.lock);
	ret = set_up(&saving, count);
	if (ret) {
		rwpi_fail(err, ret, "%s: saving %u pages", store->path, count);
	} else {
		save_all(&saving, count);
		/* Requests whose end was not seen may still be writing. */
		store->save.dead = saving.broken;
		ret = report(&saving, count, err);
	}
	pthread_mutex_unlock(&store->save.lock);
	free(saving.state);
	return ret;
}
