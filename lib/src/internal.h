/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the library share and a user does not see: rwpi_*. */
#ifndef RWP_INTERNAL_H
#define RWP_INTERNAL_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "rwp.h"
#include "uapi.h"

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define NSEC_PER_SEC 1000000000ULL

/*
 * Nothing in here changes after it was made, but for @async: that is why a
 * handle may be shared.
 */
struct rwp {
	int fd;
	int pidfd; /* -1: none */
	int pagemap; /* of the process, opened while it was the right one: */
	int maps; /* both stay with its memory, whatever takes its number */
	pid_t pid;
	uint64_t features;
	bool user_mode_only;
	atomic_bool async;
};

/*
 * Fill @err, which may be NULL, and return @code, a negative errno. rwpi_fail()
 * puts the system's text for @code behind the message.
 */
int rwpi_error(struct rwp_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int rwpi_fail(struct rwp_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Monotonic nanoseconds. */
uint64_t rwpi_now(void);

/* close() that keeps errno and passes over -1. */
void rwpi_close(int fd);

/* The size of a page, and whether a range consists of whole ones. */
uint64_t rwpi_page_size(void);
int rwpi_check_range(struct rwp_range range, struct rwp_error *err);

/* Whether @flags are RWP_OPEN_* only. */
int rwpi_check_flags(unsigned int flags, struct rwp_error *err);

/* How a userfaultfd of the calling process came to be. */
struct rwpi_created {
	int fd; /* or a negative errno */
	bool user_mode_only;
};

struct rwpi_created rwpi_create(void);

/* The text to show where no userfaultfd could be created. */
int rwpi_create_error(struct rwp_error *err, int code);

/*
 * Make a handle of a descriptor whose UFFDIO_API is still to be called. @tid is
 * a thread of process @pid that has not ended: only that has the files of /proc
 * that show memory. On failure both descriptors stay with the caller.
 */
int rwpi_wrap(int fd, int pidfd, pid_t pid, pid_t tid, unsigned int flags,
	      struct rwp **out, struct rwp_error *err);

bool rwpi_is_userfaultfd(int fd);

/* The features UFFDIO_API was called with on a userfaultfd; 0: it was not. */
uint64_t rwpi_features_of(int fd);

/* Walk the mappings behind an open /proc/PID/maps. */
int rwpi_walk_mappings(int maps, pid_t pid, rwp_mapping_fn *fn, void *arg,
		       struct rwp_error *err);

#endif
