/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a store looks like on disk: two files, PATH with the data and PATH.index
 * with one record for each piece of a page. Numbers are in the machine's byte
 * order; a store does not travel.
 *
 * PATH        header (4 KiB), then units of 512 bytes or 4 KiB, whichever
 *             direct I/O needs there. A piece takes neighbouring units.
 * PATH.index  header (4 KiB), then groups. A group is a directory of CHUNKS
 *             entries (4 KiB), then as many chunks; a chunk has the records of
 *             CHUNK_SPAN bytes of one space, by offset. Most of the file is
 *             usually a hole.
 *
 * A page of more than PIECE_MAX bytes is kept in pieces; the record of the
 * first, the head, is written last and taken away first, and the page is held
 * exactly as long as the head is there.
 *
 * Why a process may be killed at any moment: the index is changed by pwrite() of
 * records of 32 bytes that never cross a page of the page cache, so a record is
 * there or not. It is written after the data it points to, and the units of the
 * record it replaces are free for others only after that. Nothing of that holds
 * across a power cut unless rwp_store_sync() was called in between; then the
 * checksums tell what did not survive.
 */
#ifndef RWP_STORE_FORMAT_H
#define RWP_STORE_FORMAT_H

#include <stdint.h>

#define STORE_DATA_MAGIC "RWPdata"
#define STORE_INDEX_MAGIC "RWPindx"
#define STORE_VERSION 1
#define STORE_HEADER 4096

struct store_header {
	char magic[8];
	uint32_t version;
	uint32_t unit; /* bytes */
	uint64_t id; /* the same in both files, another in each store */
	uint32_t ready; /* data: the index was made */
	uint32_t groups; /* index: how many there are */
	uint64_t check; /* of all above */
};

#define PAGE_MIN_SHIFT 12
#define PAGE_MAX_SHIFT 30
#define PIECE_SHIFT 16
#define PIECE_MAX (1U << PIECE_SHIFT)

enum {
	KIND_NONE,
	KIND_SAME,
	KIND_LZ4,
	KIND_PLAIN,
	KIND_LOST, /* held, but its data was cut off */
};

struct store_record {
	uint64_t position; /* in units; KIND_SAME: the byte */
	uint64_t sum; /* of the piece as it was in memory */
	uint32_t stored; /* bytes in the file, before rounding up to units */
	uint8_t kind; /* KIND_NONE: the whole record is zero */
	uint8_t shift; /* of the page's length */
	uint8_t zero[2];
	uint64_t check; /* of all above, and of what the record stands for */
};

/* A directory entry: which part of which space the chunk stands for. */
struct store_chunk {
	uint64_t space;
	uint64_t base; /* offset >> CHUNK_SHIFT */
	uint64_t used; /* 1; 0: the whole entry is zero */
	uint64_t check;
};

#define CHUNK_SHIFT 21
#define CHUNK_RECORDS (1U << (CHUNK_SHIFT - PAGE_MIN_SHIFT))
#define CHUNK_BYTES (CHUNK_RECORDS * sizeof(struct store_record))
#define CHUNKS (4096 / sizeof(struct store_chunk))
#define GROUP_BYTES (4096 + CHUNKS * CHUNK_BYTES)

_Static_assert(sizeof(struct store_record) == 32, "records divide a page");
_Static_assert(sizeof(struct store_chunk) == 32, "entries divide a page");
_Static_assert(sizeof(struct store_header) == 40, "no padding");

#endif
