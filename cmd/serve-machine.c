// SPDX-License-Identifier: GPL-2.0
/*
 * Each machine has a thread of its own: what one of them does, or leaves undone,
 * holds up nobody else.
 */
#include "serve-machine.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "command.h"

#define NSEC_PER_SEC 1000000000ULL
#define RETRY_NS (NSEC_PER_SEC / 2)
#define BUSY_NS (NSEC_PER_SEC / 100)
/* The descriptors of a process are closed a moment before it counts as ended. */
#define END_MS 1000

enum why { WHY_TIME, WHY_STOP, WHY_CLOSED, WHY_GONE };

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * NSEC_PER_SEC + time.tv_nsec;
}

static void wake_up(struct machine *machine)
{
	uint64_t one = 1;

	if (write(machine->wakeup, &one, sizeof(one)) < 0)
		return; /* Full: it is awake. */
}

/* On the fault server's thread. */
static void process_gone(struct rwp_evictor *evictor, int error, void *arg)
{
	struct machine *machine = arg;

	(void)evictor;
	if (error) {
		/* It lives, and so must what it has in the store: begin anew. */
		complain("process %d: its faults cannot be served: %s",
			 (int)machine->handoff->pid, strerror(-error));
		_exit(EXIT_FAILED);
	}
	atomic_store(&machine->gone, true);
	wake_up(machine);
}

/* Whether the process has ended; its pidfd tells. */
static bool has_ended(const struct machine *machine, int wait_ms)
{
	struct pollfd pfd = { .fd = rwp_pidfd(machine->rwp), .events = POLLIN };

	return atomic_load(&machine->gone) || poll(&pfd, 1, wait_ms) > 0;
}

/* Sleep until @until, or until something else is to be done. */
static enum why wait_until(struct machine *machine, uint64_t until)
{
	struct pollfd pfd[3] = {
		{ .fd = machine->wakeup, .events = POLLIN },
		/* What it says after the message is of no interest. */
		{ .fd = machine->sock, .events = POLLRDHUP },
		{ .fd = machine->rwp ? rwp_pidfd(machine->rwp) : -1,
		  .events = POLLIN },
	};
	uint64_t time, count;

	for (;;) {
		if (atomic_load(&machine->gone) || pfd[2].revents)
			return WHY_GONE;
		if (atomic_load(&machine->stop))
			return WHY_STOP;
		if (pfd[1].revents)
			return machine->rwp && has_ended(machine, END_MS) ?
				       WHY_GONE :
				       WHY_CLOSED;
		time = now();
		if (time >= until)
			return WHY_TIME;
		poll(pfd, 3, (until - time + 999999) / 1000000);
		if (pfd[0].revents &&
		    read(machine->wakeup, &count, sizeof(count)) < 0)
			continue;
	}
}

/* ---- With the keeper --------------------------------------------------- */

static void kept_name(char *name, char what, uint64_t id)
{
	snprintf(name, KEPT_NAME, "%c%016llx", what, (unsigned long long)id);
}

static int text_file(const struct rwp_handoff *handoff)
{
	int fd = memfd_create("rwp-handoff", MFD_CLOEXEC);

	if (fd >= 0 && write(fd, handoff->text, handoff->text_len) ==
			       (ssize_t)handoff->text_len)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* From here on a worker that dies loses nothing of it. */
static int put_away(struct machine *machine, struct rwp_error *err)
{
	const struct keeper *keeper = machine->worker->keeper;
	const struct rwp_handoff *handoff = machine->handoff;
	char name[KEPT_NAME];
	int text = text_file(handoff), ret = text < 0 ? -errno : 0;

	kept_name(name, 't', machine->id);
	if (!ret)
		ret = keeper_put(keeper, name, &text, 1);
	kept_name(name, 'm', machine->id);
	if (!ret)
		ret = keeper_put(keeper, name, &machine->sock, 1);
	if (!ret)
		ret = keeper_put(keeper, name, handoff->fd, handoff->fds);
	if (text >= 0)
		close(text);
	if (!ret)
		return 0;
	err->code = ret;
	snprintf(err->text, sizeof(err->text),
		 "process %d: its descriptors cannot be kept: %s",
		 (int)handoff->pid, strerror(-ret));
	return ret;
}

static void drop_kept(struct machine *machine)
{
	char name[KEPT_NAME];

	kept_name(name, 'm', machine->id);
	keeper_drop(machine->worker->keeper, name);
	kept_name(name, 't', machine->id);
	keeper_drop(machine->worker->keeper, name);
}

/* ---- Taking it over ---------------------------------------------------- */

static bool may_hand_over(const struct serve_options *options, uid_t uid)
{
	bool may = uid == 0 || uid == geteuid();

	for (unsigned int i = 0; i < options->uids; i++)
		may |= uid == options->uid[i];
	return may;
}

/* A number may have been taken by another process since it connected. */
static int receive(struct machine *machine, struct rwp_error *err)
{
	const struct serve_options *options = machine->worker->options;
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);
	int ret;

	/* Before anything is read of it. */
	if (getsockopt(machine->sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) ||
	    !may_hand_over(options, peer.uid)) {
		err->code = -EPERM;
		snprintf(err->text, sizeof(err->text),
			 "process %d: user %d may not hand anything over, see --allow-uid",
			 (int)peer.pid, (int)peer.uid);
		return -EPERM;
	}
	ret = rwp_handoff_receive(machine->sock, options->timeout / 1000000,
				  &machine->handoff, err);
	if (ret)
		return ret;
	ret = memory_process_id(machine->worker, machine->handoff->pid,
				&machine->id);
	if (ret) {
		err->code = ret;
		snprintf(err->text, sizeof(err->text),
			 "process %d has ended", (int)machine->handoff->pid);
	}
	return ret;
}

static void let_go(struct machine *machine)
{
	if (machine->served)
		rwp_server_remove(machine->worker->server, machine->evictor,
				  NULL);
	machine->served = false;
	rwp_tracker_free(machine->tracker);
	machine->tracker = NULL;
	rwp_evictor_free(machine->evictor);
	machine->evictor = NULL;
	/* The descriptor is the handoff's. */
	if (machine->rwp)
		rwp_release(machine->rwp);
	machine->rwp = NULL;
}

/* Everything it takes to track, evict and serve it. */
static int set_up(struct machine *machine, struct rwp_error *err)
{
	struct worker *worker = machine->worker;
	const struct rwp_handoff *handoff = machine->handoff;
	struct rwp_evictor_options options = {
		.bytes_per_second = worker->options->bandwidth,
		.dry_run = worker->options->dry_run,
	};
	int ret = rwp_adopt(handoff->fd[0], handoff->pid, 0,
			    RWP_OPEN_EVICT | RWP_OPEN_EVENTS, &machine->rwp,
			    err);

	if (!ret)
		ret = rwp_evictor_new(machine->rwp, worker->store, &options,
				      &machine->evictor, err);
	if (!ret)
		ret = rwp_tracker_new(machine->rwp, NULL, &machine->tracker,
				      err);
	if (!ret)
		ret = rwp_server_add(worker->server, machine->evictor,
				     process_gone, machine, err);
	machine->served = !ret;
	if (!ret)
		ret = memory_add(machine, err);
	if (ret)
		let_go(machine);
	return ret;
}

static int take_over(struct machine *machine)
{
	struct worker *worker = machine->worker;
	struct rwp_error error = { 0 };
	int ret = receive(machine, &error);
	bool put = false;

	if (!ret)
		ret = memory_identify(machine, &error);
	if (!ret) {
		ret = put_away(machine, &error);
		put = true;
	}
	if (!ret)
		ret = set_up(machine, &error);
	if (put && ret)
		drop_kept(machine);
	pthread_mutex_lock(&worker->lock);
	if (ret) {
		machine->pid = 0;
		worker->refused++;
	} else {
		worker->taken++;
	}
	pthread_mutex_unlock(&worker->lock);
	if (ret)
		complain("refused: %s", error.text);
	else
		complain("process %d: taken over, %u regions",
			 (int)machine->handoff->pid, machine->handoff->regions);
	return ret;
}

/*
 * A machine of the worker before. Some of its memory may be in the store only, so
 * there is no giving up while it lives.
 */
static int take_back(struct machine *machine)
{
	struct rwp_error error = { 0 };
	uint64_t id;
	int ret;

	memory_files(machine);
	pthread_mutex_lock(&machine->worker->lock);
	machine->pid = machine->handoff->pid;
	pthread_mutex_unlock(&machine->worker->lock);
	for (bool told = false;; told = true) {
		/* Another process of its number is not it. */
		if (memory_process_id(machine->worker, machine->handoff->pid,
				      &id) ||
		    id != machine->id)
			return -ESRCH;
		ret = set_up(machine, &error);
		if (!ret || ret == -ESRCH)
			return ret;
		if (!told)
			complain("trying again: %s", error.text);
		usleep(RETRY_NS / 1000);
	}
}

/* ---- Its life and its end ---------------------------------------------- */

static void look_at_stats(struct machine *machine)
{
	struct rwp_tracker_stats tracked;
	struct rwp_evict_stats evicted;

	rwp_tracker_stats(machine->tracker, &tracked);
	rwp_evictor_stats(machine->evictor, &evicted);
	pthread_mutex_lock(&machine->worker->lock);
	machine->tracked = tracked;
	machine->evicted = evicted;
	pthread_mutex_unlock(&machine->worker->lock);
}

/* One round: what was accessed, and out with what was not. */
static int window(struct machine *machine, struct rwp_error *err)
{
	bool dry_run = machine->worker->options->dry_run;
	uint64_t asked = machine->evicted.asked;
	int ret = rwp_tracker_update(machine->tracker, err);
	int64_t got;

	if (ret)
		return ret;
	got = evict_cold(machine, err);
	look_at_stats(machine);
	if (dry_run && got >= 0) {
		printf("process %d: %llu of %llu pages would be evicted\n",
		       (int)machine->handoff->pid,
		       (unsigned long long)(machine->evicted.asked - asked),
		       (unsigned long long)machine->tracked.populated);
		fflush(stdout);
	}
	return got < 0 ? got : 0;
}

static enum why live(struct machine *machine)
{
	uint64_t interval = machine->worker->options->interval;
	uint64_t next = now() + interval;
	int last = 0;

	for (;;) {
		struct rwp_error error = { 0 };
		enum why why = wait_until(machine, next);
		int ret;

		if (why != WHY_TIME)
			return why;
		ret = window(machine, &error);
		if (ret == -ESRCH)
			return WHY_GONE;
		/* Its layout is changing: the fault server sees to that. */
		next = now() + (ret == -EAGAIN ? BUSY_NS : interval);
		if (ret && ret != -EAGAIN && ret != last)
			complain("%s", error.text);
		if (ret != -EAGAIN)
			last = ret;
	}
}

/* Everything back into memory; without it no page may be given up. */
static bool bring_back(struct machine *machine)
{
	struct rwp_error error = { 0 };
	bool told = false;

	while (!has_ended(machine, 0)) {
		int ret = rwp_evictor_restore(machine->evictor, NULL, NULL,
					      &error);

		if (!ret)
			return true;
		if (ret == -ESRCH)
			return false;
		if (!told)
			complain("trying again: %s", error.text);
		told = true;
		usleep(RETRY_NS / 1000);
	}
	return false;
}

/* Faults of it are the kernel's again, which finds all of it in the files. */
static void unregister(struct machine *machine)
{
	const struct rwp_handoff *handoff = machine->handoff;

	for (unsigned int i = 0; i < handoff->regions; i++)
		rwp_unregister(machine->rwp,
			       (struct rwp_range){ handoff->region[i].start,
						   handoff->region[i].size },
			       NULL);
}

static void forget(struct machine *machine)
{
	for (unsigned int i = 0; i < machine->files; i++)
		rwp_store_drop_below(machine->worker->store,
				     machine->file[i].space,
				     machine->file[i].size, NULL);
}

static void end(struct machine *machine, enum why why)
{
	pid_t pid = machine->handoff->pid;

	if (why != WHY_GONE && bring_back(machine)) {
		unregister(machine);
		complain("process %d: all of its memory is back", (int)pid);
		let_go(machine);
	} else {
		let_go(machine);
		forget(machine);
		complain("process %d has ended", (int)pid);
	}
	drop_kept(machine);
}

static void *run(void *arg)
{
	struct machine *machine = arg;
	uint64_t one = 1;

	if (machine->kept) {
		int ret = take_back(machine);

		end(machine, ret ? WHY_GONE : live(machine));
	} else if (!take_over(machine)) {
		end(machine, live(machine));
	}
	/* At once, for the peer to see. */
	rwp_handoff_free(machine->handoff);
	machine->handoff = NULL;
	close(machine->sock);
	atomic_store(&machine->done, true);
	if (write(machine->worker->ended, &one, sizeof(one)) < 0)
		return NULL; /* Full: it will be looked at. */
	return NULL;
}

int machine_start(struct worker *worker, int sock, struct rwp_handoff *handoff,
		  uint64_t id)
{
	struct machine *machine = calloc(1, sizeof(*machine));
	int ret = machine ? 0 : -ENOMEM;

	if (!ret) {
		machine->worker = worker;
		machine->sock = sock;
		machine->handoff = handoff;
		machine->kept = handoff;
		machine->id = id;
		machine->wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		ret = machine->wakeup < 0 ? -errno : 0;
	}
	if (!ret) {
		pthread_mutex_lock(&worker->lock);
		ret = -pthread_create(&machine->thread, NULL, run, machine);
		if (!ret) {
			machine->next = worker->machines;
			worker->machines = machine;
			worker->count++;
		}
		pthread_mutex_unlock(&worker->lock);
	}
	if (ret) {
		complain("cannot take over a machine: %s", strerror(-ret));
		if (machine && machine->wakeup > 0)
			close(machine->wakeup);
		free(machine);
	}
	return ret;
}

void machine_stop(struct machine *machine)
{
	atomic_store(&machine->stop, true);
	wake_up(machine);
}

unsigned int machines_reap(struct worker *worker)
{
	struct machine **link, *done = NULL;
	unsigned int left;

	pthread_mutex_lock(&worker->lock);
	for (link = &worker->machines; *link;) {
		struct machine *machine = *link;

		if (!atomic_load(&machine->done)) {
			link = &machine->next;
			continue;
		}
		*link = machine->next;
		machine->next = done;
		done = machine;
		worker->count--;
	}
	left = worker->count;
	pthread_mutex_unlock(&worker->lock);
	while (done) {
		struct machine *next = done->next;

		pthread_join(done->thread, NULL);
		close(done->wakeup);
		free(done->file);
		free(done);
		done = next;
	}
	return left;
}
