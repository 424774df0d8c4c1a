// SPDX-License-Identifier: GPL-2.0
/* rwp: which memory of a process is cold. Each subcommand has its own file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "probe", command_probe },
	{ "track", command_track },
	{ "record", command_record },
	{ "report", command_report },
	{ "serve", command_serve },
};

const char *argp_program_version = "rwp " RWP_VERSION;

static const char doc[] =
	"Track and evict the memory of running processes with userfaultfd read-write "
	"protection.\v"
	"Commands:\n"
	"  probe               what the running kernel offers\n"
	"  track PID           the working set of a running process, live\n"
	"  record PID -o FILE  the same, into a file\n"
	"  report FILE         what such a file says\n"
	"  serve               evict the cold memory of virtual machines\n"
	"\n"
	"`rwp COMMAND --help' lists the options of each; see rwp(1).";

struct choice {
	const struct command *command;
	int first; /* where in argv it stands */
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct choice *choice = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]);
		     i++)
			if (!strcmp(arg, commands[i].name))
				choice->command = &commands[i];
		if (!choice->command)
			argp_error(state, "there is no command '%s'", arg);
		choice->first = state->next - 1;
		/* What follows is the command's own. */
		state->next = state->argc;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which command?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse,
		.args_doc = "COMMAND [OPTION...]",
		.doc = doc,
	};
	struct choice choice = { 0 };

	argp_err_exit_status = EXIT_USAGE;
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &choice);
	return choice.command->run(argc - choice.first, argv + choice.first);
}
