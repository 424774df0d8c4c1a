// SPDX-License-Identifier: LGPL-2.1-or-later
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

static size_t put(struct rwp_error *err, int code, const char *fmt,
		  va_list args)
{
	err->code = code;
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	return strlen(err->text);
}

int rwpi_error(struct rwp_error *err, int code, const char *fmt, ...)
{
	va_list args;

	if (!err)
		return code;
	va_start(args, fmt);
	put(err, code, fmt, args);
	va_end(args);
	return code;
}

int rwpi_fail(struct rwp_error *err, int code, const char *fmt, ...)
{
	va_list args;
	size_t len;

	if (!err)
		return code;
	va_start(args, fmt);
	len = put(err, code, fmt, args);
	va_end(args);
	/* %m is the one way to errno's text that is the same in every libc. */
	errno = -code;
	snprintf(err->text + len, sizeof(err->text) - len, ": %m");
	return code;
}
