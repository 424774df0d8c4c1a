// SPDX-License-Identifier: GPL-2.0
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

/* The machine may be emulated, and its host have other work. */
#define LIMIT_SECONDS 180

static struct test_case *cases, **last = &cases;

void test_register(struct test_case *test)
{
	*last = test;
	last = &test->next;
}

__attribute__((weak)) void test_setup(void)
{
}

static int run(const struct test_case *test)
{
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return -1;
	if (!pid) {
		/* The children of a case are in its group and end with it. */
		setpgid(0, 0);
		alarm(LIMIT_SECONDS);
		test_setup();
		test->run();
		fflush(stdout);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid)
		return -1;
	kill(-pid, SIGKILL);
	if (WIFSIGNALED(status))
		printf("# %s\n", WTERMSIG(status) == SIGALRM ?
					 "did not end in time" :
					 strsignal(WTERMSIG(status)));
	return status;
}

/* With arguments: only the cases named. */
int main(int argc, char **argv)
{
	int count = 0, failed = 0;
	time_t start;

	puts("TAP version 13");
	for (struct test_case *test = cases; test; test = test->next) {
		bool ok, wanted = argc == 1;

		for (int i = 1; i < argc; i++)
			wanted |= !strcmp(argv[i], test->name);
		if (!wanted)
			continue;
		start = time(NULL);
		ok = !run(test);
		printf("%s %d %s # %d s\n", ok ? "ok" : "not ok", ++count,
		       test->name, (int)(time(NULL) - start));
		failed += !ok;
	}
	printf("1..%d\n# %d passed, %d failed\n", count, count - failed,
	       failed);
	return failed || !count;
}
