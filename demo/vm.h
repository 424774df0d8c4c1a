/* SPDX-License-Identifier: GPL-2.0 */
/* The manager's handle on the guest. */
#ifndef RWP_DEMO_VM_H
#define RWP_DEMO_VM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "control.h"

struct vm {
	pid_t pid;
	int uffd;
	int pagemap;
	uint64_t base;
	uint64_t size;
	uint32_t pages;
	uint32_t page_size;
	unsigned int vcpus;
	struct control *control;
};

/* Take the guest over from a connected socket. */
void vm_receive(struct vm *vm, int sock, pid_t pid);

/* Give an order to every vCPU, and wait until all have carried it out. */
void vm_order(struct vm *vm, enum order order);

/*
 * Wait until every vCPU has begun and finished a whole walk from now on; every
 * one but the one to leave out, if that is not NO_VCPU.
 */
#define NO_VCPU MAX_VCPUS
void vm_wait_whole_walk(struct vm *vm, unsigned int leave_out);

/* Send a vCPU to touch one page; wait until the touch comes next, or is over. */
void vm_send_errand(struct vm *vm, unsigned int vcpu, uint32_t page,
		    bool write);
void vm_wait_touching(struct vm *vm, unsigned int vcpu);
void vm_wait_errand_done(struct vm *vm, unsigned int vcpu);

uint64_t vm_accesses(const struct vm *vm, unsigned int vcpu);
uint64_t vm_total_accesses(const struct vm *vm);
uint64_t vm_damaged_pages(const struct vm *vm);

/* S: asleep, R: running; as in ps(1). */
char vm_thread_state(const struct vm *vm, unsigned int vcpu);

/* The sum of all words of a page, if its content is what it should be. */
uint64_t vm_expected_sum(const struct vm *vm, uint32_t page);

/* The pages touched in this window, as the guest's records have it. */
uint32_t vm_truth(const struct vm *vm, unsigned int window, uint8_t *hot);

uint64_t vm_page_address(const struct vm *vm, uint32_t page);

/* Order the vCPUs to end, and see that the guest ends well. */
void vm_quit(struct vm *vm);

#endif
