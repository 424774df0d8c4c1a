/* SPDX-License-Identifier: GPL-2.0 */
/* A machine that was taken over, from its hand-over to its end. */
#ifndef RWP_SERVE_MACHINE_H
#define RWP_SERVE_MACHINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "serve.h"

/* What the threads of the worker share. */
struct worker {
	const struct serve_options *options;
	const struct keeper *keeper;
	struct rwp_store *store;
	struct rwp_server *server;
	uint64_t boot; /* differs from one boot of the system to the next */
	int ended; /* an eventfd: a machine's thread has come to its end */

	pthread_mutex_t lock; /* of all below */
	struct machine *machines;
	unsigned int count;
	uint64_t taken, refused; /* hand-overs */
};

/* A file with memory of a machine. */
struct memory_file {
	int fd; /* the handoff's */
	dev_t dev;
	ino_t ino;
	uint64_t size;
	uint64_t space;
};

struct machine {
	struct machine *next;
	struct worker *worker;
	pthread_t thread;
	atomic_bool done; /* the thread has ended */
	int wakeup; /* an eventfd: look at @stop and @gone */
	atomic_bool stop, gone;

	/* The thread's own. */
	int sock;
	struct rwp_handoff *handoff; /* a kept one from the start */
	bool kept;
	uint64_t id; /* of the process, in this boot and all others */
	struct memory_file *file;
	unsigned int files;
	struct rwp *rwp;
	struct rwp_evictor *evictor;
	struct rwp_tracker *tracker;
	bool served;

	/* With the worker's lock; for the metrics. */
	pid_t pid; /* 0: not taken over yet */
	struct rwp_tracker_stats tracked;
	struct rwp_evict_stats evicted;
};

/* serve-machine.c: begin with a connection, or with what was kept of one. */
int machine_start(struct worker *worker, int sock, struct rwp_handoff *handoff,
		  uint64_t id);
/* Bring everything back and let go of it. */
void machine_stop(struct machine *machine);
/* Join the threads that have ended. Returns how many machines are left. */
unsigned int machines_reap(struct worker *worker);

/* serve-memory.c: which file has the memory of the regions, and what is told. */
int memory_identify(struct machine *machine, struct rwp_error *err);
/* Add all regions to the evictor and the tracker. */
int memory_add(struct machine *machine, struct rwp_error *err);
/* Something of this process and no other, ever. -ESRCH: it has ended. */
int memory_process_id(const struct worker *worker, pid_t pid, uint64_t *id);
void memory_files(struct machine *machine);
uint64_t memory_boot_id(void);

/* serve-evict.c: evict what is to go by age and target; bytes evicted. */
int64_t evict_cold(struct machine *machine, struct rwp_error *err);

/* serve-metrics.c */
struct metrics;
int metrics_open(const char *where, struct metrics **out);
int metrics_fd(const struct metrics *metrics); /* -1: a file */
void metrics_answer(struct metrics *metrics, struct worker *worker);
void metrics_write(struct metrics *metrics, struct worker *worker);
void metrics_close(struct metrics *metrics);

#endif
