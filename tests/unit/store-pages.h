/* SPDX-License-Identifier: GPL-2.0 */
/* Pages with known content, and a store in a directory of its own. */
#ifndef TEST_STORE_PAGES_H
#define TEST_STORE_PAGES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* After those four. */
#include <cmocka.h>
#include <rwp.h>

#define KIB 1024U
#define MIB (1024 * KIB)

/* How well a page can be compressed. */
enum content { NOISE, TEXT, SAME, CONTENTS };

/* Fill @data; the same arguments give the same bytes. */
void fill(void *data, size_t len, enum content content, uint64_t seed);
bool is_filled(const void *data, size_t len, enum content content,
	       uint64_t seed);

uint32_t roll(uint64_t *state);

/* The path of a store that is not there yet, in a new directory. */
struct place {
	char dir[64], path[80], index[96];
};

int place_setup(void **state);
int place_teardown(void **state);

struct rwp_store *open_store(const struct place *place, uint64_t max_bytes,
			     unsigned int flags);
/* The error of an attempt that has to fail. */
int open_error(const struct place *place, unsigned int flags);

int save(struct rwp_store *store, uint64_t space, uint64_t offset, void *data,
	 size_t len);
int fetch(struct rwp_store *store, uint64_t space, uint64_t offset, void *data,
	  size_t len);

/* Save and fetch pages that fill() makes. */
void save_filled(struct rwp_store *store, uint64_t offset, size_t len,
		 enum content content, uint64_t seed);
void check_filled(struct rwp_store *store, uint64_t offset, size_t len,
		  enum content content, uint64_t seed);

uint64_t file_size(const char *path);

#endif
