// SPDX-License-Identifier: GPL-2.0
/* The store: what goes in comes out, places are used again, a full disk. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store-pages.h"
#include "store.h"

static const size_t sizes[] = { 4 * KIB,  8 * KIB,   32 * KIB,
				64 * KIB, 128 * KIB, 2 * MIB };
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static uint64_t offset_of(unsigned int size, enum content content)
{
	return (uint64_t)(size * CONTENTS + content) * 4 * MIB;
}

/* Every size and content comes back, from this store and when opened again. */
static void all_kinds_come_back(void **state)
{
	static const unsigned int flags[] = { 0, RWP_STORE_BUFFERED,
					      RWP_STORE_NO_LZ4 };

	for (unsigned int round = 0; round < 6; round++) {
		struct rwp_store *store =
			open_store(*state, 0, flags[round / 2]);

		for (unsigned int i = 0; i < SIZES * CONTENTS; i++) {
			uint64_t at = offset_of(i / CONTENTS, i % CONTENTS);

			if (round % 2 == 0)
				save_filled(store, at, sizes[i / CONTENTS],
					    i % CONTENTS, i + round);
			check_filled(store, at, sizes[i / CONTENTS],
				     i % CONTENTS, i + round / 2 * 2);
		}
		rwp_store_close(store);
	}
}

/* A call with many pages of all kinds at once, in no order. */
static void many_at_once(void **state)
{
	enum { COUNT = 3000 };
	struct rwp_store *store = open_store(*state, 0, 0);
	struct rwp_store_page *page = calloc(COUNT, sizeof(*page));
	struct rwp_store_stats stats;
	uint64_t random = 5;

	for (unsigned int i = 0; i < COUNT; i++) {
		page[i].key.offset = (i * 1237ULL % COUNT) * 4 * KIB;
		page[i].len = 4 * KIB;
		page[i].data = malloc(4 * KIB);
		fill(page[i].data, 4 * KIB, i % CONTENTS, i);
	}
	assert_int_equal(rwp_store_save(store, page, COUNT, NULL), 0);
	for (unsigned int i = 0; i < COUNT; i++)
		memset(page[i].data, 0xee, 4 * KIB);
	for (unsigned int i = COUNT - 1; i; i--) {
		unsigned int other = roll(&random) % (i + 1);
		struct rwp_store_page swap = page[i];

		page[i] = page[other];
		page[other] = swap;
	}
	assert_int_equal(rwp_store_fetch(store, page, COUNT, NULL), 0);
	for (unsigned int i = 0; i < COUNT; i++) {
		/* 1237 and 3000 have no common divisor: find its number. */
		unsigned int number = 0;

		while (number * 1237ULL % COUNT * 4 * KIB != page[i].key.offset)
			number++;
		assert_true(is_filled(page[i].data, 4 * KIB, number % CONTENTS,
				      number));
		free(page[i].data);
	}
	rwp_store_stats(store, &stats);
	assert_int_equal(stats.pages, COUNT);
	assert_int_equal(stats.same, COUNT / CONTENTS);
	assert_int_equal(stats.compressed, COUNT / CONTENTS);
	assert_int_equal(stats.saved, COUNT);
	assert_int_equal(stats.fetched, COUNT);
	free(page);
	rwp_store_close(store);
}

/* Turn the array into one of another order; the same each time. */
static void shuffle(struct rwp_store_page *page, unsigned int count)
{
	uint64_t random = 5;

	for (unsigned int i = count - 1; i; i--) {
		unsigned int other = roll(&random) % (i + 1);
		struct rwp_store_page swap = page[i];

		page[i] = page[other];
		page[other] = swap;
	}
}

static unsigned int count_filled(const char *memory, size_t len)
{
	unsigned int right = 0;

	for (size_t at = 0; at < len; at += 64 * KIB)
		right += is_filled(memory + at, 64 * KIB,
				   at / (64 * KIB) % 7 ? NOISE : at % CONTENTS,
				   at);
	return right;
}

static void damage(const char *path, uint64_t at)
{
	int fd = open(path, O_RDWR);
	unsigned char byte;

	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 4;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

/*
 * Memory without gaps, as pages of several sizes: what lies side by side in it
 * goes to the file and comes back with few requests. One whose data is
 * damaged fails, and no other.
 */
static void side_by_side(void **state)
{
	enum { LEN = 16 * MIB };
	const struct place *place = *state;
	struct rwp_store *store = open_store(place, 0, 0);
	struct rwp_store_page *page = calloc(LEN / (16 * KIB), sizeof(*page));
	char *memory = aligned_alloc(4096, LEN);
	unsigned int count = 0, failed = 0;

	for (uint32_t at = 0; at < LEN; at += 64 * KIB)
		fill(memory + at, 64 * KIB,
		     at / (64 * KIB) % 7 ? NOISE : at % CONTENTS, at);
	for (uint32_t at = 0, len; at < LEN; at += len) {
		len = at < 6 * MIB  ? 64 * KIB :
		      at < 12 * MIB ? 2 * MIB :
				      16 * KIB;
		page[count++] = (struct rwp_store_page){ .key = { 1, at },
							 .data = memory + at,
							 .len = len };
	}
	assert_int_equal(rwp_store_save(store, page, count, NULL), 0);
	for (unsigned int round = 0; round < 2; round++) {
		memset(memory, 0xee, LEN);
		assert_int_equal(rwp_store_fetch(store, page, count, NULL), 0);
		assert_int_equal(count_filled(memory, LEN), LEN / (64 * KIB));
		shuffle(page, count);
	}

	damage(place->path, 4096 + 100 * KIB);
	assert_int_equal(rwp_store_fetch(store, page, count, NULL), -EBADMSG);
	for (unsigned int i = 0; i < count; i++)
		failed += page[i].result == -EBADMSG;
	assert_int_equal(failed, 1);
	free(memory);
	free(page);
	rwp_store_close(store);
}

/* Data that is made when it is asked for. */
struct maker {
	char *base, *next, *bad;
	struct rwp_store *store;
	struct rwp_store_page *page;
	unsigned int held; /* a bit for each page */
};

static int make_data(char *data, unsigned int len, void *arg)
{
	struct maker *maker = arg;

	/* By rising address, but for the rest of a page that has failed. */
	assert_true(data >= maker->next);
	maker->next = data + len;
	if (data == maker->bad)
		return -ENODATA;
	fill(data, len, NOISE, (data - maker->base) / (4 * KIB));
	return 0;
}

static void note_held(unsigned int page, void *arg)
{
	struct maker *maker = arg;

	assert_int_equal(rwp_store_has(maker->store, maker->page[page].key), 0);
	maker->held ^= 1U << page;
}

/*
 * One page cannot be had from its middle on: it is not held. The others are, and
 * that is said of each once.
 */
static void made_while_saving(void **state)
{
	enum { LARGE = 3, COUNT = 6 };
	struct rwp_store *store = open_store(*state, 0, 0);
	char *memory = aligned_alloc(4096, 4 * MIB);
	struct rwp_store_page page[COUNT];
	struct maker maker = { memory, memory, NULL, store, page, 0 };
	struct rwpi_save_hooks hooks = { make_data, note_held, &maker };

	for (unsigned int i = 0; i < COUNT; i++)
		page[i] = (struct rwp_store_page){
			.key = { 1, i * 2 * MIB },
			.data = memory + (i > LARGE ? 2 * MIB : 0) +
				i * 64 * KIB,
			.len = i == LARGE ? 2 * MIB : 64 * KIB,
		};
	maker.bad = (char *)page[LARGE].data + MIB;
	memset(memory, 0xee, 4 * MIB);
	assert_int_equal(rwpi_store_save_with(store, page, COUNT, &hooks, NULL),
			 -ENODATA);
	memset(memory, 0xee, 4 * MIB);
	assert_int_equal(page[LARGE].result, -ENODATA);
	assert_int_equal(maker.held, ((1U << COUNT) - 1) & ~(1U << LARGE));
	for (unsigned int i = 0; i < COUNT; i++) {
		char *data = page[i].data;

		if (i == LARGE) {
			assert_int_equal(rwp_store_has(store, page[i].key),
					 -ENOENT);
			continue;
		}
		assert_int_equal(page[i].result, 0);
		assert_int_equal(rwp_store_fetch(store, &page[i], 1, NULL), 0);
		assert_true(is_filled(data, 64 * KIB, NOISE,
				      (data - memory) / (4 * KIB)));
	}
	free(memory);
	rwp_store_close(store);
}

/* Of pages that are saved together only that fails which is in a larger one. */
static void inside_a_larger_one(void **state)
{
	struct rwp_store *store = open_store(*state, 0, 0);
	struct rwp_store_page page[4];
	char *memory =
		aligned_alloc(4096, sizeof(page) / sizeof(*page) * 64 * KIB);

	save_filled(store, 0, 128 * KIB, NOISE, 1);
	fill(memory, 4 * 64 * KIB, NOISE, 2);
	for (unsigned int i = 0; i < 4; i++)
		page[i] = (struct rwp_store_page){
			.key = { 1, (i + 1) * 64 * KIB },
			.data = memory + i * 64 * KIB,
			.len = 64 * KIB,
		};
	assert_int_equal(rwp_store_save(store, page, 4, NULL), -EEXIST);
	assert_int_equal(page[0].result, -EEXIST);
	for (unsigned int i = 1; i < 4; i++)
		assert_int_equal(page[i].result, 0);
	check_filled(store, 0, 128 * KIB, NOISE, 1);
	assert_int_equal(rwp_store_fetch(store, page + 1, 3, NULL), 0);
	free(memory);
	rwp_store_close(store);
}

/* Not held, of another space, of another size, and gone when dropped. */
static void what_is_not_held(void **state)
{
	struct rwp_store *store = open_store(*state, 0, 0);
	struct rwp_store_key key = { 1, 4 * MIB };
	char data[8 * KIB];

	assert_int_equal(fetch(store, 1, 4 * MIB, data, 4 * KIB), -ENOENT);
	assert_int_equal(rwp_store_drop(store, key, NULL), -ENOENT);
	save_filled(store, 4 * MIB, 4 * KIB, NOISE, 1);
	assert_int_equal(rwp_store_has(store, key), 0);
	assert_int_equal(fetch(store, 2, 4 * MIB, data, 4 * KIB), -ENOENT);
	assert_int_equal(fetch(store, 1, 4 * MIB, data, 8 * KIB), -ENOENT);
	assert_int_equal(rwp_store_drop(store, key, NULL), 0);
	assert_int_equal(rwp_store_has(store, key), -ENOENT);
	assert_int_equal(fetch(store, 1, 4 * MIB, data, 4 * KIB), -ENOENT);
	assert_int_equal(rwp_store_drop(store, key, NULL), -ENOENT);
	rwp_store_close(store);
}

/* Sizes and offsets that make no sense. */
static void bad_arguments(void **state)
{
	struct rwp_store_options options = { .flags = 1 << 20 };
	struct rwp_store *store = open_store(*state, 0, 0);
	char data[8 * KIB] = { 0 };

	assert_int_equal(save(store, 1, 0, data, 2 * KIB), -EINVAL);
	assert_int_equal(save(store, 1, 0, data, 6 * KIB), -EINVAL);
	assert_int_equal(save(store, 1, 0, data, 0), -EINVAL);
	assert_int_equal(save(store, 1, 4 * KIB, data, 8 * KIB), -EINVAL);
	assert_int_equal(save(store, 1, 7, data, 4 * KIB), -EINVAL);
	assert_int_equal(rwp_store_save(store, NULL, 0, NULL), 0);
	rwp_store_close(store);
	assert_int_equal(rwp_store_open("x", &options, &store, NULL), -EINVAL);
	options = (struct rwp_store_options){ .depth = 1000000 };
	assert_int_equal(rwp_store_open("x", &options, &store, NULL), -EINVAL);
	rwp_store_close(NULL);
}

/* The last content wins, and replacing needs no more and more room. */
static void replaced(void **state)
{
	const struct place *place = *state;
	struct rwp_store *store = open_store(place, 0, 0);
	uint64_t size = 0;

	for (unsigned int round = 0; round < 60; round++) {
		for (unsigned int i = 0; i < 32; i++)
			save_filled(store, i * 64 * KIB,
				    i % 2 ? 4 * KIB : 64 * KIB,
				    (i + round) % CONTENTS, i + round);
		for (unsigned int i = 0; i < 32; i++)
			check_filled(store, i * 64 * KIB,
				     i % 2 ? 4 * KIB : 64 * KIB,
				     (i + round) % CONTENTS, i + round);
		if (round == 5)
			size = file_size(place->path);
	}
	assert_true(file_size(place->path) <= size + MIB);
	rwp_store_close(store);
}

/* A small page in place of a large one, and the other way round. */
static void other_size(void **state)
{
	struct rwp_store *store = open_store(*state, 0, 0);
	struct rwp_store_stats stats;
	uint64_t empty;
	char data[4 * KIB];

	rwp_store_stats(store, &stats);
	empty = stats.file_bytes;
	save_filled(store, 0, 2 * MIB, NOISE, 1);
	/* Not inside it: that would leave half a page. */
	fill(data, sizeof(data), NOISE, 2);
	assert_int_equal(save(store, 1, 64 * KIB, data, sizeof(data)), -EEXIST);
	check_filled(store, 0, 2 * MIB, NOISE, 1);
	save_filled(store, 0, 4 * KIB, NOISE, 3);
	check_filled(store, 0, 4 * KIB, NOISE, 3);
	rwp_store_stats(store, &stats);
	assert_int_equal(stats.pages, 1);
	assert_int_equal(stats.file_bytes, empty + 4 * KIB);
	save_filled(store, 0, 128 * KIB, TEXT, 4);
	check_filled(store, 0, 128 * KIB, TEXT, 4);
	assert_int_equal(
		rwp_store_drop(store, (struct rwp_store_key){ 1, 0 }, NULL), 0);
	rwp_store_stats(store, &stats);
	assert_int_equal(stats.pages, 0);
	assert_int_equal(stats.bytes, 0);
	assert_int_equal(stats.file_bytes, empty);
	rwp_store_close(store);
}

/* One byte over and over takes no room, text takes less than it has. */
static void small_in_the_file(void **state)
{
	struct rwp_store *store = open_store(*state, 0, 0);
	struct rwp_store_stats stats;
	uint64_t empty;

	rwp_store_stats(store, &stats);
	empty = stats.file_bytes;
	for (unsigned int i = 0; i < 256; i++)
		save_filled(store, i * 4 * KIB, 4 * KIB, SAME, i);
	rwp_store_stats(store, &stats);
	assert_int_equal(stats.file_bytes, empty);
	for (unsigned int i = 0; i < 256; i++)
		save_filled(store, i * 4 * KIB, 4 * KIB, TEXT, i);
	rwp_store_stats(store, &stats);
	assert_in_range(stats.file_bytes - empty, 256 * 512, 256 * 3 * KIB);
	rwp_store_close(store);
}

/* Save as many as fit, from @first on; returns how many. */
static unsigned int save_until_full(struct rwp_store *store, unsigned int first)
{
	char data[4 * KIB];
	unsigned int count = 0;
	int ret;

	for (;; count++) {
		fill(data, sizeof(data), NOISE, first + count);
		ret = save(store, 1, (first + count) * 4ULL * KIB, data,
			   sizeof(data));
		if (ret)
			break;
	}
	assert_int_equal(ret, -ENOSPC);
	return count;
}

static void full_and_on(struct rwp_store *store)
{
	unsigned int count = save_until_full(store, 0);
	char data[64 * KIB];

	assert_in_range(count, 200, 2000);
	for (unsigned int i = 0; i < count; i++)
		check_filled(store, i * 4ULL * KIB, 4 * KIB, NOISE, i);
	/* What needs no room still goes. */
	save_filled(store, 64 * MIB, 4 * KIB, SAME, 1);
	/* Every second goes, and as many others find room in the gaps. */
	for (unsigned int i = 0; i < count; i += 2)
		assert_int_equal(rwp_store_drop(store,
						(struct rwp_store_key){
							1, i * 4ULL * KIB },
						NULL),
				 0);
	assert_int_equal(save_until_full(store, count), (count + 1) / 2);
	for (unsigned int i = 1; i < count; i += 2)
		check_filled(store, i * 4ULL * KIB, 4 * KIB, NOISE, i);
	for (unsigned int i = count; i < count + (count + 1) / 2; i++)
		check_filled(store, i * 4ULL * KIB, 4 * KIB, NOISE, i);
	/* A large one that finds no room leaves nothing behind. */
	fill(data, sizeof(data), NOISE, 7);
	assert_int_equal(save(store, 1, 32 * MIB, data, sizeof(data)), -ENOSPC);
	assert_int_equal(rwp_store_has(store,
				       (struct rwp_store_key){ 1, 32 * MIB }),
			 -ENOENT);
	/* The gaps were filled in order: these lie side by side. */
	for (unsigned int i = 0; i < 40; i++) {
		unsigned int page = i % 2 ? i : count + i / 2;

		rwp_store_drop(store,
			       (struct rwp_store_key){ 1, page * 4ULL * KIB },
			       NULL);
	}
	save_filled(store, 32 * MIB, 64 * KIB, NOISE, 7);
	check_filled(store, 32 * MIB, 64 * KIB, NOISE, 7);
}

/* Full by its own limit: an error, and nothing else. */
static void full_by_limit(void **state)
{
	struct rwp_store *store = open_store(*state, 2 * MIB, 0);

	full_and_on(store);
	assert_in_range(file_size(((struct place *)*state)->path), 0, 2 * MIB);
	rwp_store_close(store);
}

/* Full because the system says so; the index would be larger than that. */
static void full_by_system(void **state)
{
	struct rlimit old, limit;
	struct rwp_store *store = open_store(*state, 0, 0);

	signal(SIGXFSZ, SIG_IGN);
	/* The index is there; its size is that of a hole, mostly. */
	save_filled(store, 0, 4 * KIB, NOISE, 0);
	getrlimit(RLIMIT_FSIZE, &old);
	limit = old;
	limit.rlim_cur = 3 * MIB;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	full_and_on(store);
	setrlimit(RLIMIT_FSIZE, &old);
	rwp_store_close(store);
}

/* Open once; a second time only for who waits until it is closed. */
static void one_at_a_time(void **state)
{
	struct rwp_store *store = open_store(*state, 0, 0);

	assert_int_equal(open_error(*state, 0), -EBUSY);
	assert_int_equal(open_error(*state, RWP_STORE_READ_ONLY), -EBUSY);
	rwp_store_close(store);
	store = open_store(*state, 0, 0);
	rwp_store_close(store);
}

/* Reading only: pages come, nothing is changed. */
static void read_only(void **state)
{
	const struct place *place = *state;
	struct rwp_store *store = open_store(place, 0, 0);
	char data[4 * KIB] = { 0 };
	struct stat st;

	save_filled(store, 0, 4 * KIB, NOISE, 1);
	save_filled(store, 2 * MIB, 2 * MIB, TEXT, 2);
	rwp_store_close(store);
	assert_int_equal(stat(place->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);

	store = open_store(place, 0, RWP_STORE_READ_ONLY);
	check_filled(store, 0, 4 * KIB, NOISE, 1);
	check_filled(store, 2 * MIB, 2 * MIB, TEXT, 2);
	assert_int_equal(
		rwp_store_save(store,
			       &(struct rwp_store_page){ .data = data,
							 .len = sizeof(data) },
			       1, NULL),
		-EROFS);
	assert_int_equal(rwp_store_drop(store, (struct rwp_store_key){ 1, 0 },
					NULL),
			 -EROFS);
	rwp_store_close(store);
}

struct worker {
	struct rwp_store *store;
	unsigned int number;
};

/* Its own pages, and one that all fight for. */
static void *work(void *arg)
{
	struct worker *worker = arg;
	struct rwp_store *store = worker->store;
	uint64_t base = worker->number * 64ULL * MIB, random = worker->number;
	struct rwp_store_key common = { 9, 0 };
	char data[4 * KIB];

	for (unsigned int i = 0; i < 300; i++) {
		uint64_t at = base + i % 40 * 64 * KIB;
		size_t len = i % 8 ? 4 * KIB : 64 * KIB;
		int ret;

		rwp_store_drop(store, (struct rwp_store_key){ 1, at }, NULL);
		save_filled(store, at, len, i % CONTENTS, i);
		check_filled(store, at, len, i % CONTENTS, i);
		fill(data, sizeof(data), NOISE, worker->number);
		assert_int_equal(save(store, 9, 0, data, sizeof(data)), 0);
		ret = fetch(store, 9, 0, data, sizeof(data));
		if (ret != -ENOENT) {
			assert_int_equal(ret, 0);
			/* Somebody's, and all of it. */
			assert_true(is_filled(data, sizeof(data), NOISE, 1) ||
				    is_filled(data, sizeof(data), NOISE, 2) ||
				    is_filled(data, sizeof(data), NOISE, 3) ||
				    is_filled(data, sizeof(data), NOISE, 4));
		}
		if (roll(&random) % 4 == 0)
			rwp_store_drop(store, common, NULL);
	}
	return NULL;
}

static void several_threads(void **state)
{
	struct rwp_store *store = open_store(*state, 0, 0);
	struct rwp_store_stats stats;
	struct worker worker[4];
	pthread_t thread[4];

	for (unsigned int i = 0; i < 4; i++) {
		worker[i] = (struct worker){ store, i + 1 };
		assert_int_equal(
			pthread_create(&thread[i], NULL, work, &worker[i]), 0);
	}
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	rwp_store_stats(store, &stats);
	assert_int_equal(stats.bad_checksums, 0);
	assert_in_range(stats.pages, 160, 161);
	rwp_store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(name) \
	cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)
		CASE(all_kinds_come_back), CASE(many_at_once),
		CASE(side_by_side),	   CASE(made_while_saving),
		CASE(inside_a_larger_one), CASE(what_is_not_held),
		CASE(bad_arguments),	   CASE(replaced),
		CASE(other_size),	   CASE(small_in_the_file),
		CASE(full_by_limit),	   CASE(full_by_system),
		CASE(one_at_a_time),	   CASE(read_only),
		CASE(several_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
