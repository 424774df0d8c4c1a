/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What attaching needs to know of the processor; arch-*.c, one for each. */
#ifndef RWP_ARCH_H
#define RWP_ARCH_H

#include <stddef.h>
#include <stdint.h>

#if (defined(__x86_64__) && !defined(__ILP32__)) || defined(__aarch64__)
#include <sys/user.h>
/* As NT_PRSTATUS has them. */
typedef struct user_regs_struct rwpi_regs;
#define RWPI_CAN_ATTACH 1
#else
#define RWPI_CAN_ATTACH 0
#endif

#if RWPI_CAN_ATTACH

/* The instruction that makes a system call, and how it is aligned. */
extern const unsigned char rwpi_syscall_insn[];
extern const size_t rwpi_syscall_insn_len, rwpi_syscall_insn_align;

/* e_machine of the programs it runs. */
extern const uint16_t rwpi_elf_machine;

/*
 * Change @regs, as saved at the stop, so that the thread makes system call @nr
 * with one argument by the instruction at @insn.
 */
void rwpi_set_call(rwpi_regs *regs, uint64_t insn, long nr, uint64_t arg);

/* What it returned. */
int64_t rwpi_call_result(const rwpi_regs *regs);

uint64_t rwpi_get_ip(const rwpi_regs *regs);
void rwpi_set_ip(rwpi_regs *regs, uint64_t ip);

/*
 * The stop makes some system calls return EINTR although there is no signal.
 * Change @regs so that those are begun again.
 */
void rwpi_restart_call(rwpi_regs *regs);

#endif
#endif
