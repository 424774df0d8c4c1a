// SPDX-License-Identifier: LGPL-2.1-or-later
/* Many requests to the data file at once, through io_uring. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "store.h"

static int ring_error(struct rwp_error *err, int code)
{
	if (code == -EPERM || code == -ENOSYS)
		return rwpi_error(
			err, code,
			"io_uring is not available: see kernel.io_uring_disabled, seccomp and CONFIG_IO_URING");
	return rwpi_fail(err, code, "cannot set up io_uring");
}

/*
 * Registering pins the buffers and keeps the file from being looked up for each
 * request. A small RLIMIT_MEMLOCK may forbid the former: it works without.
 *
 * The registered file has one more use: the ring holds a reference to it until
 * its last request has ended, also when the process is killed. The lock of the
 * store is on the same open file, so nobody else can open the store, and hand
 * out the units again that a request of the dead one is still writing to.
 */
static int register_all(struct store_ring *ring, int fd, struct rwp_error *err)
{
	struct iovec iov[ring->depth];
	int ret = io_uring_register_files(&ring->ring, &fd, 1);

	if (ret)
		return rwpi_fail(err, ret, "cannot register the store's file");
	for (unsigned int i = 0; i < ring->depth; i++)
		iov[i] = (struct iovec){ .iov_base = rwpi_ring_buffer(ring, i),
					 .iov_len = PIECE_MAX };
	ring->fixed = !io_uring_register_buffers(&ring->ring, iov, ring->depth);
	return 0;
}

int rwpi_ring_init(struct store_ring *ring, unsigned int depth, int fd,
		   struct rwp_error *err)
{
	size_t bytes = (size_t)depth * PIECE_MAX;
	int ret;

	ring->depth = depth;
	ring->buffer = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ring->buffer == MAP_FAILED) {
		ring->buffer = NULL;
		return rwpi_fail(err, -ENOMEM, "buffers of the store");
	}
	ret = io_uring_queue_init(depth, &ring->ring, 0);
	if (ret)
		return ring_error(err, ret);
	ring->live = true;
	/* A child has no use for it, and must not keep the file's lock. */
	io_uring_ring_dontfork(&ring->ring);
	return register_all(ring, fd, err);
}

void rwpi_ring_exit(struct store_ring *ring)
{
	if (ring->live)
		io_uring_queue_exit(&ring->ring);
	if (ring->buffer)
		munmap(ring->buffer, (size_t)ring->depth * PIECE_MAX);
	free(ring->pack);
	free(ring->idle);
}

int rwpi_ring_begin(struct store_ring *ring, size_t size)
{
	if (ring->dead)
		return ring->dead;
	if (!ring->pack)
		ring->pack = calloc(ring->depth, size);
	if (!ring->idle)
		ring->idle = calloc(ring->depth, sizeof(*ring->idle));
	if (!ring->pack || !ring->idle)
		return -ENOMEM;
	/* The lowest number on top: few buffers stay warm in the cache. */
	for (unsigned int i = 0; i < ring->depth; i++)
		ring->idle[i] = ring->depth - 1 - i;
	return 0;
}

int rwpi_ring_queue(struct store_ring *ring, bool write, unsigned int n,
		    char *data, unsigned int len, uint64_t at)
{
	bool fixed = ring->fixed && data >= ring->buffer &&
		     data < ring->buffer + (size_t)ring->depth * PIECE_MAX;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->ring);

	if (!sqe) {
		int ret = rwpi_ring_submit(ring);

		if (ret)
			return ret;
		sqe = io_uring_get_sqe(&ring->ring);
		if (!sqe)
			return -EAGAIN;
	}
	if (write && fixed)
		io_uring_prep_write_fixed(sqe, 0, data, len, at, n);
	else if (write)
		io_uring_prep_write(sqe, 0, data, len, at);
	else if (fixed)
		io_uring_prep_read_fixed(sqe, 0, data, len, at, n);
	else
		io_uring_prep_read(sqe, 0, data, len, at);
	sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data64(sqe, (uint64_t)n << 32 | len);
	ring->inflight++;
	return 0;
}

int rwpi_ring_submit(struct store_ring *ring)
{
	int ret;

	do {
		ret = io_uring_submit(&ring->ring);
	} while (ret == -EINTR || ret == -EAGAIN);
	return ret < 0 ? ret : 0;
}

int rwpi_ring_wait(struct store_ring *ring, unsigned int *n, int *error)
{
	struct io_uring_cqe *cqe;
	uint64_t data;
	int ret;

	if (io_uring_peek_cqe(&ring->ring, &cqe)) {
		do {
			ret = io_uring_submit_and_wait(&ring->ring, 1);
		} while (ret == -EINTR || ret == -EAGAIN);
		if (ret < 0)
			return ret;
		ret = io_uring_peek_cqe(&ring->ring, &cqe);
		if (ret)
			return ret;
	}
	data = io_uring_cqe_get_data64(cqe);
	*n = data >> 32;
	*error = 0;
	/* Short: the file was cut off, or the disk is full. */
	if (cqe->res < 0)
		*error = cqe->res;
	else if ((uint32_t)cqe->res != (uint32_t)data)
		*error = -ENODATA;
	io_uring_cqe_seen(&ring->ring, cqe);
	ring->inflight--;
	return 0;
}
