// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin of QEMU: counts how often each instruction of the guest's kernel is
 * executed while a reading is taken, that is between the two rdtsc of measure().
 * At the end it writes "address count" lines to the file named by out=FILE.
 *
 * Debian has no header for it, so what is used of the interface (version 1) is
 * declared here.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb,
						 size_t at);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
					   void (*cb)(qemu_plugin_id_t id,
						      struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
					    void (*cb)(unsigned int vcpu, void *data),
					    int no_registers, void *data);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn,
						int add, void *counter,
						uint64_t number);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id,
				    void (*cb)(qemu_plugin_id_t id, void *data),
				    void *data);

int qemu_plugin_version = 1;
int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc,
			char **argv);

/* The kernel's text without KASLR; the program is linked below the other. */
#define TEXT 0xffffffff81000000UL
#define TEXT_SIZE (32UL << 20)
#define PROGRAM_END 0x800000UL

static uint64_t count[TEXT_SIZE], before[TEXT_SIZE], taken[TEXT_SIZE];
static uint32_t seen[TEXT_SIZE];
static size_t nr_seen;
static bool known[TEXT_SIZE];
static bool reading;
static const char *out = "profile.txt";

static void on_rdtsc(unsigned int vcpu, void *data)
{
	(void)vcpu;
	(void)data;
	for (size_t i = 0; i < nr_seen; i++) {
		uint32_t at = seen[i];

		if (reading)
			taken[at] += count[at] - before[at];
		before[at] = count[at];
	}
	reading = !reading;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t nr = qemu_plugin_tb_n_insns(tb);

	(void)id;
	for (size_t i = 0; i < nr; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint64_t at = qemu_plugin_insn_vaddr(insn);

		if (at < PROGRAM_END && qemu_plugin_insn_size(insn) == 2 &&
		    !memcmp(qemu_plugin_insn_data(insn), "\x0f\x31", 2))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_rdtsc,
							       0, NULL);
		if (at < TEXT || at >= TEXT + TEXT_SIZE)
			continue;
		at -= TEXT;
		if (!known[at]) {
			known[at] = true;
			seen[nr_seen++] = at;
		}
		qemu_plugin_register_vcpu_insn_exec_inline(insn, 0, count + at,
							   1);
	}
}

static void at_exit(qemu_plugin_id_t id, void *data)
{
	FILE *file = fopen(out, "w");

	(void)id;
	(void)data;
	if (!file)
		return;
	for (uint64_t at = 0; at < TEXT_SIZE; at++) {
		if (taken[at])
			fprintf(file, "%" PRIx64 " %" PRIu64 "\n", TEXT + at,
				taken[at]);
	}
	fclose(file);
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc,
			char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "out=", 4))
			out = strdup(argv[i] + 4);
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	qemu_plugin_register_atexit_cb(id, at_exit, NULL);
	return 0;
}
