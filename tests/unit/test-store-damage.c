// SPDX-License-Identifier: GPL-2.0
/* The store after damage and after kill -9: right, or an error, never wrong. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "evict.h"
#include "store-pages.h"

#define PAGES 48

/* Small ones of all kinds, and a large one at the end. */
static size_t size_of(unsigned int page)
{
	return page == PAGES - 1 ? 2 * MIB : page % 5 ? 4 * KIB : 16 * KIB;
}

static uint64_t offset_of(unsigned int page)
{
	return page == PAGES - 1 ? 8 * MIB : page * 16ULL * KIB;
}

static void make(const struct place *place)
{
	struct rwp_store *store = open_store(place, 0, 0);

	for (unsigned int i = 0; i < PAGES; i++)
		save_filled(store, offset_of(i), size_of(i), i % CONTENTS, i);
	rwp_store_close(store);
}

/* Each page is right or known to be damaged; returns how many are damaged. */
static unsigned int right_or_damaged(struct rwp_store *store)
{
	void *data = aligned_alloc(4096, 2 * MIB);
	unsigned int damaged = 0;

	memset(data, 0xee, 2 * MIB);
	for (unsigned int i = 0; i < PAGES; i++) {
		int ret = fetch(store, 1, offset_of(i), data, size_of(i));

		if (ret == -EBADMSG) {
			struct rwp_store_key key = { 1, offset_of(i) };

			/* It must not be taken for a page never saved. */
			assert_int_equal(rwp_store_has(store, key), 0);
			damaged++;
			continue;
		}
		assert_int_equal(ret, 0);
		assert_true(is_filled(data, size_of(i), i % CONTENTS, i));
	}
	free(data);
	return damaged;
}

static void poke(const char *path, uint64_t at, const void *data, size_t len)
{
	int fd = open(path, O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, len, at), len);
	close(fd);
}

static void flip(const char *path, uint64_t at, unsigned int bit)
{
	int fd = open(path, O_RDWR);
	unsigned char byte;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 1U << bit;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

/* One bit of the data: the page it belongs to, and no other, is damaged. */
static void bit_in_data(void **state)
{
	const struct place *place = *state;
	uint64_t size, random = 3, seen = 0;

	make(place);
	size = file_size(place->path);
	for (unsigned int i = 0; i < 150; i++) {
		/* Most of the file was allocated ahead: near the beginning. */
		uint64_t at =
			4096 + roll(&random) % (i % 2 ? 64 * KIB :
							(uint32_t)size - 4096);
		unsigned int bit = roll(&random) % 8, damaged;
		struct rwp_store *store;

		flip(place->path, at, bit);
		store = open_store(place, 0, 0);
		damaged = right_or_damaged(store);
		assert_in_range(damaged, 0, 1);
		seen += damaged;
		rwp_store_close(store);
		flip(place->path, at, bit);
	}
	assert_in_range(seen, 50, 150);
}

/* One bit of the index, while it is open and before: the same, or refused. */
static void bit_in_index(void **state)
{
	const struct place *place = *state;
	unsigned int damaged = 0, refused = 0;
	uint64_t random = 9;

	make(place);
	for (unsigned int i = 0; i < 300; i++) {
		/* Header, directory, records. */
		uint64_t at = i % 3 == 0 ? roll(&random) % 40 :
			      i % 3 == 1 ? 4096 + roll(&random) % 64 :
					   8192 + roll(&random) % (PAGES * 128);
		unsigned int bit = roll(&random) % 8;
		struct rwp_store_options options = { 0 };
		struct rwp_store *store;
		int ret;

		flip(place->index, at, bit);
		ret = rwp_store_open(place->path, &options, &store, NULL);
		if (ret) {
			assert_int_equal(ret, -EBADMSG);
			refused++;
		} else {
			damaged += right_or_damaged(store);
			rwp_store_close(store);
		}
		flip(place->index, at, bit);
	}
	assert_int_equal(refused, 200);
	assert_in_range(damaged, 20, 100);
}

static void bit_in_index_while_open(void **state)
{
	const struct place *place = *state;
	struct rwp_store *store;
	unsigned int damaged = 0;

	make(place);
	store = open_store(place, 0, 0);
	for (unsigned int i = 0; i < 256; i++) {
		flip(place->index, 8192 + i / 8, i % 8);
		damaged += right_or_damaged(store);
		flip(place->index, 8192 + i / 8, i % 8);
	}
	assert_int_equal(damaged, 256);
	assert_int_equal(right_or_damaged(store), 0);
	rwp_store_close(store);
}

/* The data is cut off: what is gone stays known as gone, and harms nobody. */
static void data_cut_off(void **state)
{
	const struct place *place = *state;
	struct rwp_store *store;
	unsigned int damaged;

	make(place);
	assert_int_equal(truncate(place->path, 4096 + 40 * KIB), 0);
	store = open_store(place, 0, 0);
	damaged = right_or_damaged(store);
	assert_in_range(damaged, 5, PAGES - 5);
	/* The file grows again; dropping the lost pages frees nobody's place. */
	for (unsigned int i = 0; i < 100; i++)
		save_filled(store, 16 * MIB + i * 4 * KIB, 4 * KIB, NOISE, i);
	assert_int_equal(right_or_damaged(store), damaged);
	for (unsigned int i = 0; i < PAGES; i++)
		assert_int_equal(rwp_store_drop(store,
						(struct rwp_store_key){
							1, offset_of(i) },
						NULL),
				 0);
	for (unsigned int i = 0; i < 100; i++)
		save_filled(store, 32 * MIB + i * 4 * KIB, 4 * KIB, NOISE,
			    1000 + i);
	for (unsigned int i = 0; i < 100; i++) {
		check_filled(store, 16 * MIB + i * 4 * KIB, 4 * KIB, NOISE, i);
		check_filled(store, 32 * MIB + i * 4 * KIB, 4 * KIB, NOISE,
			     1000 + i);
	}
	rwp_store_close(store);
}

/* Every other way a file can be the wrong one is refused. */
static void not_ours(void **state)
{
	const struct place *place = *state;
	char other[sizeof(place->index) + 8];
	struct rwp_store *store;
	uint32_t version = 77;

	make(place);
	flip(place->path, 0, 1);
	assert_int_equal(open_error(place, 0), -EBADMSG);
	flip(place->path, 0, 1);
	flip(place->index, 3, 1);
	assert_int_equal(open_error(place, 0), -EBADMSG);
	flip(place->index, 3, 1);

	poke(place->path, 8, &version, sizeof(version));
	assert_int_equal(open_error(place, 0), -EBADMSG);
	version = 1;
	poke(place->path, 8, &version, sizeof(version));

	snprintf(other, sizeof(other), "%s.kept", place->index);
	assert_int_equal(rename(place->index, other), 0);
	assert_int_equal(open_error(place, 0), -EBADMSG);
	assert_int_equal(open_error(place, RWP_STORE_READ_ONLY), -EBADMSG);
	/* And was not made anew. */
	assert_int_equal(access(place->index, F_OK), -1);
	assert_int_equal(rename(other, place->index), 0);

	store = open_store(place, 0, RWP_STORE_READ_ONLY);
	assert_int_equal(right_or_damaged(store), 0);
	rwp_store_close(store);
}

static void index_cut_off(void **state)
{
	const struct place *place = *state;

	make(place);
	assert_int_equal(truncate(place->index, file_size(place->index) - 1),
			 0);
	assert_int_equal(open_error(place, 0), -EBADMSG);
	assert_int_equal(truncate(place->index, 4096), 0);
	assert_int_equal(open_error(place, 0), -EBADMSG);
	assert_int_equal(truncate(place->index, 0), 0);
	assert_int_equal(open_error(place, 0), -EBADMSG);
}

static void index_of_another(void **state)
{
	const struct place *place = *state;
	struct place *other;

	assert_int_equal(place_setup((void **)&other), 0);
	make(place);
	make(other);
	assert_int_equal(rename(other->index, place->index), 0);
	assert_int_equal(open_error(place, 0), -EBADMSG);
	/* Data without an index, an index without data. */
	assert_int_equal(open_error(other, 0), -EBADMSG);
	assert_int_equal(truncate(place->path, 0), 0);
	assert_int_equal(open_error(place, 0), -EBADMSG);
	place_teardown((void **)&other);
}

/* A text file, an empty one, a directory, a device, no directory. */
static void foreign_files(void **state)
{
	static const char text[8192] = "not a store";
	const struct place *place = *state;
	struct place elsewhere = *place;
	struct rwp_store *store;
	int fd = open(place->path, O_RDWR | O_CREAT, 0600);

	assert_int_equal(write(fd, text, sizeof(text)), sizeof(text));
	assert_int_equal(open_error(place, 0), -EBADMSG);
	assert_int_equal(access(place->index, F_OK), -1);
	assert_int_equal(file_size(place->path), sizeof(text));
	assert_int_equal(ftruncate(fd, 100), 0);
	assert_int_equal(open_error(place, 0), -EBADMSG);
	assert_int_equal(ftruncate(fd, 0), 0);
	close(fd);
	assert_int_equal(open_error(place, RWP_STORE_READ_ONLY), -EBADMSG);
	store = open_store(place, 0, 0);
	rwp_store_close(store);

	snprintf(elsewhere.path, sizeof(elsewhere.path), "/tmp");
	assert_int_equal(open_error(&elsewhere, 0), -EISDIR);
	snprintf(elsewhere.path, sizeof(elsewhere.path), "/dev/null");
	assert_int_equal(open_error(&elsewhere, 0), -EINVAL);
	snprintf(elsewhere.path, sizeof(elsewhere.path), "/nowhere/store");
	assert_int_equal(open_error(&elsewhere, 0), -ENOENT);
}

/* What the parent knows of a page of the child that is killed. */
struct progress {
	/* Versions; a page is held after an odd one, dropped after an even. */
	atomic_uint begun, done;
};

static void put(struct rwp_store *store, struct progress *progress,
		unsigned int page, uint64_t *random)
{
	unsigned int version = atomic_load(&progress[page].begun) + 1;
	struct rwp_store_key key = { 1, offset_of(page) };

	/* Now and then one content in place of another, without a drop. */
	if (version % 2 == 0 && roll(random) % 2)
		version++;
	atomic_store(&progress[page].begun, version);
	if (version % 2)
		save_filled(store, key.offset, size_of(page),
			    version / 2 % CONTENTS, version);
	else
		assert_int_equal(rwp_store_drop(store, key, NULL), 0);
	atomic_store(&progress[page].done, version);
}

static void put_until_killed(const struct place *place,
			     struct progress *progress, uint64_t seed)
{
	struct rwp_store *store =
		open_store(place, 0, seed % 3 ? 0 : RWP_STORE_BUFFERED);

	for (;;)
		put(store, progress, roll(&seed) % PAGES, &seed);
}

/* Whether the page has what version @version says. */
static bool has_version(struct rwp_store *store, unsigned int page,
			unsigned int version, void *data)
{
	int ret = fetch(store, 1, offset_of(page), data, size_of(page));

	if (version % 2 == 0)
		return ret == -ENOENT;
	return !ret &&
	       is_filled(data, size_of(page), version / 2 % CONTENTS, version);
}

static void check_progress(struct rwp_store *store, struct progress *progress)
{
	void *data = malloc(2 * MIB);

	for (unsigned int i = 0; i < PAGES; i++) {
		unsigned int begun = atomic_load(&progress[i].begun);
		unsigned int done = atomic_load(&progress[i].done);
		struct rwp_store_key key = { 1, offset_of(i) };

		/* A large page that was being replaced may be gone. */
		if (!has_version(store, i, done, data) &&
		    !has_version(store, i, begun, data) &&
		    !(begun != done && size_of(i) > 64 * KIB &&
		      has_version(store, i, 0, data)))
			fail_msg("page %u: neither version %u nor %u", i, done,
				 begun);
		if (begun == done)
			continue;
		/* Begin the next round from what is known. */
		rwp_store_drop(store, key, NULL);
		begun += begun % 2;
		atomic_store(&progress[i].begun, begun);
		atomic_store(&progress[i].done, begun);
	}
	free(data);
}

/* kill -9 at any moment, again and again: every page is what it was. */
static void killed(void **state)
{
	const struct place *place = *state;
	struct progress *progress;
	struct rwp_store_stats stats;
	uint64_t random = time(NULL) | 1, size = 0;
	struct rwp_store *store;

	print_message("random numbers begin with %llu\n",
		      (unsigned long long)random);
	progress = mmap(NULL, PAGES * sizeof(*progress), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(progress != MAP_FAILED);
	for (unsigned int round = 0; round < 60; round++) {
		pid_t pid = fork();

		if (!pid) {
			put_until_killed(place, progress, random);
			_exit(1);
		}
		usleep(roll(&random) % (round % 4 ? 20000 : 100000));
		kill(pid, SIGKILL);
		/* Without waiting for the rest of it: that is what open does. */
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		store = open_store(place, 0, 0);
		check_progress(store, progress);
		rwp_store_close(store);
		if (round == 9)
			size = file_size(place->path);
	}
	/* Nothing leaks: the pages never were more than these. */
	assert_in_range(file_size(place->path), 0, size + 4 * MIB);
	store = open_store(place, 0, 0);
	for (unsigned int i = 0; i < PAGES; i++)
		rwp_store_drop(store, (struct rwp_store_key){ 1, offset_of(i) },
			       NULL);
	rwp_store_stats(store, &stats);
	assert_int_equal(stats.pages, 0);
	assert_int_equal(stats.file_bytes, 4096);
	rwp_store_close(store);
	munmap(progress, PAGES * sizeof(*progress));
}

/* No page of a ring that has failed is taken for one that was fetched. */
static void dead_ring(void **state)
{
	struct rwp_store *store = open_store(*state, 0, 0);
	static char data[4 * KIB];
	struct rwp_store_page page = { { 1, 0 }, data, 4 * KIB, 0 };

	save_filled(store, 0, 4 * KIB, NOISE, 1);
	store->fetch.dead = -EIO;
	assert_int_equal(rwp_store_fetch(store, &page, 1, NULL), -EIO);
	assert_int_equal(page.result, -EIO);
	store->save.dead = -EIO;
	assert_int_equal(rwp_store_save(store, &page, 1, NULL), -EIO);
	rwp_store_close(store);
}

/* Runs of pages are dropped, over the edge of a chunk, and nothing beside. */
static void dropped_in_runs(void **state)
{
	static const uint64_t sizes[] = { 4 * KIB, 64 * KIB, 2 * MIB };
	struct rwp_store *store = open_store(*state, 0, 0);

	for (unsigned int i = 0; i < 3; i++) {
		uint64_t size = sizes[i], from = 8 * MIB - 3 * size;
		struct rwp_store_key key = { 1, from + size };
		struct rwp_store_stats stats;

		for (unsigned int n = 0; n < 6; n++)
			save_filled(store, from + n * size, size, NOISE, n);
		rwpi_store_drop_run(store, key, size, 4);
		rwp_store_stats(store, &stats);
		assert_int_equal(stats.pages, 2);
		check_filled(store, from, size, NOISE, 0);
		check_filled(store, from + 5 * size, size, NOISE, 5);
		key.offset = from;
		rwpi_store_drop_run(store, key, size, 6);
		rwp_store_stats(store, &stats);
		assert_int_equal(stats.pages, 0);
	}
	rwp_store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(name) \
	cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)
		CASE(bit_in_data),
		CASE(bit_in_index),
		CASE(bit_in_index_while_open),
		CASE(data_cut_off),
		CASE(not_ours),
		CASE(index_cut_off),
		CASE(index_of_another),
		CASE(foreign_files),
		CASE(killed),
		CASE(dead_ring),
		CASE(dropped_in_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
