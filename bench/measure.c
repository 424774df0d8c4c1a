// SPDX-License-Identifier: GPL-2.0
/* Readings: instructions, and beside them what instructions do not show. */
#include <err.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#include "bench.h"

#define MAX_READINGS 9

struct counters {
	uint64_t insn, flushes, shootdowns, faults;
};

/* The number behind a word at the start of a line, 0 if there is none. */
static uint64_t number_after(const char *text, const char *word)
{
	const char *at = strstr(text, word);

	return at ? strtoull(at + strlen(word), NULL, 10) : 0;
}

static uint64_t sum_after(const char *text, const char *word)
{
	const char *at = strstr(text, word);
	uint64_t sum = 0;
	char *next;

	if (!at)
		return 0;
	for (at += strlen(word);; at = next) {
		uint64_t number = strtoull(at, &next, 10);

		if (next == at)
			return sum;
		sum += number;
	}
}

static struct counters read_counters(void)
{
	struct counters now = { };
	const char *text = read_file("/proc/vmstat");

	now.flushes = number_after(text, "nr_tlb_local_flush_all ") +
		      number_after(text, "nr_tlb_local_flush_one ");
	now.faults = number_after(text, "\npgfault ");
	now.shootdowns = sum_after(read_file("/proc/interrupts"), "TLB:");
	return now;
}

static struct counters take(const struct row *row, struct area *area)
{
	struct counters before, now;
	uint64_t start;

	if (row->before)
		row->before(area);
	before = read_counters();
	start = __rdtsc();
	row->run(area);
	start = __rdtsc() - start;
	now = read_counters();
	now = (struct counters){
		.insn = start,
		.flushes = now.flushes - before.flushes,
		.shootdowns = now.shootdowns - before.shootdowns,
		.faults = now.faults - before.faults,
	};
	if (row->after)
		row->after(area);
	return now;
}

/* Trace the mmap lock in a run of its own: tracing costs instructions. */
bool with_locks;

static void print_locks(const struct row *row, struct area *area)
{
	struct held held;

	if (row->before)
		row->before(area);
	locks_start();
	row->run(area);
	locks_stop(&held);
	printf(", \"held_read\": %lu, \"held_write\": %lu", held.read,
	       held.write);
}

/* A thread on the other processor makes each flush an interrupt there. */
bool with_sibling;

static void *spin(void *unused)
{
	for (;;)
		__builtin_ia32_pause();
	return unused;
}

static void start_sibling(void)
{
	cpu_set_t cpus;
	pthread_t thread;

	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) ||
	    pthread_create(&thread, NULL, spin, NULL))
		err(1, "sibling");
	CPU_ZERO(&cpus);
	CPU_SET(1, &cpus);
	if (pthread_setaffinity_np(thread, sizeof(cpus), &cpus))
		errx(1, "no second processor");
}

static void readings_of(const struct row *row, enum kind kind, size_t size,
			unsigned int readings)
{
	struct counters taken[MAX_READINGS], *least = taken;
	struct area area;

	if (with_sibling)
		start_sibling();
	area_map(&area, kind, size);
	area.arg = row->arg;
	if (row->setup && !row->setup(&area))
		return;

	/* The first one warms up: the allocators' lists, lazy set-up. */
	for (unsigned int i = 0; i <= readings; i++)
		taken[i ? i - 1 : 0] = take(row, &area);
	for (unsigned int i = 1; i < readings; i++) {
		if (taken[i].insn < least->insn)
			least = taken + i;
	}

	printf("{\"row\": \"%s\", \"kind\": \"%s\", \"mib\": %zu, \"operations\": %zu",
	       row->name, kind_names[kind], size / MIB,
	       row->operations ? (size_t)row->operations : area.units);
	printf(", \"flushes\": %lu, \"shootdowns\": %lu, \"faults\": %lu",
	       least->flushes, least->shootdowns, least->faults);
	if (with_locks)
		print_locks(row, &area);
	for (unsigned int i = 0; i < readings; i++)
		printf("%s%lu", i ? ", " : ", \"insn\": [", taken[i].insn);
	printf("]}\n");
}

/* Each row has a process of its own, so that none depends on another. */
void measure(const struct row *row, enum kind kind, size_t size,
	     unsigned int readings)
{
	pid_t child;
	int status;

	fflush(NULL);
	child = fork();
	if (child < 0)
		err(1, "fork");
	if (!child) {
		readings_of(row, kind, size, readings);
		fflush(NULL);
		_exit(0);
	}
	if (waitpid(child, &status, 0) != child || status)
		printf("{\"row\": \"%s\", \"kind\": \"%s\", \"mib\": %zu, \"failed\": %d}\n",
		       row->name, kind_names[kind], size / MIB, status);
}
