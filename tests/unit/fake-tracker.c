// SPDX-License-Identifier: GPL-2.0
#include "fake-tracker.h"

#include <stdarg.h>
#include <string.h>

#include "command.h"
#include "recording.h"

static uint8_t age[2][FAKE_PAGES];
static struct rwp_tracked tracked[2];

int fake_state(unsigned int index, unsigned int page, unsigned int seed)
{
	unsigned int mixed = (page / 7 + 1) * (index + 3) * (seed + 5);

	return mixed * 2654435761U >> 16 & 3 ? (mixed >> 2 & 1) + 1 : 0;
}

void fake_window(struct session *session, unsigned int seed)
{
	static const uint8_t ages[] = { RWP_AGE_NONE, 3, 0 };

	memset(tracked, 0, sizeof(tracked));
	for (unsigned int i = 0; i < 2; i++) {
		tracked[i].mapping.range.start =
			0x10000000 + i * (FAKE_PAGES + 100) * 4096ULL;
		tracked[i].mapping.range.len = FAKE_PAGES * 4096ULL;
		strcpy(tracked[i].mapping.name, i ? "/memfd:\"<b>\"" : "");
		tracked[i].pages = FAKE_PAGES;
		tracked[i].age = age[i];
		for (unsigned int page = 0; page < FAKE_PAGES; page++)
			age[i][page] = ages[fake_state(i, page, seed)];
	}
	session->stats.mappings = 2;
	session->stats.window_ns = 1000000000;
	session->stats.update_ns = 1000000;
}

const struct rwp_tracked *rwp_tracker_get(struct rwp_tracker *tracker,
					  unsigned int index)
{
	(void)tracker;
	return index < 2 ? &tracked[index] : NULL;
}
