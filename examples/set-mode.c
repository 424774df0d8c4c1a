// SPDX-License-Identifier: GPL-2.0
/* Find the page that is hot, then make every access to a cold one wait. */
#include <err.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ioctl() that does not fail. */
static int call(int fd, unsigned long request, void *arg)
{
	int ret = ioctl(fd, request, arg);

	if (ret < 0)
		err(1, "ioctl %#lx", request);
	return ret;
}

static int new_userfaultfd(__u64 features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (uffd < 0)
		err(1, "userfaultfd");
	call(uffd, UFFDIO_API, &api);
	return uffd;
}

/* Only what is populated can be protected. */
static struct uffdio_range map_memory(size_t pages)
{
	size_t len = pages * getpagesize();
	void *mem = mmap(NULL, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (mem == MAP_FAILED)
		err(1, "mmap");
	return (struct uffdio_range){ .start = (__u64)mem, .len = len };
}

/* The one run of pages that were accessed since they were protected. */
static char *find_hot(struct uffdio_range range)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct page_region found[2];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = range.start,
		.end = range.start + range.len,
		.vec = (__u64)found,
		.vec_len = 2,
		.category_mask = PAGE_IS_ACCESSED,
		.return_mask = PAGE_IS_ACCESSED,
	};

	if (pagemap < 0)
		err(1, "/proc/self/pagemap");
	if (call(pagemap, PAGEMAP_SCAN, &arg) != 1)
		errx(1, "there should be one run of hot pages");
	return (char *)found[0].start;
}

int main(void)
{
	struct uffdio_set_mode sync = { .disable = UFFD_FEATURE_RWP_ASYNC };
	struct uffdio_set_mode async = { .enable = UFFD_FEATURE_RWP_ASYNC };
	int uffd = new_userfaultfd(UFFD_FEATURE_RWP | UFFD_FEATURE_RWP_ASYNC);
	struct uffdio_range range = map_memory(64);
	char *hot = (char *)range.start + 5 * getpagesize();

	call(uffd, UFFDIO_REGISTER,
	     &(struct uffdio_register){ range, UFFDIO_REGISTER_MODE_RWP, 0 });
	/* Every page becomes inaccessible; async: the first access undoes it. */
	call(uffd, UFFDIO_RWPROTECT,
	     &(struct uffdio_rwprotect){ range, UFFDIO_RWPROTECT_MODE_RWP });
	*hot += 1;
	/* Sync: from here on, who touches a cold page waits for an answer. */
	call(uffd, UFFDIO_SET_MODE, &sync);
	if (find_hot(range) != hot)
		errx(1, "this is not the page that was touched");
	printf("%p is hot. Now is the time to evict the rest.\n", hot);
	/* Async again: whoever waits is released, and nobody waits any more. */
	call(uffd, UFFDIO_SET_MODE, &async);
	hot[getpagesize()] += 1;
	return 0;
}
