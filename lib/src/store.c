// SPDX-License-Identifier: LGPL-2.1-or-later
/* A store as a whole: opening, closing, what concerns one page without data. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store-index.h"

#define DEPTH 64
#define DEPTH_MAX 1024
#define STORE_FLAGS \
	(RWP_STORE_BUFFERED | RWP_STORE_NO_LZ4 | RWP_STORE_READ_ONLY)

static int check_options(const struct rwp_store_options *options,
			 struct rwp_error *err)
{
	if (options->flags & ~STORE_FLAGS)
		return rwpi_error(err, -EINVAL, "unknown store flags %#x",
				  options->flags & ~STORE_FLAGS);
	if (options->depth > DEPTH_MAX)
		return rwpi_error(
			err, -EINVAL,
			"%u requests in flight, at most %u are possible",
			options->depth, DEPTH_MAX);
	return 0;
}

static int set_up(struct rwp_store *store,
		  const struct rwp_store_options *options,
		  struct rwp_error *err)
{
	unsigned int depth = options->depth ? options->depth : DEPTH;
	int ret = rwpi_store_files(store, err);

	if (ret)
		return ret;
	ret = rwpi_space_init(store, options->max_bytes);
	if (ret)
		return rwpi_fail(err, ret, "%s", store->path);
	ret = rwpi_index_load(store, err);
	if (!ret)
		ret = rwpi_ring_init(&store->save, depth, store->data, err);
	if (!ret)
		ret = rwpi_ring_init(&store->fetch, depth, store->data, err);
	return ret;
}

int rwp_store_open(const char *path, const struct rwp_store_options *options,
		   struct rwp_store **out, struct rwp_error *err)
{
	static const struct rwp_store_options defaults;
	struct rwp_store *store;
	int ret;

	options = options ? options : &defaults;
	ret = check_options(options, err);
	if (ret)
		return ret;
	store = calloc(1, sizeof(*store));
	if (!store)
		return rwpi_fail(err, -ENOMEM, "%s", path);
	store->data = -1;
	store->index = -1;
	store->flags = options->flags;
	pthread_mutex_init(&store->save.lock, NULL);
	pthread_mutex_init(&store->fetch.lock, NULL);
	pthread_mutex_init(&store->index_lock, NULL);
	pthread_mutex_init(&store->map_lock, NULL);
	store->path = strdup(path);
	ret = store->path ? set_up(store, options, err) :
			    rwpi_fail(err, -ENOMEM, "%s", path);
	if (ret) {
		rwp_store_close(store);
		return ret;
	}
	*out = store;
	return 0;
}

void rwp_store_close(struct rwp_store *store)
{
	if (!store)
		return;
	rwpi_ring_exit(&store->save);
	rwpi_ring_exit(&store->fetch);
	rwpi_index_free(store);
	free(store->space.map);
	rwpi_close(store->data);
	rwpi_close(store->index);
	pthread_mutex_destroy(&store->save.lock);
	pthread_mutex_destroy(&store->fetch.lock);
	pthread_mutex_destroy(&store->index_lock);
	pthread_mutex_destroy(&store->map_lock);
	free(store->path);
	free(store);
}

int rwp_store_has(struct rwp_store *store, struct rwp_store_key key)
{
	struct store_record record;
	int ret = rwpi_index_read(store, key, &record);

	/* Held, if it cannot be read: whoever asks must not take it for new. */
	if (ret)
		return ret == -ENOENT ? -ENOENT : 0;
	return rwpi_record_is_head(key, &record) ? 0 : -ENOENT;
}

int rwp_store_drop(struct rwp_store *store, struct rwp_store_key key,
		   struct rwp_error *err)
{
	struct store_record record;
	int ret;

	if (store->flags & RWP_STORE_READ_ONLY)
		return rwpi_error(err, -EROFS, "%s: opened for reading only",
				  store->path);
	pthread_mutex_lock(&store->index_lock);
	ret = rwpi_index_read(store, key, &record);
	if (!ret && !rwpi_record_is_head(key, &record))
		ret = -ENOENT;
	if (!ret)
		ret = rwpi_index_drop(store, key, record.shift);
	else if (ret == -EBADMSG)
		ret = rwpi_index_drop(store, key, 0);
	pthread_mutex_unlock(&store->index_lock);
	if (ret == -ENOENT)
		return rwpi_error(err, ret,
				  "%s: page %#llx of space %llu is not held",
				  store->path, (unsigned long long)key.offset,
				  (unsigned long long)key.space);
	return ret ? rwpi_fail(err, ret, "%s.index", store->path) : 0;
}

/* The data first: no record may outlive a power cut that its data does not. */
int rwp_store_sync(struct rwp_store *store, struct rwp_error *err)
{
	if (fdatasync(store->data) || fdatasync(store->index))
		return rwpi_fail(err, -errno, "cannot sync %s", store->path);
	return 0;
}

void rwp_store_stats(struct rwp_store *store, struct rwp_store_stats *stats)
{
	pthread_mutex_lock(&store->map_lock);
	*stats = store->stats;
	stats->file_bytes = store->space.used * store->unit;
	pthread_mutex_unlock(&store->map_lock);
}
