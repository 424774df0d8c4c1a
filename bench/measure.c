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
#define MAX_GROUP 64

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

const char *only;

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

/* What is measured of a large area by a slow row */
static size_t slow_step(const struct area *area)
{
	size_t step = 1;

	while (area->units / step > 16384 || area->size / step > 256 * MIB)
		step *= 2;
	return step;
}

static void print_name(const struct row *row, enum kind kind, size_t size)
{
	printf("{\"row\": \"%s\", \"kind\": \"%s\", \"mib\": %zu", row->name,
	       kind_names[kind], size / MIB);
}

static void readings_of(const struct row *row, struct area *area,
			const struct size *size)
{
	struct counters taken[MAX_READINGS], *least = taken;
	size_t operations;

	area->arg = row->arg;
	area->step = row->slow ? slow_step(area) : 1;
	operations = row->operations ? row->operations :
				       area->units / area->step;

	/* To warm up: the allocators' lists, lazy set-up. */
	if (size->warm_up)
		take(row, area);
	for (unsigned int i = 0; i < size->readings; i++) {
		taken[i] = take(row, area);
		if (taken[i].insn < least->insn)
			least = taken + i;
	}

	print_name(row, area->kind, size->size);
	printf(", \"operations\": %zu", operations);
	printf(", \"flushes\": %lu, \"shootdowns\": %lu, \"faults\": %lu",
	       least->flushes, least->shootdowns, least->faults);
	if (with_locks)
		print_locks(row, area);
	for (unsigned int i = 0; i < size->readings; i++)
		printf("%s%lu", i ? ", " : ", \"insn\": [", taken[i].insn);
	printf("]}\n");
	fflush(stdout);
}

static bool wanted(const struct row *row, enum kind kind, size_t size)
{
	if (row->not_hugetlb && kind == HUGETLB)
		return false;
	if (row->splits && kind == THP && size > 256 * MIB)
		return false;
	return !only || !strcmp(only, row->name);
}

/* Writes a byte to done after each row. */
static void child(const struct row *rows, size_t nr, enum kind kind,
		  const struct size *size, int done)
{
	struct area area;

	if (with_sibling)
		start_sibling();
	area_map(&area, kind, size->size);
	area.arg = rows->arg;
	if (rows->setup && !rows->setup(&area))
		return;
	for (size_t i = 0; i < nr; i++) {
		if (wanted(rows + i, kind, size->size))
			readings_of(rows + i, &area, size);
		if (write(done, "", 1) != 1)
			err(1, "pipe");
	}
}

/* How many rows from the first one on share its setup, so it is done once. */
static size_t group(const struct rows *rows, size_t first)
{
	size_t end = first + 1;

	while (end < rows->nr && end - first < MAX_GROUP && !rows->apart && rows->rows[first].setup &&
	       rows->rows[end].setup == rows->rows[first].setup)
		end++;
	return end - first;
}

/* A row that fails takes nothing with it: a new process begins behind it. */
void measure(const struct rows *rows, enum kind kind, const struct size *size)
{
	for (size_t i = 0; i < rows->nr;) {
		const struct row *first = rows->rows + i;
		size_t nr = group(rows, i);
		char done[MAX_GROUP];
		int status, ends[2];
		ssize_t got;
		pid_t pid;

		if (!wanted(first, kind, size->size) && nr == 1) {
			i++;
			continue;
		}
		if (pipe(ends))
			err(1, "pipe");
		fflush(NULL);
		pid = fork();
		if (pid < 0)
			err(1, "fork");
		if (!pid) {
			close(ends[0]);
			child(first, nr, kind, size, ends[1]);
			_exit(0);
		}
		close(ends[1]);
		if (waitpid(pid, &status, 0) != pid)
			err(1, "waitpid");
		got = read(ends[0], done, sizeof(done));
		close(ends[0]);
		if (status == 0) {
			i += nr;
			continue;
		}
		print_name(first + got, kind, size->size);
		printf(", \"failed\": %d}\n", status);
		i += got + 1;
	}
}
