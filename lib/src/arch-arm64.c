// SPDX-License-Identifier: LGPL-2.1-or-later
#include "arch.h"

#if defined(__aarch64__)
#include <elf.h>

const unsigned char rwpi_syscall_insn[] = { 0x01, 0x00, 0x00,
					    0xd4 }; /* svc #0 */
const size_t rwpi_syscall_insn_len = sizeof(rwpi_syscall_insn);
const size_t rwpi_syscall_insn_align = 4;
const uint16_t rwpi_elf_machine = EM_AARCH64;

/* Where the last branch went, for branch target identification. */
#define PSR_BTYPE (3ULL << 10)

void rwpi_set_call(rwpi_regs *regs, uint64_t insn, long nr, uint64_t arg)
{
	regs->pc = insn;
	regs->regs[8] = nr;
	regs->regs[0] = arg;
	/* The instruction is no branch target and need not be one. */
	regs->pstate &= ~PSR_BTYPE;
}

int64_t rwpi_call_result(const rwpi_regs *regs)
{
	return regs->regs[0];
}

uint64_t rwpi_get_ip(const rwpi_regs *regs)
{
	return regs->pc;
}

void rwpi_set_ip(rwpi_regs *regs, uint64_t ip)
{
	regs->pc = ip;
	regs->pstate &= ~PSR_BTYPE;
}

/*
 * Here the kernel prepares the restart before the stop: pc and x0 of a call that
 * is to begin again stand right already. The first argument of one that gives
 * up with EINTR cannot be had any more: that one returns EINTR, as it does under
 * any debugger.
 */
void rwpi_restart_call(rwpi_regs *regs)
{
	(void)regs;
}

#endif
