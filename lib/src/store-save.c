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
	/* The caller's memory in place of the buffer: @used bytes, or NULL. */
	char *in_place;
	struct pack_piece piece[PACK_MAX];
};

/*
 * How far a page is: it is held when its head is written, after all else. The
 * records of a large one are kept until then, and go to the index together.
 */
struct page_state {
	unsigned int left; /* pieces not yet on file */
	bool held; /* its head is in the index */
	int error;
	struct store_record *record; /* for each piece; KIND_NONE: not here */
};

struct saving {
	struct rwp_store *store;
	struct rwp_store_page *page;
	struct page_state *state;
	struct pack *pack; /* for each buffer of the ring */
	unsigned int *idle; /* buffers without work, @idles of them */
	unsigned int idles;
	struct rwpi_save_hooks hooks;
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
	char *data = saving->pack[n].in_place;
	int ret;

	if (!data)
		data = rwpi_ring_buffer(&store->save, n);
	ret = rwpi_ring_queue(&store->save, true, n, data + from, len,
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

/* Pages of the same length, one behind the other, in one chunk of the index. */
static bool neighbours(const struct pack_piece *a, const struct pack_piece *b)
{
	return b->key.space == a->key.space &&
	       b->record.shift == a->record.shift &&
	       b->key.offset == a->key.offset + (1U << a->record.shift) &&
	       b->key.offset & ((1ULL << CHUNK_SHIFT) - 1);
}

/* Write the records of @count pieces that are neighbours in the index. */
static void write_records(struct saving *saving, struct pack_piece *piece,
			  unsigned int count)
{
	unsigned int step = 1U << (piece[0].record.shift - PAGE_MIN_SHIFT);
	struct store_record record[PACK_MAX];
	int ret;

	for (unsigned int i = 0; i < count; i++)
		record[i] = piece[i].record;
	ret = rwpi_index_write(saving->store, piece[0].key, step, record,
			       count);
	/* One of them may be inside a larger page: not all need to fail. */
	if (ret == -EEXIST && count > 1) {
		for (unsigned int i = 0; i < count; i++)
			write_records(saving, &piece[i], 1);
		return;
	}
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
 * failed, and those of a large page wait for the last of its pieces.
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
	if (!is_large(page))
		return true;
	state->record[(piece->key.offset - page->key.offset) / PIECE_MAX] =
		piece->record;
	return false;
}

/* All pieces of a large page are on file. */
static void finish_large(struct saving *saving, unsigned int n)
{
	struct rwp_store *store = saving->store;
	struct page_state *state = &saving->state[n];
	struct rwp_store_key key = saving->page[n].key;
	int ret;

	if (state->error)
		return;
	ret = rwpi_index_tails(store, key, __builtin_ctz(saving->page[n].len),
			       state->record + 1);
	if (!ret)
		ret = rwpi_index_write(store, key, 1, &state->record[0], 1);
	if (ret)
		fail_page(saving, n, ret);
	else
		state->record[0].kind = KIND_NONE;
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

/* All pieces of these pages have been dealt with. */
static void tell(struct saving *saving, const unsigned int *finished,
		 unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct page_state *state = &saving->state[finished[i]];

		state->held = !state->error;
		if (state->held && saving->hooks.held)
			saving->hooks.held(finished[i], saving->hooks.arg);
	}
}

/* The data of a buffer is in the file: bring its records into the index. */
static void commit(struct saving *saving, unsigned int n)
{
	struct pack *pack = &saving->pack[n];
	unsigned int finished[PACK_MAX], done = 0, ready = 0;

	pthread_mutex_lock(&saving->store->index_lock);
	for (unsigned int i = 0; i < pack->pieces; i++) {
		struct pack_piece *piece = &pack->piece[i];
		unsigned int page = piece->page;

		if (!--saving->state[page].left)
			finished[done++] = page;
		if (piece_ready(saving, pack, piece))
			pack->piece[ready++] = *piece;
	}
	write_runs(saving, pack->piece, ready);
	for (unsigned int i = 0; i < done; i++)
		if (is_large(&saving->page[finished[i]]))
			finish_large(saving, finished[i]);
	pthread_mutex_unlock(&saving->store->index_lock);
	tell(saving, finished, done);
	pack->pieces = 0;
	pack->used = 0;
	pack->error = 0;
	pack->in_place = NULL;
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

/*
 * The buffer that takes @len bytes more, a new one if need be; NULL: broken.
 * @in_place: where they are, if they are to be written from there.
 */
static struct pack *pack_for(struct saving *saving, unsigned int len,
			     char *in_place)
{
	struct pack *pack = &saving->pack[saving->idle[saving->idles - 1]];
	bool fits = pack->pieces < PACK_MAX;

	if (in_place)
		fits &= pack->in_place &&
			pack->in_place + pack->used == in_place &&
			pack->used + len <= IN_PLACE_MAX;
	else if (len)
		fits &= !pack->in_place && pack->used + len <= PIECE_MAX;
	if (!pack->pieces || !fits) {
		send_off(saving);
		if (saving->broken)
			return NULL;
		pack = &saving->pack[saving->idle[saving->idles - 1]];
		pack->in_place = in_place;
	}
	return pack;
}

static char *buffer_of(const struct saving *saving, const struct pack *pack)
{
	return rwpi_ring_buffer(&saving->store->save, pack - saving->pack);
}

static void add_piece(struct saving *saving, unsigned int page,
		      unsigned int from, unsigned int len)
{
	struct rwp_store *store = saving->store;
	const struct rwp_store_page *of = &saving->page[page];
	char *data = (char *)of->data + from, *out;
	bool stays = rwpi_may_stay(data, len);
	struct store_record record;
	struct pack *pack = &saving->pack[saving->idle[saving->idles - 1]];
	struct pack_piece *piece;

	/* With room for the whole piece; a buffer written in place is free. */
	if (!pack->in_place)
		pack = pack_for(saving, len, NULL);
	if (!pack)
		return;
	out = buffer_of(saving, pack) + (pack->in_place ? 0 : pack->used);
	rwpi_encode(store, data, len, stays, out, &record);
	stays &= record.kind == KIND_PLAIN;
	len = rwpi_record_units(store, &record) * store->unit;
	pack = pack_for(saving, len, stays ? data : NULL);
	if (!pack)
		return;
	if (len && !stays && out != buffer_of(saving, pack) + pack->used)
		memcpy(buffer_of(saving, pack) + pack->used, out, len);
	piece = &pack->piece[pack->pieces++];
	*piece = (struct pack_piece){
		.page = page,
		.from = pack->used,
		.len = len,
		.key = { of->key.space, of->key.offset + from },
		.record = record,
	};
	piece->record.shift = __builtin_ctz(of->len);
	pack->used += len;
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
	if (is_large(page)) {
		state->record = calloc(state->left, sizeof(*state->record));
		if (!state->record) {
			state->error = -ENOMEM;
			return;
		}
	}
	for (unsigned int from = 0;
	     from < page->len && !state->error && !saving->broken;
	     from += step) {
		int ret = saving->hooks.ready ?
				  saving->hooks.ready((char *)page->data + from,
						      step, saving->hooks.arg) :
				  0;

		if (ret)
			fail_page(saving, n, ret);
		else
			add_piece(saving, n, from, step);
	}
}

/* Pieces of a large page that failed halfway are of no use. */
static void clean_up(struct saving *saving, unsigned int n)
{
	const struct rwp_store_page *page = &saving->page[n];
	struct rwp_store *store = saving->store;
	struct page_state *state = &saving->state[n];

	if (!state->record)
		return;
	for (unsigned int i = 0; i < page->len / PIECE_MAX; i++) {
		struct pack_piece piece = { .record = state->record[i] };

		piece.len =
			rwpi_record_units(store, &piece.record) * store->unit;
		if (piece.len)
			put_units(store, &piece);
	}
	if (state->error == -EEXIST)
		return;
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

		if (saving->broken && !saving->state[i].held)
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
	return rwpi_store_save_with(store, page, count, NULL, err);
}

int rwpi_store_save_with(struct rwp_store *store, struct rwp_store_page *page,
			 unsigned int count,
			 const struct rwpi_save_hooks *hooks,
			 struct rwp_error *err)
{
	struct saving saving = { .store = store, .page = page };
	int ret;

	if (hooks)
		saving.hooks = *hooks;

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
	for (unsigned int i = 0; i < count && saving.state; i++)
		free(saving.state[i].record);
	free(saving.state);
	return ret;
}
