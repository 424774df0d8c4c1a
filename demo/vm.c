// SPDX-License-Identifier: GPL-2.0
/*
 * Every wait here is a plain loop without a limit of its own: the watch over
 * the steps (util.c) ends the program when one takes too long, or when the
 * guest is dead.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "hotset.h"
#include "util.h"
#include "vm.h"

#define HELLO_TIMEOUT_MS 30000
#define POLL_US 200

void vm_receive(struct vm *vm, int sock, pid_t pid)
{
	struct guest_hello hello;
	int fds[HELLO_FDS];

	channel_receive(sock, &hello, fds, HELLO_TIMEOUT_MS);
	if (!hello.vcpus || hello.vcpus > MAX_VCPUS || !hello.page_size ||
	    hello.size % hello.page_size)
		die("the guest's description of itself makes no sense");

	vm->pid = pid;
	vm->uffd = fds[HELLO_UFFD];
	vm->base = hello.base;
	vm->size = hello.size;
	vm->page_size = hello.page_size;
	vm->pages = hello.size / hello.page_size;
	vm->vcpus = hello.vcpus;
	vm->pagemap = hotset_open(pid);
	vm->control = mmap(NULL, control_size(vm->pages),
			   PROT_READ | PROT_WRITE, MAP_SHARED,
			   fds[HELLO_CONTROL], 0);
	if (vm->control == MAP_FAILED)
		die_errno("cannot map the guest's control memory");
	close(fds[HELLO_CONTROL]);
}

void vm_order(struct vm *vm, enum order order)
{
	atomic_store(&vm->control->order, order);
	for (unsigned int i = 0; i < vm->vcpus; i++)
		while (atomic_load(&vm->control->vcpu[i].obeyed) != order)
			nap_us(POLL_US);
}

void vm_wait_whole_walk(struct vm *vm, unsigned int leave_out)
{
	uint64_t goal[MAX_VCPUS];

	/* The first walk to be finished may have begun before we came. */
	for (unsigned int i = 0; i < vm->vcpus; i++)
		goal[i] = atomic_load(&vm->control->vcpu[i].passes) + 2;
	for (unsigned int i = 0; i < vm->vcpus; i++)
		while (i != leave_out &&
		       atomic_load(&vm->control->vcpu[i].passes) < goal[i])
			nap_us(POLL_US);
}

void vm_send_errand(struct vm *vm, unsigned int vcpu, uint32_t page, bool write)
{
	struct errand *errand = &vm->control->vcpu[vcpu].errand;

	errand->page = page;
	errand->write = write;
	atomic_store(&errand->state, ERRAND_SENT);
}

static void wait_errand(struct vm *vm, unsigned int vcpu,
			enum errand_state state)
{
	while (atomic_load(&vm->control->vcpu[vcpu].errand.state) < state)
		nap_us(POLL_US);
}

void vm_wait_touching(struct vm *vm, unsigned int vcpu)
{
	wait_errand(vm, vcpu, ERRAND_TOUCHING);
}

void vm_wait_errand_done(struct vm *vm, unsigned int vcpu)
{
	wait_errand(vm, vcpu, ERRAND_DONE);
}

uint64_t vm_accesses(const struct vm *vm, unsigned int vcpu)
{
	return atomic_load(&vm->control->vcpu[vcpu].accesses);
}

uint64_t vm_total_accesses(const struct vm *vm)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < vm->vcpus; i++)
		sum += vm_accesses(vm, i);
	return sum;
}

uint64_t vm_damaged_pages(const struct vm *vm)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < vm->vcpus; i++)
		sum += atomic_load(&vm->control->vcpu[i].damaged);
	return sum;
}

char vm_thread_state(const struct vm *vm, unsigned int vcpu)
{
	char text[512] = "";
	const char *after_name;
	FILE *stat;

	snprintf(text, sizeof(text), "/proc/%d/task/%d/stat", vm->pid,
		 vm->control->vcpu[vcpu].tid);
	stat = fopen(text, "re");
	if (!stat || !fgets(text, sizeof(text), stat))
		die_errno("cannot read the state of vCPU %u", vcpu);
	fclose(stat);
	/* PID (NAME) STATE ..., and the name may hold anything. */
	after_name = strrchr(text, ')');
	if (!after_name || strlen(after_name) < 3)
		die("cannot parse the state of vCPU %u", vcpu);
	return after_name[2];
}

uint64_t vm_expected_sum(const struct vm *vm, uint32_t page)
{
	uint32_t words = vm->page_size / sizeof(uint64_t);
	uint64_t sum = atomic_load(&vm->control->page[page].writes);

	for (uint32_t i = 1; i < words; i++)
		sum += page_word(page, i, words);
	return sum;
}

uint32_t vm_truth(const struct vm *vm, unsigned int window, uint8_t *hot)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < vm->pages; i++) {
		hot[i] = atomic_load(&vm->control->page[i].window) == window;
		count += hot[i];
	}
	return count;
}

uint64_t vm_page_address(const struct vm *vm, uint32_t page)
{
	return vm->base + (uint64_t)page * vm->page_size;
}

void vm_quit(struct vm *vm)
{
	int status;

	vm_order(vm, ORDER_QUIT);
	if (waitpid(vm->pid, &status, 0) < 0)
		die_errno("waiting for the guest to end");
	if (status)
		die("the guest ended with wait status %#x", status);
}
