/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How the guest hands its memory to the manager: one message over a Unix
 * socket, with two descriptors.
 */
#ifndef RWP_DEMO_CHANNEL_H
#define RWP_DEMO_CHANNEL_H

#include <stdint.h>
#include <sys/types.h>

struct guest_hello {
	uint64_t base; /* of guest memory, in the guest's address space */
	uint64_t size;
	uint32_t page_size;
	uint32_t vcpus;
};

enum {
	HELLO_UFFD, /* the userfaultfd */
	HELLO_CONTROL, /* the memfd of struct control */
	HELLO_FDS,
};

/*
 * Sockets with a name in the abstract namespace: nothing to clean up. The name
 * holds the manager's process id.
 */
int channel_listen(pid_t manager);
int channel_connect(pid_t manager);

/* Accept the guest, and nobody else. */
int channel_accept(int listener, pid_t guest, int timeout_ms);

void channel_send(int sock, const struct guest_hello *hello,
		  const int fds[HELLO_FDS]);
void channel_receive(int sock, struct guest_hello *hello, int fds[HELLO_FDS],
		     int timeout_ms);

#endif
