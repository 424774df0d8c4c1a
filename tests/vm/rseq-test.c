// SPDX-License-Identifier: GPL-2.0
/* Attaching to a thread that is in a restartable sequence. */
#include <sys/mman.h>
#include <sys/rseq.h>
#include <unistd.h>

#include "target.h"
#include "test.h"

#ifdef __x86_64__

static volatile struct shared {
	int go, aborts;
} * shared;

void test_setup(void)
{
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static struct rseq *own_rseq(void)
{
	return (struct rseq *)((char *)__builtin_thread_pointer() +
			       __rseq_offset);
}

/*
 * A sequence that waits in its middle, for ever: it is left by an abort only, or
 * when all is over. Each abort is counted and the sequence begun again.
 */
static void wait_in_sequence(struct rseq *rseq)
{
again:
	/* clang-format off */
	asm volatile goto(
		".pushsection .data.rseq_cs, \"aw\"\n"
		".balign 32\n"
		"3:	.long 0, 0\n"
		"	.quad 1f, 2f - 1f, 4f\n"
		".popsection\n"
		"	leaq 3b(%%rip), %%rax\n"
		"	movq %%rax, %[cs]\n"
		"1:	pause\n"
		"	cmpl $0, %[go]\n"
		"	je 1b\n"
		"2:	jmp 5f\n"
		"	.long 0x53053053\n" /* glibc's signature */
		"4:	jmp %l[aborted]\n"
		"5:\n"
		:
		: [cs] "m"(rseq->rseq_cs), [go] "m"(shared->go)
		: "rax", "memory", "cc"
		: aborted);
	/* clang-format on */
	return;
aborted:
	shared->aborts++;
	goto again;
}

static int body(void)
{
	target_ready();
	wait_in_sequence(own_rseq());
	return 0;
}

/*
 * The kernel aborts a sequence that was interrupted. What is done to the thread
 * in between must not make it forget that: the sequence would go on, perhaps on
 * another processor, with what it had read on the first.
 */
TEST(sequence_is_aborted)
{
	pid_t pid;

	if (!__rseq_size) {
		puts("# this kernel has no rseq(): nothing to be aborted");
		return;
	}
	pid = target_start(body);
	for (int i = 0; i < 30; i++) {
		int before;

		nap_ms(2);
		before = shared->aborts;
		attach_often(pid, 1);
		for (int ms = 0; ms < 3000 && shared->aborts == before; ms++)
			nap_ms(1);
		if (shared->aborts == before)
			FAIL("the sequence went on after attempt %d", i);
	}
	shared->go = 1;
	target_join(pid);
}

#else

/* The sequence is written in assembly. */
TEST(sequence_is_aborted)
{
	puts("# for x86-64 only");
}

#endif
