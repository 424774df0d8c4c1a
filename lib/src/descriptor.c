// SPDX-License-Identifier: LGPL-2.1-or-later
/* What /proc says of a descriptor. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

bool rwpi_is_userfaultfd(int fd)
{
	char link[32], target[32];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, target, sizeof(target) - 1);
	if (len < 0)
		return false;
	target[len] = '\0';
	return !strcmp(target, "anon_inode:[userfaultfd]");
}

/*
 * The features UFFDIO_API was called with; 0 if it was not. The kernel keeps that
 * it was in the uppermost of 32 bits.
 */
uint64_t rwpi_features_of(int fd)
{
	char path[40], line[80];
	unsigned int features = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "re");
	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "API:\t%*x:%x:", &features) == 1)
			break;
	fclose(file);
	return features & (1U << 31) ? features & ~(1U << 31) : 0;
}
