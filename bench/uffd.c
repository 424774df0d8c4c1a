// SPDX-License-Identifier: GPL-2.0
/* The calls of userfaultfd and PAGEMAP_SCAN, one function each. */
#include <err.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

static void call(int fd, unsigned long request, void *arg, const char *name)
{
	if (ioctl(fd, request, arg) < 0)
		err(1, "%s", name);
}

/* A context with these features, or -1 where the kernel lacks one of them. */
int uffd_open(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (uffd < 0)
		err(1, "userfaultfd");
	if (ioctl(uffd, UFFDIO_API, &api) == 0)
		return uffd;
	close(uffd);
	return -1;
}

bool uffd_register(int uffd, const void *mem, size_t size, uint64_t mode)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)mem, .len = size },
		.mode = mode,
	};

	return ioctl(uffd, UFFDIO_REGISTER, &reg) == 0;
}

void uffd_unregister(int uffd, const void *mem, size_t size)
{
	struct uffdio_range range = { .start = (uintptr_t)mem, .len = size };

	call(uffd, UFFDIO_UNREGISTER, &range, "UFFDIO_UNREGISTER");
}

void uffd_rwp(int uffd, const void *mem, size_t size, bool arm)
{
	struct uffdio_rwprotect arg = {
		.range = { .start = (uintptr_t)mem, .len = size },
		.mode = arm ? UFFDIO_RWPROTECT_MODE_RWP : 0,
	};

	call(uffd, UFFDIO_RWPROTECT, &arg, "UFFDIO_RWPROTECT");
}

void uffd_wp(int uffd, const void *mem, size_t size, bool protect)
{
	struct uffdio_writeprotect arg = {
		.range = { .start = (uintptr_t)mem, .len = size },
		.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	call(uffd, UFFDIO_WRITEPROTECT, &arg, "UFFDIO_WRITEPROTECT");
}

void uffd_set_mode(int uffd, bool async)
{
	struct uffdio_set_mode mode = {
		.enable = async ? UFFD_FEATURE_RWP_ASYNC : 0,
		.disable = async ? 0 : UFFD_FEATURE_RWP_ASYNC,
	};

	call(uffd, UFFDIO_SET_MODE, &mode, "UFFDIO_SET_MODE");
}

void scan(struct area *area, uint64_t category, uint64_t flags)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = flags,
		.start = (uintptr_t)area->mem,
		.end = (uintptr_t)area->mem + area->size,
		.vec = (uintptr_t)area->found,
		.vec_len = area->units,
		.category_mask = category,
		.return_mask = category,
	};
	int got = ioctl(area->pagemap, PAGEMAP_SCAN, &arg);

	if (got < 0)
		err(1, "PAGEMAP_SCAN");
	area->nr_found = got;
}
