// SPDX-License-Identifier: GPL-2.0
/*
 * rwp-demo: find the hot pages of a running "virtual machine" with userfaultfd
 * read-write protection, and trap what touches the cold ones.
 *
 *   main.c      options, and the two processes
 *   manager.c   the main job: arm, wait, switch, scan, compare
 *   trap.c      what happens to a vCPU that touches a cold page
 *   uffd.c      the userfaultfd calls      hotset.c   PAGEMAP_SCAN
 *   guest.c     the virtual machine        workload.c which pages are hot
 *   channel.c   how the descriptor travels control.h  how the truth is known
 *   vm.c        the manager's view of the guest
 *   picture.c, report.c, util.c            what is printed
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"
#include "guest.h"
#include "manager.h"
#include "uffd.h"
#include "util.h"

#define CONNECT_TIMEOUT_MS 60000

struct options {
	struct guest_config guest;
	struct picture_style style;
	unsigned int windows;
	unsigned int window_ms;
	unsigned int limit_seconds;
};

static const char usage[] =
	"Usage: rwp-demo [OPTION]...\n"
	"Find the hot pages of a running process with userfaultfd read-write\n"
	"protection, and compare them with the truth, page by page.\n"
	"\n"
	"  --memory MIB     guest memory, a multiple of 16 (default 64)\n"
	"  --vcpus N        guest threads, 1 to 16 (default 4)\n"
	"  --windows N      how often to look (default 3)\n"
	"  --window-ms MS   how long a window is at least (default 300)\n"
	"  --seed N         another hot set (default 1)\n"
	"  --time-limit S   seconds that one step may take (default 60)\n"
	"  --color[=WHEN]   always, never, or auto: on a terminal (default)\n"
	"  --ascii[=WHEN]   draw without block characters: always, never, or\n"
	"                   auto: where the locale is not UTF-8 (default)\n"
	"  --help           show this text\n"
	"\n"
	"Status 0: all as it should be. 1: a page was missed or wrong, or anything\n"
	"else went wrong. 2: bad usage.\n";

static void bad_usage(const char *option)
{
	fprintf(stderr, "rwp-demo: bad value for --%s; see --help\n", option);
	exit(2);
}

static unsigned long number(const struct option *option, const char *text,
			    unsigned long min, unsigned long max)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || value < min ||
	    value > max)
		bad_usage(option->name);
	return value;
}

/* The value of --color and --ascii. */
static bool decide(const struct option *option, const char *when,
		   bool (*automatic)(void))
{
	if (!when || !strcmp(when, "always"))
		return true;
	if (!strcmp(when, "never"))
		return false;
	if (strcmp(when, "auto"))
		bad_usage(option->name);
	return automatic();
}

static bool has_color(void)
{
	return isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
}

/* Blocks, unless the locale is set and says that they would not come out. */
static bool lacks_blocks(void)
{
	static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const char *value = getenv(names[i]);

		if (value && *value)
			return !strcasestr(value, "UTF-8") &&
			       !strcasestr(value, "UTF8");
	}
	return false;
}

static void parse(struct options *options, int argc, char **argv)
{
	static const struct option list[] = {
		{ "memory", required_argument, NULL, 'm' },
		{ "vcpus", required_argument, NULL, 'v' },
		{ "windows", required_argument, NULL, 'w' },
		{ "window-ms", required_argument, NULL, 'l' },
		{ "seed", required_argument, NULL, 's' },
		{ "time-limit", required_argument, NULL, 't' },
		{ "color", optional_argument, NULL, 'c' },
		{ "ascii", optional_argument, NULL, 'a' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	int c, i = 0;

	while ((c = getopt_long(argc, argv, "", list, &i)) != -1) {
		switch (c) {
		case 'm':
			options->guest.memory =
				number(&list[i], optarg, 16, 65536) << 20;
			if (options->guest.memory % (16 << 20))
				bad_usage("memory");
			break;
		case 'v':
			options->guest.vcpus =
				number(&list[i], optarg, 1, MAX_VCPUS);
			break;
		case 'w':
			options->windows = number(&list[i], optarg, 1, 1000);
			break;
		case 'l':
			options->window_ms = number(&list[i], optarg, 0, 60000);
			break;
		case 's':
			options->guest.seed =
				number(&list[i], optarg, 0, UINT32_MAX);
			break;
		case 't':
			options->limit_seconds =
				number(&list[i], optarg, 1, 86400);
			break;
		case 'c':
			options->style.color =
				decide(&list[i], optarg, has_color);
			break;
		case 'a':
			options->style.ascii =
				decide(&list[i], optarg, lacks_blocks);
			break;
		case 'h':
			fputs(usage, stdout);
			exit(EXIT_SUCCESS);
		default:
			exit(2);
		}
	}
	if (optind < argc) {
		fprintf(stderr,
			"rwp-demo: no arguments expected; see --help\n");
		exit(2);
	}
}

/* The guest needs no word: the kernel kills it when this process is gone. */
static void interrupted(int signal)
{
	static const char text[] = "\033[0m\nrwp-demo: interrupted\n";
	bool terminal = isatty(STDERR_FILENO);

	/* The colors are for terminals, and so is their end. */
	if (write(STDERR_FILENO, text + (terminal ? 0 : 5),
		  sizeof(text) - 1 - (terminal ? 0 : 5)) < 0)
		_exit(128 + signal);
	_exit(128 + signal);
}

static void on_interrupt(void (*handler)(int))
{
	signal(SIGINT, handler);
	signal(SIGTERM, handler);
	signal(SIGHUP, handler);
}

static pid_t start_guest(const struct options *options, pid_t manager)
{
	pid_t pid = fork();

	if (pid < 0)
		die_errno("cannot fork the guest");
	if (!pid) {
		/* Ctrl-C is for the manager; the guest follows it. */
		on_interrupt(SIG_IGN);
		guest_main(&options->guest, manager);
	}
	return pid;
}

int main(int argc, char **argv)
{
	struct options options = {
		.guest = { .memory = 64 << 20, .vcpus = 4, .seed = 1 },
		.windows = 3,
		.window_ms = 300,
		.limit_seconds = 60,
	};
	struct manager manager = {};
	pid_t guest;
	int listener;

	setvbuf(stdout, NULL, _IOLBF, 0);
	options.style.color = has_color();
	options.style.ascii = lacks_blocks();
	parse(&options, argc, argv);

	/* Say at once when the kernel cannot do it. */
	close(uffd_create());

	listener = channel_listen(getpid());
	guest = start_guest(&options, getpid());
	on_interrupt(interrupted);
	watch_start(options.limit_seconds, guest);

	step("the guest fills %llu MiB of memory, %u vCPUs",
	     (unsigned long long)options.guest.memory >> 20,
	     options.guest.vcpus);
	vm_receive(&manager.vm,
		   channel_accept(listener, guest, CONNECT_TIMEOUT_MS), guest);
	close(listener);
	step("process %d gave its userfaultfd to the manager", guest);

	manager.style = options.style;
	manager.windows = options.windows;
	manager.window_ms = options.window_ms;
	manager.random = options.guest.seed;
	manager_run(&manager);
	return EXIT_SUCCESS;
}
