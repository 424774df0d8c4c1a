/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What can be known of a process before it is stopped. */
#ifndef RWP_TARGET_H
#define RWP_TARGET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "rwp.h"

/* From /proc/PID/status, or that of a thread. */
struct rwpi_status {
	char state; /* as in ps: R, S, D, T, t, Z, X, I */
	int seccomp; /* 0 none, 1 strict, 2 filter */
	pid_t tracer; /* 0: none */
	pid_t tgid;
	bool has_memory; /* neither a kernel thread nor about to end */
	bool kthread;
};

/* Takes no lock and no memory. */
void rwpi_parse_status(const char *text, struct rwpi_status *status);

/* 0 or a negative errno. */
int rwpi_read_status(const char *path, struct rwpi_status *status);

/* Whether @pid can be attached to at all, as far as can be told from outside. */
int rwpi_check_target(pid_t pid, struct rwp_error *err);

/* A thread that could be stopped to make the call. */
struct rwpi_thread {
	pid_t tid;
	int seccomp;
};

/*
 * The threads to try, the best first: without seccomp, and the first thread of
 * the process before others. Returns how many, or a negative errno.
 */
int rwpi_list_threads(pid_t pid, struct rwpi_thread *thread, int max,
		      struct rwp_error *err);

/* The address of a system call instruction that thread @tid can execute. */
int rwpi_find_syscall(pid_t tid, uint64_t *addr, struct rwp_error *err);

#endif
