// SPDX-License-Identifier: GPL-2.0
/* Finding the file behind the memory of a machine. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <xxhash.h>

#include "command.h"
#include "serve-machine.h"

/* The ages of this much take 1 GiB. */
#define MACHINE_MAX (4ULL << 40)

static int fail(struct rwp_error *err, int code, const struct machine *machine,
		const struct rwp_handoff_region *region, const char *why)
{
	err->code = code;
	snprintf(err->text, sizeof(err->text),
		 "process %d: memory at %#llx %s", (int)machine->handoff->pid,
		 (unsigned long long)region->start, why);
	return code;
}

/* ---- Who it is --------------------------------------------------------- */

static size_t read_line(const char *path, char *line, size_t size)
{
	FILE *file = fopen(path, "re");
	size_t len = 0;

	if (file) {
		len = fread(line, 1, size - 1, file);
		fclose(file);
	}
	line[len] = '\0';
	return len;
}

uint64_t memory_boot_id(void)
{
	char line[64];
	size_t len = read_line("/proc/sys/kernel/random/boot_id", line,
			       sizeof(line));

	return XXH3_64bits(line, len);
}

int memory_process_id(const struct worker *worker, pid_t pid, uint64_t *id)
{
	char path[32], line[1024], *at;
	uint64_t of[3] = { worker->boot, pid };

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (!read_line(path, line, sizeof(line)))
		return -ESRCH;
	/* The name may contain anything; the start time is the 20th after it. */
	at = strrchr(line, ')');
	for (int i = 0; at && i < 20; i++)
		at = strchr(at + 1, ' ');
	if (!at)
		return -ESRCH;
	of[2] = strtoull(at, NULL, 10);
	*id = XXH3_64bits(of, sizeof(of));
	return 0;
}

/* ---- Its files --------------------------------------------------------- */

/* Pages are found in the store again by who the process and the file are. */
static void add_file(struct machine *machine, int fd)
{
	struct memory_file *file = &machine->file[machine->files];
	uint64_t of[3] = { machine->id };
	struct stat st;

	if (fstat(fd, &st))
		return;
	of[1] = st.st_dev;
	of[2] = st.st_ino;
	*file = (struct memory_file){
		.fd = fd,
		.dev = st.st_dev,
		.ino = st.st_ino,
		.size = st.st_size,
		.space = XXH3_64bits(of, sizeof(of)),
	};
	machine->files++;
}

void memory_files(struct machine *machine)
{
	const struct rwp_handoff *handoff = machine->handoff;

	machine->files = 0;
	machine->file = calloc(handoff->fds + handoff->regions,
			       sizeof(*machine->file));
	for (unsigned int i = 1; machine->file && i < handoff->fds; i++)
		add_file(machine, handoff->fd[i]);
}

struct search {
	const struct rwp_handoff_region *region;
	struct rwp_mapping mapping;
	bool found;
};

static int search_mapping(const struct rwp_mapping *mapping, void *arg)
{
	struct search *search = arg;
	uint64_t start = search->region->start;

	if (start - mapping->range.start >= mapping->range.len)
		return mapping->range.start > start;
	search->mapping = *mapping;
	search->found = true;
	return 1;
}

static struct memory_file *file_of(struct machine *machine,
				   const struct rwp_mapping *mapping)
{
	for (unsigned int i = 0; i < machine->files; i++) {
		struct memory_file *file = &machine->file[i];

		if (file->ino == mapping->inode &&
		    file->dev == makedev(mapping->dev_major,
					 mapping->dev_minor))
			return file;
	}
	return NULL;
}

/*
 * Monitors that hand over a userfaultfd alone: the file can be had from the
 * mapping by who has CAP_CHECKPOINT_RESTORE. It is kept with the rest.
 */
static int file_from_mapping(struct machine *machine,
			     const struct rwp_mapping *mapping)
{
	struct rwp_handoff *handoff = machine->handoff;
	char path[80];
	int fd, *all;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx",
		 (int)handoff->pid, (unsigned long long)mapping->range.start,
		 (unsigned long long)(mapping->range.start +
				      mapping->range.len));
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	all = realloc(handoff->fd, (handoff->fds + 1) * sizeof(*all));
	if (!all) {
		close(fd);
		return -ENOMEM;
	}
	handoff->fd = all;
	all[handoff->fds++] = fd;
	add_file(machine, fd);
	return 0;
}

/* Whether pages can be taken out of it. */
static const char *check_file(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS), mode = fcntl(fd, F_GETFL);

	if ((mode & O_ACCMODE) != O_RDWR)
		return "is of a file that was handed over for reading only";
	if (seals > 0 && seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		return "is of a file that is sealed against writing";
	return NULL;
}

static int find_mapping(const struct machine *machine, struct search *search,
			struct rwp_error *err)
{
	int ret = rwp_mappings(machine->handoff->pid, search_mapping, search,
			       err);

	if (ret < 0)
		return ret;
	if (!search->found)
		return fail(err, -ENOENT, machine, search->region,
			    "is not mapped");
	return 0;
}

static int identify(struct machine *machine,
		    const struct rwp_handoff_region *region,
		    struct rwp_error *err)
{
	struct search search = { .region = region };
	const struct rwp_mapping *mapping = &search.mapping;
	const struct memory_file *file;
	const char *wrong;
	int ret = find_mapping(machine, &search, err);

	if (ret)
		return ret;
	if (!mapping->shared ||
	    (mapping->kind != RWP_KIND_SHMEM &&
	     mapping->kind != RWP_KIND_HUGETLB))
		return fail(err, -EOPNOTSUPP, machine, region,
			    "is not shared memory of a memfd: only the monitor itself can evict it, see librwp(3)");
	if (region->page_size != mapping->page_size)
		return fail(err, -EINVAL, machine, region,
			    "has pages of another size than was said");
	file = file_of(machine, mapping);
	if (!file && file_from_mapping(machine, mapping))
		return fail(err, -EPERM, machine, region,
			    "is of a memfd that was not handed over, and may not be opened from here");
	if (!file)
		file = file_of(machine, mapping);
	if (!file)
		return fail(err, -EINVAL, machine, region,
			    "is of a file that cannot be found");
	wrong = check_file(file->fd);
	return wrong ? fail(err, -EINVAL, machine, region, wrong) : 0;
}

/* Two that evict from one file would lose what the other has there. */
static int check_others(struct machine *machine, struct rwp_error *err)
{
	const struct machine *other;
	bool taken = false;

	pthread_mutex_lock(&machine->worker->lock);
	for (other = machine->worker->machines; other; other = other->next) {
		if (other == machine || !other->pid)
			continue;
		taken |= other->id == machine->id;
		for (unsigned int i = 0; i < other->files; i++)
			for (unsigned int j = 0; j < machine->files; j++)
				taken |= other->file[i].dev ==
						 machine->file[j].dev &&
					 other->file[i].ino ==
						 machine->file[j].ino;
	}
	if (!taken)
		machine->pid = machine->handoff->pid;
	pthread_mutex_unlock(&machine->worker->lock);
	return taken ? fail(err, -EEXIST, machine, machine->handoff->region,
			    "was handed over before") :
		       0;
}

int memory_identify(struct machine *machine, struct rwp_error *err)
{
	const struct rwp_handoff *handoff = machine->handoff;
	uint64_t sum = 0;
	int ret = 0;

	memory_files(machine);
	for (unsigned int i = 0; i < handoff->regions && !ret; i++) {
		sum += handoff->region[i].size;
		ret = sum > MACHINE_MAX ?
			      fail(err, -E2BIG, machine, &handoff->region[i],
				   "makes it more than 4 TiB") :
			      identify(machine, &handoff->region[i], err);
	}
	return ret ? ret : check_others(machine, err);
}

static int add_region(struct machine *machine,
		      const struct rwp_handoff_region *region,
		      struct rwp_error *err)
{
	struct search search = { .region = region };
	const struct serve_options *options = machine->worker->options;
	const struct rwp_mapping *mapping = &search.mapping;
	struct rwp_memory memory = { .range = { region->start, region->size } };
	const struct memory_file *file;
	int ret = find_mapping(machine, &search, err);

	if (ret)
		return ret;
	file = file_of(machine, mapping);
	if (!file)
		return fail(err, -EINVAL, machine, region,
			    "is of another file now");
	memory.fd = file->fd;
	memory.space = file->space;
	memory.offset = region->start - mapping->range.start + mapping->offset;
	if (options->unit > mapping->page_size)
		memory.page_size = options->unit;
	ret = rwp_evictor_add(machine->evictor, &memory, err);
	return ret ? ret :
		     rwp_tracker_add(machine->tracker, memory.range, err);
}

int memory_add(struct machine *machine, struct rwp_error *err)
{
	const struct rwp_handoff *handoff = machine->handoff;
	int ret = 0;

	for (unsigned int i = 0; i < handoff->regions && !ret; i++)
		ret = add_region(machine, &handoff->region[i], err);
	return ret;
}
