// SPDX-License-Identifier: GPL-2.0
/* Talking to who keeps the descriptors, as sd_notify(3) says. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "command.h"
#include "serve.h"

#define FDS_MAX 32
#define FIRST_FD 3 /* where systemd puts them */
#define BARRIER_MS 30000

int keeper_connect(struct keeper *keeper, enum keep kind)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = path ? strlen(path) : 0;

	*keeper = (struct keeper){ .kind = kind, .fd = -1 };
	if (!len) {
		if (kind != KEEP_SYSTEMD)
			return EXIT_OK;
		complain("--keep=systemd: systemd has not started this, or not with Type=notify");
		return EXIT_USAGE;
	}
	if (len >= sizeof(addr.sun_path) || (path[0] != '/' && path[0] != '@'))
		return complain("NOTIFY_SOCKET: '%s' is no socket", path);
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@')
		addr.sun_path[0] = '\0';
	keeper->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (keeper->fd < 0 ||
	    connect(keeper->fd, (struct sockaddr *)&addr,
		    offsetof(struct sockaddr_un, sun_path) + len))
		return complain("%s: %s", path, strerror(errno));
	return EXIT_OK;
}

static int send_text(int sock, const char *text, const int *fd,
		     unsigned int count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (char *)text, strlen(text) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (count > FDS_MAX)
		return -EMFILE;
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
	while (sendmsg(sock, &msg, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

void keeper_tell(const struct keeper *keeper, const char *fmt, ...)
{
	char text[512];
	va_list args;

	if (keeper->fd < 0)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	send_text(keeper->fd, text, NULL, 0);
}

/* It closes its end of a pipe once it has read all that was sent before. */
static int barrier(const struct keeper *keeper)
{
	struct pollfd pfd;
	int end[2], ret;

	if (pipe2(end, O_CLOEXEC))
		return -errno;
	ret = send_text(keeper->fd, "BARRIER=1", &end[1], 1);
	close(end[1]);
	pfd = (struct pollfd){ .fd = end[0] };
	while (!ret) {
		int got = poll(&pfd, 1, BARRIER_MS);

		if (got > 0)
			break;
		if (!got)
			ret = -ETIMEDOUT;
		else if (errno != EINTR)
			ret = -errno;
	}
	close(end[0]);
	return ret;
}

int keeper_put(const struct keeper *keeper, const char *name, const int *fd,
	       unsigned int count)
{
	char text[100];
	int ret;

	if (keeper->kind == KEEP_NONE)
		return 0;
	/* Not to be let go when the other end hangs up: that is for us to see. */
	snprintf(text, sizeof(text), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
	ret = send_text(keeper->fd, text, fd, count);
	return ret ? ret : barrier(keeper);
}

void keeper_drop(const struct keeper *keeper, const char *name)
{
	if (keeper->kind != KEEP_NONE)
		keeper_tell(keeper, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}

int keeper_inherit(struct kept **kept, unsigned int *count)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	const char *names = getenv("LISTEN_FDNAMES");
	int many = fds ? atoi(fds) : 0;

	*count = 0;
	*kept = NULL;
	if (!pid || atoi(pid) != getpid() || many <= 0)
		return EXIT_OK;
	*kept = calloc(many, sizeof(**kept));
	if (!*kept)
		return complain("%d descriptors: %s", many, strerror(errno));
	for (int i = 0; i < many; i++) {
		struct kept *one = &(*kept)[(*count)++];
		size_t len = names ? strcspn(names, ":") : 0;

		one->fd = FIRST_FD + i;
		fcntl(one->fd, F_SETFD, FD_CLOEXEC);
		snprintf(one->name, sizeof(one->name), "%.*s", (int)len,
			 names ? names : "");
		if (names)
			names += len + (names[len] == ':');
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return EXIT_OK;
}
