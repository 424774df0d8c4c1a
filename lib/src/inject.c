// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * One thread of the target is stopped, makes two or three system calls that are
 * not its own, and goes on as if nothing had been.
 *
 * The stop is the one of PTRACE_INTERRUPT: on the way back to user space, where
 * the registers are complete, and before the kernel decides how an interrupted
 * system call goes on. The thread is let go from the same kind of stop with the
 * same registers, so that the kernel takes that decision as if for the first
 * time. Signals wait meanwhile.
 *
 * Nothing is written to the target's memory. The window in which it could not go
 * on by itself lies between the first change of its registers and the last; who
 * dies in between leaves it broken. Hence the process of its own: it is in no
 * process group or session of the caller's, blocks every signal and lives on
 * when the caller is killed. Only who kills this very process within that
 * window, a fraction of a millisecond, does harm. PTRACE_O_EXITKILL, which would
 * kill the target then, is not used.
 */
#include "inject.h"

#include "arch.h"

#if RWPI_CAN_ATTACH
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"
#include "target.h"

#define STOP_LIMIT (2 * NSEC_PER_SEC)

/* Not in every libc's headers. */
#define GET_RSEQ_CONFIGURATION 0x420f
#define GET_SYSCALL_USER_DISPATCH 0x4211
#define OPTION_SUSPEND_SECCOMP (1L << 21)
#define STOP_EVENT 128

#define SYSCALL_STOP (SIGTRAP | 0x80) /* with PTRACE_O_TRACESYSGOOD */

struct injection {
	const struct rwpi_job *job;
	pid_t tid;
	rwpi_regs regs; /* to be given back */
	uint64_t sigmask; /* likewise */
	bool changed; /* the thread does not have them at the moment */
	uint64_t late; /* signals that came at the wrong time, to be sent again */
	bool fault; /* the call made here caused one */
};

static long request(struct injection *in, int what, void *addr, void *data)
{
	return ptrace(what, in->tid, addr, data) < 0 ? -errno : 0;
}

/* 0: stopped, -ESRCH: gone, -ETIMEDOUT. @limit 0: wait as long as it takes. */
static int wait_for_stop(struct injection *in, int *status, uint64_t limit)
{
	uint64_t deadline = rwpi_now() + limit;
	struct timespec nap = { .tv_nsec = 50000 };

	for (;;) {
		pid_t pid = waitpid(in->tid, status,
				    __WALL | (limit ? WNOHANG : 0));

		if (pid == in->tid)
			return WIFSTOPPED(*status) ? 0 : -ESRCH;
		if (pid < 0 && errno != EINTR)
			return -ESRCH;
		if (limit && rwpi_now() > deadline)
			return -ETIMEDOUT;
		if (!pid)
			nanosleep(&nap, NULL);
	}
}

static bool is_interrupt_stop(int status)
{
	return status >> 16 == STOP_EVENT;
}

/*
 * What to pass on at a stop. A signal that is on its way is delivered, unless
 * the registers are not the thread's own: its handler would run in the middle of
 * what is done here. SIGSTOP cannot wait, and does not hinder either.
 */
static long signal_to_pass(struct injection *in, int status)
{
	int sig = WSTOPSIG(status);
	siginfo_t info;

	if (sig == SYSCALL_STOP || status >> 16)
		return 0;
	if (!in->changed || sig == SIGSTOP)
		return sig;
	if (!request(in, PTRACE_GETSIGINFO, NULL, &info) && info.si_code <= 0)
		in->late |= 1ULL << (sig - 1);
	else
		in->fault = true;
	return 0;
}

/* Go on until the stop that PTRACE_INTERRUPT asks for. */
static int wait_for_interrupt(struct injection *in, uint64_t limit)
{
	int status, ret;

	while (!(ret = wait_for_stop(in, &status, limit))) {
		if (is_interrupt_stop(status))
			return 0;
		ret = request(in, PTRACE_CONT, NULL,
			      (void *)signal_to_pass(in, status));
		if (ret)
			return ret;
	}
	return ret;
}

static int get_regs(struct injection *in, rwpi_regs *regs)
{
	struct iovec iov = { .iov_base = regs, .iov_len = sizeof(*regs) };
	int ret = request(in, PTRACE_GETREGSET, (void *)NT_PRSTATUS, &iov);

	/* A 32-bit thread has fewer of them. */
	return ret || iov.iov_len == sizeof(*regs) ? ret : -ENOEXEC;
}

static int set_regs(struct injection *in, rwpi_regs *regs)
{
	struct iovec iov = { .iov_base = regs, .iov_len = sizeof(*regs) };

	return request(in, PTRACE_SETREGSET, (void *)NT_PRSTATUS, &iov);
}

/*
 * All signals wait, but for those that an instruction can cause: a blocked one
 * of those kills, an unblocked one stops here first.
 */
static int block_signals(struct injection *in)
{
	static const int faults[] = { SIGSEGV, SIGBUS,	SIGILL,
				      SIGFPE,  SIGTRAP, SIGSYS };
	uint64_t all = ~0ULL;
	int ret = request(in, PTRACE_GETSIGMASK, (void *)sizeof(in->sigmask),
			  &in->sigmask);

	if (ret)
		return ret;
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		all &= ~(1ULL << (faults[i] - 1));
	return request(in, PTRACE_SETSIGMASK, (void *)sizeof(all), &all);
}

/* Run from stop to stop until the system call has been made. */
static int run_call(struct injection *in)
{
	int status, ret, stops = 0;
	long sig = 0;

	while (stops < 2) {
		ret = request(in, PTRACE_SYSCALL, NULL, (void *)sig);
		if (!ret)
			ret = wait_for_stop(in, &status, 0);
		if (ret)
			return ret;
		if (WSTOPSIG(status) == SYSCALL_STOP)
			stops++;
		sig = signal_to_pass(in, status);
		if (in->fault)
			return -EFAULT;
	}
	return 0;
}

/* Returns what the call returned: a negative errno, or what is not negative. */
static int64_t call(struct injection *in, long nr, uint64_t arg)
{
	rwpi_regs regs = in->regs;
	int ret;

	rwpi_set_call(&regs, in->job->insn, nr, arg);
	in->changed = true;
	ret = set_regs(in, &regs);
	if (!ret)
		ret = run_call(in);
	if (!ret)
		ret = get_regs(in, &regs);
	return ret ? ret : rwpi_call_result(&regs);
}

static bool peek(struct injection *in, uint64_t addr, void *data, size_t len)
{
	int mem = open(in->job->mem, O_RDONLY | O_CLOEXEC);
	bool ok = mem >= 0 && pread(mem, data, len, addr) == (ssize_t)len;

	rwpi_close(mem);
	return ok;
}

/*
 * A restartable sequence is aborted by the kernel when the thread was away in
 * the middle of it. The calls made here hide from the kernel that it was in one,
 * so the abort falls to us.
 */
static void abort_rseq(struct injection *in)
{
	struct {
		uint64_t pointer;
		uint32_t size, signature, flags, pad;
	} conf = { 0 };
	struct {
		uint32_t version, flags;
		uint64_t start, len, abort;
	} section;
	uint64_t addr, ip = rwpi_get_ip(&in->regs);

	/* The kernel returns the size; older ones do not know the request. */
	if (ptrace(GET_RSEQ_CONFIGURATION, in->tid, (void *)sizeof(conf),
		   &conf) <= 0 ||
	    !conf.pointer)
		return;
	/* After two 32-bit members for the processor's number. */
	if (!peek(in, conf.pointer + 8, &addr, sizeof(addr)) || !addr ||
	    !peek(in, addr, &section, sizeof(section)))
		return;
	if (ip - section.start < section.len)
		rwpi_set_ip(&in->regs, section.abort);
}

static bool dispatches_syscalls(struct injection *in)
{
	uint64_t conf[4] = { 0 };

	return !request(in, GET_SYSCALL_USER_DISPATCH, (void *)sizeof(conf),
			conf) &&
	       conf[0];
}

/* With the thread stopped: may it make the call, and unharmed? */
static int check(struct injection *in, struct rwpi_verdict *verdict)
{
	unsigned char code[8];
	struct rwpi_status status;
	int ret;

	verdict->stage = RWPI_CHECK;
	ret = rwpi_read_status(in->job->status, &status);
	if (ret)
		return ret;
	if (status.seccomp && !in->job->suspend_seccomp) {
		verdict->stage = RWPI_SECCOMP;
		return -EPERM;
	}
	if (dispatches_syscalls(in)) {
		verdict->stage = RWPI_DISPATCH;
		return -EPERM;
	}
	/* It has run on since the instruction was found. */
	if (!peek(in, in->job->insn, code, rwpi_syscall_insn_len) ||
	    memcmp(code, rwpi_syscall_insn, rwpi_syscall_insn_len))
		return -EAGAIN;
	return 0;
}

/* Returns the descriptor, ours, or a negative errno. */
static int fetch(struct injection *in, struct rwpi_verdict *verdict)
{
	uint64_t flags = O_CLOEXEC | O_NONBLOCK;
	int64_t theirs;
	int fd;

	verdict->stage = RWPI_CREATE;
	theirs = call(in, SYS_userfaultfd, flags);
	if (theirs == -EPERM) {
		theirs = call(in, SYS_userfaultfd, flags | UFFD_USER_MODE_ONLY);
		verdict->user_mode_only = true;
	}
	if (theirs < 0)
		return theirs;

	verdict->stage = RWPI_FETCH;
	fd = syscall(SYS_pidfd_getfd, in->job->pidfd, (int)theirs, 0);
	if (fd < 0)
		fd = -errno;
	/* Whether it could be fetched or not: it must not stay there. */
	call(in, SYS_close, theirs);
	return fd;
}

static int stop_thread(struct injection *in, struct rwpi_verdict *verdict)
{
	long options = PTRACE_O_TRACESYSGOOD;
	int ret;

	if (in->job->suspend_seccomp)
		options |= OPTION_SUSPEND_SECCOMP;
	verdict->stage = RWPI_SEIZE;
	ret = request(in, PTRACE_SEIZE, NULL, (void *)options);
	if (ret)
		return ret;
	verdict->stage = RWPI_STOP;
	ret = request(in, PTRACE_INTERRUPT, NULL, NULL);
	/*
	 * Where this fails the thread is let go by our end: the kernel takes
	 * back the interruption.
	 */
	return ret ? ret : wait_for_interrupt(in, STOP_LIMIT);
}

/* Back to the state it was found in, by the stop it was found in. */
static void let_go(struct injection *in)
{
	if (in->changed &&
	    (request(in, PTRACE_INTERRUPT, NULL, NULL) ||
	     request(in, PTRACE_CONT, NULL, NULL) || wait_for_interrupt(in, 0)))
		return;
	set_regs(in, &in->regs);
	if (in->changed)
		request(in, PTRACE_SETSIGMASK, (void *)sizeof(in->sigmask),
			&in->sigmask);
	request(in, PTRACE_DETACH, NULL, NULL);
	for (int sig = 1; in->late; sig++, in->late >>= 1)
		if (in->late & 1)
			syscall(SYS_tkill, in->tid, sig);
}

static int inject(struct injection *in, struct rwpi_verdict *verdict)
{
	int ret = stop_thread(in, verdict);

	if (ret)
		return ret;
	verdict->stage = RWPI_CHECK;
	ret = get_regs(in, &in->regs);
	if (ret) {
		request(in, PTRACE_DETACH, NULL, NULL);
		return ret;
	}
	/* Even if nothing comes of it: the stop alone has interrupted a call. */
	rwpi_restart_call(&in->regs);
	ret = check(in, verdict);
	if (!ret) {
		abort_rseq(in);
		ret = block_signals(in);
		if (!ret)
			ret = fetch(in, verdict);
	}
	let_go(in);
	return ret;
}

static void send_verdict(int sock, struct rwpi_verdict *verdict, int fd)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { verdict, sizeof(*verdict) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;

	if (fd >= 0) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	}
	while (sendmsg(sock, &msg, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

/*
 * Out of reach of a signal to the caller's process group or terminal, and, where
 * that is permitted, of the kernel's when memory is short.
 */
static void hide(void)
{
	static const char never[] = "-1000";
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : write(fd, never, sizeof(never) - 1);

	(void)len; /* not permitted: one like any other, then */
	rwpi_close(fd);
	setsid();
}

void rwpi_inject(const struct rwpi_job *job)
{
	struct injection in = { .job = job, .tid = job->tid };
	struct rwpi_verdict verdict = { 0 };
	int fd;

	hide();
	fd = inject(&in, &verdict);
	if (fd >= 0)
		verdict.stage = RWPI_DONE;
	else
		verdict.code = fd;
	send_verdict(job->sock, &verdict, fd);
}

#endif
