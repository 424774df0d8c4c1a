// SPDX-License-Identifier: LGPL-2.1-or-later
#include "arch.h"

#if defined(__x86_64__) && !defined(__ILP32__)
#include <elf.h>
#include <errno.h>
#include <sys/syscall.h>

const unsigned char rwpi_syscall_insn[] = { 0x0f, 0x05 }; /* syscall */
const size_t rwpi_syscall_insn_len = sizeof(rwpi_syscall_insn);
const size_t rwpi_syscall_insn_align = 1;
const uint16_t rwpi_elf_machine = EM_X86_64;

/* The kernel's own: begin again, or EINTR where a handler runs first. */
#define ERESTARTNOHAND 514

void rwpi_set_call(rwpi_regs *regs, uint64_t insn, long nr, uint64_t arg)
{
	regs->rip = insn;
	regs->rax = nr;
	regs->rdi = arg;
	/*
	 * "Not in a system call": else the kernel takes what is in rax for the
	 * result of the interrupted one, and may move rip to begin it again.
	 */
	regs->orig_rax = -1;
}

int64_t rwpi_call_result(const rwpi_regs *regs)
{
	return regs->rax;
}

uint64_t rwpi_get_ip(const rwpi_regs *regs)
{
	return regs->rip;
}

void rwpi_set_ip(rwpi_regs *regs, uint64_t ip)
{
	regs->rip = ip;
	regs->orig_rax = -1;
}

/* Calls that answer every interruption with EINTR: signal(7) has the list. */
static int gives_up(long nr)
{
	switch (nr) {
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
#ifdef SYS_epoll_pwait2
	case SYS_epoll_pwait2:
#endif
	case SYS_semop:
	case SYS_semtimedop:
	case SYS_rt_sigtimedwait:
	case SYS_io_getevents:
#ifdef SYS_io_pgetevents
	case SYS_io_pgetevents:
#endif
#ifdef SYS_io_uring_enter
	case SYS_io_uring_enter:
#endif
		return 1;
	default:
		return 0;
	}
}

/*
 * All others ask for the right kind of restart themselves: what they ask for is
 * in rax, and the kernel acts on it when the registers are back. A signal that
 * is due still makes the call return EINTR.
 */
void rwpi_restart_call(rwpi_regs *regs)
{
	if ((int64_t)regs->rax == -EINTR && gives_up((long)regs->orig_rax))
		regs->rax = -ERESTARTNOHAND;
}

#endif
