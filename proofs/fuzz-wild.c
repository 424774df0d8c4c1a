// SPDX-License-Identifier: GPL-2.0
/*
 * The wild part of the fuzzer: threads of one process call anything, at random and
 * at once, on a few contexts and one stretch of memory, while others touch it, and
 * a server answers what is asked somehow. Nobody knows what each call has to
 * answer, but
 *
 *  - none may answer what it never can (may_give()),
 *  - nothing may hang,
 *  - no page may hold what nobody has written,
 *  - when all is over and the contexts are closed, no page is armed, and each can
 *    be accessed.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "fuzz.h"

#define PAGE		4096UL
#define NPAGES_WILD	96
#define LEN		(NPAGES_WILD * PAGE)
/*
 * With one bit flipped, an address here is not that of any other memory of ours: who
 * answers must not wait for itself, on a stack of its own that is tracked.
 */
#define PLACE		0x2a5a00000000UL
#define NR_THREADS	3
#define NR_CONTEXTS	3
#define PER_ROUND	5000
#define MAGIC		0x57494c4400000000ULL
#define STUCK		60000

struct wild {
	char *mem, *buf;
	int memfd;
	int uffd[NR_CONTEXTS];
	unsigned long todo;	/* calls of a thread */
	int running;
	bool stop;
	pthread_rwlock_t forking;
	struct fuzz_shared *fs;
	__u64 seed;
	char *failure;		/* shared with the parent */
};

static struct wild w = { .forking = PTHREAD_RWLOCK_INITIALIZER };
static __thread sigjmp_buf env;
static __thread volatile bool touching;

static void on_fault(int sig)
{
	if (touching)
		siglongjmp(env, sig);
	signal(sig, SIG_DFL);
}

static void finding(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w.failure, 512, fmt, ap);
	va_end(ap);
	_exit(1);
}

static bool known_word(__u64 word)
{
	return !word || word >> 32 == MAGIC >> 32;
}

/* The signal, or 0. */
static int touch_word(char *addr, bool write, __u64 word)
{
	int sig = sigsetjmp(env, 1);
	__u64 found;

	if (!sig) {
		touching = true;
		if (write)
			__atomic_store_n((__u64 *)addr, MAGIC | (word & 0xffffffff),
					 __ATOMIC_SEQ_CST);
		found = __atomic_load_n((__u64 *)addr, __ATOMIC_SEQ_CST);
		touching = false;
		if (!known_word(found))
			finding("%#lx holds %#llx", (unsigned long)addr, found);
	}
	touching = false;
	return sig;
}

static __u64 may_give(unsigned int cmd)
{
	__u64 common = OK | E(EFAULT) | E(EINVAL);

	switch (cmd) {
	case UFFDIO_SET_MODE:
	case UFFDIO_WAKE:
	case UFFDIO_API:
		return common;
	case UFFDIO_RWPROTECT:
	case UFFDIO_WRITEPROTECT:
		return common | E(ENOENT) | E(EAGAIN);
	case UFFDIO_REGISTER:
		return common | E(EBUSY) | E(EPERM);
	case UFFDIO_UNREGISTER:
		return common;
	case UFFDIO_MOVE:
		return common | E(ENOENT) | E(EAGAIN) | E(EBUSY) | E(EEXIST);
	default:
		return common | E(ENOENT) | E(EAGAIN) | E(EEXIST);
	}
}

/* Page aligned in the stretch; sometimes not, or not in it. */
static struct area wild_area(__u64 *s)
{
	__u64 r = mix(s);
	struct area a = { (uintptr_t)w.mem + r % NPAGES_WILD * PAGE, PAGE };

	if (r >> 8 & 1)
		a.len = PAGE * (1 + (r >> 16) % 24);
	if ((r >> 24) % 32 == 0)
		a.start ^= 1ULL << (r >> 32) % 64;
	if ((r >> 40) % 32 == 0)
		a.len ^= 1ULL << (r >> 48) % 64;
	return a;
}

static int one_of(__u64 *s, const int *list, int n)
{
	return list[mix(s) % n];
}

static __u64 wild_modes(__u64 *s)
{
	static const int list[] = { 8, 8, 8, 9, 9, 12, 13, 1, 2, 3, 4, 10, 15 };

	return mix(s) % 32 ? (__u64)one_of(s, list, ARRAY_SIZE(list)) : mix(s);
}

static void wild_ioctl(__u64 *s, int uffd)
{
	static const unsigned int cmds[] = {
		UFFDIO_RWPROTECT, UFFDIO_RWPROTECT, UFFDIO_RWPROTECT, UFFDIO_SET_MODE,
		UFFDIO_SET_MODE, UFFDIO_REGISTER, UFFDIO_REGISTER, UFFDIO_UNREGISTER,
		UFFDIO_WAKE, UFFDIO_COPY, UFFDIO_COPY, UFFDIO_ZEROPAGE, UFFDIO_CONTINUE,
		UFFDIO_WRITEPROTECT, UFFDIO_POISON, UFFDIO_MOVE, UFFDIO_MOVE, UFFDIO_API,
	};
	unsigned int cmd = cmds[mix(s) % ARRAY_SIZE(cmds)];
	struct area a = wild_area(s), b = wild_area(s);
	union arg arg = { .w = { a.start, a.len, mix(s) % 32 ? mix(s) % 4 : mix(s) } };
	__u64 bit = UFFD_FEATURE_RWP_ASYNC;
	int err;

	switch (cmd) {
	case UFFDIO_SET_MODE:
		arg.mode = (struct uffdio_set_mode) { mix(s) % 2 * bit, mix(s) % 2 * bit };
		break;
	case UFFDIO_REGISTER:
		arg.reg.mode = wild_modes(s);
		break;
	case UFFDIO_COPY:
		arg.copy = (struct uffdio_copy) { a.start, (uintptr_t)w.buf, a.len, mix(s) % 4, 0 };
		break;
	case UFFDIO_MOVE:
		arg.move = (struct uffdio_move) { a.start, b.start, a.len, mix(s) % 4, 0 };
		break;
	case UFFDIO_API:
		arg.api = (struct uffdio_api) { mix(s) % 4 ? UFFD_API : mix(s), mix(s), 0 };
		break;
	}
	err = ioctl(uffd, cmd, mix(s) % 64 ? (void *)&arg : (void *)(mix(s) << 47)) ? errno : 0;
	__atomic_add_fetch(&w.fs->errors[err < 64 ? err : 63], 1, __ATOMIC_RELAXED);
	/* Of another context's file, closed just now. */
	if (err == EBADF || err == ENOTTY)
		return;
	if (err >= 64 || !(may_give(cmd) & E(err)))
		finding("ioctl %#x gave %d (%#llx %#llx %#llx)", cmd, err, arg.w[0], arg.w[1],
			arg.w[2]);
}

static void wild_map(__u64 *s)
{
	static const int advice[] = {
		MADV_DONTNEED, MADV_DONTNEED, MADV_PAGEOUT, MADV_COLD, MADV_HUGEPAGE,
		MADV_NOHUGEPAGE, MADV_MERGEABLE, MADV_UNMERGEABLE, MADV_POPULATE_WRITE,
		MADV_POPULATE_READ, MADV_FREE, MADV_REMOVE, MADV_DONTFORK, MADV_DOFORK,
	};
	static const int prots[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE,
				     PROT_READ | PROT_WRITE };
	struct area a = wild_area(s), b = wild_area(s);
	char *p = w.mem + (a.start & (PAGE * 64 - 1) & ~(PAGE - 1));
	size_t len = a.len & 0x7000 ? a.len & 0x7000 : PAGE;
	int flags = MAP_FIXED, fd = -1;

	b.start = (uintptr_t)w.mem + mix(s) % (NPAGES_WILD - 8) * PAGE;
	switch (mix(s) % 6) {
	case 0:
		if (mix(s) % 3) {
			flags |= MAP_PRIVATE | MAP_ANONYMOUS;
		} else {
			flags |= mix(s) % 2 ? MAP_SHARED : MAP_PRIVATE;
			fd = w.memfd;
		}
		mmap(p, len, PROT_READ | PROT_WRITE, flags, fd, fd < 0 ? 0 : p - w.mem);
		break;
	case 1:
		munmap(p, len);
		break;
	case 2:
		mremap(p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED |
		       (mix(s) % 4 ? 0 : MREMAP_DONTUNMAP), (void *)(uintptr_t)b.start);
		break;
	case 3:
		mprotect(p, len, one_of(s, prots, ARRAY_SIZE(prots)));
		break;
	default:
		madvise(p, len, one_of(s, advice, ARRAY_SIZE(advice)));
	}
}

/* Its memory may be tracked, by a context that the server gets to know. */
static void wild_fork(__u64 *s)
{
	int k, status;
	pid_t pid;

	/*
	 * The files of a child that is not born yet keep a context alive: with no
	 * descriptor left to read the event from, fork() would wait for ever.
	 */
	pthread_rwlock_rdlock(&w.forking);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (k = 0; k < 8; k++)
			touch_word(w.mem + mix(s) % NPAGES_WILD * PAGE, k & 1, k);
		_exit(0);
	}
	pthread_rwlock_unlock(&w.forking);
	if (pid > 0 && waitpid(pid, &status, 0) == pid && status)
		_exit(1);
}

static void wild_look(__u64 *s, int pagemap)
{
	struct page_region region[8];
	struct area a = wild_area(s);
	struct pm_scan_arg arg = {
		.size = sizeof(arg), .start = a.start, .end = a.start + a.len,
		.vec = (uintptr_t)region, .vec_len = 8, .flags = mix(s) % 4,
		.category_mask = mix(s) & mix(s) & 0x3ff, .return_mask = mix(s) & 0x3ff,
	};
	char path[64], text[512];
	int fd;

	ioctl(pagemap, PAGEMAP_SCAN, &arg);
	if (mix(s) % 16)
		return;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", w.uffd[mix(s) % NR_CONTEXTS]);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (read(fd, text, sizeof(text)) < 0)
		finding("fdinfo: %s", strerror(errno));
	close(fd);
}

static int wild_open(__u64 *s)
{
	static const __u64 sets[] = {
		UFFD_FEATURE_RWP, UFFD_FEATURE_RWP | UFFD_FEATURE_RWP_ASYNC,
		UFFD_FEATURE_RWP | UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP |
		UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP,
		UFFD_FEATURE_RWP | UFFD_FEATURE_WP_ASYNC, UFFD_FEATURE_RWP | UFFD_FEATURE_SIGBUS,
	};
	int fd = rwp_open(sets[mix(s) % ARRAY_SIZE(sets)]);

	if (fd < 0)
		finding("userfaultfd: %s", strerror(-fd));
	return fd;
}

static void *wild_thread(void *arg)
{
	__u64 state = w.seed * 977 + (long)arg, *s = &state;
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), fd;
	unsigned long n;

	for (n = 0; n < w.todo; n++) {
		__u64 r = mix(s) % 256;
		int k = mix(s) % NR_CONTEXTS;

		if (r < 150) {
			wild_ioctl(s, w.uffd[k]);
		} else if (r < 175) {
			wild_map(s);
		} else if (r < 230) {
			touch_word(w.mem + mix(s) % NPAGES_WILD * PAGE, mix(s) & 1, mix(s));
		} else if (r < 252) {
			wild_look(s, pagemap);
		} else if (r < 253) {
			wild_fork(s);
		} else if (r == 253) {
			/* In one step, so that its number is always a context. */
			fd = wild_open(s);
			pthread_rwlock_wrlock(&w.forking);
			dup3(fd, w.uffd[k], O_CLOEXEC);
			pthread_rwlock_unlock(&w.forking);
			close(fd);
		}
	}
	__atomic_add_fetch(&w.fs->calls, w.todo, __ATOMIC_RELAXED);
	close(pagemap);
	__atomic_sub_fetch(&w.running, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void answer(__u64 *s, int uffd, struct uffd_msg *msg)
{
	__u64 page = msg->arg.pagefault.address & ~(PAGE - 1);
	struct rwp r = { .uffd = uffd };

	if (msg->event == UFFD_EVENT_FORK) {
		/* The child gets on when its context is closed. */
		close(msg->arg.fork.ufd);
		return;
	}
	if (msg->event != UFFD_EVENT_PAGEFAULT)
		return;
	switch (mix(s) % 5) {
	case 0:
		rwp_copy(uffd, (void *)(uintptr_t)page, w.buf, PAGE);
		break;
	case 1:
		rwp_zeropage(uffd, (void *)(uintptr_t)page, PAGE);
		break;
	case 2:
		rwp_writeprotect(uffd, (void *)(uintptr_t)page, PAGE, false);
		break;
	case 3:
		rwp_unregister(uffd, (void *)(uintptr_t)page, PAGE);
		break;
	}
	rwp_resolve(&r, (void *)(uintptr_t)page, PAGE);
	rwp_wake(uffd, (void *)(uintptr_t)page, PAGE);
}

static void *wild_server(void *arg)
{
	struct pollfd pfd[NR_CONTEXTS];
	__u64 state = w.seed, *s = &state;
	struct uffd_msg msg;
	int k;

	while (!__atomic_load_n(&w.stop, __ATOMIC_SEQ_CST)) {
		for (k = 0; k < NR_CONTEXTS; k++)
			pfd[k] = (struct pollfd) { .fd = w.uffd[k], .events = POLLIN };
		poll(pfd, NR_CONTEXTS, 10);
		for (k = 0; k < NR_CONTEXTS; k++)
			if (pfd[k].revents && rwp_read(w.uffd[k], &msg) == 1)
				answer(s, w.uffd[k], &msg);
	}
	return arg;
}

/* Contexts are gone: memory that is as any other. */
static void aftermath(void)
{
	struct rwp r = { .pagemap = open("/proc/self/pagemap", O_RDONLY), .psize = PAGE };
	unsigned long start, end;
	char line[256], armed[512], *p;
	FILE *maps;
	int n = 0;

	for (p = w.mem; p < w.mem + LEN && n < 400; p += PAGE)
		if (rwp_bit57(&r, p))
			n += sprintf(armed + n, " %ld (%#llx)", (p - w.mem) / PAGE,
				     (unsigned long long)rwp_entry(&r, p));
	if (n)
		finding("closed, and armed or write-protected still (entries of pagemap):%s",
			armed);
	mprotect(w.mem, LEN, PROT_READ | PROT_WRITE);
	maps = fopen("/proc/self/maps", "r");
	while (maps && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) != 2)
			continue;
		for (p = (char *)start; p < (char *)end; p += PAGE) {
			if (p < w.mem || p >= w.mem + LEN)
				continue;
			mprotect(p, PAGE, PROT_READ | PROT_WRITE);
			/* Poison stays. */
			if (touch_word(p, false, 0) == SIGSEGV ||
			    touch_word(p, true, 1) == SIGSEGV)
				finding("closed, and %#lx cannot be accessed",
					(unsigned long)p);
		}
	}
	if (maps)
		fclose(maps);
	close(r.pagemap);
}

static int wild_round(unsigned long calls)
{
	struct sigaction sa = { .sa_handler = on_fault };
	pthread_t thread[NR_THREADS], server;
	__u64 state = w.seed, *word;
	long k;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	w.mem = mmap((void *)PLACE, LEN, PROT_NONE, MAP_FIXED_NOREPLACE | MAP_PRIVATE |
		     MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	w.memfd = memfd_create("wild", MFD_CLOEXEC);
	w.buf = mmap(NULL, 32 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (w.mem != (char *)PLACE || w.buf == MAP_FAILED || w.memfd < 0 || ftruncate(w.memfd, LEN))
		return 1;
	for (word = (__u64 *)w.buf; (char *)word < w.buf + 32 * PAGE; word++)
		*word = MAGIC | 1;
	mmap(w.mem, LEN, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mmap(w.mem + LEN / 2, LEN / 2, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED, w.memfd,
	     LEN / 2);
	for (k = 0; k < NR_CONTEXTS; k++)
		w.uffd[k] = wild_open(&state);
	w.todo = calls / NR_THREADS;
	w.running = NR_THREADS;
	if (pthread_create(&server, NULL, wild_server, NULL))
		return 1;
	for (k = 0; k < NR_THREADS; k++)
		if (pthread_create(&thread[k], NULL, wild_thread, (void *)k))
			return 1;
	for (k = 0; k < NR_THREADS; k++)
		pthread_join(thread[k], NULL);
	w.stop = true;
	pthread_join(server, NULL);
	for (k = 0; k < NR_CONTEXTS; k++)
		close(w.uffd[k]);
	aftermath();
	return 0;
}

static void print_stacks(pid_t pid)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd),
		 "for t in /proc/%d/task/*; do cat $t/comm $t/wchan $t/stack; done", pid);
	fflush(stdout);
	if (system(cmd))
		ksft_print_msg("no stacks\n");
}

/* Rounds, each in a process of its own. */
int fuzz_wild(struct fuzz_shared *fs, __u64 seed, unsigned long calls)
{
	unsigned long goal = fs->calls + calls;
	struct pollfd pfd;
	int status, ret = 0;
	pid_t pid;

	w.fs = fs;
	w.failure = mmap(NULL, 512, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (w.seed = seed << 20; !ret && fs->calls < goal; w.seed++) {
		fflush(stdout);
		w.failure[0] = '\0';
		pid = fork();
		if (!pid)
			_exit(wild_round(PER_ROUND));
		pfd = (struct pollfd) { .fd = syscall(__NR_pidfd_open, pid, 0),
					.events = POLLIN };
		ret = !poll(&pfd, 1, STUCK);
		if (ret) {
			ksft_print_msg("stuck for good\n");
			print_stacks(pid);
			kill(pid, SIGKILL);
		}
		close(pfd.fd);
		waitpid(pid, &status, 0);
		if (status) {
			ksft_print_msg("seed %llu: status %#x %s\n", w.seed, status, w.failure);
			ret = 1;
		}
	}
	munmap(w.failure, 512);
	return ret;
}
