// SPDX-License-Identifier: GPL-2.0
#include "fake-kernel.h"

#include <stdarg.h>
#include <string.h>

#define PAGE 4096ULL

enum { FAKE_UFFD = 1000, FAKE_PAGEMAP, FAKE_MAPS };

struct fake_mapping fake[FAKE_MAPPINGS];
bool fake_gone;
void (*fake_after_scan)(void);
unsigned int fake_armings;

struct rwp *fake_open(void)
{
	static struct rwp rwp;

	memset(fake, 0, sizeof(fake));
	fake_gone = false;
	fake_after_scan = NULL;
	fake_armings = 0;
	rwp = (struct rwp){ .fd = FAKE_UFFD,
			    .pidfd = -1,
			    .pid = 42,
			    .pagemap = FAKE_PAGEMAP,
			    .maps = FAKE_MAPS };
	return &rwp;
}

void fake_touch(unsigned int mapping, uint64_t page)
{
	fake[mapping].page[page] = (struct fake_page){ .there = true };
}

static uint64_t end_of(const struct fake_mapping *mapping)
{
	return mapping->start + mapping->pages * PAGE;
}

/* The page at an address; NULL where nothing is mapped. */
static struct fake_page *page_at(uint64_t addr, struct fake_mapping **in)
{
	for (int i = 0; i < FAKE_MAPPINGS; i++) {
		struct fake_mapping *mapping = &fake[i];

		if (addr < mapping->start || addr >= end_of(mapping))
			continue;
		*in = mapping;
		return &mapping->page[(addr - mapping->start) / PAGE];
	}
	return NULL;
}

static int set_registered(const struct uffdio_range *range, bool on)
{
	struct fake_mapping *mapping;
	bool any = false;

	for (uint64_t a = range->start; a < range->start + range->len;
	     a += PAGE) {
		struct fake_page *page = page_at(a, &mapping);

		if (!page)
			continue;
		if (!mapping->can_register)
			return -EINVAL;
		mapping->registered = on;
		if (!on)
			page->armed = false;
		any = true;
	}
	return any ? 0 : -EINVAL;
}

static int arm(const struct uffdio_rwprotect *arg)
{
	struct fake_mapping *mapping;
	struct fake_page *page;

	for (uint64_t i = 0; i < arg->range.len; i += PAGE) {
		page = page_at(arg->range.start + i, &mapping);
		if (!page || !mapping->registered)
			return -ENOENT;
	}
	for (uint64_t i = 0; i < arg->range.len; i += PAGE) {
		page = page_at(arg->range.start + i, &mapping);
		page->armed = page->there && arg->mode;
	}
	fake_armings++;
	return 0;
}

static uint64_t categories_of(const struct fake_page *page,
			      const struct fake_mapping *mapping)
{
	if (!page || !page->there)
		return 0;
	if (mapping->registered && !page->armed)
		return PAGE_IS_PRESENT | PAGE_IS_ACCESSED;
	return PAGE_IS_PRESENT;
}

static int scan(struct pm_scan_arg *arg)
{
	struct page_region *region = (struct page_region *)(uintptr_t)arg->vec;
	uint64_t count = 0, addr = arg->start;

	for (; addr < arg->end; addr += PAGE) {
		struct fake_mapping *mapping = NULL;
		struct fake_page *page = page_at(addr, &mapping);
		uint64_t categories = categories_of(page, mapping);

		if (!(categories & arg->category_anyof_mask))
			continue;
		if (count && region[count - 1].end == addr &&
		    region[count - 1].categories == categories) {
			region[count - 1].end += PAGE;
			continue;
		}
		if (count == arg->vec_len)
			break;
		region[count++] =
			(struct page_region){ addr, addr + PAGE, categories };
	}
	arg->walk_end = addr;
	if (fake_after_scan)
		fake_after_scan();
	return count;
}

static int query(struct procmap_query *arg)
{
	for (int i = 0; i < FAKE_MAPPINGS; i++) {
		if (arg->query_addr >= end_of(&fake[i]))
			continue;
		arg->vma_start = fake[i].start;
		arg->vma_end = end_of(&fake[i]);
		arg->vma_flags = PROCMAP_QUERY_VMA_READABLE |
				 PROCMAP_QUERY_VMA_WRITABLE;
		arg->vma_page_size = PAGE;
		arg->vma_name_size = 0;
		return 0;
	}
	return -ENOENT;
}

static int answer(unsigned long request, void *arg)
{
	if (fake_gone && request != PAGEMAP_SCAN)
		return -ESRCH;
	switch (request) {
	case UFFDIO_REGISTER:
		return set_registered(&((struct uffdio_register *)arg)->range,
				      true);
	case UFFDIO_UNREGISTER:
		return set_registered(arg, false);
	case UFFDIO_RWPROTECT:
		return arm(arg);
	case PAGEMAP_SCAN:
		return scan(arg);
	case PROCMAP_QUERY:
		return query(arg);
	default:
		return -ENOTTY;
	}
}

int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;
	int ret;

	(void)fd;
	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	ret = answer(request, arg);
	if (ret >= 0)
		return ret;
	errno = -ret;
	return -1;
}
