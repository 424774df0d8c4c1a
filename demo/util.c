// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

#define NSEC_PER_SEC 1000000000ULL

static const char *process_name = "rwp-demo";
static uint64_t start_ns;

/* What the watch looks at: the step under way and when it must be over. */
static pthread_mutex_t step_lock = PTHREAD_MUTEX_INITIALIZER;
static char step_name[160] = "start";
static uint64_t step_deadline_ns;
static uint64_t step_limit_ns;
static pid_t watched_guest;

void set_process_name(const char *name)
{
	process_name = name;
}

static void complain(const char *fmt, va_list args, int error)
{
	char text[512];

	vsnprintf(text, sizeof(text), fmt, args);
	fflush(stdout);
	if (error)
		fprintf(stderr, "%s: %s: %s\n", process_name, text,
			strerror(error));
	else
		fprintf(stderr, "%s: %s\n", process_name, text);
}

void die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	complain(fmt, args, 0);
	_exit(EXIT_FAILURE);
}

void die_errno(const char *fmt, ...)
{
	int error = errno;
	va_list args;

	va_start(args, fmt);
	complain(fmt, args, error);
	_exit(EXIT_FAILURE);
}

void step(const char *fmt, ...)
{
	uint64_t now = now_ns();
	va_list args;

	if (!start_ns)
		start_ns = now;

	pthread_mutex_lock(&step_lock);
	va_start(args, fmt);
	vsnprintf(step_name, sizeof(step_name), fmt, args);
	va_end(args);
	step_deadline_ns = now + step_limit_ns;
	printf("[%5.1f s] %s\n", (double)(now - start_ns) / NSEC_PER_SEC,
	       step_name);
	pthread_mutex_unlock(&step_lock);
}

void detail(const char *fmt, ...)
{
	va_list args;

	printf("          ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
}

static void check_time(void)
{
	pthread_mutex_lock(&step_lock);
	if (now_ns() > step_deadline_ns)
		die("no end after %llu s of the step: %s",
		    (unsigned long long)(step_limit_ns / NSEC_PER_SEC),
		    step_name);
	pthread_mutex_unlock(&step_lock);
}

static void check_guest(void)
{
	/* Only look: whoever waits for the guest's end must still find it. */
	int flags = WEXITED | WNOHANG | WNOWAIT;
	siginfo_t info = {};

	if (waitid(P_PID, watched_guest, &info, flags) < 0 || !info.si_pid)
		return;
	if (info.si_code != CLD_EXITED)
		die("the guest was killed by signal %d", info.si_status);
	if (info.si_status)
		die("the guest ended with status %d", info.si_status);
}

/*
 * A thread of its own, because the step may be a system call that does not
 * come back: a time-out on poll() says nothing about an ioctl().
 */
static void *watch(void *unused)
{
	(void)unused;
	for (;;) {
		nap_us(100000);
		check_guest();
		check_time();
	}
	return NULL;
}

void watch_start(unsigned int limit_seconds, pid_t guest)
{
	pthread_t thread;

	watched_guest = guest;
	step_limit_ns = limit_seconds * NSEC_PER_SEC;
	step_deadline_ns = now_ns() + step_limit_ns;
	errno = pthread_create(&thread, NULL, watch, NULL);
	if (errno)
		die_errno("cannot start the thread that watches the steps");
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

void nap_us(unsigned int us)
{
	struct timespec ts = {
		.tv_sec = us / 1000000,
		.tv_nsec = us % 1000000 * 1000L,
	};

	nanosleep(&ts, NULL);
}

void *new_array(size_t count, size_t size)
{
	void *array = calloc(count, size);

	if (!array)
		die("out of memory");
	return array;
}

/* SplitMix64: every state is as good as any other, zero too. */
uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

uint64_t random_below(uint64_t *state, uint64_t limit)
{
	return random_next(state) % limit;
}
