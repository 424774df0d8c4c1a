// SPDX-License-Identifier: GPL-2.0
/* rwp serve: move the cold memory of virtual machines out, into a file. */
#include "serve.h"

#include <stdlib.h>
#include <string.h>

#include "command.h"

#define MSEC 1000000ULL
#define SEC (1000 * MSEC)

enum {
	KEY_AGE = 256,
	KEY_TARGET,
	KEY_BANDWIDTH,
	KEY_STORE_SIZE,
	KEY_UNIT,
	KEY_DRY_RUN,
	KEY_METRICS,
	KEY_KEEP,
	KEY_UID,
	KEY_TIMEOUT,
	KEY_MACHINES,
};

static const struct argp_option option_list[] = {
	{ "socket", 's', "PATH", 0, "Where monitors connect to", 1 },
	{ "store", 'f', "FILE", 0,
	  "Where evicted pages go; FILE.index is made beside it", 1 },
	{ "store-size", KEY_STORE_SIZE, "SIZE", 0,
	  "At most this much of the disk (default: all of it)", 1 },
	{ "interval", 'i', "TIME", 0,
	  "How often to look what was accessed (default 10s)", 2 },
	{ "age", KEY_AGE, "TIME", 0,
	  "Evict what was not accessed for so long (default 5m; 0: never for its age)",
	  2 },
	{ "target", KEY_TARGET, "SIZE|N%", 0,
	  "Evict the oldest until a machine has no more than this in memory; what was accessed in the last interval stays",
	  2 },
	{ "bandwidth", KEY_BANDWIDTH, "SIZE", 0,
	  "Evict at most so many bytes a second of each machine", 2 },
	{ "unit", KEY_UNIT, "SIZE", 0,
	  "Evict this much or nothing, as 2M for huge pages (default: a page)",
	  2 },
	{ "dry-run", KEY_DRY_RUN, NULL, 0,
	  "Say what would be evicted, and evict nothing", 2 },
	{ "metrics", KEY_METRICS, "FILE|unix:PATH", 0,
	  "Show counters in the text format of Prometheus", 3 },
	{ "keep", KEY_KEEP, "WHO", 0,
	  "Who keeps the descriptors should the manager die: supervisor (default), systemd (its file descriptor store), or none",
	  4 },
	{ "allow-uid", KEY_UID, "UID", 0,
	  "Take machines of this user too; may be given again", 4 },
	{ "timeout", KEY_TIMEOUT, "TIME", 0,
	  "How long a monitor may take to hand over (default 5s)", 4 },
	{ "machines", KEY_MACHINES, "N", 0, "At most so many (default 64)", 4 },
	{ 0 },
};

static void parse_target(const char *text, struct serve_options *options,
			 struct argp_state *state)
{
	size_t len = strlen(text);
	char number[8];
	uint64_t value;

	options->target = 0;
	options->target_percent = 0;
	if (!len || text[len - 1] != '%') {
		options->target = parse_size(text, "--target", state);
		if (!options->target)
			argp_error(state, "--target: no memory at all?");
		return;
	}
	if (len > sizeof(number))
		argp_error(state, "--target: '%s' is not 1%% to 99%%", text);
	memcpy(number, text, len - 1);
	number[len - 1] = '\0';
	value = parse_number(number, "--target", state);
	if (!value || value > 99)
		argp_error(state, "--target: '%s' is not 1%% to 99%%", text);
	options->target_percent = value;
}

static enum keep parse_keep(const char *text, struct argp_state *state)
{
	if (!strcmp(text, "supervisor"))
		return KEEP_SUPERVISOR;
	if (!strcmp(text, "systemd"))
		return KEEP_SYSTEMD;
	if (strcmp(text, "none"))
		argp_error(state, "--keep: supervisor, systemd or none");
	return KEEP_NONE;
}

static void check(const struct serve_options *options, struct argp_state *state)
{
	if (!options->socket)
		argp_error(state, "on which socket? (--socket PATH)");
	if (!options->store)
		argp_error(state, "into which file? (--store FILE)");
	if (options->age && options->age < options->interval)
		argp_error(state, "--age: shorter than --interval");
	if (options->age / options->interval > RWP_AGE_MAX)
		argp_error(state, "--age: more than %d times --interval",
			   RWP_AGE_MAX);
	if (options->unit & (options->unit - 1) || options->unit > 1ULL << 30 ||
	    (options->unit && options->unit < 4096))
		argp_error(state,
			   "--unit: a power of two between 4K and 1G");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct serve_options *options = state->input;

	switch (key) {
	case 's':
		options->socket = arg;
		return 0;
	case 'f':
		options->store = arg;
		return 0;
	case 'i':
		options->interval = parse_time(arg, "--interval", state);
		if (options->interval < 10 * MSEC)
			argp_error(state, "--interval: the least is 10ms");
		return 0;
	case KEY_AGE:
		options->age = parse_time(arg, "--age", state);
		return 0;
	case KEY_TARGET:
		parse_target(arg, options, state);
		return 0;
	case KEY_BANDWIDTH:
		options->bandwidth = parse_size(arg, "--bandwidth", state);
		if (options->bandwidth < 4096)
			argp_error(state, "--bandwidth: the least is 4K");
		return 0;
	case KEY_STORE_SIZE:
		options->store_size = parse_size(arg, "--store-size", state);
		return 0;
	case KEY_UNIT:
		options->unit = parse_size(arg, "--unit", state);
		return 0;
	case KEY_DRY_RUN:
		options->dry_run = true;
		return 0;
	case KEY_METRICS:
		options->metrics = arg;
		return 0;
	case KEY_KEEP:
		options->keep = parse_keep(arg, state);
		return 0;
	case KEY_UID:
		if (options->uids == UIDS_MAX)
			argp_error(state, "--allow-uid: %d are enough",
				   UIDS_MAX);
		options->uid[options->uids++] =
			parse_number(arg, "--allow-uid", state);
		return 0;
	case KEY_TIMEOUT:
		options->timeout = parse_time(arg, "--timeout", state);
		if (options->timeout < 10 * MSEC ||
		    options->timeout > 3600 * SEC)
			argp_error(state, "--timeout: between 10ms and 1h");
		return 0;
	case KEY_MACHINES:
		options->machines = parse_number(arg, "--machines", state);
		if (!options->machines || options->machines > 1024)
			argp_error(state, "--machines: between 1 and 1024");
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "what is '%s'?", arg);
		return 0;
	case ARGP_KEY_END:
		check(options, state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* What the kernel lacks is told before anybody connects. */
static int check_kernel(void)
{
	struct rwp_probe probe;
	struct rwp_error error;

	if (rwp_probe(&probe, &error))
		return complain_error(&error);
	/* The monitor makes the userfaultfd: that we may not is no obstacle. */
	if (probe.create_error ||
	    (probe.rwp && probe.set_mode && probe.scan && probe.maps_query))
		return EXIT_OK;
	complain("kernel %s lacks what it takes; `rwp probe' tells more",
		 probe.release);
	return EXIT_MISSING;
}

static int work_alone(const struct serve_options *options)
{
	struct keeper keeper;
	struct kept *kept = NULL;
	unsigned int count = 0;
	int ret = keeper_connect(&keeper, options->keep);

	if (ret)
		return ret;
	if (options->keep == KEEP_NONE && !options->dry_run)
		complain("without --keep: should this process die, the machines whose memory it has evicted wait for ever");
	ret = keeper_inherit(&kept, &count);
	if (ret)
		return ret;
	return serve_work(options, &keeper, kept, count);
}

int command_serve(int argc, char **argv)
{
	static const struct argp argp = {
		.options = option_list,
		.parser = parse,
		.doc = "Take over the memory of virtual machines, as Firecracker hands it over, and keep what is cold in a file.",
	};
	struct serve_options options = {
		.interval = 10 * SEC,
		.age = 300 * SEC,
		.timeout = 5 * SEC,
		.machines = 64,
	};
	int code;

	parse_options(&argp, argc, argv, &options);
	code = check_kernel();
	if (code)
		return code;
	signal(SIGPIPE, SIG_IGN);
	return options.keep == KEEP_SUPERVISOR ?
		       supervise(&options, serve_work) :
		       work_alone(&options);
}
