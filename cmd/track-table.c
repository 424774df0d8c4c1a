// SPDX-License-Identifier: GPL-2.0
/* The table of rwp track, with a map of the memory of each mapping. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "command.h"
#include "track.h"

#define HEADER_LINES 5
/* Without a terminal to fit into. */
#define DEFAULT_LINES 40
#define DEFAULT_COLUMNS 110
#define LEFT_COLUMNS 61 /* the table, without the map */
#define MIN_MAP_COLUMNS 16
#define MAX_MAP_COLUMNS 128
#define MAX_ROWS_EACH 16

/* Older than this many windows is called idle. */
#define IDLE_WINDOWS 10

/* One mapping, and how many lines its map gets. */
struct line {
	const struct rwp_tracked *tracked;
	unsigned int rows;
};

struct screen {
	const struct track_style *style;
	unsigned int lines, columns; /* of the map */
};

static struct screen measure(const struct track_style *style)
{
	struct screen screen = { .style = style };
	unsigned int lines = DEFAULT_LINES, columns = DEFAULT_COLUMNS;
	struct winsize size;

	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_row &&
	    size.ws_col) {
		lines = size.ws_row;
		columns = size.ws_col;
	}
	screen.lines = lines > HEADER_LINES + 2 ? lines - HEADER_LINES - 2 : 1;
	screen.columns = columns > LEFT_COLUMNS + MIN_MAP_COLUMNS ?
				 columns - LEFT_COLUMNS - 1 :
				 MIN_MAP_COLUMNS;
	if (screen.columns > MAX_MAP_COLUMNS)
		screen.columns = MAX_MAP_COLUMNS;
	return screen;
}

static int by_size(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	if (x->tracked->populated != y->tracked->populated)
		return x->tracked->populated < y->tracked->populated ? 1 : -1;
	return x->tracked < y->tracked ? -1 : 1;
}

static int by_address(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return x->tracked->mapping.range.start <
			       y->tracked->mapping.range.start ?
		       -1 :
		       1;
}

/* The mappings that have anything in them, the largest first. */
static struct line *list(const struct session *session, unsigned int *count)
{
	struct line *line = calloc(session->stats.mappings + 1, sizeof(*line));
	const struct rwp_tracked *tracked;

	*count = 0;
	for (unsigned int i = 0; line && i < session->stats.mappings; i++) {
		tracked = rwp_tracker_get(session->tracker, i);
		if (tracked->populated)
			line[(*count)++] = (struct line){ tracked, 1 };
	}
	if (line)
		qsort(line, *count, sizeof(*line), by_size);
	return line;
}

/* Lines that are left go to the mapping with the most memory a line. */
static void spread(struct line *line, unsigned int count, unsigned int lines,
		   unsigned int columns)
{
	while (lines-- > count) {
		struct line *best = NULL;

		for (unsigned int i = 0; i < count; i++) {
			/* A cell for less than a page shows nothing more. */
			if (line[i].tracked->pages <=
				    (uint64_t)line[i].rows * columns ||
			    line[i].rows == MAX_ROWS_EACH)
				continue;
			if (!best || line[i].tracked->pages / line[i].rows >
					     best->tracked->pages / best->rows)
				best = &line[i];
		}
		if (!best)
			return;
		best->rows++;
	}
}

static enum heat cell_heat(const struct rwp_tracked *tracked, uint64_t first,
			   uint64_t after)
{
	uint64_t hot = 0, there = 0;

	for (uint64_t i = first; i < after; i++) {
		hot += !tracked->age[i];
		there += tracked->age[i] != RWP_AGE_NONE;
	}
	return heat_of(hot, there);
}

/* Row @row of @rows: every page is in one cell, and every cell has a page. */
static void print_map_row(const struct screen *screen, const struct line *line,
			  unsigned int row)
{
	uint64_t cells = (uint64_t)line->rows * screen->columns;
	uint64_t pages = line->tracked->pages;
	uint8_t cell[MAX_MAP_COLUMNS];
	unsigned int count = 0;

	if (cells > pages)
		cells = pages;
	for (uint64_t i = (uint64_t)row * screen->columns;
	     i < cells && count < screen->columns; i++)
		cell[count++] = cell_heat(line->tracked, i * pages / cells,
					  (i + 1) * pages / cells);
	heat_print(stdout, &screen->style->heat, cell, count);
}

static uint64_t count_idle(const struct rwp_tracked *tracked)
{
	uint64_t idle = 0;

	for (uint64_t i = 0; i < tracked->pages; i++)
		idle += tracked->age[i] >= IDLE_WINDOWS &&
			tracked->age[i] != RWP_AGE_NONE;
	return idle;
}

/* The end of a path says more than its beginning, and than "(deleted)". */
static void short_name(char *to, size_t size, const struct rwp_mapping *mapping)
{
	static const char deleted[] = " (deleted)";
	char name[256];
	size_t len;

	clean_text(name, sizeof(name), mapping->name);
	len = strlen(name);
	if (len >= sizeof(deleted) &&
	    !strcmp(name + len + 1 - sizeof(deleted), deleted)) {
		len -= sizeof(deleted) - 1;
		name[len] = '\0';
	}
	if (len < size)
		memcpy(to, name, len + 1);
	else
		snprintf(to, size, "~%s", name + len - size + 2);
}

static void print_line(const struct screen *screen, const struct line *line,
		       uint64_t page_size)
{
	const struct rwp_tracked *tracked = line->tracked;
	char there[16], hot[16], idle[16], name[18];

	short_name(name, sizeof(name), &tracked->mapping);
	printf("%12llx %7s %7s %7s  %-7s %-17s",
	       (unsigned long long)tracked->mapping.range.start,
	       format_size(there, tracked->populated * page_size),
	       format_size(hot, tracked->accessed * page_size),
	       format_size(idle, count_idle(tracked) * page_size),
	       rwp_kind_name(tracked->mapping.kind), name);
	for (unsigned int row = 0; screen->style->map && row < line->rows;
	     row++) {
		if (row)
			printf("\n%*s", LEFT_COLUMNS - 1, "");
		putchar(' ');
		print_map_row(screen, line, row);
	}
	/* What an earlier, longer line left on the screen. */
	puts(screen->style->redraw ? "\033[K" : "");
}

static void print_header(const struct session *session, uint64_t page_size)
{
	const struct rwp_tracker_stats *stats = &session->stats;
	double share = stats->populated ?
			       100.0 * stats->accessed / stats->populated :
			       0;
	char there[16], hot[16];

	printf("%s (%d): window %.3f s, of it %.1f ms to read it; %u mappings\n",
	       session->name, (int)session->pid, stats->window_ns / 1e9,
	       stats->update_ns / 1e6, stats->mappings);
	printf("touched in it: %s of %s (%.1f%%)\n\n",
	       format_size(hot, stats->accessed * page_size),
	       format_size(there, stats->populated * page_size), share);
	printf("%12s %7s %7s %7s  %-7s %-17s\n", "ADDRESS", "THERE", "TOUCHED",
	       "IDLE", "KIND", "NAME");
}

void print_table(const struct session *session, const struct track_style *style)
{
	struct screen screen = measure(style);
	uint64_t page_size = sysconf(_SC_PAGESIZE);
	unsigned int count, shown;
	struct line *line = list(session, &count);

	if (!line)
		return;
	shown = style->all || count <= screen.lines ? count : screen.lines;
	if (style->map && !style->all)
		spread(line, shown, screen.lines, screen.columns);
	qsort(line, shown, sizeof(*line), by_address);
	/* Home, and not clear: a clear flickers. */
	if (style->redraw)
		fputs("\033[H\033[2J", stdout);
	print_header(session, page_size);
	for (unsigned int i = 0; i < shown; i++)
		print_line(&screen, &line[i], page_size);
	if (shown < count)
		printf("and %u smaller ones (--all)\n", count - shown);
	if (style->map)
		heat_print_legend(stdout, &style->heat);
	if (!style->redraw)
		putchar('\n');
	free(line);
}
