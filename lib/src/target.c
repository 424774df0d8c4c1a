// SPDX-License-Identifier: LGPL-2.1-or-later
#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch.h"
#include "internal.h"
#include "target.h"

#if RWPI_CAN_ATTACH

/* The value of a line "Name:\tvalue", or NULL. */
static const char *field(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (; text; text = strchr(text, '\n')) {
		text += *text == '\n';
		/* A process may have any name, a newline in it is escaped. */
		if (!strncmp(text, name, len) && text[len] == ':')
			return text + len + 1 + strspn(text + len + 1, " \t");
	}
	return NULL;
}

static int number(const char *text, const char *name)
{
	const char *value = field(text, name);
	int result = 0;

	for (; value && *value >= '0' && *value <= '9'; value++)
		result = result * 10 + (*value - '0');
	return result;
}

void rwpi_parse_status(const char *text, struct rwpi_status *status)
{
	const char *state = field(text, "State");

	status->state = state ? *state : '?';
	/* Not there where the kernel has no seccomp. */
	status->seccomp = number(text, "Seccomp");
	status->tracer = number(text, "TracerPid");
	status->tgid = number(text, "Tgid");
	status->has_memory = field(text, "VmSize");
	status->kthread = number(text, "Kthread"); /* Linux 6.8 */
}

int rwpi_read_status(const char *path, struct rwpi_status *status)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[8192];
	ssize_t len;

	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	len = read(fd, text, sizeof(text) - 1);
	if (len < 0)
		len = -errno;
	rwpi_close(fd);
	if (len < 0)
		return len;
	text[len] = '\0';
	rwpi_parse_status(text, status);
	return 0;
}

/*
 * The header of the program tells more than the registers: an x32 process has
 * those of a 64-bit one. Where it cannot be read the registers have to do.
 */
static int check_program(pid_t pid, struct rwp_error *err)
{
	unsigned char ident[EI_NIDENT + 4];
	uint16_t machine;
	char path[32];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	len = read(fd, ident, sizeof(ident));
	rwpi_close(fd);
	if (len != sizeof(ident) || memcmp(ident, ELFMAG, SELFMAG))
		return 0;
	memcpy(&machine, ident + EI_NIDENT + 2, sizeof(machine));
	if (ident[EI_CLASS] == ELFCLASS64 && machine == rwpi_elf_machine)
		return 0;
	return rwpi_error(
		err, -ENOEXEC,
		"process %d runs a %s program: only those of this machine's own 64-bit kind can be attached to",
		(int)pid, ident[EI_CLASS] == ELFCLASS32 ? "32-bit" : "foreign");
}

int rwpi_check_target(pid_t pid, struct rwp_error *err)
{
	struct rwpi_status status;
	char path[32];
	int ret;

	if (pid == getpid())
		return rwpi_error(
			err, -EINVAL,
			"process %d is this one: there is nothing to attach to",
			(int)pid);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	ret = rwpi_read_status(path, &status);
	if (ret == -ESRCH)
		return rwpi_error(err, ret, "there is no process %d", (int)pid);
	if (ret)
		return rwpi_fail(err, ret, "%s", path);
	if (status.tgid != pid)
		return rwpi_error(err, -EINVAL, "%d is a thread of process %d",
				  (int)pid, (int)status.tgid);
	if (status.tracer)
		return rwpi_error(
			err, -EBUSY,
			"process %d is being traced by process %d (a debugger or strace?)",
			(int)pid, (int)status.tracer);
	if (status.kthread)
		return rwpi_error(
			err, -EINVAL,
			"process %d is a kernel thread: it has no memory of its own",
			(int)pid);
	return check_program(pid, err);
}

static void add_thread(pid_t pid, pid_t tid, struct rwpi_thread *thread,
		       int *count, int max)
{
	struct rwpi_status status;
	char path[48];
	int at = *count;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", (int)pid,
		 (int)tid);
	if (rwpi_read_status(path, &status) || !status.has_memory ||
	    status.state == 'Z' || status.state == 'X')
		return;
	/* Those without seccomp come before those with it. */
	while (at && thread[at - 1].seccomp > status.seccomp)
		at--;
	if (at == max)
		return;
	if (*count == max)
		--*count;
	memmove(thread + at + 1, thread + at, (*count - at) * sizeof(*thread));
	thread[at] = (struct rwpi_thread){ tid, status.seccomp };
	++*count;
}

int rwpi_list_threads(pid_t pid, struct rwpi_thread *thread, int max,
		      struct rwp_error *err)
{
	struct dirent *entry;
	char path[32];
	int count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (!dir)
		return rwpi_fail(err, errno == ENOENT ? -ESRCH : -errno, "%s",
				 path);
	add_thread(pid, pid, thread, &count, max);
	while ((entry = readdir(dir))) {
		pid_t tid = atoi(entry->d_name);

		if (tid > 0 && tid != pid)
			add_thread(pid, tid, thread, &count, max);
	}
	closedir(dir);
	if (!count)
		return rwpi_error(
			err, -ESRCH,
			"process %d has ended and waits for its parent",
			(int)pid);
	return count;
}

struct search {
	int mem;
	uint64_t found;
};

static bool find_in(const unsigned char *code, size_t len, size_t *offset)
{
	for (size_t i = 0; i + rwpi_syscall_insn_len <= len;
	     i += rwpi_syscall_insn_align) {
		if (memcmp(code + i, rwpi_syscall_insn, rwpi_syscall_insn_len))
			continue;
		*offset = i;
		return true;
	}
	return false;
}

/* One that lies across two pieces is not found; there are others. */
static int search_mapping(const struct rwp_mapping *mapping, void *arg)
{
	uint64_t end = mapping->range.start + mapping->range.len;
	struct search *search = arg;
	unsigned char code[16384];

	if (!mapping->executable || mapping->writable)
		return 0;
	for (uint64_t at = mapping->range.start; at < end; at += sizeof(code)) {
		size_t offset, want = sizeof(code);
		ssize_t len;

		if (want > end - at)
			want = end - at;
		len = pread(search->mem, code, want, at);
		if (len <= 0)
			break;
		if (find_in(code, len, &offset)) {
			search->found = at + offset;
			return 1;
		}
	}
	return 0;
}

static int search_vdso(const struct rwp_mapping *mapping, void *arg)
{
	return strcmp(mapping->name, "[vdso]") ? 0 :
						 search_mapping(mapping, arg);
}

/* The kernel's own page first: nothing of the program is as sure to stay. */
int rwpi_find_syscall(pid_t tid, uint64_t *addr, struct rwp_error *err)
{
	struct search search = { 0 };
	char path[32];
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)tid);
	search.mem = open(path, O_RDONLY | O_CLOEXEC);
	if (search.mem < 0 && (errno == EACCES || errno == EPERM))
		return rwpi_error(
			err, -EPERM,
			"not permitted to attach to process %d: needs its user, or root (CAP_SYS_PTRACE)",
			(int)tid);
	if (search.mem < 0 && (errno == ENOENT || errno == ESRCH))
		return rwpi_error(err, -ESRCH, "process %d has ended",
				  (int)tid);
	if (search.mem < 0)
		return rwpi_fail(err, -errno, "%s", path);
	ret = rwp_mappings(tid, search_vdso, &search, err);
	if (!ret)
		ret = rwp_mappings(tid, search_mapping, &search, err);
	rwpi_close(search.mem);
	if (ret < 0)
		return ret;
	if (!ret)
		return rwpi_error(
			err, -ENOEXEC,
			"no system call instruction found in process %d",
			(int)tid);
	*addr = search.found;
	return 0;
}

#endif
