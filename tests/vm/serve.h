/* SPDX-License-Identifier: GPL-2.0 */
/* The command `rwp serve', and monitors that hand their memory over to it. */
#ifndef RWP_TEST_SERVE_H
#define RWP_TEST_SERVE_H

#include "evict-memory.h"

/* One that was started; its files are named after the case's process. */
struct serve {
	pid_t pid; /* of the supervisor, or of the worker if there is none */
	char socket[64], store[64], metrics[64], log[64];
};

/* Start it with @options, a NULL at the end, besides those for the files. */
void serve_start(struct serve *serve, const char *const *options);
/* Ask it to end; it has to with exit code 0. */
void serve_stop(struct serve *serve);
/* Its worker, once there is one other than @before. */
pid_t serve_worker(const struct serve *serve, pid_t before);
/* Wait until a line of its log contains @text. */
void serve_wait_log(const struct serve *serve, const char *text);
/* How many lines do. */
unsigned int serve_log_count(const struct serve *serve, const char *text);
/* A value of the metrics, as last written; -1: there is none yet. */
double serve_metric(const struct serve *serve, const char *name);
void serve_wait_metric(const struct serve *serve, const char *name,
		       double least);

/* Connect, and send what a monitor sends: text and descriptors. */
int serve_connect(const struct serve *serve);
void serve_send(int sock, const char *text, const int *fd, unsigned int count);

/* A machine of one area: a userfaultfd set up as a monitor does it. */
struct machine {
	struct area area;
	struct rwp *rwp;
	int sock;
};

void machine_make(struct machine *machine, enum kind kind, size_t len);
/* Hand it over, wait until it is taken. */
void machine_hand_over(struct machine *machine, const struct serve *serve);
/* The message for it, in the way of Firecracker. */
void machine_text(const struct machine *machine, char *text, size_t size);
/* Wait until no more than @bytes of it are in memory. */
void machine_wait_evicted(const struct machine *machine, size_t bytes);

#endif
