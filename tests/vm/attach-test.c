// SPDX-License-Identifier: GPL-2.0
/*
 * Attaching leaves the target as it was. On a kernel without RWP the last step
 * fails, and all that is tested here holds the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "target.h"
#include "test.h"

#define TIMES 30

/* Shared with the targets. */
static volatile struct shared {
	int go, entered, result, error, count;
	uint64_t sum;
} * shared;

static int gate[2]; /* a pipe a target reads from */

void test_setup(void)
{
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* A checksum in general and vector registers, in a loop without system calls. */
static int compute(void)
{
	double value = 1;
	uint64_t sum = 1;

	target_ready();
	do {
		value = 1;
		sum = 1;
		for (int i = 1; i < 2000000; i++) {
			sum = sum * 6364136223846793005ULL + i;
			value = value * 1.0000001 + 1.0 / i;
		}
		if (shared->sum && shared->sum != sum + (uint64_t)value)
			return 1;
		shared->sum = sum + (uint64_t)value;
		shared->count++;
	} while (!shared->go);
	return 0;
}

/* A thread that computes keeps its registers. */
TEST(registers)
{
	pid_t pid = target_start(compute);

	do {
		attach_often(pid, TIMES);
	} while (shared->count < 3);
	CHECK(!target_is_traced(pid));
	shared->go = 1;
	target_join(pid);
}

/* The descriptor made inside is gone, and everything else is there. */
TEST(descriptors)
{
	pid_t pid = target_start(compute);
	char *before = target_descriptors(pid);
	struct rwp *rwp = attach(pid, 0);

	CHECK(!strcmp(before, target_descriptors(pid)));
	rwp_close(rwp);
	attach_often(pid, TIMES);
	CHECK(!strcmp(before, target_descriptors(pid)));
	shared->go = 1;
	target_join(pid);
}

/*
 * Run @body, which makes one blocking call and stores its result, attach while
 * it waits, let it go by @release, and see that it waited until then.
 */
static void interrupt_call(int (*body)(void), void (*release)(pid_t pid),
			   int expected)
{
	pid_t pid;

	CHECK(!pipe(gate));
	shared->result = -100;
	pid = target_start(body);
	target_wait_state(pid, 'S');
	for (int i = 0; i < TIMES; i++) {
		attach_often(pid, 1);
		if (i % 3 == 0)
			target_wait_state(pid, 'S');
	}
	target_wait_state(pid, 'S');
	if (shared->result != -100)
		FAIL("the call returned early: %d, %s", shared->result,
		     strerror(shared->error));
	release(pid);
	target_join(pid);
	if (shared->result != expected)
		FAIL("the call returned %d, %s", shared->result,
		     strerror(shared->error));
}

#define BODY(name, call)                 \
	static int name(void)            \
	{                                \
		int result;              \
                                         \
		target_ready();          \
		result = call;           \
		shared->error = errno;   \
		shared->result = result; \
		return 0;                \
	}

static void write_gate(pid_t pid)
{
	(void)pid;
	CHECK_EQ(write(gate[1], "x", 1), 1);
}

static void send_usr1(pid_t pid)
{
	CHECK(!kill(pid, SIGUSR1));
}

static void just_wait(pid_t pid)
{
	(void)pid;
}

static char byte;
BODY(body_read, read(gate[0], &byte, 1))

/* A call that is begun again: read(). */
TEST(restart_read)
{
	interrupt_call(body_read, write_gate, 1);
}

static struct pollfd *gate_pollfd(void)
{
	static struct pollfd pfd;

	pfd = (struct pollfd){ .fd = gate[0], .events = POLLIN };
	return &pfd;
}

BODY(body_poll, poll(gate_pollfd(), 1, 60000))

/* One that goes on with the time that is left: poll(). */
TEST(restart_poll)
{
	interrupt_call(body_poll, write_gate, 1);
}

static struct timespec *three_seconds(void)
{
	static struct timespec time = { .tv_sec = 3 };

	return &time;
}

BODY(body_nanosleep, nanosleep(three_seconds(), NULL))

/* A sleep neither ends early nor begins anew with all of its time. */
TEST(restart_nanosleep)
{
	struct timespec from, to;

	clock_gettime(CLOCK_MONOTONIC, &from);
	interrupt_call(body_nanosleep, just_wait, 0);
	clock_gettime(CLOCK_MONOTONIC, &to);
	CHECK(to.tv_sec - from.tv_sec >= 2 && to.tv_sec - from.tv_sec <= 4);
}

static int gate_epoll(void)
{
	struct epoll_event event = { .events = EPOLLIN };
	int fd = epoll_create1(0);

	return epoll_ctl(fd, EPOLL_CTL_ADD, gate[0], &event) ? -1 : fd;
}

static struct epoll_event event;
BODY(body_epoll, epoll_wait(gate_epoll(), &event, 1, -1))

/* One that gives up when it is interrupted, epoll_wait(), does not notice. */
TEST(restart_epoll_wait)
{
	interrupt_call(body_epoll, write_gate, 1);
}

static sigset_t *no_usr1(void)
{
	static sigset_t set;

	sigfillset(&set);
	sigdelset(&set, SIGUSR1);
	return &set;
}

static void count_signal(int sig)
{
	(void)sig;
	shared->count++;
}

/* SIGUSR1 is blocked, other than within the call. */
static sigset_t *handle_usr1(void)
{
	sigset_t usr1;

	signal(SIGUSR1, count_signal);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	return no_usr1();
}

static int usr1_is_blocked(void)
{
	sigset_t now;

	sigprocmask(SIG_BLOCK, NULL, &now);
	return sigismember(&now, SIGUSR1);
}

static int body_sigsuspend(void)
{
	sigset_t *set = handle_usr1();

	target_ready();
	shared->result = sigsuspend(set);
	shared->error = errno;
	return usr1_is_blocked() ? 0 : 2;
}

/* sigsuspend() ends with the signal, and the mask is the one from before. */
TEST(restart_sigsuspend)
{
	interrupt_call(body_sigsuspend, send_usr1, -1);
	CHECK_EQ(shared->error, EINTR);
	CHECK_EQ(shared->count, 1);
}

static int body_ppoll(void)
{
	sigset_t *set = handle_usr1();

	target_ready();
	shared->result = ppoll(gate_pollfd(), 1, NULL, set);
	shared->error = errno;
	return usr1_is_blocked() ? 0 : 2;
}

/* A mask that holds during the call only is put back right. */
TEST(restart_ppoll)
{
	interrupt_call(body_ppoll, send_usr1, -1);
	CHECK_EQ(shared->error, EINTR);
	CHECK_EQ(shared->count, 1);
}

static int body_epoll_pwait(void)
{
	sigset_t *set = handle_usr1();
	int fd = gate_epoll();

	target_ready();
	shared->result = epoll_pwait(fd, &event, 1, -1, set);
	shared->error = errno;
	return usr1_is_blocked() ? 0 : 2;
}

/* Both at once: a mask, and a call that gives up. A real signal ends it. */
TEST(restart_epoll_pwait)
{
	interrupt_call(body_epoll_pwait, send_usr1, -1);
	CHECK_EQ(shared->error, EINTR);
	CHECK_EQ(shared->count, 1);
}

static int futex(int op, int value)
{
	return syscall(SYS_futex, &shared->go, op, value, NULL, NULL, 0);
}

BODY(body_futex, futex(FUTEX_WAIT, 0))

static void wake_futex(pid_t pid)
{
	(void)pid;
	shared->go = 1;
	CHECK_EQ(futex(FUTEX_WAKE, 1), 1);
}

/* Locks and condition variables wait here. */
TEST(restart_futex)
{
	interrupt_call(body_futex, wake_futex, 0);
}

static int body_pause(void)
{
	signal(SIGUSR1, count_signal);
	target_ready();
	shared->result = pause();
	return 0;
}

/* pause() ends with a signal only. */
TEST(restart_pause)
{
	interrupt_call(body_pause, send_usr1, -1);
	CHECK_EQ(shared->count, 1);
}

static int body_signals(void)
{
	struct sigaction action = { .sa_handler = count_signal };

	sigaction(SIGRTMIN, &action, NULL);
	target_ready();
	while (!shared->go) {
		uint64_t sum = 0;

		for (int i = 0; i < 1000; i++)
			sum += i;
		shared->sum = sum;
		poll(NULL, 0, 1);
	}
	return 0;
}

static void *send_signals(void *arg)
{
	for (int i = 0; i < 2000; i++) {
		while (sigqueue((pid_t)(long)arg, SIGRTMIN,
				(union sigval){ 0 }) < 0)
			nap_ms(1);
		if (i % 8 == 0)
			nap_ms(1);
	}
	return NULL;
}

/* Signals that arrive meanwhile are delivered, each once. */
TEST(signals_are_kept)
{
	pid_t pid = target_start(body_signals);
	pthread_t sender;

	CHECK(!pthread_create(&sender, NULL, send_signals, (void *)(long)pid));
	while (pthread_tryjoin_np(sender, NULL))
		attach_often(pid, 1);
	for (int i = 0; i < 1000 && shared->count < 2000; i++)
		nap_ms(5);
	shared->go = 1;
	target_join(pid);
	CHECK_EQ(shared->count, 2000);
}

/* A stopped target stays stopped, and goes on when it is continued. */
TEST(stopped_target)
{
	pid_t pid = target_start(compute);

	CHECK(!kill(pid, SIGSTOP));
	target_wait_state(pid, 'T');
	attach_often(pid, TIMES);
	target_wait_state(pid, 'T');
	CHECK(!target_is_traced(pid));
	shared->go = 1;
	CHECK(!kill(pid, SIGCONT));
	target_join(pid);
}

static void *stop_and_go(void *arg)
{
	pid_t pid = (long)arg;

	for (int i = 0; i < 300; i++) {
		kill(pid, i & 1 ? SIGCONT : SIGSTOP);
		nap_ms(1);
	}
	return NULL;
}

/* Stopped and continued while it is attached to. */
TEST(stopped_meanwhile)
{
	pid_t pid = target_start(compute);
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, stop_and_go, (void *)(long)pid));
	while (pthread_tryjoin_np(thread, NULL))
		attach_often(pid, 1);
	CHECK(!kill(pid, SIGCONT));
	shared->go = 1;
	target_join(pid);
}

static void *run_compute(void *arg)
{
	(void)arg;
	return (void *)(long)compute();
}

/* The first thread is gone, another computes. */
static int body_orphan(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, run_compute, NULL);
	pthread_exit(NULL);
}

/* A process whose first thread has ended is attached to by another one. */
TEST(first_thread_ended)
{
	pid_t pid = target_start(body_orphan);

	target_wait_state(pid, 'Z');
	attach_often(pid, TIMES);
	shared->go = 1;
	target_join(pid);
}

/* The first thread sleeps where no signal wakes it, another computes. */
static int body_vfork(void)
{
	pthread_t thread;
	pid_t pid;

	pthread_create(&thread, NULL, run_compute, NULL);
	nap_ms(20);
	pid = vfork();
	if (!pid) {
		while (!shared->go)
			syscall(SYS_sched_yield);
		_exit(0);
	}
	pthread_join(thread, NULL);
	return waitpid(pid, NULL, 0) != pid;
}

/* One that cannot be stopped is passed over. */
TEST(unstoppable_thread)
{
	pid_t pid = target_start(body_vfork);

	target_wait_state(pid, 'D');
	attach_often(pid, 2);
	shared->go = 1;
	target_join(pid);
}

/* The target is killed at any moment: an error, and no hang. */
TEST(killed_meanwhile)
{
	for (int i = 0; i < 40; i++) {
		pid_t pid = target_start(compute);
		struct rwp_error error = { 0 };
		struct rwp *rwp = NULL;
		pid_t killer = fork();
		int ret;

		if (!killer) {
			for (volatile int n = 0; n < i * 4000; n++)
				;
			kill(pid, SIGKILL);
			_exit(0);
		}
		do {
			ret = rwp_attach(pid, 0, &rwp, &error);
			if (!ret)
				rwp_close(rwp);
		} while (!ret || ret == -EOPNOTSUPP);
		if (ret != -ESRCH)
			FAIL("%s (%d)", error.text, ret);
		CHECK_EQ(waitpid(killer, NULL, 0), killer);
		CHECK_EQ(waitpid(pid, NULL, 0), pid);
	}
}

/* Who attaches is killed at any moment: the target goes on, with nothing left. */
TEST(attacher_killed)
{
	pid_t pid = target_start(compute);
	char *before = target_descriptors(pid);

	for (int i = 0; i < 100; i++) {
		pid_t child = fork();

		/* The helper of the one before may be at it still: EBUSY. */
		while (!child) {
			struct rwp *rwp = NULL;

			if (!rwp_attach(pid, 0, &rwp, NULL))
				rwp_close(rwp);
		}
		for (volatile int n = 0; n < i * 10000; n++)
			;
		CHECK(!kill(child, SIGKILL));
		CHECK_EQ(waitpid(child, NULL, 0), child);
	}
	/* The last helper may not even have begun. */
	for (int i = 0; i < 100; i++) {
		nap_ms(10);
		if (!target_is_traced(pid) &&
		    !strcmp(before, target_descriptors(pid)))
			break;
	}
	nap_ms(100);
	CHECK(!target_is_traced(pid));
	if (strcmp(before, target_descriptors(pid)))
		FAIL("%s", target_descriptors(pid));
	shared->go = 1;
	target_join(pid);
}
