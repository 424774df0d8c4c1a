// SPDX-License-Identifier: GPL-2.0
/* Messages and numbers. */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

int complain(const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	/* Keep the order where both go to one place. */
	fflush(stdout);
	/* One call, since several threads may have something to say. */
	fprintf(stderr, "rwp: %s\n", text);
	return EXIT_FAILED;
}

int complain_error(const struct rwp_error *error)
{
	complain("%s", error->text);
	switch (error->code) {
	case -EPERM:
	case -EACCES:
	case -ENOSYS:
	case -EOPNOTSUPP:
		return EXIT_MISSING;
	default:
		return EXIT_FAILED;
	}
}

int finish_output(void)
{
	if (fflush(stdout) || ferror(stdout))
		return complain("cannot write the output: %s", strerror(errno));
	return EXIT_OK;
}

void parse_options(const struct argp *argp, int argc, char **argv, void *input)
{
	char name[32];

	snprintf(name, sizeof(name), "rwp %s", argv[0]);
	argv[0] = name;
	argp_parse(argp, argc, argv, 0, NULL, input);
}

/* A number with one of the suffixes of @units, whose first is the default. */
struct unit {
	const char *suffix;
	uint64_t factor;
};

static uint64_t parse_unit(const char *text, const char *what,
			   const struct unit *unit, struct argp_state *state)
{
	char *end;
	double value;

	errno = 0;
	value = strtod(text, &end);
	/* Not "nan" and not "inf" either. */
	if (end == text || errno || !(value >= 0) || text[0] < '0' ||
	    text[0] > '9')
		argp_error(state, "%s: '%s' is not a number", what, text);
	while (unit->suffix && strcmp(end, unit->suffix))
		unit++;
	if (!unit->suffix)
		argp_error(state, "%s: '%s' has an unknown unit", what, text);
	value *= unit->factor;
	if (value >= (double)INT64_MAX)
		argp_error(state, "%s: '%s' is too large", what, text);
	return value;
}

uint64_t parse_size(const char *text, const char *what,
		    struct argp_state *state)
{
	static const struct unit units[] = {
		{ "", 1 },	     { "K", 1ULL << 10 }, { "M", 1ULL << 20 },
		{ "G", 1ULL << 30 }, { "T", 1ULL << 40 }, { NULL, 0 },
	};

	return parse_unit(text, what, units, state);
}

uint64_t parse_time(const char *text, const char *what,
		    struct argp_state *state)
{
	static const struct unit units[] = {
		{ "", 1000000000 },
		{ "s", 1000000000 },
		{ "ms", 1000000 },
		{ "us", 1000 },
		{ "m", 60 * 1000000000ULL },
		{ "h", 3600 * 1000000000ULL },
		{ NULL, 0 },
	};

	return parse_unit(text, what, units, state);
}

uint64_t parse_number(const char *text, const char *what,
		      struct argp_state *state)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (end == text || *end || errno || text[0] < '0' || text[0] > '9')
		argp_error(state, "%s: '%s' is not a number", what, text);
	return value;
}

pid_t parse_pid(const char *text, struct argp_state *state)
{
	uint64_t value = parse_number(text, "PID", state);

	if (!value || value > INT_MAX)
		argp_error(state, "PID: there is no process %s", text);
	return value;
}

unsigned int parse_kinds(const char *text, struct argp_state *state)
{
	static const enum rwp_kind kinds[] = { RWP_KIND_ANON, RWP_KIND_SHMEM,
					       RWP_KIND_HUGETLB };
	unsigned int bits = 0;

	while (*text) {
		size_t len = strcspn(text, ",");
		unsigned int found = 0;

		for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
			const char *name = rwp_kind_name(kinds[i]);

			if (strlen(name) == len && !strncmp(text, name, len))
				found = 1U << kinds[i];
		}
		if (!found)
			argp_error(state,
				   "'%.*s' is none of anon, shmem, hugetlb",
				   (int)len, text);
		bits |= found;
		text += len + (text[len] == ',');
	}
	if (!bits)
		argp_error(state, "an empty list of kinds");
	return bits;
}

void clean_text(char *to, size_t size, const char *from)
{
	size_t i = 0;

	for (; i + 1 < size && from[i]; i++)
		to[i] = from[i] < ' ' || from[i] > '~' ? '?' : from[i];
	to[i] = '\0';
}

void print_quoted(const char *text)
{
	char clean[256];

	clean_text(clean, sizeof(clean), text);
	putchar('"');
	for (const char *c = clean; *c; c++) {
		if (*c == '"')
			putchar('"');
		putchar(*c);
	}
	putchar('"');
}
