// SPDX-License-Identifier: LGPL-2.1-or-later
#include <time.h>
#include <unistd.h>

#include "internal.h"

const char *rwp_version(void)
{
	return RWP_VERSION;
}

uint64_t rwpi_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

void rwpi_close(int fd)
{
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
}

uint64_t rwpi_page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

int rwpi_check_range(struct rwp_range range, struct rwp_error *err)
{
	uint64_t mask = rwpi_page_size() - 1;

	if (!range.len || (range.start | range.len) & mask ||
	    range.start + range.len < range.start)
		return rwpi_error(
			err, -EINVAL,
			"range %#llx+%#llx is empty, not of whole pages or too long",
			(unsigned long long)range.start,
			(unsigned long long)range.len);
	return 0;
}
