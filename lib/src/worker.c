// SPDX-License-Identifier: LGPL-2.1-or-later
/* A thread that does one thing at a time for another, beside it. */
#include <signal.h>
#include <stddef.h>

#include "worker.h"

static void *run(void *arg)
{
	struct rwpi_worker *worker = arg;

	pthread_mutex_lock(&worker->lock);
	for (;;) {
		while (!worker->job && !worker->over)
			pthread_cond_wait(&worker->changed, &worker->lock);
		if (!worker->job)
			break;
		pthread_mutex_unlock(&worker->lock);
		worker->job(worker->arg);
		pthread_mutex_lock(&worker->lock);
		worker->job = NULL;
		pthread_cond_broadcast(&worker->changed);
	}
	pthread_mutex_unlock(&worker->lock);
	return NULL;
}

void rwpi_worker_start(struct rwpi_worker *worker)
{
	sigset_t all, before;

	*worker = (struct rwpi_worker){ .job = NULL };
	pthread_mutex_init(&worker->lock, NULL);
	pthread_cond_init(&worker->changed, NULL);
	/* Signals are the program's, and meant for its own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	worker->live = !pthread_create(&worker->thread, NULL, run, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

bool rwpi_worker_take(struct rwpi_worker *worker, void (*job)(void *arg),
		      void *arg)
{
	bool taken;

	pthread_mutex_lock(&worker->lock);
	taken = worker->live && !worker->job;
	if (taken) {
		worker->job = job;
		worker->arg = arg;
		pthread_cond_broadcast(&worker->changed);
	}
	pthread_mutex_unlock(&worker->lock);
	return taken;
}

void rwpi_worker_wait(struct rwpi_worker *worker)
{
	pthread_mutex_lock(&worker->lock);
	while (worker->job)
		pthread_cond_wait(&worker->changed, &worker->lock);
	pthread_mutex_unlock(&worker->lock);
}

void rwpi_worker_stop(struct rwpi_worker *worker)
{
	pthread_mutex_lock(&worker->lock);
	worker->over = true;
	pthread_cond_broadcast(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
	if (worker->live)
		pthread_join(worker->thread, NULL);
	pthread_cond_destroy(&worker->changed);
	pthread_mutex_destroy(&worker->lock);
}
