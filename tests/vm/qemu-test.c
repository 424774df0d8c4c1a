// SPDX-License-Identifier: GPL-2.0
/*
 * qemu-system-x86_64 from Debian, which knows nothing of it, with a guest whose
 * memory is a memfd: attached to, evicted again and again while the guest counts
 * in it, and brought back.
 */
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "evict-memory.h"
#include "guest.h"
#include "target.h"
#include "test.h"

#define MACHINE (32UL << 20)
#define LEN (2UL << 20) /* what the guest counts in */
#define ROM 65536
#define ROUNDS 12

/*
 * A firmware that goes to protected mode, lays out the memory, and runs into
 * guest_code, which is put behind it.
 */
asm(".pushsection .rodata\n"
    "rom_start:\n"
    ".code16\n"
    "	cli\n"
    "	lgdtl %cs:(rom_gdtr - rom_start)\n"
    "	movl %cr0, %eax\n"
    "	orl $1, %eax\n"
    "	movl %eax, %cr0\n"
    "	ljmpl $8, $(rom_flat - rom_start + 0xf0000)\n"
    "	.balign 8\n"
    "rom_gdt:\n"
    "	.quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff\n"
    "rom_gdtr:\n"
    "	.word rom_gdtr - rom_gdt - 1\n"
    "	.long rom_gdt - rom_start + 0xf0000\n"
    ".code32\n"
    "rom_flat:\n"
    "	movw $16, %ax\n"
    "	movw %ax, %ds\n"
    "	movw %ax, %es\n"
    "	movw %ax, %ss\n"
    "	movl $0x400000, %esi\n"
    "1:	movl %esi, (%esi)\n"
    "	addl $64, %esi\n"
    "	cmpl $0x600000, %esi\n"
    "	jb 1b\n"
    "	movl $0x80000, 0x200c\n"
    "	movl $20, 0x2020\n"
    "rom_end:\n"
    ".code64\n"
    ".popsection\n");
extern const char rom_start[], rom_end[];

static void write_rom(const char *path)
{
	static const unsigned char reset[] = { 0xea, 0, 0, 0, 0xf0 };
	size_t head = rom_end - rom_start;
	char *rom = calloc(1, ROM);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	memcpy(rom, rom_start, head);
	memcpy(rom + head, guest_code, guest_code_end - guest_code);
	memcpy(rom + ROM - 16, reset, sizeof(reset));
	CHECK_EQ(write(fd, rom, ROM), ROM);
	close(fd);
	free(rom);
}

/* Beside this program; with a loader and libraries of its own. */
static void run_qemu(const char *rom)
{
	char self[256] = "", dir[300], loader[400], lib[400], program[400];

	CHECK(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	snprintf(dir, sizeof(dir), "%s/qemu", dirname(self));
	snprintf(loader, sizeof(loader), "%s/lib/ld-linux-x86-64.so.2", dir);
	snprintf(lib, sizeof(lib), "%s/lib", dir);
	snprintf(program, sizeof(program), "%s/qemu-system-x86_64", dir);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execl(loader, loader, "--library-path", lib, program, "-nodefaults",
	      "-no-user-config", "-display", "none", "-accel", "kvm", "-m",
	      "32M", "-object", "memory-backend-memfd,id=m,size=32M,share=on",
	      "-machine", "pc,memory-backend=m,smm=off,vmport=off", "-bios",
	      rom, NULL);
	_exit(127);
}

static int is_memory(const struct rwp_mapping *mapping, void *arg)
{
	if (!mapping->shared || mapping->range.len != MACHINE)
		return 0;
	*(struct rwp_mapping *)arg = *mapping;
	return 1;
}

static void find_memory(pid_t pid, struct rwp_mapping *mapping)
{
	for (int i = 0; i < 12000; i++) {
		struct rwp_error error;

		CHECK_EQ(waitpid(pid, NULL, WNOHANG), 0);
		if (rwp_mappings(pid, is_memory, mapping, &error) == 1)
			return;
		nap_ms(10);
	}
	FAIL("qemu has no memory");
}

static int open_memory(pid_t pid, const struct rwp_mapping *mapping)
{
	char path[100];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", (int)pid,
		 (unsigned long)mapping->range.start,
		 (unsigned long)(mapping->range.start + mapping->range.len));
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

/* As the process sees it: what is evicted is brought for us, too. */
static void read_page(pid_t pid, const struct rwp_mapping *mapping,
		      struct guest_page *page)
{
	struct iovec here = { page, sizeof(*page) };
	struct iovec there = { (void *)(uintptr_t)(mapping->range.start +
						   GUEST_PAGE),
			       sizeof(*page) };

	CHECK_EQ(process_vm_readv(pid, &here, 1, &there, 1, 0), sizeof(*page));
}

static void stop_guest(pid_t pid, const struct rwp_mapping *mapping)
{
	uint32_t stop = 1;
	struct iovec here = { &stop, sizeof(stop) };
	struct iovec there = {
		(void *)(uintptr_t)(mapping->range.start + GUEST_PAGE +
				    offsetof(struct guest_page, stop)),
		sizeof(stop)
	};
	struct guest_page page, before;

	CHECK_EQ(process_vm_writev(pid, &here, 1, &there, 1, 0), sizeof(stop));
	/* It ends with the pass it is in. */
	read_page(pid, mapping, &page);
	do {
		before = page;
		nap_ms(500);
		read_page(pid, mapping, &page);
	} while (memcmp(&page, &before, sizeof(page)));
}

static void wait_for_pass(pid_t pid, const struct rwp_mapping *mapping,
			  uint32_t passes)
{
	struct guest_page page;

	for (int i = 0; i < 15000; i++) {
		read_page(pid, mapping, &page);
		if (page.passes >= passes)
			return;
		nap_ms(10);
	}
	FAIL("the guest does not go on: %u passes", page.passes);
}

static void check_memory(int fd)
{
	char *all = mmap(NULL, MACHINE, PROT_READ, MAP_SHARED, fd, 0);
	struct guest_page page;

	CHECK(all != MAP_FAILED);
	memcpy(&page, all + GUEST_PAGE, sizeof(page));
	CHECK_EQ(guest_wrong(all + GUEST_MEMORY, LEN, &page, false), 0);
	munmap(all, MACHINE);
}

static void evict_often(struct manager *manager, pid_t pid,
			const struct rwp_mapping *mapping)
{
	struct rwp_error error;
	struct guest_page page;

	for (int i = 0; i < ROUNDS; i++) {
		OK(rwp_arm(manager->rwp, mapping->range, error));
		/* What the guest does not touch in that time goes. */
		read_page(pid, mapping, &page);
		wait_for_pass(pid, mapping, page.passes + 2);
		if (rwp_evict(manager->evictor, &mapping->range, 1, &error) <
		    0)
			FAIL("%s", error.text);
	}
}

/* The guest notices nothing, but that it has to wait at times. */
TEST(guest_is_evicted)
{
	static const char rom[] = "/tmp/qemu-test.rom";
	struct manager manager = { .path = "/tmp/qemu-test.store" };
	struct rwp_store_options options = { .depth = 16 };
	struct rwp_memory memory = { .space = 7 };
	struct rwp_evict_stats stats;
	struct rwp_mapping mapping;
	pid_t pid;

	alarm(600);
	write_rom(rom);
	pid = fork();
	if (!pid)
		run_qemu(rom);
	find_memory(pid, &mapping);
	wait_for_pass(pid, &mapping, 1);
	OK(rwp_attach(pid, RWP_OPEN_EVICT | RWP_OPEN_EVENTS, &manager.rwp,
		      error));
	memory.range = mapping.range;
	memory.fd = open_memory(pid, &mapping);
	OK(rwp_store_open(manager.path, &options, &manager.store, error));
	OK(rwp_evictor_new(manager.rwp, manager.store, NULL, &manager.evictor,
			   error));
	OK(rwp_server_new(&manager.server, error));
	OK(rwp_server_add(manager.server, manager.evictor, NULL, NULL, error));
	OK(rwp_evictor_add(manager.evictor, &memory, error));
	evict_often(&manager, pid, &mapping);
	stop_guest(pid, &mapping);
	rwp_evictor_stats(manager.evictor, &stats);
	printf("# units: %llu asked, %llu evicted, %llu touched; faults: %llu missing, %llu armed\n",
	       (unsigned long long)stats.asked,
	       (unsigned long long)stats.evicted,
	       (unsigned long long)stats.touched,
	       (unsigned long long)stats.served_missing,
	       (unsigned long long)stats.served_rwp);
	CHECK_EQ(stats.failed, 0);
	CHECK(stats.evicted > 300);
	OK(rwp_evictor_restore(manager.evictor, NULL, NULL, error));
	OK(rwp_unregister(manager.rwp, mapping.range, error));
	rwp_server_free(manager.server);
	rwp_evictor_free(manager.evictor);
	rwp_close(manager.rwp);
	rwp_store_close(manager.store);
	check_memory(memory.fd);
	remove_store(manager.path);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	unlink(rom);
}
