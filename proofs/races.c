// SPDX-License-Identifier: GPL-2.0
/*
 * Races on purpose, on a kernel with delays.patch: faults under the lock of their
 * VMA against all that changes the mode, the registration or the mapping. The
 * delays make windows of some instructions some milliseconds wide.
 *
 *   races [-n ITERATIONS] [-d MICROSECONDS] [-s SEED] [-x] [RACE]
 *
 * With -x guards of the series are taken out one after the other: the race that
 * looks for it has to find that out.
 */
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "proof.h"

#define DEBUGFS		"/sys/kernel/debug/uffd_delay/"
#define NPAGES		8
#define LEN		(NPAGES * page_size)
#define HUGE_PAGE	(1UL << 21)
#define NR_TOUCH	4
#define LIMIT_MS	10000

/* As in delays.patch. */
enum { D_MODE, D_QUEUE, D_BLOCK, D_STORE, D_SWEEP, D_SWEPT, D_MOVE, D_ARM, D_NR };
enum { NO_DRAIN = 1, NO_SWEEP_LOCK = 2, NO_UNREGISTER_WAKE = 4, NO_MODE_WAKE = 8 };

static const char * const point_names[D_NR] = {
	"mode read", "not queued yet", "queued", "mode stored", "not swept yet", "swept",
	"move", "arm",
};

enum kind { ANON, THP, SHMEM, HUGETLB, NR_KINDS };

static const char * const kind_names[NR_KINDS] = {
	"anonymous", "huge pages", "shmem", "hugetlb",
};

struct toucher {
	pthread_t thread;
	int i;
	unsigned long round;	/* the last one that it is done with */
	unsigned long stores;	/* that it made, and the page has to hold */
};

static struct rwp r;
static char *mem, *spare;
static enum kind kind;
static unsigned long page_size = PAGE;
static struct toucher toucher[NR_TOUCH];
static unsigned long now_round, seed = 1, iterations = 150;
static const char *only = "";	/* the races whose names begin so */
static bool fresh;	/* the memory is mapped anew: the pages may be empty */
static char failure[256];
static __thread sigjmp_buf env;

static unsigned long moved;	/* pages, by race_move() */
static bool moving;

static const char *failed(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(failure, sizeof(failure), fmt, ap);
	va_end(ap);
	return failure;
}

static void knob(const char *name, long val)
{
	char path[128];

	snprintf(path, sizeof(path), DEBUGFS "%s", name);
	if (rwp_write_long(path, val))
		give_up("%s: no kernel with delays.patch", path);
}

static void on_segv(int sig)
{
	siglongjmp(env, sig);
}

/* Tries again while the page cannot be accessed: it is about to be, once more. */
static void touch(struct toucher *t)
{
	volatile unsigned long *p = (unsigned long *)(mem + t->i * page_size);
	unsigned long found;

	while (sigsetjmp(env, 1))
		sched_yield();
	found = __atomic_fetch_add(p, 1, __ATOMIC_SEQ_CST);
	if (found != t->stores && !__atomic_load_n(&fresh, __ATOMIC_SEQ_CST))
		give_up("page %d holds %lu, not %lu: a store is lost", t->i, found, t->stores);
	t->stores = found + 1;
}

static void *toucher_main(void *arg)
{
	struct toucher *t = arg;
	unsigned long round = 0;

	for (;;) {
		while (__atomic_load_n(&now_round, __ATOMIC_SEQ_CST) == round)
			sched_yield();
		round++;
		touch(t);
		__atomic_store_n(&t->round, round, __ATOMIC_SEQ_CST);
	}
	return arg;
}

static bool done(int i)
{
	return __atomic_load_n(&toucher[i].round, __ATOMIC_SEQ_CST) ==
	       __atomic_load_n(&now_round, __ATOMIC_SEQ_CST);
}

static int count_done(void)
{
	int i, n = 0;

	for (i = 0; i < NR_TOUCH; i++)
		n += done(i);
	return n;
}

static bool all_done(void)
{
	__s64 end = rwp_now_ms() + LIMIT_MS;

	while (count_done() < NR_TOUCH) {
		if (rwp_now_ms() > end)
			return false;
		sched_yield();
	}
	return true;
}

/* Everybody is done, or waits. */
static bool all_settled(void)
{
	__s64 end = rwp_now_ms() + LIMIT_MS;
	unsigned long pending, total;
	int n;

	for (;;) {
		n = count_done();
		if (!rwp_waiters(r.uffd, &pending, &total) && n + (int)total == NR_TOUCH &&
		    n == count_done())
			return true;
		if (rwp_now_ms() > end)
			return false;
		sched_yield();
	}
}

static void go(void)
{
	unsigned long spin = next(&seed) % 4000;

	__atomic_add_fetch(&now_round, 1, __ATOMIC_SEQ_CST);
	while (spin--)
		__asm__ volatile("pause");
}

static void open_context(void)
{
	int err;

	r.uffd = rwp_open(UFFD_FEATURE_RWP | ASYNC);
	err = r.uffd < 0 ? r.uffd : rwp_register(r.uffd, mem, LEN, RWP_RWP);
	if (err)
		give_up("userfaultfd: %s", strerror(-err));
}

static void prepare(bool async)
{
	if (rwp_switch(&r, async) || rwp_arm(&r, mem, LEN))
		give_up("cannot arm");
}

/* Whatever went wrong, nobody waits any more, and the next race can begin. */
static void clean_up(void)
{
	knob("skip", 0);
	rwp_switch(&r, true);
	rwp_wake(r.uffd, mem, LEN);
	if (!all_done())
		give_up("they are stuck for good");
	rwp_register(r.uffd, mem, LEN, RWP_RWP);
}

static const char *race_to_sync(void)
{
	bool armed[NR_TOUCH];
	const char *why = NULL;
	int i;

	prepare(true);
	go();
	if (rwp_switch(&r, false))
		return failed("UFFDIO_SET_MODE: %s", strerror(errno));
	for (i = 0; i < NR_TOUCH; i++)
		armed[i] = rwp_bit57(&r, mem + i * page_size);
	if (!all_settled())
		return failed("nobody gets on");
	for (i = 0; i < NR_TOUCH; i++)
		if (armed[i] && (done(i) || !rwp_bit57(&r, mem + i * page_size)))
			why = failed("page %d, armed after the switch to sync, is resolved unseen", i);
	if (rwp_switch(&r, true) || !all_done())
		return failed("they wait on after a switch to async");
	return why;
}

static const char *race_to_async(void)
{
	struct uffd_msg msg;

	prepare(false);
	go();
	if (rwp_switch(&r, true))
		return failed("UFFDIO_SET_MODE: %s", strerror(errno));
	if (rwp_read(r.uffd, &msg))
		return failed("a message after the switch to async");
	if (!all_done())
		return failed("a thread waits that nobody will wake");
	if (rwp_read(r.uffd, &msg))
		return failed("a message after the switch to async");
	return NULL;
}

static const char *nothing_armed(void)
{
	if (!all_done())
		return failed("a thread waits that nobody will wake");
	if (rwp_count_bit57(&r, mem, LEN))
		return failed("a page is armed still");
	return NULL;
}

static const char *race_unregister(void)
{
	const char *why;
	int err;

	prepare(next(&seed) & 1);
	go();
	err = rwp_unregister(r.uffd, mem, LEN);
	why = err ? failed("UFFDIO_UNREGISTER: %s", strerror(-err)) : nothing_armed();
	if (why)
		return why;
	err = rwp_register(r.uffd, mem, LEN, RWP_RWP);
	return err ? failed("UFFDIO_REGISTER: %s", strerror(-err)) : NULL;
}

static const char *race_close(void)
{
	const char *why;

	prepare(next(&seed) & 1);
	go();
	close(r.uffd);
	why = nothing_armed();
	open_context();
	return why;
}

/* What was armed, and not touched, is armed still. */
static const char *others_armed(void)
{
	int i;

	for (i = NR_TOUCH; i < NPAGES; i++)
		if (!rwp_bit57(&r, mem + i * page_size))
			return failed("page %d is armed no more", i);
	return NULL;
}

static const char *race_mprotect(void)
{
	int prot = next(&seed) & 1 ? PROT_NONE : PROT_READ;

	prepare(next(&seed) & 1);
	go();
	if (mprotect(mem, LEN, prot) || mprotect(mem, LEN, PROT_READ | PROT_WRITE))
		return failed("mprotect: %s", strerror(errno));
	rwp_switch(&r, true);
	if (!all_done())
		return failed("a thread does not get on");
	return others_armed();
}

static bool is_file(void)
{
	return kind == SHMEM || kind == HUGETLB;
}

static int map_anew(char *addr)
{
	int flags = MAP_FIXED | MAP_ANONYMOUS | (is_file() ? MAP_SHARED : MAP_PRIVATE) |
		    (kind == HUGETLB ? MAP_HUGETLB | MAP_NORESERVE : 0);

	if (mmap(addr, LEN, PROT_READ | PROT_WRITE, flags, -1, 0) != addr)
		return -1;
	return kind == THP ? madvise(addr, LEN, MADV_HUGEPAGE) : 0;
}

/* The registration does not follow. */
static const char *race_mremap(void)
{
	const char *why;
	int err;

	prepare(next(&seed) & 1);
	go();
	if (mremap(mem, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, spare) != spare)
		return failed("mremap: %s", strerror(errno));
	if (rwp_count_bit57(&r, spare, LEN))
		return failed("armed where it is not registered");
	if (mremap(spare, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, mem) != mem)
		return failed("mremap: %s", strerror(errno));
	if (map_anew(spare))
		return failed("mmap: %s", strerror(errno));
	rwp_wake(r.uffd, mem, LEN);
	why = nothing_armed();
	err = rwp_register(r.uffd, mem, LEN, RWP_RWP);
	return err ? failed("UFFDIO_REGISTER: %s", strerror(-err)) : why;
}

static const char *race_munmap(void)
{
	const char *why;

	prepare(next(&seed) & 1);
	__atomic_store_n(&fresh, true, __ATOMIC_SEQ_CST);
	go();
	munmap(mem, LEN);
	if (map_anew(mem))
		return failed("mmap: %s", strerror(errno));
	rwp_wake(r.uffd, mem, LEN);
	why = nothing_armed();
	memset(mem, 0, LEN);
	for (int i = 0; i < NR_TOUCH; i++)
		toucher[i].stores = 0;
	__atomic_store_n(&fresh, false, __ATOMIC_SEQ_CST);
	if (!why && rwp_register(r.uffd, mem, LEN, RWP_RWP))
		return failed("UFFDIO_REGISTER");
	return why;
}

/* The child's memory is ordinary. */
static const char *race_fork(void)
{
	struct rwp child = r;
	int i, status;
	pid_t pid;

	prepare(next(&seed) & 1);
	go();
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(LIMIT_MS / 1000);
		child.pagemap = open("/proc/self/pagemap", O_RDONLY);
		if (rwp_count_bit57(&child, mem, LEN))
			_exit(1);
		for (i = 0; i < NPAGES && !is_file(); i++)
			*(volatile unsigned long *)(mem + i * page_size) += 1000;
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return failed("fork: %s", strerror(errno));
	rwp_switch(&r, true);
	if (!all_done())
		return failed("a thread does not get on");
	if (status)
		return failed("the child ended with %#x", status);
	return others_armed();
}

static void *move_one(void *arg)
{
	__atomic_store_n(&moving, true, __ATOMIC_SEQ_CST);
	moved += !rwp_move(r.uffd, mem + LEN - page_size, arg, page_size);
	return arg;
}

/* A page that is moved in does not arrive, armed, behind the sweep. */
static const char *race_move(void)
{
	const char *why = NULL;
	pthread_t thread;
	int err;

	*(volatile char *)spare = 1;
	madvise(mem + LEN - page_size, page_size, MADV_DONTNEED);
	moving = false;
	if (pthread_create(&thread, NULL, move_one, spare))
		give_up("no thread");
	while (!__atomic_load_n(&moving, __ATOMIC_SEQ_CST))
		sched_yield();
	go();
	err = rwp_unregister(r.uffd, mem, LEN);
	pthread_join(thread, NULL);
	if (rwp_bit57(&r, mem + LEN - page_size))
		why = failed("a moved page is armed, and not registered");
	if (!all_done())
		why = failed("a thread does not get on");
	if (err)
		why = failed("UFFDIO_UNREGISTER: %s", strerror(-err));
	/* A page that was armed in vain is not to be seen by the next iteration. */
	madvise(mem + LEN - page_size, page_size, MADV_DONTNEED);
	mem[LEN - page_size] = 1;
	err = rwp_register(r.uffd, mem, LEN, RWP_RWP);
	return err ? failed("UFFDIO_REGISTER: %s", strerror(-err)) : why;
}

static void *child_toucher(void *arg)
{
	*(volatile char *)arg += 1;
	return arg;
}

/* The tracked process ends while its faults are on their way, and we act on it. */
static const char *race_exit(void)
{
	const char *why = NULL;
	struct rwp c = r;
	int sv[2], status, k, err;
	pthread_t thread;
	char *m;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv))
		return failed("socketpair");
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		m = rwp_mmap(NPAGES, PROT_READ | PROT_WRITE);
		memset(m, 1, LEN);
		c.uffd = rwp_open(UFFD_FEATURE_RWP);
		if (rwp_register(c.uffd, m, LEN, RWP_RWP) || rwp_arm(&c, m, LEN) ||
		    write(sv[1], &m, sizeof(m)) != sizeof(m) || rwp_send_fd(sv[1], c.uffd))
			_exit(1);
		for (k = 0; k < NR_TOUCH; k++)
			pthread_create(&thread, NULL, child_toucher, m + k * PAGE);
		for (k = next(&seed) % 100000; k; k--)
			__asm__ volatile("pause");
		_exit(0);
	}
	close(sv[1]);
	if (read(sv[0], &m, sizeof(m)) != sizeof(m))
		give_up("the child has nothing to say");
	c.uffd = rwp_recv_fd(sv[0]);
	if (next(&seed) & 1)
		kill(pid, SIGKILL);
	for (k = 0; k < 20 && !why; k++) {
		err = rwp_set_mode(c.uffd, k & 1 ? ASYNC : 0, k & 1 ? 0 : ASYNC);
		if (err && err != -ESRCH)
			why = failed("UFFDIO_SET_MODE: %s", strerror(-err));
		/* Without memory any more, there is nothing to be found. */
		err = rwp_protect(c.uffd, (uintptr_t)m, LEN, k & 1 ? ARM : 0);
		if (err && err != -ESRCH && err != -ENOENT)
			why = failed("UFFDIO_RWPROTECT: %s", strerror(-err));
	}
	if (waitpid(pid, &status, 0) != pid)
		why = failed("waitpid: %s", strerror(errno));
	if (rwp_set_mode(c.uffd, ASYNC, 0) != -ESRCH)
		why = failed("the process is gone, and that is not ESRCH");
	close(c.uffd);
	close(sv[0]);
	return why;
}

#define ALL	((1 << NR_KINDS) - 1)

static const struct race {
	const char *name;
	const char *(*fn)(void);
	unsigned int points;
	int guard;		/* finds out when this is taken out */
	const char *guard_name;
	unsigned int kinds;	/* of memory */
} races[] = {
	{ "to sync", race_to_sync, 1 << D_MODE | 1 << D_QUEUE | 1 << D_STORE,
	  NO_DRAIN, "the drain", ALL },
	{ "to async", race_to_async, 1 << D_QUEUE | 1 << D_BLOCK | 1 << D_STORE,
	  NO_DRAIN, "the drain", ALL },
	{ "to async, woken", race_to_async, 1 << D_BLOCK | 1 << D_STORE,
	  NO_MODE_WAKE, "the wake of the switch", ALL },
	{ "unregister", race_unregister, 1 << D_MODE | 1 << D_QUEUE | 1 << D_BLOCK |
	  1 << D_SWEEP | 1 << D_SWEPT, NO_UNREGISTER_WAKE, "its wake", ALL },
	{ "close", race_close, 1 << D_MODE | 1 << D_QUEUE | 1 << D_BLOCK | 1 << D_SWEEP, 0,
	  NULL, ALL },
	{ "mprotect", race_mprotect, 1 << D_MODE | 1 << D_QUEUE | 1 << D_ARM, 0, NULL, ALL },
	{ "mremap", race_mremap, 1 << D_MODE | 1 << D_QUEUE | 1 << D_BLOCK, 0, NULL, ALL },
	{ "munmap", race_munmap, 1 << D_MODE | 1 << D_QUEUE | 1 << D_BLOCK, 0, NULL, ALL },
	{ "fork", race_fork, 1 << D_MODE | 1 << D_QUEUE | 1 << D_BLOCK, 0, NULL, ALL },
	{ "move against unregister", race_move, 1 << D_MOVE | 1 << D_SWEEP | 1 << D_SWEPT,
	  NO_SWEEP_LOCK, "the VMA lock of the sweep", 1 << ANON | 1 << THP },
	{ "exit", race_exit, 1 << D_QUEUE | 1 << D_BLOCK | 1 << D_STORE, 0, NULL, 1 << ANON },
};

/* The iteration that failed, counted from 1, or 0. */
static unsigned long run(const struct race *race, int skip, unsigned long times)
{
	unsigned long n;

	knob("points", race->points);
	knob("skip", skip);
	for (n = 1; n <= times; n++) {
		if (race->fn()) {
			clean_up();
			return n;
		}
	}
	knob("skip", 0);
	return 0;
}

static void map(enum kind of)
{
	size_t i;

	kind = of;
	page_size = kind == THP || kind == HUGETLB ? HUGE_PAGE : PAGE;
	r.psize = page_size;
	if (map_anew(mem) || map_anew(spare))
		give_up("mmap: %s", strerror(errno));
	memset(mem, 0, LEN);
	for (i = 0; i < NR_TOUCH; i++)
		toucher[i].stores = 0;
	for (i = 0; i < NPAGES && kind == THP; i++)
		if (!rwp_huge(&r, mem + i * page_size))
			give_up("no huge pages");
	open_context();
}

static void all_races(enum kind of)
{
	unsigned long n;
	__s64 begin;

	map(of);
	for (size_t k = 0; k < ARRAY_SIZE(races); k++) {
		const struct race *race = &races[k];

		if (!(race->kinds & 1 << of) || strncmp(race->name, only, strlen(only)))
			continue;
		begin = rwp_now_ms();
		moved = 0;
		n = run(race, 0, iterations);
		/* It is no race if unregister is always the first. */
		if (!n && race->fn == race_move && moved < iterations / 4) {
			failed("only %lu pages moved", moved);
			n = iterations;
		}
		result(!n, "%s, %s: %s (%lld ms)", race->name, kind_names[of],
		       n ? failure : "as it should be", (long long)(rwp_now_ms() - begin));
	}
	close(r.uffd);
}

static void all_guards(void)
{
	unsigned long n;
	__s64 begin;

	map(ANON);
	for (size_t k = 0; k < ARRAY_SIZE(races); k++) {
		const struct race *race = &races[k];

		if (!race->guard || strncmp(race->name, only, strlen(only)))
			continue;
		begin = rwp_now_ms();
		n = run(race, race->guard, 10 * iterations);
		result(n, "%s, without %s: %s (iteration %lu, %lld ms)", race->name,
		       race->guard_name, n ? failure : "nobody noticed", n,
		       (long long)(rwp_now_ms() - begin));
	}
	close(r.uffd);
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_segv, .sa_flags = SA_NODEFER };
	bool guards = false;
	long delay = 1500, hits;
	char path[128];
	int c, i;

	while ((c = getopt(argc, argv, "n:d:s:x")) != -1) {
		if (c == 'n')
			iterations = strtoul(optarg, NULL, 0);
		else if (c == 'd')
			delay = atol(optarg);
		else if (c == 's')
			seed = strtoul(optarg, NULL, 0);
		else if (c == 'x')
			guards = true;
		else
			return 2;
	}
	if (optind < argc)
		only = argv[optind];
	printf("# seed %lu\n", seed);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	knob("max_us", delay);
	mem = rwp_reserve(NPAGES * HUGE_PAGE, HUGE_PAGE);
	spare = rwp_reserve(NPAGES * HUGE_PAGE, HUGE_PAGE);
	r.pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (!mem || !spare || r.pagemap < 0)
		give_up("no memory");
	for (i = 0; i < NR_TOUCH; i++) {
		toucher[i].i = i;
		if (pthread_create(&toucher[i].thread, NULL, toucher_main, &toucher[i]))
			give_up("no thread");
	}
	if (guards) {
		all_guards();
	} else {
		for (i = 0; i < NR_KINDS; i++)
			all_races(i);
		for (i = 0; i < D_NR && !*only; i++) {
			snprintf(path, sizeof(path), DEBUGFS "hits%d", i);
			hits = rwp_read_long(path);
			result(hits > 0, "delayed where '%s': %ld times", point_names[i], hits);
		}
	}
	knob("max_us", 0);
	fflush(stdout);
	_exit(plan() | fflush(stdout));
}
