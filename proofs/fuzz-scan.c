// SPDX-License-Identifier: GPL-2.0
/* PAGEMAP_SCAN in the fuzzer: what one scan says has to agree with all others. */
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

/* What the model asks for, page by page, in each of its checks. */
#define LOOK_AT		(PAGE_IS_ACCESSED | PAGE_IS_PRESENT | PAGE_IS_SWAPPED | \
			 PAGE_IS_HUGE | PAGE_IS_PFNZERO)
#define KNOWN		0x2ffULL	/* bit 8 is nothing on this kernel */

static __u64 draw_mask(struct fuzz *f, bool known)
{
	__u64 all[] = { PAGE_IS_ACCESSED, PAGE_IS_PRESENT, PAGE_IS_SWAPPED,
			PAGE_IS_HUGE, PAGE_IS_PFNZERO }, mask = 0;
	int k;

	for (k = rnd(f) % 3; k; k--)
		mask |= known ? all[rnd(f) % 5] : rnd(f) & KNOWN;
	return mask;
}

static bool matches(const struct pm_scan_arg *arg, __u64 categories)
{
	categories ^= arg->category_inverted;
	if ((categories & arg->category_mask) != arg->category_mask)
		return false;
	return !arg->category_anyof_mask || (categories & arg->category_anyof_mask);
}

/* Page by page; ~0 for a page that did not match. */
static void scan(struct fuzz *f, struct pm_scan_arg *arg, int i, int n, __u64 *got)
{
	struct page_region region[16];
	struct model *m = f->m;
	char *p = at(m, i), *end = at(m, i + n);
	__u64 addr;
	long ret, j;
	int k;

	for (k = 0; k < n; k++)
		got[k] = ~0ULL;
	while (p < end) {
		arg->vec = (uintptr_t)region;
		arg->vec_len = 1 + rnd(f) % ARRAY_SIZE(region);
		arg->max_pages = 0;
		/* A limit would cut huge pages. */
		if (m->psize == m->small && once(f, 2))
			arg->max_pages = 1 + rnd(f) % 32;
		ret = rwp_scan(m->pagemap, p, end - p, arg);
		if (ret < 0)
			fail(m, "scan: %s", strerror(-ret));
		f->fs->calls++;
		for (j = 0; j < ret; j++) {
			for (addr = region[j].start; addr < region[j].end; addr += m->psize)
				got[(addr - (uintptr_t)at(m, i)) / m->psize] =
					region[j].categories;
		}
		if (arg->walk_end <= (uintptr_t)p)
			fail(m, "scan: no progress at %#llx", (__u64)(uintptr_t)p);
		p = (char *)(uintptr_t)arg->walk_end;
	}
}

static int differs(const struct model *m, const struct pm_scan_arg *arg, int i, int n,
		   const __u64 *got)
{
	__u64 want;
	int k;

	for (k = 0; k < n; k++) {
		want = matches(arg, m->seen[i + k]) ?
			m->seen[i + k] & arg->return_mask : ~0ULL;
		if (got[k] != want)
			return i + k;
	}
	return -1;
}

void fuzz_scan(struct fuzz *f)
{
	struct record *r = note(f, "scan");
	struct model *m = f->m;
	struct pm_scan_arg arg = {
		.category_mask = draw_mask(f, true),
		.category_inverted = draw_mask(f, true),
		.category_anyof_mask = once(f, 2) ? 0 : draw_mask(f, true),
		.return_mask = draw_mask(f, true),
	};
	__u64 draw = rnd(f), got[2048];
	struct draw d = { .a = draw, .b = draw >> 32 };
	int i, n, bad;

	/* The kernel has a faster way for this one. */
	if (once(f, 3)) {
		arg = (struct pm_scan_arg) { .category_mask = PAGE_IS_ACCESSED };
		arg.return_mask = once(f, 2) ? PAGE_IS_ACCESSED : 0;
	}
	range(m, &d, ARMED, &i, &n);
	r->a[0] = i;
	r->a[1] = n;
	r->a[2] = arg.category_mask << 32 | arg.category_inverted;
	r->a[3] = arg.category_anyof_mask << 32 | arg.return_mask;
	scan(f, &arg, i, n, got);
	if (differs(m, &arg, i, n, got) < 0)
		return;
	/* Reclaim may have been there since the last look. */
	check(m);
	scan(f, &arg, i, n, got);
	bad = differs(m, &arg, i, n, got);
	if (bad >= 0)
		fail(m, "page %d: scanned %#llx, it is %#llx", bad, got[bad - i],
		     m->seen[bad]);
}

void fuzz_bad_scan(struct fuzz *f)
{
	struct record *r = note(f, "bad scan");
	struct model *m = f->m;
	struct page_region region[8];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = (uintptr_t)m->mem,
		.end = (uintptr_t)at(m, m->n),
		.vec = (uintptr_t)region,
		.vec_len = ARRAY_SIZE(region),
		.category_mask = draw_mask(f, false),
		.category_inverted = draw_mask(f, false),
		.category_anyof_mask = draw_mask(f, false),
		.return_mask = draw_mask(f, false),
	};
	__u64 *masks[] = { &arg.category_mask, &arg.category_inverted,
			   &arg.category_anyof_mask, &arg.return_mask };
	void *p = &arg;
	__u64 want = E(EINVAL), odd;
	long ret;

	r->where = rnd(f) % 10;
	switch (r->where) {
	case 0:
		arg.size ^= 1ULL << rnd(f) % 64;
		break;
	case 1:
		arg.flags = 1ULL << (2 + rnd(f) % 62);
		break;
	case 2:
		odd = 1ULL << (9 + rnd(f) % 55);
		*masks[rnd(f) % 4] |= odd == PAGE_IS_ACCESSED ? 1 << 8 : odd;
		break;
	case 3:
		arg.start += 1 + rnd(f) % 4095;
		break;
	case 4:
		arg.end = arg.start - 4096;
		want = E(EFAULT);
		break;
	case 5:
		arg.vec = 0;
		break;
	case 6:
		arg.vec = ~0ULL << 40;
		want = E(EFAULT);
		break;
	case 7:
		p = once(f, 2) ? NULL : f->page + 4096 - sizeof(arg) / 2;
		want = E(EFAULT);
		break;
	case 8:
		arg.flags = PM_SCAN_CHECK_WPASYNC;
		if (once(f, 2))
			arg.flags |= PM_SCAN_WP_MATCHING;
		want = E(EPERM);
		break;
	case 9:
		arg.vec = (uintptr_t)f->page + 4096;
		want = E(EFAULT) | OK;
		break;
	}
	memcpy(r->a, &arg.flags, sizeof(r->a));
	ret = ioctl(m->pagemap, PAGEMAP_SCAN, p);
	judge(f, r, want, ret < 0 ? -errno : 0);
}
