/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A test program for the virtual machine: cases that are run one after the
 * other, each in a process of its own with a time limit, in TAP.
 */
#ifndef RWP_TEST_H
#define RWP_TEST_H

#include <rwp.h>
#include <stdio.h>
#include <stdlib.h>

struct test_case {
	const char *name;
	void (*run)(void);
	struct test_case *next;
};

/* TEST(name) { ... } registers the case; put a comment that says what it proves. */
#define TEST(name)                                                          \
	static void test_##name(void);                                      \
	static struct test_case case_##name = { #name, test_##name, NULL }; \
	static __attribute__((constructor)) void register_##name(void)      \
	{                                                                   \
		test_register(&case_##name);                                \
	}                                                                   \
	static void test_##name(void)

void test_register(struct test_case *test);

/* A program may define it: called in the process of each case before it. */
void test_setup(void);

/* End the case as failed, with a line that says where. */
#define FAIL(...)                                        \
	do {                                             \
		printf("# %s:%d: ", __FILE__, __LINE__); \
		printf(__VA_ARGS__);                     \
		putchar('\n');                           \
		exit(1);                                 \
	} while (0)

#define CHECK(condition)                                \
	do {                                            \
		if (!(condition))                       \
			FAIL("not so: %s", #condition); \
	} while (0)

/* Both are converted to long long and shown. */
#define CHECK_EQ(value, expected)                                    \
	do {                                                         \
		long long value_ = (long long)(value);               \
		long long expected_ = (long long)(expected);         \
                                                                     \
		if (value_ != expected_)                             \
			FAIL("%s is %lld, not %lld", #value, value_, \
			     expected_);                             \
	} while (0)

/* A call of the library that has to succeed; use `error` as its last argument. */
#define OK(call)                                                   \
	do {                                                       \
		struct rwp_error error_ = { 0 }, *error = &error_; \
                                                                   \
		if ((call) < 0)                                    \
			FAIL("%s", error->text);                   \
	} while (0)

#endif
