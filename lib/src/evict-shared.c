// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Evicting shared memory: read the file, which is no access to the mapping, save,
 * claim, punch, and wake who was passed over meanwhile.
 */
#include <fcntl.h>
#include <unistd.h>

#include "evict.h"

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

/* Save all that is chosen, in as few calls as it has gaps. */
static int save_all(struct rwp_evictor *evictor, struct rwp_error *err)
{
	struct evict_batch *batch = &evictor->batch;
	const struct evict_memory *memory = batch->memory;
	char *data = evictor->buffer;
	unsigned int count;

	for (unsigned int i = 0; i < batch->count; i += count) {
		struct rwp_range run = rwpi_batch_run(batch, i, &count, false);
		int ret = read_file(memory, data, run.len,
				    run.start - memory->range.start +
					    memory->offset);

		if (ret)
			return rwpi_fail(err, ret,
					 "cannot read descriptor %d of %#llx",
					 memory->fd,
					 (unsigned long long)run.start);
		data += run.len;
	}
	return rwpi_batch_save(evictor, 0, batch->count, evictor->buffer, err);
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
