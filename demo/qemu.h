/* SPDX-License-Identifier: GPL-2.0 */
/*
 * qemu-system-x86_64 as a distribution has it, which knows nothing of all this,
 * in the folder qemu/ beside the program. What goes wrong ends the program.
 */
#ifndef RWP_DEMO_QEMU_H
#define RWP_DEMO_QEMU_H

#include <rwp.h>
#include <stddef.h>

struct qemu {
	pid_t pid;
	bool kvm;
	struct rwp_mapping mapping; /* of the guest's memory, in its process */
	int fd; /* the memfd behind that */
	char *memory; /* the same, mapped here */
	int rom, log; /* memfds, too */
};

/*
 * Start a machine of one processor with @bytes of memory. It runs @code at once:
 * in protected mode without paging, all segments flat, without a stack.
 */
void qemu_start(struct qemu *qemu, size_t bytes, const char *code, size_t len);

/* Whether it has ended by itself; then with what it said. */
void qemu_check(const struct qemu *qemu);
void qemu_stop(struct qemu *qemu);

#endif
