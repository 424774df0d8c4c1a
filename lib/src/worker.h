/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A thread that does one thing at a time for another, beside it. */
#ifndef RWP_WORKER_H
#define RWP_WORKER_H

#include <pthread.h>
#include <stdbool.h>

struct rwpi_worker {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	void (*job)(void *arg); /* NULL: nothing to do */
	void *arg;
	bool live, over;
};

/* May find no room for a thread: then it never takes anything. */
void rwpi_worker_start(struct rwpi_worker *worker);
/* Have @job done, if that may begin at once; else false. */
bool rwpi_worker_take(struct rwpi_worker *worker, void (*job)(void *arg),
		      void *arg);
/* Until nothing is being done. */
void rwpi_worker_wait(struct rwpi_worker *worker);
/* The same, and no more of it. */
void rwpi_worker_stop(struct rwpi_worker *worker);

#endif
