/* SPDX-License-Identifier: GPL-2.0 */
/* What the programs here share: cases as TAP, and a way to give up. */
#ifndef PROOF_H
#define PROOF_H

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "uffd-rwp.h"

#define ASYNC		UFFD_FEATURE_RWP_ASYNC
#define ARM		UFFDIO_RWPROTECT_MODE_RWP
#define PAGE		4096UL
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

static int cases, failures;

__attribute__((unused, format(printf, 2, 3)))
static void result(bool ok, const char *fmt, ...)
{
	va_list ap;

	cases++;
	failures += !ok;
	printf("%sok %d ", ok ? "" : "not ", cases);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

/* For what has to work, or there is nothing to be seen. */
__attribute__((unused, noreturn, format(printf, 1, 2)))
static void give_up(const char *fmt, ...)
{
	va_list ap;

	printf("Bail out! ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	_exit(1);
}

__attribute__((unused))
static int plan(void)
{
	printf("1..%d\n", cases);
	return failures ? 1 : 0;
}

static inline unsigned long next(unsigned long *state)
{
	*state = *state * 6364136223846793005UL + 1442695040888963407UL;
	return *state >> 33;
}

#endif /* PROOF_H */
