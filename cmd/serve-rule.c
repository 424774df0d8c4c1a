// SPDX-License-Identifier: GPL-2.0
/* What is to be evicted: the old, and as much as is beyond the target. */
#include "serve-evict.h"

struct evict_rule evict_rule(const uint64_t *count, uint64_t windows,
			     uint64_t target)
{
	struct evict_rule rule = { .older = RWP_AGE_NONE };
	uint64_t populated = 0, old = 0;
	unsigned int age;

	for (age = 0; age <= RWP_AGE_MAX; age++)
		populated += count[age];
	/* By age: an age counts windows without an access. */
	if (windows && windows <= RWP_AGE_MAX) {
		rule.older = windows;
		for (age = windows; age <= RWP_AGE_MAX; age++)
			old += count[age];
	}
	/* By size: the oldest first, never what was accessed just now. */
	for (age = rule.older; target && populated - old > target && age > 1;) {
		uint64_t more = populated - old - target;

		age--;
		rule.some_of = age;
		rule.some = count[age] < more ? count[age] : more;
		if (rule.some == count[age]) {
			rule.older = age;
			rule.some = 0;
		}
		old += count[age] < more ? count[age] : more;
	}
	return rule;
}
