// SPDX-License-Identifier: GPL-2.0
/*
 * Threads that hammer on one context, while another switches its mode: poll(),
 * read(), every ioctl, fdinfo, PAGEMAP_SCAN and faults. For a kernel that looks for
 * data races (KCSAN), or anything else, in what runs without a lock.
 *
 * What is seen without such a kernel: when a switch to async has returned, nobody
 * waits any more; a thread that touches memory gets on; and no ioctl answers what it
 * never can.
 *
 *   hammer [-n SWITCHES] [-b BURST] [-s BARE]
 *
 * BURST: there and back so often before each one; BARE: so many before anything is
 * registered, while somebody polls without a pause
 */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>

#include "proof.h"

#define NPAGES		64UL
#define LEN		(NPAGES * PAGE)

enum { T_POLL, T_READ, T_FDINFO, T_SCAN, T_RANGE, T_OTHER, T_TOUCH, T_TOUCH2, NR };

static const char * const names[NR] = {
	"poll", "read", "fdinfo", "PAGEMAP_SCAN", "UFFDIO_RWPROTECT", "other ioctls",
	"faults", "faults of files",
};

static int uffd, uffd2;
static char *mem, *shm, *buf;
static bool stop, stop_answers;
static int pause_ms;
static unsigned long count[NR];
static unsigned long surprises;

static bool going(int t)
{
	__atomic_add_fetch(&count[t], 1, __ATOMIC_RELAXED);
	return !__atomic_load_n(t == T_READ ? &stop_answers : &stop, __ATOMIC_RELAXED);
}

static void expect(const char *what, int err, bool allowed)
{
	if (allowed)
		return;
	if (!__atomic_fetch_add(&surprises, 1, __ATOMIC_RELAXED))
		printf("# %s: %s\n", what, strerror(-err));
}

static void *hammer_poll(void *arg)
{
	struct pollfd pfd = { .fd = uffd, .events = POLLIN };

	while (going(T_POLL))
		poll(&pfd, 1, __atomic_load_n(&pause_ms, __ATOMIC_RELAXED));
	return arg;
}

/* Answers, too: a page at a time. */
static void *hammer_read(void *arg)
{
	struct rwp r = { .uffd = uffd };
	struct uffd_msg msg;

	while (going(T_READ))
		if (rwp_read(uffd, &msg) == 1)
			rwp_resolve(&r, (void *)(uintptr_t)
				    (msg.arg.pagefault.address & ~(PAGE - 1)), PAGE);
	return arg;
}

static void *hammer_fdinfo(void *arg)
{
	unsigned long pending, total;
	__u64 features, ioctls;

	while (going(T_FDINFO)) {
		rwp_fdinfo(uffd, &features, &ioctls);
		rwp_waiters(uffd, &pending, &total);
	}
	return arg;
}

static void *hammer_scan(void *arg)
{
	struct rwp r = { .pagemap = open("/proc/self/pagemap", O_RDONLY), .psize = PAGE };
	long n;

	while (going(T_SCAN)) {
		n = rwp_count_accessed(&r, mem, LEN);
		expect("PAGEMAP_SCAN", n, n >= 0 && n <= (long)NPAGES);
		rwp_count_bit57(&r, shm, LEN);
	}
	close(r.pagemap);
	return arg;
}

static void *hammer_range(void *arg)
{
	unsigned long s = 1;
	int err;

	while (going(T_RANGE)) {
		char *p = (next(&s) & 1 ? mem : shm) + next(&s) % NPAGES * PAGE;

		err = rwp_protect(uffd, (uintptr_t)p, PAGE, next(&s) % 4 ? ARM : 0);
		/* It may be unregistered at the moment. */
		expect("UFFDIO_RWPROTECT", err, !err || err == -ENOENT);
	}
	return arg;
}

/* All the other ioctls, on the last pages; none of them succeeds by chance. */
static void *hammer_other(void *arg)
{
	char *p = mem + LEN - 4 * PAGE;
	struct uffdio_continue c = { .range = { (uintptr_t)p, PAGE } };
	struct uffdio_poison poison = { .range = { (uintptr_t)p, PAGE } };
	struct uffdio_api api = { .api = UFFD_API };
	int err;

	while (going(T_OTHER)) {
		err = rwp_unregister(uffd, p, 4 * PAGE);
		expect("UFFDIO_UNREGISTER", err, !err);
		err = rwp_register(uffd, p, 4 * PAGE, RWP_RWP);
		expect("UFFDIO_REGISTER", err, !err);
		err = rwp_register(uffd2, p, 4 * PAGE, RWP_RWP);
		expect("UFFDIO_REGISTER", err, err == -EBUSY);
		err = rwp_wake(uffd, mem, LEN);
		expect("UFFDIO_WAKE", err, !err);
		err = rwp_copy(uffd, p, buf, PAGE);
		expect("UFFDIO_COPY", err, !err || err == -EEXIST);
		err = rwp_zeropage(uffd, p, PAGE);
		expect("UFFDIO_ZEROPAGE", err, !err || err == -EEXIST);
		madvise(p + PAGE, PAGE, MADV_DONTNEED);
		err = rwp_move(uffd, p + PAGE, buf, PAGE);
		expect("UFFDIO_MOVE", err, !err || err == -EEXIST || err == -EAGAIN ||
		       err == -EBUSY || err == -ENOENT);
		memset(buf, 1, PAGE);
		err = rwp_writeprotect(uffd, p, PAGE, true);
		expect("UFFDIO_WRITEPROTECT", err, err == -ENOENT);
		err = ioctl(uffd, UFFDIO_CONTINUE, &c) ? -errno : 0;
		expect("UFFDIO_CONTINUE", err, err == -EINVAL);
		poison.range.start = (uintptr_t)p;
		err = ioctl(uffd, UFFDIO_POISON, &poison) ? -errno : 0;
		expect("UFFDIO_POISON", err, err == -EEXIST);
		err = ioctl(uffd, UFFDIO_API, &api) ? -errno : 0;
		expect("UFFDIO_API", err, err == -EINVAL);
		err = rwp_set_mode(uffd, 0, 0);
		expect("UFFDIO_SET_MODE", err, !err);
		api.api = UFFD_API;
	}
	return arg;
}

static void touch(char *p, int t)
{
	unsigned long s = t;

	while (going(t)) {
		volatile char *c = p + next(&s) % (NPAGES - 4) * PAGE;

		if (next(&s) & 1)
			*c += 1;
		else
			(void)*c;
		if (next(&s) % 16 == 0)
			sched_yield();
	}
}

static void *hammer_touch(void *arg)
{
	touch(mem, T_TOUCH);
	return arg;
}

static void *hammer_touch_file(void *arg)
{
	touch(shm, T_TOUCH2);
	return arg;
}

int main(int argc, char **argv)
{
	static void *(* const fn[NR])(void *arg) = {
		hammer_poll, hammer_read, hammer_fdinfo, hammer_scan, hammer_range,
		hammer_other, hammer_touch, hammer_touch_file,
	};
	unsigned long switches = 500, burst = 0, bare = 0, b, k, pending, total, late = 0, before[NR] = { };
	struct rwp r = { };
	pthread_t thread[NR];
	int c, t, err;

	while ((c = getopt(argc, argv, "n:b:s:")) != -1) {
		if (c != 'n' && c != 'b' && c != 's')
			return 2;
		*(c == 'n' ? &switches : c == 'b' ? &burst : &bare) = strtoul(optarg, NULL, 0);
	}
	uffd = rwp_open(UFFD_FEATURE_RWP | ASYNC);
	uffd2 = rwp_open(UFFD_FEATURE_RWP);
	buf = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mem = rwp_mmap(NPAGES, PROT_READ | PROT_WRITE);
	shm = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (uffd < 0 || uffd2 < 0 || buf == MAP_FAILED || !mem || shm == MAP_FAILED)
		give_up("userfaultfd, or memory: %d %d", uffd, uffd2);
	memset(buf, 1, PAGE);
	memset(mem, 1, LEN);
	memset(shm, 1, LEN);
	r.uffd = uffd;
	if (pthread_create(&thread[0], NULL, fn[0], NULL))
		give_up("no thread");
	/* With nothing registered a switch takes no time, and KCSAN meets many. */
	for (k = 0; k < bare; k++) {
		err = rwp_switch(&r, k & 1);
		expect("UFFDIO_SET_MODE", err, !err);
	}
	__atomic_store_n(&pause_ms, 1, __ATOMIC_RELAXED);
	err = rwp_register(uffd, mem, LEN, RWP_RWP);
	if (!err)
		err = rwp_register(uffd, shm, LEN, RWP_RWP);
	if (err)
		give_up("UFFDIO_REGISTER: %s", strerror(-err));
	for (t = 1; t < NR; t++)
		if (pthread_create(&thread[t], NULL, fn[t], NULL))
			give_up("no thread");
	for (k = 0; k < switches; k++) {
		rwp_arm(&r, mem, LEN);
		for (b = 0; b < 2 * burst; b++) {
			err = rwp_switch(&r, (k ^ b) & 1);
			expect("UFFDIO_SET_MODE", err, !err);
		}
		err = rwp_switch(&r, k & 1);
		expect("UFFDIO_SET_MODE", err, !err);
		rwp_waiters(uffd, &pending, &total);
		late += (k & 1) && total;
		/* Not faster than the others can follow. */
		for (t = 0; t < NR; t++) {
			while (__atomic_load_n(&count[t], __ATOMIC_RELAXED) == before[t])
				sched_yield();
			before[t] = __atomic_load_n(&count[t], __ATOMIC_RELAXED);
		}
	}
	rwp_switch(&r, true);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	/* Where the switch has left somebody behind, that is to be told, and no hang. */
	for (t = 0; t < NR; t++)
		if (t != T_READ)
			pthread_join(thread[t], NULL);
	__atomic_store_n(&stop_answers, true, __ATOMIC_RELAXED);
	pthread_join(thread[T_READ], NULL);
	for (t = 0; t < NR; t++)
		result(count[t] >= switches, "%s: %lu times", names[t], count[t]);
	result(!late, "nobody waits after a switch to async: %lu did", late);
	result(!surprises, "no answer that cannot be: %lu were", surprises);
	return plan();
}
