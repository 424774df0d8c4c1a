/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The file of rwp record: a header, and one block a window that stands for
 * itself. Numbers are little-endian, those inside a block in groups of seven
 * bits, the lowest first, the eighth bit set in all but the last:
 *
 *	header  "rwprec1\n", page size, pid, start, interval (u64 each), name[64]
 *	block   length, FNV-1a of the content (u64 each), content
 *	content end of the window since the start, its length, time to read it,
 *	        mappings; for each: first page, pages, kind, length of the name,
 *	        the name, and runs until all pages are covered: pages << 2 | state
 *
 * A block that is cut short or damaged ends the recording: what was before it
 * is as good as ever.
 */
#ifndef RWP_RECORDING_H
#define RWP_RECORDING_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "session.h"

struct recording_header {
	uint64_t page_size;
	uint64_t pid;
	uint64_t start; /* nanoseconds since the epoch */
	uint64_t interval; /* as asked for */
	char name[64]; /* of the program */
};

enum page_state { PAGE_ABSENT, PAGE_THERE, PAGE_TOUCHED, PAGE_STATES };

struct recorded_run {
	uint64_t pages;
	enum page_state state;
};

struct recorded_mapping {
	uint64_t first; /* page number */
	uint64_t pages, populated, touched;
	enum rwp_kind kind;
	char name[256];
	struct recorded_run *run;
	size_t runs;
};

struct recorded_window {
	uint64_t end; /* nanoseconds since the start of the recording */
	uint64_t length, update; /* nanoseconds */
	struct recorded_mapping *mapping;
	size_t mappings;
};

/* Writing. Each returns an exit code. */
struct recorder;

int recorder_open(const char *path, const struct session *session,
		  struct recorder **out);
int recorder_add(struct recorder *recorder, const struct session *session);
int recorder_close(struct recorder *recorder);

/* Reading. */
struct recording;

int recording_open(const char *path, struct recording **out);
const struct recording_header *
recording_header(const struct recording *recording);

/* The next window, until the next call; NULL at the end. */
const struct recorded_window *recording_next(struct recording *recording);

/* Whether the end was a block that is damaged or not complete. */
bool recording_damaged(const struct recording *recording);

/* Begin again with the first window. */
void recording_rewind(struct recording *recording);
void recording_close(struct recording *recording);

uint64_t recording_hash(const unsigned char *data, size_t len);

#define RECORDING_MAGIC "rwprec1\n"
#define RECORDING_HEADER_SIZE (8 + 4 * 8 + 64)
#define RECORDING_BLOCK_HEADER 16

#endif
