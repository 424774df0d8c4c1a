/* SPDX-License-Identifier: GPL-2.0 */
/* The process that stands for a virtual machine. */
#ifndef RWP_DEMO_GUEST_H
#define RWP_DEMO_GUEST_H

#include <stdint.h>
#include <sys/types.h>

struct guest_config {
	uint64_t memory; /* bytes */
	unsigned int vcpus;
	uint64_t seed;
};

/* Run as the guest of this manager until it says ORDER_QUIT. */
void guest_main(const struct guest_config *config, pid_t manager)
	__attribute__((noreturn));

#endif
