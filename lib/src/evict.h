/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the evictor share. */
#ifndef RWP_EVICT_H
#define RWP_EVICT_H

#include <pthread.h>

#include "internal.h"
#include "store.h"
#include "worker.h"

/*
 * Memory is evicted in units: a page of the system, a hugetlb page, or as many
 * pages as the caller wants to go together. A unit is one page of the store.
 *
 * The rules that keep a write from being lost:
 *
 * - The gate is held by who answers faults, from reading the messages to the
 *   last answer, and by who evicts, over each switch of the mode. So no message
 *   is answered under another mode than it was read in.
 * - Units are chosen under the gate, after the switch to sync: from then on a
 *   chosen unit can only be touched through an answer, which marks it.
 * - A unit is punched only after it was claimed under the gate, and claimed only
 *   if the store holds it and it had not been marked by then. Faults of claimed
 *   units are passed over: once the claim has ended, also under the gate, who
 *   waits is woken, and asks again.
 * - After its claim a unit is not part of the batch any more: what the store
 *   holds is all there is of it.
 */
enum {
	UNIT_CHOSEN = 1 << 0,
	UNIT_TOUCHED = 1 << 1, /* stays, or is back: its copy is out of date */
	UNIT_FAILED = 1 << 2, /* could not be saved */
	UNIT_STAGED = 1 << 3, /* anonymous: in the staging area */
	UNIT_RETURN = 1 << 4, /* anonymous: to go back from there */
	UNIT_HELD = 1 << 5, /* shared: the store has a copy */
	UNIT_CLAIMED = 1 << 6, /* shared: being punched */
	UNIT_GONE = 1 << 7, /* shared: was punched */
};

/* What is being evicted at the moment: chosen units of a window of a memory. */
struct evict_batch {
	struct evict_memory *memory; /* NULL: nothing */
	uint64_t start, len; /* the window */
	unsigned int max, count; /* units that may be chosen, that were */
	uint32_t *unit; /* their numbers in the window, rising */
	_Atomic uint8_t *flags; /* UNIT_*, for each unit of the window */
	uint64_t room; /* of @flags */
};

struct evict_memory {
	struct rwp_range range;
	uint64_t unit; /* bytes */
	uint64_t base; /* bytes of a page as the kernel fills it */
	enum rwp_kind kind;
	int fd; /* -1: anonymous */
	uint64_t offset; /* of the range in the file, and in the space */
	uint64_t space;
};

/* A turn-taking lock that who answers faults gets first. */
struct evict_gate {
	pthread_mutex_t lock;
	pthread_cond_t free;
	unsigned int faults; /* waiting */
	bool held;
};

#define PENDING_MAX 256
#define WORKERS 2

struct rwp_evictor {
	struct rwp *rwp;
	struct rwp_store *store;
	struct rwp_evictor_options options;
	struct evict_gate gate;
	/* Held by evicting, restoring and adding, over all of it. */
	pthread_mutex_t turn;

	/* With the gate held: */
	struct evict_memory *memory;
	unsigned int memories;
	struct evict_batch batch;
	struct rwp_evict_stats stats;
	struct rwp_event pending[PENDING_MAX]; /* faults that were put off */
	unsigned int pendings;
	char *page; /* room for PAGES_AT_ONCE pages or one unit */
	size_t page_bytes;
	/* Units whose copies were forgotten, or replaced by others. */
	uint64_t dropped, replaced;

	/* With the turn: */
	char *buffer; /* shared memory on its way out, or any on its way back */
	size_t buffer_bytes;
	char *staging; /* anonymous memory on its way out */
	size_t staging_bytes;
	/* While evicting shared memory, or bringing back: */
	struct rwpi_worker worker[WORKERS];
	bool workers;
	uint64_t sync_since;
};

/* Faults that are answered with one request to the store. */
#define PAGES_AT_ONCE 32
/* Pages that are brought back with one: whoever has a fault waits for it. */
#define RESTORE_AT_ONCE 128

/* evictor.c */
void rwpi_gate_enter(struct rwp_evictor *evictor, bool fault);
void rwpi_gate_leave(struct rwp_evictor *evictor);
struct evict_memory *rwpi_find_memory(struct rwp_evictor *evictor,
				      uint64_t address);
static inline struct rwp_store_key
rwpi_unit_key(const struct evict_memory *memory, uint64_t address)
{
	return (struct rwp_store_key){
		memory->space,
		address - memory->range.start + memory->offset,
	};
}
/* Have @buffer of at least @bytes, aligned to a huge page. */
int rwpi_need_buffer(char **buffer, size_t *have, size_t bytes,
		     struct rwp_error *err);
/*
 * With the turn: so many bytes of evictor->buffer will be used. Where it pays,
 * that gets huge pages, and each evictor->worker a thread.
 */
void rwpi_turn_large(struct rwp_evictor *evictor, size_t bytes);
/* The turn ends: neither is needed any more. */
void rwpi_turn_over(struct rwp_evictor *evictor);
/* The flags of the unit at @address if it is being evicted, else NULL. */
_Atomic uint8_t *rwpi_unit_flags(struct rwp_evictor *evictor, uint64_t address);

/* evict.c: choosing, and switching the mode. With the gate held. */
int rwpi_evict_mode(struct rwp_evictor *evictor, enum rwp_mode mode,
		    struct rwp_error *err);
int rwpi_evict_sync(struct rwp_evictor *evictor, struct rwp_error *err);
int rwpi_evict_async(struct rwp_evictor *evictor, struct rwp_error *err);
static inline uint64_t rwpi_batch_address(const struct evict_batch *batch,
					  unsigned int n)
{
	return batch->start + batch->unit[n] * batch->memory->unit;
}
/* Save what @data has of @count chosen units from @first on. */
int rwpi_batch_save(struct rwp_evictor *evictor, unsigned int first,
		    unsigned int count, char *data,
		    const struct rwpi_save_hooks *hooks, struct rwp_error *err);
/* Forget the copies of units that stay, and count; the batch is over. */
void rwpi_batch_end(struct rwp_evictor *evictor);

/*
 * Evict what was chosen; the context is in sync mode before and in async mode
 * after. Returns the number of units that are gone.
 */
int64_t rwpi_evict_shared(struct rwp_evictor *evictor, struct rwp_error *err);
int64_t rwpi_evict_anon(struct rwp_evictor *evictor, struct rwp_error *err);

/* evict-serve.c: with the gate held. Answers what waits; messages answered. */
int rwpi_serve(struct rwp_evictor *evictor, unsigned int max,
	       struct rwp_error *err);
bool rwpi_evictor_pending(struct rwp_evictor *evictor);

/* evict-fill.c: with the gate held. */
/*
 * Put @data where nothing is, as far as that is so. 0, -EAGAIN (read events and
 * come again), or what else prevents it.
 */
int rwpi_fill_unit(struct rwp_evictor *evictor, uint64_t address,
		   const void *data, uint64_t len);
/* The same of as many units as @len has; @done bytes are there, also if it fails. */
int rwpi_fill_run(struct rwp_evictor *evictor, uint64_t address,
		  const void *data, uint64_t len, uint64_t *done);
int rwpi_fill_zero(struct rwp_evictor *evictor,
		   const struct evict_memory *memory, uint64_t address);
/* Fetch units, fill them in and forget them; each has its own result. */
int rwpi_bring(struct rwp_evictor *evictor, const uint64_t *address,
	       int *result, unsigned int count);
/* madvise() dropped anonymous memory: so do we. */
void rwpi_forget(struct rwp_evictor *evictor, struct rwp_range range);

/* store-next.c: the first page of @space held in [from, end), or -ENOENT. */
int rwpi_store_next(struct rwp_store *store, uint64_t space, uint64_t from,
		    uint64_t end, uint64_t *offset, uint64_t *len);

/* Drop @count pages of @len bytes that lie behind each other. */
void rwpi_store_drop_run(struct rwp_store *store, struct rwp_store_key key,
			 uint64_t len, unsigned int count);

#endif
