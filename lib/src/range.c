// SPDX-License-Identifier: LGPL-2.1-or-later
/* The operations on a range: register, arm, resolve; and the mode. */
#include "internal.h"

/* One line for a range that the kernel refused, and why. */
static int refused(const struct rwp *rwp, const char *what,
		   struct rwp_range range, const char *hint,
		   struct rwp_error *err)
{
	int code = -errno;

	return rwpi_fail(err, code, "%s %#llx-%#llx of process %d%s", what,
			 (unsigned long long)range.start,
			 (unsigned long long)(range.start + range.len),
			 (int)rwp->pid, hint);
}

static struct uffdio_range uffdio(struct rwp_range range)
{
	return (struct uffdio_range){ .start = range.start, .len = range.len };
}

static const char *register_hint(void)
{
	switch (errno) {
	case EINVAL:
		return " (neither anonymous, shmem nor hugetlbfs, or not accessible)";
	case EBUSY:
		return " (another userfaultfd or another mode has it)";
	case EPERM:
		return " (a shared mapping that may not be written)";
	default:
		return "";
	}
}

int rwp_register(struct rwp *rwp, struct rwp_range range, unsigned int flags,
		 struct rwp_error *err)
{
	struct uffdio_register arg = {
		.range = uffdio(range),
		.mode = UFFDIO_REGISTER_MODE_RWP,
	};
	int ret = rwpi_check_range(range, err);

	if (ret)
		return ret;
	if (flags & RWP_REGISTER_MISSING)
		arg.mode |= UFFDIO_REGISTER_MODE_MISSING;
	if (flags & RWP_REGISTER_MINOR)
		arg.mode |= UFFDIO_REGISTER_MODE_MINOR;
	if (ioctl(rwp->fd, UFFDIO_REGISTER, &arg) < 0)
		return refused(rwp, "cannot register", range, register_hint(),
			       err);
	return 0;
}

int rwp_unregister(struct rwp *rwp, struct rwp_range range,
		   struct rwp_error *err)
{
	struct uffdio_range arg = uffdio(range);
	int ret = rwpi_check_range(range, err);

	if (ret)
		return ret;
	if (ioctl(rwp->fd, UFFDIO_UNREGISTER, &arg) < 0)
		return refused(rwp, "cannot unregister", range, "", err);
	return 0;
}

static int protect(struct rwp *rwp, struct rwp_range range, uint64_t mode,
		   const char *what, struct rwp_error *err)
{
	struct uffdio_rwprotect arg = { .range = uffdio(range), .mode = mode };
	int ret = rwpi_check_range(range, err);

	if (ret)
		return ret;
	/* Short of memory for a page table: what is done is done, go on. */
	for (int tries = 0; tries < 3; tries++) {
		if (!ioctl(rwp->fd, UFFDIO_RWPROTECT, &arg))
			return 0;
		if (errno != ENOMEM)
			break;
	}
	return refused(rwp, what, range, "", err);
}

int rwp_arm(struct rwp *rwp, struct rwp_range range, struct rwp_error *err)
{
	return protect(rwp, range, UFFDIO_RWPROTECT_MODE_RWP, "cannot arm",
		       err);
}

int rwp_resolve(struct rwp *rwp, struct rwp_range range, struct rwp_error *err)
{
	return protect(rwp, range, 0, "cannot resolve", err);
}

int rwp_set_mode(struct rwp *rwp, enum rwp_mode mode, struct rwp_error *err)
{
	struct uffdio_set_mode arg = { 0 };
	bool async = mode == RWP_ASYNC;

	if (async)
		arg.enable = UFFD_FEATURE_RWP_ASYNC;
	else
		arg.disable = UFFD_FEATURE_RWP_ASYNC;
	if (ioctl(rwp->fd, UFFDIO_SET_MODE, &arg) < 0)
		return rwpi_fail(err, -errno, "cannot make process %d %s",
				 (int)rwp->pid, async ? "async" : "sync");
	atomic_store(&rwp->async, async);
	return 0;
}

int rwp_wake(struct rwp *rwp, struct rwp_range range, struct rwp_error *err)
{
	struct uffdio_range arg = uffdio(range);
	int ret = rwpi_check_range(range, err);

	if (ret)
		return ret;
	if (ioctl(rwp->fd, UFFDIO_WAKE, &arg) < 0)
		return refused(rwp, "cannot wake", range, "", err);
	return 0;
}

/*
 * The calls that fill report how far they came, and fail with EAGAIN when that
 * is not all the way.
 */
static ssize_t filled(const struct rwp *rwp, const char *what,
		      struct rwp_range range, int64_t done,
		      struct rwp_error *err)
{
	if (done > 0)
		return done;
	return refused(rwp, what, range, "", err);
}

ssize_t rwp_copy(struct rwp *rwp, struct rwp_range range, const void *data,
		 unsigned int flags, struct rwp_error *err)
{
	struct uffdio_copy arg = {
		.dst = range.start,
		.src = (uintptr_t)data,
		.len = range.len,
		.mode = flags & RWP_FILL_DONTWAKE ? UFFDIO_COPY_MODE_DONTWAKE :
						    0,
	};
	int ret = rwpi_check_range(range, err);

	if (ret)
		return ret;
	if (!ioctl(rwp->fd, UFFDIO_COPY, &arg))
		return arg.copy;
	return filled(rwp, "cannot fill", range, arg.copy, err);
}

ssize_t rwp_zero(struct rwp *rwp, struct rwp_range range, unsigned int flags,
		 struct rwp_error *err)
{
	struct uffdio_zeropage arg = {
		.range = uffdio(range),
		.mode = flags & RWP_FILL_DONTWAKE ?
				UFFDIO_ZEROPAGE_MODE_DONTWAKE :
				0,
	};
	int ret = rwpi_check_range(range, err);

	if (ret)
		return ret;
	if (!ioctl(rwp->fd, UFFDIO_ZEROPAGE, &arg))
		return arg.zeropage;
	return filled(rwp, "cannot fill with zeros", range, arg.zeropage, err);
}

ssize_t rwp_continue(struct rwp *rwp, struct rwp_range range,
		     unsigned int flags, struct rwp_error *err)
{
	struct uffdio_continue arg = {
		.range = uffdio(range),
		.mode = flags & RWP_FILL_DONTWAKE ?
				UFFDIO_CONTINUE_MODE_DONTWAKE :
				0,
	};
	int ret = rwpi_check_range(range, err);

	if (ret)
		return ret;
	if (!ioctl(rwp->fd, UFFDIO_CONTINUE, &arg))
		return arg.mapped;
	return filled(rwp, "cannot map the page cache at", range, arg.mapped,
		      err);
}

ssize_t rwp_move(struct rwp *rwp, uint64_t dst, uint64_t src, uint64_t len,
		 struct rwp_error *err)
{
	struct uffdio_move arg = { .dst = dst, .src = src, .len = len };
	struct rwp_range range = { .start = src, .len = len };
	int ret = rwpi_check_range(range, err);

	if (ret)
		return ret;
	if (!ioctl(rwp->fd, UFFDIO_MOVE, &arg))
		return arg.move;
	return filled(rwp, "cannot move", range, arg.move, err);
}
