// SPDX-License-Identifier: LGPL-2.1-or-later
/* An evictor as a whole: making it, the memory it has, who may do what when. */
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "evict.h"

#define HUGE (2UL << 20)

void rwpi_gate_enter(struct rwp_evictor *evictor, bool fault)
{
	struct evict_gate *gate = &evictor->gate;

	pthread_mutex_lock(&gate->lock);
	gate->faults += fault;
	while (gate->held || (!fault && gate->faults))
		pthread_cond_wait(&gate->free, &gate->lock);
	gate->faults -= fault;
	gate->held = true;
	pthread_mutex_unlock(&gate->lock);
}

void rwpi_gate_leave(struct rwp_evictor *evictor)
{
	struct evict_gate *gate = &evictor->gate;

	pthread_mutex_lock(&gate->lock);
	gate->held = false;
	pthread_cond_broadcast(&gate->free);
	pthread_mutex_unlock(&gate->lock);
}

int rwpi_need_buffer(char **buffer, size_t *have, size_t bytes,
		     struct rwp_error *err)
{
	char *map, *start;
	size_t len;

	bytes = (bytes + HUGE - 1) & ~(HUGE - 1);
	if (*have >= bytes)
		return 0;
	len = bytes + HUGE;
	map = mmap(NULL, len, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return rwpi_fail(err, -ENOMEM, "%zu bytes for the evictor",
				 bytes);
	start = (char *)(((uintptr_t)map + HUGE - 1) & ~(HUGE - 1));
	if (start > map)
		munmap(map, start - map);
	munmap(start + bytes, map + len - (start + bytes));
	if (*buffer)
		munmap(*buffer, *have);
	*buffer = start;
	*have = bytes;
	return 0;
}

void rwpi_turn_large(struct rwp_evictor *evictor, size_t bytes)
{
	if (bytes < HUGE)
		return;
	madvise(evictor->buffer, evictor->buffer_bytes, MADV_HUGEPAGE);
	for (int i = 0; i < WORKERS && !evictor->workers; i++)
		rwpi_worker_start(&evictor->worker[i]);
	evictor->workers = true;
}

void rwpi_turn_over(struct rwp_evictor *evictor)
{
	for (int i = 0; i < WORKERS && evictor->workers; i++)
		rwpi_worker_stop(&evictor->worker[i]);
	evictor->workers = false;
	if (evictor->buffer)
		munmap(evictor->buffer, evictor->buffer_bytes);
	evictor->buffer = NULL;
	evictor->buffer_bytes = 0;
}

int rwp_evictor_new(struct rwp *rwp, struct rwp_store *store,
		    const struct rwp_evictor_options *options,
		    struct rwp_evictor **out, struct rwp_error *err)
{
	struct rwp_evictor *evictor = calloc(1, sizeof(*evictor));
	int ret;

	if (!evictor)
		return rwpi_fail(err, -ENOMEM, "an evictor for process %d",
				 (int)rwp->pid);
	evictor->rwp = rwp;
	evictor->store = store;
	if (options)
		evictor->options = *options;
	pthread_mutex_init(&evictor->gate.lock, NULL);
	pthread_cond_init(&evictor->gate.free, NULL);
	pthread_mutex_init(&evictor->turn, NULL);
	/*
	 * A manager that died may have left it in sync mode, with threads that
	 * wait for answers nobody remembers. What is read on the way has no
	 * memory to belong to yet, and is woken when that is added.
	 */
	ret = rwpi_evict_mode(evictor, RWP_ASYNC, err);
	if (!ret)
		ret = rwpi_need_buffer(&evictor->page, &evictor->page_bytes,
				       PAGES_AT_ONCE * rwpi_page_size(), err);
	if (ret) {
		rwp_evictor_free(evictor);
		return ret;
	}
	*out = evictor;
	return 0;
}

void rwp_evictor_free(struct rwp_evictor *evictor)
{
	if (!evictor)
		return;
	if (evictor->page)
		munmap(evictor->page, evictor->page_bytes);
	if (evictor->staging)
		munmap(evictor->staging, evictor->staging_bytes);
	pthread_mutex_destroy(&evictor->gate.lock);
	pthread_cond_destroy(&evictor->gate.free);
	pthread_mutex_destroy(&evictor->turn);
	free((void *)evictor->batch.flags);
	free(evictor->batch.unit);
	free(evictor->memory);
	free(evictor);
}

struct evict_memory *rwpi_find_memory(struct rwp_evictor *evictor,
				      uint64_t address)
{
	for (unsigned int i = 0; i < evictor->memories; i++) {
		struct evict_memory *memory = &evictor->memory[i];

		if (address - memory->range.start < memory->range.len)
			return memory;
	}
	return NULL;
}

_Atomic uint8_t *rwpi_unit_flags(struct rwp_evictor *evictor, uint64_t address)
{
	struct evict_batch *batch = &evictor->batch;
	_Atomic uint8_t *flags;

	if (!batch->memory || address - batch->start >= batch->len)
		return NULL;
	flags = &batch->flags[(address - batch->start) / batch->memory->unit];
	return (*flags & (UNIT_CHOSEN | UNIT_GONE)) == UNIT_CHOSEN ? flags :
								     NULL;
}

/* ---- Taking in memory -------------------------------------------------- */

/* What lies in the range of a memory that is to be added. */
struct look {
	const struct rwp_memory *memory;
	struct stat file;
	uint64_t covered;
	enum rwp_kind kind;
	uint32_t page_size;
	const char *wrong;
};

static int look_at(const struct rwp_mapping *mapping, void *arg)
{
	struct look *look = arg;
	const struct rwp_memory *memory = look->memory;
	uint64_t start = memory->range.start, end = start + memory->range.len;
	uint64_t from = mapping->range.start;
	uint64_t to = from + mapping->range.len;

	if (to <= start)
		return 0;
	if (from >= end)
		return 1;
	if (memory->fd >= 0 && !mapping->shared)
		look->wrong = "is not shared, but a file was given";
	else if (memory->fd >= 0 && mapping->inode != look->file.st_ino)
		look->wrong = "maps another file than the one given";
	else if (memory->fd >= 0 &&
		 mapping->offset - from != memory->offset - start)
		look->wrong = "maps another part of the file";
	else if (memory->fd < 0 &&
		 (mapping->kind != RWP_KIND_ANON || mapping->shared))
		look->wrong = "is not anonymous, and no file was given";
	look->kind = mapping->kind;
	look->page_size = mapping->page_size;
	look->covered += (to < end ? to : end) - (from > start ? from : start);
	return look->wrong ? 1 : 0;
}

static int bad_memory(const struct rwp_evictor *evictor,
		      const struct rwp_memory *memory, int code,
		      const char *why, struct rwp_error *err)
{
	return rwpi_error(
		err, code, "%#llx-%#llx of process %d %s",
		(unsigned long long)memory->range.start,
		(unsigned long long)(memory->range.start + memory->range.len),
		(int)evictor->rwp->pid, why);
}

static int look_it_up(struct rwp_evictor *evictor, struct look *look,
		      struct rwp_error *err)
{
	const struct rwp_memory *memory = look->memory;
	int ret = rwpi_check_range(memory->range, err);

	if (ret)
		return ret;
	if (memory->fd < 0 && evictor->rwp->pid != getpid())
		return bad_memory(
			evictor, memory, -EOPNOTSUPP,
			"is anonymous: only the process itself can evict it",
			err);
	if (memory->fd >= 0 && fstat(memory->fd, &look->file))
		return rwpi_fail(err, -errno, "descriptor %d", memory->fd);
	ret = rwpi_walk_mappings(evictor->rwp->maps, evictor->rwp->pid, look_at,
				 look, err);
	if (ret < 0)
		return ret;
	if (look->wrong)
		return bad_memory(evictor, memory, -EINVAL, look->wrong, err);
	if (look->covered != memory->range.len)
		return bad_memory(evictor, memory, -ENOENT, "has gaps", err);
	return 0;
}

static int check_memory(struct rwp_evictor *evictor, const struct look *look,
			struct evict_memory *made, struct rwp_error *err)
{
	const struct rwp_memory *memory = look->memory;
	bool hugetlb = look->kind == RWP_KIND_HUGETLB;

	*made = (struct evict_memory){
		.range = memory->range,
		.base = hugetlb ? look->page_size : rwpi_page_size(),
		.kind = look->kind,
		.fd = memory->fd,
		.offset = memory->offset,
		.space = memory->space,
	};
	made->unit = memory->page_size ? memory->page_size : made->base;
	if (made->unit & (made->unit - 1) || made->unit < made->base ||
	    (hugetlb && made->unit != made->base) || made->unit > 1U << 30)
		return bad_memory(evictor, memory, -EINVAL,
				  "cannot have pages of that size", err);
	if ((made->range.start | made->range.len | made->offset) &
	    (made->unit - 1))
		return bad_memory(evictor, memory, -EINVAL,
				  "does not consist of whole pages", err);
	for (unsigned int i = 0; i < evictor->memories; i++) {
		struct rwp_range other = evictor->memory[i].range;

		if (memory->range.start < other.start + other.len &&
		    other.start < memory->range.start + memory->range.len)
			return bad_memory(evictor, memory, -EEXIST,
					  "overlaps memory it has already",
					  err);
	}
	return 0;
}

/* Whether all of a unit is in the file: then memory is right. */
static bool in_memory(const struct evict_memory *memory, uint64_t offset)
{
	off_t before = lseek(memory->fd, 0, SEEK_CUR);
	struct statfs fs;
	bool all;

	/* hugetlbfs says of no page where it is. */
	if (fstatfs(memory->fd, &fs) || fs.f_type != TMPFS_MAGIC)
		return false;
	all = lseek(memory->fd, offset, SEEK_DATA) == (off_t)offset &&
	      lseek(memory->fd, offset, SEEK_HOLE) >=
		      (off_t)(offset + memory->unit);
	/* The position is shared with whoever gave us the descriptor. */
	lseek(memory->fd, before, SEEK_SET);
	return all;
}

/*
 * What an earlier process has left. Anonymous memory ended with it. Of shared
 * memory the store may have a copy that was being made or fetched at that
 * moment, of a page that is there: it gets out of date now.
 */
static void drop_leftovers(struct rwp_evictor *evictor,
			   const struct evict_memory *memory)
{
	uint64_t end = memory->offset + memory->range.len;
	uint64_t offset = memory->offset, len;

	for (; !rwpi_store_next(evictor->store, memory->space, offset, end,
				&offset, &len);
	     offset += rwpi_page_size()) {
		struct rwp_store_key key = { memory->space, offset };

		if (memory->fd < 0 || in_memory(memory, offset))
			rwp_store_drop(evictor->store, key, NULL);
	}
}

static int take_in(struct rwp_evictor *evictor,
		   const struct evict_memory *memory, struct rwp_error *err)
{
	unsigned int count = evictor->memories;
	unsigned int flags = RWP_REGISTER_MISSING;
	struct evict_memory *all =
		realloc(evictor->memory, (count + 1) * sizeof(*all));
	int ret;

	if (!all)
		return rwpi_fail(err, -ENOMEM, "a range of the evictor");
	evictor->memory = all;
	ret = rwpi_need_buffer(&evictor->page, &evictor->page_bytes,
			       memory->unit, err);
	if (ret)
		return ret;
	/* Without it a page of the file that is not mapped comes unseen. */
	if (memory->fd >= 0)
		flags |= RWP_REGISTER_MINOR;
	ret = rwp_register(evictor->rwp, memory->range, flags, err);
	if (ret)
		return ret;
	all[count] = *memory;
	evictor->memories++;
	/* Who waits for a manager that died asks again. */
	return rwp_wake(evictor->rwp, memory->range, err);
}

int rwp_evictor_add(struct rwp_evictor *evictor,
		    const struct rwp_memory *memory, struct rwp_error *err)
{
	struct look look = { .memory = memory };
	struct evict_memory made;
	int ret;

	pthread_mutex_lock(&evictor->turn);
	rwpi_gate_enter(evictor, false);
	ret = look_it_up(evictor, &look, err);
	if (!ret)
		ret = check_memory(evictor, &look, &made, err);
	if (!ret) {
		drop_leftovers(evictor, &made);
		ret = take_in(evictor, &made, err);
	}
	rwpi_gate_leave(evictor);
	pthread_mutex_unlock(&evictor->turn);
	return ret;
}

void rwp_evictor_stats(struct rwp_evictor *evictor,
		       struct rwp_evict_stats *stats)
{
	rwpi_gate_enter(evictor, false);
	*stats = evictor->stats;
	rwpi_gate_leave(evictor);
}
