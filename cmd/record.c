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

/* What a recording is made of. */
struct taking {
	struct recorder *recorder;
	unsigned long long windows;
};

static int take(struct session *session, void *arg)
{
	struct taking *taking = arg;
	int code = recorder_add(taking->recorder, session);

	taking->windows += !code;
	return code;
}

static int record(struct session *session, const struct options *options)
{
	struct taking taking = { 0 };
	enum session_end end;
	int code = recorder_open(options->path, session, &taking.recorder);

	if (code)
		return code;
	code = session_run(session, &options->session, take, &taking, &end);
	if (recorder_close(taking.recorder))
		code = EXIT_FAILED;
	fprintf(stderr, "rwp: %llu windows of process %d (%s) in %s%s\n",
		taking.windows, (int)session->pid, session->name, options->path,
		end == SESSION_GONE ? "; it has ended" : "");
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
	static const struct argp argp = {
		.options = option_list,
		.parser = parse,
		.args_doc = "PID",
		.doc = "Record which memory of a running process is in use, for `rwp report'.",
		.children = session_children,
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
