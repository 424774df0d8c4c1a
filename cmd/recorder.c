// SPDX-License-Identifier: GPL-2.0
/* Writing a recording. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "recording.h"

struct recorder {
	int fd;
	const char *path;
	uint64_t elapsed; /* sum of the windows */
	off_t good; /* the end of the last complete block */
	unsigned char *data; /* a block under construction */
	size_t len, room;
	bool out_of_memory;
};

uint64_t recording_hash(const unsigned char *data, size_t len)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ data[i]) * 0x100000001b3;
	return hash;
}

static void put(struct recorder *recorder, const void *data, size_t len)
{
	if (recorder->len + len > recorder->room) {
		size_t room = 2 * (recorder->room + len);
		unsigned char *larger = realloc(recorder->data, room);

		if (!larger) {
			recorder->out_of_memory = true;
			return;
		}
		recorder->data = larger;
		recorder->room = room;
	}
	memcpy(recorder->data + recorder->len, data, len);
	recorder->len += len;
}

static void put_fixed(struct recorder *recorder, uint64_t value)
{
	unsigned char bytes[8];

	for (int i = 0; i < 8; i++)
		bytes[i] = value >> 8 * i;
	put(recorder, bytes, sizeof(bytes));
}

static void put_number(struct recorder *recorder, uint64_t value)
{
	unsigned char bytes[10];
	int len = 0;

	do {
		bytes[len] = (value & 0x7f) | (value > 0x7f ? 0x80 : 0);
		value >>= 7;
	} while (bytes[len++] & 0x80);
	put(recorder, bytes, len);
}

/* What does not fit is taken back: the file ends with a complete block. */
static int write_out(struct recorder *recorder)
{
	size_t done = 0;

	while (done < recorder->len) {
		ssize_t len = write(recorder->fd, recorder->data + done,
				    recorder->len - done);

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0) {
			int saved = errno;

			if (ftruncate(recorder->fd, recorder->good))
				complain("%s: its end is not complete",
					 recorder->path);
			return complain("cannot write %s: %s", recorder->path,
					strerror(saved));
		}
		done += len;
	}
	recorder->good += done;
	recorder->len = 0;
	return EXIT_OK;
}

static void put_header(struct recorder *recorder, const struct session *session)
{
	char name[64] = "";

	memcpy(name, session->name, strnlen(session->name, sizeof(name) - 1));
	put(recorder, RECORDING_MAGIC, 8);
	put_fixed(recorder, sysconf(_SC_PAGESIZE));
	put_fixed(recorder, session->pid);
	put_fixed(recorder, session->started);
	put_fixed(recorder, session->interval);
	put(recorder, name, sizeof(name));
}

/*
 * Which memory a process uses, and when, is nobody's business but its owner's.
 * An existing file is not overwritten: it may be a recording of yesterday.
 */
int recorder_open(const char *path, const struct session *session,
		  struct recorder **out)
{
	struct recorder *recorder = calloc(1, sizeof(*recorder));
	int code;

	if (!recorder)
		return complain("out of memory");
	recorder->path = path;
	recorder->fd =
		open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (recorder->fd < 0) {
		free(recorder);
		return complain("cannot create %s: %s", path, strerror(errno));
	}
	put_header(recorder, session);
	code = write_out(recorder);
	if (code)
		recorder_close(recorder);
	else
		*out = recorder;
	return code;
}

static enum page_state state_of(uint8_t age)
{
	if (age == RWP_AGE_NONE)
		return PAGE_ABSENT;
	return age ? PAGE_THERE : PAGE_TOUCHED;
}

static void put_mapping(struct recorder *recorder,
			const struct rwp_tracked *tracked, uint64_t page_size)
{
	size_t name_len = strlen(tracked->mapping.name);
	uint64_t first = 0;

	put_number(recorder, tracked->mapping.range.start / page_size);
	put_number(recorder, tracked->pages);
	put_number(recorder, tracked->mapping.kind);
	put_number(recorder, name_len);
	put(recorder, tracked->mapping.name, name_len);
	for (uint64_t i = 1; i <= tracked->pages; i++) {
		if (i < tracked->pages &&
		    state_of(tracked->age[i]) == state_of(tracked->age[first]))
			continue;
		put_number(recorder,
			   (i - first) << 2 | state_of(tracked->age[first]));
		first = i;
	}
}

static void put_window(struct recorder *recorder, const struct session *session)
{
	uint64_t page_size = sysconf(_SC_PAGESIZE);

	put_number(recorder, recorder->elapsed);
	put_number(recorder, session->stats.window_ns);
	put_number(recorder, session->stats.update_ns);
	put_number(recorder, session->stats.mappings);
	for (unsigned int i = 0; i < session->stats.mappings; i++)
		put_mapping(recorder, rwp_tracker_get(session->tracker, i),
			    page_size);
}

int recorder_add(struct recorder *recorder, const struct session *session)
{
	uint64_t words[2];

	recorder->elapsed += session->stats.window_ns;
	/* Room for the block's header, known when the rest is. */
	put_fixed(recorder, 0);
	put_fixed(recorder, 0);
	put_window(recorder, session);
	if (recorder->out_of_memory)
		return complain("out of memory");
	words[0] = recorder->len - RECORDING_BLOCK_HEADER;
	words[1] = recording_hash(recorder->data + RECORDING_BLOCK_HEADER,
				  words[0]);
	for (int i = 0; i < RECORDING_BLOCK_HEADER; i++)
		recorder->data[i] = words[i / 8] >> 8 * (i % 8);
	return write_out(recorder);
}

int recorder_close(struct recorder *recorder)
{
	int code = EXIT_OK;

	/* Some file systems tell only now that there was no room. */
	if (close(recorder->fd))
		code = complain("cannot write %s: %s", recorder->path,
				strerror(errno));
	free(recorder->data);
	free(recorder);
	return code;
}
