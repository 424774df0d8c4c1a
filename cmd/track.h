/* SPDX-License-Identifier: GPL-2.0 */
/* What rwp track prints after each window. */
#ifndef RWP_TRACK_H
#define RWP_TRACK_H

#include <stdbool.h>

#include "heat.h"
#include "session.h"

struct track_style {
	struct heat_style heat;
	bool map; /* draw the memory of each mapping */
	bool redraw; /* in place, on a terminal */
	bool all; /* no matter how many lines */
};

void print_table(const struct session *session,
		 const struct track_style *style);
void print_json(const struct session *session, const struct track_style *style);
void print_csv(const struct session *session, const struct track_style *style);
void print_csv_header(void);

#endif
