// SPDX-License-Identifier: GPL-2.0
/*
 * The guest knows RWP only in guest_hand_over(). Its vCPU threads do nothing
 * but touch memory, and cannot tell whether it is tracked.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "channel.h"
#include "control.h"
#include "guest.h"
#include "uffd.h"
#include "util.h"
#include "workload.h"

struct guest {
	const struct guest_config *config;
	uint64_t *memory;
	uint32_t pages;
	uint32_t page_size;
	uint32_t words; /* in a page */
	struct control *control;
	int control_fd;
};

struct vcpu {
	struct guest *guest;
	unsigned int index;
	struct vcpu_state *state;
	pthread_t thread;
	struct walk walk;
	unsigned int walk_window; /* the window the walk was built for */
	uint32_t next_word;
};

static uint64_t *page_address(const struct guest *guest, uint32_t page)
{
	return guest->memory + (size_t)page * guest->words;
}

/*
 * A write adds one to word 0, and to the record that says what is in word 0.
 * Several vCPUs may write to one page, so both are atomic.
 */
static void touch_write(struct vcpu *vcpu, uint32_t page)
{
	uint64_t *word = page_address(vcpu->guest, page);

	atomic_fetch_add(&vcpu->guest->control->page[page].writes, 1);
	__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
}

/* A read takes another word every time, and knows what it should find. */
static void touch_read(struct vcpu *vcpu, uint32_t page)
{
	struct guest *guest = vcpu->guest;
	uint32_t word = 1 + vcpu->next_word++ % (guest->words - 1);
	uint64_t value;

	value = __atomic_load_n(page_address(guest, page) + word,
				__ATOMIC_SEQ_CST);
	if (value != page_word(page, word, guest->words))
		atomic_fetch_add(&vcpu->state->damaged, 1);
}

static void touch(struct vcpu *vcpu, uint32_t page, bool write)
{
	if (write)
		touch_write(vcpu, page);
	else
		touch_read(vcpu, page);
	atomic_fetch_add(&vcpu->state->accesses, 1);
}

static void walk_once(struct vcpu *vcpu, unsigned int window)
{
	struct guest *guest = vcpu->guest;

	if (vcpu->walk_window != window) {
		walk_build(&vcpu->walk, vcpu->index, window, guest->pages,
			   guest->config->seed);
		vcpu->walk_window = window;
	}
	for (size_t i = 0; i < vcpu->walk.count; i++) {
		struct access *access = &vcpu->walk.access[i];

		/* The record first: see control.h. */
		atomic_store(&guest->control->page[access->page].window,
			     window);
		touch(vcpu, access->page, access->write);
	}
	atomic_fetch_add(&vcpu->state->passes, 1);
}

static void run_errand(struct vcpu *vcpu)
{
	struct errand *errand = &vcpu->state->errand;
	uint64_t *word;

	if (atomic_load(&errand->state) != ERRAND_SENT)
		return;

	atomic_store(&errand->state, ERRAND_TOUCHING);
	touch(vcpu, errand->page, errand->write);
	errand->done_ns = now_ns();

	word = page_address(vcpu->guest, errand->page);
	errand->sum = 0;
	for (uint32_t i = 0; i < vcpu->guest->words; i++)
		errand->sum += word[i];
	atomic_store(&errand->state, ERRAND_DONE);
}

static bool page_is_intact(const struct guest *guest, uint32_t page)
{
	const uint64_t *word = page_address(guest, page);

	if (word[0] != atomic_load(&guest->control->page[page].writes))
		return false;
	for (uint32_t i = 1; i < guest->words; i++)
		if (word[i] != page_word(page, i, guest->words))
			return false;
	return true;
}

/* The vCPUs share the work: page N is checked by vCPU N modulo their number. */
static void check_memory(struct vcpu *vcpu)
{
	struct guest *guest = vcpu->guest;
	uint32_t page;

	for (page = vcpu->index; page < guest->pages;
	     page += guest->config->vcpus)
		if (!page_is_intact(guest, page))
			atomic_fetch_add(&vcpu->state->damaged, 1);
}

static void *vcpu_main(void *arg)
{
	struct vcpu *vcpu = arg;
	struct control *control = vcpu->guest->control;
	struct vcpu_state *state = vcpu->state;

	state->tid = syscall(SYS_gettid);
	for (;;) {
		uint32_t order = atomic_load(&control->order);

		if (order == ORDER_RUN) {
			walk_once(vcpu, atomic_load(&control->window));
			run_errand(vcpu);
		} else if (order == ORDER_CHECK &&
			   atomic_load(&state->obeyed) != ORDER_CHECK) {
			check_memory(vcpu);
		}
		atomic_store(&state->obeyed, order);
		if (order == ORDER_QUIT)
			return NULL;
		/*
		 * A machine that is not wholly busy. It leaves the manager a
		 * processor where there are fewer of them than vCPUs.
		 */
		nap_us(500);
	}
}

static void make_memory(struct guest *guest)
{
	uint64_t size = guest->config->memory;

	guest->page_size = sysconf(_SC_PAGESIZE);
	guest->words = guest->page_size / sizeof(uint64_t);
	guest->pages = size / guest->page_size;
	guest->memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (guest->memory == MAP_FAILED)
		die_errno("cannot map %llu bytes of memory",
			  (unsigned long long)size);
	/* One touch of a huge page would make all of it hot. */
	if (madvise(guest->memory, size, MADV_NOHUGEPAGE) < 0 &&
	    errno != EINVAL)
		die_errno("MADV_NOHUGEPAGE");

	for (uint32_t page = 0; page < guest->pages; page++) {
		uint64_t *word = page_address(guest, page);

		for (uint32_t i = 1; i < guest->words; i++)
			word[i] = page_word(page, i, guest->words);
		word[0] = 0;
	}
}

static void make_control(struct guest *guest)
{
	size_t size = control_size(guest->pages);

	guest->control_fd = memfd_create("rwp-demo-control", MFD_CLOEXEC);
	if (guest->control_fd < 0 || ftruncate(guest->control_fd, size) < 0)
		die_errno("cannot create the control memory");
	guest->control = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
			      guest->control_fd, 0);
	if (guest->control == MAP_FAILED)
		die_errno("cannot map the control memory");
	atomic_store(&guest->control->order, ORDER_PARK);
}

/*
 * The guest makes the userfaultfd, since it acts on the memory of its maker,
 * and gives it away. It keeps no copy: when the manager dies, the last one
 * goes with it, and the kernel makes all memory accessible again and releases
 * every thread. A dead manager cannot hang the guest.
 */
static void guest_hand_over(struct guest *guest, pid_t manager)
{
	struct guest_hello hello = {
		.base = (uintptr_t)guest->memory,
		.size = guest->config->memory,
		.page_size = guest->page_size,
		.vcpus = guest->config->vcpus,
	};
	int fds[HELLO_FDS];
	int sock;

	fds[HELLO_UFFD] = uffd_create();
	fds[HELLO_CONTROL] = guest->control_fd;
	uffd_register(fds[HELLO_UFFD], hello.base, hello.size);

	sock = channel_connect(manager);
	channel_send(sock, &hello, fds);
	close(sock);
	close(fds[HELLO_UFFD]);
	close(fds[HELLO_CONTROL]);
}

static struct vcpu *start_vcpus(struct guest *guest)
{
	struct vcpu *vcpus = new_array(guest->config->vcpus, sizeof(*vcpus));

	for (unsigned int i = 0; i < guest->config->vcpus; i++) {
		struct vcpu *vcpu = &vcpus[i];

		vcpu->guest = guest;
		vcpu->index = i;
		vcpu->state = &guest->control->vcpu[i];
		errno = pthread_create(&vcpu->thread, NULL, vcpu_main, vcpu);
		if (errno)
			die_errno("cannot start vCPU %u", i);
	}
	return vcpus;
}

void guest_main(const struct guest_config *config, pid_t manager)
{
	struct guest guest = { .config = config };
	struct vcpu *vcpus;

	set_process_name("rwp-demo (guest)");
	/* The guest ends with the manager, however that ends. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		die_errno("PR_SET_PDEATHSIG");
	if (getppid() != manager)
		_exit(EXIT_FAILURE);

	make_memory(&guest);
	make_control(&guest);
	vcpus = start_vcpus(&guest);
	guest_hand_over(&guest, manager);
	for (unsigned int i = 0; i < config->vcpus; i++)
		pthread_join(vcpus[i].thread, NULL);
	_exit(EXIT_SUCCESS);
}
