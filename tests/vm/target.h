/* SPDX-License-Identifier: GPL-2.0 */
/* Processes to attach to. */
#ifndef RWP_TEST_TARGET_H
#define RWP_TEST_TARGET_H

#include <rwp.h>
#include <stdbool.h>
#include <sys/types.h>

/*
 * Run @body in a process of its own. It has to call target_ready() once; then
 * this returns. What it returns is its exit code.
 */
pid_t target_start(int (*body)(void));
void target_ready(void);

/* Wait for its end and check that it left with code 0. */
void target_join(pid_t pid);

/* The letter of /proc/PID/status, and whether somebody traces it. */
char target_state(pid_t pid);
bool target_is_traced(pid_t pid);

/* Wait until it is in this state; fails after some seconds. */
void target_wait_state(pid_t pid, char state);

/* A word for each descriptor it has open; to be compared, and freed. */
char *target_descriptors(pid_t pid);

/*
 * Attach. Where the kernel has no RWP the work inside the target is done all the
 * same, and NULL is returned. Any other error fails the case.
 */
struct rwp *attach(pid_t pid, unsigned int flags);

/* Attach and close, @count times. */
void attach_often(pid_t pid, unsigned int count);

/* The error of an attempt that has to fail. */
struct rwp_error refused(pid_t pid, unsigned int flags);

void nap_ms(unsigned int ms);

#endif
