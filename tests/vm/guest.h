/* SPDX-License-Identifier: GPL-2.0 */
/* A virtual machine of one vCPU that counts in its memory, in a thread. */
#ifndef RWP_TEST_GUEST_H
#define RWP_TEST_GUEST_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * It goes over one quarter of the memory for some time, and then over the next.
 * Where it passes it looks whether the words are as it left them.
 */
struct guest {
	int kvm, vm, vcpu;
	struct kvm_run *run;
	volatile struct guest_page *page; /* shared with the guest, never evicted */
	char *memory;
	size_t len;
	pthread_t thread;
	int failed; /* why the vCPU ended, if not as it was told to */
};

/* Where in the guest's memory the page and the code are, and its own memory. */
#define GUEST_PAGE 0x2000
#define GUEST_CODE 0x1000
#define GUEST_MEMORY 0x400000
#define GUEST_STEP 64

struct guest_page {
	uint32_t passes, wrong, stop, quarter_bytes;
	uint32_t version[4]; /* of the words of each quarter */
	uint32_t times; /* passes over a quarter before the next */
	uint32_t place; /* where it has written last */
};

/* What it runs, wherever it is put. */
extern const char guest_code[], guest_code_end[];

/* How many words are wrong; those the guest leaves alone are @filled or zero. */
unsigned int guest_wrong(const char *memory, size_t len,
			 const struct guest_page *page, bool filled);

/* @memory: @len bytes, which are filled. Ends the case where there is no KVM. */
void guest_make(struct guest *guest, char *memory, size_t len);
void guest_start(struct guest *guest);
/* Have it stop, and see whether all memory is as it has to be. */
void guest_stop(struct guest *guest);

#endif
