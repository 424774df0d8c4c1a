// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Evicting shared memory: read the file, which is no access to the mapping, save,
 * claim, punch, and wake who was passed over meanwhile.
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

/* How far the chosen units have been read; they lie in the buffer side by side. */
struct reader {
	struct rwp_evictor *evictor;
	uint64_t done;
};

/* The next of them, so that the store is busy with some while others are read. */
static int read_some(struct reader *reader)
{
	const struct rwp_evictor *evictor = reader->evictor;
	const struct evict_batch *batch = &evictor->batch;
	const struct evict_memory *memory = batch->memory;
	unsigned int first = reader->done / memory->unit, last = first;
	uint64_t from = reader->done % memory->unit, len = memory->unit - from;
	int ret;

	while (len < READ_AHEAD && last + 1 < batch->count &&
	       batch->unit[last + 1] == batch->unit[last] + 1) {
		last++;
		len += memory->unit;
	}
	if (len > READ_AHEAD)
		len = READ_AHEAD;
	ret = read_file(memory, evictor->buffer + reader->done, len,
			rwpi_batch_address(batch, first) + from -
				memory->range.start + memory->offset);
	if (!ret)
		reader->done += len;
	return ret;
}

static int have_read(char *data, unsigned int len, void *arg)
{
	struct reader *reader = arg;
	uint64_t wanted = data + len - reader->evictor->buffer;
	int ret = 0;

	while (reader->done < wanted && !ret)
		ret = read_some(reader);
	return ret;
}

static int save_all(struct rwp_evictor *evictor, struct rwp_error *err)
{
	struct reader reader = { .evictor = evictor };

	return rwpi_batch_save(evictor, 0, evictor->batch.count,
			       evictor->buffer, have_read, &reader, err);
}

/* What the store has not got stays. */
static void fail_all(struct evict_batch *batch)
{
	for (unsigned int i = 0; i < batch->count; i++)
		batch->flags[batch->unit[i]] |= UNIT_FAILED;
}

static void punch_all(struct rwp_evictor *evictor)
{
	struct evict_batch *batch = &evictor->batch;
	const struct evict_memory *memory = batch->memory;
	unsigned int count;

	for (unsigned int i = 0; i < batch->count; i += count) {
		struct rwp_range run = rwpi_batch_run(batch, i, &count, true);

		if (!count) {
			count = 1;
			continue;
		}
		if (!fallocate(memory->fd,
			       FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       run.start - memory->range.start + memory->offset,
			       run.len))
			continue;
		/*
		 * Some of it may be gone, and the copies are right: nobody
		 * could write since. They stay in the store, where a fault of
		 * what is gone finds them.
		 */
		evictor->stats.last_error = -errno;
	}
}

int64_t rwpi_evict_shared(struct rwp_evictor *evictor, struct rwp_error *err)
{
	struct evict_batch *batch = &evictor->batch;
	struct rwp_range window = { batch->start, batch->len };
	uint64_t before = evictor->stats.evicted;
	int64_t evicted;
	int ret, async;

	rwpi_gate_leave(evictor);
	ret = save_all(evictor, err);
	if (ret && ret != -ENOSPC)
		fail_all(batch);

	rwpi_gate_enter(evictor, false);
	batch->claimed = true;
	rwpi_gate_leave(evictor);
	punch_all(evictor);

	rwpi_gate_enter(evictor, false);
	rwpi_batch_end(evictor);
	evicted = evictor->stats.evicted - before;
	async = rwpi_evict_async(evictor, ret ? NULL : err);
	rwpi_gate_leave(evictor);
	/*
	 * The punch has woken nobody, and async mode wakes only those who wait
	 * for armed pages; faults of claimed pages were passed over.
	 */
	rwp_wake(evictor->rwp, window, NULL);
	if (!ret)
		ret = async;
	return ret ? ret : evicted;
}
