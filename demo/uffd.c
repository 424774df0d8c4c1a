// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "uffd.h"
#include "util.h"

static void call(int uffd, unsigned long request, void *arg, const char *name)
{
	if (ioctl(uffd, request, arg) < 0)
		die_errno("%s", name);
}

/* The descriptor is non-blocking because poll() refuses any other. */
static int uffd_open(void)
{
	int flags = O_CLOEXEC | O_NONBLOCK;
	int dev, uffd;

	/* Who may open the device needs no other privilege. */
	dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (dev >= 0) {
		uffd = ioctl(dev, USERFAULTFD_IOC_NEW, flags);
		close(dev);
		if (uffd >= 0)
			return uffd;
	}

	uffd = syscall(SYS_userfaultfd, flags);
	/*
	 * Without privilege a context cannot trap accesses by the kernel. The
	 * vCPUs here make none.
	 */
	if (uffd < 0 && errno == EPERM)
		uffd = syscall(SYS_userfaultfd, flags | UFFD_USER_MODE_ONLY);
	if (uffd < 0)
		die_errno("cannot create a userfaultfd");
	return uffd;
}

int uffd_create(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_RWP | UFFD_FEATURE_RWP_ASYNC |
			    UFFD_FEATURE_THREAD_ID,
	};
	int uffd = uffd_open();

	if (ioctl(uffd, UFFDIO_API, &api) < 0) {
		if (errno == EINVAL)
			die("this kernel's userfaultfd does not offer UFFD_FEATURE_RWP; boot the kernel built by `make kernel`");
		die_errno("UFFDIO_API");
	}
	if (!(api.ioctls & 1ULL << _UFFDIO_SET_MODE))
		die("this kernel's userfaultfd does not offer UFFDIO_SET_MODE");
	return uffd;
}

void uffd_register(int uffd, uint64_t start, uint64_t len)
{
	struct uffdio_register reg = {
		.range = { .start = start, .len = len },
		.mode = UFFDIO_REGISTER_MODE_RWP,
	};

	call(uffd, UFFDIO_REGISTER, &reg, "UFFDIO_REGISTER");
	if (!(reg.ioctls & 1ULL << _UFFDIO_RWPROTECT))
		die("UFFDIO_REGISTER does not offer UFFDIO_RWPROTECT");
}

void uffd_unregister(int uffd, uint64_t start, uint64_t len)
{
	struct uffdio_range range = { .start = start, .len = len };

	call(uffd, UFFDIO_UNREGISTER, &range, "UFFDIO_UNREGISTER");
}

void uffd_arm(int uffd, uint64_t start, uint64_t len)
{
	struct uffdio_rwprotect arg = {
		.range = { .start = start, .len = len },
		.mode = UFFDIO_RWPROTECT_MODE_RWP,
	};

	call(uffd, UFFDIO_RWPROTECT, &arg, "UFFDIO_RWPROTECT (arm)");
}

void uffd_resolve(int uffd, uint64_t start, uint64_t len)
{
	struct uffdio_rwprotect arg = {
		.range = { .start = start, .len = len },
		.mode = 0,
	};

	call(uffd, UFFDIO_RWPROTECT, &arg, "UFFDIO_RWPROTECT (resolve)");
}

void uffd_set_sync(int uffd)
{
	struct uffdio_set_mode mode = { .disable = UFFD_FEATURE_RWP_ASYNC };

	call(uffd, UFFDIO_SET_MODE, &mode, "UFFDIO_SET_MODE (to sync)");
}

void uffd_set_async(int uffd)
{
	struct uffdio_set_mode mode = { .enable = UFFD_FEATURE_RWP_ASYNC };

	call(uffd, UFFDIO_SET_MODE, &mode, "UFFDIO_SET_MODE (to async)");
}

static void decode(const struct uffd_msg *msg, struct rwp_fault *fault)
{
	uint64_t flags = msg->arg.pagefault.flags;

	if (msg->event != UFFD_EVENT_PAGEFAULT)
		die("userfaultfd sent event %#x, not a page fault", msg->event);
	if (!(flags & UFFD_PAGEFAULT_FLAG_RWP))
		die("page fault at %#llx without UFFD_PAGEFAULT_FLAG_RWP: flags %#llx",
		    (unsigned long long)msg->arg.pagefault.address,
		    (unsigned long long)flags);
	fault->address = msg->arg.pagefault.address;
	fault->tid = msg->arg.pagefault.feat.ptid;
	fault->write = flags & UFFD_PAGEFAULT_FLAG_WRITE;
}

bool uffd_next_fault(int uffd, struct rwp_fault *fault, int timeout_ms)
{
	struct pollfd pfd = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;
	ssize_t got;

	if (poll(&pfd, 1, timeout_ms) < 0)
		die_errno("poll on the userfaultfd");
	if (pfd.revents & ~POLLIN)
		die("poll on the userfaultfd answers %#x", pfd.revents);

	got = read(uffd, &msg, sizeof(msg));
	/* The faulting thread may have gone on since poll() looked. */
	if (got < 0 && errno == EAGAIN)
		return false;
	if (got < 0)
		die_errno("read from the userfaultfd");
	if (got != sizeof(msg))
		die("short read from the userfaultfd");
	decode(&msg, fault);
	return true;
}

/* The kernel counts waiters in fdinfo, whether their message was read or not. */
struct blocked uffd_blocked(int uffd)
{
	struct blocked blocked;
	int found = 0;
	char text[64];
	FILE *info;

	snprintf(text, sizeof(text), "/proc/self/fdinfo/%d", uffd);
	info = fopen(text, "re");
	if (!info)
		die_errno("%s", text);
	while (fgets(text, sizeof(text), info)) {
		found += sscanf(text, "pending: %u", &blocked.unread);
		found += sscanf(text, "total: %u", &blocked.total);
	}
	fclose(info);
	if (found != 2)
		die("fdinfo of the userfaultfd lacks its counters");
	return blocked;
}
