// SPDX-License-Identifier: GPL-2.0
/*
 * rwp-demo: an unmodified QEMU runs a virtual machine. From outside, and while it
 * runs: find out which half of its memory is cold, evict that half into a file,
 * bring it back, and compare every byte with what it has to be.
 *
 *   main.c      options, and the steps      picture.c  the maps
 *   guest.c     what runs in the machine    qemu.c     how it gets there
 */
#include <argp.h>
#include <err.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"
#include "picture.h"

/* The test machine has no disk: there it is a file in memory. */
#define STORE "/tmp/rwp-demo.store"
#define WINDOWS 3
#define EVICTIONS 8 /* steps in which the half goes */
#define BAR 32

struct demo {
	struct heat_style style;
	uint32_t pages;
	bool damage;
	struct guest guest;
	struct rwp *rwp;
	struct rwp_store *store;
	struct rwp_evictor *evictor;
	struct rwp_server *server;
	struct rwp_tracker *tracker;
	/* One for each page. */
	uint8_t *hot; /* what the guest uses: the truth */
	uint8_t *found; /* what was found accessed */
	uint8_t *evicted;
	unsigned int missed, wrong;
};

static double started;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

__attribute__((format(printf, 1, 2))) static void step(const char *fmt, ...)
{
	va_list ap;

	printf("[%4.1f s] ", now() - started);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

/* A call of the library that has to succeed. */
#define OK(call)                                   \
	do {                                       \
		struct rwp_error error;            \
                                                   \
		if ((call) < 0)                    \
			errx(1, "%s", error.text); \
	} while (0)

static uint32_t count(const uint8_t *page, uint32_t pages)
{
	uint32_t marked = 0;

	for (uint32_t i = 0; i < pages; i++)
		marked += page[i];
	return marked;
}

/* ---- The machine ------------------------------------------------------- */

/* Some areas and a few single pages, 3/8 of the memory in all. */
static void choose_hot(struct demo *demo)
{
	uint32_t want = demo->pages * 3 / 8, have = 0;

	while (have < want) {
		bool single = have > want * 31 / 32;
		uint32_t first = random() % demo->pages;
		uint32_t len = single ? 1 : demo->pages / (32 + random() % 96);

		for (uint32_t i = first;
		     i < first + len && i < demo->pages && have < want; i++) {
			have += !demo->hot[i];
			demo->hot[i] = 1;
		}
	}
	for (uint32_t i = 0; i < demo->pages; i++)
		demo->guest.uses[i] = demo->hot[i];
}

static void start_machine(struct demo *demo)
{
	struct guest *guest = &demo->guest;
	char size[16], hot[16];

	step("start qemu-system-x86_64, as Debian has it");
	guest_start(guest, demo->pages);
	choose_hot(demo);
	step("process %d runs a guest %s: it has filled %s,",
	     (int)guest->qemu.pid, guest->qemu.kvm ? "in KVM" : "without KVM",
	     format_size(size, guest->range.len));
	step("and from now on uses %s of it all the time",
	     format_size(hot, (uint64_t)count(demo->hot, demo->pages) *
				      GUEST_PAGE_SIZE));
}

/* By the word of the kernel: which pages of the machine are in memory. */
static void look_what_is_there(const struct demo *demo, uint8_t *there)
{
	if (mincore(demo->guest.memory, demo->guest.range.len, there))
		err(1, "mincore");
	for (uint32_t i = 0; i < demo->pages; i++)
		there[i] &= 1;
}

static uint32_t pages_in_memory(const struct demo *demo)
{
	uint8_t *there = malloc(demo->pages);
	uint32_t pages;

	look_what_is_there(demo, there);
	pages = count(there, demo->pages);
	free(there);
	return pages;
}

/* What ps and top show of QEMU for shared memory. */
static uint64_t resident_bytes(const struct demo *demo)
{
	char path[32], line[128];
	unsigned long kib = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status",
		 (int)demo->guest.qemu.pid);
	file = fopen(path, "re");
	if (!file)
		err(1, "%s", path);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "RssShmem: %lu", &kib) == 1)
			break;
	fclose(file);
	return (uint64_t)kib << 10;
}

static void print_memory(const struct demo *demo)
{
	uint32_t in = pages_in_memory(demo), full = in * BAR / demo->pages;
	char size[16], resident[16];

	fputs("          ", stdout);
	for (uint32_t i = 0; i < BAR; i++)
		fputs(i >= full ? " " : demo->style.ascii ? "#" : "█", stdout);
	printf("| in memory %s, resident in QEMU %s\n",
	       format_size(size, (uint64_t)in * GUEST_PAGE_SIZE),
	       format_size(resident, resident_bytes(demo)));
}

/* ---- The steps --------------------------------------------------------- */

static void attach(struct demo *demo)
{
	const struct guest *guest = &demo->guest;
	struct rwp_memory memory = {
		.range = guest->range,
		.fd = guest->qemu.fd,
		.offset = GUEST_LOW,
		.space = 1,
	};
	double before = now();

	OK(rwp_attach(guest->qemu.pid, RWP_OPEN_EVICT | RWP_OPEN_EVENTS,
		      &demo->rwp, &error));
	step("attached to it in %.1f ms; it was not asked, and does not know",
	     (now() - before) * 1e3);
	unlink(STORE);
	unlink(STORE ".index");
	OK(rwp_store_open(STORE, NULL, &demo->store, &error));
	OK(rwp_evictor_new(demo->rwp, demo->store, NULL, &demo->evictor,
			   &error));
	OK(rwp_server_new(&demo->server, &error));
	OK(rwp_server_add(demo->server, demo->evictor, NULL, NULL, &error));
	OK(rwp_evictor_add(demo->evictor, &memory, &error));
	OK(rwp_tracker_new(demo->rwp, NULL, &demo->tracker, &error));
	OK(rwp_tracker_add(demo->tracker, memory.range, &error));
}

static void compare_with_truth(struct demo *demo)
{
	for (uint32_t i = 0; i < demo->pages; i++) {
		demo->missed += demo->hot[i] && !demo->found[i];
		demo->wrong += !demo->hot[i] && demo->found[i];
	}
}

static void watch(struct demo *demo)
{
	const struct rwp_tracked *tracked;
	struct rwp_tracker_stats stats;
	struct picture left = { .title = " accessed, as found " };
	struct picture right = { .title = " used, as the guest knows " };

	/* What was there before the first is of no window. */
	for (int i = 0; i <= WINDOWS; i++) {
		guest_wait_pass(&demo->guest);
		OK(rwp_tracker_update(demo->tracker, &error));
		if (!i)
			continue;
		rwp_tracker_stats(demo->tracker, &stats);
		step("window %d of %d: %llu of %llu pages accessed in %.0f ms",
		     i, WINDOWS, (unsigned long long)stats.accessed,
		     (unsigned long long)stats.populated,
		     stats.window_ns / 1e6);
		tracked = rwp_tracker_get(demo->tracker, 0);
		for (uint32_t page = 0; page < demo->pages; page++)
			demo->found[page] = !tracked->age[page];
		compare_with_truth(demo);
	}
	left.marked = demo->found;
	right.marked = demo->hot;
	picture_print(&demo->style, &left, &right, demo->pages);
	heat_print_legend(stdout, &demo->style);
	printf("in %d windows: %u pages missed that were accessed, %u found that were not\n\n",
	       WINDOWS, demo->missed, demo->wrong);
}

/* The half that was not accessed for the longest time. */
static void choose_cold(struct demo *demo)
{
	const struct rwp_tracked *tracked = rwp_tracker_get(demo->tracker, 0);
	uint32_t want = demo->pages / 2;

	for (int age = RWP_AGE_MAX; age > 0 && want; age--) {
		for (uint32_t i = 0; i < demo->pages && want; i++) {
			if (tracked->age[i] != age)
				continue;
			demo->evicted[i] = 1;
			want--;
		}
	}
}

/* Those of the pages chosen that are in this part of the memory. */
static int64_t evict_part(struct demo *demo, uint32_t page, uint32_t end)
{
	struct rwp_range *range = calloc(end - page, sizeof(*range));
	unsigned int ranges = 0;
	int64_t got;

	for (; page < end; page++)
		if (demo->evicted[page])
			range[ranges++] = (struct rwp_range){
				demo->guest.range.start +
					(uint64_t)page * GUEST_PAGE_SIZE,
				GUEST_PAGE_SIZE
			};
	OK(got = rwp_evict(demo->evictor, range, ranges, &error));
	free(range);
	return got;
}

static void evict(struct demo *demo)
{
	struct picture left = { .title = " in memory, by what is used " };
	struct picture right = { .title = " evicted " };
	uint32_t passes = demo->guest.box->passes;
	uint8_t *there = malloc(demo->pages);
	struct rwp_evict_stats evict_stats;
	struct rwp_store_stats stats;
	char size[16], file[16];
	int64_t evicted = 0;

	choose_cold(demo);
	step("evict the cold half; the guest goes on meanwhile");
	print_memory(demo);
	for (uint32_t i = 0; i < EVICTIONS; i++) {
		evicted += evict_part(demo, demo->pages / EVICTIONS * i,
				      demo->pages / EVICTIONS * (i + 1));
		print_memory(demo);
	}
	guest_wait_pass(&demo->guest);
	rwp_evictor_stats(demo->evictor, &evict_stats);
	rwp_store_stats(demo->store, &stats);
	step("%s evicted, into a file of %s",
	     format_size(size, evicted * GUEST_PAGE_SIZE),
	     format_size(file, stats.file_bytes));
	step("the guest made %u passes meanwhile, and waited %llu times",
	     demo->guest.box->passes - passes,
	     (unsigned long long)(evict_stats.served_missing +
				  evict_stats.served_rwp));
	look_what_is_there(demo, there);
	left.there = there;
	left.marked = demo->hot;
	for (uint32_t i = 0; i < demo->pages; i++)
		demo->evicted[i] = !there[i];
	right.marked = demo->evicted;
	picture_print(&demo->style, &left, &right, demo->pages);
	free(there);
	putchar('\n');
	if (count(demo->evicted, demo->pages) != demo->pages / 2)
		errx(1, "%u pages are not in memory, and not half of %u",
		     count(demo->evicted, demo->pages), demo->pages);
}

/* The guest turns to every fourth page that was evicted. */
static void touch_evicted(struct demo *demo)
{
	struct rwp_evict_stats before, after;
	uint32_t touched = 0, waited, nth = 0;

	rwp_evictor_stats(demo->evictor, &before);
	for (uint32_t i = 0; i < demo->pages; i++) {
		bool use = demo->evicted[i] && nth++ % 4 == 0;

		demo->guest.uses[i] = use;
		touched += use;
	}
	guest_wait_pass(&demo->guest);
	rwp_evictor_stats(demo->evictor, &after);
	waited = after.served_missing - before.served_missing;
	step("the guest now uses %u of the evicted pages: it waited for %u",
	     touched, waited);
	if (waited < touched)
		errx(1, "a page was there that should not have been");
	print_memory(demo);
}

static void bring_back(struct demo *demo)
{
	double before;

	touch_evicted(demo);
	before = now();
	OK(rwp_evictor_restore(demo->evictor, NULL, NULL, &error));
	step("the rest was brought back in %.0f ms", (now() - before) * 1e3);
	print_memory(demo);
	guest_wait_pass(&demo->guest);
}

static void detach(struct demo *demo)
{
	rwp_tracker_free(demo->tracker);
	OK(rwp_unregister(demo->rwp, demo->guest.range, &error));
	rwp_server_free(demo->server);
	rwp_evictor_free(demo->evictor);
	rwp_close(demo->rwp);
	rwp_store_close(demo->store);
	unlink(STORE);
	unlink(STORE ".index");
}

/* Returns how many pages are not as they have to be. */
static uint32_t verify(struct demo *demo)
{
	struct guest *guest = &demo->guest;
	uint32_t lost = 0;

	guest_stop(guest);
	if (demo->damage)
		guest->memory[(size_t)demo->pages / 2 * GUEST_PAGE_SIZE + 9]++;
	for (uint32_t i = 0; i < demo->pages; i++)
		lost += !guest_page_right(guest, i);
	step("every byte compared: %u of %u pages lost", lost, demo->pages);
	step("the guest itself found %u words wrong", guest->box->wrong);
	return lost + guest->box->wrong;
}

/* ---- Options ----------------------------------------------------------- */

static const struct argp_option options[] = {
	{ "memory", 'm', "MIB", 0, "Memory of the guest, 16 to 1024 (32)", 0 },
	{ "color", 'c', NULL, 0, "Draw in color", 0 },
	{ "ascii", 'a', NULL, 0, "Draw with ASCII characters", 0 },
	{ "damage", 'd', NULL, 0,
	  "Change one byte before the comparison, which has to fail then", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct demo *demo = state->input;
	unsigned long mib;

	switch (key) {
	case 'm':
		mib = strtoul(arg, NULL, 10);
		if (mib < 16 || mib > 1024 || mib % 2)
			argp_error(state, "not a size: %s", arg);
		demo->pages = (mib << 20) / GUEST_PAGE_SIZE;
		return 0;
	case 'c':
		demo->style.color = true;
		return 0;
	case 'a':
		demo->style.ascii = true;
		return 0;
	case 'd':
		demo->damage = true;
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		options,
		parse,
		NULL,
		"Evict the cold half of a virtual machine, and bring it back.",
		NULL,
		NULL,
		NULL
	};
	struct demo demo = { .pages = (32 << 20) / GUEST_PAGE_SIZE };
	uint32_t lost;

	setvbuf(stdout, NULL, _IOLBF, 0);
	argp_parse(&argp, argc, argv, 0, NULL, &demo);
	demo.hot = calloc(demo.pages, 1);
	demo.found = calloc(demo.pages, 1);
	demo.evicted = calloc(demo.pages, 1);
	if (!demo.hot || !demo.found || !demo.evicted)
		err(1, "memory");
	started = now();
	start_machine(&demo);
	attach(&demo);
	watch(&demo);
	evict(&demo);
	bring_back(&demo);
	detach(&demo);
	lost = verify(&demo);
	qemu_stop(&demo.guest.qemu);
	if (lost || demo.missed || demo.wrong) {
		puts("FAILED");
		return 1;
	}
	puts("PASSED");
	return 0;
}
