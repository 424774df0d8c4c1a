// SPDX-License-Identifier: GPL-2.0
/* rwp track: the working set of a running process, live. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "session.h"
#include "track.h"

struct options {
	struct session_options session;
	struct track_style style;
	void (*print)(const struct session *session,
		      const struct track_style *style);
};

enum { KEY_JSON = 256, KEY_CSV, KEY_ASCII, KEY_COLOR, KEY_NO_MAP, KEY_ALL };

static bool parse_when(const char *arg, bool automatic,
		       struct argp_state *state)
{
	if (!strcmp(arg, "always"))
		return true;
	if (!strcmp(arg, "never"))
		return false;
	if (strcmp(arg, "auto"))
		argp_error(state, "--color: always, never or auto");
	return automatic;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &options->session;
		options->style.heat = heat_guess_style();
		options->style.map = true;
		options->style.redraw = isatty(STDOUT_FILENO);
		options->print = print_table;
		return 0;
	case KEY_JSON:
		options->print = print_json;
		return 0;
	case KEY_CSV:
		options->print = print_csv;
		return 0;
	case KEY_ASCII:
		options->style.heat.ascii = true;
		return 0;
	case KEY_COLOR:
		options->style.heat.color =
			parse_when(arg, options->style.heat.color, state);
		return 0;
	case KEY_NO_MAP:
		options->style.map = false;
		return 0;
	case KEY_ALL:
		options->style.all = true;
		options->style.redraw = false;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int report_end(const struct session *session, enum session_end end)
{
	switch (end) {
	case SESSION_GONE:
		/* What was asked for has been done as long as it could be. */
		fflush(stdout);
		fprintf(stderr,
			"rwp: process %d (%s) has ended or executed another program\n",
			(int)session->pid, session->name);
		return EXIT_OK;
	case SESSION_FAILED:
		return EXIT_FAILED;
	default:
		return EXIT_OK;
	}
}

static int show(struct session *session, void *arg)
{
	const struct options *options = arg;

	options->print(session, &options->style);
	return finish_output();
}

int command_track(int argc, char **argv)
{
	static const struct argp_option option_list[] = {
		{ "json", KEY_JSON, NULL, 0,
		  "One JSON object a line and window", 4 },
		{ "csv", KEY_CSV, NULL, 0, "One line a mapping and window", 4 },
		{ "no-map", KEY_NO_MAP, NULL, 0, "The table without the map",
		  5 },
		{ "all", KEY_ALL, NULL, 0,
		  "Every mapping, even if the screen is too small for them",
		  5 },
		{ "ascii", KEY_ASCII, NULL, 0, "Draw in ASCII", 5 },
		{ "color", KEY_COLOR, "WHEN", 0, "always, never or auto", 5 },
		{ 0 },
	};
	static const struct argp argp = {
		.options = option_list,
		.parser = parse,
		.args_doc = "PID",
		.doc = "Show which memory of a running process is in use.",
		.children = session_children,
	};
	struct options options = { 0 };
	struct session session;
	enum session_end end;
	int code;

	parse_options(&argp, argc, argv, &options);
	code = session_open(&session, &options.session);
	if (code)
		return code;
	if (options.print == print_csv)
		print_csv_header();
	code = session_run(&session, &options.session, show, &options, &end);
	session_close(&session);
	return code ? code : report_end(&session, end);
}
