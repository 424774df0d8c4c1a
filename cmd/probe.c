// SPDX-License-Identifier: GPL-2.0
/* rwp probe: what the kernel offers, and what to do where something is missing. */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"

/* One line of the answer. */
struct item {
	const char *name; /* in the JSON object */
	const char *text;
	const char *advice; /* where it is missing */
	bool needed; /* to track; the others are for evictors */
	bool there;
};

enum { ITEMS = 8 };

static const char patched[] =
	"boot Linux 7.3 or later, or 6.12 with the RWP series and CONFIG_USERFAULTFD_RWP=y";

static void list(const struct rwp_probe *probe, struct item *item)
{
	struct item all[ITEMS] = {
		{ "create", "create a userfaultfd", NULL, true,
		  !probe->create_error },
		{ "rwp", "read-write protection (UFFD_FEATURE_RWP)", patched,
		  true, probe->rwp },
		{ "rwp_async", "the kernel resolves (UFFD_FEATURE_RWP_ASYNC)",
		  patched, true, probe->rwp_async },
		{ "set_mode", "switch the mode (UFFDIO_SET_MODE)", patched,
		  true, probe->set_mode },
		{ "scan", "find accessed pages (PAGE_IS_ACCESSED)", patched,
		  true, probe->scan },
		{ "maps_query", "list mappings (PROCMAP_QUERY)",
		  "needs Linux 6.11 or later, and /proc", true,
		  probe->maps_query },
		{ "minor_shmem", "evict shared memory (minor faults)",
		  "needs CONFIG_HAVE_ARCH_USERFAULTFD_MINOR: x86-64 or arm64",
		  false, probe->minor_shmem },
		{ "move", "evict anonymous memory (UFFDIO_MOVE)",
		  "needs Linux 6.8 or later", false, probe->move },
	};

	memcpy(item, all, sizeof(all));
}

static const char *create_advice(const struct rwp_probe *probe)
{
	switch (probe->create_error) {
	case -ENOSYS:
		return "this kernel was built without CONFIG_USERFAULTFD";
	case -EPERM:
		return "run as root, or give access to /dev/userfaultfd, or set vm.unprivileged_userfaultfd=1; "
		       "in a container, its seccomp profile has to allow userfaultfd";
	default:
		return strerror(-probe->create_error);
	}
}

static const char *how(const struct rwp_probe *probe)
{
	if (probe->create_error)
		return "not at all";
	if (probe->device)
		return "through /dev/userfaultfd";
	return probe->syscall ?
		       "by the system call" :
		       "by the system call, without faults of the kernel";
}

/* Once for a row of items that lack the same. */
static void print_advice(const struct rwp_probe *probe, const struct item *item,
			 const struct item *next)
{
	const char *advice = item->advice;

	if (item->there)
		return;
	if (!advice)
		advice = create_advice(probe);
	else if (probe->create_error)
		return; /* without a userfaultfd nothing is known about it */
	if (!next || next->there || next->advice != item->advice)
		printf("       -> %s\n", advice);
}

static void print_text(const struct rwp_probe *probe, const struct item *item)
{
	printf("kernel %s, pages of %u bytes, userfaultfd %s\n", probe->release,
	       probe->page_size, how(probe));
	for (int i = 0; i < ITEMS; i++) {
		printf("  %-3s  %s\n", item[i].there ? "yes" : "NO",
		       item[i].text);
		print_advice(probe, &item[i],
			     i + 1 < ITEMS ? &item[i + 1] : NULL);
	}
	if (!probe->pidfd_getfd && !probe->create_error)
		puts("  NO   attach to other processes (pidfd_getfd)\n"
		     "       -> the seccomp profile of the container does not allow it");
}

static void add_bool(struct json_object *object, const char *key, bool value)
{
	json_object_object_add(object, key, json_object_new_boolean(value));
}

static void add_uint(struct json_object *object, const char *key,
		     uint64_t value)
{
	json_object_object_add(object, key, json_object_new_uint64(value));
}

static void print_json(const struct rwp_probe *probe, const struct item *item,
		       bool usable)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "kernel",
			       json_object_new_string(probe->release));
	add_uint(object, "page_size", probe->page_size);
	add_bool(object, "usable", usable);
	for (int i = 0; i < ITEMS; i++)
		add_bool(object, item[i].name, item[i].there);
	add_bool(object, "pidfd_getfd", probe->pidfd_getfd);
	add_bool(object, "device", probe->device);
	add_bool(object, "syscall", probe->syscall);
	add_bool(object, "user_mode_only", probe->user_mode_only);
	json_object_object_add(object, "unprivileged_userfaultfd",
			       json_object_new_int(probe->sysctl));
	add_uint(object, "features", probe->features);
	add_uint(object, "ioctls", probe->ioctls);
	add_uint(object, "range_ioctls", probe->range_ioctls);
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY));
	json_object_put(object);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	bool *json = state->input;

	switch (key) {
	case 'j':
		*json = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "what is '%s'?", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int command_probe(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "json", 'j', NULL, 0, "Print one JSON object", 0 },
		{ 0 },
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.doc = "Tell what the running kernel offers, and what to do "
		       "where something is missing.\v"
		       "The exit code is 0 if processes can be tracked, 3 if not.",
	};
	bool json = false, usable = true;
	struct item item[ITEMS];
	struct rwp_probe probe;
	struct rwp_error error;
	int code;

	parse_options(&argp, argc, argv, &json);
	if (rwp_probe(&probe, &error))
		return complain_error(&error);
	list(&probe, item);
	for (int i = 0; i < ITEMS; i++)
		usable &= item[i].there || !item[i].needed;
	if (json)
		print_json(&probe, item, usable);
	else
		print_text(&probe, item);
	code = finish_output();
	return code || usable ? code : EXIT_MISSING;
}
