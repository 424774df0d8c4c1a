/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What to compare with: a bare loop over io_uring with registered file and
 * buffers; and how to compare.
 *
 * The machine may have other work, which comes and goes. So the loop and what is
 * measured take turns at small parts of the work, the share is taken of each
 * pair, and the median of these counts.
 */
#ifndef RWP_BENCH_BARE_H
#define RWP_BENCH_BARE_H

#include <liburing.h>
#include <rwp.h>
#include <stdbool.h>
#include <stddef.h>

#define DEPTH 64
#define TOTAL (256UL << 20)
#define PART (64UL << 20) /* bytes a turn */
#define TURNS 15 /* odd */

/* A call of the library that has to succeed. */
#define OK(call)                         \
	do {                             \
		struct rwp_error error;  \
                                         \
		if ((call) < 0)          \
			die(error.text); \
	} while (0)

void die(const char *what) __attribute__((noreturn));
double now(void);

/* @len bytes that cannot be compressed. */
void fill_random(char *memory, size_t len);

struct bare {
	struct io_uring ring;
	char *buffer;
	size_t size;
	int fd;
};

/* Requests of @size bytes to the file, in direct I/O where it has that. */
void bare_open(struct bare *bare, const char *path, size_t size);
void bare_close(struct bare *bare);

/* Write or read @count pages, those of @order; returns how long it took. */
double bare_run(struct bare *bare, bool write, const unsigned int *order,
		unsigned int count);

struct shares {
	double bare[TURNS], other[TURNS], share[TURNS];
};

/* Print one line; returns the share, in percent. */
double shares_report(struct shares *shares, const char *what, size_t size);

#endif
