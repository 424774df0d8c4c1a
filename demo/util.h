/* SPDX-License-Identifier: GPL-2.0 */
/* Progress lines, the end of the program, and the watch over every step. */
#ifndef RWP_DEMO_UTIL_H
#define RWP_DEMO_UTIL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))

/* The name that error messages of this process start with. */
void set_process_name(const char *name);

/* Print one line to stderr and leave with status 1. */
void die(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((noreturn));

/* Like die(), with the text of errno at the end. */
void die_errno(const char *fmt, ...) PRINTF_LIKE(1, 2)
	__attribute__((noreturn));

/*
 * Print a progress line, and start the time limit anew. A step that outlives
 * the limit ends the program with a line that names the step.
 */
void step(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* A further line about the step under way; the limit runs on. */
void detail(const char *fmt, ...) PRINTF_LIKE(1, 2);

/*
 * Begin to watch the steps, and the guest: when it dies, so does the program.
 */
void watch_start(unsigned int limit_seconds, pid_t guest);

uint64_t now_ns(void);
void nap_us(unsigned int us);

/* malloc() that does not fail, zeroed. */
void *new_array(size_t count, size_t size);

/* A small generator with a seed, so that a run can be repeated. */
uint64_t random_next(uint64_t *state);
uint64_t random_below(uint64_t *state, uint64_t limit);

#endif
