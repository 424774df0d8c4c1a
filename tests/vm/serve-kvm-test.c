// SPDX-License-Identifier: GPL-2.0
/*
 * `rwp serve' and a real virtual machine, whose monitor hands its memory over as
 * Firecracker does: what its vCPU has written is there, whatever happens.
 */
#include <signal.h>
#include <unistd.h>

#include "guest.h"
#include "serve.h"
#include "target.h"
#include "test.h"

#define KILLS 200
#define LEN (2UL << 20)

static const char *const eager[] = { "--interval", "50ms", "--age", "50ms",
				     NULL };

static void begin(struct machine *machine, struct guest *guest,
		  struct serve *serve, enum kind kind, size_t len)
{
	alarm(1800);
	machine_make(machine, kind, len);
	guest_make(guest, machine->area.base, len);
	serve_start(serve, eager);
	machine_hand_over(machine, serve);
	/* Where nothing is in the way a pass is quick: stay with a quarter. */
	if (kind == HUGETLB)
		guest->page->times = 500;
	guest_start(guest);
}

static void finish(struct machine *machine, struct guest *guest,
		   struct serve *serve)
{
	printf("# %u passes over a quarter, %.0f pages evicted, %.0f faults of missing ones\n",
	       guest->page->passes,
	       serve_metric(serve, "rwp_evicted_pages_total"),
	       serve_metric(serve, "rwp_missing_faults_total"));
	guest_stop(guest);
	serve_stop(serve);
	CHECK_EQ(area_resident(&machine->area), machine->area.len);
}

/* Evicted and fetched in a loop while the vCPU writes. */
static void evict_and_fetch(enum kind kind, size_t len, double evicted)
{
	struct machine machine;
	struct guest guest;
	struct serve serve;

	begin(&machine, &guest, &serve, kind, len);
	serve_wait_metric(&serve, "rwp_evicted_pages_total", evicted);
	serve_wait_metric(&serve, "rwp_missing_faults_total", evicted / 2);
	finish(&machine, &guest, &serve);
}

TEST(small_pages)
{
	evict_and_fetch(SHARED, LEN, 1500);
}

TEST(huge_pages)
{
	evict_and_fetch(HUGETLB, 16 << 20, 16);
}

/* The worker is killed at any moment of that. */
TEST(worker_killed_often)
{
	struct machine machine;
	struct guest guest;
	struct serve serve;
	unsigned int evicted = 0, moving = 0, before = 0;
	pid_t worker = 0;

	begin(&machine, &guest, &serve, SHARED, LEN);
	for (unsigned int i = 0; i < KILLS; i++) {
		worker = serve_worker(&serve, worker);
		nap_ms(1 + i * 61 % 500);
		moving += guest.page->place != before;
		before = guest.page->place;
		evicted += area_resident(&machine.area) < machine.area.len;
		kill(worker, SIGKILL);
	}
	printf("# killed %d times, %u times with pages in the store only; the guest went on %u times\n",
	       KILLS, evicted, moving);
	serve_worker(&serve, worker);
	finish(&machine, &guest, &serve);
	CHECK(evicted > KILLS / 4);
	CHECK(moving > KILLS / 4);
}
