/* SPDX-License-Identifier: GPL-2.0 */
/* Which pages a vCPU touches in a window. */
#ifndef RWP_DEMO_WORKLOAD_H
#define RWP_DEMO_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct access {
	uint32_t page;
	bool write;
};

/* One walk of a vCPU: pages in the order they are touched, repeats included. */
struct walk {
	struct access *access;
	size_t count;
};

void walk_build(struct walk *walk, unsigned int vcpu, unsigned int window,
		uint32_t pages, uint64_t seed);

#endif
