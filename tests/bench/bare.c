// SPDX-License-Identifier: GPL-2.0
#include "bare.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void die(const char *what)
{
	fprintf(stderr, "bench: %s\n", what);
	exit(2);
}

double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

void fill_random(char *memory, size_t len)
{
	for (size_t i = 0; i < len / sizeof(int); i++)
		((int *)memory)[i] = random() * 7 + i;
}

void bare_open(struct bare *bare, const char *path, size_t size)
{
	struct iovec iov[DEPTH];

	bare->size = size;
	bare->fd = open(path, O_RDWR | O_CREAT | O_DIRECT, 0600);
	if (bare->fd < 0)
		bare->fd = open(path, O_RDWR | O_CREAT, 0600);
	if (bare->fd < 0 || io_uring_queue_init(DEPTH, &bare->ring, 0) ||
	    io_uring_register_files(&bare->ring, &bare->fd, 1))
		die(path);
	bare->buffer = aligned_alloc(4096, DEPTH * size);
	for (unsigned int i = 0; i < DEPTH; i++)
		iov[i] = (struct iovec){ bare->buffer + i * size, size };
	fill_random(bare->buffer, DEPTH * size);
	if (io_uring_register_buffers(&bare->ring, iov, DEPTH))
		die("registering buffers");
}

void bare_close(struct bare *bare)
{
	io_uring_queue_exit(&bare->ring);
	close(bare->fd);
	free(bare->buffer);
}

static void queue(struct bare *bare, bool write, unsigned int page,
		  unsigned int buffer)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&bare->ring);
	char *data = bare->buffer + buffer * bare->size;
	off_t at = 4096 + page * bare->size;

	if (write)
		io_uring_prep_write_fixed(sqe, 0, data, bare->size, at, buffer);
	else
		io_uring_prep_read_fixed(sqe, 0, data, bare->size, at, buffer);
	sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data64(sqe, buffer);
}

double bare_run(struct bare *bare, bool write, const unsigned int *order,
		unsigned int count)
{
	unsigned int next = 0, done = 0;
	double start = now();

	for (; next < DEPTH && next < count; next++)
		queue(bare, write, order[next], next);
	while (done < count) {
		struct io_uring_cqe *cqe;

		if (io_uring_submit_and_wait(&bare->ring, 1) < 0)
			die("io_uring");
		while (!io_uring_peek_cqe(&bare->ring, &cqe)) {
			unsigned int buffer = io_uring_cqe_get_data64(cqe);

			if (cqe->res != (int)bare->size)
				die("the bare loop");
			io_uring_cqe_seen(&bare->ring, cqe);
			done++;
			if (next < count)
				queue(bare, write, order[next++], buffer);
		}
	}
	return now() - start;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *value)
{
	qsort(value, TURNS, sizeof(*value), compare);
	return value[TURNS / 2];
}

double shares_report(struct shares *shares, const char *what, size_t size)
{
	double share;

	for (int i = 0; i < TURNS; i++)
		shares->share[i] = 100 * shares->bare[i] / shares->other[i];
	share = median(shares->share);
	printf("%5zu KiB  %-20s %6.0f MB/s, bare %6.0f MB/s: %4.0f %% (%.0f to %.0f)\n",
	       size >> 10, what, PART / median(shares->other) / 1e6,
	       PART / median(shares->bare) / 1e6, share, shares->share[0],
	       shares->share[TURNS - 1]);
	fflush(stdout);
	return share;
}
