// SPDX-License-Identifier: GPL-2.0
/* Reading a recording. The file may be anybody's: nothing in it is believed. */
#include "recording.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "command.h"

#define MAX_PAGES (1ULL << 40)

struct recording {
	FILE *file;
	uint64_t size; /* of the file */
	struct recording_header header;
	struct recorded_window window;
	unsigned char *data; /* of the block */
	bool damaged;
};

/* What is left to read of a block; @bad once something was not there. */
struct reader {
	const unsigned char *data;
	size_t left;
	bool bad;
};

static uint64_t get_fixed(const unsigned char *bytes)
{
	uint64_t value = 0;

	for (int i = 0; i < 8; i++)
		value |= (uint64_t)bytes[i] << 8 * i;
	return value;
}

static uint64_t get_number(struct reader *reader)
{
	uint64_t value = 0;

	for (int shift = 0; shift < 64 && reader->left; shift += 7) {
		unsigned char byte = *reader->data++;

		reader->left--;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return value;
	}
	reader->bad = true;
	return 0;
}

static void get_name(struct reader *reader, char *name, size_t size)
{
	uint64_t len = get_number(reader);
	char raw[256] = "";

	if (len >= sizeof(raw) || len > reader->left) {
		reader->bad = true;
		return;
	}
	memcpy(raw, reader->data, len);
	reader->data += len;
	reader->left -= len;
	clean_text(name, size, raw);
}

static bool add_run(struct recorded_mapping *mapping, uint64_t pages,
		    enum page_state state)
{
	/* Doubled when the number is a power of two. */
	if (!(mapping->runs & (mapping->runs - 1))) {
		size_t room = mapping->runs ? 2 * mapping->runs : 1;
		struct recorded_run *run =
			realloc(mapping->run, room * sizeof(*run));

		if (!run)
			return false;
		mapping->run = run;
	}
	mapping->run[mapping->runs++] = (struct recorded_run){ pages, state };
	if (state != PAGE_ABSENT)
		mapping->populated += pages;
	if (state == PAGE_TOUCHED)
		mapping->touched += pages;
	return true;
}

static bool get_runs(struct reader *reader, struct recorded_mapping *mapping)
{
	for (uint64_t at = 0; at < mapping->pages;) {
		uint64_t number = get_number(reader);
		uint64_t pages = number >> 2;

		if (reader->bad || !pages || pages > mapping->pages - at ||
		    (number & 3) >= PAGE_STATES)
			return false;
		if (!add_run(mapping, pages, number & 3))
			return false;
		at += pages;
	}
	return true;
}

static bool get_mapping(struct reader *reader, struct recorded_mapping *mapping)
{
	mapping->first = get_number(reader);
	mapping->pages = get_number(reader);
	mapping->kind = get_number(reader);
	get_name(reader, mapping->name, sizeof(mapping->name));
	return !reader->bad && mapping->pages && mapping->pages <= MAX_PAGES &&
	       mapping->first <= UINT64_MAX / 2 &&
	       mapping->kind <= RWP_KIND_SPECIAL && get_runs(reader, mapping);
}

static void free_window(struct recorded_window *window)
{
	for (size_t i = 0; i < window->mappings; i++)
		free(window->mapping[i].run);
	free(window->mapping);
	memset(window, 0, sizeof(*window));
}

static bool get_window(struct reader *reader, struct recorded_window *window)
{
	uint64_t mappings, end = 0;

	window->end = get_number(reader);
	window->length = get_number(reader);
	window->update = get_number(reader);
	mappings = get_number(reader);
	/* Each takes some bytes, so this bounds what is allocated. */
	if (reader->bad || mappings > reader->left)
		return false;
	window->mapping = calloc(mappings + 1, sizeof(*window->mapping));
	if (!window->mapping)
		return false;
	for (uint64_t i = 0; i < mappings; i++) {
		struct recorded_mapping *mapping = &window->mapping[i];

		window->mappings++;
		/* By rising address, without overlap. */
		if (!get_mapping(reader, mapping) || mapping->first < end)
			return false;
		end = mapping->first + mapping->pages;
	}
	return !reader->left;
}

/* Returns the content's length, 0 at the end of the file. */
static size_t read_block(struct recording *recording)
{
	unsigned char head[RECORDING_BLOCK_HEADER];
	size_t got = fread(head, 1, sizeof(head), recording->file);
	uint64_t len, at = ftello(recording->file);

	if (!got)
		return 0;
	recording->damaged = true;
	if (got != sizeof(head))
		return 0;
	len = get_fixed(head);
	if (!len || len > recording->size - at)
		return 0;
	free(recording->data);
	recording->data = malloc(len);
	if (!recording->data ||
	    fread(recording->data, 1, len, recording->file) != len ||
	    recording_hash(recording->data, len) != get_fixed(head + 8))
		return 0;
	recording->damaged = false;
	return len;
}

const struct recorded_window *recording_next(struct recording *recording)
{
	struct reader reader = { 0 };

	free_window(&recording->window);
	if (recording->damaged)
		return NULL;
	reader.left = read_block(recording);
	reader.data = recording->data;
	if (!reader.left)
		return NULL;
	if (get_window(&reader, &recording->window))
		return &recording->window;
	recording->damaged = true;
	return NULL;
}

static bool read_header(struct recording *recording)
{
	struct recording_header *header = &recording->header;
	unsigned char bytes[RECORDING_HEADER_SIZE];
	char name[64];

	if (fread(bytes, 1, sizeof(bytes), recording->file) != sizeof(bytes) ||
	    memcmp(bytes, RECORDING_MAGIC, 8))
		return false;
	header->page_size = get_fixed(bytes + 8);
	header->pid = get_fixed(bytes + 16);
	header->start = get_fixed(bytes + 24);
	header->interval = get_fixed(bytes + 32);
	memcpy(name, bytes + 40, sizeof(name));
	name[sizeof(name) - 1] = '\0';
	clean_text(header->name, sizeof(header->name), name);
	return header->page_size >= 4096 && header->page_size <= 65536;
}

int recording_open(const char *path, struct recording **out)
{
	struct recording *recording = calloc(1, sizeof(*recording));
	struct stat st;

	if (!recording)
		return complain("out of memory");
	recording->file = fopen(path, "re");
	if (!recording->file || fstat(fileno(recording->file), &st)) {
		complain("cannot read %s: %s", path, strerror(errno));
		recording_close(recording);
		return EXIT_FAILED;
	}
	recording->size = st.st_size;
	if (!S_ISREG(st.st_mode) || !read_header(recording)) {
		complain("%s is not a recording of rwp", path);
		recording_close(recording);
		return EXIT_FAILED;
	}
	*out = recording;
	return EXIT_OK;
}

const struct recording_header *
recording_header(const struct recording *recording)
{
	return &recording->header;
}

bool recording_damaged(const struct recording *recording)
{
	return recording->damaged;
}

void recording_rewind(struct recording *recording)
{
	fseeko(recording->file, RECORDING_HEADER_SIZE, SEEK_SET);
	recording->damaged = false;
}

void recording_close(struct recording *recording)
{
	free_window(&recording->window);
	free(recording->data);
	if (recording->file)
		fclose(recording->file);
	free(recording);
}
