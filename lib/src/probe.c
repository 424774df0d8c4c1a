// SPDX-License-Identifier: LGPL-2.1-or-later
/* What the running kernel offers, found out by trying. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "internal.h"

static int read_sysctl(void)
{
	FILE *file = fopen("/proc/sys/vm/unprivileged_userfaultfd", "re");
	int value;

	if (!file)
		return -1;
	if (fscanf(file, "%d", &value) != 1)
		value = -1;
	fclose(file);
	return value;
}

static bool device_works(void)
{
	int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	int fd;

	if (dev < 0)
		return false;
	fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	rwpi_close(dev);
	rwpi_close(fd);
	return fd >= 0;
}

static bool syscall_works(int flags)
{
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags);

	rwpi_close(fd);
	return fd >= 0;
}

static bool getfd_works(int fd)
{
	int pidfd = syscall(SYS_pidfd_open, getpid(), 0);
	int copy = -1;

	if (pidfd >= 0)
		copy = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	rwpi_close(copy);
	rwpi_close(pidfd);
	return copy >= 0;
}

static int stop_at_first(const struct rwp_mapping *mapping, void *arg)
{
	(void)mapping;
	(void)arg;
	return 1;
}

static int add_accessed(const struct rwp_run *run, void *arg)
{
	*(uint64_t *)arg += run->range.len;
	return 0;
}

/* Arm one page, touch it, and see whether the scan tells the difference. */
static bool scan_works(struct rwp *rwp, struct rwp_range page)
{
	uint64_t before = 0, after = 0;

	if (rwp_arm(rwp, page, NULL) ||
	    rwp_scan(rwp, page, RWP_PAGE_ACCESSED, add_accessed, &before, NULL))
		return false;
	*(volatile char *)page.start += 1;
	if (rwp_scan(rwp, page, RWP_PAGE_ACCESSED, add_accessed, &after, NULL))
		return false;
	return !before && after == page.len;
}

static void try_range(struct rwp_probe *probe, struct rwp *rwp,
		      struct rwp_range page)
{
	struct uffdio_register reg = {
		.range = { .start = page.start, .len = page.len },
		.mode = UFFDIO_REGISTER_MODE_RWP,
	};

	if (ioctl(rwp_fd(rwp), UFFDIO_REGISTER, &reg) < 0)
		return;
	probe->range_ioctls = reg.ioctls;
	/* In sync mode the touch would wait for this very thread. */
	if (probe->rwp_async)
		probe->scan = scan_works(rwp, page);
}

static int try_rwp(struct rwp_probe *probe, struct rwp_error *err)
{
	size_t len = rwpi_page_size();
	struct rwp *rwp;
	void *mem;

	/* Refused for whatever reason: the features tell it. */
	if (rwp_open(0, &rwp, NULL))
		return 0;
	mem = mmap(NULL, len, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (mem == MAP_FAILED) {
		rwp_close(rwp);
		return rwpi_fail(err, -ENOMEM, "a page to try RWP on");
	}
	try_range(probe, rwp, (struct rwp_range){ (uintptr_t)mem, len });
	rwp_close(rwp);
	munmap(mem, len);
	return 0;
}

static int read_features(struct rwp_probe *probe, struct rwp_error *err)
{
	struct rwpi_created made = rwpi_create();
	struct uffdio_api api = { .api = UFFD_API };

	if (made.fd == -EMFILE || made.fd == -ENFILE || made.fd == -ENOMEM)
		return rwpi_fail(err, made.fd, "cannot create a userfaultfd");
	if (made.fd < 0) {
		probe->create_error = made.fd;
		return 0;
	}
	probe->pidfd_getfd = getfd_works(made.fd);
	if (!ioctl(made.fd, UFFDIO_API, &api)) {
		probe->features = api.features;
		probe->ioctls = api.ioctls;
	}
	rwpi_close(made.fd);
	return 0;
}

static bool has(uint64_t word, uint64_t bits)
{
	return (word & bits) == bits;
}

int rwp_probe(struct rwp_probe *probe, struct rwp_error *err)
{
	struct utsname name;
	int ret;

	memset(probe, 0, sizeof(*probe));
	probe->page_size = rwpi_page_size();
	if (!uname(&name))
		snprintf(probe->release, sizeof(probe->release), "%s",
			 name.release);
	probe->sysctl = read_sysctl();
	probe->device = device_works();
	probe->syscall = syscall_works(0);
	probe->user_mode_only = syscall_works(UFFD_USER_MODE_ONLY);
	probe->maps_query = rwp_mappings(getpid(), stop_at_first, NULL, NULL) ==
			    1;

	ret = read_features(probe, err);
	if (ret)
		return ret;
	probe->rwp = has(probe->features, UFFD_FEATURE_RWP);
	probe->rwp_async = has(probe->features, UFFD_FEATURE_RWP_ASYNC);
	probe->set_mode = has(probe->ioctls, 1ULL << _UFFDIO_SET_MODE);
	probe->move = has(probe->features, UFFD_FEATURE_MOVE);
	probe->minor_shmem = has(probe->features, UFFD_FEATURE_MINOR_SHMEM);
	return try_rwp(probe, err);
}
