/* SPDX-License-Identifier: GPL-2.0 */
/* A tracker with ages of the test's own, in place of the library's. */
#ifndef RWP_FAKE_TRACKER_H
#define RWP_FAKE_TRACKER_H

#include "session.h"

#define FAKE_PAGES 1000

/* Two mappings, 100 pages apart; the ages of each follow from @seed. */
void fake_window(struct session *session, unsigned int seed);

/* What state page @page of mapping @index has there. */
int fake_state(unsigned int index, unsigned int page, unsigned int seed);

#endif
