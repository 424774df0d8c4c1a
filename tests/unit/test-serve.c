// SPDX-License-Identifier: GPL-2.0
/* rwp serve: which ages go, and who keeps what when a worker dies. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "command.h"
#include "serve-evict.h"
#include "serve.h"

/* How many pages a rule takes. */
static uint64_t takes(const struct evict_rule *rule, const uint64_t *count)
{
	uint64_t pages = rule->some;

	for (unsigned int age = rule->older; age <= RWP_AGE_MAX; age++)
		pages += count[age];
	return pages;
}

static void by_age(void **state)
{
	uint64_t count[256] = { [0] = 10, [1] = 20, [5] = 40, [254] = 80,
				[255] = 1000 };
	struct evict_rule rule = evict_rule(count, 5, 0);

	(void)state;
	assert_int_equal(rule.older, 5);
	assert_int_equal(takes(&rule, count), 120);
	rule = evict_rule(count, 0, 0);
	assert_int_equal(takes(&rule, count), 0);
	rule = evict_rule(count, 254, 0);
	assert_int_equal(takes(&rule, count), 80);
}

static void by_target(void **state)
{
	uint64_t count[256] = { [0] = 10, [1] = 20, [5] = 40, [254] = 80,
				[255] = 1000 };
	struct evict_rule rule;

	(void)state;
	for (uint64_t target = 1; target < 200; target++) {
		uint64_t wanted = target < 150 ? 150 - target : 0;

		/* What was accessed in the last window stays. */
		if (wanted > 140)
			wanted = 140;
		rule = evict_rule(count, 0, target);
		assert_int_equal(takes(&rule, count), wanted);
		assert_true(rule.older > 0);
		assert_true(!rule.some || rule.some_of > 0);
		/* The older ones first. */
		if (rule.some)
			assert_true(rule.some_of < rule.older);
	}
}

static void by_both(void **state)
{
	uint64_t count[256] = { [0] = 10, [1] = 20, [5] = 40, [254] = 80 };
	struct evict_rule rule = evict_rule(count, 100, 100);

	(void)state;
	/* By age already more than the target asks for. */
	assert_int_equal(takes(&rule, count), 80);
	rule = evict_rule(count, 100, 50);
	assert_int_equal(takes(&rule, count), 100);
	assert_int_equal(rule.some_of, 5);
	assert_int_equal(rule.some, 20);
}

/* ---- The keeper -------------------------------------------------------- */

/* Shared with the workers: which one it is, and what each has found. */
static struct shared {
	unsigned int workers;
	unsigned int kept[16];
	bool right[16];
} *shared;

static int with_text(const char *text)
{
	int fd = memfd_create("kept", MFD_CLOEXEC);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static bool has_text(int fd, const char *text)
{
	char found[32] = "";

	return pread(fd, found, sizeof(found) - 1, 0) > 0 &&
	       !strcmp(found, text);
}

static bool is_kept(const struct kept *kept, unsigned int count,
		    const char *name, const char *text)
{
	for (unsigned int i = 0; i < count; i++)
		if (!strcmp(kept[i].name, name) && has_text(kept[i].fd, text))
			return true;
	return false;
}

/* The first puts away three, the second drops some, the third ends well. */
static int work(const struct serve_options *options,
		const struct keeper *keeper, struct kept *kept,
		unsigned int count)
{
	unsigned int n = shared->workers++;
	int fd[2];

	(void)options;
	shared->kept[n] = count;
	switch (n) {
	case 0:
		fd[0] = with_text("one");
		fd[1] = with_text("two");
		shared->right[0] = !keeper_put(keeper, "m1", fd, 2);
		fd[0] = with_text("three");
		shared->right[0] &= !keeper_put(keeper, "t1", fd, 1);
		keeper_tell(keeper, "READY=1\nSTATUS=x");
		kill(getpid(), SIGKILL);
		break;
	case 1:
		shared->right[1] = is_kept(kept, count, "m1", "one") &&
				   is_kept(kept, count, "m1", "two") &&
				   is_kept(kept, count, "t1", "three");
		keeper_drop(keeper, "m1");
		/* Dying at once: what was said before is heard all the same. */
		kill(getpid(), SIGKILL);
		break;
	case 2:
		shared->right[2] = is_kept(kept, count, "t1", "three");
		return EXIT_FAILED;
	default:
		shared->right[3] = is_kept(kept, count, "t1", "three");
		return EXIT_OK;
	}
	return EXIT_FAILED;
}

static void supervised(void **state)
{
	struct serve_options options = { 0 };

	(void)state;
	memset(shared, 0, sizeof(*shared));
	assert_int_equal(supervise(&options, work), EXIT_OK);
	assert_int_equal(shared->workers, 4);
	assert_int_equal(shared->kept[0], 0);
	assert_int_equal(shared->kept[1], 3);
	assert_int_equal(shared->kept[2], 1);
	assert_int_equal(shared->kept[3], 1);
	for (unsigned int i = 0; i < 4; i++)
		assert_true(shared->right[i]);
}

static int fail_at_once(const struct serve_options *options,
			const struct keeper *keeper, struct kept *kept,
			unsigned int count)
{
	(void)options;
	(void)keeper;
	(void)kept;
	(void)count;
	shared->workers++;
	return EXIT_MISSING;
}

/* One that never got ready is not tried again: its complaint is the user's. */
static void never_ready(void **state)
{
	struct serve_options options = { 0 };

	(void)state;
	memset(shared, 0, sizeof(*shared));
	assert_int_equal(supervise(&options, fail_at_once), EXIT_MISSING);
	assert_int_equal(shared->workers, 1);
}

/* What systemd gets to hear, and what it hands on after that. */
static void as_systemd(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct keeper keeper;
	struct kept *kept;
	unsigned int count;
	char text[100] = "", pid[16];
	int sock = socket(AF_UNIX, SOCK_DGRAM, 0);

	(void)state;
	snprintf(addr.sun_path + 1, sizeof(addr.sun_path) - 1, "rwp-test-%d",
		 (int)getpid());
	assert_int_equal(bind(sock, (struct sockaddr *)&addr,
			      offsetof(struct sockaddr_un, sun_path) + 1 +
				      strlen(addr.sun_path + 1)),
			 0);
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(keeper_connect(&keeper, KEEP_SYSTEMD), EXIT_USAGE);
	addr.sun_path[0] = '@';
	setenv("NOTIFY_SOCKET", addr.sun_path, 1);
	assert_int_equal(keeper_connect(&keeper, KEEP_SYSTEMD), EXIT_OK);
	keeper_drop(&keeper, "m1");
	assert_true(recv(sock, text, sizeof(text) - 1, MSG_DONTWAIT) > 0);
	assert_string_equal(text, "FDSTOREREMOVE=1\nFDNAME=m1");
	unsetenv("NOTIFY_SOCKET");

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "2", 1);
	setenv("LISTEN_FDNAMES", "socket:m12", 1);
	assert_int_equal(keeper_inherit(&kept, &count), EXIT_OK);
	assert_int_equal(count, 2);
	assert_string_equal(kept[0].name, "socket");
	assert_string_equal(kept[1].name, "m12");
	assert_int_equal(kept[1].fd, 4);
	free(kept);
	assert_int_equal(keeper_inherit(&kept, &count), EXIT_OK);
	assert_int_equal(count, 0);
	close(keeper.fd);
	close(sock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_age),	cmocka_unit_test(by_target),
		cmocka_unit_test(by_both),	cmocka_unit_test(supervised),
		cmocka_unit_test(never_ready),	cmocka_unit_test(as_systemd),
	};

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
