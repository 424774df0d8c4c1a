// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Answering faults. A message is answered before the gate is given back, or put
 * off until the events that are in the way have been read.
 */
#include <sched.h>
#include <string.h>

#include "evict.h"

#define ROUNDS 16

/* Missing pages that are to come from the store, and for whom. */
struct fetch_list {
	uint64_t address[PAGES_AT_ONCE];
	struct rwp_event event[PAGES_AT_ONCE];
	unsigned int count;
};

static void put_off(struct rwp_evictor *evictor, const struct rwp_event *event)
{
	/* Full: it asks again when it is woken, which it is at once. */
	if (evictor->pendings == PENDING_MAX) {
		rwp_wake(evictor->rwp,
			 (struct rwp_range){ event->range.start &
						     ~(rwpi_page_size() - 1),
					     rwpi_page_size() },
			 NULL);
		return;
	}
	evictor->pending[evictor->pendings++] = *event;
}

/* How an answer went. Where the memory is gone nobody waits any more. */
static void answered(struct rwp_evictor *evictor, const struct rwp_event *event,
		     struct rwp_range range, int ret)
{
	switch (ret) {
	case 0:
	case -ESRCH:
		return;
	case -EAGAIN:
	case -ENOMEM:
		put_off(evictor, event);
		return;
	default:
		/* Not as it was when the message was sent: it asks again. */
		rwp_wake(evictor->rwp, range, NULL);
	}
}

static void fetch_now(struct rwp_evictor *evictor, struct fetch_list *list)
{
	int result[PAGES_AT_ONCE];

	for (unsigned int done = 0; done < list->count;) {
		unsigned int got = rwpi_bring(evictor, list->address + done,
					      result, list->count - done);

		for (unsigned int i = 0; i < got; i++, done++) {
			uint64_t unit = list->address[done];

			answered(
				evictor, &list->event[done],
				(struct rwp_range){
					unit,
					rwpi_find_memory(evictor, unit)->unit },
				result[i]);
		}
	}
	list->count = 0;
}

static void fetch_later(struct rwp_evictor *evictor, struct fetch_list *list,
			const struct rwp_event *event, uint64_t unit)
{
	for (unsigned int i = 0; i < list->count; i++)
		if (list->address[i] == unit)
			return;
	list->address[list->count] = unit;
	list->event[list->count++] = *event;
	if (list->count == PAGES_AT_ONCE)
		fetch_now(evictor, list);
}

/* From the staging area: our own memory, right until the batch ends. */
static int fill_from_staging(struct rwp_evictor *evictor, uint64_t unit,
			     _Atomic uint8_t *flags)
{
	const struct evict_batch *batch = &evictor->batch;
	uint64_t size = batch->memory->unit;
	unsigned int n = 0;
	int ret;

	while (rwpi_batch_address(batch, n) != unit)
		n++;
	ret = rwpi_fill_unit(evictor, unit, evictor->staging + n * size, size);
	if (!ret)
		*flags |= UNIT_TOUCHED;
	return ret;
}

static void missing(struct rwp_evictor *evictor, struct fetch_list *list,
		    const struct rwp_event *event,
		    const struct evict_memory *memory, uint64_t page,
		    _Atomic uint8_t *flags)
{
	uint64_t unit = page & ~(memory->unit - 1);
	struct rwp_range range = { page, memory->base };

	evictor->stats.served_missing++;
	if (flags && *flags & UNIT_STAGED && !(*flags & UNIT_TOUCHED)) {
		answered(evictor, event, range,
			 fill_from_staging(evictor, unit, flags));
		return;
	}
	/* A chosen one was there a moment ago: what we saved is not meant. */
	if (!flags &&
	    !rwp_store_has(evictor->store, rwpi_unit_key(memory, unit))) {
		fetch_later(evictor, list, event, unit);
		return;
	}
	answered(evictor, event, range, rwpi_fill_zero(evictor, memory, page));
}

static void minor(struct rwp_evictor *evictor, const struct rwp_event *event,
		  const struct evict_memory *memory, uint64_t page)
{
	struct rwp_range range = { page, memory->base };
	ssize_t got = rwp_continue(evictor->rwp, range, 0, NULL);

	evictor->stats.served_minor++;
	/* -EEXIST: mapped meanwhile; -EFAULT: not in the file any more. */
	answered(evictor, event, range, got < 0 ? got : 0);
}

static void armed(struct rwp_evictor *evictor, const struct rwp_event *event,
		  const struct evict_memory *memory, uint64_t page)
{
	uint64_t unit = page & ~(memory->unit - 1);
	struct rwp_range range = { unit, memory->unit };

	evictor->stats.served_rwp++;
	answered(evictor, event, range, rwp_resolve(evictor->rwp, range, NULL));
}

static void fault(struct rwp_evictor *evictor, struct fetch_list *list,
		  const struct rwp_event *event)
{
	const struct evict_memory *memory =
		rwpi_find_memory(evictor, event->range.start);
	_Atomic uint8_t *flags;
	uint64_t page;

	/* Memory that is the caller's to serve, were it not that we read it. */
	if (!memory)
		return;
	page = event->range.start & ~(memory->base - 1);
	flags = rwpi_unit_flags(evictor, page);
	if (flags && !(*flags & UNIT_STAGED)) {
		/* Woken when the claim has ended. */
		if (*flags & UNIT_CLAIMED)
			return;
		*flags |= UNIT_TOUCHED;
	}
	switch (event->kind) {
	case RWP_EVENT_MISSING:
		missing(evictor, list, event, memory, page, flags);
		break;
	case RWP_EVENT_MINOR:
		minor(evictor, event, memory, page);
		break;
	default:
		armed(evictor, event, memory, page);
	}
}

static bool is_fault(const struct rwp_event *event)
{
	return event->kind == RWP_EVENT_MISSING ||
	       event->kind == RWP_EVENT_MINOR || event->kind == RWP_EVENT_RWP;
}

/* Events first: nothing can be filled before they are read. */
static void handle(struct rwp_evictor *evictor, const struct rwp_event *event,
		   unsigned int count)
{
	struct fetch_list list = { .count = 0 };

	for (unsigned int i = 0; i < count; i++)
		if (event[i].kind == RWP_EVENT_REMOVE ||
		    event[i].kind == RWP_EVENT_UNMAP)
			rwpi_forget(evictor, event[i].range);
	for (unsigned int i = 0; i < count; i++)
		if (is_fault(&event[i]))
			fault(evictor, &list, &event[i]);
	if (list.count)
		fetch_now(evictor, &list);
}

/* Try those that were put off once more. */
static void handle_pending(struct rwp_evictor *evictor)
{
	struct rwp_event event[PENDING_MAX];
	unsigned int count = evictor->pendings;

	memcpy(event, evictor->pending, count * sizeof(event[0]));
	evictor->pendings = 0;
	handle(evictor, event, count);
}

int rwpi_serve(struct rwp_evictor *evictor, unsigned int max,
	       struct rwp_error *err)
{
	struct rwp_event event[PAGES_AT_ONCE];
	unsigned int answers = 0;

	/*
	 * While an event is being handled by the thread it belongs to, every
	 * answer fails: let that thread run, and try again.
	 */
	for (int round = 0; round < ROUNDS; round++) {
		unsigned int room = max - answers;
		int got = rwp_read_events(
			evictor->rwp, event,
			room < PAGES_AT_ONCE ? room : PAGES_AT_ONCE, err);

		if (got < 0)
			return got;
		handle_pending(evictor);
		handle(evictor, event, got);
		answers += got;
		if (answers == max || (!got && !evictor->pendings))
			break;
		if (evictor->pendings)
			sched_yield();
	}
	return answers;
}

int rwp_evictor_serve(struct rwp_evictor *evictor, unsigned int max,
		      struct rwp_error *err)
{
	int ret;

	rwpi_gate_enter(evictor, true);
	ret = rwpi_serve(evictor, max, err);
	rwpi_gate_leave(evictor);
	return ret;
}

bool rwpi_evictor_pending(struct rwp_evictor *evictor)
{
	bool pending;

	rwpi_gate_enter(evictor, true);
	pending = evictor->pendings;
	rwpi_gate_leave(evictor);
	return pending;
}
