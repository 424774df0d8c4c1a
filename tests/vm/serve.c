// SPDX-License-Identifier: GPL-2.0
#include "serve.h"

#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "target.h"
#include "test.h"

#define ARGS 40
#define WAIT_MS 120000
#define STEP_MS 20

/* Beside this program. */
static void run_rwp(const struct serve *serve, const char *const *options)
{
	const char *arg[ARGS] = { "rwp",	  "serve",	 "--socket",
				  serve->socket,  "--store",	 serve->store,
				  "--metrics",	  serve->metrics };
	char self[256] = "", program[300];
	unsigned int count = 8;
	int log = open(serve->log, O_WRONLY | O_CREAT | O_APPEND, 0600);

	while (*options && count + 1 < ARGS)
		arg[count++] = *options++;
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) <= 0)
		_exit(126);
	snprintf(program, sizeof(program), "%s/rwp", dirname(self));
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	execv(program, (char **)arg);
	_exit(127);
}

static void remove_files(const struct serve *serve)
{
	unlink(serve->socket);
	unlink(serve->metrics);
	unlink(serve->log);
	remove_store(serve->store);
}

void serve_start(struct serve *serve, const char *const *options)
{
	int pid = getpid();

	snprintf(serve->socket, sizeof(serve->socket), "/tmp/s%d.sock", pid);
	snprintf(serve->store, sizeof(serve->store), "/tmp/s%d.store", pid);
	snprintf(serve->metrics, sizeof(serve->metrics), "/tmp/s%d.prom", pid);
	snprintf(serve->log, sizeof(serve->log), "/tmp/s%d.log", pid);
	remove_files(serve);
	serve->pid = fork();
	CHECK(serve->pid >= 0);
	if (!serve->pid)
		run_rwp(serve, options);
	for (int i = 0; i < WAIT_MS / STEP_MS; i++) {
		if (!access(serve->metrics, F_OK))
			return;
		CHECK_EQ(waitpid(serve->pid, NULL, WNOHANG), 0);
		nap_ms(STEP_MS);
	}
	FAIL("rwp serve does not get ready");
}

static void show_log(const struct serve *serve)
{
	FILE *log = fopen(serve->log, "re");
	char line[512];

	while (log && fgets(line, sizeof(line), log))
		printf("# log: %s", line);
	if (log)
		fclose(log);
}

void serve_stop(struct serve *serve)
{
	int status = 0;

	kill(serve->pid, SIGTERM);
	CHECK_EQ(waitpid(serve->pid, &status, 0), serve->pid);
	if (status) {
		show_log(serve);
		FAIL("rwp serve ended with status %#x", status);
	}
	remove_files(serve);
}

pid_t serve_worker(const struct serve *serve, pid_t before)
{
	char path[80];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children",
		 (int)serve->pid, (int)serve->pid);
	for (int i = 0; i < WAIT_MS; i++) {
		FILE *file = fopen(path, "re");
		int pid = 0;

		CHECK(file);
		if (fscanf(file, "%d", &pid) == 1 && pid != before) {
			fclose(file);
			return pid;
		}
		fclose(file);
		nap_ms(1);
	}
	FAIL("there is no worker");
}

unsigned int serve_log_count(const struct serve *serve, const char *text)
{
	FILE *log = fopen(serve->log, "re");
	unsigned int count = 0;
	char line[512];

	while (log && fgets(line, sizeof(line), log))
		count += !!strstr(line, text);
	if (log)
		fclose(log);
	return count;
}

void serve_wait_log(const struct serve *serve, const char *text)
{
	for (int i = 0; i < WAIT_MS / STEP_MS; i++) {
		if (serve_log_count(serve, text))
			return;
		nap_ms(STEP_MS);
	}
	show_log(serve);
	FAIL("the log does not say: %s", text);
}

double serve_metric(const struct serve *serve, const char *name)
{
	FILE *file = fopen(serve->metrics, "re");
	size_t len = strlen(name);
	double value = -1;
	char line[512];

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, len) &&
		    (line[len] == ' ' || line[len] == '{'))
			value = atof(strrchr(line, ' '));
	if (file)
		fclose(file);
	return value;
}

void serve_wait_metric(const struct serve *serve, const char *name,
		       double least)
{
	for (int i = 0; i < WAIT_MS / STEP_MS; i++) {
		if (serve_metric(serve, name) >= least)
			return;
		nap_ms(STEP_MS);
	}
	show_log(serve);
	FAIL("%s is %g, not %g", name, serve_metric(serve, name), least);
}

/* ---- The monitor's side ------------------------------------------------ */

int serve_connect(const struct serve *serve)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(sock >= 0);
	strcpy(addr.sun_path, serve->socket);
	for (int i = 0; i < WAIT_MS / STEP_MS; i++) {
		if (!connect(sock, (struct sockaddr *)&addr, sizeof(addr)))
			return sock;
		nap_ms(STEP_MS);
	}
	FAIL("cannot connect to %s", serve->socket);
}

void serve_send(int sock, const char *text, const int *fd, unsigned int count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(253 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (char *)text, strlen(text) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (count) {
		struct cmsghdr *c;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(c), fd, count * sizeof(int));
	}
	/* Who was refused already does not read any more. */
	if (sendmsg(sock, &msg, MSG_NOSIGNAL) < 0)
		return;
}

void machine_make(struct machine *machine, enum kind kind, size_t len)
{
	struct rwp_range range;

	area_make(&machine->area, kind, len);
	OK(rwp_open(RWP_OPEN_EVICT | RWP_OPEN_EVENTS, &machine->rwp, error));
	range = (struct rwp_range){ (uintptr_t)machine->area.base, len };
	OK(rwp_register(machine->rwp, range,
			RWP_REGISTER_MISSING | RWP_REGISTER_MINOR, error));
	machine->sock = -1;
}

void machine_text(const struct machine *machine, char *text, size_t size)
{
	unsigned int page = machine->area.kind == HUGETLB ? HUGE : PAGE;

	snprintf(text, size,
		 "[{\"base_host_virt_addr\":%llu,\"size\":%zu,\"offset\":0,\"page_size\":%u,\"page_size_kib\":%u}]",
		 (unsigned long long)(uintptr_t)machine->area.base,
		 machine->area.len, page, page);
}

void machine_hand_over(struct machine *machine, const struct serve *serve)
{
	int fd[2] = { rwp_fd(machine->rwp), machine->area.fd };
	unsigned int before = serve_log_count(serve, "taken over");
	char text[256];

	machine_text(machine, text, sizeof(text));
	machine->sock = serve_connect(serve);
	serve_send(machine->sock, text, fd, 2);
	for (int i = 0; serve_log_count(serve, "taken over") == before; i++) {
		if (i == WAIT_MS / STEP_MS || serve_log_count(serve, "refused")) {
			show_log(serve);
			FAIL("the machine is not taken over");
		}
		nap_ms(STEP_MS);
	}
}

void machine_wait_evicted(const struct machine *machine, size_t bytes)
{
	for (int i = 0; i < WAIT_MS / STEP_MS; i++) {
		if (area_resident(&machine->area) <= bytes)
			return;
		nap_ms(STEP_MS);
	}
	FAIL("%zu bytes are in memory, not %zu",
	     area_resident(&machine->area), bytes);
}
