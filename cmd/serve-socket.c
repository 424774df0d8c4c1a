// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "command.h"
#include "serve.h"

#define BACKLOG 64

/* A socket whose owner died stays in the file system and refuses everybody. */
static bool is_stale(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;
	bool stale = fd >= 0 && !lstat(addr->sun_path, &st) &&
		     S_ISSOCK(st.st_mode) &&
		     connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) &&
		     errno == ECONNREFUSED;

	if (fd >= 0)
		close(fd);
	return stale;
}

int listen_at(const char *path, mode_t mode)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	mode_t mask;
	int fd, ret;

	if (!path[0] || strlen(path) >= sizeof(addr.sun_path)) {
		complain("'%s' is no path of a socket: 1 to %zu bytes", path,
			 sizeof(addr.sun_path) - 1);
		return -1;
	}
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		complain("%s: %s", path, strerror(errno));
		return -1;
	}
	/* Never wider than it is to be, not for a moment. */
	mask = umask(0777 & ~mode);
	ret = bind(fd, (struct sockaddr *)&addr, sizeof(addr));
	if (ret && errno == EADDRINUSE && is_stale(&addr)) {
		unlink(path);
		ret = bind(fd, (struct sockaddr *)&addr, sizeof(addr));
	}
	umask(mask);
	if (!ret)
		ret = listen(fd, BACKLOG);
	if (!ret)
		return fd;
	complain("%s: %s", path,
		 errno == EADDRINUSE ?
			 "there is something already, and not a socket that nobody uses" :
			 strerror(errno));
	close(fd);
	return -1;
}

bool is_listening(int fd)
{
	socklen_t len = sizeof(int);
	int value = 0;

	return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) &&
	       value;
}
