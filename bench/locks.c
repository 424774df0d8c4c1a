// SPDX-License-Identifier: GPL-2.0
/*
 * How long the mmap lock is held: the kernel's trace events with a clock that
 * counts instructions, as the readings do. Tracing costs some hundred of them.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define TRACING "/sys/kernel/tracing/"
#define EVENTS TRACING "events/mmap_lock/"

void locks_start(void)
{
	write_file(TRACING "trace_clock", "x86-tsc");
	write_file(TRACING "set_event_pid", "%d", getpid());
	write_file(EVENTS "mmap_lock_acquire_returned/enable", "1");
	write_file(EVENTS "mmap_lock_released/enable", "1");
	write_file(TRACING "trace", "%s", "");
}

static void keep_longest(uint64_t *longest, uint64_t time)
{
	if (time > *longest)
		*longest = time;
}

/*
 * Lines look like this, the number is the clock:
 *   rwp-bench-1 [000] ..... 5000000: mmap_lock_released: mm=... write=true
 */
void locks_stop(struct held *held)
{
	uint64_t taken = 0;
	char line[256];
	FILE *trace;

	write_file(EVENTS "enable", "0");
	trace = fopen(TRACING "trace", "re");
	if (!trace)
		err(1, "trace");
	*held = (struct held){ };
	while (fgets(line, sizeof(line), trace)) {
		const char *event = strstr(line, ": mmap_lock_");
		const char *clock = event;
		uint64_t now;

		if (!event)
			continue;
		while (clock > line && clock[-1] != ' ')
			clock--;
		now = strtoull(clock, NULL, 10);
		if (strstr(event, "acquire_returned")) {
			taken = now;
		} else if (taken) {
			keep_longest(strstr(event, "write=true") ?
				     &held->write : &held->read, now - taken);
			taken = 0;
		}
	}
	fclose(trace);
}
