/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ioctl fuzzer: see fuzz-ioctl.c. It does its work on the window of pages of
 * the selftests' model test, and believes that model.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <sys/ioctl.h>

#include "../kselftest.h"
#include "uffd-rwp-model.h"

/* What a context can be, besides the two of the model, 1 and CTX_EVENTS. */
enum { U_RAW = NCTX, U_PLAIN, U_GONE, U_OTHER, NR_UFFD };

/* The argument of a call: where it lies. */
enum where { ARG_OK, ARG_END, ARG_READONLY, ARG_NULL, ARG_KERNEL, ARG_NONE, ARG_EDGE, NR_WHERE };

/* Expected results: bit 0 for success, bit n for errno n. */
#define OK		1ULL
#define E(nr)		(1ULL << (nr))

/* One call, kept to be printed after a finding. */
struct record {
	const char *name;
	int step, uffd, where;
	__u64 a[5];
	long ret;
	__u64 want;
};

#define NR_RECORDS	32

struct fuzz_shared {
	unsigned long calls, records, ok;
	struct record record[NR_RECORDS];
	unsigned long errors[64];
};

struct fuzz {
	struct model *m;
	struct fuzz_shared *fs;
	__u64 state;
	int uffd[NR_UFFD];
	char *page;		/* one that can be written, then one that cannot */
	char *readonly, *alias;	/* two views of one page */
	__u64 features, api_ioctls;
};

union arg {
	struct uffdio_api api;
	struct uffdio_register reg;
	struct uffdio_range range;
	struct uffdio_copy copy;
	struct uffdio_zeropage zero;
	struct uffdio_writeprotect wp;
	struct uffdio_continue cont;
	struct uffdio_poison poison;
	struct uffdio_move move;
	struct uffdio_rwprotect rwp;
	struct uffdio_set_mode mode;
	__u64 w[5];
};

struct area {
	__u64 start, len;
};

/* The end of what a process can map. */
#define TOP	((1ULL << 47) - 4096)

static inline __u64 rnd(struct fuzz *f)
{
	return mix(&f->state);
}

/* One in @n. */
static inline bool once(struct fuzz *f, unsigned int n)
{
	return rnd(f) % n == 0;
}

/* fuzz-args.c */
int fuzz_open(struct fuzz *f);
void fuzz_connect(struct fuzz *f);
struct area draw_area(struct fuzz *f);
bool bad_area(struct area a);
enum where draw_where(struct fuzz *f);
bool bad_where(enum where w);
int draw_uffd(struct fuzz *f);
struct record *note(struct fuzz *f, const char *name);
void judge(struct fuzz *f, struct record *r, __u64 want, long ret);
long call(struct fuzz *f, struct record *r, unsigned int cmd, union arg *arg);
/* The slots that a range touches, whole or in part. */
void slots_of(const struct model *m, struct area a, int *i, int *n);
bool inside(const struct model *m, struct area a);
bool whole_pages(const struct model *m, struct area a);
void print_record(const struct record *r);

/* fuzz-calls.c, fuzz-fill.c, fuzz-scan.c */
void fuzz_call(struct fuzz *f);
void fuzz_copy(struct fuzz *f);
void fuzz_zeropage(struct fuzz *f);
void fuzz_continue(struct fuzz *f);
void fuzz_poison(struct fuzz *f);
void fuzz_move(struct fuzz *f);
void fuzz_scan(struct fuzz *f);
void fuzz_bad_scan(struct fuzz *f);
/* Several calls that belong together. */
void fuzz_story(struct fuzz *f);

/* fuzz-wild.c */
int fuzz_wild(struct fuzz_shared *fs, __u64 seed, unsigned long calls);

#endif /* FUZZ_H */
