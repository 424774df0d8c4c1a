// SPDX-License-Identifier: GPL-2.0
/*
 * workload MIB HOT: a process with so much anonymous memory that touches the
 * first HOT pages of every 64, again and again, and knows nothing of RWP.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

int main(int argc, char **argv)
{
	struct timespec nap = { .tv_nsec = 5000000 };
	size_t pages, hot;
	volatile char *mem;

	if (argc != 3)
		return 2;
	pages = strtoul(argv[1], NULL, 10) * 256;
	hot = strtoul(argv[2], NULL, 10);
	mem = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return 1;
	madvise((void *)mem, pages * 4096, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < pages; i++)
		mem[i * 4096] = 1;
	puts("ready");
	fflush(stdout);
	for (;;) {
		for (size_t i = 0; i < pages; i++)
			if (i % 64 < hot)
				mem[i * 4096]++;
		nanosleep(&nap, NULL);
	}
}
