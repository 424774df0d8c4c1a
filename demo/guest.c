// SPDX-License-Identifier: GPL-2.0
#include "guest.h"

#include <err.h>
#include <string.h>
#include <time.h>

#define WAIT_SECONDS 120
#define BOX 0x2000
#define USES 0x10000 /* a byte for each page */
#define VISITS 0x100000 /* a word for each page */
#define PAGES_MAX ((VISITS - USES) / 2)

#define WORDS (GUEST_PAGE_SIZE / sizeof(uint32_t))
#define FACTOR 2654435761U

/*
 * %esi: where it is, %ebx: the number of the page, %ecx: the word it looks at.
 * PATTERN has what is to be at address %edi in %eax, and spoils %edx.
 */
#define PATTERN                            \
	"	imull $0x9e3779b1, %edi, %eax\n" \
	"	movl %eax, %edx\n"               \
	"	shrl $15, %edx\n"                \
	"	xorl %edx, %eax\n"
asm(".pushsection .rodata\n"
    ".code32\n"
    "demo_code:\n"
    "	pause\n"
    "	cmpl $0, 0x2008\n"
    "	je demo_code\n"
    "	movl $0x400000, %edi\n"
    "1:	xorl %eax, %eax\n"
    "	testl $0xfff, %edi\n"
    "	jz 2f\n" PATTERN "2:	movl %eax, (%edi)\n"
    "	addl $4, %edi\n"
    "	cmpl 0x2008, %edi\n"
    "	jb 1b\n"
    "	movl $1, 0x2014\n"
    "3:	movl $1, %ecx\n"
    "4:	movl $0x400000, %esi\n"
    "	xorl %ebx, %ebx\n"
    "5:	cmpb $0, 0x10000(%ebx)\n"
    "	je 8f\n"
    "	movl 0x100000(,%ebx,4), %eax\n"
    "	cmpl %eax, (%esi)\n"
    "	je 6f\n"
    "	incl 0x2004\n"
    "6:	incl %eax\n"
    "	movl %eax, (%esi)\n"
    "	movl %eax, 0x100000(,%ebx,4)\n"
    "	leal (%esi,%ecx,4), %edi\n" PATTERN "	cmpl %eax, (%edi)\n"
    "	je 8f\n"
    "	incl 0x2004\n"
    "8:	incl %ebx\n"
    "	addl $4096, %esi\n"
    "	cmpl 0x2008, %esi\n"
    "	jb 5b\n"
    "	incl 0x2000\n"
    "	cmpl $0, 0x200c\n"
    "	jne 9f\n"
    "	incl %ecx\n"
    "	cmpl $1024, %ecx\n"
    "	jb 4b\n"
    "	jmp 3b\n"
    "9:	movl $1, 0x2010\n"
    "	hlt\n"
    "	jmp 9b\n"
    "demo_code_end:\n"
    ".code64\n"
    ".popsection\n");
extern const char demo_code[], demo_code_end[];

static uint32_t pattern(uint32_t address)
{
	uint32_t value = address * FACTOR;

	return value ^ value >> 15;
}

static void wait_for(const struct guest *guest, const volatile uint32_t *word,
		     uint32_t least, const char *what)
{
	const struct timespec pause = { .tv_nsec = 2000000 };

	for (int i = 0; i < WAIT_SECONDS * 500; i++) {
		if ((int32_t)(*word - least) >= 0)
			return;
		qemu_check(&guest->qemu);
		nanosleep(&pause, NULL);
	}
	errx(1, "the guest does not %s", what);
}

void guest_start(struct guest *guest, uint32_t pages)
{
	size_t bytes = (size_t)pages * GUEST_PAGE_SIZE;
	struct qemu *qemu = &guest->qemu;

	if (pages > PAGES_MAX)
		errx(1, "the guest has no room for that many pages");
	qemu_start(qemu, GUEST_LOW + bytes, demo_code,
		   demo_code_end - demo_code);
	guest->pages = pages;
	guest->range =
		(struct rwp_range){ qemu->mapping.range.start + GUEST_LOW,
				    bytes };
	guest->memory = qemu->memory + GUEST_LOW;
	guest->box = (volatile struct guest_box *)(qemu->memory + BOX);
	guest->uses = (volatile uint8_t *)qemu->memory + USES;
	guest->visits = (const uint32_t *)(qemu->memory + VISITS);
	guest->box->end = GUEST_LOW + bytes;
	wait_for(guest, &guest->box->filled, 1, "fill its memory");
}

void guest_wait_pass(const struct guest *guest)
{
	/* The one that it is in may have begun before. */
	wait_for(guest, &guest->box->passes, guest->box->passes + 2, "go on");
}

void guest_stop(const struct guest *guest)
{
	guest->box->stop = 1;
	wait_for(guest, &guest->box->stopped, 1, "stop");
}

bool guest_page_right(const struct guest *guest, uint32_t page)
{
	uint32_t address = GUEST_LOW + page * GUEST_PAGE_SIZE;
	uint32_t word[WORDS];

	word[0] = guest->visits[page];
	for (uint32_t i = 1; i < WORDS; i++)
		word[i] = pattern(address + i * sizeof(*word));
	return !memcmp(word, guest->memory + (size_t)page * GUEST_PAGE_SIZE,
		       sizeof(word));
}
