/* SPDX-License-Identifier: GPL-2.0 */
/*
 * rwp serve. The worker does the work: it takes machines over and evicts their
 * memory. Its keeper, a parent process of a few lines or systemd, has a second
 * copy of every descriptor, so that a worker that dies takes nothing along.
 */
#ifndef RWP_SERVE_H
#define RWP_SERVE_H

#include <rwp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum keep { KEEP_SUPERVISOR, KEEP_SYSTEMD, KEEP_NONE };

#define UIDS_MAX 16

struct serve_options {
	const char *socket, *store, *metrics;
	uint64_t interval, timeout; /* nanoseconds */
	uint64_t age; /* nanoseconds; 0: not by age */
	uint64_t target; /* bytes for each machine; 0: none */
	unsigned int target_percent; /* the same, of its memory */
	uint64_t bandwidth; /* bytes a second; 0: no limit */
	uint64_t store_size; /* bytes; 0: as the disk has */
	uint64_t unit; /* bytes that are evicted together; 0: a page */
	uint64_t machines; /* at most */
	uid_t uid[UIDS_MAX]; /* who may hand over besides us and root */
	unsigned int uids;
	enum keep keep;
	bool dry_run;
};

/* A descriptor with its keeper. Those of a machine have one name. */
#define KEPT_NAME 40
struct kept {
	char name[KEPT_NAME];
	int fd; /* -1: somebody has taken it */
};

/* ---- serve-keeper.c: the worker's side --------------------------------- */

struct keeper {
	enum keep kind;
	int fd; /* -1: there is nobody to tell anything */
};

/* The socket systemd listens on, if there is one. */
int keeper_connect(struct keeper *keeper, enum keep kind);

/* Tell it something in the words of sd_notify(3). What it does not hear is lost. */
void keeper_tell(const struct keeper *keeper, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Have descriptors kept until keeper_drop() with the same name. When the call
 * returns 0 they are safe; where nobody keeps any, that is what was asked for.
 */
int keeper_put(const struct keeper *keeper, const char *name, const int *fd,
	       unsigned int count);
void keeper_drop(const struct keeper *keeper, const char *name);

/* Descriptors systemd hands to a worker that it starts again; and how many. */
int keeper_inherit(struct kept **kept, unsigned int *count);

/* ---- serve-supervisor.c ------------------------------------------------ */

/*
 * Start the worker, and start it again when it dies, until it ends by itself.
 * Returns its exit code.
 */
int supervise(const struct serve_options *options,
	      int (*work)(const struct serve_options *options,
			  const struct keeper *keeper, struct kept *kept,
			  unsigned int count));

/* Block the signals that end us and make a descriptor to read them from. */
int serve_signals(sigset_t *set);

/* ---- serve-worker.c ---------------------------------------------------- */

int serve_work(const struct serve_options *options, const struct keeper *keeper,
	       struct kept *kept, unsigned int count);

/* ---- serve-socket.c ---------------------------------------------------- */

/* A listening socket at @path, in place of one nobody listens on any more. */
int listen_at(const char *path, mode_t mode);
bool is_listening(int fd);

#endif
