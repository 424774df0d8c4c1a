// SPDX-License-Identifier: LGPL-2.1-or-later
/* How a piece of a page is kept: one byte, LZ4 or as it is. */
#include <lz4.h>
#include <string.h>
#include <xxhash.h>

#include "store.h"

#define MISSES 16
#define TRY_EVERY 16

static bool same_byte(const unsigned char *data, unsigned int len)
{
	return !memcmp(data, data + 1, len - 1);
}

/*
 * Compression pays from a quarter on: below that the fetch, which somebody is
 * waiting for, takes longer than the bytes are worth. Where it has not paid for
 * a while it is tried now and then only: finding out costs more than the copy
 * and the checksum together.
 */
static int compress(struct rwp_store *store, const void *data, unsigned int len,
		    void *out)
{
	unsigned int room = (len - len / 4) / store->unit * store->unit;
	int got;

	if (store->flags & RWP_STORE_NO_LZ4 || !room)
		return 0;
	if (store->misses >= MISSES && store->misses++ % TRY_EVERY)
		return 0;
	got = LZ4_compress_default(data, out, len, room);
	store->misses = got > 0 ? 0 : store->misses + 1;
	return got;
}

void rwpi_encode(struct rwp_store *store, const void *data, unsigned int len,
		 bool in_place, void *out, struct store_record *record)
{
	int got;

	memset(record, 0, sizeof(*record));
	record->sum = XXH3_64bits(data, len);
	if (same_byte(data, len)) {
		record->kind = KIND_SAME;
		record->position = *(const unsigned char *)data;
		return;
	}
	got = compress(store, data, len, out);
	record->kind = got > 0 ? KIND_LZ4 : KIND_PLAIN;
	record->stored = got > 0 ? (unsigned int)got : len;
	if (got <= 0 && !in_place)
		memcpy(out, data, len);
}

int rwpi_decode(const struct store_record *record, const void *in, void *data,
		unsigned int len)
{
	switch (record->kind) {
	case KIND_SAME:
		memset(data, record->position, len);
		break;
	case KIND_LZ4:
		if (LZ4_decompress_safe(in, data, record->stored, len) !=
		    (int)len)
			return -EBADMSG;
		break;
	case KIND_PLAIN:
		if (record->stored != len)
			return -EBADMSG;
		memcpy(data, in, len);
		break;
	default:
		return -EBADMSG;
	}
	return XXH3_64bits(data, len) == record->sum ? 0 : -EBADMSG;
}
