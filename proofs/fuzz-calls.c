// SPDX-License-Identifier: GPL-2.0
/*
 * Calls of the fuzzer, and what each has to answer. A call that has an effect
 * is told to the model; a check of the model's window follows every few calls, so
 * that a call that was refused and yet changed something is found out.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "fuzz.h"

#define RWP	UFFDIO_REGISTER_MODE_RWP
#define WP	UFFDIO_REGISTER_MODE_WP
#define MISSING	UFFDIO_REGISTER_MODE_MISSING
#define MINOR	UFFDIO_REGISTER_MODE_MINOR

static struct record *start(struct fuzz *f, const char *name)
{
	struct record *r = note(f, name);

	r->uffd = draw_uffd(f);
	r->where = draw_where(f);
	return r;
}

/* What comes first in every call but UFFDIO_API; 0 if the call goes on. */
static __u64 early(const struct record *r)
{
	if (r->uffd == U_RAW)
		return E(EINVAL);
	return bad_where(r->where) ? E(EFAULT) : 0;
}

/* A range for UFFDIO_RWPROTECT by a context. */
static __u64 rwp_range_errors(const struct fuzz *f, int uffd, struct area a)
{
	const struct model *m = f->m;
	__u64 want = 0;
	int i, n;

	if (uffd == U_GONE)
		return E(ESRCH);
	slots_of(m, a, &i, &n);
	if (!inside(m, a) || uffd >= NCTX || !rest_in(f->m, i, n, uffd))
		want |= E(ENOENT);
	if (n && uffd < NCTX && !whole_pages(m, a))
		want |= E(EINVAL);
	return want;
}

/*
 * What is left of a file's mapping when armed pages are resolved, or a huge one
 * is cut, or what khugepaged does to memory that is not registered for a moment, is
 * for the model to look at before it is asked again.
 */
static void settle(struct fuzz *f)
{
	if (f->m->flags & (K_FILE | K_HUGE))
		check(f->m);
}

static void rwprotect(struct fuzz *f)
{
	struct record *r = start(f, "rwprotect");
	struct area a = draw_area(f);
	bool arm = !once(f, 3);
	union arg arg = {
		.rwp = { { a.start, a.len }, arm ? UFFDIO_RWPROTECT_MODE_RWP : 0 },
	};
	__u64 want = early(r), mode;
	int i, n;
	long ret;

	/* Most of the time with the context that it is registered with. */
	slots_of(f->m, a, &i, &n);
	if (n && f->m->slot[i].ctx && r->uffd < NCTX && !once(f, 8))
		r->uffd = f->m->slot[i].ctx;
	if (once(f, 8))
		arg.rwp.mode |= UFFDIO_RWPROTECT_MODE_DONTWAKE;
	if (once(f, 16))
		arg.rwp.mode |= 1ULL << (2 + rnd(f) % 62);
	mode = arg.rwp.mode;
	if (!want && (bad_area(a) || mode > 2))
		want = E(EINVAL);
	if (!want)
		want = rwp_range_errors(f, r->uffd, a);
	ret = call(f, r, UFFDIO_RWPROTECT, &arg);
	judge(f, r, want ? want : OK, ret);
	for (; !ret && n--; i++) {
		if (!arm)
			disarm(f->m, i);
		else if (f->m->slot[i].pop == POPULATED)
			f->m->slot[i].armed = true;
	}
	if (!ret)
		settle(f);
}

static void set_mode(struct fuzz *f)
{
	struct record *r = start(f, "set_mode");
	__u64 bits[] = { 0, 0, UFFD_FEATURE_RWP_ASYNC, UFFD_FEATURE_RWP_ASYNC,
			 UFFD_FEATURE_RWP, 1ULL << rnd(f) % 64 };
	union arg arg = { .mode = { bits[rnd(f) % 6], bits[rnd(f) % 6] } };
	__u64 want = early(r), all = arg.mode.enable | arg.mode.disable;
	bool async = arg.mode.enable;
	long ret;

	if (!want && ((arg.mode.enable & arg.mode.disable) ||
		      (all & ~(__u64)UFFD_FEATURE_RWP_ASYNC)))
		want = E(EINVAL);
	if (!want && r->uffd == U_PLAIN && async)
		want = E(EINVAL);
	if (!want && r->uffd == U_GONE)
		want = E(ESRCH) | (all ? 0 : OK);
	/* Where the mode is to stay, only what changes nothing. */
	if (!want && r->uffd < NCTX && all && !is(f->m, M_MIXED) &&
	    async != f->m->async[r->uffd]) {
		arg.mode.enable = 0;
		arg.mode.disable = 0;
		all = 0;
	}
	ret = call(f, r, UFFDIO_SET_MODE, &arg);
	judge(f, r, want ? want : OK, ret);
	if (!ret && all && r->uffd < NCTX)
		f->m->async[r->uffd] = async;
}

static __u64 range_ioctls(const struct model *m, __u64 modes)
{
	__u64 set = UFFD_API_RANGE_IOCTLS;

	if (is(m, K_HUGETLB))
		set = UFFD_API_RANGE_IOCTLS_BASIC;
	if (!(modes & WP))
		set &= ~(1ULL << _UFFDIO_WRITEPROTECT);
	if (!(modes & MINOR))
		set &= ~(1ULL << _UFFDIO_CONTINUE);
	if (!(modes & RWP))
		set &= ~(1ULL << _UFFDIO_RWPROTECT);
	return set;
}

static __u64 register_errors(const struct fuzz *f, int uffd, struct area a,
			     __u64 modes)
{
	const struct model *m = f->m;
	const struct slot *s;
	__u64 want = 0;
	int i, n;

	slots_of(m, a, &i, &n);
	/* Nothing there; no access there; or nothing that can have it at all. */
	if (!inside(m, a) || uffd == U_OTHER)
		want |= E(EINVAL) | E(EPERM) | E(EBUSY);
	if (!whole_pages(m, a))
		want |= E(EINVAL);
	for (s = &m->slot[i]; n--; s++) {
		if ((modes & MINOR) && !is(m, K_FILE) && !is(m, K_HUGETLB))
			want |= E(EINVAL);
		if ((modes & RWP) && !s->prot)
			want |= E(EINVAL);
		if (s->ctx && s->ctx != uffd)
			want |= E(EBUSY);
		if (is_rwp(s) && !(modes & RWP))
			want |= E(EBUSY);
	}
	return want;
}

static __u64 draw_modes(struct fuzz *f)
{
	__u64 r = rnd(f), modes = RWP | (r & (MISSING | MINOR));

	/* A private mapping would do without asking whether it makes sense. */
	if ((f->m->flags & (K_FILE | K_HUGETLB)) && !is(f->m, K_SHARED))
		modes &= ~MINOR;
	switch ((r >> 8) % 16) {
	case 0:
		return MISSING;
	case 1:
		return modes | WP;
	case 2:
		return modes | 1ULL << (4 + (r >> 16) % 60);
	case 3:
		return once(f, 4) ? 0 : RWP;
	}
	return (r >> 16) % 3 ? RWP : modes;
}

static void do_register(struct fuzz *f)
{
	struct record *r = start(f, "register");
	struct area a = draw_area(f);
	union arg arg = { .reg = { { a.start, a.len }, draw_modes(f), 77 } };
	__u64 want = early(r), modes;
	struct slot *s;
	int i, n;
	long ret;

	/* Success is put into the argument. */
	if (r->where == ARG_READONLY)
		r->where = ARG_OK;
	if (!inside(f->m, a) && !bad_area(a))
		arg.reg.mode |= RWP;
	modes = arg.reg.mode;
	if (!want && (!modes || modes >= 2 * RWP || bad_area(a) ||
		      (modes & (RWP | WP)) == (RWP | WP) ||
		      (r->uffd == U_PLAIN && (modes & RWP))))
		want = E(EINVAL);
	if (!want && r->uffd == U_GONE)
		want = E(ENOMEM);
	/* The model has no name for this context. */
	if (!want && r->uffd == U_PLAIN)
		r->uffd = 1;
	if (!want)
		want = register_errors(f, r->uffd, a, modes);
	ret = call(f, r, UFFDIO_REGISTER, &arg);
	judge(f, r, want ? want : OK, ret);
	if (ret)
		return;
	if (arg.reg.ioctls != range_ioctls(f->m, modes))
		fail(f->m, "register: ioctls %#llx", arg.reg.ioctls);
	slots_of(f->m, a, &i, &n);
	for (s = &f->m->slot[i]; n--; s++) {
		if (s->ctx && (s->modes & modes) == modes)
			continue;
		s->ctx = r->uffd;
		s->modes = modes;
	}
	settle(f);
}

static void unregister(struct fuzz *f)
{
	struct record *r = start(f, "unregister");
	struct area a = draw_area(f);
	struct model *m = f->m;
	union arg arg = { };
	__u64 want = early(r);
	int i, n;
	long ret;

	/* It stops in the middle at a huge page that it cannot cut. */
	if (is(m, K_HUGETLB) && inside(m, a) && !bad_area(a))
		a.len = (a.len + m->psize - 1) & ~(m->psize - 1);
	/* Not too much at once. */
	slots_of(m, a, &i, &n);
	if (!want && !bad_area(a) && inside(m, a) && n > 4 && !once(f, 16))
		a.len = m->psize;
	arg.range = (struct uffdio_range) { a.start, a.len };
	if (!want && bad_area(a))
		want = E(EINVAL);
	if (!want && r->uffd == U_GONE)
		want = E(ENOMEM);
	slots_of(m, a, &i, &n);
	if (!want && (r->uffd == U_OTHER || a.start < (1ULL << 20) ||
		      (is(m, K_HUGETLB) && n && a.start & (m->psize - 1) &&
		       a.start > (uintptr_t)m->mem)))
		want = E(EINVAL);
	ret = call(f, r, UFFDIO_UNREGISTER, &arg);
	judge(f, r, want ? want : OK, ret);
	for (; !ret && n--; i++)
		if (m->slot[i].ctx)
			ordinary(m, i);
	if (!ret)
		settle(f);
}

static void wake(struct fuzz *f)
{
	struct record *r = start(f, "wake");
	struct area a = draw_area(f);
	union arg arg = { .range = { a.start, a.len } };
	__u64 want = early(r);

	if (!want)
		want = bad_area(a) ? E(EINVAL) : OK;
	judge(f, r, want, call(f, r, UFFDIO_WAKE, &arg));
}

/* Nothing here is registered for WP. */
static void writeprotect(struct fuzz *f)
{
	struct record *r = start(f, "writeprotect");
	struct area a = draw_area(f);
	union arg arg = { .wp = { { a.start, a.len }, rnd(f) % 4 } };
	__u64 want = early(r);

	if (once(f, 16))
		arg.wp.mode |= 1ULL << (2 + rnd(f) % 62);
	if (!want && (bad_area(a) || arg.wp.mode > 2))
		want = E(EINVAL);
	if (!want)
		want = r->uffd == U_GONE ? E(ESRCH) : E(ENOENT);
	judge(f, r, want, call(f, r, UFFDIO_WRITEPROTECT, &arg));
}

static void api(struct fuzz *f)
{
	struct record *r = start(f, "api");
	union arg arg = { .api = { UFFD_API, 0, 55 } }, none = { };
	__u64 want = 0, k;
	long ret;

	if (r->where == ARG_READONLY)
		r->where = ARG_OK;
	/* U_RAW stands for one that is made for this call. */
	if (r->uffd != U_RAW && once(f, 2))
		r->uffd = U_RAW;
	for (k = rnd(f) % 4; k; k--)
		arg.api.features |= 1ULL << rnd(f) % 19;
	if (once(f, 8))
		arg.api.features |= 1ULL << rnd(f) % 64;
	if (once(f, 16))
		arg.api.api ^= 1ULL << rnd(f) % 64;
	if (bad_where(r->where))
		want = E(EFAULT);
	else if (r->uffd != U_RAW || arg.api.api != UFFD_API ||
		 (arg.api.features & ~f->features) ||
		 ((arg.api.features & UFFD_FEATURE_RWP_ASYNC) &&
		  !(arg.api.features & UFFD_FEATURE_RWP)))
		want = E(EINVAL);
	if (r->uffd == U_RAW) {
		int raw = f->uffd[U_RAW];

		f->uffd[U_RAW] = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
		if (f->uffd[U_RAW] < 0)
			fail(f->m, "userfaultfd: %d", errno);
		ret = call(f, r, UFFDIO_API, &arg);
		close(f->uffd[U_RAW]);
		f->uffd[U_RAW] = raw;
	} else {
		ret = call(f, r, UFFDIO_API, &arg);
	}
	judge(f, r, want ? want : OK, ret);
	if (want == E(EINVAL) && memcmp(&arg.api, &none.api, sizeof(none.api)))
		fail(f->m, "api: refused, and the struct is not zero");
	if (!ret && (arg.api.features != f->features ||
		     arg.api.ioctls != f->api_ioctls))
		fail(f->m, "api: features %#llx, ioctls %#llx", arg.api.features,
		     arg.api.ioctls);
}

/* No such operation, or not of this size. */
static void unknown(struct fuzz *f)
{
	struct record *r = start(f, "unknown");
	union arg arg = { .w = { rnd(f), rnd(f), rnd(f), rnd(f), rnd(f) } };
	unsigned int nr = rnd(f) % 0x40, cmd;

	if (nr < 0x0b || nr == 0x3f)
		cmd = _IOC(_IOC_READ | _IOC_WRITE, UFFDIO, nr, 64 + rnd(f) % 64);
	else
		cmd = _IOC(rnd(f) % 4, UFFDIO, nr, 8 * (1 + rnd(f) % 5));
	r->a[4] = cmd;
	judge(f, r, E(EINVAL), call(f, r, cmd, &arg));
}

/* Without a message: no operation of the fuzzer leaves one unread. */
static void look(struct fuzz *f)
{
	struct record *r = start(f, "look");
	struct pollfd pfd = { .fd = f->uffd[r->uffd], .events = POLLIN };
	bool shorter = once(f, 2);
	struct uffd_msg msg;
	__u64 features = 0, ioctls;
	ssize_t ret;

	ret = read(pfd.fd, &msg, shorter ? rnd(f) % sizeof(msg) : sizeof(msg));
	judge(f, r, r->uffd == U_RAW || shorter ? E(EINVAL) : E(EAGAIN),
	      ret < 0 ? -errno : ret);
	if (poll(&pfd, 1, 0) < 0 ||
	    pfd.revents != (r->uffd == U_RAW ? POLLERR : 0))
		fail(f->m, "poll: %#x", pfd.revents);
	if (r->uffd >= NCTX || !once(f, 16))
		return;
	if (rwp_fdinfo(pfd.fd, &features, &ioctls) ||
	    !(features & UFFD_FEATURE_RWP_ASYNC) == f->m->async[r->uffd])
		fail(f->m, "fdinfo: features %#llx", features);
}

static const struct {
	void (*fn)(struct fuzz *f);
	unsigned int weight;
} calls[] = {
	{ rwprotect, 30 }, { set_mode, 8 }, { do_register, 12 }, { unregister, 2 },
	{ wake, 4 }, { writeprotect, 4 }, { api, 3 }, { unknown, 2 }, { look, 3 },
	{ fuzz_copy, 6 }, { fuzz_zeropage, 4 }, { fuzz_continue, 4 },
	{ fuzz_poison, 4 }, { fuzz_move, 6 }, { fuzz_bad_scan, 6 },
};

void fuzz_call(struct fuzz *f)
{
	unsigned int k, total = 0, draw;

	for (k = 0; k < ARRAY_SIZE(calls); k++)
		total += calls[k].weight;
	draw = rnd(f) % total;
	for (k = 0; draw >= calls[k].weight; k++)
		draw -= calls[k].weight;
	calls[k].fn(f);
}
