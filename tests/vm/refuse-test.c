// SPDX-License-Identifier: GPL-2.0
/* Processes that cannot be attached to, and are to live on all the same. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "target.h"
#include "test.h"

static volatile int *go;

void test_setup(void)
{
	go = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static int spin(void)
{
	target_ready();
	while (!*go)
		;
	return 0;
}

/* The error, and that the target is untouched. */
static void check_refused(pid_t pid, int code, const char *word)
{
	struct rwp_error error = refused(pid, 0);

	if (error.code != code || !strstr(error.text, word))
		FAIL("%d: %s", error.code, error.text);
}

/* Numbers of nothing, of this process, of a thread of the kernel. */
TEST(no_target)
{
	check_refused(-1, -ESRCH, "no process");
	check_refused(0, -ESRCH, "no process");
	check_refused(0x3fffff, -ESRCH, "no process");
	check_refused(getpid(), -EINVAL, "this one");
	check_refused(2, -EINVAL, "kernel thread");
}

static int leave(void)
{
	target_ready();
	return 0;
}

/* A zombie has no memory any more. */
TEST(zombie)
{
	pid_t pid = target_start(leave);

	target_wait_state(pid, 'Z');
	check_refused(pid, -ESRCH, "ended");
	target_join(pid);
}

/* A process that is being debugged. */
TEST(traced)
{
	pid_t pid = target_start(spin);

	CHECK(!ptrace(PTRACE_SEIZE, pid, 0, 0));
	check_refused(pid, -EBUSY, "traced");
	*go = 1;
	target_join(pid);
}

static int strict(void)
{
	target_ready();
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	while (!*go)
		;
	syscall(SYS_exit, 0);
	return 1;
}

static bool has_seccomp(void)
{
	return prctl(PR_GET_SECCOMP) >= 0;
}

/* Strict seccomp would kill it for the call. */
TEST(seccomp_strict)
{
	pid_t pid;

	if (!has_seccomp()) {
		puts("# this kernel has no seccomp: nothing to be refused");
		return;
	}
	pid = target_start(strict);
	nap_ms(20);
	check_refused(pid, -EPERM, "seccomp");
	*go = 1;
	target_join(pid);
}

/* Kills for userfaultfd(), allows everything else. */
static int filtered(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { 4, code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return 1;
	return spin();
}

/* A filter may kill too; suspended on request, it does not see the call. */
TEST(seccomp_filter)
{
	struct rwp_error error = { 0 };
	struct rwp *rwp = NULL;
	pid_t pid;
	int ret;

	if (!has_seccomp()) {
		puts("# this kernel has no seccomp: nothing to be refused");
		return;
	}
	pid = target_start(filtered);
	check_refused(pid, -EPERM, "seccomp");
	ret = rwp_attach(pid, RWP_OPEN_SUSPEND_SECCOMP, &rwp, &error);
	if (ret && ret != -EOPNOTSUPP)
		FAIL("%s", error.text);
	if (!ret)
		rwp_close(rwp);
	*go = 1;
	target_join(pid);
}

/* struct for PR_SET_SYSCALL_USER_DISPATCH: calls are dispatched, none allowed. */
static volatile char dispatch;

static int dispatched(void)
{
	target_ready();
	if (prctl(59 /* PR_SET_SYSCALL_USER_DISPATCH */, 1, 0, 0, &dispatch))
		return 1;
	dispatch = 1;
	while (!*go)
		;
	dispatch = 0;
	return 0;
}

/* A process that emulates system calls itself would be sent SIGSYS. */
TEST(syscall_user_dispatch)
{
	pid_t pid = target_start(dispatched);

	nap_ms(50);
	check_refused(pid, -EPERM, "dispatches");
	*go = 1;
	target_join(pid);
}

/* Without the right to: a target of root's, seen by another user. */
TEST(not_permitted)
{
	pid_t pid = target_start(spin), child = fork();
	int status;

	if (!child) {
		CHECK(!setgid(65534) && !setuid(65534));
		check_refused(pid, -EPERM, "not permitted");
		_exit(0);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	*go = 1;
	target_join(pid);
}

static int without_privilege(void)
{
	return setgid(65534) || setuid(65534) ? 1 : spin();
}

/* A target that may have the lesser userfaultfd only. */
TEST(unprivileged_target)
{
	FILE *sysctl = fopen("/proc/sys/vm/unprivileged_userfaultfd", "we");
	struct rwp *rwp;
	pid_t pid;

	CHECK(sysctl && fputs("0", sysctl) > 0 && !fclose(sysctl));
	pid = target_start(without_privilege);
	rwp = attach(pid, 0);

	if (rwp)
		CHECK(rwp_user_mode_only(rwp));
	rwp_close(rwp);
	*go = 1;
	target_join(pid);
}
