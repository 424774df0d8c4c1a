// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Evicting anonymous memory of the own process. UFFDIO_MOVE takes a page out of
 * its place in one step: a write went before it or meets a missing page. So sync
 * mode ends before anything is saved, and a fault is answered from the staging
 * area meanwhile.
 */
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "evict.h"

/* For missing faults only: what arrives is not armed and can be read. */
static int register_staging(struct rwp_evictor *evictor, struct rwp_error *err)
{
	struct uffdio_register arg = {
		.range = { (uintptr_t)evictor->staging,
			   evictor->staging_bytes },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (ioctl(evictor->rwp->fd, UFFDIO_REGISTER, &arg))
		return rwpi_fail(err, -errno,
				 "cannot register the staging area");
	return 0;
}

/*
 * Drop what is in it, page tables and all, so that huge pages find room for a
 * huge entry. Not registered, or it would be an event that nobody reads.
 */
static int empty_staging(struct rwp_evictor *evictor, struct rwp_error *err)
{
	struct uffdio_range range = { (uintptr_t)evictor->staging,
				      evictor->staging_bytes };

	if (ioctl(evictor->rwp->fd, UFFDIO_UNREGISTER, &range))
		return rwpi_fail(err, -errno, "cannot empty the staging area");
	if (mmap(evictor->staging, evictor->staging_bytes,
		 PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
		 0) == MAP_FAILED)
		return rwpi_fail(err, -errno, "cannot empty the staging area");
	return 0;
}

static char *staged(const struct rwp_evictor *evictor, unsigned int n)
{
	return evictor->staging + n * evictor->batch.memory->unit;
}

/* Move all of @len, or say why not. Reads the events that are in the way. */
static int move_all(struct rwp_evictor *evictor, uint64_t to, uint64_t from,
		    uint64_t len)
{
	for (unsigned int tries = 0; len;) {
		ssize_t got = rwp_move(evictor->rwp, to, from, len, NULL);

		if (got > 0) {
			to += got;
			from += got;
			len -= got;
			continue;
		}
		if (got != -EAGAIN || ++tries > 1000)
			return got ? got : -EIO;
		rwpi_serve(evictor, PENDING_MAX, NULL);
		sched_yield();
	}
	return 0;
}

/*
 * A unit is moved as a whole or not at all. What cannot be moved is pinned,
 * shared with a child, or gone.
 */
static void stage(struct rwp_evictor *evictor, unsigned int n)
{
	struct evict_batch *batch = &evictor->batch;
	_Atomic uint8_t *flags = &batch->flags[batch->unit[n]];
	uint64_t from = rwpi_batch_address(batch, n);
	uint64_t to = (uintptr_t)staged(evictor, n), done = 0;
	uint64_t unit = batch->memory->unit, page = rwpi_page_size();
	int ret;

	/* Touched by an answer to an event that was in the way. */
	if (*flags & UNIT_TOUCHED)
		return;
	ret = move_all(evictor, to, from, unit);
	if (!ret) {
		*flags |= UNIT_STAGED;
		return;
	}
	/* Back with the part that was moved: only we know of it. */
	for (; done < unit; done += page)
		if (move_all(evictor, from + done, to + done, page))
			break;
	*flags |= UNIT_FAILED;
	evictor->stats.last_error = ret;
}

/* What could not be saved, or not any more, goes back where it came from. */
static void give_back(struct rwp_evictor *evictor, unsigned int n)
{
	struct evict_batch *batch = &evictor->batch;
	_Atomic uint8_t *flags = &batch->flags[batch->unit[n]];
	uint64_t to = rwpi_batch_address(batch, n);
	int ret;

	if (!(*flags & UNIT_STAGED) || *flags & UNIT_TOUCHED ||
	    !(*flags & (UNIT_FAILED | UNIT_RETURN)))
		return;
	ret = move_all(evictor, to, (uintptr_t)staged(evictor, n),
		       batch->memory->unit);
	/* Not even that: a copy will do. */
	while (ret && ret != -ENOENT && ret != -ESRCH) {
		ret = rwpi_fill_unit(evictor, to, staged(evictor, n),
				     batch->memory->unit);
		if (ret == -EAGAIN)
			rwpi_serve(evictor, PENDING_MAX, NULL);
		sched_yield();
	}
	*flags |= UNIT_TOUCHED;
	rwp_wake(evictor->rwp, (struct rwp_range){ to, batch->memory->unit },
		 NULL);
}

/* Save the units that are staged still, run by run. */
static int save_staged(struct rwp_evictor *evictor, struct rwp_error *err)
{
	struct evict_batch *batch = &evictor->batch;
	int ret = 0;

	for (unsigned int i = 0, end; i < batch->count && !ret; i = end) {
		for (end = i;
		     end < batch->count && batch->flags[batch->unit[end]] ==
						   (UNIT_CHOSEN | UNIT_STAGED);)
			end++;
		if (end > i)
			ret = rwpi_batch_save(evictor, i, end - i,
					      staged(evictor, i), NULL, err);
		else
			end++;
	}
	/* Whatever was not tried or went wrong goes back. */
	for (unsigned int i = 0; i < batch->count && ret && ret != -ENOSPC; i++)
		batch->flags[batch->unit[i]] |= UNIT_FAILED;
	return ret;
}

/* A full disk ends the loop above: later units were not saved either. */
static void fail_unsaved(struct rwp_evictor *evictor)
{
	struct evict_batch *batch = &evictor->batch;

	for (unsigned int i = 0; i < batch->count; i++)
		if (rwp_store_has(evictor->store,
				  rwpi_unit_key(batch->memory,
						rwpi_batch_address(batch, i))))
			batch->flags[batch->unit[i]] |= UNIT_FAILED;
}

int64_t rwpi_evict_anon(struct rwp_evictor *evictor, struct rwp_error *err)
{
	struct evict_batch *batch = &evictor->batch;
	struct rwp_range window = { batch->start, batch->len };
	uint64_t before = evictor->stats.evicted;
	int64_t evicted;
	int ret = register_staging(evictor, err), async, emptied = 0;

	for (unsigned int i = 0; i < batch->count && !ret; i++)
		stage(evictor, i);
	for (unsigned int i = 0; i < batch->count && ret; i++)
		batch->flags[batch->unit[i]] |= UNIT_FAILED;
	async = rwpi_evict_async(evictor, ret ? NULL : err);
	rwpi_gate_leave(evictor);
	rwp_wake(evictor->rwp, window, NULL);

	if (!ret)
		ret = save_staged(evictor, err);

	rwpi_gate_enter(evictor, false);
	if (ret == -ENOSPC)
		fail_unsaved(evictor);
	for (unsigned int i = 0; i < batch->count; i++)
		give_back(evictor, i);
	rwpi_batch_end(evictor);
	evicted = evictor->stats.evicted - before;
	rwpi_gate_leave(evictor);
	emptied = empty_staging(evictor, ret ? NULL : err);
	if (!ret)
		ret = async ? async : emptied;
	return ret ? ret : evicted;
}
