// SPDX-License-Identifier: GPL-2.0
#include "session.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"

#define NSEC_PER_SEC 1000000000ULL
#define MIN_INTERVAL 10000000ULL

/*
 * The signals are blocked but while session_window() sleeps, so that no work on
 * the process is cut short. Should one not wait for that and kill us: the
 * descriptor is closed then, and the kernel puts everything back.
 */
static volatile sig_atomic_t stopped;
static sigset_t sleeping_mask;

static void stop(int sig)
{
	(void)sig;
	stopped = 1;
}

static void catch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = stop };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		sigaddset(&set, signals[i]);
		sigaction(signals[i], &action, NULL);
	}
	sigprocmask(SIG_BLOCK, &set, &sleeping_mask);
}

static uint64_t now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec * NSEC_PER_SEC + time.tv_nsec;
}

static void read_name(struct session *session)
{
	char path[32], name[64] = "?";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)session->pid);
	file = fopen(path, "re");
	if (file) {
		if (!fgets(name, sizeof(name), file))
			strcpy(name, "?");
		fclose(file);
	}
	name[strcspn(name, "\n")] = '\0';
	clean_text(session->name, sizeof(session->name), name);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct session_options *options = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		options->interval = NSEC_PER_SEC;
		return 0;
	case 'i':
		options->interval = parse_time(arg, "--interval", state);
		if (options->interval < MIN_INTERVAL)
			argp_error(state, "--interval: the least is 10ms");
		return 0;
	case 'n':
		options->count = parse_number(arg, "--count", state);
		if (!options->count)
			argp_error(state, "--count: no window at all?");
		return 0;
	case 'm':
		options->filter.min_size = parse_size(arg, "--min-size", state);
		return 0;
	case 'M':
		options->filter.max_size = parse_size(arg, "--max-size", state);
		if (!options->filter.max_size)
			argp_error(state, "--max-size: nothing is that small");
		return 0;
	case 'k':
		options->filter.kinds = parse_kinds(arg, state);
		return 0;
	case 'S':
		options->suspend_seccomp = true;
		return 0;
	case ARGP_KEY_ARG:
		if (options->pid)
			argp_error(state,
				   "one process at a time: what is '%s'?", arg);
		options->pid = parse_pid(arg, state);
		return 0;
	case ARGP_KEY_END:
		if (!options->pid)
			argp_error(state, "which process?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option option_list[] = {
	{ "interval", 'i', "TIME", 0,
	  "Length of a window: 500ms, 2s, 1m (default 1s)", 1 },
	{ "count", 'n', "N", 0, "End after so many windows", 1 },
	{ "min-size", 'm', "SIZE", 0,
	  "Leave smaller mappings alone: 4K, 1M, 2G", 2 },
	{ "max-size", 'M', "SIZE", 0, "Leave larger mappings alone", 2 },
	{ "kind", 'k', "LIST", 0, "Only these: anon,shmem,hugetlb", 2 },
	{ "suspend-seccomp", 'S', NULL, 0,
	  "Attach to a process under a seccomp filter, by suspending the filter for one system call",
	  3 },
	{ 0 },
};

static const struct argp session_argp = {
	.options = option_list,
	.parser = parse,
};

const struct argp_child session_children[] = { { &session_argp, 0, NULL, 0 },
					       { 0 } };

/* What the kernel lacks is told before anything is done to the process. */
static int check_kernel(void)
{
	struct rwp_probe probe;
	struct rwp_error error;

	if (rwp_probe(&probe, &error))
		return complain_error(&error);
	if (probe.create_error || (probe.rwp_async && probe.maps_query))
		return EXIT_OK;
	complain("kernel %s lacks what it takes; `rwp probe' tells more",
		 probe.release);
	return EXIT_MISSING;
}

int session_open(struct session *session, const struct session_options *options)
{
	struct rwp_error error;
	int ret;

	memset(session, 0, sizeof(*session));
	session->pid = options->pid;
	session->interval = options->interval;
	read_name(session);
	ret = check_kernel();
	if (ret)
		return ret;
	catch_signals();
	ret = rwp_attach(options->pid,
			 options->suspend_seccomp ? RWP_OPEN_SUSPEND_SECCOMP :
						    0,
			 &session->rwp, &error);
	if (ret)
		return complain_error(&error);
	ret = rwp_tracker_new(session->rwp, &options->filter, &session->tracker,
			      &error);
	if (!ret)
		ret = rwp_tracker_refresh(session->tracker, &error);
	if (ret) {
		session_close(session);
		return complain_error(&error);
	}
	session->started = now(CLOCK_REALTIME);
	session->next = now(CLOCK_MONOTONIC) + session->interval;
	return EXIT_OK;
}

static enum session_end sleep_until_next(struct session *session)
{
	struct pollfd pfd = { .fd = rwp_pidfd(session->rwp), .events = POLLIN };

	while (!stopped) {
		uint64_t time = now(CLOCK_MONOTONIC);
		uint64_t left = time < session->next ? session->next - time : 0;
		struct timespec limit = { left / NSEC_PER_SEC,
					  left % NSEC_PER_SEC };
		int ret = ppoll(&pfd, 1, &limit, &sleeping_mask);

		if (ret > 0)
			return SESSION_GONE;
		if (!ret && !left)
			return SESSION_GOES_ON;
		if (ret < 0 && errno != EINTR) {
			complain("poll: %s", strerror(errno));
			return SESSION_FAILED;
		}
	}
	return SESSION_STOPPED;
}

/* Wait until the window ends, and read it. */
static enum session_end session_window(struct session *session)
{
	enum session_end end = sleep_until_next(session);
	struct rwp_error error;
	int ret;

	if (end != SESSION_GOES_ON)
		return end;
	ret = rwp_tracker_refresh(session->tracker, &error);
	if (!ret)
		ret = rwp_tracker_update(session->tracker, &error);
	if (ret == -ESRCH)
		return SESSION_GONE;
	if (ret) {
		complain_error(&error);
		return SESSION_FAILED;
	}
	session->realtime = now(CLOCK_REALTIME);
	rwp_tracker_stats(session->tracker, &session->stats);
	/* Evenly spaced, and without catching up after a delay. */
	session->next += session->interval;
	if (session->next < now(CLOCK_MONOTONIC))
		session->next = now(CLOCK_MONOTONIC) + session->interval;
	return SESSION_GOES_ON;
}

int session_run(struct session *session, const struct session_options *options,
		int (*each)(struct session *session, void *arg), void *arg,
		enum session_end *end)
{
	int code = EXIT_OK;

	*end = SESSION_GOES_ON;
	for (uint64_t i = 0; !code && (!options->count || i < options->count);
	     i++) {
		*end = session_window(session);
		if (*end != SESSION_GOES_ON)
			break;
		code = each(session, arg);
	}
	return code;
}

void session_close(struct session *session)
{
	rwp_tracker_free(session->tracker);
	rwp_close(session->rwp);
	session->tracker = NULL;
	session->rwp = NULL;
}
