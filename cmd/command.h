/* SPDX-License-Identifier: GPL-2.0 */
/* The subcommands of rwp, and what they share. */
#ifndef RWP_COMMAND_H
#define RWP_COMMAND_H

#include <argp.h>
#include <rwp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Exit codes. */
enum {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2, /* a bad option or argument; nothing was done */
	EXIT_MISSING = 3, /* the kernel or a permission lacks what it takes */
};

/* Each is given its name and options as main() is, and returns an exit code. */
int command_probe(int argc, char **argv);
int command_track(int argc, char **argv);
int command_record(int argc, char **argv);
int command_report(int argc, char **argv);
int command_serve(int argc, char **argv);

/* Print "rwp: ..." to standard error; complain() returns EXIT_FAILED. */
int complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The same for an error of the library; EXIT_MISSING where it fits. */
int complain_error(const struct rwp_error *error);

/* Flush standard output: EXIT_OK, or a complaint where it could not be written. */
int finish_output(void);

/* Copy @from so that it is harmless to a terminal and to any file format. */
void clean_text(char *to, size_t size, const char *from);

/* Print it as a field of CSV: in quotes, those of its own doubled. */
void print_quoted(const char *text);

/* Parse with the name of the subcommand in messages, usage errors exit with 2. */
void parse_options(const struct argp *argp, int argc, char **argv, void *input);

/*
 * Numbers on the command line; a bad one is a usage error that names @what.
 * A size takes K, M, G, T; a time takes ms, s (the default), m, h.
 */
pid_t parse_pid(const char *text, struct argp_state *state);
uint64_t parse_number(const char *text, const char *what,
		      struct argp_state *state);
uint64_t parse_size(const char *text, const char *what,
		    struct argp_state *state);
uint64_t parse_time(const char *text, const char *what,
		    struct argp_state *state);

/* The bits 1 << RWP_KIND_* of a list as "anon,shmem,hugetlb". */
unsigned int parse_kinds(const char *text, struct argp_state *state);

#endif
