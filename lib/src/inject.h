/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The part of attaching that stops the target: done by a process of its own. */
#ifndef RWP_INJECT_H
#define RWP_INJECT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What to do. Made before the helper starts: it may not allocate. */
struct rwpi_job {
	pid_t tid; /* the thread to stop */
	int pidfd; /* its pidfd, to fetch the descriptor through */
	uint64_t insn; /* where a system call instruction is */
	bool suspend_seccomp;
	char status[48]; /* its /proc/.../status */
	char mem[48]; /* and /proc/.../mem */
	int sock; /* where the verdict goes, and the descriptor with it */
};

/* How far it came: names the message that goes with a code. */
enum rwpi_stage {
	RWPI_SEIZE, /* becoming its tracer */
	RWPI_STOP, /* waiting until it stops */
	RWPI_CHECK, /* looking at its registers and restrictions */
	RWPI_SECCOMP, /* it is under seccomp */
	RWPI_DISPATCH, /* or its system calls are dispatched to itself */
	RWPI_CREATE, /* userfaultfd() in the target */
	RWPI_FETCH, /* pidfd_getfd() here */
	RWPI_LOST, /* the helper gave no answer */
	RWPI_DONE,
};

struct rwpi_verdict {
	enum rwpi_stage stage;
	int code; /* 0 or a negative errno */
	bool user_mode_only;
};

/*
 * Carry @job out and send the verdict. Called in a process that is a copy of
 * one with several threads: nothing in it takes a lock or memory.
 */
void rwpi_inject(const struct rwpi_job *job);

#endif
