// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store-pages.h"

uint32_t roll(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state >> 16;
}

void fill(void *data, size_t len, enum content content, uint64_t seed)
{
	uint64_t state = (seed + 1) * 0x9e3779b97f4a7c15ULL | 1;
	uint32_t *word = data;

	if (content == SAME) {
		memset(data, seed, len);
		return;
	}
	for (size_t i = 0; i < len / sizeof(*word); i++)
		word[i] = content == TEXT && i % 8 ? 0x20746365 : roll(&state);
}

bool is_filled(const void *data, size_t len, enum content content,
	       uint64_t seed)
{
	void *want = malloc(len);
	bool equal;

	assert_non_null(want);
	fill(want, len, content, seed);
	equal = !memcmp(data, want, len);
	free(want);
	return equal;
}

int place_setup(void **state)
{
	struct place *place = calloc(1, sizeof(*place));
	const char *tmp = getenv("TMPDIR");

	if (!place)
		return -1;
	snprintf(place->dir, sizeof(place->dir), "%.40s/test-store.XXXXXX",
		 tmp ? tmp : "/tmp");
	if (!mkdtemp(place->dir))
		return -1;
	snprintf(place->path, sizeof(place->path), "%s/store", place->dir);
	snprintf(place->index, sizeof(place->index), "%s.index", place->path);
	*state = place;
	return 0;
}

int place_teardown(void **state)
{
	struct place *place = *state;

	unlink(place->path);
	unlink(place->index);
	rmdir(place->dir);
	free(place);
	return 0;
}

struct rwp_store *open_store(const struct place *place, uint64_t max_bytes,
			     unsigned int flags)
{
	struct rwp_store_options options = { .max_bytes = max_bytes,
					     .flags = flags };
	struct rwp_error error = { 0 };
	struct rwp_store *store;

	if (rwp_store_open(place->path, &options, &store, &error))
		fail_msg("%s", error.text);
	return store;
}

int open_error(const struct place *place, unsigned int flags)
{
	struct rwp_store_options options = { .flags = flags };
	struct rwp_error error = { 0 };
	struct rwp_store *store;
	int ret = rwp_store_open(place->path, &options, &store, &error);

	if (!ret)
		fail_msg("it could be opened");
	assert_int_equal(ret, error.code);
	/* The text names the file. */
	assert_non_null(strstr(error.text, place->path));
	return ret;
}

int save(struct rwp_store *store, uint64_t space, uint64_t offset, void *data,
	 size_t len)
{
	struct rwp_store_page page = {
		.key = { space, offset },
		.data = data,
		.len = len,
	};
	int ret = rwp_store_save(store, &page, 1, NULL);

	assert_int_equal(ret, page.result);
	return ret;
}

int fetch(struct rwp_store *store, uint64_t space, uint64_t offset, void *data,
	  size_t len)
{
	struct rwp_store_page page = {
		.key = { space, offset },
		.data = data,
		.len = len,
	};
	int ret = rwp_store_fetch(store, &page, 1, NULL);

	assert_int_equal(ret, page.result);
	return ret;
}

void save_filled(struct rwp_store *store, uint64_t offset, size_t len,
		 enum content content, uint64_t seed)
{
	void *data = malloc(len);

	assert_non_null(data);
	fill(data, len, content, seed);
	assert_int_equal(save(store, 1, offset, data, len), 0);
	free(data);
}

void check_filled(struct rwp_store *store, uint64_t offset, size_t len,
		  enum content content, uint64_t seed)
{
	void *data = malloc(len);

	assert_non_null(data);
	assert_int_equal(fetch(store, 1, offset, data, len), 0);
	assert_true(is_filled(data, len, content, seed));
	free(data);
}

uint64_t file_size(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}
