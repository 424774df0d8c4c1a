// SPDX-License-Identifier: GPL-2.0
#include "qemu.h"

#include <err.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROM 65536 /* ends at 1 MiB */
#define WAIT_SECONDS 120

/* From the reset vector to protected mode; what is to run lies behind it. */
asm(".pushsection .rodata\n"
    ".code16\n"
    "qemu_boot:\n"
    "	cli\n"
    "	lgdtl %cs:(qemu_gdtr - qemu_boot)\n"
    "	movl %cr0, %eax\n"
    "	orl $1, %eax\n"
    "	movl %eax, %cr0\n"
    "	ljmpl $8, $(qemu_flat - qemu_boot + 0xf0000)\n"
    "	.balign 8\n"
    "qemu_gdt:\n"
    "	.quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff\n"
    "qemu_gdtr:\n"
    "	.word qemu_gdtr - qemu_gdt - 1\n"
    "	.long qemu_gdt - qemu_boot + 0xf0000\n"
    ".code32\n"
    "qemu_flat:\n"
    "	movw $16, %ax\n"
    "	movw %ax, %ds\n"
    "	movw %ax, %es\n"
    "	movw %ax, %ss\n"
    "qemu_boot_end:\n"
    ".code64\n"
    ".popsection\n");
extern const char qemu_boot[], qemu_boot_end[];

static void write_rom(struct qemu *qemu, const char *code, size_t len)
{
	static const unsigned char reset[] = { 0xea, 0, 0, 0, 0xf0 };
	size_t boot = qemu_boot_end - qemu_boot;
	char rom[ROM] = { 0 };

	if (boot + len > ROM - 16)
		errx(1, "the guest's code does not fit");
	memcpy(rom, qemu_boot, boot);
	memcpy(rom + boot, code, len);
	memcpy(rom + ROM - 16, reset, sizeof(reset));
	/* QEMU inherits it. */
	qemu->rom = memfd_create("rom", 0);
	if (qemu->rom < 0 || write(qemu->rom, rom, ROM) != ROM)
		err(1, "the rom");
}

/* It has a loader and libraries of its own. */
static void run_qemu(const struct qemu *qemu, size_t bytes)
{
	char self[256] = "", dir[300], loader[400], lib[400], program[400];
	char memory[80], size[16], rom[32];

	dup2(qemu->log, STDERR_FILENO);
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) <= 0)
		err(127, "/proc/self/exe");
	snprintf(dir, sizeof(dir), "%s/qemu", dirname(self));
	snprintf(loader, sizeof(loader), "%s/lib/ld-linux-x86-64.so.2", dir);
	snprintf(lib, sizeof(lib), "%s/lib", dir);
	snprintf(program, sizeof(program), "%s/qemu-system-x86_64", dir);
	snprintf(size, sizeof(size), "%zuM", bytes >> 20);
	snprintf(memory, sizeof(memory),
		 "memory-backend-memfd,id=m,share=on,size=%s", size);
	snprintf(rom, sizeof(rom), "/proc/self/fd/%d", qemu->rom);
	setenv("QEMU_MODULE_DIR", lib, 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execl(loader, loader, "--library-path", lib, program, "-nodefaults",
	      "-no-user-config", "-display", "none", "-accel",
	      qemu->kvm ? "kvm" : "tcg", "-m", size, "-object", memory,
	      "-machine", "pc,memory-backend=m,smm=off,vmport=off", "-bios",
	      rom, NULL);
	err(127, "%s", loader);
}

struct search {
	struct rwp_mapping *mapping;
	size_t bytes;
};

static int is_memory(const struct rwp_mapping *mapping, void *arg)
{
	struct search *search = arg;

	if (!mapping->shared || mapping->range.len != search->bytes)
		return 0;
	*search->mapping = *mapping;
	return 1;
}

static void find_memory(struct qemu *qemu, size_t bytes)
{
	const struct timespec pause = { .tv_nsec = 10000000 };
	struct search search = { &qemu->mapping, bytes };

	for (int i = 0; i < WAIT_SECONDS * 100; i++) {
		qemu_check(qemu);
		if (rwp_mappings(qemu->pid, is_memory, &search, NULL) == 1)
			return;
		nanosleep(&pause, NULL);
	}
	errx(1, "qemu has no memory after %d s", WAIT_SECONDS);
}

static void open_memory(struct qemu *qemu, size_t bytes)
{
	unsigned long start = qemu->mapping.range.start;
	char path[100];

	snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx",
		 (int)qemu->pid, start, start + bytes);
	qemu->fd = open(path, O_RDWR | O_CLOEXEC);
	if (qemu->fd < 0)
		err(1, "%s", path);
	qemu->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			    qemu->fd, 0);
	if (qemu->memory == MAP_FAILED)
		err(1, "the memory of the guest");
}

void qemu_start(struct qemu *qemu, size_t bytes, const char *code, size_t len)
{
	write_rom(qemu, code, len);
	qemu->log = memfd_create("log", MFD_CLOEXEC);
	if (qemu->log < 0)
		err(1, "the log");
	qemu->kvm = !access("/dev/kvm", R_OK | W_OK);
	qemu->pid = fork();
	if (qemu->pid < 0)
		err(1, "fork");
	if (!qemu->pid)
		run_qemu(qemu, bytes);
	find_memory(qemu, bytes);
	open_memory(qemu, bytes);
}

void qemu_check(const struct qemu *qemu)
{
	char text[4096];
	ssize_t len;

	if (!waitpid(qemu->pid, NULL, WNOHANG))
		return;
	len = pread(qemu->log, text, sizeof(text), 0);
	fwrite(text, 1, len > 0 ? len : 0, stderr);
	errx(1, "qemu has ended");
}

void qemu_stop(struct qemu *qemu)
{
	kill(qemu->pid, SIGKILL);
	waitpid(qemu->pid, NULL, 0);
	munmap(qemu->memory, qemu->mapping.range.len);
	close(qemu->fd);
	close(qemu->rom);
	close(qemu->log);
}
