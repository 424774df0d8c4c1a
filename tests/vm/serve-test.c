// SPDX-License-Identifier: GPL-2.0
/* `rwp serve' from outside: machines that are handed over, and what may go wrong. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "serve.h"
#include "target.h"
#include "test.h"

#define KILLS 200

static const char *const eager[] = { "--interval", "50ms", "--age", "50ms",
				     NULL };

/* An emulated machine takes its time: what is not in use stays so for seconds. */
static void use_slowly(struct area *area)
{
	atomic_store(&area->turn_ms, 2000);
}

/* What nobody touches goes to the file, whoever touches it gets it as it was. */
TEST(evicts_and_brings_back)
{
	struct machine machine;
	struct serve serve;

	machine_make(&machine, SHARED, 4 << 20);
	serve_start(&serve, eager);
	machine_hand_over(&machine, &serve);
	machine_wait_evicted(&machine, 0);
	serve_wait_metric(&serve, "rwp_store_pages", 1024);
	CHECK_EQ(area_check(&machine.area), 0);
	serve_stop(&serve);
	CHECK_EQ(area_check(&machine.area), 0);
}

/* At the end all is in memory, without any help of ours. */
TEST(end_brings_all_back)
{
	struct machine machine;
	struct serve serve;

	machine_make(&machine, SHARED, 4 << 20);
	serve_start(&serve, eager);
	machine_hand_over(&machine, &serve);
	machine_wait_evicted(&machine, 0);
	serve_stop(&serve);
	CHECK_EQ(area_resident(&machine.area), machine.area.len);
	CHECK_EQ(area_check(&machine.area), 0);
}

/* The monitor takes its memory back by closing the connection. */
TEST(closing_brings_all_back)
{
	struct machine machine;
	struct serve serve;

	machine_make(&machine, SHARED, 4 << 20);
	serve_start(&serve, eager);
	machine_hand_over(&machine, &serve);
	machine_wait_evicted(&machine, 0);
	close(machine.sock);
	serve_wait_log(&serve, "all of its memory is back");
	CHECK_EQ(area_resident(&machine.area), machine.area.len);
	CHECK_EQ(area_check(&machine.area), 0);
	serve_stop(&serve);
}

/* Two machines, of small and of huge pages, are in use all the time. */
TEST(machines_in_use)
{
	struct machine small, huge;
	struct writers writers[2];
	struct serve serve;

	machine_make(&small, SHARED, 4 << 20);
	machine_make(&huge, HUGETLB, 16 << 20);
	/* One process hands over two machines: another user's would differ. */
	serve_start(&serve, eager);
	machine_hand_over(&small, &serve);
	use_slowly(&small.area);
	writers_start(&writers[0], &small.area);
	serve_wait_metric(&serve, "rwp_evicted_pages_total", 1000);
	serve_wait_metric(&serve, "rwp_missing_faults_total", 50);
	writers_stop(&writers[0]);
	close(small.sock);
	serve_wait_log(&serve, "all of its memory is back");
	machine_hand_over(&huge, &serve);
	use_slowly(&huge.area);
	writers_start(&writers[1], &huge.area);
	serve_wait_metric(&serve, "rwp_evicted_pages_total", 8);
	serve_wait_metric(&serve, "rwp_missing_faults_total", 4);
	writers_stop(&writers[1]);
	serve_stop(&serve);
	CHECK_EQ(atomic_load(&small.area.wrong), 0);
	CHECK_EQ(atomic_load(&huge.area.wrong), 0);
	CHECK_EQ(area_check(&small.area), 0);
	CHECK_EQ(area_check(&huge.area), 0);
}

/* No more than the target stays in memory, and the oldest go first. */
TEST(target_is_kept)
{
	static const char *const half[] = { "--interval", "50ms", "--age", "0",
					    "--target",	  "50%",  NULL };
	struct machine machine;
	struct serve serve;

	machine_make(&machine, SHARED, 4 << 20);
	serve_start(&serve, half);
	machine_hand_over(&machine, &serve);
	machine_wait_evicted(&machine, 2 << 20);
	nap_ms(500);
	CHECK_EQ(area_resident(&machine.area), 2 << 20);
	CHECK_EQ(area_check(&machine.area), 0);
	serve_stop(&serve);
}

/* A dry run tells what it would evict, and evicts nothing. */
TEST(dry_run)
{
	static const char *const dry[] = { "--interval", "50ms", "--age",
					   "50ms", "--dry-run", NULL };
	struct machine machine;
	struct serve serve;

	machine_make(&machine, SHARED, 1 << 20);
	serve_start(&serve, dry);
	machine_hand_over(&machine, &serve);
	serve_wait_log(&serve, "256 of 256 pages would be evicted");
	CHECK_EQ(area_resident(&machine.area), machine.area.len);
	serve_stop(&serve);
}

/* ---- Death ------------------------------------------------------------- */

/* Wait for accesses after so many: who waits for a page has got it. */
static void wait_used(const struct area *area, unsigned long before)
{
	for (int i = 0; i < 30000; i++) {
		if (atomic_load(&area->accesses) != before)
			return;
		nap_ms(1);
	}
	FAIL("nobody could use the memory for 30 s");
}

/* The worker is killed again and again while the machine is in use. */
TEST(worker_killed_often)
{
	struct machine machine;
	struct writers writers;
	struct serve serve;
	unsigned int evicted = 0, moving = 0;
	unsigned long before = 0;
	pid_t worker = 0;

	alarm(1800);
	machine_make(&machine, SHARED, 1 << 20);
	use_slowly(&machine.area);
	serve_start(&serve, eager);
	machine_hand_over(&machine, &serve);
	writers_start(&writers, &machine.area);
	for (unsigned int i = 0; i < KILLS; i++) {
		worker = serve_worker(&serve, worker);
		/* Any moment after its start, or after it is at work. */
		if (i % 2)
			wait_used(&machine.area, before);
		if (i % 4 == 3)
			machine_wait_evicted(&machine, machine.area.len - 1);
		nap_ms(1 + i * 37 % 300);
		moving += atomic_load(&machine.area.accesses) != before;
		before = atomic_load(&machine.area.accesses);
		evicted += area_resident(&machine.area) < machine.area.len;
		kill(worker, SIGKILL);
	}
	printf("# killed %d times, %u times with pages in the store only; %lu accesses, %u rounds with some\n",
	       KILLS, evicted, atomic_load(&machine.area.accesses), moving);
	serve_worker(&serve, worker);
	writers_stop(&writers);
	CHECK_EQ(atomic_load(&machine.area.wrong), 0);
	serve_stop(&serve);
	CHECK_EQ(area_resident(&machine.area), machine.area.len);
	CHECK_EQ(area_check(&machine.area), 0);
	CHECK(evicted > KILLS / 4);
	CHECK(moving > KILLS / 4);
}

/* Stopped in the moment of its restart it brings everything back all the same. */
TEST(stopped_while_restarting)
{
	struct machine machine;
	struct serve serve;

	machine_make(&machine, SHARED, 4 << 20);
	serve_start(&serve, eager);
	machine_hand_over(&machine, &serve);
	machine_wait_evicted(&machine, 0);
	kill(serve_worker(&serve, 0), SIGKILL);
	serve_stop(&serve);
	CHECK_EQ(area_resident(&machine.area), machine.area.len);
	CHECK_EQ(area_check(&machine.area), 0);
}

/* Without its supervisor the worker gives everything back and ends. */
TEST(supervisor_killed)
{
	struct machine machine;
	struct serve serve;
	pid_t worker;

	machine_make(&machine, SHARED, 4 << 20);
	serve_start(&serve, eager);
	machine_hand_over(&machine, &serve);
	machine_wait_evicted(&machine, 0);
	worker = serve_worker(&serve, 0);
	kill(serve.pid, SIGKILL);
	CHECK_EQ(waitpid(serve.pid, NULL, 0), serve.pid);
	serve_wait_log(&serve, "all of its memory is back");
	CHECK_EQ(area_resident(&machine.area), machine.area.len);
	CHECK_EQ(area_check(&machine.area), 0);
	while (!kill(worker, 0))
		nap_ms(10);
}

/* Both are killed: handed over again to another, the machine gets its own back. */
TEST(both_killed)
{
	struct machine machine;
	struct serve serve;
	char aside[80], aside_index[100], index[100];
	pid_t worker;

	machine_make(&machine, SHARED, 4 << 20);
	serve_start(&serve, eager);
	machine_hand_over(&machine, &serve);
	machine_wait_evicted(&machine, 0);
	worker = serve_worker(&serve, 0);
	/* The supervisor must not notice the one before the other. */
	kill(serve.pid, SIGSTOP);
	kill(worker, SIGKILL);
	kill(serve.pid, SIGKILL);
	CHECK_EQ(waitpid(serve.pid, NULL, 0), serve.pid);
	close(machine.sock);
	CHECK_EQ(area_resident(&machine.area), 0);
	/* serve_start() begins with a new store. */
	snprintf(index, sizeof(index), "%s.index", serve.store);
	snprintf(aside, sizeof(aside), "%s.aside", serve.store);
	snprintf(aside_index, sizeof(aside_index), "%s.index", aside);
	CHECK(!rename(serve.store, aside) && !rename(index, aside_index));
	serve_start(&serve, (const char *const[]){ "--age", "0", "--store",
						   aside, NULL });
	serve_wait_log(&serve, "has 1024 pages of machines of an earlier");
	machine_hand_over(&machine, &serve);
	CHECK_EQ(area_check(&machine.area), 0);
	serve_stop(&serve);
	CHECK_EQ(area_check(&machine.area), 0);
	remove_store(aside);
}

/* What was evicted of a process that has ended takes no room any more. */
TEST(machine_ends)
{
	struct machine machine;
	struct serve serve;
	pid_t pid;

	serve_start(&serve, eager);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		machine_make(&machine, SHARED, 4 << 20);
		machine_hand_over(&machine, &serve);
		machine_wait_evicted(&machine, 0);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
	serve_wait_log(&serve, "has ended");
	for (int i = 0; i < 1000 && serve_metric(&serve, "rwp_store_pages"); i++)
		nap_ms(20);
	CHECK_EQ(serve_metric(&serve, "rwp_store_pages"), 0);
	serve_stop(&serve);
}

/* The same while the worker is dead. */
TEST(machine_ends_meanwhile)
{
	struct machine machine;
	struct serve serve;
	pid_t pid, worker;

	serve_start(&serve, eager);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		machine_make(&machine, SHARED, 4 << 20);
		machine_hand_over(&machine, &serve);
		for (;;)
			pause();
	}
	serve_wait_metric(&serve, "rwp_store_pages", 1024);
	worker = serve_worker(&serve, 0);
	kill(worker, SIGSTOP);
	kill(pid, SIGKILL);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
	kill(worker, SIGKILL);
	serve_wait_log(&serve, "has ended");
	for (int i = 0; i < 1000 && serve_metric(&serve, "rwp_store_pages"); i++)
		nap_ms(20);
	CHECK_EQ(serve_metric(&serve, "rwp_store_pages"), 0);
	serve_stop(&serve);
}
