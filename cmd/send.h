/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RWP_SEND_H
#define RWP_SEND_H

/*
 * Send text over a Unix socket, with @count descriptors; at most 253, the kernel
 * takes no more. 0 or a negative errno; no signal where nobody reads.
 */
int send_descriptors(int sock, const char *text, const int *fd,
		     unsigned int count);

#endif
