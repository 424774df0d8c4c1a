// SPDX-License-Identifier: GPL-2.0
/*
 * Write-protection of userfaultfd, which any kernel from 6.8 has, in place of
 * RWP: linked into a program with --wrap=ioctl and --wrap=read. Reading an armed
 * page goes unseen then, but a write that gets lost is a write. Both modes are
 * sync, so that what async mode leaves to the kernel is answered by the server.
 */
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "../vm/evict-memory.h"
#include "internal.h"

/* Arming a huge mapping of a file unmaps it: there is nothing to be found. */
const bool arms_shared_huge = false;

int __real_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, ...);
ssize_t __real_read(int fd, void *data, size_t len);
ssize_t __wrap_read(int fd, void *data, size_t len);

#define RWP_FEATURES ((uint64_t)(UFFD_FEATURE_RWP | UFFD_FEATURE_RWP_ASYNC))
#define WP_FEATURES                                  \
	((uint64_t)(UFFD_FEATURE_PAGEFAULT_FLAG_WP | \
		    UFFD_FEATURE_WP_HUGETLBFS_SHMEM))

/* Descriptors that were used as one. */
static atomic_bool is_userfaultfd[1024];

static int do_api(int fd, struct uffdio_api *api)
{
	uint64_t wanted = api->features;
	int ret;

	api->features = (wanted & ~RWP_FEATURES) | WP_FEATURES;
	ret = __real_ioctl(fd, UFFDIO_API, api);
	api->features |= wanted & RWP_FEATURES;
	api->ioctls |= 1ULL << _UFFDIO_SET_MODE;
	return ret;
}

/* A descriptor that came from elsewhere does not tell of RWP. */
uint64_t __real_rwpi_features_of(int fd);
uint64_t __wrap_rwpi_features_of(int fd);

uint64_t __wrap_rwpi_features_of(int fd)
{
	uint64_t features = __real_rwpi_features_of(fd);

	return features ? features | RWP_FEATURES : 0;
}

int __wrap_rwp_probe(struct rwp_probe *probe, struct rwp_error *err);

int __wrap_rwp_probe(struct rwp_probe *probe, struct rwp_error *err)
{
	(void)err;
	*probe = (struct rwp_probe){
		.rwp = true,
		.rwp_async = true,
		.set_mode = true,
		.scan = true,
		.maps_query = true,
	};
	return 0;
}

static int do_register(int fd, struct uffdio_register *arg)
{
	if (arg->mode & UFFDIO_REGISTER_MODE_RWP) {
		arg->mode &= ~(uint64_t)UFFDIO_REGISTER_MODE_RWP;
		arg->mode |= UFFDIO_REGISTER_MODE_WP;
	}
	return __real_ioctl(fd, UFFDIO_REGISTER, arg);
}

static int write_protect(int fd, uint64_t start, uint64_t end, uint64_t mode)
{
	struct uffdio_writeprotect arg = {
		.range = { start, end - start },
		.mode = mode,
	};

	return __real_ioctl(fd, UFFDIO_WRITEPROTECT, &arg);
}

static uint64_t swap_bits(uint64_t mask, uint64_t a, uint64_t b)
{
	return (mask & ~(a | b)) | (mask & a ? b : 0) | (mask & b ? a : 0);
}

/*
 * PAGE_IS_WRITTEN is what PAGE_IS_ACCESSED would be. Write-protection leaves a
 * marker where nothing is, which looks like a page in swap.
 */
static int do_scan(int fd, struct pm_scan_arg *scan)
{
	struct page_region *region = (void *)(uintptr_t)scan->vec;
	struct pm_scan_arg arg = *scan;
	int got;

	arg.return_mask = swap_bits(arg.return_mask, 2, PAGE_IS_ACCESSED) &
			  ~(uint64_t)PAGE_IS_ACCESSED;
	arg.category_anyof_mask =
		swap_bits(arg.category_anyof_mask, 2, PAGE_IS_ACCESSED) &
		~(uint64_t)PAGE_IS_SWAPPED;
	got = __real_ioctl(fd, PAGEMAP_SCAN, &arg);
	scan->walk_end = arg.walk_end;
	for (int i = 0; i < got; i++)
		region[i].categories =
			swap_bits(region[i].categories, 2, PAGE_IS_ACCESSED);
	return got;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	struct uffdio_rwprotect *protect;
	struct uffdio_poison *poison;
	uint64_t mode = 0;
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (_IOC_TYPE(request) == UFFDIO && fd < 1024)
		is_userfaultfd[fd] = true;
	switch (request) {
	case UFFDIO_API:
		return do_api(fd, arg);
	case UFFDIO_REGISTER:
		return do_register(fd, arg);
	case UFFDIO_RWPROTECT:
		protect = arg;
		if (protect->mode & UFFDIO_RWPROTECT_MODE_RWP)
			mode = UFFDIO_WRITEPROTECT_MODE_WP;
		return write_protect(fd, protect->range.start,
				     protect->range.start + protect->range.len,
				     mode);
	case UFFDIO_SET_MODE:
		return 0;
	case UFFDIO_POISON:
		/* The marker is in its way. */
		poison = arg;
		write_protect(fd, poison->range.start,
			      poison->range.start + poison->range.len, 0);
		return __real_ioctl(fd, UFFDIO_POISON, poison);
	case PAGEMAP_SCAN:
		return do_scan(fd, arg);
	default:
		return __real_ioctl(fd, request, arg);
	}
}

ssize_t __wrap_read(int fd, void *data, size_t len)
{
	ssize_t got = __real_read(fd, data, len);
	struct uffd_msg *msg = data;

	if (fd >= 1024 || !is_userfaultfd[fd])
		return got;
	for (ssize_t i = 0; i < got / (ssize_t)sizeof(*msg); i++)
		if (msg[i].event == UFFD_EVENT_PAGEFAULT &&
		    msg[i].arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP)
			msg[i].arg.pagefault.flags ^= UFFD_PAGEFAULT_FLAG_WP |
						      UFFD_PAGEFAULT_FLAG_RWP;
	return got;
}
