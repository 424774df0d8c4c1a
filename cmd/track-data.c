// SPDX-License-Identifier: GPL-2.0
/* What rwp track prints for programs: JSON and CSV. */
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "track.h"

static void add_uint(struct json_object *object, const char *key,
		     uint64_t value)
{
	json_object_object_add(object, key, json_object_new_uint64(value));
}

static void add_string(struct json_object *object, const char *key,
		       const char *text)
{
	char clean[256];

	clean_text(clean, sizeof(clean), text);
	json_object_object_add(object, key, json_object_new_string(clean));
}

static struct json_object *mapping_object(const struct rwp_tracked *tracked)
{
	struct json_object *object = json_object_new_object();
	const struct rwp_mapping *mapping = &tracked->mapping;

	add_uint(object, "start", mapping->range.start);
	add_uint(object, "size", mapping->range.len);
	add_string(object, "kind", rwp_kind_name(mapping->kind));
	add_uint(object, "page_size", mapping->page_size);
	add_string(object, "name", mapping->name);
	add_uint(object, "populated", tracked->populated);
	add_uint(object, "touched", tracked->accessed);
	add_uint(object, "windows", tracked->windows);
	return object;
}

/* Pages by age, the age being the place in the array; none behind the last. */
static struct json_object *age_array(const struct session *session)
{
	struct json_object *array = json_object_new_array();
	uint64_t count[256];
	int last = RWP_AGE_MAX;

	rwp_tracker_histogram(session->tracker, count);
	while (last >= 0 && !count[last])
		last--;
	for (int i = 0; i <= last; i++)
		json_object_array_add(array, json_object_new_uint64(count[i]));
	return array;
}

void print_json(const struct session *session, const struct track_style *style)
{
	struct json_object *object = json_object_new_object();
	struct json_object *mappings = json_object_new_array();
	const struct rwp_tracker_stats *stats = &session->stats;

	(void)style;
	add_uint(object, "time_ns", session->realtime);
	add_uint(object, "pid", session->pid);
	add_string(object, "name", session->name);
	add_uint(object, "window_ns", stats->window_ns);
	add_uint(object, "update_ns", stats->update_ns);
	add_uint(object, "page_size", sysconf(_SC_PAGESIZE));
	add_uint(object, "populated", stats->populated);
	add_uint(object, "touched", stats->accessed);
	json_object_object_add(object, "ages", age_array(session));
	for (unsigned int i = 0; i < stats->mappings; i++)
		json_object_array_add(mappings, mapping_object(rwp_tracker_get(
							session->tracker, i)));
	json_object_object_add(object, "mappings", mappings);
	puts(json_object_to_json_string_ext(
		object,
		JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}

void print_csv_header(void)
{
	puts("time_ns,window_ns,start,size,kind,page_size,populated,touched,name");
}

void print_csv(const struct session *session, const struct track_style *style)
{
	(void)style;
	for (unsigned int i = 0; i < session->stats.mappings; i++) {
		const struct rwp_tracked *tracked =
			rwp_tracker_get(session->tracker, i);
		const struct rwp_mapping *mapping = &tracked->mapping;

		printf("%llu,%llu,%llu,%llu,%s,%u,%llu,%llu,",
		       (unsigned long long)session->realtime,
		       (unsigned long long)session->stats.window_ns,
		       (unsigned long long)mapping->range.start,
		       (unsigned long long)mapping->range.len,
		       rwp_kind_name(mapping->kind), mapping->page_size,
		       (unsigned long long)tracked->populated,
		       (unsigned long long)tracked->accessed);
		print_quoted(mapping->name);
		putchar('\n');
	}
}
