// SPDX-License-Identifier: GPL-2.0
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "target.h"
#include "test.h"

/*
 * In protected mode without paging, all segments flat. %esi: the place, %edx:
 * the end of the quarter, %edi: its version, %ebp: its number, %ecx: passes left.
 */
asm(".pushsection .rodata\n"
    ".code32\n"
    ".globl guest_code, guest_code_end\n"
    "guest_code:\n"
    "	xorl %ebp, %ebp\n"
    "1:	movl 0x2020, %ecx\n"
    "2:	movl 0x2010(,%ebp,4), %edi\n"
    "	movl 0x200c, %esi\n"
    "	imull %ebp, %esi\n"
    "	addl $0x400000, %esi\n"
    "	movl %esi, %edx\n"
    "	addl 0x200c, %edx\n"
    "3:	leal (%esi,%edi), %eax\n"
    "	cmpl %eax, (%esi)\n"
    "	je 4f\n"
    "	incl 0x2004\n"
    "4:	incl %eax\n"
    "	movl %eax, (%esi)\n"
    "	movl %esi, 0x2024\n"
    "	addl $64, %esi\n"
    "	cmpl %edx, %esi\n"
    "	jb 3b\n"
    "	incl %edi\n"
    "	movl %edi, 0x2010(,%ebp,4)\n"
    "	incl 0x2000\n"
    "	cmpl $0, 0x2008\n"
    "	jne 5f\n"
    "	decl %ecx\n"
    "	jnz 2b\n"
    "	incl %ebp\n"
    "	andl $3, %ebp\n"
    "	jmp 1b\n"
    "5:	hlt\n"
    "guest_code_end:\n"
    ".code64\n"
    ".popsection\n");
/* What the words between those of the guest have, and have to keep. */
static uint32_t filling(uint32_t address)
{
	uint32_t value = address * 2654435761U;

	return value ^ value >> 15;
}

static void fill(struct guest *guest)
{
	uint32_t *word = (uint32_t *)guest->memory;

	for (uint32_t at = 0; at < guest->len; at += sizeof(*word)) {
		uint32_t address = GUEST_MEMORY + at;

		word[at / sizeof(*word)] =
			at % GUEST_STEP ? filling(address) : address;
	}
}

static void give_memory(struct guest *guest, unsigned int slot,
			uint64_t address, void *memory, size_t len)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = address,
		.memory_size = len,
		.userspace_addr = (uintptr_t)memory,
	};

	CHECK(!ioctl(guest->vm, KVM_SET_USER_MEMORY_REGION, &region));
}

/* The first pages: code, and what host and guest tell each other. */
static void give_code(struct guest *guest)
{
	char *low = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(low != MAP_FAILED);
	memcpy(low + GUEST_CODE, guest_code, guest_code_end - guest_code);
	guest->page = (struct guest_page *)(low + GUEST_PAGE);
	guest->page->quarter_bytes = guest->len / 4;
	guest->page->times = 20;
	give_memory(guest, 0, 0, low, 4 * 4096);
}

static void set_up_vcpu(struct guest *guest)
{
	struct kvm_segment flat = {
		.limit = 0xffffffff,
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};
	struct kvm_regs regs = { .rip = GUEST_CODE, .rflags = 2 };
	struct kvm_sregs sregs;

	CHECK(!ioctl(guest->vcpu, KVM_GET_SREGS, &sregs));
	flat.type = 11;
	flat.selector = 8;
	sregs.cs = flat;
	flat.type = 3;
	flat.selector = 16;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat;
	sregs.cr0 |= 1;
	CHECK(!ioctl(guest->vcpu, KVM_SET_SREGS, &sregs));
	CHECK(!ioctl(guest->vcpu, KVM_SET_REGS, &regs));
}

void guest_make(struct guest *guest, char *memory, size_t len)
{
	int size;

	memset(guest, 0, sizeof(*guest));
	guest->memory = memory;
	guest->len = len;
	fill(guest);
	guest->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (guest->kvm < 0)
		FAIL("/dev/kvm: %s", strerror(errno));
	guest->vm = ioctl(guest->kvm, KVM_CREATE_VM, 0);
	if (guest->vm < 0)
		FAIL("KVM_CREATE_VM: %s", strerror(errno));
	/* Intel's processors want some room; others do not know of it. */
	ioctl(guest->vm, KVM_SET_TSS_ADDR, 0xfffbd000);
	give_code(guest);
	give_memory(guest, 1, GUEST_MEMORY, memory, len);
	guest->vcpu = ioctl(guest->vm, KVM_CREATE_VCPU, 0);
	CHECK(guest->vcpu >= 0);
	size = ioctl(guest->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	guest->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
			  guest->vcpu, 0);
	CHECK(guest->run != MAP_FAILED);
	set_up_vcpu(guest);
}

static void *run(void *arg)
{
	struct guest *guest = arg;

	for (;;) {
		if (ioctl(guest->vcpu, KVM_RUN, 0)) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			guest->failed = errno;
			return NULL;
		}
		if (guest->run->exit_reason == KVM_EXIT_HLT)
			return NULL;
		guest->failed = 1000 + guest->run->exit_reason;
		return NULL;
	}
}

void guest_start(struct guest *guest)
{
	CHECK(!pthread_create(&guest->thread, NULL, run, guest));
}

unsigned int guest_wrong(const char *memory, size_t len,
			 const struct guest_page *page, bool filled)
{
	const uint32_t *word = (const uint32_t *)memory;
	unsigned int wrong = page->wrong;

	for (uint32_t at = 0; at < len; at += sizeof(*word)) {
		uint32_t address = GUEST_MEMORY + at;
		uint32_t expected = address + page->version[at / (len / 4)];

		if (at % GUEST_STEP)
			expected = filled ? filling(address) : 0;
		wrong += word[at / sizeof(*word)] != expected;
	}
	return wrong;
}

void guest_stop(struct guest *guest)
{
	struct guest_page page;

	guest->page->stop = 1;
	pthread_join(guest->thread, NULL);
	CHECK_EQ(guest->failed, 0);
	page = *guest->page;
	CHECK_EQ(guest_wrong(guest->memory, guest->len, &page, true), 0);
}
