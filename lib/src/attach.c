// SPDX-License-Identifier: LGPL-2.1-or-later
/* Attaching to a process that knows nothing of it; inject.c stops it. */
#include "arch.h"
#include "internal.h"

#if RWPI_CAN_ATTACH
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "inject.h"
#include "target.h"

/* Each is given two seconds to stop. */
#define MAX_THREADS 5
#define MAX_TRIES 3

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL /* Linux 6.9 */
#endif

/*
 * A process that outlives the caller, see inject.c. Not by fork(): the caller's
 * handlers for it are not to run, and without a signal at its end neither a
 * handler for SIGCHLD nor a wait() for any child of the caller's notices it.
 */
static pid_t start_helper(const struct rwpi_job *job)
{
	int cancel;
	sigset_t all, old;
	pid_t pid;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	/* A cancellation of the calling thread is no matter of the helper's. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	pid = syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
	if (!pid) {
		rwpi_inject(job);
		_exit(0);
	}
	pthread_setcancelstate(cancel, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return pid;
}

static void reap(pid_t pid)
{
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}

/* Returns the descriptor, or -1 with the reason in @verdict. */
static int receive(int sock, struct rwpi_verdict *verdict)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { verdict, sizeof(*verdict) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg;
	ssize_t len;
	int fd = -1;

	do {
		len = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	} while (len < 0 && errno == EINTR);
	if (len != sizeof(*verdict)) {
		/* It was killed. */
		*verdict = (struct rwpi_verdict){ RWPI_LOST, -EIO, false };
		return -1;
	}
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg)
		memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	else if (!verdict->code)
		verdict->code = -EMFILE;
	return fd;
}

static int run_helper(struct rwpi_job *job, struct rwpi_verdict *verdict)
{
	int ends[2], fd = -1;
	pid_t helper;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
		verdict->code = -errno;
		return -1;
	}
	job->sock = ends[1];
	helper = start_helper(job);
	if (helper < 0)
		verdict->code = -errno;
	rwpi_close(ends[1]);
	if (helper > 0) {
		fd = receive(ends[0], verdict);
		reap(helper);
	}
	rwpi_close(ends[0]);
	return fd;
}

static int open_pidfd(pid_t pid, pid_t tid)
{
	int fd = syscall(SYS_pidfd_open, tid, tid == pid ? 0 : PIDFD_THREAD);

	return fd < 0 ? -errno : fd;
}

/* Returns the descriptor, or -1 with the reason in @verdict. */
static int try_thread(pid_t pid, const struct rwpi_thread *thread,
		      uint64_t insn, unsigned int flags,
		      struct rwpi_verdict *verdict)
{
	struct rwpi_job job = {
		.tid = thread->tid,
		.insn = insn,
		.suspend_seccomp = thread->seccomp &&
				   flags & RWP_OPEN_SUSPEND_SECCOMP,
		.pidfd = open_pidfd(pid, thread->tid),
	};
	int fd;

	*verdict = (struct rwpi_verdict){ 0 };
	if (thread->seccomp && !job.suspend_seccomp) {
		*verdict = (struct rwpi_verdict){ RWPI_SECCOMP, -EPERM, false };
		rwpi_close(job.pidfd);
		return -1;
	}
	if (job.pidfd < 0) {
		verdict->code = job.pidfd;
		return -1;
	}
	snprintf(job.status, sizeof(job.status), "/proc/%d/task/%d/status",
		 (int)pid, (int)thread->tid);
	snprintf(job.mem, sizeof(job.mem), "/proc/%d/task/%d/mem", (int)pid,
		 (int)thread->tid);
	fd = run_helper(&job, verdict);
	rwpi_close(job.pidfd);
	return fd;
}

/* A thread that will not do, while another may. */
static bool try_next(const struct rwpi_verdict *verdict)
{
	return verdict->code == -ETIMEDOUT || verdict->stage == RWPI_DISPATCH ||
	       (verdict->stage <= RWPI_CHECK && verdict->code == -ESRCH);
}

/* Returns the descriptor, and the thread that made it in @tid. */
static int try_threads(pid_t pid, unsigned int flags, pid_t *tid,
		       struct rwpi_verdict *verdict, struct rwp_error *err)
{
	struct rwpi_thread thread[MAX_THREADS];
	uint64_t insn;
	int count, fd = -1, ret;

	count = rwpi_list_threads(pid, thread, MAX_THREADS, err);
	if (count < 0)
		return count;
	ret = rwpi_find_syscall(thread[0].tid, &insn, err);
	if (ret)
		return ret;
	for (int i = 0; i < count && fd < 0; i++) {
		*tid = thread[i].tid;
		fd = try_thread(pid, &thread[i], insn, flags, verdict);
		if (fd < 0 && !try_next(verdict))
			break;
	}
	return fd >= 0 ? fd : verdict->code;
}

static int explain_seize(pid_t pid, int code, unsigned int flags,
			 struct rwp_error *err)
{
	if (flags & RWP_OPEN_SUSPEND_SECCOMP && (code == -EINVAL))
		return rwpi_error(
			err, -EOPNOTSUPP,
			"cannot suspend the seccomp filter of process %d: this kernel lacks CONFIG_CHECKPOINT_RESTORE",
			(int)pid);
	if (code == -EPERM)
		return rwpi_error(
			err, code,
			"not permitted to attach to process %d: needs its user, or root (CAP_SYS_PTRACE); kernel.yama.ptrace_scope has to allow it, and no debugger may be attached",
			(int)pid);
	return rwpi_fail(err, code, "cannot attach to process %d", (int)pid);
}

static int explain_create(pid_t pid, int code, struct rwp_error *err)
{
	switch (code) {
	case -EPERM:
		return rwpi_error(
			err, code,
			"process %d may not create a userfaultfd: set vm.unprivileged_userfaultfd=1, or give it CAP_SYS_PTRACE",
			(int)pid);
	case -ENOSYS:
		return rwpi_error(
			err, code,
			"process %d finds no userfaultfd in this kernel: it needs CONFIG_USERFAULTFD=y",
			(int)pid);
	case -EMFILE:
		return rwpi_error(
			err, code,
			"process %d has no descriptor left: raise its limit (prlimit --nofile)",
			(int)pid);
	default:
		return rwpi_fail(err, code, "userfaultfd() in process %d",
				 (int)pid);
	}
}

/* A process that is about to end refuses with EPERM like any stranger. */
static bool has_ended(pid_t pid)
{
	struct rwpi_thread thread;

	return rwpi_list_threads(pid, &thread, 1, NULL) == -ESRCH;
}

static int explain(pid_t pid, const struct rwpi_verdict *verdict,
		   unsigned int flags, struct rwp_error *err)
{
	int code = verdict->code;

	if (code == -ESRCH || (code != -EIO && has_ended(pid)))
		return rwpi_error(err, -ESRCH, "process %d has ended",
				  (int)pid);
	switch (verdict->stage) {
	case RWPI_SEIZE:
		return explain_seize(pid, code, flags, err);
	case RWPI_STOP:
		return rwpi_fail(
			err, code,
			"no thread of process %d could be stopped (they wait in the kernel, or it is frozen)",
			(int)pid);
	case RWPI_SECCOMP:
		return rwpi_error(
			err, code,
			"process %d is under seccomp, which may kill it for calling userfaultfd: let it hand over a userfaultfd of its own, start it without the filter, or have the filter suspended for the call (RWP_OPEN_SUSPEND_SECCOMP, rwp --suspend-seccomp)",
			(int)pid);
	case RWPI_DISPATCH:
		return rwpi_error(
			err, code,
			"process %d dispatches its system calls to itself (PR_SET_SYSCALL_USER_DISPATCH) and cannot be attached to",
			(int)pid);
	case RWPI_CREATE:
		return explain_create(pid, code, err);
	case RWPI_LOST:
		return rwpi_error(
			err, code,
			"the helper that was to attach to process %d was killed; if that was while it was at it, the process is broken",
			(int)pid);
	case RWPI_FETCH:
		return rwpi_fail(
			err, code,
			"cannot fetch the userfaultfd from process %d (pidfd_getfd)",
			(int)pid);
	default:
		return rwpi_fail(err, code, "cannot attach to process %d",
				 (int)pid);
	}
}

static int create_inside(pid_t pid, unsigned int flags, pid_t *tid,
			 struct rwpi_verdict *verdict, struct rwp_error *err)
{
	int fd = -1;

	/* The instruction may have gone between the search and the stop. */
	for (int tries = 0; tries < MAX_TRIES; tries++) {
		struct rwp_error why = { 0 };

		*verdict = (struct rwpi_verdict){ 0 };
		fd = try_threads(pid, flags, tid, verdict, &why);
		if (why.code) {
			if (err)
				*err = why;
			return why.code;
		}
		if (fd != -EAGAIN)
			break;
	}
	return fd >= 0 ? fd : explain(pid, verdict, flags, err);
}

static int attach(pid_t pid, int pidfd, unsigned int flags, struct rwp **out,
		  struct rwp_error *err)
{
	struct rwpi_verdict verdict;
	pid_t tid = pid;
	int fd, ret = rwpi_check_target(pid, err);

	if (ret)
		return ret;
	fd = create_inside(pid, flags, &tid, &verdict, err);
	if (fd < 0)
		return fd;
	ret = rwpi_wrap(fd, pidfd, pid, tid, flags, out, err);
	if (ret)
		rwpi_close(fd);
	else
		(*out)->user_mode_only = verdict.user_mode_only;
	return ret;
}

int rwp_attach(pid_t pid, unsigned int flags, struct rwp **out,
	       struct rwp_error *err)
{
	int pidfd, ret = rwpi_check_flags(flags, err);

	if (ret)
		return ret;
	if (pid <= 0)
		return rwpi_error(err, -ESRCH, "there is no process %d",
				  (int)pid);
	/* First of all: from here on nothing else can take its number. */
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0 && errno == ESRCH)
		return rwpi_error(err, -ESRCH, "there is no process %d",
				  (int)pid);
	/* A thread's number is refused here, and explained below. */
	if (pidfd < 0 && errno != EINVAL && errno != ENOENT)
		return rwpi_fail(err, -errno, "process %d", (int)pid);
	ret = attach(pid, pidfd, flags, out, err);
	if (ret)
		rwpi_close(pidfd);
	return ret;
}

#else

int rwp_attach(pid_t pid, unsigned int flags, struct rwp **out,
	       struct rwp_error *err)
{
	(void)flags;
	(void)out;
	return rwpi_error(
		err, -EOPNOTSUPP,
		"cannot attach to process %d: there is code for x86-64 and arm64 only",
		(int)pid);
}

#endif
