// SPDX-License-Identifier: GPL-2.0
/* Short sequences in the fuzzer, in memory that is what it was at their end. */
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>

#include "fuzz.h"

#define RWP	UFFDIO_REGISTER_MODE_RWP
#define WP	UFFDIO_REGISTER_MODE_WP
#define MISSING	UFFDIO_REGISTER_MODE_MISSING

static void want(struct fuzz *f, const char *what, int uffd, int i, int n, __u64 errors,
		 long ret)
{
	struct record *r = note(f, what);

	r->uffd = uffd;
	r->a[0] = i;
	r->a[1] = n;
	judge(f, r, errors, ret);
}

static int error(int ret)
{
	return ret ? -errno : 0;
}

/* Slots @i to @i + @n that are ordinary, and can be written. */
static int ordinary_run(struct fuzz *f, int *i)
{
	struct draw d = { .a = rnd(f), .b = 0 };
	struct model *m = f->m;
	int n = 0;

	*i = pick(m, &d, ORDINARY);
	while (*i + n < m->n && n < 4 && !m->slot[*i + n].ctx && m->slot[*i + n].prot == 3)
		n++;
	return n;
}

/* A range that is registered for WP is none of RWP's, and the other way round. */
static void write_protected(struct fuzz *f)
{
	struct model *m = f->m;
	int i, n = ordinary_run(f, &i), k, uffd = once(f, 2) ? U_PLAIN : 1, fd = f->uffd[uffd];
	size_t len = n * m->psize;
	char *p = at(m, i);

	if (!n || is(m, K_HUGE))
		return;
	want(f, "wp: register", uffd, i, n, OK, rwp_register(fd, p, len, WP));
	want(f, "wp: rwp over it", 1, i, n, E(EBUSY), rwp_register(m->uffd[1], p, len, RWP));
	want(f, "wp: rwp over it", 2, i, n, E(EBUSY), rwp_register(m->uffd[2], p, len, RWP));
	want(f, "wp: protect", uffd, i, n, OK, rwp_writeprotect(fd, p, len, true));
	want(f, "wp: arm", uffd, i, n, E(ENOENT),
	     rwp_protect(fd, (uintptr_t)p, len, UFFDIO_RWPROTECT_MODE_RWP));
	want(f, "wp: resolve", uffd, i, n, E(ENOENT), rwp_protect(fd, (uintptr_t)p, len, 0));
	if (uffd == U_PLAIN || once(f, 2)) {
		want(f, "wp: unregister", uffd, i, n, OK, rwp_unregister(fd, p, len));
	} else {
		/* What it leaves in the page table must not count as armed. */
		want(f, "wp: dropped", uffd, i, n, OK, rwp_register(fd, p, len, MISSING));
		want(f, "wp: rwp instead", uffd, i, n, OK, rwp_register(fd, p, len, RWP));
		for (k = i; k < i + n; k++) {
			m->slot[k].ctx = uffd;
			m->slot[k].modes = RWP;
		}
	}
	/* Of a file it may have made an entry for what is not there, or none. */
	for (k = i; is(m, K_FILE) && k < i + n; k++)
		if (!m->slot[k].own)
			m->slot[k].pop = UNKNOWN;
	check(m);
}

/* A range with a hole is armed on both sides of it. */
static void gap(struct fuzz *f)
{
	struct draw d = { .a = rnd(f) };
	struct model *m = f->m;
	int i = pick(m, &d, PLAIN), lo = i, hi = i + 1, ctx = m->slot[i].ctx, k;
	bool arm = once(f, 2);
	char *p = at(m, i);

	if (!ctx || is(m, K_HUGE) || m->pin.n || (m->child.pid && is(m, K_FILE)))
		return;
	while (lo > 0 && i - lo < 4 && rest_in(m, lo - 1, 1, ctx))
		lo--;
	while (hi < m->n && hi - i < 4 && rest_in(m, hi, 1, ctx))
		hi++;
	want(f, "gap: munmap", 0, i, 1, OK, error(munmap(p, m->psize)));
	drop(m, i);
	m->slot[i] = (struct slot) { .prot = PROT_READ | PROT_WRITE,
				     .file = m->slot[i].file };
	want(f, "gap: in it", ctx, i, 1, E(ENOENT),
	     rwp_protect(f->uffd[ctx], (uintptr_t)p, m->psize, arm));
	want(f, "gap: register it", ctx, i, 1, E(EINVAL),
	     rwp_register(f->uffd[ctx], p, m->psize, RWP));
	want(f, "gap: around it", ctx, lo, hi - lo, hi - lo > 1 ? OK : E(ENOENT),
	     rwp_protect(f->uffd[ctx], (uintptr_t)at(m, lo), (hi - lo) * m->psize, arm));
	for (k = lo; k < hi; k++) {
		if (k == i || !is_rwp(&m->slot[k]))
			continue;
		if (!arm)
			disarm(m, k);
		else if (m->slot[k].pop == POPULATED)
			m->slot[k].armed = true;
	}
	model_remap(m, i, 1);
	check(m);
}

/* Poison is neither armed, nor accessed, nor lost by what arms and resolves. */
static void poisoned(struct fuzz *f)
{
	struct draw d = { .a = rnd(f) };
	struct model *m = f->m;
	int i = pick(m, &d, EMPTY), uffd;
	struct slot *s = &m->slot[i];
	struct uffdio_poison arg = { .range = { (uintptr_t)at(m, i), m->psize } };
	struct touch t = { .addr = at(m, i) };

	if (!s->ctx || s->armed || s->pop != HOLE || !s->prot ||
	    (m->flags & (K_FILE | K_HUGETLB | K_HUGE | K_MTHP)))
		return;
	uffd = f->uffd[s->ctx];
	want(f, "poison: put", s->ctx, i, 1, OK, error(ioctl(uffd, UFFDIO_POISON, &arg)));
	want(f, "poison: again", s->ctx, i, 1, E(EEXIST),
	     error(ioctl(uffd, UFFDIO_POISON, &arg)));
	if (is_rwp(s)) {
		want(f, "poison: arm", s->ctx, i, 1, OK,
		     rwp_protect(uffd, (uintptr_t)at(m, i), m->psize, 1));
		want(f, "poison: scan", s->ctx, i, 1, OK,
		     rwp_count_accessed(&(struct rwp) { .pagemap = m->pagemap,
							.psize = m->psize },
					at(m, i), m->psize));
		if (rwp_bit57(&(struct rwp) { .pagemap = m->pagemap, .psize = m->small },
			      at(m, i)))
			fail(m, "poison: bit 57");
		if (once(f, 2))
			want(f, "poison: resolve", s->ctx, i, 1, OK,
			     rwp_protect(uffd, (uintptr_t)at(m, i), m->psize, 0));
	}
	if (touch(&t) != SIGBUS)
		fail(m, "page %d: poisoned, and read", i);
	want(f, "poison: free", 0, i, 1, OK, error(madvise(at(m, i), m->psize, MADV_DONTNEED)));
	drop(m, i);
	check(m);
}

void fuzz_story(struct fuzz *f)
{
	switch (rnd(f) % 3) {
	case 0:
		write_protected(f);
		break;
	case 1:
		gap(f);
		break;
	case 2:
		poisoned(f);
		break;
	}
}
