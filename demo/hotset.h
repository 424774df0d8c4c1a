/* SPDX-License-Identifier: GPL-2.0 */
/* Reading the hot set of another process. */
#ifndef RWP_DEMO_HOTSET_H
#define RWP_DEMO_HOTSET_H

#include <stdint.h>
#include <sys/types.h>

/* /proc/PID/pagemap; takes the permission to ptrace-read the process. */
int hotset_open(pid_t pid);

/*
 * Set hot[i] to 1 for each page of the range that was accessed since it was
 * armed, to 0 for every other. Returns the number of hot pages.
 */
uint32_t hotset_scan(int pagemap, uint64_t start, uint32_t pages,
		     uint32_t page_size, uint8_t *hot);

#endif
