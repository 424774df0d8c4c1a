/* SPDX-License-Identifier: GPL-2.0 */
/* A process that is being tracked, window by window, until something ends it. */
#ifndef RWP_SESSION_H
#define RWP_SESSION_H

#include <argp.h>
#include <rwp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct session {
	pid_t pid;
	char name[64]; /* of the program, fit to be printed */
	struct rwp *rwp;
	struct rwp_tracker *tracker;
	uint64_t interval; /* nanoseconds */
	uint64_t next; /* when the window under way is to end */
	uint64_t started; /* since the epoch */
	uint64_t realtime; /* when the last one ended, since the epoch */
	struct rwp_tracker_stats stats; /* of the last one */
};

enum session_end {
	SESSION_GOES_ON,
	SESSION_STOPPED, /* by SIGINT, SIGTERM or SIGHUP */
	SESSION_GONE, /* the process has ended or executed another program */
	SESSION_FAILED, /* complained about */
};

struct session_options {
	pid_t pid;
	uint64_t interval;
	uint64_t count; /* windows; 0: until something ends it */
	struct rwp_filter filter;
	bool suspend_seccomp;
};

/*
 * The options that track and record have in common, as a child parser whose input
 * is a struct session_options.
 */
extern const struct argp_child session_children[];

/* Attach and begin the first window. Returns an exit code. */
int session_open(struct session *session,
		 const struct session_options *options);

/*
 * Call @each after every window, as many as were asked for, or until something
 * ends it. What @each returns other than 0 ends it too, and is returned.
 */
int session_run(struct session *session, const struct session_options *options,
		int (*each)(struct session *session, void *arg), void *arg,
		enum session_end *end);

/* Leave the process as it was. */
void session_close(struct session *session);

#endif
