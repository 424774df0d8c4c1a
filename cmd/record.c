// SPDX-License-Identifier: GPL-2.0
/* rwp record: the working set of a running process, into a file. */
#include <stdio.h>

#include "command.h"
#include "recording.h"
#include "session.h"

struct options {
	struct session_options session;
	const char *path;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &options->session;
		return 0;
	case 'o':
		options->path = arg;
		return 0;
	case ARGP_KEY_END:
		if (!options->path)
			argp_error(state, "into which file? (-o FILE)");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int record(struct session *session, const struct options *options)
{
	enum session_end end = SESSION_GOES_ON;
	struct recorder *recorder;
	uint64_t windows = 0;
	int code = recorder_open(options->path, session, &recorder);

	if (code)
		return code;
	while (!options->session.count || windows < options->session.count) {
		end = session_window(session);
		if (end != SESSION_GOES_ON)
			break;
		code = recorder_add(recorder, session);
		if (code)
			break;
		windows++;
	}
	if (recorder_close(recorder))
		code = EXIT_FAILED;
	fprintf(stderr, "rwp: %llu windows of process %d (%s) in %s%s\n",
		(unsigned long long)windows, (int)session->pid, session->name,
		options->path, end == SESSION_GONE ? "; it has ended" : "");
	return code || end != SESSION_FAILED ? code : EXIT_FAILED;
}

int command_record(int argc, char **argv)
{
	static const struct argp_option option_list[] = {
		{ "output", 'o', "FILE", 0,
		  "Where to; it must not exist, and only its owner can read it",
		  0 },
		{ 0 },
	};
	static const struct argp_child children[] = {
		{ &session_argp, 0, NULL, 0 }, { 0 }
	};
	static const struct argp argp = {
		.options = option_list,
		.parser = parse,
		.args_doc = "PID",
		.doc = "Record which memory of a running process is in use, for `rwp report'.",
		.children = children,
	};
	struct options options = { 0 };
	struct session session;
	int code;

	parse_options(&argp, argc, argv, &options);
	code = session_open(&session, &options.session);
	if (code)
		return code;
	code = record(&session, &options);
	session_close(&session);
	return code;
}
