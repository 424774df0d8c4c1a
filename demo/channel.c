// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "channel.h"
#include "util.h"

static socklen_t make_address(struct sockaddr_un *address, pid_t manager)
{
	int len;

	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	/* A leading zero byte makes the name abstract. */
	len = snprintf(address->sun_path + 1, sizeof(address->sun_path) - 1,
		       "rwp-demo-%d", manager);
	return offsetof(struct sockaddr_un, sun_path) + 1 + len;
}

static int new_socket(void)
{
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (sock < 0)
		die_errno("cannot create a Unix socket");
	return sock;
}

int channel_listen(pid_t manager)
{
	struct sockaddr_un address;
	socklen_t len = make_address(&address, manager);
	int sock = new_socket();

	if (bind(sock, (struct sockaddr *)&address, len) < 0 ||
	    listen(sock, 1) < 0)
		die_errno("cannot listen on a Unix socket");
	return sock;
}

int channel_connect(pid_t manager)
{
	struct sockaddr_un address;
	socklen_t len = make_address(&address, manager);
	int sock = new_socket();

	if (connect(sock, (struct sockaddr *)&address, len) < 0)
		die_errno("cannot connect to the manager");
	return sock;
}

/* A peer that never speaks must not hold the manager up for ever. */
static void wait_readable(int sock, int timeout_ms, const char *what)
{
	struct pollfd pfd = { .fd = sock, .events = POLLIN };
	int ready = poll(&pfd, 1, timeout_ms);

	if (ready < 0)
		die_errno("poll on the Unix socket");
	if (!ready)
		die("%s: nothing within %d ms", what, timeout_ms);
}

int channel_accept(int listener, pid_t guest, int timeout_ms)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int sock;

	wait_readable(listener, timeout_ms, "waiting for the guest to connect");
	sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (sock < 0)
		die_errno("accept on the Unix socket");
	/* The kernel says who the peer is; a message could say anything. */
	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		die_errno("SO_PEERCRED");
	if (peer.pid != guest)
		die("process %d connected instead of the guest", peer.pid);
	return sock;
}

/* Room for the descriptors, aligned as a control message has to be. */
union fd_space {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(HELLO_FDS * sizeof(int))];
};

void channel_send(int sock, const struct guest_hello *hello,
		  const int fds[HELLO_FDS])
{
	union fd_space space = {};
	struct iovec text = {
		.iov_base = (void *)hello,
		.iov_len = sizeof(*hello),
	};
	struct msghdr msg = {
		.msg_iov = &text,
		.msg_iovlen = 1,
		.msg_control = space.bytes,
		.msg_controllen = sizeof(space.bytes),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(HELLO_FDS * sizeof(int));
	memcpy(CMSG_DATA(cmsg), fds, HELLO_FDS * sizeof(int));

	if (sendmsg(sock, &msg, MSG_NOSIGNAL) != sizeof(*hello))
		die_errno("cannot send the descriptors to the manager");
}

static bool carries_fds(const struct cmsghdr *cmsg)
{
	return cmsg && cmsg->cmsg_level == SOL_SOCKET &&
	       cmsg->cmsg_type == SCM_RIGHTS &&
	       cmsg->cmsg_len == CMSG_LEN(HELLO_FDS * sizeof(int));
}

void channel_receive(int sock, struct guest_hello *hello, int fds[HELLO_FDS],
		     int timeout_ms)
{
	union fd_space space = {};
	struct iovec text = {
		.iov_base = hello,
		.iov_len = sizeof(*hello),
	};
	struct msghdr msg = {
		.msg_iov = &text,
		.msg_iovlen = 1,
		.msg_control = space.bytes,
		.msg_controllen = sizeof(space.bytes),
	};
	ssize_t got;

	wait_readable(sock, timeout_ms, "waiting for the guest's descriptors");
	got = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	if (got < 0)
		die_errno("receiving the guest's descriptors");
	if (got == 0)
		die("the guest hung up before it sent its descriptors");
	if (got != sizeof(*hello) || !carries_fds(CMSG_FIRSTHDR(&msg)))
		die("the guest's message is not what it should be");
	memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&msg)), HELLO_FDS * sizeof(int));
}
