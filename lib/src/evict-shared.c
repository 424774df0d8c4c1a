// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Evicting shared memory: read the file, which is no access to the mapping, save,
 * claim, punch, and wake who was passed over meanwhile. While one part of a batch
 * is being punched the next is being written, and the one after that read: what
 * takes the time is the kernel's work for each page, in reading and in punching.
 */
#include <fcntl.h>
#include <unistd.h>

#include "evict.h"

/* Longer requests to memory gain nothing. */
#define READ_AHEAD (256ULL << 10)

static int read_file(const struct evict_memory *memory, char *data,
		     uint64_t len, uint64_t at)
{
	for (uint64_t done = 0; done < len;) {
		ssize_t got =
			pread(memory->fd, data + done, len - done, at + done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got ? -errno : -ENODATA;
		done += got;
	}
	return 0;
}

enum { HELPER, OWNER, READERS };

#define NOTHING UINT64_MAX

/* How far the chosen units are; they lie in the buffer side by side. */
struct leaving {
	struct rwp_evictor *evictor;
	uint64_t bytes; /* all of them */
	struct rwpi_worker *puncher; /* NULL: none */

	pthread_mutex_t lock;
	pthread_cond_t more;
	uint64_t next; /* where to read on */
	uint64_t reading[READERS]; /* where each is, or NOTHING */
	uint64_t bad; /* what could not be read, or NOTHING */
	int read_error; /* why */

	uint64_t held; /* bytes the store has got since the last punch */
	unsigned int first; /* all before this are gone */
	int punch_error;
};

/* ---- Reading ----------------------------------------------------------- */

/* Read @len bytes from @at on, both in the buffer. */
static int read_part(const struct leaving *leaving, uint64_t at, uint64_t len)
{
	const struct rwp_evictor *evictor = leaving->evictor;
	const struct evict_batch *batch = &evictor->batch;
	const struct evict_memory *memory = batch->memory;
	int ret = 0;

	while (len && !ret) {
		unsigned int first = at / memory->unit, last = first;
		uint64_t from = at % memory->unit, some = memory->unit - from;

		while (some < len &&
		       batch->unit[last + 1] == batch->unit[last] + 1) {
			last++;
			some += memory->unit;
		}
		if (some > len)
			some = len;
		ret = read_file(memory, evictor->buffer + at, some,
				rwpi_batch_address(batch, first) + from -
					memory->range.start + memory->offset);
		at += some;
		len -= some;
	}
	return ret;
}

/* Take the next part and read it; false if there is none. With the lock held. */
static bool read_next(struct leaving *leaving, int reader)
{
	uint64_t at = leaving->next, len = leaving->bytes - at;
	int ret;

	if (!len || leaving->bad != NOTHING)
		return false;
	if (len > READ_AHEAD)
		len = READ_AHEAD;
	leaving->next += len;
	leaving->reading[reader] = at;
	pthread_mutex_unlock(&leaving->lock);
	ret = read_part(leaving, at, len);
	pthread_mutex_lock(&leaving->lock);
	leaving->reading[reader] = NOTHING;
	if (ret && at < leaving->bad) {
		leaving->bad = at;
		leaving->read_error = ret;
	}
	pthread_cond_broadcast(&leaving->more);
	return true;
}

static void help_reading(void *arg)
{
	struct leaving *leaving = arg;

	pthread_mutex_lock(&leaving->lock);
	while (read_next(leaving, HELPER))
		;
	pthread_mutex_unlock(&leaving->lock);
}

/* All before this was read. With the lock held. */
static uint64_t read_so_far(const struct leaving *leaving)
{
	uint64_t far = leaving->next;

	for (int i = 0; i < READERS; i++)
		if (leaving->reading[i] < far)
			far = leaving->reading[i];
	return far < leaving->bad ? far : leaving->bad;
}

/* Who has to wait for a part reads another one meanwhile. */
static int have_read(char *data, unsigned int len, void *arg)
{
	struct leaving *leaving = arg;
	uint64_t wanted = data + len - leaving->evictor->buffer, far;

	pthread_mutex_lock(&leaving->lock);
	while ((far = read_so_far(leaving)) < wanted && far != leaving->bad)
		if (!read_next(leaving, OWNER))
			pthread_cond_wait(&leaving->more, &leaving->lock);
	pthread_mutex_unlock(&leaving->lock);
	return far < wanted ? leaving->read_error : 0;
}

/* ---- Punching ---------------------------------------------------------- */

/* So much is to be punched before it is worth a call of the worker. */
#define PUNCH_MIN (512ULL << 10)

/* Claim what the store holds and nobody has touched; the end of that. */
static unsigned int claim(struct leaving *leaving)
{
	struct rwp_evictor *evictor = leaving->evictor;
	struct evict_batch *batch = &evictor->batch;
	unsigned int end = 0;

	rwpi_gate_enter(evictor, false);
	for (unsigned int i = leaving->first; i < batch->count; i++) {
		_Atomic uint8_t *flags = &batch->flags[batch->unit[i]];

		if (*flags != (UNIT_CHOSEN | UNIT_HELD))
			continue;
		*flags |= UNIT_CLAIMED;
		end = i + 1;
	}
	rwpi_gate_leave(evictor);
	return end;
}

static bool claimed(const struct evict_batch *batch, unsigned int n)
{
	return batch->flags[batch->unit[n]] & UNIT_CLAIMED;
}

/* The run of claimed units that begins with @first, and how many these are. */
static struct rwp_range claimed_run(const struct evict_batch *batch,
				    unsigned int first, unsigned int end,
				    unsigned int *count)
{
	unsigned int n = first;

	while (n < end && claimed(batch, n) &&
	       batch->unit[n] == batch->unit[first] + (n - first))
		n++;
	*count = n - first;
	return (struct rwp_range){
		.start = rwpi_batch_address(batch, first),
		.len = *count * batch->memory->unit,
	};
}

static int punch(const struct evict_memory *memory, struct rwp_range range)
{
	return fallocate(memory->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 range.start - memory->range.start + memory->offset,
			 range.len) ?
		       -errno :
		       0;
}

/* Who was passed over meanwhile asks again. The punch has woken nobody. */
static void unclaim(struct leaving *leaving, unsigned int end)
{
	struct rwp_evictor *evictor = leaving->evictor;
	struct evict_batch *batch = &evictor->batch;
	uint64_t from = rwpi_batch_address(batch, leaving->first);
	uint64_t to = rwpi_batch_address(batch, end - 1) + batch->memory->unit;

	rwpi_gate_enter(evictor, false);
	for (unsigned int i = leaving->first; i < end; i++)
		if (claimed(batch, i))
			batch->flags[batch->unit[i]] = UNIT_CHOSEN | UNIT_HELD |
						       UNIT_GONE;
	if (leaving->punch_error)
		evictor->stats.last_error = leaving->punch_error;
	rwpi_gate_leave(evictor);
	rwp_wake(evictor->rwp, (struct rwp_range){ from, to - from }, NULL);
	while (leaving->first < end &&
	       batch->flags[batch->unit[leaving->first]] & UNIT_GONE)
		leaving->first++;
}

static void punch_held(void *arg)
{
	struct leaving *leaving = arg;
	struct rwp_evictor *evictor = leaving->evictor;
	const struct evict_batch *batch = &evictor->batch;
	unsigned int end = claim(leaving), count;

	for (unsigned int i = leaving->first; i < end; i += count ? count : 1) {
		struct rwp_range run = claimed_run(batch, i, end, &count);
		int ret = count ? punch(batch->memory, run) : 0;

		/*
		 * Some of it may be gone, and the copies are right: nobody
		 * could write since. They stay in the store, where a fault of
		 * what is gone finds them.
		 */
		if (ret)
			leaving->punch_error = ret;
	}
	if (end)
		unclaim(leaving, end);
}

/* ---- Saving ------------------------------------------------------------ */

/*
 * The claim waits for the gate, and who has the gate may wait for the store: so
 * this is nothing to be done here, in the middle of saving.
 */
static void is_held(unsigned int n, void *arg)
{
	struct leaving *leaving = arg;
	struct rwp_evictor *evictor = leaving->evictor;
	const struct evict_batch *batch = &evictor->batch;

	batch->flags[batch->unit[n]] |= UNIT_HELD;
	leaving->held += batch->memory->unit;
	if (leaving->puncher && leaving->held >= PUNCH_MIN &&
	    rwpi_worker_take(leaving->puncher, punch_held, leaving))
		leaving->held = 0;
}

/* What the store has not got stays. */
static void fail_others(struct evict_batch *batch)
{
	for (unsigned int i = 0; i < batch->count; i++)
		if (!(batch->flags[batch->unit[i]] & UNIT_HELD))
			batch->flags[batch->unit[i]] |= UNIT_FAILED;
}

/* Save all, and punch what can be punched. The gate is not held. */
static int save_and_punch(struct rwp_evictor *evictor, struct rwp_error *err)
{
	struct evict_batch *batch = &evictor->batch;
	struct leaving leaving = {
		.evictor = evictor,
		.bytes = batch->count * batch->memory->unit,
		.reading = { NOTHING, NOTHING },
		.bad = NOTHING,
	};
	struct rwpi_save_hooks hooks = { have_read, is_held, &leaving };
	struct rwpi_worker *worker = evictor->worker;
	int ret;

	pthread_mutex_init(&leaving.lock, NULL);
	pthread_cond_init(&leaving.more, NULL);
	rwpi_turn_large(evictor, leaving.bytes);
	if (evictor->workers) {
		leaving.puncher = &worker[0];
		rwpi_worker_take(&worker[1], help_reading, &leaving);
	}
	ret = rwpi_batch_save(evictor, 0, batch->count, evictor->buffer, &hooks,
			      err);
	fail_others(batch);
	for (int i = 0; i < WORKERS && evictor->workers; i++)
		rwpi_worker_wait(&worker[i]);
	punch_held(&leaving);
	pthread_cond_destroy(&leaving.more);
	pthread_mutex_destroy(&leaving.lock);
	return ret;
}

int64_t rwpi_evict_shared(struct rwp_evictor *evictor, struct rwp_error *err)
{
	uint64_t before = evictor->stats.evicted;
	int64_t evicted;
	int ret, async;

	rwpi_gate_leave(evictor);
	ret = save_and_punch(evictor, err);

	rwpi_gate_enter(evictor, false);
	rwpi_batch_end(evictor);
	evicted = evictor->stats.evicted - before;
	async = rwpi_evict_async(evictor, ret ? NULL : err);
	rwpi_gate_leave(evictor);
	if (!ret)
		ret = async;
	return ret ? ret : evicted;
}
