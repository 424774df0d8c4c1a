/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RWP_SERVE_EVICT_H
#define RWP_SERVE_EVICT_H

#include <rwp.h>
#include <stdint.h>

/* Which ages are to go; the others stay. */
struct evict_rule {
	unsigned int older; /* all from this age on; RWP_AGE_NONE: none */
	unsigned int some_of; /* of this age */
	uint64_t some; /* so many pages */
};

/*
 * serve-rule.c: @count pages have each age. Those of @windows and more go (0: none for their
 * age), and as many of the oldest others as are beyond @target pages (0: none).
 */
struct evict_rule evict_rule(const uint64_t *count, uint64_t windows,
			     uint64_t target);

#endif
