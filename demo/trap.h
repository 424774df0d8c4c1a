/* SPDX-License-Identifier: GPL-2.0 */
/* What sync mode is good for: an access to a cold page waits. */
#ifndef RWP_DEMO_TRAP_H
#define RWP_DEMO_TRAP_H

#include "manager.h"

/* One vCPU touches a cold page, blocks, and is served. */
void trap_and_serve(struct manager *manager, unsigned int window);

/*
 * Every vCPU touches a cold page and blocks; the switch to async releases them
 * all, whether their message was read or not.
 */
void trap_and_release(struct manager *manager, struct window_result *result);

#endif
