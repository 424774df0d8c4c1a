// SPDX-License-Identifier: LGPL-2.1-or-later
/* Putting pages back where they belong. With the gate held. */
#include <string.h>
#include <sys/mman.h>

#include "evict.h"

/*
 * A page that is there already is newer than what we have: somebody was faster,
 * or a manager that died had come this far.
 */
int rwpi_fill_run(struct rwp_evictor *evictor, uint64_t address,
		  const void *data, uint64_t len, uint64_t *done)
{
	const struct evict_memory *memory = rwpi_find_memory(evictor, address);
	bool was_there = false;

	for (*done = 0; *done < len;) {
		struct rwp_range range = { address + *done, len - *done };
		ssize_t got = rwp_copy(evictor->rwp, range,
				       (const char *)data + *done, 0, NULL);

		if (got == -EEXIST) {
			was_there = true;
			got = memory->base;
		}
		if (got < 0)
			return got;
		*done += got;
	}
	/* Where nothing was copied nobody was woken. */
	return was_there ? rwp_wake(evictor->rwp,
				    (struct rwp_range){ address, len }, NULL) :
			   0;
}

int rwpi_fill_unit(struct rwp_evictor *evictor, uint64_t address,
		   const void *data, uint64_t len)
{
	uint64_t done;

	return rwpi_fill_run(evictor, address, data, len, &done);
}

int rwpi_fill_zero(struct rwp_evictor *evictor,
		   const struct evict_memory *memory, uint64_t address)
{
	struct rwp_range range = { address, memory->base };
	ssize_t got;

	if (memory->kind != RWP_KIND_HUGETLB) {
		got = rwp_zero(evictor->rwp, range, 0, NULL);
		if (got >= 0)
			return 0;
		if (got != -EEXIST)
			return got;
		return rwp_wake(evictor->rwp, range, NULL);
	}
	/* A hugetlb page has to be copied, zeros or not. */
	memset(evictor->page, 0, memory->base);
	return rwpi_fill_unit(evictor, address, evictor->page, memory->base);
}

/*
 * The content of a page is lost: who touches it is to be told, as of memory that
 * has failed (SIGBUS). Zeros in its place would be a lie.
 */
static int poison(struct rwp_evictor *evictor, uint64_t address, uint64_t len)
{
	struct uffdio_poison arg = { .range = { address, len } };

	evictor->stats.failed++;
	if (!ioctl(evictor->rwp->fd, UFFDIO_POISON, &arg))
		return 0;
	/* There is something already: who waits is woken to look at it. */
	return -errno;
}

static int bring_one(struct rwp_evictor *evictor, uint64_t address,
		     const struct rwp_store_page *page)
{
	int ret;

	switch (page->result) {
	case 0:
		ret = rwpi_fill_unit(evictor, address, page->data, page->len);
		break;
	case -EBADMSG:
	case -EIO:
		evictor->stats.last_error = page->result;
		return poison(evictor, address, page->len);
	default:
		return page->result;
	}
	/* It may be written to now: what the store has is out of date. */
	if (!ret)
		rwp_store_drop(evictor->store, page->key, NULL);
	evictor->dropped += !ret;
	return ret;
}

int rwpi_bring(struct rwp_evictor *evictor, const uint64_t *address,
	       int *result, unsigned int count)
{
	struct rwp_store_page page[RESTORE_AT_ONCE];
	char *data = evictor->page;
	unsigned int fits = 0;

	for (unsigned int i = 0; i < count; i++) {
		const struct evict_memory *memory =
			rwpi_find_memory(evictor, address[i]);

		if (data + memory->unit > evictor->page + evictor->page_bytes)
			break;
		page[fits++] = (struct rwp_store_page){
			.key = rwpi_unit_key(memory, address[i]),
			.data = data,
			.len = memory->unit,
		};
		data += memory->unit;
	}
	rwp_store_fetch(evictor->store, page, fits, NULL);
	for (unsigned int i = 0; i < fits; i++)
		result[i] = bring_one(evictor, address[i], &page[i]);
	return fits;
}

/* ---- What the process has dropped itself ------------------------------- */

/* A part of a unit that the store has: it becomes zeros there. */
static void forget_part(struct rwp_evictor *evictor,
			const struct evict_memory *memory, uint64_t unit,
			uint64_t from, uint64_t to)
{
	struct rwp_store_page page = {
		.key = rwpi_unit_key(memory, unit),
		.data = evictor->page,
		.len = memory->unit,
	};

	if (rwp_store_fetch(evictor->store, &page, 1, NULL))
		return;
	memset(evictor->page + (from - unit), 0, to - from);
	evictor->replaced++;
	rwp_store_save(evictor->store, &page, 1, NULL);
}

/* The same of one that is being evicted. */
static void forget_staged(struct rwp_evictor *evictor,
			  const struct evict_memory *memory, uint64_t unit,
			  uint64_t from, uint64_t to, _Atomic uint8_t *flags)
{
	const struct evict_batch *batch = &evictor->batch;
	unsigned int n = 0;

	while (rwpi_batch_address(batch, n) != unit)
		n++;
	if (to - from == memory->unit) {
		*flags |= UNIT_TOUCHED;
		return;
	}
	memset(evictor->staging + n * memory->unit + (from - unit), 0,
	       to - from);
	*flags |= UNIT_RETURN;
}

static void forget_unit(struct rwp_evictor *evictor,
			const struct evict_memory *memory, uint64_t unit,
			uint64_t from, uint64_t to)
{
	_Atomic uint8_t *flags = rwpi_unit_flags(evictor, unit);

	if (flags && *flags & UNIT_STAGED && !(*flags & UNIT_TOUCHED)) {
		forget_staged(evictor, memory, unit, from, to, flags);
	} else if (to - from == memory->unit) {
		rwp_store_drop(evictor->store, rwpi_unit_key(memory, unit),
			       NULL);
		evictor->dropped++;
	} else {
		forget_part(evictor, memory, unit, from, to);
	}
}

/* Units of the batch are few and may not be in the store yet: look at each. */
static void forget_batch(struct rwp_evictor *evictor,
			 const struct evict_memory *memory, uint64_t from,
			 uint64_t to)
{
	const struct evict_batch *batch = &evictor->batch;

	for (unsigned int i = 0; batch->memory == memory && i < batch->count;
	     i++) {
		uint64_t unit = rwpi_batch_address(batch, i);
		uint64_t end = unit + memory->unit;

		if (unit < to && end > from)
			forget_unit(evictor, memory, unit,
				    unit > from ? unit : from,
				    end < to ? end : to);
	}
}

static void forget_stored(struct rwp_evictor *evictor,
			  const struct evict_memory *memory, uint64_t from,
			  uint64_t to)
{
	/* Addresses and offsets in the space differ by this. */
	uint64_t shift = memory->offset - memory->range.start, offset, len;
	uint64_t next = (from & ~(memory->unit - 1)) + shift;

	while (!rwpi_store_next(evictor->store, memory->space, next, to + shift,
				&offset, &len)) {
		uint64_t unit = offset - shift, end = unit + memory->unit;

		if (!rwpi_unit_flags(evictor, unit))
			forget_unit(evictor, memory, unit,
				    unit > from ? unit : from,
				    end < to ? end : to);
		next = offset + memory->unit;
	}
}

/*
 * Of shared memory the event does not tell whether the content is to go
 * (MADV_REMOVE) or the mapping alone (MADV_DONTNEED). What was evicted is kept:
 * what nobody needs does no harm, what somebody needs must not be lost.
 */
void rwpi_forget(struct rwp_evictor *evictor, struct rwp_range range)
{
	for (unsigned int i = 0; i < evictor->memories; i++) {
		const struct evict_memory *memory = &evictor->memory[i];
		uint64_t from = memory->range.start;
		uint64_t to = from + memory->range.len;

		if (memory->fd >= 0)
			continue;
		if (range.start > from)
			from = range.start;
		if (range.start + range.len < to)
			to = range.start + range.len;
		if (from >= to)
			continue;
		forget_batch(evictor, memory, from, to);
		forget_stored(evictor, memory, from, to);
	}
}
