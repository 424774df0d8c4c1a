// SPDX-License-Identifier: GPL-2.0
/*
 * Calls of the fuzzer that put pages somewhere. Those that succeed are the
 * model's own steps; these have something wrong, and have to say what.
 */
#include <string.h>
#include <sys/mman.h>

#include "fuzz.h"

#define UNCHANGED	(-7777)

static struct record *start(struct fuzz *f, const char *name, struct area *dst)
{
	struct record *r = note(f, name);

	r->uffd = draw_uffd(f);
	r->where = draw_where(f);
	*dst = draw_area(f);
	return r;
}

/* What comes before the destination is looked at. */
static __u64 early(const struct record *r, bool bad)
{
	if (r->uffd == U_RAW)
		return E(EINVAL);
	if (bad_where(r->where))
		return E(EFAULT);
	if (bad)
		return E(EINVAL);
	return r->uffd == U_GONE ? E(ESRCH) : 0;
}

/* Why nothing can be put at the head of @dst; 0 if it might. */
static __u64 taken(const struct fuzz *f, int uffd, struct area dst)
{
	const struct model *m = f->m;
	const struct slot *s;
	int i, n, k;

	if (uffd == U_OTHER)
		return E(ENOENT);
	slots_of(m, dst, &i, &n);
	if (!inside(m, dst)) {
		/* Begins where nothing is registered, or ends there. */
		if (!n || dst.start < (uintptr_t)m->mem)
			return E(ENOENT);
		return E(ENOENT) | E(EINVAL);
	}
	s = &m->slot[i];
	if (!s->ctx)
		return E(ENOENT);
	/* Not in one mapping: which is cut where the registration changes. */
	for (k = 1; k < n; k++)
		if (s[k].ctx != s->ctx)
			return E(ENOENT) | E(EINVAL);
	if (!whole_pages(m, dst))
		return E(EINVAL) | E(ENOENT);
	/* The mapping of a huge page of a file may go away unasked. */
	if (s->pop != POPULATED || s->marker || is(m, K_FILE | K_HUGE))
		return 0;
	return E(EEXIST) | (n > 1 ? E(ENOENT) : 0);
}

static void finish(struct fuzz *f, struct record *r, unsigned int cmd,
		   union arg *arg, __s64 *out, __u64 want)
{
	long ret;

	*out = UNCHANGED;
	/* The result is put into the argument, also where it is an error. */
	if (r->where == ARG_READONLY)
		r->where = ARG_OK;
	ret = call(f, r, cmd, arg);
	judge(f, r, want, ret);
	if (r->where <= ARG_END && *out != UNCHANGED && *out != ret)
		fail(f->m, "%s gave %ld, and says %lld", r->name, ret, *out);
}

void fuzz_copy(struct fuzz *f)
{
	struct area dst, src;
	struct record *r = start(f, "copy", &dst);
	union arg arg = { .copy = { dst.start, (uintptr_t)f->m->buf, dst.len, 0, 0 } };
	bool bad_src;
	__u64 want;

	arg.copy.mode = once(f, 4) ? UFFDIO_COPY_MODE_DONTWAKE : 0;
	if (once(f, 8))
		arg.copy.mode |= 1ULL << (1 + rnd(f) % 63);
	if (once(f, 8)) {
		int i, n;

		src = draw_area(f);
		src.len = dst.len;
		slots_of(f->m, src, &i, &n);
		/* To read the window is an access. */
		if (n)
			src.start = 0;
		arg.copy.src = src.start;
	}
	/* The source need not be aligned. */
	bad_src = arg.copy.src >= TOP || dst.len > TOP - arg.copy.src;
	want = early(r, bad_area(dst) || bad_src || arg.copy.mode > 3);
	if (!want && (arg.copy.mode & UFFDIO_COPY_MODE_WP))
		want = E(EINVAL) | E(ENOENT);
	if (!want)
		want = taken(f, r->uffd, dst);
	if (!want) {
		arg.copy.mode = 1ULL << 40;
		want = E(EINVAL);
	}
	/* It looks at the source first where that is a page not in memory. */
	if (want & E(EEXIST))
		want |= E(EFAULT);
	finish(f, r, UFFDIO_COPY, &arg, &arg.copy.copy, want);
}

void fuzz_zeropage(struct fuzz *f)
{
	struct area dst;
	struct record *r = start(f, "zeropage", &dst);
	union arg arg = { .zero = { { dst.start, dst.len }, rnd(f) & 1, 0 } };
	__u64 want;

	if (once(f, 8))
		arg.zero.mode |= 1ULL << (1 + rnd(f) % 63);
	want = early(r, bad_area(dst) || arg.zero.mode > 1);
	if (!want)
		want = taken(f, r->uffd, dst);
	if (!want) {
		arg.zero.mode = 1ULL << 40;
		want = E(EINVAL);
	}
	if (want & E(EEXIST) && is(f->m, K_HUGETLB))
		want |= E(EINVAL);
	finish(f, r, UFFDIO_ZEROPAGE, &arg, &arg.zero.zeropage, want);
}

void fuzz_continue(struct fuzz *f)
{
	struct area dst;
	struct record *r = start(f, "continue", &dst);
	union arg arg = { .cont = { { dst.start, dst.len }, rnd(f) & 1, 0 } };
	__u64 want;

	if (once(f, 8))
		arg.cont.mode |= 1ULL << (1 + rnd(f) % 63);
	want = early(r, bad_area(dst) || arg.cont.mode > 3);
	if (!want && (arg.cont.mode & UFFDIO_CONTINUE_MODE_WP))
		want = E(EINVAL) | E(ENOENT);
	if (!want)
		want = taken(f, r->uffd, dst);
	/* It is for files. */
	if (!want && !is(f->m, K_FILE) && !is(f->m, K_HUGETLB))
		want = E(EINVAL) | E(ENOENT);
	if (!want) {
		arg.cont.mode = 1ULL << 40;
		want = E(EINVAL);
	}
	/* The page may be a copy, and the file have none. */
	if (want & E(EEXIST))
		want |= E(EFAULT) | E(EINVAL);
	finish(f, r, UFFDIO_CONTINUE, &arg, &arg.cont.mapped, want);
}

void fuzz_poison(struct fuzz *f)
{
	struct area dst;
	struct record *r = start(f, "poison", &dst);
	union arg arg = { .poison = { { dst.start, dst.len }, rnd(f) & 1, 0 } };
	__u64 want;

	if (once(f, 8))
		arg.poison.mode |= 1ULL << (1 + rnd(f) % 63);
	want = early(r, bad_area(dst) || arg.poison.mode > 1);
	if (!want)
		want = taken(f, r->uffd, dst);
	if (!want) {
		arg.poison.mode = 1ULL << 40;
		want = E(EINVAL);
	}
	finish(f, r, UFFDIO_POISON, &arg, &arg.poison.updated, want);
}

void fuzz_move(struct fuzz *f)
{
	struct area dst, src = draw_area(f);
	struct record *r = start(f, "move", &dst);
	union arg arg = { .move = { dst.start, src.start, dst.len, rnd(f) % 4, 0 } };
	struct model *m = f->m;
	__u64 want = 0;
	int i, n, k;

	if (once(f, 8))
		arg.move.mode |= 1ULL << (1 + rnd(f) % 63);
	src.len = dst.len;
	if (r->uffd == U_RAW || bad_where(r->where)) {
		want = early(r, false);
	} else if (r->uffd >= U_GONE || bad_area(dst) || bad_area(src) ||
		   arg.move.mode > 3) {
		want = E(EINVAL);
	} else if (m->flags & (K_FILE | K_HUGETLB) || !inside(m, dst) ||
		   !inside(m, src)) {
		want = E(EINVAL) | E(ENOENT);
	} else {
		slots_of(m, dst, &i, &n);
		for (k = i; k < i + n; k++)
			if (m->slot[k].ctx != r->uffd)
				want = E(EINVAL);
	}
	if (!want) {
		arg.move.mode = 1ULL << 40;
		want = E(EINVAL);
	}
	finish(f, r, UFFDIO_MOVE, &arg, &arg.move.move, want);
}
