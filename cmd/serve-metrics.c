// SPDX-License-Identifier: GPL-2.0
/* Counters in the text format of Prometheus, in a file or over a Unix socket. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "serve-machine.h"

/* Who asks over HTTP has this long to do so. */
#define REQUEST_MS 200

struct metrics {
	const char *path; /* of the file */
	char *draft; /* what is renamed to it */
	int fd; /* the listening socket, or -1 */
	const char *socket;
	bool failed; /* and was complained about */
};

int metrics_open(const char *where, struct metrics **out)
{
	struct metrics *metrics;

	*out = NULL;
	if (!where)
		return EXIT_OK;
	metrics = calloc(1, sizeof(*metrics));
	if (!metrics)
		return complain("metrics: %s", strerror(errno));
	metrics->fd = -1;
	if (!strncmp(where, "unix:", 5)) {
		metrics->socket = where + 5;
		metrics->fd = listen_at(metrics->socket, 0600);
		if (metrics->fd < 0) {
			free(metrics);
			return EXIT_FAILED;
		}
	} else {
		metrics->path = where;
		if (asprintf(&metrics->draft, "%s.new", where) < 0) {
			free(metrics);
			return complain("metrics: %s", strerror(ENOMEM));
		}
	}
	*out = metrics;
	return EXIT_OK;
}

int metrics_fd(const struct metrics *metrics)
{
	return metrics ? metrics->fd : -1;
}

void metrics_close(struct metrics *metrics)
{
	if (!metrics)
		return;
	if (metrics->fd >= 0) {
		close(metrics->fd);
		unlink(metrics->socket);
	}
	free(metrics->draft);
	free(metrics);
}

/* ---- What they are ----------------------------------------------------- */

static uint64_t populated(const struct machine *machine)
{
	return machine->tracked.populated * sysconf(_SC_PAGESIZE);
}

static uint64_t size(const struct machine *machine)
{
	return machine->tracked.pages * sysconf(_SC_PAGESIZE);
}

static uint64_t accessed(const struct machine *machine)
{
	return machine->tracked.accessed * sysconf(_SC_PAGESIZE);
}

#define OF(name, member)                                       \
	static uint64_t name(const struct machine *machine)    \
	{                                                      \
		return machine->member;                        \
	}

OF(window, tracked.window_ns)
OF(asked, evicted.asked)
OF(evicted, evicted.evicted)
OF(touched, evicted.touched)
OF(failed, evicted.failed)
OF(missing, evicted.served_missing)
OF(minor, evicted.served_minor)
OF(armed, evicted.served_rwp)
OF(sync_ns, evicted.sync_ns)
OF(sync_max, evicted.sync_max_ns)

static const struct metric {
	const char *name, *help;
	uint64_t (*get)(const struct machine *machine);
	bool counter, seconds; /* it is in nanoseconds */
} list[] = {
	{ "rwp_memory_bytes", "Memory that was handed over.", size, false,
	  false },
	{ "rwp_populated_bytes", "What of it is in memory.", populated, false,
	  false },
	{ "rwp_accessed_bytes", "What was accessed in the last window.",
	  accessed, false, false },
	{ "rwp_window_seconds", "Length of that window.", window, false, true },
	{ "rwp_asked_pages_total", "Pages chosen for eviction.", asked, true,
	  false },
	{ "rwp_evicted_pages_total", "Pages evicted.", evicted, true, false },
	{ "rwp_touched_pages_total", "Chosen, but accessed meanwhile.", touched,
	  true, false },
	{ "rwp_failed_pages_total", "Chosen, but could not be saved.", failed,
	  true, false },
	{ "rwp_missing_faults_total", "Faults answered from the store or with zeros.",
	  missing, true, false },
	{ "rwp_minor_faults_total", "Faults answered from the page cache.",
	  minor, true, false },
	{ "rwp_armed_faults_total", "Accesses while pages were being chosen.",
	  armed, true, false },
	{ "rwp_sync_seconds_total", "Time in which accesses to armed pages waited.",
	  sync_ns, true, true },
	{ "rwp_sync_max_seconds", "The longest such time.", sync_max, false,
	  true },
};

static void print_head(FILE *out, const char *name, const char *help,
		       bool counter)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
		counter ? "counter" : "gauge");
}

static void print_metric(FILE *out, const struct metric *metric,
			 const struct machine *machine)
{
	print_head(out, metric->name, metric->help, metric->counter);
	for (; machine; machine = machine->next) {
		uint64_t value = metric->get(machine);

		if (!machine->pid)
			continue;
		fprintf(out, "%s{pid=\"%d\"} ", metric->name,
			(int)machine->pid);
		if (metric->seconds)
			fprintf(out, "%.9f\n", value / 1e9);
		else
			fprintf(out, "%llu\n", (unsigned long long)value);
	}
}

static void print_one(FILE *out, const char *name, const char *help,
		      bool counter, uint64_t value)
{
	print_head(out, name, help, counter);
	fprintf(out, "%s %llu\n", name, (unsigned long long)value);
}

static void print_all(FILE *out, struct worker *worker)
{
	struct rwp_store_stats stats;
	const struct machine *machine;
	unsigned int machines = 0;

	rwp_store_stats(worker->store, &stats);
	pthread_mutex_lock(&worker->lock);
	for (machine = worker->machines; machine; machine = machine->next)
		machines += !!machine->pid;
	print_one(out, "rwp_machines", "Machines taken over.", false, machines);
	print_one(out, "rwp_taken_total", "Since the worker started.", true,
		  worker->taken);
	print_one(out, "rwp_refused_total", "Connections that were refused.",
		  true, worker->refused);
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		print_metric(out, &list[i], worker->machines);
	pthread_mutex_unlock(&worker->lock);
	print_one(out, "rwp_store_pages", "Pages in the store.", false,
		  stats.pages);
	print_one(out, "rwp_store_bytes", "Memory they stand for.", false,
		  stats.bytes);
	print_one(out, "rwp_store_file_bytes", "What they take on disk.", false,
		  stats.file_bytes);
	print_one(out, "rwp_store_bad_checksums_total",
		  "Pages that were not as they had been saved.", true,
		  stats.bad_checksums);
}

/* ---- Where they go ----------------------------------------------------- */

/* A reader sees the old file or the new one, whole. */
void metrics_write(struct metrics *metrics, struct worker *worker)
{
	FILE *file;
	bool ok;

	if (!metrics || !metrics->path)
		return;
	unlink(metrics->draft);
	file = fopen(metrics->draft, "wxe");
	ok = file;
	if (file) {
		fchmod(fileno(file), 0644);
		print_all(file, worker);
		ok = !ferror(file);
		ok &= !fclose(file);
	}
	ok = ok && !rename(metrics->draft, metrics->path);
	if (!ok && !metrics->failed)
		complain("%s: %s", metrics->path, strerror(errno));
	metrics->failed = !ok;
}

/* To a bare connection the text alone, to one that speaks HTTP an answer. */
void metrics_answer(struct metrics *metrics, struct worker *worker)
{
	int sock = accept4(metrics->fd, NULL, NULL,
			   SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct pollfd pfd = { .fd = sock, .events = POLLIN };
	char request[1024] = "", *text = NULL;
	size_t size;
	FILE *out;

	if (sock < 0)
		return;
	out = open_memstream(&text, &size);
	if (poll(&pfd, 1, REQUEST_MS) > 0 &&
	    recv(sock, request, sizeof(request) - 1, 0) > 0 &&
	    !strncmp(request, "GET ", 4) && out)
		fputs("HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n",
		      out);
	if (out) {
		print_all(out, worker);
		fclose(out);
		/* What the socket has no room for now is not waited for. */
		if (send(sock, text, size, MSG_NOSIGNAL) < 0)
			complain("metrics: %s", strerror(errno));
		free(text);
	}
	close(sock);
}
