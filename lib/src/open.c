// SPDX-License-Identifier: LGPL-2.1-or-later
/* Making a handle: of one's own userfaultfd, or of one that was received. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

#define OPEN_FLAGS                                          \
	(RWP_OPEN_SYNC | RWP_OPEN_EVICT | RWP_OPEN_EVENTS | \
	 RWP_OPEN_SUSPEND_SECCOMP)

/* Every kernel with RWP has them, but not every architecture. */
#define EVICT_FEATURES                                                   \
	(UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM |         \
	 UFFD_FEATURE_MISSING_HUGETLBFS | UFFD_FEATURE_MINOR_HUGETLBFS | \
	 UFFD_FEATURE_MOVE)

/*
 * The device first: who may open it needs no other privilege. Without any,
 * the kernel gives out a userfaultfd that does not see its own faults.
 */
struct rwpi_created rwpi_create(void)
{
	struct rwpi_created made = { .fd = -1 };
	int flags = O_CLOEXEC | O_NONBLOCK;
	int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

	if (dev >= 0) {
		made.fd = ioctl(dev, USERFAULTFD_IOC_NEW, flags);
		rwpi_close(dev);
	}
	if (made.fd < 0)
		made.fd = syscall(SYS_userfaultfd, flags);
	if (made.fd < 0 && errno == EPERM) {
		made.fd = syscall(SYS_userfaultfd, flags | UFFD_USER_MODE_ONLY);
		made.user_mode_only = made.fd >= 0;
	}
	if (made.fd < 0)
		made.fd = -errno;
	return made;
}

int rwpi_create_error(struct rwp_error *err, int code)
{
	switch (code) {
	case -ENOSYS:
		return rwpi_error(
			err, code,
			"this kernel has no userfaultfd: it needs CONFIG_USERFAULTFD=y");
	case -EPERM:
		return rwpi_error(
			err, code,
			"not allowed to create a userfaultfd: needs CAP_SYS_PTRACE, access to /dev/userfaultfd or vm.unprivileged_userfaultfd=1");
	default:
		return rwpi_fail(err, code, "cannot create a userfaultfd");
	}
}

static int api(int fd, uint64_t features)
{
	struct uffdio_api arg = { .api = UFFD_API, .features = features };

	if (ioctl(fd, UFFDIO_API, &arg) < 0)
		return -errno;
	return arg.ioctls & 1ULL << _UFFDIO_SET_MODE ? 0 : -EINVAL;
}

/*
 * UFFDIO_API works once, but may be tried until it does. Returns the features
 * that are on in @features.
 */
static int negotiate(int fd, unsigned int flags, uint64_t *features,
		     struct rwp_error *err)
{
	uint64_t want = UFFD_FEATURE_RWP | UFFD_FEATURE_THREAD_ID;
	int ret;

	if (!(flags & RWP_OPEN_SYNC))
		want |= UFFD_FEATURE_RWP_ASYNC;
	if (flags & RWP_OPEN_EVENTS)
		want |= UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP;

	*features = want;
	if (flags & RWP_OPEN_EVICT)
		*features |= EVICT_FEATURES;
	ret = api(fd, *features);
	if (ret == -EINVAL && *features != want) {
		*features = want;
		ret = api(fd, want);
	}
	if (ret == -EINVAL)
		return rwpi_error(
			err, -EOPNOTSUPP,
			"this kernel's userfaultfd has no read-write protection (UFFD_FEATURE_RWP)");
	if (ret)
		return rwpi_fail(err, ret, "UFFDIO_API");
	return 0;
}

static int open_proc(pid_t pid, const char *name, struct rwp_error *err)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ESRCH))
		return rwpi_error(err, -ESRCH, "process %d has ended",
				  (int)pid);
	if (fd < 0)
		return rwpi_fail(err, -errno, "%s", path);
	return fd;
}

/*
 * The number of a process is its own until it has been reaped: what was opened
 * by number belongs to the process behind the pidfd if that has not ended yet.
 */
static int still_there(int pidfd, pid_t pid, struct rwp_error *err)
{
	struct pollfd pfd = { .fd = pidfd, .events = POLLIN };

	if (pidfd >= 0 && poll(&pfd, 1, 0) > 0)
		return rwpi_error(err, -ESRCH, "process %d has ended",
				  (int)pid);
	return 0;
}

static int open_files(struct rwp *rwp, pid_t tid, struct rwp_error *err)
{
	rwp->pagemap = open_proc(tid, "pagemap", err);
	if (rwp->pagemap < 0)
		return rwp->pagemap;
	rwp->maps = open_proc(tid, "maps", err);
	if (rwp->maps < 0)
		return rwp->maps;
	return still_there(rwp->pidfd, rwp->pid, err);
}

static void close_files(struct rwp *rwp)
{
	rwpi_close(rwp->pagemap);
	rwpi_close(rwp->maps);
}

/* @features: those that are on already, 0 when UFFDIO_API is to be called. */
static int wrap(int fd, int pidfd, pid_t pid, pid_t tid, uint64_t features,
		unsigned int flags, struct rwp **out, struct rwp_error *err)
{
	struct rwp *rwp = calloc(1, sizeof(*rwp));
	int ret;

	if (!rwp)
		return rwpi_fail(err, -ENOMEM, "a handle for process %d",
				 (int)pid);
	rwp->fd = fd;
	rwp->pidfd = pidfd;
	rwp->pid = pid;
	rwp->pagemap = -1;
	rwp->maps = -1;
	rwp->features = features;

	ret = open_files(rwp, tid, err);
	if (!ret && !features)
		ret = negotiate(fd, flags, &rwp->features, err);
	if (ret) {
		close_files(rwp);
		free(rwp);
		return ret;
	}
	atomic_init(&rwp->async, rwp->features & UFFD_FEATURE_RWP_ASYNC);
	*out = rwp;
	return 0;
}

int rwpi_wrap(int fd, int pidfd, pid_t pid, pid_t tid, unsigned int flags,
	      struct rwp **out, struct rwp_error *err)
{
	return wrap(fd, pidfd, pid, tid, 0, flags, out, err);
}

int rwpi_check_flags(unsigned int flags, struct rwp_error *err)
{
	if (flags & ~OPEN_FLAGS)
		return rwpi_error(err, -EINVAL, "unknown open flags %#x",
				  flags & ~OPEN_FLAGS);
	return 0;
}

int rwp_open(unsigned int flags, struct rwp **out, struct rwp_error *err)
{
	struct rwpi_created made;
	int ret = rwpi_check_flags(flags, err);

	if (ret)
		return ret;
	made = rwpi_create();
	if (made.fd < 0)
		return rwpi_create_error(err, made.fd);
	ret = rwpi_wrap(made.fd, -1, getpid(), getpid(), flags, out, err);
	if (ret)
		rwpi_close(made.fd);
	else
		(*out)->user_mode_only = made.user_mode_only;
	return ret;
}

/* poll() works on a non-blocking userfaultfd only. */
static int make_nonblocking(int fd, struct rwp_error *err)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return rwpi_fail(err, -errno, "descriptor %d", fd);
	return 0;
}

int rwp_adopt(int fd, pid_t pid, uint64_t features, unsigned int flags,
	      struct rwp **out, struct rwp_error *err)
{
	int pidfd, ret = rwpi_check_flags(flags, err);

	if (ret)
		return ret;
	if (!rwpi_is_userfaultfd(fd))
		return rwpi_error(
			err, -EINVAL,
			"descriptor %d, received from process %d, is no userfaultfd",
			fd, (int)pid);
	if (!features)
		features = rwpi_features_of(fd);
	if (features && !(features & UFFD_FEATURE_RWP))
		return rwpi_error(
			err, -EOPNOTSUPP,
			"the userfaultfd of process %d was set up without UFFD_FEATURE_RWP",
			(int)pid);
	ret = make_nonblocking(fd, err);
	if (ret)
		return ret;
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return rwpi_fail(err, -errno, "process %d", (int)pid);
	ret = wrap(fd, pidfd, pid, pid, features, flags, out, err);
	if (ret)
		rwpi_close(pidfd);
	return ret;
}

int rwp_release(struct rwp *rwp)
{
	int fd;

	if (!rwp)
		return -1;
	fd = rwp->fd;
	close_files(rwp);
	rwpi_close(rwp->pidfd);
	free(rwp);
	return fd;
}

void rwp_close(struct rwp *rwp)
{
	rwpi_close(rwp_release(rwp));
}

int rwp_fd(const struct rwp *rwp)
{
	return rwp->fd;
}

int rwp_pidfd(const struct rwp *rwp)
{
	return rwp->pidfd;
}

pid_t rwp_pid(const struct rwp *rwp)
{
	return rwp->pid;
}

bool rwp_user_mode_only(const struct rwp *rwp)
{
	return rwp->user_mode_only;
}

uint64_t rwp_features(const struct rwp *rwp)
{
	uint64_t features = rwp->features & ~(uint64_t)UFFD_FEATURE_RWP_ASYNC;

	return atomic_load(&rwp->async) ? features | UFFD_FEATURE_RWP_ASYNC :
					  features;
}
