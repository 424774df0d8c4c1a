// SPDX-License-Identifier: LGPL-2.1-or-later
/* The mappings of a process, one question to the kernel for each. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

const char *rwp_kind_name(enum rwp_kind kind)
{
	static const char *const name[] = {
		[RWP_KIND_ANON] = "anon",	[RWP_KIND_SHMEM] = "shmem",
		[RWP_KIND_HUGETLB] = "hugetlb", [RWP_KIND_FILE] = "file",
		[RWP_KIND_SPECIAL] = "special",
	};

	return kind < ARRAY_SIZE(name) ? name[kind] : "unknown";
}

static bool starts_with(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

static bool is_special(const char *name)
{
	static const char *const special[] = {
		"[vdso]",      "[vvar",	    "[vsyscall]",
		"[vectors]",   "[sigpage]", "[uprobes]",
		"anon_inode:", "socket:",   "/dev/",
	};

	/* Shared anonymous memory and /dev/shm are memory like any other. */
	if (starts_with(name, "/dev/zero") || starts_with(name, "/dev/shm/"))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(special); i++)
		if (starts_with(name, special[i]))
			return true;
	return false;
}

/*
 * A tmpfs of another mount namespace cannot be told by its name; it shows when
 * it is registered.
 */
static bool is_shmem(const char *name)
{
	return starts_with(name, "/memfd:") || starts_with(name, "/SYSV") ||
	       starts_with(name, "/dev/zero") || starts_with(name, "/dev/shm/");
}

static enum rwp_kind kind_of(const struct rwp_mapping *mapping)
{
	if (mapping->page_size > rwpi_page_size())
		return RWP_KIND_HUGETLB;
	if (is_special(mapping->name))
		return RWP_KIND_SPECIAL;
	if (is_shmem(mapping->name))
		return RWP_KIND_SHMEM;
	return mapping->inode ? RWP_KIND_FILE : RWP_KIND_ANON;
}

static void fill(struct rwp_mapping *mapping, const struct procmap_query *query,
		 const char *name)
{
	*mapping = (struct rwp_mapping){
		.range.start = query->vma_start,
		.range.len = query->vma_end - query->vma_start,
		.offset = query->vma_offset,
		.inode = query->inode,
		.dev_major = query->dev_major,
		.dev_minor = query->dev_minor,
		.page_size = query->vma_page_size,
		.readable = query->vma_flags & PROCMAP_QUERY_VMA_READABLE,
		.writable = query->vma_flags & PROCMAP_QUERY_VMA_WRITABLE,
		.executable = query->vma_flags & PROCMAP_QUERY_VMA_EXECUTABLE,
		.shared = query->vma_flags & PROCMAP_QUERY_VMA_SHARED,
	};
	/* What is left of the array is zeroed: a longer name is cut there. */
	if (query->vma_name_size)
		memcpy(mapping->name, name,
		       strnlen(name, sizeof(mapping->name) - 1));
	mapping->kind = kind_of(mapping);
}

/* 0, -ENOENT after the last mapping, or another negative errno. */
static int next_mapping(int maps, uint64_t addr, struct rwp_mapping *mapping)
{
	char name[PATH_MAX] = "";
	struct procmap_query query = {
		.size = sizeof(query),
		.query_flags = PROCMAP_QUERY_COVERING_OR_NEXT_VMA,
		.query_addr = addr,
		.vma_name_addr = (uintptr_t)name,
		.vma_name_size = sizeof(name),
	};

	if (ioctl(maps, PROCMAP_QUERY, &query) < 0) {
		/* A path of PATH_MAX or more: live without it. */
		if (errno != E2BIG && errno != ENAMETOOLONG)
			return -errno;
		query.vma_name_addr = 0;
		query.vma_name_size = 0;
		if (ioctl(maps, PROCMAP_QUERY, &query) < 0)
			return -errno;
	}
	fill(mapping, &query, name);
	return 0;
}

int rwpi_walk_mappings(int maps, pid_t pid, rwp_mapping_fn *fn, void *arg,
		       struct rwp_error *err)
{
	struct rwp_mapping mapping;
	uint64_t addr = 0;
	int ret;

	while (!(ret = next_mapping(maps, addr, &mapping))) {
		ret = fn(&mapping, arg);
		if (ret)
			return ret;
		addr = mapping.range.start + mapping.range.len;
	}
	switch (ret) {
	case -ENOENT:
		return 0;
	case -ENOTTY:
		return rwpi_error(
			err, -EOPNOTSUPP,
			"this kernel has no PROCMAP_QUERY (Linux 6.11)");
	case -ESRCH:
		return rwpi_error(
			err, ret,
			"the memory of process %d is gone: it has ended or executed another program",
			(int)pid);
	default:
		return rwpi_fail(err, ret, "the mappings of process %d",
				 (int)pid);
	}
}

int rwp_mappings(pid_t pid, rwp_mapping_fn *fn, void *arg,
		 struct rwp_error *err)
{
	char path[32];
	int maps, ret;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = open(path, O_RDONLY | O_CLOEXEC);
	if (maps < 0)
		return rwpi_fail(err, errno == ENOENT ? -ESRCH : -errno, "%s",
				 path);
	ret = rwpi_walk_mappings(maps, pid, fn, arg, err);
	rwpi_close(maps);
	return ret;
}
