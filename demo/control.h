/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What guest and manager share: a memfd with the orders to the vCPU threads,
 * their progress, and a record for each page of guest memory. It is not part
 * of guest memory, so looking at it never touches a page under test.
 *
 * The records are the truth that the manager's findings are measured against.
 * It is exact without ever stopping a vCPU:
 *
 * - In a window each vCPU walks a fixed list of pages, over and over.
 * - It writes the record of a page before it touches the page.
 * - The manager ends a window when every vCPU has begun and finished a whole
 *   pass after the memory was armed. By then each page on a list has been
 *   touched while armed, and no page off the lists was touched at all.
 * - The lists change only while every vCPU is parked.
 *
 * So there is no such thing as a page touched on the edge of a window.
 */
#ifndef RWP_DEMO_CONTROL_H
#define RWP_DEMO_CONTROL_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#define MAX_VCPUS 16

enum order {
	ORDER_PARK = 1, /* touch nothing */
	ORDER_RUN, /* walk the list of the current window */
	ORDER_CHECK, /* compare all memory with what it should hold */
	ORDER_QUIT,
};

/* An errand sends a vCPU off its list, to touch one page once. */
enum errand_state {
	ERRAND_NONE,
	ERRAND_SENT, /* by the manager */
	ERRAND_TOUCHING, /* the vCPU's next instruction touches the page */
	ERRAND_DONE, /* the page was touched, the result is there */
};

struct errand {
	_Atomic uint32_t state;
	uint32_t page;
	uint32_t write;
	uint64_t sum; /* of the whole page, after the touch */
	uint64_t done_ns; /* when the touch was over */
};

struct vcpu_state {
	pid_t tid;
	_Atomic uint32_t obeyed; /* the last order carried out */
	_Atomic uint64_t passes; /* whole walks over the list */
	_Atomic uint64_t accesses; /* progress */
	_Atomic uint64_t damaged; /* pages seen with a wrong content */
	struct errand errand;
} __attribute__((aligned(64)));

struct page_record {
	_Atomic uint32_t window; /* the last window that touched it */
	_Atomic uint32_t writes;
};

struct control {
	_Atomic uint32_t order;
	_Atomic uint32_t window; /* counts from 1 */
	struct vcpu_state vcpu[MAX_VCPUS];
	struct page_record page[];
};

static inline size_t control_size(uint32_t pages)
{
	return sizeof(struct control) + pages * sizeof(struct page_record);
}

/*
 * The content of a page: word 0 counts the writes to it, every other word
 * follows from the page's number and its own.
 */
static inline uint64_t page_word(uint32_t page, uint32_t word,
				 uint32_t words_per_page)
{
	uint64_t x = ((uint64_t)page * words_per_page + word + 1) *
		     0x9e3779b97f4a7c15ULL;

	return x ^ (x >> 29);
}

#endif
