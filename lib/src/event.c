// SPDX-License-Identifier: LGPL-2.1-or-later
/* Messages of a userfaultfd. */
#include <unistd.h>

#include "internal.h"

#define BATCH 64

static void decode_fault(const struct uffd_msg *msg, struct rwp_event *event)
{
	uint64_t flags = msg->arg.pagefault.flags;

	if (flags & UFFD_PAGEFAULT_FLAG_RWP)
		event->kind = RWP_EVENT_RWP;
	else if (flags & UFFD_PAGEFAULT_FLAG_MINOR)
		event->kind = RWP_EVENT_MINOR;
	else if (flags & UFFD_PAGEFAULT_FLAG_WP)
		event->kind = RWP_EVENT_OTHER;
	else
		event->kind = RWP_EVENT_MISSING;
	event->write = flags & UFFD_PAGEFAULT_FLAG_WRITE;
	event->range.start = msg->arg.pagefault.address;
}

static void decode(const struct rwp *rwp, const struct uffd_msg *msg,
		   struct rwp_event *event)
{
	*event = (struct rwp_event){ .kind = RWP_EVENT_OTHER };
	switch (msg->event) {
	case UFFD_EVENT_PAGEFAULT:
		decode_fault(msg, event);
		if (rwp->features & UFFD_FEATURE_THREAD_ID)
			event->tid = msg->arg.pagefault.feat.ptid;
		return;
	case UFFD_EVENT_REMOVE:
		event->kind = RWP_EVENT_REMOVE;
		break;
	case UFFD_EVENT_UNMAP:
		event->kind = RWP_EVENT_UNMAP;
		break;
	default:
		return;
	}
	event->range.start = msg->arg.remove.start;
	event->range.len = msg->arg.remove.end - msg->arg.remove.start;
}

int rwp_read_events(struct rwp *rwp, struct rwp_event *event, unsigned int max,
		    struct rwp_error *err)
{
	struct uffd_msg msg[BATCH];
	ssize_t got;

	if (max > BATCH)
		max = BATCH;
	got = read(rwp->fd, msg, max * sizeof(msg[0]));
	/* Who waited may have gone on since poll() looked. */
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got < 0)
		return rwpi_fail(err, -errno,
				 "cannot read the userfaultfd of process %d",
				 (int)rwp->pid);
	for (size_t i = 0; i < got / sizeof(msg[0]); i++)
		decode(rwp, &msg[i], &event[i]);
	return got / sizeof(msg[0]);
}
