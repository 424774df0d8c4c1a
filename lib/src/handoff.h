/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef RWP_HANDOFF_H
#define RWP_HANDOFF_H

#include "internal.h"

/* More than any machine needs, and little enough to be compared pair by pair. */
#define RWP_HANDOFF_REGIONS_MAX 256
#define RWP_HANDOFF_TEXT_MAX 65536
#define RWP_HANDOFF_FDS_MAX 16

#endif
