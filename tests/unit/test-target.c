// SPDX-License-Identifier: GPL-2.0
/* What is read of a process before it is stopped, and its registers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "arch.h"
#include "target.h"

static void status(void **state)
{
	struct rwpi_status status;

	(void)state;
	rwpi_parse_status(
		"Name:\tState:\tZ\nUmask:\t0022\nState:\tS (sleeping)\n"
		"Tgid:\t17\nPid:\t18\nTracerPid:\t99\nKthread:\t0\n"
		"VmSize:\t 100 kB\nSeccomp:\t2\nSeccomp_filters:\t1\n",
		&status);
	assert_int_equal(status.state, 'S');
	assert_int_equal(status.tgid, 17);
	assert_int_equal(status.tracer, 99);
	assert_int_equal(status.seccomp, 2);
	assert_true(status.has_memory);
	assert_false(status.kthread);
	rwpi_parse_status("Name:\tx\nState:\tI (idle)\nKthread:\t1\n", &status);
	assert_int_equal(status.state, 'I');
	assert_int_equal(status.seccomp, 0);
	assert_int_equal(status.tracer, 0);
	assert_false(status.has_memory);
	assert_true(status.kthread);
	rwpi_parse_status("", &status);
	assert_int_equal(status.state, '?');
}

/* This process has what is looked for. */
static void own_process(void **state)
{
	struct rwpi_thread thread[4];
	struct rwp_error error;
	uint64_t addr = 0;

	(void)state;
	assert_int_equal(rwpi_list_threads(getpid(), thread, 4, &error), 1);
	assert_int_equal(thread[0].tid, getpid());
	if (rwpi_find_syscall(getpid(), &addr, &error)) {
		/* Before Linux 6.11 mappings cannot be listed. */
		assert_int_equal(error.code, -EOPNOTSUPP);
		return;
	}
	assert_memory_equal((void *)addr, rwpi_syscall_insn,
			    rwpi_syscall_insn_len);
}

#ifdef __x86_64__
static void restart(void **state)
{
	rwpi_regs regs = { .rax = -EINTR, .orig_rax = SYS_epoll_wait };

	(void)state;
	/* Begun again: it gave up only because of the stop. */
	rwpi_restart_call(&regs);
	assert_int_equal((long)regs.rax, -514);
	/* Not begun again: it may have closed something. */
	regs.rax = -EINTR;
	regs.orig_rax = SYS_close;
	rwpi_restart_call(&regs);
	assert_int_equal((long)regs.rax, -EINTR);
	/* Not in a system call at all. */
	regs.orig_rax = -1;
	rwpi_restart_call(&regs);
	assert_int_equal((long)regs.rax, -EINTR);
	/* One that says itself how it goes on. */
	regs.rax = -516;
	regs.orig_rax = SYS_nanosleep;
	rwpi_restart_call(&regs);
	assert_int_equal((long)regs.rax, -516);
	/* The call made in between is no restart of the interrupted one. */
	rwpi_set_call(&regs, 0x1000, SYS_userfaultfd, 5);
	assert_int_equal(regs.rip, 0x1000);
	assert_int_equal(regs.rax, SYS_userfaultfd);
	assert_int_equal(regs.rdi, 5);
	assert_int_equal((long)regs.orig_rax, -1);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status),
		cmocka_unit_test(own_process),
#ifdef __x86_64__
		cmocka_unit_test(restart),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
