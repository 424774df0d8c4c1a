// SPDX-License-Identifier: LGPL-2.1-or-later
/* A thread that answers the faults of evictors. */
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "evict.h"

#define MESSAGES 256
#define RETRY_MS 1

struct client {
	struct client *next;
	struct rwp_evictor *evictor;
	void (*gone)(struct rwp_evictor *evictor, int error, void *arg);
	void *arg;
};

struct rwp_server {
	pthread_t thread;
	int epoll, wakeup;
	/* Recursive: who is told that a client is gone may remove it. */
	pthread_mutex_t lock;
	struct client *clients;
	bool stop, started;
};

static bool has_ended(const struct client *client)
{
	struct pollfd pfd = { .fd = client->evictor->rwp->pidfd,
			      .events = POLLIN };

	return pfd.fd >= 0 && poll(&pfd, 1, 0) > 0;
}

static void forget_client(struct rwp_server *server, struct client *client)
{
	struct client **link = &server->clients;
	const struct rwp *rwp = client->evictor->rwp;

	while (*link && *link != client)
		link = &(*link)->next;
	if (*link)
		*link = client->next;
	epoll_ctl(server->epoll, EPOLL_CTL_DEL, rwp->fd, NULL);
	if (rwp->pidfd >= 0)
		epoll_ctl(server->epoll, EPOLL_CTL_DEL, rwp->pidfd, NULL);
	free(client);
}

/* Answer what waits; false if the client has gone for good. */
static bool serve_client(struct rwp_server *server, struct client *client)
{
	int ret = rwp_evictor_serve(client->evictor, MESSAGES, NULL);
	struct client old = *client;

	if (ret >= 0 && !has_ended(client))
		return true;
	forget_client(server, client);
	if (old.gone)
		old.gone(old.evictor, ret < 0 && ret != -ESRCH ? ret : 0,
			 old.arg);
	return false;
}

/*
 * All of them: one whose faults were put off has no message that would show it,
 * and looking at one without any costs a system call. Returns whether somebody
 * has such faults.
 */
static bool serve_all(struct rwp_server *server)
{
	struct client *client;
	bool pending = false;

	pthread_mutex_lock(&server->lock);
	client = server->clients;
	while (client) {
		/* Who was told may have removed any other: begin again. */
		if (!serve_client(server, client)) {
			client = server->clients;
			continue;
		}
		pending |= rwpi_evictor_pending(client->evictor);
		client = client->next;
	}
	pthread_mutex_unlock(&server->lock);
	return pending;
}

static void *run(void *arg)
{
	struct rwp_server *server = arg;
	struct epoll_event event[16];
	bool pending = false, stop = false;
	uint64_t count;

	while (!stop) {
		epoll_wait(server->epoll, event, ARRAY_SIZE(event),
			   pending ? RETRY_MS : -1);
		if (read(server->wakeup, &count, sizeof(count)) > 0) {
			pthread_mutex_lock(&server->lock);
			stop = server->stop;
			pthread_mutex_unlock(&server->lock);
		}
		pending = serve_all(server);
	}
	return NULL;
}

static void wake_up(struct rwp_server *server)
{
	uint64_t one = 1;

	if (write(server->wakeup, &one, sizeof(one)) < 0)
		return; /* Full: it is awake. */
}

static int watch(struct rwp_server *server, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

int rwp_server_new(struct rwp_server **out, struct rwp_error *err)
{
	struct rwp_server *server = calloc(1, sizeof(*server));
	pthread_mutexattr_t attr;
	int ret;

	if (!server)
		return rwpi_fail(err, -ENOMEM, "a fault server");
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&server->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	server->epoll = epoll_create1(EPOLL_CLOEXEC);
	server->wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = server->epoll < 0 || server->wakeup < 0 ?
		      -errno :
		      watch(server, server->wakeup);
	if (!ret)
		ret = -pthread_create(&server->thread, NULL, run, server);
	if (ret) {
		rwp_server_free(server);
		return rwpi_fail(err, ret, "a fault server");
	}
	server->started = true;
	*out = server;
	return 0;
}

void rwp_server_free(struct rwp_server *server)
{
	if (!server)
		return;
	if (server->started) {
		pthread_mutex_lock(&server->lock);
		server->stop = true;
		pthread_mutex_unlock(&server->lock);
		wake_up(server);
		pthread_join(server->thread, NULL);
	}
	while (server->clients)
		forget_client(server, server->clients);
	rwpi_close(server->epoll);
	rwpi_close(server->wakeup);
	pthread_mutex_destroy(&server->lock);
	free(server);
}

int rwp_server_add(struct rwp_server *server, struct rwp_evictor *evictor,
		   void (*gone)(struct rwp_evictor *evictor, int error,
				void *arg),
		   void *arg, struct rwp_error *err)
{
	struct client *client = malloc(sizeof(*client));
	const struct rwp *rwp = evictor->rwp;
	int ret;

	if (!client)
		return rwpi_fail(err, -ENOMEM, "process %d", (int)rwp->pid);
	*client =
		(struct client){ .evictor = evictor, .gone = gone, .arg = arg };
	pthread_mutex_lock(&server->lock);
	ret = watch(server, rwp->fd);
	if (!ret && rwp->pidfd >= 0) {
		ret = watch(server, rwp->pidfd);
		if (ret)
			epoll_ctl(server->epoll, EPOLL_CTL_DEL, rwp->fd, NULL);
	}
	if (!ret) {
		client->next = server->clients;
		server->clients = client;
	}
	pthread_mutex_unlock(&server->lock);
	if (ret) {
		free(client);
		return rwpi_fail(err, ret, "cannot serve process %d",
				 (int)rwp->pid);
	}
	/* Faults may have been put off before it came here. */
	wake_up(server);
	return 0;
}

int rwp_server_remove(struct rwp_server *server, struct rwp_evictor *evictor,
		      struct rwp_error *err)
{
	struct client *client;

	pthread_mutex_lock(&server->lock);
	for (client = server->clients; client; client = client->next)
		if (client->evictor == evictor)
			break;
	if (client)
		forget_client(server, client);
	pthread_mutex_unlock(&server->lock);
	if (!client)
		return rwpi_error(err, -ENOENT, "process %d is not served",
				  (int)evictor->rwp->pid);
	return 0;
}
