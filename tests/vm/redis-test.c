// SPDX-License-Identifier: GPL-2.0
/*
 * redis-server from Debian, which knows nothing of it, with a known hot set of
 * keys: the pages of its values are compared with what the tracker finds.
 *
 * A short string is one object of 64 bytes, whose address redis tells (DEBUG
 * OBJECT), and its allocator keeps objects of one size on pages of their own. So
 * for pages that are full of values the truth is known: hot are those with the
 * value of a hot key. On others redis may put something else meanwhile.
 */
#include <libgen.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "target.h"
#include "test.h"

#define KEYS 40000
#define AT_ONCE 100
#define VALUE 64UL /* bytes */
#define HOT_KEYS 60
#define WINDOWS 5
#define PAGE 4096UL
#define SOCKET "/tmp/rwp-redis.sock"

static uint64_t value_at[KEYS]; /* addresses */
static FILE *redis, *answers; /* one connection, both ways */

/* Beside this program; with a loader and libraries of its own. */
static void run_redis(void)
{
	char self[256] = "", dir[300], loader[400], lib[400], program[400];

	CHECK(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	snprintf(dir, sizeof(dir), "%s/redis", dirname(self));
	snprintf(loader, sizeof(loader), "%s/lib/ld-linux-x86-64.so.2", dir);
	snprintf(lib, sizeof(lib), "%s/lib", dir);
	snprintf(program, sizeof(program), "%s/redis-server", dir);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* It greets at length. */
	CHECK(freopen("/dev/null", "w", stdout));
	execl(loader, loader, "--library-path", lib, program, "--port", "0",
	      "--unixsocket", SOCKET, "--save", "", "--dir", "/tmp",
	      "--enable-debug-command", "yes", "--activerehashing", "no",
	      "--loglevel", "warning", NULL);
	_exit(127);
}

static void connect_to_redis(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = SOCKET };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ret = -1;

	for (int i = 0; i < 3000 && ret; i++) {
		ret = connect(fd, (struct sockaddr *)&addr, sizeof(addr));
		if (ret)
			nap_ms(10);
	}
	if (ret)
		FAIL("redis does not answer");
	redis = fdopen(fd, "w");
	answers = fdopen(dup(fd), "r");
	CHECK(redis && answers);
}

static void ask(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void ask(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vfprintf(redis, fmt, args);
	va_end(args);
	fputs("\r\n", redis);
}

static const char *answer(void)
{
	static char line[512];

	fflush(redis);
	CHECK(fgets(line, sizeof(line), answers));
	if (line[0] == '-')
		FAIL("redis says %s", line);
	return line;
}

/* 44 bytes: the longest that is kept in one piece with its object. */
static void fill_some(int from, int to)
{
	for (int key = from; key < to; key++)
		ask("SET key:%08d %044d", key, key);
	for (int key = from; key < to; key++)
		CHECK(!strncmp(answer(), "+OK", 3));
}

static void find_some(int from, int to)
{
	const char *said;

	for (int key = from; key < to; key++)
		ask("DEBUG OBJECT key:%08d", key);
	for (int key = from; key < to; key++) {
		said = answer();
		CHECK(strstr(said, "encoding:embstr"));
		CHECK_EQ(sscanf(said, "+Value at:%lx", &value_at[key]), 1);
	}
}

/* Many at once: a round trip takes its time where all is emulated. */
static void fill(void)
{
	for (int key = 0; key < KEYS; key += AT_ONCE)
		fill_some(key, key + AT_ONCE);
	for (int key = 0; key < KEYS; key += AT_ONCE)
		find_some(key, key + AT_ONCE);
}

static void get(int key)
{
	char expected[64];

	ask("GET key:%08d", key);
	CHECK(!strncmp(answer(), "$44", 3));
	snprintf(expected, sizeof(expected), "%044d\r\n", key);
	CHECK(!strcmp(answer(), expected));
}

/* The keys of a window: others in each, all over the memory. */
static int hot_key(int window, int i)
{
	return (i * 661 + window * 7919) % KEYS;
}

static bool found_hot(struct rwp_tracker *tracker, uint64_t addr)
{
	const struct rwp_tracked *tracked;

	for (unsigned int i = 0; (tracked = rwp_tracker_get(tracker, i)); i++) {
		uint64_t offset = addr - tracked->mapping.range.start;

		if (offset < tracked->mapping.range.len)
			return !tracked->age[offset / PAGE];
	}
	FAIL("%lx is not tracked", addr);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static bool is_hot(int window, uint64_t page)
{
	for (int i = 0; i < HOT_KEYS; i++)
		if (value_at[hot_key(window, i)] / PAGE == page)
			return true;
	return false;
}

/* Compare on every page full of values; what else redis touches is its own. */
static void compare(struct rwp_tracker *tracker, int window)
{
	static uint64_t page[KEYS];
	int right = 0, missed = 0, extra = 0;

	for (int key = 0; key < KEYS; key++)
		page[key] = value_at[key] / PAGE;
	qsort(page, KEYS, sizeof(page[0]), by_value);
	for (int i = 0, last; i < KEYS; i = last + 1) {
		bool found, hot;

		for (last = i; last + 1 < KEYS && page[last + 1] == page[i];)
			last++;
		if (last + 1 - i < (int)(PAGE / VALUE))
			continue;
		found = found_hot(tracker, page[i] * PAGE);
		hot = is_hot(window, page[i]);
		right += found && hot;
		missed += !found && hot;
		extra += found && !hot;
	}
	printf("# window %d: precision %.3f, recall %.3f, %d hot pages\n",
	       window, (double)right / (right + extra),
	       (double)right / (right + missed), right + missed);
	CHECK(right > HOT_KEYS / 2);
	CHECK_EQ(missed, 0);
	CHECK_EQ(extra, 0);
}

/* The hot set is found in every window: all of it, and nothing else. */
TEST(hot_keys)
{
	struct rwp_tracker *tracker;
	struct rwp *rwp;
	pid_t pid;

	/* Forty thousand keys, each stored and found, on an emulated machine. */
	alarm(900);
	pid = fork();
	if (!pid)
		run_redis();
	connect_to_redis();
	fill();
	rwp = attach(pid, 0);
	if (!rwp)
		FAIL("this kernel has no RWP");
	OK(rwp_tracker_new(rwp, NULL, &tracker, error));
	OK(rwp_tracker_refresh(tracker, error));
	for (int window = 0; window < WINDOWS; window++) {
		for (int i = 0; i < HOT_KEYS; i++)
			get(hot_key(window, i));
		OK(rwp_tracker_refresh(tracker, error));
		OK(rwp_tracker_update(tracker, error));
		compare(tracker, window);
	}
	rwp_tracker_free(tracker);
	rwp_close(rwp);
	/* It is as it was. */
	for (int key = 0; key < KEYS; key += 100)
		get(key);
	ask("SHUTDOWN NOSAVE");
	fflush(redis);
	target_join(pid);
}
