/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The userfaultfd calls that RWP needs, one function each. A call that fails
 * ends the program: the demo has no use for a half-working descriptor.
 */
#ifndef RWP_DEMO_UFFD_H
#define RWP_DEMO_UFFD_H

#include <stdbool.h>
#include <stdint.h>

/* A context that starts out async: UFFD_FEATURE_RWP and RWP_ASYNC. */
int uffd_create(void);

void uffd_register(int uffd, uint64_t start, uint64_t len);
void uffd_unregister(int uffd, uint64_t start, uint64_t len);

/* Make the resident pages of a range inaccessible. */
void uffd_arm(int uffd, uint64_t start, uint64_t len);

/* Undo that, and wake the threads that wait for it. */
void uffd_resolve(int uffd, uint64_t start, uint64_t len);

/* From now on: the first access to an armed page blocks and sends a message. */
void uffd_set_sync(int uffd);

/* From now on: the kernel lets it through. Blocked threads are released. */
void uffd_set_async(int uffd);

/* A thread that touched an armed page and is blocked. */
struct rwp_fault {
	uint64_t address; /* of the page */
	uint32_t tid;
	bool write;
};

/* Take one message; false when none came in time. */
bool uffd_next_fault(int uffd, struct rwp_fault *fault, int timeout_ms);

/* How many threads are blocked, and how many of their messages are unread. */
struct blocked {
	unsigned int total;
	unsigned int unread;
};

struct blocked uffd_blocked(int uffd);

#endif
