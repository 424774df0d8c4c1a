// SPDX-License-Identifier: LGPL-2.1-or-later
/* Receiving a machine: the text, and the descriptors that come along with it. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handoff.h"

/* As many as the kernel passes on with one message. */
#define CONTROL_FDS 253
/* A descriptor that is sent after the text has this long to arrive. */
#define LATE_NSEC (100 * 1000000ULL)

struct receiver {
	int sock;
	uint64_t deadline;
	unsigned int timeout_ms;
	struct rwp_handoff *handoff;
	size_t len; /* of the text so far */
	bool complete, ended;
	struct rwp_error *err;
};

/* 1: something has come; 0: time is up. */
static int wait_until(int sock, uint64_t deadline)
{
	struct pollfd pfd = { .fd = sock, .events = POLLIN };

	for (;;) {
		uint64_t now = rwpi_now();
		uint64_t left = now < deadline ? deadline - now : 0;
		int ret = poll(&pfd, 1, (left + 999999) / 1000000);

		if (ret >= 0)
			return ret;
		if (errno != EINTR)
			return -errno;
	}
}

static int take_fds(struct receiver *receiver, const struct msghdr *msg)
{
	struct rwp_handoff *handoff = receiver->handoff;
	unsigned int many = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c;
	     c = CMSG_NXTHDR((struct msghdr *)msg, c)) {
		unsigned int count;
		int fd;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(fd);
		for (unsigned int i = 0; i < count; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (handoff->fds < RWP_HANDOFF_FDS_MAX) {
				handoff->fd[handoff->fds++] = fd;
				continue;
			}
			close(fd);
			many++;
		}
	}
	if (many || msg->msg_flags & MSG_CTRUNC)
		return rwpi_error(receiver->err, -EBADMSG,
				  "process %d sent more than %d descriptors",
				  (int)handoff->pid, RWP_HANDOFF_FDS_MAX);
	return 0;
}

static int take_some(struct receiver *receiver)
{
	struct rwp_handoff *handoff = receiver->handoff;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(CONTROL_FDS * sizeof(int))];
	} control;
	struct iovec iov = {
		.iov_base = handoff->text + receiver->len,
		/* One more than is allowed shows that it is too long. */
		.iov_len = RWP_HANDOFF_TEXT_MAX + 1 - receiver->len,
	};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t got = recvmsg(receiver->sock, &msg,
			      MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int ret;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got < 0)
		return rwpi_fail(receiver->err, -errno, "process %d",
				 (int)handoff->pid);
	ret = take_fds(receiver, &msg);
	if (ret)
		return ret;
	receiver->len += got;
	receiver->ended = !got;
	return 0;
}

static int try_parse(struct receiver *receiver)
{
	struct rwp_handoff *handoff = receiver->handoff;
	struct rwp_error why;
	int ret;

	if (!receiver->len)
		return 0;
	free(handoff->region);
	handoff->region = NULL;
	ret = rwp_handoff_parse(handoff->text, receiver->len, &handoff->region,
				&why);
	receiver->complete = ret > 0;
	if (ret == -EAGAIN)
		return 0;
	if (ret < 0)
		return rwpi_error(receiver->err, ret, "process %d: %s",
				  (int)handoff->pid, why.text);
	handoff->regions = ret;
	return 0;
}

/* What was there when there was nothing more to wait for. */
static int give_up(struct receiver *receiver)
{
	const struct rwp_handoff *handoff = receiver->handoff;
	const char *what = "sent nothing";
	char when[40];

	if (receiver->complete)
		what = "sent no descriptor";
	else if (receiver->len)
		what = "sent half a message";
	else if (handoff->fds)
		what = "sent a descriptor and no message";
	if (receiver->ended)
		return rwpi_error(receiver->err, -EBADMSG,
				  "process %d %s before it closed the connection",
				  (int)handoff->pid, what);
	snprintf(when, sizeof(when), "in %u ms", receiver->timeout_ms);
	return rwpi_error(receiver->err, -ETIMEDOUT, "process %d %s %s",
			  (int)handoff->pid, what, when);
}

static int take_all(struct receiver *receiver)
{
	const struct rwp_handoff *handoff = receiver->handoff;
	uint64_t late = 0;

	for (;;) {
		bool enough = receiver->complete && handoff->fds;
		uint64_t until = receiver->deadline;
		size_t before = receiver->len;
		int ret;

		if (enough && !late)
			late = rwpi_now() + LATE_NSEC;
		if (enough && late < until)
			until = late;
		ret = receiver->ended ? 0 : wait_until(receiver->sock, until);
		if (ret < 0)
			return rwpi_fail(receiver->err, ret, "process %d",
					 (int)handoff->pid);
		if (!ret)
			return enough ? 0 : give_up(receiver);
		ret = take_some(receiver);
		if (!ret && receiver->len != before)
			ret = try_parse(receiver);
		if (ret)
			return ret;
	}
}

int rwp_handoff_check(struct rwp_handoff *handoff, struct rwp_error *err)
{
	unsigned int userfaultfds = 0;

	for (unsigned int i = 0; i < handoff->fds; i++) {
		int fd = handoff->fd[i];
		struct stat st;

		if (rwpi_is_userfaultfd(fd)) {
			handoff->fd[i] = handoff->fd[0];
			handoff->fd[0] = fd;
			userfaultfds++;
		} else if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
			return rwpi_error(
				err, -EINVAL,
				"process %d sent a descriptor that is neither a userfaultfd nor a file",
				(int)handoff->pid);
		}
	}
	if (userfaultfds != 1)
		return rwpi_error(err, -EINVAL,
				  "process %d sent %u userfaultfds, not one",
				  (int)handoff->pid, userfaultfds);
	return 0;
}

int rwp_handoff_receive(int sock, unsigned int timeout_ms,
			struct rwp_handoff **out, struct rwp_error *err)
{
	struct rwp_handoff *handoff = calloc(1, sizeof(*handoff));
	struct receiver receiver = {
		.sock = sock,
		.deadline = rwpi_now() + timeout_ms * 1000000ULL,
		.timeout_ms = timeout_ms,
		.handoff = handoff,
		.err = err,
	};
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);
	int ret = 0;

	if (handoff) {
		handoff->text = malloc(RWP_HANDOFF_TEXT_MAX + 1);
		handoff->fd = calloc(RWP_HANDOFF_FDS_MAX, sizeof(int));
	}
	if (!handoff || !handoff->text || !handoff->fd)
		ret = rwpi_fail(err, -ENOMEM, "a machine");
	else if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		ret = rwpi_fail(err, -errno, "SO_PEERCRED");
	else if (peer.pid <= 0)
		ret = rwpi_error(
			err, -EPERM,
			"the peer is in another PID namespace, its memory cannot be seen from here");
	if (!ret) {
		handoff->pid = peer.pid;
		handoff->uid = peer.uid;
		ret = take_all(&receiver);
	}
	if (!ret)
		ret = rwp_handoff_check(handoff, err);
	if (ret) {
		rwp_handoff_free(handoff);
		return ret;
	}
	handoff->text_len = receiver.len;
	*out = handoff;
	return 0;
}

void rwp_handoff_free(struct rwp_handoff *handoff)
{
	if (!handoff)
		return;
	for (unsigned int i = 0; i < handoff->fds; i++)
		rwpi_close(handoff->fd[i]);
	free(handoff->fd);
	free(handoff->region);
	free(handoff->text);
	free(handoff);
}
