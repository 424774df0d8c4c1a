/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the store share. */
#ifndef RWP_STORE_H
#define RWP_STORE_H

#include <liburing.h>
#include <pthread.h>

#include "internal.h"
#include "store-format.h"

/*
 * Requests to the data file. Saving and fetching have a ring each: a fault does
 * not queue behind an eviction.
 */
struct store_ring {
	pthread_mutex_t lock;
	struct io_uring ring;
	bool live; /* @ring was set up */
	bool fixed; /* the buffers are registered */
	unsigned int depth; /* buffers, and requests in flight */
	unsigned int inflight;
	int dead; /* it has failed, and why */
	char *buffer; /* @depth times PIECE_MAX */
	void *pack; /* what is in each buffer; made at the first use */
	unsigned int *idle; /* buffers without work: a stack for who has @lock */
};

/* Which units of the data file are taken. */
struct store_space {
	uint64_t *map; /* a bit for each unit */
	uint64_t units; /* that the file has room for */
	uint64_t max; /* that it may have */
	uint64_t used;
	uint64_t next; /* where to look first */
	/* No run of this length was found, and hardly any freed since. */
	uint64_t failed, freed;
};

/* Where the records of a part of a space are: by number of the chunk. */
struct store_chunks {
	struct store_chunk *chunk;
	uint32_t count, room;
	uint32_t *hash; /* number + 1; 0: free */
	uint32_t buckets; /* a power of two */
	uint32_t *spare; /* numbers without a chunk, @spares of them */
	uint32_t spares;
};

/* Locks: save.lock or fetch.lock, then index_lock, then map_lock. */
struct rwp_store {
	int data, index; /* descriptors */
	char *path;
	unsigned int flags;
	uint32_t unit;
	uint64_t id;
	uint32_t groups;

	struct store_ring save, fetch;
	unsigned int
		misses; /* pieces in a row that LZ4 was no good for; save.lock */
	/* Held by who changes records, over the reading and writing of them. */
	pthread_mutex_t index_lock;
	/* Never held over input or output. */
	pthread_mutex_t map_lock;
	struct store_space space;
	struct store_chunks chunks;
	struct rwp_store_stats stats;
};

/* A piece in the works. */
struct store_piece {
	struct rwp_store_key key;
	struct store_record record;
};

/*
 * Whole pieces in memory of this alignment are written from there, and read to
 * there, as many at once as this: neither copied nor split up.
 */
#define IN_PLACE_ALIGN 4096
#define IN_PLACE_MAX (16 * PIECE_MAX)

static inline bool rwpi_may_stay(const void *data, unsigned int len)
{
	return len == PIECE_MAX && !((uintptr_t)data % IN_PLACE_ALIGN);
}

static inline unsigned int rwpi_piece_bytes(unsigned int shift)
{
	return 1U << (shift < PIECE_SHIFT ? shift : PIECE_SHIFT);
}

static inline uint64_t rwpi_store_units(const struct rwp_store *store,
					uint64_t bytes)
{
	return (bytes + store->unit - 1) / store->unit;
}

/* Units the piece of a record takes in the data file. */
static inline uint64_t rwpi_record_units(const struct rwp_store *store,
					 const struct store_record *record)
{
	if (record->kind != KIND_LZ4 && record->kind != KIND_PLAIN)
		return 0;
	return rwpi_store_units(store, record->stored);
}

/* store-file.c: opening both files, and their headers. */
int rwpi_store_files(struct rwp_store *store, struct rwp_error *err);
int rwpi_store_write_header(struct rwp_store *store, bool index,
			    uint32_t ready);
/* All of it or a negative errno. */
int rwpi_read_all(int fd, void *data, size_t len, uint64_t at);
int rwpi_write_all(int fd, const void *data, size_t len, uint64_t at);

/* store-space.c; to be called with map_lock held, but for _grow. */
int rwpi_space_init(struct rwp_store *store, uint64_t max_bytes);
/* The first of @units neighbours, or -ENOSPC: try rwpi_space_grow(). */
int64_t rwpi_space_get(struct rwp_store *store, uint64_t units);
void rwpi_space_put(struct rwp_store *store, uint64_t first, uint64_t units);
/* Take units that a record names; false if they are not in the file. */
bool rwpi_space_claim(struct rwp_store *store, uint64_t first, uint64_t units);
/* Make the file longer, by @units at least. With save.lock held. */
int rwpi_space_grow(struct rwp_store *store, uint64_t units);

/* store-ring.c */
int rwpi_ring_init(struct store_ring *ring, unsigned int depth, int fd,
		   struct rwp_error *err);
void rwpi_ring_exit(struct store_ring *ring);
/*
 * Begin with all buffers idle: ring->idle is full, ring->pack an array of @size
 * bytes for each, zeroed once. Fails where the ring has failed before.
 */
int rwpi_ring_begin(struct store_ring *ring, size_t size);
static inline char *rwpi_ring_buffer(struct store_ring *ring, unsigned int n)
{
	return ring->buffer + (size_t)n * PIECE_MAX;
}
/*
 * Queue a request for a part of buffer @n, or for memory of the caller's in its
 * place; it is known by @n and @len.
 */
int rwpi_ring_queue(struct store_ring *ring, bool write, unsigned int n,
		    char *data, unsigned int len, uint64_t at);
/*
 * Submit what is queued and wait for one that is complete. Its buffer, and in
 * @error 0 or what went wrong with it. Negative: the ring itself has failed.
 */
int rwpi_ring_wait(struct store_ring *ring, unsigned int *n, int *error);
int rwpi_ring_submit(struct store_ring *ring);

/* Called by who saves, with save.lock held; either may be NULL. */
struct rwpi_save_hooks {
	/*
	 * Before the first look at each part of the data, by rising page and
	 * address, while what came before is being written; a negative errno is
	 * the page's.
	 */
	int (*ready)(char *data, unsigned int len, void *arg);
	/* Page number @page of the array is on file, and its record too. */
	void (*held)(unsigned int page, void *arg);
	void *arg;
};

/* store-save.c: rwp_store_save() of data that need not be there yet. */
int rwpi_store_save_with(struct rwp_store *store, struct rwp_store_page *page,
			 unsigned int count,
			 const struct rwpi_save_hooks *hooks,
			 struct rwp_error *err);

/* store-fetch.c: rwp_store_fetch() by another ring than that of the store. */
int rwpi_store_fetch_by(struct rwp_store *store, struct store_ring *ring,
			struct rwp_store_page *page, unsigned int count,
			struct rwp_error *err);

/* store-codec.c */
/*
 * Fill @record but for its position; LZ4 goes to @out, and plain data where it
 * is not to be written from where it is.
 */
void rwpi_encode(struct rwp_store *store, const void *data, unsigned int len,
		 bool in_place, void *out, struct store_record *record);
/*
 * 0 or -EBADMSG. @in: record->stored bytes, unless the kind is SAME. It may be
 * @data itself: then that is verified only.
 */
int rwpi_decode(const struct store_record *record, const void *in, void *data,
		unsigned int len);

/* store-index.c: the records. */
int rwpi_index_load(struct rwp_store *store, struct rwp_error *err);
void rwpi_index_free(struct rwp_store *store);
/* 0, -ENOENT or -EBADMSG. Without a lock: see rwp_store_fetch(). */
int rwpi_index_read(struct rwp_store *store, struct rwp_store_key key,
		    struct store_record *record);
/*
 * The same for @count neighbouring pages of 4 KiB, without checking. They must
 * be in one chunk. -ENOENT: none of them is held.
 */
int rwpi_index_read_run(struct rwp_store *store, struct rwp_store_key key,
			struct store_record *record, unsigned int count);
/* 0, -ENOENT (all zero) or -EBADMSG. */
int rwpi_record_check(const struct rwp_store *store, struct rwp_store_key key,
		      const struct store_record *record);
/*
 * Put @count records, of one chunk and each @step pages of 4 KiB after the one
 * before, in place of what is there, and free what that took. With index_lock
 * held.
 */
int rwpi_index_write(struct rwp_store *store, struct rwp_store_key key,
		     unsigned int step, struct store_record *record,
		     unsigned int count);
/*
 * Put the tails of a page of 1 << @shift bytes, all its pieces but the first, or
 * with NULL take them away. Those of @tail that the index has are KIND_NONE after
 * that, also where it fails halfway. The same lock.
 */
int rwpi_index_tails(struct rwp_store *store, struct rwp_store_key key,
		     unsigned int shift, struct store_record *tail);
/* Forget a page, also one of which only pieces are there. The same lock. */
int rwpi_index_drop(struct rwp_store *store, struct rwp_store_key key,
		    unsigned int shift);

#endif
