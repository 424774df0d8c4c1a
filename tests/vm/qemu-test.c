// SPDX-License-Identifier: GPL-2.0
/*
 * qemu-system-x86_64 from Debian, which knows nothing of it, with a guest whose
 * memory is a memfd: attached to, evicted again and again while the guest counts
 * in it, and brought back.
 */
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "evict-memory.h"
#include "guest.h"
#include "qemu.h"
#include "target.h"
#include "test.h"

#define MACHINE (32UL << 20)
#define LEN (2UL << 20) /* what the guest counts in */
#define ROUNDS 12

/* Lays out the memory, and runs into guest_code, which is put behind it. */
asm(".pushsection .rodata\n"
    ".code32\n"
    "layout:\n"
    "	movl $0x400000, %esi\n"
    "1:	movl %esi, (%esi)\n"
    "	addl $64, %esi\n"
    "	cmpl $0x600000, %esi\n"
    "	jb 1b\n"
    "	movl $0x80000, 0x200c\n"
    "	movl $20, 0x2020\n"
    "layout_end:\n"
    ".code64\n"
    ".popsection\n");
extern const char layout[], layout_end[];

static void start(struct qemu *qemu)
{
	size_t head = layout_end - layout, tail = guest_code_end - guest_code;
	char *code = malloc(head + tail);

	memcpy(code, layout, head);
	memcpy(code + head, guest_code, tail);
	qemu_start(qemu, MACHINE, code, head + tail);
	free(code);
	CHECK(qemu->kvm);
}

/* As the process sees it: what is evicted is brought for us, too. */
static void read_page(pid_t pid, const struct rwp_mapping *mapping,
		      struct guest_page *page)
{
	struct iovec here = { page, sizeof(*page) };
	struct iovec there = { (void *)(uintptr_t)(mapping->range.start +
						   GUEST_PAGE),
			       sizeof(*page) };

	CHECK_EQ(process_vm_readv(pid, &here, 1, &there, 1, 0), sizeof(*page));
}

static void stop_guest(pid_t pid, const struct rwp_mapping *mapping)
{
	uint32_t stop = 1;
	struct iovec here = { &stop, sizeof(stop) };
	struct iovec there = {
		(void *)(uintptr_t)(mapping->range.start + GUEST_PAGE +
				    offsetof(struct guest_page, stop)),
		sizeof(stop)
	};
	struct guest_page page, before;

	CHECK_EQ(process_vm_writev(pid, &here, 1, &there, 1, 0), sizeof(stop));
	/* It ends with the pass it is in. */
	read_page(pid, mapping, &page);
	do {
		before = page;
		nap_ms(500);
		read_page(pid, mapping, &page);
	} while (memcmp(&page, &before, sizeof(page)));
}

static void wait_for_pass(pid_t pid, const struct rwp_mapping *mapping,
			  uint32_t passes)
{
	struct guest_page page;

	for (int i = 0; i < 15000; i++) {
		read_page(pid, mapping, &page);
		if (page.passes >= passes)
			return;
		nap_ms(10);
	}
	FAIL("the guest does not go on: %u passes", page.passes);
}

static void check_memory(const struct qemu *qemu)
{
	struct guest_page page;

	memcpy(&page, qemu->memory + GUEST_PAGE, sizeof(page));
	CHECK_EQ(guest_wrong(qemu->memory + GUEST_MEMORY, LEN, &page, false),
		 0);
}

static void evict_often(struct manager *manager, pid_t pid,
			const struct rwp_mapping *mapping)
{
	struct rwp_error error;
	struct guest_page page;

	for (int i = 0; i < ROUNDS; i++) {
		OK(rwp_arm(manager->rwp, mapping->range, error));
		/* What the guest does not touch in that time goes. */
		read_page(pid, mapping, &page);
		wait_for_pass(pid, mapping, page.passes + 2);
		if (rwp_evict(manager->evictor, &mapping->range, 1, &error) < 0)
			FAIL("%s", error.text);
	}
}

/* The guest notices nothing, but that it has to wait at times. */
TEST(guest_is_evicted)
{
	struct manager manager = { .path = "/tmp/qemu-test.store" };
	struct rwp_store_options options = { .depth = 16 };
	struct rwp_memory memory = { .space = 7 };
	struct rwp_evict_stats stats;
	const struct rwp_mapping *mapping;
	struct qemu qemu;

	alarm(600);
	start(&qemu);
	mapping = &qemu.mapping;
	wait_for_pass(qemu.pid, mapping, 1);
	OK(rwp_attach(qemu.pid, RWP_OPEN_EVICT | RWP_OPEN_EVENTS, &manager.rwp,
		      error));
	memory.range = mapping->range;
	memory.fd = qemu.fd;
	OK(rwp_store_open(manager.path, &options, &manager.store, error));
	OK(rwp_evictor_new(manager.rwp, manager.store, NULL, &manager.evictor,
			   error));
	OK(rwp_server_new(&manager.server, error));
	OK(rwp_server_add(manager.server, manager.evictor, NULL, NULL, error));
	OK(rwp_evictor_add(manager.evictor, &memory, error));
	evict_often(&manager, qemu.pid, mapping);
	stop_guest(qemu.pid, mapping);
	rwp_evictor_stats(manager.evictor, &stats);
	printf("# units: %llu asked, %llu evicted, %llu touched; faults: %llu missing, %llu armed\n",
	       (unsigned long long)stats.asked,
	       (unsigned long long)stats.evicted,
	       (unsigned long long)stats.touched,
	       (unsigned long long)stats.served_missing,
	       (unsigned long long)stats.served_rwp);
	CHECK_EQ(stats.failed, 0);
	CHECK(stats.evicted > 300);
	OK(rwp_evictor_restore(manager.evictor, NULL, NULL, error));
	OK(rwp_unregister(manager.rwp, mapping->range, error));
	rwp_server_free(manager.server);
	rwp_evictor_free(manager.evictor);
	rwp_close(manager.rwp);
	rwp_store_close(manager.store);
	check_memory(&qemu);
	remove_store(manager.path);
	qemu_stop(&qemu);
}
