// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <stdlib.h>

#include "hotset.h"
#include "manager.h"
#include "trap.h"
#include "uffd.h"
#include "util.h"

/* Give each vCPU another list of pages; nobody touches memory meanwhile. */
static void move_hot_set(struct vm *vm, unsigned int window)
{
	step("window %u: the hot set moves, every vCPU runs", window);
	vm_order(vm, ORDER_PARK);
	atomic_store(&vm->control->window, window);
	vm_order(vm, ORDER_RUN);
}

/* The window: from "nothing is known to be hot" to "every hot page is known". */
static void let_run(struct manager *manager, struct window_result *result)
{
	struct vm *vm = &manager->vm;
	uint64_t start = now_ns();

	uffd_arm(vm->uffd, vm->base, vm->size);
	result->arm_ns = now_ns() - start;

	nap_us(manager->window_ms * 1000);
	vm_wait_whole_walk(vm, NO_VCPU);
	result->window_ns = now_ns() - start;
	detail("armed %u pages while it runs, then left it alone for %llu ms",
	       vm->pages, (unsigned long long)result->window_ns / 1000000);
}

static uint32_t scan(struct manager *manager)
{
	struct vm *vm = &manager->vm;

	return hotset_scan(vm->pagemap, vm->base, vm->pages, vm->page_size,
			   manager->found);
}

/*
 * Switch first and scan after: a page that the scan reports as cold can then
 * no longer be touched unseen. The other way round, an access between the two
 * would be lost.
 */
static void find_hot_set(struct manager *manager, struct window_result *result)
{
	struct vm *vm = &manager->vm;
	uint64_t start;

	start = now_ns();
	uffd_set_sync(vm->uffd);
	result->sync_ns = now_ns() - start;

	start = now_ns();
	result->found = scan(manager);
	result->scan_ns = now_ns() - start;
	detail("switched to sync, then scanned: %u hot pages", result->found);
}

static void compare(struct manager *manager, unsigned int window,
		    struct window_result *result)
{
	result->truth = vm_truth(&manager->vm, window, manager->truth);
	for (uint32_t i = 0; i < manager->vm.pages; i++) {
		result->missed += manager->truth[i] && !manager->found[i];
		result->wrong += manager->found[i] && !manager->truth[i];
	}
	if (!result->truth || result->truth == manager->vm.pages)
		die("%u of %u pages are hot: that proves nothing",
		    result->truth, manager->vm.pages);
}

static void run_window(struct manager *manager, unsigned int window)
{
	struct window_result *result = &manager->result[window - 1];
	struct vm *vm = &manager->vm;

	move_hot_set(vm, window);
	let_run(manager, result);
	find_hot_set(manager, result);
	compare(manager, window, result);
	picture_print(&manager->style, manager->found, manager->truth,
		      vm->pages, vm->page_size);
	if (result->missed || result->wrong) {
		report_windows(manager->result, window);
		die("FAILED: window %u: %u hot pages missed, %u cold pages reported as hot",
		    window, result->missed, result->wrong);
	}
	trap_and_serve(manager, window);
	step("window %u: every vCPU is sent to a cold page", window);
	trap_and_release(manager, result);
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

#define ROUNDS 9

static uint64_t median(uint64_t ns[ROUNDS])
{
	qsort(ns, ROUNDS, sizeof(*ns), compare_u64);
	return ns[ROUNDS / 2];
}

static void measure_set_mode(struct vm *vm, struct switch_costs *costs)
{
	uint64_t to_sync[ROUNDS], to_async[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t start = now_ns(), middle;

		uffd_set_sync(vm->uffd);
		middle = now_ns();
		uffd_set_async(vm->uffd);
		to_sync[i] = middle - start;
		to_async[i] = now_ns() - middle;
	}
	costs->sync_ns = median(to_sync);
	costs->async_ns = median(to_async);
}

/*
 * Without UFFDIO_SET_MODE the mode is settled by UFFDIO_API, so that another
 * one takes another descriptor, made by the guest. This is the part of it that
 * one descriptor can show.
 */
static void measure_registration(struct manager *manager,
				 struct switch_costs *costs)
{
	uint64_t off[ROUNDS], on[ROUNDS], arm[ROUNDS];
	struct vm *vm = &manager->vm;

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t t[4];

		t[0] = now_ns();
		uffd_unregister(vm->uffd, vm->base, vm->size);
		t[1] = now_ns();
		uffd_register(vm->uffd, vm->base, vm->size);
		t[2] = now_ns();
		costs->hot_afterwards = scan(manager);
		t[3] = now_ns();
		uffd_arm(vm->uffd, vm->base, vm->size);
		arm[i] = now_ns() - t[3];
		off[i] = t[1] - t[0];
		on[i] = t[2] - t[1];
	}
	costs->unregister_ns = median(off);
	costs->register_ns = median(on);
	costs->arm_ns = median(arm);
}

static void measure(struct manager *manager, struct switch_costs *costs)
{
	struct vm *vm = &manager->vm;

	step("measuring the ways to another mode, median of %d rounds", ROUNDS);
	uffd_arm(vm->uffd, vm->base, vm->size);
	measure_set_mode(vm, costs);
	measure_registration(manager, costs);
	if (costs->hot_afterwards != vm->pages)
		die("%u of %u pages count as accessed after registration: all should",
		    costs->hot_afterwards, vm->pages);
}

/*
 * The hardest end: everything is armed and in sync mode when the manager lets
 * go. Nothing may stay behind, and no byte may have changed.
 */
static void let_go(struct manager *manager)
{
	struct vm *vm = &manager->vm;
	uint64_t damaged;

	step("letting go: armed, in sync mode, then unregistered");
	vm_order(vm, ORDER_PARK);
	uffd_arm(vm->uffd, vm->base, vm->size);
	uffd_set_sync(vm->uffd);
	if (scan(manager))
		die("a page counts as accessed though nobody ran since it was armed");
	uffd_unregister(vm->uffd, vm->base, vm->size);

	step("the vCPUs check every word of guest memory");
	vm_order(vm, ORDER_CHECK);
	damaged = vm_damaged_pages(vm);
	if (damaged)
		die("FAILED: %llu times a page did not hold what it should",
		    (unsigned long long)damaged);
	detail("%u of %u pages intact after %llu accesses", vm->pages,
	       vm->pages, (unsigned long long)vm_total_accesses(vm));
	vm_quit(vm);
}

void manager_run(struct manager *manager)
{
	struct switch_costs costs = {};
	struct vm *vm = &manager->vm;

	manager->found = new_array(vm->pages, 1);
	manager->truth = new_array(vm->pages, 1);
	manager->result = new_array(manager->windows, sizeof(*manager->result));

	for (unsigned int window = 1; window <= manager->windows; window++)
		run_window(manager, window);
	measure(manager, &costs);
	let_go(manager);

	report_windows(manager->result, manager->windows);
	report_costs(&costs, vm->pages);
	printf("%sPASSED: no hot page missed, no cold page reported as hot, in %u of %u windows%s\n",
	       manager->style.color ? "\033[1;32m" : "", manager->windows,
	       manager->windows, manager->style.color ? "\033[0m" : "");
}
