// SPDX-License-Identifier: GPL-2.0
/* The fuzzer's arguments: contexts, ranges, pointers, and what is kept of a call. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "fuzz.h"

#define SMALL	4096ULL
/* Nothing is mapped there, and nothing will be. */
#define LOW	0x10000ULL

/* The context of another process, which ends at once or when we do. */
static int foreign(bool stays)
{
	int sv[2], uffd;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv))
		return -errno;
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		uffd = rwp_open(UFFD_FEATURE_RWP);
		if (uffd < 0 || rwp_send_fd(sv[1], uffd))
			_exit(1);
		while (stays)
			pause();
		_exit(0);
	}
	uffd = rwp_recv_fd(sv[0]);
	close(sv[0]);
	close(sv[1]);
	if (!stays)
		waitpid(pid, NULL, 0);
	return uffd;
}

/* Before the model's contexts are there, and fork() is an event. */
int fuzz_open(struct fuzz *f)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = memfd_create("fuzz", MFD_CLOEXEC), k;

	f->uffd[U_GONE] = foreign(false);
	f->uffd[U_OTHER] = foreign(true);
	f->uffd[U_RAW] = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	f->uffd[U_PLAIN] = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	for (k = U_RAW; k < NR_UFFD; k++)
		if (f->uffd[k] < 0)
			return -EBADF;
	if (ioctl(f->uffd[U_PLAIN], UFFDIO_API, &api))
		return -errno;
	f->features = api.features;
	f->api_ioctls = api.ioctls;
	f->page = mmap(NULL, 2 * SMALL, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (f->page == MAP_FAILED || mprotect(f->page + SMALL, SMALL, PROT_NONE) ||
	    fd < 0 || ftruncate(fd, SMALL))
		return -errno;
	f->alias = mmap(NULL, SMALL, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	f->readonly = mmap(NULL, SMALL, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (f->alias == MAP_FAILED || f->readonly == MAP_FAILED)
		return -errno;
	return 0;
}

void fuzz_connect(struct fuzz *f)
{
	int k;

	for (k = 1; k < NCTX; k++)
		f->uffd[k] = f->m->uffd[k];
}

static __u64 window_end(const struct model *m)
{
	return (uintptr_t)at(m, m->n);
}

bool inside(const struct model *m, struct area a)
{
	return a.start >= (uintptr_t)m->mem && a.start + a.len <= window_end(m);
}

bool whole_pages(const struct model *m, struct area a)
{
	return !((a.start | a.len) & (m->psize - 1));
}

void slots_of(const struct model *m, struct area a, int *i, int *n)
{
	__u64 start = a.start, end = a.start + a.len, mem = (uintptr_t)m->mem;

	*i = 0;
	*n = 0;
	if (end <= mem || start >= window_end(m))
		return;
	start = start < mem ? mem : start;
	end = end > window_end(m) ? window_end(m) : end;
	*i = (start - mem) / m->psize;
	*n = (end - mem + m->psize - 1) / m->psize - *i;
}

/* Most lie in the window; the others differ from one of those by a little. */
struct area draw_area(struct fuzz *f)
{
	__u64 r = rnd(f);
	struct draw d = { .a = r, .b = r >> 32 };
	struct model *m = f->m;
	struct area a;
	int i, n;

	range(m, &d, rnd(f) % 5, &i, &n);
	a.start = (uintptr_t)at(m, i);
	a.len = n * m->psize;
	r = rnd(f);
	switch (r % 32) {
	case 0:
		a.start += 1 + (r >> 8) % (SMALL - 1);
		break;
	case 1:
		a.len -= 1 + (r >> 8) % (SMALL - 1);
		break;
	case 2:
		a.len = 0;
		break;
	case 3:
		a.len = window_end(m) + SMALL - a.start;
		break;
	case 4:
		a.len += a.start - (uintptr_t)m->mem + SMALL;
		a.start = (uintptr_t)m->mem - SMALL;
		break;
	case 5:
		a = (struct area) { LOW, SMALL * (1 + (r >> 8) % 16) };
		break;
	case 6:
		a.start = r & ~(SMALL - 1) ? r | 1ULL << 63 : 1ULL << 63;
		a.start &= ~(SMALL - 1);
		break;
	case 7:
		a.len = 0 - a.start;
		break;
	case 8:
		a.len = 1ULL << (57 + (r >> 8) % 7);
		break;
	case 9:
		if (once(f, 8))
			a = (struct area) { 0, TOP };
		break;
	case 10:
	case 11:
		/* A part of a page, where pages are huge. */
		a.start += SMALL * ((r >> 8) % (m->psize / SMALL));
		a.len = SMALL * (1 + (r >> 32) % (m->psize / SMALL));
		if (!inside(m, a))
			a.len = SMALL;
		break;
	case 12:
		a.len = 0 - SMALL;
		break;
	}
	return a;
}

bool bad_area(struct area a)
{
	if ((a.start | a.len) & (SMALL - 1) || !a.len)
		return true;
	return a.start >= TOP || a.len > TOP - a.start;
}

enum where draw_where(struct fuzz *f)
{
	return once(f, 8) ? rnd(f) % NR_WHERE : ARG_OK;
}

bool bad_where(enum where w)
{
	return w >= ARG_NULL;
}

int draw_uffd(struct fuzz *f)
{
	return once(f, 8) ? 1 + rnd(f) % (NR_UFFD - 1) : 1 + rnd(f) % CTX_EVENTS;
}

struct record *note(struct fuzz *f, const char *name)
{
	struct record *r = &f->fs->record[f->fs->records++ % NR_RECORDS];

	f->fs->calls++;
	*r = (struct record) { .name = name, .step = f->m->sh->step };
	return r;
}

void print_record(const struct record *r)
{
	ksft_print_msg("%d: %s(%d, where %d, %llx %llx %llx %llx %llx) = %ld, wanted %llx\n",
		       r->step, r->name, r->uffd, r->where, r->a[0], r->a[1],
		       r->a[2], r->a[3], r->a[4], r->ret, r->want);
}

void judge(struct fuzz *f, struct record *r, __u64 want, long ret)
{
	r->want = want;
	r->ret = ret;
	f->fs->errors[ret <= 0 && ret > -64 ? -ret : 63]++;
	f->fs->ok += !ret;
	if (ret > 0 || ret <= -64 || !(want & E(-ret)))
		fail(f->m, "%s gave %ld, wanted was one of %#llx", r->name, ret, want);
}

static size_t size_of(unsigned int cmd)
{
	size_t size = cmd >> _IOC_SIZESHIFT & _IOC_SIZEMASK;

	return size < sizeof(union arg) ? size : sizeof(union arg);
}

long call(struct fuzz *f, struct record *r, unsigned int cmd, union arg *arg)
{
	size_t size = size_of(cmd);
	char *p = f->page;
	long ret;

	memcpy(r->a, arg, sizeof(*arg));
	switch (r->where) {
	case ARG_OK:
		p += rnd(f) % 64 * sizeof(__u64);
		memcpy(p, arg, size);
		break;
	case ARG_END:
		p += SMALL - size;
		memcpy(p, arg, size);
		break;
	case ARG_READONLY:
		memcpy(f->alias, arg, size);
		p = f->readonly;
		break;
	case ARG_NULL:
		p = NULL;
		break;
	case ARG_KERNEL:
		p = (char *)(~0ULL << 40);
		break;
	case ARG_NONE:
		p += SMALL;
		break;
	case ARG_EDGE:
		/* Half of it cannot be read. */
		p += SMALL - size / 2;
		memcpy(p, arg, size / 2);
		break;
	}
	ret = ioctl(f->uffd[r->uffd], cmd, p) ? -errno : 0;
	if (r->where <= ARG_END)
		memcpy(arg, p, size);
	return ret;
}
