// SPDX-License-Identifier: GPL-2.0
/* The worker: who connects becomes a machine, until it is told to end. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "serve-machine.h"

#define NSEC_PER_SEC 1000000000ULL
#define PROGRESS_MS 1000

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * NSEC_PER_SEC + time.tv_nsec;
}

/* ---- What was kept ----------------------------------------------------- */

/* The socket of a worker before us, or of systemd; else a new one. */
static int listening_socket(const struct worker *worker, struct kept *kept,
			    unsigned int count)
{
	const struct serve_options *options = worker->options;
	int fd;

	for (unsigned int i = 0; i < count; i++) {
		if (kept[i].fd < 0 || !is_listening(kept[i].fd))
			continue;
		fd = kept[i].fd;
		kept[i].fd = -1;
		return fd;
	}
	/* Others than ourselves are told apart by their credentials. */
	fd = listen_at(options->socket, options->uids ? 0666 : 0600);
	if (fd >= 0 && keeper_put(worker->keeper, "socket", &fd, 1)) {
		complain("%s: the socket cannot be kept", options->socket);
		close(fd);
		return -1;
	}
	return fd;
}

static char *read_text(int fd, size_t *len)
{
	struct stat st;
	char *text;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || !st.st_size)
		return NULL;
	text = malloc(st.st_size);
	if (text && pread(fd, text, st.st_size, 0) == st.st_size) {
		*len = st.st_size;
		return text;
	}
	free(text);
	return NULL;
}

/* All descriptors of one name: the connection, the userfaultfd, the files. */
static int collect(struct rwp_handoff *handoff, struct kept *kept,
		   unsigned int count, const char *name, int *sock)
{
	handoff->fd = calloc(count, sizeof(*handoff->fd));
	if (!handoff->fd)
		return -ENOMEM;
	*sock = -1;
	for (unsigned int i = 0; i < count; i++) {
		struct stat st;

		if (kept[i].fd < 0 || strcmp(kept[i].name, name))
			continue;
		if (*sock < 0 && !fstat(kept[i].fd, &st) &&
		    S_ISSOCK(st.st_mode))
			*sock = kept[i].fd;
		else
			handoff->fd[handoff->fds++] = kept[i].fd;
		kept[i].fd = -1;
	}
	return *sock < 0 ? -ENOENT : 0;
}

/*
 * The machine whose text is at @text. One that was still being put away when the
 * worker died is not complete; nothing of it was evicted yet.
 */
static void take_back(struct worker *worker, struct kept *kept,
		      unsigned int count, struct kept *text)
{
	struct rwp_handoff *handoff = calloc(1, sizeof(*handoff));
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);
	char name[KEPT_NAME];
	int sock = -1, ret = handoff ? 0 : -ENOMEM;

	snprintf(name, sizeof(name), "m%s", text->name + 1);
	if (!ret)
		ret = collect(handoff, kept, count, name, &sock);
	if (!ret && getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		ret = -errno;
	if (!ret) {
		handoff->pid = peer.pid;
		handoff->uid = peer.uid;
		handoff->text = read_text(text->fd, &handoff->text_len);
		ret = handoff->text ? rwp_handoff_check(handoff, NULL) :
				      -ENOENT;
	}
	if (!ret)
		ret = rwp_handoff_parse(handoff->text, handoff->text_len,
					&handoff->region, NULL);
	if (ret > 0) {
		handoff->regions = ret;
		ret = machine_start(worker, sock, handoff,
				    strtoull(name + 1, NULL, 16));
	}
	if (!ret)
		return;
	if (sock >= 0)
		close(sock);
	rwp_handoff_free(handoff);
	keeper_drop(worker->keeper, name);
	keeper_drop(worker->keeper, text->name);
}

static unsigned int take_all_back(struct worker *worker, struct kept *kept,
				  unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		if (kept[i].fd < 0 || kept[i].name[0] != 't')
			continue;
		take_back(worker, kept, count, &kept[i]);
		close(kept[i].fd);
		kept[i].fd = -1;
	}
	for (unsigned int i = 0; i < count; i++) {
		if (kept[i].fd < 0)
			continue;
		close(kept[i].fd);
		keeper_drop(worker->keeper, kept[i].name);
	}
	return worker->count;
}

/* ---- Its work ---------------------------------------------------------- */

static void accept_one(struct worker *worker, int listening)
{
	int sock = accept4(listening, NULL, NULL, SOCK_CLOEXEC);

	if (sock < 0) {
		/* Out of descriptors, say: do not spin. */
		if (errno != EAGAIN && errno != EINTR &&
		    errno != ECONNABORTED) {
			complain("accept: %s", strerror(errno));
			usleep(100000);
		}
		return;
	}
	if (worker->count >= worker->options->machines) {
		complain("refused: %u machines are enough, see --machines",
			 worker->count);
		close(sock);
		return;
	}
	if (machine_start(worker, sock, NULL, 0))
		close(sock);
}

/* Whether a signal asks us to end. */
static bool read_signals(int signals)
{
	struct signalfd_siginfo info;
	bool end = false;

	while (read(signals, &info, sizeof(info)) == sizeof(info))
		end |= info.ssi_signo != SIGCHLD;
	return end;
}

static void read_ended(struct worker *worker)
{
	uint64_t count;

	if (read(worker->ended, &count, sizeof(count)) < 0)
		return;
	machines_reap(worker);
}

static void tell_status(const struct worker *worker)
{
	struct rwp_store_stats stats;

	rwp_store_stats(worker->store, &stats);
	keeper_tell(worker->keeper, "STATUS=%u machines, %llu MiB evicted",
		    worker->count, (unsigned long long)stats.bytes >> 20);
}

/* Until a signal comes, or the supervisor has ended. */
static void work(struct worker *worker, int listening, int signals,
		 struct metrics *metrics)
{
	uint64_t interval = worker->options->interval, next = now();
	bool supervised = worker->keeper->kind == KEEP_SUPERVISOR;

	for (;;) {
		struct pollfd pfd[5] = {
			{ .fd = signals, .events = POLLIN },
			{ .fd = worker->ended, .events = POLLIN },
			{ .fd = listening, .events = POLLIN },
			{ .fd = metrics_fd(metrics), .events = POLLIN },
			{ .fd = supervised ? worker->keeper->fd : -1 },
		};
		uint64_t time = now();

		if (time >= next) {
			metrics_write(metrics, worker);
			tell_status(worker);
			next = time + interval;
		}
		poll(pfd, 5, (next - time + 999999) / 1000000);
		if (pfd[0].revents && read_signals(signals))
			return;
		if (pfd[4].revents) {
			complain("the supervisor has ended: bringing everything back");
			return;
		}
		if (pfd[1].revents)
			read_ended(worker);
		if (pfd[2].revents)
			accept_one(worker, listening);
		if (pfd[3].revents)
			metrics_answer(metrics, worker);
	}
}

/* ---- Its end ----------------------------------------------------------- */

static void tell_progress(const struct worker *worker, uint64_t all,
			  uint64_t since)
{
	struct rwp_store_stats stats;
	uint64_t took = now() - since, done, left;

	rwp_store_stats(worker->store, &stats);
	done = all > stats.bytes ? all - stats.bytes : 0;
	/* Rounded up, with what the first second tells. */
	left = done ? (double)took / done * stats.bytes / NSEC_PER_SEC + 1 : 0;
	complain("bringing back: %llu of %llu MiB%s",
		 (unsigned long long)done >> 20, (unsigned long long)all >> 20,
		 left ? "" : ", it takes a moment to say how long");
	if (left)
		complain("about %llu s are left", (unsigned long long)left);
	keeper_tell(worker->keeper,
		    "STATUS=bringing back: %llu of %llu MiB, %llu s left\nEXTEND_TIMEOUT_USEC=%llu",
		    (unsigned long long)done >> 20,
		    (unsigned long long)all >> 20, (unsigned long long)left,
		    (unsigned long long)(30 + 2 * left) * 1000000);
}

static void bring_all_back(struct worker *worker)
{
	struct pollfd pfd = { .fd = worker->ended, .events = POLLIN };
	struct rwp_store_stats stats;
	uint64_t since = now();

	rwp_store_stats(worker->store, &stats);
	keeper_tell(worker->keeper, "STOPPING=1");
	pthread_mutex_lock(&worker->lock);
	for (struct machine *machine = worker->machines; machine;
	     machine = machine->next)
		machine_stop(machine);
	pthread_mutex_unlock(&worker->lock);
	while (machines_reap(worker)) {
		if (!poll(&pfd, 1, PROGRESS_MS))
			tell_progress(worker, stats.bytes, since);
		else
			read_ended(worker);
	}
}

static int open_store(struct worker *worker)
{
	struct rwp_store_options options = {
		.max_bytes = worker->options->store_size,
	};
	struct rwp_error error;
	int ret = rwp_store_open(worker->options->store, &options,
				 &worker->store, &error);

	if (ret)
		return complain_error(&error);
	ret = rwp_server_new(&worker->server, &error);
	return ret ? complain_error(&error) : EXIT_OK;
}

/* What no machine that was kept can be meant by. */
static void tell_leftovers(const struct worker *worker, unsigned int kept)
{
	struct rwp_store_stats stats;

	rwp_store_stats(worker->store, &stats);
	if (stats.pages && !kept)
		complain("%s: has %llu pages of machines of an earlier manager; one that is handed over again gets its own back",
			 worker->options->store,
			 (unsigned long long)stats.pages);
}

int serve_work(const struct serve_options *options, const struct keeper *keeper,
	       struct kept *kept, unsigned int count)
{
	struct worker worker = {
		.options = options,
		.keeper = keeper,
		.boot = memory_boot_id(),
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
	struct metrics *metrics = NULL;
	sigset_t set;
	int listening, signals, code;

	signals = serve_signals(&set);
	worker.ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (signals < 0 || worker.ended < 0)
		return complain("cannot begin: %s", strerror(errno));
	code = open_store(&worker);
	if (code)
		return code;
	code = metrics_open(options->metrics, &metrics);
	if (code)
		return code;
	listening = listening_socket(&worker, kept, count);
	if (listening < 0)
		return EXIT_FAILED;
	tell_leftovers(&worker, take_all_back(&worker, kept, count));
	keeper_tell(keeper, "READY=1\nSTATUS=waiting for machines");
	work(&worker, listening, signals, metrics);
	/* Who connects from now on is refused at once. */
	close(listening);
	keeper_drop(keeper, "socket");
	unlink(options->socket);
	bring_all_back(&worker);
	metrics_close(metrics);
	rwp_server_free(worker.server);
	rwp_store_close(worker.store);
	return EXIT_OK;
}
