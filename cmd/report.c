// SPDX-License-Identifier: GPL-2.0
/* rwp report: what a recording says. */
#include "report.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "command.h"

#define MAX_AGES 16
#define MAP_ROWS 32
#define MAP_COLUMNS 64
#define SVG_ROWS 160
#define SVG_COLUMNS 240

enum { KEY_RAW = 256, KEY_SVG, KEY_ASCII, KEY_NO_MAP };

struct options {
	const char *path, *svg;
	bool raw, map;
	struct heat_style style;
	uint64_t age[MAX_AGES]; /* where each class begins, nanoseconds */
	unsigned int ages;
};

/* What the first pass over the windows found. */
struct summary {
	uint64_t *touched; /* pages, for each window */
	uint64_t windows, room;
	uint64_t end; /* nanoseconds */
	uint64_t populated; /* pages, in the last window */
	uint64_t update; /* nanoseconds, all together */
	struct ages *ages;
	struct grid *grid;
};

static void parse_ages(const char *text, struct options *options,
		       struct argp_state *state)
{
	char *copy = strdup(text), *rest = copy, *word;

	options->ages = 0;
	while (copy && (word = strsep(&rest, ","))) {
		uint64_t age = parse_time(word, "--ages", state);

		if (options->ages == MAX_AGES)
			argp_error(state, "--ages: at most %d", MAX_AGES);
		if (options->ages && age <= options->age[options->ages - 1])
			argp_error(
				state,
				"--ages: each has to be greater than the one before");
		options->age[options->ages++] = age;
	}
	free(copy);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		options->style = heat_guess_style();
		options->map = true;
		parse_ages("0,5s,30s,10m", options, state);
		return 0;
	case 'a':
		parse_ages(arg, options, state);
		return 0;
	case KEY_RAW:
		options->raw = true;
		return 0;
	case KEY_SVG:
		options->svg = arg;
		return 0;
	case KEY_ASCII:
		options->style.ascii = true;
		return 0;
	case KEY_NO_MAP:
		options->map = false;
		return 0;
	case ARGP_KEY_ARG:
		if (options->path)
			argp_error(state, "one file at a time: what is '%s'?",
				   arg);
		options->path = arg;
		return 0;
	case ARGP_KEY_END:
		if (!options->path)
			argp_error(state, "which file?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static bool add_touched(struct summary *summary, uint64_t touched)
{
	if (summary->windows == summary->room) {
		uint64_t room = summary->room ? 2 * summary->room : 256;
		uint64_t *larger =
			realloc(summary->touched, room * sizeof(*larger));

		if (!larger)
			return false;
		summary->touched = larger;
		summary->room = room;
	}
	summary->touched[summary->windows++] = touched;
	return true;
}

static bool add_window(struct summary *summary,
		       const struct recorded_window *window)
{
	uint64_t touched = 0;

	summary->populated = 0;
	for (size_t i = 0; i < window->mappings; i++) {
		touched += window->mapping[i].touched;
		summary->populated += window->mapping[i].populated;
	}
	summary->end = window->end;
	summary->update += window->update;
	return add_touched(summary, touched) &&
	       ages_add(summary->ages, window) &&
	       grid_extend(summary->grid, window);
}

static int read_all(struct recording *recording, struct summary *summary)
{
	const struct recorded_window *window;

	summary->ages = ages_new();
	summary->grid = grid_new();
	if (!summary->ages || !summary->grid)
		return complain("out of memory");
	while ((window = recording_next(recording)))
		if (!add_window(summary, window))
			return complain("out of memory");
	return EXIT_OK;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The nearest rank: every figure is one that was measured. */
static void print_percentiles(const struct summary *summary, uint64_t page_size)
{
	static const unsigned int percent[] = {
		0, 1, 5, 25, 50, 75, 95, 99, 100
	};
	char text[16];

	qsort(summary->touched, summary->windows, sizeof(*summary->touched),
	      by_value);
	puts("working set, touched in one window\n  percentile      size        pages");
	for (size_t i = 0; i < sizeof(percent) / sizeof(percent[0]); i++) {
		uint64_t rank = (summary->windows * percent[i] + 99) / 100;
		uint64_t pages = summary->touched[rank ? rank - 1 : 0];

		printf("  %9u%% %9s %12llu\n", percent[i],
		       format_size(text, pages * page_size),
		       (unsigned long long)pages);
	}
}

static const char *format_time(char *text, uint64_t ns)
{
	double seconds = ns / 1e9;

	if (seconds >= 3600)
		snprintf(text, 16, "%.4gh", seconds / 3600);
	else if (seconds >= 60)
		snprintf(text, 16, "%.4gm", seconds / 60);
	else
		snprintf(text, 16, "%.4gs", seconds);
	return text;
}

static void print_ages(const struct summary *summary,
		       const struct options *options, uint64_t page_size)
{
	char from[16], to[16], size[16];

	puts("\nat the end, by the time since the last touch\n       from        to      size        pages");
	for (unsigned int i = 0; i < options->ages; i++) {
		bool last = i + 1 == options->ages;
		uint64_t pages =
			ages_count(summary->ages, options->age[i],
				   last ? UINT64_MAX : options->age[i + 1]);

		printf("  %9s %9s %9s %12llu%s\n",
		       format_time(from, options->age[i]),
		       last ? "" : format_time(to, options->age[i + 1]),
		       format_size(size, pages * page_size),
		       (unsigned long long)pages,
		       options->age[i] > summary->end ?
			       "  (longer than was recorded)" :
			       "");
	}
}

static void print_summary(const struct recording_header *header,
			  const struct summary *summary)
{
	time_t start = header->start / 1000000000;
	char when[64] = "?", size[16];
	struct tm tm;

	if (localtime_r(&start, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S %z", &tm);
	printf("%s (%llu), %s: %.1f s in %llu windows, %s there at the end\n"
	       "reading took %.2f%% of the time\n\n",
	       header->name, (unsigned long long)header->pid, when,
	       summary->end / 1e9, (unsigned long long)summary->windows,
	       format_size(size, summary->populated * header->page_size),
	       summary->end ? 100.0 * summary->update / summary->end : 0);
}

static bool fill_grid(struct recording *recording, struct summary *summary,
		      unsigned int rows, unsigned int columns)
{
	const struct recorded_window *window;

	if (!grid_begin(summary->grid, rows, columns, summary->windows))
		return false;
	recording_rewind(recording);
	while ((window = recording_next(recording)))
		grid_add(summary->grid, window);
	return true;
}

static int print_raw(struct recording *recording)
{
	uint64_t page_size = recording_header(recording)->page_size;
	const struct recorded_window *window;

	puts("end_ns,window_ns,start,size,kind,populated,touched,name");
	while ((window = recording_next(recording))) {
		for (size_t i = 0; i < window->mappings; i++) {
			const struct recorded_mapping *mapping =
				&window->mapping[i];

			printf("%llu,%llu,%llu,%llu,%s,%llu,%llu,",
			       (unsigned long long)window->end,
			       (unsigned long long)window->length,
			       (unsigned long long)(mapping->first * page_size),
			       (unsigned long long)(mapping->pages * page_size),
			       rwp_kind_name(mapping->kind),
			       (unsigned long long)mapping->populated,
			       (unsigned long long)mapping->touched);
			print_quoted(mapping->name);
			putchar('\n');
		}
	}
	return EXIT_OK;
}

static int print_report(struct recording *recording,
			const struct options *options, struct summary *summary)
{
	const struct recording_header *header = recording_header(recording);
	double seconds;
	int code = read_all(recording, summary);

	if (code)
		return code;
	if (!summary->windows)
		return complain("%s: no window was recorded", options->path);
	seconds = summary->end / 1e9;
	if (options->svg) {
		if (!fill_grid(recording, summary, SVG_ROWS, SVG_COLUMNS))
			return complain("%s: nothing to draw", options->path);
		return grid_write_svg(summary->grid, options->svg, header,
				      seconds);
	}
	print_summary(header, summary);
	print_percentiles(summary, header->page_size);
	print_ages(summary, options, header->page_size);
	if (options->map &&
	    fill_grid(recording, summary, MAP_ROWS, MAP_COLUMNS)) {
		putchar('\n');
		grid_print(summary->grid, &options->style, header->page_size,
			   seconds);
	}
	return EXIT_OK;
}

int command_report(int argc, char **argv)
{
	static const struct argp_option option_list[] = {
		{ "ages", 'a', "LIST", 0,
		  "Where the classes of age begin (default 0,5s,30s,10m)", 0 },
		{ "svg", KEY_SVG, "FILE", 0,
		  "Draw the heat map into a file, which must not exist", 0 },
		{ "raw", KEY_RAW, NULL, 0,
		  "One line a window and mapping, as CSV", 0 },
		{ "no-map", KEY_NO_MAP, NULL, 0, "The figures without the map",
		  0 },
		{ "ascii", KEY_ASCII, NULL, 0, "Draw in ASCII", 0 },
		{ 0 },
	};
	static const struct argp argp = {
		.options = option_list,
		.parser = parse,
		.args_doc = "FILE",
		.doc = "Show what `rwp record' has recorded: the size of the working set, ages, and a heat map of time by address.",
	};
	struct options options = { 0 };
	struct summary summary = { 0 };
	struct recording *recording;
	int code, written;

	parse_options(&argp, argc, argv, &options);
	code = recording_open(options.path, &recording);
	if (code)
		return code;
	code = options.raw ? print_raw(recording) :
			     print_report(recording, &options, &summary);
	if (recording_damaged(recording))
		complain(
			"%s: its last window is damaged or not complete, and was left out",
			options.path);
	written = finish_output();
	free(summary.touched);
	ages_free(summary.ages);
	grid_free(summary.grid);
	recording_close(recording);
	return code ? code : written;
}
