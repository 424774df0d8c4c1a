// SPDX-License-Identifier: GPL-2.0
/*
 * Failures on purpose: each operation is done again and again, and the first, the
 * second, the third ... allocation or user copy in it fails, until nothing is left
 * to fail (/proc/thread-self/fail-nth). After each failure
 *
 *  - the content is what it was,
 *  - no armed page has lost its state, unless the operation was to end it,
 *  - the same call, made once more, works and has its whole effect.
 *
 * At the end no memory is leaked (kmemleak).
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "proof.h"

#define NPAGES		16UL
#define EACH_NTH	200
#define MAX_NTH		20000
#define DEBUGFS		"/sys/kernel/debug/"

static struct rwp r;
static int fail_nth;	/* of the thread that injects: the first one */
static char *other;	/* memory that is not registered */
static int pipefd[2], sink;

struct op {
	const char *name;
	enum rwp_kind kind;
	__u64 features, modes;
	/* Before it, the call itself: 0 or a negative errno, and after a success. */
	int (*prepare)(void);
	int (*call)(void);
	const char *(*check)(void);
	/* May the failed call have disarmed pages? */
	bool disarms;
};

static void debugfs(const char *name, const char *val)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), DEBUGFS "%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, val, strlen(val)) < 0)
		give_up("%s: %s", path, strerror(errno));
	close(fd);
}

static void set_nth(int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", nth);

	if (pwrite(fail_nth, text, len, 0) != len && nth)
		give_up("fail-nth: %s", strerror(errno));
}

/* Was there a failure? */
static bool injected(void)
{
	char text[16] = "";

	if (pread(fail_nth, text, sizeof(text) - 1, 0) <= 0)
		return true;
	return !atoi(text);
}

static long armed(void)
{
	return rwp_count_bit57(&r, r.mem, r.len);
}

static const char *content(void)
{
	size_t i;

	/* In async mode, whatever is armed still resolves itself. */
	if (rwp_switch(&r, true))
		return "UFFDIO_SET_MODE";
	for (i = 0; i < r.npages; i++)
		if (!rwp_holds(&r, i))
			return "the content is another";
	return NULL;
}

static int arm_all(void)
{
	return rwp_arm(&r, r.mem, r.len);
}

static const char *all_armed(void)
{
	return armed() == (long)r.npages ? NULL : "not all is armed";
}

static const char *none_armed(void)
{
	return armed() ? "something is armed" : NULL;
}

static int nothing(void)
{
	return 0;
}

/* A part in the middle, so that the VMA is cut. */
static char *part(void)
{
	return r.npages > 4 ? rwp_page(&r, 4) : r.mem;
}

static size_t part_len(void)
{
	return r.npages > 8 ? 4 * r.psize : r.len;
}

static long part_pages(void)
{
	return part_len() / r.psize;
}

static int call_register(void)
{
	return rwp_register(r.uffd, part(), part_len(), RWP_RWP);
}

static const char *check_register(void)
{
	if (rwp_arm(&r, part(), part_len()))
		return "it cannot be armed";
	return armed() == part_pages() ? NULL : "not the part is armed";
}

static int call_unregister(void)
{
	return rwp_unregister(r.uffd, part(), part_len());
}

static const char *check_unregister(void)
{
	if (rwp_arm(&r, part(), r.psize) != -ENOENT)
		return "it is registered still";
	return armed() == (long)r.npages - part_pages() ? NULL : "wrong pages are armed";
}

static int call_resolve(void)
{
	return rwp_resolve(&r, r.mem, r.len);
}

static int call_switch(void)
{
	return rwp_switch(&r, !r.async);
}

static int call_scan(void)
{
	struct page_region region[4];
	struct pm_scan_arg arg = {
		.category_mask = PAGE_IS_ACCESSED, .return_mask = PAGE_IS_ACCESSED,
		.vec = (uintptr_t)region, .vec_len = ARRAY_SIZE(region),
	};
	long ret = rwp_scan(r.pagemap, r.mem, r.len, &arg);

	/* Half of them is armed. */
	if (ret >= 0 && (ret != 1 || region[0].start != (uintptr_t)r.mem + r.len / 2))
		give_up("the scan found %ld", ret);
	return ret < 0 ? ret : 0;
}

static int arm_half(void)
{
	return rwp_arm(&r, r.mem, r.len / 2);
}

static const char *half_armed(void)
{
	return armed() == (long)r.npages / 2 ? NULL : "not half of it is armed";
}

static int prepare_move(void)
{
	rwp_fill_page(other, PAGE, 2);
	madvise(rwp_page(&r, 2), PAGE, MADV_DONTNEED);
	return arm_all();
}

static int call_move(void)
{
	int err = rwp_move(r.uffd, rwp_page(&r, 2), other, PAGE);

	return err == -EAGAIN ? -ENOMEM : err;
}

static int call_copy(void)
{
	return rwp_copy(r.uffd, rwp_page(&r, 2), other, PAGE);
}

static const char *check_copy(void)
{
	return armed() == (long)r.npages - 1 ? NULL : "not the others are armed";
}

/* What the child finds is armed, where a context follows it, or ordinary. */
static int fork_and_look(long want)
{
	pid_t pid = fork();
	struct rwp c = r;
	int status;
	size_t i;

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		c.pagemap = open("/proc/self/pagemap", O_RDONLY);
		/* The context may be closed already, which ends it. */
		if (rwp_count_bit57(&c, r.mem, r.len) > want)
			_exit(1);
		for (i = 0; i < r.npages; i++)
			if (!rwp_holds(&c, i))
				_exit(2);
		_exit(0);
	}
	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (status)
		give_up("fork: the child ended with %#x", status);
	return 0;
}

static int call_fork(void)
{
	return fork_and_look(0);
}

static int call_fork_followed(void)
{
	return fork_and_look(r.npages);
}

/* The event is read, and the child's context closed, by somebody else. */
static void *read_events(void *arg)
{
	struct uffd_msg msg;
	struct pollfd pfd[2] = { { .fd = r.uffd, .events = POLLIN },
				 { .fd = pipefd[0], .events = POLLIN } };

	while (poll(pfd, 2, -1) > 0 && !pfd[1].revents)
		if (rwp_read(r.uffd, &msg) == 1 && msg.event == UFFD_EVENT_FORK)
			close(msg.arg.fork.ufd);
	return arg;
}

static pthread_t events;

static int prepare_followed(void)
{
	if (pipe(pipefd) || pthread_create(&events, NULL, read_events, NULL))
		give_up("no thread");
	return arm_all();
}

static const char *check_followed(void)
{
	if (write(pipefd[1], "", 1) != 1 || pthread_join(events, NULL))
		return "the events";
	close(pipefd[0]);
	close(pipefd[1]);
	return all_armed();
}

/* The kernel reads armed pages for us, which resolves them. */
static int call_write(void)
{
	ssize_t ret = pwrite(sink, r.mem, r.len, 0);

	return ret == (ssize_t)r.len ? 0 : ret < 0 ? -errno : -EFAULT;
}

static int prepare_write(void)
{
	if (!sink)
		sink = memfd_create("sink", MFD_CLOEXEC);
	return rwp_switch(&r, true) ? -EINVAL : arm_all();
}

/* A child has the pages, too, and is made to keep them until all is over. */
static pid_t sharer;

static int prepare_cow(void)
{
	sharer = fork();
	if (!sharer) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return rwp_switch(&r, true) ? -EINVAL : arm_all();
}

/* A store by the kernel: it needs a page to copy to. */
static int call_cow(void)
{
	int fd = open("/proc/self/stat", O_RDONLY), err = 0;
	char *p = rwp_page(&r, 3);

	if (fd < 0)
		return -errno;
	/* The first word is free for this. */
	if (read(fd, p, 4) != 4)
		err = -EFAULT;
	close(fd);
	return err;
}

static const char *check_cow(void)
{
	kill(sharer, SIGKILL);
	waitpid(sharer, NULL, 0);
	return armed() == (long)r.npages - 1 ? NULL : "not the others are armed";
}

static int call_mprotect(void)
{
	int err = mprotect(part(), part_len(), PROT_READ) ? -errno : 0;

	if (!err)
		err = mprotect(part(), part_len(), PROT_READ | PROT_WRITE) ? -errno : 0;
	return err;
}

static int call_munmap(void)
{
	return munmap(part(), part_len()) ? -errno : 0;
}

static const char *check_munmap(void)
{
	if (mmap(part(), part_len(), PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE |
		 MAP_ANONYMOUS, -1, 0) != part())
		return "mmap";
	for (long k = 0; k < part_pages(); k++)
		rwp_fill_page(part() + k * r.psize, r.psize, 4 + k);
	return armed() == (long)r.npages - part_pages() ? NULL : "wrong pages are armed";
}

static char *elsewhere;

static int call_mremap(void)
{
	if (!elsewhere)
		elsewhere = rwp_reserve(part_len(), PAGE);
	return mremap(part(), part_len(), part_len(), MREMAP_MAYMOVE | MREMAP_FIXED,
		      elsewhere) == elsewhere ? 0 : -errno;
}

static const char *check_mremap(void)
{
	if (rwp_count_bit57(&r, elsewhere, part_len()))
		return "armed where nothing is registered";
	if (mremap(elsewhere, part_len(), part_len(), MREMAP_MAYMOVE | MREMAP_FIXED,
		   part()) != part())
		return "mremap back";
	return armed() == (long)r.npages - part_pages() ? NULL : "wrong pages are armed";
}

static int call_api(void)
{
	int fd = rwp_open(UFFD_FEATURE_RWP | ASYNC);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

#define RWP	UFFD_FEATURE_RWP
#define FORK	UFFD_FEATURE_EVENT_FORK

static const struct op ops[] = {
	{ "api", RWP_ANON, RWP, RWP_RWP, arm_all, call_api, all_armed, false },
	{ "register", RWP_ANON, RWP, 0, nothing, call_register, check_register, false },
	{ "register", RWP_SHMEM, RWP, 0, nothing, call_register, check_register, false },
	{ "register", RWP_HUGETLB, RWP, 0, nothing, call_register, check_register, false },
	{ "unregister", RWP_ANON, RWP, RWP_RWP, arm_all, call_unregister, check_unregister, false },
	{ "unregister", RWP_SHMEM, RWP, RWP_RWP, arm_all, call_unregister, check_unregister,
	  false },
	{ "arm", RWP_ANON, RWP, RWP_RWP, nothing, arm_all, all_armed, false },
	{ "arm", RWP_THP, RWP, RWP_RWP, nothing, arm_all, all_armed, false },
	{ "arm", RWP_SHMEM, RWP, RWP_RWP, nothing, arm_all, all_armed, false },
	{ "arm", RWP_SHMEM_THP, RWP, RWP_RWP, nothing, arm_all, all_armed, false },
	{ "arm", RWP_HUGETLB, RWP, RWP_RWP, nothing, arm_all, all_armed, false },
	{ "resolve", RWP_ANON, RWP, RWP_RWP, arm_all, call_resolve, none_armed, true },
	{ "resolve", RWP_SHMEM, RWP, RWP_RWP, arm_all, call_resolve, none_armed, true },
	{ "switch", RWP_ANON, RWP, RWP_RWP, arm_all, call_switch, all_armed, false },
	{ "scan", RWP_ANON, RWP, RWP_RWP, arm_half, call_scan, half_armed, false },
	{ "scan", RWP_SHMEM, RWP, RWP_RWP, arm_half, call_scan, half_armed, false },
	{ "move", RWP_ANON, RWP, RWP_RWP, prepare_move, call_move, all_armed, false },
	{ "copy", RWP_ANON, RWP, RWP_RWP, prepare_move, call_copy, check_copy, false },
	{ "fork", RWP_ANON, RWP, RWP_RWP, arm_all, call_fork, all_armed, false },
	{ "fork", RWP_SHMEM, RWP, RWP_RWP, arm_all, call_fork, all_armed, false },
	{ "fork, followed", RWP_ANON, RWP | FORK, RWP_RWP, prepare_followed, call_fork_followed,
	  check_followed, false },
	{ "fork, followed", RWP_HUGETLB, RWP | FORK, RWP_RWP, prepare_followed,
	  call_fork_followed, check_followed, false },
	{ "write from it", RWP_ANON, RWP, RWP_RWP, prepare_write, call_write, none_armed, true },
	{ "copy-on-write", RWP_ANON, RWP, RWP_RWP, prepare_cow, call_cow, check_cow, true },
	{ "mprotect", RWP_ANON, RWP, RWP_RWP, arm_all, call_mprotect, all_armed, false },
	{ "munmap", RWP_ANON, RWP, RWP_RWP, arm_all, call_munmap, check_munmap, false },
	{ "mremap", RWP_ANON, RWP, RWP_RWP, arm_all, call_mremap, check_mremap, false },
};

static const char * const kinds[] = {
	[RWP_ANON] = "anon", [RWP_THP] = "thp", [RWP_SHMEM] = "shmem",
	[RWP_SHMEM_THP] = "shmem-thp", [RWP_HUGETLB] = "hugetlb",
};

/* 1: a failure was injected; 0: there was none to be had any more. */
static int one(const struct op *op, int nth, const char **why, int *failures_seen)
{
	size_t npages = op->kind == RWP_HUGETLB ? 2 : NPAGES;
	long before;
	bool inj;
	int err;

	if (op->modes)
		err = rwp_setup_kind(&r, op->kind, npages, op->features, op->modes);
	else
		err = rwp_init_kind(&r, op->kind, npages, op->features);
	if (err)
		give_up("%s: %s", op->name, strerror(-err));
	err = op->prepare();
	if (err)
		give_up("%s: prepare: %s", op->name, strerror(-err));
	before = armed();
	set_nth(nth);
	err = op->call();
	inj = injected();
	set_nth(0);
	*failures_seen += !!err;
	if (err && !inj)
		*why = strerror(-err);
	if (err && !op->disarms && armed() < before)
		*why = "armed no more, though the call failed";
	if (err && !*why) {
		/* Once more, undisturbed. Where a part was done that is fine, too. */
		err = op->call();
		if (err && !(err == -EEXIST && op->call == call_copy))
			*why = "it does not work afterwards, either";
	}
	if (!*why)
		*why = op->check();
	if (!*why)
		*why = content();
	rwp_exit(&r);
	rwp_unmap(&r);
	return inj;
}

static void run(const struct op *op)
{
	const char *why = NULL;
	int nth, tried = 0, failed = 0;

	/* fork() allocates more often than there is time to fail each of them. */
	for (nth = 1; nth < MAX_NTH && !why; nth += 1 + nth / EACH_NTH * nth / 20)
		if (one(op, nth, &why, &failed))
			tried++;
		else
			break;
	if (!why && nth >= MAX_NTH)
		why = "there is no end of it";
	result(!why && tried, "%s, %s: %d failures injected, %d calls failed%s%s", op->name,
	       kinds[op->kind], tried, failed, why ? ": " : "", why ? why : "");
}

static void leaks(void)
{
	__s64 begin = rwp_now_ms();
	char text[4096];
	ssize_t n = 0;
	int fd;

	/* It only believes in what is older than five seconds. */
	while (rwp_now_ms() < begin + 6000)
		rwp_look_again();
	debugfs("kmemleak", "scan");
	debugfs("kmemleak", "scan");
	fd = open(DEBUGFS "kmemleak", O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		n = read(fd, text, sizeof(text) - 1);
	if (n > 0) {
		text[n] = '\0';
		printf("%s\n", text);
	}
	result(fd >= 0 && !n, "nothing is leaked");
	close(fd);
}

int main(int argc, char **argv)
{
	static const char * const attrs[] = { "failslab", "fail_page_alloc", "fail_usercopy" };
	char name[64];
	size_t k;

	for (k = 0; k < ARRAY_SIZE(attrs); k++) {
		snprintf(name, sizeof(name), "%s/verbose", attrs[k]);
		debugfs(name, "0");
	}
	debugfs("failslab/ignore-gfp-wait", "N");
	debugfs("fail_page_alloc/ignore-gfp-wait", "N");
	debugfs("fail_page_alloc/ignore-gfp-highmem", "N");
	debugfs("fail_page_alloc/min-order", "0");
	fail_nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (fail_nth < 0)
		give_up("no fail-nth");
	debugfs("kmemleak", "scan");
	debugfs("kmemleak", "clear");
	other = rwp_mmap(1, PROT_READ | PROT_WRITE);
	for (k = 0; k < ARRAY_SIZE(ops); k++)
		if (argc < 2 || !strcmp(argv[1], ops[k].name))
			run(&ops[k]);
	leaks();
	return plan();
}
