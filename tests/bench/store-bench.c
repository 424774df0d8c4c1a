// SPDX-License-Identifier: GPL-2.0
/*
 * How fast the store saves and fetches, against a bare loop over io_uring with
 * registered file and buffers on the same file, with the same sizes and the same
 * number of requests in flight. The pages are random bytes: the store has to
 * write all of them, and to find out that it does.
 *
 * Loop and store take turns, several times, and the best of each counts: what
 * else the machine does can only make them slower.
 */
#include <fcntl.h>
#include <liburing.h>
#include <rwp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEPTH 64
#define TOTAL (256UL << 20)
#define BATCH (8UL << 20) /* bytes a call of the store has to do */
#define ROUNDS 5

enum { WRITE, READ, READ_RANDOM, OPERATIONS };

static const char *const names[] = { "save", "fetch", "fetch, random order" };

static char *memory; /* TOTAL bytes */
static unsigned int *order; /* of the pages */

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void set_order(int operation, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		order[i] = i;
	for (unsigned int i = count; operation == READ_RANDOM && i-- > 1;) {
		unsigned int other = random() % (i + 1), swap = order[i];

		order[i] = order[other];
		order[other] = swap;
	}
}

/* The loop to compare with. */
struct bare {
	struct io_uring ring;
	char *buffer;
	int fd;
};

static void bare_open(struct bare *bare, const char *path, size_t size)
{
	struct iovec iov[DEPTH];

	bare->fd = open(path, O_RDWR | O_DIRECT);
	if (bare->fd < 0)
		bare->fd = open(path, O_RDWR);
	if (bare->fd < 0 || io_uring_queue_init(DEPTH, &bare->ring, 0) ||
	    io_uring_register_files(&bare->ring, &bare->fd, 1))
		die(path);
	bare->buffer = aligned_alloc(4096, DEPTH * size);
	for (unsigned int i = 0; i < DEPTH; i++)
		iov[i] = (struct iovec){ bare->buffer + i * size, size };
	memcpy(bare->buffer, memory, DEPTH * size);
	if (io_uring_register_buffers(&bare->ring, iov, DEPTH))
		die("buffers");
}

static void bare_close(struct bare *bare)
{
	io_uring_queue_exit(&bare->ring);
	close(bare->fd);
	free(bare->buffer);
}

static void bare_queue(struct bare *bare, int operation, size_t size,
		       unsigned int page, unsigned int buffer)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&bare->ring);
	char *data = bare->buffer + buffer * size;

	if (operation == WRITE)
		io_uring_prep_write_fixed(sqe, 0, data, size,
					  4096 + page * size, buffer);
	else
		io_uring_prep_read_fixed(sqe, 0, data, size, 4096 + page * size,
					 buffer);
	sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data64(sqe, buffer);
}

static double bare_run(struct bare *bare, int operation, size_t size)
{
	unsigned int count = TOTAL / size, next = 0, done = 0;
	double start = now();

	for (; next < DEPTH && next < count; next++)
		bare_queue(bare, operation, size, order[next], next);
	while (done < count) {
		struct io_uring_cqe *cqe;

		if (io_uring_submit_and_wait(&bare->ring, 1) < 0)
			die("io_uring");
		while (!io_uring_peek_cqe(&bare->ring, &cqe)) {
			unsigned int buffer = io_uring_cqe_get_data64(cqe);

			if (cqe->res != (int)size)
				die("bare loop");
			io_uring_cqe_seen(&bare->ring, cqe);
			done++;
			if (next < count)
				bare_queue(bare, operation, size, order[next++],
					   buffer);
		}
	}
	return now() - start;
}

static double store_run(struct rwp_store *store, int operation, size_t size)
{
	unsigned int count = TOTAL / size, batch = BATCH / size;
	struct rwp_store_page *page = calloc(batch, sizeof(*page));
	double start = now();

	for (unsigned int i = 0; i < count; i += batch) {
		struct rwp_error error;
		int ret;

		for (unsigned int j = 0; j < batch; j++) {
			page[j].key.offset = order[i + j] * size;
			page[j].data = memory + order[i + j] * size;
			page[j].len = size;
		}
		ret = operation == WRITE ?
			      rwp_store_save(store, page, batch, &error) :
			      rwp_store_fetch(store, page, batch, &error);
		if (ret) {
			fprintf(stderr, "%s\n", error.text);
			exit(1);
		}
	}
	free(page);
	return now() - start;
}

static int compare(const char *path, int operation, size_t size)
{
	double bare = 1e9, store = 1e9, share;
	unsigned int count = TOTAL / size;

	set_order(operation, count);
	for (int i = 0; i < ROUNDS; i++) {
		struct rwp_store_options options = { .depth = DEPTH };
		struct rwp_store *opened;
		struct rwp_error error;
		struct bare loop;
		double took;

		if (rwp_store_open(path, &options, &opened, &error)) {
			fprintf(stderr, "%s\n", error.text);
			exit(1);
		}
		took = store_run(opened, operation, size);
		store = took < store ? took : store;
		rwp_store_close(opened);
		bare_open(&loop, path, size);
		/* Nothing that the store has written is lost for the next. */
		if (operation != WRITE || i + 1 < ROUNDS) {
			took = bare_run(&loop, operation, size);
			bare = took < bare ? took : bare;
		}
		bare_close(&loop);
	}
	share = 100 * bare / store;
	printf("%7zu KiB  %-20s %7.0f MB/s bare %7.0f MB/s store %4.0f %%\n",
	       size >> 10, names[operation], TOTAL / bare / 1e6,
	       TOTAL / store / 1e6, share);
	fflush(stdout);
	return share < 80;
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = { 4 << 10, 64 << 10, 2 << 20 };
	char path[256], index[300];
	int slow = 0;

	snprintf(path, sizeof(path), "%s/store-bench.%d",
		 argc > 1 ? argv[1] : ".", (int)getpid());
	snprintf(index, sizeof(index), "%s.index", path);
	memory = aligned_alloc(4096, TOTAL);
	order = calloc(TOTAL / 4096, sizeof(*order));
	for (size_t i = 0; i < TOTAL / sizeof(int); i++)
		((int *)memory)[i] = random() * 7 + i;

	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (int operation = 0; operation < OPERATIONS; operation++)
			slow += compare(path, operation, sizes[i]);
		unlink(path);
		unlink(index);
	}
	free(memory);
	free(order);
	return slow != 0;
}
