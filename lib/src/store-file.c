// SPDX-License-Identifier: LGPL-2.1-or-later
/* The two files of a store: creating, opening, locking them. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "store.h"

/* How long the requests of a process that was killed may take to end. */
#define LOCK_TRIES 300
#define LOCK_PAUSE_NS 10000000

int rwpi_read_all(int fd, void *data, size_t len, uint64_t at)
{
	for (size_t done = 0; done < len;) {
		ssize_t got =
			pread(fd, (char *)data + done, len - done, at + done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			return -ENODATA;
		done += got;
	}
	return 0;
}

int rwpi_write_all(int fd, const void *data, size_t len, uint64_t at)
{
	for (size_t done = 0; done < len;) {
		ssize_t got = pwrite(fd, (const char *)data + done, len - done,
				     at + done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EFBIG || errno == EDQUOT ? -ENOSPC :
								   -errno;
		if (!got)
			return -ENOSPC;
		done += got;
	}
	return 0;
}

static uint64_t header_check(const struct store_header *header)
{
	return XXH3_64bits(header, offsetof(struct store_header, check));
}

/*
 * The descriptor may be for direct I/O, which wants whole and aligned blocks;
 * writing in place is safe, all of it lies in one.
 */
int rwpi_store_write_header(struct rwp_store *store, bool index, uint32_t ready)
{
	_Alignas(4096) char block[STORE_HEADER] = { 0 };
	struct store_header header = {
		.version = STORE_VERSION,
		.unit = store->unit,
		.id = store->id,
		.ready = ready,
		.groups = index ? store->groups : 0,
	};

	memcpy(header.magic, index ? STORE_INDEX_MAGIC : STORE_DATA_MAGIC,
	       sizeof(header.magic));
	header.check = header_check(&header);
	memcpy(block, &header, sizeof(header));
	return rwpi_write_all(index ? store->index : store->data, block,
			      sizeof(block), 0);
}

static int damaged(const struct rwp_store *store, bool index, const char *what,
		   struct rwp_error *err)
{
	return rwpi_error(err, -EBADMSG, "%s%s: %s", store->path,
			  index ? ".index" : "", what);
}

static int read_header(struct rwp_store *store, bool index,
		       struct store_header *header, struct rwp_error *err)
{
	_Alignas(4096) char block[STORE_HEADER];
	int ret = rwpi_read_all(index ? store->index : store->data, block,
				sizeof(block), 0);

	if (ret == -ENODATA)
		return damaged(store, index, "too short for a store", err);
	if (ret)
		return rwpi_fail(err, ret, "%s%s", store->path,
				 index ? ".index" : "");
	memcpy(header, block, sizeof(*header));
	if (memcmp(header->magic, index ? STORE_INDEX_MAGIC : STORE_DATA_MAGIC,
		   sizeof(header->magic)))
		return damaged(store, index, "not a store", err);
	if (header->version != STORE_VERSION)
		return rwpi_error(err, -EBADMSG,
				  "%s%s: version %u of the format, not %u",
				  store->path, index ? ".index" : "",
				  header->version, STORE_VERSION);
	if (header->check != header_check(header) ||
	    (header->unit != 512 && header->unit != 4096))
		return damaged(store, index, "the header is damaged", err);
	return 0;
}

static int open_file(const struct rwp_store *store, const char *suffix,
		     bool create, struct rwp_error *err)
{
	bool writable = !(store->flags & RWP_STORE_READ_ONLY);
	int flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC;
	char *path;
	int fd;

	if (asprintf(&path, "%s%s", store->path, suffix) < 0)
		return rwpi_fail(err, -ENOMEM, "%s", store->path);
	fd = open(path, flags | (create && writable ? O_CREAT : 0), 0600);
	if (fd < 0)
		fd = rwpi_fail(err, -errno, "%s", path);
	free(path);
	return fd;
}

/* Waits for the last requests of a process that has just been killed. */
static int lock_file(const struct rwp_store *store, struct rwp_error *err)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };
	int how = store->flags & RWP_STORE_READ_ONLY ? LOCK_SH : LOCK_EX;

	for (int tries = 0; flock(store->data, how | LOCK_NB); tries++) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return rwpi_fail(err, -errno, "%s", store->path);
		if (tries == LOCK_TRIES)
			return rwpi_error(err, -EBUSY,
					  "%s: another process has it open",
					  store->path);
		nanosleep(&pause, NULL);
	}
	return 0;
}

/*
 * The unit direct I/O needs on this file system, 0 where it is of no use. Memory
 * files take O_DIRECT and ignore it.
 */
static unsigned int direct_unit(int fd)
{
	unsigned int align = 0;
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (!statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) &&
	    stx.stx_mask & STATX_DIOALIGN && stx.stx_dio_offset_align)
		align = stx.stx_dio_offset_align > stx.stx_dio_mem_align ?
				stx.stx_dio_offset_align :
				stx.stx_dio_mem_align;
#else
	(void)fd;
#endif
	return align <= 512 ? (align ? 512 : 0) : align <= 4096 ? 4096 : 0;
}

static void set_direct(struct rwp_store *store)
{
	unsigned int unit = direct_unit(store->data);
	int flags = fcntl(store->data, F_GETFL);

	if (store->flags & RWP_STORE_BUFFERED || !unit || unit > store->unit ||
	    flags < 0)
		return;
	/* It may be refused still: then through the page cache. */
	fcntl(store->data, F_SETFL, flags | O_DIRECT);
}

/*
 * Data first, then the index, and the data is marked as ready last: an index
 * that is missing after that was lost, and before it never held anything.
 */
static int create(struct rwp_store *store, struct rwp_error *err)
{
	unsigned int unit = direct_unit(store->data);
	int ret;

	if (getrandom(&store->id, sizeof(store->id), 0) != sizeof(store->id))
		return rwpi_fail(err, -errno, "getrandom");
	store->unit = unit ? unit : 512;
	ret = rwpi_store_write_header(store, false, 0);
	if (!ret && ftruncate(store->index, 0))
		ret = -errno;
	if (!ret)
		ret = rwpi_store_write_header(store, true, 1);
	if (!ret)
		ret = rwpi_store_write_header(store, false, 1);
	return ret ? rwpi_fail(err, ret, "%s: cannot be created", store->path) :
		     0;
}

static int check_pair(struct rwp_store *store, const struct store_header *data,
		      struct rwp_error *err)
{
	struct store_header index;
	struct stat st;
	int ret = read_header(store, true, &index, err);

	if (ret)
		return ret;
	if (index.id != data->id || index.unit != data->unit)
		return damaged(store, true, "belongs to another store", err);
	if (fstat(store->index, &st))
		return rwpi_fail(err, -errno, "%s.index", store->path);
	if ((uint64_t)st.st_size <
	    STORE_HEADER + (uint64_t)index.groups * GROUP_BYTES)
		return damaged(store, true, "cut off", err);
	store->id = data->id;
	store->unit = data->unit;
	store->groups = index.groups;
	return 0;
}

/* What is there: @header of the data, or zeros where it is to be made. */
static int look(struct rwp_store *store, struct store_header *header,
		struct rwp_error *err)
{
	struct stat st;
	int ret;

	memset(header, 0, sizeof(*header));
	if (fstat(store->data, &st))
		return rwpi_fail(err, -errno, "%s", store->path);
	if (!S_ISREG(st.st_mode))
		return rwpi_error(err, -EINVAL, "%s: not a regular file",
				  store->path);
	if (!st.st_size && !(store->flags & RWP_STORE_READ_ONLY))
		return 0;
	ret = read_header(store, false, header, err);
	if (!ret && !header->ready && store->flags & RWP_STORE_READ_ONLY)
		ret = damaged(store, false, "was never made", err);
	return ret;
}

static int open_index(struct rwp_store *store,
		      const struct store_header *header, struct rwp_error *err)
{
	struct stat st;

	store->index = open_file(store, ".index", !header->ready, err);
	if (store->index == -ENOENT)
		return damaged(store, true, "is missing", err);
	if (store->index < 0)
		return store->index;
	/* An index without its data: do not make that worse. */
	if (!header->version && !fstat(store->index, &st) && st.st_size)
		return damaged(store, false, "empty, but its index is not",
			       err);
	return 0;
}

int rwpi_store_files(struct rwp_store *store, struct rwp_error *err)
{
	struct store_header header;
	int ret;

	store->data = open_file(store, "", true, err);
	if (store->data < 0)
		return store->data;
	/* Before anything is looked at: it may be in the making. */
	ret = lock_file(store, err);
	if (!ret)
		ret = look(store, &header, err);
	if (!ret)
		ret = open_index(store, &header, err);
	if (ret)
		return ret;
	ret = header.ready ? check_pair(store, &header, err) :
			     create(store, err);
	if (!ret)
		set_direct(store);
	return ret;
}
