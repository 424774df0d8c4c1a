// SPDX-License-Identifier: GPL-2.0
/* What is recorded is read again, and nothing that is damaged is believed. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "command.h"
#include "fake-tracker.h"
#include "recording.h"

#define WINDOWS 5

static char dir[] = "/tmp/rwp-unit-XXXXXX";
static char path[64];

/* In place of the real one: complaints are expected, and would hide others. */
int __wrap_complain(const char *fmt, ...);

int __wrap_complain(const char *fmt, ...)
{
	(void)fmt;
	return EXIT_FAILED;
}

static void record(void)
{
	struct session session = {
		.pid = 42, .name = "fake", .started = 7, .interval = 1000
	};
	struct recorder *recorder;

	unlink(path);
	assert_int_equal(recorder_open(path, &session, &recorder), EXIT_OK);
	for (unsigned int i = 0; i < WINDOWS; i++) {
		fake_window(&session, i);
		assert_int_equal(recorder_add(recorder, &session), EXIT_OK);
	}
	assert_int_equal(recorder_close(recorder), EXIT_OK);
}

static void check_mapping(const struct recorded_mapping *mapping,
			  unsigned int index, unsigned int seed)
{
	uint64_t page = 0, counted[PAGE_STATES] = { 0 };

	assert_int_equal(mapping->first, 0x10000 + index * (FAKE_PAGES + 100));
	assert_int_equal(mapping->pages, FAKE_PAGES);
	for (size_t i = 0; i < mapping->runs; i++)
		for (uint64_t j = 0; j < mapping->run[i].pages; j++) {
			assert_int_equal(mapping->run[i].state,
					 fake_state(index, page++, seed));
			counted[mapping->run[i].state]++;
		}
	assert_int_equal(page, FAKE_PAGES);
	assert_int_equal(mapping->touched, counted[PAGE_TOUCHED]);
	assert_int_equal(mapping->populated,
			 counted[PAGE_TOUCHED] + counted[PAGE_THERE]);
}

/* Every page of every window comes back, twice, and the file is private. */
static void round_trip(void **state)
{
	const struct recorded_window *window;
	struct recording *recording;
	struct stat st;

	(void)state;
	record();
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(recording_open(path, &recording), EXIT_OK);
	assert_int_equal(recording_header(recording)->pid, 42);
	assert_string_equal(recording_header(recording)->name, "fake");
	for (int pass = 0; pass < 2; pass++) {
		for (unsigned int i = 0; i < WINDOWS; i++) {
			window = recording_next(recording);
			assert_non_null(window);
			assert_int_equal(window->mappings, 2);
			assert_int_equal(window->end, (i + 1) * 1000000000ULL);
			check_mapping(&window->mapping[0], 0, i);
			check_mapping(&window->mapping[1], 1, i);
			assert_string_equal(window->mapping[1].name,
					    "/memfd:\"<b>\"");
		}
		assert_null(recording_next(recording));
		assert_false(recording_damaged(recording));
		recording_rewind(recording);
	}
	recording_close(recording);
}

/* A recording of yesterday is not overwritten. */
static void no_overwriting(void **state)
{
	struct session session = { .name = "fake" };
	struct recorder *recorder;

	(void)state;
	record();
	assert_int_equal(recorder_open(path, &session, &recorder), EXIT_FAILED);
}

static unsigned int count_windows(void)
{
	struct recording *recording;
	unsigned int count = 0;

	if (recording_open(path, &recording))
		return 0;
	while (recording_next(recording))
		count++;
	recording_close(recording);
	return count;
}

/* Cut off at any byte: what is complete is read, and nothing else. */
static void cut_off(void **state)
{
	unsigned int last = WINDOWS;
	struct stat st;

	(void)state;
	record();
	assert_int_equal(stat(path, &st), 0);
	for (off_t size = st.st_size - 1; size >= 0; size--) {
		unsigned int count;

		assert_int_equal(truncate(path, size), 0);
		count = count_windows();
		assert_true(count == last || count + 1 == last);
		last = count;
	}
	assert_int_equal(last, 0);
}

/* Any byte changed: the window it is in is left out, with those that follow. */
static void damaged(void **state)
{
	struct stat st;
	int fd;

	(void)state;
	record();
	assert_int_equal(stat(path, &st), 0);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	for (off_t at = RECORDING_HEADER_SIZE; at < st.st_size; at++) {
		unsigned char byte, other;

		assert_int_equal(pread(fd, &byte, 1, at), 1);
		other = byte ^ (1 << at % 8);
		assert_int_equal(pwrite(fd, &other, 1, at), 1);
		assert_true(count_windows() < WINDOWS);
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	}
	close(fd);
	assert_int_equal(count_windows(), WINDOWS);
}

/* A block with a right checksum and wrong content, as an attacker makes it. */
static void hostile(void **state)
{
	static const unsigned char content[][40] = {
		/* more mappings than bytes */
		{ 1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f },
		/* a number without an end */
		{ 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
		/* a run longer than its mapping, one of no pages */
		{ 1, 1, 1, 1, 16, 4, 0, 0, 5 << 2 },
		{ 1, 1, 1, 1, 16, 4, 0, 0, 0 },
		/* a mapping of 2^56 pages, a name of 300 bytes */
		{ 1, 1, 1, 1, 16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		  0x7f },
		{ 1, 1, 1, 1, 16, 4, 0, 0xac, 0x02 },
		/* a kind and a state that do not exist */
		{ 1, 1, 1, 1, 16, 4, 9, 0, 4 << 2 },
		{ 1, 1, 1, 1, 16, 4, 0, 0, 4 << 2 | 3 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(content) / sizeof(content[0]); i++) {
		uint64_t words[2] = { sizeof(content[i]) };
		FILE *file;

		words[1] = recording_hash(content[i], sizeof(content[i]));
		record();
		assert_int_equal(truncate(path, RECORDING_HEADER_SIZE), 0);
		file = fopen(path, "a");
		assert_non_null(file);
		fwrite(words, sizeof(words), 1, file);
		fwrite(content[i], sizeof(content[i]), 1, file);
		assert_int_equal(fclose(file), 0);
		assert_int_equal(count_windows(), 0);
	}
}

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/recording", dir);
	return 0;
}

static int clean_up(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

/* With an argument: leave a recording there, to be looked at. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip), cmocka_unit_test(no_overwriting),
		cmocka_unit_test(cut_off),    cmocka_unit_test(damaged),
		cmocka_unit_test(hostile),
	};

	if (argc == 2) {
		snprintf(path, sizeof(path), "%s", argv[1]);
		record();
		return 0;
	}
	return cmocka_run_group_tests(tests, set_up, clean_up);
}
