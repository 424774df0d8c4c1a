// SPDX-License-Identifier: GPL-2.0
#include "target.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

static int ready_pipe[2];

pid_t target_start(int (*body)(void))
{
	char byte;
	pid_t pid;

	CHECK(!pipe(ready_pipe));
	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		close(ready_pipe[0]);
		_exit(body());
	}
	close(ready_pipe[1]);
	CHECK_EQ(read(ready_pipe[0], &byte, 1), 1);
	close(ready_pipe[0]);
	return pid;
}

void target_ready(void)
{
	if (write(ready_pipe[1], "", 1) != 1)
		_exit(99);
	close(ready_pipe[1]);
}

void target_join(pid_t pid)
{
	int status;

	CHECK_EQ(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		FAIL("the target died of %s", strsignal(WTERMSIG(status)));
	CHECK_EQ(WEXITSTATUS(status), 0);
}

static long status_line(pid_t pid, const char *name, char *letter)
{
	char path[64], line[256];
	long value = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	CHECK(file);
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, name, strlen(name)))
			continue;
		*letter = line[strlen(name) + 1];
		value = atol(line + strlen(name));
	}
	fclose(file);
	return value;
}

char target_state(pid_t pid)
{
	char letter = '?';

	status_line(pid, "State:", &letter);
	return letter;
}

bool target_is_traced(pid_t pid)
{
	char letter;

	return status_line(pid, "TracerPid:", &letter) != 0;
}

void target_wait_state(pid_t pid, char state)
{
	for (int i = 0; i < 5000 && target_state(pid) != state; i++)
		nap_ms(1);
	if (target_state(pid) != state)
		FAIL("the target is in state %c, not %c", target_state(pid),
		     state);
}

char *target_descriptors(pid_t pid)
{
	char path[64], name[512], link[256];
	char *text = NULL;
	struct dirent *entry;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	CHECK(dir && out);
	while ((entry = readdir(dir))) {
		ssize_t len;

		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		len = readlink(name, link, sizeof(link) - 1);
		if (len < 0)
			continue;
		link[len] = '\0';
		fprintf(out, "%s=%s ", entry->d_name, link);
	}
	closedir(dir);
	fclose(out);
	return text;
}

struct rwp *attach(pid_t pid, unsigned int flags)
{
	struct rwp_error error = { 0 };
	struct rwp *rwp;

	if (!rwp_attach(pid, flags, &rwp, &error))
		return rwp;
	if (error.code != -EOPNOTSUPP)
		FAIL("%s", error.text);
	return NULL;
}

void attach_often(pid_t pid, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		rwp_close(attach(pid, 0));
}

struct rwp_error refused(pid_t pid, unsigned int flags)
{
	struct rwp_error error = { 0 };
	struct rwp *rwp;
	int ret = rwp_attach(pid, flags, &rwp, &error);

	CHECK(ret < 0);
	CHECK_EQ(ret, error.code);
	CHECK(strlen(error.text) > 10);
	return error;
}

void nap_ms(unsigned int ms)
{
	struct timespec nap = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&nap, &nap) < 0 && errno == EINTR)
		;
}
