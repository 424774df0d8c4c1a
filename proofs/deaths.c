// SPDX-License-Identifier: GPL-2.0
/*
 * Deaths: the process that is tracked is killed at every step of its life, by a
 * signal or by the OOM killer, and its manager goes on; the manager is killed while
 * threads wait for it. Nothing hangs, and everybody is told what there is to know.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "proof.h"

#define NPAGES	32UL
#define LEN	(NPAGES * PAGE)
#define LIMIT	20000
#define CGROUP	"/tmp/cgroup/"

/* What the tracked process has come to when it is killed. */
enum step { OPENED, REGISTERED, ARMED, TOUCHING, BLOCKED, FORKED, NR_STEPS };

static const char * const step_names[NR_STEPS] = {
	"opened", "registered", "armed", "touching", "blocked", "forked",
};

enum death { BY_SIGNAL, BY_OOM, NR_DEATHS };

struct tracked {
	pid_t pid;
	int uffd, sock;
	char *mem;
};

static void *touch_all(void *arg)
{
	volatile char *p = arg;

	for (;;)
		for (unsigned long k = 0; k < NPAGES; k++)
			p[k * PAGE] += 1;
	return arg;
}

static void group_file(const char *name, const char *val);

static void live(int sock, enum step step, enum death death)
{
	__u64 features = UFFD_FEATURE_RWP;
	struct rwp r = { };
	pthread_t thread;
	char *mem;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (death == BY_OOM)
		group_file("tracked/cgroup.procs", "0");
	mem = rwp_mmap(NPAGES, PROT_READ | PROT_WRITE);
	if (step == TOUCHING)
		features |= ASYNC;
	if (step == FORKED)
		features |= UFFD_FEATURE_EVENT_FORK;
	r.uffd = rwp_open(features);
	memset(mem, 1, LEN);
	if (r.uffd < 0 || (step >= REGISTERED && rwp_register(r.uffd, mem, LEN, RWP_RWP)) ||
	    (step >= ARMED && rwp_arm(&r, mem, LEN)))
		_exit(1);
	if (write(sock, &mem, sizeof(mem)) != sizeof(mem) || rwp_send_fd(sock, r.uffd))
		_exit(1);
	close(r.uffd);
	if (step == TOUCHING || step == BLOCKED)
		for (int k = 0; k < 3; k++)
			pthread_create(&thread, NULL, touch_all, mem);
	/* Waits until the event is read: it never is. */
	if (step == FORKED && !fork())
		_exit(0);
	for (;;)
		pause();
}

static void start(struct tracked *t, enum step step, enum death death)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv))
		give_up("socketpair: %s", strerror(errno));
	t->pid = fork();
	if (!t->pid) {
		close(sv[0]);
		live(sv[1], step, death);
	}
	close(sv[1]);
	t->sock = sv[0];
	if (read(t->sock, &t->mem, sizeof(t->mem)) != sizeof(t->mem))
		give_up("the tracked process did not start");
	t->uffd = rwp_recv_fd(t->sock);
	if (t->uffd < 0)
		give_up("no context: %s", strerror(-t->uffd));
	/* Until it has come to where it is to die. */
	if (step == BLOCKED)
		rwp_wait_waiters(t->uffd, 3);
	if (step == FORKED)
		rwp_wait_readable(t->uffd);
}

static void console_level(int level)
{
	rwp_write_long("/proc/sys/kernel/printk", level);
}

static void group_file(const char *name, const char *val)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), CGROUP "%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, val, strlen(val)) < 0)
		give_up("%s: %s", path, strerror(errno));
	close(fd);
}

/* A memory control group of its own for who is to be killed. */
static void make_group(void)
{
	mkdir(CGROUP, 0700);
	if (mount("none", CGROUP, "cgroup2", 0, NULL))
		give_up("cgroup2: %s", strerror(errno));
	group_file("cgroup.subtree_control", "+memory");
	if (mkdir(CGROUP "tracked", 0700) && errno != EEXIST)
		give_up("no control group: %s", strerror(errno));
	group_file("tracked/memory.swap.max", "0");
}

/* What a manager does, while its process dies, and after. */
static const char *manage(struct tracked *t, bool dead)
{
	__u64 how[] = { ARM, 0, UFFDIO_RWPROTECT_MODE_DONTWAKE };
	unsigned long pending, total;
	struct uffd_msg msg;
	int err, k;

	for (k = 0; k < 3; k++) {
		err = rwp_set_mode(t->uffd, k & 1 ? ASYNC : 0, k & 1 ? 0 : ASYNC);
		if (err != -ESRCH && (dead || err))
			return "UFFDIO_SET_MODE";
		err = rwp_protect(t->uffd, (uintptr_t)t->mem, LEN, how[k]);
		if (err != -ESRCH && (dead || (err && err != -ENOENT && err != -EAGAIN)))
			return "UFFDIO_RWPROTECT";
		err = rwp_wake(t->uffd, t->mem, LEN);
		if (err)
			return "UFFDIO_WAKE";
		err = rwp_register(t->uffd, t->mem, LEN, RWP_RWP);
		if (dead && err != -ENOMEM)
			return "UFFDIO_REGISTER";
		err = rwp_copy(t->uffd, t->mem, &msg, PAGE);
		if (dead && err != -ESRCH)
			return "UFFDIO_COPY";
		if (rwp_waiters(t->uffd, &pending, &total) || (dead && total))
			return "fdinfo";
		err = rwp_read(t->uffd, &msg);
		if (err < 0 || (dead && err))
			return "a message";
	}
	return NULL;
}

static void tracked_dies(enum step step, enum death death)
{
	struct tracked t;
	const char *why;
	int status, err;
	__s64 end;

	start(&t, step, death);
	/* No page is left to it, and there is no swap: it is killed at once. */
	if (death == BY_OOM)
		group_file("tracked/memory.max", "0");
	else
		kill(t.pid, SIGKILL);
	why = manage(&t, false);
	end = rwp_now_ms() + LIMIT;
	while (!(err = waitpid(t.pid, &status, WNOHANG)) && rwp_now_ms() < end)
		rwp_look_again();
	if (err != t.pid)
		why = "it does not die";
	else if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		why = "it died of something else";
	/* Its memory may be held for a moment by who looks at it from outside. */
	while (!why && rwp_set_mode(t.uffd, 0, 0) != -ESRCH)
		if (rwp_now_ms() > end)
			why = "its memory does not go away";
	if (!why)
		why = manage(&t, true);
	if (death == BY_OOM)
		group_file("tracked/memory.max", "max");
	close(t.uffd);
	close(t.sock);
	result(!why, "the tracked process, %s, dies by %s%s%s", step_names[step],
	       death == BY_OOM ? "the OOM killer" : "SIGKILL", why ? ": " : "", why ? why : "");
}

struct life {
	int started;
	unsigned long touched;
	int armed, wrong;
};

/* Its threads wait for a manager that is killed: they all get on. */
static void survivor(int sock, struct life *life)
{
	struct rwp r = { .psize = PAGE, .pagemap = open("/proc/self/pagemap", O_RDONLY) };
	char *mem = rwp_mmap(NPAGES, PROT_READ | PROT_WRITE);
	struct job job[4];
	unsigned long k;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memset(mem, 1, LEN);
	r.uffd = rwp_open(UFFD_FEATURE_RWP);
	if (rwp_register(r.uffd, mem, LEN, RWP_RWP) || rwp_arm(&r, mem, LEN) ||
	    rwp_send_fd(sock, r.uffd))
		_exit(1);
	close(r.uffd);
	for (k = 0; k < 4; k++)
		if (job_start(&job[k], rwp_store, mem + k * PAGE))
			_exit(1);
	life->started = 1;
	for (k = 0; k < 4; k++)
		if (job_join(&job[k]))
			_exit(2);
	life->armed = rwp_count_bit57(&r, mem, LEN);
	for (k = 0; k < NPAGES; k++)
		life->wrong += mem[k * PAGE + 1] != 1 ||
			       mem[k * PAGE] != (k < 4 ? (char)RWP_STAMP : 1);
	_exit(0);
}

/* @answers: some messages are read, and never answered, before it dies. */
static void manager_dies(int answers)
{
	struct life *life = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
				 -1, 0);
	int sv[2], back[2], status, k, uffd;
	struct uffd_msg msg;
	pid_t pid, manager;
	const char *why = NULL;
	char byte;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv) || pipe(back))
		give_up("socketpair: %s", strerror(errno));
	pid = fork();
	if (!pid)
		survivor(sv[1], life);
	manager = fork();
	if (!manager) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		uffd = rwp_recv_fd(sv[0]);
		rwp_wait_waiters(uffd, 4);
		for (k = 0; k < answers; k++)
			if (rwp_read(uffd, &msg) != 1)
				_exit(1);
		if (write(back[1], "", 1) != 1)
			_exit(1);
		/* It dies in the middle of its work. */
		for (;;)
			rwp_set_mode(uffd, 0, ASYNC);
	}
	close(sv[0]);
	close(sv[1]);
	close(back[1]);
	if (read(back[0], &byte, 1) != 1)
		why = "the manager did not start";
	kill(manager, SIGKILL);
	waitpid(manager, NULL, 0);
	if (waitpid(pid, &status, 0) != pid || status)
		why = "a thread waits on";
	else if (life->armed || life->wrong)
		why = "the memory is not what it was";
	close(back[0]);
	munmap(life, PAGE);
	result(!why, "the manager dies, %d messages read%s%s", answers, why ? ": " : "",
	       why ? why : "");
}

int main(int argc, char **argv)
{
	long before = rwp_read_long("/proc/sys/kernel/tainted");
	int step, death, k, deaths = argc > 1 && !strcmp(argv[1], "-s") ? 1 : NR_DEATHS;

	for (death = 0; death < deaths; death++) {
		/* What the OOM killer prints looks like a splat. */
		if (death == BY_OOM) {
			console_level(4);
			make_group();
		}
		for (step = 0; step < NR_STEPS; step++)
			tracked_dies(step, death);
	}
	console_level(7);
	for (k = 0; k <= 4; k += 2)
		manager_dies(k);
	result(rwp_read_long("/proc/sys/kernel/tainted") == before, "no splat");
	return plan();
}
