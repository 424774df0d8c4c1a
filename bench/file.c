// SPDX-License-Identifier: GPL-2.0
/* Small files of the kernel, as a whole. */
#include <err.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "bench.h"

void write_file(const char *name, const char *format, ...)
{
	char text[64];
	va_list list;
	int len, fd;

	va_start(list, format);
	len = vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	fd = open(name, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0 || write(fd, text, len) != len)
		err(1, "write '%s' to %s", text, name);
	close(fd);
}

const char *read_file(const char *name)
{
	static char text[1 << 15];
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t got;

	if (fd < 0)
		err(1, "%s", name);
	while ((got = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += got;
	close(fd);
	text[len] = '\0';
	return text;
}
