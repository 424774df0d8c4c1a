// SPDX-License-Identifier: GPL-2.0
#include "hotset.h"
#include "trap.h"
#include "uffd.h"
#include "util.h"

#define FAULT_TIMEOUT_MS 10000

/* A page is picked once: it is about to be touched. */
static uint32_t pick_cold_page(struct manager *manager)
{
	uint32_t page;

	do {
		page = random_below(&manager->random, manager->vm.pages);
	} while (manager->found[page]);
	manager->found[page] = 1;
	return page;
}

static uint32_t page_is_accessed(struct vm *vm, uint32_t page)
{
	uint8_t hot;

	return hotset_scan(vm->pagemap, vm_page_address(vm, page), 1,
			   vm->page_size, &hot);
}

static void expect_blocked(struct vm *vm, unsigned int total,
			   unsigned int unread)
{
	struct blocked blocked = uffd_blocked(vm->uffd);

	if (blocked.total != total || blocked.unread != unread)
		die("%u threads are blocked (%u messages unread), not %u (%u)",
		    blocked.total, blocked.unread, total, unread);
}

static void expect_asleep(struct vm *vm, unsigned int vcpu)
{
	char state = vm_thread_state(vm, vcpu);

	if (state == 'R')
		die("vCPU %u touches a cold page and runs on", vcpu);
}

static void expect_content(struct vm *vm, unsigned int vcpu)
{
	struct errand *errand = &vm->control->vcpu[vcpu].errand;

	if (errand->sum != vm_expected_sum(vm, errand->page))
		die("vCPU %u found page %u with a content it should not have",
		    vcpu, errand->page);
	if (!page_is_accessed(vm, errand->page))
		die("vCPU %u touched page %u, but it counts as not accessed",
		    vcpu, errand->page);
	atomic_store(&errand->state, ERRAND_NONE);
}

static void expect_fault(struct vm *vm, unsigned int vcpu)
{
	struct errand *errand = &vm->control->vcpu[vcpu].errand;
	struct rwp_fault fault;

	if (!uffd_next_fault(vm->uffd, &fault, FAULT_TIMEOUT_MS))
		die("vCPU %u touched a cold page, and no message came", vcpu);
	if (fault.address != vm_page_address(vm, errand->page) ||
	    fault.write != errand->write ||
	    fault.tid != (uint32_t)vm->control->vcpu[vcpu].tid)
		die("the message says: thread %u, %s of %#llx; not: thread %d, %s of %#llx",
		    fault.tid, fault.write ? "write" : "read",
		    (unsigned long long)fault.address,
		    vm->control->vcpu[vcpu].tid,
		    errand->write ? "write" : "read",
		    (unsigned long long)vm_page_address(vm, errand->page));
}

void trap_and_serve(struct manager *manager, unsigned int window)
{
	struct vm *vm = &manager->vm;
	unsigned int vcpu = (window - 1) % vm->vcpus;
	uint32_t page = pick_cold_page(manager);
	bool write = window % 2 == 0;
	struct errand *errand = &vm->control->vcpu[vcpu].errand;
	uint64_t progress, all, others, start, served_ns;

	if (page_is_accessed(vm, page))
		die("page %u is cold, but counts as accessed", page);

	step("window %u: vCPU %u is sent to a cold page", window, vcpu);
	vm_send_errand(vm, vcpu, page, write);
	expect_fault(vm, vcpu);
	expect_blocked(vm, 1, 0);

	/* It stands still while every other vCPU walks on. */
	progress = vm_accesses(vm, vcpu);
	all = vm_total_accesses(vm);
	vm_wait_whole_walk(vm, vcpu);
	others = vm_total_accesses(vm) - all;
	if (vm_accesses(vm, vcpu) != progress)
		die("vCPU %u is blocked, but makes progress", vcpu);
	expect_asleep(vm, vcpu);
	expect_blocked(vm, 1, 0);
	detail("message: %s of page %u by thread %d. It sleeps (state %c);",
	       write ? "write" : "read", page, vm->control->vcpu[vcpu].tid,
	       vm_thread_state(vm, vcpu));
	detail("its counter stands at %llu, the others made %llu accesses",
	       (unsigned long long)progress, (unsigned long long)others);

	/* Here a real manager would bring the page's content back first. */
	start = now_ns();
	uffd_resolve(vm->uffd, vm_page_address(vm, page), vm->page_size);
	vm_wait_errand_done(vm, vcpu);
	served_ns = errand->done_ns - start;
	expect_content(vm, vcpu);
	detail("served with UFFDIO_RWPROTECT: it goes on after %llu us, content intact",
	       (unsigned long long)served_ns / 1000);
	expect_blocked(vm, 0, 0);
}

/* Block every vCPU on a cold page of its own. */
static void block_all(struct manager *manager)
{
	struct vm *vm = &manager->vm;

	for (unsigned int i = 0; i < vm->vcpus; i++)
		vm_send_errand(vm, i, pick_cold_page(manager), i % 2);
	while (uffd_blocked(vm->uffd).total < vm->vcpus)
		nap_us(200);
}

static void expect_standstill(struct vm *vm)
{
	uint64_t progress = vm_total_accesses(vm);

	nap_us(20000);
	if (vm_total_accesses(vm) != progress)
		die("all vCPUs are blocked, but make progress");
	for (unsigned int i = 0; i < vm->vcpus; i++)
		expect_asleep(vm, i);
}

/*
 * A message that was read before the switch must not be answered after it:
 * when the page has been armed again since, the answer would disarm it. Here
 * the messages that were read are simply forgotten.
 */
static void read_and_forget(struct vm *vm, unsigned int messages)
{
	struct rwp_fault fault;

	for (unsigned int i = 0; i < messages; i++)
		if (!uffd_next_fault(vm->uffd, &fault, FAULT_TIMEOUT_MS))
			die("%u vCPUs are blocked, but only %u messages came",
			    vm->vcpus, i);
}

void trap_and_release(struct manager *manager, struct window_result *result)
{
	struct vm *vm = &manager->vm;
	unsigned int read = vm->vcpus / 2;
	struct rwp_fault fault;
	uint64_t start, last = 0;

	block_all(manager);
	read_and_forget(vm, read);
	expect_blocked(vm, vm->vcpus, vm->vcpus - read);
	expect_standstill(vm);
	detail("%u vCPUs blocked: %u messages read and not answered, %u unread",
	       vm->vcpus, read, vm->vcpus - read);

	start = now_ns();
	uffd_set_async(vm->uffd);
	result->async_ns = now_ns() - start;

	for (unsigned int i = 0; i < vm->vcpus; i++) {
		struct errand *errand = &vm->control->vcpu[i].errand;

		vm_wait_errand_done(vm, i);
		if (errand->done_ns > last)
			last = errand->done_ns;
		expect_content(vm, i);
	}
	result->release_ns = last - start;
	if (uffd_next_fault(vm->uffd, &fault, 0))
		die("a message of sync mode is left over in async mode");
	expect_blocked(vm, 0, 0);
	detail("UFFDIO_SET_MODE released them all within %llu us, content intact",
	       (unsigned long long)result->release_ns / 1000);
}
