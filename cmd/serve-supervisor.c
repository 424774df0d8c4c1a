// SPDX-License-Identifier: GPL-2.0
/*
 * A process that does next to nothing, and therefore lives: it keeps the
 * descriptors of the worker, and starts it again. While there is no worker the
 * faults of the machines wait, since their userfaultfds are open here.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "serve.h"

#define FDS_AT_ONCE 32
#define PAUSE_MAX_MS 5000
/* Even one that gets ready may fail again and again. */
#define PAUSE_MIN_MS 10

struct supervisor {
	const struct serve_options *options;
	struct keeper above; /* systemd, perhaps */
	struct kept *kept;
	unsigned int count;
	int signals;
	int sock; /* to the worker; -1: it has closed its end */
	pid_t worker; /* 0: there is none */
	bool ready; /* this worker, or one before it in @once_ready */
	bool once_ready, stopping;
	unsigned int pause_ms; /* before the next start */
};

int serve_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGCHLD);
	sigprocmask(SIG_BLOCK, set, NULL);
	return signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void keep(struct supervisor *supervisor, const char *name, int fd)
{
	struct kept *all = realloc(supervisor->kept, (supervisor->count + 1) *
							     sizeof(*all));

	if (!all) {
		complain("cannot keep a descriptor: %s", strerror(errno));
		close(fd);
		return;
	}
	supervisor->kept = all;
	all[supervisor->count].fd = fd;
	snprintf(all[supervisor->count++].name, KEPT_NAME, "%s", name);
}

static void let_go(struct supervisor *supervisor, const char *name)
{
	unsigned int left = 0;

	for (unsigned int i = 0; i < supervisor->count; i++) {
		if (strcmp(supervisor->kept[i].name, name))
			supervisor->kept[left++] = supervisor->kept[i];
		else
			close(supervisor->kept[i].fd);
	}
	supervisor->count = left;
}

/* The value of a line "KEY=value", or NULL; ends with the line. */
static bool value_of(const char *text, const char *key, char *value,
		     size_t size)
{
	size_t len = strlen(key);

	for (const char *line = text; line;
	     line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		if (strncmp(line, key, len) || line[len] != '=')
			continue;
		snprintf(value, size, "%.*s",
			 (int)strcspn(line + len + 1, "\n"), line + len + 1);
		return true;
	}
	return false;
}

static void hear(struct supervisor *supervisor, const char *text, const int *fd,
		 unsigned int count)
{
	char name[KEPT_NAME] = "", value[8];
	unsigned int kept = 0;

	value_of(text, "FDNAME", name, sizeof(name));
	if (value_of(text, "FDSTORE", value, sizeof(value)))
		for (; kept < count; kept++)
			keep(supervisor, name, fd[kept]);
	else if (value_of(text, "FDSTOREREMOVE", value, sizeof(value)))
		let_go(supervisor, name);
	else if (!value_of(text, "BARRIER", value, sizeof(value)))
		keeper_tell(&supervisor->above, "%s", text);
	if (value_of(text, "READY", value, sizeof(value))) {
		supervisor->ready = true;
		supervisor->once_ready = true;
	}
	/* A barrier's is closed once all before it has been heard. */
	for (; kept < count; kept++)
		close(fd[kept]);
}

/* One message; false when there is none. */
static bool listen_once(struct supervisor *supervisor)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_AT_ONCE * sizeof(int))];
	} control;
	char text[1024];
	struct iovec iov = { text, sizeof(text) - 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	int fd[FDS_AT_ONCE];
	unsigned int count = 0;
	ssize_t got = recvmsg(supervisor->sock, &msg,
			      MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (got <= 0) {
		close(supervisor->sock);
		supervisor->sock = -1;
		return false;
	}
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fd, CMSG_DATA(c), count * sizeof(int));
	}
	text[got] = '\0';
	hear(supervisor, text, fd, count);
	return true;
}

static void listen_all(struct supervisor *supervisor)
{
	while (supervisor->sock >= 0 && listen_once(supervisor))
		;
}

/* In the child: what is the supervisor's alone is closed. */
static int be_worker(struct supervisor *supervisor, int sock,
		     int (*work)(const struct serve_options *options,
				 const struct keeper *keeper, struct kept *kept,
				 unsigned int count))
{
	struct keeper keeper = { KEEP_SUPERVISOR, sock };

	close(supervisor->sock);
	close(supervisor->signals);
	if (supervisor->above.fd >= 0)
		close(supervisor->above.fd);
	return work(supervisor->options, &keeper, supervisor->kept,
		    supervisor->count);
}

static int start(struct supervisor *supervisor,
		 int (*work)(const struct serve_options *options,
			     const struct keeper *keeper, struct kept *kept,
			     unsigned int count))
{
	int sock[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock))
		return -errno;
	supervisor->sock = sock[0];
	supervisor->ready = false;
	supervisor->worker = fork();
	if (!supervisor->worker) {
		/* So that nothing of the parent's is done at exit. */
		int code = be_worker(supervisor, sock[1], work);

		fflush(stdout);
		_exit(code);
	}
	close(sock[1]);
	if (supervisor->worker < 0) {
		supervisor->worker = 0;
		close(sock[0]);
		supervisor->sock = -1;
		return -errno;
	}
	if (supervisor->stopping)
		kill(supervisor->worker, SIGTERM);
	return 0;
}

static void read_signals(struct supervisor *supervisor)
{
	struct signalfd_siginfo info;

	while (read(supervisor->signals, &info, sizeof(info)) ==
	       sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			continue;
		supervisor->stopping = true;
		if (supervisor->worker)
			kill(supervisor->worker, SIGTERM);
	}
}

/* Until the worker has ended and all it said is heard. Returns its status. */
static int watch(struct supervisor *supervisor)
{
	int status;

	for (;;) {
		struct pollfd pfd[2] = {
			{ .fd = supervisor->signals, .events = POLLIN },
			{ .fd = supervisor->sock, .events = POLLIN },
		};

		poll(pfd, 2, -1);
		read_signals(supervisor);
		listen_all(supervisor);
		if (waitpid(supervisor->worker, &status, WNOHANG) <= 0)
			continue;
		supervisor->worker = 0;
		listen_all(supervisor);
		if (supervisor->sock >= 0)
			close(supervisor->sock);
		supervisor->sock = -1;
		return status;
	}
}

/* Shortly if it was at work: somebody waits. Longer each time if it was not. */
static void pause_a_while(struct supervisor *supervisor)
{
	struct pollfd pfd = { .fd = supervisor->signals, .events = POLLIN };

	supervisor->pause_ms =
		supervisor->ready ? PAUSE_MIN_MS : supervisor->pause_ms * 2;
	if (supervisor->pause_ms > PAUSE_MAX_MS)
		supervisor->pause_ms = PAUSE_MAX_MS;
	poll(&pfd, 1, supervisor->pause_ms);
	read_signals(supervisor);
}

/* Whether a worker that ended so is to be replaced. */
static bool go_on(const struct supervisor *supervisor, int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OK)
		return false;
	/* None has come as far as to have anything to lose. */
	if (WIFEXITED(status) && !supervisor->once_ready)
		return false;
	if (WIFSIGNALED(status))
		complain("the worker was killed (%s), starting it again",
			 strsignal(WTERMSIG(status)));
	else
		complain("the worker has failed, starting it again");
	return true;
}

int supervise(const struct serve_options *options,
	      int (*work)(const struct serve_options *options,
			  const struct keeper *keeper, struct kept *kept,
			  unsigned int count))
{
	struct supervisor supervisor = { .options = options, .sock = -1,
					 .pause_ms = PAUSE_MIN_MS };
	sigset_t set;
	int status = 0, code;

	code = keeper_connect(&supervisor.above, KEEP_NONE);
	if (code)
		return code;
	supervisor.signals = serve_signals(&set);
	if (supervisor.signals < 0)
		return complain("signalfd: %s", strerror(errno));
	do {
		int ret = start(&supervisor, work);

		if (ret) {
			complain("cannot start a worker: %s", strerror(-ret));
			if (!supervisor.once_ready)
				return EXIT_FAILED;
		} else {
			status = watch(&supervisor);
			if (!go_on(&supervisor, status))
				break;
		}
		pause_a_while(&supervisor);
	} while (true);
	for (unsigned int i = 0; i < supervisor.count; i++)
		close(supervisor.kept[i].fd);
	free(supervisor.kept);
	close(supervisor.signals);
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
}
